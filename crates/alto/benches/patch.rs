//! Making and applying the change of a 1,000 × 1,000 cost map with 1 % of its cells changed, and of a network map of 250,000 prefixes.
//!
//! `cargo bench -p alto --bench patch`. Target: a cost map's change, compared and written, in 8 ms.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]
use alto::{
    Document, Limits,
    cost::{CostType, Metric},
    cost_map::{CostMap, CostTable},
    endpoint::Prefix,
    id::{Pid, VersionTag},
    network_map::{AddressGroup, NetworkMap},
    patch::{self, CostMapParts, Kind, NetworkMapParts},
};
use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Instant,
};

const PIDS: usize = 1000;
const RUNS: usize = 21;

fn main() {
    println!("medians of {RUNS} runs");
    println!("{:<64} {:>9} {:>10}", "work", "ms", "bytes");
    costs();
    networks();
}

/// xorshift: the same numbers on every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

fn vtag(resource: &str, tag: &str) -> VersionTag {
    VersionTag { resource_id: resource.parse().expect("an id"), tag: tag.parse().expect("a tag") }
}

fn row<T>(what: &str, bytes: usize, mut prepare: impl FnMut() -> T, mut work: impl FnMut(&mut T)) -> f64 {
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let mut with = prepare();
            let start = Instant::now();
            work(black_box(&mut with));
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{what:<64} {:>9.2} {bytes:>10}", times[RUNS / 2]);
    times[RUNS / 2]
}

fn costs() {
    let pids: Arc<[Pid]> = (0..PIDS).map(|n| format!("pid-{n:04}").parse().expect("a PID name")).collect();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let values: Vec<f64> = (0..PIDS * PIDS).map(|_| numbers.next(90_000_000) as f64 / 1000.0).collect();
    let table = CostTable { sources: pids.clone(), destinations: pids.clone(), values };
    let mut changed = table.clone();
    for _ in 0..PIDS * PIDS / 100 {
        let place = numbers.next(PIDS * PIDS);
        changed.values[place] = numbers.next(90_000_000) as f64 / 1000.0;
    }
    // Another network map: a name came and one went, so that nothing lies where it lay.
    let mut names: Vec<Pid> = pids.to_vec();
    names[PIDS / 2] = "pid-0500-b".parse().expect("a PID name");
    let moved = CostTable { sources: names.clone().into(), destinations: names.into(), values: changed.values.clone() };
    let cost_type = CostType::numerical(Metric::routingcost());
    let (dependent, tags) = ([vtag("network-map", "1")], [vtag("costs", "1"), vtag("costs", "2")]);
    let parts = |table, tag| CostMapParts { dependent_vtags: &dependent, vtag: Some(&tags[tag]), cost_type: &cost_type, table };
    let cases =
        [("1 % of a million cells", "diff", &changed), ("1 %, and another PID for one of the thousand", "diff, another PID", &moved)];
    for (what, figure, new) in cases {
        let (old, new) = (parts(&table, 0), parts(new, 1));
        let patches = old.diff(&new);
        let merge = patches.merge.expect("costs can always be said");
        let took = row(&format!("cost map, {what}: both patches made"), merge.len(), || (), |()| _ = black_box(old.diff(&new)));
        // Read by `cargo xtask bench`.
        println!("figure: {figure} = {took:.3} ms");
        println!("figure: {figure}, patch = {} bytes", merge.len());
        let document = || {
            let tables = vec![(cost_type.clone(), table.clone())];
            Document::CostMap(CostMap { dependent_vtags: dependent.to_vec(), vtag: Some(tags[0].clone()), tables })
        };
        apply(&format!("cost map, {what}"), document, &[(Kind::Merge, merge), (Kind::Json, patches.json.expect("few cells changed"))]);
    }
}

fn apply(what: &str, document: impl Fn() -> Document, patches: &[(Kind, Vec<u8>)]) {
    let limits = Limits::default();
    for (kind, patch) in patches {
        row(&format!("{what}: {kind:?} applied in place"), patch.len(), &document, |document| {
            patch::apply_to(document, *kind, patch, &limits).expect("made for it");
        });
        let value = || serde_json::from_slice::<serde_json::Value>(&document().to_json()).expect("JSON");
        row(&format!("{what}: {kind:?} applied to a tree"), patch.len(), value, |value| {
            patch::apply_to_value(*kind, value, patch, &limits).expect("made for it");
        });
    }
}

fn networks() {
    const PREFIXES: u32 = 250_000;
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let pids: Vec<Pid> = (0..1700).map(|n| format!("pid-{n:04}").parse().expect("a PID name")).collect();
    let prefix = |n: u32| Prefix::new(IpAddr::V4(Ipv4Addr::from(n << 8)), 24).expect("24 bits");
    let mut old = NetworkMap { vtag: None, pids: pids.iter().map(|pid| (pid.clone(), AddressGroup::default())).collect() };
    for n in 0..PREFIXES {
        let pid = &pids[numbers.next(pids.len())];
        old.pids.get_mut(pid).expect("every PID has a group").ipv4.push(prefix(n));
    }
    let mut new = old.clone();
    for _ in 0..100 {
        let (from, to) = (&pids[numbers.next(pids.len())], &pids[numbers.next(pids.len())]);
        if let Some(prefix) = new.pids.get_mut(from).and_then(|group| group.ipv4.pop()) {
            let list = &mut new.pids.get_mut(to).expect("every PID has a group").ipv4;
            list.push(prefix);
            list.sort_unstable();
        }
    }
    let tags = [vtag("network-map", "1"), vtag("network-map", "2")];
    let (before, after) = (NetworkMapParts { vtag: Some(&tags[0]), map: &old }, NetworkMapParts { vtag: Some(&tags[1]), map: &new });
    let patches = before.diff(&after);
    let (merge, json) = (patches.merge.expect("addresses can always be said"), patches.json.expect("always"));
    let what = "network map, 100 of 250,000 prefixes moved";
    row(&format!("{what}: both patches made"), merge.len() + json.len(), || (), |()| _ = black_box(before.diff(&after)));
    let document = || Document::NetworkMap(NetworkMap { vtag: Some(tags[0].clone()), pids: old.pids.clone() });
    apply(what, document, &[(Kind::Merge, merge), (Kind::Json, json)]);
}
