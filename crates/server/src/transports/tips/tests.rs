//! TIPS without a network: what is held, under a clock of the test, and edges while versions come.
use super::{
    Asker, StatusCode, Tips, Transports, edge,
    edge::{Verdict, decide},
    look, summary,
};
use crate::{Limits, listen::Answer, transports::webhook};
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
    tips.hold(&publisher.view_named(&names[0]).unwrap(), at(139)).unwrap();
    assert_eq!(tips.expire(at(140)), Some(at(259)), "a request keeps it");
    assert_eq!(tips.expire(at(259)), None);
    assert!(!there(&names[0]));
    // Another life, another URI: what lies under the old one never changes.
    assert!(!names.contains(&filtered(&publisher, "a").id().as_str().to_owned()));
}

/// "A server SHOULD avoid closing TIPS views that have active polling edge requests or have recently served responses until clients have had a
/// reasonable interval to request the next update".
#[tokio::test(start_paused = true)]
async fn views_that_are_polled_are_held() {
    let (poll_time_max, grace) = (Duration::from_secs(50), Duration::from_secs(2));
    let limits = Limits { poll_time_max, tips_view_grace: grace, ..Limits::default() };
    let publisher = Arc::new(publisher(8));
    let webhooks = webhook::Webhooks::new(&limits, webhook::Policy::default(), None, 0);
    let transports = Transports::new(publisher.clone(), &limits, &maps::guidance::Limits::default(), Vec::new(), webhooks);
    let asker = Asker { address: CLIENT, base_url: "http://a".into() };
    let view = transports.open_held(id("filtered-network-map"), Some(r#"{"pids":["b"]}"#.into()), &asker, "").await.unwrap();
    let name = view.id().as_str().to_owned();
    drop(view);
    let head = http::Request::new(()).into_parts().0;
    let poll = |i: &str, j: &str| match edge(&transports, &name, i, j, &head) {
        Answer::Later(reply) => Ok(reply),
        Answer::Now(reply) => Err(reply.status()),
        Answer::Live(_) => unreachable!(),
    };
    let almost = grace - Duration::from_millis(1);

    // Each poll is longer than the grace, which begins with its end.
    for _ in 0..3 {
        assert_eq!(poll("1", "2").expect("the view is there").await.status(), 425);
        tokio::time::sleep(almost).await;
    }
    // So it is where the edge came, and where the client went away.
    let waiting = tokio::spawn(poll("1", "2").unwrap());
    tokio::time::sleep(poll_time_max / 2).await;
    publish(&publisher, 7);
    assert_eq!(waiting.await.unwrap().status(), 200);
    tokio::time::sleep(almost).await;
    let left = tokio::spawn(poll("2", "3").unwrap());
    tokio::time::sleep(poll_time_max / 2).await;
    left.abort();
    assert!(left.await.is_err());
    tokio::time::sleep(almost).await;
    // Two at a time: the last counts.
    let first = tokio::spawn(poll("2", "3").unwrap());
    tokio::time::sleep(poll_time_max / 2).await;
    let second = tokio::spawn(poll("2", "3").unwrap());
    assert_eq!(first.await.unwrap().status(), 425);
    tokio::time::sleep(2 * grace).await;
    assert_eq!(transports.tips.held(), 1);
    assert_eq!(second.await.unwrap().status(), 425);
    tokio::time::sleep(almost).await;
    assert_eq!(transports.tips.held(), 1);
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!((transports.tips.held(), poll("2", "3").err()), (0, Some(StatusCode::NOT_FOUND)));
}

/// A view that lived by the clients of other transports alone is held for who asks for it here.
#[tokio::test(start_paused = true)]
async fn views_that_are_asked_for_are_held_again() {
    let limits = Limits::default();
    let publisher = Arc::new(publisher(8));
    let webhooks = webhook::Webhooks::new(&limits, webhook::Policy::default(), None, 0);
    let transports = Transports::new(publisher.clone(), &limits, &maps::guidance::Limits::default(), Vec::new(), webhooks);
    let view = filtered(&publisher, "b");
    let name = view.id().as_str().to_owned();
    assert_eq!(transports.tips.held(), 0);
    assert_eq!(look(&transports, &name, "http://a").status(), 200);
    drop(view);
    tokio::time::sleep(limits.tips_view_grace - Duration::from_millis(1)).await;
    assert!(publisher.view_named(&name).is_some());
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert!(publisher.view_named(&name).is_none());
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
            prop_assert!(matches!(edge::look(&view, awaited), Verdict::Wait(_)));
            for _ in 0..commits {
                value += 1;
                publish(&publisher, value);
            }
            let now = summary(&view, None);
            prop_assert!(now.start_seq >= before.start_seq && now.end_seq == before.end_seq + u64::from(commits));
            // It came, or it was many versions ago.
            match edge::look(&view, awaited) {
                Verdict::There(item) => prop_assert_eq!((item.from.0, item.to.0), (awaited.i, awaited.j)),
                Verdict::Refused(refused) => prop_assert!(refused.status == 410 && awaited.i < now.start_seq),
                Verdict::Wait(_) => prop_assert!(false, "still waited for"),
            }
            prop_assert!(there(&edge::look(&view, Edge { i: 0, j: now.start_seq })), "feasibility");
            for seq in now.start_seq..now.end_seq {
                prop_assert!(there(&edge::look(&view, Edge { i: seq, j: seq + 1 })), "continuity");
            }
            for tag in [None, Some(&tag)] {
                prop_assert!(there(&edge::look(&view, summary(&view, tag).start_edge)));
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
