//! A view: one resource with one input, and its versions as an updates graph (draft-ietf-alto-new-transport, section 3).
//!
//! Node 0 is "nothing"; an edge from 0 is a snapshot, every other edge a patch. Invariants, at any time and over restarts: the versions
//! are an integer interval (continuity); there is a snapshot of the first (feasibility); neither end ever moves back (right shift only);
//! what a version holds does not depend on the way a client took to it (path independence).
//!
//! The views of one commit move on one after the other, dependencies first. So who looks at dependants first and sends dependencies
//! first never sends a cost map before the network map that it depends on (RFC 8895 section 6.7.1).
use crate::{Seq, chain::Chain, post::Post};
use alto::id::{ResourceId, Tag};
use arc_swap::ArcSwap;
use bytes::Bytes;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::SystemTime,
};

/// Names a chain of versions, in URIs too: letters, digits, `-` and `_`. Never the same for two chains: another resource, input, log
/// or, for a view that was freed and made again, another life has another id. So what lies behind a URI made of it never changes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewId(pub(crate) Arc<str>);

impl ViewId {
    /// As it stands in a URI.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ViewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which kinds of change a client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Accepts {
    /// `application/merge-patch+json` (RFC 7396)
    pub merge: bool,
    /// `application/json-patch+json` (RFC 6902)
    pub json: bool,
}

impl Accepts {
    /// Both kinds of patch.
    pub const PATCHES: Self = Self { merge: true, json: true };
    /// Full copies only.
    pub const SNAPSHOTS: Self = Self { merge: false, json: false };
}

/// One edge of the updates graph, ready to be sent. Cheap to clone: `body` is shared by all readers.
#[derive(Debug, Clone)]
pub struct Item {
    /// Where it starts; 0: `body` is a full copy.
    pub from: Seq,
    /// The version it leads to.
    pub to: Seq,
    /// Tag of version `to`.
    pub tag: Tag,
    /// Of `body`: the resource's own, `application/merge-patch+json` or `application/json-patch+json`.
    pub media_type: &'static str,
    /// The document or the patch.
    pub body: Bytes,
    /// When version `to` was committed.
    pub at: SystemTime,
}

impl Item {
    /// Whether it is a full copy.
    pub fn is_snapshot(&self) -> bool {
        self.from == Seq(0)
    }
}

/// Why there is no such edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoEdge {
    /// It starts or ends before the first version: 410 in TIPS.
    Gone {
        /// The first version.
        start: Seq,
    },
    /// It is still to come: `end` is the newest version. 425 or a long poll in TIPS.
    NotYet {
        /// The newest version.
        end: Seq,
    },
    /// Both ends are here, the edge is not offered: 404.
    NotOffered,
}

/// Where a reader starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// It has nothing: the newest snapshot first.
    Nothing,
    /// It has the content of this tag. If that is not a version of the view any more: as [`Self::Nothing`].
    Tag(Tag),
    /// It has this version. If that left the view: as [`Self::Nothing`].
    Seq(Seq),
}

/// First and newest version of a view. It can be empty for no reader: a view begins with its first version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// `start-seq`
    pub start: Seq,
    /// `end-seq`
    pub end: Seq,
}

/// A live view. Those of POST-mode resources are freed when the last `Arc` of a reader is gone.
pub struct View {
    id: ViewId,
    resource: ResourceId,
    input: Option<Bytes>,
    media_type: &'static str,
    chain: ArcSwap<Chain>,
    /// Of the chain, for those who only want to know whether there is something newer.
    end: AtomicU64,
    closed: AtomicBool,
    pub(crate) post: Option<Post>,
}

impl View {
    pub(crate) fn new(id: ViewId, resource: ResourceId, chain: Arc<Chain>) -> Self {
        Self {
            id,
            resource,
            input: None,
            media_type: chain.media_type,
            end: AtomicU64::new(chain.end().0),
            chain: ArcSwap::new(chain),
            closed: AtomicBool::new(false),
            post: None,
        }
    }

    pub(crate) fn with_input(self, input: Bytes, post: Post) -> Self {
        Self { input: Some(input), post: Some(post), ..self }
    }

