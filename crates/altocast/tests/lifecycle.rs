//! Start, reload and stop.
#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]
mod program;

use program::{Connection, Server, program, run, text, wait_for};
use std::{fs, net::TcpListener, path::Path};

const GRAPH: &str = r#"<?xml version="1.0"?><graphml><key id="l" for="node" attr.name="label" attr.type="string"/><key id="w" for="edge" attr.name="weight" attr.type="double"/>
<graph edgedefault="undirected"><node id="0"><data key="l">A</data></node><node id="1"><data key="l">B</data></node>
<edge source="0" target="1"><data key="w">WEIGHT</data></edge></graph></graphml>"#;

/// A configured server: a link A-B of the given weight, a prefix behind each.
fn configure(dir: &Path, weight: &str, more: &str) -> String {
    fs::write(dir.join("graph.graphml"), GRAPH.replace("WEIGHT", weight)).unwrap();
    fs::write(dir.join("prefixes.csv"), "pid,prefix\nA,192.0.2.0/24\nB,198.51.100.0/24\n").unwrap();
    write_config(dir, more)
}

fn write_config(dir: &Path, more: &str) -> String {
    let file = dir.join("altocast.toml");
    let text = format!(
        "[maps]\nsettle-seconds = 0.05\n[[source]]\nname = \"graph\"\nkind = \"graphml\"\nfiles = [\"graph.graphml\"]\npoll-seconds = 0.1\n[[source]]\nname = \"prefixes\"\nkind = \"prefix-csv\"\nfiles = [\"prefixes.csv\"]\npoll-seconds = 0.1\n{more}"
    );
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

const COSTS: &str = "cost-map-routingcost";

#[test]
fn configured_sources_are_served_and_followed_and_keep_their_last_good_data() {
    let dir = tempfile::tempdir().unwrap();
    let config = configure(dir.path(), "5", "");
    let server = Server::start(&["--config", &config]);
    assert_eq!(server.cost(COSTS, "A", "B"), Some(5.0));
    configure(dir.path(), "8", "");
    wait_for("the new weight", || (server.cost(COSTS, "A", "B") == Some(8.0)).then_some(()));
    server.wait_log(&["source graph", "link A-B cost 5 -> 8"]);
    fs::write(dir.path().join("graph.graphml"), "<graphml>").unwrap();
    server.wait_log(&["source graph", "last good data stays"]);
    assert_eq!(server.cost(COSTS, "A", "B"), Some(8.0));
    assert!(server.status()["sources"][0]["trouble"].as_str().is_some());
    configure(dir.path(), "9", "");
    wait_for("the repaired source", || (server.cost(COSTS, "A", "B") == Some(9.0)).then_some(()));
    assert!(server.status()["sources"][0]["trouble"].is_null());
}

#[test]
fn a_reload_keeps_connections_and_takes_the_new_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let config = configure(dir.path(), "5", "");
    let server = Server::start(&["--config", &config]);
    let mut connection = Connection::open(&server.public);
    assert_eq!(connection.request("GET", "/directory", &[], b"").status, 200);

    write_config(dir.path(), "[[rule]]\nfrom = \"A\"\nto = \"B\"\nmetric = \"routingcost\"\nadd = 100\n");
    server.signal("HUP");
    wait_for("the rule", || (server.cost(COSTS, "A", "B") == Some(105.0)).then_some(()));
    assert_eq!(server.cost(COSTS, "B", "A"), Some(5.0));

    // Without a signal as well: the file is watched. Sources change here, so all of them are read again.
    write_config(dir.path(), "[[source]]\nname = \"more\"\nkind = \"prefix-csv\"\nfiles = [\"more.csv\"]\n");
    server.wait_log(&["configuration refused", "more.csv"]);
    assert_eq!(server.cost(COSTS, "A", "B"), Some(105.0), "the old configuration stays as a whole");
    fs::write(dir.path().join("more.csv"), "pid,prefix\nC,203.0.113.0/24\n").unwrap();
    server.signal("HUP");
    wait_for("the further source", || server.get("/resources/network-map").json()["network-map"]["C"].is_object().then_some(()));
    assert_eq!(server.cost(COSTS, "A", "B"), Some(5.0), "the rule is gone");
    wait_for("an end of the trouble", || server.status()["troubles"].as_array().unwrap().is_empty().then_some(()));

    assert_eq!(connection.request("GET", "/directory", &[], b"").status, 200, "the connection of before");
}

#[test]
fn a_bad_configuration_is_refused_with_the_reason_and_the_old_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let config = configure(dir.path(), "5", "");
    let server = Server::start(&["--config", &config]);
    write_config(dir.path(), "[[rulez]]\nadd = 1\n");
    server.signal("HUP");
    let line = server.wait_log(&["configuration refused, the old one stays", "rulez"]);
    assert!(line.contains("did you mean \\\"rule\\\"") || line.contains("did you mean \"rule\""), "{line}");
    assert_eq!(server.cost(COSTS, "A", "B"), Some(5.0));
    assert!(server.status()["troubles"][0].as_str().unwrap().contains("rulez"));
    write_config(dir.path(), "");
    wait_for("an end of the trouble", || server.status()["troubles"].as_array().unwrap().is_empty().then_some(()));
}

