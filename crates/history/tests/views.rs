//! What a reader may rely on: views of GET-mode resources, their invariants (draft-ietf-alto-new-transport section 3.2), cursors.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]
use alto::{
    Document,
    cost::CostType,
    cost_map::{CostMap, CostTable},
    id::{Pid, ResourceId},
    network_map::{AddressGroup, NetworkMap},
};
use history::{Accepts, Change, Guard, Item, Limits, NoEdge, OpenError, Publisher, Range, Seq, Start, View};
use serde_json::Value;
use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const MERGE: Accepts = Accepts { merge: true, json: false };
const JSON: Accepts = Accepts { merge: false, json: true };

fn id(text: &str) -> ResourceId {
    text.parse().unwrap()
}

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

/// PID `p<i>` has `10.<i>.0.0/16`.
fn network(pids: &[u8]) -> Document {
    let group = |i: &u8| AddressGroup { ipv4: vec![format!("10.{i}.0.0/16").parse().unwrap()], ..AddressGroup::default() };
    Document::NetworkMap(NetworkMap { vtag: None, pids: pids.iter().map(|i| (format!("p{i}").parse().unwrap(), group(i))).collect() })
}

/// Between any two PIDs, from a list that is gone through in turns.
fn costs(pids: &[u8], costs: &[f64]) -> Document {
    let names: Arc<[Pid]> = pids.iter().map(|i| format!("p{i}").parse().unwrap()).collect();
    let values = costs.iter().copied().cycle().take(pids.len() * pids.len()).collect();
    let table = CostTable { sources: names.clone(), destinations: names, values };
    let cost_type = CostType::numerical("routingcost".parse().unwrap());
    Document::CostMap(CostMap { dependent_vtags: Vec::new(), vtag: None, tables: vec![(cost_type, table)] })
}

fn put(name: &str, document: Document) -> Change {
    Change::Put { id: id(name), document }
}

/// A network map `m` of eight PIDs and a cost map `c`.
const PIDS: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

fn started(limits: Limits) -> Publisher {
    let publisher = Publisher::new(limits, Guard::default());
    publisher.apply(vec![put("m", network(&PIDS)), put("c", costs(&PIDS, &[1.0]))], at(1), false).unwrap();
    publisher
}

