//! HTTP/1.1 (RFC 9112), read and written by hyper; answers that go on leave it.
//!
//! Bodies are shared `Bytes` that hyper hands to `writev` as they are. One request at a time: what a client pipelines waits. An answer that goes
//! on takes the connection along, into a small task without hyper's buffers, and is the last on it.
mod waiting;

use super::{
    Answer, Collected, Handler, Held, Listening, Peer, Refusal, Reply, Stage, Step, content_length, date, draining,
    io::{Io, Watched},
    live::Live,
    stream::Stream,
    websocket::{self, WebSocket},
    wire::{Line, Unsent},
};
use crate::admin::Connected;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, StatusCode, Version,
    header::{CONNECTION, DATE, EXPECT, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Poll,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};
use waiting::Waiting;

/// Hyper wants no less for its read buffer.
const BUFFER_BYTES_MIN: usize = 8 << 10;

/// What a connection holds as long as it lives, whoever has it.
type Kept = (Held, Option<Connected>);
/// An answer that is still to come.
type Later = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// What takes a connection out of hyper.
enum Leaving {
    /// An answer that goes on.
    Live {
        live: Live,
        version: Version,
        /// Of a request for a WebSocket.
        accept: Option<HeaderValue>,
    },
    /// An answer that takes time; nothing of the request is left.
    Later {
        reply: Later,
        /// Whether it is the last one.
        closes: bool,
    },
}

enum Outcome {
    Whole(Reply),
    GoesOn(Live),
}

pub(super) async fn serve<S, H>(io: Io<S>, peer: Peer, listening: &Arc<Listening<H>>, stage: watch::Receiver<Stage>, held: Held)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let connected = listening.metrics.as_ref().map(|metrics| metrics.connected(peer.protocol));
    serve_rest(io, peer, listening.clone(), stage, (held, connected)).await;
}

