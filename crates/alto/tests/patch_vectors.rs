//! The examples of RFC 6902 appendix A, RFC 7396 section 3 and appendix A, and the changes of RFC 8895 section 3.
#![allow(clippy::unwrap_used)]
use alto::{
    Document, Limits,
    network_map::NetworkMap,
    patch::{self, Kind, NetworkMapParts},
};
use serde_json::{Value, json};
use std::path::PathBuf;

fn text(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn value(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

/// A patch that JSON itself would spoil (a member twice) stands as text.
fn patch_text(patch: &Value, kind: Kind) -> Vec<u8> {
    match patch {
        Value::String(text) if kind == Kind::Json => text.clone().into_bytes(),
        patch => patch.to_string().into_bytes(),
    }
}

#[test]
fn examples_of_the_languages() {
    for (kind, name) in [(Kind::Json, "rfc6902/A-examples.json"), (Kind::Merge, "rfc7396/examples.json")] {
        for row in value(&text(name)).as_array().unwrap() {
            let got = patch::apply(kind, row["document"].to_string().as_bytes(), &patch_text(&row["patch"], kind), &Limits::default());
            match row.get("result") {
                Some(want) => assert_eq!(&value(&got.unwrap()), want, "{name} {}", row["section"]),
                None => assert_eq!(got.unwrap_err().to_string(), row["refused"].as_str().unwrap(), "{name} {}", row["section"]),
            }
        }
    }
}

/// RFC 6902 sections 3 to 5 and RFC 6901 sections 3 to 5: what is refused, with the field at fault.
#[test]
fn refused_operations() {
    let document = br#"{"a":[1,2],"o":{"x":null},"":0}"#;
    for (patch, field, why) in [
        (r#"{}"#, None, "E_SYNTAX: the document is not an array at line 1 column 1"),
        (r#"[5]"#, Some("0"), "E_INVALID_FIELD_VALUE: field 0 has value \"5\""),
        (r#"[{}]"#, Some("0/op"), "E_MISSING_FIELD: field 0/op"),
        (r#"[{"op":"add","value":1}]"#, Some("0/path"), "E_MISSING_FIELD: field 0/path"),
        (r#"[{"op":"add","path":"/a"}]"#, Some("0/value"), "E_MISSING_FIELD: field 0/value"),
        (r#"[{"op":"move","path":"/a"}]"#, Some("0/from"), "E_MISSING_FIELD: field 0/from"),
        (r#"[{"op":"copy","path":"/a","from":7}]"#, Some("0/from"), "E_INVALID_FIELD_TYPE: field 0/from"),
        (r#"[{"op":"spam","path":"/a"}]"#, Some("0/op"), "E_INVALID_FIELD_VALUE: field 0/op has value \"spam\""),
        (r#"[{"op":"remove","path":"a"}]"#, Some("0/path"), "E_INVALID_FIELD_VALUE: field 0/path has value \"a\""),
        (r#"[{"op":"remove","path":"/a~"}]"#, Some("0/path"), "E_INVALID_FIELD_VALUE: field 0/path has value \"/a~\""),
        (r#"[{"op":"remove","path":"/a~2"}]"#, Some("0/path"), "E_INVALID_FIELD_VALUE: field 0/path has value \"/a~2\""),
        (r#"[{"op":"remove","path":"/a/2"}]"#, Some("/a/2"), "operation 0 at /a/2: nothing is there"),
        // Leading zeros are no index, nor is "-" of what is there.
        (r#"[{"op":"remove","path":"/a/01"}]"#, Some("/a/01"), "operation 0 at /a/01: nothing is there"),
        (r#"[{"op":"remove","path":"/a/-"}]"#, Some("/a/-"), "operation 0 at /a/-: nothing is there"),
        (r#"[{"op":"add","path":"/a/3","value":0}]"#, Some("/a/3"), "operation 0 at /a/3: the array has 2 elements"),
        (r#"[{"op":"add","path":"/a/x","value":0}]"#, Some("/a/x"), "operation 0 at /a/x: not a place in an array"),
        (r#"[{"op":"add","path":"/a/0/x","value":0}]"#, Some("/a/0/x"), "operation 0 at /a/0/x: its parent is no object and no array"),
        (r#"[{"op":"replace","path":"/o/y","value":0}]"#, Some("/o/y"), "operation 0 at /o/y: nothing is there"),
        (r#"[{"op":"move","from":"/o","path":"/o/x"}]"#, Some("/o/x"), "operation 0 at /o/x: /o cannot be moved into itself"),
        (r#"[{"op":"move","from":"/q","path":"/o/x"}]"#, Some("/o/x"), "operation 0 at /o/x: from /q: nothing is there"),
        (r#"[{"op":"test","path":"/a","value":[2,1]}]"#, Some("/a"), "operation 0 at /a: another value is there"),
        (r#"[{"op":"remove","path":"/a"},{"op":"test","path":"/a","value":1}]"#, Some("/a"), "operation 1 at /a: nothing is there"),
    ] {
        let fault = patch::apply(Kind::Json, document, patch.as_bytes(), &Limits::default()).expect_err(patch);
        assert_eq!((fault.body.field.as_deref(), fault.why.as_str()), (field, why), "{patch}");
    }
    // Numbers are equal when numerically equal (section 4.6), members may be null or nameless, the root can be replaced.
    for (patch, want) in [
        (
            r#"[{"op":"test","path":"/a","value":[1.0,2e0]},{"op":"test","path":"/o/x","value":null}]"#,
            json!({"a":[1,2],"o":{"x":null},"":0}),
        ),
        (r#"[{"op":"replace","path":"/","value":3},{"op":"remove","path":"/o"}]"#, json!({"a":[1,2],"":3})),
        (
            r#"[{"op":"move","from":"/o/x","path":"/o/x"},{"op":"copy","from":"/a","path":"/a/-"}]"#,
            json!({"a":[1,2,[1,2]],"o":{"x":null},"":0}),
        ),
        (r#"[{"op":"add","path":"","value":[]},{"op":"add","path":"/0","value":9}]"#, json!([9])),
    ] {
        assert_eq!(value(&patch::apply(Kind::Json, document, patch.as_bytes(), &Limits::default()).unwrap()), want, "{patch}");
    }
}

/// Sections 3.1.2 and 3.2.2 of RFC 8895: each change, over values and in place, gives what is printed.
#[test]
fn rfc8895_changes() {
    for (kind, section, patch, broken) in [
        (Kind::Merge, "3.1.2.1", "3.1.2.1-merge-patch", None),
        (Kind::Merge, "3.1.2.2", "3.1.2.2-merge-patch", Some("a comma is missing after meta")),
        (Kind::Json, "3.1.2.1", "3.2.2.1-json-patch", Some("a comma is missing after the second operation")),
        (Kind::Json, "3.1.2.2", "3.2.2.2-json-patch", Some("it replaces PID3->PID3, which is not there")),
    ] {
        let (document, want) = (text(&format!("rfc8895/{section}-document.json")), text(&format!("rfc8895/{section}-result.json")));
        let mut change = text(&format!("rfc8895/{patch}.json"));
        if let Some(why) = broken {
            patch::apply(kind, &document, &change, &Limits::default()).expect_err(why);
            change = text(&format!("rfc8895/{patch}.corrected.json"));
        }
        let got = patch::apply(kind, &document, &change, &Limits::default()).unwrap();
        assert_eq!(value(&got), value(&want), "{patch}");
        let mut typed = Document::parse(&document, None).unwrap();
        patch::apply_to(&mut typed, kind, &change, &Limits::default()).unwrap();
        assert_eq!(typed, Document::parse(&want, None).unwrap(), "{patch}");
    }
}

/// The change of the map in section 3.1.2.1 is the one that the RFC prints in section 3.2.2.1.
#[test]
fn rfc8895_change_is_made() {
    let map = |name: &str| NetworkMap::from_json(&text(&format!("rfc8895/3.1.2.1-{name}.json"))).unwrap();
    let (old, new) = (map("document"), map("result"));
    let patches = NetworkMapParts { vtag: old.vtag.as_ref(), map: &old }.diff(&NetworkMapParts { vtag: new.vtag.as_ref(), map: &new });
    assert_eq!(value(&patches.merge.unwrap()), value(&text("rfc8895/3.1.2.1-merge-patch.json")));
    assert_eq!(value(&patches.json.unwrap()), value(&text("rfc8895/3.2.2.1-json-patch.corrected.json")));
}
