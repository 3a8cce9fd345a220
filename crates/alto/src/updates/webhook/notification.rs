//! `NotificationData` (draft-alto-caching-subscription-00 section 8.4.1).
use super::{EventType, event_types_field, seconds_field, subscrid_field};
use crate::{
    ErrorBody, Limits,
    id::Tag,
    json::{self, Path},
    updates::{seq_field, write_seq},
};
use std::borrow::Cow;

/// What a subscriber is told. `event-types` says of what kind the content is; a server of ours tells of one at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification<'a> {
    /// `event-types`; those not known are left out.
    pub event_types: Vec<EventType>,
    /// `subscrid`
    pub subscrid: Box<str>,
    /// `substate`, with what belongs to it.
    pub substate: Substate,
    /// Which version this leads to.
    pub version: Version,
    /// What there is to be told; nothing in the last notification.
    pub contents: Vec<Content<'a>>,
}

/// `seq`, `tag` and `since`, additions of ours: with them a subscriber notices what came late, twice or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Version {
    /// `seq`: the number of the version that the subscriber has after this.
    pub seq: Option<u64>,
    /// `tag`: of that version.
    pub tag: Option<Tag>,
    /// `since`: the number of the version that a patch starts from.
    pub since: Option<u64>,
}

/// The state of the subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Substate {
    /// `active`; `expires`: seconds left.
    Active {
        /// Seconds left.
        expires: Option<u64>,
    },
    /// `terminated`: no notification follows.
    Terminated {
        /// `reason`, for people and logs.
        reason: Option<Box<str>>,
    },
}

/// A full copy or a change, as JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<'a> {
    /// `networkmap`, `costmap`, `endpointprop` or `endpointcostmap`: the member's name, and an RFC 7285 body.
    Full(&'static str, &'a [u8]),
    /// `patch`: from the content before.
    Patch {
        /// `media-type`
        media_type: Cow<'a, str>,
        /// `data`
        data: &'a [u8],
    },
}

/// Members that hold a full copy.
const FULL: [&str; 4] = ["networkmap", "costmap", "endpointprop", "endpointcostmap"];

impl<'a> Notification<'a> {
    /// Reads an `application/alto-notificationdata+json` body.
    pub fn from_json(body: &'a [u8]) -> Result<Self, ErrorBody> {
        Self::from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(body: &'a [u8], limits: &Limits) -> Result<Self, ErrorBody> {
        json::document(body, limits, |reader| {
            let root = Path::ROOT;
            let (mut event_types, mut subscrid, mut substate, mut expires, mut reason) = (None, None, None, None, None);
            let mut version = Version::default();
            let (mut patch, mut full) = (None, [const { None }; FULL.len()]);
            reader.object(&root, |reader, key| {
                let path = root.child(key);
                match &**key {
                    // One that is not known is somebody else's to know.
                    "event-types" => event_types = Some(event_types_field(reader, &path, &mut None)?),
                    "subscrid" => subscrid = Some(subscrid_field(reader, &path)?),
                    "substate" => {
                        let text = reader.string_field(&path)?;
                        substate = match &*text {
                            "active" => Some(true),
                            "terminated" => Some(false),
                            _ => return Err(path.invalid(&text, reader.limits)),
                        };
                    }
                    "expires" => expires = Some(seconds_field(reader, &path)?),
                    "seq" => version.seq = Some(seq_field(reader, &path)?),
                    "tag" => version.tag = Some(reader.parsed_field(&path)?),
                    "since" => version.since = Some(seq_field(reader, &path)?),
                    "reason" => reason = Some(reader.string_field(&path)?.into()),
                    "patch" => {
                        let (mut media_type, mut data) = (None, None);
                        reader.object(&path, |reader, key| {
                            let path = path.child(key);
                            match &**key {
                                "media-type" => media_type = Some(reader.string_field(&path)?.into_owned()),
                                "data" => {
                                    let start = reader.offset();
                                    reader.skip()?;
                                    data = Some((start, reader.since(start).len()));
                                }
                                _ => reader.skip()?,
                            }
                            Ok(())
                        })?;
                        let media_type = media_type.ok_or_else(|| path.missing("media-type"))?;
                        patch = Some((media_type, data.ok_or_else(|| path.missing("data"))?));
                    }
                    name => {
                        let start = reader.offset();
                        reader.skip()?;
                        if let Some(at) = FULL.iter().position(|member| *member == name) {
                            full[at] = Some((start, reader.since(start).len()));
                        }
                    }
                }
                Ok(())
            })?;
            let text = |(start, length): (usize, usize)| &body[start..start + length];
            let mut contents: Vec<Content<'a>> =
                FULL.into_iter().zip(full).filter_map(|(member, place)| Some(Content::Full(member, text(place?)))).collect();
            contents.extend(patch.map(|(media_type, data)| Content::Patch { media_type: media_type.into(), data: text(data) }));
            Ok(Self {
                event_types: event_types.ok_or_else(|| root.missing("event-types"))?,
                subscrid: subscrid.ok_or_else(|| root.missing("subscrid"))?,
                substate: match substate.ok_or_else(|| root.missing("substate"))? {
                    true => Substate::Active { expires },
                    false => Substate::Terminated { reason },
                },
                version,
                contents,
            })
        })
    }

    /// The `application/alto-notificationdata+json` body.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = self.opening();
        for content in &self.contents {
            let end = content.open(&mut out);
            out.extend_from_slice(content.data());
            out.extend_from_slice(end);
        }
        out.push(b'}');
        out
    }

    /// What stands before and after the data of one content. Who tells many subscribers the same makes this for each of them, and the data once:
    /// first piece, data, second piece are the body. [`Notification::contents`] is left out.
    pub fn around(&self, content: &Content<'_>) -> (Vec<u8>, &'static str) {
        let mut out = self.opening();
        match content.open(&mut out) {
            b"}" => (out, "}}"),
            _ => (out, "}"),
        }
    }

    /// An object with all but the contents, not closed.
    fn opening(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        let mut object = json::Object::new(&mut out);
        json::array(object.key("event-types"), &self.event_types, json::write_text);
        object.string("subscrid", &self.subscrid);
        match &self.substate {
            Substate::Active { expires } => {
                object.string("substate", "active");
                if let Some(expires) = expires {
                    write_seq(object.key("expires"), *expires);
                }
            }
            Substate::Terminated { reason } => {
                object.string("substate", "terminated");
                if let Some(reason) = reason {
                    object.string("reason", reason);
                }
            }
        }
        let Version { seq, tag, since } = &self.version;
        if let Some(seq) = seq {
            write_seq(object.key("seq"), *seq);
        }
        if let Some(tag) = tag {
            object.string("tag", tag.as_str());
        }
        if let Some(since) = since {
            write_seq(object.key("since"), *since);
        }
        object.end();
        out.pop();
        out
    }
}

impl Content<'_> {
    fn data(&self) -> &[u8] {
        match self {
            Self::Full(_, data) | Self::Patch { data, .. } => data,
        }
    }

    /// Writes what stands before the data; what stands after it is the value.
    fn open(&self, out: &mut Vec<u8>) -> &'static [u8] {
        out.push(b',');
        match self {
            Self::Full(member, _) => {
                json::write_string(out, member);
                out.push(b':');
                b""
            }
            Self::Patch { media_type, .. } => {
                out.extend_from_slice(br#""patch":{"media-type":"#);
                json::write_string(out, media_type);
                out.extend_from_slice(br#","data":"#);
                b"}"
            }
        }
    }
}
