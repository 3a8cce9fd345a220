//! A configuration's feeds and what came of them: on the way in ([`Coming`], until every feed has spoken), then live ([`Set`]).
use super::{
    data::KnownSources,
    feed::{Feeds, Generation, News, Plan},
    folder,
    news::{describe, summary},
    pipeline::Accepted,
};
use alto::id::ResourceId;
use history::{Change, Commit, FolderId, Publisher};
use maps::{
    compute::{self, Computed, MapsPolicy},
    damping::Damping,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{self, AssertUnwindSafe},
    sync::{Arc, mpsc},
    time::{Duration, SystemTime},
};
use store::Store;
use topology::{
    fuse::Fuser,
    graph::{Graph, SourceIx},
    observation::{Observation, Oddity},
};
use tracing::{debug, info};

/// Feeds and what came of them.
pub struct Set {
    /// Which set.
    pub generation: Generation,
    /// What it was made of.
    pub plan: Plan,
    /// What to make of the graph.
    pub policy: Arc<MapsPolicy>,
    /// How its costs are damped.
    pub damping: Damping,
    /// How long sources must be quiet.
    pub settle: Duration,
    /// They end with the set.
    pub feeds: Feeds,
    /// Their views.
    pub fuser: Fuser,
    /// The last maps, published or held back by the guard.
    pub computed: Option<Arc<Computed>>,
    /// Sources that could not be read since the start: until they are, the maps that there were before it stay.
    pub missing: BTreeSet<usize>,
    /// Since the start no maps of these sources were published, and those of before it are of other ones.
    pub others: bool,
    /// What was odd in each source's input.
    pub oddities: Vec<Vec<Oddity>>,
    /// Resources that files of the folder brought.
    pub from_folder: BTreeSet<ResourceId>,
    /// What is wrong with the folder, by file.
    pub folder_broken: BTreeMap<String, String>,
    /// Resources whose files are gone, and which others still depend on.
    pub leaving: BTreeSet<ResourceId>,
    /// What of `waiting` and `leaving` was refused last and why, to say it once.
    pub refused: BTreeMap<ResourceId, String>,
    /// Documents that were refused by others they depend on, and may be taken once those have changed.
    pub waiting: BTreeMap<ResourceId, folder::Read>,
}

/// A set that has not heard from all of its feeds.
pub struct Coming {
    /// As it will be.
    pub set: Set,
    /// By source: when it was read, or what is wrong with it.
    pub heard: Vec<Option<Result<SystemTime, String>>>,
    /// What the folder has, once it was looked at.
    pub folder: Option<folder::Scan>,
    /// Whether it has to be looked at yet.
    pub folder_due: bool,
    /// Whoever asked for it waits here.
    pub answer: mpsc::SyncSender<Result<Accepted, String>>,
}

/// [`compute::compute`], of which not even a panic may end the thread: the last maps stay.
pub fn compute(graph: Arc<Graph>, policy: Arc<MapsPolicy>, previous: Option<&Computed>) -> Result<Computed, String> {
    let attempt = panic::catch_unwind(AssertUnwindSafe(|| compute::compute(graph, policy, previous)));
    match attempt {
        Ok(result) => result.map_err(|why| why.to_string()),
        // The panic has been printed with its place; nothing of the attempt is kept.
        Err(_) => Err("internal error while computing, please report it".into()),
    }
}

/// The change that a document of the folder is.
pub fn file_change(folder: &FolderId, read: &folder::Read) -> Change {
    Change::File { id: read.id.clone(), folder: folder.clone(), digest: read.digest.clone(), document: read.document.clone() }
}

impl Coming {
    /// Takes what a feed says.
    pub fn hear(&mut self, news: News) {
        match news {
            News::Source { source, outcome, at } => {
                self.heard[usize::from(source.0)] = Some(match outcome {
                    Ok(seen) => {
                        self.set.observe(source, seen, at);
                        Ok(at)
                    }
                    Err(why) => {
                        self.set.fuser.trouble(source, why.clone());
                        Err(why)
                    }
                });
            }
            News::Step { observations, until, at, .. } => {
                for (source, seen) in observations {
                    self.heard[usize::from(source.0)] = Some(Ok(at));
                    self.set.observe(source, seen, at);
                }
                self.set.hold_replay(until);
            }
            News::Folder(scan) => {
                self.folder_due = false;
                match &mut self.folder {
                    None => self.folder = Some(scan),
                    Some(known) => {
                        known.read.retain(|read| !scan.gone.contains(&read.id) && !scan.has(&read.id));
                        known.read.extend(scan.read);
                        known.broken = scan.broken;
                    }
                }
            }
        }
    }

    /// Whether every feed has spoken.
    pub fn complete(&self) -> bool {
        !self.folder_due && self.heard.iter().all(Option::is_some)
    }

    /// The inputs that cannot be read, in words.
    pub fn broken(&self) -> Vec<String> {
        let sources = self.set.feeds.declared.iter().zip(&self.heard).filter_map(|(source, heard)| match heard {
            Some(Err(why)) => Some(format!("source {}: {why}", source.name)),
            _ => None,
        });
        let folder = self.folder.iter().flat_map(|scan| &scan.broken).map(|(file, why)| format!("maps folder: {file}: {why}"));
        sources.chain(folder).collect()
    }
}

