//! All-pairs IGP routes between routers, and what a changed link does to them.
//!
//! The route between two routers is the path of least IGP weight (RFC 2328 section 16.1); among those of equal weight the one of
//! fewest links, among those the one whose router ids, read from the sender, come first in order. It is unique, and what is left
//! of it at any router on the way is that router's own route, so `routingcost`, `hopcount`, `delay-ow` and an explanation all
//! speak of one path. Of parallel links the lightest counts, then the first in the graph's order.
//!
//! Routes are kept as one tree per destination. When links change, each tree is repaired where the change can reach it
//! (after Ramalingam and Reps, 1996): routers that lost their next hop and everything behind them are routed anew, routers that
//! can do better through a change spread that, and all else stays. Trees out of a change's reach are shared with the result before.
//!
//! Units: weights as configured in the IGP, delays in microseconds. Invariant: a repaired tree equals the one computed from nothing, bit by bit.
use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};
use topology::graph::{Graph, Link, LinkIx, RouterIx};

/// Says "no router" where a router's place is expected.
const NOWHERE: u32 = u32::MAX;

/// Routes from every router to each of some destinations.
#[derive(Debug, Clone)]
pub struct Routes {
    adjacency: Arc<Adjacency>,
    /// Sorted.
    targets: Arc<[RouterIx]>,
    /// One per target.
    trees: Vec<Arc<[Hop]>>,
    /// Per router the place of its tree, or `NOWHERE`.
    tree_of: Arc<[u32]>,
}

/// How one router reaches the destination of a tree.
#[derive(Debug, Clone, Copy)]
pub struct Hop {
    /// Sum of weights; `u64::MAX` when there is no route.
    cost: u64,
    /// Sum of delays, microseconds; NaN when a link's is unknown or there is no route.
    delay_us: f64,
    /// Number of links.
    hops: u32,
    /// Next router; `NOWHERE` at the destination itself and without a route.
    next: u32,
}

impl PartialEq for Hop {
    fn eq(&self, other: &Self) -> bool {
        (self.cost, self.hops, self.next, self.delay_us.to_bits()) == (other.cost, other.hops, other.next, other.delay_us.to_bits())
    }
}

impl Hop {
    const NONE: Self = Self { cost: u64::MAX, delay_us: f64::NAN, hops: u32::MAX, next: NOWHERE };

    /// Whether there is a route.
    pub fn is_route(&self) -> bool {
        self.cost != u64::MAX
    }
    /// Sum of the IGP weights.
    pub fn cost(&self) -> Option<u64> {
        self.is_route().then_some(self.cost)
    }
    /// Number of links.
    pub fn hops(&self) -> Option<u32> {
        self.is_route().then_some(self.hops)
    }
    /// One-way delay in microseconds; NaN when unknown.
    pub fn delay_us(&self) -> f64 {
        self.delay_us
    }
    /// What routes are compared by before router ids are.
    pub(crate) fn rank(&self) -> (u64, u32) {
        (self.cost, self.hops)
    }
}

impl Routes {
    /// All routes of `graph` to each of `targets` (sorted).
    pub fn compute(graph: &Graph, targets: &[RouterIx]) -> Self {
        let adjacency = Adjacency::new(graph);
        let mut heap = BinaryHeap::new();
        let trees = targets.iter().map(|target| adjacency.tree(target.0, &mut heap).into()).collect();
        Self { tree_of: places(targets, graph.routers.len()), adjacency: Arc::new(adjacency), targets: targets.into(), trees }
    }

