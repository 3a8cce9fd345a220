//! Directories (RFC 7285 section 9.2 and what section 11 says of capabilities, RFC 8189 section 4.1.1).
use super::{
    costs::check_cost_type,
    findings::{Findings, Pointer},
    tree::{Member, Node, Value},
};
use crate::{cost, endpoint_property::PropertyName, id::ResourceId, media_type};
use std::collections::{HashMap, HashSet};

const SECTION: &str = "RFC 7285 section 9.2.2";

pub(super) fn check(root: &Node<'_>, findings: &mut Findings<'_>) {
    let top = Pointer::ROOT;
    let meta = findings.required(root, &top, "meta", "RFC 7285 section 8.4");
    let meta_pointer = top.name("meta");
    let cost_types = meta.and_then(|meta| meta.get("cost-types"));
    if let Some(types) = cost_types {
        let pointer = meta_pointer.name("cost-types");
        for member in findings.object(types, &pointer, SECTION).unwrap_or_default() {
            check_cost_type(&member.node, &pointer.name(&member.name), findings);
        }
    }
    let Some(data) = findings.required(root, &top, "resources", SECTION) else { return };
    let pointer = top.name("resources");
    let Some(entries) = findings.object(data, &pointer, SECTION) else { return };
    let directory = Directory { entries, cost_types };
    for entry in entries {
        directory.check_entry(entry, &pointer.name(&entry.name), findings);
    }
    if let Some(meta) = meta {
        directory.check_default(meta, &meta_pointer, findings);
    }
    directory.check_whole(data, &pointer, findings);
}

struct Directory<'n, 'a> {
    entries: &'n [Member<'a>],
    cost_types: Option<&'n Node<'a>>,
}

fn text<'n>(entry: &'n Member<'_>, name: &str) -> &'n str {
    entry.node.get(name).and_then(Node::text).unwrap_or_default()
}

fn capability<'n, 'a>(entry: &'n Member<'a>, name: &str) -> Option<&'n Node<'a>> {
    entry.node.get("capabilities")?.get(name)
}

fn names<'n>(entry: &'n Member<'_>, capability_name: &str) -> impl Iterator<Item = &'n str> {
    capability(entry, capability_name).map(Node::elements).unwrap_or_default().iter().filter_map(Node::text)
}

/// Whether it is a form of the map that it uses: the same, with its expiry.
fn expires(entry: &Member<'_>) -> bool {
    matches!(capability(entry, "expires").map(|node| &node.value), Some(Value::Bool(true)))
}

impl<'n, 'a> Directory<'n, 'a> {
    fn entry(&self, id: &str) -> Option<&'n Member<'a>> {
        self.entries.iter().find(|entry| entry.name == id)
    }

    fn of_type(&self, media_type: &'static str) -> impl Iterator<Item = &'n Member<'a>> {
        self.entries.iter().filter(move |entry| text(entry, "media-type") == media_type)
    }

    fn check_default(&self, meta: &Node<'_>, pointer: &Pointer<'_>, findings: &mut Findings<'_>) {
        let name = "default-alto-network-map";
        let Some(node) = meta.get(name) else {
            let message = "has no default-alto-network-map, which a root directory must have".into();
            return findings.warning(meta, pointer, "no-default-network-map", SECTION, message);
        };
        let pointer = pointer.name(name);
        let Some(id) = findings.parsed::<ResourceId>(node, &pointer, "RFC 7285 section 10.2") else { return };
        match self.entry(id.as_str()) {
            None => findings.warning(node, &pointer, "unknown-resource", SECTION, format!("{id} is no resource of this directory")),
            Some(entry) if text(entry, "media-type") != media_type::NETWORK_MAP => {
                findings.error(node, &pointer, "not-a-network-map", SECTION, format!("{id} is no network map"));
            }
            Some(_) => {}
        }
    }

    fn check_entry(&self, entry: &Member<'_>, pointer: &Pointer<'_>, findings: &mut Findings<'_>) {
        findings.parsed_name::<ResourceId>(entry, pointer, "RFC 7285 section 10.2");
        for name in ["uri", "media-type"] {
            if let Some(node) = findings.required(&entry.node, pointer, name, SECTION) {
                findings.string(node, &pointer.name(name), SECTION);
            }
        }
        if let Some(node) = entry.node.get("accepts") {
            findings.string(node, &pointer.name("accepts"), SECTION);
        }
        self.check_uses(entry, pointer, findings);
        self.check_accepts(entry, pointer, findings);
        self.check_capabilities(entry, pointer, findings);
    }

