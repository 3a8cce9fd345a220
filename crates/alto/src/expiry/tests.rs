//! Which texts are dates, and where they stand.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::ErrorBody as E;

fn date(text: &str) -> Expires {
    text.parse().unwrap()
}

#[test]
fn dates() {
    for (text, seconds) in [
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        // RFC 9110 section 5.6.7.
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
        // The draft's.
        ("Wed, 14 Sep 2011 16:00:00 GMT", 1_316_016_000),
        ("Wed, 14 Dec 2011 16:00:00 GMT", 1_323_878_400),
        ("Thu, 29 Feb 2024 23:59:59 GMT", 1_709_251_199),
        ("Fri, 31 Dec 9999 23:59:59 GMT", Expires::MAX.unix()),
    ] {
        assert_eq!(date(text), Expires::from_unix(seconds), "{text}");
        assert_eq!(date(text).to_string(), text);
    }
    for text in [
        "",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        // Not a Sunday; no such days; names have a case and numbers two digits.
        "Sun, 07 Nov 1994 08:49:37 GMT",
        "Thu, 30 Feb 2024 00:00:00 GMT",
        "Wed, 29 Feb 2023 00:00:00 GMT",
        "sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:60 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Wed, 31 Dec 1969 23:59:59 GMT",
        "1994-11-06T08:49:37Z",
        "784111777",
    ] {
        assert_eq!(text.parse::<Expires>(), Err(InvalidExpires(text.into())), "{text}");
    }
}

/// A part of a second is not promised, and no instant is out of range.
#[test]
fn instants() {
    let second = Duration::from_secs(1);
    for (instant, want) in [
        (UNIX_EPOCH + Duration::from_millis(1_999), 1),
        (UNIX_EPOCH - second, 0),
        (UNIX_EPOCH + Duration::from_secs(1 << 60), Expires::MAX.unix()),
    ] {
        assert_eq!(Expires::at(instant).unix(), want);
    }
    let (expires, now) = (Expires::from_unix(10), UNIX_EPOCH + 10 * second);
    assert_eq!((expires.after(now - second), expires.after(now), expires.after(now + second)), (second, Duration::ZERO, Duration::ZERO));
    assert_eq!((expires.is_past(now - second), expires.is_past(now)), (false, true));
}

const META: &str = r#""meta":{"vtag":{"resource-id":"net","tag":"t"}}"#;
const EARLY: &str = "Wed, 14 Sep 2011 16:00:00 GMT";
const LATE: &str = "Wed, 14 Dec 2011 16:00:00 GMT";

fn read(pids: &str) -> Result<ExpiringNetworkMap, E> {
    ExpiringNetworkMap::from_json(format!("{{{META},\"network-map\":{{{pids}}}}}").as_bytes())
}

fn written(map: &ExpiringNetworkMap) -> String {
    let text = String::from_utf8(map.to_json()).unwrap();
    assert_eq!(ExpiringNetworkMap::from_json(text.as_bytes()).unwrap().map, map.map);
    let start = format!("{{{META},\"network-map\":{{");
    text.strip_prefix(&start).unwrap().strip_suffix("}}").unwrap().into()
}

