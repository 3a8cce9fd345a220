//! All maps of a graph, from nothing or from the result before.
//!
//! With the result before at hand only what a change can change is computed: prefixes are partitioned again when prefixes or routers
//! changed, routes are repaired (see [`crate::routes`]), and of a cost table those columns are written anew whose routes are not the
//! same memory as before. What comes out equal is the very same `Arc`, so that who publishes it sees at once that it did not change.
//!
//! Units and metrics: [`crate::costs`]. Invariant: the result does not depend on `previous`.
use crate::{
    Error, Limits, PidIx,
    costs::{Base, Kind},
    expiry::Validity,
    glob::Glob,
    measured::Measured,
    partition::{Partition, PartitionPolicy, partition_after},
    policy::{self, Compiled, Rule},
    routes::Routes,
    widest::Widest,
};
use alto::{
    cost::Metric,
    cost_map::CostTable,
    id::{Pid, ResourceId},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use topology::graph::{Graph, RouterIx};

/// What to make of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct MapsPolicy {
    /// Prefixes to PIDs.
    pub partition: PartitionPolicy,
    /// The metrics wanted; only those that the data supports are made.
    pub metrics: Vec<Metric>,
    /// Operator's rules, applied in order.
    pub rules: Vec<Rule>,
    /// Rows and columns of the cost maps.
    pub shape: Shape,
    /// Name of the network map.
    pub network_map_id: ResourceId,
    /// Bounds.
    pub limits: Limits,
}

/// Rows and columns of the cost maps: the PIDs that any glob of the list matches.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Rows.
    pub sources: Vec<Glob>,
    /// Columns.
    pub destinations: Vec<Glob>,
}

impl Default for Shape {
    fn default() -> Self {
        Self { sources: vec![Glob::any()], destinations: vec![Glob::any()] }
    }
}

impl Default for MapsPolicy {
    fn default() -> Self {
        Self {
            partition: PartitionPolicy::default(),
            metrics: ["routingcost", "hopcount", "delay-ow", "delay-rt", "bw-available"]
                .map(|name| name.parse().expect("these are valid metric names"))
                .into(),
            rules: Vec::new(),
            shape: Shape::default(),
            network_map_id: "network-map".parse().expect("this is a valid resource id"),
            limits: Limits::default(),
        }
    }
}

/// Everything computed from one graph.
#[derive(Debug, Clone)]
pub struct Computed {
    /// What it was computed from.
    pub graph: Arc<Graph>,
    /// And how.
    pub policy: Arc<MapsPolicy>,
    /// Prefixes in PIDs.
    pub partition: Arc<Partition>,
    /// The costs of each metric; a table that a change did not touch is the same `Arc` as before.
    pub tables: BTreeMap<Metric, Arc<CostTable>>,
    /// Until when all that holds.
    pub validity: Arc<Validity>,
    pub(crate) layout: Arc<Layout>,
    pub(crate) routes: Option<Routes>,
    pub(crate) widest: Option<Widest>,
    pub(crate) measured: BTreeMap<Metric, Arc<Measured>>,
}

/// Which PIDs are rows and columns.
#[derive(Debug, PartialEq)]
pub(crate) struct Layout {
    pub(crate) rows: Vec<PidIx>,
    pub(crate) columns: Vec<PidIx>,
    sources: Arc<[Pid]>,
    destinations: Arc<[Pid]>,
}

impl Layout {
    fn new(partition: &Partition, shape: &Shape) -> Self {
        let pids = &partition.pids;
        let matching = |globs: &[Glob]| -> (Vec<PidIx>, Arc<[Pid]>) {
            let places: Vec<PidIx> = (0..pids.len() as u32)
                .map(PidIx)
                .filter(|pid| globs.iter().any(|glob| glob.matches(pids[pid.0 as usize].as_str())))
                .collect();
            let names =
                if places.len() == pids.len() { pids.clone() } else { places.iter().map(|pid| pids[pid.0 as usize].clone()).collect() };
            (places, names)
        };
        let ((rows, sources), (columns, destinations)) = (matching(&shape.sources), matching(&shape.destinations));
        Self { rows, columns, sources, destinations }
    }
}

