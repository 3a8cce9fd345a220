//! Cost maps (RFC 7285 section 11.2.3; several cost types at once: RFC 8189 section 3.1).
use crate::{
    ErrorBody, Limits,
    cost::{CostType, Query},
    document::envelope,
    id::{Pid, VersionTag},
    json::{self, Path},
    matrix,
    meta::CostMeta,
    query,
};
use std::sync::Arc;

/// Costs between PIDs, of one cost type or (RFC 8189) several.
#[derive(Debug, Clone, PartialEq)]
pub struct CostMap {
    /// `meta.dependent-vtags`: the network map whose PIDs these are.
    pub dependent_vtags: Vec<VersionTag>,
    /// `meta.vtag`, an addition of ours that names this content (clients that do not know it ignore it).
    pub vtag: Option<VersionTag>,
    /// Each cost type with its table; all tables have the same shape.
    pub tables: Vec<(CostType, CostTable)>,
}

impl CostMap {
    /// Reads an `application/alto-costmap+json` body. Sources and destinations come out sorted by name, those without any cost left out.
    pub fn from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        Self::from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        Self::read(body, limits, false)
    }

    /// The same for a map that is yet to be published: `meta.dependent-vtags` may be absent where there is one network map to mean.
    pub fn draft_from_json_within(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        Self::read(body, limits, true)
    }

    fn read(body: &[u8], limits: &Limits, draft: bool) -> Result<Self, ErrorBody> {
        let (meta, matrix) = json::document(body, limits, |reader| {
            envelope(
                reader,
                "cost-map",
                |reader, path| CostMeta::read(reader, path)?.with_network_map(reader, path, draft),
                |reader, path, meta| matrix::read::<Pid>(reader, path, meta.cells()),
            )
        })?;
        let destinations: Arc<[Pid]> = matrix.columns.into();
        let sources = if matrix.rows[..] == destinations[..] { destinations.clone() } else { matrix.rows.into() };
        let table = |values| CostTable { sources: sources.clone(), destinations: destinations.clone(), values };
        Ok(Self {
            dependent_vtags: meta.dependent_vtags.unwrap_or_default(),
            vtag: meta.vtag,
            tables: meta.cost_types.into_iter().zip(matrix.tables.into_iter().map(table)).collect(),
        })
    }

    /// The `application/alto-costmap+json` body: numbers where there is one cost type, arrays where there are several.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let [(cost_type, table)] = &self.tables[..] {
            write_body(&mut out, &self.dependent_vtags, self.vtag.as_ref(), cost_type, table, Part::default(), |_, _, _| true);
        } else {
            let tables: Vec<_> = self.tables.iter().map(|(cost_type, table)| (cost_type, table)).collect();
            write_multi_body(&mut out, &self.dependent_vtags, self.vtag.as_ref(), &tables, Part::default(), |_, _| true);
        }
        out
    }
}

/// A dense table of costs.
///
/// Shape `sources.len() × destinations.len()`, row-major; NaN is "no path" and stays off the wire.
/// Unit: the metric's own, never rescaled. Invariant: `values.len() == sources.len() * destinations.len()`; no value is infinite or negative.
#[derive(Debug, Clone)]
pub struct CostTable {
    /// Row names.
    pub sources: Arc<[Pid]>,
    /// Column names.
    pub destinations: Arc<[Pid]>,
    /// 8 bytes a cost.
    pub values: Vec<f64>,
}

impl CostTable {
    /// The cost at a place; NaN is "no path".
    pub fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.destinations.len() + column]
    }

    /// The costs from one source, in the order of the destinations.
    pub fn row(&self, row: usize) -> &[f64] {
        let width = self.destinations.len();
        &self.values[row * width..(row + 1) * width]
    }

    /// The cost between two PIDs by name, if there is one. Takes a search over the names.
    pub fn get(&self, source: &str, destination: &str) -> Option<f64> {
        let place = |names: &[Pid], name: &str| names.iter().position(|pid| pid.as_str() == name);
        let cost = self.at(place(&self.sources, source)?, place(&self.destinations, destination)?);
        (!cost.is_nan()).then_some(cost)
    }

    /// Writes the value of `cost-map`: the given rows and columns (all without a list), of them the costs that `keep` wants.
    /// Sources left without any cost are left out (RFC 7285 section 11.2.3.6).
    pub fn write_json(&self, out: &mut Vec<u8>, rows: Option<&[u32]>, columns: Option<&[u32]>, mut keep: impl FnMut(f64) -> bool) {
        matrix::write(out, self.shape(Part { rows, columns }), &self.values, |_, _, cost| keep(cost));
    }

    fn shape<'a>(&'a self, part: Part<'a>) -> matrix::Shape<'a, Pid> {
        matrix::Shape { rows: &self.sources, columns: &self.destinations, row_part: part.rows, column_part: part.columns }
    }
}

