//! Information resource directories (RFC 7285 section 9.2; capabilities of multi-cost: RFC 8189 section 4.1.1, of update streams: RFC 8895
//! section 6.3).
use crate::{
    ErrorBody, Limits,
    cost::CostType,
    document::envelope,
    endpoint_property::PropertyName,
    id::ResourceId,
    json::{self, Path, Reader},
};
use std::collections::{BTreeMap, btree_map};

/// What a server offers and where.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Directory {
    /// `meta`.
    pub meta: Meta,
    /// `resources`.
    pub resources: BTreeMap<ResourceId, Entry>,
}

/// What the entries of a directory share.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Meta {
    /// `cost-types`: names for cost types, local to this directory.
    pub cost_types: BTreeMap<Box<str>, CostType>,
    /// `default-alto-network-map`; a root directory has one.
    pub default_network_map: Option<ResourceId>,
}

/// One resource.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entry {
    /// Where; may be relative to the directory.
    pub uri: Box<str>,
    /// What a request for it returns.
    pub media_type: Box<str>,
    /// What a POST to it takes; `None` for a resource that is got.
    pub accepts: Option<Box<str>>,
    /// What it can do.
    pub capabilities: Capabilities,
    /// The resources it directly depends on.
    pub uses: Vec<ResourceId>,
    /// `updates`, an addition of ours: where its updates are told by WebSocket, `ws:` or `wss:`.
    pub updates: Option<Box<str>>,
}

/// What a resource can do; what is not there has the default of its specification.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Capabilities {
    /// `cost-type-names` (RFC 7285 sections 11.2.3.4 and 11.3.2.4), names of [`Meta::cost_types`].
    pub cost_type_names: Vec<Box<str>>,
    /// `cost-constraints` (RFC 7285 section 11.3.2.4).
    pub cost_constraints: bool,
    /// `max-cost-types` (RFC 8189 section 4.1.1); 0 without multi-cost.
    pub max_cost_types: u32,
    /// `testable-cost-type-names` (RFC 8189 section 4.1.1); empty when absent.
    pub testable_cost_type_names: Vec<Box<str>>,
    /// `prop-types` (RFC 7285 section 11.4.1.4).
    pub prop_types: Vec<PropertyName>,
    /// `incremental-change-media-types` (RFC 8895 section 6.3): for each resource the kinds of patch, separated by commas.
    pub incremental_change_media_types: BTreeMap<ResourceId, Box<str>>,
    /// `support-stream-control` (RFC 8895 section 6.3).
    pub support_stream_control: bool,
    /// `expires`, an addition of ours: its network maps say until when they are valid ([`crate::expiry`]).
    pub expires: bool,
}

impl Directory {
    /// Reads an `application/alto-directory+json` body.
    pub fn from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        Self::from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        let (meta, resources) = json::document(body, limits, |reader| {
            envelope(reader, "resources", Meta::read, |reader, path, _| read_resources(reader, path))
        })?;
        Ok(Self { meta, resources })
    }

    /// The `application/alto-directory+json` body.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut document = json::Object::new(&mut out);
        self.meta.write(document.key("meta"));
        let mut resources = json::Object::new(document.key("resources"));
        for (id, entry) in &self.resources {
            entry.write(resources.text_key(id));
        }
        resources.end();
        document.end();
        out
    }

    /// The cost types of an entry, by name; names that `meta` does not define are left out.
    pub fn cost_types_of<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = (&'a str, &'a CostType)> {
        entry.capabilities.cost_type_names.iter().filter_map(|name| Some((&**name, self.meta.cost_types.get(name)?)))
    }
}

