//! TIPS (draft-ietf-alto-new-transport, RFC 9569): opening a view, its summary, the next edge.
//!
//! Unit: sequence numbers; 0 is the empty version, so an edge from 0 is a full copy.
use super::{object_text, seq_field, seq_of_path, write_seq};
use crate::{
    ErrorBody, Limits,
    id::{ResourceId, Tag},
    json::{self, Path, Reader},
};
use std::fmt;

/// `TIPSReq` (section 6.1), for a view and, without input, for a next edge (section 7.4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TipsReq {
    /// `resource-id`
    pub resource_id: ResourceId,
    /// `tag`: the version that the client has.
    pub tag: Option<Tag>,
    /// `input`: the request body of a POST-mode resource, an object, as it came.
    pub input: Option<Box<str>>,
}

impl TipsReq {
    /// Reads an `application/alto-tipsparams+json` body that opens a view.
    pub fn from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        Self::from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        Self::read(body, limits, true)
    }

    /// Reads the body of a request for a next edge: the optional `input` field MUST NOT be present (section 7.4.1).
    pub fn next_edge_from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        Self::next_edge_from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    pub fn next_edge_from_json_within(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        Self::read(body, limits, false)
    }

    fn read(body: &[u8], limits: &Limits, input_allowed: bool) -> Result<Self, ErrorBody> {
        json::document(body, limits, |reader| {
            let root = Path::ROOT;
            let (mut resource_id, mut tag, mut input) = (None, None, None);
            reader.object(&root, |reader, key| {
                let path = root.child(key);
                match &**key {
                    "resource-id" => resource_id = Some(reader.parsed_field(&path)?),
                    "tag" => tag = Some(reader.parsed_field(&path)?),
                    "input" if input_allowed => input = Some(object_text(reader, &path)?),
                    "input" => {
                        let start = reader.offset();
                        reader.skip()?;
                        return Err(path.invalid(reader.since(start), reader.limits));
                    }
                    _ => reader.skip()?,
                }
                Ok(())
            })?;
            Ok(Self { resource_id: resource_id.ok_or_else(|| root.missing("resource-id"))?, tag, input })
        })
    }

    /// The `application/alto-tipsparams+json` body.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut object = json::Object::new(&mut out);
        object.string("resource-id", self.resource_id.as_str());
        if let Some(tag) = &self.tag {
            object.string("tag", tag.as_str());
        }
        if let Some(input) = &self.input {
            object.key("input").extend_from_slice(input.as_bytes());
        }
        object.end();
        out
    }
}

/// An edge of an updates graph: from version `i` to version `j`, `i < j`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Edge {
    /// `seq-i`; 0 is the start of a full copy.
    pub i: u64,
    /// `seq-j`
    pub j: u64,
}

impl Edge {
    /// The edge of the path segments after `ug/`: both whole numbers without sign or leading zero, the first the smaller.
    pub fn of_path(i: &str, j: &str) -> Option<Self> {
        let edge = Self { i: seq_of_path(i)?, j: seq_of_path(j)? };
        (edge.i < edge.j).then_some(edge)
    }

    /// Below the view's URI: `<tips-view-uri>/ug/<i>/<j>` (section 5.2).
    pub fn uri(self, view_uri: &str) -> String {
        format!("{view_uri}/ug/{self}")
    }

    fn read(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Self, ErrorBody> {
        let (mut i, mut j) = (None, None);
        reader.object(path, |reader, key| {
            let path = path.child(key);
            match &**key {
                "seq-i" => i = Some(seq_field(reader, &path)?),
                "seq-j" => j = Some(seq_field(reader, &path)?),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let edge = Self { i: i.ok_or_else(|| path.missing("seq-i"))?, j: j.ok_or_else(|| path.missing("seq-j"))? };
        if edge.i >= edge.j {
            return Err(path.child("seq-j").invalid(&edge.j.to_string(), reader.limits));
        }
        Ok(edge)
    }

    fn write(self, out: &mut Vec<u8>) {
        let mut object = json::Object::new(out);
        write_seq(object.key("seq-i"), self.i);
        write_seq(object.key("seq-j"), self.j);
        object.end();
    }
}

/// As in a URI: `103/104`.
impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.i, self.j)
    }
}

/// `UpdatesGraphSummary` (section 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// `start-seq`
    pub start_seq: u64,
    /// `end-seq`
    pub end_seq: u64,
    /// `start-edge-rec`: where the server would start.
    pub start_edge: Edge,
}

