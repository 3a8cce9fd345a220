//! The crates' own benches (`cargo bench`): which of the figures they print belong into the table, and beside which peer.
//!
//! A bench prints lines of a name and figures, indented below a heading where one name occurs several times. A row that finds no
//! line of its name fails the run, so that a renamed line is noticed.
use super::page::Row;
use anyhow::{Context, Result};

/// Where a figure stands: heading (or ""), how the line starts, which of its numbers.
type Place = (&'static str, &'static str, usize);

struct Figure {
    what: &'static str,
    target: &'static str,
    unit: &'static str,
    ours: Place,
    peer: Option<(&'static str, Place)>,
    /// Whether the ratio ours / peer is to be above 1 (speeds) or below (times).
    ratio: Ratio,
}

enum Ratio {
    /// ours / peer of the same unit.
    OfPeer,
    /// Stands in the line itself: how many times faster than the peer, which is computing everything.
    InLine(usize),
}

const PREFIX_TREE: &str = "treebitmap";

const FIGURES: [Figure; 18] = [
    answer("filtered cost map, 100 x 100 of a million costs", "filtered cost map 100x100, whole numbers"),
    answer("  the same with fractions", "filtered cost map 100x100, fractions"),
    answer("endpoint cost, 10 x 100, 1 M prefixes", "endpoint cost 10x100, 1 M prefixes"),
    lookup("longest-prefix match, random IPv4, 1 M prefixes", "IPv4, anywhere", 0),
    lookup("  each waiting for the one before", "IPv4, anywhere", 1),
    lookup("  IPv4 inside a random prefix", "IPv4, inside a random prefix", 0),
    lookup("longest-prefix match, random IPv6, 1 M prefixes", "IPv6, anywhere in 2000::/3", 0),
    lookup("  each waiting for the one before", "IPv6, anywhere in 2000::/3", 1),
    lookup("  IPv6 inside a random prefix", "IPv6, inside a random prefix", 0),
    json("cost map to JSON, 1 M whole numbers", ">= 400 MB/s", "write, integers", "serde_json from maps, integers"),
    json("cost map to JSON, 1 M with three decimals", ">= 400 MB/s", "write, three decimals", "serde_json from maps, three decimals"),
    json("cost map from JSON, 1 M whole numbers", ">= 250 MB/s", "read, integers", "serde_json visitor to matrix, integers"),
    json(
        "cost map from JSON, 1 M with three decimals",
        ">= 250 MB/s",
        "read, three decimals",
        "serde_json visitor to matrix, three decimals",
    ),
    change("all costs after a weight doubled", "weight doubled"),
    change("all costs after a weight halved", "weight halved"),
    change("all costs after a delay changed", "delay changed"),
    change("all costs after a link went down", "link down"),
    change("all costs after a link came up", "link up"),
];

const fn answer(what: &'static str, line: &'static str) -> Figure {
    Figure { what, target: "< 150 us", unit: "us", ours: ("", line, 0), peer: None, ratio: Ratio::OfPeer }
}

const fn lookup(what: &'static str, heading: &'static str, nth: usize) -> Figure {
    // The first number is with lookups that may overlap, as those of a request do; in the second each waits for the one before.
    Figure {
        what,
        target: "< 80 ns",
        unit: "ns",
        ours: (heading, "maps::PrefixTable ", nth),
        peer: Some((PREFIX_TREE, (heading, "ip_network_table-deps-treebitmap 0.5", nth))),
        ratio: Ratio::OfPeer,
    }
}

const fn json(what: &'static str, target: &'static str, line: &'static str, peer: &'static str) -> Figure {
    Figure { what, target, unit: "MB/s", ours: ("", line, 0), peer: Some(("serde_json", ("", peer, 0))), ratio: Ratio::OfPeer }
}

const fn change(what: &'static str, line: &'static str) -> Figure {
    Figure {
        what,
        target: "< 50 ms, 5 x faster than all",
        unit: "ms",
        ours: ("", line, 0),
        peer: Some(("all anew", ("", "computing everything", 0))),
        ratio: Ratio::InLine(2),
    }
}

/// The rows of the table, from what the benches printed.
pub fn rows(printed: &str) -> Result<Vec<Row>> {
    FIGURES.iter().map(|figure| row(figure, printed)).collect()
}

fn row(figure: &Figure, printed: &str) -> Result<Row> {
    let at = |place: &Place| number(printed, place).with_context(|| format!("no bench printed a line {place:?}"));
    let ours = at(&figure.ours)?;
    let show = |value: f64| if value < 100.0 { format!("{value:.1} {}", figure.unit) } else { format!("{value:.0} {}", figure.unit) };
    let (mut peer, mut ratio) = (String::new(), String::new());
    if let Some((name, place)) = &figure.peer {
        let theirs = at(place)?;
        peer = format!("{name} {}", show(theirs));
        ratio = match figure.ratio {
            Ratio::OfPeer => format!("{:.2}", ours / theirs),
            Ratio::InLine(nth) => format!("1/{:.0}", at(&(figure.ours.0, figure.ours.1, nth))?),
        };
    }
    Ok(Row { what: figure.what.into(), target: figure.target.into(), ours: show(ours), peer, ratio })
}

/// The nth number after the name of the line; numbers inside the name do not count.
fn number(printed: &str, (heading, start, nth): &Place) -> Option<f64> {
    let mut under = "";
    for line in printed.lines() {
        if !line.starts_with(' ') {
            under = line;
        }
        if under.starts_with(heading)
            && let Some(rest) = line.trim_start().strip_prefix(start)
            // Not a longer name: `maps::PrefixTable, a PID for every prefix`.
            && !rest.starts_with(',')
        {
            let words = rest.split([' ', ':', ',']).filter_map(|word| word.parse().ok());
            return words.into_iter().nth(*nth);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_below_their_heading() {
        let printed = "IPv4, inside\n  maps::PrefixTable, each     9.0  waiting 9.5\n  maps::PrefixTable      12.5   each waiting for the one before   30.0\nIPv6, inside\n  maps::PrefixTable      15.5   each waiting for the one before   40.0\nweight doubled     median    9.9 ms, worst   20.0 ms,   12.0 times faster\n";
        for (place, want) in [
            (("IPv4", "maps::PrefixTable", 0), Some(12.5)),
            (("IPv6", "maps::PrefixTable", 1), Some(40.0)),
            (("", "weight doubled", 0), Some(9.9)),
            (("", "weight doubled", 2), Some(12.0)),
            (("", "weight doubled", 3), None),
            (("", "no such line", 0), None),
        ] {
            assert_eq!(number(printed, &place), want, "{place:?}");
        }
    }
}
