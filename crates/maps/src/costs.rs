//! Cost tables between PIDs and their ranks.
use alto::{cost::Metric, cost_map::CostTable};

/// Whether a higher number of this metric is the better one (bandwidths of RFC 9439 section 5).
pub fn prefers_high(metric: &Metric) -> bool {
    let name = metric.as_str();
    name == "tput" || name.starts_with("bw-")
}

/// The ranks of a table's costs (RFC 7285 section 6.1.2.2): 1 for the best, equal costs rank alike, no gaps.
pub fn ordinal(table: &CostTable, metric: &Metric) -> CostTable {
    let _ = (table, metric);
    todo!()
}
