//! Subscription and notification (draft-alto-caching-subscription-00 section 8): clients that hold no connection are called back.
//!
//! `core` decides, `delivery` speaks HTTP, `record` is what the store knows; `policy` says who may be called. One thread delivers; another writes
//! down, many subscriptions at a time. A subscription is a place in each view it follows. Invariants: a subscription that was acknowledged is in the
//! store; what a subscriber is told was made once for all who are told the same.
mod contacts;
mod core;
mod delivery;
mod policy;
mod position;
mod record;
mod subscription;
#[cfg(test)]
mod tests;
mod writing;

pub(crate) use self::{
    delivery::trusted,
    policy::{Policy, Requester},
    subscription::Id,
};

use self::{
    core::{Bounds, Core, Delivery},
    delivery::Link,
    record::{Follows, Known, Record},
    subscription::{New, Reason},
    writing::Writer,
};
use super::{Transports, clients::Transport};
use crate::Limits;
use alto::updates::webhook::{ContactAddress, EventType};
use arc_swap::ArcSwap;
use history::{OpenError, View, ViewId};
use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant, SystemTime},
};
use store::Store;
use tokio::sync::{Notify, watch};

/// How often it is written down where the subscriptions are. 2 s: so much of what was acknowledged may be told again after a crash.
const POSITIONS_INTERVAL: Duration = Duration::from_secs(2);
/// How long a connection is kept for the next notification. 60 s: as long as web servers commonly keep it; one that was closed costs a new one.
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a subscription of before a restart waits for its resource to come back.
const ORPHAN_TIME_MAX: Duration = Duration::from_secs(600);

/// See the module.
pub(crate) struct Webhooks {
    core: Mutex<Core>,
    /// Views with news that nobody looked at yet.
    rung: Mutex<HashSet<ViewId>>,
    wake: Notify,
    writer: Writer,
    policy: ArcSwap<Policy>,
    /// What the store knew before the first request, until it is taken up.
    known: Mutex<Known>,
    /// Those of before that were not looked at yet.
    awaited: Mutex<HashSet<Id>>,
    /// Those whose resource is not there, since when.
    orphans: Mutex<Vec<(Id, Record, Instant)>>,
    tls: Option<Arc<rustls::ClientConfig>>,
    limits: Limits,
}

/// What a subscriber asked for, understood and allowed.
pub(crate) struct Wish {
    pub(crate) feeds: Vec<(EventType, Arc<View>)>,
    pub(crate) contacts: Vec<ContactAddress>,
    pub(crate) lifetime: Duration,
    pub(crate) incremental: bool,
}

/// A subscription as its subscriber is told of it.
pub(crate) struct Subscribed {
    pub(crate) id: Id,
    pub(crate) event_types: Vec<EventType>,
    pub(crate) lifetime: Duration,
}

/// Why it is not.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no such subscription.
    Gone,
    /// It is not known yet whether there is.
    NotYet,
    /// So many notify one address.
    TooMany { address: IpAddr, max: usize },
    /// It could not be written down.
    Store(String),
}

