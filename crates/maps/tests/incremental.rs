//! The promise of `maps::compute`: whatever changed and however much of it was kept, the result is that of computing everything.
#![expect(clippy::unwrap_used, reason = "tests")]
mod network;

use maps::{
    compute::{Computed, MapsPolicy, Shape, compute},
    paths,
    policy::{Action, Rule},
    routes::Routes,
    widest::Widest,
};
use network::{Network, Values, metric, networks, pid, steps};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc};
use topology::graph::{Graph, Matrix, RouterIx, SourceIx};

fn bits(computed: &Computed) -> BTreeMap<String, Vec<u64>> {
    computed
        .tables
        .iter()
        .map(|(metric, table)| (metric.as_str().into(), table.values.iter().map(|cost| cost.to_bits()).collect()))
        .collect()
}

fn policies() -> impl Strategy<Value = Arc<MapsPolicy>> {
    let rule = |sources: &str, destinations: &str, action| Rule {
        sources: sources.into(),
        destinations: destinations.into(),
        metric: None,
        action,
    };
    let rules = vec![
        rule("*", "P3", Action::Add(10.0)),
        rule("P1", "*", Action::Multiply(1.5)),
        rule("P2", "P?", Action::Forbid),
        rule("*", "P4", Action::Default(7.0)),
    ];
    let shape = Shape { sources: vec!["P1".into(), "P3".into(), "P5".into()], destinations: vec!["P?".into()] };
    (any::<bool>(), any::<bool>()).prop_map(move |(ruled, rectangular)| {
        Arc::new(MapsPolicy {
            rules: if ruled { rules.clone() } else { Vec::new() },
            shape: if rectangular { shape.clone() } else { Shape::default() },
            ..MapsPolicy::default()
        })
    })
}

fn matrices() -> impl Strategy<Value = Vec<Arc<Matrix>>> {
    let matrix = |name: &str, value: f64| {
        let names: Vec<Box<str>> = ["P1", "r03", "P4", "elsewhere"].map(Into::into).into();
        let values = (0..16).map(|cell| if cell % 3 == 0 { f64::NAN } else { value + f64::from(cell) }).collect();
        Arc::new(Matrix { metric: metric(name), sources: names.clone(), destinations: names, values, source: SourceIx(0) })
    };
    let all = vec![matrix("delay-ow", 100.0), matrix("delay-rt", 300.0), matrix("bw-available", 5.0)];
    proptest::sample::subsequence(all, 0..=3)
}

