//! What files of maps folders said when they were applied last, so that a file which is as it was then changes nothing.
//!
//! Each folder has a memory of its own, for it may be served again after another was. Invariant: at most
//! [`crate::Limits::maps_folders_max`] are remembered, those that changed last.
use alto::id::{ResourceId, Tag};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

/// Names a maps folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderId(pub(crate) Tag);

impl FolderId {
    /// The same for the same path, which is best absolute.
    pub fn of(path: &Path) -> Self {
        Self(Tag::of_content(&[path.as_os_str().as_encoded_bytes()]))
    }
}

/// Digests by resource.
pub(crate) type Digests = BTreeMap<ResourceId, Tag>;

/// See the module. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Folders(Vec<(FolderId, Arc<Digests>)>);

impl Folders {
    fn get(&self, folder: &FolderId) -> Option<&Digests> {
        self.0.iter().find(|(known, _)| known == folder).map(|(_, digests)| &**digests)
    }

    /// What the file of a resource was when it was applied last.
    pub(crate) fn digest(&self, folder: &FolderId, id: &ResourceId) -> Option<&Tag> {
        self.get(folder)?.get(id)
    }

    /// The resources whose files were applied and did not leave.
    pub(crate) fn resources(&self, folder: &FolderId) -> BTreeSet<ResourceId> {
        self.get(folder).map(|digests| digests.keys().cloned().collect()).unwrap_or_default()
    }

    /// A file was applied. So many folders are remembered.
    pub(crate) fn applied(&mut self, folder: &FolderId, id: ResourceId, digest: Tag, folders_max: usize) {
        let known = self.0.iter().position(|(known, _)| known == folder);
        let mut last = known.map_or_else(|| (folder.clone(), Arc::default()), |at| self.0.remove(at));
        Arc::make_mut(&mut last.1).insert(id, digest);
        self.0.insert(0, last);
        self.0.truncate(folders_max);
    }

    /// A file left its folder.
    pub(crate) fn left(&mut self, folder: &FolderId, id: &ResourceId) {
        for (_, digests) in self.0.iter_mut().filter(|(known, digests)| known == folder && digests.contains_key(id)) {
            Arc::make_mut(digests).remove(id);
        }
        self.0.retain(|(_, digests)| !digests.is_empty());
    }

    /// Those that changed last first.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&FolderId, &Digests)> {
        self.0.iter().map(|(folder, digests)| (folder, &**digests))
    }
}

impl FromIterator<(FolderId, Digests)> for Folders {
    fn from_iter<T: IntoIterator<Item = (FolderId, Digests)>>(folders: T) -> Self {
        Self(folders.into_iter().map(|(folder, digests)| (folder, Arc::new(digests))).collect())
    }
}
