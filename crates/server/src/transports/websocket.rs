//! Updates over WebSocket (draft-marocco-alto-ws, and what was decided of its open points): one socket follows one resource.
//!
//! A client says which version it has, in the request (`if-none-match`) or in its first message, and is told every version after that one, each by
//! a change or a full copy. Invariants: a message is made once and shared by all clients; a client that is slow holds its place and no message.
use super::{
    Transports,
    bell::Ear,
    clients::{Client, Transport},
};
use crate::{
    listen::{
        Reply,
        live::{Heard, Live, Say, Socket, WebSocketHandshake},
        worker::Alarm,
    },
    reply,
};
use alto::{
    id::{ResourceId, Tag},
    updates::websocket::{ClientMessage, SUBPROTOCOL, ServerMessage, Update},
};
use bytes::Bytes;
use history::{Accepts, Cursor, Item, Seq, Start, View, ViewId};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONNECTION, IF_NONE_MATCH, ORIGIN, SEC_WEBSOCKET_VERSION, UPGRADE},
    request::Parts,
};
use std::{
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::Instant;

/// Where the sockets are; the id of the resource follows.
pub(crate) const PATH: &str = "/updates/ws/";

/// How long a client may take to say which version it has, before it gets a full copy.
const FIRST_MESSAGE_TIME: Duration = Duration::from_secs(5);
/// The span in which messages of a client are counted.
const MINUTE: Duration = Duration::from_secs(60);
/// RFC 6455 section 7.4.1: 1000, and "a message that violates its policy".
const NORMAL: u16 = 1000;
const POLICY: u16 = 1008;

/// Messages, made once for all clients: the view, and what of it is told.
pub(crate) type Messages = super::ready::Ready<(ViewId, Seq, Seq, &'static str), Bytes>;

/// What a request for a socket already says is wrong, or the socket.
pub(crate) fn head(transports: &Arc<Transports>, id: &ResourceId, head: &Parts, address: IpAddr) -> Result<Opening, Reply> {
    if !origin_is_welcome(&transports.websocket_origins, &head.headers) {
        return Err(reply::refusal(StatusCode::FORBIDDEN, "web pages of this origin may not follow updates here"));
    }
    let Some(handshake) = head.extensions.get::<WebSocketHandshake>() else {
        let mut reply = reply::refusal(StatusCode::UPGRADE_REQUIRED, "this is for WebSocket clients (RFC 6455, version 13)");
        let headers = reply.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(reply);
    };
    Ok(Opening {
        transports: transports.clone(),
        id: id.clone(),
        address,
        start: start(&head.headers),
        subprotocol: handshake.subprotocols.iter().any(|offered| offered == SUBPROTOCOL).then_some(SUBPROTOCOL),
    })
}

/// Without an allow-list any page may: what is public to clients is public to browsers, and no request carries credentials.
fn origin_is_welcome(allowed: &[String], headers: &HeaderMap) -> bool {
    allowed.is_empty()
        || headers
            .get_all(ORIGIN)
            .iter()
            .all(|origin| allowed.iter().any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes())))
}

/// The version that a request says its client has.
fn start(headers: &HeaderMap) -> Option<Start> {
    let value = headers.get(IF_NONE_MATCH)?.to_str().ok()?.trim();
    let tag = value.strip_prefix("W/").unwrap_or(value).strip_prefix('"')?.strip_suffix('"')?;
    // One that is no tag of ours is no version of ours either.
    Some(tag.parse::<Tag>().map_or(Start::Nothing, Start::Tag))
}

/// A socket that was asked for and may be.
pub(crate) struct Opening {
    transports: Arc<Transports>,
    id: ResourceId,
    address: IpAddr,
    start: Option<Start>,
    subprotocol: Option<&'static str>,
}

