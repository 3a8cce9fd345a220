//! The versions of one view, in the order they came: an updates graph (draft-ietf-alto-new-transport section 3.1).
//!
//! Invariants (section 3.2): the versions are an integer interval (continuity); the first has its snapshot, and so has the newest
//! (feasibility); neither end moves back (right shift only); an edge never changes once it is there. A chain is a value: to change one is
//! to make the next, so that what was not kept can be thrown away. Old versions keep their patches only; of each few versions one keeps
//! its snapshot too, a checkpoint, and the first version only ever moves to a checkpoint or to the newest.
use crate::{Accepts, Item, Limits, NoEdge, Range, Seq, VersionInfo, record::Patches};
use alto::id::Tag;
use bytes::Bytes;
use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

/// Media type of RFC 7396 section 4.
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";
/// Media type of RFC 6902 section 6.
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";

/// How many versions a shortcut of each level steps over. It starts and ends at a multiple of that.
pub(crate) const SHORTCUTS: [u64; 3] = [4, 16, 64];

/// One version: its name, and the edges that lead to it.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) info: VersionInfo,
    /// From the version before; empty for a version that has none.
    pub(crate) patch: Patches,
    /// From nothing.
    pub(crate) snapshot: Option<Bytes>,
    /// Its snapshot is there to stay, on disk too: the first version may move here.
    pub(crate) checkpoint: bool,
    /// From versions further back, by level; made beside the commits, if they are worth it.
    shortcuts: Arc<[OnceLock<Bytes>; SHORTCUTS.len()]>,
    /// What all patches up to here sum up to.
    sums: Sums,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    merge: Sum,
    json: Sum,
    either: Sum,
}

/// Bytes of patches of one kind, and how many there are not.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    bytes: u64,
    absent: u64,
}

impl Sum {
    fn and(self, patch: Option<usize>) -> Self {
        match patch {
            Some(bytes) => Self { bytes: self.bytes + bytes as u64, ..self },
            None => Self { absent: self.absent + 1, ..self },
        }
    }

    /// Bytes from an earlier sum to this one; `None` where a patch is missing on the way.
    fn since(self, before: Self) -> Option<u64> {
        (self.absent == before.absent).then(|| self.bytes - before.bytes)
    }
}

impl Sums {
    fn of(&self, accepts: Accepts) -> Option<Sum> {
        match accepts {
            Accepts { merge: true, json: true } => Some(self.either),
            Accepts { merge: true, json: false } => Some(self.merge),
            Accepts { merge: false, json: true } => Some(self.json),
            Accepts { merge: false, json: false } => None,
        }
    }
}

impl Node {
    fn patch(&self, accepts: Accepts) -> Option<(&'static str, &Bytes)> {
        let merge = self.patch.merge.as_ref().filter(|_| accepts.merge);
        let json = self.patch.json.as_ref().filter(|_| accepts.json);
        match (merge, json) {
            (Some(merge), Some(json)) if json.len() < merge.len() => Some((JSON_PATCH, json)),
            (Some(merge), _) => Some((MERGE_PATCH, merge)),
            (None, Some(json)) => Some((JSON_PATCH, json)),
            (None, None) => None,
        }
    }

    fn patch_bytes(&self) -> usize {
        [&self.patch.merge, &self.patch.json].into_iter().flatten().map(Bytes::len).sum()
    }

    /// Everything that is kept for it.
    fn bytes(&self) -> usize {
        let shortcuts: usize = self.shortcuts.iter().filter_map(OnceLock::get).map(Bytes::len).sum();
        NODE_BYTES + self.patch_bytes() + self.snapshot.as_ref().map_or(0, Bytes::len) + shortcuts
    }
}

/// About what a version takes beside its contents.
const NODE_BYTES: usize = size_of::<Node>() + size_of::<[OnceLock<Bytes>; SHORTCUTS.len()]>() + 64;

/// A new version of a view.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) tag: Tag,
    pub(crate) at: SystemTime,
    pub(crate) body: Bytes,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    nodes: VecDeque<Arc<Node>>,
    pub(crate) media_type: &'static str,
    /// What is kept beside the newest version.
    bytes: usize,
}

impl Chain {
    /// Begins a view with its first version.
    pub(crate) fn begin(seq: Seq, media_type: &'static str, content: Content) -> Self {
        let Content { tag, at, body } = content;
        let info = VersionInfo { seq, tag, at, bytes: body.len() };
        let node = Node {
            info,
            patch: Patches::default(),
            snapshot: Some(body),
            checkpoint: true,
            shortcuts: Arc::default(),
            sums: Sums::default(),
        };
        Self { nodes: VecDeque::from([Arc::new(node)]), media_type, bytes: 0 }
    }

