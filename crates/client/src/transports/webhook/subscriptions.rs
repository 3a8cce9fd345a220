//! What a session subscribed to, and what becomes of the notifications that name it (section 8.5).
//!
//! Invariants: notifications of one subscription are taken one at a time in the order in which they came, and answered with success only after
//! the replica took them, so the server may build on it; whoever does not know a `subscrid` changes nothing.
use crate::{
    options::Limits,
    replica::core::{Ended, Event, Since},
    transports::{Events, Follow},
};
use alto::{
    ErrorBody,
    id::Tag,
    updates::webhook::{Content, EventType, Notification, Substate},
};
use bytes::Bytes;
use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};

/// One subscription: of one resource, to one event type.
#[derive(Debug)]
pub(super) struct Subscription {
    pub subscrid: Box<str>,
    pub event_type: EventType,
    pub follow: Follow,
    /// When the server forgets it.
    pub until: watch::Sender<Instant>,
    /// Held while a notification is taken: which version was the last.
    last: tokio::sync::Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    seq: Option<u64>,
    tag: Option<Tag>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Subscriptions {
    state: Mutex<State>,
    /// The state is another.
    news: Notify,
    events: Events,
    limits: Limits,
    /// Why the session ends; the first reason is enough.
    ended: mpsc::Sender<Ended>,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<Box<str>, Arc<Subscription>>,
    /// Requests for subscriptions that were not answered yet.
    asked: usize,
    /// The session is over: nothing more is taken.
    leaving: bool,
}

/// Why a notification was not taken.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    /// It is none, or not one of what was subscribed to: 400.
    Wrong(ErrorBody),
    /// There is no such subscription: 404.
    Unknown,
    /// The session ended meanwhile: 503.
    Over,
}

/// The answer to a request for a subscription is awaited.
pub(super) struct Asking(Arc<Subscriptions>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.state().asked -= 1;
        self.0.news.notify_waiters();
    }
}

/// Notifications say what is left in whole seconds, and the answer that said it first took its time: less than this is no news.
const ROUNDED: Duration = Duration::from_secs(2);

impl Subscription {
    /// Notes that there are `left` seconds; `None` where the server does not say.
    pub fn lives(&self, left: Option<u64>) {
        if let Some(left) = left {
            self.until.send_replace(Instant::now() + Duration::from_secs(left));
        }
    }

    fn lives_no_longer(&self, left: Option<u64>) {
        let Some(left) = left else { return };
        let said = Instant::now() + Duration::from_secs(left);
        self.until.send_if_modified(|until| {
            let shorter = said + ROUNDED < *until;
            if shorter {
                *until = said;
            }
            shorter
        });
    }

    /// What a notification means for the replica.
    fn event(&self, notification: &Notification<'_>, body: &Bytes) -> Result<Event, ErrorBody> {
        let member = self.event_type.content_member();
        let version = notification.version.clone();
        let since = version.since.map_or(Since::Before, Since::Seq);
        let update = |since, media_type: &str, data: &[u8]| {
            self.follow.update(since, version.seq, version.tag.clone(), media_type, body.slice_ref(data))
        };
        let full = notification.contents.iter().find_map(|content| match content {
            Content::Full(name, data) if *name == member => Some(update(Since::Before, &self.follow.followed.media_type, data)),
            _ => None,
        });
        let patch = || {
            notification.contents.iter().find_map(|content| match content {
                Content::Patch { media_type, data } => Some(update(since, media_type, data)),
                Content::Full(..) => None,
            })
        };
        match full.or_else(patch) {
            Some(event) => Ok(event),
            None if notification.contents.is_empty() => Ok(Event::Alive),
            None => Err(ErrorBody::missing(member)),
        }
    }
}

impl Subscriptions {
    /// None yet. The other end says why the session has to end.
    pub fn new(events: Events, limits: Limits) -> (Arc<Self>, mpsc::Receiver<Ended>) {
        let (ended, reasons) = mpsc::channel(1);
        (Arc::new(Self { state: Mutex::default(), news: Notify::new(), events, limits, ended }), reasons)
    }

