//! What `check` finds, and where: a row for each rule (RFC 7285 sections 9.2, 11.2, 11.4; RFC 8189 section 4.1).
#![allow(clippy::unwrap_used)]
use alto::{
    Limits,
    check::{Problem, Severity, check, check_within},
};

const NETWORK_MAP: &str =
    r#"{"meta":{"vtag":{"resource-id":"n","tag":"t1"}},"network-map":{"A":{"ipv4":["0.0.0.0/0"]},"B":{"ipv4":["10.0.0.0/8"]}}}"#;

/// Rule, severity and pointer of every finding.
fn found(document: &str, companions: &[&str]) -> Vec<String> {
    let companions: Vec<&[u8]> = companions.iter().map(|text| text.as_bytes()).collect();
    check(document.as_bytes(), None, &companions).iter().map(line).collect()
}

fn line(problem: &Problem) -> String {
    format!("{} {} {}", problem.severity, problem.rule, problem.pointer)
}

fn message_of(document: &str, companions: &[&str], rule: &str) -> String {
    let companions: Vec<&[u8]> = companions.iter().map(|text| text.as_bytes()).collect();
    check(document.as_bytes(), None, &companions).into_iter().find(|problem| problem.rule == rule).unwrap().message
}

fn network_map(pids: &str) -> String {
    format!(r#"{{"meta":{{"vtag":{{"resource-id":"n","tag":"t"}}}},"network-map":{pids}}}"#)
}

#[test]
fn network_maps() {
    let rows: &[(&str, &[&str])] = &[
        (r#"{"A":{"ipv4":["0.0.0.0/0"],"ipv6":["::/0"]}}"#, &[]),
        (r#"{"A":{"ipv4":["0.0.0.0/1"]},"B":{"ipv4":["128.0.0.0/1"]}}"#, &[]),
        (r#"{"A":{"ipv6":["::/0"]},"B":{}}"#, &["warning pid-without-prefixes /network-map/B"]),
        (r#"{"A":{"ipv6":["::/0"]},"B":{"ipv4":[]}}"#, &["warning pid-without-prefixes /network-map/B"]),
        (r#"{"A":{"ipv6":["::/0"],"token":["x"]}}"#, &["note unknown-address-type /network-map/A/token"]),
        (
            r#"{"A":{"ipv4":["0.0.0.0/0","10.0.0.0/8"]},"B":{"ipv4":["10.0.0.0/8"]}}"#,
            &["note redundant-prefix /network-map/A/ipv4/0", "error duplicate-prefix /network-map/B/ipv4/0"],
        ),
        (r#"{"A":{"ipv4":["0.0.0.0/0","0.0.0.0/0"]}}"#, &["warning repeated-prefix /network-map/A/ipv4/1"]),
        (
            r#"{"A":{"ipv4":["0.0.0.0/0"]},"B":{"ipv4":["10.0.0.0/8"]},"C":{"ipv4":["10.1.0.0/16","10.2.0.0/16"]}}"#,
            &["note overlapping-prefix /network-map/B/ipv4/0"],
        ),
        (
            r#"{"A":{"ipv4":["0.0.0.0/0","10.0.0.1/8"]}}"#,
            &["note redundant-prefix /network-map/A/ipv4/0", "error host-bits /network-map/A/ipv4/1"],
        ),
        (
            r#"{"A":{"ipv4":["0.0.0.0/0","10/8",5]}}"#,
            &["error invalid-value /network-map/A/ipv4/1", "error wrong-type /network-map/A/ipv4/2"],
        ),
        (r#"{"A":{"ipv4":["::/0","0.0.0.0/0"]}}"#, &["error wrong-family /network-map/A/ipv4/0"]),
        (r#"{"A":{"ipv4":["10.0.0.0/8"]}}"#, &["error uncovered-ipv4 /network-map"]),
        (r#"{"A":{"ipv6":["2001:db8::/32"]}}"#, &["error uncovered-ipv6 /network-map"]),
        (r#"{"a/b~c":{"ipv6":["::/0"]}}"#, &["error invalid-name /network-map/a~1b~0c"]),
        (r#"{"a.b":{"ipv6":["::/0"]}}"#, &["warning reserved-character /network-map/a.b"]),
        (r#"{"A":{"ipv6":["::/0"]},"A":{"ipv4":["0.0.0.0/0"]}}"#, &["error duplicate-member /network-map/A"]),
        (r#"{"A":[]}"#, &["error wrong-type /network-map/A"]),
        ("7", &["error wrong-type /network-map"]),
    ];
    for (pids, want) in rows {
        assert_eq!(found(&network_map(pids), &[]), *want, "{pids}");
    }
    assert_eq!(found(r#"{"network-map":{}}"#, &[]), ["error missing-member "]);
    assert_eq!(
        found(r#"{"meta":{"vtag":{"resource-id":"n n"}},"network-map":{}}"#, &[]),
        ["error missing-member /meta/vtag", "error invalid-value /meta/vtag/resource-id"]
    );
    assert_eq!(
        message_of(&network_map(r#"{"A":{"ipv4":["10.0.0.0/8","12.0.0.0/8"]}}"#), &[], "uncovered-ipv4"),
        "no PID for 0.0.0.0 to 9.255.255.255, 11.0.0.0 to 11.255.255.255, 13.0.0.0 to 255.255.255.255; \
         0.0.0.0/0 in one PID would cover them (a filtered map may leave them out)"
    );
}

/// The examples of RFC 7285 section 11.2.2, complete and no longer non-overlapping.
#[test]
fn examples_of_section_11_2_2() {
    let complete = include_str!("vectors/rfc7285/11.2.2-network-map-complete.corrected.json");
    // PID2's 192.0.2.0/24 is wholly taken by the more specific prefixes of PID3: "192.0.2.1 should be mapped to PID3".
    assert_eq!(found(complete, &[]), ["note overlapping-prefix /network-map/PID2/ipv4/0"]);
    let overlapping = include_str!("vectors/rfc7285/11.2.2-network-map-overlapping.corrected.json");
    assert_eq!(found(overlapping, &[]), ["error duplicate-prefix /network-map/PID3/ipv4/0"]);
}

fn cost_map(mode: &str, costs: &str) -> String {
    format!(
        r#"{{"meta":{{"dependent-vtags":[{{"resource-id":"n","tag":"t1"}}],"cost-type":{{"cost-mode":"{mode}","cost-metric":"routingcost"}}}},"cost-map":{costs}}}"#
    )
}

#[test]
fn cost_maps() {
    let rows: &[(&str, &str, &[&str])] = &[
        ("numerical", r#"{"A":{"A":0,"B":1.5},"B":{"A":1,"B":0}}"#, &[]),
        ("numerical", r#"{"A":{"A":0,"B":1},"B":{"A":1}}"#, &["note missing-costs /cost-map"]),
        ("numerical", r#"{"A":{"A":1}}"#, &["note pid-without-costs /cost-map"]),
        ("numerical", r#"{"A":{"A":1,"B":1},"C":{"A":1,"B":1}}"#, &["error unknown-pid /cost-map/C"]),
        ("numerical", r#"{"A":{"A":1,"D":1},"B":{"A":1,"D":1}}"#, &["error unknown-pid /cost-map/A/D"]),
        ("ordinal", r#"{"A":{"A":1.5,"B":-1}}"#, &["error invalid-cost /cost-map/A/A", "error invalid-cost /cost-map/A/B"]),
        ("numerical", r#"{"A":{"A":-1,"B":1e999}}"#, &["error invalid-cost /cost-map/A/A", "error invalid-cost /cost-map/A/B"]),
        ("numerical", r#"{"A":{"A":"1","B":null}}"#, &["error wrong-type /cost-map/A/A", "error wrong-type /cost-map/A/B"]),
        ("nominal", r#"{"A":{"A":1,"B":1}}"#, &["error invalid-value /meta/cost-type/cost-mode"]),
        ("numerical", r#"{"A":{"A":1,"B":1},"A":{"A":1,"B":1}}"#, &["error duplicate-member /cost-map/A"]),
    ];
    for (mode, costs, want) in rows {
        assert_eq!(found(&cost_map(mode, costs), &[NETWORK_MAP]), *want, "{costs}");
    }
    let map = cost_map("numerical", r#"{"X":{"X":0}}"#);
    assert_eq!(found(&map, &[]), [] as [&str; 0], "without a network map there is no telling");
    let other = NETWORK_MAP.replace("\"n\"", "\"other\"");
    assert_eq!(found(&map, &[&other]), ["error dangling-vtag /meta/dependent-vtags/0/resource-id"]);
    let newer = NETWORK_MAP.replace("t1", "t2");
    assert_eq!(
        found(&cost_map("numerical", r#"{"A":{"A":0,"B":0}}"#), &[&other, &newer]),
        ["warning stale-vtag /meta/dependent-vtags/0/tag"]
    );
    let multi = |costs: &str| {
        format!(
            r#"{{"meta":{{"dependent-vtags":[],"cost-type":{{}},"multi-cost-types":[{{"cost-mode":"numerical","cost-metric":"delay-ow:p99"}},{{"cost-mode":"ordinal","cost-metric":"priv:x"}}]}},"cost-map":{costs}}}"#
        )
    };
    assert_eq!(
        found(&multi(r#"{"A":{"A":[0,null],"B":[1],"C":[1,1.5],"D":3}}"#), &[]),
        [
            "error dependent-vtags /meta/dependent-vtags",
            "error wrong-number-of-costs /cost-map/A/B",
            "error invalid-cost /cost-map/A/C/1",
            "error wrong-type /cost-map/A/D",
        ]
    );
    let shoes =
        r#"{"meta":{"cost-type":{"cost-mode":"numerical","cost-metric":"shoesize"}},"endpoint-cost-map":{"ipv4:1.2.3.4":{"5.6.7.8":1}}}"#;
    assert_eq!(
        found(shoes, &[]),
        ["warning unregistered-metric /meta/cost-type/cost-metric", "error invalid-name /endpoint-cost-map/ipv4:1.2.3.4/5.6.7.8"]
    );
}

#[test]
fn endpoint_properties() {
    let document = r#"{"meta":{"dependent-vtags":[{"resource-id":"n","tag":"t1"}]},
        "endpoint-properties":{"ipv4:1.2.3.4":{"n.pid":"C","m.pid":"A"},"ipv4:1.2.3":{"priv:":"x","priv:y":1}}}"#;
    assert_eq!(
        found(document, &[NETWORK_MAP]),
        [
            "error dependent-vtags /meta",
            "error unknown-pid /endpoint-properties/ipv4:1.2.3.4/n.pid",
            "error invalid-name /endpoint-properties/ipv4:1.2.3",
            "error invalid-name /endpoint-properties/ipv4:1.2.3/priv:",
            "error wrong-type /endpoint-properties/ipv4:1.2.3/priv:y",
        ]
    );
}

/// The directories of the RFCs have errors of their own.
#[test]
fn directories() {
    let root = include_str!("vectors/rfc7285/9.2.3-directory.corrected.json");
    assert_eq!(found(root, &[]), [] as [&str; 0]);
    let delegated = include_str!("vectors/rfc7285/9.2.4-directory-delegated.json");
    let map_of_parent = "warning unknown-resource /resources";
    let problems = found(delegated, &[]);
    assert_eq!(problems.iter().filter(|line| line.starts_with(map_of_parent)).count(), 4, "{problems:?}");
    let multi = include_str!("vectors/rfc8189/5.1-directory.json");
    let problems = found(multi, &[]);
    // It says num-routingcost where meta has num-routing, uses a map in an endpoint cost service, and offers no pid.
    for want in [
        "error unknown-cost-type /resources/filtered-multicost-map/capabilities/cost-type-names/0",
        "warning endpoint-cost-uses /resources/endpoint-multicost-map/uses",
        "warning no-pid-property /resources",
    ] {
        assert!(problems.iter().any(|line| line == want), "{want}: {problems:#?}");
    }
    let entries = r#"{
        "n":{"uri":"/n","media-type":"application/alto-networkmap+json"},
        "a":{"uri":"/a","media-type":"application/alto-costmap+json","uses":["n"],"capabilities":{"cost-type-names":["r"]}},
        "b":{"uri":"/b","media-type":"application/alto-costmap+json","uses":["n"],"capabilities":{"cost-type-names":["r"]}},
        "c":{"uri":"/c","media-type":"application/alto-costmap+json","uses":["n"],"capabilities":{"cost-type-names":["r","r"]}},
        "d":{"uri":"/d","media-type":"application/alto-costmap+json","accepts":"application/alto-costmapfilter+json",
             "capabilities":{"cost-type-names":["r"],"cost-constraints":true,"testable-cost-type-names":["s"],"max-cost-types":-1}},
        "e":{"uri":5,"media-type":"application/alto-endpointprop+json","uses":["z"]},
        "g":{"uri":"/g","media-type":"application/alto-networkmap+json","uses":["a"],"capabilities":{"expires":true}},
        "h":{"uri":"/h","media-type":"application/alto-costmap+json","uses":["a"],"capabilities":{"cost-type-names":["r"],"expires":"soon"}},
        "f f":{"uri":"/f"}}"#;
    let document = format!(
        r#"{{"meta":{{"default-alto-network-map":"a","cost-types":{{"r":{{"cost-mode":"ordinal","cost-metric":"routingcost"}}}}}},"resources":{entries}}}"#
    );
    let mut problems = found(&document, &[]);
    problems.sort();
    assert_eq!(
        problems,
        [
            "error cost-type-names /resources/c/capabilities",
            "error invalid-name /resources/f f",
            "error invalid-value /resources/d/capabilities/max-cost-types",
            "error missing-member /resources/e/capabilities",
            "error missing-member /resources/f f",
            "error not-a-network-map /meta/default-alto-network-map",
            "error same-cost-map /resources/b",
            "error same-cost-map /resources/c",
            "error testable-cost-types /resources/d/capabilities/cost-constraints",
            "error testable-cost-types /resources/d/capabilities/testable-cost-type-names/0",
            "error unknown-cost-type /resources/d/capabilities/testable-cost-type-names/0",
            "error wrong-accepts /resources/e/accepts",
            "error wrong-type /resources/e/uri",
            "error wrong-type /resources/h/capabilities/expires",
            "warning no-pid-property /resources",
            "warning unknown-resource /resources/e/uses/0",
        ]
    );
}

#[test]
fn places() {
    let document = "{\n  \"meta\": {\"vtag\": {\"resource-id\": \"n\", \"tag\": \"t\"}},\n  \"\u{e9}\": 1, \"network-map\": {\n    \"A\": {\"ipv6\": [\"::/0\"]},\n    \"B\": {}\n  }\n}";
    let problems = check(document.as_bytes(), None, &[]);
    assert_eq!(problems.len(), 1);
    assert_eq!((problems[0].line, problems[0].column, problems[0].severity), (5, 5, Severity::Warning));
    let document = "{\n  \"meta\": 1,\n  \"\u{e9}\": [1,, 2] }";
    let problems = check(document.as_bytes(), None, &[]);
    assert_eq!((problems[0].rule, problems[0].line, problems[0].column), ("syntax", 3, 11));
    assert_eq!(problems[0].message, "expected a value");
    let problems = check(b"{\n\"a\":\"\xff\"}", None, &[]);
    assert_eq!((problems[0].rule, problems[0].line, problems[0].column), ("syntax", 2, 6));
    assert_eq!(found("{}", &[]), ["error unknown-document "]);
    assert_eq!(found("[]", &[]), ["error wrong-type "]);
}

/// A list that nobody reads to its end has one.
#[test]
fn list_is_bounded() {
    let pids: Vec<String> = (0..50).map(|n| format!("\"P{n}\":{{}}")).collect();
    let document = network_map(&format!("{{{}}}", pids.join(",")));
    let problems = check_within(document.as_bytes(), None, &[], &Limits { problems_max: 10, ..Limits::default() });
    assert_eq!(problems.len(), 11);
    assert_eq!(problems[10].message, "40 more problems are not listed");
}
