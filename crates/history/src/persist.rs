//! Records on disk: a [`Record`] becomes one batch of [`store::Write`]s, and a store becomes [`Restored`].
//!
//! Tables: `log` (`format`, `epoch`, and `head`: the last commit and which versions there are), `versions` and `snapshots` by resource and
//! number, `published` by resource. Format 1. Invariant: `head` names every version there is, so one that is missing is noticed; what
//! cannot be read as it was written is refused as a whole and left as it is.
mod codec;
#[cfg(test)]
mod tests;

use crate::{
    FolderId, Seq,
    record::{InputsRecord, Patches, Record, Restored, VersionRecord},
};
use alto::{
    Document, Limits,
    id::ResourceId,
    media_type,
    patch::{self, Kind},
};
use bytes::Bytes;
use codec::{Reader, Unreadable, Writer};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::SystemTime,
};
use store::{Store, Table, Write};

/// The newest format we read, and the one we write.
const FORMAT: u64 = 1;

const LOG: Table = "log";
const VERSIONS: Table = "versions";
const SNAPSHOTS: Table = "snapshots";
const PUBLISHED: Table = "published";

const MEDIA_TYPES: [&str; 4] = [media_type::NETWORK_MAP, media_type::COST_MAP, media_type::ENDPOINT_PROPERTIES, media_type::ENDPOINT_COST];

/// Why a log was not taken up. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It could not be read.
    #[error("the log of versions: {0}")]
    Store(#[from] store::Error),
    /// It could not be begun, or what is served by now not be written to it.
    #[error("the log of versions: {0}")]
    NotWritable(Box<str>),
    /// A later version of the program wrote it.
    #[error("the log of versions has format {found}, this program knows {known}: it was written by a newer version")]
    Newer {
        /// Its format.
        found: u64,
        /// The newest we read.
        known: u64,
    },
    /// What is in it does not fit together.
    #[error("the log of versions is damaged: {0}")]
    Damaged(String),
}

/// The log of all commits in a store.
pub(crate) struct Log {
    store: Arc<dyn Store>,
    epoch: Box<str>,
    chains: Mutex<Chains>,
}

type Chains = BTreeMap<ResourceId, Extent>;

/// Which versions of a resource there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    start: Seq,
    end: Seq,
    /// Whether it is served.
    live: bool,
}

/// The last commit.
#[derive(Debug, Clone, PartialEq)]
struct Head {
    commit: u64,
    at: SystemTime,
    inputs: InputsRecord,
    chains: Chains,
}

impl Log {
    /// Takes up the log in `store`, or begins one there that is named `fresh_epoch` (any text of letters and digits that no other log has).
    pub(crate) fn open(store: Arc<dyn Store>, fresh_epoch: &str) -> Result<(Self, Option<Restored>), RestoreError> {
        let damaged = |what: &str| RestoreError::Damaged(what.into());
        match store.get(LOG, b"format")? {
            Some(format) => {
                let found = Reader(&format).number().map_err(|Unreadable| damaged("its format cannot be read"))?;
                if found != FORMAT {
                    return Err(RestoreError::Newer { found, known: FORMAT });
                }
            }
            None => {
                let mut format = Writer::default();
                format.number(FORMAT);
                let put = |key: &[u8], value| Write::Put(LOG, key.into(), value);
                store
                    .write(&[put(b"format", format.into_bytes()), put(b"epoch", Bytes::copy_from_slice(fresh_epoch.as_bytes()))])
                    .map_err(|error| RestoreError::NotWritable(error.0.into()))?;
                return Ok((Self { store, epoch: fresh_epoch.into(), chains: Mutex::default() }, None));
            }
        }
        let epoch = store.get(LOG, b"epoch")?.and_then(|epoch| String::from_utf8(epoch.into()).ok());
        let epoch: Box<str> = epoch.ok_or_else(|| damaged("it has no name"))?.into();
        let Some(head) = store.get(LOG, b"head")? else {
            return Ok((Self { store, epoch, chains: Mutex::default() }, None));
        };
        let head = Head::read(&head).map_err(|Unreadable| damaged("its newest commit cannot be read"))?;
        let chains = Mutex::new(head.chains.clone());
        let restored = restore(&*store, head)?;
        Ok((Self { store, epoch, chains }, Some(restored)))
    }