impl Opening {
    /// 404 and 429 are still possible.
    pub(crate) async fn open(self) -> Result<Live, Reply> {
        let Self { transports, id, address, start, subprotocol } = self;
        let client = transports.clients.join(Transport::WebSocket)?;
        let snapshot = transports.publisher.current();
        let needs_input = match snapshot.guidance.service(&id) {
            None => return Err(reply::not_found(id.as_str())),
            Some(service) => service.accepts().is_some(),
        };
        let state = if needs_input {
            State::Waiting { id, start: start.unwrap_or(Start::Nothing), alarm: Alarm::after(FIRST_MESSAGE_TIME) }
        } else {
            let view = transports.open(id.clone(), None, address, "").await?;
            match start {
                Some(start) => State::Following(Following::new(&transports, &view, start)),
                None => State::Offering { view, alarm: Alarm::after(FIRST_MESSAGE_TIME) },
            }
        };
        let chatter = Chatter { since: Instant::now(), messages: 0 };
        let socket = Updates { transports, address, client, state, chatter };
        Ok(Live::Socket { subprotocol, socket: Box::new(socket) })
    }
}

/// One client's end.
struct Updates {
    transports: Arc<Transports>,
    address: IpAddr,
    client: Client,
    state: State,
    chatter: Chatter,
}

/// How much a client says.
struct Chatter {
    since: Instant,
    messages: u32,
}

type Opened = Pin<Box<dyn Future<Output = Result<Arc<View>, Reply>> + Send>>;

enum State {
    /// For the input of a POST-mode resource; the request may have said which version the client has.
    Waiting {
        id: ResourceId,
        start: Start,
        alarm: Alarm,
    },
    /// The view is being computed.
    Computing {
        opened: Opened,
        start: Start,
    },
    /// For the version the client has.
    Offering {
        view: Arc<View>,
        alarm: Alarm,
    },
    Following(Following),
}

struct Following {
    cursor: Cursor,
    ear: Ear,
    /// The client named a version and was not told yet how far behind it is.
    named: bool,
}

impl Following {
    fn new(transports: &Transports, view: &Arc<View>, start: Start) -> Self {
        let ear = transports.bell.ear(view.id());
        Self { cursor: view.cursor(start), ear, named: true }
    }

    fn poll_say(&mut self, context: &mut Context<'_>, messages: &Messages, client: &Client) -> Poll<Say> {
        self.ear.listen(context);
        let view = self.cursor.view();
        let media_type = view.media_type();
        let named = std::mem::take(&mut self.named);
        if let Some(item) = self.cursor.next(Accepts::PATCHES) {
            let view = self.cursor.view();
            let key = (view.id().clone(), item.from, item.to, if item.is_snapshot() { media_type } else { item.media_type });
            let text = messages.get(key, item.body.len(), || message(view, &item));
            client.sent(1, text.len());
            return Poll::Ready(Say::Text(text));
        }
        let view = self.cursor.view();
        if named {
            // "A client that already has the latest version" is told so.
            let (range, tag) = view.head();
            let message = ServerMessage { resource_id: view.resource().clone(), seq: range.end.0, tag, since: None, update: None };
            return Poll::Ready(Say::Text(message.to_json().into()));
        }
        if view.is_closed() {
            return Poll::Ready(Say::Close(NORMAL, "the resource is no longer there"));
        }
        Poll::Pending
    }
}

fn message(view: &View, item: &Item) -> Bytes {
    let update = Update { media_type: item.media_type.into(), data: &item.body };
    // A shortcut: without a word it would look like lost versions.
    let since = (!item.is_snapshot() && item.from.0 + 1 != item.to.0).then_some(item.from.0);
    let message =
        ServerMessage { resource_id: view.resource().clone(), seq: item.to.0, tag: item.tag.clone(), since, update: Some(update) };
    message.to_json().into()
}

