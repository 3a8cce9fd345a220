//! Changes of cost maps, from numbers (RFC 7285 section 11.2.3.6).
//!
//! Cells are compared, never text. A row of which no cost is defined is not on the wire, so one that loses its last cost is taken away
//! whole. Unit: the metric's own. Invariant: NaN, "no path", is never written.
use super::{Patches, meta, operations::Operations};
use crate::{
    cost::CostType,
    cost_map::CostTable,
    id::{Pid, VersionTag},
    json::{self, Object},
};
use std::{collections::HashMap, sync::Arc};

/// What a cost map of one cost type is made of, where it lies.
#[derive(Debug, Clone, Copy)]
pub struct CostMapParts<'a> {
    /// `meta.dependent-vtags`
    pub dependent_vtags: &'a [VersionTag],
    /// `meta.vtag`
    pub vtag: Option<&'a VersionTag>,
    /// `meta.cost-type`
    pub cost_type: &'a CostType,
    /// `cost-map`
    pub table: &'a CostTable,
}

impl CostMapParts<'_> {
    /// The change from this map to another. Merge patches can always say it; a JSON patch is not made where half of the costs
    /// changed: it would be no smaller than a full copy.
    pub fn diff(&self, new: &CostMapParts<'_>) -> Patches {
        let mut merge = Vec::new();
        let mut json = Operations::new();
        let mut document = Object::new(&mut merge);
        if self.meta_differs(new) {
            let mut changes = Object::new(document.key("meta"));
            meta::dependent_vtags(self.dependent_vtags, new.dependent_vtags, &mut changes, &mut json);
            meta::cost_type(self.cost_type, new.cost_type, &mut changes, &mut json);
            meta::vtag(self.vtag, new.vtag, &mut changes, &mut json);
            changes.end();
        }
        let mut cells = Vec::new();
        let json = Differ::new(self.table, new.table).write(&mut cells, json);
        if cells.len() > 2 {
            document.key("cost-map").extend_from_slice(&cells);
        }
        document.end();
        Patches { merge: Some(merge), json: json.map(Operations::finish) }
    }

    fn meta_differs(&self, new: &CostMapParts<'_>) -> bool {
        self.dependent_vtags != new.dependent_vtags
            || self.vtag != new.vtag
            || self.cost_type != new.cost_type
            || self.cost_type.description != new.cost_type.description
    }
}

/// Whether two cells are different on the wire.
#[inline]
fn differ(old: f64, new: f64) -> bool {
    old != new && !(old.is_nan() && new.is_nan())
}

/// The least an operation on one cell takes besides names: `{"op":"add","path":"/cost-map//","value":0},`.
const OPERATION_BYTES_MIN: usize = 43;

/// The most a cost takes with the comma after it.
const COST_BYTES_MAX: usize = 25;

/// No row or column of this name.
const ABSENT: u32 = u32::MAX;

/// For each name of `new` its place among those of `old`; `None` when they are the same names.
fn places(old: &Arc<[Pid]>, new: &Arc<[Pid]>) -> Option<Vec<u32>> {
    if Arc::ptr_eq(old, new) || old == new {
        return None;
    }
    let index: HashMap<&str, u32> = old.iter().map(Pid::as_str).zip(0..).collect();
    Some(new.iter().map(|name| index.get(name.as_str()).copied().unwrap_or(ABSENT)).collect())
}

struct Differ<'a> {
    old: &'a CostTable,
    new: &'a CostTable,
    /// Row of `old` for each of `new`; `None`: the same.
    rows: Option<Vec<u32>>,
    /// Column of `old` for each of `new`; `None`: the same.
    columns: Option<Vec<u32>>,
    /// Columns of `old` that are not in `new`.
    gone: Vec<u32>,
    /// `"name":` of each column of `new`, end to end.
    keys: Vec<u8>,
    ends: Vec<u32>,
}

/// The changed cells of one row, made anew for each.
#[derive(Default)]
struct RowChanges {
    /// Columns of `new`.
    cells: Vec<u32>,
    /// Columns of `old` that are gone and had a cost.
    gone: Vec<u32>,
    /// Whether a cost was lost, so that the row may be empty now.
    lost: bool,
    /// Whether a cost is where none was, so that the row may have been empty.
    gained: bool,
}

