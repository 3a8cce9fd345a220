//! Each kind of source on the files its publisher wrote.
#![allow(clippy::unwrap_used)]
mod support;

use std::{collections::BTreeSet, net::IpAddr, time::Duration};
use support::*;
use topology::{
    observation::{Link, Observation},
    sources::{BandwidthFrom, Columns, DelayFrom, Input, Options, Place, Series, SourceKind, Unit, read},
};

fn plain_options() -> Options {
    Options::default()
}

fn link<'a>(seen: &'a Observation, from: &str, to: &str) -> &'a Link {
    seen.links.iter().find(|link| &*link.from == from && &*link.to == to).unwrap_or_else(|| panic!("no link {from}-{to}"))
}

/// Counts from the files' own XML.
#[test]
fn topology_zoo() {
    for (file, nodes, edges, located, with_speed) in [
        ("zoo/Abilene.graphml", 11, 14, 11, 0),
        ("zoo/Geant2012.graphml", 40, 61, 37, 39),
        ("zoo/SwitchL3.graphml", 42, 63, 30, 63),
        // Two edges lead from a node to itself.
        ("zoo/Interoute.graphml", 110, 158 - 2, 96, 0),
        ("zoo/Kdl.graphml.gz", 754, 899, 726, 0),
    ] {
        let seen = read_with(SourceKind::Graphml, &[file], &plain_options());
        assert_eq!(seen.routers.len(), nodes, "{file}");
        assert_eq!(seen.routers.iter().map(|router| &router.id).collect::<BTreeSet<_>>().len(), nodes, "{file}: ids are unique");
        assert_eq!(seen.links.len(), 2 * edges, "{file}");
        assert_eq!(seen.routers.iter().filter(|router| router.location.is_some()).count(), located, "{file}");
        assert_eq!(seen.links.iter().filter(|link| link.bandwidth_bps.is_some()).count(), 2 * with_speed, "{file}");
        assert!(seen.links.iter().all(|link| !link.needs_both_ends && link.igp_cost.is_none()), "{file}");
    }
}

#[test]
fn topology_zoo_attributes() {
    let seen = read_with(SourceKind::Graphml, &["zoo/Geant2012.graphml"], &plain_options());
    let nl = seen.routers.iter().find(|router| &*router.id == "NL").unwrap();
    assert_eq!((nl.country.as_deref(), nl.location), (Some("Netherlands"), Some((52.37403, 4.88969))));
    assert!(seen.routers.iter().filter(|router| router.location.is_none()).map(|router| &*router.id).eq(["UA", "MD", "BY"]));
    // Amsterdam to Brussels, 173 km of great circle: 867 us at 200,000 km/s.
    assert_eq!(link(&seen, "NL", "BE").delay_us, Some(867.0));
    assert_eq!(link(&seen, "BE", "NL").delay_us, Some(867.0));
    assert_eq!(link(&seen, "PL", "UA").delay_us, None, "no coordinates, no delay");
    assert!(seen.links.iter().filter(|link| link.delay_us.is_none()).count() > 0);

    let slower = Options { fibre_km_per_us: 0.1, ..plain_options() };
    assert_eq!(link(&read_with(SourceKind::Graphml, &["zoo/Geant2012.graphml"], &slower), "NL", "BE").delay_us, Some(1735.0));
    let none = Options { delay: DelayFrom::Nowhere, ..plain_options() };
    assert!(read_with(SourceKind::Graphml, &["zoo/Geant2012.graphml"], &none).links.iter().all(|link| link.delay_us.is_none()));
}

/// Ten edges of Interoute run beside another; two labels of Switch are in twice or more.
#[test]
fn parallel_edges_and_equal_labels() {
    let graph = fuse_one(read_with(SourceKind::Graphml, &["zoo/Interoute.graphml"], &plain_options()));
    let pairs: BTreeSet<_> = graph.links.iter().map(|link| (link.from, link.to)).collect();
    // The two loops are parallel to none.
    assert_eq!(graph.links.len() - pairs.len(), 2 * 10);
    assert!(graph.links.iter().all(|link| link.igp_cost == 1), "without metrics a link is a hop");
    let seen = read_with(SourceKind::Graphml, &["zoo/SwitchL3.graphml"], &plain_options());
    assert_eq!(seen.routers.iter().filter(|router| router.id.starts_with("SwissIX-")).count(), 2);
    let internal = Options { internal_only: true, ..plain_options() };
    assert_eq!(read_with(SourceKind::Graphml, &["zoo/SwitchL3.graphml"], &internal).routers.len(), 30);
}

