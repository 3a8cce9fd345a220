//! The change guard: a new network map that moves more than a set share of prefixes waits for somebody to confirm it.
//!
//! A source that breaks tends to move everything at once. What was computed from sources is held until it is confirmed or a
//! newer computation is back within bounds; the last good maps stay. What a person publishes is refused with the same words.
use alto::{endpoint::Prefix, id::ResourceId};
use maps::{PidIx, guidance::NetworkView};
use std::{fmt, time::SystemTime};

/// How much may move unconfirmed. Shares are of the prefixes of the map as it is, 0 to 1; 1 lets everything pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guard {
    /// For maps computed from sources. 0.5: no single router or link of a real network moves half of it.
    pub computed_moved_share_max: f64,
    /// For maps published by an operator, who is there to see what happens. 1: off.
    pub published_moved_share_max: f64,
}

impl Default for Guard {
    fn default() -> Self {
        Self { computed_moved_share_max: 0.5, published_moved_share_max: 1.0 }
    }
}

/// How much of a network map a change moves.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    /// The network map.
    pub resource: ResourceId,
    /// Prefixes whose PID changes.
    pub prefixes: usize,
    /// Prefixes of the map as it is.
    pub of: usize,
    /// The share allowed.
    pub share_max: f64,
}

impl Moved {
    /// From 0 to 1.
    pub fn share(&self) -> f64 {
        if self.of == 0 { 0.0 } else { self.prefixes as f64 / self.of as f64 }
    }

    /// What changes between two versions of a network map: a prefix of the old one moves when the new one has it, or with it
    /// the addresses it started with, in another PID by name or in none. A prefix that only the new one has moves nothing:
    /// a network that grows is no accident.
    pub(crate) fn between(old: &NetworkView, new: &NetworkView, share_max: f64) -> Self {
        let mut places: Vec<(Prefix, PidIx)> = prefixes(new).collect();
        places.sort_unstable();
        let now = |prefix: &Prefix| match places.binary_search_by_key(prefix, |(prefix, _)| *prefix) {
            Ok(at) => Some(places[at].1),
            Err(_) => new.table.lookup(prefix.address()),
        };
        let (mut moved, mut of) = (0, 0);
        for (prefix, before) in prefixes(old) {
            of += 1;
            if now(&prefix).map(|place| new.pid(place)) != Some(old.pid(before)) {
                moved += 1;
            }
        }
        Self { resource: new.id.clone(), prefixes: moved, of, share_max }
    }

    pub(crate) fn too_much(&self) -> bool {
        self.share() > self.share_max
    }
}

fn prefixes(view: &NetworkView) -> impl Iterator<Item = (Prefix, PidIx)> {
    let groups = (0..).map(PidIx).zip(view.map().pids.values());
    groups.flat_map(|(place, group)| group.ipv4.iter().chain(&group.ipv6).map(move |prefix| (*prefix, place)))
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, prefixes, of, share_max } = self;
        let (share, max) = (100.0 * self.share(), 100.0 * share_max);
        write!(f, "{prefixes} of {of} prefixes of {resource} ({share:.1} %) to another PID; without confirmation at most {max:.1} % may move")
    }
}

/// A computed change that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// What it would move.
    pub moved: Moved,
    /// Since when a change is held; newer computations replace the change, not the time.
    pub since: SystemTime,
}
