//! Another network than the system's: for a simulation.
pub use crate::http::Io;
use std::{fmt, future::Future, io, pin::Pin};

/// A connection that is being made.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send + 'a>>;

/// Where connections come from.
pub trait Network: fmt::Debug + Send + Sync {
    /// A connection to the one server that there is, without TLS.
    fn connect(&self) -> Connecting<'_>;
}