#[test]
fn repetita() {
    let file = ["repetita/Geant2012.graph"];
    let seen = read_with(SourceKind::Repetita, &file, &plain_options());
    assert_eq!((seen.routers.len(), seen.links.len()), (40, 122));
    assert!(seen.routers.iter().map(|router| &*router.id).eq(NAMES));
    let nl_be = link(&seen, "NL", "BE");
    assert_eq!((nl_be.igp_cost, nl_be.bandwidth_bps, nl_be.delay_us), (Some(13), Some(7_166_666_000.0), Some(867.0)));
    // 0 0 is no place in the Gulf of Guinea.
    assert!(seen.routers.iter().filter(|router| router.location.is_none()).map(|router| &*router.id).eq(["UA", "MD", "BY"]));
    assert_eq!(link(&seen, "UA", "PL").delay_us, None);
    let own = Options { delay: DelayFrom::File, strip_index: false, ..plain_options() };
    assert_eq!(link(&read_with(SourceKind::Repetita, &file, &own), "0_NL", "1_BE").delay_us, Some(293.0));
}

#[test]
fn ospf_routers_and_externals() {
    let files = [lab_file(STATES[0], "ospf-database-external.json.gz"), lab_file(STATES[0], "ospf-database-router.json.gz")];
    let seen = read_with(SourceKind::FrrOspf, &[&files[0], &files[1]], &plain_options());
    assert_eq!((seen.routers.len(), seen.links.len(), seen.prefixes.len()), (40, 122, 112));
    assert!(seen.links.iter().all(|link| link.needs_both_ends && link.igp_cost.is_some() && link.local_address.is_some()));
    let first = &seen.routers[0];
    assert_eq!((&*first.id, &first.addresses[..]), ("10.255.0.1", &["10.255.0.1".parse::<IpAddr>().unwrap()][..]));
    let at = seen.prefixes.iter().find(|at| at.prefix.address() == "5.152.224.0".parse::<IpAddr>().unwrap()).unwrap();
    assert_eq!((at.prefix.length(), at.router.as_deref()), (21, Some("10.255.0.40")));
    let stubs = Options { stub_prefixes: true, ..plain_options() };
    // 40 loopbacks and 61 links, each link told by both ends.
    assert_eq!(read_with(SourceKind::FrrOspf, &[&files[0], &files[1]], &stubs).prefixes.len(), 112 + 40 + 61);
}

/// RFC 2328 sections 12.1.1 and 14: what is not refreshed is flushed at the age of 3600 s. The ages are those of the lab's dumps.
#[test]
fn ospf_says_how_long_it_holds() {
    for (state, whole, prefix) in [(STATES[0], 3470, 3477), (STATES[3], 3387, 3394)] {
        let files = [lab_file(state, "ospf-database-router.json.gz"), lab_file(state, "ospf-database-external.json.gz")];
        let validity = read_with(SourceKind::FrrOspf, &[&files[0], &files[1]], &plain_options()).validity;
        assert_eq!((validity.from, validity.whole, validity.prefixes.len()), (None, Some(Duration::from_secs(whole)), 112), "{state}");
        assert!(validity.prefixes.is_sorted());
        let of = |text: &str| validity.prefixes.iter().find(|(of, _)| of.to_string() == text).map(|(_, time)| time.as_secs());
        assert_eq!(of("5.152.224.0/21"), Some(prefix), "{state}");
        assert_eq!(validity.prefixes.iter().map(|(_, time)| time.as_secs()).min(), Some(whole), "{state}");
    }
    // An LSA lives no longer than that of its router; one that says no age leaves open how long it lives.
    let text = |router_age: &str, age: &str| {
        let stub = r#"{"linkType": "Stub Network", "networkAddress": "198.51.100.0", "networkMask": "255.255.255.0", "tos0Metric": 1}"#;
        format!(
            r#"{{"routerLinkStates": {{"areas": {{"0.0.0.0": [{{{router_age} "advertisingRouter": "192.0.2.1", "routerLinks": {{"link0": {stub}}}}}]}}}},
            "asExternalLinkStates": [{{{age} "advertisingRouter": "192.0.2.1", "linkStateId": "203.0.113.0", "networkMask": 24, "metric": 1}}]}}"#
        )
    };
    let stubs = Options { stub_prefixes: true, ..plain_options() };
    for (router, external, whole, of_stub, of_external) in [
        ("\"lsaAge\": 1000,", "\"lsaAge\": 600,", Some(2600), Some(2600), Some(2600)),
        ("\"lsaAge\": 600,", "\"lsaAge\": 1000,", Some(2600), Some(3000), Some(2600)),
        ("\"lsaAge\": 3599,", "\"lsaAge\": 0,", Some(1), Some(1), Some(1)),
        // At MaxAge the router says nothing any more, and so its age nothing of what others say.
        ("\"lsaAge\": 3600,", "\"lsaAge\": 1000,", Some(2600), None, Some(2600)),
        ("", "\"lsaAge\": 1000,", None, None, None),
        ("\"lsaAge\": 1000,", "", None, Some(2600), None),
    ] {
        let validity = read_text(SourceKind::FrrOspf, &text(router, external), &stubs).unwrap().validity;
        let seconds = |text: &str| validity.prefixes.iter().find(|(of, _)| of.to_string() == text).map(|(_, time)| time.as_secs());
        let found = (validity.whole.map(|time| time.as_secs()), seconds("198.51.100.0/24"), seconds("203.0.113.0/24"));
        assert_eq!(found, (whole, of_stub, of_external), "{router} {external}");
    }
}

