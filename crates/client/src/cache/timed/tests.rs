//! What to ask for again of a map whose PIDs expire one by one (draft-alto-caching-subscription-00 section 7.2), by table and at random.
use super::*;
use alto::id::VersionTag;
use proptest::prelude::*;

fn pid(text: &str) -> Pid {
    text.parse().unwrap()
}

fn pids(texts: &str) -> Vec<Pid> {
    texts.split_whitespace().map(pid).collect()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// `whole`: expiry of the map; `pids`: `NAME` or `NAME=SECONDS`.
fn timed(tag: &str, whole: Option<u64>, pids: &str) -> TimedMap {
    let vtag = VersionTag { resource_id: "net".parse().unwrap(), tag: tag.parse().unwrap() };
    let mut map = NetworkMap { vtag: Some(vtag), pids: BTreeMap::new() };
    let mut expiries = BTreeMap::new();
    for (at, text) in pids.split_whitespace().enumerate() {
        let (name, expires) = text.split_once('=').map_or((text, None), |(name, expires)| (name, Some(expires)));
        let group = AddressGroup { ipv4: vec![format!("10.{at}.0.0/16").parse().unwrap()], ..Default::default() };
        map.pids.insert(pid(name), group);
        expiries.extend(expires.map(|seconds| (pid(name), Expires::from_unix(seconds.parse().unwrap()))));
    }
    TimedMap::of(ExpiringNetworkMap { map, expires: whole.map(Expires::from_unix), pids: expiries }, Duration::ZERO)
}

fn fresh(until: u64) -> Step {
    Step::Fresh { until: at(until) }
}

fn refresh(texts: &str) -> Step {
    Step::Refresh(pids(texts))
}

#[test]
fn what_to_do_with_a_kept_map() {
    for (whole, map, now, want, why) in [
        (Some(100), "a b", 99, fresh(100), "the map's expiry is that of its PIDs"),
        (Some(100), "a b", 100, Step::Whole, "what expires now is expired"),
        (Some(100), "a=50 b c", 49, fresh(50), "the first of all"),
        (Some(100), "a=50 b c", 50, refresh("a"), "one of three"),
        (Some(10), "a=50 b=60", 20, fresh(50), "PID level wins over map level"),
        (Some(10), "a=50 b=60", 50, refresh("a"), "half of them"),
        (Some(10), "a=50 b=60 c=50", 50, Step::Whole, "most of them"),
        (Some(10), "a=50 b=60 c=70 d", 20, refresh("d"), "d has the map's expiry, the others do not"),
        (Some(10), "a=50 b c", 20, Step::Whole, "most have the map's"),
        (None, "a=50 b=60 c", 20, Step::Whole, "nobody says how long c is right"),
        (None, "a=10 b=60 c", 20, Step::Whole, "and a alone would not help"),
        (None, "a=50 b=60", 20, fresh(50), ""),
        (None, "", 20, Step::Whole, "nothing is known"),
        (Some(30), "", 20, fresh(30), "an empty map is one, too"),
    ] {
        let timed = timed("t", whole, map);
        assert_eq!(timed.step(at(now), &[], true), want, "{whole:?} {map:?} at {now}: {why}");
        if matches!(want, Step::Refresh(_)) {
            assert_eq!(timed.step(at(now), &[], false), Step::Whole, "where PIDs cannot be asked for");
        }
    }
    // RFC 7285 section 11.3.1.6: PIDs that are not there are passed over.
    assert_eq!(timed("t", None, "a=50").step(at(20), &pids("a b"), true), Step::Whole, "how long will there be no b?");
    assert_eq!(timed("t", Some(40), "a=50").step(at(20), &pids("a b"), true), fresh(40));
    assert_eq!(timed("t", Some(40), "a=10 c=50").step(at(20), &pids("a b c"), true), refresh("a"));
    assert_eq!(timed("t", Some(40), "a=10 c=50").step(at(40), &pids("a b c"), true), Step::Whole, "there may be a b now");
}

#[test]
fn what_makes_a_map_right_again() {
    let kept = timed("t", Some(100), "a=50 b=60");
    let renewed = kept.renewed(&pids("a"), &timed("t", None, "a=90")).unwrap();
    assert_eq!(renewed, timed("t", Some(100), "a=90 b=60"));
    assert!(Arc::ptr_eq(&renewed.map, &kept.map));
    assert_eq!(kept.renewed(&pids("a"), &timed("t", Some(80), "a")).unwrap(), timed("t", Some(100), "a=80 b=60"));
    for (answer, why) in [
        (timed("u", None, "a=90"), "another version"),
        (timed("t", None, ""), "the PID is gone"),
        (timed("t", None, "x=1 a=90"), "the same tag, other prefixes"),
        (timed("t", None, "a"), "no expiry"),
    ] {
        assert_eq!(kept.renewed(&pids("a"), &answer), Err(Changed), "{why}");
    }
    let untagged = |mut timed: TimedMap| {
        Arc::make_mut(&mut timed.map).vtag = None;
        timed
    };
    assert_eq!(untagged(kept).renewed(&pids("a"), &untagged(timed("t", None, "a=90"))), Err(Changed), "no version at all");
}

#[test]
fn a_server_ahead_of_us_makes_things_expire_earlier() {
    let answer = ExpiringNetworkMap::from_json(&timed("t", Some(100), "a=50 b").to_json()).unwrap();
    let ahead = TimedMap::of(answer.clone(), Duration::from_millis(1500));
    let want = timed("t", Some(98), "a=48 b");
    for name in ["a", "b"] {
        assert_eq!(ahead.expires_of(&pid(name)), want.expires_of(&pid(name)), "rounded to the past");
    }
    assert_eq!((ahead.expires(), ahead.first), (want.expires(), want.first));
    assert_eq!(ahead.said(), answer, "and it is still known what the server said");
}

/// What the server said is kept with the rest, by its clock and under its name, also where it has no place in a map.
#[test]
fn what_was_said_is_kept() {
    for (whole, pids) in
        [(Some(100), "a=50 b"), (None, "a=50 b"), (Some(100), "expires b=70"), (Some(100), "expires=60 b=70"), (Some(9), "")]
    {
        for (ahead, name) in [(0, "net"), (3, "net"), (0, "mine"), (3, "mine")] {
            let answer = ExpiringNetworkMap::from_json(&timed("t", whole, pids).to_json()).unwrap();
            let kept = TimedMap::of(answer.clone(), Duration::from_secs(ahead)).named(&name.parse().unwrap());
            assert_eq!((kept.said(), &*kept.text), (answer, &*kept.map.to_json()), "{whole:?} {pids:?}");
            let read = TimedMap::from_json(&kept.to_json(), &Limits::default()).unwrap();
            assert_eq!(read, kept, "{whole:?} {pids:?}, {ahead} s ahead, as {name}");
            let differs = name != "net" || ahead > 0 && (whole.is_some() || pids.contains('='));
            assert_eq!(kept.to_json().contains(&b'\n'), differs, "{whole:?} {pids:?}, {ahead} s ahead, as {name}");
        }
    }
    // A file whose second line is of something else.
    let kept = timed("t", Some(100), "a=50 b");
    let torn = [&kept.to_json()[..], b"\n", &timed("t", None, "b=70").to_json()].concat();
    let read = TimedMap::from_json(&torn, &Limits::default()).unwrap();
    assert_eq!((read.expires_of(&pid("a")), read.first), (None, None), "nothing is fresh of which not both are known");
}

/// A server whose map changes, and the expiry of whose PIDs is a function of time.
#[derive(Debug, Default)]
struct Model {
    version: u64,
    lifetimes: [u64; 5],
}

impl Model {
    fn answer(&self, now: u64, asked: Option<&[Pid]>) -> TimedMap {
        let names = ["a", "b", "c", "d", "e"];
        let mut text = String::new();
        for (at, name) in names.iter().enumerate() {
            // Each version lacks another one.
            if (self.version + at as u64) % 4 != 3 {
                text.push_str(&format!(" {name}={}", now + self.lifetimes[at]));
            }
        }
        let mut timed = timed(&format!("v{}", self.version), Some(now + 7), &text);
        if let Some(asked) = asked {
            Arc::make_mut(&mut timed.map).pids.retain(|pid, _| asked.contains(pid));
            timed.pids.retain(|pid, _| asked.contains(pid));
        }
        timed
    }
}

#[derive(Debug, Clone)]
enum Event {
    Pass(u64),
    Change,
    Lifetime(usize, u64),
    Use { change_meanwhile: bool },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0u64..20).prop_map(Event::Pass),
        1 => Just(Event::Change),
        2 => (0usize..5, 0u64..40).prop_map(|(at, seconds)| Event::Lifetime(at, seconds)),
        6 => prop::bool::weighted(0.2).prop_map(|change_meanwhile| Event::Use { change_meanwhile }),
    ]
}

