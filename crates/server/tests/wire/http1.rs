//! HTTP/1.1: every status, conditional requests, negotiation, bounds.
use crate::served::{COST_FILTER, Client, PATIENCE, Served, options, publish_big, publisher};
use alto::media_type;
use history::Coding;
use server::{Error, Limits, NoSources, Options, Server};
use std::{
    io::Read,
    sync::Arc,
    time::{Duration, Instant},
};

/// What RFC 7285 sections 8 and 11 and RFC 9110 make of requests to the public listener.
#[test]
fn statuses() {
    let served = Served::new(options());
    let filter = "Content-Type: application/alto-costmapfilter+json";
    for (request, body, status, code) in [
        ("GET /directory", "", 200, ""),
        ("GET /", "", 200, ""),
        ("GET /resources/cost-map", "", 200, ""),
        ("GET /resources/cost%2Dmap", "", 200, ""),
        ("GET /resources/my-default-network-map?x=y", "", 200, ""),
        ("GET /resources/nothing", "", 404, "E_SYNTAX"),
        ("GET /nothing", "", 404, "E_SYNTAX"),
        ("GET /resources/", "", 404, "E_SYNTAX"),
        ("GET /resources/%ff", "", 404, "E_SYNTAX"),
        ("POST /directory", "{}", 405, "E_SYNTAX"),
        ("POST /resources/cost-map", "{}", 405, "E_SYNTAX"),
        ("DELETE /resources/cost-map", "", 405, "E_SYNTAX"),
        ("GET /resources/filtered-cost-map", "", 405, "E_SYNTAX"),
        ("BREW /directory", "", 405, "E_SYNTAX"),
        ("GET /resources/cost-map|Accept: text/plain", "", 406, "E_SYNTAX"),
        ("GET /resources/cost-map|Accept: application/alto-costmap+json;q=0, */*", "", 406, "E_SYNTAX"),
        ("GET /resources/cost-map|Accept: application/alto-costmap+json,application/alto-error+json", "", 200, ""),
        ("GET /resources/cost-map|Accept-Encoding: *;q=0", "", 406, "E_SYNTAX"),
        ("GET /resources/cost-map|If-Match: \"other\"", "", 412, "E_SYNTAX"),
        ("GET /resources/cost-map|If-Match: *", "", 200, ""),
        ("GET /resources/cost-map|If-None-Match: *", "", 304, ""),
        ("POST /resources/filtered-cost-map", "{}", 415, "E_SYNTAX"),
        ("POST /resources/filtered-cost-map|Content-Type: application/json", "{}", 415, "E_SYNTAX"),
        (&format!("POST /resources/filtered-cost-map|{filter}|Content-Encoding: gzip"), "{}", 415, "E_SYNTAX"),
        (&format!("POST /resources/filtered-cost-map|{filter}|Accept: text/html"), "{}", 406, "E_SYNTAX"),
        (&format!("POST /resources/filtered-cost-map|{filter}"), "{", 400, "E_SYNTAX"),
        (&format!("POST /resources/filtered-cost-map|{filter}"), "{}", 400, "E_MISSING_FIELD"),
        (&format!("POST /resources/filtered-cost-map|{filter}; charset=utf-8"), "{}", 400, "E_MISSING_FIELD"),
        (
            &format!("POST /resources/filtered-cost-map|{filter}"),
            r#"{"cost-type":{"cost-mode":"numerical","cost-metric":"no"}}"#,
            400,
            "E_INVALID_FIELD_VALUE",
        ),
        ("OPTIONS /directory", "", 204, ""),
        ("OPTIONS *", "", 204, ""),
    ] {
        let (line, fields) = request.split_once('|').unwrap_or((request, ""));
        let fields: String = fields.split('|').filter(|field| !field.is_empty()).map(|field| format!("{field}\r\n")).collect();
        let text = format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len());
        let answer = served.ask(&text);
        assert_eq!(answer.status, status, "{request}: {}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.field("access-control-allow-origin"), "*", "{request}");
        assert!(answer.find("date").is_some(), "{request}");
        if !code.is_empty() {
            answer.error(status, code);
        }
        if status == 405 {
            let allow = answer.field("allow");
            let want = if line.contains("filtered") { "POST, OPTIONS" } else { "GET, HEAD, OPTIONS" };
            assert_eq!(allow, want, "{request}");
        }
    }
}

