//! Messages of a WebSocket update service (draft-marocco-alto-ws): text, one JSON object each.
//!
//! Unit: sequence numbers of the resource's versions.
use super::{object_text, seq_field, write_seq};
use crate::{
    ErrorBody, Limits,
    id::{ResourceId, Tag},
    json::{self, Path, Type},
};

/// Name of the subprotocol.
pub const SUBPROTOCOL: &str = "alto-updates";

/// What a client says: which version it has and, for a POST-mode resource, what it asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientMessage {
    /// `reference-tag`: the version that the client has.
    pub reference_tag: Option<Tag>,
    /// `input`: the request body of a POST-mode resource, an object, as it came.
    pub input: Option<Box<str>>,
}

impl ClientMessage {
    /// Reads a text message. One of the two members must be there; the error is the reason to close with (1008).
    pub fn from_json(message: &[u8]) -> Result<Self, ErrorBody> {
        Self::from_json_within(message, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(message: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        json::document(message, limits, |reader| {
            let root = Path::ROOT;
            let mut message = Self::default();
            reader.object(&root, |reader, key| {
                let path = root.child(key);
                match &**key {
                    "reference-tag" => message.reference_tag = Some(reader.parsed_field(&path)?),
                    "input" => message.input = Some(object_text(reader, &path)?),
                    _ => reader.skip()?,
                }
                Ok(())
            })?;
            if message == Self::default() { Err(root.missing("reference-tag")) } else { Ok(message) }
        })
    }

    /// The text message.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut object = json::Object::new(&mut out);
        if let Some(tag) = &self.reference_tag {
            object.string("reference-tag", tag.as_str());
        }
        if let Some(input) = &self.input {
            object.key("input").extend_from_slice(input.as_bytes());
        }
        object.end();
        out
    }
}

/// What the server says: a version, and how to get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerMessage<'a> {
    /// `resource-id`
    pub resource_id: ResourceId,
    /// `seq`: the version after this message.
    pub seq: u64,
    /// `tag`: of that version.
    pub tag: Tag,
    /// `since`, an addition of ours: the version that a change over several versions starts from. Absent: the one before `seq`.
    pub since: Option<u64>,
    /// `media-type` and `data`; `None`: the client has this version already.
    pub update: Option<Update<'a>>,
}

/// A full copy or a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update<'a> {
    /// `media-type`: the resource's own for a full copy, that of a patch for a change.
    pub media_type: std::borrow::Cow<'a, str>,
    /// `data`: JSON text.
    pub data: &'a [u8],
}

impl<'a> ServerMessage<'a> {
    /// Reads a text message.
    pub fn from_json(message: &'a [u8]) -> Result<Self, ErrorBody> {
        Self::from_json_within(message, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(message: &'a [u8], limits: &Limits) -> Result<Self, ErrorBody> {
        json::document(message, limits, |reader| {
            let root = Path::ROOT;
            let (mut resource_id, mut seq, mut tag, mut since, mut media_type, mut data) = (None, None, None, None, None, None);
            reader.object(&root, |reader, key| {
                let path = root.child(key);
                match &**key {
                    "resource-id" => resource_id = Some(reader.parsed_field(&path)?),
                    "seq" => seq = Some(seq_field(reader, &path)?),
                    "tag" => tag = Some(reader.parsed_field(&path)?),
                    "since" => since = Some(seq_field(reader, &path)?),
                    "media-type" => {
                        media_type = Some(if reader.peek()? == Type::Null {
                            reader.null()?;
                            None
                        } else {
                            Some(reader.string_field(&path)?.into_owned())
                        });
                    }
                    "data" => {
                        let start = reader.offset();
                        reader.skip()?;
                        data = Some((start, reader.since(start).len()));
                    }
                    _ => reader.skip()?,
                }
                Ok(())
            })?;
            let update = match media_type.ok_or_else(|| root.missing("media-type"))? {
                None => None,
                Some(media_type) => {
                    let (start, length) = data.ok_or_else(|| root.missing("data"))?;
                    Some(Update { media_type: media_type.into(), data: &message[start..start + length] })
                }
            };
            Ok(Self {
                resource_id: resource_id.ok_or_else(|| root.missing("resource-id"))?,
                seq: seq.ok_or_else(|| root.missing("seq"))?,
                tag: tag.ok_or_else(|| root.missing("tag"))?,
                since,
                update,
            })
        })
    }

    /// The text message.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.update.as_ref().map_or(0, |update| update.data.len()));
        let mut object = json::Object::new(&mut out);
        object.string("resource-id", self.resource_id.as_str());
        write_seq(object.key("seq"), self.seq);
        object.string("tag", self.tag.as_str());
        if let Some(since) = self.since {
            write_seq(object.key("since"), since);
        }
        match &self.update {
            None => object.key("media-type").extend_from_slice(b"null"),
            Some(update) => {
                object.string("media-type", &update.media_type);
                object.key("data").extend_from_slice(update.data);
            }
        }
        object.end();
        out
    }
}
