//! What an answer costs, with the request's parsing in it. Medians; CPU is what one busy thread takes.
//!
//! `cargo bench -p maps --bench guidance`; `ALTOCAST_LPM_RANGES` as for `benches/lpm.rs`.
#![allow(clippy::print_stdout, reason = "a bench is there to print")]
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]
mod support;

use alto::{
    Document,
    cost::CostType,
    cost_map::{CostMap, CostTable},
    endpoint::Prefix,
    id::{Pid, ResourceId},
    network_map::{AddressGroup, NetworkMap},
};
use ipnet::{IpSubnets, Ipv4Subnets, Ipv6Subnets};
use maps::guidance::{Guidance, Inputs, Limits, Published};
use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write as _,
    hint::black_box,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};
use support::Random;

const PIDS: usize = 1000;
const PREFIXES: usize = 1_000_000;

fn median(name: &str, rounds: usize, mut work: impl FnMut() -> usize) {
    let mut times: Vec<Duration> = Vec::with_capacity(rounds);
    let mut bytes = 0;
    for _ in 0..rounds {
        let start = Instant::now();
        bytes = work();
        times.push(start.elapsed());
    }
    times.sort();
    let micros = |at: usize| times[at].as_secs_f64() * 1e6;
    print!("{name:<44} {:>10.1} us   p90 {:>10.1} us", micros(rounds / 2), micros(rounds * 9 / 10));
    if bytes > 0 {
        print!("   {bytes:>9} bytes   {:>6.0} MB/s", bytes as f64 / micros(rounds / 2));
    }
    println!();
}

/// The prefixes of range files, as in `benches/lpm.rs`.
fn real_prefixes(files: &str) -> Vec<Prefix> {
    let mut prefixes = Vec::new();
    for file in files.split(':') {
        let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
        for line in text.lines() {
            let mut ends = line.split(',').map(|field| field.parse().ok());
            let nets = match (ends.next().flatten(), ends.next().flatten()) {
                (Some(IpAddr::V4(first)), Some(IpAddr::V4(last))) => IpSubnets::from(Ipv4Subnets::new(first, last, 0)),
                (Some(IpAddr::V6(first)), Some(IpAddr::V6(last))) => IpSubnets::from(Ipv6Subnets::new(first, last, 0)),
                _ => panic!("{file}: {line}"),
            };
            prefixes.extend(nets.map(|net| Prefix::new(net.addr(), net.prefix_len()).expect("came from a prefix")));
        }
    }
    // Some ranges of the registries overlap.
    prefixes.sort_unstable();
    prefixes.dedup();
    println!("prefixes: real: {files}: {}", prefixes.len());
    prefixes
}