/// RFC 7285 section 9.2: everything the directory names is there, at an absolute URI, of the type it says.
#[test]
fn the_directory_leads_everywhere() {
    let served = Served::new(options());
    let answer = served.get("/directory");
    assert_eq!(answer.field("content-type"), media_type::DIRECTORY);
    let directory = answer.json();
    assert_eq!(directory["meta"]["default-alto-network-map"], "my-default-network-map");
    let resources = directory["resources"].as_object().unwrap();
    assert!(resources.len() >= 6, "{directory}");
    for (id, entry) in resources {
        let uri = entry["uri"].as_str().unwrap();
        let path = uri.strip_prefix("http://alto.example.com").unwrap_or_else(|| panic!("{uri} does not begin with what we called it"));
        match entry["accepts"].as_str() {
            None => {
                let answer = served.get(path);
                assert_eq!((answer.status, answer.field("content-type")), (200, entry["media-type"].as_str().unwrap()), "{id}");
                let tag = served.publisher.current().versions[id.as_str()].tag.to_string();
                assert_eq!(answer.field("etag"), format!("\"{tag}\""), "{id}");
                assert_eq!(answer.field("cache-control"), "no-cache");
                assert_eq!(answer.field("vary"), "accept-encoding");
            }
            Some(accepts) => {
                let answer = served.post(path, accepts, b"[]");
                // Transport queues belong to HTTP/2 connections.
                let want = if entry["media-type"] == media_type::TRANSPORT { 505 } else { 400 };
                assert_eq!(answer.status, want, "{id}");
            }
        }
    }
}

/// RFC 7285 section 11.3.2.7, and section 11.5.1.3: without sources the client's own address is the source.
#[test]
fn queries_are_answered() {
    let served = Served::new(options());
    let answer = served.post("/resources/filtered-cost-map", media_type::COST_MAP_FILTER, COST_FILTER);
    assert_eq!((answer.status, answer.field("content-type")), (200, media_type::COST_MAP));
    assert_eq!(answer.field("cache-control"), "no-store");
    assert_eq!(answer.json()["cost-map"], serde_json::json!({ "PID1": { "PID1": 1, "PID2": 5, "PID3": 10 } }));

    let request =
        br#"{"cost-type":{"cost-mode":"numerical","cost-metric":"routingcost"},"endpoints":{"srcs":[],"dsts":["ipv4:192.0.2.89"]}}"#;
    let answer = served.post("/resources/endpoint-cost", media_type::ENDPOINT_COST_PARAMS, request);
    // 127.0.0.1 is in PID3, 192.0.2.89 in PID1.
    assert_eq!(answer.json()["endpoint-cost-map"], serde_json::json!({ "ipv4:127.0.0.1": { "ipv4:192.0.2.89": 20 } }));
}

