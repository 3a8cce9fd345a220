//! TIPS (draft-ietf-alto-new-transport sections 6 and 7): views are opened, edges are got, one that is still to come is waited for.
//!
//! What lies under the URI of an edge never changes: a view's id is never used again, and an edge has one content in one media type. So
//! answers may be kept for ever, and a cache in front asks once for all who poll. Refusals are not to be kept: they may be wrong a moment
//! later. Invariant: a view of a POST-mode resource lives as long as somebody polls it, and for `tips_view_grace` after the end of its last
//! request.
mod edge;
#[cfg(test)]
mod tests;

use super::{
    Transports,
    bell::Ear,
    clients::{Transport, too_many},
    ready::Ready,
    sse::Asker,
};
use crate::{
    Limits,
    listen::{
        Answer, Reply,
        worker::{Alarm, Registration},
    },
    negotiate, reply,
    representation::Representation,
};
use alto::{
    ErrorBody,
    id::Tag,
    media_type,
    updates::tips::{AddTipsResponse, Edge, Summary, SummaryChange, TipsReq},
};
use bytes::Bytes;
use edge::Verdict;
use history::{Item, Seq, View, ViewId};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, IF_NONE_MATCH, RETRY_AFTER},
    request::Parts,
};
use std::{
    collections::HashMap,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::{Duration, Instant, SystemTime},
};

/// Edges up to this many bytes are sent as they are, whatever codings a client takes: one packet, and one form for all in a cache.
const UNCODED_BYTES_MAX: usize = 1_400;
/// A view that is polled is looked at again after its grace, but no sooner than this.
const LOOKED_AT_AGAIN_MIN: Duration = Duration::from_secs(1);

/// What TIPS keeps.
pub(crate) struct Tips {
    held: Mutex<Held>,
    views_max: usize,
    grace: Duration,
    edges: Ready<(ViewId, Seq, Seq), Arc<Representation>>,
}

/// Views of POST-mode resources.
#[derive(Default)]
struct Held {
    views: HashMap<ViewId, HeldView>,
    /// Somebody looks after them.
    swept: bool,
}

struct HeldView {
    view: Arc<View>,
    /// When the last request for it came or ended.
    used: Instant,
    /// Polls that wait for it now.
    polls: usize,
}

impl Tips {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            held: Mutex::default(),
            views_max: limits.tips_views_max,
            grace: limits.tips_view_grace,
            edges: Ready::new(limits.ready_bytes_max),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Views that are held for TIPS clients.
    pub(crate) fn held(&self) -> usize {
        self.lock().views.len()
    }

    /// Keeps a view of a POST-mode resource for a while; one of a GET-mode resource lives anyway. `Err`: too many are kept.
    fn hold(&self, view: &Arc<View>, now: Instant) -> Result<(), Reply> {
        if view.input().is_none() {
            return Ok(());
        }
        let mut held = self.lock();
        if held.views.len() >= self.views_max && !held.views.contains_key(view.id()) {
            let max = self.views_max;
            let why = format!("{max} views of POST-mode resources are held for TIPS clients, which is the most (updates.tips-views-max)");
            return Err(too_many(why, 30));
        }
        held.views.entry(view.id().clone()).or_insert_with(|| HeldView { view: view.clone(), used: now, polls: 0 }).used = now;
        Ok(())
    }

    /// A poll begins to wait. Whether its view is held for it; then its end is to be told.
    fn poll_begins(&self, view: &View) -> bool {
        if view.input().is_none() {
            return false;
        }
        let mut held = self.lock();
        let held = held.views.get_mut(view.id());
        held.map(|held| held.polls += 1).is_some()
    }

    fn poll_ends(&self, view: &View, now: Instant) {
        if let Some(held) = self.lock().views.get_mut(view.id()) {
            held.polls -= 1;
            held.used = now;
        }
    }

