//! Edges of the updates graph: from one version to the next, and shortcuts made of several.
//!
//! Merge patches (RFC 7396) say what changed and are what clients apply with the least work; they cannot set a member to null, and
//! then there is a JSON patch (RFC 6902) alone. Invariant: an edge is at most 37 bytes larger than the document it leads to.
use crate::record::Patches;
use alto::patch;
use bytes::Bytes;
use maps::guidance::{self, Resource};
use serde_json::{Map, Value};

/// The edge between two versions of a resource; `old` is not at hand for a version that another program made.
pub(crate) fn of(old: Option<&Resource>, before: &[u8], new: &Resource, after: &[u8]) -> Patches {
    match old {
        Some(old) => fitting(guidance::diff(old, new), after),
        None => between(before, after),
    }
}

/// The edge between two documents. They are JSON that we wrote.
pub(crate) fn between(before: &[u8], after: &[u8]) -> Patches {
    fitting(patch::diff(before, after).expect("what is served is JSON that we wrote"), after)
}

/// Patches as they are kept: at least one, none that is larger than what it leads to.
fn fitting(patches: patch::Patches, after: &[u8]) -> Patches {
    let small = |patch: Option<Vec<u8>>| patch.filter(|patch| patch.len() < after.len()).map(Bytes::from);
    match (small(patches.merge), small(patches.json)) {
        (None, None) => Patches { merge: None, json: Some(replacement(after)) },
        (merge, json) => Patches { merge, json },
    }
}

/// A JSON patch that puts a document in place of another.
fn replacement(document: &[u8]) -> Bytes {
    [&br#"[{"op":"replace","path":"","value":"#[..], document, b"}]"].concat().into()
}

/// One merge patch that does what several do one after the other; `None` when there is none, or none worth its memory: it must save a
/// quarter.
pub(crate) fn joined(parts: &[Bytes]) -> Option<Bytes> {
    let mut whole = Value::Object(Map::new());
    for part in parts {
        whole = patch::merge::compose(whole, serde_json::from_slice(part).ok()?)?;
    }
    let joined = serde_json::to_vec(&whole).expect("a JSON value is written to memory");
    let parts_bytes: usize = parts.iter().map(Bytes::len).sum();
    (joined.len() <= parts_bytes / 4 * 3).then(|| joined.into())
}
