//! `get`, `rank`, `check` and `publish` as a user runs them: the built program against the built server with its demo network.
#![allow(clippy::unwrap_used)] // A test says what went wrong by stopping there.

mod program;

use std::{
    io::{Read, Write},
    process::{Command, Output, Stdio},
};

/// A server on free ports whose replay stands at its first step; ends with the test.
struct Server {
    public: String,
    admin: String,
    _running: program::Server,
}

impl Server {
    fn start(environment: &[(&str, &str)]) -> Self {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--json", "--demo-interval", "86400"];
        let mut command = program::program(&arguments);
        command.envs(environment.iter().copied());
        let running = program::Server::spawn(command);
        Self { public: format!("http://{}", running.public), admin: format!("http://{}", running.admin), _running: running }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program::program(arguments);
        command.env("ALTOCAST_SERVER", &self.public).env("ALTOCAST_ADMIN", &self.admin);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Exit status, standard output, standard error.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        self.run_with(arguments, b"")
    }

    fn run_with(&self, arguments: &[&str], input: &[u8]) -> (i32, String, String) {
        let mut child = self.command(arguments).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let (code, out, error) = self.run(arguments);
        assert_eq!(code, 0, "{error}");
        serde_json::from_str(&out).unwrap()
    }

    /// The first IPv4 address of a PID.
    fn address_in(&self, pid: &str) -> String {
        let map = self.json(&["get", "network-map", "--json"]);
        let prefix = map["network-map"][pid]["ipv4"][0].as_str().unwrap();
        prefix.split('/').next().unwrap().to_owned()
    }
}

