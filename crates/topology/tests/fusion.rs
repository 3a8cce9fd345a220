//! What sources make together: precedence, fill-in, the two-way check, age and trouble.
#![allow(clippy::unwrap_used)]
mod support;

use proptest::prelude::*;
use std::{sync::Arc, time::Duration};
use support::*;
use topology::{
    fuse::Fuser,
    graph::{Graph, SourceIx},
    observation::{Link, Matrix, Observation, PrefixAt, Router, group_name},
    validity::Stated,
};

fn link(from: &str, to: &str, cost: Option<u32>) -> Link {
    Link { from: from.into(), to: to.into(), igp_cost: cost, ..Link::default() }
}

fn at_address(address: &str, link: Link) -> Link {
    Link { local_address: Some(address.parse().unwrap()), ..link }
}

fn both_ways(links: &[Link]) -> Observation {
    let back = links.iter().map(|link| Link { from: link.to.clone(), to: link.from.clone(), ..link.clone() });
    Observation { links: links.iter().cloned().chain(back).collect(), ..Observation::default() }
}

fn prefix(text: &str, group: Option<&str>, router: Option<&str>) -> PrefixAt {
    let (base, length) = text.split_once('/').unwrap();
    let prefix = alto::endpoint::Prefix::new(base.parse().unwrap(), length.parse().unwrap()).unwrap();
    PrefixAt { prefix, group: group.and_then(group_name), router: router.map(Box::from), asn: None }
}

/// Sources as (precedence, what they say), all of one age.
fn fused(sources: &[(i32, Observation)]) -> Arc<Graph> {
    let mut fuser = Fuser::new();
    for (ix, (precedence, observation)) in sources.iter().enumerate() {
        let source = fuser.add_source(&format!("s{ix}"), *precedence, None);
        fuser.observe(source, observation.clone(), at(0));
    }
    fuser.graph(at(0))
}

/// From, to, cost, delay, bandwidth.
type Row<'g> = (&'g str, &'g str, u32, Option<f64>, Option<f64>);

fn links(graph: &Graph) -> Vec<Row<'_>> {
    let name = |ix: topology::graph::RouterIx| &*graph.routers[ix.0 as usize].id;
    graph.links.iter().map(|link| (name(link.from), name(link.to), link.igp_cost, link.delay_us, link.bandwidth_bps)).collect()
}

#[test]
fn two_way_check() {
    let checked = |from: &str, to: &str| Link { needs_both_ends: true, ..link(from, to, Some(1)) };
    let seen = |links: Vec<Link>| Observation { links, ..Observation::default() };
    for (links_seen, routers, links_left) in [
        (vec![checked("a", "b"), checked("b", "a")], 2, 2),
        // One end only: no link, and nothing left of either.
        (vec![checked("a", "b")], 0, 0),
        (vec![checked("a", "b"), checked("b", "a"), checked("c", "a")], 2, 2),
        // Where the source does not ask for it, one end is enough.
        (vec![link("a", "b", Some(1))], 2, 1),
        // The other end's report may come with other costs, not with other needs.
        (vec![checked("a", "b"), link("b", "a", Some(9))], 2, 2),
        // To itself is no link.
        (vec![checked("a", "a"), checked("a", "b"), checked("b", "a")], 2, 2),
    ] {
        let graph = fused(&[(0, seen(links_seen.clone()))]);
        assert_eq!((graph.routers.len(), graph.links.len()), (routers, links_left), "{links_seen:?}");
    }
    // An isolated router that reports no links is there.
    let mut alone = both_ways(&[checked("a", "b")]);
    alone.routers.push(Router { id: "z".into(), ..Router::default() });
    assert_eq!(fused(&[(0, alone)]).routers.len(), 3);
}

