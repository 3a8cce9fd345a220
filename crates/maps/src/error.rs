//! Why maps could not be made; one variant per thing a caller does about it.
use alto::id::Pid;

/// See the variants.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Partition more coarsely, or raise the limit.
    #[error("{asked} PIDs, more than {limit} (limit pids_max)")]
    TooManyPids {
        /// What the graph and the policy came to.
        asked: usize,
        /// `Limits::pids_max`.
        limit: usize,
    },
    /// Narrow the shape of the maps, partition more coarsely, or raise the limit.
    #[error("{asked} costs in one table, more than {limit} (limit costs_max)")]
    TooManyCosts {
        /// Sources × destinations.
        asked: usize,
        /// `Limits::costs_max`.
        limit: usize,
    },
    /// Raise the limit, or attach PIDs to fewer routers.
    #[error("{asked} route entries between routers, more than {limit} (limit routes_max)")]
    TooManyRoutes {
        /// Destination routers × routers.
        asked: usize,
        /// `Limits::routes_max`.
        limit: usize,
    },
    /// Shorten the policy.
    #[error("{asked} policy rules, more than {limit} (limit rules_max)")]
    TooManyRules {
        /// In the policy.
        asked: usize,
        /// `Limits::rules_max`.
        limit: usize,
    },
    /// A rule's number is no number, infinite or (where that makes no sense) negative.
    #[error("policy rule {rule} has the value {value}: {why}")]
    BadRule {
        /// Its place in the list, from 0.
        rule: usize,
        /// What it says.
        value: f64,
        /// What it may say.
        why: &'static str,
    },
    /// A request named a PID that the network map does not have.
    #[error("no PID {0} in the network map")]
    UnknownPid(Pid),
}
