//! What changed between two computations, in one line a person can read: which link or router, how many costs moved.
use alto::{cost_map::CostTable, endpoint::Prefix, id::Pid};
use maps::{compute::Computed, partition::Partition};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};
use topology::graph::{Graph, Link};

/// Changes named one by one; the rest is counted.
const NAMED_MAX: usize = 4;

/// The line; empty when nothing changed.
pub fn describe(old: &Computed, new: &Computed) -> String {
    let mut parts = Vec::new();
    let network = network(&old.graph, &new.graph);
    if !network.is_empty() {
        parts.push(listed(&network));
    }
    parts.extend(prefixes(old, new));
    parts.extend(costs(old, new));
    parts.join("; ")
}

/// What there is, for the first line.
pub fn summary(computed: &Computed) -> String {
    let map = &computed.partition.network_map;
    let prefixes: usize = map.pids.values().map(|group| group.ipv4.len() + group.ipv6.len()).sum();
    let metrics: Vec<&str> = computed.tables.keys().map(|metric| metric.as_str()).collect();
    let metrics = if metrics.is_empty() { "no costs".into() } else { metrics.join(", ") };
    let graph = &computed.graph;
    let (routers, links) = (counted(graph.routers.len(), "router"), counted(graph.links.len(), "directed link"));
    format!("{}, {}, {routers}, {links}; {metrics}", counted(map.pids.len(), "PID"), counted(prefixes, "prefix"))
}

fn counted(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ if what.ends_with('x') => format!("{number} {what}es"),
        _ => format!("{number} {what}s"),
    }
}

fn listed(all: &[String]) -> String {
    let named = all.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    if all.len() > NAMED_MAX { format!("{named} and {} more changes", all.len() - NAMED_MAX) } else { named }
}

/// Sender, receiver, the sender's interface.
type Key<'g> = (&'g str, &'g str, Option<IpAddr>);

fn links(graph: &Graph) -> BTreeMap<Key<'_>, &Link> {
    let id = |ix: topology::graph::RouterIx| &*graph.routers[ix.0 as usize].id;
    graph.links.iter().map(|link| ((id(link.from), id(link.to), link.local_address), link)).collect()
}

fn network(old: &Graph, new: &Graph) -> Vec<String> {
    let ids = |graph: &'_ Graph| -> BTreeSet<Arc<str>> { graph.routers.iter().map(|router| router.id.clone()).collect() };
    let (routers_before, routers_after) = (ids(old), ids(new));
    let mut changes: Vec<String> = routers_before.difference(&routers_after).map(|id| format!("router {id} gone")).collect();
    changes.extend(routers_after.difference(&routers_before).map(|id| format!("router {id} back")));
    // Links of a router that came or went are no news beside that.
    let stayed = |key: &Key<'_>| [key.0, key.1].iter().all(|id| routers_before.contains(*id) && routers_after.contains(*id));

    let (before, after) = (links(old), links(new));
    let mut directions: BTreeMap<(&str, &str, String), usize> = BTreeMap::new();
    for key in before.keys().chain(after.keys().filter(|key| !before.contains_key(*key))).filter(|key| stayed(key)) {
        for what in change(before.get(key).copied(), after.get(key).copied()) {
            let (from, to, _) = *key;
            *directions.entry((from.min(to), from.max(to), what)).or_default() += 1;
        }
    }
    changes.extend(directions.into_iter().map(|((a, b, what), times)| {
        let one_way = if times == 1 { " (one direction)" } else { "" };
        format!("link {a}-{b} {what}{one_way}")
    }));
    changes
}

fn change(before: Option<&Link>, after: Option<&Link>) -> Vec<String> {
    let (before, after) = match (before, after) {
        (None, None) => return Vec::new(),
        (Some(_), None) => return vec!["down".into()],
        (None, Some(_)) => return vec!["up".into()],
        (Some(before), Some(after)) => (before, after),
    };
    let mut changes = Vec::new();
    if before.igp_cost != after.igp_cost {
        changes.push(format!("cost {} -> {}", before.igp_cost, after.igp_cost));
    }
    let number = |value: Option<f64>| value.map_or("unknown".into(), |value| format!("{value:.0}"));
    if before.delay_us != after.delay_us {
        changes.push(format!("delay {} -> {} us", number(before.delay_us), number(after.delay_us)));
    }
    if before.bandwidth_bps != after.bandwidth_bps {
        changes.push(format!("bandwidth {} -> {} bit/s", number(before.bandwidth_bps), number(after.bandwidth_bps)));
    }
    changes
}

