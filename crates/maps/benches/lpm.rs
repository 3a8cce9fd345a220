//! Longest-prefix match over a million real prefixes, beside the crates that could have done it.
//!
//! `ALTOCAST_LPM_RANGES` names the range files (`first,last,label` a line, no header; `:` between files), for instance those of
//! `npm pack @ip-location-db/geo-whois-asn-country@2.3.2026061719`. Without it a synthetic table of equal shape is used, and the output says so.
//! Target: under 80 ns a lookup, random addresses, for both families.
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]
mod support;

use alto::endpoint::Prefix;
use ipnet::{IpNet, Ipv4Net, Ipv4Subnets, Ipv6Net, Ipv6Subnets};
use maps::{
    PidIx,
    partition::{PartitionPolicy, partition},
    prefix_table::PrefixTable,
};
use std::{
    collections::BTreeMap,
    hint::black_box,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Instant,
};
use support::{Random, say};
use topology::graph::{Graph, PrefixAt, SourceIx};

const QUERIES: usize = 1_000_000;
const ROUNDS: usize = 9;

fn main() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (origin, v4, v6) = match std::env::var("ALTOCAST_LPM_RANGES") {
        Ok(files) => {
            let (v4, v6) = read(&files);
            (format!("real: {files}"), v4, v6)
        }
        Err(_) => {
            let (v4, v6) = synthetic(&mut random);
            ("SYNTHETIC (set ALTOCAST_LPM_RANGES for real ones)".into(), v4, v6)
        }
    };
    say(&format!("prefixes: {origin}"));
    say(&format!(
        "{} IPv4 + {} IPv6 prefixes; {QUERIES} random addresses each, median of {ROUNDS} rounds, ns a lookup",
        v4.len(),
        v6.len()
    ));

    let placed = v4.iter().map(|&(net, pid)| (IpNet::V4(net), pid)).chain(v6.iter().map(|&(net, pid)| (IpNet::V6(net), pid)));
    let prefixes = placed.map(|(net, pid)| PrefixAt {
        prefix: Prefix::new(net.addr(), net.prefix_len()).expect("came from a prefix"),
        group: Some(format!("P{pid}").parse().expect("a PID name")),
        router: None,
        asn: None,
        source: SourceIx(0),
    });
    let graph = Graph { out: vec![0], prefixes: Arc::new(prefixes.collect()), ..Graph::default() };
    let began = Instant::now();
    let parted = partition(&graph, &PartitionPolicy::default()).expect("within limits");
    let left: usize = parted.network_map.pids.values().map(|group| group.ipv4.len() + group.ipv6.len()).sum();
    say(&format!(
        "maps::partition: {} PIDs, {left} prefixes left of them, in {:.0} ms, its table included",
        parted.pids.len(),
        began.elapsed().as_secs_f64() * 1e3
    ));
    drop((graph, parted));

    let began = Instant::now();
    let entries = v4.iter().map(|&(net, pid)| (IpNet::V4(net), pid)).chain(v6.iter().map(|&(net, pid)| (IpNet::V6(net), pid)));
    let table =
        PrefixTable::build(entries.map(|(net, pid)| (Prefix::new(net.addr(), net.prefix_len()).expect("came from a prefix"), PidIx(pid))));
    say(&format!("maps::PrefixTable: built in {:.0} ms, {:.1} MB", began.elapsed().as_secs_f64() * 1e3, table.memory_bytes() as f64 / 1e6));

    // The worst case for it: no neighbours in one PID, every prefix an interval.
    let each: PrefixTable = PrefixTable::build(
        (v4.iter().map(|&(net, _)| IpNet::V4(net)).chain(v6.iter().map(|&(net, _)| IpNet::V6(net))))
            .enumerate()
            .map(|(i, net)| (Prefix::new(net.addr(), net.prefix_len()).expect("came from a prefix"), PidIx(i as u32))),
    );
    say(&format!("the same, a PID for every prefix: {:.1} MB", each.memory_bytes() as f64 / 1e6));

    let mut tree4 = treebitmap::IpLookupTable::new();
    for &(net, pid) in &v4 {
        tree4.insert(net.network(), u32::from(net.prefix_len()), pid);
    }
    let mut tree6 = treebitmap::IpLookupTable::new();
    for &(net, pid) in &v6 {
        tree6.insert(net.network(), u32::from(net.prefix_len()), pid);
    }
    let trie4: prefix_trie::PrefixMap<Ipv4Net, u32> = v4.iter().copied().collect();
    let trie6: prefix_trie::PrefixMap<Ipv6Net, u32> = v6.iter().copied().collect();

    let inside4: Vec<Ipv4Addr> = (0..QUERIES)
        .map(|_| {
            let net = v4[random.next() as usize % v4.len()].0;
            (u32::from(net.network()) | (random.next() as u32 & u32::from(net.hostmask()))).into()
        })
        .collect();
    let anywhere4: Vec<Ipv4Addr> = (0..QUERIES).map(|_| ((random.next() >> 16) as u32).into()).collect();
    let inside6: Vec<Ipv6Addr> = (0..QUERIES)
        .map(|_| {
            let net = v6[random.next() as usize % v6.len()].0;
            (u128::from(net.network()) | (random.wide() & u128::from(net.hostmask()))).into()
        })
        .collect();
    let anywhere6: Vec<Ipv6Addr> = (0..QUERIES).map(|_| (random.wide() >> 3 | 1 << 125).into()).collect();

    for (what, queries) in [("IPv4, inside a random prefix", &inside4), ("IPv4, anywhere", &anywhere4)] {
        say(what);
        let full = |address: Ipv4Addr| Ipv4Net::new(address, 32).expect("32 is a length");
        measure("maps::PrefixTable", queries, |address| table.lookup(IpAddr::V4(address)).map_or(0, |pid| pid.0));
        measure("maps::PrefixTable, a PID for every prefix", queries, |address| each.lookup(IpAddr::V4(address)).map_or(0, |pid| pid.0));
        measure("ip_network_table-deps-treebitmap 0.5", queries, |address| tree4.longest_match(address).map_or(0, |found| *found.2));
        measure("prefix-trie 0.10", queries, |address| trie4.get_lpm(&full(address)).map_or(0, |found| *found.1));
    }
    for (what, queries) in [("IPv6, inside a random prefix", &inside6), ("IPv6, anywhere in 2000::/3", &anywhere6)] {
        say(what);
        let full = |address: Ipv6Addr| Ipv6Net::new(address, 128).expect("128 is a length");
        measure("maps::PrefixTable", queries, |address| table.lookup(IpAddr::V6(address)).map_or(0, |pid| pid.0));
        measure("maps::PrefixTable, a PID for every prefix", queries, |address| each.lookup(IpAddr::V6(address)).map_or(0, |pid| pid.0));
        measure("ip_network_table-deps-treebitmap 0.5", queries, |address| tree6.longest_match(address).map_or(0, |found| *found.2));
        measure("prefix-trie 0.10", queries, |address| trie6.get_lpm(&full(address)).map_or(0, |found| *found.1));
    }
}

