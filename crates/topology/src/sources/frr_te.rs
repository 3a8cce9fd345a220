//! Traffic engineering databases as FRR prints them: `show ip ospf mpls-te database json`, `show isis mpls-te database json`.
//!
//! RFC 3630 (OSPF), RFC 5305 (IS-IS), RFC 7471 and 8570 (delays, available bandwidth). Delays come in microseconds, bandwidths in bytes/s as
//! 32-bit floats. Invariant: edges ask for the two-way check, except those into another AS, whose far end reports nothing here.
//!
//! FRR 8.4.4 leaves `remote-vertex-id` out of some OSPF edges; the far end is then the router whose edge has the far address.
use super::{Options, error::Refusal, json::Node, options::BandwidthFrom, read::Collector};
use crate::observation::{Link, PrefixAt, Router};
use alto::endpoint::Prefix;
use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

struct Edge {
    pointer: String,
    local: u64,
    remote: Option<u64>,
    link: Link,
    unreserved: Option<f64>,
    maximum: Option<f64>,
}

pub(super) fn read(document: Node<'_, '_>, options: &Options, into: &mut Collector<'_>) -> Result<(), Refusal> {
    let ted = document.need("ted")?;
    let mut vertices: HashMap<u64, Box<str>> = HashMap::new();
    for vertex in ted.need("vertices")?.items()? {
        if gone(&vertex)? {
            continue;
        }
        let id = number(vertex.need("vertex-id")?)?;
        let mut addresses = Vec::new();
        for name in ["router-id", "router-id-v6"] {
            if let Some(address) = vertex.get(name) {
                addresses.push(address.ip()?);
            }
        }
        let host = vertex.get("name").map(|name| name.str()).transpose()?;
        let address = addresses.first().map(IpAddr::to_string);
        // The table of names may go by either; without it the host name says more than the number.
        let named = [host, address.as_deref()].into_iter().flatten().find(|own| options.names.contains_key(*own));
        let name: Box<str> = named.or(host).or(address.as_deref()).map_or_else(|| id.to_string().into(), Box::from);
        if vertices.insert(id, name.clone()).is_some() {
            return Err(vertex.wrong(format!("vertex {id} is there twice")));
        }
        into.router(Router { id: name, addresses, ..Router::default() })?;
    }

    let mut edges = Vec::new();
    if let Some(list) = ted.get("edges") {
        for edge in list.items()? {
            if !gone(&edge)? {
                edges.push(read_edge(edge)?);
            }
        }
    }
    complete(&mut edges, into);
    untracked(&edges, options, into);
    for edge in edges {
        let Some(remote) = edge.remote else {
            into.odd(edge.pointer, "edge without a far end (no remote-vertex-id, and no edge has its far address): skipped".into());
            continue;
        };
        let (Some(from), Some(to)) = (vertices.get(&edge.local), vertices.get(&remote)) else {
            into.odd(edge.pointer, "edge of a vertex that is not in the database: skipped".into());
            continue;
        };
        let bandwidth = match options.bandwidth {
            BandwidthFrom::Unreserved => edge.unreserved.or(edge.maximum),
            BandwidthFrom::Maximum => edge.maximum,
        };
        into.link(Link { from: from.clone(), to: to.clone(), bandwidth_bps: bandwidth.map(|bytes| bytes * 8.0), ..edge.link })?;
    }

    if options.stub_prefixes
        && let Some(list) = ted.get("subnets")
    {
        for subnet in list.items()? {
            let id = subnet.need("subnet-id")?;
            let text = id.str()?;
            let prefix = text.split_once('/').and_then(|(base, length)| Prefix::new(base.parse().ok()?, length.parse().ok()?));
            let prefix = prefix.ok_or_else(|| id.wrong(format!("{text:?} is not a prefix")))?;
            if let Some(router) = vertices.get(&number(subnet.need("vertex-id")?)?) {
                into.prefix(PrefixAt { prefix, group: None, router: Some(router.clone()), asn: None })?;
            }
        }
    }
    Ok(())
}

