//! Why bytes were not kept or found, in words for an operator.
use std::path::PathBuf;

/// Why bytes were not kept or found. Nothing of a batch that failed is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// Why a data folder was not opened; one variant for each thing an operator does about it. Nothing in the folder was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the data folder {} is in use by {}", folder.display(), name(*process))]
    InUse {
        /// Which.
        folder: PathBuf,
        /// Who, as far as it said.
        process: Option<u32>,
    },
    /// It cannot be made, read or written.
    #[error("cannot use the data folder {}: {why}", folder.display())]
    NotUsable {
        /// Which.
        folder: PathBuf,
        /// What the system says.
        why: String,
    },
    /// No room to begin.
    #[error("no room for the data folder {}: {why}", folder.display())]
    Full {
        /// Which.
        folder: PathBuf,
        /// What the system says.
        why: String,
    },
    /// What is in it is not what we wrote.
    #[error("{} is damaged: {why}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A later version of the program wrote it.
    #[error("{} was written by a newer version: {why}", file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// Which, as far as can be told.
        why: String,
    },
}

fn name(process: Option<u32>) -> String {
    process.map_or_else(|| "another process".into(), |process| format!("process {process}"))
}
