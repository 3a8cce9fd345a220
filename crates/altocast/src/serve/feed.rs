//! What feeds the maps: one thread per source, per maps folder and per replay, each saying what it sees in events.
//!
//! Invariant: every feed speaks once soon after it starts, whatever it finds; dropping it ends its thread.
use super::folder::{self, Folder};
use crate::{
    config::{Config, sections::SourceSection, setting::DemoNetwork},
    demo,
};
use history::FolderId;
use std::{
    path::{self, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, SystemTime},
};
use topology::{
    graph::SourceIx,
    observation::Observation,
    sources::{SourceKind, file},
};

/// Which set of feeds an event is of: a reload replaces the set, and what the old one still had to say is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation(pub u32);

/// What the maps are made of, as configured: the part of the configuration whose change needs new feeds.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// `[[source]]`
    pub sources: Vec<SourceSection>,
    /// The demo to play, decided: never `auto`.
    pub demo: DemoNetwork,
    /// Time between its steps.
    pub interval: Duration,
    /// Folder of documents.
    pub folder: Option<PathBuf>,
}

/// A source as the fuser and the operator know it.
#[derive(Debug, Clone)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// What it reads.
    pub kind: SourceKind,
    /// Higher wins.
    pub precedence: i32,
    /// Overdue when older.
    pub max_age: Option<Duration>,
}

/// Something happened to an input.
#[derive(Debug)]
pub enum News {
    /// A source was read, or could not be.
    Source {
        /// Which.
        source: SourceIx,
        /// Its view, or what is wrong.
        outcome: Result<Observation, String>,
        /// When.
        at: SystemTime,
    },
    /// A replay moved: several sources at once, to be seen together.
    Step {
        /// For the log.
        label: String,
        /// Who says what.
        observations: Vec<(SourceIx, Observation)>,
        /// When the next comes, if there is one: until then all of the replay's sources hold.
        until: Option<SystemTime>,
        /// When.
        at: SystemTime,
    },
    /// The maps folder changed, or was looked at for the first time.
    Folder(folder::Scan),
}

impl Plan {
    /// Of a configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            sources: config.sources.clone(),
            demo: config.demo_network(),
            interval: config.demo.interval_seconds.0,
            folder: config.maps.folder.clone(),
        }
    }

    /// Names the folder of documents. As the operator names it: where a link in the path leads may change with each release of the maps.
    pub fn folder_id(&self) -> Option<FolderId> {
        self.folder.as_ref().map(|folder| FolderId::of(&path::absolute(folder).unwrap_or_else(|_| folder.clone())))
    }

    /// Whether maps are computed at all (a folder alone brings its own).
    pub fn computes(&self) -> bool {
        !self.sources.is_empty() || self.demo != DemoNetwork::Off
    }
}

/// The running feeds of a plan.
pub struct Feeds {
    /// Their sources, by [`SourceIx`].
    pub declared: Vec<Declared>,
    /// For the start message: title and examples of the demo.
    pub demo: Option<(String, [&'static str; 4])>,
    _watches: Vec<file::Watch>,
    _folder: Option<Stopper>,
    _replay: Option<Stopper>,
}

/// Ends a thread when dropped: the thread waits on the other end.
pub struct Stopper {
    _sender: mpsc::Sender<()>,
}

/// The other end of a [`Stopper`].
pub struct Stop(mpsc::Receiver<()>);

impl Stopper {
    /// Both ends.
    pub fn new() -> (Self, Stop) {
        let (sender, receiver) = mpsc::channel();
        (Self { _sender: sender }, Stop(receiver))
    }
}

impl Stop {
    /// Sleeps; `true` when it is time to end.
    pub fn wait(&self, time: Duration) -> bool {
        !matches!(self.0.recv_timeout(time), Err(mpsc::RecvTimeoutError::Timeout))
    }
}

/// How often the maps folder is looked at.
const FOLDER_POLL: Duration = Duration::from_millis(500);

impl Feeds {
    /// Starts the feeds of a plan; `say` is called on their threads.
    pub fn start(plan: &Plan, say: impl Fn(News) + Send + Clone + 'static) -> std::io::Result<Self> {
        let mut declared: Vec<Declared> = plan
            .sources
            .iter()
            .map(|source| Declared {
                name: source.label().into(),
                kind: source.source_kind(),
                precedence: source.precedence,
                max_age: source.max_age_seconds.map(|age| age.0),
            })
            .collect();
        let mut watches = Vec::new();
        for (source, ix) in plan.sources.iter().zip(0..) {
            let say = say.clone();
            watches.push(file::watch(source.file_source(), source.poll_seconds.0, move |outcome| {
                let outcome = outcome.map_err(|error| error.to_string());
                say(News::Source { source: SourceIx(ix), outcome, at: SystemTime::now() });
            })?);
        }
        let folder = match &plan.folder {
            Some(path) => {
                let (stopper, stop) = Stopper::new();
                let (mut folder, say) = (Folder::new(path.clone()), say.clone());
                thread::Builder::new().name("watch folder".into()).spawn(move || {
                    say(News::Folder(folder.look(true).unwrap_or_default()));
                    while !stop.wait(FOLDER_POLL) {
                        if let Some(scan) = folder.look(false) {
                            say(News::Folder(scan));
                        }
                    }
                })?;
                Some(stopper)
            }
            None => None,
        };
        let mut demo = None;
        let replay = match plan.demo {
            DemoNetwork::Auto | DemoNetwork::Off => None,
            network => {
                let replay = demo::replay(network).expect("it is neither of the two that are no network");
                let first = u16::try_from(declared.len()).expect("a configuration has far fewer than 65,536 sources");
                declared.extend(replay.sources().into_iter().map(|source| Declared {
                    name: source.name.into(),
                    kind: source.kind,
                    precedence: source.precedence,
                    max_age: None,
                }));
                demo = Some((replay.title(), replay.examples()));
                Some(play(replay, first, plan.interval, say)?)
            }
        };
        Ok(Self { declared, demo, _watches: watches, _folder: folder, _replay: replay })
    }
}

/// Plays a replay in a circle. Sources are numbered from `first`.
fn play(
    mut replay: Box<dyn demo::Replay>,
    first: u16,
    interval: Duration,
    say: impl Fn(News) + Send + 'static,
) -> std::io::Result<Stopper> {
    let (stopper, stop) = Stopper::new();
    thread::Builder::new().name("demo".into()).spawn(move || {
        let steps = replay.steps();
        let mut at = 0;
        let mut start = true;
        loop {
            let step = replay.step(at, start);
            let observations = step.observations.into_iter().map(|(source, seen)| (SourceIx(first + source as u16), seen)).collect();
            let now = SystemTime::now();
            let until = if steps > 1 { now.checked_add(interval) } else { None };
            say(News::Step { label: format!("demo {}/{steps} {}", at + 1, step.label), observations, until, at: now });
            start = false;
            if steps == 1 {
                // Nothing more to say, but the thread is the source's: it ends with it.
                while !stop.wait(Duration::from_secs(3600)) {}
                return;
            }
            if stop.wait(interval) {
                return;
            }
            at = (at + 1) % steps;
        }
    })?;
    Ok(stopper)
}
