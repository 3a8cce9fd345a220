//! Answers that go on, as far as HTTP is concerned: how they leave the connection's other answers, who does not read, who leaves, who stops.
use crate::{
    http2::{connect, run},
    served::{Served, publish_big, publisher},
    sse::{Events, costs, post, publish, serving},
};
use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    client::{Builder, SendRequest},
};
use http::Request;
use serde_json::{Value, json};
use server::{Limits, NoSources, Options};
use std::{io::Read, sync::Arc, time::Duration};

const SSE: &str = "/updates/sse";

fn follow(resource: &str) -> String {
    json!({"add": {"1": {"resource-id": resource}}}).to_string()
}

/// How many streams the server says are open.
fn open_streams(served: &Served) -> u64 {
    let status = served.admin("GET /v1/status HTTP/1.1", b"").json();
    let count = find(&status, "sse");
    count.unwrap_or_else(|| panic!("no count of update streams in {status}"))
}

/// The number under a name, wherever it is.
fn find(value: &Value, name: &str) -> Option<u64> {
    let members = value.as_object()?;
    members.get(name).and_then(Value::as_u64).or_else(|| members.values().find_map(|member| find(member, name)))
}

/// Waits for the count, not for time.
fn until_open(served: &Served, want: u64) {
    while open_streams(served) != want {
        std::thread::yield_now();
    }
}

/// RFC 9112 section 7.1: chunks are for HTTP/1.1; before that the end of the connection ends a body.
#[test]
fn http_1_0_has_no_chunks() {
    let mut served = serving(Limits::default());
    let body = follow("cost-map");
    let mut client = served.connect();
    let length = body.len();
    client.write(
        format!("POST {SSE} HTTP/1.0\r\nHost: a\r\nContent-Type: {}\r\nContent-Length: {length}\r\n\r\n{body}", crate::sse::PARAMS)
            .as_bytes(),
    );
    let head = client.head();
    assert_eq!((head.status, head.find("transfer-encoding")), (200, None));
    let mut first = [0; 6];
    client.take(&mut first);
    assert_eq!(&first, b"event:");
    served.stop();
    assert!(client.closed());
}

/// RFC 9112 section 9.3.2: answers come in the order of the requests, and whole, also when the last one takes the connection over
/// while the client has still to read what was before.
#[test]
fn answers_before_a_stream_are_whole() {
    let publisher = publisher();
    publish_big(&publisher, 1000);
    let served = Served::with(crate::served::options(), publisher, Arc::new(NoSources));
    let want = served.publisher.current().versions["big-costs"].body.clone();
    let mut client = served.connect();
    let requests = [b"GET /resources/big-costs HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), post(SSE, &follow("cost-map"))].concat();
    client.write(&requests);
    let first = client.answer();
    assert_eq!(first.status, 200);
    assert!(first.body == want);
    let second = client.head();
    assert_eq!((second.status, second.field("content-type"), second.field("connection")), (200, "text/event-stream", "close"));
}

/// What a client says after it asked for a stream is not answered, and not without bound.
#[test]
fn nothing_is_heard_beside_a_stream() {
    let served = serving(Limits::default());
    let mut events = Events::open(&served, SSE, &json!({"add": {"1": {"resource-id": "cost-map"}}}));
    events.control();
    events.expect("application/alto-costmap+json,1");
    until_open(&served, 1);
    let mut chatty = served.connect();
    chatty.write(&post(SSE, &follow("cost-map")));
    assert_eq!(chatty.head().status, 200);
    let noise = vec![b'x'; 16 << 10];
    // Until the server has enough of it.
    while std::io::Write::write_all(&mut chatty.stream, &noise).is_ok() {}
    until_open(&served, 1);
    publish(&served, vec![costs(7)]);
    events.expect("application/merge-patch+json,1");
}

#[test]
fn who_leaves_is_forgotten() {
    let served = serving(Limits::default());
    for _ in 0..3 {
        let mut client = served.connect();
        client.write(&post(SSE, &follow("cost-map")));
        assert_eq!(client.head().status, 200);
        until_open(&served, 1);
        drop(client);
        until_open(&served, 0);
    }
}

/// A client that does not read is ended in time, and others go on.
#[test]
fn who_does_not_read_is_ended() {
    let publisher = publisher();
    // Too much for the kernel's buffers.
    publish_big(&publisher, 1000);
    let limits = Limits { stall_time_max: Duration::from_millis(300), ..Limits::default() };
    let served = Served::with(Options { limits, ..crate::served::options() }, publisher, Arc::new(NoSources));
    let mut stalled = served.connect();
    stalled.write(&post(SSE, &follow("big-costs")));
    let mut events = Events::open(&served, SSE, &json!({"add": {"1": {"resource-id": "cost-map"}}}));
    events.control();
    events.expect("application/alto-costmap+json,1");
    until_open(&served, 1);
    publish(&served, vec![costs(7)]);
    events.expect("application/merge-patch+json,1");
    assert!(stalled.closed());
}

/// RFC 9112 section 7.1 and RFC 9113 section 5.1: who stops says that the body is whole.
#[test]
fn streams_end_well_when_the_server_stops() {
    let mut served = serving(Limits::default());
    let mut client = served.connect();
    client.write(&post(SSE, &follow("cost-map")));
    assert_eq!(client.head().status, 200);
    let public = served.public;
    run(async {
        let (mut send, _connection) = connect(public, &Builder::new()).await;
        let mut stream = open(&mut send).await;
        let first = stream.data().await.unwrap().unwrap();
        assert!(first.starts_with(b"event: application/alto-updatestreamcontrol+json"));
        served.stop();
        let mut rest = first.to_vec();
        while let Some(data) = stream.data().await {
            // An error would be a stream that was cut.
            let data = data.unwrap();
            stream.flow_control().release_capacity(data.len()).unwrap();
            rest.extend_from_slice(&data);
        }
        assert!(stream.is_end_stream());
    });
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"\r\n0\r\n\r\n"), "{}", String::from_utf8_lossy(&rest));
    served.stopped();
}

