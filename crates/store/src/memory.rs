//! Bytes kept as long as the process lives.
//!
//! Invariant: in all but that it answers as [`crate::Folder`] does; a batch is seen whole or not at all.
use crate::{Error, Store, Table, Usage, Write};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

type Tables = BTreeMap<Table, BTreeMap<Vec<u8>, Bytes>>;

/// Keeps bytes as long as the process lives.
#[derive(Debug, Default)]
pub struct Memory {
    tables: Mutex<Tables>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        // Nothing below panics between two steps of a batch.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    fn write(&self, batch: &[Write]) -> Result<(), Error> {
        let mut tables = self.lock();
        for write in batch {
            match write {
                Write::Put(table, key, value) => {
                    tables.entry(*table).or_default().insert(key.clone(), value.clone());
                }
                Write::Delete(table, key) => {
                    tables.entry(*table).or_default().remove(key);
                }
                Write::DeleteRange(table, from, to) => {
                    tables.entry(*table).or_default().retain(|key, _| key < from || key >= to);
                }
            }
        }
        Ok(())
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.lock().get(table).and_then(|table| table.get(key)).cloned())
    }

    fn scan(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Error> {
        // `each` may use the store itself, so the lock is not held while it runs.
        let found: Vec<(Vec<u8>, Bytes)> = match self.lock().get(table) {
            Some(table) if !is_empty(from, to) => {
                table.range::<[u8], _>((from, to)).map(|(key, value)| (key.clone(), value.clone())).collect()
            }
            _ => return Ok(()),
        };
        for (key, value) in found {
            if !each(&key, &value) {
                break;
            }
        }
        Ok(())
    }

    fn usage(&self) -> Usage {
        let bytes = self.lock().values().flatten().map(|(key, value)| (key.len() + value.len()) as u64).sum();
        Usage { folder: None, bytes, trouble: None }
    }
}

/// Whether no key can lie in there; [`BTreeMap::range`] panics at some of these.
pub(crate) fn is_empty(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to) | Bound::Included(to)) => from >= to,
    }
}
