//! Exchanges of one request and one answer over HTTP/1.1, HTTP/2 and HTTP/3: connections, redirects, content codings (RFC 9110, 9113, 9114).
//!
//! Invariant: at most `idle_connections_max` idle HTTP/1.1 connections an origin, one HTTP/2 or HTTP/3 connection an origin, and no body above
//! `body_bytes_max` in memory. A request is sent again only when a kept connection turned out dead before the request left.
mod http3;

use crate::{
    error::{Error, excerpt},
    options::{Options, Protocol},
    tap::Tapped,
    tls,
    uri::{Origin, Uri},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    collections::HashMap,
    io::{self, Read},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

/// A request to be sent.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Method.
    pub method: Method,
    /// Where to.
    pub uri: Uri,
    /// Fields besides those every request has (`host`, `user-agent`, `accept-encoding`).
    pub headers: HeaderMap,
    /// Empty for none.
    pub body: Bytes,
}

/// A whole answer, content coding removed.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Where it came from, after redirects.
    pub uri: Uri,
    /// Status.
    pub status: StatusCode,
    /// HTTP version it came by.
    pub version: Version,
    /// Fields as received.
    pub headers: HeaderMap,
    /// Decoded.
    pub body: Bytes,
}

impl Reply {
    /// A field as text; empty when it is missing or no text.
    pub fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
    /// Media type without parameters, lower case.
    pub fn media_type(&self) -> String {
        self.header(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }
    /// `Retry-After` (RFC 9110 section 10.2.3): seconds or a date.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let text = self.header(header::RETRY_AFTER).trim();
        match text.parse() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => Some(httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).unwrap_or_default()),
        }
    }
    /// Start of the body, for messages.
    pub fn excerpt(&self) -> String {
        excerpt(&String::from_utf8_lossy(&self.body[..self.body.len().min(1000)]))
    }
}

/// What went wrong below HTTP.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An answer whose body comes as it is made. But over HTTP/3 it has a connection of its own, which ends with it.
#[derive(Debug)]
pub(crate) struct Streamed {
    /// Where it came from, after redirects.
    pub uri: Uri,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
    // HTTP/2 ends a connection without requests.
    _sender: Option<Sender>,
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Body {
    Tcp(Incoming),
    Http3(Box<http3::Body>),
}

impl Body {
    /// The next piece, trailers left out.
    pub async fn data(&mut self) -> Option<Result<Bytes, Cause>> {
        let body = match self {
            Self::Http3(body) => return body.data().await,
            Self::Tcp(body) => body,
        };
        loop {
            match body.frame().await? {
                Err(error) => return Some(Err(error.into())),
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
            }
        }
    }
}

/// A connection, TLS done where the origin wants it.
pub trait Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static> Io for T {}

/// Owns the connections.
#[derive(Debug)]
pub(crate) struct Transport {
    options: Arc<Options>,
    tls: OnceLock<Arc<rustls::ClientConfig>>,
    idle: Mutex<HashMap<Origin, Idle>>,
    http3: http3::Connections,
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) network: Option<Arc<dyn crate::simulation::Network>>,
}

