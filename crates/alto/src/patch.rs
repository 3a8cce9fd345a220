//! The two languages of change: JSON Merge Patch (RFC 7396, [`merge`]) and JSON Patch (RFC 6902, [`json`]), each applied and made.
//!
//! [`diff`] and [`apply`] work on any JSON. Maps have their own: [`CostMapParts`] and [`NetworkMapParts`] are compared as numbers and
//! prefixes with no text between, and [`apply_to`] changes a map in place.
//! Invariant: a change that was made applies to what it was made from, and gives what it was made for.
mod cost_map;
mod in_place;
pub mod json;
pub mod merge;
mod meta;
mod network_map;
mod operations;

pub use cost_map::CostMapParts;
pub use network_map::NetworkMapParts;

use crate::{Document, ErrorBody, Limits, json as text, media_type};
use serde_json::Value;

/// The languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// RFC 7396
    Merge,
    /// RFC 6902
    Json,
}

impl Kind {
    /// Of a patch.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Merge => media_type::MERGE_PATCH,
            Self::Json => media_type::JSON_PATCH,
        }
    }

    /// The language of a media type, parameters and case aside.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        let bare = media_type.split(';').next().unwrap_or_default().trim();
        [Self::Merge, Self::Json].into_iter().find(|kind| kind.media_type().eq_ignore_ascii_case(bare))
    }
}

/// One change, in each language that can say it and is worth it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patches {
    /// `application/merge-patch+json`
    pub merge: Option<Vec<u8>>,
    /// `application/json-patch+json`
    pub json: Option<Vec<u8>>,
}

/// Why a patch does not apply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Fault {
    /// For programs: the field is the pointer of the operation at fault, or the place in the document that came out.
    pub body: ErrorBody,
    /// For people.
    pub why: String,
}

impl From<ErrorBody> for Fault {
    fn from(body: ErrorBody) -> Self {
        Self { why: body.to_string(), body }
    }
}

/// The change from one document to another; both must be JSON.
pub fn diff(old: &[u8], new: &[u8]) -> Result<Patches, ErrorBody> {
    let read = |body| value(body, &Limits::default());
    let (old, new) = (read(old)?, read(new)?);
    let write = |patch: Value| serde_json::to_vec(&patch).expect("a JSON value is written to memory");
    Ok(Patches { merge: merge::diff(&old, &new).map(write), json: Some(json::diff(&old, &new).to_json()) })
}

/// The document after a change.
pub fn apply(kind: Kind, document: &[u8], patch: &[u8], limits: &Limits) -> Result<Vec<u8>, Fault> {
    let mut document = value(document, limits)?;
    apply_to_value(kind, &mut document, patch, limits)?;
    Ok(serde_json::to_vec(&document).expect("a JSON value is written to memory"))
}

/// The same on a value. Where it fails the value is as far as it came: a copy is to be thrown away.
pub fn apply_to_value(kind: Kind, document: &mut Value, patch: &[u8], limits: &Limits) -> Result<(), Fault> {
    match kind {
        Kind::Merge => merge::apply(document, value(patch, limits)?),
        Kind::Json => json::Patch::from_json_within(patch, limits)?.apply(document, limits)?,
    }
    Ok(())
}

/// Changes a document; what comes out is checked as strictly as what is read. Where it fails the document is as it was.
///
/// Merge patches of cost maps and both kinds of patch of network maps are applied in place where they are of the usual kind. A [`Document`]
/// has its lists sorted and forgot what it did not know: a JSON patch, which names places, fits if the document was written by us; one
/// of somebody else is to be kept as a [`Value`] ([`apply_to_value`]).
pub fn apply_to(document: &mut Document, kind: Kind, patch: &[u8], limits: &Limits) -> Result<(), Fault> {
    if apply_in_place(document, kind, patch, limits).is_none() {
        let body = apply(kind, &document.to_json(), patch, limits)?;
        *document = Document::parse_within(&body, Some(document.media_type()), limits)?;
    }
    Ok(())
}

/// The same if the change is of the usual kind; `None`, nothing done, for all others and for whatever is wrong. A cost map may be one that
/// is served: it comes out with its names sorted, and without those that have no cost.
pub fn apply_in_place(document: &mut Document, kind: Kind, patch: &[u8], limits: &Limits) -> Option<()> {
    match (document, kind) {
        (Document::CostMap(map), Kind::Merge) => in_place::cost_map(map, patch, limits),
        (Document::NetworkMap(map), kind) => in_place::network_map(map, kind, patch, limits),
        _ => None,
    }
}

/// Any JSON, read as strictly as a document.
fn value(body: &[u8], limits: &Limits) -> Result<Value, ErrorBody> {
    text::document(body, limits, |reader| reader.skip())?;
    serde_json::from_slice(body).map_err(|error| ErrorBody::syntax(error.to_string()))
}
