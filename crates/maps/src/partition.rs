//! Which addresses form which PID (RFC 7285 section 5.1).
use crate::{Error, prefix_table::PrefixTable};
use alto::{id::Pid, network_map::NetworkMap};
use std::sync::Arc;
use topology::graph::{Graph, RouterIx};

/// What puts two prefixes into one PID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PartitionBy {
    /// The group the source named.
    #[default]
    Group,
    /// The router it is behind.
    Router,
    /// The label of that router before its trailing number.
    City,
    /// The country of that router.
    Country,
    /// The origin AS.
    Asn,
}

/// How to partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionPolicy {
    /// By what.
    pub by: PartitionBy,
    /// Gets `0.0.0.0/0` and `::/0`.
    pub default_pid: Option<Pid>,
}

/// Prefixes in PIDs, PIDs at routers.
#[derive(Debug, Clone)]
pub struct Partition {
    /// The PIDs; no version tag yet.
    pub network_map: NetworkMap,
    /// Sorted: the keys of `network_map`. A [`crate::PidIx`] is a place here.
    pub pids: Arc<[Pid]>,
    /// The same prefixes, to look up.
    pub table: Arc<PrefixTable>,
    /// Per PID the routers it is behind, sorted; none when the graph has none for it.
    pub routers: Vec<Vec<RouterIx>>,
}

/// Partitions the prefixes of `graph`.
pub fn partition(graph: &Graph, policy: &PartitionPolicy) -> Result<Partition, Error> {
    let _ = (graph, policy);
    todo!()
}
