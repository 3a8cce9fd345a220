//! The public listener: request -> answer (RFC 7285 sections 8 to 11).
mod directory;
mod page;
mod query;
mod subscriptions;
mod updates;

use crate::{
    access::Settings,
    admin::{Label, Metrics, Protocol},
    listen::{self, Answer, Handler, Peer, Refusal, Reply, Step},
    options::Limits,
    reply,
    transports::Transports,
    view::{Kind, Page, View, Views},
};
use alto::{id::ResourceId, media_type};
use bytes::Bytes;
use http::{
    HeaderValue, Method, StatusCode, Version,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_METHOD, ALLOW, ALT_SVC, CACHE_CONTROL, HOST,
    },
    request::Parts,
};
use percent_encoding::percent_decode_str;
use std::{cell::RefCell, sync::Arc, time::SystemTime};
use subscriptions::Subscriptions;
use updates::Updates;

/// Media type of the page for browsers.
pub(crate) const HTML: &str = "text/html; charset=utf-8";

/// Methods of what is ready.
const GET: &str = "GET, HEAD, OPTIONS";
/// Methods of what is computed.
const POST: &str = "POST, OPTIONS";

/// Answers the public.
pub(crate) struct Public {
    pub(crate) views: Views,
    pub(crate) settings: Arc<Settings>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) limits: Limits,
    pub(crate) queries: query::Queries,
    pub(crate) transports: Arc<Transports>,
    /// Whether HTTP/3 is spoken where TLS is.
    pub(crate) http3: bool,
}

impl Public {
    pub(crate) fn new(
        views: Views,
        settings: Arc<Settings>,
        metrics: Arc<Metrics>,
        limits: Limits,
        queries: maps::guidance::Limits,
        transports: Arc<Transports>,
        http3: bool,
    ) -> Self {
        let queries = query::Queries::new(queries, &limits);
        Self { views, settings, metrics, limits, queries, transports, http3 }
    }
}

/// What a path names.
enum Target<'a> {
    Directory,
    Resource(&'a ResourceId, &'a Kind),
    Updates(Updates<'a>),
    Subscriptions(Subscriptions),
    /// `OPTIONS *` (RFC 9110 section 9.3.7).
    Server,
    Nothing,
}

impl<'a> Target<'a> {
    fn of(view: &'a View, path: &'a str) -> Self {
        match path {
            "/" | "/directory" => Self::Directory,
            "*" => Self::Server,
            path => {
                let Some(name) = path.strip_prefix("/resources/") else {
                    let subscriptions = || Subscriptions::of(path).map(Self::Subscriptions);
                    return Updates::of(path).map(Self::Updates).or_else(subscriptions).unwrap_or(Self::Nothing);
                };
                let Ok(name) = percent_decode_str(name).decode_utf8() else { return Self::Nothing };
                match view.entry(&name) {
                    Some((id, kind)) => Self::Resource(id, kind),
                    None => Self::Nothing,
                }
            }
        }
    }

    fn allow(&self) -> &'static str {
        match self {
            Self::Resource(_, Kind::Query { .. }) | Self::Subscriptions(_) => POST,
            Self::Updates(updates) => updates.allow(),
            Self::Server => "GET, HEAD, POST, OPTIONS",
            Self::Directory | Self::Resource(..) | Self::Nothing => GET,
        }
    }

    fn label(&self) -> Label<'a> {
        match self {
            Self::Directory => Label::Directory,
            Self::Resource(id, _) => Label::Resource(id),
            Self::Updates(updates) => updates.label(),
            Self::Subscriptions(what) => Label::Updates(what.name()),
            Self::Server | Self::Nothing => Label::Other,
        }
    }
}

impl Handler for Public {
    fn head(self: &Arc<Self>, head: &Parts, peer: &Peer) -> Step {
        let view = self.views.current();
        let path = head.uri.path();
        let target = Target::of(&view, path);
        let answer = match (&target, &head.method) {
            _ if !has_host(head) => reply::refusal(StatusCode::BAD_REQUEST, "there must be one Host field").into(),
            (Target::Nothing, _) => reply::not_found(path).into(),
            (Target::Subscriptions(_), &Method::OPTIONS) => subscriptions::options().into(),
            (target, &Method::OPTIONS) => options(head, target.allow()).into(),
            (Target::Subscriptions(what), _) => return self.subscriptions(*what, head, peer),
            (Target::Updates(updates), _) => return self.updates(*updates, head, peer),
            (Target::Directory, &Method::GET | &Method::HEAD) => self.directory(head, peer, &view),
            (Target::Resource(_, Kind::Ready { form, freshness }), &Method::GET | &Method::HEAD) => {
                let now = SystemTime::now();
                let fresh = freshness.as_ref().and_then(|freshness| freshness.fresh(now));
                form.answer(head, now, fresh.as_deref())
            }
            (Target::Resource(_, Kind::Expiring(expiring)), &Method::GET | &Method::HEAD) => expiring.answer(head, SystemTime::now()),
            (Target::Resource(id, Kind::Query { accepts, answers, .. }), &Method::POST) => match query::refuse(head, accepts, answers) {
                Some(refused) => refused.into(),
                None => return self.query(head, peer, id),
            },
            (target, method) => reply::not_allowed(method, target.allow()).into(),
        };
        Step::Answer(self.done(target.label(), head, peer, 0, answer))
    }

