//! All subscriptions as a state machine: who is to be told what, when and at which address. No clock, no sockets, no store.
//!
//! A subscription is a place in each view it follows and nothing else: what it is told is made when its turn comes, from the newest version
//! there is then. So one that is slow is told less often, and costs the same few hundred bytes. Invariants: at most one notification of a
//! subscription is under way, so it hears versions in their order, dependencies first; after one that nobody acknowledged it is told a full copy; a
//! contact that fails holds no more than its share of the slots, so it keeps nobody else waiting.
#[cfg(test)]
mod tests;

use super::{
    contacts::{Contacts, Slots},
    position,
    record::{Follows, Record},
    subscription::{Feed, Id, Key, New, Phase, Reason, Seen, Subscription},
};
use alto::updates::webhook::{ContactAddress, Content, EventType, Notification, Substate, Version};
use bytes::Bytes;
use history::{Accepts, Start, View, ViewId};
use slab::Slab;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// Bounds and times; see `Limits` of this crate.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    pub(crate) contact_connections_max: usize,
    pub(crate) deliveries_max: usize,
    pub(crate) slow_deliveries_max: usize,
    pub(crate) retry_min: Duration,
    pub(crate) retry_max: Duration,
    pub(crate) give_up: Duration,
}

/// When a subscriber that never acknowledged anything is asked again, once, whether it knows its own `subscrid`: the first notification may overtake
/// the answer with it. 500 ms: two round trips to the other side of the world.
const STRANGE_PAUSE: Duration = Duration::from_millis(500);
/// How long after the answer the first notification follows: the answer should be there before it.
const FIRST_DELAY: Duration = Duration::from_millis(5);
/// How often the last notification is tried.
const LAST_TRIES_MAX: u8 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Of a subscription.
    Expires(Key),
    Resumes(Key),
    /// Of a contact.
    Retries(Key),
}

/// One notification to be sent.
pub(crate) struct Delivery {
    pub(crate) ticket: Ticket,
    pub(crate) address: ContactAddress,
    /// The body in three pieces, the middle one shared by all who are told the same.
    pub(crate) before: Vec<u8>,
    pub(crate) data: Bytes,
    pub(crate) after: &'static str,
}

/// Which one it is; to be handed back with what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    key: Key,
    id: Id,
    pub(crate) contact: Key,
    /// It has the slot of one that takes its time.
    pub(crate) slow: bool,
}

impl Ticket {
    pub(crate) fn id(&self) -> Id {
        self.id
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// 2xx
    Acknowledged,
    /// 404 or 410: there is no such subscription there.
    Unknown,
    /// Another status, redirects included; and how long to wait, if that was said.
    Refused(Option<Duration>),
    /// No connection, no answer, or no HTTP.
    Unreachable,
    /// A connection that was kept open was closed before there was an answer.
    Lost,
}

/// See the module.
pub(crate) struct Core {
    bounds: Bounds,
    subscriptions: Slab<Subscription>,
    by_id: HashMap<Id, Key>,
    by_view: HashMap<ViewId, BTreeSet<Key>>,
    /// Contacts of all subscriptions, by address.
    by_address: HashMap<IpAddr, usize>,
    contacts: Contacts,
    timers: BTreeSet<(Instant, Timer)>,
    /// Ended, to be forgotten by the store.
    ended: Vec<Id>,
    /// Those that were told something since it was asked who was.
    moved: HashSet<Key>,
    random: u64,
}

impl Core {
    pub(crate) fn new(bounds: Bounds, seed: u64) -> Self {
        let slots = Slots { fast: bounds.deliveries_max, slow: bounds.slow_deliveries_max, each: bounds.contact_connections_max };
        Self {
            contacts: Contacts::new(slots),
            bounds,
            subscriptions: Slab::new(),
            by_id: HashMap::new(),
            by_view: HashMap::new(),
            by_address: HashMap::new(),
            timers: BTreeSet::new(),
            ended: Vec::new(),
            moved: HashSet::new(),
            random: seed,
        }
    }