#[test]
fn what_only_a_restart_can_change_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = configure(dir.path(), "5", "");
    let server = Server::start(&["--config", &config]);
    let reload = |more: &str, times: usize| {
        write_config(dir.path(), more);
        server.signal("HUP");
        wait_for("the reload", || (server.log().matches("configuration reloaded").count() >= times).then_some(()));
        server.log().lines().filter_map(|line| Some(line.split_once("configuration: ")?.1.to_owned())).collect::<Vec<_>>()
    };
    let said = reload("[history]\nbytes-max = 3000000\n[updates]\nkeep-alive-seconds = 7\n[guard]\ncomputed-moved-share-max = 0.9\n", 1);
    let changed = |key: &str| format!("{key} changed: restart to have it take effect");
    assert_eq!(said, [changed("history.bytes-max"), changed("updates.keep-alive-seconds")]);
    // As it runs: nothing to restart for.
    assert_eq!(reload("", 2), said);
}

#[test]
fn sigterm_finishes_what_is_in_flight() {
    let mut server = Server::start(&["--demo-interval", "3600"]);
    let mut waiting = Connection::open(&server.public);
    let query = br#"{"cost-type":{"cost-mode":"numerical","cost-metric":"routingcost"},"pids":{"srcs":["DE"],"dsts":["NL"]}}"#;
    let length = query.len().to_string();
    // Half of a request is on its way when the signal comes.
    let head = format!(
        "POST /resources/filtered-cost-map HTTP/1.1\r\nhost: x\r\ncontent-type: application/alto-costmapfilter+json\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
    );
    waiting.write_raw(head.as_bytes());
    // RFC 9110 section 10.1.1: it has read the head and waits for the body.
    assert_eq!(waiting.reply().status, 100);
    waiting.write_raw(&query[..10]);
    server.signal("TERM");
    server.wait_log(&["stopping"]);
    waiting.write_raw(&query[10..]);
    let reply = waiting.reply();
    assert_eq!((reply.status, reply.json()["cost-map"]["DE"]["NL"].as_f64()), (200, Some(13.0)));
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn mistakes_at_the_start_are_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let tls = dir.path().join("tls.toml");
    fs::write(&tls, "[server]\nlisten = [\"127.0.0.1:0\"]\ncertificate = \"no.pem\"\nkey = \"no.key\"\n[admin]\nlisten = \"off\"\n")
        .unwrap();
    let nothing = dir.path().join("nothing.toml");
    fs::write(&nothing, "[[source]]\nkind = \"graphml\"\nfiles = [\"no.graphml\"]\n").unwrap();
    let (tls, nothing, folder) = (tls.to_str().unwrap(), nothing.to_str().unwrap(), dir.path().join("none"));
    let free = ["--listen", "127.0.0.1:0", "--admin-listen", "off"];
    for (args, want) in [
        (vec!["serve", "--admin-listen", "off", "--listen", &address], "in use"),
        ([&["serve", "--maps", folder.to_str().unwrap()][..], &free].concat(), "cannot read the maps folder"),
        (vec!["serve", "--config", "/no/such.toml"], "cannot read the configuration"),
        (vec!["serve", "--config", tls], "no.pem"),
        ([&["serve", "--config", nothing][..], &free].concat(), "no.graphml"),
    ] {
        let ended = run(&args);
        assert_eq!(ended.status.code(), Some(1), "{args:?}");
        let said = text(&ended.stderr);
        let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("altocast: ")).collect();
        assert!(lines.len() == 1 && lines[0].contains(want), "{args:?}: {said}");
        assert!(ended.stdout.is_empty());
    }
}

#[test]
fn people_get_a_start_message_and_programs_json_log_lines() {
    let mut child = program(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--demo-interval", "3600"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let message: Vec<String> = lines.by_ref().map(Result::unwrap).skip_while(|line| !line.starts_with("altocast ")).take(10).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    let message = message.join("\n");
    for word in [
        "GÉANT",
        "  public  http://127.0.0.1:",
        "/directory",
        "  page    http://127.0.0.1:",
        "  admin   http://127.0.0.1:",
        "altocast rank --src",
        "--explain",
    ] {
        assert!(message.contains(word), "{word} in {message}");
    }

    let server = Server::start(&["--demo-interval", "3600", "--log-format", "json"]);
    let line = server.wait_log(&["start: 41 PIDs"]);
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((event["level"].as_str(), event["commit"].as_u64()), (Some("INFO"), Some(1)));
}
