//! Why the cost between two PIDs is what it is: the routers that stand for them, each link of the path and its part, the rules that
//! applied, and how old and how sound the sources are.
//!
//! Units: the metric's own ([`crate::costs`]), named in `unit`; times are seconds since 1970 (UTC). Invariants: the legs and the
//! rules, followed in order, lead to `total`, and `total` is the cost in the cost table, or where that is damped `served` is.
use crate::{
    Error,
    compute::Computed,
    costs::{Base, Kind},
    paths::{self, Path},
    policy::Rule,
};
use alto::{cost::Metric, id::Pid};
use std::{net::IpAddr, sync::Arc, time::UNIX_EPOCH};
use topology::graph::{LinkIx, RouterIx, SourceIx};

/// Why a cost is what it is.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// The metric.
    pub metric: String,
    /// What it is counted in.
    pub unit: &'static str,
    /// From.
    pub source: Pid,
    /// To.
    pub destination: Pid,
    /// The cost as computed, or as published in a document; `None` is no cost.
    pub total: Option<f64>,
    /// The cost that is served, where damping keeps another than `total` ([`crate::damping`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served: Option<f64>,
    /// The cost before rules.
    pub before_rules: Option<f64>,
    /// What it rests on: one leg, or for a `delay-rt` that was not measured itself the ways there and back.
    pub legs: Vec<Leg>,
    /// The rules that applied, in order.
    pub rules: Vec<AppliedRule>,
}

/// The way from one PID to another.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Leg {
    /// From.
    pub source: Pid,
    /// To.
    pub destination: Pid,
    /// How its cost is known.
    pub basis: Basis,
    /// Its cost; `None` is no cost.
    pub cost: Option<f64>,
    /// The routers on the way, ends included; empty when it was not computed from links.
    pub routers: Vec<Arc<str>>,
    /// The links on the way.
    pub links: Vec<LinkPart>,
    /// Who measured it.
    pub measured: Option<Provenance>,
}

/// How the cost of a leg is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// From a matrix of measurements.
    Measured,
    /// From the links of a path.
    Path,
    /// Both ends are one PID.
    Inside,
    /// There is a path, but a link of it has no known value.
    Unknown,
    /// There is no path.
    NoPath,
    /// A PID is behind no router of the graph.
    NoRouter,
}

/// One link of a leg.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LinkPart {
    /// Sender.
    pub from: Arc<str>,
    /// Receiver.
    pub to: Arc<str>,
    /// Sender's interface, when known.
    pub local_address: Option<IpAddr>,
    /// What it contributes; `None` when no source knows it.
    pub contribution: Option<f64>,
    /// Who said so.
    pub source: Provenance,
}

/// A source and how fresh it is.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Provenance {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// When its last good observation was taken, seconds since 1970.
    pub observed_at: u64,
    /// Why its newest input was refused or is overdue.
    pub trouble: Option<Arc<str>>,
}

/// A rule of the policy that applied.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AppliedRule {
    /// Its place in the policy, from 0.
    pub rule: usize,
    /// What it says.
    pub text: String,
    /// The cost after it.
    pub after: Option<f64>,
}

impl Explanation {
    /// A cost that nothing more is known of: somebody published it.
    pub(crate) fn new(metric: &Metric, source: &Pid, destination: &Pid, total: Option<f64>) -> Self {
        Self {
            metric: metric.as_str().into(),
            unit: Kind::unit(metric),
            source: source.clone(),
            destination: destination.clone(),
            total,
            served: None,
            before_rules: total,
            legs: Vec::new(),
            rules: Vec::new(),
        }
    }
}

fn known(cost: f64) -> Option<f64> {
    (!cost.is_nan()).then_some(cost)
}

