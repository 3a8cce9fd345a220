//! A publisher over a disk that fails and loses power, with readers who come, go and are slow.
//!
//! Checked after every step: what [`crate::ledger`] says; that a commit that fails changes nothing; that a reader only goes forward, is never
//! stuck, and skips no version without a full copy. At the end everybody has what is served. Times are simulated seconds.
use crate::{
    ledger::{Ledger, apply, view_of},
    world,
};
use alto::id::ResourceId;
use fastrand::Rng;
use history::{Accepts, Cursor, Error, Guard, Limits, Publisher, Seq, Start};
use serde_json::Value;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use store::{Memory, Store, simulated::Disk};

/// Steps of one run.
const STEPS: usize = 60;

/// What a run did, so that a test can see that it did something.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Commits that were acknowledged.
    pub commits: u32,
    /// Commits that were refused for what they asked.
    pub refused: u32,
    /// Commits that failed with the disk.
    pub failed: u32,
    /// Lives of the process after the first.
    pub restarts: u32,
    /// Items that readers took.
    pub items: u32,
    /// Of these, patches.
    pub patches: u32,
}

impl Tally {
    /// Takes another run in.
    pub fn add(&mut self, other: &Self) {
        self.commits += other.commits;
        self.refused += other.refused;
        self.failed += other.failed;
        self.restarts += other.restarts;
        self.items += other.items;
        self.patches += other.patches;
    }
}

/// What outlives a life.
enum Medium {
    /// An engine's file on a disk that may fail.
    Disk(Disk),
    /// A perfect one, thirty times as fast: for runs that are about histories and readers.
    Memory(Arc<Memory>),
}

/// The same memory in another life.
pub(crate) struct Lent(pub(crate) Arc<Memory>);

/// A client's copy of one resource.
struct Reader {
    resource: ResourceId,
    accepts: Accepts,
    cursor: Option<Cursor>,
    have: Option<(Box<str>, Seq, Value)>,
}

/// One run. Panics when a promise is broken.
pub fn run(seed: u64) -> Tally {
    let mut random = Rng::with_seed(seed);
    let limits = Limits {
        versions_max: random.usize(1..24),
        age_max: Duration::from_secs(random.u64(5..200)),
        bytes_max: random.usize(2_000..200_000),
        ..Limits::default()
    };
    let mut life = Life {
        limits,
        medium: if seed.is_multiple_of(4) { Medium::Disk(Disk::default()) } else { Medium::Memory(Arc::default()) },
        publisher: None,
        ledger: Ledger::default(),
        readers: Vec::new(),
        resources: world::resources().collect(),
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
        in_doubt: false,
        tally: Tally::default(),
        random,
    };
    life.start();
    life.commit(true);
    for _ in 0..STEPS {
        life.step();
    }
    life.restart();
    life.settle();
    life.tally
}

struct Life {
    limits: Limits,
    medium: Medium,
    publisher: Option<Publisher>,
    ledger: Ledger,
    readers: Vec<Reader>,
    resources: Vec<ResourceId>,
    now: SystemTime,
    /// A write failed in this life: what is on the disk of it, nobody knows.
    in_doubt: bool,
    tally: Tally,
    random: Rng,
}

impl Life {
    fn publisher(&self) -> &Publisher {
        self.publisher.as_ref().expect("it is started")
    }

    fn step(&mut self) {
        self.now = match self.random.u8(..30) {
            // A clock that is set back must harm nothing.
            0 => self.now - Duration::from_secs(self.random.u64(1..100)),
            _ => self.now + Duration::from_millis(self.random.u64(1..5_000)),
        };
        match self.random.u8(..40) {
            0 => self.restart(),
            1 => {
                let steps = self.random.u64(..12);
                self.fail_after(Some(steps));
            }
            2 => self.fail_after(None),
            3..=5 => self.reader(),
            6..=20 => self.read(1),
            21 => self.ledger_graph(),
            _ => self.commit(false),
        }
    }

    fn fail_after(&self, steps: Option<u64>) {
        if let Medium::Disk(disk) = &self.medium {
            disk.fail_after(steps);
        }
    }

    fn start(&mut self) {
        let store: Arc<dyn Store> = match &self.medium {
            Medium::Disk(disk) => Arc::new(disk.open().expect("a disk that works again opens, whatever happened before")),
            Medium::Memory(memory) => Arc::new(Lent(memory.clone())),
        };
        let publisher = Publisher::with_store(self.limits.clone(), Guard::default(), store, self.now);
        self.publisher = Some(publisher.expect("what was written is taken up again").without_thread());
    }

    /// By kill -9 or by a power cut.
    fn restart(&mut self) {
        self.tally.restarts += 1;
        for reader in &mut self.readers {
            reader.cursor = None;
        }
        self.publisher = None;
        let crash = self.random.bool().then(|| self.random.u64(..));
        match (&self.medium, crash) {
            (Medium::Disk(disk), Some(seed)) => disk.crash(seed),
            (Medium::Disk(disk), None) => disk.kill(),
            (Medium::Memory(_), _) => {}
        }
        self.fail_after(None);
        self.start();
        let publisher = self.publisher.as_ref().expect("it was started");
        self.ledger.came_back(publisher, self.in_doubt);
        self.in_doubt = false;
        self.ledger.look(publisher, &self.resources);
    }