    /// A subscription is going to be asked for: its notifications may come before the answer that names it.
    pub fn asking(self: &Arc<Self>) -> Asking {
        self.state().asked += 1;
        Asking(self.clone())
    }

    /// The answer is there. `true`: it came too late, after [`Self::leave`], and is to be ended by who asked.
    pub fn insert(&self, subscrid: Box<str>, event_type: EventType, follow: Follow, left: Duration) -> (Arc<Subscription>, bool) {
        let until = watch::Sender::new(Instant::now() + left);
        let subscription = Arc::new(Subscription { subscrid, event_type, follow, until, last: Default::default() });
        let mut state = self.state();
        state.known.insert(subscription.subscrid.clone(), subscription.clone());
        self.news.notify_waiters();
        (subscription, state.leaving)
    }

    /// The server has it no more.
    pub fn remove(&self, subscrid: &str) {
        self.state().known.remove(subscrid);
        self.news.notify_waiters();
    }

    /// Takes nothing from now on but last notifications. What there was.
    pub fn leave(&self) -> Vec<Arc<Subscription>> {
        let mut state = self.state();
        state.leaving = true;
        self.news.notify_waiters();
        state.known.values().cloned().collect()
    }

    /// Waits until nothing that was asked for is unanswered, and what was answered too late was ended.
    pub async fn answered(&self) {
        self.when(|state| (state.asked == 0).then_some(())).await;
    }

    /// Waits until the server said of each subscription that it ended.
    pub async fn left(&self) {
        self.when(|state| state.known.is_empty().then_some(())).await;
    }

    /// Whether a text names a subscription, anywhere.
    pub fn names_one(&self, text: &[u8]) -> bool {
        let state = self.state();
        state.known.keys().any(|subscrid| !subscrid.is_empty() && text.windows(subscrid.len()).any(|part| part == subscrid.as_bytes()))
    }

    /// Takes a notification; waits for those before it, and for the replica.
    pub async fn take(&self, body: Bytes) -> Result<(), Refusal> {
        let notification = Notification::from_json_within(&body, &self.limits.documents).map_err(Refusal::Wrong)?;
        let subscription = self.find(&notification.subscrid).await.ok_or(Refusal::Unknown)?;
        let mut last = subscription.last.lock().await;
        let resource = &subscription.follow.followed.resource;
        match &notification.substate {
            Substate::Terminated { reason } => {
                let reason = crate::error::excerpt(reason.as_deref().unwrap_or("no reason given"));
                self.remove(&subscription.subscrid);
                self.end(Ended::Closed { why: format!("the server ended the subscription to {resource}: {reason}"), retry_after: None });
                return Ok(());
            }
            // It is to be forgotten there.
            Substate::Active { .. } if self.state().leaving => return Err(Refusal::Unknown),
            Substate::Active { expires } => subscription.lives_no_longer(*expires),
        }
        let event = subscription.event(&notification, &body).map_err(|error| {
            let why = format!("a notification of it is wrong: {}", crate::Words(&error));
            self.end(Ended::Violation(subscription.follow.index, why));
            Refusal::Wrong(error)
        })?;
        if let Some(backwards) = last.passes(&event) {
            // A server that lost what it counted, or a notification that was overtaken: a new subscription begins with a full copy.
            self.end(Ended::Closed { why: format!("{resource}: {backwards}"), retry_after: None });
            return Err(Refusal::Over);
        }
        if self.events.take(event).await { Ok(()) } else { Err(Refusal::Over) }
    }

    /// The subscription of this id, also when the answer that names it is still on its way.
    async fn find(&self, subscrid: &str) -> Option<Arc<Subscription>> {
        self.when(|state| match state.known.get(subscrid) {
            Some(subscription) => Some(Some(subscription.clone())),
            None if state.asked == 0 || state.leaving => Some(None),
            None => None,
        })
        .await
    }

    async fn when<T>(&self, mut found: impl FnMut(&State) -> Option<T>) -> T {
        loop {
            let mut news = pin!(self.news.notified());
            // What comes between the look and the wait counts.
            news.as_mut().enable();
            if let Some(found) = found(&self.state()) {
                return found;
            }
            news.await;
        }
    }

