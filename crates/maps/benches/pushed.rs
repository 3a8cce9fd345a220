//! How many bytes of change clients are sent, with patches as they are made: the demo network's series without damping, and a synthetic
//! provider under link events and trembling measurements with it.
//!
//! `cargo bench -p maps --bench pushed`. Targets: the demo's at most 1.2 times the smallest merge patches that hold the changed
//! cells; the provider's under 5 % of the full map per change, median, with no cost off by more than its step. Units: bytes.
#[path = "../../topology/tests/support/lab.rs"]
#[allow(dead_code, reason = "the names are for tests")]
mod lab;
mod support;

use alto::{
    cost::{CostType, Metric},
    cost_map::{CostMap, CostTable},
    endpoint::Prefix,
    id::VersionTag,
    patch::{CostMapParts, NetworkMapParts, Patches, merge},
};
use lab::STATES;
use maps::{
    compute::{Computed, MapsPolicy, compute},
    damping::{Damper, Damping},
};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use support::{Random, median, say, timed};
use topology::{
    fuse::Fuser,
    graph::{Graph, Link, PrefixAt, Router, RouterIx, SourceIx},
    observation::Observation,
    sources::{BandwidthFrom, Input, Options, SourceKind, read},
};

/// What the demo network's sources say, read as `altocast/src/demo/geant.rs` reads it.
struct Geant {
    names: BTreeMap<Box<str>, Box<str>>,
    zoo: Observation,
    /// Microseconds that light needs between the ends of a link.
    floor: HashMap<(Box<str>, Box<str>), f64>,
}

impl Geant {
    fn new() -> Self {
        let zoo = observed(SourceKind::Graphml, "topology-zoo/Geant2012.graphml.gz", &Options::default());
        let floor = zoo.links.iter().filter_map(|link| Some(((link.from.clone(), link.to.clone()), link.delay_us?))).collect();
        let names = (1..).zip(zoo.routers.iter()).map(|(n, router)| (format!("10.255.0.{n}").into(), router.id.clone())).collect();
        Self { names, zoo, floor }
    }

    /// One for each of the five sources.
    fn state(&self, state: &str) -> [Observation; 5] {
        let options = Options { names: self.names.clone(), bandwidth: BandwidthFrom::Maximum, ..Options::default() };
        let file = |name: &str| format!("frr-geant2012-lab/{state}/{name}.json.gz");
        let traffic_engineering = |name| {
            let mut seen = observed(SourceKind::FrrTe, &file(name), &options);
            for link in &mut seen.links {
                let floor = self.floor.get(&(link.from.clone(), link.to.clone()));
                link.delay_us = link.delay_us.filter(|delay| floor.is_some_and(|floor| delay >= floor));
                // 10 Gbit/s modulo 2^32.
                link.bandwidth_bps = link.bandwidth_bps.filter(|bandwidth| *bandwidth != 1_410_065_408.0);
            }
            seen
        };
        [
            self.zoo.clone(),
            observed(SourceKind::FrrOspf, &file("ospf-database-router"), &options),
            traffic_engineering("ospf-te-database"),
            traffic_engineering("isis-te-database"),
            observed(SourceKind::PrefixCsv, "ip-location-db/geant-nren-prefixes.csv.gz", &Options::default()),
        ]
    }
}

fn observed(kind: SourceKind, name: &str, options: &Options) -> Observation {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../altocast/data").join(name);
    let bytes = fs::read(&path).expect("the demo's data is there");
    read(kind, &[Input { name, bytes: &bytes }], options).expect("the demo's data is valid")
}

fn main() {
    demo();
    for noise in [0.01, 0.05] {
        provider(noise);
    }
}

/// The change of a resource as it is sent: the smaller patch, or the full copy where that is smaller still.
fn pushed(patches: &Patches, full: usize) -> usize {
    let patch = [&patches.merge, &patches.json].into_iter().flatten().map(Vec::len).min();
    patch.map_or(full, |patch| patch.min(full))
}

fn tag(content: usize) -> VersionTag {
    // As long as tags are.
    VersionTag { resource_id: "cost-map-routingcost".parse().expect("an id"), tag: format!("{content:032x}").parse().expect("a tag") }
}

/// Both versions of a cost map: what is sent, what the full copy takes, and the documents.
struct Change {
    pushed: usize,
    full: usize,
    old: CostMap,
    new: CostMap,
}

