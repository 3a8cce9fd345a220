//! `altocast serve` alone is a live network.
mod program;

use program::{Server, request, run, text, wait_for};
use std::collections::BTreeSet;

#[test]
fn the_default_server_serves_a_network_and_answers_which_is_nearest() {
    let server = Server::start(&["--demo-interval", "3600"]);
    let directory = server.get("/directory");
    assert_eq!((directory.status, directory.header("content-type")), (200, Some("application/alto-directory+json")));
    let directory = directory.json();
    let ids: BTreeSet<&str> = directory["resources"].as_object().unwrap().keys().map(String::as_str).collect();
    for metric in ["routingcost", "hopcount", "delay-ow", "delay-rt", "bw-available"] {
        assert!(
            ids.contains(format!("cost-map-{metric}").as_str()) && ids.contains(format!("cost-map-{metric}-ordinal").as_str()),
            "{ids:?}"
        );
    }
    for id in ["network-map", "filtered-network-map", "filtered-cost-map", "endpoint-properties", "endpoint-cost"] {
        assert!(ids.contains(id), "{id} in {ids:?}");
    }
    let map = server.get("/resources/network-map").json();
    let pids = map["network-map"].as_object().unwrap();
    assert_eq!(pids.len(), 41, "40 networks and the default");
    assert_eq!(pids["default"]["ipv4"][0], "0.0.0.0/0");
    assert_eq!(pids["default"]["ipv6"][0], "::/0");

    // DE to NL costs 13, to IT 23, to UK 33; the order given is another.
    let url = format!("http://{}", server.public);
    let ranked = run(&["rank", "--server", &url, "--src", "141.24.0.1", "193.60.0.1", "145.120.0.1", "193.204.0.1"]);
    assert!(ranked.status.success(), "{}", text(&ranked.stderr));
    let ranked = text(&ranked.stdout);
    let places: Vec<Option<usize>> = ["145.120.0.1", "193.204.0.1", "193.60.0.1"].iter().map(|address| ranked.find(address)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{ranked}");

    // What the licence of the prefixes wants of a page that shows them.
    let page = request(&server.public, "GET", "/", &[("accept", "text/html")], b"");
    let page = text(&page.body);
    assert!(page.contains("<a href=\"https://db-ip.com\">IP Geolocation by DB-IP</a>"));
    // A row for every PID that has costs; its own cost is 0.
    assert_eq!(page.matches("<tr><th>").count(), 40 + 2, "beside the headings of two tables");
    assert!(page.contains("\n<tr><th>AT<td>0<td class="), "{page}");

    assert_eq!(server.admin("GET", "/readyz", "").status, 200);
    let sources = server.status()["sources"].clone();
    assert_eq!(sources.as_array().unwrap().len(), 5, "{sources}");
}

#[test]
fn costs_and_ranking_follow_the_replay_while_the_network_map_stays() {
    let server = Server::start(&["--demo-interval", "0.7"]);
    let network = server.get("/resources/network-map").etag();
    let mut tags = BTreeSet::new();
    // t0: 13 over the direct link; t1 to t4: 26 around it; t5 and t0 again: 13.
    for want in [13.0, 26.0, 13.0, 26.0] {
        wait_for(&format!("a cost of {want}"), || {
            let reply = server.get("/resources/cost-map-routingcost");
            (reply.json()["cost-map"]["DE"]["NL"].as_f64() == Some(want)).then(|| tags.insert(reply.etag()))
        });
    }
    assert!(tags.len() >= 2, "{tags:?}");
    assert_eq!(server.get("/resources/network-map").etag(), network);
    let line = server.wait_log(&["t1-de-nl-cost-13-to-120"]);
    assert!(line.contains("link DE-NL cost 13 -> 120") && line.contains("routingcost 126"), "{line}");
    server.wait_log(&["t2-fr-uk", "link FR-UK down"]);
    server.wait_log(&["t3-lu", "router LU gone"]);
    server.wait_log(&["t4", "link FR-UK up", "link CH-DE delay"]);
}

#[test]
fn the_reason_for_a_cost_names_the_link() {
    let server = Server::start(&["--demo-interval", "3600"]);
    let (public, admin) = (format!("http://{}", server.public), format!("http://{}", server.admin));
    let ranked = run(&["rank", "--explain", "--server", &public, "--admin", &admin, "--src", "141.24.0.1", "193.204.0.1"]);
    let shown = text(&ranked.stdout);
    // DE - AT - IT: 10 + 13.
    for word in ["PID DE", "PID IT", "AT", "ospf", "23"] {
        assert!(shown.contains(word), "{word} in {shown} {}", text(&ranked.stderr));
    }
}

#[test]
fn aws_replays_prefixes_and_invents_no_costs() {
    let server = Server::start(&["--demo", "aws", "--demo-interval", "0.3"]);
    let directory = server.get("/directory").json();
    let resources = directory["resources"].as_object().unwrap();
    assert!(resources.contains_key("network-map") && !resources.keys().any(|id| id.contains("cost")), "{resources:?}");
    let first = server.get("/resources/network-map");
    assert!(first.json()["network-map"].as_object().unwrap().contains_key("eu-west-1"));
    wait_for("another revision", || (server.get("/resources/network-map").etag() != first.etag()).then_some(()));
    server.wait_log(&["AWS revision 2026-05-22-06-27-05", "added (us-west-2)"]);
}

#[test]
fn azure_serves_what_was_measured_gaps_included() {
    let server = Server::start(&["--demo", "azure"]);
    let map = server.get("/resources/cost-map-delay-rt").json();
    // RFC 9439 section 4.2: microseconds. The table says 18 ms from West Europe to North Europe.
    assert_eq!(map["cost-map"]["westeurope"]["northeurope"], 18_000);
    // Only a row, only a column.
    assert!(map["cost-map"]["indonesiacentral"].as_object().is_some_and(|row| !row.is_empty()));
    assert!(map["cost-map"]["westeurope"]["indonesiacentral"].is_null());
    let costs: usize = map["cost-map"].as_object().unwrap().values().map(|row| row.as_object().unwrap().len()).sum();
    assert!(costs >= 2_350, "{costs}: 2,500 cells, 150 of them blank");
    let directory = server.get("/directory").json();
    assert!(!directory["resources"].as_object().unwrap().contains_key("cost-map-routingcost"));
}
