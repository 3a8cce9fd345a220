//! What the tasks of one worker thread share: its number, whether the server stops, and alarms that are no timers.
//!
//! A live answer registers once with its worker and is woken when the server stops; it needs no channel of its own. An [`Alarm`] goes off up
//! to [`GRAIN`] late: thousands of them cost one timer. Everything may be dropped in any thread.
use slab::Slab;
use std::{
    cell::{Cell, OnceCell},
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// How late an alarm may be. 100 ms: they stand for times of a second and more.
const GRAIN: Duration = Duration::from_millis(100);

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
    static CURRENT: OnceCell<Arc<Worker>> = const { OnceCell::new() };
}

/// Which worker this thread is; 0 for any other.
pub(crate) fn worker() -> usize {
    NUMBER.get()
}

/// Makes this thread a worker.
pub(crate) fn become_worker(number: usize) {
    NUMBER.set(number);
}

/// The answers of this thread that go on are to end.
pub(crate) fn end_live_answers() {
    let worker = Worker::current();
    worker.draining.store(true, Relaxed);
    lock(&worker.live).iter().for_each(|(_, waker)| waker.wake_by_ref());
}

/// Another server begins in this thread.
#[cfg(feature = "simulation")]
pub(crate) fn begin_live_answers() {
    Worker::current().draining.store(false, Relaxed);
}

struct Worker {
    draining: AtomicBool,
    live: Mutex<Slab<Waker>>,
    alarms: Mutex<Alarms>,
    /// Alarms begin to count here.
    begin: Instant,
    earlier: Notify,
}

#[derive(Default)]
struct Alarms {
    /// By the grain at whose end they go off.
    due: BTreeMap<u64, Slab<Waker>>,
    /// Dead when no task waits for them.
    task: Weak<()>,
}

impl Worker {
    fn current() -> Arc<Self> {
        CURRENT.with(|current| current.get_or_init(|| Arc::new(Self::new())).clone())
    }

    fn new() -> Self {
        Self {
            draining: AtomicBool::new(false),
            live: Mutex::default(),
            alarms: Mutex::default(),
            begin: Instant::now(),
            earlier: Notify::new(),
        }
    }

    /// The first grain whose end is not before `at`.
    fn grain(&self, at: Instant) -> u64 {
        // To the nanosecond: one that went off before its time would not be set again.
        let since = at.saturating_duration_since(self.begin).as_nanos();
        u64::try_from(since.div_ceil(GRAIN.as_nanos())).unwrap_or(u64::MAX)
    }

    /// The last grain that ended.
    fn ended(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis() / GRAIN.as_millis()).unwrap_or(u64::MAX)
    }

    /// Wakes what is due; when to do it again.
    fn wake_due(&self) -> Option<Instant> {
        let mut alarms = lock(&self.alarms);
        let later = alarms.due.split_off(&(self.ended() + 1));
        let due = std::mem::replace(&mut alarms.due, later);
        let next = alarms.due.keys().next().copied();
        drop(alarms);
        due.into_values().flatten().for_each(|(_, waker)| waker.wake());
        next.map(|grain| self.begin + GRAIN * u32::try_from(grain).unwrap_or(u32::MAX))
    }
}

/// Waits for alarms; ends with its runtime.
async fn watch_clock(worker: Arc<Worker>, _running: Arc<()>) {
    loop {
        match worker.wake_due() {
            None => worker.earlier.notified().await,
            Some(next) => tokio::select! {
                () = sleep_until(next) => {}
                () = worker.earlier.notified() => {}
            },
        }
    }
}

/// An answer that goes on, known to its worker as long as this is kept.
pub(crate) struct Registration {
    worker: Arc<Worker>,
    key: Option<usize>,
}

impl Registration {
    /// In the thread of the caller.
    pub(crate) fn new() -> Self {
        Self { worker: Worker::current(), key: None }
    }

    /// Whether the answer is to end because the server stops; if not, that will wake the task of `context`.
    pub(crate) fn must_end(&mut self, context: &Context<'_>) -> bool {
        let mut live = lock(&self.worker.live);
        match self.key {
            Some(key) => live[key].clone_from(context.waker()),
            None => self.key = Some(live.insert(context.waker().clone())),
        }
        drop(live);
        self.worker.draining.load(Relaxed)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let waker = self.key.and_then(|key| lock(&self.worker.live).try_remove(key));
        drop(waker);
    }
}

/// Goes off once, a little late. To put it off costs nothing.
pub(crate) struct Alarm {
    worker: Arc<Worker>,
    at: Instant,
    /// Where its waker is.
    entry: Option<(u64, usize)>,
}

impl Alarm {
    /// In the thread of the caller, which is a task of this thread's runtime.
    pub(crate) fn new(at: Instant) -> Self {
        Self { worker: Worker::current(), at, entry: None }
    }

    /// So long from now.
    pub(crate) fn after(time: Duration) -> Self {
        Self::new(Instant::now() + time)
    }

    /// Another time from now on; to be polled again.
    pub(crate) fn set(&mut self, at: Instant) {
        self.at = at;
    }

