//! What is answered without a request, what with a 304, and what never (RFC 9111).
#![allow(clippy::unwrap_used)] // A test says what went wrong by stopping there.
#[allow(dead_code)] // The tests of the client use the rest.
mod support;

use client::{Client, Clock, Error, Freshness, Options};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};
use support::{Arrived, Reply, Server, reply};

const DIRECTORY: &str = r#"{"meta": {"default-alto-network-map": "net"},
    "resources": {"net": {"uri": "/n", "media-type": "application/alto-networkmap+json"}}}"#;
const NETWORK_MAP: &str = "application/alto-networkmap+json";

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn map(tag: &str) -> String {
    format!(r#"{{"meta":{{"vtag":{{"resource-id":"net","tag":"{tag}"}}}},"network-map":{{"a":{{"ipv4":["0.0.0.0/0"]}}}}}}"#)
}

/// A server whose clock is this one.
async fn server_at(clock: &Clock, answer: impl Fn(&Arrived) -> Reply + Send + Sync + 'static) -> Server {
    let clock = clock.clone();
    Server::start(false, move |request| {
        let mut reply = match &*request.path {
            "/" => reply(200, "application/alto-directory+json", DIRECTORY),
            _ => answer(request),
        };
        reply.headers_mut().insert("date", httpdate::fmt_http_date(clock.wall()).parse().unwrap());
        reply
    })
    .await
}

/// A server of one network map, tagged by `tag`, with these lines of fields beside its entity tag.
async fn server(clock: &Clock, fields: &'static str, tag: Arc<AtomicU32>) -> Server {
    server_at(clock, move |request| {
        let tag = tag.load(Ordering::Relaxed);
        let known = request.header("if-none-match") == format!("\"{tag}\"");
        let mut reply = if known { reply(304, NETWORK_MAP, "") } else { reply(200, NETWORK_MAP, map(&tag.to_string())) };
        reply.headers_mut().insert("etag", format!("\"{tag}\"").parse().unwrap());
        with(&mut reply, fields);
        reply
    })
    .await
}

fn with(reply: &mut Reply, fields: &'static str) {
    for line in fields.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        reply.headers_mut().append(name, value.parse().unwrap());
    }
}

fn client_at(server: &Server, clock: &Clock) -> Client {
    Client::new(Options { clock: clock.clone(), ..Options::new(server.url()) }).unwrap()
}

fn asked_for_map(server: &Server) -> usize {
    server.paths().iter().filter(|path| *path == "GET /n").count()
}

/// RFC 9111 section 4.2: while it is fresh nobody is asked; after that a 304 makes it fresh again.
#[tokio::test]
async fn fresh_answers_cost_no_request() {
    let clock = Clock::stopped_at(start());
    let server = server(&clock, "cache-control: max-age=60", Arc::default()).await;
    let client = client_at(&server, &clock);
    let first = client.network_map(None).await.unwrap();
    assert_eq!(first.freshness, Freshness::Fresh { until: start() + Duration::from_secs(60) });
    clock.advance(Duration::from_secs(59));
    let second = client.network_map(None).await.unwrap();
    assert_eq!((second.freshness, second.revalidated), (first.freshness, false));
    assert_eq!(asked_for_map(&server), 1);
    clock.advance(Duration::from_secs(1));
    let third = client.network_map(None).await.unwrap();
    assert_eq!(third.freshness, Freshness::Fresh { until: start() + Duration::from_secs(120) });
    assert!(third.revalidated);
    assert!(Arc::ptr_eq(&first.value, &third.value), "a 304 costs no parsing");
    client.network_map(None).await.unwrap();
    assert_eq!(asked_for_map(&server), 2);
}

/// Who wants to know what the server has now gets it, and what is kept is fresh again.
#[tokio::test]
async fn fresh_answers_can_be_confirmed() {
    let clock = Clock::stopped_at(start());
    let server = server(&clock, "cache-control: max-age=60", Arc::default()).await;
    let client = client_at(&server, &clock);
    let catalog = client.catalog().await.unwrap();
    let offer = catalog.offer("net").unwrap();
    client.resource(offer).await.unwrap();
    clock.advance(Duration::from_secs(30));
    assert!(client.confirmed(offer).await.unwrap().revalidated);
    assert_eq!(client.resource(offer).await.unwrap().freshness, Freshness::Fresh { until: start() + Duration::from_secs(90) });
    assert_eq!(asked_for_map(&server), 2);
}

/// A wall clock that is set back does not give time back.
#[tokio::test]
async fn a_clock_set_back_makes_nothing_fresh() {
    let clock = Clock::stopped_at(start());
    let server = server(&clock, "cache-control: max-age=60", Arc::default()).await;
    let client = client_at(&server, &clock);
    client.network_map(None).await.unwrap();
    clock.advance(Duration::from_secs(61));
    clock.set(start() + Duration::from_secs(1));
    assert!(client.network_map(None).await.unwrap().revalidated);
}