#[derive(Debug, Default)]
struct Idle {
    http1: Vec<http1::SendRequest<Full<Bytes>>>,
    http2: Option<http2::SendRequest<Full<Bytes>>>,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Transport {
    pub fn new(options: Arc<Options>) -> Self {
        Self {
            options,
            tls: OnceLock::new(),
            idle: Mutex::default(),
            http3: http3::Connections::default(),
            #[cfg(any(test, feature = "simulation"))]
            network: None,
        }
    }

    /// Sends and follows redirects. Errors: `Connect`, `Tls`, `Timeout`, `Broken`, `Limit`, `BadAnswer` (coding, redirect).
    pub async fn exchange(&self, ask: Ask) -> Result<Reply, Error> {
        self.exchange_within(ask, self.options.silence_timeout, &mut || ()).await
    }

    /// The same for an answer that may take as long as `silence` to begin; whenever some of it came, `came` is called.
    pub async fn exchange_within(&self, mut ask: Ask, silence: Duration, came: &mut (dyn FnMut() + Send)) -> Result<Reply, Error> {
        for _ in 0..=self.options.limits.redirects_max {
            let reply = self.exchange_once(&ask, silence, came).await?;
            match redirected(&ask, reply.status, &reply.headers)? {
                Some(next) => ask = next,
                None => return Ok(reply),
            }
        }
        Err(self.too_many_redirects(&ask))
    }

    /// Sends, over HTTP/1.1 and HTTP/2 on a connection of its own, follows redirects, and returns when the head of the answer is there. A
    /// success has no content coding: it would have to be undone piece by piece.
    pub async fn stream(&self, mut ask: Ask) -> Result<Streamed, Error> {
        let silence = self.options.silence_timeout;
        for _ in 0..=self.options.limits.redirects_max {
            let (response, _sender) = if self.options.protocol == Protocol::Http3 {
                (self.send_http3(&ask, silence, PLAIN).await?, None)
            } else {
                let mut sender = self.connect(&ask.uri.origin()).await?;
                let sent = match &mut sender {
                    Sender::Http1(s) => timeout(silence, s.send_request(message(&ask, false, PLAIN))).await,
                    Sender::Http2(s) => timeout(silence, s.send_request(message(&ask, true, PLAIN))).await,
                };
                let response = sent
                    .map_err(|_| no_answer(&ask, silence))?
                    .map_err(|error| Error::Broken { uri: ask.uri.to_string(), source: error.into() })?;
                (response.map(Body::Tcp), Some(sender))
            };
            let (parts, body) = response.into_parts();
            if let Some(next) = redirected(&ask, parts.status, &parts.headers)? {
                ask = next;
                continue;
            }
            let is_coded = |coding: &&HeaderValue| !coding.is_empty() && !coding.as_bytes().eq_ignore_ascii_case(PLAIN.as_bytes());
            match parts.headers.get(header::CONTENT_ENCODING).filter(is_coded).filter(|_| parts.status.is_success()) {
                Some(coding) => return Err(Error::bad(&ask.uri, format!("content coding {coding:?}, where none was accepted"))),
                None => return Ok(Streamed { uri: ask.uri, status: parts.status, headers: parts.headers, body, _sender }),
            }
        }
        Err(self.too_many_redirects(&ask))
    }

    /// What is left of a streamed answer that turned out to be a short one.
    pub async fn rest(&self, streamed: Streamed) -> Result<Reply, Error> {
        let ask = Ask { method: Method::GET, uri: streamed.uri, headers: HeaderMap::new(), body: Bytes::new() };
        let mut response = http::Response::new(streamed.body);
        *response.status_mut() = streamed.status;
        *response.headers_mut() = streamed.headers;
        self.read(&ask, response, &mut || ()).await
    }

    fn too_many_redirects(&self, ask: &Ask) -> Error {
        let max = self.options.limits.redirects_max;
        Error::Limit { uri: ask.uri.to_string(), what: "the number of redirects", max, name: "redirects_max" }
    }

    async fn exchange_once(&self, ask: &Ask, silence: Duration, came: &mut (dyn FnMut() + Send)) -> Result<Reply, Error> {
        if self.options.protocol == Protocol::Http3 {
            let response = self.send_http3(ask, silence, CODED).await?;
            return self.read(ask, response, came).await;
        }
        let origin = ask.uri.origin();
        let mut kept = self.take(&origin);
        loop {
            let (mut sender, fresh) = match kept.take() {
                Some(sender) => (sender, false),
                None => (self.connect(&origin).await?, true),
            };
            let sent = match &mut sender {
                Sender::Http1(s) => timeout(silence, s.try_send_request(message(ask, false, CODED))).await,
                Sender::Http2(s) => timeout(silence, s.try_send_request(message(ask, true, CODED))).await,
            };
            let answer: Result<http::Response<Incoming>, TrySendError<_>> = sent.map_err(|_| no_answer(ask, silence))?;
            match answer {
                Ok(response) => {
                    let reply = self.read(ask, response.map(Body::Tcp), came).await?;
                    self.give_back(origin, sender);
                    return Ok(reply);
                }
                // The server closed a kept connection: the request never left, or its fate is known to be harmless.
                Err(error) if !fresh && (error.message().is_some() || is_repeatable(&ask.method)) => {
                    self.forget_http2(&origin);
                    kept = self.take(&origin);
                }
                Err(error) => return Err(Error::Broken { uri: ask.uri.to_string(), source: error.into_error().into() }),
            }
        }
    }

    /// Sends over HTTP/3 and returns when the head of the answer is there.
    async fn send_http3(&self, ask: &Ask, silence: Duration, codings: &'static str) -> Result<http::Response<Body>, Error> {
        let origin = ask.uri.origin();
        if !origin.tls {
            return Err(Error::Url { text: ask.uri.to_string(), why: "HTTP/3 is spoken at https:// only" });
        }
        loop {
            let tls = || self.tls_config(Protocol::Http3);
            let (connection, fresh) = self.http3.get(&origin, self.options.connect_timeout, tls).await?;
            let mut request = message(ask, true, codings).map(|_| ask.body.clone());
            if !ask.body.is_empty() {
                request.headers_mut().insert(header::CONTENT_LENGTH, ask.body.len().into());
            }
            let sent = timeout(silence, connection.send(request)).await;
            match sent.map_err(|_| no_answer(ask, silence))? {
                Ok(response) => return Ok(response.map(|body| Body::Http3(Box::new(body)))),
                Err(error) if connection.is_over(&error) => {
                    self.http3.forget(&origin, &connection).await;
                    // As above: the server closed a kept connection.
                    if fresh || !is_repeatable(&ask.method) {
                        return Err(Error::Broken { uri: ask.uri.to_string(), source: error.into() });
                    }
                }
                Err(error) => return Err(Error::Broken { uri: ask.uri.to_string(), source: error.into() }),
            }
        }
    }

    fn take(&self, origin: &Origin) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = idle.get_mut(origin)?;
        if let Some(sender) = idle.http2.as_ref().filter(|sender| !sender.is_closed()) {
            return Some(Sender::Http2(sender.clone()));
        }
        while let Some(sender) = idle.http1.pop() {
            if sender.is_ready() {
                return Some(Sender::Http1(sender));
            }
        }
        None
    }

