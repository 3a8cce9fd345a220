//! WebSocket (RFC 6455; over HTTP/2: RFC 8441): the opening handshake, and one small task for each socket.
//!
//! Invariants: the payload of a message is shared by all clients, a header of 2 to 10 bytes is made for each; while something is unsent nothing
//! more is asked for and nothing more is read; a peer that says nothing for two intervals of pings is left.
mod echo;
pub(crate) mod frame;
#[cfg(test)]
mod tests;

pub use echo::serve_websocket_echo;

use super::{
    budget::Budget,
    live::{Heard, Say, Socket, WebSocketHandshake, WrongHandshake},
    wire::{Frame, Unsent, Wire},
    worker::{Alarm, Registration},
};
use crate::Limits;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::{Buf, Bytes};
use frame::{Event, Head, Opcode, Reader, Violation, code};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version,
    header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE},
    request::Parts,
};
use sha1::{Digest, Sha1};
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::Instant;

/// Steps in one go before other tasks have their turn.
const STEPS_AT_ONCE: usize = 64;
/// Intervals of pings that a peer may be silent for.
const SILENT_INTERVALS_MAX: u32 = 2;

/// Puts a [`WebSocketHandshake`] into the extensions of a head that is one over HTTP/1.1 (RFC 6455 section 4.2.1), and says what
/// `sec-websocket-accept` must be.
pub(super) fn handshake(head: &mut Parts) -> Option<HeaderValue> {
    let fields = &head.headers;
    let one = |name: HeaderName| {
        let mut all = fields.get_all(name).iter();
        all.next().filter(|_| all.next().is_none())
    };
    let ours = head.method == Method::GET
        && head.version == Version::HTTP_11
        && has_token(fields, UPGRADE, "websocket")
        && has_token(fields, CONNECTION, "upgrade")
        && one(SEC_WEBSOCKET_VERSION)? == "13";
    if !ours {
        return None;
    }
    let key = one(SEC_WEBSOCKET_KEY).map(|key| key.as_bytes().trim_ascii());
    let Some(key) = key.filter(|key| BASE64_STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16)) else {
        head.extensions.insert(WrongHandshake("there must be one Sec-WebSocket-Key, 16 bytes in base64"));
        return None;
    };
    head.extensions.insert(WebSocketHandshake { subprotocols: subprotocols(&head.headers) });
    let mut digest = Sha1::new();
    digest.update(key);
    digest.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    Some(HeaderValue::try_from(BASE64_STANDARD.encode(digest.finalize())).expect("base64 is ASCII"))
}

/// The same over HTTP/2 (RFC 8441 section 5.1), where `:protocol` was `websocket`. The method stays CONNECT: what is no WebSocket refuses it.
pub(super) fn handshake_http2(head: &mut Parts) {
    if head.headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13") {
        head.extensions.insert(WebSocketHandshake { subprotocols: subprotocols(&head.headers) });
    } else {
        head.extensions.insert(WrongHandshake("Sec-WebSocket-Version must be 13"));
    }
}

fn tokens(fields: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    fields.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
}

fn has_token(fields: &HeaderMap, name: HeaderName, token: &str) -> bool {
    tokens(fields, name).any(|has| has.eq_ignore_ascii_case(token))
}

fn subprotocols(fields: &HeaderMap) -> Vec<String> {
    tokens(fields, SEC_WEBSOCKET_PROTOCOL).filter(|token| !token.is_empty()).map(str::to_owned).collect()
}