/// One cost becomes another.
fn set(publisher: &Publisher, cost: u64, second: u64) {
    let patch = format!(r#"{{"cost-map": {{"p1": {{"p{}": {cost}}}}}}}"#, cost % 8 + 1);
    publisher.apply(vec![Change::MergePatch { id: id("c"), patch: patch.into() }], at(second), false).unwrap();
}

fn open(publisher: &Publisher, name: &str) -> Arc<View> {
    publisher.open(&id(name), None, CLIENT).unwrap()
}

fn parse(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

/// What a client makes of an item, as RFC 7396 and RFC 6902 say.
fn apply(document: &mut Value, item: &Item) {
    match item.media_type {
        "application/merge-patch+json" => json_patch::merge(document, &parse(&item.body)),
        "application/json-patch+json" => {
            let patch: json_patch::Patch = serde_json::from_slice(&item.body).unwrap();
            json_patch::patch(document, &patch).unwrap();
        }
        _ => *document = parse(&item.body),
    }
}

fn served(publisher: &Publisher, name: &str) -> Value {
    parse(&publisher.current().versions[&id(name)].body)
}

fn ends(view: &View) -> (u64, u64) {
    let Range { start, end } = view.head().0;
    (start.0, end.0)
}

#[test]
fn a_view_is_found_by_resource_and_by_id() {
    let publisher = started(Limits::default());
    let view = open(&publisher, "c");
    assert_eq!((view.resource(), view.media_type(), view.input()), (&id("c"), "application/alto-costmap+json", None));
    assert_eq!((ends(&view), view.head().1), ((1, 1), publisher.current().versions[&id("c")].tag.clone()));
    assert!(Arc::ptr_eq(&view, &open(&publisher, "c")));
    assert!(Arc::ptr_eq(&view, &publisher.view(view.id()).unwrap()));
    assert!(Arc::ptr_eq(&view, &publisher.view_named(view.id().as_str()).unwrap()));
    assert!(view.id().as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    assert_ne!(view.id(), open(&publisher, "m").id());
    assert_ne!(view.id(), open(&started(Limits::default()), "c").id(), "another log, another view");
    assert!(publisher.view_named("nothing").is_none());
    for (name, input, want) in [
        ("nothing", None, "there is no resource nothing"),
        ("nothing", Some(&b"{}"[..]), "there is no resource nothing"),
        ("c", Some(b"{}"), "c takes no input"),
        ("filtered-cost-map", None, "filtered-cost-map needs an input"),
    ] {
        assert_eq!(publisher.open(&id(name), input, CLIENT).unwrap_err().to_string(), want);
    }
}

/// A reader with nothing gets the document, then what changed, in what it accepts.
#[test]
fn a_cursor_follows() {
    let publisher = started(Limits::default());
    let view = open(&publisher, "c");
    for accepts in [MERGE, JSON, Accepts::PATCHES, Accepts::SNAPSHOTS] {
        let mut cursor = view.cursor(Start::Nothing);
        let mut have = Value::Null;
        let mut count = 0;
        for _ in 0..3 {
            while let Some(item) = cursor.next(accepts) {
                assert_eq!(item.from, if item.is_snapshot() { Seq(0) } else { Seq(item.to.0 - 1) });
                assert_eq!((item.to, item.tag.clone()), (cursor.at(), view.versions().last().unwrap().tag.clone()));
                assert_eq!(item.is_snapshot(), item.media_type == view.media_type());
                apply(&mut have, &item);
                count += 1;
            }
            assert!(cursor.is_current());
            assert_eq!(have, served(&publisher, "c"), "{accepts:?}");
            let end = ends(&view).1;
            set(&publisher, 100 + end, end);
            assert!(!cursor.is_current());
        }
        assert_eq!(count, 3);
    }
    let mut stranger = view.cursor(Start::Tag("of-nobody".parse().unwrap()));
    assert_eq!(stranger.at(), Seq(0));
    assert!(stranger.next(Accepts::PATCHES).unwrap().is_snapshot());
    let before = Seq(ends(&view).1 - 1);
    stranger.reset(Start::Seq(before));
    assert_eq!((stranger.at(), stranger.next(MERGE).unwrap().from), (before, before));
    stranger.reset(Start::Seq(Seq(1000)));
    assert_eq!(stranger.at(), Seq(0));
}

/// RFC 8895 section 6.7.1: the network map before the cost maps that depend on it, and both at once.
#[test]
fn listeners_hear_dependencies_first() {
    let publisher = started(Limits::default());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let into = heard.clone();
    publisher.on_views(move |views| {
        let names: Vec<String> =
            views.iter().map(|view| format!("{}{}", view.resource(), if view.is_closed() { " ends" } else { "" })).collect();
        into.lock().unwrap().push(names.join(", "));
    });
    publisher.apply(vec![put("m", network(&PIDS[..4]))], at(2), false).unwrap();
    set(&publisher, 9, 3);
    set(&publisher, 9, 4);
    publisher.apply(vec![Change::Withdraw { id: id("c") }], at(5), false).unwrap();
    assert_eq!(*heard.lock().unwrap(), ["m, c", "c", "c ends"]);
}

/// A resource that was withdrawn ends its view; when it is back the numbers go on, and nothing old is behind its URIs.
#[test]
fn a_withdrawn_view_ends() {
    let publisher = started(Limits::default());
    let view = open(&publisher, "c");
    set(&publisher, 9, 2);
    publisher.apply(vec![Change::Withdraw { id: id("c") }], at(3), false).unwrap();
    assert!(view.is_closed());
    assert!(matches!(publisher.open(&id("c"), None, CLIENT), Err(OpenError::NoResource(_))));
    assert!(publisher.view(view.id()).is_none());
    publisher.apply(vec![put("c", costs(&PIDS, &[1.0]))], at(4), false).unwrap();
    let again = open(&publisher, "c");
    assert_eq!((ends(&again), again.is_closed(), view.is_closed()), ((3, 3), false, true));
    assert_eq!(again.edge(Seq(1), Seq(2)).unwrap_err(), NoEdge::Gone { start: Seq(3) });
    assert_eq!(parse(&again.edge(Seq(0), Seq(3)).unwrap().body), served(&publisher, "c"));
}

#[test]
fn an_edge_is_here_or_says_why_not() {
    let publisher = started(Limits { versions_max: 8, ..Limits::default() });
    for second in 2..=20 {
        set(&publisher, second, second);
    }
    let view = open(&publisher, "c");
    let (start, end) = ends(&view);
    assert_eq!(end, 20);
    assert!((13..=15).contains(&start), "{start}");
    let edge = |from, to| view.edge(Seq(from), Seq(to));
    for (from, to, want) in [
        (0, 1, NoEdge::Gone { start: Seq(start) }),
        (1, 2, NoEdge::Gone { start: Seq(start) }),
        (start - 1, start, NoEdge::Gone { start: Seq(start) }),
        (1, end + 1, NoEdge::Gone { start: Seq(start) }),
        (end, end + 1, NoEdge::NotYet { end: Seq(end) }),
        (0, end + 1, NoEdge::NotYet { end: Seq(end) }),
        (end + 5, end + 6, NoEdge::NotYet { end: Seq(end) }),
        (end, end, NoEdge::NotOffered),
        (end, start, NoEdge::NotOffered),
        (start, end - 1, NoEdge::NotOffered),
    ] {
        assert_eq!(edge(from, to).unwrap_err(), want, "{from} {to}");
    }
    assert_eq!(edge(0, start).unwrap().media_type, view.media_type());
    assert_eq!(view.recommend(None), (Seq(0), Seq(end)));
    assert_eq!(view.recommend(Some(&view.head().1)), (Seq(end), Seq(end + 1)));
    let tags = view.versions();
    assert_eq!(tags.len() as u64, end - start + 1);
    assert_eq!(view.find(&tags[1].tag), Some(tags[1].seq));
    assert_eq!(view.recommend(Some(&tags[tags.len() - 2].tag)), (Seq(end - 1), Seq(end)));
}
