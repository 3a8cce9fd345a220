//! One writer at a time, any number of readers that never wait.
//!
//! A commit is all or nothing: inputs are copied (they are `Arc`s), changed, composed, checked and rendered; only then one
//! pointer is swapped. Invariants: what a reader loads is the result of whole commits; a resource whose content did not
//! change keeps its version; dependants are numbered after what they depend on.
use crate::{
    Error, Guard, Held, Limits, Moved, Seq, Snapshot, Version, VersionInfo,
    chain::Chain,
    patch::{self, Kind},
};
use alto::{
    Document,
    id::{ResourceId, Tag},
};
use arc_swap::ArcSwap;
use maps::{
    compute::Computed,
    guidance::{Guidance, Inputs, Published, Resource, Service},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::SystemTime,
};

/// One change of a commit.
#[derive(Debug, Clone)]
pub enum Change {
    /// New maps from the sources; `None` when there are no sources any more.
    Computed(Option<Arc<Computed>>),
    /// A document in place of whatever the resource was.
    Put {
        /// Which resource.
        id: ResourceId,
        /// Its new content.
        document: Document,
    },
    /// RFC 7396, on the document as served.
    MergePatch {
        /// Which resource.
        id: ResourceId,
        /// `application/merge-patch+json`
        patch: Vec<u8>,
    },
    /// RFC 6902, on the document as served.
    JsonPatch {
        /// Which resource.
        id: ResourceId,
        /// `application/json-patch+json`
        patch: Vec<u8>,
    },
    /// Gone, computed or not, until somebody publishes it again.
    Withdraw {
        /// Which resource.
        id: ResourceId,
    },
    /// A file of a maps folder. The file as it was when last applied changes nothing, so that it cannot undo a later `Put`.
    File {
        /// Which resource.
        id: ResourceId,
        /// Of the bytes in the file.
        digest: Tag,
        /// Its content.
        document: Document,
    },
    /// A file that left the folder takes its resource along, unless somebody published over it.
    FileGone {
        /// Which resource.
        id: ResourceId,
    },
}

impl Change {
    fn id(&self) -> Option<&ResourceId> {
        match self {
            Self::Computed(_) => None,
            Self::Put { id, .. }
            | Self::MergePatch { id, .. }
            | Self::JsonPatch { id, .. }
            | Self::Withdraw { id }
            | Self::File { id, .. }
            | Self::FileGone { id } => Some(id),
        }
    }
}

/// What a commit did.
#[derive(Debug, Clone)]
pub struct Commit {
    /// What readers see from now on.
    pub snapshot: Arc<Snapshot>,
    /// The new versions, dependencies first. Empty when nothing changed.
    pub changed: Vec<Arc<Version>>,
    /// Resources that are no longer there.
    pub withdrawn: Vec<ResourceId>,
}

type Listener = Box<dyn Fn(&Commit) + Send + Sync>;

/// Takes changes, hands out snapshots.
pub struct Publisher {
    limits: Limits,
    current: ArcSwap<Snapshot>,
    state: Mutex<State>,
    listeners: Mutex<Vec<Listener>>,
}

/// What only the writer needs.
struct State {
    guard: Guard,
    inputs: Inputs,
    /// What of each file was applied last.
    files: BTreeMap<ResourceId, Tag>,
    /// Documents that are as their file says.
    from_file: BTreeSet<ResourceId>,
    /// The versions of each resource there ever was.
    chains: BTreeMap<ResourceId, Chain>,
    held: Option<(Held, Option<Arc<Computed>>)>,
}

impl Publisher {
    /// Starts with nothing published.
    pub fn new(limits: Limits, guard: Guard) -> Self {
        let guidance = Guidance::compose(&Inputs::default(), None).expect("nothing has nothing to refuse");
        let snapshot = Snapshot { guidance: Arc::new(guidance), versions: BTreeMap::new(), commit: 0, at: SystemTime::UNIX_EPOCH };
        let state = State {
            guard,
            inputs: Inputs::default(),
            files: BTreeMap::new(),
            from_file: BTreeSet::new(),
            chains: BTreeMap::new(),
            held: None,
        };
        Self { limits, current: ArcSwap::from_pointee(snapshot), state: Mutex::new(state), listeners: Mutex::default() }
    }

    /// Everything at this instant. Never waits.
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Commits the changes, all or none; they are visible when this returns. `confirmed` lets them past the guard.
    pub fn apply(&self, changes: Vec<Change>, now: SystemTime, confirmed: bool) -> Result<Commit, Error> {
        self.commit(&mut self.lock(), changes, now, confirmed)
    }

    /// Calls `listener` after each commit that changed something, in order, before the next can begin. It must be quick and must not commit.
    pub fn on_commit(&self, listener: impl Fn(&Commit) + Send + Sync + 'static) {
        self.listeners.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(Box::new(listener));
    }

    /// The versions remembered of a resource, oldest first; `None` when there never was one.
    pub fn history(&self, id: &ResourceId) -> Option<Vec<VersionInfo>> {
        self.lock().chains.get(id).map(Chain::to_vec)
    }

    /// Changes how much may move unconfirmed.
    pub fn set_guard(&self, guard: Guard) {
        self.lock().guard = guard;
    }

    /// The computed change that waits for confirmation, if any.
    pub fn held(&self) -> Option<Held> {
        self.lock().held.as_ref().map(|(held, _)| held.clone())
    }

