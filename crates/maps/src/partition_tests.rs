//! Partitions by each of the ways to make a PID, and the properties of what comes out.
use super::*;
use proptest::prelude::*;
use std::time::UNIX_EPOCH;
use topology::graph::{Router, Source, SourceIx};

fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap()
}

fn graph(routers: &[(&str, Option<&str>)], prefixes: Vec<PrefixAt>) -> Graph {
    let router = |&(id, country): &(&str, Option<&str>)| Router {
        id: id.into(),
        country: country.map(Into::into),
        location: None,
        source: SourceIx(0),
    };
    Graph {
        routers: routers.iter().map(router).collect(),
        out: vec![0; routers.len() + 1],
        prefixes: Arc::new(prefixes),
        sources: vec![Source { name: "test".into(), precedence: 0, observed_at: UNIX_EPOCH, trouble: None, validity: Arc::default() }],
        ..Graph::default()
    }
}

fn at(text: &str, group: Option<&str>, router: Option<u32>, asn: Option<u32>) -> PrefixAt {
    PrefixAt {
        prefix: prefix(text),
        group: group.map(|group| group.parse().unwrap()),
        router: router.map(RouterIx),
        asn,
        source: SourceIx(0),
    }
}

fn shown(partition: &Partition) -> Vec<(String, Vec<String>, Vec<u32>)> {
    let show = |prefix: &Prefix| format!("{}/{}", prefix.address(), prefix.length());
    let groups = partition.network_map.pids.iter().zip(&partition.routers);
    groups
        .map(|((pid, group), routers)| {
            (pid.to_string(), group.ipv4.iter().chain(&group.ipv6).map(show).collect(), routers.iter().map(|ix| ix.0).collect())
        })
        .collect()
}

#[test]
fn by_each_place() {
    // As topology has them: sorted by id.
    let routers = [("London,+UK209", Some("UK")), ("London,+UK289", Some("UK")), ("Paris7", Some("France")), ("Vienna", None)];
    let prefixes = vec![
        at("192.0.2.0/25", Some("Vienna"), None, Some(64496)),
        at("192.0.2.128/25", None, Some(0), Some(64497)),
        at("198.51.100.0/24", None, Some(1), Some(64496)),
        at("203.0.113.0/24", Some("Nowhere"), None, None),
        at("2001:db8::/32", Some("Paris7"), Some(1), None),
    ];
    type Row = (&'static str, &'static [&'static str], &'static [u32]);
    let cases: [(PartitionBy, usize, &[Row]); 5] = [
        (
            PartitionBy::Group,
            0,
            &[
                ("London-UK209", &["192.0.2.128/25"], &[0]),
                ("London-UK289", &["198.51.100.0/24"], &[1]),
                ("Nowhere", &["203.0.113.0/24"], &[]),
                ("Paris7", &["2001:db8::/32"], &[1, 2]),
                ("Vienna", &["192.0.2.0/25"], &[3]),
            ],
        ),
        (
            PartitionBy::Router,
            1,
            &[
                ("London-UK209", &["192.0.2.128/25"], &[0]),
                ("London-UK289", &["198.51.100.0/24", "2001:db8::/32"], &[1]),
                ("Vienna", &["192.0.2.0/25"], &[3]),
            ],
        ),
        (
            PartitionBy::City,
            0,
            &[
                ("London-UK", &["192.0.2.128/25", "198.51.100.0/24", "2001:db8::/32"], &[0, 1]),
                ("Nowhere", &["203.0.113.0/24"], &[]),
                ("Vienna", &["192.0.2.0/25"], &[3]),
            ],
        ),
        (
            PartitionBy::Country,
            0,
            &[
                ("Nowhere", &["203.0.113.0/24"], &[]),
                ("UK", &["192.0.2.128/25", "198.51.100.0/24", "2001:db8::/32"], &[0, 1]),
                ("Vienna", &["192.0.2.0/25"], &[3]),
            ],
        ),
        (PartitionBy::Asn, 2, &[("AS64496", &["192.0.2.0/25", "198.51.100.0/24"], &[1]), ("AS64497", &["192.0.2.128/25"], &[0])]),
    ];
    for (by, unplaced, want) in cases {
        let got = partition(&graph(&routers, prefixes.clone()), &PartitionPolicy { by, default_pid: None }).unwrap();
        let want: Vec<_> = want
            .iter()
            .map(|(pid, prefixes, routers)| (pid.to_string(), prefixes.iter().map(|p| p.to_string()).collect(), routers.to_vec()))
            .collect();
        assert_eq!((shown(&got), got.unplaced), (want, unplaced), "{by:?}");
    }
}

#[test]
fn default_pid_has_everything() {
    let policy = PartitionPolicy { by: PartitionBy::Group, default_pid: Some("default".parse().unwrap()) };
    let got = partition(&graph(&[], vec![at("192.0.2.0/24", Some("A"), None, None)]), &policy).unwrap();
    assert_eq!(
        shown(&got),
        [("A".into(), vec!["192.0.2.0/24".into()], vec![]), ("default".into(), vec!["0.0.0.0/0".to_string(), "::/0".into()], vec![])]
    );
    assert_eq!(got.table.lookup("8.8.8.8".parse().unwrap()), Some(PidIx(1)));
    // RFC 7285 section 11.2.1.6: a prefix is in one PID only.
    let got = partition(&graph(&[], vec![at("0.0.0.0/0", Some("A"), None, None)]), &policy).unwrap();
    assert_eq!(shown(&got), [("A".into(), vec!["0.0.0.0/0".to_string()], vec![]), ("default".into(), vec!["::/0".into()], vec![])]);
}

#[test]
fn too_many_pids() {
    let many = (0..3).map(|i| at(&format!("10.{i}.0.0/16"), Some(&format!("P{i}")), None, None)).collect();
    let limits = Limits { pids_max: 2, ..Limits::default() };
    let got = partition_after(&graph(&[], many), &PartitionPolicy::default(), &limits, None);
    assert_eq!(got.unwrap_err(), Error::TooManyPids { asked: 3, limit: 2 });
}

/// RFC 7285 section 10.1.
#[test]
fn names() {
    for (name, want) in
        [("AT", "AT"), ("us.east", "us-east"), ("São Paulo", "S-o-Paulo"), ("a@b:c_d-e", "a@b:c_d-e"), ("", "-"), ("日本", "-")]
    {
        assert_eq!(pid_name(name), want);
    }
    let long = "x".repeat(65);
    assert_eq!((pid_name(&long).len(), &pid_name(&long)[..47]), (64, &long[..47]));
    for (label, want) in [("London209", "London"), ("a-b_12", "a-b"), ("42", "42"), ("AT", "AT"), ("-7", "-7")] {
        assert_eq!(city(label), want);
    }
}

#[test]
fn aggregation() {
    type Placed = &'static [(&'static str, u32)];
    let cases: [(Placed, Placed); 6] = [
        // Halves of halves join.
        (&[("10.0.0.0/25", 1), ("10.0.0.128/25", 1), ("10.0.1.0/24", 1)], &[("10.0.0.0/23", 1)]),
        // Not across PIDs, not what is not two halves of one whole.
        (&[("10.0.0.0/25", 1), ("10.0.0.128/25", 2)], &[("10.0.0.0/25", 1), ("10.0.0.128/25", 2)]),
        (&[("10.0.1.0/24", 1), ("10.0.2.0/24", 1)], &[("10.0.1.0/24", 1), ("10.0.2.0/24", 1)]),
        // Inside one's own shorter prefix, unless another PID is between.
        (
            &[("10.0.0.0/8", 1), ("10.1.0.0/16", 1), ("10.2.0.0/16", 2), ("10.2.3.0/24", 1)],
            &[("10.0.0.0/8", 1), ("10.2.0.0/16", 2), ("10.2.3.0/24", 1)],
        ),
        // The whole is another's.
        (&[("10.0.0.0/24", 2), ("10.0.0.0/25", 1), ("10.0.0.128/25", 1)], &[("10.0.0.0/24", 2), ("10.0.0.0/25", 1), ("10.0.0.128/25", 1)]),
        // To the very top.
        (&[("::/1", 1), ("8000::/1", 1)], &[("::/0", 1)]),
    ];
    for (given, want) in cases {
        let read = |list: &[(&str, u32)]| list.iter().map(|&(text, pid)| (prefix(text), PidIx(pid))).collect::<Vec<_>>();
        assert_eq!(aggregate(read(given)), read(want));
    }
}

