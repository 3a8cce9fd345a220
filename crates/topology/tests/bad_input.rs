//! Whatever is fed to a reader, it answers or refuses; it does not panic, and what it lets through can be fused.
#![allow(clippy::unwrap_used)]
mod support;

use proptest::prelude::*;
use support::*;
use topology::sources::{Input, Limits, Options, SourceKind, read};

const FILES: [(SourceKind, &str); 14] = [
    (SourceKind::Graphml, "zoo/Abilene.graphml"),
    (SourceKind::Repetita, "repetita/Geant2012.graph"),
    (SourceKind::IetfNetwork, "rfc8345/target.json"),
    (SourceKind::FrrOspf, "frr-geant2012-lab/t0-baseline/ospf-database-router.json.gz"),
    (SourceKind::FrrOspf, "frr-geant2012-lab/t0-baseline/ospf-database-external.json.gz"),
    (SourceKind::FrrTe, "frr-ospf-te/ted_step1.json.gz"),
    (SourceKind::FrrTe, "frr-isis-te/ted_step3.json.gz"),
    (SourceKind::PrefixCsv, "geant-nren/geant-nren-prefixes.csv.gz"),
    (SourceKind::AwsIpRanges, "aws/aws-ip-ranges-2026-05.json.gz"),
    (SourceKind::AwsIpRanges, "aws/aws-region-prefixes.jsonl.gz"),
    (SourceKind::LatencyMatrix, "azure/azure-region-rtt.csv"),
    // Of the wrong kind.
    (SourceKind::LatencyPairs, "azure/azure-region-rtt.csv"),
    (SourceKind::PrefixCsv, "zoo/Abilene.graphml"),
    (SourceKind::LatencyMatrix, "frr-isis-te/ted_step3.json.gz"),
];

/// Small enough that a run meets them.
fn options() -> Options {
    let limits =
        Limits { bytes_max: 1 << 20, routers_max: 500, links_max: 5_000, prefixes_max: 20_000, cells_max: 10_000, oddities_max: 5 };
    Options { limits, stub_prefixes: true, ..lab() }
}

fn survives(kind: SourceKind, bytes: &[u8]) {
    let options = options();
    match read(kind, &[Input { name: "f", bytes }], &options) {
        Ok(seen) => {
            assert!(seen.routers.len() <= options.limits.routers_max && seen.links.len() <= options.limits.links_max);
            assert!(seen.prefixes.len() <= options.limits.prefixes_max && seen.oddities.len() <= options.limits.oddities_max + 2);
            let graph = fuse_one(seen);
            let routers = graph.routers.len() as u32;
            assert!(graph.links.iter().all(|link| link.from.0 < routers && link.to.0 < routers && link.from != link.to));
            assert!(graph.links.iter().flat_map(|link| [link.delay_us, link.bandwidth_bps]).flatten().all(|x| x.is_finite() && x >= 0.0));
            assert_eq!(graph.out.len(), graph.routers.len() + 1);
        }
        Err(why) => assert!(why.to_string().starts_with("f: "), "{why}"),
    }
}

/// A file half written ends anywhere. The formats that know their end say so; of tables the rows before it stand.
#[test]
fn truncated_files_are_refused_or_whole_rows() {
    for (kind, path) in FILES {
        let plain = plain(path);
        for cut in (0..40).map(|part| plain.len() * part / 40) {
            survives(kind, &plain[..cut]);
            let knows_its_end = matches!(
                kind,
                SourceKind::Graphml | SourceKind::FrrOspf | SourceKind::FrrTe | SourceKind::IetfNetwork | SourceKind::Repetita
            );
            if knows_its_end {
                assert!(read(kind, &[Input { name: "f", bytes: &plain[..cut] }], &lab()).is_err(), "{path} cut at {cut}");
            }
        }
        let packed = bytes(path);
        if path.ends_with(".gz") {
            for cut in (2..40).map(|part| packed.len() * part / 40) {
                let why = read(kind, &[Input { name: "f", bytes: &packed[..cut] }], &lab()).unwrap_err().to_string();
                assert!(why.contains("damaged gzip"), "{why}");
            }
        }
    }
}

