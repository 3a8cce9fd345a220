//! Requests to subscribe, to refresh and to unsubscribe (draft-alto-caching-subscription-00 sections 8.1 to 8.3, 8.6), and to be notified (8.5).
//!
//! No web page of another site may subscribe its reader: these answers carry no CORS permission, and what is sent here has a media type that a
//! browser asks permission for first.
use super::{Public, query};
use crate::{
    listen::{Answer, Peer, Reply, Step},
    negotiate, reply,
    transports::{
        Transports,
        clients::{Transport, too_many},
        webhook::{Failure, Id, Refusal, Requester, Subscribed, Wish},
    },
};
use alto::{
    ErrorBody,
    cost::{Metric, Mode},
    id::ResourceId,
    media_type,
    updates::webhook::{EventType, NotUnderstood, Notification, SubscribeInput, SubscriptionData},
};
use bytes::Bytes;
use history::OpenError;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, FORWARDED, HOST, RETRY_AFTER, VIA},
    request::Parts,
    uri::Authority,
};
use maps::guidance::{Guidance, Resource, Service};
use std::{net::IpAddr, sync::Arc, time::Duration};

/// What a path of the subscription service names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subscriptions {
    /// `/subscription`
    Subscribe,
    /// `/unsubscribe`
    Unsubscribe,
    /// `/notification`
    Notify,
}

impl Subscriptions {
    pub(super) fn of(path: &str) -> Option<Self> {
        [Self::Subscribe, Self::Unsubscribe, Self::Notify].into_iter().find(|one| one.path() == path)
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Subscribe => "/subscription",
            Self::Unsubscribe => "/unsubscribe",
            Self::Notify => "/notification",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Subscribe => "subscription",
            Self::Unsubscribe => "unsubscribe",
            Self::Notify => "notification",
        }
    }

    /// What is sent there, first what the directory says, and what the sender must accept. The draft's own example sends a refresh as
    /// `subscriptiondata` too, and to the unsubscribe URI with an `Accept` of errors alone: nobody needs what that answers.
    fn media_types(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Subscribe => (&[media_type::SUBSCRIBE_INPUT, media_type::SUBSCRIPTION_DATA], media_type::SUBSCRIPTION_DATA),
            Self::Unsubscribe => (&[media_type::SUBSCRIPTION_DATA, media_type::SUBSCRIBE_INPUT], ""),
            Self::Notify => (&[media_type::NOTIFICATION_DATA], ""),
        }
    }
}

impl Public {
    /// What the head of a request already says is wrong, or to read its body.
    pub(super) fn subscriptions(self: &Arc<Self>, what: Subscriptions, head: &Parts, peer: &Peer) -> Step {
        let label = crate::admin::Label::Updates(what.name());
        let done = |answer: Answer| Step::Answer(self.done(label, head, peer, 0, answer));
        if head.method != http::Method::POST {
            return done(reply::not_allowed(&head.method, super::POST).into());
        }
        let (accepts, answers) = what.media_types();
        let sent = negotiate::content_type(&head.headers);
        let accepts = accepts.iter().find(|one| sent.as_deref() == Some(**one)).unwrap_or(&accepts[0]);
        if let Some(refused) = query::refuse(head, accepts, answers) {
            return done(refused.into());
        }
        if self.transports.is_stopping() {
            return done(reply::stopping().into());
        }
        let address = peer.address.ip().to_canonical();
        let requester = Requester { address, direct: is_direct(&head.headers) };
        let wants_data = negotiate::accepts(&head.headers, media_type::SUBSCRIPTION_DATA) > 0;
        let (this, peer, head) = (self.clone(), *peer, super::slim(head));
        let then = move |body: Bytes| {
            let read = body.len();
            let transports = this.transports.clone();
            let answer = Answer::Later(Box::pin(async move {
                match what {
                    Subscriptions::Subscribe => subscribe(&transports, &body, requester).await,
                    Subscriptions::Unsubscribe => {
                        unsubscribe(&transports, &body).await.map(|told| if wants_data { told } else { done_silently() })
                    }
                    Subscriptions::Notify => notified(&transports, &body),
                }
                .unwrap_or_else(|refused| refused)
            }));
            this.done(label, &head, &peer, read, answer)
        };
        Step::Body { bytes_max: self.limits.query_bytes_max, then: Box::new(then) }
    }
}

/// Whether nothing hints at a proxy or at another site's page between us and who asks.
fn is_direct(headers: &HeaderMap) -> bool {
    let forwarded = headers.contains_key(FORWARDED) || headers.contains_key(VIA) || headers.contains_key("x-forwarded-for");
    // HTTP/2 has it in `:authority`, where it is as easily wrong; a name that somebody points at 127.0.0.1 is what matters here.
    let host = headers.get(HOST).map(|host| host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()));
    let is_local = |host: &str| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    !forwarded
        && match host {
            None => true,
            Some(host) => host.is_some_and(|host| is_local(host.host())),
        }
}

