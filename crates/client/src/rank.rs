//! Which of these endpoints is nearest? (RFC 7285 section 11.5, or by the maps where a server has no endpoint cost service.)
//!
//! Invariant: every destination asked for is in the ranking once, in `ranked` when the server gave a cost and in `unranked` when not.
use crate::{
    catalog::Service,
    client::{Client, Demand, Freshness},
    error::Error,
};
use alto::{
    cost::{self, CostType, Metric, Mode, Query},
    endpoint::{Address, Prefix},
    endpoint_cost::Request,
    id::{Pid, ResourceId},
    network_map::NetworkMap,
};
use std::collections::{HashMap, HashSet};

/// Destinations in order of cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// From where.
    pub source: Address,
    /// What the costs are.
    pub cost_type: CostType,
    /// Best first; equal costs in the order asked.
    pub ranked: Vec<Ranked>,
    /// Those without a cost, in the order asked.
    pub unranked: Vec<Address>,
    /// Who answered.
    pub by: Answerer,
    /// Until when what it was made from may be relied on.
    pub freshness: Freshness,
}

/// A destination and its cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// Where.
    pub destination: Address,
    /// In the metric's unit, or a rank of the server's when the mode is ordinal.
    pub cost: f64,
}

/// What the ranking was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answerer {
    /// An endpoint cost service.
    EndpointCost(ResourceId),
    /// The client itself, from a network map and a cost map.
    Maps {
        /// Gave the PIDs.
        network_map: ResourceId,
        /// Gave the costs.
        cost_map: ResourceId,
    },
}

/// Whether more of a metric is better (RFC 9439 section 5: throughput and bandwidths).
pub fn prefers_high(cost_type: &CostType) -> bool {
    cost_type.mode == Mode::Numerical && [cost::TPUT, cost::BW_RESIDUAL, cost::BW_AVAILABLE].contains(&cost_type.metric.as_str())
}

impl Client {
    /// Orders destinations by their cost from `source`. Destinations named twice count once.
    pub async fn rank(&self, source: &Address, destinations: &[Address], metric: &Metric) -> Result<Ranking, Error> {
        let mut seen = HashSet::new();
        let destinations: Vec<_> = destinations.iter().filter(|address| seen.insert(*address)).cloned().collect();
        let catalog = self.catalog().await?;
        let no_such_metric = || Error::NotOffered { what: format!("the server has no costs of {metric}"), offered: catalog.metrics() };
        if let Some(cost_type) = catalog.cost_type(metric, Service::EndpointCost) {
            return self.rank_by_service(source, &destinations, cost_type).await;
        }
        let cost_type = catalog.cost_type(metric, Service::CostMap).ok_or_else(no_such_metric)?;
        self.rank_by_maps(source, &destinations, cost_type).await
    }

    async fn rank_by_service(&self, source: &Address, destinations: &[Address], cost_type: CostType) -> Result<Ranking, Error> {
        let by = Answerer::EndpointCost(self.catalog().await?.endpoint_cost(std::slice::from_ref(&cost_type), false)?.id.clone());
        // Ranks of one answer cannot be compared with those of another: ordinal costs must come in one piece.
        let piece = match cost_type.mode {
            Mode::Numerical => self.options().limits.destinations_per_request_max.max(1),
            Mode::Ordinal => destinations.len().max(1),
        };
        let mut costs = HashMap::new();
        for piece in destinations.chunks(piece) {
            let request = Request { query: Query::one(cost_type.clone()), sources: vec![source.clone()], destinations: piece.to_vec() };
            let answer = self.endpoint_costs(&request).await?;
            let Some((_, values)) = answer.value.tables.first() else { continue };
            let Some(row) = answer.value.sources.iter().position(|address| address == source) else { continue };
            let width = answer.value.destinations.len();
            let row = &values[row * width..(row + 1) * width];
            costs.extend(answer.value.destinations.iter().cloned().zip(row.iter().copied()));
        }
        Ok(order(source, destinations, cost_type, by, Freshness::Confirmed, |address| costs.get(address).copied()))
    }