fn change(metric: &Metric, old: &Arc<CostTable>, new: &Arc<CostTable>, version: usize) -> Change {
    let cost_type = CostType::numerical(metric.clone());
    let network = [tag(0)];
    let (old_tag, new_tag) = (tag(version), tag(version + 1));
    let parts = |table, vtag| CostMapParts { dependent_vtags: &network, vtag: Some(vtag), cost_type: &cost_type, table };
    let patches = parts(old, &old_tag).diff(&parts(new, &new_tag));
    let map = |table: &CostTable, vtag: &VersionTag| CostMap {
        dependent_vtags: network.to_vec(),
        vtag: Some(vtag.clone()),
        tables: vec![(cost_type.clone(), table.clone())],
    };
    let (old, new) = (map(old, &old_tag), map(new, &new_tag));
    let full = new.to_json().len();
    Change { pushed: pushed(&patches, full), full, old, new }
}

fn demo() {
    let geant = Geant::new();
    let mut fuser = Fuser::new();
    for (name, precedence) in [("topology-zoo", 10), ("ospf", 40), ("ospf-te", 30), ("isis-te", 20), ("nren-prefixes", 0)] {
        fuser.add_source(name, precedence, None);
    }
    let policy = Arc::new(MapsPolicy::default());
    let mut last: Option<Computed> = None;
    let (mut sent, mut least, mut all, mut changes) = (0, 0, 0, 0);
    // Once around and back to the first state.
    for step in 0..=STATES.len() {
        for (source, seen) in (0..).map(SourceIx).zip(geant.state(STATES[step % STATES.len()])) {
            fuser.observe(source, seen, at(step));
        }
        let computed = compute(fuser.graph(at(step)), policy.clone(), last.as_ref()).expect("within limits");
        if let Some(last) = &last {
            for (metric, new) in &computed.tables {
                let Some(old) = last.tables.get(metric).filter(|old| !Arc::ptr_eq(old, new)) else { continue };
                let change = change(metric, old, new, step);
                changes += 1;
                sent += change.pushed;
                all += change.full;
                least += smallest(&change);
            }
            let (old_tag, new_tag) = (tag(step), tag(step + 1));
            let map = |maps, vtag| NetworkMapParts { vtag: Some(vtag), map: maps };
            if last.partition.network_map.pids != computed.partition.network_map.pids {
                let patches = map(&last.partition.network_map, &old_tag).diff(&map(&computed.partition.network_map, &new_tag));
                say(&format!("  network map: {} bytes", pushed(&patches, computed.partition.network_map.to_json().len())));
            }
        }
        last = Some(computed);
    }
    say(&format!(
        "demo series, damping off: {sent} bytes pushed in {changes} changes, {:.2} times the smallest merge patches ({least} bytes), full copies {all}",
        sent as f64 / least as f64
    ));
    figure("demo, pushed", sent as f64, "bytes");
    figure("demo, smallest", least as f64, "bytes");
}

/// Read by `cargo xtask bench`.
fn figure(name: &str, value: f64, unit: &str) {
    say(&format!("figure: {name} = {value:.3} {unit}"));
}

/// The smallest merge patch that holds the changed cells, and the tag by which a client knows the version: from the documents themselves.
fn smallest(change: &Change) -> usize {
    let value = |map: &CostMap| serde_json::from_slice(&map.to_json()).expect("what we write is JSON");
    merge::diff(&value(&change.old), &value(&change.new)).expect("costs can always be said").to_string().len()
}

fn at(step: usize) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(10 * step as u64)
}

/// Core routers, in a ring with chords; each other router hangs on two of them. A PID at each.
const ROUTERS: u32 = 1_700;
const CORES: u32 = 60;
const PREFIXES: u32 = 250_000;
const CHANGES: usize = 24;
/// Microseconds of delay, and of IGP weight (weights follow delays).
const STEP: f64 = 500.0;

#[derive(Clone, Copy)]
struct Ends {
    a: u32,
    b: u32,
    weight: u32,
    delay_us: f64,
    up: bool,
}

