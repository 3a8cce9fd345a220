//! Transport queues and server push, ALTO/H2 (draft-ietf-alto-new-transport-01 sections 4 to 8, draft-schott-alto-new-transport-push-00).
//!
//! A queue is a client's place in a view, and whether it is pushed to. It belongs to the connection that made it: elsewhere it is not there.
//! Unit: `seq` of the draft are the versions of the view. Invariants: of what is pushed, each update is the one after the last, or a full
//! copy; a queue is gone when its connection or the stream that made it is.
use super::{
    Transports,
    bell::Ear,
    clients::{Client, Transport, too_many},
};
use crate::{
    listen::{
        Answer, ConnectionId, Peer, Reply, Step,
        live::{Live, Pushed, Pushing, Wants},
    },
    negotiate, reply,
};
use alto::{
    id::Tag,
    media_type,
    updates::{
        SEQ_MAX,
        push::{CreateReq, Created, Entry, ReceiverSet, Status, UpdatesQueue},
        seq_of_path,
    },
};
use bytes::Bytes;
use history::{Cursor, Item, NoEdge, Seq, Start, View};
use http::{
    HeaderValue, Method, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG},
    request::Parts,
};
use std::{
    cell::RefCell,
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

/// Where queues are made.
pub(crate) const PATH: &str = "/tqs";

const POST: &str = "POST, OPTIONS";
const GET: &str = "GET, HEAD, OPTIONS";
const QUEUE: &str = "GET, HEAD, DELETE, OPTIONS";
const RECEIVER: &str = "GET, HEAD, PUT, DELETE, OPTIONS";
/// Versions looked at to find a full copy to begin a list with.
const COPIES_TRIED: u64 = 64;

/// All live queues, by connection.
#[derive(Default)]
pub(crate) struct Queues {
    live: Mutex<HashMap<ConnectionId, HashMap<u64, Arc<Queue>>>>,
    made: AtomicU64,
}

impl Queues {
    fn find(&self, connection: ConnectionId, id: u64) -> Option<Arc<Queue>> {
        lock(&self.live).get(&connection)?.get(&id).cloned()
    }

    fn count(&self, connection: ConnectionId) -> usize {
        lock(&self.live).get(&connection).map_or(0, HashMap::len)
    }

    /// How many there are, of all connections.
    #[cfg(feature = "simulation")]
    pub(crate) fn len(&self) -> usize {
        lock(&self.live).values().map(HashMap::len).sum()
    }

    /// `false` when the connection has `max` already.
    fn add(&self, connection: ConnectionId, queue: Arc<Queue>, max: usize) -> bool {
        let mut live = lock(&self.live);
        let queues = live.entry(connection).or_default();
        let room = queues.len() < max;
        if room {
            queues.insert(queue.id, queue);
        }
        room
    }

    /// Forgets a queue and ends its stream.
    fn close(&self, connection: ConnectionId, id: u64) {
        let mut live = lock(&self.live);
        let Some(queues) = live.get_mut(&connection) else { return };
        let queue = queues.remove(&id);
        if queues.is_empty() {
            live.remove(&connection);
        }
        drop(live);
        queue.iter().for_each(|queue| queue.close());
    }

    /// The connection is over, and so is all that it made.
    pub(crate) fn closed(&self, connection: ConnectionId) {
        let queues = lock(&self.live).remove(&connection);
        queues.iter().flat_map(HashMap::values).for_each(|queue| queue.close());
    }
}

/// A transport queue as its client sees it.
struct Queue {
    id: u64,
    view: Arc<View>,
    state: Mutex<State>,
    client: Client,
}

struct State {
    /// The version whose update comes first; with `copy` as a full copy, else from the version before, which the client had.
    first: Seq,
    copy: bool,
    /// The last version that was pushed or that the client had; 0: none.
    at: Cursor,
    /// The client threw a push away: the next is a full copy, of a version after this one.
    refused: Option<Seq>,
    receiving: bool,
    stream: Stream,
    waker: Option<Waker>,
}

/// The stream that made the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    /// Pushes can be promised on it.
    Open,
    /// It ended with its answer: the client takes no pushes, and the queue lives as long as the connection.
    Apart,
    /// The queue is closed.
    Closed,
}

