//! Views of POST-mode resources: one for each input, computed again when what it is made of changes, gone with its last reader.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]
mod support;

use history::{Accepts, Change, Guard, Limits, OpenError, Publisher, Seq, Start, View};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
};
use support::*;

fn ask(publisher: &Publisher, name: &str, body: &Value) -> Result<Arc<View>, OpenError> {
    publisher.open(&id(name), Some(body.to_string().as_bytes()), CLIENT)
}

fn between(sources: &[&str], destinations: &[&str]) -> Value {
    json!({"cost-type": {"cost-mode": "numerical", "cost-metric": "routingcost"}, "pids": {"srcs": sources, "dsts": destinations}})
}

/// What the resource itself answers now.
fn answered(publisher: &Publisher, view: &View) -> Option<Value> {
    let guidance = publisher.current().guidance.clone();
    let answer = guidance.answer(view.resource(), view.input().unwrap(), CLIENT, &maps::guidance::Limits::default())?;
    Some(parse(&answer.ok()?.body))
}

fn newest(view: &View) -> Value {
    parse(&view.edge(Seq(0), view.head().0.end).unwrap().body)
}

/// One view for each canonical input, whatever the request looks like.
#[test]
fn readers_with_the_same_input_share_a_view() {
    let publisher = started(Limits::default());
    let view = ask(&publisher, "filtered-cost-map", &between(&["p1", "p2"], &["p3"])).unwrap();
    assert!(Arc::ptr_eq(&view, &ask(&publisher, "filtered-cost-map", &between(&["p2", "p1", "p2"], &["p3"])).unwrap()));
    assert!(!Arc::ptr_eq(&view, &ask(&publisher, "filtered-cost-map", &between(&["p1"], &["p3"])).unwrap()));
    assert!(Arc::ptr_eq(&view, &publisher.view(view.id()).unwrap()));
    assert_eq!((ends(&view), view.media_type()), ((1, 1), "application/alto-costmap+json"));
    assert_eq!(Some(newest(&view)), answered(&publisher, &view));
    // RFC 7285 section 11.5.1.3: an empty list is the client.
    let costs = |endpoints: Value| json!({"cost-type": {"cost-mode": "numerical", "cost-metric": "routingcost"}, "endpoints": endpoints});
    let implied = ask(&publisher, "endpoint-cost", &costs(json!({"dsts": ["ipv4:10.1.0.1"]}))).unwrap();
    let named = ask(&publisher, "endpoint-cost", &costs(json!({"srcs": ["ipv4:127.0.0.1"], "dsts": ["ipv4:10.1.0.1"]}))).unwrap();
    assert!(Arc::ptr_eq(&implied, &named));
}

