//! Connections whose client waits for an answer (a long poll), held in a small task without hyper's buffers.
//!
//! When the answer is sent, a request that can be read at a glance (a whole head of a GET or HEAD, nothing after it) is answered here, too: it
//! mostly is the next poll. Anything else, and all that is wrong, goes back to hyper with every byte of it. Invariant: what is read here means the
//! same as to hyper.
use super::{Kept, serve_rest, write_head};
use crate::listen::{
    Answer, Handler, Listening, Peer, Reply, Stage, Step,
    io::Io,
    wire::{Frame, Line, Unsent, Wire},
    worker::{Alarm, Registration},
};
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, StatusCode, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};
use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::Instant,
};

/// Fields of a request that is read here. More are for hyper: pollers send a handful.
const FIELDS_MAX: usize = 32;
/// Answers in one go before other tasks have their turn.
const ANSWERS_AT_ONCE: usize = 16;

type Later = Pin<Box<dyn Future<Output = Reply> + Send>>;

thread_local! {
    /// Heads are written here, one after the other.
    static HEAD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A connection.
pub(super) struct Waiting<S, H: Handler> {
    /// `None` once it is somebody else's.
    held: Option<(Line<S>, Kept)>,
    listening: Arc<Listening<H>>,
    stage: watch::Receiver<Stage>,
    peer: Peer,
    doing: Doing,
    /// It is the last answer.
    closes: bool,
    /// Read ahead while an answer was waited for.
    early: Bytes,
    /// How long the next request is waited for; put off, not made anew, for each.
    patience: Option<Alarm>,
    unsent: Unsent,
    stalled: Option<Box<Alarm>>,
    /// How long the client, who closed its side, may still get its answer.
    half_closed: Option<Box<Alarm>>,
    registration: Registration,
}

enum Doing {
    /// The answer is on its way.
    Waiting(Later),
    /// All that is unsent is sent first.
    Sending,
    /// The next request is waited for.
    Listening,
    Ending,
}

impl<S, H> Waiting<S, H>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    pub(super) fn new(
        line: Line<S>,
        kept: Kept,
        listening: Arc<Listening<H>>,
        stage: watch::Receiver<Stage>,
        peer: Peer,
        reply: Later,
        early: Bytes,
    ) -> Self {
        Self {
            held: Some((line, kept)),
            listening,
            stage,
            peer,
            doing: Doing::Waiting(reply),
            closes: false,
            early,
            patience: None,
            unsent: Unsent::default(),
            stalled: None,
            half_closed: None,
            registration: Registration::new(),
        }
    }

    /// Whether the answer that is waited for is the last.
    pub(super) fn closing(self, closes: bool) -> Self {
        Self { closes, ..self }
    }

    fn time_max(&self) -> Duration {
        self.listening.limits.stall_time_max
    }

    /// Ready with false: the connection is over.
    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let Some((line, _)) = &mut self.held else { return Poll::Ready(false) };
        match &mut self.doing {
            Doing::Waiting(reply) => {
                if let Poll::Ready(reply) = reply.as_mut().poll(context) {
                    self.half_closed = None;
                    self.send(context, reply);
                    return Poll::Ready(true);
                }
                if let Some(patience) = &mut self.half_closed {
                    return patience.poll(context).map(|()| false);
                }
                // A client may have closed its side; a connection that broke has no use for an answer.
                if self.early.is_empty() {
                    let early = &mut self.early;
                    match ready!(line.poll_hear(context, &mut |bytes| *early = Bytes::copy_from_slice(bytes))) {
                        Err(_) => return Poll::Ready(false),
                        Ok(0) => {
                            self.closes = true;
                            // Mostly it is gone: what is computed for it comes soon, for a poll it would be held in vain.
                            self.half_closed = Some(Box::new(Alarm::after(self.listening.limits.close_time_max)));
                            return Poll::Ready(true);
                        }
                        Ok(_) => {}
                    }
                }
                Poll::Pending
            }
            Doing::Sending => {
                if !self.unsent.is_empty() {
                    let mut progress = false;
                    match line.poll_flush(context, &mut self.unsent, &mut progress) {
                        Poll::Ready(Ok(())) => self.stalled = None,
                        Poll::Ready(Err(_)) => return Poll::Ready(false),
                        Poll::Pending => {
                            let time_max = self.time_max();
                            let alarm = self.stalled.get_or_insert_with(|| Box::new(Alarm::after(time_max)));
                            if progress {
                                alarm.set(Instant::now() + time_max);
                            }
                            return alarm.poll(context).map(|()| false);
                        }
                    }
                }
                self.doing = if self.closes { Doing::Ending } else { Doing::Listening };
                let until = Instant::now() + self.listening.limits.header_time_max;
                self.patience.get_or_insert_with(|| Alarm::new(until)).set(until);
                Poll::Ready(true)
            }
            Doing::Listening => {
                if self.early.is_empty() {
                    if self.registration.must_end(context) {
                        self.doing = Doing::Ending;
                        return Poll::Ready(true);
                    }
                    let mut heard = Bytes::new();
                    match line.poll_hear(context, &mut |bytes| heard = Bytes::copy_from_slice(bytes)) {
                        Poll::Pending => {
                            return self.patience.as_mut().map_or(Poll::Pending, |patience| patience.poll(context).map(|()| false));
                        }
                        Poll::Ready(Err(_) | Ok(0)) => return Poll::Ready(false),
                        Poll::Ready(Ok(_)) => self.early = heard,
                    }
                }
                let said = std::mem::take(&mut self.early);
                match glance(&said) {
                    Some(head) => self.answer(context, head, said),
                    None => self.leave(said),
                }
                Poll::Ready(true)
            }
            Doing::Ending => {
                // As hyper does: what the client may still say is not waited for.
                ready!(line.poll_end(context)).ok();
                Poll::Ready(false)
            }
        }
    }

    fn answer(&mut self, context: &mut Context<'_>, head: Parts, said: Bytes) {
        match self.listening.handler.head(&head, &self.peer) {
            Step::Answer(Answer::Now(reply)) => self.send(context, reply),
            Step::Answer(Answer::Later(reply)) => self.doing = Doing::Waiting(reply),
            // Nothing that a GET without a body leads to, but hyper's way is the same.
            Step::Answer(Answer::Live(_)) | Step::Body { .. } | Step::Value { .. } => self.leave(said),
        }
    }

    fn send(&mut self, context: &mut Context<'_>, reply: Reply) {
        let Some((line, _)) = &mut self.held else { return };
        let (mut parts, body) = reply.into_parts();
        self.closes |= self.registration.must_end(context);
        if self.closes {
            parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let no_length = parts.status == StatusCode::NO_CONTENT || parts.status == StatusCode::NOT_MODIFIED;
        if !no_length && !parts.headers.contains_key(CONTENT_LENGTH) {
            parts.headers.insert(CONTENT_LENGTH, body.len().into());
        }
        self.doing = Doing::Sending;
        let sent = HEAD.with_borrow_mut(|head| {
            head.clear();
            write_head(head, parts.status, &mut parts.headers);
            line.send(context, Frame { head, pieces: &[body] }, &mut self.unsent)
        });
        if sent.is_err() {
            self.held = None;
        }
    }

    /// Hyper goes on.
    fn leave(&mut self, said: Bytes) {
        if let Some((line, kept)) = self.held.take() {
            let io = Io::after(line.into_inner(), said);
            tokio::spawn(serve_rest(io, self.peer, self.listening.clone(), self.stage.clone(), kept));
        }
    }
}

