//! A data folder on a real file system.
#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]
use bytes::Bytes;
use std::{fs, os::unix::fs::PermissionsExt, path::Path};
use store::{Folder, OpenError, Store, Write};

fn put(n: u8) -> [Write; 1] {
    [Write::Put("versions", vec![n], Bytes::from(vec![n; 1_000]))]
}

#[test]
fn a_folder_is_made_and_keeps_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("a/b");
    let store = Folder::open(&folder).unwrap();
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(folder.join("store.redb")).unwrap().permissions().mode() & 0o777, 0o600);
    store.write(&put(1)).unwrap();
    drop(store);
    let store = Folder::open(&folder).unwrap();
    assert_eq!(store.get("versions", &[1]).unwrap().unwrap(), vec![1; 1_000]);
    assert_eq!(store.usage().folder.as_deref(), Some(&*folder));
    assert!(store.usage().bytes > 1_000);
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["lock", "store.redb"]);
}

#[test]
fn one_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = Folder::open(dir.path()).unwrap();
    match Folder::open(dir.path()).err().unwrap() {
        OpenError::InUse { process, .. } => assert_eq!(process, Some(std::process::id())),
        other => panic!("{other}"),
    }
    drop(store);
    Folder::open(dir.path()).unwrap();
}

#[test]
fn a_start_that_was_cut_off_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("store.redb.new"), b"half of it").unwrap();
    Folder::open(dir.path()).unwrap().write(&put(1)).unwrap();
    assert!(!dir.path().join("store.redb.new").exists());
}

#[test]
fn what_cannot_be_used_is_named_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let say = |folder: &Path| Folder::open(folder).err().unwrap().to_string();
    for folder in [&file, &file.join("below"), Path::new("/proc/no-such")] {
        assert!(say(folder).starts_with(&format!("cannot use the data folder {}: ", folder.display())), "{}", say(folder));
    }

    for (name, bytes) in [("empty", &b""[..]), ("text", b"hello"), ("zeros", &[0; 100_000])] {
        let folder = dir.path().join(name);
        fs::create_dir(&folder).unwrap();
        let file = folder.join("store.redb");
        fs::write(&file, bytes).unwrap();
        assert!(say(&folder).starts_with(&format!("{} is damaged: ", file.display())), "{name}: {}", say(&folder));
        assert_eq!(fs::read(&file).unwrap(), bytes, "{name}");
    }
}

/// Whatever is cut off or turned over, opening ends with an error or with the right bytes.
#[test]
fn damage_is_told_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("store.redb");
    let store = Folder::open(dir.path()).unwrap();
    for n in 0..50 {
        store.write(&put(n)).unwrap();
    }
    drop(store);
    let whole = fs::read(&file).unwrap();
    let step = whole.len() / 97;
    for at in (0..whole.len()).step_by(step) {
        for cut in [true, false] {
            let mut bytes = whole.clone();
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at..].iter_mut().take(step.min(700)).for_each(|byte| *byte ^= 0x5A);
            }
            fs::write(&file, bytes).unwrap();
            let Ok(store) = Folder::open(dir.path()) else { continue };
            for n in 0..50 {
                if let Ok(Some(value)) = store.get("versions", &[n]) {
                    assert_eq!(value, vec![n; 1_000]);
                }
            }
        }
    }
}
