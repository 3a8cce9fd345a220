//! From text into the matrix.
use crate::{
    ErrorBody,
    cost::{CostType, Mode},
    json::{Path, Reader, Type},
};
use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    hash::Hash,
    str::FromStr,
};

/// What stands at each pair.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cells<'t> {
    /// Of which types the costs are, in order.
    pub cost_types: &'t [CostType],
    /// Whether they come as arrays.
    pub multi: bool,
}

/// Names sorted, none without a cost; each table row-major.
pub(crate) struct Matrix<N> {
    pub rows: Vec<N>,
    pub columns: Vec<N>,
    pub tables: Vec<Vec<f64>>,
}

/// Reads an object of objects of costs.
pub(crate) fn read<N: FromStr + Display + Clone + Ord + Hash>(
    reader: &mut Reader<'_>,
    path: &Path<'_>,
    cells: Cells<'_>,
) -> Result<Matrix<N>, ErrorBody> {
    let mut builder = Builder::new(cells);
    reader.map(path, |reader, at, key| builder.read_row(reader, path, at, &key))?;
    Ok(builder.finish())
}

/// A cell nothing was read for, a NaN as all NaNs but told apart from `null` by its bits: a pair may come only once.
const EMPTY: f64 = f64::from_bits(0x7ff8_0000_0000_0a17);

fn is_empty(value: f64) -> bool {
    value.to_bits() == EMPTY.to_bits()
}

/// No column is known to follow.
const UNKNOWN: u32 = u32::MAX;

struct Builder<'t, N> {
    cells: Cells<'t>,
    ordinal: Vec<bool>,
    rows: Vec<N>,
    rows_seen: HashSet<N>,
    columns: Vec<N>,
    /// Each column's name as it stood in the text first, a whole token: quotes and escapes included.
    texts: Vec<Box<[u8]>>,
    by_text: HashMap<Box<str>, u32>,
    by_name: HashMap<N, u32>,
    /// `next[c + 1]` is the column that followed column `c` last; `next[0]` the one that began the row.
    next: Vec<u32>,
    /// Columns there is room for in each row of `tables`.
    stride: usize,
    tables: Vec<Vec<f64>>,
}

impl<'t, N: FromStr + Display + Clone + Ord + Hash> Builder<'t, N> {
    fn new(cells: Cells<'t>) -> Self {
        Self {
            cells,
            ordinal: cells.cost_types.iter().map(|cost_type| cost_type.mode == Mode::Ordinal).collect(),
            rows: Vec::new(),
            rows_seen: HashSet::new(),
            columns: Vec::new(),
            texts: Vec::new(),
            by_text: HashMap::new(),
            by_name: HashMap::new(),
            next: vec![UNKNOWN],
            stride: 1,
            tables: vec![Vec::new(); cells.cost_types.len()],
        }
    }

    fn read_row(&mut self, reader: &mut Reader<'_>, path: &Path<'_>, at: usize, key: &str) -> Result<(), ErrorBody> {
        let name = match self.by_text.get(key) {
            Some(&column) => self.columns[column as usize].clone(),
            None => key.parse().map_err(|_| path.invalid(key, reader.limits))?,
        };
        if !self.rows_seen.insert(name.clone()) {
            return Err(reader.duplicate(at, path, key));
        }
        if self.rows.len() == reader.limits.pids_max {
            return Err(reader.too_many(path, "sources", reader.limits.pids_max));
        }
        self.check_size(reader, path, self.rows.len() + 1, self.stride)?;
        self.rows.push(name);
        let start = (self.rows.len() - 1) * self.stride;
        for table in &mut self.tables {
            table.resize(start + self.stride, EMPTY);
        }
        let begin = reader.offset();
        self.read_cells(reader, &path.child(key))?;
        if self.rows.len() == 1 {
            self.settle(reader, begin);
        }
        Ok(())
    }

    /// After the first row its columns are taken for all there are, and its length for that of every row.
    fn settle(&mut self, reader: &mut Reader<'_>, begin: usize) {
        self.stride = self.columns.len().max(1);
        let row_bytes = reader.offset() - begin;
        let rows_max = reader.limits.pids_max.min(reader.limits.costs_max / (self.stride * self.tables.len()).max(1));
        let rows = (1 + reader.rest().len() / row_bytes.max(1)).min(rows_max);
        for table in &mut self.tables {
            table.resize(self.stride, EMPTY);
            table.reserve_exact(rows.saturating_sub(1) * self.stride);
        }
    }