#[test]
fn parallel_links_are_told_apart_by_address() {
    let lsdb = both_ways(&[at_address("10.0.0.1", link("a", "b", Some(10))), at_address("10.0.1.1", link("a", "b", Some(20)))]);
    let te = |address: &str, delay: f64, bps: f64| {
        at_address(address, Link { delay_us: Some(delay), bandwidth_bps: Some(bps), ..link("a", "b", None) })
    };
    // Given in the other order.
    let ted = both_ways(&[te("10.0.1.1", 200.0, 2e9), te("10.0.0.1", 100.0, 1e9)]);
    let graph = fused(&[(5, ted), (10, lsdb)]);
    let want = [(10, 100.0, 1e9), (20, 200.0, 2e9)].map(|(cost, delay, bps)| ("a", "b", cost, Some(delay), Some(bps)));
    assert_eq!(links(&graph)[..2], want);

    // A drawing with one edge for both: ends apart make the delay of each, the bandwidth is whose?
    let drawn = both_ways(&[Link { delay_us: Some(70.0), bandwidth_bps: Some(1e9), ..link("a", "b", None) }]);
    let lsdb = both_ways(&[at_address("10.0.0.1", link("a", "b", Some(10))), at_address("10.0.1.1", link("a", "b", Some(20)))]);
    let graph = fused(&[(0, drawn.clone()), (10, lsdb)]);
    assert!(graph.links.iter().all(|link| link.delay_us == Some(70.0) && link.bandwidth_bps.is_none()));
    // One for one: all of it.
    let graph = fused(&[(0, drawn), (10, both_ways(&[at_address("10.0.0.1", link("a", "b", Some(10)))]))]);
    assert!(graph.links.iter().all(|link| link.bandwidth_bps == Some(1e9)));
    // The address of another link fills nothing.
    let other = both_ways(&[te("10.9.9.9", 1.0, 1.0)]);
    let graph = fused(&[(0, other), (10, both_ways(&[at_address("10.0.0.1", link("a", "b", Some(10)))]))]);
    assert!(graph.links.iter().all(|link| link.delay_us.is_none()));
    // The same interface twice is one link.
    let twice = both_ways(&[at_address("10.0.0.1", link("a", "b", Some(9))), at_address("10.0.0.1", link("a", "b", Some(4)))]);
    assert_eq!(links(&fused(&[(0, twice)])).iter().map(|link| link.2).collect::<Vec<_>>(), [4, 4]);
    // Without addresses parallel edges remain.
    assert_eq!(fused(&[(0, both_ways(&[link("a", "b", Some(1)), link("a", "b", Some(1))]))]).links.len(), 4);
}

#[test]
fn who_decides_that_there_is_a_link() {
    let lsdb = both_ways(&[link("a", "b", Some(10)), link("b", "c", Some(10))]);
    let drawing = both_ways(&[link("a", "c", Some(1)), link("a", "b", Some(1)), link("c", "d", Some(7))]);
    // a-c is down for who knows both; d is known to the drawing alone.
    let graph = fused(&[(10, lsdb.clone()), (0, drawing.clone())]);
    let pairs: Vec<(&str, &str, u32)> = links(&graph).iter().map(|link| (link.0, link.1, link.2)).collect();
    assert_eq!(pairs, [("a", "b", 10), ("b", "a", 10), ("b", "c", 10), ("c", "b", 10), ("c", "d", 7), ("d", "c", 7)]);
    // Equals add to each other.
    let graph = fused(&[(0, lsdb.clone()), (0, drawing)]);
    assert_eq!(graph.links.len(), 8);
    assert_eq!(links(&graph)[0].2, 10, "the first of equals has the cost");
    // Two protocols over one link, one of IPv4, one of IPv6, are one link.
    let v4 = both_ways(&[at_address("10.0.0.1", link("a", "b", Some(10)))]);
    let v6 = both_ways(&[at_address("fe80::1", Link { delay_us: Some(5.0), ..link("a", "b", Some(10)) })]);
    let graph = fused(&[(0, v4.clone()), (0, v6)]);
    assert_eq!((graph.links.len(), graph.links[0].delay_us), (2, Some(5.0)));
    // Two IPv4 addresses are two.
    let second = both_ways(&[at_address("10.0.0.5", link("a", "b", Some(10)))]);
    assert_eq!(fused(&[(0, v4), (0, second)]).links.len(), 4);
}

