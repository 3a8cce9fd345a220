//! Sources that are files: found, read, and watched for change.
//!
//! Watching is polling of size, times and inode: it works on every file system (network mounts, container bind mounts, atomic renames) and
//! a source changes every few seconds at most. Invariants: files are read when they stopped changing, since half a table may look like a
//! whole one; a callback comes once a change, not once a poll.
use super::{Error, Input, Options, SourceKind, error::within, read};
use crate::observation::Observation;
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, SystemTime},
};

/// Files of one source. One that is a known set (LSDB of routers and of externals) is read together.
#[derive(Debug, Clone)]
pub struct FileSource {
    /// What they are.
    pub kind: SourceKind,
    /// Paths, or patterns with `*`, `?` and `[...]`; each must name at least one file. What a pattern matches is read in order of name.
    pub paths: Vec<PathBuf>,
    /// How to read them.
    pub options: Options,
}

impl FileSource {
    /// Reads all files. Blocks; reads no file past `limits.bytes_max`. What they say of their validity counts from when the oldest of them
    /// was written: to read a file again makes nothing in it younger.
    pub fn read(&self) -> Result<Observation, Error> {
        let files = self.files()?;
        let mut contents = Vec::with_capacity(files.len());
        let modified = |path: &PathBuf| fs::metadata(path).ok()?.modified().ok();
        // Before they are read: one that is written meanwhile is younger than this, never older.
        let written = files.iter().map(modified).min().flatten();
        for path in &files {
            contents.push((path.display().to_string(), bytes_of(path, self.options.limits.bytes_max)?));
        }
        let inputs: Vec<Input<'_>> = contents.iter().map(|(name, bytes)| Input { name, bytes }).collect();
        let mut observation = read(self.kind, &inputs, &self.options)?;
        observation.validity.from = written;
        Ok(observation)
    }

    /// The files that the paths name at present.
    pub fn files(&self) -> Result<Vec<PathBuf>, Error> {
        let mut files = Vec::new();
        for path in &self.paths {
            let pattern = path.to_string_lossy();
            let missing = || Error::Missing { pattern: pattern.clone().into_owned() };
            // A file that is there goes before a pattern: names may have brackets in them.
            if path.exists() || !pattern.contains(['*', '?', '[']) {
                files.push(path.clone());
                continue;
            }
            let unreadable = |why: String| Error::Unreadable { file: pattern.clone().into_owned(), why };
            let matches = glob::glob(&pattern).map_err(|why| unreadable(format!("not a pattern: {why}")))?;
            let before = files.len();
            for found in matches {
                files.push(found.map_err(|why| unreadable(why.to_string()))?);
            }
            if files.len() == before {
                return Err(missing());
            }
        }
        Ok(files)
    }

    /// What changes when a file does. A file that is not there is part of it: it may come.
    fn fingerprint(&self) -> Vec<Fingerprint> {
        let files = self.files().unwrap_or_else(|_| self.paths.clone());
        files.into_iter().map(Fingerprint::of).collect()
    }
}

/// Looks that may find the files changed again before they are read all the same: those of a source that is written without a pause.
const UNSETTLED_LOOKS_MAX: u32 = 5;

/// Stops its watch when dropped, and waits for a callback that is running.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<Stop>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

/// Reads the source now and after every change of its files, and hands over what came of it, on a thread of its own.
///
/// `every` is the time between looks; a change is read at the second look that finds the files alike.
pub fn watch(
    source: FileSource,
    every: Duration,
    mut on_change: impl FnMut(Result<Observation, Error>) + Send + 'static,
) -> std::io::Result<Watch> {
    let stop = Arc::new(Stop::default());
    let in_thread = stop.clone();
    let name = format!("watch {}", source.kind);
    let thread = thread::Builder::new().name(name).spawn(move || {
        // Before reading: a change in between shows at the next look.
        let mut last = source.fingerprint();
        on_change(source.read());
        let mut seen = last.clone();
        let mut unsettled = 0;
        while !in_thread.wait(every) {
            let now = source.fingerprint();
            if now == last {
                continue;
            }
            if now != seen && unsettled < UNSETTLED_LOOKS_MAX {
                seen = now;
                unsettled += 1;
                continue;
            }
            unsettled = 0;
            last = now.clone();
            seen = now;
            on_change(source.read());
        }
    })?;
    Ok(Watch { stop, thread: Some(thread) })
}

impl Stop {
    /// Waits; whether to stop.
    fn wait(&self, time: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(stopped, time, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        *self.stop.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.changed.notify_all();
        if let Some(thread) = self.thread.take()
            // A callback may drop its own watch.
            && thread.thread().id() != thread::current().id()
        {
            // It panicked only if the callback did, which has been reported then.
            let _ = thread.join();
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fingerprint {
    path: PathBuf,
    /// Length, times of content and of the inode, inode: a rewrite within one tick of the clock at the same length still renames or truncates.
    state: Option<(u64, Option<SystemTime>, Inode)>,
}

type Inode = (u64, i64, i64);

impl Fingerprint {
    fn of(path: PathBuf) -> Self {
        let state = fs::metadata(&path).ok().map(|meta| (meta.len(), meta.modified().ok(), inode(&meta)));
        Self { path, state }
    }
}

#[cfg(unix)]
fn inode(meta: &fs::Metadata) -> Inode {
    use std::os::unix::fs::MetadataExt;
    (meta.ino(), meta.ctime(), meta.ctime_nsec())
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> Inode {
    (0, 0, 0)
}

fn bytes_of(path: &Path, max: usize) -> Result<Vec<u8>, Error> {
    let unreadable = |why: std::io::Error| match why.kind() {
        std::io::ErrorKind::NotFound => Error::Missing { pattern: path.display().to_string() },
        _ => Error::Unreadable { file: path.display().to_string(), why: why.to_string() },
    };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    // Here, not in the reader: cut at the bound, a compressed file would only look damaged.
    within(bytes.len(), max, "bytes", "bytes_max").map_err(|why| why.in_file(&path.display().to_string()))?;
    Ok(bytes)
}
