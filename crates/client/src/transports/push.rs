//! ALTO/H2 (draft-ietf-alto-new-transport-01): a transport queue for each resource on one HTTP/2 connection, updates pushed on the stream that
//! created it. Promises come in the order of their versions (section 8.5), so that is the order in which their answers are read.
use super::{Follow, Session, Transport, etag, failed, first_of, media_type_of, pulse::Pulse, refused};
use crate::{
    catalog::Offer,
    http::Reply,
    options::Protocol,
    replica::core::{Ended, Event, Since},
    uri::Uri,
};
use alto::{
    media_type,
    updates::{
        AddUpdate,
        push::{CreateReq, Created},
        seq_of_path,
    },
};
use bytes::{Bytes, BytesMut};
use h2::{
    Ping, PingPong, RecvStream,
    client::{PushPromise, SendRequest},
};
use http::{HeaderMap, Method, Request, StatusCode, Version, header};
use std::{sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

pub(crate) struct Push;

/// Between two questions whether the server still lives: three of them fit into the longest silence.
const PING: Duration = Duration::from_secs(25);

impl Transport for Push {
    async fn run(session: Session) -> Ended {
        session.each_service(media_type::TRANSPORT, connection).await
    }
}

/// The connection to one service.
async fn connection(session: Arc<Session>, service: Offer, follows: Vec<Follow>) -> Ended {
    let uri = service.uri;
    let (io, alpn) = match session.client.transport().open(&uri.origin(), Protocol::Http2).await {
        Ok(opened) => opened,
        Err(error) => return failed(error),
    };
    if alpn.as_deref() != Some(b"h2") && uri.to_string().starts_with("https:") {
        return Ended::Unsupported(format!("{} speaks no HTTP/2", uri.origin()));
    }
    let pulse = Pulse::new(session.events.clone());
    let builder = h2::client::Builder::new()
        .enable_push(true)
        .max_concurrent_streams(session.client.options().limits.pushes_concurrent_max)
        .initial_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .handshake::<_, Bytes>(pulse.of(io))
        .await;
    let (requests, mut connection) = match builder {
        Ok(both) => both,
        Err(error) => return broken(&uri, error),
    };
    let pings = connection.ping_pong().expect("it is taken once");
    let alive = beat(pulse, pings);
    let queues = first_of(follows.into_iter().map(|follow| {
        let (session, requests, uri) = (session.clone(), requests.clone(), uri.clone());
        async move { follow_one(session, follow, requests, uri).await.unwrap_or_else(|ended| ended) }
    }));
    tokio::select! {
        biased;
        ended = queues => ended,
        ended = alive => ended,
        ended = connection => match ended {
            Ok(()) => Ended::Closed { why: "the server closed the connection".into(), retry_after: None },
            Err(error) => broken(&uri, error),
        },
    }
}

/// Asks for signs of life. One that takes its time behind a large copy is no silence.
async fn beat(pulse: Pulse, mut pings: PingPong) -> Ended {
    loop {
        sleep(PING).await;
        match pulse.unless_silent(PING, pings.ping(Ping::opaque())).await {
            Some(Ok(_)) => {}
            // The connection itself tells why.
            Some(Err(_)) => std::future::pending().await,
            None => return Ended::Broken(format!("no answer to a ping for {} s", PING.as_secs())),
        }
    }
}

async fn follow_one(session: Arc<Session>, follow: Follow, requests: SendRequest<Bytes>, uri: Uri) -> Result<Ended, Ended> {
    let mut requests = requests.ready().await.map_err(|error| broken(&uri, error))?;
    let create = CreateReq(AddUpdate {
        resource_id: follow.followed.resource.clone(),
        tag: follow.place.tag.clone(),
        incremental_changes: true,
        input: follow.input(),
    });
    let body = Bytes::from(create.to_json());
    let request = Request::builder()
        .method(Method::POST)
        .uri(uri.to_string())
        .version(Version::HTTP_2)
        .header(header::ACCEPT, format!("{},{}", media_type::TRANSPORT, media_type::ERROR))
        .header(header::CONTENT_TYPE, media_type::UPDATE_STREAM_PARAMS)
        .header(header::CONTENT_LENGTH, body.len())
        .header(header::USER_AGENT, concat!("altocast/", env!("CARGO_PKG_VERSION")))
        .body(())
        .map_err(|error| Ended::Unsupported(error.to_string()))?;
    let (mut response, mut sending) = requests.send_request(request, false).map_err(|error| broken(&uri, error))?;
    // Before the answer is waited for: a promise may come with it.
    let mut promises = response.push_promises();
    sending.send_data(body, true).map_err(|error| broken(&uri, error))?;
    let patience = session.client.options().silence_timeout;
    let response = timeout(patience, response)
        .await
        .map_err(|_| Ended::Unreachable(format!("{uri}: no answer for {} s", patience.as_secs_f64())))?
        .map_err(|error| broken(&uri, error))?;
    let (parts, mut body) = response.into_parts();
    let bounds = Bounds::of(&session);
    if parts.status != StatusCode::OK {
        let body = read(&mut body, bounds, |_| false).await.map_err(|why| Ended::Broken(format!("{uri}: {why}")))?;
        let reply = Reply { uri, status: parts.status, version: Version::HTTP_2, headers: parts.headers, body };
        return Err(refused(&session.client, &reply, Method::POST));
    }
    let queue = created(&uri, &parts.headers, &mut body, bounds).await?;
    session.events.send(Event::Opened).await;
    loop {
        tokio::select! {
            biased;
            promise = promises.push_promise() => match promise {
                Some(Ok(promise)) => pushed(&session, &follow, &queue, promise).await?,
                Some(Err(error)) => return Err(broken(&uri, error)),
                None => return Ok(over()),
            },
            more = body.data() => match more {
                // Nothing is owed after the queue's URI; what comes is not kept.
                Some(Ok(data)) => drop(body.flow_control().release_capacity(data.len())),
                Some(Err(error)) => return Err(broken(&uri, error)),
                None => return Ok(over()),
            },
        }
    }
}

fn over() -> Ended {
    Ended::Closed { why: "the server closed the transport queue".into(), retry_after: None }
}

/// The queue's URI. The stream stays open, so the answer ends with its JSON, not with the stream.
async fn created(uri: &Uri, headers: &HeaderMap, body: &mut RecvStream, bounds: Bounds) -> Result<Uri, Ended> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let whole = |so_far: &[u8]| match length {
        Some(length) => so_far.len() >= length,
        None => Created::from_json(so_far).is_ok(),
    };
    let text = read(body, bounds, whole).await.map_err(|why| Ended::Broken(format!("{uri}: {why}")))?;
    let created = Created::from_json(&text).map_err(|error| Ended::Unsupported(format!("{uri}: its answer is wrong: {error}")))?;
    uri.resolve(&created.uri).map_err(failed)
}

