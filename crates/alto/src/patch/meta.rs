//! Changes of `meta` (RFC 7285 sections 10.3 and 10.7), in both languages.
use super::operations::Operations;
use crate::{
    cost::CostType,
    id::VersionTag,
    json::{self, Object},
};

/// The member `vtag`: `at` is the pointer of `meta`.
pub(super) fn vtag(old: Option<&VersionTag>, new: Option<&VersionTag>, merge: &mut Object<'_>, json: &mut Operations) {
    if old == new {
        return;
    }
    match (old, new) {
        (_, None) => {
            merge.key("vtag").extend_from_slice(b"null");
            json.remove("/meta/vtag");
        }
        (Some(old), Some(new)) if old.resource_id == new.resource_id => {
            let mut vtag = Object::new(merge.key("vtag"));
            vtag.string("tag", new.tag.as_str());
            vtag.end();
            json.value("replace", "/meta/vtag/tag", |out| json::write_string(out, new.tag.as_str()));
        }
        (_, Some(new)) => {
            new.write(merge.key("vtag"));
            json.value("add", "/meta/vtag", |out| new.write(out));
        }
    }
}

/// The member `dependent-vtags`.
pub(super) fn dependent_vtags(old: &[VersionTag], new: &[VersionTag], merge: &mut Object<'_>, json: &mut Operations) {
    if old == new {
        return;
    }
    VersionTag::write_list(merge.key("dependent-vtags"), new);
    match (old, new) {
        ([old], [new]) if old.resource_id == new.resource_id => {
            json.value("replace", "/meta/dependent-vtags/0/tag", |out| json::write_string(out, new.tag.as_str()));
        }
        _ => json.value("replace", "/meta/dependent-vtags", |out| VersionTag::write_list(out, new)),
    }
}

/// The member `cost-type`; a description is part of the text, though not of equality.
pub(super) fn cost_type(old: &CostType, new: &CostType, merge: &mut Object<'_>, json: &mut Operations) {
    if old == new && old.description == new.description {
        return;
    }
    let mut member = Object::new(merge.key("cost-type"));
    for (name, old, new) in [("cost-mode", old.mode.as_str(), new.mode.as_str()), ("cost-metric", old.metric.as_str(), new.metric.as_str())]
    {
        if old != new {
            member.string(name, new);
        }
    }
    match (&old.description, &new.description) {
        (Some(_), None) => member.key("description").extend_from_slice(b"null"),
        (old, Some(new)) if old.as_ref() != Some(new) => member.string("description", new),
        _ => {}
    }
    member.end();
    json.value("replace", "/meta/cost-type", |out| new.write(out));
}
