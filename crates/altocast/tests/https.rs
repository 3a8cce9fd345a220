//! HTTPS and HTTP/3 with a certificate of `altocast dev-cert`, all by the program itself.
#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]
mod program;

use program::{PATIENCE, Server, program, run, text};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

/// A server on ports that stay, so that one after it can take its place.
struct Place {
    public: String,
    admin: String,
    data: tempfile::TempDir,
    files: Value,
}

impl Place {
    fn new() -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let data = tempfile::tempdir().unwrap();
        let files = certificate(&data.path().join("tls"));
        Self { public: free(), admin: free(), data, files }
    }

    fn serve(&self) -> Server {
        let data = self.data.path().join("data");
        let args = ["serve", "--json", "--demo-interval", "0.2", "--listen", &self.public, "--admin-listen", &self.admin];
        let mut command = program(&[&args[..], &["--data-dir", data.to_str().unwrap()]].concat());
        command.env("ALTOCAST_SERVER_CERTIFICATE", self.file("certificate")).env("ALTOCAST_SERVER_KEY", self.file("key"));
        Server::spawn(command)
    }

    fn file(&self, which: &str) -> &str {
        self.files[which].as_str().unwrap()
    }

    /// Arguments of a client command.
    fn asked<'a>(&'a self, url: &'a str, args: &[&'a str]) -> Vec<&'a str> {
        [args, &["--server", url, "--cacert", self.file("authority")]].concat()
    }

    fn url(&self) -> String {
        format!("https://{}", self.public)
    }
}

