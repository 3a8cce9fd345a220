//! Answers that go on over TLS: an update stream and a WebSocket on each version of HTTP that ALPN selects.
use crate::{
    http2::run,
    served::{Served, options},
    sse::{PARAMS, costs, post, publish},
    tls::{certificate, connect, files},
    websocket::{PATH, masked, opening},
};
use bytes::Bytes;
use h2::{RecvStream, SendStream, client::SendRequest, ext::Protocol};
use http::{Method, Request};
use rustls::pki_types::CertificateDer;
use server::Options;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

const SSE: &str = "/updates/sse";
const WISH: &str = r#"{"add":{"1":{"resource-id":"cost-map"}}}"#;
/// A message after which a WebSocket begins with a full copy.
const NOTHING_YET: &[u8] = br#"{"reference-tag":"unheard-of"}"#;
/// Of a close frame: "going away" (RFC 6455 section 7.4.1).
const AWAY: &[u8] = b"\x03\xe9the server stops";

/// What a client follows with.
enum Line {
    Http1(Box<TlsStream<TcpStream>>),
    Http2 {
        stream: RecvStream,
        /// What keeps it open.
        _open: (SendStream<Bytes>, SendRequest<Bytes>),
    },
}

impl Line {
    async fn http1(served: &Served, trusted: &CertificateDer<'static>, said: &[u8]) -> Self {
        let mut stream = connect(served.public, &[trusted], &["http/1.1"]).await.unwrap();
        stream.write_all(said).await.unwrap();
        Self::Http1(Box::new(stream))
    }

    async fn http2(served: &Served, trusted: &CertificateDer<'static>, request: Request<()>, said: &[u8], ends: bool) -> Self {
        let stream = connect(served.public, &[trusted], &["h2"]).await.unwrap();
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut send = send.ready().await.unwrap();
        // Until the server's SETTINGS are there.
        while !send.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let (answer, mut say) = send.send_request(request, false).unwrap();
        say.send_data(Bytes::copy_from_slice(said), ends).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        Self::Http2 { stream: answer.into_body(), _open: (say, send) }
    }

    /// What comes next; nothing at the end.
    async fn more(&mut self) -> Vec<u8> {
        match self {
            Self::Http1(stream) => {
                let mut chunk = vec![0; 16 << 10];
                let read = stream.read(&mut chunk).await.unwrap();
                chunk.truncate(read);
                chunk
            }
            Self::Http2 { stream, .. } => {
                let Some(data) = stream.data().await else { return Vec::new() };
                let data = data.unwrap();
                stream.flow_control().release_capacity(data.len()).unwrap();
                data.into()
            }
        }
    }

    /// Reads on until this was said.
    async fn until(&mut self, what: &str, said: &[u8]) {
        let mut all = Vec::new();
        while !all.windows(said.len()).any(|some| some == said) {
            let more = self.more().await;
            assert!(!more.is_empty(), "{what} ended; it said {}", String::from_utf8_lossy(&all));
            all.extend(more);
        }
    }
}

#[test]
fn a_resource_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let mut served = Served::new(Options { tls: Some(files(folder.path())), ..options() });
    run(async {
        let hello = masked(0x81, NOTHING_YET);
        let stream = Request::post(format!("https://alto.example.com{SSE}")).header("content-type", PARAMS).body(()).unwrap();
        let socket = Request::builder().method(Method::CONNECT).uri(format!("https://alto.example.com{PATH}"));
        let socket = socket.header("sec-websocket-version", "13").extension(Protocol::from_static("websocket")).body(()).unwrap();
        let upgrade = [opening(PATH, "").as_bytes(), &hello].concat();
        let mut lines = [
            ("a stream over HTTP/1.1", Line::http1(&served, &trusted, &post(SSE, WISH)).await),
            ("a stream over HTTP/2", Line::http2(&served, &trusted, stream, WISH.as_bytes(), true).await),
            ("a WebSocket over HTTP/1.1", Line::http1(&served, &trusted, &upgrade).await),
            ("a WebSocket over HTTP/2", Line::http2(&served, &trusted, socket, &hello, false).await),
        ];
        for (what, line) in &mut lines {
            line.until(what, br#""PID2":5"#).await;
        }
        for cost in [7, 8] {
            publish(&served, vec![costs(cost)]);
            for (what, line) in &mut lines {
                line.until(what, format!("\"PID2\":{cost}").as_bytes()).await;
            }
        }
        // The server goes, and says so.
        served.stop();
        for (what, line) in &mut lines {
            if what.contains("WebSocket") {
                line.until(what, AWAY).await;
            } else {
                while !line.more().await.is_empty() {}
            }
        }
    });
    served.stopped();
}
