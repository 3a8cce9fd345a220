//! Update streams (RFC 8895): requests to a stream and to its control, and the events of a stream.
//!
//! An event's `event` field is `media-type [ ',' data-id ]` (section 5.1), its data a document, a change or a [`ControlEvent`].
mod decoder;

pub use decoder::{Decoder, Message, Violation};

use super::AddUpdate;
use crate::{
    ErrorBody, Limits,
    id::SubstreamId,
    json::{self, Path, Reader, Type},
    media_type,
};
use std::{fmt, str::FromStr};

/// `UpdateStreamReq` (section 6.5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateStreamReq {
    /// `add`, in the client's order; each substream once.
    pub add: Vec<(SubstreamId, AddUpdate)>,
    /// `remove`: substreams to end; an empty list ends all. `None` in a request for a stream, where it is ignored. As they came: what is no
    /// [`SubstreamId`] is one that was never added, and refused with the others of its kind ([`refused_substreams`]).
    pub remove: Option<Vec<String>>,
}

impl UpdateStreamReq {
    /// Reads an `application/alto-updatestreamparams+json` body that asks for a stream (section 6.5): `add` is there and not empty, `remove` is ignored.
    pub fn from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        Self::from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        Self::read(body, limits, false)
    }

    /// Reads a body for the control of a stream (section 7.5): `add`, `remove`, or both.
    pub fn control_from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        Self::control_from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    pub fn control_from_json_within(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        Self::read(body, limits, true)
    }

    fn read(body: &[u8], limits: &Limits, control: bool) -> Result<Self, ErrorBody> {
        json::document(body, limits, |reader| {
            let root = Path::ROOT;
            let mut request = Self::default();
            reader.object(&root, |reader, key| {
                let path = root.child(key);
                match &**key {
                    "add" => request.add = read_add(reader, &path)?,
                    "remove" if control => request.remove = Some(reader.list_field(&path, "substreams", reader.limits.substreams_max)?),
                    _ => reader.skip()?,
                }
                Ok(())
            })?;
            match &request.remove {
                // Section 7.6: "to replace all active resources with a new set, the client MUST explicitly enumerate" them.
                Some(remove) if remove.is_empty() && !request.add.is_empty() => Err(refused_substreams("remove", [])),
                None if request.add.is_empty() => Err(root.missing("add")),
                _ => Ok(request),
            }
        })
    }

    /// The `application/alto-updatestreamparams+json` body.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut object = json::Object::new(&mut out);
        if !self.add.is_empty() {
            let mut add = json::Object::new(object.key("add"));
            for (substream, update) in &self.add {
                update.write(add.text_key(substream));
            }
            add.end();
        }
        if let Some(remove) = &self.remove {
            json::array(object.key("remove"), remove, json::write_text);
        }
        object.end();
        out
    }
}

fn read_add(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Vec<(SubstreamId, AddUpdate)>, ErrorBody> {
    let mut add = Vec::new();
    let max = reader.limits.substreams_max;
    reader.object(path, |reader, key| {
        let substream = key.parse().map_err(|_| path.invalid(key, reader.limits))?;
        if add.len() == max {
            return Err(reader.too_many(path, "substreams", max));
        }
        add.push((substream, AddUpdate::read(reader, &path.child(key))?));
        Ok(())
    })?;
    Ok(add)
}

/// Refusal of substream ids in `add` or `remove` (section 7.6): the value is an array of those at fault. One that is longer than an id can be
/// is cut, and still is.
pub fn refused_substreams<'a>(field: &str, substreams: impl IntoIterator<Item = &'a str>) -> ErrorBody {
    let mut value = Vec::new();
    json::array(&mut value, substreams, |out, id| json::write_text(out, format_args!("{id:.65}")));
    ErrorBody::invalid_json(field, String::from_utf8_lossy(&value))
}

/// `UpdateStreamControlEvent` (section 5.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ControlEvent {
    /// `control-uri`, only in the first event of a stream: `Some(None)` is `null`, no stream control. May be relative to the stream's.
    pub control_uri: Option<Option<Box<str>>>,
    /// `started`: updates of these will follow.
    pub started: Vec<SubstreamId>,
    /// `stopped`: none will follow.
    pub stopped: Vec<SubstreamId>,
    /// `description`: why, for people.
    pub description: Option<Box<str>>,
}