impl Queue {
    fn close(&self) {
        self.change(|state| state.stream = Stream::Closed);
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lock(&self.state);
        let changed = change(&mut state);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        changed
    }

    fn path(&self) -> String {
        format!("{PATH}/{}", self.id)
    }

    /// Where the queue begins now: its first update, and whether it is a full copy. Compaction may have moved it.
    fn beginning(&self) -> (Seq, bool) {
        let (first, copy) = {
            let state = lock(&self.state);
            (state.first, state.copy)
        };
        self.beginning_from(first, copy)
    }

    fn beginning_from(&self, first: Seq, copy: bool) -> (Seq, bool) {
        let (range, _) = self.view.head();
        if !copy && first > range.start {
            return (first, false);
        }
        // What of full copies there is was not ours to choose; the newest always is.
        let from = first.max(range.start).0;
        let tried = (from..range.end.0).take(COPIES_TRIED as usize);
        let found = tried.map(Seq).find(|seq| self.view.edge(Seq(0), *seq).is_ok());
        (found.unwrap_or(range.end), true)
    }

    fn updates(&self) -> UpdatesQueue {
        let (first, copy) = self.beginning();
        let (range, _) = self.view.head();
        let tags: HashMap<u64, Tag> = self.view.versions().into_iter().map(|version| (version.seq.0, version.tag)).collect();
        let mut entries: Vec<Entry> = (first.0..=range.end.0)
            .filter_map(|seq| {
                let whole = copy && seq == first.0;
                let media_type = if whole { self.view.media_type() } else { self.view.edge(Seq(seq - 1), Seq(seq)).ok()?.media_type };
                Some(Entry { seq, media_type: media_type.into(), tag: tags.get(&seq)?.clone(), link: None })
            })
            .collect();
        if let Some(last) = entries.last_mut().filter(|last| !(copy && last.seq == first.0)) {
            last.link = Some(format!("{}/snapshot/{}", self.path(), last.seq).into());
        }
        UpdatesQueue(entries)
    }

    /// One update, as it is listed.
    fn update(&self, seq: Seq) -> Result<Item, NoEdge> {
        let (first, copy) = self.beginning();
        if seq == Seq(0) {
            return Err(NoEdge::NotOffered);
        }
        if copy && seq == first {
            return self.view.edge(Seq(0), seq);
        }
        match self.view.edge(Seq(seq.0 - 1), seq) {
            // Nothing comes before the first, which is there as a full copy.
            Err(NoEdge::Gone { start }) if start == seq => self.view.edge(Seq(0), seq),
            found => found,
        }
    }

    fn has_next(&self, state: &State) -> bool {
        match state.refused {
            None => !state.at.is_current(),
            Some(refused) => self.view.head().0.end > refused,
        }
    }

