//! From changes to the commit they would make, beside what is served.
//!
//! Inputs are copied (they are `Arc`s), changed, composed, checked, rendered and compared; the result is a value that becomes visible,
//! or not. Invariants: a resource whose content did not change keeps its version; dependants are numbered after what they depend on.
use crate::{
    Change, Commit, Error, FolderId, Guard, Limits, Moved, Seq, Snapshot, Version,
    chain::{Chain, Content},
    edge,
    folders::Folders,
    patch::{self, Kind},
    record::{InputsRecord, Record, VersionRecord},
};
use alto::{
    Document,
    cost_map::CostMap,
    id::{ResourceId, Tag, VersionTag},
};
use bytes::Bytes;
use maps::{
    compute::Computed,
    guidance::{Guidance, Inputs, Published, Resource, Service},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

/// Everything after some commit, as the writer knows it. Cheap to clone, so that a commit can be composed on one that is not on disk yet
/// and be thrown away with it.
#[derive(Clone)]
pub(crate) struct Tip {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) inputs: Inputs,
    /// What of each file was applied last.
    pub(crate) folders: Folders,
    /// Documents that are as a file says, and its folder.
    pub(crate) from_file: Arc<BTreeMap<ResourceId, FolderId>>,
    /// Documents that are not served as they were published.
    pub(crate) apart: Arc<BTreeSet<ResourceId>>,
    /// The versions of each resource there ever was; of one that is not there any more the last.
    pub(crate) chains: BTreeMap<ResourceId, Arc<Chain>>,
}

/// What a commit does to the views.
#[derive(Default)]
pub(crate) struct Moves {
    /// Views with a new version, dependencies first.
    pub(crate) on: Vec<(ResourceId, Arc<Chain>)>,
    /// Views that only forgot something.
    pub(crate) cut: Vec<(ResourceId, Arc<Chain>)>,
}

/// A commit that could be.
pub(crate) struct Composed {
    pub(crate) tip: Tip,
    pub(crate) commit: Commit,
    pub(crate) moves: Moves,
    /// `None`: nothing that a restart would have to know.
    pub(crate) record: Option<Record>,
    /// Whether it took up maps from the sources.
    pub(crate) computed: bool,
}

/// Why not.
pub(crate) enum Refused {
    /// The guard wants the computed maps confirmed first.
    Held(Moved, Option<Arc<Computed>>),
    Error(Error),
}

impl<E: Into<Error>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

impl Tip {
    /// Nothing published.
    pub(crate) fn empty() -> Self {
        let guidance = Guidance::compose(&Inputs::default(), None).expect("nothing has nothing to refuse");
        let snapshot = Snapshot { guidance: Arc::new(guidance), versions: BTreeMap::new(), commit: 0, at: SystemTime::UNIX_EPOCH };
        Self {
            snapshot: Arc::new(snapshot),
            inputs: Inputs::default(),
            folders: Folders::default(),
            from_file: Arc::default(),
            apart: Arc::default(),
            chains: BTreeMap::new(),
        }
    }

    /// The commit that these changes make on top of this one.
    pub(crate) fn compose(
        &self,
        changes: Vec<Change>,
        now: SystemTime,
        guard: Option<Guard>,
        limits: &Limits,
    ) -> Result<Composed, Refused> {
        let before = &self.snapshot;
        let computed = changes.iter().find_map(|change| match change {
            Change::Computed(computed) => Some(computed.clone()),
            _ => None,
        });
        let mut next = Next::of(self, changes, limits)?;
        let guidance = Guidance::compose(&next.inputs, Some(&before.guidance))?;
        for id in &next.published {
            if let Some(document) = next.inputs.documents.get_mut(id) {
                guidance.check(id, document)?;
                if let Some(settled) = guidance.settle(id, document) {
                    *document = Arc::new(settled);
                }
            }
        }
        if let Some(guard) = guard
            && let Err(moved) = guarded(guard, &before.guidance, &guidance, computed.is_some())
        {
            return Err(match computed {
                Some(computed) => Refused::Held(moved, computed),
                None => Refused::Error(Error::Guarded(moved)),
            });
        }
        next.inputs.default_network_map = guidance.network_maps().next().map(|view| view.id.clone());

        let mut made = self.versions(&guidance, now, limits)?;
        let withdrawn: Vec<ResourceId> = before.versions.keys().filter(|id| !made.versions.contains_key(*id)).cloned().collect();
        let visible = !made.changed.is_empty() || !withdrawn.is_empty();
        let (number, at) = if visible { (before.commit + 1, now) } else { (before.commit, before.at) };
        if visible {
            made.forget(&withdrawn, now, limits);
        }
        let Made { versions, changed, chains, moves } = made;
        // Even when no content changed the guidance did: sources, their age and the graph that explains it are newer.
        let snapshot = Arc::new(Snapshot { guidance: Arc::new(guidance), versions, commit: number, at });
        let mut tip = Self {
            snapshot: snapshot.clone(),
            inputs: next.inputs,
            folders: next.folders,
            from_file: next.from_file.into(),
            apart: self.apart.clone(),
            chains,
        };
        let published = tip.part_documents(self);
        let record = tip.record(self, &changed, &moves, &withdrawn, published);
        Ok(Composed { tip, commit: Commit { snapshot, changed, withdrawn }, moves, record, computed: computed.is_some() })
    }

