//! What is computed for each request: filtered maps, endpoint properties, endpoint costs (RFC 7285 sections 11.3 to 11.5).
//!
//! A query that is small is answered by the thread that read it; one that may take milliseconds goes to another thread, so that
//! the connections beside it do not wait. At most `queries_at_once` of those run, at most `queries_waiting_max` wait.
use super::{Public, ok, slim};
use crate::{
    admin::Label,
    compress::{Effort, compress},
    listen::{Answer, Peer, Reply, Step, budget::Budget},
    negotiate, reply,
    view::Kind,
};
use alto::id::ResourceId;
use bytes::Bytes;
use history::Coding;
use http::{
    HeaderValue, StatusCode,
    header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, VARY},
    request::Parts,
};
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::SystemTime,
};
use tokio::sync::Semaphore;

/// Answers that may be larger are computed in another thread. 128 KiB: some 300 microseconds.
const IN_PLACE_ANSWER_BYTES_MAX: usize = 128 << 10;
/// So are queries that are larger themselves. 4 KiB: at most 16,000 pairs of endpoints, a millisecond; to read 4 MiB takes twenty.
const IN_PLACE_REQUEST_BYTES_MAX: usize = 4 << 10;
/// Answers that are smaller are not coded. 16 KiB: they cross any line in a moment, and coding them costs more than computing them.
const CODED_BYTES_MIN: usize = 16 << 10;
/// Answers up to this many bytes are not counted as held: the kernel takes them at once, or nearly.
const UNCOUNTED_BYTES_MAX: usize = 64 << 10;

/// Queries in flight.
pub(crate) struct Queries {
    limits: maps::guidance::Limits,
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
    pub(crate) budget: Arc<Budget>,
}

impl Queries {
    pub(super) fn new(limits: maps::guidance::Limits, bounds: &crate::Limits) -> Self {
        let running = Arc::new(Semaphore::new(bounds.queries_at_once.max(1)));
        Self {
            limits,
            running,
            waiting: AtomicUsize::new(0),
            waiting_max: bounds.queries_waiting_max,
            budget: Budget::new(bounds.client_bytes_max),
        }
    }
}

/// What the head of a query already says is wrong: 406, 415. `answers` is empty where the answer has no body.
pub(super) fn refuse(head: &Parts, accepts: &str, answers: &str) -> Option<Reply> {
    let sent = negotiate::content_type(&head.headers);
    if sent.as_deref() != Some(accepts) {
        let sent = sent.map_or_else(|| "there is no Content-Type".to_owned(), |sent| format!("not {sent}"));
        return Some(reply::refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("the request body must be {accepts}; {sent}")));
    }
    if head.headers.get(CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let mut reply = reply::refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the request body must not have a content coding");
        // RFC 9110 section 12.5.3: in an answer it says what a request may have.
        reply.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        return Some(reply);
    }
    if !answers.is_empty() && negotiate::accepts(&head.headers, answers) == 0 {
        return Some(reply::refusal(StatusCode::NOT_ACCEPTABLE, format!("the answer is {answers}, which the Accept field excludes")));
    }
    None
}

/// What is left to know of a request once its body is there.
struct Asked {
    id: ResourceId,
    client: IpAddr,
    body: Bytes,
    coding: Option<Coding>,
}

impl Public {
    pub(super) fn query(self: &Arc<Self>, head: &Parts, peer: &Peer, id: &ResourceId) -> Step {
        let Ok(coding) = negotiate::coding(&head.headers) else {
            let refused = reply::refusal(StatusCode::NOT_ACCEPTABLE, "the Accept-Encoding field excludes identity, gzip, br and zstd");
            return Step::Answer(self.done(Label::Resource(id), head, peer, 0, refused.into()));
        };
        let (this, peer, head, id) = (self.clone(), *peer, slim(head), id.clone());
        let then = move |body: Bytes| {
            let read = body.len();
            // An IPv4 client of an IPv6 listener is an IPv4 endpoint to the network map.
            let asked = Asked { id: id.clone(), client: peer.address.ip().to_canonical(), body, coding };
            let answer = this.clone().answer(asked);
            this.done(Label::Resource(&id), &head, &peer, read, answer)
        };
        Step::Body { bytes_max: self.limits.query_bytes_max, then: Box::new(then) }
    }

    fn answer(self: Arc<Self>, asked: Asked) -> Answer {
        // The newest maps, not those from before the body was sent.
        let view = self.views.current();
        let small = match view.entry(asked.id.as_str()).map(|(_, kind)| kind) {
            Some(Kind::Query { answer_bytes, .. }) => {
                asked.body.len() <= IN_PLACE_REQUEST_BYTES_MAX && answer_bytes.is_none_or(|bytes| bytes <= IN_PLACE_ANSWER_BYTES_MAX)
            }
            Some(Kind::Ready { .. } | Kind::Expiring(_)) | None => true,
        };
        drop(view);
        if small {
            return self.compute(&asked).into();
        }
        if self.queries.waiting.fetch_add(1, Relaxed) >= self.queries.waiting_max {
            self.queries.waiting.fetch_sub(1, Relaxed);
            return reply::busy().into();
        }
        let waiting = Waiting(self.clone());
        Answer::Later(Box::pin(async move {
            let turn = self.queries.running.clone().acquire_owned().await.expect("the semaphore is never closed");
            drop(waiting);
            let computed = tokio::task::spawn_blocking(move || {
                let reply = self.compute(&asked);
                drop(turn);
                reply
            });
            computed.await.unwrap_or_else(|_| reply::refusal(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be computed"))
        }))
    }

    fn compute(&self, asked: &Asked) -> Reply {
        let view = self.views.current();
        let limits = &self.queries.limits;
        let expiring = match view.entry(asked.id.as_str()) {
            Some((_, Kind::Query { expiring, .. })) => expiring.as_ref(),
            _ => None,
        };
        let answered = match expiring {
            Some(map) => Some(maps::guidance::expiring_part(&map.view, &map.terms, &asked.body, limits, SystemTime::now())),
            None => view.snapshot.guidance.answer(&asked.id, &asked.body, asked.client, limits),
        };
        match answered {
            None => reply::not_found(asked.id.as_str()),
            Some(Err(body)) => reply::error(StatusCode::BAD_REQUEST, &body),
            Some(Ok(answer)) => {
                let (coding, body) = match asked.coding {
                    Some(coding) if answer.body.len() >= CODED_BYTES_MIN => (Some(coding), compress(&answer.body, coding, Effort::Once)),
                    _ => (None, answer.body),
                };
                let mut share = self.queries.budget.share();
                let counted = body.len() > UNCOUNTED_BYTES_MAX;
                if counted && !share.grow(body.len()) {
                    return reply::busy();
                }
                let mut reply = ok(answer.media_type, body);
                if counted {
                    reply = reply.map(|body| share.of(body));
                }
                let headers = reply.headers_mut();
                if let Some(coding) = coding {
                    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(negotiate::name(coding)));
                }
                headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
                if expiring.is_some() {
                    // Its client may keep it until the dates in it; caches keep no answer to POST that does not say so (RFC 9110 section 9.3.3).
                    headers.remove(CACHE_CONTROL);
                }
                reply
            }
        }
    }
}

/// A place among those that wait, given back when the client leaves too.
struct Waiting(Arc<Public>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.queries.waiting.fetch_sub(1, Relaxed);
    }
}
