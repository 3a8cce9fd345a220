//! One path between two routers and what each of its links contributes.
//!
//! Units are those of [`crate::costs`]. Invariant: `total` is, bit by bit, the cost of the same two routers in a cost table.
use crate::{
    costs::{BITS_PER_BYTE, Kind},
    routes::{delay_us, route},
    widest::{bandwidth_bps, widest_path},
};
use alto::cost::Metric;
use topology::graph::{Graph, LinkIx, RouterIx};

/// A path.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    /// From the first router to the last; empty when they are one. For `delay-rt` the way there and then the way back.
    pub links: Vec<LinkIx>,
    /// What each link adds, in the metric's unit (for `bw-available` its bandwidth); NaN where that is unknown.
    pub contributions: Vec<f64>,
    /// Their sum (for `bw-available` their minimum); NaN when a link's part is unknown.
    pub total: f64,
}

/// The path behind a cost of `metric`; `None` when there is none, and for a metric that is not computed from links.
pub fn path(graph: &Graph, metric: &Metric, from: RouterIx, to: RouterIx) -> Option<Path> {
    let link = |at: &LinkIx| &graph.links[at.0 as usize];
    match Kind::of(metric)? {
        Kind::RoutingCost => {
            let (links, hop) = route(graph, from, to)?;
            let contributions = links.iter().map(|at| f64::from(link(at).igp_cost)).collect();
            Some(Path { links, contributions, total: hop.cost()? as f64 })
        }
        Kind::HopCount => {
            let (links, hop) = route(graph, from, to)?;
            Some(Path { contributions: vec![1.0; links.len()], links, total: f64::from(hop.hops()?) })
        }
        Kind::DelayOneWay => {
            let (links, hop) = route(graph, from, to)?;
            let contributions = links.iter().map(|at| delay_us(link(at))).collect();
            Some(Path { links, contributions, total: hop.delay_us() })
        }
        Kind::DelayRoundTrip => {
            let ((mut links, there), (links_back, back)) = (route(graph, from, to)?, route(graph, to, from)?);
            links.extend(links_back);
            let contributions = links.iter().map(|at| delay_us(link(at))).collect();
            Some(Path { links, contributions, total: there.delay_us() + back.delay_us() })
        }
        Kind::BandwidthAvailable => {
            let (links, width) = widest_path(graph, from, to)?;
            let contributions = links.iter().map(|at| bandwidth_bps(link(at)).map_or(f64::NAN, |width| width / BITS_PER_BYTE)).collect();
            Some(Path { links, contributions, total: width / BITS_PER_BYTE })
        }
    }
}
