//! Wakes who waits for news of a view.
//!
//! A commit wakes each worker thread once; the worker then wakes its own waiting tasks, which costs no call to the kernel. A task registers
//! once (an [`Ear`]), not for each event. Invariant: news between [`Ear::listen`] and the look at a cursor after it is never missed.
use history::{Publisher, ViewId};
use slab::Slab;
use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    thread::{self, ThreadId},
};

/// Ears that are woken before those that were run. 16: a client of any transport is at most a few cache lines of 16 KiB.
const BATCH: usize = 16;

/// Rings in every worker.
#[derive(Default)]
pub(crate) struct Bell {
    rooms: Mutex<HashMap<ThreadId, Arc<Room>>>,
}

impl Bell {
    /// Rings whenever the publisher has news, as long as the publisher lives.
    pub(crate) fn new(publisher: &Publisher) -> Arc<Self> {
        let bell = Arc::new(Self::default());
        publisher.on_views({
            let bell = bell.clone();
            move |views| bell.ring(views.iter().map(|view| view.id()))
        });
        bell
    }

    /// An ear for one view, in the thread of the caller, which is a task of this thread's runtime (one that runs in this thread alone).
    pub(crate) fn ear(&self, view: &ViewId) -> Ear {
        let room = self.room();
        let line = lock(&room.state).lines.entry(view.clone()).or_default().clone();
        Ear { room, line, view: view.clone(), key: None }
    }

    /// There is news of these views.
    pub(crate) fn ring<'a>(&self, views: impl Iterator<Item = &'a ViewId> + Clone) {
        // The lock is held for as many rooms as there are workers.
        for room in lock(&self.rooms).values() {
            room.ring(views.clone());
        }
    }

    /// How many listen.
    #[cfg(feature = "simulation")]
    pub(crate) fn ears(&self) -> usize {
        lock(&self.rooms).values().map(|room| lock(&room.state).lines.values().map(|line| lock(line).len()).sum::<usize>()).sum()
    }

    fn room(&self) -> Arc<Room> {
        let mut rooms = lock(&self.rooms);
        let room = rooms.entry(thread::current().id()).or_default();
        // A runtime that ended took its task along.
        let mut state = lock(&room.state);
        if state.task.upgrade().is_none() {
            let running = Arc::new(());
            state.task = Arc::downgrade(&running);
            tokio::spawn(wake(Arc::downgrade(room), running));
        }
        drop(state);
        room.clone()
    }
}

/// The ears of one thread.
#[derive(Default)]
struct Room {
    state: Mutex<State>,
}

/// Who waits for one view.
type Line = Arc<Ears>;
type Ears = Mutex<Slab<Waker>>;

#[derive(Default)]
struct State {
    lines: HashMap<ViewId, Line>,
    /// Views that rang and whose ears were not told yet.
    rung: Vec<ViewId>,
    bellman: Option<Waker>,
    /// Dead when no task wakes the ears of this room.
    task: Weak<()>,
}

impl Room {
    /// In any thread.
    fn ring<'a>(&self, views: impl Iterator<Item = &'a ViewId>) {
        let mut state = lock(&self.state);
        let State { lines, rung, .. } = &mut *state;
        // Each view once, however many commits there were meanwhile; nothing for what nobody here waits for.
        for view in views.filter(|view| lines.contains_key(*view)) {
            if !rung.contains(view) {
                rung.push(view.clone());
            }
        }
        if !state.rung.is_empty()
            && let Some(bellman) = state.bellman.take()
        {
            drop(state);
            bellman.wake();
        }
    }
}

/// Wakes the ears of a room, in its thread, [`BATCH`] at a time: what was woken runs, and what that wakes in turn (a connection has a task of
/// its own below HTTP/2), while it is still in the processor's cache.
async fn wake(room: Weak<Room>, _running: Arc<()>) {
    // Lines to go along, each from a key on; as long as somebody listens.
    let mut rounds: VecDeque<(Weak<Ears>, usize)> = VecDeque::new();
    poll_fn(|context| {
        let Some(room) = room.upgrade() else { return Poll::Ready(()) };
        let mut state = lock(&room.state);
        let State { lines, rung, .. } = &mut *state;
        for line in rung.drain(..).filter_map(|view| lines.get(&view)) {
            // One that is under way goes on to its end, then comes another: nobody waits for a line that rings faster than it is gone along.
            let line = Arc::downgrade(line);
            if !rounds.iter().any(|(known, from)| *from == 0 && known.ptr_eq(&line)) {
                rounds.push_back((line, 0));
            }
        }
        state.bellman = Some(context.waker().clone());
        drop(state);
        let mut left = BATCH;
        while let Some((line, from)) = rounds.front_mut() {
            if let Some(line) = line.upgrade() {
                let ears = lock(&line);
                while left > 0 && *from < ears.capacity() {
                    if let Some(waker) = ears.get(*from) {
                        waker.wake_by_ref();
                        left -= 1;
                    }
                    *from += 1;
                }
                if *from < ears.capacity() {
                    context.waker().wake_by_ref();
                    break;
                }
            }
            rounds.pop_front();
        }
        Poll::Pending
    })
    .await;
}

