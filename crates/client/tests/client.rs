//! The client against servers that say what the RFC's examples say, and against servers that break their promises.
#![allow(clippy::unwrap_used)] // A test says what went wrong by stopping there.
mod support;

use alto::{
    cost::{CostType, Metric},
    endpoint::Address,
};
use client::{Admin, Answerer, Ask, Client, Confirmation, Error, Limits, Options, Protocol, Service, Uri};
use http::{HeaderMap, Method, StatusCode, Version};
use std::{io::Write, time::Duration};
use support::{Arrived, Reply, Server, reply};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const DIRECTORY: &str = "application/alto-directory+json";
const NETWORK_MAP: &str = "application/alto-networkmap+json";
const COST_MAP: &str = "application/alto-costmap+json";
const ENDPOINT_COST: &str = "application/alto-endpointcost+json";
const ERROR: &str = "application/alto-error+json";

/// A small server: a root directory, one below it, two maps, the endpoint cost service. URIs are relative and odd, so that a client
/// that assumes one fails.
fn small(request: &Arrived) -> Reply {
    let with_tag = |mut reply: Reply| {
        reply.headers_mut().insert("etag", "\"t1\"".parse().unwrap());
        reply
    };
    if request.header("if-none-match") == "\"t1\"" {
        return with_tag(reply(304, "text/plain", ""));
    }
    match (&*request.method, &*request.path) {
        ("GET", "/") => reply(
            200,
            DIRECTORY,
            r#"{
            "meta": {"cost-types": {"rc": {"cost-mode": "numerical", "cost-metric": "routingcost"},
                                    "bw": {"cost-mode": "numerical", "cost-metric": "bw-available"}},
                     "default-alto-network-map": "net"},
            "resources": {
                "net": {"uri": "x/n", "media-type": "application/alto-networkmap+json"},
                "rc-map": {"uri": "x/../y/c", "media-type": "application/alto-costmap+json",
                           "capabilities": {"cost-type-names": ["rc"]}, "uses": ["net"]},
                "ecs": {"uri": "/e?x=1", "media-type": "application/alto-endpointcost+json",
                        "accepts": "application/alto-endpointcostparams+json",
                        "capabilities": {"cost-type-names": ["bw"], "cost-constraints": true}},
                "more": {"uri": "/more/", "media-type": "application/alto-directory+json"}}}"#,
        ),
        ("GET", "/more/") => reply(
            200,
            DIRECTORY,
            r#"{
            "meta": {"cost-types": {"other-name": {"cost-mode": "numerical", "cost-metric": "routingcost"}}},
            "resources": {
                "filter": {"uri": "f", "media-type": "application/alto-costmap+json", "accepts": "application/alto-costmapfilter+json",
                           "capabilities": {"cost-type-names": ["other-name"]}, "uses": ["net"]},
                "root-again": {"uri": "/", "media-type": "application/alto-directory+json"}}}"#,
        ),
        ("GET", "/x/n") => with_tag(reply(
            200,
            NETWORK_MAP,
            r#"{
            "meta": {"vtag": {"resource-id": "net", "tag": "n1"}},
            "network-map": {"a": {"ipv4": ["192.0.2.0/24"]}, "b": {"ipv4": ["198.51.100.0/24"]},
                            "b2": {"ipv4": ["198.51.100.128/25"]}, "rest": {"ipv4": ["0.0.0.0/0"]}}}"#,
        )),
        ("GET", "/y/c") => reply(
            200,
            COST_MAP,
            r#"{
            "meta": {"dependent-vtags": [{"resource-id": "net", "tag": "n1"}],
                     "cost-type": {"cost-mode": "numerical", "cost-metric": "routingcost"}},
            "cost-map": {"a": {"a": 0, "b": 7, "b2": 3}}}"#,
        ),
        ("POST", "/more/f") => reply(400, ERROR, r#"{"meta": {"code": "E_INVALID_FIELD_VALUE", "field": "pids/srcs", "value": "zz"}}"#),
        ("POST", "/e?x=1") => reply(
            200,
            ENDPOINT_COST,
            r#"{
            "meta": {"cost-type": {"cost-mode": "numerical", "cost-metric": "bw-available"}},
            "endpoint-cost-map": {"ipv4:192.0.2.1": {"ipv4:198.51.100.1": 10, "ipv4:198.51.100.200": 2000}}}"#,
        ),
        _ => reply(404, "text/html", "<html>"),
    }
}