    /// Made once with the log.
    pub(crate) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Writes commits that follow each other, all or none; durable when it returns.
    pub(crate) fn write(&self, records: &[Record]) -> Result<(), store::Error> {
        let Some(last) = records.last() else { return Ok(()) };
        // Held all the while: the head of one write is the base of the next.
        let mut chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = chains.clone();
        let mut batch = Vec::new();
        for record in records {
            record.write(&mut next, &mut batch);
        }
        let head = Head { commit: last.commit, at: last.at, inputs: last.inputs.clone(), chains: next };
        batch.push(Write::Put(LOG, b"head".into(), head.to_bytes()));
        self.store.write(&batch)?;
        *chains = head.chains;
        Ok(())
    }
}

impl Record {
    fn write(&self, chains: &mut Chains, batch: &mut Vec<Write>) {
        for version in &self.versions {
            let key = key(&version.resource, version.seq);
            if let Some(snapshot) = &version.snapshot {
                batch.push(Write::Put(SNAPSHOTS, key.clone(), body(snapshot)));
            }
            batch.push(Write::Put(VERSIONS, key, version.to_bytes()));
            let extent = chains.entry(version.resource.clone()).or_insert(Extent { start: version.seq, end: version.seq, live: true });
            debug_assert!(extent.end == version.seq || extent.end.0 + 1 == version.seq.0, "versions are contiguous");
            (extent.end, extent.live) = (version.seq, true);
        }
        for (resource, start) in &self.start {
            for table in [VERSIONS, SNAPSHOTS] {
                batch.push(Write::DeleteRange(table, key(resource, Seq(0)), key(resource, *start)));
            }
            if let Some(extent) = chains.get_mut(resource) {
                extent.start = extent.start.max(*start);
            }
        }
        for resource in &self.withdrawn {
            if let Some(extent) = chains.get_mut(resource) {
                (extent.start, extent.live) = (extent.end, false);
                batch.push(Write::DeleteRange(VERSIONS, key(resource, Seq(0)), key(resource, extent.end)));
                batch.push(Write::DeleteRange(SNAPSHOTS, key(resource, Seq(0)), key(resource, Seq(extent.end.0 + 1))));
            }
        }
        batch.extend(self.published.iter().map(|(resource, document)| {
            let key = resource.as_str().as_bytes().to_vec();
            match document {
                Some(document) => Write::Put(PUBLISHED, key, body(document)),
                None => Write::Delete(PUBLISHED, key),
            }
        }));
    }
}

/// Resource ids have no zero byte (RFC 7285 section 10.2), so keys sort by resource and then by number.
fn key(resource: &ResourceId, seq: Seq) -> Vec<u8> {
    [resource.as_str().as_bytes(), &[0], &seq.0.to_be_bytes()].concat()
}

fn body(body: &[u8]) -> Bytes {
    let mut out = Writer::default();
    out.body(body);
    out.into_bytes()
}

impl VersionRecord {
    /// Without what its key says, and without the snapshot.
    fn to_bytes(&self) -> Bytes {
        let mut out = Writer::default();
        out.text(self.tag.as_str());
        out.text(self.media_type);
        out.time(self.at);
        out.number(self.bytes as u64);
        out.option(self.patch.merge.as_deref(), Writer::body);
        out.option(self.patch.json.as_deref(), Writer::body);
        out.into_bytes()
    }

    fn read(resource: &ResourceId, seq: Seq, value: &[u8]) -> Result<Self, Unreadable> {
        let mut value = Reader(value);
        let version = Self {
            resource: resource.clone(),
            seq,
            tag: value.parsed()?,
            media_type: {
                let found = value.text()?;
                MEDIA_TYPES.into_iter().find(|known| *known == found).ok_or(Unreadable)?
            },
            at: value.time()?,
            bytes: value.length()?,
            patch: Patches { merge: value.option(Reader::body)?, json: value.option(Reader::body)? },
            snapshot: None,
        };
        value.end().map(|()| version)
    }
}

