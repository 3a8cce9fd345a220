//! From the matrix into text.
//!
//! A row is put together in one buffer, made once, from names rendered once: a cell costs two copies of constant size and no
//! check of capacity. `itoa` and `zmij` make the digits.
use crate::json;
use std::fmt::Display;

/// The names of the columns as they precede a cost, `,"PID1":`, each in a cell of `W` bytes.
struct Names<const W: usize> {
    texts: Vec<([u8; W], usize)>,
}

fn rendered<N: Display>(names: &[N], part: Option<&[u32]>) -> Vec<Vec<u8>> {
    let render = |name: &N| {
        let mut text = vec![b','];
        json::write_text(&mut text, name);
        text.push(b':');
        text
    };
    match part {
        Some(part) => part.iter().map(|&place| render(&names[place as usize])).collect(),
        None => names.iter().map(render).collect(),
    }
}

impl<const W: usize> Names<W> {
    fn new(texts: &[Vec<u8>]) -> Self {
        let fixed = |text: &Vec<u8>| {
            let mut cell = [0; W];
            cell[..text.len()].copy_from_slice(text);
            (cell, text.len())
        };
        Self { texts: texts.iter().map(fixed).collect() }
    }
}

/// The most bytes a cost takes: `-2.2250738585072014e-308`.
const COST_BYTES_MAX: usize = 24;

/// Rows and columns of the matrix to write; all without a list.
#[derive(Clone, Copy)]
pub(crate) struct Shape<'n, N> {
    pub rows: &'n [N],
    pub columns: &'n [N],
    pub row_part: Option<&'n [u32]>,
    pub column_part: Option<&'n [u32]>,
}

/// Writes an object of objects of numbers: of the defined costs those that `keep` wants, given row, column and cost.
/// Rows without any are left out.
pub(crate) fn write<N: Display>(out: &mut Vec<u8>, shape: Shape<'_, N>, values: &[f64], keep: impl FnMut(usize, usize, f64) -> bool) {
    let names = rendered(shape.columns, shape.column_part);
    match names.iter().map(Vec::len).max().unwrap_or(0) {
        0..=16 => write_rows::<N, 16>(out, shape, &Names::new(&names), values, keep),
        17..=32 => write_rows::<N, 32>(out, shape, &Names::new(&names), values, keep),
        33..=80 => write_rows::<N, 80>(out, shape, &Names::new(&names), values, keep),
        // A private address, each of its 128 characters escaped, is the longest name there is: 265 bytes.
        _ => write_rows::<N, 272>(out, shape, &Names::new(&names), values, keep),
    }
}

impl<N> Shape<'_, N> {
    fn each_row(&self, mut row: impl FnMut(usize)) {
        match self.row_part {
            Some(part) => part.iter().for_each(|&place| row(place as usize)),
            None => (0..self.rows.len()).for_each(row),
        }
    }
}

/// Opens a row: the comma after the one before, the name, the brace.
fn open_row<N: Display>(out: &mut Vec<u8>, first: &mut bool, name: &N) {
    if !*first {
        out.push(b',');
    }
    *first = false;
    json::write_text(out, name);
    out.extend_from_slice(b":{");
}

fn write_rows<N: Display, const W: usize>(
    out: &mut Vec<u8>,
    shape: Shape<'_, N>,
    names: &Names<W>,
    values: &[f64],
    mut keep: impl FnMut(usize, usize, f64) -> bool,
) {
    let width = shape.columns.len();
    let longest = names.texts.iter().map(|&(_, length)| length).max().unwrap_or(0);
    let mut buffer = vec![0; names.texts.len() * (longest + COST_BYTES_MAX) + W + COST_BYTES_MAX];
    let mut first = true;
    out.push(b'{');
    shape.each_row(|row| {
        let costs = &values[row * width..(row + 1) * width];
        let end = match shape.column_part {
            None => {
                let cells = names.texts.iter().zip(costs).enumerate().map(|(column, (name, &cost))| (column, name, cost));
                fill(&mut buffer, cells, |column, cost| keep(row, column, cost))
            }
            Some(part) => {
                let cells = names.texts.iter().zip(part).map(|(name, &column)| (column as usize, name, costs[column as usize]));
                fill(&mut buffer, cells, |column, cost| keep(row, column, cost))
            }
        };
        if end > 0 {
            open_row(out, &mut first, &shape.rows[row]);
            // Every name brought a comma; the first has nothing before it.
            out.extend_from_slice(&buffer[1..end]);
            out.push(b'}');
        }
    });
    out.push(b'}');
}

/// Puts the cells of one row side by side and says where they end.
#[inline]
fn fill<'n, const W: usize>(
    buffer: &mut [u8],
    cells: impl Iterator<Item = (usize, &'n ([u8; W], usize), f64)>,
    mut keep: impl FnMut(usize, f64) -> bool,
) -> usize {
    let mut integer = itoa::Buffer::new();
    let mut end = 0;
    for (column, (name, length), cost) in cells {
        if cost.is_nan() || !keep(column, cost) {
            continue;
        }
        debug_assert!(cost.is_finite());
        buffer[end..end + W].copy_from_slice(name);
        end += length;
        let whole = cost as u64;
        if whole as f64 == cost && whole < 1 << 53 {
            end += put(&mut buffer[end..], integer.format(whole).as_bytes());
        } else {
            end += put(&mut buffer[end..], zmij::Buffer::new().format_finite(cost).as_bytes());
        }
    }
    end
}

#[inline]
fn put(buffer: &mut [u8], digits: &[u8]) -> usize {
    buffer[..digits.len()].copy_from_slice(digits);
    digits.len()
}

/// Writes an object of objects of arrays (RFC 8189 section 4.1.3): `null` where one of the costs is not defined. Pairs without
/// any cost, and those `keep` does not want, are left out; rows without any pair too.
pub(crate) fn write_multi<N: Display>(
    out: &mut Vec<u8>,
    shape: Shape<'_, N>,
    tables: &[&[f64]],
    mut keep: impl FnMut(usize, usize) -> bool,
) {
    let names = rendered(shape.columns, shape.column_part);
    let width = shape.columns.len();
    let mut first = true;
    out.push(b'{');
    shape.each_row(|row| {
        let start = out.len();
        let first_before = first;
        open_row(out, &mut first, &shape.rows[row]);
        let mut empty = true;
        for (place, name) in names.iter().enumerate() {
            let column = shape.column_part.map_or(place, |part| part[place] as usize);
            let costs = tables.iter().map(|table| table[row * width + column]);
            if costs.clone().all(f64::is_nan) || !keep(row, column) {
                continue;
            }
            out.extend_from_slice(&name[usize::from(empty)..]);
            empty = false;
            json::array(out, costs, |out, cost| if cost.is_nan() { out.extend_from_slice(b"null") } else { json::write_number(out, cost) });
        }
        if empty {
            out.truncate(start);
            first = first_before;
        } else {
            out.push(b'}');
        }
    });
    out.push(b'}');
}
