//! Endpoint properties (RFC 7285 section 11.4.1.6).
use super::{
    NetworkMapFacts,
    findings::{Findings, Pointer},
    tree::Node,
};
use crate::{endpoint::Address, endpoint_property::PropertyName};

const SECTION: &str = "RFC 7285 section 11.4.1.6";

pub(super) fn check(root: &Node<'_>, network_maps: &[NetworkMapFacts], findings: &mut Findings<'_>) {
    let top = Pointer::ROOT;
    let mut depends = Vec::new();
    let meta = findings.required(root, &top, "meta", "RFC 7285 section 8.4");
    let meta_pointer = top.name("meta");
    if let Some(list) = meta.and_then(|meta| meta.get("dependent-vtags")) {
        let pointer = meta_pointer.name("dependent-vtags");
        for (index, vtag) in findings.array(list, &pointer, SECTION).unwrap_or_default().iter().enumerate() {
            let pointer = pointer.index(index);
            findings.version_tag(vtag, &pointer);
            NetworkMapFacts::find(vtag, &pointer, network_maps, findings);
            depends.extend(vtag.get("resource-id").and_then(Node::text));
        }
    }
    let Some(data) = findings.required(root, &top, "endpoint-properties", SECTION) else { return };
    let pointer = top.name("endpoint-properties");
    let mut missing = Vec::new();
    for endpoint in findings.object(data, &pointer, SECTION).unwrap_or_default() {
        let pointer = pointer.name(&endpoint.name);
        findings.parsed_name::<Address>(endpoint, &pointer, "RFC 7285 section 10.4.1");
        for property in findings.object(&endpoint.node, &pointer, SECTION).unwrap_or_default() {
            let pointer = pointer.name(&property.name);
            let name: Option<PropertyName> = findings.parsed_name(property, &pointer, "RFC 7285 section 10.8");
            let value = findings.string(&property.node, &pointer, SECTION);
            let Some(map) = name.as_ref().and_then(PropertyName::pid_resource) else { continue };
            if !depends.contains(&map.as_str()) && !missing.contains(map) {
                missing.push(map.clone());
            }
            let Some(facts) = network_maps.iter().find(|facts| facts.resource_id == map.as_str()) else { continue };
            if let Some(pid) = value.filter(|pid| !facts.pids.contains(*pid)) {
                findings.error(&property.node, &pointer, "unknown-pid", "RFC 7285 section 7.1.1", format!("{pid:?} is no PID of {map}"));
            }
        }
    }
    if let Some(meta) = meta {
        for map in missing {
            let message = format!("says nothing of {map}, whose pid is here");
            findings.error(meta, &meta_pointer, "dependent-vtags", SECTION, message);
        }
    }
}
