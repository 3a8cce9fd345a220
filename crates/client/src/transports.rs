//! The update protocols, one file each: they speak to the server and report what it said as [`Event`]s; what it means is for
//! [`crate::replica`] to know.
//!
//! Invariant: a session ends by returning how; it holds no more than one update that was not taken yet, for each resource.
pub(crate) mod pulse;
pub(crate) mod push;
pub(crate) mod sse;
pub(crate) mod tips;
pub(crate) mod webhook;
pub(crate) mod websocket;

use crate::{
    catalog::{Catalog, Offer},
    client::{Client, refusal},
    error::Error,
    http::Reply,
    replica::{
        Farewell, Notifications, Report, Via,
        core::{Ended, Event, Followed, Place, Since, Update},
    },
};
use alto::{
    error::Code,
    id::{ResourceId, Tag},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use http::{HeaderMap, StatusCode, header};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// One update protocol, at the client's end.
pub(crate) trait Transport {
    /// Follows until there is a reason not to. Dropped when it is no longer wanted.
    fn run(session: Session) -> impl Future<Output = Ended> + Send;
}

/// Runs one session.
pub(crate) async fn run(via: Via, session: Session) -> Ended {
    match via {
        Via::Sse => sse::Sse::run(session).await,
        Via::Tips => tips::Tips::run(session).await,
        Via::Push => push::Push::run(session).await,
        Via::WebSocket => websocket::WebSocket::run(session).await,
        Via::Webhook => webhook::Webhook::run(session).await,
    }
}

/// What a transport is told.
#[derive(Debug)]
pub(crate) struct Session {
    pub client: Arc<Client>,
    pub catalog: Arc<Catalog>,
    /// What to follow, and where it stood when the session began.
    pub follows: Vec<Follow>,
    /// Where it stands: updates that were taken move it.
    pub places: watch::Receiver<Vec<Place>>,
    pub events: Events,
    pub notifications: Notifications,
    /// Kept by whatever has to be done after the session ended.
    pub farewell: Farewell,
}

/// One resource for a transport.
#[derive(Debug, Clone)]
pub(crate) struct Follow {
    pub index: usize,
    pub followed: Followed,
    pub place: Place,
}

impl Follow {
    /// Its input as text.
    pub fn input(&self) -> Option<Box<str>> {
        self.followed.input.as_ref().map(|input| String::from_utf8_lossy(input).into())
    }

    /// `Accept` of whatever may come of it.
    pub fn accept(&self) -> String {
        use alto::media_type::{ERROR, JSON_PATCH, MERGE_PATCH};
        format!("{},{MERGE_PATCH},{JSON_PATCH},{ERROR}", self.followed.media_type)
    }

    pub fn update(&self, since: Since, seq: Option<u64>, tag: Option<Tag>, media_type: impl Into<Box<str>>, body: Bytes) -> Event {
        Event::Update(Update { index: self.index, since, seq, tag, media_type: media_type.into(), body })
    }
}

/// Where to report. Waits while reports are not taken, so that a connection is read no faster than its updates are applied.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    pub session: u64,
    pub sender: mpsc::Sender<Report>,
}

impl Events {
    pub async fn send(&self, event: Event) {
        // Nobody listens: then this session is about to be dropped.
        let _ = self.sender.send(Report { session: self.session, event, taken: None }).await;
    }

    /// The same without waiting; left out where others wait to be taken.
    pub fn offer(&self, event: Event) {
        let _ = self.sender.try_send(Report { session: self.session, event, taken: None });
    }

    /// The same, and waits until the replica took it. `false`: it did not, and this session is over.
    pub async fn take(&self, event: Event) -> bool {
        let (taken, answer) = oneshot::channel();
        let report = Report { session: self.session, event, taken: Some(taken) };
        self.sender.send(report).await.is_ok() && answer.await.is_ok()
    }
}

impl Session {
    /// What is followed, by the service of a media type that tells its updates: as few services as there can be (RFC 8895 section 6:
    /// "one or more"). What only others depend on may be left out.
    pub async fn services(&mut self, media_type: &str) -> Result<Vec<(Offer, Vec<Follow>)>, Ended> {
        let (mut services, mut left) = (Vec::new(), self.follows.clone());
        while let Some(offer) = self.catalog.update_service(media_type, left.iter().map(|follow| &follow.followed.resource)) {
            let told;
            (told, left) = left.into_iter().partition(|follow| offer.entry.uses.contains(&follow.followed.resource));
            services.push((offer.clone(), told));
        }
        self.keep(|follow| left.iter().all(|left| left.index != follow.index), media_type).await?;
        Ok(services)
    }

    /// Leaves out what is not offered.
    pub async fn keep(&mut self, offered: impl Fn(&Follow) -> bool, what: &str) -> Result<(), Ended> {
        let (kept, without): (Vec<_>, Vec<_>) = std::mem::take(&mut self.follows).into_iter().partition(offered);
        self.follows = kept;
        for follow in without {
            if follow.followed.wanted {
                return Err(Ended::Unsupported(format!("the directory offers no {what} for {}", follow.followed.resource)));
            }
            self.events.send(Event::Without(follow.index)).await;
        }
        Ok(())
    }