    fn check_uses(&self, entry: &Member<'_>, pointer: &Pointer<'_>, findings: &mut Findings<'_>) {
        let Some(uses) = entry.node.get("uses") else { return };
        let pointer = pointer.name("uses");
        for (index, node) in findings.array(uses, &pointer, SECTION).unwrap_or_default().iter().enumerate() {
            let pointer = pointer.index(index);
            let Some(id) = findings.parsed::<ResourceId>(node, &pointer, "RFC 7285 section 10.2") else { continue };
            // Section 9.2.4 itself has a delegated directory that uses a map of its parent.
            if self.entry(id.as_str()).is_none() {
                findings.warning(node, &pointer, "unknown-resource", SECTION, format!("{id} is no resource of this directory"));
            }
        }
        if text(entry, "media-type") == media_type::ENDPOINT_COST && !uses.elements().is_empty() {
            let message = "an endpoint cost service must not say that it uses a map".into();
            findings.warning(uses, &pointer, "endpoint-cost-uses", "RFC 7285 section 11.5.1.5", message);
        }
    }

    fn check_accepts(&self, entry: &Member<'_>, pointer: &Pointer<'_>, findings: &mut Findings<'_>) {
        let accepts = text(entry, "accepts");
        let (wanted, section): (&[&str], _) = match text(entry, "media-type") {
            media_type::NETWORK_MAP => (&["", media_type::NETWORK_MAP_FILTER], "RFC 7285 section 11.3.1.3"),
            media_type::COST_MAP => (&["", media_type::COST_MAP_FILTER], "RFC 7285 section 11.3.2.3"),
            media_type::ENDPOINT_PROPERTIES => (&[media_type::ENDPOINT_PROPERTIES_PARAMS], "RFC 7285 section 11.4.1.3"),
            media_type::ENDPOINT_COST => (&[media_type::ENDPOINT_COST_PARAMS], "RFC 7285 section 11.5.1.3"),
            _ => return,
        };
        if !wanted.contains(&accepts) {
            let message = format!("accepts {accepts:?} where {:?} is wanted", wanted.last().unwrap_or(&""));
            findings.error(entry.node.get("accepts").unwrap_or(&entry.node), &pointer.name("accepts"), "wrong-accepts", section, message);
        }
    }

    fn check_capabilities(&self, entry: &Member<'_>, pointer: &Pointer<'_>, findings: &mut Findings<'_>) {
        let at = pointer.name("capabilities");
        if let Some(capabilities) = entry.node.get("capabilities") {
            findings.object(capabilities, &at, SECTION);
        }
        for name in ["cost-type-names", "testable-cost-type-names"] {
            self.check_names(entry, name, &at, findings);
        }
        let kind = text(entry, "media-type");
        let costs = matches!(kind, media_type::COST_MAP | media_type::ENDPOINT_COST);
        let count = names(entry, "cost-type-names").count();
        let full = kind == media_type::COST_MAP && text(entry, "accepts").is_empty();
        if (costs && count == 0) || (full && count != 1) {
            let section = if full { "RFC 7285 section 11.2.3.4" } else { "RFC 7285 section 11.3.2.4" };
            let wanted = if full { "exactly one" } else { "at least one" };
            let message = format!("has {count} cost-type-names, {wanted} is wanted");
            findings.error(entry.node.get("capabilities").unwrap_or(&entry.node), &at, "cost-type-names", section, message);
        }
        if let Some(node) = capability(entry, "cost-constraints") {
            match node.value {
                Value::Bool(true) if capability(entry, "testable-cost-type-names").is_some() => {
                    let message = "cost-constraints and testable-cost-type-names exclude each other".into();
                    findings.error(node, &at.name("cost-constraints"), "testable-cost-types", "RFC 8189 section 4.1.1", message);
                }
                Value::Bool(_) => {}
                _ => {
                    let message = format!("is {} where true or false is wanted", node.kind());
                    findings.error(node, &at.name("cost-constraints"), "wrong-type", "RFC 7285 section 11.3.2.4", message);
                }
            }
        }
        if let Some(node) = capability(entry, "max-cost-types")
            && !matches!(node.value, Value::Number(_, n) if n >= 0.0 && n.fract() == 0.0 && n <= f64::from(u32::MAX))
        {
            let message = "is no number of cost types".into();
            findings.error(node, &at.name("max-cost-types"), "invalid-value", "RFC 8189 section 4.1.1", message);
        }
        if let Some(node) = capability(entry, "expires")
            && !matches!(node.value, Value::Bool(_))
        {
            let message = format!("is {} where true or false is wanted", node.kind());
            findings.error(node, &at.name("expires"), "wrong-type", "draft-alto-caching-subscription section 7", message);
        }
        self.check_properties(entry, &at, findings);
    }

