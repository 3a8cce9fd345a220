//! HTTP/2 (RFC 9113), connections owned through the `h2` crate so that updates can be pushed on them.
//!
//! One task owns a connection and answers what is ready; whatever must wait (for a body, for a computation, for the client's
//! window) waits in a task of its own. Invariants: no more is given to h2 than the client's window takes, so a slow client
//! costs no memory; a body is sent in slices of the one shared `Bytes`; whatever h2 does to one connection, a panic included,
//! ends that connection and no other.
mod frames;
mod live;
mod push;

use super::{
    Answer, Collected, Handler, Listening, Peer, Refusal, Reply, Stage, Step, content_length, date, draining,
    io::Io,
    live::Live,
    stream::Stream,
    websocket::{self, WebSocket},
    wire::Unsent,
};
use crate::Limits;
use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    server::{Builder, SendResponse},
};
use http::{
    HeaderMap, HeaderValue, Response, StatusCode, Version,
    header::{CONNECTION, DATE, EXPECT, SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING},
    request::Parts,
};
use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

/// Bytes a client may send on one stream before we have read them. 64 KiB, the protocol's default: requests are small.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// The same for a connection: sixteen streams at once.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes of one answer that may lie in h2 at a time; they are shared, not copied.
const SEND_BUFFER_BYTES: usize = 1 << 20;
/// Resets that h2 remembers, and for how long, to tell late frames from wrong ones.
const RESETS_REMEMBERED: usize = 32;
const RESETS_REMEMBERED_FOR: Duration = Duration::from_secs(5);
/// Streams reset by a client before we saw them, after which h2 itself ends the connection.
const RESETS_UNSEEN_MAX: usize = 32;

/// How long after GOAWAY a connection without streams is waited for. 1 s: the client's answer to the PING with it, and requests that it sent before it
/// heard, come within a round trip (RFC 9113 section 6.8); h2 would wait for that answer for ever.
const GOAWAY_TIME: Duration = Duration::from_secs(1);

/// Times in a row, `stall_time_max` apart, that a client may leave a PING unanswered. 4: one that takes a long answer slowly finds it behind that.
const PINGS_UNHEARD_MAX: u32 = 4;

/// What the tasks of a connection tell its owner.
#[derive(Default)]
struct Streams {
    /// Tasks at work.
    active: AtomicUsize,
    /// Streams the client reset before they were answered, minus those it let finish (never below 0).
    resets: AtomicUsize,
}

impl Streams {
    /// How a stream ended.
    fn ended(&self, how: Ended) {
        match how {
            Ended::Finished => {
                if self.resets.load(Relaxed) > 0 {
                    let _ = self.resets.fetch_update(Relaxed, Relaxed, |resets| resets.checked_sub(1));
                }
            }
            Ended::Reset => {
                self.resets.fetch_add(1, Relaxed);
            }
        }
    }
}

struct Active(Arc<Streams>);

impl Active {
    fn new(streams: &Arc<Streams>) -> Self {
        streams.active.fetch_add(1, Relaxed);
        Self(streams.clone())
    }

