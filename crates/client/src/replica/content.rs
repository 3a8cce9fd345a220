//! The content of a followed resource: read, changed by patches, written.
//!
//! A document that reads as ALTO and writes as the very text the server sent is kept as a map, where a patch of a few costs is a few numbers.
//! Any other (members of extensions, another order, white space) is kept as JSON, so that nothing of it is lost and a JSON patch means the
//! same places as at the server.
//! Invariant: what a patch leaves is checked like a document that was read.
use crate::options::Limits;
use alto::{
    Document, Kind,
    id::{Tag, VersionTag},
    patch,
};
use serde_json::Value;
use std::{borrow::Cow, str::FromStr};

pub use alto::patch::Kind as PatchKind;

/// See the module.
#[derive(Debug, Clone)]
pub struct Content {
    form: Form,
    /// `None`: no document of ours.
    kind: Option<Kind>,
    /// Of the text it was last read from, and what patches added: what it takes is told from it.
    bytes: usize,
    vtag: Option<VersionTag>,
    dependent_vtags: Vec<VersionTag>,
}

#[derive(Debug, Clone, PartialEq)]
enum Form {
    Map(Box<Document>),
    Json(Value),
}

impl Content {
    /// Reads a full copy. Errors: for people.
    pub fn read(media_type: &str, body: &[u8], limits: &Limits) -> Result<Self, String> {
        if body.len() > limits.body_bytes_max {
            return Err(format!("{} bytes, more than {} (body_bytes_max)", body.len(), limits.body_bytes_max));
        }
        let kind = Kind::of_media_type(media_type);
        let form = match kind {
            Some(kind) => {
                let document = Document::parse_within(body, Some(kind.media_type()), &limits.documents)
                    .map_err(|error| crate::Words(&error).to_string())?;
                if document.to_json() == body { Form::Map(Box::new(document)) } else { Form::Json(json(body)?) }
            }
            None => Form::Json(json(body)?),
        };
        let mut content = Self { form, kind, bytes: body.len(), vtag: None, dependent_vtags: Vec::new() };
        content.note_versions();
        Ok(content)
    }

    /// Changes it. After an error it must be thrown away.
    pub fn apply(&mut self, kind: PatchKind, body: &[u8], limits: &Limits) -> Result<(), String> {
        self.bytes += body.len();
        match &mut self.form {
            Form::Map(document) => patch::apply_to(document, kind, body, &limits.documents),
            Form::Json(value) => patch::apply_to_value(kind, value, body, &limits.documents),
        }
        .map_err(|fault| format!("the patch does not apply: {fault}"))?;
        if self.bytes > limits.body_bytes_max {
            // Patches that replace add up without the document growing: count again.
            self.bytes = self.to_json().len();
            if self.bytes > limits.body_bytes_max {
                return Err(format!("the patch makes it larger than {} bytes (body_bytes_max)", limits.body_bytes_max));
            }
        }
        if let (Form::Json(_), Some(kind)) = (&self.form, self.kind) {
            Document::parse_within(&self.to_json(), Some(kind.media_type()), &limits.documents)
                .map_err(|error| format!("the patch makes no {}: {}", kind.media_type(), crate::Words(&error)))?;
        }
        self.note_versions();
        Ok(())
    }

    /// `meta.vtag`
    pub fn vtag(&self) -> Option<&VersionTag> {
        self.vtag.as_ref()
    }

    /// The tag in it, if there is one.
    pub fn tag(&self) -> Option<Tag> {
        self.vtag.as_ref().map(|vtag| vtag.tag.clone())
    }

    /// `meta.dependent-vtags`
    pub fn dependent_vtags(&self) -> &[VersionTag] {
        &self.dependent_vtags
    }

    /// The text, compact.
    pub fn to_json(&self) -> Vec<u8> {
        match &self.form {
            Form::Map(document) => document.to_json(),
            Form::Json(value) => serde_json::to_vec(value).expect("a JSON value is written to memory"),
        }
    }

    /// What it says. Errors: the media type is none of ours.
    pub fn document(&self, media_type: &str, limits: &alto::Limits) -> Result<Cow<'_, Document>, alto::ErrorBody> {
        match &self.form {
            Form::Map(document) => Ok(Cow::Borrowed(document)),
            Form::Json(_) => Document::parse_within(&self.to_json(), Some(media_type), limits).map(Cow::Owned),
        }
    }

    /// Whether both are one document.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.form == other.form
    }

    /// About what it takes in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn note_versions(&mut self) {
        (self.vtag, self.dependent_vtags) = match &self.form {
            Form::Map(document) => match &**document {
                Document::NetworkMap(map) => (map.vtag.clone(), Vec::new()),
                Document::CostMap(map) => (map.vtag.clone(), map.dependent_vtags.clone()),
                Document::EndpointProperties(properties) => (None, properties.dependent_vtags.clone()),
                _ => (None, Vec::new()),
            },
            Form::Json(value) => {
                let meta = &value["meta"];
                let list = meta["dependent-vtags"].as_array().map(Vec::as_slice).unwrap_or_default();
                (version(&meta["vtag"]), list.iter().filter_map(version).collect())
            }
        };
    }
}

