//! Subscription and notification (draft-alto-caching-subscription-00 section 8): the server calls back. A session listens for notifications
//! of all that it follows, subscribes to each resource by itself, and refreshes that by and by, which is also how it sees that the server
//! lives and still knows it.
//!
//! The address it gives is that of its end of a connection to the server; behind address translation the caller knows better
//! ([`Notifications`]). Invariant: what was subscribed to is unsubscribed from when the session ends, in bounded time.
mod listener;
mod subscriptions;

use self::{
    listener::Listening,
    subscriptions::{Subscription, Subscriptions},
};
use super::{Follow, Session, Transport, failed, refused};
use crate::{
    catalog::{self, Catalog, Offer},
    client::Client,
    http::{Ask, Reply},
    options::Limits,
    replica::{
        Farewell, Notifications,
        backoff::Backoff,
        core::{Ended, Event, Followed},
    },
    uri::{Origin, Uri},
};
use alto::{
    ErrorBody, media_type,
    updates::webhook::{ContactAddress, EventType, NotUnderstood, SubscribeInput, SubscriptionData},
};
use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    time::{Instant, sleep, sleep_until, timeout},
};

pub(crate) struct Webhook;

impl Transport for Webhook {
    async fn run(session: Session) -> Ended {
        follow(session).await.unwrap_or_else(|ended| ended)
    }
}

async fn follow(mut session: Session) -> Result<Ended, Ended> {
    let service = Service::of(&session.catalog, &session.follows)?;
    let offered = |follow: &Follow| service.offer.entry.uses.contains(&follow.followed.resource) && event_type(&follow.followed).is_some();
    session.keep(offered, "subscription").await?;
    let options = session.client.options();
    let (socket, contact) = place(&session.client, &session.notifications, &service.offer.uri.origin()).await?;
    let (subscriptions, mut reasons) = Subscriptions::new(session.events.clone(), options.limits.clone());
    let listening = Listening::start(socket, subscriptions.clone(), options.limits.clone(), options.silence_timeout);
    let _leave = Leave {
        client: session.client.clone(),
        service: service.clone(),
        subscriptions: subscriptions.clone(),
        listening: Some(listening),
        farewell: session.farewell.clone(),
    };
    let subscribed = session.each(|session, follow| {
        let (service, subscriptions) = (service.clone(), subscriptions.clone());
        async move { follow_one(&session, follow, &service, contact, &subscriptions).await.unwrap_or_else(|ended| ended) }
    });
    tokio::select! {
        biased;
        Some(ended) = reasons.recv() => Ok(ended),
        ended = subscribed => Ok(ended),
    }
}

/// Where to subscribe and to unsubscribe (section 9).
#[derive(Debug, Clone)]
struct Service {
    offer: Offer,
    /// `None`: refreshing it with nothing left has to do.
    unsubscribe: Option<Uri>,
}

impl Service {
    fn of(catalog: &Catalog, follows: &[Follow]) -> Result<Self, Ended> {
        let told = |offer: &Offer| follows.iter().filter(|follow| offer.entry.uses.contains(&follow.followed.resource)).count();
        let services = catalog.offers.iter().filter(|offer| offer.service() == catalog::Service::Subscription);
        // The first of equals: offers of the root directory come first.
        let best = services.rev().filter(|offer| told(offer) > 0).max_by_key(|offer| told(offer));
        let offer = best.cloned().ok_or_else(|| Ended::Unsupported("the directory offers no subscription for it".into()))?;
        let beside = |other: &&Offer| other.service() == catalog::Service::Unsubscription && other.directory == offer.directory;
        let unsubscribe = catalog.offers.iter().find(beside).map(|other| other.uri.clone());
        Ok(Self { offer, unsubscribe })
    }
}

