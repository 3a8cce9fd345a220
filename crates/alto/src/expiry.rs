//! Until when a network map is valid, as a whole and by PID (draft-alto-caching-subscription sections 6.1, 6.2 and 7).
//!
//! The draft puts `expires` beside the PIDs and beside the address types, where a reader of RFC 7285 takes it for one of them; so it stands
//! only in resources whose entry in the directory has the capability [`expires`](crate::directory::Capabilities::expires).
//! A PID and an address type may have that name too: an expiry is a string, a PID is an object, an address type is an array.
//! Unit: whole seconds. Invariant: what a written map says of a PID is never later than what it was given for it; a content tag
//! does not depend on any of it.
use crate::{
    ErrorBody, Limits,
    document::envelope,
    id::Pid,
    json,
    network_map::{self, NetworkMap},
};
use std::{
    collections::BTreeMap,
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The member that says it.
pub(crate) const MEMBER: &str = "expires";

/// An instant in whole seconds, from 1970 to 9999: what an IMF-fixdate can say (RFC 9110 section 5.6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expires(u64);

impl Expires {
    /// The last second of the year 9999.
    pub const MAX: Self = Self(253_402_300_799);

    /// So many seconds after 1970, as the calendar has it.
    pub fn from_unix(seconds: u64) -> Self {
        Self(seconds.min(Self::MAX.0))
    }

    /// Seconds after 1970.
    pub fn unix(self) -> u64 {
        self.0
    }

    /// The last whole second that is not after `instant`: nothing is valid for longer than somebody said.
    pub fn at(instant: SystemTime) -> Self {
        Self::from_unix(instant.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    /// As an instant.
    pub fn instant(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0)
    }

    /// How long from `now`; nothing when it is past.
    pub fn after(self, now: SystemTime) -> Duration {
        self.instant().duration_since(now).unwrap_or_default()
    }

    /// Whether it is past: what expires now is expired.
    pub fn is_past(self, now: SystemTime) -> bool {
        self.instant() <= now
    }
}

/// An IMF-fixdate: `Wed, 14 Sep 2011 16:00:00 GMT`.
impl fmt::Display for Expires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        httpdate::HttpDate::from(self.instant()).fmt(f)
    }
}

/// Not an IMF-fixdate, or of a day that is not in the calendar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a date as in \"Wed, 14 Sep 2011 16:00:00 GMT\"")]
pub struct InvalidExpires(Box<str>);

impl FromStr for Expires {
    type Err = InvalidExpires;

    fn from_str(text: &str) -> Result<Self, InvalidExpires> {
        let read = text.parse::<httpdate::HttpDate>().ok().map(|date| Self::at(date.into()));
        // The reader takes the obsolete forms as well, and days of the week that are not that day's.
        read.filter(|read| read.to_string() == text).ok_or_else(|| InvalidExpires(text.into()))
    }
}

/// A network map and until when it is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiringNetworkMap {
    /// The map: what it is without all this.
    pub map: NetworkMap,
    /// Until when every PID that is not in `pids` is valid; nothing is known where this is `None`.
    pub expires: Option<Expires>,
    /// Until when single PIDs are valid.
    pub pids: BTreeMap<Pid, Expires>,
}

impl ExpiringNetworkMap {
    /// Reads an `application/alto-networkmap+json` body of a resource with the capability.
    pub fn from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        Self::from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        let mut stated = Stated::default();
        let (vtag, pids) = json::document(body, limits, |reader| {
            envelope(reader, "network-map", network_map::read_meta, |reader, path, _| {
                network_map::read_pids(reader, path, Some(&mut stated))
            })
        })?;
        if vtag.is_none() {
            return Err(ErrorBody::missing("meta/vtag"));
        }
        Ok(Self { map: NetworkMap { vtag, pids }, expires: stated.map, pids: stated.pids })
    }

    /// The body. What cannot be said because its place is taken is said in another way or not at all, never later: with a PID called
    /// `expires` each PID has its own expiry; a PID with an address type of that name has the map's, which then is the earlier of both.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut document = json::Object::new(&mut out);
        self.map.write_meta(document.key("meta"));
        let whole = self.stated_of_map();
        let mut pids = json::Object::new(document.key("network-map"));
        if let Some(expires) = whole {
            json::write_text(pids.key(MEMBER), expires);
        }
        for (pid, group) in &self.map.pids {
            let own = self.pids.get(pid).copied().or_else(|| self.expires.filter(|_| whole.is_none() || whole < self.expires));
            group.write(pids.text_key(pid), own.filter(|_| !group.other.contains_key(MEMBER)));
        }
        pids.end();
        document.end();
        out
    }

    /// What stands beside the PIDs: no later than what the PIDs have that cannot say it themselves.
    fn stated_of_map(&self) -> Option<Expires> {
        let expires = self.expires?;
        if self.map.pids.contains_key(MEMBER) {
            return None;
        }
        let silent = self.map.pids.iter().filter(|(_, group)| group.other.contains_key(MEMBER));
        Some(silent.filter_map(|(pid, _)| self.pids.get(pid)).fold(expires, |least, &own| least.min(own)))
    }

    /// Until when a PID is valid: what it says itself, else what the map says.
    pub fn expires_of(&self, pid: &Pid) -> Option<Expires> {
        self.pids.get(pid).copied().or(self.expires)
    }

    /// When the first of its PIDs expires; `None` also when there is one of which nothing is known.
    pub fn earliest(&self) -> Option<Expires> {
        let mut earliest = None;
        for pid in self.map.pids.keys() {
            let expires = self.expires_of(pid)?;
            earliest = Some(earliest.map_or(expires, |least: Expires| least.min(expires)));
        }
        earliest.or(self.expires)
    }
}

/// What a body says of expiry, as it is read.
#[derive(Default)]
pub(crate) struct Stated {
    pub(crate) map: Option<Expires>,
    pub(crate) pids: BTreeMap<Pid, Expires>,
}

#[cfg(test)]
mod tests;