fn json(body: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn version(value: &Value) -> Option<VersionTag> {
    fn name<T: FromStr>(value: &Value) -> Option<T> {
        value.as_str()?.parse().ok()
    }
    Some(VersionTag { resource_id: name(&value["resource-id"])?, tag: name(&value["tag"])? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: &str = "application/alto-costmap+json";
    const COMPACT: &str = r#"{"meta":{"dependent-vtags":[{"resource-id":"net","tag":"n1"}],"vtag":{"resource-id":"costs","tag":"c1"},"cost-type":{"cost-mode":"numerical","cost-metric":"routingcost"}},"cost-map":{"a":{"a":1,"b":2},"b":{"a":3,"b":4}}}"#;

    fn read(text: &str) -> Content {
        Content::read(COSTS, text.as_bytes(), &Limits::default()).unwrap()
    }

    /// RFC 7396 on a map and on JSON: an extension's member and the order of names survive a patch.
    #[test]
    fn nothing_of_a_document_is_lost() {
        let extended = COMPACT.replace(r#""cost-map""#, r#""x-more":{"z":[1,{"b":null}]},"cost-map""#);
        for (text, is_map) in [(COMPACT.to_owned(), true), (extended, false), (COMPACT.replace(':', ": "), false)] {
            let mut content = read(&text);
            assert_eq!(matches!(content.form, Form::Map(_)), is_map, "{text}");
            assert_eq!(content.tag().unwrap().as_str(), "c1");
            let patch = br#"{"meta":{"vtag":{"tag":"c2"},"dependent-vtags":[{"resource-id":"net","tag":"n2"}]},"cost-map":{"a":{"b":9},"b":{"a":null}}}"#;
            content.apply(PatchKind::Merge, patch, &Limits::default()).unwrap();
            let mut want: Value = serde_json::from_str(&text).unwrap();
            patch::apply_to_value(PatchKind::Merge, &mut want, patch, &alto::Limits::default()).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&content.to_json()).unwrap(), want);
            assert_eq!((content.tag().unwrap().as_str(), content.dependent_vtags()[0].tag.as_str()), ("c2", "n2"));
        }
    }

    /// RFC 6902: places in an array are those of the server's text, sorted or not.
    #[test]
    fn json_patches_mean_the_servers_places() {
        let text = r#"{"meta":{"vtag":{"resource-id":"net","tag":"n1"}},"network-map":{"a":{"ipv4":["198.51.100.0/24","192.0.2.0/24"]}}}"#;
        let mut content = Content::read("application/alto-networkmap+json", text.as_bytes(), &Limits::default()).unwrap();
        let patch = br#"[{"op":"remove","path":"/network-map/a/ipv4/0"},{"op":"replace","path":"/meta/vtag/tag","value":"n2"}]"#;
        content.apply(PatchKind::Json, patch, &Limits::default()).unwrap();
        assert!(String::from_utf8(content.to_json()).unwrap().contains(r#""ipv4":["192.0.2.0/24"]"#));
        assert!(content.apply(PatchKind::Json, br#"[{"op":"remove","path":"/network-map/b"}]"#, &Limits::default()).is_err());
    }

    #[test]
    fn a_patch_cannot_grow_it_past_the_bound() {
        let limits = Limits { body_bytes_max: 400, ..Limits::default() };
        let mut content = Content::read(COSTS, COMPACT.as_bytes(), &limits).unwrap();
        for tag in 0..100 {
            let patch = format!(r#"{{"meta":{{"vtag":{{"tag":"t{tag}"}}}}}}"#);
            content.apply(PatchKind::Merge, patch.as_bytes(), &limits).expect("it stays as large as it was");
        }
        let grow = format!(r#"{{"cost-map":{{"a":{{{}}}}}}}"#, (0..40).map(|n| format!(r#""p{n}":1"#)).collect::<Vec<_>>().join(","));
        assert!(content.apply(PatchKind::Merge, grow.as_bytes(), &limits).unwrap_err().contains("body_bytes_max"));
        assert!(Content::read(COSTS, COMPACT.as_bytes(), &Limits { body_bytes_max: 100, ..limits }).is_err());
    }
}
