//! Network maps (RFC 7285 section 11.2.1) and the filter for them (11.3.1.3).
use crate::{
    ErrorBody, Limits,
    document::envelope,
    endpoint::Prefix,
    expiry::{self, Expires, Stated},
    id::{Pid, VersionTag},
    json::{self, Path, Reader, Type},
};
use std::collections::{BTreeMap, btree_map};

/// PIDs and the addresses in each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkMap {
    /// `meta.vtag`; a map that was never published has none.
    pub vtag: Option<VersionTag>,
    /// In the order of their names, so that equal maps have equal bytes.
    pub pids: BTreeMap<Pid, AddressGroup>,
}

/// The endpoint address group of one PID (RFC 7285 section 10.4.5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressGroup {
    /// Prefixes of type `ipv4`, sorted.
    pub ipv4: Vec<Prefix>,
    /// Prefixes of type `ipv6`, sorted.
    pub ipv6: Vec<Prefix>,
    /// Everything of other (`priv:`) types, by type; kept, not interpreted.
    pub other: BTreeMap<Box<str>, Vec<Box<str>>>,
}

impl NetworkMap {
    /// Reads an `application/alto-networkmap+json` body.
    pub fn from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        Self::from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    ///
    /// Refused beside bad syntax: an identical prefix in two PIDs (section 11.2.2). Not refused: a map that is not complete, which
    /// every filtered map is; [`crate::check`] tells.
    pub fn from_json_within(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        let map = Self::draft_from_json_within(body, limits)?;
        if map.vtag.is_none() {
            return Err(ErrorBody::missing("meta/vtag"));
        }
        Ok(map)
    }

    /// The same for a map that is yet to be published: who publishes it makes its tag, so `meta.vtag` may be absent.
    pub fn draft_from_json_within(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        let (vtag, pids) = json::document(body, limits, |reader| {
            envelope(reader, "network-map", read_meta, |reader, path, _| read_pids(reader, path, None))
        })?;
        Ok(Self { vtag, pids })
    }

    /// The `application/alto-networkmap+json` body.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut document = json::Object::new(&mut out);
        self.write_meta(document.key("meta"));
        self.write_content(document.key("network-map"));
        document.end();
        out
    }

    /// The value of `network-map` alone: what a content-made tag is made of.
    pub fn content_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_content(&mut out);
        out
    }

    pub(crate) fn write_meta(&self, out: &mut Vec<u8>) {
        let mut meta = json::Object::new(out);
        if let Some(vtag) = &self.vtag {
            vtag.write(meta.key("vtag"));
        }
        meta.end();
    }

    fn write_content(&self, out: &mut Vec<u8>) {
        let mut pids = json::Object::new(out);
        for (pid, group) in &self.pids {
            group.write(pids.text_key(pid), None);
        }
        pids.end();
    }
}

impl AddressGroup {
    /// Every prefix of both families.
    pub fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        self.ipv4.iter().chain(&self.ipv6).copied()
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>, expires: Option<Expires>) {
        let mut group = json::Object::new(out);
        if let Some(expires) = expires {
            json::write_text(group.key(expiry::MEMBER), expires);
        }
        for (name, prefixes) in [("ipv4", &self.ipv4), ("ipv6", &self.ipv6)] {
            if !prefixes.is_empty() {
                json::array(group.key(name), prefixes, json::write_text);
            }
        }
        for (name, texts) in &self.other {
            json::array(group.key(name), texts, |out, text| json::write_string(out, text));
        }
        group.end();
    }
}

