//! What is written comes back, after any end of the process; what does not fit together is told.
use super::*;
use proptest::prelude::*;
use std::time::Duration;
use store::{Memory, simulated::Disk};

fn id(n: u8) -> ResourceId {
    format!("map-{n}").parse().unwrap()
}

fn folder(n: u8) -> FolderId {
    FolderId::of(format!("maps-{n}").as_ref())
}

fn at(n: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789 + n)
}

/// Large enough to be compressed, in part.
fn document(seq: u64) -> String {
    format!(r#"{{"cost-map":{{"seq":{seq}}},"filler":"{}"}}"#, "x".repeat(if seq.is_multiple_of(2) { 2_000 } else { 2 }))
}

fn version(resource: &ResourceId, seq: u64, first: bool, snapshot: bool) -> VersionRecord {
    let body = document(seq);
    let merge = format!(r#"{{"cost-map":{{"seq":{seq}}},"filler":"{}"}}"#, "x".repeat(if seq.is_multiple_of(2) { 2_000 } else { 2 }));
    let json = serde_json::json!([{"op": "replace", "path": "", "value": serde_json::from_str::<serde_json::Value>(&body).unwrap()}]);
    let patch = match (first, seq % 3) {
        (true, _) => Patches::default(),
        (false, 0) => Patches { merge: Some(merge.into()), json: Some(json.to_string().into()) },
        (false, 1) => Patches { merge: None, json: Some(json.to_string().into()) },
        (false, _) => Patches { merge: Some(merge.into()), json: None },
    };
    VersionRecord {
        resource: resource.clone(),
        seq: Seq(seq),
        tag: format!("tag-{seq}").parse().unwrap(),
        media_type: media_type::COST_MAP,
        at: at(seq),
        bytes: body.len(),
        patch,
        snapshot: (first || snapshot).then(|| body.into()),
    }
}

/// What a commit of the tests does.
#[derive(Debug, Clone)]
enum Step {
    /// A new version of each, with a snapshot or without.
    Change(Vec<(u8, bool)>),
    /// The versions before the newest snapshot are forgotten.
    Compact(u8),
    Withdraw(u8),
    Publish(u8, Option<u16>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => prop::collection::btree_map(0u8..4, any::<bool>(), 1..4).prop_map(|of| Step::Change(of.into_iter().collect())),
        1 => (0u8..4).prop_map(Step::Compact),
        1 => (0u8..4).prop_map(Step::Withdraw),
        1 => (0u8..4, any::<Option<u16>>()).prop_map(|(n, of)| Step::Publish(n, of)),
    ];
    prop::collection::vec(step, 1..24)
}

/// What ought to be found.
#[derive(Debug, Clone, Default)]
struct Model {
    commit: u64,
    chains: BTreeMap<ResourceId, Vec<VersionRecord>>,
    live: BTreeSet<ResourceId>,
    published: BTreeMap<ResourceId, Bytes>,
    inputs: InputsRecord,
}

impl Model {
    fn step(&mut self, step: &Step) -> Record {
        self.commit += 1;
        let mut record = Record {
            commit: self.commit,
            at: at(self.commit),
            versions: Vec::new(),
            start: Vec::new(),
            withdrawn: Vec::new(),
            published: Vec::new(),
            inputs: InputsRecord::default(),
        };
        match step {
            Step::Change(of) => {
                for (n, snapshot) in of {
                    let chain = self.chains.entry(id(*n)).or_default();
                    let seq = chain.last().map_or(1, |last| last.seq.0 + 1);
                    // One that comes back begins anew.
                    let first = !self.live.contains(&id(*n));
                    let version = version(&id(*n), seq, first, *snapshot);
                    if first {
                        chain.clear();
                        record.start.push((id(*n), Seq(seq)));
                    }
                    chain.push(version.clone());
                    record.versions.push(version);
                    self.live.insert(id(*n));
                    self.inputs.documents.insert(id(*n));
                    self.inputs.folders.applied(&folder(*n % 2), id(*n), format!("digest-{seq}").parse().unwrap(), 8);
                    self.inputs.default_network_map = Some(id(*n));
                }
            }
            Step::Compact(n) => {
                let chain = self.chains.entry(id(*n)).or_default();
                if let Some(to) = chain.iter().rposition(|version| version.snapshot.is_some()).filter(|_| self.live.contains(&id(*n))) {
                    chain.drain(..to);
                    record.start.push((id(*n), chain[0].seq));
                }
                if chain.is_empty() {
                    self.chains.remove(&id(*n));
                }
            }
            Step::Withdraw(n) => {
                if self.live.remove(&id(*n)) {
                    record.withdrawn.push(id(*n));
                    let chain = self.chains.entry(id(*n)).or_default();
                    chain.drain(..chain.len() - 1);
                    chain[0].snapshot = None;
                    self.inputs.documents.remove(&id(*n));
                    self.inputs.withdrawn.insert(id(*n));
                    self.inputs.from_file.insert(id(*n), folder(*n % 2));
                }
            }
            Step::Publish(n, of) => {
                let document = of.map(|of| Bytes::from(vec![b'p'; usize::from(of)]));
                match &document {
                    Some(document) => self.published.insert(id(*n), document.clone()),
                    None => self.published.remove(&id(*n)),
                };
                record.published.push((id(*n), document));
            }
        }
        record.inputs = self.inputs.clone();
        record
    }

    /// Compares everything but the first edge of a chain, which leads from a version that is gone.
    fn assert_is(&self, restored: Option<&Restored>) -> Result<(), TestCaseError> {
        let Some(restored) = restored else {
            prop_assert_eq!(self.commit, 0);
            return Ok(());
        };
        prop_assert_eq!((restored.commit, restored.at), (self.commit, at(self.commit)));
        prop_assert_eq!(&restored.inputs, &self.inputs);
        prop_assert_eq!(&restored.published, &self.published);
        prop_assert_eq!(restored.chains.keys().collect::<Vec<_>>(), self.chains.keys().collect::<Vec<_>>());
        for (id, chain) in &self.chains {
            let facts = |versions: &[VersionRecord]| -> Vec<String> {
                versions.iter().map(|VersionRecord { patch, .. }| format!("{patch:?}")).skip(1).collect()
            };
            let found = &restored.chains[id];
            prop_assert_eq!(facts(found), facts(chain));
            let rest = |versions: &[VersionRecord]| -> Vec<String> {
                versions.iter().map(|version| format!("{:?}", VersionRecord { patch: Patches::default(), ..version.clone() })).collect()
            };
            prop_assert_eq!(rest(found), rest(chain));
        }
        prop_assert_eq!(restored.current.keys().collect::<BTreeSet<_>>(), self.live.iter().collect::<BTreeSet<_>>());
        for (id, newest) in &restored.current {
            let json = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
            prop_assert_eq!(json(newest), json(document(self.chains[id].last().unwrap().seq.0).as_bytes()));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is written, in groups of any size, is found.
    #[test]
    fn what_is_written_is_restored(steps in steps(), group in 1usize..4) {
        let store: Arc<dyn Store> = Arc::new(Memory::default());
        let mut model = Model::default();
        let (mut log, found) = Log::open(store.clone(), "epoch1").unwrap();
        prop_assert!(found.is_none());
        for steps in steps.chunks(group) {
            let records: Vec<Record> = steps.iter().map(|step| model.step(step)).collect();
            log.write(&records).unwrap();
            let (next, found) = Log::open(store.clone(), "epoch2").unwrap();
            prop_assert_eq!(next.epoch(), "epoch1");
            model.assert_is(found.as_ref())?;
            log = next;
        }
    }

    /// RFC 9569 section 3.2 over a power cut: what was acknowledged is there, and of the write in flight there is all or nothing.
    #[test]
    fn acknowledged_survives_crash(steps in steps(), left in 0u64..300, seed: u64) {
        let disk = Disk::default();
        let mut model = Model::default();
        let mut flying = None;
        {
            let log = Log::open(Arc::new(disk.open().unwrap()), "epoch").unwrap().0;
            disk.fail_after(Some(left));
            for step in &steps {
                let mut next = model.clone();
                match log.write(&[next.step(step)]) {
                    Ok(()) => model = next,
                    Err(_) => {
                        flying = Some(next);
                        break;
                    }
                }
            }
        }
        disk.crash(seed);
        let found = Log::open(Arc::new(disk.open().unwrap()), "epoch").unwrap().1;
        match (found.as_ref(), &flying) {
            (Some(found), Some(flying)) if found.commit == flying.commit => flying.assert_is(Some(found))?,
            (found, _) => model.assert_is(found)?,
        }
    }

    /// What somebody else wrote there is refused or understood, and no panic.
    #[test]
    fn any_value_is_read_or_refused(value in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(head) = Head::read(&value) {
            prop_assert_eq!(Head::read(&head.to_bytes()), Ok(head));
        }
        let _ = VersionRecord::read(&id(0), Seq(1), &value);
        let _ = Reader(&value).body();
    }
}

fn written() -> Arc<dyn Store> {
    let store: Arc<dyn Store> = Arc::new(Memory::default());
    let log = Log::open(store.clone(), "epoch").unwrap().0;
    let mut model = Model::default();
    let records: Vec<Record> = (0..6).map(|_| model.step(&Step::Change(vec![(1, false), (2, false)]))).collect();
    log.write(&records).unwrap();
    store
}

#[test]
fn what_is_missing_or_strange_is_named() {
    let put = |table, key: Vec<u8>, value: &[u8]| Write::Put(table, key, Bytes::copy_from_slice(value));
    for (change, want) in [
        (Write::Delete(VERSIONS, key(&id(1), Seq(3))), "the log of versions is damaged: version 3 of map-1: it is missing"),
        (Write::Delete(VERSIONS, key(&id(2), Seq(6))), "the log of versions is damaged: version 6 of map-2: it is missing"),
        (Write::Delete(SNAPSHOTS, key(&id(2), Seq(1))), "the log of versions is damaged: version 6 of map-2: no full copy leads to it"),
        (put(VERSIONS, key(&id(1), Seq(2)), b"x"), "the log of versions is damaged: version 2 of map-1: it cannot be read"),
        (put(SNAPSHOTS, key(&id(1), Seq(1)), b"\x01"), "the log of versions is damaged: version 1 of map-1: its snapshot cannot be read"),
        (put(SNAPSHOTS, key(&id(1), Seq(1)), b"\x00\x02{]"), "the log of versions is damaged: version 1 of map-1: "),
        (put(LOG, b"head".into(), b"\x01"), "the log of versions is damaged: its newest commit cannot be read"),
        (Write::Delete(LOG, b"epoch".into()), "the log of versions is damaged: it has no name"),
        (put(PUBLISHED, b"map-1".into(), b"\x07"), "the log of versions is damaged: the published document map-1 cannot be read"),
        (put(LOG, b"format".into(), &[2]), "the log of versions has format 2, this program knows 1: it was written by a newer version"),
    ] {
        let store = written();
        store.write(&[change]).unwrap();
        let why = Log::open(store, "epoch").err().unwrap().to_string();
        assert!(why.starts_with(want), "{why} instead of {want}");
    }
    Log::open(written(), "epoch").unwrap();
}

/// Of a resource that is not there any more the disk keeps what its numbering goes on from.
#[test]
fn what_is_withdrawn_leaves_the_disk() {
    let store = written();
    let log = Log::open(store.clone(), "epoch").unwrap().0;
    let (commit, inputs) = (7, InputsRecord::default());
    log.write(&[Record {
        commit,
        at: at(7),
        versions: Vec::new(),
        start: Vec::new(),
        withdrawn: vec![id(1)],
        published: Vec::new(),
        inputs,
    }])
    .unwrap();
    let keys = |table| {
        let mut keys = Vec::new();
        let each = &mut |key: &[u8], _: &[u8]| {
            keys.push(key.to_vec());
            true
        };
        store.scan(table, Bound::Included(&key(&id(1), Seq(0))), Bound::Excluded(&key(&id(2), Seq(0))), each).unwrap();
        keys
    };
    assert_eq!((keys(VERSIONS), keys(SNAPSHOTS)), (vec![key(&id(1), Seq(6))], Vec::new()));
}

/// A map is changed in place and comes out as it is written elsewhere.
#[test]
fn a_map_is_restored_from_its_changes() {
    let map = |cost: f64| {
        format!(
            r#"{{"meta":{{"dependent-vtags":[{{"resource-id":"n","tag":"t"}}],"cost-type":{{"cost-mode":"numerical","cost-metric":"routingcost"}}}},"cost-map":{{"A":{{"B":{cost}}}}}}}"#
        )
    };
    let mut first = version(&id(1), 1, true, true);
    first.snapshot = Some(map(1.0).into());
    let mut second = version(&id(1), 2, false, false);
    second.patch = Patches { merge: Some(r#"{"cost-map":{"A":{"B":0.1}}}"#.into()), json: None };
    let newest = newest(&[first, second]).unwrap();
    let want = Document::parse(map(0.1).as_bytes(), Some(media_type::COST_MAP)).unwrap().to_json();
    assert_eq!(newest, want);
}
