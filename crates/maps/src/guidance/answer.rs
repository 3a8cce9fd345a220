//! Answers to POST requests (RFC 7285 sections 11.3 to 11.5, RFC 8189 section 4), written straight to bytes.
//!
//! An error names the field at fault and its value (section 8.5.2).
use super::{
    ABSENT, Answer, Guidance, Limits, Network, NetworkView, PidIx, Service, render,
    selection::{Costs, Selection, Tests, write_costs},
    write::{self, Keys},
};
use crate::expiry::MapTerms;
use alto::{
    cost::{CostType, Query},
    cost_map,
    endpoint::Address,
    endpoint_cost, endpoint_property,
    error::ErrorBody,
    id::{Pid, ResourceId},
    media_type,
    network_map::{self, AddressGroup},
};
use std::{io::Write as _, net::IpAddr, time::SystemTime};

impl Guidance {
    /// Answers a POST to the service `id`. `client` is the address that the request came from: it stands for an endpoint list
    /// that is empty (section 11.5.1.3). `None` when `id` is no service that takes a body.
    pub fn answer(&self, id: &ResourceId, body: &[u8], client: IpAddr, limits: &Limits) -> Option<Result<Answer, ErrorBody>> {
        let service = self.services.get(id)?;
        let network = |map: &ResourceId| self.network(map).expect("a service stands over a network map that is here");
        let answered = match service {
            Service::Get(_) => return None,
            Service::FilteredNetworkMap(map) => filtered_network_map(&network(map).view, body, limits),
            Service::FilteredCostMap(map) => filtered_cost_map(network(map), body, limits),
            Service::EndpointProperties => self.answer_endpoint_properties(body, limits),
            Service::EndpointCost(map) => endpoint_costs(network(map), body, client, limits),
        };
        Some(answered.map(|body| Answer { media_type: service.media_type(), body }))
    }

    /// Section 11.4.1.
    fn answer_endpoint_properties(&self, body: &[u8], limits: &Limits) -> Result<Vec<u8>, ErrorBody> {
        let request = endpoint_property::Request::from_json_within(body, &limits.requests)?;
        let views = self.property_views(&request)?;
        within_bound("endpoints", request.endpoints.len().saturating_mul(views.len()), limits.properties_max)?;
        let mut out = Vec::with_capacity(128 + request.endpoints.len() * (32 + 64 * views.len()));
        out.extend_from_slice(b"{\"meta\":{\"dependent-vtags\":");
        write::version_tags(&mut out, views.iter().map(|(view, _)| view.vtag()).collect::<Vec<_>>().iter());
        out.extend_from_slice(b"},\"endpoint-properties\":{");
        for (at, endpoint) in request.endpoints.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            address(&mut out, endpoint);
            out.extend_from_slice(b":{");
            let open = out.len();
            for (view, name) in &views {
                // Section 11.4.1.6: a property without a value is left out for that endpoint only.
                let Some(place) = endpoint.ip().and_then(|ip| view.table.lookup(ip)) else { continue };
                if out.len() > open {
                    out.push(b',');
                }
                out.extend_from_slice(name);
                out.push(b':');
                write::string(&mut out, view.pid(place).as_str());
            }
            out.push(b'}');
        }
        out.extend_from_slice(b"}}");
        Ok(out)
    }

    /// Each property asked for: the network map that has it, and its name as JSON.
    pub(super) fn property_views(&self, request: &endpoint_property::Request) -> Result<Vec<(&NetworkView, Vec<u8>)>, ErrorBody> {
        let mut views = Vec::with_capacity(request.properties.len());
        for property in &request.properties {
            let network = property.pid_resource().and_then(|map| self.network(map));
            let network = network.ok_or_else(|| ErrorBody::invalid("properties", property.to_string()))?;
            let mut name = Vec::new();
            write::string(&mut name, &property.to_string());
            views.push((&*network.view, name));
        }
        Ok(views)
    }
}

/// Section 11.3.1. PIDs and address types that are not known are as if they had not been named; naming nothing that is
/// known is not naming nothing, so that selects nothing.
fn filtered_network_map(view: &NetworkView, body: &[u8], limits: &Limits) -> Result<Vec<u8>, ErrorBody> {
    let filter = network_map::Filter::from_json_within(body, &limits.requests)?;
    let only = (!filter.pids.is_empty()).then(|| places(view, &filter.pids));
    let wanted = |kind: &str| filter.address_types.is_empty() || filter.address_types.iter().any(|wanted| **wanted == *kind);
    Ok(render::network_map(view, only.as_deref(), wanted))
}

