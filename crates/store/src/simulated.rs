//! A disk for tests: it forgets at a crash whatever was not synced, in any order and torn between sectors, and fails when told to.
//!
//! The engine on it is the one of [`crate::Folder`], byte for byte. Everything that is left to chance comes from the seed of a crash.
use crate::{
    Error, Store, Table, Usage, Write,
    engine::{CACHE_BYTES_MAX, Closed, Engine},
};
use bytes::Bytes;
use redb::{Database, StorageBackend};
use std::{
    io,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What a disk writes at once or not at all.
const SECTOR_BYTES: usize = 512;

/// A disk with one file. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// As a reader of the file sees it.
    seen: Vec<u8>,
    /// As it is on the disk.
    kept: Vec<u8>,
    /// What was done since the last sync.
    since: Vec<Step>,
    /// Which life of the process this is: one that ended does nothing more.
    life: u64,
    /// Writes and syncs that still succeed.
    steps_left: Option<u64>,
    /// How long the file may become.
    bytes_max: Option<u64>,
}

#[derive(Debug)]
enum Step {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Disk {
    /// Starts a process that opens the file, and ends the one that had it open.
    pub fn open(&self) -> Result<OnDisk, Error> {
        self.state().life += 1;
        let disk = self.clone();
        // Each opening within a life has a handle of its own on the same file.
        let opener = move || {
            let life = disk.state().life;
            Database::builder().set_cache_size(CACHE_BYTES_MAX).create_with_backend(Handle { disk: disk.clone(), life })
        };
        Engine::open(Box::new(opener)).map(OnDisk).map_err(|why: Closed| Error(why.to_string()))
    }

    /// The machine stops and starts again: of what was not synced any part may be there.
    pub fn crash(&self, seed: u64) {
        let mut random = Random(seed);
        let mut state = self.state();
        state.life += 1;
        let (mut file, since) = (std::mem::take(&mut state.kept), std::mem::take(&mut state.since));
        for step in since {
            match step {
                Step::Length(length) if random.coin() => file.resize(length, 0),
                Step::Length(_) => {}
                Step::Write(at, bytes) => {
                    for (sector, part) in bytes.chunks(SECTOR_BYTES).enumerate() {
                        let at = at + sector * SECTOR_BYTES;
                        // Only what lies within the file as far as that is known to the disk.
                        if random.coin() && at + part.len() <= file.len() {
                            file[at..at + part.len()].copy_from_slice(part);
                        }
                    }
                }
            }
        }
        state.seen.clone_from(&file);
        state.kept = file;
        state.steps_left = None;
    }

    /// The process is killed; the machine goes on, so what was written stays.
    pub fn kill(&self) {
        self.state().life += 1;
    }

    /// Lets so many writes and syncs succeed, and then none; `None`: all.
    pub fn fail_after(&self, steps: Option<u64>) {
        self.state().steps_left = steps;
    }

    /// How long the file may become; `None`: as long as it likes.
    pub fn limit(&self, bytes_max: Option<u64>) {
        self.state().bytes_max = bytes_max;
    }

    /// Turns over one bit of the file.
    pub fn rot(&self, seed: u64) {
        let mut state = self.state();
        let at = usize::try_from(Random(seed).next()).unwrap_or(usize::MAX) % (state.kept.len().max(1) * 8);
        if let Some(byte) = state.kept.get_mut(at / 8) {
            *byte ^= 1 << (at % 8);
        }
        let State { seen, kept, .. } = &mut *state;
        seen.clone_from(kept);
    }

    /// Length of the file.
    pub fn bytes(&self) -> usize {
        self.state().seen.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store on a [`Disk`].
pub struct OnDisk(Engine);

impl Store for OnDisk {
    fn write(&self, batch: &[Write]) -> Result<(), Error> {
        self.0.write(batch)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.0.get(table, key)
    }

    fn scan(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Error> {
        self.0.scan(table, from, to, each)
    }

    fn usage(&self) -> Usage {
        Usage { folder: None, bytes: 0, trouble: self.0.trouble() }
    }
}

/// The file, as opened in one life of the process.
#[derive(Debug)]
struct Handle {
    disk: Disk,
    life: u64,
}

impl Handle {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.life == self.life { Ok(state) } else { Err(io::Error::other("the process has ended")) }
    }

    /// One that changes something.
    fn step(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state()?;
        match &mut state.steps_left {
            Some(0) => return Err(io::Error::other("the disk fails as told")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(state)
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (state, at) = (self.state()?, index(offset)?);
        let from = state.seen.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(from);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let (mut state, length) = (self.step()?, index(length)?);
        if state.bytes_max.is_some_and(|max| length as u64 > max) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.seen.resize(length, 0);
        state.since.push(Step::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.step()?;
        let State { kept, since, .. } = &mut *state;
        for step in since.drain(..) {
            match step {
                Step::Length(length) => kept.resize(length, 0),
                Step::Write(at, bytes) => kept[at..at + bytes.len()].copy_from_slice(&bytes),
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (mut state, at) = (self.step()?, index(offset)?);
        let to = state.seen.get_mut(at..at + data.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        to.copy_from_slice(data);
        state.since.push(Step::Write(at, data.to_vec()));
        Ok(())
    }
}

fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}