/// Half IPv4, half IPv6, of lengths as in the global table.
fn made_up_prefixes(random: &mut Random) -> Vec<Prefix> {
    let (mut seen, mut prefixes) = (HashSet::new(), Vec::new());
    while seen.len() < PREFIXES {
        let bits = random.next();
        let address = if seen.len() % 2 == 0 {
            IpAddr::V4(Ipv4Addr::from(bits as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from((0x2000_u128 << 112) | (u128::from(bits >> 3) << 64)))
        };
        let length = match address {
            IpAddr::V4(_) => 12 + (random.next() % 13) as u8,
            IpAddr::V6(_) => 28 + (random.next() % 21) as u8,
        };
        let prefix = Prefix::new(address, length).expect("a valid length");
        if seen.insert(prefix) {
            prefixes.push(prefix);
        }
    }
    println!("prefixes: MADE UP (set ALTOCAST_LPM_RANGES for real ones): {}", prefixes.len());
    prefixes
}

fn documents(random: &mut Random) -> BTreeMap<ResourceId, Arc<Published>> {
    let pids: Arc<[Pid]> = (0..PIDS).map(|i| format!("pid-{i:04}").parse().expect("a PID name")).collect();
    let mut groups: BTreeMap<Pid, AddressGroup> = pids.iter().map(|pid| (pid.clone(), AddressGroup::default())).collect();
    let mut place = |prefix: Prefix, random: &mut Random| {
        let group = groups.get_mut(&pids[(random.next() % PIDS as u64) as usize]).expect("a PID of the map");
        if prefix.is_ipv4() { group.ipv4.push(prefix) } else { group.ipv6.push(prefix) }
    };
    match std::env::var("ALTOCAST_LPM_RANGES") {
        Ok(files) => real_prefixes(&files).into_iter().for_each(|prefix| place(prefix, random)),
        Err(_) => made_up_prefixes(random).into_iter().for_each(|prefix| place(prefix, random)),
    }
    for group in groups.values_mut() {
        group.ipv4.sort_unstable();
        group.ipv6.sort_unstable();
    }
    let mut costs = |metric: &str, fraction: bool| {
        let value = |random: &mut Random| {
            let cost = (random.next() % 100_000) as f64;
            if fraction { cost / 64.0 } else { cost }
        };
        let table =
            CostTable { sources: pids.clone(), destinations: pids.clone(), values: (0..PIDS * PIDS).map(|_| value(random)).collect() };
        let cost_type = CostType::numerical(metric.parse().expect("a metric"));
        Document::CostMap(CostMap { dependent_vtags: Vec::new(), vtag: None, tables: vec![(cost_type, table)] })
    };
    let documents = [
        ("routing", costs("routingcost", false)),
        ("delay", costs("delay-ow", true)),
        ("network-map", Document::NetworkMap(NetworkMap { vtag: None, pids: groups })),
    ];
    let take = |(id, document): (&str, Document)| {
        let id: ResourceId = id.parse().expect("an id");
        let published = Published::take(&id, document).expect("the document fits");
        (id, Arc::new(published))
    };
    documents.into_iter().map(take).collect()
}

fn list(count: usize, mut entry: impl FnMut() -> String) -> String {
    let mut text = String::new();
    for at in 0..count {
        write!(text, "{}\"{}\"", if at > 0 { "," } else { "" }, entry()).expect("a string takes it");
    }
    text
}

fn composed(inputs: &Inputs, previous: Option<&Guidance>) -> usize {
    black_box(Guidance::compose(inputs, previous).expect("the documents fit"));
    0
}

fn main() {
    let mut random = Random(7);
    let mut inputs = Inputs { documents: documents(&mut random), ..Inputs::default() };
    let guidance = Guidance::compose(&inputs, None).expect("the documents fit");
    let client: IpAddr = Ipv4Addr::LOCALHOST.into();
    let limits = Limits::default();
    let ask = |service: &str, body: &str| {
        let id: ResourceId = service.parse().expect("an id");
        let answer = guidance.answer(&id, body.as_bytes(), client, &limits).expect("a service").expect("a good request");
        black_box(answer).body.len()
    };
    let numerical = r#""cost-type":{"cost-mode":"numerical","cost-metric":"routingcost"}"#;
    let fractions = r#""cost-type":{"cost-mode":"numerical","cost-metric":"delay-ow"}"#;
    let ordinal = r#""cost-type":{"cost-mode":"ordinal","cost-metric":"routingcost"}"#;
    let multi =
        r#""multi-cost-types":[{"cost-mode":"numerical","cost-metric":"routingcost"},{"cost-mode":"numerical","cost-metric":"delay-ow"}]"#;
    let mut pids = || list(100, || format!("pid-{:04}", random.next() % PIDS as u64));
    let lists = format!(r#""pids":{{"srcs":[{}],"dsts":[{}]}}"#, pids(), pids());
    for (name, what) in [
        ("filtered cost map 100x100, whole numbers", numerical.to_owned()),
        ("filtered cost map 100x100, fractions", fractions.to_owned()),
        ("filtered cost map 100x100, ordinal", ordinal.to_owned()),
        ("filtered cost map 100x100, multi-cost of 2", multi.to_owned()),
        ("filtered cost map 100x100, 2 constraints", format!(r#"{numerical},"constraints":["ge 10","lt 50000"]"#)),
    ] {
        let body = format!("{{{what},{lists}}}");
        median(name, 2001, || ask("filtered-cost-map", &body));
    }
    let all = format!("{{{numerical}}}");
    median("filtered cost map, all of 1000x1000", 21, || ask("filtered-cost-map", &all));
    let all = format!("{{{ordinal}}}");
    median("filtered cost map, all of it, ordinal", 5, || ask("filtered-cost-map", &all));

    let network = guidance.network_maps().next().expect("the map");
    // Other addresses in every round, so that no cache knows them.
    let mut bodies = Vec::new();
    for _ in 0..200 {
        let mut endpoints = |count| {
            list(count, || {
                loop {
                    let bits = random.next();
                    let address = if bits & 1 == 0 {
                        IpAddr::V4(Ipv4Addr::from((bits >> 16) as u32))
                    } else {
                        IpAddr::V6(Ipv6Addr::from((0x2000_u128 << 112) | (u128::from(bits >> 3) << 64) | u128::from(bits)))
                    };
                    if network.table.lookup(address).is_some() {
                        break format!("{}:{address}", if address.is_ipv4() { "ipv4" } else { "ipv6" });
                    }
                }
            })
        };
        bodies.push(format!(r#"{{{numerical},"endpoints":{{"srcs":[{}],"dsts":[{}]}}}}"#, endpoints(10), endpoints(100)));
    }
    let mut rounds = bodies.iter().cycle();
    median("endpoint cost 10x100, 1 M prefixes", 2000, || ask("endpoint-cost", rounds.next().expect("a cycle has no end")));

    let render = |id: &str| black_box(guidance.render(&id.parse::<ResourceId>().expect("an id")).expect("a resource")).body.len();
    median("render cost map, 1 M whole numbers", 11, || render("routing"));
    median("render cost map, 1 M fractions", 11, || render("delay"));
    median("render network map, 1 M prefixes", 5, || render("network-map"));
    median("compose, nothing changed", 201, || composed(&inputs, Some(&guidance)));
    median("compose from nothing", 5, || composed(&inputs, None));
    let delay: ResourceId = "delay".parse().expect("an id");
    let Published::Cost { network_map, cost_type, table } = &*inputs.documents[&delay] else { unreachable!("a cost map") };
    let (network_map, cost_type, mut table) = (network_map.clone(), cost_type.clone(), CostTable::clone(table));
    median("compose, one of two cost maps changed", 11, || {
        table.values[0] += 1.0;
        let changed = Published::Cost { network_map: network_map.clone(), cost_type: cost_type.clone(), table: Arc::new(table.clone()) };
        inputs.documents.insert(delay.clone(), Arc::new(changed));
        composed(&inputs, Some(&guidance))
    });
}