/// What a merge patch to an [`AddTipsResponse`] says of its summary: the answer to a request for a next edge (section 7.4.2), and what an
/// update stream over TIPS sends (section 6.3.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SummaryChange {
    /// `start-seq`
    pub start_seq: Option<u64>,
    /// `end-seq`
    pub end_seq: Option<u64>,
    /// `start-edge-rec/seq-i`
    pub seq_i: Option<u64>,
    /// `start-edge-rec/seq-j`
    pub seq_j: Option<u64>,
}

impl SummaryChange {
    /// All of a summary: the answer to a request for a next edge.
    pub fn whole(summary: Summary) -> Self {
        let Summary { start_seq, end_seq, start_edge } = summary;
        Self { start_seq: Some(start_seq), end_seq: Some(end_seq), seq_i: Some(start_edge.i), seq_j: Some(start_edge.j) }
    }

    /// What is different in the second.
    pub fn between(old: Summary, new: Summary) -> Self {
        let changed = |old: u64, new: u64| (old != new).then_some(new);
        Self {
            start_seq: changed(old.start_seq, new.start_seq),
            end_seq: changed(old.end_seq, new.end_seq),
            seq_i: changed(old.start_edge.i, new.start_edge.i),
            seq_j: changed(old.start_edge.j, new.start_edge.j),
        }
    }

    /// The summary after the change.
    pub fn apply(self, old: Summary) -> Summary {
        Summary {
            start_seq: self.start_seq.unwrap_or(old.start_seq),
            end_seq: self.end_seq.unwrap_or(old.end_seq),
            start_edge: Edge { i: self.seq_i.unwrap_or(old.start_edge.i), j: self.seq_j.unwrap_or(old.start_edge.j) },
        }
    }

    /// Reads an `application/merge-patch+json` body. `tips-view-summary` and `updates-graph-summary` MUST be there (section 7.4.2).
    pub fn from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        Self::from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        json::document(body, limits, |reader| {
            nested(reader, |reader, path| {
                let mut change = Self::default();
                reader.object(path, |reader, key| {
                    let path = path.child(key);
                    match &**key {
                        "start-seq" => change.start_seq = Some(seq_field(reader, &path)?),
                        "end-seq" => change.end_seq = Some(seq_field(reader, &path)?),
                        "start-edge-rec" => reader.object(&path, |reader, key| {
                            let path = path.child(key);
                            match &**key {
                                "seq-i" => change.seq_i = Some(seq_field(reader, &path)?),
                                "seq-j" => change.seq_j = Some(seq_field(reader, &path)?),
                                _ => reader.skip()?,
                            }
                            Ok(())
                        })?,
                        _ => reader.skip()?,
                    }
                    Ok(())
                })?;
                Ok(change)
            })
            .map(|(_, change)| change)
        })
    }

    /// The `application/merge-patch+json` body.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut response = json::Object::new(&mut out);
        let mut view = json::Object::new(response.key(VIEW_SUMMARY));
        let mut graph = json::Object::new(view.key(GRAPH_SUMMARY));
        for (name, seq) in [("start-seq", self.start_seq), ("end-seq", self.end_seq)] {
            if let Some(seq) = seq {
                write_seq(graph.key(name), seq);
            }
        }
        if self.seq_i.is_some() || self.seq_j.is_some() {
            let mut edge = json::Object::new(graph.key("start-edge-rec"));
            for (name, seq) in [("seq-i", self.seq_i), ("seq-j", self.seq_j)] {
                if let Some(seq) = seq {
                    write_seq(edge.key(name), seq);
                }
            }
            edge.end();
        }
        graph.end();
        view.end();
        response.end();
        out
    }
}

