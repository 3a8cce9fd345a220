//! What keeping every client up to date costs besides sending: the change, the commit, the bytes of changes, the engine on the disk.
//!
//! These figures come from the crates' own benches, which print `figure: NAME = VALUE UNIT` for each. A row that finds no figure of its
//! name, or finds it in another unit, fails the run.
use super::page::Row;
use crate::workspace;
use anyhow::{Context, Result, ensure};
use std::{collections::BTreeMap, fmt::Write, process::Stdio};

/// Crate, bench and what it is told, in the order they run.
const BENCHES: [(&str, &str, &[&str]); 4] =
    [("alto", "patch", &[]), ("history", "commit", &[]), ("maps", "pushed", &[]), ("store", "engines", &["small", "window"])];

struct Figure {
    what: &'static str,
    /// What was measured, in one line.
    note: &'static str,
    target: &'static str,
    unit: &'static str,
    ours: &'static str,
    peer: Option<(&'static str, &'static str)>,
}

const FIGURES: [Figure; 14] = [
    Figure {
        what: "diff of two 1,000 x 1,000 cost maps",
        note: "1 % of the cells changed; merge patch and JSON patch written, median of 21, wall time of one thread",
        target: "< 8 ms",
        unit: "ms",
        ours: "diff",
        peer: None,
    },
    Figure {
        what: "  the same, one PID renamed",
        note: "besides the changed cells one row and one column are of another PID, so that no row lies where it lay",
        target: "shown",
        unit: "ms",
        ours: "diff, another PID",
        peer: None,
    },
    Figure {
        what: "commit of that change, durable and visible",
        note: "whole numbers; composed, tagged, rendered, compared, compressed, written and synced: CPU of the committing thread, median of 15",
        target: "< 30 ms",
        unit: "ms",
        ours: "commit durable, whole numbers",
        peer: None,
    },
    Figure {
        what: "  the same, fractions",
        note: "costs with up to four decimals instead",
        target: "< 30 ms",
        unit: "ms",
        ours: "commit durable, fractions",
        peer: None,
    },
    Figure {
        what: "  whole numbers, handed in as a merge patch",
        note: "the same from outside: the patch is read and applied to the map first, as by PATCH of the admin API",
        target: "< 30 ms",
        unit: "ms",
        ours: "commit of a merge patch, durable in a folder, whole numbers",
        peer: None,
    },
    Figure {
        what: "  whole numbers, in memory",
        note: "the commit without the log",
        target: "< 30 ms",
        unit: "ms",
        ours: "commit in memory, whole numbers",
        peer: None,
    },
    Figure {
        what: "pushed bytes, demo series, damping off",
        note: "all cost maps through the six states of the demo network and back to the first, beside RFC 7396 diffs of the documents",
        target: "<= 1.20 of the smallest",
        unit: "bytes",
        ours: "demo, pushed",
        peer: Some(("smallest merge patches", "demo, smallest")),
    },
    provider("pushed bytes, synthetic ISP, routingcost", "provider 5 %, routingcost, damping on", "provider 5 %, routingcost, damping off"),
    provider("pushed bytes, synthetic ISP, delay-ow", "provider 5 %, delay-ow, damping on", "provider 5 %, delay-ow, damping off"),
    Figure {
        what: "  furthest served cost from the computed",
        note: "over all cells of both maps and all changes, in steps of the quantisation that is configured",
        target: "<= 1 step",
        unit: "steps",
        ours: "provider 5 %, furthest",
        peer: None,
    },
    store(
        "store: commit of 300 KB",
        "1,000 synced commits of a patch in a window of 256 versions with a snapshot of 10 MB each 32; median wall time, disk included",
        "ms",
        "redb, window, commit",
        "fjall, window, commit",
    ),
    store("  largest on disk", "the most that its files took meanwhile", "MB", "redb, window, largest", "fjall, window, largest"),
    store(
        "  open after SIGKILL",
        "the process that wrote killed itself; until reads are possible",
        "ms",
        "redb, window, open",
        "fjall, window, open",
    ),
    store(
        "store: commit of 500 bytes",
        "1,000 synced commits of one small value and a head; the second sync of redb is what an open after SIGKILL saves",
        "ms",
        "redb, small, commit",
        "fjall, small, commit",
    ),
];

