//! Bytes <-> requests: owns connections and streams, knows no ALTO.
//!
//! Each worker is a thread with a runtime of its own that accepts from its clone of the listener, so a connection never moves
//! between cores. Invariants: at `connections_max` nothing more is accepted; every wait for a peer has a bound.
pub(crate) mod budget;
mod http1;
mod http2;
pub(crate) mod http3;
mod io;
pub(crate) mod live;
#[cfg(feature = "simulation")]
pub(crate) mod simulated;
mod stream;
pub(crate) mod tls;
mod value;
mod websocket;
mod wire;
pub(crate) mod worker;

pub use websocket::serve_websocket_echo;
#[cfg(feature = "simulation")]
pub(crate) use worker::begin_live_answers;
pub(crate) use worker::{become_worker, end_live_answers, worker};

use crate::{
    Error, Limits,
    admin::{Metrics, Protocol},
    modified,
};
use budget::{Budget, Share};
use bytes::Bytes;
use http::{HeaderValue, request::Parts};
use std::{
    cell::RefCell,
    future::Future,
    io::ErrorKind,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
};

/// An answer, whole.
pub(crate) type Reply = http::Response<Bytes>;

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The address it reached us at.
    pub(crate) local: SocketAddr,
    pub(crate) secure: bool,
    pub(crate) protocol: Protocol,
    pub(crate) connection: ConnectionId,
    /// Whether the client takes pushes now (RFC 9113 section 6.5.2, SETTINGS_ENABLE_PUSH); `false` on anything but HTTP/2.
    pub(crate) push: bool,
}

/// Answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    /// What to do with a request, as far as its head tells.
    fn head(self: &Arc<Self>, head: &Parts, peer: &Peer) -> Step;
    /// The body could not be read; what to say.
    fn refuse(self: &Arc<Self>, head: &Parts, peer: &Peer, refusal: Refusal) -> Reply;
    /// An HTTP/2 connection ended; what belongs to it goes too.
    fn closed(self: &Arc<Self>, _connection: ConnectionId) {}
}

/// What to do with a request.
pub(crate) enum Step {
    /// Answer it; a body it may have is not read.
    Answer(Answer),
    /// Read its body first.
    Body {
        /// More is refused.
        bytes_max: usize,
        /// What to do with all of it.
        then: Box<dyn FnOnce(Bytes) -> Answer + Send>,
    },
    /// The same for a body that is one JSON value, which may be complete before it ends: HTTP/2 clients that want their stream open.
    Value {
        /// More is refused.
        bytes_max: usize,
        /// What to do with all of it.
        then: Box<dyn FnOnce(Bytes) -> Answer + Send>,
    },
}

/// A reply, now or later.
pub(crate) enum Answer {
    Now(Reply),
    Later(Pin<Box<dyn Future<Output = Reply> + Send>>),
    /// An answer that goes on, or why not.
    Live(Pin<Box<dyn Future<Output = Result<live::Live, Reply>> + Send>>),
}

/// Names a connection as long as the process lives; what belongs to a connection is kept under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId(pub(crate) u64);

impl ConnectionId {
    fn next() -> Self {
        static CONNECTIONS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        Self(CONNECTIONS.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self::Now(reply)
    }
}

impl From<Reply> for Step {
    fn from(reply: Reply) -> Self {
        Self::Answer(Answer::Now(reply))
    }
}

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    TooLarge {
        bytes_max: usize,
    },
    TooSlow {
        time_max: Duration,
    },
    /// Too much is held for other clients.
    NoRoom,
    Malformed,
}

/// The value of `content-length`, when it is a number.
fn content_length(head: &Parts) -> Option<u64> {
    head.headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A body being collected; counted while it is read.
struct Collected {
    bytes_max: usize,
    first: Bytes,
    all: Vec<u8>,
    /// For `all`: one piece is no more than a connection reads ahead.
    share: Share,
}

impl Collected {
    fn new(bytes_max: usize, budget: &Arc<Budget>) -> Self {
        Self { bytes_max, first: Bytes::new(), all: Vec::new(), share: budget.share() }
    }

    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn push(&mut self, chunk: Bytes) -> Result<(), Refusal> {
        if self.len() + chunk.len() > self.bytes_max {
            return Err(Refusal::TooLarge { bytes_max: self.bytes_max });
        }
        // Most bodies come in one piece, which then is not copied.
        if self.len() == 0 {
            self.first = chunk;
        } else {
            let more = self.len() + chunk.len() - self.all.len();
            if !self.share.grow(more) {
                return Err(Refusal::NoRoom);
            }
            if self.all.is_empty() {
                self.all.reserve(self.first.len() + chunk.len());
                self.all.extend_from_slice(&std::mem::take(&mut self.first));
            }
            self.all.extend_from_slice(&chunk);
        }
        Ok(())
    }

    fn finish(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.share.of(self.all) }
    }
}

/// How far the server is with stopping. When the sender is gone, everything ends at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Running,
    /// Accept nothing, finish what is in flight.
    Draining,
}

/// Completes when the server is to stop.
pub(crate) async fn draining(stage: &mut watch::Receiver<Stage>) {
    // An error means that the sender is gone, which is the same to us.
    let _ = stage.wait_for(|stage| *stage == Stage::Draining).await;
}

