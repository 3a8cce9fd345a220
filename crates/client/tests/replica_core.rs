//! The decisions of a replica without any network: what is taken, what is refused, what is asked for next.
#![allow(clippy::unwrap_used)] // A test says what went wrong by stopping there.
use bytes::Bytes;
use client::{
    Limits,
    replica::{
        Change, Notice, Via, What,
        core::{Action, Core, Ended, Event, Followed, Place, Since, Update},
    },
};
use proptest::prelude::*;
use std::time::{Duration, Instant};

const NETWORK: &str = "application/alto-networkmap+json";
const COSTS: &str = "application/alto-costmap+json";
const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json-patch+json";

fn network(tag: &str) -> Bytes {
    format!(r#"{{"meta":{{"vtag":{{"resource-id":"net","tag":"{tag}"}}}},"network-map":{{"a":{{"ipv4":["192.0.2.0/24"]}}}}}}"#).into()
}

fn costs(tag: &str, network: &str, cost: u32) -> Bytes {
    format!(
        r#"{{"meta":{{"dependent-vtags":[{{"resource-id":"net","tag":"{network}"}}],"vtag":{{"resource-id":"costs","tag":"{tag}"}},"cost-type":{{"cost-mode":"numerical","cost-metric":"routingcost"}}}},"cost-map":{{"a":{{"a":{cost}}}}}}}"#
    )
    .into()
}

fn costs_patch(tag: &str, network: &str, cost: u32) -> Bytes {
    format!(
        r#"{{"meta":{{"dependent-vtags":[{{"resource-id":"net","tag":"{network}"}}],"vtag":{{"tag":"{tag}"}}}},"cost-map":{{"a":{{"a":{cost}}}}}}}"#
    )
    .into()
}

fn tag_patch(tag: &str) -> Bytes {
    format!(r#"{{"meta":{{"vtag":{{"tag":"{tag}"}}}}}}"#).into()
}

/// Time that a test moves, and a core that is drained after every step.
struct Bench {
    core: Core,
    now: Instant,
    session: u64,
    places: Vec<Place>,
    via: Via,
    delivered: Vec<Change>,
    notices: Vec<Notice>,
    ended: Option<client::Error>,
}

impl Bench {
    fn new(resources: &[(&str, &str)], vias: &[Via]) -> Self {
        let followed = |(id, media_type): &(&str, &str)| Followed {
            resource: id.parse().unwrap(),
            input: None,
            media_type: (*media_type).into(),
            wanted: true,
        };
        let now = Instant::now();
        let core = Core::new(now, resources.iter().map(followed).collect(), vias.to_vec(), Limits::default(), 7);
        let (delivered, notices) = (Vec::new(), Vec::new());
        let mut bench = Self { core, now, session: 0, places: Vec::new(), via: vias[0], delivered, notices, ended: None };
        bench.drain();
        bench
    }

    fn drain(&mut self) {
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Open { session, places, via, .. } => {
                    assert!(session > self.session, "sessions are numbered upwards");
                    (self.session, self.places, self.via) = (session, places, via);
                }
                Action::Close => {}
                Action::Deliver(change) => self.delivered.push(change),
                Action::Tell(notice) => self.notices.push(notice),
                Action::End(error) => self.ended = Some(error),
            }
        }
    }

    fn event(&mut self, event: Event) {
        self.core.handle_event(self.now, self.session, event);
        self.drain();
    }

    fn update(&mut self, index: usize, since: Since, seq: Option<u64>, tag: Option<&str>, media_type: &str, body: Bytes) {
        let tag = tag.map(|tag| tag.parse().unwrap());
        self.event(Event::Update(Update { index, since, seq, tag, media_type: media_type.into(), body }));
    }

    /// Lets time pass to the next deadline; returns how long it was.
    fn wait(&mut self) -> Duration {
        let until = self.core.poll_timeout().unwrap();
        let waited = until.saturating_duration_since(self.now);
        self.now = self.now.max(until);
        self.core.handle_timeout(self.now);
        self.drain();
        waited
    }

    fn tags(&self) -> Vec<&str> {
        self.delivered.iter().map(|change| change.tag.as_ref().unwrap().as_str()).collect()
    }

    fn resynchronised(&self) -> bool {
        self.notices.iter().any(|notice| matches!(notice, Notice::Resynchronising { .. }))
    }
}