    fn refuse(self: &Arc<Self>, head: &Parts, peer: &Peer, refusal: Refusal) -> Reply {
        let view = self.views.current();
        let mut reply = reply::unread(refusal);
        self.settle(Target::of(&view, head.uri.path()).label(), &head.method, head.uri.path(), peer, 0, &mut reply);
        reply
    }

    fn closed(self: &Arc<Self>, connection: listen::ConnectionId) {
        self.transports.queues.closed(connection);
    }
}

impl Public {
    fn directory(self: &Arc<Self>, head: &Parts, peer: &Peer, view: &Arc<View>) -> Answer {
        let base_url = match self.base_url(head, peer) {
            Ok(url) => url,
            Err(refused) => return refused.into(),
        };
        let page = if head.uri.path() == "/" { directory::page_for(&head.headers) } else { Page::Json };
        let make = || match page {
            Page::Json => directory::json(view, &base_url),
            Page::Html => page::html(view, &base_url, &self.settings.credits()),
        };
        view.page(page, &base_url, 2 * self.limits.directories_max, make).answer(head, SystemTime::now(), None)
    }

    /// Completes, counts and logs an answer, now or when it is there.
    fn done(self: &Arc<Self>, label: Label<'_>, head: &Parts, peer: &Peer, request_bytes: usize, answer: Answer) -> Answer {
        match answer {
            Answer::Now(mut reply) => {
                self.settle(label, &head.method, head.uri.path(), peer, request_bytes, &mut reply);
                Answer::Now(reply)
            }
            Answer::Live(live) => self.begun(label.service(), head, peer, request_bytes, live),
            Answer::Later(later) => {
                let id = match label {
                    Label::Resource(id) => Some(id.clone()),
                    Label::Directory | Label::Updates(_) | Label::Other => None,
                };
                let service = label.service();
                // A copy: the URI is a part of the buffer that the request was read into, and would keep all of it.
                let path: Box<str> = head.uri.path().into();
                let (this, method, peer) = (self.clone(), head.method.clone(), *peer);
                Answer::Later(Box::pin(async move {
                    let mut reply = later.await;
                    let label = id.as_ref().map_or(service, Label::Resource);
                    this.settle(label, &method, &path, &peer, request_bytes, &mut reply);
                    reply
                }))
            }
        }
    }

    /// That HTTP/3 is spoken at the same port (RFC 7838, RFC 9114 section 3.1.1).
    fn alt_svc(&self, port: u16) -> HeaderValue {
        thread_local! {
            static MADE: RefCell<(u16, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static("clear"))) };
        }
        MADE.with_borrow_mut(|(of, value)| {
            if *of != port {
                (*of, *value) = (port, HeaderValue::try_from(format!("h3=\":{port}\"; ma=86400")).expect("this is ASCII"));
            }
            value.clone()
        })
    }

    /// What every answer of the public listener has in common.
    fn settle(&self, label: Label<'_>, method: &Method, path: &str, peer: &Peer, request_bytes: usize, reply: &mut Reply) {
        // Representations have it already.
        if !reply.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            reply::allow_origins(reply.headers_mut());
        }
        if self.http3 && peer.secure && peer.protocol != Protocol::Http3 {
            reply.headers_mut().insert(ALT_SVC, self.alt_svc(peer.local.port()));
        }
        if method == Method::HEAD && !reply.body().is_empty() {
            // `content-length` stays: it is what GET would have sent.
            *reply.body_mut() = Bytes::new();
        }
        self.metrics.answered(listen::worker(), label, method, reply.status(), request_bytes as u64, reply.body().len() as u64);
        log(method, path, peer, reply);
    }
}

/// RFC 9112 section 3.2: a server must refuse any HTTP/1.1 request without a Host field, and any with several.
fn has_host(head: &Parts) -> bool {
    head.version != Version::HTTP_11 || head.headers.get_all(HOST).iter().take(2).count() == 1
}

/// The access log.
fn log(method: &Method, path: &str, peer: &Peer, reply: &Reply) {
    tracing::debug!(
        target: "server::access",
        peer = %peer.address,
        protocol = peer.protocol.as_str(),
        %method,
        path,
        status = reply.status().as_u16(),
        bytes = reply.body().len(),
        "request"
    );
}

/// What counting and logging need of a head.
fn slim(head: &Parts) -> Parts {
    let mut request = http::Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.uri.clone();
    request.into_parts().0
}

/// OPTIONS, and the question a browser asks before it lets a page send a POST.
fn options(head: &Parts, allow: &'static str) -> Reply {
    let mut reply = reply::empty(StatusCode::NO_CONTENT);
    let headers = reply.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(allow));
    if head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(allow));
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("accept, content-type, if-match, if-modified-since, if-none-match, if-unmodified-since"),
        );
        // A day; browsers cap it at less.
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    }
    reply
}

/// An answer of a service.
fn ok(media_type: &'static str, body: Vec<u8>) -> Reply {
    let mut reply = reply::with_body(StatusCode::OK, HeaderValue::from_static(media_type), body);
    // It is about the endpoints of one client, which are nobody else's business.
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// The type of the directory, for those who choose.
pub(crate) const DIRECTORY: &str = media_type::DIRECTORY;
