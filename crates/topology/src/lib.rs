//! From what sources observed to one network: observations are fused into an immutable graph.
pub mod graph;
pub mod observation;
