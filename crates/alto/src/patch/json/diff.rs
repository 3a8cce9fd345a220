//! Making a JSON Patch of any two values.
//!
//! Objects are compared by member. Of arrays the elements that stayed, in the longest order they kept, are left alone; where naming
//! the others takes more text than the array, the array is replaced whole.
use super::{Operation, Patch, Pointer};
use serde_json::Value;
use std::collections::{HashMap, hash_map};

/// A patch from one value to another. There always is one.
pub fn diff(old: &Value, new: &Value) -> Patch {
    let mut patch = Patch::default();
    differences(old, new, &mut Vec::new(), &mut patch.0);
    patch
}

fn differences(old: &Value, new: &Value, at: &mut Vec<Box<str>>, out: &mut Vec<Operation>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for name in old.keys().filter(|name| !new.contains_key(*name)) {
                out.push(Operation::Remove { path: below(at, name) });
            }
            for (name, value) in new {
                match old.get(name) {
                    None => out.push(Operation::Add { path: below(at, name), value: value.clone() }),
                    Some(before) => {
                        at.push(name.as_str().into());
                        differences(before, value, at, out);
                        at.pop();
                    }
                }
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            let start = out.len();
            elements(old, new, at, out);
            let single: usize = out[start..].iter().map(text_bytes).sum();
            let whole = Operation::Replace { path: Pointer(at.clone()), value: Value::Array(new.clone()) };
            if text_bytes(&whole) < single {
                out.truncate(start);
                out.push(whole);
            }
        }
        (_, new) => out.push(Operation::Replace { path: Pointer(at.clone()), value: new.clone() }),
    }
}

fn below(at: &[Box<str>], name: &str) -> Pointer {
    Pointer(at.iter().cloned().chain([name.into()]).collect())
}

fn text_bytes(operation: &Operation) -> usize {
    let mut text = Vec::new();
    operation.write(&mut text);
    text.len() + 1
}

fn elements(old: &[Value], new: &[Value], at: &mut Vec<Box<str>>, out: &mut Vec<Operation>) {
    let same_start = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[same_start..], &new[same_start..]);
    let same_end = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[..old.len() - same_end], &new[..new.len() - same_end]);
    let kept = kept(old, new);
    // Between elements that stay, those of the old go and those of the new come; as many as there are of both are changed in place.
    let (mut from, mut to) = (0, 0);
    for (old_place, new_place) in kept.into_iter().chain([(old.len(), new.len())]) {
        while from < old_place && to < new_place {
            at.push((same_start + to).to_string().into());
            differences(&old[from], &new[to], at, out);
            at.pop();
            from += 1;
            to += 1;
        }
        for _ in from..old_place {
            out.push(Operation::Remove { path: below(at, &(same_start + to).to_string()) });
        }
        for value in &new[to..new_place] {
            out.push(Operation::Add { path: below(at, &(same_start + to).to_string()), value: value.clone() });
            to += 1;
        }
        (from, to) = (old_place + 1, new_place + 1);
    }
}

/// Places of elements that are in both, once in each, in the longest run of pairs that rises on both sides.
fn kept(old: &[Value], new: &[Value]) -> Vec<(usize, usize)> {
    let old = singles(old);
    let mut pairs: Vec<(usize, usize)> =
        singles(new).into_iter().filter_map(|(value, to)| Some((old.get(value).copied().flatten()?, to?))).collect();
    pairs.sort_unstable();
    // Patience: `tops[n]` is the pair that ends the run of `n + 1` with the least second place.
    let mut tops: Vec<usize> = Vec::new();
    let mut before = vec![usize::MAX; pairs.len()];
    for (place, pair) in pairs.iter().enumerate() {
        let length = tops.partition_point(|&top| pairs[top].1 < pair.1);
        if length > 0 {
            before[place] = tops[length - 1];
        }
        match tops.get_mut(length) {
            Some(top) => *top = place,
            None => tops.push(place),
        }
    }
    let mut run = Vec::with_capacity(tops.len());
    let mut next = tops.last().copied();
    while let Some(place) = next {
        run.push(pairs[place]);
        next = Some(before[place]).filter(|&before| before != usize::MAX);
    }
    run.reverse();
    run
}

/// Each element with its place, `None` if it has several.
fn singles(values: &[Value]) -> HashMap<&Value, Option<usize>> {
    let mut places = HashMap::with_capacity(values.len());
    for (place, value) in values.iter().enumerate() {
        match places.entry(value) {
            hash_map::Entry::Vacant(entry) => _ = entry.insert(Some(place)),
            hash_map::Entry::Occupied(mut entry) => _ = entry.insert(None),
        }
    }
    places
}
