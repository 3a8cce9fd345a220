//! What a commit costs: one in a hundred costs of a map of 1,000 PIDs changed, in memory and to a log on the disk, and what of it goes
//! where. Medians; CPU of the one thread that commits.
//!
//! `cargo bench -p history --bench commit`; with `ALTOCAST_RESTART_VERSIONS` set, what a restart with so many versions of a map of 10 MB
//! costs instead.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a bench is there to print")]
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]
#[path = "../../maps/benches/support/mod.rs"]
mod support;

use alto::{
    Document,
    cost::CostType,
    cost_map::{CostMap, CostTable},
    id::{Pid, ResourceId},
    network_map::{AddressGroup, NetworkMap},
};
use history::{Accepts, Change, Guard, Limits, Publisher, Start};
use maps::guidance::{self, Guidance, Inputs, Published, Resource, Service};
use std::{
    collections::{BTreeMap, BTreeSet},
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use support::Random;

const PIDS: usize = 1000;
const ROUNDS: usize = 15;

fn id(text: &str) -> ResourceId {
    text.parse().unwrap()
}

/// Time on a processor, of this thread.
fn cpu() -> Duration {
    // What the kernel counted up to the last switch; giving way makes it count.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0))
}

#[derive(Default)]
struct Times(Vec<(Duration, Duration)>);

impl Times {
    fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (start, before) = (Instant::now(), cpu());
        let done = work();
        self.0.push((start.elapsed(), cpu().saturating_sub(before)));
        done
    }

    /// Returns the median of the CPU times, milliseconds.
    fn print(mut self, name: &str, note: &str) -> f64 {
        let median = |values: &mut Vec<Duration>| {
            values.sort();
            values[values.len() / 2].as_secs_f64() * 1e3
        };
        let (mut wall, mut cpu) = self.0.drain(..).unzip::<_, _, Vec<_>, Vec<_>>();
        let cpu = median(&mut cpu);
        println!("{name:<54} {cpu:>8.2} ms CPU {:>8.2} ms {note}", median(&mut wall));
        cpu
    }
}

struct Network {
    pids: Arc<[Pid]>,
    values: Vec<f64>,
    whole: bool,
    random: Random,
}

impl Network {
    fn new(whole: bool, pids: usize) -> Self {
        let mut random = Random(7);
        let names = (0..pids).map(|i| format!("pid-{i:04}").parse().unwrap()).collect();
        let values = (0..pids * pids).map(|_| cost(&mut random, whole)).collect();
        Self { pids: names, values, whole, random }
    }

    fn map(&self) -> Document {
        let group =
            |i: usize| AddressGroup { ipv4: vec![format!("10.{}.{}.0/24", i / 256, i % 256).parse().unwrap()], ..AddressGroup::default() };
        Document::NetworkMap(NetworkMap {
            vtag: None,
            pids: self.pids.iter().enumerate().map(|(i, pid)| (pid.clone(), group(i))).collect(),
        })
    }

    /// One in a hundred costs becomes another; their places.
    fn change(&mut self) -> BTreeSet<usize> {
        let mut changed = BTreeSet::new();
        for _ in 0..self.values.len() / 100 {
            let at = (self.random.next() % self.values.len() as u64) as usize;
            self.values[at] = cost(&mut self.random, self.whole);
            changed.insert(at);
        }
        changed
    }

    /// The change as a merge patch.
    fn patch(&mut self) -> Vec<u8> {
        let mut rows: BTreeMap<&Pid, BTreeMap<&Pid, f64>> = BTreeMap::new();
        let changed = self.change();
        for at in changed {
            rows.entry(&self.pids[at / self.pids.len()]).or_default().insert(&self.pids[at % self.pids.len()], self.values[at]);
        }
        let row = |(source, costs): (&Pid, BTreeMap<&Pid, f64>)| {
            let costs: Vec<String> = costs.iter().map(|(destination, cost)| format!("\"{destination}\":{cost}")).collect();
            format!("\"{source}\":{{{}}}", costs.join(","))
        };
        let rows: Vec<String> = rows.into_iter().map(row).collect();
        format!("{{\"cost-map\":{{{}}}}}", rows.join(",")).into()
    }

    /// All costs, after the change.
    fn costs(&mut self) -> Document {
        self.change();
        let table = CostTable { sources: self.pids.clone(), destinations: self.pids.clone(), values: self.values.clone() };
        let cost_type = CostType::numerical("routingcost".parse().unwrap());
        Document::CostMap(CostMap { dependent_vtags: Vec::new(), vtag: None, tables: vec![(cost_type, table)] })
    }
}

fn cost(random: &mut Random, whole: bool) -> f64 {
    let cost = (random.next() % 100_000) as f64;
    if whole { cost } else { cost / 8.0 + 0.001 }
}

/// A store that was written by so many commits is taken up.
fn restart(pids: usize, versions: usize) {
    let folder = std::env::temp_dir().join(format!("altocast-bench-{}", std::process::id()));
    let limits = Limits { versions_max: versions, ..Limits::default() };
    let open = || {
        let store = Arc::new(store::Folder::open(&folder).unwrap());
        Publisher::with_store(limits.clone(), Guard::default(), store, SystemTime::UNIX_EPOCH).unwrap()
    };
    let mut network = Network::new(true, pids);
    let publisher = open();
    let put = |name: &str, document| Change::Put { id: id(name), document };
    publisher.apply(vec![put("m", network.map()), put("c", network.costs())], SystemTime::UNIX_EPOCH, false).unwrap();
    for _ in 1..versions {
        publisher.apply(vec![put("c", network.costs())], SystemTime::UNIX_EPOCH, false).unwrap();
    }
    let full = publisher.current().versions[&id("c")].body.len();
    drop(publisher);
    let mut times = Times::default();
    for _ in 0..3 {
        let publisher = times.time(open);
        assert_eq!(publisher.current().versions[&id("c")].seq.0, versions as u64);
    }
    times.print("restart: until everything is served", &format!("  {versions} versions of {full} bytes"));
    std::fs::remove_dir_all(&folder).unwrap();
}

