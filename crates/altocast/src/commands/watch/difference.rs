//! What is different between two versions of a document, in a line and a small table.
//!
//! Unit: costs in that of their metric. Invariant: every cost and prefix that differs is counted; the table shows the few that differ most.
use super::super::view::{cost, in_unit};
use crate::terminal::{Align, Paint, Table, count, counted};
use alto::{
    Document, cost::CostType, cost_map::CostMap, endpoint::Prefix, endpoint_cost::EndpointCosts, endpoint_property::EndpointProperties,
    id::Pid, network_map::NetworkMap,
};
use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashMap},
    fmt::Display,
    hash::Hash,
    io::{self, Write},
};

/// Rows of a table: what is seen at a glance.
const SHOWN: usize = 5;

/// See the module.
pub struct Difference {
    /// One line.
    pub summary: String,
    table: Option<Table>,
    /// How many more the table could have had.
    more: usize,
}

impl Difference {
    /// Between two versions of one resource.
    pub fn between(old: &Document, new: &Document) -> Self {
        match (old, new) {
            (Document::CostMap(old), Document::CostMap(new)) => costs(&grids(old), &grids(new)),
            (Document::EndpointCosts(old), Document::EndpointCosts(new)) => costs(&endpoint_grids(old), &endpoint_grids(new)),
            (Document::NetworkMap(old), Document::NetworkMap(new)) => prefixes(old, new),
            (Document::EndpointProperties(old), Document::EndpointProperties(new)) => properties(old, new),
            _ => Self::first(new),
        }
    }

    /// What there is at first.
    pub fn first(document: &Document) -> Self {
        let summary = match document {
            Document::NetworkMap(map) => {
                let prefixes = map.pids.values().map(|group| group.prefixes().count()).sum();
                format!("{}, {}", counted(map.pids.len(), "PID"), counted_prefixes(prefixes))
            }
            Document::CostMap(map) => counted_costs(&grids(map)),
            Document::EndpointCosts(costs) => counted_costs(&endpoint_grids(costs)),
            Document::EndpointProperties(properties) => counted(properties.endpoints.len(), "endpoint"),
            Document::Directory(directory) => counted(directory.resources.len(), "resource"),
        };
        Self { summary, table: None, more: 0 }
    }

    /// Of a document that is none of ours.
    pub fn unknown(bytes: usize) -> Self {
        Self { summary: format!("about {} bytes", count(bytes)), table: None, more: 0 }
    }

    /// The table, set in under its line.
    pub fn write(&self, out: &mut impl Write, paint: Paint) -> io::Result<()> {
        let Some(table) = &self.table else { return Ok(()) };
        let mut text = Vec::new();
        table.write(&mut text, paint, None)?;
        if self.more > 0 {
            writeln!(text, "{}", paint.dim(&format!("and {} more", count(self.more))))?;
        }
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            out.write_all(b"    ")?;
            out.write_all(line)?;
        }
        Ok(())
    }
}

fn counted_prefixes(n: usize) -> String {
    format!("{} prefix{}", count(n), if n == 1 { "" } else { "es" })
}

/// Costs of one type between names. Shape of `values`: `sources.len() × destinations.len()`, row-major, NaN for none.
struct Grid<'a, N> {
    cost_type: &'a CostType,
    sources: &'a [N],
    destinations: &'a [N],
    values: &'a [f64],
}

fn grids(map: &CostMap) -> Vec<Grid<'_, Pid>> {
    map.tables
        .iter()
        .map(|(cost_type, table)| Grid { cost_type, sources: &table.sources, destinations: &table.destinations, values: &table.values })
        .collect()
}

fn endpoint_grids(costs: &EndpointCosts) -> Vec<Grid<'_, alto::endpoint::Address>> {
    costs
        .tables
        .iter()
        .map(|(cost_type, values)| Grid { cost_type, sources: &costs.sources, destinations: &costs.destinations, values })
        .collect()
}

