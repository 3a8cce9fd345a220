//! The data folder: what was acknowledged is there after any end, under the same numbers and tags; and one line for whatever is wrong with it.
#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]
mod program;

use program::{
    Server,
    documents::{costs, network, write},
    program, text, wait_for,
};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};

/// Everything a client can see of the maps: of each resource its history, its tag and its bytes.
fn seen(server: &Server) -> BTreeMap<String, (Value, String, Vec<u8>)> {
    let resources = server.admin("GET", "/v1/resources", "").json();
    let ids = resources["resources"].as_array().unwrap().iter().map(|resource| resource["resource-id"].as_str().unwrap().to_owned());
    ids.map(|id| {
        let body = server.get(&format!("/resources/{id}"));
        let history = server.admin("GET", &format!("/v1/resources/{id}/history"), "").json();
        (id, (history, body.etag(), body.body))
    })
    .collect()
}

fn commit(server: &Server) -> u64 {
    server.admin("GET", "/v1/resources", "").json()["commit"].as_u64().unwrap()
}

/// A server on a data folder, as it was started last.
fn start(data: &Path, args: &[&str]) -> Server {
    Server::start(&[&["--data-dir", data.to_str().unwrap()], args].concat())
}

#[test]
fn a_killed_server_comes_back_with_the_same_numbers_and_tags() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--demo-interval", "3600"];
    let mut server = start(dir.path(), &args);
    let before = commit(&server);
    let mut answers = Vec::new();
    for n in 1..20 {
        let put = server.put("net", &network(&format!("a{n}")));
        assert_eq!(put.status / 100, 2, "{put:?}");
        let patch = server.admin_with(
            "PATCH",
            "/v1/resources/cost-map-routingcost",
            "application/merge-patch+json",
            &format!(r#"{{"cost-map":{{"DE":{{"NL":{n}}}}}}}"#),
        );
        assert_eq!(patch.status, 200, "{patch:?}");
        answers.push((put.json(), patch.json()));
    }
    assert_eq!(server.admin("DELETE", "/v1/resources/cost-map-hopcount", "").status / 100, 2);
    let (want, commits) = (seen(&server), commit(&server));
    assert!(commits >= before + 39 && want.len() > 5, "{commits} {:?}", want.keys());
    server.kill();

    let server = start(dir.path(), &args);
    assert_eq!(commit(&server), commits, "equal maps make no commit");
    let found = seen(&server);
    for (id, (history, etag, body)) in &want {
        let (found_history, found_etag, found_body) = &found[id];
        assert_eq!((found_history, found_etag), (history, etag), "{id}");
        assert!(found_body == body, "{id}: {:.300}\n{:.300}", text(found_body), text(body));
    }
    assert_eq!(found.len(), want.len());
    assert_eq!(server.get("/resources/cost-map-hopcount").status, 404, "withdrawn, until somebody publishes it again");
    let (put, patch) = answers.last().unwrap();
    assert_eq!(found["net"].0["seq"], put["seq"]);
    assert_eq!(found["cost-map-routingcost"].0["versions"].as_array().unwrap().last().unwrap()["tag"], patch["tag"]);

    // And numbering goes on.
    let next = server.put("net", &network("next")).json();
    assert_eq!(next["seq"].as_u64(), put["seq"].as_u64().map(|seq| seq + 1));
    let store = &server.status()["store"];
    assert_eq!(store["folder"].as_str(), dir.path().to_str());
    assert!(store["bytes"].as_u64() > Some(1_000));
}

