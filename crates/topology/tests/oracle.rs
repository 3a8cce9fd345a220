//! The FRR lab: what is read of 40 routers' databases gives the costs those routers computed, in all six states.
#![allow(clippy::unwrap_used)]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use support::*;
use topology::{
    fuse::Fuser,
    graph::Graph,
    observation::Observation,
    sources::{BandwidthFrom, Options, SourceKind},
};

fn oracle(state: &str) -> BTreeMap<(String, String), u64> {
    let text = String::from_utf8(bytes(&lab_file(state, "oracle-ospf-cost.csv"))).unwrap();
    let rows = text.lines().skip(1).map(|row| row.split(',').collect::<Vec<_>>());
    rows.map(|row| ((row[0].into(), row[1].into()), row[2].parse().unwrap())).collect()
}

fn all_costs(graph: &Graph) -> BTreeMap<(String, String), u64> {
    let mut all = BTreeMap::new();
    for (from, ix) in graph.routers.iter().zip(0..) {
        for (to, cost) in graph.routers.iter().zip(costs_from(graph, topology::graph::RouterIx(ix))) {
            if let Some(cost) = cost {
                all.insert((from.id.to_string(), to.id.to_string()), cost);
            }
        }
    }
    all
}

/// Every pair at the oracle's cost, and no pair that it does not have; how many.
fn same_costs(graph: &Graph, state: &str) -> usize {
    let (have, want) = (all_costs(graph), oracle(state));
    let wrong: Vec<_> = want.iter().filter(|(pair, cost)| have.get(*pair) != Some(cost)).take(5).collect();
    let more: Vec<_> = have.keys().filter(|pair| !want.contains_key(*pair)).take(5).collect();
    assert!(wrong.is_empty() && more.is_empty(), "{state}: wrong {wrong:?}, not in the oracle {more:?}");
    want.len()
}

fn ospf(state: &str) -> Observation {
    let files = [lab_file(state, "ospf-database-router.json.gz"), lab_file(state, "ospf-database-external.json.gz")];
    read_with(SourceKind::FrrOspf, &[&files[0], &files[1]], &lab())
}

fn ted(state: &str, protocol: &str, options: &Options) -> Observation {
    read_with(SourceKind::FrrTe, &[&lab_file(state, &format!("{protocol}-te-database.json.gz"))], options)
}

fn graphs_of(observation: impl Fn(&str) -> Observation) -> Vec<(&'static str, std::sync::Arc<Graph>)> {
    // One fuser through all states, as in service, so that nothing of a state remains in the next.
    let mut fuser = Fuser::new();
    let source = fuser.add_source("lab", 0, None);
    let mut graphs = Vec::new();
    for (state, second) in STATES.into_iter().zip(0..) {
        fuser.observe(source, observation(state), at(second));
        graphs.push((state, fuser.graph(at(second))));
    }
    graphs
}

/// RFC 2328 section 16.1: the costs of the routers themselves, every pair, present or absent.
#[test]
fn router_lsas_give_the_routers_own_costs() {
    let mut compared = 0;
    for (state, graph) in graphs_of(ospf) {
        compared += same_costs(&graph, state);
    }
    assert_eq!(compared, 9_442);
}

/// OSPF's traffic engineering database holds the same graph, though it lacks the far end of two edges.
#[test]
fn the_database_for_traffic_engineering_gives_the_same_costs() {
    for (state, graph) in graphs_of(|state| ted(state, "ospf", &lab())) {
        same_costs(&graph, state);
    }
}

/// IS-IS runs over the same links, with metrics of its own: `isis metric 100` did not take and is 10.
#[test]
fn both_protocols_see_the_same_links() {
    let pairs = |graph: &Graph| graph.links.iter().map(|link| (link.from, link.to, link.local_address)).collect::<Vec<_>>();
    let isis = graphs_of(|state| ted(state, "isis", &lab()));
    for ((state, lsdb), (_, isis)) in graphs_of(ospf).into_iter().zip(isis) {
        assert_eq!(
            lsdb.routers.iter().map(|r| &r.id).collect::<Vec<_>>(),
            isis.routers.iter().map(|r| &r.id).collect::<Vec<_>>(),
            "{state}"
        );
        assert_eq!(pairs(&lsdb), pairs(&isis), "{state}");
        assert!(isis.links.iter().all(|link| link.delay_us.is_some()), "{state}");
    }
}

/// A dead router's LSA stays an hour; the two-way check drops it at once, and its prefixes with it.
#[test]
fn a_dead_router_leaves_with_its_prefixes() {
    let graphs = graphs_of(ospf);
    let count = |at: usize| {
        let graph = &graphs[at].1;
        (graph.routers.len(), graph.links.len(), graph.prefixes.len())
    };
    assert_eq!(count(0), (40, 122, 112));
    assert_eq!(count(2), (40, 120, 112));
    let (routers, links, prefixes) = count(3);
    assert_eq!((routers, links), (39, 118 - 2));
    assert!(router(&graphs[3].1, "LU").is_none());
    let of_lu = ospf("t0-baseline").prefixes.iter().filter(|at| at.router.as_deref() == Some("LU")).count();
    assert!(of_lu > 0);
    assert_eq!(prefixes, 112 - of_lu);
    assert_eq!(count(5), (40, 122, 112));
}

