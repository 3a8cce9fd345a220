//! Cost maps (RFC 7285 section 11.2.3; several cost types at once: RFC 8189 section 3.1).
use crate::{
    cost::CostType,
    id::{Pid, VersionTag},
};
use std::sync::Arc;

/// Costs between PIDs, of one cost type or (RFC 8189) several.
#[derive(Debug, Clone, PartialEq)]
pub struct CostMap {
    /// `meta.dependent-vtags`: the network map whose PIDs these are.
    pub dependent_vtags: Vec<VersionTag>,
    /// `meta.vtag`, an addition of ours that names this content (clients that do not know it ignore it).
    pub vtag: Option<VersionTag>,
    /// Each cost type with its table; all tables have the same shape.
    pub tables: Vec<(CostType, CostTable)>,
}

/// A dense table of costs.
///
/// Shape `sources.len() × destinations.len()`, row-major; NaN is "no path" and stays off the wire.
/// Unit: the metric's own, never rescaled. Invariant: `values.len() == sources.len() * destinations.len()`; no value is infinite or negative.
#[derive(Debug, Clone)]
pub struct CostTable {
    /// Row names.
    pub sources: Arc<[Pid]>,
    /// Column names.
    pub destinations: Arc<[Pid]>,
    /// 8 bytes a cost.
    pub values: Vec<f64>,
}

impl PartialEq for CostTable {
    fn eq(&self, other: &Self) -> bool {
        self.sources == other.sources
            && self.destinations == other.destinations
            && self.values.iter().zip(&other.values).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
    }
}
