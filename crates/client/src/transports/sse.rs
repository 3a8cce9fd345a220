//! Update streams (RFC 8895): one stream for everything that is followed and has one service, opened by POST. What depends on something else
//! comes after it (section 6.7.1). There are no numbers: that nothing is missing follows from one connection that delivers in order.
use super::{Follow, Session, Transport, failed, media_type_of, pulse::Pulse, refused};
use crate::{
    catalog::Offer,
    http::Ask,
    replica::core::{Ended, Event, Since},
};
use alto::{
    id::SubstreamId,
    media_type,
    updates::{
        AddUpdate,
        sse::{ControlEvent, Decoder, EventType, Message, UpdateStreamReq},
    },
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::sync::Arc;

pub(crate) struct Sse;

impl Transport for Sse {
    async fn run(session: Session) -> Ended {
        session.each_service(media_type::EVENT_STREAM, |session, offer, follows| Stream { session, follows }.run(offer)).await
    }
}

/// One stream of one service.
struct Stream {
    session: Arc<Session>,
    follows: Vec<Follow>,
}

impl Stream {
    async fn run(self, offer: Offer) -> Ended {
        let Self { session, follows } = &self;
        let mut request = UpdateStreamReq::default();
        for follow in follows {
            // "the client MUST support all incremental methods from the set announced" (section 6.5).
            let known = |kind: &str| [media_type::MERGE_PATCH, media_type::JSON_PATCH].contains(&kind);
            let kinds = offer.entry.capabilities.incremental_change_media_types.get(&follow.followed.resource);
            let add = AddUpdate {
                resource_id: follow.followed.resource.clone(),
                tag: follow.place.tag.clone(),
                incremental_changes: kinds.is_none_or(|kinds| kinds.split(',').all(|kind| known(kind.trim()))),
                input: follow.input(),
            };
            request.add.push((substream(follow.index), add));
        }
        let mut headers = HeaderMap::new();
        let accept = format!("{},{}", media_type::EVENT_STREAM, media_type::ERROR);
        headers.insert(header::ACCEPT, HeaderValue::from_str(&accept).expect("media types are ASCII"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type::UPDATE_STREAM_PARAMS));
        let ask = Ask { method: Method::POST, uri: offer.uri.clone(), headers, body: request.to_json().into() };
        let mut streamed = match session.client.transport().stream(ask).await {
            Ok(streamed) => streamed,
            Err(error) => return failed(error),
        };
        if streamed.status != StatusCode::OK {
            return match session.client.transport().rest(streamed).await {
                Ok(reply) => refused(&session.client, &reply, Method::POST),
                Err(error) => failed(error),
            };
        }
        let got = media_type_of(&streamed.headers);
        if got != media_type::EVENT_STREAM {
            return Ended::Unsupported(format!("{} answers with {got:?}", offer.uri));
        }
        session.events.send(Event::Opened).await;

        let pulse = Pulse::new(session.events.clone());
        let mut decoder = Decoder::new(session.client.options().limits.body_bytes_max);
        loop {
            let data = match streamed.body.data().await {
                None => return Ended::Closed { why: "the server ended the stream".into(), retry_after: None },
                Some(Err(error)) => return Ended::Broken(format!("the stream broke: {error}")),
                Some(Ok(data)) => data,
            };
            pulse.came();
            let mut messages = Vec::new();
            if let Err(violation) = decoder.push(&data, |message| messages.push(message)) {
                return Ended::Violation(follows[0].index, violation.to_string());
            }
            for message in messages {
                if let Err(ended) = self.report(message).await {
                    return ended;
                }
            }
        }
    }

    async fn report(&self, message: Message) -> Result<(), Ended> {
        let Self { session, follows } = self;
        let first = follows[0].index;
        let event: EventType = message.event.parse().map_err(|error| Ended::Violation(first, format!("{error}")))?;
        if event.is_control() {
            let control = ControlEvent::from_json(&message.data)
                .map_err(|error| Ended::Violation(first, format!("its control event is wrong: {error}")))?;
            let stopped: Vec<_> =
                follows.iter().map(|follow| follow.index).filter(|index| control.stopped.contains(&substream(*index))).collect();
            if !stopped.is_empty() {
                let why = control.description.as_deref().unwrap_or("no reason given").to_owned();
                session.events.send(Event::Stopped(stopped, why)).await;
            }
            return Ok(());
        }
        let follow = event
            .data_id
            .as_ref()
            .filter(|id| id.content_id.is_none())
            .and_then(|id| follows.iter().find(|follow| substream(follow.index) == id.substream));
        match follow {
            Some(follow) => session.events.send(follow.update(Since::Before, None, None, event.media_type, message.data.into())).await,
            None => return Err(Ended::Violation(first, format!("an event for {event}, which was not asked for"))),
        }
        Ok(())
    }
}

fn substream(index: usize) -> SubstreamId {
    format!("s{index}").parse().expect("a letter and digits are a substream id")
}
