//! Network maps that say until when they are valid, as a whole and by PID (draft-alto-caching-subscription section 7): only what expired is asked for.
#![allow(clippy::unwrap_used)] // A test says what went wrong by stopping there.
#[allow(dead_code)] // The tests of the client use the rest.
mod support;

use alto::network_map::Filter;
use client::{Client, Clock, Error, Freshness, Limits, Options};
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};
use support::{Arrived, Reply, Server, reply};

const NETWORK_MAP: &str = "application/alto-networkmap+json";

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// What the server says: which version, and for how many seconds each PID and the whole are right whenever somebody asks.
#[derive(Debug, Clone)]
struct Said {
    tag: &'static str,
    pids: BTreeMap<&'static str, Option<u64>>,
    whole: Option<u64>,
    fields: &'static str,
    broken: bool,
    /// Of the server's clock, in seconds.
    ahead: i64,
}

struct World {
    clock: Clock,
    said: Arc<Mutex<Said>>,
    server: Server,
}

impl World {
    async fn new(pids: &[(&'static str, Option<u64>)], whole: Option<u64>) -> Self {
        let clock = Clock::stopped_at(start());
        let pids = pids.iter().copied().collect();
        let said = Arc::new(Mutex::new(Said { tag: "t1", pids, whole, fields: "", broken: false, ahead: 0 }));
        let (now, says) = (clock.clone(), said.clone());
        let server = Server::start(false, move |request| answer(request, &says.lock().unwrap(), now.wall())).await;
        Self { clock, said, server }
    }

    fn client(&self) -> Client {
        self.client_with(|_| {})
    }

    fn client_with(&self, change: impl FnOnce(&mut Options)) -> Client {
        let mut options = Options { clock: self.clock.clone(), ..Options::new(self.server.url()) };
        change(&mut options);
        Client::new(options).unwrap()
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn say(&self, change: impl FnOnce(&mut Said)) {
        change(&mut self.said.lock().unwrap());
    }

    /// What was asked since the last time, but for directories: a path, and the PIDs of a POST.
    fn asked(&self) -> Vec<String> {
        let requests = std::mem::take(&mut *self.server.requests.lock().unwrap());
        let words = |request: &Arrived| match &*request.body {
            b"" => format!("GET {}", request.path),
            body => {
                let filter = Filter::from_json(body).unwrap();
                let pids: Vec<_> = filter.pids.iter().map(ToString::to_string).collect();
                format!("POST {} {}", request.path, pids.join(" "))
            }
        };
        requests.iter().filter(|request| request.path != "/").map(words).collect()
    }
}

fn after(now: SystemTime, seconds: u64) -> String {
    httpdate::fmt_http_date(now + Duration::from_secs(seconds))
}

/// The part of the map that was asked for.
fn map(said: &Said, now: SystemTime, wanted: impl Fn(&str) -> bool) -> String {
    let mut members: Vec<_> = said.whole.iter().map(|whole| format!("\"expires\":\"{}\"", after(now, *whole))).collect();
    for (at, (pid, seconds)) in said.pids.iter().enumerate().filter(|(_, (pid, _))| wanted(pid)) {
        let expires = seconds.map(|seconds| format!("\"expires\":\"{}\",", after(now, seconds))).unwrap_or_default();
        // Another version has other prefixes.
        let prefix = format!("10.{at}.{}.0/24", said.tag.len() + usize::from(said.tag.as_bytes()[1]));
        members.push(format!("\"{pid}\":{{{expires}\"ipv4\":[\"{prefix}\"]}}"));
    }
    format!(r#"{{"meta":{{"vtag":{{"resource-id":"net","tag":"{}"}}}},"network-map":{{{}}}}}"#, said.tag, members.join(","))
}

fn answer(request: &Arrived, said: &Said, now: SystemTime) -> Reply {
    let now =
        now.checked_add(Duration::from_secs(said.ahead.max(0) as u64)).unwrap() - Duration::from_secs(said.ahead.min(0).unsigned_abs());
    let mut reply = match &*request.path {
        "/" => reply(
            200,
            "application/alto-directory+json",
            r#"{"meta": {"default-alto-network-map": "net"}, "resources": {
                "net": {"uri": "/n", "media-type": "application/alto-networkmap+json"},
                "net-expiring": {"uri": "/ne", "media-type": "application/alto-networkmap+json", "uses": ["net"],
                                 "capabilities": {"expires": true}},
                "part": {"uri": "/f", "media-type": "application/alto-networkmap+json", "uses": ["net"],
                         "accepts": "application/alto-networkmapfilter+json"},
                "part-expiring": {"uri": "/fe", "media-type": "application/alto-networkmap+json", "uses": ["net"],
                                  "accepts": "application/alto-networkmapfilter+json", "capabilities": {"expires": true}}}}"#,
        ),
        _ if said.broken => reply(503, "text/plain", "busy"),
        "/ne" => {
            let body = map(said, now, |_| true);
            let etag = format!("\"{}\"", body.replace('"', ""));
            let mut reply =
                if request.header("if-none-match") == etag { reply(304, NETWORK_MAP, "") } else { reply(200, NETWORK_MAP, body) };
            reply.headers_mut().insert("etag", etag.parse().unwrap());
            reply
        }
        "/fe" => {
            let filter = Filter::from_json(&request.body).unwrap();
            reply(200, NETWORK_MAP, map(said, now, |pid| filter.pids.iter().any(|wanted| wanted.as_str() == pid)))
        }
        other => panic!("the plain resource {other} is not asked where there is one that expires"),
    };
    for line in said.fields.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        reply.headers_mut().append(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
    }
    reply.headers_mut().insert("date", httpdate::fmt_http_date(now).parse().unwrap());
    reply
}

fn fresh(seconds: u64) -> Freshness {
    Freshness::Fresh { until: start() + Duration::from_secs(seconds) }
}

/// Section 7.2: at PID level only the PIDs that expired, at map level the map.
#[tokio::test]
async fn only_what_expired_is_asked_for() {
    let world = World::new(&[("a", Some(50)), ("b", None), ("c", None), ("d", Some(70))], Some(100)).await;
    let client = world.client();
    let first = client.network_map(None).await.unwrap();
    assert_eq!((first.freshness, world.asked()), (fresh(50), vec!["GET /ne".to_owned()]));
    assert_eq!(first.value.to_json(), first.body, "the text is that of RFC 7285");
    world.pass(49);
    assert_eq!(client.network_map(None).await.unwrap().freshness, fresh(50));
    assert!(world.asked().is_empty());

    world.pass(1);
    let second = client.network_map(None).await.unwrap();
    assert_eq!((second.freshness, second.revalidated), (fresh(70), true), "d is next");
    assert_eq!(world.asked(), ["POST /fe a"]);
    assert!(Arc::ptr_eq(&first.value, &second.value), "the map itself is the same");
    client.network_map(None).await.unwrap();
    assert!(world.asked().is_empty());

    world.pass(50);
    assert_eq!(client.network_map(None).await.unwrap().freshness, fresh(150));
    assert_eq!(world.asked(), ["GET /ne"], "most of it expired");
}

#[tokio::test]
async fn most_of_a_map_is_asked_for_as_a_whole_and_many_pids_in_pieces() {
    let names = ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9"];
    let few: Vec<_> = names.iter().enumerate().map(|(at, name)| (*name, Some(if at < 5 { 10 } else { 100 }))).collect();
    let world = World::new(&few, None).await;
    let client = world.client_with(|options| options.limits = Limits { pids_per_request_max: 2, ..Limits::default() });
    client.network_map(None).await.unwrap();
    world.asked();
    world.pass(10);
    assert_eq!(client.network_map(None).await.unwrap().freshness, fresh(20));
    assert_eq!(world.asked(), ["POST /fe p0 p1", "POST /fe p2 p3", "POST /fe p4"]);
    world.say(|said| _ = said.pids.insert("p5", Some(10)));
    world.pass(90);
    client.network_map(None).await.unwrap();
    assert_eq!(world.asked(), ["GET /ne"]);
}

/// A merged map would mix two versions: the new one is fetched whole, whatever became of the PIDs asked for.
#[tokio::test]
async fn another_version_is_fetched_anew() {
    for gone in [false, true] {
        let world = World::new(&[("a", Some(50)), ("b", Some(90)), ("c", Some(90))], None).await;
        let client = world.client();
        client.network_map(None).await.unwrap();
        world.asked();
        world.pass(50);
        world.say(|said| {
            // A PID that is gone under the same tag breaks a promise, and the map is fetched all the same.
            if gone {
                said.pids.remove("a");
            } else {
                said.tag = "t2";
            }
        });
        let answer = client.network_map(None).await.unwrap();
        assert_eq!(world.asked(), ["POST /fe a", "GET /ne"]);
        let said = world.said.lock().unwrap().clone();
        let served = alto::expiry::ExpiringNetworkMap::from_json(map(&said, start(), |_| true).as_bytes()).unwrap();
        assert_eq!(*answer.value, served.map, "nothing of the version before is left");
    }
}

/// A source that has nothing newer: the answer is the newest there is, and says that it expired. It is asked for again, and not in a loop.
#[tokio::test]
async fn what_expired_at_the_server_is_given_out_as_expired() {
    let world = World::new(&[("a", Some(0)), ("b", Some(90)), ("c", Some(90))], None).await;
    let client = world.client();
    assert_eq!(client.network_map(None).await.unwrap().freshness, Freshness::Stale { since: start() });
    assert_eq!(world.asked(), ["GET /ne"]);
    world.pass(10);
    let since = start() + Duration::from_secs(10);
    assert_eq!(client.network_map(None).await.unwrap().freshness, Freshness::Stale { since });
    assert_eq!(world.asked(), ["POST /fe a"]);
    world.say(|said| _ = said.pids.insert("a", None));
    assert_eq!(client.network_map(None).await.unwrap().freshness, Freshness::Confirmed, "of a nothing is known any more");
    assert_eq!(world.asked(), ["POST /fe a", "GET /ne"]);
    client.network_map(None).await.unwrap();
    assert_eq!(world.asked(), ["GET /ne"]);
}

/// Section 7.3.1 has an expiry beside `no-cache`; RFC 9111 section 5.2.2.5 is another matter.
#[tokio::test]
async fn the_body_says_when_it_expires() {
    let world = World::new(&[("a", None)], Some(50)).await;
    world.say(|said| said.fields = "cache-control: no-cache");
    let client = world.client();
    client.network_map(None).await.unwrap();
    client.network_map(None).await.unwrap();
    assert_eq!(world.asked().len(), 1);
    world.say(|said| said.fields = "cache-control: no-store");
    let client = world.client();
    client.network_map(None).await.unwrap();
    client.network_map(None).await.unwrap();
    assert_eq!(world.asked().len(), 2);
}

/// Servers commonly forbid to store what answers a POST. A part is not kept then, but a date renews a map that was let be kept.
#[tokio::test]
async fn parts_that_are_not_to_be_stored_renew_a_map() {
    let world = World::new(&[("a", Some(50)), ("b", Some(90)), ("c", Some(90))], None).await;
    let client = world.client();
    client.network_map(None).await.unwrap();
    world.say(|said| said.fields = "cache-control: no-store");
    world.pass(50);
    assert_eq!(client.network_map(None).await.unwrap().freshness, fresh(90));
    assert_eq!(client.network_map(None).await.unwrap().freshness, fresh(90));
    assert_eq!(world.asked(), ["GET /ne", "POST /fe a"]);
    let part = Filter { pids: vec!["a".parse().unwrap()], address_types: Vec::new() };
    for _ in 0..2 {
        client.filtered_network_map(None, &part).await.unwrap();
        assert_eq!(world.asked(), ["POST /fe a"]);
    }
}

#[tokio::test]
async fn a_server_whose_clock_is_another() {
    for (ahead, until) in [(0, 50), (1000, 50), (-20, 30)] {
        let world = World::new(&[("a", None)], Some(50)).await;
        world.say(|said| said.ahead = ahead);
        assert_eq!(world.client().network_map(None).await.unwrap().freshness, fresh(until), "{ahead} s ahead");
    }
    let world = World::new(&[("a", None)], Some(50)).await;
    let client = world.client();
    client.network_map(None).await.unwrap();
    world.pass(60);
    world.clock.set(start());
    world.say(|said| said.ahead = 60);
    client.network_map(None).await.unwrap();
    assert_eq!(world.asked().len(), 2, "our clock was set back");
}

#[tokio::test]
async fn concurrent_callers_share_a_refresh() {
    let world = World::new(&[("a", Some(50)), ("b", Some(500)), ("c", Some(500))], None).await;
    let client = Arc::new(world.client());
    client.catalog().await.unwrap();
    for want in ["GET /ne", "POST /fe a"] {
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.network_map(None).await.unwrap().freshness })
            })
            .collect();
        for task in tasks {
            assert!(matches!(task.await.unwrap(), Freshness::Fresh { .. }));
        }
        assert_eq!(world.asked(), [want]);
        world.pass(50);
    }
}

