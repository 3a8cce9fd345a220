//! Questions to an ALTO server (RFC 7285 sections 8.3 and 11).
//!
//! Every answer is parsed strictly, and checked to be the answer to what was asked: its media type, its cost type, its network map.
mod cached;
mod timed;

pub(crate) use cached::Demand;

use crate::{
    cache::Cache,
    catalog::{Catalog, Offer, Service, offers_of},
    error::Error,
    http::{Ask, Reply, Transport},
    options::{Options, Protocol},
    uri::Uri,
};
use alto::{
    Document, ErrorBody,
    cost::CostType,
    cost_map::{self, CostMap},
    directory::Directory,
    endpoint_cost::{self, EndpointCosts},
    endpoint_property::{self, EndpointProperties},
    expiry::ExpiringNetworkMap,
    id::ResourceId,
    media_type,
    network_map::{self, NetworkMap},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// A client of one server. Cheap to share by reference; every method may run many times at once.
#[derive(Debug)]
pub struct Client {
    server: Uri,
    options: Arc<Options>,
    transport: Transport,
    cache: Cache,
    catalog: Mutex<Option<Arc<Catalog>>>,
}

/// An answer with what it came as.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    /// Where it came from.
    pub uri: Uri,
    /// Entity tag, quotes included, when the server gave one.
    pub etag: Option<String>,
    /// The text as the server sent it; of a network map that says when it expires, the map without that. [`Client::document`] and
    /// [`Client::resource`] have it with that.
    pub body: Bytes,
    /// What the text says.
    pub value: Arc<T>,
    /// Whether the server said that the body kept from before is still right (304).
    pub revalidated: bool,
    /// Until when it may be relied on.
    pub freshness: Freshness,
}

/// Until when an answer may be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The server said that it is right until then, by the clock here; the same question is answered without a request till then.
    Fresh {
        /// When it expires.
        until: SystemTime,
    },
    /// The server gave or confirmed it for this very question and promised nothing for later.
    Confirmed,
    /// It expired then. Either the server itself has nothing newer, or it cannot be reached and
    /// [`Options::stale_if_unreachable`] allows this.
    Stale {
        /// When it expired.
        since: SystemTime,
    },
}

impl Freshness {
    /// Of what was made from two answers.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Stale { since: a }, Self::Stale { since: b }) => Self::Stale { since: a.min(b) },
            (stale @ Self::Stale { .. }, _) | (_, stale @ Self::Stale { .. }) => stale,
            (Self::Fresh { until: a }, Self::Fresh { until: b }) => Self::Fresh { until: a.min(b) },
            _ => Self::Confirmed,
        }
    }
}

type Parse<T> = fn(&[u8], &alto::Limits) -> Result<T, ErrorBody>;

impl Client {
    /// A client for `options.server`. Sends nothing. Errors: `Url`.
    pub fn new(options: Options) -> Result<Self, Error> {
        let server = Uri::parse(&options.server)?;
        if options.protocol == Protocol::Http3 && !server.origin().tls {
            return Err(Error::Url { text: options.server, why: "HTTP/3 is spoken at https:// only" });
        }
        let options = Arc::new(options);
        Ok(Self { server, transport: Transport::new(options.clone()), cache: Cache::new(&options), options, catalog: Mutex::default() })
    }

    /// A client in a simulation.
    #[cfg(any(test, feature = "simulation"))]
    #[doc(hidden)]
    pub fn within(options: Options, network: Arc<dyn crate::simulation::Network>) -> Result<Self, Error> {
        let mut client = Self::new(options)?;
        client.transport.network = Some(network);
        Ok(client)
    }

    /// What the server offers; asked once and kept until [`Client::refresh`].
    pub async fn catalog(&self) -> Result<Arc<Catalog>, Error> {
        let kept = self.catalog.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match kept {
            Some(catalog) => Ok(catalog),
            None => self.refresh().await,
        }
    }

    /// Reads the directories again.
    pub async fn refresh(&self) -> Result<Arc<Catalog>, Error> {
        let catalog = Arc::new(self.discover().await?);
        *self.catalog.lock().unwrap_or_else(PoisonError::into_inner) = Some(catalog.clone());
        Ok(catalog)
    }

