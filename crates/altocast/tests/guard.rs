//! The change guard over computed maps: held, said everywhere, and let through.
#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]
mod program;

use program::{Server, request, wait_for};
use std::{fs, path::Path};

const NETWORK: &str = "/resources/network-map";

/// A table of four prefixes, all of one PID.
fn write_prefixes(dir: &Path, pid: &str) {
    let table: String = (0..4).map(|n| format!("{pid},192.0.2.{}/28\n", n * 32)).collect();
    fs::write(dir.join("new"), format!("pid,prefix\n{table}")).unwrap();
    fs::rename(dir.join("new"), dir.join("prefixes.csv")).unwrap();
}

fn write_config(dir: &Path, partition_by: &str) {
    let text = format!(
        "[maps]\npartition-by = \"{partition_by}\"\n[[source]]\nname = \"prefixes\"\nkind = \"prefix-csv\"\nfiles = [\"prefixes.csv\"]\n"
    );
    fs::write(dir.join("altocast.toml"), text).unwrap();
}

fn serve(dir: &Path) -> Server {
    write_prefixes(dir, "A");
    write_config(dir, "group");
    Server::start(&["--config", dir.join("altocast.toml").to_str().unwrap()])
}

fn confirm(server: &Server) {
    let reply = request(&server.admin, "POST", "/v1/guard/confirm", &[], b"");
    assert_eq!(reply.status, 200, "{reply:?}");
}

/// What status, metrics and `/v1/guard` say together.
fn holds(server: &Server) -> bool {
    let held = !server.admin("GET", "/v1/guard", "").json()["held"].is_null();
    let status = server.status();
    assert_eq!(status["guard-holds"], held, "{status}");
    let troubles = status["troubles"].as_array().unwrap();
    assert_eq!(troubles.len(), usize::from(held), "one trouble as long as maps are held, none after: {status}");
    let metrics = String::from_utf8(server.admin("GET", "/metrics", "").body).unwrap();
    assert!(metrics.lines().any(|line| line == format!("alto_guard_holds {}", u8::from(held))), "{metrics}");
    // What is served is good: a load balancer has no reason to leave.
    assert_eq!(server.admin("GET", "/readyz", "").status, 200);
    held
}

#[test]
fn a_computed_map_that_moves_too_much_waits_for_its_confirmation() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path());
    assert!(!holds(&server));
    let before = server.get(NETWORK).etag();
    write_prefixes(dir.path(), "B");
    server.wait_log(&["source prefixes", "held back by the change guard", "/v1/guard/confirm"]);
    assert!(holds(&server));
    assert_eq!(server.get(NETWORK).etag(), before);
    confirm(&server);
    server.wait_log(&["change guard", "confirmed", "moved 4 of"]);
    assert!(!holds(&server));
    assert!(server.get(NETWORK).json()["network-map"]["B"].is_object());
    assert_eq!(request(&server.admin, "POST", "/v1/guard/confirm", &[], b"").status, 404, "nothing is held");
}

#[test]
fn a_change_that_is_taken_back_is_held_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path());
    write_prefixes(dir.path(), "B");
    server.wait_log(&["held back by the change guard"]);
    write_prefixes(dir.path(), "A");
    wait_for("an end of the hold", || server.admin("GET", "/v1/guard", "").json()["held"].is_null().then_some(()));
    server.wait_log(&["source prefixes", "as published"]);
    assert!(!holds(&server));
    assert!(server.get(NETWORK).json()["network-map"]["A"].is_object());
}

#[test]
fn a_configuration_whose_maps_are_held_is_in_force_and_confirmed_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path());
    // No prefix has a router: all move to the default PID.
    write_config(dir.path(), "router");
    server.signal("HUP");
    server.wait_log(&["configuration", "held back by the change guard"]);
    server.wait_log(&["configuration reloaded"]);
    assert!(holds(&server));
    confirm(&server);
    assert!(!holds(&server));
    let confirmed = server.get(NETWORK).etag();
    // The next computation goes by the same configuration.
    write_prefixes(dir.path(), "B");
    wait_for("the next look at the table", || (server.status()["sources"][0]["observations"].as_u64() >= Some(2)).then_some(()));
    fs::remove_file(dir.path().join("prefixes.csv")).unwrap();
    server.wait_log(&["source prefixes cannot be used"]);
    assert_eq!(server.status()["guard-holds"], false);
    assert_eq!(server.get(NETWORK).etag(), confirmed);
}