/// RFC 9111 sections 5.2.2.4 and 5.2.2.5, and section 4.2.2 without heuristics.
#[tokio::test]
async fn what_promises_nothing_is_asked_again() {
    for (fields, revalidated) in [
        ("cache-control: no-cache", true),
        ("x-nothing: at all", true),
        ("cache-control: max-age=60, no-store", false),
        ("cache-control: max-age=60\nvary: *", true),
    ] {
        let clock = Clock::stopped_at(start());
        let server = server(&clock, fields, Arc::default()).await;
        let client = client_at(&server, &clock);
        assert_eq!(client.network_map(None).await.unwrap().freshness, Freshness::Confirmed, "{fields}");
        let second = client.network_map(None).await.unwrap();
        assert_eq!((second.freshness, second.revalidated), (Freshness::Confirmed, revalidated), "{fields}");
        assert_eq!(asked_for_map(&server), 2, "{fields}");
    }
}

/// RFC 9110 section 13.1.3: the date where there is no tag.
#[tokio::test]
async fn a_date_validates_where_there_is_no_tag() {
    const MODIFIED: &str = "Fri, 15 Jan 2027 08:00:00 GMT";
    let clock = Clock::stopped_at(start());
    let server = server_at(&clock, |request| {
        let known = request.header("if-modified-since") == MODIFIED;
        let mut reply = if known { reply(304, NETWORK_MAP, "") } else { reply(200, NETWORK_MAP, map("1")) };
        reply.headers_mut().insert("last-modified", MODIFIED.parse().unwrap());
        reply
    })
    .await;
    let client = client_at(&server, &clock);
    assert!(!client.network_map(None).await.unwrap().revalidated);
    assert!(client.network_map(None).await.unwrap().revalidated);
}

/// RFC 9111 section 4.3.4: a 304 that names another answer is no word about ours.
#[tokio::test]
async fn a_304_of_another_answer_is_not_believed() {
    let clock = Clock::stopped_at(start());
    let server = server_at(&clock, |request: &Arrived| {
        let conditional = !request.header("if-none-match").is_empty();
        let mut reply = if conditional { reply(304, NETWORK_MAP, "") } else { reply(200, NETWORK_MAP, map("1")) };
        reply.headers_mut().insert("etag", if conditional { "\"other\"" } else { "\"1\"" }.parse().unwrap());
        reply
    })
    .await;
    let client = client_at(&server, &clock);
    client.network_map(None).await.unwrap();
    assert!(!client.network_map(None).await.unwrap().revalidated);
    assert_eq!(asked_for_map(&server), 3, "once, then with and without a condition");
}

/// How long the answer may be used is not how long the redirect holds.
#[tokio::test]
async fn what_came_by_a_redirect_is_asked_again() {
    let clock = Clock::stopped_at(start());
    let server = server_at(&clock, |request| match &*request.path {
        "/n" => {
            let mut reply = reply(307, "text/plain", "");
            reply.headers_mut().insert("location", "/elsewhere".parse().unwrap());
            reply
        }
        _ => {
            let mut reply = reply(200, NETWORK_MAP, map("1"));
            with(&mut reply, "cache-control: max-age=60\netag: \"1\"");
            reply
        }
    })
    .await;
    let client = client_at(&server, &clock);
    assert_eq!(client.network_map(None).await.unwrap().freshness, Freshness::Confirmed);
    client.network_map(None).await.unwrap();
    assert_eq!(asked_for_map(&server), 2);
}

/// Who wants it at once shares one request, the first as well as one that refreshes; where nothing may be shared nobody waits.
#[tokio::test]
async fn concurrent_callers_share_a_refresh() {
    let clock = Clock::stopped_at(start());
    let server = server(&clock, "cache-control: max-age=60", Arc::default()).await;
    let client = Arc::new(client_at(&server, &clock));
    client.catalog().await.unwrap();
    for refresh in 1..=3 {
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.network_map(None).await.unwrap() })
            })
            .collect();
        for task in tasks {
            assert!(matches!(task.await.unwrap().freshness, Freshness::Fresh { .. }));
        }
        assert_eq!(asked_for_map(&server), refresh);
        clock.advance(Duration::from_secs(60));
    }
}

