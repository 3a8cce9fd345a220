//! The admin listener: publishing, and who may.
use crate::served::{COST_MAP, Client, NETWORK_MAP, Served, options, publisher};
use serde_json::json;
use server::{Limits, Options, SourceReport, SourceStatus, StoreStatus};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

const MERGE: &str = "Content-Type: application/merge-patch+json";

/// What is acknowledged is what the next reader gets.
#[test]
fn publishing() {
    let served = Served::new(options());
    let changed = String::from_utf8(COST_MAP.to_vec()).unwrap().replace("\"PID3\": 10", "\"PID3\": 11");
    let put = |body: &str, media_type: &str| {
        served.admin(&format!("PUT /v1/resources/cost-map HTTP/1.1\r\nContent-Type: {media_type}"), body.as_bytes())
    };
    let answer = put(&changed, "application/alto-costmap+json");
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let body = answer.json();
    assert_eq!((&body["resource-id"], &body["seq"]), (&json!("cost-map"), &json!(2)));
    let got = served.get("/resources/cost-map");
    assert_eq!(got.field("etag"), format!("\"{}\"", body["tag"].as_str().unwrap()));
    assert_eq!(got.json()["cost-map"]["PID1"]["PID3"], 11);
    assert_eq!(put(&changed, "application/json").status, 200);
    // RFC 9110 section 8.3.1: types are case-insensitive and may have parameters.
    assert_eq!(put(&changed, "Application/ALTO-CostMap+JSON; charset=utf-8").status, 200);
    assert_eq!(put(&changed, "text/plain").status, 415);
    assert_eq!(put("{", "application/alto-costmap+json").status, 400);

    let answer = served.admin(&format!("PATCH /v1/resources/cost-map HTTP/1.1\r\n{MERGE}"), br#"{"cost-map":{"PID1":{"PID3":12}}}"#);
    assert_eq!((answer.status, &answer.json()["seq"]), (200, &json!(3)));
    assert_eq!(served.get("/resources/cost-map").json()["cost-map"]["PID1"]["PID3"], 12);

    let data = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    let commit = json!({ "changes": {
        "my-default-network-map": { "media-type": "application/alto-networkmap+json", "data": data(NETWORK_MAP) },
        "cost-map": { "media-type": "application/alto-costmap+json", "data": data(COST_MAP) },
    } });
    let answer = served.admin("POST /v1/commits HTTP/1.1\r\nContent-Type: application/json", commit.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(served.get("/resources/cost-map").json()["cost-map"]["PID1"]["PID3"], 10);
    // A slip is refused by its path and changes nothing.
    let slip = br#"{"changes": {"cost-map": {"media-type": "application/alto-costmap+json"}}}"#;
    let answer = served.admin("POST /v1/commits HTTP/1.1\r\nContent-Type: application/json", slip);
    let meta = json!({ "code": "E_MISSING_FIELD", "field": "changes/cost-map/data" });
    assert_eq!((answer.status, &answer.json()["meta"]), (400, &meta));
    let history = served.admin("GET /v1/resources/cost-map/history HTTP/1.1", b"").json();
    assert_eq!((&history["oldest-seq"], &history["seq"]), (&json!(1), &json!(4)));

    // A published cost map is in the way of its network map.
    assert_eq!(served.admin("DELETE /v1/resources/my-default-network-map HTTP/1.1", b"").status, 409);
    assert_eq!(served.admin("DELETE /v1/resources/cost-map HTTP/1.1", b"").status, 204);
    assert_eq!(served.get("/resources/cost-map").status, 404);
    assert_eq!(served.admin("DELETE /v1/resources/cost-map HTTP/1.1", b"").status, 404);
    let resources = served.admin("GET /v1/resources HTTP/1.1", b"").json();
    assert_eq!(resources["resources"].as_array().unwrap().len(), 1);
}

/// RFC 7285 section 11.2.2: a map that leaves addresses out is taken, because filtered maps do, and said to be incomplete.
#[test]
fn incomplete_maps_are_taken_with_a_warning() {
    let served = Served::new(options());
    let put = |map: &str| {
        let answer = served.admin("PUT /v1/resources/other HTTP/1.1\r\nContent-Type: application/alto-networkmap+json", map.as_bytes());
        assert_eq!(answer.status / 100, 2, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()["warnings"].as_array().unwrap().clone()
    };
    let warnings = put(r#"{"meta": {}, "network-map": {"A": {"ipv4": ["192.0.2.0/24"], "ipv6": ["::/0"]}}}"#);
    assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().contains("192.0.3.0 to 255.255.255.255"), "{warnings:?}");
    assert_eq!(put(r#"{"meta": {}, "network-map": {"A": {"ipv4": ["0.0.0.0/0"], "ipv6": ["::/0"]}}}"#).len(), 0);
}

/// Requests of the public are seen in the metrics, with their resource, method, status and size.
#[test]
fn metrics() {
    let served = Served::new(options());
    let bytes = served.get("/resources/cost-map").body.len();
    served.get("/nothing");
    let text = String::from_utf8(served.admin("GET /metrics HTTP/1.1", b"").body).unwrap();
    for line in [
        "alto_requests_total{resource=\"cost-map\",method=\"GET\",status=\"200\"} 1".to_owned(),
        format!("alto_response_bytes_total{{resource=\"cost-map\",method=\"GET\",status=\"200\"}} {bytes}"),
        "alto_requests_total{resource=\"other\",method=\"GET\",status=\"404\"} 1".into(),
        "alto_pids{resource=\"my-default-network-map\"} 3".into(),
        "alto_prefixes{resource=\"my-default-network-map\"} 5".into(),
        "alto_resource_entries{resource=\"cost-map\"} 8".into(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    for family in ["alto_resource_memory_bytes", "process_cpu_seconds_total", "process_resident_memory_bytes"] {
        assert!(text.lines().any(|line| line.starts_with(family)), "{family} is not in\n{text}");
    }
}

/// "With `admin.token` set every admin request needs it as a bearer token."
#[test]
fn every_request_needs_the_token() {
    let served = Served::new(Options { admin_token: Some("s3cret".into()), ..options() });
    for path in ["/v1/status", "/metrics", "/healthz", "/readyz", "/v1/resources", "/nothing"] {
        let answer = served.admin(&format!("GET {path} HTTP/1.1"), b"");
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.field("www-authenticate").starts_with("Bearer"));
        let answer = served.admin(&format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer wrong"), b"");
        assert_eq!(answer.status, 401, "{path}");
        let answer = served.admin(&format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer s3cret"), b"");
        assert_eq!(answer.status, if path == "/nothing" { 404 } else { 200 }, "{path}");
    }
    let put = served.admin("PUT /v1/resources/x HTTP/1.1\r\nContent-Type: application/json", b"{}");
    assert_eq!(put.status, 401);
    // A new token takes effect at once.
    served.handle.reconfigure(&Options { admin_token: Some("other".into()), ..options() }).unwrap();
    assert_eq!(served.admin("GET /healthz HTTP/1.1\r\nAuthorization: Bearer s3cret", b"").status, 401);
    assert_eq!(served.admin("GET /healthz HTTP/1.1\r\nAuthorization: Bearer other", b"").status, 200);
}

#[test]
fn web_pages_of_other_sites_are_kept_out() {
    let served = Served::new(options());
    let answer = served.admin("POST /v1/guard/confirm HTTP/1.1\r\nOrigin: https://evil.example", b"");
    assert_eq!(answer.status, 403);
    assert_eq!(served.admin("POST /v1/guard/confirm HTTP/1.1", b"").status, 404, "nothing is held");
    let answer = Client::connect(served.admin).ask("GET /v1/status HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_eq!(answer.status, 403);
}

#[test]
fn statuses() {
    let limits = Limits { document_bytes_max: 2000, ..Limits::default() };
    let served = Served::new(Options { limits, ..options() });
    let json = "Content-Type: application/json";
    for (head, body, status) in [
        ("GET /healthz", "", 200),
        ("HEAD /healthz", "", 200),
        ("GET /v1/guard", "", 200),
        ("GET /nothing", "", 404),
        ("DELETE /v1/status", "", 405),
        ("GET /v1/explain", "", 400),
        ("GET /v1/explain?src=192.0.2.1&dst=198.51.100.200", "", 200),
        ("GET /v1/explain?src=192.0.2.1&dst=198.51.100.200&metric=no", "", 400),
        ("GET /v1/resources/nothing/history", "", 404),
        (&format!("PUT /v1/resources/a!|{json}"), "{}", 400),
        ("PUT /v1/resources/a", "{}", 415),
        (&format!("PUT /v1/resources/a|{json}"), &" ".repeat(2001), 413),
        (&format!("PATCH /v1/resources/cost-map|{json}"), "{}", 415),
        (&format!("PATCH /v1/resources/nothing|{MERGE}"), "{}", 404),
        (&format!("POST /v1/commits|{json}"), "{", 400),
        ("POST /v1/commits|Content-Type: text/plain", "{}", 415),
    ] {
        let (line, field) = head.split_once('|').unwrap_or((head, ""));
        let text = if field.is_empty() { format!("{line} HTTP/1.1") } else { format!("{line} HTTP/1.1\r\n{field}") };
        let answer = served.admin(&text, body.as_bytes());
        assert_eq!(answer.status, status, "{head}: {}", String::from_utf8_lossy(&answer.body));
        if status >= 400 {
            assert!(answer.json()["error"].is_string(), "{head}");
        }
    }
}

struct Starting;

impl SourceReport for Starting {
    fn sources(&self) -> Vec<SourceStatus> {
        vec![SourceStatus {
            name: "lab".into(),
            kind: "frr-ospf".into(),
            observed_at: None,
            observations: 0,
            refused: 1,
            trouble: Some("lab.json: line 3: no JSON".into()),
        }]
    }

    fn ready(&self) -> bool {
        false
    }

    fn store(&self) -> StoreStatus {
        StoreStatus { trouble: Some("no space left".into()), ..StoreStatus::default() }
    }
}

#[test]
fn sources_are_reported() {
    let served = Served::with(options(), publisher(), Arc::new(Starting));
    assert_eq!(served.admin("GET /readyz HTTP/1.1", b"").status, 503);
    assert_eq!(served.admin("GET /healthz HTTP/1.1", b"").status, 200);
    let status = served.admin("GET /v1/status HTTP/1.1", b"").json();
    assert_eq!(status["sources"][0]["trouble"], "lab.json: line 3: no JSON");
    assert_eq!(status["store"]["trouble"], "no space left");
    for what in ["lab", "no space left"] {
        let troubles = status["troubles"].as_array().unwrap();
        assert!(troubles.iter().any(|trouble| trouble.as_str().unwrap().contains(what)), "{what}: {troubles:?}");
    }
    let text = String::from_utf8(served.admin("GET /metrics HTTP/1.1", b"").body).unwrap();
    for line in ["alto_source_trouble{source=\"lab\",kind=\"frr-ospf\"} 1", "alto_store_trouble 1"] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

/// Sources that say nothing until they are let to.
struct Waiting {
    asked: mpsc::Sender<()>,
    held: Mutex<mpsc::Receiver<()>>,
}

impl SourceReport for Waiting {
    fn sources(&self) -> Vec<SourceStatus> {
        let _ = self.asked.send(());
        let _ = self.held.lock().unwrap_or_else(PoisonError::into_inner).recv();
        Vec::new()
    }
}

/// However many requests wait for something.
#[test]
fn health_waits_for_nothing() {
    let limits = Limits { queries_at_once: 1, ..Limits::default() };
    let (asked, were_asked) = mpsc::channel();
    let (release, held) = mpsc::channel();
    let sources = Waiting { asked, held: Mutex::new(held) };
    let served = Served::with(Options { limits, ..options() }, publisher(), Arc::new(sources));
    let mut waiting = Vec::new();
    // One for each thread that answers operators.
    for _ in 0..3 {
        let mut client = Client::connect(served.admin);
        client.write(format!("GET /v1/status HTTP/1.1\r\nHost: {}\r\n\r\n", served.admin).as_bytes());
        were_asked.recv().unwrap();
        waiting.push(client);
    }
    assert_eq!(served.admin("GET /healthz HTTP/1.1", b"").status, 200);
    assert_eq!(served.admin("GET /readyz HTTP/1.1", b"").status, 200);
    drop(release);
    for mut client in waiting {
        assert_eq!(client.answer().status, 200);
    }
}
