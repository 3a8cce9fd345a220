//! What comes slowly is waited for, what does not come is not; over every transport, by a clock that tests move.
#![allow(clippy::unwrap_used)] // A test says what went wrong by stopping there.
mod wire;

use crate::{
    Client, Replica,
    replica::{Notice, Options, Told, Via, Wanted},
};
use bytes::Bytes;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    time::{Instant, sleep, timeout},
};
use wire::{PATIENCE, Wire};

const NETWORK: &str = "application/alto-networkmap+json";
const TIPS: &str = "200 OK\r\ncontent-type: application/alto-tips+json";
const EDGE: &str = "200 OK\r\ncontent-type: application/merge-patch+json";
const COPY: &str = "200 OK\r\ncontent-type: application/alto-networkmap+json";
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

/// Nothing is told but that it goes on.
async fn still_there(replica: &mut Replica, time: Duration) {
    let until = Instant::now() + time;
    while let Ok(told) = tokio::time::timeout_at(until, replica.next()).await {
        assert!(matches!(told.unwrap(), Told::Notice(Notice::Following { .. })));
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

mod tips {
    use super::*;

    fn opened(i: u64, j: u64, end: u64) -> String {
        let summary = json!({"updates-graph-summary": {"start-seq": 1, "end-seq": end, "start-edge-rec": {"seq-i": i, "seq-j": j}}});
        json!({"tips-view-uri": "http://alto.example/v", "tips-view-summary": summary}).to_string()
    }

    /// With version 1, and the next one polled for.
    async fn start() -> (Wire, Replica) {
        let (mut server, client) = Wire::start(&directory());
        let mut replica = follow(client, Some(Via::Tips), &["net"]).await;
        server.expect("POST /tips").await.answer(TIPS, &opened(0, 1, 1)).await;
        server.expect("GET /v/ug/0/1").await.answer(COPY, &network(1)).await;
        version(&mut replica, 1).await;
        (server, replica)
    }

    #[tokio::test(start_paused = true)]
    async fn an_edge_may_take_its_time() {
        let (mut server, client) = Wire::start(&directory());
        let mut replica = follow(client, Some(Via::Tips), &["net"]).await;
        server.expect("POST /tips").await.answer(TIPS, &opened(0, 1, 1)).await;
        let (head, body) = (format!("{COPY}\r\ncontent-length: {}", network(1).len()), network(1));
        let mut answer = server.expect("GET /v/ug/0/1").await.begin(&head).await;
        trickle(&mut answer, body.as_bytes()).await;
        version(&mut replica, 1).await;
        server.expect("GET /v/ug/1/2").await;
    }

    /// An edge that is there is no poll: it comes, or something is wrong; after the third time another transport may do better.
    #[tokio::test(start_paused = true)]
    async fn an_edge_that_is_there_is_not_waited_for_for_long() {
        for (begins, why) in [(false, "no answer for 30 s"), (true, "nothing more of the answer for 30 s")] {
            let (mut server, client) = Wire::start(&directory());
            let mut replica = follow(client, None, &["net"]).await;
            server.expect("GET /ws/net").await.answer("404 Not Found", "").await;
            for _ in 0..3 {
                server.expect("POST /tips").await.answer(TIPS, &opened(0, 1, 1)).await;
                let asked = server.expect("GET /v/ug/0/1").await;
                let _held = if begins {
                    let mut io = asked.begin(&format!("{COPY}\r\ncontent-length: 500")).await;
                    io.write_all(b"{").await.unwrap();
                    (Some(io), None)
                } else {
                    (None, Some(asked))
                };
                let (said, after) = lost(&mut replica).await;
                assert!(said.contains(why) && seconds(30).contains(&after), "{said} after {after:?}");
            }
            server.expect("POST /stream").await;
        }
        // Nor is one from a version that is here.
        let (mut server, mut replica) = start().await;
        server.expect("GET /v/ug/1/2").await.answer("410 Gone", "").await;
        let change = opened(1, 3, 5);
        server.expect("POST /v/ug").await.answer(EDGE, &change).await;
        let _held = server.expect("GET /v/ug/1/3").await;
        let (said, after) = lost(&mut replica).await;
        assert!(said.contains("no answer for 30 s") && seconds(30).contains(&after), "{said} after {after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_is_held_for_long_and_what_it_brings_does_not_stop_midway() {
        let (mut server, mut replica) = start().await;
        let begin = Instant::now();
        for _ in 0..20 {
            let held = server.expect("GET /v/ug/1/2").await;
            sleep(Duration::from_secs(50)).await;
            held.answer("425 Too Early\r\nretry-after: 0", "").await;
        }
        let held = server.expect("GET /v/ug/1/2").await;
        assert!(seconds(20 * 50).contains(&begin.elapsed()), "asked again at once");
        sleep(Duration::from_secs(50)).await;
        let mut io = held.begin(&format!("{EDGE}\r\ncontent-length: 500")).await;
        io.write_all(b"{").await.unwrap();
        let (why, after) = lost(&mut replica).await;
        assert!(why.contains("nothing more of the answer for 30 s") && seconds(30).contains(&after), "{why} after {after:?}");
    }

    /// Whatever is said to a poll at once, the next one waits, and in the end somebody is told.
    #[tokio::test(start_paused = true)]
    async fn polls_that_bring_nothing_become_fewer_and_end() {
        for (answer, asks, again) in [
            ("429 Too Many Requests\r\nretry-after: 0", false, Duration::ZERO),
            ("503 Service Unavailable\r\nretry-after: Sun, 06 Nov 1994 08:49:37 GMT", false, Duration::ZERO),
            ("425 Too Early\r\nretry-after: 0", true, Duration::ZERO),
            ("504 Gateway Timeout", true, Duration::ZERO),
            ("410 Gone", true, Duration::ZERO),
            ("429 Too Many Requests\r\nretry-after: 3", false, Duration::from_secs(3)),
        ] {
            let (mut server, mut replica) = start().await;
            let begin = Instant::now();
            for n in 0..=5 {
                let pauses: Duration = (0..n).map(|n| Duration::from_millis(250 << n).max(again)).sum();
                server.expect("GET /v/ug/1/2").await.answer(answer, "").await;
                assert!(
                    (pauses..pauses + Duration::from_millis(100)).contains(&begin.elapsed()),
                    "{answer}: poll {n} after {:?}",
                    begin.elapsed()
                );
                if asks && n < 5 {
                    server.expect("POST /v/ug").await.answer(EDGE, &opened(1, 2, 1)).await;
                }
            }
            let (why, _) = lost(&mut replica).await;
            assert!(why.contains(&answer[..3]), "{why}");
            // The session is another one, at the same place.
            server.expect("POST /tips").await.answer(TIPS, &opened(1, 2, 1)).await;
            server.expect("GET /v/ug/1/2").await;
        }
    }

    /// The same for a full copy that is announced and never given, however long each refusal takes.
    #[tokio::test(start_paused = true)]
    async fn a_copy_that_is_announced_and_not_given_ends_the_session() {
        let (mut server, client) = Wire::start(&directory());
        let mut replica = follow(client, Some(Via::Tips), &["net"]).await;
        for (status, takes) in [
            ("410 Gone", Duration::ZERO),
            ("425 Too Early\r\nretry-after: 0", Duration::ZERO),
            ("504 Gateway Timeout", Duration::from_secs(29)),
        ] {
            server.expect("POST /tips").await.answer(TIPS, &opened(0, 1, 1)).await;
            for n in 0..=5 {
                let asked = server.expect("GET /v/ug/0/1").await;
                sleep(takes).await;
                asked.answer(status, "").await;
                if n < 5 {
                    server.expect("POST /v/ug").await.answer(EDGE, &opened(0, 1, 1)).await;
                }
            }
            let (why, _) = lost(&mut replica).await;
            assert!(why.contains(&status[..3]) && why.contains("in a row"), "{why}");
        }
    }

    /// A server may be told to hold polls for less time than others do.
    #[tokio::test(start_paused = true)]
    async fn short_polls_go_on() {
        let (mut server, mut replica) = start().await;
        for _ in 0..20 {
            let held = server.expect("GET /v/ug/1/2").await;
            sleep(Duration::from_secs(2)).await;
            held.answer("425 Too Early\r\nretry-after: 0", "").await;
            server.expect("POST /v/ug").await.answer(EDGE, &opened(1, 2, 1)).await;
        }
        still_there(&mut replica, Duration::from_millis(1)).await;
    }
}

mod push {
    use super::*;
    use h2::server::SendResponse;
    use tokio::sync::oneshot;

    const QUEUE: &str = "application/alto-transport+json";

    /// The request for a queue; the connection lives as long as the sender.
    async fn asked(server: &mut Wire) -> (SendResponse<Bytes>, oneshot::Sender<()>) {
        let mut connection = h2::server::handshake(server.expect("PRI *").await.unread()).await.unwrap();
        let (_, respond) = connection.accept().await.unwrap().unwrap();
        let (alive, mut dead) = oneshot::channel();
        tokio::spawn(async move {
            tokio::select! {
                // It stays open, and nobody is there.
                _ = &mut dead => std::future::pending().await,
                _ = connection.accept() => {}
            }
        });
        (respond, alive)
    }

    fn head(status: u16, media_type: &str) -> http::Response<()> {
        http::Response::builder().status(status).header("content-type", media_type).body(()).unwrap()
    }

    fn promise(respond: &mut SendResponse<Bytes>, seq: u64) -> h2::server::SendPushedResponse<Bytes> {
        respond.push_request(http::Request::get(format!("http://alto.example/tqs/9/uq/{seq}")).body(()).unwrap()).unwrap()
    }

    fn opened(respond: &mut SendResponse<Bytes>) -> h2::SendStream<Bytes> {
        let mut stream = respond.send_response(head(200, QUEUE), false).unwrap();
        stream.send_data(Bytes::from_static(b"{\"tq\": \"/tqs/9\"}"), false).unwrap();
        stream
    }

    /// The connection lives, its pings are answered; what was begun is owed all the same.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_stops_midway_is_not_waited_for() {
        for stops in ["after the head", "after the head of a refusal", "after a promise", "in a push"] {
            let (mut server, client) = Wire::start(&directory());
            let mut replica = follow(client, Some(Via::Push), &["net"]).await;
            let (mut respond, _alive) = asked(&mut server).await;
            let mut kept = Vec::new();
            match stops {
                "after the head" => kept.push(respond.send_response(head(200, QUEUE), false).unwrap()),
                "after the head of a refusal" => kept.push(respond.send_response(head(400, "text/plain"), false).unwrap()),
                _ => kept.push(opened(&mut respond)),
            }
            let mut promised = Vec::new();
            match stops {
                "after a promise" => promised.push(promise(&mut respond, 1)),
                "in a push" => {
                    let mut stream = promise(&mut respond, 1).send_response(head(200, NETWORK), false).unwrap();
                    stream.send_data(network(1).into(), false).unwrap();
                    kept.push(stream);
                }
                _ => {}
            }
            let (why, after) = lost(&mut replica).await;
            assert!(why.contains("nothing came for 30 s") && seconds(30).contains(&after), "{stops}: {why} after {after:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_push_may_take_its_time_and_a_queue_owes_nothing() {
        let (mut server, client) = Wire::start(&directory());
        let mut replica = follow(client, Some(Via::Push), &["net"]).await;
        let (mut respond, alive) = asked(&mut server).await;
        let _queue = opened(&mut respond);
        let mut stream = promise(&mut respond, 1).send_response(head(200, NETWORK), false).unwrap();
        for byte in network(1).as_bytes().chunks(16) {
            sleep(Duration::from_secs(20)).await;
            stream.send_data(Bytes::copy_from_slice(byte), false).unwrap();
        }
        stream.send_data(Bytes::new(), true).unwrap();
        version(&mut replica, 1).await;
        still_there(&mut replica, Duration::from_secs(500)).await;
        // But that somebody is there.
        drop(alive);
        let (why, after) = lost(&mut replica).await;
        assert!(why.contains("no answer to a ping for 25 s") && after <= Duration::from_secs(50), "{why} after {after:?}");
    }
}