fn one() -> Bench {
    Bench::new(&[("net", NETWORK)], &[Via::WebSocket])
}

/// What must not be taken, each row by itself after version 5 of tag n5: the copy is dropped, counted, and asked for from nothing.
#[test]
fn whatever_does_not_fit_is_asked_for_again() {
    let full = |tag| (NETWORK, network(tag));
    let merge = |tag| (MERGE, tag_patch(tag));
    for (what, since, seq, said, (media_type, body)) in [
        ("a number was left out", Since::Seq(6), Some(7), Some("n7"), merge("n7")),
        ("the tag said is another than the tag built, patch", Since::Seq(5), Some(6), Some("n6"), merge("other")),
        ("the tag said is another than the tag built, full copy", Since::Before, Some(6), Some("n6"), full("other")),
        ("a full copy goes back", Since::Before, Some(4), None, full("n4")),
        ("no document", Since::Before, Some(6), None, (NETWORK, Bytes::from_static(b"{\"meta\":{}}"))),
        ("no JSON", Since::Before, Some(6), None, (NETWORK, Bytes::from_static(b"<html>"))),
        ("another media type", Since::Before, Some(6), None, (COSTS, costs("c", "n5", 1))),
        (
            "another resource",
            Since::Before,
            Some(6),
            None,
            (NETWORK, network("n6").to_vec().iter().map(|b| if *b == b't' { b'x' } else { *b }).collect::<Vec<_>>().into()),
        ),
        (
            "a patch that does not apply",
            Since::Seq(5),
            Some(6),
            None,
            (JSON, Bytes::from_static(br#"[{"op":"remove","path":"/network-map/zz"}]"#)),
        ),
        ("a patch that makes no document", Since::Seq(5), Some(6), None, (MERGE, Bytes::from_static(br#"{"network-map":null}"#))),
    ] {
        let mut bench = one();
        bench.event(Event::Opened);
        bench.update(0, Since::Before, Some(5), Some("n5"), NETWORK, network("n5"));
        assert_eq!((bench.tags(), bench.core.resyncs()), (vec!["n5"], 0));
        bench.update(0, since, seq, said, media_type, body);
        assert_eq!((bench.delivered.len(), bench.core.resyncs()), (1, 1), "{what}");
        assert!(bench.resynchronised() && bench.core.copy(0).is_none(), "{what}");
        let session = bench.session;
        assert!(bench.wait() <= Duration::from_millis(250), "{what}");
        assert_eq!((bench.session, &bench.places[0]), (session + 1, &Place::default()), "{what}");
        bench.update(0, Since::Before, Some(7), Some("n7"), NETWORK, network("n7"));
        assert_eq!(bench.tags(), ["n5", "n7"], "{what}");
    }
}

#[test]
fn a_patch_without_a_copy_is_asked_for_again() {
    let mut bench = one();
    bench.update(0, Since::Before, Some(5), None, MERGE, tag_patch("n5"));
    assert_eq!(bench.core.resyncs(), 1);
    let mut bench = one();
    bench.event(Event::Current { index: 0, seq: Some(5), tag: None });
    assert_eq!(bench.core.resyncs(), 1);
}

/// Updates that are here already, and events of a session that is over, change nothing.
#[test]
fn what_is_known_is_not_handed_out_again() {
    let mut bench = one();
    bench.update(0, Since::Before, Some(5), Some("n5"), NETWORK, network("n5"));
    bench.update(0, Since::Seq(4), Some(5), Some("n5"), MERGE, tag_patch("n5"));
    bench.update(0, Since::Before, Some(5), Some("n5"), NETWORK, network("n5"));
    bench.core.handle_event(bench.now, bench.session - 1, Event::Ended(Ended::Broken("late".into())));
    bench.update(0, Since::Seq(5), Some(6), Some("n6"), MERGE, tag_patch("n6"));
    assert_eq!((bench.tags(), bench.core.resyncs(), bench.session), (vec!["n5", "n6"], 0, 1));
}

/// After a lost connection the next session goes on at tag and number, and its first patch is since that tag.
#[test]
fn a_lost_connection_leaves_no_gap() {
    let mut bench = one();
    bench.update(0, Since::Before, Some(5), Some("n5"), NETWORK, network("n5"));
    bench.event(Event::Ended(Ended::Broken("reset".into())));
    assert_eq!(bench.core.via(), None);
    bench.wait();
    assert_eq!(bench.places, [Place { tag: Some("n5".parse().unwrap()), seq: Some(5) }]);
    // A patch over several versions, since the tag that was announced.
    bench.update(0, Since::Seq(8), Some(9), Some("n9"), MERGE, tag_patch("n9"));
    bench.update(0, Since::Seq(9), Some(10), Some("n10"), MERGE, tag_patch("n10"));
    assert_eq!((bench.tags(), bench.core.resyncs()), (vec!["n5", "n9", "n10"], 0));
    assert!(matches!(bench.delivered[2].what, What::Patch { .. }));
}

/// A server that lost its versions counts from 1 again: its full copy is taken.
#[test]
fn a_server_that_begins_again_is_followed() {
    let mut bench = one();
    bench.update(0, Since::Before, Some(50), Some("n50"), NETWORK, network("n50"));
    bench.event(Event::Ended(Ended::Unreachable("refused".into())));
    bench.wait();
    bench.update(0, Since::Before, Some(1), Some("n1"), NETWORK, network("n1"));
    bench.update(0, Since::Seq(1), Some(2), Some("n2"), MERGE, tag_patch("n2"));
    assert_eq!((bench.tags(), bench.core.resyncs()), (vec!["n50", "n1", "n2"], 0));
}

fn both() -> Bench {
    Bench::new(&[("costs", COSTS), ("net", NETWORK)], &[Via::Tips])
}

/// RFC 8895 section 9.2: a cost map is handed out with the network map it depends on, never before it.
#[test]
fn a_cost_map_waits_for_its_network_map() {
    let mut bench = both();
    bench.update(0, Since::Before, Some(1), None, COSTS, costs("c1", "n1", 1));
    assert!(bench.delivered.is_empty() && !bench.core.copy(0).unwrap().consistent);
    bench.update(1, Since::Before, Some(1), None, NETWORK, network("n1"));
    assert_eq!(bench.tags(), ["n1", "c1"]);
    // Two versions ahead of the network map: both wait, both come, in order.
    bench.update(0, Since::Seq(1), Some(2), None, MERGE, costs_patch("c2", "n2", 2));
    bench.update(0, Since::Seq(2), Some(3), None, MERGE, costs_patch("c3", "n2", 3));
    assert_eq!(bench.tags().len(), 2);
    bench.update(1, Since::Seq(1), Some(2), None, MERGE, tag_patch("n2"));
    assert_eq!(bench.tags(), ["n1", "c1", "n2", "c2", "c3"]);
    // The network map ahead: the cost map that is here must not be used.
    bench.update(1, Since::Seq(2), Some(3), None, MERGE, tag_patch("n3"));
    assert!(!bench.core.copy(0).unwrap().consistent);
    bench.update(0, Since::Seq(3), Some(4), None, MERGE, costs_patch("c4", "n3", 4));
    assert!(bench.core.copy(0).unwrap().consistent && bench.core.resyncs() == 0);
    assert_eq!(bench.tags()[5..], ["n3", "c4"]);
}

#[test]
fn a_network_map_that_does_not_come_is_asked_for_again() {
    let mut bench = both();
    bench.update(1, Since::Before, Some(1), None, NETWORK, network("n1"));
    bench.update(0, Since::Before, Some(1), None, COSTS, costs("c1", "n2", 1));
    assert_eq!(bench.wait(), Limits::default().consistency_time_max);
    assert!(bench.resynchronised() && bench.tags() == ["n1"]);
}

/// Where a transport has no updates of the network map, its cost maps are taken as they are.
#[test]
fn what_is_not_offered_is_not_waited_for() {
    let mut bench = both();
    bench.event(Event::Without(1));
    bench.update(0, Since::Before, Some(1), None, COSTS, costs("c1", "n1", 1));
    assert_eq!(bench.tags(), ["c1"]);
}

#[test]
fn silence_ends_a_session() {
    let mut bench = one();
    bench.event(Event::Opened);
    bench.now += Duration::from_secs(60);
    bench.event(Event::Alive);
    assert_eq!(bench.wait(), Limits::default().followed_silence_max);
    assert!(matches!(bench.notices.last(), Some(Notice::Lost { .. })) && bench.core.heard().is_none());
    bench.wait();
    assert_eq!(bench.session, 2);
}

/// `auto`: what is not offered is passed over at once, what keeps breaking after three times; a server that is away is waited for.
#[test]
fn auto_goes_on_to_what_works() {
    let mut bench = Bench::new(&[("net", NETWORK)], &Via::ALL);
    bench.event(Event::Ended(Ended::Unsupported("no".into())));
    assert_eq!((bench.via, bench.session), (Via::ALL[1], 2));
    for _ in 0..3 {
        bench.event(Event::Ended(Ended::Broken("reset".into())));
        bench.wait();
    }
    assert_eq!(bench.via, Via::ALL[2]);
    for _ in 0..20 {
        bench.event(Event::Ended(Ended::Away { why: "refused".into(), retry_after: None }));
        assert!(bench.wait() <= Limits::default().backoff_max);
    }
    assert_eq!(bench.via, Via::ALL[2]);
    // A stream that was open for long and had nothing to bring is none that fails.
    for _ in 0..5 {
        bench.event(Event::Opened);
        bench.now += Duration::from_secs(60);
        bench.event(Event::Ended(Ended::Closed { why: "a proxy ends it".into(), retry_after: None }));
        bench.wait();
    }
    assert_eq!(bench.via, Via::ALL[2]);
    bench.update(0, Since::Before, None, None, NETWORK, network("n1"));
    assert_eq!((bench.tags(), bench.core.via()), (vec!["n1"], Some(Via::ALL[2])));
}

/// Whatever it is that fails: after three times without anything brought the next way is tried.
#[test]
fn auto_leaves_what_keeps_failing() {
    let ways: [fn() -> Ended; 5] = [
        || Ended::Broken("reset".into()),
        || Ended::Closed { why: "503".into(), retry_after: None },
        || Ended::Closed { why: "429".into(), retry_after: Some(Duration::from_secs(1)) },
        || Ended::Unreachable("no answer".into()),
        || Ended::Violation(0, "nonsense".into()),
    ];
    for way in ways {
        let mut bench = Bench::new(&[("net", NETWORK)], &Via::ALL);
        for failures in 1..=3 {
            assert_eq!(bench.via, Via::ALL[0], "after {failures} times {:?}", way());
            bench.event(Event::Ended(way()));
            bench.wait();
        }
        assert_eq!(bench.via, Via::ALL[1], "{:?}", way());
        assert!(bench.notices.iter().any(|notice| matches!(notice, Notice::Switching { .. })), "{:?}", way());
        // What brought something begins to count anew.
        bench.update(0, Since::Before, None, None, NETWORK, network("n1"));
        for _ in 0..2 {
            bench.event(Event::Ended(way()));
            bench.wait();
        }
        assert_eq!(bench.via, Via::ALL[1], "{:?}", way());
    }
}

/// RFC 8895 section 5.3: who is told that one resource is stopped goes on with the others, and asks for that one again, less and less often.
#[test]
fn a_stopped_resource_does_not_take_others_with_it() {
    let mut bench = Bench::new(&[("net", NETWORK), ("costs", COSTS)], &[Via::Sse]);
    bench.update(0, Since::Before, None, None, NETWORK, network("n1"));
    bench.update(1, Since::Before, None, None, COSTS, costs("c1", "n1", 1));
    let mut waits = Vec::new();
    for version in 2..20 {
        bench.event(Event::Stopped(vec![1], "maintenance".into()));
        assert!(matches!(bench.notices.last(), Some(Notice::Stopped { .. })));
        bench.update(0, Since::Before, None, None, MERGE, tag_patch(&format!("n{version}")));
        assert_eq!(bench.delivered.last().unwrap().resource.as_str(), "net");
        let session = bench.session;
        waits.push(bench.wait());
        assert_eq!(bench.session, session + 1, "asked for both again");
        assert_eq!(bench.places[0].tag.as_ref().unwrap().as_str(), format!("n{version}"));
    }
    assert!(waits[0] <= Duration::from_secs(1) && *waits.last().unwrap() >= Duration::from_secs(10), "{waits:?}");
    // It is there again: the next stop is the first.
    bench.update(1, Since::Before, None, None, COSTS, costs("c2", "n19", 2));
    bench.event(Event::Stopped(vec![1], "maintenance".into()));
    assert!(bench.wait() <= Duration::from_secs(1));
    // All are stopped: there is nothing to keep the session for.
    bench.event(Event::Stopped(vec![1], "maintenance".into()));
    bench.event(Event::Stopped(vec![0], "maintenance".into()));
    assert_eq!(bench.core.heard(), None);
    // All at once is one thing to say.
    bench.wait();
    bench.event(Event::Stopped(vec![0, 1], "the server is stopping".into()));
    let Some(Notice::Lost { why, .. }) = bench.notices.last() else { panic!("{:?}", bench.notices.last()) };
    assert_eq!(why, "the server stopped net and costs: the server is stopping");
    assert_eq!(bench.notices.iter().filter(|notice| notice.to_string().contains("is stopping")).count(), 1);
}

/// RFC 8895 section 6.6: "a client MUST NOT assume that an update message represents an actual change".
#[test]
fn a_patch_that_changes_nothing_is_no_version() {
    for (media_type, body) in [(MERGE, "{}".into()), (JSON, " [ ] ".into()), (MERGE, String::from_utf8(tag_patch("n1").into()).unwrap())] {
        let mut bench = Bench::new(&[("net", NETWORK)], &[Via::Sse]);
        bench.update(0, Since::Before, None, None, NETWORK, network("n1"));
        bench.update(0, Since::Before, None, None, media_type, body.clone().into());
        assert_eq!((bench.tags(), bench.core.resyncs()), (vec!["n1"], 0), "{body}");
        bench.update(0, Since::Before, None, None, MERGE, tag_patch("n2"));
        assert_eq!(bench.tags(), ["n1", "n2"], "{body}");
    }
    // One that gives a PID nothing at all gives it to the map.
    let mut bench = Bench::new(&[("net", NETWORK)], &[Via::Sse]);
    bench.update(0, Since::Before, None, None, NETWORK, network("n1"));
    bench.update(0, Since::Before, None, None, MERGE, r#"{"network-map":{"b":{}}}"#.into());
    assert_eq!(bench.delivered.len(), 2);
}

/// However the server writes its JSON, a patch cannot make of a map what would not be taken as one.
#[test]
fn a_patch_leaves_a_document() {
    let spaced = |tag| Bytes::from(String::from_utf8(network(tag).to_vec()).unwrap().replace(':', ": "));
    for full in [network("n1"), spaced("n1")] {
        for patch in [
            r#"{"network-map":{"a":{"ipv4":["nonsense"]}}}"#,
            r#"{"network-map":{"a":7}}"#,
            r#"{"network-map":null}"#,
            r#"{"meta":null}"#,
            r#"{"meta":{"vtag":null}}"#,
            r#"{"meta":{"vtag":{"tag":"a tag with spaces"}}}"#,
        ] {
            let mut bench = Bench::new(&[("net", NETWORK)], &[Via::Sse]);
            bench.update(0, Since::Before, None, None, NETWORK, full.clone());
            bench.update(0, Since::Before, None, None, MERGE, patch.into());
            assert_eq!((bench.delivered.len(), bench.core.resyncs()), (1, 1), "{patch} of {full:?}");
        }
    }
}

#[test]
fn nothing_that_works_is_an_end_and_says_why() {
    let mut bench = Bench::new(&[("net", NETWORK)], &Via::ALL);
    for via in Via::ALL {
        assert!(bench.ended.is_none());
        bench.event(Event::Ended(Ended::Unsupported(format!("not {via}"))));
    }
    let words = bench.ended.unwrap().to_string();
    assert!(Via::ALL.iter().all(|via| words.contains(&format!("{via}: not {via}"))), "{words}");
    assert_eq!(bench.core.poll_timeout(), None);
}

/// A resource that the directory lacks for a moment is waited for, one that stays away ends it.
#[test]
fn a_withdrawn_resource_ends_it() {
    let mut bench = one();
    bench.update(0, Since::Before, Some(1), None, NETWORK, network("n1"));
    let mut times = 0;
    while bench.ended.is_none() {
        bench.event(Event::Ended(Ended::Withdrawn { resource: "net".parse().unwrap(), why: "the directory has no net".into() }));
        times += 1;
        if bench.ended.is_none() {
            bench.wait();
        }
    }
    assert!((3..20).contains(&times), "{times}");
    assert!(bench.ended.unwrap().to_string().contains("net"));
}

#[test]
fn retry_after_is_kept_within_reason() {
    for (asked, least, most) in [(20, 20, 22), (1_000_000, 600, 660)] {
        let mut bench = one();
        bench.event(Event::Ended(Ended::Closed { why: "drain".into(), retry_after: Some(Duration::from_secs(asked)) }));
        let waited = bench.wait().as_secs();
        assert!((least..=most).contains(&waited), "{waited}");
    }
}

/// What is held for a network map that does not come is bounded: many versions become one full copy.
#[test]
fn what_waits_is_bounded() {
    let mut bench = both();
    bench.update(0, Since::Before, Some(1), None, COSTS, costs("c1", "n1", 1));
    for seq in 2..5000 {
        bench.update(0, Since::Seq(seq - 1), Some(seq), None, MERGE, costs_patch(&format!("c{seq}"), "n1", seq as u32));
    }
    bench.update(1, Since::Before, Some(1), None, NETWORK, network("n1"));
    assert!(bench.delivered.len() <= Limits::default().changes_waiting_max + 2, "{}", bench.delivered.len());
    assert_eq!(bench.tags().last(), Some(&"c4999"));
    // The first that is left is a full copy, the others follow each other.
    assert!(matches!(bench.delivered[1].what, What::Full));
    assert!(bench.delivered[1..].windows(2).all(|pair| pair[1].seq == pair[0].seq.map(|seq| seq + 1)));
}

#[derive(Debug, Clone)]
enum Step {
    Patch,
    Skip,
    Full,
    Wrong,
    Lose,
    Away,
    Wait,
}

proptest! {
    /// No version is skipped without a full copy after it, and a replica that caught up has what the server has: whatever happens between.
    #[test]
    fn versions_follow_each_other(steps in prop::collection::vec(prop_oneof![
        6 => Just(Step::Patch), 1 => Just(Step::Skip), 1 => Just(Step::Full), 1 => Just(Step::Wrong), 1 => Just(Step::Lose), 1 => Just(Step::Away), 1 => Just(Step::Wait),
    ], 1..60)) {
        let mut bench = one();
        let mut seq = 1;
        let serve = |bench: &mut Bench, seq: u64| {
            // A server that honours the place announced: a patch from it, or a full copy.
            let name = format!("n{seq}");
            match bench.places[0].tag.clone() {
                Some(tag) if tag.as_str() == name => bench.event(Event::Current { index: 0, seq: Some(seq), tag: Some(tag) }),
                Some(_) => bench.update(0, Since::Seq(seq - 1), Some(seq), Some(&name), MERGE, tag_patch(&name)),
                None => bench.update(0, Since::Before, Some(seq), Some(&name), NETWORK, network(&name)),
            }
        };
        serve(&mut bench, seq);
        for step in steps {
            let (open, name, next) = (bench.core.heard().is_some(), format!("n{seq}"), format!("n{}", seq + 1));
            match step {
                Step::Wait => {}
                Step::Lose if open => bench.event(Event::Ended(Ended::Broken("lost".into()))),
                Step::Away if open => bench.event(Event::Ended(Ended::Unreachable("away".into()))),
                Step::Wrong if open => bench.update(0, Since::Seq(seq), Some(seq + 1), Some(&next), MERGE, tag_patch("wrong")),
                Step::Full if open => bench.update(0, Since::Before, Some(seq), Some(&name), NETWORK, network(&name)),
                Step::Skip if open => {
                    seq += 2;
                    let name = format!("n{seq}");
                    bench.update(0, Since::Seq(seq - 1), Some(seq), Some(&name), MERGE, tag_patch(&name));
                }
                _ => {
                    seq += 1;
                    if open {
                        bench.update(0, Since::Seq(seq - 1), Some(seq), Some(&next), MERGE, tag_patch(&next));
                    }
                }
            }
            if bench.core.heard().is_none() {
                bench.wait();
                serve(&mut bench, seq);
            }
        }
        prop_assert!(bench.ended.is_none());
        let copy = bench.core.copy(0).unwrap();
        let newest = network(&format!("n{seq}"));
        prop_assert_eq!(copy.content.to_json(), newest.to_vec());
        prop_assert_eq!(copy.seq, Some(seq));
        for pair in bench.delivered.windows(2) {
            let (before, after) = (pair[0].seq.unwrap(), pair[1].seq.unwrap());
            prop_assert!(before < after || pair[1].what == What::Full);
            prop_assert_eq!(pair[1].content.to_json(), network(&format!("n{after}")).to_vec());
        }
    }
}