/// The same part of a network map, each PID with its expiry.
pub fn expiring_part(view: &NetworkView, terms: &MapTerms, body: &[u8], limits: &Limits, now: SystemTime) -> Result<Answer, ErrorBody> {
    let filter = network_map::Filter::from_json_within(body, &limits.requests)?;
    let wanted = |kind: &str| filter.address_types.is_empty() || filter.address_types.iter().any(|wanted| **wanted == *kind);
    let places = match filter.pids.is_empty() {
        true => (0..view.pids.len() as u32).map(PidIx).collect(),
        false => places(view, &filter.pids),
    };
    let part = |group: &AddressGroup| AddressGroup {
        ipv4: if wanted("ipv4") { group.ipv4.clone() } else { Vec::new() },
        ipv6: if wanted("ipv6") { group.ipv6.clone() } else { Vec::new() },
        other: group.other.iter().filter(|(kind, texts)| wanted(kind) && !texts.is_empty()).map(|(k, t)| (k.clone(), t.clone())).collect(),
    };
    let pids = places.iter().map(|place| view.pid(*place)).map(|pid| (pid.clone(), part(&view.map().pids[pid]))).collect();
    let map = network_map::NetworkMap { vtag: Some(view.vtag()), pids };
    Ok(Answer { media_type: media_type::NETWORK_MAP, body: terms.part(view, map, &places, now).to_json() })
}

/// Section 11.3.2; RFC 8189 section 4.1.
fn filtered_cost_map(network: &Network, body: &[u8], limits: &Limits) -> Result<Vec<u8>, ErrorBody> {
    let filter = cost_map::Filter::from_json_within(body, &limits.requests)?;
    let plan = Plan::new(network, &filter.query)?;
    let view = &network.view;
    let list = |pids: &[Pid], index: fn(&super::CostSource) -> &[u32]| -> Vec<PidIx> {
        if pids.is_empty() {
            // All PIDs, but those in no table asked for would only be looked up in vain.
            let count = u32::try_from(view.pids.len()).expect("PIDs are fewer than 2^32");
            let there = |place: &u32| plan.returned.iter().any(|source| index(source)[*place as usize] != ABSENT);
            (0..count).filter(there).map(PidIx).collect()
        } else {
            places(view, pids)
        }
    };
    let selection = Selection {
        sources: list(&filter.sources, |source| &source.rows),
        destinations: list(&filter.destinations, |source| &source.columns),
    };
    let keys = |places: &[PidIx]| {
        let mut keys = Keys::with_capacity(places.len());
        for place in places {
            keys.push(|out| write::string(out, view.pid(*place).as_str()));
        }
        keys
    };
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"meta\":{\"dependent-vtags\":");
    write::version_tags(&mut out, [&view.vtag()]);
    out.push(b',');
    plan.write_cost_types(&mut out);
    out.extend_from_slice(b"},\"cost-map\":");
    plan.write_costs(&mut out, &selection, &keys(&selection.sources), &keys(&selection.destinations));
    out.push(b'}');
    Ok(out)
}

/// Section 11.5.1; RFC 8189 section 4.2. The cost between two endpoints is that between their PIDs.
fn endpoint_costs(network: &Network, body: &[u8], client: IpAddr, limits: &Limits) -> Result<Vec<u8>, ErrorBody> {
    let request = endpoint_cost::Request::from_json_within(body, &limits.requests)?;
    let plan = Plan::new(network, &request.query)?;
    let pairs = request.sources.len().max(1).saturating_mul(request.destinations.len().max(1));
    within_bound("endpoints", pairs, limits.pairs_max)?;
    // An IPv4 client of a socket of both families: `::ffff:192.0.2.1` is 192.0.2.1.
    let client = [Address::Ip(client.to_canonical())];
    let mut selection = Selection { sources: Vec::new(), destinations: Vec::new() };
    let list = |endpoints: &[Address], places: &mut Vec<PidIx>| -> Keys {
        let endpoints = if endpoints.is_empty() { &client } else { endpoints };
        let mut keys = Keys::with_capacity(endpoints.len());
        for endpoint in endpoints {
            // In no PID: no cost is defined, and the endpoint is left out.
            let Some(place) = endpoint.ip().and_then(|ip| network.view.table.lookup(ip)) else { continue };
            places.push(place);
            keys.push(|out| address(out, endpoint));
        }
        keys
    };
    let sources = list(&request.sources, &mut selection.sources);
    let destinations = list(&request.destinations, &mut selection.destinations);
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"meta\":{");
    plan.write_cost_types(&mut out);
    out.extend_from_slice(b"},\"endpoint-cost-map\":");
    plan.write_costs(&mut out, &selection, &sources, &destinations);
    out.push(b'}');
    Ok(out)
}

