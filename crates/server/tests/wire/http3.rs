//! HTTP/3: the same answers, streams, bounds and a clean end.
use crate::{
    http2::run,
    served::{COST_FILTER, Served, id, options, publish_big, publisher, put},
    tls::{certificate, files},
};
use alto::media_type;
use bytes::{Buf, Bytes};
use h3::client::{RequestStream, SendRequest};
use h3_quinn::{BidiStream, OpenStreams};
use http::{Request, Response};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use server::{Limits, NoSources, Options};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::task::JoinHandle;

type Stream = RequestStream<BidiStream<Bytes>, Bytes>;

struct Client {
    quic: quinn::Connection,
    send: SendRequest<OpenStreams, Bytes>,
    driver: JoinHandle<h3::error::ConnectionError>,
    _endpoint: quinn::Endpoint,
}

impl Client {
    async fn connect(address: SocketAddr, trusted: &CertificateDer<'static>) -> Result<Self, quinn::ConnectionError> {
        Self::connect_as(address, trusted, quinn::TransportConfig::default()).await
    }

    async fn connect_as(
        address: SocketAddr,
        trusted: &CertificateDer<'static>,
        transport: quinn::TransportConfig,
    ) -> Result<Self, quinn::ConnectionError> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
        let mut tls = versions.with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
        let mut endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        endpoint.set_default_client_config(config);
        let quic = endpoint.connect(address, "alto.example.com").unwrap().await?;
        let (mut driver, send) = h3::client::new(h3_quinn::Connection::new(quic.clone())).await.unwrap();
        let driver = tokio::spawn(async move { std::future::poll_fn(|context| driver.poll_close(context)).await });
        Ok(Self { quic, send, driver, _endpoint: endpoint })
    }

    async fn send(&mut self, request: Request<()>, body: &[u8]) -> Stream {
        let mut stream = self.send.send_request(request).await.unwrap();
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body)).await.unwrap();
        }
        stream.finish().await.unwrap();
        stream
    }

    async fn ask(&mut self, request: Request<()>, body: &[u8]) -> (Response<()>, Vec<u8>) {
        let mut stream = self.send(request, body).await;
        let response = stream.recv_response().await.unwrap();
        (response, all(&mut stream).await)
    }

    async fn get(&mut self, path: &str) -> (Response<()>, Vec<u8>) {
        self.ask(Request::get(format!("https://alto.example.com{path}")).body(()).unwrap(), b"").await
    }
}

async fn all(stream: &mut Stream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(mut data) = stream.recv_data().await.unwrap() {
        all.extend_from_slice(&data.copy_to_bytes(data.remaining()));
    }
    all
}

fn post(path: &str, media_type: &str) -> Request<()> {
    Request::post(format!("https://alto.example.com{path}")).header("content-type", media_type).body(()).unwrap()
}

/// A field of an answer over TLS and TCP.
async fn alt_svc(served: &Served, trusted: &CertificateDer<'static>) -> Option<String> {
    let stream = crate::tls::connect(served.public, &[trusted], &["h2"]).await.unwrap();
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://alto.example.com/directory").body(()).unwrap();
    let response = send.send_request(request, true).unwrap().0.await.unwrap();
    response.headers().get("alt-svc").map(|value| value.to_str().unwrap().to_owned())
}