#[tokio::test]
async fn stale_maps_are_given_out_on_request_only() {
    let world = World::new(&[("a", Some(50)), ("b", Some(90)), ("c", Some(90))], None).await;
    let strict = world.client();
    let lenient = world.client_with(|options| options.stale_if_unreachable = Some(Duration::from_secs(20)));
    strict.network_map(None).await.unwrap();
    lenient.network_map(None).await.unwrap();
    world.say(|said| said.broken = true);
    world.pass(49);
    assert_eq!(strict.network_map(None).await.unwrap().freshness, fresh(50), "nobody is asked");
    world.pass(21);
    let error = strict.network_map(None).await.unwrap_err();
    assert!(matches!(error, Error::Status { .. }), "{error}");
    assert_eq!(lenient.network_map(None).await.unwrap().freshness, Freshness::Stale { since: start() + Duration::from_secs(50) });
    world.pass(1);
    lenient.network_map(None).await.unwrap_err();
}

/// Requests that ask for the same share an answer, however they are written.
#[tokio::test]
async fn parts_are_kept_by_what_they_ask_for() {
    let world = World::new(&[("a", Some(50)), ("b", Some(90)), ("c", Some(90)), ("d", None)], Some(70)).await;
    let client = world.client();
    let part = |pids: &str| Filter { pids: pids.split(' ').map(|pid| pid.parse().unwrap()).collect(), address_types: Vec::new() };
    let first = client.filtered_network_map(None, &part("c b a")).await.unwrap();
    assert_eq!((first.freshness, world.asked()), (fresh(50), vec!["POST /fe a b c".to_owned()]));
    let second = client.filtered_network_map(None, &part("a b c a")).await.unwrap();
    assert_eq!((second.freshness, &second.body), (fresh(50), &first.body));
    assert!(world.asked().is_empty());
    world.pass(50);
    let third = client.filtered_network_map(None, &part("a b c")).await.unwrap();
    assert_eq!((third.freshness, world.asked()), (fresh(90), vec!["POST /fe a".to_owned()]));
    assert_eq!(third.value, first.value);
    let absent = client.filtered_network_map(None, &part("b z")).await.unwrap();
    assert_eq!(absent.freshness, fresh(120), "how long there is no z, the map says");
    world.asked();
    world.pass(70);
    client.filtered_network_map(None, &part("b z")).await.unwrap();
    assert_eq!(world.asked(), ["POST /fe b z"]);
}

