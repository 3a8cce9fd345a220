//! What the store promises, on a disk that crashes, fails, fills up and rots.
#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]
use bytes::Bytes;
use proptest::prelude::*;
use std::{collections::BTreeMap, ops::Bound};
use store::{Memory, Store, Write, simulated::Disk};

type Content = BTreeMap<(&'static str, Vec<u8>), Bytes>;

const TABLES: [&str; 2] = ["versions", "snapshots"];

/// Everything in a store.
fn content(store: &dyn Store) -> Result<Content, store::Error> {
    let mut all = Content::new();
    for table in TABLES {
        store.scan(table, Bound::Unbounded, Bound::Unbounded, &mut |key, value| {
            all.insert((table, key.to_vec()), Bytes::copy_from_slice(value));
            true
        })?;
    }
    Ok(all)
}

fn batches() -> impl Strategy<Value = Vec<Vec<Write>>> {
    let table = prop::sample::select(&TABLES[..]);
    let key = prop::collection::vec(0u8..4, 1..3);
    let value = (0usize..40_000, any::<u8>()).prop_map(|(length, byte)| Bytes::from(vec![byte; length]));
    let write = prop_oneof![
        4 => (table.clone(), key.clone(), value).prop_map(|(table, key, value)| Write::Put(table, key, value)),
        1 => (table.clone(), key.clone()).prop_map(|(table, key)| Write::Delete(table, key)),
        1 => (table, key.clone(), key).prop_map(|(table, from, to)| Write::DeleteRange(table, from, to)),
    ];
    prop::collection::vec(prop::collection::vec(write, 1..8), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// A batch that was written is there, whole, after a power cut at any point; of the one in flight there is all or nothing.
    #[test]
    fn acknowledged_survives_crash(batches in batches(), steps in 0u64..160, seed: u64) {
        let (disk, model) = (Disk::default(), Memory::default());
        let mut before = Content::new();
        let store = disk.open().unwrap();
        disk.fail_after(Some(steps));
        let mut flying = None;
        for batch in &batches {
            match store.write(batch) {
                Ok(()) => {
                    model.write(batch).unwrap();
                    before = content(&model).unwrap();
                }
                Err(_) => {
                    model.write(batch).unwrap();
                    flying = Some(content(&model).unwrap());
                    break;
                }
            }
        }
        disk.crash(seed);
        let found = content(&disk.open().unwrap()).unwrap();
        prop_assert!(found == before || Some(&found) == flying.as_ref());
        drop(store);
    }

    /// The engine and the memory are the same store.
    #[test]
    fn engine_equals_memory(batches in batches(), kill in any::<bool>()) {
        let (disk, model) = (Disk::default(), Memory::default());
        let mut store = disk.open().unwrap();
        for batch in &batches {
            store.write(batch).unwrap();
            model.write(batch).unwrap();
            prop_assert_eq!(content(&store).unwrap(), content(&model).unwrap());
            if kill {
                disk.kill();
                store = disk.open().unwrap();
            }
        }
        for ((table, key), value) in content(&model).unwrap() {
            prop_assert_eq!(store.get(table, &key).unwrap(), Some(value));
        }
        prop_assert_eq!(store.get("versions", b"none").unwrap(), None);
        prop_assert_eq!(store.get("no such table", b"none").unwrap(), None);
    }

    /// A bit that turned over is found, or it was in none of our bytes: nothing that is read differs from what was written.
    #[test]
    fn what_is_read_is_what_was_written(batches in batches(), seeds in prop::collection::vec(any::<u64>(), 1..4)) {
        let disk = Disk::default();
        let store = disk.open().unwrap();
        batches.iter().for_each(|batch| store.write(batch).unwrap());
        let written = content(&store).unwrap();
        drop(store);
        disk.crash(0);
        seeds.iter().for_each(|seed| disk.rot(*seed));
        if let Ok(found) = disk.open().and_then(|store| content(&store)) {
            for (key, value) in found {
                prop_assert_eq!(Some(&value), written.get(&key));
            }
        }
        // Opened, written and closed: whatever the damage is, it is an error and never a panic.
        if let Ok(store) = disk.open() {
            let _ = batches.iter().try_for_each(|batch| store.write(batch));
        }
    }
}

/// No room: the batch is refused, what was there is there, and when there is room again the next batch is taken.
#[test]
fn a_full_disk_refuses_and_recovers() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    let big = |n: u8| [Write::Put("snapshots", vec![n], Bytes::from(vec![n; 10 << 20])), Write::Put("versions", vec![n], Bytes::new())];
    store.write(&big(1)).unwrap();
    disk.limit(Some(disk.bytes() as u64));
    let acknowledged: Vec<u8> =
        (2..5).filter(|n| store.write(&big(*n)).inspect_err(|why| assert!(why.0.contains("no storage space"), "{why}")).is_ok()).collect();
    assert!(acknowledged.len() < 3, "the disk was never full");
    // An operator is told as long as it lasts.
    assert!(store.usage().trouble.is_some_and(|why| why.contains("no storage space")));
    let keys = |store: &dyn Store| -> Vec<u8> {
        content(store).unwrap().keys().filter(|(table, _)| *table == "versions").map(|(_, key)| key[0]).collect()
    };
    let mut want = [&[1][..], &acknowledged].concat();
    assert_eq!(keys(&store), want);
    disk.limit(None);
    store.write(&big(9)).unwrap();
    assert_eq!(store.usage().trouble, None);
    want.push(9);
    assert_eq!(keys(&store), want);
}

/// A disk that fails once does not end the store.
#[test]
fn a_failed_write_leaves_everything_as_it_was() {
    for steps in 0..40 {
        let disk = Disk::default();
        let store = disk.open().unwrap();
        let put = |n: u8| [Write::Put("versions", vec![n], Bytes::from(vec![n; 5_000]))];
        store.write(&put(1)).unwrap();
        disk.fail_after(Some(steps));
        let result = store.write(&put(2));
        disk.fail_after(None);
        let third = store.write(&put(3));
        let keys: Vec<u8> = match content(&store) {
            Ok(found) => found.keys().map(|(_, key)| key[0]).collect(),
            // Nobody knows whether the second is there, and so nothing more is taken until a restart looks.
            Err(_) => {
                assert!(result.is_err() && third.unwrap_err().0.contains("restart"), "{steps}");
                continue;
            }
        };
        assert!(third.is_ok(), "{steps}: {third:?}");
        assert_eq!(keys, if result.is_ok() { vec![1, 2, 3] } else { vec![1, 3] }, "{steps}");
    }
}
