//! Fusion: what several sources observed becomes one graph.
//!
//! Units as in [`crate::observation`]. How sources share the work:
//!
//! - Routers merge by id; each attribute comes from the best source that has it. While any source gives links, a router exists only if such
//!   a source names it: the others (coordinates, prefix tables) say more about routers, they do not make them.
//! - Whether two routers are linked is for the best source that gives links and knows both; one of equal precedence may add parallel links,
//!   a lesser one only fills in attributes, so that a static drawing does not bring back a link the routers say is down.
//! - Attributes are filled in by (sender, receiver, address), then by (sender, receiver). They are never invented.
//! - The two-way check (RFC 2328 section 16.1, step 2b): a link whose source asks for it counts only if the other end reports one back.
//!   A router whose links all fail it is gone, whatever the database still says of it.
//! - One source places a prefix: the best that can.
//! - A source in trouble or overdue keeps its last good data, and is marked. Until when that holds, where the source says so, is told of
//!   the source; it changes nothing else.
//!
//! Invariant: the graph depends on the observations alone, not on the order in which they came.
mod links;

use crate::{
    graph::{Graph, Matrix, PrefixAt, Router, RouterIx, Source, SourceIx},
    observation::{self, Observation, Oddity},
    validity::Validity,
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

/// Fuses what several sources observed into one graph. Takes the time as an argument, so a replay gives what the network gave.
#[derive(Debug, Default)]
pub struct Fuser {
    sources: Vec<SourceState>,
    /// Counts changes of anything but trouble and age.
    generation: u64,
    /// Counts changes of prefixes.
    prefix_generation: u64,
    fused: Mutex<Fused>,
}

#[derive(Debug)]
pub(crate) struct SourceState {
    name: Arc<str>,
    precedence: i32,
    max_age: Option<Duration>,
    observed_at: Option<SystemTime>,
    trouble: Option<Arc<str>>,
    routers: Vec<observation::Router>,
    links: Vec<observation::Link>,
    /// Sorted by prefix.
    prefixes: Vec<observation::PrefixAt>,
    matrices: Vec<Arc<Matrix>>,
    oddities: Vec<Oddity>,
    validity: Arc<Validity>,
}

/// The part of the last graph that does not depend on the time.
#[derive(Debug, Default)]
struct Fused {
    /// `None` before the first time.
    generation: Option<u64>,
    prefix_generation: u64,
    graph: Arc<Graph>,
    oddities: Vec<(SourceIx, Oddity)>,
}

impl Fuser {
    /// No sources yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a source. Higher `precedence` wins, at equal precedence the source added first; `max_age` is how old its last good observation
    /// may grow before it is marked overdue (`None`: any age).
    pub fn add_source(&mut self, name: &str, precedence: i32, max_age: Option<Duration>) -> SourceIx {
        let ix = SourceIx(u16::try_from(self.sources.len()).expect("a configuration has far fewer than 65,536 sources"));
        self.sources.push(SourceState {
            name: name.into(),
            precedence,
            max_age,
            observed_at: None,
            trouble: None,
            routers: Vec::new(),
            links: Vec::new(),
            prefixes: Vec::new(),
            matrices: Vec::new(),
            oddities: Vec::new(),
            validity: Arc::default(),
        });
        self.generation += 1;
        ix
    }

    /// Replaces what a source said by its new view, and clears its trouble.
    pub fn observe(&mut self, source: SourceIx, observation: Observation, at: SystemTime) {
        let Observation { routers, links, mut prefixes, matrices, oddities, validity } = observation;
        // Stable: of one prefix twice in one source, the first is kept.
        if !prefixes.is_sorted_by(|a, b| a.prefix < b.prefix) {
            prefixes.sort_by_key(|at| at.prefix);
            prefixes.dedup_by_key(|at| at.prefix);
        }
        let state = &mut self.sources[usize::from(source.0)];
        state.observed_at = Some(at);
        state.validity = Arc::new(Validity::new(validity, at, state.max_age));
        state.trouble = None;
        let new_prefixes = state.prefixes != prefixes;
        let same_matrices = state.matrices.len() == matrices.len() && state.matrices.iter().zip(&matrices).all(|(old, new)| same(old, new));
        if !new_prefixes && same_matrices && state.routers == routers && state.links == links && state.oddities == oddities {
            return;
        }
        if new_prefixes {
            state.prefixes = prefixes;
            self.prefix_generation += 1;
        }
        if !same_matrices {
            state.matrices = matrices
                .into_iter()
                .map(|m| Arc::new(Matrix { metric: m.metric, sources: m.sources, destinations: m.destinations, values: m.values, source }))
                .collect();
        }
        state.routers = routers;
        state.links = links;
        state.oddities = oddities;
        self.generation += 1;
    }

    /// What a source said last holds until then, whatever it said itself: for who replays a source and knows when it goes on.
    pub fn set_valid_until(&mut self, source: SourceIx, until: Option<SystemTime>) {
        self.sources[usize::from(source.0)].validity = Arc::new(Validity::until(until));
    }

    /// Marks a source: its newest input was refused. Its last good data stays until the next [`Fuser::observe`].
    pub fn trouble(&mut self, source: SourceIx, why: String) {
        self.sources[usize::from(source.0)].trouble = Some(why.into());
    }

    /// The network as of `now`. The same `Arc` as before while nothing changed; its prefixes are shared while they did not.
    pub fn graph(&self, now: SystemTime) -> Arc<Graph> {
        let sources: Vec<Source> = self.sources.iter().map(|state| state.report(now)).collect();
        let mut fused = self.fused();
        if fused.graph.sources != sources {
            let mut graph = Graph::clone(&fused.graph);
            graph.sources = sources;
            fused.graph = Arc::new(graph);
        }
        fused.graph.clone()
    }

    /// What was odd: in the sources' input, and where they contradict each other.
    pub fn oddities(&self) -> Vec<(SourceIx, Oddity)> {
        let of_input =
            self.sources.iter().zip(0..).flat_map(|(state, ix)| state.oddities.iter().map(move |odd| (SourceIx(ix), odd.clone())));
        of_input.chain(self.fused().oddities.iter().cloned()).collect()
    }

    /// Fuses again if anything changed since the last time.
    fn fused(&self) -> MutexGuard<'_, Fused> {
        // A panic while it was held cannot have left half a graph: `Arc`s are swapped whole.
        let mut fused = self.fused.lock().unwrap_or_else(PoisonError::into_inner);
        if fused.generation != Some(self.generation) {
            let mut oddities = Vec::new();
            let (graph, prefix_generation) = self.fuse(&fused, &mut oddities);
            *fused = Fused { generation: Some(self.generation), prefix_generation, graph: Arc::new(graph), oddities };
        }
        fused
    }

    fn fuse(&self, last: &Fused, oddities: &mut Vec<(SourceIx, Oddity)>) -> (Graph, u64) {
        let mut order: Vec<SourceIx> = (0..self.sources.len()).map(|ix| SourceIx(ix as u16)).collect();
        // Stable, so sources of one precedence keep the order of the configuration.
        order.sort_by_key(|ix| std::cmp::Reverse(self.state(*ix).precedence));

        let fused_links = links::fuse(&self.sources, &order, oddities);
        let index: HashMap<&str, RouterIx> = fused_links.routers.iter().zip(0..).map(|(id, ix)| (*id, RouterIx(ix))).collect();
        let routers = self.routers(&order, &fused_links.routers, &index);
        let prefixes = if last.prefix_generation == self.prefix_generation
            && last.graph.routers.len() == routers.len()
            && last.graph.routers.iter().zip(&routers).all(|(old, new)| old.id == new.id)
        {
            last.graph.prefixes.clone()
        } else {
            let prefixes = self.prefixes(&order, &index);
            if *last.graph.prefixes == prefixes { last.graph.prefixes.clone() } else { Arc::new(prefixes) }
        };
        let mut matrices: Vec<Arc<Matrix>> = order.iter().flat_map(|ix| self.state(*ix).matrices.iter().cloned()).collect();
        matrices.sort_by(|a, b| a.metric.cmp(&b.metric));

        let mut out = vec![0_u32; routers.len() + 1];
        for link in &fused_links.links {
            out[link.from.0 as usize + 1] += 1;
        }
        for at in 1..out.len() {
            out[at] += out[at - 1];
        }
        let graph = Graph { routers, links: fused_links.links, out, prefixes, matrices, sources: last.graph.sources.clone() };
        (graph, self.prefix_generation)
    }

    fn state(&self, ix: SourceIx) -> &SourceState {
        &self.sources[usize::from(ix.0)]
    }

    /// The routers named, with what the best source of each attribute says.
    fn routers(&self, order: &[SourceIx], ids: &[&str], index: &HashMap<&str, RouterIx>) -> Vec<Router> {
        // A router that only links name has the source of the best link as its own.
        let mut winner: Vec<Option<SourceIx>> = vec![None; ids.len()];
        let mut routers: Vec<Router> =
            ids.iter().map(|id| Router { id: (*id).into(), country: None, location: None, source: SourceIx(0) }).collect();
        for &source in order {
            let state = self.state(source);
            for seen in &state.routers {
                let Some(ix) = index.get(&*seen.id) else { continue };
                let router = &mut routers[ix.0 as usize];
                winner[ix.0 as usize].get_or_insert(source);
                router.country = router.country.take().or_else(|| seen.country.as_deref().map(Arc::from));
                router.location = router.location.or(seen.location);
            }
            for end in state.links.iter().flat_map(|link| [&link.from, &link.to]) {
                if let Some(ix) = index.get(&**end) {
                    winner[ix.0 as usize].get_or_insert(source);
                }
            }
        }
        for (router, winner) in routers.iter_mut().zip(winner) {
            router.source = winner.unwrap_or(router.source);
        }
        routers
    }

    /// For each prefix the place the best source gives it. One whose only place is a router that is gone has none.
    fn prefixes(&self, order: &[SourceIx], index: &HashMap<&str, RouterIx>) -> Vec<PrefixAt> {
        let total = self.sources.iter().map(|state| state.prefixes.len()).sum();
        let mut all: Vec<PrefixAt> = Vec::with_capacity(total);
        for &source in order {
            for seen in &self.state(source).prefixes {
                let router = seen.router.as_deref().and_then(|id| index.get(id).copied());
                if router.is_some() || seen.group.is_some() || seen.asn.is_some() {
                    all.push(PrefixAt { prefix: seen.prefix, group: seen.group.clone(), router, asn: seen.asn, source });
                }
            }
        }
        // Stable: the first of equals comes from the best source. Sources are sorted already, so this only merges runs.
        if !all.is_sorted_by(|a, b| a.prefix < b.prefix) {
            all.sort_by_key(|at| at.prefix);
            all.dedup_by_key(|at| at.prefix);
        }
        all
    }
}

