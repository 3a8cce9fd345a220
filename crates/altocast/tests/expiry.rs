//! Until when maps hold: `[[expiry]]`, what a source says itself, and the demo.
#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]
mod program;

use alto::expiry::{Expires, ExpiringNetworkMap};
use program::{
    Reply, Server,
    documents::{costs, network, write},
    request, run, text, wait_for,
};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

fn now() -> u64 {
    Expires::at(SystemTime::now()).unix()
}

fn map(reply: &Reply) -> ExpiringNetworkMap {
    ExpiringNetworkMap::from_json(&reply.body).unwrap_or_else(|error| panic!("{error}: {reply:?}"))
}

fn of(map: &ExpiringNetworkMap, pid: &str) -> Option<u64> {
    map.expires_of(&pid.parse().unwrap()).map(Expires::unix)
}

fn filtered(server: &Server, id: &str, pids: &[&str]) -> ExpiringNetworkMap {
    let body = serde_json::json!({ "pids": pids }).to_string();
    let reply = request(
        &server.public,
        "POST",
        &format!("/resources/{id}"),
        &[("content-type", "application/alto-networkmapfilter+json")],
        body.as_bytes(),
    );
    map(&reply)
}

/// `max-age` and `Expires`, both of one instant.
fn freshness(reply: &Reply) -> Option<u64> {
    let expires: Expires = reply.header("expires")?.parse().unwrap();
    let date: Expires = reply.header("date").unwrap().parse().unwrap();
    let age: u64 = reply.header("cache-control").unwrap().strip_prefix("max-age=").unwrap().parse().unwrap();
    // The date is set when the answer is sent, which is a moment later, of whatever length on a busy machine.
    let left = expires.unix().saturating_sub(date.unix());
    assert!((left..left + 30).contains(&age), "{reply:?}");
    Some(expires.unix())
}

/// Draft section 7: what an operator promises, of documents that come by a folder and by PUT; and another promise while it runs.
#[test]
fn lifetimes_that_an_operator_promises() {
    let dir = tempfile::tempdir().unwrap();
    let (maps, config) = (dir.path().join("maps"), dir.path().join("altocast.toml"));
    fs::create_dir(&maps).unwrap();
    write(&maps, "net.json", &network("a"));
    write(&maps, "cost.json", &costs(5));
    let tables = "[[expiry]]\nresource = \"n*\"\nseconds = 1000\n[[expiry]]\nresource = \"net\"\npid = \"b\"\nseconds = 100\n";
    write(dir.path(), "altocast.toml", &format!("[maps]\nfolder = \"maps\"\n{tables}"));
    let checked = run(&["config", "check", config.to_str().unwrap()]);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    let server = Server::start(&["--config", config.to_str().unwrap()]);

    let before = now();
    let reply = server.get("/resources/net-expiring");
    let (after, read) = (now(), map(&reply));
    let (a, b) = (of(&read, "a").unwrap(), of(&read, "b").unwrap());
    assert!((before + 500..=after + 1000).contains(&a) && (before + 50..=after + 100).contains(&b), "{a} {b} {before}");
    assert_eq!(freshness(&reply), Some(a.min(b)));
    assert!(freshness(&server.get("/resources/net")).is_some());
    assert_eq!(server.get("/resources/cost").header("cache-control"), Some("no-cache"), "no table is for it");
    let part = filtered(&server, "filtered-network-map-expiring", &["b"]);
    assert_eq!((part.expires, part.pids.len(), part.map.pids.len()), (None, 1, 1));
    let entry = &server.get("/directory").json()["resources"]["net-expiring"];
    assert_eq!((&entry["capabilities"]["expires"], &entry["uses"][0]), (&true.into(), &"net".into()));

    // A new version, published: the same promise, counted anew.
    assert_eq!(server.put("net", &network("a").replace("192.0.2.0", "198.51.100.0")).status / 100, 2);
    let before = now();
    let reply = server.get("/resources/net-expiring");
    assert!(text(&reply.body).contains("198.51.100.0/24"));
    assert!(of(&map(&reply), "a").unwrap() >= before + 500);

    // Another promise, without a restart and without a version.
    let seq = server.admin("GET", "/v1/resources", "").json();
    write(dir.path(), "altocast.toml", "[maps]\nfolder = \"maps\"\n[[expiry]]\nseconds = 100000\n");
    server.signal("HUP");
    server.wait_log(&["configuration reloaded"]);
    let before = now();
    assert!(of(&map(&server.get("/resources/net-expiring")), "b").unwrap() >= before + 50_000);
    assert!(freshness(&server.get("/resources/cost")).unwrap() >= before + 50_000);
    assert_eq!(server.admin("GET", "/v1/resources", "").json(), seq);
    write(dir.path(), "altocast.toml", "[maps]\nfolder = \"maps\"\n");
    server.signal("HUP");
    wait_for("the end of the promise", || (server.get("/resources/net-expiring").status == 404).then_some(()));
    assert_eq!(server.get("/resources/net").header("cache-control"), Some("no-cache"));
}

