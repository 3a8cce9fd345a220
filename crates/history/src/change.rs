//! What a commit is asked for, and what it did.
//!
//! Changes come from the sources, from the admin API (documents, RFC 7396 and RFC 6902 patches) and from files of a maps folder.
//! Invariant: one commit changes a resource once.
use crate::{FolderId, Snapshot, Version};
use alto::{
    Document,
    id::{ResourceId, Tag},
};
use maps::compute::Computed;
use std::sync::Arc;

/// One change of a commit.
#[derive(Debug, Clone)]
pub enum Change {
    /// New maps from the sources; `None` when there are no sources any more.
    Computed(Option<Arc<Computed>>),
    /// A document in place of whatever the resource was.
    Put {
        /// Which resource.
        id: ResourceId,
        /// Its new content.
        document: Document,
    },
    /// RFC 7396, on the document as served.
    MergePatch {
        /// Which resource.
        id: ResourceId,
        /// `application/merge-patch+json`
        patch: Vec<u8>,
    },
    /// RFC 6902, on the document as served.
    JsonPatch {
        /// Which resource.
        id: ResourceId,
        /// `application/json-patch+json`
        patch: Vec<u8>,
    },
    /// Gone, computed or not, until somebody publishes it again.
    Withdraw {
        /// Which resource.
        id: ResourceId,
    },
    /// A file of a maps folder. The file as it was when last applied changes nothing, so that it cannot undo a later `Put`; unless another
    /// folder was served meanwhile, which brought the document that is there now or took it away.
    File {
        /// Which resource.
        id: ResourceId,
        /// Where it is.
        folder: FolderId,
        /// Of the bytes in the file.
        digest: Tag,
        /// Its content.
        document: Document,
    },
    /// A file that left the folder takes its resource along, unless somebody published over it.
    FileGone {
        /// Which resource.
        id: ResourceId,
        /// Where it was. `None`: its folder is not served any more, so it may be there still.
        folder: Option<FolderId>,
    },
}

impl Change {
    pub(crate) fn id(&self) -> Option<&ResourceId> {
        match self {
            Self::Computed(_) => None,
            Self::Put { id, .. }
            | Self::MergePatch { id, .. }
            | Self::JsonPatch { id, .. }
            | Self::Withdraw { id }
            | Self::File { id, .. }
            | Self::FileGone { id, .. } => Some(id),
        }
    }
}

/// What a commit did.
#[derive(Debug, Clone)]
pub struct Commit {
    /// What readers see from now on.
    pub snapshot: Arc<Snapshot>,
    /// The new versions, dependencies first. Empty when nothing changed.
    pub changed: Vec<Arc<Version>>,
    /// Resources that are no longer there.
    pub withdrawn: Vec<ResourceId>,
}
