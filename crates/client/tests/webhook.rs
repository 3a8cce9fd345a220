//! The subscriber (draft-alto-caching-subscription-00 section 8) against a server that says what a test tells it to, calls back, goes away and
//! breaks promises.
#![allow(clippy::unwrap_used)] // A test says what went wrong by stopping there.
#[path = "support/live.rs"]
mod live;

use bytes::Bytes;
use client::{
    Client, Limits, Replica,
    replica::{Change, Notice, Notifications, Options, Told, Via, Wanted, What},
};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use live::{Asked, Live, PATIENCE};
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const NETWORK: &str = "application/alto-networkmap+json";
const COSTS: &str = "application/alto-costmap+json";
const MERGE: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const ERROR: &str = "application/alto-error+json";
const SUBSCRIBE: &str = "application/alto-subscribeinput+json";
const DATA: &str = "application/alto-subscriptiondata+json";
const NOTIFICATION: &str = "application/alto-notificationdata+json";

fn network(version: u64) -> Value {
    json!({"meta": {"vtag": {"resource-id": "net", "tag": format!("n{version}")}}, "network-map": {"a": {"ipv4": ["192.0.2.0/24"]}}})
}

fn patch(version: u64) -> Value {
    json!({"media-type": MERGE, "data": {"meta": {"vtag": {"tag": format!("n{version}")}}}})
}

fn directory() -> String {
    let filters = ["application/alto-networkmapfilter+json", "application/alto-costmapfilter+json"];
    json!({
        "meta": {"default-alto-network-map": "net", "cost-types": {"num": {"cost-mode": "numerical", "cost-metric": "routingcost"}}},
        "resources": {
            "net": {"uri": "/net", "media-type": NETWORK},
            "costs": {"uri": "/costs", "media-type": COSTS, "uses": ["net"], "capabilities": {"cost-type-names": ["num"]}},
            "some-net": {"uri": "/some", "media-type": NETWORK, "accepts": filters[0], "uses": ["net"]},
            "subscription": {"uri": "/subscription", "media-type": DATA, "accepts": SUBSCRIBE, "uses": ["net", "costs", "some-net"]},
            "unsubscribe": {"uri": "/unsubscribe", "media-type": DATA, "accepts": DATA},
            "notification": {"uri": "/notification", "media-type": NOTIFICATION, "accepts": NOTIFICATION},
        }
    })
    .to_string()
}

fn quick() -> Limits {
    Limits { backoff_min: Duration::from_millis(10), backoff_max: Duration::from_millis(50), ..Limits::default() }
}

async fn follow_with(url: String, limits: Limits, options: Options) -> Replica {
    let client = Client::new(client::Options { limits, ..client::Options::new(url) }).unwrap();
    Replica::open(Arc::new(client), Options { via: Some(Via::Webhook), ..options }).await.unwrap()
}

async fn follow(url: String, limits: Limits) -> Replica {
    follow_with(url, limits, Options::new("net".parse().unwrap())).await
}

async fn changed(replica: &mut Replica) -> Change {
    timeout(PATIENCE, replica.changed()).await.expect("a change comes").unwrap()
}

/// The next change is this version.
async fn version(replica: &mut Replica, version: u64, is_patch: bool) {
    let change = changed(replica).await;
    assert_eq!(change.tag.unwrap().as_str(), format!("n{version}"));
    assert_eq!(matches!(change.what, What::Patch { .. }), is_patch, "version {version}");
}

/// The next notice with these words.
async fn notice(replica: &mut Replica, words: &str) -> Notice {
    loop {
        match timeout(PATIENCE, replica.next()).await.expect("something is told").unwrap() {
            Told::Notice(notice) if notice.to_string().contains(words) => return notice,
            Told::Notice(_) => {}
            Told::Change(change) => panic!("waited for {words:?}, there is {change:?}"),
        }
    }
}

/// The server's end of the connection to a subscriber.
struct Caller {
    contact: SocketAddr,
    requests: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
}

