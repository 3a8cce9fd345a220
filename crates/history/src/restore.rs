//! From what a restart found to what is served: the same contents under the same numbers and tags, before any source is read.
//!
//! Documents are inputs again, as they were published. What was computed stands in for itself until maps are computed again; equal maps
//! then keep their versions. Invariant: what does not fit together is a [`RestoreError`], and nothing of it is served.
use crate::{
    RestoreError, Snapshot, Version, VersionInfo,
    chain::Chain,
    compose::Tip,
    record::{Restored, VersionRecord},
};
use alto::{Document, id::ResourceId};
use maps::guidance::{Guidance, Inputs, Published};
use std::{collections::BTreeMap, sync::Arc};

/// What was served. A resource whose tag this program would make in another way keeps the tag it had; the next commit finds that.
pub(crate) fn tip(restored: Restored) -> Result<Tip, RestoreError> {
    let Restored { commit, at, chains: records, mut current, published, inputs: had } = restored;
    let mut inputs = Inputs { withdrawn: had.withdrawn, default_network_map: had.default_network_map, ..Inputs::default() };
    for (id, body) in &current {
        let media_type = records.get(id).and_then(|records| records.last()).map(|record| record.media_type);
        let media_type = media_type.ok_or_else(|| damaged(id, "it has no versions"))?;
        let document = had.documents.contains(id);
        let text = published.get(id).filter(|_| document).unwrap_or(body);
        let taken = Arc::new(take(id, media_type, text)?);
        let into = if document { &mut inputs.documents } else { &mut inputs.restored };
        into.insert(id.clone(), taken);
    }
    if let Some(id) = had.documents.iter().find(|id| !inputs.documents.contains_key(*id)) {
        return Err(damaged(id, "it was published and has no content"));
    }
    let guidance = Guidance::compose(&inputs, None).map_err(|refusal| RestoreError::Damaged(refusal.to_string()))?;
    // Equal tags have equal bytes: what is served is what was, and not what patches made of it.
    for resource in guidance.resources() {
        let record = records.get(resource.id()).and_then(|records| records.last());
        if record.is_some_and(|record| record.tag == *resource.tag()) {
            current.insert(resource.id().clone(), resource.render().body.into());
        }
    }
    let (mut chains, mut versions) = (BTreeMap::new(), BTreeMap::new());
    for (id, records) in records {
        let last = records.last().ok_or_else(|| damaged(&id, "it has no versions"))?;
        let (media_type, newest) = (last.media_type, info(last));
        let chain = match current.remove(&id) {
            Some(body) => {
                versions.insert(id.clone(), Arc::new(Version::restored(id.clone(), newest, media_type, body.clone())));
                let nodes = records.into_iter().map(|record| (info(&record), record.patch, record.snapshot)).collect();
                Chain::restore(media_type, nodes, body).ok_or_else(|| damaged(&id, "its versions do not follow each other"))?
            }
            None => Chain::ended_at(media_type, newest),
        };
        chains.insert(id, Arc::new(chain));
    }
    Ok(Tip {
        snapshot: Arc::new(Snapshot { guidance: Arc::new(guidance), versions, commit, at }),
        inputs,
        folders: had.folders,
        from_file: Arc::new(had.from_file),
        apart: Arc::new(published.into_keys().collect()),
        chains,
    })
}

fn damaged(id: &ResourceId, what: &str) -> RestoreError {
    RestoreError::Damaged(format!("{id}: {what}"))
}

fn take(id: &ResourceId, media_type: &str, text: &[u8]) -> Result<Published, RestoreError> {
    // We wrote it: what it may hold was bounded then.
    let unbounded = alto::Limits {
        body_bytes_max: usize::MAX,
        pids_max: usize::MAX,
        prefixes_max: usize::MAX,
        costs_max: usize::MAX,
        ..alto::Limits::default()
    };
    let document = Document::parse_draft(text, Some(media_type), &unbounded).map_err(|error| damaged(id, &error.to_string()))?;
    Published::take(id, document).map_err(|refusal| RestoreError::Damaged(refusal.to_string()))
}

fn info(record: &VersionRecord) -> VersionInfo {
    VersionInfo { seq: record.seq, tag: record.tag.clone(), at: record.at, bytes: record.bytes }
}

/// Whether the versions are those of the guidance, so that there is nothing to commit.
pub(crate) fn is_settled(tip: &Tip) -> bool {
    let Snapshot { guidance, versions, .. } = &*tip.snapshot;
    guidance.resources().count() == versions.len()
        && guidance.resources().all(|resource| {
            let version = versions.get(resource.id());
            version.is_some_and(|version| version.tag == *resource.tag() && version.media_type == resource.media_type())
        })
}
