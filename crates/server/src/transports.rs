//! A cursor in, one protocol's messages out: one file for each update protocol, the same names as in `client/transports` and `alto::updates`.
//!
//! A transport is what `listen` asks for the next thing to say (`Outgoing`, `Socket`, `Pushing`). Invariant: it keeps places in views,
//! never what is still to be sent.
pub(crate) mod bell;
pub(crate) mod clients;
pub(crate) mod push;
mod ready;
pub(crate) mod sse;
pub(crate) mod tips;
pub(crate) mod tips_stream;
pub(crate) mod webhook;
pub(crate) mod websocket;

use crate::{Limits, listen::Reply, reply};
use alto::{ErrorBody, id::ResourceId};
use bell::Bell;
use clients::{Clients, too_many};
use history::{OpenError, Publisher, View};
use http::StatusCode;
use maps::guidance::{Guidance, Service};
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};
use tokio::sync::Semaphore;

/// Of events that go out in one go. 64 KiB: more fills no packets better, and a client that stalls pins little.
const BATCH_BYTES: usize = 64 << 10;

/// What all transports share.
pub(crate) struct Transports {
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) bell: Arc<Bell>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) limits: Limits,
    /// Bounds on the bodies of requests.
    pub(crate) requests: alto::Limits,
    pub(crate) queries: maps::guidance::Limits,
    /// Data of events, made once for all streams.
    pub(crate) payloads: sse::Payloads,
    pub(crate) streams: sse::Streams,
    pub(crate) queues: push::Queues,
    pub(crate) tips: tips::Tips,
    pub(crate) messages: websocket::Messages,
    pub(crate) webhooks: webhook::Webhooks,
    /// Origins whose pages may open WebSockets; none: all.
    pub(crate) websocket_origins: Vec<String>,
    /// Views of POST-mode resources that are computed at a time.
    opening: Semaphore,
    waiting: AtomicUsize,
    stopping: AtomicBool,
}

impl Transports {
    pub(crate) fn new(
        publisher: Arc<Publisher>,
        limits: &Limits,
        queries: &maps::guidance::Limits,
        websocket_origins: Vec<String>,
        webhooks: webhook::Webhooks,
    ) -> Arc<Self> {
        let this = Arc::new(Self {
            bell: Bell::new(&publisher),
            publisher,
            clients: Clients::new(limits),
            // How many substreams a stream has is for the stream to say, with 429; here the bytes of a body bound them.
            requests: alto::Limits { substreams_max: usize::MAX, ..queries.requests.clone() },
            queries: queries.clone(),
            payloads: sse::Payloads::new(limits.ready_bytes_max),
            streams: sse::Streams::default(),
            queues: push::Queues::default(),
            tips: tips::Tips::new(limits),
            messages: websocket::Messages::new(limits.ready_bytes_max),
            webhooks,
            websocket_origins,
            opening: Semaphore::new(limits.queries_at_once.max(1)),
            waiting: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            limits: limits.clone(),
        });
        webhook::listen(&this);
        this
    }

    /// The server was told to stop: the clients of streams are told.
    pub(crate) fn shut_down(&self) {
        self.stopping.store(true, Relaxed);
        self.streams.shut_down();
    }