/// One end of an open WebSocket; true when it was closed as it should be.
pub(super) struct WebSocket<W, K> {
    wire: W,
    socket: Box<dyn Socket>,
    reader: Box<Reader>,
    /// Read and not yet understood, because something was to be sent first.
    input: Bytes,
    unsent: Unsent,
    stalled: Option<Box<Alarm>>,
    state: State,
    /// For the next ping or the end of the patience with a silent client; for that of a close, once a close frame was sent.
    alarm: Alarm,
    /// When the client was heard last.
    heard: Instant,
    /// When it is left if it stays silent, once a ping was sent since.
    leave: Option<Instant>,
    registration: Registration,
    ping_interval: Duration,
    stall_time_max: Duration,
    close_time_max: Duration,
    _kept: K,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// We sent a close frame and wait for the client's (RFC 6455 section 7.1.2).
    Closing,
    /// Both were sent, or the client broke the rules: we end our side.
    Ending,
    /// Our side is ended. What the client still sends is read and thrown away, so that it gets to read what we said.
    Ended,
}

impl<W: Wire, K: Unpin> WebSocket<W, K> {
    /// `first` is sent before anything else; `early` was read already.
    pub(super) fn new(
        wire: W,
        socket: Box<dyn Socket>,
        first: Unsent,
        early: Bytes,
        limits: &Limits,
        budget: &Arc<Budget>,
        kept: K,
    ) -> Self {
        Self {
            wire,
            socket,
            reader: Box::new(Reader::new(limits.query_bytes_max, budget)),
            input: early,
            unsent: first,
            stalled: None,
            state: State::Open,
            alarm: Alarm::after(limits.ping_interval),
            heard: Instant::now(),
            leave: None,
            registration: Registration::new(),
            ping_interval: limits.ping_interval,
            stall_time_max: limits.stall_time_max,
            close_time_max: limits.close_time_max,
            _kept: kept,
        }
    }

    fn send(&mut self, context: &mut Context<'_>, opcode: Opcode, payload: Bytes) -> Result<(), Gone> {
        let head = Head::new(opcode, payload.len());
        self.wire.send(context, Frame { head: head.as_bytes(), pieces: &[payload] }, &mut self.unsent).map_err(|_| Gone)
    }

