//! Keeping versions few and changes small where measurements tremble: computed cost maps only, and only where an operator says so.
//!
//! What is served of a metric with a step is a multiple of the step, and stays as long as the computed cost is near it: `step / 2`, and
//! `hysteresis` steps more, so that a cost between two multiples does not go back and forth. A cost that appears or disappears is
//! told as it is. With an interval no resource changes twice within it; what happened meanwhile is told at its end, as one change.
//!
//! Units: a step is in its metric's own. Invariants: no cost is served that is off the computed one by more than its step when it is
//! told; what does not change is the very same `Arc`; without steps and interval the result is what came in.
use crate::compute::Computed;
use alto::{cost::Metric, cost_map::CostTable, id::Pid};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// How much to damp. The default is not at all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Damping {
    /// Step of a metric; positive. One that is not here is told as it is.
    pub steps: BTreeMap<Metric, f64>,
    /// From 0 to [`HYSTERESIS_MAX`], in steps.
    pub hysteresis: f64,
    /// The least time between two versions of a resource.
    pub interval: Duration,
}

/// Half a step of rounding and half a step of patience make one: no cost is served that is off by more.
pub const HYSTERESIS_MAX: f64 = 0.5;

/// Remembers what is served. The same maps and times always give the same.
#[derive(Debug, Default)]
pub struct Damper {
    damping: Damping,
    served: Option<Served>,
}

#[derive(Debug)]
struct Served {
    maps: Arc<Computed>,
    /// When the network map changed last.
    network_at: SystemTime,
    tables: BTreeMap<Metric, Table>,
}

#[derive(Debug, Clone)]
struct Table {
    /// As it was computed.
    computed: Arc<CostTable>,
    served: Arc<CostTable>,
    /// By which step.
    step: Option<f64>,
    at: SystemTime,
}

/// What to serve.
#[derive(Debug)]
pub struct Damped {
    /// The maps; everything but their tables is as computed, or, where the network map has to wait, as it was.
    pub maps: Arc<Computed>,
    /// Something waits until then: ask again, with the newest maps.
    pub due: Option<SystemTime>,
}

impl Damper {
    /// With nothing served yet.
    pub fn new(damping: Damping) -> Self {
        Self { damping, served: None }
    }

    /// Damps otherwise from now on.
    pub fn set(&mut self, damping: Damping) {
        self.damping = damping;
    }

    /// What it said to serve is not served: the next maps are told as if nothing were.
    pub fn forget(&mut self) {
        self.served = None;
    }

    /// How it damps.
    pub fn damping(&self) -> &Damping {
        &self.damping
    }

    /// What to serve now that these maps were computed.
    pub fn damp(&mut self, computed: &Arc<Computed>, now: SystemTime) -> Damped {
        if self.damping.steps.is_empty() && self.damping.interval.is_zero() {
            self.served = None;
            return Damped { maps: computed.clone(), due: None };
        }
        let before = self.served.take();
        let same_network = before.as_ref().is_some_and(|before| same_network(&before.maps, computed));
        if let Some(before) = before.as_ref().filter(|_| !same_network)
            && let Some(due) = self.waits(before.network_at, now)
        {
            // Costs are of the network map they were computed over: all of it waits.
            let maps = before.maps.clone();
            self.served = Some(Served { maps: maps.clone(), network_at: before.network_at, tables: before.tables.clone() });
            return Damped { maps, due: Some(due) };
        }
        let mut due: Option<SystemTime> = None;
        let mut tables = BTreeMap::new();
        for (metric, table) in &computed.tables {
            let was = before.as_ref().and_then(|before| before.tables.get(metric));
            let step = self.damping.steps.get(metric).copied();
            let served = match (was, step) {
                (Some(was), _) if Arc::ptr_eq(&was.computed, table) && was.step == step => was.served.clone(),
                (Some(was), None) if *was.served == **table => was.served.clone(),
                (_, None) => table.clone(),
                // Another step begins anew: what is served is no multiple of it.
                (was, Some(step)) => damped(
                    was.filter(|was| was.step == Some(step)).map(|was| &was.served),
                    table,
                    step,
                    self.damping.hysteresis.clamp(0.0, HYSTERESIS_MAX),
                ),
            };
            let wait = was.filter(|_| same_network).and_then(|was| self.waits(was.at, now));
            let entry = match (was, wait) {
                (Some(was), _) if Arc::ptr_eq(&was.served, &served) => Table { computed: table.clone(), step, ..was.clone() },
                (Some(was), Some(until)) => {
                    due = Some(due.map_or(until, |due| due.min(until)));
                    was.clone()
                }
                _ => Table { computed: table.clone(), served, step, at: now },
            };
            tables.insert(metric.clone(), entry);
        }
        let network_at = before.as_ref().filter(|_| same_network).map_or(now, |before| before.network_at);
        let maps = Arc::new(Computed {
            tables: tables.iter().map(|(metric, table)| (metric.clone(), table.served.clone())).collect(),
            ..(**computed).clone()
        });
        self.served = Some(Served { maps: maps.clone(), network_at, tables });
        Damped { maps, due }
    }

