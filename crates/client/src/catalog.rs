//! What a server offers, gathered from its root directory and those below it (RFC 7285 section 9.2), and the choice of the resource
//! that answers a question. Never a URI that is not in a directory.
//!
//! Invariant: every offer has an absolute URI and the cost types its names stand for; offers of the root directory come first.
use crate::{error::Error, uri::Uri};
use alto::{
    cost::{CostType, Metric, Mode},
    directory::{Directory, Entry},
    endpoint_property::PropertyName,
    id::ResourceId,
    media_type,
};
use std::sync::Arc;

/// One entry of one directory, ready to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Its id.
    pub id: ResourceId,
    /// Where, absolute.
    pub uri: Uri,
    /// What `capabilities` calls by name, resolved.
    pub cost_types: Vec<CostType>,
    /// The same for the testable ones (RFC 8189 section 4.1.1).
    pub testable_cost_types: Vec<CostType>,
    /// Where its updates are told by WebSocket, as `http` or `https`.
    pub updates: Option<Uri>,
    /// The entry as it stands in its directory.
    pub entry: Entry,
    /// The directory it stands in.
    pub directory: Uri,
}

/// What an offer is for, told from its media types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// RFC 7285 section 9.2.
    Directory,
    /// Section 11.2.1.
    NetworkMap,
    /// Section 11.2.3.
    CostMap,
    /// Section 11.3.1.
    FilteredNetworkMap,
    /// Section 11.3.2.
    FilteredCostMap,
    /// Section 11.4.1.
    EndpointProperties,
    /// Section 11.5.1.
    EndpointCost,
    /// RFC 8895 section 6.
    UpdateStream,
    /// draft-ietf-alto-new-transport section 6.
    Tips,
    /// draft-ietf-alto-new-transport-01: queues of updates, pushed over HTTP/2.
    TransportQueues,
    /// draft-alto-caching-subscription-00 section 8.1: where to subscribe.
    Subscription,
    /// Section 8.6: where to end that.
    Unsubscription,
    /// Section 8.5: where the server itself is notified.
    Notification,
    /// An extension's.
    Other,
}

impl Service {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::NetworkMap => "network map",
            Self::CostMap => "cost map",
            Self::FilteredNetworkMap => "filtered network map",
            Self::FilteredCostMap => "filtered cost map",
            Self::EndpointProperties => "endpoint properties",
            Self::EndpointCost => "endpoint cost",
            Self::UpdateStream => "update stream",
            Self::Tips => "TIPS",
            Self::TransportQueues => "transport queues",
            Self::Subscription => "subscription",
            Self::Unsubscription => "end of subscriptions",
            Self::Notification => "notification",
            Self::Other => "other",
        }
    }
}

impl Offer {
    /// What it is for.
    pub fn service(&self) -> Service {
        match (&*self.entry.media_type, self.entry.accepts.as_deref().filter(|accepts| !accepts.is_empty())) {
            (media_type::DIRECTORY, None) => Service::Directory,
            (media_type::NETWORK_MAP, None) => Service::NetworkMap,
            (media_type::COST_MAP, None) => Service::CostMap,
            (media_type::NETWORK_MAP, Some(accepts)) if takes(accepts, media_type::NETWORK_MAP_FILTER) => Service::FilteredNetworkMap,
            (media_type::COST_MAP, Some(accepts)) if takes(accepts, media_type::COST_MAP_FILTER) => Service::FilteredCostMap,
            (media_type::ENDPOINT_PROPERTIES, Some(accepts)) if takes(accepts, media_type::ENDPOINT_PROPERTIES_PARAMS) => {
                Service::EndpointProperties
            }
            (media_type::ENDPOINT_COST, Some(accepts)) if takes(accepts, media_type::ENDPOINT_COST_PARAMS) => Service::EndpointCost,
            (media_type::EVENT_STREAM, Some(_)) => Service::UpdateStream,
            (media_type::TIPS, Some(_)) => Service::Tips,
            (media_type::TRANSPORT, Some(_)) => Service::TransportQueues,
            (media_type::SUBSCRIPTION_DATA, Some(accepts)) if takes(accepts, media_type::SUBSCRIBE_INPUT) => Service::Subscription,
            (media_type::SUBSCRIPTION_DATA, Some(accepts)) if takes(accepts, media_type::SUBSCRIPTION_DATA) => Service::Unsubscription,
            (media_type::NOTIFICATION_DATA, Some(_)) => Service::Notification,
            _ => Service::Other,
        }
    }

    fn depends_on(&self, network_map: &ResourceId) -> bool {
        self.entry.uses.contains(network_map)
    }
}

