//! One event to thousands of clients: CPU per delivery, time to the last client, memory of a client that waits or does not read.
//!
//! Each row starts its servers anew, so that nothing of a row before is left in them.
mod crowd;
pub mod naive;
pub mod ours;
mod peers;
mod wire;

use super::{
    Effort, Spread,
    page::Row,
    usage::{self, Cpu},
};
use anyhow::{Context, Result};
use crowd::{Crowd, Reading, Script};
use ours::Ours;
use std::{
    path::Path,
    time::{Duration, Instant},
};
use wire::{Next, Protocol, http2_post};

/// A case of the table.
struct Case {
    name: &'static str,
    protocol: Protocol,
    clients: usize,
    message_bytes: usize,
    peer: Peer,
    /// Bound of the CPU per delivery, besides the peer's.
    target: Target,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    Nchan,
    Mosquitto,
    /// Nobody pushes updates: the h2 crate alone.
    Naive,
}

#[derive(Clone, Copy)]
enum Target {
    /// At most the peer's.
    Peer,
    /// At most so many microseconds.
    Micros(f64),
    /// To be shown.
    Shown,
}

fn cases() -> Vec<Case> {
    let sse = || Protocol::Sse;
    let socket = || Protocol::WebSocket { greeting: Vec::new() };
    let poll = || Protocol::LongPoll(Next::Validators { head: String::new() });
    let case = |name, protocol, clients, message_bytes, peer, target| Case { name, protocol, clients, message_bytes, peer, target };
    vec![
        case("SSE", sse(), 10_000, 1 << 10, Peer::Nchan, Target::Peer),
        case("SSE", sse(), 19_000, 1 << 10, Peer::Nchan, Target::Peer),
        case("SSE", sse(), 36_000, 1 << 10, Peer::Nchan, Target::Shown),
        case("SSE", sse(), 10_000, 50 << 10, Peer::Nchan, Target::Micros(23.0)),
        case("WebSocket", socket(), 10_000, 1 << 10, Peer::Nchan, Target::Peer),
        case("WebSocket, beside mosquitto", socket(), 10_000, 1 << 10, Peer::Mosquitto, Target::Peer),
        case("long poll (TIPS)", poll(), 10_000, 1 << 10, Peer::Nchan, Target::Peer),
        case("HTTP/2 push", Protocol::Push, 500, 1 << 10, Peer::Naive, Target::Micros(17.0)),
    ]
}

/// Runs the cases whose name has `filter` in it.
pub fn measure(program: &Path, scratch: &Path, effort: Effort, filter: &str, rows: &mut Vec<Row>) -> Result<()> {
    peers::check()?;
    let rounds = if effort == Effort::Full { 7 } else { 3 };
    let mut failures = Vec::new();
    for case in cases() {
        let clients = if effort == Effort::Full { case.clients } else { case.clients.min(2_000) };
        // Few deliveries a round want more rounds.
        let rounds = if clients < 1_000 { 5 * rounds } else { rounds };
        let name = format!("{}, {clients} clients, {} KB", case.name, case.message_bytes >> 10);
        if !name.to_lowercase().contains(&filter.to_lowercase()) {
            continue;
        }
        let theirs = of_peer(scratch, &case, clients, rounds);
        // A transport that fails must not take the rows of the others with it.
        let both = theirs.and_then(|theirs| Ok((theirs, of_ours(program, scratch, &case, clients, rounds)?)));
        match both {
            Ok((theirs, ours)) => {
                println!("{name}: ours {}", ours.show());
                rows.extend(case_rows(&name, &case, &ours, &theirs));
            }
            Err(error) => {
                println!("{name}: {error:#}");
                failures.push(format!("{name}: {error:#}"));
            }
        }
    }
    if "stalled".contains(filter) {
        match stalled(program, scratch, if effort == Effort::Full { 10_000 } else { 1_000 }) {
            Ok(row) => rows.push(row),
            Err(error) => failures.push(format!("stalled clients: {error:#}")),
        }
    }
    if failures.is_empty() { Ok(()) } else { anyhow::bail!("{}\n\n{}", failures.join("\n"), super::page::table(rows)) }
}

