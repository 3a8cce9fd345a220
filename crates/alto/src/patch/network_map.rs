//! Changes of network maps, from prefixes (RFC 7285 section 11.2.1.6).
//!
//! A merge patch replaces the list of a PID's addresses whole; a JSON patch names the places of those that came and went. Lists are
//! sorted, on both sides and on the wire: places count in that order. A list without an entry is not on the wire.
use super::{Patches, meta, operations::Operations};
use crate::{
    id::{Pid, VersionTag},
    json::{self, Object},
    network_map::{AddressGroup, NetworkMap},
    patch::json::Pointer,
};
use std::{cmp::Ordering, fmt::Display};

/// What a network map is made of, where it lies. The tag is `vtag`; the one in `map` is not read.
#[derive(Debug, Clone, Copy)]
pub struct NetworkMapParts<'a> {
    /// `meta.vtag`
    pub vtag: Option<&'a VersionTag>,
    /// `network-map`
    pub map: &'a NetworkMap,
}

impl NetworkMapParts<'_> {
    /// The change from this map to another.
    pub fn diff(&self, new: &NetworkMapParts<'_>) -> Patches {
        let mut merge = Vec::new();
        let mut json = Operations::new();
        let mut document = Object::new(&mut merge);
        if self.vtag != new.vtag {
            let mut changes = Object::new(document.key("meta"));
            meta::vtag(self.vtag, new.vtag, &mut changes, &mut json);
            changes.end();
        }
        let mut pids = Vec::new();
        let mut changes = Object::new(&mut pids);
        for (pid, old, new) in union(self.map.pids.iter(), new.map.pids.iter(), |(pid, _)| *pid) {
            match (old, new) {
                (Some((_, old)), Some((_, new))) => {
                    if old != new {
                        group(pid, old, new, &mut changes, &mut json);
                    }
                }
                (Some(_), None) => {
                    changes.key(pid.as_str()).extend_from_slice(b"null");
                    json.remove(format_args!("/network-map/{pid}"));
                }
                (None, Some((_, new))) => {
                    write_group(changes.key(pid.as_str()), new);
                    json.value("add", format_args!("/network-map/{pid}"), |out| write_group(out, new));
                }
                (None, None) => {}
            }
        }
        changes.end();
        if pids.len() > 2 {
            document.key("network-map").extend_from_slice(&pids);
        }
        document.end();
        Patches { merge: Some(merge), json: Some(json.finish()) }
    }
}

/// Both sequences, sorted by `key`, side by side.
fn union<'k, T: Copy, K: Ord + 'k>(
    old: impl Iterator<Item = T>,
    new: impl Iterator<Item = T>,
    key: impl Fn(&T) -> &'k K,
) -> impl Iterator<Item = (&'k K, Option<T>, Option<T>)> {
    let (mut old, mut new) = (old.peekable(), new.peekable());
    std::iter::from_fn(move || {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => key(old).cmp(key(new)),
        };
        let old = if order.is_le() { old.next() } else { None };
        let new = if order.is_ge() { new.next() } else { None };
        let name = key(old.as_ref().or(new.as_ref())?);
        Some((name, old, new))
    })
}

/// The lists of a group that are on the wire.
fn write_group(out: &mut Vec<u8>, group: &AddressGroup) {
    let mut object = Object::new(out);
    for (name, prefixes) in [("ipv4", &group.ipv4), ("ipv6", &group.ipv6)] {
        if !prefixes.is_empty() {
            json::array(object.key(name), prefixes, json::write_text);
        }
    }
    for (name, texts) in group.other.iter().filter(|(_, texts)| !texts.is_empty()) {
        json::array(object.key(name), texts, json::write_text);
    }
    object.end();
}

fn group(pid: &Pid, old: &AddressGroup, new: &AddressGroup, changes: &mut Object<'_>, json: &mut Operations) {
    let mut merge = Vec::new();
    let mut object = Object::new(&mut merge);
    for (name, old, new) in [("ipv4", &old.ipv4, &new.ipv4), ("ipv6", &old.ipv6, &new.ipv6)] {
        list(&format!("/network-map/{pid}/{name}"), name, old, new, &mut object, json);
    }
    for (name, old, new) in union(old.other.iter(), new.other.iter(), |(name, _)| *name) {
        let texts = |entry: Option<(_, &'_ Vec<Box<str>>)>| entry.map(|(_, texts)| texts.clone()).unwrap_or_default();
        let path = Pointer(["network-map", pid.as_str(), name].map(Into::into).into()).to_string();
        list(&path, name, &texts(old), &texts(new), &mut object, json);
    }
    object.end();
    // Groups may differ in lists without an entry alone.
    if merge.len() > 2 {
        changes.key(pid.as_str()).extend_from_slice(&merge);
    }
}

/// One list of addresses at `path`.
fn list<T: Ord + Display>(path: &str, name: &str, old: &[T], new: &[T], merge: &mut Object<'_>, json: &mut Operations) {
    if old == new {
        return;
    }
    if new.is_empty() {
        merge.key(name).extend_from_slice(b"null");
        json.remove(path);
        return;
    }
    let out = merge.key(name);
    let start = out.len();
    json::array(out, new, json::write_text);
    let whole = &out[start..];
    if old.is_empty() {
        json.value("add", path, |out| out.extend_from_slice(whole));
        return;
    }
    let before = json.len();
    let fits = elements(path, old, new, json, whole.len());
    // `{"op":"replace","path":"","value":},`
    if !fits || json.len() - before > whole.len() + path.len() + 36 {
        json.truncate(before);
        json.value("replace", path, |out| out.extend_from_slice(whole));
    }
}

/// The operations on single elements, unless they take more than `bytes_max`. What is not in order (an operator's own address type may
/// be) still comes out right: it is only not the fewest.
fn elements<T: Ord + Display>(path: &str, old: &[T], new: &[T], json: &mut Operations, bytes_max: usize) -> bool {
    let before = json.len();
    let (mut from, mut at) = (0, 0);
    while from < old.len() || at < new.len() {
        let order = match (old.get(from), new.get(at)) {
            (Some(old), Some(new)) => old.cmp(new),
            (Some(_), None) => Ordering::Less,
            _ => Ordering::Greater,
        };
        // So far the list holds `new[..at]`, then `old[from..]`.
        match order {
            Ordering::Less => {
                json.remove(format_args!("{path}/{at}"));
                from += 1;
            }
            Ordering::Greater => {
                json.value("add", format_args!("{path}/{at}"), |out| json::write_text(out, &new[at]));
                at += 1;
            }
            Ordering::Equal => {
                from += 1;
                at += 1;
            }
        }
        // Past a full list and its operation by far: no need to go on.
        if json.len() - before > bytes_max + path.len() + 64 {
            return false;
        }
    }
    true
}
