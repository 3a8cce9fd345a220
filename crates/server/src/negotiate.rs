//! Which form of a resource a client wants (RFC 9110 sections 12.5.1, 12.5.3 and 13.1).
//!
//! Weights are in thousandths. Fields that do not parse are read as far as they do: negotiation is a courtesy, and a client
//! with a broken `Accept` still gets its map.
use history::Coding;
use http::{
    HeaderMap, HeaderName,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE},
};

/// A weight, `q` times 1000.
pub(crate) type Weight = u16;

/// 1.
const FULL: Weight = 1000;

/// How much a client wants `media_type`; 0 excludes it. No `Accept` wants everything. Of several ranges that match, the most
/// specific counts.
pub(crate) fn accepts(headers: &HeaderMap, media_type: &str) -> Weight {
    if !headers.contains_key(ACCEPT) {
        return FULL;
    }
    let bare = media_type.split(';').next().unwrap_or(media_type);
    let (top, sub) = bare.split_once('/').unwrap_or((bare, ""));
    let (mut best, mut weight) = (0, 0);
    for (range, q) in elements(headers, &ACCEPT) {
        let specific = match range.split_once('/') {
            Some(("*", "*")) => 1,
            Some((a, "*")) if a.eq_ignore_ascii_case(top) => 2,
            Some((a, b)) if a.eq_ignore_ascii_case(top) && b.eq_ignore_ascii_case(sub) => 3,
            // Some libraries send `*` for `*/*`.
            None if range == "*" => 1,
            _ => continue,
        };
        if specific > best || (specific == best && q > weight) {
            (best, weight) = (specific, q);
        }
    }
    weight
}

/// The coding to send, `None` for identity; an error when the client excludes everything we have.
///
/// Of equal weights the first of zstd, br, gzip is taken: the order of the time that both ends spend on them.
pub(crate) fn coding(headers: &HeaderMap) -> Result<Option<Coding>, Unacceptable> {
    if !headers.contains_key(ACCEPT_ENCODING) {
        return Ok(None);
    }
    let (mut any, mut identity, mut coded) = (None, None, [None; 3]);
    for (name, q) in elements(headers, &ACCEPT_ENCODING) {
        let slot = match name {
            "*" => &mut any,
            name if name.eq_ignore_ascii_case("identity") => &mut identity,
            name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => &mut coded[Coding::Gzip as usize],
            name if name.eq_ignore_ascii_case("br") => &mut coded[Coding::Brotli as usize],
            name if name.eq_ignore_ascii_case("zstd") => &mut coded[Coding::Zstd as usize],
            _ => continue,
        };
        *slot = Some(q);
    }
    let mut best = None;
    for coding in [Coding::Zstd, Coding::Brotli, Coding::Gzip] {
        let weight = coded[coding as usize].or(any).unwrap_or(0);
        if weight > best.map_or(0, |(_, weight)| weight) {
            best = Some((coding, weight));
        }
    }
    // Unmentioned, identity is acceptable but what was asked for is better.
    let identity = identity.or(any.filter(|weight| *weight == 0));
    match (best, identity) {
        (Some((coding, weight)), identity) if identity.is_none_or(|identity| weight >= identity) => Ok(Some(coding)),
        (_, Some(0)) => Err(Unacceptable),
        _ => Ok(None),
    }
}

/// The client takes no coding we have, identity included.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unacceptable;

/// Name of a coding on the wire.
pub(crate) fn name(coding: Coding) -> &'static str {
    match coding {
        Coding::Gzip => "gzip",
        Coding::Brotli => "br",
        Coding::Zstd => "zstd",
    }
}

/// Whether `If-None-Match` or `If-Match` names `etag`, as it stands in a header field. Weak comparison ignores `W/`.
pub(crate) fn names(headers: &HeaderMap, field: &HeaderName, etag: &str, weak: bool) -> bool {
    named(headers, field).any(|named| match named {
        Named::Any => true,
        Named::Tag { weak: is_weak, quoted } => quoted == etag && (weak || !is_weak),
    })
}

/// The tags that `If-None-Match` or `If-Match` names, without quotes and `W/`.
pub(crate) fn tags<'a>(headers: &'a HeaderMap, field: &HeaderName) -> impl Iterator<Item = &'a str> {
    named(headers, field).filter_map(|named| match named {
        Named::Any => None,
        Named::Tag { quoted, .. } => Some(&quoted[1..quoted.len() - 1]),
    })
}

/// An element of such a field (RFC 9110 section 13.1.2).
enum Named<'a> {
    /// `*`
    Any,
    Tag {
        weak: bool,
        quoted: &'a str,
    },
}