/// Only costs change from t0 to t1: the prefixes are the same value, shared.
#[test]
fn unchanged_prefixes_are_shared() {
    let graphs = graphs_of(ospf);
    assert!(std::sync::Arc::ptr_eq(&graphs[0].1.prefixes, &graphs[1].1.prefixes));
    assert!(std::sync::Arc::ptr_eq(&graphs[1].1.prefixes, &graphs[2].1.prefixes));
}

/// Delay and bandwidth come from the traffic engineering database, link by link, by interface address.
#[test]
fn attributes_are_filled_in_from_the_other_database() {
    let options = Options { bandwidth: BandwidthFrom::Maximum, ..lab() };
    let mut fuser = Fuser::new();
    let (lsdb, te) = (fuser.add_source("lsdb", 10, None), fuser.add_source("te", 5, None));
    for (state, second) in STATES.into_iter().zip(0..) {
        fuser.observe(lsdb, ospf(state), at(second));
        fuser.observe(te, ted(state, "ospf", &options), at(second));
        let graph = fuser.graph(at(second));
        same_costs(&graph, state);
        let without: BTreeSet<(&str, &str)> = graph
            .links
            .iter()
            .filter(|link| link.delay_us.is_none() || link.bandwidth_bps.is_none())
            .map(|link| (&*graph.routers[link.from.0 as usize].id, &*graph.routers[link.to.0 as usize].id))
            .collect();
        // The oddity of the lab: AT's edge of that link has a metric and an address only. Nothing is made up for it.
        assert_eq!(without, BTreeSet::from([("AT", "SL")]), "{state}");
        let link = |from: &str, to: &str| {
            let (from, to) = (router(&graph, from).unwrap(), router(&graph, to).unwrap());
            graph.links_from(from).iter().find(|link| link.to == to).cloned().unwrap()
        };
        // "max-link-bandwidth": 895833024.0 bytes/s; weight 13.
        assert_eq!(link("NL", "BE").bandwidth_bps, Some(895_833_024.0 * 8.0));
        assert_eq!(link("NL", "BE").delay_us, Some(293.0));
        assert_eq!(link("SL", "AT").delay_us, Some(468.0));
        let raised = state.starts_with("t4") || state.starts_with("t5");
        assert_eq!(link("DE", "CH").delay_us == Some(25_000.0), raised, "{state}");
        assert_eq!(link("DE", "NL").igp_cost, if second == 0 || second == 5 { 13 } else { 120 }, "{state}");
        assert_eq!(link("DE", "CH").igp_cost, 13);
    }
    // A third source that has it fills what the second has not.
    let isis = fuser.add_source("isis", 1, None);
    fuser.observe(isis, ted(STATES[5], "isis", &options), at(6));
    let graph = fuser.graph(at(6));
    assert!(graph.links.iter().all(|link| link.delay_us.is_some() && link.bandwidth_bps.is_some()));
    assert_eq!(graph.links.len(), 122);
}

/// Routers' places come from a drawing, links from the routers: the drawing brings back no link that is down.
#[test]
fn a_drawing_places_routers_and_revives_nothing() {
    let drawing = || read_with(SourceKind::Graphml, &["zoo/Geant2012.graphml"], &Options::default());
    let places = Options { routers_only: true, ..Options::default() };
    for whole in [true, false] {
        let mut fuser = Fuser::new();
        let (lsdb, zoo) = (fuser.add_source("lsdb", 10, None), fuser.add_source("zoo", 0, None));
        let seen = if whole { drawing() } else { read_with(SourceKind::Graphml, &["zoo/Geant2012.graphml"], &places) };
        assert_eq!(seen.links.is_empty(), !whole);
        fuser.observe(zoo, seen, at(0));
        for (state, second) in STATES.into_iter().zip(0..) {
            fuser.observe(lsdb, ospf(state), at(second));
            let graph = fuser.graph(at(second));
            same_costs(&graph, state);
            let placed = graph.routers.iter().filter(|router| router.location.is_some()).count();
            assert_eq!(placed, graph.routers.len() - 3, "{state}: all but UA, MD, BY");
            let delays = graph.links.iter().filter(|link| link.delay_us.is_some()).count();
            assert_eq!(delays > 0, whole, "delays come with the drawing's links");
            assert!(graph.links.iter().all(|link| link.source == lsdb));
        }
    }
}

/// The database that lists routers without reservations is told apart from one that tracks them.
#[test]
fn oddities_of_the_lab_are_named() {
    let odd = ted("t0-baseline", "ospf", &lab()).oddities;
    let with = |what: &str| odd.iter().filter(|odd| odd.what.contains(what)).count();
    assert_eq!(with("without remote-vertex-id"), 2);
    assert_eq!(with("do not track reservations"), 1);
    let mut fuser = Fuser::new();
    let source = fuser.add_source("lab", 0, None);
    fuser.observe(source, ospf("t3-lu-router-dead"), at(0));
    let odd = fuser.oddities();
    assert!(odd.iter().any(|(_, odd)| odd.place == "router LU" && odd.what.contains("taken as gone")), "{odd:?}");
    assert!(odd.iter().any(|(_, odd)| odd.what.contains("a link to DE, which reports none back")), "{odd:?}");
}
