//! WebSockets over the wire: RFC 6455, RFC 8441, and the messages of the update service.
use crate::{
    http2::{connect, run},
    served::{COST_FILTER, Client, Served, options},
    sse::{costs, publish, serving},
};
use h2::{client::Builder, ext::Protocol};
use http::{Method, Request};
use serde_json::{Value, json};
use server::{Limits, Options};
use std::time::Duration;

pub const PATH: &str = "/updates/ws/cost-map";
const MERGE: &str = "application/merge-patch+json";

/// The handshake of RFC 6455 section 1.3, for one of our resources.
pub fn opening(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n{more}\r\n"
    )
}

/// A client's end.
struct Socket(Client);

impl Socket {
    fn open(served: &Served, path: &str, more: &str) -> Self {
        let mut client = served.connect();
        client.write(opening(path, more).as_bytes());
        let head = client.head();
        assert_eq!(head.status, 101);
        // RFC 6455 section 1.3.
        assert_eq!(head.field("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!((head.field("upgrade"), head.field("connection")), ("websocket", "Upgrade"));
        Self(client)
    }

    fn send(&mut self, first: u8, payload: &[u8]) {
        self.0.write(&masked(first, payload));
    }

    fn say(&mut self, message: &Value) {
        self.send(0x81, message.to_string().as_bytes());
    }

    /// First byte and payload of the next frame.
    fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.take(&mut head);
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.0.take(&mut length);
                u64::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.0.take(&mut length);
                u64::from_be_bytes(length)
            }
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.take(&mut payload);
        (head[0], payload)
    }

    #[track_caller]
    fn message(&mut self) -> Value {
        let (first, payload) = self.frame();
        assert_eq!(first, 0x81, "{:?}", String::from_utf8_lossy(&payload));
        serde_json::from_slice(&payload).unwrap()
    }

    #[track_caller]
    fn close_code(&mut self) -> u16 {
        let (first, payload) = self.frame();
        assert_eq!(first, 0x88, "{:?}", String::from_utf8_lossy(&payload));
        u16::from_be_bytes([payload[0], payload[1]])
    }
}

pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0xfe);
            frame.extend(u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn tag(served: &Served) -> String {
    served.get("/resources/cost-map").field("etag").to_owned()
}

#[test]
fn versions_are_told_from_the_one_a_client_has() {
    let served = serving(Limits::default());
    let first = tag(&served);
    // The request says it.
    let mut current = Socket::open(&served, PATH, &format!("If-None-Match: {first}\r\nSec-WebSocket-Protocol: other, alto-updates\r\n"));
    let told = current.message();
    assert_eq!(
        (&told["resource-id"], &told["media-type"], &told["tag"]),
        (&json!("cost-map"), &Value::Null, &json!(first.trim_matches('"')))
    );
    // The first message says it; a tag that is not ours means a full copy.
    let mut fresh = Socket::open(&served, PATH, "");
    fresh.say(&json!({"reference-tag": "unheard-of"}));
    let copy = fresh.message();
    assert_eq!((&copy["media-type"], &copy["data"]["cost-map"]["PID1"]["PID2"]), (&json!("application/alto-costmap+json"), &json!(5)));
    publish(&served, vec![costs(7)]);
    for socket in [&mut current, &mut fresh] {
        let change = socket.message();
        assert_eq!((&change["media-type"], &change["data"]["cost-map"]["PID1"]["PID2"]), (&json!(MERGE), &json!(7)));
        assert_eq!(
            (&change["tag"], change["seq"].as_u64()),
            (&json!(tag(&served).trim_matches('"')), copy["seq"].as_u64().map(|seq| seq + 1))
        );
    }
    // RFC 9110 section 13.1.2: it may have several versions; the newest of them counts.
    let newest = tag(&served);
    let both = format!("If-None-Match: \"unheard-of\", {first}\r\nIf-None-Match: W/{newest}\r\n");
    for (named, want) in [(both, &Value::Null), (format!("If-None-Match: \"unheard-of\", {first}\r\n"), &json!(MERGE))] {
        assert_eq!(&Socket::open(&served, PATH, &named).message()["media-type"], want, "{named}");
    }
    // One that comes late is told what changed since.
    let mut late = Socket::open(&served, PATH, &format!("If-None-Match: {first}\r\n"));
    assert_eq!(late.message()["media-type"], MERGE);
    // At any time again.
    late.say(&json!({"reference-tag": first.trim_matches('"')}));
    assert_eq!(late.message()["media-type"], MERGE);
    late.say(&json!({"reference-tag": tag(&served).trim_matches('"')}));
    assert_eq!(late.message()["media-type"], Value::Null);
    // The resource goes.
    publish(&served, vec![history::Change::Withdraw { id: crate::served::id("cost-map") }]);
    assert_eq!(late.close_code(), 1000);
}

#[test]
fn inputs_of_post_mode_resources() {
    let served = serving(Limits::default());
    let path = "/updates/ws/filtered-cost-map";
    let directory = served.get("/directory").json();
    let uris: Vec<&str> = directory["resources"].as_object().unwrap().values().filter_map(|entry| entry["updates"].as_str()).collect();
    let path =
        uris.iter().find(|uri| uri.contains("filtered") && uri.contains("cost")).map_or(path, |uri| &uri["ws://alto.example.com".len()..]);
    let mut socket = Socket::open(&served, path, "");
    let input: Value = serde_json::from_slice(COST_FILTER).unwrap();
    socket.say(&json!({"input": input}));
    let copy = socket.message();
    assert!(copy["data"]["cost-map"]["PID1"].is_object(), "{copy}");
    publish(&served, vec![costs(6)]);
    let change = socket.message();
    assert_eq!(change["media-type"], MERGE);
    // Which version a client has may be said in the request here too; the message goes before it.
    let have = |tag: &Value| format!("If-None-Match: \"{}\"\r\n", tag.as_str().unwrap());
    for (named, message, want) in [
        (&change["tag"], json!({"input": input}), &Value::Null),
        (&copy["tag"], json!({"input": input}), &json!(MERGE)),
        (&copy["tag"], json!({"input": input, "reference-tag": change["tag"]}), &Value::Null),
        (&json!("unheard-of"), json!({"input": input}), &copy["media-type"]),
    ] {
        let mut socket = Socket::open(&served, path, &have(named));
        socket.say(&message);
        assert_eq!(&socket.message()["media-type"], want, "{named} {message}");
    }
    for message in [json!({"reference-tag": "x"}), json!({"input": {"cost-type": 1}})] {
        let mut socket = Socket::open(&served, path, "");
        socket.say(&message);
        assert_eq!(socket.close_code(), 1008, "{message}");
    }
}

#[test]
fn handshakes_that_are_none() {
    let served = Served::new(Options { websocket_origins: vec!["https://noc.example".into()], ..options() });
    let valid = opening(PATH, "");
    for (what, request, want) in [
        ("RFC 6455 section 4.2.1: a GET", valid.replace("GET", "POST"), 405),
        ("no upgrade", valid.replace("Upgrade: websocket\r\n", ""), 426),
        ("another protocol", valid.replace("Upgrade: websocket", "Upgrade: h2c"), 426),
        ("no connection option", valid.replace("keep-alive, Upgrade", "keep-alive"), 426),
        ("another version", valid.replace("Version: 13", "Version: 8"), 426),
        ("no version", valid.replace("Sec-WebSocket-Version: 13\r\n", ""), 426),
        ("RFC 6455 section 4.2.2: a short key", valid.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ=="), 400),
        ("no base64", valid.replace("dGhlIHNhbXBsZSBub25jZQ==", "%%%%IHNhbXBsZSBub25jZQ=="), 400),
        ("no key", valid.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400),
        ("two keys", opening(PATH, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400),
        ("neither version nor key", valid.replace("Version: 13", "Version: 8").replace("dGhl", ""), 426),
        ("no such resource", valid.replace("cost-map", "nothing"), 404),
        ("another origin", opening(PATH, "Origin: https://evil.example\r\n"), 403),
        ("the allowed origin", opening(PATH, "Origin: https://noc.example\r\n"), 101),
        ("no origin", valid, 101),
    ] {
        let mut client = served.connect();
        client.write(request.as_bytes());
        let head = client.head();
        assert_eq!(head.status, want, "{what}");
        if want == 426 {
            assert_eq!((head.field("sec-websocket-version"), head.field("upgrade")), ("13", "websocket"), "{what}");
        }
    }
}

#[test]
fn what_clients_say_wrong() {
    let served = serving(Limits { control_requests_max: 3, ..Limits::default() });
    for (what, first, payload, want) in [
        ("binary", 0x82, &b"x"[..], 1008),
        ("no JSON", 0x81, b"x", 1008),
        ("nothing asked", 0x81, b"{}", 1008),
        ("input of a resource that takes none", 0x81, b"{\"input\": {}}", 1008),
        ("RFC 6455 section 8.1", 0x81, b"\xff", 1007),
        ("RFC 6455 section 5.2", 0xf1, b"", 1002),
    ] {
        let mut socket = Socket::open(&served, PATH, "");
        socket.send(first, payload);
        assert_eq!(socket.close_code(), want, "{what}");
        socket.send(0x88, &want.to_be_bytes());
        assert!(socket.0.closed(), "{what}");
    }
    // A flood.
    let mut socket = Socket::open(&served, PATH, "");
    for _ in 0..3 {
        socket.say(&json!({"reference-tag": "x"}));
        assert_eq!(socket.message()["media-type"], "application/alto-costmap+json");
    }
    socket.say(&json!({"reference-tag": "x"}));
    assert_eq!(socket.close_code(), 1008);
    // RFC 6455 section 5.3: a server must close on a frame that is not masked.
    let mut socket = Socket::open(&served, PATH, "");
    socket.0.write(&[0x81, 0x02, b'{', b'}']);
    assert_eq!(socket.close_code(), 1002);
}

/// RFC 6455 sections 5.5 and 7.1.
#[test]
fn control_frames() {
    let mut served = serving(Limits::default());
    let mut socket = Socket::open(&served, PATH, "");
    socket.send(0x01, b"{\"reference");
    socket.send(0x89, b"between");
    assert_eq!(socket.frame(), (0x8a, b"between".to_vec()));
    socket.send(0x80, b"-tag\": \"x\"}");
    assert_eq!(socket.message()["resource-id"], "cost-map");
    socket.send(0x8a, b"unasked");
    socket.send(0x88, &[&4000_u16.to_be_bytes()[..], b"enough"].concat());
    assert_eq!(socket.close_code(), 4000);
    assert!(socket.0.closed());
    // The server stops: "going away".
    let mut socket = Socket::open(&served, PATH, "");
    socket.say(&json!({"reference-tag": "x"}));
    socket.message();
    served.stop();
    assert_eq!(socket.close_code(), 1001);
    socket.send(0x88, &1001_u16.to_be_bytes());
    assert!(socket.0.closed());
    served.stopped();
}

#[test]
fn silence_ends_a_socket() {
    let served = serving(Limits { ping_interval: Duration::from_millis(200), ..Limits::default() });
    let mut socket = Socket::open(&served, PATH, &format!("If-None-Match: {}\r\n", tag(&served)));
    socket.message();
    for _ in 0..5 {
        assert_eq!(socket.frame(), (0x89, Vec::new()));
        socket.send(0x8a, b"");
    }
    assert_eq!(socket.frame(), (0x89, Vec::new()));
    assert!(socket.0.closed());
}

/// RFC 8441.
#[test]
fn over_http2() {
    let served = serving(Limits::default());
    run(async {
        let (mut send, _connection) = connect(served.public, &Builder::new()).await;
        let request = |path: &str, protocol: &'static str| {
            let request = Request::builder().method(Method::CONNECT).uri(format!("http://a{path}")).header("sec-websocket-version", "13");
            request.extension(Protocol::from_static(protocol)).body(()).unwrap()
        };
        // Until the server's SETTINGS are there.
        while !send.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        send = send.ready().await.unwrap();
        let mut another = request(PATH, "websocket");
        another.headers_mut().insert("sec-websocket-version", "8".parse().unwrap());
        for (what, request, want) in [
            ("no such resource", request("/updates/ws/nothing", "websocket"), 404),
            ("no WebSocket", request("/directory", "websocket"), 405),
            ("another protocol", request(PATH, "connect-udp"), 405),
            ("another version", another, 400),
            // RFC 9113 section 8.2.2: there is no upgrade that could be required.
            ("no handshake", Request::get(format!("http://a{PATH}")).body(()).unwrap(), 400),
        ] {
            let (answer, mut body) = send.send_request(request, false).unwrap();
            body.send_data("".into(), true).unwrap();
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), want, "{what}");
            assert_eq!(answer.headers().get("sec-websocket-version").is_some(), want == 400, "{what}");
            send = send.ready().await.unwrap();
        }
        let mut asked = request(PATH, "websocket");
        asked.headers_mut().insert("sec-websocket-protocol", "alto-updates".parse().unwrap());
        let (answer, mut say) = send.send_request(asked, false).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["sec-websocket-protocol"]), (200, &"alto-updates".parse().unwrap()));
        assert!(!answer.headers().contains_key("sec-websocket-accept"));
        let mut hear = answer.into_body();
        say.send_data(masked(0x81, b"{\"reference-tag\": \"x\"}").into(), false).unwrap();
        let first = hear.data().await.unwrap().unwrap();
        hear.flow_control().release_capacity(first.len()).unwrap();
        assert_eq!(first[0], 0x81);
        publish(&served, vec![costs(7)]);
        let mut text = Vec::new();
        while !text.ends_with(b"}}}}") {
            let data = hear.data().await.unwrap().unwrap();
            hear.flow_control().release_capacity(data.len()).unwrap();
            text.extend_from_slice(&data);
        }
        say.send_data(masked(0x88, &1000_u16.to_be_bytes()).into(), false).unwrap();
        assert_eq!(hear.data().await.unwrap().unwrap(), [0x88, 2, 0x03, 0xe8][..]);
        // Then END_STREAM, which is a frame without data.
        while let Some(rest) = hear.data().await {
            assert!(rest.unwrap().is_empty());
        }
        assert!(hear.is_end_stream());
    });
}