/// One line that says what to do.
#[test]
fn tables_that_make_no_sense() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.toml");
    for (text_of_it, want) in [
        ("[[expiry]]\nresource = \"net\"\n", "this [[expiry]] has no seconds; add for example seconds = 300"),
        ("[[expiry]]\nseconds = 0\n", "this [[expiry]] has 0 seconds; write 2 to 31536000 (a year)"),
        ("[[expiry]]\nsecond = 5\n", "did you mean \"seconds\"?"),
        ("[[expiry]]\nseconds = 5\n[[expiry]]\nseconds = 6\n", "two tables are for resource \"*\", and the first counts; remove one"),
    ] {
        fs::write(&file, text_of_it).unwrap();
        let checked = run(&["config", "check", file.to_str().unwrap()]);
        let said = text(&checked.stderr) + &text(&checked.stdout);
        assert!(!checked.status.success() && said.lines().any(|line| line.ends_with(want)), "{text_of_it}: {said}");
    }
}

fn lab(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../topology/tests/data/frr-geant2012-lab/t0-baseline").join(name)
}

/// A link-state database says it itself (RFC 2328 section 14): 3600 s less the age of the oldest LSA that a prefix rests on, from when the dump was
/// written. The known answers are the ages in the dumps of the lab.
#[test]
fn what_a_link_state_database_says() {
    let dir = tempfile::tempdir().unwrap();
    let written = SystemTime::UNIX_EPOCH + Duration::from_secs(now() - 100);
    let date = |path: &Path, at: SystemTime| fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
    let names = ["ospf-database-router.json.gz", "ospf-database-external.json.gz"];
    for name in names {
        fs::copy(lab(name), dir.path().join(name)).unwrap();
        date(&dir.path().join(name), written);
    }
    let config = dir.path().join("altocast.toml");
    let text = format!(
        "[maps]\npartition-by = \"router\"\nmetrics = [\"routingcost\"]\n[[source]]\nkind = \"frr-ospf\"\nname = \"igp\"\npoll-seconds = 0.05\nfiles = {names:?}\n"
    );
    fs::write(&config, &text).unwrap();
    let server = Server::start(&["--config", config.to_str().unwrap()]);
    let read = map(&server.get("/resources/network-map-expiring"));
    let from = Expires::at(written).unix();
    // The last has what the others leave, and holds as long as all of them.
    let known = [("10.255.0.1", 3473), ("10.255.0.12", 3470), ("10.255.0.40", 3477), ("default", 3470)];
    for (pid, seconds) in known {
        let pid = pid.replace('.', "-");
        assert_eq!(of(&read, &pid).map(|until| until - from), Some(seconds), "{pid}");
    }
    assert_eq!(read.earliest().map(|until| until.unix() - from), Some(3470));
    let part = filtered(&server, "filtered-network-map-expiring", &["10-255-0-16"]);
    assert_eq!(of(&part, "10-255-0-16"), Some(from + 3473));
    for plain in ["network-map", "network-map-expiring", "cost-map-routingcost", "cost-map-routingcost-ordinal"] {
        assert_eq!(freshness(&server.get(&format!("/resources/{plain}"))), Some(from + 3470), "{plain}");
    }

    // A newer dump of the same: later, and no new version.
    let version = server.get("/resources/network-map").etag();
    let before = server.get("/resources/network-map-expiring");
    names.iter().for_each(|name| date(&dir.path().join(name), written + Duration::from_secs(60)));
    let later = wait_for("the newer dump", || {
        let reply = server.get("/resources/network-map-expiring");
        (freshness(&reply) == Some(from + 3530)).then_some(reply)
    });
    assert_ne!(later.etag(), before.etag());
    assert_eq!(server.get("/resources/network-map").etag(), version);
    assert_eq!(server.admin("GET", "/v1/resources/network-map/history", "").json()["versions"].as_array().map(Vec::len), Some(1));

    // An old one says so: past, and not fresh.
    names.iter().for_each(|name| date(&dir.path().join(name), written - Duration::from_secs(9000)));
    let past = wait_for("the old dump", || {
        let reply = server.get("/resources/network-map-expiring");
        (of(&map(&reply), "10-255-0-16") == Some(from - 9000 + 3473)).then_some(reply)
    });
    assert_eq!(past.header("cache-control"), Some("max-age=0"));

    // Where both are known the earlier counts.
    fs::write(&config, format!("{text}[[expiry]]\npid = \"10-255-0-1?\"\nseconds = 20\n")).unwrap();
    names.iter().for_each(|name| date(&dir.path().join(name), SystemTime::now()));
    server.signal("HUP");
    server.wait_log(&["configuration reloaded"]);
    wait_for("both", || {
        let read = map(&server.get("/resources/network-map-expiring"));
        let left = |pid: &str| of(&read, pid).map_or(0, |until| until.saturating_sub(now()));
        (left("10-255-0-16") <= 20 && left("10-255-0-40") > 3000).then_some(())
    });
}