    /// The routes of `new`, equal to `Routes::compute(new, targets)`. `self` are the routes of `old`.
    pub fn update(&self, old: &Graph, new: &Graph, targets: &[RouterIx]) -> Self {
        let same_routers = old.routers.len() == new.routers.len() && old.routers.iter().zip(&new.routers).all(|(a, b)| a.id == b.id);
        let adjacency = Adjacency::new(new);
        // Where each old router is now, and the adjacency before in today's numbers.
        let moved = (!same_routers).then(|| Moved::new(old, new));
        let renumbered = moved.as_ref().map(|moved| self.adjacency.renumbered(moved));
        let changes = renumbered.as_ref().unwrap_or(&self.adjacency).changes_to(&adjacency);
        // Repairing touches a router more than once when much has changed; then it is cheaper to begin anew.
        if changes.len() > adjacency.out.len() / 4 {
            return Self::compute(new, targets);
        }
        let mut repair = Repair::new(&adjacency, &changes, moved.as_ref().is_some_and(|moved| moved.place.contains(&NOWHERE)));
        let mut heap = BinaryHeap::new();
        let tree_of = places(targets, new.routers.len());
        let trees = targets
            .iter()
            .map(|target| {
                let before = match &moved {
                    None => self.tree(*target).cloned(),
                    Some(moved) => {
                        moved.origin[target.0 as usize].and_then(|was| self.tree(RouterIx(was))).map(|tree| moved.renumber(tree))
                    }
                };
                match before {
                    Some(tree) => repair.repaired(tree),
                    None => adjacency.tree(target.0, &mut heap).into(),
                }
            })
            .collect();
        Self { adjacency: Arc::new(adjacency), targets: targets.into(), trees, tree_of }
    }

    /// The destinations.
    pub fn targets(&self) -> &[RouterIx] {
        &self.targets
    }

    /// How `from` reaches `to`; `None` when `to` is no target.
    pub fn hop(&self, from: RouterIx, to: RouterIx) -> Option<&Hop> {
        self.tree(to).map(|tree| &tree[from.0 as usize])
    }

    /// How every router reaches `to`.
    pub(crate) fn tree(&self, to: RouterIx) -> Option<&Arc<[Hop]>> {
        self.trees.get(self.tree_of[to.0 as usize] as usize)
    }
}

impl PartialEq for Routes {
    fn eq(&self, other: &Self) -> bool {
        self.targets == other.targets && self.trees == other.trees
    }
}

fn places(targets: &[RouterIx], routers: usize) -> Arc<[u32]> {
    let mut places = vec![NOWHERE; routers];
    for (place, target) in targets.iter().enumerate() {
        places[target.0 as usize] = place as u32;
    }
    places.into()
}

/// The route from `from` to `to`, link by link.
pub(crate) fn route(graph: &Graph, from: RouterIx, to: RouterIx) -> Option<(Vec<LinkIx>, Hop)> {
    let adjacency = Adjacency::new(graph);
    let tree = adjacency.tree(to.0, &mut BinaryHeap::new());
    let hop = tree[from.0 as usize];
    if !hop.is_route() {
        return None;
    }
    let mut links = Vec::with_capacity(hop.hops as usize);
    let mut at = from.0;
    while at != to.0 {
        let next = tree[at as usize].next;
        links.push(lightest(graph, RouterIx(at), RouterIx(next))?);
        at = next;
    }
    Some((links, hop))
}

/// Of the parallel links between two routers the one that routes use.
fn lightest(graph: &Graph, from: RouterIx, to: RouterIx) -> Option<LinkIx> {
    let base = graph.out[from.0 as usize];
    let between = graph.links_from(from).iter().enumerate().filter(|(_, link)| link.to == to);
    between.min_by_key(|(_, link)| link.igp_cost).map(|(at, _)| LinkIx(base + at as u32))
}

/// A link's delay if it is one that can be summed.
pub(crate) fn delay_us(link: &Link) -> f64 {
    link.delay_us.filter(|delay| delay.is_finite() && *delay >= 0.0).unwrap_or(f64::NAN)
}

/// The lightest link between each two neighbours, by sender and by receiver.
#[derive(Debug, Clone)]
struct Adjacency {
    /// For router `i`: `out[out_start[i]..out_start[i + 1]]`, sorted by receiver.
    out_start: Vec<u32>,
    out: Vec<Edge>,
    /// The same turned round, sorted by sender.
    in_start: Vec<u32>,
    incoming: Vec<Edge>,
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    /// The other end.
    peer: u32,
    weight: u32,
    delay_us: f64,
}

/// A pair of neighbours whose link is not what it was.
#[derive(Debug, Clone, Copy)]
struct Change {
    from: u32,
    to: u32,
    was: Option<u32>,
    is: Option<u32>,
}

impl Adjacency {
    fn new(graph: &Graph) -> Self {
        let routers = graph.routers.len();
        let (mut out_start, mut out) = (Vec::with_capacity(routers + 1), Vec::with_capacity(graph.links.len()));
        out_start.push(0);
        for router in 0..routers as u32 {
            let parallel = graph.links_from(RouterIx(router)).chunk_by(|a, b| a.to == b.to);
            out.extend(parallel.filter(|links| links[0].to.0 != router).filter_map(|links| {
                let link = links.iter().min_by_key(|link| link.igp_cost)?;
                Some(Edge { peer: link.to.0, weight: link.igp_cost, delay_us: delay_us(link) })
            }));
            out_start.push(out.len() as u32);
        }
        Self::from_out(out_start, out)
    }

