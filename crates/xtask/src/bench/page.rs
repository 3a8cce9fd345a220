//! The page `docs/benchmarks.md`: a section for each part of the bench, so that a part can be measured again without the others.
//!
//! Invariant: writing one part leaves the other sections as they are, with the machine and the day they were measured on.
use super::{PARTS, history, maps};
use crate::workspace;
use anyhow::Result;
use std::{collections::BTreeMap, fs, path::Path, process::Command};

/// One line of a table.
pub struct Row {
    /// What is measured.
    pub what: String,
    /// What it is to reach.
    pub target: String,
    /// What we reach.
    pub ours: String,
    /// What the peer reaches.
    pub peer: String,
    /// Ours over the peer's.
    pub ratio: String,
}

const HEAD: &str = "# Benchmarks

Made by `cargo xtask bench`, which builds everything optimised and starts all servers on free ports; `cargo xtask bench fan-out` measures one part
and rewrites its section. It needs `apt-get install nginx libnginx-mod-nchan mosquitto nghttp2-client`. Do not edit.
";

/// Replaces the section of a part.
pub fn write(part: &str, rows: &[Row], details: &str) -> Result<()> {
    let file = workspace::root().join("docs/benchmarks.md");
    let known = fs::read_to_string(&file).unwrap_or_default();
    fs::write(&file, with_section(&known, part, rows, details, &machine()))?;
    println!("wrote the section {part} of {}", file.display());
    Ok(())
}

/// The page with the section of a part made anew.
fn with_section(page: &str, part: &str, rows: &[Row], details: &str, machine: &str) -> String {
    let mut sections = sections(page);
    let details = if details.is_empty() { String::new() } else { format!("\nWhat these benches printed:\n\n```text\n{details}```\n") };
    sections
        .insert(part.to_owned(), format!("{}\n{}\n- Machine: {machine}.\n{details}", table(rows), notes(part)).replace("\n\n- ", "\n- "));
    let text = PARTS
        .iter()
        .filter_map(|(name, _)| sections.get(*name).map(|section| format!("\n## {name}\n\n{}\n", section.trim())))
        .collect::<String>();
    HEAD.to_owned() + &text
}

/// The sections of the page by the name of their part.
fn sections(page: &str) -> BTreeMap<String, String> {
    let named = page.split("\n## ").skip(1).filter_map(|section| section.split_once('\n'));
    named.map(|(name, text)| (name.to_owned(), text.trim().to_owned())).collect()
}

fn notes(part: &str) -> String {
    match part {
        "maps" => format!(
            "
- HTTP rows: both servers serve the same bytes over loopback, in turns; CPU is all threads of the server, user and kernel, over what it served;
  median (min-max) of 5 rounds of 2 s; 16 connections for 10 KB, 4 for 10 MB. nginx has two workers, sendfile, open_file_cache, gzip_static, no log;
  its HTTP/2 listener has sendfile off, without which nginx 1.22 waits for delayed acknowledgements.
- The 10 MB map has {} PIDs and a million costs. Memory is the difference in resident memory between a server with and without its cost map, 3 s after
  the first GET, less one copy of the JSON.",
            maps::LARGE_PIDS
        ),
        "fan-out" => "
- One change of a cost map reaches every client that follows it; a peer is handed a message of the same size. Clients and server share the machine and
  loopback, where the receiving half of TCP runs in the sender's call. CPU is that of the server's whole process tree, committing the change included,
  over deliveries; time runs from the start of the request that publishes to the last byte at the last client. Median (min-max) of the rounds.
- Memory is what the resident memory of the process tree grew by when the clients had connected, and nothing was sent yet. Stalled clients read
  nothing after the head while changes go on until no socket takes more.
- nchan: nginx with two workers and channels in shared memory; mosquitto: MQTT over WebSocket, nothing persistent.
- Every message arrived at every client, else there would be no row."
            .to_owned(),
        "webhook" => "
- A change of a cost map is told to every subscription, as a merge patch of 1 KB; nginx with one worker takes it. h2load posts the body of such a
  notification to the same nginx, with one thread and as many connections (8), in turns. Time runs from the start of the request that publishes to the
  last notification that nginx counts, which is asked every 2 ms; median (min-max) of 9 rounds.
- Memory is what the resident memory grew by when all had subscribed and been told the first full copy.
- Those that fail or hang are 300 contacts with ten subscriptions each: half refuse connections, half take them and say nothing."
            .to_owned(),
        "history" => history::notes(),
        "restart" => "
- The server is killed with SIGKILL after it acknowledged the last change, and started again on the same data directory; the time runs from the start
  of the process to the whole resource in its newest version."
            .to_owned(),
        _ => String::new(),
    }
}

fn machine() -> String {
    let first_line = |program: &str, argument: &str| -> String {
        let out = Command::new(program).arg(argument).output();
        let text = out.map(|out| String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()).unwrap_or_default();
        text.lines().next().unwrap_or("unknown").to_owned()
    };
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("").trim_start_matches(['\t', ' ', ':']);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let nginx = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
    format!("{cores} cores ({model}), Linux {}; {}; {}", kernel.trim(), first_line("rustc", "--version"), first_line(nginx, "-v"))
}

/// The rows as an aligned table that is also Markdown.
pub fn table(rows: &[Row]) -> String {
    let head = ["what", "target", "ours", "peer", "ratio"].map(str::to_owned);
    let cells = rows.iter().map(|row| [&row.what, &row.target, &row.ours, &row.peer, &row.ratio].map(String::clone));
    let all: Vec<[String; 5]> = std::iter::once(head).chain(cells).collect();
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    let mut text = String::new();
    for (at, row) in all.iter().enumerate() {
        let padded: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text += &format!("| {} |\n", padded.join(" | "));
        if at == 0 {
            text += &format!("| {} |\n", widths.map(|width| "-".repeat(width)).join(" | "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_found_as_it_was_written() {
        let page = format!("{HEAD}\n## maps\n\n| a |\n\n- note\n\n## fan-out\n\ntext\n");
        let sections = sections(&page);
        assert_eq!(sections["maps"], "| a |\n\n- note");
        assert_eq!(sections["fan-out"], "text");
    }

    #[test]
    fn a_part_that_is_measured_again_leaves_the_others_as_they_were() {
        let row = |ours: &str| Row { what: "w".into(), target: "t".into(), ours: ours.into(), peer: String::new(), ratio: String::new() };
        let mut page = "# Benchmarks\n\n| of an older layout |\n".to_owned();
        for (part, _) in PARTS {
            page = with_section(&page, part, &[row(&format!("0x1 {part}"))], "line 1\n\nline 2\n", "machine 1");
        }
        assert!(!page.contains("older layout"), "{page}");
        let before = sections(&page);
        assert_eq!(before.len(), PARTS.len());
        for (part, _) in PARTS {
            let again = sections(&with_section(&page, part, &[row("0x2")], "", "machine 2"));
            for (other, _) in PARTS {
                if other == part {
                    assert!(again[other].contains("0x2") && again[other].contains("machine 2") && !again[other].contains("0x1"));
                } else {
                    assert_eq!(again[other], before[other], "{other} after {part}");
                }
            }
        }
    }
}
