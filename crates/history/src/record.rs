//! What a commit leaves on disk, and what a restart finds there. Plain values between `compose` and `restore` (which make and take them)
//! and `persist` (which writes and reads them).
//!
//! Invariant: the records of a log in their order say all that a restart serves; what is not in them (shortcuts, views of POST-mode
//! resources) is made anew or not at all.
use crate::{FolderId, Seq, folders::Folders};
use alto::id::{ResourceId, Tag};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

/// One commit.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Its number.
    pub(crate) commit: u64,
    /// When.
    pub(crate) at: SystemTime,
    /// New versions, dependencies first.
    pub(crate) versions: Vec<VersionRecord>,
    /// Views whose first version moved: all before this one are forgotten.
    pub(crate) start: Vec<(ResourceId, Seq)>,
    /// Resources that are no longer there. Of their versions only the last is remembered, without its content: numbering goes on from it
    /// if they come back.
    pub(crate) withdrawn: Vec<ResourceId>,
    /// Documents that were published in this commit and are not served as they were published (a cost map that names PIDs which its
    /// network map has not): the document. `None`: the served version is the document.
    pub(crate) published: Vec<(ResourceId, Option<Bytes>)>,
    /// All of it, each time: it is small.
    pub(crate) inputs: InputsRecord,
}

/// One version.
#[derive(Debug, Clone)]
pub(crate) struct VersionRecord {
    pub(crate) resource: ResourceId,
    pub(crate) seq: Seq,
    pub(crate) tag: Tag,
    pub(crate) media_type: &'static str,
    pub(crate) at: SystemTime,
    /// Length of its identity form.
    pub(crate) bytes: usize,
    /// From the version before; none for the first.
    pub(crate) patch: Patches,
    /// The full copy, where one is kept on disk: of the first version of a view always, of others now and then, so that a restart applies few patches.
    pub(crate) snapshot: Option<Bytes>,
}

/// A change in one or both languages.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patches {
    /// RFC 7396; `None` when it cannot say it (a null) or was not made.
    pub(crate) merge: Option<Bytes>,
    /// RFC 6902.
    pub(crate) json: Option<Bytes>,
}

/// What composes the resources besides documents and computed maps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct InputsRecord {
    /// Resources served from a document (put, patched or from a file).
    pub(crate) documents: BTreeSet<ResourceId>,
    pub(crate) withdrawn: BTreeSet<ResourceId>,
    pub(crate) default_network_map: Option<ResourceId>,
    /// What files of maps folders were when they were applied.
    pub(crate) folders: Folders,
    /// Documents that are as a file says, and its folder.
    pub(crate) from_file: BTreeMap<ResourceId, FolderId>,
}

/// What a restart finds.
#[derive(Debug, Clone)]
pub(crate) struct Restored {
    pub(crate) commit: u64,
    pub(crate) at: SystemTime,
    /// The versions of each resource there ever was, oldest first, contiguous; the first of a live one has a snapshot.
    pub(crate) chains: BTreeMap<ResourceId, Vec<VersionRecord>>,
    /// Full copy of the newest version of each resource that is served.
    pub(crate) current: BTreeMap<ResourceId, Bytes>,
    /// See [`Record::published`].
    pub(crate) published: BTreeMap<ResourceId, Bytes>,
    pub(crate) inputs: InputsRecord,
}
