//! The embedded engine: redb, a copy-on-write B-tree in one file.
//!
//! Each batch is one transaction in redb's two-phase commit with its allocator's state in it, so opening after `kill -9` or a power cut
//! needs no look at the data. Each value has a CRC-32 of its table, key and bytes before it (redb checks pages only when it repairs), so
//! a bit that rots is found when it is read. Invariant: `batches` in the file counts the batches in it; so after a write that failed the
//! file itself says whether the batch is there.
use crate::{Error, Table, Write};
use bytes::Bytes;
use redb::{Database, DatabaseError, ReadableDatabase, TableDefinition, TableError};
use std::{
    cell::Cell,
    ops::{Bound, Deref},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

/// How the engine's file is laid out by us; a reader of another refuses it.
pub(crate) const FORMAT: u64 = 1;

/// Pages that are kept in memory. 16 MiB: what was written is read at a start only, once; this holds what a batch changes.
pub(crate) const CACHE_BYTES_MAX: usize = 16 << 20;

type Values = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// What the engine keeps about itself.
const OWN: TableDefinition<'static, &str, u64> = TableDefinition::new("store");

type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

pub(crate) struct Engine {
    opener: Opener,
    /// `None` after a failure, until the file could be opened again.
    database: RwLock<Option<Arc<Open>>>,
    writer: Mutex<Writer>,
    /// Why the last write failed. Apart from the writer: who asks does not wait for a disk.
    trouble: Mutex<Option<String>>,
}

/// The file. Closing it writes, and a damaged file may be more than the engine stands: that ends here.
struct Open(Option<Database>);

impl Deref for Open {
    type Target = Database;

    fn deref(&self) -> &Database {
        self.0.as_ref().expect("there until dropped")
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let database = self.0.take();
        // What it did not write, the next opening finds out from the data.
        let _ = caught(|| drop(database));
    }
}

/// What only the writer needs.
struct Writer {
    /// Batches in the file.
    batches: u64,
}

/// Why a file was not opened.
#[derive(Debug)]
pub(crate) enum Closed {
    InUse,
    Io(std::io::Error),
    Damaged(String),
    Newer(String),
}

/// Why a step failed.
#[derive(Debug)]
enum Failure {
    /// With the file.
    Storage(redb::Error),
    /// A bug of the engine, or a file that it cannot stand.
    Panic(String),
}

impl Engine {
    /// Opens what `opener` opens; the first time of a file, it is set up.
    pub(crate) fn open(opener: Opener) -> Result<Self, Closed> {
        let (database, batches) = open(&opener)?;
        Ok(Self {
            opener,
            database: RwLock::new(Some(Arc::new(database))),
            writer: Mutex::new(Writer { batches }),
            trouble: Mutex::default(),
        })
    }

    pub(crate) fn write(&self, batch: &[Write]) -> Result<(), Error> {
        let written = self.try_write(batch);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = written.as_ref().err().map(ToString::to_string);
        written
    }

    /// Why the last write failed.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn try_write(&self, batch: &[Write]) -> Result<(), Error> {
        let mut writer = self.writer();
        let database = match self.database() {
            Some(database) => database,
            None => self.reopen(&writer).map_err(Error)?,
        };
        let result = guarded(|| commit(&database, batch, writer.batches + 1));
        drop(database);
        match result {
            Ok(()) => {
                writer.batches += 1;
                Ok(())
            }
            Err(why) => {
                // The engine takes nothing more after a failed write. What stands in the file decides how it goes on.
                let why = format!("cannot write to the disk: {why}");
                match self.reopen(&writer) {
                    Ok(_) => Err(Error(why)),
                    Err(more) => Err(Error(format!("{why}; {more}"))),
                }
            }
        }
    }

    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let database = self.readable()?;
        guarded(|| {
            let reader = database.begin_read()?;
            let values = match reader.open_table(Values::new(table)) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                values => values?,
            };
            let value = values.get(key)?;
            value.map(|value| unseal(table, key, value.value()).map(Bytes::copy_from_slice)).transpose()
        })
        .map_err(|why| Error(format!("cannot read from the disk: {why}")))
    }

    pub(crate) fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Error> {
        if crate::memory::is_empty(from, to) {
            return Ok(());
        }
        let database = self.readable()?;
        guarded(|| {
            let reader = database.begin_read()?;
            let values = match reader.open_table(Values::new(table)) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(()),
                values => values?,
            };
            for entry in values.range::<&[u8]>((from, to))? {
                let (key, value) = entry?;
                if !each(key.value(), unseal(table, key.value(), value.value())?) {
                    break;
                }
            }
            Ok(())
        })
        .map_err(|why| Error(format!("cannot read from the disk: {why}")))
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // A panic in the engine is caught below.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn database(&self) -> Option<Arc<Open>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn readable(&self) -> Result<Arc<Open>, Error> {
        self.database().ok_or_else(|| Error("the disk failed and was not tried again since".into()))
    }

    /// Closes the file and opens it again.
    fn reopen(&self, writer: &Writer) -> Result<Arc<Open>, String> {
        let mut place = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // Readers that are still in there end with an error of their own; the file is closed when this is the last.
        drop(place.take());
        let (database, batches) = open(&self.opener).map_err(|why| format!("cannot open the file again: {why}"))?;
        if batches != writer.batches {
            // Said to have failed, and there. To go on would build on what nobody saw; a start sees it.
            return Err(format!("the file has batch {batches} where {} was the last one known: restart to take it up", writer.batches));
        }
        Ok(place.insert(Arc::new(database)).clone())
    }
}