async fn open(send: &mut SendRequest<Bytes>) -> RecvStream {
    *send = send.clone().ready().await.unwrap();
    let request = Request::post(format!("http://a{SSE}")).header("content-type", crate::sse::PARAMS).body(()).unwrap();
    let (answer, mut body) = send.send_request(request, false).unwrap();
    body.send_data(follow("cost-map").into(), true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().get("connection")), (200, None));
    answer.into_body()
}

/// RFC 9113 section 5.2: a stream whose window is shut holds its place, is ended in time, and holds up no other stream.
#[test]
fn a_shut_window_holds_up_nobody() {
    // Long enough for one that reads, on a machine that is busy.
    let limits = Limits { stall_time_max: Duration::from_secs(3), ..Limits::default() };
    let served = serving(limits);
    run(async {
        let mut builder = Builder::new();
        // Small enough for some of the first event only, large enough for all streams together.
        builder.initial_window_size(16).initial_connection_window_size(1 << 20);
        let (mut send, _connection) = connect(served.public, &builder).await;
        let mut stalled = open(&mut send).await;
        let mut read = open(&mut send).await;
        let mut text = Vec::new();
        while !(text.ends_with(b"\n\n") && text.windows(4).any(|four| four == b"PID3")) {
            let data = read.data().await.unwrap().unwrap();
            read.flow_control().release_capacity(data.len()).unwrap();
            text.extend_from_slice(&data);
        }
        assert_eq!(stalled.data().await.unwrap().unwrap().len(), 16);
        assert_eq!(stalled.data().await.unwrap().unwrap_err().reason(), Some(Reason::CANCEL));
        publish(&served, vec![costs(9)]);
        text.clear();
        while !text.windows(11).any(|found| found == b"merge-patch") {
            let data = read.data().await.unwrap().unwrap();
            read.flow_control().release_capacity(data.len()).unwrap();
            text.extend_from_slice(&data);
        }
    });
}

/// More connections than one table of open files has room for: every worker has a table of its own, and gives the address back.
#[test]
fn workers_with_tables_of_their_own() {
    let limits = Limits { connections_max: usize::MAX >> 8, ..Limits::default() };
    let served = Served::new(Options { limits: limits.clone(), workers: Some(2), ..crate::served::options() });
    let address = served.public;
    let mut streams: Vec<Events> =
        (0..16).map(|_| Events::open(&served, SSE, &json!({"add": {"1": {"resource-id": "cost-map"}}}))).collect();
    for events in &mut streams {
        events.control();
        events.expect("application/alto-costmap+json,1");
    }
    publish(&served, vec![costs(8)]);
    for events in &mut streams {
        events.expect("application/merge-patch+json,1");
    }
    drop(streams);
    served.stopped();
    let again = Served::new(Options { public: vec![address], limits, ..crate::served::options() });
    assert_eq!(again.get("/directory").status, 200);
}

