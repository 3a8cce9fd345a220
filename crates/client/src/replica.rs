//! Copies of resources that stay current (RFC 8895 section 9.2): a task follows them and [`Replica::changed`] hands out what changes.
//!
//! [`core`] decides, the module `transports` speaks, this file lets them run. Bounds: updates that were not applied yet, changes that were
//! not taken yet (`updates_buffered_max`, `changes_waiting_max`, `changes_waiting_bytes_max` of [`Limits`]).
//! Invariant: what is handed out is, for each resource, every version in its order, or a full copy where some were passed over.
pub(crate) mod backoff;
mod change;
mod content;
pub mod core;

pub use change::{Change, Copy, Notice, Via, What};
pub use content::{Content, PatchKind};

use self::core::{Action, Core, Ended, Event, Followed, Place};
use crate::{
    catalog::{Catalog, Service},
    client::Client,
    error::Error,
    options::Limits,
    transports::{self, Events, Follow, Session},
};
use alto::id::ResourceId;
use bytes::Bytes;
use std::{
    collections::VecDeque,
    convert::Infallible,
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::JoinHandle,
};

/// What to follow, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The resources. What they depend on is followed too, so that they are never handed out without it.
    pub resources: Vec<Wanted>,
    /// The transport; `None`: the first of [`Via::auto`] that works, another when it fails.
    pub via: Option<Via>,
    /// For [`Via::Webhook`].
    pub notifications: Notifications,
}

/// Where notifications of subscriptions come in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notifications {
    /// Where to listen. `None`: at the local address of a connection to the server, at a port that the system chooses.
    pub listen: Option<SocketAddr>,
    /// The address to give to the server, where it reaches another than the one that is listened at (address translation, containers).
    /// Port 0: the port that is listened at.
    pub contact: Option<SocketAddr>,
}

/// One resource to follow.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its id.
    pub resource: ResourceId,
    /// The request body, for a resource that answers requests.
    pub input: Option<Bytes>,
}

impl Options {
    /// One resource that is got, over whatever works.
    pub fn new(resource: ResourceId) -> Self {
        Self { resources: vec![Wanted { resource, input: None }], via: None, notifications: Notifications::default() }
    }
}

/// See the module. Ends when it is dropped.
#[derive(Debug)]
pub struct Replica {
    shared: Arc<Shared>,
    wanted: usize,
    driver: Task,
    /// Ends when nothing is left to be done.
    farewells: mpsc::Receiver<Infallible>,
}

/// Held by who has something to do after a session ended.
pub(crate) type Farewell = mpsc::Sender<Infallible>;

/// What a session says, and who waits until it was taken.
#[derive(Debug)]
pub(crate) struct Report {
    pub session: u64,
    pub event: Event,
    pub taken: Option<oneshot::Sender<()>>,
}

/// What [`Replica::next`] has to tell.
#[derive(Debug)]
pub enum Told {
    /// A new version.
    Change(Box<Change>),
    /// Something about the connection.
    Notice(Notice),
}

/// Ends with its owner.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug)]
struct Shared {
    core: Mutex<Core>,
    queue: Mutex<Queue>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    told: VecDeque<Told>,
    changes: usize,
    bytes: usize,
    ended: Option<Option<Error>>,
}

/// Notices nobody took: the last ones say enough.
const NOTICES_MAX: usize = 64;

impl Replica {
    /// Begins to follow. Reads the directory; whatever fails after that is tried again. Errors: those of [`Client::catalog`], `NotOffered`.
    pub async fn open(client: Arc<Client>, options: Options) -> Result<Self, Error> {
        // A hasher of the standard library starts from the system's randomness.
        Self::open_seeded(client, options, RandomState::new().hash_one(0)).await
    }

    /// The same, spread in time by a seed.
    #[doc(hidden)]
    pub async fn open_seeded(client: Arc<Client>, options: Options, seed: u64) -> Result<Self, Error> {
        let catalog = client.catalog().await?;
        let followed = followed(&catalog, &options.resources)?;
        let limits = client.options().limits.clone();
        let auto: Vec<_> = Via::auto(client.options().protocol).collect();
        let vias = match options.via {
            None => auto,
            Some(via) if via.goes_over(client.options().protocol) => vec![via],
            Some(via) => {
                let offered = auto.iter().map(ToString::to_string).collect();
                return Err(Error::NotOffered { what: format!("{via} does not go over HTTP/3"), offered });
            }
        };
        let wanted = options.resources.len();
        let core = Core::new(now(), followed.clone(), vias, limits.clone(), seed);
        let shared = Arc::new(Shared { core: Mutex::new(core), queue: Mutex::default(), news: Notify::new() });
        let (farewell, farewells) = mpsc::channel(1);
        let driver = Task(tokio::spawn(drive(client, followed, options.notifications, limits, shared.clone(), farewell)));
        Ok(Self { shared, wanted, driver, farewells })
    }

