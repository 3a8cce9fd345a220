//! `serve --maps DIR`: documents as they are, watched, and never worse than their last good version.
#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]
mod program;

use program::{
    Server,
    documents::{costs, network, write},
    request, wait_for,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

#[test]
fn a_folder_is_served_watched_and_survives_a_broken_file() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "net.json", &network("a"));
    write(dir.path(), "cost.json", &costs(5));
    let server = Server::start(&["--maps", dir.path().to_str().unwrap()]);
    assert_eq!(server.cost("cost", "a", "b"), Some(5.0));
    let resources = server.get("/directory").json()["resources"].as_object().unwrap().len();
    assert!(resources >= 2, "no demo beside a folder: {resources}");
    assert!(server.get("/resources/network-map").status == 404);

    write(dir.path(), "cost.json", &costs(7));
    wait_for("the changed cost", || (server.cost("cost", "a", "b") == Some(7.0)).then_some(()));

    // Broken: the last good version stays, and the log, status and nobody else complain.
    write(dir.path(), "cost.json", &costs(9)[..60]);
    server.wait_log(&["cost.json", "last good version stays"]);
    assert_eq!(server.cost("cost", "a", "b"), Some(7.0));
    let trouble = server.status()["sources"][0]["trouble"].to_string();
    assert!(trouble.contains("cost.json"), "{trouble}");
    // A cost map of PIDs that the network map does not have is as broken.
    write(dir.path(), "cost.json", &costs(9).replace("\"a\":0", "\"nowhere\":0"));
    wait_for("the refusal of unknown PIDs", || server.status()["sources"][0]["trouble"].to_string().contains("nowhere").then_some(()));
    assert_eq!(server.cost("cost", "a", "b"), Some(7.0));

    write(dir.path(), "cost.json", &costs(9));
    wait_for("the repaired cost", || (server.cost("cost", "a", "b") == Some(9.0)).then_some(()));
    wait_for("an end of the trouble", || server.status()["sources"][0]["trouble"].is_null().then_some(()));

    // New files come, removed ones go.
    write(dir.path(), "other.json", &network("a").replace("\"net\"", "\"other\""));
    wait_for("the new file", || (server.get("/resources/other").status == 200).then_some(()));
    fs::remove_file(dir.path().join("other.json")).unwrap();
    wait_for("its end", || (server.get("/resources/other").status == 404).then_some(()));
}

#[test]
fn a_file_that_was_never_good_has_no_last_good_version() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "net.json", &network("a"));
    let server = Server::start(&["--maps", dir.path().to_str().unwrap()]);
    write(dir.path(), "new.json", "{");
    server.wait_log(&["new.json cannot be used, and there is no good version of it: "]);
    write(dir.path(), "cost.json", &costs(5).replace("\"a\":0", "\"nowhere\":0"));
    server.wait_log(&["cost.json is refused, and there is no good version of it: "]);
    write(dir.path(), "net.json", "{");
    server.wait_log(&["net.json cannot be used, its last good version stays: "]);
}

#[test]
fn a_file_that_did_not_change_does_not_undo_a_put() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "net.json", &network("a"));
    write(dir.path(), "cost.json", &costs(5));
    let server = Server::start(&["--maps", dir.path().to_str().unwrap()]);
    let put = server.put("cost", &costs(50));
    assert_eq!(put.status / 100, 2, "{put:?}");
    assert_eq!(server.cost("cost", "a", "b"), Some(50.0));
    // Touched and rewritten as it was, then another file as a sign that the folder was looked at since.
    write(dir.path(), "cost.json", &costs(5));
    write(dir.path(), "sign.json", &network("a").replace("\"net\"", "\"sign\""));
    wait_for("the sign", || (server.get("/resources/sign").status == 200).then_some(()));
    assert_eq!(server.cost("cost", "a", "b"), Some(50.0));
    // Not even a reload of the configuration.
    server.signal("HUP");
    server.wait_log(&["configuration reloaded"]);
    assert_eq!(server.cost("cost", "a", "b"), Some(50.0));
    // A file that did change speaks again.
    write(dir.path(), "cost.json", &costs(6));
    wait_for("the changed file", || (server.cost("cost", "a", "b") == Some(6.0)).then_some(()));
}