#[test]
fn get_prints_tables_for_people_and_documents_for_programs() {
    let server = Server::start(&[]);
    let (code, out, error) = server.run(&["get"]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(out.lines().any(|line| line.split_whitespace().eq(["network-map", "network", "map"])), "{out}");
    assert!(!out.contains('\x1b'), "no colours in a pipe");

    let whole = server.json(&["get", "cost-map-routingcost", "--json"]);
    let part = server.json(&["get", "cost-map-routingcost", "--src", "DE", "--dst", "FR,UK", "--json"]);
    assert_eq!(part["meta"]["cost-type"], whole["meta"]["cost-type"]);
    assert_eq!(part["cost-map"]["DE"]["UK"], whole["cost-map"]["DE"]["UK"]);
    assert_eq!(part["cost-map"].as_object().unwrap().len(), 1);

    let (_, out, _) = server.run(&["get", "cost-map-routingcost", "--pid", "DE,FR"]);
    let rows: Vec<Vec<_>> = out.lines().skip_while(|line| !line.starts_with(' ')).map(|line| line.split_whitespace().collect()).collect();
    let cost = whole["cost-map"]["DE"]["FR"].to_string();
    assert_eq!(rows, [vec!["DE", "FR"], vec!["DE", "0", &cost], vec!["FR", &cost, "0"]]);

    let (code, _, error) = server.run(&["get", "network-map", "--pid", "DE,XX"]);
    assert_eq!((code, error.trim()), (0, "note: the network map has no PID XX"));
    let (code, _, error) = server.run(&["get", "netwrok-map"]);
    assert!(code == 1 && error.contains("did you mean network-map?"), "{error}");
    assert_eq!(server.run(&["get", "--pid", "DE"]).0, 2, "a filter of nothing");
    assert_eq!(server.run(&["get", "cost-map-routingcost", "--constraint", "below 3"]).0, 2);
}

/// An option that a resource has no use for is not passed over: what came would look like an answer to it.
#[test]
fn get_refuses_what_a_resource_cannot_answer() {
    let server = Server::start(&[]);
    for (arguments, want) in [
        (&["cost-map-routingcost", "--metric", "hopcount"][..], "cost-map-routingcost has no hopcount"),
        (&["network-map", "--ordinal"], "are for costs; network-map has none"),
        (&["network-map", "--property", "pid"], "--property is for endpoint properties"),
        (&["endpoint-cost", "--pid", "DE"], "endpoint-cost wants addresses"),
    ] {
        let (code, out, error) = server.run(&[&["get"], arguments].concat());
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(error.contains(want), "{error}");
    }
    let ranks = server.json(&["get", "cost-map-routingcost", "--ordinal", "--json"]);
    assert_eq!(ranks["meta"]["cost-type"]["cost-mode"], "ordinal");
}

#[test]
fn endpoint_services_take_bare_addresses() {
    let server = Server::start(&[]);
    let (de, fr) = (server.address_in("DE"), server.address_in("FR"));
    let (code, out, error) = server.run(&["get", "endpoint-properties", "--src", &format!("{de},{fr}")]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(out.contains(&format!("ipv4:{de}")) && out.contains("DE"), "{out}");
    let several = server.json(&["get", "endpoint-cost", "--src", &de, "--dst", &fr, "--metric", "routingcost,hopcount", "--json"]);
    assert_eq!(several["endpoint-cost-map"][format!("ipv4:{de}")][format!("ipv4:{fr}")].as_array().unwrap().len(), 2);
    assert_eq!(server.run(&["get", "endpoint-cost"]).0, 2, "no endpoint at all");
}

#[test]
fn rank_orders_and_explains() {
    let server = Server::start(&[]);
    let (de, fr, uk) = (server.address_in("DE"), server.address_in("FR"), server.address_in("UK"));
    let costs = server.json(&["get", "cost-map-routingcost", "--src", "DE", "--json"])["cost-map"]["DE"].clone();
    let ranking = server.json(&["rank", "--src", &de, &uk, &fr, &de, "--json"]);
    let order: Vec<_> = ranking["ranking"].as_array().unwrap().iter().map(|one| (one["endpoint"].clone(), one["cost"].clone())).collect();
    let endpoint = |address: &str| serde_json::json!(format!("ipv4:{address}"));
    let mut want = vec![(endpoint(&uk), costs["UK"].clone()), (endpoint(&fr), costs["FR"].clone()), (endpoint(&de), costs["DE"].clone())];
    want.sort_by_key(|(_, cost)| cost.as_u64());
    assert_eq!(order, want);

    // The links of the explanation add up to the cost.
    let explained = server.json(&["rank", "--src", &de, &uk, "--explain", "--json"]);
    let explanation = &explained["ranking"][0]["explanation"];
    let links = explanation["legs"][0]["links"].as_array().unwrap();
    assert_eq!(links.iter().map(|link| link["contribution"].as_f64().unwrap()).sum::<f64>(), costs["UK"].as_f64().unwrap());
    let (code, out, error) = server.run(&["rank", "--src", &de, &uk, "--explain"]);
    assert_eq!((code, error.as_str()), (0, ""));
    let first = links[0]["from"].as_str().unwrap();
    assert!(out.contains(&format!("├─ {de} is in PID DE by ")) && out.contains(&format!("│    {first} → ")), "{out}");

    // From a file and from standard input, named as they were given.
    let list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(list.path(), format!("{uk} # far\n\nipv4:{fr}\n")).unwrap();
    let (_, from_file, _) = server.run(&["rank", "--src", &de, &format!("@{}", list.path().display())]);
    let (_, from_input, _) = server.run_with(&["rank", "--src", &de, "-"], format!("{uk}\nipv4:{fr}\n").as_bytes());
    assert_eq!(from_file, from_input);
    assert!(from_file.contains(&format!("ipv4:{fr}")) && from_file.contains(&format!("  {uk}")), "{from_file}");

    let (code, _, error) = server.run_with(&["rank", "--src", &de, "-"], b"192.0.2.1\nnonsense\n");
    assert!(code == 2 && error.contains("standard input:2: \"nonsense\""), "{code} {error}");
    let (code, _, error) = server.run(&["rank", "--src", &de, &fr, "--metric", "beauty"]);
    assert!(code == 1 && error.contains("offered:") && error.contains("hopcount"), "{error}");
}

#[test]
fn rank_explains_that_there_is_no_cost() {
    let server = Server::start(&[]);
    let (code, out, error) = server.run(&["rank", "--src", &server.address_in("DE"), "192.0.2.1", "priv:x", "--explain", "-v"]);
    assert_eq!(code, 1, "{error}");
    assert!(out.contains("192.0.2.1 is in PID default by 0.0.0.0/0"), "{out}");
    assert!(out.contains("no path DE → default: one of the two is behind no known router"), "{out}");
    assert!(out.ends_with("└─ priv:x is in no PID of the network map\n"), "{out}");
}

#[test]
fn http2_is_spoken_on_request() {
    let server = Server::start(&[]);
    assert_eq!(server.run(&["get", "network-map", "--http2", "--json"]).1, server.run(&["get", "network-map", "--json"]).1);
}

#[test]
fn check_says_what_is_wrong_and_where() {
    let server = Server::start(&[]);
    let (code, out, error) = server.run(&["check", &server.public]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.contains(&format!("services of {}", server.public)) && !out.contains("error"), "{out}");

    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "net.json",
        r#"{"meta": {"vtag": {"resource-id": "net", "tag": "1"}},
            "network-map": {"a": {"ipv4": ["0.0.0.0/0", "192.0.2.0/24"], "ipv6": ["::/0"]}, "b": {"ipv4": ["192.0.2.0/24"]}}}"#,
    );
    write(
        "cost.json",
        r#"{"meta": {"dependent-vtags": [{"resource-id": "net", "tag": "1"}], "cost-type": {"cost-mode": "numerical", "cost-metric": "routingcost"}},
            "cost-map": {"a": {"zz": 1}}}"#,
    );
    let (code, out, _) = server.run(&["check", folder.path().to_str().unwrap(), "--json"]);
    assert_eq!(code, 1);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let found: Vec<_> = report["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["rule"].as_str().unwrap(), one["pointer"].as_str().unwrap()))
        .collect();
    assert!(found.contains(&("unknown-pid", "/cost-map/a/zz")), "{found:?}");
    assert!(found.iter().any(|(rule, pointer)| *rule == "duplicate-prefix" && pointer.starts_with("/network-map/")), "{found:?}");

    write("bad.toml", "[server]\nlistne = 3\n");
    let (code, out, _) = server.run(&["check", folder.path().join("bad.toml").to_str().unwrap()]);
    assert!(code == 1 && out.contains("bad.toml:2: error: unknown key \"listne\"") && out.contains("\"listen\""), "{out}");
    assert_eq!(server.run(&["check", "/nonexistent.json"]).0, 1);
}