    fn give_back(&self, origin: Origin, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = idle.entry(origin).or_default();
        match sender {
            Sender::Http1(sender) if !sender.is_closed() && idle.http1.len() < self.options.limits.idle_connections_max => {
                idle.http1.push(sender);
            }
            Sender::Http2(sender) if !sender.is_closed() => idle.http2 = Some(sender),
            _ => {}
        }
    }

    fn forget_http2(&self, origin: &Origin) {
        if let Some(idle) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(origin) {
            idle.http2 = None;
        }
    }

    async fn connect(&self, origin: &Origin) -> Result<Sender, Error> {
        let protocol = self.options.protocol;
        let (io, alpn) = self.open(origin, protocol).await?;
        let http2 = match alpn {
            Some(chosen) => chosen == b"h2",
            None => protocol == Protocol::Http2,
        };
        timeout(self.options.connect_timeout, self.handshake(origin, io, http2)).await.map_err(|_| self.late(origin))?
    }

    fn late(&self, origin: &Origin) -> Error {
        let why = format!("no connection after {} s", self.options.connect_timeout.as_secs_f64());
        Error::Connect { origin: origin.to_string(), source: io::Error::new(io::ErrorKind::TimedOut, why) }
    }

    /// A connection for whoever speaks on it, and what ALPN chose. Errors: `Connect`, `Tls`, `Certificates`.
    pub async fn open(&self, origin: &Origin, protocol: Protocol) -> Result<(Box<dyn Io>, Option<Vec<u8>>), Error> {
        timeout(self.options.connect_timeout, self.open_patiently(origin, protocol)).await.map_err(|_| self.late(origin))?
    }