/// After a restart what was computed stands in for itself; until the sources are read again nobody says for how long.
#[test]
fn nothing_is_known_of_what_was_restored() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let names = ["ospf-database-router.json.gz", "ospf-database-external.json.gz"];
    let bring = || names.iter().all(|name| fs::copy(lab(name), dir.path().join(name)).is_ok());
    assert!(bring());
    let config = dir.path().join("altocast.toml");
    let text = format!("[maps]\npartition-by = \"router\"\n[[source]]\nkind = \"frr-ospf\"\npoll-seconds = 0.05\nfiles = {names:?}\n");
    fs::write(&config, text).unwrap();
    let args = ["--config", config.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
    let mut server = Server::start(&args);
    let version = server.get("/resources/network-map");
    assert!(freshness(&version).is_some());
    server.kill();
    names.iter().for_each(|name| fs::remove_file(dir.path().join(name)).unwrap());
    let server = Server::start(&args);
    let restored = server.get("/resources/network-map");
    assert_eq!((restored.etag(), restored.header("cache-control"), restored.header("expires")), (version.etag(), Some("no-cache"), None));
    assert_eq!(server.get("/resources/network-map-expiring").status, 404);
    assert!(bring());
    let known = wait_for("the sources", || Some(server.get("/resources/network-map-expiring")).filter(|reply| reply.status == 200));
    assert!(freshness(&known).is_some());
    assert_eq!(server.get("/resources/network-map").etag(), version.etag());
}

/// The demo knows when its next step comes; one that has no next step knows nothing.
#[test]
fn the_demo_holds_until_its_next_step() {
    let before = now();
    let server = Server::start(&["--demo-interval", "1000"]);
    let reply = server.get("/resources/network-map-expiring");
    let (after, read) = (now(), map(&reply));
    let until = read.expires.unwrap().unix();
    assert!((before + 1000..=after + 1000).contains(&until), "{until}");
    assert!(read.pids.is_empty(), "all hold alike");
    assert_eq!(freshness(&reply), Some(until));
    for plain in ["network-map", "cost-map-routingcost", "cost-map-delay-ow-ordinal"] {
        assert_eq!(freshness(&server.get(&format!("/resources/{plain}"))), Some(until), "{plain}");
    }
    let part = filtered(&server, "filtered-network-map-expiring", &["DE", "FR"]);
    assert_eq!((of(&part, "DE"), of(&part, "FR"), part.map.pids.len()), (Some(until), Some(until), 2));

    let server = Server::start(&["--demo", "azure"]);
    assert_eq!(server.get("/resources/network-map-expiring").status, 404);
    assert_eq!(server.get("/resources/network-map").header("cache-control"), Some("no-cache"));
}