    /// The root directory. A server named without a path is asked at `/` and, when that is something else, at `/directory`.
    pub async fn root(&self) -> Result<Answer<Directory>, Error> {
        let first = self.directory_at(&self.server).await;
        let elsewhere = match &first {
            // A server that cannot answer now is not somewhere else.
            Err(Error::Status { status, .. }) => !cached::is_outage(*status) && *status != StatusCode::TOO_MANY_REQUESTS,
            Err(Error::BadAnswer { .. }) => true,
            Err(Error::Refused { status, .. }) => *status == StatusCode::NOT_FOUND || *status == StatusCode::NOT_ACCEPTABLE,
            _ => false,
        };
        if self.server.path() != "/" || !elsewhere {
            return first;
        }
        match self.directory_at(&self.server.resolve("/directory")?).await {
            Err(Error::Status { status: StatusCode::NOT_FOUND, .. }) => {
                Err(Error::bad(&self.server, "there is no ALTO directory (RFC 7285 section 9.2) at this address; give its full URL"))
            }
            second => second,
        }
    }

    async fn directory_at(&self, uri: &Uri) -> Result<Answer<Directory>, Error> {
        self.get_as(uri, media_type::DIRECTORY, Directory::from_json_within).await
    }

    async fn discover(&self) -> Result<Catalog, Error> {
        let limits = &self.options.limits;
        let root = self.root().await?;
        let mut offers = Vec::new();
        let mut seen = HashSet::from([root.uri.clone(), self.server.clone()]);
        let mut waiting = VecDeque::from([(root.uri.clone(), root.value.clone(), 0)]);
        let mut followed = 1;
        while let Some((uri, directory, depth)) = waiting.pop_front() {
            for offer in offers_of(&directory, &uri)? {
                if offer.service() != Service::Directory {
                    offers.push(offer);
                    continue;
                }
                if !seen.insert(offer.uri.clone()) {
                    continue;
                }
                let too_many = |what, max, name| Error::Limit { uri: offer.uri.to_string(), what, max, name };
                if depth >= limits.directory_depth_max {
                    return Err(too_many("the depth of directories", limits.directory_depth_max, "directory_depth_max"));
                }
                followed += 1;
                if followed > limits.directories_max {
                    return Err(too_many("the number of directories", limits.directories_max, "directories_max"));
                }
                let next = self.directory_at(&offer.uri).await?;
                waiting.push_back((next.uri, next.value, depth + 1));
            }
        }
        Ok(Catalog { root: root.uri, directory: root.value, offers })
    }

    /// A resource that is got, whatever it is.
    pub async fn resource(&self, offer: &Offer) -> Result<Answer<Document>, Error> {
        self.resource_for(self.demand(), offer).await
    }

    /// The same; of a network map that says when it expires, only what did is asked for, as [`Client::network_map`] says. The text of such a
    /// one is what the server would send, written here, unless what is kept is not [enough](crate::Options::confirm).
    pub async fn document(&self, offer: &Offer) -> Result<Answer<Document>, Error> {
        let by_pid = offer.service() == Service::NetworkMap && offer.entry.capabilities.expires && self.demand() == Demand::Fresh;
        if by_pid { self.timed_resource(&*self.catalog().await?, offer).await } else { self.resource(offer).await }
    }

    /// The same as the server has it now, also while what is kept is still fresh.
    pub async fn confirmed(&self, offer: &Offer) -> Result<Answer<Document>, Error> {
        self.resource_for(Demand::Confirmed, offer).await
    }

