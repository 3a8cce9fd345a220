//! From what feeds say to what is published: fuse, wait until it is quiet, compute, commit.
//!
//! One thread owns all of it. Invariants: nothing is published before every feed of a set has spoken once; a new configuration takes
//! over whole or not at all; status knows of a trouble before the log tells it; whatever cannot be read, computed or published leaves in place what was.
use super::{
    data::KnownSources,
    feed::{Declared, Feeds, Generation, News, Plan},
    folder,
    news::{describe, summary},
    report::Report,
    set::{Coming, Set, compute, file_change},
};
use crate::config::Config;
use alto::id::ResourceId;
use history::{Change, Commit, Publisher};
use maps::damping::Damper;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant, SystemTime},
};
use store::Store;
use topology::fuse::Fuser;
use tracing::{debug, error, info, warn};

/// What the thread waits for.
pub enum Event {
    /// A feed spoke.
    News(Generation, News),
    /// A configuration is to take over.
    Configure {
        /// The new one.
        config: Box<Config>,
        /// Gets what became of it.
        answer: mpsc::SyncSender<Result<Accepted, String>>,
    },
}

/// A configuration that took over.
#[derive(Debug)]
pub struct Accepted {
    /// Inputs that could not be read: at the start only, later that is a refusal.
    pub broken: Vec<String>,
    /// Whether every source has been read.
    pub ready: bool,
    /// Sources that could not be read, with nothing of before or of a folder to serve instead.
    pub nothing: bool,
    /// Title and examples of the demo, where one plays.
    pub demo: Option<(String, [&'static str; 4])>,
}

/// Where events wait. 64: feeds speak seldom, and one that finds no room waits.
const EVENTS_MAX: usize = 64;
/// Sources that never rest do not hold back the maps for longer than so many times the settling time.
const SETTLE_FACTOR_MAX: u32 = 10;
/// How often a source's age is looked at.
const AGE_LOOK: Duration = Duration::from_secs(1);

/// Starts the thread; it ends when nobody holds the sender any more and no feed speaks.
pub fn start(publisher: Arc<Publisher>, report: Arc<Report>, store: Option<Arc<dyn Store>>) -> std::io::Result<mpsc::SyncSender<Event>> {
    let (sender, events) = mpsc::sync_channel(EVENTS_MAX);
    let pipeline = Pipeline {
        publisher,
        report,
        store,
        events: sender.clone(),
        next: 0,
        live: None,
        coming: None,
        due: None,
        damper: Damper::default(),
        held: None,
    };
    thread::Builder::new().name("maps".into()).spawn(move || pipeline.run(&events))?;
    Ok(sender)
}

struct Pipeline {
    publisher: Arc<Publisher>,
    report: Arc<Report>,
    store: Option<Arc<dyn Store>>,
    events: mpsc::SyncSender<Event>,
    next: u32,
    live: Option<Set>,
    coming: Option<Coming>,
    due: Option<Due>,
    /// Between what is computed and what is published.
    damper: Damper,
    /// Until when it holds something back.
    held: Option<SystemTime>,
}

/// When to compute.
struct Due {
    first: Instant,
    last: Instant,
    label: String,
}

impl Pipeline {
    fn run(mut self, events: &mpsc::Receiver<Event>) {
        loop {
            let event = match events.recv_timeout(self.patience()) {
                Ok(event) => Some(event),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            };
            match event {
                Some(Event::News(generation, news)) => self.news(generation, news),
                Some(Event::Configure { config, answer }) => self.configure(&config, answer),
                None => self.look_at_ages(),
            }
            self.compute_if_due();
            self.release_if_due();
        }
    }

    /// How long to wait for the next event.
    fn patience(&self) -> Duration {
        let held = self.held.map(|until| until.duration_since(SystemTime::now()).unwrap_or_default());
        held.into_iter().chain([self.patience_without_held()]).min().expect("one is there")
    }

    fn patience_without_held(&self) -> Duration {
        match (&self.live, self.due_at()) {
            (_, Some(at)) => at.saturating_duration_since(Instant::now()),
            (Some(live), None) if live.feeds.declared.iter().any(|source| source.max_age.is_some()) => AGE_LOOK,
            _ => Duration::from_secs(3600),
        }
    }

    fn due_at(&self) -> Option<Instant> {
        let settle = self.live.as_ref()?.settle;
        self.due.as_ref().map(|due| (due.last + settle).min(due.first + settle * SETTLE_FACTOR_MAX))
    }

    fn news(&mut self, generation: Generation, news: News) {
        if let Some(coming) = &mut self.coming
            && coming.set.generation == generation
        {
            coming.hear(news);
            if coming.complete() {
                self.take_over();
            }
            return;
        }
        let Some(live) = self.live.as_mut().filter(|live| live.generation == generation) else { return };
        match news {
            News::Source { source, outcome, at } => {
                let name = live.feeds.declared[usize::from(source.0)].name.clone();
                match outcome {
                    Ok(seen) => {
                        live.missing.remove(&usize::from(source.0));
                        live.observe(source, seen, at);
                        self.report.observed(usize::from(source.0), at);
                        self.settle(format!("source {name}"));
                    }
                    Err(why) => {
                        self.report.refused(usize::from(source.0), &why);
                        warn!("source {name} cannot be used, its last good data stays: {why}");
                        live.fuser.trouble(source, why);
                        self.settle(format!("source {name}"));
                    }
                }
            }
            News::Step { label, observations, until, at } => {
                for (source, seen) in observations {
                    live.observe(source, seen, at);
                    self.report.observed(usize::from(source.0), at);
                }
                live.hold_replay(until);
                // A step is whole: nothing to wait for.
                self.compute(&label);
            }
            News::Folder(scan) => self.folder(scan),
        }
    }

    fn settle(&mut self, label: String) {
        let now = Instant::now();
        match &mut self.due {
            Some(due) => {
                due.last = now;
                if !due.label.split(", ").any(|known| known == label) {
                    due.label = format!("{}, {label}", due.label);
                }
            }
            None => self.due = Some(Due { first: now, last: now, label }),
        }
    }

    fn compute_if_due(&mut self) {
        if self.due_at().is_some_and(|at| at <= Instant::now())
            && let Some(due) = self.due.take()
        {
            self.compute(&due.label);
        }
    }

    fn look_at_ages(&mut self) {
        if self.due.is_none() {
            self.compute("age of sources");
        }
    }

    /// Computes and publishes what the fused graph gives now, if it is another than before.
    fn compute(&mut self, label: &str) {
        if self.live.as_ref().is_none_or(|live| !live.missing.is_empty()) {
            return;
        }
        self.compute_of_all(label);
        self.report.set_ready();
    }

    fn compute_of_all(&mut self, label: &str) {
        let Some(live) = &mut self.live else { return };
        let now = SystemTime::now();
        let graph = live.fuser.graph(now);
        if live.computed.as_ref().is_some_and(|last| Arc::ptr_eq(&last.graph, &graph)) {
            return;
        }
        if let Some(last) = &live.computed {
            for (before, after) in last.graph.sources.iter().zip(&graph.sources) {
                if let Some(why) = &after.trouble
                    && before.trouble.is_none()
                    && why.starts_with("overdue")
                {
                    warn!("source {} is {why}; its last good data stays", after.name);
                }
            }
        }
        let computed = match compute(graph, live.policy.clone(), live.computed.as_deref()) {
            Ok(computed) => Arc::new(computed),
            Err(why) => {
                self.report.trouble("maps", Some(why.clone()));
                error!("{label}: no new maps, the last ones stay: {why}");
                return;
            }
        };
        let news = live.computed.as_ref().map_or_else(|| summary(&computed), |last| describe(last, &computed));
        live.computed = Some(computed);
        self.publish_damped(label, &news, now);
        self.retry_waiting();
    }

    /// Publishes of the newest maps what the damper lets through.
    fn publish_damped(&mut self, label: &str, news: &str, now: SystemTime) {
        let Some(live) = &mut self.live else { return };
        let Some(computed) = &live.computed else { return };
        let damped = self.damper.damp(computed, now);
        self.held = damped.due;
        let outcome = self.publisher.apply(vec![Change::Computed(Some(damped.maps))], now, live.others);
        match &outcome {
            Ok(_) => live.are_known(self.store.as_deref()),
            Err(_) => self.damper.forget(),
        }
        self.published(label, news, outcome);
    }

    /// What the damper held back, once its time has come.
    fn release_if_due(&mut self) {
        let now = SystemTime::now();
        if self.held.is_some_and(|until| until <= now) {
            self.held = None;
            self.publish_damped("damping interval", "", now);
        }
    }

    fn published(&self, label: &str, news: &str, outcome: Result<Commit, history::Error>) {
        match outcome {
            Ok(commit) => {
                self.report.trouble("maps", None);
                let resources = commit.changed.len();
                match (news.is_empty(), resources) {
                    (true, 0) => debug!("{label}: no change"),
                    // Against maps that were held, or where published documents stand in place of computed ones.
                    (false, 0) => info!(commit = commit.snapshot.commit, "{label}: {news}; what is served stays as published"),
                    (true, _) => info!(commit = commit.snapshot.commit, resources, "{label}: new versions"),
                    (false, _) => info!(commit = commit.snapshot.commit, resources, "{label}: {news}"),
                }
            }
            Err(why @ history::Error::Guarded(_)) => {
                // Status asks the guard itself, which also knows when somebody confirmed.
                self.report.trouble("maps", None);
                warn!("{label}: held back by the change guard: {why}; `POST /v1/guard/confirm` on the admin listener lets it through");
            }
            Err(why) => {
                self.report.trouble("maps", Some(why.to_string()));
                error!("{label}: not published, what was there stays: {why}");
            }
        }
    }

    /// Publishes what changed in the folder.
    fn folder(&mut self, scan: folder::Scan) {
        let Some(live) = &mut self.live else { return };
        let broken = scan.broken.clone();
        let said = std::mem::take(&mut live.folder_broken);
        live.take_scan(scan);
        self.folder_changes();
        for (file, why) in broken.iter().filter(|(file, why)| said.get(*file) != Some(*why)) {
            let stays = what_stays(&self.publisher, file.strip_suffix(".json").unwrap_or(file));
            warn!("maps folder: {file} cannot be used, {stays}: {why}");
        }
    }

    /// Documents that waited for others get another chance once something changed.
    fn retry_waiting(&mut self) {
        if self.live.as_ref().is_some_and(Set::has_waiting) {
            self.folder_changes();
        }
    }

    fn folder_changes(&mut self) {
        let Some(live) = &mut self.live else { return };
        let now = SystemTime::now();
        let outcome = live.publish_folder(&self.publisher, now);
        let said = std::mem::replace(&mut live.refused, outcome.refused);
        let refused = live.refused.iter().map(|(id, why)| format!("{id}.json: {why}"));
        let wrong: Vec<String> = live.folder_broken.iter().map(|(file, why)| format!("{file}: {why}")).chain(refused).collect();
        self.report.folder(now, (!wrong.is_empty()).then(|| wrong.join("; ")));
        for commit in &outcome.commits {
            let changed: Vec<&str> = commit.changed.iter().map(|version| version.resource.as_str()).collect();
            let withdrawn: Vec<&str> = commit.withdrawn.iter().map(ResourceId::as_str).collect();
            if !changed.is_empty() {
                info!(commit = commit.snapshot.commit, "maps folder: new versions of {}", changed.join(", "));
            }
            if !withdrawn.is_empty() {
                info!(commit = commit.snapshot.commit, "maps folder: withdrawn {}", withdrawn.join(", "));
            }
        }
        for (id, why) in live.refused.iter().filter(|(id, why)| said.get(*id) != Some(*why)) {
            warn!("maps folder: {id}.json is refused, {}: {why}", what_stays(&self.publisher, id.as_str()));
        }
    }

    fn configure(&mut self, config: &Config, answer: mpsc::SyncSender<Result<Accepted, String>>) {
        let plan = Plan::of(config);
        let policy = Arc::new(config.maps_policy());
        let settle = config.maps.settle_seconds.0;
        if let Some(live) = self.live.as_mut().filter(|live| live.plan == plan) {
            let now = SystemTime::now();
            let damping = config.damping();
            let accepted = live.set_policy(policy.clone(), now).and_then(|made| {
                let damped_otherwise = || (damping != live.damping).then(|| Some((String::new(), live.computed.clone()?))).flatten();
                let published = match made.or_else(damped_otherwise) {
                    None => None,
                    Some((news, computed)) => {
                        self.damper.set(damping.clone());
                        let damped = self.damper.damp(&computed, now);
                        let outcome = self.publisher.apply(vec![Change::Computed(Some(damped.maps))], now, live.others);
                        match &outcome {
                            Ok(_) => live.are_known(self.store.as_deref()),
                            Err(_) => self.damper.forget(),
                        }
                        match outcome {
                            // Held maps are those of the new configuration: refusing it would let a confirmation publish what nobody computes any more.
                            outcome @ (Ok(_) | Err(history::Error::Guarded(_))) => {
                                self.held = damped.due;
                                live.computed = Some(computed);
                                Some((news, outcome))
                            }
                            Err(why) => {
                                self.damper.set(live.damping.clone());
                                return Err(why.to_string());
                            }
                        }
                    }
                };
                self.damper.set(damping.clone());
                live.damping = damping;
                live.policy = policy;
                live.settle = settle;
                Ok((
                    published,
                    Accepted { broken: Vec::new(), ready: live.missing.is_empty(), nothing: false, demo: live.feeds.demo.clone() },
                ))
            });
            let accepted = accepted.map(|(published, accepted)| {
                if let Some((news, outcome)) = published {
                    self.published("configuration", &news, outcome);
                }
                accepted
            });
            // Whoever asked may be gone.
            let _ = answer.send(accepted);
            return;
        }
        let generation = Generation(self.next);
        self.next += 1;
        let events = self.events.clone();
        let say = move |news| {
            // The thread is gone only at the end of the process.
            let _ = events.send(Event::News(generation, news));
        };
        let feeds = match Feeds::start(&plan, say) {
            Ok(feeds) => feeds,
            Err(error) => {
                let _ = answer.send(Err(format!("cannot start a thread: {error}")));
                return;
            }
        };
        let mut fuser = Fuser::new();
        for Declared { name, precedence, max_age, .. } in &feeds.declared {
            fuser.add_source(name, *precedence, *max_age);
        }
        let coming = Coming {
            heard: vec![None; feeds.declared.len()],
            folder: None,
            folder_due: plan.folder.is_some(),
            answer,
            set: Set {
                oddities: vec![Vec::new(); feeds.declared.len()],
                generation,
                plan,
                policy,
                damping: config.damping(),
                settle,
                feeds,
                fuser,
                computed: None,
                missing: BTreeSet::new(),
                others: false,
                from_folder: BTreeSet::new(),
                folder_broken: BTreeMap::new(),
                refused: BTreeMap::new(),
                leaving: BTreeSet::new(),
                waiting: BTreeMap::new(),
            },
        };
        let complete = coming.complete();
        self.coming = Some(coming);
        if complete {
            self.take_over();
        }
    }

    /// Everybody has spoken: the new set goes live, or is refused.
    fn take_over(&mut self) {
        let Some(coming) = self.coming.take() else { return };
        let broken = coming.broken();
        let Coming { mut set, folder, answer, heard, .. } = coming;
        let reload = self.live.is_some();
        let unread: BTreeSet<usize> =
            heard.iter().enumerate().filter(|(_, heard)| matches!(heard, Some(Err(_)))).map(|(source, _)| source).collect();
        let scan = folder.unwrap_or_default();
        let refuse = |set: Set, why: String| {
            let _ = answer.send(Err(why));
            discard(set);
        };
        // Documents that are broken have their last good version; sources and folders that are new have nothing.
        if reload && (!unread.is_empty() || scan.broken.contains_key(folder::ITSELF)) {
            return refuse(set, broken.join("; "));
        }
        let now = SystemTime::now();
        let mut news = None;
        if set.plan.computes() && unread.is_empty() {
            let last = self.live.as_ref().and_then(|live| live.computed.clone());
            match compute(set.fuser.graph(now), set.policy.clone(), None) {
                Ok(computed) => {
                    news = Some(last.map_or_else(|| summary(&computed), |last| describe(&last, &computed)));
                    set.computed = Some(Arc::new(computed));
                }
                Err(why) if reload => return refuse(set, why),
                Err(why) => {
                    error!("no maps: {why}");
                    self.report.trouble("maps", Some(why));
                }
            }
        }
        self.damper.set(set.damping.clone());
        // The guard compares what the same sources say; after a start with others there is nothing to compare.
        let first = self.live.as_ref().is_none_or(|live| live.others);
        set.others = first && !KnownSources::of(&set.plan).are_those_in(self.store.as_deref());
        // Nothing is made of a part of the sources: what was there before the start stays until all of them have been read.
        let stays = set.plan.computes() && set.computed.is_none();
        let damped = set.computed.as_ref().map(|computed| self.damper.damp(computed, now));
        let held = damped.as_ref().and_then(|damped| damped.due);
        let mut changes = if stays { Vec::new() } else { vec![Change::Computed(damped.map(|damped| damped.maps))] };
        let confirmed = set.others && !stays;
        set.missing = unread;
        let folder = set.plan.folder_id();
        let known = folder.as_ref().map_or_else(BTreeSet::new, |folder| self.publisher.files(folder));
        // A document that is broken now is not gone, nor is one of a folder that cannot be read.
        let unseen = scan.broken.contains_key(folder::ITSELF);
        let keeps = |id: &ResourceId| unseen || scan.broken.contains_key(&format!("{id}.json"));
        // What others still need goes when they do.
        let same_folder = self.live.as_ref().filter(|live| live.plan.folder == set.plan.folder);
        set.leaving = same_folder.map_or_else(BTreeSet::new, |live| live.leaving.iter().filter(|id| !scan.has(id)).cloned().collect());
        let missing = known.into_iter().filter(|id| !scan.has(id) && !set.leaving.contains(id));
        let (kept, gone): (BTreeSet<_>, BTreeSet<_>) = missing.partition(keeps);
        // What another folder brought goes with it.
        let others = self.publisher.from_files().into_iter();
        let others = others.filter(|id| !scan.has(id) && ![&kept, &gone, &set.leaving].iter().any(|known| known.contains(id)));
        changes.extend(others.map(|id| Change::FileGone { id, folder: None }));
        changes.extend(gone.into_iter().map(|id| Change::FileGone { id, folder: folder.clone() }));
        // One commit where that is possible: nobody sees the half of a configuration.
        let files = folder.iter().flat_map(|folder| scan.read.iter().map(|read| file_change(folder, read)));
        let files: Vec<Change> = files.collect();
        let whole = self.publisher.apply(changes.iter().cloned().chain(files).collect(), now, confirmed);
        let all_files = whole.is_ok();
        let outcome = if all_files { whole } else { self.publisher.apply(changes, now, confirmed) };
        if outcome.is_ok() && !stays {
            set.are_known(self.store.as_deref());
        }
        if outcome.is_err() {
            self.damper.forget();
        }
        match outcome {
            Err(why) if reload && !matches!(why, history::Error::Guarded(_)) => {
                if let Some(live) = &self.live {
                    self.damper.set(live.damping.clone());
                }
                return refuse(set, why.to_string());
            }
            outcome => {
                self.held = held;
                if let Some(news) = news {
                    self.published(if reload { "configuration" } else { "start" }, &news, outcome);
                } else if let Ok(commit) = outcome {
                    let (commit, changed, served) = (commit.snapshot.commit, commit.changed.len(), commit.snapshot.versions.len());
                    match (changed, served) {
                        (0, 0) if !set.missing.is_empty() => {}
                        (0, 0) => info!("nothing to serve yet"),
                        (0, _) => info!(commit, resources = served, "serving what was served before"),
                        (changed, _) => info!(commit, resources = changed, "published"),
                    }
                }
            }
        }
        self.report.declare(&set.feeds.declared, set.plan.folder.is_some());
        for (source, heard) in heard.iter().enumerate() {
            match heard {
                Some(Ok(at)) => self.report.observed(source, *at),
                Some(Err(why)) => self.report.refused(source, why),
                None => {}
            }
        }
        // A folder may well be filled later; a source that cannot be read is a mistake in the configuration.
        let nothing = !set.missing.is_empty() && self.publisher.current().versions.is_empty();
        let ready = set.missing.is_empty();
        let accepted = Accepted { broken, ready, nothing, demo: set.feeds.demo.clone() };
        if let Some(old) = self.live.replace(set) {
            discard(old);
        }
        self.due = None;
        if let Some(live) = self.live.as_mut().filter(|live| live.plan.folder.is_some()) {
            if all_files {
                live.from_folder = scan.read.iter().map(|read| read.id.clone()).chain(kept).collect();
                let wrong: Vec<String> = scan.broken.iter().map(|(file, why)| format!("{file}: {why}")).collect();
                self.report.folder(now, (!wrong.is_empty()).then(|| wrong.join("; ")));
                live.folder_broken = scan.broken;
            } else {
                live.from_folder = kept;
                self.folder(scan);
            }
        }
        if ready {
            self.report.set_ready();
        }
        let _ = answer.send(Ok(accepted));
    }
}

/// What is served of a resource whose file is of no use.
fn what_stays(publisher: &Publisher, id: &str) -> &'static str {
    let known = |id: ResourceId| publisher.current().versions.contains_key(&id);
    if id.parse().is_ok_and(known) { "its last good version stays" } else { "and there is no good version of it" }
}

/// Drops a set on a thread of its own: its feeds may just be waiting for room among the events, which this thread must go on to take.
fn discard(set: Set) {
    let dropper = thread::Builder::new().name("discard".into()).spawn(move || drop(set.feeds));
    if let Err(error) = dropper {
        warn!("the sources of the old configuration go on for nothing: {error}");
    }
}
