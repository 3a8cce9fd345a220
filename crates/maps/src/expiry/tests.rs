//! Grids, precedence, and what is said of a map.
use super::*;
use crate::{
    compute::{MapsPolicy, compute},
    guidance::{Guidance, Inputs, Published, Resource, Service},
};
use alto::Document;
use proptest::prelude::*;
use std::sync::Arc;
use topology::{
    fuse::Fuser,
    observation::{Observation, PrefixAt, group_name},
    validity::Stated,
};

const COMMIT: u64 = 1_000_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(COMMIT + seconds)
}

fn rule(resource: &str, pid: Option<&str>, lifetime_seconds: u64) -> Rule {
    Rule { resource: resource.into(), pid: pid.map(Glob::from), lifetime_seconds }
}

fn view(pids: &[&str]) -> Arc<NetworkView> {
    let pids: Vec<String> = pids.iter().enumerate().map(|(n, pid)| format!("\"{pid}\":{{\"ipv4\":[\"10.{n}.0.0/16\"]}}")).collect();
    let text = format!("{{\"meta\":{{\"vtag\":{{\"resource-id\":\"net\",\"tag\":\"t\"}}}},\"network-map\":{{{}}}}}", pids.join(","));
    let id: ResourceId = "net".parse().unwrap();
    match Published::take(&id, Document::parse(text.as_bytes(), None).unwrap()).unwrap() {
        Published::Network(view) => view,
        Published::Cost { .. } => unreachable!(),
    }
}

fn said(expires: Option<Expires>) -> Option<i64> {
    expires.map(|expires| expires.unix() as i64 - COMMIT as i64)
}

#[test]
fn points_of_the_grid() {
    let term = Term::of_resource(&"net".parse().unwrap(), None, &[rule("*", None, 60)], at(0));
    for (now, want) in [(0, 30), (1, 60), (29, 60), (30, 60), (31, 90), (3000, 3030), (3001, 3060)] {
        assert_eq!(said(term.expires(at(now))), Some(want), "{now}");
    }
    // Part of a second later, half of the lifetime is not left.
    assert_eq!(said(term.expires(at(30) + Duration::from_millis(1))), Some(90));
    // The clock was set back behind the commit.
    assert_eq!(said(term.expires(at(0) - Duration::from_secs(500))), Some(30));
}

proptest! {
    /// Each answer is valid for half of the lifetime to all of it, and half of it long everybody gets the same.
    #[test]
    fn half_to_all_of_the_lifetime(lifetime in LIFETIME_SECONDS_MIN..=10_000, now_ms in 0u64..100_000_000, later_ms in 0u64..10_000_000) {
        let term = Term::of_resource(&"net".parse().unwrap(), None, &[rule("*", None, lifetime)], at(0));
        let half = lifetime / 2;
        let [now, later] = [now_ms, now_ms + later_ms].map(|ms| at(0) + Duration::from_millis(ms));
        let expires = term.expires(now).unwrap();
        let left = expires.after(now);
        prop_assert!(left >= Duration::from_secs(half) && left <= Duration::from_secs(lifetime), "{left:?}");
        prop_assert_eq!((expires.unix() - COMMIT) % half, 0);
        let then = term.expires(later).unwrap();
        prop_assert!(then >= expires);
        prop_assert!((then.unix() - expires.unix()) / half <= later_ms / (half * 1000) + 1);
    }

    /// Two instants with the same moment say the same; the date since when is never after now, and never before another moment.
    #[test]
    fn what_is_said_changes_with_the_moment(
        lifetimes in proptest::collection::vec(2u64..100, 3), own in proptest::option::of(0u64..400), times in proptest::collection::vec(0u64..400_000, 2),
    ) {
        let view = view(&["a", "b", "c"]);
        let rules = [rule("net", Some("a"), lifetimes[0]), rule("n*", Some("b"), lifetimes[1]), rule("*", None, lifetimes[2])];
        let own = own.map(|until| Validity { since: at(0), whole: None, pids: vec![None, Some(at(until)), None] });
        let terms = MapTerms::new(&view, own.as_ref(), &rules, at(0)).unwrap();
        let (first, second) = (times[0].min(times[1]), times[0].max(times[1]));
        let [first, second] = [first, second].map(|ms| at(0) + Duration::from_millis(ms));
        let same = terms.map(&view, first) == terms.map(&view, second);
        if terms.moment(first) == terms.moment(second) {
            prop_assert!(same);
            prop_assert_eq!(terms.since(first), terms.since(second));
        } else {
            prop_assert!(terms.since(second) >= first - Duration::from_secs(1), "{:?} {:?}", terms.since(second), first);
        }
        prop_assert!(terms.since(second) <= second);
        prop_assert_eq!(terms.earliest(first), terms.map(&view, first).earliest());
    }
}