    fn from_out(out_start: Vec<u32>, out: Vec<Edge>) -> Self {
        let mut in_start = vec![0u32; out_start.len()];
        for edge in &out {
            in_start[edge.peer as usize + 1] += 1;
        }
        for at in 1..in_start.len() {
            in_start[at] += in_start[at - 1];
        }
        let mut incoming = vec![Edge { peer: 0, weight: 0, delay_us: 0.0 }; out.len()];
        let mut filled = in_start.clone();
        for router in 0..out_start.len() - 1 {
            for edge in &out[out_start[router] as usize..out_start[router + 1] as usize] {
                let place = &mut filled[edge.peer as usize];
                incoming[*place as usize] = Edge { peer: router as u32, ..*edge };
                *place += 1;
            }
        }
        Self { out_start, out, in_start, incoming }
    }

    fn out(&self, router: u32) -> &[Edge] {
        &self.out[self.out_start[router as usize] as usize..self.out_start[router as usize + 1] as usize]
    }

    fn incoming(&self, router: u32) -> &[Edge] {
        &self.incoming[self.in_start[router as usize] as usize..self.in_start[router as usize + 1] as usize]
    }

    fn edge(&self, from: u32, to: u32) -> Option<&Edge> {
        let out = self.out(from);
        out.binary_search_by_key(&to, |edge| edge.peer).ok().map(|at| &out[at])
    }

    /// Every router's route to `target`.
    fn tree(&self, target: u32, heap: &mut BinaryHeap<Reverse<(u64, u32, u32)>>) -> Vec<Hop> {
        let mut tree = vec![Hop::NONE; self.out_start.len() - 1];
        tree[target as usize] = Hop { cost: 0, delay_us: 0.0, hops: 0, next: NOWHERE };
        heap.push(Reverse((0, 0, target)));
        while let Some(Reverse((cost, hops, router))) = heap.pop() {
            let hop = tree[router as usize];
            if hop.rank() != (cost, hops) {
                continue;
            }
            // All that could still become the next hop of this router has been seen, so its next hop is final.
            if let Some(edge) = (hop.next != NOWHERE).then(|| self.edge(router, hop.next)).flatten() {
                tree[router as usize].delay_us = edge.delay_us + tree[hop.next as usize].delay_us;
            }
            for edge in self.incoming(router) {
                let candidate = (cost + u64::from(edge.weight), hops + 1);
                let peer = &mut tree[edge.peer as usize];
                if candidate < peer.rank() {
                    *peer = Hop { cost: candidate.0, hops: candidate.1, next: router, delay_us: f64::NAN };
                    heap.push(Reverse((candidate.0, candidate.1, edge.peer)));
                } else if candidate == peer.rank() && router < peer.next {
                    peer.next = router;
                }
            }
        }
        tree
    }

    /// What must change in `self` to make it `new`; both number routers alike.
    fn changes_to(&self, new: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        for router in 0..new.out_start.len() as u32 - 1 {
            let (mut was, mut is) = (self.out(router).iter().peekable(), new.out(router).iter().peekable());
            loop {
                let to = match (was.peek(), is.peek()) {
                    (None, None) => break,
                    (Some(a), Some(b)) => a.peer.min(b.peer),
                    (Some(edge), None) | (None, Some(edge)) => edge.peer,
                };
                let (a, b) = (was.next_if(|edge| edge.peer == to), is.next_if(|edge| edge.peer == to));
                let key = |edge: Option<&Edge>| edge.map(|edge| (edge.weight, edge.delay_us.to_bits()));
                if key(a) != key(b) {
                    changes.push(Change { from: router, to, was: a.map(|edge| edge.weight), is: b.map(|edge| edge.weight) });
                }
            }
        }
        changes
    }

