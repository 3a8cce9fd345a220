//! GET through the cache (RFC 9111 section 4).
//!
//! Invariant: an answer is `Fresh` only when its validity says so at the moment it is given out; one that is stale is given out only to who
//! asked for that ([`Options::stale_if_unreachable`](crate::Options::stale_if_unreachable)), and says so.
use super::{Answer, Client, Freshness, Parse, accept};
use crate::{
    cache::{Flight, Kept, Key, Validity},
    clock::Moment,
    error::Error,
    http::{Ask, Reply},
    uri::Uri,
};
use bytes::Bytes;
use http::{Method, StatusCode};
use std::sync::Arc;
use tokio::sync::MutexGuard;

/// What the caller can do with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demand {
    /// What the server said may be used.
    Fresh,
    /// What the server says now.
    Confirmed,
}

/// What came of asking for something of which a copy may be kept.
pub(super) enum Asked {
    /// The kept copy is right; what is said of its use now.
    Unchanged(Validity),
    /// Another answer, which may be a refusal.
    New(Reply, Validity),
    /// None; the error says why.
    Unreachable(Error),
}

impl Client {
    /// What this client is content with.
    pub(crate) fn demand(&self) -> Demand {
        if self.options.confirm { Demand::Confirmed } else { Demand::Fresh }
    }

