//! Update streams without a network: the state machine under a clock of the test.
use super::{
    payload::Payload,
    stream::{Bounds, Next, PayloadKey, Payloads, Refused, Source, Stream, Substream},
};
use crate::transports::ready::Ready;
use alto::{
    Document, ErrorBody,
    id::{ResourceId, SubstreamId},
    media_type,
    patch::{self, Kind},
    updates::sse::{ControlEvent, Decoder},
};
use bytes::Bytes;
use history::{Accepts, Change, Guard, Publisher, Start};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant, SystemTime},
};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// One event at a time.
const BOUNDS: Bounds =
    Bounds { substreams_max: 4, substream_ids_max: 6, control_requests_max: 3, keep_alive: Duration::from_secs(15), batch_bytes: 1 };

fn id(text: &str) -> ResourceId {
    text.parse().unwrap()
}

fn sub(text: &str) -> SubstreamId {
    text.parse().unwrap()
}

fn network(last: u8) -> Change {
    let map = json!({
        "meta": {"vtag": {"resource-id": "net", "tag": "0"}},
        "network-map": {"a": {"ipv4": ["10.0.0.0/8"]}, "b": {"ipv4": [format!("192.0.2.{last}/32")]}},
    });
    Change::Put { id: id("net"), document: Document::parse(map.to_string().as_bytes(), None).unwrap() }
}

fn costs(cost: u32) -> Change {
    let map = json!({
        "meta": {"dependent-vtags": [{"resource-id": "net", "tag": "0"}], "cost-type": {"cost-mode": "numerical", "cost-metric": "routingcost"}},
        "cost-map": {"a": {"a": 0, "b": cost}, "b": {"a": 7, "b": 0}},
    });
    Change::Put { id: id("costs"), document: Document::parse(map.to_string().as_bytes(), None).unwrap() }
}

fn publisher() -> Publisher {
    let publisher = Publisher::new(history::Limits::default(), Guard::default());
    publish(&publisher, vec![network(1), costs(1)]);
    publisher
}

fn publish(publisher: &Publisher, changes: Vec<Change>) {
    publisher.apply(changes, SystemTime::now(), true).unwrap();
}

fn substream(publisher: &Publisher, name: &str, resource: &str, start: Start, accepts: Accepts) -> Substream {
    let view = publisher.open(&id(resource), None, CLIENT).unwrap();
    let depends_on = if resource == "costs" { [id("net")].into() } else { Box::default() };
    Substream { id: sub(name), source: Source::Resource { cursor: view.cursor(start), accepts }, depends_on }
}

fn payloads() -> Payloads {
    Ready::<PayloadKey, Payload>::new(1 << 20)
}

/// What a client of a stream has.
struct Client {
    decoder: Decoder,
    documents: HashMap<String, Value>,
    /// Type and data id of each event.
    events: Vec<String>,
    controls: Vec<ControlEvent>,
}

impl Client {
    fn new() -> Self {
        Self { decoder: Decoder::new(1 << 20), documents: HashMap::new(), events: Vec::new(), controls: Vec::new() }
    }

    /// Takes all that the stream says until it has nothing to say.
    fn drain(&mut self, stream: &mut Stream, now: Instant, payloads: &Payloads) -> Next {
        loop {
            let mut pieces = Vec::new();
            match stream.next(now, payloads, &mut pieces) {
                Next::Said { .. } => self.take(&pieces),
                end => return end,
            }
        }
    }

    fn take(&mut self, pieces: &[Bytes]) {
        let mut messages = Vec::new();
        for piece in pieces {
            self.decoder.push(piece, |message| messages.push(message)).unwrap();
        }
        for message in messages {
            let data: Value = serde_json::from_slice(&message.data).unwrap();
            match message.event.split_once(',') {
                None => {
                    assert_eq!(message.event, "application/alto-updatestreamcontrol+json");
                    self.controls.push(ControlEvent::from_json(&message.data).unwrap());
                    self.events.push("control".into());
                }
                Some((kind, name)) => {
                    match kind {
                        media_type::MERGE_PATCH => self.apply(Kind::Merge, name, &message.data),
                        media_type::JSON_PATCH => self.apply(Kind::Json, name, &message.data),
                        _ => drop(self.documents.insert(name.into(), data)),
                    }
                    self.events.push(format!("{} {name}", kind.trim_start_matches("application/").trim_end_matches("+json")));
                    self.check_dependence();
                }
            }
        }
    }

    fn apply(&mut self, kind: Kind, name: &str, patch: &[u8]) {
        let document = self.documents.get_mut(name).expect("a change of what it has");
        patch::apply_to_value(kind, document, patch, &alto::Limits::default()).unwrap();
    }

