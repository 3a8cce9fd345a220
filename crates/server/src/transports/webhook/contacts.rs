//! Where notifications go: who waits for each contact, and how many deliveries may be under way.
//!
//! A contact that did not answer is blocked for a while and then tried with one delivery at a time, in slots of its own kind, until it answers. A
//! delivery that takes its time gives its slot up for one of those too. Invariants: the slots in use of each kind are at most as many as there are;
//! a contact is in a ready queue, once, as long as it could be sent something but for a slot.
use super::subscription::Key;
use alto::updates::webhook::ContactAddress;
use slab::Slab;
use std::{
    collections::{HashMap, VecDeque},
    ops::Index,
    time::Instant,
};

/// How many deliveries may be under way.
pub(super) struct Slots {
    /// To contacts that work.
    pub(super) fast: usize,
    /// Those that take their time, and to contacts that failed.
    pub(super) slow: usize,
    /// To one contact.
    pub(super) each: usize,
}

pub(super) struct Contact {
    pub(super) address: ContactAddress,
    /// Subscriptions whose turn comes; some may have gone meanwhile.
    waiting: VecDeque<Key>,
    in_flight: usize,
    /// Subscriptions that name it.
    users: usize,
    /// Failures in a row.
    tries: u32,
    /// It answered the last delivery. One that has yet to answer is sent one at a time: many that hang do not fill the slots.
    answers: bool,
    blocked: Option<Instant>,
    failing_since: Option<Instant>,
    /// It is in a ready queue.
    listed: bool,
}

pub(super) struct Contacts {
    slots: Slots,
    contacts: Slab<Contact>,
    by_address: HashMap<ContactAddress, Key>,
    /// Those that could be sent something: of the first kind those that work, of the second those that failed.
    ready: [VecDeque<Key>; 2],
    in_use: [usize; 2],
}

const FAST: usize = 0;
const SLOW: usize = 1;

impl Contact {
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    fn kind(&self) -> usize {
        if self.tries > 0 { SLOW } else { FAST }
    }

    /// Whether one more delivery may be under way, and none is forbidden now.
    fn has_room(&self, each: usize) -> bool {
        self.in_flight < if self.answers { each } else { 1 } && self.blocked.is_none()
    }
}

impl Index<Key> for Contacts {
    type Output = Contact;
    fn index(&self, key: Key) -> &Contact {
        &self.contacts[key as usize]
    }
}

impl Contacts {
    pub(super) fn new(slots: Slots) -> Self {
        Self { slots, contacts: Slab::new(), by_address: HashMap::new(), ready: Default::default(), in_use: [0; 2] }
    }

    pub(super) fn get(&self, key: Key) -> Option<&Contact> {
        self.contacts.get(key as usize)
    }

    /// One more subscription names it.
    pub(super) fn join(&mut self, address: ContactAddress) -> Key {
        let contacts = &mut self.contacts;
        let key = *self.by_address.entry(address).or_insert_with(|| {
            let (waiting, in_flight, users, tries, answers) = (VecDeque::new(), 0, 0, 0, false);
            let contact = Contact { address, waiting, in_flight, users, tries, answers, blocked: None, failing_since: None, listed: false };
            Key::try_from(contacts.insert(contact)).expect("contacts have a bound far below")
        });
        self.contacts[key as usize].users += 1;
        key
    }

    /// One less; when it was to be tried again, if nobody names it any more.
    pub(super) fn leave(&mut self, key: Key) -> Option<Instant> {
        self.contacts[key as usize].users -= 1;
        self.tidy(key)
    }

    /// Forgets a contact that nobody names and nothing is sent to; when that was to be tried again.
    pub(super) fn tidy(&mut self, key: Key) -> Option<Instant> {
        let contact = &self.contacts[key as usize];
        if contact.users > 0 || contact.in_flight > 0 {
            return None;
        }
        let contact = self.contacts.remove(key as usize);
        self.by_address.remove(&contact.address);
        if contact.listed {
            self.ready.iter_mut().for_each(|ready| ready.retain(|other| *other != key));
        }
        contact.blocked
    }

    /// A subscription waits for its turn.
    pub(super) fn push(&mut self, key: Key, subscription: Key) {
        self.contacts[key as usize].waiting.push_back(subscription);
        self.list(key);
    }