/// `noise`: by which share, up or down, each link's measured delay is off at each observation.
fn provider(noise: f64) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut links = Vec::new();
    let mut link = |a, b, delay_us: f64| links.push(Ends { a, b, weight: delay_us as u32, delay_us, up: true });
    for core in 0..CORES {
        link(core, (core + 1) % CORES, 500.0 + f64::from(random.below(2_000)));
        link(core, (core + 2 + random.below(CORES - 4)) % CORES, 1_000.0 + f64::from(random.below(6_000)));
    }
    for access in CORES..ROUTERS {
        let core = random.below(CORES);
        link(access, core, 200.0 + f64::from(random.below(2_000)));
        link(access, (core + 1) % CORES, 300.0 + f64::from(random.below(2_500)));
    }
    let source = SourceIx(0);
    let prefixes = (0..PREFIXES).map(|n| PrefixAt {
        prefix: Prefix::new(IpAddr::V4(Ipv4Addr::from(0x0100_0000 + (n << 10))), 22).expect("22 is a length"),
        group: None,
        router: Some(RouterIx(if n < ROUTERS { n } else { random.below(ROUTERS) })),
        asn: None,
        source,
    });
    let prefixes = Arc::new(prefixes.collect::<Vec<_>>());
    let policy = Arc::new(MapsPolicy {
        metrics: ["routingcost", "delay-ow"].map(|name| name.parse().expect("a metric")).into(),
        ..MapsPolicy::default()
    });
    let steps = policy.metrics.iter().map(|metric| (metric.clone(), STEP)).collect::<BTreeMap<_, _>>();
    let mut damper = Damper::new(Damping { steps: steps.clone(), hysteresis: 0.5, interval: Duration::ZERO });
    let mut raw = Arc::new(compute(graph(&links, &prefixes, &mut random, noise), policy.clone(), None).expect("within limits"));
    let mut served = damper.damp(&raw, at(0)).maps;
    let mut shares: BTreeMap<(&str, Metric), Vec<f64>> = BTreeMap::new();
    let (mut worst, mut times, mut full) = (0.0f64, Vec::new(), BTreeMap::new());
    let mut down: Option<usize> = None;
    for number in 1..=CHANGES {
        match down.take() {
            Some(link) => links[link].up = true,
            None => {
                // Nine of ten events are at the edge, where nine of ten links are.
                let link = random.below(links.len() as u32) as usize;
                if random.below(2) == 0 {
                    links[link].up = false;
                    down = Some(link);
                } else {
                    links[link].weight = links[link].weight * 3 / 2;
                }
            }
        }
        let next = Arc::new(compute(graph(&links, &prefixes, &mut random, noise), policy.clone(), Some(&raw)).expect("within limits"));
        let (damped, took) = timed(|| damper.damp(&next, at(number)).maps);
        times.push(took);
        for (metric, table) in &next.tables {
            let new = &damped.tables[metric];
            let off = new.values.iter().zip(&table.values).map(|(a, b)| (a - b).abs()).filter(|off| !off.is_nan()).fold(0.0, f64::max);
            worst = worst.max(off / steps[metric]);
            for (what, old, new) in [("off", &raw.tables[metric], table), ("on", &served.tables[metric], new)] {
                let share = if Arc::ptr_eq(old, new) {
                    0.0
                } else {
                    let change = change(metric, old, new, number);
                    full.insert(metric.clone(), change.full);
                    change.pushed as f64 / change.full as f64
                };
                shares.entry((what, metric.clone())).or_default().push(share);
            }
        }
        (raw, served) = (next, damped);
    }
    say(&format!(
        "provider of {ROUTERS} PIDs, {PREFIXES} prefixes, {CHANGES} changes; delays tremble by {} %, step {STEP} us",
        noise * 100.0
    ));
    for ((what, metric), mut shares) in shares {
        shares.sort_by(f64::total_cmp);
        let full = full.get(&metric).copied().unwrap_or_default();
        say(&format!(
            "  {metric}, damping {what}: median {:.2} % of the full map ({full} bytes), worst {:.2} %",
            shares[shares.len() / 2] * 100.0,
            shares[shares.len() - 1] * 100.0
        ));
        figure(&format!("provider {} %, {metric}, damping {what}", noise * 100.0), shares[shares.len() / 2] * 100.0, "%");
    }
    figure(&format!("provider {} %, furthest", noise * 100.0), worst, "steps");
    say(&format!("  furthest served cost: {worst:.3} steps off; damping both tables: {:.1} ms", median(times)));
}

/// The network as it is measured this time.
fn graph(links: &[Ends], prefixes: &Arc<Vec<PrefixAt>>, random: &mut Random, noise: f64) -> Arc<Graph> {
    let source = SourceIx(0);
    let mut directed = Vec::new();
    for link in links.iter().filter(|link| link.up) {
        let tremble = 1.0 + noise * (f64::from(random.below(2_001)) / 1_000.0 - 1.0);
        for (from, to) in [(link.a, link.b), (link.b, link.a)] {
            directed.push(Link {
                from: RouterIx(from),
                to: RouterIx(to),
                local_address: None,
                igp_cost: link.weight,
                delay_us: Some((link.delay_us * tremble).round()),
                bandwidth_bps: None,
                source,
            });
        }
    }
    directed.sort_by_key(|link| (link.from, link.to));
    Arc::new(Graph {
        routers: (0..ROUTERS).map(|at| Router { id: format!("r{at:04}").into(), country: None, location: None, source }).collect(),
        out: (0..=ROUTERS).map(|at| directed.partition_point(|link| link.from.0 < at) as u32).collect(),
        links: directed,
        prefixes: prefixes.clone(),
        matrices: Vec::new(),
        sources: vec![topology::graph::Source {
            name: "bench".into(),
            precedence: 0,
            observed_at: UNIX_EPOCH,
            trouble: None,
            validity: Arc::default(),
        }],
    })
}