fn counted_costs<N>(grids: &[Grid<'_, N>]) -> String {
    let costs = grids.iter().map(|grid| grid.values.iter().filter(|value| !value.is_nan()).count()).sum();
    let names = grids.first().map_or((0, 0), |grid| (grid.sources.len(), grid.destinations.len()));
    format!("{} between {} sources and {} destinations", counted(costs, "cost"), count(names.0), count(names.1))
}

/// One cost that differs; NaN is none.
struct Cell<'a, N> {
    cost_type: &'a CostType,
    source: &'a N,
    destination: &'a N,
    old: f64,
    new: f64,
}

impl<N> Cell<'_, N> {
    /// What changed stands before what came and went, which has no size.
    fn weight(&self) -> f64 {
        let by = (self.new - self.old).abs();
        if by.is_nan() { -1.0 } else { by }
    }
}

/// The heaviest few and how many there are of each sort.
struct Cells<'a, N> {
    heaviest: Vec<Cell<'a, N>>,
    changed: usize,
    added: usize,
    removed: usize,
}

impl<'a, N> Cells<'a, N> {
    fn add(&mut self, cell: Cell<'a, N>) {
        match (cell.old.is_nan(), cell.new.is_nan()) {
            (true, true) => return,
            (true, false) => self.added += 1,
            (false, true) => self.removed += 1,
            (false, false) if cell.old == cell.new => return,
            (false, false) => self.changed += 1,
        }
        if self.heaviest.len() == SHOWN && self.heaviest.last().is_some_and(|last| last.weight() >= cell.weight()) {
            return;
        }
        let at = self.heaviest.partition_point(|other| other.weight() >= cell.weight());
        self.heaviest.insert(at, cell);
        self.heaviest.truncate(SHOWN);
    }
}

fn costs<N: Display + Eq + Hash>(old: &[Grid<'_, N>], new: &[Grid<'_, N>]) -> Difference {
    let mut cells = Cells { heaviest: Vec::new(), changed: 0, added: 0, removed: 0 };
    let several = old.len() > 1 || new.len() > 1;
    for after in new {
        match old.iter().find(|before| before.cost_type == after.cost_type) {
            Some(before) => compare(before, after, &mut cells),
            None => every(after, |new| (f64::NAN, new), &mut cells),
        }
    }
    for before in old.iter().filter(|before| !new.iter().any(|after| after.cost_type == before.cost_type)) {
        every(before, |old| (old, f64::NAN), &mut cells);
    }
    let (changed, added, removed) = (cells.changed, cells.added, cells.removed);
    let mut parts = Vec::new();
    if changed > 0 {
        parts.push(format!("{} changed", counted(changed, "cost")));
    }
    for (n, what) in [(added, "added"), (removed, "removed")] {
        if n > 0 {
            parts.push(if parts.is_empty() { format!("{} {what}", counted(n, "cost")) } else { format!("{} {what}", count(n)) });
        }
    }
    let names = |grids: &[Grid<'_, N>]| -> BTreeSet<String> {
        grids.iter().flat_map(|grid| grid.sources.iter().chain(grid.destinations)).map(ToString::to_string).collect()
    };
    if added + removed > 0 {
        let (before, after) = (names(old), names(new));
        parts.extend(listed(before.difference(&after), "gone"));
        parts.extend(listed(after.difference(&before), "new"));
    }
    if parts.is_empty() {
        // A new network map gives every cost map a new tag.
        return Difference { summary: "no cost changed".into(), table: None, more: 0 };
    }
    let mut columns =
        vec![("FROM", Align::Left), ("TO", Align::Left), ("BEFORE", Align::Right), ("NOW", Align::Right), ("BY", Align::Right)];
    if several {
        columns.push(("COST", Align::Left));
    }
    let mut table = Table::new(&columns);
    let more = changed + added + removed - cells.heaviest.len();
    for cell in cells.heaviest {
        let by = cell.new - cell.old;
        let by = if by.is_nan() { String::new() } else { format!("{}{}", if by > 0.0 { "+" } else { "" }, short(by)) };
        let mut row = vec![cell.source.to_string(), cell.destination.to_string(), cost(cell.old), cost(cell.new), by];
        if several {
            row.push(in_unit(cell.cost_type));
        }
        table.row(row);
    }
    Difference { summary: parts.join(", "), table: Some(table), more }
}

