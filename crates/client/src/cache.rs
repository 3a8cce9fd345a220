//! Answers kept to be used again (RFC 9111): while they are fresh without a request, after that for the price of a 304.
//!
//! [`Validity`] says how long, `memory` has them with what they were parsed into, `folder` shares them with other processes.
//! [`TimedMap`] is a network map that says itself until when it is valid.
//! Invariant: what is found here is only offered; whether it is fresh is asked of its validity at the moment of its use.
mod folder;
mod memory;
mod timed;
mod validity;

pub(crate) use timed::{Changed, Step, TimedMap};
pub(crate) use validity::Validity;

use crate::{options::Options, uri::Uri};
use bytes::Bytes;
use folder::Folder;
use memory::{Anything, Memory};
use std::{
    any::Any,
    collections::HashMap,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

/// What was asked. Two servers never share one: the URI is absolute.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// As it was asked, before redirects.
    pub uri: Box<str>,
    /// The one wanted.
    pub media_type: &'static str,
    /// The body of a request in its canonical form; empty for GET.
    pub request: Bytes,
}

/// One kept answer.
#[derive(Debug)]
pub(crate) struct Kept<T: ?Sized> {
    /// Where it came from, after redirects.
    pub uri: Uri,
    pub validity: Validity,
    pub body: Bytes,
    /// Bytes of text that `value` has beside the body.
    pub beside: usize,
    /// What the body says.
    pub value: Arc<T>,
}

/// A refresh that is under way; whoever has the lock does it. `true`: the last one failed, so those who waited need not wait for each other.
pub(crate) type Flight = Arc<tokio::sync::Mutex<bool>>;

/// Kept answers.
#[derive(Debug)]
pub(crate) struct Cache {
    bytes_max: usize,
    folder: Option<Arc<Folder>>,
    memory: Mutex<Memory>,
    flights: Mutex<HashMap<Key, Weak<tokio::sync::Mutex<bool>>>>,
}

/// Forgets all answers in a folder that clients share ([`Options::cache_folder`]): for who knows that they are right no more, whatever was
/// promised. Errors: of the file system, of a folder that is there.
pub fn forget_answers(folder: &Path) -> io::Result<()> {
    Folder::clear(folder)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Key {
    /// A GET.
    pub fn get(uri: &Uri, media_type: &'static str) -> Self {
        Self { uri: uri.to_string().into(), media_type, request: Bytes::new() }
    }
}

impl Cache {
    pub fn new(options: &Options) -> Self {
        let folder = Folder::of(options).map(Arc::new);
        Self { bytes_max: options.limits.cache_bytes_max, folder, memory: Mutex::default(), flights: Mutex::default() }
    }

    /// The kept answer, whether it is fresh or not. The folder is asked where what is in memory is not `enough`: another process may
    /// have a newer one there. `read` is asked for what is not in memory in this type, and for
    /// the bytes that has beside the body.
    pub async fn find<T: Any + Send + Sync>(
        &self,
        key: &Key,
        enough: impl Fn(&Kept<T>) -> bool,
        read: impl Fn(&Bytes) -> Option<(T, usize)>,
    ) -> Option<Kept<T>> {
        let kept = self.in_memory(key, &read);
        let Some(folder) = &self.folder else { return kept };
        if kept.as_ref().is_some_and(enough) {
            return kept;
        }
        let (folder, asked) = (folder.clone(), key.clone());
        let known = kept.as_ref().map(|kept| kept.validity.received);
        let loaded = tokio::task::spawn_blocking(move || folder.load_newer(&asked, known)).await.ok().flatten();
        let Some(loaded) = loaded else { return kept };
        let Some((value, beside)) = read(&loaded.body) else { return kept };
        let loaded = Kept { uri: loaded.uri, validity: loaded.validity, body: loaded.body, beside, value: Arc::new(value) };
        self.put_in_memory(key.clone(), &loaded);
        Some(loaded)
    }

    fn in_memory<T: Any + Send + Sync>(&self, key: &Key, read: impl Fn(&Bytes) -> Option<(T, usize)>) -> Option<Kept<T>> {
        let Kept { uri, validity, body, beside, value } = locked(&self.memory).get(key)?;
        let value = value.downcast::<T>().ok().or_else(|| read(&body).map(|(value, _)| Arc::new(value)))?;
        Some(Kept { uri, validity, body, beside, value })
    }

    fn put_in_memory<T: Any + Send + Sync>(&self, key: Key, kept: &Kept<T>) {
        let value: Arc<Anything> = kept.value.clone();
        let kept = Kept { uri: kept.uri.clone(), validity: kept.validity.clone(), body: kept.body.clone(), beside: kept.beside, value };
        locked(&self.memory).put(key, kept, self.bytes_max);
    }

    /// Keeps an answer in the place of the one before, or only forgets that.
    pub async fn put<T: Any + Send + Sync>(&self, key: Key, kept: &Kept<T>, keep: bool) {
        if keep {
            self.put_in_memory(key.clone(), kept);
        } else {
            locked(&self.memory).remove(&key);
        }
        let (from, validity, body) = (kept.uri.clone(), kept.validity.clone(), kept.body.clone());
        // A folder that cannot be written keeps nothing; the answer is as good.
        self.in_folder(move |folder| drop(if keep { folder.store(&key, &from, &validity, &body) } else { folder.remove(&key) })).await;
    }

    /// Keeps what a 304 said of an answer.
    pub async fn confirm<T: Any + Send + Sync>(&self, key: Key, kept: &Kept<T>) {
        let keep = kept.validity.is_worth_keeping();
        if kept.validity.promises() || !keep {
            return self.put(key, kept, keep).await;
        }
        self.put_in_memory(key.clone(), kept);
        // There is nothing new to be read there: only that it was used.
        self.in_folder(move |folder| folder.touch(&key)).await;
    }

    /// Waits, for a command may end right after its answer; what happens to it changes nothing.
    async fn in_folder(&self, act: impl FnOnce(&Folder) + Send + 'static) {
        if let Some(folder) = self.folder.clone() {
            let _ = tokio::task::spawn_blocking(move || act(&folder)).await;
        }
    }

    /// The refresh of an answer that all share who want it at once.
    pub fn flight(&self, key: &Key) -> Flight {
        let mut flights = locked(&self.flights);
        if let Some(flight) = flights.get(key).and_then(Weak::upgrade) {
            return flight;
        }
        // One entry for each refresh under way: what is left of the others goes here.
        flights.retain(|_, flight| flight.strong_count() > 0);
        let flight = Flight::default();
        flights.insert(key.clone(), Arc::downgrade(&flight));
        flight
    }
}
