//! Answers kept in a folder that several processes share.
//!
//! One file for each answer, named by a digest of what was asked. Its first line has the version of this form and a digest of the rest, its second
//! line says what was asked and what the answer said of its use, then comes the body. Files are written beside and renamed, so a reader finds one whole or
//! none and needs no lock; the digest tells what a crash left. A file that is anything else than the answer sought is no answer, never an error.
//! Invariant: while every process agrees on the bounds the folder is within them, files that are being written included: who adds one holds
//! the lock of the folder. The least recently used go first; when a file was used its modification time says.
use super::{Key, Validity};
use crate::{
    clock::{Boot, Clock, Moment},
    options::Options,
    uri::Uri,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File, TryLockError},
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

/// Of the form of a file; one of another form is no answer.
const FORM: &str = "altocast-cache 1";
/// What answers end in, and what is being written begins with.
const SUFFIX: &str = ".answer";
const UNFINISHED: &str = ".new-";
const LOCK: &str = "lock";
/// The lines before a body: a URI, a request and seven fields. 1 MiB is more than a server lets a request have.
const HEAD_BYTES_MAX: u64 = 1 << 20;
/// How far the clocks of two threads may lie apart before one counts as set back.
const CLOCK_SLACK: Duration = Duration::from_secs(2);
/// Rounding: what came so short a time after another is that other.
const SAME: Duration = Duration::from_millis(20);
/// How long to wait for the lock: an answer that is not kept costs a request, one that waits costs its caller.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// A folder of answers. Every method blocks.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    pub path: PathBuf,
    /// A digest of the certificates trusted: who trusts others takes nobody else's word.
    pub trust: String,
    pub bytes_max: u64,
    pub files_max: usize,
    pub body_bytes_max: usize,
    pub clock: Clock,
}

/// An answer as it was in its file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Loaded {
    pub uri: Uri,
    pub validity: Validity,
    pub body: Bytes,
}

/// The second line. Times are milliseconds.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    uri: String,
    media_type: String,
    request: String,
    /// After redirects.
    from: String,
    fields: Vec<(String, String)>,
    received_unix: u64,
    delay: u64,
    distrusted: bool,
    /// Which start of the machine it was and how long ago: time passes by that even when the wall clock is set.
    boot: Option<(String, u64)>,
}

impl Folder {
    /// The one of a client. `None` without one, and where the certificates to trust cannot be read: then nobody can be asked either.
    pub fn of(options: &Options) -> Option<Self> {
        let trust = match &options.ca_file {
            Some(file) => hex(&Sha256::digest(fs::read(file).ok()?)),
            None => String::new(),
        };
        Some(Self {
            path: options.cache_folder.clone()?,
            trust,
            bytes_max: options.limits.cache_folder_bytes_max,
            files_max: options.limits.cache_folder_files_max,
            body_bytes_max: options.limits.body_bytes_max,
            clock: options.clock.clone(),
        })
    }

    /// The answer to what was asked, if it is here and undamaged. It counts as used.
    #[cfg(test)]
    pub fn load(&self, key: &Key) -> Option<Loaded> {
        self.load_newer(key, None)
    }

    /// The same, if it is newer than one that came at `known`.
    pub fn load_newer(&self, key: &Key, known: Option<Moment>) -> Option<Loaded> {
        let (now, boot) = (self.clock.now(), self.clock.boot());
        let file = File::open(self.file_of(key)).ok()?;
        let metadata = file.metadata().ok()?;
        if metadata.len() > self.body_bytes_max as u64 + HEAD_BYTES_MAX {
            return None;
        }
        let used = metadata.modified().unwrap_or(now.wall);
        let loaded = read(key, BufReader::new((&file).take(metadata.len())), metadata.len(), (now, boot.as_ref(), used), known)?;
        if now.wall > used {
            // Whoever may not change it may read it all the same.
            let _ = file.set_modified(now.wall);
        }
        Some(loaded)
    }

