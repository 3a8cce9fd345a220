//! Versions of everything the server says, one commit after the other, and the way from each to the next.
//!
//! [`Publisher`] takes changes, composes the next [`maps::guidance::Guidance`], gives each resource whose content changed its next
//! [`Version`], writes all of it to the log, and swaps one immutable [`Snapshot`]. Readers load the snapshot and never wait for a writer.
//! Who follows a resource opens its [`View`], a chain of versions with the patches between them, and reads it with a [`Cursor`].
mod chain;
mod change;
mod chores;
mod compose;
mod edge;
mod error;
mod folders;
mod guard;
mod limits;
mod patch;
mod persist;
mod post;
mod publisher;
mod record;
mod restore;
mod version;
mod view;
mod views;
mod writer;

pub use change::{Change, Commit};
pub use error::{Error, OpenError};
pub use folders::FolderId;
pub use guard::{Guard, Held, Moved};
pub use limits::Limits;
pub use persist::RestoreError;
pub use publisher::Publisher;
pub use version::{Coding, Seq, Snapshot, Version, VersionInfo};
pub use view::{Accepts, Cursor, Item, NoEdge, Range, Start, View, ViewId};