fn main() {
    if let Some(versions) = std::env::var("ALTOCAST_RESTART_VERSIONS").ok().and_then(|text| text.parse().ok()) {
        return restart(780, versions);
    }
    for whole in [true, false] {
        println!("\n{PIDS} x {PIDS} costs, {}, 1 % changed", numbers(whole));
        commits(whole, Publisher::new(Limits::default(), Guard::default()), "in memory");
        in_folder(|folder| commits(whole, durable(folder), "durable"));
        patches(whole, None);
        in_folder(|folder| patches(whole, Some(folder)));
        stages(whole);
    }
}

/// With a folder of its own, on the disk that has the folder for temporary files.
fn in_folder(work: impl FnOnce(&Path)) {
    let folder = std::env::temp_dir().join(format!("altocast-bench-{}", std::process::id()));
    work(&folder);
    std::fs::remove_dir_all(&folder).unwrap();
}

fn durable(folder: &Path) -> Publisher {
    let store = Arc::new(store::Folder::open(folder).unwrap());
    Publisher::with_store(Limits::default(), Guard::default(), store, SystemTime::UNIX_EPOCH).unwrap()
}

fn numbers(whole: bool) -> &'static str {
    if whole { "whole numbers" } else { "fractions" }
}

fn commits(whole: bool, publisher: Publisher, kept: &str) {
    let mut network = Network::new(whole, PIDS);
    let publisher = publisher.without_thread();
    let put = |name: &str, document| Change::Put { id: id(name), document };
    let now = SystemTime::UNIX_EPOCH;
    publisher.apply(vec![put("m", network.map()), put("c", network.costs())], now, false).unwrap();
    let view = publisher.open(&id("c"), None, "::1".parse().unwrap()).unwrap();
    let mut cursor = view.cursor(Start::Tag(view.head().1));
    let (mut times, mut patch, mut full) = (Times::default(), 0, 0);
    for _ in 0..ROUNDS {
        let change = vec![put("c", network.costs())];
        times.time(|| publisher.apply(change, now, false).unwrap());
        let item = cursor.next(Accepts::PATCHES).unwrap();
        assert!(!item.is_snapshot());
        (patch, full) = (item.body.len(), view.edge(history::Seq(0), item.to).unwrap().body.len());
    }
    let took = times.print(&format!("commit {kept}: all of it, but the diff's shortcuts"), &format!("  patch {patch} of {full} bytes"));
    // Read by `cargo xtask bench`.
    println!("figure: commit {kept}, {} = {took:.3} ms", numbers(whole));
}

/// The same change as a merge patch from outside; with a folder, durable there when it is done.
fn patches(whole: bool, folder: Option<&Path>) {
    let mut network = Network::new(whole, PIDS);
    let publisher = match folder {
        None => Publisher::new(Limits::default(), Guard::default()),
        Some(folder) => durable(folder),
    };
    let publisher = publisher.without_thread();
    let put = |name: &str, document| Change::Put { id: id(name), document };
    let now = SystemTime::UNIX_EPOCH;
    publisher.apply(vec![put("m", network.map()), put("c", network.costs())], now, false).unwrap();
    let (mut times, mut bytes) = (Times::default(), 0);
    for round in 0..ROUNDS {
        let patch = network.patch();
        bytes = patch.len();
        let change = vec![Change::MergePatch { id: id("c"), patch }];
        let commit = times.time(|| publisher.apply(change, now, false).unwrap());
        assert_eq!(commit.changed[0].seq.0, round as u64 + 2);
    }
    let name = if folder.is_some() { "commit of a merge patch, durable in a folder" } else { "commit of a merge patch" };
    let took = times.print(name, &format!("  patch {bytes} bytes"));
    println!("figure: {name}, {} = {took:.3} ms", numbers(whole));
}

fn stages(whole: bool) {
    let mut network = Network::new(whole, PIDS);
    let mut inputs = Inputs::default();
    let take = |inputs: &mut Inputs, name: &str, document| {
        inputs.documents.insert(id(name), Arc::new(Published::take(&id(name), document).unwrap()));
    };
    take(&mut inputs, "m", network.map());
    take(&mut inputs, "c", network.costs());
    let mut before = Guidance::compose(&inputs, None).unwrap();
    let [mut compose, mut render, mut again, mut diff] = [(); 4].map(|()| Times::default());
    let resource = |guidance: &Guidance| -> Resource {
        let Some(Service::Get(resource)) = guidance.service(&id("c")) else { unreachable!("it was put there") };
        resource.clone()
    };
    for _ in 0..ROUNDS {
        take(&mut inputs, "c", network.costs());
        let after = compose.time(|| Guidance::compose(&inputs, Some(&before)).unwrap());
        let (old, new) = (resource(&before), resource(&after));
        let body = old.render().body;
        let whole = render.time(|| new.render());
        assert_eq!(again.time(|| new.render_after(&old, &body)), whole);
        diff.time(|| black_box(guidance::diff(&old, &new)));
        before = after;
    }
    compose.print("  compose and tag", "");
    again.print("  render, out of the one before", "");
    render.print("    (render, from nothing)", "");
    diff.print("  diff", "");
}
