//! What can be wrong with a source: which file, where in it, what, and what to do about it.
use std::fmt;

/// Why a source could not be read. Its last good data stays in place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The content is not what its kind says. Correct the file, or the source's options.
    #[error("{file}: {fault}")]
    Malformed {
        /// The file.
        file: String,
        /// Where and what.
        fault: Fault,
    },
    /// More than a bound of [`super::Limits`] allows. Raise the bound if the file is right.
    #[error("{file}: more than {max} {what}; raise the source's limit `{limit}` if the file is right")]
    TooMuch {
        /// The file.
        file: String,
        /// What there is too much of.
        what: &'static str,
        /// The bound's name.
        limit: &'static str,
        /// Its value.
        max: usize,
    },
    /// No file to read: the path or pattern names nothing.
    #[error("{pattern}: no such file; correct the source's `files`, or put the file there")]
    Missing {
        /// The path or pattern.
        pattern: String,
    },
    /// The operating system refused.
    #[error("{file}: {why}")]
    Unreadable {
        /// The file.
        file: String,
        /// The system's words.
        why: String,
    },
}

/// What is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What is wrong there.
    pub what: String,
    /// What to do about it.
    pub advice: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Whole => write!(f, "{}; {}", self.what, self.advice),
            place => write!(f, "{place}: {}; {}", self.what, self.advice),
        }
    }
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole.
    Whole,
    /// A line, from 1.
    Line(u64),
    /// A JSON pointer (RFC 6901).
    Pointer(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("file"),
            Self::Line(line) => write!(f, "line {line}"),
            Self::Pointer(pointer) if pointer.is_empty() => f.write_str("top level"),
            Self::Pointer(pointer) => f.write_str(pointer),
        }
    }
}

/// A parser's complaint; [`super::read`] adds the file.
#[derive(Debug)]
pub(super) enum Refusal {
    Malformed(Fault),
    TooMuch { what: &'static str, limit: &'static str, max: usize },
}

impl Refusal {
    pub(super) fn new(place: Place, what: impl Into<String>, advice: &'static str) -> Self {
        Self::Malformed(Fault { place, what: what.into(), advice })
    }

    pub(super) fn line(line: u64, what: impl Into<String>, advice: &'static str) -> Self {
        Self::new(Place::Line(line), what, advice)
    }

    pub(super) fn whole(what: impl Into<String>, advice: &'static str) -> Self {
        Self::new(Place::Whole, what, advice)
    }

    pub(super) fn in_file(self, file: &str) -> Error {
        match self {
            Self::Malformed(fault) => Error::Malformed { file: file.into(), fault },
            Self::TooMuch { what, limit, max } => Error::TooMuch { file: file.into(), what, limit, max },
        }
    }
}

/// `Err` when `count` is over the bound.
pub(super) fn within(count: usize, max: usize, what: &'static str, limit: &'static str) -> Result<(), Refusal> {
    if count > max { Err(Refusal::TooMuch { what, limit, max }) } else { Ok(()) }
}
