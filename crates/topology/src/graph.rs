//! The network at one instant: immutable, indexed, shared as `Arc<Graph>`.
//!
//! Units as in [`crate::observation`]. Invariants: links are sorted by (`from`, `to`, addresses) and every index is in
//! range; a link is here only when it is usable (two-way check passed, both ends known).
use crate::validity::Validity;
use alto::{cost::Metric, endpoint::Prefix, id::Pid};
use std::{net::IpAddr, sync::Arc, time::SystemTime};

/// Place of a router in [`Graph::routers`]; routers are sorted by id, so equal networks index alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouterIx(pub u32);

/// Place of a link in [`Graph::links`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkIx(pub u32);

/// Place of a source in [`Graph::sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceIx(pub u16);

/// The fused network.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// Sorted by id.
    pub routers: Vec<Router>,
    /// Sorted by sender, receiver, addresses.
    pub links: Vec<Link>,
    /// For router `i`, its outgoing links are `links[out[i]..out[i + 1]]`. Length `routers.len() + 1`.
    pub out: Vec<u32>,
    /// Sorted by prefix; several sources may place one prefix, the winning one only is kept. Shared with the graph before when unchanged.
    pub prefixes: Arc<Vec<PrefixAt>>,
    /// Measured costs, precedence already applied (one matrix a metric and source, the best first).
    pub matrices: Vec<Arc<Matrix>>,
    /// Where it all comes from.
    pub sources: Vec<Source>,
}

/// A router (node, PoP) of the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Router {
    /// Unique.
    pub id: Arc<str>,
    /// Country as the source has it.
    pub country: Option<Arc<str>>,
    /// Latitude, longitude in degrees.
    pub location: Option<(f64, f64)>,
    /// The source that won.
    pub source: SourceIx,
}

/// One usable direction of a link.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Sender.
    pub from: RouterIx,
    /// Receiver.
    pub to: RouterIx,
    /// Sender's interface, when known.
    pub local_address: Option<IpAddr>,
    /// IGP metric.
    pub igp_cost: u32,
    /// One-way microseconds, when known.
    pub delay_us: Option<f64>,
    /// Bits per second, when known.
    pub bandwidth_bps: Option<f64>,
    /// The source of `igp_cost`.
    pub source: SourceIx,
}

/// A prefix and its place in the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct PrefixAt {
    /// The addresses.
    pub prefix: Prefix,
    /// The group the source named.
    pub group: Option<Pid>,
    /// The router it is behind.
    pub router: Option<RouterIx>,
    /// Origin AS.
    pub asn: Option<u32>,
    /// Who said so.
    pub source: SourceIx,
}

/// All-pairs measurements; shape and unit as in [`crate::observation::Matrix`].
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Which metric.
    pub metric: Metric,
    /// Row names.
    pub sources: Vec<Box<str>>,
    /// Column names.
    pub destinations: Vec<Box<str>>,
    /// The costs, NaN where nothing was measured.
    pub values: Vec<f64>,
    /// Who measured.
    pub source: SourceIx,
}

/// A source and how fresh it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Higher wins where two sources say the same thing differently.
    pub precedence: i32,
    /// When its last good observation was taken.
    pub observed_at: SystemTime,
    /// Why its newest input was refused or is overdue; the last good data stays in place while this is set.
    pub trouble: Option<Arc<str>>,
    /// Until when that holds.
    pub validity: Arc<Validity>,
}

impl Graph {
    /// The outgoing links of a router.
    pub fn links_from(&self, router: RouterIx) -> &[Link] {
        let at = router.0 as usize;
        &self.links[self.out[at] as usize..self.out[at + 1] as usize]
    }
}
