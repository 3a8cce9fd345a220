//! Why a cost is what it is.
use alto::{cost::Metric, id::Pid};

/// Why a cost is what it is.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// The metric.
    pub metric: String,
    /// From.
    pub source: Pid,
    /// To.
    pub destination: Pid,
    /// The cost as published; `None` is no cost.
    pub total: Option<f64>,
}

impl Explanation {
    pub(crate) fn new(metric: &Metric, source: &Pid, destination: &Pid, total: Option<f64>) -> Self {
        Self { metric: metric.as_str().into(), source: source.clone(), destination: destination.clone(), total }
    }
}