/// RFC 2328 sections 12.4.1.1, 12.4.2, 14.1, 16.1, 16.4.
#[test]
fn ospf_by_the_book() {
    let lsa = |id: &str, age: u32, links: &str| {
        format!(r#"{{"lsaAge": {age}, "advertisingRouter": "{id}", "linkStateId": "{id}", "routerLinks": {{{links}}}}}"#)
    };
    let transit = |dr: &str, own: &str, cost: u32| {
        let kind = "a Transit Network";
        format!(
            r#""link0": {{"linkType": "{kind}", "designatedRouterAddress": "{dr}", "routerInterfaceAddress": "{own}", "tos0Metric": {cost}}}"#
        )
    };
    let (a, b, c) = ("192.0.2.1", "192.0.2.2", "192.0.2.3");
    let dr = "198.51.100.1";
    let routers = |age: u32| {
        let lsas =
            [lsa(a, 1, &transit(dr, dr, 5)), lsa(b, 1, &transit(dr, "198.51.100.2", 7)), lsa(c, age, &transit(dr, "198.51.100.3", 9))];
        format!(r#"{{"routerLinkStates": {{"areas": {{"0.0.0.0": [{}]}}}}}}"#, lsas.join(","))
    };
    // The cost of a transit network is that of going in; leaving it costs nothing.
    let seen = read_text(SourceKind::FrrOspf, &routers(1), &plain_options()).unwrap();
    assert_eq!(seen.links.len(), 6);
    assert_eq!((link(&seen, a, b).igp_cost, link(&seen, b, a).igp_cost), (Some(5), Some(7)));
    // Section 14.1: an LSA of MaxAge is being flushed.
    let seen = read_text(SourceKind::FrrOspf, &routers(3600), &plain_options()).unwrap();
    assert_eq!(seen.links.len(), 2);
    assert!(seen.oddities.iter().any(|odd| odd.what.contains("MaxAge")));
    // A network LSA says who is fully adjacent.
    let network = r#"{"networkLinkStates": {"areas": {"0.0.0.0": [{"lsaAge": 1, "linkStateId": "198.51.100.1", "advertisingRouter": "192.0.2.1",
        "networkMask": 24, "attchedRouters": {"192.0.2.1": {"attachedRouterId": "192.0.2.1"}, "192.0.2.3": {"attachedRouterId": "192.0.2.3"}}}]}}}"#;
    let routers = routers(1);
    let both = [Input { name: "r", bytes: routers.as_bytes() }, Input { name: "n", bytes: network.as_bytes() }];
    let seen = read(SourceKind::FrrOspf, &both, &plain_options()).unwrap();
    assert_eq!(seen.links.iter().map(|link| (&*link.from, &*link.to)).collect::<Vec<_>>(), [(a, c), (c, a)]);
    // Section 16.4: type 1 before type 2, then the lower metric; LSInfinity is unreachable.
    let external = |router: &str, kind: &str, metric: u32| {
        format!(
            r#"{{"lsaAge": 1, "advertisingRouter": "{router}", "linkStateId": "203.0.113.0", "networkMask": 24, "metricType": "{kind}", "metric": {metric}}}"#
        )
    };
    for (rows, want) in [
        (vec![external(a, "E2", 1), external(b, "E1", 900)], Some(b)),
        (vec![external(b, "E1", 20), external(a, "E1", 10)], Some(a)),
        (vec![external(b, "E1", 20), external(a, "E1", 20)], Some(a)),
        (vec![external(a, "E1", 0xff_ffff)], None),
    ] {
        let text = format!(r#"{{"asExternalLinkStates": [{}]}}"#, rows.join(","));
        let seen = read_text(SourceKind::FrrOspf, &text, &plain_options()).unwrap();
        assert_eq!(seen.prefixes.first().and_then(|at| at.router.as_deref()), want, "{text}");
    }
}