/// The peer's name and figures.
fn of_peer(scratch: &Path, case: &Case, clients: usize, rounds: usize) -> Result<(&'static str, Series)> {
    let body = vec![b'x'; case.message_bytes];
    let (name, theirs) = match case.peer {
        Peer::Naive => {
            let server = naive::start()?;
            let opening = http2_post(&server.http1.to_string(), "/", "application/alto-transport+json", b"");
            let script = Script { address: server.http1, opening, protocol: Protocol::Push, reading: Reading::Eager };
            ("h2 alone", series(server.pid(), &script, clients, rounds, || naive::publish(&server, &body)).context("h2 alone")?)
        }
        Peer::Nchan => {
            let server = peers::nchan(scratch).context("nchan")?;
            let script = peers::nchan_script(server.http1, &case.protocol);
            ("nchan", series(server.pid(), &script, clients, rounds, || peers::nchan_publish(server.http1, &body)).context("nchan")?)
        }
        Peer::Mosquitto => {
            let server = peers::mosquitto(scratch).context("mosquitto")?;
            let script = peers::mosquitto_script(server.http1);
            let publish = || peers::mosquitto_publish(server.http1, &body);
            ("mosquitto", series(server.pid(), &script, clients, rounds, publish).context("mosquitto")?)
        }
    };
    println!("{}, {clients} clients: {name} {}", case.name, theirs.show());
    Ok((name, theirs))
}

fn of_ours(program: &Path, scratch: &Path, case: &Case, clients: usize, rounds: usize) -> Result<Series> {
    let mut ours = Ours::start(program, scratch, clients, case.message_bytes)?;
    let script = ours.script(&case.protocol)?;
    let pid = ours.server.pid();
    let bytes = case.message_bytes;
    series(pid, &script, clients, rounds, || ours.publish(bytes))
}

/// What was measured of one server in one case.
struct Series {
    last_ms: Spread,
    cpu_us: Spread,
    idle_kib: f64,
    accept_us: f64,
    /// Bytes that arrived for each delivery, framing included.
    bytes: f64,
}

impl Series {
    fn show(&self) -> String {
        format!(
            "{} per delivery, last after {}, {:.1} KiB for an idle client, {:.0} us to accept one, {:.0} bytes a delivery",
            self.cpu_us.show_in("us", 1),
            self.last_ms.show_in("ms", 0),
            self.idle_kib,
            self.accept_us,
            self.bytes
        )
    }
}

fn series(pid: u32, script: &Script, clients: usize, rounds: usize, mut publish: impl FnMut() -> Result<()>) -> Result<Series> {
    std::thread::sleep(Duration::from_millis(300));
    let (resident, cpu) = (usage::resident_bytes(pid), Cpu::of(pid));
    let crowd = Crowd::gather(script, clients)?;
    let accept_us = Cpu::of(pid).seconds_since(&cpu) * 1e6 / clients as f64;
    let idle_kib = (usage::resident_bytes(pid) as f64 - resident as f64) / 1024.0 / clients as f64;
    let (mut last, mut per_delivery) = (Vec::new(), Vec::new());
    let before_bytes = crowd.bytes();
    for round in 0..rounds {
        let (expected, before) = (crowd.events() + crowd.size() as u64, Cpu::of(pid));
        let started = Instant::now();
        publish().with_context(|| format!("publishing in round {round}"))?;
        let end = crowd.wait_for(expected)?;
        // A long poll's next request belongs to the delivery.
        crowd.settle(Duration::from_millis(300))?;
        last.push(end.saturating_duration_since(started).as_secs_f64() * 1e3);
        per_delivery.push(Cpu::of(pid).seconds_since(&before) * 1e6 / clients as f64);
        anyhow::ensure!(crowd.events() == expected, "{} events more than published", crowd.events() - expected);
    }
    let bytes = (crowd.bytes() - before_bytes) as f64 / (rounds * clients) as f64;
    Ok(Series { last_ms: Spread::of(&mut last), cpu_us: Spread::of(&mut per_delivery), idle_kib, accept_us, bytes })
}