    fn check_size(&self, reader: &Reader<'_>, path: &Path<'_>, rows: usize, stride: usize) -> Result<(), ErrorBody> {
        let fits = rows.checked_mul(stride).and_then(|n| n.checked_mul(self.tables.len())).is_some_and(|n| n <= reader.limits.costs_max);
        if fits { Ok(()) } else { Err(reader.too_many(path, "costs", reader.limits.costs_max)) }
    }

    fn read_cells(&mut self, reader: &mut Reader<'_>, path: &Path<'_>) -> Result<(), ErrorBody> {
        if reader.peek()? != Type::Object {
            return Err(ErrorBody::wrong_type(path.to_string()));
        }
        reader.advance(1);
        reader.enter()?;
        let mut first = true;
        let mut previous = 0;
        while reader.more(&mut first, b'}')? {
            reader.space();
            let at = reader.offset();
            let guess = self.next[previous];
            let column = match self.texts.get(guess as usize) {
                Some(text) if reader.rest().starts_with(text) => {
                    reader.advance(text.len());
                    reader.expect(b':', "expected ':'")?;
                    guess
                }
                _ => {
                    let column = self.find_column(reader, path)?;
                    self.next[previous] = column;
                    column
                }
            } as usize;
            previous = column + 1;
            let place = (self.rows.len() - 1) * self.stride + column;
            if !is_empty(self.tables[0][place]) {
                return Err(self.duplicate(reader, at, path, column));
            }
            self.read_cell(reader, path, column, place)?;
        }
        reader.leave();
        Ok(())
    }

    #[cold]
    fn duplicate(&self, reader: &Reader<'_>, at: usize, path: &Path<'_>, column: usize) -> ErrorBody {
        reader.duplicate(at, path, &self.columns[column].to_string())
    }

    fn invalid(&self, reader: &Reader<'_>, path: &Path<'_>, column: usize, start: usize) -> ErrorBody {
        path.child(&self.columns[column].to_string()).invalid(reader.since(start), reader.limits)
    }

    fn wrong_type(&self, path: &Path<'_>, column: usize) -> ErrorBody {
        ErrorBody::wrong_type(path.child(&self.columns[column].to_string()).to_string())
    }

    #[inline]
    fn read_cell(&mut self, reader: &mut Reader<'_>, path: &Path<'_>, column: usize, place: usize) -> Result<(), ErrorBody> {
        if self.cells.multi {
            return self.read_costs(reader, path, column, place);
        }
        reader.space();
        let start = reader.offset();
        if !matches!(reader.rest().first(), Some(b'-' | b'0'..=b'9')) {
            // "fail to parse if it is not" a number (section 11.2.3.6).
            reader.peek()?;
            return Err(self.wrong_type(path, column));
        }
        let cost = reader.number()?;
        if !is_cost(cost, self.ordinal[0]) {
            return Err(self.invalid(reader, path, column, start));
        }
        // Adding 0.0 makes a zero of minus zero.
        self.tables[0][place] = cost + 0.0;
        Ok(())
    }

    /// "All arrays have the same cardinality as the multi-cost-types" and "null" for what is not available (RFC 8189 section 4.1.3).
    fn read_costs(&mut self, reader: &mut Reader<'_>, path: &Path<'_>, column: usize, place: usize) -> Result<(), ErrorBody> {
        let start = reader.offset();
        let wanted = self.tables.len();
        if reader.peek()? != Type::Array {
            return Err(self.wrong_type(path, column));
        }
        reader.advance(1);
        reader.enter()?;
        let mut first = true;
        let mut index = 0;
        while reader.more(&mut first, b']')? {
            let element = reader.offset();
            let cost = match reader.peek()? {
                Type::Number => reader.number()?,
                Type::Null => {
                    reader.null()?;
                    f64::NAN
                }
                _ => {
                    // An element of the wrong type is an invalid value of its array (RFC 7285 section 8.5.2).
                    reader.skip()?;
                    return Err(self.invalid(reader, path, column, element));
                }
            };
            if index < wanted {
                if !cost.is_nan() && !is_cost(cost, self.ordinal[index]) {
                    return Err(self.invalid(reader, path, column, element));
                }
                self.tables[index][place] = cost + 0.0;
            }
            index += 1;
        }
        reader.leave();
        if index != wanted {
            return Err(self.invalid(reader, path, column, start));
        }
        Ok(())
    }