    /// The version of each resource of `guidance`: the one before, or a new one where the content changed.
    fn versions(&self, guidance: &Guidance, now: SystemTime, limits: &Limits) -> Result<Made, Error> {
        let before = &self.snapshot;
        let mut made = Made { versions: BTreeMap::new(), changed: Vec::new(), chains: self.chains.clone(), moves: Moves::default() };
        for resource in guidance.resources() {
            let id = resource.id();
            let old = before.versions.get(id).filter(|version| version.media_type == resource.media_type());
            if let Some(version) = old.filter(|version| version.tag == *resource.tag()) {
                made.versions.insert(id.clone(), version.clone());
                continue;
            }
            let chain = self.chains.get(id);
            let seq = chain.map_or(Seq(1), |chain| Seq(chain.end().0 + 1));
            // Not at hand where another program made the version.
            let was = match before.guidance.service(id) {
                Some(Service::Get(was)) => old.filter(|old| *was.tag() == old.tag).map(|old| (was, old)),
                _ => None,
            };
            let rendered = was.map_or_else(|| resource.render(), |(was, old)| resource.render_after(was, &old.body));
            let version = Arc::new(Version::new(id.clone(), seq, rendered, now));
            let content = Content { tag: version.tag.clone(), at: now, body: version.body.clone() };
            let chain = match (old, chain) {
                (Some(old), Some(chain)) => {
                    let edge = edge::of(was.map(|(was, _)| was), &old.body, resource, &version.body);
                    chain.push(content, edge, now, limits.versions_max, limits)
                }
                // New, or back again.
                _ => Chain::begin(seq, version.media_type, content),
            };
            let chain = Arc::new(chain);
            made.chains.insert(id.clone(), chain.clone());
            made.moves.on.push((id.clone(), chain));
            made.versions.insert(id.clone(), version.clone());
            made.changed.push(version);
            if made.chains.len() > limits.resources_max {
                return Err(Error::TooManyResources { max: limits.resources_max });
            }
        }
        Ok(made)
    }

    /// Finds the documents that are not served as they were published, or are so again. What to keep of them: see [`Record::published`].
    fn part_documents(&mut self, before: &Self) -> Vec<(ResourceId, Option<Bytes>)> {
        let mut changed = Vec::new();
        let mut apart = BTreeSet::new();
        for (id, document) in &self.inputs.documents {
            let old = before.inputs.documents.get(id);
            let same = old.is_some_and(|old| Arc::ptr_eq(old, document));
            let was = before.apart.contains(id);
            let is = if same && self.serves_as(before, id) { was } else { self.is_apart(id, document) };
            if is && !(same && was) {
                changed.push((id.clone(), Some(self.text(document))));
            } else if !is && was {
                changed.push((id.clone(), None));
            }
            if is {
                apart.insert(id.clone());
            }
        }
        // A document that went takes its text along.
        changed.extend(before.apart.iter().filter(|id| !self.inputs.documents.contains_key(*id)).map(|id| (id.clone(), None)));
        if apart != *self.apart {
            self.apart = Arc::new(apart);
        }
        changed
    }

    /// Whether both serve the same of a resource.
    fn serves_as(&self, other: &Self, id: &ResourceId) -> bool {
        match (self.snapshot.guidance.service(id), other.snapshot.guidance.service(id)) {
            (Some(Service::Get(mine)), Some(Service::Get(theirs))) => mine.same(theirs),
            _ => false,
        }
    }