fn case_rows(name: &str, case: &Case, ours: &Series, (peer, theirs): &(&str, Series)) -> Vec<Row> {
    let row = |what: String, target: String, show: &dyn Fn(&Series) -> String, of: &dyn Fn(&Series) -> f64| Row {
        what,
        target,
        ours: show(ours),
        peer: format!("{peer} {}", show(theirs)),
        ratio: format!("{:.2}", of(ours) / of(theirs)),
    };
    let target = match case.target {
        Target::Peer => format!("<= {peer}"),
        Target::Micros(most) => format!("<= {most:.0} us"),
        Target::Shown => "shown".to_owned(),
    };
    let mut rows = vec![row(format!("{name}: CPU per delivery"), target.clone(), &|s| s.cpu_us.show_in("us", 1), &|s| s.cpu_us.median)];
    let target = if matches!(case.target, Target::Micros(_)) { String::new() } else { target };
    rows.push(row("  to the last client".to_owned(), target, &|s| s.last_ms.show_in("ms", 0), &|s| s.last_ms.median));
    let target = if matches!(case.protocol, Protocol::Sse) { "< 6 KiB".to_owned() } else { String::new() };
    rows.push(row("  memory of an idle client".to_owned(), target, &|s| format!("{:.1} KiB", s.idle_kib), &|s| s.idle_kib));
    rows
}

/// What clients that never read cost the server, beyond their sockets.
fn stalled(program: &Path, scratch: &Path, clients: usize) -> Result<Row> {
    let mut ours = Ours::start(program, scratch, clients, 50 << 10)?;
    let script = Script { reading: Reading::Stalled, ..ours.script(&Protocol::Sse)? };
    let pid = ours.server.pid();
    let crowd = Crowd::gather(&script, clients)?;
    std::thread::sleep(Duration::from_secs(2));
    let idle = usage::resident_bytes(pid);
    // The history the server keeps grows by these changes too: as many as it keeps at most are made before, read by nobody.
    let mut cpu;
    for _ in 0..20 {
        cpu = Cpu::of(pid);
        ours.publish(50 << 10)?;
        while {
            std::thread::sleep(Duration::from_millis(100));
            let now = Cpu::of(pid);
            let busy = now.seconds_since(&cpu) > 0.002;
            cpu = now;
            busy
        } {}
    }
    let full = usage::resident_bytes(pid);
    drop(crowd);
    // The same changes without clients: what the history alone grew by.
    let mut ours = Ours::start(program, scratch, clients, 50 << 10)?;
    std::thread::sleep(Duration::from_secs(2));
    let before = usage::resident_bytes(ours.server.pid());
    for _ in 0..20 {
        ours.publish(50 << 10)?;
    }
    std::thread::sleep(Duration::from_millis(500));
    let history = usage::resident_bytes(ours.server.pid()).saturating_sub(before);
    let each = (full as f64 - idle as f64 - history as f64) / clients as f64;
    println!(
        "stalled: {:.1} MB idle, {:.1} MB after 20 changes of 50 KB that {clients} clients did not read; history alone {:.1} MB",
        idle as f64 / 1e6,
        full as f64 / 1e6,
        history as f64 / 1e6
    );
    Ok(Row {
        what: format!("{clients} stalled SSE clients: memory of each beyond an idle one's"),
        target: "< 1 KiB".into(),
        ours: format!("{:.2} KiB", each / 1024.0),
        peer: String::new(),
        ratio: String::new(),
    })
}
