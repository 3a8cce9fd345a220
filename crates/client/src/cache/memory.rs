//! Answers kept in memory.
//!
//! Invariant: the answers kept are at most `bytes_max` together ([`weight`]); the least recently used go first.
use super::{Kept, Key};
use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// What an answer was parsed into, so that using it again costs no parsing either.
pub(super) type Anything = dyn Any + Send + Sync;

/// Fields, URIs, tables: so that very many small answers are bounded, too.
const ENTRY_BYTES: usize = 1024;

/// Kept answers by what was asked.
#[derive(Debug, Default)]
pub(super) struct Memory {
    entries: HashMap<Arc<Key>, (u64, Kept<Anything>)>,
    /// The same by their last use.
    order: BTreeMap<u64, Arc<Key>>,
    bytes: usize,
    uses: u64,
}

impl Memory {
    pub fn get(&mut self, key: &Key) -> Option<Kept<Anything>> {
        let (used, kept) = self.entries.get_mut(key)?;
        self.uses += 1;
        let key = self.order.remove(used)?;
        self.order.insert(self.uses, key);
        *used = self.uses;
        Some(kept.clone())
    }

    pub fn put(&mut self, key: Key, kept: Kept<Anything>, bytes_max: usize) {
        self.remove(&key);
        // Nothing else goes for what would not stay either.
        let weight = weight(&key, &kept);
        if weight > bytes_max {
            return;
        }
        self.uses += 1;
        self.bytes += weight;
        let key = Arc::new(key);
        self.order.insert(self.uses, key.clone());
        self.entries.insert(key, (self.uses, kept));
        while self.bytes > bytes_max {
            let Some(oldest) = self.order.first_key_value().map(|(_, key)| key.clone()) else { return };
            self.remove(&oldest);
        }
    }

    pub fn remove(&mut self, key: &Key) {
        if let Some((used, gone)) = self.entries.remove(key) {
            self.order.remove(&used);
            self.bytes -= weight(key, &gone);
        }
    }
}

/// Bytes of texts, and what an entry has besides. What they were parsed into is about as large again.
fn weight(key: &Key, kept: &Kept<Anything>) -> usize {
    kept.body.len() + kept.beside + key.request.len() + ENTRY_BYTES
}

impl Clone for Kept<Anything> {
    fn clone(&self) -> Self {
        Self {
            uri: self.uri.clone(),
            validity: self.validity.clone(),
            body: self.body.clone(),
            beside: self.beside,
            value: Arc::clone(&self.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cache::Validity, clock::Clock, uri::Uri};
    use bytes::Bytes;
    use http::HeaderMap;

    fn kept(bytes: usize) -> Kept<Anything> {
        let now = Clock::system().now();
        let uri = Uri::parse("http://alto.test").unwrap();
        Kept { uri, validity: Validity::of(&HeaderMap::new(), now, now), body: vec![0; bytes - 10].into(), beside: 5, value: Arc::new(()) }
    }

    fn key(name: &str) -> Key {
        Key { uri: name.into(), media_type: "m", request: Bytes::from_static(b"12345") }
    }

    #[test]
    fn bound_holds_and_the_least_used_goes() {
        let max = 2 * (ENTRY_BYTES + 40) + 20;
        let mut memory = Memory::default();
        memory.put(key("a"), kept(40), max);
        memory.put(key("b"), kept(40), max);
        assert!(memory.get(&key("a")).is_some());
        memory.put(key("c"), kept(40), max);
        assert!(memory.get(&key("b")).is_none(), "b was used least recently");
        assert!(memory.get(&key("a")).is_some());
        assert!(memory.get(&key("c")).is_some());
        memory.put(key("d"), kept(max), max);
        assert!(memory.get(&key("d")).is_none(), "larger than the whole cache");
        assert_eq!(memory.bytes, 2 * (ENTRY_BYTES + 40), "and the others stay");
    }

    #[test]
    fn replacing_and_removing_free_the_old_one() {
        let mut memory = Memory::default();
        memory.put(key("a"), kept(40), 10_000);
        memory.put(key("a"), kept(50), 10_000);
        assert_eq!((memory.bytes, memory.order.len()), (ENTRY_BYTES + 50, 1));
        memory.remove(&key("a"));
        assert_eq!((memory.bytes, memory.order.len()), (0, 0));
    }
}
