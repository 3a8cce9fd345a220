//! What is to be remembered, written by a thread of its own: as many writes at a time as wait, with one sync.
//!
//! Invariant: writes happen in the order in which they were handed over.
use crate::transports::webhook::lock;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread,
};
use store::{Store, Write};
use tokio::sync::oneshot;

/// Writes in one batch. 1,024: a megabyte.
const BATCH_MAX: usize = 1_024;

const STOPPING: &str = "the server is stopping";

/// Without a store nothing is remembered, and everything is done at once.
#[derive(Default)]
pub(super) struct Writer {
    running: Mutex<Option<Running>>,
    stopped: AtomicBool,
}

struct Running {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    writes: Vec<Write>,
    done: Option<oneshot::Sender<Result<(), String>>>,
}

impl Writer {
    /// Writes to `store` from now on.
    pub(super) fn start(&self, store: Arc<dyn Store>) -> std::io::Result<()> {
        let (jobs, waiting) = mpsc::channel();
        thread::Builder::new().name("subscriptions".into()).spawn(move || run(&*store, &waiting))?;
        *lock(&self.running) = Some(Running { jobs });
        Ok(())
    }

    /// Writes; it is durable when this returns, or was not done.
    pub(super) async fn write(&self, writes: Vec<Write>) -> Result<(), String> {
        match self.hand_over(writes) {
            None if self.stopped.load(Relaxed) => Err(STOPPING.into()),
            None => Ok(()),
            Some(done) => done.await.unwrap_or_else(|_| Err(STOPPING.into())),
        }
    }

    /// Writes soon. What fails is logged: it is remembered too long, or told twice.
    pub(super) fn post(&self, writes: Vec<Write>) {
        if let Some(running) = &*lock(&self.running) {
            let _ = running.jobs.send(Job { writes, done: None });
        }
    }

    fn hand_over(&self, writes: Vec<Write>) -> Option<oneshot::Receiver<Result<(), String>>> {
        let running = lock(&self.running);
        let running = running.as_ref()?;
        let (done, is_done) = oneshot::channel();
        let _ = running.jobs.send(Job { writes, done: Some(done) });
        Some(is_done)
    }

    /// Writes what waits, and lets go of the store.
    pub(super) async fn stop(&self) {
        self.stopped.store(true, Relaxed);
        let last = self.hand_over(Vec::new());
        lock(&self.running).take();
        if let Some(last) = last {
            let _ = last.await;
        }
    }
}

fn run(store: &dyn Store, waiting: &mpsc::Receiver<Job>) {
    while let Ok(first) = waiting.recv() {
        let mut writes = first.writes;
        let mut done: Vec<_> = first.done.into_iter().collect();
        while writes.len() < BATCH_MAX
            && let Ok(job) = waiting.try_recv()
        {
            writes.extend(job.writes);
            done.extend(job.done);
        }
        let written = if writes.is_empty() { Ok(()) } else { store.write(&writes).map_err(|error| error.to_string()) };
        if let Err(why) = &written
            && done.is_empty()
        {
            tracing::warn!("subscriptions cannot be written down: {why}");
        }
        for done in done {
            let _ = done.send(written.clone());
        }
    }
}