    /// Takes in a subscription. Nothing is sent before [`Core::stored`].
    pub(crate) fn add(&mut self, new: New) {
        let New { id, feeds, contacts, expires, lifetime, incremental, client } = new;
        let acknowledged = feeds.iter().any(|(.., current)| *current);
        let entry = self.subscriptions.vacant_entry();
        let key = Key::try_from(entry.key()).expect("subscriptions have a bound far below");
        for (_, view, _) in &feeds {
            self.by_view.entry(view.id().clone()).or_default().insert(key);
        }
        let feed = |(event_type, view, current): (EventType, Arc<View>, bool)| {
            let (range, tag) = view.head();
            let start = if current { Start::Seq(range.end) } else { Start::Nothing };
            Feed { cursor: view.cursor(start), event_type, told: position::of_tag(&tag), has: current }
        };
        for contact in &contacts {
            *self.by_address.entry(contact.address).or_default() += 1;
        }
        let contacts = contacts.into_iter().map(|address| self.contacts.join(address)).collect();
        entry.insert(Subscription {
            id,
            feeds: feeds.into_iter().map(feed).collect(),
            contacts,
            at: 0,
            tries: 0,
            incremental,
            acknowledged,
            phase: Phase::Storing,
            ending: None,
            followed: Box::default(),
            unknown: false,
            expires,
            lifetime,
            failing_since: None,
            client,
        });
        self.by_id.insert(id, key);
        self.timers.insert((expires, Timer::Expires(key)));
        self.moved.insert(key);
    }

    /// Takes in one of before that has ended while nobody was there to say so: its last notification is sent, if it can be.
    pub(crate) fn add_ended(&mut self, new: New, followed: Box<[EventType]>, reason: Reason) {
        let id = new.id;
        self.add(new);
        let key = self.by_id[&id];
        let subscription = &mut self.subscriptions[key as usize];
        (subscription.followed, subscription.phase) = (followed, Phase::Idle);
        self.end_key(key, reason);
    }

    /// It is written down: its first notification may follow.
    pub(crate) fn stored(&mut self, now: Instant, id: Id) {
        if let Some(&key) = self.by_id.get(&id)
            && self.subscriptions[key as usize].phase == Phase::Storing
        {
            self.wait(key, now + FIRST_DELAY);
        }
    }

    /// It could not be written down.
    pub(crate) fn discard(&mut self, id: Id) {
        if let Some(&key) = self.by_id.get(&id) {
            self.remove(key);
        }
    }

    /// What one of them is; `None`: there is none, or it has ended.
    pub(crate) fn see(&self, id: Id) -> Option<Seen> {
        let subscription = &self.subscriptions[*self.by_id.get(&id)? as usize];
        if subscription.ending.is_some() || subscription.phase == Phase::Storing {
            return None;
        }
        let record = Record {
            follows: subscription.feeds.iter().map(|feed| Follows::of(feed.event_type, feed.cursor.view())).collect(),
            contacts: subscription.contacts.iter().map(|contact| self.contacts[*contact].address).collect(),
            expires_at: 0,
            lifetime: None,
            incremental: subscription.incremental,
        };
        let event_types = subscription.feeds.iter().map(|feed| feed.event_type).collect();
        Some(Seen { event_types, lifetime: subscription.lifetime, record })
    }

    /// Contacts at an address.
    pub(crate) fn count_at(&self, address: IpAddr) -> usize {
        self.by_address.get(&address).copied().unwrap_or(0)
    }

    /// It lives on for so long; `false`: it has ended.
    pub(crate) fn refresh(&mut self, now: Instant, id: Id, lifetime: Duration) -> bool {
        let Some(&key) = self.by_id.get(&id) else { return false };
        let subscription = &mut self.subscriptions[key as usize];
        if subscription.ending.is_some() {
            return false;
        }
        self.timers.remove(&(subscription.expires, Timer::Expires(key)));
        (subscription.expires, subscription.lifetime) = (now + lifetime, lifetime);
        self.timers.insert((subscription.expires, Timer::Expires(key)));
        true
    }

    /// Ends one: a last notification is sent, if it can be.
    pub(crate) fn end(&mut self, id: Id, reason: Reason) {
        if let Some(&key) = self.by_id.get(&id) {
            self.end_key(key, reason);
        }
    }

    fn end_key(&mut self, key: Key, reason: Reason) {
        let subscription = &mut self.subscriptions[key as usize];
        if subscription.ending.is_some() {
            return;
        }
        subscription.ending = Some(reason);
        subscription.tries = 0;
        self.ended.push(subscription.id);
        match subscription.phase {
            Phase::Storing => self.remove(key),
            Phase::Idle => self.queue(key),
            Phase::Queued | Phase::Sending(_) => {}
            Phase::Waiting(until) => {
                self.timers.remove(&(until, Timer::Resumes(key)));
                self.queue(key);
            }
        }
    }