/// `accepts` may list several types, separated by commas (RFC 7285 section 9.1.4).
fn takes(accepts: &str, media_type: &str) -> bool {
    accepts.split(',').any(|one| one.trim() == media_type)
}

/// Everything offered.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// Where the root directory is.
    pub root: Uri,
    /// The root directory.
    pub directory: Arc<Directory>,
    /// All entries but those for further directories that were followed.
    pub offers: Vec<Offer>,
}

impl Catalog {
    /// The offer of this id; the root directory's where several have it.
    pub fn offer(&self, id: &str) -> Result<&Offer, Error> {
        self.offers
            .iter()
            .find(|offer| offer.id.as_str() == id)
            .ok_or_else(|| Error::NotOffered { what: format!("there is no resource {id:?}"), offered: self.ids(|_| true) })
    }

    /// The network map of this id, or the default one (RFC 7285 section 9.2.2), or the only one.
    pub fn network_map(&self, id: Option<&ResourceId>) -> Result<&Offer, Error> {
        let maps = || self.offers.iter().filter(|offer| offer.service() == Service::NetworkMap);
        // One that says when it expires stands beside one that does not: they are one map.
        let plain = || maps().filter(|offer| !offer.entry.capabilities.expires);
        let chosen = match id.or(self.directory.meta.default_network_map.as_ref()) {
            Some(id) => maps().find(|offer| offer.id == *id),
            None => plain().next().filter(|_| plain().count() == 1).or_else(|| maps().next().filter(|_| maps().count() == 1)),
        };
        chosen.ok_or_else(|| Error::NotOffered {
            what: match id {
                Some(id) => format!("there is no network map {id}"),
                None => "there is no default network map".into(),
            },
            offered: self.ids(|offer| offer.service() == Service::NetworkMap),
        })
    }

    /// A cost map to GET, of one cost type over one network map.
    pub fn cost_map(&self, cost_type: &CostType, network_map: &ResourceId) -> Result<&Offer, Error> {
        self.over(Service::CostMap, std::slice::from_ref(cost_type), network_map, |offer| offer.cost_types.len() == 1)
    }

    /// The filter service of a network map.
    pub fn filtered_network_map(&self, network_map: &ResourceId) -> Result<&Offer, Error> {
        self.over(Service::FilteredNetworkMap, &[], network_map, |offer| !offer.entry.capabilities.expires)
    }

    /// The resource that gives a network map with its expiry (draft-alto-caching-subscription section 7), if there is one.
    pub fn expiring_network_map(&self, network_map: &ResourceId) -> Option<&Offer> {
        let of_it = |offer: &&Offer| offer.id == *network_map || offer.depends_on(network_map);
        self.expiring(Service::NetworkMap).find(of_it)
    }

    /// The filter service of a network map whose answers say when they expire, if there is one.
    pub fn expiring_filtered_network_map(&self, network_map: &ResourceId) -> Option<&Offer> {
        self.expiring(Service::FilteredNetworkMap).find(|offer| offer.depends_on(network_map))
    }

    fn expiring(&self, service: Service) -> impl Iterator<Item = &Offer> {
        self.offers.iter().filter(move |offer| offer.entry.capabilities.expires && offer.service() == service)
    }

    /// A filter service for cost types over one network map; `constrained` when the request has constraints.
    pub fn filtered_cost_map(&self, cost_types: &[CostType], network_map: &ResourceId, constrained: bool) -> Result<&Offer, Error> {
        self.over(Service::FilteredCostMap, cost_types, network_map, |offer| offer.entry.capabilities.cost_constraints || !constrained)
    }

    /// An endpoint cost service for a cost type; `constrained` when the request has constraints.
    pub fn endpoint_cost(&self, cost_types: &[CostType], constrained: bool) -> Result<&Offer, Error> {
        self.choose(Service::EndpointCost, cost_types, "", |offer| offer.entry.capabilities.cost_constraints || !constrained)
    }

    /// An endpoint property service for a property.
    pub fn endpoint_properties(&self, property: &PropertyName) -> Result<&Offer, Error> {
        self.offers
            .iter()
            .find(|offer| offer.service() == Service::EndpointProperties && offer.entry.capabilities.prop_types.contains(property))
            .ok_or_else(|| Error::NotOffered {
                what: format!("there is no endpoint property {property}"),
                offered: self
                    .offers
                    .iter()
                    .filter(|offer| offer.service() == Service::EndpointProperties)
                    .flat_map(|offer| offer.entry.capabilities.prop_types.iter().map(ToString::to_string))
                    .collect(),
            })
    }