/// A listener and all that its connections share.
pub(crate) struct Listening<H> {
    pub(crate) handler: Arc<H>,
    pub(crate) limits: Limits,
    pub(crate) tls: Option<tokio_rustls::TlsAcceptor>,
    /// The admin listener is HTTP/1.1 only.
    pub(crate) http2: bool,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) budget: Arc<Budget>,
    /// Where connections are counted; those of operators are not.
    pub(crate) metrics: Option<Arc<Metrics>>,
}

/// Binds an address; `what` is for the error.
pub(crate) fn bind(what: &'static str, address: SocketAddr, limits: &Limits) -> Result<std::net::TcpListener, Error> {
    /// Connections the kernel may hold until we accept. The kernel caps it at `somaxconn`.
    const BACKLOG: i32 = 4096;
    let bound = || {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
        // A restart must not wait for the connections of its predecessor to leave TIME_WAIT.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            // `[::]` and `0.0.0.0` may both be listened on.
            socket.set_only_v6(true)?;
        }
        // Both are handed down to what is accepted.
        socket.set_tcp_nodelay(true)?;
        // Answers in the kernel's buffer that nobody takes end the connection, whatever protocol it speaks.
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(limits.stall_time_max))?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bound().map_err(|source: std::io::Error| match source.kind() {
        ErrorKind::AddrInUse => Error::AddressInUse { what, address },
        _ => Error::Listen { what, address, source },
    })
}

/// Accepts until the server is told to stop. `slots` are those of this thread; `alive` is held by every connection.
pub(crate) async fn accept<H: Handler>(
    listener: TcpListener,
    listening: Arc<Listening<H>>,
    slots: Arc<Semaphore>,
    mut stage: watch::Receiver<Stage>,
    alive: mpsc::Sender<()>,
) {
    /// Out of file descriptors or memory: connections that end give them back, asking again at once only burns CPU.
    const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
    loop {
        let mut stopping = stage.clone();
        let both = async { (slots.clone().acquire_owned().await, listening.slots.clone().acquire_owned().await) };
        let slots = tokio::select! {
            () = draining(&mut stopping) => return,
            (here, all) = both => [here, all].map(|slot| slot.expect("the semaphore is never closed")),
        };
        let accepted = tokio::select! {
            () = draining(&mut stage) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let (listening, stage, alive) = (listening.clone(), stage.clone(), alive.clone());
                tokio::spawn(connection(stream, address, listening, stage, Held { _slots: slots, _alive: alive }));
            }
            // The client left before we came: nothing of ours is wrong.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What every connection holds until it ends.
struct Held {
    _slots: [OwnedSemaphorePermit; 2],
    _alive: mpsc::Sender<()>,
}

async fn connection<H: Handler>(
    stream: TcpStream,
    address: SocketAddr,
    listening: Arc<Listening<H>>,
    stage: watch::Receiver<Stage>,
    held: Held,
) {
    let Ok(local) = stream.local_addr() else { return };
    let connection = ConnectionId::next();
    let peer = |secure, protocol| Peer { address, local, secure, protocol, connection, push: false };
    let time_max = listening.limits.header_time_max;
    let fail = |why: &dyn std::fmt::Display| {
        tracing::debug!(peer = %address, "connection refused: {why}");
    };
    if let Some(tls) = &listening.tls {
        let mut stopping = stage.clone();
        let stream = tokio::select! {
            () = draining(&mut stopping) => return,
            stream = tokio::time::timeout(time_max, tls.accept(stream)) => match stream {
                Err(_) => return fail(&"TLS handshake takes too long"),
                Ok(Err(error)) => return fail(&error),
                Ok(Ok(stream)) => stream,
            },
        };
        // RFC 9113 section 3.3: over TLS only ALPN selects HTTP/2.
        if listening.http2 && stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            http2::serve(io::Io::new(stream), peer(true, Protocol::Http2), &listening, stage).await;
        } else {
            http1::serve(io::Io::new(stream), peer(true, Protocol::Http1), &listening, stage, held).await;
        }
        return;
    }
    if !listening.http2 {
        return http1::serve(io::Io::new(stream), peer(false, Protocol::Http1), &listening, stage, held).await;
    }
    let mut io = io::Io::new(stream);
    let mut stopping = stage.clone();
    let protocol = tokio::select! {
        () = draining(&mut stopping) => return,
        protocol = tokio::time::timeout(time_max, io.sniff()) => match protocol {
            Err(_) => return fail(&"nothing was said in time"),
            Ok(Err(error)) => return fail(&error),
            Ok(Ok(None)) => return,
            Ok(Ok(Some(protocol))) => protocol,
        },
    };
    match protocol {
        Protocol::Http1 => http1::serve(io, peer(false, protocol), &listening, stage, held).await,
        // HTTP/3 is not spoken over TCP.
        Protocol::Http2 | Protocol::Http3 => http2::serve(io, peer(false, protocol), &listening, stage).await,
    }
}

/// `date` (RFC 9110 section 6.6.1), which h2 leaves to us; made once a second.
fn date() -> HeaderValue {
    thread_local! {
        static NOW: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) };
    }
    let second = modified::second(SystemTime::now());
    NOW.with_borrow_mut(|(made, value)| {
        if *made != second || value.is_empty() {
            (*made, *value) = (second, modified::date(second));
        }
        value.clone()
    })
}
