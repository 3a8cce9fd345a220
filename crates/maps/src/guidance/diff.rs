//! The change from one version of a resource to the next (RFC 7396, RFC 6902), made from numbers and prefixes.
use super::{CostView, NetworkView, Resource};
use alto::patch::{CostMapParts, NetworkMapParts, Patches};

/// The change from `old` to `new`, with `meta`, in each language that can say it and is worth it.
///
/// Applied to the document that [`Resource::render`] made of `old` it gives that of `new`. Neither language can say it when a resource
/// became another kind of map.
pub fn diff(old: &Resource, new: &Resource) -> Patches {
    match (old, new) {
        (Resource::Network(old), Resource::Network(new)) => networks(old, new),
        (Resource::Cost(old), Resource::Cost(new)) => costs(old, new),
        _ => Patches::default(),
    }
}

fn networks(old: &NetworkView, new: &NetworkView) -> Patches {
    let (old_vtag, new_vtag) = (old.vtag(), new.vtag());
    NetworkMapParts { vtag: Some(&old_vtag), map: old.map() }.diff(&NetworkMapParts { vtag: Some(&new_vtag), map: new.map() })
}

fn costs(old: &CostView, new: &CostView) -> Patches {
    let (old_vtag, new_vtag) = (old.vtag(), new.vtag());
    parts(old, &old_vtag).diff(&parts(new, &new_vtag))
}

fn parts<'a>(view: &'a CostView, vtag: &'a alto::id::VersionTag) -> CostMapParts<'a> {
    CostMapParts {
        dependent_vtags: std::slice::from_ref(&view.network_map),
        vtag: Some(vtag),
        cost_type: &view.cost_type,
        table: &view.table,
    }
}
