//! What `get` and `rank` keep for the next command, with a server that says how long its answers are right (RFC 9111).
#![allow(clippy::unwrap_used)] // A test says what went wrong by stopping there.

mod program;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

const DIRECTORY: &str = r#"{"meta": {"default-alto-network-map": "net", "cost-types": {"rc": {"cost-mode": "numerical", "cost-metric": "routingcost"}}},
    "resources": {
        "net": {"uri": "/net", "media-type": "application/alto-networkmap+json"},
        "costs": {"uri": "/costs", "media-type": "application/alto-costmap+json", "uses": ["net"], "capabilities": {"cost-type-names": ["rc"]}}}}"#;
/// The same with a network map that says when it expires.
const EXPIRING: &str = r#"{"meta": {"default-alto-network-map": "net"}, "resources": {
    "net": {"uri": "/net", "media-type": "application/alto-networkmap+json"},
    "net-expiring": {"uri": "/net-expiring", "media-type": "application/alto-networkmap+json", "uses": ["net"], "capabilities": {"expires": true}},
    "part-expiring": {"uri": "/part-expiring", "media-type": "application/alto-networkmap+json", "uses": ["net"], "capabilities": {"expires": true},
        "accepts": "application/alto-networkmapfilter+json"}}}"#;
/// One PID of three expired.
const EXPIRING_MAP: &str = r#"{"meta":{"vtag":{"resource-id":"net","tag":"t1"}},"network-map":{"expires":"Fri, 14 Sep 2091 16:00:00 GMT","a":{"expires":"Wed, 14 Sep 2011 16:00:00 GMT","ipv4":["192.0.2.0/24"]},"b":{"ipv4":["198.51.100.0/24"]},"c":{"ipv4":["203.0.113.0/24"]}}}"#;
const RENEWED: &str = r#"{"meta":{"vtag":{"resource-id":"net","tag":"t1"}},"network-map":{"a":{"expires":"Tue, 14 Sep 2083 16:00:00 GMT","ipv4":["192.0.2.0/24"]}}}"#;
const NETWORK_MAP: &str = r#"{"meta": {"vtag": {"resource-id": "net", "tag": "t1"}},
    "network-map": {"a": {"ipv4": ["192.0.2.0/24"]}, "b": {"ipv4": ["198.51.100.0/24"]}}}"#;
const COST_MAP: &str = r#"{"meta": {"dependent-vtags": [{"resource-id": "net", "tag": "t1"}], "cost-type": {"cost-mode": "numerical", "cost-metric": "routingcost"}},
    "cost-map": {"a": {"a": 0, "b": 7}}}"#;

