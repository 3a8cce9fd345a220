//! Cost maps and endpoint costs (RFC 7285 sections 11.2.3.6 and 11.5.1.6, RFC 8189 section 4.1.3).
use super::{
    NetworkMapFacts,
    findings::{Findings, Pointer},
    tree::{Node, Value},
};
use crate::{
    cost::{self, Metric, Mode},
    endpoint::Address,
    id::Pid,
};
use std::{
    collections::{HashMap, HashSet},
    fmt,
    hash::Hash,
    str::FromStr,
};

const METRICS: [&str; 9] = [
    cost::ROUTINGCOST,
    cost::HOPCOUNT,
    cost::DELAY_OW,
    cost::DELAY_RT,
    cost::DELAY_VARIATION,
    cost::LOSSRATE,
    cost::TPUT,
    cost::BW_RESIDUAL,
    cost::BW_AVAILABLE,
];

pub(super) fn check_cost_map(root: &Node<'_>, network_maps: &[NetworkMapFacts], findings: &mut Findings<'_>) {
    const SECTION: &str = "RFC 7285 section 11.2.3.6";
    let top = Pointer::ROOT;
    let meta = findings.required(root, &top, "meta", "RFC 7285 section 8.4");
    let pointer = top.name("meta");
    let modes = meta.map_or_else(Vec::new, |meta| check_meta(meta, &pointer, findings));
    let mut network_map = None;
    if let Some(list) = meta.and_then(|meta| findings.required(meta, &pointer, "dependent-vtags", SECTION)) {
        let pointer = pointer.name("dependent-vtags");
        if let Some(vtags) = findings.array(list, &pointer, SECTION) {
            if vtags.len() != 1 {
                let message = format!("has {} version tags; a cost map depends on one network map", vtags.len());
                findings.error(list, &pointer, "dependent-vtags", SECTION, message);
            }
            for (index, vtag) in vtags.iter().enumerate() {
                let pointer = pointer.index(index);
                findings.version_tag(vtag, &pointer);
                network_map = NetworkMapFacts::find(vtag, &pointer, network_maps, findings).or(network_map);
            }
        }
    }
    let Some(data) = findings.required(root, &top, "cost-map", SECTION) else { return };
    let pointer = top.name("cost-map");
    let seen = check_matrix::<Pid>(data, &pointer, &modes, "RFC 7285 section 10.1", findings);
    if let Some(network_map) = network_map {
        check_pids(data, &pointer, network_map, &seen, findings);
    }
}

pub(super) fn check_endpoint_costs(root: &Node<'_>, findings: &mut Findings<'_>) {
    let top = Pointer::ROOT;
    let meta = findings.required(root, &top, "meta", "RFC 7285 section 8.4");
    let modes = meta.map_or_else(Vec::new, |meta| check_meta(meta, &top.name("meta"), findings));
    if let Some(data) = findings.required(root, &top, "endpoint-cost-map", "RFC 7285 section 11.5.1.6") {
        check_matrix::<Address>(data, &top.name("endpoint-cost-map"), &modes, "RFC 7285 section 10.4.1", findings);
    }
}

/// What the costs are to be: empty where `meta` does not say.
struct Modes {
    modes: Vec<Option<Mode>>,
    multi: bool,
}

fn check_meta(meta: &Node<'_>, pointer: &Pointer<'_>, findings: &mut Findings<'_>) -> Vec<Modes> {
    if let Some(list) = meta.get("multi-cost-types") {
        let pointer = pointer.name("multi-cost-types");
        let Some(types) = findings.array(list, &pointer, "RFC 8189 section 4.1.3") else { return Vec::new() };
        if types.is_empty() {
            findings.error(list, &pointer, "invalid-value", "RFC 8189 section 4.1.2", "has no cost type".into());
        }
        let modes = types.iter().enumerate().map(|(index, one)| check_cost_type(one, &pointer.index(index), findings)).collect();
        return vec![Modes { modes, multi: true }];
    }
    let Some(cost_type) = findings.required(meta, pointer, "cost-type", "RFC 7285 section 11.2.3.6") else { return Vec::new() };
    let mode = check_cost_type(cost_type, &pointer.name("cost-type"), findings);
    vec![Modes { modes: vec![mode], multi: false }]
}

/// A cost type; its mode where it has one.
pub(super) fn check_cost_type(node: &Node<'_>, pointer: &Pointer<'_>, findings: &mut Findings<'_>) -> Option<Mode> {
    let metric = findings.required(node, pointer, "cost-metric", "RFC 7285 section 10.7");
    if let Some(metric_node) = metric {
        let pointer = pointer.name("cost-metric");
        if let Some(metric) = findings.parsed::<Metric>(metric_node, &pointer, "RFC 7285 section 10.6") {
            // A statistic may follow (RFC 9439 section 3.2): delay-ow:p99.
            let name = metric.as_str().split(':').next().unwrap_or_default();
            if name != "priv" && !METRICS.contains(&name) {
                let message = format!("{metric} is no registered metric; a private one is named priv:{metric}");
                findings.warning(metric_node, &pointer, "unregistered-metric", "RFC 7285 section 10.6", message);
            }
        }
    }
    if metric.is_none() && !matches!(node.value, Value::Object(_)) {
        return None;
    }
    let mode = findings.required(node, pointer, "cost-mode", "RFC 7285 section 10.7")?;
    findings.parsed(mode, &pointer.name("cost-mode"), "RFC 7285 section 10.5")
}

