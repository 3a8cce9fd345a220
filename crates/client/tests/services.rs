//! Directories with several update services, and how a replica finds its way among what they answer.
#![allow(clippy::unwrap_used)] // A test says what went wrong by stopping there.
#[path = "support/live.rs"]
mod live;

use client::{
    Client, Limits, Replica,
    replica::{Notice, Options, Told, Via, Wanted},
};
use live::{Asked, Live, PATIENCE};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

const NETWORK: &str = "application/alto-networkmap+json";
const PARAMS: &str = "application/alto-updatestreamparams+json";
const TIPS: &str = "application/alto-tips+json";
const STREAM: &str = "text/event-stream";

fn map(id: &str, version: u64) -> String {
    format!(r#"{{"meta":{{"vtag":{{"resource-id":"{id}","tag":"{id}-{version}"}}}},"network-map":{{"a":{{"ipv4":["192.0.2.0/24"]}}}}}}"#)
}

/// Two network maps, of one provider each, and each has services of its own: the example of RFC 8895 section 8.1 is made so.
fn directory() -> String {
    let map = |id: &str| json!({"uri": format!("/{id}"), "media-type": NETWORK});
    let stream = |id: &str| json!({"uri": format!("/{id}/stream"), "media-type": STREAM, "accepts": PARAMS, "uses": [id]});
    let tips =
        |id: &str| json!({"uri": format!("/{id}/tips"), "media-type": TIPS, "accepts": "application/alto-tipsparams+json", "uses": [id]});
    json!({
        "meta": {"default-alto-network-map": "east", "cost-types": {}},
        "resources": {
            "east": map("east"), "west": map("west"), "es": stream("east"), "ws": stream("west"), "et": tips("east"), "wt": tips("west"),
        }
    })
    .to_string()
}

async fn follow(server: &Live, ids: &[&str], via: Option<Via>) -> Replica {
    let limits = Limits { backoff_min: Duration::from_millis(10), ..Limits::default() };
    let client = Client::new(client::Options { limits, ..client::Options::new(server.url()) }).unwrap();
    let resources = ids.iter().map(|id| Wanted { resource: id.parse().unwrap(), input: None }).collect();
    let options = Options { resources, via, ..Options::new("east".parse().unwrap()) };
    Replica::open(Arc::new(client), options).await.unwrap()
}

async fn told(replica: &mut Replica) -> Told {
    timeout(PATIENCE, replica.next()).await.expect("something is told").unwrap()
}

async fn tag(replica: &mut Replica) -> String {
    timeout(PATIENCE, replica.changed()).await.expect("a change comes").unwrap().tag.unwrap().to_string()
}

fn event(id: &str, version: u64, substream: &str) -> bytes::Bytes {
    format!("event: {NETWORK},{substream}\ndata: {}\n\n", map(id, version)).into()
}

/// Requests to two services come in any order.
async fn two(server: &mut Live, first: &str) -> (Asked, Asked) {
    let (one, other) = (server.next("request").await, server.next("request").await);
    if one.line == first { (one, other) } else { (other, one) }
}

#[tokio::test]
async fn resources_in_different_update_streams_are_followed_together() {
    let mut server = Live::start(&directory()).await;
    let mut replica = follow(&server, &["east", "west"], Some(Via::Sse)).await;
    let (east, west) = two(&mut server, "POST /east/stream").await;
    assert_eq!((&*east.line, &*west.line), ("POST /east/stream", "POST /west/stream"));
    assert_eq!(east.body["add"], json!({"s0": {"resource-id": "east"}}));
    assert_eq!(west.body["add"], json!({"s1": {"resource-id": "west"}}));
    let (east, west) = (east.stream(STREAM), west.stream(STREAM));
    east.send(event("east", 1, "s0")).unwrap();
    assert_eq!(tag(&mut replica).await, "east-1");
    west.send(event("west", 1, "s1")).unwrap();
    assert_eq!(tag(&mut replica).await, "west-1");
    // The end of one is the end of the session: the next one goes on with both.
    drop(east);
    let (east, west) = two(&mut server, "POST /east/stream").await;
    assert_eq!((&east.body["add"]["s0"]["tag"], &west.body["add"]["s1"]["tag"]), (&json!("east-1"), &json!("west-1")));
}

#[tokio::test]
async fn resources_in_different_views_services_are_followed_together() {
    let mut server = Live::start(&directory()).await;
    let mut replica = follow(&server, &["east", "west"], Some(Via::Tips)).await;
    let (east, west) = two(&mut server, "POST /east/tips").await;
    for (asked, id) in [(east, "east"), (west, "west")] {
        assert_eq!((&*asked.line, &asked.body["resource-id"]), (&*format!("POST /{id}/tips"), &Value::from(id)));
        let graph = json!({"start-seq": 0, "end-seq": 1, "start-edge-rec": {"seq-i": 0, "seq-j": 1}});
        let view = json!({"tips-view-uri": format!("{}/v/{id}", server.url()), "tips-view-summary": {"updates-graph-summary": graph}});
        asked.answer(200, TIPS, &view.to_string());
        server.expect(&format!("GET /v/{id}/ug/0/1")).await.answer(200, NETWORK, &map(id, 1));
        assert_eq!(tag(&mut replica).await, format!("{id}-1"));
        // What is polled for next is not answered.
        server.expect(&format!("GET /v/{id}/ug/1/2")).await;
    }
}

/// RFC 9110 section 10.2.3, wherever the server says it.
#[tokio::test]
async fn a_directory_that_asks_for_patience_is_given_it() {
    let mut server = Live::start(&directory()).await;
    let mut replica = follow(&server, &["east"], Some(Via::Sse)).await;
    server.list_later(6);
    drop(server.expect("POST /east/stream").await.stream(STREAM));
    loop {
        match told(&mut replica).await {
            Told::Notice(Notice::Lost { why, retry_in }) if why.contains("503") => {
                break assert!(retry_in >= Duration::from_secs(6), "{retry_in:?}");
            }
            told => assert!(matches!(told, Told::Notice(_)), "{told:?}"),
        }
    }
}

/// The directory lists it, the service does not know it: what the service says is what the user has to know.
#[tokio::test]
async fn what_a_service_says_of_a_missing_resource_is_told() {
    let mut server = Live::start(&directory()).await;
    let mut replica = follow(&server, &["east"], Some(Via::Sse)).await;
    let refusal = r#"{"meta": {"code": "E_INVALID_FIELD_VALUE", "field": "add/s0/resource-id", "value": "east"}}"#;
    server.expect("POST /east/stream").await.answer(400, "application/alto-error+json", refusal);
    let error = timeout(PATIENCE, replica.changed()).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("add/s0/resource-id") && error.contains("/east/stream"), "{error}");
}

/// `auto` does not stay with a way that only ever says that it cannot.
#[tokio::test]
async fn auto_leaves_a_way_that_keeps_failing() {
    let mut server = Live::start(&directory()).await;
    let mut replica = follow(&server, &["east"], None).await;
    // There are no WebSockets in this directory; views cannot be opened, each time.
    for _ in 0..3 {
        server.expect("POST /east/tips").await.answer(503, "text/plain", "overloaded");
    }
    let stream = server.expect("POST /east/stream").await.stream(STREAM);
    stream.send(event("east", 1, "s0")).unwrap();
    assert_eq!(tag(&mut replica).await, "east-1");
    assert_eq!(replica.via(), Some(Via::Sse));
}
