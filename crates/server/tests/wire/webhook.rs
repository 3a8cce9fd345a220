//! Subscription and notification (draft-alto-caching-subscription-00 section 8), with subscribers that do what a test tells them.
mod contacts;
mod kept;

use crate::served::{Answer, COST_MAP, NETWORK_MAP, PATIENCE, Served, id, options, put};
use alto::patch;
use history::{Guard, Publisher};
use serde_json::{Value, json};
use server::{Limits, Options};
use std::{
    io::{self, BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener, TcpStream},
    ops::Bound,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, SystemTime},
};
use store::{Store as _, Write};

const SUBSCRIBE: &str = "application/alto-subscribeinput+json";
const DATA: &str = "application/alto-subscriptiondata+json";
const NOTIFICATION: &str = "application/alto-notificationdata+json";

/// A web server that hands every request to its test, which answers it.
struct Subscriber {
    address: SocketAddr,
    requests: Receiver<Notified>,
}

/// A request that waits for its answer.
struct Notified {
    head: Vec<String>,
    body: Value,
    answer: Sender<String>,
}

impl Notified {
    fn answer(&self, status: &str) {
        self.answer.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")).unwrap();
    }

    fn field(&self, name: &str) -> Option<&str> {
        let of_name = |line: &&String| line.to_ascii_lowercase().starts_with(&format!("{name}:"));
        self.head.iter().find(of_name).map(|line| line.split_once(':').unwrap().1.trim())
    }

    fn tag(&self) -> &str {
        self.body["tag"].as_str().unwrap()
    }
}

impl Subscriber {
    fn new() -> Self {
        Self::over(|stream| stream)
    }

    /// One that speaks TLS, and the certificate that says who it is.
    fn secure() -> (Self, String) {
        let key = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let private = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![key.cert.der().clone()], private)
            .unwrap();
        let config = Arc::new(config);
        let accept = move |stream| rustls::StreamOwned::new(rustls::ServerConnection::new(config.clone()).unwrap(), stream);
        (Self::over(accept), key.cert.pem())
    }

    fn over<S: Read + io::Write + Send + 'static>(accept: impl Fn(TcpStream) -> S + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), sender) = (stream, sender.clone()) else { return };
                let stream = accept(stream);
                thread::spawn(move || serve(stream, &sender));
            }
        });
        Self { address, requests }
    }

    /// The next notification, unanswered.
    #[track_caller]
    fn wait(&self) -> Notified {
        self.requests.recv_timeout(PATIENCE).expect("a notification comes")
    }

    /// The next notification, answered with 200.
    #[track_caller]
    fn take(&self) -> Notified {
        let notified = self.wait();
        notified.answer("200 OK");
        notified
    }

    fn contact(&self) -> Value {
        json!({"ipv4": [{"addr": "127.0.0.1", "port": self.address.port()}]})
    }

    fn wish(&self, event_types: &[&str]) -> Value {
        json!({"event-types": event_types, "expires": 3600, "contactaddr": self.contact()})
    }
}

fn serve(stream: impl Read + io::Write, requests: &Sender<Notified>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_owned()),
            }
        }
        let length = head.iter().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap().parse().unwrap();
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let (answer, answers) = channel();
        let body: Value = serde_json::from_slice(&body).unwrap();
        if requests.send(Notified { head, body, answer }).is_err() {
            return;
        }
        // A test that drops the request closes the connection.
        let Ok(answer) = answers.recv() else { return };
        if reader.get_mut().write_all(answer.as_bytes()).and_then(|()| reader.get_mut().flush()).is_err() {
            return;
        }
    }
}

fn serving(limits: Limits) -> Served {
    Served::new(Options { limits, ..options() })
}

/// Retries come at once.
fn impatient() -> Limits {
    let moment = Duration::from_millis(1);
    Limits { notification_retry_min: moment, notification_retry_max: moment, ..Limits::default() }
}

trait Subscribing {
    /// As a client on this machine.
    fn send(&self, path: &str, media_type: &str, body: &[u8]) -> Answer {
        self.send_with(path, &format!("Content-Type: {media_type}\r\n"), body)
    }
    /// The same with these fields.
    fn send_with(&self, path: &str, fields: &str, body: &[u8]) -> Answer;
    fn subscribe(&self, wish: &Value) -> Value;
    fn refused(&self, wish: &Value, status: u16, code: &str) -> Value;
    fn move_prefix(&self, at: u8);
}

