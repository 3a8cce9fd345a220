//! One form for all requests that ask for the same: which answers may be shared, and for how long.
use super::{
    Guidance, Limits, Service,
    answer::{Plan, within_bound},
};
use alto::{cost::Query, cost_map, endpoint::Address, endpoint_cost, endpoint_property, error::ErrorBody, id::ResourceId, network_map};
use std::{net::IpAddr, sync::Arc};

impl Guidance {
    /// The request body that asks service `id` for the same as `body` does, and is the same for all that do: members and lists in one
    /// order, nothing named twice, `client` in place of an endpoint list that is empty (RFC 7285 section 11.5.1.3). Names that the maps do
    /// not have stay: they may come. Refused is what [`Self::answer`] refuses, with the same error; `None` when `id` takes no body.
    pub fn canonical(&self, id: &ResourceId, body: &[u8], client: IpAddr, limits: &Limits) -> Option<Result<Vec<u8>, ErrorBody>> {
        Some(match self.service(id)? {
            Service::Get(_) => return None,
            Service::FilteredNetworkMap(_) => filtered_network_map(body, limits),
            Service::FilteredCostMap(map) => self.filtered_cost_map(map, body, limits),
            Service::EndpointProperties => self.endpoint_properties(body, limits),
            Service::EndpointCost(map) => self.endpoint_costs(map, body, client, limits),
        })
    }

    /// Whether service `id` gives the same answer to any request as it did in `other`, as far as a few comparisons tell.
    pub fn answers_alike(&self, other: &Self, id: &ResourceId) -> bool {
        let same_map = |map| match (self.network(map), other.network(map)) {
            (Some(mine), Some(theirs)) => Arc::ptr_eq(&mine.view, &theirs.view),
            _ => false,
        };
        let same_costs = |map| match (self.network(map), other.network(map)) {
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs),
            _ => false,
        };
        match (self.service(id), other.service(id)) {
            (Some(Service::FilteredNetworkMap(a)), Some(Service::FilteredNetworkMap(b))) => a == b && same_map(a),
            (Some(Service::FilteredCostMap(a)), Some(Service::FilteredCostMap(b)))
            | (Some(Service::EndpointCost(a)), Some(Service::EndpointCost(b))) => a == b && same_costs(a),
            (Some(Service::EndpointProperties), Some(Service::EndpointProperties)) => {
                self.networks.len() == other.networks.len() && self.networks.iter().all(|network| same_map(&network.view.id))
            }
            (Some(Service::Get(a)), Some(Service::Get(b))) => a.same(b),
            _ => false,
        }
    }

    fn filtered_cost_map(&self, map: &ResourceId, body: &[u8], limits: &Limits) -> Result<Vec<u8>, ErrorBody> {
        let mut filter = cost_map::Filter::from_json_within(body, &limits.requests)?;
        self.settle_query(map, &mut filter.query)?;
        filter.sources.sort_unstable();
        filter.destinations.sort_unstable();
        Ok(filter.to_json())
    }

    fn endpoint_costs(&self, map: &ResourceId, body: &[u8], client: IpAddr, limits: &Limits) -> Result<Vec<u8>, ErrorBody> {
        let mut request = endpoint_cost::Request::from_json_within(body, &limits.requests)?;
        self.settle_query(map, &mut request.query)?;
        for list in [&mut request.sources, &mut request.destinations] {
            if list.is_empty() {
                list.push(Address::Ip(client.to_canonical()));
            }
            list.sort_unstable();
        }
        within_bound("endpoints", request.sources.len().saturating_mul(request.destinations.len()), limits.pairs_max)?;
        Ok(request.to_json())
    }

    fn settle_query(&self, map: &ResourceId, query: &mut Query) -> Result<(), ErrorBody> {
        Plan::new(self.network(map).expect("a service stands over a network map that is here"), query)?;
        if query.constraints.is_empty() {
            // What could be tested says nothing when nothing is.
            query.testable = None;
        }
        Ok(())
    }

    fn endpoint_properties(&self, body: &[u8], limits: &Limits) -> Result<Vec<u8>, ErrorBody> {
        let mut request = endpoint_property::Request::from_json_within(body, &limits.requests)?;
        self.property_views(&request)?;
        within_bound("endpoints", request.endpoints.len().saturating_mul(request.properties.len()), limits.properties_max)?;
        // Properties keep their order: `dependent-vtags`, a list, follows it.
        request.endpoints.sort_unstable();
        Ok(request.to_json())
    }
}

fn filtered_network_map(body: &[u8], limits: &Limits) -> Result<Vec<u8>, ErrorBody> {
    let mut filter = network_map::Filter::from_json_within(body, &limits.requests)?;
    filter.pids.sort_unstable();
    filter.address_types.sort_unstable();
    filter.address_types.dedup();
    Ok(filter.to_json())
}
