//! JSON Merge Patch (RFC 7396).
//!
//! It cannot say that a member is null, nor that an object takes the place of another whole: what cannot be said is `None`.
use serde_json::{Map, Value};

/// `MergePatch(Target, Patch)` of section 2.
pub fn apply(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(members) = target else { unreachable!("it was just made an object") };
    for (name, value) in patch {
        if value.is_null() {
            members.remove(&name);
        } else {
            apply(members.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// The smallest patch from one value to another, if there is one: not where a member becomes null.
pub fn diff(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut patch = Map::new();
            for (name, value) in new {
                match old.get(name) {
                    Some(before) if before == value => {}
                    Some(before) => _ = patch.insert(name.clone(), member(before, value)?),
                    None => _ = patch.insert(name.clone(), member(&Value::Null, value)?),
                }
            }
            for name in old.keys().filter(|name| !new.contains_key(*name)) {
                patch.insert(name.clone(), Value::Null);
            }
            Some(Value::Object(patch))
        }
        (_, new) => can_be_said(new).then(|| new.clone()),
    }
}

/// Of a member: its patch must not be null, which would take it away.
fn member(old: &Value, new: &Value) -> Option<Value> {
    if new.is_null() { None } else { diff(old, new) }
}

/// Whether a value comes out as itself where nothing, or no object, was before: no member in it is null. Elements of arrays may be.
fn can_be_said(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.values().all(|value| !value.is_null() && can_be_said(value)),
        _ => true,
    }
}

/// One patch for two, one after the other; `None` where no single patch says it for every target (the first ends what was a member, the
/// second begins an object there: one patch would leave members of the old).
pub fn compose(first: Value, then: Value) -> Option<Value> {
    match (first, then) {
        (Value::Object(mut first), Value::Object(then)) => {
            for (name, value) in then {
                let value = match (first.remove(&name), value) {
                    (Some(before), value) if value.is_object() => compose(before, value)?,
                    (_, value) => value,
                };
                first.insert(name, value);
            }
            Some(Value::Object(first))
        }
        (_, Value::Object(_)) => None,
        (_, then) => Some(then),
    }
}
