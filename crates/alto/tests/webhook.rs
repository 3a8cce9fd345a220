//! Subscription and notification: the draft's own example, in valid JSON, and what is refused.
#![allow(clippy::unwrap_used)]
use alto::{
    ErrorBody as E,
    updates::webhook::{
        ContactAddress, Content, EventType, NotUnderstood, Notification, SubscribeInput, SubscriptionData, Substate, Version,
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Section 8.7: `POST /subscription`.
const SUBSCRIBE: &str = r#"{"event-types":["NetworkMapFilter"],"expires":3600,
    "contactaddr":{"ipv4":[{"addr":"192.0.2.0","port":5828}]},
    "networkfiltermap":{"pids":["PID1","PID2"]}}"#;

fn value(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

/// The subscription of the draft with one member replaced, added or (null) taken away.
fn with(member: &str, put: Value) -> String {
    let mut input = value(SUBSCRIBE.as_bytes());
    match put {
        Value::Null => drop(input.as_object_mut().unwrap().remove(member)),
        put => input[member] = put,
    }
    input.to_string()
}

#[test]
fn the_example_of_the_draft() {
    let input = SubscribeInput::from_json(SUBSCRIBE.as_bytes()).unwrap();
    assert_eq!(input.event_types, [EventType::NetworkMapFilter]);
    assert_eq!((input.expires, &input.subscrid, input.incremental), (Some(3600), &None, false));
    assert_eq!(input.contacts, [ContactAddress { address: "192.0.2.0".parse().unwrap(), port: 5828, tls: false }]);
    assert_eq!(input.contacts[0].to_string(), "http://192.0.2.0:5828");
    assert_eq!(&*input.filters[&EventType::NetworkMapFilter], r#"{"pids":["PID1","PID2"]}"#);
    assert_eq!(value(&input.to_json()), value(SUBSCRIBE.as_bytes()));

    let answer = r#"{"subscrid":"1223subsrandstr","expires":3600,"event-types":["NetworkMapFilter"]}"#;
    let data = SubscriptionData::from_json(answer.as_bytes()).unwrap();
    assert_eq!((&*data.subscrid, data.expires), ("1223subsrandstr", Some(3600)));
    assert_eq!(std::str::from_utf8(&data.to_json()).unwrap(), answer);

    // The draft writes this `expires` as a string.
    let map =
        r#"{"meta":{"vtag":{"resource-id":"m","tag":"1266506139"}},"network-map":{"PID1":{"ipv4":["192.0.2.0/24","198.51.100.0/25"]}}}"#;
    let told = format!(
        r#"{{"event-types":["NetworkMapFilter"],"subscrid":"1223subsrandstr","substate":"active","expires":"3600","networkmap":{map}}}"#
    );
    let notification = Notification::from_json(told.as_bytes()).unwrap();
    assert_eq!(notification.substate, Substate::Active { expires: Some(3600) });
    assert_eq!(notification.contents, [Content::Full("networkmap", map.as_bytes())]);
    assert_eq!(std::str::from_utf8(&notification.to_json()).unwrap(), told.replace("\"3600\"", "3600"));
}

#[test]
fn a_refresh_needs_no_more_than_its_subscription() {
    let input = SubscribeInput::from_json(br#"{"subscrid":"abc","event-types":["CostMapFilter"]}"#).unwrap();
    assert_eq!((input.subscrid.as_deref(), input.expires), (Some("abc"), None));
    assert!(input.contacts.is_empty() && input.filters.is_empty());
    let all = r#"{"subscrid":"abc","event-types":["NetworkMap"],"expires":0}"#;
    assert_eq!(SubscribeInput::from_json(all.as_bytes()).unwrap().expires, Some(0));
}

#[test]
fn every_event_type_is_written_as_it_is_read() {
    for event_type in EventType::ALL {
        let mut input = json!({"event-types": [event_type.as_str(), event_type.as_str()], "expires": 1, "incremental": true, "resource-id": "m",
            "contactaddr": {"ipv4": [{"addr": "192.0.2.1", "port": 1}], "ipv6": [{"addr": "2001:db8::1", "port": 65535, "scheme": "https"}]}});
        if let Some(member) = event_type.filter_member() {
            input[member] = json!({"x": [event_type.as_str()]});
        }
        let read = SubscribeInput::from_json(input.to_string().as_bytes()).unwrap();
        assert_eq!(read.event_types, [event_type], "each once");
        assert_eq!(read.contacts[1].to_string(), "https://[2001:db8::1]:65535");
        assert_eq!(SubscribeInput::from_json(&read.to_json()).unwrap(), read);
    }
}

#[test]
fn refusals() {
    let contact = |address: &str| with("contactaddr", json!({"ipv4": [{"addr": address, "port": 1}]}));
    let contact6 = |address: &str| with("contactaddr", json!({"ipv6": [{"addr": address, "port": 1}]}));
    let port = |port: Value| with("contactaddr", json!({"ipv4": [{"addr": "192.0.2.0", "port": port}]}));
    let many: Vec<Value> = (1..=9).map(|port| json!({"addr": "192.0.2.0", "port": port})).collect();
    for (input, want) in [
        (with("event-types", Value::Null), E::missing("event-types")),
        (with("event-types", json!([])), E::invalid("event-types", "[]")),
        (with("event-types", json!("NetworkMap")), E::wrong_type("event-types")),
        (with("event-types", json!([1])), E::invalid("event-types", "1")),
        (with("expires", Value::Null), E::missing("expires")),
        (with("expires", json!(0)), E::invalid("expires", "0")),
        (with("expires", json!(-1)), E::invalid("expires", "-1")),
        (with("expires", json!(1.5)), E::invalid("expires", "1.5")),
        (with("expires", json!("soon")), E::invalid("expires", "soon")),
        (with("expires", json!(true)), E::wrong_type("expires")),
        (with("contactaddr", Value::Null), E::missing("contactaddr")),
        (with("contactaddr", json!({})), E::missing("contactaddr/ipv4")),
        (with("contactaddr", json!({"ipv4": []})), E::missing("contactaddr/ipv4")),
        (with("contactaddr", json!({"dns": [{"addr": "a.example", "port": 1}]})), E::missing("contactaddr/ipv4")),
        (with("contactaddr", json!({"ipv4": [{"port": 1}]})), E::missing("contactaddr/ipv4/addr")),
        (with("contactaddr", json!({"ipv4": [{"addr": "192.0.2.0"}]})), E::missing("contactaddr/ipv4/port")),
        (
            with("contactaddr", json!({"ipv4": [{"addr": "192.0.2.0", "port": 1, "scheme": "ftp"}]})),
            E::invalid("contactaddr/ipv4/scheme", "ftp"),
        ),
        // Other ways to write an address: names, octal, hexadecimal, one number, fewer numbers, IPv4 in IPv6.
        (contact("localhost"), E::invalid("contactaddr/ipv4/addr", "localhost")),
        (contact("127.0.0.1.nip.io"), E::invalid("contactaddr/ipv4/addr", "127.0.0.1.nip.io")),
        (contact("0177.0.0.1"), E::invalid("contactaddr/ipv4/addr", "0177.0.0.1")),
        (contact("010.0.0.1"), E::invalid("contactaddr/ipv4/addr", "010.0.0.1")),
        (contact("0x7f.0.0.1"), E::invalid("contactaddr/ipv4/addr", "0x7f.0.0.1")),
        (contact("2130706433"), E::invalid("contactaddr/ipv4/addr", "2130706433")),
        (contact("127.1"), E::invalid("contactaddr/ipv4/addr", "127.1")),
        (contact(" 192.0.2.0"), E::invalid("contactaddr/ipv4/addr", " 192.0.2.0")),
        (contact("::1"), E::invalid("contactaddr/ipv4/addr", "::1")),
        (contact6("::ffff:127.0.0.1"), E::invalid("contactaddr/ipv6/addr", "::ffff:127.0.0.1")),
        (contact6("::ffff:a9fe:a9fe"), E::invalid("contactaddr/ipv6/addr", "::ffff:a9fe:a9fe")),
        (contact6("fe80::1%eth0"), E::invalid("contactaddr/ipv6/addr", "fe80::1%eth0")),
        (contact6("[2001:db8::1]"), E::invalid("contactaddr/ipv6/addr", "[2001:db8::1]")),
        (contact6("192.0.2.0"), E::invalid("contactaddr/ipv6/addr", "192.0.2.0")),
        (port(json!(0)), E::invalid("contactaddr/ipv4/port", "0")),
        (port(json!(65536)), E::invalid("contactaddr/ipv4/port", "65536")),
        (port(json!(1.5)), E::invalid("contactaddr/ipv4/port", "1.5")),
        (port(json!("80")), E::wrong_type("contactaddr/ipv4/port")),
        (with("networkfiltermap", Value::Null), E::missing("networkfiltermap")),
        (with("networkfiltermap", json!([])), E::wrong_type("networkfiltermap")),
        (with("event-types", json!(["CostMapFilter"])), E::missing("costfiltermap")),
        (with("resource-id", json!("")), E::invalid("resource-id", "")),
        (with("incremental", json!("yes")), E::wrong_type("incremental")),
        (json!({"subscrid": "", "event-types": ["NetworkMap"]}).to_string(), E::invalid("subscrid", "")),
        (json!({"subscrid": "x".repeat(129), "event-types": ["NetworkMap"]}).to_string(), E::invalid("subscrid", "x".repeat(129))),
    ] {
        assert_eq!(SubscribeInput::from_json(input.as_bytes()), Err(NotUnderstood::Input(want)), "{input}");
    }
    let too_many = SubscribeInput::from_json(with("contactaddr", json!({"ipv4": many})).as_bytes());
    assert!(matches!(&too_many, Err(NotUnderstood::Input(error)) if format!("{error:?}").contains("contact addresses")), "{too_many:?}");
    let event_types: Vec<&str> = ["NetworkMap"; 13].into();
    let too_many = SubscribeInput::from_json(with("event-types", json!(event_types)).as_bytes());
    assert!(matches!(&too_many, Err(NotUnderstood::Input(error)) if format!("{error:?}").contains("event types")), "{too_many:?}");
    // The syntax of the draft's own example.
    let draft = r#"{ "event-types": ["NetworkMapFilter"], "expires": 3600, { "ipv4": [ "addr": "192.0.2.0", "port": 5828 ] }, { "pids": [ "PID1", "PID2" ] } }"#;
    assert!(
        matches!(SubscribeInput::from_json(draft.as_bytes()), Err(NotUnderstood::Input(error)) if error.code == alto::error::Code::Syntax)
    );

    // Section 8.3: an event that is not understood, whatever else is there or missing.
    for input in [
        with("event-types", json!(["NetworkMap", "Weather"])),
        json!({"event-types": ["Weather"], "contactaddr": {"ipv4": [{"addr": "192.0.2.0", "port": 1}]}}).to_string(),
    ] {
        assert_eq!(
            SubscribeInput::from_json(input.as_bytes()),
            Err(NotUnderstood::EventType(E::invalid("event-types", "Weather"))),
            "{input}"
        );
    }
    assert_eq!(SubscriptionData::from_json(b"{}"), Err(NotUnderstood::Input(E::missing("subscrid"))));
}

#[test]
fn long_lives_are_cut_and_digits_in_strings_taken() {
    let hundred_years = 100 * 366 * 24 * 60 * 60;
    for (expires, want) in [
        (json!("60"), 60),
        (json!(60.0), 60),
        (json!(u64::MAX), hundred_years),
        (json!(1e300), hundred_years),
        (json!("99999999999999999999"), hundred_years),
    ] {
        assert_eq!(SubscribeInput::from_json(with("expires", expires.clone()).as_bytes()).unwrap().expires, Some(want), "{expires}");
    }
}

#[test]
fn notifications() {
    let patch = Content::Patch { media_type: "application/merge-patch+json".into(), data: br#"{"network-map":{"a":null}}"# };
    let mut notification = Notification {
        event_types: vec![EventType::NetworkMap],
        subscrid: "s\"1".into(),
        substate: Substate::Active { expires: Some(7) },
        version: Version { seq: Some(9), tag: Some("n9".parse().unwrap()), since: Some(6) },
        contents: vec![patch.clone()],
    };
    let whole = notification.to_json();
    assert_eq!(
        value(&whole),
        json!({"event-types": ["NetworkMap"], "subscrid": "s\"1", "substate": "active", "expires": 7,
            "seq": 9, "tag": "n9", "since": 6, "patch": {"media-type": "application/merge-patch+json", "data": {"network-map": {"a": null}}}})
    );
    assert_eq!(Notification::from_json(&whole).unwrap(), notification);
    for content in [patch, Content::Full("costmap", br#"{"meta":{}}"#)] {
        notification.contents = vec![content.clone()];
        let (before, after) = notification.around(&content);
        let data: &[u8] = match &content {
            Content::Full(_, data) | Content::Patch { data, .. } => data,
        };
        assert_eq!([&before, data, after.as_bytes()].concat(), notification.to_json());
    }
    let last = r#"{"event-types":["NetworkMap"],"subscrid":"s","substate":"terminated","reason":"expired"}"#;
    let read = Notification::from_json(last.as_bytes()).unwrap();
    assert_eq!(read.substate, Substate::Terminated { reason: Some("expired".into()) });
    assert_eq!(std::str::from_utf8(&read.to_json()).unwrap(), last);

    for (text, want) in [
        (r#"{"subscrid":"s","substate":"active"}"#, E::missing("event-types")),
        (r#"{"event-types":["NetworkMap"],"substate":"active"}"#, E::missing("subscrid")),
        (r#"{"event-types":["NetworkMap"],"subscrid":"s"}"#, E::missing("substate")),
        (r#"{"event-types":["NetworkMap"],"subscrid":"s","substate":"asleep"}"#, E::invalid("substate", "asleep")),
        (r#"{"event-types":["NetworkMap"],"subscrid":"s","substate":"active","seq":-1}"#, E::invalid("seq", "-1")),
        (r#"{"event-types":["NetworkMap"],"subscrid":"s","substate":"active","since":"6"}"#, E::wrong_type("since")),
        (r#"{"event-types":["NetworkMap"],"subscrid":"s","substate":"active","tag":""}"#, E::invalid("tag", "")),
        (r#"{"event-types":["NetworkMap"],"subscrid":"s","substate":"active","patch":{"data":{}}}"#, E::missing("patch/media-type")),
        (r#"{"event-types":["NetworkMap"],"subscrid":"s","substate":"active","patch":{"media-type":"x"}}"#, E::missing("patch/data")),
    ] {
        assert_eq!(Notification::from_json(text.as_bytes()), Err(want), "{text}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, text in "[{}\\[\\]\",:a-z0-9 -]{0,60}") {
        for input in [&bytes[..], text.as_bytes()] {
            let _ = (SubscribeInput::from_json(input), SubscriptionData::from_json(input), Notification::from_json(input));
        }
    }
}