impl Socket for Updates {
    fn poll_say(&mut self, context: &mut Context<'_>) -> Poll<Say> {
        loop {
            let next = match &mut self.state {
                State::Following(following) => return following.poll_say(context, &self.transports.messages, &self.client),
                State::Offering { view, alarm } => {
                    ready!(alarm.poll(context));
                    Following::new(&self.transports, view, Start::Nothing)
                }
                State::Waiting { alarm, .. } => {
                    ready!(alarm.poll(context));
                    return Poll::Ready(Say::Close(POLICY, "the first message must have the input of this resource"));
                }
                State::Computing { opened, start } => match ready!(opened.as_mut().poll(context)) {
                    Ok(view) => Following::new(&self.transports, &view, start.clone()),
                    Err(refused) if refused.status() == StatusCode::BAD_REQUEST => {
                        return Poll::Ready(Say::Close(POLICY, "the resource refuses this input"));
                    }
                    // IANA's registry: "Try Again Later".
                    Err(_) => return Poll::Ready(Say::Close(1013, "too many views are open or computed")),
                },
            };
            self.state = State::Following(next);
        }
    }

    fn hear(&mut self, heard: Heard) -> Result<(), (u16, &'static str)> {
        let Heard::Text(text) = heard else { return Err((POLICY, "messages are text")) };
        let now = Instant::now();
        if now - self.chatter.since > MINUTE {
            self.chatter = Chatter { since: now, messages: 0 };
        }
        self.chatter.messages += 1;
        if self.chatter.messages > self.transports.limits.control_requests_max {
            return Err((POLICY, "too many messages in a minute (updates.control-requests-max)"));
        }
        let message = ClientMessage::from_json_within(text.as_bytes(), &self.transports.requests);
        let Ok(ClientMessage { reference_tag, input }) = message else {
            return Err((POLICY, "a message is {\"reference-tag\": ...}, the first also {\"input\": {...}}"));
        };
        let named = reference_tag.map(Start::Tag);
        let start = named.clone().unwrap_or(Start::Nothing);
        match (&mut self.state, input) {
            (State::Following(following), None) => {
                following.cursor.reset(start);
                following.named = true;
            }
            (State::Offering { view, .. }, None) => self.state = State::Following(Following::new(&self.transports, view, start)),
            (State::Computing { start: before, .. }, None) => *before = start,
            (State::Waiting { id, start: before, .. }, Some(input)) => {
                let start = named.unwrap_or_else(|| before.clone());
                let (transports, id, address) = (self.transports.clone(), id.clone(), self.address);
                let opened = Box::pin(async move { transports.open(id, Some(input), address, "").await });
                self.state = State::Computing { opened, start };
            }
            (State::Waiting { .. }, None) => return Err((POLICY, "the first message must have the input of this resource")),
            (State::Following(_) | State::Offering { .. } | State::Computing { .. }, Some(_)) => {
                return Err((POLICY, "input is for the first message, of resources that take one"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        let allowed = ["https://noc.example".to_owned()];
        for (allowed, origin, want) in [
            (&[][..], None, true),
            (&[][..], Some("https://evil.example"), true),
            (&allowed[..], None, true),
            (&allowed[..], Some("https://noc.example"), true),
            (&allowed[..], Some("https://NOC.example"), true),
            (&allowed[..], Some("http://noc.example"), false),
            (&allowed[..], Some("null"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(origin_is_welcome(allowed, &headers), want, "{allowed:?} {origin:?}");
        }
    }

    #[test]
    fn versions_in_requests() {
        let tag = |tag: &str| Some(Start::Tag(tag.parse().unwrap()));
        for (value, want) in [
            (None, None),
            (Some("\"abc\""), tag("abc")),
            (Some("W/\"abc\""), tag("abc")),
            (Some("\"\""), Some(Start::Nothing)),
            (Some("abc"), None),
            (Some("*"), None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(IF_NONE_MATCH, HeaderValue::from_static(value));
            }
            assert_eq!(start(&headers), want, "{value:?}");
        }
    }
}
