//! `kill -9` under load, again and again: nothing acknowledged is gone, no number ever names two contents, and who follows over any
//! transport goes on where it was. Ten kills here; `cargo xtask kill` does two hundred (`ALTOCAST_KILLS` says how many).
#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]
mod program;

use client::{
    Client, Replica,
    replica::{Options, Told, Via, What},
};
use program::{PATIENCE, Server, request, try_request, wait_for};
use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// Network maps that are put all the while, one writer each.
const PUT: [&str; 3] = ["put-0", "put-1", "put-2"];
/// Changed with `PUT[0]` in one commit: its costs.
const COSTS: &str = "put-costs";

fn network(id: &str, counter: u64) -> String {
    format!(
        r#"{{"meta":{{"vtag":{{"resource-id":"{id}","tag":"1"}}}},"network-map":{{"n{counter}":{{"ipv4":["192.0.2.0/24"]}},"rest":{{"ipv4":["0.0.0.0/0"]}}}}}}"#
    )
}

fn costs(counter: u64) -> String {
    format!(
        r#"{{"meta":{{"dependent-vtags":[{{"resource-id":"{}","tag":"1"}}],"cost-type":{{"cost-mode":"numerical","cost-metric":"routingcost"}}}},"cost-map":{{"n{counter}":{{"rest":{counter}}}}}}}"#,
        PUT[0]
    )
}

/// The counter in a map, wherever it stands; 0: it is no map of ours.
fn counter(body: &[u8]) -> u64 {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    let map = body.get("network-map").or_else(|| body.get("cost-map")).and_then(serde_json::Value::as_object);
    map.and_then(|map| map.keys().find_map(|pid| pid.strip_prefix('n')?.parse().ok())).unwrap_or_default()
}

/// What the outside knows.
#[derive(Default)]
struct Known {
    /// The last counter that was acknowledged, by resource.
    acknowledged: BTreeMap<String, u64>,
    /// The tag of each version that anybody was ever told of, by resource and number.
    tags: BTreeMap<(String, u64), String>,
    /// The highest number of each.
    newest: BTreeMap<String, u64>,
    /// What must not be.
    wrong: Vec<String>,
}

impl Known {
    fn version(&mut self, who: &str, id: &str, seq: u64, tag: &str) {
        let known = self.tags.entry((id.to_owned(), seq)).or_insert_with(|| tag.to_owned());
        if known != tag {
            let line = format!("{who}: version {seq} of {id} is {tag} and was {known}");
            self.wrong.push(line);
        }
        let newest = self.newest.entry(id.to_owned()).or_default();
        *newest = seq.max(*newest);
    }
}

#[derive(Default)]
struct Load {
    public: String,
    admin: String,
    known: Mutex<Known>,
    /// By writer, the counter it tries or tried last.
    tried: [AtomicU64; PUT.len()],
    stop: AtomicBool,
    /// How often the server was started.
    starts: Mutex<u64>,
    started: Condvar,
}

impl Load {
    fn starts(&self) -> u64 {
        *self.starts.lock().unwrap()
    }

    /// The server is there again.
    fn start(&self) {
        *self.starts.lock().unwrap() += 1;
        self.started.notify_all();
    }

    /// Waits until it was started more often than that.
    fn wait_for_start(&self, starts: u64) {
        let now = self.starts.lock().unwrap();
        let (now, late) = self.started.wait_timeout_while(now, PATIENCE, |now| *now <= starts).unwrap();
        assert!(!late.timed_out(), "after start {now} the server was not started again");
    }

