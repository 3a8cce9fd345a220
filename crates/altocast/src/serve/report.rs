//! What an operator is told of the inputs: for `/v1/status`, `/metrics` and `/readyz`.
use super::feed::Declared;
use server::{SourceReport, SourceStatus, StoreStatus};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};
use store::Store;

/// Written by whoever feeds the maps, read by the server.
#[derive(Default)]
pub struct Report {
    state: Mutex<State>,
    store: Option<Arc<dyn Store>>,
}

#[derive(Debug, Default)]
struct State {
    ready: bool,
    sources: Vec<(SourceStatus, Option<Duration>)>,
    folder: Option<SourceStatus>,
    /// By what they are of: "configuration", "maps".
    troubles: BTreeMap<&'static str, String>,
}

impl Report {
    /// Of inputs that nothing is known of yet, and of the store, where anything is kept.
    pub fn new(store: Option<Arc<dyn Store>>) -> Self {
        Self { state: Mutex::default(), store }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it was held leaves at worst one stale line.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new set of sources, of which nothing is known yet. Those of the same name and kind keep their counts.
    pub fn declare(&self, declared: &[Declared], folder: bool) {
        let mut state = self.state();
        let old = std::mem::take(&mut state.sources);
        state.sources = declared
            .iter()
            .map(|it| {
                let kind = it.kind.to_string();
                let known = old.iter().find(|(status, _)| status.name == it.name && status.kind == kind).map(|(status, _)| status.clone());
                (known.unwrap_or_else(|| status(&it.name, &kind)), it.max_age)
            })
            .collect();
        state.folder = folder.then(|| state.folder.take().unwrap_or_else(|| status("maps-folder", "documents")));
    }

    /// A source was read.
    pub fn observed(&self, source: usize, at: SystemTime) {
        if let Some((status, _)) = self.state().sources.get_mut(source) {
            observed(status, at);
        }
    }

    /// A source was refused.
    pub fn refused(&self, source: usize, why: &str) {
        if let Some((status, _)) = self.state().sources.get_mut(source) {
            status.refused += 1;
            status.trouble = Some(why.into());
        }
    }

    /// The maps folder was read; `trouble` is what is wrong with it now.
    pub fn folder(&self, at: SystemTime, trouble: Option<String>) {
        if let Some(status) = &mut self.state().folder {
            observed(status, at);
            status.refused += u64::from(trouble.is_some());
            status.trouble = trouble;
        }
    }

    /// What else is wrong with `what` now; `None` when it is well.
    pub fn trouble(&self, what: &'static str, why: Option<String>) {
        let mut state = self.state();
        match why {
            Some(why) => state.troubles.insert(what, why),
            None => state.troubles.remove(what),
        };
    }

    /// Everything was given to the publisher once.
    pub fn set_ready(&self) {
        self.state().ready = true;
    }
}

fn status(name: &str, kind: &str) -> SourceStatus {
    SourceStatus { name: name.into(), kind: kind.into(), observed_at: None, observations: 0, refused: 0, trouble: None }
}

fn observed(status: &mut SourceStatus, at: SystemTime) {
    status.observed_at = Some(at);
    status.observations += 1;
    status.trouble = None;
}

impl SourceReport for Report {
    fn sources(&self) -> Vec<SourceStatus> {
        let state = self.state();
        let now = SystemTime::now();
        let overdue = |status: &SourceStatus, max: Option<Duration>| {
            let age = now.duration_since(status.observed_at?).ok()?;
            max.filter(|max| age > *max)
                .map(|max| format!("overdue: nothing new for {} s, at most {} s are right", age.as_secs(), max.as_secs()))
        };
        let sources = state.sources.iter().map(|(status, max)| {
            let mut status = status.clone();
            status.trouble = status.trouble.take().or_else(|| overdue(&status, *max));
            status
        });
        sources.chain(state.folder.clone()).collect()
    }

    fn store(&self) -> StoreStatus {
        let usage = self.store.as_ref().map(|store| store.usage());
        usage.map_or_else(StoreStatus::default, |usage| StoreStatus { folder: usage.folder, bytes: usage.bytes, trouble: usage.trouble })
    }

    fn ready(&self) -> bool {
        self.state().ready
    }

    fn troubles(&self) -> Vec<String> {
        self.state().troubles.iter().map(|(what, why)| format!("{what}: {why}")).collect()
    }
}
