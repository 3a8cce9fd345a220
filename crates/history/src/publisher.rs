//! One writer at a time, any number of readers that never wait.
//!
//! A commit is all or nothing: it is composed beside what is served ([`crate::compose`]), written to the log if there is one, and
//! only then is one pointer swapped. Invariant: what a reader loads is the result of whole, durable commits.
use crate::{
    Change, Commit, Error, FolderId, Guard, Held, Limits, OpenError, RestoreError, Snapshot, VersionInfo, View, ViewId,
    chain::Chain,
    chores::Chores,
    compose::Tip,
    persist::Log,
    post::Posts,
    restore,
    views::{self, Views},
    writer::{self, Stage, Writer},
};
use alto::id::ResourceId;
use arc_swap::ArcSwap;
use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::SystemTime,
};
use store::Store;

/// Takes changes, hands out snapshots and views.
pub struct Publisher {
    shared: Arc<Shared>,
    chores: Chores,
}

struct Shared {
    limits: Limits,
    current: ArcSwap<Snapshot>,
    writer: Writer,
    views: Views,
    posts: Posts,
    listeners: Mutex<Vec<writer::Listener>>,
}

impl Publisher {
    /// Starts with nothing published; nothing outlives it.
    pub fn new(limits: Limits, guard: Guard) -> Self {
        let process = views::fresh();
        Self::begin(limits, guard, None, Tip::empty(), Views::new(epoch(process), process))
    }

    /// Starts with what was served when the log in `store` was written last, under the same numbers and tags; every commit goes there
    /// before it is seen. What was computed is served as it was until the first [`Change::Computed`]. `now` is for what this program
    /// would tag or write in another way than the one that wrote the log: that becomes a new version.
    pub fn with_store(limits: Limits, guard: Guard, store: Arc<dyn Store>, now: SystemTime) -> Result<Self, RestoreError> {
        let process = views::fresh();
        let (log, restored) = Log::open(store, &epoch(process))?;
        let tip = restored.map_or_else(|| Ok(Tip::empty()), restore::tip)?;
        let views = Views::new(log.epoch().into(), process);
        for resource in tip.snapshot.versions.keys() {
            views.begin(resource, tip.chains[resource].clone());
        }
        let settled = restore::is_settled(&tip);
        let publisher = Self::begin(limits, guard, Some(log), tip, views);
        if !settled {
            publisher.apply(Vec::new(), now, true).map_err(|error| match error {
                Error::NotKept(why) => RestoreError::NotWritable(why),
                error => RestoreError::Damaged(error.to_string()),
            })?;
        }
        Ok(publisher)
    }

    fn begin(limits: Limits, guard: Guard, log: Option<Log>, tip: Tip, views: Views) -> Self {
        let shared = Shared {
            limits,
            current: ArcSwap::new(tip.snapshot.clone()),
            writer: Writer::new(log, guard, tip),
            views,
            posts: Posts::default(),
            listeners: Mutex::default(),
        };
        Self { shared: Arc::new(shared), chores: Chores::default() }
    }

    /// Has no thread of its own: each commit brings the views of POST-mode resources up before it returns. For simulations.
    pub fn without_thread(self) -> Self {
        Self { chores: Chores::inline(), ..self }
    }

    /// Everything at this instant. Never waits.
    pub fn current(&self) -> Arc<Snapshot> {
        self.shared.current.load_full()
    }

    /// Commits the changes, all or none; they are durable and visible when this returns. `confirmed` lets them past the guard.
    pub fn apply(&self, changes: Vec<Change>, now: SystemTime, confirmed: bool) -> Result<Commit, Error> {
        let Shared { limits, current, writer, views, listeners, posts: _ } = &*self.shared;
        let commit = writer.commit(&Stage { current, views, listeners }, changes, now, confirmed, limits)?;
        self.chore(commit.changed.iter().filter_map(|version| Some(views.of_resource(&version.resource)?.chain())));
        Ok(commit)
    }

