//! HTTP/3 (RFC 9114) over QUIC, by quinn and h3. Everything but push.
//!
//! One thread serves all of it from one socket for each address, so that a client may change its own (RFC 9000 section 9). Invariants: its
//! connections count with those of TCP; a client that takes nothing costs what QUIC holds for it, within a fixed window, and no queue; nothing
//! is answered before the address of the client is proven (no 0-RTT).
mod reset;

use super::{
    Answer, Collected, ConnectionId, Handler, Listening, Peer, Refusal, Reply, Stage, Step, content_length, date, draining,
    live::{Live, Outgoing, Pieces},
    tls::Certificates,
};
use crate::{Error, Limits, admin::Protocol};
use bytes::{Buf, Bytes};
use h3::{
    error::Code,
    server::{RequestResolver, RequestStream},
};
use h3_quinn::{RecvStream, SendStream};
use http::{
    Response, Version,
    header::{CONNECTION, DATE, EXPECT, TRANSFER_ENCODING},
    request::Parts,
};
use quinn::{Endpoint, Incoming, ServerConfig, TransportConfig, VarInt, crypto::rustls::QuicServerConfig};
use std::{
    future::poll_fn,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};

/// Bytes a client may send on one stream before we have read them, as in HTTP/2.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// The same for a connection.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes that QUIC may hold for a client until it acknowledges them.
const SEND_WINDOW_BYTES: u64 = 1 << 20;
/// Given to QUIC at a time: a client that takes this much in `stall_time_max` is not stalled.
const SLICE_BYTES: usize = 64 << 10;
/// Streams of the client that carry no requests (RFC 9114 section 6.2 wants three at least); some open more to see what happens.
const UNI_STREAMS_MAX: u32 = 8;

type Sending = RequestStream<SendStream<Bytes>, Bytes>;
type Receiving = RequestStream<RecvStream, Bytes>;

/// Takes a UDP port.
pub(crate) fn bind(address: SocketAddr) -> Result<UdpSocket, Error> {
    let bound = || {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(socket.into())
    };
    bound().map_err(|source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AddrInUse => Error::AddressInUse { what: "HTTP/3", address },
        _ => Error::Listen { what: "HTTP/3", address, source },
    })
}

/// What QUIC is told; the certificate in use is that of TLS over TCP.
fn server_config(tls: rustls::ServerConfig, limits: &Limits) -> ServerConfig {
    let crypto = QuicServerConfig::try_from(tls).expect("ring has the suite that QUIC begins with");
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    let mut transport = TransportConfig::default();
    let idle = VarInt::from_u64(u64::try_from(limits.idle_time_max.as_millis()).unwrap_or(u64::MAX)).unwrap_or(VarInt::MAX);
    transport
        .max_concurrent_bidi_streams(limits.streams_max.into())
        .max_concurrent_uni_streams(UNI_STREAMS_MAX.into())
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .receive_window(CONNECTION_WINDOW_BYTES.into())
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(idle.into()));
    config.transport_config(Arc::new(transport));
    config
}

