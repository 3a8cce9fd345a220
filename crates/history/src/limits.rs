//! Bounds on what history keeps, in memory and on disk. At a bound old versions go, never the newest; what
//! is asked for beyond one is refused.
use std::time::Duration;

/// Each with its default and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Versions remembered for each resource. 256: forty minutes of a network that changes every ten seconds. At times it is down to three
    /// quarters of that, because the first of them has to be one that is kept whole.
    pub versions_max: usize,
    /// How long a version is remembered after it was replaced. A day: who was away for longer takes a full copy.
    pub age_max: Duration,
    /// Bytes of patches and older full copies, of all resources together; the largest history is cut first. 512 MiB: a thousand changes
    /// of one in a hundred costs of a map of 10 MB, with its checkpoints.
    pub bytes_max: usize,
    /// Full copies kept beside the newest for readers who were just told of them. 1: an answer to who asked before the last commit.
    pub snapshots_recent: usize,
    /// Views of filtered maps, endpoint costs and endpoint properties, each with its input. 10,000: a client that watches its own costs,
    /// ten thousand times.
    pub post_views_max: usize,
    /// Versions remembered for each of them. 32: they are there for readers who are there.
    pub post_versions_max: usize,
    /// Bytes of all of them: inputs, full copies and patches. 256 MiB: 10,000 of 25 kB.
    pub post_bytes_max: usize,
    /// What one answer may cost, as for the services themselves.
    pub answers: maps::guidance::Limits,
    /// Documents an operator may publish, and resources ever seen. 4,096: many metrics for many network maps; one that
    /// was withdrawn counts, because its numbering must go on when it comes back.
    pub resources_max: usize,
    /// Maps folders whose files are remembered as they were applied. 8: an operator who goes from one to another and back has two or three.
    pub maps_folders_max: usize,
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
            age_max: Duration::from_secs(24 * 60 * 60),
            bytes_max: 512 << 20,
            snapshots_recent: 1,
            post_views_max: 10_000,
            post_versions_max: 32,
            post_bytes_max: 256 << 20,
            answers: maps::guidance::Limits::default(),
            resources_max: 4_096,
            maps_folders_max: 8,
            patch_operations_max: 100_000,
            patch_copied_bytes_max: 64 << 20,
            documents: alto::Limits::default(),
        }
    }
}
