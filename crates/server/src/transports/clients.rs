//! Who is kept up to date, by transport: counted, bounded, and what they were sent.
//!
//! Invariant: a [`Client`] is counted from [`Clients::join`] until it is dropped, and at the bound of its transport nobody joins.
use crate::{Limits, listen::Reply, reply};
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// A way to be kept up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Update streams, RFC 8895.
    Sse,
    /// Update streams of TIPS summaries.
    TipsStream,
    /// Long polls of TIPS edges that wait.
    Tips,
    /// Transport queues, ALTO/H2.
    Push,
    /// WebSockets.
    WebSocket,
    /// Subscriptions that are notified.
    Webhook,
}

impl Transport {
    pub(crate) const ALL: [Self; 6] = [Self::Sse, Self::TipsStream, Self::Tips, Self::Push, Self::WebSocket, Self::Webhook];

    /// In metrics and status.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sse => "sse",
            Self::TipsStream => "tips-sse",
            Self::Tips => "tips",
            Self::Push => "push",
            Self::WebSocket => "websocket",
            Self::Webhook => "webhook",
        }
    }

    /// What of it there may be too much of, and the key of the bound in the configuration.
    fn bound(self) -> (&'static str, &'static str) {
        match self {
            Self::Sse | Self::TipsStream => ("update streams are open", "updates.update-streams-max"),
            Self::Tips => ("polls wait", "updates.polls-max"),
            Self::Push => ("transport queues are open", "updates.update-streams-max"),
            Self::WebSocket => ("WebSockets are open", "updates.update-streams-max"),
            Self::Webhook => ("subscriptions are there", "subscriptions.subscriptions-max"),
        }
    }
}

/// Counters of one transport.
#[derive(Debug, Default)]
struct Tally {
    now: AtomicUsize,
    max: usize,
    refused: AtomicU64,
    updates: AtomicU64,
    bytes: AtomicU64,
}

/// All who are kept up to date.
#[derive(Debug)]
pub(crate) struct Clients {
    tallies: [Tally; Transport::ALL.len()],
}

/// Of one transport, for status and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) transport: Transport,
    pub(crate) now: usize,
    pub(crate) refused: u64,
    pub(crate) updates: u64,
    pub(crate) bytes: u64,
}

impl Clients {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        let tallies = Transport::ALL.map(|transport| {
            let max = match transport {
                Transport::Sse | Transport::TipsStream | Transport::Push | Transport::WebSocket => limits.update_streams_max,
                Transport::Tips => limits.polls_max,
                Transport::Webhook => limits.subscriptions_max,
            };
            Tally { max, ..Tally::default() }
        });
        Arc::new(Self { tallies })
    }

    /// One more; at the bound the reply is 429.
    pub(crate) fn join(self: &Arc<Self>, transport: Transport) -> Result<Client, Reply> {
        let tally = &self.tallies[transport as usize];
        let joined = tally.now.fetch_update(Relaxed, Relaxed, |now| (now < tally.max).then_some(now + 1));
        match joined {
            Ok(_) => Ok(Client { clients: self.clone(), transport }),
            Err(_) => {
                tally.refused.fetch_add(1, Relaxed);
                let (what, key) = transport.bound();
                Err(too_many(format!("{} {what}, which is the most ({key})", tally.max), 5))
            }
        }
    }

    /// Counts updates that went out, and their bytes.
    pub(crate) fn sent(&self, transport: Transport, updates: usize, bytes: usize) {
        let tally = &self.tallies[transport as usize];
        tally.updates.fetch_add(updates as u64, Relaxed);
        tally.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn counts(&self) -> impl Iterator<Item = Count> {
        Transport::ALL.into_iter().map(|transport| {
            let tally = &self.tallies[transport as usize];
            Count {
                transport,
                now: tally.now.load(Relaxed),
                refused: tally.refused.load(Relaxed),
                updates: tally.updates.load(Relaxed),
                bytes: tally.bytes.load(Relaxed),
            }
        })
    }
}

/// One of them, as long as it lives.
#[derive(Debug)]
pub(crate) struct Client {
    clients: Arc<Clients>,
    transport: Transport,
}

impl Client {
    /// Counts updates that it is sent.
    pub(crate) fn sent(&self, updates: usize, bytes: usize) {
        self.clients.sent(self.transport, updates, bytes);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.clients.tallies[self.transport as usize].now.fetch_sub(1, Relaxed);
    }
}

/// 429, and in how many seconds to try again.
pub(crate) fn too_many(why: impl Into<String>, seconds: u32) -> Reply {
    let mut reply = reply::refusal(StatusCode::TOO_MANY_REQUESTS, why);
    reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_joins_at_the_bound() {
        let clients = Clients::new(&Limits { update_streams_max: 2, ..Limits::default() });
        let first = clients.join(Transport::Sse).unwrap();
        let _second = clients.join(Transport::Sse).unwrap();
        let refused = clients.join(Transport::Sse).unwrap_err();
        assert_eq!((refused.status(), refused.headers()[RETRY_AFTER].to_str().unwrap()), (StatusCode::TOO_MANY_REQUESTS, "5"));
        assert!(std::str::from_utf8(refused.body()).unwrap().contains("(updates.update-streams-max)"));
        first.sent(1, 7);
        drop(first);
        let _third = clients.join(Transport::Sse).unwrap();
        let count = clients.counts().next().unwrap();
        assert_eq!((count.now, count.refused, count.updates, count.bytes), (2, 1, 1, 7));
    }
}