fn client_of(server: &Server) -> Client {
    Client::new(Options::new(server.url())).unwrap()
}

fn routingcost() -> CostType {
    CostType::numerical(Metric::routingcost())
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// RFC 7285 section 9.2: URIs relative to their directory, directories below, names of cost types local to each.
#[tokio::test]
async fn discovery_follows_directories_and_resolves_uris() {
    let server = Server::start(false, small).await;
    let client = client_of(&server);
    let catalog = client.catalog().await.unwrap();
    let offers: Vec<_> = catalog.offers.iter().map(|offer| (offer.id.as_str(), offer.service(), offer.uri.path())).collect();
    assert_eq!(
        offers,
        [
            ("ecs", Service::EndpointCost, "/e?x=1"),
            ("net", Service::NetworkMap, "/x/n"),
            ("rc-map", Service::CostMap, "/y/c"),
            ("filter", Service::FilteredCostMap, "/more/f"),
        ]
    );
    assert_eq!(catalog.offer("filter").unwrap().cost_types, [routingcost()]);
    assert_eq!(server.paths(), ["GET /", "GET /more/"], "a directory that names the root again is not followed twice");
}

#[tokio::test]
async fn unchanged_resources_cost_a_304() {
    let server = Server::start(false, small).await;
    let client = client_of(&server);
    let first = client.network_map(None).await.unwrap();
    let second = client.network_map(None).await.unwrap();
    assert!(!first.revalidated && second.revalidated);
    assert_eq!(first.value, second.value);
    assert_eq!(second.etag.as_deref(), Some("\"t1\""));
}

/// RFC 7285 section 11.5 when there is the service, by the maps of section 11.2 (longest match: 11.2.2) when there is not.
#[tokio::test]
async fn ranks_by_service_or_by_maps() {
    let server = Server::start(false, small).await;
    let client = client_of(&server);
    let source = address("ipv4:192.0.2.1");
    let destinations = ["ipv4:198.51.100.1", "ipv4:198.51.100.200", "ipv4:203.0.113.1", "ipv4:198.51.100.1"].map(address);
    let summary = |ranking: &client::Ranking| -> Vec<(String, f64)> {
        ranking.ranked.iter().map(|one| (one.destination.to_string(), one.cost)).collect()
    };

    let by_maps = client.rank(&source, &destinations, &Metric::routingcost()).await.unwrap();
    assert_eq!(summary(&by_maps), [("ipv4:198.51.100.200".to_owned(), 3.0), ("ipv4:198.51.100.1".to_owned(), 7.0)]);
    assert_eq!(by_maps.unranked, [address("ipv4:203.0.113.1")], "its PID has no cost");
    assert!(matches!(by_maps.by, Answerer::Maps { .. }));

    let by_service = client.rank(&source, &destinations, &"bw-available".parse().unwrap()).await.unwrap();
    assert_eq!(summary(&by_service), [("ipv4:198.51.100.200".to_owned(), 2000.0), ("ipv4:198.51.100.1".to_owned(), 10.0)]);
    assert!(matches!(by_service.by, Answerer::EndpointCost(_)));

    let error = client.rank(&source, &destinations, &"hopcount".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.to_string(), "the server has no costs of hopcount; offered: bw-available, routingcost");
}

#[tokio::test]
async fn refusals_keep_code_field_and_value() {
    let server = Server::start(false, small).await;
    let filter = alto::cost_map::Filter {
        query: alto::cost::Query::one(routingcost()),
        sources: vec!["zz".parse().unwrap()],
        destinations: Vec::new(),
    };
    let error = client_of(&server).filtered_cost_map(None, &filter).await.unwrap_err();
    let Error::Refused { status, error: body, .. } = &error else { panic!("{error}") };
    assert_eq!((*status, body.field.as_deref(), body.value.as_deref()), (StatusCode::BAD_REQUEST, Some("pids/srcs"), Some("zz")));
    assert!(error.to_string().ends_with(r#"400 Bad Request: invalid field value "pids/srcs": zz (E_INVALID_FIELD_VALUE)"#), "{error}");
}

/// What each broken promise is called.
#[tokio::test]
async fn broken_promises_are_told_apart() {
    type Make = fn() -> Reply;
    let table: [(&str, Make, &str); 13] = [
        ("a web page", || reply(200, "text/html", "<html>"), "text/html where application/alto-networkmap+json was asked for"),
        ("no type", || http::Response::new(http_body_util::Full::new("{}".into())), "no content type where"),
        ("no tag", || reply(200, NETWORK_MAP, r#"{"meta":{},"network-map":{}}"#), "vtag"),
        (
            "another map",
            || reply(200, NETWORK_MAP, r#"{"meta":{"vtag":{"resource-id":"other","tag":"1"}},"network-map":{}}"#),
            "meta/vtag names other, the directory calls this resource net",
        ),
        ("cut off", || reply(200, NETWORK_MAP, r#"{"meta":"#), "E_SYNTAX"),
        ("status", || reply(503, "text/plain", "busy\nreally"), "503 Service Unavailable: busy"),
        ("a page behind a status", || reply(502, "text/html", "<html>"), "502 Bad Gateway"),
        (
            "a status that says what it is",
            || reply(429, ERROR, r#"{"meta":{"code":"E_SYNTAX","syntax-error":"2 views are open"}}"#),
            "/x/n: 429 Too Many Requests: 2 views are open$",
        ),
        ("the same without words", || reply(503, ERROR, r#"{"meta":{"code":"E_SYNTAX"}}"#), "/x/n: 503 Service Unavailable$"),
        (
            "wrong syntax",
            || reply(400, ERROR, r#"{"meta":{"code":"E_SYNTAX","syntax-error":"at 7"}}"#),
            "/x/n: 400 Bad Request: syntax error: at 7 (E_SYNTAX)$",
        ),
        ("an error of its own with 200", || reply(200, ERROR, r#"{"meta":{"code":"E_SYNTAX"}}"#), "syntax error"),
        (
            "not gzip",
            || {
                let mut reply = reply(200, NETWORK_MAP, "plain");
                reply.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
                reply
            },
            "not the gzip it says it is",
        ),
        ("304 unasked", || reply(304, "text/plain", ""), "304 Not Modified to a request without If-None-Match"),
    ];
    for (what, make, want) in table {
        let server = Server::start(false, move |request| if request.path == "/x/n" { make() } else { small(request) }).await;
        let error = client_of(&server).network_map(None).await.unwrap_err();
        // "$": nothing after it.
        assert!(format!("{error}$").contains(want), "{what}: {error}");
    }
}

#[tokio::test]
async fn a_body_may_come_compressed_but_not_grow_past_the_bound() {
    let gzip = |request: &Arrived| {
        assert_eq!(request.header("accept-encoding"), "gzip");
        let plain = small(request);
        let body = format!("{{\"meta\":{{}}, \"x\": \"{}\", \"resources\":{{}}}}", "x".repeat(1 << 20));
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(body.as_bytes()).unwrap();
        let mut reply = reply(200, DIRECTORY, encoder.finish().unwrap());
        reply.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        drop(plain);
        reply
    };
    let server = Server::start(false, gzip).await;
    assert!(client_of(&server).root().await.unwrap().body.len() > 1 << 20);
    let limits = Limits { body_bytes_max: 1 << 19, ..Limits::default() };
    let tight = Client::new(Options { limits, ..Options::new(server.url()) }).unwrap();
    assert!(matches!(tight.root().await.unwrap_err(), Error::Limit { name: "body_bytes_max", .. }));
}

#[tokio::test]
async fn directories_below_directories_end() {
    let endless = |request: &Arrived| {
        let depth = request.path.len();
        reply(
            200,
            DIRECTORY,
            format!(r#"{{"meta":{{}},"resources":{{"d":{{"uri":"/{}","media-type":"{DIRECTORY}"}}}}}}"#, "d".repeat(depth)),
        )
    };
    let server = Server::start(false, endless).await;
    let error = client_of(&server).catalog().await.unwrap_err();
    assert!(matches!(error, Error::Limit { name: "directory_depth_max", .. }), "{error}");
}

#[tokio::test]
async fn redirects_are_followed_so_far() {
    let there = |request: &Arrived| match &*request.path {
        "/" => {
            let mut reply = reply(307, "text/plain", "");
            reply.headers_mut().insert("location", "/real".parse().unwrap());
            reply
        }
        "/real" => reply(200, DIRECTORY, r#"{"meta":{},"resources":{"m":{"uri":"m","media-type":"application/alto-networkmap+json"}}}"#),
        _ => {
            let mut reply = reply(302, "text/plain", "");
            reply.headers_mut().insert("location", "/loop".parse().unwrap());
            reply
        }
    };
    let server = Server::start(false, there).await;
    let client = client_of(&server);
    let catalog = client.catalog().await.unwrap();
    assert_eq!(catalog.root.path(), "/real");
    let error = client.resource(catalog.offer("m").unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::Limit { name: "redirects_max", .. }), "{error}");
}

/// The server's own page at `/` is no reason to give up (the root directory is `/directory` then), a full URL is taken at its word.
#[tokio::test]
async fn the_root_directory_is_found() {
    let elsewhere = |request: &Arrived| match &*request.path {
        "/" => reply(200, "text/html", "<html>"),
        "/directory" => reply(200, DIRECTORY, r#"{"meta":{},"resources":{}}"#),
        _ => reply(404, "text/plain", ""),
    };
    let server = Server::start(false, elsewhere).await;
    assert_eq!(client_of(&server).catalog().await.unwrap().root.path(), "/directory");
    let wrong = Client::new(Options::new(format!("{}/nothing", server.url()))).unwrap();
    assert!(matches!(wrong.catalog().await.unwrap_err(), Error::Status { status: StatusCode::NOT_FOUND, .. }));
}

#[tokio::test]
async fn connections_are_kept_and_a_dead_one_is_replaced() {
    let server = Server::start(false, |request| {
        let mut reply = small(request);
        if request.path == "/x/n" {
            reply.headers_mut().insert("connection", "close".parse().unwrap());
        }
        reply
    })
    .await;
    let client = client_of(&server);
    for _ in 0..3 {
        client.network_map(None).await.unwrap();
    }
    assert_eq!(server.paths(), ["GET /", "GET /more/", "GET /x/n", "GET /x/n", "GET /x/n"]);
}

#[tokio::test]
async fn http2_by_prior_knowledge() {
    let server = Server::start(true, small).await;
    let client = Client::new(Options { protocol: Protocol::Http2, ..Options::new(server.url()) }).unwrap();
    client.network_map(None).await.unwrap();
    assert!(server.requests.lock().unwrap().iter().all(|request| request.version == Version::HTTP_2));
}

/// A certificate of its own for 127.0.0.1, in PEM, and who has it.
fn certified() -> (String, rustls::ServerConfig) {
    let key = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .unwrap();
    (key.cert.pem(), tls)
}

/// Whatever is spoken over it: a server that is killed is gone, in words for people.
#[tokio::test]
async fn a_tls_server_that_is_killed() {
    let (certificate, tls) = certified();
    let pem = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&pem, certificate).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut stream = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(tls.clone())).accept(tcp).await.unwrap();
            stream.read_u8().await.unwrap();
            // The rest of what it says is taken, so that the connection ends and is not reset.
            let (mut tcp, _) = stream.into_inner();
            tcp.shutdown().await.unwrap();
            tokio::spawn(async move { tokio::io::copy(&mut tcp, &mut tokio::io::sink()).await });
        }
    });
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let client = Client::new(Options { ca_file: Some(pem.path().into()), protocol, ..Options::new(&url) }).unwrap();
        let error = client.catalog().await.unwrap_err().to_string();
        assert!(error.contains("the server went away without ending the TLS session") && !error.contains("docs.rs"), "{error}");
    }
}

#[tokio::test]
async fn tls_trusts_the_given_file_only() {
    let (certificate, mut tls) = certified();
    let pem = std::env::temp_dir().join(format!("altocast-client-{}.pem", std::process::id()));
    std::fs::write(&pem, certificate).unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let server = Server::start_tls(tls, small).await;
    let url = format!("https://{}", server.address);

    for (protocol, version) in [(Protocol::Auto, Version::HTTP_2), (Protocol::Http1, Version::HTTP_11), (Protocol::Http2, Version::HTTP_2)]
    {
        let client = Client::new(Options { ca_file: Some(pem.clone()), protocol, ..Options::new(&url) }).unwrap();
        client.root().await.unwrap();
        assert_eq!(server.requests.lock().unwrap().last().unwrap().version, version);
    }
    let strict = Client::new(Options::new(&url)).unwrap();
    assert!(matches!(strict.root().await.unwrap_err(), Error::Tls { .. }));
    let missing = Client::new(Options { ca_file: Some("/nonexistent/ca.pem".into()), ..Options::new(&url) }).unwrap();
    let error = missing.root().await.unwrap_err();
    assert!(error.to_string().starts_with("certificates of /nonexistent/ca.pem: No such file"), "{error}");
    std::fs::remove_file(&pem).unwrap();
}

#[tokio::test]
async fn nobody_listens_and_nobody_answers() {
    // Bound and dropped: nobody has the port.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Client::new(Options::new(format!("http://{free}"))).unwrap().catalog().await.unwrap_err();
    assert!(error.is_refused_connection(), "{error}");

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let hasty = Client::new(Options { silence_timeout: Duration::from_millis(20), ..Options::new(url) }).unwrap();
    assert!(matches!(hasty.catalog().await.unwrap_err(), Error::Timeout { .. }));
}

/// The token goes to the admin listener and, after a redirect, to no other server.
#[tokio::test]
async fn publishing() {
    let other = Server::start(false, |_| reply(200, "application/json", "{}")).await;
    let elsewhere = other.url();
    let server = Server::start(false, move |request| {
        assert_eq!(request.header("authorization"), "Bearer secret");
        match (&*request.method, &*request.path) {
            ("PUT", "/v1/resources/net") => reply(409, "application/json", r#"{"error":"the change moves 9 of 10 prefixes"}"#),
            ("PUT", "/v1/resources/net?confirm=true") => reply(
                200,
                "application/json",
                r#"{"resource-id":"net","seq":2,"tag":"t","also-changed":[{"resource-id":"rc","seq":5,"tag":"u"}]}"#,
            ),
            ("DELETE", "/v1/resources/net") => reply(204, "text/plain", ""),
            _ => {
                let mut reply = reply(307, "text/plain", "");
                reply.headers_mut().insert("location", elsewhere.parse().unwrap());
                reply
            }
        }
    })
    .await;
    let admin = Admin::new(Options { token: Some("secret".into()), ..Options::new(server.url()) }).unwrap();
    let id = "net".parse().unwrap();
    let error = admin.put(&id, NETWORK_MAP, b"{}".to_vec(), Confirmation::None).await.unwrap_err();
    assert!(matches!(&error, Error::Status { status: StatusCode::CONFLICT, body, .. } if body.contains("9 of 10")), "{error}");
    assert_eq!(server.requests.lock().unwrap()[0].body, "{}");
    let published = admin.put(&id, NETWORK_MAP, b"{}".to_vec(), Confirmation::Given).await.unwrap();
    assert_eq!((published.seq, &*published.tag), (2, "t"));
    assert_eq!(published.also_changed[0].resource_id, "rc");
    admin.delete(&id, Confirmation::None).await.unwrap();
    admin.explain(&address("ipv4:192.0.2.1"), &address("ipv4:192.0.2.2"), &Metric::routingcost()).await.unwrap();
    assert_eq!(other.requests.lock().unwrap()[0].header("authorization"), "");
}

#[tokio::test]
async fn raw_questions() {
    let server = Server::start(false, small).await;
    let uri = Uri::parse(&server.url()).unwrap().resolve("/nothing").unwrap();
    let ask = Ask { method: Method::HEAD, uri, headers: HeaderMap::new(), body: Default::default() };
    let reply = client_of(&server).ask(ask).await.unwrap();
    assert_eq!((reply.status, reply.media_type().as_str()), (StatusCode::NOT_FOUND, "text/html"));
}