pub(crate) fn read_meta(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Option<VersionTag>, ErrorBody> {
    let mut vtag = None;
    reader.object(path, |reader, key| match &**key {
        "vtag" => {
            vtag = Some(VersionTag::read(reader, &path.child(key))?);
            Ok(())
        }
        _ => reader.skip(),
    })?;
    Ok(vtag)
}

/// The PIDs; with `stated` also what is said of their expiry.
pub(crate) fn read_pids(
    reader: &mut Reader<'_>,
    path: &Path<'_>,
    mut stated: Option<&mut Stated>,
) -> Result<BTreeMap<Pid, AddressGroup>, ErrorBody> {
    let mut pids = BTreeMap::new();
    let mut budget = Budget { prefixes_left: reader.limits.prefixes_max };
    let pids_max = reader.limits.pids_max;
    reader.map(path, |reader, at, key| {
        if let Some(stated) = stated.as_deref_mut().filter(|_| key == expiry::MEMBER) {
            if stated.map.is_some() || pids.contains_key(expiry::MEMBER) {
                return Err(reader.duplicate(at, path, &key));
            }
            if reader.peek()? == Type::String {
                stated.map = Some(reader.parsed_field(&path.child(&key))?);
                return Ok(());
            }
        }
        let pid: Pid = key.parse().map_err(|_| path.invalid(&key, reader.limits))?;
        if pids.len() == pids_max {
            return Err(reader.too_many(path, "PIDs", pids_max));
        }
        match pids.entry(pid) {
            btree_map::Entry::Occupied(_) => Err(reader.duplicate(at, path, &key)),
            btree_map::Entry::Vacant(entry) => {
                let mut own = None;
                let group = read_group(reader, &path.child(&key), &mut budget, stated.is_some().then_some(&mut own))?;
                if let (Some(stated), Some(own)) = (stated.as_deref_mut(), own) {
                    stated.pids.insert(entry.key().clone(), own);
                }
                entry.insert(group);
                Ok(())
            }
        }
    })?;
    refuse_shared_prefixes(&pids, path, reader.limits)?;
    Ok(pids)
}

pub(crate) struct Budget {
    pub(crate) prefixes_left: usize,
}

impl Budget {
    fn spend(&mut self, reader: &Reader<'_>, path: &Path<'_>) -> Result<(), ErrorBody> {
        self.prefixes_left =
            self.prefixes_left.checked_sub(1).ok_or_else(|| reader.too_many(path, "prefixes in the map", reader.limits.prefixes_max))?;
        Ok(())
    }
}

/// One group; with `expires` also what it says of its expiry.
pub(crate) fn read_group(
    reader: &mut Reader<'_>,
    path: &Path<'_>,
    budget: &mut Budget,
    mut expires: Option<&mut Option<Expires>>,
) -> Result<AddressGroup, ErrorBody> {
    let mut group = AddressGroup::default();
    reader.object(path, |reader, key| {
        let path = path.child(key);
        match &**key {
            "ipv4" => group.ipv4 = read_prefixes(reader, &path, budget, true)?,
            "ipv6" => group.ipv6 = read_prefixes(reader, &path, budget, false)?,
            expiry::MEMBER if expires.is_some() && reader.peek()? == Type::String => {
                let read = reader.parsed_field(&path)?;
                expires.as_deref_mut().expect("asked for").replace(read);
            }
            // A type we do not know is to be ignored (section 11.2.1.7), whatever it holds; lists of strings are kept.
            _ => {
                if let Some(texts) = read_unknown(reader, &path, budget)? {
                    group.other.insert((&**key).into(), texts);
                }
            }
        }
        Ok(())
    })?;
    Ok(group)
}

pub(crate) fn read_prefixes(reader: &mut Reader<'_>, path: &Path<'_>, budget: &mut Budget, ipv4: bool) -> Result<Vec<Prefix>, ErrorBody> {
    let mut prefixes: Vec<Prefix> = Vec::new();
    reader.array(path, |reader| {
        budget.spend(reader, path)?;
        let start = reader.offset();
        let prefix: Prefix = reader.parsed_element(path)?;
        if prefix.is_ipv4() != ipv4 {
            return Err(path.invalid(reader.since(start).trim_matches('"'), reader.limits));
        }
        prefixes.push(prefix);
        Ok(())
    })?;
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes.shrink_to_fit();
    Ok(prefixes)
}

pub(crate) fn read_unknown(reader: &mut Reader<'_>, path: &Path<'_>, budget: &mut Budget) -> Result<Option<Vec<Box<str>>>, ErrorBody> {
    if reader.peek()? != Type::Array {
        reader.skip()?;
        return Ok(None);
    }
    let mut texts = Vec::new();
    let mut strings = true;
    reader.array(path, |reader| {
        budget.spend(reader, path)?;
        strings = strings && reader.peek()? == Type::String;
        if strings {
            texts.push(reader.string()?.into());
            Ok(())
        } else {
            reader.skip()
        }
    })?;
    Ok(strings.then_some(texts))
}

/// "MUST NOT define two or more PIDs that contain an identical IP prefix" (section 11.2.2).
fn refuse_shared_prefixes(pids: &BTreeMap<Pid, AddressGroup>, path: &Path<'_>, limits: &Limits) -> Result<(), ErrorBody> {
    let mut all: Vec<(Prefix, &Pid)> = pids.iter().flat_map(|(pid, group)| group.prefixes().map(move |prefix| (prefix, pid))).collect();
    all.sort_unstable();
    match all.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        None => Ok(()),
        Some(pair) => {
            let (prefix, pid) = pair[1];
            let pid = path.child(pid.as_str());
            let family = pid.child(if prefix.is_ipv4() { "ipv4" } else { "ipv6" });
            Err(family.invalid(&prefix.to_string(), limits))
        }
    }
}

/// A request for a part of a network map (RFC 7285 section 11.3.1.3). Entries that appeared several times are here once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// PIDs wanted; empty means all.
    pub pids: Vec<Pid>,
    /// Address types wanted; empty means all.
    pub address_types: Vec<Box<str>>,
}

impl Filter {
    /// Reads an `application/alto-networkmapfilter+json` body.
    pub fn from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        Self::from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        json::document(body, limits, |reader| {
            let root = Path::ROOT;
            let (mut pids, mut address_types) = (None, Vec::new());
            let max = reader.limits.request_entries_max;
            reader.object(&root, |reader, key| {
                let path = root.child(key);
                match &**key {
                    "pids" => pids = Some(reader.list_field(&path, "PIDs", max)?),
                    "address-types" => {
                        let types: Vec<AddressType> = reader.list_field(&path, "address types", max)?;
                        address_types = types.into_iter().map(|AddressType(name)| name).collect();
                    }
                    _ => reader.skip()?,
                }
                Ok(())
            })?;
            Ok(Self { pids: pids.ok_or_else(|| root.missing("pids"))?, address_types })
        })
    }

    /// The `application/alto-networkmapfilter+json` body.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut request = json::Object::new(&mut out);
        json::array(request.key("pids"), &self.pids, json::write_text);
        if !self.address_types.is_empty() {
            json::array(request.key("address-types"), &self.address_types, |out, name| json::write_string(out, name));
        }
        request.end();
        out
    }
}

/// A name as section 10.4.2 allows it, known or not: the filter drops the ones it does not know (section 11.3.1.6).
#[derive(Clone, PartialEq, Eq, Hash)]
struct AddressType(Box<str>);

impl std::str::FromStr for AddressType {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let valid = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if valid { Ok(Self(text.into())) } else { Err(()) }
    }
}