    /// Passes a name that was not guessed and says its column, a new one where there was none.
    #[inline(never)]
    fn find_column(&mut self, reader: &mut Reader<'_>, path: &Path<'_>) -> Result<u32, ErrorBody> {
        let (token, key) = reader.key_token()?;
        if let Some(&column) = self.by_text.get(&*key) {
            return Ok(column);
        }
        let name: N = key.parse().map_err(|_| path.invalid(&key, reader.limits))?;
        if let Some(&column) = self.by_name.get(&name) {
            // Another text of a known name: endpoint addresses have several.
            return Ok(column);
        }
        let columns = self.columns.len() + 1;
        if columns > reader.limits.pids_max {
            return Err(reader.too_many(path, "destinations", reader.limits.pids_max));
        }
        if columns > self.stride {
            let wide = self.stride.saturating_mul(2);
            // Doubling is for speed; where the bound forbids it, one more may still be in order.
            let stride = if self.check_size(reader, path, self.rows.len(), wide).is_ok() { wide } else { columns };
            self.check_size(reader, path, self.rows.len(), stride)?;
            self.widen(stride);
        }
        let column = u32::try_from(self.columns.len()).expect("pids_max columns at most, each with its text in memory");
        self.columns.push(name.clone());
        self.by_name.insert(name, column);
        self.texts.push(token.as_bytes().into());
        self.by_text.insert(key.into(), column);
        self.next.push(UNKNOWN);
        Ok(column)
    }

    fn widen(&mut self, stride: usize) {
        for table in &mut self.tables {
            let mut wide = Vec::with_capacity(self.rows.len() * stride);
            for row in table.chunks_exact(self.stride) {
                wide.extend_from_slice(row);
                wide.resize(wide.len() + stride - self.stride, EMPTY);
            }
            *table = wide;
        }
        self.stride = stride;
    }

    /// Sorts the names and drops those without a cost.
    fn finish(mut self) -> Matrix<N> {
        let mut row_used = vec![false; self.rows.len()];
        let mut column_used = vec![false; self.columns.len()];
        for table in &self.tables {
            for (row, used) in table.chunks_exact(self.stride).zip(&mut row_used) {
                for (cost, column_used) in row.iter().zip(&mut column_used) {
                    let there = !cost.is_nan();
                    *used |= there;
                    *column_used |= there;
                }
            }
        }
        let rows = order(&self.rows, &row_used);
        let columns = order(&self.columns, &column_used);
        let as_read = |order: &[usize], all: usize| order.len() == all && order.iter().copied().eq(0..all);
        if as_read(&rows, self.rows.len()) && as_read(&columns, self.columns.len()) && self.stride == columns.len() {
            for table in &mut self.tables {
                table.shrink_to_fit();
            }
            return Matrix { rows: self.rows, columns: self.columns, tables: self.tables };
        }
        let stride = self.stride;
        let gather = |table: Vec<f64>| {
            let mut sorted = Vec::with_capacity(rows.len() * columns.len());
            for &row in &rows {
                let row = &table[row * stride..(row + 1) * stride];
                sorted.extend(columns.iter().map(|&column| row[column]));
            }
            sorted
        };
        Matrix {
            tables: self.tables.into_iter().map(gather).collect(),
            rows: rows.iter().map(|&row| self.rows[row].clone()).collect(),
            columns: columns.iter().map(|&column| self.columns[column].clone()).collect(),
        }
    }
}

pub(crate) fn is_cost(cost: f64, ordinal: bool) -> bool {
    // Ranks are non-negative integers (section 6.1.2.2).
    (0.0..=f64::MAX).contains(&cost) && (!ordinal || cost.fract() == 0.0)
}

fn order<N: Ord>(names: &[N], used: &[bool]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..names.len()).filter(|&place| used[place]).collect();
    order.sort_by(|&a, &b| names[a].cmp(&names[b]));
    order
}