/// Every step of FRR's own tests, against the counts its files state.
#[test]
fn traffic_engineering_steps() {
    for (protocol, steps) in [("isis", 11), ("ospf", 7)] {
        for step in 1..=steps {
            let file = format!("frr-{protocol}-te/ted_step{step}.json.gz");
            let document: serde_json::Value = serde_json::from_slice(&plain(&file)).unwrap();
            let seen = read_with(SourceKind::FrrTe, &[&file], &plain_options());
            assert_eq!(seen.routers.len() as u64, document["ted"]["verticesCount"].as_u64().unwrap(), "{file}");
            assert_eq!(seen.links.len() as u64, document["ted"]["edgesCount"].as_u64().unwrap(), "{file}");
            let graph = fuse_one(seen.clone());
            assert!(!graph.links.is_empty(), "{file}");
        }
    }
    let seen = read_with(SourceKind::FrrTe, &["frr-isis-te/ted_step1.json.gz"], &plain_options());
    assert!(seen.routers.iter().map(|router| &*router.id).eq(["r1", "r2", "r3", "r4"]));
    // r1 and r2 have three links, of IPv4 and of IPv6.
    let beside: Vec<Option<IpAddr>> =
        seen.links.iter().filter(|link| &*link.from == "r1" && &*link.to == "r2").map(|link| link.local_address).collect();
    assert_eq!(beside.len(), 3);
    assert!(beside.iter().flatten().any(IpAddr::is_ipv6) && beside.iter().flatten().any(IpAddr::is_ipv4));
    let graph = fuse_one(seen.clone());
    let (r1, r2) = (router(&graph, "r1").unwrap(), router(&graph, "r2").unwrap());
    assert_eq!(graph.links_from(r1).iter().filter(|link| link.to == r2).count(), 3);

    // `available-bandwidth` 125000000.0 bytes/s before `unreserved-bandwidth`; `max-link-bandwidth` by option; delay as it is.
    let file = ["frr-ospf-te/ted_step1.json.gz"];
    let first = read_with(SourceKind::FrrTe, &file, &plain_options()).links.remove(0);
    assert_eq!((first.bandwidth_bps, first.delay_us, first.igp_cost), (Some(1e9), Some(10_000.0), Some(10)));
    let maximum = Options { bandwidth: BandwidthFrom::Maximum, ..plain_options() };
    assert_eq!(read_with(SourceKind::FrrTe, &file, &maximum).links.remove(0).bandwidth_bps, Some(99_999_997_952.0 * 8.0));
    // The link into the other AS has nobody at its far end to confirm it.
    let seen = read_with(SourceKind::FrrTe, &file, &plain_options());
    assert_eq!(seen.links.iter().filter(|link| !link.needs_both_ends).count(), 1);
    assert!(fuse_one(seen).routers.iter().any(|router| &*router.id == "10.0.255.5"));
}

#[test]
fn ietf_networks() {
    let target = read_with(SourceKind::IetfNetwork, &["rfc8345/target.json"], &plain_options());
    assert_eq!((target.routers.len(), target.links.len()), (10, 24), "the only layer 3 network of four");
    // A comma where a point should be, in the file as published.
    assert!(
        target.oddities.iter().any(|odd| odd.what.contains("192.168,10.0/24") && odd.place.contains("/prefix/")),
        "{:?}",
        target.oddities
    );
    assert!(target.links.iter().any(|link| link.local_address == Some("192.168.10.254".parse().unwrap())));

    for (network, nodes, links) in [("layer3", 16, 40), ("ospf-proc", 12, 24), ("bgp-proc", 14, 36), ("bgp-as", 5, 12)] {
        let options = Options { network: Some(network.into()), ..plain_options() };
        let seen = read_with(SourceKind::IetfNetwork, &["rfc8345/bf_l3ex.json.gz"], &options);
        assert_eq!((seen.routers.len(), seen.links.len()), (nodes, links), "{network}");
    }
    let ospf = Options { network: Some("ospf-proc".into()), ..plain_options() };
    let seen = read_with(SourceKind::IetfNetwork, &["rfc8345/bf_l3ex.json.gz"], &ospf);
    assert!(seen.links.iter().all(|link| link.local_address.is_some()), "area1:1.0.1.1/24");
    let why = try_read(SourceKind::IetfNetwork, &["rfc8345/bf_l3ex.json.gz"], &plain_options()).unwrap_err().to_string();
    assert!(why.contains("bgp-proc, ospf-proc, layer3") && why.contains("`network`"), "{why}");

    // RFC 8346 section 5, and the traffic engineering attributes of RFC 8795.
    let text = r#"{"ietf-network:networks": {"network": [{"network-id": "n", "network-types": {"ietf-l3-unicast-topology:l3-unicast-topology": {}},
        "node": [{"node-id": "a"}, {"node-id": "b"}],
        "ietf-network-topology:link": [{"link-id": "1", "source": {"source-node": "a"}, "destination": {"dest-node": "b"},
            "ietf-l3-unicast-topology:l3-link-attributes": {"metric1": 100},
            "ietf-te-topology:te": {"te-link-attributes": {"te-delay-metric": 250, "max-link-bandwidth": 125000000}}}]}]}}"#;
    let seen = read_text(SourceKind::IetfNetwork, text, &plain_options()).unwrap();
    assert_eq!((seen.links[0].igp_cost, seen.links[0].delay_us, seen.links[0].bandwidth_bps), (Some(100), Some(250.0), Some(1e9)));
}

