//! HTTP in front of [`history`]: the ALTO base protocol (RFC 7285) for clients, an admin listener for operators.
//!
//! | module | does |
//! | --- | --- |
//! | `listen` | bytes <-> requests: HTTP/1.1, HTTP/2, TLS; owns connections and streams, knows no ALTO |
//! | `services` | request -> answer, for the public: the directory, maps, queries |
//! | `transports` | a cursor in, the messages of one update protocol out |
//! | `admin` | request -> answer, for operators |
//! | `access` | who may see and change what |
//! | `expiring` | network maps that say until when they hold |
//! | `view`, `representation` | a snapshot with everything looked up, each resource with its header fields and codings made once |
//! | `negotiate`, `compress`, `reply` | which form a client wants, how it is made, how refusals are said |
//!
//! ```no_run
//! # async fn serve() -> Result<(), server::Error> {
//! use std::sync::Arc;
//! let publisher = Arc::new(history::Publisher::new(history::Limits::default(), history::Guard::default()));
//! let server = server::Server::bind(server::Options::default(), publisher, Arc::new(server::NoSources))?;
//! println!("http://{}/directory", server.public_addresses()[0]);
//! server.run(std::future::pending()).await
//! # }
//! ```
// What refuses a request is the reply to it: it is made once and sent, so its size does not matter.
#![allow(clippy::result_large_err)]

mod access;
mod admin;
mod compress;
mod error;
mod expiring;
mod files;
mod listen;
mod modified;
mod negotiate;
mod options;
mod reply;
mod representation;
mod server;
mod services;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation;
mod sources;
mod transports;
mod view;

pub use error::Error;
#[doc(hidden)]
pub use listen::serve_websocket_echo;
pub use options::{Limits, Options, TlsFiles};
pub use server::{Handle, Server};
pub use sources::{NoSources, SourceReport, SourceStatus, StoreStatus};
