//! All-pairs widest paths between routers: of all paths the one whose narrowest link is widest, whatever its IGP weight.
//!
//! Computed from nothing, links are added from the widest to the narrowest to a growing set of who reaches whom; a pair's width is
//! that of the link that first joins it. With rows of bits a union takes n/64 steps and each adds a pair, so all of it is bounded by
//! n³/64 steps, where a search from each router would take n times the links. A changed link needs far less: see [`Widest::update`].
//!
//! Unit: bits per second, as in the graph; links whose bandwidth is unknown carry nothing here. Invariant: an updated result equals
//! the one computed from nothing (all values are some link's bandwidth, so equality is exact).
use std::sync::Arc;
use topology::graph::{Graph, LinkIx, RouterIx};

/// Widths between all routers.
#[derive(Debug, Clone)]
pub struct Widest {
    /// The widest link between each two neighbours, sorted by sender, receiver.
    edges: Vec<Edge>,
    routers: usize,
    /// Row-major by sender; `NO_PATH` without one, infinite from a router to itself.
    widths: Arc<[f64]>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Edge {
    from: u32,
    to: u32,
    width_bps: f64,
}

/// Below every bandwidth, so that minimum and maximum need no special case.
const NO_PATH: f64 = f64::NEG_INFINITY;

/// Links that grew, in one update: each costs a pass over all pairs at worst, so with more it is cheaper to begin anew.
const GROWN_MAX: usize = 16;

impl PartialEq for Widest {
    fn eq(&self, other: &Self) -> bool {
        self.widths == other.widths
    }
}

impl Widest {
    /// The widths of all paths of `graph`.
    pub fn compute(graph: &Graph) -> Self {
        let edges = edges(graph);
        let widths = widths(graph.routers.len(), &edges);
        Self { edges, routers: graph.routers.len(), widths: widths.into() }
    }

    /// The widths of `new`, equal to `Widest::compute(new)`. `self` are the widths of `old`.
    ///
    /// A link that shrinks or goes changes nothing when its ends have a wider path anyway. One that grows or comes can only serve
    /// pairs by way of its two ends. In the remaining case, a link that was the widest way between its ends and shrinks, all is computed.
    pub fn update(&self, old: &Graph, new: &Graph) -> Self {
        let same_routers = old.routers.len() == new.routers.len() && old.routers.iter().zip(&new.routers).all(|(a, b)| a.id == b.id);
        if !same_routers {
            return Self::compute(new);
        }
        let edges = edges(new);
        let (mut shrunk, mut grown) = (Vec::new(), Vec::new());
        let (mut was, mut is) = (self.edges.iter().peekable(), edges.iter().peekable());
        let key = |edge: &Edge| (edge.from, edge.to);
        loop {
            let next = match (was.peek(), is.peek()) {
                (None, None) => break,
                (Some(a), Some(b)) => key(a).min(key(b)),
                (Some(edge), None) | (None, Some(edge)) => key(edge),
            };
            match (was.next_if(|edge| key(edge) == next), is.next_if(|edge| key(edge) == next)) {
                (Some(a), Some(b)) if a.width_bps == b.width_bps => {}
                (Some(a), Some(b)) if a.width_bps < b.width_bps => grown.push(*b),
                (Some(a), _) => shrunk.push(*a),
                (None, Some(b)) => grown.push(*b),
                (None, None) => break,
            }
        }
        let at = |from: u32, to: u32| from as usize * self.routers + to as usize;
        if grown.len() > GROWN_MAX || shrunk.iter().any(|edge| self.widths[at(edge.from, edge.to)] <= edge.width_bps) {
            let widths = widths(self.routers, &edges);
            return Self { edges, routers: self.routers, widths: widths.into() };
        }
        let mut widths = self.widths.clone();
        for edge in grown.iter().filter(|edge| edge.width_bps > self.widths[at(edge.from, edge.to)]) {
            widen(Arc::make_mut(&mut widths), self.routers, edge);
        }
        Self { edges, routers: self.routers, widths }
    }

    /// Bandwidth of the widest path in bits per second; `None` without a path, and from a router to itself.
    pub fn width_bps(&self, from: RouterIx, to: RouterIx) -> Option<f64> {
        let width = self.widths[from.0 as usize * self.routers + to.0 as usize];
        width.is_finite().then_some(width)
    }

    /// Whether both are the very same memory: nothing changed between them.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.widths, &other.widths)
    }
}

/// A link's bandwidth if it is one.
pub(crate) fn bandwidth_bps(link: &topology::graph::Link) -> Option<f64> {
    link.bandwidth_bps.filter(|width| width.is_finite() && *width >= 0.0)
}

fn edges(graph: &Graph) -> Vec<Edge> {
    let parallel = graph.links.chunk_by(|a, b| (a.from, a.to) == (b.from, b.to));
    let widest = parallel.filter(|links| links[0].from != links[0].to).filter_map(|links| {
        let width_bps = links.iter().filter_map(bandwidth_bps).max_by(f64::total_cmp)?;
        Some(Edge { from: links[0].from.0, to: links[0].to.0, width_bps })
    });
    widest.collect()
}

