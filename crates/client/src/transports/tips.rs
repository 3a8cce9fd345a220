//! TIPS (draft-ietf-alto-new-transport, RFC 9569): opens a view, then takes edge after edge, the next one by long poll. Every edge is a
//! request of its own, so numbers follow each other by construction, and a poll that is cut off loses nothing.
use super::{Follow, Session, Transport, failed, first_of, refused, retry_after};
use crate::{
    catalog::Offer,
    error::Error,
    http::{Ask, Reply},
    replica::core::{Ended, Event, Place, Since},
    uri::Uri,
};
use alto::{
    ErrorBody, media_type,
    updates::tips::{AddTipsResponse, Edge, Summary, SummaryChange, TipsReq},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout};

pub(crate) struct Tips;

impl Transport for Tips {
    async fn run(session: Session) -> Ended {
        let of_service = |session: Arc<Session>, service: Offer, follows: Vec<Follow>| {
            first_of(follows.into_iter().map(move |follow| follow_one(session.clone(), follow, service.uri.clone())))
        };
        session.each_service(media_type::TIPS, of_service).await
    }
}

/// A view that was opened, and the version the client has of it.
struct Reader {
    session: Arc<Session>,
    follow: Follow,
    view: String,
    /// 0: none.
    at: u64,
    /// A recommendation that is still to be taken up.
    start: Option<Edge>,
}

async fn follow_one(session: Arc<Session>, follow: Follow, service: Uri) -> Ended {
    match Reader::open(session, follow, &service).await {
        Ok(mut reader) => loop {
            if let Err(ended) = reader.step().await {
                return ended;
            }
        },
        Err(ended) => ended,
    }
}

/// Longest wait after a refusal without `Retry-After`.
const PAUSE: Duration = Duration::from_secs(2);
/// A poll that lasted so long was held: it was not refused.
const HELD: Duration = Duration::from_secs(5);
/// Between a poll that brought nothing and the next.
const BREATH: Duration = Duration::from_millis(250);

impl Reader {
    async fn open(session: Arc<Session>, follow: Follow, service: &Uri) -> Result<Self, Ended> {
        let request = TipsReq { resource_id: follow.followed.resource.clone(), tag: follow.place.tag.clone(), input: follow.input() };
        let reply = post(&session, service, &request, media_type::TIPS).await?;
        if reply.status != StatusCode::OK {
            return Err(refused(&session.client, &reply, Method::POST));
        }
        let limits = &session.client.options().limits.documents;
        let opened = AddTipsResponse::from_json_within(&reply.body, limits).map_err(|error| bad(&reply, &error))?;
        let view = reply.uri.resolve(&opened.view_uri).map_err(failed)?.to_string();
        session.events.send(Event::Opened).await;
        let mut reader = Self { session, follow, view, at: 0, start: None };
        reader.start(opened.summary).await;
        Ok(reader)
    }

    /// Takes up a recommendation: from the version of the client's tag, or from nothing.
    async fn start(&mut self, summary: Summary) {
        let edge = summary.start_edge;
        self.at = edge.i;
        if edge.i > 0 && edge.i >= summary.end_seq {
            // The next edge is still to come: the client's tag is that of the newest version.
            self.session.events.send(Event::Current { index: self.follow.index, seq: Some(edge.i), tag: self.place().tag }).await;
        } else {
            self.start = Some(edge);
        }
    }

