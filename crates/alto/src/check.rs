//! Says everything that is wrong with a document, and where (`altocast check`).
//!
//! Where the readers of this crate stop at the first fault, this reads on as far as the text is JSON at all.
mod costs;
mod directory;
mod endpoint_properties;
mod findings;
mod network_map;
mod tree;

use crate::{Limits, document::Kind, json};
use findings::{Findings, Pointer};
use std::{collections::HashSet, fmt};
use tree::Node;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Legal; worth knowing.
    Note,
    /// Legal or nearly so; clients will not get what they expect.
    Warning,
    /// Against a MUST.
    Error,
}

impl Severity {
    /// `note`, `warning`, `error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer (RFC 6901) to the value at fault; empty for the whole document.
    pub pointer: String,
    /// Line and column of it, both from 1, columns in characters.
    pub line: usize,
    /// See `line`.
    pub column: usize,
    /// Short fixed name of the rule, `duplicate-prefix`.
    pub rule: &'static str,
    /// Where the rule stands, `RFC 7285 section 11.2.2`.
    pub rfc_section: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong here, for people.
    pub message: String,
}

/// Checks a document. `companions` are documents it may refer to: the network maps of a cost map or of endpoint properties.
/// Problems come in the order of the text, [`Limits::problems_max`] of them at most.
pub fn check(document: &[u8], media_type: Option<&str>, companions: &[&[u8]]) -> Vec<Problem> {
    check_within(document, media_type, companions, &Limits::default())
}

/// The same, with bounds.
pub fn check_within(document: &[u8], media_type: Option<&str>, companions: &[&[u8]], limits: &Limits) -> Vec<Problem> {
    let root = match tree::parse(document, limits) {
        Ok(root) => root,
        Err(fault) => return vec![fault],
    };
    let text = std::str::from_utf8(document).expect("it was read as UTF-8");
    let mut findings = Findings::new(text, limits);
    check_duplicates(&root, &Pointer::ROOT, &mut findings);
    let network_maps: Vec<NetworkMapFacts> = companions.iter().filter_map(|text| NetworkMapFacts::of(text, limits)).collect();
    if let Some(members) = findings.object(&root, &Pointer::ROOT, "RFC 7285 section 8.4") {
        let kind = match media_type {
            Some(name) => Kind::of_media_type(name),
            None => Kind::of_members(members.iter().map(|member| &*member.name)),
        };
        match kind {
            Some(Kind::NetworkMap) => network_map::check(&root, &mut findings),
            Some(Kind::CostMap) => costs::check_cost_map(&root, &network_maps, &mut findings),
            Some(Kind::EndpointCosts) => costs::check_endpoint_costs(&root, &mut findings),
            Some(Kind::EndpointProperties) => endpoint_properties::check(&root, &network_maps, &mut findings),
            Some(Kind::Directory) => directory::check(&root, &mut findings),
            None => findings.error(
                &root,
                &Pointer::ROOT,
                "unknown-document",
                "RFC 7285 section 8.4.2",
                "not one of resources, network-map, cost-map, endpoint-properties and endpoint-cost-map is a member".into(),
            ),
        }
    }
    findings.finish()
}

/// Names in an object are unique for us (RFC 8259 section 4 says they should be); two readers may take two values otherwise.
fn check_duplicates(node: &Node<'_>, pointer: &Pointer<'_>, findings: &mut Findings<'_>) {
    match &node.value {
        tree::Value::Object(members) => {
            let mut names = HashSet::new();
            for member in members {
                let pointer = pointer.name(&member.name);
                if !names.insert(&*member.name) {
                    let message = format!("{:?} is here a second time", member.name);
                    findings.error_at(member.name_at, &pointer, "duplicate-member", "RFC 8259 section 4", message);
                }
                check_duplicates(&member.node, &pointer, findings);
            }
        }
        tree::Value::Array(nodes) => {
            for (index, node) in nodes.iter().enumerate() {
                check_duplicates(node, &pointer.index(index), findings);
            }
        }
        _ => {}
    }
}

/// What other documents ask of a network map.
struct NetworkMapFacts {
    resource_id: String,
    tag: String,
    pids: HashSet<String>,
}

impl NetworkMapFacts {
    /// As far as the text allows, or not at all: it is another document's problem.
    fn of(text: &[u8], limits: &Limits) -> Option<Self> {
        let root = tree::parse(text, limits).ok()?;
        let vtag = root.get("meta")?.get("vtag")?;
        let tree::Value::Object(pids) = &root.get("network-map")?.value else { return None };
        Some(Self {
            resource_id: vtag.get("resource-id")?.text()?.to_owned(),
            tag: vtag.get("tag")?.text()?.to_owned(),
            pids: pids.iter().map(|member| member.name.to_string()).collect(),
        })
    }

    /// The network map that a `dependent-vtags` names; a finding where it is not there, or at another version.
    fn find<'m>(vtag: &Node<'_>, pointer: &Pointer<'_>, maps: &'m [Self], findings: &mut Findings<'_>) -> Option<&'m Self> {
        let (id, tag) = (vtag.get("resource-id")?, vtag.get("tag")?);
        let (id_text, tag_text) = (id.text()?, tag.text()?);
        if maps.is_empty() {
            return None;
        }
        let Some(map) = maps.iter().find(|map| map.resource_id == id_text) else {
            let known: Vec<&str> = maps.iter().map(|map| &*map.resource_id).collect();
            let message = format!("no network map {id_text:?} is here; there is {}", known.join(", "));
            findings.error(id, &pointer.name("resource-id"), "dangling-vtag", "RFC 7285 section 11.2.3.6", message);
            return None;
        };
        if map.tag != tag_text {
            let message = format!("made for version {tag_text:?} of {id_text}, which is now at {:?}", map.tag);
            findings.warning(tag, &pointer.name("tag"), "stale-vtag", "RFC 7285 section 6.3", message);
        }
        Some(map)
    }
}

/// Fills in lines and columns: `offsets` are in order, so the text is walked once.
fn place(text: &str, found: Vec<(usize, Problem)>) -> Vec<Problem> {
    let (mut at, mut line, mut column) = (0, 1, 1);
    let place = |(offset, mut problem): (usize, Problem)| {
        let part = text.get(at..offset).unwrap_or_default();
        let (lines, columns) = json::position(part, part.len());
        column = if lines > 1 { columns } else { column + columns - 1 };
        line += lines - 1;
        at = offset.max(at);
        (problem.line, problem.column) = (line, column);
        problem
    };
    found.into_iter().map(place).collect()
}
