//! Until when the maps hold (draft-alto-caching-subscription section 7): what the sources say of themselves, and what an operator promises.
//!
//! What a source says is an instant, and is taken as it is, also when it is past. What an operator promises is a lifetime: whoever asks gets at
//! least half of it and at most all of it, on a grid of halves that begins with the version, so that all who ask between two of its points get
//! the same bytes. Of both the earlier counts. Unit: whole seconds, rounded down to what holds. Invariants: none of it is part of a content or
//! its tag; what is said depends on the versions, the sources, the rules and the time, which is an argument, and on nothing that was said before.
use crate::{PidIx, glob::Glob, guidance::NetworkView, partition::Partition};
use alto::{
    expiry::{Expires, ExpiringNetworkMap},
    id::{Pid, ResourceId},
    network_map::NetworkMap,
};
use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use topology::graph::Graph;

/// Until when computed maps hold, by what their sources say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// When the youngest of the sources was observed.
    pub since: SystemTime,
    /// All that went into the maps: the earliest of the sources; `None` when one of them does not say.
    pub whole: Option<SystemTime>,
    /// By [`PidIx`]: the earliest of the prefixes in it of which something is known. A PID without a prefix of any source, which has
    /// what the others leave, holds as long as all of them. Empty when nothing is known of any.
    pub pids: Vec<Option<SystemTime>>,
}

impl Validity {
    /// Of a graph and the partition of its prefixes.
    pub(crate) fn of(graph: &Graph, partition: &Partition) -> Self {
        let since = graph.sources.iter().map(|source| source.observed_at).max().unwrap_or(UNIX_EPOCH);
        let whole = graph.sources.iter().map(|source| source.validity.whole).min().flatten();
        if graph.sources.iter().all(|source| source.validity.is_unknown()) {
            return Self { since, whole, pids: Vec::new() };
        }
        // `None` inside: something is there of which nothing is known.
        let mut pids: Vec<Option<Option<SystemTime>>> = vec![None; partition.pids.len()];
        for (at, place) in graph.prefixes.iter().zip(&*partition.placed) {
            let Some(known) = place.and_then(|place| pids.get_mut(place.0 as usize)) else { continue };
            let until = graph.sources[usize::from(at.source.0)].validity.of(&at.prefix);
            *known = Some(known.flatten().into_iter().chain(until).min());
        }
        let rest = pids.iter().flatten().copied().min().flatten();
        Self { since, whole, pids: pids.into_iter().map(|known| known.unwrap_or(rest)).collect() }
    }
}

/// What an operator promises. In a list of them the first counts that fits: for a resource as a whole of those without a PID, for a PID of
/// those with one, which go before the promise for its map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which resources.
    pub resource: Glob,
    /// Which PIDs of the network maps among them; `None`: the resources as a whole.
    pub pid: Option<Glob>,
    /// How long an answer holds, in seconds; at least [`LIFETIME_SECONDS_MIN`].
    pub lifetime_seconds: u64,
}

/// The shortest lifetime: half of it is a whole second.
pub const LIFETIME_SECONDS_MIN: u64 = 2;

/// The longest lifetime: a year, as caches commonly have it.
pub const LIFETIME_SECONDS_MAX: u64 = 365 * 24 * 3600;

/// A lifetime that is promised anew every half of it, counted from a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lifetime {
    /// Second of the commit.
    from: u64,
    half: u64,
}

impl Lifetime {
    fn new(rule: &Rule, from: u64) -> Self {
        Self { from, half: (rule.lifetime_seconds / 2).max(1) }
    }

    /// Which point of the grid it is: the first that is at least half a lifetime away.
    fn point(self, now: SystemTime) -> u64 {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let passed = (now + Duration::from_nanos(999_999_999)).as_secs().saturating_sub(self.from);
        passed.div_ceil(self.half) + 1
    }

    fn expires(self, now: SystemTime) -> Expires {
        Expires::from_unix(self.from.saturating_add(self.point(now).saturating_mul(self.half)))
    }

    /// Since when it says this.
    fn since(self, now: SystemTime) -> u64 {
        self.from.saturating_add((self.point(now).saturating_sub(2)).saturating_mul(self.half))
    }
}

/// Until when one thing holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Term {
    until: Option<Expires>,
    lifetime: Option<Lifetime>,
}

impl Term {
    /// Of a resource as a whole that was committed at `from`, of whose sources `own` is known.
    pub fn of_resource(id: &ResourceId, own: Option<SystemTime>, rules: &[Rule], from: SystemTime) -> Self {
        let rule = rules.iter().find(|rule| rule.pid.is_none() && rule.resource.matches(id.as_str()));
        let from = Expires::at(from).unix();
        Self { until: own.map(Expires::at), lifetime: rule.map(|rule| Lifetime::new(rule, from)) }
    }