    /// Lets go of views that nobody polls and nobody asked for in their time of grace; those that are closed at once. When to look again.
    fn expire(&self, now: Instant) -> Option<Instant> {
        let mut held = self.lock();
        // Dropped only when the lock is free: the last owner of a view frees it.
        let gone: Vec<_> = held
            .views
            .extract_if(|_, held| held.view.is_closed() || (held.polls == 0 && now.saturating_duration_since(held.used) >= self.grace))
            .collect();
        let look_at = |held: &HeldView| if held.polls > 0 { now + self.grace.max(LOOKED_AT_AGAIN_MIN) } else { held.used + self.grace };
        let next = held.views.values().map(look_at).min();
        held.swept = next.is_some();
        drop(held);
        drop(gone);
        next
    }

    /// Whether nobody looks after what is held; from now on somebody does.
    fn begin_to_sweep(&self) -> bool {
        let mut held = self.lock();
        !held.views.is_empty() && !std::mem::replace(&mut held.swept, true)
    }
}

impl Transports {
    /// Looks after the views that are held, as long as there are any. In a task of the thread that held the first.
    fn sweep(self: &Arc<Self>) {
        if !self.tips.begin_to_sweep() {
            return;
        }
        let mut sweeper = Sweeper { transports: self.clone(), done: false };
        tokio::spawn(async move {
            while let Some(next) = sweeper.sweep() {
                tokio::time::sleep_until(next.into()).await;
            }
        });
    }
}

/// By the clock of the runtime, which a test or a simulation may set.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Says that nobody sweeps any more when its task ends with its runtime.
struct Sweeper {
    transports: Arc<Transports>,
    done: bool,
}

impl Sweeper {
    fn sweep(&mut self) -> Option<Instant> {
        let next = self.transports.tips.expire(now());
        self.done = next.is_none();
        next
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if !self.done {
            self.transports.tips.lock().swept = false;
        }
    }
}

/// Where a view is.
pub(crate) fn view_uri(base_url: &str, view: &View) -> String {
    format!("{base_url}/tips/{}", view.id())
}

/// A summary at one instant, with the edge for who has `tag`.
pub(crate) fn summary(view: &View, tag: Option<&Tag>) -> Summary {
    /// Versions come one at a time and slowly; a summary that was overtaken so often is still a true one of a moment ago.
    const TRIES: usize = 8;
    let mut range = view.head().0;
    for _ in 0..TRIES {
        let (i, j) = view.recommend(tag);
        let again = view.head().0;
        // Who has the newest is told the edge to come.
        if again == range && (j <= range.end || i == range.end) {
            return Summary { start_seq: range.start.0, end_seq: range.end.0, start_edge: Edge { i: i.0, j: j.0 } };
        }
        range = again;
    }
    Summary { start_seq: range.start.0, end_seq: range.end.0, start_edge: Edge { i: 0, j: range.end.0 } }
}

/// `POST /tips` (section 6.1).
pub(crate) async fn open(transports: Arc<Transports>, body: Bytes, asker: Asker) -> Reply {
    let opened = async {
        let request = TipsReq::from_json_within(&body, &transports.requests).map_err(wrong)?;
        drop(body);
        let view = transports.open_held(request.resource_id, request.input, &asker, "").await?;
        Ok(said(&view, request.tag.as_ref(), &asker.base_url))
    };
    opened.await.unwrap_or_else(|refused| refused)
}

impl Transports {
    /// A view for clients without a connection of their own.
    pub(super) async fn open_held(
        self: &Arc<Self>,
        id: alto::id::ResourceId,
        input: Option<Box<str>>,
        asker: &Asker,
        field: &str,
    ) -> Result<Arc<View>, Reply> {
        let view = self.open(id, input, asker.address, field).await?;
        self.tips.hold(&view, now())?;
        self.sweep();
        Ok(view)
    }

    /// The view of a path, held from now on if it was not: it may live by the clients of other transports alone.
    fn view_of(self: &Arc<Self>, id: &str) -> Result<Arc<View>, Reply> {
        let view = self.publisher.view_named(id).filter(|view| !view.is_closed()).ok_or_else(no_view)?;
        // Where too many are held already it may end with those clients.
        if view.input().is_some() && self.tips.hold(&view, now()).is_ok() {
            self.sweep();
        }
        Ok(view)
    }
}

