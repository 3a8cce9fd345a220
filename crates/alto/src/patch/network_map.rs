//! Changes of network maps, from prefixes (RFC 7285 section 11.2.1.6).
use super::Patches;
use crate::{id::VersionTag, network_map::NetworkMap};

/// What a network map is made of, where it lies. The tag is `vtag`; the one in `map` is not read.
#[derive(Debug, Clone, Copy)]
pub struct NetworkMapParts<'a> {
    /// `meta.vtag`
    pub vtag: Option<&'a VersionTag>,
    /// `network-map`
    pub map: &'a NetworkMap,
}

impl NetworkMapParts<'_> {
    /// The change from this map to another.
    pub fn diff(&self, new: &NetworkMapParts<'_>) -> Patches {
        let body = |parts: &NetworkMapParts<'_>| NetworkMap { vtag: parts.vtag.cloned(), pids: parts.map.pids.clone() }.to_json();
        super::diff(&body(self), &body(new)).expect("what we write is JSON")
    }
}