    /// Ends it as dropping it does, and waits, in bounded time, until the server knows where it has to be told (subscriptions).
    pub async fn close(mut self) {
        self.driver.0.abort();
        // It was going to be ended: how does not matter.
        let _ = (&mut self.driver.0).await;
        while self.farewells.recv().await.is_some() {}
    }

    /// The next change, of any of the resources. Waits as long as there is none. An error is the end.
    pub async fn changed(&mut self) -> Result<Change, Error> {
        loop {
            if let Told::Change(change) = self.next().await? {
                return Ok(*change);
            }
        }
    }

    /// The same, with notices of the connection between them.
    pub async fn next(&mut self) -> Result<Told, Error> {
        loop {
            let news = self.shared.news.notified();
            if let Some(told) = self.shared.take() {
                return told;
            }
            news.await;
        }
    }

    /// The copy of a resource, by its place in [`Options::resources`]; `None` before the first.
    pub fn copy(&self, index: usize) -> Option<Copy> {
        assert!(index < self.wanted, "there are {} resources", self.wanted);
        self.shared.core().copy(index)
    }

    /// How long ago the server was last heard: what is here was the newest then. `None`: there is no connection.
    pub fn staleness(&self) -> Option<Duration> {
        self.shared.core().heard().map(|heard| now().saturating_duration_since(heard))
    }

    /// The transport in use. `None`: there is no connection.
    pub fn via(&self) -> Option<Via> {
        self.shared.core().via()
    }

    /// How often a copy was dropped and asked for again because something did not fit.
    pub fn resyncs(&self) -> u64 {
        self.shared.core().resyncs()
    }
}

/// The list to follow: what is wanted in its order, then what that depends on.
fn followed(catalog: &Catalog, resources: &[Wanted]) -> Result<Vec<Followed>, Error> {
    let not = |what: String| Error::NotOffered { what, offered: Vec::new() };
    let mut followed: Vec<Followed> = Vec::new();
    for Wanted { resource, input } in resources {
        let offer = catalog.offer(resource.as_str())?;
        match (&offer.entry.accepts, input) {
            (Some(_), None) => return Err(not(format!("{resource} answers requests: following it needs an input, the body of one"))),
            (None, Some(_)) => return Err(not(format!("{resource} takes no input"))),
            _ => {}
        }
        let media_type = offer.entry.media_type.clone();
        followed.push(Followed { resource: resource.clone(), input: input.clone(), media_type, wanted: true });
    }
    if followed.is_empty() {
        return Err(not("there is nothing to follow".into()));
    }
    for Wanted { resource, .. } in resources {
        for id in &catalog.offer(resource.as_str())?.entry.uses {
            let Ok(offer) = catalog.offer(id.as_str()) else { continue };
            let is_here = followed.iter().any(|one| one.resource == *id && one.input.is_none());
            if offer.service() == Service::NetworkMap && !is_here {
                let media_type = offer.entry.media_type.clone();
                followed.push(Followed { resource: id.clone(), input: None, media_type, wanted: false });
            }
        }
    }
    Ok(followed)
}

