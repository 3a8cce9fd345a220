//! HTTP in front of [`history`]: the ALTO base protocol (RFC 7285) for clients, an admin listener for operators.
mod admin;
mod error;
mod options;
mod server;
mod sources;

pub use error::Error;
pub use options::{Limits, Options, TlsFiles};
pub use server::{Handle, Server};
pub use sources::{NoSources, SourceReport, SourceStatus};
