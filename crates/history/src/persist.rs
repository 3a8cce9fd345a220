//! Records on disk: a [`Record`] becomes one batch of [`store::Write`]s, and a store becomes [`Restored`].
use crate::record::{Record, Restored};
use std::sync::Arc;
use store::Store;

/// Why a log was not taken up. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It could not be read.
    #[error("cannot read the log: {0}")]
    Store(#[from] store::Error),
    /// A later version of the program wrote it.
    #[error("the log has format {found}, this program knows up to {known}: start the newer altocast again, or name another data folder")]
    Newer {
        /// Its format.
        found: u32,
        /// The newest we read.
        known: u32,
    },
    /// What is in it does not fit together.
    #[error("the log is damaged: {0}")]
    Damaged(String),
}

/// The log of all commits in a store.
pub(crate) struct Log {
    store: Arc<dyn Store>,
    epoch: Box<str>,
}

#[allow(unused_variables)]
impl Log {
    /// Takes up the log in `store`, or begins one there that is named `fresh_epoch` (any text of letters and digits that no other log has).
    pub(crate) fn open(store: Arc<dyn Store>, fresh_epoch: &str) -> Result<(Self, Option<Restored>), RestoreError> {
        todo!()
    }

    /// Made once with the log.
    pub(crate) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Writes commits that follow each other, all or none; durable when it returns.
    pub(crate) fn write(&self, records: &[Record]) -> Result<(), store::Error> {
        todo!()
    }
}