    pub(crate) fn chain(&self) -> Arc<Chain> {
        self.chain.load_full()
    }

    /// The chain it goes on with. Called by one thread at a time.
    pub(crate) fn set(&self, chain: Arc<Chain>) {
        let before = self.chain.load();
        debug_assert!(before.start() <= chain.start() && before.end() <= chain.end(), "right shift only");
        let end = chain.end().0;
        self.chain.store(chain);
        self.end.store(end, Ordering::SeqCst);
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Names it.
    pub fn id(&self) -> &ViewId {
        &self.id
    }

    /// The resource.
    pub fn resource(&self) -> &ResourceId {
        &self.resource
    }

    /// The canonical request body, for a POST-mode resource.
    pub fn input(&self) -> Option<&Bytes> {
        self.input.as_ref()
    }

    /// Media type of a full copy.
    pub fn media_type(&self) -> &'static str {
        self.media_type
    }

    /// First and newest version, and the newest one's tag.
    pub fn head(&self) -> (Range, Tag) {
        let chain = self.chain.load();
        (chain.range(), chain.newest().info.tag.clone())
    }

    /// `true` when the resource was withdrawn: no version follows, readers are told to leave.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// The version with this tag, the newest if there are several.
    pub fn find(&self, tag: &Tag) -> Option<Seq> {
        self.chain.load().find(tag)
    }

    /// What each version in the range is, oldest first.
    pub fn versions(&self) -> Vec<crate::VersionInfo> {
        self.chain.load().infos()
    }

    /// The edge from one version to another. The same edge has the same bytes and media type for ever (the smaller patch: what a cache
    /// keeps under a URI cannot depend on who asks).
    pub fn edge(&self, from: Seq, to: Seq) -> Result<Item, NoEdge> {
        self.chain.load().edge(from, to)
    }

    /// Where to begin (draft-ietf-alto-new-transport section 6.2): the first edge from the version with `tag` if it is here and the way is no
    /// more bytes than the newest snapshot, else that snapshot. For who has the newest it is the edge to come.
    pub fn recommend(&self, tag: Option<&Tag>) -> (Seq, Seq) {
        self.chain.load().recommend(tag)
    }

    /// A reader's place.
    pub fn cursor(self: &Arc<Self>, start: Start) -> Cursor {
        let at = self.place(start);
        Cursor { view: self.clone(), at }
    }

    /// 0 for what is not a version of the view (any more).
    fn place(&self, start: Start) -> Seq {
        let chain = self.chain.load();
        match start {
            Start::Nothing => Seq(0),
            Start::Tag(tag) => chain.find(&tag).unwrap_or(Seq(0)),
            Start::Seq(seq) => chain.node(seq).map_or(Seq(0), |node| node.info.seq),
        }
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (range, closed) = (self.chain.load().range(), self.is_closed());
        f.debug_struct("View")
            .field("id", &self.id)
            .field("resource", &self.resource)
            .field("range", &range)
            .field("closed", &closed)
            .finish()
    }
}

/// A place in a view: a few bytes, however slow its reader is. It holds no content.
#[derive(Debug)]
pub struct Cursor {
    view: Arc<View>,
    at: Seq,
}

impl Cursor {
    /// What it reads.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// The version its reader has; 0: none.
    pub fn at(&self) -> Seq {
        self.at
    }

    /// Whether its reader has the newest version. Costs one atomic load.
    pub fn is_current(&self) -> bool {
        self.at.0 == self.view.end.load(Ordering::SeqCst)
    }

    /// The next item on the way to the newest version, and steps over it: the next edge in a kind of patch that is accepted, a shortcut, or
    /// the newest snapshot (when patches are not accepted, when the place left the view, or when the way costs more bytes than a
    /// snapshot). `None`: there is nothing newer.
    pub fn next(&mut self, accepts: Accepts) -> Option<Item> {
        if self.is_current() {
            return None;
        }
        let item = self.view.chain.load().step(self.at, accepts)?;
        self.at = item.to;
        Some(item)
    }

    /// Its reader lost what it had, or has something else: go on from there.
    pub fn reset(&mut self, start: Start) {
        self.at = self.view.place(start);
    }
}