/// What there is, without a word that lets pages of other sites use it.
pub(super) fn options() -> Reply {
    let mut reply = reply::empty(StatusCode::NO_CONTENT);
    reply.headers_mut().insert(http::header::ALLOW, HeaderValue::from_static(super::POST));
    reply
}

fn wrong(body: &ErrorBody) -> Reply {
    reply::error(StatusCode::BAD_REQUEST, body)
}

fn not_understood(why: NotUnderstood) -> Reply {
    match why {
        // Section 8.3. It is not going to be understood in a moment, so there is no Retry-After.
        NotUnderstood::EventType(body) => reply::error(StatusCode::SERVICE_UNAVAILABLE, &body),
        NotUnderstood::Input(body) => wrong(&body),
    }
}

fn failed(failure: Failure) -> Reply {
    match failure {
        Failure::Gone => {
            reply::error(StatusCode::NOT_FOUND, &ErrorBody::syntax("there is no such subscription (any more); subscribe anew"))
        }
        Failure::NotYet => {
            let mut reply =
                reply::refusal(StatusCode::SERVICE_UNAVAILABLE, "subscriptions of before the restart are being taken up; try again");
            reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            reply
        }
        Failure::TooMany { address, max } => {
            too_many(format!("{max} subscriptions notify {address}, which is the most (subscriptions.contact-subscriptions-max)"), 60)
        }
        Failure::Store(why) => reply::refusal(StatusCode::SERVICE_UNAVAILABLE, format!("the subscription cannot be written down: {why}")),
    }
}