/// A server that says the same to everybody: by path the fields and the body.
fn parrot(said: Vec<(&'static str, String, String)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = BufReader::new(stream);
            let (mut request, mut length, mut line) = (String::new(), 0, String::new());
            while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                let lower = line.to_ascii_lowercase();
                length = lower.strip_prefix("content-length:").map_or(length, |value| value.trim().parse().unwrap());
                if request.is_empty() {
                    request = line.clone();
                }
                line.clear();
            }
            let _ = stream.read_exact(&mut vec![0; length]);
            let mut words = request.split(' ');
            let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let known = said.iter().find(|(of, ..)| *of == path);
            let (status, fields, body) = known.map_or(("404 Not Found", "", ""), |(_, fields, body)| ("200 OK", fields, body));
            let date = Expires::at(SystemTime::now());
            let head = format!("HTTP/1.1 {status}\r\ndate: {date}\r\nconnection: close\r\n{fields}content-length: {}\r\n\r\n", body.len());
            let body = if method == "HEAD" { "" } else { body };
            let _ = stream.get_mut().write_all(format!("{head}{body}").as_bytes());
        }
    });
    format!("http://{address}")
}

/// `altocast check` of a server that announces what it does not do.
#[test]
fn dates_of_a_server_are_checked() {
    let later = |seconds: u64| Expires::from_unix(now() + seconds).to_string();
    let map = |pids: &str| format!(r#"{{"meta":{{"vtag":{{"resource-id":"net","tag":"t"}}}},"network-map":{{{pids}}}}}"#);
    let plain = r#""a":{"ipv4":["0.0.0.0/0"]},"b":{"ipv4":["192.0.2.0/24"]}"#;
    for (pids, control, want) in [
        (format!(r#""expires":"{}",{plain}"#, later(600)), "max-age=590", None),
        (format!(r#""expires":"soon",{plain}"#), "no-cache", Some("expiry")),
        (format!(r#""expires":"{}",{plain}"#, later(600)), "public, max-age=900", Some("freshness")),
        (
            format!(r#""a":{{"expires":"{}","ipv4":["0.0.0.0/0"]}},"b":{{"ipv4":["198.51.100.0/24"]}}"#, later(600)),
            "no-cache",
            Some("other-content"),
        ),
        (plain.to_owned(), "no-cache", Some("no-expiry")),
        (format!(r#""expires":"Wed, 14 Sep 2011 16:00:00 GMT",{plain}"#), "max-age=0", Some("expired")),
    ] {
        let media = |media: &str| format!("content-type: application/alto-{media}+json\r\netag: \"1\"\r\n");
        let directory = r#"{"meta":{"default-alto-network-map":"net"},"resources":{
            "net":{"uri":"/net","media-type":"application/alto-networkmap+json"},
            "net-expiring":{"uri":"/dates","media-type":"application/alto-networkmap+json","uses":["net"],"capabilities":{"expires":true}}}}"#;
        let url = parrot(vec![
            ("/", media("directory"), directory.to_owned()),
            ("/net", media("networkmap"), map(plain)),
            ("/dates", format!("{}cache-control: {control}\r\n", media("networkmap")), map(&pids)),
        ]);
        let checked = run(&["check", &url, "--json"]);
        let findings: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap_or_else(|error| panic!("{error}: {checked:?}"));
        let rules = ["expiry", "freshness", "other-content", "no-expiry", "expired"];
        let found: Vec<_> =
            findings["problems"].as_array().unwrap_or_else(|| panic!("{findings}")).iter().filter_map(|it| it["rule"].as_str()).collect();
        let found: Vec<_> = found.into_iter().filter(|rule| rules.contains(rule)).collect();
        assert_eq!(found, want.into_iter().collect::<Vec<_>>(), "{pids} {control}: {findings}");
    }
}
