//! Update streams and their control (RFC 8895), as clients meet them: requests in, a body that goes on out.
//!
//! Where sections 6.5 and 6.7.1 differ about a `tag` that is not current, 6.7.1 is followed: the stream begins with changes from that version
//! when it is still here and the client takes changes, else with a full copy. A stream may be controlled from any connection; who knows its
//! control URI, 128 random bits, may (section 7.1).
mod payload;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use stream::{Bounds, Payloads, Source, Stream, Substream};

use super::{
    Transports,
    bell::Ear,
    clients::{Client, Transport, too_many},
};
use crate::{
    listen::{
        Reply,
        live::{Live, Outgoing, Pieces},
        worker::Alarm,
    },
    reply,
};
use alto::{
    ErrorBody,
    id::SubstreamId,
    media_type,
    updates::{AddUpdate, sse::UpdateStreamReq},
};
use bytes::Bytes;
use history::{Accepts, Start};
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Instant,
};
use stream::{Next, Refused};

/// An update stream service: what its substreams follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Resources.
    Resources,
    /// TIPS views.
    Tips,
}

impl Service {
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Resources => "/updates/sse",
            Self::Tips => "/updates/tips-sse",
        }
    }

    fn transport(self) -> Transport {
        match self {
            Self::Resources => Transport::Sse,
            Self::Tips => Transport::TipsStream,
        }
    }
}

/// Who asks, and what URIs begin with for them.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) address: IpAddr,
    pub(crate) base_url: String,
}

/// The streams that can be controlled.
#[derive(Default)]
pub(crate) struct Streams {
    by_token: Mutex<HashMap<Token, Arc<Shared>>>,
    /// Control requests for streams that are not there (section 7.1: "mechanisms that detect repeated guesses").
    pub(crate) missed: AtomicU64,
}

/// By the clock of the runtime, which a test or a simulation may set.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What makes a control URI unguessable.
type Token = [u8; 16];

/// A stream, between its connection and its control.
struct Shared {
    service: Service,
    state: Mutex<State>,
}

struct State {
    stream: Stream,
    /// Of the task that writes the stream.
    waker: Option<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the stream and has its task look.
    fn change<T>(&self, change: impl FnOnce(&mut Stream) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state.stream);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, HashMap<Token, Arc<Shared>>> {
        self.by_token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, service: Service, token: &str) -> Option<Arc<Shared>> {
        let found = parse(token).and_then(|token| self.lock().get(&token).cloned()).filter(|shared| shared.service == service);
        if found.is_none() {
            self.missed.fetch_add(1, Relaxed);
        }
        found
    }

    /// How many there are.
    #[cfg(feature = "simulation")]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Ends all streams: their clients are told.
    pub(crate) fn shut_down(&self) {
        let all: Vec<_> = self.lock().values().cloned().collect();
        for shared in all {
            shared.change(Stream::shut_down);
        }
    }
}

/// Opens a stream (sections 6.5 and 6.6).
pub(crate) async fn open(transports: Arc<Transports>, service: Service, body: Bytes, asker: Asker) -> Result<Live, Reply> {
    let request = UpdateStreamReq::from_json_within(&body, &transports.requests).map_err(wrong)?;
    drop(body);
    let client = transports.clients.join(service.transport())?;
    if request.add.len() > transports.limits.substreams_max {
        let max = transports.limits.substreams_max;
        return Err(too_many(format!("an update stream has {max} substreams at most (updates.substreams-max)"), 60));
    }
    let substreams = substreams(&transports, service, request.add, &asker).await?;
    let token = transports.token();
    let control_uri = format!("{}{}/control/{}", asker.base_url, service.path(), hex(&token));
    let stream = Stream::new(now(), transports.bounds(), &control_uri, substreams).map_err(refused)?;
    let shared = Arc::new(Shared { service, state: Mutex::new(State { stream, waker: None }) });
    transports.streams.lock().insert(token, shared.clone());
    let body = Body { shared, token, transports, client, ears: Vec::new(), heard: None, alarm: None };
    if body.transports.is_stopping() {
        return Err(reply::stopping());
    }
    let mut head = Response::new(());
    let headers = head.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type::EVENT_STREAM));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // nginx would otherwise wait for a buffer to fill.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    reply::allow_origins(headers);
    Ok(Live::Stream { head, body: Box::new(body) })
}

/// Whether there is such a stream and it takes a request now: what a control request is answered before its body is read.
pub(crate) fn admit(transports: &Transports, service: Service, token: &str) -> Result<(), Reply> {
    let shared = transports.streams.find(service, token).ok_or_else(no_stream)?;
    let admitted = shared.lock().stream.admit(now());
    if admitted {
        return Ok(());
    }
    let max = transports.limits.control_requests_max;
    let why = format!("an update stream takes {max} control requests a minute (updates.control-requests-max)");
    Err(too_many(why, 60_u32.div_ceil(max.max(1))))
}