    /// Until when a resource that changed then has to wait. A clock that was set back makes nothing wait longer than the interval.
    fn waits(&self, changed: SystemTime, now: SystemTime) -> Option<SystemTime> {
        let passed = now.duration_since(changed).unwrap_or(self.damping.interval);
        let left = self.damping.interval.checked_sub(passed).filter(|left| !left.is_zero())?;
        Some(now + left)
    }
}

fn same_network(before: &Computed, now: &Computed) -> bool {
    before.policy.network_map_id == now.policy.network_map_id
        && (Arc::ptr_eq(&before.partition, &now.partition) || before.partition.network_map.pids == now.partition.network_map.pids)
}

/// Whether a served cost is no further than `step` from the computed one; two that are not there are not.
fn within(served: f64, cost: f64, step: f64) -> bool {
    (served - cost).abs() <= step || served.is_nan() && cost.is_nan()
}

/// The nearest multiple of the step. A step such as 0.1 is no double: its multiples are made by dividing, so that they stay short in text.
fn nearest(cost: f64, step: f64) -> f64 {
    let parts = (1.0 / step).round();
    let multiple =
        if step < 1.0 && (parts * step - 1.0).abs() < 1e-9 { (cost * parts).round() / parts } else { (cost / step).round() * step };
    // Near the largest doubles nothing is left to round.
    if within(multiple, cost, step) { multiple } else { cost }
}

