//! Bounds on what is read (RFC 7285 sets none on documents; a reader must).

/// How much of a document this crate is willing to hold. Each field says its default and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one document. 256 MiB: a cost map of 4,000 PIDs with short names, several times the largest map known in use.
    pub body_bytes_max: usize,
    /// Objects and arrays inside each other. 32: the deepest document of the RFCs has 5 levels; extensions stay far below.
    pub depth_max: u32,
    /// PIDs of a network map, rows or columns of a cost map. 65,536: the squared number is past `costs_max` already.
    pub pids_max: usize,
    /// Prefixes of a network map. 4,000,000: four times the whole routing table of IPv4 and IPv6.
    pub prefixes_max: usize,
    /// Cells of the dense tables of a cost map, all cost types together. 67,108,864 (512 MiB): 8,192 PIDs in one cost type;
    /// a sparse document cannot make us allocate more, however many names it has.
    pub costs_max: usize,
    /// Cost types of one multi-cost map or request. 64: more than there are registered metrics.
    pub cost_types_max: usize,
    /// Entries of one list of a request (PIDs, endpoints, properties). 100,000: a client's whole candidate list.
    pub request_entries_max: usize,
    /// Predicates of one request, all lists together. 256: each is tested on every cost of the answer.
    pub constraints_max: usize,
    /// Entries of a directory, and cost types it names. 65,536: as many resources as PIDs.
    pub resources_max: usize,
    /// Bytes of a client's value repeated in `meta.value`; the rest is cut. 256: enough to recognise it, too few to reflect.
    pub error_value_bytes_max: usize,
    /// Entries of `add` and of `remove` in one request to an update stream. 1,024: every resource of a large directory.
    pub substreams_max: usize,
    /// Operations of one JSON patch. 1,000,000: a patch of more than that is larger than a full copy of any map in use.
    pub patch_operations_max: usize,
    /// Bytes that the `copy` operations of one JSON patch may add, as held in memory. 64 MiB: a copy of a copy doubles the
    /// document, and forty operations would fill any memory.
    pub patch_copied_bytes_max: usize,
    /// Problems that [`crate::check`] lists. 1,000: nobody reads more, and one mistake may repeat in every cost.
    pub problems_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 256 << 20,
            depth_max: 32,
            pids_max: 65_536,
            prefixes_max: 4_000_000,
            costs_max: 64 << 20,
            cost_types_max: 64,
            request_entries_max: 100_000,
            constraints_max: 256,
            resources_max: 65_536,
            error_value_bytes_max: 256,
            substreams_max: 1_024,
            patch_operations_max: 1_000_000,
            patch_copied_bytes_max: 64 << 20,
            problems_max: 1_000,
        }
    }
}