    /// Keeps an answer in the place of the one before. Errors: of the file system; then it is not kept.
    pub fn store(&self, key: &Key, from: &Uri, validity: &Validity, body: &[u8]) -> io::Result<()> {
        let bytes = written(key, from, validity, body, self.clock.now(), self.clock.boot());
        if bytes.len() as u64 > self.bytes_max || self.files_max == 0 {
            return self.remove(key);
        }
        make_folder(&self.path)?;
        let Some(_lock) = self.lock()? else { return Ok(()) };
        let name = self.file_of(key);
        self.make_room(&name, bytes.len() as u64)?;
        // Gone again when anything fails below; readable by its owner alone.
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.path)?;
        file.write_all(&bytes)?;
        file.as_file().set_modified(self.clock.now().wall)?;
        file.persist(&name).map_err(|error| error.error)?;
        Ok(())
    }

    /// Forgets an answer.
    pub fn remove(&self, key: &Key) -> io::Result<()> {
        match fs::remove_file(self.file_of(key)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Marks an answer as used.
    pub fn touch(&self, key: &Key) {
        if let Ok(file) = File::open(self.file_of(key)) {
            let _ = file.set_modified(self.clock.now().wall);
        }
    }

    /// Forgets all answers.
    pub fn clear(path: &Path) -> io::Result<()> {
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(SUFFIX) {
                match fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn file_of(&self, key: &Key) -> PathBuf {
        let mut digest = Sha256::new();
        for part in [key.uri.as_bytes(), key.media_type.as_bytes(), &key.request, self.trust.as_bytes()] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        self.path.join(format!("{}{SUFFIX}", hex(&digest.finalize())))
    }

    /// Held by whoever changes what is in the folder; the system frees it with the process. `None` when others have it all the time.
    fn lock(&self) -> io::Result<Option<File>> {
        let file = private(File::options().create(true).truncate(false).write(true)).open(self.path.join(LOCK))?;
        for _ in 0..LOCK_TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Deletes until another file of so many bytes fits in the place of `replaced`.
    fn make_room(&self, replaced: &Path, bytes: u64) -> io::Result<()> {
        let now = self.clock.now().wall;
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(UNFINISHED) {
                // Who writes holds the lock, and here it is held: whoever began this one died.
                let _ = fs::remove_file(entry.path());
                continue;
            }
            if !name.ends_with(SUFFIX) || entry.path() == replaced {
                continue;
            }
            let Ok(metadata) = entry.metadata() else { continue };
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            // In the future: the clock was set back, and nobody trusts it any more.
            let from_future = used > now + CLOCK_SLACK;
            files.push((!from_future, used, metadata.len(), entry.path()));
        }
        files.sort();
        let (mut left, mut total) = (files.len(), files.iter().map(|(_, _, len, _)| len).sum::<u64>());
        for (_, _, len, path) in files {
            if left < self.files_max && total.saturating_add(bytes) <= self.bytes_max {
                break;
            }
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => (left, total) = (left - 1, total - len),
            }
        }
        Ok(())
    }
}

/// The file of an answer.
fn written(key: &Key, from: &Uri, validity: &Validity, body: &[u8], now: Moment, boot: Option<Boot>) -> Vec<u8> {
    let ago = now.since(validity.received);
    let head = Head {
        uri: key.uri.to_string(),
        media_type: key.media_type.to_owned(),
        request: String::from_utf8_lossy(&key.request).into_owned(),
        from: from.to_string(),
        fields: validity
            .fields
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect(),
        received_unix: millis(validity.received.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()),
        // Rounded up: what is kept is never younger than it is.
        delay: millis(validity.delay) + 1,
        // What cannot be written cannot be believed either.
        distrusted: validity.distrusted || validity.fields.values().any(|value| value.to_str().is_err()),
        boot: boot.and_then(|boot| Some((boot.id, millis(boot.passed.checked_sub(ago)?)))),
    };
    let mut rest = serde_json::to_vec(&head).expect("texts and numbers");
    rest.push(b'\n');
    rest.extend_from_slice(body);
    let mut file = format!("{FORM} {}\n", hex(&Sha256::digest(&rest))).into_bytes();
    file.extend_from_slice(&rest);
    file
}

/// What a file of `len` bytes says, if it is whole, the answer to what was asked and newer than what is `known`.
/// `now`: on the clocks of this process and of the machine, and when the file was used last.
fn read(
    key: &Key,
    mut file: impl BufRead,
    len: u64,
    (now, boot, used): (Moment, Option<&Boot>, SystemTime),
    known: Option<Moment>,
) -> Option<Loaded> {
    let mut line = || {
        let mut line = Vec::new();
        (&mut file).take(HEAD_BYTES_MAX).read_until(b'\n', &mut line).ok()?;
        line.ends_with(b"\n").then_some(line)
    };
    let (first, second) = (line()?, line()?);
    let digest = std::str::from_utf8(&first).ok()?.strip_prefix(FORM)?.strip_prefix(' ')?.strip_suffix('\n')?;
    let head: Head = serde_json::from_slice(&second).ok()?;
    if *head.uri != *key.uri || head.media_type != key.media_type || head.request.as_bytes() != &key.request[..] {
        return None;
    }
    let wall = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(head.received_unix))?;
    let (received, is_known) = place(wall, &head.boot, now, boot, used);
    if known.is_some_and(|known| received.steady <= known.steady + SAME) {
        return None;
    }
    let mut body = Vec::with_capacity(len.saturating_sub((first.len() + second.len()) as u64) as usize);
    file.read_to_end(&mut body).ok()?;
    let mut whole = Sha256::new();
    whole.update(&second);
    whole.update(&body);
    if hex(&whole.finalize()) != digest {
        return None;
    }
    let mut fields = HeaderMap::new();
    for (name, value) in &head.fields {
        fields.append(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
    }
    let mut validity = Validity::kept(fields, received, Duration::from_millis(head.delay));
    // An entity tag of a client of another name may be another one's.
    let varies = validity
        .fields
        .get_all(header::VARY)
        .iter()
        .any(|value| value.as_bytes().to_ascii_lowercase().windows(10).any(|it| it == b"user-agent"));
    validity.distrusted = head.distrusted || !is_known || varies;
    Some(Loaded { uri: Uri::parse(&head.from).ok()?, validity, body: body.into() })
}

/// Where something that came when the wall clock showed `wall` lies on the clocks of this process, and whether that is known: it is not when the wall clock
/// shows less than it once did.
fn place(wall: SystemTime, then: &Option<(String, u64)>, now: Moment, boot: Option<&Boot>, used: SystemTime) -> (Moment, bool) {
    let by_wall = now.wall.duration_since(wall).unwrap_or_default();
    let mut known = now.wall + CLOCK_SLACK >= wall.max(used);
    let mut passed = by_wall;
    if let (Some((id, then)), Some(boot)) = (then, boot)
        && *id == boot.id
    {
        match boot.passed.checked_sub(Duration::from_millis(*then)) {
            Some(by_boot) => passed = by_boot.max(by_wall),
            None => known = false,
        }
    }
    (Moment { wall, steady: now.steady.saturating_sub(passed) }, known)
}

fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn private(options: &mut fs::OpenOptions) -> &mut fs::OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
