//! Sources that are files: found, read, watched.
#![cfg(feature = "net")]
#![allow(clippy::unwrap_used)]
mod support;

use std::{fs, path::Path, sync::mpsc, time::Duration};
use support::*;
use topology::{
    observation::Observation,
    sources::{
        Error, Options, SourceKind,
        file::{FileSource, Watch, watch},
    },
};

/// Between looks. What is waited for is the event.
const EVERY: Duration = Duration::from_millis(5);
/// A test that waits this long has failed.
const NEVER: Duration = Duration::from_secs(30);

fn table(path: &Path) -> FileSource {
    FileSource { kind: SourceKind::PrefixCsv, paths: vec![path.into()], options: Options::default() }
}

fn watched(source: FileSource) -> (Watch, mpsc::Receiver<Result<Observation, Error>>) {
    let (tell, events) = mpsc::channel();
    let watch = watch(source, EVERY, move |outcome| tell.send(outcome).unwrap()).unwrap();
    (watch, events)
}

/// As an editor or an exporter that cares does it.
fn put(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(&beside, path).unwrap();
}

#[test]
fn several_files_and_patterns() {
    let lab = data("frr-geant2012-lab/t0-baseline");
    let source = |paths: &[&str]| FileSource {
        kind: SourceKind::FrrOspf,
        paths: paths.iter().map(|path| lab.join(path)).collect(),
        options: lab_options(),
    };
    let both = source(&["ospf-database-router.json.gz", "ospf-database-external.json.gz"]).read().unwrap();
    assert_eq!((both.links.len(), both.prefixes.len()), (122, 112));
    assert_eq!(source(&["ospf-database-*.json.gz"]).read().unwrap(), both);
    let why = source(&["isis-database-*.json.gz"]).read().unwrap_err();
    assert!(matches!(&why, Error::Missing { pattern } if pattern.ends_with("isis-database-*.json.gz")), "{why}");
    assert!(matches!(source(&["nothing.json"]).read(), Err(Error::Missing { .. })));
    assert!(matches!(source(&["."]).read(), Err(Error::Unreadable { .. })));
    let mut small = source(&["ospf-database-router.json.gz"]);
    small.options.limits.bytes_max = 100;
    assert!(matches!(small.read(), Err(Error::TooMuch { limit: "bytes_max", .. })));
}

/// What a dump says holds from when it was written, whenever it is read: the older of two files counts.
#[test]
fn validity_counts_from_when_files_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let (routers, externals) = (folder.path().join("router.json.gz"), folder.path().join("external.json.gz"));
    for (path, name, seconds) in [(&routers, "router", 1_000_000), (&externals, "external", 1_000_060)] {
        fs::copy(data(&format!("frr-geant2012-lab/t0-baseline/ospf-database-{name}.json.gz")), path).unwrap();
        fs::File::options().write(true).open(path).unwrap().set_modified(at(seconds)).unwrap();
    }
    let source = FileSource { kind: SourceKind::FrrOspf, paths: vec![externals, routers], options: Options::default() };
    let validity = source.read().unwrap().validity;
    assert_eq!((validity.from, validity.whole), (Some(at(1_000_000)), Some(Duration::from_secs(3470))));
}

fn lab_options() -> Options {
    lab()
}

#[test]
fn a_change_is_told_once_and_a_broken_file_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.csv");
    put(&path, "prefix,pid\n192.0.2.0/24,a\n");
    let (watch, events) = watched(table(&path));
    let next = || events.recv_timeout(NEVER).unwrap();
    assert_eq!(next().unwrap().prefixes.len(), 1);
    put(&path, "prefix,pid\n192.0.2.0/24,a\n198.51.100.0/24,b\n");
    assert_eq!(next().unwrap().prefixes.len(), 2);
    put(&path, "prefix,pid\n192.0.2.0/24,a\n198.51.100.0/99,b\n");
    let why = next().unwrap_err().to_string();
    assert!(why.contains("table.csv: line 3: \"198.51.100.0/99\" is not a prefix"), "{why}");
    fs::remove_file(&path).unwrap();
    assert!(matches!(next(), Err(Error::Missing { .. })));
    put(&path, "prefix,pid\n203.0.113.0/24,c\n");
    assert_eq!(next().unwrap().prefixes.len(), 1);
    drop(watch);
    // Stopped: the sender is gone, and nothing more was in it.
    assert!(matches!(events.recv_timeout(NEVER), Err(mpsc::RecvTimeoutError::Disconnected)));
}

/// The same length and content times: a rename is another inode.
#[test]
fn a_rename_of_equal_length_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.csv");
    put(&path, "prefix,pid\n192.0.2.0/24,a\n");
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    let (_watch, events) = watched(table(&path));
    let group = |seen: Observation| seen.prefixes[0].group.as_ref().unwrap().to_string();
    assert_eq!(group(events.recv_timeout(NEVER).unwrap().unwrap()), "a");
    let beside = path.with_extension("new");
    fs::write(&beside, "prefix,pid\n192.0.2.0/24,b\n").unwrap();
    fs::File::options().write(true).open(&beside).unwrap().set_modified(before).unwrap();
    fs::rename(&beside, &path).unwrap();
    assert_eq!(group(events.recv_timeout(NEVER).unwrap().unwrap()), "b");
}

/// A table cut in the middle of a row may be a good table; it is not read while it grows, unless it never stops.
#[test]
fn growing_files_are_read_at_rest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.csv");
    put(&path, "prefix,pid\n192.0.2.0/24,a\n");
    let (_watch, events) = watched(table(&path));
    assert_eq!(events.recv_timeout(NEVER).unwrap().unwrap().prefixes.len(), 1);
    // Grows for as long as it is not read.
    let mut rows = 1;
    let read = loop {
        let mut file = fs::File::options().append(true).open(&path).unwrap();
        std::io::Write::write_all(&mut file, format!("10.{}.{}.0/24,b\n", rows / 256 % 256, rows % 256).as_bytes()).unwrap();
        rows += 1;
        match events.try_recv() {
            Ok(Ok(read)) => break read,
            // The system writes page by page: half a row may be seen. It is read again.
            Ok(Err(torn)) => assert!(matches!(torn, Error::Malformed { .. }), "{torn}"),
            Err(_) => assert!(rows < 1_000_000, "never read"),
        }
    };
    assert!(read.prefixes.len() > 1);
}

/// A source may be configured before its file is there.
#[test]
fn a_file_that_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("later-*.csv");
    let (_watch, events) = watched(table(&path));
    assert!(matches!(events.recv_timeout(NEVER).unwrap(), Err(Error::Missing { .. })));
    put(&folder.path().join("later-1.csv"), "prefix,pid\n192.0.2.0/24,a\n");
    assert_eq!(events.recv_timeout(NEVER).unwrap().unwrap().prefixes.len(), 1);
}
