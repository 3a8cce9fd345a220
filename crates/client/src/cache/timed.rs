//! Network maps that say until when they are valid, as a whole and by PID (draft-alto-caching-subscription section 7.2): what of a kept one is still right,
//! and what to ask to make it right again.
//!
//! Nothing here asks or looks at a clock. Instants are on the wall clock of this machine, in whole seconds, rounded to the past; what the server said of
//! them, by its own clock, is kept beside, to be said again.
//! Invariants: a map that is [`Step::Fresh`] has no PID that expired, and none of which nobody said when it does; a renewed map is the one that
//! was kept, prefix by prefix, so it never mixes two versions.
use alto::{
    Limits,
    error::ErrorBody,
    expiry::{Expires, ExpiringNetworkMap},
    id::{Pid, ResourceId},
    network_map::{AddressGroup, NetworkMap},
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
    /// What the server calls it, where that is another name.
    said_id: Option<ResourceId>,
    expires: Option<Until>,
    pids: BTreeMap<Pid, Until>,
    /// When the first of it expires; `None` where that of something is not known.
    first: Option<Expires>,
}

/// When something expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Until {
    here: Expires,
    /// By the clock of the server.
    said: Expires,
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
        let until = |said: Expires| Until { here: Expires::at(said.instant().checked_sub(ahead).unwrap_or(SystemTime::UNIX_EPOCH)), said };
        let ExpiringNetworkMap { map, expires, pids } = answer;
        let pids = pids.into_iter().map(|(pid, said)| (pid, until(said))).collect();
        Self::new(map.to_json().into(), Arc::new(map), None, expires.map(until), pids)
    }

    fn new(text: Bytes, map: Arc<NetworkMap>, said_id: Option<ResourceId>, expires: Option<Until>, pids: BTreeMap<Pid, Until>) -> Self {
        let all = map.pids.keys().map(|pid| pids.get(pid).copied().or(expires).map(|until| until.here));
        // `None` is the least. An empty map is right for as long as the whole is.
        let first = all.min().unwrap_or(expires.map(|until| until.here));
        Self { map, text, said_id, expires, pids, first }
    }

    /// The same under the name of the map that was asked for.
    pub fn named(mut self, id: &ResourceId) -> Self {
        if let Some(vtag) = &mut Arc::make_mut(&mut self.map).vtag
            && vtag.resource_id != *id
        {
            self.said_id = Some(std::mem::replace(&mut vtag.resource_id, id.clone()));
            self.text = self.map.to_json().into();
        }
        self
    }

    /// As the server says it, and says it to others.
    pub fn said(&self) -> ExpiringNetworkMap {
        let mut map = (*self.map).clone();
        if let (Some(vtag), Some(id)) = (&mut map.vtag, &self.said_id) {
            vtag.resource_id = id.clone();
        }
        self.with(map, |until| until.said)
    }

    fn with(&self, map: NetworkMap, clock: impl Fn(Until) -> Expires) -> ExpiringNetworkMap {
        let pids = self.pids.iter().map(|(pid, until)| (pid.clone(), clock(*until))).collect();
        ExpiringNetworkMap { map, expires: self.expires.map(clock), pids }
    }

    /// As it was kept.
    pub fn from_json(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        let mut lines = body.splitn(2, |byte| *byte == b'\n');
        let here = ExpiringNetworkMap::from_json_within(lines.next().unwrap_or_default(), limits)?;
        let Some(said) = lines.next() else { return Ok(Self::of(here, Duration::ZERO)) };
        let said = ExpiringNetworkMap::from_json_within(said, limits)?;
        let until = |here: Option<Expires>, said: Option<Expires>| Some(Until { here: here?, said: said? });
        // One of them may say of a PID what the other says of all.
        let own = here.map.pids.keys().filter(|pid| here.pids.contains_key(*pid) || said.pids.contains_key(*pid));
        let pids = own.filter_map(|pid| Some((pid.clone(), until(here.expires_of(pid), said.expires_of(pid))?))).collect();
        let said_id = said.map.vtag.map(|vtag| vtag.resource_id);
        let said_id = said_id.filter(|id| here.map.vtag.as_ref().is_some_and(|vtag| vtag.resource_id != *id));
        let expires = until(here.expires, said.expires);
        Ok(Self::new(here.map.to_json().into(), Arc::new(here.map), said_id, expires, pids))
    }

    /// To be kept: a line with the map and, where the server said something else of it, one with that.
    pub fn to_json(&self) -> Bytes {
        let mut lines = self.with((*self.map).clone(), |until| until.here).to_json();
        let differs = |until: &Until| until.here != until.said;
        if self.said_id.is_some() || self.expires.as_ref().is_some_and(differs) || self.pids.values().any(differs) {
            let mut said = self.said();
            said.map.pids.values_mut().for_each(|group| *group = AddressGroup::default());
            lines.push(b'\n');
            lines.extend(said.to_json());
        }
        lines.into()
    }

    fn until_of(&self, pid: &Pid) -> Option<Until> {
        self.pids.get(pid).copied().or(self.expires)
    }

    fn expires_of(&self, pid: &Pid) -> Option<Expires> {
        self.until_of(pid).map(|until| until.here)
    }

    fn expires(&self) -> Option<Expires> {
        self.expires.map(|until| until.here)
    }

    /// When the first of it expires; `None` where of something nobody said when it does. `asked`: PIDs that were asked for by name; that one
    /// of them is not there is right for as long as the map as a whole.
    pub fn earliest(&self, asked: &[Pid]) -> Option<SystemTime> {
        let first = if self.lacks(asked) { self.first.min(self.expires()) } else { self.first };
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
        let still_absent = !self.lacks(asked) || self.expires().is_some_and(|expires| !expires.is_past(now));
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
            pids.insert(pid.clone(), answer.until_of(pid).ok_or(Changed)?);
        }
        Ok(Self::new(self.text.clone(), self.map.clone(), self.said_id.clone(), self.expires, pids))
    }
}

#[cfg(test)]
mod tests;
