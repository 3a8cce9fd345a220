//! A running server against what RFC 7285 promises of one: every document is fetched, every service asked once well and once badly.
//!
//! Invariant: nothing is published and nothing but questions is sent. Since a live server may commit between two answers, versions that
//! disagree are asked for again before they count.
mod expiring;

use super::Finding;
use crate::terminal::counted;
use alto::{
    Document,
    check::Severity,
    cost::Query,
    cost_map,
    endpoint::Address,
    endpoint_cost,
    endpoint_property::{self, PropertyName},
    error::{Code, ErrorBody},
    id::ResourceId,
    media_type,
    network_map::{self, NetworkMap},
};
use bytes::Bytes;
use client::{Ask, Catalog, Client, Error, Offer, Reply, Service, Uri};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::collections::BTreeMap;

/// What was looked at and what was found.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub findings: Vec<Finding>,
    resources: usize,
    services: usize,
}

impl Report {
    pub fn resources(&self) -> String {
        counted(self.resources, "resource")
    }
    pub fn services(&self) -> String {
        counted(self.services, "service")
    }

    fn add(&mut self, severity: Severity, uri: &Uri, rule: &str, section: &str, message: impl Into<String>) {
        self.findings.push(Finding {
            document: uri.to_string(),
            pointer: String::new(),
            line: None,
            column: None,
            severity,
            rule: rule.to_owned(),
            section: section.to_owned(),
            message: message.into(),
        });
    }
}

/// Errors: the server cannot be reached, or shows no directory at all.
pub(super) async fn check(client: &Client) -> Result<Report, Error> {
    let mut report = Report::default();
    let root = client.root().await?;
    let catalog = match client.catalog().await {
        Ok(catalog) => catalog,
        Err(error @ (Error::BadAnswer { .. } | Error::Status { .. } | Error::Refused { .. } | Error::Limit { .. })) => {
            report.add(Severity::Error, &root.uri, "directory", "RFC 7285 section 9.2", error.to_string());
            return Ok(report);
        }
        Err(error) => return Err(error),
    };
    let mut directories = vec![catalog.root.clone()];
    for offer in &catalog.offers {
        if !directories.contains(&offer.directory) {
            directories.push(offer.directory.clone());
        }
    }
    let (gathered, bodies) = gather_at_one_time(client, &catalog, &directories).await?;
    report.resources = gathered.resources;
    report.findings.extend(gathered.findings);
    for (at, (uri, media_type, body)) in bodies.iter().enumerate() {
        let companions: Vec<&[u8]> = bodies.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, (_, _, body))| &**body).collect();
        let problems = alto::check::check(body, Some(media_type), &companions);
        // Servers write one long line: where in it says nothing that the pointer does not.
        report.findings.extend(problems.into_iter().map(|problem| Finding {
            line: None,
            column: None,
            ..Finding::of(&uri.to_string(), problem)
        }));
    }
    let maps = as_a_client_reads(client, &mut report, &catalog).await?;
    for offer in &catalog.offers {
        service(client, &mut report, &catalog, offer, &maps).await?;
    }
    expiring::check(client, &mut report, &catalog, &maps).await?;
    pid_properties(&mut report, &catalog);
    Ok(report)
}