    /// The same with today's numbers; links of routers that are gone left out.
    fn renumbered(&self, moved: &Moved) -> Self {
        let (mut out_start, mut out) = (vec![0], Vec::with_capacity(self.out.len()));
        for origin in &moved.origin {
            if let Some(was) = *origin {
                // Both numberings follow the ids, so the order stays.
                out.extend(self.out(was).iter().filter_map(|edge| {
                    let peer = moved.place[edge.peer as usize];
                    (peer != NOWHERE).then_some(Edge { peer, ..*edge })
                }));
            }
            out_start.push(out.len() as u32);
        }
        Self::from_out(out_start, out)
    }
}

/// Old and new numbers of routers, when routers came or went.
struct Moved {
    /// Of each old router the new number, or `NOWHERE`.
    place: Vec<u32>,
    /// Of each new router the old number.
    origin: Vec<Option<u32>>,
}

/// A next hop that is gone: a router to be routed anew.
const GONE: u32 = u32::MAX - 1;

impl Moved {
    fn new(old: &Graph, new: &Graph) -> Self {
        let (mut place, mut origin) = (vec![NOWHERE; old.routers.len()], vec![None; new.routers.len()]);
        let mut was = old.routers.iter().enumerate().peekable();
        for (is, router) in new.routers.iter().enumerate() {
            while was.next_if(|(_, before)| before.id < router.id).is_some() {}
            if let Some((before, _)) = was.next_if(|(_, before)| before.id == router.id) {
                place[before] = is as u32;
                origin[is] = Some(before as u32);
            }
        }
        Self { place, origin }
    }

    fn renumber(&self, tree: &[Hop]) -> Arc<[Hop]> {
        let hop = |origin: &Option<u32>| {
            let Some(was) = *origin else { return Hop::NONE };
            let hop = tree[was as usize];
            if hop.next == NOWHERE {
                return hop;
            }
            match self.place[hop.next as usize] {
                NOWHERE => Hop { next: GONE, ..hop },
                next => Hop { next, ..hop },
            }
        };
        self.origin.iter().map(hop).collect()
    }
}

/// What repairing trees needs again and again.
struct Repair<'a> {
    adjacency: &'a Adjacency,
    changes: &'a [Change],
    /// Whether routers went, so that next hops may be `GONE`.
    routers_went: bool,
    heap: BinaryHeap<Reverse<(u64, u32, u32)>>,
    /// Routers whose route is lost.
    lost: Vec<u32>,
    /// Routers whose delay is to be summed again.
    stale: Vec<u32>,
    /// Per router the round in which it was lost, and summed.
    lost_in: Vec<u32>,
    summed_in: Vec<u32>,
    round: u32,
    stack: Vec<u32>,
}

impl<'a> Repair<'a> {
    fn new(adjacency: &'a Adjacency, changes: &'a [Change], routers_went: bool) -> Self {
        let routers = adjacency.out_start.len() - 1;
        Self {
            adjacency,
            changes,
            routers_went,
            heap: BinaryHeap::new(),
            lost: Vec::new(),
            stale: Vec::new(),
            lost_in: vec![0; routers],
            summed_in: vec![0; routers],
            round: 0,
            stack: Vec::new(),
        }
    }

    /// `before` made good; itself when no change reaches it.
    fn repaired(&mut self, before: Arc<[Hop]>) -> Arc<[Hop]> {
        let touched =
            self.changes.iter().any(|change| touches(change, &before)) || (self.routers_went && before.iter().any(|hop| hop.next == GONE));
        if !touched {
            return before;
        }
        let mut tree = before;
        // A tree that nobody else holds (after renumbering) is repaired where it is.
        self.repair(Arc::make_mut(&mut tree));
        tree
    }