impl Subscribing for Served {
    fn send_with(&self, path: &str, fields: &str, body: &[u8]) -> Answer {
        let (mut client, length) = (self.connect(), body.len());
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {length}\r\n\r\n");
        client.write(&[head.as_bytes(), body].concat());
        client.answer()
    }

    #[track_caller]
    fn subscribe(&self, wish: &Value) -> Value {
        let answer = self.send("/subscription", SUBSCRIBE, wish.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        assert_eq!((answer.field("content-type"), answer.field("cache-control")), (DATA, "no-store"));
        answer.json()
    }

    #[track_caller]
    fn refused(&self, wish: &Value, status: u16, code: &str) -> Value {
        self.send("/subscription", SUBSCRIBE, wish.to_string().as_bytes()).error(status, code)
    }

    /// Another network map, and another cost map over it, in one commit.
    fn move_prefix(&self, at: u8) {
        let mut map: Value = serde_json::from_slice(NETWORK_MAP).unwrap();
        map["network-map"]["PID1"]["ipv4"] = json!(["192.0.2.0/24", format!("198.51.100.{at}/32")]);
        let mut costs: Value = serde_json::from_slice(COST_MAP).unwrap();
        costs["cost-map"]["PID1"]["PID2"] = json!(at);
        let changes = vec![put("my-default-network-map", map.to_string().as_bytes()), put("cost-map", costs.to_string().as_bytes())];
        self.publisher.apply(changes, SystemTime::now(), true).unwrap();
    }
}

/// Section 8.7: subscribe to a filtered network map, be notified at once, be notified of a change, refresh, unsubscribe.
#[test]
fn the_example_of_the_draft() {
    let (served, subscriber) = (serving(Limits::default()), Subscriber::new());
    let filter = json!({"pids": ["PID1", "PID2"]});
    let mut wish = subscriber.wish(&["NetworkMapFilter"]);
    wish["networkfiltermap"] = filter.clone();
    let subscribed = served.subscribe(&wish);
    let subscrid = subscribed["subscrid"].as_str().unwrap();
    assert_eq!(subscribed, json!({"subscrid": subscrid, "expires": 3600, "event-types": ["NetworkMapFilter"]}));
    assert!(subscrid.len() == 32 && subscrid.bytes().all(|byte| byte.is_ascii_hexdigit()));

    let first = subscriber.take();
    assert_eq!(first.head[0], "POST /notification HTTP/1.1");
    assert_eq!(first.field("content-type"), Some(NOTIFICATION));
    assert_eq!(first.field("host"), Some(subscriber.address.to_string()).as_deref());
    let directory = served.get("/directory").json();
    let uri =
        directory["resources"].as_object().unwrap().values().find(|entry| entry["accepts"] == "application/alto-networkmapfilter+json");
    let path = uri.unwrap()["uri"].as_str().unwrap().replace("http://alto.example.com", "");
    let now = |served: &Served| served.send(&path, "application/alto-networkmapfilter+json", filter.to_string().as_bytes()).json();
    let active = |notified: &Notified| {
        let body = &notified.body;
        assert_eq!((&body["event-types"], &body["subscrid"]), (&json!(["NetworkMapFilter"]), &json!(subscrid)));
        assert_eq!(body["substate"], "active");
        assert!((3590..=3600).contains(&body["expires"].as_u64().unwrap()), "{body}");
    };
    active(&first);
    assert_eq!(first.body["networkmap"], now(&served));

    served.move_prefix(7);
    let second = subscriber.take();
    active(&second);
    assert_eq!(second.body["networkmap"], now(&served));
    assert_eq!((second.body["seq"].as_u64(), first.body["seq"].as_u64()), (Some(2), Some(1)));
    assert_ne!(first.tag(), second.tag());

    // A refresh, at either URI; the draft's example has the second.
    let refresh = json!({"subscrid": subscrid, "event-types": ["NetworkMapFilter"], "expires": 60});
    assert_eq!(served.subscribe(&refresh)["expires"], 60);
    let again = served.send(
        "/unsubscribe",
        DATA,
        json!({"subscrid": subscrid, "expires": 90, "event-types": ["NetworkMapFilter"]}).to_string().as_bytes(),
    );
    assert_eq!((again.status, &again.json()["expires"]), (200, &json!(90)));
    // As long as before, if it does not say how long.
    assert_eq!(served.subscribe(&json!({"subscrid": subscrid, "event-types": ["NetworkMapFilter"]}))["expires"], 90);
    served.refused(&json!({"subscrid": subscrid, "event-types": ["NetworkMap"]}), 400, "E_INVALID_FIELD_VALUE");

    let ended = served.send(
        "/unsubscribe",
        DATA,
        json!({"subscrid": subscrid, "expires": 0, "event-types": ["NetworkMapFilter"]}).to_string().as_bytes(),
    );
    assert_eq!((ended.status, &ended.json()["expires"]), (200, &json!(0)));
    let last = subscriber.take();
    assert_eq!(
        last.body,
        json!({"event-types": ["NetworkMapFilter"], "subscrid": subscrid, "substate": "terminated", "reason": "unsubscribed"})
    );
    served.refused(&refresh, 404, "E_SYNTAX");
    served.send("/unsubscribe", DATA, json!({"subscrid": subscrid}).to_string().as_bytes()).error(404, "E_SYNTAX");
    served.stopped();
}

/// Section 8.7: the heads of its refresh and its unsubscription, which have an answer without a body. What is wrong with another head is said.
#[test]
fn the_heads_of_the_draft() {
    let (served, subscriber) = (serving(Limits::default()), Subscriber::new());
    let wish = subscriber.wish(&["NetworkMap"]).to_string();
    let subscribe = format!("Accept: {DATA}, application/alto-error+json\r\nContent-Type: {SUBSCRIBE}\r\n");
    let subscribed = served.send_with("/subscription", &subscribe, wish.as_bytes());
    assert_eq!(subscribed.status, 200);
    let subscrid = subscribed.json()["subscrid"].clone();
    subscriber.take();
    let unsubscribe = format!("Accept: application/alto-error+json\r\nContent-Type: {DATA}\r\n");
    for expires in [1800, 0] {
        let body = json!({"subscrid": subscrid, "expires": expires, "event-types": ["NetworkMap"]});
        let answer = served.send_with("/unsubscribe", &unsubscribe, body.to_string().as_bytes());
        assert_eq!((answer.status, answer.body.len(), answer.find("content-type")), (200, 0, None), "{expires}");
        assert_eq!(answer.field("cache-control"), "no-store");
    }
    assert_eq!(subscriber.take().body["reason"], "unsubscribed");
    served.send_with("/unsubscribe", &unsubscribe, json!({"subscrid": subscrid}).to_string().as_bytes()).error(404, "E_SYNTAX");

    for (path, fields, status, says) in [
        ("/subscription", format!("Content-Type: {SUBSCRIBE}\r\nAccept: text/html\r\n"), 406, DATA),
        ("/subscription", format!("Content-Type: {DATA}\r\nAccept: text/html\r\n"), 406, DATA),
        ("/subscription", "Content-Type: application/json\r\n".into(), 415, SUBSCRIBE),
        ("/unsubscribe", "Content-Type: application/json\r\n".into(), 415, DATA),
        ("/unsubscribe", format!("Content-Type: {DATA}\r\nContent-Encoding: gzip\r\n"), 415, "content coding"),
        ("/notification", "Content-Type: application/json\r\n".into(), 415, NOTIFICATION),
    ] {
        let error = served.send_with(path, &fields, wish.as_bytes()).error(status, "E_SYNTAX");
        assert!(error["meta"]["syntax-error"].as_str().unwrap().contains(says), "{path} {fields:?}: {error}");
    }
    served.stopped();
}

/// RFC 7285 section 8.5.2: a field at fault is named by its full path, also inside of a filter.
#[test]
fn what_is_wrong_with_a_filter_is_named() {
    let (served, subscriber) = (serving(Limits::default()), Subscriber::new());
    let cost_type = json!({"cost-mode": "numerical", "cost-metric": "routingcost"});
    for (event_type, member, filter, code, field) in [
        ("NetworkMapFilter", "networkfiltermap", json!({}), "E_MISSING_FIELD", "pids"),
        ("CostMapFilter", "costfiltermap", json!({}), "E_MISSING_FIELD", "cost-type"),
        (
            "CostMapFilter",
            "costfiltermap",
            json!({"cost-type": {"cost-mode": "numerical", "cost-metric": "x"}}),
            "E_INVALID_FIELD_VALUE",
            "cost-type/cost-metric",
        ),
        ("endpointprop", "endpointprop", json!({"properties": ["my-default-network-map.pid"]}), "E_MISSING_FIELD", "endpoints"),
        (
            "endpointcost",
            "endpointcostmap",
            json!({"cost-type": cost_type, "endpoints": {"srcs": ["192.0.2.1"]}}),
            "E_INVALID_FIELD_VALUE",
            "endpoints/srcs",
        ),
    ] {
        let mut wish = subscriber.wish(&[event_type]);
        wish[member] = filter;
        assert_eq!(served.refused(&wish, 400, code)["meta"]["field"], format!("{member}/{field}"));
    }
    served.stopped();
}

/// Section 8.1.1: each of the six is told what its service answers.
#[test]
fn every_event_type() {
    let (served, subscriber) = (serving(Limits::default()), Subscriber::new());
    let directory = served.get("/directory").json();
    let path = |accepts: &str| {
        let entry = directory["resources"].as_object().unwrap().values().find(|entry| entry["accepts"] == accepts).unwrap();
        entry["uri"].as_str().unwrap().replace("http://alto.example.com", "")
    };
    let cost_type = json!({"cost-mode": "numerical", "cost-metric": "routingcost"});
    for (event_type, member, content, filter) in [
        ("NetworkMap", "", "networkmap", Value::Null),
        ("CostMap", "", "costmap", Value::Null),
        ("NetworkMapFilter", "networkfiltermap", "networkmap", json!({"pids": ["PID3"]})),
        ("CostMapFilter", "costfiltermap", "costmap", json!({"cost-type": cost_type, "pids": {"srcs": ["PID1"], "dsts": ["PID2"]}})),
        (
            "endpointprop",
            "endpointprop",
            "endpointprop",
            json!({"properties": ["my-default-network-map.pid"], "endpoints": ["ipv4:192.0.2.34"]}),
        ),
        (
            "endpointcost",
            "endpointcostmap",
            "endpointcostmap",
            json!({"cost-type": cost_type, "endpoints": {"srcs": ["ipv4:192.0.2.2"], "dsts": ["ipv4:198.51.100.34"]}}),
        ),
    ] {
        let accepts = match event_type {
            "NetworkMapFilter" => "application/alto-networkmapfilter+json",
            "CostMapFilter" => "application/alto-costmapfilter+json",
            "endpointprop" => "application/alto-endpointpropparams+json",
            _ => "application/alto-endpointcostparams+json",
        };
        let want = match event_type {
            "NetworkMap" => served.get("/resources/my-default-network-map").json(),
            "CostMap" => served.get("/resources/cost-map").json(),
            _ => served.send(&path(accepts), accepts, filter.to_string().as_bytes()).json(),
        };
        let mut wish = subscriber.wish(&[event_type]);
        if !member.is_empty() {
            wish[member] = filter;
        }
        served.subscribe(&wish);
        let told = subscriber.take();
        assert_eq!((&told.body["event-types"], &told.body[content]), (&json!([event_type]), &want));
    }
    served.stopped();
}

/// What a cost map depends on is told before it, also when both change at once; a resource id chooses the map.
#[test]
fn dependencies_first() {
    let (served, subscriber) = (serving(Limits::default()), Subscriber::new());
    let mut wish = subscriber.wish(&["CostMap", "NetworkMap"]);
    wish["resource-id"] = json!("cost-map");
    assert_eq!(served.subscribe(&wish)["event-types"], json!(["CostMap", "NetworkMap"]));
    for at in 0..20 {
        let (network, costs) = (subscriber.take(), subscriber.take());
        assert_eq!((&network.body["event-types"], &costs.body["event-types"]), (&json!(["NetworkMap"]), &json!(["CostMap"])));
        let vtag = &network.body["networkmap"]["meta"]["vtag"];
        assert_eq!(costs.body["costmap"]["meta"]["dependent-vtags"], json!([vtag]));
        served.move_prefix(at);
    }
    let mut wish = subscriber.wish(&["NetworkMap"]);
    wish["resource-id"] = json!("nothing");
    assert_eq!(served.refused(&wish, 400, "E_INVALID_FIELD_VALUE")["meta"]["field"], "resource-id");
    served.stopped();
}

/// After the first, patches; each leads from what was acknowledged to what is there.
#[test]
fn incremental_notifications() {
    let (served, subscriber) = (serving(impatient()), Subscriber::new());
    let mut wish = subscriber.wish(&["CostMap"]);
    wish["incremental"] = json!(true);
    served.subscribe(&wish);
    let first = subscriber.take();
    let mut copy = first.body["costmap"].to_string().into_bytes();
    let mut seq = first.body["seq"].as_u64().unwrap();
    for at in 0..10 {
        served.move_prefix(at);
        let mut told = subscriber.wait();
        if at == 5 {
            // Nobody knows whether it was taken: the next is a full copy, of the same version.
            told.answer("500 Internal Server Error");
            told = subscriber.wait();
            assert_eq!(told.body.get("patch"), None);
            copy = told.body["costmap"].to_string().into_bytes();
        } else {
            let patch = &told.body["patch"];
            assert_eq!((patch["media-type"].as_str(), told.body["since"].as_u64()), (Some("application/merge-patch+json"), Some(seq)));
            copy = patch::apply(patch::Kind::Merge, &copy, patch["data"].to_string().as_bytes(), &alto::Limits::default()).unwrap();
        }
        told.answer("200 OK");
        seq = told.body["seq"].as_u64().unwrap();
        let copy: Value = serde_json::from_slice(&copy).unwrap();
        assert_eq!(copy, served.get("/resources/cost-map").json(), "{at}");
        assert_eq!(copy["meta"]["vtag"]["tag"], told.tag());
    }
    served.stopped();
}

/// While one notification waits for its answer there is no second; then comes the newest, and nothing of what was between.
#[test]
fn a_slow_subscriber_is_told_the_newest() {
    let (served, subscriber) = (serving(Limits::default()), Subscriber::new());
    served.subscribe(&subscriber.wish(&["NetworkMap"]));
    let first = subscriber.wait();
    (1..=9).for_each(|at| served.move_prefix(at));
    first.answer("204 No Content");
    let second = subscriber.wait();
    assert_eq!((first.body["seq"].as_u64(), second.body["seq"].as_u64()), (Some(1), Some(10)));
    assert_eq!(second.body["networkmap"], served.get("/resources/my-default-network-map").json());
    second.answer("200 OK");
    served.stopped();
}

/// What fails is tried again until it is taken, whatever was wrong; a redirect is a failure like others.
#[test]
fn failures_are_tried_again() {
    let (served, subscriber, elsewhere) = (serving(impatient()), Subscriber::new(), Subscriber::new());
    served.subscribe(&subscriber.wish(&["NetworkMap"]));
    for status in [
        "500 Internal Server Error",
        "503 Service Unavailable",
        "400 Bad Request",
        "302 Found",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let told = subscriber.wait();
        let location = format!("http://{}/notification", elsewhere.address);
        told.answer.send(format!("HTTP/1.1 {status}\r\nLocation: {location}\r\nContent-Length: 2\r\n\r\nno")).unwrap();
    }
    // No HTTP, and no answer at all.
    subscriber.wait().answer.send("SSH-2.0-OpenSSH_9.6\r\n".into()).unwrap();
    drop(subscriber.wait());
    // A body in chunks.
    let told = subscriber.wait();
    told.answer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".into()).unwrap();
    assert_eq!(told.body["seq"], 1);
    served.move_prefix(1);
    assert_eq!(subscriber.take().body["seq"], 2);
    assert!(elsewhere.requests.try_recv().is_err(), "nothing went where the redirects lead");
    served.stopped();
}

/// The status is the answer: what follows it may be late, wrong or endless, and only costs the connection.
#[test]
fn the_status_acknowledges() {
    let limits = Limits { notification_patience: Duration::from_millis(100), ..impatient() };
    let (served, subscriber) = (serving(limits), Subscriber::new());
    let mut wish = subscriber.wish(&["NetworkMap"]);
    wish["incremental"] = json!(true);
    served.subscribe(&wish);
    let rests = ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n5\r\nabc", "Transfer-Encoding: chunked\r\n\r\nx"];
    for (at, rest) in (1..).zip(rests) {
        let told = subscriber.wait();
        let since = (at > 1).then_some(json!(at - 1));
        assert_eq!((&told.body["seq"], told.body.get("since")), (&json!(at), since.as_ref()), "the one before was acknowledged");
        told.answer.send(format!("HTTP/1.1 200 OK\r\n{rest}")).unwrap();
        served.move_prefix(at);
    }
    assert_eq!(subscriber.take().body["since"], rests.len());
    served.stopped();
}

/// Section 8.5: who does not know the subscription says 404, and it is over.
#[test]
fn a_subscriber_that_does_not_know_it_ends_it() {
    let (served, subscriber) = (serving(impatient()), Subscriber::new());
    let subscribed = served.subscribe(&subscriber.wish(&["NetworkMap"]));
    // The answer with its name may come after the first notification.
    subscriber.wait().answer("404 Not Found");
    subscriber.take();
    served.move_prefix(1);
    subscriber.wait().answer("404 Not Found");
    let is_gone = |subscribed: &Value| {
        let refresh = json!({"subscrid": subscribed["subscrid"], "event-types": ["NetworkMap"]});
        while served.send("/subscription", SUBSCRIBE, refresh.to_string().as_bytes()).status != 404 {
            thread::yield_now();
        }
    };
    is_gone(&subscribed);
    // Nor does who never knew it.
    let subscribed = served.subscribe(&subscriber.wish(&["NetworkMap"]));
    subscriber.wait().answer("404 Not Found");
    subscriber.wait().answer("410 Gone");
    is_gone(&subscribed);
    assert!(subscriber.requests.try_recv().is_err(), "no more than twice");
    served.stopped();
}

#[test]
fn withdrawn_and_expired() {
    let (served, subscriber) = (serving(Limits { subscription_time_max: Duration::from_secs(1), ..impatient() }), Subscriber::new());
    assert_eq!(served.subscribe(&subscriber.wish(&["NetworkMap"]))["expires"], 1, "it is told how long it really lives");
    subscriber.take();
    let last = subscriber.take();
    assert_eq!((&last.body["substate"], &last.body["reason"]), (&json!("terminated"), &json!("expired")));
    let served = {
        served.stopped();
        serving(impatient())
    };
    served.subscribe(&subscriber.wish(&["CostMap"]));
    subscriber.take();
    served.publisher.apply(vec![history::Change::Withdraw { id: id("cost-map") }], SystemTime::now(), true).unwrap();
    let last = subscriber.take();
    assert_eq!((&last.body["substate"], &last.body["reason"]), (&json!("terminated"), &json!("the resource was withdrawn")));
    served.stopped();
}

/// Nobody waits for those that do not answer: not for those that fail, not for those that hang.
#[test]
fn failing_and_hanging_subscribers_delay_nobody() {
    let limits = Limits { slow_notifications_at_once: 4, contact_connections_max: 2, ..Limits::default() };
    let served = serving(limits);
    let count = 10;
    let good: Vec<Subscriber> = (0..count).map(|_| Subscriber::new()).collect();
    let bad: Vec<Subscriber> = (0..count).map(|_| Subscriber::new()).collect();
    // One address where nobody listens.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut nowhere = good[0].wish(&["NetworkMap"]);
    nowhere["contactaddr"] = json!({"ipv4": [{"addr": "127.0.0.1", "port": closed.port()}]});
    for (good, bad) in good.iter().zip(&bad) {
        for _ in 0..3 {
            served.subscribe(&bad.wish(&["NetworkMap"]));
        }
        served.subscribe(&good.wish(&["NetworkMap"]));
        served.subscribe(&nowhere);
    }
    // Those of the bad ones are never answered.
    let mut held: Vec<Notified> = Vec::new();
    for at in 0..5 {
        for good in &good {
            assert_eq!(good.take().body["seq"], 1 + u64::from(at));
        }
        for (at, bad) in bad.iter().enumerate() {
            while let Ok(notified) = bad.requests.try_recv() {
                if at % 2 == 0 { notified.answer("500 Internal Server Error") } else { held.push(notified) }
            }
        }
        served.move_prefix(at);
    }
    drop(held);
    served.stopped();
}

/// Section 8.5, for this server's own notification URI: it has subscribed to nothing.
#[test]
fn nobody_notifies_this_server() {
    let served = serving(Limits::default());
    let body = json!({"event-types": ["NetworkMap"], "subscrid": "x", "substate": "active"}).to_string();
    assert_eq!(
        served.send("/notification", NOTIFICATION, body.as_bytes()).error(404, "E_INVALID_FIELD_VALUE")["meta"]["field"],
        "subscrid"
    );
    served.send("/notification", NOTIFICATION, b"{}").error(400, "E_MISSING_FIELD");
    served.send("/notification", "application/json", body.as_bytes()).error(415, "E_SYNTAX");
    served.send("/subscription", "alto-subscribeinput+json", b"{}").error(415, "E_SYNTAX");
    served.send("/subscription", SUBSCRIBE, b"{").error(400, "E_SYNTAX");
    served.send("/subscription", SUBSCRIBE, br#"{"event-types":["Weather"]}"#).error(503, "E_INVALID_FIELD_VALUE");
    served.stopped();
}
