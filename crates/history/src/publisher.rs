//! One writer at a time, any number of readers that never wait.
//!
//! A commit is all or nothing: it is composed beside what is served ([`crate::compose`]), written to the log if there is one, and
//! only then is one pointer swapped. Invariant: what a reader loads is the result of whole, durable commits.
use crate::{
    Change, Commit, Error, Guard, Held, Limits, OpenError, Snapshot, VersionInfo, View, ViewId,
    compose::Tip,
    post,
    views::{self, Views},
    writer::{self, Stage, Writer},
};
use alto::id::ResourceId;
use arc_swap::ArcSwap;
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// Takes changes, hands out snapshots and views.
pub struct Publisher {
    limits: Limits,
    current: ArcSwap<Snapshot>,
    writer: Writer,
    views: Views,
    listeners: Mutex<Vec<writer::Listener>>,
}

impl Publisher {
    /// Starts with nothing published; nothing outlives it.
    pub fn new(limits: Limits, guard: Guard) -> Self {
        let (process, tip) = (views::fresh(), Tip::empty());
        let views = Views::new(format!("{process:x}").into(), process);
        Self {
            limits,
            current: ArcSwap::new(tip.snapshot.clone()),
            writer: Writer::new(None, guard, tip),
            views,
            listeners: Mutex::default(),
        }
    }

    /// Everything at this instant. Never waits.
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Commits the changes, all or none; they are durable and visible when this returns. `confirmed` lets them past the guard.
    pub fn apply(&self, changes: Vec<Change>, now: SystemTime, confirmed: bool) -> Result<Commit, Error> {
        let commit = self.writer.commit(&self.stage(), changes, now, confirmed, &self.limits);
        self.settle();
        commit
    }

    fn stage(&self) -> Stage<'_> {
        Stage { current: &self.current, views: &self.views, listeners: &self.listeners }
    }

    /// Calls `listener` after each commit that changed something, in order, before the next is visible. It must be quick and must not commit.
    pub fn on_commit(&self, listener: impl Fn(&Commit) + Send + Sync + 'static) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(listener));
    }

    /// The versions remembered of a resource, oldest first; `None` when there never was one.
    pub fn history(&self, id: &ResourceId) -> Option<Vec<VersionInfo>> {
        self.writer.with_durable(|tip| tip.chains.get(id).cloned()).map(|chain| chain.infos())
    }

    /// Changes how much may move unconfirmed.
    pub fn set_guard(&self, guard: Guard) {
        self.writer.set_guard(guard);
    }

    /// The computed change that waits for confirmation, if any.
    pub fn held(&self) -> Option<Held> {
        self.writer.held().map(|waiting| waiting.held)
    }

    /// Lets the computed change that waits go through.
    pub fn confirm_held(&self, now: SystemTime) -> Result<Commit, Error> {
        let computed = self.writer.held().ok_or(Error::NothingHeld)?.computed;
        self.apply(vec![Change::Computed(computed)], now, true)
    }
}

/// Views, for those who follow a resource.
impl Publisher {
    /// The view of a GET-mode resource, or of a POST-mode resource with an input (its own request body; `client` stands for an empty endpoint
    /// list, RFC 7285 section 11.5.1.3). There is one view for each canonical input, shared by all its readers.
    pub fn open(&self, id: &ResourceId, input: Option<&[u8]>, client: IpAddr) -> Result<Arc<View>, OpenError> {
        match (self.views.of_resource(id), input) {
            (Some(view), None) => Ok(view),
            (Some(_), Some(_)) => Err(OpenError::InputForbidden(id.clone())),
            (None, input) => post::open(&self.current(), &self.views, id, input, client, &self.limits),
        }
    }

    /// A view that is live, by its id.
    pub fn view(&self, id: &ViewId) -> Option<Arc<View>> {
        self.view_named(id.as_str())
    }

    /// The same, by the text of its id, as it stands in a URI.
    pub fn view_named(&self, id: &str) -> Option<Arc<View>> {
        self.views.named(id)
    }

    /// Calls `listener` whenever views got a new version or were closed, with all of them at once: of one commit, dependencies first. It
    /// must be quick: it rings bells. Views of POST-mode resources follow in a call of their own when they are computed.
    pub fn on_views(&self, listener: impl Fn(&[Arc<View>]) + Send + Sync + 'static) {
        self.views.listen(Box::new(listener));
    }

    fn settle(&self) {}
}