#[test]
fn routers_merge_by_id() {
    let place = |id: &str, country: Option<&str>, location| Router {
        id: id.into(),
        country: country.map(Box::from),
        location,
        ..Router::default()
    };
    let best = Observation { routers: vec![place("a", Some("NL"), None)], ..both_ways(&[link("a", "b", Some(1))]) };
    let places = Observation {
        routers: vec![
            place("a", Some("Netherlands"), Some((52.0, 4.0))),
            place("b", None, Some((50.0, 4.0))),
            place("x", None, Some((0.5, 0.5))),
        ],
        ..Observation::default()
    };
    let graph = fused(&[(1, places.clone()), (9, best)]);
    let [a, b] = &graph.routers[..] else { panic!("a source of places makes no routers: {:?}", graph.routers) };
    assert_eq!((a.country.as_deref(), a.location, a.source), (Some("NL"), Some((52.0, 4.0)), SourceIx(1)));
    assert_eq!((b.country.as_deref(), b.location, b.source), (None, Some((50.0, 4.0)), SourceIx(1)));
    // Alone it does: places for a measured matrix.
    assert_eq!(fused(&[(1, places)]).routers.len(), 3);
}

#[test]
fn links_without_metric() {
    // None has one: hops. Some have: the others carry no routes, and that is said.
    let graph = fused(&[(0, both_ways(&[link("a", "b", None), link("b", "c", None)]))]);
    assert!(graph.links.iter().all(|link| link.igp_cost == 1) && graph.links.len() == 4);
    let mut fuser = Fuser::new();
    let source = fuser.add_source("s", 0, None);
    fuser.observe(source, both_ways(&[link("a", "b", None), link("b", "c", Some(5))]), at(0));
    assert_eq!(fuser.graph(at(0)).links.len(), 2);
    assert_eq!(fuser.oddities().iter().filter(|(_, odd)| odd.what.contains("IGP metric")).count(), 2);
}

#[test]
fn one_place_a_prefix() {
    let net = both_ways(&[link("a", "b", Some(1))]);
    let table =
        Observation { prefixes: vec![prefix("192.0.2.0/24", Some("table"), None), prefix("10.0.0.0/8", Some("x"), None)], ..net.clone() };
    let igp = Observation {
        prefixes: vec![
            prefix("192.0.2.0/24", None, Some("a")),
            prefix("203.0.113.0/24", None, Some("gone")),
            prefix("10.0.0.0/8", None, Some("gone")),
        ],
        ..net
    };
    let group = |graph: &Graph, at: usize| graph.prefixes[at].group.as_ref().map(ToString::to_string);
    let graph = fused(&[(0, table.clone()), (1, igp.clone())]);
    assert_eq!(graph.prefixes.len(), 2, "behind a router that is not there: nowhere");
    // Who cannot place it does not stand in the way of who can.
    assert_eq!((group(&graph, 0).as_deref(), graph.prefixes[0].source), (Some("x"), SourceIx(0)));
    assert_eq!((group(&graph, 1), graph.prefixes[1].router), (None, router(&graph, "a")));
    assert_eq!(group(&fused(&[(2, table), (1, igp)]), 1).as_deref(), Some("table"));
}

#[test]
fn matrices_best_first() {
    let matrix = |metric: &str, value: f64| Matrix {
        metric: metric.parse().unwrap(),
        sources: vec!["a".into()],
        destinations: vec!["b".into()],
        values: vec![value],
    };
    let of = |matrices: Vec<Matrix>| Observation { matrices, ..Observation::default() };
    let graph = fused(&[(0, of(vec![matrix("delay-rt", 1.0), matrix("delay-ow", 9.0)])), (5, of(vec![matrix("delay-rt", f64::NAN)]))]);
    let have: Vec<(&str, u16)> = graph.matrices.iter().map(|matrix| (matrix.metric.as_str(), matrix.source.0)).collect();
    assert_eq!(have, [("delay-ow", 0), ("delay-rt", 1), ("delay-rt", 0)]);
}

