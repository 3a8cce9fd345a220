//! Update streams over the wire (RFC 8895): every answer, and streams that go on.
use crate::served::{Answer, COST_FILTER, Client, NETWORK_MAP, Served, id, options, publish_big, publisher, put};
use alto::updates::sse::{Decoder, Message};
use history::Change;
use serde_json::{Value, json};
use server::{Limits, NoSources, Options};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

pub const PARAMS: &str = "application/alto-updatestreamparams+json";

/// A stream as its client reads it.
pub struct Events {
    client: Client,
    pub head: Answer,
    decoder: Decoder,
    messages: VecDeque<Message>,
}

impl Events {
    pub fn open(served: &Served, path: &str, body: &Value) -> Self {
        let mut client = served.connect();
        client.write(&post(path, &body.to_string()));
        let head = client.head();
        assert_eq!(head.status, 200, "{:?}", head.fields);
        assert_eq!(head.field("transfer-encoding"), "chunked");
        Self { client, head, decoder: Decoder::new(64 << 20), messages: VecDeque::new() }
    }

    /// The next chunk's content; empty at the end.
    fn chunk(&mut self) -> Vec<u8> {
        let mut size = Vec::new();
        while !size.ends_with(b"\r\n") {
            let mut byte = [0];
            self.client.take(&mut byte);
            size.push(byte[0]);
        }
        let size = usize::from_str_radix(std::str::from_utf8(&size).unwrap().trim(), 16).unwrap();
        let mut content = vec![0; size + 2];
        self.client.take(&mut content);
        assert_eq!(content.split_off(size), b"\r\n");
        content
    }

    /// Event and data of the next message; `None` when the stream ended.
    pub fn next(&mut self) -> Option<(String, Value)> {
        while self.messages.is_empty() {
            let chunk = self.chunk();
            if chunk.is_empty() {
                return None;
            }
            let messages = &mut self.messages;
            self.decoder.push(&chunk, |message| messages.push_back(message)).unwrap();
        }
        let Message { event, data } = self.messages.pop_front().unwrap();
        Some((event, serde_json::from_slice(&data).unwrap()))
    }

    #[track_caller]
    pub fn expect(&mut self, event: &str) -> Value {
        let (found, data) = self.next().expect("the stream goes on");
        assert_eq!(found, event, "{data}");
        data
    }

    #[track_caller]
    pub fn control(&mut self) -> Value {
        self.expect("application/alto-updatestreamcontrol+json")
    }

    /// Path of the control URI, from the first event.
    pub fn control_path(&mut self) -> String {
        let uri = self.control()["control-uri"].as_str().unwrap().to_owned();
        uri.strip_prefix("http://a").expect("it begins with what the client called us").to_owned()
    }
}

pub fn post(path: &str, body: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {PARAMS}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
}

pub fn costs(cost: u32) -> Change {
    let map = json!({
        "meta": {
            "dependent-vtags": [{"resource-id": "my-default-network-map", "tag": "1"}],
            "cost-type": {"cost-mode": "numerical", "cost-metric": "routingcost"},
        },
        "cost-map": {"PID1": {"PID1": 1, "PID2": cost}},
    });
    put("cost-map", map.to_string().as_bytes())
}

pub fn publish(served: &Served, changes: Vec<Change>) {
    served.publisher.apply(changes, SystemTime::now(), true).unwrap();
}

pub fn serving(limits: Limits) -> Served {
    Served::new(Options { limits, ..options() })
}

