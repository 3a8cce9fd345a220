//! A small network, and what a client does with what it gets.
#![allow(dead_code, reason = "each test file uses its part")]
use alto::{
    Document,
    cost::CostType,
    cost_map::{CostMap, CostTable},
    id::{Pid, ResourceId},
    network_map::{AddressGroup, NetworkMap},
};
use history::{Accepts, Change, Guard, Item, Limits, Publisher, Range, View};
use maps::compute::{Computed, MapsPolicy, compute};
use serde_json::Value;
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};
use topology::graph::{Graph, Link, PrefixAt, Router, RouterIx, Source, SourceIx};

pub const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
pub const MERGE: Accepts = Accepts { merge: true, json: false };
pub const JSON: Accepts = Accepts { merge: false, json: true };

pub fn id(text: &str) -> ResourceId {
    text.parse().unwrap()
}

pub fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

/// PID `p<i>` has `10.<i>.0.0/16`.
pub fn network(pids: &[u8]) -> Document {
    let group = |i: &u8| AddressGroup { ipv4: vec![format!("10.{i}.0.0/16").parse().unwrap()], ..AddressGroup::default() };
    Document::NetworkMap(NetworkMap { vtag: None, pids: pids.iter().map(|i| (format!("p{i}").parse().unwrap(), group(i))).collect() })
}

/// Between any two PIDs, from a list that is gone through in turns.
pub fn costs(pids: &[u8], costs: &[f64]) -> Document {
    let names: Arc<[Pid]> = pids.iter().map(|i| format!("p{i}").parse().unwrap()).collect();
    let values = costs.iter().copied().cycle().take(pids.len() * pids.len()).collect();
    let table = CostTable { sources: names.clone(), destinations: names, values };
    let cost_type = CostType::numerical("routingcost".parse().unwrap());
    Document::CostMap(CostMap { dependent_vtags: Vec::new(), vtag: None, tables: vec![(cost_type, table)] })
}

pub fn put(name: &str, document: Document) -> Change {
    Change::Put { id: id(name), document }
}

/// A network map `m` of eight PIDs and a cost map `c`.
pub const PIDS: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

pub fn started(limits: Limits) -> Publisher {
    let publisher = Publisher::new(limits, Guard::default());
    publisher.apply(vec![put("m", network(&PIDS)), put("c", costs(&PIDS, &[1.0]))], at(1), false).unwrap();
    publisher
}

/// One cost becomes another.
pub fn set(publisher: &Publisher, cost: u64, second: u64) {
    let patch = format!(r#"{{"cost-map": {{"p1": {{"p{}": {cost}}}}}}}"#, cost % 8 + 1);
    publisher.apply(vec![Change::MergePatch { id: id("c"), patch: patch.into() }], at(second), false).unwrap();
}

pub fn open(publisher: &Publisher, name: &str) -> Arc<View> {
    publisher.open(&id(name), None, CLIENT).unwrap()
}

pub fn parse(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

/// What a client makes of an item, as RFC 7396 and RFC 6902 say.
pub fn apply(document: &mut Value, item: &Item) {
    match item.media_type {
        "application/merge-patch+json" => json_patch::merge(document, &parse(&item.body)),
        "application/json-patch+json" => {
            let patch: json_patch::Patch = serde_json::from_slice(&item.body).unwrap();
            json_patch::patch(document, &patch).unwrap();
        }
        _ => *document = parse(&item.body),
    }
}

pub fn served(publisher: &Publisher, name: &str) -> Value {
    parse(&publisher.current().versions[&id(name)].body)
}

pub fn ends(view: &View) -> (u64, u64) {
    let Range { start, end } = view.head().0;
    (start.0, end.0)
}

/// Maps computed from three routers in a triangle, each with a PID of its name; `ac` is the cost of the link from a to c.
pub fn computed(ac: u32) -> Arc<Computed> {
    let routers = ["a", "b", "c"].map(|id| Router { id: id.into(), country: None, location: None, source: SourceIx(0) });
    let link = |from, to, igp_cost| Link {
        from: RouterIx(from),
        to: RouterIx(to),
        local_address: None,
        igp_cost,
        delay_us: None,
        bandwidth_bps: Some(f64::from(igp_cost) * 1e9),
        source: SourceIx(0),
    };
    let links = vec![link(0, 1, 1), link(0, 2, ac), link(1, 0, 1), link(1, 2, 2), link(2, 0, 4), link(2, 1, 2)];
    let prefixes = [("10.0.0.0/8", "a", 0), ("11.0.0.0/9", "b", 1), ("12.0.0.0/8", "c", 2)].map(|(prefix, group, router)| PrefixAt {
        prefix: prefix.parse().unwrap(),
        group: Some(group.parse().unwrap()),
        router: Some(RouterIx(router)),
        asn: None,
        source: SourceIx(0),
    });
    let graph = Graph {
        routers: routers.into(),
        links,
        out: vec![0, 2, 4, 6],
        prefixes: Arc::new(prefixes.into()),
        matrices: Vec::new(),
        sources: vec![Source { name: "test".into(), precedence: 0, observed_at: at(0), trouble: None, validity: Arc::default() }],
    };
    Arc::new(compute(Arc::new(graph), Arc::new(MapsPolicy::default()), None).unwrap())
}