    async fn resource_for(&self, demand: Demand, offer: &Offer) -> Result<Answer<Document>, Error> {
        let wanted = match offer.service() {
            Service::NetworkMap => media_type::NETWORK_MAP,
            Service::CostMap => media_type::COST_MAP,
            Service::Directory => media_type::DIRECTORY,
            service => {
                let what = format!("{} ({}) answers requests (POST); it is not a document to get", offer.id, service.as_str());
                return Err(Error::NotOffered { what, offered: Vec::new() });
            }
        };
        let parse: Parse<Document> = match wanted {
            // What says when it expires is none that a reader of RFC 7285 can read.
            media_type::NETWORK_MAP if offer.entry.capabilities.expires => {
                |body, limits| Ok(Document::NetworkMap(ExpiringNetworkMap::from_json_within(body, limits)?.map))
            }
            media_type::NETWORK_MAP => |body, limits| Document::parse_within(body, Some(media_type::NETWORK_MAP), limits),
            media_type::COST_MAP => |body, limits| Document::parse_within(body, Some(media_type::COST_MAP), limits),
            _ => |body, limits| Document::parse_within(body, Some(media_type::DIRECTORY), limits),
        };
        let answer = self.get_for(demand, &offer.uri, wanted, parse).await?;
        match &*answer.value {
            Document::NetworkMap(map) if offer.entry.capabilities.expires => timed::check(&answer.uri, offer, map)?,
            Document::NetworkMap(map) => check_network_map(&answer.uri, &offer.id, map)?,
            Document::CostMap(map) => check_cost_map(&answer.uri, offer, &offer.cost_types, map)?,
            _ => {}
        }
        Ok(answer)
    }

    /// A network map: the one of this id, or the default one.
    ///
    /// Where the server says until when the map is valid, as a whole or by PID (draft-alto-caching-subscription section 7), what did not
    /// expire is not asked for: nothing while all of it is valid, only some PIDs when only they expired.
    pub async fn network_map(&self, id: Option<&ResourceId>) -> Result<Answer<NetworkMap>, Error> {
        self.network_map_for(self.demand(), id).await
    }

    pub(crate) async fn network_map_for(&self, demand: Demand, id: Option<&ResourceId>) -> Result<Answer<NetworkMap>, Error> {
        let catalog = self.catalog().await?;
        let offer = catalog.network_map(id)?;
        if let Some(expiring) = catalog.expiring_network_map(&offer.id) {
            return self.timed_map(demand, &catalog, &offer.id, expiring).await;
        }
        let answer = self.get_for(demand, &offer.uri, media_type::NETWORK_MAP, NetworkMap::from_json_within).await?;
        check_network_map(&answer.uri, &offer.id, &answer.value)?;
        Ok(answer)
    }

    /// The cost map of a cost type over a network map (the default one without an id).
    pub async fn cost_map(&self, cost_type: &CostType, network_map: Option<&ResourceId>) -> Result<Answer<CostMap>, Error> {
        self.cost_map_for(self.demand(), cost_type, network_map).await
    }

    pub(crate) async fn cost_map_for(
        &self,
        demand: Demand,
        cost_type: &CostType,
        network_map: Option<&ResourceId>,
    ) -> Result<Answer<CostMap>, Error> {
        let catalog = self.catalog().await?;
        let offer = catalog.cost_map(cost_type, &catalog.network_map(network_map)?.id)?;
        let answer = self.get_for(demand, &offer.uri, media_type::COST_MAP, CostMap::from_json_within).await?;
        check_cost_map(&answer.uri, offer, &offer.cost_types, &answer.value)?;
        Ok(answer)
    }

    /// Some PIDs of a network map, under the same rule as [`Client::network_map`].
    pub async fn filtered_network_map(
        &self,
        network_map: Option<&ResourceId>,
        filter: &network_map::Filter,
    ) -> Result<Answer<NetworkMap>, Error> {
        let catalog = self.catalog().await?;
        let network_map = &catalog.network_map(network_map)?.id;
        if let Some(expiring) = catalog.expiring_filtered_network_map(network_map) {
            return self.timed_part(network_map, expiring, filter).await;
        }
        let offer = catalog.filtered_network_map(network_map)?;
        let answer = self
            .post_as(&offer.uri, media_type::NETWORK_MAP_FILTER, filter.to_json(), media_type::NETWORK_MAP, NetworkMap::from_json_within)
            .await?;
        check_network_map(&answer.uri, network_map, &answer.value)?;
        Ok(answer)
    }