impl Head {
    fn to_bytes(&self) -> Bytes {
        let mut out = Writer::default();
        let inputs = &self.inputs;
        out.number(self.commit);
        out.time(self.at);
        for ids in [&inputs.documents, &inputs.withdrawn] {
            out.texts(ids.iter().map(ResourceId::as_str));
        }
        out.tags(&inputs.from_file, |folder| &folder.0);
        out.option(inputs.default_network_map.as_ref(), |out, id| out.text(id.as_str()));
        let folders = inputs.folders.iter();
        out.number(folders.len() as u64);
        for (folder, digests) in folders {
            out.text(folder.0.as_str());
            out.tags(digests, |digest| digest);
        }
        out.number(self.chains.len() as u64);
        for (id, extent) in &self.chains {
            out.text(id.as_str());
            [extent.start.0, extent.end.0, u64::from(extent.live)].into_iter().for_each(|number| out.number(number));
        }
        out.into_bytes()
    }

    fn read(value: &[u8]) -> Result<Self, Unreadable> {
        let mut value = Reader(value);
        let (commit, at) = (value.number()?, value.time()?);
        let mut ids = || value.many::<ResourceId, BTreeSet<_>>(Reader::parsed);
        let (documents, withdrawn) = (ids()?, ids()?);
        let from_file = value.many(|value| Ok((value.parsed()?, FolderId(value.parsed()?))))?;
        let default_network_map = value.option(Reader::parsed)?;
        let digests = |value: &mut Reader<'_>| value.many(|value| Ok((value.parsed()?, value.parsed()?)));
        let folders = value.many(|value| Ok((FolderId(value.parsed()?), digests(value)?)))?;
        let chains = value.many(|value| {
            let id: ResourceId = value.parsed()?;
            let (start, end, live) = (Seq(value.number()?), Seq(value.number()?), value.number()? == 1);
            if start > end { Err(Unreadable) } else { Ok((id, Extent { start, end, live })) }
        })?;
        value.end()?;
        Ok(Self { commit, at, inputs: InputsRecord { documents, withdrawn, default_network_map, folders, from_file }, chains })
    }
}

/// Everything that `head` names. Resources are read side by side: a start waits for this.
fn restore(store: &dyn Store, head: Head) -> Result<Restored, RestoreError> {
    let resources: Vec<(&ResourceId, &Extent)> = head.chains.iter().collect();
    let workers = thread::available_parallelism().map_or(1, usize::from).min(resources.len().max(1));
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((id, extent)) = resources.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            done.push(((*id).clone(), read_chain(store, id, **extent)?));
        }
        Ok::<_, RestoreError>(done)
    };
    let done: Vec<_> = thread::scope(|scope| {
        let others: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
        let own = work();
        let others = others.into_iter().map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        std::iter::once(own).chain(others).collect::<Result<Vec<_>, _>>()
    })?;
    let (mut chains, mut current) = (BTreeMap::new(), BTreeMap::new());
    for (id, (versions, newest)) in done.into_iter().flatten() {
        current.extend(newest.map(|newest| (id.clone(), newest)));
        chains.insert(id, versions);
    }
    let published = read_published(store)?;
    Ok(Restored { commit: head.commit, at: head.at, chains, current, published, inputs: head.inputs })
}

