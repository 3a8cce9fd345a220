//! The engine of the store beside another: group commits, a window of versions that moves on, and a start after SIGKILL.
//!
//! `cargo bench -p store`, or with names of parts (`-- small window`). Each part runs in a process of its own, which kills itself at its
//! end; the files lie in the folder for temporary files, so set TMPDIR to the disk that is meant. Figures of 2026 in
//! `docs/architecture.md`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench ends at the first thing that goes wrong")]
use fjall::{KeyspaceCreateOptions, KvSeparationOptions, PersistMode};
use std::{
    env, fs,
    ops::Bound,
    os::unix::fs::MetadataExt,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use store::{Folder, Store, Write};

type Pair = (Vec<u8>, Vec<u8>);

trait Engine {
    fn commit(&self, puts: Vec<Pair>, deletes: Vec<Vec<u8>>);
    /// Bytes of all values.
    fn read(&self) -> usize;
}

impl Engine for Folder {
    fn commit(&self, puts: Vec<Pair>, deletes: Vec<Vec<u8>>) {
        let deletes = deletes.into_iter().map(|key| Write::Delete("t", key));
        let batch: Vec<Write> = deletes.chain(puts.into_iter().map(|(key, value)| Write::Put("t", key, value.into()))).collect();
        self.write(&batch).unwrap();
    }

    fn read(&self) -> usize {
        let mut bytes = 0;
        self.scan("t", Bound::Unbounded, Bound::Unbounded, &mut |_, value| {
            bytes += value.len();
            true
        })
        .unwrap();
        bytes
    }
}

struct Fjall(fjall::Database, fjall::Keyspace);

impl Fjall {
    fn open(folder: &Path) -> Self {
        let database = fjall::Database::builder(folder).open().unwrap();
        // Large values beside the tree, as its manual advises.
        let options = || KeyspaceCreateOptions::default().with_kv_separation(Some(KvSeparationOptions::default()));
        let keyspace = database.keyspace("t", options).unwrap();
        Self(database, keyspace)
    }
}

impl Engine for Fjall {
    fn commit(&self, puts: Vec<Pair>, deletes: Vec<Vec<u8>>) {
        let mut batch = self.0.batch().durability(Some(PersistMode::SyncAll));
        deletes.into_iter().for_each(|key| batch.remove(&self.1, key));
        puts.into_iter().for_each(|(key, value)| batch.insert(&self.1, key, value));
        batch.commit().unwrap();
    }

    fn read(&self) -> usize {
        self.1.iter().map(|entry| entry.value().unwrap().len()).sum()
    }
}

fn open(engine: &str, folder: &Path) -> Box<dyn Engine> {
    match engine {
        "fjall" => Box::new(Fjall::open(folder)),
        _ => Box::new(Folder::open(folder).unwrap()),
    }
}

/// Text like that of costs.
fn value(seed: u64, length: usize) -> Vec<u8> {
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut text = String::new();
    while text.len() < length {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text += &format!("\"pid{}\":{},", (random >> 40) % 1_700, (random >> 33) as f64 / 1e3);
    }
    text.truncate(length);
    text.into_bytes()
}

fn key(table: u8, number: u64) -> Vec<u8> {
    [&[table][..], &number.to_be_bytes()].concat()
}

/// What a commit holds: its versions, by now 1,000 of them, a head, now and then a snapshot; and what leaves.
fn commit(part: &str, n: u64) -> (Vec<Pair>, Vec<Vec<u8>>) {
    let head = (b"head".to_vec(), value(n, 400));
    let version = |bytes| (key(b'v', n), value(n, bytes));
    match part {
        "small" => (vec![head, version(500)], vec![]),
        "append" if n == 0 => (vec![head, (key(b's', 0), value(0, 10 << 20))], vec![]),
        "append" => (vec![head, version(100 << 10)], vec![]),
        _ => {
            let (mut puts, mut deletes) = (vec![head, version(300 << 10)], Vec::new());
            deletes.extend(n.checked_sub(256).map(|old| key(b'v', old)));
            if n.is_multiple_of(32) {
                puts.push((key(b's', n), value(n, 10 << 20)));
                deletes.extend(n.checked_sub(64).map(|old| key(b's', old)));
            }
            (puts, deletes)
        }
    }
}

fn on_disk(path: &Path) -> u64 {
    // Files may go while we look.
    let Ok(meta) = fs::metadata(path) else { return 0 };
    if meta.is_dir() {
        fs::read_dir(path).map_or(0, |files| files.flatten().map(|file| on_disk(&file.path())).sum())
    } else {
        meta.blocks() * 512
    }
}

/// Bytes this process had written to disk.
fn written() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    io.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok()).unwrap()
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "part", engine, part, folder] => {
            let (engine_name, folder) = (engine, Path::new(folder));
            let engine = open(engine, folder);
            let (mut times, mut given, mut largest) = (Vec::new(), 0, 0);
            for n in 0..1_000 {
                let (puts, deletes) = commit(part, n);
                given += puts.iter().map(|(_, value)| value.len() as u64).sum::<u64>();
                let started = Instant::now();
                engine.commit(puts, deletes);
                times.push(started.elapsed());
                if n.is_multiple_of(50) {
                    largest = largest.max(on_disk(folder));
                }
            }
            times.sort();
            println!(
                "{engine_name:6} {part:7} commit {:.2} ms, 99th {:.1} ms; {:.1} bytes written to disk for each given; {} MB on disk, at most {} MB",
                milliseconds(times[500]),
                milliseconds(times[990]),
                written() as f64 / given as f64,
                on_disk(folder) >> 20,
                largest.max(on_disk(folder)) >> 20,
            );
            // Read by `cargo xtask bench`.
            println!("figure: {engine_name}, {part}, commit = {:.3} ms", milliseconds(times[500]));
            println!("figure: {engine_name}, {part}, largest = {} MB", largest.max(on_disk(folder)) >> 20);
            kill();
        }
        [_, "start", engine, part, folder] => {
            let started = Instant::now();
            let opened = open(engine, Path::new(folder));
            let open = started.elapsed();
            let bytes = opened.read();
            println!(
                "{engine:6} {part:7} start after SIGKILL: open {:.0} ms, with {} MB read {:.0} ms",
                milliseconds(open),
                bytes >> 20,
                milliseconds(started.elapsed())
            );
            println!("figure: {engine}, {part}, open = {:.3} ms", milliseconds(open));
            kill();
        }
        _ => {
            let me = env::current_exe().unwrap();
            let parts = ["small", "append", "window"];
            let named = |part: &str| arguments.iter().any(|argument| argument == part);
            let all = !parts.into_iter().any(named);
            for part in parts.into_iter().filter(|part| all || named(part)) {
                for engine in ["redb", "fjall"] {
                    let dir = tempfile::tempdir().unwrap();
                    for step in ["part", "start"] {
                        Command::new(&me).args([step, engine, part]).arg(dir.path()).status().unwrap();
                    }
                }
            }
        }
    }
}

/// As a crash would: nothing is closed.
fn kill() -> ! {
    use std::io::Write as _;
    std::io::stdout().flush().unwrap();
    Command::new("kill").args(["-9", &std::process::id().to_string()]).status().unwrap();
    unreachable!("it was killed")
}