#[test]
fn prefixes_of_research_networks() {
    let seen = read_with(SourceKind::PrefixCsv, &["geant-nren/geant-nren-prefixes.csv.gz"], &plain_options());
    assert_eq!(seen.prefixes.len(), 2_554);
    assert_eq!(seen.prefixes.iter().filter(|at| at.prefix.address().is_ipv4()).count(), 2_096);
    let groups: BTreeSet<&str> = seen.prefixes.iter().map(|at| at.group.as_ref().unwrap().as_str()).collect();
    assert_eq!(groups, BTreeSet::from(NAMES));
    assert!(seen.prefixes.is_sorted_by(|a, b| a.prefix < b.prefix));
    // The holder's name has quotes in it: "Univerzitet ""Sv. Kiril i Metodij""".
    let mk = seen.prefixes.iter().find(|at| at.prefix.address() == "194.149.128.0".parse::<IpAddr>().unwrap()).unwrap();
    assert_eq!((mk.group.as_ref().unwrap().as_str(), mk.asn), ("MK", Some(5379)));
}

#[test]
fn prefix_table_layouts() {
    let columns = |group: &str| Options { columns: Columns { group: Some(group.into()), ..Columns::default() }, ..plain_options() };
    type Row = (&'static str, u8, Option<&'static str>, Option<u32>);
    let rows = |text: &str, options: &Options| -> Vec<(String, u8, Option<String>, Option<u32>)> {
        let seen = read_text(SourceKind::PrefixCsv, text, options).unwrap_or_else(|why| panic!("{text}: {why}"));
        let row = |at: &topology::observation::PrefixAt| {
            (at.prefix.address().to_string(), at.prefix.length(), at.group.as_ref().map(|pid| pid.to_string()), at.asn)
        };
        seen.prefixes.iter().map(row).collect()
    };
    let cases: [(&str, Options, &[Row]); 9] = [
        ("country,prefix\nAD,46.172.224.0/19\n", plain_options(), &[("46.172.224.0", 19, Some("AD"), None)]),
        ("prefix,asn\r\n192.0.2.0/24,AS64500\r\n", plain_options(), &[("192.0.2.0", 24, None, Some(64_500))]),
        (
            "192.0.2.0/24,64500\n2001:db8::/32,64501",
            plain_options(),
            &[("192.0.2.0", 24, None, Some(64_500)), ("2001:db8::", 32, None, Some(64_501))],
        ),
        // Of the Azure table: a space is not for PID names, an empty region is no region.
        (
            "tag,rtt_region,prefix\nx,Australia Central,4.199.128.0/17\ny,,4.0.0.0/17\n",
            columns("rtt_region"),
            &[("4.199.128.0", 17, Some("Australia-Central"), None)],
        ),
        // IP-location databases: ranges without a header, AS number or country.
        ("1.0.1.0,1.0.3.255,CN\n", plain_options(), &[("1.0.1.0", 24, Some("CN"), None), ("1.0.2.0", 23, Some("CN"), None)]),
        ("1.0.0.0,1.0.0.255,13335,\"Cloudflare, Inc.\"\n", plain_options(), &[("1.0.0.0", 24, None, Some(13_335))]),
        // Tor's geoip: decimal numbers, comments.
        ("# geoip\n16777216,16777471,AU\n", plain_options(), &[("1.0.0.0", 24, Some("AU"), None)]),
        // Bits past the length are cleared, a lone address is a host, a BOM is nothing.
        (
            "\u{feff}prefix;pid\n10.1.2.3/8;a\n192.0.2.1;b\n",
            plain_options(),
            &[("10.0.0.0", 8, Some("a"), None), ("192.0.2.1", 32, Some("b"), None)],
        ),
        ("::,ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff,ZZ\n", plain_options(), &[("::", 0, Some("ZZ"), None)]),
    ];
    for (text, options, want) in cases {
        let want: Vec<_> = want.iter().map(|(a, l, g, n)| (a.to_string(), *l, g.map(str::to_owned), *n)).collect();
        assert_eq!(rows(text, &options), want, "{text}");
    }
    let twice = read_text(SourceKind::PrefixCsv, "pid,prefix\na,192.0.2.0/24\nb,192.0.2.0/24\n", &plain_options()).unwrap();
    assert_eq!(twice.prefixes[0].group.as_ref().unwrap().as_str(), "a");
    assert!(twice.oddities[0].what.contains("1 prefixes are there twice, 1 of them at another place"), "{:?}", twice.oddities);
}

