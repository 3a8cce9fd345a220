//! End to end from what 40 routers printed to costs between PIDs: every cost of the six lab states, as the routers themselves have it.
#![expect(clippy::unwrap_used, reason = "tests")]
#[path = "../../topology/tests/support/lab.rs"]
mod lab;

use alto::{cost::Metric, id::Pid};
use lab::{NAMES, STATES};
use maps::compute::{Computed, MapsPolicy, compute};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};
use topology::{
    fuse::Fuser,
    observation::Observation,
    sources::{BandwidthFrom, Input, Options, SourceKind, read},
};

fn file(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topology/tests/data").join(path);
    fs::read(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

fn observe(kind: SourceKind, paths: &[&str]) -> Observation {
    let names = NAMES.iter().zip(1..).map(|(name, n)| (format!("10.255.0.{n}").into(), (*name).into()));
    let options = Options { names: names.collect::<BTreeMap<_, _>>(), bandwidth: BandwidthFrom::Maximum, ..Options::default() };
    let contents: Vec<Vec<u8>> = paths.iter().map(|path| file(path)).collect();
    let inputs: Vec<Input<'_>> = paths.iter().zip(&contents).map(|(name, bytes)| Input { name, bytes }).collect();
    read(kind, &inputs, &options).unwrap_or_else(|why| panic!("{why}"))
}

fn metric(name: &str) -> Metric {
    name.parse().unwrap()
}

fn pid(name: &str) -> Pid {
    name.parse().unwrap()
}

fn cost(computed: &Computed, of: &str, from: &str, to: &str) -> f64 {
    let table = &computed.tables[&metric(of)];
    let place = |pids: &[Pid], name: &str| pids.binary_search(&pid(name)).unwrap();
    table.values[place(&table.sources, from) * table.destinations.len() + place(&table.destinations, to)]
}

/// The six states one after the other, as the demo replays them: link state and traffic engineering of the lab, real prefixes.
fn replay() -> Vec<Computed> {
    let mut fuser = Fuser::new();
    let (lsdb, te) = (fuser.add_source("lsdb", 10, None), fuser.add_source("te", 5, None));
    let (isis, nren) = (fuser.add_source("isis", 1, None), fuser.add_source("nren", 20, None));
    let at = |second: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + second);
    fuser.observe(nren, observe(SourceKind::PrefixCsv, &["geant-nren/geant-nren-prefixes.csv.gz"]), at(0));
    let mut computed: Vec<Computed> = Vec::new();
    let policy = Arc::new(MapsPolicy::default());
    for (state, second) in STATES.into_iter().zip(0..) {
        let name = |file: &str| format!("frr-geant2012-lab/{state}/{file}.json.gz");
        fuser.observe(lsdb, observe(SourceKind::FrrOspf, &[&name("ospf-database-router"), &name("ospf-database-external")]), at(second));
        fuser.observe(te, observe(SourceKind::FrrTe, &[&name("ospf-te-database")]), at(second));
        fuser.observe(isis, observe(SourceKind::FrrTe, &[&name("isis-te-database")]), at(second));
        let graph = fuser.graph(at(second));
        computed.push(compute(graph, policy.clone(), computed.last()).unwrap());
    }
    computed
}

/// RFC 2328 section 16.1: all 9,442 costs of the six states, and no cost where the routers have none.
#[test]
fn routing_costs_between_pids_are_the_routers_own() {
    let mut compared = 0;
    for (state, computed) in STATES.iter().zip(replay()) {
        let text = String::from_utf8(file(&format!("frr-geant2012-lab/{state}/oracle-ospf-cost.csv"))).unwrap();
        let rows = text.lines().skip(1).map(|row| row.split(',').collect::<Vec<_>>());
        let oracle: BTreeMap<(&str, &str), f64> = rows.map(|row| ((row[0], row[1]), row[2].parse().unwrap())).collect();
        assert_eq!(computed.partition.pids.len(), 40, "{state}");
        for from in NAMES {
            for to in NAMES {
                let cost = cost(&computed, "routingcost", from, to);
                match oracle.get(&(from, to)) {
                    Some(want) => assert_eq!(cost, *want, "{state}: {from} to {to}"),
                    None => assert!(cost.is_nan(), "{state}: {from} to {to} is {cost}, the routers have none"),
                }
            }
        }
        compared += oracle.len();
    }
    assert_eq!(compared, 9_442);
}

/// What the data README says of each state shows in the maps; what was kept from the state before does not.
#[test]
fn each_state_changes_what_it_should() {
    let states = replay();
    let differs = |at: usize| {
        let (a, b) = (&states[at - 1].tables, &states[at].tables);
        a.iter()
            .filter(|(metric, table)| !Arc::ptr_eq(table, &b[*metric]))
            .map(|(metric, _)| metric.as_str().to_owned())
            .collect::<Vec<_>>()
    };
    for (at, computed) in states.iter().enumerate() {
        assert_eq!(computed.tables.len(), 5);
        let full = compute(computed.graph.clone(), computed.policy.clone(), None).unwrap();
        assert_eq!(full.tables, computed.tables, "{}", STATES[at]);
        assert_eq!(full.partition.network_map, states[0].partition.network_map, "{}", STATES[at]);
    }
    // t1: a weight. t2: a link. t4: a delay and the link back. t5 = t0 but for that delay.
    assert_eq!(differs(1), ["delay-ow", "delay-rt", "hopcount", "routingcost"]);
    assert!(Arc::ptr_eq(&states[0].partition, &states[1].partition));
    // Another way between FR and UK is as wide, so no bandwidth changes with that link; with LU some do.
    assert_eq!(differs(2), ["delay-ow", "delay-rt", "hopcount", "routingcost"]);
    assert_eq!(differs(3).len(), 5);
    assert_eq!(states[0].tables[&metric("routingcost")], states[5].tables[&metric("routingcost")]);
    assert_eq!(states[0].tables[&metric("hopcount")], states[5].tables[&metric("hopcount")]);
    assert_eq!(states[0].tables[&metric("bw-available")], states[5].tables[&metric("bw-available")]);
    let delay = |at: usize| cost(&states[at], "delay-ow", "DE", "CH");
    assert!(delay(5) >= 25_000.0 && delay(0) < 25_000.0);
    assert_eq!(cost(&states[5], "delay-rt", "DE", "CH"), delay(5) + cost(&states[5], "delay-ow", "CH", "DE"));
    // RFC 9439 section 5.3.2: bytes per second; the database says 895833024.0 of that very link, and no way round is wider.
    let bandwidth = cost(&states[0], "bw-available", "NL", "BE");
    assert!(bandwidth >= 895_833_024.0, "{bandwidth}");
    // t3: LU is dead; its prefixes are known from elsewhere, so its PID stays, without costs.
    assert!(cost(&states[3], "hopcount", "LU", "LU").is_nan());
    assert!(states[3].partition.find(&pid("LU")).is_some());
}

/// `rank --explain` must show the link that did it.
#[test]
fn an_explanation_names_the_link_that_changed() {
    let states = replay();
    let explain = |at: usize| states[at].explain(&metric("routingcost"), &pid("DE"), &pid("NL")).unwrap();
    let (before, after) = (explain(0), explain(1));
    assert_eq!((before.total, before.legs[0].links.len()), (Some(13.0), 1));
    let link = &before.legs[0].links[0];
    assert_eq!(
        (&*link.from, &*link.to, link.contribution, &*link.source.name, link.source.observed_at),
        ("DE", "NL", Some(13.0), "lsdb", 1_000_000)
    );
    assert!(after.total > before.total && after.legs[0].links.len() > 1, "{after:?}");
    assert_eq!(after.legs[0].links.iter().filter_map(|link| link.contribution).sum::<f64>(), after.total.unwrap());
    assert_eq!(after.legs[0].links[0].source.observed_at, 1_000_001);
}
