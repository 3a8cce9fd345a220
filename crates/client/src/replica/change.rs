//! What a replica hands out: changes, and notices of how it gets them.
use super::content::{Content, PatchKind};
use crate::options::Protocol;
use alto::id::{ResourceId, Tag};
use bytes::Bytes;
use std::{fmt, str::FromStr, sync::Arc, time::Duration};

/// How updates come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// WebSocket.
    WebSocket,
    /// Long polls of an updates graph (TIPS).
    Tips,
    /// Server-sent events (RFC 8895).
    Sse,
    /// Pushed over HTTP/2 (ALTO/H2).
    Push,
    /// Notifications of subscriptions (draft-alto-caching-subscription): the server calls back.
    Webhook,
}

impl Via {
    /// All, the best first.
    ///
    /// A WebSocket says number and tag of every version, so nothing can go wrong unseen, it delivers without a request, and costs an idle
    /// client nothing. TIPS has numbers too and passes every proxy, for a request an update. An update stream delivers as fast and keeps the
    /// order of what depends on each other, but has no numbers. Pushes need HTTP/2 all the way, which few proxies do and no browser does.
    /// Notifications must reach the client from outside: only who asks for them gets them.
    pub const ALL: [Self; 5] = [Self::WebSocket, Self::Tips, Self::Sse, Self::Push, Self::Webhook];

    /// Those to choose among without a wish, in the same order.
    pub fn auto(protocol: Protocol) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |via| *via != Self::Webhook && via.goes_over(protocol))
    }

    /// Whether it goes over a version of HTTP. Nobody pushes over HTTP/3, and WebSockets over it are left to HTTP/1.1. Notifications come over
    /// HTTP/1.1, however they were subscribed to.
    pub fn goes_over(self, protocol: Protocol) -> bool {
        protocol != Protocol::Http3 || matches!(self, Self::Tips | Self::Sse | Self::Webhook)
    }

    /// As it is written on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "ws",
            Self::Tips => "tips",
            Self::Sse => "sse",
            Self::Push => "h2",
            Self::Webhook => "webhook",
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Via {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|via| via.as_str() == text).ok_or_else(|| format!("{text:?} is no transport"))
    }
}

/// A new version of a followed resource.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which resource.
    pub resource: ResourceId,
    /// The request body, for a resource that answers requests.
    pub input: Option<Bytes>,
    /// Its number; not every transport says it.
    pub seq: Option<u64>,
    /// Its tag; not every resource has one.
    pub tag: Option<Tag>,
    /// Of the document.
    pub media_type: Box<str>,
    /// The document, shared with the replica and every later change that it did not touch.
    pub content: Arc<Content>,
    /// What came.
    pub what: What,
}

/// A copy as it is now.
#[derive(Debug, Clone)]
pub struct Copy {
    /// The document.
    pub content: Arc<Content>,
    /// Its number, where the transport says it.
    pub seq: Option<u64>,
    /// Its tag, where it has one.
    pub tag: Option<Tag>,
    /// Whether it fits the network map that is here; if not, it MUST NOT be used (RFC 8895 section 9.2).
    pub consistent: bool,
}

/// What a change came as.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A full copy.
    Full,
    /// A patch of the version before.
    Patch {
        /// Its language.
        kind: PatchKind,
        /// Its text.
        body: Bytes,
    },
}

impl Change {
    /// About what it takes in memory if nobody else holds the document.
    pub(super) fn bytes(&self) -> usize {
        self.content.bytes() + if let What::Patch { body, .. } = &self.what { body.len() } else { 0 }
    }

    /// The same version for one who did not see the one before.
    pub(super) fn into_full(self) -> Self {
        Self { what: What::Full, ..self }
    }
}

/// What happens to the connection, for people and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Updates will come.
    Following {
        /// How.
        via: Via,
    },
    /// They stopped; the copies stay as they are.
    Lost {
        /// Why.
        why: String,
        /// When the next attempt will be.
        retry_in: Duration,
    },
    /// Those of one resource stopped; the others go on.
    Stopped {
        /// Of what.
        resource: ResourceId,
        /// In the server's words.
        why: String,
        /// When it will be asked for again.
        retry_in: Duration,
    },
    /// Another transport is tried.
    Switching {
        /// The one that did not work.
        from: Via,
        /// The next one.
        to: Via,
        /// Why.
        why: String,
    },
    /// Something did not fit: a full copy is asked for.
    Resynchronising {
        /// Of what.
        resource: ResourceId,
        /// Why.
        why: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Following { via } => write!(f, "following over {via}"),
            Self::Lost { why, retry_in } => write!(f, "{why}; trying again in {:.1} s", retry_in.as_secs_f64()),
            Self::Stopped { resource, why, retry_in } => {
                write!(f, "the server stopped {resource}: {why}; asking again in {:.1} s", retry_in.as_secs_f64())
            }
            Self::Switching { from, to, why } => write!(f, "{from} does not work ({why}); trying {to}"),
            Self::Resynchronising { resource, why } => write!(f, "{resource} does not fit ({why}); getting a full copy"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server must be asked to call back: nobody opens a port without being told to.
    #[test]
    fn only_who_asks_is_called_back() {
        for protocol in [Protocol::Auto, Protocol::Http1, Protocol::Http2, Protocol::Http3] {
            assert!(Via::auto(protocol).count() >= 2 && Via::auto(protocol).all(|via| via != Via::Webhook), "{protocol:?}");
            assert!(Via::Webhook.goes_over(protocol));
        }
        assert!(Via::ALL.into_iter().all(|via| via.as_str().parse() == Ok(via)));
    }
}
