//! How long an answer may be used (RFC 9111 section 4.2, as a private cache of one client, without heuristics), and what it is revalidated with.
//!
//! Units: durations; instants are on the wall clock of this machine. Invariant: what the server or a cache before it said is never stretched: of two
//! readings the one counts that expires earlier.
use crate::clock::Moment;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::time::{Duration, SystemTime};

/// The fields of an answer that are kept: all that sections 4.2 and 4.3 of RFC 9111 ask about.
const KEPT: [HeaderName; 7] =
    [header::AGE, header::CACHE_CONTROL, header::DATE, header::ETAG, header::EXPIRES, header::LAST_MODIFIED, header::VARY];

/// "Consider the value to be 2147483648" where it is larger (RFC 9111 section 1.2.2).
const SECONDS_MAX: u64 = 1 << 31;

/// What an answer said of its use, and when it came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Validity {
    /// The fields it rests on.
    pub fields: HeaderMap,
    /// When the answer was there.
    pub received: Moment,
    /// How long it took.
    pub delay: Duration,
    /// It may be used again only when the server said so, whatever its fields say: it came through a redirect, or nobody knows when it came.
    pub distrusted: bool,
    directives: Directives,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Directives {
    no_store: bool,
    no_cache: bool,
    must_revalidate: bool,
    max_age: Option<Duration>,
}

impl Validity {
    /// What the fields of an answer say that was asked for and came at these moments.
    pub fn of(headers: &HeaderMap, asked: Moment, received: Moment) -> Self {
        let mut fields = HeaderMap::new();
        for name in KEPT {
            for value in headers.get_all(&name) {
                fields.append(name.clone(), value.clone());
            }
        }
        Self::kept(fields, received, received.since(asked))
    }

    /// The same from what was kept.
    pub fn kept(fields: HeaderMap, received: Moment, delay: Duration) -> Self {
        let directives = Directives::of(&fields);
        Self { fields, received, delay, distrusted: false, directives }
    }

    /// After a 304 (RFC 9111 section 4.3.4): fields it has replace the old ones. The age is that of the new answer alone.
    pub fn freshened(&self, headers: &HeaderMap, asked: Moment, received: Moment) -> Self {
        let new = Self::of(headers, asked, received);
        let mut fields = self.fields.clone();
        fields.remove(header::AGE);
        for name in new.fields.keys() {
            fields.remove(name);
        }
        for (name, value) in &new.fields {
            fields.append(name.clone(), value.clone());
        }
        Self::kept(fields, received, new.delay)
    }

    /// Whether a 304 with these fields speaks of this answer (RFC 9111 section 4.3.4): it may name another strong validator.
    pub fn is_meant_by(&self, headers: &HeaderMap) -> bool {
        match (headers.get(header::ETAG), self.fields.get(header::ETAG)) {
            (Some(theirs), Some(ours)) => opaque(theirs) == opaque(ours),
            _ => true,
        }
    }

    /// RFC 9111 section 5.2.2.5.
    pub fn may_be_stored(&self) -> bool {
        !self.directives.no_store
    }

    /// Whether keeping it can ever save a request or a body.
    pub fn is_worth_keeping(&self) -> bool {
        self.may_be_stored() && (self.promises() || self.validator().is_some())
    }

    /// Whether the server lets it be used for a while without asking.
    pub fn promises(&self) -> bool {
        !self.must_ask() && self.lifetime() > Duration::ZERO
    }

    fn must_ask(&self) -> bool {
        // Two requests of ours for one resource differ in nothing, so of `Vary` only `*` counts (section 4.1).
        let varies = self.fields.get_all(header::VARY).iter().any(|value| value.as_bytes().contains(&b'*'));
        self.distrusted || self.directives.no_cache || self.directives.no_store || varies
    }

    /// Until when it is fresh, if it is now.
    pub fn fresh_until(&self, now: Moment) -> Option<SystemTime> {
        let left = self.lifetime().checked_sub(self.age(now)).filter(|left| !left.is_zero() && !self.must_ask())?;
        Some(now.wall + left)
    }

    /// Since when it is stale, for who may use it so (section 4.2.4); `None` where the server forbids that.
    pub fn usable_stale_since(&self, now: Moment) -> Option<SystemTime> {
        if self.must_ask() || self.directives.must_revalidate {
            return None;
        }
        let over = self.age(now).saturating_sub(self.lifetime());
        Some(now.wall.checked_sub(over).unwrap_or(SystemTime::UNIX_EPOCH))
    }

