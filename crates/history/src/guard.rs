//! The change guard: a new network map that moves more than a set share of prefixes waits for somebody to confirm it.
//!
//! A source that breaks tends to move everything at once. What was computed from sources is held until it is confirmed or a
//! newer computation is back within bounds; the last good maps stay. What a person publishes is refused with the same words. Unit:
//! shares from 0 to 1 of the prefixes that have a PID.
use alto::{endpoint::Prefix, id::ResourceId};
use maps::{PidIx, guidance::NetworkView};
use std::{cmp::Ordering, fmt, time::SystemTime};

/// How much may move unconfirmed. Shares are of the prefixes in a PID, 0 to 1; 1 lets everything pass.
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
    /// Prefixes that were in a PID.
    pub of: usize,
    /// The share allowed.
    pub share_max: f64,
}

impl Moved {
    /// From 0 to 1.
    pub fn share(&self) -> f64 {
        if self.of == 0 { 0.0 } else { self.prefixes as f64 / self.of as f64 }
    }

    /// What changes between two versions of a network map, over the prefixes of both: one moves when it was in a PID, by an
    /// entry of its own or of a longer block, and is in another, by name, or in none. What no block had, or only the default
    /// route, is new and moves nothing: a network that grows is no accident. Where the maps divide the space unlike, the first
    /// address speaks for the prefix.
    pub(crate) fn between(old: &NetworkView, new: &NetworkView, share_max: f64) -> Self {
        let (before, after) = (prefixes(old), prefixes(new));
        let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
        let (mut moved, mut of) = (0, 0);
        loop {
            let order = match (before.peek(), after.peek()) {
                (Some((old, _)), Some((new, _))) => old.cmp(new),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            let was = (order != Ordering::Greater).then(|| before.next()).flatten();
            let is = (order != Ordering::Less).then(|| after.next()).flatten();
            let (from, to) = match (was, is) {
                (Some((_, from)), Some((_, to))) => (*from, Some(*to)),
                (Some((prefix, from)), None) => (*from, new.table.lookup(prefix.address())),
                (None, Some((prefix, to))) => match old.table.lookup_prefix(prefix.address()) {
                    Some((block, from)) if block.length() > 0 => (from, Some(*to)),
                    _ => continue,
                },
                (None, None) => break,
            };
            of += 1;
            if to.map(|to| new.pid(to)) != Some(old.pid(from)) {
                moved += 1;
            }
        }
        Self { resource: new.id.clone(), prefixes: moved, of, share_max }
    }

    pub(crate) fn too_much(&self) -> bool {
        self.share() > self.share_max
    }
}

fn prefixes(view: &NetworkView) -> Vec<(Prefix, PidIx)> {
    let groups = (0..).map(PidIx).zip(view.map().pids.values());
    let mut prefixes: Vec<(Prefix, PidIx)> =
        groups.flat_map(|(place, group)| group.ipv4.iter().chain(&group.ipv6).map(move |prefix| (*prefix, place))).collect();
    prefixes.sort_unstable();
    prefixes
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, prefixes, of, share_max } = self;
        let (share, max) = (100.0 * self.share(), 100.0 * share_max);
        write!(
            f,
            "{prefixes} of {of} prefixes of {resource} ({share:.1} %) to another PID; without confirmation at most {max:.1} % may move"
        )
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