    /// The next update to push: "the last independent update" first, then each that follows; the newest full copy for who fell behind.
    fn next(&self, state: &mut State) -> Option<Item> {
        if !self.has_next(state) {
            return None;
        }
        let step = match state.at.at() {
            _ if state.refused.is_some() => None,
            Seq(0) if state.first < self.view.head().0.start => None,
            Seq(0) => self.view.edge(Seq(0), self.beginning_from(state.first, state.copy).0).ok(),
            at => self.view.edge(at, Seq(at.0 + 1)).ok(),
        };
        let item = step.or_else(|| self.view.edge(Seq(0), self.view.head().0.end).ok())?;
        if item.is_snapshot() {
            (state.first, state.copy) = (item.to, true);
        }
        state.refused = None;
        state.at.reset(Start::Seq(item.to));
        Some(item)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a path under [`PATH`] names.
enum Place {
    Queue,
    Updates,
    Update(Seq),
    Snapshot(Seq),
    Receivers,
    Receiver,
}

impl Place {
    /// The id of a queue, and what of it.
    fn of(path: &str) -> Option<(u64, Self)> {
        let rest = path.strip_prefix(PATH)?.strip_prefix('/')?;
        let mut segments = rest.split('/');
        let id = seq_of_path(segments.next()?)?;
        let seq = |text| seq_of_path(text).map(Seq);
        let place = match (segments.next(), segments.next(), segments.next()) {
            (None, ..) => Self::Queue,
            (Some("uq"), None, _) => Self::Updates,
            (Some("uq"), Some(text), None) => Self::Update(seq(text)?),
            (Some("snapshot"), Some(text), None) => Self::Snapshot(seq(text)?),
            (Some("rs"), None, _) => Self::Receivers,
            (Some("rs"), Some(alto::updates::push::SELF), None) => Self::Receiver,
            _ => return None,
        };
        Some((id, place))
    }

    fn allow(&self) -> &'static str {
        match self {
            Self::Queue => QUEUE,
            Self::Receiver => RECEIVER,
            Self::Updates | Self::Update(_) | Self::Snapshot(_) | Self::Receivers => GET,
        }
    }
}

/// Whether a path is ours.
pub(crate) fn is_ours(path: &str) -> bool {
    path.strip_prefix(PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Methods of a path of ours.
pub(crate) fn allow(path: &str) -> &'static str {
    if path == PATH { POST } else { Place::of(path).map_or(GET, |(_, place)| place.allow()) }
}

/// What to do with a request for [`PATH`] or anything under it.
pub(crate) fn head(transports: &Arc<Transports>, head: &Parts, peer: &Peer) -> Step {
    let path = head.uri.path();
    if path == PATH {
        return create(transports, head, peer);
    }
    let queues = &transports.queues;
    let found = Place::of(path).and_then(|(id, place)| Some((queues.find(peer.connection, id)?, place)));
    let Some((queue, place)) = found else {
        // Whether there is such a queue on another connection is nobody's business.
        return reply::refusal(StatusCode::NOT_FOUND, format!("there is nothing at {path} on this connection")).into();
    };
    let get = matches!(head.method, Method::GET | Method::HEAD);
    match (place, &head.method) {
        (Place::Queue, _) if get => {
            let receivers = queue.receivers(peer);
            transport(Status { updates: queue.updates(), receivers }.to_json())
        }
        (Place::Queue, &Method::DELETE) => {
            queues.close(peer.connection, queue.id);
            reply::with_body(StatusCode::OK, HeaderValue::from_static(media_type::TRANSPORT), Bytes::from_static(b"{}"))
        }
        (Place::Updates, _) if get => transport(queue.updates().to_json()),
        (Place::Update(seq), _) if get => update(queue.update(seq), path),
        (Place::Snapshot(seq), _) if get => update(queue.view.edge(Seq(0), seq), path),
        (Place::Receivers, _) if get => transport(queue.receivers(peer).to_json()),
        (Place::Receiver, &Method::PUT) => queue.receive(peer),
        (Place::Receiver, &Method::DELETE) => {
            queue.change(|state| state.receiving = false);
            transport(ReceiverSet { receiving: false }.to_json())
        }
        (Place::Receiver, _) if get => {
            let receivers = queue.receivers(peer);
            if receivers.receiving {
                transport(receivers.to_json())
            } else {
                reply::refusal(StatusCode::NOT_FOUND, "this client is not in the receiver set; PUT puts it there")
            }
        }
        (place, method) => reply::not_allowed(method, place.allow()),
    }
    .into()
}

impl Queue {
    /// What its client sees of the receiver set: itself, if updates are pushed to it.
    fn receivers(&self, peer: &Peer) -> ReceiverSet {
        let state = lock(&self.state);
        ReceiverSet { receiving: state.receiving && state.stream == Stream::Open && peer.push }
    }

    fn receive(&self, peer: &Peer) -> Reply {
        let why = self.change(|state| {
            if !peer.push {
                return Some("the client disabled server push (SETTINGS_ENABLE_PUSH is 0), so nothing can be pushed to it");
            }
            if state.stream != Stream::Open {
                return Some("the stream that made the queue has ended, so nothing can be pushed on it; make another queue");
            }
            state.receiving = true;
            None
        });
        match why {
            Some(why) => reply::refusal(StatusCode::CONFLICT, why),
            None => transport(ReceiverSet { receiving: true }.to_json()),
        }
    }
}

fn create(transports: &Arc<Transports>, head: &Parts, peer: &Peer) -> Step {
    if head.method != Method::POST {
        return reply::not_allowed(&head.method, POST).into();
    }
    if peer.protocol != crate::admin::Protocol::Http2 {
        let why = "transport queues belong to HTTP/2 connections; the directory names other ways to follow a resource";
        return reply::refusal(StatusCode::HTTP_VERSION_NOT_SUPPORTED, why).into();
    }
    // The draft's examples have the first, its directory the second.
    let sent = negotiate::content_type(&head.headers);
    if ![media_type::TRANSPORT, media_type::UPDATE_STREAM_PARAMS].contains(&sent.as_deref().unwrap_or_default()) {
        let why = format!("the request body must be {} or {}", media_type::TRANSPORT, media_type::UPDATE_STREAM_PARAMS);
        return reply::refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, why).into();
    }
    if negotiate::accepts(&head.headers, media_type::TRANSPORT) == 0 {
        let why = format!("the answer is {}, which the Accept field excludes", media_type::TRANSPORT);
        return reply::refusal(StatusCode::NOT_ACCEPTABLE, why).into();
    }
    let (transports, peer) = (transports.clone(), *peer);
    let bytes_max = transports.limits.query_bytes_max;
    let then = move |body: Bytes| -> Answer { Answer::Live(Box::pin(async move { transports.make_queue(&body, &peer).await })) };
    Step::Value { bytes_max, then: Box::new(then) }
}

impl Transports {
    async fn make_queue(self: Arc<Self>, body: &[u8], peer: &Peer) -> Result<Live, Reply> {
        let CreateReq(wish) =
            CreateReq::from_json_within(body, &self.requests).map_err(|error| reply::error(StatusCode::BAD_REQUEST, &error))?;
        let max = self.limits.connection_queues_max;
        let full = || {
            let why = format!("{max} transport queues are open on this connection, which is the most (updates.connection-queues-max)");
            too_many(why, 5)
        };
        if self.queues.count(peer.connection) >= max {
            return Err(full());
        }
        let client = self.clients.join(Transport::Push)?;
        let address: IpAddr = peer.address.ip().to_canonical();
        let view = self.open(wish.resource_id, wish.input, address, "").await?;
        let (range, _) = view.head();
        let had = wish.tag.as_ref().and_then(|tag| view.find(tag)).filter(|seq| *seq >= range.start);
        let state = State {
            first: had.map_or(range.end, |had| Seq(had.0 + 1)),
            copy: had.is_none(),
            at: view.cursor(had.map_or(Start::Nothing, Start::Seq)),
            refused: None,
            receiving: wish.incremental_changes && peer.push,
            stream: Stream::Open,
            waker: None,
        };
        let id = self.queues.made.fetch_add(1, Relaxed) + 1;
        let queue = Arc::new(Queue { id, view, state: Mutex::new(state), client });
        if !self.queues.add(peer.connection, queue.clone(), max) {
            return Err(full());
        }
        let reply = transport(Created { uri: queue.path().into() }.to_json());
        let pushes = Pushes { transports: self, connection: peer.connection, queue, ear: None };
        Ok(Live::Push { reply, pushes: Box::new(pushes) })
    }
}

/// The stream of a queue. The queue goes with it.
struct Pushes {
    transports: Arc<Transports>,
    connection: ConnectionId,
    queue: Arc<Queue>,
    ear: Option<Ear>,
}

impl Pushing for Pushes {
    fn poll_push(&mut self, context: &mut Context<'_>) -> Poll<Option<Pushed>> {
        match self.poll_wants(context) {
            Poll::Ready(Wants::Push) => {}
            Poll::Ready(Wants::End) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        }
        let queue = &self.queue;
        let Some(item) = queue.next(&mut lock(&queue.state)) else { return Poll::Pending };
        if item.to.0 > SEQ_MAX {
            return Poll::Ready(None);
        }
        queue.client.sent(1, item.body.len());
        let path = format!("{PATH}/{}/uq/{}", queue.id, item.to);
        Poll::Ready(Some(Pushed { path, accept: accept(item.media_type), reply: pushed(item) }))
    }

