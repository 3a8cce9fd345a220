//! What caches go by: validators, conditions and freshness (RFC 9110 sections 8.8 and 13, RFC 9111).
use crate::served::{Answer, COST_MAP, NETWORK_MAP, Served, options, put};
use alto::{
    expiry::{Expires, ExpiringNetworkMap},
    media_type,
    network_map::NetworkMap,
};
use history::{Guard, Publisher};
use maps::expiry::Rule;
use serde_json::{Value, json};
use server::{NoSources, Options};
use std::{
    io::Read,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// RFC 9110 section 5.6.7: some years ago, so that no second of a test is its own.
const CHANGED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

fn changed() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(784_111_777_900)
}

fn served() -> Served {
    promising(Vec::new())
}

/// RFC 9110 sections 13.1.3, 13.1.4 and 13.2.2.
#[test]
fn dates_are_conditions() {
    let served = served();
    let etag = served.get("/resources/cost-map").field("etag").to_owned();
    for (fields, want) in [
        (format!("If-Modified-Since: {CHANGED}"), 304),
        ("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT".into(), 304),
        (format!("If-Modified-Since: {BEFORE}"), 200),
        ("If-Modified-Since: yesterday".into(), 200),
        // Only where no tag is named.
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {CHANGED}"), 200),
        (format!("If-None-Match: {etag}\r\nIf-Modified-Since: {BEFORE}"), 304),
        (format!("If-Unmodified-Since: {CHANGED}"), 200),
        (format!("If-Unmodified-Since: {BEFORE}"), 412),
        ("If-Unmodified-Since: yesterday".into(), 200),
        (format!("If-Match: {etag}\r\nIf-Unmodified-Since: {BEFORE}"), 200),
        (format!("If-Unmodified-Since: {CHANGED}\r\nIf-Modified-Since: {CHANGED}"), 304),
        (format!("If-Unmodified-Since: {BEFORE}\r\nIf-None-Match: {etag}"), 412),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = served.ask(&format!("{method} /resources/cost-map HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"));
            assert_eq!(answer.status, want, "{method} {fields}");
            assert!(answer.find("date").is_some());
            if want != 412 {
                let said = ["etag", "last-modified", "cache-control", "vary"].map(|name| answer.field(name));
                assert_eq!(said, [&etag, CHANGED, "no-cache", "accept-encoding"], "{method} {fields}");
            }
        }
    }
    // A coding is another representation, of the same date.
    let gzip =
        served.ask(&format!("GET /resources/cost-map HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nIf-Modified-Since: {BEFORE}\r\n\r\n"));
    assert_eq!((gzip.field("content-encoding"), gzip.field("last-modified")), ("gzip", CHANGED));
}

/// The directory says what is configured too: it is as old as the maps or the configuration, whichever is younger.
#[test]
fn pages_have_dates() {
    let start = SystemTime::now();
    let served = served();
    for accept in ["application/alto-directory+json", "text/html"] {
        let ask = |fields: &str| served.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n{fields}\r\n"));
        let said = httpdate::parse_http_date(ask("").field("last-modified")).unwrap();
        // A second earlier while the second lasts.
        assert!(said + Duration::from_secs(2) > start, "{accept}: {said:?}");
        assert_eq!(ask(&format!("If-Modified-Since: {CHANGED}\r\n")).status, 200);
        assert_eq!(ask("If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT\r\nIf-None-Match: \"x\"\r\n").status, 200);
    }
}

/// RFC 9110 section 8.8.2.2, on the wire: two versions of one second, and whoever got a date meanwhile.
#[test]
fn no_date_names_two_versions() {
    let served = served();
    let ask = |since: &str| served.ask(&format!("GET /resources/cost-map HTTP/1.1\r\nHost: a\r\nIf-Modified-Since: {since}\r\n\r\n"));
    for cost in 1..6 {
        let map = String::from_utf8(COST_MAP.to_vec()).unwrap().replace("\"PID3\": 10", &format!("\"PID3\": {}", 20 + cost));
        served.publisher.apply(vec![put("cost-map", map.as_bytes())], SystemTime::now(), true).unwrap();
        let first = served.get("/resources/cost-map");
        let map = map.replace("\"PID2\": 5", &format!("\"PID2\": {}", 40 + cost));
        served.publisher.apply(vec![put("cost-map", map.as_bytes())], SystemTime::now(), true).unwrap();
        let answer = ask(first.field("last-modified"));
        assert_eq!(answer.status, 200);
        // What the clock will say of the first a second later.
        let settled = httpdate::parse_http_date(first.field("last-modified")).unwrap() + Duration::from_secs(1);
        assert_eq!(ask(&httpdate::fmt_http_date(settled)).status, 200);
        assert_ne!(answer.field("etag"), first.field("etag"));
    }
}