impl<'a> Differ<'a> {
    fn new(old: &'a CostTable, new: &'a CostTable) -> Self {
        let columns = places(&old.destinations, &new.destinations);
        let mut gone = Vec::new();
        if let Some(columns) = &columns {
            let mut kept = vec![false; old.destinations.len()];
            columns.iter().filter(|&&column| column != ABSENT).for_each(|&column| kept[column as usize] = true);
            gone = (0..).zip(kept).filter(|(_, kept)| !kept).map(|(column, _)| column).collect();
        }
        let (mut keys, mut ends) = (Vec::with_capacity(new.destinations.len() * 16), Vec::with_capacity(new.destinations.len()));
        for name in new.destinations.iter() {
            json::write_string(&mut keys, name.as_str());
            keys.push(b':');
            ends.push(u32::try_from(keys.len()).expect("65,536 names of 64 bytes stay below 4 GiB"));
        }
        Self { old, new, rows: places(&old.sources, &new.sources), columns, gone, keys, ends }
    }

    fn key(&self, column: u32) -> &[u8] {
        let start = if column == 0 { 0 } else { self.ends[column as usize - 1] };
        &self.keys[start as usize..self.ends[column as usize] as usize]
    }

    /// Writes the value of `cost-map` in a merge patch, and the operations of a JSON patch as long as they are worth it.
    fn write(&self, merge: &mut Vec<u8>, json: Operations) -> Option<Operations> {
        let mut json = Some(json);
        let mut changed = 0;
        let half = self.new.values.len().max(self.old.values.len()) / 2;
        let mut rows = Object::new(merge);
        let mut changes = RowChanges::default();
        self.removed_rows(&mut rows, json.as_mut());
        for (row, source) in self.new.sources.iter().enumerate() {
            let old = match &self.rows {
                None => self.old.row(row),
                Some(places) if places[row] == ABSENT => &[],
                Some(places) => self.old.row(places[row] as usize),
            };
            let new = self.new.row(row);
            self.compare(old, new, &mut changes);
            if changes.cells.is_empty() && changes.gone.is_empty() {
                continue;
            }
            changed += changes.cells.len();
            // A handful of changes is always worth it.
            if changed > half.max(64) {
                json = None;
            }
            if changes.lost && new.iter().all(|cost| cost.is_nan()) {
                rows.key(source.as_str()).extend_from_slice(b"null");
                if let Some(json) = &mut json {
                    json.remove(format_args!("/cost-map/{source}"));
                }
                continue;
            }
            self.merge_row(rows.key(source.as_str()), new, &changes);
            if let Some(json) = &mut json {
                let was_there = !changes.gained || old.iter().any(|cost| !cost.is_nan());
                self.json_row(json, source, old, new, &changes, was_there);
            }
        }
        rows.end();
        json
    }

    /// Rows of `old` that are not in `new`, and were on the wire.
    fn removed_rows(&self, rows: &mut Object<'_>, mut json: Option<&mut Operations>) {
        let Some(places) = &self.rows else { return };
        let mut kept = vec![false; self.old.sources.len()];
        places.iter().filter(|&&row| row != ABSENT).for_each(|&row| kept[row as usize] = true);
        for (row, source) in self.old.sources.iter().enumerate().filter(|(row, _)| !kept[*row]) {
            if self.old.row(row).iter().any(|cost| !cost.is_nan()) {
                rows.key(source.as_str()).extend_from_slice(b"null");
                if let Some(json) = &mut json {
                    json.remove(format_args!("/cost-map/{source}"));
                }
            }
        }
    }

    /// `old` is empty for a row that is new.
    fn compare(&self, old: &[f64], new: &[f64], changes: &mut RowChanges) {
        changes.cells.clear();
        changes.gone.clear();
        (changes.lost, changes.gained) = (false, false);
        match &self.columns {
            None if !old.is_empty() => compare_aligned(old, new, changes),
            columns => {
                for (column, &cost) in (0..).zip(new) {
                    let before = match columns {
                        Some(places) if places[column as usize] == ABSENT => f64::NAN,
                        Some(places) => old.get(places[column as usize] as usize).copied().unwrap_or(f64::NAN),
                        None => f64::NAN,
                    };
                    if differ(before, cost) {
                        changes.push(column, before, cost);
                    }
                }
                if !old.is_empty() {
                    changes.gone.extend(self.gone.iter().filter(|&&column| !old[column as usize].is_nan()));
                    changes.lost |= !changes.gone.is_empty();
                }
            }
        }
    }