/// Prints the median time of one lookup, once with lookups that may overlap, once with each waiting for the one before.
fn measure<A: Copy>(name: &str, queries: &[A], lookup: impl Fn(A) -> u32) {
    let mut free: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            let sum = queries.iter().fold(0u32, |sum, &query| sum.wrapping_add(lookup(query)));
            black_box(sum);
            began.elapsed().as_nanos() as f64 / queries.len() as f64
        })
        .collect();
    let mut chained: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            // Which query comes next depends on the answer, though all of them are visited.
            black_box((0..queries.len()).fold(0, |at, i| (i ^ (lookup(queries[at]) & 1) as usize).min(queries.len() - 1)));
            began.elapsed().as_nanos() as f64 / queries.len() as f64
        })
        .collect();
    free.sort_by(f64::total_cmp);
    chained.sort_by(f64::total_cmp);
    say(&format!("  {name:<42} {:>6.1}   each waiting for the one before {:>6.1}", free[ROUNDS / 2], chained[ROUNDS / 2]));
}

type Nets = (Vec<(Ipv4Net, u32)>, Vec<(Ipv6Net, u32)>);

fn read(files: &str) -> Nets {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    let mut labels = BTreeMap::new();
    for file in files.split(':') {
        let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
        for line in text.lines() {
            let mut fields = line.split(',');
            let (Some(first), Some(last), Some(label)) = (fields.next(), fields.next(), fields.next()) else { panic!("{file}: {line}") };
            let next = labels.len() as u32;
            let pid = *labels.entry(label.to_owned()).or_insert(next);
            match (first.parse().expect(line), last.parse().expect(line)) {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.extend(Ipv4Subnets::new(first, last, 0).map(|net| (net, pid))),
                (IpAddr::V6(first), IpAddr::V6(last)) => v6.extend(Ipv6Subnets::new(first, last, 0).map(|net| (net, pid))),
                _ => panic!("{file}: {line}: mixed families"),
            }
        }
    }
    (v4, v6)
}