    fn is_apart(&self, id: &ResourceId, document: &Published) -> bool {
        match (document, self.snapshot.guidance.service(id)) {
            (Published::Cost { table, .. }, Some(Service::Get(Resource::Cost(view)))) => {
                !Arc::ptr_eq(table, &view.table) && *table != view.table
            }
            _ => false,
        }
    }

    fn text(&self, document: &Published) -> Bytes {
        let Published::Cost { network_map, cost_type, table } = document else {
            unreachable!("a network map is served as it was published")
        };
        let maps = || self.snapshot.guidance.network_maps();
        let dependent_vtags = maps().filter(|view| Some(&view.id) == network_map.as_ref()).map(|view| view.vtag());
        let dependent_vtags: Vec<VersionTag> = dependent_vtags.collect();
        CostMap { dependent_vtags, vtag: None, tables: vec![(cost_type.clone(), table.as_ref().clone())] }.to_json().into()
    }

    fn record(
        &self,
        before: &Self,
        changed: &[Arc<Version>],
        moves: &Moves,
        withdrawn: &[ResourceId],
        published: Vec<(ResourceId, Option<Bytes>)>,
    ) -> Option<Record> {
        let inputs = self.inputs_record();
        if changed.is_empty() && withdrawn.is_empty() && published.is_empty() && inputs == before.inputs_record() {
            return None;
        }
        let versions = changed.iter().map(|version| {
            let node = self.chains[&version.resource].newest();
            VersionRecord {
                resource: version.resource.clone(),
                seq: version.seq,
                tag: version.tag.clone(),
                media_type: version.media_type,
                at: version.at,
                bytes: version.body.len(),
                patch: node.patch.clone(),
                snapshot: node.checkpoint.then(|| version.body.clone()),
            }
        });
        let moved = |(id, chain): &(ResourceId, Arc<Chain>)| {
            let start = chain.start();
            before.chains.get(id).is_some_and(|old| old.start() < start).then(|| (id.clone(), start))
        };
        Some(Record {
            commit: self.snapshot.commit,
            at: self.snapshot.at,
            versions: versions.collect(),
            start: moves.on.iter().chain(&moves.cut).filter_map(moved).collect(),
            withdrawn: withdrawn.to_vec(),
            published,
            inputs,
        })
    }

    fn inputs_record(&self) -> InputsRecord {
        InputsRecord {
            documents: self.inputs.documents.keys().cloned().collect(),
            withdrawn: self.inputs.withdrawn.clone(),
            default_network_map: self.inputs.default_network_map.clone(),
            folders: self.folders.clone(),
            from_file: BTreeMap::clone(&self.from_file),
        }
    }
}

struct Made {
    versions: BTreeMap<ResourceId, Arc<Version>>,
    changed: Vec<Arc<Version>>,
    chains: BTreeMap<ResourceId, Arc<Chain>>,
    moves: Moves,
}

impl Made {
    /// Lets go of what is gone, too old, or too much.
    fn forget(&mut self, withdrawn: &[ResourceId], now: SystemTime, limits: &Limits) {
        for id in withdrawn {
            if let Some(chain) = self.chains.get_mut(id) {
                *chain = Arc::new(chain.ended());
            }
        }
        let aged = self.chains.iter().filter_map(|(id, chain)| Some((id.clone(), chain.aged(now, limits)?)));
        for (id, chain) in aged.collect::<Vec<_>>() {
            self.cut(id, chain);
        }
        loop {
            let total: usize = self.chains.values().map(|chain| chain.history_bytes()).sum();
            if total <= limits.bytes_max {
                break;
            }
            // The newest version of a resource that changed now may still be written whole.
            let fresh = |id: &ResourceId| self.moves.on.iter().any(|(moved, _)| moved == id);
            let mut largest: Vec<(&ResourceId, &Arc<Chain>)> = self.chains.iter().collect();
            largest.sort_by_key(|(_, chain)| std::cmp::Reverse(chain.history_bytes()));
            let cut = largest.into_iter().find_map(|(id, chain)| Some((id.clone(), chain.compacted(fresh(id))?)));
            let Some((id, chain)) = cut else { break };
            self.cut(id, chain);
        }
    }