    fn repair(&mut self, tree: &mut [Hop]) {
        self.round += 1;
        self.lost.clear();
        self.stale.clear();
        self.find_lost(tree);
        for &router in &self.lost {
            tree[router as usize] = Hop::NONE;
        }
        // Where a lost router meets routers that kept theirs.
        for at in 0..self.lost.len() {
            let router = self.lost[at];
            let mut best = Hop::NONE;
            for edge in self.adjacency.out(router) {
                let peer = &tree[edge.peer as usize];
                if self.lost_in[edge.peer as usize] == self.round || !peer.is_route() {
                    continue;
                }
                let candidate = (peer.cost + u64::from(edge.weight), peer.hops + 1);
                if candidate < best.rank() {
                    best = Hop { cost: candidate.0, hops: candidate.1, next: edge.peer, delay_us: f64::NAN };
                }
            }
            if best.is_route() {
                tree[router as usize] = best;
                self.heap.push(Reverse((best.cost, best.hops, router)));
                self.stale.push(router);
            }
        }
        // What became better by itself.
        for change in self.changes {
            let Some(weight) = change.is else { continue };
            // A lost sender has seen all that kept their route; a lost receiver will offer its new one.
            if self.lost_in[change.from as usize] == self.round || self.lost_in[change.to as usize] == self.round {
                continue;
            }
            if tree[change.to as usize].is_route() {
                self.offer(tree, change.from, change.to, weight);
            }
            if tree[change.from as usize].next == change.to {
                self.stale.push(change.from);
            }
        }
        while let Some(Reverse((cost, hops, router))) = self.heap.pop() {
            if tree[router as usize].rank() != (cost, hops) {
                continue;
            }
            for edge in self.adjacency.incoming(router) {
                self.offer(tree, edge.peer, router, edge.weight);
            }
        }
        self.sum_delays(tree);
    }

    /// `router` may go through `next` if that is better.
    fn offer(&mut self, tree: &mut [Hop], router: u32, next: u32, weight: u32) {
        let through = tree[next as usize];
        let candidate = (through.cost + u64::from(weight), through.hops + 1);
        let hop = &mut tree[router as usize];
        if candidate < hop.rank() {
            *hop = Hop { cost: candidate.0, hops: candidate.1, next, delay_us: f64::NAN };
            self.heap.push(Reverse((candidate.0, candidate.1, router)));
            self.stale.push(router);
        } else if candidate == hop.rank() && next < hop.next {
            hop.next = next;
            self.stale.push(router);
        }
    }

    /// Routers whose next hop is gone or has become worse, and all whose route led through them.
    fn find_lost(&mut self, tree: &[Hop]) {
        for change in self.changes {
            let worse = change.is.is_none_or(|is| change.was.is_some_and(|was| is > was));
            if worse && tree[change.from as usize].next == change.to {
                self.lose(change.from);
            }
        }
        if self.routers_went {
            for (router, hop) in tree.iter().enumerate() {
                if hop.next == GONE {
                    self.lose(router as u32);
                }
            }
        }
        let mut at = 0;
        while at < self.lost.len() {
            let router = self.lost[at];
            at += 1;
            let adjacency = self.adjacency;
            // A link that is gone is not among these, but then its sender is lost on its own account.
            for edge in adjacency.incoming(router) {
                if tree[edge.peer as usize].next == router {
                    self.lose(edge.peer);
                }
            }
        }
    }

    fn lose(&mut self, router: u32) {
        if self.lost_in[router as usize] != self.round {
            self.lost_in[router as usize] = self.round;
            self.lost.push(router);
        }
    }

    /// Sums delays again for stale routers and all behind them.
    fn sum_delays(&mut self, tree: &mut [Hop]) {
        // Nearer ones first: what lies behind is then summed once, after what it rests on.
        self.stale.sort_unstable_by_key(|&router| tree[router as usize].rank());
        for at in 0..self.stale.len() {
            self.stack.push(self.stale[at]);
            while let Some(router) = self.stack.pop() {
                let hop = tree[router as usize];
                if self.summed_in[router as usize] == self.round || hop.next == NOWHERE {
                    continue;
                }
                self.summed_in[router as usize] = self.round;
                let Some(edge) = self.adjacency.edge(router, hop.next) else { continue };
                let delay_us = edge.delay_us + tree[hop.next as usize].delay_us;
                tree[router as usize].delay_us = delay_us;
                // Behind an unchanged sum nothing changes but what is stale itself. NaN marks what was routed anew as well as the unknown.
                if delay_us.to_bits() != hop.delay_us.to_bits() || delay_us.is_nan() {
                    for edge in self.adjacency.incoming(router) {
                        if tree[edge.peer as usize].next == router {
                            self.stack.push(edge.peer);
                        }
                    }
                }
            }
        }
    }
}

/// Whether `change` can alter `tree`.
fn touches(change: &Change, tree: &[Hop]) -> bool {
    let (from, to) = (&tree[change.from as usize], &tree[change.to as usize]);
    if from.next == change.to {
        return true;
    }
    let Some(weight) = change.is.filter(|_| to.is_route()) else { return false };
    let candidate = (to.cost + u64::from(weight), to.hops + 1);
    candidate < from.rank() || (candidate == from.rank() && change.to < from.next)
}
