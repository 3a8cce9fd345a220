//! Network maps that say until when they are valid (draft-alto-caching-subscription section 7.2): GET and POST through the cache.
//!
//! What is in the body counts, not `Cache-Control`: the example of section 7.3.1 has `no-cache` beside an expiry; but `no-store` is heeded.
//! Invariant: as in `cached`. What to do is decided in [`TimedMap::step`]; here it is done, once for all who wait for the same.
use super::{
    Answer, Client, Freshness, accept,
    cached::{Asked, Demand, is_outage, turn_of, unasked},
    check_network_map,
};
use crate::{
    cache::{Changed, Kept, Key, Step, TimedMap, Validity},
    catalog::{Catalog, Offer},
    clock::Moment,
    error::Error,
    http::Ask,
    uri::Uri,
};
use alto::{
    Document,
    expiry::ExpiringNetworkMap,
    id::{Pid, ResourceId},
    media_type,
    network_map::{Filter, NetworkMap},
};
use http::{HeaderValue, Method, header};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Sets a map with its expiry apart from the same answer as it was sent.
const TIMED: &str = "application/alto-networkmap+json;expires";

/// What is wanted.
struct Question<'a> {
    /// The map that it is of.
    network_map: &'a ResourceId,
    /// Who gives it.
    offer: &'a Offer,
    /// The part wanted, in its canonical form; `None`: the whole, by GET.
    part: Option<Filter>,
    /// Who gives single PIDs of it.
    by_pid: Option<&'a Offer>,
    /// What is wanted is what the server says: with the expiry and under its own name.
    as_said: bool,
}

/// What came of asking for single PIDs.
enum Renewed {
    Map(TimedMap, Moment),
    Changed,
    Unreachable(Error),
}

impl Client {
    pub(super) async fn timed_map(
        &self,
        demand: Demand,
        catalog: &Catalog,
        network_map: &ResourceId,
        offer: &Offer,
    ) -> Result<Answer<NetworkMap>, Error> {
        let by_pid = by_pid(catalog, network_map, offer);
        self.timed(demand, &Question { network_map, offer, part: None, by_pid, as_said: false }).await
    }

    /// The resource that expires as it is: the document with what it says of that.
    pub(super) async fn timed_resource(&self, catalog: &Catalog, offer: &Offer) -> Result<Answer<Document>, Error> {
        // What is kept is the same as for who asks for the map beside which it stands.
        let network_map = offer.entry.uses.first().unwrap_or(&offer.id);
        let by_pid = by_pid(catalog, network_map, offer);
        let answer = self.timed(Demand::Fresh, &Question { network_map, offer, part: None, by_pid, as_said: true }).await?;
        let Answer { uri, etag, body, value, revalidated, freshness } = answer;
        let value = Arc::new(Document::NetworkMap(Arc::unwrap_or_clone(value)));
        Ok(Answer { uri, etag, body, value, revalidated, freshness })
    }

    pub(super) async fn timed_part(&self, network_map: &ResourceId, offer: &Offer, filter: &Filter) -> Result<Answer<NetworkMap>, Error> {
        let mut part = filter.clone();
        part.pids.sort_unstable();
        part.pids.dedup();
        part.address_types.sort_unstable();
        part.address_types.dedup();
        self.timed(self.demand(), &Question { network_map, offer, part: Some(part), by_pid: Some(offer), as_said: false }).await
    }

    async fn timed(&self, demand: Demand, question: &Question<'_>) -> Result<Answer<NetworkMap>, Error> {
        let key = question.key();
        let find = || {
            let read = |body: &bytes::Bytes| {
                let map = TimedMap::from_json(body, &self.options.limits.documents).ok()?;
                let beside = map.text.len();
                Some((map, beside))
            };
            self.cache.find(&key, |kept| matches!(self.step(question, kept), Step::Fresh { .. }), read)
        };
        let fresh = |kept: &Option<Kept<TimedMap>>| {
            let kept = kept.as_ref().filter(|_| demand == Demand::Fresh)?;
            matches!(self.step(question, kept), Step::Fresh { .. }).then(|| self.answer(question, kept, false))
        };
        let came = self.now();
        let mut kept = find().await;
        if let Some(answer) = fresh(&kept) {
            return Ok(answer);
        }
        let flight = self.cache.flight(&key);
        let (mut turn, waited) = turn_of(&flight).await;
        if waited {
            kept = find().await;
            // What came meanwhile is as new as what would come now, also when the server itself has nothing that did not expire.
            let new = kept.as_ref().filter(|kept| demand == Demand::Fresh && kept.validity.received.steady >= came.steady);
            if let Some(answer) = new.map(|kept| self.answer(question, kept, false)).or_else(|| fresh(&kept)) {
                return Ok(answer);
            }
            if *turn {
                // The one before failed, so the others need not wait for each other to fail.
                drop(turn);
                return self.timed_now(demand, question, key, kept).await;
            }
        }
        let answer = self.timed_now(demand, question, key.clone(), kept).await;
        *turn = answer.is_err();
        answer
    }

