//! Both kinds of patch of network maps, group by group.
//!
//! A JSON patch names places in lists. Those of a [`NetworkMap`] are sorted: such a patch fits a map whose document we wrote ourselves.
use super::{members, patched_meta};
use crate::{
    ErrorBody, Limits,
    endpoint::Prefix,
    id::{Pid, VersionTag},
    json::{self, Path, Reader, Type},
    network_map::{AddressGroup, Budget, NetworkMap, read_group, read_meta, read_prefixes, read_unknown},
    patch::{
        Kind,
        json::{Operation, Patch, place},
    },
};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// Applies a patch.
pub(in crate::patch) fn network_map(map: &mut NetworkMap, kind: Kind, patch: &[u8], limits: &Limits) -> Option<()> {
    let mut changes = Changes { map, vtag: None, groups: BTreeMap::new(), limits };
    match kind {
        Kind::Merge => changes.merge(patch)?,
        Kind::Json => changes.json(&Patch::from_json_within(patch, limits).ok()?)?,
    }
    let Changes { vtag, mut groups, .. } = changes;
    for group in groups.values_mut().flatten() {
        for list in [&mut group.ipv4, &mut group.ipv6] {
            list.sort_unstable();
            list.dedup();
        }
    }
    fits(map, &groups, limits)?;
    if let Some(vtag) = vtag {
        map.vtag = Some(vtag);
    }
    for (pid, group) in groups {
        match group {
            Some(group) => _ = map.pids.insert(pid, group),
            None => _ = map.pids.remove(&pid),
        }
    }
    map.vtag.as_ref().map(|_| ())
}

struct Changes<'m> {
    map: &'m NetworkMap,
    vtag: Option<VersionTag>,
    /// Groups as they will be; `None`: gone.
    groups: BTreeMap<Pid, Option<AddressGroup>>,
    limits: &'m Limits,
}

impl Changes<'_> {
    fn merge(&mut self, patch: &[u8]) -> Option<()> {
        let meta = json::document(patch, self.limits, |reader| {
            let (meta, data) = members(reader, "network-map")?;
            let end = reader.offset();
            if let Some(data) = data {
                reader.seek(data);
                self.merge_pids(reader)?;
                reader.seek(end);
            }
            Ok(meta)
        })
        .ok()?;
        if let Some(patch) = meta {
            self.vtag = Some(patched_meta(&self.meta(), patch, self.limits, read_meta)??);
        }
        Some(())
    }

    fn meta(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.map.write_meta(&mut out);
        out
    }

    fn merge_pids(&mut self, reader: &mut Reader<'_>) -> Result<(), ErrorBody> {
        let path = Path::ROOT.child("network-map");
        let mut budget = self.budget();
        reader.object(&path, |reader, name| {
            let path = path.child(name);
            let known = self.map.pids.get_key_value(&**name);
            if reader.peek()? == Type::Null {
                reader.null()?;
                if let Some((pid, _)) = known {
                    self.groups.insert(pid.clone(), None);
                }
                return Ok(());
            }
            let (pid, mut group) = match known {
                Some((pid, group)) => (pid.clone(), group.clone()),
                None => (name.parse().map_err(|_| path.invalid(name, reader.limits))?, AddressGroup::default()),
            };
            reader.object(&path, |reader, kind| {
                let path = path.child(kind);
                let gone = reader.peek()? == Type::Null;
                if gone {
                    reader.null()?;
                }
                match (&**kind, gone) {
                    ("ipv4", true) => group.ipv4.clear(),
                    ("ipv6", true) => group.ipv6.clear(),
                    ("ipv4", false) => group.ipv4 = read_prefixes(reader, &path, &mut budget, true)?,
                    ("ipv6", false) => group.ipv6 = read_prefixes(reader, &path, &mut budget, false)?,
                    (kind, true) => _ = group.other.remove(kind),
                    // Objects are merged, not replaced: not for here.
                    (kind, false) => {
                        reader.element_of(Type::Array, &path)?;
                        match read_unknown(reader, &path, &mut budget)? {
                            Some(texts) => _ = group.other.insert(kind.into(), texts),
                            None => _ = group.other.remove(kind),
                        }
                    }
                }
                Ok(())
            })?;
            self.groups.insert(pid, Some(group));
            Ok(())
        })
    }

    fn budget(&self) -> Budget {
        Budget { prefixes_left: self.limits.prefixes_max }
    }

    fn json(&mut self, patch: &Patch) -> Option<()> {
        for operation in &patch.0 {
            let path: Vec<&str> = operation.path().0.iter().map(|token| &**token).collect();
            match (&path[..], operation) {
                (["meta", "vtag", "tag"], Operation::Replace { value: Value::String(tag), .. }) => {
                    let resource_id = self.vtag.as_ref().or(self.map.vtag.as_ref())?.resource_id.clone();
                    self.vtag = Some(VersionTag { resource_id, tag: tag.parse().ok()? });
                }
                (["network-map", pid], Operation::Remove { .. }) => {
                    let (pid, _) = self.map.pids.get_key_value(*pid)?;
                    self.groups.insert(pid.clone(), None).is_none_or(|group| group.is_some()).then_some(())?;
                }
                (["network-map", pid], Operation::Add { value, .. }) => {
                    let group = self.read(value, |reader, path, budget| read_group(reader, path, budget, None))?;
                    self.groups.insert(pid.parse().ok()?, Some(group));
                }
                (["network-map", pid, family @ ("ipv4" | "ipv6")], _) => {
                    let ipv4 = *family == "ipv4";
                    let whole = match operation {
                        Operation::Add { value, .. } | Operation::Replace { value, .. } => {
                            Some(self.read(value, |reader, path, budget| read_prefixes(reader, path, budget, ipv4))?)
                        }
                        Operation::Remove { .. } => None,
                        _ => return None,
                    };
                    let list = self.list(pid, ipv4)?;
                    // What `remove` and `replace` name must be there; a list without an entry is not on the wire, so nobody knows.
                    if list.is_empty() != matches!(operation, Operation::Add { .. }) {
                        return None;
                    }
                    *list = whole.unwrap_or_default();
                }
                (["network-map", pid, family @ ("ipv4" | "ipv6"), at], _) => {
                    let ipv4 = *family == "ipv4";
                    let at = place(at)?;
                    let list = self.list(pid, ipv4)?;
                    match operation {
                        Operation::Remove { .. } if at < list.len() && list.len() > 1 => _ = list.remove(at),
                        Operation::Add { value: Value::String(text), .. } if at <= list.len() && !list.is_empty() => {
                            let prefix: Prefix = text.parse().ok()?;
                            (prefix.is_ipv4() == ipv4).then_some(())?;
                            list.insert(at, prefix);
                        }
                        _ => return None,
                    }
                }
                _ => return None,
            }
        }
        Some(())
    }

    fn read<T>(&self, value: &Value, read: impl FnOnce(&mut Reader<'_>, &Path<'_>, &mut Budget) -> Result<T, ErrorBody>) -> Option<T> {
        let text = serde_json::to_vec(value).ok()?;
        json::document(&text, self.limits, |reader| read(reader, &Path::ROOT.child("network-map"), &mut self.budget())).ok()
    }

    /// A list of a PID that is there, to be changed.
    fn list(&mut self, pid: &str, ipv4: bool) -> Option<&mut Vec<Prefix>> {
        if !self.groups.contains_key(pid) {
            let (pid, group) = self.map.pids.get_key_value(pid)?;
            self.groups.insert(pid.clone(), Some(group.clone()));
        }
        let group = self.groups.get_mut(pid)?.as_mut()?;
        Some(if ipv4 { &mut group.ipv4 } else { &mut group.ipv6 })
    }
}