    /// What is to be done after a commit, beside it.
    fn chore(&self, changed: impl Iterator<Item = Arc<Chain>>) {
        self.chores.post(self.shared.posts.any(), changed, || {
            let shared: Weak<Shared> = Arc::downgrade(&self.shared);
            move || shared.upgrade().inspect(|shared| shared.refresh()).is_some()
        });
    }

    /// Brings the views of POST-mode resources up to what is served. That is done anyway; this returns when it is.
    pub fn refresh_views(&self) {
        self.shared.refresh();
    }

    /// Calls `listener` after each commit that changed something, in order, before the next is visible. It must be quick and must not commit.
    pub fn on_commit(&self, listener: impl Fn(&Commit) + Send + Sync + 'static) {
        self.shared.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(listener));
    }

    /// The versions remembered of a resource, oldest first; `None` when there never was one.
    pub fn history(&self, id: &ResourceId) -> Option<Vec<VersionInfo>> {
        self.shared.writer.with_durable(|tip| tip.chains.get(id).cloned()).map(|chain| chain.infos())
    }

    /// Resources whose files in this maps folder were applied and did not leave it, whatever was published since.
    pub fn files(&self, folder: &FolderId) -> BTreeSet<ResourceId> {
        self.shared.writer.with_durable(|tip| tip.folders.resources(folder))
    }

    /// Resources that are as a file says, of whatever folder.
    pub fn from_files(&self) -> BTreeSet<ResourceId> {
        self.shared.writer.with_durable(|tip| tip.from_file.keys().cloned().collect())
    }

    /// Changes how much may move unconfirmed.
    pub fn set_guard(&self, guard: Guard) {
        self.shared.writer.set_guard(guard);
    }

    /// The computed change that waits for confirmation, if any.
    pub fn held(&self) -> Option<Held> {
        self.shared.writer.held().map(|waiting| waiting.held)
    }

    /// Lets the computed change that waits go through.
    pub fn confirm_held(&self, now: SystemTime) -> Result<Commit, Error> {
        let computed = self.shared.writer.held().ok_or(Error::NothingHeld)?.computed;
        self.apply(vec![Change::Computed(computed)], now, true)
    }
}

/// Views, for those who follow a resource.
impl Publisher {
    /// The view of a GET-mode resource, or of a POST-mode resource with an input (its own request body; `client` stands for an empty endpoint
    /// list, RFC 7285 section 11.5.1.3). There is one view for each canonical input, shared by all its readers; who is the first to open it
    /// computes the answer, which for a large map is work for a thread that may be busy.
    pub fn open(&self, id: &ResourceId, input: Option<&[u8]>, client: IpAddr) -> Result<Arc<View>, OpenError> {
        let Shared { limits, current, views, posts, .. } = &*self.shared;
        match (views.of_resource(id), input) {
            (Some(view), None) => Ok(view),
            (Some(_), Some(_)) => Err(OpenError::InputForbidden(id.clone())),
            (None, input) => {
                let view = posts.open(current, views, id, input, client, limits)?;
                if view.is_behind(&current.load()) {
                    // A commit came between.
                    self.chore(std::iter::empty());
                }
                Ok(view)
            }
        }
    }

    /// A view that is live, by its id.
    pub fn view(&self, id: &ViewId) -> Option<Arc<View>> {
        self.view_named(id.as_str())
    }

    /// The same, by the text of its id, as it stands in a URI.
    pub fn view_named(&self, id: &str) -> Option<Arc<View>> {
        self.shared.views.named(id)
    }

    /// Calls `listener` whenever views got a new version or were closed, with all of them at once: of one commit, dependencies first. It
    /// must be quick: it rings bells. Views of POST-mode resources follow in a call of their own when they are computed.
    pub fn on_views(&self, listener: impl Fn(&[Arc<View>]) + Send + Sync + 'static) {
        self.shared.views.listen(Box::new(listener));
    }
}

impl Shared {
    fn refresh(&self) {
        self.posts.refresh(&self.current, &self.views, &self.limits);
    }
}

fn epoch(process: u64) -> Box<str> {
    format!("{process:016x}").into()
}
