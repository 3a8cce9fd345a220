//! Transport queues of ALTO/H2 (draft-ietf-alto-new-transport-01 sections 4 to 7): create, status, updates queue, receiver set.
//!
//! Unit: sequence numbers of a queue's updates.
use super::{AddUpdate, seq_field, write_seq};
use crate::{
    ErrorBody, Limits,
    id::Tag,
    json::{self, Path, Reader, Type},
};

/// The only receiver that a client sees: itself (section 7.1).
pub const SELF: &str = "self";

/// `AddUpdateReq` as the body that creates a queue (section 4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateReq(pub AddUpdate);

impl CreateReq {
    /// Reads the body of a request for a queue.
    pub fn from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        Self::from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        json::document(body, limits, |reader| AddUpdate::read(reader, &Path::ROOT)).map(Self)
    }

    /// The body of a request for a queue.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.0.write(&mut out);
        out
    }
}

/// The answer to a request for a queue: `{"tq": <uri>}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// `tq`: of the queue; may be relative to the request.
    pub uri: Box<str>,
}

impl Created {
    /// Reads an `application/alto-transport+json` body.
    pub fn from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        json::document(body, &Limits::default(), |reader| {
            let root = Path::ROOT;
            let mut uri = None;
            reader.object(&root, |reader, key| match &**key {
                "tq" => {
                    uri = Some(reader.string_field(&root.child(key))?.into());
                    Ok(())
                }
                _ => reader.skip(),
            })?;
            Ok(Self { uri: uri.ok_or_else(|| root.missing("tq"))? })
        })
    }

    /// The `application/alto-transport+json` body.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut object = json::Object::new(&mut out);
        object.string("tq", &self.uri);
        object.end();
        out
    }
}

/// One update of a queue (section 5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `seq`
    pub seq: u64,
    /// `media-type`: the resource's own for a full copy, that of a patch for a change.
    pub media_type: Box<str>,
    /// `tag`: of the version after the update.
    pub tag: Tag,
    /// `link`: where this version is as a full copy.
    pub link: Option<Box<str>>,
}

impl Entry {
    fn read(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Self, ErrorBody> {
        let (mut seq, mut media_type, mut tag, mut link) = (None, None, None, None);
        reader.object(path, |reader, key| {
            let path = path.child(key);
            match &**key {
                "seq" => seq = Some(seq_field(reader, &path)?),
                "media-type" => media_type = Some(reader.string_field(&path)?.into()),
                "tag" => tag = Some(reader.parsed_field(&path)?),
                "link" => link = Some(reader.string_field(&path)?.into()),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(Self {
            seq: seq.ok_or_else(|| path.missing("seq"))?,
            media_type: media_type.ok_or_else(|| path.missing("media-type"))?,
            tag: tag.ok_or_else(|| path.missing("tag"))?,
            link,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut object = json::Object::new(out);
        write_seq(object.key("seq"), self.seq);
        object.string("media-type", &self.media_type);
        object.string("tag", self.tag.as_str());
        if let Some(link) = &self.link {
            object.string("link", link);
        }
        object.end();
    }
}

fn read_entries(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Vec<Entry>, ErrorBody> {
    let mut entries = Vec::new();
    let max = reader.limits.request_entries_max;
    reader.array(path, |reader| {
        if entries.len() == max {
            return Err(reader.too_many(path, "updates", max));
        }
        reader.element_of(Type::Object, path)?;
        entries.push(Entry::read(reader, path)?);
        Ok(())
    })?;
    Ok(entries)
}

/// `uq`, the answer to `GET <tq>/uq`: an array.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdatesQueue(pub Vec<Entry>);

impl UpdatesQueue {
    /// Reads an `application/alto-transport+json` body.
    pub fn from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        json::document(body, &Limits::default(), |reader| read_entries(reader, &Path::ROOT)).map(Self)
    }

    /// The `application/alto-transport+json` body.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        json::array(&mut out, &self.0, |out, entry| entry.write(out));
        out
    }
}

/// `rs`, the answer to `GET <tq>/rs`: `["self"]`, or `[]` for a client that is not pushed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverSet {
    /// Whether the client itself is in it.
    pub receiving: bool,
}

impl ReceiverSet {
    /// Reads an `application/alto-transport+json` body.
    pub fn from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        json::document(body, &Limits::default(), |reader| Self::read(reader, &Path::ROOT))
    }

    /// The `application/alto-transport+json` body.
    pub fn to_json(self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn read(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Self, ErrorBody> {
        let receivers: Vec<String> = reader.list_field(path, "receivers", reader.limits.request_entries_max)?;
        Ok(Self { receiving: receivers.iter().any(|name| name == SELF) })
    }

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.receiving { b"[\"self\"]" } else { b"[]" });
    }
}

/// The answer to `GET <tq>`: both states of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// `uq`
    pub updates: UpdatesQueue,
    /// `rs`
    pub receivers: ReceiverSet,
}

impl Status {
    /// Reads an `application/alto-transport+json` body.
    pub fn from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        json::document(body, &Limits::default(), |reader| {
            let root = Path::ROOT;
            let (mut updates, mut receivers) = (None, None);
            reader.object(&root, |reader, key| {
                let path = root.child(key);
                match &**key {
                    "uq" => updates = Some(UpdatesQueue(read_entries(reader, &path)?)),
                    "rs" => receivers = Some(ReceiverSet::read(reader, &path)?),
                    _ => reader.skip()?,
                }
                Ok(())
            })?;
            Ok(Self { updates: updates.ok_or_else(|| root.missing("uq"))?, receivers: receivers.ok_or_else(|| root.missing("rs"))? })
        })
    }

    /// The `application/alto-transport+json` body.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut object = json::Object::new(&mut out);
        json::array(object.key("uq"), &self.updates.0, |out, entry| entry.write(out));
        self.receivers.write(object.key("rs"));
        object.end();
        out
    }
}
