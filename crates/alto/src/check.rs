//! Says everything that is wrong with a document, and where (`altocast check`).
//!
//! Where the readers of this crate stop at the first fault, this reads on as far as the text is JSON at all.
use std::fmt;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Legal; worth knowing.
    Note,
    /// Legal or nearly so; clients will not get what they expect.
    Warning,
    /// Against a MUST.
    Error,
}

impl Severity {
    /// `note`, `warning`, `error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer (RFC 6901) to the value at fault; empty for the whole document.
    pub pointer: String,
    /// Line and column of it, both from 1, columns in bytes.
    pub line: usize,
    /// See `line`.
    pub column: usize,
    /// Short fixed name of the rule, `duplicate-prefix`.
    pub rule: &'static str,
    /// Where the rule stands, `RFC 7285 section 11.2.2`.
    pub rfc_section: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong here, for people.
    pub message: String,
}

/// Checks a document. `companions` are documents it may refer to: the network map of a cost map, the maps of a directory.
/// Problems come in the order of the text.
pub fn check(_document: &[u8], _media_type: Option<&str>, _companions: &[&[u8]]) -> Vec<Problem> {
    todo!()
}