    /// There is news of these views.
    pub(crate) fn views_moved<'a>(&mut self, views: impl IntoIterator<Item = &'a ViewId>) {
        for view in views {
            let Some(keys) = self.by_view.get(view) else { continue };
            for &key in keys {
                let subscription = &mut self.subscriptions[key as usize];
                // Others look when their turn comes.
                if subscription.phase == Phase::Idle {
                    subscription.phase = Phase::Queued;
                    self.contacts.push(subscription.contacts[usize::from(subscription.at)], key);
                }
            }
        }
    }

    /// The next notification to be sent, to whomever.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Delivery> {
        loop {
            let (contact, key) = self.contacts.next()?;
            if let Some(delivery) = self.prepare(now, contact, key) {
                return Some(delivery);
            }
        }
    }

    /// The next to be sent to a contact: its connection is free.
    pub(crate) fn take_for(&mut self, now: Instant, contact: Key, address: &ContactAddress) -> Option<Delivery> {
        // Its key may be another's by now.
        self.contacts.get(contact).filter(|known| known.address == *address)?;
        loop {
            let key = self.contacts.next_of(contact)?;
            if let Some(delivery) = self.prepare(now, contact, key) {
                return Some(delivery);
            }
        }
    }

    /// What a subscription whose turn has come is told; `None`: there is nothing (any more).
    fn prepare(&mut self, now: Instant, contact: Key, key: Key) -> Option<Delivery> {
        // It may have gone, or gone elsewhere, since it was queued; or its place is somebody else's by now.
        let subscription = self.subscriptions.get_mut(key as usize)?;
        if subscription.phase != Phase::Queued || subscription.contacts[usize::from(subscription.at)] != contact {
            return None;
        }
        if subscription.ending.is_none() && subscription.feeds.iter().any(|feed| feed.cursor.view().is_closed()) {
            subscription.ending = Some(Reason::Withdrawn);
            subscription.tries = 0;
            self.ended.push(subscription.id);
        }
        let address = self.contacts[contact].address;
        let mut notification = Notification {
            event_types: Vec::new(),
            subscrid: subscription.id.to_string().into(),
            substate: Substate::Active { expires: None },
            version: Version::default(),
            contents: Vec::new(),
        };
        if let Some(reason) = subscription.ending {
            let feeds = subscription.feeds.iter().map(|feed| feed.event_type);
            notification.event_types = feeds.chain(subscription.followed.iter().copied()).collect();
            notification.substate = Substate::Terminated { reason: Some(reason.as_str().into()) };
            subscription.phase = Phase::Sending(None);
            let ticket = Ticket { key, id: subscription.id, contact, slow: self.contacts.begin(contact) };
            return Some(Delivery { ticket, address, before: notification.to_json(), data: Bytes::new(), after: "" });
        }
        // Looked at from the last on, told from the first on: a commit between two looks is then seen in what others depend on.
        let mut behind = None;
        for (at, feed) in subscription.feeds.iter().enumerate().rev() {
            if !feed.cursor.is_current() {
                behind = Some(at);
            }
        }
        let told = behind.and_then(|at| {
            let feed = &mut subscription.feeds[at];
            let accepts = if subscription.incremental && feed.has { Accepts::PATCHES } else { Accepts::SNAPSHOTS };
            Some((at, feed.cursor.next(accepts)?))
        });
        let Some((at, item)) = told else {
            subscription.phase = Phase::Idle;
            return None;
        };
        let feed = &mut subscription.feeds[at];
        // Until it is acknowledged nobody knows what the subscriber has.
        (feed.told, feed.has) = (position::of_tag(&item.tag), false);
        let event_type = feed.event_type;
        notification.event_types = vec![event_type];
        notification.substate = Substate::Active { expires: Some(subscription.expires.saturating_duration_since(now).as_secs()) };
        let since = (!item.is_snapshot()).then_some(item.from.0);
        notification.version = Version { seq: Some(item.to.0), tag: Some(item.tag.clone()), since };
        let content = if item.is_snapshot() {
            Content::Full(event_type.content_member(), &[])
        } else {
            Content::Patch { media_type: item.media_type.into(), data: &[] }
        };
        let (before, after) = notification.around(&content);
        subscription.phase = Phase::Sending(Some(at as u8));
        let ticket = Ticket { key, id: subscription.id, contact, slow: self.contacts.begin(contact) };
        Some(Delivery { ticket, address, before, data: item.body, after })
    }

    /// A delivery takes its time: whether it may go on, beside those that do not.
    pub(crate) fn slow(&mut self, ticket: &mut Ticket) -> bool {
        ticket.slow = ticket.slow || self.contacts.slow();
        ticket.slow
    }

    /// What became of a delivery.
    pub(crate) fn delivered(&mut self, now: Instant, ticket: Ticket, bytes: usize, outcome: Outcome) {
        self.contacts.end(ticket.contact, ticket.slow);
        match outcome {
            Outcome::Unreachable => self.contact_failed(now, ticket.contact),
            Outcome::Lost => {}
            Outcome::Acknowledged | Outcome::Unknown | Outcome::Refused(_) => {
                if let Some(retry) = self.contacts.works(ticket.contact) {
                    self.timers.remove(&(retry, Timer::Retries(ticket.contact)));
                }
            }
        }
        let key = ticket.key;
        let subscription = match self.subscriptions.get_mut(key as usize) {
            Some(subscription) if subscription.id == ticket.id => subscription,
            // It was removed meanwhile.
            _ => {
                if let Some(retry) = self.contacts.tidy(ticket.contact) {
                    self.timers.remove(&(retry, Timer::Retries(ticket.contact)));
                }
                return;
            }
        };
        let Phase::Sending(sent) = subscription.phase else { return };
        let unknown = subscription.unknown;
        subscription.unknown |= outcome == Outcome::Unknown;
        match outcome {
            Outcome::Acknowledged => {
                subscription.tries = 0;
                subscription.failing_since = None;
                subscription.acknowledged = true;
                subscription.client.sent(1, bytes);
                match sent {
                    None => return self.remove(key),
                    Some(at) => subscription.feeds[usize::from(at)].has = true,
                }
                let more = subscription.ending.is_some()
                    || subscription.feeds.iter().any(|feed| !feed.cursor.is_current() || feed.cursor.view().is_closed());
                self.moved.insert(key);
                if more {
                    self.queue(key);
                } else {
                    self.subscriptions[key as usize].phase = Phase::Idle;
                }
            }
            Outcome::Unknown if sent.is_none() => self.remove(key),
            Outcome::Unknown if unknown || subscription.acknowledged => self.forget(key),
            Outcome::Unknown | Outcome::Refused(_) | Outcome::Unreachable | Outcome::Lost => {
                if let Some(at) = sent {
                    // Whether it was taken is not known: go on with a full copy.
                    subscription.feeds[usize::from(at)].cursor.reset(Start::Nothing);
                }
                if outcome == Outcome::Lost {
                    return self.queue(key);
                }
                subscription.tries = subscription.tries.saturating_add(1);
                let since = *subscription.failing_since.get_or_insert(now);
                let given_up = now.saturating_duration_since(since) >= self.bounds.give_up;
                if given_up || (sent.is_none() && subscription.tries >= LAST_TRIES_MAX) {
                    return self.forget(key);
                }
                if outcome == Outcome::Unreachable {
                    // Somewhere else, or here as soon as that can be tried again.
                    self.move_on(key);
                    return self.queue(key);
                }
                let tries = u32::from(subscription.tries);
                let pause = match outcome {
                    Outcome::Unknown => STRANGE_PAUSE,
                    Outcome::Refused(Some(asked)) => self.backoff(tries).max(asked.min(self.bounds.retry_max)),
                    _ => self.backoff(tries),
                };
                self.wait(key, now + pause);
            }
        }
    }

    /// The time that passed has consequences.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, timer)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            match timer {
                Timer::Expires(key) => self.end_key(key, Reason::Expired),
                Timer::Resumes(key) => self.queue(key),
                Timer::Retries(contact) => self.contacts.retry(contact),
            }
        }
    }

    /// When [`Core::handle_timeout`] has something to do next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Those that ended since this was asked last.
    pub(crate) fn take_ended(&mut self) -> Vec<Id> {
        std::mem::take(&mut self.ended)
    }

    /// Where those that moved since this was asked last are: pieces of [`position::CHUNK`] subscriptions, by number.
    pub(crate) fn take_positions(&mut self) -> Vec<(u32, Vec<u8>)> {
        let chunks: BTreeSet<u32> = self.moved.drain().map(|key| key / position::CHUNK).collect();
        let piece = |chunk: u32| {
            let keys = chunk * position::CHUNK..(chunk + 1) * position::CHUNK;
            let there = keys.filter_map(|key| self.subscriptions.get(key as usize));
            let has = |one: &Subscription| {
                one.feeds.iter().filter(|feed| feed.has).map(|feed| position::of(one.id, feed.event_type, feed.told)).collect::<Vec<_>>()
            };
            position::encode(there.flat_map(has))
        };
        chunks.into_iter().map(|chunk| (chunk, piece(chunk))).collect()
    }

    /// Contacts, deliveries under way, and subscriptions that wait for one.
    pub(crate) fn tally(&self) -> (usize, usize, usize) {
        self.contacts.tally()
    }

    fn contact_failed(&mut self, now: Instant, contact: Key) {
        let Some((tries, since)) = self.contacts.fails(now, contact) else { return };
        let until = now + self.backoff(tries);
        self.contacts.block(contact, until);
        self.timers.insert((until, Timer::Retries(contact)));
        let given_up = now.saturating_duration_since(since) >= self.bounds.give_up;
        let (subscriptions, contacts) = (&self.subscriptions, &self.contacts);
        // Those that wait for it and can be reached elsewhere go there; when it is given up, the others go with it.
        let elsewhere = |one: &Subscription| one.contacts.iter().any(|other| !contacts[*other].is_blocked());
        let leaving: Vec<(Key, bool)> = contacts
            .waiting(contact)
            .filter_map(|key| Some((key, subscriptions.get(key as usize)?)))
            .filter(|(_, one)| one.phase == Phase::Queued && one.contacts[usize::from(one.at)] == contact)
            .map(|(key, one)| (key, elsewhere(one)))
            .filter(|(_, elsewhere)| *elsewhere || given_up)
            .collect();
        for (key, elsewhere) in leaving {
            if elsewhere {
                self.move_on(key);
                self.queue(key);
            } else if self.subscriptions.get(key as usize).is_some_and(|one| one.phase == Phase::Queued) {
                self.forget(key);
            }
        }
    }

    /// To the next contact that does not fail; if all do, to the next.
    fn move_on(&mut self, key: Key) {
        let subscription = &mut self.subscriptions[key as usize];
        let count = subscription.contacts.len();
        let others = (1..=count).map(|step| (usize::from(subscription.at) + step) % count);
        let works = others.clone().find(|at| !self.contacts[subscription.contacts[*at]].is_blocked());
        if let Some(at) = works.or(others.clone().next()) {
            subscription.at = at as u8;
        }
    }

    fn queue(&mut self, key: Key) {
        let subscription = &mut self.subscriptions[key as usize];
        subscription.phase = Phase::Queued;
        self.contacts.push(subscription.contacts[usize::from(subscription.at)], key);
    }

    fn wait(&mut self, key: Key, until: Instant) {
        self.subscriptions[key as usize].phase = Phase::Waiting(until);
        self.timers.insert((until, Timer::Resumes(key)));
    }

    /// Doubles from try to try; spread over half of it, so that those who failed together do not come back together.
    fn backoff(&mut self, tries: u32) -> Duration {
        let whole = self.bounds.retry_min.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(self.bounds.retry_max);
        whole / 2 + whole.mul_f64(self.share() / 2.0)
    }

    /// Takes one out that the store is to forget.
    fn forget(&mut self, key: Key) {
        let subscription = &self.subscriptions[key as usize];
        // Of one that was ending the store knows already.
        if subscription.ending.is_none() {
            self.ended.push(subscription.id);
        }
        self.remove(key);
    }

    /// Takes one out, as if it had never been.
    fn remove(&mut self, key: Key) {
        let subscription = self.subscriptions.remove(key as usize);
        self.by_id.remove(&subscription.id);
        self.timers.remove(&(subscription.expires, Timer::Expires(key)));
        if let Phase::Waiting(until) = subscription.phase {
            self.timers.remove(&(until, Timer::Resumes(key)));
        }
        for feed in &subscription.feeds {
            let view = feed.cursor.view().id();
            if let Some(keys) = self.by_view.get_mut(view) {
                keys.remove(&key);
                if keys.is_empty() {
                    self.by_view.remove(view);
                }
            }
        }
        for contact in &subscription.contacts {
            let address = self.contacts[*contact].address.address;
            if let Some(count) = self.by_address.get_mut(&address) {
                *count -= 1;
                if *count == 0 {
                    self.by_address.remove(&address);
                }
            }
        }
        // What waits in the queue of a contact is found to be gone when its turn comes.
        for contact in &subscription.contacts {
            if let Some(retry) = self.contacts.leave(*contact) {
                self.timers.remove(&(retry, Timer::Retries(*contact)));
            }
        }
        self.moved.insert(key);
    }

    /// From 0 to 1 (SplitMix64): what is spread by it need not be hard to guess.
    fn share(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}
