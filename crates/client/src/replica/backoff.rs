//! How long to wait before trying again: exponential, bounded, half of it by chance, so that clients which lost one server at one time do not
//! come back at one time.
use std::time::Duration;

/// See the module. Its chance comes from a seed: a simulation repeats itself.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    random: u64,
}

impl Backoff {
    pub fn new(min: Duration, max: Duration, seed: u64) -> Self {
        // xorshift must not start at 0.
        Self { min, max: max.max(min), failures: 0, random: seed | 1 }
    }

    /// A failure more: how long to wait, at least what the server asked for.
    pub fn next(&mut self, asked: Duration) -> Duration {
        let grown = self.min.saturating_mul(1 << self.failures.min(20)).min(self.max);
        self.failures += 1;
        let by_chance = grown / 2 + grown.mul_f64(self.chance() / 2.0);
        if asked.is_zero() { by_chance } else { by_chance.max(asked + (asked / 10).mul_f64(self.chance())) }
    }

    /// Something came through: the next failure is not the tenth in a row.
    pub fn eased(&mut self) {
        self.failures = self.failures.min(1);
    }

    /// All is well.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// From 0 to 1.
    fn chance(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIN: Duration = Duration::from_millis(250);
    const MAX: Duration = Duration::from_secs(30);

    proptest! {
        #[test]
        fn waits_grow_to_their_bound_and_no_further(seed: u64) {
            let mut backoff = Backoff::new(MIN, MAX, seed);
            for failures in 0..40u32 {
                let grown = MIN.saturating_mul(1 << failures.min(20)).min(MAX);
                let wait = backoff.next(Duration::ZERO);
                prop_assert!(grown / 2 <= wait && wait <= grown, "{wait:?} after {failures} failures");
            }
            backoff.eased();
            prop_assert!(backoff.next(Duration::ZERO) <= MIN * 2);
            backoff.reset();
            prop_assert!(backoff.next(Duration::ZERO) <= MIN);
        }

        /// RFC 9110 section 10.2.3: `Retry-After` is kept.
        #[test]
        fn what_the_server_asks_for_is_waited(seed: u64, seconds in 1u64..1000) {
            let asked = Duration::from_secs(seconds);
            let wait = Backoff::new(MIN, MAX, seed).next(asked);
            prop_assert!(asked <= wait && wait <= asked + asked / 10);
        }
    }

    #[test]
    fn clients_spread() {
        let waits: std::collections::BTreeSet<_> = (0..1000)
            .map(|seed: u64| Backoff::new(MIN, MAX, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)).next(Duration::ZERO).as_millis())
            .collect();
        assert!(waits.len() > 80, "{} different milliseconds of 125", waits.len());
    }
}
