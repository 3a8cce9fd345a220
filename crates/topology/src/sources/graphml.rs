//! GraphML as the Internet Topology Zoo writes it (<http://graphml.graphdrawing.org/specification.html>).
//!
//! Node data `label`, `Country`, `Latitude`, `Longitude`, `Internal`; edge data `LinkSpeedRaw` (bits per second), and where a file has them
//! `weight` (IGP metric) and `delay` (microseconds). An undirected edge is a link each way; parallel edges remain parallel links.
//! Invariant: router ids are unique. Labels that are not (`None`, `CERN` twice) get their node id appended.
use super::{Options, error::Refusal, place, read::Collector};
use crate::observation::{Link, Router};
use quick_xml::{Reader, events::BytesStart, events::Event};
use std::collections::{HashMap, HashSet};

const FIX: &str = "correct the file, or write it again, whole";

#[derive(Default)]
struct Element {
    /// Node id, or source and target.
    ends: (String, String),
    directed: bool,
    data: HashMap<String, String>,
    line: u64,
}

/// A node under its router id.
struct Named {
    name: String,
    location: Option<(f64, f64)>,
}

pub(super) fn read(bytes: &[u8], options: &Options, into: &mut Collector<'_>) -> Result<(), Refusal> {
    let (nodes, edges) = elements(bytes)?;
    let mut count: HashMap<&str, usize> = HashMap::new();
    for node in &nodes {
        *count.entry(label(node)).or_default() += 1;
    }
    let mut routers: HashMap<&str, Named> = HashMap::new();
    let mut skipped: HashSet<&str> = HashSet::new();
    let mut used: HashSet<String> = HashSet::new();
    for node in &nodes {
        let id = node.ends.0.as_str();
        if options.internal_only && node.data.get("Internal").is_some_and(|text| text == "0") {
            skipped.insert(id);
            continue;
        }
        let mut name = label(node).to_owned();
        if count[label(node)] > 1 {
            name = format!("{name}-{id}");
        }
        while !used.insert(name.clone()) {
            name.push_str("-2");
        }
        let location = place::location(number(node, "Latitude")?, number(node, "Longitude")?);
        let country = node.data.get("Country").filter(|text| !text.is_empty()).map(|text| text.as_str().into());
        into.router(Router { id: name.as_str().into(), country, location, addresses: Vec::new() })?;
        if routers.insert(id, Named { name, location }).is_some() {
            return Err(Refusal::line(node.line, format!("node {id:?} is there twice"), FIX));
        }
    }
    for edge in &edges {
        let (from, to) = (edge.ends.0.as_str(), edge.ends.1.as_str());
        if skipped.contains(from) || skipped.contains(to) {
            continue;
        }
        let end = |id: &str| {
            routers.get(id).ok_or_else(|| Refusal::line(edge.line, format!("an edge names node {id:?}, which is not there"), FIX))
        };
        let (from, to) = (end(from)?, end(to)?);
        if from.name == to.name {
            into.odd(format!("line {}", edge.line), format!("edge from {} to itself: skipped", from.name));
            continue;
        }
        let igp_cost = match number(edge, "weight")? {
            Some(weight) if weight >= 0.0 && weight <= f64::from(u32::MAX) => Some(weight.round() as u32),
            Some(weight) => return Err(Refusal::line(edge.line, format!("weight {weight} is no IGP metric"), FIX)),
            None => None,
        };
        let link = Link {
            from: from.name.as_str().into(),
            to: to.name.as_str().into(),
            igp_cost,
            delay_us: place::delay_us(options, from.location, to.location, number(edge, "delay")?.filter(|delay| *delay >= 0.0)),
            bandwidth_bps: number(edge, "LinkSpeedRaw")?.filter(|speed| *speed > 0.0),
            ..Link::default()
        };
        if !edge.directed {
            into.link(Link { from: link.to.clone(), to: link.from.clone(), ..link.clone() })?;
        }
        into.link(link)?;
    }
    Ok(())
}

fn label(node: &Element) -> &str {
    node.data.get("label").map(|text| text.trim()).filter(|text| !text.is_empty()).unwrap_or(&node.ends.0)
}

fn number(element: &Element, name: &str) -> Result<Option<f64>, Refusal> {
    let Some(text) = element.data.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.map(Some).ok_or_else(|| Refusal::line(element.line, format!("{name} {text:?} is not a number"), FIX))
}