/// Waits for news of one view until it is dropped.
pub(crate) struct Ear {
    room: Arc<Room>,
    line: Line,
    view: ViewId,
    key: Option<usize>,
}

impl Ear {
    /// From now on news wakes the task of `context`, each time there is some; to be called before the look at the cursor. To call it
    /// again costs next to nothing.
    pub(crate) fn listen(&mut self, context: &Context<'_>) {
        let mut line = lock(&self.line);
        match self.key {
            Some(key) => line[key].clone_from(context.waker()),
            None => self.key = Some(line.insert(context.waker().clone())),
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let waker = self.key.and_then(|key| lock(&self.line).try_remove(key));
        let mut state = lock(&self.room.state);
        // Two: the one in the map, and this.
        if Arc::strong_count(&self.line) == 2 {
            state.lines.remove(&self.view);
        }
        drop(state);
        drop(waker);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alto::Document;
    use history::{Change, Guard, Limits, View};
    use std::{net::Ipv4Addr, time::SystemTime};

    fn network(prefix: &str) -> Change {
        let text = format!(r#"{{"meta":{{"vtag":{{"resource-id":"n","tag":"1"}}}},"network-map":{{"a":{{"ipv4":["{prefix}"]}}}}}}"#);
        Change::Put { id: "n".parse().unwrap(), document: Document::parse(text.as_bytes(), None).unwrap() }
    }

    fn publish(publisher: &Publisher, prefix: &str) {
        publisher.apply(vec![network(prefix)], SystemTime::now(), true).unwrap();
    }

    fn open(publisher: &Publisher) -> Arc<View> {
        publisher.open(&"n".parse().unwrap(), None, Ipv4Addr::LOCALHOST.into()).unwrap()
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    /// A commit of another thread, at any time between the look and the wait, is heard.
    #[test]
    fn no_news_is_missed() {
        run(async {
            let publisher = Arc::new(Publisher::new(Limits::default(), Guard::default()));
            publish(&publisher, "10.0.0.0/16");
            let (bell, view) = (Bell::new(&publisher), open(&publisher));
            let commits = 200;
            let writer = thread::spawn({
                let publisher = publisher.clone();
                move || (0..commits).for_each(|at| publish(&publisher, &format!("10.{}.{}.0/24", 1 + at / 256, at % 256)))
            });
            let want = view.head().0.end.0.max(1) + commits;
            let readers: Vec<_> = (0..8)
                .map(|_| {
                    let (mut ear, view) = (bell.ear(view.id()), view.clone());
                    tokio::spawn(poll_fn(move |context| {
                        ear.listen(context);
                        if view.head().0.end.0 >= want { Poll::Ready(()) } else { Poll::Pending }
                    }))
                })
                .collect();
            for reader in readers {
                tokio::time::timeout(std::time::Duration::from_secs(60), reader).await.expect("it hears of the last commit").unwrap();
            }
            writer.join().unwrap();
        });
    }

    /// However many there are, and however often it rings meanwhile; those in front do not keep the others waiting.
    #[test]
    fn every_ear_hears_though_it_rings_on_and_on() {
        run(async {
            let publisher = Arc::new(Publisher::new(Limits::default(), Guard::default()));
            publish(&publisher, "10.0.0.0/16");
            let (bell, view) = (Bell::new(&publisher), open(&publisher));
            let count = 5 * BATCH + 1;
            let heard = Arc::new(Mutex::new(vec![0; count]));
            let readers: Vec<_> = (0..count)
                .map(|at| {
                    let (mut ear, bell, view, heard) = (bell.ear(view.id()), bell.clone(), view.clone(), heard.clone());
                    tokio::spawn(poll_fn(move |context| {
                        ear.listen(context);
                        let mut heard = lock(&heard);
                        heard[at] += 1;
                        // Whoever hears rings again, until all have.
                        bell.ring([view.id()].into_iter());
                        if heard.iter().all(|times| *times >= 3) { Poll::Ready(()) } else { Poll::Pending }
                    }))
                })
                .collect();
            for reader in readers {
                tokio::time::timeout(std::time::Duration::from_secs(60), reader).await.expect("it hears").unwrap();
            }
        });
    }

    #[test]
    fn ears_that_are_gone_leave_nothing() {
        run(async {
            let publisher = Arc::new(Publisher::new(Limits::default(), Guard::default()));
            publish(&publisher, "10.0.0.0/16");
            let (bell, view) = (Bell::new(&publisher), open(&publisher));
            let context = Context::from_waker(Waker::noop());
            let mut ears: Vec<Ear> = (0..10).map(|_| bell.ear(view.id())).collect();
            ears.iter_mut().for_each(|ear| ear.listen(&context));
            ears.iter_mut().for_each(|ear| ear.listen(&context));
            let listening = |bell: &Bell| lock(&bell.room().state).lines.values().map(|line| lock(line).len()).sum::<usize>();
            assert_eq!(listening(&bell), 10);
            ears.truncate(1);
            assert_eq!(listening(&bell), 1);
            drop(ears);
            assert!(lock(&bell.room().state).lines.is_empty());
            // Nobody is here to hear it.
            publish(&publisher, "10.1.0.0/16");
            assert!(lock(&bell.room().state).rung.is_empty());
        });
    }
}