#[test]
fn a_file_that_did_not_change_does_not_undo_a_put_over_a_restart() {
    let (dir, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(dir.path(), "net.json", &network("a"));
    write(dir.path(), "cost.json", &costs(5));
    write(dir.path(), "other.json", &network("c").replace("\"net\"", "\"other\""));
    let args = ["--maps", dir.path().to_str().unwrap()];
    let mut server = start(data.path(), &args);
    assert_eq!(server.get("/resources/other").status, 200);
    assert_eq!(server.put("cost", &costs(50)).status / 100, 2);
    server.kill();

    // Gone while nobody looked.
    fs::remove_file(dir.path().join("other.json")).unwrap();
    let mut server = start(data.path(), &args);
    assert_eq!(server.cost("cost", "a", "b"), Some(50.0));
    assert_eq!(server.get("/resources/other").status, 404);
    server.kill();

    write(dir.path(), "cost.json", &costs(7));
    let mut server = start(data.path(), &args);
    assert_eq!(server.cost("cost", "a", "b"), Some(7.0), "a file that changed is newer than what was put before");
    // A folder that is gone says nothing.
    server.kill();
    let moved = dir.path().with_extension("moved");
    fs::rename(dir.path(), &moved).unwrap();
    fs::create_dir(dir.path()).unwrap();
    write(dir.path(), "net.json", "{");
    write(dir.path(), "cost.json", "{");
    let server = start(data.path(), &args);
    assert_eq!(server.cost("cost", "a", "b"), Some(7.0), "a file that broke keeps what it said last");
    fs::remove_dir_all(dir.path()).unwrap();
    fs::rename(&moved, dir.path()).unwrap();
}

#[test]
fn a_file_that_did_not_change_does_not_undo_a_put_after_another_folder() {
    let (data, folders) = (tempfile::tempdir().unwrap(), [(); 2].map(|()| tempfile::tempdir().unwrap()));
    let [a, b] = &folders;
    for dir in &folders {
        write(dir.path(), "net.json", &network("a"));
    }
    write(a.path(), "cost.json", &costs(5));
    write(b.path(), "cost.json", &costs(6));
    write(a.path(), "other.json", &network("c").replace("\"net\"", "\"other\""));
    let turn = |dir: &tempfile::TempDir| start(data.path(), &["--maps", dir.path().to_str().unwrap()]);
    let served = |server: &Server| (server.cost("cost", "a", "b"), server.get("/resources/other").status);
    assert_eq!(served(&turn(a)), (Some(5.0), 200));
    assert_eq!(served(&turn(b)), (Some(6.0), 404), "what only the other folder has goes with it");
    let server = turn(a);
    assert_eq!(served(&server), (Some(5.0), 200), "each says what it has, when it is its turn");
    assert_eq!(server.put("cost", &costs(50)).status / 100, 2);
    drop(server);
    assert_eq!(served(&turn(b)), (Some(50.0), 404));
    assert_eq!(served(&turn(a)), (Some(50.0), 200));
    write(a.path(), "cost.json", &costs(7));
    assert_eq!(served(&turn(a)), (Some(7.0), 200), "a file that changed is newer than what was put before");
}

#[test]
fn the_default_network_map_stays_the_default() {
    let data = tempfile::tempdir().unwrap();
    let args = ["--demo", "off"];
    let mut server = start(data.path(), &args);
    for id in ["z-first", "a-second"] {
        assert_eq!(server.put(id, &network("a").replace("\"net\"", &format!("\"{id}\""))).status / 100, 2);
    }
    let default = |server: &Server| server.get("/directory").json()["meta"]["default-alto-network-map"].as_str().unwrap().to_owned();
    let want = default(&server);
    server.kill();
    assert_eq!(default(&start(data.path(), &args)), want);
}

/// Sources that cannot be read, and others than before.
#[test]
fn what_there_was_is_served_until_sources_say_otherwise() {
    let (dir, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = dir.path().join("altocast.toml");
    let latency = |cost: u32| format!("source,destination,avg\nA,B,{cost}\nB,A,{cost}\n");
    fs::write(dir.path().join("prefixes.csv"), "pid,prefix\nA,192.0.2.0/24\nB,198.51.100.0/24\n").unwrap();
    fs::write(dir.path().join("latency.csv"), latency(5)).unwrap();
    let section = |kind: &str, file: &str| format!("[[source]]\nkind = \"{kind}\"\nfiles = [\"{file}\"]\npoll-seconds = 0.1\n");
    fs::write(&config, section("prefix-csv", "prefixes.csv") + &section("latency-pairs", "latency.csv")).unwrap();
    let args = ["--config", config.to_str().unwrap()];
    let mut server = start(data.path(), &args);
    let id = "cost-map-delay-rt";
    let cost = server.cost(id, "A", "B");
    assert!(cost.is_some());
    let want = server.get("/resources/network-map").body;
    server.kill();

    for file in ["prefixes.csv", "latency.csv"] {
        fs::remove_file(dir.path().join(file)).unwrap();
    }
    let server = start(data.path(), &args);
    assert!(server.get("/resources/network-map").body == want);
    assert_eq!(server.cost(id, "A", "B"), cost);
    fs::write(dir.path().join("prefixes.csv"), "pid,prefix\nA,192.0.2.0/24\nB,198.51.100.0/24\n").unwrap();
    fs::write(dir.path().join("latency.csv"), latency(8)).unwrap();
    wait_for("the sources", || (server.cost(id, "A", "B").is_some_and(|now| Some(now) != cost)).then_some(()));
    drop(server);

    // The guard compares what the same sources say; other ones are meant to say something else.
    let server = start(data.path(), &["--demo", "geant", "--demo-interval", "3600"]);
    assert!(server.get("/resources/network-map").json()["network-map"]["DE"].is_object(), "{}", server.log());
    assert_eq!(server.status()["guard-holds"], false);
}

/// Nothing is made of a part of the sources, nor of none: neither where there was nothing before nor where there was.
#[test]
fn sources_that_cannot_be_read_at_the_start_make_no_maps() {
    let (dir, data, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let csv = |n: u32| (0..n).map(|n| format!("p{n},192.0.2.{}/26\n", 64 * n)).fold("pid,prefix\n".to_owned(), |all, row| all + &row);
    fs::write(dir.path().join("good.csv"), csv(4)).unwrap();
    let config = dir.path().join("altocast.toml");
    let write_config = |files: &[&str]| {
        let section =
            |file: &&str| format!("[[source]]\nname = \"{file}\"\nkind = \"prefix-csv\"\nfiles = [\"{file}\"]\npoll-seconds = 0.1\n");
        fs::write(&config, files.iter().map(section).collect::<String>()).unwrap();
    };
    let args = ["--config", config.to_str().unwrap()];
    let network = |server: &Server| server.get("/resources/network-map").json()["network-map"].as_object().unwrap().len();
    let readyz = |server: &Server| server.admin("GET", "/readyz", "").status;

    for files in [&["typo.csv"][..], &["good.csv", "typo.csv"]] {
        write_config(files);
        // The second start finds what the first one left.
        for _ in 0..2 {
            let all = ["serve", "--data-dir", fresh.path().to_str().unwrap(), "--listen", "127.0.0.1:0", "--admin-listen", "off"];
            let ended = program::run(&[&all[..], &args].concat());
            let said = text(&ended.stderr);
            assert!(ended.status.code() == Some(1) && said.contains("nothing to serve: source typo.csv"), "{said}");
            assert!(!said.contains("commit="), "{said}");
        }
    }

    write_config(&["good.csv"]);
    let server = start(data.path(), &args);
    let (want, before) = (seen(&server), commit(&server));
    assert_eq!((network(&server), readyz(&server)), (5, 200));
    drop(server);
    for files in [&["typo.csv"][..], &["good.csv", "typo.csv"]] {
        write_config(files);
        let server = start(data.path(), &args);
        server.wait_log(&["not read", "typo.csv"]);
        assert!(seen(&server) == want && commit(&server) == before, "{files:?}: {}", server.log());
        let status = server.status();
        assert_eq!((readyz(&server), &status["ready"]), (503, &Value::Bool(false)));
        let typo = status["sources"].as_array().unwrap().last().unwrap();
        assert!(typo["observations"] == 0 && typo["trouble"].is_string(), "{typo}");
    }

    // Read at last: theirs take the place of those of before, past the guard, as if they had been there at the start.
    write_config(&["typo.csv"]);
    let server = start(data.path(), &args);
    server.wait_log(&["not read", "typo.csv"]);
    fs::write(dir.path().join("typo.csv"), csv(1).replace("p0", "q")).unwrap();
    wait_for("readiness", || (readyz(&server) == 200).then_some(()));
    assert_eq!((network(&server), commit(&server)), (2, before + 1));
    drop(server);
    let server = start(data.path(), &args);
    assert_eq!((network(&server), commit(&server), readyz(&server)), (2, before + 1, 200));
}

#[test]
fn in_memory_keeps_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = |args: &[&str]| {
        let all = ["serve", "--json", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--demo-interval", "3600"];
        let mut command = program(&[&all, args].concat());
        command.env_remove("ALTOCAST_STORE_IN_MEMORY").env("XDG_DATA_HOME", dir.path());
        Server::spawn(command)
    };
    let one = server(&["--in-memory"]);
    let two = server(&["--in-memory"]);
    assert_eq!(one.put("net", &network("a")).status / 100, 2);
    assert!(one.status()["store"]["folder"].is_null());
    drop((one, two));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let three = server(&[]);
    assert_eq!(three.get("/resources/net").status, 404);
    assert_eq!(three.status()["store"]["folder"].as_str(), dir.path().join("altocast").to_str());
}

#[test]
fn what_is_wrong_with_the_data_folder_is_one_line_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let folder = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let mut server = start(Path::new(&folder("used")), &["--demo-interval", "3600"]);
    fs::write(folder("file"), "").unwrap();
    fs::create_dir(folder("strange")).unwrap();
    fs::write(folder("strange") + "/store.redb", "not a store").unwrap();
    let fails = |environment: &[(&str, &str)], args: &[&str], wants: &[&str]| {
        let all = [&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "off"], args].concat();
        let mut command = program(&all);
        command.env_remove("ALTOCAST_STORE_IN_MEMORY").envs(environment.iter().copied());
        let ended = command.output().unwrap();
        assert_eq!(ended.status.code(), Some(1), "{args:?}");
        let said = text(&ended.stderr);
        let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("altocast: ")).collect();
        assert!(lines.len() == 1 && wants.iter().all(|want| lines[0].contains(want)), "{args:?} without {wants:?}: {said}");
        assert!(ended.stdout.is_empty());
    };
    let pid = server.pid().to_string();
    fails(&[], &["--data-dir", &folder("used")], &["is in use by process", &pid, "--data-dir", "--in-memory"]);
    fails(&[], &["--data-dir", &folder("file")], &["cannot use the data folder", "--data-dir", "--in-memory"]);
    fails(&[], &["--data-dir", "/proc/altocast"], &["cannot use the data folder /proc/altocast"]);
    fails(&[], &["--data-dir", &folder("strange")], &["store.redb is damaged", "nothing in it was changed", "--data-dir"]);
    fails(&[], &[], &["neither XDG_DATA_HOME nor HOME", "--data-dir", "--in-memory"]);
    fails(&[("HOME", &folder("file"))], &[], &["cannot use the data folder", "file/.local/share/altocast"]);
    assert_eq!(fs::read(folder("strange") + "/store.redb").unwrap(), b"not a store");

    // Damage within: found at the start, told, and left alone.
    for n in 0..20 {
        assert_eq!(server.put("net", &network(&format!("pid-{n}"))).status / 100, 2);
    }
    server.kill();
    let file = folder("used") + "/store.redb";
    let whole = fs::read(&file).unwrap();
    let place = whole.windows(6).position(|bytes| bytes == b"pid-19").expect("short documents are plain on the disk");
    let mut bytes = whole.clone();
    bytes[place] ^= 1;
    fs::write(&file, bytes).unwrap();
    fails(&[], &["--data-dir", &folder("used")], &["data folder", "not the one that was written", "nothing in it was changed"]);
    fs::write(&file, whole).unwrap();
    let server = start(Path::new(&folder("used")), &["--demo-interval", "3600"]);
    assert_eq!(server.get("/resources/net").json()["network-map"].as_object().unwrap().len(), 2);
}