/// What a resource is subscribed to as.
fn event_type(followed: &Followed) -> Option<EventType> {
    Some(match (&*followed.media_type, &followed.input) {
        (media_type::NETWORK_MAP, None) => EventType::NetworkMap,
        (media_type::COST_MAP, None) => EventType::CostMap,
        (media_type::NETWORK_MAP, Some(_)) => EventType::NetworkMapFilter,
        (media_type::COST_MAP, Some(_)) => EventType::CostMapFilter,
        (media_type::ENDPOINT_PROPERTIES, Some(_)) => EventType::EndpointProp,
        (media_type::ENDPOINT_COST, Some(_)) => EventType::EndpointCost,
        _ => return None,
    })
}

/// A socket that listens, and how the server finds it.
async fn place(client: &Client, wish: &Notifications, server: &Origin) -> Result<(TcpListener, ContactAddress), Ended> {
    let local = async {
        let patience = client.options().connect_timeout;
        let unreachable = |error: io::Error| Ended::Unreachable(format!("cannot connect to {server}: {error}"));
        let tcp = timeout(patience, TcpStream::connect((&*server.host, server.port)))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let address = tcp.and_then(|tcp| tcp.local_addr()).map_err(unreachable)?;
        Ok::<IpAddr, Ended>(address.ip().to_canonical())
    };
    let (listen, local) = match (wish.listen, wish.contact) {
        (Some(listen), Some(_)) => (listen, listen.ip()),
        (Some(listen), None) if !listen.ip().is_unspecified() => (listen, listen.ip()),
        (Some(listen), None) => (listen, local.await?),
        (None, _) => {
            let local = local.await?;
            (SocketAddr::new(local, 0), local)
        }
    };
    let cannot = |error: io::Error| Ended::Unsupported(format!("cannot listen for notifications at {listen}: {error}"));
    let socket = bind(listen, &client.options().limits).await.map_err(cannot)?;
    let port = socket.local_addr().map_err(cannot)?.port();
    let contact = wish.contact.unwrap_or(SocketAddr::new(local, port));
    let port = if contact.port() == 0 { port } else { contact.port() };
    Ok((socket, ContactAddress { address: contact.ip().to_canonical(), port, tls: false }))
}

/// The session before this one may still say farewell at the same port.
async fn bind(address: SocketAddr, limits: &Limits) -> io::Result<TcpListener> {
    const AGAIN: Duration = Duration::from_millis(100);
    let until = Instant::now() + limits.farewell_time_max + AGAIN;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && address.port() != 0 && Instant::now() < until => sleep(AGAIN).await,
            bound => return bound,
        }
    }
}

async fn follow_one(
    session: &Session,
    follow: Follow,
    service: &Service,
    contact: ContactAddress,
    subscriptions: &Arc<Subscriptions>,
) -> Result<Ended, Ended> {
    let event_type = event_type(&follow.followed).expect("the others were left out");
    let filters = match (event_type.filter_member(), follow.input()) {
        (Some(_), Some(input)) => BTreeMap::from([(event_type, input)]),
        _ => BTreeMap::new(),
    };
    let time = session.client.options().limits.subscription_time;
    let input = SubscribeInput {
        subscrid: None,
        event_types: vec![event_type],
        expires: Some(time.as_secs().max(1)),
        contacts: vec![contact],
        filters,
        resource_id: Some(follow.followed.resource.clone()),
        incremental: true,
    };
    let asking = subscriptions.asking();
    // The session may end before the answer; the server may have begun it all the same, and only the answer says what is to be ended.
    let subscribing = tokio::spawn({
        let (client, service, subscriptions) = (session.client.clone(), service.clone(), subscriptions.clone());
        async move {
            let reply = post(&client, &service.offer.uri, media_type::SUBSCRIBE_INPUT, input.to_json()).await?;
            let data = granted(&client, &reply)?;
            let left = data.expires.map_or(time, Duration::from_secs);
            let (subscription, leaving) = subscriptions.insert(data.subscrid, event_type, follow, left);
            if leaving {
                unsubscribe(&client, &service, &subscriptions, &subscription).await;
            }
            drop(asking);
            Ok(subscription)
        }
    });
    let subscription = subscribing.await.unwrap_or_else(|error| Err(Ended::Unreachable(error.to_string())))?;
    session.events.send(Event::Opened).await;
    refresh(session, service, subscriptions, &subscription).await
}