    /// Puts one map after the other; a server that is away is asked again.
    fn write(&self, writer: usize) {
        let id = PUT[writer];
        while !self.stop.load(Ordering::SeqCst) {
            let starts = self.starts();
            let counter = self.tried[writer].fetch_add(1, Ordering::SeqCst) + 1;
            let answer = if writer == 0 {
                let change =
                    |media_type: &str, data: String| format!(r#"{{"media-type":"application/alto-{media_type}+json","data":{data}}}"#);
                let both = format!(
                    r#"{{"changes":{{"{id}":{},"{COSTS}":{}}}}}"#,
                    change("networkmap", network(id, counter)),
                    change("costmap", costs(counter))
                );
                try_request(&self.admin, "POST", "/v1/commits", &[("content-type", "application/json")], both.as_bytes())
            } else {
                let fields = [("content-type", "application/alto-networkmap+json")];
                try_request(&self.admin, "PUT", &format!("/v1/resources/{id}"), &fields, network(id, counter).as_bytes())
            };
            let Ok(answer) = answer else {
                self.wait_for_start(starts);
                continue;
            };
            let mut known = self.known.lock().unwrap();
            if answer.status / 100 != 2 {
                known.wrong.push(format!("{id} {counter}: {}", String::from_utf8_lossy(&answer.body)));
                continue;
            }
            let answer = answer.json();
            let one = [answer.clone()];
            for version in answer["resources"].as_array().map_or(&one[..], Vec::as_slice) {
                let (id, seq) = (version["resource-id"].as_str().unwrap(), version["seq"].as_u64().unwrap());
                known.version("acknowledged", id, seq, version["tag"].as_str().unwrap());
                known.acknowledged.insert(id.to_owned(), counter);
            }
        }
    }

    /// Everything that was acknowledged is there, as it was.
    fn check(&self, server: &Server) {
        let mut known = self.known.lock().unwrap();
        let acknowledged = known.acknowledged.clone();
        for (id, acknowledged) in acknowledged {
            let found = counter(&server.get(&format!("/resources/{id}")).body);
            let writer = PUT.iter().position(|put| *put == id).unwrap_or(0);
            let tried = self.tried[writer].load(Ordering::SeqCst);
            if !(acknowledged..=tried).contains(&found) {
                known.wrong.push(format!("{id} has {found}; {acknowledged} was acknowledged and {tried} tried"));
            }
        }
        self.look(server, &mut known);
    }

    /// Takes down all numbers and tags.
    fn look(&self, server: &Server, known: &mut Known) {
        for resource in server.admin("GET", "/v1/resources", "").json()["resources"].as_array().unwrap() {
            let id = resource["resource-id"].as_str().unwrap();
            let history = server.admin("GET", &format!("/v1/resources/{id}/history"), "").json();
            let newest = history["seq"].as_u64().unwrap();
            if newest < known.newest.get(id).copied().unwrap_or_default() {
                known.wrong.push(format!("{id} went back to version {newest} from {}", known.newest[id]));
            }
            for version in history["versions"].as_array().unwrap() {
                known.version("history", id, version["seq"].as_u64().unwrap(), version["tag"].as_str().unwrap());
            }
        }
    }
}

/// Follows `id` and checks every change: numbers and counters never go back.
async fn follow(load: Arc<Load>, via: Via, id: &'static str, changes: Arc<AtomicU64>, last: Arc<AtomicU64>) {
    let mut options = client::Options::new(format!("http://{}", load.public));
    options.limits.backoff_min = Duration::from_millis(10);
    options.limits.backoff_max = Duration::from_millis(100);
    let follower = Arc::new(Client::new(options).unwrap());
    let wanted = Options { via: Some(via), ..Options::new(id.parse().unwrap()) };
    // The server is there.
    let mut replica = match Replica::open(follower, wanted).await {
        Ok(replica) => replica,
        Err(error) => return load.known.lock().unwrap().wrong.push(format!("{via} did not begin: {error}")),
    };
    let (mut seq, mut content) = (0, 0);
    loop {
        let change = match replica.next().await {
            Ok(Told::Change(change)) => change,
            Ok(Told::Notice(_)) => continue,
            Err(error) => return load.known.lock().unwrap().wrong.push(format!("{via} ended: {error}")),
        };
        let mut known = load.known.lock().unwrap();
        if change.resource.as_str() == id {
            let now = counter(&change.content.to_json());
            if now < content {
                known.wrong.push(format!("{via}: {id} went back to {now} from {content}"));
            }
            content = now;
            last.store(now, Ordering::SeqCst);
            changes.fetch_add(1, Ordering::SeqCst);
        }
        if let (Some(now), Some(tag), true) = (change.seq, &change.tag, change.resource.as_str() == id) {
            known.version(via.as_str(), id, now, tag.as_str());
            if now < seq || (matches!(change.what, What::Patch { .. }) && seq != 0 && now != seq + 1) {
                known.wrong.push(format!("{via}: version {now} of {id} after {seq}"));
            }
            seq = now;
        }
    }
}

/// A port that was free a moment ago: the server must come back where it was.
fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn nothing_acknowledged_is_lost_to_kill_9() {
    let kills: u64 = std::env::var("ALTOCAST_KILLS").map_or(10, |kills| kills.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let (public, admin) = (free(), free());
    let load = Arc::new(Load { public, admin, ..Load::default() });
    let start = || {
        let arguments =
            ["serve", "--json", "--listen", &load.public, "--admin-listen", &load.admin, "--demo-interval", "0.2", "--data-dir"];
        Server::spawn(program::program(&[&arguments[..], &[dir.path().to_str().unwrap()]].concat()))
    };
    let mut server = start();
    let writers: Vec<_> = (0..PUT.len())
        .map(|writer| {
            thread::spawn({
                let load = load.clone();
                move || load.write(writer)
            })
        })
        .collect();
    wait_for("the first versions", || (load.known.lock().unwrap().acknowledged.len() == PUT.len() + 1).then_some(()));

    // Two of each kind: one map alone, and one of two that depend on each other.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let followed = |via| [(via, PUT[1]), (via, COSTS)];
    let replicas: Vec<_> = Via::ALL
        .into_iter()
        .flat_map(followed)
        .map(|(via, id)| {
            let (changes, last) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
            runtime.spawn(follow(load.clone(), via, id, changes.clone(), last.clone()));
            (via, id, changes, last)
        })
        .collect();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let following = thread::spawn(move || runtime.block_on(stopped));
    for (via, id, changes, _) in &replicas {
        wait_for(&format!("a first change of {id} over {via}"), || (changes.load(Ordering::SeqCst) > 0).then_some(()));
    }

    // When a kill comes is what is tested, so this waits for time: between kills it spreads over what a start, a commit and a write take, the
    // same in every run.
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    for kill in 0..kills {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        thread::sleep(Duration::from_millis(20 + (random >> 33) % 280));
        if kill % 4 == 0 {
            load.look(&server, &mut load.known.lock().unwrap());
        }
        server.kill();
        server = start();
        load.start();
        load.check(&server);
        let wrong = std::mem::take(&mut load.known.lock().unwrap().wrong);
        assert!(wrong.is_empty(), "after kill {kill}: {wrong:#?}");
    }

    load.stop.store(true, Ordering::SeqCst);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    load.check(&server);
    for (via, id, changes, last) in &replicas {
        let newest = counter(&request(&load.public, "GET", &format!("/resources/{id}"), &[], b"").body);
        wait_for(&format!("{newest} of {id} over {via}; it has {}", last.load(Ordering::SeqCst)), || {
            (last.load(Ordering::SeqCst) == newest).then_some(())
        });
        eprintln!("{via:4} {id}: {} changes", changes.load(Ordering::SeqCst));
    }
    let known = load.known.lock().unwrap();
    assert!(known.wrong.is_empty(), "{:#?}", known.wrong);
    eprintln!("{kills} kills, {} versions known, acknowledged {:?}", known.tags.len(), known.acknowledged);
    drop((known, stop));
    let _ = following.join().unwrap();
}