impl<S, H> Future for Waiting<S, H>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        for _ in 0..4 * ANSWERS_AT_ONCE {
            if !ready!(this.poll_step(context)) {
                return Poll::Ready(());
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A request that is all there, and nothing else is.
fn glance(said: &Bytes) -> Option<Parts> {
    if !said.starts_with(b"GET ") && !said.starts_with(b"HEAD ") {
        return None;
    }
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    if request.parse(said).ok()? != httparse::Status::Complete(said.len()) || request.version != Some(1) {
        return None;
    }
    let mut head = http::Request::new(()).into_parts().0;
    head.method = if request.method? == "HEAD" { Method::HEAD } else { Method::GET };
    head.version = Version::HTTP_11;
    head.uri = Uri::from_maybe_shared(said.slice_ref(request.path?.as_bytes())).ok()?;
    head.headers.reserve(request.headers.len());
    for field in request.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        let of_the_connection = name == CONNECTION && !field.value.eq_ignore_ascii_case(b"keep-alive");
        if of_the_connection || [CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE, EXPECT].contains(&name) {
            return None;
        }
        head.headers.append(name, HeaderValue::from_maybe_shared(said.slice_ref(field.value)).ok()?);
    }
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_plain_is_read_at_a_glance() {
        for (said, want) in [
            ("GET /tips/v/ug/1/2 HTTP/1.1\r\nHost: a\r\nAccept: x/y\r\n\r\n", true),
            ("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n", true),
            ("GET http://a/directory HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("GET / HTTP/1.0\r\nHost: a\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\nG", false),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", false),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", false),
            ("POST / HTTP/1.1\r\nHost: a\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: \u{7f}\r\n\r\n", false),
        ] {
            let said = Bytes::copy_from_slice(said.as_bytes());
            assert_eq!(glance(&said).is_some(), want, "{said:?}");
        }
        let head = glance(&Bytes::from_static(b"GET /a?b HTTP/1.1\r\nHost: h\r\nAccept: 1\r\nAccept: 2\r\n\r\n")).unwrap();
        assert_eq!((head.uri.path(), head.uri.query(), head.headers.get_all("accept").iter().count()), ("/a", Some("b"), 2));
    }
}