/// A server whose directory is to be asked again and whose maps are right for an hour; what it was asked for.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (connection, seen) = (connection.unwrap(), seen.clone());
                // A command that has its answer leaves.
                thread::spawn(move || while answer(&connection, &seen).is_some() {});
            }
        });
        Self { url, asked }
    }

    fn run(&self, cache: &Path, arguments: &[&str]) -> String {
        let mut command = program::program(arguments);
        let output = command.env("ALTOCAST_SERVER", &self.url).env("XDG_CACHE_HOME", cache).output().unwrap();
        assert!(output.status.success(), "{}", program::text(&output.stderr));
        program::text(&output.stdout)
    }

    /// Since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn answer(mut connection: &TcpStream, seen: &Mutex<Vec<String>>) -> Option<()> {
    let mut head = Vec::new();
    let mut reader = BufReader::new(connection);
    for line in reader.by_ref().lines() {
        match line.ok()? {
            line if line.is_empty() => break,
            line => head.push(line),
        }
    }
    let target = head.first()?.split(' ').nth(1)?.to_owned();
    let length = |line: &String| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok();
    let mut body = vec![0; head.iter().find_map(length).unwrap_or_default()];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8_lossy(&body);
    let (target, asked) = (&*target, if body.starts_with(r#"{"pids""#) { format!(" {body}") } else { String::new() });
    let known = head.iter().any(|line| line.to_ascii_lowercase().starts_with("if-none-match: \"d1\""));
    let (status, kind, body, control) = match target {
        "/" | "/expiring" if known => ("304 Not Modified", "directory", "", "no-cache"),
        "/" => ("200 OK", "directory", DIRECTORY, "no-cache"),
        "/expiring" => ("200 OK", "directory", EXPIRING, "no-cache"),
        "/net-expiring" => ("200 OK", "networkmap", EXPIRING_MAP, "no-cache"),
        "/part-expiring" => ("200 OK", "networkmap", RENEWED, "no-cache"),
        "/net" => ("200 OK", "networkmap", NETWORK_MAP, "max-age=3600"),
        "/costs" => ("200 OK", "costmap", COST_MAP, "max-age=3600"),
        "/v1/resources/net" => ("200 OK", "", r#"{"resource-id": "net", "seq": 2, "tag": "t2"}"#, "no-store"),
        other => panic!("{other} is not in the directory"),
    };
    seen.lock().unwrap().push(format!("{target} {}{asked}", &status[..3]));
    let tag = if matches!(target, "/" | "/expiring") { "etag: \"d1\"\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/alto-{kind}+json\r\ncache-control: {control}\r\n{tag}content-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all((head + body).as_bytes()).ok()
}

#[test]
fn a_second_command_asks_only_for_what_is_not_fresh() {
    let server = Server::start();
    let cache = tempfile::tempdir().unwrap();
    let first = server.run(cache.path(), &["get", "net", "--json", "--cached"]);
    assert_eq!(server.asked(), ["/ 200", "/net 200"]);
    assert_eq!(server.run(cache.path(), &["get", "net", "--json", "--cached"]), first);
    assert_eq!(server.asked(), ["/ 304"]);
    // Who does not say that this is enough is told what the server says now.
    assert_eq!(server.run(cache.path(), &["get", "net", "--json"]), first);
    assert_eq!(server.asked(), ["/ 304", "/net 200"]);
    assert_eq!(server.run(cache.path(), &["get", "net", "--json", "--no-cache"]), first);
    assert_eq!(server.asked(), ["/ 200", "/net 200"], "and what is kept is not looked at");

    let rank = ["rank", "--cached", "--src", "192.0.2.1", "198.51.100.1"];
    let ranking = server.run(cache.path(), &rank);
    assert_eq!(server.asked(), ["/ 304", "/costs 200"]);
    assert_eq!(server.run(cache.path(), &rank), ranking);
    assert_eq!(server.asked(), ["/ 304"]);

    let folder = cache.path().join("altocast");
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    // Whatever became of the files.
    for entry in std::fs::read_dir(&folder).unwrap() {
        std::fs::write(entry.unwrap().path(), "altocast-cache 1 damaged").unwrap();
    }
    assert_eq!(server.run(cache.path(), &["get", "net", "--json", "--cached"]), first);
    assert_eq!(server.asked(), ["/ 200", "/net 200"]);
    assert_eq!(server.run(cache.path(), &["get", "net", "--json", "--cached"]), first);
    assert_eq!(server.asked(), ["/ 304"], "and they were replaced");
}

/// Of a map that says when each PID expires, only those that did are asked for, and the whole is printed with what is said of it.
#[test]
fn only_expired_pids_are_asked_for() {
    let plain = Server::start();
    let server = Server { url: format!("{}/expiring", plain.url), asked: plain.asked };
    let cache = tempfile::tempdir().unwrap();
    let get = |more: &str| server.run(cache.path(), &["get", "net-expiring", "--json", more]);
    assert_eq!((get("--cached").trim_end(), server.asked()), (EXPIRING_MAP, vec!["/expiring 200".into(), "/net-expiring 200".into()]));
    let renewed = EXPIRING_MAP.replace("Wed, 14 Sep 2011", "Tue, 14 Sep 2083");
    let part = r#"/part-expiring 200 {"pids":["a"]}"#;
    assert_eq!((get("--cached").trim_end(), server.asked()), (&*renewed, vec!["/expiring 304".into(), part.into()]));
    assert_eq!((get("--cached").trim_end(), server.asked()), (&*renewed, vec!["/expiring 304".into()]));
    // The resource as the server sends it.
    assert_eq!((get("--no-cache").trim_end(), server.asked()), (EXPIRING_MAP, vec!["/expiring 200".into(), "/net-expiring 200".into()]));
}

/// Whatever was promised: who publishes wants to see it.
#[test]
fn what_is_published_is_seen() {
    let server = Server::start();
    let cache = tempfile::tempdir().unwrap();
    let file = cache.path().join("net.json");
    std::fs::write(&file, NETWORK_MAP).unwrap();
    server.run(cache.path(), &["get", "net"]);
    server.run(cache.path(), &["publish", "net", file.to_str().unwrap(), "--admin", &server.url]);
    server.asked();
    server.run(cache.path(), &["get", "net", "--cached"]);
    assert_eq!(server.asked(), ["/ 200", "/net 200"]);
}
