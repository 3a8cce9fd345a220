//! HTTP/3 (RFC 9114) over QUIC, by quinn and h3: one connection an origin carries all requests and streams.
//!
//! Invariant: a connection whose server sent nothing for [`DEAD_AFTER`] is closed, and with it every answer that was still to come; a server
//! can open no streams but the three of section 6.2, and send no more on one than its window before it is read.
use super::Cause;
use crate::{error::Error, uri::Origin};
use bytes::{Buf, Bytes};
use futures_util::{StreamExt, stream::FuturesUnordered};
use h3::{
    client::{RequestStream, SendRequest},
    error::StreamError,
};
use h3_quinn::{OpenStreams, RecvStream};
use http::{Request, Response};
use quinn::{ClientConfig, ConnectionError, Endpoint, IdleTimeout, TransportConfig, VarInt, crypto::rustls::QuicClientConfig};
use std::{
    collections::HashMap,
    fmt,
    future::poll_fn,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::lookup_host,
    time::{sleep, timeout},
};

/// Between two signs of life of a connection that waits for answers (RFC 9114 section 5.1): UDP tells of no server that went away.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Without a packet for so long there is nobody: three signs of life were not answered.
const DEAD_AFTER: Duration = Duration::from_secs(20);
/// Addresses of a name that are tried. More than any sane name has for each family.
const ADDRESSES_MAX: usize = 8;
/// Between the first try of one address and of the next (RFC 8305 section 5): one that UDP does not reach says nothing at all.
const STAGGER: Duration = Duration::from_millis(250);
/// A map of 10 MB over a small window costs a round trip for every window.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Streams of the server: control, and two of QPACK (RFC 9114 section 6.2); some open more to see what happens.
const UNI_STREAMS_MAX: u32 = 8;
/// Fields of an answer. 64 KiB: many times what any server sends.
const FIELDS_BYTES_MAX: u64 = 64 << 10;

/// The connections that are open.
#[derive(Debug, Default)]
pub(super) struct Connections {
    places: Mutex<HashMap<Origin, Place>>,
}

/// Locked while a connection is made, so that requests that come together share it.
type Place = Arc<tokio::sync::Mutex<Option<Connection>>>;

impl Connections {
    /// The connection of an origin, and whether it is new. Errors: `Connect`, `Tls`, and those of `tls`.
    pub async fn get(
        &self,
        origin: &Origin,
        patience: Duration,
        tls: impl FnOnce() -> Result<Arc<rustls::ClientConfig>, Error>,
    ) -> Result<(Connection, bool), Error> {
        let place = self.places.lock().unwrap_or_else(PoisonError::into_inner).entry(origin.clone()).or_default().clone();
        let connected = async {
            let mut place = place.lock().await;
            if let Some(connection) = place.as_ref().filter(|connection| connection.quic.close_reason().is_none()) {
                return Ok((connection.clone(), false));
            }
            // What was there goes first: it may hold a port.
            *place = None;
            let connection = connect(origin, tls()?).await?;
            *place = Some(connection.clone());
            Ok((connection, true))
        };
        timeout(patience, connected).await.unwrap_or_else(|_| Err(silent(origin, patience)))
    }

    /// No more requests on this one; what it still has to answer goes on.
    pub async fn forget(&self, origin: &Origin, connection: &Connection) {
        let place = self.places.lock().unwrap_or_else(PoisonError::into_inner).get(origin).cloned();
        if let Some(place) = place {
            let mut place = place.lock().await;
            if place.as_ref().is_some_and(|there| there.quic.stable_id() == connection.quic.stable_id()) {
                *place = None;
            }
        }
    }
}

/// One connection. Closes with its last clone.
#[derive(Clone)]
pub(super) struct Connection {
    requests: SendRequest<OpenStreams, Bytes>,
    quic: quinn::Connection,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP/3 to {}", self.quic.remote_address())
    }
}

impl Connection {
    /// Sends, and returns when the head of the answer is there.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, StreamError> {
        let (parts, body) = request.into_parts();
        let mut stream = self.requests.clone().send_request(Request::from_parts(parts, ())).await?;
        let sent = async {
            if !body.is_empty() {
                stream.send_data(body).await?;
            }
            stream.finish().await
        };
        // A server that knows its answer may want no more of the request (section 4.1.1).
        let sent = sent.await;
        let head = loop {
            match (stream.recv_response().await, &sent) {
                (Ok(head), _) if head.status().is_informational() => {}
                (Ok(head), _) => break head,
                (Err(error), Ok(())) => return Err(error),
                (Err(_), Err(_)) => return Err(sent.expect_err("it is one")),
            }
        };
        let (_, receiving) = stream.split();
        Ok(head.map(|()| Body { receiving, _connection: self.clone() }))
    }

    /// Whether an error means that the request may well be answered on another connection: this one ended, or takes no more.
    pub fn is_over(&self, error: &StreamError) -> bool {
        self.quic.close_reason().is_some() || matches!(error, StreamError::ConnectionError { .. } | StreamError::RemoteClosing { .. })
    }
}