/// What became of a folder's changes.
#[derive(Default)]
pub struct FolderOutcome {
    /// One, or where not all could be taken together, several.
    pub commits: Vec<Commit>,
    /// What has to wait, and why.
    pub refused: BTreeMap<ResourceId, String>,
}

impl Set {
    /// Takes the new view of a source.
    pub fn observe(&mut self, source: SourceIx, seen: Observation, at: SystemTime) {
        let ix = usize::from(source.0);
        let name = &self.feeds.declared[ix].name;
        if self.oddities[ix] != seen.oddities {
            for odd in &seen.oddities {
                debug!("source {name}: {}: {}", odd.place, odd.what);
            }
            // What is odd in a demo is told in its data's README.
            if ix < self.plan.sources.len()
                && let Some(odd) = seen.oddities.first()
            {
                let more = match seen.oddities.len() - 1 {
                    0 => String::new(),
                    more => format!(" (and {more} more, see --log debug)"),
                };
                info!("source {name}: tolerated: {}: {}{more}", odd.place, odd.what);
            }
            self.oddities[ix].clone_from(&seen.oddities);
        }
        self.fuser.observe(source, seen, at);
    }

    /// What a replay shows holds until its next step: the ages that its routers told once say nothing of it.
    pub fn hold_replay(&mut self, until: Option<SystemTime>) {
        for ix in self.plan.sources.len()..self.feeds.declared.len() {
            self.fuser.set_valid_until(SourceIx(ix as u16), until);
        }
    }

    /// Another policy for the same feeds: what to publish and what is new in it; on error everything is as before.
    pub fn set_policy(&mut self, policy: Arc<MapsPolicy>, now: SystemTime) -> Result<Option<(String, Arc<Computed>)>, String> {
        if *self.policy == *policy || !self.plan.computes() || !self.missing.is_empty() {
            self.policy = policy;
            return Ok(None);
        }
        let computed = Arc::new(compute(self.fuser.graph(now), policy.clone(), self.computed.as_deref())?);
        let news = self.computed.as_ref().map_or_else(|| summary(&computed), |last| describe(last, &computed));
        Ok(Some((news, computed)))
    }

    /// Maps of these sources are published now.
    pub fn are_known(&mut self, store: Option<&dyn Store>) {
        self.others = false;
        KnownSources::of(&self.plan).remember(store);
    }

    /// Takes what a look at the folder brought; [`Set::publish_folder`] publishes it.
    pub fn take_scan(&mut self, scan: folder::Scan) {
        for id in scan.gone {
            self.waiting.remove(&id);
            if self.from_folder.remove(&id) {
                self.leaving.insert(id);
            }
        }
        // What a file said before it broke is not what it is meant to say.
        self.waiting.retain(|id, _| !scan.broken.contains_key(&format!("{id}.json")));
        for read in scan.read {
            self.leaving.remove(&read.id);
            self.waiting.insert(read.id.clone(), read);
        }
        self.folder_broken = scan.broken;
    }

    /// Whether something of the folder could not be published yet.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.leaving.is_empty()
    }

    /// Publishes what changed in the folder: together, or where that is refused, each document that can go alone.
    pub fn publish_folder(&mut self, publisher: &Publisher, now: SystemTime) -> FolderOutcome {
        let mut outcome = FolderOutcome::default();
        let Some(folder) = self.plan.folder_id().filter(|_| self.has_waiting()) else { return outcome };
        let gone = |id: &ResourceId| Change::FileGone { id: id.clone(), folder: Some(folder.clone()) };
        let all = self.leaving.iter().map(gone).chain(self.waiting.values().map(|read| file_change(&folder, read))).collect();
        if let Ok(commit) = publisher.apply(all, now, false) {
            self.leaving.clear();
            self.from_folder.extend(std::mem::take(&mut self.waiting).into_keys());
            outcome.commits.push(commit);
            return outcome;
        }
        // Each alone, again and again while one gets through: others may depend on it.
        loop {
            let before = self.waiting.len() + self.leaving.len();
            outcome.refused.clear();
            for (id, read) in std::mem::take(&mut self.waiting) {
                match publisher.apply(vec![file_change(&folder, &read)], now, false) {
                    Ok(commit) => {
                        outcome.commits.push(commit);
                        self.from_folder.insert(id);
                    }
                    Err(why) => {
                        outcome.refused.insert(id.clone(), why.to_string());
                        self.waiting.insert(id, read);
                    }
                }
            }
            for id in std::mem::take(&mut self.leaving) {
                match publisher.apply(vec![gone(&id)], now, false) {
                    Ok(commit) => outcome.commits.push(commit),
                    Err(why) => {
                        outcome.refused.insert(id.clone(), format!("cannot be withdrawn: {why}"));
                        self.leaving.insert(id);
                    }
                }
            }
            if [0, before].contains(&(self.waiting.len() + self.leaving.len())) {
                return outcome;
            }
        }
    }
}