    /// Sends a close frame, once.
    fn close(&mut self, context: &mut Context<'_>, code: Option<u16>, reason: &str, then: State) -> Result<(), Gone> {
        let mut payload = Vec::new();
        if let Some(code) = code {
            payload.extend_from_slice(&code.to_be_bytes());
            let room = frame::CONTROL_BYTES_MAX - 2;
            payload.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(room)]);
        }
        self.state = then;
        self.alarm.set(Instant::now() + self.close_time_max);
        self.send(context, Opcode::Close, payload.into())
    }

    /// Ready: all is sent.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        if self.unsent.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut progress = false;
        if let Poll::Ready(flushed) = self.wire.poll_flush(context, &mut self.unsent, &mut progress) {
            // It was not listened to meanwhile, and took what was sent.
            if self.stalled.take().is_some() {
                self.is_heard();
            }
            return Poll::Ready(flushed.map_err(|_| Gone));
        }
        let time_max = self.stall_time_max;
        let alarm = self.stalled.get_or_insert_with(|| Box::new(Alarm::after(time_max)));
        if progress {
            alarm.set(Instant::now() + time_max);
        }
        alarm.poll(context).map(|()| Err(Gone))
    }

    /// What the client says next. `None`: it left without a word.
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Event>, Violation>> {
        loop {
            if !self.input.is_empty() {
                let mut left = &*self.input;
                let event = self.reader.read(&mut left)?;
                let read = self.input.len() - left.len();
                self.input.advance(read);
                if event.is_some() {
                    return Poll::Ready(Ok(event));
                }
            }
            let mut read = Vec::new();
            match ready!(self.wire.poll_hear(context, &mut |bytes| read.extend_from_slice(bytes))) {
                Err(_) | Ok(0) => return Poll::Ready(Ok(None)),
                Ok(_) => self.is_heard(),
            }
            self.input = read.into();
        }
    }

    fn is_heard(&mut self) {
        self.heard = Instant::now();
        self.leave = None;
    }

    /// The alarm went off and the client has said nothing that was not heard.
    fn ping(&mut self, context: &mut Context<'_>) -> Result<(), Gone> {
        let now = Instant::now();
        let next = now + self.ping_interval;
        // Whatever held this task up, a ping has an interval to be answered in.
        let leave = *self.leave.get_or_insert_with(|| next.max(self.heard + SILENT_INTERVALS_MAX * self.ping_interval));
        if leave <= now {
            return Err(Gone);
        }
        self.alarm.set(next.min(leave));
        self.send(context, Opcode::Ping, Bytes::new())
    }

    fn understand(&mut self, context: &mut Context<'_>, event: Event) -> Result<(), Gone> {
        let heard = match event {
            Event::Pong => return Ok(()),
            // Section 5.5.1: after a close frame of ours nothing is said.
            Event::Close(_) if self.state == State::Closing => {
                self.state = State::Ending;
                return Ok(());
            }
            Event::Close(code) => return self.close(context, code, "", State::Ending),
            _ if self.state == State::Closing => return Ok(()),
            Event::Ping(payload) => return self.send(context, Opcode::Pong, payload.into()),
            Event::Text(text) => Heard::Text(text),
            Event::Binary(bytes) => Heard::Binary(bytes),
        };
        match self.socket.hear(heard) {
            Ok(()) => Ok(()),
            Err((code, reason)) => self.close(context, Some(code), reason, State::Closing),
        }
    }

    /// A step, or several of the same kind. Ready: there may be more to do.
    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        ready!(self.poll_flush(context))?;
        match self.state {
            State::Open | State::Closing => {}
            State::Ending => {
                let ended = ready!(self.wire.poll_end(context));
                self.state = State::Ended;
                self.alarm.set(Instant::now() + self.close_time_max);
                return Poll::Ready(ended.map_err(|_| Gone));
            }
            State::Ended => {
                if self.alarm.poll(context).is_ready() {
                    return Poll::Ready(Err(Gone));
                }
                let heard = ready!(self.wire.poll_hear(context, &mut |_| {}));
                return Poll::Ready(if heard.is_ok_and(|bytes| bytes > 0) { Ok(()) } else { Err(Gone) });
            }
        }
        if self.state == State::Open && self.registration.must_end(context) {
            return Poll::Ready(self.close(context, Some(code::GOING_AWAY), "the server stops", State::Closing));
        }
        let due = self.alarm.poll(context).is_ready();
        if due && self.state == State::Closing {
            self.state = State::Ending;
            return Poll::Ready(Ok(()));
        }
        let heard = match self.poll_event(context) {
            Poll::Pending if due => return Poll::Ready(self.ping(context)),
            Poll::Pending => false,
            Poll::Ready(Ok(Some(event))) => {
                self.understand(context, event)?;
                true
            }
            Poll::Ready(Ok(None)) => return Poll::Ready(Err(Gone)),
            Poll::Ready(Err((code, reason))) => return Poll::Ready(self.close(context, Some(code), reason, State::Ending)),
        };
        // Nothing is heard twice before what there is to say to it is said.
        while self.unsent.is_empty() && self.state == State::Open {
            match self.socket.poll_say(context) {
                Poll::Pending if heard => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Say::Text(text)) => self.send(context, Opcode::Text, text)?,
                Poll::Ready(Say::Binary(bytes)) => self.send(context, Opcode::Binary, bytes)?,
                Poll::Ready(Say::Close(code, reason)) => return Poll::Ready(self.close(context, Some(code), reason, State::Closing)),
            }
        }
        // A closing socket has nothing to say, and waits for the client.
        if heard || self.state != State::Closing || !self.unsent.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

/// The other end is not there any more, or we are done with it.
struct Gone;

impl<W: Wire, K: Unpin> Future for WebSocket<W, K> {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        let this = self.get_mut();
        for _ in 0..STEPS_AT_ONCE {
            if ready!(this.poll_step(context)).is_err() {
                return Poll::Ready(this.state == State::Ended);
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