#[test]
fn the_pid_wins() {
    let map = read(&format!(r#""expires":"{LATE}","a":{{"expires":"{EARLY}","ipv4":["192.0.2.0/24"]}},"b":{{}}"#)).unwrap();
    let of = |pid: &str| map.expires_of(&pid.parse().unwrap());
    assert_eq!((of("a"), of("b")), (Some(date(EARLY)), Some(date(LATE))));
    assert_eq!(map.earliest(), Some(date(EARLY)));
    assert_eq!(read(&format!(r#""a":{{"expires":"{EARLY}"}},"b":{{}}"#)).unwrap().earliest(), None, "nothing is known of b");
    assert_eq!(read(&format!(r#""expires":"{LATE}""#)).unwrap().earliest(), Some(date(LATE)));
}

/// The name is not reserved: RFC 7285 section 10.1 lets a PID have it, section 10.4.2 an address type.
#[test]
fn a_pid_and_an_address_type_may_have_the_name() {
    // Read: the type of the value tells.
    let map = read(&format!(r#""expires":{{"ipv4":["192.0.2.0/24"],"expires":"{EARLY}"}},"a":{{"expires":["x"]}}"#)).unwrap();
    assert_eq!(map.expires, None);
    assert_eq!(map.pids, BTreeMap::from([("expires".parse().unwrap(), date(EARLY))]));
    assert_eq!(&*map.map.pids["a"].other["expires"], [Box::from("x")]);
    // Written: the expiry of the map goes to each PID.
    let map = ExpiringNetworkMap { expires: Some(date(LATE)), ..map };
    assert_eq!(written(&map), format!(r#""a":{{"expires":["x"]}},"expires":{{"expires":"{EARLY}","ipv4":["192.0.2.0/24"]}}"#));
    // Written: a PID that cannot say its own has the map's, and who had that one says it for itself.
    let map = read(r#""a":{"expires":["x"]},"b":{},"c":{"expires":["y"]}"#).unwrap();
    let own = |at: &str, text: &str| BTreeMap::from([(at.parse().unwrap(), date(text))]);
    let early = ExpiringNetworkMap { expires: Some(date(LATE)), pids: own("a", EARLY), ..map.clone() };
    let want = format!(r#""expires":"{EARLY}","a":{{"expires":["x"]}},"b":{{"expires":"{LATE}"}},"c":{{"expires":["y"]}}"#);
    assert_eq!(written(&early), want);
    let late = ExpiringNetworkMap { expires: Some(date(EARLY)), pids: own("a", LATE), ..map };
    assert_eq!(written(&late), format!(r#""expires":"{EARLY}","a":{{"expires":["x"]}},"b":{{}},"c":{{"expires":["y"]}}"#));
}

#[test]
fn refusals() {
    let syntax = |at: u32| E {
        field: Some("network-map/expires".into()),
        ..E::syntax(format!("duplicate member \"expires\" at line 1 column {at}"))
    };
    for (pids, want) in [
        (r#""expires":"soon""#.to_owned(), E::invalid("network-map/expires", "soon")),
        (r#""expires":1316016000"#.to_owned(), E::wrong_type("network-map/expires")),
        (r#""expires":null"#.to_owned(), E::wrong_type("network-map/expires")),
        (r#""a":{"expires":"Wed, 14 Sep 2011 16:00:00 CET"}"#.to_owned(), {
            E::invalid("network-map/a/expires", "Wed, 14 Sep 2011 16:00:00 CET")
        }),
        (format!(r#""expires":"{EARLY}","expires":"{EARLY}""#), syntax(107)),
        (format!(r#""expires":"{EARLY}","expires":{{}}"#), syntax(107)),
        (format!(r#""expires":{{}},"expires":"{EARLY}""#), syntax(78)),
        (r#""expires":{},"expires":{}"#.to_owned(), syntax(78)),
    ] {
        assert_eq!(read(&pids).unwrap_err(), want, "{pids}");
    }
    assert_eq!(ExpiringNetworkMap::from_json(br#"{"meta":{},"network-map":{}}"#), Err(E::missing("meta/vtag")));
    // A resource without the capability has no place for it; what the type is of an address, section 11.2.1.7 lets a reader ignore.
    let plain = |pids: &str| NetworkMap::from_json(format!("{{{META},\"network-map\":{{{pids}}}}}").as_bytes());
    assert_eq!(plain(&format!(r#""expires":"{EARLY}""#)), Err(E::wrong_type("network-map/expires")));
    assert_eq!(plain(&format!(r#""a":{{"expires":"{EARLY}"}}"#)).unwrap().pids["a"], network_map::AddressGroup::default());
}
