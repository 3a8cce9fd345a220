//! The listener for notifications: HTTP/1.1, one path, one method.
//!
//! Anyone who reaches its port may speak to it. Invariants: who never named a subscription of ours is read no further than
//! `stranger_bytes_max`, keeps nobody out (of too many connections the oldest of a stranger ends), and learns nothing. What is larger than that
//! is read one at a time, so all together hold `notification_connections_max` times that, and one body.
use super::subscriptions::{Refusal, Subscriptions};
use crate::options::Limits;
use alto::{ErrorBody, media_type, updates::webhook::NOTIFICATION_PATH};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::{AbortHandle, JoinHandle, JoinSet},
    time::{sleep, timeout},
};

/// A listener that runs. Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Listening {
    task: JoinHandle<()>,
    closing: Option<watch::Sender<()>>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What every connection needs.
struct Shared {
    subscriptions: Arc<Subscriptions>,
    limits: Limits,
    /// Longest wait for the next piece of a notification.
    silence: Duration,
    /// Held by a notification of more than `stranger_bytes_max` until it was taken.
    large: Arc<Semaphore>,
}

/// A connection.
struct Guest {
    /// It brought a notification of a subscription.
    known: Arc<AtomicBool>,
    task: AbortHandle,
}

/// Bytes of the head of a request. 16 KiB: a server's has some 300.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Fields of the head of a request. 64: proxies add a few.
const HEAD_FIELDS_MAX: usize = 64;
/// Longest wait for the head of a request, also on a connection that is kept for it. 10 minutes: a server may keep a connection as long as
/// nothing changes; what must not hold others up is ended before (`notification_connections_max`).
const HEAD_TIME_MAX: Duration = Duration::from_secs(600);
/// After a connection could not be accepted: what is missing (open files) must be given back first.
const PAUSE: Duration = Duration::from_millis(100);

impl Listening {
    /// Takes notifications at `socket` for `subscriptions`.
    pub fn start(socket: TcpListener, subscriptions: Arc<Subscriptions>, limits: Limits, silence: Duration) -> Self {
        let (closing, closed) = watch::channel(());
        let shared = Arc::new(Shared { subscriptions, limits, silence, large: Arc::new(Semaphore::new(1)) });
        Self { task: tokio::spawn(listen(socket, shared, closed)), closing: Some(closing) }
    }

    /// Takes no more; waits until what was taken is answered.
    pub async fn close(mut self) {
        self.closing = None;
        // It was ended from elsewhere: then it is over too.
        let _ = (&mut self.task).await;
    }
}

async fn listen(socket: TcpListener, shared: Arc<Shared>, mut closing: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    let mut guests: Vec<Guest> = Vec::new();
    loop {
        let tcp = tokio::select! {
            _ = closing.changed() => break,
            accepted = socket.accept() => match accepted {
                Ok((tcp, _)) => tcp,
                Err(_) => {
                    sleep(PAUSE).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => {
                guests.retain(|guest| !guest.task.is_finished());
                continue;
            }
        };
        guests.retain(|guest| !guest.task.is_finished());
        if guests.len() >= shared.limits.notification_connections_max {
            let Some(stranger) = guests.iter().position(|guest| !guest.known.load(Ordering::Relaxed)) else { continue };
            guests.remove(stranger).task.abort();
        }
        let known = Arc::new(AtomicBool::new(false));
        let task = connections.spawn(serve(tcp, shared.clone(), known.clone(), closing.clone()));
        guests.push(Guest { known, task });
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

async fn serve(tcp: TcpStream, shared: Arc<Shared>, known: Arc<AtomicBool>, mut closing: watch::Receiver<()>) {
    // An answer is one small segment: it must not wait for another. Where that cannot be set it waits.
    let _ = tcp.set_nodelay(true);
    let service = service_fn(|request| {
        let (shared, known) = (shared.clone(), known.clone());
        async move { Ok::<_, Infallible>(answer(request, &shared, &known).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEAD_FIELDS_MAX)
        .serve_connection(TokioIo::new(tcp), service);
    let mut connection = pin!(connection);
    // How a connection ends is the matter of who made it.
    tokio::select! {
        _ = &mut connection => {}
        _ = closing.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn answer(request: Request<Incoming>, shared: &Shared, known: &AtomicBool) -> Response<Full<Bytes>> {
    if request.uri().path() != NOTIFICATION_PATH {
        return empty(StatusCode::NOT_FOUND);
    }
    if request.method() != Method::POST {
        let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, &ErrorBody::syntax("notifications are POSTed"));
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    if crate::transports::media_type_of(request.headers()) != media_type::NOTIFICATION_DATA {
        let what = ErrorBody::syntax(format!("a notification is {}", media_type::NOTIFICATION_DATA));
        return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, &what);
    }
    let coding = request.headers().get(header::CONTENT_ENCODING);
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, &ErrorBody::syntax("a notification has no content coding"));
    }
    let (body, _large) = match read(request.into_body(), shared, known).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    match shared.subscriptions.take(body).await {
        Ok(()) => {
            known.store(true, Ordering::Relaxed);
            empty(StatusCode::OK)
        }
        Err(Refusal::Wrong(error)) => refusal(StatusCode::BAD_REQUEST, &error),
        Err(Refusal::Unknown) => refusal(StatusCode::NOT_FOUND, &ErrorBody::syntax("there is no such subscription here")),
        Err(Refusal::Over) => empty(StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// A whole body, and the right to hold it if it is a large one.
async fn read(
    mut body: Incoming,
    shared: &Shared,
    known: &AtomicBool,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Response<Full<Bytes>>> {
    let Limits { body_bytes_max, stranger_bytes_max, .. } = shared.limits;
    let too_large = |max: usize, name| {
        let what = format!("the notification is larger than {max} bytes ({name})");
        refusal(StatusCode::PAYLOAD_TOO_LARGE, &ErrorBody::syntax(what))
    };
    if body.size_hint().lower() > body_bytes_max as u64 {
        return Err(too_large(body_bytes_max, "body_bytes_max"));
    }
    let mut large = None;
    let mut read = BytesMut::new();
    loop {
        let data = match timeout(shared.silence, body.frame()).await {
            Err(_) => return Err(empty(StatusCode::REQUEST_TIMEOUT)),
            Ok(None) => return Ok((read.freeze(), large)),
            // The connection is broken, or its framing is.
            Ok(Some(Err(_))) => return Err(empty(StatusCode::BAD_REQUEST)),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        };
        if read.len() + data.len() > body_bytes_max {
            return Err(too_large(body_bytes_max, "body_bytes_max"));
        }
        read.extend_from_slice(&data);
        if large.is_none() && read.len() > stranger_bytes_max {
            if !known.load(Ordering::Relaxed) && !shared.subscriptions.names_one(&read) {
                return Err(too_large(stranger_bytes_max, "stranger_bytes_max, before it names a subscription"));
            }
            large = Some(shared.large.clone().acquire_owned().await.expect("it is never closed"));
        }
    }
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

fn refusal(status: StatusCode, error: &ErrorBody) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(error.to_json()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type::ERROR));
    response
}