impl SourceState {
    fn report(&self, now: SystemTime) -> Source {
        let overdue = || -> Option<Arc<str>> {
            let at = self.observed_at?;
            let age = now.duration_since(at).ok()?;
            // Without the age itself: the graph must not change each second because of its wording.
            let max = self.max_age.filter(|max| age > *max)?;
            Some(format!("overdue: nothing new for more than {max:?}").into())
        };
        let silent = || self.observed_at.is_none().then(|| Arc::from("nothing read yet"));
        Source {
            name: self.name.clone(),
            precedence: self.precedence,
            observed_at: self.observed_at.unwrap_or(SystemTime::UNIX_EPOCH),
            trouble: self.trouble.clone().or_else(overdue).or_else(silent),
            validity: self.validity.clone(),
        }
    }

    fn gives_links(&self) -> bool {
        !self.links.is_empty()
    }

    /// Every router this source names.
    fn names(&self) -> HashSet<&str> {
        let ends = self.links.iter().flat_map(|link| [&*link.from, &*link.to]);
        self.routers.iter().map(|router| &*router.id).chain(ends).collect()
    }
}

/// Bitwise on values, so that a matrix with gaps (NaN) equals itself.
fn same(old: &Matrix, new: &observation::Matrix) -> bool {
    old.metric == new.metric
        && old.sources == new.sources
        && old.destinations == new.destinations
        && old.values.len() == new.values.len()
        && old.values.iter().zip(&new.values).all(|(a, b)| a.to_bits() == b.to_bits())
}
