//! An ALTO client (RFC 7285): finds resources through the directory, asks them, keeps what may be used again, ranks endpoints.
//!
//! A map of the crate: [`Client`] asks; [`Catalog`] is what the directories offer and chooses; `rank` answers which endpoint is nearest;
//! [`Replica`] keeps copies current over `transports`; [`Admin`] speaks to an altocast server's admin listener. Below them: `cache` (RFC 9111), `http` (connections), `tls`, `uri`.
//!
//! ```no_run
//! # async fn example() -> Result<(), client::Error> {
//! let client = client::Client::new(client::Options::new("http://127.0.0.1:6671"))?;
//! let source = "ipv4:192.0.2.1".parse().expect("an address");
//! let candidates = ["ipv4:198.51.100.7", "ipv4:203.0.113.9"].map(|text| text.parse().expect("an address"));
//! let ranking = client.rank(&source, &candidates, &alto::cost::Metric::routingcost()).await?;
//! assert!(ranking.ranked.len() <= 2);
//! # Ok(())
//! # }
//! ```
//!
//! What was asked once is not asked again while the server said that it is right, and an answer says until when that is. What expired is
//! asked for again: by its tag, or of a network map with an expiry for each PID only the PIDs that expired. With a folder all this outlives the
//! client, and several processes share it:
//!
//! ```no_run
//! # async fn example() -> Result<(), client::Error> {
//! use client::{Client, Freshness, Options};
//! use std::time::Duration;
//! let mut options = Options::new("http://127.0.0.1:6671");
//! options.cache_folder = Some("/var/cache/my-program/alto".into());
//! // Without this an answer that expired is an error when the server cannot be reached.
//! options.stale_if_unreachable = Some(Duration::from_secs(3600));
//! let map = Client::new(options)?.network_map(None).await?;
//! match map.freshness {
//!     Freshness::Fresh { until } => println!("right until {until:?}"),
//!     Freshness::Confirmed => println!("right when it was asked for"),
//!     Freshness::Stale { since } => println!("expired {since:?}"),
//! }
//! # Ok(())
//! # }
//! ```
mod admin;
mod cache;
mod catalog;
#[allow(clippy::module_inception)]
mod client;
mod clock;
mod error;
mod explanation;
mod http;
mod options;
mod rank;
pub mod replica;
#[cfg(any(test, feature = "simulation"))]
#[doc(hidden)]
pub mod simulation;
mod tap;
mod tls;
mod transports;
mod uri;

pub use admin::{Admin, Confirmation, Patch, Published};
pub use cache::forget_answers;
pub use catalog::{Catalog, Offer, Service};
pub use client::{Answer, Client, Freshness};
pub use clock::Clock;
pub use error::{Error, Words};
pub use explanation::{AppliedRule, Explanation, Leg, LinkPart, Provenance};
pub use http::{Ask, Reply};
pub use options::{Limits, Options, Protocol};
pub use rank::{Answerer, Ranked, Ranking, prefers_high};
pub use replica::Replica;
pub use uri::Uri;