#[test]
fn aws() {
    let list = read_with(SourceKind::AwsIpRanges, &["aws/aws-ip-ranges-2026-05.json.gz"], &plain_options());
    let series = Series::parse(Input { name: "aws", bytes: &bytes("aws/aws-region-prefixes.jsonl.gz") }, &plain_options()).unwrap();
    assert_eq!(series.revisions(), 1 + 531);
    assert_eq!(series.created(0), Some("2026-05-22-04-17-04"));
    // The list in its original form is the first step of the series.
    assert_eq!(series.observation(0).prefixes, list.prefixes);
    let regions: BTreeSet<&str> = list.prefixes.iter().map(|at| at.group.as_ref().unwrap().as_str()).collect();
    assert_eq!(regions.len(), 43);
    assert_eq!(list.prefixes.iter().filter(|at| at.prefix.address().is_ipv6()).count(), 2_756);
    // Each step against an independent replay of the text: (prefix, region) pairs.
    let text = plain("aws/aws-region-prefixes.jsonl.gz");
    let mut pairs: BTreeSet<String> = BTreeSet::new();
    for (step, line) in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
        let value: serde_json::Value = serde_json::from_slice(line).unwrap();
        let list =
            |name: &str| value[name].as_array().cloned().unwrap_or_default().into_iter().map(|pair| pair[0].as_str().unwrap().to_owned());
        list("remove").for_each(|prefix| assert!(pairs.remove(&prefix)));
        pairs.extend(list("snapshot").chain(list("add")));
        if step % 50 == 0 || step == 531 {
            assert_eq!(series.observation(step).prefixes.len(), pairs.len(), "step {step}");
        }
    }
    assert_eq!(series.observation(usize::MAX), series.observation(531));
    let last = read_with(SourceKind::AwsIpRanges, &["aws/aws-region-prefixes.jsonl.gz"], &plain_options());
    assert_eq!(last.prefixes, series.observation(531).prefixes);
    let options = Options { columns: Columns { group: Some("network_border_group".into()), ..Columns::default() }, ..plain_options() };
    let groups = read_with(SourceKind::AwsIpRanges, &["aws/aws-ip-ranges-2026-05.json.gz"], &options);
    let groups: BTreeSet<&str> = groups.prefixes.iter().map(|at| at.group.as_ref().unwrap().as_str()).collect();
    assert!(groups.len() > regions.len());
}

#[test]
fn azure_round_trips() {
    let seen = read_with(SourceKind::LatencyMatrix, &["azure/azure-region-rtt.csv"], &plain_options());
    let [matrix] = &seen.matrices[..] else { panic!("one matrix") };
    assert_eq!((matrix.metric.as_str(), matrix.sources.len(), matrix.destinations.len()), ("delay-rt", 50, 50));
    assert_eq!(matrix.values.iter().filter(|value| value.is_nan()).count(), 150);
    let cell = |from: &str, to: &str| {
        let place = |names: &[Box<str>], name: &str| names.iter().position(|known| &**known == name).unwrap();
        matrix.values[place(&matrix.sources, from) * 50 + place(&matrix.destinations, to)]
    };
    // Milliseconds in the file, microseconds here; not symmetric.
    assert_eq!((cell("Australia-Central", "Brazil-South"), cell("Australia-Central-2", "Brazil-South")), (302_000.0, 303_000.0));
    assert!(matrix.sources.iter().any(|name| &**name == "Indonesia-Central"));
    assert!(!matrix.destinations.iter().any(|name| &**name == "Indonesia-Central"));
}