/// Refreshes a subscription as long as that works. What fails is tried again until it expires, or the replica has had enough of the silence.
async fn refresh(session: &Session, service: &Service, subscriptions: &Subscriptions, subscription: &Subscription) -> Result<Ended, Ended> {
    let limits = &session.client.options().limits;
    let mut backoff = Backoff::new(limits.backoff_min, limits.backoff_max, chance());
    let mut until = subscription.until.subscribe();
    let mut due = Instant::now() + rest(until.borrow_and_update().duration_since(Instant::now()), limits);
    let mut failure: Option<String> = None;
    loop {
        tokio::select! {
            () = sleep_until(due) => {}
            _ = until.changed() => {
                due = due.min(Instant::now() + rest(until.borrow_and_update().duration_since(Instant::now()), limits));
                continue;
            }
        }
        if let Some(why) = failure.take().filter(|_| *until.borrow() <= Instant::now()) {
            subscriptions.remove(&subscription.subscrid);
            return Err(Ended::Unreachable(format!("the subscription could not be refreshed before it expired: {why}")));
        }
        let input = SubscribeInput {
            subscrid: Some(subscription.subscrid.clone()),
            event_types: vec![subscription.event_type],
            expires: Some(limits.subscription_time.as_secs().max(1)),
            ..SubscribeInput::default()
        };
        let refreshed = match post(&session.client, &service.offer.uri, media_type::SUBSCRIBE_INPUT, input.to_json()).await {
            Ok(reply) if matches!(reply.status, StatusCode::NOT_FOUND | StatusCode::GONE) => {
                subscriptions.remove(&subscription.subscrid);
                let why = format!("the server has the subscription to {} no more", subscription.follow.followed.resource);
                return Err(Ended::Closed { why, retry_after: None });
            }
            Ok(reply) => granted(&session.client, &reply),
            Err(ended) => Err(ended),
        };
        let again = match refreshed {
            Ok(data) => {
                backoff.reset();
                subscription.lives(data.expires.or(Some(limits.subscription_time.as_secs())));
                session.events.send(Event::Alive).await;
                rest(until.borrow_and_update().duration_since(Instant::now()), limits)
            }
            Err(Ended::Unreachable(why)) => {
                failure = Some(why);
                backoff.next(Duration::ZERO)
            }
            Err(Ended::Closed { why, retry_after }) => {
                failure = Some(why);
                backoff.next(retry_after.unwrap_or_default().min(limits.retry_after_max))
            }
            Err(ended) => return Err(ended),
        };
        due = Instant::now() + again;
    }
}

/// Shortest time between two refreshes. 1 s: a server that gives less is not asked in a loop.
const REST_MIN: Duration = Duration::from_secs(1);

/// When to refresh: at half the time that is left, and so often that a server which is silent for `followed_silence_max` missed two; up to a
/// quarter earlier, so that subscribers of one time do not come at one time.
fn rest(left: Duration, limits: &Limits) -> Duration {
    let early = (chance() >> 11) as f64 / (1u64 << 53) as f64;
    (left / 2).min(limits.followed_silence_max / 2).mul_f64(1.0 - early / 4.0).max(REST_MIN)
}

/// A hasher of the standard library starts from the system's randomness.
fn chance() -> u64 {
    RandomState::new().hash_one(0)
}