/// Which tables answer a query.
pub(super) struct Plan<'a> {
    query: &'a Query,
    returned: Vec<&'a super::CostSource>,
    tested: Vec<&'a super::CostSource>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(network: &'a Network, query: &'a Query) -> Result<Self, ErrorBody> {
        let max = network.cost_types_max() as usize;
        if query.multi
            && let Some(surplus) = query.cost_types.get(max)
        {
            return Err(ErrorBody::invalid("multi-cost-types", element(surplus)));
        }
        let field = if query.multi { None } else { Some("cost-type") };
        let returned = sources(network, &query.cost_types, field, "multi-cost-types")?;
        let tested = match (&query.testable, query.constraints.is_empty()) {
            (Some(testable), _) => sources(network, testable, None, "testable-cost-types")?,
            (None, false) => returned.clone(),
            (None, true) => Vec::new(),
        };
        Ok(Self { query, returned, tested })
    }

    /// `"cost-type":...`, and with it `"multi-cost-types"` where those were asked for (RFC 8189 section 4.1.3).
    fn write_cost_types(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"cost-type\":");
        let bare = |cost_type: &CostType| CostType { description: None, ..cost_type.clone() };
        if !self.query.multi {
            return write::cost_type(out, &bare(&self.query.cost_types[0]));
        }
        out.extend_from_slice(b"{},\"multi-cost-types\":[");
        for (at, cost_type) in self.query.cost_types.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write::cost_type(out, &bare(cost_type));
        }
        out.push(b']');
    }

    fn write_costs(&self, out: &mut Vec<u8>, selection: &Selection, sources: &Keys, destinations: &Keys) {
        let costs: Vec<Costs<'_>> = self.returned.iter().map(|source| Costs::new(source, selection)).collect();
        let tests = (!self.query.constraints.is_empty()).then(|| Tests {
            costs: self.tested.iter().map(|source| Costs::new(source, selection)).collect(),
            constraints: &self.query.constraints,
        });
        write_costs(out, sources, destinations, &costs, self.query.multi, tests.as_ref());
    }
}

/// The tables of cost types; one that is not announced is an error of `single/...`, or of the array `list`, whose element
/// is then the value (RFC 7285 section 8.5.2).
fn sources<'a>(
    network: &'a Network,
    cost_types: &[CostType],
    single: Option<&str>,
    list: &str,
) -> Result<Vec<&'a super::CostSource>, ErrorBody> {
    let of = |cost_type: &CostType| {
        network.cost(&cost_type.metric, cost_type.mode).map(|source| &**source).ok_or_else(|| match single {
            None => ErrorBody::invalid(list, element(cost_type)),
            Some(field) if network.costs.iter().any(|source| source.cost_type.metric == cost_type.metric) => {
                ErrorBody::invalid(format!("{field}/cost-mode"), cost_type.mode.as_str())
            }
            Some(field) => ErrorBody::invalid(format!("{field}/cost-metric"), cost_type.metric.as_str()),
        })
    };
    cost_types.iter().map(of).collect()
}

/// A cost type of an array, as the value of an error (RFC 7285 section 8.5.2: "the value of the invalid element, as a string").
fn element(cost_type: &CostType) -> String {
    let mut text = Vec::new();
    write::cost_type(&mut text, &CostType { description: None, ..cost_type.clone() });
    String::from_utf8_lossy(&text).into_owned()
}

/// The places of PIDs by name, each once; names that the network map does not have are left out.
fn places(view: &NetworkView, pids: &[Pid]) -> Vec<PidIx> {
    let mut seen = vec![false; view.pids.len()];
    let known = pids.iter().filter_map(|pid| view.place(pid.as_str()));
    known.filter(|place| !std::mem::replace(&mut seen[place.0 as usize], true)).collect()
}

fn address(out: &mut Vec<u8>, address: &Address) {
    match address {
        Address::Ip(IpAddr::V4(ip)) => {
            out.extend_from_slice(b"\"ipv4:");
            write::ipv4(out, *ip);
            out.push(b'"');
        }
        Address::Ip(IpAddr::V6(ip)) => write!(out, "\"ipv6:{ip}\"").expect("writing to memory does not fail"),
        Address::Private(text) => write::string(out, text),
    }
}

pub(super) fn within_bound(field: &str, asked: usize, max: usize) -> Result<(), ErrorBody> {
    if asked <= max { Ok(()) } else { Err(ErrorBody::invalid(field, format!("{asked}, more than {max}"))) }
}