const fn provider(what: &'static str, on: &'static str, off: &'static str) -> Figure {
    Figure {
        what,
        note: "1,700 PIDs, 250,000 prefixes, 24 link events, delays that tremble by 5 %; median share of the full map that a change pushes",
        target: "< 5 % of the map",
        unit: "%",
        ours: on,
        peer: Some(("damping off", off)),
    }
}

const fn store(what: &'static str, note: &'static str, unit: &'static str, ours: &'static str, peer: &'static str) -> Figure {
    Figure { what, note, target: "shown", unit, ours, peer: Some(("fjall", peer)) }
}

/// Runs the benches; returns the rows and what was printed.
pub fn measure() -> Result<(Vec<Row>, String)> {
    let mut printed = String::new();
    for (package, bench, parts) in BENCHES {
        println!("$ cargo bench --package {package} --bench {bench}");
        let mut command = workspace::cargo();
        command.args(["bench", "--package", package, "--bench", bench, "--"]).args(parts).stdin(Stdio::null()).stderr(Stdio::inherit());
        let out = command.output()?;
        ensure!(out.status.success(), "the bench {bench} of {package} ended with {}", out.status);
        for line in String::from_utf8_lossy(&out.stdout).lines().filter(|line| !line.is_empty()) {
            println!("{line}");
            writeln!(printed, "{line}")?;
        }
    }
    Ok((rows(&printed)?, details(&printed)))
}

/// One line for each row of the table: what was measured.
pub fn notes() -> String {
    FIGURES.iter().map(|figure| format!("\n- {}: {}.", figure.what.trim_start(), figure.note)).collect()
}

/// What is for people.
fn details(printed: &str) -> String {
    printed.lines().filter(|line| !line.starts_with("figure: ")).flat_map(|line| [line, "\n"]).collect()
}

fn rows(printed: &str) -> Result<Vec<Row>> {
    let known: BTreeMap<&str, (f64, &str)> = printed.lines().filter_map(figure).collect();
    FIGURES.iter().map(|figure| row(figure, &known)).collect()
}

/// `figure: NAME = VALUE UNIT`.
fn figure(line: &str) -> Option<(&str, (f64, &str))> {
    let (name, value) = line.strip_prefix("figure: ")?.split_once(" = ")?;
    let (value, unit) = value.split_once(' ')?;
    Some((name, (value.parse().ok()?, unit)))
}

fn row(figure: &Figure, known: &BTreeMap<&str, (f64, &str)>) -> Result<Row> {
    let of = |name: &str| -> Result<f64> {
        let (value, unit) = known.get(name).with_context(|| format!("no bench printed the figure {name:?}"))?;
        ensure!(*unit == figure.unit, "the figure {name:?} is in {unit}, not in {}", figure.unit);
        Ok(*value)
    };
    let show = |value: f64| match figure.unit {
        "bytes" | "MB" => format!("{value:.0} {}", figure.unit),
        unit if value < 10.0 => format!("{value:.2} {unit}"),
        unit => format!("{value:.1} {unit}"),
    };
    let ours = of(figure.ours)?;
    let (mut peer, mut ratio) = (String::new(), String::new());
    if let Some((name, theirs)) = figure.peer {
        let theirs = of(theirs)?;
        (peer, ratio) = (format!("{name} {}", show(theirs)), format!("{:.2}", ours / theirs));
    }
    Ok(Row { what: figure.what.into(), target: figure.target.into(), ours: show(ours), peer, ratio })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_made_of_the_figures_of_its_names_in_its_unit() {
        let made = |printed: &str| {
            let known = printed.lines().filter_map(figure).collect();
            let wanted = store("work", "", "ms", "redb, a, open", "fjall, a, open");
            row(&wanted, &known).map(|row| format!("{}; {}; {}", row.ours, row.peer, row.ratio)).map_err(|error| error.to_string())
        };
        for (printed, want) in [
            ("figure: redb, a, open = 2.000 ms\nfigure: fjall, a, open = 12.5 ms", Ok("2.00 ms; fjall 12.5 ms; 0.16")),
            ("figure: redb, a, open = 2.000 ms\nfjall, a, open = 8.0 ms", Err(r#"no bench printed the figure "fjall, a, open""#)),
            ("figure: redb, a, open = 2 s\nfigure: fjall, a, open = 8 ms", Err(r#"the figure "redb, a, open" is in s, not in ms"#)),
        ] {
            assert_eq!(made(printed), want.map(str::to_owned).map_err(str::to_owned), "{printed}");
        }
        assert_eq!(details("a\nfigure: b = 1 ms\nc\n"), "a\nc\n");
    }
}