/// Changes a stream (section 7).
pub(crate) async fn control(transports: Arc<Transports>, service: Service, token: String, body: Bytes, asker: Asker) -> Reply {
    let changed = async {
        let shared = transports.streams.find(service, &token).ok_or_else(no_stream)?;
        let request = UpdateStreamReq::control_from_json_within(&body, &transports.requests).map_err(wrong)?;
        drop(body);
        let ids: Vec<&SubstreamId> = request.add.iter().map(|(id, _)| id).collect();
        // Before views are opened for it; while they are, other requests may come, so it is done again with them.
        shared.lock().stream.check(&ids, request.remove.as_deref()).map_err(refused)?;
        let add = substreams(&transports, service, request.add, &asker).await?;
        shared.change(|stream| stream.change(add, request.remove.as_deref())).map_err(refused)
    };
    match changed.await {
        // "the stream control server is sure that the update stream server has also processed the request".
        Ok(()) => reply::empty(StatusCode::NO_CONTENT),
        Err(refused) => refused,
    }
}

/// Opens what a request adds. The first that is refused refuses all.
async fn substreams(
    transports: &Arc<Transports>,
    service: Service,
    add: Vec<(SubstreamId, AddUpdate)>,
    asker: &Asker,
) -> Result<Vec<Substream>, Reply> {
    let mut substreams = Vec::with_capacity(add.len());
    for (id, wish) in add {
        let field = format!("add/{id}/");
        substreams.push(match service {
            Service::Resources => {
                let AddUpdate { resource_id, tag, incremental_changes, input } = wish;
                let depends_on = transports.depends_on(&resource_id);
                let view = transports.open(resource_id, input, asker.address, &field).await?;
                let accepts = if incremental_changes { Accepts::PATCHES } else { Accepts::SNAPSHOTS };
                let cursor = view.cursor(tag.map_or(Start::Nothing, Start::Tag));
                Substream { id, source: Source::Resource { cursor, accepts }, depends_on }
            }
            Service::Tips => {
                let watch = super::tips_stream::watch(transports, wish, asker, &field).await?;
                Substream { id, source: Source::Summary(watch), depends_on: Box::default() }
            }
        });
    }
    Ok(substreams)
}

fn wrong(body: ErrorBody) -> Reply {
    reply::error(StatusCode::BAD_REQUEST, &body)
}

fn refused(refused: Refused) -> Reply {
    match refused {
        Refused::Wrong(body) => wrong(body),
        Refused::TooMany(why) => too_many(why, 60),
        Refused::Ended => no_stream(),
    }
}

fn no_stream() -> Reply {
    reply::refusal(StatusCode::NOT_FOUND, "there is no such update stream, or it has ended")
}

fn hex(token: &Token) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    token.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

fn parse(token: &str) -> Option<Token> {
    let digits = token.as_bytes();
    if digits.len() != 32 {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut parsed = Token::default();
    for (byte, pair) in parsed.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(parsed)
}

/// The body of a stream: wakes when there is news, its turn to show life has come, or its control changed it.
struct Body {
    shared: Arc<Shared>,
    token: Token,
    transports: Arc<Transports>,
    client: Client,
    ears: Vec<Ear>,
    /// For which substreams `ears` listen.
    heard: Option<u64>,
    alarm: Option<Alarm>,
}

impl Outgoing for Body {
    fn poll_next(&mut self, context: &mut Context<'_>, pieces: &mut Pieces) -> Poll<bool> {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        if self.heard != Some(state.stream.generation()) {
            self.ears = state.stream.views().map(|view| self.transports.bell.ear(view.id())).collect();
            self.heard = Some(state.stream.generation());
        }
        // Before the look at the cursors: what comes after it rings.
        self.ears.iter_mut().for_each(|ear| ear.listen(context));
        loop {
            match state.stream.next(now(), &self.transports.payloads, pieces) {
                Next::Said { updates } => {
                    let bytes = pieces.iter().map(Bytes::len).sum();
                    self.client.sent(updates, bytes);
                    return Poll::Ready(true);
                }
                Next::Ended => return Poll::Ready(false),
                Next::Wait(due) => {
                    state.waker = Some(context.waker().clone());
                    // It goes off once for all that was said meanwhile, and is set anew then: an update costs no alarm.
                    if self.alarm.as_ref().is_some_and(|alarm| alarm.is_pending(context)) {
                        return Poll::Pending;
                    }
                    let alarm = self.alarm.get_or_insert_with(|| Alarm::new(due.into()));
                    alarm.set(due.into());
                    if alarm.poll(context).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.transports.streams.lock().remove(&self.token);
        // A control request that is under way finds it ended.
        self.shared.lock().stream.end();
    }
}