/// `LU gone`, or how many where they are many.
fn listed<'a>(names: impl Iterator<Item = &'a String>, what: &str) -> Option<String> {
    let names: Vec<&str> = names.map(String::as_str).collect();
    match names.len() {
        0 => None,
        1..=3 => Some(format!("{} {what}", names.join(", "))),
        n => Some(format!("{} names {what}", count(n))),
    }
}

/// A difference of two numbers without the digits that only binary fractions have.
fn short(by: f64) -> String {
    let rounded = format!("{by:.6}");
    match rounded.trim_end_matches('0').trim_end_matches('.') {
        "" | "-" | "0" | "-0" => by.to_string(),
        text => text.to_owned(),
    }
}

fn every<'a, N>(grid: &Grid<'a, N>, sides: impl Fn(f64) -> (f64, f64), cells: &mut Cells<'a, N>) {
    let width = grid.destinations.len();
    for (at, value) in grid.values.iter().enumerate() {
        let (old, new) = sides(*value);
        cells.add(Cell {
            cost_type: grid.cost_type,
            source: &grid.sources[at / width],
            destination: &grid.destinations[at % width],
            old,
            new,
        });
    }
}

fn compare<'a, N: Eq + Hash>(old: &Grid<'a, N>, new: &Grid<'a, N>, cells: &mut Cells<'a, N>) {
    if old.sources == new.sources && old.destinations == new.destinations {
        let width = new.destinations.len();
        for (at, (&before, &after)) in old.values.iter().zip(new.values).enumerate() {
            if before.to_bits() != after.to_bits() {
                let (source, destination) = (&new.sources[at / width], &new.destinations[at % width]);
                cells.add(Cell { cost_type: new.cost_type, source, destination, old: before, new: after });
            }
        }
        return;
    }
    fn places<N: Eq + Hash>(names: &[N]) -> HashMap<&N, usize> {
        names.iter().enumerate().map(|(at, name)| (name, at)).collect()
    }
    let at = |grid: &Grid<'a, N>, row: Option<&usize>, column: Option<&usize>| match (row, column) {
        (Some(row), Some(column)) => grid.values[row * grid.destinations.len() + column],
        _ => f64::NAN,
    };
    let (old_rows, old_columns) = (places(old.sources), places(old.destinations));
    for (row, source) in new.sources.iter().enumerate() {
        for (column, destination) in new.destinations.iter().enumerate() {
            let before = at(old, old_rows.get(source), old_columns.get(destination));
            let after = at(new, Some(&row), Some(&column));
            cells.add(Cell { cost_type: new.cost_type, source, destination, old: before, new: after });
        }
    }
    let (new_rows, new_columns) = (places(new.sources), places(new.destinations));
    for (row, source) in old.sources.iter().enumerate() {
        for (column, destination) in old.destinations.iter().enumerate() {
            if !new_rows.contains_key(source) || !new_columns.contains_key(destination) {
                let before = at(old, Some(&row), Some(&column));
                cells.add(Cell { cost_type: new.cost_type, source, destination, old: before, new: f64::NAN });
            }
        }
    }
}

