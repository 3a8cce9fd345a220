//! Changes applied to maps in place, with no tree between: what a restart does for each version.
//!
//! Each function takes the patches that are usual and answers `None`, nothing done, to all others and to whatever is wrong: the way over
//! a tree then does the work, or says what is wrong. Invariant: what they take comes out as it would that way.
mod cost_map;
mod network_map;

pub(super) use cost_map::cost_map;
pub(super) use network_map::network_map;

use super::merge;
use crate::{
    ErrorBody, Limits,
    json::{self, Path, Reader, Type},
};

/// `meta` after a merge patch to it, read again as strictly as any: `old` is how it stands now.
fn patched_meta<T>(
    old: &[u8],
    patch: &str,
    limits: &Limits,
    read: impl FnOnce(&mut Reader<'_>, &Path<'_>) -> Result<T, ErrorBody>,
) -> Option<T> {
    let mut meta = serde_json::from_slice(old).ok()?;
    merge::apply(&mut meta, serde_json::from_str(patch).ok()?);
    let text = serde_json::to_vec(&meta).ok()?;
    json::document(&text, limits, |reader| read(reader, &Path::ROOT.child("meta"))).ok()
}

/// The members of a merge patch of a map: the text of `meta`, and where the data is. Null, for either, is no usual patch.
fn members<'p>(reader: &mut Reader<'p>, data_member: &str) -> Result<(Option<&'p str>, Option<usize>), ErrorBody> {
    let (mut meta, mut data) = (None, None);
    let root = Path::ROOT;
    reader.object(&root, |reader, key| {
        let start = reader.offset();
        if key == "meta" || key == data_member {
            reader.element_of(Type::Object, &root)?;
        }
        reader.skip()?;
        if key == "meta" {
            meta = Some(reader.since(start));
        } else if key == data_member {
            data = Some(start);
        }
        Ok(())
    })?;
    Ok((meta, data))
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, diff};
    use crate::{Document, Limits};

    /// The changes that a restart meets do not go over a tree. That they come out right: `tests/patch.rs`.
    #[test]
    fn usual_patches_are_taken() {
        let map = |tag: &str, data: &str| format!(r#"{{"meta":{{"vtag":{{"resource-id":"m","tag":"{tag}"}}}},"network-map":{data}}}"#);
        let costs = |tag: &str, data: &str| {
            let meta = format!(r#""dependent-vtags":[{{"resource-id":"m","tag":"{tag}"}}]"#);
            format!(r#"{{"meta":{{{meta},"cost-type":{{"cost-mode":"numerical","cost-metric":"a"}}}},"cost-map":{data}}}"#)
        };
        for (old, new) in [
            (
                map("1", r#"{"a":{"ipv4":["10.0.0.0/8","11.0.0.0/8"]},"b":{}}"#),
                map("2", r#"{"a":{"ipv4":["10.0.0.0/8"]},"c":{"ipv6":["::/0"]}}"#),
            ),
            (map("1", r#"{"a":{"ipv4":["10.0.0.0/8"]}}"#), map("2", r#"{"a":{"ipv4":["10.0.0.0/8"],"ipv6":["::/0","2000::/3"]}}"#)),
            (costs("1", r#"{"a":{"a":1,"b":2},"b":{"a":1}}"#), costs("2", r#"{"a":{"a":1,"c":2.5},"c":{"a":1}}"#)),
            (costs("1", r#"{"a":{"a":1,"b":2}}"#), costs("1", r#"{"a":{"a":1}}"#)),
        ] {
            let patches = diff(old.as_bytes(), new.as_bytes()).expect("JSON");
            let want = Document::parse(new.as_bytes(), None).expect("a document");
            for (kind, patch) in [(Kind::Merge, patches.merge), (Kind::Json, patches.json)] {
                let mut document = Document::parse(old.as_bytes(), None).expect("a document");
                let patch = patch.expect("both languages can say it");
                let limits = Limits::default();
                let done = match (&mut document, kind) {
                    (Document::CostMap(map), Kind::Merge) => super::cost_map(map, &patch, &limits),
                    (Document::NetworkMap(map), kind) => super::network_map(map, kind, &patch, &limits),
                    _ => continue,
                };
                assert_eq!(done, Some(()), "{kind:?} {}", String::from_utf8_lossy(&patch));
                assert_eq!(document, want);
            }
        }
    }
}
