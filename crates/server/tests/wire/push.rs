//! ALTO/H2: transport queues and server push, over a client of the `h2` crate for what is said and one that writes frames for how.
mod hazards;

use crate::{
    http2::{body, connect, run},
    raw::{
        ACK, CANCEL, DATA, ENABLE_PUSH, END_HEADERS, END_STREAM, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, NOT_FOUND,
        OK, PING, PUSH_PROMISE, Pushed, RST_STREAM, Raw, frame, request,
    },
    served::{COST_FILTER, Served, id, options, publisher, publisher_within, put},
};
use alto::media_type;
use bytes::Bytes;
use h2::{
    RecvStream,
    client::{Builder, PushPromises, SendRequest},
};
use history::Publisher;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use server::{Limits, NoSources, Options};
use std::{
    future::poll_fn,
    sync::{
        Arc, Once,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

/// The cost map of RFC 7285 section 11.2.3.7, with one other cost.
fn cost_map(cost: u64) -> Vec<u8> {
    let mut map: Value = serde_json::from_slice(crate::served::COST_MAP).unwrap();
    map["cost-map"]["PID1"]["PID2"] = json!(cost);
    map.to_string().into_bytes()
}

fn commit(publisher: &Publisher, cost: u64) {
    publisher.apply(vec![put("cost-map", &cost_map(cost))], SystemTime::now(), true).unwrap();
}

fn tag(publisher: &Publisher) -> String {
    publisher.current().versions[&id("cost-map")].tag.to_string()
}

const WISH: &str = r#"{"resource-id":"cost-map"}"#;

/// Panics in threads of the server, which must not be.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name().is_some_and(|name| name.starts_with("public-")) {
                PANICS.fetch_add(1, Relaxed);
            }
            before(info);
        }));
    });
}

/// Applies a pushed update to what the client has.
fn apply(have: &mut Value, media_type: &str, body: &[u8]) {
    let body: Value = serde_json::from_slice(body).unwrap();
    match media_type {
        media_type::COST_MAP => *have = body,
        media_type::MERGE_PATCH => merge(have, &body),
        other => panic!("not asked for: {other}"),
    }
}

/// RFC 7396 section 2.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

struct Queue {
    uri: String,
    pushes: PushPromises,
    _stream: RecvStream,
}

struct Update {
    path: String,
    accept: String,
    media_type: String,
    etag: String,
    body: Vec<u8>,
}

impl Queue {
    async fn make(send: &mut SendRequest<Bytes>, wish: &str) -> Self {
        let request = Request::post("http://alto.example.com/tqs").header("content-type", media_type::UPDATE_STREAM_PARAMS);
        let (mut response, mut stream) = send.send_request(request.body(()).unwrap(), false).unwrap();
        let pushes = response.push_promises();
        // Neither its length nor its end is told: the value is complete.
        for piece in wish.as_bytes().chunks(7) {
            stream.send_data(Bytes::copy_from_slice(piece), false).unwrap();
        }
        let (parts, mut stream) = response.await.unwrap().into_parts();
        assert_eq!((parts.status, &parts.headers["content-type"]), (StatusCode::OK, &media_type::TRANSPORT.parse().unwrap()));
        let mut body = Vec::new();
        let body = loop {
            let chunk = stream.data().await.unwrap().unwrap();
            stream.flow_control().release_capacity(chunk.len()).unwrap();
            body.extend_from_slice(&chunk);
            if let Ok(body) = serde_json::from_slice::<Value>(&body) {
                break body;
            }
        };
        assert!(!stream.is_end_stream());
        Self { uri: body["tq"].as_str().unwrap().to_owned(), pushes, _stream: stream }
    }