    /// One edge more, however long it takes.
    async fn step(&mut self) -> Result<(), Ended> {
        let first = self.start.is_some();
        let edge = self.start.unwrap_or(Edge { i: self.at, j: self.at + 1 });
        let uri = Uri::parse(&edge.uri(&self.view)).map_err(failed)?;
        let headers = HeaderMap::from_iter([(header::ACCEPT, value(&self.follow.accept()))]);
        let ask = Ask { method: Method::GET, uri, headers, body: Bytes::new() };
        let limits = &self.session.client.options().limits;
        let asked_at = Instant::now();
        let reply = match self.session.client.transport().exchange_within(ask, limits.poll_time_max).await {
            Ok(reply) => reply,
            // Nothing new for long: is the server still there?
            Err(Error::Timeout { .. }) => return self.ask_again().await,
            Err(error) => return Err(failed(error)),
        };
        match reply.status {
            StatusCode::OK => {
                // The place that was announced has this number from now on.
                let since = if first { Since::Before } else { Since::Seq(edge.i) };
                let event = self.follow.update(since, Some(edge.j), None, reply.media_type(), reply.body);
                self.session.events.send(event).await;
                (self.at, self.start) = (edge.j, None);
                Ok(())
            }
            // The server, or a proxy, ended a poll that was held for long and brought nothing: ask again at once.
            StatusCode::TOO_EARLY | StatusCode::GATEWAY_TIMEOUT | StatusCode::NO_CONTENT | StatusCode::REQUEST_TIMEOUT
                if asked_at.elapsed() >= HELD =>
            {
                self.session.events.send(Event::Alive).await;
                Ok(())
            }
            StatusCode::GATEWAY_TIMEOUT | StatusCode::NO_CONTENT | StatusCode::REQUEST_TIMEOUT => self.ask_again().await,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_EARLY => {
                let pause = retry_after(&reply.headers).unwrap_or(PAUSE);
                if pause > limits.followed_silence_max / 2 || first {
                    return Err(refused(&self.session.client, &reply, Method::GET));
                }
                self.session.events.send(Event::Alive).await;
                sleep(pause).await;
                if reply.status == StatusCode::TOO_EARLY { self.ask_again().await } else { Ok(()) }
            }
            // Compacted, or an edge that is not offered: from where then? (section 7.4)
            StatusCode::GONE => self.ask_again().await,
            // The view is closed: open it again.
            StatusCode::NOT_FOUND => Err(Ended::Closed { why: "the TIPS view is closed".into(), retry_after: None }),
            _ => Err(refused(&self.session.client, &reply, Method::GET)),
        }
    }

    /// Asks for a next edge (section 7.4) from the version that is here, and takes it up.
    async fn ask_again(&mut self) -> Result<(), Ended> {
        // What was read must be applied first: its tag is the place.
        let (index, at) = (self.follow.index, self.at);
        let taken = |places: &Vec<Place>| at == 0 || places[index].seq == Some(at);
        let patience = self.session.client.options().silence_timeout;
        let mut places = self.session.places.clone();
        let tag = match timeout(patience, places.wait_for(taken)).await {
            Ok(Ok(places)) => places[index].tag.clone(),
            _ => None,
        };
        let request = TipsReq { resource_id: self.follow.followed.resource.clone(), tag, input: None };
        let uri = Uri::parse(&format!("{}/ug", self.view)).map_err(failed)?;
        let reply = post(&self.session, &uri, &request, media_type::MERGE_PATCH).await?;
        match reply.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(Ended::Closed { why: "the TIPS view is closed".into(), retry_after: None }),
            _ => return Err(refused(&self.session.client, &reply, Method::POST)),
        }
        let change = SummaryChange::from_json(&reply.body).map_err(|error| bad(&reply, &error))?;
        let (Some(end_seq), Some(i), Some(j)) = (change.end_seq, change.seq_i, change.seq_j) else {
            return Err(Ended::Unsupported(format!("{}: the answer names no next edge", reply.uri)));
        };
        if end_seq < self.at {
            let why = format!("version {} was here, the server ends at {end_seq} (section 3.2, right shift only)", self.at);
            return Err(Ended::Violation(index, why));
        }
        self.session.events.send(Event::Alive).await;
        // Whatever ends polls at once must not make us ask without pause.
        sleep(BREATH).await;
        if end_seq == self.at {
            // Nothing is missing: the poll goes on where it was.
            return Ok(());
        }
        self.start(Summary { start_seq: change.start_seq.unwrap_or_default(), end_seq, start_edge: Edge { i, j } }).await;
        Ok(())
    }

    fn place(&self) -> Place {
        self.session.places.borrow()[self.follow.index].clone()
    }
}

async fn post(session: &Session, uri: &Uri, request: &TipsReq, wanted: &str) -> Result<Reply, Ended> {
    let headers = HeaderMap::from_iter([
        (header::ACCEPT, value(&format!("{wanted},{}", media_type::ERROR))),
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type::TIPS_PARAMS)),
    ]);
    let ask = Ask { method: Method::POST, uri: uri.clone(), headers, body: request.to_json().into() };
    session.client.transport().exchange(ask).await.map_err(failed)
}

fn bad(reply: &Reply, error: &ErrorBody) -> Ended {
    Ended::Unsupported(Error::unparsable(&reply.uri, error).to_string())
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("*/*"))
}