proptest! {
    /// Tables, bit by bit, after any sequence of changes.
    #[test]
    fn incremental_equals_full(network in networks(), steps in steps(), policy in policies(), matrices in matrices()) {
        let mut network = Network { matrices, ..network };
        let mut computed = compute(network.graph(), policy.clone(), None).unwrap();
        for together in steps {
            together.iter().for_each(|step| network.apply(step));
            let graph = network.graph();
            computed = compute(graph.clone(), policy.clone(), Some(&computed)).unwrap();
            let full = compute(graph, policy.clone(), None).unwrap();
            prop_assert_eq!(bits(&computed), bits(&full), "after {:?}", together);
            prop_assert_eq!(&computed.partition.routers, &full.partition.routers);
            prop_assert_eq!(&computed.partition.network_map, &full.partition.network_map);
            prop_assert_eq!(&computed.partition.placed, &full.partition.placed);
            prop_assert_eq!(&computed.validity, &full.validity);
        }
    }

    /// Routes and widths themselves, delays and next hops included, to every router.
    #[test]
    fn updated_routes_equal_computed(network in networks(), steps in steps()) {
        let mut network = network;
        let mut graph = network.graph();
        let all = |graph: &Graph| (0..graph.routers.len() as u32).map(RouterIx).collect::<Vec<_>>();
        let (mut routes, mut widest) = (Routes::compute(&graph, &all(&graph)), Widest::compute(&graph));
        for together in steps {
            together.iter().for_each(|step| network.apply(step));
            let next = network.graph();
            (routes, widest) = (routes.update(&graph, &next, &all(&next)), widest.update(&graph, &next));
            prop_assert!(routes == Routes::compute(&next, &all(&next)), "routes after {:?}", together);
            prop_assert!(widest == Widest::compute(&next), "widths after {:?}", together);
            graph = next;
        }
    }

    /// The definition of a route, tried on all simple paths: least weight, fewest links, first ids; and what each metric says of it.
    #[test]
    fn routes_are_what_they_are_defined_to_be(network in networks()) {
        // All simple paths over nine routers are too many to try.
        let network = Network { routers: network.routers.iter().copied().take(6).collect(), ..network };
        let graph = network.graph();
        let routers = graph.routers.len() as u32;
        let all: Vec<_> = (0..routers).map(RouterIx).collect();
        let (routes, widest) = (Routes::compute(&graph, &all), Widest::compute(&graph));
        for &from in &all {
            let mut best: BTreeMap<RouterIx, (u64, usize, Vec<RouterIx>)> = BTreeMap::new();
            let mut width: BTreeMap<RouterIx, f64> = BTreeMap::new();
            walk(&graph, &mut vec![from], 0, Some(f64::INFINITY), &mut best, &mut width);
            for &to in &all {
                let hop = routes.hop(from, to).unwrap();
                let want = best.get(&to);
                prop_assert_eq!(hop.cost().zip(hop.hops()), want.map(|(cost, hops, _)| (*cost, *hops as u32)));
                prop_assert_eq!(widest.width_bps(from, to), width.get(&to).copied().filter(|_| from != to));
                let cost = paths::path(&graph, &metric("routingcost"), from, to);
                let ids = cost.as_ref().map(|path| {
                    std::iter::once(from).chain(path.links.iter().map(|link| graph.links[link.0 as usize].to)).collect::<Vec<_>>()
                });
                prop_assert_eq!(ids.as_ref(), want.map(|(_, _, ids)| ids));
                if let Some(path) = paths::path(&graph, &metric("delay-ow"), from, to) {
                    let sum = path.contributions.iter().rev().fold(0.0, |sum, delay| delay + sum);
                    prop_assert_eq!(f64::to_bits(sum), path.total.to_bits());
                    prop_assert_eq!(path.total.to_bits(), hop.delay_us().to_bits());
                }
                if let Some(path) = paths::path(&graph, &metric("bw-available"), from, to) {
                    prop_assert_eq!(Some(path.total * 8.0), widest.width_bps(from, to));
                    prop_assert_eq!(path.contributions.iter().copied().fold(f64::INFINITY, f64::min), path.total);
                    prop_assert_eq!(graph.links[path.links[0].0 as usize].from, from);
                    prop_assert!(path.links.windows(2).all(|two| graph.links[two[0].0 as usize].to == graph.links[two[1].0 as usize].from));
                    prop_assert_eq!(graph.links[path.links.last().unwrap().0 as usize].to, to);
                }
            }
        }
    }

    /// An explanation adds up to the cost that was published.
    #[test]
    fn explanations_add_up(network in networks(), policy in policies(), matrices in matrices()) {
        let network = Network { matrices, ..network };
        let computed = compute(network.graph(), policy, None).unwrap();
        for (metric, table) in &computed.tables {
            for (row, source) in table.sources.iter().enumerate() {
                for (column, destination) in table.destinations.iter().enumerate() {
                    let cost = table.values[row * table.destinations.len() + column];
                    let explained = computed.explain(metric, source, destination).unwrap();
                    prop_assert_eq!(explained.total.unwrap_or(f64::NAN).to_bits(), cost.to_bits());
                    let last = explained.rules.last().map_or(explained.before_rules, |rule| rule.after);
                    prop_assert_eq!(explained.total, last);
                    let legs: Option<Vec<f64>> = explained.legs.iter().map(|leg| leg.cost).collect();
                    prop_assert_eq!(explained.before_rules, legs.map(|legs| legs.iter().sum()));
                    for leg in &explained.legs {
                        let parts: Option<Vec<f64>> = leg.links.iter().map(|link| link.contribution).collect();
                        let combine = |parts: Vec<f64>| match metric.as_str() {
                            "bw-available" => parts.into_iter().fold(f64::INFINITY, f64::min),
                            _ => parts.into_iter().rev().fold(0.0, |sum, part| part + sum),
                        };
                        if !leg.links.is_empty() {
                            prop_assert_eq!(leg.cost, parts.map(combine));
                            prop_assert_eq!(leg.routers.len(), leg.links.len() + 1);
                        }
                    }
                }
            }
        }
    }
}

