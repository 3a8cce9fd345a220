//! Server push (RFC 9113 section 8.4): a stream whose answer is whole and which stays open, and the requests promised on it.
//!
//! One task owns the stream, asks [`Pushing`] for the next push when one may be promised and answered at once, and hears when the client has
//! enough of it. Invariants: nothing is promised once the stream has ended on either side; only GET is promised; every pushed stream is
//! answered or reset; pushes of one stream are promised in order. What h2 needs for that, [`super::frames`] watches.
use super::{
    Ended, Streams, date, draining,
    frames::{Parenthood, Pushes, Turn},
    live::{Channel, Gate},
};
use crate::{
    Limits,
    listen::{
        Peer, Reply, Stage,
        live::{Pushed, Pushing, Wants},
    },
};
use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    server::{Connection, SendResponse},
};
use http::{
    HeaderValue, Request, Response, Uri, Version,
    header::{ACCEPT, CONNECTION, DATE, HOST, TRANSFER_ENCODING},
    request::Parts,
    uri::{Authority, PathAndQuery, Scheme},
};
use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{Sleep, sleep, timeout},
};

/// A request, and what it is answered with.
type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

/// What streams need of their connection to push on it.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) pushes: Arc<Pushes>,
    pub(super) streams: Arc<Streams>,
    pub(super) stage: watch::Receiver<Stage>,
    /// Resets a client has free.
    pub(super) resets_max: usize,
    /// For answers that go on.
    pub(super) gate: Arc<Gate>,
}

impl Link {
    /// The next request. What h2 learns of the client's bounds meanwhile is passed on before anybody else runs.
    pub(super) fn poll_accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        connection: &mut Connection<S, Bytes>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Accepted, h2::Error>>> {
        let accepted = connection.poll_accept(context);
        self.pushes.set_streams_max(connection.max_concurrent_send_streams());
        accepted
    }
}

/// The stream that pushes are promised on, as far as it is known when its request is there.
pub(super) struct Opened {
    link: Link,
    scheme: Scheme,
    authority: Authority,
    /// What the client still says on it.
    body: RecvStream,
    /// Bytes it may still say: they mean nothing.
    discarded_bytes_max: usize,
}

impl Opened {
    pub(super) fn new(link: Link, head: &Parts, peer: &Peer, body: RecvStream, limits: &Limits) -> Self {
        let host = || head.headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
        let authority = head.uri.authority().cloned().or_else(host);
        // Section 8.4: the authority of a promise is one that the client knows us by.
        let authority = authority.or_else(|| Authority::try_from(peer.local.to_string()).ok());
        Self {
            link,
            scheme: if peer.secure { Scheme::HTTPS } else { Scheme::HTTP },
            authority: authority.expect("an address is an authority"),
            body,
            discarded_bytes_max: limits.discarded_bytes_max,
        }
    }

    /// The stream, for an answer that goes on.
    pub(super) fn into_channel(self, stream: SendStream<Bytes>) -> Channel {
        Channel::new(stream, self.body, self.link.gate)
    }

    /// Answers, then pushes until somebody ends it.
    pub(super) async fn run(
        self,
        mut respond: SendResponse<Bytes>,
        reply: Reply,
        pushing: Box<dyn Pushing>,
        stall_time_max: std::time::Duration,
    ) -> Ended {
        let (head, body) = on_wire(reply);
        let parent = self.link.pushes.on(respond.stream_id().as_u32(), body.len());
        let Ok(mut stream) = respond.send_response(head, false) else { return Ended::Reset };
        // Given to h2 as the window opens: what it holds back would hold back the promises behind it.
        let mut rest = body;
        while !rest.is_empty() {
            stream.reserve_capacity(rest.len());
            match timeout(stall_time_max, poll_fn(|context| stream.poll_capacity(context))).await {
                Ok(Some(Ok(capacity))) => {
                    if stream.send_data(rest.split_to(capacity.min(rest.len())), false).is_err() {
                        return Ended::Reset;
                    }
                }
                Ok(None | Some(Err(_))) => return Ended::Reset,
                Err(_) => {
                    stream.send_reset(Reason::CANCEL);
                    return Ended::Reset;
                }
            }
        }
        let half_closed = self.body.is_end_stream();
        let stage = self.link.stage.clone();
        let open = Open {
            opened: self,
            respond,
            stream,
            parent,
            pushing,
            half_closed,
            marked: false,
            stalled: Box::pin(sleep(stall_time_max)),
            stall_time_max,
        };
        open.run(stage).await
    }
}

/// A stream that is answered and open.
struct Open {
    opened: Opened,
    respond: SendResponse<Bytes>,
    stream: SendStream<Bytes>,
    parent: Parenthood,
    pushing: Box<dyn Pushing>,
    /// The client's side ended with its request.
    half_closed: bool,
    /// What the client says now it says having our answer.
    marked: bool,
    stalled: Pin<Box<Sleep>>,
    stall_time_max: std::time::Duration,
}

enum Next {
    Push(Pushed),
    /// Ours ends: the queue, the client's wish, the server.
    End,
    /// The client reset it or is gone.
    Reset,
}

