//! Edges of the updates graph: from one version to the next, and shortcuts made of several.
//!
//! Merge patches (RFC 7396) say what changed and are what clients apply with the least work; they cannot set a member to null, and
//! then there is a JSON patch (RFC 6902) alone. An edge no smaller than the document is one that replaces the document.
use crate::record::Patches;
use bytes::Bytes;
use maps::guidance::Resource;
use serde_json::{Map, Value};

/// The edge between two versions of a resource; `old` is not at hand for a version from before a restart.
pub(crate) fn of(old: Option<&Resource>, before: &[u8], _new: &Resource, after: &[u8]) -> Patches {
    let _ = old;
    between(before, after)
}

/// The edge between two documents. They are JSON that we wrote.
pub(crate) fn between(before: &[u8], after: &[u8]) -> Patches {
    let parse = |body| serde_json::from_slice::<Value>(body).expect("what is served is JSON that we wrote");
    let merge = difference(&parse(before), &parse(after));
    fitting(Patches { merge: merge.map(|patch| write(&patch)), json: None }, after)
}

/// Patches as they are kept: at least one, none that is larger than what it leads to.
pub(crate) fn fitting(patches: Patches, after: &[u8]) -> Patches {
    let small = |patch: Option<Bytes>| patch.filter(|patch| patch.len() < after.len());
    let patches = Patches { merge: small(patches.merge), json: small(patches.json) };
    match patches {
        Patches { merge: None, json: None } => Patches { merge: None, json: Some(replacement(after)) },
        some => some,
    }
}

/// A JSON patch that puts a document in place of another.
fn replacement(document: &[u8]) -> Bytes {
    [&br#"[{"op":"replace","path":"","value":"#[..], document, b"}]"].concat().into()
}

fn write(value: &Value) -> Bytes {
    serde_json::to_vec(value).expect("a JSON value is written to memory").into()
}

/// The smallest merge patch from one object to another; `None` when there is none, for a null.
fn difference(before: &Value, after: &Value) -> Option<Value> {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return without_null(after).then(|| after.clone());
    };
    let mut patch = Map::new();
    for (name, value) in after {
        match before.get(name) {
            Some(old) if old == value => {}
            Some(old @ Value::Object(_)) if value.is_object() => {
                patch.insert(name.clone(), difference(old, value)?);
            }
            _ => {
                without_null(value).then(|| patch.insert(name.clone(), value.clone()))?;
            }
        }
    }
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    Some(Value::Object(patch))
}

fn without_null(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Object(members) => members.values().all(without_null),
        // In an array a null is a value like any other.
        _ => true,
    }
}

/// One merge patch that does what several do one after the other; `None` when there is none, or none worth having.
///
/// Where a member is replaced by something that is no object and later has an object merged into it, only who knows the first document
/// could say what of it has to go: then there is none.
pub(crate) fn joined(parts: &[Bytes]) -> Option<Bytes> {
    let mut parts_bytes = 0;
    let mut whole = Value::Object(Map::new());
    for part in parts {
        parts_bytes += part.len();
        join(&mut whole, serde_json::from_slice(part).ok()?)?;
    }
    // Less than a quarter saved is not worth its memory.
    let joined = write(&whole);
    (joined.len() <= parts_bytes / 4 * 3).then_some(joined)
}

fn join(first: &mut Value, second: Value) -> Option<()> {
    let Value::Object(second) = second else {
        *first = second;
        return Some(());
    };
    let Value::Object(first) = first else { return None };
    for (name, value) in second {
        match first.get_mut(&name) {
            Some(there) => join(there, value)?,
            None => {
                first.insert(name, value);
            }
        }
    }
    Some(())
}