impl Meta {
    fn read(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Self, ErrorBody> {
        let mut meta = Self::default();
        reader.object(path, |reader, key| {
            let path = path.child(key);
            match &**key {
                "cost-types" => meta.cost_types = read_cost_types(reader, &path)?,
                "default-alto-network-map" => meta.default_network_map = Some(reader.parsed_field(&path)?),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(meta)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut meta = json::Object::new(out);
        if !self.cost_types.is_empty() {
            let mut types = json::Object::new(meta.key("cost-types"));
            for (name, cost_type) in &self.cost_types {
                cost_type.write(types.key(name));
            }
            types.end();
        }
        if let Some(id) = &self.default_network_map {
            meta.string("default-alto-network-map", id.as_str());
        }
        meta.end();
    }
}

fn read_cost_types(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<BTreeMap<Box<str>, CostType>, ErrorBody> {
    let mut types = BTreeMap::new();
    let max = reader.limits.resources_max;
    reader.object(path, |reader, key| {
        if types.len() == max {
            return Err(reader.too_many(path, "cost types", max));
        }
        types.insert((&**key).into(), CostType::read(reader, &path.child(key))?);
        Ok(())
    })?;
    Ok(types)
}

fn read_resources(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<BTreeMap<ResourceId, Entry>, ErrorBody> {
    let mut resources = BTreeMap::new();
    let max = reader.limits.resources_max;
    reader.map(path, |reader, at, key| {
        let id: ResourceId = key.parse().map_err(|_| path.invalid(&key, reader.limits))?;
        if resources.len() == max {
            return Err(reader.too_many(path, "resources", max));
        }
        match resources.entry(id) {
            btree_map::Entry::Occupied(_) => Err(reader.duplicate(at, path, &key)),
            btree_map::Entry::Vacant(place) => {
                place.insert(Entry::read(reader, &path.child(&key))?);
                Ok(())
            }
        }
    })?;
    Ok(resources)
}

impl Entry {
    fn read(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Self, ErrorBody> {
        let (mut uri, mut media_type) = (None, None);
        let mut entry = Self::default();
        let max = reader.limits.resources_max;
        reader.object(path, |reader, key| {
            let path = path.child(key);
            match &**key {
                "uri" => uri = Some(reader.string_field(&path)?.into()),
                "media-type" => media_type = Some(reader.string_field(&path)?.into()),
                // An empty text is how section 11.2.3.4 writes that nothing is accepted.
                "accepts" => {
                    let accepts = reader.string_field(&path)?;
                    entry.accepts = (!accepts.is_empty()).then(|| accepts.into());
                }
                "capabilities" => entry.capabilities = Capabilities::read(reader, &path)?,
                "uses" => entry.uses = reader.list_field(&path, "resources", max)?,
                "updates" => entry.updates = Some(reader.string_field(&path)?.into()),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        entry.uri = uri.ok_or_else(|| path.missing("uri"))?;
        entry.media_type = media_type.ok_or_else(|| path.missing("media-type"))?;
        Ok(entry)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut entry = json::Object::new(out);
        entry.string("uri", &self.uri);
        entry.string("media-type", &self.media_type);
        if let Some(accepts) = &self.accepts {
            entry.string("accepts", accepts);
        }
        if self.capabilities != Capabilities::default() {
            self.capabilities.write(entry.key("capabilities"));
        }
        if !self.uses.is_empty() {
            json::array(entry.key("uses"), &self.uses, json::write_text);
        }
        if let Some(updates) = &self.updates {
            entry.string("updates", updates);
        }
        entry.end();
    }
}

impl Capabilities {
    fn read(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Self, ErrorBody> {
        let mut capabilities = Self::default();
        reader.object(path, |reader, key| {
            let path = path.child(key);
            match &**key {
                "cost-type-names" => capabilities.cost_type_names = read_names(reader, &path)?,
                "cost-constraints" => capabilities.cost_constraints = reader.bool_field(&path)?,
                "max-cost-types" => {
                    let (number, text) = reader.number_field(&path)?;
                    let whole = number as u32;
                    if f64::from(whole) != number {
                        return Err(path.invalid(text, reader.limits));
                    }
                    capabilities.max_cost_types = whole;
                }
                "testable-cost-type-names" => capabilities.testable_cost_type_names = read_names(reader, &path)?,
                "prop-types" => capabilities.prop_types = reader.list_field(&path, "properties", reader.limits.resources_max)?,
                "incremental-change-media-types" => capabilities.incremental_change_media_types = read_incremental(reader, &path)?,
                "support-stream-control" => capabilities.support_stream_control = reader.bool_field(&path)?,
                "expires" => capabilities.expires = reader.bool_field(&path)?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        capabilities.refuse_contradictions(path, reader.limits)?;
        Ok(capabilities)
    }

    /// RFC 8189 section 4.1.1. That names are those of `meta` is not asked: its own example in section 5.1 has others.
    fn refuse_contradictions(&self, path: &Path<'_>, limits: &Limits) -> Result<(), ErrorBody> {
        if self.cost_constraints && !self.testable_cost_type_names.is_empty() {
            return Err(path.child("cost-constraints").invalid("true", limits));
        }
        match self.testable_cost_type_names.iter().find(|name| !self.cost_type_names.contains(name)) {
            Some(name) => Err(path.child("testable-cost-type-names").invalid(name, limits)),
            None => Ok(()),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut object = json::Object::new(out);
        let names = |out: &mut Vec<u8>, list: &[Box<str>]| json::array(out, list, |out, name| json::write_string(out, name));
        if !self.cost_type_names.is_empty() {
            names(object.key("cost-type-names"), &self.cost_type_names);
        }
        if self.cost_constraints {
            object.key("cost-constraints").extend_from_slice(b"true");
        }
        if self.max_cost_types > 0 {
            json::write_number(object.key("max-cost-types"), self.max_cost_types.into());
        }
        if !self.testable_cost_type_names.is_empty() {
            names(object.key("testable-cost-type-names"), &self.testable_cost_type_names);
        }
        if !self.prop_types.is_empty() {
            json::array(object.key("prop-types"), &self.prop_types, json::write_text);
        }
        if !self.incremental_change_media_types.is_empty() {
            let mut types = json::Object::new(object.key("incremental-change-media-types"));
            for (id, media_types) in &self.incremental_change_media_types {
                types.string(id.as_str(), media_types);
            }
            types.end();
        }
        if self.support_stream_control {
            object.key("support-stream-control").extend_from_slice(b"true");
        }
        if self.expires {
            object.key("expires").extend_from_slice(b"true");
        }
        object.end();
    }
}

/// `IncrementalUpdateMediaTypes` (RFC 8895 section 6.3).
fn read_incremental(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<BTreeMap<ResourceId, Box<str>>, ErrorBody> {
    let mut types = BTreeMap::new();
    let max = reader.limits.resources_max;
    reader.object(path, |reader, key| {
        if types.len() == max {
            return Err(reader.too_many(path, "resources", max));
        }
        let path = path.child(key);
        let id = key.parse().map_err(|_| path.invalid(key, reader.limits))?;
        types.insert(id, reader.string_field(&path)?.into());
        Ok(())
    })?;
    Ok(types)
}

/// `<1..*>` names of cost types.
fn read_names(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Vec<Box<str>>, ErrorBody> {
    let names: Vec<String> = reader.list_field(path, "cost types", reader.limits.resources_max)?;
    if names.is_empty() {
        return Err(path.invalid("[]", reader.limits));
    }
    Ok(names.into_iter().map(Into::into).collect())
}