    /// Asks the server for what expired.
    async fn timed_now(
        &self,
        demand: Demand,
        question: &Question<'_>,
        key: Key,
        kept: Option<Kept<TimedMap>>,
    ) -> Result<Answer<NetworkMap>, Error> {
        let mut conditional = true;
        if let Some(kept) = &kept
            && demand == Demand::Fresh
            && let (Step::Refresh(pids), Some(by_pid)) = (self.step(question, kept), question.by_pid)
        {
            match self.renew(question, by_pid, kept, &pids).await? {
                Renewed::Map(map, received) => {
                    let validity = Validity::kept(kept.validity.fields.clone(), received, kept.validity.delay);
                    return Ok(self.keep(question, key, kept.uri.clone(), validity, map, true).await);
                }
                Renewed::Unreachable(error) => return self.stale(question, kept, error),
                // Its validator may be that of the version before all the same.
                Renewed::Changed => conditional = false,
            }
        }
        // What was reckoned on a clock that nobody knows any more is reckoned anew, from a body.
        let validator = kept.as_ref().map(|kept| &kept.validity).filter(|validity| conditional && !validity.distrusted);
        let asked = match &question.part {
            None => self.ask_again(&question.offer.uri, media_type::NETWORK_MAP, validator).await?,
            Some(part) => self.ask_part(&question.offer.uri, part).await?,
        };
        match asked {
            Asked::Unchanged(mut validity) => {
                let Some(kept) = kept else { return Err(unasked(&question.offer.uri)) };
                // When it expires stays on the clock on which it was reckoned.
                validity.received = validity.received.after(kept.validity.received);
                validity.distrusted = false;
                Ok(self.keep(question, key, kept.uri, validity, (*kept.value).clone(), true).await)
            }
            Asked::New(reply, mut validity) => {
                let method = if question.part.is_none() { Method::GET } else { Method::POST };
                let answer = self.read(&method, &reply, media_type::NETWORK_MAP, ExpiringNetworkMap::from_json_within)?;
                let map = question.read(&reply.uri, answer, validity.server_ahead())?;
                // An instant does not depend on the way it came.
                validity.distrusted = false;
                Ok(self.keep(question, key, reply.uri, validity, map, false).await)
            }
            Asked::Unreachable(error) => match kept {
                Some(kept) => self.stale(question, &kept, error),
                None => Err(error),
            },
        }
    }

    /// Asks for PIDs that expired, in pieces.
    async fn renew(&self, question: &Question<'_>, by_pid: &Offer, kept: &Kept<TimedMap>, pids: &[Pid]) -> Result<Renewed, Error> {
        let address_types = question.part.as_ref().map(|part| part.address_types.clone()).unwrap_or_default();
        let mut map = (*kept.value).clone();
        let mut received = kept.validity.received;
        for piece in pids.chunks(self.options.limits.pids_per_request_max.max(1)) {
            let filter = Filter { pids: piece.to_vec(), address_types: address_types.clone() };
            let asked = self.now().after(received);
            let (reply, said) = match self.ask_part(&by_pid.uri, &filter).await? {
                Asked::New(reply, said) => (reply, said),
                Asked::Unreachable(error) => return Ok(Renewed::Unreachable(error)),
                Asked::Unchanged(_) => return Err(unasked(&by_pid.uri)),
            };
            received = said.received.after(received);
            let ahead = Validity::of(&said.fields, asked, received).server_ahead();
            // A service that fails here may have been replaced with the map: the whole tells.
            let Ok(answer) = self.read(&Method::POST, &reply, media_type::NETWORK_MAP, ExpiringNetworkMap::from_json_within) else {
                return Ok(Renewed::Changed);
            };
            match map.renewed(piece, &question.read(&reply.uri, answer, ahead)?) {
                // Also where the answer is not to be stored: of it only dates are taken over, into a map that was let be kept.
                Ok(renewed) => map = renewed,
                Err(Changed) => return Ok(Renewed::Changed),
            }
        }
        Ok(Renewed::Map(map, received))
    }