fn prefixes(old: &Computed, new: &Computed) -> Option<String> {
    if Arc::ptr_eq(&old.partition, &new.partition) || old.partition.network_map.pids == new.partition.network_map.pids {
        return None;
    }
    let (before, after) = (places(&old.partition), places(&new.partition));
    let (mut added, mut removed, mut moved) = (Vec::new(), Vec::new(), Vec::new());
    let (mut i, mut j) = (0, 0);
    while i < before.len() || j < after.len() {
        match (before.get(i), after.get(j)) {
            (Some(was), Some(is)) if was.0 == is.0 => {
                if was.1 != is.1 {
                    moved.push(is.1);
                }
                (i, j) = (i + 1, j + 1);
            }
            (Some(was), is) if is.is_none_or(|is| was.0 < is.0) => {
                removed.push(was.1);
                i += 1;
            }
            (_, Some(is)) => {
                added.push(is.1);
                j += 1;
            }
            (_, None) => break,
        }
    }
    let said = [("added", added), ("removed", removed), ("moved", moved)];
    let said = said.into_iter().filter(|(_, pids)| !pids.is_empty()).map(|(what, mut pids)| {
        let count = pids.len();
        pids.sort_unstable();
        pids.dedup();
        let names: Vec<String> = pids.iter().map(|pid| pid.to_string()).collect();
        format!("{} {what} ({})", counted(count, "prefix"), listed(&names).replace(" more changes", " more PIDs"))
    });
    Some(said.collect::<Vec<_>>().join(", "))
}

fn places(partition: &Partition) -> Vec<(Prefix, &Pid)> {
    let pids = partition.network_map.pids.iter();
    let mut all: Vec<_> = pids.flat_map(|(pid, group)| group.ipv4.iter().chain(&group.ipv6).map(move |prefix| (*prefix, pid))).collect();
    all.sort_unstable();
    all
}

fn costs(old: &Computed, new: &Computed) -> Option<String> {
    let empty = CostTable { sources: [].into(), destinations: [].into(), values: Vec::new() };
    let metrics: BTreeSet<_> = old.tables.keys().chain(new.tables.keys()).collect();
    let mut said = Vec::new();
    let mut pairs = 0;
    for metric in metrics {
        let table = |computed: &Computed| computed.tables.get(metric).cloned();
        let (before, after) = (table(old), table(new));
        if let (Some(before), Some(after)) = (&before, &after)
            && Arc::ptr_eq(before, after)
        {
            continue;
        }
        let count = moved(before.as_deref().unwrap_or(&empty), after.as_deref().unwrap_or(&empty));
        pairs = pairs.max(after.or(before).map_or(0, |table| table.values.len()));
        if count > 0 {
            said.push(format!("{} {count}", metric.as_str()));
        }
    }
    (!said.is_empty()).then(|| format!("costs moved, of {pairs}: {}", said.join(", ")))
}

/// Costs that differ, by name of PID; one that is in one table alone differs when it is a number.
fn moved(old: &CostTable, new: &CostTable) -> usize {
    let differ = |a: f64, b: f64| a != b && !(a.is_nan() && b.is_nan());
    if old.sources == new.sources && old.destinations == new.destinations {
        return old.values.iter().zip(&new.values).filter(|(a, b)| differ(**a, **b)).count();
    }
    let cells = |table: &CostTable| -> HashMap<(Pid, Pid), f64> {
        let rows =
            table.sources.iter().flat_map(|source| table.destinations.iter().map(move |destination| (source.clone(), destination.clone())));
        rows.zip(table.values.iter().copied()).filter(|(_, value)| !value.is_nan()).collect()
    };
    let (before, after) = (cells(old), cells(new));
    let gone = before.keys().filter(|pair| !after.contains_key(*pair)).count();
    gone + after.iter().filter(|(pair, value)| before.get(*pair) != Some(*value)).count()
}