/// Half a year and a year: no test comes upon a point of the grid twice.
const LIFETIME: u64 = 365 * 24 * 3600;

fn rule(resource: &str, pid: Option<&str>, lifetime_seconds: u64) -> Rule {
    Rule { resource: resource.into(), pid: pid.map(Into::into), lifetime_seconds }
}

fn promising(rules: Vec<Rule>) -> Served {
    let publisher = Publisher::new(history::Limits::default(), Guard::default());
    publisher.apply(vec![put("my-default-network-map", NETWORK_MAP), put("cost-map", COST_MAP)], changed(), true).unwrap();
    Served::with(Options { expiry: rules, ..options() }, Arc::new(publisher), Arc::new(NoSources))
}

fn unix(date: &str) -> u64 {
    date.parse::<Expires>().unwrap().unix()
}

/// What is promised to who asks at the answer's own date: the first point of the grid at least half a lifetime away.
fn promised(answer: &Answer, lifetime: u64) -> u64 {
    let (now, half) = (unix(answer.field("date")), lifetime / 2);
    // The answer was begun within its second; no test hits the point itself.
    let commit = 784_111_777;
    commit + ((now + 1 - commit).div_ceil(half) + 1) * half
}

/// RFC 9111 sections 5.2.2.1 and 5.3: both fields say the instant that the map says, seen from the answer's date.
fn assert_fresh(answer: &Answer, until: u64) {
    let seconds: u64 = answer.field("cache-control").strip_prefix("max-age=").unwrap().parse().unwrap();
    assert_eq!(unix(answer.field("expires")), until);
    let now = unix(answer.field("date"));
    // The date is set when the answer is sent, which is a moment later, of whatever length on a busy machine.
    assert!((until..until + 30).contains(&(now + seconds)), "{now} {seconds} {until}");
}

