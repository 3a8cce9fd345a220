//! The bodies of the update protocols, one file for each: [`sse`] (RFC 8895), [`tips`] and [`push`] (draft-ietf-alto-new-transport, the
//! last and the first version), [`websocket`], [`webhook`] (draft-alto-caching-subscription). Both ends use them: all can be read and written.
//!
//! Unit: sequence numbers are those of a view's versions. Invariant: one that was read is at most [`SEQ_MAX`], so any JSON reader has it exactly.
pub mod push;
pub mod sse;
pub mod tips;
pub mod webhook;
pub mod websocket;

use crate::{
    ErrorBody,
    id::{ResourceId, Tag},
    json::{self, Path, Reader, Type},
};

/// The largest sequence number: every JSON reader has integers up to it exactly (RFC 8259 section 6).
pub const SEQ_MAX: u64 = (1 << 53) - 1;

/// `AddUpdateReq`: a wish to follow one resource (RFC 8895 section 6.5; draft-ietf-alto-new-transport-01 section 4.1 has the same).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddUpdate {
    /// `resource-id`
    pub resource_id: ResourceId,
    /// `tag`: the version that the client has.
    pub tag: Option<Tag>,
    /// `incremental-changes`: whether the client takes changes besides full copies. `true` when absent.
    pub incremental_changes: bool,
    /// `input`: the request body of a POST-mode resource, an object, as it came.
    pub input: Option<Box<str>>,
}

impl AddUpdate {
    /// A wish for changes and full copies of a resource, from a full copy on.
    pub fn new(resource_id: ResourceId) -> Self {
        Self { resource_id, tag: None, incremental_changes: true, input: None }
    }

    fn read(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Self, ErrorBody> {
        let (mut resource_id, mut tag, mut incremental_changes, mut input) = (None, None, true, None);
        reader.object(path, |reader, key| {
            let path = path.child(key);
            match &**key {
                "resource-id" => resource_id = Some(reader.parsed_field(&path)?),
                "tag" => tag = Some(reader.parsed_field(&path)?),
                "incremental-changes" => incremental_changes = reader.bool_field(&path)?,
                "input" => input = Some(object_text(reader, &path)?),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(Self { resource_id: resource_id.ok_or_else(|| path.missing("resource-id"))?, tag, incremental_changes, input })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut object = json::Object::new(out);
        object.string("resource-id", self.resource_id.as_str());
        if let Some(tag) = &self.tag {
            object.string("tag", tag.as_str());
        }
        if !self.incremental_changes {
            object.key("incremental-changes").extend_from_slice(b"false");
        }
        if let Some(input) = &self.input {
            object.key("input").extend_from_slice(input.as_bytes());
        }
        object.end();
    }
}

/// The text of a field that is an object, checked as JSON.
fn object_text(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Box<str>, ErrorBody> {
    if reader.peek()? != Type::Object {
        return Err(ErrorBody::wrong_type(path.to_string()));
    }
    let start = reader.offset();
    reader.skip()?;
    Ok(reader.since(start).into())
}

/// A field that is a sequence number: a whole number from 0 to [`SEQ_MAX`].
fn seq_field(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<u64, ErrorBody> {
    let (number, text) = reader.number_field(path)?;
    let seq = number as u64;
    if seq > SEQ_MAX || seq as f64 != number {
        return Err(path.invalid(text, reader.limits));
    }
    Ok(seq)
}

fn write_seq(out: &mut Vec<u8>, seq: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(seq).as_bytes());
}

/// A sequence number in a URI: digits, no sign, no leading zero, at most [`SEQ_MAX`].
pub fn seq_of_path(segment: &str) -> Option<u64> {
    let digits = (1..=16).contains(&segment.len()) && segment.bytes().all(|b| b.is_ascii_digit());
    let plain = digits && (segment == "0" || !segment.starts_with('0'));
    segment.parse().ok().filter(|&seq| plain && seq <= SEQ_MAX)
}
