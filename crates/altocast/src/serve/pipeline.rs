//! From what feeds say to what is published: fuse, wait until it is quiet, compute, commit.
//!
//! One thread owns all of it. Invariants: nothing is published before every feed of a set has spoken once; a new configuration takes
//! over whole or not at all; whatever cannot be read, computed or published leaves in place what was.
use super::{
    feed::{Declared, Feeds, Generation, News, Plan},
    folder,
    news::{describe, summary},
    report::Report,
};
use crate::config::Config;
use alto::id::ResourceId;
use history::{Change, Commit, Publisher};
use maps::compute::{Computed, MapsPolicy, compute};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant, SystemTime},
};
use topology::{fuse::Fuser, graph::SourceIx, observation::Observation};
use tracing::{error, info, warn};

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
    /// Whether anything could be read.
    pub anything: bool,
    /// Title and examples of the demo, where one plays.
    pub demo: Option<(String, [&'static str; 3])>,
}

/// Where events wait. 64: feeds speak seldom, and one that finds no room waits.
const EVENTS_MAX: usize = 64;
/// Sources that never rest do not hold back the maps for longer than so many times the settling time.
const SETTLE_FACTOR_MAX: u32 = 10;
/// How often a source's age is looked at.
const AGE_LOOK: Duration = Duration::from_secs(1);

/// Starts the thread; it ends when nobody holds the sender any more and no feed speaks.
pub fn start(publisher: Arc<Publisher>, report: Arc<Report>) -> std::io::Result<mpsc::SyncSender<Event>> {
    let (sender, events) = mpsc::sync_channel(EVENTS_MAX);
    let pipeline = Pipeline { publisher, report, events: sender.clone(), next: 0, live: None, coming: None, due: None };
    thread::Builder::new().name("maps".into()).spawn(move || pipeline.run(&events))?;
    Ok(sender)
}

struct Pipeline {
    publisher: Arc<Publisher>,
    report: Arc<Report>,
    events: mpsc::SyncSender<Event>,
    next: u32,
    live: Option<Set>,
    coming: Option<Coming>,
    due: Option<Due>,
}

/// When to compute.
struct Due {
    first: Instant,
    last: Instant,
    label: String,
}

/// Feeds and what came of them.
struct Set {
    generation: Generation,
    plan: Plan,
    policy: Arc<MapsPolicy>,
    settle: Duration,
    feeds: Feeds,
    fuser: Fuser,
    computed: Option<Arc<Computed>>,
    /// Resources that files of the folder brought.
    from_folder: BTreeSet<ResourceId>,
    /// What is wrong with the folder, by file.
    folder_broken: BTreeMap<String, String>,
    /// What of `waiting` was refused last and why, to say it once.
    refused: BTreeMap<ResourceId, String>,
    /// Documents that were refused by others they depend on, and may be taken once those have changed.
    waiting: BTreeMap<ResourceId, folder::Read>,
}

/// A set that has not heard from all of its feeds.
struct Coming {
    set: Set,
    heard: Vec<bool>,
    folder: Option<folder::Scan>,
    folder_due: bool,
    broken: Vec<String>,
    answer: mpsc::SyncSender<Result<Accepted, String>>,
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
        }
    }

    /// How long to wait for the next event.
    fn patience(&self) -> Duration {
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
            coming.hear(news, &self.report);
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
                        live.observe(source, seen, at, &self.report);
                        self.settle(format!("source {name}"));
                    }
                    Err(why) => {
                        warn!("source {name} cannot be used, its last good data stays: {why}");
                        live.fuser.trouble(source, why.clone());
                        self.report.refused(usize::from(source.0), &why);
                        self.settle(format!("source {name}"));
                    }
                }
            }
            News::Step { label, observations, at } => {
                for (source, seen) in observations {
                    live.observe(source, seen, at, &self.report);
                }
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
        let Some(live) = &mut self.live else { return };
        let now = SystemTime::now();
        let graph = live.fuser.graph(now);
        if live.computed.as_ref().is_some_and(|last| Arc::ptr_eq(&last.graph, &graph)) {
            return;
        }
        let computed = match compute(graph, live.policy.clone(), live.computed.as_deref()) {
            Ok(computed) => Arc::new(computed),
            Err(why) => {
                error!("{label}: no new maps, the last ones stay: {why}");
                self.report.trouble("maps", Some(why.to_string()));
                return;
            }
        };
        let news = live.computed.as_ref().map_or_else(|| summary(&computed), |last| describe(last, &computed));
        let outcome = self.publisher.apply(vec![Change::Computed(Some(computed.clone()))], now, false);
        live.computed = Some(computed);
        self.published(label, &news, outcome);
        self.retry_waiting();
    }

    fn published(&self, label: &str, news: &str, outcome: Result<Commit, history::Error>) {
        match outcome {
            Ok(commit) => {
                self.report.trouble("maps", None);
                let resources = commit.changed.len();
                match (news.is_empty(), resources) {
                    (true, 0) => tracing::debug!("{label}: no change"),
                    (true, _) => info!(commit = commit.snapshot.commit, resources, "{label}: new versions"),
                    (false, _) => info!(commit = commit.snapshot.commit, resources, "{label}: {news}"),
                }
            }
            Err(why @ history::Error::Guarded(_)) => {
                warn!("{label}: held back by the change guard: {why}; `POST /v1/guard/confirm` on the admin listener lets it through");
                self.report.trouble("maps", Some(format!("held back by the change guard: {why}")));
            }
            Err(why) => {
                error!("{label}: not published, what was there stays: {why}");
                self.report.trouble("maps", Some(why.to_string()));
            }
        }
    }

    /// Publishes what changed in the folder: all of it together, or where that is refused, each document that can go alone.
    fn folder(&mut self, scan: folder::Scan) {
        let Some(live) = &mut self.live else { return };
        let now = SystemTime::now();
        for (file, why) in &scan.broken {
            if live.folder_broken.get(file) != Some(why) {
                warn!("maps folder: {file} cannot be used, its last good version stays: {why}");
            }
        }
        live.folder_broken = scan.broken;
        for id in &scan.gone {
            live.waiting.remove(id);
        }
        for read in scan.read {
            live.waiting.insert(read.id.clone(), read);
        }
        let gone: Vec<Change> =
            scan.gone.iter().filter(|id| live.from_folder.remove(*id)).map(|id| Change::FileGone { id: id.clone() }).collect();
        self.folder_changes(gone, now);
    }

    /// Documents that waited for others get another chance once something changed.
    fn retry_waiting(&mut self) {
        if self.live.as_ref().is_some_and(|live| !live.waiting.is_empty()) {
            self.folder_changes(Vec::new(), SystemTime::now());
        }
    }

    fn folder_changes(&mut self, gone: Vec<Change>, now: SystemTime) {
        let Some(live) = &mut self.live else { return };
        let outcome = live.publish_folder(&self.publisher, gone, now);
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
        let refused: BTreeMap<ResourceId, String> = outcome.refused.into_iter().collect();
        for (id, why) in &refused {
            if live.refused.get(id) != Some(why) {
                warn!("maps folder: {id}.json is refused, the last good version stays: {why}");
            }
        }
        live.refused = refused;
        let mut wrong: Vec<String> = live.folder_broken.iter().map(|(file, why)| format!("{file}: {why}")).collect();
        wrong.extend(live.refused.iter().map(|(id, why)| format!("{id}.json: {why}")));
        self.report.folder(now, (!wrong.is_empty()).then(|| wrong.join("; ")));
    }

    fn configure(&mut self, config: &Config, answer: mpsc::SyncSender<Result<Accepted, String>>) {
        let plan = Plan::of(config);
        let policy = Arc::new(config.maps_policy());
        let settle = config.maps.settle_seconds.0;
        if let Some(live) = self.live.as_mut().filter(|live| live.plan == plan) {
            let outcome = live.set_policy(policy, &self.publisher);
            if let Ok(news) = &outcome {
                live.settle = settle;
                if let Some((news, outcome)) = news {
                    info!(resources = outcome.changed.len(), "configuration: {news}");
                }
            }
            let accepted = outcome.map(|_| Accepted { broken: Vec::new(), anything: true, demo: live.feeds.demo.clone() });
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
        if self.live.is_none() {
            self.report.declare(&feeds.declared, plan.folder.is_some());
        }
        let coming = Coming {
            heard: vec![false; feeds.declared.len()],
            folder: None,
            folder_due: plan.folder.is_some(),
            broken: Vec::new(),
            answer,
            set: Set {
                generation,
                plan,
                policy,
                settle,
                feeds,
                fuser,
                computed: None,
                from_folder: BTreeSet::new(),
                folder_broken: BTreeMap::new(),
                refused: BTreeMap::new(),
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
        let Some(Coming { mut set, folder, broken, answer, heard, .. }) = self.coming.take() else { return };
        let reload = self.live.is_some();
        let scan = folder.unwrap_or_default();
        let refuse = |set: Set, why: String| {
            let _ = answer.send(Err(why));
            discard(set);
        };
        if reload && !broken.is_empty() {
            return refuse(set, broken.join("; "));
        }
        let now = SystemTime::now();
        let mut news = None;
        if set.plan.computes() {
            let last = self.live.as_ref().and_then(|live| live.computed.clone());
            match compute(set.fuser.graph(now), set.policy.clone(), None) {
                Ok(computed) => {
                    news = Some(last.map_or_else(|| summary(&computed), |last| describe(&last, &computed)));
                    set.computed = Some(Arc::new(computed));
                }
                Err(why) if reload => return refuse(set, why.to_string()),
                Err(why) => {
                    error!("no maps: {why}");
                    self.report.trouble("maps", Some(why.to_string()));
                }
            }
        }
        let mut changes = vec![Change::Computed(set.computed.clone())];
        let mut old_files = self.live.as_ref().map(|live| live.from_folder.clone()).unwrap_or_default();
        old_files.retain(|id| !scan.read.iter().any(|read| read.id == *id));
        changes.extend(old_files.into_iter().map(|id| Change::FileGone { id }));
        // One commit where that is possible: nobody sees the half of a configuration.
        let files: Vec<Change> = scan.read.iter().map(file_change).collect();
        let whole = self.publisher.apply(changes.iter().cloned().chain(files).collect(), now, false);
        let all_files = whole.is_ok();
        let outcome = if all_files { whole } else { self.publisher.apply(changes, now, false) };
        match outcome {
            Err(why) if reload && !matches!(why, history::Error::Guarded(_)) => return refuse(set, why.to_string()),
            outcome => {
                if let Some(news) = news {
                    self.published(if reload { "configuration" } else { "start" }, &news, outcome);
                } else if let Ok(commit) = outcome {
                    info!(commit = commit.snapshot.commit, resources = commit.changed.len(), "published");
                }
            }
        }
        self.report.declare(&set.feeds.declared, set.plan.folder.is_some());
        // A folder may well be filled later; a source that cannot be read is a mistake in the configuration.
        let good = heard.len() - broken.iter().filter(|line| line.starts_with("source ")).count();
        let anything = broken.is_empty() || good > 0 || set.plan.folder.is_some();
        let accepted = Accepted { broken, anything, demo: set.feeds.demo.clone() };
        if let Some(old) = self.live.replace(set) {
            discard(old);
        }
        self.due = None;
        if let Some(live) = self.live.as_mut().filter(|live| live.plan.folder.is_some()) {
            if all_files {
                live.from_folder = scan.read.iter().map(|read| read.id.clone()).collect();
                let wrong: Vec<String> = scan.broken.iter().map(|(file, why)| format!("{file}: {why}")).collect();
                self.report.folder(now, (!wrong.is_empty()).then(|| wrong.join("; ")));
                live.folder_broken = scan.broken;
            } else {
                self.folder(scan);
            }
        }
        self.report.set_ready();
        let _ = answer.send(Ok(accepted));
    }
}

/// Drops a set on a thread of its own: its feeds may just be waiting for room among the events, which this thread must go on to take.
fn discard(set: Set) {
    let dropper = thread::Builder::new().name("discard".into()).spawn(move || drop(set.feeds));
    if let Err(error) = dropper {
        warn!("the sources of the old configuration go on for nothing: {error}");
    }
}

fn file_change(read: &folder::Read) -> Change {
    Change::File { id: read.id.clone(), digest: read.digest.clone(), document: read.document.clone() }
}

impl Coming {
    fn hear(&mut self, news: News, report: &Report) {
        match news {
            News::Source { source, outcome, at } => {
                let at_ix = usize::from(source.0);
                let name = &self.set.feeds.declared[at_ix].name;
                self.broken.retain(|line| !line.starts_with(&format!("source {name}: ")));
                match outcome {
                    Ok(seen) => self.set.observe(source, seen, at, report),
                    Err(why) => {
                        self.broken.push(format!("source {name}: {why}"));
                        report.refused(at_ix, &why);
                        self.set.fuser.trouble(source, why);
                    }
                }
                self.heard[at_ix] = true;
            }
            News::Step { observations, at, .. } => {
                for (source, seen) in observations {
                    self.heard[usize::from(source.0)] = true;
                    self.set.observe(source, seen, at, report);
                }
            }
            News::Folder(scan) => {
                self.folder_due = false;
                match &mut self.folder {
                    None => self.folder = Some(scan),
                    Some(known) => {
                        known.read.retain(|read| !scan.gone.contains(&read.id) && !scan.read.iter().any(|new| new.id == read.id));
                        known.read.extend(scan.read);
                        known.broken = scan.broken;
                    }
                }
                let scan = self.folder.as_ref().expect("it was just set");
                self.broken.retain(|line| !line.starts_with("maps folder: "));
                self.broken.extend(scan.broken.iter().map(|(file, why)| format!("maps folder: {file}: {why}")));
            }
        }
    }

    fn complete(&self) -> bool {
        !self.folder_due && self.heard.iter().all(|heard| *heard)
    }
}

/// What became of a folder's changes.
#[derive(Default)]
struct FolderOutcome {
    commits: Vec<Commit>,
    refused: Vec<(ResourceId, String)>,
}

impl Set {
    fn observe(&mut self, source: SourceIx, seen: Observation, at: SystemTime, report: &Report) {
        for odd in &seen.oddities {
            tracing::debug!("source {}: {}: {}", self.feeds.declared[usize::from(source.0)].name, odd.place, odd.what);
        }
        self.fuser.observe(source, seen, at);
        report.observed(usize::from(source.0), at);
    }

    /// Another policy for the same feeds; on error everything is as before.
    fn set_policy(&mut self, policy: Arc<MapsPolicy>, publisher: &Publisher) -> Result<Option<(String, Commit)>, String> {
        if *self.policy == *policy || !self.plan.computes() {
            self.policy = policy;
            return Ok(None);
        }
        let now = SystemTime::now();
        let computed = compute(self.fuser.graph(now), policy.clone(), self.computed.as_deref()).map_err(|why| why.to_string())?;
        let computed = Arc::new(computed);
        let commit = publisher.apply(vec![Change::Computed(Some(computed.clone()))], now, false).map_err(|why| why.to_string())?;
        let news = self.computed.as_ref().map_or_else(|| summary(&computed), |last| describe(last, &computed));
        self.policy = policy;
        self.computed = Some(computed);
        Ok(Some((news, commit)))
    }

    fn publish_folder(&mut self, publisher: &Publisher, gone: Vec<Change>, now: SystemTime) -> FolderOutcome {
        let mut outcome = FolderOutcome::default();
        if gone.is_empty() && self.waiting.is_empty() {
            return outcome;
        }
        let all = gone.iter().cloned().chain(self.waiting.values().map(file_change)).collect();
        if let Ok(commit) = publisher.apply(all, now, false) {
            self.from_folder.extend(std::mem::take(&mut self.waiting).into_keys());
            outcome.commits.push(commit);
            return outcome;
        }
        for change in gone {
            match publisher.apply(vec![change.clone()], now, false) {
                Ok(commit) => outcome.commits.push(commit),
                Err(why) => {
                    if let Change::FileGone { id } = change {
                        outcome.refused.push((id, why.to_string()));
                    }
                }
            }
        }
        // Each alone, again and again while one gets through: others may depend on it.
        loop {
            let before = self.waiting.len();
            outcome.refused.retain(|(id, _)| !self.waiting.contains_key(id));
            for (id, read) in std::mem::take(&mut self.waiting) {
                match publisher.apply(vec![file_change(&read)], now, false) {
                    Ok(commit) => {
                        outcome.commits.push(commit);
                        self.from_folder.insert(id);
                    }
                    Err(why) => {
                        outcome.refused.push((id.clone(), why.to_string()));
                        self.waiting.insert(id, read);
                    }
                }
            }
            if self.waiting.is_empty() || self.waiting.len() == before {
                return outcome;
            }
        }
    }
}