/// The same answers as over the others, which say where it is (RFC 7838).
#[test]
fn answers() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = certificate(folder.path());
    let publisher = publisher();
    publish_big(&publisher, 300);
    let limits = Limits { query_bytes_max: 1000, ..Limits::default() };
    let served = Served::with(Options { tls: Some(files(folder.path())), limits, ..options() }, publisher, Arc::new(NoSources));
    run(async {
        assert_eq!(alt_svc(&served, &certificate).await, Some(format!("h3=\":{}\"; ma=86400", served.public.port())));
        let mut client = Client::connect(served.public, &certificate).await.unwrap();
        let (head, body) = client.get("/directory").await;
        assert_eq!((head.status().as_u16(), head.headers()["content-type"].to_str().unwrap()), (200, media_type::DIRECTORY));
        assert!(head.headers().contains_key("date") && !head.headers().contains_key("alt-svc"));
        let directory: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(directory["resources"]["cost-map"]["uri"], "https://alto.example.com/resources/cost-map");
        // Many times the window.
        let version = served.publisher.current().versions[&id("big-costs")].clone();
        let (_, body) = client.get("/resources/big-costs").await;
        assert!(body == version.body);
        assert_eq!(client.get("/nothing").await.0.status(), 404);
        let (head, body) = client.ask(Request::head("https://a/resources/cost-map").body(()).unwrap(), b"").await;
        assert!(head.status() == 200 && body.is_empty() && head.headers()["content-length"] != "0");
        assert!(["date", "etag", "last-modified"].iter().all(|name| head.headers().contains_key(*name)));
        let (head, body) = client.ask(post("/resources/filtered-cost-map", media_type::COST_MAP_FILTER), COST_FILTER).await;
        assert_eq!(head.status(), 200, "{}", String::from_utf8_lossy(&body));
        let (head, _) = client.ask(post("/resources/filtered-cost-map", media_type::COST_MAP_FILTER), &[b' '; 1001]).await;
        assert_eq!(head.status(), 413);
        let mut wrong_length = post("/resources/filtered-cost-map", media_type::COST_MAP_FILTER);
        wrong_length.headers_mut().insert("content-length", 999.into());
        assert_eq!(client.ask(wrong_length, COST_FILTER).await.0.status(), 400);
        // Pushes are for HTTP/2.
        assert_eq!(client.ask(post("/tqs", media_type::TRANSPORT), br#"{"resource-id":"cost-map"}"#).await.0.status(), 505);
        let status: serde_json::Value = served.admin("GET /v1/status HTTP/1.1", b"").json();
        assert_eq!(status["clients"]["http3"], 1);
    });
    // Not asked for: not there, and not announced.
    let served = Served::new(Options { tls: Some(files(folder.path())), http3: false, ..options() });
    run(async {
        assert_eq!(alt_svc(&served, &certificate).await, None);
        std::net::UdpSocket::bind(served.public).expect("nobody has the port");
    });
}

/// An update stream, events as they come, and its end when the server stops: GOAWAY, then the connection.
#[test]
fn streams_and_a_clean_end() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = certificate(folder.path());
    let mut served = Served::new(Options { tls: Some(files(folder.path())), ..options() });
    run(async {
        let mut client = Client::connect(served.public, &certificate).await.unwrap();
        let wish = br#"{"add":{"one":{"resource-id":"cost-map"}}}"#;
        let mut stream = client.send(post("/updates/sse", media_type::UPDATE_STREAM_PARAMS), wish).await;
        let head = stream.recv_response().await.unwrap();
        assert_eq!((head.status().as_u16(), head.headers()["content-type"].to_str().unwrap()), (200, media_type::EVENT_STREAM));
        let mut heard = String::new();
        let mut until = async |stream: &mut Stream, what: &str| {
            while !heard.contains(what) {
                let mut data = stream.recv_data().await.unwrap().expect("the stream goes on");
                heard.push_str(std::str::from_utf8(&data.copy_to_bytes(data.remaining())).unwrap());
            }
            heard.clear();
        };
        until(&mut stream, "\"PID1\"").await;
        for cost in [777, 778] {
            let mut map: serde_json::Value = serde_json::from_slice(crate::served::COST_MAP).unwrap();
            map["cost-map"]["PID1"]["PID2"] = cost.into();
            served.publisher.apply(vec![put("cost-map", map.to_string().as_bytes())], SystemTime::now(), true).unwrap();
            until(&mut stream, &cost.to_string()).await;
        }
        served.stop();
        all(&mut stream).await;
        drop(stream);
        client.driver.await.unwrap();
        assert!(matches!(client.quic.closed().await, quinn::ConnectionError::ApplicationClosed(_)), "{:?}", client.quic.close_reason());
    });
    served.stopped();
}

