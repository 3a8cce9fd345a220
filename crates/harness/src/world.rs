//! An operator at random: changes of a few small maps, of every kind that the admin API knows, most of them right.
//!
//! Small, so that what is rare meets: two network maps, two cost maps of each, six PIDs.
use alto::{
    Document, Limits,
    id::{ResourceId, Tag},
};
use fastrand::Rng;
use history::{Change, FolderId};
use serde_json::{Value, json};

/// Network maps, each with its cost maps.
const RESOURCES: [(&str, [&str; 2]); 2] = [("net-a", ["a-cost", "a-hops"]), ("net-b", ["b-cost", "b-delay"])];
const METRICS: [&str; 2] = ["routingcost", "hopcount"];
const PIDS: usize = 6;
const PREFIXES: usize = 12;

/// Every resource id there may be.
pub fn resources() -> impl Iterator<Item = ResourceId> {
    RESOURCES.into_iter().flat_map(|(network, costs)| [network, costs[0], costs[1]]).map(id)
}

/// What the resource depends on.
pub fn depends_on(resource: &str) -> Option<&'static str> {
    RESOURCES.into_iter().find(|(_, costs)| costs.contains(&resource)).map(|(network, _)| network)
}

fn id(text: &str) -> ResourceId {
    text.parse().expect("these are valid resource ids")
}

/// All resources, once.
pub fn first(random: &mut Rng) -> Vec<Change> {
    RESOURCES
        .into_iter()
        .flat_map(|(network, costs)| {
            let mut changes = vec![put(network, &network_map(random, true))];
            changes.extend(costs.into_iter().zip(METRICS).map(|(name, metric)| put(name, &cost_map(random, network, metric))));
            changes
        })
        .collect()
}

/// The changes of one commit; now and then wrong ones, which must change nothing.
pub fn commit(random: &mut Rng) -> Vec<Change> {
    (0..if random.u8(..5) == 0 { 3 } else { 1 }).map(|_| change(random)).collect()
}

fn change(random: &mut Rng) -> Change {
    let (network, costs) = RESOURCES[random.usize(..2)];
    let which = random.usize(..2);
    let (name, metric) = (costs[which], METRICS[which]);
    let pid = |random: &mut Rng| format!("p{}", random.usize(..PIDS));
    match random.u8(..20) {
        0..=8 => {
            let cells =
                (0..random.usize(1..4)).map(|_| (pid(random), json!({ pid(random): cell(random) }))).collect::<serde_json::Map<_, _>>();
            Change::MergePatch { id: id(name), patch: json!({ "cost-map": cells }).to_string().into() }
        }
        9..=10 => {
            let patch = json!([{ "op": "add", "path": format!("/cost-map/{}/{}", pid(random), pid(random)), "value": random.u8(..50) }]);
            Change::JsonPatch { id: id(name), patch: patch.to_string().into() }
        }
        11..=13 => put(name, &cost_map(random, network, metric)),
        14..=15 => put(network, &whole_or_not(random)),
        17 if random.bool() => Change::Withdraw { id: id(if random.u8(..4) == 0 { network } else { name }) },
        16..=18 => {
            let document = whole_or_not(random);
            let digest: Tag = Tag::of_content(&[document.to_string().as_bytes()]);
            Change::File { id: id(network), folder: folder(), digest, document: parse(&document) }
        }
        _ => Change::FileGone { id: id(network), folder: Some(folder()) },
    }
}

fn folder() -> FolderId {
    FolderId::of("maps".as_ref())
}

/// A cost, or none.
fn cell(random: &mut Rng) -> Value {
    if random.u8(..8) == 0 { Value::Null } else { json!(f64::from(random.u16(..200)) / 4.0) }
}

/// Now and then a PID is missing, which takes it out of the cost maps.
fn whole_or_not(random: &mut Rng) -> Value {
    let whole = random.u8(..6) > 0;
    network_map(random, whole)
}

fn network_map(random: &mut Rng, whole: bool) -> Value {
    let mut pids = serde_json::Map::new();
    for prefix in 0..PREFIXES {
        let pid = if whole && prefix < PIDS { prefix } else { random.usize(..PIDS) };
        let pid = format!("p{pid}");
        let group = pids.entry(pid).or_insert_with(|| json!({ "ipv4": [] }));
        group["ipv4"].as_array_mut().expect("it was made an array").push(json!(format!("10.{prefix}.0.0/16")));
    }
    json!({ "meta": {}, "network-map": pids })
}

fn cost_map(random: &mut Rng, network: &str, metric: &str) -> Value {
    let mut rows = serde_json::Map::new();
    for from in 0..PIDS {
        let mut row = serde_json::Map::new();
        for to in 0..PIDS {
            if random.u8(..4) > 0 {
                row.insert(format!("p{to}"), json!(random.u8(..9)));
            }
        }
        if !row.is_empty() {
            rows.insert(format!("p{from}"), row.into());
        }
    }
    json!({
        "meta": { "dependent-vtags": [{ "resource-id": network, "tag": "any" }], "cost-type": { "cost-mode": "numerical", "cost-metric": metric } },
        "cost-map": rows,
    })
}

fn put(name: &str, document: &Value) -> Change {
    Change::Put { id: id(name), document: parse(document) }
}

fn parse(document: &Value) -> Document {
    Document::parse_draft(document.to_string().as_bytes(), None, &Limits::default()).expect("it is a map as an operator writes it")
}