/// Where from, of which media type, the text.
type Body = (Uri, &'static str, Bytes);

/// All documents of one commit, so that they may be held against each other: when a network map changed while they were fetched, they
/// are fetched again. After a few times the last ones have to do.
async fn gather_at_one_time(client: &Client, catalog: &Catalog, directories: &[Uri]) -> Result<(Report, Vec<Body>), Error> {
    const ATTEMPTS: usize = 5;
    let mut attempt = 0;
    loop {
        let mut report = Report::default();
        let mut bodies = Vec::new();
        for uri in directories {
            bodies.extend(resource(client, &mut report, uri, media_type::DIRECTORY).await?);
        }
        for offer in catalog.offers.iter().filter(|offer| !expiring::announces(offer)) {
            match offer.service() {
                Service::NetworkMap => bodies.extend(resource(client, &mut report, &offer.uri, media_type::NETWORK_MAP).await?),
                Service::CostMap => bodies.extend(resource(client, &mut report, &offer.uri, media_type::COST_MAP).await?),
                _ => {}
            }
        }
        attempt += 1;
        let mut changed = false;
        for (uri, wanted, body) in bodies.iter().filter(|(_, wanted, _)| *wanted == media_type::NETWORK_MAP) {
            changed |= ask(client, Method::GET, uri, wanted, None).await?.body != body;
        }
        if !changed || attempt == ATTEMPTS {
            return Ok((report, bodies));
        }
    }
}

/// One document as HTTP sees it; its body when it is one.
async fn resource(client: &Client, report: &mut Report, uri: &Uri, wanted: &'static str) -> Result<Option<Body>, Error> {
    report.resources += 1;
    let got = ask(client, Method::GET, uri, wanted, None).await?;
    if got.status != StatusCode::OK {
        report.add(Severity::Error, uri, "status", "RFC 7285 section 8.3.5", format!("GET answers {}", got.status));
        return Ok(None);
    }
    content_type(report, &got, wanted);
    let etag = got.header(header::ETAG).to_owned();
    if etag.is_empty() {
        report.add(
            Severity::Note,
            uri,
            "no-etag",
            "RFC 9110 section 8.8.3",
            "no ETag: clients must fetch the whole document again to see whether it changed",
        );
    } else {
        let mut again = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(&etag) {
            again.insert(header::IF_NONE_MATCH, value);
        }
        let second = ask(client, Method::GET, uri, wanted, Some(again)).await?;
        // Another version by now is no fault.
        if second.status != StatusCode::NOT_MODIFIED && second.header(header::ETAG) == etag {
            let message = format!("If-None-Match: {etag} answers {} instead of 304", second.status);
            report.add(Severity::Warning, uri, "revalidation", "RFC 9110 section 13.1.2", message);
        }
    }
    let head = ask(client, Method::HEAD, uri, wanted, None).await?;
    if head.status != StatusCode::OK || head.header(header::CONTENT_TYPE) != got.header(header::CONTENT_TYPE) {
        let message = format!("HEAD answers {} {:?}, GET {} {:?}", head.status, head.media_type(), got.status, got.media_type());
        report.add(Severity::Warning, uri, "head", "RFC 9110 section 9.3.2", message);
    }
    Ok(Some((uri.clone(), wanted, got.body)))
}

fn content_type(report: &mut Report, reply: &Reply, wanted: &str) {
    let got = reply.header(header::CONTENT_TYPE);
    if reply.media_type() != wanted {
        let message = format!("content type {got:?} instead of {wanted:?}");
        report.add(Severity::Error, &reply.uri, "media-type", "RFC 7285 section 9.1.2", message);
    } else if got != wanted {
        let message = format!("content type {got:?} has parameters; clients that compare it with {wanted:?} refuse it");
        report.add(Severity::Warning, &reply.uri, "media-type-parameters", "RFC 7285 section 9.1.2", message);
    }
}

/// What the client library makes of each document: it is stricter than each document alone, since it knows the directory. The network maps.
async fn as_a_client_reads(client: &Client, report: &mut Report, catalog: &Catalog) -> Result<BTreeMap<ResourceId, NetworkMap>, Error> {
    let mut maps = BTreeMap::new();
    let read = |offer: &&Offer| matches!(offer.service(), Service::NetworkMap | Service::CostMap) && !expiring::announces(offer);
    for offer in catalog.offers.iter().filter(read) {
        match client.resource(offer).await {
            Ok(answer) => {
                if let Document::NetworkMap(map) = &*answer.value {
                    maps.insert(offer.id.clone(), map.clone());
                }
            }
            Err(error) => note_answer(report, offer, error)?,
        }
    }
    Ok(maps)
}

/// One question that a service must answer, and one that it must refuse in ALTO's words.
async fn service(
    client: &Client,
    report: &mut Report,
    catalog: &Catalog,
    offer: &Offer,
    maps: &BTreeMap<ResourceId, NetworkMap>,
) -> Result<(), Error> {
    let map = match offer.entry.uses.first() {
        Some(id) => maps.get(id),
        None => catalog.directory.meta.default_network_map.as_ref().and_then(|id| maps.get(id)).or(maps.values().next()),
    };
    // Without a readable map there is nothing to ask about; that has been said already.
    let Some((map, id)) = map.and_then(|map| Some((map, &map.vtag.as_ref()?.resource_id))) else { return Ok(()) };
    let asked: Vec<_> = map.pids.keys().take(2).cloned().collect();
    let endpoints: Vec<_> =
        map.pids.values().filter_map(|group| Some(Address::Ip(group.ipv4.iter().chain(&group.ipv6).next()?.address()))).take(2).collect();
    let query = offer.cost_types.first().cloned().map(Query::one);
    let uri = &offer.uri;
    let answered = match (offer.service(), query) {
        // Asked with its dates; here it is only refused what it must refuse.
        (Service::FilteredNetworkMap, _) if expiring::announces(offer) => return refuses_broken_json(client, report, offer).await,
        (Service::FilteredNetworkMap, _) => {
            let filter = network_map::Filter { pids: asked.clone(), address_types: Vec::new() };
            client.filtered_network_map(Some(id), &filter).await.map(|answer| {
                for pid in answer.value.pids.keys().filter(|pid| !asked.contains(pid)) {
                    report.add(
                        Severity::Error,
                        uri,
                        "unasked",
                        "RFC 7285 section 11.3.1.6",
                        format!("PID {pid} is in the answer but was not asked for"),
                    );
                }
            })
        }
        (Service::FilteredCostMap, Some(query)) => {
            let filter = cost_map::Filter { query, sources: asked.clone(), destinations: asked.clone() };
            client.filtered_cost_map(Some(id), &filter).await.map(|answer| {
                for (_, table) in &answer.value.tables {
                    for pid in table.sources.iter().chain(table.destinations.iter()).filter(|pid| !asked.contains(pid)) {
                        report.add(
                            Severity::Error,
                            uri,
                            "unasked",
                            "RFC 7285 section 11.3.2.6",
                            format!("PID {pid} is in the answer but was not asked for"),
                        );
                    }
                }
            })
        }
        (Service::EndpointCost, Some(query)) if endpoints.len() == 2 => {
            let request = endpoint_cost::Request { query, sources: endpoints[..1].to_vec(), destinations: endpoints.clone() };
            client.endpoint_costs(&request).await.map(|answer| {
                for address in answer.value.destinations.iter().filter(|address| !endpoints.contains(address)) {
                    report.add(
                        Severity::Error,
                        uri,
                        "unasked",
                        "RFC 7285 section 11.5.1.6",
                        format!("{address} is in the answer but was not asked for"),
                    );
                }
            })
        }
        (Service::EndpointProperties, _) if !endpoints.is_empty() && !offer.entry.capabilities.prop_types.is_empty() => {
            let request =
                endpoint_property::Request { properties: offer.entry.capabilities.prop_types.clone(), endpoints: endpoints.clone() };
            client.endpoint_properties(&request).await.map(|answer| {
                for (address, properties) in &answer.value.endpoints {
                    if let Some(said) = properties.get(&PropertyName::pid_of(id.clone()))
                        && let Some(want) = address.ip().and_then(|ip| pid_of(map, ip))
                        && **said != *want
                    {
                        let message = format!("{address} is said to be in PID {said}, its longest match in {id} is in {want}");
                        report.add(Severity::Error, uri, "longest-match", "RFC 7285 section 11.2.2", message);
                    }
                }
            })
        }
        _ => return Ok(()),
    };
    report.services += 1;
    if let Err(error) = answered {
        note_answer(report, offer, error)?;
    }
    refuses_broken_json(client, report, offer).await
}

/// RFC 7285 section 8.5.2: E_SYNTAX for what is no JSON, with the error media type and a status that says so.
async fn refuses_broken_json(client: &Client, report: &mut Report, offer: &Offer) -> Result<(), Error> {
    let accepts = offer.entry.accepts.as_deref().unwrap_or_default();
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(accepts.split(',').next().unwrap_or_default().trim()) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    headers.insert(
        header::ACCEPT,
        HeaderValue::from_str(&format!("{},{}", offer.entry.media_type, media_type::ERROR)).unwrap_or(HeaderValue::from_static("*/*")),
    );
    let reply = client.ask(Ask { method: Method::POST, uri: offer.uri.clone(), headers, body: Bytes::from_static(b"{\"broken") }).await?;
    let code = ErrorBody::from_json(&reply.body).map(|error| error.code);
    if reply.media_type() != media_type::ERROR || code != Ok(Code::Syntax) {
        let message = format!(
            "broken JSON is answered with {} {:?}, not with E_SYNTAX in {}",
            reply.status,
            reply.header(header::CONTENT_TYPE),
            media_type::ERROR
        );
        report.add(Severity::Error, &offer.uri, "error-body", "RFC 7285 section 8.5.2", message);
    } else if !reply.status.is_client_error() {
        let message = format!("an error body with status {}", reply.status);
        report.add(Severity::Warning, &offer.uri, "error-status", "RFC 7285 section 8.5.1", message);
    }
    Ok(())
}

/// RFC 7285 section 11.4.1.4: every network map's `pid` can be looked up.
fn pid_properties(report: &mut Report, catalog: &Catalog) {
    // One that says until when it holds is a form of another.
    let own = |offer: &&Offer| offer.service() == Service::NetworkMap && !expiring::announces(offer);
    for offer in catalog.offers.iter().filter(own) {
        let property = PropertyName::pid_of(offer.id.clone());
        if catalog.endpoint_properties(&property).is_err() {
            let message = format!("no endpoint property service offers {property}");
            report.add(Severity::Error, &catalog.root, "pid-property", "RFC 7285 section 11.4.1.4", message);
        }
    }
}

/// Longest match by looking at every prefix: two addresses are asked about.
fn pid_of(map: &NetworkMap, ip: std::net::IpAddr) -> Option<String> {
    let prefixes = map.pids.iter().flat_map(|(pid, group)| group.ipv4.iter().chain(&group.ipv6).map(move |prefix| (prefix, pid)));
    let longest = prefixes.filter(|(prefix, _)| prefix.contains(ip)).max_by_key(|(prefix, _)| prefix.length());
    longest.map(|(_, pid)| pid.to_string())
}

/// A bad answer is a finding; a server that is gone ends the check.
fn note_answer(report: &mut Report, offer: &Offer, error: Error) -> Result<(), Error> {
    let (section, message) = match error {
        Error::BadAnswer { why, .. } => ("RFC 7285 section 8.4", why),
        Error::Refused { status, error, .. } => {
            ("RFC 7285 section 8.5", format!("a valid request is refused: {status}: {}", client::Words(&error)))
        }
        error @ (Error::Status { .. } | Error::Limit { .. } | Error::NotOffered { .. }) => ("RFC 7285 section 8.3", error.to_string()),
        error => return Err(error),
    };
    report.add(Severity::Error, &offer.uri, "answer", section, format!("{}: {message}", offer.id));
    Ok(())
}

async fn ask(client: &Client, method: Method, uri: &Uri, wanted: &str, more: Option<HeaderMap>) -> Result<Reply, Error> {
    let mut headers = more.unwrap_or_default();
    if let Ok(value) = HeaderValue::from_str(&format!("{wanted},{}", media_type::ERROR)) {
        headers.insert(header::ACCEPT, value);
    }
    client.ask(Ask { method, uri: uri.clone(), headers, body: Bytes::new() }).await
}
