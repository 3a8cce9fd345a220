//! The admin listener: publishing, history, status, metrics, health. Plain JSON over HTTP/1.1; paths are ours, not the IETF's.
//!
//! One whole request in, one whole answer out: admin bodies are bounded and buffered, so nothing here knows of sockets. What a
//! document does wrong is answered with the ALTO error (RFC 7285 section 8.5) and one sentence for people beside it.
mod answer;
mod commit;
mod listener;
mod metrics;
mod resources;
pub(crate) mod status;
mod token;

pub(crate) use metrics::{Connected, Label, Metrics, Protocol};
pub(crate) use token::Token;

use crate::{
    SourceReport,
    access::Settings,
    listen::{budget::Budget, tls::Certificates},
    transports::Transports,
};
use answer::Answer;
use bytes::Bytes;
use history::Publisher;
use http::{Method, Request, Response, StatusCode, header};
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

/// What the admin listener tells of and changes.
pub(crate) struct Admin {
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) sources: Arc<dyn SourceReport>,
    pub(crate) metrics: Arc<Metrics>,
    /// What is held for public clients.
    pub(crate) budget: Arc<Budget>,
    /// Who is kept up to date.
    pub(crate) transports: Arc<Transports>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) certificates: Option<Arc<Certificates>>,
    pub(crate) documents: alto::Limits,
    pub(crate) started: Instant,
    /// Name and address of each listener.
    pub(crate) listeners: Vec<(&'static str, SocketAddr)>,
    /// Whether the last commit could not be kept, and the log says so.
    pub(crate) unwritable: AtomicBool,
}

/// Why the path was not served, decided before anything is done.
enum Route<'a> {
    Health,
    Ready,
    Metrics,
    Status,
    Explain,
    Guard,
    Confirm,
    Resources,
    Commits,
    Resource(&'a str),
    History(&'a str),
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        Some(match path {
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/v1/status" => Self::Status,
            "/v1/explain" => Self::Explain,
            "/v1/guard" => Self::Guard,
            "/v1/guard/confirm" => Self::Confirm,
            "/v1/resources" => Self::Resources,
            "/v1/commits" => Self::Commits,
            _ => {
                let rest = path.strip_prefix("/v1/resources/")?;
                match rest.split_once('/') {
                    None => Self::Resource(rest),
                    Some((id, "history")) => Self::History(id),
                    Some(_) => return None,
                }
            }
        })
    }

    fn allow(&self) -> &'static str {
        match self {
            Self::Health
            | Self::Ready
            | Self::Metrics
            | Self::Status
            | Self::Explain
            | Self::Guard
            | Self::Resources
            | Self::History(_) => "GET, HEAD",
            Self::Confirm | Self::Commits => "POST",
            Self::Resource(_) => "PUT, PATCH, DELETE",
        }
    }
}

impl Admin {
    /// Answers one request. May take as long as a commit does: not to be called on a thread that serves readers.
    pub(crate) fn answer(&self, token: Option<&Token>, request: &Request<Bytes>) -> Response<Bytes> {
        let head = request.method() == Method::HEAD;
        let answer = self.route(token, request).unwrap_or_else(|refusal| refusal);
        answer.into_response(head)
    }

    fn route(&self, token: Option<&Token>, request: &Request<Bytes>) -> Result<Answer, Answer> {
        let path = request.uri().path();
        if let Some(token) = token {
            token.check(request.headers().get(header::AUTHORIZATION))?;
        }
        let route = Route::of(path).ok_or_else(|| Answer::error(StatusCode::NOT_FOUND, format!("there is nothing at {path}")))?;
        let allow = route.allow();
        let method = request.method();
        if method == Method::OPTIONS {
            return Ok(Answer::empty(StatusCode::NO_CONTENT).with(header::ALLOW, allow));
        }
        if !allow.split(", ").any(|allowed| allowed == method.as_str()) {
            let why = format!("{method} is not possible at {path}; possible: {allow}");
            return Err(Answer::error(StatusCode::METHOD_NOT_ALLOWED, why).with(header::ALLOW, allow));
        }
        let query = Query(request.uri().query().unwrap_or(""));
        match route {
            Route::Health => Ok(Answer::text(StatusCode::OK, "text/plain; charset=utf-8", "ok\n".into())),
            Route::Ready => Ok(self.readiness()),
            Route::Metrics => Ok(self.exposition()),
            Route::Status => Ok(self.status()),
            Route::Explain => self.explain(&query),
            Route::Guard => Ok(self.guard()),
            Route::Confirm => self.confirm(),
            Route::Resources => Ok(self.list()),
            Route::Commits => self.commits(&query, request),
            Route::Resource(id) => self.change(id, &query, request),
            Route::History(id) => self.history(id),
        }
    }
}

/// The query component of a URI: `name=value&...`, percent-encoded.
struct Query<'a>(&'a str);

impl Query<'_> {
    fn get(&self, name: &str) -> Option<String> {
        self.0.split('&').find_map(|pair| {
            let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = value.replace('+', " ");
            (found == name).then(|| percent_encoding::percent_decode_str(&value).decode_utf8_lossy().into_owned())
        })
    }

    /// Whether the change may pass the guard.
    fn confirmed(&self) -> bool {
        matches!(self.get("confirm").as_deref(), Some("true" | "1" | ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values() {
        let query = Query("src=ipv4%3A192.0.2.1&metric=delay-ow&confirm=true&empty");
        for (name, want) in
            [("src", Some("ipv4:192.0.2.1")), ("metric", Some("delay-ow")), ("empty", Some("")), ("confirm", Some("true")), ("x", None)]
        {
            assert_eq!(query.get(name).as_deref(), want, "{name}");
        }
        assert!(query.confirmed());
        assert!(!Query("").confirmed());
        assert!(!Query("confirm=false").confirmed());
    }

    #[test]
    fn paths() {
        for (path, allow) in [
            ("/v1/resources/a", Some("PUT, PATCH, DELETE")),
            ("/v1/resources/a/history", Some("GET, HEAD")),
            ("/v1/resources/a/b", None),
            ("/v1/commits", Some("POST")),
            ("/v1", None),
        ] {
            assert_eq!(Route::of(path).map(|route| route.allow()), allow, "{path}");
        }
    }
}