/// Nodes and edges with their data, by attribute name.
fn elements(bytes: &[u8]) -> Result<(Vec<Element>, Vec<Element>), Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::whole("not UTF-8 text", "save the file as UTF-8"))?;
    let mut reader = Reader::from_str(text);
    let mut lines = Lines { bytes, at: 0, line: 1 };
    let mut keys: HashMap<String, String> = HashMap::new();
    let (mut nodes, mut edges) = (Vec::new(), Vec::new());
    let mut element: Option<Element> = None;
    let mut data: Option<(String, String)> = None;
    let mut depth = 0_usize;
    let mut graph = false;
    let mut directed = false;
    loop {
        let event = reader.read_event();
        let line = lines.upto(reader.buffer_position());
        let event = event.map_err(|why| Refusal::line(line, format!("not XML: {why}"), FIX))?;
        let attribute = |start: &BytesStart<'_>, name: &str| -> Result<String, Refusal> {
            let tag = start.local_name().as_ref().to_owned();
            let found = start.try_get_attribute(name).map_err(|why| Refusal::line(line, format!("<{tag}>: {why}"), FIX))?;
            let found = found.ok_or_else(|| Refusal::line(line, format!("<{tag}> without {name:?}"), FIX))?;
            let value = quick_xml::escape::unescape(&found.value).map_err(|why| Refusal::line(line, format!("<{tag}>: {why}"), FIX))?;
            Ok(value.into_owned())
        };
        match &event {
            Event::Start(start) | Event::Empty(start) => {
                let empty = matches!(event, Event::Empty(_));
                depth += usize::from(!empty);
                match start.local_name().as_ref() {
                    "key" => {
                        // Keys of extensions (yFiles) have no name and no data for us.
                        if let Ok(name) = attribute(start, "attr.name") {
                            keys.insert(attribute(start, "id")?, name);
                        }
                    }
                    "graph" => {
                        graph = true;
                        directed = attribute(start, "edgedefault").is_ok_and(|default| default == "directed");
                    }
                    "node" => {
                        let new = Element { ends: (attribute(start, "id")?, String::new()), line, ..Element::default() };
                        if empty { nodes.push(new) } else { element = Some(new) }
                    }
                    "edge" => {
                        let ends = (attribute(start, "source")?, attribute(start, "target")?);
                        let directed = attribute(start, "directed").map_or(directed, |own| own == "true");
                        let new = Element { ends, directed, line, ..Element::default() };
                        if empty { edges.push(new) } else { element = Some(new) }
                    }
                    "data" if !empty && element.is_some() => {
                        let key = attribute(start, "key")?;
                        data = keys.get(&key).map(|name| (name.clone(), String::new()));
                    }
                    _ => {}
                }
            }
            Event::End(end) => {
                depth = depth.saturating_sub(1);
                match end.local_name().as_ref() {
                    "data" => {
                        if let (Some((name, text)), Some(element)) = (data.take(), &mut element) {
                            element.data.insert(name, text.trim().to_owned());
                        }
                    }
                    "node" => nodes.extend(element.take()),
                    "edge" => edges.extend(element.take()),
                    _ => {}
                }
            }
            Event::Text(text) => {
                if let Some((_, value)) = &mut data {
                    value.push_str(text);
                }
            }
            Event::CData(text) => {
                if let Some((_, value)) = &mut data {
                    value.push_str(text);
                }
            }
            Event::GeneralRef(reference) => {
                if let Some((_, value)) = &mut data {
                    let text = format!("&{};", &**reference);
                    let text = quick_xml::escape::unescape(&text).map_err(|why| Refusal::line(line, why.to_string(), FIX))?;
                    value.push_str(&text);
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if depth > 0 {
        return Err(Refusal::line(lines.line, "the file ends inside an element", "the file is truncated: write it again, whole"));
    }
    if !graph {
        return Err(Refusal::whole("no <graph> in it", "give a GraphML file"));
    }
    Ok((nodes, edges))
}

/// Line numbers of growing offsets.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    fn upto(&mut self, offset: u64) -> u64 {
        let to = usize::try_from(offset).unwrap_or(usize::MAX).clamp(self.at, self.bytes.len());
        self.line += memchr::memchr_iter(b'\n', &self.bytes[self.at..to]).count() as u64;
        self.at = to;

        self.line
    }
}
