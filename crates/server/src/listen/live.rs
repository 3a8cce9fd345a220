//! Answers that go on: streams, sockets, pushes.
//!
//! A listener asks for the next thing to say only when the connection took everything before it. So a slow client holds what a transport
//! keeps of it (a cursor), never a queue, and the bytes it is sent are those that every other client is sent.
use super::Reply;
use bytes::Bytes;
use http::Response;
use std::task::{Context, Poll};

/// An answer that goes on.
pub(crate) enum Live {
    /// A head, then a body that comes in pieces.
    Stream { head: Response<()>, body: Box<dyn Outgoing> },
    /// A WebSocket (RFC 6455, RFC 8441). Only where the request carries [`WebSocketHandshake`].
    Socket {
        /// One of those the client offered.
        subprotocol: Option<&'static str>,
        socket: Box<dyn Socket>,
    },
    /// HTTP/2 only: a reply whose stream stays open, and what is pushed on it (RFC 9113 section 8.4).
    Push { reply: Reply, pushes: Box<dyn Pushing> },
}

/// In the extensions of a request's head when it asks for a WebSocket in the way its version of HTTP has (a complete and valid handshake). A
/// request for one of our WebSocket URIs without it gets 426, where HTTP has an upgrade.
#[derive(Debug, Clone)]
pub(crate) struct WebSocketHandshake {
    /// `sec-websocket-protocol`, in the client's order.
    pub(crate) subprotocols: Vec<String>,
}

/// There in its place, with the reason, when the handshake is wrong and an upgrade would not mend it (RFC 6455 section 4.2.1): 400.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WrongHandshake(pub(crate) &'static str);

/// What is sent as one: written with one `writev` where the connection can. Handed out empty, and used again.
pub(crate) type Pieces = Vec<Bytes>;

/// The body of a stream.
pub(crate) trait Outgoing: Send {
    /// Adds the next pieces (an event, a comment) and says `true`; `false`: the stream ends. To be woken, keep the waker of `context`.
    /// It owns its own timers (keep-alive). Dropped when the client is gone.
    fn poll_next(&mut self, context: &mut Context<'_>, pieces: &mut Pieces) -> Poll<bool>;
}

/// What a socket says.
pub(crate) enum Say {
    /// One text message. The payload is shared; its frame header is made by the listener.
    Text(Bytes),
    /// One binary message.
    Binary(Bytes),
    /// A close frame: code and reason (RFC 6455 section 7.4).
    Close(u16, &'static str),
}

/// What a socket hears.
pub(crate) enum Heard {
    Text(String),
    Binary(Bytes),
}

/// One end of a WebSocket: messages only; framing, pings, pongs and the closing handshake are the listener's.
pub(crate) trait Socket: Send {
    /// The next thing to say.
    fn poll_say(&mut self, context: &mut Context<'_>) -> Poll<Say>;
    /// A message from the client. `Err`: close with this code and reason.
    fn hear(&mut self, heard: Heard) -> Result<(), (u16, &'static str)>;
}

/// A pushed request and its answer.
pub(crate) struct Pushed {
    /// Path of the promised GET.
    pub(crate) path: String,
    /// `accept` of the promised request.
    pub(crate) accept: &'static str,
    pub(crate) reply: Reply,
}

/// What is next on a stream that pushes are promised on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    Push,
    End,
}

/// What is pushed on a stream.
pub(crate) trait Pushing: Send {
    /// The next push; `None`: the queue is closed, the stream ends. Asked only when a push may be promised *and* answered at once
    /// (within the client's MAX_CONCURRENT_STREAMS, push enabled, parent open).
    fn poll_push(&mut self, context: &mut Context<'_>) -> Poll<Option<Pushed>>;
    /// The client reset a pushed stream before it was sent whole.
    fn refused(&mut self);
    /// Whether there is something to push, or an end to make of it, whether a push may be promised or not. Keeps the waker of `context`.
    fn poll_wants(&mut self, context: &mut Context<'_>) -> Poll<Wants>;
    /// The client takes no pushes and ended its side: the stream ends too, what it stands for lives on with the connection.
    fn part(&mut self);
}
