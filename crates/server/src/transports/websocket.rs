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
        live::{Heard, Live, Say, Socket, WebSocketHandshake, WrongHandshake},
        worker::Alarm,
    },
    negotiate, reply,
};
use alto::{
    id::{ResourceId, Tag},
    updates::websocket::{ClientMessage, SUBPROTOCOL, ServerMessage, Update},
};
use bytes::Bytes;
use history::{Accepts, Cursor, Item, Seq, Start, View, ViewId};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode, Version,
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
/// Tags that are looked at of those a request says its client has. 64: more than a client keeps versions.
const TAGS_MAX: usize = 64;
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
    let Some(handshake) = head.extensions.get::<WebSocketHandshake>() else { return Err(no_handshake(head)) };
    Ok(Opening {
        transports: transports.clone(),
        id: id.clone(),
        address,
        known: known(&head.headers),
        subprotocol: handshake.subprotocols.iter().any(|offered| offered == SUBPROTOCOL).then_some(SUBPROTOCOL),
    })
}

/// Whether it is a handshake over HTTP/2, right or wrong.
pub(crate) fn is_connect(head: &Parts) -> bool {
    let asked = || head.extensions.get::<WebSocketHandshake>().is_some() || head.extensions.get::<WrongHandshake>().is_some();
    head.method == Method::CONNECT && asked()
}

/// RFC 6455 section 4.2.2: 426 tells the version that we speak, 400 what else is wrong.
fn no_handshake(head: &Parts) -> Reply {
    let ours = "this is for WebSocket clients (RFC 6455, version 13)";
    let mut reply = match head.extensions.get::<WrongHandshake>() {
        Some(WrongHandshake(why)) => reply::refusal(StatusCode::BAD_REQUEST, *why),
        // RFC 9113 section 8.2.2: later versions of HTTP have no upgrade that could be required.
        None if head.version > Version::HTTP_11 => reply::refusal(StatusCode::BAD_REQUEST, ours),
        None => {
            let mut reply = reply::refusal(StatusCode::UPGRADE_REQUIRED, ours);
            reply.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
            reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            reply
        }
    };
    reply.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    reply
}

/// Without an allow-list any page may: what is public to clients is public to browsers, and no request carries credentials.
fn origin_is_welcome(allowed: &[String], headers: &HeaderMap) -> bool {
    allowed.is_empty()
        || headers
            .get_all(ORIGIN)
            .iter()
            .all(|origin| allowed.iter().any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes())))
}

/// Versions that a client says it has; none of them may be one of ours.
type Known = Box<[Tag]>;

/// Those that a request names, if it says anything of it.
fn known(headers: &HeaderMap) -> Option<Known> {
    let mut named = negotiate::tags(headers, &IF_NONE_MATCH).take(TAGS_MAX).peekable();
    named.peek()?;
    // One that is no tag of ours is no version of ours either.
    Some(named.filter_map(|tag| tag.parse().ok()).collect())
}

/// Where a client begins that has these versions: after the newest of them that is still here.
fn start(view: &View, known: &[Tag]) -> Start {
    known.iter().filter_map(|tag| view.find(tag)).max().map_or(Start::Nothing, Start::Seq)
}

/// A socket that was asked for and may be.
pub(crate) struct Opening {
    transports: Arc<Transports>,
    id: ResourceId,
    address: IpAddr,
    known: Option<Known>,
    subprotocol: Option<&'static str>,
}

impl Opening {
    /// 404 and 429 are still possible.
    pub(crate) async fn open(self) -> Result<Live, Reply> {
        let Self { transports, id, address, known, subprotocol } = self;
        let client = transports.clients.join(Transport::WebSocket)?;
        let snapshot = transports.publisher.current();
        let needs_input = match snapshot.guidance.service(&id) {
            None => return Err(reply::not_found(id.as_str())),
            Some(service) => service.accepts().is_some(),
        };
        let state = if needs_input {
            State::Waiting { id, known: known.unwrap_or_default(), alarm: Alarm::after(FIRST_MESSAGE_TIME) }
        } else {
            let view = transports.open(id.clone(), None, address, "").await?;
            match known {
                Some(known) => State::Following(Following::new(&transports, &view, &known)),
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
        known: Known,
        alarm: Alarm,
    },
    /// The view is being computed.
    Computing {
        opened: Opened,
        known: Known,
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
    fn new(transports: &Transports, view: &Arc<View>, known: &[Tag]) -> Self {
        let ear = transports.bell.ear(view.id());
        Self { cursor: view.cursor(start(view, known)), ear, named: true }
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
                    Following::new(&self.transports, view, &[])
                }
                State::Waiting { alarm, .. } => {
                    ready!(alarm.poll(context));
                    return Poll::Ready(Say::Close(POLICY, "the first message must have the input of this resource"));
                }
                State::Computing { opened, known } => match ready!(opened.as_mut().poll(context)) {
                    Ok(view) => Following::new(&self.transports, &view, known),
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
        let named = reference_tag.map(|tag| Known::from([tag]));
        match (&mut self.state, input) {
            (State::Following(following), None) => {
                let start = start(following.cursor.view(), &named.unwrap_or_default());
                following.cursor.reset(start);
                following.named = true;
            }
            (State::Offering { view, .. }, None) => {
                self.state = State::Following(Following::new(&self.transports, view, &named.unwrap_or_default()));
            }
            (State::Computing { known, .. }, None) => *known = named.unwrap_or_default(),
            (State::Waiting { id, known, .. }, Some(input)) => {
                let known = named.unwrap_or_else(|| std::mem::take(known));
                let (transports, id, address) = (self.transports.clone(), id.clone(), self.address);
                let opened = Box::pin(async move { transports.open(id, Some(input), address, "").await });
                self.state = State::Computing { opened, known };
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
        for (values, want) in [
            (&[][..], None),
            (&["\"abc\""], Some(&["abc"][..])),
            (&["W/\"abc\""], Some(&["abc"])),
            (&["\"abc\", W/\"d,e\" ,\"f\"", "\"g\""], Some(&["abc", "d,e", "f", "g"])),
            (&["\"\""], Some(&[])),
            (&["\"\", \"abc\""], Some(&["abc"])),
            (&["abc"], None),
            (&["*"], None),
        ] {
            let headers = values.iter().map(|value| (IF_NONE_MATCH, HeaderValue::from_static(value))).collect();
            let want = want.map(|tags| tags.iter().map(|tag| tag.parse().unwrap()).collect::<Known>());
            assert_eq!(known(&headers), want, "{values:?}");
        }
        let many: String = (0..1_000).map(|at| format!("\"{at}\",")).collect();
        let headers = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::try_from(many).unwrap())]);
        assert_eq!(known(&headers).unwrap().len(), TAGS_MAX);
    }
}
