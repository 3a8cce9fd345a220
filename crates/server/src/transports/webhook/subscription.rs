//! A subscription: what it follows, where it is told of it, and where it is in that.
//!
//! It costs a few hundred bytes, whatever it follows.
use super::record::Record;
use crate::transports::clients::Client;
use alto::updates::webhook::{ContactAddress, EventType};
use history::{Cursor, View};
use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

/// `subscrid`: 128 bits that nobody can guess.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id(pub(crate) [u8; 16]);

impl Id {
    /// The one with this text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        digits.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(|number| Self(number.to_be_bytes()))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a subscription ended; `reason` of the last notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Expired,
    Unsubscribed,
    Withdrawn,
}

impl Reason {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Unsubscribed => "unsubscribed",
            Self::Withdrawn => "the resource was withdrawn",
        }
    }
}

/// A subscription to be.
pub(crate) struct New {
    pub(crate) id: Id,
    /// What it follows, dependencies first, at least one unless it has ended; and whether it was told the newest of it before a restart.
    pub(crate) feeds: Vec<(EventType, Arc<View>, bool)>,
    /// In the order of preference, at least one.
    pub(crate) contacts: Vec<ContactAddress>,
    pub(crate) expires: Instant,
    /// As it was given last.
    pub(crate) lifetime: Duration,
    pub(crate) incremental: bool,
    pub(crate) client: Client,
}

/// What one of them is.
pub(crate) struct Seen {
    pub(crate) event_types: Vec<EventType>,
    /// As it was given last.
    pub(crate) lifetime: Duration,
    /// To be written down; without its end and lifetime.
    pub(crate) record: Record,
}

/// Place of a subscription, or of a contact, among all.
pub(super) type Key = u32;

/// One of them.
pub(super) struct Subscription {
    pub(super) id: Id,
    pub(super) feeds: Box<[Feed]>,
    /// Keys of contacts.
    pub(super) contacts: Box<[Key]>,
    /// Which of them is in use.
    pub(super) at: u8,
    /// Failures in a row that are its own.
    pub(super) tries: u8,
    pub(super) incremental: bool,
    pub(super) acknowledged: bool,
    /// Its subscriber said that it does not know it.
    pub(super) unknown: bool,
    pub(super) phase: Phase,
    pub(super) ending: Option<Reason>,
    /// What it followed before a restart, where nothing is left but to be told its end.
    pub(super) followed: Box<[EventType]>,
    pub(super) expires: Instant,
    pub(super) lifetime: Duration,
    pub(super) failing_since: Option<Instant>,
    pub(super) client: Client,
}

/// One thing it follows.
pub(super) struct Feed {
    pub(super) cursor: Cursor,
    pub(super) event_type: EventType,
    /// Digest of the content that the cursor is at.
    pub(super) told: u64,
    /// Its subscriber has that content, and may be told a change from there.
    pub(super) has: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is being written down; nothing is sent before that is done.
    Storing,
    /// It has been told everything.
    Idle,
    /// In the queue of its contact.
    Queued,
    /// One notification is under way: of a feed, or the last.
    Sending(Option<u8>),
    /// Until then nothing is sent.
    Waiting(Instant),
}
