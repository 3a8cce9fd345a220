//! Versions of everything the server says, one commit after the other.
//!
//! [`Publisher`] takes changes, composes the next [`maps::guidance::Guidance`], gives each resource whose content changed its next
//! [`Version`], and swaps one immutable [`Snapshot`]. Readers load the snapshot and never wait for a writer.
mod chain;
mod error;
mod guard;
mod limits;
mod patch;
mod publisher;
mod version;

pub use error::Error;
pub use guard::{Guard, Held, Moved};
pub use limits::Limits;
pub use publisher::{Change, Commit, Publisher};
pub use version::{Coding, Seq, Snapshot, Version, VersionInfo};