/// The Azure matrix written as pairs reads as the same values.
#[test]
fn pairs_are_the_matrix_they_came_from() {
    let wide = read_with(SourceKind::LatencyMatrix, &["azure/azure-region-rtt.csv"], &plain_options()).matrices.remove(0);
    let mut text = String::from("source,destination,min,avg\n");
    for (from, row) in wide.sources.iter().zip(wide.values.chunks(wide.destinations.len())) {
        for (to, value) in wide.destinations.iter().zip(row).filter(|(_, value)| !value.is_nan()) {
            text.push_str(&format!("{from},{to},0,{}\n", value / 1000.0));
        }
    }
    let long = read_text(SourceKind::LatencyPairs, &text, &plain_options()).unwrap().matrices.remove(0);
    assert_eq!(long.sources.len(), 51);
    let value = |from: &str, to: &str| {
        let place = |name: &str| long.sources.iter().position(|known| &**known == name).unwrap();
        long.values[place(from) * 51 + place(to)]
    };
    for (from, row) in wide.sources.iter().zip(wide.values.chunks(50)) {
        for (to, want) in wide.destinations.iter().zip(row) {
            let have = value(from, to);
            assert!(have == *want || have.is_nan() && want.is_nan(), "{from} {to}: {have} {want}");
        }
    }
}

/// The layouts of the WonderProxy (ids, a table of places beside) and RIPE Atlas (unordered pairs) tables.
#[test]
fn pair_table_layouts() {
    let pings = "source,destination,min,avg,max,mdev\n0,1,288.454,288.722,289.53700000000003,0.653\n";
    let places = "id,name,title,country,latitude,longitude\n0,NewYork,New York,United States,40.7,-74.0\n1,Melbourne,Melbourne,Australia,-37.7833,144.9667\n";
    for order in [[pings, places], [places, pings]] {
        let inputs = order.map(|text| Input { name: "part", bytes: text.as_bytes() });
        let seen = read(SourceKind::LatencyPairs, &inputs, &plain_options()).unwrap();
        let matrix = &seen.matrices[0];
        assert_eq!(matrix.sources, ["Melbourne".into(), "New-York".into()]);
        assert_eq!(matrix.values[2], 288_722.0);
        assert_eq!(seen.routers[1].location, Some((-37.7833, 144.9667)));
    }
    let ripe = "cty1,cty2,rtt_cnt,rtt_avg,rtt_std,rtt_min,rtt_max\nAD,AT,3,37.53599421183268,0.1,37.4,37.6\n";
    let both = Options { symmetric: true, ..plain_options() };
    let values = |options: &Options| read_text(SourceKind::LatencyPairs, ripe, options).unwrap().matrices.remove(0).values;
    assert_eq!(values(&both)[1..3], [37_535.994, 37_535.994]);
    assert!(values(&plain_options())[2].is_nan());
    let micro =
        Options { unit: Unit::Microseconds, columns: Columns { value: Some("rtt_min".into()), ..Columns::default() }, ..plain_options() };
    assert_eq!(values(&micro)[1], 37.4);
}

#[test]
fn names_go_to_every_mention() {
    let text = "prefix,router\n192.0.2.0/24,10.255.0.1\n";
    assert_eq!(read_text(SourceKind::PrefixCsv, text, &lab()).unwrap().prefixes[0].router.as_deref(), Some("NL"));
    let isis = Options { names: [("NL".into(), "Amsterdam".into())].into(), ..plain_options() };
    let file = lab_file(STATES[0], "isis-te-database.json.gz");
    let seen = read_with(SourceKind::FrrTe, &[&file], &isis);
    assert!(seen.links.iter().any(|link| &*link.from == "Amsterdam" && &*link.to == "BE"));
    assert!(seen.routers.iter().all(|router| &*router.id != "NL"));
}

