//! Tables by section of RFC 7285 and RFC 8189, over the examples' own maps.
use super::*;
use alto::{Document, cost_map::CostMap, endpoint::Address, network_map::AddressGroup};
use serde_json::{Value, json};
use std::net::IpAddr;

const NAN: f64 = f64::NAN;

pub(super) fn id(text: &str) -> ResourceId {
    text.parse().unwrap()
}

fn metric(text: &str) -> Metric {
    text.parse().unwrap()
}

pub(super) fn network(pids: &[(&str, &[&str])]) -> Document {
    let group = |prefixes: &[&str]| {
        let mut group = AddressGroup::default();
        for text in prefixes {
            match text.parse::<alto::endpoint::Prefix>() {
                Ok(prefix) if prefix.is_ipv4() => group.ipv4.push(prefix),
                Ok(prefix) => group.ipv6.push(prefix),
                Err(_) => group.other.entry("priv:x".into()).or_default().push((*text).into()),
            }
        }
        group.ipv4.sort();
        group.ipv6.sort();
        group
    };
    let pids = pids.iter().map(|(pid, prefixes)| (pid.parse().unwrap(), group(prefixes))).collect();
    Document::NetworkMap(NetworkMap { vtag: None, pids })
}

pub(super) fn costs(depends: Option<&str>, cost_type: CostType, sources: &[&str], destinations: &[&str], values: &[f64]) -> Document {
    let names = |names: &[&str]| -> Arc<[Pid]> { names.iter().map(|name| name.parse().unwrap()).collect() };
    let table = CostTable { sources: names(sources), destinations: names(destinations), values: values.to_vec() };
    let dependent_vtags =
        depends.iter().map(|map| VersionTag { resource_id: id(map), tag: "as-it-was-when-written".parse().unwrap() }).collect();
    Document::CostMap(CostMap { dependent_vtags, vtag: None, tables: vec![(cost_type, table)] })
}

pub(super) fn inputs(documents: impl IntoIterator<Item = (&'static str, Document)>) -> Inputs {
    let take = |(name, document)| (id(name), Arc::new(Published::take(&id(name), document).unwrap()));
    Inputs { documents: documents.into_iter().map(take).collect(), ..Inputs::default() }
}

const PIDS: [&str; 3] = ["PID1", "PID2", "PID3"];

/// RFC 7285 section 11.2.1.7.
fn example_network() -> Document {
    network(&[("PID1", &["192.0.2.0/24", "198.51.100.0/25"]), ("PID2", &["198.51.100.128/25"]), ("PID3", &["0.0.0.0/0", "::/0"])])
}

/// RFC 8189 section 5.2, and a bandwidth, of which more is better.
fn example() -> Guidance {
    let numerical = |name: &str| CostType::numerical(metric(name));
    let map = Some("my-default-network-map");
    let inputs = inputs([
        ("my-default-network-map", example_network()),
        ("routing", costs(map, numerical("routingcost"), &PIDS, &PIDS, &[1.0, 4.0, 10.0, 15.0, 1.0, NAN, 20.0, NAN, 1.0])),
        ("shoes", costs(map, numerical("shoesize"), &PIDS, &PIDS, &[0.0, 3.0, 2.0, 5.0, 0.0, 9.0, 12.0, 1.0, 0.0])),
        ("bandwidth", costs(map, numerical("bw-available"), &PIDS[..1], &PIDS, &[NAN, 1e9, 2.5e9])),
    ]);
    Guidance::compose(&inputs, None).unwrap()
}

fn ask(guidance: &Guidance, service: &str, body: &Value) -> Result<Value, ErrorBody> {
    let client: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
    let answer = guidance.answer(&id(service), body.to_string().as_bytes(), client, &Limits::default()).expect("a service");
    let canonical = guidance.canonical(&id(service), body.to_string().as_bytes(), client, &Limits::default()).expect("a service");
    asks_the_same(guidance, service, &answer, &canonical);
    let answer = answer?;
    assert_eq!(answer.media_type, guidance.service(&id(service)).unwrap().media_type());
    Ok(serde_json::from_slice(&answer.body).expect("the answer is JSON"))
}

/// The canonical form of a request is answered as the request is, whoever asks, and is its own canonical form.
pub(super) fn asks_the_same(
    guidance: &Guidance,
    service: &str,
    answer: &Result<Answer, ErrorBody>,
    canonical: &Result<Vec<u8>, ErrorBody>,
) {
    let (answer, canonical) = match (answer, canonical) {
        (Ok(answer), Ok(canonical)) => (answer, canonical),
        (answer, canonical) => return assert_eq!(answer.as_ref().err(), canonical.as_ref().err()),
    };
    let nobody: IpAddr = "2001:db8::dead".parse().unwrap();
    let again = guidance.canonical(&id(service), canonical, nobody, &Limits::default()).unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(canonical));
    let same = guidance.answer(&id(service), canonical, nobody, &Limits::default()).unwrap().unwrap();
    let parse = |answer: &Answer| serde_json::from_slice::<Value>(&answer.body).unwrap();
    assert_eq!(parse(&same), parse(answer), "{}", String::from_utf8_lossy(canonical));
}