fn told(subscribed: Subscribed) -> Reply {
    let data = SubscriptionData {
        subscrid: subscribed.id.to_string().into(),
        expires: Some(subscribed.lifetime.as_secs()),
        event_types: subscribed.event_types,
    };
    let mut reply = reply::with_body(StatusCode::OK, HeaderValue::from_static(media_type::SUBSCRIPTION_DATA), data.to_json());
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// What is wrong with a filter, with the full path that RFC 7285 section 8.5.2 wants: it is a member of the subscription.
fn of_member(event_type: EventType, body: ErrorBody) -> ErrorBody {
    let field = body.field.map(|field| format!("{}/{field}", event_type.filter_member().unwrap_or_default()));
    ErrorBody { field, ..body }
}

/// Done, for who does not accept to be told more (section 8.7).
fn done_silently() -> Reply {
    let mut reply = reply::empty(StatusCode::OK);
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

async fn subscribe(transports: &Arc<Transports>, body: &[u8], requester: Requester) -> Result<Reply, Reply> {
    let input = SubscribeInput::from_json_within(body, &transports.requests).map_err(not_understood)?;
    if let Some(subscrid) = &input.subscrid {
        return refresh(transports, subscrid, input.expires.filter(|seconds| *seconds > 0), &input.event_types).await;
    }
    let webhooks = &transports.webhooks;
    let policy = webhooks.policy();
    for contact in &input.contacts {
        let member = if contact.address.is_ipv4() { "ipv4" } else { "ipv6" };
        let refuse = |member: &str, value: &str, why: String| {
            // What is wrong is the value; why, and what an operator can do, does not fit in an ALTO error but as its syntax error.
            let body = ErrorBody { syntax_error: Some(why), ..ErrorBody::invalid(format!("contactaddr/{member}"), value) };
            Err(wrong(&body))
        };
        if let Err(refused) = policy.check(contact.address, requester) {
            return refuse(&format!("{member}/addr"), &contact.address.to_string(), refused.to_string());
        }
        if contact.tls && !webhooks.trusts() {
            let why = "this server was given no certificates to check https contacts with (subscriptions.ca-file)".into();
            return refuse(&format!("{member}/scheme"), "https", why);
        }
    }
    let mut feeds = Vec::new();
    let guidance = transports.publisher.current().guidance.clone();
    let mut event_types = input.event_types.clone();
    // What others depend on first: it is told first.
    event_types.sort_unstable();
    for event_type in event_types {
        let resource = resource(&guidance, event_type, input.resource_id.as_ref()).map_err(|body| wrong(&body))?;
        let filter = input.filters.get(&event_type).filter(|_| event_type.filter_member().is_some());
        let filter = filter.map(|filter| &**filter);
        match transports.try_open(&resource, filter, requester.address).await? {
            Ok(view) => feeds.push((event_type, view)),
            Err(OpenError::Refused(body)) => return Err(wrong(&of_member(event_type, *body))),
            Err(error) => return Err(transports.refuse(error, filter, requester.address, "")),
        }
    }
    let client = transports.clients.join(Transport::Webhook)?;
    let lifetime = Duration::from_secs(input.expires.unwrap_or_default());
    let wish = Wish { feeds, contacts: input.contacts, lifetime, incremental: input.incremental };
    let subscribed = webhooks.subscribe(Id(transports.token()), wish, client).await.map_err(failed)?;
    // "event-types: This should be the same received in the subscription request".
    Ok(told(Subscribed { event_types: input.event_types, ..subscribed }))
}

async fn refresh(transports: &Arc<Transports>, subscrid: &str, seconds: Option<u64>, event_types: &[EventType]) -> Result<Reply, Reply> {
    let id = Id::parse(subscrid).ok_or_else(|| failed(Failure::Gone))?;
    match transports.webhooks.refresh(id, seconds.map(Duration::from_secs), event_types).await {
        // As the request has them, if it has any.
        Ok(subscribed) if event_types.is_empty() => Ok(told(subscribed)),
        Ok(subscribed) => Ok(told(Subscribed { event_types: event_types.into(), ..subscribed })),
        Err(Refusal::Failed(failure)) => Err(failed(failure)),
        Err(Refusal::EventTypes) => {
            let names: Vec<&str> = event_types.iter().map(|event_type| event_type.as_str()).collect();
            Err(wrong(&ErrorBody::invalid("event-types", names.join(","))))
        }
    }
}

/// `expires` of more than 0 makes it a refresh, as in the example of section 8.7.
async fn unsubscribe(transports: &Arc<Transports>, body: &[u8]) -> Result<Reply, Reply> {
    let data = SubscriptionData::from_json_within(body, &transports.requests).map_err(not_understood)?;
    if let Some(seconds) = data.expires.filter(|seconds| *seconds > 0) {
        return refresh(transports, &data.subscrid, Some(seconds), &data.event_types).await;
    }
    let id = Id::parse(&data.subscrid).ok_or_else(|| failed(Failure::Gone))?;
    transports.webhooks.unsubscribe(id).await.map(told).map_err(failed)
}

/// This server subscribes to nothing: section 8.5 has one answer to any notification.
fn notified(transports: &Transports, body: &[u8]) -> Result<Reply, Reply> {
    let notification = Notification::from_json_within(body, &transports.requests).map_err(|body| wrong(&body))?;
    Err(reply::error(StatusCode::NOT_FOUND, &ErrorBody::invalid("subscrid", &*notification.subscrid)))
}

/// The resource that an event is about: of the map that is named, or of the default network map.
fn resource(guidance: &Guidance, event_type: EventType, named: Option<&ResourceId>) -> Result<ResourceId, ErrorBody> {
    let no_such = |id: &ResourceId| ErrorBody::invalid("resource-id", id.as_str());
    let service = named.map(|id| guidance.service(id).map(|service| (id, service)).ok_or_else(|| no_such(id))).transpose()?;
    let network = match service {
        None | Some((_, Service::EndpointProperties)) => guidance.network_maps().next().map(|map| map.id.clone()),
        Some((id, Service::Get(Resource::Network(_)))) => Some(id.clone()),
        Some((_, Service::Get(Resource::Cost(view)))) => Some(view.network_map.resource_id.clone()),
        Some((_, Service::FilteredNetworkMap(map) | Service::FilteredCostMap(map) | Service::EndpointCost(map))) => Some(map.clone()),
    };
    // There is no resource to be told of: nothing that was asked for is wrong, but that it is asked here.
    let network = network.ok_or_else(|| ErrorBody::invalid("event-types", event_type.as_str()))?;
    let fits = |service: &Service| match (event_type, service) {
        (EventType::NetworkMap, Service::Get(Resource::Network(map))) => map.id == network,
        (EventType::CostMap, Service::Get(Resource::Cost(view))) => view.network_map.resource_id == network,
        (EventType::NetworkMapFilter, Service::FilteredNetworkMap(map))
        | (EventType::CostMapFilter, Service::FilteredCostMap(map))
        | (EventType::EndpointCost, Service::EndpointCost(map)) => *map == network,
        (EventType::EndpointProp, Service::EndpointProperties) => true,
        _ => false,
    };
    if let Some((id, _)) = service.filter(|(_, service)| fits(service)) {
        return Ok(id.clone());
    }
    let routing = Metric::routingcost();
    let usual = |service: &Service| match service {
        Service::Get(Resource::Cost(view)) => view.cost_type.metric == routing && view.cost_type.mode == Mode::Numerical,
        _ => true,
    };
    let mut fitting: Vec<_> = guidance.services().filter(|(_, service)| fits(service)).collect();
    fitting.sort_by_key(|(_, service)| !usual(service));
    fitting.first().map(|(id, _)| (*id).clone()).ok_or_else(|| ErrorBody::invalid("event-types", event_type.as_str()))
}
