//! A resource's next document from a change to its present one: JSON Merge Patch (RFC 7396), JSON Patch (RFC 6902).
//!
//! The patch is applied to the document as it is served; what comes out is read as strictly as any other document.
use crate::{Error, Limits, Version};
use alto::{Document, ErrorBody, id::ResourceId};
use maps::guidance::Refusal;
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// The two kinds of patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Merge,
    Json,
}

pub(crate) fn apply(version: &Version, kind: Kind, patch: &[u8], limits: &Limits) -> Result<Document, Error> {
    let refused = |(body, why): Fault| Error::from(Refusal { resource: version.resource.clone(), why: format!("patch: {why}"), body });
    let fault = |body: ErrorBody| refused((body.clone(), body.to_string()));
    if patch.len() > limits.documents.body_bytes_max {
        return Err(fault(ErrorBody::syntax(format!("the patch is larger than {} bytes", limits.documents.body_bytes_max))));
    }
    let mut document: Value = serde_json::from_slice(&version.body).expect("what is served is JSON that we wrote");
    match kind {
        Kind::Merge => json_patch::merge(&mut document, &read(patch).map_err(fault)?),
        Kind::Json => operations(&mut document, read(patch).map_err(fault)?, limits).map_err(refused)?,
    }
    let text = serde_json::to_vec(&document).expect("a JSON value is written to memory");
    Document::parse_draft(&text, Some(version.media_type), &limits.documents).map_err(fault)
}

/// What is wrong, for programs and for people.
type Fault = (ErrorBody, String);

fn read<T: serde::de::DeserializeOwned>(patch: &[u8]) -> Result<T, ErrorBody> {
    serde_json::from_slice(patch).map_err(|error| ErrorBody::syntax(error.to_string()))
}

/// One operation after the other, so that what they copy can be counted: each `copy` of the whole document doubles it.
fn operations(document: &mut Value, patch: json_patch::Patch, limits: &Limits) -> Result<(), Fault> {
    if patch.0.len() > limits.patch_operations_max {
        let many = format!("{} operations, more than {}", patch.0.len(), limits.patch_operations_max);
        return Err((ErrorBody::syntax(many.clone()), many));
    }
    let mut copied = 0;
    for (number, operation) in patch.0.into_iter().enumerate() {
        if let json_patch::PatchOperation::Copy(copy) = &operation
            && let Ok(source) = copy.from.resolve(document)
        {
            copied += size(source);
            if copied > limits.patch_copied_bytes_max {
                let why = format!("{} copies more than {} bytes", copy.path, limits.patch_copied_bytes_max);
                return Err((at(copy.path.to_string(), None), why));
            }
        }
        // No way back is needed: the document is a copy, and one that failed is thrown away.
        json_patch::patch_unsafe(document, std::slice::from_ref(&operation)).map_err(|error| {
            let why = format!("operation {} at {}: {}", number, error.path, error.kind);
            let tested = match &operation {
                json_patch::PatchOperation::Test(test) => Some(&test.value),
                _ => None,
            };
            (at(error.path.to_string(), tested), why)
        })?;
    }
    Ok(())
}

/// The pointer of the operation that failed is the field at fault, and what a test did not find there the value.
fn at(pointer: String, value: Option<&Value>) -> ErrorBody {
    let value = value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    ErrorBody { value, ..ErrorBody::invalid(pointer, "") }
}

/// About what a value takes in memory.
fn size(value: &Value) -> usize {
    const NODE_BYTES: usize = size_of::<Value>();
    NODE_BYTES
        + match value {
            Value::String(text) => text.len(),
            Value::Array(values) => values.iter().map(size).sum(),
            Value::Object(members) => members.iter().map(|(name, value)| name.len() + NODE_BYTES + size(value)).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
}

/// The resource must be there to be patched.
pub(crate) fn base<'a>(versions: &'a BTreeMap<ResourceId, Arc<Version>>, id: &ResourceId) -> Result<&'a Version, Error> {
    versions.get(id).map(AsRef::as_ref).ok_or_else(|| Error::NotFound(id.clone()))
}