impl Open {
    async fn run(mut self, mut stage: watch::Receiver<Stage>) -> Ended {
        let mut stopping = pin!(draining(&mut stage));
        loop {
            let next = poll_fn(|context| {
                if stopping.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Next::End);
                }
                self.poll_next(context)
            })
            .await;
            match next {
                Next::Push(pushed) => {
                    if let Some(ended) = self.push(pushed).await {
                        return ended;
                    }
                }
                Next::End => {
                    // Behind all promises. When the client's side is open, h2 then resets it with NO_ERROR (section 8.1).
                    return if self.stream.send_data(Bytes::new(), true).is_ok() { Ended::Finished } else { Ended::Reset };
                }
                Next::Reset => return Ended::Reset,
            }
        }
    }

    /// Whether the client is still there and wants more. h2 knows at once of a reset, and between this and the next promise no other
    /// task runs, so a promise on a stream that was reset cannot be.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        if self.stream.poll_reset(context).is_ready() {
            return Poll::Ready(Next::Reset);
        }
        if self.half_closed {
            return Poll::Pending;
        }
        self.marked = self.marked || self.parent.mark(context);
        let body = &mut self.opened.body;
        loop {
            match ready!(body.poll_data(context)) {
                Some(Ok(chunk)) => {
                    let Some(left) = self.opened.discarded_bytes_max.checked_sub(chunk.len()) else {
                        self.stream.send_reset(Reason::ENHANCE_YOUR_CALM);
                        return Poll::Ready(Next::Reset);
                    };
                    self.opened.discarded_bytes_max = left;
                    let _ = body.flow_control().release_capacity(chunk.len());
                }
                Some(Err(_)) => return Poll::Ready(Next::Reset),
                None => break,
            }
        }
        match ready!(body.poll_trailers(context)) {
            // HEADERS with END_STREAM: the nearest there is to the draft's DELETE on the stream.
            Ok(Some(_)) => Poll::Ready(Next::End),
            Ok(None) if self.parent.ended_after_answer() => Poll::Ready(Next::End),
            // It ended its request, a frame late.
            Ok(None) => {
                self.half_closed = true;
                Poll::Pending
            }
            Err(_) => Poll::Ready(Next::Reset),
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        if let Poll::Ready(next) = self.poll_gone(context) {
            return Poll::Ready(next);
        }
        if self.half_closed && !self.opened.link.pushes.enabled() {
            self.pushing.part();
            return Poll::Ready(Next::End);
        }
        let wants = match self.pushing.poll_wants(context) {
            Poll::Ready(Wants::End) => return Poll::Ready(Next::End),
            wants => wants.is_ready(),
        };
        loop {
            match ready!(self.parent.poll_turn(context, wants)) {
                Turn::Push => {
                    let pushed = ready!(self.pushing.poll_push(context));
                    return Poll::Ready(pushed.map_or(Next::End, Next::Push));
                }
                Turn::Over => return Poll::Ready(Next::End),
                Turn::Refused(pushes) => {
                    for _ in 0..pushes {
                        if !self.refused() {
                            return Poll::Ready(Next::End);
                        }
                    }
                }
            }
        }
    }

    /// The client reset a push; whether that was not one too many.
    fn refused(&mut self) -> bool {
        self.pushing.refused();
        let Link { streams, resets_max, .. } = &self.opened.link;
        streams.ended(Ended::Reset);
        streams.resets.load(Relaxed) <= *resets_max
    }

    /// Promises and answers; how the parent ended, if it did.
    async fn push(&mut self, pushed: Pushed) -> Option<Ended> {
        let Pushed { path, accept, reply } = pushed;
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(self.opened.scheme.clone());
        uri.authority = Some(self.opened.authority.clone());
        uri.path_and_query = PathAndQuery::try_from(path).ok();
        // A GET, always: h2 loses track of a stream that it refuses to promise.
        let mut promise = Request::new(());
        *promise.version_mut() = Version::HTTP_2;
        *promise.uri_mut() = Uri::from_parts(uri).expect("the path of a push is a path");
        promise.headers_mut().insert(ACCEPT, HeaderValue::from_static(accept));
        let (head, mut rest) = on_wire(reply);
        let Ok(mut response) = self.respond.push_request(promise) else { return Some(Ended::Reset) };
        self.parent.promised(response.stream_id().as_u32());
        let Ok(mut stream) = response.send_response(head, rest.is_empty()) else {
            response.send_reset(Reason::INTERNAL_ERROR);
            return None;
        };
        while !rest.is_empty() {
            stream.reserve_capacity(rest.len());
            let mut capacity = stream.capacity();
            if capacity == 0 {
                // Most pushes fit the window, and need no timer.
                self.stalled.as_mut().reset(tokio::time::Instant::now() + self.stall_time_max);
                let taken = poll_fn(|context| {
                    if let Poll::Ready(capacity) = stream.poll_capacity(context) {
                        return Poll::Ready(Ok(capacity));
                    }
                    if self.stalled.as_mut().poll(context).is_ready() {
                        return Poll::Ready(Err(Next::End));
                    }
                    if let Poll::Ready(Wants::End) = self.pushing.poll_wants(context) {
                        return Poll::Ready(Err(Next::End));
                    }
                    self.poll_gone(context).map(Err)
                });
                match taken.await {
                    Ok(Some(Ok(more))) => capacity = more,
                    // The client reset it: the wire tells.
                    Ok(None | Some(Err(_))) => return None,
                    Err(next) => {
                        stream.send_reset(Reason::CANCEL);
                        return match next {
                            Next::Reset => Some(Ended::Reset),
                            Next::End | Next::Push(_) => {
                                let _ = self.stream.send_data(Bytes::new(), true);
                                Some(Ended::Finished)
                            }
                        };
                    }
                }
            }
            let slice = rest.split_to(capacity.min(rest.len()));
            if stream.send_data(slice, rest.is_empty()).is_err() {
                return None;
            }
        }
        self.opened.link.streams.ended(Ended::Finished);
        None
    }
}

/// As h2 takes it.
fn on_wire(reply: Reply) -> (Response<()>, Bytes) {
    let (mut parts, body) = reply.into_parts();
    parts.version = Version::HTTP_2;
    parts.headers.remove(CONNECTION);
    parts.headers.remove(TRANSFER_ENCODING);
    parts.headers.insert(DATE, date());
    (Response::from_parts(parts, ()), body)
}