    /// Runs one future a resource; the first to end ends all.
    pub async fn each<F: Future<Output = Ended>>(self, one: impl Fn(Arc<Self>, Follow) -> F) -> Ended {
        let follows = self.follows.clone();
        let session = Arc::new(self);
        first_of(follows.into_iter().map(|follow| one(session.clone(), follow))).await
    }

    /// Runs one future a service; the first to end ends all.
    pub async fn each_service<F: Future<Output = Ended>>(
        mut self,
        media_type: &str,
        one: impl Fn(Arc<Self>, Offer, Vec<Follow>) -> F,
    ) -> Ended {
        let services = match self.services(media_type).await {
            Ok(services) => services,
            Err(ended) => return ended,
        };
        let session = Arc::new(self);
        first_of(services.into_iter().map(|(offer, follows)| one(session.clone(), offer, follows))).await
    }
}

/// Runs all; the first to end ends them.
pub(crate) async fn first_of<F: Future<Output = Ended>>(futures: impl Iterator<Item = F>) -> Ended {
    let mut running: FuturesUnordered<_> = futures.collect();
    running.next().await.unwrap_or_else(|| Ended::Unsupported("there is nothing to follow".into()))
}

/// What an error of an exchange means for the session.
pub(crate) fn failed(error: Error) -> Ended {
    match error {
        Error::Connect { .. } | Error::Timeout { .. } => Ended::Unreachable(error.to_string()),
        // A certificate that is not trusted will not be trusted in a second.
        Error::Tls { ref source, .. } if source.kind() == std::io::ErrorKind::InvalidData => Ended::Fatal(error),
        Error::Tls { .. } => Ended::Unreachable(error.to_string()),
        Error::Broken { .. } => Ended::Unreachable(error.to_string()),
        Error::Url { .. } | Error::Token | Error::Certificates { .. } => Ended::Fatal(error),
        Error::Status { .. } | Error::Refused { .. } | Error::BadAnswer { .. } | Error::NotOffered { .. } | Error::Limit { .. } => {
            Ended::Unsupported(error.to_string())
        }
    }
}

/// What a status other than success means for the session.
pub(crate) fn refused(client: &Client, reply: &Reply, method: http::Method) -> Ended {
    let words = match refusal(reply, &client.options().limits.documents) {
        // It was in the directory a moment ago: the directory will say whether it comes again.
        Ok(Some(refusal @ Error::Refused { .. })) if no_resource(&refusal).is_some() => {
            let resource = no_resource(&refusal).expect("there is one, it was looked at");
            return Ended::Withdrawn { resource, why: refusal.to_string() };
        }
        // A wrong input is wrong over every transport.
        Ok(Some(error)) if reply.status == StatusCode::BAD_REQUEST => return Ended::Fatal(error),
        Ok(Some(error)) => error,
        Ok(None) => crate::client::status(&method, reply),
        Err(error) => error,
    };
    match reply.status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::TOO_EARLY => Ended::Closed { why: words.to_string(), retry_after: reply.retry_after() },
        status if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
            Ended::Closed { why: words.to_string(), retry_after: reply.retry_after() }
        }
        _ => Ended::Unsupported(words.to_string()),
    }
}

/// The resource that a refusal says there is not.
fn no_resource(refusal: &Error) -> Option<ResourceId> {
    let Error::Refused { error, .. } = refusal else { return None };
    let about_it = error.field.as_ref().is_some_and(|field| field.rsplit('/').next() == Some("resource-id"));
    error.value.as_ref().filter(|_| about_it && error.code == Code::InvalidFieldValue)?.parse().ok()
}

/// Media type without parameters.
pub(crate) fn media_type_of(headers: &HeaderMap) -> String {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The tag in an `ETag` that is one version's (a weak one, or one of another coding, is not).
pub(crate) fn etag(headers: &HeaderMap) -> Option<Tag> {
    headers.get(header::ETAG)?.to_str().ok()?.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A resource that goes away between the directory and the request ends nothing at once, as simulations found.
    #[test]
    fn refusals_that_name_a_missing_resource() {
        for (body, want) in [
            (r#"{"meta":{"code":"E_INVALID_FIELD_VALUE","field":"resource-id","value":"costs"}}"#, Some("costs")),
            (r#"{"meta":{"code":"E_INVALID_FIELD_VALUE","field":"add/s0/resource-id","value":"costs"}}"#, Some("costs")),
            (r#"{"meta":{"code":"E_INVALID_FIELD_VALUE","field":"resource-id"}}"#, None),
            (r#"{"meta":{"code":"E_MISSING_FIELD","field":"resource-id","value":"costs"}}"#, None),
            (r#"{"meta":{"code":"E_INVALID_FIELD_VALUE","field":"input","value":"costs"}}"#, None),
        ] {
            let error = Box::new(alto::ErrorBody::from_json_within(body.as_bytes(), &alto::Limits::default()).unwrap());
            let refusal = Error::Refused { uri: String::new(), status: StatusCode::BAD_REQUEST, error, said: None, retry_after: None };
            assert_eq!(no_resource(&refusal).as_ref().map(ResourceId::as_str), want, "{body}");
        }
    }
}