fn prefixes(old: &NetworkMap, new: &NetworkMap) -> Difference {
    fn homes(map: &NetworkMap) -> HashMap<Prefix, &Pid> {
        map.pids.iter().flat_map(|(pid, group)| group.prefixes().map(move |prefix| (prefix, pid))).collect()
    }
    let (before, after) = (homes(old), homes(new));
    let mut moves: Vec<(Prefix, Option<&Pid>, Option<&Pid>)> = Vec::new();
    for (prefix, pid) in &after {
        let was = before.get(prefix).copied();
        if was != Some(pid) {
            moves.push((*prefix, was, Some(pid)));
        }
    }
    moves.extend(before.iter().filter(|(prefix, _)| !after.contains_key(prefix)).map(|(prefix, pid)| (*prefix, Some(*pid), None)));
    // What moved first, then what came, then what went.
    let sort = |(_, from, to): &(Prefix, Option<&Pid>, Option<&Pid>)| match (from, to) {
        (Some(_), Some(_)) => 0,
        (None, _) => 1,
        (_, None) => 2,
    };
    let order = |a: &(Prefix, Option<&Pid>, Option<&Pid>), b: &(Prefix, Option<&Pid>, Option<&Pid>)| -> Ordering {
        sort(a).cmp(&sort(b)).then(a.0.cmp(&b.0))
    };
    moves.sort_unstable_by(order);
    let mut parts = Vec::new();
    for (kind, what) in ["moved", "added", "removed"].into_iter().enumerate() {
        let n = moves.iter().filter(|one| sort(one) == kind).count();
        if n > 0 {
            parts.push(if parts.is_empty() { format!("{} {what}", counted_prefixes(n)) } else { format!("{} {what}", count(n)) });
        }
    }
    let (old_pids, new_pids): (BTreeSet<_>, BTreeSet<_>) = (old.pids.keys().collect(), new.pids.keys().collect());
    for (n, what) in [(new_pids.difference(&old_pids).count(), "new"), (old_pids.difference(&new_pids).count(), "gone")] {
        if n > 0 {
            parts.push(format!("{} {what}", counted(n, "PID")));
        }
    }
    if parts.is_empty() {
        return Difference { summary: "no prefix moved".into(), table: None, more: 0 };
    }
    let mut table = Table::new(&[("PREFIX", Align::Left), ("FROM", Align::Left), ("TO", Align::Left)]);
    let name = |pid: Option<&Pid>| pid.map_or("-".to_owned(), ToString::to_string);
    for (prefix, from, to) in moves.iter().take(SHOWN) {
        table.row([prefix.to_string(), name(*from), name(*to)]);
    }
    let more = moves.len().saturating_sub(SHOWN);
    Difference { summary: parts.join(", "), table: (!moves.is_empty()).then_some(table), more }
}