    /// What a restart found. `None` when it is no chain: not contiguous, an edge missing, no snapshot of the first or newest version.
    pub(crate) fn restore(media_type: &'static str, versions: Vec<(VersionInfo, Patches, Option<Bytes>)>, newest: Bytes) -> Option<Self> {
        let mut chain = Self { nodes: VecDeque::with_capacity(versions.len()), media_type, bytes: 0 };
        let last = versions.len().checked_sub(1)?;
        for (at, (info, patch, snapshot)) in versions.into_iter().enumerate() {
            let first = chain.nodes.is_empty();
            let follows = chain.nodes.back().is_none_or(|before| before.info.seq.0 + 1 == info.seq.0);
            let edge = patch.merge.is_some() || patch.json.is_some();
            if !follows || (!first && !edge) || (first && snapshot.is_none()) {
                return None;
            }
            let patch = if first { Patches::default() } else { patch };
            let sums = chain.sums(&patch);
            let checkpoint = snapshot.is_some();
            let snapshot = if at == last { Some(newest.clone()) } else { snapshot };
            chain.nodes.push_back(Arc::new(Node { info, patch, snapshot, checkpoint, shortcuts: Arc::default(), sums }));
        }
        chain.count();
        Some(chain)
    }

    fn sums(&self, patch: &Patches) -> Sums {
        let Some(before) = self.nodes.back().map(|node| node.sums) else { return Sums::default() };
        let (merge, json) = (patch.merge.as_ref().map(Bytes::len), patch.json.as_ref().map(Bytes::len));
        let either = merge.into_iter().chain(json).min();
        Sums { merge: before.merge.and(merge), json: before.json.and(json), either: before.either.and(either) }
    }

    /// The chain with one version more, and without what is too old or too many then.
    pub(crate) fn push(&self, content: Content, patch: Patches, now: SystemTime, versions_max: usize, limits: &Limits) -> Self {
        debug_assert!(patch.merge.is_some() || patch.json.is_some(), "an edge is a patch");
        let Content { tag, at, body } = content;
        let info = VersionInfo { seq: Seq(self.end().0 + 1), tag, at, bytes: body.len() };
        let sums = self.sums(&patch);
        let mut next = self.clone();
        let mut node = Node { info, patch, snapshot: Some(body), checkpoint: false, shortcuts: Arc::default(), sums };
        // From checkpoint to checkpoint: a share of the versions, or as many bytes of patches as of snapshot. So checkpoints take no more
        // than patches do, but for a few, and a restart applies no more than it reads.
        let spacing = (versions_max / 4).max(1);
        let since = next.nodes.iter().rev().take_while(|node| !node.checkpoint);
        let (count, bytes) = since.fold((1, node.patch_bytes()), |(count, bytes), node| (count + 1, bytes + node.patch_bytes()));
        node.checkpoint = count >= spacing || bytes >= node.info.bytes;
        next.nodes.push_back(Arc::new(node));
        next.thin(limits.snapshots_recent);
        while next.nodes.len() > versions_max.max(1) {
            next.move_start(true);
        }
        next.age(now, limits);
        next.count();
        next
    }

    /// Snapshots between checkpoints are there for those who just heard of them, for a while.
    fn thin(&mut self, recent: usize) {
        let old = self.nodes.len().saturating_sub(1 + recent);
        for node in self.nodes.iter_mut().take(old).rev().take_while(|node| node.snapshot.is_some()) {
            if !node.checkpoint {
                let dropped = Node { snapshot: None, ..Node::clone(node) };
                *node = Arc::new(dropped);
            }
        }
    }

    /// Forgets versions that were replaced longer ago than the limit.
    fn age(&mut self, now: SystemTime, limits: &Limits) {
        while let Some(next) = self.nodes.iter().skip(1).find(|node| node.checkpoint)
            && now.duration_since(next.info.at).is_ok_and(|age| age > limits.age_max)
        {
            self.move_start(false);
        }
    }

    /// The same chain without versions that are too old, if there are any.
    pub(crate) fn aged(&self, now: SystemTime, limits: &Limits) -> Option<Self> {
        let oldest = self.nodes.front()?.info.at;
        now.duration_since(oldest).ok().filter(|age| *age > limits.age_max)?;
        let mut next = self.clone();
        next.age(now, limits);
        next.count();
        (next.start() != self.start()).then_some(next)
    }

