//! What caches go by: validators, conditions and freshness (RFC 9110 sections 8.8 and 13, RFC 9111).
use crate::served::{COST_MAP, NETWORK_MAP, Served, options, put};
use history::{Guard, Publisher};
use server::NoSources;
use std::{
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
    let publisher = Publisher::new(history::Limits::default(), Guard::default());
    publisher.apply(vec![put("my-default-network-map", NETWORK_MAP), put("cost-map", COST_MAP)], changed(), true).unwrap();
    Served::with(options(), Arc::new(publisher), Arc::new(NoSources))
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
        assert_ne!(answer.field("etag"), first.field("etag"));
    }
}