async fn pushed(session: &Session, follow: &Follow, queue: &Uri, promise: PushPromise) -> Result<(), Ended> {
    let (request, response) = promise.into_parts();
    let path = request.uri().path();
    let seq = path.strip_prefix(queue.path()).and_then(|rest| rest.strip_prefix("/uq/")).and_then(seq_of_path);
    let Some(seq) = seq else {
        return Err(Ended::Violation(follow.index, format!("a push of {path}, which is no update of {}", queue.path())));
    };
    let at = |error: &dyn std::fmt::Display| Ended::Broken(format!("the push of version {seq}: {error}"));
    // Promised is owed.
    let bounds = Bounds::of(session);
    let response = timeout(bounds.silence, response).await.map_err(|_| at(&bounds.silent()))?;
    let (parts, mut body) = response.map_err(|error| at(&error))?.into_parts();
    if parts.status != StatusCode::OK {
        return Err(Ended::Violation(follow.index, format!("the push of version {seq} has status {}", parts.status)));
    }
    let body = read(&mut body, bounds, |_| false).await.map_err(|why| at(&why))?;
    // The version before it is what came before it: every entry of the queue is pushed once, in order (section 6.1).
    let update = follow.update(Since::Seq(seq.saturating_sub(1)), Some(seq), etag(&parts.headers), media_type_of(&parts.headers), body);
    session.events.send(update).await;
    Ok(())
}

/// What a server owes that has begun to answer: so much, and with pauses no longer than this.
#[derive(Clone, Copy)]
struct Bounds {
    bytes_max: usize,
    silence: Duration,
}

impl Bounds {
    fn of(session: &Session) -> Self {
        let options = session.client.options();
        Self { bytes_max: options.limits.body_bytes_max, silence: options.silence_timeout }
    }

    fn silent(self) -> String {
        format!("nothing came for {} s", self.silence.as_secs_f64())
    }
}

/// Reads until the stream ends or `whole` is content.
async fn read(stream: &mut RecvStream, bounds: Bounds, whole: impl Fn(&[u8]) -> bool) -> Result<Bytes, String> {
    let mut body = BytesMut::new();
    while !whole(&body) {
        let Some(data) = timeout(bounds.silence, stream.data()).await.map_err(|_| bounds.silent())? else { break };
        let data = data.map_err(|error| error.to_string())?;
        let _ = stream.flow_control().release_capacity(data.len());
        if body.len() + data.len() > bounds.bytes_max {
            return Err(format!("more than {} bytes (body_bytes_max)", bounds.bytes_max));
        }
        body.extend_from_slice(&data);
    }
    Ok(body.freeze())
}

fn broken(uri: &Uri, error: h2::Error) -> Ended {
    let why = format!("{}: {error}", uri.origin());
    match error.reason() {
        Some(h2::Reason::NO_ERROR) => Ended::Closed { why, retry_after: None },
        Some(h2::Reason::HTTP_1_1_REQUIRED) => Ended::Unsupported(why),
        _ if error.is_io() => Ended::Unreachable(why),
        _ => Ended::Broken(why),
    }
}
