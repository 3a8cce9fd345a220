//! HTTP/1.1 (RFC 9112), read and written by hyper.
//!
//! Bodies are shared `Bytes` that hyper hands to `writev` as they are. One request at a time: what a client pipelines waits.
use super::{
    Answer, Collected, Handler, Listening, Peer, Refusal, Stage, Step, content_length, draining,
    io::Io,
    live::{Live, Outgoing, Pieces},
};
use bytes::Bytes;
use http::{
    HeaderValue, Request,
    header::{CONNECTION, EXPECT},
    request::Parts,
};
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};

/// Hyper wants no less for its read buffer.
const BUFFER_BYTES_MIN: usize = 8 << 10;

pub(super) async fn serve<S, H>(io: Io<S>, peer: Peer, listening: &Arc<Listening<H>>, mut stage: watch::Receiver<Stage>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let _connected = listening.metrics.as_ref().map(|metrics| metrics.connected(peer.protocol));
    let limits = &listening.limits;
    let service = service_fn(|request: Request<Incoming>| {
        let listening = listening.clone();
        async move {
            let (head, mut body) = request.into_parts();
            let (reply, whole) = match listening.handler.head(&head, &peer) {
                Step::Answer(answer) => {
                    let reply = settle(answer).await;
                    (reply, body.is_end_stream() || discard(&head, &mut body, &listening).await)
                }
                Step::Body { bytes_max, then } => match read(&head, &mut body, bytes_max, &listening).await {
                    Ok(body) => (settle(then(body)).await, true),
                    Err(refusal) => {
                        // Where a malformed body ends, nobody knows.
                        let whole = refusal != Refusal::Malformed && discard(&head, &mut body, &listening).await;
                        (listening.handler.refuse(&head, &peer, refusal).map(Outcome::Whole), whole)
                    }
                },
            };
            let mut reply = reply;
            if !whole {
                // What is left of the body would be taken for the next request.
                reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(reply)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time_max)
        .max_headers(limits.header_fields_max)
        .max_header_size(limits.header_bytes_max)
        .max_buf_size(limits.header_bytes_max.max(BUFFER_BYTES_MIN))
        // A client may close its side after the request and still wants its answer.
        .half_close(true)
        .pipeline_flush(false)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = draining(&mut stage) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %peer.address, %error, "HTTP/1.1 connection ended");
    }
}

async fn settle(answer: Answer) -> http::Response<Outcome> {
    match answer {
        Answer::Now(reply) => reply.map(Outcome::Whole),
        Answer::Later(reply) => reply.await.map(Outcome::Whole),
        Answer::Live(live) => match live.await {
            Ok(Live::Stream { head, body }) => head.map(|()| Outcome::Pieces(body, Vec::new())),
            Ok(_) => crate::reply::refusal(http::StatusCode::NOT_IMPLEMENTED, "not over HTTP/1.1").map(Outcome::Whole),
            Err(reply) => reply.map(Outcome::Whole),
        },
    }
}

/// A body, whole or in pieces.
enum Outcome {
    Whole(Bytes),
    Pieces(Box<dyn Outgoing>, Pieces),
}

impl Body for Outcome {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Pieces(body, pieces) => {
                if pieces.is_empty() {
                    if !ready!(body.poll_next(context, pieces)) {
                        return Poll::Ready(None);
                    }
                    pieces.reverse();
                }
                Poll::Ready(pieces.pop().map(|piece| Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pieces(..) => SizeHint::default(),
        }
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