/// All simple paths from the last router of `ids` on.
fn walk(
    graph: &Graph,
    ids: &mut Vec<RouterIx>,
    cost: u64,
    width_bps: Option<f64>,
    best: &mut BTreeMap<RouterIx, (u64, usize, Vec<RouterIx>)>,
    width: &mut BTreeMap<RouterIx, f64>,
) {
    let at = *ids.last().unwrap();
    let candidate = (cost, ids.len() - 1, ids.clone());
    if best.get(&at).is_none_or(|best| candidate < *best) {
        best.insert(at, candidate);
    }
    if let Some(width_bps) = width_bps {
        let so_far = width.entry(at).or_insert(width_bps);
        *so_far = so_far.max(width_bps);
    }
    for link in graph.links_from(at) {
        if !ids.contains(&link.to) {
            ids.push(link.to);
            let narrowed = link.bandwidth_bps.and_then(|bandwidth| width_bps.map(|width| width.min(bandwidth)));
            walk(graph, ids, cost + u64::from(link.igp_cost), narrowed, best, width);
            ids.pop();
        }
    }
}

/// One change shows what is shared: tables it cannot touch are the same memory.
#[test]
fn untouched_tables_are_shared() {
    let mut network = Network { routers: (0..4).collect(), pid_of: (0..4).map(|i| (i, i)).collect(), ..Network::default() };
    for (from, to) in [(0, 1), (1, 2), (2, 3), (3, 0)] {
        for key in [(from, to, 0), (to, from, 0)] {
            network.links.insert(key, Values { weight: 10, delay_us: Some(5.0), bandwidth_bps: Some(8e9) });
        }
    }
    let policy = Arc::new(MapsPolicy::default());
    let before = compute(network.graph(), policy.clone(), None).unwrap();
    assert_eq!(before.tables.len(), 5);
    network.links.get_mut(&(0, 1, 0)).unwrap().delay_us = Some(6.0);
    let after = compute(network.graph(), policy, Some(&before)).unwrap();
    for (name, shared) in [("routingcost", true), ("hopcount", true), ("delay-ow", false), ("delay-rt", false), ("bw-available", true)] {
        assert_eq!(Arc::ptr_eq(&before.tables[&metric(name)], &after.tables[&metric(name)]), shared, "{name}");
    }
    assert!(Arc::ptr_eq(&before.partition, &after.partition));
    assert_eq!(after.tables[&metric("delay-ow")].values[1], 6.0);
    assert_eq!(after.tables[&metric("delay-rt")].values[1], 11.0);
    assert_eq!(after.tables[&metric("bw-available")].values[1], 1e9);
    assert!(after.tables[&metric("bw-available")].values[0].is_nan());
    let explained = serde_json::to_value(after.explain(&metric("delay-rt"), &pid(0), &pid(1)).unwrap()).unwrap();
    assert_eq!(explained["total"], 11.0);
    assert_eq!(explained["legs"][0]["links"][0]["contribution"], 6.0);
    assert_eq!(
        explained["legs"][0]["links"][0]["source"],
        serde_json::json!({"name": "igp", "observed-at": 1_700_000_000, "trouble": "late"})
    );
    assert_eq!(explained["legs"][1]["routers"], serde_json::json!(["r01", "r00"]));
}