/// Serves what is left of a connection.
async fn serve_rest<S, H>(io: Io<S>, peer: Peer, listening: Arc<Listening<H>>, mut stage: watch::Receiver<Stage>, kept: Kept)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let limits = &listening.limits;
    let (leaving, flushed) = (Mutex::new(None), AtomicBool::new(false));
    let service = service_fn(|request: Request<Incoming>| {
        let (listening, leaving) = (listening.clone(), &leaving);
        async move {
            let (mut head, mut body) = request.into_parts();
            let accept = websocket::handshake(&mut head);
            let (outcome, whole) = match listening.handler.head(&head, &peer) {
                Step::Answer(Answer::Later(mut later)) if body.is_end_stream() => {
                    let polled = poll_fn(|context| Poll::Ready(later.as_mut().poll(context))).await;
                    if let Poll::Ready(reply) = polled {
                        (Outcome::Whole(reply), true)
                    } else {
                        let waits = Leaving::Later { reply: later, closes: !persists(&head) };
                        *leaving.lock().unwrap_or_else(PoisonError::into_inner) = Some(waits);
                        pending().await
                    }
                }
                Step::Answer(answer) => {
                    let outcome = settle(answer).await;
                    (outcome, body.is_end_stream() || discard(&head, &mut body, &listening).await)
                }
                Step::Body { bytes_max, then } | Step::Value { bytes_max, then } => {
                    match read(&head, &mut body, bytes_max, &listening).await {
                        Ok(body) => (settle(then(body)).await, true),
                        Err(refusal) => {
                            // Where a malformed body ends, nobody knows.
                            let whole = refusal != Refusal::Malformed && discard(&head, &mut body, &listening).await;
                            (Outcome::Whole(listening.handler.refuse(&head, &peer, refusal)), whole)
                        }
                    }
                }
            };
            let mut reply = match outcome {
                Outcome::Whole(reply) => reply,
                Outcome::GoesOn(live) => {
                    *leaving.lock().unwrap_or_else(PoisonError::into_inner) = Some(Leaving::Live { live, version: head.version, accept });
                    pending().await
                }
            };
            if !whole {
                // What is left of the body would be taken for the next request.
                reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(reply.map(Full::new))
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time_max)
        .max_headers(limits.header_fields_max)
        .max_header_size(limits.header_bytes_max)
        .max_buf_size(limits.header_bytes_max.max(BUFFER_BYTES_MIN))
        // A client may close its side after the request and still wants its answer.
        .half_close(true)
        .pipeline_flush(false)
        .serve_connection(TokioIo::new(Watched::new(io, &flushed)), service);
    let left = {
        let mut stopping = pin!(draining(&mut stage));
        let mut stops = false;
        poll_fn(|context| {
            if !stops && stopping.as_mut().poll(context).is_ready() {
                stops = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            flushed.store(false, Relaxed);
            let polled = Pin::new(&mut connection).poll(context);
            let mut leaving = leaving.lock().unwrap_or_else(PoisonError::into_inner);
            // Answers before this one that the client has still to take are in hyper's buffer until it flushes.
            if leaving.is_some() && flushed.load(Relaxed) {
                return Poll::Ready(leaving.take());
            }
            polled.map(|ended| {
                if let Err(error) = ended {
                    tracing::debug!(peer = %peer.address, %error, "HTTP/1.1 connection ended");
                }
                None
            })
        })
        .await
    };
    let Some(left) = left else { return };
    let parts = connection.into_parts();
    let (io, unread) = parts.io.into_inner().into_inner().into_parts();
    // A copy: what came early is mostly nothing, and would keep all of the buffer that it lies in.
    let early = Bytes::from([&*parts.read_buf, &*unread].concat());
    let (live, version, accept) = match left {
        Leaving::Live { live, version, accept } => (live, version, accept),
        Leaving::Later { reply, closes } => {
            let line = Line::new(io, false);
            tokio::spawn(Waiting::new(line, kept, listening, stage, peer, reply, early).closing(closes));
            return;
        }
    };
    match live {
        Live::Stream { head, body } => {
            let (mut head, ()) = head.into_parts();
            let chunked = version >= Version::HTTP_11;
            if chunked {
                head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
            let first = written(head.status, &mut head.headers);
            tokio::spawn(Stream::new(Line::new(io, chunked), body, first, limits.stall_time_max, kept));
        }
        Live::Socket { subprotocol, socket } => {
            let Some(accept) = accept else { return tracing::error!("a WebSocket for a request that is none") };
            let mut headers = HeaderMap::new();
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
            if let Some(subprotocol) = subprotocol {
                headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
            }
            let first = written(StatusCode::SWITCHING_PROTOCOLS, &mut headers);
            let budget = listening.budget.clone();
            tokio::spawn(WebSocket::new(Line::new(io, false), socket, first, early, limits, &budget, kept));
        }
        Live::Push { .. } => tracing::error!("a push for a client of HTTP/1.1"),
    }
}

/// Whether another request may come after this one (RFC 9112 section 9.3). Clients of HTTP/1.0 may ask for that; it is not granted here.
fn persists(head: &Parts) -> bool {
    let options = head.headers.get_all(CONNECTION).iter();
    let mut options = options.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    head.version >= Version::HTTP_11 && !options.any(|option| option.eq_ignore_ascii_case(b"close"))
}

/// A head as it is sent, unsent.
fn written(status: StatusCode, headers: &mut HeaderMap) -> Unsent {
    let mut text = Vec::with_capacity(512);
    write_head(&mut text, status, headers);
    let mut first = Unsent::default();
    first.push(text.into());
    first
}

/// A head as it is sent (RFC 9112 section 4).
fn write_head(text: &mut Vec<u8>, status: StatusCode, headers: &mut HeaderMap) {
    headers.insert(DATE, date());
    let reason = status.canonical_reason().unwrap_or("");
    for part in [b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"] {
        text.extend_from_slice(part);
    }
    for (name, value) in headers.iter() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            text.extend_from_slice(part);
        }
    }
    text.extend_from_slice(b"\r\n");
}

async fn settle(answer: Answer) -> Outcome {
    match answer {
        Answer::Now(reply) => Outcome::Whole(reply),
        Answer::Later(reply) => Outcome::Whole(reply.await),
        Answer::Live(live) => live.await.map_or_else(Outcome::Whole, Outcome::GoesOn),
    }
}

/// The whole body. Polling it is what makes hyper answer `Expect: 100-continue`, so one that is refused by its head is never sent.
async fn read<H>(head: &Parts, body: &mut Incoming, bytes_max: usize, listening: &Listening<H>) -> Result<Bytes, Refusal> {
    if content_length(head).is_some_and(|length| length > bytes_max as u64) {
        return Err(Refusal::TooLarge { bytes_max });
    }
    if head.headers.get(EXPECT).is_some_and(|expect| !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refusal::Malformed);
    }
    let time_max = listening.limits.body_time_max;
    let all = async {
        let mut collected = Collected::new(bytes_max, &listening.budget);
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Err(Refusal::Malformed) };
            if let Ok(chunk) = frame.into_data() {
                collected.push(chunk)?;
            }
        }
        Ok(collected.finish())
    };
    tokio::time::timeout(time_max, all).await.unwrap_or(Err(Refusal::TooSlow { time_max }))
}

/// Reads what is left of a body that nobody wants. Whether that was all of it: not more than a client may make us read, not more slowly,
/// and nothing that it asks us first whether to send.
async fn discard<H>(head: &Parts, body: &mut Incoming, listening: &Listening<H>) -> bool {
    let bytes_max = listening.limits.discarded_bytes_max;
    if head.headers.contains_key(EXPECT) || content_length(head).is_some_and(|length| length > bytes_max as u64) {
        return false;
    }
    let pause_max = listening.limits.discard_pause_max;
    let all = async {
        let mut left = bytes_max;
        while let Some(frame) = tokio::time::timeout(pause_max, body.frame()).await.transpose() {
            let Ok(Ok(frame)) = frame else { return false };
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            if bytes > left {
                return false;
            }
            left -= bytes;
        }
        true
    };
    tokio::time::timeout(listening.limits.body_time_max, all).await.unwrap_or(false)
}