/// Each client as another process would be.
#[tokio::test]
async fn a_folder_keeps_both_levels() {
    let world = World::new(&[("a", Some(50)), ("b", Some(90)), ("c", None)], Some(200)).await;
    let folder = tempfile::tempdir().unwrap();
    let client = || world.client_with(|options| options.cache_folder = Some(folder.path().into()));
    let first = client().network_map(None).await.unwrap();
    world.pass(40);
    let second = client().network_map(None).await.unwrap();
    assert_eq!((&second.body, second.freshness), (&first.body, fresh(50)));
    world.asked();
    world.pass(10);
    assert_eq!(client().network_map(None).await.unwrap().freshness, fresh(90));
    assert_eq!(world.asked(), ["POST /fe a"], "another process refreshes what expired");
    assert_eq!(client().network_map(None).await.unwrap().freshness, fresh(90));
    assert!(world.asked().is_empty(), "and all see it");
    let part = Filter { pids: vec!["b".parse().unwrap(), "a".parse().unwrap()], address_types: Vec::new() };
    let first = client().filtered_network_map(None, &part).await.unwrap();
    let second = client().filtered_network_map(None, &part).await.unwrap();
    assert_eq!((second.freshness, &second.body), (first.freshness, &first.body));
    assert_eq!(world.asked(), ["POST /fe a b"]);
    // Set back to before it came.
    world.clock.set(start());
    let late = World { clock: Clock::stopped_at(start()), said: world.said.clone(), server: world.server };
    let client = late.client_with(|options| options.cache_folder = Some(folder.path().into()));
    client.network_map(None).await.unwrap();
    assert_eq!(late.asked(), ["GET /ne"]);
}

