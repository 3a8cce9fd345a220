//! What a reader may rely on: views of GET-mode resources, their invariants (draft-ietf-alto-new-transport section 3.2), cursors.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]
mod support;

use history::{Accepts, Change, Cursor, Limits, NoEdge, OpenError, Publisher, Seq, Start, View};
use proptest::prelude::*;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use support::*;

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

/// A reader somewhere in a view and what it made of what it got.
struct Reader {
    cursor: Cursor,
    accepts: Accepts,
    have: Value,
}

impl Reader {
    fn new(view: &Arc<View>, accepts: Accepts) -> Self {
        Self { cursor: view.cursor(Start::Nothing), accepts, have: Value::Null }
    }

    /// A cursor never skips a version without a snapshot, and what it has is that version, whatever the way.
    fn step(&mut self, contents: &BTreeMap<u64, Value>) -> bool {
        let before = self.cursor.at();
        let Some(item) = self.cursor.next(self.accepts) else { return false };
        assert!(item.is_snapshot() || item.from == before, "{:?} after {before}", (item.from, item.to));
        assert!(item.to > before && item.to == self.cursor.at());
        assert!(
            item.is_snapshot()
                || (self.accepts.merge && item.media_type.contains("merge"))
                || (self.accepts.json && item.media_type.contains("json-patch"))
        );
        apply(&mut self.have, &item);
        assert_eq!(self.have, contents[&item.to.0], "{:?}", (item.from, item.to, item.media_type));
        true
    }
}

#[derive(Debug, Clone)]
enum Step {
    Cost(u8, u8, u8),
    Lose(u8),
    Network(u8),
    Replace(u8),
    Read(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..3_u8, 0..3_u8, 0..4_u8).prop_map(|(from, to, cost)| Step::Cost(from, to, cost)),
        1 => (0..3_u8).prop_map(Step::Lose),
        1 => (3..8_u8).prop_map(Step::Network),
        1 => (0..9_u8).prop_map(Step::Replace),
        4 => (0..4_usize).prop_map(Step::Read),
    ];
    prop::collection::vec(step, 1..120)
}

