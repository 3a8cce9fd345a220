//! Network maps that say until when they are valid, as a whole and by PID (draft-alto-caching-subscription section 7.2): what of a kept one is still right,
//! and what to ask to make it right again.
//!
//! Nothing here asks or looks at a clock. Instants are on the wall clock of this machine, in whole seconds, rounded to the past.
//! Invariants: a map that is [`Step::Fresh`] has no PID that expired, and none of which nobody said when it does; a renewed map is the one that
//! was kept, prefix by prefix, so it never mixes two versions.
use alto::{
    Limits,
    error::ErrorBody,
    expiry::{Expires, ExpiringNetworkMap},
    id::Pid,
    network_map::NetworkMap,
};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// A network map with its expiry on the clock here.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TimedMap {
    pub map: Arc<NetworkMap>,
    /// The map as RFC 7285 writes it: without expiry.
    pub text: Bytes,
    expires: Option<Expires>,
    pids: BTreeMap<Pid, Expires>,
    /// When the first of it expires; `None` where that of something is not known.
    first: Option<Expires>,
}

/// What to do with a kept map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Use it.
    Fresh { until: SystemTime },
    /// Ask for these PIDs, then [`TimedMap::renewed`].
    Refresh(Vec<Pid>),
    /// Ask for the whole, with a validator where there is one.
    Whole,
}

/// The kept map cannot be renewed with an answer: the map is another one now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Changed;

impl TimedMap {
    /// Of an answer whose server's clock is ahead of ours by so much.
    pub fn of(answer: ExpiringNetworkMap, ahead: Duration) -> Self {
        let here = |expires: Expires| Expires::at(expires.instant().checked_sub(ahead).unwrap_or(SystemTime::UNIX_EPOCH));
        let ExpiringNetworkMap { map, expires, pids } = answer;
        let pids = pids.into_iter().map(|(pid, expires)| (pid, here(expires))).collect();
        Self::new(map.to_json().into(), Arc::new(map), expires.map(here), pids)
    }

    fn new(text: Bytes, map: Arc<NetworkMap>, expires: Option<Expires>, pids: BTreeMap<Pid, Expires>) -> Self {
        let all = map.pids.keys().map(|pid| pids.get(pid).copied().or(expires));
        // `None` is the least. An empty map is right for as long as the whole is.
        let first = all.min().unwrap_or(expires);
        Self { map, text, expires, pids, first }
    }

    /// As it was kept.
    pub fn from_json(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        Ok(Self::of(ExpiringNetworkMap::from_json_within(body, limits)?, Duration::ZERO))
    }

    /// To be kept.
    pub fn to_json(&self) -> Bytes {
        ExpiringNetworkMap { map: (*self.map).clone(), expires: self.expires, pids: self.pids.clone() }.to_json().into()
    }

    fn expires_of(&self, pid: &Pid) -> Option<Expires> {
        self.pids.get(pid).copied().or(self.expires)
    }

    /// When the first of it expires; `None` where of something nobody said when it does. `asked`: PIDs that were asked for by name; that one
    /// of them is not there is right for as long as the map as a whole.
    pub fn earliest(&self, asked: &[Pid]) -> Option<SystemTime> {
        let first = if self.lacks(asked) { self.first.min(self.expires) } else { self.first };
        first.map(Expires::instant)
    }

    fn lacks(&self, asked: &[Pid]) -> bool {
        asked.iter().any(|pid| !self.map.pids.contains_key(pid))
    }

    /// What to do now. `asked`: as in [`TimedMap::earliest`]; `by_pid`: whether single PIDs can be asked for.
    pub fn step(&self, now: SystemTime, asked: &[Pid], by_pid: bool) -> Step {
        match self.earliest(asked) {
            Some(until) if until > now => return Step::Fresh { until },
            _ => {}
        }
        // Of what nobody says when it expires no answer will say it either; and most of a map is as well had in one piece.
        let Some(_) = self.first else { return Step::Whole };
        let is_past = |pid: &&Pid| self.expires_of(pid).is_some_and(|expires| expires.is_past(now));
        let expired: Vec<_> = self.map.pids.keys().filter(is_past).cloned().collect();
        let still_absent = !self.lacks(asked) || self.expires.is_some_and(|expires| !expires.is_past(now));
        if !by_pid || !still_absent || expired.is_empty() || expired.len() * 2 > self.map.pids.len() {
            return Step::Whole;
        }
        Step::Refresh(expired)
    }

    /// The same map with what an answer says of these PIDs. Errors: the answer is of another version, has them no more or not as they were, or
    /// says nothing of their expiry.
    pub fn renewed(&self, asked: &[Pid], answer: &Self) -> Result<Self, Changed> {
        let tag = |map: &Self| map.map.vtag.as_ref().map(|vtag| vtag.tag.clone());
        if tag(self).is_none() || tag(self) != tag(answer) {
            return Err(Changed);
        }
        let mut pids = self.pids.clone();
        for pid in asked {
            let group = answer.map.pids.get(pid);
            // The same tag with other content breaks RFC 7285 section 10.3: believe neither.
            if group.is_none() || group != self.map.pids.get(pid) {
                return Err(Changed);
            }
            pids.insert(pid.clone(), answer.expires_of(pid).ok_or(Changed)?);
        }
        Ok(Self::new(self.text.clone(), self.map.clone(), self.expires, pids))
    }
}

#[cfg(test)]
mod tests;