    /// Section 4.2.3.
    fn age(&self, now: Moment) -> Duration {
        let apparent = self.date().map_or(Duration::ZERO, |date| self.received.wall.duration_since(date).unwrap_or_default());
        apparent.max(self.stated_age() + self.delay) + now.since(self.received)
    }

    /// Section 4.2.1.
    fn lifetime(&self) -> Duration {
        if let Some(max_age) = self.directives.max_age {
            return max_age;
        }
        let mut values = self.fields.get_all(header::EXPIRES).iter();
        let Some(expires) = values.next().filter(|first| values.all(|other| other == first)).and_then(date_of) else {
            return Duration::ZERO;
        };
        expires.duration_since(self.date().unwrap_or(self.received.wall)).unwrap_or_default()
    }

    /// How much earlier, on the clock here, something expires of which the answer says when: as far as the clock of the server is ahead
    /// of ours, reckoned as section 4.2.3 reckons ages. A clock behind ours counts as right.
    pub fn server_ahead(&self) -> Duration {
        let sent = self.date().unwrap_or(self.received.wall) + self.stated_age() + self.delay;
        sent.duration_since(self.received.wall).unwrap_or_default()
    }

    fn date(&self) -> Option<SystemTime> {
        self.fields.get(header::DATE).and_then(date_of)
    }

    fn stated_age(&self) -> Duration {
        self.fields.get(header::AGE).and_then(|value| seconds(value.to_str().ok()?)).unwrap_or_default()
    }

    /// The field of a conditional request, with its value (section 4.3.1): an entity tag, else a date.
    pub fn validator(&self) -> Option<(HeaderName, HeaderValue)> {
        let tag = || Some((header::IF_NONE_MATCH, self.fields.get(header::ETAG)?.clone()));
        let date = || Some((header::IF_MODIFIED_SINCE, self.fields.get(header::LAST_MODIFIED).filter(|it| date_of(it).is_some())?.clone()));
        tag().or_else(date)
    }

    /// Its entity tag, quotes included.
    pub fn etag(&self) -> Option<String> {
        self.fields.get(header::ETAG)?.to_str().ok().map(str::to_owned)
    }
}

impl Directives {
    /// Section 5.2.2. What we do not know changes nothing; what contradicts itself counts for the least.
    fn of(fields: &HeaderMap) -> Self {
        let mut all = Self::default();
        for value in fields.get_all(header::CACHE_CONTROL) {
            // Bytes that are no text may be a directive that forbids.
            let Ok(text) = value.to_str() else {
                all.no_cache = true;
                continue;
            };
            for directive in split(text) {
                let (name, argument) = directive.split_once('=').map_or((directive, None), |(name, argument)| (name, Some(argument)));
                match name.trim().to_ascii_lowercase().as_str() {
                    "no-store" => all.no_store = true,
                    "no-cache" => all.no_cache = true,
                    "must-revalidate" => all.must_revalidate = true,
                    "max-age" => {
                        let given = argument.and_then(|text| seconds(text.trim().trim_matches('"'))).unwrap_or_default();
                        all.max_age = Some(all.max_age.map_or(given, |least| least.min(given)));
                    }
                    _ => {}
                }
            }
        }
        all
    }
}

/// At the commas that are not in quotes.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        let was_escaped = std::mem::take(&mut escaped);
        match c {
            '"' if !was_escaped => quoted = !quoted,
            '\\' if quoted => escaped = !was_escaped,
            _ => {}
        }
        c == ',' && !quoted
    })
    .map(str::trim)
}

fn seconds(text: &str) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Duration::from_secs(text.parse().map_or(SECONDS_MAX, |seconds: u64| seconds.min(SECONDS_MAX))))
}

