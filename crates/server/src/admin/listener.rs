//! The admin listener's side of a connection: who may ask, what is read, and on which thread it is answered.
use super::{Admin, Answer as Reported};
use crate::{
    access,
    listen::{Answer, Handler, Peer, Refusal, Reply, Step},
};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header, request::Parts};
use std::sync::Arc;

impl Handler for Admin {
    fn head(self: &Arc<Self>, head: &Parts, peer: &Peer) -> Step {
        // Before the body: nobody makes us read 256 MiB without the token.
        let token = self.settings.token();
        if let Some(why) = access::foreign(&head.headers, token.is_some()) {
            return logged(head, peer, Reported::error(StatusCode::FORBIDDEN, why)).into();
        }
        if let Some(token) = &token
            && let Err(refused) = token.check(head.headers.get(header::AUTHORIZATION))
        {
            return logged(head, peer, refused).into();
        }
        let (this, peer, method) = (self.clone(), *peer, head.method.clone());
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = head.uri.clone();
        *request.headers_mut() = head.headers.clone();
        if matches!(head.uri.path(), "/healthz" | "/readyz") && matches!(method, Method::GET | Method::HEAD) {
            // Here and now: behind requests that wait for a commit, a busy server would look like a dead one.
            let reply = self.answer(token.as_deref(), &request);
            log(&method, head.uri.path(), &peer, &reply);
            return reply.into();
        }
        let work = move |body: Bytes| {
            *request.body_mut() = body;
            // A commit may take long, and what only reads waits for it: neither belongs on the thread that health is asked on.
            let answered = tokio::task::spawn_blocking(move || {
                let reply = this.answer(token.as_deref(), &request);
                log(request.method(), request.uri().path(), &peer, &reply);
                reply
            });
            Answer::Later(Box::pin(async move {
                answered.await.unwrap_or_else(|_| {
                    Reported::error(StatusCode::INTERNAL_SERVER_ERROR, "this could not be answered; the log says why").into_response(false)
                })
            }))
        };
        match method {
            Method::PUT | Method::PATCH | Method::POST => Step::Body { bytes_max: self.documents.body_bytes_max, then: Box::new(work) },
            _ => Step::Answer(work(Bytes::new())),
        }
    }

    fn refuse(self: &Arc<Self>, head: &Parts, peer: &Peer, refusal: Refusal) -> Reply {
        let answer = match refusal {
            Refusal::TooLarge { bytes_max } => {
                let why = format!("the request body is larger than {bytes_max} bytes (admin.document-bytes-max)");
                Reported::error(StatusCode::PAYLOAD_TOO_LARGE, why)
            }
            Refusal::TooSlow { time_max } => {
                let why = format!("the request body did not arrive within {} s (server.body-time-max-seconds)", time_max.as_secs_f64());
                Reported::error(StatusCode::REQUEST_TIMEOUT, why)
            }
            Refusal::NoRoom => Reported::error(StatusCode::SERVICE_UNAVAILABLE, "too many documents are being read; try again"),
            Refusal::Malformed => Reported::error(StatusCode::BAD_REQUEST, "the request body cannot be read"),
        };
        logged(head, peer, answer)
    }
}

fn logged(head: &Parts, peer: &Peer, answer: Reported) -> Reply {
    let reply = answer.into_response(head.method == Method::HEAD);
    log(&head.method, head.uri.path(), peer, &reply);
    reply
}

fn log(method: &Method, path: &str, peer: &Peer, reply: &Reply) {
    let status = reply.status().as_u16();
    tracing::debug!(target: "server::access", peer = %peer.address, listener = "admin", %method, path, status, bytes = reply.body().len(), "request");
}
