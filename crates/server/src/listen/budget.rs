//! Memory that clients make us hold beyond what a connection costs: long request bodies, and answers computed for one client that it
//! has still to take.
//!
//! Invariant: what is held is at most `bytes_max`, whatever the number of connections; who comes when it is full is told to try again.
use bytes::Bytes;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// What is held for all clients of a listener together.
pub(crate) struct Budget {
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), bytes_max })
    }

    /// How much of it is taken.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    pub(crate) fn share(self: &Arc<Self>) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }
}

/// The part of it that one body has, given back with the body.
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    /// Takes so many bytes more; `false` when there is no room for them.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let max = self.budget.bytes_max;
        let grown = |held: usize| held.checked_add(bytes).filter(|held| *held <= max);
        let room = self.budget.bytes.fetch_update(Relaxed, Relaxed, grown).is_ok();
        if room {
            self.bytes += bytes;
        }
        room
    }

    /// Gives all of it back.
    pub(crate) fn clear(&mut self) {
        self.budget.bytes.fetch_sub(std::mem::take(&mut self.bytes), Relaxed);
    }

    /// The body, which keeps the share as long as anybody has a part of it.
    pub(crate) fn of(self, body: impl Into<Bytes>) -> Bytes {
        Bytes::from_owner(Shared { body: body.into(), _share: self })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.bytes.fetch_sub(self.bytes, Relaxed);
    }
}

struct Shared {
    body: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_given_back_with_the_last_part() {
        let budget = Budget::new(10);
        let (mut one, mut two) = (budget.share(), budget.share());
        assert!(one.grow(6) && !two.grow(5) && two.grow(4) && !one.grow(usize::MAX));
        let mut body = one.of(vec![0; 6]);
        let part = body.split_to(2);
        drop(body);
        assert!(!two.grow(1));
        drop(part);
        assert!(two.grow(6));
        drop(two);
        assert_eq!(budget.bytes(), 0);
    }
}
