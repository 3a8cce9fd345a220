//! Views of POST-mode resources.
use crate::{Limits, OpenError, Snapshot, View, views::Views};
use alto::id::ResourceId;
use std::{net::IpAddr, sync::Arc};

/// What a view of a POST-mode resource needs besides.
pub(crate) struct Post {}

#[allow(unused_variables)]
pub(crate) fn open(
    snapshot: &Snapshot,
    views: &Views,
    id: &ResourceId,
    input: Option<&[u8]>,
    client: IpAddr,
    limits: &Limits,
) -> Result<Arc<View>, OpenError> {
    match (snapshot.guidance.service(id), input) {
        (None, _) => Err(OpenError::NoResource(id.clone())),
        (Some(_), None) => Err(OpenError::InputMissing(id.clone())),
        (Some(_), Some(_)) => Err(OpenError::TooManyViews { max: 0 }),
    }
}
