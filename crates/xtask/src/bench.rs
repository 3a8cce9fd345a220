//! `cargo xtask bench`: every row of the speed table, each peer measured in the same run.
//!
//! CPU is the server's own (all its threads, user and kernel) over what it served, medians of rounds that take turns with the peer;
//! wall time would also measure the client, which shares the machine. What the crates' own benches print goes into the page as it is.
//! The bench has parts that can be run alone; each writes its own section of the page.
mod crates;
mod exchange;
mod fan_out;
mod history;
mod load;
mod maps;
mod page;
mod prefixes;
mod restart;
mod servers;
mod usage;
mod webhook;

use crate::workspace;
use anyhow::{Context, Result, bail, ensure};
use load::{Http, Plan};
use page::Row;
use std::{
    fmt::Write,
    fs,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};
use usage::Cpu;

/// How long to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Medians of 5 rounds of 2 s; writes docs/benchmarks.md.
    Full,
    /// 2 rounds of half a second, to see that it works; prints only.
    Quick,
}

/// What can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Ready maps beside nginx, memory, time to the first answer.
    Maps,
    /// One event to thousands of clients, beside nchan and mosquitto.
    FanOut,
    /// Notifications, beside h2load.
    Webhook,
    /// Changes, commits, pushed bytes, the store's engine.
    History,
    /// Coming back with a long history.
    Restart,
    /// The benches of the crates.
    Crates,
}

/// The parts by name, in the order of the page.
const PARTS: [(&str, Part); 6] = [
    ("maps", Part::Maps),
    ("fan-out", Part::FanOut),
    ("webhook", Part::Webhook),
    ("history", Part::History),
    ("restart", Part::Restart),
    ("crates", Part::Crates),
];

/// Is a peer of our push until it is killed.
pub fn naive_push(address: &str, control: &str) -> Result<()> {
    fan_out::naive::run(address, control)
}

/// Measures the named parts (all, when none is named) and prints; without `--quick` it writes their sections of the page.
pub fn run(args: &[&str]) -> Result<()> {
    let effort = if args.contains(&"--quick") { Effort::Quick } else { Effort::Full };
    // What chooses within a part: `fan-out:sse` runs the rows whose name has it.
    let mut chosen = Vec::new();
    for arg in args.iter().filter(|arg| **arg != "--quick") {
        let (name, filter) = arg.split_once(':').unwrap_or((arg, ""));
        let Some((_, part)) = PARTS.iter().find(|(known, _)| *known == name) else {
            bail!("there is no part {name}; the parts are {}", PARTS.map(|(name, _)| name).join(", "));
        };
        chosen.push((name, *part, filter));
    }
    if chosen.is_empty() {
        chosen = PARTS.iter().map(|(name, part)| (*name, *part, "")).collect();
    }
    if cfg!(debug_assertions) {
        // The client must not be the slow part: build ourselves optimised and go on there.
        let mut again = workspace::cargo();
        again.args(["run", "--release", "--quiet", "--package", "xtask", "--", "bench"]).args(args);
        return workspace::run(&mut again);
    }
    ensure!(Path::new("/usr/sbin/nginx").exists() || workspace::on_path("nginx"), "the peer is missing; apt-get install nginx");
    let program = workspace::build_program(true)?;
    let scratch = workspace::target_dir()?.join("bench");
    fs::remove_dir_all(&scratch).or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    fs::create_dir_all(&scratch)?;
    // A part that fails leaves its section of the page as it was, and does not take the parts after it along.
    let mut failures = Vec::new();
    for (name, part, filter) in chosen {
        let started = Instant::now();
        let measured = measure(part, filter, effort, &program, &scratch).and_then(|(rows, details)| {
            println!("\n{}", page::table(&rows));
            if effort == Effort::Full && filter.is_empty() { page::write(name, &rows, &details) } else { Ok(()) }
        });
        println!("part {name}: {:.0} s", started.elapsed().as_secs_f64());
        if let Err(error) = measured {
            println!("part {name} failed: {error:#}");
            failures.push(name);
        }
    }
    ensure!(failures.is_empty(), "failed, and not written: {}", failures.join(", "));
    Ok(())
}