/// What to serve of a table: what is served, where that is near enough, else the nearest multiple. The same `Arc` when all of it stays.
fn damped(served: Option<&Arc<CostTable>>, table: &CostTable, step: f64, hysteresis: f64) -> Arc<CostTable> {
    let near = step * (0.5 + hysteresis);
    let cell = |was: f64, cost: f64| if (was - cost).abs() <= near { was } else { nearest(cost, step) };
    let with = |values| Arc::new(CostTable { sources: table.sources.clone(), destinations: table.destinations.clone(), values });
    let Some(served) = served else {
        return with(table.values.iter().map(|&cost| nearest(cost, step)).collect());
    };
    let same = |a: &Arc<[Pid]>, b: &Arc<[Pid]>| Arc::ptr_eq(a, b) || a == b;
    if same(&served.sources, &table.sources) && same(&served.destinations, &table.destinations) {
        let values: Vec<f64> = served.values.iter().zip(&table.values).map(|(&was, &cost)| cell(was, cost)).collect();
        let stays = values.iter().zip(&served.values).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan());
        return if stays { served.clone() } else { with(values) };
    }
    let places = |old: &[Pid], new: &[Pid]| -> Vec<Option<usize>> {
        let index: HashMap<&Pid, usize> = old.iter().zip(0..).collect();
        new.iter().map(|name| index.get(name).copied()).collect()
    };
    let (rows, columns) = (places(&served.sources, &table.sources), places(&served.destinations, &table.destinations));
    let mut values = Vec::with_capacity(table.values.len());
    for (row, was) in rows.iter().enumerate() {
        values.extend(table.row(row).iter().zip(&columns).map(|(&cost, column)| match (was, column) {
            (Some(row), Some(column)) => cell(served.at(*row, *column), cost),
            _ => nearest(cost, step),
        }));
    }
    with(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{MapsPolicy, compute};
    use proptest::prelude::*;
    use std::{sync::LazyLock, time::UNIX_EPOCH};
    use topology::graph::{Graph, PrefixAt, Source, SourceIx};

    fn metric() -> Metric {
        "delay-ow".parse().unwrap()
    }

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    /// Network maps that differ in a prefix.
    static NETWORKS: LazyLock<[Computed; 4]> = LazyLock::new(|| [0, 1, 2, 3].map(network));

    fn network(number: u8) -> Computed {
        let prefixes = vec![PrefixAt {
            prefix: format!("10.{number}.0.0/16").parse().unwrap(),
            group: Some("a".parse().unwrap()),
            router: None,
            asn: None,
            source: SourceIx(0),
        }];
        let source = Source { name: "s".into(), precedence: 0, observed_at: at(0), trouble: None, validity: Arc::default() };
        let graph = Graph { prefixes: Arc::new(prefixes), sources: vec![source], ..Graph::default() };
        compute(Arc::new(graph), Arc::new(MapsPolicy::default()), None).unwrap()
    }

    /// Maps whose only table has these costs.
    fn maps(network: usize, names: &str, costs: &[f64]) -> Arc<Computed> {
        let mut computed = NETWORKS[network].clone();
        let names: Arc<[Pid]> = names.split(' ').map(|name| name.parse().unwrap()).collect();
        let table = CostTable { sources: names.clone(), destinations: names, values: costs.to_vec() };
        computed.tables.insert(metric(), Arc::new(table));
        Arc::new(computed)
    }

    fn served(damped: &Damped) -> Vec<f64> {
        damped.maps.tables[&metric()].values.clone()
    }

    fn damper(step: f64, hysteresis: f64, seconds: u64) -> Damper {
        let steps = if step > 0.0 { BTreeMap::from([(metric(), step)]) } else { BTreeMap::new() };
        Damper::new(Damping { steps, hysteresis, interval: Duration::from_secs(seconds) })
    }

    #[test]
    fn nothing_is_damped_by_default() {
        let maps = maps(1, "a", &[1.25]);
        let damped = Damper::default().damp(&maps, at(1));
        assert!(Arc::ptr_eq(&damped.maps, &maps));
        assert_eq!(damped.due, None);
    }

    #[test]
    fn steps_and_hysteresis() {
        /// Computed and served, in turn.
        type Costs<'a> = &'a [(f64, f64)];
        let cases: [(f64, f64, Costs<'_>); 4] = [
            // step, hysteresis, then computed and served costs in turn
            (10.0, 0.0, &[(14.0, 10.0), (15.1, 20.0), (14.9, 10.0), (15.0, 10.0)]),
            (10.0, 0.5, &[(14.0, 10.0), (15.1, 10.0), (20.0, 10.0), (20.1, 20.0), (10.0, 20.0), (9.9, 10.0)]),
            (0.1, 0.5, &[(0.31, 0.3), (0.39, 0.3), (0.45, 0.5), (f64::NAN, f64::NAN), (0.45, 0.5)]),
            (1e6, 0.25, &[(1.25e9, 1.25e9), (1_250_700_000.0, 1.25e9), (1_250_800_000.0, 1_251_000_000.0)]),
        ];
        for (step, hysteresis, costs) in cases {
            let mut damper = damper(step, hysteresis, 0);
            for &(cost, want) in costs {
                let got = served(&damper.damp(&maps(1, "a", &[cost]), at(1)))[0];
                assert!(got == want || got.is_nan() && want.is_nan(), "step {step}, cost {cost}: {got}, not {want}");
            }
        }
    }

    /// Costs keep their damping by name when PIDs come and go.
    #[test]
    fn names_keep_what_is_served() {
        let mut damper = damper(10.0, 0.5, 0);
        damper.damp(&maps(1, "a b", &[14.0, 24.0, 34.0, 44.0]), at(1));
        let damped = damper.damp(&maps(2, "b c", &[49.0, 59.0, 9.0, 19.0]), at(2));
        assert_eq!(served(&damped), [40.0, 60.0, 10.0, 20.0]);
    }

    /// What stays is the same memory, so that nobody compares it again.
    #[test]
    fn what_stays_is_the_same() {
        let mut damper = damper(10.0, 0.5, 0);
        let first = damper.damp(&maps(1, "a b", &[14.0, 24.0, f64::NAN, 44.0]), at(1));
        let second = damper.damp(&maps(1, "a b", &[16.0, 26.0, f64::NAN, 46.0]), at(2));
        assert!(Arc::ptr_eq(&first.maps.tables[&metric()], &second.maps.tables[&metric()]));
    }

    #[test]
    fn intervals_gather_changes() {
        let mut damper = damper(0.0, 0.0, 10);
        // network, cost, second: what is served, and when to ask again.
        for (network, cost, second, want, due) in [
            (1, 1.0, 100, 1.0, None),
            (1, 2.0, 101, 1.0, Some(110)),
            (1, 3.0, 109, 1.0, Some(110)),
            // Back again: nothing waits.
            (1, 1.0, 109, 1.0, None),
            (1, 3.0, 110, 3.0, None),
            (1, 4.0, 111, 3.0, Some(120)),
            // Another network map is told at once if the last one was long enough ago, and its costs with it.
            (2, 5.0, 112, 5.0, None),
            (3, 6.0, 113, 5.0, Some(122)),
            (2, 7.0, 114, 5.0, Some(122)),
            (3, 8.0, 122, 8.0, None),
            // A clock that was set back holds nothing for longer than that.
            (3, 9.0, 50, 9.0, None),
        ] {
            let damped = damper.damp(&maps(network, "a", &[cost]), at(second));
            assert_eq!((served(&damped), damped.due), (vec![want], due.map(at)), "at {second}");
        }
    }

    /// A new configuration applies to what is served already.
    #[test]
    fn steps_can_be_set_otherwise() {
        let mut damper = damper(10.0, 0.0, 0);
        let maps = maps(1, "a", &[14.0]);
        for (step, want) in [(10.0, 10.0), (1.0, 14.0), (5.0, 15.0), (0.0, 14.0)] {
            damper.set(self::damper(step, 0.0, 0).damping);
            assert_eq!(served(&damper.damp(&maps, at(1))), [want]);
        }
    }

    proptest! {
        /// No cost is served that is off by more than its step; costs that are there are there, and no other.
        #[test]
        fn served_costs_are_within_their_step(
            runs in proptest::collection::vec(proptest::collection::vec(prop_oneof![9 => 0.0..1e4f64, 1 => Just(f64::NAN)], 4), 1..12),
            step in prop_oneof![Just(0.1), Just(1.0), 0.001..100.0f64],
            hysteresis in 0.0..0.6f64,
        ) {
            let mut damper = damper(step, hysteresis, 0);
            for costs in runs {
                let maps = maps(1, "a b", &costs);
                for (served, cost) in served(&damper.damp(&maps, at(1))).iter().zip(&costs) {
                    prop_assert_eq!(served.is_nan(), cost.is_nan());
                    prop_assert!(served.is_nan() || (served - cost).abs() <= step);
                }
                let again = damper.damp(&maps, at(1));
                let once_more = damper.damp(&maps, at(1));
                prop_assert!(Arc::ptr_eq(&again.maps.tables[&metric()], &once_more.maps.tables[&metric()]));
            }
        }
    }
}
