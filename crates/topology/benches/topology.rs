//! How fast tables are read and sources fused: `cargo bench -p topology`. Medians of repeated runs, one line each.
#![allow(clippy::print_stdout, clippy::disallowed_methods, missing_docs)]
use std::{
    fmt::Write,
    hint::black_box,
    net::Ipv4Addr,
    time::{Duration, Instant, SystemTime},
};
use topology::{
    fuse::Fuser,
    observation::{Link, Observation},
    sources::{Input, Options, SourceKind, read},
};

fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..7)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

fn table(rows: u32) -> String {
    let mut text = String::from("pid,prefix,asn,holder\n");
    for row in 0..rows {
        let base = Ipv4Addr::from_bits(row << 12);
        writeln!(text, "PID{},{base}/20,{},SOME-NETWORK", row / 5000, 64_000 + row % 1000).expect("writing to a string");
    }
    text
}

fn parse(text: &str) -> Observation {
    read(SourceKind::PrefixCsv, &[Input { name: "bench", bytes: text.as_bytes() }], &Options::default()).expect("a good table")
}

/// A ring with chords.
fn backbone(routers: u32, links: u32, cost: u32) -> Observation {
    let name = |n: u32| -> Box<str> { format!("10.255.{}.{}", n % routers / 256, n % routers % 256).into() };
    let one = |n: u32, from: u32, to: u32| Link {
        from: name(from),
        to: name(to),
        local_address: Some(Ipv4Addr::from_bits(0x0a40_0000 + 2 * n + u32::from(from > to)).into()),
        igp_cost: Some(cost + n % 17),
        needs_both_ends: true,
        ..Link::default()
    };
    let ends = |n: u32| (n % routers, n.wrapping_mul(7).wrapping_add(1 + n / routers * 13) % routers);
    let links =
        (0..links / 2).map(|n| (n, ends(n))).filter(|(_, (a, b))| a != b).flat_map(|(n, (a, b))| [one(n, a, b), one(n, b, a)]).collect();
    Observation { links, ..Observation::default() }
}

fn main() {
    let text = table(1_000_000);
    let time = median(|| {
        black_box(parse(&text));
    });
    println!("prefix-csv, 1,000,000 rows      {time:>10.1?}   {:.1} M rows/s", 1.0 / time.as_secs_f64());

    let ranges: String = (0..500_000_u32)
        .map(|row| format!("{},{},C{}\n", Ipv4Addr::from_bits(row << 13), Ipv4Addr::from_bits((row << 13) + 0xfff), row / 2000))
        .collect();
    let time = median(|| {
        black_box(parse(&ranges));
    });
    println!("prefix-csv, 500,000 ranges      {time:>10.1?}   {:.1} M rows/s", 0.5 / time.as_secs_f64());

    let now = SystemTime::UNIX_EPOCH;
    let prefixes = parse(&table(250_000));
    let mut fuser = Fuser::new();
    let igp = fuser.add_source("igp", 10, None);
    let places = fuser.add_source("prefixes", 0, None);
    fuser.observe(igp, backbone(1000, 5000, 10), now);
    let time = median(|| {
        fuser.observe(places, Observation::default(), now);
        fuser.observe(places, prefixes.clone(), now);
        black_box(fuser.graph(now));
    });
    println!("fuse, 1,000 routers, 5,000 links, 250,000 new prefixes {time:>10.1?}");
    let mut cost = 10;
    let time = median(|| {
        cost += 1;
        fuser.observe(igp, backbone(1000, 5000, cost), now);
        black_box(fuser.graph(now));
    });
    println!("fuse, links changed, prefixes shared                   {time:>10.1?}");
}
