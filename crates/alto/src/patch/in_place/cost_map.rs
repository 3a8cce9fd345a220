//! Merge patches of cost maps, cell by cell.
use super::{members, patched_meta};
use crate::{
    ErrorBody, Limits,
    cost::Mode,
    cost_map::{CostMap, CostTable},
    id::Pid,
    json::{self, Path, Reader, Type},
    matrix::is_cost,
    meta::CostMeta,
};
use std::{collections::HashMap, sync::Arc};

/// Applies a merge patch.
pub(in crate::patch) fn cost_map(map: &mut CostMap, patch: &[u8], limits: &Limits) -> Option<()> {
    let (meta, changes) = json::document(patch, limits, |reader| {
        let (meta, data) = members(reader, "cost-map")?;
        let end = reader.offset();
        let mut changes = Changes::new(map);
        if let Some(data) = data {
            reader.seek(data);
            changes.read(reader)?;
            reader.seek(end);
        }
        Ok((meta, changes))
    })
    .ok()?;
    let meta = match meta {
        Some(patch) => Some(meta_after(map, patch, limits)?),
        None => None,
    };
    let changes = changes.finish(limits)?;
    if let Some(meta) = meta {
        map.dependent_vtags = meta.dependent_vtags.unwrap_or_default();
        map.vtag = meta.vtag;
        for ((cost_type, _), new) in map.tables.iter_mut().zip(meta.cost_types) {
            *cost_type = new;
        }
    }
    changes.apply(map);
    Some(())
}

/// The same number of cost types, each read as before: then the cells that do not change need no second look.
fn meta_after(map: &CostMap, patch: &str, limits: &Limits) -> Option<CostMeta> {
    let mut old = Vec::new();
    let cost_types: Vec<_> = map.tables.iter().map(|(cost_type, _)| cost_type).collect();
    CostMeta::write(&mut old, Some(&map.dependent_vtags), map.vtag.as_ref(), &cost_types, map.tables.len() != 1);
    let meta = patched_meta(&old, patch, limits, |reader, path| CostMeta::read(reader, path)?.with_network_map(reader, path, false))?;
    let alike = meta.multi == (map.tables.len() != 1)
        && meta.cost_types.len() == map.tables.len()
        && meta.cost_types.iter().zip(&map.tables).all(|(new, (old, _))| new.mode == old.mode);
    alike.then_some(meta)
}

/// Names with their places: those of the map, then those that the patch brings.
struct Names {
    places: HashMap<Pid, u32>,
    old: Arc<[Pid]>,
    new: Vec<Pid>,
}

impl Names {
    fn new(old: &Arc<[Pid]>) -> Self {
        Self { places: old.iter().cloned().zip(0..).collect(), old: old.clone(), new: Vec::new() }
    }

    fn find(&self, name: &str) -> Option<u32> {
        self.places.get(name).copied()
    }

    fn find_or_add(&mut self, name: &str, at: &Path<'_>, reader: &Reader<'_>) -> Result<u32, ErrorBody> {
        if let Some(place) = self.find(name) {
            return Ok(place);
        }
        let pid: Pid = name.parse().map_err(|_| at.invalid(name, reader.limits))?;
        if self.len() == reader.limits.pids_max {
            return Err(reader.too_many(at, "PIDs", reader.limits.pids_max));
        }
        let place = u32::try_from(self.len()).expect("pids_max at most");
        self.places.insert(pid.clone(), place);
        self.new.push(pid);
        Ok(place)
    }

    fn len(&self) -> usize {
        self.old.len() + self.new.len()
    }

    fn at(&self, place: usize) -> &Pid {
        self.old.get(place).unwrap_or_else(|| &self.new[place - self.old.len()])
    }
}

/// What a patch does to cells.
struct Changes {
    rows: Names,
    columns: Names,
    ordinal: Vec<bool>,
    /// Rows that go whole.
    removed: Vec<u32>,
    /// Row and column; the costs are in `values`, one for each table, NaN for none.
    cells: Vec<(u32, u32)>,
    values: Vec<f64>,
}

impl Changes {
    fn new(map: &CostMap) -> Self {
        let empty: Arc<[Pid]> = Arc::from([]);
        let (rows, columns) = map.tables.first().map_or((&empty, &empty), |(_, table)| (&table.sources, &table.destinations));
        Self {
            rows: Names::new(rows),
            columns: Names::new(columns),
            ordinal: map.tables.iter().map(|(cost_type, _)| cost_type.mode == Mode::Ordinal).collect(),
            removed: Vec::new(),
            cells: Vec::new(),
            values: Vec::new(),
        }
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), ErrorBody> {
        let path = Path::ROOT.child("cost-map");
        reader.object(&path, |reader, source| {
            let path = path.child(source);
            if reader.peek()? == Type::Null {
                reader.null()?;
                self.removed.extend(self.rows.find(source));
                return Ok(());
            }
            let row = self.rows.find_or_add(source, &path, reader)?;
            reader.object(&path, |reader, destination| self.read_cell(reader, &path.child(destination), row, destination))
        })
    }

