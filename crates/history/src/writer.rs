//! Commits one after the other, each visible only when it is on disk; several that come at once share one write.
//!
//! Whoever finds nobody writing leads: takes every commit that waits, writes them as one batch, and makes them visible in their order.
//! Meanwhile others compose on top of what is being written, and wait. Invariant: nothing is visible before it is durable; a write that
//! fails takes with it all that was composed on it, and leaves everything else as it was.
use crate::{
    Change, Commit, Error, Guard, Held, Limits, Snapshot, View,
    compose::{Composed, Refused, Tip},
    persist::Log,
    views::Views,
};
use arc_swap::ArcSwap;
use maps::compute::Computed;
use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

pub(crate) type Listener = Box<dyn Fn(&Commit) + Send + Sync>;

pub(crate) struct Writer {
    log: Option<Log>,
    queue: Mutex<Queue>,
    /// Changed only by who holds `queue` too; read without it, for a commit is composed under that.
    shown: Mutex<Shown>,
    /// Somebody finished a batch.
    finished: Condvar,
}

/// Number of a commit in the queue, in the order they were composed.
type Ticket = u64;

/// What those ask for who only look.
struct Shown {
    held: Option<Waiting>,
    /// What is served.
    durable: Tip,
}

struct Queue {
    guard: Guard,
    /// With all commits in the queue.
    tip: Tip,
    waiting: Vec<(Ticket, Composed)>,
    next: Ticket,
    leading: bool,
    outcomes: HashMap<Ticket, Result<Commit, Error>>,
}

/// A computed change that the guard holds.
#[derive(Clone)]
pub(crate) struct Waiting {
    pub(crate) held: Held,
    pub(crate) computed: Option<Arc<Computed>>,
    since: Ticket,
}

/// Where commits become visible.
pub(crate) struct Stage<'a> {
    pub(crate) current: &'a ArcSwap<Snapshot>,
    pub(crate) views: &'a Views,
    pub(crate) listeners: &'a Mutex<Vec<Listener>>,
}

impl Writer {
    pub(crate) fn new(log: Option<Log>, guard: Guard, tip: Tip) -> Self {
        let shown = Shown { held: None, durable: tip.clone() };
        let queue = Queue { guard, tip, waiting: Vec::new(), next: 0, leading: false, outcomes: HashMap::new() };
        Self { log, queue: Mutex::new(queue), shown: Mutex::new(shown), finished: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic leaves the queue as it was: it is assigned only after everything that may fail.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        // Nothing panics between two of its assignments.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is served, as the writer knows it. Waits for no commit.
    pub(crate) fn with_durable<T>(&self, read: impl FnOnce(&Tip) -> T) -> T {
        read(&self.shown().durable)
    }

    pub(crate) fn set_guard(&self, guard: Guard) {
        self.lock().guard = guard;
    }

    pub(crate) fn held(&self) -> Option<Waiting> {
        self.shown().held.clone()
    }

    /// Commits, and returns when the commit is durable and visible.
    pub(crate) fn commit(
        &self,
        stage: &Stage<'_>,
        changes: Vec<Change>,
        now: SystemTime,
        confirmed: bool,
        limits: &Limits,
    ) -> Result<Commit, Error> {
        let mut queue = self.lock();
        let guard = (!confirmed).then_some(queue.guard);
        let composed = match queue.tip.compose(changes, now, guard, limits) {
            Ok(composed) => composed,
            Err(Refused::Error(error)) => return Err(error),
            Err(Refused::Held(moved, computed)) => {
                let mut shown = self.shown();
                let since = shown.held.as_ref().map_or(now, |waiting| waiting.held.since);
                shown.held = Some(Waiting { held: Held { moved: moved.clone(), since }, computed, since: queue.next });
                return Err(Error::Guarded(moved));
            }
        };
        let ticket = queue.next;
        queue.next += 1;
        queue.tip = composed.tip.clone();
        queue.waiting.push((ticket, composed));
        loop {
            if let Some(outcome) = queue.outcomes.remove(&ticket) {
                return outcome;
            }
            queue = if queue.leading { self.finished.wait(queue).unwrap_or_else(PoisonError::into_inner) } else { self.lead(queue, stage) };
        }
    }

    fn lead<'a>(&'a self, mut queue: MutexGuard<'a, Queue>, stage: &Stage<'_>) -> MutexGuard<'a, Queue> {
        queue.leading = true;
        let batch = std::mem::take(&mut queue.waiting);
        drop(queue);
        let mut leading = Leading { writer: self, batch, written: Err(Error::NotKept("the writer panicked".into())) };
        let records: Vec<_> = leading.batch.iter_mut().filter_map(|(_, composed)| composed.record.take()).collect();
        leading.written = match &self.log {
            Some(log) if !records.is_empty() => log.write(&records).map_err(|error| Error::NotKept(error.to_string().into())),
            _ => Ok(()),
        };
        if leading.written.is_ok() {
            for (_, composed) in &leading.batch {
                stage.show(composed);
            }
        }
        drop(leading);
        self.lock()
    }
}