const VIEW_URI: &str = "tips-view-uri";
const VIEW_SUMMARY: &str = "tips-view-summary";
const GRAPH_SUMMARY: &str = "updates-graph-summary";

/// `AddTIPSResponse` (section 6.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddTipsResponse {
    /// `tips-view-uri`: absolute, ASCII.
    pub view_uri: Box<str>,
    /// `tips-view-summary/updates-graph-summary`
    pub summary: Summary,
}

impl AddTipsResponse {
    /// Reads an `application/alto-tips+json` body.
    pub fn from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        Self::from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        json::document(body, limits, |reader| {
            let (view_uri, summary) = nested(reader, read_summary)?;
            Ok(Self { view_uri: view_uri.ok_or_else(|| Path::ROOT.missing(VIEW_URI))?, summary })
        })
    }

    /// The `application/alto-tips+json` body.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut response = json::Object::new(&mut out);
        response.string(VIEW_URI, &self.view_uri);
        let mut view = json::Object::new(response.key(VIEW_SUMMARY));
        let mut graph = json::Object::new(view.key(GRAPH_SUMMARY));
        write_seq(graph.key("start-seq"), self.summary.start_seq);
        write_seq(graph.key("end-seq"), self.summary.end_seq);
        self.summary.start_edge.write(graph.key("start-edge-rec"));
        graph.end();
        view.end();
        response.end();
        out
    }
}

/// A response with its summary, which `read` takes; the URI where it is.
fn nested<T>(
    reader: &mut Reader<'_>,
    mut read: impl FnMut(&mut Reader<'_>, &Path<'_>) -> Result<T, ErrorBody>,
) -> Result<(Option<Box<str>>, T), ErrorBody> {
    let root = Path::ROOT;
    let view = root.child(VIEW_SUMMARY);
    let (mut uri, mut has_view, mut found) = (None, false, None);
    reader.object(&root, |reader, key| {
        match &**key {
            VIEW_URI => uri = Some(read_uri(reader, &root.child(VIEW_URI))?),
            VIEW_SUMMARY => {
                has_view = true;
                reader.object(&view, |reader, key| match &**key {
                    GRAPH_SUMMARY => {
                        found = Some(read(reader, &view.child(GRAPH_SUMMARY))?);
                        Ok(())
                    }
                    _ => reader.skip(),
                })?;
            }
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    if !has_view {
        return Err(root.missing(VIEW_SUMMARY));
    }
    Ok((uri, found.ok_or_else(|| view.missing(GRAPH_SUMMARY))?))
}

/// "The field MUST contain only ASCII characters", scheme http or https, a host.
fn read_uri(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Box<str>, ErrorBody> {
    let uri = reader.string_field(path)?;
    let scheme_end = uri.find("://").unwrap_or(0);
    let scheme = &uri[..scheme_end];
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let host = uri[scheme_end..].get(3..).unwrap_or_default();
    if !known || host.is_empty() || host.starts_with('/') || !uri.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(path.invalid(&uri, reader.limits));
    }
    Ok((&*uri).into())
}

fn read_summary(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Summary, ErrorBody> {
    let (mut start_seq, mut end_seq, mut start_edge) = (None, None, None);
    reader.object(path, |reader, key| {
        let path = path.child(key);
        match &**key {
            "start-seq" => start_seq = Some(seq_field(reader, &path)?),
            "end-seq" => end_seq = Some(seq_field(reader, &path)?),
            "start-edge-rec" => start_edge = Some(Edge::read(reader, &path)?),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    let summary = Summary {
        start_seq: start_seq.ok_or_else(|| path.missing("start-seq"))?,
        end_seq: end_seq.ok_or_else(|| path.missing("end-seq"))?,
        start_edge: start_edge.ok_or_else(|| path.missing("start-edge-rec"))?,
    };
    if summary.end_seq < summary.start_seq {
        return Err(path.child("end-seq").invalid(&summary.end_seq.to_string(), reader.limits));
    }
    Ok(summary)
}