    fn end(&self, ended: Ended) {
        // There was a reason before: then it ends for that one.
        let _ = self.ended.try_send(ended);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Last {
    /// Notes the version that an update leads to. What is wrong with it, if the server does not count on from the one before: a number that
    /// comes again must be that of the same version.
    fn passes(&mut self, event: &Event) -> Option<String> {
        let Event::Update(update) = event else { return None };
        if let (Some(last), Some(seq)) = (self.seq, update.seq)
            && (seq < last || seq == last && update.tag != self.tag)
        {
            return Some(format!("the server told version {seq} after version {last}"));
        }
        (self.seq, self.tag) = (update.seq, update.tag.clone());
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::{Report, core::Followed};
    use tokio::task::yield_now;

    const FULL: &str = r##"{"event-types":["NetworkMap"],"subscrid":"s1","substate":"active","seq":#,"tag":"t#","networkmap":{"meta":{},"network-map":{}}}"##;

    fn full(seq: u64) -> Bytes {
        FULL.replace('#', &seq.to_string()).into()
    }

    fn start() -> (Arc<Subscriptions>, mpsc::Receiver<Ended>, mpsc::Receiver<Report>) {
        let (sender, reports) = mpsc::channel(1);
        let (subscriptions, ended) = Subscriptions::new(Events { session: 1, sender }, Limits::default());
        let media_type = alto::media_type::NETWORK_MAP.into();
        let followed = Followed { resource: "net".parse().unwrap(), input: None, media_type, wanted: true };
        let follow = Follow { index: 0, followed, place: Default::default() };
        subscriptions.insert("s1".into(), EventType::NetworkMap, follow, Duration::from_secs(600));
        (subscriptions, ended, reports)
    }

    /// The replica is slow: notifications wait, one after the other, and none is acknowledged before it was taken.
    #[tokio::test]
    async fn a_notification_waits_for_the_replica() {
        let (subscriptions, _ended, mut reports) = start();
        let take = |seq| {
            let subscriptions = subscriptions.clone();
            tokio::spawn(async move { subscriptions.take(full(seq)).await })
        };
        let mut waiting = Vec::new();
        for seq in 1..=3 {
            waiting.push(take(seq));
            yield_now().await;
        }
        for (seq, waiting) in (1..=3).zip(waiting) {
            let report = reports.recv().await.unwrap();
            assert!(matches!(&report.event, Event::Update(update) if update.seq == Some(seq)), "{seq}: {report:?}");
            for _ in 0..10 {
                yield_now().await;
            }
            assert!(!waiting.is_finished() && reports.try_recv().is_err(), "{seq} is not taken yet, and the next waits for it");
            report.taken.unwrap().send(()).unwrap();
            assert_eq!(waiting.await.unwrap(), Ok(()));
        }
    }

    #[tokio::test]
    async fn what_the_replica_does_not_take_is_not_acknowledged() {
        let (subscriptions, _ended, mut reports) = start();
        let task = subscriptions.clone();
        let taking = tokio::spawn(async move { task.take(full(1)).await });
        drop(reports.recv().await.unwrap());
        assert_eq!(taking.await.unwrap(), Err(Refusal::Over));
        drop(reports);
        assert_eq!(subscriptions.take(full(2)).await, Err(Refusal::Over));
    }

    /// Section 8.5: unknown is unknown, but for as long as the answer that may name it is on its way.
    #[tokio::test]
    async fn an_unknown_subscription_is_waited_for() {
        let (subscriptions, _ended, _reports) = start();
        let stranger = || Bytes::from_static(br#"{"event-types":["NetworkMap"],"subscrid":"s2","substate":"active"}"#);
        assert_eq!(subscriptions.take(stranger()).await, Err(Refusal::Unknown));
        let asking = subscriptions.asking();
        let task = subscriptions.clone();
        let taking = tokio::spawn(async move { task.take(stranger()).await });
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(!taking.is_finished());
        drop(asking);
        assert_eq!(taking.await.unwrap(), Err(Refusal::Unknown));
        assert!(subscriptions.names_one(b"..s1..") && !subscriptions.names_one(b"..s2.."));
    }
}