#[test]
fn last_good_data_stays_and_is_marked() {
    let mut fuser = Fuser::new();
    let source = fuser.add_source("lsdb", 0, Some(Duration::from_secs(60)));
    let trouble = |graph: &Graph| graph.sources[0].trouble.clone();
    assert_eq!(trouble(&fuser.graph(at(0))).as_deref(), Some("nothing read yet"));
    fuser.observe(source, both_ways(&[link("a", "b", Some(1))]), at(0));
    let fresh = fuser.graph(at(60));
    assert_eq!((trouble(&fresh), fresh.sources[0].observed_at), (None, at(0)));
    // While nothing changes the graph is the same value.
    assert!(Arc::ptr_eq(&fresh, &fuser.graph(at(30))));
    let late = fuser.graph(at(61));
    assert!(trouble(&late).unwrap().starts_with("overdue"));
    assert_eq!(late.links, fresh.links);
    assert!(Arc::ptr_eq(&late, &fuser.graph(at(600))), "older is not otherwise overdue");
    fuser.trouble(source, "line 3: broken".into());
    let broken = fuser.graph(at(30));
    assert_eq!((trouble(&broken).as_deref(), broken.links.len()), (Some("line 3: broken"), 2));
    fuser.observe(source, both_ways(&[link("a", "b", Some(1))]), at(90));
    let again = fuser.graph(at(90));
    assert_eq!((trouble(&again), again.sources[0].observed_at), (None, at(90)));
    assert!(Arc::ptr_eq(&again.prefixes, &fresh.prefixes));
}

fn observation() -> impl Strategy<Value = Observation> {
    let name = prop::sample::select(vec!["a", "b", "c", "d", "e"]);
    let address = prop::option::of((1_u8..4).prop_map(|n| std::net::IpAddr::from([10, 0, 0, n])));
    let link = (name.clone(), name.clone(), address, prop::option::of(1_u32..20), prop::option::of(1_u32..9), any::<bool>()).prop_map(
        |(from, to, local_address, igp_cost, delay, needs_both_ends)| Link {
            from: from.into(),
            to: to.into(),
            local_address,
            igp_cost,
            delay_us: delay.map(f64::from),
            needs_both_ends,
            ..Link::default()
        },
    );
    let placed = (0_u8..8, prop::option::of(name.clone()), prop::option::of(name.clone()))
        .prop_map(|(n, group, router)| prefix(&format!("10.{n}.0.0/16"), group, router));
    let router = name.prop_map(|id| Router { id: id.into(), ..Router::default() });
    (prop::collection::vec(router, 0..3), prop::collection::vec(link, 0..12), prop::collection::vec(placed, 0..6))
        .prop_map(|(routers, links, prefixes)| Observation { routers, links, prefixes, ..Observation::default() })
}