/// A connection whose client waits leaves hyper and comes back to it: what it says meanwhile, or next in whatever form, is answered in turn.
#[test]
fn polls_and_other_requests_share_a_connection() {
    let served = serving(Limits::default());
    let view = served.post("/tips", "application/alto-tipsparams+json", br#"{"resource-id":"cost-map"}"#).json();
    let uri = view["tips-view-uri"].as_str().unwrap();
    let path = &uri[uri.find("/tips/").unwrap()..];
    let poll = |seq: u32| format!("GET {path}/ug/{seq}/{} HTTP/1.1\r\nHost: a\r\n\r\n", seq + 1);
    let directory = "GET /directory HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = served.connect();
    for seq in 1..4 {
        client.write(poll(seq).as_bytes());
        if seq == 2 {
            // Before the answer: RFC 9112 section 9.3.2.
            client.write(directory.as_bytes());
            client.write(&post("/nowhere", "{}"));
        }
        until_waiting(&served, 1);
        publish(&served, vec![costs(10 + seq)]);
        let edge = client.answer();
        assert_eq!((edge.status, edge.field("content-type")), (200, "application/merge-patch+json"));
        assert!(edge.find("date").is_some() && edge.find("connection").is_none());
        if seq == 2 {
            assert_eq!(client.answer().status, 200);
            assert_eq!(client.answer().status, 404);
        }
        // RFC 9110 section 9.3.2: no body after HEAD.
        assert_eq!(client.ask("HEAD /directory HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
        // A whole request, one in parts, one with a body.
        assert_eq!(client.ask(directory).status, 200);
        let (first, second) = directory.split_at(20);
        client.write(first.as_bytes());
        client.write(second.as_bytes());
        assert_eq!(client.answer().status, 200);
        client.write(&post("/nowhere", "{}"));
        assert_eq!(client.answer().status, 404);
    }
    // One that closed its side still gets its answer, and then the end.
    client.write(poll(4).as_bytes());
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    until_waiting(&served, 1);
    publish(&served, vec![costs(40)]);
    assert_eq!(client.answer().status, 200);
    assert!(client.closed());
}

/// The end of a request that polls, in each form that says whether it is the last on its connection (RFC 9112 section 9.3).
const LAST: [(&str, bool); 4] = [
    ("HTTP/1.1\r\nHost: a\r\n\r\n", false),
    ("HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Close\r\n\r\n", true),
    ("HTTP/1.0\r\n\r\n", true),
    ("HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
];

/// A program that ends closes its side, and reads no more: its poll is not held until its time is up.
#[test]
fn a_poll_of_a_client_that_left_ends() {
    let served =
        serving(Limits { close_time_max: Duration::from_millis(100), poll_time_max: Duration::from_secs(600), ..Limits::default() });
    let view = served.post("/tips", "application/alto-tipsparams+json", br#"{"resource-id":"cost-map"}"#).json();
    let uri = view["tips-view-uri"].as_str().unwrap();
    for (end, _) in LAST {
        let mut client = served.connect();
        client.write(format!("GET {}/ug/1/2 {end}", &uri[uri.find("/tips/").unwrap()..]).as_bytes());
        until_waiting(&served, 1);
        client.stream.shutdown(std::net::Shutdown::Write).unwrap();
        until_waiting(&served, 0);
        assert!(client.closed());
    }
}

/// Who says that it was the last request is left when it has its answer.
#[test]
fn a_poll_may_be_the_last_request() {
    let served = serving(Limits::default());
    let view = served.post("/tips", "application/alto-tipsparams+json", br#"{"resource-id":"cost-map"}"#).json();
    let uri = view["tips-view-uri"].as_str().unwrap();
    for (seq, (end, last)) in (1..).zip(LAST) {
        let mut client = served.connect();
        client.write(format!("GET {}/ug/{seq}/{} {end}", &uri[uri.find("/tips/").unwrap()..], seq + 1).as_bytes());
        until_waiting(&served, 1);
        publish(&served, vec![costs(10 + seq)]);
        let answer = client.answer();
        assert_eq!((answer.status, answer.find("connection")), (200, last.then_some("close")), "{end}");
        if last {
            assert!(client.closed(), "{end}");
        } else {
            assert_eq!(client.ask("GET /directory HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
        }
    }
}

/// Waits until so many polls wait.
fn until_waiting(served: &Served, want: u64) {
    while served.admin("GET /v1/status HTTP/1.1", b"").json()["clients"]["updates"]["tips"] != want {
        std::thread::yield_now();
    }
}
