//! Why a server cannot be started. (What a client did wrong is an answer: [`crate::reply`].)
use std::{io, net::SocketAddr, path::PathBuf};

/// One variant for each thing an operator does about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another program has the port.
    #[error("{what} listener: {address} is in use by another program; stop that one or choose another address")]
    AddressInUse {
        /// `public` or `admin`.
        what: &'static str,
        /// The one asked for.
        address: SocketAddr,
    },
    /// The system refuses the address.
    #[error("{what} listener: cannot listen on {address}")]
    Listen {
        /// `public` or `admin`.
        what: &'static str,
        /// The one asked for.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is nowhere to serve.
    #[error("no public address to listen on")]
    NoAddress,
    /// One port cannot have two listeners.
    #[error("{what} listener: {address} is named a second time")]
    AddressTwice {
        /// `public` or `admin`.
        what: &'static str,
        /// The one named twice.
        address: SocketAddr,
    },
    /// More threads than are of any use.
    #[error("{asked} workers are more than {max} (workers_max)")]
    Workers {
        /// How many were asked for.
        asked: usize,
        /// The bound.
        max: usize,
    },
    /// The admin listener would be open to everybody.
    #[error("admin listener: {address} can be reached from other machines, so it needs a token; set one or listen on 127.0.0.1")]
    AdminWithoutToken {
        /// The one asked for.
        address: SocketAddr,
    },
    /// The token cannot be sent in a header field (RFC 6750 section 2.1), or is empty.
    #[error("admin token: only letters, digits and -._~+/= may be in it, and at least one")]
    Token,
    /// Not an absolute http or https URL without query.
    #[error("public URL {url:?}: {why}")]
    PublicUrl {
        /// The one given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A certificate or key file cannot be read.
    #[error("TLS: cannot read {}", .path.display())]
    TlsFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A certificate or key file is not what it should be.
    #[error("TLS: {}: {why}", .path.display())]
    Tls {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system gives no thread or no runtime.
    #[error("cannot start a worker thread")]
    Thread(#[source] io::Error),
}

/// An error and what it came from, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