/// A batch under way. However it ends, those who wait hear of it.
struct Leading<'a> {
    writer: &'a Writer,
    batch: Vec<(Ticket, Composed)>,
    written: Result<(), Error>,
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        let mut queue = self.writer.lock();
        let queue = &mut *queue;
        queue.leading = false;
        match &self.written {
            Ok(()) => {
                let mut shown = self.writer.shown();
                for (ticket, composed) in self.batch.drain(..) {
                    if composed.computed && shown.held.as_ref().is_some_and(|waiting| waiting.since <= ticket) {
                        shown.held = None;
                    }
                    shown.durable = composed.tip;
                    queue.outcomes.insert(ticket, Ok(composed.commit));
                }
            }
            Err(error) => {
                // What was composed meanwhile stands on this.
                for (ticket, _) in self.batch.drain(..).chain(queue.waiting.drain(..)) {
                    let Error::NotKept(why) = error else { unreachable!("a write fails in one way") };
                    queue.outcomes.insert(ticket, Err(Error::NotKept(why.clone())));
                }
                queue.tip = self.writer.shown().durable.clone();
            }
        }
        self.writer.finished.notify_all();
    }
}

impl Stage<'_> {
    /// Makes a commit visible, and says so.
    fn show(&self, composed: &Composed) {
        let Composed { commit, moves, .. } = composed;
        let mut moved: Vec<Arc<View>> = Vec::with_capacity(moves.on.len() + commit.withdrawn.len());
        for (resource, chain) in &moves.on {
            match self.views.of_resource(resource) {
                Some(view) if view.goes_on_in(chain) => {
                    view.set(chain.clone());
                    moved.push(view);
                }
                _ => {
                    // Of another kind from now on: the old view ends.
                    moved.extend(self.views.end(resource));
                    moved.push(self.views.begin(resource, chain.clone()));
                }
            }
        }
        for (resource, chain) in &moves.cut {
            if let Some(view) = self.views.of_resource(resource) {
                view.set(chain.clone());
            }
        }
        moved.extend(commit.withdrawn.iter().filter_map(|resource| self.views.end(resource)));
        self.current.store(commit.snapshot.clone());
        if !commit.changed.is_empty() || !commit.withdrawn.is_empty() {
            self.views.tell(&moved);
            for listener in self.listeners.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                listener(commit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc, thread, time::Duration};

    /// Commits are composed under the queue: who only looks waits for none of them, however long it takes.
    #[test]
    fn who_looks_waits_for_no_commit() {
        let writer = Arc::new(Writer::new(None, Guard::default(), Tip::empty()));
        let composing = writer.lock();
        let (say, said) = mpsc::channel();
        let reader = writer.clone();
        thread::spawn(move || say.send((reader.held().is_some(), reader.with_durable(|tip| tip.snapshot.commit))));
        assert_eq!(said.recv_timeout(Duration::from_secs(60)).expect("it waits for the commit"), (false, 0));
        drop(composing);
    }
}