fn certificate(dir: &Path) -> Value {
    let output = run(&["dev-cert", "--json", "--dir", dir.to_str().unwrap(), "alto.example.test"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A `watch` that runs; its lines as they come, and what it says of its connections.
struct Watch {
    child: Child,
    lines: Receiver<Value>,
    notices: Receiver<String>,
}

impl Watch {
    fn start(args: &[&str]) -> Self {
        let mut child = program(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, notices) = channel();
        let stderr = child.stderr.take().unwrap();
        thread::spawn(move || BufReader::new(stderr).lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        let (sender, lines) = channel();
        let stdout = child.stdout.take().unwrap();
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.map(|line| serde_json::from_str(&line).unwrap()).all(|line| sender.send(line).is_ok())
        });
        Self { child, lines, notices }
    }

    /// What it says until it follows.
    fn following(&self) -> Vec<String> {
        let mut said = Vec::new();
        while !said.last().is_some_and(|notice: &String| notice.contains("following over")) {
            said.push(self.notices.recv_timeout(PATIENCE).expect("a notice"));
        }
        said
    }

    fn line(&self) -> Value {
        self.lines.recv_timeout(PATIENCE).expect("a line")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same answers over each version of HTTP, and only for who trusts the authority.
#[test]
fn every_http_gives_the_same_answer() {
    let place = Place::new();
    let server = place.serve();
    let url = place.url();
    let names = place.url().replace("127.0.0.1", "localhost");
    let mut answers = Vec::new();
    for (url, http) in [(&url, "--http2"), (&url, "--http3"), (&names, "--http3")] {
        let output = run(&place.asked(url, &["get", "network-map", "--json", http]));
        assert!(output.status.success(), "{http}: {}", text(&output.stderr));
        answers.push(text(&output.stdout));
    }
    assert!(answers[0].contains("\"network-map\"") && answers.iter().all(|answer| *answer == answers[0]));
    // A request with a body.
    let rank = place.asked(&url, &["rank", "--http3", "--src", "141.24.0.1", "145.120.0.1", "193.204.0.1"]);
    let output = run(&rank);
    assert!(output.status.success() && text(&output.stdout).contains("193.204.0.1"), "{}", text(&output.stderr));
    let output = run(&["get", "--http3", "--server", &url]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("UnknownIssuer") && text(&output.stderr).contains("--cacert"), "{}", text(&output.stderr));
    // Who is done has said so.
    assert_eq!(server.status()["clients"]["http3"], 0);
}

/// Followed over HTTP/3 over two ends of the server: one full copy, then only changes, none twice and none lost.
#[test]
fn a_restart_leaves_no_gap_over_http3() {
    let place = Place::new();
    let mut server = place.serve();
    let url = place.url();
    let id = "cost-map-routingcost";
    let vias = ["sse", "tips", "auto"];
    let watches = vias.map(|via| Watch::start(&place.asked(&url, &["watch", id, "--json", "--http3", "--via", via])));
    let mut seen = vias.map(|_| Vec::new());
    let mut notices = Vec::new();
    for end in ["TERM", "KILL", ""] {
        // A stream cannot outlive its server, so it says when it follows the next one; polls just go on.
        notices.extend(watches[0].following());
        for (watch, seen) in watches.iter().zip(&mut seen) {
            // One may be ahead of another.
            seen.extend(watch.lines.try_iter());
            seen.extend((0..4).map(|_| watch.line()));
        }
        if !end.is_empty() {
            let clients = &server.status()["clients"];
            assert_eq!((&clients["http1"], &clients["http2"]), (&0.into(), &0.into()));
            server.signal(end);
            server.exit();
            server = place.serve();
        }
    }
    // RFC 9000 section 10.3: the server after the one that was killed says so; nobody waits for the 20 s of silence that would show it, too.
    assert!(notices.iter().any(|notice| notice.contains("reset by peer")), "{notices:?}");
    assert!(!notices.iter().any(|notice| notice.contains("timed out")), "{notices:?}");
    let history = server.admin("GET", &format!("/v1/resources/{id}/history"), "").json();
    let kept: Vec<_> = history["versions"].as_array().unwrap().iter().map(|version| (&version["seq"], &version["tag"])).collect();
    for (via, lines) in vias.iter().zip(&seen) {
        let tags: Vec<_> = lines.iter().map(|line| &line["tag"]).collect();
        // A stream may bring who was away over several versions at once, by a shortcut; polls go from each to the next.
        let mut rest = kept.iter().map(|(_, tag)| *tag);
        assert!(tags.iter().all(|tag| rest.any(|kept| kept == *tag)), "{via}: {tags:?} in the order of {kept:?}");
        assert!(lines[0]["document"].is_object() && lines[1..].iter().all(|line| line["patch"].is_object()), "{via}: one full copy");
        if *via != "sse" {
            let first = lines[0]["seq"].as_u64().unwrap();
            let numbers = lines.iter().map(|line| line["seq"].as_u64().unwrap());
            assert!(numbers.eq((first..).take(lines.len())), "{via}: each version once, in its order");
        }
    }
}

#[test]
fn the_wrong_scheme_is_told() {
    let place = Place::new();
    let _server = place.serve();
    for (url, says) in [
        (format!("http://{}", place.public), "does its URL begin with https://?"),
        (format!("https://{}", place.admin), "does its URL begin with http://?"),
    ] {
        let output = run(&place.asked(&url, &["get"]));
        assert!(output.status.code() == Some(1) && text(&output.stderr).contains(says), "{url}: {}", text(&output.stderr));
    }
}

#[test]
fn wrong_usage_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("tls");
    let dir = dir.to_str().unwrap();
    for (args, says) in [
        (&["dev-cert", "--dir", dir, "no name"][..], "neither a name nor an address"),
        (&["dev-cert", "--dir", dir, "alto..test"], "neither a name nor an address"),
        (&["get", "--http3"], "https://"),
        (&["get", "--http3", "--http2"], "--http2"),
        (&["watch", "m", "--http3", "--server", "http://127.0.0.1:1"], "https://"),
        (&["watch", "m", "--http3", "--via", "ws", "--server", "https://127.0.0.1:1"], "--via ws does not go over HTTP/3"),
        (&["watch", "m", "--http3", "--via", "h2", "--server", "https://127.0.0.1:1"], "--via h2 does not go over HTTP/3"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(says) && output.stdout.is_empty(), "{args:?}: {}", text(&output.stderr));
    }
    assert!(!Path::new(dir).exists(), "nothing was made");
}