    /// How a metric can be had from a service: as numbers rather than as ranks.
    pub fn cost_type(&self, metric: &Metric, service: Service) -> Option<CostType> {
        let modes = [Mode::Numerical, Mode::Ordinal];
        modes
            .into_iter()
            .map(|mode| CostType { mode, metric: metric.clone(), description: None })
            .find(|cost_type| self.offers.iter().any(|offer| offer.service() == service && offer.cost_types.contains(cost_type)))
    }

    /// Every metric that some service offers, once.
    pub fn metrics(&self) -> Vec<String> {
        let mut metrics: Vec<_> =
            self.offers.iter().flat_map(|offer| offer.cost_types.iter().map(|cost_type| cost_type.metric.as_str().to_owned())).collect();
        metrics.sort();
        metrics.dedup();
        metrics
    }

    fn over(
        &self,
        service: Service,
        cost_types: &[CostType],
        network_map: &ResourceId,
        more: impl Fn(&Offer) -> bool,
    ) -> Result<&Offer, Error> {
        self.choose(service, cost_types, &format!(" over network map {network_map}"), |offer| offer.depends_on(network_map) && more(offer))
    }

    fn choose(&self, service: Service, cost_types: &[CostType], over: &str, more: impl Fn(&Offer) -> bool) -> Result<&Offer, Error> {
        let fits = |offer: &&Offer| {
            offer.service() == service && cost_types.iter().all(|cost_type| offer.cost_types.contains(cost_type)) && more(offer)
        };
        self.offers.iter().find(fits).ok_or_else(|| {
            let wanted: Vec<_> = cost_types.iter().map(ToString::to_string).collect();
            let of = if wanted.is_empty() { String::new() } else { format!(" of {}", wanted.join(" and ")) };
            let mut offered: Vec<_> = self
                .offers
                .iter()
                .filter(|offer| offer.service() == service)
                .flat_map(|offer| offer.cost_types.iter().map(ToString::to_string))
                .collect();
            offered.sort();
            offered.dedup();
            Error::NotOffered { what: format!("the server offers no {}{of}{over}", service.as_str()), offered }
        })
    }

    /// The service of a media type that tells the updates of all these resources, or of most: `uses` lists them (RFC 8895 section 6.4).
    pub fn update_service<'a>(&self, media_type: &str, resources: impl Iterator<Item = &'a ResourceId> + Clone) -> Option<&Offer> {
        let told = |offer: &Offer| resources.clone().filter(|id| offer.entry.uses.contains(id)).count();
        let services = self.offers.iter().filter(|offer| offer.entry.media_type.eq_ignore_ascii_case(media_type));
        // The first of equals: offers of the root directory come first.
        services.rev().filter(|offer| told(offer) > 0).max_by_key(|offer| told(offer))
    }

    fn ids(&self, keep: impl Fn(&Offer) -> bool) -> Vec<String> {
        self.offers.iter().filter(|offer| keep(offer)).map(|offer| offer.id.to_string()).collect()
    }
}

/// The `http` URI behind a `ws` one (RFC 6455 section 3): the handshake is HTTP.
fn of_websocket(uri: &str) -> String {
    match uri.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("ws") => format!("http://{rest}"),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("wss") => format!("https://{rest}"),
        _ => uri.to_owned(),
    }
}

/// The offers of one directory. Errors: a URI that cannot be resolved, a cost type name that `meta` does not define.
pub(crate) fn offers_of(directory: &Directory, at: &Uri) -> Result<Vec<Offer>, Error> {
    let resolve_names =
        |id: &ResourceId, names: &[Box<str>]| -> Result<Vec<CostType>, Error> {
            let find =
                |name: &str| {
                    directory.meta.cost_types.get(name).cloned().ok_or_else(|| {
                        Error::bad(at, format!("resource {id} names cost type {name:?}, which meta/cost-types does not define"))
                    })
                };
            names.iter().map(|name| find(name)).collect()
        };
    let offer = |(id, entry): (&ResourceId, &Entry)| {
        let uri = at.resolve(&entry.uri).map_err(|error| Error::bad(at, format!("the uri of resource {id}: {error}")))?;
        Ok(Offer {
            id: id.clone(),
            uri,
            cost_types: resolve_names(id, &entry.capabilities.cost_type_names)?,
            testable_cost_types: resolve_names(id, &entry.capabilities.testable_cost_type_names)?,
            updates: entry.updates.as_deref().and_then(|updates| at.resolve(&of_websocket(updates)).ok()),
            entry: entry.clone(),
            directory: at.clone(),
        })
    };
    directory.resources.iter().map(offer).collect()
}