/// The first rule that fits counts, of those with a PID and of those without; a PID's goes before the map's; of rule and source the earlier.
#[test]
fn which_rule_counts() {
    let view = view(&["a", "b1", "b2"]);
    let stated = |pids: [Option<u64>; 3]| Validity { since: at(0), whole: None, pids: pids.map(|until| until.map(at)).into() };
    let none = [None; 3];
    for (rules, own, want) in [
        (vec![], none, None),
        (vec![rule("other", None, 60)], none, None),
        (vec![rule("net", Some("x"), 60)], none, None),
        (vec![rule("*", None, 60)], none, Some([Some(30); 3])),
        (vec![rule("n*", None, 60), rule("net", None, 20)], none, Some([Some(30); 3])),
        (vec![rule("*", None, 60), rule("*", Some("b?"), 200), rule("net", Some("b1"), 20)], none, Some([Some(30), Some(100), Some(100)])),
        (vec![rule("*", Some("a"), 60)], none, Some([Some(30), None, None])),
        (vec![rule("*", None, 60)], [Some(10), Some(40), None], Some([Some(10), Some(30), Some(30)])),
        (vec![], [Some(10), Some(40), None], Some([Some(10), Some(40), None])),
    ] {
        let terms = MapTerms::new(&view, Some(&stated(own)), &rules, at(0));
        let found = terms.as_ref().map(|terms| [0, 1, 2].map(|pid: usize| said(terms.pids[pid].expires(at(0)))));
        assert_eq!(found, want, "{rules:?}");
        if let Some(terms) = terms {
            let map = terms.map(&view, at(0));
            let read = ExpiringNetworkMap::from_json(&map.to_json()).unwrap();
            for (pid, want) in ["a", "b1", "b2"].iter().zip(want.unwrap()) {
                assert_eq!(said(read.expires_of(&pid.parse().unwrap())), want, "{rules:?} {pid}");
            }
            assert_eq!(said(read.earliest()), want.unwrap().into_iter().min().flatten());
            assert_eq!(read.map, NetworkMap { vtag: Some(view.vtag()), pids: view.map().pids.clone() });
        }
    }
    // One date where there is one.
    let terms = MapTerms::new(&view, None, &[rule("*", None, 60)], at(0)).unwrap();
    assert!(terms.map(&view, at(0)).pids.is_empty());
    // A map without PIDs holds as long as it says itself.
    let terms = MapTerms::new(&self::view(&[]), None, &[rule("*", None, 60)], at(0)).unwrap();
    assert_eq!(said(terms.earliest(at(0))), Some(30));
}

fn prefix(text: &str, group: &str) -> PrefixAt {
    PrefixAt { prefix: text.parse().unwrap(), group: group_name(group), router: None, asn: None }
}

