//! Who may be notified, and over what.
use super::*;

/// The guard against being used as a relay.
#[test]
fn no_open_relay() {
    let (served, subscriber) = (serving(Limits::default()), Subscriber::new());
    let port = subscriber.address.port();
    let to = |contact: Value| {
        let mut wish = subscriber.wish(&["NetworkMap"]);
        wish["contactaddr"] = contact;
        wish
    };
    let at = |address: &str| to(json!({"ipv4": [{"addr": address, "port": port}]}));
    let at6 = |address: &str| to(json!({"ipv6": [{"addr": address, "port": port}]}));
    for (wish, value) in [
        (at("192.0.2.1"), "192.0.2.1"),
        (at("10.0.0.1"), "10.0.0.1"),
        (at("127.0.0.2"), "127.0.0.2"),
        (at("169.254.169.254"), "169.254.169.254"),
        (at("0.0.0.0"), "0.0.0.0"),
        (at("224.0.0.1"), "224.0.0.1"),
        (at("255.255.255.255"), "255.255.255.255"),
        (at("100.100.100.200"), "100.100.100.200"),
        // Names, and other ways to write an address.
        (at("localhost"), "localhost"),
        (at("127.0.0.1.nip.io"), "127.0.0.1.nip.io"),
        (at("0177.0.0.1"), "0177.0.0.1"),
        (at("2130706433"), "2130706433"),
        (at("0x7f000001"), "0x7f000001"),
        (at("127.1"), "127.1"),
        (at6("::1"), "::1"),
        (at6("::ffff:127.0.0.1"), "::ffff:127.0.0.1"),
        (at6("::ffff:a9fe:a9fe"), "::ffff:a9fe:a9fe"),
        (at6("64:ff9b::a9fe:a9fe"), "64:ff9b::a9fe:a9fe"),
        (at6("2002:a9fe:a9fe::1"), "2002:a9fe:a9fe::1"),
        (at6("fe80::1"), "fe80::1"),
        (at6("fd00:ec2::254"), "fd00:ec2::254"),
        (at6("2001:db8::1"), "2001:db8::1"),
    ] {
        let error = served.refused(&wish, 400, "E_INVALID_FIELD_VALUE");
        assert!(error["meta"]["field"].as_str().unwrap().starts_with("contactaddr/ipv"), "{error}");
        // As it was written or as it is commonly.
        let said = error["meta"]["value"].as_str().unwrap();
        let same_address = value.parse::<std::net::IpAddr>().is_ok_and(|address| said.parse() == Ok(address));
        assert!(said == value || same_address, "{error}");
    }
    // One good address does not carry a bad one.
    let both = to(json!({"ipv4": [{"addr": "127.0.0.1", "port": port}, {"addr": "192.0.2.1", "port": port}]}));
    served.refused(&both, 400, "E_INVALID_FIELD_VALUE");
    let https = to(json!({"ipv4": [{"addr": "127.0.0.1", "port": port, "scheme": "https"}]}));
    assert_eq!(served.refused(&https, 400, "E_INVALID_FIELD_VALUE")["meta"]["field"], "contactaddr/ipv4/scheme");
    // A proxy in front, or a page that calls 127.0.0.1 by another name: who asks is not on this machine.
    let wish = subscriber.wish(&["NetworkMap"]).to_string();
    for (host, field) in [
        ("a.example", ""),
        ("127.0.0.1", "X-Forwarded-For: 192.0.2.1\r\n"),
        ("127.0.0.1", "Forwarded: for=192.0.2.1\r\n"),
        ("127.0.0.1", "Via: 1.1 p\r\n"),
    ] {
        let mut client = served.connect();
        let length = wish.len();
        client.write(
            format!(
                "POST /subscription HTTP/1.1\r\nHost: {host}\r\n{field}Content-Type: {SUBSCRIBE}\r\nContent-Length: {length}\r\n\r\n{wish}"
            )
            .as_bytes(),
        );
        client.answer().error(400, "E_INVALID_FIELD_VALUE");
    }
    // No page of another site is allowed to ask.
    for path in ["/subscription", "/unsubscribe"] {
        let answer = served.ask(&format!(
            "OPTIONS {path} HTTP/1.1\r\nHost: a\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n"
        ));
        assert_eq!(
            (answer.status, answer.find("access-control-allow-headers"), answer.find("access-control-allow-methods")),
            (204, None, None)
        );
        assert_eq!(served.get(path).error(405, "E_SYNTAX")["meta"]["code"], "E_SYNTAX");
    }
    assert!(subscriber.requests.try_recv().is_err(), "nobody was sent anything");
    served.stopped();

    // What is listed may be notified whoever asks.
    let listed =
        Options { contact_prefixes: vec!["127.0.0.0/8".parse().unwrap()], public_url: Some("http://a.example".into()), ..options() };
    let served = Served::new(listed);
    served.subscribe(&subscriber.wish(&["NetworkMap"]));
    subscriber.take();
    served.stopped();
}