    /// Lets the computed change that waits go through.
    pub fn confirm_held(&self, now: SystemTime) -> Result<Commit, Error> {
        let mut state = self.lock();
        let (held, computed) = state.held.take().ok_or(Error::NothingHeld)?;
        let result = self.commit(&mut state, vec![Change::Computed(computed.clone())], now, true);
        if result.is_err() {
            state.held = Some((held, computed));
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic leaves the state as it was: it is assigned only after everything that may fail.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn commit(&self, state: &mut State, changes: Vec<Change>, now: SystemTime, confirmed: bool) -> Result<Commit, Error> {
        let before = self.current();
        let computed = changes.iter().find_map(|change| match change {
            Change::Computed(computed) => Some(computed.clone()),
            _ => None,
        });
        let mut next = Next::of(state, &before, changes, &self.limits)?;
        let guidance = Guidance::compose(&next.inputs, Some(&before.guidance))?;
        for id in &next.published {
            if let Some(document) = next.inputs.documents.get_mut(id) {
                guidance.check(id, document)?;
                if let Some(settled) = guidance.settle(id, document) {
                    *document = Arc::new(settled);
                }
            }
        }
        if let Err(moved) = self.guard(state.guard, &before.guidance, &guidance, computed.is_some(), confirmed) {
            if let Some(computed) = computed {
                let since = state.held.as_ref().map_or(now, |(held, _)| held.since);
                state.held = Some((Held { moved: moved.clone(), since }, computed));
            }
            return Err(Error::Guarded(moved));
        }

        let mut versions = BTreeMap::new();
        let mut changed = Vec::new();
        for resource in guidance.resources() {
            let version = match before.versions.get(resource.id()) {
                Some(version) if version.tag == *resource.tag() && version.media_type == resource.media_type() => version.clone(),
                _ => {
                    let seq = state.chains.get(resource.id()).map_or(Seq(1), Chain::next);
                    let version = Arc::new(Version::new(resource.id().clone(), seq, resource.render(), now));
                    changed.push(version.clone());
                    version
                }
            };
            versions.insert(resource.id().clone(), version);
        }
        let known = state.chains.len() + changed.iter().filter(|version| !state.chains.contains_key(&version.resource)).count();
        if known > self.limits.resources_max {
            return Err(Error::TooManyResources { max: self.limits.resources_max });
        }
        let withdrawn: Vec<ResourceId> = before.versions.keys().filter(|id| !versions.contains_key(*id)).cloned().collect();

        next.inputs.default_network_map = guidance.network_maps().next().map(|view| view.id.clone());

        // From here on nothing fails.
        let visible = !changed.is_empty() || !withdrawn.is_empty();
        for version in &changed {
            state.chains.entry(version.resource.clone()).or_default().push(version, self.limits.versions_max);
        }
        state.inputs = next.inputs;
        state.files = next.files;
        state.from_file = next.from_file;
        if computed.is_some() {
            state.held = None;
        }
        let (commit, at) = if visible { (before.commit + 1, now) } else { (before.commit, before.at) };
        // Even when no content changed the guidance did: sources, their age and the graph that explains it are newer.
        let snapshot = Arc::new(Snapshot { guidance: Arc::new(guidance), versions, commit, at });
        self.current.store(snapshot.clone());
        let commit = Commit { snapshot, changed, withdrawn };
        if visible {
            for listener in self.listeners.lock().unwrap_or_else(std::sync::PoisonError::into_inner).iter() {
                listener(&commit);
            }
        }
        Ok(commit)
    }

    fn guard(&self, guard: Guard, before: &Guidance, after: &Guidance, computed: bool, confirmed: bool) -> Result<(), Moved> {
        let share_max = if computed { guard.computed_moved_share_max } else { guard.published_moved_share_max };
        if confirmed || share_max >= 1.0 {
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
}

/// The inputs of a commit that may still be refused.
struct Next {
    inputs: Inputs,
    files: BTreeMap<ResourceId, Tag>,
    from_file: BTreeSet<ResourceId>,
    published: Vec<ResourceId>,
}

impl Next {
    fn of(state: &State, before: &Snapshot, changes: Vec<Change>, limits: &Limits) -> Result<Self, Error> {
        let mut next =
            Self { inputs: state.inputs.clone(), files: state.files.clone(), from_file: state.from_file.clone(), published: Vec::new() };
        let mut seen = BTreeSet::new();
        for change in changes {
            if let Some(id) = change.id()
                && !seen.insert(id.clone())
            {
                return Err(Error::ChangedTwice(id.clone()));
            }
            match change {
                Change::Computed(computed) => next.inputs.computed = computed,
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
                Change::File { id, digest, document } => {
                    if next.files.get(&id) != Some(&digest) {
                        next.put(id.clone(), document)?;
                        next.from_file.insert(id.clone());
                        next.files.insert(id, digest);
                    }
                }
                Change::FileGone { id } => {
                    next.files.remove(&id);
                    if next.from_file.remove(&id) {
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

    fn put(&mut self, id: ResourceId, document: Document) -> Result<(), Error> {
        let document = Published::take(&id, document)?;
        self.inputs.withdrawn.remove(&id);
        self.from_file.remove(&id);
        self.inputs.documents.insert(id.clone(), Arc::new(document));
        self.published.push(id);
        Ok(())
    }

    fn patch(&mut self, before: &Snapshot, id: ResourceId, kind: Kind, patch: &[u8], limits: &Limits) -> Result<(), Error> {
        let document = patch::apply(patch::base(&before.versions, &id)?, kind, patch, limits)?;
        self.put(id, document)
    }
}
