//! What comes slowly is waited for, what does not come is not; over every transport, by a clock that tests move.
#![allow(clippy::unwrap_used)] // A test says what went wrong by stopping there.
mod wire;

use crate::{
    Client, Replica,
    replica::{Notice, Options, Told, Via, Wanted},
};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    time::{Instant, sleep, timeout},
};
use wire::{PATIENCE, Wire};

const NETWORK: &str = "application/alto-networkmap+json";
const STREAM: &str = "200 OK\r\ncontent-type: text/event-stream";

fn directory() -> String {
    let uses = json!(["net", "other"]);
    json!({
        "meta": {"cost-types": {}},
        "resources": {
            "net": {"uri": "/net", "media-type": NETWORK, "updates": "ws://alto.example/ws/net"},
            "other": {"uri": "/other", "media-type": NETWORK, "updates": "ws://alto.example/ws/other"},
            "tips": {"uri": "/tips", "media-type": "application/alto-tips+json", "accepts": "application/alto-tipsparams+json", "uses": uses},
            "stream": {"uri": "/stream", "media-type": "text/event-stream", "accepts": "application/alto-updatestreamparams+json", "uses": uses},
            "queues": {"uri": "/tqs", "media-type": "application/alto-transport+json", "accepts": "application/alto-updatestreamparams+json", "uses": uses},
        }
    })
    .to_string()
}

fn network(version: u64) -> String {
    json!({"meta": {"vtag": {"resource-id": "net", "tag": format!("n{version}")}}, "network-map": {"a": {"ipv4": ["192.0.2.0/24"]}}})
        .to_string()
}

async fn follow(client: Arc<Client>, via: Option<Via>, resources: &[&str]) -> Replica {
    let resources = resources.iter().map(|id| Wanted { resource: id.parse().unwrap(), input: None }).collect();
    Replica::open(client, Options { resources, via, ..Options::new("net".parse().unwrap()) }).await.unwrap()
}

/// Writes with pauses that are borne, for longer than any silence is.
async fn trickle(io: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    for piece in bytes.chunks(bytes.len().div_ceil(8)) {
        sleep(Duration::from_secs(20)).await;
        io.write_all(piece).await.unwrap();
    }
}

async fn told(replica: &mut Replica) -> Told {
    timeout(PATIENCE, replica.next()).await.expect("something is told").unwrap()
}

/// The next that is told but that it goes on is this version.
async fn version(replica: &mut Replica, version: u64) {
    loop {
        match told(replica).await {
            Told::Notice(Notice::Following { .. }) => {}
            Told::Change(change) => return assert_eq!(change.tag.unwrap().as_str(), format!("n{version}")),
            other => panic!("{other:?}"),
        }
    }
}

/// Why the session was lost, and after how long.
async fn lost(replica: &mut Replica) -> (String, Duration) {
    let begin = Instant::now();
    loop {
        if let Told::Notice(Notice::Lost { why, .. }) = told(replica).await {
            return (why, begin.elapsed());
        }
    }
}

fn seconds(n: u64) -> std::ops::Range<Duration> {
    Duration::from_secs(n)..Duration::from_secs(n + 1)
}

#[tokio::test(start_paused = true)]
async fn an_event_may_take_its_time_and_a_stream_may_not_fall_silent() {
    let (mut server, client) = Wire::start(&directory());
    let mut replica = follow(client, Some(Via::Sse), &["net"]).await;
    let mut stream = server.expect("POST /stream").await.begin(STREAM).await;
    trickle(&mut stream, format!("event: {NETWORK},s0\ndata: {}\n\n", network(1)).as_bytes()).await;
    version(&mut replica, 1).await;
    let (why, after) = lost(&mut replica).await;
    assert!(why.contains("silent for 75 s") && seconds(75).contains(&after), "{why} after {after:?}");
}

mod websocket {
    use super::*;
    use crate::http::Io;
    use futures_util::StreamExt;
    use tokio_tungstenite::{
        WebSocketStream, accept_hdr_async,
        tungstenite::handshake::server::{Request, Response},
    };

    async fn accept(asked: wire::Asked) -> WebSocketStream<Box<dyn Io>> {
        #[allow(clippy::result_large_err, reason = "the library's signature")]
        let callback = |_: &Request, mut response: Response| {
            response.headers_mut().insert("sec-websocket-protocol", "alto-updates".parse().unwrap());
            Ok(response)
        };
        let mut socket = accept_hdr_async(asked.unread(), callback).await.unwrap();
        socket.next().await.unwrap().unwrap();
        socket
    }

    fn frame(version: u64) -> Vec<u8> {
        let text = json!({"resource-id": "net", "seq": version, "tag": format!("n{version}"), "media-type": NETWORK,
            "data": serde_json::from_str::<serde_json::Value>(&network(version)).unwrap()})
        .to_string();
        let length = u16::try_from(text.len()).unwrap();
        [&[0x81, 126], &length.to_be_bytes()[..], text.as_bytes()].concat()
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_may_take_its_time_and_a_socket_may_not_fall_silent() {
        let (mut server, client) = Wire::start(&directory());
        let mut replica = follow(client, Some(Via::WebSocket), &["net"]).await;
        let mut socket = accept(server.expect("GET /ws/net").await).await;
        trickle(socket.get_mut(), &frame(1)).await;
        version(&mut replica, 1).await;
        let (why, after) = lost(&mut replica).await;
        assert!(why.contains("silent for 75 s") && seconds(75).contains(&after), "{why} after {after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_socket_beside_a_living_one_is_noticed() {
        let (mut server, client) = Wire::start(&directory());
        let mut replica = follow(client, Some(Via::WebSocket), &["net", "other"]).await;
        let mut living = accept(server.expect("GET /ws/net").await).await;
        let _dead = accept(server.expect("GET /ws/other").await).await;
        let pinging = tokio::spawn(async move {
            while living.get_mut().write_all(&[0x89, 0]).await.is_ok() {
                sleep(Duration::from_secs(30)).await;
            }
        });
        let (why, after) = lost(&mut replica).await;
        assert!(why.contains("/ws/other: silent for 75 s") && seconds(75).contains(&after), "{why} after {after:?}");
        pinging.abort();
    }
}
