//! REPETITA `.graph` (Gay, Schaus, Vissicchio 2017): `NODES n`, a heading, `label x y` rows, `EDGES m`, a heading, then
//! `label src dest weight bw delay` rows with nodes by number.
//!
//! Weight is the IGP metric, bw is in kbit/s, delay in microseconds but computed at 0.6 km/us, faster than light, so delays come from the
//! coordinates by default. `x` is the longitude, `y` the latitude; 0 0 stands for unknown. Each row is one direction.
use super::{
    Options,
    error::{Refusal, within},
    place,
    read::Collector,
};
use crate::observation::{Link, Router};
use std::collections::HashSet;

const FIX: &str = "correct the row, or write the file again, whole";

struct Rows<'a> {
    lines: std::iter::Enumerate<std::str::Lines<'a>>,
    last: u64,
}

impl<'a> Rows<'a> {
    /// The words of the next line that is not blank.
    fn next(&mut self) -> Option<(u64, Vec<&'a str>)> {
        for (ix, text) in self.lines.by_ref() {
            self.last = ix as u64 + 1;
            // No row has more than six; a seventh word is enough to refuse it.
            let words: Vec<&str> = text.split_whitespace().take(7).collect();
            if !words.is_empty() {
                return Some((self.last, words));
            }
        }
        None
    }

    /// `NODES 40`, and past the heading below it.
    fn section(&mut self, name: &str) -> Result<usize, Refusal> {
        let (line, words) = self.next().ok_or_else(|| Refusal::line(self.last, format!("{name} is missing"), FIX))?;
        let count = match words[..] {
            [word, count] if word == name => count.parse().ok(),
            _ => None,
        };
        let count =
            count.ok_or_else(|| Refusal::line(line, format!("{:?} where \"{name} <count>\" was expected", words.join(" ")), FIX))?;
        let heading = self.next().filter(|(_, words)| words[0] == "label");
        heading.map(|_| count).ok_or_else(|| Refusal::line(line + 1, format!("no heading under {name}"), FIX))
    }

    fn row<const N: usize>(&mut self, what: &str) -> Result<(u64, [&'a str; N]), Refusal> {
        let (line, words) = self.next().ok_or_else(|| Refusal::line(self.last, format!("the file ends before its last {what}"), FIX))?;
        let count = words.len();
        let words = words.try_into().map_err(|_| Refusal::line(line, format!("{count} words where a {what} has {N}"), FIX))?;
        Ok((line, words))
    }
}

pub(super) fn read(bytes: &[u8], options: &Options, into: &mut Collector<'_>) -> Result<(), Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::whole("not UTF-8 text", "save the file as UTF-8"))?;
    let mut rows = Rows { lines: text.lines().enumerate(), last: 1 };

    let nodes = rows.section("NODES")?;
    within(nodes, options.limits.routers_max, "routers", "routers_max")?;
    let mut labels: Vec<&str> = Vec::new();
    let mut locations = Vec::new();
    let mut seen = HashSet::new();
    for _ in 0..nodes {
        let (line, [label, x, y]) = rows.row("node")?;
        if !seen.insert(label) {
            return Err(Refusal::line(line, format!("node {label:?} is there twice"), FIX));
        }
        let (longitude, latitude): (f64, f64) = (number(x, line)?, number(y, line)?);
        let known = longitude != 0.0 || latitude != 0.0;
        locations.push(place::location(Some(latitude), Some(longitude)).filter(|_| known));
        labels.push(label);
    }
    let names = names(labels, options);
    for (name, location) in names.iter().zip(&locations) {
        into.router(Router { id: (*name).into(), country: None, location: *location, addresses: Vec::new() })?;
    }

    let edges = rows.section("EDGES")?;
    within(edges, options.limits.links_max, "links", "links_max")?;
    for _ in 0..edges {
        let (line, [_, from, to, weight, bandwidth, delay]) = rows.row("edge")?;
        let node = |text: &str| -> Result<usize, Refusal> {
            let found = text.parse().ok().filter(|ix: &usize| *ix < names.len());
            found.ok_or_else(|| Refusal::line(line, format!("{text:?} is not the number of a node"), FIX))
        };
        let (from, to) = (node(from)?, node(to)?);
        if from == to {
            into.odd(format!("line {line}"), format!("edge from {} to itself: skipped", names[from]));
            continue;
        }
        let cost: f64 = number(weight, line)?;
        let in_range = (0.0..=f64::from(u32::MAX)).contains(&cost);
        let igp_cost =
            in_range.then_some(cost.round() as u32).ok_or_else(|| Refusal::line(line, format!("{weight} is no IGP metric"), FIX))?;
        let (bandwidth, delay) = (number(bandwidth, line)?, number(delay, line)?);
        into.link(Link {
            from: names[from].into(),
            to: names[to].into(),
            igp_cost: Some(igp_cost),
            delay_us: place::delay_us(options, locations[from], locations[to], Some(delay).filter(|delay| *delay >= 0.0)),
            bandwidth_bps: Some(bandwidth * 1000.0).filter(|bps| *bps > 0.0),
            ..Link::default()
        })?;
    }
    Ok(())
}

fn number(text: &str, line: u64) -> Result<f64, Refusal> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| Refusal::line(line, format!("{text:?} is not a number"), FIX))
}

/// Labels without their node number, `0_NL` as `NL`, when each has one and what remains is unique.
fn names<'a>(labels: Vec<&'a str>, options: &Options) -> Vec<&'a str> {
    let strip = |(ix, label): (usize, &&'a str)| {
        let (number, name) = label.split_once('_')?;
        (number.parse() == Ok(ix) && !name.is_empty()).then_some(name)
    };
    let stripped: Option<Vec<&str>> = if options.strip_index { labels.iter().enumerate().map(strip).collect() } else { None };
    match stripped {
        Some(names) if names.iter().collect::<HashSet<_>>().len() == names.len() => names,
        _ => labels,
    }
}