/// Sections 7.3.1 and 7.3.2 of draft-alto-caching-subscription, over the map of RFC 7285 section 11.2.1.7.
#[test]
fn maps_say_until_when_they_hold() {
    let served = promising(vec![rule("*", None, LIFETIME), rule("my-*", Some("PID2"), LIFETIME / 2)]);
    let plain = served.get("/resources/my-default-network-map");
    let directory = served.get("/directory").json();
    let (get, post) =
        (&directory["resources"]["my-default-network-map-expiring"], &directory["resources"]["filtered-network-map-expiring"]);
    let entry = |id: &str, accepts: Value| {
        let mut entry = json!({
            "uri": format!("http://alto.example.com/resources/{id}"), "media-type": media_type::NETWORK_MAP,
            "capabilities": { "expires": true }, "uses": ["my-default-network-map"],
        });
        if !accepts.is_null() {
            entry["accepts"] = accepts;
        }
        entry
    };
    assert_eq!(*get, entry("my-default-network-map-expiring", Value::Null));
    assert_eq!(*post, entry("filtered-network-map-expiring", media_type::NETWORK_MAP_FILTER.into()));

    let path = "/resources/my-default-network-map-expiring";
    let answer = served.get(path);
    let map = ExpiringNetworkMap::from_json(&answer.body).unwrap();
    assert_eq!(map.map, NetworkMap::from_json(&plain.body).unwrap(), "the same map at the same tag");
    let (all, second) = (promised(&answer, LIFETIME), promised(&answer, LIFETIME / 2));
    let of = |pid: &str| map.expires_of(&pid.parse().unwrap()).unwrap().unix();
    assert_eq!([of("PID1"), of("PID2"), of("PID3")], [all, second, all]);
    // What caches hear is the first of the dates, of the plain map too.
    assert_fresh(&answer, all.min(second));
    assert_fresh(&plain, all.min(second));
    assert_fresh(&served.get("/resources/cost-map"), all);
    assert_ne!(answer.field("etag"), plain.field("etag"));
    assert_eq!((answer.field("content-type"), answer.field("vary")), (media_type::NETWORK_MAP, "accept-encoding"));

    // The same bytes for everybody, in any form.
    let etag = answer.field("etag");
    assert_eq!(served.get(path).body, answer.body);
    let ask = |method: &str, fields: &str| served.ask(&format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    let head = ask("HEAD", "");
    assert_eq!((head.status, head.field("etag"), head.field("content-length")), (200, etag, &*answer.body.len().to_string()));
    assert_fresh(&head, all.min(second));
    let known = ask("GET", &format!("If-None-Match: {etag}\r\n"));
    assert_eq!((known.status, known.field("etag")), (304, etag));
    assert_fresh(&known, all.min(second));
    let gzip = ask("GET", "Accept-Encoding: gzip\r\n");
    assert_eq!(gzip.field("content-encoding"), "gzip");
    let mut decoded = Vec::new();
    flate2::read::GzDecoder::new(&gzip.body[..]).read_to_end(&mut decoded).unwrap();
    assert_eq!(decoded, answer.body);

    // A part: each PID with its own date, and nothing for caches (RFC 9111 section 3: what GET answers).
    let filter = br#"{"pids":["PID1","PID2"]}"#;
    let answer = served.post("/resources/filtered-network-map-expiring", media_type::NETWORK_MAP_FILTER, filter);
    let part = ExpiringNetworkMap::from_json(&answer.body).unwrap();
    let found: Vec<_> = part.pids.iter().map(|(pid, expires)| (pid.as_str(), expires.unix())).collect();
    assert_eq!((found, part.expires), (vec![("PID1", all), ("PID2", second)], None));
    assert!(["cache-control", "expires", "etag", "last-modified"].iter().all(|name| answer.find(name).is_none()));
    served.post("/resources/filtered-network-map-expiring", media_type::NETWORK_MAP_FILTER, b"{}").error(400, "E_MISSING_FIELD");
    assert_eq!(served.post("/resources/filtered-network-map-expiring", "application/json", filter).status, 415);
    assert_eq!(served.get("/resources/filtered-network-map-expiring").status, 405);
    assert_eq!(served.post(path, media_type::NETWORK_MAP_FILTER, filter).status, 405);

    // A reader of RFC 7285 gets what it always got.
    let bare = self::served();
    assert_eq!(bare.get("/resources/my-default-network-map").body, plain.body);
    let filtered = |served: &Served| served.post("/resources/filtered-network-map", media_type::NETWORK_MAP_FILTER, filter).body;
    assert_eq!(filtered(&bare), filtered(&served));

    // Nobody follows them.
    let stream = &directory["resources"]["update-stream"];
    assert!(!stream.to_string().contains("expiring"), "{stream}");
    let path = stream["uri"].as_str().unwrap().strip_prefix("http://alto.example.com").unwrap();
    let add = br#"{"add":{"a":{"resource-id":"my-default-network-map-expiring"}}}"#;
    served.post(path, media_type::UPDATE_STREAM_PARAMS, add).error(400, "E_INVALID_FIELD_VALUE");
}

/// Where nothing is known nothing is announced, and caches ask each time.
#[test]
fn nothing_is_promised_that_nobody_promised() {
    let served = promising(vec![rule("cost-map", None, LIFETIME), rule("*", Some("PID9"), LIFETIME)]);
    let directory = served.get("/directory");
    assert!(!String::from_utf8(directory.body).unwrap().contains("expir"));
    assert_eq!(served.get("/resources/my-default-network-map-expiring").status, 404);
    let map = served.get("/resources/my-default-network-map");
    assert_eq!((map.field("cache-control"), map.find("expires")), ("no-cache", None));
    let costs = served.get("/resources/cost-map");
    assert_fresh(&costs, promised(&costs, LIFETIME));
    // Of one PID something is known: said of it, and of nothing else.
    let served = promising(vec![rule("*", Some("PID1"), LIFETIME)]);
    let answer = served.get("/resources/my-default-network-map-expiring");
    let map = ExpiringNetworkMap::from_json(&answer.body).unwrap();
    assert_eq!((map.expires, map.pids.len()), (None, 1));
    assert_eq!((answer.field("cache-control"), answer.find("expires")), ("no-cache", None));
}

/// A promise may change while connections go on, and its name is the one that is free.
#[test]
fn promises_change_and_names_stay() {
    let mut served = promising(Vec::new());
    let own = String::from_utf8(NETWORK_MAP.to_vec()).unwrap().replace("my-default-network-map", "my-default-network-map-expiring");
    served.publisher.apply(vec![put("my-default-network-map-expiring", own.as_bytes())], changed(), true).unwrap();
    let reconfigured = |rules| Options { expiry: rules, ..options() };
    served.handle.reconfigure(&reconfigured(vec![rule("*", None, LIFETIME)])).unwrap();
    let directory = served.get("/directory").json();
    let expiring = |id: &str| directory["resources"][id]["capabilities"]["expires"] == json!(true);
    for (id, want) in [
        ("my-default-network-map-expiring", false),
        ("my-default-network-map-2-expiring", true),
        ("my-default-network-map-expiring-expiring", true),
        ("filtered-network-map-expiring", true),
        ("filtered-network-map-my-default-network-map-expiring-expiring", false),
    ] {
        assert_eq!(expiring(id), want, "{id}: {directory}");
    }
    let answer = served.get("/resources/my-default-network-map-expiring");
    assert!(NetworkMap::from_json(&answer.body).is_ok(), "the operator's own");
    let announced: Vec<_> = directory["resources"].as_object().unwrap().keys().filter(|id| expiring(id)).cloned().collect();
    assert_eq!(announced.len(), 4, "{announced:?}");
    assert!(announced.iter().all(|id| id.len() <= 64 && id.ends_with("-expiring")));

    let before = served.get("/resources/my-default-network-map-2-expiring");
    served.handle.reconfigure(&reconfigured(vec![rule("*", None, LIFETIME / 4)])).unwrap();
    let after = served.get("/resources/my-default-network-map-2-expiring");
    assert_fresh(&after, promised(&after, LIFETIME / 4));
    assert_ne!(after.field("etag"), before.field("etag"));
    served.handle.reconfigure(&reconfigured(Vec::new())).unwrap();
    assert_eq!(served.get("/resources/my-default-network-map-2-expiring").status, 404);
    served.stop();
}

/// A map that takes long to render is rendered once, beside the worker, for all who ask meanwhile.
#[test]
fn large_maps_are_rendered_beside() {
    let pids: Vec<String> = (0..8_000).map(|n| format!("\"p{n}\":{{\"ipv4\":[\"10.{}.{}.0/24\"]}}", n / 256, n % 256)).collect();
    let text = format!("{{\"meta\":{{\"vtag\":{{\"resource-id\":\"large\",\"tag\":\"t\"}}}},\"network-map\":{{{}}}}}", pids.join(","));
    let publisher = Publisher::new(history::Limits::default(), Guard::default());
    publisher.apply(vec![put("large", text.as_bytes())], changed(), true).unwrap();
    let served =
        Served::with(Options { expiry: vec![rule("*", Some("p1*"), LIFETIME)], ..options() }, Arc::new(publisher), Arc::new(NoSources));
    let mut clients: Vec<_> = (0..8).map(|_| served.connect()).collect();
    clients.iter_mut().for_each(|client| client.write(b"GET /resources/large-expiring HTTP/1.1\r\nHost: a\r\n\r\n"));
    let answers: Vec<_> = clients.iter_mut().map(|client| client.answer()).collect();
    let map = ExpiringNetworkMap::from_json(&answers[0].body).unwrap();
    assert_eq!((map.map.pids.len(), map.pids.len()), (8_000, 1_111));
    assert!(answers.iter().all(|answer| answer.body == answers[0].body && answer.status == 200));
    let etag = answers[0].field("etag");
    let known = served.ask(&format!("GET /resources/large-expiring HTTP/1.1\r\nHost: a\r\nIf-None-Match: {etag}\r\n\r\n"));
    assert_eq!(known.status, 304);
    let all = served.post("/resources/filtered-network-map-expiring", media_type::NETWORK_MAP_FILTER, br#"{"pids":[]}"#);
    assert_eq!(ExpiringNetworkMap::from_json(&all.body).unwrap().pids, map.pids);
}