    /// RFC 8895 section 6.7.1: no cost map before its network map.
    fn check_dependence(&self) {
        let (Some(net), Some(costs)) = (self.documents.get("n"), self.documents.get("c")) else { return };
        let has: u32 = version(net);
        let needs: u32 = needs(costs);
        assert!(needs <= has, "a cost map over network {needs} was sent when the client had {has}: {:?}", self.events);
    }
}

thread_local! {
    /// Which network map, counted, has which tag.
    static TAGS: std::cell::RefCell<HashMap<String, u32>> = std::cell::RefCell::default();
}

/// The newest network map has this number from now on.
fn note(publisher: &Publisher, number: u32) {
    let tag = publisher.current().versions[&id("net")].tag.to_string();
    TAGS.with_borrow_mut(|tags| tags.insert(tag, number));
}

fn number(tag: &Value) -> u32 {
    TAGS.with_borrow(|tags| tags.get(tag.as_str().unwrap()).copied().unwrap_or(0))
}

fn version(net: &Value) -> u32 {
    number(&net["meta"]["vtag"]["tag"])
}

fn needs(costs: &Value) -> u32 {
    number(&costs["meta"]["dependent-vtags"][0]["tag"])
}

fn opened(now: Instant, substreams: Vec<Substream>) -> (Stream, Client) {
    (Stream::new(now, BOUNDS, "http://alto.example/updates/sse/control/0", substreams).unwrap(), Client::new())
}

#[test]
fn control_uri_then_dependencies_then_dependants() {
    let (publisher, now, payloads) = (publisher(), Instant::now(), payloads());
    // The cost map is asked for first.
    let wishes = [("c", "costs"), ("n", "net")].map(|(name, of)| substream(&publisher, name, of, Start::Nothing, Accepts::PATCHES)).into();
    let (mut stream, mut client) = opened(now, wishes);
    assert_eq!(client.drain(&mut stream, now, &payloads), Next::Wait(now + BOUNDS.keep_alive));
    assert_eq!(client.events, ["control", "alto-networkmap n", "alto-costmap c"]);
    assert_eq!(client.controls[0].control_uri, Some(Some("http://alto.example/updates/sse/control/0".into())));
    client.events.clear();

    // Section 6.7.1, across one commit of both.
    publish(&publisher, vec![network(2), costs(2)]);
    client.drain(&mut stream, now, &payloads);
    assert_eq!(client.events.len(), 2);
    assert!(client.events[0].ends_with(" n") && client.events[1].ends_with(" c"), "{:?}", client.events);
    for (name, resource) in [("n", "net"), ("c", "costs")] {
        let served: Value = serde_json::from_slice(&publisher.current().versions[&id(resource)].body).unwrap();
        assert_eq!(client.documents[name], served);
    }
}

/// Section 6.7.1: a client that has the current version gets no full copy; nor does one that has an older one and takes changes.
#[test]
fn tags_spare_full_copies() {
    let (publisher, now) = (publisher(), Instant::now());
    let old = publisher.current().versions[&id("costs")].tag.clone();
    publish(&publisher, vec![costs(2)]);
    let current = publisher.current().versions[&id("costs")].tag.clone();
    for (start, accepts, want) in [
        (Start::Nothing, Accepts::PATCHES, &["control", "alto-costmap c"][..]),
        (Start::Tag(current.clone()), Accepts::PATCHES, &["control"]),
        (Start::Tag(current), Accepts::SNAPSHOTS, &["control"]),
        (Start::Tag(old.clone()), Accepts::SNAPSHOTS, &["control", "alto-costmap c"]),
        (Start::Tag("unheard-of".parse().unwrap()), Accepts::PATCHES, &["control", "alto-costmap c"]),
        (Start::Tag(old), Accepts::PATCHES, &["control", "merge-patch c"]),
    ] {
        let before = publisher.history(&id("costs")).unwrap();
        let what = format!("{start:?} {accepts:?}");
        let (mut stream, mut client) = opened(now, vec![substream(&publisher, "c", "costs", start, accepts)]);
        client.documents.insert("c".into(), json!({}));
        client.drain(&mut stream, now, &payloads());
        assert_eq!(client.events, want, "{what}, of {} versions", before.len());
    }
}

#[test]
fn life_is_shown_when_nothing_else_is() {
    let (publisher, now, payloads) = (publisher(), Instant::now(), payloads());
    let (mut stream, mut client) = opened(now, vec![substream(&publisher, "n", "net", Start::Nothing, Accepts::PATCHES)]);
    client.drain(&mut stream, now, &payloads);
    let said = |stream: &mut Stream, after: u64| {
        let mut pieces = Vec::new();
        let next = stream.next(now + Duration::from_secs(after), &payloads, &mut pieces);
        (next, pieces.concat())
    };
    let wait = |after| Next::Wait(now + Duration::from_secs(after));
    assert_eq!(said(&mut stream, 14), (wait(15), vec![]));
    assert_eq!(said(&mut stream, 15), (Next::Said { updates: 0 }, b":\n\n".to_vec()));
    assert_eq!(said(&mut stream, 16), (wait(30), vec![]));
    publish(&publisher, vec![network(9)]);
    assert!(matches!(said(&mut stream, 20), (Next::Said { updates: 1 }, _)));
    assert_eq!(said(&mut stream, 30), (wait(35), vec![]), "an event shows life too");
}

