//! The costs of some sources to some destinations, written out: the part that filtered cost maps (RFC 7285 section
//! 11.3.2, RFC 8189 section 4.1) and the endpoint cost service (11.5, 4.2) have in common.
//!
//! Shape: `m` sources × `n` destinations, row-major. A pair without a cost, or whose costs fail the constraints, is left
//! out, and so is a source without any pair. Memory besides the answer: one row per cost type, plus `8 m n` bytes for
//! each cost type that must be ranked.
use super::{
    ABSENT, CostSource,
    write::{self, COST_BYTES_MAX, KeySource, Keys, Padded},
};
use crate::{PidIx, costs::prefers_high};
use alto::{
    cost::{Constraints, Mode},
    cost_map::CostTable,
};

/// Sources and destinations as places in the network map. An endpoint request may name one PID many times.
pub(super) struct Selection {
    pub sources: Vec<PidIx>,
    pub destinations: Vec<PidIx>,
}

/// The costs of one cost type for the pairs of a [`Selection`].
pub(super) enum Costs<'a> {
    Table { table: &'a CostTable, rows: Vec<u32>, columns: Vec<u32> },
    Ranks { values: Vec<f64>, width: usize },
}

impl<'a> Costs<'a> {
    pub(super) fn new(source: &'a CostSource, selection: &Selection) -> Self {
        let place = |index: &[u32], pids: &[PidIx]| -> Vec<u32> { pids.iter().map(|pid| index[pid.0 as usize]).collect() };
        let (rows, columns) = (place(&source.rows, &selection.sources), place(&source.columns, &selection.destinations));
        let table = &*source.view.table;
        if !source.ranked {
            return Self::Table { table, rows, columns };
        }
        if let Some(whole) = &source.whole
            && everything(&rows, table.sources.len())
            && everything(&columns, table.destinations.len())
        {
            return Self::Table { table: &whole.table, rows, columns };
        }
        let width = columns.len();
        let gathered = |table: &CostTable| {
            let mut values = vec![f64::NAN; rows.len() * width];
            if width > 0 {
                for (row, out) in rows.iter().zip(values.chunks_exact_mut(width)) {
                    gather(table, *row, &columns, out);
                }
            }
            values
        };
        let mut values;
        match &source.whole {
            Some(whole) => {
                // Ranks of all entries: those of a part are in the same order.
                values = gathered(&whole.table);
                close_gaps(&mut values);
            }
            None => {
                values = gathered(table);
                let descending = source.view.cost_type.mode == Mode::Numerical && prefers_high(&source.view.cost_type.metric);
                rank(&mut values, descending);
            }
        }
        Self::Ranks { values, width }
    }

    /// A table as it is.
    pub(super) fn whole(table: &'a CostTable) -> Self {
        let places = |count: usize| (0..u32::try_from(count).expect("PIDs are fewer than 2^32")).collect();
        Self::Table { table, rows: places(table.sources.len()), columns: places(table.destinations.len()) }
    }

    /// The costs from the source at `row` to every destination.
    fn row(&self, row: usize, out: &mut [f64]) {
        match self {
            Self::Table { table, rows, columns } => gather(table, rows[row], columns, out),
            Self::Ranks { values, width } => out.copy_from_slice(&values[row * width..(row + 1) * width]),
        }
    }
}

/// Whether the places are those of a whole table, each once.
fn everything(places: &[u32], count: usize) -> bool {
    let mut seen = vec![false; count];
    let mut found = 0;
    for place in places.iter().filter(|place| **place != ABSENT) {
        if std::mem::replace(&mut seen[*place as usize], true) {
            return false;
        }
        found += 1;
    }
    found == count
}

#[inline]
fn gather(table: &CostTable, row: u32, columns: &[u32], out: &mut [f64]) {
    if row == ABSENT {
        out.fill(f64::NAN);
        return;
    }
    let width = table.destinations.len();
    let costs = &table.values[row as usize * width..][..width];
    for (out, column) in out.iter_mut().zip(columns) {
        // ABSENT lies past every row.
        *out = costs.get(*column as usize).copied().unwrap_or(f64::NAN);
    }
}

/// Replaces costs by their ranks among each other: 1 for the best, equal costs alike, no gaps (RFC 7285 section 6.1.2.2).
fn rank(values: &mut [f64], descending: bool) {
    // Costs are not negative, so their bits sort as they do.
    let mut order: Vec<(u64, u32)> = (0u32..)
        .zip(values.iter())
        .filter(|(_, value)| !value.is_nan())
        .map(|(at, value)| ((value + 0.0).to_bits() ^ if descending { u64::MAX } else { 0 }, at))
        .collect();
    order.sort_unstable();
    let mut rank = 0.0;
    let mut before = None;
    for (bits, at) in order {
        if before != Some(bits) {
            rank += 1.0;
            before = Some(bits);
        }
        values[at as usize] = rank;
    }
}

/// The same for costs that are ranks already, from 1: without sorting.
fn close_gaps(ranks: &mut [f64]) {
    let max = ranks.iter().fold(0.0, |max: f64, rank| max.max(*rank)) as usize;
    // A bit for each rank; more of them than this take longer than to sort.
    if max / 64 > 16 * ranks.len() + 1_024 {
        return rank(ranks, false);
    }
    let mut used = vec![0_u64; max / 64 + 1];
    for rank in ranks.iter().filter(|rank| !rank.is_nan()) {
        let rank = *rank as usize;
        used[rank / 64] |= 1 << (rank % 64);
    }
    let mut below = Vec::with_capacity(used.len());
    let mut count = 0;
    for word in &used {
        below.push(count);
        count += word.count_ones();
    }
    for rank in ranks.iter_mut().filter(|rank| !rank.is_nan()) {
        let at = *rank as usize;
        let in_word = (used[at / 64] & ((1 << (at % 64)) - 1)).count_ones();
        *rank = f64::from(below[at / 64] + in_word + 1);
    }
}