fn read_edge(edge: Node<'_, '_>) -> Result<Edge, Refusal> {
    let local = number(edge.need("local-vertex-id")?)?;
    let remote = edge.get("remote-vertex-id").map(number).transpose()?;
    let igp_cost = edge.get("metric").map(|metric| metric.u32()).transpose()?;
    let mut read = Edge {
        pointer: edge.pointer(),
        local,
        remote,
        link: Link { igp_cost, needs_both_ends: true, ..Link::default() },
        unreserved: None,
        maximum: None,
    };
    let Some(attributes) = edge.get("edge-attributes") else { return Ok(read) };
    let ip = |name: &'static str| attributes.get(name).map(|address| address.ip()).transpose();
    let amount = |name: &'static str| attributes.get(name).map(|amount| amount.number()).transpose();
    read.link.local_address = ip("local-address")?.or(ip("local-address-v6")?);
    read.link.remote_address = ip("remote-address")?.or(ip("remote-address-v6")?);
    read.link.needs_both_ends = attributes.get("remote-asn").is_none();
    read.link.delay_us = amount("delay")?;
    read.maximum = amount("max-link-bandwidth")?;
    read.unreserved = amount("available-bandwidth")?;
    if read.unreserved.is_none()
        && let Some(classes) = attributes.get("unreserved-bandwidth")
    {
        // What the lowest priority may still have is what anyone may have.
        for class in classes.items()? {
            for (_, amount) in class.members()? {
                let amount = amount.number()?;
                read.unreserved = Some(read.unreserved.map_or(amount, |least| least.min(amount)));
            }
        }
    }
    Ok(read)
}

/// Finds the far ends that the database leaves out, by interface address.
fn complete(edges: &mut [Edge], into: &mut Collector<'_>) {
    let owners: HashMap<IpAddr, u64> = edges.iter().filter_map(|edge| Some((edge.link.local_address?, edge.local))).collect();
    let facing: HashMap<IpAddr, (u64, Option<IpAddr>)> =
        edges.iter().filter_map(|edge| Some((edge.link.remote_address?, (edge.local, edge.link.local_address)))).collect();
    for edge in edges.iter_mut().filter(|edge| edge.remote.is_none()) {
        let by_far_address = edge.link.remote_address.and_then(|address| owners.get(&address).copied());
        let by_own_address = || edge.link.local_address.and_then(|address| facing.get(&address).copied());
        let found = by_far_address.map(|owner| (owner, edge.link.remote_address)).or_else(by_own_address);
        let Some((owner, address)) = found.filter(|(owner, _)| *owner != edge.local) else { continue };
        edge.remote = Some(owner);
        edge.link.remote_address = edge.link.remote_address.or(address);
        into.odd(edge.pointer.clone(), "edge without remote-vertex-id: far end found by its address".into());
    }
}

/// One unreserved bandwidth on every link, whatever their maximum, is a default nobody updates: `bw-available` from it would say nothing.
fn untracked(edges: &[Edge], options: &Options, into: &mut Collector<'_>) {
    let values = |of: fn(&Edge) -> Option<f64>| edges.iter().filter_map(of).map(f64::to_bits).collect::<BTreeSet<u64>>();
    let (unreserved, maximum) = (values(|edge| edge.unreserved), values(|edge| edge.maximum));
    if options.bandwidth == BandwidthFrom::Unreserved && unreserved.len() == 1 && maximum.len() > 1 {
        let what = "every edge has the same unreserved bandwidth while their maxima differ: these routers do not track reservations; \
                    set the source's `bandwidth` to \"maximum\"";
        into.odd("/ted/edges".into(), what.into());
    }
}

/// FRR keeps elements it is about to remove, and far ends it has only heard of, with a status of their own.
fn gone(element: &Node<'_, '_>) -> Result<bool, Refusal> {
    let status = element.get("status").map(|status| status.str()).transpose()?;
    Ok(matches!(status, Some("Delete" | "Orphan")))
}

/// Vertex ids are 64-bit numbers; some releases print them as strings.
fn number(node: Node<'_, '_>) -> Result<u64, Refusal> {
    let number = node.value.as_u64().or_else(|| node.value.as_str()?.parse().ok());
    number.ok_or_else(|| node.wrong("not a vertex number"))
}