/// A server that cannot be reached, or says that it cannot answer: an error, and a stale answer only for who asked for that, marked as one.
#[tokio::test]
async fn stale_answers_are_given_out_on_request_only() {
    for (fields, may_be_stale) in
        [("cache-control: max-age=60", true), ("cache-control: max-age=60, must-revalidate", false), ("cache-control: no-cache", false)]
    {
        let broken = Arc::new(Mutex::new(false));
        let now_broken = broken.clone();
        let clock = Clock::stopped_at(start());
        let server = server_at(&clock, move |_| {
            if *now_broken.lock().unwrap() {
                return reply(503, "text/plain", "busy");
            }
            let mut reply = reply(200, NETWORK_MAP, map("1"));
            with(&mut reply, fields);
            with(&mut reply, "etag: \"1\"");
            reply
        })
        .await;
        let strict = client_at(&server, &clock);
        let options = Options { clock: clock.clone(), stale_if_unreachable: Some(Duration::from_secs(100)), ..Options::new(server.url()) };
        let lenient = Client::new(options).unwrap();
        strict.network_map(None).await.unwrap();
        lenient.network_map(None).await.unwrap();
        *broken.lock().unwrap() = true;
        clock.advance(Duration::from_secs(160));
        let error = strict.network_map(None).await.unwrap_err();
        assert!(matches!(error, Error::Status { .. }), "{error}");
        match lenient.network_map(None).await {
            Ok(answer) => {
                assert!(may_be_stale, "{fields}");
                assert_eq!(answer.freshness, Freshness::Stale { since: start() + Duration::from_secs(60) });
            }
            Err(error) => assert!(!may_be_stale, "{error}"),
        }
        clock.advance(Duration::from_secs(1));
        lenient.network_map(None).await.unwrap_err();
    }
}

/// A folder that several clients use, each as another process would: with nothing in memory.
#[tokio::test]
async fn a_folder_outlives_its_client() {
    let clock = Clock::stopped_at(start());
    let tag = Arc::new(AtomicU32::new(0));
    let server = server(&clock, "cache-control: max-age=60", tag.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    let client =
        |url: String| Client::new(Options { clock: clock.clone(), cache_folder: Some(folder.path().into()), ..Options::new(url) }).unwrap();
    let first = client(server.url()).network_map(None).await.unwrap();
    clock.advance(Duration::from_secs(50));
    let second = client(server.url()).network_map(None).await.unwrap();
    assert_eq!((&second.value, &second.body, &second.etag), (&first.value, &first.body, &first.etag));
    assert!(matches!(second.freshness, Freshness::Fresh { until } if until <= start() + Duration::from_secs(60)));
    assert_eq!(asked_for_map(&server), 1);

    clock.advance(Duration::from_secs(10));
    assert!(client(server.url()).network_map(None).await.unwrap().revalidated);
    assert!(!client(server.url()).network_map(None).await.unwrap().revalidated, "the folder knows that it is fresh again");
    assert_eq!(asked_for_map(&server), 2);

    // One client has an older answer in memory than another left in the folder.
    let follower = client(server.url());
    follower.network_map(None).await.unwrap();
    clock.advance(Duration::from_secs(60));
    tag.store(1, Ordering::Relaxed);
    client(server.url()).network_map(None).await.unwrap();
    assert_eq!(asked_for_map(&server), 3);
    assert_eq!(follower.network_map(None).await.unwrap().etag.as_deref(), Some("\"1\""));
    assert_eq!(asked_for_map(&server), 3);

    // At another server the same path is another resource.
    let other = self::server(&clock, "cache-control: max-age=60", Arc::new(AtomicU32::new(7))).await;
    assert_eq!(client(other.url()).network_map(None).await.unwrap().etag.as_deref(), Some("\"7\""));
}

/// RFC 9111 section 5.2.2.5: also what was kept before goes.
#[tokio::test]
async fn what_must_not_be_stored_is_not() {
    let clock = Clock::stopped_at(start());
    let secret = Arc::new(AtomicU32::new(0));
    let now_secret = secret.clone();
    let server = server_at(&clock, move |_| {
        let mut reply = reply(200, NETWORK_MAP, map("1"));
        with(&mut reply, if now_secret.load(Ordering::Relaxed) == 0 { "cache-control: max-age=1" } else { "cache-control: no-store" });
        reply
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let options = Options { clock: clock.clone(), cache_folder: Some(folder.path().into()), ..Options::new(server.url()) };
    let client = Client::new(options).unwrap();
    let answers = || std::fs::read_dir(folder.path()).unwrap().filter(|it| it.as_ref().unwrap().file_name() != "lock").count();
    client.network_map(None).await.unwrap();
    assert_eq!(answers(), 1, "the directory has neither a lifetime nor a validator");
    secret.store(1, Ordering::Relaxed);
    clock.advance(Duration::from_secs(2));
    client.network_map(None).await.unwrap();
    assert_eq!(answers(), 0);
}

/// A folder that cannot be used is as good as none.
#[tokio::test]
async fn a_folder_that_cannot_be_used_is_no_error() {
    let clock = Clock::stopped_at(start());
    let server = server(&clock, "cache-control: max-age=60", Arc::default()).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let options = Options { clock: clock.clone(), cache_folder: Some(file.path().join("below")), ..Options::new(server.url()) };
    let client = Client::new(options).unwrap();
    client.network_map(None).await.unwrap();
    client.network_map(None).await.unwrap();
    assert_eq!(asked_for_map(&server), 1, "memory is there all the same");
}