fn open(opener: &Opener) -> Result<(Open, u64), Closed> {
    let attempt = caught(|| -> Result<_, Closed> {
        let database = Open(Some(opener().map_err(Closed::of)?));
        let found = set_up(&database)?;
        Ok((database, found))
    });
    attempt.unwrap_or_else(|text| Err(Closed::Damaged(text)))
}

/// The number of batches in the file; a new file becomes one of [`FORMAT`].
fn set_up(database: &Database) -> Result<u64, Closed> {
    let read = || -> Result<(Option<u64>, Option<u64>), redb::Error> {
        let reader = database.begin_read()?;
        let own = match reader.open_table(OWN) {
            Err(TableError::TableDoesNotExist(_)) => return Ok((None, None)),
            own => own?,
        };
        let get = |key| own.get(key).map(|value| value.map(|value| value.value()));
        Ok((get("format")?, get("batches")?))
    };
    match read().map_err(Closed::storage)? {
        (Some(FORMAT), batches) => batches.ok_or_else(|| Closed::Damaged("it does not say how many batches it has".into())),
        (Some(found), _) => Err(Closed::Newer(format!("it has format {found}, this program knows {FORMAT}"))),
        (None, _) => {
            let write = || -> Result<(), redb::Error> {
                let mut transaction = begin(database)?;
                {
                    let mut own = transaction.open_table(OWN)?;
                    own.insert("format", FORMAT)?;
                    own.insert("batches", 0)?;
                }
                transaction.set_quick_repair(true);
                Ok(transaction.commit()?)
            };
            write().map_err(Closed::storage).map(|()| 0)
        }
    }
}

fn begin(database: &Database) -> Result<redb::WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

fn commit(database: &Database, batch: &[Write], number: u64) -> Result<(), redb::Error> {
    let transaction = begin(database)?;
    let mut at = 0;
    while let Some(first) = batch.get(at) {
        // Neighbours of one table share the opening of it.
        let table = first.table();
        let mut values = transaction.open_table(Values::new(table))?;
        for write in batch[at..].iter().take_while(|write| write.table() == table) {
            at += 1;
            match write {
                Write::Put(_, key, value) => {
                    let mut sealed = values.insert_reserve(key.as_slice(), SEAL_BYTES + value.len())?;
                    let sealed = sealed.as_mut();
                    sealed[..SEAL_BYTES].copy_from_slice(&seal(table, key, value));
                    sealed[SEAL_BYTES..].copy_from_slice(value);
                }
                Write::Delete(_, key) => drop(values.remove(key.as_slice())?),
                Write::DeleteRange(_, from, to) if from < to => {
                    values.retain_in::<&[u8], _>(from.as_slice()..to.as_slice(), |_, _| false)?
                }
                Write::DeleteRange(..) => {}
            }
        }
    }
    transaction.open_table(OWN)?.insert("batches", number)?;
    Ok(transaction.commit()?)
}

const SEAL_BYTES: usize = 4;

/// Of which table and key a value is, and that it is whole.
fn seal(table: Table, key: &[u8], value: &[u8]) -> [u8; SEAL_BYTES] {
    let mut crc = crc32fast::Hasher::new();
    for part in [table.as_bytes(), &[0], key, &[0], value] {
        crc.update(part);
    }
    crc.finalize().to_le_bytes()
}

fn unseal<'v>(table: Table, key: &[u8], sealed: &'v [u8]) -> Result<&'v [u8], redb::Error> {
    let (head, value) = sealed.split_at_checked(SEAL_BYTES).unwrap_or_default();
    if head == seal(table, key, value) {
        Ok(value)
    } else {
        Err(redb::Error::Corrupted(format!("the value of {} in {table} is not the one that was written", key.escape_ascii())))
    }
}

/// Runs a step of the engine, of which not even a panic gets out.
fn guarded<T>(step: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Failure> {
    match caught(step) {
        Ok(result) => result.map_err(Failure::Storage),
        Err(text) => Err(Failure::Panic(text)),
    }
}

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread would become an error of the store.
pub(crate) fn catches_panics() -> bool {
    CATCHING.get()
}

/// The text of a panic instead of the panic.
fn caught<T>(step: impl FnOnce() -> T) -> Result<T, String> {
    let outer = CATCHING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(step));
    CATCHING.set(outer);
    result.map_err(|panic| panic_text(&*panic))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the engine gave up on it").to_owned()
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Storage(error) => error.fmt(f),
            Self::Panic(text) => write!(f, "damaged: {text}"),
        }
    }
}

impl Closed {
    fn of(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::InUse,
            error => Self::storage(error.into()),
        }
    }

    fn storage(error: redb::Error) -> Self {
        match error {
            // What redb makes of a file that is none of its own.
            redb::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => Self::Damaged(error.to_string()),
            redb::Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Self::Damaged(format!("it ends too early ({error})"))
            }
            redb::Error::Io(error) => Self::Io(error),
            redb::Error::Corrupted(why) if why.contains("file format version") => Self::Newer(why),
            error => Self::Damaged(error.to_string()),
        }
    }
}

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse => f.write_str("it is in use"),
            Self::Io(error) => error.fmt(f),
            Self::Damaged(why) => write!(f, "damaged: {why}"),
            Self::Newer(why) => f.write_str(why),
        }
    }
}
