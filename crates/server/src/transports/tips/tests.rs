//! TIPS without a network: what is held, under a clock of the test, and edges while versions come.
use super::{
    Tips,
    edge::{Verdict, decide, look},
    summary,
};
use crate::Limits;
use alto::{Document, id::ResourceId, updates::tips::Edge};
use history::{Change, Guard, Publisher, View};
use proptest::prelude::*;
use serde_json::json;
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn id(text: &str) -> ResourceId {
    text.parse().unwrap()
}

fn publish(publisher: &Publisher, last: u8) {
    let map = json!({
        "meta": {"vtag": {"resource-id": "net", "tag": "0"}},
        "network-map": {"a": {"ipv4": ["10.0.0.0/8"]}, "b": {"ipv4": [format!("192.0.2.{last}/32")]}},
    });
    let document = Document::parse(map.to_string().as_bytes(), None).unwrap();
    publisher.apply(vec![Change::Put { id: id("net"), document }], SystemTime::now(), true).unwrap();
}

fn publisher(versions_max: usize) -> Publisher {
    let publisher = Publisher::new(history::Limits { versions_max, ..history::Limits::default() }, Guard::default()).without_thread();
    publish(&publisher, 0);
    publisher
}

fn filtered(publisher: &Publisher, pid: &str) -> Arc<View> {
    publisher.open(&id("filtered-network-map"), Some(json!({"pids": [pid]}).to_string().as_bytes()), CLIENT).unwrap()
}

#[test]
fn views_with_input_are_held_for_their_grace() {
    let publisher = publisher(8);
    let (grace, now) = (Duration::from_secs(120), Instant::now());
    let tips = Tips::new(&Limits { tips_views_max: 2, tips_view_grace: grace, ..Limits::default() });
    let at = |seconds| now + Duration::from_secs(seconds);

    tips.hold(&publisher.open(&id("net"), None, CLIENT).unwrap(), now).unwrap();
    assert_eq!((tips.held(), tips.expire(now)), (0, None), "one of a GET-mode resource lives anyway");

    let (a, b) = (filtered(&publisher, "a"), filtered(&publisher, "b"));
    tips.hold(&a, now).unwrap();
    tips.hold(&b, at(10)).unwrap();
    let third = publisher.open(&id("filtered-network-map"), Some(br#"{"pids":["a","b"]}"#), CLIENT).unwrap();
    assert_eq!(tips.hold(&third, at(10)).unwrap_err().status(), 429);
    tips.hold(&a, at(20)).expect("it is held already");
    let names = [&a, &b].map(|view| view.id().as_str().to_owned());
    drop((a, b, third));
    let there = |name: &str| publisher.view_named(name).is_some();

    assert_eq!(tips.expire(at(129)), Some(at(130)));
    assert_eq!(tips.expire(at(130)), Some(at(140)));
    assert_eq!(names.each_ref().map(|name| there(name)), [true, false], "freed after the last request and its grace");
    tips.touch(&publisher.view_named(&names[0]).unwrap(), at(139));
    assert_eq!(tips.expire(at(140)), Some(at(259)), "a request keeps it");
    assert_eq!(tips.expire(at(259)), None);
    assert!(!there(&names[0]));
    // Another life, another URI: what lies under the old one never changes.
    assert!(!names.contains(&filtered(&publisher, "a").id().as_str().to_owned()));
}

#[test]
fn closed_views_are_let_go_at_once() {
    let publisher = publisher(8);
    let (tips, now) = (Tips::new(&Limits::default()), Instant::now());
    tips.hold(&filtered(&publisher, "a"), now).unwrap();
    publisher.apply(vec![Change::Withdraw { id: id("net") }], SystemTime::now(), true).unwrap();
    assert_eq!(tips.expire(now), None);
    assert_eq!(tips.held(), 0);
}

fn there(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::There(_))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    /// Section 3.2: at any time every version can be had, each step and the recommended edge are there, and neither end moves back; what may
    /// be waited for is what comes.
    #[test]
    fn what_a_summary_promises_is_there(commits in prop::collection::vec(1..4u8, 1..12), versions_max in 2..6usize, window in 1..5u64) {
        let publisher = publisher(versions_max);
        let view = publisher.open(&id("net"), None, CLIENT).unwrap();
        let (mut before, mut value) = (summary(&view, None), 0);
        for commits in commits {
            let tag = view.head().1;
            let awaited = Edge { i: before.end_seq, j: before.end_seq + 1 };
            prop_assert!(matches!(look(&view, awaited), Verdict::Wait(_)));
            for _ in 0..commits {
                value += 1;
                publish(&publisher, value);
            }
            let now = summary(&view, None);
            prop_assert!(now.start_seq >= before.start_seq && now.end_seq == before.end_seq + u64::from(commits));
            // It came, or it was many versions ago.
            match look(&view, awaited) {
                Verdict::There(item) => prop_assert_eq!((item.from.0, item.to.0), (awaited.i, awaited.j)),
                Verdict::Refused(refused) => prop_assert!(refused.status == 410 && awaited.i < now.start_seq),
                Verdict::Wait(_) => prop_assert!(false, "still waited for"),
            }
            prop_assert!(there(&look(&view, Edge { i: 0, j: now.start_seq })), "feasibility");
            for seq in now.start_seq..now.end_seq {
                prop_assert!(there(&look(&view, Edge { i: seq, j: seq + 1 })), "continuity");
            }
            for tag in [None, Some(&tag)] {
                prop_assert!(there(&look(&view, summary(&view, tag).start_edge)));
            }
            for ahead in 0..8 {
                let (i, j) = (now.end_seq + ahead, now.end_seq + ahead + 1);
                let waits = matches!(decide(&view, &i.to_string(), &j.to_string(), window), Verdict::Wait(_));
                prop_assert_eq!(waits, ahead < window);
            }
            before = now;
        }
    }
}