/// `GET /tips/<view>`, an addition of ours: what opening it would answer.
pub(crate) fn look(transports: &Arc<Transports>, id: &str, base_url: &str) -> Reply {
    transports.view_of(id).map_or_else(|refused| refused, |view| said(&view, None, base_url))
}

fn said(view: &View, tag: Option<&Tag>, base_url: &str) -> Reply {
    let response = AddTipsResponse { view_uri: view_uri(base_url, view).into(), summary: summary(view, tag) };
    fresh(media_type::TIPS, response.to_json())
}

/// `POST /tips/<view>/ug` (section 7.4): the edge to go on with.
pub(crate) fn next_edge(transports: &Arc<Transports>, id: &str, body: &[u8]) -> Reply {
    let answered = || {
        let view = transports.view_of(id)?;
        let request = TipsReq::next_edge_from_json_within(body, &transports.requests).map_err(wrong)?;
        // "The resource-id MUST be the same as the resource ID used to create the TIPS view".
        if request.resource_id != *view.resource() {
            return Err(wrong(ErrorBody::invalid("resource-id", request.resource_id.as_str())));
        }
        Ok(fresh(media_type::MERGE_PATCH, SummaryChange::whole(summary(&view, request.tag.as_ref())).to_json()))
    };
    answered().unwrap_or_else(|refused| refused)
}

/// `GET /tips/<view>/ug/<i>/<j>` (sections 7.1 and 7.2).
pub(crate) fn edge(transports: &Arc<Transports>, id: &str, i: &str, j: &str, head: &Parts) -> Answer {
    let view = match transports.view_of(id) {
        Ok(view) => view,
        Err(refused) => return refused.into(),
    };
    match edge::decide(&view, i, j, transports.limits.poll_window) {
        Verdict::There(item) => transports.send(&view, &item, head),
        Verdict::Refused(refused) => refused.reply().into(),
        Verdict::Wait(edge) => {
            // "For such updates, the client MUST indicate all media types that may appear": one that takes none of them waits in vain.
            let kinds = [view.media_type(), media_type::MERGE_PATCH, media_type::JSON_PATCH];
            if kinds.iter().all(|kind| negotiate::accepts(&head.headers, kind) == 0) {
                return not_taken(&kinds.join(" or ")).into();
            }
            match transports.clients.join(Transport::Tips) {
                Err(refused) => refused.into(),
                Ok(client) => {
                    let (transports, head) = (transports.clone(), slim(head));
                    Answer::Later(Box::pin(async move {
                        let reply = transports.poll(view, edge, &head).await;
                        drop(client);
                        reply
                    }))
                }
            }
        }
    }
}

/// A poll that waits. "A server SHOULD avoid closing TIPS views that have active polling edge requests [..] until clients have had a
/// reasonable interval to request the next update": its view is held, and has its time of grace from the end of the poll, however it ends.
struct Polling<'t> {
    tips: &'t Tips,
    view: &'t View,
    holds: bool,
}

impl<'t> Polling<'t> {
    fn new(tips: &'t Tips, view: &'t View) -> Self {
        Self { tips, view, holds: tips.poll_begins(view) }
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        if self.holds {
            self.tips.poll_ends(self.view, now());
        }
    }
}

/// How a poll ended without an edge.
enum Without {
    Refused(edge::Refused),
    Late,
    Stopping,
}