#[test]
fn publish_puts_patches_and_withdraws() {
    let server = Server::start(&[("ALTOCAST_GUARD_PUBLISHED_MOVED_SHARE_MAX", "0.2")]);
    let (code, _, error) =
        server.run_with(&["publish", "cost-map-routingcost", "-", "--merge-patch"], br#"{"cost-map": {"DE": {"FR": 4321}}}"#);
    assert_eq!((code, error.as_str()), (0, ""));
    assert_eq!(server.json(&["get", "cost-map-routingcost", "--json"])["cost-map"]["DE"]["FR"], 4321);

    let refused = br#"[{"op": "replace", "path": "/cost-map/DE/FR", "value": -1}]"#;
    let (code, _, error) = server.run_with(&["publish", "cost-map-routingcost", "-", "--json-patch"], refused);
    assert!(code == 1 && error.contains("cost-map/DE/FR"), "{error}");

    // Every prefix into one PID: more than a fifth moves.
    let mut map = server.json(&["get", "network-map", "--json"]);
    let tag = map["meta"]["vtag"]["tag"].clone();
    let all = map["network-map"].as_object_mut().unwrap();
    let moved: Vec<_> = all
        .iter_mut()
        .filter(|(pid, _)| *pid != "DE" && *pid != "default")
        .filter_map(|(_, group)| group.as_object_mut()?.remove("ipv4"))
        .collect();
    let into = all["DE"]["ipv4"].as_array_mut().unwrap();
    into.extend(moved.into_iter().flat_map(|list| list.as_array().unwrap().clone()));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), map.to_string()).unwrap();
    let path = file.path().to_str().unwrap();
    let (code, _, error) = server.run(&["publish", "network-map", path]);
    assert!(code == 1 && error.contains("the change guard refused network-map") && error.contains("--confirm"), "{error}");
    assert_eq!(server.json(&["get", "network-map", "--json"])["meta"]["vtag"]["tag"], tag, "nothing was published");
    let published = server.json(&["publish", "network-map", path, "--confirm", "--json"]);
    assert_eq!(server.json(&["get", "network-map", "--json"])["meta"]["vtag"]["tag"], published["tag"]);

    assert_eq!(server.run(&["publish", "--delete", "cost-map-hopcount"]).0, 0);
    assert_eq!(server.run(&["get", "cost-map-hopcount"]).0, 1);
    let (code, _, error) = server.run_with(&["publish", "network-map", "-"], b"{\"meta\": {}}");
    assert!(code == 1 && error.contains("altocast check"), "{error}");
    assert_eq!(server.run(&["publish", "network-map"]).0, 2, "no file");
}

#[test]
fn a_token_is_asked_for_and_sent() {
    let server = Server::start(&[("ALTOCAST_ADMIN_TOKEN", "s3cret")]);
    let (code, _, error) = server.run(&["publish", "--delete", "cost-map-hopcount"]);
    assert!(code == 1 && error.contains("--token"), "{error}");
    assert!(!error.contains("s3cret"));
    let (code, _, error) = server.run(&["publish", "--delete", "cost-map-hopcount", "--token", "a\nb"]);
    assert_eq!((code, error.as_str()), (1, "altocast: the token has characters that a header cannot carry, such as a line break\n"));
    assert_eq!(server.run(&["publish", "--delete", "cost-map-hopcount", "--token", "s3cret"]).0, 0);
}

#[test]
fn a_closed_pipe_is_no_error_and_a_full_disk_is_one() {
    let server = Server::start(&[]);
    let mut child = server.command(&["get", "network-map", "--json"]).spawn().unwrap();
    drop(child.stdout.take());
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!((child.wait().unwrap().code(), error.as_str()), (Some(0), ""));

    if let Ok(full) = std::fs::File::options().write(true).open("/dev/full") {
        let done = server.command(&["get", "network-map", "--json"]).stdout(full).output().unwrap();
        assert_eq!(done.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&done.stderr).contains("standard output"), "{done:?}");
    }
}

#[test]
fn nobody_there_is_one_clear_line() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let done = program::run(&["get", "--server", &format!("http://{free}")]);
    assert_eq!(done.status.code(), Some(1));
    let want = format!("altocast: nobody listens at {free}; is a server running? start one with: altocast serve\n");
    assert_eq!(String::from_utf8_lossy(&done.stderr), want);
    let done = program::run(&["get", "--server", "nonsense"]);
    assert_eq!(done.status.code(), Some(2));
}