    fn ended(&self, how: Ended) {
        self.0.ended(how);
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}

enum Ended {
    Finished,
    Reset,
}

pub(super) async fn serve<S, H>(io: Io<S>, peer: Peer, listening: &Arc<Listening<H>>, stage: watch::Receiver<Stage>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let _connected = listening.metrics.as_ref().map(|metrics| metrics.connected(peer.protocol));
    if let Err(error) = run(io, peer, listening, stage).await {
        tracing::debug!(peer = %peer.address, %error, "HTTP/2 connection ended");
    }
}

async fn run<S, H>(io: Io<S>, peer: Peer, listening: &Arc<Listening<H>>, mut stage: watch::Receiver<Stage>) -> Result<(), h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let limits = &listening.limits;
    let _connection = Connected { listening, peer };
    let pushes = frames::Pushes::new(limits.pushes_max);
    let gate = Arc::new(live::Gate::default());
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_concurrent_reset_streams(RESETS_REMEMBERED)
        .reset_stream_duration(RESETS_REMEMBERED_FOR)
        .max_pending_accept_reset_streams(RESETS_UNSEEN_MAX)
        .enable_connect_protocol();
    let Ok(handshake) = timeout(
        limits.header_time_max,
        builder.handshake::<_, Bytes>(frames::Watched::new(live::Gated::new(io, gate.clone()), pushes.clone())),
    )
    .await
    else {
        return Err(Reason::SETTINGS_TIMEOUT.into());
    };
    let mut connection = handshake?;
    pushes.set_pings(connection.ping_pong());
    let streams = Arc::new(Streams::default());
    let link = push::Link { pushes, streams: streams.clone(), stage: stage.clone(), resets_max: limits.resets_max as usize, gate };
    let mut closing = false;
    let mut last_request = Instant::now();
    let mut idle = pin!(sleep_until(last_request + limits.idle_time_max));
    let mut told = pin!(sleep_until(last_request));
    loop {
        tokio::select! {
            biased;
            accepted = poll_fn(|context| link.poll_accept(&mut connection, context)) => match accepted {
                None => return Ok(()),
                Some(Err(error)) => return Err(error),
                Some(Ok((request, respond))) => {
                    last_request = Instant::now();
                    if streams.resets.load(Relaxed) > limits.resets_max as usize {
                        connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                        continue;
                    }
                    let (mut head, body) = request.into_parts();
                    if head.extensions.get::<h2::ext::Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket") {
                        websocket::handshake_http2(&mut head);
                    }
                    let peer = Peer { push: link.pushes.enabled(), ..peer };
                    dispatch(head, body, respond, peer, listening, &link);
                }
            },
            () = draining(&mut stage), if !closing => {
                // GOAWAY; what is in flight goes on, and `accept` ends with it.
                closing = true;
                connection.graceful_shutdown();
                idle.as_mut().reset(Instant::now() + limits.idle_time_max);
                told.as_mut().reset(Instant::now() + GOAWAY_TIME);
            }
            () = &mut told, if closing => {
                if connection.has_streams() {
                    told.as_mut().reset(Instant::now() + GOAWAY_TIME);
                    continue;
                }
                // What the client sent since is not among what this says was taken, and may be sent to another.
                connection.abrupt_shutdown(Reason::NO_ERROR);
                return timeout(GOAWAY_TIME, poll_fn(|context| connection.poll_closed(context))).await.unwrap_or(Ok(()));
            }
            () = &mut idle => {
                let since = last_request + limits.idle_time_max;
                if streams.active.load(Relaxed) > 0 || since > Instant::now() {
                    // An answer that goes on and has nothing to say does not show that its client is gone.
                    let unheard = poll_fn(|context| Poll::Ready(link.pushes.ask(context))).await;
                    if unheard >= PINGS_UNHEARD_MAX {
                        return Err(Reason::NO_ERROR.into());
                    }
                    idle.as_mut().reset(since.max(Instant::now() + limits.stall_time_max));
                } else if closing {
                    // It was told to go and does not.
                    return Ok(());
                } else {
                    closing = true;
                    connection.graceful_shutdown();
                    idle.as_mut().reset(Instant::now() + limits.stall_time_max);
                    told.as_mut().reset(Instant::now() + GOAWAY_TIME);
                }
            }
        }
    }
}