    async fn open_patiently(&self, origin: &Origin, protocol: Protocol) -> Result<(Box<dyn Io>, Option<Vec<u8>>), Error> {
        let no_connection = |source| Error::Connect { origin: origin.to_string(), source };
        #[cfg(any(test, feature = "simulation"))]
        if let Some(network) = &self.network {
            return Ok((network.connect().await.map_err(no_connection)?, None));
        }
        let tcp = TcpStream::connect((&*origin.host, origin.port)).await.map_err(no_connection)?;
        tcp.set_nodelay(true).map_err(no_connection)?;
        if !origin.tls {
            return Ok((Box::new(tcp), None));
        }
        let config = self.tls_config(protocol)?;
        let no_session = |source| Error::Tls { origin: origin.to_string(), source };
        let name = rustls::pki_types::ServerName::try_from(origin.host.to_string())
            .map_err(|error| no_session(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let stream = TlsConnector::from(config).connect(name, tcp).await.map_err(no_session)?;
        let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        Ok((Box::new(Tapped::new(stream, tls::said)), alpn))
    }

    fn tls_config(&self, protocol: Protocol) -> Result<Arc<rustls::ClientConfig>, Error> {
        match self.tls.get().filter(|_| protocol == self.options.protocol) {
            Some(config) => Ok(config.clone()),
            None => {
                let config = tls::config(self.options.ca_file.as_deref(), protocol)?;
                Ok(if protocol == self.options.protocol { self.tls.get_or_init(|| config).clone() } else { config })
            }
        }
    }

    async fn handshake(&self, origin: &Origin, io: Box<dyn Io>, http2: bool) -> Result<Sender, Error> {
        let broken = |error: hyper::Error| Error::Broken { uri: origin.to_string(), source: error.into() };
        // The connection tasks end when the sender is dropped or the peer closes; what they saw reaches the request through its sender.
        if http2 {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                // A map of 10 MB over the default window of 64 KB costs a round trip for every 64 KB.
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(4 << 20)
                .handshake(TokioIo::new(io))
                .await
                .map_err(broken)?;
            tokio::spawn(connection);
            Ok(Sender::Http2(sender))
        } else {
            let (sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(broken)?;
            tokio::spawn(connection);
            Ok(Sender::Http1(sender))
        }
    }

    async fn read(&self, ask: &Ask, response: http::Response<Body>, came: &mut (dyn FnMut() + Send)) -> Result<Reply, Error> {
        let silence = self.options.silence_timeout;
        let max = self.options.limits.body_bytes_max;
        let too_large = || Error::Limit { uri: ask.uri.to_string(), what: "the body, in bytes,", max, name: "body_bytes_max" };
        let (parts, mut incoming) = response.into_parts();
        let mut body = BytesMut::new();
        while let Some(data) =
            timeout(silence, incoming.data()).await.map_err(|_| Error::Timeout { uri: ask.uri.to_string(), after: silence, begun: true })?
        {
            let data = data.map_err(|source| Error::Broken { uri: ask.uri.to_string(), source })?;
            came();
            if body.len() + data.len() > max {
                return Err(too_large());
            }
            body.extend_from_slice(&data);
        }
        let mut reply =
            Reply { uri: ask.uri.clone(), status: parts.status, version: parts.version, headers: parts.headers, body: body.freeze() };
        match reply.header(header::CONTENT_ENCODING).to_ascii_lowercase().as_str() {
            "" | "identity" => {}
            // HEAD and 304 name the coding of a body they do not have.
            _ if reply.body.is_empty() => {}
            "gzip" | "x-gzip" => {
                let mut plain = Vec::new();
                flate2::read::MultiGzDecoder::new(&reply.body[..])
                    .take(max as u64 + 1)
                    .read_to_end(&mut plain)
                    .map_err(|error| Error::bad(&ask.uri, format!("the body is not the gzip it says it is: {error}")))?;
                if plain.len() > max {
                    return Err(too_large());
                }
                reply.body = plain.into();
            }
            other => return Err(Error::bad(&ask.uri, format!("content coding {other:?}, where only gzip was accepted"))),
        }
        Ok(reply)
    }
}

/// Nothing came of an answer.
fn no_answer(ask: &Ask, silence: Duration) -> Error {
    Error::Timeout { uri: ask.uri.to_string(), after: silence, begun: false }
}

/// The request that a redirect asks for, if the answer is one.
fn redirected(ask: &Ask, status: StatusCode, headers: &HeaderMap) -> Result<Option<Ask>, Error> {
    let follow = match status {
        // 303 and the habits around 301 and 302 turn a POST into a GET, which no ALTO service means: only these keep the method.
        StatusCode::PERMANENT_REDIRECT | StatusCode::TEMPORARY_REDIRECT => true,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => matches!(ask.method, Method::GET | Method::HEAD),
        _ => false,
    };
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !follow || location.is_empty() {
        return Ok(None);
    }
    let uri = ask.uri.resolve(location).map_err(|error| Error::bad(&ask.uri, format!("it redirects to nowhere: {error}")))?;
    let mut next = ask.clone();
    if uri.origin() != ask.uri.origin() {
        next.headers.remove(header::AUTHORIZATION);
    }
    next.uri = uri;
    Ok(Some(next))
}

/// RFC 9110 section 9.2.2, and POST: every ALTO service is a question (RFC 7285 section 8.3.3). PATCH may have been applied.
fn is_repeatable(method: &Method) -> bool {
    method != Method::PATCH
}

/// Accepted for an answer that is read whole.
const CODED: &str = "gzip";
/// Accepted for one that is read as it comes.
const PLAIN: &str = "identity";

fn message(ask: &Ask, http2: bool, codings: &'static str) -> Request<Full<Bytes>> {
    // HTTP/2 and HTTP/3 carry the authority in the URI, HTTP/1.1 in Host with an origin-form target.
    let target = if http2 { ask.uri.to_string() } else { ask.uri.path().to_owned() };
    let mut request = Request::new(Full::new(ask.body.clone()));
    *request.method_mut() = ask.method.clone();
    *request.uri_mut() = target.parse().expect("Uri::parse took only what http::Uri takes");
    *request.headers_mut() = ask.headers.clone();
    let headers = request.headers_mut();
    if !http2 {
        let host = HeaderValue::from_str(&ask.uri.authority()).expect("Uri::parse took only what http::Uri takes");
        headers.insert(header::HOST, host);
    }
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("altocast/", env!("CARGO_PKG_VERSION"))));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(codings));
    request
}
