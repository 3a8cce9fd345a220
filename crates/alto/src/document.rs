//! Any resource body (RFC 7285 section 8.4.2), told apart by media type or, in a file, by its members.
use crate::{
    ErrorBody, Limits,
    cost_map::CostMap,
    directory::Directory,
    endpoint_cost::EndpointCosts,
    endpoint_property::EndpointProperties,
    json::{self, Path, Reader},
    media_type,
    network_map::NetworkMap,
};

/// A document of RFC 7285.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// Section 9.2.
    Directory(Directory),
    /// Section 11.2.1.
    NetworkMap(NetworkMap),
    /// Section 11.2.3.
    CostMap(CostMap),
    /// Section 11.4.1.
    EndpointProperties(EndpointProperties),
    /// Section 11.5.1.
    EndpointCosts(EndpointCosts),
}

/// The kinds of [`Document`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `resources`
    Directory,
    /// `network-map`
    NetworkMap,
    /// `cost-map`
    CostMap,
    /// `endpoint-properties`
    EndpointProperties,
    /// `endpoint-cost-map`
    EndpointCosts,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Directory, Self::NetworkMap, Self::CostMap, Self::EndpointProperties, Self::EndpointCosts];

    /// The member that holds its data.
    pub fn data_member(self) -> &'static str {
        match self {
            Self::Directory => "resources",
            Self::NetworkMap => "network-map",
            Self::CostMap => "cost-map",
            Self::EndpointProperties => "endpoint-properties",
            Self::EndpointCosts => "endpoint-cost-map",
        }
    }

    /// The kind of a media type, parameters and case aside.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        let bare = media_type.split(';').next().unwrap_or_default().trim();
        Self::ALL.into_iter().find(|kind| kind.media_type().eq_ignore_ascii_case(bare))
    }

    /// By media type, or by its members.
    fn told(body: &[u8], media_type: Option<&str>, limits: &Limits) -> Result<Self, ErrorBody> {
        match media_type {
            Some(name) => Self::of_media_type(name).ok_or_else(|| ErrorBody::invalid("media-type", name)),
            None => guess(body, limits),
        }
    }

    /// The kind a document's members show, if exactly one of them holds data.
    pub(crate) fn of_members<'n>(names: impl Iterator<Item = &'n str>) -> Option<Self> {
        let mut found = None;
        for name in names {
            if let Some(kind) = Self::ALL.into_iter().find(|kind| kind.data_member() == name) {
                if found.is_some() {
                    return None;
                }
                found = Some(kind);
            }
        }
        found
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Directory => media_type::DIRECTORY,
            Self::NetworkMap => media_type::NETWORK_MAP,
            Self::CostMap => media_type::COST_MAP,
            Self::EndpointProperties => media_type::ENDPOINT_PROPERTIES,
            Self::EndpointCosts => media_type::ENDPOINT_COST,
        }
    }
}

impl Document {
    /// Reads a document of the given media type; without one, the kind is told from the members.
    /// A media type that is none of ours is E_INVALID_FIELD_VALUE of `media-type`.
    pub fn parse(body: &[u8], media_type: Option<&str>) -> Result<Self, ErrorBody> {
        Self::parse_within(body, media_type, &Limits::default())
    }

    /// The same, with bounds.
    pub fn parse_within(body: &[u8], media_type: Option<&str>, limits: &Limits) -> Result<Self, ErrorBody> {
        Ok(match Kind::told(body, media_type, limits)? {
            Kind::Directory => Self::Directory(Directory::from_json_within(body, limits)?),
            Kind::NetworkMap => Self::NetworkMap(NetworkMap::from_json_within(body, limits)?),
            Kind::CostMap => Self::CostMap(CostMap::from_json_within(body, limits)?),
            Kind::EndpointProperties => Self::EndpointProperties(EndpointProperties::from_json_within(body, limits)?),
            Kind::EndpointCosts => Self::EndpointCosts(EndpointCosts::from_json_within(body, limits)?),
        })
    }

    /// The same for a document that is yet to be published: what names versions (`meta.vtag` of a network map, `meta.dependent-vtags` of
    /// a cost map) may be absent, because who publishes it makes the tags.
    pub fn parse_draft(body: &[u8], media_type: Option<&str>, limits: &Limits) -> Result<Self, ErrorBody> {
        let kind = Kind::told(body, media_type, limits)?;
        match kind {
            Kind::NetworkMap => NetworkMap::draft_from_json_within(body, limits).map(Self::NetworkMap),
            Kind::CostMap => CostMap::draft_from_json_within(body, limits).map(Self::CostMap),
            _ => Self::parse_within(body, Some(kind.media_type()), limits),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Directory(_) => Kind::Directory,
            Self::NetworkMap(_) => Kind::NetworkMap,
            Self::CostMap(_) => Kind::CostMap,
            Self::EndpointProperties(_) => Kind::EndpointProperties,
            Self::EndpointCosts(_) => Kind::EndpointCosts,
        }
    }

    /// Its media type.
    pub fn media_type(&self) -> &'static str {
        self.kind().media_type()
    }

    /// Its body.
    pub fn to_json(&self) -> Vec<u8> {
        match self {
            Self::Directory(document) => document.to_json(),
            Self::NetworkMap(document) => document.to_json(),
            Self::CostMap(document) => document.to_json(),
            Self::EndpointProperties(document) => document.to_json(),
            Self::EndpointCosts(document) => document.to_json(),
        }
    }
}

fn guess(body: &[u8], limits: &Limits) -> Result<Kind, ErrorBody> {
    let mut names = Vec::new();
    json::document(body, limits, |reader| {
        reader.object(&Path::ROOT, |reader, key| {
            names.push(key.clone());
            reader.skip()
        })
    })?;
    // Without a kind there is no telling which of the five is missing: name the one that others rest on.
    Kind::of_members(names.iter().map(|name| &**name)).ok_or_else(|| Path::ROOT.missing(Kind::NetworkMap.data_member()))
}

/// The two members every response has (RFC 7285 section 8.4): `meta`, then the data, in whichever order they come.
pub(crate) fn envelope<M, D>(
    reader: &mut Reader<'_>,
    data_member: &str,
    read_meta: impl FnOnce(&mut Reader<'_>, &Path<'_>) -> Result<M, ErrorBody>,
    read_data: impl FnOnce(&mut Reader<'_>, &Path<'_>, &M) -> Result<D, ErrorBody>,
) -> Result<(M, D), ErrorBody> {
    let root = Path::ROOT;
    let path = root.child(data_member);
    let (mut read_meta, mut read_data) = (Some(read_meta), Some(read_data));
    let (mut meta, mut data, mut data_at) = (None, None, None);
    reader.object(&root, |reader, key| {
        if key == "meta" {
            let read = read_meta.take().expect("a member comes once");
            meta = Some(read(reader, &root.child("meta"))?);
            return Ok(());
        }
        if key == data_member {
            if let Some(meta) = &meta {
                let read = read_data.take().expect("a member comes once");
                data = Some(read(reader, &path, meta)?);
                return Ok(());
            }
            data_at = Some(reader.offset());
        }
        reader.skip()
    })?;
    let meta = meta.ok_or_else(|| root.missing("meta"))?;
    if let (Some(at), Some(read)) = (data_at, read_data) {
        let end = reader.offset();
        reader.seek(at);
        data = Some(read(reader, &path, &meta)?);
        reader.seek(end);
    }
    Ok((meta, data.ok_or_else(|| root.missing(data_member))?))
}