fn date_of(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

/// Weak comparison (RFC 9110 section 8.8.3.2).
fn opaque(etag: &HeaderValue) -> &[u8] {
    etag.as_bytes().strip_prefix(b"W/").unwrap_or(etag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110's examples.
    const DATE: u64 = 784_111_777;

    fn at(seconds: u64) -> Moment {
        Moment { wall: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds), steady: Duration::from_secs(seconds) }
    }

    /// Lines of fields, received at [`DATE`] after `delay` seconds.
    fn received(lines: &str, delay: u64) -> Validity {
        let mut headers = HeaderMap::new();
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            let (name, value) = line.split_once(':').unwrap();
            headers.append(HeaderName::from_bytes(name.trim().as_bytes()).unwrap(), value.trim().parse().unwrap());
        }
        Validity::of(&headers, at(DATE - delay), at(DATE))
    }

    /// Seconds from [`DATE`] on for which it is fresh.
    fn fresh_for(validity: &Validity) -> u64 {
        let until = validity.fresh_until(at(DATE)).unwrap_or(at(DATE).wall);
        until.duration_since(at(DATE).wall).unwrap().as_secs()
    }

    #[test]
    fn lifetimes() {
        let date = "date: Sun, 06 Nov 1994 08:49:37 GMT";
        let minute_later = "expires: Sun, 06 Nov 1994 08:50:37 GMT";
        for (lines, want, section) in [
            (String::new(), 0, "4.2.2: no heuristics"),
            ("last-modified: Sun, 06 Nov 1994 08:00:00 GMT".into(), 0, "4.2.2: no heuristics"),
            ("cache-control: max-age=60".into(), 60, "5.2.2.1"),
            ("cache-control: public, Max-Age=60, immutable".into(), 60, "5.2.3: names in any case, unknown ones ignored"),
            ("cache-control: max-age=\"60\"".into(), 60, "5.2: both forms of an argument"),
            ("cache-control: max-age=60\ncache-control: max-age=30".into(), 30, "4.2.1: the lesser of two"),
            ("cache-control: max-age=x".into(), 0, "4.2.1: unreadable is stale"),
            ("cache-control: max-age=-1".into(), 0, "1.2.2"),
            ("cache-control: max-age".into(), 0, "5.2.2.1"),
            ("cache-control: max-age=99999999999999999999999".into(), SECONDS_MAX, "1.2.2: overflow"),
            ("cache-control: s-maxage=60".into(), 0, "5.2.2.10: for shared caches"),
            ("cache-control: ext=\"a, max-age=60\"".into(), 0, "5.2: a comma in quotes parts nothing"),
            ("cache-control: ext=\"\\\", max-age=60\", max-age=7".into(), 7, "5.2: an escaped quote ends nothing"),
            ("cache-control: max-age=60, no-cache".into(), 0, "5.2.2.4"),
            ("cache-control: max-age=60, no-cache=\"etag\"".into(), 0, "5.2.2.4: the qualified form may count as the other"),
            ("cache-control: max-age=60, no-store".into(), 0, "5.2.2.5"),
            ("cache-control: max-age=60, private, must-revalidate".into(), 60, "5.2.2.2 and 5.2.2.7"),
            (format!("{date}\n{minute_later}"), 60, "5.3"),
            (minute_later.into(), 60, "5.3: without a date the one of its coming"),
            (format!("{date}\n{minute_later}\ncache-control: max-age=10"), 10, "5.3: max-age comes first"),
            (format!("{date}\nexpires: 0"), 0, "5.3: an invalid date is past"),
            (format!("{date}\n{minute_later}\nexpires: Sun, 06 Nov 1994 09:49:37 GMT"), 0, "4.2.1: two that differ"),
            ("cache-control: max-age=60\nage: 20".into(), 40, "4.2.3"),
            ("cache-control: max-age=60\nage: 61".into(), 0, "4.2.3"),
            ("cache-control: max-age=60\nage: old".into(), 60, "5.1: an invalid one is ignored"),
            ("cache-control: max-age=60\ndate: Sun, 06 Nov 1994 08:49:07 GMT".into(), 30, "4.2.3: apparent age"),
            ("cache-control: max-age=60\ndate: Sun, 06 Nov 1994 09:49:37 GMT".into(), 60, "4.2.3: a server ahead of us"),
            ("cache-control: max-age=60\nvary: *".into(), 0, "4.1"),
            ("cache-control: max-age=60\nvary: accept-encoding, accept".into(), 60, "4.1: all our requests have the same"),
        ] {
            assert_eq!(fresh_for(&received(&lines, 0)), want, "section {section}: {lines}");
        }
        assert_eq!(fresh_for(&received("cache-control: max-age=60", 5)), 55, "section 4.2.3: the time it took counts");
        assert_eq!(fresh_for(&received("cache-control: max-age=60\nage: 20", 5)), 35, "section 4.2.3");
    }

    #[test]
    fn validators() {
        let both = received("etag: W/\"a\"\nlast-modified: Sun, 06 Nov 1994 08:00:00 GMT", 0);
        assert_eq!(both.validator().unwrap(), (header::IF_NONE_MATCH, HeaderValue::from_static("W/\"a\"")));
        let date = received("last-modified: Sun, 06 Nov 1994 08:00:00 GMT", 0);
        assert_eq!(date.validator().unwrap().0, header::IF_MODIFIED_SINCE);
        assert_eq!(received("last-modified: yesterday", 0).validator(), None);
        assert!(!received("cache-control: no-cache", 0).is_worth_keeping());
        assert!(!received("cache-control: no-store\netag: \"a\"", 0).is_worth_keeping());
        assert!(received("cache-control: max-age=1", 0).is_worth_keeping());
        assert!(both.is_worth_keeping());
    }

    /// RFC 9111 section 4.3.4.
    #[test]
    fn a_304_makes_fresh_again() {
        let old = received("cache-control: max-age=60\nage: 50\netag: \"a\"\nlast-modified: Sun, 06 Nov 1994 08:00:00 GMT", 0);
        let said = |lines: &str| received(lines, 0).fields;
        let later = at(DATE + 100);
        assert_eq!(old.fresh_until(later), None);
        let new = old.freshened(&said("etag: \"a\""), later, later);
        assert_eq!(new.fresh_until(later), Some(at(DATE + 160).wall), "the old promise, counted anew, without the old age");
        let new = old.freshened(&said("cache-control: max-age=5"), later, later);
        assert_eq!(new.fresh_until(later), Some(at(DATE + 105).wall));
        assert_eq!(new.validator(), old.validator());
        assert_eq!(old.freshened(&said("cache-control: no-cache"), later, later).fresh_until(later), None);
        assert!(old.is_meant_by(&said("etag: W/\"a\"")) && old.is_meant_by(&said("age: 1")));
        assert!(!old.is_meant_by(&said("etag: \"b\"")));
    }

    /// RFC 9111 section 4.2.4.
    #[test]
    fn who_may_be_used_stale() {
        let later = at(DATE + 100);
        let since = |lines: &str| received(lines, 0).usable_stale_since(later);
        assert_eq!(since("cache-control: max-age=60"), Some(at(DATE + 60).wall));
        assert_eq!(since("etag: \"a\""), Some(at(DATE).wall));
        for forbidden in ["cache-control: max-age=60, must-revalidate", "cache-control: no-cache", "cache-control: no-store"] {
            assert_eq!(since(forbidden), None, "{forbidden}");
        }
    }

    /// Something that expires at an instant of the server's clock, on ours.
    #[test]
    fn a_server_that_is_ahead() {
        for (lines, delay, want) in [
            ("", 0, 0),
            ("date: Sun, 06 Nov 1994 08:49:37 GMT", 3, 3),
            ("date: Sun, 06 Nov 1994 08:50:37 GMT", 0, 60),
            ("date: Sun, 06 Nov 1994 08:48:37 GMT", 0, 0),
            ("date: Sun, 06 Nov 1994 08:48:37 GMT\nage: 60", 2, 2),
        ] {
            assert_eq!(received(lines, delay).server_ahead(), Duration::from_secs(want), "{lines}");
        }
    }

    proptest! {
        /// Once stale, always stale; never fresh for longer than the promise, however the wall clock is set.
        #[test]
        fn never_fresh_after_its_time(
            max_age in 0u64..100, age in 0u64..100, skew in -50i64..50, steps in prop::collection::vec((0u64..30, -200i64..200), 1..20),
        ) {
            let mut date = httpdate::fmt_http_date(at(DATE.saturating_add_signed(skew)).wall);
            date.insert_str(0, &format!("cache-control: max-age={max_age}\nage: {age}\ndate: "));
            let validity = received(&date, 0);
            let (mut passed, mut was_stale) = (0, false);
            for (step, set) in steps {
                passed += step;
                let now = Moment { wall: at((DATE + passed).saturating_add_signed(set)).wall, steady: at(DATE + passed).steady };
                let fresh = validity.fresh_until(now).is_some();
                prop_assert!(!fresh || passed + age < max_age);
                was_stale |= passed + age >= max_age;
                prop_assert!(!(fresh && was_stale));
            }
        }
    }
}
