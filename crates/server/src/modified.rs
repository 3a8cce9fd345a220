//! When what is served last changed: `Last-Modified`, and the conditions that name such a date (RFC 9110 sections 8.8.2, 13.1.3 and 13.1.4).
//!
//! Unit: whole seconds. A date is a weak validator, for there may be two versions within its second (section 8.8.2.2), and a version is seen a
//! moment after its time. So each version has a later second than the one before it, and until that has passed it is said to be of the second
//! before, and no date is taken for it. Invariants, in the life of one server: a 304 for a date is never wrong; no date is later than the `Date`
//! it stands beside (section 8.8.2.1).
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, LAST_MODIFIED},
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Of one version, its field made once.
#[derive(Debug, Clone)]
pub(crate) struct Modified {
    second: u64,
    value: HeaderValue,
}

/// The second of an instant.
pub(crate) fn second(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// An HTTP-date as a field; what the calendar of HTTP cannot say becomes its end.
pub(crate) fn date(second: u64) -> HeaderValue {
    HeaderValue::try_from(alto::expiry::Expires::from_unix(second).to_string()).expect("a date is ASCII")
}

impl Modified {
    pub(crate) fn at(at: SystemTime) -> Self {
        Self::new(second(at))
    }

    /// Of what came to be at `at`, after this.
    pub(crate) fn then(&self, at: SystemTime) -> Self {
        Self::new(second(at).max(self.second.saturating_add(1)))
    }

    /// Of what came to be at `at`, after that if there was something.
    pub(crate) fn next(before: Option<&Self>, at: SystemTime) -> Self {
        before.map_or_else(|| Self::at(at), |before| before.then(at))
    }

    fn new(second: u64) -> Self {
        Self { second, value: date(second) }
    }

    /// Whether its second lasts yet, or the clock was set back behind it.
    fn is_fresh(&self, now: u64) -> bool {
        self.second >= now
    }

    /// Adds the field, as of now.
    pub(crate) fn add(&self, now: u64, headers: &mut HeaderMap) {
        let value = if self.is_fresh(now) { date(now.saturating_sub(1)) } else { self.value.clone() };
        headers.insert(LAST_MODIFIED, value);
    }

    /// Whether `If-Modified-Since` shows that the client has this version: 304.
    pub(crate) fn is_known(&self, now: u64, headers: &HeaderMap) -> bool {
        !self.is_fresh(now) && named(headers, &IF_MODIFIED_SINCE).is_some_and(|date| self.second <= date)
    }

    /// Whether it is younger than `If-Unmodified-Since` allows: 412.
    pub(crate) fn is_later(&self, headers: &HeaderMap) -> bool {
        named(headers, &IF_UNMODIFIED_SINCE).is_some_and(|date| self.second > date)
    }
}

/// The date in a field, in any of the three forms (section 5.6.7). One that cannot be read, or is there twice, is as if it were not there.
fn named(headers: &HeaderMap, field: &HeaderName) -> Option<u64> {
    let mut values = headers.get_all(field).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let date = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    date.duration_since(UNIX_EPOCH).ok().as_ref().map(Duration::as_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 784,111,777 s after 1970, RFC 9110 section 5.6.7.
    const AT: u64 = 784_111_777;

    fn with(field: HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (field.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn dates_are_compared() {
        let modified = Modified::at(UNIX_EPOCH + Duration::from_millis(AT * 1000 + 700));
        for (dates, known, later) in [
            (&["Sun, 06 Nov 1994 08:49:37 GMT"][..], true, false),
            (&["Sunday, 06-Nov-94 08:49:37 GMT"], true, false),
            (&["Sun Nov  6 08:49:37 1994"], true, false),
            (&["Sun, 06 Nov 1994 08:49:38 GMT"], true, false),
            (&["Sun, 06 Nov 1994 08:49:36 GMT"], false, true),
            // Ignored.
            (&["yesterday"], false, false),
            (&[""], false, false),
            (&["Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"], false, false),
            (&[], false, false),
        ] {
            assert_eq!(modified.is_known(AT + 1, &with(IF_MODIFIED_SINCE, dates)), known, "{dates:?}");
            assert_eq!(modified.is_later(&with(IF_UNMODIFIED_SINCE, dates)), later, "{dates:?}");
        }
    }

    /// Section 8.8.2.2: who got the first of two versions of one second must not be told that the second is what it has.
    #[test]
    fn two_versions_in_one_second() {
        let first = Modified::at(UNIX_EPOCH + Duration::from_secs(AT));
        let second = first.then(UNIX_EPOCH + Duration::from_secs(AT) + Duration::from_millis(1));
        let said = |modified: &Modified, now: u64| {
            let mut headers = HeaderMap::new();
            modified.add(now, &mut headers);
            headers.remove(LAST_MODIFIED).unwrap().to_str().unwrap().to_owned()
        };
        let early = said(&first, AT);
        assert_eq!(early, "Sun, 06 Nov 1994 08:49:36 GMT");
        // The second was composed within the second, and is seen when that is over: the first was given out with its date.
        let late = said(&first, AT + 1);
        assert_eq!(late, "Sun, 06 Nov 1994 08:49:37 GMT");
        for now in [AT, AT + 1, AT + 2, AT + 9] {
            for date in [&early, &late] {
                assert!(!second.is_known(now, &with(IF_MODIFIED_SINCE, &[date])), "{now} {date}");
                assert!(second.is_later(&with(IF_UNMODIFIED_SINCE, &[date])), "{now} {date}");
            }
        }
        let settled = said(&second, AT + 2);
        assert_eq!(settled, "Sun, 06 Nov 1994 08:49:38 GMT");
        assert!(second.is_known(AT + 2, &with(IF_MODIFIED_SINCE, &[&settled])));
        assert_eq!(first.then(UNIX_EPOCH + Duration::from_secs(AT + 60)).second, AT + 60);
        // The clock was set back: not later than the answer's own date.
        assert_eq!(said(&second, AT - 10), "Sun, 06 Nov 1994 08:49:26 GMT");
        assert!(!second.is_known(AT - 10, &with(IF_MODIFIED_SINCE, &[&settled])));
    }
}