/// Computes all maps. With `previous`, only what changed since is computed anew; the result is the same.
pub fn compute(graph: Arc<Graph>, policy: Arc<MapsPolicy>, previous: Option<&Computed>) -> Result<Computed, Error> {
    policy::check(&policy.rules, &policy.limits)?;
    let partition = match previous {
        Some(previous) if same_partition(previous, &graph, &policy) => previous.partition.clone(),
        _ => Arc::new(partition_after(&graph, &policy.partition, &policy.limits, previous.map(|previous| &*previous.partition))?),
    };
    let layout = match previous {
        Some(previous) if previous.policy.shape == policy.shape && previous.partition.pids == partition.pids => previous.layout.clone(),
        _ => Arc::new(Layout::new(&partition, &policy.shape)),
    };
    let asked = layout.rows.len() * layout.columns.len();
    if asked > policy.limits.costs_max {
        return Err(Error::TooManyCosts { asked, limit: policy.limits.costs_max });
    }

    let wanted: BTreeSet<&Metric> = policy.metrics.iter().collect();
    let supported = |kind: &Kind| kind.is_supported(&graph);
    let kinds: Vec<Kind> = wanted.iter().filter_map(|metric| Kind::of(metric)).filter(supported).collect();
    let routers = graph.routers.len();
    let within = |asked: usize| {
        if asked > policy.limits.routes_max { Err(Error::TooManyRoutes { asked, limit: policy.limits.routes_max }) } else { Ok(()) }
    };
    let routes = if kinds.iter().any(|kind| *kind != Kind::BandwidthAvailable) {
        let targets = targets(&partition, &layout, kinds.contains(&Kind::DelayRoundTrip));
        within(targets.len() * routers)?;
        Some(match previous.and_then(|previous| Some((&previous.graph, previous.routes.as_ref()?))) {
            Some((old, routes)) => routes.update(old, &graph, &targets),
            None => Routes::compute(&graph, &targets),
        })
    } else {
        None
    };
    let widest = if kinds.contains(&Kind::BandwidthAvailable) {
        within(routers * routers)?;
        Some(match previous.and_then(|previous| Some((&previous.graph, previous.widest.as_ref()?))) {
            Some((old, widest)) => widest.update(old, &graph),
            None => Widest::compute(&graph),
        })
    } else {
        None
    };
    let one_way: Metric = "delay-ow".parse().expect("this is a valid metric name");
    let same_measurements = previous.filter(|previous| {
        let (a, b) = (&previous.graph.matrices, &graph.matrices);
        Arc::ptr_eq(&previous.partition, &partition) && a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
    });
    let mut measured = BTreeMap::new();
    for metric in
        wanted.iter().copied().chain(wanted.iter().any(|metric| Kind::of(metric) == Some(Kind::DelayRoundTrip)).then_some(&one_way))
    {
        let known = match same_measurements {
            // What was not wanted before was not looked for.
            Some(previous) if previous.policy.metrics == policy.metrics => previous.measured.get(metric).cloned(),
            _ => Measured::new(&graph, &partition, metric).map(Arc::new),
        };
        if let Some(known) = known {
            measured.insert(metric.clone(), known);
        }
    }

    let validity = Arc::new(Validity::of(&graph, &partition));
    let mut computed = Computed { graph, policy, partition, tables: BTreeMap::new(), validity, layout, routes, widest, measured };
    let policy = computed.policy.clone();
    let before = previous.filter(|previous| computed.has_same_cells(previous));
    let changed = before.map(|before| computed.changed(before));
    for metric in &policy.metrics {
        let base = computed.base(metric);
        let from_links = base.kind.is_some_and(|kind| kind.is_supported(&computed.graph));
        let from_one_way = base.kind == Some(Kind::DelayRoundTrip) && base.measured_one_way.is_some();
        if computed.tables.contains_key(metric) || !(from_links || from_one_way || base.measured.is_some()) {
            continue;
        }
        let was = previous.and_then(|previous| previous.tables.get(metric));
        let table = match (was, before, &changed) {
            (Some(was), Some(before), Some(changed)) if computed.is_measured_alike(before, metric) => {
                computed.rewritten(metric, was, before, changed)
            }
            (Some(was), ..) => Some(computed.table(metric)).map(|table| if table == **was { was.clone() } else { Arc::new(table) }),
            (None, ..) => Some(Arc::new(computed.table(metric))),
        };
        // Links that join no two PIDs, say, leave nothing to publish.
        if let Some(table) = table.filter(|table| table.values.iter().any(|cost| !cost.is_nan())) {
            computed.tables.insert(metric.clone(), table);
        }
    }
    Ok(computed)
}

