//! Names: resource ids (RFC 7285 section 10.2), PID names (10.1), version tags (10.3).
//!
//! Each is parsed once and trusted after: `from_str` is the only way in.
use crate::{
    ErrorBody,
    json::{self, Path, Reader, Type},
};
use std::{fmt, str::FromStr, sync::Arc};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as it stands on the wire.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err(InvalidName { what: $what, text: text.into() }) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }
    };
}

/// A string that is not a name of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what}")]
pub struct InvalidName {
    /// The kind of name asked for.
    pub what: &'static str,
    /// What was given instead.
    pub text: Box<str>,
}

name!(
    /// Names a resource of the directory (RFC 7285 section 10.2): the characters of a PID name, at most 64.
    ResourceId, "resource id", is_pid_name
);
name!(
    /// Names a group of endpoint addresses (RFC 7285 section 10.1).
    Pid, "PID name", is_pid_name
);
name!(
    /// Names one content of one resource (RFC 7285 section 10.3): 1 to 64 characters of U+0021..=U+007E.
    Tag, "version tag", |text| (1..=64).contains(&text.len()) && text.bytes().all(|b| (0x21..=0x7e).contains(&b))
);

name!(
    /// Names one resource within an update stream (RFC 8895 section 5.2): as a resource id, without '.', which a content id follows there.
    SubstreamId, "substream id", |text| is_pid_name(text) && !text.contains('.')
);

fn is_pid_name(text: &str) -> bool {
    // Section 10.1: alphanumeric, '-', ':', '@', '_' and '.', the last reserved but legal where an extension uses it.
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-:@_.".contains(&b))
}

impl Tag {
    /// The tag of a content: SHA-256 over `parts`, each with its length before it, the first 32 hexadecimal digits.
    ///
    /// RFC 7285 section 10.3 suggests a hash of the data. 128 bits make a collision less likely than a broken disk.
    pub fn of_content(parts: &[&[u8]]) -> Self {
        let mut content = Content::default();
        for part in parts {
            content.part(part.len());
            content.bytes(part);
        }
        content.tag()
    }
}

/// A content that is tagged piece by piece, as [`Tag::of_content`] does it whole: for what is too large to put together first.
#[derive(Default)]
pub struct Content {
    hash: sha2::Sha256,
}

impl Content {
    /// A part of so many bytes follows.
    pub fn part(&mut self, bytes: usize) {
        self.bytes(&(bytes as u64).to_be_bytes());
    }

    /// The next bytes of it.
    pub fn bytes(&mut self, bytes: &[u8]) {
        use sha2::Digest as _;
        self.hash.update(bytes);
    }

    /// The tag of all of it.
    pub fn tag(self) -> Tag {
        use sha2::Digest as _;
        let mut text = String::with_capacity(32);
        for byte in self.hash.finalize().iter().take(16) {
            for digit in [byte >> 4, byte & 0xf] {
                text.push(char::from(b"0123456789abcdef"[digit as usize]));
            }
        }
        Tag(text.into())
    }
}

/// A resource at one version (RFC 7285 section 10.3): `{"resource-id": ..., "tag": ...}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct VersionTag {
    /// Which resource.
    pub resource_id: ResourceId,
    /// Which content of it.
    pub tag: Tag,
}

impl VersionTag {
    pub(crate) fn read(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Self, ErrorBody> {
        let (mut resource_id, mut tag) = (None, None);
        reader.object(path, |reader, key| {
            match &**key {
                "resource-id" => resource_id = Some(reader.parsed_field(&path.child(key))?),
                "tag" => tag = Some(reader.parsed_field(&path.child(key))?),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(Self { resource_id: resource_id.ok_or_else(|| path.missing("resource-id"))?, tag: tag.ok_or_else(|| path.missing("tag"))? })
    }

    /// `dependent-vtags`: one for each resource that a document may depend on, at most.
    pub(crate) fn read_list(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Vec<Self>, ErrorBody> {
        let mut list = Vec::new();
        let max = reader.limits.resources_max;
        reader.array(path, |reader| {
            if list.len() == max {
                return Err(reader.too_many(path, "version tags", max));
            }
            reader.element_of(Type::Object, path)?;
            list.push(Self::read(reader, path)?);
            Ok(())
        })?;
        Ok(list)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut object = json::Object::new(out);
        object.string("resource-id", self.resource_id.as_str());
        object.string("tag", self.tag.as_str());
        object.end();
    }

    pub(crate) fn write_list(out: &mut Vec<u8>, list: &[Self]) {
        json::array(out, list, |out, tag| tag.write(out));
    }
}