#[test]
fn deep_and_inflated_files_are_refused() {
    for kind in SourceKind::ALL {
        survives(kind, "[".repeat(100_000).as_bytes());
        survives(kind, "{\"ted\":".repeat(100_000).as_bytes());
        survives(kind, "<a>".repeat(100_000).as_bytes());
        survives(kind, ",".repeat(500_000).as_bytes());
        survives(kind, "\"".repeat(100_001).as_bytes());
        survives(kind, b"");
        survives(kind, b"\xff\xfe\x00\x00");
    }
    // 64 MiB of zeros in a few kilobytes of gzip.
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..64 {
        std::io::Write::write_all(&mut bomb, &vec![0; 1 << 20]).unwrap();
    }
    let why = read(SourceKind::PrefixCsv, &[Input { name: "f", bytes: &bomb.finish().unwrap() }], &options()).unwrap_err().to_string();
    assert!(why.contains("more than 1048576 bytes") && why.contains("bytes_max"), "{why}");
}

#[derive(Debug, Clone)]
enum Change {
    Set(u8),
    Insert(Vec<u8>),
    Remove(usize),
    Copy(usize, usize),
}

fn change() -> impl Strategy<Value = (usize, Change)> {
    let tokens =
        ["\"", "{", "}", "[", "]", ",", "\n", "null", "-1", "1e999", "4294967296", "255.255.255.255", "0.0.0.0", "<", "&lt;", "#", "\\"];
    let what = prop_oneof![
        any::<u8>().prop_map(Change::Set),
        prop::sample::select(tokens.to_vec()).prop_map(|token| Change::Insert(token.as_bytes().to_vec())),
        (1_usize..200).prop_map(Change::Remove),
        (any::<usize>(), 1_usize..200).prop_map(|(from, count)| Change::Copy(from, count)),
    ];
    (any::<usize>(), what)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn mutated_files_never_panic(which in 0..FILES.len(), changes in prop::collection::vec(change(), 1..20)) {
        let (kind, path) = FILES[which];
        let mut bytes = plain(path);
        // The start of large files, so that a change meets something each time.
        bytes.truncate(40_000);
        for (place, change) in changes {
            let at = place % (bytes.len() + 1);
            match change {
                Change::Set(byte) => { if let Some(old) = bytes.get_mut(at) { *old = byte; } }
                Change::Insert(token) => { bytes.splice(at..at, token); }
                Change::Remove(count) => { bytes.drain(at..(at + count).min(bytes.len())); }
                Change::Copy(from, count) => {
                    let from = from % (bytes.len() + 1);
                    let copied = bytes[from..(from + count).min(bytes.len())].to_vec();
                    bytes.splice(at..at, copied);
                }
            }
        }
        survives(kind, &bytes);
    }

    /// Numbers swapped for others, so that the JSON itself stays good and the readers behind it are met.
    #[test]
    fn mutated_values_never_panic(which in 0..FILES.len(), picks in prop::collection::vec((any::<usize>(), 0_usize..8), 1..10)) {
        let (kind, path) = FILES[which];
        let plain = plain(path);
        prop_assume!(plain[0] == b'{' && plain.len() < 200_000);
        if let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(&plain) {
            for (pick, what) in picks {
                let mut leaves = 0;
                count(&value, &mut leaves);
                let mut left = pick % leaves;
                replace(&mut value, &mut left, what);
            }
            survives(kind, &serde_json::to_vec(&value).unwrap());
        }
    }
}

fn count(value: &serde_json::Value, leaves: &mut usize) {
    *leaves += 1;
    match value {
        serde_json::Value::Array(items) => items.iter().for_each(|item| count(item, leaves)),
        serde_json::Value::Object(members) => members.values().for_each(|member| count(member, leaves)),
        _ => {}
    }
}

/// Replaces the value at place `left` of the walk; whether it did.
fn replace(value: &mut serde_json::Value, left: &mut usize, what: usize) -> bool {
    if *left == 0 {
        *value = [
            serde_json::json!(null),
            serde_json::json!(-1),
            serde_json::json!(1e300),
            serde_json::json!(u64::MAX),
            serde_json::json!("10.255.0.1"),
            serde_json::json!([]),
            serde_json::json!({}),
            serde_json::json!(true),
        ][what]
            .clone();
        return true;
    }
    *left -= 1;
    match value {
        serde_json::Value::Array(items) => items.iter_mut().any(|item| replace(item, left, what)),
        serde_json::Value::Object(members) => members.values_mut().any(|member| replace(member, left, what)),
        _ => false,
    }
}