fn widths(routers: usize, edges: &[Edge]) -> Vec<f64> {
    let words = routers.div_ceil(64);
    let mut widths = vec![NO_PATH; routers * routers];
    let mut reached = vec![0u64; routers * words];
    for router in 0..routers {
        widths[router * routers + router] = f64::INFINITY;
        reached[router * words + router / 64] |= 1 << (router % 64);
    }
    let mut order: Vec<&Edge> = edges.iter().collect();
    order.sort_by(|a, b| b.width_bps.total_cmp(&a.width_bps));
    let mut beyond = vec![0u64; words];
    for edge in order {
        let (from, to) = (edge.from as usize, edge.to as usize);
        let reaches = |reached: &[u64], a: usize, b: usize| reached[a * words + b / 64] >> (b % 64) & 1 == 1;
        if reaches(&reached, from, to) {
            continue;
        }
        beyond.copy_from_slice(&reached[to * words..(to + 1) * words]);
        for router in 0..routers {
            if !reaches(&reached, router, from) || reaches(&reached, router, to) {
                continue;
            }
            let row = &mut widths[router * routers..(router + 1) * routers];
            for (word, (have, more)) in reached[router * words..(router + 1) * words].iter_mut().zip(&beyond).enumerate() {
                let mut news = more & !*have;
                *have |= more;
                while news != 0 {
                    row[word * 64 + news.trailing_zeros() as usize] = edge.width_bps;
                    news &= news - 1;
                }
            }
        }
    }
    widths
}

/// Lets every pair use `edge`.
fn widen(widths: &mut [f64], routers: usize, edge: &Edge) {
    let (from, to) = (edge.from as usize, edge.to as usize);
    let beyond: Vec<f64> = widths[to * routers..(to + 1) * routers].to_vec();
    for row in widths.chunks_exact_mut(routers) {
        let up_to_it = row[from].min(edge.width_bps);
        // Who reaches `to` as well by another way reaches all beyond it as well.
        if up_to_it <= row[to] {
            continue;
        }
        for (width, beyond) in row.iter_mut().zip(&beyond) {
            *width = width.max(up_to_it.min(*beyond));
        }
    }
}

/// The widest path, of several the one of fewest links, then the one whose router ids come first; of parallel links the widest.
pub(crate) fn widest_path(graph: &Graph, from: RouterIx, to: RouterIx) -> Option<(Vec<LinkIx>, f64)> {
    if from == to {
        return None;
    }
    let routers = graph.routers.len();
    let edges = edges(graph);
    let mut incoming = vec![Vec::new(); routers];
    for edge in &edges {
        incoming[edge.to as usize].push(*edge);
    }
    // Width from each router to `to`: the widest link into what is reached comes next.
    let mut width = vec![NO_PATH; routers];
    width[to.0 as usize] = f64::INFINITY;
    let mut heap = std::collections::BinaryHeap::from([(Width(f64::INFINITY), to.0)]);
    while let Some((Width(best), router)) = heap.pop() {
        if best < width[router as usize] {
            continue;
        }
        for edge in &incoming[router as usize] {
            let through = best.min(edge.width_bps);
            if through > width[edge.from as usize] {
                width[edge.from as usize] = through;
                heap.push((Width(through), edge.from));
            }
        }
    }
    let total = width[from.0 as usize];
    if !total.is_finite() {
        return None;
    }
    // Links to go over links that are wide enough, counted from the end.
    let mut togo = vec![u32::MAX; routers];
    togo[to.0 as usize] = 0;
    let mut queue = std::collections::VecDeque::from([to.0]);
    while let Some(router) = queue.pop_front() {
        for edge in incoming[router as usize].iter().filter(|edge| edge.width_bps >= total) {
            if togo[edge.from as usize] == u32::MAX {
                togo[edge.from as usize] = togo[router as usize] + 1;
                queue.push_back(edge.from);
            }
        }
    }
    let mut links = Vec::new();
    let mut at = from;
    while at != to {
        let base = graph.out[at.0 as usize];
        let outgoing = graph.links_from(at).iter().enumerate();
        let wide = outgoing
            .filter(|(_, link)| bandwidth_bps(link).is_some_and(|width| width >= total) && togo[link.to.0 as usize] < togo[at.0 as usize]);
        // Routers are numbered in the order of their ids.
        let (place, link) = wide.min_by(|(_, a), (_, b)| {
            a.to.cmp(&b.to).then(bandwidth_bps(b).partial_cmp(&bandwidth_bps(a)).unwrap_or(std::cmp::Ordering::Equal))
        })?;
        links.push(LinkIx(base + place as u32));
        at = link.to;
    }
    Some((links, total))
}

/// A width in a heap.
#[derive(PartialEq)]
struct Width(f64);

impl Eq for Width {}

impl PartialOrd for Width {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Width {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