    fn merge_row(&self, out: &mut Vec<u8>, new: &[f64], changes: &RowChanges) {
        out.push(b'{');
        let start = out.len();
        for &column in &changes.gone {
            comma(out, start);
            json::write_string(out, self.old.destinations[column as usize].as_str());
            out.extend_from_slice(b":null");
        }
        for &column in &changes.cells {
            comma(out, start);
            out.extend_from_slice(self.key(column));
            match new[column as usize] {
                cost if cost.is_nan() => out.extend_from_slice(b"null"),
                cost => json::write_number(out, cost),
            }
        }
        out.push(b'}');
    }

    fn json_row(&self, json: &mut Operations, source: &Pid, old: &[f64], new: &[f64], changes: &RowChanges, was_there: bool) {
        let whole = |json: &mut Operations, op| {
            let out = json.open_value(op, format_args!("/cost-map/{source}"));
            self.whole_row(out, new);
            json.close();
        };
        if !was_there {
            return whole(json, "add");
        }
        // Between these two bounds both are written and the smaller is taken.
        let cells_bytes_min = changes.cells.len() * (OPERATION_BYTES_MIN + source.as_str().len());
        let row_bytes_max = self.keys.len() + COST_BYTES_MAX * new.len();
        if cells_bytes_min > row_bytes_max {
            return whole(json, "replace");
        }
        let start = json.len();
        // PID names need no escape (RFC 7285 section 10.1).
        let path = |destination| [&b"cost-map"[..], source.as_str().as_bytes(), destination];
        for &column in &changes.gone {
            let destination = self.old.destinations[column as usize].as_str();
            json.cell("remove", path(destination.as_bytes()), None::<fn(&mut Vec<u8>)>);
        }
        for &column in &changes.cells {
            let cost = new[column as usize];
            let path = path(self.new.destinations[column as usize].as_str().as_bytes());
            if cost.is_nan() {
                json.cell("remove", path, None::<fn(&mut Vec<u8>)>);
                continue;
            }
            let op = if self.before(old, column).is_nan() { "add" } else { "replace" };
            json.cell(op, path, Some(|out: &mut Vec<u8>| json::write_number(out, cost)));
        }
        let cells_bytes = json.len() - start;
        let row_bytes_min = self.keys.len() + new.len();
        if cells_bytes > row_bytes_min {
            let mut row = Vec::new();
            self.whole_row(&mut row, new);
            if row.len() + OPERATION_BYTES_MIN < cells_bytes {
                json.truncate(start);
                whole(json, "replace");
            }
        }
    }

    /// The cost that was in a column of `new`.
    fn before(&self, old: &[f64], column: u32) -> f64 {
        let place = self.columns.as_ref().map_or(column, |places| places[column as usize]);
        old.get(place as usize).copied().unwrap_or(f64::NAN)
    }

    fn whole_row(&self, out: &mut Vec<u8>, new: &[f64]) {
        out.push(b'{');
        let start = out.len();
        for (column, &cost) in (0..).zip(new) {
            if !cost.is_nan() {
                comma(out, start);
                out.extend_from_slice(self.key(column));
                json::write_number(out, cost);
            }
        }
        out.push(b'}');
    }
}

fn comma(out: &mut Vec<u8>, start: usize) {
    if out.len() > start {
        out.push(b',');
    }
}

impl RowChanges {
    #[inline]
    fn push(&mut self, column: u32, before: f64, cost: f64) {
        self.cells.push(column);
        self.lost |= cost.is_nan();
        self.gained |= before.is_nan();
    }
}

fn compare_aligned(old: &[f64], new: &[f64], changes: &mut RowChanges) {
    /// Cells that are compared at once, without a branch between them: two cache lines of each table.
    const AT_ONCE: usize = 16;
    let mut at = 0;
    for (a, b) in old.chunks(AT_ONCE).zip(new.chunks(AT_ONCE)) {
        // Bits first: equal bits are equal costs, and most are.
        let same = a.iter().zip(b).fold(0, |any, (a, b)| any | (a.to_bits() ^ b.to_bits())) == 0;
        if !same {
            for (column, (&before, &cost)) in (at..).zip(a.iter().zip(b)) {
                if differ(before, cost) {
                    changes.push(column, before, cost);
                }
            }
        }
        at += AT_ONCE as u32;
    }
}