/// Over TLS to a contact whose certificate leads to those that were configured, and to no other.
#[test]
fn notifications_over_tls() {
    let ((subscriber, certificate), (stranger, _)) = (Subscriber::secure(), Subscriber::secure());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("subscribers.pem");
    std::fs::write(&file, certificate).unwrap();
    let served = Served::new(Options { contact_ca: Some(file), limits: impatient(), ..options() });
    for subscriber in [&stranger, &subscriber] {
        let mut wish = subscriber.wish(&["NetworkMap"]);
        wish["contactaddr"]["ipv4"][0]["scheme"] = json!("https");
        served.subscribe(&wish);
    }
    for seq in 1..=2 {
        assert_eq!(subscriber.take().body["seq"], seq);
        served.move_prefix(seq);
    }
    assert!(stranger.requests.try_recv().is_err(), "nothing is told to who cannot say who it is");
    served.stopped();
    for (text, why) in
        [("", "there is no certificate in it"), ("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n", "subscribers.pem")]
    {
        let file = folder.path().join("subscribers.pem");
        std::fs::write(&file, text).unwrap();
        let refused =
            server::Server::bind(Options { contact_ca: Some(file), ..options() }, crate::served::publisher(), Arc::new(server::NoSources));
        let refused = refused.err().expect("it cannot be used").to_string();
        assert!(refused.contains(why), "{refused}");
    }
}

/// A reload takes another list, for new subscriptions.
#[test]
fn another_list_of_contacts() {
    let begin = Options { public_url: Some("http://a.example".into()), limits: impatient(), ..options() };
    let (served, subscriber) = (Served::new(begin.clone()), Subscriber::new());
    let wish = subscriber.wish(&["NetworkMap"]);
    served.refused(&wish, 400, "E_INVALID_FIELD_VALUE");
    let listed = Options { contact_prefixes: vec!["127.0.0.1/32".parse().unwrap()], ..begin.clone() };
    served.handle.reconfigure(&listed).unwrap();
    served.subscribe(&wish);
    subscriber.take();
    served.handle.reconfigure(&begin).unwrap();
    served.refused(&wish, 400, "E_INVALID_FIELD_VALUE");
    served.move_prefix(1);
    assert_eq!(subscriber.take().body["seq"], 2, "what was allowed goes on");
    served.stopped();
}

#[test]
fn bounds() {
    let (served, subscriber) =
        (serving(Limits { contact_subscriptions_max: 2, subscriptions_max: 3, ..Limits::default() }), Subscriber::new());
    let wish = subscriber.wish(&["NetworkMap"]);
    let ids: Vec<Value> = (0..2).map(|_| served.subscribe(&wish)["subscrid"].clone()).collect();
    let refused = served.refused(&wish, 429, "E_SYNTAX");
    assert!(refused["meta"]["syntax-error"].as_str().unwrap().contains("subscriptions.contact-subscriptions-max"), "{refused}");
    (0..2).for_each(|_| drop(subscriber.take()));
    served.send("/unsubscribe", DATA, json!({"subscrid": ids[0]}).to_string().as_bytes());
    subscriber.take();
    // It is gone when its last notification was taken.
    while served.send("/subscription", SUBSCRIBE, wish.to_string().as_bytes()).status == 429 {
        thread::yield_now();
    }
    served.stopped();
}