    /// The chain without the versions before its next checkpoint; with `to_end` the newest version serves for one.
    pub(crate) fn compacted(&self, to_end: bool) -> Option<Self> {
        let mut next = self.clone();
        next.move_start(to_end).then(|| {
            next.count();
            next
        })
    }

    /// What is remembered when there is no such resource any more: the last number, so that numbering goes on from it.
    pub(crate) fn ended(&self) -> Self {
        let last = Node { snapshot: None, patch: Patches::default(), shortcuts: Arc::default(), ..self.newest().clone() };
        Self { nodes: VecDeque::from([Arc::new(last)]), media_type: self.media_type, bytes: 0 }
    }

    /// The same, as a restart finds it.
    pub(crate) fn ended_at(media_type: &'static str, info: VersionInfo) -> Self {
        let (patch, sums) = (Patches::default(), Sums::default());
        let node = Node { info, patch, snapshot: None, checkpoint: true, shortcuts: Arc::default(), sums };
        Self { nodes: VecDeque::from([Arc::new(node)]), media_type, bytes: 0 }
    }

    fn move_start(&mut self, to_end: bool) -> bool {
        let last = self.nodes.len() - 1;
        let Some(to) = (1..=last).find(|at| self.nodes[*at].checkpoint || (to_end && *at == last)) else { return false };
        self.nodes.drain(..to);
        let first = &mut self.nodes[0];
        // The edge to the first version goes with the version before it.
        *first = Arc::new(Node { patch: Patches::default(), checkpoint: true, shortcuts: Arc::default(), ..Node::clone(first) });
        true
    }

    fn count(&mut self) {
        let newest = self.nodes.back().map_or(0, |node| node.info.bytes);
        self.bytes = self.nodes.iter().map(|node| node.bytes()).sum::<usize>().saturating_sub(newest);
    }

    /// What is kept beside the newest version, which is served anyway.
    pub(crate) fn history_bytes(&self) -> usize {
        self.bytes
    }

    /// The first version.
    pub(crate) fn start(&self) -> Seq {
        self.nodes[0].info.seq
    }

    /// The newest version.
    pub(crate) fn end(&self) -> Seq {
        self.newest().info.seq
    }

    pub(crate) fn range(&self) -> Range {
        Range { start: self.start(), end: self.end() }
    }

    pub(crate) fn newest(&self) -> &Node {
        self.nodes.back().expect("a chain is never empty")
    }

    pub(crate) fn node(&self, seq: Seq) -> Option<&Node> {
        let at = seq.0.checked_sub(self.start().0)?;
        self.nodes.get(usize::try_from(at).ok()?).map(AsRef::as_ref)
    }

    /// Oldest first.
    pub(crate) fn infos(&self) -> Vec<VersionInfo> {
        self.nodes.iter().map(|node| node.info.clone()).collect()
    }

    /// The newest version with this tag.
    pub(crate) fn find(&self, tag: &Tag) -> Option<Seq> {
        self.nodes.iter().rev().find(|node| node.info.tag == *tag).map(|node| node.info.seq)
    }

    /// See [`crate::View::edge`].
    pub(crate) fn edge(&self, from: Seq, to: Seq) -> Result<Item, NoEdge> {
        let Range { start, end } = self.range();
        if to < start || (from < start && from != Seq(0)) {
            return Err(NoEdge::Gone { start });
        }
        if to > end || from > end {
            return Err(NoEdge::NotYet { end });
        }
        let node = self.node(to).ok_or(NoEdge::NotOffered)?;
        if from == Seq(0) {
            let body = node.snapshot.clone().ok_or(NoEdge::NotOffered)?;
            return Ok(item(node, from, self.media_type, body));
        }
        if from.0 + 1 == to.0 {
            let (media_type, body) = node.patch(Accepts::PATCHES).ok_or(NoEdge::NotOffered)?;
            return Ok(item(node, from, media_type, body.clone()));
        }
        let level = SHORTCUTS.iter().position(|step| aligned(from, *step) == Some(to)).ok_or(NoEdge::NotOffered)?;
        let body = node.shortcuts[level].get().ok_or(NoEdge::NotOffered)?;
        Ok(item(node, from, MERGE_PATCH, body.clone()))
    }

