//! Bounds on what history keeps.

/// Each with its default and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Versions remembered for each resource. 256: forty minutes of a network that changes every ten seconds.
    pub versions_max: usize,
    /// Documents an operator may publish, and resources ever seen. 4,096: many metrics for many network maps; one that
    /// was withdrawn counts, because its numbering must go on when it comes back.
    pub resources_max: usize,
    /// Operations of one JSON patch. 100,000: each cost of a map of 300 PIDs.
    pub patch_operations_max: usize,
    /// Bytes that the `copy` operations of one JSON patch may add, as held in memory. 64 MiB: a copy of a copy doubles the
    /// document, and forty operations would fill any memory.
    pub patch_copied_bytes_max: usize,
    /// How a patched document is bounded before it is read again.
    pub documents: alto::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            versions_max: 256,
            resources_max: 4_096,
            patch_operations_max: 100_000,
            patch_copied_bytes_max: 64 << 20,
            documents: alto::Limits::default(),
        }
    }
}
