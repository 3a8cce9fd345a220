//! From what sources observed to one network: observations are fused into an immutable graph.
//!
//! [`sources`] read files into [`observation::Observation`]s, [`fuse::Fuser`] makes one [`graph::Graph`] of them;
//! [`validity`] says how long what they said holds.
pub mod fuse;
pub mod graph;
pub mod observation;
pub mod sources;
pub mod validity;