/// Routers that some cost needs a tree of, sorted.
fn targets(partition: &Partition, layout: &Layout, round_trip: bool) -> Vec<RouterIx> {
    let pids = layout.columns.iter().chain(layout.rows.iter().filter(|_| round_trip));
    let mut targets: Vec<RouterIx> = pids.flat_map(|&pid| partition.routers_of(pid)).copied().collect();
    targets.sort_unstable();
    targets.dedup();
    targets
}

fn same_routers(a: &Graph, b: &Graph) -> bool {
    a.routers.len() == b.routers.len() && a.routers.iter().zip(&b.routers).all(|(a, b)| a.id == b.id && a.country == b.country)
}

fn same_partition(previous: &Computed, graph: &Graph, policy: &MapsPolicy) -> bool {
    previous.policy.partition == policy.partition
        && (Arc::ptr_eq(&previous.graph.prefixes, &graph.prefixes) || previous.graph.prefixes == graph.prefixes)
        && same_routers(&previous.graph, graph)
}

/// PIDs whose costs may not be what they were.
struct Changed {
    /// Places of columns whose trees are not the same memory.
    columns: Vec<usize>,
    /// Places of rows whose own trees are not: the way back.
    rows: Vec<usize>,
    /// Whether any width is.
    widths: bool,
}

/// Columns written together: their values of one row share a cache line.
const COLUMNS_AT_ONCE: usize = 8;

impl Computed {
    /// Whether the cells of `before` mean what ours mean: the same PIDs behind the same routers, under the same rules.
    fn has_same_cells(&self, before: &Self) -> bool {
        let attachments = || {
            Arc::ptr_eq(&self.partition, &before.partition)
                || (self.partition.pids == before.partition.pids && self.partition.routers == before.partition.routers)
        };
        self.policy.rules == before.policy.rules
            && self.layout == before.layout
            && same_routers(&self.graph, &before.graph)
            && attachments()
            && (self.routes.is_some(), self.widest.is_some()) == (before.routes.is_some(), before.widest.is_some())
    }

