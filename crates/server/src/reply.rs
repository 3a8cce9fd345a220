//! What is said when something cannot be done: status and ALTO error body (RFC 7285 section 8.5).
//!
//! RFC 7285 has four codes, all for what is wrong in a request. For the rest (no such resource, wrong method) HTTP's status
//! carries the meaning and the body says E_SYNTAX, "parsing error in request (including identifiers)", with a sentence.
use crate::listen::{Refusal, Reply};
use alto::{ErrorBody, media_type};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS},
};

/// A reply with a body and its type.
pub(crate) fn with_body(status: StatusCode, media_type: HeaderValue, body: impl Into<Bytes>) -> Reply {
    let body = body.into();
    let mut reply = Reply::new(Bytes::new());
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, media_type);
    headers.insert(CONTENT_LENGTH, body.len().into());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    *reply.body_mut() = body;
    reply
}

/// A reply without body.
pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = Reply::new(Bytes::new());
    *reply.status_mut() = status;
    reply
}

/// An ALTO error. Not to be kept: the next request may be right.
pub(crate) fn error(status: StatusCode, body: &ErrorBody) -> Reply {
    let mut reply = with_body(status, HeaderValue::from_static(media_type::ERROR), body.to_json());
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// An error that HTTP's status says already; `why` is for people.
pub(crate) fn refusal(status: StatusCode, why: impl Into<String>) -> Reply {
    error(status, &ErrorBody::syntax(why))
}

/// 404.
pub(crate) fn not_found(what: &str) -> Reply {
    refusal(StatusCode::NOT_FOUND, format!("there is nothing at {what}; GET /directory says what there is"))
}

/// 405, with what is allowed.
pub(crate) fn not_allowed(method: &Method, allow: &'static str) -> Reply {
    let mut reply = refusal(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not allowed here; {allow} are"));
    reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    reply
}

/// 503: the bound on what is computed or held for clients is reached.
pub(crate) fn busy() -> Reply {
    let mut reply = refusal(StatusCode::SERVICE_UNAVAILABLE, "too many requests are being read, computed or sent; try again");
    reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    reply
}

/// 503: the server was told to stop; another may be there soon.
pub(crate) fn stopping() -> Reply {
    let mut reply = refusal(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping; try again");
    reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    reply
}

/// A body that was not read.
pub(crate) fn unread(refused: Refusal) -> Reply {
    match refused {
        Refusal::TooLarge { bytes_max } => {
            refusal(StatusCode::PAYLOAD_TOO_LARGE, format!("the request body is larger than {bytes_max} bytes (server.query-bytes-max)"))
        }
        Refusal::TooSlow { time_max } => {
            let seconds = time_max.as_secs_f64();
            let why = format!("the request body did not arrive within {seconds} s (server.body-time-max-seconds)");
            refusal(StatusCode::REQUEST_TIMEOUT, why)
        }
        Refusal::NoRoom => busy(),
        Refusal::Malformed => refusal(StatusCode::BAD_REQUEST, "the request body cannot be read"),
    }
}

/// Lets scripts of any web page read the answer (Fetch standard, "CORS protocol"): what is public to clients is public to
/// browsers, and no request carries credentials.
pub(crate) fn allow_origins(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(EXPOSE_HEADERS, HeaderValue::from_static("etag"));
}

const EXPOSE_HEADERS: HeaderName = http::header::ACCESS_CONTROL_EXPOSE_HEADERS;
