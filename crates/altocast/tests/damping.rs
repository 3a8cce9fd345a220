//! `[damping]`: costs that tremble within their step make no versions, a change beyond it makes one.
#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]
mod program;

use program::{Server, documents::write, wait_for};
use std::path::Path;

const COSTS: &str = "cost-map-delay-rt";

/// The round trip between A and B, milliseconds.
fn measure(dir: &Path, round_trip: f64) {
    write(dir, "latency.csv", &format!("source,destination,avg\nA,B,{round_trip}\nB,A,{round_trip}\n"));
}

fn configure(dir: &Path, damping: &str) {
    let source = |kind: &str, name: &str| {
        format!("[[source]]\nname = \"{name}\"\nkind = \"{kind}\"\nfiles = [\"{name}.csv\"]\npoll-seconds = 0.05\n")
    };
    let sources = source("prefix-csv", "prefixes") + &source("latency-pairs", "latency");
    write(dir, "altocast.toml", &format!("[maps]\nsettle-seconds = 0.05\n{damping}\n{sources}"));
}

fn serve(dir: &Path, damping: &str) -> Server {
    write(dir, "prefixes.csv", "pid,prefix\nA,192.0.2.0/24\nB,198.51.100.0/24\n");
    measure(dir, 5.0);
    configure(dir, damping);
    Server::start(&["--config", dir.join("altocast.toml").to_str().unwrap()])
}

/// Number of the newest version, and what it says of A to B in microseconds.
fn served(server: &Server) -> (u64, Option<f64>) {
    let history = server.admin("GET", &format!("/v1/resources/{COSTS}/history"), "").json();
    (history["seq"].as_u64().unwrap(), server.cost(COSTS, "A", "B"))
}

#[test]
fn what_trembles_within_its_step_is_no_version() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), "[damping]\nsteps = { \"delay-rt\" = 1000 }");
    assert_eq!(served(&server), (1, Some(5_000.0)));
    let unpublished = || server.log().lines().filter(|line| line.contains("what is served stays")).count();
    for (round_trip, times) in [(5.9, 1), (4.1, 2), (5.4, 3)] {
        measure(dir.path(), round_trip);
        wait_for(&format!("{round_trip} ms to be computed"), || (unpublished() == times).then_some(()));
        assert_eq!(served(&server), (1, Some(5_000.0)), "{round_trip}");
    }
    measure(dir.path(), 8.2);
    wait_for("what is beyond the step", || (served(&server).1 != Some(5_000.0)).then_some(()));
    assert_eq!(served(&server), (2, Some(8_000.0)), "the very next version, and a multiple of the step");

    // A reload damps otherwise what was computed already.
    configure(dir.path(), "");
    server.signal("HUP");
    wait_for("the cost as it was measured", || (served(&server).1 != Some(8_000.0)).then_some(()));
    assert_eq!(served(&server), (3, Some(8_200.0)));
}

#[test]
fn what_waits_for_the_interval_is_told_at_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path(), "[damping]\ninterval-seconds = 1");
    measure(dir.path(), 6.0);
    // Nothing else happens: the maps come when their time has come, or never.
    wait_for("the change", || (served(&server).1 == Some(6_000.0)).then_some(()));
    assert_eq!(served(&server).0, 2);
}
