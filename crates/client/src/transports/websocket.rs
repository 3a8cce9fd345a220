//! WebSocket (draft-marocco-alto-ws): one connection a resource. Every message says number and tag of the version it leads to.
use super::{Follow, Session, Transport, failed, pulse::Pulse, refused};
use crate::{
    http::{Ask, Reply},
    options::Protocol,
    replica::core::{Ended, Event, Since},
    uri::Uri,
};
use alto::{
    id::Tag,
    updates::websocket::{ClientMessage, SUBPROTOCOL, ServerMessage},
};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use std::sync::Arc;
use tokio::time::timeout;
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{
        self, Message,
        handshake::client::generate_key,
        protocol::{WebSocketConfig, frame::coding::CloseCode},
    },
};

pub(crate) struct WebSocket;

impl Transport for WebSocket {
    async fn run(mut session: Session) -> Ended {
        let catalog = session.catalog.clone();
        let uri_of = |follow: &Follow| catalog.offer(follow.followed.resource.as_str()).ok().and_then(|offer| offer.updates.clone());
        if let Err(ended) = session.keep(|follow| uri_of(follow).is_some(), "WebSocket").await {
            return ended;
        }
        session
            .each(|session, follow| {
                let uri = uri_of(&follow);
                async move {
                    match uri {
                        Some(uri) => follow_one(session, follow, uri).await.unwrap_or_else(|ended| ended),
                        None => Ended::Unsupported("the directory offers no WebSocket for it".into()),
                    }
                }
            })
            .await
    }
}

async fn follow_one(session: Arc<Session>, follow: Follow, uri: Uri) -> Result<Ended, Ended> {
    let options = session.client.options();
    let limits = &options.limits;
    let (io, _) = session.client.transport().open(&uri.origin(), Protocol::Http1).await.map_err(failed)?;
    let mut request = Request::new(());
    *request.uri_mut() = uri.to_string().replacen("http", "ws", 1).parse().map_err(|_| Ended::Unsupported(format!("{uri}")))?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, value(&uri.authority()));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("altocast/", env!("CARGO_PKG_VERSION"))));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(header::SEC_WEBSOCKET_KEY, value(&generate_key()));
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let config = WebSocketConfig::default().max_message_size(Some(limits.body_bytes_max)).max_frame_size(Some(limits.body_bytes_max));
    let pulse = Pulse::new(session.events.clone());
    let opening = client_async_with_config(request, pulse.of(io), Some(config));
    let (mut socket, _) = timeout(options.silence_timeout, opening)
        .await
        .map_err(|_| Ended::Unreachable(format!("{uri}: no answer for {} s", options.silence_timeout.as_secs_f64())))?
        .map_err(|error| refused_handshake(&session, &uri, error))?;

    // Without a word the server waits for one (5 s); a tag that no version has stands for "nothing".
    let tag = follow.place.tag.clone().unwrap_or_else(nothing);
    let first = ClientMessage { reference_tag: Some(tag), input: follow.input() };
    let text = String::from_utf8(first.to_json()).expect("JSON is UTF-8");
    socket.send(Message::text(text)).await.map_err(|error| Ended::Broken(error.to_string()))?;
    session.events.send(Event::Opened).await;

    loop {
        // Each socket by itself: others of the session may go on while this one is dead.
        let silence = limits.followed_silence_max;
        let Some(next) = pulse.unless_silent(silence, socket.next()).await else {
            return Ok(Ended::Broken(format!("{uri}: silent for {} s", silence.as_secs())));
        };
        let message = match next {
            None => return Ok(Ended::Broken("the connection ended without a word".into())),
            Some(Err(tungstenite::Error::Capacity(error))) => return Ok(Ended::Violation(follow.index, error.to_string())),
            Some(Err(error)) => return Ok(Ended::Broken(error.to_string())),
            Some(Ok(message)) => message,
        };
        match message {
            Message::Text(text) => {
                let event = read(&follow, text.into()).map_err(|why| Ended::Violation(follow.index, why))?;
                session.events.send(event).await;
            }
            // The library answers a ping with the next write: flush it. That the server lives is known by its bytes.
            Message::Ping(_) => socket.flush().await.map_err(|error| Ended::Broken(error.to_string()))?,
            Message::Pong(_) => {}
            Message::Close(frame) => {
                let _ = socket.close(None).await;
                let code = frame.as_ref().map(|frame| frame.code);
                let why = frame.map(|frame| format!("{} {}", u16::from(frame.code), crate::error::excerpt(&frame.reason)));
                let why = format!("the server closed: {}", why.as_deref().unwrap_or("no reason given"));
                return Ok(match code {
                    Some(CloseCode::Policy) => not_taken(&session, &follow, why).await,
                    _ => Ended::Closed { why, retry_after: None },
                });
            }
            Message::Binary(_) | Message::Frame(_) => return Err(Ended::Violation(follow.index, "a binary message".into())),
        }
    }
}

fn read(follow: &Follow, text: Bytes) -> Result<Event, String> {
    let message = ServerMessage::from_json(&text).map_err(|error| format!("a message is wrong: {error}"))?;
    if message.resource_id != follow.followed.resource {
        return Err(format!("a message of {}", message.resource_id));
    }
    let (seq, tag) = (message.seq, message.tag);
    // "change since seq n-1, or since the announced tag for the first"; over several versions the server says since which.
    let since = message.since.unwrap_or(seq.saturating_sub(1));
    Ok(match message.update {
        None => Event::Current { index: follow.index, seq: Some(seq), tag: Some(tag) },
        Some(update) => {
            let body = text.slice_ref(update.data);
            follow.update(Since::Seq(since), Some(seq), Some(tag), &*update.media_type, body)
        }
    })
}

/// The server will not have our messages. What is wrong with an input the resource itself says better.
async fn not_taken(session: &Session, follow: &Follow, why: String) -> Ended {
    let (Some(input), Ok(offer)) = (&follow.followed.input, session.catalog.offer(follow.followed.resource.as_str())) else {
        return Ended::Unsupported(why);
    };
    let content_type = offer.entry.accepts.as_deref().unwrap_or_default().split(',').next().unwrap_or_default().trim();
    let mut headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("*/*"))]);
    headers.extend(HeaderValue::from_str(content_type).ok().map(|value| (header::CONTENT_TYPE, value)));
    let ask = Ask { method: Method::POST, uri: offer.uri.clone(), headers, body: input.clone() };
    match session.client.transport().exchange(ask).await {
        Ok(reply) if reply.status == StatusCode::BAD_REQUEST => refused(&session.client, &reply, Method::POST),
        _ => Ended::Unsupported(why),
    }
}

fn nothing() -> Tag {
    "-".parse().expect("one visible character")
}

fn refused_handshake(session: &Session, uri: &Uri, error: tungstenite::Error) -> Ended {
    match error {
        tungstenite::Error::Http(response) => {
            let (parts, body) = response.into_parts();
            let reply = Reply {
                uri: uri.clone(),
                status: parts.status,
                version: Version::HTTP_11,
                headers: parts.headers,
                body: body.unwrap_or_default().into(),
            };
            refused(&session.client, &reply, Method::GET)
        }
        tungstenite::Error::Io(error) => Ended::Unreachable(format!("{uri}: {error}")),
        error => Ended::Unsupported(format!("{uri}: {error}")),
    }
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("a host and base64 are header values")
}