/// What comes after the head. Who drops it early tells the server to stop.
pub(crate) struct Body {
    receiving: RequestStream<RecvStream, Bytes>,
    // h3 ends a connection that nobody can ask any more.
    _connection: Connection,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body")
    }
}

impl Body {
    /// The next piece.
    pub async fn data(&mut self) -> Option<Result<Bytes, Cause>> {
        match self.receiving.recv_data().await {
            Ok(data) => data.map(|mut data| Ok(data.copy_to_bytes(data.remaining()))),
            Err(error) => Some(Err(error.into())),
        }
    }
}

/// Tries the addresses of an origin, the next while the one before is silent.
async fn connect(origin: &Origin, tls: Arc<rustls::ClientConfig>) -> Result<Connection, Error> {
    let no_connection = |source| Error::Connect { origin: origin.to_string(), source };
    let crypto = QuicClientConfig::try_from(tls).expect("ring has the suite that QUIC begins with");
    let mut config = ClientConfig::new(Arc::new(crypto));
    let mut transport = TransportConfig::default();
    transport
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::try_from(DEAD_AFTER).expect("it is less than 2^62 ms")))
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .receive_window(CONNECTION_WINDOW_BYTES.into())
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(UNI_STREAMS_MAX.into())
        .datagram_receive_buffer_size(None);
    config.transport_config(Arc::new(transport));
    let addresses = lookup_host((&*origin.host, origin.port)).await.map_err(no_connection)?;
    let mut tried: FuturesUnordered<_> = (0..)
        .zip(addresses.take(ADDRESSES_MAX))
        .map(|(n, address)| {
            let config = config.clone();
            async move {
                sleep(STAGGER * n).await;
                quic(origin, address, config).await
            }
        })
        .collect();
    let mut last = no_connection(io::Error::other("its name has no address"));
    let quic = loop {
        match tried.next().await {
            None => return Err(last),
            Some(Ok(quic)) => break quic,
            Some(Err(error @ Error::Tls { .. })) => return Err(error),
            Some(Err(error)) => last = error,
        }
    };
    let (mut driver, requests) = h3::client::builder()
        .max_field_section_size(FIELDS_BYTES_MAX)
        .build(h3_quinn::Connection::new(quic.clone()))
        .await
        .map_err(|error| Error::Broken { uri: origin.to_string(), source: error.into() })?;
    // Ends with the connection; what it saw reaches the requests through their streams.
    tokio::spawn(async move { poll_fn(|context| driver.poll_close(context)).await });
    Ok(Connection { requests, quic })
}

async fn quic(origin: &Origin, address: SocketAddr, config: ClientConfig) -> Result<quinn::Connection, Error> {
    let no_connection = |source| Error::Connect { origin: origin.to_string(), source };
    let any: IpAddr = if address.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let endpoint = Endpoint::client((any, 0).into()).map_err(no_connection)?;
    let connecting = endpoint
        .connect_with(config, address, &origin.host)
        .map_err(|error| no_connection(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    connecting.await.map_err(|error| refused(origin, &error))
}

/// TLS alerts within errors of QUIC (RFC 9001 section 4.8).
const ALERTS: std::ops::RangeInclusive<u64> = 0x100..=0x1ff;
/// RFC 7301 section 3.2.
const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;

fn refused(origin: &Origin, error: &ConnectionError) -> Error {
    let origin_text = origin.to_string();
    let (code, reason) = match error {
        ConnectionError::TransportError(error) => (u64::from(error.code), error.reason.clone()),
        ConnectionError::ConnectionClosed(close) => (u64::from(close.error_code), error.to_string()),
        ConnectionError::TimedOut => return silent(origin, DEAD_AFTER),
        _ => return Error::Connect { origin: origin_text, source: io::Error::new(io::ErrorKind::ConnectionAborted, error.clone()) },
    };
    if code == NO_APPLICATION_PROTOCOL {
        return Error::Tls { origin: origin_text, source: io::Error::other("it speaks QUIC, but not HTTP/3") };
    }
    if ALERTS.contains(&code) {
        return Error::Tls { origin: origin_text, source: io::Error::new(io::ErrorKind::InvalidData, reason) };
    }
    Error::Connect { origin: origin_text, source: io::Error::new(io::ErrorKind::ConnectionAborted, error.clone()) }
}

fn silent(origin: &Origin, after: Duration) -> Error {
    let why = format!("no answer over UDP for {} s: there is no HTTP/3, or something on the way drops UDP", after.as_secs_f64());
    Error::Connect { origin: origin.to_string(), source: io::Error::new(io::ErrorKind::TimedOut, why) }
}