async fn drive(
    client: Arc<Client>,
    followed: Vec<Followed>,
    notifications: Notifications,
    limits: Limits,
    shared: Arc<Shared>,
    farewell: Farewell,
) {
    let (sender, mut reports) = mpsc::channel(limits.updates_buffered_max.max(1));
    let (moved, places) = watch::channel(vec![Place::default(); followed.len()]);
    let mut running = None;
    let mut taken: Option<oneshot::Sender<()>> = None;
    loop {
        let (actions, until) = {
            let mut core = shared.core();
            let actions: Vec<_> = std::iter::from_fn(|| core.poll_action()).collect();
            moved.send_replace(core.places());
            (actions, core.poll_timeout())
        };
        for action in actions {
            match action {
                Action::Open { session, via, places: stands, refresh } => {
                    let events = Events { session, sender: sender.clone() };
                    let begin = Begin {
                        client: client.clone(),
                        followed: followed.clone(),
                        stands,
                        places: places.clone(),
                        events,
                        notifications,
                        farewell: farewell.clone(),
                    };
                    running = Some(Task(tokio::spawn(begin.run(via, refresh))));
                }
                Action::Close => {
                    running = None;
                    // What ended it was not taken.
                    taken = None;
                }
                Action::Deliver(change) => shared.deliver(change, &limits),
                Action::Tell(notice) => shared.tell(notice),
                Action::End(error) => {
                    drop(running);
                    return shared.end(error);
                }
            }
        }
        if let Some(taken) = taken.take() {
            // Who does not wait any more does not mind.
            let _ = taken.send(());
        }
        let deadline = async {
            match until {
                Some(until) => tokio::time::sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Events that come without a pause must not keep a deadline from passing.
            biased;
            () = deadline => shared.core().handle_timeout(now()),
            Some(report) = reports.recv() => {
                taken = report.taken;
                shared.core().handle_event(now(), report.session, report.event);
            }
        }
    }
}

/// By the clock of the runtime, which a test or a simulation may set.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What a session begins with.
struct Begin {
    client: Arc<Client>,
    followed: Vec<Followed>,
    stands: Vec<Place>,
    places: watch::Receiver<Vec<Place>>,
    events: Events,
    notifications: Notifications,
    farewell: Farewell,
}

impl Begin {
    /// One session, from the directory to its end.
    async fn run(self, via: Via, refresh: bool) {
        let Self { client, followed, stands, places, events, notifications, farewell } = self;
        let told = events.clone();
        let ended = match if refresh { client.refresh().await } else { client.catalog().await } {
            Err(error) => {
                let retry_after = error.retry_after();
                match transports::failed(error) {
                    // The server that is away may have something else in its place for a moment.
                    Ended::Unsupported(why) | Ended::Unreachable(why) => Ended::Away { why, retry_after },
                    ended => ended,
                }
            }
            Ok(catalog) => match followed.iter().find(|one| one.wanted && catalog.offer(one.resource.as_str()).is_err()) {
                Some(gone) => {
                    let resource = gone.resource.clone();
                    Ended::Withdrawn { why: format!("the directory has no {resource}"), resource }
                }
                None => {
                    let follows = followed.into_iter().zip(stands).enumerate();
                    let follows = follows.map(|(index, (followed, place))| Follow { index, followed, place }).collect();
                    transports::run(via, Session { client, catalog, follows, places, events, notifications, farewell }).await
                }
            },
        };
        told.send(Event::Ended(ended)).await;
    }
}

impl Shared {
    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Result<Told, Error>> {
        let mut queue = self.queue();
        if let Some(told) = queue.told.pop_front() {
            if let Told::Change(change) = &told {
                queue.changes -= 1;
                queue.bytes -= change.bytes();
            }
            return Some(Ok(told));
        }
        let ended = queue.ended.as_mut()?.take();
        Some(Err(ended.unwrap_or_else(|| Error::NotOffered { what: "following has ended".into(), offered: Vec::new() })))
    }

    fn deliver(&self, change: Change, limits: &Limits) {
        let mut queue = self.queue();
        queue.changes += 1;
        queue.bytes += change.bytes();
        queue.told.push_back(Told::Change(Box::new(change)));
        if queue.changes > limits.changes_waiting_max || queue.bytes > limits.changes_waiting_bytes_max {
            queue.pass_over();
        }
        drop(queue);
        self.news.notify_one();
    }

    fn tell(&self, notice: Notice) {
        let mut queue = self.queue();
        if queue.told.len() - queue.changes >= NOTICES_MAX
            && let Some(oldest) = queue.told.iter().position(|told| matches!(told, Told::Notice(_)))
        {
            queue.told.remove(oldest);
        }
        queue.told.push_back(Told::Notice(notice));
        drop(queue);
        self.news.notify_one();
    }

    fn end(&self, error: Error) {
        self.queue().ended = Some(Some(error));
        self.news.notify_one();
    }
}

impl Queue {
    /// Leaves of each resource the last change, as a full copy.
    fn pass_over(&mut self) {
        let mut kept: VecDeque<Told> = VecDeque::new();
        let mut seen: Vec<(ResourceId, Option<Bytes>)> = Vec::new();
        for told in std::mem::take(&mut self.told).into_iter().rev() {
            match told {
                Told::Notice(_) => kept.push_front(told),
                Told::Change(change) => {
                    let key = (change.resource.clone(), change.input.clone());
                    if !seen.contains(&key) {
                        seen.push(key);
                        kept.push_front(Told::Change(Box::new(change.into_full())));
                    }
                }
            }
        }
        let changes = kept.iter().filter_map(|told| if let Told::Change(change) = told { Some(change.bytes()) } else { None });
        (self.changes, self.bytes) = (changes.clone().count(), changes.sum());
        self.told = kept;
    }
}
