//! One content of one resource, and all of them at one instant.
//!
//! Invariant: the `seq` of a resource's versions are contiguous from 1, and two neighbours have the same tag (a tag
//! names content, RFC 7285 section 10.3) only when the resource was withdrawn between them.
use alto::id::{ResourceId, Tag};
use bytes::Bytes;
use maps::guidance::Guidance;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

/// Number of a version among those of its resource: the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A content coding that a body may be kept in (RFC 9110 section 8.4.1; Brotli: RFC 7932; Zstandard: RFC 8878).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// `gzip`
    Gzip,
    /// `br`
    Brotli,
    /// `zstd`
    Zstd,
}

/// One content of one resource, with its body ready to be sent.
#[derive(Debug)]
pub struct Version {
    /// Of what.
    pub resource: ResourceId,
    /// Its place among the versions of the resource.
    pub seq: Seq,
    /// Names the content; stands in the body's `meta.vtag` and, in quotes, is the ETag.
    pub tag: Tag,
    /// Bare, no parameters.
    pub media_type: &'static str,
    /// When it was committed.
    pub at: SystemTime,
    /// The identity form.
    pub body: Bytes,
    coded: [OnceLock<Bytes>; 3],
}

impl Version {
    pub(crate) fn new(resource: ResourceId, seq: Seq, rendered: maps::guidance::Rendered, at: SystemTime) -> Self {
        let maps::guidance::Rendered { media_type, body, tag } = rendered;
        Self { resource, seq, tag, media_type, at, body: body.into(), coded: Default::default() }
    }

    pub(crate) fn restored(resource: ResourceId, info: VersionInfo, media_type: &'static str, body: Bytes) -> Self {
        let VersionInfo { seq, tag, at, .. } = info;
        Self { resource, seq, tag, media_type, at, body, coded: Default::default() }
    }

    /// The body in a coding, made by the first who asks and kept as long as the version. Others who ask meanwhile wait for it.
    pub fn coded(&self, coding: Coding, encode: impl FnOnce(&[u8]) -> Vec<u8>) -> Bytes {
        self.coded[coding as usize].get_or_init(|| encode(&self.body).into()).clone()
    }

    /// The body in a coding if somebody asked for it before.
    pub fn ready(&self, coding: Coding) -> Option<Bytes> {
        self.coded[coding as usize].get().cloned()
    }
}

/// What is remembered of a version whose body is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionInfo {
    /// Its place.
    pub seq: Seq,
    /// Its content.
    pub tag: Tag,
    /// When it was committed.
    pub at: SystemTime,
    /// Length of its identity form.
    pub bytes: usize,
}

/// Everything after one commit; immutable.
#[derive(Debug)]
pub struct Snapshot {
    /// Answers any request.
    pub guidance: Arc<Guidance>,
    /// The present version of each resource there is to GET.
    pub versions: BTreeMap<ResourceId, Arc<Version>>,
    /// How many commits came before.
    pub commit: u64,
    /// When it was committed.
    pub at: SystemTime,
}