/// Names of the sources and, with their places, of the destinations.
struct Seen<'n> {
    sources: HashSet<&'n str>,
    /// Source and offset of the first, and how often.
    destinations: HashMap<&'n str, (&'n str, usize, usize)>,
}

fn check_matrix<'n, N: FromStr + Eq + Hash>(
    data: &'n Node<'_>,
    pointer: &Pointer<'_>,
    modes: &[Modes],
    name_section: &'static str,
    findings: &mut Findings<'_>,
) -> Seen<'n>
where
    N::Err: fmt::Display,
{
    let mut seen = Seen { sources: HashSet::new(), destinations: HashMap::new() };
    let mut costs = 0;
    for row in findings.object(data, pointer, "RFC 7285 section 11.2.3.6").unwrap_or_default() {
        let pointer = pointer.name(&row.name);
        findings.parsed_name::<N>(row, &pointer, name_section);
        seen.sources.insert(&row.name);
        for cell in findings.object(&row.node, &pointer, "RFC 7285 section 11.2.3.6").unwrap_or_default() {
            let pointer = pointer.name(&cell.name);
            let place = seen.destinations.entry(&cell.name).or_insert((&row.name, cell.name_at, 0));
            place.2 += 1;
            if place.2 == 1 {
                findings.parsed_name::<N>(cell, &pointer, name_section);
            }
            costs += 1;
            if let Some(modes) = modes.first() {
                check_cell(&cell.node, &pointer, modes, findings);
            }
        }
    }
    let pairs = seen.sources.len() * seen.destinations.len();
    if costs < pairs {
        let message = format!("{} of {pairs} pairs of a source and a destination have no cost", pairs - costs);
        findings.note(data.at, pointer, "missing-costs", "RFC 7285 section 11.2.3.6", message);
    }
    seen
}

fn check_cell(node: &Node<'_>, pointer: &Pointer<'_>, modes: &Modes, findings: &mut Findings<'_>) {
    if !modes.multi {
        return check_cost(node, pointer, modes.modes[0], findings);
    }
    const SECTION: &str = "RFC 8189 section 4.1.3";
    let Some(costs) = findings.array(node, pointer, SECTION) else { return };
    if costs.len() != modes.modes.len() {
        let message = format!("has {} costs for {} cost types", costs.len(), modes.modes.len());
        findings.error(node, pointer, "wrong-number-of-costs", SECTION, message);
        return;
    }
    for (index, (cost, mode)) in costs.iter().zip(&modes.modes).enumerate() {
        if !matches!(cost.value, Value::Null) {
            check_cost(cost, &pointer.index(index), *mode, findings);
        }
    }
}

fn check_cost(node: &Node<'_>, pointer: &Pointer<'_>, mode: Option<Mode>, findings: &mut Findings<'_>) {
    match node.value {
        Value::Number(text, cost) if mode == Some(Mode::Ordinal) && !(cost >= 0.0 && cost.fract() == 0.0) => {
            let message = format!("{text} is no rank: ordinal costs are non-negative integers");
            findings.error(node, pointer, "invalid-cost", "RFC 7285 section 6.1.2.2", message);
        }
        Value::Number(text, cost) if !(0.0..=f64::MAX).contains(&cost) => {
            let what = if cost < 0.0 { "negative, which altocast does not take" } else { "past the largest double-precision number" };
            findings.error(node, pointer, "invalid-cost", "RFC 7285 section 11.3.2.3", format!("{text} is {what}"));
        }
        Value::Number(..) => {}
        _ => {
            let message = format!("is {} where a cost is wanted", node.kind());
            findings.error(node, pointer, "wrong-type", "RFC 7285 section 11.2.3.6", message);
        }
    }
}

/// Costs are between the PIDs of the network map, and for all of them (section 11.2.3).
fn check_pids(data: &Node<'_>, pointer: &Pointer<'_>, network_map: &NetworkMapFacts, seen: &Seen<'_>, findings: &mut Findings<'_>) {
    const SECTION: &str = "RFC 7285 section 11.2.3";
    for row in data.members() {
        if !network_map.pids.contains(&*row.name) {
            let message = format!("costs from {:?}, which is no PID of {}", row.name, network_map.resource_id);
            findings.error_at(row.name_at, &pointer.name(&row.name), "unknown-pid", SECTION, message);
        }
    }
    let mut unknown: Vec<_> = seen.destinations.iter().filter(|(name, _)| !network_map.pids.contains(**name)).collect();
    unknown.sort_by_key(|(_, (_, at, _))| *at);
    for (name, (row, at, count)) in unknown {
        let row = pointer.name(row);
        let costs = if *count == 1 { "cost" } else { "costs" };
        let message = format!("{count} {costs} to {name:?}, which is no PID of {}", network_map.resource_id);
        findings.error_at(*at, &row.name(name), "unknown-pid", SECTION, message);
    }
    let without = |pid: &&String| !seen.sources.contains(&***pid) && !seen.destinations.contains_key(&***pid);
    let mut absent: Vec<&String> = network_map.pids.iter().filter(without).collect();
    absent.sort();
    if let Some(first) = absent.first() {
        let (more, have) = match absent.len() - 1 {
            0 => (String::new(), "has"),
            1 => (" and 1 more PID".to_owned(), "have"),
            more => (format!(" and {more} more PIDs"), "have"),
        };
        let message = format!("{first}{more} of {} {have} no cost at all", network_map.resource_id);
        findings.note(data.at, pointer, "pid-without-costs", SECTION, message);
    }
}
