//! Why a client did not get what it asked for: one variant per thing a caller does about it.
use alto::error::{Code, ErrorBody};
use http::{Method, StatusCode};
use std::{fmt, io, path::PathBuf, time::Duration};

/// See the variants.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's URL is none that can be used.
    #[error("{text:?} is not a usable URL: {why}")]
    Url {
        /// As given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The caller's token cannot be sent (RFC 6750 section 2.1).
    #[error("the token has characters that a header cannot carry, such as a line break")]
    Token,
    /// The certificates to trust cannot be read.
    #[error("certificates of {}: {why}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No connection. `source` says whether it was refused, unreachable or not resolved.
    #[error("cannot connect to {origin}: {source}")]
    Connect {
        /// `host:port`.
        origin: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A connection, but no TLS session: certificate not trusted, wrong name, not a TLS server.
    #[error("TLS with {origin}: {source}")]
    Tls {
        /// `host:port`.
        origin: String,
        /// What rustls said.
        source: io::Error,
    },
    /// The server owed bytes and stayed silent.
    #[error("{uri}: {} for {} s", if *begun { "nothing more of the answer" } else { "no answer" }, after.as_secs_f64())]
    Timeout {
        /// What was asked.
        uri: String,
        /// How long the silence was.
        after: Duration,
        /// Whether it came in the middle of an answer.
        begun: bool,
    },
    /// The connection broke while talking.
    #[error("{uri}: connection broke: {}", chain(&**source))]
    Broken {
        /// What was asked.
        uri: String,
        /// What the connection saw.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An HTTP status other than success, without an ALTO error body.
    #[error("{method} {uri}: {status}{}", excerpt_of(body))]
    Status {
        /// The method used.
        method: Method,
        /// What was asked.
        uri: String,
        /// The status.
        status: StatusCode,
        /// Start of the body when it is text.
        body: String,
        /// When the server wants to be asked again (RFC 9110 section 10.2.3).
        retry_after: Option<Duration>,
    },
    /// The server refused in ALTO's words (RFC 7285 section 8.5).
    #[error("{uri}: {status}{}", beside(*status, error, said.as_deref()))]
    Refused {
        /// What was asked.
        uri: String,
        /// The HTTP status beside it.
        status: StatusCode,
        /// The error body.
        error: Box<ErrorBody>,
        /// The sentence an altocast admin listener puts beside it.
        said: Option<String>,
        /// When the server wants to be asked again (RFC 9110 section 10.2.3).
        retry_after: Option<Duration>,
    },
    /// An answer that is not what the protocol promises.
    #[error("bad answer from {uri}: {why}")]
    BadAnswer {
        /// What was asked.
        uri: String,
        /// What is wrong and where.
        why: String,
    },
    /// The directory offers nothing that could answer.
    #[error("{what}{}", offered_of(offered))]
    NotOffered {
        /// What was sought.
        what: String,
        /// What there is instead.
        offered: Vec<String>,
    },
    /// More than a bound of [`crate::Limits`] allows.
    #[error("{uri}: {what} is more than {max} ({name})")]
    Limit {
        /// What was asked.
        uri: String,
        /// What grew too large.
        what: &'static str,
        /// The bound.
        max: usize,
        /// Its name in [`crate::Limits`].
        name: &'static str,
    },
}

impl Error {
    /// A bad answer at `uri`.
    pub(crate) fn bad(uri: &impl fmt::Display, why: impl Into<String>) -> Self {
        Self::BadAnswer { uri: uri.to_string(), why: why.into() }
    }

    /// An answer that `alto` could not parse.
    pub(crate) fn unparsable(uri: &impl fmt::Display, error: &ErrorBody) -> Self {
        Self::bad(uri, Words(error).to_string())
    }

    /// Whether the server may be as it was and only cannot be asked. A certificate that is not trusted is no such thing.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Timeout { .. } | Self::Broken { .. })
    }

    /// When the server wants to be asked again, if it said so.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } | Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether nobody listens at the address: the one failure a newcomer meets first.
    pub fn is_refused_connection(&self) -> bool {
        matches!(self, Self::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused)
    }
}

/// An error body in one line for people.
pub struct Words<'a>(pub &'a ErrorBody);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.0.code;
        f.write_str(match code {
            Code::Syntax => "syntax error",
            Code::MissingField => "missing field",
            Code::InvalidFieldType => "field of a wrong type",
            Code::InvalidFieldValue => "invalid field value",
        })?;
        write!(f, "{}", Details(self.0))?;
        write!(f, " ({})", code.as_str())
    }
}

/// Where it is and what.
struct Details<'a>(&'a ErrorBody);

impl fmt::Display for Details<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ErrorBody { syntax_error, field, value, .. } = self.0;
        if let Some(field) = field {
            write!(f, " {field:?}")?;
        }
        if let Some(value) = value {
            write!(f, ": {}", excerpt(value))?;
        }
        if let Some(at) = syntax_error {
            write!(f, ": {}", excerpt(at))?;
        }
        Ok(())
    }
}

/// What an error body adds to its status. RFC 7285 has codes for what is wrong in a request; beside a status that says something else
/// `E_SYNTAX` only means that there was none for it.
fn beside(status: StatusCode, error: &ErrorBody, said: Option<&str>) -> String {
    let says_itself = (status.is_client_error() || status.is_server_error()) && status != StatusCode::BAD_REQUEST;
    let words = match said {
        Some(said) => said.to_owned(),
        None if says_itself && error.code == Code::Syntax => Details(error).to_string().trim_start_matches([':', ' ']).to_owned(),
        None => Words(error).to_string(),
    };
    if words.is_empty() { words } else { format!(": {words}") }
}

/// The first line of a text, short enough for a message.
pub(crate) fn excerpt(text: &str) -> String {
    // What comes from elsewhere must not drive a terminal.
    let line: String = text.trim().lines().next().unwrap_or_default().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

fn excerpt_of(body: &str) -> String {
    let text = excerpt(body);
    // A page of HTML says less than the status before it.
    if text.is_empty() || text.starts_with('<') { String::new() } else { format!(": {text}") }
}

fn offered_of(offered: &[String]) -> String {
    if offered.is_empty() { String::new() } else { format!("; offered: {}", offered.join(", ")) }
}

/// hyper keeps the reason in its sources.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = source.source();
    }
    text
}