/// What is malformed ends its line.
fn named<'a>(headers: &'a HeaderMap, field: &HeaderName) -> impl Iterator<Item = Named<'a>> {
    headers.get_all(field).iter().filter_map(|value| value.to_str().ok()).flat_map(|mut rest| {
        std::iter::from_fn(move || {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if let Some(after) = rest.strip_prefix('*') {
                rest = after;
                return Some(Named::Any);
            }
            let (weak, opaque) = match rest.strip_prefix("W/") {
                Some(opaque) => (true, opaque),
                None => (false, rest),
            };
            // Commas may be inside the quotes, so the list cannot be split at them.
            let end = opaque.strip_prefix('"').and_then(|inner| inner.find('"'))?;
            let (quoted, after) = opaque.split_at(end + 2);
            rest = after;
            Some(Named::Tag { weak, quoted })
        })
    })
}

/// The media type of the body, without parameters, in lower case.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<String> {
    headers.get(CONTENT_TYPE)?.to_str().ok().map(bare)
}

/// A media type without parameters, in lower case (RFC 9110 section 8.3.1).
pub(crate) fn bare(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The elements of a list field with their weights, parameters other than `q` left out.
fn elements<'a>(headers: &'a HeaderMap, field: &HeaderName) -> impl Iterator<Item = (&'a str, Weight)> {
    headers.get_all(field).iter().filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(',')).filter_map(|element| {
        let mut parts = element.split(';').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="))).map_or(FULL, weight);
        Some((name, weight))
    })
}

/// `0`, `0.5`, `1.000`; what is none of these is read as 0: a client that wanted the type would not add a weight to it.
fn weight(text: &str) -> Weight {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return 0;
    }
    let fraction = fraction.bytes().chain(*b"000").take(3).fold(0, |sum, digit| sum * 10 + Weight::from(digit - b'0'));
    match whole {
        "0" | "" => fraction,
        "1" => FULL,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, header::IF_NONE_MATCH};

    fn with(field: HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (field.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn media_types_by_weight() {
        let map = "application/alto-costmap+json";
        for (accept, want) in [
            // RFC 9110 section 12.5.1.
            (&["*/*"][..], 1000),
            (&["application/*;q=0.5"], 500),
            (&["application/alto-costmap+json,application/alto-error+json"], 1000),
            (&["text/html, application/xhtml+xml, */*;q=0.8"], 800),
            (&["*/*;q=0.3, Application/ALTO-costmap+json;q=0.7"], 700),
            (&["application/alto-costmap+json;q=0, */*"], 0),
            (&["text/html"], 0),
            (&["text/html", "application/alto-costmap+json"], 1000),
            (&["application/alto-costmap+json;charset=utf-8"], 1000),
            (&["*"], 1000),
            (&[" , ,*/* ; q=0.125"], 125),
            (&["*/*;q=7"], 0),
            (&["*/*;q=0.1234"], 0),
        ] {
            assert_eq!(accepts(&with(ACCEPT, accept), map), want, "{accept:?}");
        }
        assert_eq!(accepts(&HeaderMap::new(), map), 1000);
    }

    #[test]
    fn codings_by_weight() {
        use Coding::{Brotli, Gzip, Zstd};
        for (accept, want) in [
            // RFC 9110 section 12.5.3.
            ("gzip", Ok(Some(Gzip))),
            ("x-gzip", Ok(Some(Gzip))),
            ("deflate, gzip, br, zstd", Ok(Some(Zstd))),
            ("gzip, deflate, br", Ok(Some(Brotli))),
            ("gzip;q=1.0, br;q=0.5", Ok(Some(Gzip))),
            ("gzip;q=0.5, identity", Ok(None)),
            ("gzip;q=0", Ok(None)),
            ("", Ok(None)),
            ("*", Ok(Some(Zstd))),
            ("*;q=0", Err(Unacceptable)),
            ("identity;q=0", Err(Unacceptable)),
            ("identity;q=0, gzip;q=0.001", Ok(Some(Gzip))),
            ("deflate", Ok(None)),
            ("zstd;q=0, *;q=0.5", Ok(Some(Brotli))),
            ("GZIP", Ok(Some(Gzip))),
        ] {
            assert_eq!(coding(&with(ACCEPT_ENCODING, &[accept])), want, "{accept:?}");
        }
        assert_eq!(coding(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn entity_tags_in_lists() {
        for (list, etag, weak, strong) in [
            // RFC 9110 sections 8.8.3.2 and 13.1.2.
            (&["\"a\""][..], "\"a\"", true, true),
            (&["W/\"a\""], "\"a\"", true, false),
            (&["\"x\", \"a\""], "\"a\"", true, true),
            (&["\"x\"", "\"a\""], "\"a\"", true, true),
            (&["\"x,\"a\""], "\"a\"", false, false),
            (&["\"x, y\" , \"a\""], "\"a\"", true, true),
            (&["*"], "\"a\"", true, true),
            (&["\"a+gzip\""], "\"a\"", false, false),
            (&["a"], "\"a\"", false, false),
            (&["\"a"], "\"a\"", false, false),
            (&[""], "\"a\"", false, false),
        ] {
            let headers = with(IF_NONE_MATCH, list);
            assert_eq!(names(&headers, &IF_NONE_MATCH, etag, true), weak, "{list:?} weak");
            assert_eq!(names(&headers, &IF_NONE_MATCH, etag, false), strong, "{list:?} strong");
        }
    }
}
