//! All maps of a graph, from nothing or from the result before.
use crate::{
    Error, Limits,
    explain::Explanation,
    glob::Glob,
    partition::{Partition, PartitionPolicy},
    policy::Rule,
};
use alto::{
    cost::Metric,
    cost_map::CostTable,
    id::{Pid, ResourceId},
};
use std::{collections::BTreeMap, sync::Arc};
use topology::graph::Graph;

/// What to make of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct MapsPolicy {
    /// Prefixes to PIDs.
    pub partition: PartitionPolicy,
    /// The metrics wanted; only those that the data supports are made.
    pub metrics: Vec<Metric>,
    /// Operator's rules, applied in order.
    pub rules: Vec<Rule>,
    /// Rows and columns of the cost maps.
    pub shape: Shape,
    /// Name of the network map.
    pub network_map_id: ResourceId,
    /// Bounds.
    pub limits: Limits,
}

/// Rows and columns of the cost maps: the PIDs that any glob of the list matches.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Rows.
    pub sources: Vec<Glob>,
    /// Columns.
    pub destinations: Vec<Glob>,
}

impl Default for Shape {
    fn default() -> Self {
        Self { sources: vec![Glob::any()], destinations: vec![Glob::any()] }
    }
}

impl Default for MapsPolicy {
    fn default() -> Self {
        Self {
            partition: PartitionPolicy::default(),
            metrics: ["routingcost", "hopcount", "delay-ow", "delay-rt", "bw-available"]
                .map(|name| name.parse().expect("these are valid metric names"))
                .into(),
            rules: Vec::new(),
            shape: Shape::default(),
            network_map_id: "network-map".parse().expect("this is a valid resource id"),
            limits: Limits::default(),
        }
    }
}

/// Everything computed from one graph.
#[derive(Debug, Clone)]
pub struct Computed {
    /// What it was computed from.
    pub graph: Arc<Graph>,
    /// And how.
    pub policy: Arc<MapsPolicy>,
    /// Prefixes in PIDs.
    pub partition: Arc<Partition>,
    /// The costs of each metric; a table that a change did not touch is the same `Arc` as before.
    pub tables: BTreeMap<Metric, Arc<CostTable>>,
}

/// Computes all maps. With `previous`, only what changed since is computed anew; the result is the same.
pub fn compute(graph: Arc<Graph>, policy: Arc<MapsPolicy>, previous: Option<&Computed>) -> Result<Computed, Error> {
    let _ = (graph, policy, previous);
    todo!()
}

impl Computed {
    /// Why the cost between two PIDs is what it is.
    pub fn explain(&self, metric: &Metric, source: &Pid, destination: &Pid) -> Result<Explanation, Error> {
        Ok(Explanation::new(metric, source, destination, None))
    }
}
