//! A resource's next document from a change to its present one: JSON Merge Patch (RFC 7396), JSON Patch (RFC 6902).
//!
//! The patch is applied to the document as it is served; what comes out is read as strictly as any other document.
use crate::{Error, Limits, Version};
use alto::{Document, id::ResourceId, patch::Fault};
use maps::guidance::Refusal;
use std::{collections::BTreeMap, sync::Arc};

pub(crate) use alto::patch::Kind;

pub(crate) fn apply(version: &Version, kind: Kind, patch: &[u8], limits: &Limits) -> Result<Document, Error> {
    let refused =
        |Fault { body, why }: Fault| Error::from(Refusal { resource: version.resource.clone(), why: format!("patch: {why}"), body });
    let Limits { patch_operations_max, patch_copied_bytes_max, .. } = *limits;
    let bounds = alto::Limits { patch_operations_max, patch_copied_bytes_max, ..limits.documents.clone() };
    let text = alto::patch::apply(kind, &version.body, patch, &bounds).map_err(refused)?;
    Document::parse_draft(&text, Some(version.media_type), &limits.documents).map_err(|body| refused(body.into()))
}

/// The resource must be there to be patched.
pub(crate) fn base<'a>(versions: &'a BTreeMap<ResourceId, Arc<Version>>, id: &ResourceId) -> Result<&'a Version, Error> {
    versions.get(id).map(AsRef::as_ref).ok_or_else(|| Error::NotFound(id.clone()))
}