/// The versions of a resource, and the newest in full if it is served.
fn read_chain(store: &dyn Store, id: &ResourceId, extent: Extent) -> Result<(Vec<VersionRecord>, Option<Bytes>), RestoreError> {
    let damaged = |seq: Seq, what: &str| RestoreError::Damaged(format!("version {seq} of {id}: {what}"));
    let mut versions: Vec<VersionRecord> = Vec::new();
    scan(store, VERSIONS, id, extent, |seq, value| {
        let want = Seq(extent.start.0 + versions.len() as u64);
        if seq != want {
            return Err(damaged(want, "it is missing"));
        }
        versions.push(VersionRecord::read(id, seq, value).map_err(|Unreadable| damaged(seq, "it cannot be read"))?);
        Ok(())
    })?;
    if versions.last().map(|version| version.seq) != Some(extent.end) {
        return Err(damaged(Seq(extent.start.0 + versions.len() as u64), "it is missing"));
    }
    scan(store, SNAPSHOTS, id, extent, |seq, value| {
        let mut value = Reader(value);
        let snapshot = value.body().map_err(|Unreadable| damaged(seq, "its snapshot cannot be read"))?;
        let version = usize::try_from(seq.0 - extent.start.0).ok().and_then(|at| versions.get_mut(at));
        version.ok_or_else(|| damaged(seq, "it is missing"))?.snapshot = Some(snapshot);
        Ok(())
    })?;
    let newest = if extent.live { Some(newest(&versions).map_err(|(seq, what)| damaged(seq, &what))?) } else { None };
    Ok((versions, newest))
}

fn scan(
    store: &dyn Store,
    table: Table,
    id: &ResourceId,
    extent: Extent,
    mut each: impl FnMut(Seq, &[u8]) -> Result<(), RestoreError>,
) -> Result<(), RestoreError> {
    let (from, to) = (key(id, extent.start), key(id, extent.end));
    let mut result = Ok(());
    store.scan(table, Bound::Included(&from), Bound::Included(&to), &mut |key, value| {
        let seq = key.last_chunk().map_or(0, |seq| u64::from_be_bytes(*seq));
        result = each(Seq(seq), value);
        result.is_ok()
    })?;
    result
}

/// The last full copy and all that changed since.
fn newest(versions: &[VersionRecord]) -> Result<Bytes, (Seq, String)> {
    let last = versions.last().expect("the caller counted them");
    let from = versions.iter().rposition(|version| version.snapshot.is_some()).ok_or((last.seq, "no full copy leads to it".into()))?;
    let snapshot = versions[from].snapshot.clone().expect("this one has it");
    let changes = &versions[from + 1..];
    if changes.is_empty() {
        return Ok(snapshot);
    }
    // What was served is bounded by nothing but what it was made of.
    let limits = Limits { body_bytes_max: usize::MAX, ..Limits::default() };
    let fault = |version: &VersionRecord, why: String| (version.seq, format!("its change does not apply: {why}"));
    let kind = |version: &VersionRecord| match &version.patch {
        Patches { merge: Some(merge), .. } => Ok((Kind::Merge, merge.clone())),
        Patches { json: Some(json), .. } => Ok((Kind::Json, json.clone())),
        Patches { merge: None, json: None } => Err((version.seq, "its change is missing".to_owned())),
    };
    // Maps are changed in place, whatever else there is as JSON.
    if let Ok(mut document) = Document::parse_within(&snapshot, Some(last.media_type), &limits) {
        for version in changes {
            let (kind, change) = kind(version)?;
            patch::apply_to(&mut document, kind, &change, &limits).map_err(|why| fault(version, why.to_string()))?;
        }
        return Ok(document.to_json().into());
    }
    let mut value = serde_json::from_slice(&snapshot).map_err(|why| (versions[from].seq, why.to_string()))?;
    for version in changes {
        let (kind, change) = kind(version)?;
        patch::apply_to_value(kind, &mut value, &change, &limits).map_err(|why| fault(version, why.to_string()))?;
    }
    Ok(serde_json::to_vec(&value).expect("a JSON value is written to memory").into())
}

fn read_published(store: &dyn Store) -> Result<BTreeMap<ResourceId, Bytes>, RestoreError> {
    let mut published = BTreeMap::new();
    let mut result = Ok(());
    store.scan(PUBLISHED, Bound::Unbounded, Bound::Unbounded, &mut |key, value| {
        let id = std::str::from_utf8(key).ok().and_then(|id| id.parse::<ResourceId>().ok());
        match id.zip(Reader(value).body().ok()) {
            Some((id, document)) => {
                published.insert(id, document);
            }
            None => result = Err(RestoreError::Damaged(format!("the published document {} cannot be read", key.escape_ascii()))),
        }
        result.is_ok()
    })?;
    result.map(|()| published)
}