    pub(super) async fn get_as<T: Send + Sync + 'static>(
        &self,
        uri: &Uri,
        wanted: &'static str,
        parse: Parse<T>,
    ) -> Result<Answer<T>, Error> {
        self.get_for(self.demand(), uri, wanted, parse).await
    }

    pub(super) async fn get_for<T: Send + Sync + 'static>(
        &self,
        demand: Demand,
        uri: &Uri,
        wanted: &'static str,
        parse: Parse<T>,
    ) -> Result<Answer<T>, Error> {
        let key = Key::get(uri, wanted);
        let fresh_until = |kept: &Kept<T>| kept.validity.fresh_until(self.now()).filter(|_| demand == Demand::Fresh);
        let find = || {
            let read = |body: &Bytes| Some((parse(body, &self.options.limits.documents).ok()?, 0));
            self.cache.find(&key, |kept| fresh_until(kept).is_some(), read)
        };
        let fresh = |kept: &Option<Kept<T>>| {
            let kept = kept.as_ref()?;
            fresh_until(kept).map(|until| answer(kept, Freshness::Fresh { until }, false))
        };
        let mut kept = find().await;
        if let Some(answer) = fresh(&kept) {
            return Ok(answer);
        }
        // Where the server lets nothing be used twice, nobody gains by waiting for the answer of another.
        let may_share = |kept: &Option<Kept<T>>| demand == Demand::Fresh && kept.as_ref().is_none_or(|kept| kept.validity.promises());
        let flight = self.cache.flight(&key);
        let mut turn = None;
        if may_share(&kept) {
            let (held, waited) = turn_of(&flight).await;
            if waited {
                kept = find().await;
                if let Some(answer) = fresh(&kept) {
                    return Ok(answer);
                }
            }
            turn = Some(held).filter(|failed| !**failed && may_share(&kept));
        }
        let answer = self.get_now(key.clone(), uri, kept, parse).await;
        if let Some(mut turn) = turn {
            *turn = answer.is_err();
        }
        answer
    }

    /// Asks the server, with the validator of what is kept.
    async fn get_now<T: Send + Sync + 'static>(
        &self,
        key: Key,
        uri: &Uri,
        kept: Option<Kept<T>>,
        parse: Parse<T>,
    ) -> Result<Answer<T>, Error> {
        match self.ask_again(uri, key.media_type, kept.as_ref().map(|kept| &kept.validity)).await? {
            Asked::Unchanged(validity) => {
                let Some(kept) = kept else { return Err(unasked(uri)) };
                let kept = Kept { validity, ..kept };
                self.cache.confirm(key, &kept).await;
                Ok(answer(&kept, self.freshness(&kept.validity), true))
            }
            Asked::New(reply, validity) => {
                let value = Arc::new(self.read(&Method::GET, &reply, key.media_type, parse)?);
                let kept = Kept { uri: reply.uri, validity, body: reply.body, beside: 0, value };
                self.cache.put(key, &kept, kept.validity.is_worth_keeping()).await;
                Ok(answer(&kept, self.freshness(&kept.validity), false))
            }
            Asked::Unreachable(error) => {
                let Some(kept) = kept else { return Err(error) };
                match kept.validity.usable_stale_since(self.now()).filter(|since| self.may_be_used_since(*since)) {
                    Some(since) => Ok(answer(&kept, Freshness::Stale { since }, false)),
                    None => Err(error),
                }
            }
        }
    }

    /// One GET with the validator of a kept copy. Errors: what a stale copy is no remedy for.
    pub(super) async fn ask_again(&self, uri: &Uri, wanted: &'static str, kept: Option<&Validity>) -> Result<Asked, Error> {
        let mut validator = kept.and_then(Validity::validator);
        loop {
            let mut headers = accept(wanted);
            let conditional = validator.is_some();
            headers.extend(validator.take());
            let asked = self.now();
            let ask = Ask { method: Method::GET, uri: uri.clone(), headers, body: Bytes::new() };
            let reply = match self.transport.exchange(ask).await {
                Ok(reply) if is_outage(reply.status) && kept.is_some() => {
                    return Ok(Asked::Unreachable(self.refused(&Method::GET, &reply)?));
                }
                Ok(reply) => reply,
                Err(error) if error.is_unreachable() => return Ok(Asked::Unreachable(error)),
                Err(error) => return Err(error),
            };
            let received = self.now();
            if reply.status != StatusCode::NOT_MODIFIED {
                let mut validity = Validity::of(&reply.headers, asked, received);
                // How long the redirect holds is not said by what it led to.
                validity.distrusted = reply.uri != *uri;
                return Ok(Asked::New(reply, validity));
            }
            let Some(kept) = kept.filter(|_| conditional) else { return Err(unasked(uri)) };
            if kept.is_meant_by(&reply.headers) {
                let mut validity = kept.freshened(&reply.headers, asked, received);
                validity.distrusted = reply.uri != *uri;
                return Ok(Asked::Unchanged(validity));
            }
            // It speaks of another answer than the one kept here: ask for that.
        }
    }

    /// What can be said of an answer that the server gave or confirmed just now.
    fn freshness(&self, validity: &Validity) -> Freshness {
        match validity.fresh_until(self.now()) {
            Some(until) => Freshness::Fresh { until },
            None => Freshness::Confirmed,
        }
    }

    /// Whether something that is stale since then may stand in for a server that cannot be reached.
    pub(super) fn may_be_used_since(&self, since: std::time::SystemTime) -> bool {
        let over = self.now().wall.duration_since(since).unwrap_or_default();
        self.options.stale_if_unreachable.is_some_and(|longest| over <= longest)
    }

    pub(super) fn now(&self) -> Moment {
        self.options.clock.now()
    }

    /// The error that a status other than success is.
    pub(super) fn refused(&self, method: &Method, reply: &Reply) -> Result<Error, Error> {
        Ok(super::refusal(reply, &self.options.limits.documents)?.unwrap_or_else(|| super::status(method, reply)))
    }
}

/// The turn to refresh, and whether another had it before.
pub(super) async fn turn_of(flight: &Flight) -> (MutexGuard<'_, bool>, bool) {
    match flight.try_lock() {
        Ok(turn) => (turn, false),
        Err(_) => (flight.lock().await, true),
    }
}

fn answer<T>(kept: &Kept<T>, freshness: Freshness, revalidated: bool) -> Answer<T> {
    let (uri, etag) = (kept.uri.clone(), kept.validity.etag());
    Answer { uri, etag, body: kept.body.clone(), value: kept.value.clone(), revalidated, freshness }
}

/// A server that is there and cannot answer now: the statuses of RFC 5861 section 4.
pub(super) fn is_outage(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

pub(super) fn unasked(uri: &Uri) -> Error {
    Error::bad(uri, "304 Not Modified to a request without If-None-Match")
}
