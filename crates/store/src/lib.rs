//! Durable bytes: tables of keys and values, written in batches that are on disk when `write` returns, whole or not at all.
//!
//! The only `fsync` of the project. [`Memory`] keeps nothing; [`Folder`] keeps one file. Invariant: a batch whose `write` returned is there
//! after any end of the process, under it every batch before; of one that failed there is all or nothing.
mod engine;
mod error;
mod folder;
mod memory;
pub mod simulated;

use bytes::Bytes;
pub use error::{Error, OpenError};
pub use folder::Folder;
pub use memory::Memory;
use std::{ops::Bound, path::PathBuf};

/// Names a table.
pub type Table = &'static str;

/// Whether a panic of this thread would become an [`Error`] or [`OpenError`]: the engine panics on some damaged files. A program's panic
/// hook that asks need not print what is going to be told properly.
pub fn catches_panics() -> bool {
    engine::catches_panics()
}

/// One step of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets a key.
    Put(Table, Vec<u8>, Bytes),
    /// Takes a key away, if it is there.
    Delete(Table, Vec<u8>),
    /// Takes away all keys from the first (included) to the second (excluded).
    DeleteRange(Table, Vec<u8>, Vec<u8>),
}

impl Write {
    fn table(&self) -> Table {
        let (Self::Put(table, ..) | Self::Delete(table, _) | Self::DeleteRange(table, ..)) = self;
        table
    }
}

/// How much is kept, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The data folder; `None`: in memory only.
    pub folder: Option<PathBuf>,
    /// Bytes on disk, or held.
    pub bytes: u64,
    /// Why the last write failed; `None` since one succeeded.
    pub trouble: Option<String>,
}

/// Where bytes are kept. Any number of threads may use one.
pub trait Store: Send + Sync + 'static {
    /// Does all of it or nothing, in order; durable when it returns.
    fn write(&self, batch: &[Write]) -> Result<(), Error>;
    /// The value of a key.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Error>;
    /// Every key from `from` to before `to` with its value, in the order of the keys; stops when `each` says `false`.
    fn scan(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Error>;
    /// For an operator; cheap enough to ask every second.
    fn usage(&self) -> Usage {
        Usage { folder: None, bytes: 0, trouble: None }
    }
}