    async fn next(&mut self) -> Option<Update> {
        let (request, response) = self.pushes.push_promise().await?.unwrap().into_parts();
        let (parts, mut stream) = response.await.unwrap().into_parts();
        assert_eq!(parts.status, StatusCode::OK);
        let field = |name: &str| parts.headers[name].to_str().unwrap().to_owned();
        let body = body(&mut stream).await.unwrap();
        assert_eq!(field("content-length"), body.len().to_string());
        assert_eq!((request.method().as_str(), request.uri().authority().unwrap().as_str()), ("GET", "alto.example.com"));
        Some(Update {
            path: request.uri().path().to_owned(),
            accept: request.headers()["accept"].to_str().unwrap().to_owned(),
            media_type: field("content-type"),
            etag: field("etag"),
            body,
        })
    }
}

async fn call(send: &mut SendRequest<Bytes>, method: &str, path: &str) -> (u16, Value) {
    *send = send.clone().ready().await.unwrap();
    let request = Request::builder().method(method).uri(format!("http://alto.example.com{path}")).body(()).unwrap();
    let (parts, mut stream) = send.send_request(request, true).unwrap().0.await.unwrap().into_parts();
    let body = body(&mut stream).await.unwrap();
    (parts.status.as_u16(), serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// Sections 4 to 7 of the draft: made, read, pushed to, stopped, started, closed.
#[test]
fn life_of_a_queue() {
    let served = Served::new(options());
    run(async {
        let (mut send, _connection) = connect(served.public, Builder::new().enable_push(true)).await;
        let mut queue = Queue::make(&mut send, WISH).await;
        let uri = queue.uri.clone();
        let mut have = Value::Null;

        let first = queue.next().await.unwrap();
        assert_eq!((&*first.path, &*first.media_type), (&*format!("{uri}/uq/1"), media_type::COST_MAP));
        // Draft section 6.2, as the promises of its examples have it.
        let accept = |media_type: &str| format!("{},{media_type}", media_type::ERROR);
        assert_eq!((first.accept, first.etag), (accept(media_type::COST_MAP), format!("\"{}\"", tag(&served.publisher))));
        apply(&mut have, &first.media_type, &first.body);
        for cost in 2..=5 {
            commit(&served.publisher, cost * 1000);
            let update = queue.next().await.unwrap();
            assert_eq!((&*update.path, &*update.media_type), (&*format!("{uri}/uq/{cost}"), media_type::MERGE_PATCH));
            assert_eq!((update.accept, update.etag), (accept(media_type::MERGE_PATCH), format!("W/\"{}\"", tag(&served.publisher))));
            apply(&mut have, &update.media_type, &update.body);
            assert_eq!(have, serde_json::from_slice::<Value>(&served.get("/resources/cost-map").body).unwrap());
        }

        let (status, all) = call(&mut send, "GET", &uri).await;
        assert_eq!((status, &all["rs"]), (200, &json!(["self"])));
        let (status, list) = call(&mut send, "GET", &format!("{uri}/uq")).await;
        assert_eq!((status, &list), (200, &all["uq"]));
        let seqs: Vec<_> = list.as_array().unwrap().iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
        assert_eq!(*seqs.last().unwrap(), 5);
        let newest = &list[seqs.len() - 1];
        assert_eq!(newest["tag"], tag(&served.publisher));
        // Every listed update is there, of the listed type, and together they make the map.
        let mut pulled = Value::Null;
        for entry in list.as_array().unwrap() {
            let (status, body) = call(&mut send, "GET", &format!("{uri}/uq/{}", entry["seq"])).await;
            assert_eq!(status, 200);
            apply(&mut pulled, entry["media-type"].as_str().unwrap(), body.to_string().as_bytes());
        }
        assert_eq!(pulled, have);
        if let Some(link) = newest["link"].as_str() {
            assert_eq!(call(&mut send, "GET", link).await, (200, have.clone()));
        }

        assert_eq!(call(&mut send, "GET", &format!("{uri}/rs/self")).await.0, 200);
        assert_eq!(call(&mut send, "DELETE", &format!("{uri}/rs/self")).await.0, 200);
        assert_eq!(call(&mut send, "GET", &format!("{uri}/rs")).await, (200, json!([])));
        assert_eq!(call(&mut send, "GET", &format!("{uri}/rs/self")).await.0, 404);
        commit(&served.publisher, 6000);
        commit(&served.publisher, 7000);
        assert_eq!(call(&mut send, "PUT", &format!("{uri}/rs/self")).await.0, 200);
        // It goes on where it was.
        for seq in 6..=7 {
            let update = queue.next().await.unwrap();
            assert_eq!(update.path, format!("{uri}/uq/{seq}"));
            apply(&mut have, &update.media_type, &update.body);
        }
        assert_eq!(have["cost-map"]["PID1"]["PID2"], 7000);

        assert_eq!(call(&mut send, "DELETE", &uri).await.0, 200);
        assert!(queue.next().await.is_none());
        assert_eq!(call(&mut send, "GET", &uri).await.0, 404);
    });
}

/// Draft section 6.1: the first push is the one after the entry with the client's tag, or the newest full copy.
#[test]
fn starts_after_the_tag() {
    let served = Served::new(options());
    let old = tag(&served.publisher);
    commit(&served.publisher, 2000);
    commit(&served.publisher, 3000);
    let newest = tag(&served.publisher);
    run(async {
        let (mut send, _connection) = connect(served.public, Builder::new().enable_push(true)).await;
        let wish = |tag: &str| json!({"resource-id": "cost-map", "tag": tag}).to_string();
        let mut from_old = Queue::make(&mut send, &wish(&old)).await;
        for seq in 2..=3 {
            let update = from_old.next().await.unwrap();
            assert_eq!((update.path, &*update.media_type), (format!("{}/uq/{seq}", from_old.uri), media_type::MERGE_PATCH));
        }
        let mut from_unknown = Queue::make(&mut send, &wish("0000")).await;
        let update = from_unknown.next().await.unwrap();
        assert_eq!((update.path, &*update.media_type), (format!("{}/uq/3", from_unknown.uri), media_type::COST_MAP));
        let mut from_newest = Queue::make(&mut send, &wish(&newest)).await;
        assert_eq!(call(&mut send, "GET", &format!("{}/uq", from_newest.uri)).await, (200, json!([])));
        commit(&served.publisher, 4000);
        let update = from_newest.next().await.unwrap();
        assert_eq!((update.path, &*update.media_type), (format!("{}/uq/4", from_newest.uri), media_type::MERGE_PATCH));
        // `incremental-changes` false: nothing is pushed until it is asked for.
        let mut pull = Queue::make(&mut send, r#"{"resource-id":"cost-map","incremental-changes":false}"#).await;
        assert_eq!(call(&mut send, "GET", &format!("{}/rs", pull.uri)).await, (200, json!([])));
        assert_eq!(call(&mut send, "PUT", &format!("{}/rs/self", pull.uri)).await.0, 200);
        assert_eq!(pull.next().await.unwrap().path, format!("{}/uq/4", pull.uri));
    });
}

/// "First push: the later of the last independent update (snapshot) and the entry after the one matching the client's `tag`. Then every following
/// entry, in order, once": also when others came before the first could be pushed, as long as it is kept.
#[test]
fn the_first_push_is_the_first_entry() {
    let get = |raw: &mut Raw, stream, path: String| {
        raw.ask(stream, "GET", &path);
        raw.answer(stream, None).1
    };
    let entries = |list: &[u8]| {
        let list: Vec<Value> = serde_json::from_slice(list).unwrap();
        list.iter().map(|entry| (entry["seq"].as_u64().unwrap(), entry["media-type"].as_str().unwrap().to_owned())).collect::<Vec<_>>()
    };
    let kept = [(1, media_type::COST_MAP), (2, media_type::MERGE_PATCH), (3, media_type::MERGE_PATCH)];
    // Behind what is retained there is the newest full copy.
    for (versions_max, want) in [(256, &kept[..]), (2, &[(3, media_type::COST_MAP)])] {
        let limits = history::Limits { versions_max, snapshots_recent: 0, ..history::Limits::default() };
        let served = Served::with(options(), publisher_within(limits), Arc::new(NoSources));
        let mut raw = Raw::open(served.public, &[(MAX_CONCURRENT_STREAMS, 0)]);
        raw.make_queue(1, WISH, false);
        let uri = raw.queue(1);
        commit(&served.publisher, 2000);
        commit(&served.publisher, 3000);
        let listed = get(&mut raw, 3, format!("{uri}/uq"));
        raw.set(&[(MAX_CONCURRENT_STREAMS, 5)]);
        let pushed: Vec<_> = want.iter().map(|_| String::from_utf8(raw.push(1).1)).collect();
        for (stream, (pushed, (seq, _))) in (5..).step_by(2).zip(pushed.into_iter().zip(want)) {
            assert_eq!(pushed, String::from_utf8(get(&mut raw, stream, format!("{uri}/uq/{seq}"))));
        }
        let after = get(&mut raw, 31, format!("{uri}/uq"));
        raw.settled();
        assert_eq!((raw.pushed.len(), entries(&after)), (want.len(), want.iter().map(|(seq, kind)| (*seq, (*kind).to_owned())).collect()));
        if versions_max > 2 {
            assert_eq!(entries(&after), entries(&listed), "what was listed was pushed");
        }
    }
}

/// One queue for each canonical input of a POST-mode resource, with the resource's own errors.
#[test]
fn inputs_of_post_mode_resources() {
    let served = Served::new(options());
    run(async {
        let (mut send, _connection) = connect(served.public, Builder::new().enable_push(true)).await;
        let input: Value = serde_json::from_slice(COST_FILTER).unwrap();
        let wish = json!({"resource-id": "filtered-cost-map", "input": input}).to_string();
        let mut queue = Queue::make(&mut send, &wish).await;
        let first = queue.next().await.unwrap();
        assert_eq!(first.media_type, media_type::COST_MAP);
        let over_post = served.post("/resources/filtered-cost-map", media_type::COST_MAP_FILTER, COST_FILTER);
        assert_eq!(serde_json::from_slice::<Value>(&first.body).unwrap(), over_post.json());
    });
}

/// Everything that can be wrong with a request.
#[test]
fn refusals() {
    let served = Served::new(Options { limits: Limits { connection_queues_max: 2, ..Limits::default() }, ..options() });
    assert_eq!(served.post("/tqs", media_type::TRANSPORT, WISH.as_bytes()).error(505, "E_SYNTAX")["meta"]["code"], "E_SYNTAX");
    run(async {
        let (mut send, _connection) = connect(served.public, Builder::new().enable_push(true)).await;
        let (mut other, _connection) = connect(served.public, Builder::new().enable_push(true)).await;
        let first = Queue::make(&mut send, WISH).await;
        let foreign = Queue::make(&mut other, WISH).await;
        let uri = first.uri.as_str();
        // "A queue id is only valid on the HTTP/2 connection that created it; elsewhere it is `404`": over other protocols too.
        for path in [uri.to_owned(), format!("{uri}/uq"), format!("{uri}/rs/self")] {
            served.get(&path).error(404, "E_SYNTAX");
        }
        assert_eq!(served.get("/tqs").field("allow"), "POST, OPTIONS");
        for (method, path, status) in [
            ("GET", "/tqs".to_owned(), 405),
            ("DELETE", "/tqs".to_owned(), 405),
            ("GET", "/tqs/".to_owned(), 404),
            ("GET", format!("{uri}0000000000"), 404),
            ("GET", format!("{uri}/"), 404),
            ("GET", "/tqs/01".to_owned(), 404),
            ("GET", foreign.uri.clone(), 404),
            ("GET", format!("{}/uq", foreign.uri), 404),
            ("DELETE", foreign.uri.clone(), 404),
            ("PUT", format!("{}/rs/self", foreign.uri), 404),
            ("POST", format!("{uri}/uq"), 405),
            ("PUT", format!("{uri}/uq"), 405),
            ("DELETE", format!("{uri}/uq"), 405),
            ("PUT", format!("{uri}/uq/1"), 405),
            ("DELETE", format!("{uri}/uq/1"), 405),
            ("POST", uri.to_owned(), 405),
            ("PUT", uri.to_owned(), 405),
            ("POST", format!("{uri}/rs/self"), 405),
            ("DELETE", format!("{uri}/rs"), 405),
            ("PUT", format!("{uri}/rs/other"), 404),
            ("GET", format!("{uri}/uq/0"), 404),
            ("GET", format!("{uri}/uq/2"), 404),
            ("GET", format!("{uri}/uq/01"), 404),
            ("GET", format!("{uri}/uq/+1"), 404),
            ("GET", format!("{uri}/uq/-1"), 404),
            ("GET", format!("{uri}/uq/1.0"), 404),
            ("GET", format!("{uri}/uq/x"), 404),
            ("GET", format!("{uri}/uq/9007199254740992"), 404),
            ("GET", format!("{uri}/uq/99999999999999999999999"), 404),
            ("GET", format!("{uri}/snapshot/2"), 404),
            ("GET", format!("{uri}/snapshot/x"), 404),
            ("GET", format!("{uri}/nothing"), 404),
        ] {
            let (got, body) = call(&mut send, method, &path).await;
            assert_eq!((got, &body["meta"]["code"]), (status, &json!("E_SYNTAX")), "{method} {path}: {body}");
        }
        let post = async |send: &mut SendRequest<Bytes>, media_type: &str, accept: &str, wish: &str| {
            let request = Request::post("http://a/tqs").header("content-type", media_type).header("accept", accept).body(()).unwrap();
            let (response, mut stream) = send.send_request(request, false).unwrap();
            stream.send_data(Bytes::copy_from_slice(wish.as_bytes()), true).unwrap();
            let (parts, mut stream) = response.await.unwrap().into_parts();
            let body: Value = serde_json::from_slice(&body(&mut stream).await.unwrap()).unwrap();
            (parts.status.as_u16(), body["meta"].clone(), parts.headers.get("retry-after").cloned())
        };
        for (media_type, accept, wish, status, code, field) in [
            ("application/json", "*/*", WISH, 415, "E_SYNTAX", Value::Null),
            (media_type::TRANSPORT, "text/html", WISH, 406, "E_SYNTAX", Value::Null),
            (media_type::TRANSPORT, "*/*", "{", 400, "E_SYNTAX", Value::Null),
            (media_type::TRANSPORT, "*/*", "[]", 400, "E_SYNTAX", Value::Null),
            (media_type::TRANSPORT, "*/*", "{}", 400, "E_MISSING_FIELD", json!("resource-id")),
            (media_type::TRANSPORT, "*/*", r#"{"resource-id":1}"#, 400, "E_INVALID_FIELD_TYPE", json!("resource-id")),
            (media_type::TRANSPORT, "*/*", r#"{"resource-id":"no"}"#, 400, "E_INVALID_FIELD_VALUE", json!("resource-id")),
            (
                media_type::TRANSPORT,
                "*/*",
                r#"{"resource-id":"cost-map","incremental-changes":1}"#,
                400,
                "E_INVALID_FIELD_TYPE",
                json!("incremental-changes"),
            ),
            (media_type::TRANSPORT, "*/*", r#"{"resource-id":"cost-map","input":{}}"#, 400, "E_INVALID_FIELD_VALUE", json!("input")),
        ] {
            let (got, meta, _) = post(&mut send, media_type, accept, wish).await;
            assert_eq!((got, &meta["code"]), (status, &json!(code)), "{wish}: {meta}");
            if !field.is_null() && code != "E_SYNTAX" {
                assert_eq!(meta["field"], field, "{wish}");
            }
        }
        // A bad input is refused as the resource would.
        let own = served.post("/resources/filtered-cost-map", media_type::COST_MAP_FILTER, br#"{"cost-type":1}"#).json();
        let (_, meta, _) =
            post(&mut send, media_type::TRANSPORT, "*/*", r#"{"resource-id":"filtered-cost-map","input":{"cost-type":1}}"#).await;
        assert_eq!(meta["code"], own["meta"]["code"]);
        let _second = Queue::make(&mut send, WISH).await;
        let (status, meta, retry) = post(&mut send, media_type::TRANSPORT, "*/*", WISH).await;
        assert_eq!((status, retry.is_some()), (429, true));
        assert!(meta["syntax-error"].as_str().unwrap().contains("(updates.connection-queues-max)"), "{meta}");
        assert_eq!(call(&mut send, "DELETE", uri).await.0, 200);
        let _third = Queue::make(&mut send, WISH).await;
    });
}

/// SETTINGS_ENABLE_PUSH 0 (RFC 9113 section 6.5.2): a queue to pull from, and a clear word for who wants more.
#[test]
fn push_disabled() {
    let served = Served::new(options());
    let mut raw = Raw::open(served.public, &[(ENABLE_PUSH, 0)]);
    raw.make_queue(1, WISH, false);
    let uri = raw.queue(1);
    for (stream, method, path, want) in
        [(3, "GET", uri.clone(), OK), (5, "GET", format!("{uri}/rs/self"), NOT_FOUND), (7, "GET", format!("{uri}/uq/1"), OK)]
    {
        raw.ask(stream, method, &path);
        let (status, body) = raw.answer(stream, None);
        assert_eq!(status, want, "{path}");
        if stream == 3 {
            assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["rs"], json!([]));
        }
    }
    commit(&served.publisher, 2000);
    raw.ask(9, "PUT", &format!("{uri}/rs/self"));
    let (_, body) = raw.answer(9, None);
    assert!(String::from_utf8(body).unwrap().contains("SETTINGS_ENABLE_PUSH"));
    raw.settled();
    assert!(raw.pushed.is_empty());
    // A client whose side is closed has no use for an open stream.
    raw.make_queue(11, WISH, true);
    let (status, body) = raw.answer(11, None);
    assert_eq!(status, OK);
    let apart = serde_json::from_slice::<Value>(&body).unwrap()["tq"].as_str().unwrap().to_owned();
    raw.ask(13, "GET", &format!("{apart}/uq"));
    assert_eq!(raw.answer(13, None).0, OK);
    // It may change its mind.
    raw.set(&[(ENABLE_PUSH, 1)]);
    raw.ask(15, "PUT", &format!("{uri}/rs/self"));
    assert_eq!(raw.answer(15, None).0, OK);
    raw.push(1);
}

/// What closes a queue: END_STREAM of a client that has its answer, a reset, DELETE, the connection.
#[test]
fn ends_of_a_queue() {
    let served = Served::new(options());
    let status = |raw: &mut Raw, stream, path: &str| {
        raw.ask(stream, "GET", path);
        raw.answer(stream, None).0
    };
    for (how, trailers) in [("DATA", false), ("HEADERS", true)] {
        let mut raw = Raw::open(served.public, &[]);
        raw.make_queue(1, WISH, false);
        let uri = raw.queue(1);
        raw.push(1);
        raw.settled();
        if trailers {
            // The draft's DELETE in the stream of the queue.
            raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &request("DELETE", &uri, &[]));
        } else {
            raw.send(DATA, END_STREAM, 1, &[]);
        }
        raw.until(|frame| frame.stream == 1 && frame.ends());
        assert_eq!(status(&mut raw, 3, &uri), NOT_FOUND, "{how}");
        commit(&served.publisher, if trailers { 2 } else { 3 });
        raw.settled();
        assert_eq!(raw.pushed.len(), 1, "{how}");
    }
    // The end of the request, a frame late: the queue lives.
    let mut raw = Raw::open(served.public, &[]);
    raw.pongs = false;
    raw.make_queue(1, WISH, false);
    raw.send(DATA, END_STREAM, 1, &[]);
    let uri = raw.queue(1);
    raw.push(1);
    commit(&served.publisher, 4);
    raw.push(1);
    assert_eq!(status(&mut raw, 3, &uri), OK);
    raw.reset(1);
    raw.over.push(1);
    raw.settled();
    assert_eq!(status(&mut raw, 5, &uri), NOT_FOUND);
}
