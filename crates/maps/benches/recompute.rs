//! All costs after one link change, beside computing everything: 1,000 routers, 5,000 links, a PID at every router, five metrics.
//!
//! A link is both directions of it, so the graph has 10,000 directed ones. Every link of a sample is changed in each way and put
//! back, each from the same state; printed are medians over links. Target: under 50 ms, and a fifth of computing everything at most.
mod support;

use alto::endpoint::Prefix;
use maps::{
    compute::{Computed, MapsPolicy, compute},
    costs,
};
use std::{
    collections::BTreeMap,
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::UNIX_EPOCH,
};
use support::{Random, median, say, timed};
use topology::graph::{Graph, Link, PrefixAt, Router, RouterIx, Source, SourceIx};

const ROUTERS: u32 = 1_000;
const LINKS: usize = 5_000;
const SAMPLE: usize = 200;

#[derive(Clone, Copy)]
struct Values {
    weight: u32,
    delay_us: f64,
    bandwidth_bps: f64,
}

type Links = BTreeMap<(u32, u32), Values>;

fn main() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let links = network(&mut random);
    let prefixes = Arc::new(
        (0..ROUTERS)
            .map(|router| PrefixAt {
                prefix: Prefix::new(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + (router << 8))), 24).expect("24 is a length"),
                group: None,
                router: Some(RouterIx(router)),
                asn: None,
                source: SourceIx(0),
            })
            .collect::<Vec<_>>(),
    );
    let policy = Arc::new(MapsPolicy::default());
    let base_graph = graph(&links, &prefixes);
    say(&format!(
        "{ROUTERS} routers, {} directed links, metrics {:?}",
        base_graph.links.len(),
        policy.metrics.iter().map(|m| m.as_str()).collect::<Vec<_>>()
    ));
    let everything =
        median((0..9).map(|_| timed(|| compute(base_graph.clone(), policy.clone(), None).expect("within limits")).1).collect());
    say(&format!("computing everything: {everything:.1} ms"));

    let base = compute(base_graph, policy.clone(), None).expect("within limits");
    let pairs: Vec<(u32, u32)> = links.keys().copied().filter(|(from, to)| from < to).collect();
    let sample: Vec<(u32, u32)> = (0..SAMPLE).map(|_| pairs[random.next() as usize % pairs.len()]).collect();
    type Change = fn(&mut Links, (u32, u32));
    let changes: [(&str, Change); 5] = [
        ("weight doubled", |links, pair| both(links, pair, |values| values.weight *= 2)),
        ("weight halved", |links, pair| both(links, pair, |values| values.weight /= 2)),
        ("delay changed", |links, pair| both(links, pair, |values| values.delay_us += 100.0)),
        ("bandwidth halved", |links, pair| both(links, pair, |values| values.bandwidth_bps /= 2.0)),
        ("link down", |links, (a, b)| {
            links.remove(&(a, b));
            links.remove(&(b, a));
        }),
    ];
    let row = |what: &str, times: Vec<f64>| {
        let worst = times.iter().copied().fold(0.0, f64::max);
        let middle = median(times);
        say(&format!(
            "{what:<18} median {middle:>6.1} ms, worst {worst:>6.1} ms, {:>5.1} times faster than everything",
            everything / middle
        ));
    };
    let mut up = Vec::new();
    for (what, change) in changes {
        let mut times = Vec::new();
        for &pair in &sample {
            let mut changed = links.clone();
            change(&mut changed, pair);
            let next = graph(&changed, &prefixes);
            let (computed, took) = timed(|| compute(next.clone(), policy.clone(), Some(&base)).expect("within limits"));
            times.push(took);
            if times.len() <= 3 {
                assert!(same(&computed, &compute(next, policy.clone(), None).expect("within limits")), "{what} on {pair:?}");
            }
            if what == "link down" {
                up.push(timed(|| compute(base.graph.clone(), policy.clone(), Some(&computed)).expect("within limits")).1);
            }
        }
        row(what, times);
    }
    row("link up", up);
    let ranks: Vec<f64> = base.tables.iter().map(|(metric, table)| timed(|| black_box(costs::ordinal(table, metric))).1).collect();
    say(&format!("ranks of one table: {:.1} ms (median of the five)", median(ranks)));
}

fn both(links: &mut Links, (a, b): (u32, u32), change: impl Fn(&mut Values)) {
    [(a, b), (b, a)].iter().for_each(|pair| change(links.get_mut(pair).expect("both directions are there")));
}

fn same(a: &Computed, b: &Computed) -> bool {
    a.tables == b.tables
}

/// A ring, so that all is connected, and chords at random: more within a neighbourhood than across, as networks are built.
fn network(random: &mut Random) -> Links {
    let mut links = Links::new();
    let mut from = 0;
    while links.len() < LINKS * 2 {
        let ring = links.len() < 2 * ROUTERS as usize;
        let to = match random.next() % 4 {
            _ if ring => (from + 1) % ROUTERS,
            0 => random.next() as u32 % ROUTERS,
            _ => (from + 1 + random.next() as u32 % 50) % ROUTERS,
        };
        if from != to && !links.contains_key(&(from, to)) {
            let values = Values {
                weight: 10 + random.next() as u32 % 1_000,
                delay_us: 50.0 + (random.next() % 20_000) as f64 / 3.0,
                bandwidth_bps: [1e9, 1e10, 4e10, 1e11, 4e11][random.next() as usize % 5] * (1 + random.next() % 100) as f64 / 100.0,
            };
            links.insert((from, to), values);
            // What is used differs by direction.
            links.insert((to, from), Values { bandwidth_bps: values.bandwidth_bps * 0.9, ..values });
        }
        from = if ring { (from + 1) % ROUTERS } else { random.next() as u32 % ROUTERS };
    }
    links
}

fn graph(links: &Links, prefixes: &Arc<Vec<PrefixAt>>) -> Arc<Graph> {
    let source = SourceIx(0);
    let links: Vec<Link> = links
        .iter()
        .map(|(&(from, to), values)| Link {
            from: RouterIx(from),
            to: RouterIx(to),
            local_address: None,
            igp_cost: values.weight,
            delay_us: Some(values.delay_us),
            bandwidth_bps: Some(values.bandwidth_bps),
            source,
        })
        .collect();
    Arc::new(Graph {
        routers: (0..ROUTERS).map(|at| Router { id: format!("r{at:04}").into(), country: None, location: None, source }).collect(),
        out: (0..=ROUTERS).map(|at| links.partition_point(|link| link.from.0 < at) as u32).collect(),
        links,
        prefixes: prefixes.clone(),
        matrices: Vec::new(),
        sources: vec![Source { name: "bench".into(), precedence: 0, observed_at: UNIX_EPOCH, trouble: None, validity: Arc::default() }],
    })
}