    fn check_names(&self, entry: &Member<'_>, name: &str, at: &Pointer<'_>, findings: &mut Findings<'_>) {
        let Some(list) = capability(entry, name) else { return };
        let pointer = at.name(name);
        let section = "RFC 7285 section 11.2.3.4";
        let announced: HashSet<&str> = names(entry, "cost-type-names").collect();
        for (index, node) in findings.array(list, &pointer, section).unwrap_or_default().iter().enumerate() {
            let pointer = pointer.index(index);
            let Some(one) = findings.string(node, &pointer, section) else { continue };
            if self.cost_types.is_none_or(|types| types.get(one).is_none()) {
                findings.error(node, &pointer, "unknown-cost-type", SECTION, format!("{one:?} is not defined in meta/cost-types"));
            }
            if name == "testable-cost-type-names" && !announced.contains(one) {
                let message = format!("{one:?} is not among the cost-type-names");
                findings.error(node, &pointer, "testable-cost-types", "RFC 8189 section 4.1.1", message);
            }
        }
    }

    fn check_properties(&self, entry: &Member<'_>, at: &Pointer<'_>, findings: &mut Findings<'_>) {
        const SECTION: &str = "RFC 7285 section 11.4.1.4";
        if text(entry, "media-type") != media_type::ENDPOINT_PROPERTIES {
            return;
        }
        let Some(list) = capability(entry, "prop-types") else {
            let node = entry.node.get("capabilities").unwrap_or(&entry.node);
            return findings.error(node, at, "missing-member", SECTION, "has no prop-types".into());
        };
        let pointer = at.name("prop-types");
        for (index, node) in findings.array(list, &pointer, SECTION).unwrap_or_default().iter().enumerate() {
            findings.parsed::<PropertyName>(node, &pointer.index(index), "RFC 7285 section 10.8");
        }
    }

    /// What a server must offer (sections 6, 6.1.1.1, 11.2.1 and 11.4.1.4); another directory may offer it instead.
    fn check_whole(&self, data: &Node<'_>, pointer: &Pointer<'_>, findings: &mut Findings<'_>) {
        let delegates = self.of_type(media_type::DIRECTORY).next().is_some();
        let network_maps: Vec<&str> =
            self.of_type(media_type::NETWORK_MAP).filter(|e| text(e, "accepts").is_empty() && !expires(e)).map(|e| &*e.name).collect();
        if network_maps.is_empty() && !delegates {
            findings.warning(data, pointer, "no-network-map", "RFC 7285 section 11.2.1", "a server must provide a network map".into());
        }
        let is_routingcost = |name: &str| {
            let metric = self.cost_types.and_then(|types| types.get(name)?.get("cost-metric")?.text());
            metric == Some(cost::ROUTINGCOST)
        };
        let routingcost = self.of_type(media_type::COST_MAP).any(|entry| names(entry, "cost-type-names").any(is_routingcost));
        if !routingcost && !delegates {
            let message = "a server must provide a cost map of the metric routingcost".into();
            findings.warning(data, pointer, "no-routingcost", "RFC 7285 section 11.2.3", message);
        }
        let offered: HashSet<&str> = self.of_type(media_type::ENDPOINT_PROPERTIES).flat_map(|entry| names(entry, "prop-types")).collect();
        for id in network_maps {
            if !offered.contains(&*format!("{id}.pid")) && !delegates {
                let message = format!("no resource offers the property {id}.pid");
                findings.warning(data, pointer, "no-pid-property", "RFC 7285 section 11.4.1.4", message);
            }
        }
        let mut keys = HashMap::new();
        for entry in self.of_type(media_type::COST_MAP).filter(|entry| text(entry, "accepts").is_empty()) {
            let uses = entry.node.get("uses").and_then(|uses| uses.elements().first()).and_then(Node::text);
            let name = names(entry, "cost-type-names").next();
            let cost_type = name.and_then(|name| self.cost_types?.get(name));
            let part = |name| cost_type.and_then(|cost_type| cost_type.get(name)).and_then(Node::text);
            let key = (uses, part("cost-metric"), part("cost-mode"));
            if let (Some(_), Some(_), Some(_)) = key
                && let Some(first) = keys.insert(key, &*entry.name)
            {
                let message = format!("has the cost type and the network map of {first}");
                findings.error(&entry.node, &pointer.name(&entry.name), "same-cost-map", "RFC 7285 section 6.1", message);
            }
        }
    }
}