    async fn rank_by_maps(&self, source: &Address, destinations: &[Address], cost_type: CostType) -> Result<Ranking, Error> {
        let catalog = self.catalog().await?;
        let network = catalog.network_map(None)?.id.clone();
        let cost_map_id = catalog.cost_map(&cost_type, &network)?.id.clone();
        // A commit between the two answers leaves them at different versions, also when both are still fresh here: then ask once more.
        let mut attempts = 0;
        let (map, costs, freshness) = loop {
            let demand = if attempts == 0 { self.demand() } else { Demand::Confirmed };
            let map = self.network_map_for(demand, Some(&network)).await?;
            let costs = self.cost_map_for(demand, &cost_type, Some(&network)).await?;
            if costs.value.dependent_vtags.first() == map.value.vtag.as_ref() {
                break (map.value, costs.value, map.freshness.and(costs.freshness));
            }
            attempts += 1;
            if attempts == 3 {
                return Err(Error::bad(
                    &costs.uri,
                    "its meta/dependent-vtags is not the present version of the network map, three times over",
                ));
            }
        };
        let mut asked = vec![source.clone()];
        asked.extend_from_slice(destinations);
        let pids = pids_of(&map, &asked);
        let by = Answerer::Maps { network_map: network, cost_map: cost_map_id };
        let row = costs.tables.first().zip(pids.get(source)).and_then(|((_, table), pid)| {
            let row = table.sources.binary_search(pid).ok()?;
            Some((table, table.row(row)))
        });
        Ok(order(source, destinations, cost_type, by, freshness, |address| {
            let (table, row) = row?;
            let column = table.destinations.binary_search(pids.get(address)?).ok()?;
            Some(row[column])
        }))
    }
}

/// Longest match (RFC 7285 section 11.2.2) of all addresses in one pass: an index is not worth building for one question.
fn pids_of<'a>(map: &'a NetworkMap, addresses: &[Address]) -> HashMap<Address, &'a Pid> {
    let mut best: HashMap<&Address, (u8, &Pid)> = HashMap::new();
    for (pid, group) in &map.pids {
        for prefix in group.ipv4.iter().chain(&group.ipv6) {
            for address in addresses {
                let Some(ip) = address.ip() else { continue };
                if Prefix::contains(prefix, ip) && best.get(address).is_none_or(|(length, _)| *length < prefix.length()) {
                    best.insert(address, (prefix.length(), pid));
                }
            }
        }
    }
    best.into_iter().map(|(address, (_, pid))| (address.clone(), pid)).collect()
}

fn order(
    source: &Address,
    destinations: &[Address],
    cost_type: CostType,
    by: Answerer,
    freshness: Freshness,
    cost: impl Fn(&Address) -> Option<f64>,
) -> Ranking {
    let mut ranked = Vec::new();
    let mut unranked = Vec::new();
    for destination in destinations {
        match cost(destination).filter(|cost| !cost.is_nan()) {
            Some(cost) => ranked.push(Ranked { destination: destination.clone(), cost }),
            None => unranked.push(destination.clone()),
        }
    }
    let high = prefers_high(&cost_type);
    // Stable: equals stay in the caller's order.
    ranked.sort_by(|a, b| if high { b.cost.total_cmp(&a.cost) } else { a.cost.total_cmp(&b.cost) });
    Ranking { source: source.clone(), cost_type, ranked, unranked, by, freshness }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(n: u8) -> Address {
        Address::Ip([192, 0, 2, n].into())
    }

    proptest! {
        /// Nothing asked for is lost or doubled, and no worse one stands before a better one.
        #[test]
        fn every_destination_once_and_in_order(costs in prop::collection::vec(prop::option::of(0u32..5), 0..40), high: bool) {
            let metric = if high { cost::BW_AVAILABLE } else { cost::ROUTINGCOST };
            let cost_type = CostType::numerical(metric.parse().unwrap());
            let destinations: Vec<_> = (0..costs.len() as u8).map(address).collect();
            let cost_of = |wanted: &Address| {
                let at = destinations.iter().position(|one| one == wanted).unwrap();
                costs[at].map(f64::from)
            };
            let by = Answerer::EndpointCost("ecs".parse().unwrap());
            let ranking = order(&address(255), &destinations, cost_type, by, Freshness::Confirmed, cost_of);
            let mut all: Vec<_> = ranking.ranked.iter().map(|one| one.destination.clone()).chain(ranking.unranked.clone()).collect();
            all.sort();
            prop_assert_eq!(&all, &destinations);
            for pair in ranking.ranked.windows(2) {
                if pair[0].cost == pair[1].cost {
                    prop_assert!(pair[0].destination < pair[1].destination, "equals keep the order asked");
                } else {
                    prop_assert_eq!(pair[0].cost > pair[1].cost, high);
                }
            }
        }
    }
}
