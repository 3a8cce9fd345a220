//! Every bound of this crate: its name, its default and the reason for it.

/// Bounds on what one computation may take. At a bound [`crate::Error`] is returned, nothing is cut off silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// PIDs of one network map. Default 16,384: ten times the largest map known from the field (1,700 PIDs).
    pub pids_max: usize,
    /// Costs of one table. Default 25,000,000: 200 MB of doubles, 5,000 PIDs squared; the largest known map has 1.3 million.
    pub costs_max: usize,
    /// Entries of the all-pairs routes (destination routers × routers, 24 bytes each). Default 25,000,000: 600 MB.
    pub routes_max: usize,
    /// Policy rules. Default 1,024: each is tried on every cost.
    pub rules_max: usize,
    /// Rules that promise for how long resources hold. Default 256: an operator writes a few, and each is tried on every PID once a commit.
    pub expiry_rules_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pids_max: 16_384, costs_max: 25_000_000, routes_max: 25_000_000, rules_max: 1_024, expiry_rules_max: 256 }
    }
}
