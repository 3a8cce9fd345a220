//! Endpoint properties (RFC 7285 sections 7, 10.8 and 11.4).
use crate::{
    ErrorBody, Limits,
    document::envelope,
    endpoint::Address,
    id::{ResourceId, VersionTag},
    json::{self, Path, Reader},
};
use std::{
    collections::{BTreeMap, btree_map},
    fmt,
    str::FromStr,
};

/// A property's name (RFC 7285 section 10.8): `priv:ietf-example-prop`, or of one resource, `my-network-map.pid`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PropertyName {
    /// The resource it speaks of; `None` for a global property.
    pub resource: Option<ResourceId>,
    name: Box<str>,
}

impl PropertyName {
    /// The `pid` property of a network map (RFC 7285 section 7.1.1).
    pub fn pid_of(network_map: ResourceId) -> Self {
        Self { resource: Some(network_map), name: "pid".into() }
    }

    /// The name without the resource.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The network map, where this is the `pid` of one.
    pub fn pid_resource(&self) -> Option<&ResourceId> {
        self.resource.as_ref().filter(|_| &*self.name == "pid")
    }
}

/// A string that is not a property name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an endpoint property")]
pub struct InvalidProperty {
    /// What was given.
    pub text: Box<str>,
}

impl FromStr for PropertyName {
    type Err = InvalidProperty;
    fn from_str(text: &str) -> Result<Self, InvalidProperty> {
        let invalid = || InvalidProperty { text: text.into() };
        // A global name has no '.', a resource id may: the last one separates.
        let (resource, name) = match text.rsplit_once('.') {
            Some((resource, name)) => (Some(resource.parse().map_err(|_| invalid())?), name),
            None => (None, text),
        };
        let valid =
            (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-:_".contains(&b)) && name != "priv:";
        if valid { Ok(Self { resource, name: name.into() }) } else { Err(invalid()) }
    }
}

impl fmt::Display for PropertyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.resource {
            Some(resource) => write!(f, "{resource}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A request for endpoint properties (RFC 7285 section 11.4.1.3). Entries that appeared several times are here once; no list is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub properties: Vec<PropertyName>,
    /// Of whom.
    pub endpoints: Vec<Address>,
}

impl Request {
    /// Reads an `application/alto-endpointpropparams+json` body.
    pub fn from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        Self::from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        json::document(body, limits, |reader| {
            let root = Path::ROOT;
            let (mut properties, mut endpoints) = (None, None);
            let max = reader.limits.request_entries_max;
            reader.object(&root, |reader, key| {
                let path = root.child(key);
                match &**key {
                    "properties" => properties = Some(some(reader.list_field(&path, "properties", max)?, &path, reader)?),
                    "endpoints" => endpoints = Some(some(reader.list_field(&path, "endpoints", max)?, &path, reader)?),
                    _ => reader.skip()?,
                }
                Ok(())
            })?;
            Ok(Self {
                properties: properties.ok_or_else(|| root.missing("properties"))?,
                endpoints: endpoints.ok_or_else(|| root.missing("endpoints"))?,
            })
        })
    }

    /// The `application/alto-endpointpropparams+json` body.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut request = json::Object::new(&mut out);
        json::array(request.key("properties"), &self.properties, json::write_text);
        json::array(request.key("endpoints"), &self.endpoints, json::write_text);
        request.end();
        out
    }
}

/// `<1..*>`: a list that may not be empty.
fn some<T>(list: Vec<T>, path: &Path<'_>, reader: &Reader<'_>) -> Result<Vec<T>, ErrorBody> {
    if list.is_empty() { Err(path.invalid("[]", reader.limits)) } else { Ok(list) }
}

/// The properties of endpoints (RFC 7285 section 11.4.1.6). A property that is not defined for an endpoint is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointProperties {
    /// `meta.dependent-vtags`: the network maps whose `pid` was asked.
    pub dependent_vtags: Vec<VersionTag>,
    /// By endpoint, then by property.
    pub endpoints: BTreeMap<Address, BTreeMap<PropertyName, Box<str>>>,
}

impl EndpointProperties {
    /// Reads an `application/alto-endpointprop+json` body.
    pub fn from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        Self::from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        let (dependent_vtags, endpoints) = json::document(body, limits, |reader| {
            envelope(reader, "endpoint-properties", read_meta, |reader, path, _| read_endpoints(reader, path))
        })?;
        let asks_pid = || endpoints.values().flat_map(BTreeMap::keys).any(|name| name.pid_resource().is_some());
        // It "MUST be an array that includes the version tags of all ALTO network maps whose "pid" is queried".
        if dependent_vtags.is_none() && asks_pid() {
            return Err(Path::ROOT.child("meta").missing("dependent-vtags"));
        }
        Ok(Self { dependent_vtags: dependent_vtags.unwrap_or_default(), endpoints })
    }

    /// The `application/alto-endpointprop+json` body.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut document = json::Object::new(&mut out);
        let mut meta = json::Object::new(document.key("meta"));
        VersionTag::write_list(meta.key("dependent-vtags"), &self.dependent_vtags);
        meta.end();
        let mut data = json::Object::new(document.key("endpoint-properties"));
        for (address, properties) in &self.endpoints {
            let mut object = json::Object::new(data.text_key(address));
            for (name, value) in properties {
                json::write_string(object.text_key(name), value);
            }
            object.end();
        }
        data.end();
        document.end();
        out
    }
}

fn read_meta(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Option<Vec<VersionTag>>, ErrorBody> {
    let mut dependent_vtags = None;
    reader.object(path, |reader, key| {
        match &**key {
            "dependent-vtags" => dependent_vtags = Some(VersionTag::read_list(reader, &path.child(key))?),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(dependent_vtags)
}

type Properties = BTreeMap<PropertyName, Box<str>>;

fn read_endpoints(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<BTreeMap<Address, Properties>, ErrorBody> {
    let mut endpoints = BTreeMap::new();
    let max = reader.limits.request_entries_max;
    reader.map(path, |reader, at, key| {
        let address: Address = key.parse().map_err(|_| path.invalid(&key, reader.limits))?;
        if endpoints.len() == max {
            return Err(reader.too_many(path, "endpoints", max));
        }
        match endpoints.entry(address) {
            btree_map::Entry::Occupied(_) => Err(reader.duplicate(at, path, &key)),
            btree_map::Entry::Vacant(entry) => {
                entry.insert(read_properties(reader, &path.child(&key))?);
                Ok(())
            }
        }
    })?;
    Ok(endpoints)
}

fn read_properties(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Properties, ErrorBody> {
    let mut properties = Properties::new();
    reader.object(path, |reader, key| {
        let name: PropertyName = key.parse().map_err(|_| path.invalid(key, reader.limits))?;
        // "assume that the property value is a JSONString and fail to parse if it is not" (section 11.4.1.6).
        properties.insert(name, reader.string_field(&path.child(key))?.into());
        Ok(())
    })?;
    Ok(properties)
}