    /// Whether it has still to go off, maybe earlier than it was set to; then it will wake the task of `context`.
    pub(crate) fn is_pending(&self, context: &Context<'_>) -> bool {
        let Some((due, key)) = self.entry else { return false };
        let mut alarms = lock(&self.worker.alarms);
        let waker = alarms.due.get_mut(&due).and_then(|wakers| wakers.get_mut(key));
        waker.map(|waker| waker.clone_from(context.waker())).is_some()
    }

    /// Ready at its time and from then on; else that will wake the task of `context`.
    pub(crate) fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        if Instant::now() >= self.at {
            return Poll::Ready(());
        }
        let grain = self.worker.grain(self.at);
        let mut alarms = lock(&self.worker.alarms);
        if let Some((due, key)) = self.entry {
            // One that goes off earlier than need be is left where it is: it will be polled then and moved.
            if due <= grain && alarms.due.get(&due).is_some_and(|wakers| wakers.contains(key)) {
                if let Some(waker) = alarms.due.get_mut(&due).and_then(|wakers| wakers.get_mut(key)) {
                    waker.clone_from(context.waker());
                }
                return Poll::Pending;
            }
            drop(remove(&mut alarms, due, key));
        }
        let first = alarms.due.keys().next().copied();
        self.entry = Some((grain, alarms.due.entry(grain).or_default().insert(context.waker().clone())));
        if alarms.task.upgrade().is_none() {
            let running = Arc::new(());
            alarms.task = Arc::downgrade(&running);
            tokio::spawn(watch_clock(self.worker.clone(), running));
        } else if first.is_none_or(|first| grain < first) {
            self.worker.earlier.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let waker = self.entry.and_then(|(due, key)| remove(&mut lock(&self.worker.alarms), due, key));
        drop(waker);
    }
}

fn remove(alarms: &mut Alarms, due: u64, key: usize) -> Option<Waker> {
    let wakers = alarms.due.get_mut(&due)?;
    let waker = wakers.try_remove(key);
    if wakers.is_empty() {
        alarms.due.remove(&due);
    }
    waker
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, sync::atomic::AtomicUsize, task::Wake};

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    #[test]
    fn alarms_go_off_in_order_and_never_early() {
        run(async {
            let begin = Instant::now();
            let mut tasks = Vec::new();
            // The later ones first: an earlier alarm must not wait for them.
            for millis in [250, 30, 130, 1] {
                tasks.push(tokio::spawn(async move {
                    let at = begin + Duration::from_millis(millis);
                    let mut alarm = Alarm::new(at);
                    poll_fn(|context| alarm.poll(context)).await;
                    assert!(Instant::now() >= at, "{millis}");
                    Instant::now()
                }));
            }
            let mut ends = Vec::new();
            for task in tasks {
                ends.push(task.await.unwrap());
            }
            assert!(ends[3] <= ends[2] && ends[1] <= ends[2] && ends[2] <= ends[0], "{ends:?}");
        });
    }

    #[test]
    fn an_alarm_can_be_put_off_and_brought_forward() {
        run(async {
            let begin = Instant::now();
            let mut alarm = Alarm::after(Duration::from_millis(20));
            let mut polled = 0;
            poll_fn(|context| {
                polled += 1;
                if polled == 1 {
                    assert!(alarm.poll(context).is_pending() && alarm.is_pending(context));
                    alarm.set(begin + Duration::from_millis(250));
                }
                alarm.poll(context)
            })
            .await;
            assert!(begin.elapsed() >= Duration::from_millis(250) && !alarm.is_pending(&Context::from_waker(Waker::noop())));
            let mut alarm = Alarm::after(Duration::from_secs(3600));
            assert!(alarm.poll(&Context::from_waker(Waker::noop())).is_pending());
            alarm.set(Instant::now() + Duration::from_millis(10));
            poll_fn(|context| alarm.poll(context)).await;
        });
    }

    /// Nothing is left of who is gone.
    #[test]
    fn the_dropped_are_forgotten() {
        run(async {
            let context = Context::from_waker(Waker::noop());
            let worker = Worker::current();
            let mut alarms: Vec<Alarm> = (1..50).map(|seconds| Alarm::after(Duration::from_secs(seconds))).collect();
            let mut answers: Vec<Registration> = (0..50).map(|_| Registration::new()).collect();
            for alarm in &mut alarms {
                assert!(alarm.poll(&context).is_pending());
            }
            for answer in &mut answers {
                assert!(!answer.must_end(&context) && !answer.must_end(&context));
            }
            assert_eq!((lock(&worker.alarms).due.len(), lock(&worker.live).len()), (49, 50));
            drop((alarms, answers));
            assert_eq!((lock(&worker.alarms).due.len(), lock(&worker.live).len()), (0, 0));
        });
    }

    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// An answer that moves to another task is woken there.
    #[test]
    fn who_must_end_is_woken_where_it_was_polled_last() {
        std::thread::spawn(|| {
            let [first, second] = [(), ()].map(|()| Arc::new(Counter(AtomicUsize::new(0))));
            let mut answer = Registration::new();
            for counter in [&first, &second] {
                assert!(!answer.must_end(&Context::from_waker(&counter.clone().into())));
            }
            end_live_answers();
            assert_eq!((first.0.load(Relaxed), second.0.load(Relaxed)), (0, 1));
            assert!(answer.must_end(&Context::from_waker(Waker::noop())));
        })
        .join()
        .unwrap();
    }
}
