//! `ietf-network:networks` (RFC 8345) with layer 3 attributes (RFC 8346) as JSON (RFC 7951).
//!
//! A file holds several networks, one above the other; one of them is the graph: the one the options name, else the only layer 3 unicast
//! network, else the only one. Links are unidirectional (RFC 8345 section 4.4.5); `metric1` is the IGP metric, te-types bandwidths are
//! bytes/s and delays microseconds. Invariant: what hangs on a node of another network is not taken.
use super::{Options, error::Refusal, json::Node, read::Collector};
use crate::observation::{Link, PrefixAt, Router};
use alto::endpoint::Prefix;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
};

const L3: &str = "ietf-l3-unicast-topology:l3-unicast-topology";

pub(super) fn read(document: Node<'_, '_>, options: &Options, into: &mut Collector<'_>) -> Result<(), Refusal> {
    let networks = document.need("ietf-network:networks")?;
    let list = networks.need("network")?;
    let list: Vec<Node<'_, '_>> = list.items()?.collect();
    let network = choose(&list, options)?;

    let mut nodes: HashSet<&str> = HashSet::new();
    let mut terminations: HashMap<(&str, &str), IpAddr> = HashMap::new();
    let mut prefixes: BTreeMap<Prefix, (u32, &str)> = BTreeMap::new();
    let empty = serde_json::Value::Array(Vec::new());
    let none = Node::root(&empty);
    for node in network.get("node").unwrap_or(none).items()? {
        let id = node.need("node-id")?.str()?;
        if !nodes.insert(id) {
            return Err(node.wrong(format!("node {id:?} is there twice")));
        }
        let mut addresses = Vec::new();
        for point in node.get("ietf-network-topology:termination-point").unwrap_or(none).items()? {
            let point_id = point.need("tp-id")?.str()?;
            let Some(attributes) = point.get("ietf-l3-unicast-topology:l3-termination-point-attributes") else { continue };
            for address in attributes.get("ip-address").unwrap_or(none).items()? {
                match address_of(address.str()?) {
                    Some(address) => {
                        terminations.entry((id, point_id)).or_insert(address);
                    }
                    None => into.odd(address.pointer(), format!("{} is no address: skipped", address.value)),
                }
            }
        }
        if let Some(attributes) = node.get("ietf-l3-unicast-topology:l3-node-attributes") {
            for router_id in attributes.get("router-id").unwrap_or(none).items()? {
                // Left empty by exporters that know none.
                addresses.extend(router_id.str()?.parse::<IpAddr>());
            }
            for entry in attributes.get("prefix").unwrap_or(none).items()? {
                let text = entry.need("prefix")?.str()?;
                let Some(prefix) = text.split_once('/').and_then(|(base, length)| Prefix::new(base.parse().ok()?, length.parse().ok()?))
                else {
                    into.odd(entry.pointer(), format!("{text:?} is no prefix: skipped"));
                    continue;
                };
                let metric = entry.get("metric").map_or(Ok(0), |metric| metric.u32())?;
                // Of all that announce it the nearest to it; the first at equal metric.
                let best = prefixes.entry(prefix).or_insert((metric, id));
                if metric < best.0 {
                    *best = (metric, id);
                }
            }
        }
        into.router(Router { id: id.into(), addresses, ..Router::default() })?;
    }

    for link in network.get("ietf-network-topology:link").unwrap_or(none).items()? {
        let (source, destination) = (link.need("source")?, link.need("destination")?);
        let (from, to) = (source.need("source-node")?.str()?, destination.need("dest-node")?.str()?);
        if let Some(unknown) = [from, to].into_iter().find(|end| !nodes.contains(end)) {
            into.odd(link.pointer(), format!("link of {unknown:?}, which is no node of this network: skipped"));
            continue;
        }
        let point = |node: &str, point: Option<Node<'_, '_>>| -> Result<Option<IpAddr>, Refusal> {
            let Some(point) = point else { return Ok(None) };
            Ok(terminations.get(&(node, point.str()?)).copied())
        };
        let mut seen = Link {
            from: from.into(),
            to: to.into(),
            local_address: point(from, source.get("source-tp"))?,
            remote_address: point(to, destination.get("dest-tp"))?,
            ..Link::default()
        };
        if let Some(attributes) = link.get("ietf-l3-unicast-topology:l3-link-attributes") {
            seen.igp_cost = attributes.get("metric1").map(|metric| metric.u32()).transpose()?;
            traffic_engineering(attributes, &mut seen)?;
        }
        traffic_engineering(link, &mut seen)?;
        into.link(seen)?;
    }
    for (prefix, (_, node)) in prefixes {
        into.prefix(PrefixAt { prefix, group: None, router: Some(node.into()), asn: None })?;
    }
    Ok(())
}

/// RFC 8795 `te-link-attributes`, wherever the exporter put them.
fn traffic_engineering(holder: Node<'_, '_>, link: &mut Link) -> Result<(), Refusal> {
    let Some(te) = holder.get("ietf-te-topology:te") else { return Ok(()) };
    let Some(attributes) = te.get("te-link-attributes") else { return Ok(()) };
    let amount = |name: &'static str| attributes.get(name).map(|amount| amount.number()).transpose();
    link.igp_cost = link.igp_cost.or(attributes.get("te-default-metric").map(|metric| metric.u32()).transpose()?);
    link.delay_us = link.delay_us.or(amount("te-delay-metric")?);
    if let Some(bandwidth) = attributes.get("max-link-bandwidth")
        && bandwidth.value.is_number()
    {
        link.bandwidth_bps = link.bandwidth_bps.or(Some(bandwidth.number()? * 8.0));
    }
    Ok(())
}

fn choose<'n, 'v, 'p>(networks: &'n [Node<'v, 'p>], options: &Options) -> Result<&'n Node<'v, 'p>, Refusal> {
    let ids = networks.iter().map(|network| network.need("network-id")?.str()).collect::<Result<Vec<&str>, _>>()?;
    if let Some(wanted) = options.network.as_deref() {
        let found = ids.iter().position(|id| *id == wanted).map(|at| &networks[at]);
        let advice = "set the source's `network` to one of them";
        return found.ok_or_else(|| Refusal::whole(format!("no network {wanted:?} in it; there are {}", ids.join(", ")), advice));
    }
    let l3 = |network: &&'n Node<'v, 'p>| network.get("network-types").is_some_and(|types| types.get(L3).is_some());
    let candidates: Vec<&Node<'_, '_>> = if networks.len() == 1 { networks.iter().collect() } else { networks.iter().filter(l3).collect() };
    match candidates[..] {
        [only] => Ok(only),
        [] => {
            Err(Refusal::whole(format!("no layer 3 unicast network among {}", ids.join(", ")), "set the source's `network` to one of them"))
        }
        _ => Err(Refusal::whole(
            format!(
                "several layer 3 networks: {}",
                candidates.iter().filter_map(|network| network.need("network-id").ok()?.str().ok()).collect::<Vec<_>>().join(", ")
            ),
            "set the source's `network` to one of them",
        )),
    }
}

/// `192.0.2.1`, and as exporters write it `192.0.2.1/24` or `area1:192.0.2.1/24`.
fn address_of(text: &str) -> Option<IpAddr> {
    let bare = text.split('/').next()?;
    bare.parse().ok().or_else(|| bare.split_once(':')?.1.parse().ok())
}
