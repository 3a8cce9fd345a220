//! The language of ALTO: types and JSON of RFC 7285 and its extensions. No I/O, no clock, no async.
pub mod cost;
pub mod cost_map;
pub mod endpoint;
pub mod error;
pub mod id;
pub mod media_type;
pub mod network_map;
