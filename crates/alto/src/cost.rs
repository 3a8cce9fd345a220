//! Cost types: metric, mode (RFC 7285 sections 6.1 and 10.5 to 10.7), constraints (11.3.2.3), multi-cost (RFC 8189).
use std::sync::Arc;

/// What a cost counts, `routingcost`, `hopcount`, `delay-ow` ... (RFC 7285 section 10.6).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Metric(Arc<str>);

impl Metric {
    /// As on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a cost is to be read (RFC 7285 section 6.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// Numbers in the metric's unit.
    Numerical,
    /// Ranks: non-negative integers, lower is preferred.
    Ordinal,
}

/// A metric in a mode (RFC 7285 section 10.7).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CostType {
    /// How to read it.
    pub mode: Mode,
    /// What it counts.
    pub metric: Metric,
    /// For people; no part of equality on the wire.
    pub description: Option<Box<str>>,
}