    /// Lists a contact that could be sent something.
    fn list(&mut self, key: Key) {
        let each = self.slots.each;
        let contact = &mut self.contacts[key as usize];
        if !contact.listed && contact.has_room(each) && !contact.waiting.is_empty() {
            contact.listed = true;
            self.ready[contact.kind()].push_back(key);
        }
    }

    /// Whose turn it is, with its contact.
    pub(super) fn next(&mut self) -> Option<(Key, Key)> {
        for kind in [FAST, SLOW] {
            while self.in_use[kind] < [self.slots.fast, self.slots.slow][kind]
                && let Some(key) = self.ready[kind].pop_front()
            {
                let contact = &mut self.contacts[key as usize];
                contact.listed = false;
                if contact.kind() != kind {
                    // It failed, or works again, since it was listed.
                    self.list(key);
                    continue;
                }
                // A delivery began since it was listed, or it failed: it is listed again when that is over.
                if !contact.has_room(self.slots.each) {
                    continue;
                }
                let next = contact.waiting.pop_front();
                self.list(key);
                if let Some(next) = next {
                    return Some((key, next));
                }
            }
        }
        None
    }

    /// The next of one contact.
    pub(super) fn next_of(&mut self, key: Key) -> Option<Key> {
        let each = self.slots.each;
        let contact = self.contacts.get_mut(key as usize)?;
        let kind = contact.kind();
        let room = contact.has_room(each) && self.in_use[kind] < [self.slots.fast, self.slots.slow][kind];
        if room { contact.waiting.pop_front() } else { None }
    }

    /// A delivery begins; whether it has a slot of the second kind.
    pub(super) fn begin(&mut self, key: Key) -> bool {
        let contact = &mut self.contacts[key as usize];
        contact.in_flight += 1;
        let kind = contact.kind();
        self.in_use[kind] += 1;
        self.list(key);
        kind == SLOW
    }

    /// A delivery takes its time: whether there is a slot of the second kind for it.
    pub(super) fn slow(&mut self) -> bool {
        let room = self.in_use[SLOW] < self.slots.slow;
        if room {
            self.in_use[FAST] -= 1;
            self.in_use[SLOW] += 1;
        }
        room
    }

    /// A delivery ended.
    pub(super) fn end(&mut self, key: Key, slow: bool) {
        self.in_use[if slow { SLOW } else { FAST }] -= 1;
        self.contacts[key as usize].in_flight -= 1;
        self.list(key);
    }

    /// It answers; when it was to be tried again, if it was blocked.
    pub(super) fn works(&mut self, key: Key) -> Option<Instant> {
        let contact = &mut self.contacts[key as usize];
        (contact.tries, contact.answers) = (0, true);
        contact.failing_since = None;
        let blocked = contact.blocked.take();
        self.list(key);
        blocked
    }

    /// It does not answer. The failures in a row and since when; `None`: that is known, and it is going to be tried again.
    pub(super) fn fails(&mut self, now: Instant, key: Key) -> Option<(u32, Instant)> {
        let contact = &mut self.contacts[key as usize];
        if contact.blocked.is_some() {
            return None;
        }
        (contact.tries, contact.answers) = (contact.tries.saturating_add(1), false);
        Some((contact.tries, *contact.failing_since.get_or_insert(now)))
    }

    /// Nothing is sent to it before `until`.
    pub(super) fn block(&mut self, key: Key, until: Instant) {
        self.contacts[key as usize].blocked = Some(until);
    }

    /// It may be tried again.
    pub(super) fn retry(&mut self, key: Key) {
        if let Some(contact) = self.contacts.get_mut(key as usize) {
            contact.blocked = None;
            self.list(key);
        }
    }

    /// Who waits for a contact; some may have gone meanwhile.
    pub(super) fn waiting(&self, key: Key) -> impl Iterator<Item = Key> {
        self.contacts[key as usize].waiting.iter().copied()
    }

    /// Contacts, those of them that fail, deliveries under way.
    pub(super) fn tally(&self) -> (usize, usize, usize) {
        let failing = self.contacts.iter().filter(|(_, contact)| contact.tries > 0).count();
        (self.contacts.len(), failing, self.in_use.iter().sum())
    }
}
