//! The body of `POST /v1/commits`, `{"changes": {"<id>": {"media-type": M, "data": ...}}}`, read as strictly as a document: what is
//! missing, of the wrong type or there twice is refused by its path (RFC 7285 section 8.5.2), so that no slip changes a resource.
use alto::ErrorBody;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// One resource of a commit, in the words of the client.
#[derive(Debug)]
pub(super) struct CommitChange<'a> {
    pub(super) id: String,
    pub(super) media_type: String,
    /// Its text; `null` withdraws the resource.
    pub(super) data: &'a RawValue,
}

/// Reads the body. Members that are not ours are ignored.
pub(super) fn read(body: &[u8]) -> Result<Vec<CommitChange<'_>>, ErrorBody> {
    let document: &RawValue = serde_json::from_slice(body).map_err(|error| ErrorBody::syntax(error.to_string()))?;
    let members = Members::of(document, "")?;
    let changes = Members::of(members.get("changes").ok_or_else(|| ErrorBody::missing("changes"))?, "changes")?;
    changes.0.into_iter().map(|(id, change)| CommitChange::read(id, change)).collect()
}

impl<'a> CommitChange<'a> {
    fn read(id: String, change: &'a RawValue) -> Result<Self, ErrorBody> {
        let path = format!("changes/{id}");
        let members = Members::of(change, &path)?;
        let member = |name: &str| members.get(name).ok_or_else(|| ErrorBody::missing(format!("{path}/{name}")));
        let media_type = serde_json::from_str(member("media-type")?.get());
        let media_type = media_type.map_err(|_| ErrorBody::wrong_type(format!("{path}/media-type")))?;
        let data = member("data")?;
        Ok(Self { id, media_type, data })
    }
}

/// The members of an object, each once.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    fn of(value: &'a RawValue, path: &str) -> Result<Self, ErrorBody> {
        if !value.get().starts_with('{') {
            return Err(match path {
                "" => ErrorBody::syntax("the document is not an object"),
                path => ErrorBody::wrong_type(path),
            });
        }
        // It is JSON already, so all that can be wrong is a member that is there twice.
        serde_json::from_str(value.get())
            .map_err(|error| ErrorBody { field: (!path.is_empty()).then(|| path.to_owned()), ..ErrorBody::syntax(error.to_string()) })
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| *value)
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                let mut names = std::collections::HashSet::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom(format_args!("duplicate member {name:?}")));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7285 section 8.5.2. A change without `data` must not withdraw its resource.
    #[test]
    fn slips_are_refused_by_their_path() {
        for (body, want) in [
            ("{}", ErrorBody::missing("changes")),
            ("[]", ErrorBody::syntax("the document is not an object")),
            (r#"{"changes": []}"#, ErrorBody::wrong_type("changes")),
            (r#"{"changes": {"a": ["application/json", {}]}}"#, ErrorBody::wrong_type("changes/a")),
            (r#"{"changes": {"a": {"data": {}}}}"#, ErrorBody::missing("changes/a/media-type")),
            (r#"{"changes": {"a": {"media-type": 5, "data": {}}}}"#, ErrorBody::wrong_type("changes/a/media-type")),
            (r#"{"changes": {"a": {"media-type": "application/json"}}}"#, ErrorBody::missing("changes/a/data")),
            (r#"{"changes": {"a": {"media-type": "application/json", "Data": {}}}}"#, ErrorBody::missing("changes/a/data")),
        ] {
            assert_eq!(read(body.as_bytes()).expect_err(body), want, "{body}");
        }
        for (body, field) in [
            ("{", None),
            (r#"{"changes": {}} {}"#, None),
            (r#"{"changes": {}, "changes": {}}"#, None),
            (r#"{"changes": {"a": {"media-type": "m", "data": 1}, "\u0061": {"media-type": "m", "data": 2}}}"#, Some("changes")),
            (r#"{"changes": {"a": {"media-type": "m", "data": 1, "data": 2}}}"#, Some("changes/a")),
        ] {
            let error = read(body.as_bytes()).expect_err(body);
            assert_eq!((error.code, error.field.as_deref()), (alto::error::Code::Syntax, field), "{body}");
        }
    }
}
