//! Numbers (RFC 8259 section 6).

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22];

/// The whole text as a number, finite.
pub(crate) fn number(text: &str) -> Option<f64> {
    let (value, length) = read(text.as_bytes())?;
    (length == text.len() && value.is_finite()).then_some(value)
}

/// The number at the start of `bytes` and its length. Correctly rounded; infinite past the largest double.
#[inline]
pub(super) fn read(bytes: &[u8]) -> Option<(f64, usize)> {
    let mut at = 0;
    let mut whole: u64 = 0;
    while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
        // Wraps only for numbers too long for this path.
        whole = whole.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        at += 1;
    }
    match bytes.get(at) {
        Some(b'.' | b'e' | b'E' | b'-') => read_other(bytes),
        // Up to 15 digits are exact in a double.
        _ if (1..=15).contains(&at) && (at == 1 || bytes[0] != b'0') => Some((whole as f64, at)),
        _ => read_other(bytes),
    }
}

#[inline(never)]
fn read_other(bytes: &[u8]) -> Option<(f64, usize)> {
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    let negative = at == 1;
    let mut mantissa: u64 = 0;
    let mut digits = |at: &mut usize| {
        let start = *at;
        while let Some(digit @ b'0'..=b'9') = bytes.get(*at) {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            *at += 1;
        }
        *at - start
    };
    let start = at;
    let whole = digits(&mut at);
    if whole == 0 || (whole > 1 && bytes[start] == b'0') {
        return None;
    }
    let mut fraction = 0;
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        fraction = digits(&mut at);
        if fraction == 0 {
            return None;
        }
    }
    if !matches!(bytes.get(at), Some(b'e' | b'E')) {
        // Both operands are exact, so the one division rounds correctly (Clinger's fast path).
        if whole + fraction <= 15 {
            let value = mantissa as f64 / POWERS[fraction];
            return Some((if negative { -value } else { value }, at));
        }
    } else {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        let exponent = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        if at == exponent {
            return None;
        }
    }
    let text = std::str::from_utf8(&bytes[..at]).ok()?;
    Some((text.parse().ok()?, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 8259 section 6.
    #[test]
    fn grammar() {
        for (text, want) in [
            ("0", Some(0.0)),
            ("10", Some(10.0)),
            ("-3", Some(-3.0)),
            ("1.25", Some(1.25)),
            ("1e2", Some(100.0)),
            ("1E+2", Some(100.0)),
            ("12e-1", Some(1.2)),
            ("999999999999999", Some(999_999_999_999_999.0)),
            ("9007199254740993", Some(9_007_199_254_740_992.0)),
            ("0.1", Some(0.1)),
            ("01", None),
            ("-", None),
            ("", None),
            (".5", None),
            ("1.", None),
            ("1e", None),
            ("+1", None),
            ("1e999", None),
            ("NaN", None),
            ("00.5", None),
        ] {
            assert_eq!(number(text), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn as_the_standard_library_reads(value in any::<f64>().prop_filter("finite", |v| v.is_finite()), digits in "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?") {
            for text in [format!("{value:?}"), format!("{value:e}"), digits] {
                if !text.contains("inf") {
                    prop_assert_eq!(number(&text), text.parse().ok(), "{}", text);
                }
            }
        }
    }
}
