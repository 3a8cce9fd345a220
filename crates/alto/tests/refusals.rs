//! What is refused, and how (RFC 7285 section 8.5.2): code, field and value of each fault.
#![allow(clippy::unwrap_used)]
use alto::{
    Document, ErrorBody, Limits,
    cost_map::{self, CostMap},
    directory::Directory,
    endpoint_cost::{self, EndpointCosts},
    endpoint_property::{self, EndpointProperties},
    network_map::{self, NetworkMap},
};

type Row = (&'static str, ErrorBody);

fn refused<T: std::fmt::Debug>(read: fn(&[u8]) -> Result<T, ErrorBody>, rows: impl IntoIterator<Item = Row>) {
    for (body, want) in rows {
        assert_eq!(read(body.as_bytes()).expect_err(body), want, "{body}");
    }
}

fn syntax(what: &str) -> ErrorBody {
    ErrorBody::syntax(what)
}

fn syntax_of(field: &str, what: &str) -> ErrorBody {
    ErrorBody { field: Some(field.into()), ..ErrorBody::syntax(what) }
}

use alto::ErrorBody as E;

/// RFC 7285 sections 11.3.2.3 and 8.5.2, RFC 8189 section 4.1.2.
#[test]
fn cost_map_filter() {
    refused(
        cost_map::Filter::from_json,
        [
            ("", syntax("the document ends early at line 1 column 1")),
            ("{", syntax("the document ends early at line 1 column 2")),
            ("[]", syntax("the document is not an object at line 1 column 1")),
            ("{}\n{}", syntax("text after the end of the document at line 2 column 1")),
            ("{}", E::missing("cost-type")),
            // Whatever else is wrong, text that is not JSON is that first ("In the first step", section 8.5.2).
            (r#"{"cost-type":5,"#, syntax("the document ends early at line 1 column 16")),
            (r#"{"cost-type":{"cost-mode":"numerical"}}"#, E::missing("cost-type/cost-metric")),
            (r#"{"cost-type":{"cost-metric":"routingcost"}}"#, E::missing("cost-type/cost-mode")),
            (r#"{"cost-type":"routingcost"}"#, E::wrong_type("cost-type")),
            (r#"{"cost-type":{"cost-mode":1,"cost-metric":"routingcost"}}"#, E::wrong_type("cost-type/cost-mode")),
            (r#"{"cost-type":{"cost-mode":"foo","cost-metric":"routingcost"}}"#, E::invalid("cost-type/cost-mode", "foo")),
            (r#"{"cost-type":{"cost-mode":"ordinal","cost-metric":"priv:"}}"#, E::invalid("cost-type/cost-metric", "priv:")),
            (r#"{"cost-type":{"cost-mode":"ordinal","cost-mode":"ordinal"}}"#, {
                syntax_of("cost-type/cost-mode", "duplicate member \"cost-mode\" at line 1 column 37")
            }),
            (r#"{"x":{"a":1,"a":2}}"#, syntax("duplicate member \"a\" at line 1 column 13")),
            (r#"{"multi-cost-types":[]}"#, E::invalid("multi-cost-types", "[]")),
            // "An array element of the wrong type ... is an invalid value error, not an invalid type error."
            (r#"{"multi-cost-types":[5]}"#, E::invalid("multi-cost-types", "5")),
            (r#"{"multi-cost-types":{}}"#, E::wrong_type("multi-cost-types")),
            (
                r#"{"cost-type":{"cost-mode":"ordinal","cost-metric":"a"},"multi-cost-types":[{"cost-mode":"ordinal","cost-metric":"a"}]}"#,
                E::invalid("multi-cost-types", r#"[{"cost-mode":"ordinal","cost-metric":"a"}]"#),
            ),
        ],
    );
    let with = |members: &str| format!(r#"{{"cost-type":{{"cost-mode":"numerical","cost-metric":"routingcost"}},{members}}}"#);
    for (members, want) in [
        (r#""pids":{"srcs":[]}"#, E::missing("pids/dsts")),
        (r#""pids":{"srcs":[],"dsts":["PID 1"]}"#, E::invalid("pids/dsts", "PID 1")),
        (r#""pids":{"srcs":[7],"dsts":[]}"#, E::invalid("pids/srcs", "7")),
        (r#""pids":{"srcs":{},"dsts":[]}"#, E::wrong_type("pids/srcs")),
        (r#""pids":[]"#, E::wrong_type("pids")),
        (r#""constraints":["ge"]"#, E::invalid("constraints", "ge")),
        (r#""constraints":["ge 1 2"]"#, E::invalid("constraints", "ge 1 2")),
        (r#""constraints":["ne 1"]"#, E::invalid("constraints", "ne 1")),
        (r#""constraints":["le NaN"]"#, E::invalid("constraints", "le NaN")),
        (r#""constraints":["[1] le 1"]"#, E::invalid("constraints", "[1] le 1")),
        (r#""constraints":["[0]le 1"]"#, E::invalid("constraints", "[0]le 1")),
        (r#""constraints":[{"le":1}]"#, E::invalid("constraints", r#"{"le":1}"#)),
        (r#""constraints":"le 1""#, E::wrong_type("constraints")),
        (r#""or-constraints":[]"#, E::invalid("or-constraints", "[]")),
        (r#""or-constraints":[[]]"#, E::invalid("or-constraints", "[]")),
        (r#""or-constraints":["le 1"]"#, E::invalid("or-constraints", r#""le 1""#)),
        (r#""constraints":[],"or-constraints":[["le 1"]]"#, E::invalid("or-constraints", r#"[["le 1"]]"#)),
        (r#""testable-cost-types":[]"#, E::invalid("testable-cost-types", "[]")),
        (r#""testable-cost-types":["hopcount"]"#, E::invalid("testable-cost-types", "\"hopcount\"")),
    ] {
        assert_eq!(cost_map::Filter::from_json(with(members).as_bytes()).expect_err(members), want, "{members}");
    }
}

/// RFC 7285 sections 11.3.2.3 and 11.5.1.3: in a request the description of a cost type is ignored, and a client leaves it out.
#[test]
fn descriptions_in_requests_are_ignored() {
    for description in [r#""My default""#, "5", "{}", "null"] {
        let cost_type = format!(r#"{{"cost-mode":"numerical","cost-metric":"routingcost","description":{description}}}"#);
        for query in
            [format!(r#""cost-type":{cost_type}"#), format!(r#""multi-cost-types":[{cost_type}],"testable-cost-types":[{cost_type}]"#)]
        {
            let costs = cost_map::Filter::from_json(format!("{{{query}}}").as_bytes()).unwrap();
            assert!(!String::from_utf8(costs.to_json()).unwrap().contains("description"), "{query}");
            endpoint_cost::Request::from_json(format!(r#"{{{query},"endpoints":{{"dsts":["ipv4:192.0.2.1"]}}}}"#).as_bytes()).unwrap();
        }
    }
    // In a document it "MUST provide a string value" (section 10.7).
    let map = r#"{"meta":{"dependent-vtags":[{"resource-id":"n","tag":"t"}],"cost-type":{"cost-mode":"ordinal","cost-metric":"a","description":5}},"cost-map":{}}"#;
    assert_eq!(CostMap::from_json(map.as_bytes()).unwrap_err(), E::wrong_type("meta/cost-type/description"));
    let described =
        alto::cost::CostType { description: Some("My default".into()), ..alto::cost::CostType::numerical("a".parse().unwrap()) };
    let filter = cost_map::Filter { query: alto::cost::Query::one(described), sources: vec![], destinations: vec![] };
    assert_eq!(filter.to_json(), br#"{"cost-type":{"cost-mode":"numerical","cost-metric":"a"}}"#);
}

/// RFC 7285 sections 11.2.1.6, 10.1, 10.3 and 10.4.
#[test]
fn network_map() {
    let map = |pids: &str| format!(r#"{{"meta":{{"vtag":{{"resource-id":"n","tag":"t"}}}},"network-map":{pids}}}"#);
    for (pids, want) in [
        ("[]", E::wrong_type("network-map")),
        (r#"{"PID/1":{}}"#, E::invalid("network-map", "PID/1")),
        (r#"{"":{}}"#, E::invalid("network-map", "")),
        (r#"{"P":[]}"#, E::wrong_type("network-map/P")),
        (r#"{"P":{"ipv4":"10.0.0.0/8"}}"#, E::wrong_type("network-map/P/ipv4")),
        (r#"{"P":{"ipv4":["10.0.0.1/8"]}}"#, E::invalid("network-map/P/ipv4", "10.0.0.1/8")),
        (r#"{"P":{"ipv4":["10.0.0.0"]}}"#, E::invalid("network-map/P/ipv4", "10.0.0.0")),
        (r#"{"P":{"ipv4":["10/8"]}}"#, E::invalid("network-map/P/ipv4", "10/8")),
        (r#"{"P":{"ipv4":["010.0.0.0/8"]}}"#, E::invalid("network-map/P/ipv4", "010.0.0.0/8")),
        (r#"{"P":{"ipv4":["10.0.0.0/08"]}}"#, E::invalid("network-map/P/ipv4", "10.0.0.0/08")),
        (r#"{"P":{"ipv4":["10.0.0.0/33"]}}"#, E::invalid("network-map/P/ipv4", "10.0.0.0/33")),
        (r#"{"P":{"ipv4":["::/0"]}}"#, E::invalid("network-map/P/ipv4", "::/0")),
        (r#"{"P":{"ipv6":["2001:db8::1/32"]}}"#, E::invalid("network-map/P/ipv6", "2001:db8::1/32")),
        (r#"{"P":{"ipv6":[null]}}"#, E::invalid("network-map/P/ipv6", "null")),
        (r#"{"P":{},"P":{}}"#, syntax_of("network-map/P", "duplicate member \"P\" at line 1 column 70")),
        (r#"{"P":{},"\u0050":{}}"#, syntax_of("network-map/P", "duplicate member \"P\" at line 1 column 70")),
    ] {
        assert_eq!(NetworkMap::from_json(map(pids).as_bytes()).expect_err(pids), want, "{pids}");
    }
    refused(
        NetworkMap::from_json,
        [
            (r#"{"network-map":{}}"#, E::missing("meta")),
            (r#"{"meta":{},"network-map":{}}"#, E::missing("meta/vtag")),
            (r#"{"meta":{"vtag":{"resource-id":"n"}},"network-map":{}}"#, E::missing("meta/vtag/tag")),
            (r#"{"meta":{"vtag":{"resource-id":"n","tag":"a b"}},"network-map":{}}"#, E::invalid("meta/vtag/tag", "a b")),
            (r#"{"meta":{"vtag":{"resource-id":"n","tag":"t"}}}"#, E::missing("network-map")),
        ],
    );
    refused(
        network_map::Filter::from_json,
        [
            ("{}", E::missing("pids")),
            (r#"{"pids":[],"address-types":["ipv4:"]}"#, E::invalid("address-types", "ipv4:")),
            (r#"{"pids":["a","b"],"address-types":5}"#, E::wrong_type("address-types")),
        ],
    );
}

/// "ignore any EndpointAddressGroup whose address type it does not recognize ... still MUST recognize that PID name"
/// (RFC 7285 section 11.2.1.7); unknown members (8.3.7); members in any order.
#[test]
fn what_is_tolerated() {
    let body = br#"{"network-map":{"P":{"mac":{"x":[1]},"hex":["0a"]},"Q":{"ipv4":["10.0.0.0/8","10.0.0.0/8"],"ipv6":["2001:DB8:0::/32"]}},
        "extra":[{"deep":null}],"meta":{"vtag":{"tag":"t","resource-id":"n","more":1}}}"#;
    let map = NetworkMap::from_json(body).unwrap();
    assert_eq!(map.pids.len(), 2);
    assert_eq!(
        String::from_utf8(map.content_json()).unwrap(),
        r#"{"P":{"hex":["0a"]},"Q":{"ipv4":["10.0.0.0/8"],"ipv6":["2001:db8::/32"]}}"#
    );
    let filter = br#"{"pids":["b","a","b"],"address-types":["ipv6","ipv6","token"]}"#;
    let filter = network_map::Filter::from_json(filter).unwrap();
    assert_eq!(String::from_utf8(filter.to_json()).unwrap(), r#"{"pids":["b","a"],"address-types":["ipv6","token"]}"#);
    let costs =
        br#"{"endpoint-cost-map":{"ipv6:2001:DB8::0:1":{"priv:x:y":-0}},"meta":{"cost-type":{"cost-mode":"ordinal","cost-metric":"a"}}}"#;
    let costs = EndpointCosts::from_json(costs).unwrap();
    assert!(String::from_utf8(costs.to_json()).unwrap().ends_with(r#""endpoint-cost-map":{"ipv6:2001:db8::1":{"priv:x:y":0}}}"#));
}

/// RFC 7285 section 11.2.3.6, RFC 8189 section 4.1.3.
#[test]
fn cost_map() {
    let map = |mode: &str, costs: &str| {
        format!(
            r#"{{"meta":{{"dependent-vtags":[{{"resource-id":"n","tag":"t"}}],"cost-type":{{"cost-mode":"{mode}","cost-metric":"routingcost"}}}},"cost-map":{costs}}}"#
        )
    };
    for (mode, costs, want) in [
        ("numerical", "[]", E::wrong_type("cost-map")),
        ("numerical", r#"{"A":5}"#, E::wrong_type("cost-map/A")),
        ("numerical", r#"{"A":{"B":"5"}}"#, E::wrong_type("cost-map/A/B")),
        ("numerical", r#"{"A":{"B":null}}"#, E::wrong_type("cost-map/A/B")),
        ("numerical", r#"{"A":{"B":[5]}}"#, E::wrong_type("cost-map/A/B")),
        ("numerical", r#"{"A":{"B":-5}}"#, E::invalid("cost-map/A/B", "-5")),
        ("numerical", r#"{"A":{"B":1e400}}"#, E::invalid("cost-map/A/B", "1e400")),
        ("ordinal", r#"{"A":{"B":1.5}}"#, E::invalid("cost-map/A/B", "1.5")),
        ("numerical", r#"{"A B":{}}"#, E::invalid("cost-map", "A B")),
        ("numerical", r#"{"A":{"A,B":1}}"#, E::invalid("cost-map/A", "A,B")),
        ("numerical", r#"{"A":{"B":1,"B":1}}"#, syntax_of("cost-map/A/B", "duplicate member \"B\" at line 1 column 150")),
        ("numerical", r#"{"A":{"B":1},"A":{}}"#, syntax_of("cost-map/A", "duplicate member \"A\" at line 1 column 151")),
        ("numerical", r#"{"A":{"B":1,}}"#, syntax("a comma before nothing at line 1 column 149")),
    ] {
        assert_eq!(CostMap::from_json(map(mode, costs).as_bytes()).expect_err(costs), want, "{costs}");
    }
    let multi = |costs: &str| {
        format!(
            r#"{{"meta":{{"dependent-vtags":[{{"resource-id":"n","tag":"t"}}],"cost-type":{{}},"multi-cost-types":[{{"cost-mode":"numerical","cost-metric":"a"}},{{"cost-mode":"ordinal","cost-metric":"b"}}]}},"cost-map":{costs}}}"#
        )
    };
    for (costs, want) in [
        (r#"{"A":{"B":5}}"#, E::wrong_type("cost-map/A/B")),
        (r#"{"A":{"B":[5]}}"#, E::invalid("cost-map/A/B", "[5]")),
        (r#"{"A":{"B":[5,6,7]}}"#, E::invalid("cost-map/A/B", "[5,6,7]")),
        (r#"{"A":{"B":[5,"6"]}}"#, E::invalid("cost-map/A/B", "\"6\"")),
        (r#"{"A":{"B":[5,0.5]}}"#, E::invalid("cost-map/A/B", "0.5")),
    ] {
        assert_eq!(CostMap::from_json(multi(costs).as_bytes()).expect_err(costs), want, "{costs}");
    }
    let error = CostMap::from_json(multi(r#"{"A":{"B":[null,null],"B":[1,2]}}"#).as_bytes()).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("cost-map/A/B"), "a pair of nulls was there too");
    refused(
        CostMap::from_json,
        [
            (r#"{"meta":{"cost-type":{"cost-mode":"ordinal","cost-metric":"a"}},"cost-map":{}}"#, E::missing("meta/dependent-vtags")),
            (r#"{"meta":{"dependent-vtags":[{"resource-id":"n","tag":"t"}]},"cost-map":{}}"#, E::missing("meta/cost-type")),
            (
                r#"{"meta":{"dependent-vtags":[{"resource-id":"n","tag":"t"}],"cost-type":{}},"cost-map":{}}"#,
                E::missing("meta/cost-type/cost-mode"),
            ),
            (
                r#"{"meta":{"dependent-vtags":[],"cost-type":{"cost-mode":"ordinal","cost-metric":"a"}},"cost-map":{}}"#,
                E::invalid("meta/dependent-vtags", "[]"),
            ),
            (r#"{"meta":{"dependent-vtags":["n"]},"cost-map":{}}"#, E::invalid("meta/dependent-vtags", "\"n\"")),
        ],
    );
}

/// RFC 7285 sections 11.4.1.3, 11.4.1.6, 11.5.1.3 and 10.8.
#[test]
fn endpoint_services() {
    refused(
        endpoint_property::Request::from_json,
        [
            (r#"{"endpoints":["ipv4:1.2.3.4"]}"#, E::missing("properties")),
            (r#"{"properties":["a"]}"#, E::missing("endpoints")),
            (r#"{"properties":[]}"#, E::invalid("properties", "[]")),
            (r#"{"properties":["a"],"endpoints":[]}"#, E::invalid("endpoints", "[]")),
            (r#"{"properties":["priv:"]}"#, E::invalid("properties", "priv:")),
            (r#"{"properties":["a."]}"#, E::invalid("properties", "a.")),
            (r#"{"properties":["a"],"endpoints":["1.2.3.4"]}"#, E::invalid("endpoints", "1.2.3.4")),
            (r#"{"properties":["a"],"endpoints":["ipv4:1.2.3"]}"#, E::invalid("endpoints", "ipv4:1.2.3")),
            (r#"{"properties":["a"],"endpoints":["ipv4:1.2.3.04"]}"#, E::invalid("endpoints", "ipv4:1.2.3.04")),
            (r#"{"properties":["a"],"endpoints":["ipv6:fe80::1%eth0"]}"#, E::invalid("endpoints", "ipv6:fe80::1%eth0")),
            (r#"{"properties":["a"],"endpoints":["ipv6:1.2.3.4"]}"#, E::invalid("endpoints", "ipv6:1.2.3.4")),
            (r#"{"properties":["a"],"endpoints":["token:1"]}"#, E::invalid("endpoints", "token:1")),
        ],
    );
    refused(
        EndpointProperties::from_json,
        [
            (r#"{"meta":{},"endpoint-properties":{"ipv4:1.2.3.4":{"a":1}}}"#, E::wrong_type("endpoint-properties/ipv4:1.2.3.4/a")),
            (r#"{"meta":{},"endpoint-properties":{"ipv4:1.2.3.4":{"n.pid":"P"}}}"#, E::missing("meta/dependent-vtags")),
        ],
    );
    let with = |endpoints: &str| format!(r#"{{"cost-type":{{"cost-mode":"numerical","cost-metric":"routingcost"}}{endpoints}}}"#);
    for (endpoints, want) in [
        ("", E::missing("endpoints")),
        (r#","endpoints":{}"#, E::missing("endpoints/dsts")),
        (r#","endpoints":{"dsts":[]}"#, E::invalid("endpoints/dsts", "[]")),
        (r#","endpoints":{"srcs":[]}"#, E::invalid("endpoints/srcs", "[]")),
        (r#","endpoints":{"srcs":["ipv4:300.0.0.1"]}"#, E::invalid("endpoints/srcs", "ipv4:300.0.0.1")),
    ] {
        assert_eq!(endpoint_cost::Request::from_json(with(endpoints).as_bytes()).expect_err(endpoints), want, "{endpoints}");
    }
}

/// RFC 7285 section 9.2.2, RFC 8189 section 4.1.1.
#[test]
fn directory() {
    let entry = |members: &str| format!(r#"{{"meta":{{}},"resources":{{"r":{{{members}}}}}}}"#);
    for (members, want) in [
        (r#""media-type":"m""#, E::missing("resources/r/uri")),
        (r#""uri":"u""#, E::missing("resources/r/media-type")),
        (r#""uri":5"#, E::wrong_type("resources/r/uri")),
        (r#""uses":["a b"]"#, E::invalid("resources/r/uses", "a b")),
        (r#""capabilities":{"cost-constraints":"true"}"#, E::wrong_type("resources/r/capabilities/cost-constraints")),
        (r#""capabilities":{"cost-type-names":[]}"#, E::invalid("resources/r/capabilities/cost-type-names", "[]")),
        (r#""capabilities":{"max-cost-types":1.5}"#, E::invalid("resources/r/capabilities/max-cost-types", "1.5")),
        (r#""capabilities":{"max-cost-types":-1}"#, E::invalid("resources/r/capabilities/max-cost-types", "-1")),
        (
            r#""capabilities":{"cost-type-names":["a"],"testable-cost-type-names":["b"]}"#,
            E::invalid("resources/r/capabilities/testable-cost-type-names", "b"),
        ),
        (
            r#""capabilities":{"cost-type-names":["a"],"testable-cost-type-names":["a"],"cost-constraints":true}"#,
            E::invalid("resources/r/capabilities/cost-constraints", "true"),
        ),
    ] {
        assert_eq!(Directory::from_json(entry(members).as_bytes()).expect_err(members), want, "{members}");
    }
}

/// RFC 7285 section 8.5.2, whose own "cost-mode/cost-type" has the path the wrong way round: the example three paragraphs
/// before it, "cost-type/cost-metric", has it as every later text.
#[test]
fn error_bodies() {
    for (error, body) in [
        (E::missing("cost-type/cost-metric"), r#"{"meta":{"code":"E_MISSING_FIELD","field":"cost-type/cost-metric"}}"#),
        (E::wrong_type("pids/srcs"), r#"{"meta":{"code":"E_INVALID_FIELD_TYPE","field":"pids/srcs"}}"#),
        (
            E::invalid("cost-type/cost-mode", "foo"),
            r#"{"meta":{"code":"E_INVALID_FIELD_VALUE","field":"cost-type/cost-mode","value":"foo"}}"#,
        ),
        (syntax("here \"x\"\n\u{1}"), r#"{"meta":{"code":"E_SYNTAX","syntax-error":"here \"x\"\n\u0001"}}"#),
    ] {
        assert_eq!(String::from_utf8(error.to_json()).unwrap(), body);
        assert_eq!(E::from_json(body.as_bytes()), Ok(error));
    }
    refused(
        E::from_json,
        [
            ("{}", E::missing("meta")),
            (r#"{"meta":{}}"#, E::missing("meta/code")),
            (r#"{"meta":{"code":"E_NO"}}"#, E::invalid("meta/code", "E_NO")),
            (r#"{"meta":{"code":"E_SYNTAX","value":"v"}}"#, E::missing("meta/field")),
        ],
    );
}

/// RFC 8259: text that is not JSON.
#[test]
fn json_text() {
    let rows: [(&[u8], &str); 12] = [
        (b"{\"a\":\"\xff\"}", "not UTF-8 at line 1 column 7"),
        (b"{\"a\":\"\n\"}", "a control character in a string at line 1 column 7"),
        (b"{\"a\":\"\\x\"}", "an unknown escape in a string at line 1 column 7"),
        (b"{\"a\":\"\\ud800\"}", "a bad \\u escape in a string at line 1 column 7"),
        (b"{\"a\":\"\\udc00\\ud800\"}", "a bad \\u escape in a string at line 1 column 7"),
        (b"{\"a\":\"", "the document ends inside a string at line 1 column 7"),
        (b"{\"a\":01}", "expected a number at line 1 column 6"),
        (b"{\"a\":truely}", "expected ',' or '}' at line 1 column 10"),
        (b"{\"a\":tru}", "expected a value at line 1 column 6"),
        (b"{\"\xc3\xa9\" 1}", "expected ':' at line 1 column 6"),
        (b"{\r\n \"a\":1 \"b\"}", "expected ',' or '}' at line 2 column 8"),
        (b"\xef\xbb\xbf{}", "expected a value at line 1 column 1"),
    ];
    for (body, want) in rows {
        assert_eq!(Document::parse(body, None), Err(syntax(want)), "{}", String::from_utf8_lossy(body));
    }
    let text = br#"{"meta":{"code":"E_SYNTAX","syntax-error":"\u0041\ud83d\ude00\/\b\f\n\r\t\\\""}}"#;
    assert_eq!(E::from_json(text).unwrap().syntax_error.as_deref(), Some("A\u{1f600}/\u{8}\u{c}\n\r\t\\\""));
}

/// Every bound of `Limits` refuses what is past it, and says so.
#[test]
fn bounds() {
    let cost_type = r#""cost-type":{"cost-mode":"numerical","cost-metric":"a"}"#;
    let deep = format!("{}{}", "{\"a\":".repeat(33), "}".repeat(33));
    let tiny = Limits {
        body_bytes_max: 4096,
        pids_max: 2,
        prefixes_max: 2,
        costs_max: 3,
        cost_types_max: 1,
        request_entries_max: 2,
        constraints_max: 1,
        resources_max: 1,
        error_value_bytes_max: 4,
        ..Limits::default()
    };
    let map = |costs: &str| format!(r#"{{"meta":{{"dependent-vtags":[{{"resource-id":"n","tag":"t"}}],{cost_type}}},"cost-map":{costs}}}"#);
    let network = |pids: &str| format!(r#"{{"meta":{{"vtag":{{"resource-id":"n","tag":"t"}}}},"network-map":{pids}}}"#);
    let filter = |members: &str| format!(r#"{{{cost_type},{members}}}"#);
    let cost_map = |body: String| CostMap::from_json_within(body.as_bytes(), &tiny).unwrap_err();
    let network_map = |body: String| NetworkMap::from_json_within(body.as_bytes(), &tiny).unwrap_err();
    let cost_filter = |body: String| cost_map::Filter::from_json_within(body.as_bytes(), &tiny).unwrap_err();
    for (error, field, what) in [
        (Document::parse(deep.as_bytes(), None).unwrap_err(), None, "nested deeper than 32 levels at line 1 column 162"),
        (cost_map(" ".repeat(5000)), None, "the document has 5000 bytes; 4096 are the most"),
        (cost_map(map(r#"{"A":{"A":1},"B":{"A":1},"C":{"A":1}}"#)), Some("cost-map"), "more than 2 sources"),
        (cost_map(map(r#"{"A":{"A":1,"B":1,"C":1}}"#)), Some("cost-map/A"), "more than 2 destinations"),
        (cost_map(map(r#"{"A":{"A":1,"B":1},"B":{"A":1}}"#)), Some("cost-map"), "more than 3 costs"),
        (cost_map(map(r#"{"A":{"A":1},"B":{"B":1}}"#)), Some("cost-map/B"), "more than 3 costs"),
        (network_map(network(r#"{"A":{},"B":{},"C":{}}"#)), Some("network-map"), "more than 2 PIDs"),
        (
            network_map(network(r#"{"A":{"x":["1","2"],"ipv4":["1.0.0.0/8"]}}"#)),
            Some("network-map/A/ipv4"),
            "more than 2 prefixes in the map",
        ),
        (cost_filter(filter(r#""pids":{"srcs":["a","b","c"]}"#)), Some("pids/srcs"), "more than 2 PIDs"),
        (cost_filter(filter(r#""constraints":["le 1","le 2"]"#)), Some("constraints"), "more than 1 constraints"),
        (
            cost_filter(filter(r#""testable-cost-types":[{"cost-mode":"ordinal","cost-metric":"a"},{}]"#)),
            Some("testable-cost-types"),
            "more than 1 cost types",
        ),
        (
            Directory::from_json_within(br#"{"meta":{},"resources":{"a":{"uri":"u","media-type":"m"},"b":{}}}"#, &tiny).unwrap_err(),
            Some("resources"),
            "more than 1 resources",
        ),
    ] {
        let said = error.syntax_error.as_deref().unwrap_or_default();
        assert!(said.starts_with(what), "{said:?}, wanted {what:?}");
        assert_eq!(error.field.as_deref(), field, "{what}");
    }
    let error = cost_filter(filter(r#""pids":{"srcs":["\u00e9\u00e9\u00e9"]}"#));
    assert_eq!(error, E::invalid("pids/srcs", "\u{e9}\u{e9}"), "a value is cut between characters");
}

/// A file without media type: the one member that holds data tells.
#[test]
fn document_kinds() {
    let empty = br#"{"meta":{"vtag":{"resource-id":"n","tag":"t"}},"network-map":{}}"#;
    assert!(matches!(Document::parse(empty, None), Ok(Document::NetworkMap(_))));
    assert!(matches!(Document::parse(empty, Some("application/alto-networkmap+json; charset=utf-8")), Ok(Document::NetworkMap(_))));
    assert_eq!(Document::parse(empty, Some("application/alto-costmap+json")), Err(E::missing("meta/cost-type")));
    assert_eq!(Document::parse(empty, Some("text/html")), Err(E::invalid("media-type", "text/html")));
    assert_eq!(Document::parse(b"{}", None), Err(E::missing("network-map")));
    assert_eq!(Document::parse(br#"{"cost-map":{},"network-map":{}}"#, None), Err(E::missing("network-map")));
}

/// What is yet to be published needs no tags, and nothing else is forgiven.
#[test]
fn drafts() {
    let parse = |text: &str| Document::parse_draft(text.as_bytes(), None, &Limits::default());
    assert!(
        matches!(parse(r#"{"meta":{},"network-map":{"P":{"ipv4":["192.0.2.0/24"]}}}"#), Ok(Document::NetworkMap(map)) if map.vtag.is_none())
    );
    let costs = r#"{"meta":{"cost-type":{"cost-mode":"numerical","cost-metric":"routingcost"}},"cost-map":{"P":{"P":1}}}"#;
    assert!(matches!(parse(costs), Ok(Document::CostMap(map)) if map.dependent_vtags.is_empty()));
    assert_eq!(parse(r#"{"network-map":{}}"#), Err(ErrorBody::missing("meta")));
    assert_eq!(parse(r#"{"meta":{"vtag":{"resource-id":"n"}},"network-map":{}}"#), Err(ErrorBody::missing("meta/vtag/tag")));
}