fn vtag(guidance: &Guidance) -> Value {
    json!({"resource-id": "my-default-network-map", "tag": guidance.networks[0].view.tag})
}

/// Requests that ask for the same have one form; requests that do not have two.
#[test]
fn one_form_for_the_same_request() {
    let guidance = example();
    let cost = r#""cost-type": {"cost-mode": "numerical", "cost-metric": "routingcost"}"#;
    let form = |service: &str, body: &str| {
        let client = "::ffff:192.0.2.7".parse().unwrap();
        let canonical = guidance.canonical(&id(service), body.as_bytes(), client, &Limits::default()).unwrap().unwrap();
        String::from_utf8(canonical).unwrap()
    };
    for (service, same, other) in [
        (
            "filtered-network-map",
            [r#"{"pids": ["PID1", "no"]}"#, r#"{"address-types": [], "pids": ["no", "PID1", "no"]}"#],
            r#"{"pids": ["PID1"]}"#,
        ),
        (
            "filtered-cost-map",
            [r#"{C, "pids": {"srcs": [], "dsts": []}}"#, r#"{"constraints": [], "pids": {"dsts": [], "srcs": []}, C, "x": 1}"#],
            r#"{C, "pids": {"srcs": ["PID1"], "dsts": []}}"#,
        ),
        (
            "endpoint-cost",
            [
                r#"{C, "endpoints": {"dsts": ["ipv4:192.0.2.9", "ipv4:192.0.2.8"]}}"#,
                r#"{"endpoints": {"srcs": ["ipv4:192.0.2.7"], "dsts": ["ipv4:192.0.2.8", "ipv4:192.0.2.9"]}, C}"#,
            ],
            r#"{C, "endpoints": {"srcs": ["ipv4:192.0.2.8"], "dsts": ["ipv4:192.0.2.8", "ipv4:192.0.2.9"]}}"#,
        ),
        (
            "endpoint-properties",
            [
                r#"{"properties": ["my-default-network-map.pid"], "endpoints": ["ipv4:192.0.2.9", "ipv4:192.0.2.8"]}"#,
                r#"{"endpoints": ["ipv4:192.0.2.8", "ipv4:192.0.2.9"], "properties": ["my-default-network-map.pid"]}"#,
            ],
            r#"{"properties": ["my-default-network-map.pid"], "endpoints": ["ipv4:192.0.2.9"]}"#,
        ),
    ] {
        let [one, two] = same.map(|body| form(service, &body.replace('C', cost)));
        assert_eq!(one, two);
        assert_ne!(one, form(service, &other.replace('C', cost)));
    }
    assert!(guidance.canonical(&id("routing"), b"{}", "::1".parse().unwrap(), &Limits::default()).is_none());
}

#[test]
fn filtered_network_map() {
    let guidance = example();
    let (one, two, three) = (
        json!({"ipv4": ["192.0.2.0/24", "198.51.100.0/25"]}),
        json!({"ipv4": ["198.51.100.128/25"]}),
        json!({"ipv4": ["0.0.0.0/0"], "ipv6": ["::/0"]}),
    );
    for (why, request, want) in [
        ("11.3.1.3: no PIDs are all PIDs", json!({"pids": []}), json!({"PID1": one, "PID2": two, "PID3": three})),
        ("11.3.1.3: twice is once", json!({"pids": ["PID2", "PID2"]}), json!({"PID2": two})),
        ("11.3.1.6: unknown is not named", json!({"pids": ["PID9", "PID1"]}), json!({"PID1": one})),
        ("11.3.1.6: only what was specified", json!({"pids": ["PID9"]}), json!({})),
        (
            "11.3.1.3: address types",
            json!({"pids": ["PID3", "PID2"], "address-types": ["ipv6"]}),
            json!({"PID3": {"ipv6": ["::/0"]}, "PID2": {}}),
        ),
        ("11.3.1.3: no types are all types", json!({"pids": ["PID3"], "address-types": []}), json!({"PID3": three})),
    ] {
        let answer = ask(&guidance, "filtered-network-map", &request).unwrap();
        // Section 11.3.1.6: the tag of the whole map.
        assert_eq!(answer, json!({"meta": {"vtag": vtag(&guidance)}, "network-map": want}), "{why}");
    }
}

fn routing() -> Value {
    json!({"cost-mode": "numerical", "cost-metric": "routingcost"})
}

fn shoes() -> Value {
    json!({"cost-mode": "numerical", "cost-metric": "shoesize"})
}

fn ordinal(metric: &str) -> Value {
    json!({"cost-mode": "ordinal", "cost-metric": metric})
}

#[test]
fn filtered_cost_map() {
    let guidance = example();
    let all = json!({
        "PID1": {"PID1": 1, "PID2": 4, "PID3": 10},
        "PID2": {"PID1": 15, "PID2": 1},
        "PID3": {"PID1": 20, "PID3": 1},
    });
    let tests = json!([["[0] le 10", "[1] le 2"], ["[0] le 3", "[1] le 6"]]);
    for (why, request, want) in [
        ("11.3.2.3: no pids are all pairs", json!({"cost-type": routing()}), all.clone()),
        ("11.3.2.3: empty lists are all PIDs", json!({"cost-type": routing(), "pids": {"srcs": [], "dsts": []}}), all.clone()),
        (
            "11.3.2.3: each list by itself, twice is once",
            json!({"cost-type": routing(), "pids": {"srcs": ["PID2", "PID2"], "dsts": []}}),
            json!({"PID2": {"PID1": 15, "PID2": 1}}),
        ),
        (
            "11.3.2.6: unknown is not named",
            json!({"cost-type": routing(), "pids": {"srcs": ["PID9", "PID1"], "dsts": ["PID3", "PID9"]}}),
            json!({"PID1": {"PID3": 10}}),
        ),
        ("11.3.2.6: only pairs indicated", json!({"cost-type": routing(), "pids": {"srcs": ["PID9"], "dsts": []}}), json!({})),
        (
            "11.2.3.6: undefined costs are omitted, and sources without any",
            json!({"cost-type": routing(), "pids": {"srcs": ["PID2", "PID3"], "dsts": ["PID3"]}}),
            json!({"PID3": {"PID3": 1}}),
        ),
        (
            "11.3.2.3: constraints are related by and",
            json!({"cost-type": routing(), "constraints": ["ge 4", "lt 15"]}),
            json!({"PID1": {"PID2": 4, "PID3": 10}}),
        ),
        ("11.3.2.3: no constraint that holds", json!({"cost-type": routing(), "constraints": ["gt 1000"]}), json!({})),
        (
            "6.1.2.2, 6.2: ranks relative to the entries",
            json!({"cost-type": ordinal("routingcost"), "pids": {"srcs": ["PID1", "PID3"], "dsts": ["PID1", "PID3"]}}),
            json!({"PID1": {"PID1": 1, "PID3": 2}, "PID3": {"PID1": 3, "PID3": 1}}),
        ),
        (
            "6.1.2.2: lower is preferred, so more bandwidth is less rank",
            json!({"cost-type": ordinal("bw-available")}),
            json!({"PID1": {"PID2": 2, "PID3": 1}}),
        ),
        (
            "11.3.2.3: constraints test what is returned, ranks here",
            json!({"cost-type": ordinal("routingcost"), "constraints": ["le 2"]}),
            json!({"PID1": {"PID1": 1, "PID2": 2}, "PID2": {"PID2": 1}, "PID3": {"PID3": 1}}),
        ),
        (
            "8189 5.4: or of ands over testable cost types",
            json!({"cost-type": routing(), "testable-cost-types": [routing(), shoes()], "or-constraints": tests, "pids": {"srcs": [], "dsts": []}}),
            json!({"PID1": {"PID1": 1, "PID3": 10}, "PID2": {"PID2": 1}, "PID3": {"PID3": 1}}),
        ),
    ] {
        let answer = ask(&guidance, "filtered-cost-map", &request).unwrap();
        let meta = json!({"dependent-vtags": [vtag(&guidance)], "cost-type": request["cost-type"]});
        assert_eq!(answer, json!({"meta": meta, "cost-map": want}), "{why}");
    }
}

#[test]
fn multi_cost_map() {
    let guidance = example();
    let both = json!([routing(), shoes()]);
    for (why, request, want) in [
        (
            "8189 5.2: null where one type has no cost",
            json!({"multi-cost-types": both, "pids": {"srcs": [], "dsts": []}}),
            json!({
                "PID1": {"PID1": [1, 0], "PID2": [4, 3], "PID3": [10, 2]},
                "PID2": {"PID1": [15, 5], "PID2": [1, 0], "PID3": [null, 9]},
                "PID3": {"PID1": [20, 12], "PID2": [null, 1], "PID3": [1, 0]},
            }),
        ),
        (
            "8189 5.3: or-constraints over multi-cost-types",
            json!({
                "multi-cost-types": both,
                "or-constraints": [["[0] ge 5", "[0] le 10"], ["[1] eq 0"]],
                "pids": {"srcs": ["PID1", "PID2"], "dsts": PIDS},
            }),
            json!({"PID1": {"PID1": [1, 0], "PID3": [10, 2]}, "PID2": {"PID2": [1, 0]}}),
        ),
        (
            "8189 4.1.2: one type, still arrays; 4.1.2: index 0 by default",
            json!({"multi-cost-types": [shoes()], "constraints": ["ge 9"]}),
            json!({"PID2": {"PID3": [9]}, "PID3": {"PID1": [12]}}),
        ),
        (
            "8189 3.6.3: test what is not returned",
            json!({"multi-cost-types": [routing()], "testable-cost-types": [shoes()], "constraints": ["[0] le 2"]}),
            json!({"PID1": {"PID1": [1], "PID3": [10]}, "PID2": {"PID2": [1]}, "PID3": {"PID3": [1]}}),
        ),
        (
            "8189 4.1.3: pairs without any cost may be omitted",
            json!({"multi-cost-types": [routing(), {"cost-mode": "numerical", "cost-metric": "bw-available"}], "pids": {"srcs": ["PID1", "PID2"], "dsts": ["PID1", "PID3"]}}),
            json!({"PID1": {"PID1": [1, null], "PID3": [10, 2_500_000_000_u64]}, "PID2": {"PID1": [15, null]}}),
        ),
    ] {
        let answer = ask(&guidance, "filtered-cost-map", &request).unwrap();
        let meta = json!({"dependent-vtags": [vtag(&guidance)], "cost-type": {}, "multi-cost-types": request["multi-cost-types"]});
        assert_eq!(answer, json!({"meta": meta, "cost-map": want}), "{why}");
    }
}

#[test]
fn endpoint_costs() {
    let guidance = example();
    for (why, request, want) in [
        (
            "11.5.1.6: every pair, by the longest prefix of each",
            json!({"cost-type": routing(), "endpoints": {"srcs": ["ipv4:192.0.2.2"], "dsts": ["ipv4:198.51.100.1", "ipv4:198.51.100.200", "ipv6:2001:db8::1"]}}),
            json!({"ipv4:192.0.2.2": {"ipv4:198.51.100.1": 1, "ipv4:198.51.100.200": 4, "ipv6:2001:db8::1": 10}}),
        ),
        (
            "11.5.1.3: no sources is the client, here IPv4 on an IPv6 socket",
            json!({"cost-type": routing(), "endpoints": {"dsts": ["ipv4:198.51.100.200"]}}),
            json!({"ipv4:192.0.2.7": {"ipv4:198.51.100.200": 4}}),
        ),
        (
            "11.5.1.3: no destinations is the client too",
            json!({"cost-type": routing(), "endpoints": {"srcs": ["ipv4:198.51.100.200", "ipv4:198.51.100.200"], "dsts": []}}),
            json!({"ipv4:198.51.100.200": {"ipv4:192.0.2.7": 15}}),
        ),
        (
            "11.5.1.6: what is not defined is omitted, an address in no PID too",
            json!({"cost-type": routing(), "endpoints": {"srcs": ["ipv4:198.51.100.200", "priv:x:1"], "dsts": ["ipv4:203.0.113.1", "priv:x:2", "ipv4:192.0.2.1"]}}),
            json!({"ipv4:198.51.100.200": {"ipv4:192.0.2.1": 15}}),
        ),
        (
            "11.5.1.7: ordinal, ranked among the pairs",
            json!({"cost-type": ordinal("routingcost"), "endpoints": {"srcs": ["ipv4:192.0.2.2"], "dsts": ["ipv4:203.0.113.45", "ipv4:192.0.2.89", "ipv4:198.51.100.134"]}}),
            json!({"ipv4:192.0.2.2": {"ipv4:203.0.113.45": 3, "ipv4:192.0.2.89": 1, "ipv4:198.51.100.134": 2}}),
        ),
        (
            "11.5.1.3: constraints as in 11.3.2",
            json!({"cost-type": routing(), "constraints": ["le 4"], "endpoints": {"srcs": ["ipv4:192.0.2.2"], "dsts": ["ipv4:203.0.113.45", "ipv4:192.0.2.89", "ipv4:198.51.100.134"]}}),
            json!({"ipv4:192.0.2.2": {"ipv4:192.0.2.89": 1, "ipv4:198.51.100.134": 4}}),
        ),
        (
            "8189 4.2.3: arrays",
            json!({"multi-cost-types": [shoes(), routing()], "or-constraints": [["[0] le 2"], ["[1] eq 15"]], "endpoints": {"srcs": ["ipv4:192.0.2.2", "ipv4:198.51.100.134"], "dsts": ["ipv4:203.0.113.45", "ipv4:192.0.2.89"]}}),
            json!({"ipv4:192.0.2.2": {"ipv4:203.0.113.45": [2, 10], "ipv4:192.0.2.89": [0, 1]}, "ipv4:198.51.100.134": {"ipv4:192.0.2.89": [5, 15]}}),
        ),
    ] {
        let answer = ask(&guidance, "endpoint-cost", &request).unwrap();
        let mut meta = json!({"cost-type": {}});
        for name in ["cost-type", "multi-cost-types"] {
            if let Some(value) = request.get(name) {
                meta[name] = value.clone();
            }
        }
        assert_eq!(answer, json!({"meta": meta, "endpoint-cost-map": want}), "{why}");
    }
}

#[test]
fn endpoint_properties() {
    let mut inputs = inputs([("my-default-network-map", example_network()), ("coarse", network(&[("here", &["192.0.2.0/24"])]))]);
    inputs.withdrawn.insert(id("nothing"));
    let guidance = Guidance::compose(&inputs, None).unwrap();
    // Ids in order: "coarse" is the default here, for no map is named "network-map".
    let tag = |map: &str| json!({"resource-id": map, "tag": guidance.network(&id(map)).unwrap().view.tag});
    let request = json!({
        "properties": ["my-default-network-map.pid", "coarse.pid", "coarse.pid"],
        "endpoints": ["ipv4:192.0.2.34", "ipv4:203.0.113.129", "priv:x:1", "ipv4:203.0.113.129"],
    });
    let want = json!({
        // Section 11.4.1.6: "all ALTO network maps whose pid is queried".
        "meta": {"dependent-vtags": [tag("my-default-network-map"), tag("coarse")]},
        "endpoint-properties": {
            "ipv4:192.0.2.34": {"my-default-network-map.pid": "PID1", "coarse.pid": "here"},
            // "MUST omit that property from the response for only that endpoint"
            "ipv4:203.0.113.129": {"my-default-network-map.pid": "PID3"},
            "priv:x:1": {},
        },
    });
    assert_eq!(ask(&guidance, "endpoint-properties", &request).unwrap(), want);
    let directory = guidance.directory("http://h");
    let prop_types = &directory.resources[&id("endpoint-properties")].capabilities.prop_types;
    assert_eq!(prop_types.iter().map(ToString::to_string).collect::<Vec<_>>(), ["coarse.pid", "my-default-network-map.pid"]);
}

/// Section 8.5.2: which code, which field, which value.
#[test]
fn errors_name_the_field_and_its_value() {
    let guidance = example();
    let pair = json!({"srcs": ["ipv4:192.0.2.2"], "dsts": ["ipv4:192.0.2.3"]});
    let six = vec![routing(); 7];
    for (service, request, code, field, value) in [
        (
            "filtered-cost-map",
            json!({"cost-type": {"cost-mode": "numerical", "cost-metric": "nope"}}),
            Code::InvalidFieldValue,
            "cost-type/cost-metric",
            Some("nope"),
        ),
        ("filtered-cost-map", json!({"cost-type": {"cost-mode": "numerical"}}), Code::MissingField, "cost-type/cost-metric", None),
        (
            "filtered-cost-map",
            json!({"cost-type": {"cost-mode": "foo", "cost-metric": "routingcost"}}),
            Code::InvalidFieldValue,
            "cost-type/cost-mode",
            Some("foo"),
        ),
        (
            "filtered-cost-map",
            json!({"cost-type": routing(), "constraints": ["near 5"]}),
            Code::InvalidFieldValue,
            "constraints",
            Some("near 5"),
        ),
        (
            "filtered-cost-map",
            json!({"cost-type": routing(), "constraints": ["[1] le 5"]}),
            Code::InvalidFieldValue,
            "constraints",
            Some("[1] le 5"),
        ),
        (
            "filtered-cost-map",
            json!({"multi-cost-types": [routing(), {"cost-mode": "ordinal", "cost-metric": "nope"}]}),
            Code::InvalidFieldValue,
            "multi-cost-types",
            Some(r#"{"cost-mode":"ordinal","cost-metric":"nope"}"#),
        ),
        (
            "filtered-cost-map",
            json!({"multi-cost-types": six}),
            Code::InvalidFieldValue,
            "multi-cost-types",
            Some(r#"{"cost-mode":"numerical","cost-metric":"routingcost"}"#),
        ),
        (
            "endpoint-cost",
            json!({"cost-type": routing(), "testable-cost-types": [{"cost-mode": "numerical", "cost-metric": "nope"}], "endpoints": pair}),
            Code::InvalidFieldValue,
            "testable-cost-types",
            Some(r#"{"cost-mode":"numerical","cost-metric":"nope"}"#),
        ),
        ("endpoint-cost", json!({"cost-type": routing()}), Code::MissingField, "endpoints", None),
        (
            "endpoint-cost",
            json!({"cost-type": routing(), "endpoints": {"srcs": ["ipv4:300.0.0.1"], "dsts": []}}),
            Code::InvalidFieldValue,
            "endpoints/srcs",
            Some("ipv4:300.0.0.1"),
        ),
        (
            "endpoint-properties",
            json!({"properties": ["other.pid"], "endpoints": ["ipv4:192.0.2.1"]}),
            Code::InvalidFieldValue,
            "properties",
            Some("other.pid"),
        ),
        (
            "endpoint-properties",
            json!({"properties": ["priv:colour"], "endpoints": ["ipv4:192.0.2.1"]}),
            Code::InvalidFieldValue,
            "properties",
            Some("priv:colour"),
        ),
        ("filtered-network-map", json!({}), Code::MissingField, "pids", None),
        ("filtered-network-map", json!({"pids": "PID1"}), Code::InvalidFieldType, "pids", None),
    ] {
        let error = ask(&guidance, service, &request).expect_err(&request.to_string());
        assert_eq!((error.code, error.field.as_deref(), error.value.as_deref()), (code, Some(field), value), "{request}");
    }
    let error = guidance.answer(&id("endpoint-cost"), b"{\"cost", "::1".parse().unwrap(), &Limits::default()).unwrap().unwrap_err();
    let canonical = guidance.canonical(&id("endpoint-cost"), b"{\"cost", "::1".parse().unwrap(), &Limits::default()).unwrap();
    assert_eq!(canonical.unwrap_err(), error);
    assert_eq!(error.code, Code::Syntax);
    assert!(error.syntax_error.is_some());
}

#[test]
fn one_request_has_bounds() {
    let guidance = example();
    let limits = Limits { pairs_max: 3, properties_max: 1, ..Limits::default() };
    for (service, body, field) in [
        (
            "endpoint-cost",
            json!({"cost-type": routing(), "endpoints": {"srcs": ["ipv4:1.0.0.1", "ipv4:1.0.0.2"], "dsts": ["ipv4:1.0.0.1", "ipv4:1.0.0.2"]}}),
            "endpoints",
        ),
        (
            "endpoint-properties",
            json!({"properties": ["my-default-network-map.pid"], "endpoints": ["ipv4:1.0.0.1", "ipv4:1.0.0.2"]}),
            "endpoints",
        ),
    ] {
        let answer = guidance.answer(&id(service), body.to_string().as_bytes(), "::1".parse().unwrap(), &limits).unwrap();
        let canonical = guidance.canonical(&id(service), body.to_string().as_bytes(), "::1".parse().unwrap(), &limits).unwrap();
        assert_eq!(canonical.err(), answer.as_ref().err().cloned());
        let error = answer.unwrap_err();
        assert_eq!((error.code, error.field.as_deref()), (Code::InvalidFieldValue, Some(field)));
    }
}

/// Section 9.2: what is announced is there and does what is announced.
#[test]
fn directory_is_true() {
    let guidance = example();
    let directory = guidance.directory("http://alto.example.com/");
    assert_eq!(directory.meta.default_network_map, Some(id("my-default-network-map")));
    let names: Vec<&str> = directory.meta.cost_types.keys().map(|name| &**name).collect();
    assert_eq!(names, ["num-bw-available", "num-routingcost", "num-shoesize", "ord-bw-available", "ord-routingcost", "ord-shoesize"]);
    let ids: Vec<&str> = directory.resources.keys().map(ResourceId::as_str).collect();
    let want = [
        "bandwidth",
        "endpoint-cost",
        "endpoint-properties",
        "filtered-cost-map",
        "filtered-network-map",
        "my-default-network-map",
        "routing",
        "shoes",
    ];
    assert_eq!(ids, want);
    for (id, entry) in &directory.resources {
        assert_eq!(*entry.uri, format!("http://alto.example.com/resources/{id}"));
        let service = guidance.service(id).unwrap();
        assert_eq!(*entry.media_type, *service.media_type());
        assert_eq!(entry.accepts.as_deref(), service.accepts());
        assert_eq!(guidance.render(id).is_some(), entry.accepts.is_none(), "{id}");
        for map in &entry.uses {
            assert!(directory.resources.contains_key(map));
        }
        for (_, cost_type) in directory.cost_types_of(entry) {
            let cost_type = json!({"cost-mode": cost_type.mode.as_str(), "cost-metric": cost_type.metric.as_str()});
            match id.as_str() {
                "filtered-cost-map" => {
                    drop(ask(&guidance, "filtered-cost-map", &json!({"cost-type": cost_type, "constraints": ["le 1"]})).unwrap())
                }
                "endpoint-cost" => {
                    let body = json!({"cost-type": cost_type, "constraints": ["le 1"], "endpoints": {"dsts": ["ipv4:192.0.2.1"]}});
                    ask(&guidance, "endpoint-cost", &body).unwrap();
                }
                _ => {}
            }
        }
    }
    let filtered = &directory.resources[&id("filtered-cost-map")];
    // RFC 7285 section 11.3.2.5; RFC 8189 section 4.1.1: never both.
    assert_eq!(filtered.uses, [id("my-default-network-map")]);
    assert!(filtered.capabilities.cost_constraints && filtered.capabilities.testable_cost_type_names.is_empty());
    assert_eq!(filtered.capabilities.max_cost_types, 6);
    // Sections 11.5.1.5 and 11.4.1.5.
    assert!(directory.resources[&id("endpoint-cost")].uses.is_empty() && directory.resources[&id("endpoint-properties")].uses.is_empty());
    // Section 11.2.3.4: exactly one.
    assert_eq!(directory.resources[&id("routing")].capabilities.cost_type_names, ["num-routingcost".into()]);
}

/// Section 10.3 and 11.2.3.6: what is rendered reads back as it was, under its tag, over the present network map.
#[test]
fn rendered_documents_read_back() {
    let guidance = example();
    for resource in guidance.resources() {
        let rendered = guidance.render(resource.id()).unwrap();
        assert_eq!(rendered.tag, *resource.tag());
        match Document::parse(&rendered.body, Some(rendered.media_type)).unwrap() {
            Document::NetworkMap(map) => {
                let Document::NetworkMap(written) = example_network() else { unreachable!() };
                assert_eq!(map.pids, written.pids);
                assert_eq!(map.vtag, Some(VersionTag { resource_id: resource.id().clone(), tag: rendered.tag }));
            }
            Document::CostMap(map) => {
                let Resource::Cost(view) = resource else { unreachable!() };
                assert_eq!(map.dependent_vtags, [guidance.networks[0].view.vtag()]);
                assert_eq!(map.vtag, Some(VersionTag { resource_id: view.id.clone(), tag: view.tag.clone() }));
                let [(cost_type, table)] = &map.tables[..] else { panic!("one cost type") };
                assert_eq!(*cost_type, view.cost_type);
                for (source, destination) in PIDS.iter().flat_map(|source| PIDS.map(|destination| (source, destination))) {
                    assert_eq!(table.get(source, destination), view.table.get(source, destination));
                }
                // A column without costs is not on the wire, and makes no other tag.
                let mut again = inputs([("my-default-network-map", example_network())]);
                let read = Published::take(&view.id, Document::CostMap(map)).unwrap();
                again.documents.insert(view.id.clone(), Arc::new(read));
                assert_eq!(Guidance::compose(&again, None).unwrap().render(&view.id).unwrap().tag, view.tag);
            }
            _ => unreachable!("nothing else is published"),
        }
    }
}

#[test]
fn documents_that_do_not_fit_are_refused() {
    let take = |name: &str, document| Published::take(&id(name), document);
    // Section 11.2.2, the non-overlapping property.
    let refusal = take("map", network(&[("a", &["10.0.0.0/8"]), ("b", &["10.0.0.0/8", "11.0.0.0/8"])])).unwrap_err();
    assert_eq!((refusal.body.field.as_deref(), refusal.body.value.as_deref()), (Some("network-map/b/ipv4"), Some("10.0.0.0/8")));
    // The id in meta.vtag is the resource's.
    let Document::NetworkMap(mut map) = example_network() else { unreachable!() };
    map.vtag = Some(VersionTag { resource_id: id("other"), tag: "t".parse().unwrap() });
    assert_eq!(take("map", Document::NetworkMap(map)).unwrap_err().body.field.as_deref(), Some("meta/vtag/resource-id"));

    let routing = || CostType::numerical(metric("routingcost"));
    let refused = |documents: Vec<(&'static str, Document)>| Guidance::compose(&inputs(documents), None).unwrap_err();
    let square = |map| costs(map, routing(), &PIDS, &PIDS, &[1.0; 9]);
    for (why, refusal, resource, field, value) in [
        ("there is no such map", refused(vec![("m", example_network()), ("c", square(Some("n")))]), "c", "meta/dependent-vtags", Some("n")),
        ("there is no map at all", refused(vec![("c", square(None))]), "c", "meta/dependent-vtags", None),
        (
            "11.2.3.5: one cost map for a network map and cost type",
            refused(vec![("m", example_network()), ("c", square(Some("m"))), ("d", square(None))]),
            "d",
            "meta/cost-type/cost-metric",
            Some("routingcost"),
        ),
        (
            "the name of a service",
            refused(vec![("m", example_network()), ("endpoint-cost", square(None))]),
            "endpoint-cost",
            "resource-id",
            Some("endpoint-cost"),
        ),
    ] {
        assert_eq!(refusal.resource.as_str(), resource, "{why}");
        assert_eq!((refusal.body.field.as_deref(), refusal.body.value.as_deref()), (Some(field), value), "{why}");
    }

    // Section 11.2.3.5 again: the newcomer is at fault, whichever name comes first.
    let before = Guidance::compose(&inputs([("m", example_network()), ("d", square(Some("m")))]), None).unwrap();
    let both = inputs([("m", example_network()), ("c", square(Some("m"))), ("d", square(Some("m")))]);
    let refusal = Guidance::compose(&both, Some(&before)).unwrap_err();
    assert_eq!(refusal.resource, id("c"));
    assert!(refusal.why.contains("already has a cost map of numerical routingcost: d"), "{}", refusal.why);

    // The names of services, also of those that are not there yet for want of costs; what is there from before is composed.
    let nothing = Guidance::compose(&Inputs::default(), None).unwrap();
    for name in
        ["filtered-network-map", "endpoint-properties", "filtered-cost-map", "endpoint-cost", "endpoint-cost-n", "filtered-cost-map-n"]
    {
        let document = Published::take(&id(name), network(&[("x", &["10.0.0.0/8"])])).unwrap();
        let refusal = nothing.check(&id(name), &document).unwrap_err();
        assert_eq!(
            (refusal.resource.as_str(), refusal.body.field.as_deref(), refusal.body.value.as_deref()),
            (name, Some("resource-id"), Some(name))
        );
        assert_eq!(refusal.why, format!("{name} is the name of a service"));
    }
    let before =
        Guidance::compose(&inputs([("a", example_network()), ("endpoint-cost", network(&[("x", &["10.0.0.0/8"])]))]), None).unwrap();
    assert!(before.service(&id("endpoint-cost")).is_some());
    let costless = Published::take(&id("endpoint-costs"), example_network()).unwrap();
    nothing.check(&id("endpoint-costs"), &costless).unwrap();

    // A PID that the map does not have: composed without it, refused when just published.
    let stranger = costs(Some("m"), routing(), &["PID1", "PID8"], &["PID1"], &[1.0, 2.0]);
    let inputs = inputs([("m", example_network()), ("c", stranger)]);
    let guidance = Guidance::compose(&inputs, None).unwrap();
    let refusal = guidance.check(&id("c"), &inputs.documents[&id("c")]).unwrap_err();
    assert_eq!((refusal.body.field.as_deref(), refusal.body.value.as_deref()), (Some("cost-map"), Some("PID8")));
    let body: Value = serde_json::from_slice(&guidance.render(&id("c")).unwrap().body).unwrap();
    assert_eq!(body["cost-map"], json!({"PID1": {"PID1": 1}}));
}

/// interface.md: cost maps follow their network map with new dependent-vtags and tags, and lose the PIDs that it loses.
#[test]
fn dependants_follow_their_network_map() {
    let routing = CostType::numerical(metric("routingcost"));
    let mut inputs = inputs([
        ("m", example_network()),
        ("n", network(&[("x", &["10.0.0.0/8"])])),
        ("c", costs(Some("m"), routing.clone(), &PIDS, &PIDS, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0])),
        ("d", costs(Some("n"), routing, &["x"], &["x"], &[1.0])),
    ]);
    let first = Guidance::compose(&inputs, None).unwrap();
    let again = Guidance::compose(&inputs, Some(&first)).unwrap();
    assert!(first.resources().zip(again.resources()).all(|(a, b)| a.same(b)), "nothing changed, so nothing is made anew");

    let smaller = network(&[("PID1", &["192.0.2.0/24"]), ("PID3", &["0.0.0.0/0", "::/0"])]);
    inputs.documents.insert(id("m"), Arc::new(Published::take(&id("m"), smaller).unwrap()));
    let second = Guidance::compose(&inputs, Some(&first)).unwrap();
    let (before, after) = (&first.services[&id("c")], &second.services[&id("c")]);
    let (Service::Get(Resource::Cost(before)), Service::Get(Resource::Cost(after))) = (before, after) else { unreachable!() };
    assert_ne!(before.tag, after.tag);
    assert_eq!(after.network_map, second.network(&id("m")).unwrap().view.vtag());
    assert_eq!(after.table.values, [1.0, 3.0, 7.0, 9.0]);
    for untouched in ["n", "d"] {
        let resource = |guidance: &Guidance| guidance.resources().find(|resource| resource.id().as_str() == untouched).unwrap().clone();
        assert!(resource(&first).same(&resource(&second)), "{untouched}");
    }
    // Addresses move, PIDs stay: new tags, the same table.
    let moved = network(&[("PID1", &["192.0.2.0/25"]), ("PID3", &["0.0.0.0/0", "::/0"])]);
    inputs.documents.insert(id("m"), Arc::new(Published::take(&id("m"), moved).unwrap()));
    let third = Guidance::compose(&inputs, Some(&second)).unwrap();
    let Service::Get(Resource::Cost(moved)) = &third.services[&id("c")] else { unreachable!() };
    assert_ne!(moved.tag, after.tag);
    assert!(Arc::ptr_eq(&moved.table, &after.table));
    // Without the guidance before, the same comes out.
    let fresh = Guidance::compose(&inputs, None).unwrap();
    assert!(fresh.resources().map(Resource::tag).eq(third.resources().map(Resource::tag)));
}

#[test]
fn explained_document_has_a_number_and_no_path() {
    let guidance = example();
    let address = |text: &str| text.parse::<Address>().unwrap();
    let explanation = guidance.explain(&address("ipv4:192.0.2.1"), &address("ipv6:2001:db8::1"), &metric("routingcost")).unwrap();
    let explanation = serde_json::to_value(explanation).unwrap();
    for (member, want) in [
        ("source", json!("PID1")),
        ("destination", json!("PID3")),
        ("source-prefix", json!("192.0.2.0/24")),
        ("destination-prefix", json!("::/0")),
        ("total", json!(10.0)),
        ("published", json!(true)),
        ("cost-map", json!("routing")),
    ] {
        assert_eq!(explanation[member], want, "{member}");
    }
    let error = guidance.explain(&address("priv:x:1"), &address("ipv4:192.0.2.1"), &metric("routingcost")).unwrap_err();
    assert_eq!((error.field.as_deref(), error.value.as_deref()), (Some("src"), Some("priv:x:1")));
}
