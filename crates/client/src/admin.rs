//! The admin listener of an altocast server: publishing resources, and why a cost is what it is.
//!
//! This is no protocol of the IETF: paths and bodies are those of altocast's own interface.
use crate::{
    client::{refusal, status},
    error::{Error, excerpt},
    explanation::Explanation,
    http::{Ask, Reply, Transport},
    options::Options,
    uri::Uri,
};
use alto::{cost::Metric, endpoint::Address, id::ResourceId};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Speaks to one admin listener, `options.server`, with `options.token`.
#[derive(Debug)]
pub struct Admin {
    base: Uri,
    options: Arc<Options>,
    transport: Transport,
}

/// A version that is durable and visible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Published {
    /// Which resource.
    pub resource_id: String,
    /// Which version.
    pub seq: u64,
    /// Of which content.
    pub tag: String,
    /// What followed in the same commit: cost maps, when their network map changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_changed: Vec<Published>,
    /// What the server took and finds worth telling: addresses in no PID, PIDs without prefixes. One sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The languages of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patch {
    /// RFC 7396.
    Merge,
    /// RFC 6902.
    Json,
}

/// Whether a change may pass the change guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// Only if the guard lets it: [`Error::Status`] 409 says that it does not.
    None,
    /// Whatever moves.
    Given,
}

impl Admin {
    /// Sends nothing. Errors: `Url`.
    pub fn new(options: Options) -> Result<Self, Error> {
        let base = Uri::parse(&options.server)?;
        let options = Arc::new(options);
        Ok(Self { base, transport: Transport::new(options.clone()), options })
    }

    /// A new version from a whole document.
    pub async fn put(&self, id: &ResourceId, media_type: &str, document: Vec<u8>, confirmation: Confirmation) -> Result<Published, Error> {
        let path = path_of(id, confirmation);
        self.published(self.send(Method::PUT, &path, Some(media_type), document).await?)
    }

    /// A new version from a change.
    pub async fn patch(&self, id: &ResourceId, patch: Patch, change: Vec<u8>, confirmation: Confirmation) -> Result<Published, Error> {
        let media_type = match patch {
            Patch::Merge => "application/merge-patch+json",
            Patch::Json => "application/json-patch+json",
        };
        self.published(self.send(Method::PATCH, &path_of(id, confirmation), Some(media_type), change).await?)
    }

    /// Withdraws a resource.
    pub async fn delete(&self, id: &ResourceId, confirmation: Confirmation) -> Result<(), Error> {
        self.send(Method::DELETE, &path_of(id, confirmation), None, Vec::new()).await.map(drop)
    }

    /// Why a cost is what it is.
    pub async fn explain(&self, source: &Address, destination: &Address, metric: &Metric) -> Result<Explanation, Error> {
        let path = format!("/v1/explain?src={}&dst={}&metric={metric}", escaped(&source.to_string()), escaped(&destination.to_string()));
        let reply = self.send(Method::GET, &path, None, Vec::new()).await?;
        serde_json::from_slice(&reply.body).map_err(|error| Error::bad(&reply.uri, format!("it is no explanation: {error}")))
    }

    async fn send(&self, method: Method, path: &str, content_type: Option<&str>, body: Vec<u8>) -> Result<Reply, Error> {
        let uri = self.base.resolve(path)?;
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, */*;q=0.1"));
        if let Some(content_type) = content_type {
            let unusable = |_| Error::Url { text: content_type.to_owned(), why: "it is no media type" };
            let value = HeaderValue::from_str(content_type).map_err(unusable)?;
            headers.insert(header::CONTENT_TYPE, value);
        }
        if let Some(token) = &self.options.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| Error::Token)?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let reply = self.transport.exchange(Ask { method: method.clone(), uri, headers, body: body.into() }).await?;
        if reply.status.is_success() {
            return Ok(reply);
        }
        let sentence = sentence(&reply);
        let mut error = refusal(&reply, &self.options.limits.documents)?.unwrap_or_else(|| status(&method, &reply));
        match (&mut error, sentence) {
            (Error::Refused { said, .. }, sentence) => *said = sentence,
            (Error::Status { body, .. }, Some(sentence)) => *body = sentence,
            _ => {}
        }
        Err(error)
    }

    fn published(&self, reply: Reply) -> Result<Published, Error> {
        if !matches!(reply.status, StatusCode::OK | StatusCode::CREATED) {
            return Err(Error::bad(&reply.uri, format!("status {} where a new version was expected", reply.status)));
        }
        serde_json::from_slice(&reply.body)
            .map_err(|error| Error::bad(&reply.uri, format!("no resource-id, seq and tag in the answer: {error}")))
    }
}

fn path_of(id: &ResourceId, confirmation: Confirmation) -> String {
    let query = if confirmation == Confirmation::Given { "?confirm=true" } else { "" };
    format!("/v1/resources/{id}{query}")
}

/// Percent-encodes what may not stand in a query value (RFC 3986 section 3.4): a private address can have any visible character.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The sentence in a JSON error.
fn sentence(reply: &Reply) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        error: String,
    }
    serde_json::from_slice::<Body>(&reply.body).ok().map(|body| excerpt(&body.error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values() {
        for (text, want) in
            [("ipv4:192.0.2.1", "ipv4:192.0.2.1"), ("ipv6:2001:db8::1", "ipv6:2001:db8::1"), ("priv:a&b=c d", "priv:a%26b%3Dc%20d")]
        {
            assert_eq!(escaped(text), want);
        }
    }
}
