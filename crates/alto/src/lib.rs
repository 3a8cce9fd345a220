//! The language of ALTO: types and JSON of RFC 7285 and its extensions. No I/O, no clock, no async.
//!
//! A map of the crate: [`id`], [`endpoint`], [`cost`] hold what documents are made of, parsed once and trusted after;
//! [`directory`], [`network_map`], [`cost_map`], [`endpoint_property`], [`endpoint_cost`] and [`error`] each hold one
//! resource body with the requests for it; [`Document`] is any of those bodies. Every body has `from_json`, strict, which
//! answers with the error body the RFC wants, and `to_json`, compact. [`expiry`] says until when a map is valid; [`updates`]
//! has the bodies of the update protocols, [`patch`] the two languages of change. [`check`] reads tolerantly and says
//! everything that is wrong.
pub mod check;
mod constraint;
pub mod cost;
pub mod cost_map;
pub mod directory;
mod document;
pub mod endpoint;
pub mod endpoint_cost;
pub mod endpoint_property;
pub mod error;
pub mod expiry;
pub mod id;
mod json;
mod limits;
mod matrix;
pub mod media_type;
mod meta;
pub mod network_map;
pub mod patch;
mod query;
pub mod updates;

pub use document::{Document, Kind};
pub use error::ErrorBody;
pub use limits::Limits;