impl Caller {
    async fn to(contact: SocketAddr) -> Self {
        let tcp = timeout(PATIENCE, TcpStream::connect(contact)).await.unwrap().unwrap();
        let (requests, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.unwrap();
        tokio::spawn(connection);
        Self { contact, requests }
    }

    async fn request(&mut self, method: &str, path: &str, content_type: &str, body: impl Into<Bytes>) -> (u16, Value) {
        let request = http::Request::builder().method(method).uri(path).header("host", "x").header("content-type", content_type);
        self.requests.ready().await.unwrap();
        let sent = self.requests.send_request(request.body(Full::new(body.into())).unwrap());
        let response = timeout(PATIENCE, sent).await.expect("an answer").unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// The status of the answer to a notification.
    async fn notify(&mut self, notification: &Value) -> u16 {
        self.request("POST", "/notification", NOTIFICATION, notification.to_string()).await.0
    }
}

fn told(subscrid: &str, version: u64, more: Value) -> Value {
    let mut notification = json!({"event-types": ["NetworkMap"], "subscrid": subscrid, "substate": "active", "expires": 600,
        "seq": version, "tag": format!("n{version}")});
    notification.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    notification
}

fn full(subscrid: &str, version: u64) -> Value {
    told(subscrid, version, json!({"networkmap": network(version)}))
}

fn change(subscrid: &str, since: u64, version: u64) -> Value {
    told(subscrid, version, json!({"since": since, "patch": patch(version)}))
}

/// Answers a subscription to the network map; how to call back.
async fn subscribed(server: &mut Live, subscrid: &str, expires: u64) -> SocketAddr {
    let asked = server.expect("POST /subscription").await;
    let contact = &asked.body["contactaddr"]["ipv4"][0];
    assert_eq!(contact["addr"], "127.0.0.1", "{}", asked.body);
    let contact = SocketAddr::new([127, 0, 0, 1].into(), contact["port"].as_u64().unwrap().try_into().unwrap());
    let want = json!({"event-types": ["NetworkMap"], "expires": 600, "incremental": true, "resource-id": "net",
        "contactaddr": {"ipv4": [{"addr": "127.0.0.1", "port": contact.port()}]}});
    assert_eq!(asked.body, want);
    assert_eq!(
        (&asked.headers["content-type"], asked.headers["accept"].to_str().unwrap().contains(DATA)),
        (&SUBSCRIBE.parse().unwrap(), true)
    );
    asked.answer(200, DATA, &json!({"subscrid": subscrid, "expires": expires, "event-types": ["NetworkMap"]}).to_string());
    contact
}

/// The same of any subscription.
fn answer_subscription(asked: Asked, subscrid: &str) -> SocketAddr {
    assert_eq!(asked.line, "POST /subscription");
    assert!(asked.body["subscrid"].is_null(), "a new one: {}", asked.body);
    let port = asked.body["contactaddr"]["ipv4"][0]["port"].as_u64().unwrap().try_into().unwrap();
    let data = json!({"subscrid": subscrid, "expires": 600, "event-types": asked.body["event-types"]});
    asked.answer(200, DATA, &data.to_string());
    SocketAddr::new([127, 0, 0, 1].into(), port)
}

async fn started(limits: Limits) -> (Live, Replica, Caller) {
    let mut server = Live::start(&directory()).await;
    let mut replica = follow(server.url(), limits).await;
    let contact = subscribed(&mut server, "s1", 600).await;
    let mut caller = Caller::to(contact).await;
    assert_eq!(caller.notify(&full("s1", 5)).await, 200);
    version(&mut replica, 5, false).await;
    (server, replica, caller)
}

/// The next subscription is one to everything again, after the first was ended.
async fn again(server: &mut Live, replica: &mut Replica, subscrid: &str) -> Caller {
    let mut contact = None;
    // The next session does not wait for the farewell of the one before.
    for _ in 0..2 {
        let asked = server.next("farewell or subscription").await;
        match asked.line.as_str() {
            "POST /unsubscribe" => {
                assert_eq!(asked.body, json!({"subscrid": "s1", "expires": 0, "event-types": ["NetworkMap"]}));
                asked.answer(200, DATA, "{}");
            }
            _ => contact = Some(answer_subscription(asked, subscrid)),
        }
    }
    let mut caller = Caller::to(contact.expect("it subscribes again")).await;
    assert_eq!(caller.notify(&full(subscrid, 9)).await, 200);
    version(replica, 9, false).await;
    caller
}

async fn yield_often() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Section 8.4, with changes: full copy, patches, what came before the answer to the subscription.
#[tokio::test]
async fn notifications_are_taken_in_order() {
    let mut server = Live::start(&directory()).await;
    let mut replica = follow(server.url(), quick()).await;
    let asked = server.expect("POST /subscription").await;
    let port = asked.body["contactaddr"]["ipv4"][0]["port"].as_u64().unwrap() as u16;
    let mut caller = Caller::to(([127, 0, 0, 1], port).into()).await;
    // The notification overtakes the answer that says which subscription it is of: it is not refused, it waits.
    let early = tokio::spawn(async move {
        let status = caller.notify(&full("s1", 5)).await;
        (status, caller)
    });
    yield_often().await;
    assert!(!early.is_finished());
    asked.answer(200, DATA, r#"{"subscrid":"s1","expires":"600","event-types":["NetworkMap"]}"#);
    let (status, mut caller) = early.await.unwrap();
    assert_eq!(status, 200);
    version(&mut replica, 5, false).await;
    for seq in 6..10 {
        assert_eq!(caller.notify(&change("s1", seq - 1, seq)).await, 200);
        // It is answered when it was taken, not before.
        assert_eq!(replica.copy(0).unwrap().seq, Some(seq));
        version(&mut replica, seq, true).await;
    }
    // Without numbers it means the content that was acknowledged last, as at other servers.
    let plain = json!({"event-types": ["NetworkMap"], "subscrid": "s1", "substate": "active", "expires": "500", "patch": patch(10)});
    assert_eq!(caller.notify(&plain).await, 200);
    version(&mut replica, 10, true).await;
    // Nothing to tell: it lives.
    assert_eq!(caller.notify(&json!({"event-types": ["NetworkMap"], "subscrid": "s1", "substate": "active"})).await, 200);
    assert_eq!((replica.resyncs(), replica.via()), (0, Some(Via::Webhook)));
}

/// Whoever follows is slow: the server is not kept waiting, and what waits here is bounded.
#[tokio::test]
async fn changes_that_nobody_takes_are_bounded() {
    let (_server, mut replica, mut caller) = started(Limits { changes_waiting_max: 10, ..quick() }).await;
    for seq in 6..=100 {
        assert_eq!(caller.notify(&change("s1", seq - 1, seq)).await, 200);
    }
    let mut taken: Vec<Change> = Vec::new();
    while taken.last().is_none_or(|change| change.seq != Some(100)) {
        taken.push(changed(&mut replica).await);
    }
    assert!(taken.len() <= 10, "{}", taken.len());
    assert!(matches!(taken[0].what, What::Full));
    assert_eq!(replica.resyncs(), 0);
}

/// "A delivery without a 2xx is repeated": the answer to one that was taken may be what was lost.
#[tokio::test]
async fn a_repeated_notification_is_no_change() {
    let (mut server, mut replica, mut caller) = started(quick()).await;
    assert_eq!(caller.notify(&change("s1", 5, 6)).await, 200);
    assert_eq!(caller.notify(&change("s1", 5, 6)).await, 200, "the same patch");
    assert_eq!(caller.notify(&full("s1", 6)).await, 200, "as a full copy");
    assert_eq!(caller.notify(&change("s1", 6, 7)).await, 200);
    version(&mut replica, 6, true).await;
    version(&mut replica, 7, true).await;
    // One that was overtaken, or a server that lost its history: both ways nothing older is handed out.
    assert_ne!(caller.notify(&full("s1", 4)).await, 200);
    notice(&mut replica, "version 4 after version 7").await;
    again(&mut server, &mut replica, "s2").await;
    assert_eq!(replica.resyncs(), 0);
}

/// The same numbers of another history: a number that comes again is no repetition unless its tag does.
#[tokio::test]
async fn a_server_that_counts_anew_is_noticed() {
    let (mut server, mut replica, mut caller) = started(quick()).await;
    let other = json!({"event-types": ["NetworkMap"], "subscrid": "s1", "substate": "active", "seq": 5, "tag": "other", "since": 4, "patch": patch(3)});
    assert_ne!(caller.notify(&other).await, 200);
    again(&mut server, &mut replica, "s2").await;
    assert_eq!(replica.resyncs(), 0);
}

#[tokio::test]
async fn what_does_not_fit_is_asked_for_from_nothing() {
    let nothing_there = json!([{"op": "remove", "path": "/network-map/nothing"}]);
    for (what, wrong) in [
        ("a patch that does not apply", told("s1", 6, json!({"since": 5, "patch": {"media-type": JSON_PATCH, "data": nothing_there}}))),
        ("a version is missing", change("s1", 6, 7)),
        ("another tag than it makes", told("s1", 6, json!({"since": 5, "patch": patch(7)}))),
        ("another kind of map", told("s1", 6, json!({"costmap": network(6)}))),
        ("no map", told("s1", 6, json!({"networkmap": {}}))),
        ("a language that nobody asked for", told("s1", 6, json!({"patch": {"media-type": "text/x-diff", "data": {}}}))),
    ] {
        let (mut server, mut replica, mut caller) = started(quick()).await;
        let request =
            http::Request::post("/notification").header("content-type", NOTIFICATION).body(Full::new(Bytes::from(wrong.to_string())));
        caller.requests.ready().await.unwrap();
        // Whatever the answer is, it is no success; the connection may end instead.
        let answer = timeout(PATIENCE, caller.requests.send_request(request.unwrap())).await.unwrap();
        assert!(answer.is_err() || !answer.unwrap().status().is_success(), "{what}");
        again(&mut server, &mut replica, "s2").await;
        assert_eq!(replica.resyncs(), 1, "{what}");
    }
}

/// Section 8.5, and what is no notification: none of it changes anything.
#[tokio::test]
async fn strangers_change_nothing() {
    let limits = Limits { stranger_bytes_max: 2000, body_bytes_max: 10_000, ..quick() };
    let (_server, mut replica, mut caller) = started(limits).await;
    let contact = caller.contact;
    for (method, path, content_type, body, status, says) in [
        ("POST", "/notification", NOTIFICATION, full("s2", 6).to_string(), 404, "subscription"),
        ("POST", "/", NOTIFICATION, full("s1", 6).to_string(), 404, ""),
        ("GET", "/status", "", String::new(), 404, ""),
        ("GET", "/notification", "", String::new(), 405, "POST"),
        ("POST", "/notification", "application/json", full("s1", 6).to_string(), 415, NOTIFICATION),
        ("POST", "/notification", NOTIFICATION, "{".into(), 400, "E_SYNTAX"),
        ("POST", "/notification", NOTIFICATION, r#"{"event-types":["NetworkMap"],"substate":"active"}"#.into(), 400, "subscrid"),
        ("POST", "/notification", NOTIFICATION, "x".repeat(3000), 413, "stranger_bytes_max"),
        ("POST", "/notification", NOTIFICATION, "x".repeat(20_000), 413, "body_bytes_max"),
    ] {
        let (got, error) = Caller::to(contact).await.request(method, path, content_type, body).await;
        assert_eq!(got, status, "{method} {path} {content_type}");
        assert!(if says.is_empty() { error.is_null() } else { error["meta"].to_string().contains(says) }, "{status}: {error}");
    }
    // One that names a subscription may be larger, also when it is the first of its connection.
    let mut large = told("s1", 6, json!({"networkmap": network(6)}));
    large["networkmap"]["network-map"]["b"] = json!({"ipv4": (0..100).map(|n| format!("198.51.100.{n}/32")).collect::<Vec<_>>()});
    large.as_object_mut().unwrap().remove("subscrid");
    let body = format!(r#"{{"subscrid":"s1",{}"#, &large.to_string()[1..]);
    assert!(body.len() > 2000);
    assert_eq!(Caller::to(contact).await.request("POST", "/notification", NOTIFICATION, body).await.0, 200);
    version(&mut replica, 6, false).await;
    assert_eq!(caller.notify(&full("s1", 7)).await, 200);
    version(&mut replica, 7, false).await;
    assert_eq!(replica.resyncs(), 0);
}

/// However many a server sends at once, one that is large is held at a time; small ones pass.
#[tokio::test]
async fn large_notifications_are_read_one_at_a_time() {
    let (_server, mut replica, mut caller) = started(Limits { stranger_bytes_max: 1000, ..quick() }).await;
    let whole = |seq: u64| {
        let mut large = full("s1", seq);
        large["networkmap"]["network-map"]["b"] = json!({"ipv4": (0..100).map(|n| format!("198.51.100.{n}/32")).collect::<Vec<_>>()});
        large.as_object_mut().unwrap().remove("subscrid");
        format!(r#"{{"subscrid":"s1",{}"#, &large.to_string()[1..])
    };
    let body = whole(7);
    let mut half = TcpStream::connect(caller.contact).await.unwrap();
    let (length, interim) = (body.len(), *b"HTTP/1.1 100 Continue\r\n\r\n");
    let head = format!(
        "POST /notification HTTP/1.1\r\nhost: x\r\ncontent-type: {NOTIFICATION}\r\ncontent-length: {length}\r\nexpect: 100-continue"
    );
    half.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
    let mut read = interim.map(|_| 0);
    half.read_exact(&mut read).await.unwrap();
    assert_eq!(read, interim, "its body is being read");
    half.write_all(&body.as_bytes()[..1500]).await.unwrap();
    // What lies in its socket is taken when the runtime looks for it.
    let look = || async {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    };
    look().await;
    let contact = caller.contact;
    let other = tokio::spawn(async move { Caller::to(contact).await.request("POST", "/notification", NOTIFICATION, whole(8)).await.0 });
    assert_eq!(caller.notify(&full("s1", 6)).await, 200, "a small one passes");
    version(&mut replica, 6, false).await;
    look().await;
    assert!(!other.is_finished());
    half.write_all(&body.as_bytes()[1500..]).await.unwrap();
    let mut status = [0; 12];
    half.read_exact(&mut status).await.unwrap();
    assert_eq!(status, *b"HTTP/1.1 200");
    version(&mut replica, 7, false).await;
    assert_eq!(timeout(PATIENCE, other).await.unwrap().unwrap(), 200);
    version(&mut replica, 8, false).await;
}

/// Connections that say nothing end when others come; the one that brings notifications stays.
#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let (_server, mut replica, mut caller) = started(Limits { notification_connections_max: 3, ..quick() }).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(caller.contact).await.unwrap());
    }
    let mut byte = [0];
    assert_eq!(timeout(PATIENCE, silent[0].read(&mut byte)).await.unwrap().unwrap_or(0), 0, "the oldest of them ended");
    let mut other = Caller::to(caller.contact).await;
    assert_eq!(other.notify(&full("s1", 6)).await, 200);
    assert_eq!(caller.notify(&full("s1", 7)).await, 200);
    version(&mut replica, 6, false).await;
    version(&mut replica, 7, false).await;
    // A head without an end is bounded.
    let mut endless = TcpStream::connect(caller.contact).await.unwrap();
    let written = async { while endless.write_all(&[b'x'; 4096]).await.is_ok() {} };
    timeout(PATIENCE, written).await.expect("it is not read for ever");
}

/// Section 8.2, with a lifetime that is over soon.
#[tokio::test]
async fn subscriptions_are_refreshed() {
    let mut server = Live::start(&directory()).await;
    let mut replica = follow(server.url(), quick()).await;
    let contact = subscribed(&mut server, "s1", 6).await;
    let mut caller = Caller::to(contact).await;
    assert_eq!(caller.notify(&full("s1", 5)).await, 200);
    version(&mut replica, 5, false).await;
    let refresh = json!({"subscrid": "s1", "event-types": ["NetworkMap"], "expires": 600});
    // A server that has no time for it, or is away, is asked again: the subscription still lives.
    for (status, body) in [(503, "starting"), (429, ""), (200, r#"{"subscrid":"s1","expires":2,"event-types":["NetworkMap"]}"#)] {
        let asked = server.expect("POST /subscription").await;
        assert_eq!(asked.body, refresh);
        asked.answer(status, if status == 200 { DATA } else { "text/plain" }, body);
    }
    let asked = server.expect("POST /subscription").await;
    assert_eq!(asked.body, refresh);
    asked.answer(200, DATA, r#"{"subscrid":"s1","expires":600,"event-types":["NetworkMap"]}"#);
    assert_eq!(caller.notify(&change("s1", 5, 6)).await, 200);
    version(&mut replica, 6, true).await;
    // A notification that says how little is left counts.
    let mut soon = change("s1", 6, 7);
    soon["expires"] = 2.into();
    assert_eq!(caller.notify(&soon).await, 200);
    version(&mut replica, 7, true).await;
    let asked = server.expect("POST /subscription").await;
    assert_eq!(asked.body, refresh);
    // "404: the subscription has already been terminated".
    asked.answer(404, ERROR, r#"{"meta":{"code":"E_INVALID_FIELD_VALUE","field":"subscrid"}}"#);
    notice(&mut replica, "no more").await;
    let contact = subscribed(&mut server, "s2", 600).await;
    assert_eq!(Caller::to(contact).await.notify(&full("s2", 8)).await, 200);
    version(&mut replica, 8, false).await;
    assert_eq!(replica.resyncs(), 0);
}

/// A server that says nothing any more, to no refresh: with a clock that moves when everybody waits.
#[tokio::test]
async fn a_dead_server_is_noticed() {
    let (_server, mut replica, _caller) = started(quick()).await;
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    loop {
        match replica.next().await.unwrap() {
            Told::Notice(Notice::Lost { why, .. }) => break assert!(why.contains("silent for 75 s"), "{why}"),
            told => assert!(matches!(told, Told::Notice(Notice::Following { .. })), "{told:?}"),
        }
    }
    assert!(begin.elapsed() < Duration::from_secs(76));
}

/// What could not be refreshed is over when it expires; the clock as before.
#[tokio::test]
async fn an_expired_subscription_is_made_again() {
    let mut server = Live::start(&directory()).await;
    let mut replica = follow(server.url(), quick()).await;
    let contact = subscribed(&mut server, "s1", 20).await;
    assert_eq!(Caller::to(contact).await.notify(&full("s1", 5)).await, 200);
    version(&mut replica, 5, false).await;
    tokio::time::pause();
    loop {
        match replica.next().await.unwrap() {
            Told::Notice(Notice::Lost { why, .. }) => break assert!(why.contains("before it expired"), "{why}"),
            told => assert!(matches!(told, Told::Notice(Notice::Following { .. })), "{told:?}"),
        }
    }
}

/// Whoever begins a notification and does not end it is not waited for.
#[tokio::test]
async fn half_a_notification_is_given_up() {
    let (_server, _replica, caller) = started(quick()).await;
    let mut stranger = TcpStream::connect(caller.contact).await.unwrap();
    let head = format!("POST /notification HTTP/1.1\r\nhost: x\r\ncontent-type: {NOTIFICATION}\r\ncontent-length: 100\r\n\r\n{{");
    stranger.write_all(head.as_bytes()).await.unwrap();
    tokio::time::pause();
    let mut answer = Vec::new();
    stranger.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = taken.local_addr().unwrap();
    let server = Live::start(&directory()).await;
    let notifications = Notifications { listen: Some(listen), contact: None };
    let limits = Limits { farewell_time_max: Duration::ZERO, ..quick() };
    let mut replica = follow_with(server.url(), limits, Options { notifications, ..Options::new("net".parse().unwrap()) }).await;
    let error = timeout(PATIENCE, replica.changed()).await.unwrap().unwrap_err();
    assert!(error.to_string().contains(&format!("cannot listen for notifications at {listen}")), "{error}");
}

#[tokio::test]
async fn a_subscription_that_the_server_ends_is_made_again() {
    let (mut server, mut replica, mut caller) = started(quick()).await;
    let last =
        json!({"event-types": ["NetworkMap"], "subscrid": "s1", "substate": "terminated", "reason": "the operator\u{1b}[2J says so"});
    assert_eq!(caller.notify(&last).await, 200);
    let Notice::Lost { why, .. } = notice(&mut replica, "the operator").await else { panic!("it is lost") };
    assert!(!why.contains('\u{1b}'), "{why:?}");
    let contact = subscribed(&mut server, "s2", 600).await;
    assert_eq!(Caller::to(contact).await.notify(&full("s2", 6)).await, 200);
    version(&mut replica, 6, false).await;
}

/// Section 8.6, and that a last notification is still answered.
#[tokio::test]
async fn it_unsubscribes_when_it_ends() {
    let (mut server, replica, mut caller) = started(quick()).await;
    let closing = tokio::spawn(replica.close());
    let asked = server.expect("POST /unsubscribe").await;
    assert_eq!(asked.body, json!({"subscrid": "s1", "expires": 0, "event-types": ["NetworkMap"]}));
    assert_eq!(asked.headers["content-type"], DATA);
    // What is told meanwhile has nobody to tell it to.
    assert_eq!(caller.notify(&change("s1", 5, 6)).await, 404);
    asked.answer(200, DATA, r#"{"subscrid":"s1","expires":0,"event-types":["NetworkMap"]}"#);
    let last = json!({"event-types": ["NetworkMap"], "subscrid": "s1", "substate": "terminated", "reason": "unsubscribed"});
    assert_eq!(caller.notify(&last).await, 200);
    timeout(PATIENCE, closing).await.unwrap().unwrap();
    assert!(TcpStream::connect(caller.contact).await.is_err(), "nobody listens any more");

    // Without an answer it does not wait for ever, and dropping it says farewell too.
    let (mut server, replica, _caller) = started(Limits { farewell_time_max: Duration::from_millis(50), ..quick() }).await;
    timeout(PATIENCE, replica.close()).await.unwrap();
    let unanswered = server.expect("POST /unsubscribe").await;
    let (mut server, replica, _caller) = started(quick()).await;
    drop(replica);
    server.expect("POST /unsubscribe").await.answer(404, ERROR, "");
    drop(unanswered);
}

/// The server may have begun what it has not said yet when the session ends: that is waited for, and ended too.
#[tokio::test]
async fn it_unsubscribes_from_what_was_asked_for_when_it_ends() {
    let expect_farewell = async |server: &mut Live| {
        let asked = server.expect("POST /unsubscribe").await;
        assert_eq!(asked.body, json!({"subscrid": "late", "expires": 0, "event-types": ["NetworkMap"]}));
        asked.answer(404, ERROR, "");
    };
    // Somebody interrupts it.
    let mut server = Live::start(&directory()).await;
    let replica = follow(server.url(), quick()).await;
    let unanswered = server.expect("POST /subscription").await;
    let closing = tokio::spawn(replica.close());
    yield_often().await;
    assert!(!closing.is_finished());
    answer_subscription(unanswered, "late");
    expect_farewell(&mut server).await;
    timeout(PATIENCE, closing).await.unwrap().unwrap();

    // Another subscription is refused, for good.
    let mut server = Live::start(&directory()).await;
    let resources = ["net", "costs"].map(|id| Wanted { resource: id.parse().unwrap(), input: None }).into();
    let mut replica = follow_with(server.url(), quick(), Options { resources, ..Options::new("net".parse().unwrap()) }).await;
    let mut asked = [server.expect("POST /subscription").await, server.expect("POST /subscription").await];
    asked.sort_by_key(|asked| asked.body["event-types"] != json!(["NetworkMap"]));
    let [network, costs] = asked;
    let relay = r#"{"meta":{"code":"E_INVALID_FIELD_VALUE","field":"contactaddr/ipv4/addr","value":"127.0.0.1"}}"#;
    costs.answer(400, ERROR, relay);
    let error = timeout(PATIENCE, replica.changed()).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("contactaddr"), "{error}");
    answer_subscription(network, "late");
    expect_farewell(&mut server).await;
    timeout(PATIENCE, replica.close()).await.unwrap();

    // A server that never says whether it began it is not waited for.
    let mut server = Live::start(&directory()).await;
    let replica = follow(server.url(), Limits { farewell_time_max: Duration::from_millis(50), ..quick() }).await;
    let _unanswered = server.expect("POST /subscription").await;
    timeout(PATIENCE, replica.close()).await.unwrap();
}

/// What is followed beside it has a subscription of its own, and a cost map waits for its network map.
#[tokio::test]
async fn each_resource_has_its_subscription() {
    let mut server = Live::start(&directory()).await;
    let filter = Bytes::from_static(br#"{"pids":["a"]}"#);
    let wanted = |id: &str, input| Wanted { resource: id.parse().unwrap(), input };
    let resources = vec![wanted("costs", None), wanted("some-net", Some(filter))];
    let mut replica = follow_with(server.url(), quick(), Options { resources, ..Options::new("net".parse().unwrap()) }).await;
    let mut contacts = Vec::new();
    for _ in 0..3 {
        let asked = server.expect("POST /subscription").await;
        let (event_type, filter) = match asked.body["resource-id"].as_str().unwrap() {
            "net" => ("NetworkMap", Value::Null),
            "costs" => ("CostMap", Value::Null),
            "some-net" => ("NetworkMapFilter", json!({"pids": ["a"]})),
            other => panic!("{other}"),
        };
        assert_eq!((&asked.body["event-types"], &asked.body["networkfiltermap"]), (&json!([event_type]), &filter));
        contacts.push(answer_subscription(asked, event_type));
    }
    assert_eq!(contacts[0], contacts[1], "one listener");
    let mut caller = Caller::to(contacts[0]).await;
    let tell = |event_type: &str, member: &str, document: Value| json!({"event-types": [event_type], "subscrid": event_type, "substate": "active", member: document});
    let costs = json!({"meta": {"vtag": {"resource-id": "costs", "tag": "c1"}, "dependent-vtags": [{"resource-id": "net", "tag": "n1"}],
        "cost-type": {"cost-mode": "numerical", "cost-metric": "routingcost"}}, "cost-map": {"a": {"a": 1}}});
    assert_eq!(caller.notify(&tell("CostMap", "costmap", costs)).await, 200);
    assert!(!replica.copy(0).unwrap().consistent, "its network map is not here");
    assert_eq!(caller.notify(&tell("NetworkMap", "networkmap", network(1))).await, 200);
    assert_eq!(changed(&mut replica).await.resource.as_str(), "costs");
    let some = json!({"meta": {"vtag": {"resource-id": "net", "tag": "n1"}}, "network-map": {"a": {"ipv4": ["192.0.2.0/24"]}}});
    assert_eq!(caller.notify(&tell("NetworkMapFilter", "networkmap", some)).await, 200);
    let change = changed(&mut replica).await;
    assert_eq!((change.resource.as_str(), change.input.is_some()), ("some-net", true));
}

/// Behind address translation the caller says where it is found.
#[tokio::test]
async fn the_contact_address_can_be_another() {
    let mut server = Live::start(&directory()).await;
    let listen: SocketAddr = "0.0.0.0:0".parse().unwrap();
    for (contact, want) in [(None, "127.0.0.1"), (Some("192.0.2.7:0"), "192.0.2.7"), (Some("[2001:db8::7]:81"), "2001:db8::7")] {
        let notifications = Notifications { listen: Some(listen), contact: contact.map(|text| text.parse().unwrap()) };
        let options = Options { notifications, ..Options::new("net".parse().unwrap()) };
        let _replica = follow_with(server.url(), quick(), options).await;
        let asked = server.expect("POST /subscription").await;
        let contacts = asked.body["contactaddr"].as_object().unwrap();
        let place = &contacts.values().next().unwrap()[0];
        assert_eq!((contacts.len(), &place["addr"]), (1, &want.into()));
        let port = place["port"].as_u64().unwrap() as u16;
        assert_eq!(port == 81, want == "2001:db8::7");
        if port != 81 {
            Caller::to(([127, 0, 0, 1], port).into()).await;
        }
    }
}

/// The end, with the reason: nothing of it gets better by waiting.
#[tokio::test]
async fn refusals() {
    let relay = r#"{"meta":{"code":"E_INVALID_FIELD_VALUE","field":"contactaddr/ipv4/addr","value":"127.0.0.1"}}"#;
    let event = r#"{"meta":{"code":"E_INVALID_FIELD_VALUE","field":"event-types","value":"NetworkMap"}}"#;
    for (status, body, says) in
        [(400, relay, "contactaddr/ipv4/addr"), (403, relay, "contactaddr/ipv4/addr"), (503, event, "event-types"), (200, "{}", "subscrid")]
    {
        let mut server = Live::start(&directory()).await;
        let mut replica = follow(server.url(), quick()).await;
        server.expect("POST /subscription").await.answer(status, if status == 200 { DATA } else { ERROR }, body);
        let error = timeout(PATIENCE, replica.changed()).await.unwrap().unwrap_err();
        assert!(error.to_string().contains(says), "{status}: {error}");
    }
    // A server that is busy is asked again.
    let mut server = Live::start(&directory()).await;
    let mut replica = follow(server.url(), quick()).await;
    server.expect("POST /subscription").await.answer_with(429, ERROR, &[("retry-after", "0")], r#"{"meta":{"code":"E_SYNTAX"}}"#);
    notice(&mut replica, "429").await;
    subscribed(&mut server, "s1", 600).await;
    // There is none.
    let without = directory().replace(SUBSCRIBE, "application/x-other+json");
    let server = Live::start(&without).await;
    let mut replica = follow(server.url(), quick()).await;
    let error = timeout(PATIENCE, replica.changed()).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("no subscription"), "{error}");
}