/// For status and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) contacts: usize,
    pub(crate) failing: usize,
    pub(crate) under_way: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// By the clock of the runtime, which a test may set.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn epoch_seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Webhooks {
    pub(crate) fn new(limits: &Limits, policy: Policy, tls: Option<Arc<rustls::ClientConfig>>, seed: u64) -> Self {
        let bounds = Bounds {
            contact_connections_max: limits.contact_connections_max,
            deliveries_max: limits.notifications_at_once,
            slow_deliveries_max: limits.slow_notifications_at_once,
            retry_min: limits.notification_retry_min,
            retry_max: limits.notification_retry_max,
            give_up: limits.notification_give_up,
        };
        Self {
            core: Mutex::new(Core::new(bounds, seed)),
            rung: Mutex::default(),
            wake: Notify::new(),
            writer: Writer::default(),
            policy: ArcSwap::from_pointee(policy),
            known: Mutex::default(),
            awaited: Mutex::default(),
            orphans: Mutex::default(),
            tls,
            limits: limits.clone(),
        }
    }

    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    /// From now on; subscriptions that were allowed stay until they end.
    pub(crate) fn set_policy(&self, policy: Policy) {
        self.policy.store(Arc::new(policy));
    }

    /// Whether there is anything to check the certificates of `https` contacts with.
    pub(crate) fn trusts(&self) -> bool {
        self.tls.is_some()
    }

    /// How long a subscription that asks for so long lives.
    fn lifetime(&self, asked: Duration) -> Duration {
        asked.min(self.limits.subscription_time_max)
    }

    /// Begins a subscription; it is in the store when this returns.
    pub(crate) async fn subscribe(&self, id: Id, wish: Wish, client: super::clients::Client) -> Result<Subscribed, Failure> {
        let lifetime = self.lifetime(wish.lifetime);
        let event_types = wish.feeds.iter().map(|(event_type, _)| *event_type).collect();
        let record = Record {
            follows: wish.feeds.iter().map(|(event_type, view)| Follows::of(*event_type, view)).collect(),
            contacts: wish.contacts.clone(),
            expires_at: epoch_seconds(SystemTime::now()) + lifetime.as_secs(),
            lifetime: Some(lifetime.as_secs()),
            incremental: wish.incremental,
        };
        let Wish { feeds, contacts, incremental, .. } = wish;
        {
            let (mut core, max) = (lock(&self.core), self.limits.contact_subscriptions_max);
            if let Some(address) = contacts.iter().map(|contact| contact.address).find(|address| core.count_at(*address) >= max) {
                return Err(Failure::TooMany { address, max });
            }
            let feeds = feeds.into_iter().map(|(event_type, view)| (event_type, view, false)).collect();
            core.add(New { id, feeds, contacts, expires: now() + lifetime, lifetime, incremental, client });
        }
        if let Err(why) = self.writer.write(vec![record::put(id, &record)]).await {
            lock(&self.core).discard(id);
            return Err(Failure::Store(why));
        }
        lock(&self.core).stored(now(), id);
        self.wake.notify_one();
        Ok(Subscribed { id, event_types, lifetime })
    }

    /// Lets one live on; `None`: as long as it was given before.
    pub(crate) async fn refresh(&self, id: Id, lifetime: Option<Duration>, event_types: &[EventType]) -> Result<Subscribed, Refusal> {
        let (mut record, lifetime) = {
            let core = lock(&self.core);
            let Some(seen) = core.see(id) else { return Err(Refusal::Failed(self.absent(id))) };
            let same = event_types.iter().all(|one| seen.event_types.contains(one)) && event_types.len() == seen.event_types.len();
            if !event_types.is_empty() && !same {
                return Err(Refusal::EventTypes);
            }
            (seen.record, self.lifetime(lifetime.unwrap_or(seen.lifetime)))
        };
        record.expires_at = epoch_seconds(SystemTime::now()) + lifetime.as_secs();
        record.lifetime = Some(lifetime.as_secs());
        let event_types = record.follows.iter().map(|follows| follows.event_type).collect();
        self.writer.write(vec![record::put(id, &record)]).await.map_err(|why| Refusal::Failed(Failure::Store(why)))?;
        if !lock(&self.core).refresh(now(), id, lifetime) {
            // It ended while it was written down, which brought it back: take it away again.
            self.writer.post(vec![record::forget(id)]);
            return Err(Refusal::Failed(Failure::Gone));
        }
        self.wake.notify_one();
        Ok(Subscribed { id, event_types, lifetime })
    }

    /// Ends one; the store has forgotten it when this returns.
    pub(crate) async fn unsubscribe(&self, id: Id) -> Result<Subscribed, Failure> {
        let seen = lock(&self.core).see(id);
        let Some(seen) = seen else { return Err(self.absent(id)) };
        self.writer.write(vec![record::forget(id)]).await.map_err(Failure::Store)?;
        lock(&self.core).end(id, Reason::Unsubscribed);
        self.wake.notify_one();
        Ok(Subscribed { id, event_types: seen.event_types, lifetime: Duration::ZERO })
    }

    fn absent(&self, id: Id) -> Failure {
        // Both at once, for `adopt` moves them.
        let (orphans, awaited) = (lock(&self.orphans), lock(&self.awaited));
        if awaited.contains(&id) || orphans.iter().any(|(orphan, ..)| *orphan == id) { Failure::NotYet } else { Failure::Gone }
    }

    /// There is news of these views. Quick: who publishes calls it.
    pub(crate) fn ring(&self, views: &[Arc<View>]) {
        lock(&self.rung).extend(views.iter().map(|view| view.id().clone()));
        self.wake.notify_one();
    }

    pub(crate) fn tally(&self) -> Tally {
        let (contacts, failing, under_way) = lock(&self.core).tally();
        Tally { contacts, failing, under_way }
    }

    /// From now on subscriptions are kept there; those that are there will be taken up by [`run`].
    pub(crate) fn keep_in(&self, store: Arc<dyn Store>) -> std::io::Result<()> {
        // Now: whatever is written from here on is known already.
        match record::read(&*store) {
            Ok(known) => {
                *lock(&self.awaited) = known.records.iter().map(|(id, _)| *id).collect();
                *lock(&self.known) = known;
            }
            Err(why) => tracing::error!("subscriptions cannot be read, those of before are left alone: {why}"),
        }
        self.writer.start(store)
    }
}