/// Sections 6 and 7 from one end to the other, with a server of two workers: a control request may come to either.
#[test]
fn streams_are_followed_and_controlled() {
    let served = Served::new(Options { workers: Some(2), ..options() });
    let mut events = Events::open(&served, "/updates/sse", &json!({"add": {"c": {"resource-id": "cost-map"}}}));
    for (field, want) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
        ("access-control-allow-origin", "*"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(events.head.field(field), want);
    }
    let control = events.control_path();
    let token = control.strip_prefix("/updates/sse/control/").unwrap();
    assert!(token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "128 bits: {token}");
    let full = events.expect("application/alto-costmap+json,c");
    assert_eq!(full["cost-map"]["PID1"]["PID2"], 5);
    publish(&served, vec![costs(9)]);
    let change = events.expect("application/merge-patch+json,c");
    assert_eq!(change["cost-map"]["PID1"]["PID2"], 9);
    assert_eq!(change["meta"]["vtag"]["tag"], served.publisher.current().versions["cost-map"].tag.as_str());

    let answer = served.post(&control, PARAMS, br#"{"add":{"n":{"resource-id":"my-default-network-map"}}}"#);
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(events.control()["started"], json!(["n"]));
    events.expect("application/alto-networkmap+json,n");
    // Section 6.7.1: the network map first.
    let map = String::from_utf8(NETWORK_MAP.to_vec()).unwrap().replace("192.0.2.0/24", "192.0.0.0/24");
    publish(&served, vec![put("my-default-network-map", map.as_bytes()), costs(10)]);
    let (first, second) = (events.next().unwrap().0, events.next().unwrap().0);
    assert!(first.ends_with(",n") && second.ends_with(",c"), "{first} {second}");

    // Each on a connection of its own, so both workers get some.
    for at in 0..8 {
        let add = json!({"add": {format!("n{at}"): {"resource-id": "my-default-network-map"}}, "remove": [if at == 0 { "n".into() } else { format!("n{}", at - 1) }]});
        assert_eq!(served.post(&control, PARAMS, add.to_string().as_bytes()).status, 204);
        assert_eq!(events.control()["started"], json!([format!("n{at}")]));
        assert_eq!(events.control()["stopped"].as_array().unwrap().len(), 1);
        events.expect(&format!("application/alto-networkmap+json,n{at}"));
    }
    assert_eq!(served.post(&control, PARAMS, br#"{"remove":[]}"#).status, 204);
    let stopped = events.control();
    assert_eq!((&stopped["stopped"], stopped["description"].is_string()), (&json!(["c", "n7"]), true));
    assert_eq!(events.next(), None, "the stream ends as HTTP wants it");
    served.post(&control, PARAMS, br#"{"remove":[]}"#).error(404, "E_SYNTAX");
    served.stopped();
}

/// Section 6.6, 7.6; RFC 7285 section 8.5.
#[test]
fn refusals() {
    let served = serving(Limits::default());
    let missing = served.post("/resources/filtered-cost-map", "application/alto-costmapfilter+json", b"").json();
    let filter = json!({"cost-type": {"cost-mode": "numerical", "cost-metric": "nonsense"}, "pids": {"srcs": [], "dsts": []}});
    let invalid = served
        .post("/resources/filtered-cost-map", "application/alto-costmapfilter+json", filter.to_string().as_bytes())
        .error(400, "E_INVALID_FIELD_VALUE");
    let add = |wish: Value| json!({"add": {"s": wish}}).to_string();
    let error = |code: &str, field: &str, value: Option<&str>| {
        let mut meta = json!({"code": code, "field": field});
        if let Some(value) = value {
            meta["value"] = value.into();
        }
        json!({"meta": meta})
    };
    for (body, want) in [
        ("{}".to_owned(), error("E_MISSING_FIELD", "add", None)),
        (r#"{"add":{}}"#.into(), error("E_MISSING_FIELD", "add", None)),
        (r#"{"remove":["s"]}"#.into(), error("E_MISSING_FIELD", "add", None)),
        (r#"{"add":[]}"#.into(), error("E_INVALID_FIELD_TYPE", "add", None)),
        (r#"{"add":{"s":7}}"#.into(), error("E_INVALID_FIELD_TYPE", "add/s", None)),
        (add(json!({})), error("E_MISSING_FIELD", "add/s/resource-id", None)),
        (add(json!({"resource-id": 7})), error("E_INVALID_FIELD_TYPE", "add/s/resource-id", None)),
        (add(json!({"resource-id": "a#"})), error("E_INVALID_FIELD_VALUE", "add/s/resource-id", Some("a#"))),
        (add(json!({"resource-id": "nothing"})), error("E_INVALID_FIELD_VALUE", "add/s/resource-id", Some("nothing"))),
        (add(json!({"resource-id": "tips"})), error("E_INVALID_FIELD_VALUE", "add/s/resource-id", Some("tips"))),
        (add(json!({"resource-id": "cost-map", "tag": ""})), error("E_INVALID_FIELD_VALUE", "add/s/tag", Some(""))),
        (
            add(json!({"resource-id": "cost-map", "incremental-changes": "yes"})),
            error("E_INVALID_FIELD_TYPE", "add/s/incremental-changes", None),
        ),
        (add(json!({"resource-id": "cost-map", "input": {"a": 1}})), error("E_INVALID_FIELD_VALUE", "add/s/input", Some("{\"a\":1}"))),
        (add(json!({"resource-id": "cost-map", "input": 1})), error("E_INVALID_FIELD_TYPE", "add/s/input", None)),
        (r#"{"add":{"a b":{"resource-id":"cost-map"}}}"#.into(), error("E_INVALID_FIELD_VALUE", "add", Some("a b"))),
        // "the same error response that that resource would return".
        (add(json!({"resource-id": "filtered-cost-map"})), missing),
        (add(json!({"resource-id": "filtered-cost-map", "input": filter})), invalid),
    ] {
        let answer = served.post("/updates/sse", PARAMS, body.as_bytes());
        assert_eq!(
            (answer.status, answer.field("content-type"), answer.field("cache-control")),
            (400, "application/alto-error+json", "no-store")
        );
        // "MUST close the stream (i.e., TCP connection) without sending any events."
        assert_eq!((answer.field("access-control-allow-origin"), answer.field("connection")), ("*", "close"));
        // Sentences for people are not what is compared.
        assert_eq!(
            (&answer.json()["meta"]["code"], &answer.json()["meta"]["field"], &answer.json()["meta"]["value"]),
            (&want["meta"]["code"], &want["meta"]["field"], &want["meta"]["value"]),
            "{body}"
        );
    }
    served.post("/updates/sse", PARAMS, b"{\"add\":").error(400, "E_SYNTAX");
    served
        .post("/updates/sse", PARAMS, br#"{"add":{"s":{"resource-id":"cost-map"},"s":{"resource-id":"cost-map"}}}"#)
        .error(400, "E_SYNTAX");
    served.post("/updates/sse", "application/json", b"{}").error(415, "E_SYNTAX");
    let accept =
        format!("POST /updates/sse HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\nContent-Type: {PARAMS}\r\nContent-Length: 0\r\n\r\n");
    served.ask(&accept).error(406, "E_SYNTAX");
    for path in ["/updates/sse", "/updates/tips-sse", "/updates/sse/control/00", "/tips", "/tips/x/ug"] {
        let refused = served.get(path);
        refused.error(405, "E_SYNTAX");
        assert_eq!(refused.field("allow"), "POST, OPTIONS");
        // What a browser asks before it sends a POST with such a content type.
        let preflight = served.ask(&format!(
            "OPTIONS {path} HTTP/1.1\r\nHost: a\r\nOrigin: http://page.example\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n"
        ));
        assert_eq!((preflight.status, preflight.field("access-control-allow-origin")), (204, "*"));
        assert!(preflight.field("access-control-allow-methods").contains("POST"));
        assert!(preflight.field("access-control-allow-headers").contains("content-type"));
    }
    for path in ["/updates", "/updates/", "/updates/sse/", "/updates/sse/x", "/tips/", "/tips/x/", "/tips/x/ug/1"] {
        served.get(path).error(404, "E_SYNTAX");
    }
    served.stopped();
}

#[test]
fn control_is_refused() {
    let served = serving(Limits { control_requests_max: 8, substreams_max: 2, ..Limits::default() });
    let mut events = Events::open(&served, "/updates/sse", &json!({"add": {"c": {"resource-id": "cost-map"}}}));
    let control = events.control_path();
    let token = control.rsplit('/').next().unwrap();
    let ask = |path: &str, body: &str| served.post(path, PARAMS, body.as_bytes());
    // Unknown, of another service, malformed.
    for path in
        ["/updates/sse/control/00000000000000000000000000000000", "/updates/sse/control/x", &format!("/updates/tips-sse/control/{token}")]
    {
        ask(path, r#"{"remove":[]}"#).error(404, "E_SYNTAX");
    }
    assert_eq!(ask(&control, r#"{"remove":["x"]}"#).error(400, "E_INVALID_FIELD_VALUE")["meta"]["value"], json!(["x"]));
    assert_eq!(ask(&control, r#"{"add":{"c":{"resource-id":"cost-map"}}}"#).error(400, "E_INVALID_FIELD_VALUE")["meta"]["field"], "add");
    assert_eq!(
        ask(&control, r#"{"add":{"d":{"resource-id":"x"}}}"#).error(400, "E_INVALID_FIELD_VALUE")["meta"]["field"],
        "add/d/resource-id"
    );
    assert_eq!(
        ask(&control, r#"{"add":{"d":{"resource-id":"cost-map"}},"remove":[]}"#).error(400, "E_INVALID_FIELD_VALUE")["meta"]["field"],
        "remove"
    );
    assert_eq!(ask(&control, "{}").error(400, "E_MISSING_FIELD")["meta"]["field"], "add");
    let many = ask(&control, r#"{"add":{"d":{"resource-id":"cost-map"},"e":{"resource-id":"cost-map"}}}"#);
    many.error(429, "E_SYNTAX");
    assert!(many.find("retry-after").is_some());
    // However many: what is too much is not what is wrong.
    let adds: serde_json::Map<_, _> = (0..2_000).map(|at| (format!("n{at}"), json!({"resource-id": "cost-map"}))).collect();
    let many = ask("/updates/sse", &json!({ "add": adds }).to_string());
    many.error(429, "E_SYNTAX");
    assert!(many.find("retry-after").is_some());
    // A flood: the answers are cheap, and the stream goes on.
    let flood: Vec<u16> = (0..20).map(|_| ask(&control, r#"{"remove":["x"]}"#).status).collect();
    assert!(flood.contains(&429) && !flood.contains(&204), "{flood:?}");
    let refused = ask(&control, r#"{"remove":["x"]}"#);
    assert!(refused.status == 400 || refused.field("retry-after").parse::<u32>().unwrap() > 0);
    events.expect("application/alto-costmap+json,c");
    publish(&served, vec![costs(8)]);
    events.expect("application/merge-patch+json,c");
    let metrics = String::from_utf8(served.admin("GET /metrics HTTP/1.1", b"").body).unwrap();
    assert!(metrics.contains("alto_stream_control_missed_total 3"), "guesses are counted");
    assert!(metrics.contains("alto_clients{transport=\"sse\"} 1"));
    served.stopped();
}

/// Section 6.8: signs of life come between updates, however those fall.
#[test]
fn a_stream_never_goes_silent() {
    let served = serving(Limits { keep_alive: Duration::from_millis(120), ..Limits::default() });
    let mut events = Events::open(&served, "/updates/sse", &json!({"add": {"c": {"resource-id": "cost-map"}}}));
    events.control();
    events.expect("application/alto-costmap+json,c");
    for round in 0..4 {
        assert_eq!(events.chunk(), b":\n\n");
        // The pause is what is tested: the next one is due already, and its alarm, which may be that late, has not gone off.
        std::thread::sleep(Duration::from_millis(150));
        publish(&served, vec![costs(100 + round)]);
        events.expect("application/merge-patch+json,c");
        assert_eq!(events.chunk(), b":\n\n");
    }
    served.stopped();
}

#[test]
fn no_more_streams_than_the_bound() {
    let served = serving(Limits { update_streams_max: 1, ..Limits::default() });
    let wish = json!({"add": {"c": {"resource-id": "cost-map"}}});
    let mut events = Events::open(&served, "/updates/sse", &wish);
    events.control();
    let refused = served.post("/updates/sse", PARAMS, wish.to_string().as_bytes());
    refused.error(429, "E_SYNTAX");
    assert!(refused.field("retry-after").parse::<u32>().unwrap() > 0);
    let status = served.admin("GET /v1/status HTTP/1.1", b"").json();
    assert_eq!(status["clients"]["updates"], json!({"sse": 1, "tips-sse": 0, "tips": 0, "push": 0, "websocket": 0, "webhook": 0}));
    // Who leaves makes room.
    drop(events);
    while served.post("/updates/sse", PARAMS, b"{\"add\":{\"c\":{\"resource-id\":\"nothing\"}}}").status == 429 {
        std::thread::yield_now();
    }
    drop(Events::open(&served, "/updates/sse", &wish));
    served.stopped();
}

#[test]
fn inputs_are_followed() {
    let served = serving(Limits::default());
    let input: Value = serde_json::from_slice(COST_FILTER).unwrap();
    let mut events = Events::open(
        &served,
        "/updates/sse",
        &json!({"add": {"f": {"resource-id": "filtered-cost-map", "input": input}, "n": {"resource-id": "my-default-network-map"}}}),
    );
    events.control();
    // The network map that it depends on comes first, though it was asked for after.
    events.expect("application/alto-networkmap+json,n");
    let full = events.expect("application/alto-costmap+json,f");
    let direct = served.post("/resources/filtered-cost-map", "application/alto-costmapfilter+json", COST_FILTER).json();
    assert_eq!(full, direct);
    publish(&served, vec![costs(77)]);
    let change = events.expect("application/merge-patch+json,f");
    assert!(change["cost-map"].is_object(), "{change}");
    // Withdrawn: stopped, and with nothing left the stream ends.
    publish(&served, vec![Change::Withdraw { id: id("cost-map") }]);
    publish(&served, vec![Change::Withdraw { id: id("my-default-network-map") }]);
    let mut stopped = 0;
    while let Some((event, data)) = events.next() {
        if event == "application/alto-updatestreamcontrol+json" {
            stopped += data["stopped"].as_array().unwrap().len();
        }
    }
    assert_eq!(stopped, 2);
    served.stopped();
}

#[test]
fn large_copies_arrive_whole() {
    let publisher = publisher();
    publish_big(&publisher, 400);
    let served = Served::with(options(), publisher, Arc::new(NoSources));
    let mut events = Events::open(&served, "/updates/sse", &json!({"add": {"b": {"resource-id": "big-costs"}}}));
    events.control();
    let full = events.expect("application/alto-costmap+json,b");
    let want: Value = serde_json::from_slice(&served.publisher.current().versions["big-costs"].body).unwrap();
    assert!(full == want);
    served.stopped();
}

#[test]
fn streams_show_life() {
    let served = serving(Limits { keep_alive: Duration::from_millis(20), ..Limits::default() });
    let mut events = Events::open(&served, "/updates/sse", &json!({"add": {"c": {"resource-id": "cost-map"}}}));
    events.control();
    events.expect("application/alto-costmap+json,c");
    for _ in 0..3 {
        assert_eq!(events.chunk(), b":\n\n");
    }
    served.stopped();
}

#[test]
fn a_stopping_server_ends_streams_with_a_word() {
    let mut served = serving(Limits::default());
    let mut events = Events::open(&served, "/updates/sse", &json!({"add": {"c": {"resource-id": "cost-map"}}}));
    events.control();
    events.expect("application/alto-costmap+json,c");
    served.stop();
    let last = events.control();
    assert_eq!((&last["stopped"], &last["description"]), (&json!(["c"]), &json!("the server is stopping")));
    assert_eq!(events.next(), None);
    served.stopped();
}