/// What is wrong, where, and what to do about it.
#[test]
fn faults_name_place_and_remedy() {
    let cases: [(SourceKind, &str, Place, &str); 16] = [
        (SourceKind::FrrOspf, "{\"routerLinkStates\": {", Place::Line(1), "truncated"),
        (SourceKind::FrrOspf, "{}", Place::Whole, "show ip ospf database"),
        (
            SourceKind::FrrOspf,
            r#"{"routerLinkStates": {"areas": {"0.0.0.0": [{"advertisingRouter": 7}]}}}"#,
            Place::Pointer("/routerLinkStates/areas/0.0.0.0/0/advertisingRouter".into()),
            "the number 7 where a string was expected",
        ),
        (
            SourceKind::FrrOspf,
            r#"{"asExternalLinkStates": [{"advertisingRouter": "1.1.1.1", "metric": 1, "linkStateId": "1.0.0.0", "networkMask": 33}]}"#,
            Place::Pointer("/asExternalLinkStates/0/networkMask".into()),
            "33 is no prefix length",
        ),
        (SourceKind::FrrTe, r#"{"ted": {"vertices": [{}]}}"#, Place::Pointer("/ted/vertices/0".into()), "\"vertex-id\" is missing"),
        (SourceKind::FrrTe, "[]", Place::Pointer(String::new()), "an array where an object was expected"),
        (SourceKind::IetfNetwork, r#"{"ietf-network:networks": {"network": []}}"#, Place::Whole, "no layer 3 unicast network"),
        (SourceKind::Graphml, "<graphml><graph><node id='a'>", Place::Line(1), "truncated"),
        (SourceKind::Graphml, "<graphml><graph>\n<edge source='a' target='b'/></graph></graphml>", Place::Line(2), "node \"a\""),
        (SourceKind::Repetita, "NODES 2\nlabel x y\na 0 0\n", Place::Line(3), "ends before its last node"),
        (
            SourceKind::Repetita,
            "NODES 1\nlabel x y\na 0 0\n\nEDGES 1\nlabel\ne 0 1 1 1 1\n",
            Place::Line(7),
            "\"1\" is not the number of a node",
        ),
        (SourceKind::PrefixCsv, "prefix,pid\n192.0.2.0/33,a\n", Place::Line(2), "\"192.0.2.0/33\" is not a prefix"),
        (SourceKind::PrefixCsv, "net,place\n192.0.2.0,a\n", Place::Line(1), "columns.prefix"),
        (SourceKind::PrefixCsv, "pid,prefix\n\"a,192.0.2.0/24\n", Place::Line(2), "never ends"),
        (SourceKind::LatencyMatrix, "x,a,b\na,1,2\nb,3\n", Place::Line(3), "2 fields where the header has 3"),
        (SourceKind::LatencyPairs, "source,destination,avg\na,b,fast\n", Place::Line(2), "\"fast\" is not a number"),
    ];
    for (kind, text, place, says) in cases {
        match read_text(kind, text, &plain_options()) {
            Err(topology::sources::Error::Malformed { file, fault }) => {
                assert_eq!((&*file, &fault.place), ("text", &place), "{text}: {fault}");
                assert!(fault.to_string().contains(says), "{text}: {fault}");
                assert!(!fault.advice.is_empty());
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

/// Each bound is kept, and named to who may raise it.
#[test]
fn bounds_are_kept() {
    let limited = |change: fn(&mut Options)| {
        let mut options = plain_options();
        change(&mut options);
        options
    };
    let ospf = lab_file(STATES[0], "ospf-database-router.json.gz");
    for (kind, file, options, limit) in [
        (SourceKind::FrrOspf, &*ospf, limited(|o| o.limits.bytes_max = 50_000), "bytes_max"),
        (SourceKind::FrrOspf, &ospf, limited(|o| o.limits.routers_max = 39), "routers_max"),
        (SourceKind::FrrOspf, &ospf, limited(|o| o.limits.links_max = 121), "links_max"),
        (SourceKind::Repetita, "repetita/Geant2012.graph", limited(|o| o.limits.links_max = 121), "links_max"),
        (SourceKind::Graphml, "zoo/Geant2012.graphml", limited(|o| o.limits.routers_max = 39), "routers_max"),
        (SourceKind::PrefixCsv, "geant-nren/geant-nren-prefixes.csv.gz", limited(|o| o.limits.prefixes_max = 2_553), "prefixes_max"),
        (SourceKind::AwsIpRanges, "aws/aws-region-prefixes.jsonl.gz", limited(|o| o.limits.prefixes_max = 10_000), "prefixes_max"),
        (SourceKind::LatencyMatrix, "azure/azure-region-rtt.csv", limited(|o| o.limits.cells_max = 2_499), "cells_max"),
    ] {
        match try_read(kind, &[file], &options) {
            Err(topology::sources::Error::TooMuch { limit: named, .. }) => assert_eq!(named, limit, "{file}"),
            other => panic!("{file}: {:?}", other.map(|_| "read")),
        }
    }
    // A transit network of everyone is refused before its pairs are made.
    let lsa = |n: u32| {
        let ip = std::net::Ipv4Addr::from_bits(n);
        format!(
            r#"{{"advertisingRouter": "{ip}", "routerLinks": {{"l": {{"linkType": "a Transit Network", "designatedRouterAddress": "10.0.0.1", "tos0Metric": 1}}}}}}"#
        )
    };
    let text = format!(r#"{{"routerLinkStates": {{"areas": {{"0": [{}]}}}}}}"#, (1..3000).map(lsa).collect::<Vec<_>>().join(","));
    assert!(matches!(
        read_text(SourceKind::FrrOspf, &text, &plain_options()),
        Err(topology::sources::Error::TooMuch { limit: "links_max", .. })
    ));
}