async fn post(client: &Client, uri: &Uri, content_type: &'static str, body: Vec<u8>) -> Result<Reply, Ended> {
    let mut headers = HeaderMap::new();
    let accept = format!("{},{}", media_type::SUBSCRIPTION_DATA, media_type::ERROR);
    headers.insert(header::ACCEPT, HeaderValue::from_str(&accept).expect("media types are ASCII"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    let ask = Ask { method: Method::POST, uri: uri.clone(), headers, body: body.into() };
    client.transport().exchange(ask).await.map_err(failed)
}

/// What the server made of a subscription, new or refreshed.
fn granted(client: &Client, reply: &Reply) -> Result<SubscriptionData, Ended> {
    let limits = &client.options().limits.documents;
    if !reply.status.is_success() {
        // Section 8.3: what is not understood now will not be in a minute.
        let about = |error: &ErrorBody| error.field.as_deref().is_some_and(|field| field.starts_with("event-types"));
        let ended = refused(client, reply, Method::POST);
        let not_understood = reply.status == StatusCode::SERVICE_UNAVAILABLE
            && reply.retry_after().is_none()
            && ErrorBody::from_json_within(&reply.body, limits).is_ok_and(|error| about(&error));
        return Err(match ended {
            Ended::Closed { why, .. } if not_understood => Ended::Unsupported(why),
            ended => ended,
        });
    }
    SubscriptionData::from_json_within(&reply.body, limits).map_err(|error| {
        let (NotUnderstood::EventType(error) | NotUnderstood::Input(error)) = error;
        Ended::Unsupported(crate::Error::unparsable(&reply.uri, &error).to_string())
    })
}

/// Unsubscribes when the session ends, whatever ends it.
struct Leave {
    client: Arc<Client>,
    service: Service,
    subscriptions: Arc<Subscriptions>,
    listening: Option<Listening>,
    farewell: Farewell,
}

impl Drop for Leave {
    fn drop(&mut self) {
        let left = self.subscriptions.leave();
        // Without a runtime everything is over already.
        let (Some(listening), Ok(runtime)) = (self.listening.take(), Handle::try_current()) else { return };
        let (client, service, subscriptions) = (self.client.clone(), self.service.clone(), self.subscriptions.clone());
        let farewell = self.farewell.clone();
        runtime.spawn(async move {
            let time_max = client.options().limits.farewell_time_max;
            let parting = async {
                join_all(left.iter().map(|subscription| unsubscribe(&client, &service, &subscriptions, subscription))).await;
                subscriptions.answered().await;
                // Last notifications come over the connections that are open; nobody waits for them where there are none.
                let _ = timeout(time_max / 2, subscriptions.left()).await;
                listening.close().await;
            };
            // What the server does not hear of expires.
            let _ = timeout(time_max, parting).await;
            drop(farewell);
        });
    }
}

async fn unsubscribe(client: &Client, service: &Service, subscriptions: &Subscriptions, subscription: &Subscription) {
    let (subscrid, event_types) = (subscription.subscrid.clone(), vec![subscription.event_type]);
    let asked = match &service.unsubscribe {
        Some(uri) => {
            let data = SubscriptionData { subscrid, expires: Some(0), event_types };
            post(client, uri, media_type::SUBSCRIPTION_DATA, data.to_json()).await
        }
        None => {
            let input = SubscribeInput { subscrid: Some(subscrid), event_types, expires: Some(0), ..SubscribeInput::default() };
            post(client, &service.offer.uri, media_type::SUBSCRIBE_INPUT, input.to_json()).await
        }
    };
    // Otherwise the server says by a last notification that it ended.
    if !asked.is_ok_and(|reply| reply.status.is_success()) {
        subscriptions.remove(&subscription.subscrid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half of what is left, up to a quarter of that earlier, and never so late that a server which lives looks silent.
    #[test]
    fn refreshes_come_in_time() {
        let limits = Limits::default();
        let mut seen = std::collections::BTreeSet::new();
        for (left, longest) in [(0, 1), (1, 1), (20, 10), (60, 30), (600, 37), (u64::from(u32::MAX), 37)] {
            for _ in 0..100 {
                let rest = rest(Duration::from_secs(left), &limits);
                let longest = if longest == 37 { limits.followed_silence_max / 2 } else { Duration::from_secs(longest) };
                assert!(rest <= longest && rest >= longest.mul_f64(0.75).max(REST_MIN), "{rest:?} of {left} s");
                seen.insert(rest);
            }
        }
        assert!(seen.len() > 300, "subscribers of one time spread");
    }
}