/// From what a source says of prefixes to what its PIDs say: the earliest of each, and of all for who has the rest.
#[test]
fn pids_of_sources() {
    let mut fuser = Fuser::new();
    let (dump, table) = (fuser.add_source("dump", 1, None), fuser.add_source("table", 0, None));
    let (a1, a2, b) = (prefix("10.0.0.0/16", "a"), prefix("10.2.0.0/16", "a"), prefix("10.4.0.0/16", "b"));
    let seconds = Duration::from_secs;
    let stated = Stated {
        from: None,
        whole: Some(seconds(50)),
        prefixes: vec![(a1.prefix, seconds(90)), (a2.prefix, seconds(70)), (b.prefix, seconds(80))],
    };
    fuser.observe(dump, Observation { prefixes: vec![a1, a2, b], validity: stated, ..Observation::default() }, at(0));
    let policy = Arc::new(MapsPolicy {
        partition: crate::partition::PartitionPolicy { default_pid: Some("rest".parse().unwrap()), ..Default::default() },
        ..MapsPolicy::default()
    });
    let of = |computed: &crate::compute::Computed| {
        let validity = &computed.validity;
        let known = |until: &Option<SystemTime>| until.map(|until| until.duration_since(at(0)).unwrap().as_secs());
        (
            computed.partition.pids.iter().map(ToString::to_string).zip(validity.pids.iter().map(known)).collect::<Vec<_>>(),
            known(&validity.whole),
        )
    };
    let named = |rows: &[(&str, Option<u64>)]| rows.iter().map(|(pid, until)| ((*pid).to_owned(), *until)).collect::<Vec<_>>();
    fuser.observe(table, Observation::default(), at(0));
    let first = compute(fuser.graph(at(0)), policy.clone(), None).unwrap();
    assert_eq!(of(&first), (named(&[("a", Some(70)), ("b", Some(80)), ("rest", Some(70))]), None));
    // A PID of whose prefixes nothing is known leaves the rest unknown, and costs too.
    fuser.observe(table, Observation { prefixes: vec![prefix("10.6.0.0/16", "c")], ..Observation::default() }, at(5));
    let second = compute(fuser.graph(at(5)), policy.clone(), Some(&first)).unwrap();
    assert_eq!(of(&second), (named(&[("a", Some(70)), ("b", Some(80)), ("c", None), ("rest", None)]), None));
    fuser.set_valid_until(table, Some(at(75)));
    let third = compute(fuser.graph(at(6)), policy.clone(), Some(&second)).unwrap();
    assert_eq!(of(&third), (named(&[("a", Some(70)), ("b", Some(80)), ("c", Some(75)), ("rest", Some(70))]), Some(50)));
    assert!(Arc::ptr_eq(&second.partition, &third.partition), "nothing is computed for it");
    let nothing = compute(fuser.graph(at(6)), policy, None).unwrap();
    assert_eq!(nothing.validity, third.validity);

    // It is no part of what is published.
    let guidance = |computed: &crate::compute::Computed| {
        Guidance::compose(&Inputs { computed: Some(Arc::new(computed.clone())), ..Inputs::default() }, None).unwrap()
    };
    let id: ResourceId = "network-map".parse().unwrap();
    let [known, unknown] = [guidance(&third), guidance(&second)];
    assert_eq!(known.render(&id), unknown.render(&id));
    let Some(Service::Get(Resource::Network(view))) = known.service(&id) else { panic!("it is not there") };
    let terms = MapTerms::new(view, known.validity(&id).map(|validity| &**validity), &[], at(0)).unwrap();
    assert_eq!(said(terms.earliest(at(0))), Some(70));
    assert_eq!(terms.since(at(9)), at(5));
    // A document in its place says nothing.
    let mut inputs = Inputs { computed: Some(Arc::new(third)), ..Inputs::default() };
    let document = Published::Network(self::view(&["a"]));
    inputs.documents.insert(id.clone(), Arc::new(document));
    assert!(Guidance::compose(&inputs, None).unwrap().validity(&id).is_none());
}

/// What a filter leaves is what it leaves of the plain map, each PID with its date.
#[test]
fn parts_of_a_map() {
    let view = view(&["a", "b", "c"]);
    let terms = MapTerms::new(&view, None, &[rule("*", Some("b"), 60), rule("*", None, 20)], at(0)).unwrap();
    let limits = crate::guidance::Limits::default();
    let ask = |body: &str| {
        let answer = crate::guidance::expiring_part(&view, &terms, body.as_bytes(), &limits, at(0));
        answer.map(|answer| ExpiringNetworkMap::from_json(&answer.body).unwrap())
    };
    for (body, want) in [
        (r#"{"pids":["a","b"]}"#, &[("a", 10), ("b", 30)][..]),
        (r#"{"pids":["b","b","unknown"]}"#, &[("b", 30)]),
        (r#"{"pids":["unknown"]}"#, &[]),
        (r#"{"pids":[]}"#, &[("a", 10), ("b", 30), ("c", 10)]),
        (r#"{"pids":["c"],"address-types":["ipv6"]}"#, &[("c", 10)]),
    ] {
        let map = ask(body).unwrap();
        let found: Vec<_> = map.pids.iter().map(|(pid, expires)| (pid.as_str(), said(Some(*expires)).unwrap())).collect();
        assert_eq!((found, map.expires), (want.to_vec(), None), "{body}");
        assert_eq!(map.map.vtag, Some(view.vtag()));
        let empty = body.contains("ipv6");
        for (pid, group) in &map.map.pids {
            let want = if empty { Default::default() } else { view.map().pids[pid].clone() };
            assert_eq!(*group, want, "{body}");
        }
    }
    assert_eq!(ask("{}").unwrap_err(), alto::ErrorBody::missing("pids"));
}