    fn refused(&mut self) {
        let mut state = lock(&self.queue.state);
        state.refused = Some(state.at.at());
    }

    fn poll_wants(&mut self, context: &mut Context<'_>) -> Poll<Wants> {
        let Self { transports, queue, ear, .. } = self;
        ear.get_or_insert_with(|| transports.bell.ear(queue.view.id())).listen(context);
        let mut state = lock(&queue.state);
        if state.stream == Stream::Closed {
            return Poll::Ready(Wants::End);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        if state.receiving && queue.has_next(&state) {
            return Poll::Ready(Wants::Push);
        }
        // A withdrawn resource has no more updates: the queue ends once its client has them all.
        if queue.view.is_closed() { Poll::Ready(Wants::End) } else { Poll::Pending }
    }

    fn part(&mut self) {
        self.queue.change(|state| state.stream = Stream::Apart);
    }
}

impl Drop for Pushes {
    fn drop(&mut self) {
        if lock(&self.queue.state).stream != Stream::Apart {
            self.transports.queues.close(self.connection, self.queue.id);
        }
    }
}

/// `accept` of a promised request, as the draft's examples have it.
fn accept(media_type: &'static str) -> &'static str {
    macro_rules! or_error {
        ($media_type:literal) => {
            concat!("application/alto-error+json,application/", $media_type, "+json")
        };
    }
    match media_type {
        media_type::MERGE_PATCH => or_error!("merge-patch"),
        media_type::JSON_PATCH => or_error!("json-patch"),
        media_type::NETWORK_MAP => or_error!("alto-networkmap"),
        media_type::COST_MAP => or_error!("alto-costmap"),
        media_type::ENDPOINT_PROPERTIES => or_error!("alto-endpointprop"),
        media_type::ENDPOINT_COST => or_error!("alto-endpointcost"),
        other => other,
    }
}

fn transport(body: Vec<u8>) -> Reply {
    let mut reply = reply::with_body(StatusCode::OK, HeaderValue::from_static(media_type::TRANSPORT), body);
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

fn update(item: Result<Item, NoEdge>, path: &str) -> Reply {
    match item {
        Ok(item) => of_item(item),
        Err(NoEdge::Gone { start }) => reply::refusal(StatusCode::GONE, format!("{path} left the queue, which begins with {start} now")),
        Err(NoEdge::NotYet { end }) => reply::refusal(StatusCode::NOT_FOUND, format!("{path} is not there yet; the newest is {end}")),
        Err(NoEdge::NotOffered) => reply::refusal(StatusCode::NOT_FOUND, format!("there is nothing at {path}")),
    }
}

/// What is pushed: the same update to many, so what it takes to make its head is kept for the next.
fn pushed(item: Item) -> Reply {
    struct Made {
        tag: Tag,
        snapshot: bool,
        bytes: usize,
        etag: HeaderValue,
        length: HeaderValue,
    }
    thread_local! {
        static LAST: RefCell<Option<Made>> = const { RefCell::new(None) };
    }
    let (etag, length) = LAST.with_borrow_mut(|last| {
        let (snapshot, bytes) = (item.is_snapshot(), item.body.len());
        if last.as_ref().is_none_or(|made| made.tag != item.tag || made.snapshot != snapshot || made.bytes != bytes) {
            *last = Some(Made { tag: item.tag.clone(), snapshot, bytes, etag: etag(&item), length: bytes.into() });
        }
        let made = last.as_ref().expect("it was just made");
        (made.etag.clone(), made.length.clone())
    });
    let mut reply = Reply::new(item.body);
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(item.media_type));
    headers.insert(CONTENT_LENGTH, length);
    headers.insert(ETAG, etag);
    reply
}

fn etag(item: &Item) -> HeaderValue {
    let text = if item.is_snapshot() { format!("\"{}\"", item.tag) } else { format!("W/\"{}\"", item.tag) };
    HeaderValue::try_from(text).expect("a tag is ASCII without spaces")
}

/// An update. Its ETag is the tag of the version it leads to, weak for a change: a full copy says the same in other bytes.
fn of_item(item: Item) -> Reply {
    let etag = etag(&item);
    let mut reply = reply::with_body(StatusCode::OK, HeaderValue::from_static(item.media_type), item.body);
    let headers = reply.headers_mut();
    headers.insert(ETAG, etag);
    // Its URI means something on this connection only.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