impl Computed {
    /// Why the cost between two PIDs is what it is. Errors: `UnknownPid`, also for a PID that is no row or column of the cost maps.
    pub fn explain(&self, metric: &Metric, source: &Pid, destination: &Pid) -> Result<Explanation, Error> {
        let place = |pid: &Pid, of: &[crate::PidIx]| {
            let ix = self.partition.find(pid)?;
            Some((ix, of.binary_search(&ix).ok()?))
        };
        let (from, row) = place(source, &self.layout.rows).ok_or_else(|| Error::UnknownPid(source.clone()))?;
        let (to, column) = place(destination, &self.layout.columns).ok_or_else(|| Error::UnknownPid(destination.clone()))?;
        let base = self.base(metric);
        let cost = base.cost(from, to);
        let measured = base.measured.is_some_and(|measured| measured.find(from, to).is_some());
        let legs = if base.kind == Some(Kind::DelayRoundTrip) && !measured && from != to {
            let one_way: Metric = "delay-ow".parse().expect("this is a valid metric name");
            vec![self.leg(&base.one_way(), &one_way, from, to), self.leg(&base.one_way(), &one_way, to, from)]
        } else {
            vec![self.leg(&base, metric, from, to)]
        };
        let mut rules = Vec::new();
        let seen = |rule: usize, of: &Rule, after: f64| rules.push(AppliedRule { rule, text: of.to_string(), after: known(after) });
        let total = self.rules(metric).apply(row, column, from == to, cost, seen);
        Ok(Explanation {
            total: known(total),
            before_rules: known(cost),
            legs,
            rules,
            ..Explanation::new(metric, source, destination, None)
        })
    }

    fn leg(&self, base: &Base<'_>, metric: &Metric, from: crate::PidIx, to: crate::PidIx) -> Leg {
        let pid = |ix: crate::PidIx| self.partition.pids[ix.0 as usize].clone();
        let cost = known(base.cost(from, to));
        let mut leg = Leg {
            source: pid(from),
            destination: pid(to),
            basis: Basis::NoPath,
            cost,
            routers: Vec::new(),
            links: Vec::new(),
            measured: None,
        };
        if let Some((_, matrix)) = base.measured.and_then(|measured| measured.find(from, to)) {
            return Leg { basis: Basis::Measured, measured: Some(self.provenance(matrix.source)), ..leg };
        }
        if [from, to].iter().any(|&pid| self.partition.routers_of(pid).is_empty()) {
            return Leg { basis: Basis::NoRouter, ..leg };
        }
        if from == to {
            return Leg { basis: Basis::Inside, ..leg };
        }
        let ends = match base.kind {
            Some(Kind::BandwidthAvailable) => base.best_width(from, to).map(|(sender, receiver, _)| (sender, receiver)),
            _ => base.best_route(from, to).map(|(sender, receiver, _)| (sender, receiver)),
        };
        let path = ends.and_then(|(sender, receiver)| Some((sender, paths::path(&self.graph, metric, sender, receiver)?)));
        if let Some((sender, Path { links, contributions, .. })) = path {
            leg.basis = if leg.cost.is_some() { Basis::Path } else { Basis::Unknown };
            leg.routers.push(self.router(sender));
            for (&LinkIx(at), contribution) in links.iter().zip(contributions) {
                let link = &self.graph.links[at as usize];
                leg.routers.push(self.router(link.to));
                leg.links.push(LinkPart {
                    from: self.router(link.from),
                    to: self.router(link.to),
                    local_address: link.local_address,
                    contribution: known(contribution),
                    source: self.provenance(link.source),
                });
            }
        }
        leg
    }

    fn router(&self, router: RouterIx) -> Arc<str> {
        self.graph.routers[router.0 as usize].id.clone()
    }

    fn provenance(&self, source: SourceIx) -> Provenance {
        let source = &self.graph.sources[source.0 as usize];
        // A clock before 1970 is nobody's; zero says "long ago".
        let observed_at = source.observed_at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Provenance { name: source.name.clone(), observed_at, trouble: source.trouble.clone() }
    }
}