impl Transports {
    /// Waits for an edge.
    async fn poll(self: &Arc<Self>, view: Arc<View>, edge: Edge, head: &Parts) -> Reply {
        let _polling = Polling::new(&self.tips, &view);
        let mut ear: Option<Ear> = None;
        let mut late = Alarm::after(self.limits.poll_time_max);
        let mut registration = Registration::new();
        let found = poll_fn(|context| {
            // Before the look at the view: what comes after it rings.
            ear.get_or_insert_with(|| self.bell.ear(view.id())).listen(context);
            match edge::look(&view, edge) {
                Verdict::There(item) => return Poll::Ready(Ok(item)),
                Verdict::Refused(refused) => return Poll::Ready(Err(Without::Refused(refused))),
                Verdict::Wait(_) => {}
            }
            if registration.must_end(context) {
                return Poll::Ready(Err(Without::Stopping));
            }
            late.poll(context).map(|()| Err(Without::Late))
        })
        .await;
        drop(ear);
        match found {
            Ok(item) => match self.send(&view, &item, head) {
                Answer::Now(reply) => reply,
                Answer::Later(reply) => reply.await,
                Answer::Live(_) => unreachable!("an edge is sent whole"),
            },
            Err(Without::Refused(refused)) => refused.reply(),
            Err(Without::Stopping) => reply::stopping(),
            Err(Without::Late) => {
                let seconds = self.limits.poll_time_max.as_secs_f64();
                let mut reply = reply::refusal(StatusCode::TOO_EARLY, format!("the update did not come within {seconds} s; ask again"));
                reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("0"));
                reply
            }
        }
    }

    /// Sends an edge, if the client takes what it is.
    fn send(&self, view: &View, item: &Item, head: &Parts) -> Answer {
        if negotiate::accepts(&head.headers, item.media_type) == 0 {
            return not_taken(item.media_type).into();
        }
        let key = (view.id().clone(), item.from, item.to);
        let edge = self.tips.edges.get(key, item.body.len(), || Arc::new(self.representation(view, item)));
        if head.method != Method::HEAD {
            self.clients.sent(Transport::Tips, 1, item.body.len());
        }
        edge.answer(head, SystemTime::now(), None)
    }

    fn representation(&self, view: &View, item: &Item) -> Representation {
        if !item.is_snapshot() {
            let etag = format!("{}-{}", item.from, item.tag);
            return Representation::for_ever(item.media_type, &etag, item.body.clone(), item.body.len() > UNCODED_BYTES_MAX);
        }
        // The newest version of a GET-mode resource is sent in codings as its own resource: they are made once.
        let snapshot = self.publisher.current();
        let version = snapshot.versions.get(view.resource()).filter(|version| view.input().is_none() && version.seq == item.to);
        match version {
            Some(version) if version.tag == item.tag => Representation::version_for_ever(version.clone()),
            _ => Representation::for_ever(item.media_type, item.tag.as_str(), item.body.clone(), item.body.len() > UNCODED_BYTES_MAX),
        }
    }
}

fn wrong(body: ErrorBody) -> Reply {
    reply::error(StatusCode::BAD_REQUEST, &body)
}

fn no_view() -> Reply {
    reply::refusal(StatusCode::NOT_FOUND, "there is no such TIPS view, or it was closed; open it again with a POST to TIPS")
}

/// 415: "if the media type(s) accepted by the client does not include the media type of the update chosen by the server".
fn not_taken(kind: &str) -> Reply {
    reply::refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("the update is {kind}, which the Accept field excludes"))
}

/// What is true now and may not be in a moment.
fn fresh(media_type: &'static str, body: Vec<u8>) -> Reply {
    let mut reply = reply::with_body(StatusCode::OK, HeaderValue::from_static(media_type), body);
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// What an answer needs of a head while it waits.
fn slim(head: &Parts) -> Parts {
    let mut request = http::Request::new(());
    *request.method_mut() = head.method.clone();
    let (mut slim, ()) = request.into_parts();
    let mut headers = HeaderMap::new();
    for name in [ACCEPT, ACCEPT_ENCODING, IF_NONE_MATCH] {
        for value in head.headers.get_all(&name) {
            // A copy: the value is a part of the buffer that the request was read into, and would keep all of it.
            headers.append(name.clone(), HeaderValue::from_bytes(value.as_bytes()).expect("it is one"));
        }
    }
    slim.headers = headers;
    slim
}
