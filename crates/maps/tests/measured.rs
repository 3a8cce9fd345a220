//! Costs that somebody measured: real round trips between regions, and what goes before what.
#![expect(clippy::unwrap_used, reason = "tests")]
mod network;

use maps::compute::{Computed, MapsPolicy, Shape, compute};
use network::{Network, Values, metric, pid};
use std::{fs, path::Path, sync::Arc, time::SystemTime};
use topology::{
    fuse::Fuser,
    graph::{Matrix, SourceIx},
    sources::{Columns, Input, Options, SourceKind, read},
};

fn cost(computed: &Computed, of: &str, from: &str, to: &str) -> f64 {
    let table = &computed.tables[&metric(of)];
    let place = |pids: &[alto::id::Pid], name: &str| pids.iter().position(|pid| pid.as_str() == name).unwrap();
    table.values[place(&table.sources, from) * table.destinations.len() + place(&table.destinations, to)]
}

/// Regions without routers and their measured round trips: one map, in microseconds, as asymmetric and as incomplete as the table.
#[test]
fn azure_regions() {
    let mut fuser = Fuser::new();
    let options = Options { columns: Columns { group: Some("rtt_region".into()), ..Columns::default() }, ..Options::default() };
    let sources = [
        (SourceKind::PrefixCsv, "../altocast/data/azure/region-prefixes-2025-07.csv.gz", options),
        (SourceKind::LatencyMatrix, "../topology/tests/data/azure/azure-region-rtt.csv", Options::default()),
    ];
    for (kind, name, options) in sources {
        let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
        let observation = read(kind, &[Input { name, bytes: &bytes }], &options).unwrap_or_else(|why| panic!("{why}"));
        let source = fuser.add_source(name, 0, None);
        fuser.observe(source, observation, SystemTime::UNIX_EPOCH);
    }
    let computed = compute(fuser.graph(SystemTime::UNIX_EPOCH), Arc::new(MapsPolicy::default()), None).unwrap();
    let made: Vec<&str> = computed.tables.keys().map(|metric| metric.as_str()).collect();
    assert_eq!(made, ["delay-rt"], "nothing else was measured, and there are no links");
    // The table's own numbers, milliseconds there.
    assert_eq!(cost(&computed, "delay-rt", "East-US", "West-Europe"), 83_000.0);
    assert!(cost(&computed, "delay-rt", "East-US", "East-US").is_nan(), "its diagonal is blank");
    let table = &computed.tables[&metric("delay-rt")];
    let known = table.values.iter().filter(|cost| !cost.is_nan()).count();
    assert_eq!((table.sources.len(), known), (51, 2_350));
    let explained = computed.explain(&metric("delay-rt"), &"East-US".parse().unwrap(), &"West-Europe".parse().unwrap()).unwrap();
    assert_eq!(explained.legs[0].measured.as_ref().map(|source| &*source.name), Some("../topology/tests/data/azure/azure-region-rtt.csv"));
}

fn line() -> Network {
    // 0 - 1 - 2, and PID 0 is behind routers 0 and 2, PID 1 behind 1.
    let mut network = Network { routers: (0..3).collect(), pid_of: [(0, 0), (1, 1), (2, 0)].into(), ..Network::default() };
    for (from, to, weight, delay) in [(0, 1, 10, 100.0), (1, 0, 10, 100.0), (1, 2, 3, 900.0), (2, 1, 20, 900.0)] {
        network.links.insert((from, to, 0), Values { weight, delay_us: Some(delay), bandwidth_bps: Some(8.0 * f64::from(weight)) });
    }
    network
}

/// The nearest routers stand for a PID, and other metrics follow the same route, even where another would suit them better.
#[test]
fn a_pid_behind_several_routers() {
    let computed = compute(line().graph(), Arc::new(MapsPolicy::default()), None).unwrap();
    for (of, want) in [
        ("routingcost", [0.0, 10.0, 3.0, 0.0]),
        ("hopcount", [0.0, 1.0, 1.0, 0.0]),
        ("delay-ow", [0.0, 100.0, 900.0, 0.0]),
        ("delay-rt", [0.0, 1000.0, 1000.0, 0.0]),
        ("bw-available", [f64::NAN, 20.0, 10.0, f64::NAN]),
    ] {
        let table = &computed.tables[&metric(of)];
        assert!(
            table.values.iter().zip(want).all(|(a, b)| *a == b || (a.is_nan() && b.is_nan())),
            "{of}: {:?}, not {want:?}",
            table.values
        );
    }
}

#[test]
fn measurements_go_before_links() {
    let mut network = line();
    let matrix = |of: &str, values: [f64; 4]| {
        let names: Vec<Box<str>> = vec!["P0".into(), "P1".into()];
        Arc::new(Matrix { metric: metric(of), sources: names.clone(), destinations: names, values: values.into(), source: SourceIx(0) })
    };
    network.matrices = vec![
        matrix("delay-ow", [f64::NAN, 70.0, f64::NAN, 5.0]),
        // Of two with the same metric the better source comes first.
        matrix("delay-ow", [f64::NAN, 71.0, f64::NAN, 6.0]),
        matrix("lossrate", [0.0, 0.5, f64::NAN, 0.0]),
    ];
    let mut policy = MapsPolicy::default();
    policy.metrics.push(metric("lossrate"));
    let computed = compute(network.graph(), Arc::new(policy), None).unwrap();
    for (of, from, to, want) in [
        ("delay-ow", "P0", "P1", 70.0),
        ("delay-ow", "P1", "P0", 900.0),
        ("delay-ow", "P1", "P1", 5.0),
        ("delay-ow", "P0", "P0", 0.0),
        ("delay-rt", "P0", "P1", 970.0),
        ("delay-rt", "P1", "P0", 970.0),
        ("lossrate", "P0", "P1", 0.5),
        ("routingcost", "P0", "P1", 10.0),
    ] {
        assert_eq!(cost(&computed, of, from, to), want, "{of} {from} {to}");
    }
    assert!(cost(&computed, "lossrate", "P1", "P0").is_nan());
}

/// Customers by servers: rows and columns of their own.
#[test]
fn rectangular_maps() {
    let shape = Shape { sources: vec!["P1".into()], destinations: vec!["P0".into(), "none*".into()] };
    let computed = compute(line().graph(), Arc::new(MapsPolicy { shape, ..MapsPolicy::default() }), None).unwrap();
    let table = &computed.tables[&metric("delay-rt")];
    assert_eq!((&*table.sources, &*table.destinations, &table.values), (&[pid(1)][..], &[pid(0)][..], &vec![1000.0]));
    assert!(computed.explain(&metric("delay-rt"), &pid(0), &pid(1)).is_err(), "not a row");
    assert_eq!(computed.explain(&metric("delay-rt"), &pid(1), &pid(0)).unwrap().legs.len(), 2);
}

#[test]
fn bounds() {
    use maps::{Error, Limits};
    let limited = |limits| compute(line().graph(), Arc::new(MapsPolicy { limits, ..MapsPolicy::default() }), None).map(|_| ());
    for (limits, want) in [
        (Limits { pids_max: 1, ..Limits::default() }, Error::TooManyPids { asked: 2, limit: 1 }),
        (Limits { costs_max: 3, ..Limits::default() }, Error::TooManyCosts { asked: 4, limit: 3 }),
        (Limits { routes_max: 8, ..Limits::default() }, Error::TooManyRoutes { asked: 9, limit: 8 }),
    ] {
        assert_eq!(limited(limits), Err(want));
    }
    assert_eq!(limited(Limits::default()), Ok(()));
}