fn act(publisher: &Publisher, step: &Step, second: u64) {
    let patch = |patch: String| Change::MergePatch { id: id("c"), patch: patch.into() };
    let change = match step {
        Step::Cost(from, to, cost) => patch(format!(r#"{{"cost-map": {{"p{}": {{"p{}": {cost}}}}}}}"#, from + 1, to + 1)),
        Step::Lose(from) => patch(format!(r#"{{"cost-map": {{"p{}": null}}}}"#, from + 1)),
        Step::Network(pids) => put("m", network(&PIDS[..usize::from(*pids)])),
        Step::Replace(cost) => put("c", costs(&PIDS[..3], &[f64::from(*cost), 5.0, f64::from(*cost) + 0.25])),
        Step::Read(_) => return,
    };
    publisher.apply(vec![change], at(second), false).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// draft-ietf-alto-new-transport section 3.2: continuity, feasibility, right shift only; section 3.1: what a version holds does not
    /// depend on the way there. For readers of each kind, in step, late, and at the end; for every edge that is offered; within the limits.
    #[test]
    fn content_is_path_independent(steps in steps(), versions_max in 1..40_usize, age in 1..100_u64) {
        let limits = Limits { versions_max, age_max: std::time::Duration::from_secs(age), ..Limits::default() };
        let publisher = started(limits).without_thread();
        let view = open(&publisher, "c");
        let mut contents = BTreeMap::from([(1, served(&publisher, "c"))]);
        let mut readers: Vec<Reader> =
            [MERGE, JSON, Accepts::PATCHES, Accepts::SNAPSHOTS].map(|accepts| Reader::new(&view, accepts)).into();
        let mut before = ends(&view);
        for (step, second) in steps.iter().zip(2..) {
            act(&publisher, step, second);
            let version = publisher.current().versions[&id("c")].clone();
            contents.insert(version.seq.0, served(&publisher, "c"));
            let now = ends(&view);
            prop_assert!(before.0 <= now.0 && before.1 <= now.1, "right shift only: {:?} then {:?}", before, now);
            prop_assert_eq!(now.1, version.seq.0);
            prop_assert!(now.1 - now.0 < versions_max as u64);
            before = now;
            if let Step::Read(reader) = step {
                readers[*reader].step(&contents);
            }
        }
        for reader in &mut readers {
            while reader.step(&contents) {}
            prop_assert!(reader.cursor.is_current());
            prop_assert_eq!(&reader.have, &served(&publisher, "c"));
        }
        let (start, end) = before;
        let versions = view.versions();
        prop_assert_eq!(versions.iter().map(|info| info.seq.0).collect::<Vec<_>>(), (start..=end).collect::<Vec<_>>(), "continuity");
        let first = view.edge(Seq(0), Seq(start)).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Value>(&first.body).unwrap(), contents[&start].clone(), "feasibility");
        for from in start..=end {
            for to in from + 1..=end {
                let edge = view.edge(Seq(from), Seq(to));
                prop_assert!(edge.is_ok() || to > from + 1, "continuity: {from} {to}");
                let Ok(item) = edge else { continue };
                let mut document = contents[&from].clone();
                apply(&mut document, &item);
                prop_assert_eq!(&document, &contents[&to], "{} {}", from, to);
                prop_assert_eq!(&item.tag, &versions[(to - start) as usize].tag);
            }
        }
        // Whatever is recommended is there.
        for info in &versions[..versions.len() - 1] {
            let (from, to) = view.recommend(Some(&info.tag));
            prop_assert!(view.edge(from, to).is_ok() || from == Seq(end), "{from} {to}");
        }
    }
}

/// One cost flaps: sixty-four changes are one shortcut, and who is late takes it.
#[test]
fn shortcuts_leave_out_what_was_undone() {
    let publisher = started(Limits::default()).without_thread();
    let view = open(&publisher, "c");
    let mut contents = BTreeMap::from([(1, served(&publisher, "c"))]);
    for second in 2..=140 {
        set(&publisher, 100 + 8 * (second % 2), second);
        contents.insert(second, served(&publisher, "c"));
    }
    for (from, to) in [(4, 8), (8, 12), (16, 32), (64, 128)] {
        let item = view.edge(Seq(from), Seq(to)).unwrap();
        assert!(item.media_type.contains("merge"), "{from} {to}");
        let mut document = contents[&from].clone();
        apply(&mut document, &item);
        assert_eq!(document, contents[&to], "{from} {to}");
        assert!(item.body.len() < 2 * view.edge(Seq(from), Seq(from + 1)).unwrap().body.len());
    }
    assert_eq!(view.edge(Seq(5), Seq(9)).unwrap_err(), NoEdge::NotOffered);
    let tag = view.versions()[63].tag.clone();
    assert_eq!(view.find(&tag), Some(Seq(140)), "the same content again");
    let mut late = view.cursor(Start::Seq(Seq(124)));
    let mut have = contents[&124].clone();
    let mut edges = Vec::new();
    while let Some(item) = late.next(MERGE) {
        edges.push((item.from.0, item.to.0));
        apply(&mut have, &item);
    }
    assert_eq!(have, contents[&140]);
    assert!(edges.len() < 10, "{edges:?}");
}

/// Old versions keep patches, not copies; the largest history is cut first when all together are too much.
#[test]
fn memory_is_bounded() {
    let pids: Vec<u8> = (0..30).collect();
    let full = serde_json::to_vec(&{
        let publisher = Publisher::new(Limits::default(), history::Guard::default());
        publisher.apply(vec![put("m", network(&pids)), put("c", costs(&pids, &[1.0]))], at(1), false).unwrap();
        served(&publisher, "c")
    })
    .unwrap()
    .len();
    for (bytes_max, at_least, at_most) in [(usize::MAX, 190, 256), (12 * full, 20, 190), (full / 2, 1, 20)] {
        let publisher = Publisher::new(Limits { bytes_max, ..Limits::default() }, history::Guard::default()).without_thread();
        publisher.apply(vec![put("m", network(&pids)), put("c", costs(&pids, &[1.0]))], at(1), false).unwrap();
        for second in 2..300 {
            set(&publisher, 10 + second, second);
        }
        let view = open(&publisher, "c");
        let (start, end) = ends(&view);
        assert!((at_least..=at_most).contains(&(end - start + 1)), "{bytes_max}: {start} to {end}");
        let copies = (start..=end).filter(|seq| view.edge(Seq(0), Seq(*seq)).is_ok()).count();
        // A checkpoint for each quarter of the versions or full copy's worth of patches, and the newest two.
        assert!(copies <= 12, "{copies} full copies");
        assert!(view.edge(Seq(0), Seq(start)).is_ok() && view.edge(Seq(0), Seq(end)).is_ok());
    }
}