/// The bounds of a map, and no prefix in two PIDs (section 11.2.2), looking only for what is new.
fn fits(map: &NetworkMap, groups: &BTreeMap<Pid, Option<AddressGroup>>, limits: &Limits) -> Option<()> {
    let mut added: HashMap<Prefix, &Pid> = HashMap::new();
    for (pid, group) in groups {
        let old = map.pids.get(pid);
        for prefix in group.iter().flat_map(AddressGroup::prefixes) {
            let new = old.is_none_or(|old| !holds(old, &prefix));
            if new && added.insert(prefix, pid).is_some() {
                return None;
            }
        }
    }
    let after = || {
        let stays = map.pids.iter().filter(|(pid, _)| !groups.contains_key(*pid));
        stays.chain(groups.iter().filter_map(|(pid, group)| Some((pid, group.as_ref()?))))
    };
    let entries = |group: &AddressGroup| group.ipv4.len() + group.ipv6.len() + group.other.values().map(Vec::len).sum::<usize>();
    if after().count() > limits.pids_max || after().map(|(_, group)| entries(group)).sum::<usize>() > limits.prefixes_max {
        return None;
    }
    // A search in each PID for a few, a look at each prefix for many.
    let total: usize = after().map(|(_, group)| entries(group)).sum();
    let shared = if added.len().saturating_mul(after().count()) < total {
        after().any(|(pid, group)| added.iter().any(|(prefix, of)| *of != pid && holds(group, prefix)))
    } else {
        after().any(|(pid, group)| group.prefixes().any(|prefix| added.get(&prefix).is_some_and(|of| *of != pid)))
    };
    (!shared).then_some(())
}

fn holds(group: &AddressGroup, prefix: &Prefix) -> bool {
    if prefix.is_ipv4() { group.ipv4.binary_search(prefix).is_ok() } else { group.ipv6.binary_search(prefix).is_ok() }
}
