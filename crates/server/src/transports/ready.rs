//! Updates in the form that clients are sent, made once and kept for the next who asks.
//!
//! Invariant: at most `bytes_max` are kept, or one item that alone is larger; whoever asks while an item is made waits for it, so it is made once.
use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// The newest of them, by key.
#[derive(Debug)]
pub(crate) struct Ready<K, V> {
    bytes_max: usize,
    kept: Mutex<Kept<K, V>>,
}

#[derive(Debug)]
struct Kept<K, V> {
    items: HashMap<K, (Arc<OnceLock<V>>, usize)>,
    /// Oldest first.
    order: VecDeque<K>,
    bytes: usize,
}

impl<K: Eq + Hash + Clone, V: Clone> Ready<K, V> {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, kept: Mutex::new(Kept { items: HashMap::new(), order: VecDeque::new(), bytes: 0 }) }
    }

    /// The item of this key, made from `bytes` bytes by the first who asks.
    pub(crate) fn get(&self, key: K, bytes: usize, make: impl FnOnce() -> V) -> V {
        // Each item costs a little besides its content.
        let weight = bytes + 256;
        let cell = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((cell, _)) = kept.items.get(&key) {
                cell.clone()
            } else {
                let cell = Arc::new(OnceLock::new());
                kept.items.insert(key.clone(), (cell.clone(), weight));
                kept.order.push_back(key);
                kept.bytes += weight;
                while kept.bytes > self.bytes_max && kept.order.len() > 1 {
                    let oldest = kept.order.pop_front().expect("there are two at least");
                    let (_, weight) = kept.items.remove(&oldest).expect("what is in the order is there");
                    kept.bytes -= weight;
                }
                cell
            }
        };
        cell.get_or_init(make).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_and_bounded() {
        let ready = Ready::new(3 * 356);
        for at in 0..10 {
            assert_eq!(ready.get(at, 100, || at), at);
            assert_eq!(ready.get(at, 100, || unreachable!("it is kept")), at);
        }
        let kept = |ready: &Ready<i32, i32>| ready.kept.lock().unwrap().items.len();
        assert_eq!(kept(&ready), 3);
        assert_eq!(ready.get(0, 100, || 77), 77, "the oldest left");
        // One that is too large is kept alone: its clients come at once.
        assert_eq!(ready.get(11, 1 << 20, || 11), 11);
        assert_eq!(kept(&ready), 1);
        assert_eq!(ready.get(12, 100, || 12), 12);
        assert_eq!(kept(&ready), 1);
    }
}
