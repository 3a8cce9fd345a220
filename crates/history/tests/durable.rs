//! What outlives the process: the same numbers, tags, views and edges after a restart; nothing visible that is not on disk.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]
mod support;

use alto::id::{ResourceId, Tag};
use bytes::Bytes;
use history::{Change, Error, FolderId, Guard, Limits, Publisher, Seq, Start};
use proptest::prelude::*;
use serde_json::json;
use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};
use store::{Memory, Store, Table, Write};
use support::*;

/// A store that can fail, or be slow, when told to.
#[derive(Default)]
struct Disk {
    kept: Memory,
    full: AtomicBool,
    writes: AtomicUsize,
    /// While it is shut, writes wait before they do anything.
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Disk {
    fn shut(&self, shut: bool) {
        *self.shut.lock().unwrap() = shut;
        self.opened.notify_all();
    }
}

impl Store for Disk {
    fn write(&self, batch: &[Write]) -> Result<(), store::Error> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        let mut shut = self.shut.lock().unwrap();
        while *shut {
            shut = self.opened.wait(shut).unwrap();
        }
        drop(shut);
        if self.full.load(Ordering::SeqCst) {
            return Err(store::Error("no space left on device".into()));
        }
        self.kept.write(batch)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, store::Error> {
        self.kept.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), store::Error> {
        self.kept.scan(table, from, to, each)
    }
}

fn over(disk: &Arc<Disk>, limits: Limits) -> Publisher {
    Publisher::with_store(limits, Guard::default(), disk.clone(), at(1_000)).unwrap().without_thread()
}

/// Everything that must be the same before and after: versions with their bytes, history, views with their edges.
fn seen(publisher: &Publisher) -> String {
    let snapshot = publisher.current();
    let mut text = format!("commit {} at {:?}\n", snapshot.commit, snapshot.at);
    for (id, version) in &snapshot.versions {
        text += &format!("{id} {} {} {:?}\n", version.seq, version.tag, version.body);
        let view = publisher.open(id, None, CLIENT).unwrap();
        text += &format!("{} {:?} {:?}\n", view.id(), view.head(), view.versions());
        let (start, end) = ends(&view);
        for seq in start..end {
            text += &format!("{:?}\n", view.edge(Seq(seq), Seq(seq + 1)).unwrap());
        }
        text += &format!("{:?} {:?}\n", view.edge(Seq(0), Seq(start)).unwrap(), view.edge(Seq(0), Seq(end)).unwrap());
    }
    let guidance = &snapshot.guidance;
    text + &format!("{}", json!(guidance.services().map(|(id, _)| id.as_str()).collect::<Vec<_>>()))
}

#[derive(Debug, Clone)]
enum Step {
    Cost(u8, u8),
    Network(u8),
    Withdraw(&'static str),
    Computed(u32),
    File(u8),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..8_u8, 0..4_u8).prop_map(|(pid, cost)| Step::Cost(pid, cost)),
        2 => (1..9_u8).prop_map(Step::Network),
        1 => prop::sample::select(vec!["c", "f", "cost-map-hopcount", "network-map"]).prop_map(Step::Withdraw),
        2 => (1..6_u32).prop_map(Step::Computed),
        1 => (0..3_u8).prop_map(Step::File),
        3 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// After a restart at any point the same is served under the same numbers, tags and bytes; views have the same ids, and their edges
    /// are the same; both ends have only shifted right; and the next commit goes on as if nothing had been.
    #[test]
    fn a_restart_changes_nothing(steps in steps(), versions_max in 1..12_usize) {
        let disk = Arc::new(Disk::default());
        let limits = Limits { versions_max, ..Limits::default() };
        let mut publisher = over(&disk, limits.clone());
        // The same without restarts.
        let steady = Publisher::new(limits.clone(), Guard { computed_moved_share_max: 1.0, ..Guard::default() });
        publisher.set_guard(Guard { computed_moved_share_max: 1.0, ..Guard::default() });
        for publisher in [&publisher, &steady] {
            publisher.apply(vec![put("m", network(&PIDS)), put("c", costs(&PIDS, &[1.0]))], at(1), false).unwrap();
            publisher.apply(vec![Change::Computed(Some(computed(9)))], at(1), false).unwrap();
        }
        let mut ranges: BTreeMap<ResourceId, (u64, u64)> = BTreeMap::new();
        for (step, second) in steps.iter().zip(2..) {
            let change = match step {
                Step::Cost(pid, cost) => Change::MergePatch {
                    id: id("c"),
                    patch: format!(r#"{{"cost-map": {{"p1": {{"p{}": {cost}}}}}}}"#, pid + 1).into(),
                },
                Step::Network(pids) => put("m", network(&PIDS[..usize::from(*pids).min(8)])),
                Step::Withdraw(name) => Change::Withdraw { id: id(name) },
                Step::Computed(ac) => Change::Computed(Some(computed(*ac))),
                Step::File(content) => Change::File {
                    id: id("f"),
                    folder: FolderId::of("maps".as_ref()),
                    digest: format!("digest-{content}").parse::<Tag>().unwrap(),
                    document: network(&PIDS[..usize::from(*content) + 1]),
                },
                Step::Restart => {
                    let before = seen(&publisher);
                    drop(publisher);
                    publisher = over(&disk, limits.clone());
                    publisher.set_guard(Guard { computed_moved_share_max: 1.0, ..Guard::default() });
                    prop_assert_eq!(seen(&publisher), before);
                    continue;
                }
            };
            let (kept, wanted) = (publisher.apply(vec![change.clone()], at(second), false), steady.apply(vec![change], at(second), false));
            prop_assert_eq!(kept.is_ok(), wanted.is_ok(), "{:?} {:?}", kept.err(), wanted.err());
            let names = |publisher: &Publisher| {
                let snapshot = publisher.current();
                let name = |(id, version): (&ResourceId, &Arc<history::Version>)| (id.clone(), version.seq, version.tag.clone(), version.body.clone());
                snapshot.versions.iter().map(name).collect::<Vec<_>>()
            };
            prop_assert_eq!(names(&publisher), names(&steady));
            for name in publisher.current().versions.keys() {
                let now = ends(&publisher.open(name, None, CLIENT).unwrap());
                let before = ranges.insert(name.clone(), now).unwrap_or_default();
                prop_assert!(before.0 <= now.0 && before.1 <= now.1, "right shift only: {:?} then {:?}", before, now);
            }
        }
        let before = seen(&publisher);
        drop(publisher);
        prop_assert_eq!(seen(&over(&disk, limits)), before);
    }
}

/// What was computed is served as it was until it is computed again; equal maps keep their versions, others get the next.
#[test]
fn computed_maps_wait_for_the_sources() {
    let disk = Arc::new(Disk::default());
    let publisher = over(&disk, Limits::default());
    publisher.apply(vec![Change::Computed(Some(computed(9)))], at(1), false).unwrap();
    publisher.apply(vec![Change::Computed(Some(computed(2)))], at(2), false).unwrap();
    let ask = |publisher: &Publisher, mode: &str| {
        let body = json!({"cost-type": {"cost-mode": mode, "cost-metric": "routingcost"}, "pids": {"srcs": ["a", "b"], "dsts": ["c"]}});
        let guidance = publisher.current().guidance.clone();
        let answer = guidance.answer(&id("filtered-cost-map"), body.to_string().as_bytes(), CLIENT, &maps::guidance::Limits::default());
        parse(&answer.unwrap().unwrap().body)
    };
    let (before, answers) = (seen(&publisher), ["numerical", "ordinal"].map(|mode| ask(&publisher, mode)));
    let mut reader = publisher.open(&id("cost-map-routingcost"), None, CLIENT).unwrap().cursor(Start::Seq(Seq(2)));
    assert!(reader.next(history::Accepts::PATCHES).is_none());
    drop(publisher);

    let publisher = over(&disk, Limits::default());
    assert_eq!(seen(&publisher), before);
    assert_eq!(["numerical", "ordinal"].map(|mode| ask(&publisher, mode)), answers, "ranks are of the entries, not of the map");
    let same = publisher.apply(vec![Change::Computed(Some(computed(2)))], at(3), false).unwrap();
    assert!(same.changed.is_empty() && same.withdrawn.is_empty());
    assert_eq!(seen(&publisher), before);
    assert!(publisher.current().guidance.computed().is_some());
    let other = publisher.apply(vec![Change::Computed(Some(computed(9)))], at(4), false).unwrap();
    let costs = other.changed.iter().find(|version| version.resource == id("cost-map-routingcost")).unwrap();
    assert_eq!(costs.seq, Seq(3));
    let view = publisher.open(&id("cost-map-routingcost"), None, CLIENT).unwrap();
    assert!(view.edge(Seq(2), Seq(3)).unwrap().media_type.contains("patch"));
    // Sources that are taken away take their maps along, also after a restart.
    drop(publisher);
    let publisher = over(&disk, Limits::default());
    publisher.apply(vec![Change::Computed(None)], at(5), false).unwrap();
    assert!(publisher.current().versions.is_empty());
    drop(publisher);
    assert!(over(&disk, Limits::default()).current().versions.is_empty());
}

/// A cost map whose network map lost PIDs is served without them, and has them again when they are back: after a restart too.
#[test]
fn documents_are_kept_as_they_were_published() {
    let disk = Arc::new(Disk::default());
    let publisher = over(&disk, Limits::default());
    publisher.apply(vec![put("m", network(&PIDS)), put("c", costs(&PIDS, &[1.0, 2.0, 3.0]))], at(1), false).unwrap();
    let whole = served(&publisher, "c");
    publisher.apply(vec![put("m", network(&PIDS[..1]))], at(2), false).unwrap();
    assert_eq!(served(&publisher, "c")["cost-map"], json!({"p1": {"p1": 1}}));
    drop(publisher);
    let publisher = over(&disk, Limits::default());
    publisher.apply(vec![put("m", network(&PIDS))], at(3), false).unwrap();
    assert_eq!(served(&publisher, "c"), whole);
    drop(publisher);
    assert_eq!(served(&over(&disk, Limits::default()), "c"), whole);
}

/// A disk that is full is not a log that is damaged: an operator makes room, and nothing has to be put back.
#[test]
fn a_log_that_cannot_be_begun_is_not_damaged() {
    let disk = Arc::new(Disk::default());
    disk.full.store(true, Ordering::SeqCst);
    let begin = || Publisher::with_store(Limits::default(), Guard::default(), disk.clone(), at(1));
    assert!(matches!(begin().err(), Some(history::RestoreError::NotWritable(why)) if why.contains("no space left")));
    disk.full.store(false, Ordering::SeqCst);
    begin().unwrap();
}

/// "a failed store write leaves everything as it was"
#[test]
fn a_failed_write_leaves_everything_as_it_was() {
    let disk = Arc::new(Disk::default());
    let publisher = over(&disk, Limits::default());
    publisher.apply(vec![put("m", network(&PIDS)), put("c", costs(&PIDS, &[1.0]))], at(1), false).unwrap();
    let heard = Arc::new(AtomicUsize::new(0));
    let (commits, views) = (heard.clone(), heard.clone());
    publisher.on_commit(move |_| _ = commits.fetch_add(1, Ordering::SeqCst));
    publisher.on_views(move |_| _ = views.fetch_add(1, Ordering::SeqCst));
    let (before, snapshot) = (seen(&publisher), publisher.current());
    disk.full.store(true, Ordering::SeqCst);
    for change in [put("c", costs(&PIDS, &[2.0])), put("m", network(&PIDS[..3])), Change::Withdraw { id: id("c") }] {
        let error = publisher.apply(vec![change], at(2), false).unwrap_err();
        assert!(matches!(error, Error::NotKept(_)) && error.to_string().contains("no space left"), "{error}");
        assert!(Arc::ptr_eq(&snapshot, &publisher.current()));
        assert_eq!(seen(&publisher), before);
        assert_eq!(publisher.history(&id("c")).unwrap().len(), 1);
    }
    assert_eq!(heard.load(Ordering::SeqCst), 0);
    // What is refused is refused for its own reasons, disk or not.
    assert!(matches!(publisher.apply(vec![Change::Withdraw { id: id("x") }], at(2), false), Err(Error::NotFound(_))));
    assert_eq!(seen(&over(&disk, Limits::default())), before);
    disk.full.store(false, Ordering::SeqCst);
    let commit = publisher.apply(vec![put("c", costs(&PIDS, &[3.0]))], at(3), false).unwrap();
    assert_eq!((commit.changed[0].seq, heard.load(Ordering::SeqCst)), (Seq(2), 2));
    assert_eq!(seen(&over(&disk, Limits::default())), seen(&publisher));
}

/// Several callers share one write; each returns only when its own commit is on disk; nobody sees it before.
#[test]
fn callers_share_a_write() {
    const CALLERS: usize = 16;
    let disk = Arc::new(Disk::default());
    let publisher = over(&disk, Limits::default());
    publisher.apply(vec![put("m", network(&PIDS)), put("c", costs(&PIDS, &[1.0]))], at(1), false).unwrap();
    for full in [false, true] {
        let (writes, before) = (disk.writes.load(Ordering::SeqCst), publisher.current());
        disk.shut(true);
        let composed = AtomicUsize::new(0);
        let outcomes: Vec<_> = thread::scope(|scope| {
            let call = |caller: usize| {
                let (publisher, composed) = (&publisher, &composed);
                scope.spawn(move || {
                    // The first is stuck in the store before the others begin.
                    let patch = format!(r#"{{"cost-map": {{"p1": {{"p{}": {}}}}}}}"#, caller % 8 + 1, 10 + caller + usize::from(full));
                    composed.fetch_add(1, Ordering::SeqCst);
                    publisher.apply(vec![Change::MergePatch { id: id("c"), patch: patch.into() }], at(2), false)
                })
            };
            let first = call(0);
            while disk.writes.load(Ordering::SeqCst) == writes {
                thread::yield_now();
            }
            let others: Vec<_> = (1..CALLERS).map(call).collect();
            while composed.load(Ordering::SeqCst) < CALLERS {
                thread::yield_now();
            }
            assert!(Arc::ptr_eq(&before, &publisher.current()), "nothing is visible before it is durable");
            disk.full.store(full, Ordering::SeqCst);
            disk.shut(false);
            std::iter::once(first).chain(others).map(|caller| caller.join().unwrap()).collect()
        });
        disk.full.store(false, Ordering::SeqCst);
        let after = disk.writes.load(Ordering::SeqCst) - writes;
        if full {
            // The first write failed, and what stood on it with it; who came later failed alike.
            assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(Error::NotKept(_)))));
            assert!(Arc::ptr_eq(&before, &publisher.current()));
        } else {
            let mut numbers: Vec<u64> = outcomes.iter().map(|outcome| outcome.as_ref().unwrap().changed[0].seq.0).collect();
            numbers.sort_unstable();
            assert_eq!(numbers, (2..=CALLERS as u64 + 1).collect::<Vec<_>>());
            assert!(after < CALLERS, "{after} writes for {CALLERS} commits");
        }
        assert_eq!(seen(&over(&disk, Limits::default())), seen(&publisher));
    }
}
