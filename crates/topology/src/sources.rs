//! Readers: one per kind of input, each a pure function from bytes to an [`Observation`](crate::observation::Observation).
//!
//! Units are those of [`crate::observation`]. Invariant: a reader never panics and never gives part of a file it could not read whole;
//! what it tolerates it names in [`Observation::oddities`](crate::observation::Observation::oddities).
mod aws;
mod csv;
mod error;
#[cfg(feature = "net")]
pub mod file;
mod frr_ospf;
mod frr_te;
mod graphml;
mod ietf_network;
mod json;
mod latency;
mod options;
mod place;
mod prefix_csv;
mod read;
mod repetita;

pub use aws::Series;
pub use error::{Error, Fault, Place};
pub use options::{BandwidthFrom, Columns, DelayFrom, Limits, Options, SourceKind, Unit, UnknownKind};
pub use read::read;

/// One file of a source: its name for messages and its content, gzip or plain.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// What to call it in messages.
    pub name: &'a str,
    /// Its content.
    pub bytes: &'a [u8],
}
