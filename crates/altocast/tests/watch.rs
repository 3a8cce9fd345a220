//! `altocast watch` against the program itself, over each transport.
#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]
mod program;

use program::{PATIENCE, Server, program, run, text, wait_for};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, channel},
    },
    thread,
};

const TRANSPORTS: [&str; 4] = ["tips", "sse", "h2", "ws"];

fn network(pids: &[(&str, &str)]) -> String {
    let pids: Vec<_> = pids.iter().map(|(pid, prefix)| format!(r#""{pid}":{{"ipv4":["{prefix}"]}}"#)).collect();
    format!(r#"{{"meta":{{}},"network-map":{{{}}}}}"#, pids.join(","))
}

fn costs(a: u32, b: u32) -> String {
    format!(
        r#"{{"meta":{{"cost-type":{{"cost-mode":"numerical","cost-metric":"routingcost"}}}},"cost-map":{{"a":{{"a":0,"b":{a}}},"b":{{"a":{b},"b":0}}}}}}"#
    )
}

const PIDS: [(&str, &str); 3] = [("a", "192.0.2.0/24"), ("b", "198.51.100.0/24"), ("rest", "0.0.0.0/0")];

/// A server on ports that stay, so that one after it can take its place.
struct Place {
    public: String,
    admin: String,
    data: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        Self { public: free(), admin: free(), data: tempfile::tempdir().unwrap() }
    }

    fn serve(&self) -> Server {
        let data = self.data.path().to_str().unwrap();
        Server::spawn(program(&[
            "serve",
            "--json",
            "--demo",
            "off",
            "--listen",
            &self.public,
            "--admin-listen",
            &self.admin,
            "--data-dir",
            data,
        ]))
    }
}

fn put(server: &Server, id: &str, document: &str) -> Value {
    let reply = server.put(id, document);
    assert!((200..300).contains(&reply.status), "{reply:?}");
    reply.json()
}

/// A `watch` that runs; its lines as they come.
struct Watch {
    child: Child,
    lines: Receiver<String>,
    told: Arc<Mutex<String>>,
}

impl Watch {
    fn start(server: &str, args: &[&str]) -> Self {
        let server = format!("http://{server}");
        let mut all = vec!["watch", "--server", &server];
        all.extend(args);
        let mut child = program(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        let told = Arc::new(Mutex::new(String::new()));
        let words = told.clone();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                words.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        Self { child, lines, told }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line; it said: {}", self.told()))
    }

    fn value(&self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    fn told(&self) -> String {
        self.told.lock().unwrap().clone()
    }

    fn end(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// "survives a server restart without a gap": killed without warning and started again on its folder, the server is followed from the very
/// version that was here, by patches only, whichever transport; and a change made before the client is back is not lost.
#[test]
fn a_restart_leaves_no_gap() {
    let place = Place::new();
    let mut server = place.serve();
    put(&server, "network-map", &network(&PIDS));
    let first = put(&server, "cost-map", &costs(1, 1));
    let watches: Vec<_> = TRANSPORTS
        .into_iter()
        .map(|via| (via, Watch::start(&place.public, &["cost-map", "--json", "--via", via, "--count", "6"])))
        .collect();
    let mut last = first["seq"].as_u64().unwrap();
    for (via, watch) in &watches {
        let value = watch.value();
        assert_eq!(value["document"]["cost-map"]["a"]["b"], 1, "{via}");
        assert_eq!(value["tag"], first["tag"], "{via}");
    }
    let mut cost = 1;
    for restart in [false, true, false, true, true] {
        if restart {
            server.signal("KILL");
            server.exit();
            server = place.serve();
        }
        cost += 1;
        let published = put(&server, "cost-map", &costs(cost, 1));
        assert_eq!(published["seq"], last + 1, "the server counts on");
        last += 1;
        for (via, watch) in &watches {
            let value = watch.value();
            let seen = watch.told();
            assert_eq!(value["tag"], published["tag"], "{via}: {seen}");
            assert_eq!(value["patch"]["cost-map"]["a"]["b"], cost, "{via}, no full copy: {value} {seen}");
            // RFC 8895: an event has no place for it.
            assert_eq!(value["seq"], if via == &"sse" { Value::Null } else { last.into() }, "{via}: {seen}");
        }
    }
    for (via, watch) in watches {
        let told = watch.told();
        assert!(!told.contains("does not fit"), "{via} resynchronised: {told}");
        assert!(told.contains("trying again"), "{via} says that the server went away: {told}");
        assert!(watch.end().success(), "{via} ends after its count");
    }
}

/// The same for who is called back: over any end of the server each version comes, once and in order. It does not even notice a restart, for its
/// subscription outlives it.
#[test]
fn a_subscription_outlives_the_server() {
    let place = Place::new();
    let mut server = place.serve();
    put(&server, "network-map", &network(&PIDS));
    let first = put(&server, "cost-map", &costs(1, 1));
    let watch = Watch::start(&place.public, &["cost-map", "--json", "--full", "--via", "webhook", "--count", "6"]);
    let value = watch.value();
    assert_eq!((&value["tag"], &value["seq"]), (&first["tag"], &first["seq"]));
    let mut cost = 1;
    for restart in [None, Some("TERM"), None, Some("KILL"), Some("KILL")] {
        if let Some(signal) = restart {
            server.signal(signal);
            server.exit();
            server = place.serve();
        }
        cost += 1;
        let published = put(&server, "cost-map", &costs(cost, 1));
        let value = watch.value();
        assert_eq!((&value["tag"], &value["seq"]), (&published["tag"], &published["seq"]), "{}", watch.told());
        assert_eq!(value["document"]["cost-map"]["a"]["b"], cost);
    }
    assert_eq!(watch.told(), "altocast: following over webhook\n");
    assert!(watch.end().success());
    subscriptions_end(&server);
}

/// Whoever followed said farewell.
fn subscriptions_end(server: &Server) {
    wait_for("the end of the subscriptions", || {
        let notifications = &server.status()["clients"]["notifications"];
        (notifications["contacts"] == 0).then_some(())
    });
}

#[test]
fn an_interrupted_subscriber_unsubscribes() {
    let place = Place::new();
    let server = place.serve();
    put(&server, "network-map", &network(&PIDS));
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let watch = Watch::start(&place.public, &["network-map", "--json", "--via", "webhook"]);
        watch.value();
        assert_eq!(server.status()["clients"]["notifications"]["contacts"], 1);
        assert!(Command::new("kill").args(["-s", signal, &watch.child.id().to_string()]).status().unwrap().success());
        assert_eq!(watch.end().code(), Some(code), "{signal}");
        subscriptions_end(&server);
    }
    // A server is not sent where somebody else listens, and says what its operator can do.
    let url = format!("http://{}", place.public);
    let output = run(&["watch", "network-map", "--via", "webhook", "--notify-contact", "192.0.2.1:5828", "--server", &url]);
    assert_eq!(output.status.code(), Some(1));
    for words in ["192.0.2.1", "--notify-contact", "subscriptions.contact-prefixes"] {
        assert!(text(&output.stderr).contains(words), "{words}: {}", text(&output.stderr));
    }
}

/// A commit of a network map: its cost map comes after it, in one version with it, and fits it.
#[test]
fn a_cost_map_comes_after_its_network_map() {
    let place = Place::new();
    let server = place.serve();
    put(&server, "network-map", &network(&PIDS));
    put(&server, "cost-map", &costs(1, 1));
    for (at, via) in TRANSPORTS.into_iter().chain(["webhook"]).enumerate() {
        let watch = Watch::start(&place.public, &["cost-map", "network-map", "--full", "--json", "--via", via, "--count", "4"]);
        let shown: Vec<_> = (0..2).map(|_| watch.value()).collect();
        assert_eq!([&shown[0]["resource-id"], &shown[1]["resource-id"]], ["network-map", "cost-map"], "{via}");
        let other = format!("203.0.113.{at}/32");
        put(&server, "network-map", &network(&[PIDS[0], PIDS[1], PIDS[2], ("more", &other)]));
        let network = watch.value();
        let costs = watch.value();
        assert_eq!([&network["resource-id"], &costs["resource-id"]], ["network-map", "cost-map"], "{via}");
        assert_eq!(costs["document"]["meta"]["dependent-vtags"][0]["tag"], network["tag"], "{via}");
        assert_eq!(network["document"]["network-map"]["more"]["ipv4"][0], other.as_str(), "{via}");
        assert!(watch.end().success());
        // What --full prints is what the server serves.
        for value in [&network, &costs] {
            let id = value["resource-id"].as_str().unwrap();
            assert_eq!(server.get(&format!("/resources/{id}")).json(), value["document"], "{via} {id}");
        }
    }
}

#[test]
fn people_are_told_what_changed() {
    let place = Place::new();
    let server = place.serve();
    put(&server, "network-map", &network(&PIDS));
    put(&server, "cost-map", &costs(1, 1));
    let watch = Watch::start(&place.public, &["cost-map", "--count", "2"]);
    assert!(watch.line().ends_with("full copy: 4 costs between 2 sources and 2 destinations"));
    put(&server, "cost-map", &costs(1, 9));
    let line = watch.line();
    assert!(line.ends_with("1 cost changed") && line.contains("  cost-map  seq "), "{line}");
    assert_eq!([watch.line(), watch.line()], ["    FROM  TO  BEFORE  NOW  BY", "    b     a        1    9  +8"]);
    assert!(watch.end().success());
}

/// Resources that answer requests, with the input that --input names.
#[test]
fn answers_to_a_request_are_followed() {
    let place = Place::new();
    let server = place.serve();
    put(&server, "network-map", &network(&PIDS));
    put(&server, "cost-map", &costs(1, 1));
    let filter = place.data.path().join("filter.json");
    let filter = filter.to_str().unwrap();
    std::fs::write(filter, r#"{"cost-type":{"cost-mode":"numerical","cost-metric":"routingcost"},"pids":{"srcs":["a"],"dsts":["b"]}}"#)
        .unwrap();
    let mut cost = 1;
    for via in TRANSPORTS.into_iter().chain(["webhook"]) {
        let watch =
            Watch::start(&place.public, &["filtered-cost-map", "--input", filter, "--json", "--full", "--via", via, "--count", "2"]);
        assert_eq!(watch.value()["document"]["cost-map"], serde_json::json!({"a": {"b": cost}}), "{via}");
        cost += 1;
        put(&server, "cost-map", &costs(cost, 1));
        assert_eq!(watch.value()["document"]["cost-map"], serde_json::json!({"a": {"b": cost}}), "{via}");
        assert!(watch.end().success());
    }
    // The tag in it is that of the whole map, not of what is followed.
    std::fs::write(filter, r#"{"pids":["a"]}"#).unwrap();
    for (at, via) in TRANSPORTS.into_iter().chain(["webhook"]).enumerate() {
        let watch =
            Watch::start(&place.public, &["filtered-network-map", "--input", filter, "--json", "--full", "--via", via, "--count", "2"]);
        assert_eq!(watch.value()["document"]["network-map"].as_object().unwrap().len(), 1, "{via}");
        let prefix = format!("192.0.2.{at}/32");
        put(&server, "network-map", &network(&[("a", &prefix), PIDS[1], PIDS[2]]));
        assert_eq!(watch.value()["document"]["network-map"]["a"]["ipv4"][0], prefix, "{via}: {}", watch.told());
        assert!(!watch.told().contains("does not fit"), "{via}: {}", watch.told());
        assert!(watch.end().success());
    }
    std::fs::write(filter, r#"{"cost-type":{"cost-mode":"numerical","cost-metric":"nothing"}}"#).unwrap();
    for via in TRANSPORTS.into_iter().chain(["webhook", "auto"]) {
        let server = format!("http://{}", place.public);
        let output = run(&["watch", "filtered-cost-map", "--input", filter, "--via", via, "--server", &server]);
        assert_eq!(output.status.code(), Some(1), "{via}");
        assert!(
            text(&output.stderr).contains("E_INVALID_FIELD_VALUE"),
            "{via}: the error of the resource itself: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn exit_status() {
    let place = Place::new();
    let server = place.serve();
    put(&server, "network-map", &network(&PIDS));
    put(&server, "cost-map", &costs(1, 1));
    let url = format!("http://{}", place.public);
    for (args, want, says) in [
        (&["network-mapp"][..], 1, "did you mean network-map?"),
        (&[], 2, "RESOURCE"),
        (&["cost-map", "--via", "pigeon"], 2, "pigeon"),
        (&["cost-map", "--notify-contact", "192.0.2.1:5828"], 2, "--via webhook"),
        (&["cost-map", "--via", "webhook", "--notify-listen", "localhost"], 2, "--notify-listen"),
        (&["cost-map", "--count", "0"], 2, "count"),
        (&["filtered-cost-map"], 2, "--input"),
        (&["cost-map", "--input", "/nonexistent"], 1, "/nonexistent"),
    ] {
        let mut all = vec!["watch", "--server", &url];
        all.extend(args);
        let output = run(&all);
        assert_eq!(output.status.code(), Some(want), "{args:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(says) && output.stdout.is_empty(), "{args:?}: {}", text(&output.stderr));
    }
    let output = run(&["watch", "cost-map", "--server", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("nobody listens"), "{}", text(&output.stderr));
}

/// A reader that had enough is no failure, and nothing is said of it.
#[test]
fn a_closed_pipe_is_silent() {
    let place = Place::new();
    let server = place.serve();
    put(&server, "network-map", &network(&PIDS));
    let url = format!("http://{}", place.public);
    let mut child = program(&["watch", "network-map", "--server", &url, "--json", "--via", "ws"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    put(&server, "network-map", &network(&[PIDS[0], PIDS[2]]));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "altocast: following over ws\n");
}

/// `auto` goes on to the next transport where one does not get through; a withdrawn resource ends it.
#[test]
fn a_withdrawn_resource_ends_it() {
    let place = Place::new();
    let server = place.serve();
    put(&server, "network-map", &network(&PIDS));
    put(&server, "cost-map", &costs(1, 1));
    let watch = Watch::start(&place.public, &["cost-map", "--json"]);
    watch.value();
    assert!((200..300).contains(&server.admin("DELETE", "/v1/resources/cost-map", "").status));
    let told = watch.told.clone();
    let status = watch.end();
    assert_eq!(status.code(), Some(1));
    assert!(told.lock().unwrap().contains("cost-map any more"), "{}", told.lock().unwrap());
}