/// RFC 9110 sections 8.8.3 and 13.1.2.
#[test]
fn conditional_requests() {
    let served = Served::new(options());
    let etag = served.get("/resources/cost-map").field("etag").to_owned();
    let gzip = format!("{}+gzip\"", etag.trim_end_matches('"'));
    for (fields, want, tag) in [
        (format!("If-None-Match: {etag}"), 304, &etag),
        (format!("If-None-Match: W/{etag}"), 304, &etag),
        (format!("If-None-Match: \"x\", {etag}"), 304, &etag),
        (format!("If-None-Match: \"x\"\r\nIf-None-Match: {etag}"), 304, &etag),
        ("If-None-Match: \"x\"".into(), 200, &etag),
        (format!("If-None-Match: {gzip}"), 200, &etag),
        (format!("If-None-Match: {etag}\r\nAccept-Encoding: gzip"), 200, &gzip),
        (format!("If-None-Match: {gzip}\r\nAccept-Encoding: gzip"), 304, &gzip),
        (format!("If-Match: {etag}\r\nIf-None-Match: {etag}"), 304, &etag),
        (format!("If-Match: W/{etag}"), 412, &etag),
    ] {
        let answer = served.ask(&format!("GET /resources/cost-map HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"));
        assert_eq!(answer.status, want, "{fields}");
        if want == 412 {
            continue;
        }
        assert_eq!(answer.field("etag"), tag, "{fields}");
        if want == 304 {
            // Section 15.4.5.
            assert_eq!((answer.field("vary"), answer.field("cache-control")), ("accept-encoding", "no-cache"));
            assert_eq!(answer.find("content-length").unwrap_or("0"), "0");
        }
    }
    // The directory has a tag as well.
    let etag = served.get("/directory").field("etag").to_owned();
    let answer = served.ask(&format!("GET /directory HTTP/1.1\r\nHost: alto.example.com\r\nIf-None-Match: {etag}\r\n\r\n"));
    assert_eq!(answer.status, 304);
}

/// A commit is seen by the next request, and what it did not touch keeps its tag.
#[test]
fn commits_are_seen() {
    let served = Served::new(options());
    let (network, cost) = (served.get("/resources/my-default-network-map"), served.get("/resources/cost-map"));
    let directory = served.get("/directory");
    let changed = String::from_utf8(crate::served::COST_MAP.to_vec()).unwrap().replace("\"PID3\": 10", "\"PID3\": 11");
    let change = crate::served::put("cost-map", changed.as_bytes());
    served.publisher.apply(vec![change], std::time::SystemTime::now(), true).unwrap();
    assert_eq!(served.get("/resources/my-default-network-map").field("etag"), network.field("etag"));
    let after = served.get("/resources/cost-map");
    assert_ne!(after.field("etag"), cost.field("etag"));
    assert_eq!(after.json()["cost-map"]["PID1"]["PID3"], 11);
    assert_eq!(served.get("/directory").field("etag"), directory.field("etag"));
}

/// RFC 9110 sections 8.4 and 9.3.2: each coding decodes to the identity form, and HEAD says what GET would.
#[test]
fn codings() {
    let publisher = publisher();
    publish_big(&publisher, 200);
    let served = Served::with(options(), publisher, Arc::new(NoSources));
    for resource in ["cost-map", "big-costs"] {
        let identity = served.get(&format!("/resources/{resource}"));
        for (name, coding) in [("gzip", Coding::Gzip), ("br", Coding::Brotli), ("zstd", Coding::Zstd)] {
            let version = served.publisher.current().versions[resource].clone();
            assert!(version.ready(coding).is_none());
            let request = |method: &str| format!("{method} /resources/{resource} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {name}\r\n\r\n");
            let answer = served.ask(&request("GET"));
            assert_eq!((answer.status, answer.field("content-encoding")), (200, name));
            assert_eq!(answer.field("vary"), "accept-encoding");
            assert_eq!(decode(coding, &answer.body), identity.body, "{resource} {name}");
            // Made once, kept with the version.
            assert_eq!(version.ready(coding).unwrap(), answer.body);
            assert_eq!(served.ask(&request("GET")).body, answer.body);
            let head = served.ask(&request("HEAD"));
            assert_eq!((head.status, head.body.len()), (200, 0));
            for field in ["content-length", "content-type", "content-encoding", "etag"] {
                assert_eq!(head.field(field), answer.field(field), "{resource} {name} {field}");
            }
        }
    }
    // A large answer of a service is coded too.
    let directory = served.get("/directory").json();
    let over_big = |entry: &serde_json::Value| entry["accepts"] == media_type::COST_MAP_FILTER && entry["uses"][0] == "big-network";
    let entry = directory["resources"].as_object().unwrap().values().find(|entry| over_big(entry)).unwrap();
    let path = entry["uri"].as_str().unwrap().strip_prefix("http://alto.example.com").unwrap();
    let body = r#"{"cost-type":{"cost-mode":"numerical","cost-metric":"routingcost"},"pids":{"srcs":[],"dsts":[]}}"#;
    let fields = format!("Content-Type: {}\r\nAccept-Encoding: zstd\r\nContent-Length: {}", media_type::COST_MAP_FILTER, body.len());
    let answer = served.ask(&format!("POST {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}"));
    assert_eq!((answer.status, answer.field("content-encoding")), (200, "zstd"));
    let map: serde_json::Value = serde_json::from_slice(&decode(Coding::Zstd, &answer.body)).unwrap();
    assert_eq!(map["cost-map"]["p7"]["p9"], (7 * 7919 + 9 * 104_729) % 100_003);
}

