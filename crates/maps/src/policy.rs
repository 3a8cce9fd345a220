//! What an operator changes in computed costs: rules per source PID, destination PID and metric.
use crate::glob::Glob;
use alto::cost::Metric;

/// One rule; a policy is a list of them, applied in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Which source PIDs.
    pub sources: Glob,
    /// Which destination PIDs.
    pub destinations: Glob,
    /// Which metric; `None` is each.
    pub metric: Option<Metric>,
    /// What to do.
    pub action: Action,
}

/// What a rule does to a cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    /// Adds to a cost that there is; the sum does not go below zero.
    Add(f64),
    /// Multiplies a cost that there is.
    Multiply(f64),
    /// There is no cost from here to there, whatever later rules say.
    Forbid,
    /// The cost where there is none.
    Default(f64),
}