#[test]
fn control_changes_a_stream_or_says_why_not() {
    let (publisher, now, payloads) = (publisher(), Instant::now(), payloads());
    let start = |name: &str, resource| substream(&publisher, name, resource, Start::Nothing, Accepts::PATCHES);
    let (mut stream, mut client) = opened(now, vec![start("n", "net")]);
    client.drain(&mut stream, now, &payloads);
    client.events.clear();
    let wrong = |field: &str, value: &str| Err(Refused::Wrong(ErrorBody::invalid_json(field, value)));
    // Section 7.6, in its order.
    assert_eq!(stream.change(vec![start("n", "costs")], None), wrong("add", r#"["n"]"#));
    assert_eq!(stream.change(vec![start("c", "costs")], Some(&[])), wrong("remove", "[]"));
    // What cannot be a substream id was not added either.
    assert_eq!(stream.change(vec![], Some(&["n", "x", "no id", "y"].map(String::from))), wrong("remove", r#"["x","no id","y"]"#));
    assert_eq!(stream.change(vec![start("c", "costs")], Some(&["c".into()])), wrong("remove", r#"["c"]"#), "added and removed at once");
    assert_eq!(client.drain(&mut stream, now, &payloads), Next::Wait(now + BOUNDS.keep_alive), "nothing changed");
    assert!(client.events.is_empty());

    stream.change(vec![start("c", "costs")], None).unwrap();
    client.drain(&mut stream, now, &payloads);
    assert_eq!(client.events, ["control", "alto-costmap c"]);
    assert_eq!(client.controls.last().unwrap().started, [sub("c")]);

    stream.change(vec![], Some(&["c".into()])).unwrap();
    stream.change(vec![], Some(&["c".into()])).unwrap();
    client.drain(&mut stream, now, &payloads);
    let last = client.controls.last().unwrap();
    assert_eq!((&last.stopped[..], last.description.is_some()), (&[sub("c")][..], true));
    assert_eq!(client.controls.len(), 3, "it is legal to remove a substream twice, and was said once");
    assert_eq!(stream.change(vec![start("c", "costs")], None), wrong("add", r#"["c"]"#), "never again in this stream");

    // Bounds: 4 at a time, 6 in all.
    let four = ["d", "e", "f", "g"].map(|name| start(name, "costs")).into();
    assert!(matches!(stream.change(four, None), Err(Refused::TooMany(why)) if why.contains("(updates.substreams-max)")));
    stream.change(["d", "e", "f"].map(|name| start(name, "costs")).into(), None).unwrap();
    stream.change(vec![], Some(&["d", "e", "f"].map(String::from))).unwrap();
    let two = ["g", "h"].map(|name| start(name, "costs")).into();
    assert!(matches!(stream.change(two, None), Err(Refused::TooMany(why)) if why.contains("(updates.substream-ids-max)")));

    // "An empty "remove" array is equivalent to a list of all currently active resources [..] closing the stream."
    client.controls.clear();
    stream.change(vec![], Some(&[])).unwrap();
    assert_eq!(client.drain(&mut stream, now, &payloads), Next::Ended);
    assert_eq!(client.controls.last().unwrap().stopped, [sub("n")]);
    assert_eq!(stream.change(vec![start("z", "net")], None), Err(Refused::Ended));
}

/// Section 7.6: with new ones a stream goes on when all old ones leave.
#[test]
fn replacing_all_keeps_a_stream() {
    let (publisher, now, payloads) = (publisher(), Instant::now(), payloads());
    let start = |name: &str, resource| substream(&publisher, name, resource, Start::Nothing, Accepts::PATCHES);
    let (mut stream, mut client) = opened(now, vec![start("n", "net")]);
    stream.change(vec![start("c", "costs")], Some(&["n".into()])).unwrap();
    assert!(matches!(client.drain(&mut stream, now, &payloads), Next::Wait(_)));
    assert_eq!(client.events, ["control", "control", "control", "alto-costmap c"]);
}

#[test]
fn withdrawn_resources_are_stopped() {
    let (publisher, now, payloads) = (publisher(), Instant::now(), payloads());
    let start = |name: &str, resource| substream(&publisher, name, resource, Start::Nothing, Accepts::PATCHES);
    let (mut stream, mut client) = opened(now, vec![start("n", "net"), start("c", "costs")]);
    client.drain(&mut stream, now, &payloads);
    publish(&publisher, vec![Change::Withdraw { id: id("costs") }]);
    assert!(matches!(client.drain(&mut stream, now, &payloads), Next::Wait(_)));
    let said = client.controls.last().unwrap();
    assert_eq!((&said.stopped[..], said.description.as_deref()), (&[sub("c")][..], Some("costs was withdrawn")));
    publish(&publisher, vec![Change::Withdraw { id: id("net") }]);
    assert_eq!(client.drain(&mut stream, now, &payloads), Next::Ended, "an update stream cannot have zero resources");
    assert_eq!(client.controls.last().unwrap().stopped, [sub("n")]);
}

#[test]
fn a_stopping_server_says_so() {
    let (publisher, now, payloads) = (publisher(), Instant::now(), payloads());
    let (mut stream, mut client) = opened(now, vec![substream(&publisher, "n", "net", Start::Nothing, Accepts::PATCHES)]);
    client.drain(&mut stream, now, &payloads);
    stream.shut_down();
    assert_eq!(client.drain(&mut stream, now, &payloads), Next::Ended);
    assert_eq!(client.controls.last().unwrap().description.as_deref(), Some("the server is stopping"));
    assert!(stream.has_ended());
}

#[test]
fn floods_of_control_requests_are_held_off() {
    let (publisher, now) = (publisher(), Instant::now());
    let (mut stream, _) = opened(now, vec![substream(&publisher, "n", "net", Start::Nothing, Accepts::PATCHES)]);
    let at = |seconds| now + Duration::from_secs(seconds);
    let admitted: Vec<bool> = [0, 0, 0, 0, 19, 20, 20, 41].map(|seconds| stream.admit(at(seconds))).into();
    // Three a minute: three at once, then one each twenty seconds.
    assert_eq!(admitted, [true, true, true, false, false, true, false, true]);
}

/// All streams are sent the same bytes; only the head of an event is a stream's own.
#[test]
fn data_is_shared() {
    let (publisher, now, payloads) = (publisher(), Instant::now(), payloads());
    let data = |name: &str| {
        let (mut stream, _) = opened(now, vec![substream(&publisher, name, "costs", Start::Nothing, Accepts::PATCHES)]);
        let mut pieces = Vec::new();
        stream.next(now, &payloads, &mut pieces);
        assert_eq!(&pieces[1][..], format!("event: application/alto-costmap+json,{name}\ndata: ").as_bytes());
        pieces[2].as_ptr()
    };
    assert_eq!(data("mine"), data("yours"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// Section 6.7.1 and the sense of it all: whatever is committed and however far a client is behind, it never has a cost map that is newer
    /// than its network map, and in the end it has what is served.
    #[test]
    fn never_a_dependant_before_what_it_depends_on(
        steps in prop::collection::vec((0..4u8, any::<u8>(), 0..4usize), 1..30),
        costs_first: bool,
        patches: (bool, bool),
        versions_max in 2..6usize,
    ) {
        let limits = history::Limits { versions_max, ..history::Limits::default() };
        let publisher = Publisher::new(limits, Guard::default());
        publish(&publisher, vec![network(1), costs(1)]);
        let (now, payloads) = (Instant::now(), payloads());
        let accepts = |patches| if patches { Accepts::PATCHES } else { Accepts::SNAPSHOTS };
        let mut wishes = vec![
            substream(&publisher, "n", "net", Start::Nothing, accepts(patches.0)),
            substream(&publisher, "c", "costs", Start::Nothing, accepts(patches.1)),
        ];
        if costs_first {
            wishes.reverse();
        }
        let (mut stream, mut client) = opened(now, wishes);
        TAGS.take();
        note(&publisher, 1);
        let mut networks = 1;
        for (what, value, taken) in steps {
            let before = publisher.current().versions[&id("net")].tag.clone();
            let fresh = u8::try_from(networks + 1).unwrap();
            match what {
                0 => publish(&publisher, vec![network(fresh)]),
                1 => publish(&publisher, vec![costs(value.into())]),
                _ => publish(&publisher, vec![network(fresh), costs(u32::from(value) + 300)]),
            }
            if publisher.current().versions[&id("net")].tag != before {
                networks += 1;
                note(&publisher, networks);
            }
            for _ in 0..taken {
                let mut pieces = Vec::new();
                stream.next(now, &payloads, &mut pieces);
                client.take(&pieces);
            }
        }
        client.drain(&mut stream, now, &payloads);
        for (name, resource) in [("n", "net"), ("c", "costs")] {
            let served: Value = serde_json::from_slice(&publisher.current().versions[&id(resource)].body).unwrap();
            prop_assert_eq!(&client.documents[name], &served);
        }
    }
}