fn properties(old: &EndpointProperties, new: &EndpointProperties) -> Difference {
    let mut changes = Vec::new();
    let endpoints: BTreeSet<_> = old.endpoints.keys().chain(new.endpoints.keys()).collect();
    for endpoint in endpoints {
        let (before, after) = (old.endpoints.get(endpoint), new.endpoints.get(endpoint));
        let names: BTreeSet<_> = before.into_iter().chain(after).flat_map(|values| values.keys()).collect();
        for name in names {
            let value = |values: Option<&std::collections::BTreeMap<_, Box<str>>>| values.and_then(|values| values.get(name).cloned());
            let (before, after) = (value(before), value(after));
            if before != after {
                changes.push([
                    endpoint.to_string(),
                    name.to_string(),
                    before.map_or("-".into(), String::from),
                    after.map_or("-".into(), String::from),
                ]);
            }
        }
    }
    let mut table = Table::new(&[("ENDPOINT", Align::Left), ("PROPERTY", Align::Left), ("BEFORE", Align::Left), ("NOW", Align::Left)]);
    let more = changes.len().saturating_sub(SHOWN);
    let summary = match changes.len() {
        0 => "no property changed".to_owned(),
        1 => "1 property changed".to_owned(),
        n => format!("{} properties changed", count(n)),
    };
    let table = (!changes.is_empty()).then(|| {
        changes.iter().take(SHOWN).for_each(|row| table.row(row));
        table
    });
    Difference { summary, table, more }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost_map(cells: &str) -> Document {
        let text = format!(
            r#"{{"meta":{{"dependent-vtags":[{{"resource-id":"net","tag":"n"}}],"cost-type":{{"cost-mode":"numerical","cost-metric":"routingcost"}}}},"cost-map":{cells}}}"#
        );
        Document::parse(text.as_bytes(), None).unwrap()
    }

    fn network_map(pids: &str) -> Document {
        let text = format!(r#"{{"meta":{{"vtag":{{"resource-id":"net","tag":"n"}}}},"network-map":{pids}}}"#);
        Document::parse(text.as_bytes(), None).unwrap()
    }

    fn written(difference: &Difference) -> String {
        let mut out = Vec::new();
        difference.write(&mut out, Paint::PLAIN).unwrap();
        format!("{}\n{}", difference.summary, String::from_utf8(out).unwrap())
    }

    #[test]
    fn costs_that_differ_most_come_first() {
        let old = cost_map(r#"{"a":{"a":0,"b":1,"c":2},"b":{"a":5,"b":0}}"#);
        for (new, want) in [
            (r#"{"a":{"a":0,"b":1,"c":2},"b":{"a":5,"b":0}}"#, "no cost changed\n"),
            (
                r#"{"a":{"a":0,"b":1.5,"c":2},"b":{"a":1,"b":0}}"#,
                "2 costs changed\n    FROM  TO  BEFORE  NOW    BY\n    b     a        5    1    -4\n    a     b        1  1.5  +0.5\n",
            ),
            (
                r#"{"a":{"a":0,"b":1},"b":{"a":5,"b":0,"c":7}}"#,
                "1 cost added, 1 removed\n    FROM  TO  BEFORE  NOW  BY\n    a     c        2    -\n    b     c        -    7\n",
            ),
            (
                r#"{"a":{"a":0,"b":1,"c":2}}"#,
                "2 costs removed\n    FROM  TO  BEFORE  NOW  BY\n    b     a        5    -\n    b     b        0    -\n",
            ),
        ] {
            assert_eq!(written(&Difference::between(&old, &cost_map(new))), want, "{new}");
        }
        let text = written(&Difference::between(&old, &cost_map(r#"{"a":{"a":0,"b":1},"b":{"a":6,"b":0}}"#)));
        assert_eq!(
            text,
            "1 cost changed, 1 removed, c gone\n    FROM  TO  BEFORE  NOW  BY\n    b     a        5    6  +1\n    a     c        2    -\n"
        );
        let (low, high) = (
            cost_map(&format!(r#"{{"a":{{{}}}}}"#, (0..40).map(|n| format!(r#""p{n}":1"#)).collect::<Vec<_>>().join(","))),
            cost_map(&format!(r#"{{"a":{{{}}}}}"#, (0..40).map(|n| format!(r#""p{n}":{}"#, n + 2)).collect::<Vec<_>>().join(","))),
        );
        let text = written(&Difference::between(&low, &high));
        assert!(text.starts_with("40 costs changed") && text.contains("p39") && text.ends_with("and 35 more\n"), "{text}");
    }

    #[test]
    fn prefixes_move_between_pids() {
        let old = network_map(r#"{"a":{"ipv4":["192.0.2.0/24","198.51.100.0/24"]},"b":{"ipv6":["2001:db8::/32"]}}"#);
        for (new, want) in [
            (r#"{"a":{"ipv4":["192.0.2.0/24","198.51.100.0/24"]},"b":{"ipv6":["2001:db8::/32"]}}"#, "no prefix moved\n"),
            (
                r#"{"a":{"ipv4":["192.0.2.0/24"]},"b":{"ipv6":["2001:db8::/32"],"ipv4":["198.51.100.0/24"]}}"#,
                "1 prefix moved\n    PREFIX           FROM  TO\n    198.51.100.0/24  a     b\n",
            ),
            (
                r#"{"a":{"ipv4":["192.0.2.0/24"]},"c":{"ipv4":["198.51.100.0/24","203.0.113.0/24"]}}"#,
                "1 prefix moved, 1 added, 1 removed, 1 PID new, 1 PID gone\n    PREFIX           FROM  TO\n    198.51.100.0/24  a     c\n    203.0.113.0/24   -     c\n    2001:db8::/32    b     -\n",
            ),
        ] {
            assert_eq!(written(&Difference::between(&old, &network_map(new))), want, "{new}");
        }
    }

    #[test]
    fn the_first_copy_is_counted() {
        assert_eq!(
            Difference::first(&cost_map(r#"{"a":{"a":0,"b":1},"b":{"a":5}}"#)).summary,
            "3 costs between 2 sources and 2 destinations"
        );
        assert_eq!(Difference::first(&network_map(r#"{"a":{"ipv4":["192.0.2.0/24"]}}"#)).summary, "1 PID, 1 prefix");
    }
}