/// The rows of a part, and what else it printed.
fn measure(part: Part, filter: &str, effort: Effort, program: &Path, scratch: &Path) -> Result<(Vec<Row>, String)> {
    let mut rows = Vec::new();
    let mut details = String::new();
    match part {
        Part::Maps => {
            http(program, scratch, effort, &mut rows)?;
            rows.push(memory(program, scratch, Kept::InMemory)?);
            rows.push(memory(program, scratch, Kept::OnDisk)?);
            rows.push(first_answer(program, effort)?);
        }
        Part::FanOut => fan_out::measure(program, scratch, effort, filter, &mut rows)?,
        Part::Webhook => rows = webhook::measure(program, scratch, effort)?,
        Part::History => (rows, details) = history::measure()?,
        Part::Restart => rows.push(restart::measure(program, scratch, effort)?),
        Part::Crates => {
            details = cargo_bench(scratch)?;
            rows.extend(crates::rows(&details)?);
        }
    }
    Ok((rows, details))
}

/// GET of ready maps, ours and nginx with the same bytes, in turns.
fn http(program: &Path, scratch: &Path, effort: Effort, rows: &mut Vec<Row>) -> Result<()> {
    let folder = scratch.join("maps");
    fs::create_dir_all(&folder)?;
    for (name, pids) in [("large", maps::LARGE_PIDS), ("small", maps::SMALL_PIDS)] {
        maps::write_network(&folder, name, pids)?;
        maps::write_costs(&folder, name, pids)?;
    }
    let (large, small) = ("/resources/large-costs", "/resources/small-costs");
    let folder = folder.to_str().context("the target folder's name is not UTF-8")?;
    let (ours, _) = servers::altocast(program, &["--maps", folder], large)?;
    // nginx gets the very bytes we serve, plain and compressed.
    let files = scratch.join("files");
    fs::create_dir_all(files.join("resources"))?;
    for path in [large, small] {
        for (coding, suffix) in [("identity", ""), ("gzip", ".gz")] {
            let body = load::fetch(ours.http1, path, coding)?;
            println!("{path} {coding}: {} bytes", body.len());
            fs::write(files.join(format!("{}{suffix}", &path[1..])), body)?;
        }
    }
    let peer = servers::nginx(&files, large)?;
    let (rounds, seconds) = if effort == Effort::Full { (5, 2.0) } else { (2, 0.5) };
    let cases = [
        ("GET 10 KB, HTTP/1.1", small, Http::One, "identity", 16, Unit::Request, 1.0),
        ("GET 10 KB gzip, HTTP/1.1", small, Http::One, "gzip", 16, Unit::Request, 1.0),
        ("GET 10 KB, HTTP/2", small, Http::Two, "identity", 16, Unit::Request, 1.0),
        ("GET 10 MB, HTTP/1.1", large, Http::One, "identity", 4, Unit::Gigabyte, 1.05),
        ("GET 10 MB gzip, HTTP/1.1", large, Http::One, "gzip", 4, Unit::Gigabyte, 1.05),
    ];
    for (what, path, http, coding, connections, unit, target) in cases {
        let (mut ours_costs, mut peer_costs) = (Vec::new(), Vec::new());
        for round in 0..=rounds {
            for (server, costs) in [(&ours, &mut ours_costs), (&peer, &mut peer_costs)] {
                let address: SocketAddr = if http == Http::Two { server.http2 } else { server.http1 };
                // The first round warms up: caches, compressed forms, connections of the allocator.
                let duration = Duration::from_secs_f64(if round == 0 { 0.3 } else { seconds });
                let plan = Plan { address, path: path.to_owned(), http, coding, connections, duration };
                let before = Cpu::of(server.pid());
                let tally = load::run(&plan).with_context(|| format!("{what} from {address}"))?;
                let cpu = Cpu::of(server.pid()).seconds_since(&before);
                if round > 0 {
                    costs.push(match unit {
                        Unit::Request => cpu * 1e6 / tally.requests as f64,
                        Unit::Gigabyte => cpu * 1e9 / tally.bytes as f64,
                    });
                }
            }
        }
        let (mine, theirs) = (Spread::of(&mut ours_costs), Spread::of(&mut peer_costs));
        println!("{what}: ours {} nginx {}", mine.show(unit), theirs.show(unit));
        rows.push(Row {
            what: format!("{what}, server CPU"),
            target: format!("<= {target:.2} of nginx"),
            ours: mine.show(unit),
            peer: format!("nginx {}", theirs.show(unit)),
            ratio: format!("{:.2}", mine.median / theirs.median),
        });
    }
    Ok(())
}

/// Where the history is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    InMemory,
    OnDisk,
}