impl PartialEq for CostTable {
    fn eq(&self, other: &Self) -> bool {
        self.sources == other.sources
            && self.destinations == other.destinations
            && self.values.iter().zip(&other.values).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
    }
}

/// Which rows and columns of a table to write; all without a list.
#[derive(Debug, Clone, Copy, Default)]
pub struct Part<'a> {
    /// Places in `sources`, in the order wanted.
    pub rows: Option<&'a [u32]>,
    /// Places in `destinations`, in the order wanted.
    pub columns: Option<&'a [u32]>,
}

/// The whole body of a cost map of one cost type, written from a table that stays where it is.
/// `keep` gets row, column and cost of what is defined; it says whether the cost is written.
pub fn write_body(
    out: &mut Vec<u8>,
    dependent_vtags: &[VersionTag],
    vtag: Option<&VersionTag>,
    cost_type: &CostType,
    table: &CostTable,
    part: Part<'_>,
    keep: impl FnMut(usize, usize, f64) -> bool,
) {
    let mut document = json::Object::new(out);
    CostMeta::write(document.key("meta"), Some(dependent_vtags), vtag, &[cost_type], false);
    matrix::write(document.key("cost-map"), table.shape(part), &table.values, keep);
    document.end();
}

/// The whole body of a multi-cost map (RFC 8189 section 4.1.3): arrays, `null` where one of the costs is not defined.
/// `keep` gets row and column of a pair that has at least one cost. All tables have the same shape.
pub fn write_multi_body(
    out: &mut Vec<u8>,
    dependent_vtags: &[VersionTag],
    vtag: Option<&VersionTag>,
    tables: &[(&CostType, &CostTable)],
    part: Part<'_>,
    keep: impl FnMut(usize, usize) -> bool,
) {
    let cost_types: Vec<&CostType> = tables.iter().map(|(cost_type, _)| *cost_type).collect();
    let values: Vec<&[f64]> = tables.iter().map(|(_, table)| &table.values[..]).collect();
    let mut document = json::Object::new(out);
    CostMeta::write(document.key("meta"), Some(dependent_vtags), vtag, &cost_types, true);
    let out = document.key("cost-map");
    match tables.first() {
        Some((_, table)) => matrix::write_multi(out, table.shape(part), &values, keep),
        None => out.extend_from_slice(b"{}"),
    }
    document.end();
}

/// A request for a part of a cost map (RFC 7285 section 11.3.2.3, RFC 8189 section 4.1.2). Entries that appeared several times are here once.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// Cost types and constraints.
    pub query: Query,
    /// `pids/srcs`; empty means all.
    pub sources: Vec<Pid>,
    /// `pids/dsts`; empty means all.
    pub destinations: Vec<Pid>,
}

impl Filter {
    /// Reads an `application/alto-costmapfilter+json` body.
    pub fn from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        Self::from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        json::document(body, limits, |reader| {
            let root = Path::ROOT;
            let mut fields = query::Fields::default();
            let (mut sources, mut destinations) = (Vec::new(), Vec::new());
            reader.object(&root, |reader, key| {
                if &**key == "pids" {
                    (sources, destinations) = read_pids(reader, &root.child("pids"))?;
                } else if !fields.read(reader, key)? {
                    reader.skip()?;
                }
                Ok(())
            })?;
            Ok(Self { query: fields.finish(reader)?, sources, destinations })
        })
    }

    /// The `application/alto-costmapfilter+json` body.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut request = json::Object::new(&mut out);
        self.query.write(&mut request);
        if !self.sources.is_empty() || !self.destinations.is_empty() {
            let mut pids = json::Object::new(request.key("pids"));
            json::array(pids.key("srcs"), &self.sources, json::write_text);
            json::array(pids.key("dsts"), &self.destinations, json::write_text);
            pids.end();
        }
        request.end();
        out
    }
}

/// `PIDFilter`: both lists are there, each may be empty.
fn read_pids(reader: &mut json::Reader<'_>, path: &Path<'_>) -> Result<(Vec<Pid>, Vec<Pid>), ErrorBody> {
    let (mut sources, mut destinations) = (None, None);
    let max = reader.limits.request_entries_max;
    reader.object(path, |reader, key| {
        match &**key {
            "srcs" => sources = Some(reader.list_field(&path.child(key), "PIDs", max)?),
            "dsts" => destinations = Some(reader.list_field(&path.child(key), "PIDs", max)?),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok((sources.ok_or_else(|| path.missing("srcs"))?, destinations.ok_or_else(|| path.missing("dsts"))?))
}