    /// Some costs of a cost map, of one cost type or several (RFC 8189).
    pub async fn filtered_cost_map(&self, network_map: Option<&ResourceId>, filter: &cost_map::Filter) -> Result<Answer<CostMap>, Error> {
        let catalog = self.catalog().await?;
        let network_map = &catalog.network_map(network_map)?.id;
        let offer = catalog.filtered_cost_map(&filter.query.cost_types, network_map, !filter.query.constraints.is_empty())?;
        let answer = self
            .post_as(&offer.uri, media_type::COST_MAP_FILTER, filter.to_json(), media_type::COST_MAP, CostMap::from_json_within)
            .await?;
        check_cost_map(&answer.uri, offer, &filter.query.cost_types, &answer.value)?;
        Ok(answer)
    }

    /// Costs between endpoints.
    pub async fn endpoint_costs(&self, request: &endpoint_cost::Request) -> Result<Answer<EndpointCosts>, Error> {
        let catalog = self.catalog().await?;
        let offer = catalog.endpoint_cost(&request.query.cost_types, !request.query.constraints.is_empty())?;
        let answer = self
            .post_as(
                &offer.uri,
                media_type::ENDPOINT_COST_PARAMS,
                request.to_json(),
                media_type::ENDPOINT_COST,
                EndpointCosts::from_json_within,
            )
            .await?;
        check_cost_types(&answer.uri, &request.query.cost_types, answer.value.tables.iter().map(|(cost_type, _)| cost_type))?;
        Ok(answer)
    }

    /// Properties of endpoints. All must be of one service.
    pub async fn endpoint_properties(&self, request: &endpoint_property::Request) -> Result<Answer<EndpointProperties>, Error> {
        let catalog = self.catalog().await?;
        let mut offer = None;
        for property in &request.properties {
            let found = catalog.endpoint_properties(property)?;
            offer = offer.or(Some(found));
        }
        let Some(offer) = offer else {
            return Err(Error::NotOffered { what: "no endpoint property was asked for".into(), offered: Vec::new() });
        };
        self.post_as(
            &offer.uri,
            media_type::ENDPOINT_PROPERTIES_PARAMS,
            request.to_json(),
            media_type::ENDPOINT_PROPERTIES,
            EndpointProperties::from_json_within,
        )
        .await
    }

    /// One request as it is, for what this client has no words for; any status is an answer.
    pub async fn ask(&self, ask: Ask) -> Result<Reply, Error> {
        self.transport.exchange(ask).await
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    async fn post_as<T>(
        &self,
        uri: &Uri,
        content_type: &'static str,
        body: Vec<u8>,
        wanted: &'static str,
        parse: Parse<T>,
    ) -> Result<Answer<T>, Error> {
        let mut headers = accept(wanted);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        let reply = self.transport.exchange(Ask { method: Method::POST, uri: uri.clone(), headers, body: body.into() }).await?;
        let value = Arc::new(self.read(&Method::POST, &reply, wanted, parse)?);
        Ok(answer(reply, value))
    }

    fn read<T>(&self, method: &Method, reply: &Reply, wanted: &str, parse: Parse<T>) -> Result<T, Error> {
        let uri = &reply.uri;
        // An error body is a refusal whatever the status beside it.
        if reply.status != StatusCode::OK || reply.media_type() == media_type::ERROR {
            return Err(self.refused(method, reply)?);
        }
        let got = reply.media_type();
        if got != wanted {
            let got = if got.is_empty() { "no content type".to_owned() } else { crate::error::excerpt(&got) };
            return Err(Error::bad(uri, format!("{got} where {wanted} was asked for")));
        }
        parse(&reply.body, &self.options.limits.documents).map_err(|error| Error::unparsable(uri, &error))
    }
}

/// The refusal that a reply is, in ALTO's words (RFC 7285 section 8.5), if it is one. Errors: an error body that is none.
pub(crate) fn refusal(reply: &Reply, limits: &alto::Limits) -> Result<Option<Error>, Error> {
    if reply.media_type() != media_type::ERROR {
        return Ok(None);
    }
    match ErrorBody::from_json_within(&reply.body, limits) {
        Ok(error) => {
            let (uri, retry_after) = (reply.uri.to_string(), reply.retry_after());
            Ok(Some(Error::Refused { uri, status: reply.status, error: Box::new(error), said: None, retry_after }))
        }
        // A status that is an error says enough; the body only would have said more.
        Err(_) if reply.status.is_client_error() || reply.status.is_server_error() => Ok(None),
        Err(error) => Err(Error::bad(&reply.uri, format!("its error body is wrong: {error}"))),
    }
}

/// The error that a status without such words is.
pub(crate) fn status(method: &Method, reply: &Reply) -> Error {
    Error::Status {
        method: method.clone(),
        uri: reply.uri.to_string(),
        status: reply.status,
        body: reply.excerpt(),
        retry_after: reply.retry_after(),
    }
}

fn answer<T>(reply: Reply, value: Arc<T>) -> Answer<T> {
    let etag = Some(reply.header(header::ETAG).to_owned()).filter(|etag| !etag.is_empty());
    Answer { uri: reply.uri, etag, body: reply.body, value, revalidated: false, freshness: Freshness::Confirmed }
}

/// RFC 7285 section 8.3.1: the type wanted, and errors.
fn accept(wanted: &str) -> HeaderMap {
    let value = format!("{wanted},{}", media_type::ERROR);
    HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(&value).expect("media types are ASCII"))])
}