fn dispatch<H: Handler>(
    head: Parts,
    mut body: RecvStream,
    mut respond: SendResponse<Bytes>,
    peer: Peer,
    listening: &Arc<Listening<H>>,
    link: &push::Link,
) {
    let streams = &link.streams;
    let (bytes_max, then, ends) = match listening.handler.head(&head, &peer) {
        Step::Answer(Answer::Live(live)) => {
            let (active, listening) = (Active::new(streams), listening.clone());
            let opened = push::Opened::new(link.clone(), &head, &peer, body, &listening.limits);
            tokio::spawn(async move { active.ended(go_on(respond, live, opened, &listening).await) });
            return;
        }
        Step::Answer(refused) if !body.is_end_stream() => {
            let (active, listening) = (Active::new(streams), listening.clone());
            tokio::spawn(async move {
                // Ending the stream while the client still sends would reset it, and some clients then show no answer at all.
                discard(&head, &mut body, &listening.limits).await;
                let time_max = listening.limits.stall_time_max;
                active.ended(match refused {
                    Answer::Now(reply) => finish(respond, reply, time_max).await,
                    Answer::Later(reply) => answer(respond, reply, time_max).await,
                    // Taken above.
                    Answer::Live(_) => Ended::Reset,
                });
            });
            return;
        }
        Step::Answer(Answer::Now(reply)) => {
            // The common case needs no task: the answer is ready and fits the window.
            match begin(&mut respond, reply) {
                Begun::Ended(how) => streams.ended(how),
                Begun::Waits(stream, rest) => {
                    let (active, time_max) = (Active::new(streams), listening.limits.stall_time_max);
                    tokio::spawn(async move { active.ended(send(stream, rest, time_max).await) });
                }
            }
            return;
        }
        Step::Answer(Answer::Later(reply)) => {
            let (active, time_max) = (Active::new(streams), listening.limits.stall_time_max);
            tokio::spawn(async move { active.ended(answer(respond, reply, time_max).await) });
            return;
        }
        Step::Body { bytes_max, then } => (bytes_max, then, Ends::Stream),
        Step::Value { bytes_max, then } => (bytes_max, then, Ends::Value),
    };
    let (active, listening, link) = (Active::new(streams), listening.clone(), link.clone());
    tokio::spawn(async move {
        let time_max = listening.limits.stall_time_max;
        let ended = match read(&head, &mut body, &mut respond, bytes_max, ends, &listening).await {
            Ok(value) => match then(value) {
                Answer::Now(reply) => finish(respond, reply, time_max).await,
                Answer::Later(reply) => answer(respond, reply, time_max).await,
                Answer::Live(live) => {
                    let opened = push::Opened::new(link, &head, &peer, body, &listening.limits);
                    go_on(respond, live, opened, &listening).await
                }
            },
            Err(Unread::Refused(refusal)) => {
                discard(&head, &mut body, &listening.limits).await;
                finish(respond, listening.handler.refuse(&head, &peer, refusal), time_max).await
            }
            Err(Unread::Gone) => Ended::Reset,
        };
        active.ended(ended);
    });
}

/// Waits for a reply unless the client stops wanting it.
async fn answer(mut respond: SendResponse<Bytes>, reply: impl Future<Output = Reply>, time_max: Duration) -> Ended {
    let reply = tokio::select! {
        biased;
        _ = poll_fn(|context| respond.poll_reset(context)) => return Ended::Reset,
        reply = reply => reply,
    };
    finish(respond, reply, time_max).await
}

async fn finish(mut respond: SendResponse<Bytes>, reply: Reply, time_max: Duration) -> Ended {
    match begin(&mut respond, reply) {
        Begun::Waits(stream, rest) => send(stream, rest, time_max).await,
        Begun::Ended(how) => how,
    }
}

/// Answers with what goes on.
async fn go_on<H>(
    mut respond: SendResponse<Bytes>,
    live: impl Future<Output = Result<Live, Reply>>,
    opened: push::Opened,
    listening: &Listening<H>,
) -> Ended {
    let limits = &listening.limits;
    let time_max = limits.stall_time_max;
    let live = tokio::select! {
        biased;
        _ = poll_fn(|context| respond.poll_reset(context)) => return Ended::Reset,
        live = live => live,
    };
    let mut begin = |mut head: Response<()>| {
        *head.version_mut() = Version::HTTP_2;
        head.headers_mut().insert(DATE, date());
        respond.send_response(head, false)
    };
    let finished = match live {
        Ok(Live::Stream { head, body }) => {
            let Ok(stream) = begin(head) else { return Ended::Reset };
            Stream::new(opened.into_channel(stream), body, Unsent::default(), time_max, ()).await
        }
        Ok(Live::Socket { subprotocol, socket }) => {
            let mut head = Response::new(());
            if let Some(subprotocol) = subprotocol {
                head.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
            }
            let Ok(stream) = begin(head) else { return Ended::Reset };
            let wire = opened.into_channel(stream);
            WebSocket::new(wire, socket, Unsent::default(), Bytes::new(), limits, &listening.budget, ()).await
        }
        Ok(Live::Push { reply, pushes }) => return opened.run(respond, reply, pushes, time_max).await,
        Err(reply) => return finish(respond, reply, time_max).await,
    };
    if finished { Ended::Finished } else { Ended::Reset }
}

/// How far an answer came at once.
enum Begun {
    Ended(Ended),
    /// The window does not take all of the body.
    Waits(SendStream<Bytes>, Bytes),
}