    fn cut(&mut self, id: ResourceId, chain: Chain) {
        let chain = Arc::new(chain);
        self.chains.insert(id.clone(), chain.clone());
        let moved = self.moves.on.iter_mut().chain(&mut self.moves.cut).find(|(moved, _)| *moved == id);
        match moved {
            Some((_, moved)) => *moved = chain,
            None => self.moves.cut.push((id, chain)),
        }
    }
}

fn guarded(guard: Guard, before: &Guidance, after: &Guidance, computed: bool) -> Result<(), Moved> {
    let share_max = if computed { guard.computed_moved_share_max } else { guard.published_moved_share_max };
    if share_max >= 1.0 {
        return Ok(());
    }
    for new in after.network_maps() {
        let Some(Service::Get(Resource::Network(old))) = before.service(&new.id) else { continue };
        if old.tag == new.tag {
            continue;
        }
        let moved = Moved::between(old, new, share_max);
        if moved.too_much() {
            return Err(moved);
        }
    }
    Ok(())
}

/// The inputs of a commit that may still be refused.
struct Next {
    inputs: Inputs,
    folders: Folders,
    from_file: BTreeMap<ResourceId, FolderId>,
    published: Vec<ResourceId>,
}

impl Next {
    fn of(tip: &Tip, changes: Vec<Change>, limits: &Limits) -> Result<Self, Error> {
        let before = &tip.snapshot;
        let mut next = Self {
            inputs: tip.inputs.clone(),
            folders: tip.folders.clone(),
            from_file: BTreeMap::clone(&tip.from_file),
            published: Vec::new(),
        };
        let mut seen = BTreeSet::new();
        for change in changes {
            if let Some(id) = change.id()
                && !seen.insert(id.clone())
            {
                return Err(Error::ChangedTwice(id.clone()));
            }
            match change {
                Change::Computed(computed) => {
                    next.inputs.computed = computed;
                    next.inputs.restored.clear();
                }
                Change::Put { id, document } => next.put(id, document)?,
                Change::MergePatch { id, patch } => next.patch(before, id, Kind::Merge, &patch, limits)?,
                Change::JsonPatch { id, patch } => next.patch(before, id, Kind::Json, &patch, limits)?,
                Change::Withdraw { id } => {
                    if !before.versions.contains_key(&id) {
                        return Err(Error::NotFound(id));
                    }
                    next.inputs.documents.remove(&id);
                    next.from_file.remove(&id);
                    next.inputs.withdrawn.insert(id);
                }
                Change::File { id, folder, digest, document } => {
                    if !next.is_done(&id, &folder, &digest) {
                        next.put(id.clone(), document)?;
                        next.from_file.insert(id.clone(), folder.clone());
                        next.folders.applied(&folder, id, digest, limits.maps_folders_max);
                    }
                }
                Change::FileGone { id, folder } => {
                    if let Some(folder) = folder {
                        next.folders.left(&folder, &id);
                    }
                    if next.from_file.remove(&id).is_some() {
                        next.inputs.documents.remove(&id);
                    }
                }
            }
        }
        if next.inputs.documents.len() > limits.resources_max {
            return Err(Error::TooManyResources { max: limits.resources_max });
        }
        Ok(next)
    }

    /// Whether a file was applied as it is, and what is there now is no other folder's doing.
    fn is_done(&self, id: &ResourceId, folder: &FolderId, digest: &Tag) -> bool {
        self.folders.digest(folder, id) == Some(digest)
            && match self.from_file.get(id) {
                Some(from) => from == folder,
                // Published since, or withdrawn.
                None => self.inputs.documents.contains_key(id) || self.inputs.withdrawn.contains(id),
            }
    }

    fn put(&mut self, id: ResourceId, document: Document) -> Result<(), Error> {
        let document = Published::take(&id, document)?;
        self.inputs.withdrawn.remove(&id);
        self.from_file.remove(&id);
        self.inputs.documents.insert(id.clone(), Arc::new(document));
        self.published.push(id);
        Ok(())
    }

    fn patch(&mut self, before: &Snapshot, id: ResourceId, kind: Kind, patch: &[u8], limits: &Limits) -> Result<(), Error> {
        let document = patch::apply(before, &id, kind, patch, limits)?;
        self.put(id, document)
    }
}