/// What names the resource itself gets it as it was sent.
#[tokio::test]
async fn the_resource_as_it_was_sent() {
    let world = World::new(&[("a", Some(50)), ("b", None)], Some(200)).await;
    let client = world.client();
    let catalog = client.catalog().await.unwrap();
    let answer = client.resource(catalog.offer("net-expiring").unwrap()).await.unwrap();
    assert!(answer.body.windows(7).any(|it| it == b"expires"));
    let whole = client.network_map(None).await.unwrap();
    assert_eq!(*answer.value, alto::Document::NetworkMap((*whole.value).clone()));
    assert_eq!(world.asked(), ["GET /ne", "GET /ne"]);
}

/// Whoever wants what the server says of expiry gets that too, by the server's clock, and only what expired is asked for: also from a folder, and
/// after the same map was asked for without it.
#[tokio::test]
async fn the_document_with_what_it_says() {
    for ahead in [0, 30] {
        let world = World::new(&[("a", Some(50)), ("b", None), ("c", Some(400)), ("d", None)], Some(300)).await;
        world.say(|said| said.ahead = ahead);
        let folder = tempfile::tempdir().unwrap();
        let document = async || {
            let client = world.client_with(|options| options.cache_folder = Some(folder.path().into()));
            let catalog = client.catalog().await.unwrap();
            client.document(catalog.offer("net-expiring").unwrap()).await.unwrap()
        };
        let served = |passed: &[(&'static str, u64)]| {
            // Each PID as it was said when it was asked for.
            let mut said = world.said.lock().unwrap().clone();
            said.whole = said.whole.map(|whole| whole + ahead as u64);
            for (pid, seconds) in &mut said.pids {
                let asked = passed.iter().find(|(name, _)| name == pid).map_or(0, |(_, at)| *at);
                *seconds = seconds.map(|seconds| seconds + asked + ahead as u64);
            }
            map(&said, start(), |_| true)
        };
        let client = world.client_with(|options| options.cache_folder = Some(folder.path().into()));
        let plain = client.network_map(None).await.unwrap();
        let first = document().await;
        assert_eq!((&*first.body, first.freshness), (served(&[]).as_bytes(), fresh(50)), "{ahead}");
        assert_eq!(*first.value, alto::Document::NetworkMap((*plain.value).clone()));
        assert_eq!(world.asked(), ["GET /ne"]);
        world.pass(50);
        let second = document().await;
        assert_eq!((&*second.body, second.freshness), (served(&[("a", 50)]).as_bytes(), fresh(100)), "{ahead}");
        assert_eq!(world.asked(), ["POST /fe a"]);
        assert_eq!((document().await.body, world.asked()), (second.body, vec![]));
        // Who wants what the server says now, or the resource as it was sent, asks for that.
        let client = world.client_with(|options| options.confirm = true);
        let now = client.document(client.catalog().await.unwrap().offer("net-expiring").unwrap()).await.unwrap();
        assert_eq!((now.freshness, world.asked()), (Freshness::Confirmed, vec!["GET /ne".to_owned()]));
    }
}

/// What a client may do, and what may happen around it.
#[derive(Debug, Clone)]
enum Event {
    Pass(u64),
    /// Our wall clock, by so many seconds.
    Set(i64),
    Change(usize),
    Lifetime(usize, u64),
    Outage(bool),
    /// By one of two clients of one folder, or by one that has memory alone.
    Use(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0u64..20).prop_map(Event::Pass),
        1 => (-40i64..40).prop_map(Event::Set),
        1 => (0usize..3).prop_map(Event::Change),
        2 => (0usize..4, 0u64..40).prop_map(|(at, seconds)| Event::Lifetime(at, seconds)),
        1 => any::<bool>().prop_map(Event::Outage),
        9 => (0usize..3).prop_map(Event::Use),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever happens in whatever order: what is called fresh is right by what the server said and by its clock, no map mixes two versions, and
    /// nothing is asked for that did not expire.
    #[test]
    fn never_fresh_after_expiry(events in prop::collection::vec(event(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(live(events));
    }
}

async fn live(events: Vec<Event>) {
    const NAMES: [&str; 4] = ["a", "b", "c", "d"];
    let tags = ["t1", "t2", "t3"];
    let pids: Vec<_> = NAMES.iter().map(|name| (*name, Some(20))).collect();
    let world = World::new(&pids, None).await;
    let folder = tempfile::tempdir().unwrap();
    let shared = || world.client_with(|options| options.cache_folder = Some(folder.path().into()));
    let clients = [shared(), shared(), world.client()];
    // By the clock of the server, which nobody sets: seconds passed, and until when it said that a PID of a version is right.
    // Who has no folder does not hear what others are told; a promise stands when the next one is shorter.
    let (mut passed, mut said) = (0i64, BTreeMap::<(bool, &str, &str), i64>::new());
    for event in events {
        match event {
            Event::Pass(seconds) => {
                passed += seconds as i64;
                world.pass(seconds);
            }
            Event::Set(by) => {
                let wall = world.clock.wall();
                let by_size = Duration::from_secs(by.unsigned_abs());
                world.clock.set(if by < 0 { wall - by_size } else { wall + by_size });
                world.say(|said| said.ahead -= by);
            }
            Event::Change(to) => world.say(|said| said.tag = tags[to]),
            Event::Lifetime(at, seconds) => world.say(|said| _ = said.pids.insert(NAMES[at], Some(seconds))),
            Event::Outage(broken) => world.say(|said| said.broken = broken),
            Event::Use(which) => {
                let answer = clients[which].network_map(None).await;
                let now = world.said.lock().unwrap().clone();
                for asked in world.asked() {
                    let of_pids = asked.strip_prefix("POST /fe ").map(|pids| pids.split(' ').collect::<Vec<_>>());
                    for name in NAMES.iter().filter(|name| !now.broken && of_pids.as_ref().is_none_or(|asked| asked.contains(name))) {
                        let until = said.entry((which == 2, now.tag, name)).or_default();
                        *until = (passed + now.pids[name].unwrap() as i64).max(*until);
                    }
                }
                let Ok(answer) = answer else {
                    assert!(now.broken);
                    continue;
                };
                let tag = answer.value.vtag.as_ref().unwrap().tag.to_string();
                let tag = tags.into_iter().find(|one| *one == tag).unwrap();
                let served = Said { tag, ..now.clone() };
                let served = alto::expiry::ExpiringNetworkMap::from_json(map(&served, start(), |_| true).as_bytes()).unwrap();
                assert_eq!(*answer.value, served.map);
                if let Freshness::Fresh { .. } = answer.freshness {
                    for name in NAMES {
                        assert!(said[&(which == 2, tag, name)] > passed, "{name} of {tag} expired");
                    }
                }
            }
        }
    }
}
