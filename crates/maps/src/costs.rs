//! Costs between PIDs, from routes between their routers, and the ranks of costs.
//!
//! | metric | a cost is | unit |
//! | --- | --- | --- |
//! | `routingcost` | sum of IGP weights along the route (RFC 7285 section 6.1.1.1) | the IGP's own |
//! | `hopcount` | number of links of that route (RFC 9439 section 4.5) | links |
//! | `delay-ow` | sum of their delays (RFC 9439 section 4.1.2) | microseconds |
//! | `delay-rt` | `delay-ow` there and back (RFC 9439 section 4.2.2) | microseconds |
//! | `bw-available` | bandwidth of the widest path (RFC 9439 section 5.3.2) | bytes per second |
//!
//! A PID that is behind several routers is as near as its nearest: the pair of routers with the least weight (then fewest links, then
//! first in order of ids) stands for the PIDs, in all metrics of that route alike; for bandwidth the pair with the widest path does.
//! Inside a PID weight, links and delay are 0 and bandwidth is no cost of the network's (it has no number, so it is left out).
//! A delay or bandwidth that no source knows makes no cost: nothing is invented. NaN stands for "no cost" and never reaches the wire.
use crate::{
    PidIx,
    measured::Measured,
    partition::Partition,
    routes::{Hop, Routes},
    widest::Widest,
};
use alto::{cost::Metric, cost_map::CostTable};
use std::collections::HashMap;
use topology::graph::{Graph, RouterIx};

/// The graph has bits per second, RFC 9439 section 5.3.2 wants bytes.
pub(crate) const BITS_PER_BYTE: f64 = 8.0;

/// The metrics that are computed from links; any other can only be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `routingcost`
    RoutingCost,
    /// `hopcount`
    HopCount,
    /// `delay-ow`
    DelayOneWay,
    /// `delay-rt`
    DelayRoundTrip,
    /// `bw-available`
    BandwidthAvailable,
}

impl Kind {
    /// By the metric's name.
    pub fn of(metric: &Metric) -> Option<Self> {
        match metric.as_str() {
            "routingcost" => Some(Self::RoutingCost),
            "hopcount" => Some(Self::HopCount),
            "delay-ow" => Some(Self::DelayOneWay),
            "delay-rt" => Some(Self::DelayRoundTrip),
            "bw-available" => Some(Self::BandwidthAvailable),
            _ => None,
        }
    }

    /// Whether the links of `graph` say anything about it.
    pub(crate) fn is_supported(self, graph: &Graph) -> bool {
        match self {
            Self::RoutingCost | Self::HopCount => !graph.links.is_empty(),
            Self::DelayOneWay | Self::DelayRoundTrip => graph.links.iter().any(|link| link.delay_us.is_some()),
            Self::BandwidthAvailable => graph.links.iter().any(|link| link.bandwidth_bps.is_some()),
        }
    }

    /// What a cost of it is counted in, for people.
    pub(crate) fn unit(metric: &Metric) -> &'static str {
        match metric.as_str() {
            "routingcost" => "IGP weight",
            "hopcount" => "links",
            "lossrate" => "percent",
            name if name.starts_with("delay-") => "microseconds",
            name if name == "tput" || name.starts_with("bw-") => "bytes per second",
            _ => "",
        }
    }
}

/// Whether a higher number of this metric is the better one: throughput and bandwidths (RFC 9439 section 5).
pub fn prefers_high(metric: &Metric) -> bool {
    let name = metric.as_str();
    name == "tput" || name.starts_with("bw-")
}

/// The ranks of a table's costs (RFC 7285 section 6.1.2.2): 1 for the best, equal costs rank alike, no gaps; no cost has no rank.
pub fn ordinal(table: &CostTable, metric: &Metric) -> CostTable {
    // Costs are far fewer than pairs as a rule, so they are collected before they are sorted. Zero and minus zero are one cost.
    let bits = |cost: f64| (cost + 0.0).to_bits();
    let mut ranks: HashMap<u64, f64, Spread> = HashMap::default();
    let mut last = f64::NAN.to_bits();
    for &cost in &table.values {
        let key = bits(cost);
        if key != last && !cost.is_nan() {
            ranks.insert(key, 0.0);
            last = key;
        }
    }
    let mut costs: Vec<f64> = ranks.keys().map(|&bits| f64::from_bits(bits)).collect();
    costs.sort_unstable_by(f64::total_cmp);
    if prefers_high(metric) {
        costs.reverse();
    }
    for (at, cost) in costs.iter().enumerate() {
        ranks.insert(cost.to_bits(), (at + 1) as f64);
    }
    let values = table.values.iter().map(|&cost| ranks.get(&bits(cost)).copied().unwrap_or(f64::NAN)).collect();
    CostTable { sources: table.sources.clone(), destinations: table.destinations.clone(), values }
}

/// Hashes a number by one multiplication: these keys come from our own costs, nobody can aim them.
#[derive(Debug, Clone, Copy, Default)]
struct Spread(u64);