/// What a cost map of a million costs adds to the resident memory of a server that already has its network map. With the log on disk there is
/// besides what the allocator keeps of what writing the map took.
fn memory(program: &Path, scratch: &Path, kept: Kept) -> Result<Row> {
    let resident = |costs: bool| -> Result<(u64, u64)> {
        let folder = scratch.join(if costs { "memory-with" } else { "memory-without" });
        fs::create_dir_all(&folder)?;
        maps::write_network(&folder, "large", maps::LARGE_PIDS)?;
        let mut path = "/resources/large-network";
        if costs {
            maps::write_costs(&folder, "large", maps::LARGE_PIDS)?;
            path = "/resources/large-costs";
        }
        let mut args = vec!["--maps", folder.to_str().context("UTF-8")?];
        args.extend((kept == Kept::InMemory).then_some("--in-memory"));
        let (server, _) = servers::altocast(program, &args, path)?;
        let json = load::fetch(server.http1, path, "identity")?.len() as u64;
        // Whatever starting left behind is handed back or not by then; this is what stays.
        std::thread::sleep(Duration::from_secs(3));
        Ok((usage::resident_bytes(server.pid()), json))
    };
    let ((without, _), (with, json)) = (resident(false)?, resident(true)?);
    let costs = (maps::LARGE_PIDS * maps::LARGE_PIDS) as f64;
    let each = (with as f64 - without as f64 - json as f64) / costs;
    println!(
        "memory: {:.1} MB without the cost map, {:.1} MB with it, its JSON {:.1} MB",
        without as f64 / 1e6,
        with as f64 / 1e6,
        json as f64 / 1e6
    );
    Ok(Row {
        what: match kept {
            Kept::InMemory => "memory of a cost map (RSS, less one copy of its JSON), in memory".into(),
            Kept::OnDisk => "  with the log on disk".into(),
        },
        target: match kept {
            Kept::InMemory => "< 16 bytes per cost".into(),
            Kept::OnDisk => "shown".into(),
        },
        ours: format!("{each:.1} bytes per cost"),
        peer: String::new(),
        ratio: String::new(),
    })
}

/// From starting the process to a complete cost map of the demo network.
fn first_answer(program: &Path, effort: Effort) -> Result<Row> {
    let rounds = if effort == Effort::Full { 11 } else { 3 };
    let mut times = Vec::new();
    for _ in 0..rounds {
        let (_server, took) = servers::altocast(program, &[], "/resources/cost-map-routingcost")?;
        times.push(took.as_secs_f64() * 1e3);
    }
    let spread = Spread::of(&mut times);
    println!("start to first answer: {}", spread.show_in("ms", 1));
    Ok(Row {
        what: "start to first cost map, demo network".into(),
        target: "< 100 ms".into(),
        ours: spread.show_in("ms", 1),
        peer: String::new(),
        ratio: String::new(),
    })
}

/// The benches of the part `crates`; those of `history` are in its file.
const CRATES_BENCHES: [&str; 5] = ["cost_map", "topology", "guidance", "lpm", "recompute"];

/// Runs the benches of the crates; returns what they printed.
fn cargo_bench(scratch: &Path) -> Result<String> {
    let mut bench = workspace::cargo();
    bench
        .args(["bench", "--package", "alto", "--package", "topology", "--package", "maps"])
        .args(CRATES_BENCHES.map(|name| ["--bench", name]).concat());
    match prefixes::ranges(scratch) {
        Ok(files) => _ = bench.env("ALTOCAST_LPM_RANGES", files),
        Err(error) => println!("note: no real prefix table ({error:#}); the benches make one up and say so"),
    }
    println!("$ cargo bench --bench {}", CRATES_BENCHES.join(" --bench "));
    let out = bench.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(out.status.success(), "cargo bench ended with {}", out.status);
    let target = format!("{}/", workspace::target_dir()?.display());
    let mut details = String::new();
    // The unit test harness of each crate reports too; it has no benches. The page speaks of no one's folders.
    for line in String::from_utf8_lossy(&out.stdout).lines().filter(|line| !line.is_empty()) {
        println!("{line}");
        if !line.starts_with("running ") && !line.starts_with("test ") {
            writeln!(details, "{}", line.replace(&target, ""))?;
        }
    }
    Ok(details)
}

/// What a figure is per.
#[derive(Debug, Clone, Copy)]
enum Unit {
    Request,
    Gigabyte,
}

/// Median and extremes of the rounds.
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: &mut [f64]) -> Self {
        values.sort_by(f64::total_cmp);
        Self { median: values[values.len() / 2], min: values[0], max: values[values.len() - 1] }
    }

    fn show(&self, unit: Unit) -> String {
        match unit {
            Unit::Request => self.show_in("us", 1),
            Unit::Gigabyte => self.show_in("s/GB", 3),
        }
    }

    fn show_in(&self, unit: &str, digits: usize) -> String {
        format!("{:.digits$} {unit} ({:.digits$}-{:.digits$})", self.median, self.min, self.max)
    }
}