/// What a source says of its validity is told of it, as of when it said so, and changes nothing else.
#[test]
fn validity_is_of_the_source() {
    let mut fuser = Fuser::new();
    let (dump, table) = (fuser.add_source("dump", 1, None), fuser.add_source("table", 0, Some(Duration::from_secs(100))));
    let (a, b) = (prefix("192.0.2.0/24", None, Some("a")), prefix("198.51.100.0/24", Some("x"), None));
    let seen = |whole: u64, single: u64| Observation {
        prefixes: vec![PrefixAt { group: group_name("y"), ..a.clone() }],
        validity: Stated { from: None, whole: Some(Duration::from_secs(whole)), prefixes: vec![(a.prefix, Duration::from_secs(single))] },
        ..Observation::default()
    };
    fuser.observe(dump, seen(60, 90), at(10));
    fuser.observe(table, Observation { prefixes: vec![b.clone()], ..Observation::default() }, at(20));
    let before = fuser.graph(at(30));
    let of = |graph: &Graph, source: SourceIx| {
        let validity = &graph.sources[usize::from(source.0)].validity;
        (validity.whole, validity.of(&a.prefix), validity.of(&b.prefix))
    };
    assert_eq!(of(&before, dump), (Some(at(70)), Some(at(100)), Some(at(70))));
    // As old as it may be, where it says nothing itself.
    assert_eq!(of(&before, table), (Some(at(120)), Some(at(120)), Some(at(120))));
    // The same again, younger: another graph of the same network.
    fuser.observe(dump, seen(50, 95), at(40));
    let after = fuser.graph(at(41));
    assert!(!Arc::ptr_eq(&before, &after) && Arc::ptr_eq(&before.prefixes, &after.prefixes));
    assert_eq!(of(&after, dump), (Some(at(90)), Some(at(135)), Some(at(90))));
    assert!(Arc::ptr_eq(&after, &fuser.graph(at(42))), "time alone makes no graph");
    // Who replays it knows better.
    fuser.set_valid_until(dump, Some(at(50)));
    assert_eq!(of(&fuser.graph(at(43)), dump), (Some(at(50)), Some(at(50)), Some(at(50))));
    fuser.set_valid_until(dump, None);
    assert!(fuser.graph(at(44)).sources[0].validity.is_unknown());
}

proptest! {
    /// The graph's own invariants, whatever is observed.
    #[test]
    fn graphs_are_well_formed(sources in prop::collection::vec((0_i32..3, observation()), 0..4)) {
        let graph = fused(&sources);
        prop_assert!(graph.routers.is_sorted_by(|a, b| a.id < b.id));
        prop_assert!(graph.links.is_sorted_by_key(|link| (link.from, link.to, link.local_address)));
        prop_assert!(graph.prefixes.is_sorted_by(|a, b| a.prefix < b.prefix));
        prop_assert_eq!(graph.out.len(), graph.routers.len() + 1);
        prop_assert_eq!(*graph.out.last().unwrap() as usize, graph.links.len());
        for (router, ix) in graph.routers.iter().zip(0..) {
            let from = topology::graph::RouterIx(ix);
            prop_assert!(graph.links_from(from).iter().all(|link| link.from == from), "{}", router.id);
        }
        for at in graph.prefixes.iter() {
            prop_assert!(at.router.is_some() || at.group.is_some() || at.asn.is_some());
            prop_assert!(at.router.is_none_or(|ix| (ix.0 as usize) < graph.routers.len()));
        }
        let pairs: std::collections::HashSet<_> = graph.links.iter().map(|link| (link.from, link.to)).collect();
        prop_assert!(pairs.iter().all(|(from, to)| from != to));
    }

    /// What came before leaves no trace: the graph is that of the last observations, in whatever order they came.
    #[test]
    fn only_the_last_observations_count(
        last in prop::collection::vec(observation(), 3),
        earlier in prop::collection::vec((0_u16..3, observation()), 0..5),
    ) {
        let mut fuser = Fuser::new();
        for (ix, precedence) in [(0, 2), (1, 1), (2, 1)] {
            fuser.add_source(&format!("s{ix}"), precedence, None);
        }
        for (source, observation) in earlier {
            fuser.observe(SourceIx(source), observation, at(0));
            fuser.graph(at(0));
        }
        for (ix, observation) in last.iter().enumerate().rev() {
            fuser.observe(SourceIx(ix as u16), observation.clone(), at(1));
        }
        let after = fuser.graph(at(1));
        let [a, b, c] = &last[..] else { unreachable!() };
        let fresh = fused(&[(2, a.clone()), (1, b.clone()), (1, c.clone())]);
        prop_assert_eq!(&after.routers, &fresh.routers);
        prop_assert_eq!(&after.links, &fresh.links);
        prop_assert_eq!(&after.prefixes, &fresh.prefixes);
    }
}
