//! Requests to the update services: which path is which, what a head already says is wrong, and then `transports`.
use super::{GET, POST, Public, query, slim};
use crate::{
    admin::{Label, Protocol},
    listen::{Answer, Peer, Reply, Step, live::Live},
    reply,
    transports::{
        push,
        sse::{self, Asker, Service},
        tips, websocket,
    },
};
use alto::media_type;
use bytes::Bytes;
use http::{
    HeaderValue, Method, StatusCode,
    header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONNECTION},
    request::Parts,
};
use percent_encoding::percent_decode_str;
use std::sync::Arc;

/// Methods of what is opened.
const SOCKET: &str = "GET, OPTIONS";

/// What a path of the update services names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Updates<'a> {
    /// `/updates/sse`, `/updates/tips-sse`
    Stream(Service),
    /// `.../control/<token>`
    Control(Service, &'a str),
    /// `/tips`
    Tips,
    /// `/tips/<view>`
    View(&'a str),
    /// `/tips/<view>/ug`
    Next(&'a str),
    /// `/tips/<view>/ug/<i>/<j>`
    Edge(&'a str, &'a str, &'a str),
    /// `/tqs` and what is under it.
    Queue(&'a str),
    /// `/updates/ws/<resource>`
    Socket(&'a str),
}

impl<'a> Updates<'a> {
    pub(super) fn of(path: &'a str) -> Option<Self> {
        if let Some(resource) = path.strip_prefix(websocket::PATH) {
            return Some(Self::Socket(resource));
        }
        if let Some(rest) = path.strip_prefix("/updates/") {
            let (service, rest) = match rest.strip_prefix("sse") {
                Some(rest) => (Service::Resources, rest),
                None => (Service::Tips, rest.strip_prefix("tips-sse")?),
            };
            if rest.is_empty() {
                return Some(Self::Stream(service));
            }
            let token = rest.strip_prefix("/control/")?;
            return (!token.is_empty() && !token.contains('/')).then_some(Self::Control(service, token));
        }
        if push::is_ours(path) {
            return Some(Self::Queue(path));
        }
        let rest = path.strip_prefix("/tips")?;
        if rest.is_empty() {
            return Some(Self::Tips);
        }
        let segments: Vec<&str> = rest.strip_prefix('/')?.splitn(5, '/').collect();
        match segments[..] {
            [view] if !view.is_empty() => Some(Self::View(view)),
            [view, "ug"] => Some(Self::Next(view)),
            [view, "ug", i, j] => Some(Self::Edge(view, i, j)),
            _ => None,
        }
    }

    pub(super) fn allow(&self) -> &'static str {
        match self {
            Self::Stream(_) | Self::Control(..) | Self::Tips | Self::Next(_) => POST,
            Self::View(_) | Self::Edge(..) => GET,
            Self::Socket(_) => SOCKET,
            Self::Queue(path) => push::allow(path),
        }
    }

    pub(super) fn label(&self) -> Label<'static> {
        Label::Updates(match self {
            Self::Stream(Service::Resources) => "update-stream",
            Self::Stream(Service::Tips) => "tips-stream",
            Self::Control(..) => "stream-control",
            Self::Tips | Self::View(_) | Self::Next(_) => "tips",
            Self::Edge(..) => "tips-edge",
            Self::Queue(_) => "transport-queue",
            Self::Socket(_) => "websocket",
        })
    }
}

impl Public {
    /// Answers a request for an update service. Its method is one of [`Updates::allow`], or it is told so.
    pub(super) fn updates(self: &Arc<Self>, what: Updates<'_>, head: &Parts, peer: &Peer) -> Step {
        if let Updates::Queue(_) = what {
            return self.queue(what.label(), head, peer);
        }
        let done = |answer: Answer| Step::Answer(self.done(what.label(), head, peer, 0, answer));
        let allowed = match what.allow() {
            POST => head.method == Method::POST,
            // RFC 8441 section 5: over HTTP/2 a handshake is a CONNECT.
            SOCKET => head.method == Method::GET || websocket::is_connect(head),
            _ => head.method == Method::GET || head.method == Method::HEAD,
        };
        if !allowed {
            return done(reply::not_allowed(&head.method, what.allow()).into());
        }
        let (accepts, answers) = match what {
            Updates::Stream(_) => (media_type::UPDATE_STREAM_PARAMS, media_type::EVENT_STREAM),
            // An answer has no body, or is an error.
            Updates::Control(..) => (media_type::UPDATE_STREAM_PARAMS, ""),
            Updates::Tips => (media_type::TIPS_PARAMS, media_type::TIPS),
            Updates::Next(_) => (media_type::TIPS_PARAMS, media_type::MERGE_PATCH),
            Updates::View(view) => {
                let looked = self.base_url(head, peer).map_or_else(|refused| refused, |url| tips::look(&self.transports, view, &url));
                return done(looked.into());
            }
            Updates::Socket(name) => return done(self.socket(name, head, peer)),
            // Told apart above.
            Updates::Queue(path) => return done(reply::not_found(path).into()),
            Updates::Edge(view, i, j) => return done(tips::edge(&self.transports, view, i, j, head)),
        };
        if let Some(refused) = query::refuse(head, accepts, answers) {
            return done(refused.into());
        }
        if let Updates::Control(service, token) = what
            && let Err(refused) = sse::admit(&self.transports, service, token)
        {
            return done(refused.into());
        }
        if self.transports.is_stopping() {
            return done(reply::stopping().into());
        }
        let base_url = match self.base_url(head, peer) {
            Ok(url) => url,
            Err(refused) => return done(refused.into()),
        };
        let asker = Asker { address: peer.address.ip().to_canonical(), base_url };
        let (this, peer, head) = (self.clone(), *peer, slim(head));
        let label = what.label();
        let finish = move |read: usize, then: Box<dyn FnOnce(Bytes, Arc<Self>) -> Answer + Send>, body: Bytes| {
            let answer = then(body, this.clone());
            this.done(label, &head, &peer, read, answer)
        };
        let then: Box<dyn FnOnce(Bytes, Arc<Self>) -> Answer + Send> = match what {
            Updates::Stream(service) => {
                Box::new(move |body, this| Answer::Live(Box::pin(sse::open(this.transports.clone(), service, body, asker))))
            }
            Updates::Control(service, token) => {
                let token = token.to_owned();
                Box::new(move |body, this| Answer::Later(Box::pin(sse::control(this.transports.clone(), service, token, body, asker))))
            }
            Updates::Next(view) => {
                let view = view.to_owned();
                Box::new(move |body, this| tips::next_edge(&this.transports, &view, &body).into())
            }
            Updates::Tips | Updates::View(_) | Updates::Edge(..) | Updates::Queue(_) | Updates::Socket(_) => {
                Box::new(move |body, this| Answer::Later(Box::pin(tips::open(this.transports.clone(), body, asker))))
            }
        };
        Step::Body { bytes_max: self.limits.query_bytes_max, then: Box::new(move |body| finish(body.len(), then, body)) }
    }

    fn queue(self: &Arc<Self>, label: Label<'static>, head: &Parts, peer: &Peer) -> Step {
        match push::head(&self.transports, head, peer) {
            Step::Answer(answer) => Step::Answer(self.done(label, head, peer, 0, answer)),
            Step::Body { bytes_max, then } | Step::Value { bytes_max, then } => {
                let (this, peer, head) = (self.clone(), *peer, slim(head));
                let then = move |body: Bytes| {
                    let (read, answer) = (body.len(), then(body));
                    this.done(label, &head, &peer, read, answer)
                };
                Step::Value { bytes_max, then: Box::new(then) }
            }
        }
    }

    fn socket(self: &Arc<Self>, name: &str, head: &Parts, peer: &Peer) -> Answer {
        let id = percent_decode_str(name).decode_utf8().ok().and_then(|name| name.parse().ok());
        let Some(id) = id.filter(|id| self.transports.publisher.current().guidance.service(id).is_some()) else {
            return reply::not_found(head.uri.path()).into();
        };
        if self.transports.is_stopping() {
            return reply::stopping().into();
        }
        match websocket::head(&self.transports, &id, head, peer.address.ip().to_canonical()) {
            Ok(opening) => Answer::Live(Box::pin(opening.open())),
            Err(refused) => refused.into(),
        }
    }

    /// What URIs begin with for this client.
    pub(super) fn base_url(&self, head: &Parts, peer: &Peer) -> Result<String, Reply> {
        match self.settings.public_url() {
            Some(url) => Ok(url.to_string()),
            None => super::directory::base_url(head, peer).map_err(|why| reply::refusal(StatusCode::BAD_REQUEST, why)),
        }
    }

    /// Counts and logs an answer that goes on when it begins.
    pub(super) fn begun(
        self: &Arc<Self>,
        label: Label<'static>,
        head: &Parts,
        peer: &Peer,
        request_bytes: usize,
        live: std::pin::Pin<Box<dyn Future<Output = Result<Live, Reply>> + Send>>,
    ) -> Answer {
        let (this, method, uri, peer) = (self.clone(), head.method.clone(), head.uri.clone(), *peer);
        Answer::Live(Box::pin(async move {
            match live.await {
                Ok(live) => {
                    let status = match &live {
                        Live::Stream { head, .. } => head.status(),
                        Live::Socket { .. } => StatusCode::SWITCHING_PROTOCOLS,
                        Live::Push { reply, .. } => reply.status(),
                    };
                    this.metrics.answered(crate::listen::worker(), label, &method, status, request_bytes as u64, 0);
                    Ok(match live {
                        Live::Push { mut reply, pushes } => {
                            if !reply.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
                                reply::allow_origins(reply.headers_mut());
                            }
                            Live::Push { reply, pushes }
                        }
                        live => live,
                    })
                }
                Err(mut refused) => {
                    // RFC 8895 section 6.6: "MUST close the stream (i.e., TCP connection) without sending any events".
                    if matches!(label, Label::Updates("update-stream" | "tips-stream")) && peer.protocol == Protocol::Http1 {
                        refused.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                    this.settle(label, &method, uri.path(), &peer, request_bytes, &mut refused);
                    Err(refused)
                }
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (path, want) in [
            ("/updates/sse", Some(Updates::Stream(Service::Resources))),
            ("/updates/sse/control/abc", Some(Updates::Control(Service::Resources, "abc"))),
            ("/updates/tips-sse", Some(Updates::Stream(Service::Tips))),
            ("/updates/tips-sse/control/abc", Some(Updates::Control(Service::Tips, "abc"))),
            ("/updates/sse/", None),
            ("/updates/sse/control/", None),
            ("/updates/sse/control/a/b", None),
            ("/updates/ssex", None),
            ("/updates", None),
            ("/tips", Some(Updates::Tips)),
            ("/tips/", None),
            ("/tipsy", None),
            ("/tips/v", Some(Updates::View("v"))),
            ("/tips/v/ug", Some(Updates::Next("v"))),
            ("/tips/v/ug/", None),
            ("/tips/v/ug/1", None),
            ("/tips/v/ug/1/2", Some(Updates::Edge("v", "1", "2"))),
            ("/tips/v/ug//", Some(Updates::Edge("v", "", ""))),
            ("/tips/v/ug/1/2/3", None),
            ("/tips/v/vg/1/2", None),
            ("/tqs", Some(Updates::Queue("/tqs"))),
            ("/tqs/1/uq", Some(Updates::Queue("/tqs/1/uq"))),
            ("/tqsx", None),
            ("/updates/ws/cost-map", Some(Updates::Socket("cost-map"))),
        ] {
            assert_eq!(Updates::of(path), want, "{path}");
        }
    }
}
