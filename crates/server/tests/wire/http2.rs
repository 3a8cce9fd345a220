//! HTTP/2 by prior knowledge: flow control, bounds, attacks.
use crate::served::{COST_FILTER, Client, Served, options, publish_big, publisher};
use alto::media_type;
use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    client::{Builder, SendRequest},
};
use http::{Method, Request, Response};
use server::{Limits, NoSources, Options};
use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpStream, task::JoinHandle};

pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), test).await.expect("it takes no minute") })
}

pub async fn connect(address: SocketAddr, builder: &Builder) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (send, connection) = builder.handshake(stream).await.unwrap();
    (send, tokio::spawn(connection))
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://alto.example.com{path}")).body(()).unwrap()
}

pub async fn ask(send: &mut SendRequest<Bytes>, path: &str) -> Response<RecvStream> {
    *send = send.clone().ready().await.unwrap();
    send.send_request(get(path), true).unwrap().0.await.unwrap()
}

pub async fn body(stream: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len()).unwrap();
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// The same answers as over HTTP/1.1.
#[test]
fn answers() {
    let served = Served::new(options());
    run(async {
        let (mut send, _connection) = connect(served.public, &Builder::new()).await;
        let (parts, mut stream) = ask(&mut send, "/directory").await.into_parts();
        assert_eq!((parts.status.as_u16(), parts.headers["content-type"].to_str().unwrap()), (200, media_type::DIRECTORY));
        assert!(parts.headers.contains_key("date"));
        let directory: serde_json::Value = serde_json::from_slice(&body(&mut stream).await.unwrap()).unwrap();
        // `:authority` is what the client calls us.
        assert_eq!(directory["resources"]["cost-map"]["uri"], "http://alto.example.com/resources/cost-map");
        let over1 = served.get("/resources/cost-map");
        let (parts, mut stream) = ask(&mut send, "/resources/cost-map").await.into_parts();
        assert_eq!(body(&mut stream).await.unwrap(), over1.body);
        for (name, value) in &over1.fields {
            // A second later they may say another time.
            if matches!(name.as_str(), "date" | "last-modified") {
                assert!(parts.headers.contains_key(name), "{name}");
            } else if name != "connection" {
                assert_eq!(&parts.headers[name], value, "{name}");
            }
        }
        let (parts, mut stream) = ask(&mut send, "/nothing").await.into_parts();
        assert_eq!((parts.status.as_u16(), parts.headers["content-type"].to_str().unwrap()), (404, media_type::ERROR));
        assert!(!body(&mut stream).await.unwrap().is_empty());
        let head = Request::head("http://a/resources/cost-map").body(()).unwrap();
        let (parts, mut stream) = send.send_request(head, true).unwrap().0.await.unwrap().into_parts();
        assert_eq!(parts.headers["content-length"], over1.body.len().to_string());
        assert!(body(&mut stream).await.unwrap().is_empty());
    });
}

fn query(fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(Method::POST).uri("http://a/resources/filtered-cost-map");
    for (name, value) in [("content-type", media_type::COST_MAP_FILTER)].iter().chain(fields) {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// Bodies end with END_STREAM or with `content-length` bytes; they are counted and may be asked for first.
#[test]
fn request_bodies() {
    let limits = Limits { query_bytes_max: 1000, body_time_max: Duration::from_millis(200), ..Limits::default() };
    let served = Served::new(Options { limits, ..options() });
    run(async {
        let (mut send, _connection) = connect(served.public, &Builder::new()).await;
        let (response, mut stream) = send.send_request(query(&[]), false).unwrap();
        for chunk in COST_FILTER.chunks(40) {
            stream.send_data(Bytes::from_static(chunk), false).unwrap();
        }
        stream.send_data(Bytes::new(), true).unwrap();
        assert_eq!(response.await.unwrap().status(), 200);

        let length = COST_FILTER.len().to_string();
        let (response, mut stream) = send.send_request(query(&[("content-length", &length)]), false).unwrap();
        stream.send_data(Bytes::from_static(COST_FILTER), false).unwrap();
        assert_eq!(response.await.unwrap().status(), 200, "without END_STREAM");

        let (mut response, mut stream) = send.send_request(query(&[("expect", "100-continue")]), false).unwrap();
        let go_on = std::future::poll_fn(|context| response.poll_informational(context)).await.unwrap().unwrap();
        assert_eq!(go_on.status(), 100);
        stream.send_data(Bytes::from_static(COST_FILTER), true).unwrap();
        assert_eq!(response.await.unwrap().status(), 200);

        let (response, _stream) = send.send_request(query(&[("content-length", "1001")]), false).unwrap();
        assert_eq!(response.await.unwrap().status(), 413);

        let (response, mut stream) = send.send_request(query(&[]), false).unwrap();
        stream.send_data(Bytes::from(vec![b' '; 1001]), false).unwrap();
        assert_eq!(response.await.unwrap().status(), 413);

        let (response, mut stream) = send.send_request(query(&[]), false).unwrap();
        stream.send_data(Bytes::from_static(b"{"), false).unwrap();
        assert_eq!(response.await.unwrap().status(), 408);
        // The connection is as good as before.
        assert_eq!(ask(&mut send, "/directory").await.status(), 200);
    });
}

/// RFC 9113 section 5.2: whatever the window, the body arrives whole, and no more than the window is under way.
#[test]
fn any_window() {
    let publisher = publisher();
    publish_big(&publisher, 150);
    let served = Served::with(options(), publisher, Arc::new(NoSources));
    let want = served.get("/resources/big-costs").body;
    run(async {
        for window in [1, 100, 16_384, 10 << 20] {
            let mut builder = Builder::new();
            builder.initial_window_size(window).initial_connection_window_size(1 << 20);
            let (mut send, _connection) = connect(served.public, &builder).await;
            let path = if window == 1 { "/resources/cost-map" } else { "/resources/big-costs" };
            let want = if window == 1 { served.get(path).body } else { want.clone() };
            let mut stream = ask(&mut send, path).await.into_body();
            assert!(body(&mut stream).await.unwrap() == want, "window {window}");
        }
        // Many at once over one small connection window.
        let (mut send, _connection) = connect(served.public, &Builder::new()).await;
        let mut streams = Vec::new();
        for _ in 0..20 {
            streams.push(ask(&mut send, "/resources/big-costs").await.into_body());
        }
        let bodies: Vec<_> = streams.into_iter().map(|mut stream| tokio::spawn(async move { body(&mut stream).await })).collect();
        for got in bodies {
            assert!(got.await.unwrap().unwrap() == want);
        }
    });
}

/// A stream whose client never opens the window is reset; the connection goes on.
#[test]
fn stalled_streams_are_reset() {
    let limits = Limits { stall_time_max: Duration::from_millis(200), ..Limits::default() };
    let served = Served::new(Options { limits, ..options() });
    run(async {
        let mut builder = Builder::new();
        builder.initial_window_size(10);
        let (mut send, _connection) = connect(served.public, &builder).await;
        let mut stream = ask(&mut send, "/resources/cost-map").await.into_body();
        assert_eq!(stream.data().await.unwrap().unwrap().len(), 10);
        // Nothing is released.
        let error = stream.data().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::CANCEL));
        assert_eq!(ask(&mut send, "/directory").await.status(), 200);
    });
}