/// Which pairs stay.
pub(super) struct Tests<'a> {
    pub costs: Vec<Costs<'a>>,
    pub constraints: &'a Constraints,
}

/// Writes `{source:{destination:cost,...},...}`. `array`: each cost is an array with one element per cost type (RFC 8189
/// section 4.1.3), `null` where that type has none.
pub(super) fn write_costs(
    out: &mut Vec<u8>,
    sources: &Keys,
    destinations: &Keys,
    costs: &[Costs<'_>],
    array: bool,
    tests: Option<&Tests<'_>>,
) {
    // Room for the usual case, so that the answer is not copied while it grows; a huge request grows as it goes.
    let row_bytes = destinations.bytes() + destinations.len() * 8 * costs.len();
    out.reserve(sources.len().saturating_mul(row_bytes).min(1 << 24) + sources.bytes() + 16);
    match destinations.longest() {
        0..=16 => write_rows(out, sources, destinations, &Padded::<16>::new(destinations), costs, array, tests),
        17..=32 => write_rows(out, sources, destinations, &Padded::<32>::new(destinations), costs, array, tests),
        33..=72 => write_rows(out, sources, destinations, &Padded::<72>::new(destinations), costs, array, tests),
        _ => write_rows(out, sources, destinations, destinations, costs, array, tests),
    }
}

fn write_rows(
    out: &mut Vec<u8>,
    sources: &Keys,
    destinations: &Keys,
    keys: &impl KeySource,
    costs: &[Costs<'_>],
    array: bool,
    tests: Option<&Tests<'_>>,
) {
    let width = destinations.len();
    let mut rows = vec![vec![f64::NAN; width]; costs.len()];
    let mut tested = vec![vec![f64::NAN; width]; tests.map_or(0, |tests| tests.costs.len())];
    // One row at its longest, and the padding that the last key may reach into.
    let slack = destinations.longest().max(72) + COST_BYTES_MAX;
    let mut buffer = vec![0; destinations.bytes() + width * (COST_BYTES_MAX + 1) * costs.len() + width * 2 + slack];
    let start = out.len();
    for source in 0..sources.len() {
        for (costs, row) in costs.iter().zip(&mut rows) {
            costs.row(source, row);
        }
        if let Some(tests) = tests {
            for (costs, row) in tests.costs.iter().zip(&mut tested) {
                costs.row(source, row);
            }
            for destination in 0..width {
                if !tests.constraints.holds_by(|index| tested.get(index).map_or(f64::NAN, |row| row[destination])) {
                    rows.iter_mut().for_each(|row| row[destination] = f64::NAN);
                }
            }
        }
        let end = match &rows[..] {
            [row] if !array => write_row(&mut buffer, keys, row),
            _ => write_arrays(&mut buffer, keys, &rows, width),
        };
        if end > 0 {
            // The comma that led the first key.
            buffer[0] = b'{';
            buffer[end] = b'}';
            out.extend_from_slice(sources.get(source));
            out.extend_from_slice(&buffer[..=end]);
        }
    }
    if out.len() == start {
        out.push(b'{');
    } else {
        out[start] = b'{';
    }
    out.push(b'}');
}

fn write_row(buffer: &mut [u8], keys: &impl KeySource, row: &[f64]) -> usize {
    let mut place = 0;
    for (destination, cost) in row.iter().enumerate() {
        if !cost.is_nan() {
            place = keys.put(destination, buffer, place);
            place = write::cost(*cost, buffer, place);
        }
    }
    place
}

fn write_arrays(buffer: &mut [u8], keys: &impl KeySource, rows: &[Vec<f64>], width: usize) -> usize {
    let mut place = 0;
    for destination in 0..width {
        if rows.iter().all(|row| row[destination].is_nan()) {
            continue;
        }
        place = keys.put(destination, buffer, place);
        for (at, row) in rows.iter().enumerate() {
            buffer[place] = if at == 0 { b'[' } else { b',' };
            place += 1;
            if row[destination].is_nan() {
                buffer[place..place + 4].copy_from_slice(b"null");
                place += 4;
            } else {
                place = write::cost(row[destination], buffer, place);
            }
        }
        buffer[place] = b']';
        place += 1;
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7285 section 6.1.2.2 ("a lower value indicating a higher preference") and 6.2 (relative to the entries asked for).
    #[test]
    fn ranks_are_dense_and_follow_preference() {
        let nan = f64::NAN;
        for (costs, descending, want) in [
            (vec![10.0, 5.0, 10.0, 0.5], false, vec![3.0, 2.0, 3.0, 1.0]),
            (vec![10.0, 5.0, 10.0, 0.5], true, vec![1.0, 2.0, 1.0, 3.0]),
            (vec![0.0, -0.0, 7.0], false, vec![1.0, 1.0, 2.0]),
            (vec![], false, vec![]),
        ] {
            let mut got = costs.clone();
            rank(&mut got, descending);
            assert_eq!(got, want, "{costs:?}");
        }
        for ranks in [vec![7.0, 2.0, 7.0, 65.0, nan, 64.0, 1.0, 128.0], vec![1.0], vec![nan], vec![]] {
            let (mut sorted, mut counted) = (ranks.clone(), ranks);
            rank(&mut sorted, false);
            close_gaps(&mut counted);
            assert_eq!(format!("{sorted:?}"), format!("{counted:?}"));
        }
        let mut got = [nan, 3.0, nan];
        rank(&mut got, true);
        assert!(got[0].is_nan() && got[1] == 1.0 && got[2].is_nan());
    }
}
