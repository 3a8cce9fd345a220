//! What is told at a bound names the key of the configuration that sets it.
#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]
mod program;

use program::{Connection, Reply, Server, program, request, text};

const STREAM: &str = "application/alto-updatestreamparams+json";
const TIPS: &str = "application/alto-tipsparams+json";

/// Each key that is set, and that a message must name: to the letter, or the server would not know it.
const KEYS: [(&str, &str); 9] = [
    ("updates.update-streams-max", "1"),
    ("updates.substreams-max", "1"),
    ("updates.substream-ids-max", "1"),
    ("updates.control-requests-max", "1"),
    ("updates.polls-max", "0"),
    ("updates.tips-views-max", "0"),
    ("history.filtered-views-max", "1"),
    ("server.query-bytes-max", "1000"),
    ("admin.document-bytes-max", "1000"),
];

#[test]
fn who_is_refused_is_told_the_key() {
    let mut command = program(&["serve", "--json", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    for (key, value) in KEYS {
        command.env(format!("ALTOCAST_{}", key.replace(['.', '-'], "_").to_uppercase()), value);
    }
    let server = Server::spawn(command);
    let post =
        |path: &str, media_type: &str, body: &str| request(&server.public, "POST", path, &[("content-type", media_type)], body.as_bytes());
    let filtered = |pid: &str| format!(r#"{{"resource-id":"filtered-network-map","input":{{"pids":["{pid}"]}}}}"#);
    let mut told = Vec::new();
    let mut refused = |key: &'static str, status: u16, reply: &Reply| {
        assert_eq!(reply.status, status, "{key}: {}", text(&reply.body));
        assert!(text(&reply.body).contains(&format!("({key})")), "{key}: {}", text(&reply.body));
        told.push(key);
    };

    let view = post("/tips", TIPS, r#"{"resource-id":"network-map"}"#).json();
    let edge = &view["tips-view-summary"]["updates-graph-summary"];
    let newest = edge["end-seq"].as_u64().unwrap();
    let uri = view["tips-view-uri"].as_str().unwrap().split_once(&server.public).unwrap().1.to_owned();
    refused("updates.polls-max", 429, &server.get(&format!("{uri}/ug/{newest}/{}", newest + 1)));
    refused("updates.tips-views-max", 429, &post("/tips", TIPS, &filtered("NL")));

    let two = r#"{"add":{"a":{"resource-id":"network-map"},"b":{"resource-id":"network-map"}}}"#;
    refused("updates.substreams-max", 429, &post("/updates/sse", STREAM, two));
    let one = format!(r#"{{"add":{{"a":{}}}}}"#, filtered("NL"));
    let mut stream = Connection::open(&server.public);
    assert_eq!(stream.request("POST", "/updates/sse", &[("content-type", STREAM)], one.as_bytes()).status, 200);
    let control = loop {
        if let Some((_, uri)) = stream.line().split_once(r#"{"control-uri":"http://"#) {
            break uri.split_once('"').unwrap().0.strip_prefix(&server.public).unwrap().to_owned();
        }
    };
    refused("updates.update-streams-max", 429, &post("/updates/sse", STREAM, &one));
    refused("history.filtered-views-max", 429, &post("/tips", TIPS, &filtered("DE")));
    let another = r#"{"add":{"b":{"resource-id":"network-map"}},"remove":["a"]}"#;
    refused("updates.substream-ids-max", 429, &post(&control, STREAM, another));
    refused("updates.control-requests-max", 429, &post(&control, STREAM, another));

    let long = " ".repeat(1001);
    refused("server.query-bytes-max", 413, &post("/tips", TIPS, &long));
    refused("admin.document-bytes-max", 413, &server.put("network-map", &long));
    assert_eq!(told.len(), KEYS.len());
}