proptest! {
    /// Whatever happens in whatever order: nothing that expired is fresh, and what is handed out is the map that was served under its tag.
    #[test]
    fn never_fresh_after_expiry_and_never_mixed(events in prop::collection::vec(event(), 1..80)) {
        let mut server = Model { version: 0, lifetimes: [5, 10, 15, 20, 25] };
        let (mut now, mut kept) = (1000, None::<TimedMap>);
        for event in events {
            match event {
                Event::Pass(seconds) => now += seconds,
                Event::Change => server.version += 1,
                Event::Lifetime(at, seconds) => server.lifetimes[at] = seconds,
                Event::Use { change_meanwhile } => {
                    let step = kept.as_ref().map_or(Step::Whole, |kept| kept.step(at(now), &[], true));
                    if change_meanwhile {
                        server.version += 1;
                    }
                    let used = match (&step, &kept) {
                        (Step::Fresh { .. }, Some(kept)) => kept.clone(),
                        (Step::Refresh(pids), Some(kept)) => match kept.renewed(pids, &server.answer(now, Some(pids))) {
                            Ok(renewed) => renewed,
                            Err(Changed) => server.answer(now, None),
                        },
                        _ => server.answer(now, None),
                    };
                    if let Step::Fresh { until } = step {
                        prop_assert!(until > at(now));
                        for pid in used.map.pids.keys() {
                            prop_assert!(used.expires_of(pid).unwrap().instant() >= until);
                        }
                    }
                    let tag = used.map.vtag.as_ref().unwrap().tag.to_string();
                    let version = tag[1..].parse().unwrap();
                    prop_assert!(version == server.version || matches!(step, Step::Fresh { .. }), "what is asked for is of now");
                    let served = Model { version, lifetimes: [1; 5] }.answer(now, None);
                    prop_assert_eq!(&used.map, &served.map);
                    prop_assert_eq!(&used.text, &served.text);
                    // On disk it is the same.
                    prop_assert_eq!(&TimedMap::from_json(&used.to_json(), &Limits::default()).unwrap(), &used);
                    kept = Some(used);
                }
            }
        }
    }
}
