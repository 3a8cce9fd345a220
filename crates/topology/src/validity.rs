//! How long what a source says holds, where it says so.
//!
//! A reader knows for how much longer ([`Stated`]); fusion knows since when, and makes instants of it ([`Validity`]). Invariant: it is no part of
//! what was seen. An observation that repeats the last one but for its validity changes no graph but what that says of its sources.
use alto::endpoint::Prefix;
use std::time::{Duration, SystemTime};

/// What a source states of itself; nothing where its format has no place for that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stated {
    /// From when the times count: when it was written, where somebody knows. Otherwise from when it was read.
    pub from: Option<SystemTime>,
    /// All that it says holds for so long, at least.
    pub whole: Option<Duration>,
    /// Single prefixes hold where they are for so long. Sorted by prefix.
    pub prefixes: Vec<(Prefix, Duration)>,
}

/// Until when what a source said last holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validity {
    /// All of it; `None`: it does not say.
    pub whole: Option<SystemTime>,
    /// Single prefixes. Sorted by prefix.
    prefixes: Vec<(Prefix, SystemTime)>,
}

impl Validity {
    /// Of what was read at `at`, and may be `max_age` old: the earlier counts.
    pub fn new(stated: Stated, at: SystemTime, max_age: Option<Duration>) -> Self {
        let Stated { from, whole, prefixes } = stated;
        let from = from.map_or(at, |from| from.min(at));
        let overdue = max_age.and_then(|age| at.checked_add(age));
        let until = |time: Duration| Some(from.checked_add(time)?.min(overdue.unwrap_or(far())));
        Self {
            whole: whole.and_then(until).or(overdue),
            prefixes: prefixes.into_iter().filter_map(|(prefix, time)| Some((prefix, until(time)?))).collect(),
        }
    }

    /// All of it until then.
    pub fn until(whole: Option<SystemTime>) -> Self {
        Self { whole, prefixes: Vec::new() }
    }

    /// Until when a prefix of this source is where it says.
    pub fn of(&self, prefix: &Prefix) -> Option<SystemTime> {
        match self.prefixes.binary_search_by(|(of, _)| of.cmp(prefix)) {
            Ok(at) => Some(self.prefixes[at].1),
            Err(_) => self.whole,
        }
    }

    /// Whether it says nothing at all.
    pub fn is_unknown(&self) -> bool {
        self.whole.is_none() && self.prefixes.is_empty()
    }
}

/// Later than anything, and yet an instant.
fn far() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) * 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_counts() {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let time = Duration::from_secs;
        let (a, b): (Prefix, Prefix) = ("192.0.2.0/24".parse().unwrap(), "198.51.100.0/24".parse().unwrap());
        for (from, whole, max_age, want_whole, want_a) in [
            (None, Some(60), None, Some(1060), Some(1090)),
            // Written before it was read; a clock that is ahead says nothing.
            (Some(900), Some(60), None, Some(960), Some(990)),
            (Some(2000), Some(60), None, Some(1060), Some(1090)),
            (None, Some(60), Some(30), Some(1030), Some(1030)),
            (None, Some(60), Some(80), Some(1060), Some(1080)),
            (None, None, Some(80), Some(1080), Some(1080)),
            (None, None, None, None, Some(1090)),
        ] {
            let stated = Stated { from: from.map(at), whole: whole.map(time), prefixes: vec![(a, time(90))] };
            let validity = Validity::new(stated, at(1000), max_age.map(time));
            assert_eq!((validity.whole, validity.of(&a), validity.of(&b)), (want_whole.map(at), want_a.map(at), want_whole.map(at)));
            assert!(!validity.is_unknown());
        }
        let endless = Stated { whole: Some(Duration::MAX), ..Stated::default() };
        assert_eq!(Validity::new(endless, at(1000), Some(Duration::MAX)).whole, None, "there is no such instant");
        assert!(Validity::new(Stated::default(), at(0), None).is_unknown());
    }
}