/// Connections count together with those of TCP; at the bound a QUIC one is refused.
#[test]
fn connections_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = certificate(folder.path());
    // The listener of TCP keeps one for who comes next.
    let limits = Limits { connections_max: 3, ..Limits::default() };
    let served = Served::new(Options { tls: Some(files(folder.path())), limits, ..options() });
    run(async {
        let mut first = Client::connect(served.public, &certificate).await.unwrap();
        let second = Client::connect(served.public, &certificate).await.unwrap();
        assert!(Client::connect(served.public, &certificate).await.is_err());
        assert_eq!(first.get("/directory").await.0.status(), 200);
        second.quic.close(0u32.into(), b"");
        while Client::connect(served.public, &certificate).await.is_err() {}
    });
}

/// A certificate that is read again is shown to new connections; those before go on.
#[test]
fn new_certificates_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let old = certificate(folder.path());
    let served = Served::new(Options { tls: Some(files(folder.path())), ..options() });
    run(async {
        let mut before = Client::connect(served.public, &old).await.unwrap();
        let new = certificate(folder.path());
        while Client::connect(served.public, &new).await.is_err() {}
        assert_eq!(before.get("/directory").await.0.status(), 200);
    });
}

/// A client that does not end its request is told so, whether its body is wanted or not, and the connection goes on.
#[test]
fn unfinished_requests_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = certificate(folder.path());
    let short = Duration::from_millis(100);
    let limits = Limits { body_time_max: short, discard_pause_max: short, ..Limits::default() };
    let served = Served::new(Options { tls: Some(files(folder.path())), limits, ..options() });
    run(async {
        let mut client = Client::connect(served.public, &certificate).await.unwrap();
        for (path, want) in [("/resources/filtered-cost-map", 408), ("/nothing", 404)] {
            for part in [&b""[..], b"{"] {
                let mut stream = client.send.send_request(post(path, media_type::COST_MAP_FILTER)).await.unwrap();
                if !part.is_empty() {
                    stream.send_data(Bytes::from_static(part)).await.unwrap();
                }
                assert_eq!(stream.recv_response().await.unwrap().status(), want, "{path} after {part:?}");
                all(&mut stream).await;
            }
        }
        assert_eq!(client.get("/directory").await.0.status(), 200);
    });
}

/// A connection without requests ends with GOAWAY and a close, though its client shows that it lives; and one whose client takes nothing of
/// its answer, because that answer is given up.
#[test]
fn idle_and_stalled_clients_are_left() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = certificate(folder.path());
    let publisher = publisher();
    publish_big(&publisher, 300);
    // Long enough that a busy machine is not taken for a silent client.
    let limits = Limits { idle_time_max: Duration::from_secs(2), stall_time_max: Duration::from_millis(200), ..Limits::default() };
    let served = Served::with(Options { tls: Some(files(folder.path())), limits, ..options() }, publisher, Arc::new(NoSources));
    run(async {
        for stalled in [false, true] {
            let mut transport = quinn::TransportConfig::default();
            transport.keep_alive_interval(Some(Duration::from_millis(200))).stream_receive_window(1000u32.into());
            let mut client = Client::connect_as(served.public, &certificate, transport).await.unwrap();
            let mut stream = client.send(Request::get("https://a/resources/big-costs").body(()).unwrap(), b"").await;
            assert_eq!(stream.recv_response().await.unwrap().status(), 200);
            if !stalled {
                all(&mut stream).await;
            }
            let ended = client.quic.closed().await;
            assert!(matches!(ended, quinn::ConnectionError::ApplicationClosed(_)), "{ended}");
            assert_eq!(stream.recv_data().await.is_err(), stalled);
        }
    });
}
