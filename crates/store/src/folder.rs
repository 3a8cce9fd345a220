//! A data folder: `store.redb`, everything that is kept; and `lock`, held by the process that has the folder open.
//!
//! A new file is made under another name and moved into place when it is whole, so whatever ends the process, the folder has a file that
//! can be opened or none.
use crate::{
    Error, OpenError, Store, Table, Usage, Write,
    engine::{CACHE_BYTES_MAX, Closed, Engine},
};
use bytes::Bytes;
use redb::Database;
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Seek, Write as _},
    ops::Bound,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// A data folder, open until dropped. One process at a time may have it open.
pub struct Folder {
    engine: Engine,
    file: PathBuf,
    folder: PathBuf,
    // After the engine: the file is closed when the next process may come.
    _lock: Lock,
}

impl Folder {
    /// Opens a data folder, made if it is not there. A folder that is made is for its owner alone.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let unusable = |error: io::Error| unusable(folder, &error);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unusable)?;
        let lock = lock(folder)?;
        let file = folder.join("store.redb");
        if !file.try_exists().map_err(unusable)? {
            create(folder, &file)?;
        }
        let path = file.clone();
        let engine = Engine::open(Box::new(move || Database::builder().set_cache_size(CACHE_BYTES_MAX).open(&path)))
            .map_err(|why| closed(why, folder, &file))?;
        Ok(Self { engine, file, folder: folder.into(), _lock: lock })
    }
}

/// A file that is locked. Let go of by name: a copy of its descriptor may live on in a thread with a table of its own.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl Store for Folder {
    fn write(&self, batch: &[Write]) -> Result<(), Error> {
        self.engine.write(batch)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.engine.get(table, key)
    }

    fn scan(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Error> {
        self.engine.scan(table, from, to, each)
    }

    fn usage(&self) -> Usage {
        // Blocks, for the file has holes.
        let bytes = fs::metadata(&self.file).map_or(0, |file| file.blocks() * 512);
        Usage { folder: Some(self.folder.clone()), bytes, trouble: self.engine.trouble() }
    }
}

/// Takes the folder for this process; the system lets go of it when the process ends, however it ends.
fn lock(folder: &Path) -> Result<Lock, OpenError> {
    let path = folder.join("lock");
    let unusable = |error: io::Error| unusable(folder, &error);
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {
            // For whoever finds it locked. Not worth failing for.
            let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
            Ok(Lock(file))
        }
        Err(TryLockError::WouldBlock) => {
            let process = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
            Err(OpenError::InUse { folder: folder.into(), process })
        }
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

fn create(folder: &Path, file: &Path) -> Result<(), OpenError> {
    let unusable = |error: io::Error| unusable(folder, &error);
    let new = folder.join("store.redb.new");
    // Of a start that did not get to its end.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(error)),
        _ => {}
    }
    let whole = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&new).map_err(unusable)?;
    let path = new.clone();
    drop(whole);
    Engine::open(Box::new(move || Database::builder().set_cache_size(CACHE_BYTES_MAX).create(&path)))
        .map_err(|why| closed(why, folder, &new))?;
    let sync = || -> io::Result<()> {
        File::open(&new)?.sync_all()?;
        fs::rename(&new, file)?;
        File::open(folder)?.sync_all()
    };
    sync().map_err(unusable)
}

fn unusable(folder: &Path, error: &io::Error) -> OpenError {
    let (folder, why) = (folder.into(), error.to_string());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::Full { folder, why },
        _ => OpenError::NotUsable { folder, why },
    }
}

fn closed(why: Closed, folder: &Path, file: &Path) -> OpenError {
    match why {
        Closed::InUse => OpenError::InUse { folder: folder.into(), process: None },
        Closed::Io(error) => unusable(folder, &error),
        Closed::Damaged(why) => OpenError::Damaged { file: file.into(), why },
        Closed::Newer(why) => OpenError::Newer { file: file.into(), why },
    }
}