/// CVE-2023-44487: requests that are reset before they can be answered.
#[test]
fn rapid_resets_end_the_connection() {
    let limits = Limits { resets_max: 50, ..Limits::default() };
    let served = Served::new(Options { limits, ..options() });
    run(async {
        let mut builder = Builder::new();
        builder.initial_window_size(0);
        let (mut send, connection) = connect(served.public, &builder).await;
        let mut ended = false;
        for _ in 0..1000 {
            let Ok(ready) = send.clone().ready().await else {
                ended = true;
                break;
            };
            send = ready;
            let Ok((response, mut stream)) = send.send_request(get("/resources/cost-map"), true) else {
                ended = true;
                break;
            };
            // Its body waits for a window.
            if response.await.is_err() {
                ended = true;
                break;
            }
            stream.send_reset(Reason::CANCEL);
        }
        assert!(ended, "a thousand resets were taken");
        let error = connection.await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
        // Others are served.
        let (mut send, _connection) = connect(served.public, &Builder::new()).await;
        assert_eq!(ask(&mut send, "/directory").await.status(), 200);
    });
}

/// The same of requests whose bodies nobody wants.
#[test]
fn resets_of_refused_bodies_count() {
    let limits = Limits { resets_max: 10, discard_pause_max: Duration::from_secs(60), ..Limits::default() };
    let served = Served::new(Options { limits, ..options() });
    run(async {
        let (mut send, connection) = connect(served.public, &Builder::new()).await;
        let post = || Request::post("http://a/nothing").body(()).unwrap();
        for _ in 0..100 {
            let Ok(ready) = send.clone().ready().await else { break };
            send = ready;
            let (Ok(mut one), Ok(mut two)) = (send.send_request(post(), false), send.send_request(post(), false)) else { break };
            // Answered after those two were taken, and one that is let finish: of each three requests, one too many is reset.
            let Ok((response, _)) = send.send_request(get("/directory"), true) else { break };
            if response.await.is_err() {
                break;
            }
            one.1.send_reset(Reason::CANCEL);
            two.1.send_reset(Reason::CANCEL);
        }
        let error = connection.await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
    });
}

/// A header list over the bound is refused, and not kept.
#[test]
fn headers_have_a_bound() {
    let served = Served::new(options());
    run(async {
        let (mut send, connection) = connect(served.public, &Builder::new()).await;
        let request = Request::get("http://a/directory").header("x", "y".repeat(20 << 10)).body(()).unwrap();
        match send.send_request(request, true).unwrap().0.await {
            Ok(response) => assert_eq!(response.status(), 431),
            Err(error) => assert!(error.reason().is_some(), "{error}"),
        }
        drop(connection);
    });
}

/// An idle connection is told to go (GOAWAY) and goes.
#[test]
fn idle_connections_end() {
    let limits = Limits { idle_time_max: Duration::from_millis(100), ..Limits::default() };
    let served = Served::new(Options { limits, ..options() });
    run(async {
        let (mut send, connection) = connect(served.public, &Builder::new()).await;
        assert_eq!(ask(&mut send, "/directory").await.status(), 200);
        connection.await.unwrap().unwrap();
    });
}

/// Frames that are none end their connection and nothing else.
#[test]
fn nonsense_after_the_preface() {
    let served = Served::new(options());
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for frames in [
        // SETTINGS of a length that is none.
        &b"\0\0\x05\x04\0\0\0\0\0aaaaa"[..],
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        // Settings, then HEADERS on stream 0.
        b"\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x05\0\0\0\0\x82",
    ] {
        let mut client = Client::connect(served.public);
        client.write(preface);
        client.write(frames);
        assert!(client.closed(), "{frames:?}");
    }
    assert_eq!(served.get("/directory").status, 200);
}