/// Why a refresh was refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// They are not those of the subscription.
    EventTypes,
    Failed(Failure),
}

/// Takes up what the store knows, then delivers until `stop`.
pub(crate) async fn run(transports: Arc<Transports>, mut stop: watch::Receiver<bool>) {
    let webhooks = &transports.webhooks;
    tokio::select! {
        () = restore(&transports) => {}
        // Nothing was sent, so nothing has changed.
        _ = stop.wait_for(|stop| *stop) => return webhooks.writer.stop().await,
    }
    let mut deliverer = Deliverer { transports: transports.clone(), links: Arc::default() };
    let mut positions = tokio::time::interval(POSITIONS_INTERVAL);
    positions.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let woken = webhooks.wake.notified();
        let until = deliverer.step();
        let timer = async {
            match until {
                Some(until) => tokio::time::sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = woken => {}
            () = timer => {}
            _ = positions.tick() => {
                webhooks.write_positions();
                deliverer.close_idle();
                adopt(&transports, now()).await;
            }
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    webhooks.write_positions();
    webhooks.writer.stop().await;
}

impl Webhooks {
    fn write_positions(&self) {
        let moved = lock(&self.core).take_positions();
        if !moved.is_empty() {
            self.writer.post(moved.into_iter().map(|(chunk, piece)| record::put_positions(chunk, piece)).collect());
        }
    }
}

/// Connections that wait for the next notification, by contact.
type Links = Arc<Mutex<HashMap<ContactAddress, Vec<Link>>>>;

struct Deliverer {
    transports: Arc<Transports>,
    links: Links,
}

impl Deliverer {
    /// Does what is due. When to do it again, unless something happens before.
    fn step(&mut self) -> Option<Instant> {
        let webhooks = &self.transports.webhooks;
        let rung = std::mem::take(&mut *lock(&webhooks.rung));
        let now = now();
        let mut core = lock(&webhooks.core);
        core.views_moved(&rung);
        core.handle_timeout(now);
        let mut deliveries = Vec::new();
        while let Some(delivery) = core.take(now) {
            deliveries.push(delivery);
        }
        let (ended, until) = (core.take_ended(), core.poll_timeout());
        drop(core);
        if !ended.is_empty() {
            webhooks.writer.post(ended.into_iter().map(record::forget).collect());
        }
        for delivery in deliveries {
            tokio::spawn(deliver(self.transports.clone(), self.links.clone(), delivery));
        }
        until
    }

    fn close_idle(&self) {
        let now = tokio::time::Instant::now();
        lock(&self.links).retain(|_, links| {
            links.retain(|link| now.saturating_duration_since(link.idle_since) < IDLE_TIME_MAX);
            !links.is_empty()
        });
    }
}

/// Delivers, and then what else there is for the same contact.
async fn deliver(transports: Arc<Transports>, links: Links, mut delivery: Delivery) {
    let webhooks = &transports.webhooks;
    let contact = delivery.address;
    let mut link = None;
    loop {
        while link.is_none()
            && let Some(mut idle) = lock(&links).get_mut(&contact).and_then(Vec::pop)
        {
            link = idle.is_open().then_some(idle);
        }
        let mut ticket = delivery.ticket;
        let slow = || lock(&webhooks.core).slow(&mut ticket);
        let ended = delivery::deliver(&delivery, link.take(), webhooks.tls.as_ref(), &webhooks.limits, slow).await;
        if let Some(why) = &ended.why {
            tracing::debug!(%contact, subscrid = %ticket.id(), "a notification was not taken: {why}");
        }
        let bytes = delivery.before.len() + delivery.data.len() + delivery.after.len();
        let now = now();
        let mut core = lock(&webhooks.core);
        core.delivered(now, ticket, bytes, ended.outcome);
        let next = core.take_for(now, ticket.contact, &contact);
        drop(core);
        link = ended.link;
        match next {
            Some(next) => delivery = next,
            None => break,
        }
    }
    if let Some(link) = link {
        let mut links = lock(&links);
        let idle: usize = links.values().map(Vec::len).sum();
        if idle < webhooks.limits.notifications_at_once {
            links.entry(contact).or_default().push(link);
        }
    }
    // A slot is free, or there is a new timer, or one ended.
    webhooks.wake.notify_one();
}

/// Takes up the subscriptions of before.
async fn restore(transports: &Arc<Transports>) {
    let webhooks = &transports.webhooks;
    let known = std::mem::take(&mut *lock(&webhooks.known));
    if known.unreadable > 0 {
        tracing::warn!("{} subscriptions in the data folder cannot be read and are left alone", known.unreadable);
    }
    let count = known.records.len();
    // Who only has to be told of its end takes nobody's place.
    let (ended, living): (Vec<_>, Vec<_>) = known.records.into_iter().partition(|(_, record)| left(record).is_zero());
    for (id, record) in living.into_iter().chain(ended) {
        take_up(transports, id, record, Some(&known.positions), now()).await;
        lock(&webhooks.awaited).remove(&id);
    }
    let mut batch = vec![record::forget_positions()];
    batch.extend(lock(&webhooks.core).take_positions().into_iter().map(|(chunk, piece)| record::put_positions(chunk, piece)));
    if let Err(why) = webhooks.writer.write(batch).await {
        tracing::warn!("subscribers may be told again what they know: {why}");
    }
    if count > 0 {
        tracing::info!("{count} subscriptions of before were taken up");
    }
}

/// Tries again to take up those whose resource was not there.
async fn adopt(transports: &Arc<Transports>, now: Instant) {
    let orphans = {
        let mut orphans = lock(&transports.webhooks.orphans);
        lock(&transports.webhooks.awaited).extend(orphans.iter().map(|(id, ..)| *id));
        std::mem::take(&mut *orphans)
    };
    for (id, record, since) in orphans {
        if now.saturating_duration_since(since) < ORPHAN_TIME_MAX {
            take_up(transports, id, record, None, since).await;
        } else {
            tracing::info!(subscrid = %id, "its resource did not come back: a subscription of before ended");
            part(transports, id, record, Reason::Withdrawn);
        }
        lock(&transports.webhooks.awaited).remove(&id);
    }
}

fn left(record: &Record) -> Duration {
    Duration::from_secs(record.expires_at.saturating_sub(epoch_seconds(SystemTime::now())))
}

/// Tells the subscriber of one of before that it has ended, if there is room for that; the store forgets it in any case.
fn part(transports: &Arc<Transports>, id: Id, record: Record, reason: Reason) {
    let webhooks = &transports.webhooks;
    let Ok(client) = transports.clients.join(Transport::Webhook) else {
        return webhooks.writer.post(vec![record::forget(id)]);
    };
    let Record { follows, contacts, incremental, .. } = record;
    let followed = follows.iter().map(|follows| follows.event_type).collect();
    let new = New { id, feeds: Vec::new(), contacts, expires: now(), lifetime: Duration::ZERO, incremental, client };
    lock(&webhooks.core).add_ended(new, followed, reason);
    webhooks.wake.notify_one();
}

/// `since`: when its resource was missed first, if it is.
async fn take_up(transports: &Arc<Transports>, id: Id, record: Record, positions: Option<&HashSet<u64>>, since: Instant) {
    let webhooks = &transports.webhooks;
    let left = left(&record);
    if left.is_zero() {
        return part(transports, id, record, Reason::Expired);
    }
    let (publisher, follows) = (transports.publisher.clone(), record.follows.clone());
    let open = move || {
        let open = |follows: Follows| {
            // A canonical input names its endpoints.
            let view = publisher.open(&follows.resource, follows.input.as_deref().map(str::as_bytes), Ipv4Addr::UNSPECIFIED.into())?;
            Ok((follows.event_type, view))
        };
        follows.into_iter().map(open).collect::<Result<Vec<_>, OpenError>>()
    };
    let feeds = match tokio::task::spawn_blocking(open).await {
        Ok(Ok(feeds)) => feeds,
        Ok(Err(why)) => {
            tracing::debug!(subscrid = %id, "a subscription of before waits: {why}");
            return lock(&webhooks.orphans).push((id, record, since));
        }
        Err(_) => return,
    };
    let Ok(client) = transports.clients.join(Transport::Webhook) else {
        return lock(&webhooks.orphans).push((id, record, since));
    };
    let current = |event_type, view: &View| {
        let position = position::of(id, event_type, position::of_tag(&view.head().1));
        positions.is_some_and(|positions| positions.contains(&position))
    };
    let feeds = feeds.into_iter().map(|(event_type, view)| (event_type, view.clone(), current(event_type, &view))).collect();
    let Record { contacts, incremental, .. } = record;
    let lifetime = record.lifetime.map_or(left, Duration::from_secs);
    let mut core = lock(&webhooks.core);
    core.add(New { id, feeds, contacts, expires: now() + left, lifetime, incremental, client });
    core.stored(now(), id);
    drop(core);
    webhooks.wake.notify_one();
}

/// The publisher's news, as long as both are there.
pub(crate) fn listen(transports: &Arc<Transports>) {
    let weak: Weak<Transports> = Arc::downgrade(transports);
    transports.publisher.on_views(move |views| {
        if let Some(transports) = weak.upgrade() {
            transports.webhooks.ring(views);
        }
    });
}