    /// What the update services are called now.
    pub(crate) fn names(&self) -> Names {
        Names::of(&self.publisher.current().guidance)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// 128 bits that nobody can guess.
    pub(crate) fn token(&self) -> [u8; 16] {
        let mut token = [0; 16];
        rustls::crypto::ring::default_provider().secure_random.fill(&mut token).expect("the system has random numbers");
        token
    }

    pub(crate) fn bounds(&self) -> sse::Bounds {
        let Limits { substreams_max, substream_ids_max, control_requests_max, keep_alive, .. } = self.limits;
        sse::Bounds { substreams_max, substream_ids_max, control_requests_max, keep_alive, batch_bytes: BATCH_BYTES }
    }

    /// The view that a client asks for. Errors name fields that begin with `field`.
    pub(crate) async fn open(
        self: &Arc<Self>,
        id: ResourceId,
        input: Option<Box<str>>,
        client: IpAddr,
        field: &str,
    ) -> Result<Arc<View>, Reply> {
        let opened = self.try_open(&id, input.as_deref(), client).await?;
        opened.map_err(|error| self.refuse(error, input.as_deref(), client, field))
    }

    /// The view that a client asks for, or why it cannot have it; one of a POST-mode resource is computed beside the worker. The outer error is
    /// about this server alone.
    pub(crate) async fn try_open(
        self: &Arc<Self>,
        id: &ResourceId,
        input: Option<&str>,
        client: IpAddr,
    ) -> Result<Result<Arc<View>, OpenError>, Reply> {
        let computed = self.publisher.current().guidance.service(id).is_some_and(|service| service.accepts().is_some());
        let Some(input) = input.filter(|_| computed) else {
            return Ok(self.publisher.open(id, input.map(str::as_bytes), client));
        };
        let _waiting = Waiting::join(self)?;
        let turn = self.opening.acquire().await.expect("the semaphore is never closed");
        let (publisher, id, input) = (self.publisher.clone(), id.clone(), Box::<str>::from(input));
        let opened = tokio::task::spawn_blocking(move || publisher.open(&id, Some(input.as_bytes()), client)).await;
        drop(turn);
        opened.map_err(|_| reply::refusal(StatusCode::INTERNAL_SERVER_ERROR, "the view could not be computed"))
    }

    /// What is said of a view that cannot be had.
    pub(crate) fn refuse(&self, error: OpenError, input: Option<&str>, client: IpAddr, field: &str) -> Reply {
        let body = match error {
            OpenError::NoResource(id) => ErrorBody::invalid(format!("{field}resource-id"), id.as_str()),
            // "the same error response that that resource would return for missing or invalid input".
            OpenError::InputMissing(id) => match self.publisher.current().guidance.answer(&id, b"", client, &self.queries) {
                Some(Err(body)) => body,
                Some(Ok(_)) | None => ErrorBody::missing(format!("{field}input")),
            },
            OpenError::InputForbidden(_) => {
                let value = input.unwrap_or_default();
                let mut cut = value.len().min(self.requests.error_value_bytes_max);
                while !value.is_char_boundary(cut) {
                    cut -= 1;
                }
                ErrorBody::invalid(format!("{field}input"), &value[..cut])
            }
            OpenError::Refused(body) => *body,
            error @ (OpenError::TooManyViews { .. } | OpenError::ViewsTooLarge { .. }) => return too_many(error.to_string(), 30),
        };
        reply::error(StatusCode::BAD_REQUEST, &body)
    }

    /// What a resource depends on (RFC 8895 section 6.7.1).
    pub(crate) fn depends_on(&self, id: &ResourceId) -> Box<[ResourceId]> {
        let snapshot = self.publisher.current();
        match snapshot.guidance.service(id) {
            None => Box::default(),
            Some(Service::Get(resource)) => resource.depends_on().cloned().into_iter().collect(),
            Some(Service::FilteredNetworkMap(map) | Service::FilteredCostMap(map) | Service::EndpointCost(map)) => [map.clone()].into(),
            Some(Service::EndpointProperties) => snapshot.guidance.network_maps().map(|map| map.id.clone()).collect(),
        }
    }
}

/// Ids of the update services in the directory.
pub(crate) struct Names {
    pub(crate) update_stream: ResourceId,
    pub(crate) tips: ResourceId,
    pub(crate) tips_stream: ResourceId,
    pub(crate) queues: ResourceId,
    pub(crate) subscription: ResourceId,
    pub(crate) unsubscribe: ResourceId,
    pub(crate) notification: ResourceId,
}

impl Names {
    /// A resource that an operator called like one of them keeps its name.
    pub(crate) fn of(guidance: &Guidance) -> Self {
        let free = |name: &str| {
            let numbered = (2u32..).map(|number| format!("{name}-{number}"));
            let mut ids = std::iter::once(name.to_owned()).chain(numbered).map(|name| name.parse().expect("this is a valid resource id"));
            ids.find(|id| guidance.service(id).is_none()).expect("there are fewer resources than numbers")
        };
        Self {
            update_stream: free("update-stream"),
            tips: free("tips"),
            tips_stream: free("tips-stream"),
            queues: free("transport-queues"),
            subscription: free("subscription"),
            unsubscribe: free("unsubscribe"),
            notification: free("notification"),
        }
    }
}

/// A place among those who wait for a view to be computed.
struct Waiting<'a>(&'a Transports);

impl<'a> Waiting<'a> {
    fn join(transports: &'a Transports) -> Result<Self, Reply> {
        let waiting = Self(transports);
        if transports.waiting.fetch_add(1, Relaxed) >= transports.limits.queries_waiting_max {
            return Err(reply::busy());
        }
        Ok(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}