proptest! {
    #[test]
    fn aggregation_keeps_the_longest_match(
        given in proptest::collection::vec((any::<u8>(), 0u8..=8, 0u32..3, any::<bool>()), 0..60),
    ) {
        // The top byte alone is divided, so that all of it can be looked at.
        let mut seen = HashSet::new();
        let entries: Vec<(Prefix, PidIx)> = given
            .into_iter()
            .map(|(byte, length, pid, v6)| {
                let address = if v6 { IpAddr::V6((u128::from(byte) << 120).into()) } else { IpAddr::V4((u32::from(byte) << 24).into()) };
                (Prefix::new(address, length).unwrap(), PidIx(pid))
            })
            .filter(|(prefix, _)| seen.insert(*prefix))
            .collect();
        let aggregated = aggregate(entries.clone());
        prop_assert!(aggregated.len() <= entries.len());
        let (before, after) = (PrefixTable::build(entries), PrefixTable::build(aggregated));
        for byte in 0..=255u8 {
            for address in [IpAddr::V4((u32::from(byte) << 24 | 77).into()), IpAddr::V6((u128::from(byte) << 120 | 77).into())] {
                prop_assert_eq!(before.lookup(address), after.lookup(address), "{}", address);
            }
        }
    }

    /// RFC 7285 section 10.1: at most 64 of the allowed characters; and PIDs that differ are named so.
    #[test]
    fn names_are_valid_and_different(names in proptest::collection::hash_set("[A-Ca. é-]{0,3}|.{0,90}", 0..40)) {
        let names: Vec<Cow<'_, str>> = names.into_iter().map(Cow::Owned).collect();
        let made = pid_names(&names);
        prop_assert_eq!(made.iter().collect::<HashSet<_>>().len(), names.len());
        for (name, made) in names.iter().zip(&made) {
            prop_assert!(made.parse::<Pid>().is_ok() && !made.contains('.'));
            if name.parse::<Pid>().is_ok() && !name.contains('.') {
                prop_assert_eq!(name, made);
            }
        }
    }
}
