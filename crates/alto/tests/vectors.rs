//! Every example of RFC 7285 and RFC 8189, and the maps of draft-alto-caching-subscription, both ways: read, written, and read again.
//!
//! `vectors/<rfc>/<section>-<what>.json` is the example as the RFC prints it. Where that cannot be read, because it is
//! erroneous, abridged with dots or a fragment of a document, the test says so, asserts the refusal, and goes on with
//! `<section>-<what>.corrected.json`.
#![allow(clippy::unwrap_used)]
use alto::{
    ErrorBody, cost_map,
    directory::Directory,
    endpoint_cost, endpoint_property,
    error::Code,
    expiry::{Expires, ExpiringNetworkMap},
    network_map,
};
use std::{fmt::Debug, path::PathBuf};

fn text(rfc: u32, name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/rfc{rfc}/{name}.json"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn value(json: &[u8]) -> serde_json::Value {
    serde_json::from_slice(json).unwrap()
}

/// Why an example is not read as printed.
enum Printed {
    Readable,
    /// What is wrong, and what we answer: where E_SYNTAX is, or which field has which value.
    Refused(&'static str, Refusal),
}

enum Refusal {
    Syntax(&'static str),
    Value(&'static str, &'static str),
}

use Printed::{Readable, Refused};
use Refusal::{Syntax, Value};

/// One example both ways.
fn both_ways<T: PartialEq + Debug>(
    rfc: u32,
    name: &str,
    printed: &Printed,
    read: fn(&[u8]) -> Result<T, ErrorBody>,
    write: fn(&T) -> Vec<u8>,
) {
    let as_printed = text(rfc, name);
    let readable = match printed {
        Readable => as_printed,
        Refused(why, want) => {
            let error = read(&as_printed).expect_err(why);
            match want {
                Syntax(at) => {
                    assert_eq!(error.code, Code::Syntax, "RFC {rfc} {name}: {error}");
                    let said = error.syntax_error.as_deref().unwrap_or_default();
                    assert!(said.ends_with(at), "RFC {rfc} {name}: {said:?} does not end with {at:?}");
                }
                Value(field, value) => assert_eq!(error, ErrorBody::invalid(*field, *value), "RFC {rfc} {name}"),
            }
            text(rfc, &format!("{name}.corrected"))
        }
    };
    let document = read(&readable).unwrap_or_else(|e| panic!("RFC {rfc} {name}: {e}"));
    let written = write(&document);
    assert_eq!(value(&written), value(&readable), "RFC {rfc} {name}: written");
    assert_eq!(read(&written).unwrap(), document, "RFC {rfc} {name}: read again");
}

#[test]
fn directories() {
    for (rfc, name, printed) in [
        (7285, "9.2.3-directory", Refused("a comma before the brace that ends endpoint-property", Syntax("line 56 column 10"))),
        (7285, "9.2.4-directory-delegated", Readable),
        (8189, "3.3-directory-entry", Refused("a fragment, with dots", Syntax("line 1 column 1"))),
        (8189, "3.6.5-directory-entries", Refused("a fragment, and a comma before a brace", Syntax("line 1 column 1"))),
        // Erroneous, but readable: its cost-type-names say num-routingcost, its meta num-routing.
        (8189, "5.1-directory", Readable),
    ] {
        both_ways(rfc, name, &printed, Directory::from_json, Directory::to_json);
    }
}

#[test]
fn network_maps() {
    for (rfc, name, printed) in [
        (7285, "10.4.5-address-group", Refused("a fragment: the group of one PID", Syntax("E_MISSING_FIELD"))),
        (7285, "11.2.1.7-network-map", Readable),
        (7285, "11.2.2-network-map-complete", Refused("a fragment", Syntax("line 1 column 1"))),
        (
            7285,
            "11.3.1.7-filtered-network-map",
            Refused(
                "198.51.100.128/24 has bits set past its length, and lies in PID1",
                Value("network-map/PID2/ipv4", "198.51.100.128/24"),
            ),
        ),
    ] {
        if name == "10.4.5-address-group" {
            assert_eq!(network_map::NetworkMap::from_json(&text(rfc, name)), Err(ErrorBody::missing("meta")));
            let complete = text(rfc, &format!("{name}.corrected"));
            let map = network_map::NetworkMap::from_json(&complete).unwrap();
            assert_eq!(value(&map.to_json()), value(&complete));
            continue;
        }
        both_ways(rfc, name, &printed, network_map::NetworkMap::from_json, network_map::NetworkMap::to_json);
    }
}

/// RFC 7285 section 11.2.2: "The new map is no longer non-overlapping".
#[test]
fn overlapping_network_map() {
    let error = network_map::NetworkMap::from_json(&text(7285, "11.2.2-network-map-overlapping.corrected")).unwrap_err();
    assert_eq!(error, ErrorBody::invalid("network-map/PID3/ipv4", "192.0.2.0/24"));
}

#[test]
fn network_map_filters() {
    both_ways(7285, "11.3.1.7-network-map-filter", &Readable, network_map::Filter::from_json, network_map::Filter::to_json);
}

#[test]
fn cost_maps() {
    for (rfc, name, printed) in [
        (7285, "11.2.3.7-cost-map", Readable),
        (7285, "11.3.2.7-filtered-cost-map", Readable),
        (8189, "3.1-multi-cost-map", Refused("dots, and no comma after meta", Syntax("line 3 column 26"))),
        (8189, "5.2-cost-map", Refused("no comma after meta", Syntax("line 14 column 2"))),
        (
            8189,
            "5.3-cost-map",
            Refused("no comma after meta; PID1 to PID3 is [10,5] where section 5.2 has [10,2]", Syntax("line 14 column 3")),
        ),
        (8189, "5.4-cost-map", Refused("no comma after meta", Syntax("line 12 column 3"))),
        (8189, "5.5-cost-map", Refused("no comma after meta, none after [1,16]", Syntax("line 14 column 3"))),
    ] {
        both_ways(rfc, name, &printed, cost_map::CostMap::from_json, cost_map::CostMap::to_json);
    }
}

#[test]
fn cost_map_filters() {
    for (rfc, name, printed) in [
        (7285, "11.3.2.7-cost-map-filter", Readable),
        (8189, "3.6-constraints", Refused("a fragment", Syntax("line 1 column 1"))),
        (8189, "3.6.2-or-constraints", Refused("dots", Syntax("line 10 column 12"))),
        (8189, "3.6.3-testable-cost-types", Refused("dots, and commas before brackets", Syntax("line 3 column 63"))),
        (8189, "5.3-filter", Refused("no comma after or-constraints", Syntax("line 8 column 3"))),
        (8189, "5.5-filter", Readable),
        (8189, "5.2-filter", Readable),
        (8189, "5.4-filter", Readable),
    ] {
        let name_of_request = name;
        both_ways_as(rfc, name_of_request, &printed);
    }
}

/// A filter whose lists of PIDs are both empty asks what one without lists asks, and whose index is 0 what one without index
/// asks: what is written is compared as what it means, and in its words where it has neither.
fn both_ways_as(rfc: u32, name: &str, printed: &Printed) {
    let readable = match printed {
        Readable => text(rfc, name),
        Refused(why, Syntax(at)) => {
            let error = cost_map::Filter::from_json(&text(rfc, name)).expect_err(why);
            assert!(error.syntax_error.as_deref().is_some_and(|said| said.ends_with(at)), "RFC {rfc} {name}: {error}");
            text(rfc, &format!("{name}.corrected"))
        }
        Refused(..) => unreachable!(),
    };
    let filter = cost_map::Filter::from_json(&readable).unwrap_or_else(|e| panic!("RFC {rfc} {name}: {e}"));
    let written = filter.to_json();
    assert_eq!(cost_map::Filter::from_json(&written).unwrap(), filter, "RFC {rfc} {name}: read again");
    let meaning = |json: &[u8]| {
        let mut value: serde_json::Value = serde_json::from_str(&String::from_utf8_lossy(json).replace("\"[0] ", "\"")).unwrap();
        if value["pids"] == serde_json::json!({ "srcs": [], "dsts": [] }) {
            value.as_object_mut().unwrap().remove("pids");
        }
        value
    };
    assert_eq!(meaning(&written), meaning(&readable), "RFC {rfc} {name}: written");
}

#[test]
fn endpoint_properties() {
    both_ways(
        7285,
        // Erroneous, but readable: it asks for my-default-networkmap.pid, the answer has my-default-network-map.pid.
        "11.4.1.7-endpoint-properties-request",
        &Readable,
        endpoint_property::Request::from_json,
        endpoint_property::Request::to_json,
    );
    both_ways(
        7285,
        "11.4.1.7-endpoint-properties",
        &Readable,
        endpoint_property::EndpointProperties::from_json,
        endpoint_property::EndpointProperties::to_json,
    );
}

#[test]
fn endpoint_cost_requests() {
    both_ways(7285, "11.5.1.7-endpoint-cost-request", &Readable, endpoint_cost::Request::from_json, endpoint_cost::Request::to_json);
    let error = endpoint_cost::Request::from_json(&text(8189, "5.6-endpoint-cost-request")).expect_err("a quote is missing");
    assert_eq!(error, ErrorBody::syntax("a control character in a string at line 11 column 55"));
    let request = endpoint_cost::Request::from_json(&text(8189, "5.6-endpoint-cost-request.corrected")).unwrap();
    assert_eq!(endpoint_cost::Request::from_json(&request.to_json()).unwrap(), request);
    assert_eq!(request.query.constraints.any.len(), 2);
    // "ipv6:2001:db8::1:0" and the rest come back in the same words.
    assert_eq!(value(&request.to_json())["endpoints"], value(&text(8189, "5.6-endpoint-cost-request.corrected"))["endpoints"]);
}

#[test]
fn endpoint_costs() {
    for (rfc, name, printed) in [
        (7285, "11.5.1.7-endpoint-costs", Readable),
        (
            8189,
            "5.6-endpoint-costs",
            Refused(
                "no comma after meta, none between sources, and no cost-type, which section 4.2.3 sets to {}",
                Syntax("line 8 column 3"),
            ),
        ),
    ] {
        both_ways(rfc, name, &printed, endpoint_cost::EndpointCosts::from_json, endpoint_cost::EndpointCosts::to_json);
    }
}

/// draft-alto-caching-subscription section 7.3, as [`alto::expiry`] has it: RFC 7285's envelope around the draft's members.
#[test]
fn expiring_network_maps() {
    let file = |name: &str| {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/draft-caching-subscription/{name}.json"));
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    let (early, late) = (Expires::from_unix(1_316_016_000), Expires::from_unix(1_323_878_400));
    for (name, whole, of_pids) in [
        ("7.3.1-network-map", Some(early), [("PID1", Some(early)), ("PID2", Some(early)), ("PID3", Some(early))].as_slice()),
        // The prefixes of the draft's second example have bits set past their length, and overlap: corrected as in its first.
        ("7.3.2-filtered-network-map", None, &[("PID1", Some(early)), ("PID2", Some(late)), ("PID3", None)]),
    ] {
        // The envelope of a base draft that has no vtag in meta and calls the data "data".
        assert_eq!(ExpiringNetworkMap::from_json(&file(name)), Err(ErrorBody::missing("network-map")), "{name}");
        let readable = file(&format!("{name}.corrected"));
        let map = ExpiringNetworkMap::from_json(&readable).unwrap();
        assert_eq!(map.expires, whole, "{name}");
        for &(pid, expires) in of_pids {
            assert_eq!(map.expires_of(&pid.parse().unwrap()), expires, "{name} {pid}");
        }
        assert_eq!(value(&map.to_json()), value(&readable), "{name}: written");
        assert_eq!(ExpiringNetworkMap::from_json(&map.to_json()).unwrap(), map, "{name}: read again");
        // What the tag is made of has none of it.
        assert!(!String::from_utf8(map.map.content_json()).unwrap().contains("expires"), "{name}");
    }
    let request = file("7.3.2-network-map-filter");
    let filter = network_map::Filter::from_json(&request).unwrap();
    assert_eq!(value(&filter.to_json()), value(&request));
}

/// No example is left out: each file of the folders is named in this one.
#[test]
fn every_vector_is_used() {
    let this = include_str!("vectors.rs");
    for folder in ["rfc7285", "rfc8189", "draft-caching-subscription"] {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/{folder}"));
        for file in std::fs::read_dir(folder).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let name = name.strip_suffix(".json").unwrap();
            let name = name.strip_suffix(".corrected").unwrap_or(name);
            assert!(this.contains(&format!("{name}\"")) || this.contains(&format!("{name}.corrected\"")), "{name} is not tested");
        }
    }
}