/// RFC 7285 sections 11.2.1.6 and 11.3.1.6: the tag is there and names the map that was asked for.
fn check_network_map(uri: &Uri, id: &ResourceId, map: &NetworkMap) -> Result<(), Error> {
    match &map.vtag {
        None => Err(Error::bad(uri, "meta/vtag is missing (RFC 7285 section 11.2.1.6)")),
        Some(vtag) if vtag.resource_id != *id => {
            Err(Error::bad(uri, format!("meta/vtag names {}, the directory calls this resource {id}", vtag.resource_id)))
        }
        Some(_) => Ok(()),
    }
}

/// RFC 7285 section 11.2.3.6: the network map depended on is the one the directory says, the costs are those asked for.
fn check_cost_map(uri: &Uri, offer: &Offer, wanted: &[CostType], map: &CostMap) -> Result<(), Error> {
    check_cost_types(uri, wanted, map.tables.iter().map(|(cost_type, _)| cost_type))?;
    match &*map.dependent_vtags {
        [vtag] if offer.entry.uses.is_empty() || offer.entry.uses.contains(&vtag.resource_id) => Ok(()),
        [vtag] => Err(Error::bad(uri, format!("meta/dependent-vtags names {}, which {} does not use", vtag.resource_id, offer.id))),
        other => Err(Error::bad(uri, format!("meta/dependent-vtags has {} entries, not 1 (RFC 7285 section 11.2.3.6)", other.len()))),
    }
}

fn check_cost_types<'a>(uri: &Uri, wanted: &[CostType], got: impl Iterator<Item = &'a CostType>) -> Result<(), Error> {
    let got: Vec<_> = got.collect();
    if got.len() == wanted.len() && got.iter().all(|one| wanted.contains(one)) {
        return Ok(());
    }
    let list = |types: &mut dyn Iterator<Item = String>| types.collect::<Vec<_>>().join(", ");
    let (got, wanted) = (list(&mut got.iter().map(ToString::to_string)), list(&mut wanted.iter().map(ToString::to_string)));
    Err(Error::bad(uri, format!("costs of {got} where {wanted} was asked for")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_made_from_two_answers_is_as_fresh_as_the_lesser() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let (fresh, stale) = (|seconds| Freshness::Fresh { until: at(seconds) }, |seconds| Freshness::Stale { since: at(seconds) });
        for (a, b, want) in [
            (fresh(10), fresh(20), fresh(10)),
            (fresh(10), Freshness::Confirmed, Freshness::Confirmed),
            (fresh(30), stale(20), stale(20)),
            (Freshness::Confirmed, stale(20), stale(20)),
            (stale(10), stale(20), stale(10)),
        ] {
            assert_eq!((a.and(b), b.and(a)), (want, want));
        }
    }
}
