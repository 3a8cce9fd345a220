//! The bearer token of the admin listener (RFC 6750 section 2.1).
use super::answer::Answer;
use http::{HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

/// A token, kept as its digest: comparing digests takes the same time whatever was guessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token([u8; 32]);

impl Token {
    /// `None` when the text is not of the form a header field can carry.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let valid = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b));
        valid.then(|| Self(digest(text.as_bytes())))
    }

    /// Whether an `Authorization` field carries it.
    pub(crate) fn check(&self, field: Option<&HeaderValue>) -> Result<(), Answer> {
        let refuse =
            |why: &str, challenge: &str| Err(Answer::error(StatusCode::UNAUTHORIZED, why).with(header::WWW_AUTHENTICATE, challenge));
        let Some(field) = field else {
            return refuse("this needs the admin token: send Authorization: Bearer <token>", "Bearer realm=\"altocast admin\"");
        };
        let field = field.as_bytes();
        let given = field.iter().position(|b| *b == b' ').map(|at| (&field[..at], field[at..].trim_ascii()));
        match given {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer") && same(&digest(token), &self.0) => Ok(()),
            _ => refuse("the admin token is wrong", "Bearer realm=\"altocast admin\", error=\"invalid_token\""),
        }
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer() {
        let token = Token::new("s3cret~+/=").expect("it is a token");
        for (field, want) in [
            (Some("Bearer s3cret~+/="), true),
            (Some("bearer   s3cret~+/="), true),
            (Some("Bearer s3cret"), false),
            (Some("Basic s3cret~+/="), false),
            (Some("s3cret~+/="), false),
            (None, false),
        ] {
            let field = field.map(|text| HeaderValue::from_str(text).expect("visible"));
            assert_eq!(token.check(field.as_ref()).is_ok(), want, "{field:?}");
        }
        assert_eq!(Token::new(""), None);
        assert_eq!(Token::new("two words"), None);
    }
}