    async fn ask_part(&self, uri: &Uri, part: &Filter) -> Result<Asked, Error> {
        let mut headers = accept(media_type::NETWORK_MAP);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type::NETWORK_MAP_FILTER));
        let ask = Ask { method: Method::POST, uri: uri.clone(), headers, body: part.to_json().into() };
        let asked = self.now();
        match self.transport.exchange(ask).await {
            Ok(reply) if is_outage(reply.status) => Ok(Asked::Unreachable(self.refused(&Method::POST, &reply)?)),
            Ok(reply) => {
                let validity = Validity::of(&reply.headers, asked, self.now());
                Ok(Asked::New(reply, validity))
            }
            Err(error) if error.is_unreachable() => Ok(Asked::Unreachable(error)),
            Err(error) => Err(error),
        }
    }

    async fn keep(
        &self,
        question: &Question<'_>,
        key: Key,
        uri: Uri,
        validity: Validity,
        map: TimedMap,
        revalidated: bool,
    ) -> Answer<NetworkMap> {
        // What neither says when it expires nor can be revalidated saves nothing.
        let useful = map.earliest(question.asked()).is_some() || (question.part.is_none() && validity.validator().is_some());
        let keep = useful && validity.may_be_stored();
        let kept = Kept { uri, validity, body: map.to_json(), beside: map.text.len(), value: Arc::new(map) };
        self.cache.put(key, &kept, keep).await;
        self.answer(question, &kept, revalidated)
    }

    /// What is kept stands in for a server that cannot be reached, where that is wanted.
    fn stale(&self, question: &Question<'_>, kept: &Kept<TimedMap>, error: Error) -> Result<Answer<NetworkMap>, Error> {
        let since = kept.value.earliest(question.asked()).unwrap_or(kept.validity.received.wall).min(self.now_for(kept));
        if kept.validity.distrusted || !self.may_be_used_since(since) {
            return Err(error);
        }
        Ok(Answer { freshness: Freshness::Stale { since }, ..self.answer(question, kept, false) })
    }

    fn step(&self, question: &Question<'_>, kept: &Kept<TimedMap>) -> Step {
        if kept.validity.distrusted {
            return Step::Whole;
        }
        kept.value.step(self.now_for(kept), question.asked(), question.by_pid.is_some())
    }

    /// The time by the clock by which a kept map expires.
    fn now_for(&self, kept: &Kept<TimedMap>) -> SystemTime {
        self.now().after(kept.validity.received).wall
    }

    fn answer(&self, question: &Question<'_>, kept: &Kept<TimedMap>, revalidated: bool) -> Answer<NetworkMap> {
        let freshness = match kept.value.earliest(question.asked()) {
            Some(until) if until > self.now_for(kept) => Freshness::Fresh { until },
            Some(since) => Freshness::Stale { since },
            None => Freshness::Confirmed,
        };
        let (uri, etag) = (kept.uri.clone(), kept.validity.etag());
        if question.as_said {
            let said = kept.value.said();
            return Answer { uri, etag, body: said.to_json().into(), value: Arc::new(said.map), revalidated, freshness };
        }
        Answer { uri, etag, body: kept.value.text.clone(), value: kept.value.map.clone(), revalidated, freshness }
    }
}

impl Question<'_> {
    fn key(&self) -> Key {
        let request = self.part.as_ref().map(|part| part.to_json().into()).unwrap_or_default();
        Key { uri: self.offer.uri.to_string().into(), media_type: TIMED, request }
    }

    /// The PIDs asked for by name.
    fn asked(&self) -> &[Pid] {
        self.part.as_ref().map_or(&[], |part| &part.pids)
    }

    /// The answer, if it is one, under the name of the map that was asked for: a tag does not depend on expiry.
    fn read(&self, uri: &Uri, answer: ExpiringNetworkMap, ahead: Duration) -> Result<TimedMap, Error> {
        check(uri, self.offer, &answer.map).or_else(|_| check_network_map(uri, self.network_map, &answer.map))?;
        Ok(TimedMap::of(answer, ahead).named(self.network_map))
    }
}

/// Who gives single PIDs of a map; it may be asked for by the name of the resource that expires, too.
fn by_pid<'a>(catalog: &'a Catalog, network_map: &ResourceId, offer: &Offer) -> Option<&'a Offer> {
    std::iter::once(network_map).chain(&offer.entry.uses).find_map(|id| catalog.expiring_filtered_network_map(id))
}

/// As [`check_network_map`]: the tag names the resource itself, or the map beside which it stands.
pub(super) fn check(uri: &Uri, offer: &Offer, map: &NetworkMap) -> Result<(), Error> {
    match &map.vtag {
        Some(vtag) if offer.entry.uses.contains(&vtag.resource_id) => Ok(()),
        _ => check_network_map(uri, &offer.id, map),
    }
}
