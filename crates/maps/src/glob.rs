//! Shell-like patterns over names: `*` is any run of characters (none included), `?` exactly one; everything else is itself.
use std::{fmt, str::FromStr};

/// A pattern over PID names. Every string is one: PID names (RFC 7285 section 10.1) contain neither `*` nor `?`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Glob(Box<str>);

impl Glob {
    /// Matches every name.
    pub fn any() -> Self {
        Self("*".into())
    }

    /// A name without any wildcard: matches itself alone.
    pub fn is_literal(&self) -> bool {
        !self.0.contains(['*', '?'])
    }

    /// Whether `name` matches. Time: length of the pattern × length of the name at worst, no recursion.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at, mut from) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while from < name.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    star = Some((at, from));
                    at += 1;
                }
                Some(b'?') => {
                    at += 1;
                    from += 1;
                }
                Some(&byte) if byte == name[from] => {
                    at += 1;
                    from += 1;
                }
                // A mismatch lets the last star take one more character; without one there is no match.
                _ => match &mut star {
                    Some((star_at, taken)) => {
                        *taken += 1;
                        at = *star_at + 1;
                        from = *taken;
                    }
                    None => return false,
                },
            }
        }
        pattern[at..].iter().all(|&byte| byte == b'*')
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Glob {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.into()))
    }
}

impl From<&str> for Glob {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, want) in [
            ("*", "", true),
            ("*", "AT", true),
            ("AT", "AT", true),
            ("AT", "AT2", false),
            ("", "", true),
            ("", "A", false),
            ("A?", "AT", true),
            ("A?", "A", false),
            ("us-*-1", "us-east-1", true),
            ("us-*-1", "us-east-2", false),
            ("us-*-1", "us--1", true),
            ("*east*", "us-east-1", true),
            ("*a*b*c", "xxaxxbxxcxxc", true),
            ("*a*b*c", "xxaxxcxxb", false),
            ("**", "x", true),
        ] {
            assert_eq!(Glob::from(pattern).matches(name), want, "{pattern} on {name}");
        }
    }
}
