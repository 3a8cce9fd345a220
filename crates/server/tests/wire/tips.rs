//! TIPS over the wire (draft-ietf-alto-new-transport): views, edges, polls, every refusal; update streams of summaries.
use crate::{
    served::{Answer, COST_FILTER, Served, options, publish_big, publisher, put},
    sse::Events,
};
use history::Change;
use serde_json::{Value, json};
use server::{Limits, NoSources, Options};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

const PARAMS: &str = "application/alto-tipsparams+json";

fn serving(limits: Limits) -> Served {
    Served::new(Options { limits, ..options() })
}

fn costs(cost: u32) -> Change {
    let map = json!({
        "meta": {
            "dependent-vtags": [{"resource-id": "my-default-network-map", "tag": "1"}],
            "cost-type": {"cost-mode": "numerical", "cost-metric": "routingcost"},
        },
        "cost-map": {"PID1": {"PID1": 1, "PID2": cost}},
    });
    put("cost-map", map.to_string().as_bytes())
}

fn publish(served: &Served, change: Change) {
    served.publisher.apply(vec![change], SystemTime::now(), true).unwrap();
}

/// Path of the view, and the summary of its graph.
fn open(served: &Served, body: &Value) -> (String, Value) {
    let answer = served.post("/tips", PARAMS, body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!((answer.field("content-type"), answer.field("cache-control")), ("application/alto-tips+json", "no-store"));
    let body = answer.json();
    let uri = body["tips-view-uri"].as_str().unwrap().strip_prefix("http://a").unwrap().to_owned();
    (uri, body["tips-view-summary"]["updates-graph-summary"].clone())
}

fn get(served: &Served, path: &str, fields: &str) -> Answer {
    served.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
}

#[test]
fn views_and_edges() {
    let served = serving(Limits::default());
    let old = served.publisher.current().versions["cost-map"].tag.clone();
    publish(&served, costs(9));
    let (view, graph) = open(&served, &json!({"resource-id": "cost-map"}));
    assert_eq!(graph, json!({"start-seq": 1, "end-seq": 2, "start-edge-rec": {"seq-i": 0, "seq-j": 2}}));
    assert_eq!(open(&served, &json!({"resource-id": "cost-map"})).0, view, "one view for all");
    assert_ne!(open(&served, &json!({"resource-id": "my-default-network-map"})).0, view);
    assert_eq!(
        open(&served, &json!({"resource-id": "cost-map", "tag": "unheard-of"})).1["start-edge-rec"],
        json!({"seq-i": 0, "seq-j": 2})
    );
    // Section 6.2: from the client's version if that is cheaper.
    let with_tag = open(&served, &json!({"resource-id": "cost-map", "tag": old.as_str()})).1;
    assert_eq!(with_tag["start-edge-rec"], json!({"seq-i": 1, "seq-j": 2}));
    // Who has the newest version already waits for the next one and does not get it all again.
    let newest = served.publisher.current().versions["cost-map"].tag.clone();
    let with_newest = open(&served, &json!({"resource-id": "cost-map", "tag": newest.as_str()})).1;
    assert_eq!(with_newest, json!({"start-seq": 1, "end-seq": 2, "start-edge-rec": {"seq-i": 2, "seq-j": 3}}));

    let snapshot = get(&served, &format!("{view}/ug/0/2"), "Accept: application/alto-costmap+json,application/alto-error+json\r\n");
    assert_eq!((snapshot.status, snapshot.field("content-type")), (200, "application/alto-costmap+json"));
    assert_eq!(snapshot.field("cache-control"), "public, max-age=31536000, immutable");
    let version = served.publisher.current().versions["cost-map"].clone();
    assert_eq!(snapshot.body, version.body);
    assert_eq!(snapshot.field("etag"), format!("\"{}\"", version.tag));
    let edge = get(&served, &format!("{view}/ug/1/2"), "");
    assert_eq!((edge.status, edge.field("content-type")), (200, "application/merge-patch+json"));
    assert_eq!(edge.json()["cost-map"]["PID1"]["PID2"], 9);
    let etag = edge.field("etag").to_owned();
    assert!(etag.starts_with('"') && etag != snapshot.field("etag"));
    assert_eq!(edge.find("vary"), None, "small edges have one form for every cache");
    let again = get(&served, &format!("{view}/ug/1/2"), &format!("If-None-Match: {etag}\r\n"));
    assert_eq!((again.status, again.field("cache-control")), (304, "public, max-age=31536000, immutable"));
    let head = served.connect().ask(&format!("HEAD {view}/ug/1/2 HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (200, &*edge.body.len().to_string(), 0));
    // An addition of ours.
    assert_eq!(get(&served, &view, "").json()["tips-view-summary"]["updates-graph-summary"], graph);
    served.stopped();
}

#[test]
fn large_edges_come_in_codings() {
    let publisher = publisher();
    publish_big(&publisher, 400);
    let served = Served::with(options(), publisher, Arc::new(NoSources));
    let (view, _) = open(&served, &json!({"resource-id": "big-costs"}));
    let path = format!("{view}/ug/0/1");
    let (plain, coded) = (get(&served, &path, ""), get(&served, &path, "Accept-Encoding: gzip\r\n"));
    assert_eq!((coded.field("content-encoding"), coded.field("vary")), ("gzip", "accept-encoding"));
    assert_eq!(coded.field("cache-control"), "public, max-age=31536000, immutable");
    assert!(coded.field("etag") != plain.field("etag") && coded.body.len() < plain.body.len() / 2);
    let direct = get(&served, "/resources/big-costs", "Accept-Encoding: gzip\r\n");
    assert_eq!(coded.body, direct.body, "made once for both");
    served.stopped();
}

/// Section 7.2; what stands in the path is named.
#[test]
fn edges_that_are_not_there() {
    let publisher =
        Arc::new(history::Publisher::new(history::Limits { versions_max: 4, ..history::Limits::default() }, history::Guard::default()));
    let served = Served::with(options(), publisher, Arc::new(NoSources));
    publish(&served, put("my-default-network-map", crate::served::NETWORK_MAP));
    for cost in 0..12 {
        publish(&served, costs(cost));
    }
    let (view, graph) = open(&served, &json!({"resource-id": "cost-map"}));
    let (start, end) = (graph["start-seq"].as_u64().unwrap(), graph["end-seq"].as_u64().unwrap());
    assert!(start > 2 && end == 12, "{graph}");
    let huge = "9".repeat(40);
    for (i, j, status, field, value) in [
        // Not as a number is written.
        ("x".to_owned(), "1".to_owned(), 404, "seq-i", "x".to_owned()),
        ("01".into(), "2".into(), 404, "seq-i", "01".into()),
        ("1".into(), "02".into(), 404, "seq-j", "02".into()),
        ("-1".into(), "2".into(), 404, "seq-i", "-1".into()),
        ("+1".into(), "2".into(), 404, "seq-i", "+1".into()),
        ("1.0".into(), "2".into(), 404, "seq-i", "1.0".into()),
        ("1e0".into(), "2".into(), 404, "seq-i", "1e0".into()),
        ("".into(), "2".into(), 404, "seq-i", "".into()),
        ("1".into(), "".into(), 404, "seq-j", "".into()),
        ("%31".into(), "2".into(), 404, "seq-i", "%31".into()),
        // No edge leads there.
        ("0".into(), "0".into(), 404, "seq-j", "0".into()),
        ("12".into(), "12".into(), 404, "seq-j", "12".into()),
        ("12".into(), "11".into(), 404, "seq-j", "11".into()),
        // "if an update has a seq that is smaller than the start-seq".
        ("1".into(), "2".into(), 410, "seq-i", "1".into()),
        ("0".into(), "1".into(), 410, "seq-j", "1".into()),
        ("1".into(), end.to_string(), 410, "seq-i", "1".into()),
        // "if the seq exceeds the server long-polling window".
        ("16".into(), "17".into(), 425, "seq-j", "17".into()),
        ("12".into(), "14".into(), 425, "seq-j", "14".into()),
        ("0".into(), "13".into(), 425, "seq-j", "13".into()),
        ("12".into(), "9007199254740991".into(), 425, "seq-j", "9007199254740991".into()),
        ("12".into(), "9007199254740992".into(), 425, "seq-j", "9007199254740992".into()),
        ("12".into(), "18446744073709551616".into(), 425, "seq-j", "18446744073709551616".into()),
        ("12".into(), huge.clone(), 425, "seq-j", huge[..32].into()),
        (huge.clone(), huge.clone(), 425, "seq-i", huge[..32].into()),
    ] {
        let answer = get(&served, &format!("{view}/ug/{i}/{j}"), "");
        let meta = answer.error(status, "E_SYNTAX")["meta"].clone();
        assert_eq!((&meta["field"], &meta["value"]), (&json!(field), &json!(value)), "{i}/{j}");
        assert!(meta["syntax-error"].is_string());
        assert_eq!(answer.field("cache-control"), "no-store");
    }
    // Every version can be had, and every step (continuity, feasibility).
    assert_eq!(get(&served, &format!("{view}/ug/0/{start}"), "").status, 200);
    for seq in start..end {
        assert_eq!(get(&served, &format!("{view}/ug/{seq}/{}", seq + 1), "").status, 200);
    }
    // Another view, or none.
    for path in ["/tips/nothing/ug/0/1", "/tips/nothing", "/tips/%2e%2e/ug/0/1"] {
        get(&served, path, "").error(404, "E_SYNTAX");
    }
    // 415, for what is there and for what may come.
    for (path, accept) in [
        (format!("{view}/ug/{}/{end}", end - 1), "application/alto-costmap+json"),
        (format!("{view}/ug/0/{end}"), "application/merge-patch+json"),
        (format!("{view}/ug/{end}/{}", end + 1), "application/alto-error+json"),
    ] {
        get(&served, &path, &format!("Accept: {accept}\r\n")).error(415, "E_SYNTAX");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let refused = served.ask(&format!("{method} {view}/ug/0/{end} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"));
        refused.error(405, "E_SYNTAX");
        assert_eq!(refused.field("allow"), "GET, HEAD, OPTIONS");
    }
    served.stopped();
}

/// Sections 6.2 and 7.4.
#[test]
fn requests_that_are_wrong() {
    let served = serving(Limits::default());
    let (view, _) = open(&served, &json!({"resource-id": "cost-map"}));
    let next = format!("{view}/ug");
    let missing = served.post("/resources/filtered-cost-map", "application/alto-costmapfilter+json", b"").json()["meta"].clone();
    let bad = json!({"cost-type": {"cost-mode": "numerical", "cost-metric": "nonsense"}, "pids": {"srcs": [], "dsts": []}});
    let invalid =
        served.post("/resources/filtered-cost-map", "application/alto-costmapfilter+json", bad.to_string().as_bytes()).json()["meta"]
            .clone();
    for (path, body, want) in [
        ("/tips", json!({}), json!({"code": "E_MISSING_FIELD", "field": "resource-id"})),
        (
            "/tips",
            json!({"resource-id": "my-network-map/#"}),
            json!({"code": "E_INVALID_FIELD_VALUE", "field": "resource-id", "value": "my-network-map/#"}),
        ),
        ("/tips", json!({"resource-id": "nothing"}), json!({"code": "E_INVALID_FIELD_VALUE", "field": "resource-id", "value": "nothing"})),
        ("/tips", json!({"resource-id": 1}), json!({"code": "E_INVALID_FIELD_TYPE", "field": "resource-id"})),
        ("/tips", json!({"resource-id": "cost-map", "tag": 1}), json!({"code": "E_INVALID_FIELD_TYPE", "field": "tag"})),
        (
            "/tips",
            json!({"resource-id": "cost-map", "input": {}}),
            json!({"code": "E_INVALID_FIELD_VALUE", "field": "input", "value": "{}"}),
        ),
        ("/tips", json!({"resource-id": "filtered-cost-map"}), missing),
        ("/tips", json!({"resource-id": "filtered-cost-map", "input": bad}), invalid),
        (&next, json!({}), json!({"code": "E_MISSING_FIELD", "field": "resource-id"})),
        (
            &next,
            json!({"resource-id": "my-default-network-map"}),
            json!({"code": "E_INVALID_FIELD_VALUE", "field": "resource-id", "value": "my-default-network-map"}),
        ),
        (&next, json!({"resource-id": "cost-map", "input": {}}), json!({"code": "E_INVALID_FIELD_VALUE", "field": "input", "value": "{}"})),
    ] {
        let answer = served.post(path, PARAMS, body.to_string().as_bytes());
        assert_eq!((answer.status, &answer.json()["meta"]), (400, &want), "{path} {body}");
    }
    served.post("/tips", PARAMS, b"[").error(400, "E_SYNTAX");
    served.post("/tips", "application/json", b"{}").error(415, "E_SYNTAX");
    served.post("/tips/nothing/ug", PARAMS, br#"{"resource-id":"cost-map"}"#).error(404, "E_SYNTAX");

    let old = served.publisher.current().versions["cost-map"].tag.clone();
    publish(&served, costs(9));
    for (body, edge) in [
        (json!({"resource-id": "cost-map"}), json!({"seq-i": 0, "seq-j": 2})),
        (json!({"resource-id": "cost-map", "tag": old.as_str()}), json!({"seq-i": 1, "seq-j": 2})),
        (json!({"resource-id": "cost-map", "tag": "unheard-of"}), json!({"seq-i": 0, "seq-j": 2})),
    ] {
        let answer = served.post(&next, PARAMS, body.to_string().as_bytes());
        assert_eq!((answer.status, answer.field("content-type")), (200, "application/merge-patch+json"));
        let graph = json!({"start-seq": 1, "end-seq": 2, "start-edge-rec": edge});
        assert_eq!(answer.json(), json!({"tips-view-summary": {"updates-graph-summary": graph}}), "{body}");
    }
    served.stopped();
}

/// Starts a poll and makes sure that it waits.
fn poll(served: &Served, path: &str) -> crate::served::Client {
    let waiting = || served.admin("GET /v1/status HTTP/1.1", b"").json()["clients"]["updates"]["tips"].as_u64().unwrap();
    let before = waiting();
    let mut client = served.connect();
    client.write(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    while waiting() == before {
        std::thread::yield_now();
    }
    client
}

#[test]
fn polls_wait_for_their_edge() {
    let served = Served::new(Options { workers: Some(2), ..options() });
    let (view, _) = open(&served, &json!({"resource-id": "cost-map"}));
    let mut next: Vec<_> = (0..8).map(|_| poll(&served, &format!("{view}/ug/1/2"))).collect();
    // Within the window one may be ahead of oneself.
    let mut later = poll(&served, &format!("{view}/ug/2/3"));
    publish(&served, costs(20));
    let mut bodies: Vec<_> = next
        .iter_mut()
        .map(|client| {
            let answer = client.answer();
            assert_eq!((answer.status, answer.field("cache-control")), (200, "public, max-age=31536000, immutable"));
            answer.body
        })
        .collect();
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    assert_eq!(bodies[0], get(&served, &format!("{view}/ug/1/2"), "").body);
    publish(&served, costs(21));
    assert_eq!(later.answer().json()["cost-map"]["PID1"]["PID2"], 21);
    // The connection of a poll takes the next.
    next[0].write(format!("GET {view}/ug/2/3 HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    assert_eq!(next[0].answer().status, 200);
    served.stopped();
}

#[test]
fn polls_end_without_an_edge() {
    // The view closes.
    let served = serving(Limits { polls_max: 1, ..Limits::default() });
    let (view, _) = open(&served, &json!({"resource-id": "cost-map"}));
    let path = format!("{view}/ug/1/2");
    let mut waiting = poll(&served, &path);
    // Too many.
    let refused = get(&served, &path, "");
    refused.error(429, "E_SYNTAX");
    assert!(refused.field("retry-after").parse::<u32>().unwrap() > 0);
    publish(&served, Change::Withdraw { id: "cost-map".parse().unwrap() });
    waiting.answer().error(404, "E_SYNTAX");
    get(&served, &path, "").error(404, "E_SYNTAX");
    get(&served, &format!("{view}/ug/0/1"), "").error(404, "E_SYNTAX");
    served.post(&format!("{view}/ug"), PARAMS, br#"{"resource-id":"cost-map"}"#).error(404, "E_SYNTAX");
    served.stopped();

    // Nothing comes in time.
    let served = serving(Limits { poll_time_max: Duration::from_millis(50), ..Limits::default() });
    let (view, _) = open(&served, &json!({"resource-id": "cost-map"}));
    let late = get(&served, &format!("{view}/ug/1/2"), "");
    late.error(425, "E_SYNTAX");
    assert_eq!((late.field("retry-after"), late.field("cache-control")), ("0", "no-store"));
    served.stopped();

    // The server stops.
    let mut served = serving(Limits::default());
    let (view, _) = open(&served, &json!({"resource-id": "cost-map"}));
    let mut waiting = poll(&served, &format!("{view}/ug/1/2"));
    served.stop();
    let last = waiting.answer();
    last.error(503, "E_SYNTAX");
    assert_eq!(last.field("retry-after"), "1");
    served.stopped();
}

#[test]
fn inputs_have_views_of_their_own() {
    let served = serving(Limits { tips_views_max: 1, ..Limits::default() });
    let input: Value = serde_json::from_slice(COST_FILTER).unwrap();
    let (view, graph) = open(&served, &json!({"resource-id": "filtered-cost-map", "input": input}));
    assert_eq!(graph["start-edge-rec"], json!({"seq-i": 0, "seq-j": graph["end-seq"]}));
    // The same input, written otherwise.
    let spaced = serde_json::to_vec_pretty(&json!({"input": input, "resource-id": "filtered-cost-map"})).unwrap();
    let again = served.post("/tips", PARAMS, &spaced).json();
    assert!(again["tips-view-uri"].as_str().unwrap().ends_with(&view));
    let direct = served.post("/resources/filtered-cost-map", "application/alto-costmapfilter+json", COST_FILTER);
    assert_eq!(get(&served, &format!("{view}/ug/0/{}", graph["end-seq"]), "").json(), direct.json());
    // One more view than may be held.
    let other = json!({"resource-id": "filtered-network-map", "input": {"pids": ["PID1"]}});
    let refused = served.post("/tips", PARAMS, other.to_string().as_bytes());
    refused.error(429, "E_SYNTAX");
    assert!(refused.find("retry-after").is_some());
    // It is followed while nobody holds a connection.
    let end = graph["end-seq"].as_u64().unwrap();
    let mut waiting = poll(&served, &format!("{view}/ug/{end}/{}", end + 1));
    publish(&served, costs(99));
    assert_eq!(waiting.answer().status, 200);
    assert_eq!(served.admin("GET /v1/status HTTP/1.1", b"").json()["clients"]["tips-views"], 1);
    served.stopped();
}

#[test]
fn summaries_are_streamed() {
    let served = serving(Limits::default());
    let wish = |input: Value| json!({"add": {"tips-123": {"resource-id": "tips", "input": input}}});
    let mut events = Events::open(&served, "/updates/tips-sse", &wish(json!({"resource-id": "cost-map"})));
    let control = events.control_path();
    let full = events.expect("application/alto-tips+json,tips-123");
    let (view, graph) = open(&served, &json!({"resource-id": "cost-map"}));
    assert_eq!(full, json!({"tips-view-uri": format!("http://a{view}"), "tips-view-summary": {"updates-graph-summary": graph}}));
    publish(&served, costs(9));
    let change = events.expect("application/merge-patch+json,tips-123");
    assert_eq!(change, json!({"tips-view-summary": {"updates-graph-summary": {"end-seq": 2}}}));
    // With the newest version: the edge to come, which is no version yet.
    let newest = served.publisher.current().versions["cost-map"].tag.clone();
    let mut current = Events::open(&served, "/updates/tips-sse", &wish(json!({"resource-id": "cost-map", "tag": newest.as_str()})));
    current.control();
    let graph = json!({"start-seq": 1, "end-seq": 2, "start-edge-rec": {"seq-i": 2, "seq-j": 3}});
    assert_eq!(current.expect("application/alto-tips+json,tips-123")["tips-view-summary"]["updates-graph-summary"], graph);
    drop(current);
    // The control of one service is not that of another.
    served.post(&control.replace("tips-sse", "sse"), crate::sse::PARAMS, br#"{"remove":[]}"#).error(404, "E_SYNTAX");
    assert_eq!(served.post(&control, crate::sse::PARAMS, br#"{"remove":["tips-123"]}"#).status, 204);
    assert_eq!(events.control()["stopped"], json!(["tips-123"]));
    assert_eq!(events.next(), None);

    let refused = |body: Value| served.post("/updates/tips-sse", crate::sse::PARAMS, body.to_string().as_bytes()).json()["meta"].clone();
    assert_eq!(
        refused(json!({"add": {"s": {"resource-id": "cost-map"}}})),
        json!({"code": "E_INVALID_FIELD_VALUE", "field": "add/s/resource-id", "value": "cost-map"})
    );
    // "The same error response that that resource would return for missing or invalid input".
    let tips = |input: &Value| served.post("/tips", PARAMS, input.to_string().as_bytes()).json()["meta"].clone();
    assert_eq!(refused(json!({"add": {"s": {"resource-id": "tips"}}})), json!({"code": "E_MISSING_FIELD", "field": "resource-id"}));
    for input in [json!({}), json!({"resource-id": "x"}), json!({"resource-id": 1}), json!({"resource-id": "filtered-cost-map"})] {
        assert_eq!(refused(wish(input.clone())), tips(&input), "{input}");
    }
    served.stopped();
}

/// RFC 8895 section 6.3, the draft's section 5.
#[test]
fn the_directory_announces_what_works() {
    let served = serving(Limits::default());
    let map = std::str::from_utf8(crate::served::NETWORK_MAP).unwrap().replace("my-default-network-map", "tips");
    publish(&served, put("tips", map.as_bytes()));
    let directory = served.get("/directory").json();
    let resources = directory["resources"].as_object().unwrap();
    let both = "application/merge-patch+json,application/json-patch+json";
    let names: Vec<&String> = resources.keys().filter(|name| resources[*name]["uri"].as_str().unwrap().contains("/resources/")).collect();
    let kinds: Value = names.iter().map(|name| ((*name).clone(), json!(both))).collect::<serde_json::Map<_, _>>().into();
    let stream = &resources["update-stream"];
    assert_eq!((&stream["media-type"], &stream["accepts"]), (&json!("text/event-stream"), &json!(crate::sse::PARAMS)));
    assert_eq!(stream["uri"], "http://alto.example.com/updates/sse");
    assert_eq!(stream["uses"], json!(names));
    assert_eq!(stream["capabilities"], json!({"incremental-change-media-types": kinds, "support-stream-control": true}));
    // A resource has the name already.
    let tips = &resources["tips-2"];
    assert_eq!((&tips["media-type"], &tips["accepts"]), (&json!("application/alto-tips+json"), &json!(PARAMS)));
    assert_eq!((&tips["uses"], &tips["capabilities"]), (&json!(names), &json!({"incremental-change-media-types": kinds})));
    let summaries = &resources["tips-stream"];
    assert_eq!((&summaries["uses"], &summaries["uri"]), (&json!(["tips-2"]), &json!("http://alto.example.com/updates/tips-sse")));
    assert_eq!(
        summaries["capabilities"],
        json!({"incremental-change-media-types": {"tips-2": "application/merge-patch+json"}, "support-stream-control": true})
    );
    let mut events =
        Events::open(&served, "/updates/tips-sse", &json!({"add": {"s": {"resource-id": "tips-2", "input": {"resource-id": "tips"}}}}));
    events.control();
    events.expect("application/alto-tips+json,s");
    served.stopped();
}