impl std::hash::BuildHasher for Spread {
    type Hasher = Self;
    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl std::hash::Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }
    fn write_u64(&mut self, number: u64) {
        // The middle of the product depends on all bits of the number.
        let product = u128::from(self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// Where costs between PIDs come from, before policy.
#[derive(Clone, Copy)]
pub(crate) struct Base<'a> {
    pub(crate) kind: Option<Kind>,
    pub(crate) partition: &'a Partition,
    pub(crate) routes: Option<&'a Routes>,
    pub(crate) widest: Option<&'a Widest>,
    /// Of the metric itself.
    pub(crate) measured: Option<&'a Measured>,
    /// Of `delay-ow`, for `delay-rt`.
    pub(crate) measured_one_way: Option<&'a Measured>,
}

impl<'a> Base<'a> {
    /// The cost between two PIDs; NaN for none.
    pub(crate) fn cost(&self, from: PidIx, to: PidIx) -> f64 {
        if let Some(measured) = self.measured {
            let cost = measured.cost(from, to);
            if !cost.is_nan() {
                return cost;
            }
        }
        let cost = match self.kind {
            None => f64::NAN,
            Some(Kind::BandwidthAvailable) => self.best_width(from, to).map_or(f64::NAN, |(_, _, width)| width / BITS_PER_BYTE),
            Some(Kind::DelayRoundTrip) => {
                let (there, back) = (self.one_way(), self.one_way());
                there.cost(from, to) + back.cost(to, from)
            }
            Some(kind) if from == to => match kind {
                _ if self.routes.is_none() || self.partition.routers_of(from).is_empty() => f64::NAN,
                _ => 0.0,
            },
            Some(kind) => match (self.best_route(from, to), kind) {
                (None, _) => f64::NAN,
                (Some((_, _, hop)), Kind::RoutingCost) => hop.cost().map_or(f64::NAN, |cost| cost as f64),
                (Some((_, _, hop)), Kind::HopCount) => hop.hops().map_or(f64::NAN, f64::from),
                (Some((_, _, hop)), _) => hop.delay_us(),
            },
        };
        // A sum of finite delays may still be too large for a number.
        if cost.is_finite() { cost } else { f64::NAN }
    }

    /// The halves of a round trip.
    pub(crate) fn one_way(&self) -> Self {
        Base { kind: Some(Kind::DelayOneWay), measured: self.measured_one_way, ..*self }
    }

    /// The routers that stand for two PIDs, and the route between them.
    pub(crate) fn best_route(&self, from: PidIx, to: PidIx) -> Option<(RouterIx, RouterIx, &'a Hop)> {
        let routes = self.routes?;
        let (senders, receivers) = (self.partition.routers_of(from), self.partition.routers_of(to));
        if let ([sender], [receiver]) = (senders, receivers) {
            let hop = routes.hop(*sender, *receiver)?;
            return hop.is_route().then_some((*sender, *receiver, hop));
        }
        let pairs = senders.iter().flat_map(|&sender| receivers.iter().map(move |&receiver| (sender, receiver)));
        let reached = pairs
            .filter_map(|(sender, receiver)| Some((sender, receiver, routes.hop(sender, receiver)?)))
            .filter(|(_, _, hop)| hop.is_route());
        reached.min_by_key(|&(sender, receiver, hop)| (hop.rank(), sender, receiver))
    }

    /// The same for bandwidth, bits per second.
    pub(crate) fn best_width(&self, from: PidIx, to: PidIx) -> Option<(RouterIx, RouterIx, f64)> {
        let widest = self.widest.filter(|_| from != to)?;
        let (senders, receivers) = (self.partition.routers_of(from), self.partition.routers_of(to));
        let pairs = senders.iter().flat_map(|&sender| receivers.iter().map(move |&receiver| (sender, receiver)));
        let mut best: Option<(RouterIx, RouterIx, f64)> = None;
        for (sender, receiver) in pairs {
            if let Some(width) = widest.width_bps(sender, receiver)
                && best.is_none_or(|(_, _, so_far)| width > so_far)
            {
                best = Some((sender, receiver, width));
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7285 section 6.1.2.2: lower is preferred, whatever the numbers say.
    #[test]
    fn ranks() {
        let pids: std::sync::Arc<[_]> = ["A", "B"].map(|name| name.parse().unwrap()).into();
        for (metric, costs, want) in [
            ("routingcost", [0.0, 20.5, 7.0, 20.5], [1.0, 3.0, 2.0, 3.0]),
            ("routingcost", [-0.0, 0.0, f64::NAN, 1.0], [1.0, 1.0, f64::NAN, 2.0]),
            ("bw-available", [1e9, 1e6, 1e9, f64::NAN], [1.0, 2.0, 1.0, f64::NAN]),
        ] {
            let table = |values: [f64; 4]| CostTable { sources: pids.clone(), destinations: pids.clone(), values: values.into() };
            assert_eq!(ordinal(&table(costs), &metric.parse().unwrap()), table(want));
        }
    }
}
