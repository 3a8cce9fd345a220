//! Each transport against servers that say what the specifications' examples say, and against servers that go away, refuse and break promises.
#![allow(clippy::unwrap_used)] // A test says what went wrong by stopping there.
#[path = "support/live.rs"]
mod live;

use bytes::Bytes;
use client::{
    Client, Limits, Replica,
    replica::{Change, Notice, Options, Told, Via, What},
};
use futures_util::{SinkExt, StreamExt};
use live::{Asked, Live, PATIENCE};
use serde_json::{Value, json};
use std::{io::Write, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
    },
};

const NETWORK: &str = "application/alto-networkmap+json";
const MERGE: &str = "application/merge-patch+json";
const TIPS: &str = "application/alto-tips+json";
const ERROR: &str = "application/alto-error+json";
const STREAM: &str = "text/event-stream";

fn network(version: u64) -> String {
    format!(r#"{{"meta":{{"vtag":{{"resource-id":"net","tag":"n{version}"}}}},"network-map":{{"a":{{"ipv4":["192.0.2.0/24"]}}}}}}"#)
}

fn patch(version: u64) -> String {
    format!(r#"{{"meta":{{"vtag":{{"tag":"n{version}"}}}}}}"#)
}

fn directory(updates: &str) -> String {
    json!({
        "meta": {"default-alto-network-map": "net", "cost-types": {}},
        "resources": {
            "net": {"uri": "/net", "media-type": NETWORK, "updates": updates},
            "tips": {"uri": "/x/tips", "media-type": TIPS, "accepts": "application/alto-tipsparams+json", "uses": ["net"]},
            "stream": {"uri": "/x/stream", "media-type": STREAM, "accepts": "application/alto-updatestreamparams+json", "uses": ["net"]},
            "queues": {"uri": "/x/tqs", "media-type": "application/alto-transport+json", "accepts": "application/alto-updatestreamparams+json", "uses": ["net"]},
        }
    })
    .to_string()
}

async fn follow(url: String, via: Option<Via>, limits: Limits) -> Replica {
    let client = Client::new(client::Options { limits, ..client::Options::new(url) }).unwrap();
    Replica::open(Arc::new(client), Options { via, ..Options::new("net".parse().unwrap()) }).await.unwrap()
}

fn quick() -> Limits {
    Limits { backoff_min: Duration::from_millis(10), ..Limits::default() }
}

async fn told(replica: &mut Replica) -> Told {
    timeout(PATIENCE, replica.next()).await.expect("something is told").unwrap()
}

async fn changed(replica: &mut Replica) -> Change {
    timeout(PATIENCE, replica.changed()).await.expect("a change comes").unwrap()
}

/// The next change is this version.
async fn version(replica: &mut Replica, version: u64, is_patch: bool) {
    let change = changed(replica).await;
    assert_eq!(change.tag.unwrap().as_str(), format!("n{version}"));
    assert_eq!(matches!(change.what, What::Patch { .. }), is_patch, "version {version}");
    assert_eq!(change.content.to_json(), network(version).into_bytes());
}

mod tips {
    use super::*;

    fn opened(server: &Live, start: u64, end: u64, i: u64, j: u64) -> String {
        json!({"tips-view-uri": format!("{}/v/7", server.url()), "tips-view-summary": {"updates-graph-summary": {
            "start-seq": start, "end-seq": end, "start-edge-rec": {"seq-i": i, "seq-j": j}}}})
        .to_string()
    }

    fn recommended(start: u64, end: u64, i: u64, j: u64) -> String {
        json!({"tips-view-summary": {"updates-graph-summary": {
            "start-seq": start, "end-seq": end, "start-edge-rec": {"seq-i": i, "seq-j": j}}}})
        .to_string()
    }

    async fn start() -> (Live, Replica) {
        let mut server = Live::start(&directory("/ws")).await;
        let mut replica = follow(server.url(), Some(Via::Tips), quick()).await;
        let asked = server.expect("POST /x/tips").await;
        assert_eq!(asked.body, json!({"resource-id": "net"}));
        assert_eq!(asked.headers["content-type"], "application/alto-tipsparams+json");
        asked.answer(200, TIPS, &opened(&server, 3, 5, 0, 5));
        server.expect("GET /v/7/ug/0/5").await.answer(200, NETWORK, &network(5));
        version(&mut replica, 5, false).await;
        (server, replica)
    }

    async fn goes_on(server: &mut Live, replica: &mut Replica, seq: u64) {
        server.expect(&format!("GET /v/7/ug/{}/{seq}", seq - 1)).await.answer(200, MERGE, &patch(seq));
        version(replica, seq, true).await;
        assert_eq!((replica.resyncs(), replica.via()), (0, Some(Via::Tips)));
    }

    #[tokio::test]
    async fn edges_follow_each_other() {
        let (mut server, mut replica) = start().await;
        let asked = server.expect("GET /v/7/ug/5/6").await;
        let accept = asked.headers["accept"].to_str().unwrap().to_owned();
        // "the client MUST indicate all media types that may appear"
        assert!([NETWORK, MERGE, "application/json-patch+json", ERROR].iter().all(|one| accept.contains(one)), "{accept}");
        asked.answer(200, MERGE, &patch(6));
        version(&mut replica, 6, true).await;
        goes_on(&mut server, &mut replica, 7).await;
        assert!(replica.staleness().unwrap() < PATIENCE);
    }

    /// Section 7.3: what may be said to a poll, and that nothing is lost by it.
    #[tokio::test]
    async fn refused_polls_leave_no_gap() {
        for (status, headers) in [(429, &[("retry-after", "0")][..]), (503, &[("retry-after", "1")]), (429, &[])] {
            let (mut server, mut replica) = start().await;
            server.expect("GET /v/7/ug/5/6").await.answer_with(status, ERROR, headers, "");
            goes_on(&mut server, &mut replica, 6).await;
        }
        for (status, headers) in [(425, &[("retry-after", "0")][..]), (504, &[]), (204, &[])] {
            let (mut server, mut replica) = start().await;
            server.expect("GET /v/7/ug/5/6").await.answer_with(status, ERROR, headers, "");
            let asked = server.expect("POST /v/7/ug").await;
            assert_eq!(asked.body, json!({"resource-id": "net", "tag": "n5"}), "{status}");
            asked.answer(200, MERGE, &recommended(3, 5, 5, 6));
            goes_on(&mut server, &mut replica, 6).await;
        }
    }

    /// Section 7.4: where the next edge is compacted away, the server is asked for another, from the version that is here.
    #[tokio::test]
    async fn gone_edges_are_asked_for_by_tag() {
        for (edge, media_type, body, is_patch) in [((5, 8), MERGE, patch(8), true), ((0, 8), NETWORK, network(8), false)] {
            let (mut server, mut replica) = start().await;
            server.expect("GET /v/7/ug/5/6").await.answer(410, ERROR, "");
            let asked = server.expect("POST /v/7/ug").await;
            assert_eq!(asked.body, json!({"resource-id": "net", "tag": "n5"}));
            asked.answer(200, MERGE, &recommended(6, 8, edge.0, edge.1));
            server.expect(&format!("GET /v/7/ug/{}/{}", edge.0, edge.1)).await.answer(200, media_type, &body);
            version(&mut replica, 8, is_patch).await;
            goes_on(&mut server, &mut replica, 9).await;
        }
    }

    #[tokio::test]
    async fn closed_views_are_opened_again_at_the_same_place() {
        let (mut server, mut replica) = start().await;
        server.expect("GET /v/7/ug/5/6").await.answer(404, ERROR, "");
        let asked = server.expect("POST /x/tips").await;
        assert_eq!(asked.body, json!({"resource-id": "net", "tag": "n5"}));
        // The first edge from the tagged version is still to come.
        asked.answer(200, TIPS, &opened(&server, 3, 5, 5, 6));
        goes_on(&mut server, &mut replica, 6).await;
    }

    /// A poll without an answer for long: the server is asked whether it lives, and polled again.
    #[tokio::test]
    async fn long_silence_is_looked_into() {
        let mut server = Live::start(&directory("/ws")).await;
        let limits = Limits { poll_time_max: Duration::from_millis(100), ..quick() };
        let mut replica = follow(server.url(), Some(Via::Tips), limits).await;
        server.expect("POST /x/tips").await.answer(200, TIPS, &opened(&server, 3, 5, 0, 5));
        server.expect("GET /v/7/ug/0/5").await.answer(200, NETWORK, &network(5));
        let held = server.expect("GET /v/7/ug/5/6").await;
        server.expect("POST /v/7/ug").await.answer(200, MERGE, &recommended(3, 5, 5, 6));
        drop(held);
        server.expect("GET /v/7/ug/5/6").await.answer(200, MERGE, &patch(6));
        version(&mut replica, 5, false).await;
        version(&mut replica, 6, true).await;
    }

    /// Section 3.2: right shift only. A server that goes back is asked for everything.
    #[tokio::test]
    async fn a_view_that_goes_back_is_not_believed() {
        let (mut server, mut replica) = start().await;
        server.expect("GET /v/7/ug/5/6").await.answer(410, ERROR, "");
        server.expect("POST /v/7/ug").await.answer(200, MERGE, &recommended(1, 2, 0, 2));
        let asked = server.expect("POST /x/tips").await;
        assert_eq!(asked.body, json!({"resource-id": "net"}));
        asked.answer(200, TIPS, &opened(&server, 1, 9, 0, 9));
        server.expect("GET /v/7/ug/0/9").await.answer(200, NETWORK, &network(9));
        version(&mut replica, 9, false).await;
        assert_eq!(replica.resyncs(), 1);
    }
}

mod sse {
    use super::*;

    fn event(media_type: &str, data: &str) -> Bytes {
        format!("event: {media_type},s0\ndata: {data}\n\n").into()
    }

    async fn opened(server: &mut Live, tag: Option<&str>) -> Asked {
        let asked = server.expect("POST /x/stream").await;
        let mut add = json!({"resource-id": "net"});
        if let Some(tag) = tag {
            add["tag"] = tag.into();
        }
        assert_eq!(asked.body, json!({"add": {"s0": add}}));
        assert!(asked.headers["accept"].to_str().unwrap().contains(STREAM));
        asked
    }

    #[tokio::test]
    async fn a_stream_is_taken_up_where_it_ended() {
        let mut server = Live::start(&directory("/ws")).await;
        let mut replica = follow(server.url(), Some(Via::Sse), quick()).await;
        let stream = opened(&mut server, None).await.stream(STREAM);
        stream.send("event: application/alto-updatestreamcontrol+json\ndata: {\"control-uri\": null}\n\n:\n\n".into()).unwrap();
        stream.send(event(NETWORK, &network(1))).unwrap();
        // Cut in the middle of a line: bytes come as they come.
        let second = event(MERGE, &patch(2));
        stream.send(second.slice(..20)).unwrap();
        stream.send(second.slice(20..)).unwrap();
        version(&mut replica, 1, false).await;
        version(&mut replica, 2, true).await;
        drop(stream);
        let stream = opened(&mut server, Some("n2")).await.stream(STREAM);
        stream.send(event(MERGE, &patch(3))).unwrap();
        version(&mut replica, 3, true).await;
        // The server gives it up: it is asked for again.
        let stopped =
            "event: application/alto-updatestreamcontrol+json\ndata: {\"stopped\": [\"s0\"], \"description\": \"maintenance\"}\n\n";
        stream.send(stopped.into()).unwrap();
        loop {
            match told(&mut replica).await {
                Told::Notice(Notice::Lost { why, .. }) if why.contains("maintenance") => break,
                other => assert!(matches!(other, Told::Notice(_)), "{other:?}"),
            }
        }
        let stream = opened(&mut server, Some("n3")).await.stream(STREAM);
        stream.send(event(MERGE, &patch(4))).unwrap();
        version(&mut replica, 4, true).await;
        assert_eq!(replica.resyncs(), 0);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_asked_for_from_nothing() {
        for wrong in [
            event("application/json-patch+json", r#"[{"op":"remove","path":"/network-map/nothing"}]"#),
            event("application/alto-costmap+json", &network(2)),
            event(NETWORK, "{}"),
            "event: application/alto-networkmap+json,other\ndata: {}\n\n".into(),
            "event: nonsense\ndata: {}\n\n".into(),
        ] {
            let mut server = Live::start(&directory("/ws")).await;
            let mut replica = follow(server.url(), Some(Via::Sse), quick()).await;
            let stream = opened(&mut server, None).await.stream(STREAM);
            stream.send(event(NETWORK, &network(1))).unwrap();
            version(&mut replica, 1, false).await;
            stream.send(wrong.clone()).unwrap();
            let stream = opened(&mut server, None).await.stream(STREAM);
            stream.send(event(NETWORK, &network(3))).unwrap();
            version(&mut replica, 3, false).await;
            assert_eq!(replica.resyncs(), 1, "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn an_event_larger_than_the_bound_is_not_kept() {
        let mut server = Live::start(&directory("/ws")).await;
        let mut replica = follow(server.url(), Some(Via::Sse), Limits { body_bytes_max: 4096, ..quick() }).await;
        let stream = opened(&mut server, None).await.stream(STREAM);
        for _ in 0..5 {
            stream.send(format!("data: {}\n", "x".repeat(1000)).into()).unwrap();
        }
        loop {
            if let Told::Notice(Notice::Resynchronising { why, .. }) = told(&mut replica).await {
                assert!(why.contains("4096"), "{why}");
                break;
            }
        }
    }

    /// RFC 8895 section 6.6: an error of the input is one over every transport, so it is the end.
    #[tokio::test]
    async fn an_alto_error_is_the_end() {
        let mut server = Live::start(&directory("/ws")).await;
        let mut replica = follow(server.url(), None, quick()).await;
        // The WebSocket is not there, the view is not opened: the next one is tried.
        server.expect("GET /ws").await.answer(404, "text/plain", "");
        server.expect("POST /x/tips").await.answer(405, "text/plain", "");
        let refusal = r#"{"meta": {"code": "E_INVALID_FIELD_VALUE", "field": "add/s0/tag", "value": "net"}}"#;
        opened(&mut server, None).await.answer(400, ERROR, refusal);
        let error = timeout(PATIENCE, replica.changed()).await.unwrap().unwrap_err();
        assert!(error.to_string().contains("add/s0/tag"), "{error}");
        assert!(replica.changed().await.is_err(), "it stays ended");
    }

    /// A proxy that compresses whatever it may would keep updates back, and nobody here undoes a coding piece by piece.
    #[tokio::test]
    async fn a_stream_comes_without_a_content_coding() {
        let mut server = Live::start(&directory("/ws")).await;
        let mut replica = follow(server.url(), Some(Via::Sse), quick()).await;
        let asked = opened(&mut server, None).await;
        assert_eq!(asked.headers["accept-encoding"], "identity");
        // Refusals are read whole and may be coded.
        let mut refusal = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        refusal.write_all(b"busy").unwrap();
        asked.answer_with(503, "text/plain", &[("content-encoding", "gzip")], refusal.finish().unwrap());
        while !matches!(told(&mut replica).await, Told::Notice(Notice::Lost { why, .. }) if why.contains("busy")) {}
        // With a coding all the same: another way is taken.
        let asked = opened(&mut server, None).await;
        asked.answer_with(200, STREAM, &[("content-encoding", "gzip")], "");
        let error = timeout(PATIENCE, replica.changed()).await.unwrap().unwrap_err();
        assert!(error.to_string().contains("content coding \"gzip\""), "{error}");
    }

    #[tokio::test]
    async fn auto_falls_back_and_a_missing_resource_is_waited_for() {
        let mut server = Live::start(&directory("/ws")).await;
        let mut replica = follow(server.url(), None, quick()).await;
        server.expect("GET /ws").await.answer(404, "text/plain", "");
        server.expect("POST /x/tips").await.answer(501, "text/plain", "");
        let stream = opened(&mut server, None).await.stream(STREAM);
        stream.send(event(NETWORK, &network(1))).unwrap();
        version(&mut replica, 1, false).await;
        assert_eq!(replica.via(), Some(Via::Sse));
        // A server that starts again lists it a moment later.
        server.list(r#"{"meta":{"cost-types":{}},"resources":{}}"#);
        drop(stream);
        while !matches!(told(&mut replica).await, Told::Notice(Notice::Lost { why, .. }) if why.contains("no net")) {}
        server.list(&directory("/ws"));
        let stream = opened(&mut server, Some("n1")).await.stream(STREAM);
        stream.send(event(MERGE, &patch(2))).unwrap();
        version(&mut replica, 2, true).await;
    }
}

mod websocket {
    use super::*;

    /// Answers HTTP with the directory and takes WebSockets, on one port each.
    struct Sockets {
        listener: TcpListener,
        http: Live,
    }

    impl Sockets {
        async fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let uri = format!("ws://{}/u/net", listener.local_addr().unwrap());
            Self { http: Live::start(&directory(&uri)).await, listener }
        }

        /// The next connection and what it says first.
        async fn next(&self) -> (WebSocketStream<TcpStream>, Value) {
            let (tcp, _) = timeout(PATIENCE, self.listener.accept()).await.unwrap().unwrap();
            #[allow(clippy::result_large_err, reason = "the library's signature")]
            let callback = |request: &Request, mut response: Response| {
                assert_eq!(request.uri().path(), "/u/net");
                assert_eq!(request.headers()["sec-websocket-protocol"], "alto-updates");
                response.headers_mut().insert("sec-websocket-protocol", "alto-updates".parse().unwrap());
                Ok(response)
            };
            let mut socket = tokio_tungstenite::accept_hdr_async(tcp, callback).await.unwrap();
            let first = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
            (socket, serde_json::from_str(first.to_text().unwrap()).unwrap())
        }
    }

    fn message(seq: u64, tag: u64, media_type: &str, data: &str) -> Message {
        Message::text(format!(r#"{{"resource-id": "net", "seq": {seq}, "tag": "n{tag}", "media-type": "{media_type}", "data": {data}}}"#))
    }

    #[tokio::test]
    async fn versions_come_and_a_closed_socket_is_opened_where_it_ended() {
        let server = Sockets::start().await;
        let mut replica = follow(server.http.url(), Some(Via::WebSocket), quick()).await;
        let (mut socket, first) = server.next().await;
        assert!(first["reference-tag"].is_string());
        socket.send(message(5, 5, NETWORK, &network(5))).await.unwrap();
        socket.send(Message::Ping(Bytes::from_static(b"?"))).await.unwrap();
        socket.send(message(6, 6, MERGE, &patch(6))).await.unwrap();
        version(&mut replica, 5, false).await;
        version(&mut replica, 6, true).await;
        assert_eq!(timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap(), Message::Pong(Bytes::from_static(b"?")));
        socket.close(None).await.unwrap();
        let (mut socket, first) = server.next().await;
        assert_eq!(first, json!({"reference-tag": "n6"}));
        // Up to date, then a change over several versions that says so, then one more.
        socket.send(Message::text(r#"{"resource-id": "net", "seq": 6, "tag": "n6", "media-type": null}"#)).await.unwrap();
        let shortcut = message(10, 10, MERGE, &patch(10)).to_string().replacen(r#""seq": 10"#, r#""seq": 10, "since": 6"#, 1);
        socket.send(Message::text(shortcut)).await.unwrap();
        socket.send(message(11, 11, MERGE, &patch(11))).await.unwrap();
        version(&mut replica, 10, true).await;
        version(&mut replica, 11, true).await;
        assert_eq!(replica.resyncs(), 0);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_asked_for_from_nothing() {
        for (what, wrong) in [
            ("a version is missing", message(7, 7, MERGE, &patch(7))),
            ("another tag than it makes", message(6, 7, MERGE, &patch(6))),
            ("no message", Message::text("{}")),
            ("no text", Message::binary(vec![1])),
            ("another resource", Message::text(r#"{"resource-id": "other", "seq": 6, "tag": "n6", "media-type": null}"#)),
            ("up to date with what is not here", Message::text(r#"{"resource-id": "net", "seq": 6, "tag": "n6", "media-type": null}"#)),
        ] {
            let server = Sockets::start().await;
            let mut replica = follow(server.http.url(), Some(Via::WebSocket), quick()).await;
            let (mut socket, nothing) = server.next().await;
            socket.send(message(5, 5, NETWORK, &network(5))).await.unwrap();
            version(&mut replica, 5, false).await;
            socket.send(wrong).await.unwrap();
            let (mut socket, first) = server.next().await;
            assert_eq!(first, nothing, "{what}");
            socket.send(message(9, 9, NETWORK, &network(9))).await.unwrap();
            version(&mut replica, 9, false).await;
            assert_eq!(replica.resyncs(), 1, "{what}");
        }
    }

    /// A socket that breaks every time is given up for another transport.
    #[tokio::test]
    async fn a_socket_that_does_not_get_through_is_given_up() {
        let mut server = Sockets::start().await;
        let mut replica = follow(server.http.url(), None, quick()).await;
        for _ in 0..3 {
            let (socket, _) = server.next().await;
            drop(socket);
        }
        let asked = server.http.expect("POST /x/tips").await;
        asked.answer(404, "text/plain", "");
        let stream = server.http.expect("POST /x/stream").await.stream(STREAM);
        stream.send(format!("event: {NETWORK},s0\ndata: {}\n\n", network(1)).into()).unwrap();
        version(&mut replica, 1, false).await;
        assert_eq!(replica.via(), Some(Via::Sse));
    }
}

mod push {
    use super::*;
    use h2::server::{Connection, SendResponse};

    type H2 = Connection<TcpStream, Bytes>;

    /// Takes HTTP/2 on its own port; the directory is elsewhere.
    struct Pushing {
        listener: TcpListener,
        http: Live,
    }

    impl Pushing {
        async fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let tqs = format!("http://{}/x/tqs", listener.local_addr().unwrap());
            let directory = directory("/ws").replace("/x/tqs", &tqs);
            Self { http: Live::start(&directory).await, listener }
        }

        /// The next connection, its request for a queue, answered with one that stays open.
        async fn next(&self, want: Value) -> (tokio::task::JoinHandle<()>, SendResponse<Bytes>, h2::SendStream<Bytes>) {
            let (tcp, _) = timeout(PATIENCE, self.listener.accept()).await.unwrap().unwrap();
            let mut connection: H2 = h2::server::handshake(tcp).await.unwrap();
            let (request, mut respond) = timeout(PATIENCE, connection.accept()).await.unwrap().unwrap().unwrap();
            assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/x/tqs"));
            // The body comes only while the connection is driven.
            let driver = tokio::spawn(async move { while connection.accept().await.is_some() {} });
            let body = request.into_body().data().await.unwrap().unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), want);
            let head = http::Response::builder().header("content-type", "application/alto-transport+json").body(()).unwrap();
            let mut stream = respond.send_response(head, false).unwrap();
            stream.send_data(Bytes::from_static(b"{\"tq\": \"/tqs/9\"}"), false).unwrap();
            (driver, respond, stream)
        }
    }

    fn push(respond: &mut SendResponse<Bytes>, seq: u64, media_type: &str, body: &str) {
        let request = http::Request::builder().method("GET").uri(format!("http://x/tqs/9/uq/{seq}")).body(()).unwrap();
        let mut pushed = respond.push_request(request).unwrap();
        let head = http::Response::builder().header("content-type", media_type).body(()).unwrap();
        pushed.send_response(head, false).unwrap().send_data(Bytes::from(body.to_owned()), true).unwrap();
    }

    #[tokio::test]
    async fn pushes_come_in_order_and_a_closed_queue_is_made_again() {
        let server = Pushing::start().await;
        let mut replica = follow(server.http.url(), Some(Via::Push), quick()).await;
        let (driver, mut respond, mut stream) = server.next(json!({"resource-id": "net"})).await;
        push(&mut respond, 5, NETWORK, &network(5));
        push(&mut respond, 6, MERGE, &patch(6));
        version(&mut replica, 5, false).await;
        version(&mut replica, 6, true).await;
        stream.send_data(Bytes::new(), true).unwrap();
        drop((respond, stream));
        let (other, mut respond, stream) = server.next(json!({"resource-id": "net", "tag": "n6"})).await;
        push(&mut respond, 7, MERGE, &patch(7));
        let change = changed(&mut replica).await;
        assert_eq!((change.seq, change.tag.unwrap().as_str()), (Some(7), "n7"));
        // The connection is cut without a word.
        driver.abort();
        other.abort();
        drop((respond, stream));
        let (_driver, mut respond, _stream) = server.next(json!({"resource-id": "net", "tag": "n7"})).await;
        push(&mut respond, 8, MERGE, &patch(8));
        version(&mut replica, 8, true).await;
        assert_eq!(replica.resyncs(), 0);
    }

    #[tokio::test]
    async fn a_version_that_is_missing_is_noticed() {
        let server = Pushing::start().await;
        let mut replica = follow(server.http.url(), Some(Via::Push), quick()).await;
        let (_driver, mut respond, _stream) = server.next(json!({"resource-id": "net"})).await;
        push(&mut respond, 5, NETWORK, &network(5));
        push(&mut respond, 7, MERGE, &patch(7));
        version(&mut replica, 5, false).await;
        let (_driver, mut respond, _stream) = server.next(json!({"resource-id": "net"})).await;
        push(&mut respond, 7, NETWORK, &network(7));
        version(&mut replica, 7, false).await;
        assert_eq!(replica.resyncs(), 1);
    }
}

/// Without anyone to take them, changes are kept within bounds and the last is a full copy.
#[tokio::test]
async fn changes_that_nobody_takes_are_bounded() {
    let mut server = Live::start(&directory("/ws")).await;
    let limits = Limits { changes_waiting_max: 10, ..quick() };
    let mut replica = follow(server.url(), Some(Via::Sse), limits).await;
    let stream = server.expect("POST /x/stream").await.stream(STREAM);
    stream.send(format!("event: {NETWORK},s0\ndata: {}\n\n", network(1)).into()).unwrap();
    for version in 2..=500 {
        stream.send(format!("event: {MERGE},s0\ndata: {}\n\n", patch(version)).into()).unwrap();
    }
    // It stays current by itself.
    let newest = || replica.copy(0).and_then(|copy| copy.tag).is_some_and(|tag| tag.as_str() == "n500");
    timeout(PATIENCE, async {
        while !newest() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let mut taken: Vec<Change> = Vec::new();
    while taken.last().is_none_or(|change| change.tag.as_ref().unwrap().as_str() != "n500") {
        taken.push(changed(&mut replica).await);
    }
    assert!(taken.len() <= 10, "{}", taken.len());
    assert!(matches!(taken[0].what, What::Full));
    let number = |change: &Change| change.tag.as_ref().unwrap().as_str()[1..].parse::<u64>().unwrap();
    for pair in taken.windows(2) {
        assert!(pair[1].what == What::Full || number(&pair[1]) == number(&pair[0]) + 1);
    }
}
