//! The versions of one resource, in the order they were committed.
//!
//! Invariant: never empty once begun, and contiguous: the newest is always remembered, so that numbering goes on from it even when
//! the resource was withdrawn in between and a number never means two contents.
use crate::{Seq, Version, VersionInfo};
use std::collections::VecDeque;

/// What is remembered of them, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    versions: VecDeque<VersionInfo>,
}

impl Chain {
    /// The number of the version to come.
    pub(crate) fn next(&self) -> Seq {
        Seq(self.versions.back().map_or(0, |newest| newest.seq.0) + 1)
    }

    /// Adds the newest version and forgets the oldest beyond `versions_max`.
    pub(crate) fn push(&mut self, version: &Version, versions_max: usize) {
        debug_assert_eq!(version.seq, self.next());
        let Version { seq, tag, at, body, .. } = version;
        self.versions.push_back(VersionInfo { seq: *seq, tag: tag.clone(), at: *at, bytes: body.len() });
        while self.versions.len() > versions_max.max(1) {
            self.versions.pop_front();
        }
    }

    /// Oldest first.
    pub(crate) fn to_vec(&self) -> Vec<VersionInfo> {
        self.versions.iter().cloned().collect()
    }
}
