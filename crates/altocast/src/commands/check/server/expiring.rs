//! Network maps whose entry announces that they say until when they hold (draft-alto-caching-subscription section 7): the dates, the map
//! that they stand beside, and what HTTP caches are told.
use super::{Report, ask, resource};
use alto::{
    check::Severity,
    expiry::{Expires, ExpiringNetworkMap},
    id::ResourceId,
    media_type,
    network_map::{Filter, NetworkMap},
};
use bytes::Bytes;
use client::{Ask, Catalog, Client, Error, Offer, Reply, Service};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::collections::BTreeMap;

/// Of the draft.
const SECTION: &str = "draft-alto-caching-subscription section 7";

/// Whether this is such a map, to GET or filtered.
pub(super) fn announces(offer: &Offer) -> bool {
    offer.entry.capabilities.expires && matches!(offer.service(), Service::NetworkMap | Service::FilteredNetworkMap)
}

/// All of them; `maps` are the plain ones.
pub(super) async fn check(
    client: &Client,
    report: &mut Report,
    catalog: &Catalog,
    maps: &BTreeMap<ResourceId, NetworkMap>,
) -> Result<(), Error> {
    for offer in catalog.offers.iter().filter(|offer| announces(offer)) {
        let plain = offer.entry.uses.first().and_then(|id| maps.get(id));
        let reply = match offer.service() {
            Service::NetworkMap => {
                let Some(_) = resource(client, report, &offer.uri, media_type::NETWORK_MAP).await? else { continue };
                ask(client, Method::GET, &offer.uri, media_type::NETWORK_MAP, None).await?
            }
            _ => {
                let Some(reply) = filtered(client, report, offer, plain).await? else { continue };
                reply
            }
        };
        let map = match ExpiringNetworkMap::from_json(&reply.body) {
            Ok(map) => map,
            Err(error) => {
                report.add(Severity::Error, &offer.uri, "expiry", SECTION, error.to_string());
                continue;
            }
        };
        one(report, offer, &reply, &map, plain);
    }
    Ok(())
}

/// What it says of two PIDs.
async fn filtered(client: &Client, report: &mut Report, offer: &Offer, plain: Option<&NetworkMap>) -> Result<Option<Reply>, Error> {
    let Some(plain) = plain else { return Ok(None) };
    report.services += 1;
    let asked: Vec<_> = plain.pids.keys().take(2).cloned().collect();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type::NETWORK_MAP_FILTER));
    headers.insert(header::ACCEPT, HeaderValue::from_static(media_type::NETWORK_MAP));
    let body = Bytes::from(Filter { pids: asked, address_types: Vec::new() }.to_json());
    let reply = client.ask(Ask { method: Method::POST, uri: offer.uri.clone(), headers, body }).await?;
    if reply.status != StatusCode::OK {
        report.add(
            Severity::Error,
            &offer.uri,
            "answer",
            "RFC 7285 section 11.3.1",
            format!("a valid request is answered with {}", reply.status),
        );
        return Ok(None);
    }
    Ok(Some(reply))
}

fn one(report: &mut Report, offer: &Offer, reply: &Reply, map: &ExpiringNetworkMap, plain: Option<&NetworkMap>) {
    let date = reply.header(header::DATE).parse::<Expires>();
    if map.expires.is_none() && map.pids.is_empty() && !map.map.pids.is_empty() {
        let message = "the entry announces expiry, the map says none";
        report.add(Severity::Warning, &offer.uri, "no-expiry", SECTION, message);
    }
    let past =
        date.as_ref().ok().map(|date| map.map.pids.keys().filter(|pid| map.expires_of(pid).is_some_and(|until| until < *date)).count());
    if let Some(past @ 1..) = past {
        let message = format!("{past} of {} PIDs expired before the answer was made", map.map.pids.len());
        report.add(Severity::Note, &offer.uri, "expired", SECTION, message);
    }
    // At another tag it is of another commit, which is no fault of a live server.
    if let Some(plain) = plain.filter(|plain| plain.vtag == map.map.vtag) {
        let whole = offer.service() == Service::NetworkMap;
        let differs = map.map.pids.iter().find(|(pid, group)| plain.pids.get(*pid) != Some(group));
        if differs.is_some() || (whole && plain.pids.len() != map.map.pids.len()) {
            let message = "at one tag it has other PIDs or prefixes than the map that it uses";
            report.add(Severity::Error, &offer.uri, "other-content", "RFC 7285 section 10.3", message);
        }
    }
    // RFC 9111 section 4.2.1: a cache may keep it no longer than its earliest date says.
    if let (Service::NetworkMap, Ok(date), Some(earliest)) = (offer.service(), date, map.earliest()) {
        let seconds = max_age(reply.header(header::CACHE_CONTROL));
        if seconds.is_some_and(|seconds| seconds > 0 && date.unix().saturating_add(seconds) > earliest.unix().saturating_add(1)) {
            let message = format!("caches may keep it for {} s, and it says {earliest}", seconds.unwrap_or_default());
            report.add(Severity::Error, &offer.uri, "freshness", "RFC 9111 section 4.2.1", message);
        }
    }
}

/// `max-age` of a `Cache-Control`.
fn max_age(field: &str) -> Option<u64> {
    field.split(',').find_map(|directive| directive.trim().strip_prefix("max-age=")?.parse().ok())
}
