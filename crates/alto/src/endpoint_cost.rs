//! Costs between endpoints (RFC 7285 section 11.5; several cost types at once: RFC 8189 section 4.2).
use crate::{
    ErrorBody, Limits,
    cost::{CostType, Query},
    document::envelope,
    endpoint::Address,
    json::{self, Path},
    matrix,
    meta::CostMeta,
    query,
};

/// A request for endpoint costs (RFC 7285 section 11.5.1.3, RFC 8189 section 4.2.2).
///
/// Entries that appeared several times are here once. Invariant: not both lists are empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Cost types and constraints.
    pub query: Query,
    /// `endpoints/srcs`; empty means the client's own address.
    pub sources: Vec<Address>,
    /// `endpoints/dsts`; empty means the client's own address.
    pub destinations: Vec<Address>,
}

impl Request {
    /// Reads an `application/alto-endpointcostparams+json` body.
    pub fn from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        Self::from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        json::document(body, limits, |reader| {
            let root = Path::ROOT;
            let mut fields = query::Fields::default();
            let mut endpoints = None;
            reader.object(&root, |reader, key| {
                if &**key == "endpoints" {
                    endpoints = Some(read_endpoints(reader, &root.child(key))?);
                } else if !fields.read(reader, key)? {
                    reader.skip()?;
                }
                Ok(())
            })?;
            let (sources, destinations) = endpoints.ok_or_else(|| root.missing("endpoints"))?;
            Ok(Self { query: fields.finish(reader)?, sources, destinations })
        })
    }

    /// The `application/alto-endpointcostparams+json` body.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut request = json::Object::new(&mut out);
        self.query.write(&mut request);
        let mut endpoints = json::Object::new(request.key("endpoints"));
        for (name, list) in [("srcs", &self.sources), ("dsts", &self.destinations)] {
            if !list.is_empty() {
                json::array(endpoints.key(name), list, json::write_text);
            }
        }
        endpoints.end();
        request.end();
        out
    }
}

/// `EndpointFilter`: each list may be missing or empty, not both (section 11.5.1.3).
fn read_endpoints(reader: &mut json::Reader<'_>, path: &Path<'_>) -> Result<(Vec<Address>, Vec<Address>), ErrorBody> {
    let (mut sources, mut destinations) = (None, None);
    let max = reader.limits.request_entries_max;
    reader.object(path, |reader, key| {
        match &**key {
            "srcs" => sources = Some(reader.list_field(&path.child(key), "endpoints", max)?),
            "dsts" => destinations = Some(reader.list_field(&path.child(key), "endpoints", max)?),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    match (sources, destinations) {
        (None, None) => Err(path.missing("dsts")),
        (sources, destinations) => {
            let (had_destinations, lists) = (destinations.is_some(), (sources.unwrap_or_default(), destinations.unwrap_or_default()));
            match lists {
                (sources, destinations) if sources.is_empty() && destinations.is_empty() => {
                    Err(path.child(if had_destinations { "dsts" } else { "srcs" }).invalid("[]", reader.limits))
                }
                lists => Ok(lists),
            }
        }
    }
}

/// Costs between endpoints, of one cost type or several.
///
/// Each table has shape `sources.len() × destinations.len()`, row-major, in its metric's unit; NaN is "not defined" and stays off the wire.
#[derive(Debug, Clone)]
pub struct EndpointCosts {
    /// Whether the wire has arrays (`multi-cost-types`), even of one value.
    pub multi: bool,
    /// Row names.
    pub sources: Vec<Address>,
    /// Column names.
    pub destinations: Vec<Address>,
    /// Each cost type with its costs.
    pub tables: Vec<(CostType, Vec<f64>)>,
}

impl PartialEq for EndpointCosts {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()));
        self.multi == other.multi
            && self.sources == other.sources
            && self.destinations == other.destinations
            && self.tables.len() == other.tables.len()
            && self.tables.iter().zip(&other.tables).all(|((t, a), (u, b))| t == u && same(a, b))
    }
}

impl EndpointCosts {
    /// Reads an `application/alto-endpointcost+json` body. Sources and destinations come out sorted, those without any cost left out.
    pub fn from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        Self::from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        let (meta, matrix) = json::document(body, limits, |reader| {
            envelope(reader, "endpoint-cost-map", CostMeta::read, |reader, path, meta| matrix::read::<Address>(reader, path, meta.cells()))
        })?;
        Ok(Self {
            multi: meta.multi,
            sources: matrix.rows,
            destinations: matrix.columns,
            tables: meta.cost_types.into_iter().zip(matrix.tables).collect(),
        })
    }

    /// The `application/alto-endpointcost+json` body.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let cost_types: Vec<&CostType> = self.tables.iter().map(|(cost_type, _)| cost_type).collect();
        let shape = matrix::Shape { rows: &self.sources, columns: &self.destinations, row_part: None, column_part: None };
        let mut document = json::Object::new(&mut out);
        CostMeta::write(document.key("meta"), None, None, &cost_types, self.multi);
        let data = document.key("endpoint-cost-map");
        match &self.tables[..] {
            [(_, values)] if !self.multi => matrix::write(data, shape, values, |_, _, _| true),
            tables => {
                let tables: Vec<&[f64]> = tables.iter().map(|(_, values)| &values[..]).collect();
                matrix::write_multi(data, shape, &tables, |_, _| true);
            }
        }
        document.end();
        out
    }

    /// The cost between two endpoints, of the cost type at place `index`, if there is one.
    pub fn get(&self, index: usize, source: &Address, destination: &Address) -> Option<f64> {
        let place = |names: &[Address], name| names.iter().position(|one| one == name);
        let (row, column) = (place(&self.sources, source)?, place(&self.destinations, destination)?);
        let cost = self.tables.get(index)?.1[row * self.destinations.len() + column];
        (!cost.is_nan()).then_some(cost)
    }
}
