//! An answer of the admin listener: JSON, or text for Prometheus and for health checks.
use alto::ErrorBody;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

/// Whole, ready to be sent.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    content_type: &'static str,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Answer {
    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        let mut body = serde_json::to_vec(body).expect("a JSON value is written to memory");
        body.push(b'\n');
        Self { status, content_type: "application/json", headers: Vec::new(), body: body.into() }
    }

    pub(crate) fn text(status: StatusCode, content_type: &'static str, body: String) -> Self {
        Self { status, content_type, headers: Vec::new(), body: body.into() }
    }

    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, content_type: "", headers: Vec::new(), body: Bytes::new() }
    }

    /// One sentence that says what to do.
    pub(crate) fn error(status: StatusCode, why: impl Into<String>) -> Self {
        Self::json(status, &json!({ "error": why.into() }))
    }

    /// What is wrong with a document, for people (`error`) and for programs (the ALTO error, RFC 7285 section 8.5.1).
    pub(crate) fn refused(status: StatusCode, why: impl Into<String>, body: &ErrorBody) -> Self {
        let mut value: Value = serde_json::from_slice(&body.to_json()).expect("an error body is JSON");
        value["error"] = why.into().into();
        Self { content_type: alto::media_type::ERROR, ..Self::json(status, &value) }
    }

    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("admin answers have visible characters in their header fields");
        self.headers.push((name, value));
        self
    }

    pub(crate) fn code(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn into_response(self, head: bool) -> Response<Bytes> {
        let length = self.body.len();
        let mut response = Response::new(if head { Bytes::new() } else { self.body });
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if !self.content_type.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        }
        if self.status != StatusCode::NO_CONTENT {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}