    /// The next step of a reader of version `from` towards the newest; `None` when there is nothing newer.
    pub(crate) fn step(&self, from: Seq, accepts: Accepts) -> Option<Item> {
        let end = self.newest();
        if from == end.info.seq {
            return None;
        }
        let snapshot = || end.snapshot.clone().map(|body| item(end, Seq(0), self.media_type, body));
        let Some(way) = self.way(from, accepts) else { return snapshot() };
        if way > end.info.bytes as u64 && self.short_way(from, accepts).is_none_or(|way| way > end.info.bytes as u64) {
            return snapshot();
        }
        let (to, media_type, body) = self.stride(from, accepts)?;
        Some(item(to, from, media_type, body.clone()))
    }

    /// Bytes of the single patches from a version to the newest.
    fn way(&self, from: Seq, accepts: Accepts) -> Option<u64> {
        let (from, to) = (self.node(from)?, self.newest());
        to.sums.of(accepts)?.since(from.sums.of(accepts)?)
    }

    /// The same, over shortcuts.
    fn short_way(&self, from: Seq, accepts: Accepts) -> Option<u64> {
        let (mut at, mut bytes) = (from, 0);
        while at < self.end() {
            let (to, _, body) = self.stride(at, accepts)?;
            (at, bytes) = (to.info.seq, bytes + body.len() as u64);
        }
        Some(bytes)
    }

    /// The longest edge from a version that is worth going, or the single one.
    fn stride(&self, from: Seq, accepts: Accepts) -> Option<(&Node, &'static str, &Bytes)> {
        let shortcut = |level: usize| {
            let to = self.node(aligned(from, SHORTCUTS[level])?)?;
            to.shortcuts[level].get().map(|body| (to, MERGE_PATCH, body))
        };
        let shortcut = accepts.merge.then(|| (0..SHORTCUTS.len()).rev().find_map(shortcut)).flatten();
        shortcut.or_else(|| {
            let to = self.node(Seq(from.0 + 1))?;
            to.patch(accepts).map(|(media_type, body)| (to, media_type, body))
        })
    }

    /// See [`crate::View::recommend`].
    pub(crate) fn recommend(&self, tag: Option<&Tag>) -> (Seq, Seq) {
        let end = self.end();
        let from = tag.and_then(|tag| self.find(tag));
        if from == Some(end) {
            return (end, Seq(end.0 + 1));
        }
        match from.and_then(|from| Some((self.short_way(from, Accepts::PATCHES)?, from))) {
            Some((bytes, from)) if bytes <= self.newest().info.bytes as u64 => {
                let to = self.stride(from, Accepts::PATCHES).map_or(Seq(from.0 + 1), |(to, _, _)| to.info.seq);
                (from, to)
            }
            _ => (Seq(0), end),
        }
    }

    /// The merge patches that a shortcut of `level` to the newest version would join, where that is worth trying: if there is no room
    /// for it in the size of a snapshot or two, it is not.
    pub(crate) fn shortcut_parts(&self, level: usize) -> Option<Vec<Bytes>> {
        let (end, step) = (self.end(), SHORTCUTS[level]);
        let from = Seq(end.0.checked_sub(step).filter(|from| from.is_multiple_of(step))?);
        let mut room = 2 * self.newest().info.bytes;
        let (mut at, mut parts) = (self.node(from)?.info.seq, Vec::new());
        while at < end {
            // Joined out of the level below where that was worth it.
            let below = level.checked_sub(1).and_then(|level| {
                let to = self.node(aligned(at, SHORTCUTS[level])?)?;
                Some((to, to.shortcuts[level].get()?))
            });
            let (to, patch) = match below {
                Some(below) => below,
                None => {
                    let to = self.node(Seq(at.0 + 1))?;
                    (to, to.patch.merge.as_ref()?)
                }
            };
            room = room.checked_sub(patch.len())?;
            parts.push(patch.clone());
            at = to.info.seq;
        }
        Some(parts)
    }

    /// Offers a shortcut to the newest version.
    pub(crate) fn offer(&self, level: usize, patch: Bytes) {
        // Whoever made it first made the same.
        let _ = self.newest().shortcuts[level].set(patch);
    }
}

/// Where a shortcut of this length from a version leads, if there may be one.
fn aligned(from: Seq, step: u64) -> Option<Seq> {
    from.0.is_multiple_of(step).then(|| from.0.checked_add(step)).flatten().map(Seq)
}

fn item(to: &Node, from: Seq, media_type: &'static str, body: Bytes) -> Item {
    Item { from, to: to.info.seq, tag: to.info.tag.clone(), media_type, body, at: to.info.at }
}