    fn is_measured_alike(&self, before: &Self, metric: &Metric) -> bool {
        let same = |a: Option<&Measured>, b: Option<&Measured>| match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) => std::ptr::eq(a, b),
            _ => false,
        };
        let (now, then) = (self.base(metric), before.base(metric));
        same(now.measured, then.measured) && same(now.measured_one_way, then.measured_one_way)
    }

    fn changed(&self, before: &Self) -> Changed {
        let rerouted = |pid: PidIx| {
            let (Some(now), Some(then)) = (&self.routes, &before.routes) else { return false };
            self.partition.routers_of(pid).iter().any(|&router| match (now.tree(router), then.tree(router)) {
                (Some(now), Some(then)) => !Arc::ptr_eq(now, then),
                // Not a target: no cost looks there.
                (None, None) => false,
                _ => true,
            })
        };
        let places = |pids: &[PidIx]| pids.iter().enumerate().filter(|(_, pid)| rerouted(**pid)).map(|(place, _)| place).collect();
        Changed {
            columns: places(&self.layout.columns),
            rows: places(&self.layout.rows),
            widths: match (&self.widest, &before.widest) {
                (Some(now), Some(then)) => !now.is_same(then),
                (None, None) => false,
                _ => true,
            },
        }
    }

    pub(crate) fn base(&self, metric: &Metric) -> Base<'_> {
        let kind = Kind::of(metric);
        let one_way = || self.measured.iter().find(|(of, _)| Kind::of(of) == Some(Kind::DelayOneWay)).map(|(_, measured)| &**measured);
        Base {
            kind,
            partition: &self.partition,
            routes: self.routes.as_ref(),
            widest: self.widest.as_ref(),
            measured: self.measured.get(metric).map(|measured| &**measured),
            measured_one_way: (kind == Some(Kind::DelayRoundTrip)).then(one_way).flatten(),
        }
    }

    pub(crate) fn rules<'a>(&'a self, metric: &Metric) -> Compiled<'a> {
        Compiled::new(&self.policy.rules, metric, &self.layout.sources, &self.layout.destinations)
    }

    /// The whole table of a metric.
    fn table(&self, metric: &Metric) -> CostTable {
        let Layout { rows, columns, sources, destinations } = &*self.layout;
        let mut values = vec![f64::NAN; rows.len() * columns.len()];
        let every: Vec<usize> = (0..columns.len()).collect();
        self.each(metric, &every, &mut |at, cost| values[at] = cost);
        CostTable { sources: sources.clone(), destinations: destinations.clone(), values }
    }

    /// The table of a metric, which was `was`, with what changed written anew; `was` itself when that comes out equal.
    fn rewritten(&self, metric: &Metric, was: &Arc<CostTable>, before: &Self, changed: &Changed) -> Option<Arc<CostTable>> {
        debug_assert_eq!(before.layout, self.layout);
        let mut table: Option<CostTable> = None;
        let mut put = |at: usize, cost: f64| match &mut table {
            Some(table) => table.values[at] = cost,
            None if cost == was.values[at] || (cost.is_nan() && was.values[at].is_nan()) => {}
            // Only now is it clear that a copy is needed.
            none => {
                let mut copy = (**was).clone();
                copy.values[at] = cost;
                *none = Some(copy);
            }
        };
        match Kind::of(metric) {
            None => {}
            Some(Kind::BandwidthAvailable) if !changed.widths => {}
            Some(Kind::BandwidthAvailable) => self.each(metric, &(0..self.layout.columns.len()).collect::<Vec<_>>(), &mut put),
            Some(kind) => {
                self.each(metric, &changed.columns, &mut put);
                if kind == Kind::DelayRoundTrip {
                    self.each_in_rows(metric, &changed.rows, &mut put);
                }
            }
        }
        Some(table.map_or_else(|| was.clone(), Arc::new))
    }

    /// The published costs of some columns, with their places in the table.
    fn each(&self, metric: &Metric, columns: &[usize], put: &mut dyn FnMut(usize, f64)) {
        let (base, rules) = (self.base(metric), self.rules(metric));
        let width = self.layout.columns.len();
        for together in columns.chunks(COLUMNS_AT_ONCE) {
            for (row, &from) in self.layout.rows.iter().enumerate() {
                for &column in together {
                    let to = self.layout.columns[column];
                    put(row * width + column, rules.apply(row, column, from == to, base.cost(from, to), |_, _, _| {}));
                }
            }
        }
    }

    /// The same for some rows.
    fn each_in_rows(&self, metric: &Metric, rows: &[usize], put: &mut dyn FnMut(usize, f64)) {
        let (base, rules) = (self.base(metric), self.rules(metric));
        let width = self.layout.columns.len();
        for &row in rows {
            let from = self.layout.rows[row];
            for (column, &to) in self.layout.columns.iter().enumerate() {
                put(row * width + column, rules.apply(row, column, from == to, base.cost(from, to), |_, _, _| {}));
            }
        }
    }
}
