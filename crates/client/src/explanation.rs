//! Why a cost is what it is, as an altocast server's admin listener tells it (`GET /v1/explain`).
//!
//! Units: the metric's own, named in `unit`; times are seconds since 1970 (UTC). Members that are not known here are passed over, those
//! that are missing have their empty value: an older server explains less, not nothing.
use serde::{Deserialize, Serialize};

/// The PIDs two endpoints are in and how the cost between them came about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Explanation {
    /// From where, `ipv4:192.0.2.1`.
    pub source_endpoint: String,
    /// The prefix that put it into its PID.
    pub source_prefix: String,
    /// To where.
    pub destination_endpoint: String,
    /// The prefix that put it into its PID.
    pub destination_prefix: String,
    /// Which network map.
    pub network_map: String,
    /// Which cost map.
    pub cost_map: String,
    /// Whether somebody published the cost as a document: then no path behind it is known.
    pub published: bool,
    /// The metric.
    pub metric: String,
    /// What it is counted in.
    pub unit: String,
    /// PID of the source.
    pub source: String,
    /// PID of the destination.
    pub destination: String,
    /// The cost as computed, or as published in a document; `None` is no cost.
    pub total: Option<f64>,
    /// The cost that is served, where damping keeps another than `total`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served: Option<f64>,
    /// The cost before the rules of the policy.
    pub before_rules: Option<f64>,
    /// What it rests on; more than one when a cost is put together, as a round trip of two ways.
    pub legs: Vec<Leg>,
    /// The rules that applied, in order.
    pub rules: Vec<AppliedRule>,
}

/// The way from one PID to another.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Leg {
    /// From.
    pub source: String,
    /// To.
    pub destination: String,
    /// How its cost is known: `measured`, `path`, `inside`, `unknown`, `no-path`, `no-router`.
    pub basis: String,
    /// Its cost.
    pub cost: Option<f64>,
    /// The routers on the way, ends included.
    pub routers: Vec<String>,
    /// The links on the way.
    pub links: Vec<LinkPart>,
    /// Who measured it.
    pub measured: Option<Provenance>,
}

/// One link of a leg.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct LinkPart {
    /// Sender.
    pub from: String,
    /// Receiver.
    pub to: String,
    /// Sender's interface.
    pub local_address: Option<String>,
    /// What it contributes.
    pub contribution: Option<f64>,
    /// Who said so.
    pub source: Provenance,
}

/// A source and how fresh it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Provenance {
    /// Its name in the server's configuration.
    pub name: String,
    /// When its last good observation was taken, seconds since 1970.
    pub observed_at: u64,
    /// Why its newest input was refused or is overdue.
    pub trouble: Option<String>,
}

/// A rule of the policy that applied.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct AppliedRule {
    /// Its place in the policy, from 0.
    pub rule: usize,
    /// What it says.
    pub text: String,
    /// The cost after it.
    pub after: Option<f64>,
}