/// Sends the header and, if the window takes all of it, the body.
fn begin(respond: &mut SendResponse<Bytes>, reply: Reply) -> Begun {
    let (mut parts, body) = reply.into_parts();
    parts.version = Version::HTTP_2;
    // RFC 9113 section 8.2.2: such fields make the answer malformed.
    parts.headers.remove(CONNECTION);
    parts.headers.remove(TRANSFER_ENCODING);
    parts.headers.insert(DATE, date());
    // An error means that the client reset the stream or left: there is nobody to tell.
    let Ok(mut stream) = respond.send_response(Response::from_parts(parts, ()), body.is_empty()) else {
        return Begun::Ended(Ended::Reset);
    };
    if body.is_empty() {
        return Begun::Ended(Ended::Finished);
    }
    stream.reserve_capacity(body.len());
    if stream.capacity() < body.len() {
        return Begun::Waits(stream, body);
    }
    let sent = stream.send_data(body, true);
    Begun::Ended(if sent.is_ok() { Ended::Finished } else { Ended::Reset })
}

/// Sends the rest as the window opens.
async fn send(mut stream: SendStream<Bytes>, mut rest: Bytes, time_max: Duration) -> Ended {
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        match timeout(time_max, poll_fn(|context| stream.poll_capacity(context))).await {
            Ok(Some(Ok(capacity))) => {
                let slice = rest.split_to(capacity.min(rest.len()));
                if stream.send_data(slice, rest.is_empty()).is_err() {
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
    Ended::Finished
}

enum Unread {
    Refused(Refusal),
    Gone,
}

/// What besides END_STREAM and `content-length` bytes ends a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// Nothing.
    Stream,
    /// One complete JSON value.
    Value,
}

/// Tells the connection's end to the handler, however it ends.
struct Connected<'a, H: Handler> {
    listening: &'a Listening<H>,
    peer: Peer,
}

impl<H: Handler> Drop for Connected<'_, H> {
    fn drop(&mut self) {
        self.listening.handler.closed(self.peer.connection);
    }
}

/// The whole body. It ends with END_STREAM or, because some clients keep their side open, with `content-length` bytes.
async fn read<H>(
    head: &Parts,
    body: &mut RecvStream,
    respond: &mut SendResponse<Bytes>,
    bytes_max: usize,
    ends: Ends,
    listening: &Listening<H>,
) -> Result<Bytes, Unread> {
    let length = content_length(head);
    if length.is_some_and(|length| length > bytes_max as u64) {
        return Err(Unread::Refused(Refusal::TooLarge { bytes_max }));
    }
    if let Some(expect) = head.headers.get(EXPECT) {
        if !expect.as_bytes().eq_ignore_ascii_case(b"100-continue") {
            return Err(Unread::Refused(Refusal::Malformed));
        }
        let mut go_on = Response::new(());
        *go_on.status_mut() = StatusCode::CONTINUE;
        *go_on.headers_mut() = HeaderMap::new();
        respond.send_informational(go_on).map_err(|_| Unread::Gone)?;
    }
    let all = async {
        let mut collected = Collected::new(bytes_max, &listening.budget);
        let mut value = super::value::Value::default();
        while length.is_none_or(|length| (collected.len() as u64) < length) {
            match body.data().await {
                None => break,
                Some(Err(_)) => return Err(Unread::Gone),
                Some(Ok(chunk)) => {
                    let read = chunk.len();
                    let complete = ends == Ends::Value && length.is_none() && value.feed(&chunk);
                    collected.push(chunk).map_err(Unread::Refused)?;
                    let _ = body.flow_control().release_capacity(read);
                    if complete {
                        break;
                    }
                }
            }
        }
        Ok(collected.finish())
    };
    let time_max = listening.limits.body_time_max;
    timeout(time_max, all).await.unwrap_or(Err(Unread::Refused(Refusal::TooSlow { time_max })))
}

/// Reads what a client still sends of a body that nobody wants, within bounds.
async fn discard(head: &Parts, body: &mut RecvStream, limits: &Limits) {
    let bytes_max = limits.discarded_bytes_max;
    if head.headers.contains_key(EXPECT) || content_length(head).is_some_and(|length| length > bytes_max as u64) {
        return;
    }
    let all = async {
        let mut left = bytes_max;
        while let Ok(Some(Ok(chunk))) = timeout(limits.discard_pause_max, body.data()).await {
            if chunk.len() > left {
                return;
            }
            left -= chunk.len();
            let _ = body.flow_control().release_capacity(chunk.len());
        }
    };
    // However it ended, the answer is next.
    let _ = timeout(limits.body_time_max, all).await;
}
