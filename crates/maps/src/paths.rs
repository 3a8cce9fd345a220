//! One path and what each link of it contributes.
use alto::cost::Metric;
use topology::graph::{Graph, LinkIx, RouterIx};

/// A path.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    /// From the first router to the last; empty when they are one.
    pub links: Vec<LinkIx>,
    /// What each link adds, in the metric's unit (for `bw-available`: its bandwidth).
    pub contributions: Vec<f64>,
    /// Their sum (for `bw-available`: their minimum).
    pub total: f64,
}

/// The path that `metric` takes between two routers; `None` when there is none or a link's value is unknown.
pub fn path(graph: &Graph, metric: &Metric, from: RouterIx, to: RouterIx) -> Option<Path> {
    let _ = (graph, metric, from, to);
    todo!()
}