fn decode(coding: Coding, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        Coding::Gzip => flate2::read::GzDecoder::new(body).read_to_end(&mut out).map(drop).unwrap(),
        Coding::Brotli => brotli::Decompressor::new(body, 4096).read_to_end(&mut out).map(drop).unwrap(),
        Coding::Zstd => out = zstd::stream::decode_all(body).unwrap(),
    }
    out
}

/// Many clients that want a coding at once get the same one.
#[test]
fn a_coding_is_awaited_not_skipped() {
    let publisher = publisher();
    publish_big(&publisher, 400);
    let served = Served::with(Options { workers: Some(2), ..options() }, publisher, Arc::new(NoSources));
    let mut clients: Vec<Client> = (0..16).map(|_| served.connect()).collect();
    for client in &mut clients {
        client.write(b"GET /resources/big-costs HTTP/1.1\r\nHost: a\r\nAccept-Encoding: br\r\n\r\n");
    }
    let bodies: Vec<Vec<u8>> = clients
        .iter_mut()
        .map(|client| {
            let answer = client.answer();
            assert_eq!(answer.field("content-encoding"), "br");
            answer.body
        })
        .collect();
    assert!(bodies.windows(2).all(|two| two[0] == two[1]));
}

/// What a browser does before it lets a page ask (Fetch standard, CORS protocol), and what it shows its reader.
#[test]
fn browsers() {
    let served = Served::new(options());
    let preflight = served.ask(
        "OPTIONS /resources/filtered-cost-map HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\n\
         Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n",
    );
    assert_eq!((preflight.status, preflight.field("access-control-allow-methods")), (204, "POST, OPTIONS"));
    assert!(preflight.field("access-control-allow-headers").contains("content-type"));
    let accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let page = served.ask(&format!("GET / HTTP/1.1\r\nHost: alto.example.com\r\nAccept: {accept}\r\n\r\n"));
    assert_eq!((page.status, page.field("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!(page.field("vary"), "accept, accept-encoding");
    let text = String::from_utf8(page.body).unwrap();
    assert!(text.contains("http://alto.example.com/resources/cost-map"), "{text}");
    assert_eq!(served.ask("GET /directory HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    for accept in ["*/*", "application/alto-directory+json", "application/alto-directory+json, text/html;q=0.5"] {
        let answer = served.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n"));
        assert_eq!(answer.field("content-type"), media_type::DIRECTORY, "{accept}");
        // Also when `/directory` made it first.
        assert_eq!(answer.field("vary"), "accept, accept-encoding", "{accept}");
    }
}

/// URIs begin with what is configured, else with what the client called us, if that is a name at all.
#[test]
fn uris_of_the_directory() {
    let served = Served::new(options());
    let uri = |answer: crate::served::Answer| answer.json()["resources"]["cost-map"]["uri"].as_str().unwrap().to_owned();
    assert_eq!(uri(served.get("/directory")), "http://alto.example.com/resources/cost-map");
    let old = served.ask("GET /directory HTTP/1.0\r\n\r\n");
    assert_eq!(uri(old), format!("http://{}/resources/cost-map", served.public));
    // RFC 9112 section 3.2: any request, not only those whose answer repeats the name.
    for host in ["", "Host: a\r\nHost: a\r\n"] {
        assert_eq!(served.ask(&format!("GET /resources/cost-map HTTP/1.1\r\n{host}\r\n")).status, 400, "{host}");
    }
    for host in ["Host: a/b\r\n", "Host: \"x\"\r\n", "Host: a\r\nHost: b\r\n", ""] {
        served.ask(&format!("GET /directory HTTP/1.1\r\n{host}\r\n")).error(400, "E_SYNTAX");
    }
    let options = Options { public_url: Some("https://alto.example.net/".into()), ..options() };
    served.handle.reconfigure(&options).unwrap();
    assert_eq!(uri(served.get("/directory")), "https://alto.example.net/resources/cost-map");
    let wrong = Options { public_url: Some("alto".into()), ..options };
    assert!(matches!(served.handle.reconfigure(&wrong), Err(Error::PublicUrl { .. })));
    assert_eq!(uri(served.get("/directory")), "https://alto.example.net/resources/cost-map");
}

/// Bodies are counted while they are read, whatever they said of their length.
#[test]
fn bodies_have_a_bound() {
    let limits = Limits { query_bytes_max: 1000, ..Limits::default() };
    let served = Served::new(Options { limits, ..options() });
    let head = "POST /resources/filtered-cost-map HTTP/1.1\r\nHost: a\r\nContent-Type: application/alto-costmapfilter+json\r\n";
    // Refused by its head: nothing of it was sent.
    let mut client = served.connect();
    let answer = client.ask(&format!("{head}Content-Length: 1001\r\n\r\n"));
    answer.error(413, "E_SYNTAX");
    assert!(client.closed(), "what follows could not be told from a request");
    // Refused while it comes.
    let mut client = served.connect();
    client.write(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes());
    for _ in 0..11 {
        client.write(format!("64\r\n{}\r\n", "x".repeat(100)).as_bytes());
    }
    client.answer().error(413, "E_SYNTAX");
    // In chunks, within the bound.
    let mut client = served.connect();
    client.write(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes());
    for chunk in COST_FILTER.chunks(50) {
        client.write(format!("{:x}\r\n", chunk.len()).as_bytes());
        client.write(chunk);
        client.write(b"\r\n");
    }
    client.write(b"0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    // Not chunks at all.
    let mut client = served.connect();
    client.write(format!("{head}Transfer-Encoding: chunked\r\n\r\nnonsense\r\n").as_bytes());
    let answer = client.answer();
    answer.error(400, "E_SYNTAX");
    // RFC 9112 section 9.6: who closes says so.
    assert_eq!(answer.field("connection"), "close");
    assert!(client.closed());
}

/// A worker only reads what it has read in a moment: a long query of a small map goes to the threads that compute, too.
#[test]
fn long_queries_do_not_hold_a_worker() {
    let limits = Limits { queries_waiting_max: 0, ..Limits::default() };
    let served = Served::new(Options { limits, ..options() });
    let ask = |body: &[u8]| served.post("/resources/filtered-cost-map", media_type::COST_MAP_FILTER, body);
    assert_eq!(ask(COST_FILTER).status, 200);
    let long = [COST_FILTER, &vec![b' '; 5 << 10]].concat();
    ask(&long).error(503, "E_SYNTAX");
}

/// What clients make the server hold has a bound for all of them together, and is free again when they leave.
#[test]
fn memory_for_clients_has_a_bound() {
    let publisher = publisher();
    publish_big(&publisher, 100);
    let limits = Limits { client_bytes_max: 200 << 10, ..Limits::default() };
    let served = Served::with(Options { limits, ..options() }, publisher, Arc::new(NoSources));
    let held = || -> usize {
        let metrics = String::from_utf8(served.admin("GET /metrics HTTP/1.1", b"").body).unwrap();
        metrics.lines().find_map(|line| line.strip_prefix("alto_client_bytes ")?.parse().ok()).unwrap()
    };
    let wait_for = |what: &str, is_so: &dyn Fn(usize) -> bool| {
        let until = Instant::now() + PATIENCE;
        while !is_so(held()) {
            assert!(Instant::now() < until, "{what}: {} bytes are held", held());
        }
    };
    let path = "/resources/filtered-cost-map";
    let post = |body: &[u8]| served.post(path, media_type::COST_MAP_FILTER, body);
    let long = [&vec![b' '; 150 << 10], COST_FILTER].concat();
    let mut first = served.connect();
    let fields = format!("Content-Type: {}\r\nContent-Length: {}", media_type::COST_MAP_FILTER, long.len());
    first.write(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").as_bytes());
    first.write(&long[..150 << 10]);
    wait_for("the first has sent almost all", &|held| held == 150 << 10);
    let refused = post(&long);
    refused.error(503, "E_SYNTAX");
    assert_eq!(refused.field("retry-after"), "1");
    assert_eq!(post(COST_FILTER).status, 200, "what takes no room is answered");
    first.write(&long[150 << 10..]);
    assert_eq!(first.answer().status, 200);
    wait_for("the first was answered", &|held| held == 0);
    assert_eq!(post(&long).status, 200);
}

/// RFC 9112 section 9.6: who reads only when it has written sees why it was refused, and may go on.
#[test]
fn a_refused_body_is_read_to_its_end() {
    let limits = Limits { query_bytes_max: 1000, ..Limits::default() };
    let served = Served::new(Options { limits, ..options() });
    // More than the buffers of both ends hold.
    let body = vec![b' '; 8 << 20];
    let mut client = served.connect();
    for (path, media_type, status) in [
        ("/resources/cost-map", media_type::COST_MAP_FILTER, 405),
        ("/resources/filtered-cost-map", "text/plain", 415),
        ("/resources/filtered-cost-map", media_type::COST_MAP_FILTER, 413),
        ("/nowhere", media_type::COST_MAP_FILTER, 404),
    ] {
        let length = body.len();
        client
            .write(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n").as_bytes());
        client.write(&body);
        assert_eq!(client.answer().status, status, "{path} {media_type}");
    }
}

/// RFC 9110 section 10.1.1.
#[test]
fn a_body_is_sent_when_it_is_wanted() {
    let served = Served::new(options());
    let head = |media_type: &str, expect: &str| {
        let length = COST_FILTER.len();
        let line = "POST /resources/filtered-cost-map HTTP/1.1";
        format!("{line}\r\nHost: a\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\nExpect: {expect}\r\n\r\n")
    };
    let mut client = served.connect();
    client.write(head(media_type::COST_MAP_FILTER, "100-continue").as_bytes());
    assert_eq!(client.head().status, 100);
    client.write(COST_FILTER);
    assert_eq!(client.answer().status, 200);
    // Refused before it is sent.
    assert_eq!(served.ask(&head("text/plain", "100-continue")).status, 415);
}

/// A body that stops coming, a header that stops coming, a connection that says nothing.
#[test]
fn slow_clients_are_left() {
    let short = Duration::from_millis(150);
    let limits = Limits { header_time_max: short, body_time_max: short, ..Limits::default() };
    let served = Served::new(Options { limits, ..options() });
    let mut client = served.connect();
    let head = "POST /resources/filtered-cost-map HTTP/1.1\r\nHost: a\r\nContent-Type: application/alto-costmapfilter+json\r\n";
    client.write(format!("{head}Content-Length: 100\r\n\r\n{{").as_bytes());
    client.answer().error(408, "E_SYNTAX");
    assert!(client.closed());
    for start in ["GET /directory HTTP/1.1\r\nHost: ", "PRI * HTTP/2.0\r\n", "G", ""] {
        let mut client = served.connect();
        client.write(start.as_bytes());
        assert!(client.closed(), "{start:?}");
    }
    // Idle after an answer.
    let mut client = served.connect();
    assert_eq!(client.ask("GET /directory HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    assert!(client.closed());
}

/// What is no HTTP, or too much of it.
#[test]
fn malformed_requests() {
    let limits = Limits { header_bytes_max: 8 << 10, header_fields_max: 20, ..Limits::default() };
    let served = Served::new(Options { limits, ..options() });
    let many = "X: y\r\n".repeat(21);
    let long = format!("X: {}\r\n", "y".repeat(9000));
    for (request, status) in [
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("GET /directory HTTP/1.1\r\nHost : a\r\n\r\n".into(), 400),
        ("GET /directory HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n".into(), 400),
        ("GET /directory HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".into(), 400),
        ("GET /dir\u{7f}ectory HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        (format!("GET /directory HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431),
        (format!("GET /directory HTTP/1.1\r\nHost: a\r\n{long}\r\n"), 431),
    ] {
        let mut client = served.connect();
        client.write(request.as_bytes());
        assert_eq!(client.answer().status, status, "{:?}", &request[..request.len().min(80)]);
        assert!(client.closed());
    }
    // It serves on.
    assert_eq!(served.get("/directory").status, 200);
}

/// Requests sent ahead are answered in their order; a half-closed connection still gets its answer.
#[test]
fn connections_are_kept() {
    let served = Served::new(options());
    let mut client = served.connect();
    client.write(b"GET /directory HTTP/1.1\r\nHost: a\r\n\r\nGET /nothing HTTP/1.1\r\nHost: a\r\n\r\nGET /resources/cost-map HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!([client.answer().status, client.answer().status, client.answer().status], [200, 404, 200]);
    client.write(b"GET /directory HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.answer().status, 200);
    assert!(client.closed());
}

/// At the bound a connection waits until another ends.
#[test]
fn connections_have_a_bound() {
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let served = Served::new(Options { limits, ..options() });
    let mut first = served.connect();
    assert_eq!(first.ask("GET /directory HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    let mut second = served.connect();
    second.write(b"GET /directory HTTP/1.1\r\nHost: a\r\n\r\n");
    // The first still has the one place: it is answered, and again, before the second is.
    for _ in 0..10 {
        assert_eq!(first.ask("GET /directory HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    }
    second.stream.set_nonblocking(true).unwrap();
    let mut byte = [0];
    assert_eq!(second.stream.read(&mut byte).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    second.stream.set_nonblocking(false).unwrap();
    drop(first);
    assert_eq!(second.answer().status, 200);
}

/// A client that takes nothing of a large answer does not hold its connection for ever.
#[cfg(target_os = "linux")]
#[test]
fn clients_that_take_nothing_are_left() {
    let publisher = publisher();
    publish_big(&publisher, 1000);
    let limits = Limits { stall_time_max: Duration::from_millis(200), connections_max: 1, ..Limits::default() };
    let served = Served::with(Options { limits, ..options() }, publisher, Arc::new(NoSources));
    let mut stalled = served.connect();
    stalled.write(b"GET /resources/big-costs HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(stalled.head().status, 200);
    // The only place is given to the next when the kernel gave up on the first.
    assert_eq!(served.get("/directory").status, 200);
}

#[test]
fn addresses_are_refused_with_a_reason() {
    let served = Served::new(options());
    let taken = Options { public: vec![served.public], ..options() };
    let bind = |options| Server::bind(options, publisher(), Arc::new(NoSources)).map(drop).unwrap_err().to_string();
    let error = bind(taken);
    assert!(error.contains(&served.public.to_string()) && error.contains("in use"), "{error}");
    let error = bind(Options { admin: Some(([0, 0, 0, 0], 0).into()), ..options() });
    assert!(error.contains("0.0.0.0:0") && error.contains("token"), "{error}");
    assert!(bind(Options { public: Vec::new(), ..options() }).contains("no public address"));
}