/// Serves from one socket until the server is told to stop and its connections have ended. `alive` is held until then.
pub(crate) async fn serve<H: Handler>(
    socket: UdpSocket,
    certificates: Arc<Certificates>,
    listening: Arc<Listening<H>>,
    mut stage: watch::Receiver<Stage>,
    alive: mpsc::Sender<()>,
) {
    let config = server_config(certificates.for_quic(), &listening.limits);
    let local = match socket.local_addr() {
        Ok(local) => local,
        Err(error) => return tracing::error!(%error, "cannot wait for QUIC connections"),
    };
    let resets = reset::endpoint_config(certificates, local);
    let endpoint = match Endpoint::new(resets, Some(config), socket, Arc::new(quinn::TokioRuntime)) {
        Ok(endpoint) => endpoint,
        Err(error) => return tracing::error!(%error, "cannot wait for QUIC connections"),
    };
    loop {
        let incoming = tokio::select! {
            () = draining(&mut stage) => break,
            incoming = endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { break };
        // Where it says it is may not be where it is; what it costs to find out is the client's to bear when many ask.
        if !incoming.remote_address_validated() && listening.slots.available_permits() < listening.limits.connections_max / 2 {
            let _ = incoming.retry();
            continue;
        }
        let Ok(slot) = listening.slots.clone().try_acquire_owned() else {
            // There is no queue to let it wait in.
            incoming.refuse();
            continue;
        };
        let (listening, stage, alive) = (listening.clone(), stage.clone(), alive.clone());
        tokio::spawn(async move {
            connection(incoming, local, listening, stage).await;
            drop((slot, alive));
        });
    }
    endpoint.set_server_config(None);
    endpoint.wait_idle().await;
    drop(alive);
}

async fn connection<H: Handler>(incoming: Incoming, local: SocketAddr, listening: Arc<Listening<H>>, stage: watch::Receiver<Stage>) {
    let address = incoming.remote_address();
    let time_max = listening.limits.header_time_max;
    let fail = |why: &dyn std::fmt::Display| tracing::debug!(peer = %address, "QUIC connection refused: {why}");
    let connecting = match incoming.accept() {
        Ok(connecting) => connecting,
        Err(error) => return fail(&error),
    };
    let quic = match timeout(time_max, connecting).await {
        Err(_) => return fail(&"TLS handshake takes too long"),
        Ok(Err(error)) => return fail(&error),
        Ok(Ok(quic)) => quic,
    };
    let _connected = listening.metrics.as_ref().map(|metrics| metrics.connected(Protocol::Http3));
    let connection = ConnectionId::next();
    let peer = Peer { address, local, secure: true, protocol: Protocol::Http3, connection, push: false };
    match run(&quic, peer, &listening, stage).await {
        // To close it throws away what the client has not got yet (RFC 9000 section 10.2): the end of its last answer is on the way.
        Ok(()) => drop(timeout((3 * quic.rtt()).clamp(LINGER_MIN, LINGER_MAX), quic.closed()).await),
        Err(error) => tracing::debug!(peer = %address, %error, "HTTP/3 connection ended"),
    }
    quic.close(VarInt::from_u32(Code::H3_NO_ERROR.value() as u32), b"");
}

/// How long a connection lives on after its last answer: three round trips, as many as a lost packet takes, but no less and no more than this.
const LINGER_MIN: Duration = Duration::from_millis(100);
const LINGER_MAX: Duration = Duration::from_secs(1);

/// Requests at work on a connection.
struct Active(Arc<AtomicUsize>);

impl Active {
    fn new(active: &Arc<AtomicUsize>) -> Self {
        active.fetch_add(1, Relaxed);
        Self(active.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

async fn run<H: Handler>(
    quic: &quinn::Connection,
    peer: Peer,
    listening: &Arc<Listening<H>>,
    mut stage: watch::Receiver<Stage>,
) -> Result<(), h3::error::ConnectionError> {
    let limits = &listening.limits;
    let mut builder = h3::server::builder();
    builder.max_field_section_size(limits.header_bytes_max as u64);
    let mut connection = builder.build::<_, Bytes>(h3_quinn::Connection::new(quic.clone())).await?;
    let active = Arc::new(AtomicUsize::new(0));
    let mut last_request = Instant::now();
    let mut closing = false;
    loop {
        let idle = last_request + limits.idle_time_max;
        tokio::select! {
            accepted = connection.accept() => match accepted? {
                None => return Ok(()),
                Some(request) => {
                    last_request = Instant::now();
                    let (active, listening, stage, quic) = (Active::new(&active), listening.clone(), stage.clone(), quic.clone());
                    tokio::spawn(async move {
                        // A stream that waits for news would not learn that its client left.
                        tokio::select! {
                            biased;
                            _ = quic.closed() => {}
                            () = answer(request, peer, &listening, stage) => {}
                        }
                        drop(active);
                    });
                }
            },
            () = draining(&mut stage), if !closing => {
                // GOAWAY; what is in flight goes on, and `accept` ends with it (RFC 9114 section 5.2).
                closing = true;
                connection.shutdown(0).await?;
                if active.load(Relaxed) == 0 {
                    return Ok(());
                }
            }
            () = sleep_until(idle) => {
                if active.load(Relaxed) > 0 {
                    last_request = Instant::now() - limits.idle_time_max + limits.stall_time_max;
                } else {
                    connection.shutdown(0).await?;
                    return Ok(());
                }
            }
        }
    }
}

async fn answer<H: Handler>(
    request: RequestResolver<h3_quinn::Connection, Bytes>,
    peer: Peer,
    listening: &Arc<Listening<H>>,
    stage: watch::Receiver<Stage>,
) {
    let limits = &listening.limits;
    let Ok(Ok((request, stream))) = timeout(limits.header_time_max, request.resolve_request()).await else { return };
    let (mut sending, mut receiving) = stream.split();
    let (head, ()) = request.into_parts();
    let answer = match listening.handler.head(&head, &peer) {
        Step::Answer(answer) => {
            discard(&head, &mut receiving, limits).await;
            answer
        }
        Step::Body { bytes_max, then } | Step::Value { bytes_max, then } => match read(&head, &mut receiving, bytes_max, listening).await {
            Ok(body) => then(body),
            Err(Unread::Gone) => return,
            Err(Unread::Refused(refusal)) => {
                discard(&head, &mut receiving, limits).await;
                listening.handler.refuse(&head, &peer, refusal).into()
            }
        },
    };
    // What is left of the request is not wanted (RFC 9114 section 4.1.1). That tells the client to stop; to tell it by `stop_sending` would
    // panic in h3-quinn when the last wait for data was given up.
    drop(receiving);
    let reply = match answer {
        Answer::Now(reply) => reply,
        Answer::Later(reply) => reply.await,
        Answer::Live(live) => match live.await {
            Err(reply) => reply,
            Ok(Live::Stream { head, body }) => return go_on(&mut sending, head, body, limits, stage).await,
            Ok(Live::Push { .. } | Live::Socket { .. }) => crate::reply::refusal(http::StatusCode::NOT_IMPLEMENTED, "not over HTTP/3"),
        },
    };
    send(&mut sending, reply, limits.stall_time_max).await;
}

/// A head as h3 takes it.
fn on_wire(head: Response<()>) -> Response<()> {
    let (mut parts, ()) = head.into_parts();
    parts.version = Version::HTTP_3;
    // RFC 9114 section 4.2: such fields make the answer malformed.
    parts.headers.remove(CONNECTION);
    parts.headers.remove(TRANSFER_ENCODING);
    parts.headers.insert(DATE, date());
    Response::from_parts(parts, ())
}

async fn send(sending: &mut Sending, reply: Reply, stall_time_max: Duration) {
    let (parts, body) = reply.into_parts();
    let sent = async {
        timeout(stall_time_max, sending.send_response(on_wire(Response::from_parts(parts, ())))).await.ok()?.ok()?;
        send_data(sending, body, stall_time_max).await?;
        sending.finish().await.ok()
    };
    if sent.await.is_none() {
        sending.stop_stream(Code::H3_REQUEST_CANCELLED);
    }
}

/// `None`: the client is gone, or takes nothing.
async fn send_data(sending: &mut Sending, mut data: Bytes, stall_time_max: Duration) -> Option<()> {
    while !data.is_empty() {
        let slice = data.split_to(data.len().min(SLICE_BYTES));
        timeout(stall_time_max, sending.send_data(slice)).await.ok()?.ok()?;
    }
    Some(())
}

/// An answer that goes on.
async fn go_on(sending: &mut Sending, head: Response<()>, mut body: Box<dyn Outgoing>, limits: &Limits, mut stage: watch::Receiver<Stage>) {
    let mut pieces = Pieces::new();
    let sent = async {
        sending.send_response(on_wire(head)).await.ok()?;
        loop {
            let more = tokio::select! {
                biased;
                more = poll_fn(|context| body.poll_next(context, &mut pieces)) => more,
                () = draining(&mut stage) => false,
            };
            for piece in pieces.drain(..) {
                send_data(sending, piece, limits.stall_time_max).await?;
            }
            if !more {
                return sending.finish().await.ok();
            }
        }
    };
    if sent.await.is_none() {
        sending.stop_stream(Code::H3_REQUEST_CANCELLED);
    }
}

enum Unread {
    Refused(Refusal),
    Gone,
}

/// The whole body.
async fn read<H>(head: &Parts, receiving: &mut Receiving, bytes_max: usize, listening: &Listening<H>) -> Result<Bytes, Unread> {
    let length = content_length(head);
    if length.is_some_and(|length| length > bytes_max as u64) {
        return Err(Unread::Refused(Refusal::TooLarge { bytes_max }));
    }
    let all = async {
        let mut collected = Collected::new(bytes_max, &listening.budget);
        loop {
            match receiving.recv_data().await {
                Err(_) => return Err(Unread::Gone),
                Ok(None) => break,
                Ok(Some(mut data)) => collected.push(data.copy_to_bytes(data.remaining())).map_err(Unread::Refused)?,
            }
        }
        // RFC 9114 section 4.1.2.
        if length.is_some_and(|length| length != collected.len() as u64) {
            return Err(Unread::Refused(Refusal::Malformed));
        }
        Ok(collected.finish())
    };
    let time_max = listening.limits.body_time_max;
    timeout(time_max, all).await.unwrap_or(Err(Unread::Refused(Refusal::TooSlow { time_max })))
}

/// Reads what a client still sends of a body that nobody wants, within bounds: some show no answer before they have sent all.
async fn discard(head: &Parts, receiving: &mut Receiving, limits: &Limits) {
    let bytes_max = limits.discarded_bytes_max;
    if head.headers.contains_key(EXPECT) || content_length(head).is_some_and(|length| length > bytes_max as u64) {
        return;
    }
    let all = async {
        let mut left = bytes_max;
        while let Ok(Ok(Some(data))) = timeout(limits.discard_pause_max, receiving.recv_data()).await {
            let Some(less) = left.checked_sub(data.remaining()) else { return };
            left = less;
        }
    };
    let _ = timeout(limits.body_time_max, all).await;
}