/// "inputs of POST-mode resources that the resource itself would refuse (same error)"
#[test]
fn inputs_are_refused_as_the_resource_refuses_them() {
    let publisher = started(Limits::default());
    let guidance = publisher.current().guidance.clone();
    for (name, body) in [
        ("filtered-cost-map", "{"),
        ("filtered-cost-map", "{}"),
        ("filtered-cost-map", r#"{"cost-type": {"cost-mode": "numerical", "cost-metric": "delay"}, "pids": {"srcs": [], "dsts": []}}"#),
        ("filtered-network-map", r#"{"pids": 3}"#),
        ("endpoint-properties", r#"{"properties": ["m.pid"], "endpoints": ["nowhere"]}"#),
        ("endpoint-properties", r#"{"properties": ["n.pid"], "endpoints": ["ipv4:10.1.0.1"]}"#),
        ("endpoint-cost", r#"{"cost-type": {"cost-mode": "x", "cost-metric": "routingcost"}, "endpoints": {"dsts": ["ipv4:10.1.0.1"]}}"#),
    ] {
        let want = guidance.answer(&id(name), body.as_bytes(), CLIENT, &maps::guidance::Limits::default()).unwrap().unwrap_err();
        match publisher.open(&id(name), Some(body.as_bytes()), CLIENT) {
            Err(OpenError::Refused(got)) => assert_eq!(*got, want, "{name} {body}"),
            other => panic!("{name} {body}: {other:?}"),
        }
    }
}

#[test]
fn a_view_moves_when_its_answer_does() {
    let publisher = started(Limits::default());
    let (tell, told) = mpsc::channel();
    let view = ask(&publisher, "filtered-cost-map", &between(&["p1"], &["p2"])).unwrap();
    let watched = view.id().clone();
    publisher.on_views(move |views| {
        if let Some(view) = views.iter().find(|view| *view.id() == watched) {
            tell.send((ends(view), view.is_closed())).unwrap();
        }
    });
    let mut cursor = view.cursor(Start::Nothing);
    let mut have = Value::Null;
    let mut catch_up = || {
        while let Some(item) = cursor.next(Accepts::PATCHES) {
            apply(&mut have, &item);
        }
        have.clone()
    };
    let change = |patch: &str, second| {
        publisher.apply(vec![Change::MergePatch { id: id("c"), patch: patch.into() }], at(second), false).unwrap();
    };
    assert_eq!(catch_up()["cost-map"], json!({"p1": {"p2": 1}}));
    // Another cost: the same answer, no version, nobody is told.
    change(r#"{"cost-map": {"p3": {"p4": 9}}}"#, 2);
    publisher.refresh_views();
    assert!(told.try_recv().is_err() && ends(&view) == (1, 1));
    change(r#"{"cost-map": {"p1": {"p2": 7}}}"#, 3);
    assert_eq!(told.recv().unwrap(), ((1, 2), false));
    assert_eq!(catch_up()["cost-map"], json!({"p1": {"p2": 7}}));
    // RFC 7285 section 11.3.2.3: a PID that is not there is as if it had not been named. The view goes on.
    publisher.apply(vec![put("m", network(&PIDS[..1]))], at(4), false).unwrap();
    assert_eq!(told.recv().unwrap(), ((1, 3), false));
    assert_eq!(catch_up()["cost-map"], json!({}));
    // Without cost maps the service is gone, and its views end.
    publisher.apply(vec![Change::Withdraw { id: id("c") }], at(5), false).unwrap();
    assert_eq!(told.recv().unwrap(), ((1, 3), true));
    assert!(publisher.view(view.id()).is_none());
    // When it is back it is another view, even for the same input and reader.
    publisher.apply(vec![put("m", network(&PIDS)), put("c", costs(&PIDS, &[1.0]))], at(6), false).unwrap();
    let again = ask(&publisher, "filtered-cost-map", &between(&["p1"], &["p2"])).unwrap();
    assert!(again.id() != view.id() && !again.is_closed());
}

/// "freed after their last reader"; "a view that was freed and made again has another id".
#[test]
fn views_are_freed_and_bounded() {
    let limits = Limits { post_views_max: 3, ..Limits::default() };
    let publisher = started(limits);
    let inputs = ["p1", "p2", "p3", "p4"].map(|pid| between(&[pid], &[]));
    let open = |at: usize| ask(&publisher, "filtered-cost-map", &inputs[at]);
    let mut views: Vec<_> = (0..3).map(|at| open(at).unwrap()).collect();
    assert!(matches!(open(3), Err(OpenError::TooManyViews { max: 3 })));
    assert!(open(1).is_ok(), "one that is there is no further one");
    let cursor = views[0].cursor(Start::Nothing);
    let name = views.remove(0).id().clone();
    assert!(matches!(open(3), Err(OpenError::TooManyViews { .. })), "a cursor is a reader");
    drop(cursor);
    assert!(publisher.view(&name).is_none());
    views.push(open(3).unwrap());
    views.pop();
    assert_ne!(*open(0).unwrap().id(), name);
    // Names of views that are gone do not pile up either: this would be seen as time and memory.
    for _ in 0..2_000 {
        open(3).unwrap();
    }

    let big = json!({"pids": []});
    let bytes = newest(&ask(&publisher, "filtered-network-map", &big).unwrap()).to_string().len();
    let limits = Limits { post_bytes_max: bytes + 2_000, ..Limits::default() };
    let publisher = started(limits);
    let view = ask(&publisher, "filtered-network-map", &big).unwrap();
    assert!(matches!(ask(&publisher, "filtered-cost-map", &inputs[0]), Err(OpenError::ViewsTooLarge { .. })));
    // One that outgrows the room ends.
    let more: Vec<u8> = (0..200).collect();
    publisher.apply(vec![put("m", network(&more))], at(2), false).unwrap();
    publisher.refresh_views();
    assert!(view.is_closed());
    drop(view);
    assert!(ask(&publisher, "filtered-cost-map", &inputs[0]).is_ok(), "and its room is free again");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is committed: each view is what its resource answers, its versions are contiguous and only ever shift right, and its
    /// readers get there by edges alone.
    #[test]
    fn views_are_what_the_resource_answers(changes in prop::collection::vec((0..4_u8, 0..8_u8, 0..3_u8), 1..60), late in 1..10_usize) {
        let publisher = Publisher::new(Limits { post_versions_max: 6, ..Limits::default() }, Guard::default()).without_thread();
        publisher.apply(vec![put("m", network(&PIDS)), put("c", costs(&PIDS, &[1.0]))], at(1), false).unwrap();
        let cost_type = |mode: &str| json!({"cost-mode": mode, "cost-metric": "routingcost"});
        let views: Vec<Arc<View>> = [
            ("filtered-cost-map", between(&["p1", "p2"], &[])),
            ("filtered-cost-map", json!({"cost-type": cost_type("ordinal"), "pids": {"srcs": [], "dsts": ["p3"]}})),
            ("filtered-cost-map", json!({"cost-type": cost_type("numerical"), "constraints": ["le 1"], "pids": {"srcs": [], "dsts": []}})),
            ("filtered-cost-map", json!({"multi-cost-types": [cost_type("numerical"), cost_type("ordinal")], "pids": {"srcs": ["p1"], "dsts": []}})),
            ("filtered-network-map", json!({"pids": ["p2", "p5"]})),
            ("endpoint-cost", json!({"cost-type": cost_type("numerical"), "endpoints": {"srcs": ["ipv4:10.1.0.1"], "dsts": ["ipv4:10.2.0.1", "ipv4:10.8.0.1"]}})),
            ("endpoint-properties", json!({"properties": ["m.pid"], "endpoints": ["ipv4:10.7.0.1", "ipv4:10.1.0.1"]})),
        ]
        .into_iter()
        .map(|(name, body)| ask(&publisher, name, &body).unwrap())
        .collect();
        let mut readers: Vec<_> = views.iter().map(|view| (view.cursor(Start::Nothing), Value::Null, BTreeMap::new())).collect();
        for (at_change, (kind, pid, cost)) in changes.iter().enumerate() {
            let change = match kind {
                0 => put("m", network(&PIDS[..usize::from(*pid).max(1)])),
                1 => put("m", network(&PIDS)),
                _ => put("c", costs(&PIDS[..1], &[f64::from(*cost)])),
            };
            publisher.apply(vec![change], at(at_change as u64 + 2), false).unwrap();
            for (view, (cursor, have, seen)) in views.iter().zip(&mut readers) {
                let wanted = answered(&publisher, view);
                prop_assert_eq!(view.is_closed(), wanted.is_none());
                let (start, end) = ends(view);
                prop_assert!(end - start < 6);
                let (tag, newest) = (view.head().1, newest(view));
                prop_assert_eq!(&newest, &wanted.unwrap());
                prop_assert_eq!(seen.entry(tag).or_insert_with(|| newest.clone()), &newest, "a tag names one content");
                if at_change % late == 0 {
                    while let Some(item) = cursor.next(Accepts::PATCHES) {
                        apply(have, &item);
                    }
                    prop_assert_eq!(&*have, &newest);
                }
            }
        }
    }
}