    /// Whether anything is known.
    pub fn is_known(&self) -> bool {
        self.until.is_some() || self.lifetime.is_some()
    }

    /// Until when it holds for who asks now.
    pub fn expires(&self, now: SystemTime) -> Option<Expires> {
        self.until.into_iter().chain(self.lifetime.map(|lifetime| lifetime.expires(now))).min()
    }
}

/// Until when a network map holds, PID by PID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapTerms {
    /// When the version was committed or, where they say something, the sources last observed.
    since: u64,
    /// By [`PidIx`].
    pids: Vec<Term>,
    /// Whether something is known of each of them.
    complete: bool,
    /// The first date among them.
    first: Option<Expires>,
    /// Their lifetimes, each once.
    lifetimes: Vec<Lifetime>,
}

impl MapTerms {
    /// Of a network map that was committed at `from`; `None` when nothing is known of any PID. `own` is what its sources say.
    pub fn new(view: &NetworkView, own: Option<&Validity>, rules: &[Rule], from: SystemTime) -> Option<Self> {
        let whole = Term::of_resource(&view.id, None, rules, from);
        let by_pid: Vec<(&Glob, Lifetime)> = rules
            .iter()
            .filter(|rule| rule.resource.matches(view.id.as_str()))
            .filter_map(|rule| Some((rule.pid.as_ref()?, Lifetime::new(rule, Expires::at(from).unix()))))
            .collect();
        let stated = own.map_or(&[][..], |own| &own.pids);
        let term = |(at, pid): (usize, &Pid)| Term {
            until: stated.get(at).copied().flatten().map(Expires::at),
            lifetime: by_pid.iter().find(|(glob, _)| glob.matches(pid.as_str())).map(|(_, lifetime)| *lifetime).or(whole.lifetime),
        };
        let pids: Vec<Term> = view.pids.iter().enumerate().map(term).collect();
        // What a map without PIDs says is what it says of all.
        let said = if pids.is_empty() { std::slice::from_ref(&whole) } else { &pids };
        let mut lifetimes: Vec<Lifetime> = Vec::new();
        for lifetime in said.iter().filter_map(|term| term.lifetime) {
            if !lifetimes.contains(&lifetime) {
                lifetimes.push(lifetime);
            }
        }
        let complete = said.iter().all(Term::is_known);
        let first = said.iter().filter_map(|term| term.until).min();
        let since = own.filter(|_| !stated.is_empty()).map_or(from, |own| own.since.max(from));
        let known = first.is_some() || !lifetimes.is_empty();
        known.then(|| Self { since: Expires::at(since).unix(), pids, complete, first, lifetimes })
    }

    /// When the first PID expires; `None` when there is one of which nothing is known.
    pub fn earliest(&self, now: SystemTime) -> Option<Expires> {
        let promised = self.lifetimes.iter().map(|lifetime| lifetime.expires(now));
        promised.chain(self.first).min().filter(|_| self.complete)
    }

    /// Since when what is said has been the same.
    pub fn since(&self, now: SystemTime) -> SystemTime {
        let lifetimes = self.lifetimes.iter().map(|lifetime| lifetime.since(now));
        Expires::from_unix(lifetimes.chain([self.since]).max().unwrap_or(self.since)).instant()
    }

    /// Differs between two instants at which something else is said.
    pub fn moment(&self, now: SystemTime) -> Vec<u64> {
        self.lifetimes.iter().map(|lifetime| lifetime.point(now)).collect()
    }

    /// The whole map for who asks now. One date says it where all PIDs have the same; where they differ it is the earliest, which is beside
    /// the PIDs that have a later one.
    pub fn map(&self, view: &NetworkView, now: SystemTime) -> ExpiringNetworkMap {
        let expires = self.earliest(now);
        let of = |(pid, term): (&Pid, &Term)| Some((pid.clone(), term.expires(now).filter(|own| Some(*own) != expires)?));
        let pids = view.pids.iter().zip(&self.pids).filter_map(of).collect();
        ExpiringNetworkMap { map: NetworkMap { vtag: Some(view.vtag()), pids: view.map().pids.clone() }, expires, pids }
    }

    /// Some PIDs and their addresses, each with its own date.
    pub(crate) fn part(&self, view: &NetworkView, map: NetworkMap, places: &[PidIx], now: SystemTime) -> ExpiringNetworkMap {
        let of = |place: &PidIx| Some((view.pid(*place).clone(), self.pids.get(place.0 as usize)?.expires(now)?));
        let pids: BTreeMap<Pid, Expires> = places.iter().filter_map(of).collect();
        ExpiringNetworkMap { map, expires: None, pids }
    }
}

#[cfg(test)]
mod tests;
