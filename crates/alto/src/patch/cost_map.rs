//! Changes of cost maps, from numbers (RFC 7285 section 11.2.3.6).
use super::Patches;
use crate::{
    cost::CostType,
    cost_map::{CostMap, CostTable},
    id::VersionTag,
};

/// What a cost map of one cost type is made of, where it lies.
#[derive(Debug, Clone, Copy)]
pub struct CostMapParts<'a> {
    /// `meta.dependent-vtags`
    pub dependent_vtags: &'a [VersionTag],
    /// `meta.vtag`
    pub vtag: Option<&'a VersionTag>,
    /// `meta.cost-type`
    pub cost_type: &'a CostType,
    /// `cost-map`
    pub table: &'a CostTable,
}

impl CostMapParts<'_> {
    /// The change from this map to another.
    pub fn diff(&self, new: &CostMapParts<'_>) -> Patches {
        let body = |parts: &CostMapParts<'_>| {
            CostMap {
                dependent_vtags: parts.dependent_vtags.to_vec(),
                vtag: parts.vtag.cloned(),
                tables: vec![(parts.cost_type.clone(), parts.table.clone())],
            }
            .to_json()
        };
        super::diff(&body(self), &body(new)).expect("what we write is JSON")
    }
}