    fn commit(&mut self, first: bool) {
        let changes = if first { world::first(&mut self.random) } else { world::commit(&mut self.random) };
        let before = self.publisher().current();
        match self.publisher().apply(changes, self.now, false) {
            Ok(_) => {
                self.tally.commits += 1;
            }
            Err(error) => {
                let failed = matches!(error, Error::NotKept(_));
                self.in_doubt |= failed;
                *(if failed { &mut self.tally.failed } else { &mut self.tally.refused }) += 1;
                assert!(Arc::ptr_eq(&before, &self.publisher().current()), "what fails changes nothing: {error}");
            }
        }
        let publisher = self.publisher.as_ref().expect("it is started");
        self.ledger.look(publisher, &self.resources);
    }

    /// One comes or goes.
    fn reader(&mut self) {
        if self.readers.len() > 6 {
            let leaver = self.random.usize(..self.readers.len());
            self.readers.swap_remove(leaver);
        }
        let resource = self.resources[self.random.usize(..self.resources.len())].clone();
        let accepts = Accepts { merge: self.random.u8(..4) > 0, json: self.random.bool() };
        self.readers.push(Reader { resource, accepts, cursor: None, have: None });
    }

    /// Some readers take at most `items` each.
    fn read(&mut self, items: usize) {
        let mut readers = std::mem::take(&mut self.readers);
        for reader in &mut readers {
            if items == 1 && self.random.u8(..3) == 0 {
                continue;
            }
            for _ in 0..items {
                if !self.take(reader) {
                    break;
                }
            }
        }
        self.readers = readers;
    }

    fn take(&mut self, reader: &mut Reader) -> bool {
        if reader.cursor.as_ref().is_some_and(|cursor| cursor.view().is_closed()) {
            reader.cursor = None;
        }
        if reader.cursor.is_none() {
            if !self.publisher().current().versions.contains_key(&reader.resource) {
                return false;
            }
            let view = view_of(self.publisher(), &reader.resource);
            // By number or by tag where it has something of this very view, as after a reconnect.
            let start = match &reader.have {
                Some((id, seq, _)) if **id == *view.id().as_str() => Start::Seq(*seq),
                _ => Start::Nothing,
            };
            reader.cursor = Some(view.cursor(start));
        }
        let cursor = reader.cursor.as_mut().expect("it was given one");
        let before = cursor.at();
        let Some(item) = cursor.next(reader.accepts) else {
            assert!(cursor.is_current(), "a reader is never stuck");
            return false;
        };
        self.tally.items += 1;
        assert!(item.to > before, "forward only");
        let mut copy = match (&reader.have, item.is_snapshot()) {
            (_, true) => Value::Null,
            (Some((_, seq, copy)), false) => {
                assert_eq!(*seq, item.from, "no version is skipped without a snapshot");
                self.tally.patches += 1;
                copy.clone()
            }
            (None, false) => panic!("who has nothing gets a snapshot first"),
        };
        apply(&mut copy, &item);
        self.ledger.check_copy(cursor.view(), item.to, &copy);
        reader.have = Some((cursor.view().id().as_str().into(), item.to, copy));
        true
    }

    fn ledger_graph(&mut self) {
        for resource in &self.resources {
            if self.publisher().current().versions.contains_key(resource) {
                self.ledger.check_graph(&view_of(self.publisher(), resource));
            }
        }
    }

    /// Everybody catches up: then every copy is what is served.
    fn settle(&mut self) {
        self.read(usize::MAX);
        self.ledger_graph();
        let snapshot = self.publisher().current();
        for reader in &self.readers {
            let Some(version) = snapshot.versions.get(&reader.resource) else { continue };
            let (_, seq, copy) = reader.have.as_ref().expect("what is served can be read");
            assert_eq!(*seq, version.seq);
            assert_eq!(
                *copy,
                serde_json::from_slice::<Value>(&version.body).expect("bodies are JSON"),
                "a replica that caught up has the document"
            );
            let depends_on = world::depends_on(reader.resource.as_str());
            if let Some(network) = depends_on.and_then(|network| snapshot.versions.iter().find(|(id, _)| id.as_str() == network)) {
                assert_eq!(copy["meta"]["dependent-vtags"][0]["tag"], network.1.tag.as_str(), "a cost map fits its network map");
            }
        }
    }
}

impl Store for Lent {
    fn write(&self, batch: &[store::Write]) -> Result<(), store::Error> {
        self.0.write(batch)
    }

    fn get(&self, table: store::Table, key: &[u8]) -> Result<Option<bytes::Bytes>, store::Error> {
        self.0.get(table, key)
    }

    fn scan(
        &self,
        table: store::Table,
        from: std::ops::Bound<&[u8]>,
        to: std::ops::Bound<&[u8]>,
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), store::Error> {
        self.0.scan(table, from, to, each)
    }
}