/// As many prefixes, of the same lengths, in as much of the address space: runs of neighbours, as the registries give them out.
fn synthetic(random: &mut Random) -> Nets {
    // (length, how many of a thousand), the real table rounded.
    let lengths4 = [
        (13, 6),
        (16, 21),
        (18, 23),
        (19, 26),
        (20, 33),
        (21, 47),
        (22, 122),
        (23, 98),
        (24, 201),
        (25, 21),
        (26, 30),
        (27, 42),
        (28, 65),
        (29, 97),
        (30, 70),
        (31, 38),
        (32, 60),
    ];
    let lengths6 = [
        (29, 35),
        (32, 76),
        (36, 30),
        (40, 60),
        (44, 60),
        (48, 140),
        (52, 55),
        (56, 70),
        (60, 100),
        (63, 140),
        (64, 170),
        (96, 34),
        (112, 20),
        (127, 10),
    ];
    let pick = |lengths: &[(u8, u64)], random: &mut Random| {
        let mut at = random.next() % lengths.iter().map(|&(_, share)| share).sum::<u64>();
        lengths
            .iter()
            .find(|&&(_, share)| {
                at < share || {
                    at -= share;
                    false
                }
            })
            .expect("the shares add up")
            .0
    };
    let (mut v4, mut v6) = (BTreeMap::new(), BTreeMap::new());
    let mut near4 = 0u32;
    while v4.len() < 493_646 {
        if random.next().is_multiple_of(8) {
            near4 = ((random.next() % (223 << 24)) as u32) + (1 << 24);
        }
        let net = Ipv4Net::new(near4.into(), pick(&lengths4, random)).expect("at most 32").trunc();
        near4 = u32::from(net.broadcast()).wrapping_add(1);
        v4.insert(net, (random.next() % 250) as u32);
    }
    let blocks: [u128; 8] = [0x2001, 0x2400, 0x2600, 0x2800, 0x2a00, 0x2a02, 0x2a0c, 0x2c0f];
    let mut near6 = 0u128;
    while v6.len() < 516_533 {
        if random.next().is_multiple_of(16) {
            near6 = blocks[random.next() as usize % blocks.len()] << 112 | u128::from(random.next() % (1 << 16)) << 96;
        }
        let net = Ipv6Net::new(near6.into(), pick(&lengths6, random)).expect("at most 128").trunc();
        near6 = u128::from(net.broadcast()).wrapping_add(1);
        v6.insert(net, (random.next() % 250) as u32);
    }
    (v4.into_iter().collect(), v6.into_iter().collect())
}