impl ControlEvent {
    /// Reads the data of an `application/alto-updatestreamcontrol+json` event.
    pub fn from_json(data: &[u8]) -> Result<Self, ErrorBody> {
        Self::from_json_within(data, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(data: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        json::document(data, limits, |reader| {
            let root = Path::ROOT;
            let mut event = Self::default();
            let max = reader.limits.substreams_max;
            reader.object(&root, |reader, key| {
                let path = root.child(key);
                match &**key {
                    "control-uri" => {
                        event.control_uri = Some(if reader.peek()? == Type::Null {
                            reader.null()?;
                            None
                        } else {
                            Some(reader.string_field(&path)?.into())
                        });
                    }
                    "started" => event.started = reader.list_field(&path, "substreams", max)?,
                    "stopped" => event.stopped = reader.list_field(&path, "substreams", max)?,
                    "description" => event.description = Some(reader.string_field(&path)?.into()),
                    _ => reader.skip()?,
                }
                Ok(())
            })?;
            Ok(event)
        })
    }

    /// The data of an `application/alto-updatestreamcontrol+json` event, on one line.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut object = json::Object::new(&mut out);
        match &self.control_uri {
            None => {}
            Some(None) => object.key("control-uri").extend_from_slice(b"null"),
            Some(Some(uri)) => object.string("control-uri", uri),
        }
        for (name, substreams) in [("started", &self.started), ("stopped", &self.stopped)] {
            if !substreams.is_empty() {
                json::array(object.key(name), substreams, json::write_text);
            }
        }
        if let Some(description) = &self.description {
            object.string("description", description);
        }
        object.end();
        out
    }

    /// The whole event, as it stands in a stream.
    pub fn to_event(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_event(&mut out, &EventType { media_type: media_type::UPDATE_STREAM_CONTROL.into(), data_id: None }, &self.to_json());
        out
    }
}

/// What an update is of (section 5.2): a substream, and one part of it where the resource is `multipart/related`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DataId {
    /// The substream.
    pub substream: SubstreamId,
    /// After a '.': the Content-ID of a part.
    pub content_id: Option<Box<str>>,
}

/// The `event` field of an update message (section 5.1): `media-type [ ',' data-id ]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventType {
    /// Of the data.
    pub media_type: Box<str>,
    /// What the data is of; control events have none.
    pub data_id: Option<DataId>,
}

impl EventType {
    /// Of an update of a whole resource.
    pub fn data(media_type: &str, substream: SubstreamId) -> Self {
        Self { media_type: media_type.into(), data_id: Some(DataId { substream, content_id: None }) }
    }

    /// Whether the data is a [`ControlEvent`].
    pub fn is_control(&self) -> bool {
        self.media_type.eq_ignore_ascii_case(media_type::UPDATE_STREAM_CONTROL)
    }
}

/// An `event` field that names no media type, or a data id that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the event of an update message")]
pub struct InvalidEvent {
    /// What was given.
    pub text: Box<str>,
}

impl FromStr for EventType {
    type Err = InvalidEvent;
    fn from_str(text: &str) -> Result<Self, InvalidEvent> {
        let invalid = || InvalidEvent { text: text.into() };
        // "the comma character is not allowed in a media-type name so there is no ambiguity" (section 5.1). White space after it is: section
        // 8.2 of the RFC has it in no example, deployed servers have.
        let (media_type, data_id) = match text.split_once(',') {
            Some((media_type, data_id)) => (media_type.trim(), Some(data_id.trim())),
            None => (text.trim(), None),
        };
        if !media_type.split_once('/').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty()) {
            return Err(invalid());
        }
        let data_id = match data_id {
            None => None,
            Some(id) => {
                let (substream, content_id) = id.split_once('.').map_or((id, None), |(substream, part)| (substream, Some(part)));
                if content_id == Some("") {
                    return Err(invalid());
                }
                Some(DataId { substream: substream.parse().map_err(|_| invalid())?, content_id: content_id.map(Into::into) })
            }
        };
        Ok(Self { media_type: media_type.into(), data_id })
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.media_type)?;
        if let Some(DataId { substream, content_id }) = &self.data_id {
            write!(f, ",{substream}")?;
            if let Some(content_id) = content_id {
                write!(f, ".{content_id}")?;
            }
        }
        Ok(())
    }
}

/// What stands before the data of an event: `event: <type>\ndata: `. Data that has no line break (everything we write has none) follows as it
/// is, then [`EVENT_END`]; so the data of one update is shared by all streams.
pub fn event_head(media_type: &str, substream: &SubstreamId) -> Vec<u8> {
    format!("event: {media_type},{substream}\ndata: ").into_bytes()
}

/// What stands after the data of an event.
pub const EVENT_END: &[u8] = b"\n\n";

/// A comment: keeps the connection from looking idle (section 6.8).
pub const KEEP_ALIVE: &[u8] = b":\n\n";

/// Writes a whole event; data with line breaks becomes several lines.
pub fn write_event(out: &mut Vec<u8>, event: &EventType, data: &[u8]) {
    out.extend_from_slice(format!("event: {event}\n").as_bytes());
    // A line of a stream ends with CR, LF, or both (section 9.5: the lines are joined with LF again, and JSON does not mind which).
    let mut rest = data;
    loop {
        out.extend_from_slice(b"data: ");
        match rest.iter().position(|&byte| byte == b'\n' || byte == b'\r') {
            None => break out.extend_from_slice(rest),
            Some(at) => {
                out.extend_from_slice(&rest[..at]);
                out.push(b'\n');
                rest = rest[at..].strip_prefix(b"\r\n").unwrap_or(&rest[at + 1..]);
            }
        }
    }
    out.extend_from_slice(EVENT_END);
}