#[test]
fn files_that_depend_on_each_other_change_together() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "net.json", &network("a"));
    write(dir.path(), "cost.json", &costs(5));
    let server = Server::start(&["--maps", dir.path().to_str().unwrap()]);
    // The cost map first: until its network map follows it is refused, then taken without being touched again.
    write(dir.path(), "cost.json", &costs(5).replace("\"a\"", "\"c\""));
    server.wait_log(&["cost.json", "refused"]);
    assert_eq!(server.cost("cost", "a", "b"), Some(5.0));
    write(dir.path(), "net.json", &network("c"));
    wait_for("both", || (server.cost("cost", "c", "b") == Some(5.0)).then_some(()));
}

#[test]
fn one_bad_document_at_the_start_does_not_keep_the_others_away() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "net.json", &network("a"));
    write(dir.path(), "bad.json", "{");
    let server = Server::start(&["--maps", dir.path().to_str().unwrap()]);
    assert_eq!(server.get("/resources/net").status, 200);
    server.wait_log(&["bad.json"]);
    assert_eq!(request(&server.admin, "GET", "/readyz", &[], b"").status, 200);
}

const MAPS: &str = "[maps]\nfolder = \"maps\"\n";

/// A network map and a cost map in the folder `maps`, as a configuration says that is beside it.
fn configured(dir: &Path) -> (Server, PathBuf) {
    let (maps, config) = (dir.join("maps"), dir.join("altocast.toml"));
    fs::create_dir(&maps).unwrap();
    write(&maps, "net.json", &network("a"));
    write(&maps, "cost.json", &costs(5));
    fs::write(&config, MAPS).unwrap();
    (Server::start(&["--config", config.to_str().unwrap()]), maps)
}

/// A source more: everything is read again.
fn add_source(server: &Server, dir: &Path) {
    fs::write(dir.join("prefixes.csv"), "pid,prefix\nC,203.0.113.0/24\n").unwrap();
    let source = "[[source]]\nname = \"prefixes\"\nkind = \"prefix-csv\"\nfiles = [\"prefixes.csv\"]\n";
    fs::write(dir.join("altocast.toml"), format!("{MAPS}{source}")).unwrap();
    server.signal("HUP");
    // What is published is seen before status knows of the new sources; this is said after both.
    server.wait_log(&["configuration reloaded"]);
    assert_eq!(server.get("/resources/network-map").status, 200);
}

#[test]
fn a_reload_withdraws_no_document_that_is_broken_just_then() {
    let dir = tempfile::tempdir().unwrap();
    let (server, maps) = configured(dir.path());
    write(&maps, "cost.json", "{");
    server.wait_log(&["cost.json", "last good version stays"]);
    add_source(&server, dir.path());
    assert_eq!(server.cost("cost", "a", "b"), Some(5.0));
    let sources = server.status()["sources"].clone();
    assert!(sources[0]["name"] == "prefixes" && sources[0]["observations"].as_u64() >= Some(1), "{sources}");
    assert!(sources[1]["trouble"].as_str().is_some_and(|why| why.contains("cost.json")), "{sources}");
    write(&maps, "cost.json", &costs(6));
    wait_for("the repaired document", || (server.cost("cost", "a", "b") == Some(6.0)).then_some(()));
}

#[test]
fn a_network_map_that_others_need_leaves_with_them() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "net.json", &network("a"));
    write(dir.path(), "cost.json", &costs(5));
    let server = Server::start(&["--maps", dir.path().to_str().unwrap()]);
    fs::remove_file(dir.path().join("net.json")).unwrap();
    server.wait_log(&["net.json"]);
    fs::remove_file(dir.path().join("cost.json")).unwrap();
    wait_for_end(&server);
}

fn wait_for_end(server: &Server) {
    for id in ["cost", "net"] {
        wait_for(&format!("the end of {id}"), || (server.get(&format!("/resources/{id}")).status == 404).then_some(()));
    }
}

#[test]
fn a_network_map_that_others_need_refuses_no_reload() {
    let dir = tempfile::tempdir().unwrap();
    let (server, maps) = configured(dir.path());
    fs::remove_file(maps.join("net.json")).unwrap();
    server.wait_log(&["net.json"]);
    add_source(&server, dir.path());
    fs::remove_file(maps.join("cost.json")).unwrap();
    wait_for_end(&server);
}