    fn read_cell(&mut self, reader: &mut Reader<'_>, path: &Path<'_>, row: u32, destination: &str) -> Result<(), ErrorBody> {
        let tables = self.ordinal.len();
        match reader.peek()? {
            Type::Null => {
                reader.null()?;
                if let Some(column) = self.columns.find(destination) {
                    self.cells.push((row, column));
                    self.values.extend(std::iter::repeat_n(f64::NAN, tables));
                }
                return Ok(());
            }
            Type::Number if tables == 1 => {
                let cost = reader.number()?;
                self.take(cost, 0, path, reader)?;
            }
            Type::Array if tables != 1 => {
                let mut table = 0;
                reader.array(path, |reader| {
                    if reader.peek()? == Type::Null {
                        reader.null()?;
                        self.values.push(f64::NAN);
                    } else {
                        reader
                            .element_of(Type::Number, path)
                            .and_then(|()| reader.number())
                            .and_then(|cost| self.take(cost, table, path, reader))?;
                    }
                    table += 1;
                    Ok(())
                })?;
                if table != tables {
                    return Err(path.invalid("", reader.limits));
                }
            }
            _ => return Err(ErrorBody::wrong_type(path.to_string())),
        }
        let column = self.columns.find_or_add(destination, path, reader)?;
        self.cells.push((row, column));
        Ok(())
    }

    fn take(&mut self, cost: f64, table: usize, path: &Path<'_>, reader: &Reader<'_>) -> Result<(), ErrorBody> {
        match self.ordinal.get(table) {
            Some(&ordinal) if is_cost(cost, ordinal) => {
                // Adding 0.0 makes a zero of minus zero.
                self.values.push(cost + 0.0);
                Ok(())
            }
            _ => Err(path.invalid("", reader.limits)),
        }
    }

    /// Refuses more than there may be.
    fn finish(self, limits: &Limits) -> Option<Self> {
        let costs = self.rows.len().checked_mul(self.columns.len())?.checked_mul(self.ordinal.len())?;
        (costs <= limits.costs_max).then_some(self)
    }

    /// Nothing can fail any more.
    fn apply(self, map: &mut CostMap) {
        if !self.rows.new.is_empty() || !self.columns.new.is_empty() {
            self.widen(map);
        }
        let tables = map.tables.len();
        for (number, (_, table)) in map.tables.iter_mut().enumerate() {
            let width = table.destinations.len();
            for &row in &self.removed {
                table.values[row as usize * width..][..width].fill(f64::NAN);
            }
            for (&(row, column), cost) in self.cells.iter().zip(self.values.iter().skip(number).step_by(tables)) {
                table.values[row as usize * width + column as usize] = *cost;
            }
        }
        compact(map);
    }

    /// Room for the new names, after those that there are.
    fn widen(&self, map: &mut CostMap) {
        let all = |names: &Names| -> Arc<[Pid]> { (0..names.len()).map(|place| names.at(place).clone()).collect() };
        let (sources, destinations) = (all(&self.rows), all(&self.columns));
        for (_, table) in &mut map.tables {
            let mut values = Vec::with_capacity(sources.len() * destinations.len());
            for row in 0..table.sources.len() {
                values.extend_from_slice(table.row(row));
                values.resize((row + 1) * destinations.len(), f64::NAN);
            }
            values.resize(sources.len() * destinations.len(), f64::NAN);
            *table = CostTable { sources: sources.clone(), destinations: destinations.clone(), values };
        }
    }
}

/// As a map is read: names sorted, those without any cost left out.
fn compact(map: &mut CostMap) {
    let Some((_, first)) = map.tables.first() else { return };
    let (rows, columns) = used(map, first.sources.len(), first.destinations.len());
    let rows = order(&first.sources, &rows);
    let columns = order(&first.destinations, &columns);
    let stays = |order: &[usize], names: &[Pid]| order.len() == names.len() && order.iter().copied().eq(0..names.len());
    if stays(&rows, &first.sources) && stays(&columns, &first.destinations) {
        return;
    }
    let names = |order: &[usize], names: &[Pid]| -> Arc<[Pid]> { order.iter().map(|&place| names[place].clone()).collect() };
    let (sources, destinations) = (names(&rows, &first.sources), names(&columns, &first.destinations));
    for (_, table) in &mut map.tables {
        let mut values = Vec::with_capacity(rows.len() * columns.len());
        for &row in &rows {
            let row = table.row(row);
            values.extend(columns.iter().map(|&column| row[column]));
        }
        *table = CostTable { sources: sources.clone(), destinations: destinations.clone(), values };
    }
}

/// Rows and columns with a cost in any table. Of a full map this looks at one row and one column.
fn used(map: &CostMap, sources: usize, destinations: usize) -> (Vec<bool>, Vec<bool>) {
    let there = |row: usize, column: usize| map.tables.iter().any(|(_, table)| !table.at(row, column).is_nan());
    let rows = (0..sources).map(|row| (0..destinations).any(|column| there(row, column))).collect();
    let mut columns = vec![false; destinations];
    let mut missing: Vec<usize> = (0..destinations).collect();
    for row in 0..sources {
        missing.retain(|&column| {
            columns[column] = there(row, column);
            !columns[column]
        });
        if missing.is_empty() {
            break;
        }
    }
    (rows, columns)
}

fn order(names: &[Pid], used: &[bool]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..names.len()).filter(|&place| used[place]).collect();
    order.sort_by(|&a, &b| names[a].cmp(&names[b]));
    order
}
