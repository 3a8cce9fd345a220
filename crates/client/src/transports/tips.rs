//! TIPS (draft-ietf-alto-new-transport, RFC 9569): opens a view, then takes edge after edge, the next one by long poll. Every edge is a
//! request of its own, so numbers follow each other by construction, and a poll that is cut off loses nothing.
use super::{Follow, Session, Transport, failed, first_of, pulse::Pulse, refused};
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
    pulse: Pulse,
    follow: Follow,
    view: String,
    /// 0: none.
    at: u64,
    /// The newest version that is known of. An edge to what comes after it is a poll, any other is there.
    end: u64,
    /// Requests in a row that were answered at once and brought nothing.
    fruitless: u32,
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
/// One that ended sooner was not even a short poll.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Between a request that brought nothing and the next; doubled with every one that was answered at once.
const BREATH: Duration = Duration::from_millis(250);
/// Of these in a row. 5: some eight seconds, in which whatever was only for a moment is over.
const FRUITLESS_MAX: u32 = 5;

impl Reader {
    async fn open(session: Arc<Session>, follow: Follow, service: &Uri) -> Result<Self, Ended> {
        let request = TipsReq { resource_id: follow.followed.resource.clone(), tag: follow.place.tag.clone(), input: follow.input() };
        let pulse = Pulse::new(session.events.clone());
        let reply = post(&session, &pulse, service, &request, media_type::TIPS).await?;
        if reply.status != StatusCode::OK {
            return Err(refused(&session.client, &reply, Method::POST));
        }
        let limits = &session.client.options().limits.documents;
        let opened = AddTipsResponse::from_json_within(&reply.body, limits).map_err(|error| bad(&reply, &error))?;
        let view = reply.uri.resolve(&opened.view_uri).map_err(failed)?.to_string();
        session.events.send(Event::Opened).await;
        let mut reader = Self { session, pulse, follow, view, at: 0, end: 0, fruitless: 0, start: None };
        reader.start(opened.summary).await;
        Ok(reader)
    }

    /// Takes up a recommendation: from the version of the client's tag, or from nothing.
    async fn start(&mut self, summary: Summary) {
        let edge = summary.start_edge;
        (self.at, self.end) = (edge.i, summary.end_seq);
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
        let options = self.session.client.options();
        // What the server says it has (section 6.2) is there at once.
        let is_poll = edge.i > 0 && edge.j > self.end;
        let patience = if is_poll { options.limits.poll_time_max } else { options.silence_timeout };
        let asked_at = Instant::now();
        let reply = match self.session.client.transport().exchange_within(ask, patience, &mut || self.pulse.came()).await {
            Ok(reply) => reply,
            // Nothing new for long: is the server still there?
            Err(Error::Timeout { begun: false, .. }) if is_poll => return self.ask_again().await,
            Err(error @ Error::Timeout { .. }) => return Err(Ended::Broken(error.to_string())),
            Err(error) => return Err(failed(error)),
        };
        let took = asked_at.elapsed();
        match reply.status {
            StatusCode::OK => {
                // The place that was announced has this number from now on.
                let since = if first { Since::Before } else { Since::Seq(edge.i) };
                let event = self.follow.update(since, Some(edge.j), None, reply.media_type(), reply.body);
                self.session.events.send(event).await;
                (self.at, self.start, self.fruitless) = (edge.j, None, 0);
                self.end = self.end.max(edge.j);
                Ok(())
            }
            // The server, or a proxy, ended a poll that was held for long and brought nothing: ask again at once.
            StatusCode::TOO_EARLY | StatusCode::GATEWAY_TIMEOUT | StatusCode::NO_CONTENT | StatusCode::REQUEST_TIMEOUT
                if is_poll && took >= HELD =>
            {
                self.fruitless = 0;
                self.session.events.send(Event::Alive).await;
                Ok(())
            }
            StatusCode::GATEWAY_TIMEOUT | StatusCode::NO_CONTENT | StatusCode::REQUEST_TIMEOUT => {
                self.pause(&reply, is_poll && took >= AT_ONCE, Duration::ZERO).await?;
                self.ask_again().await
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_EARLY => {
                let asked = reply.retry_after().unwrap_or(PAUSE);
                let is_early = reply.status == StatusCode::TOO_EARLY;
                if asked > options.limits.followed_silence_max / 2 || (first && !is_early) {
                    return Err(refused(&self.session.client, &reply, Method::GET));
                }
                self.pause(&reply, is_early && is_poll && took >= AT_ONCE, asked).await?;
                if is_early { self.ask_again().await } else { Ok(()) }
            }
            // Compacted, or an edge that is not offered: from where then? (section 7.4)
            StatusCode::GONE => {
                self.pause(&reply, false, Duration::ZERO).await?;
                self.ask_again().await
            }
            // The view is closed: open it again.
            StatusCode::NOT_FOUND => Err(Ended::Closed { why: "the TIPS view is closed".into(), retry_after: None }),
            _ => Err(refused(&self.session.client, &reply, Method::GET)),
        }
    }

    /// After an answer that brought nothing: waits before the next request, longer each time, and at least as long as the server asks for. A
    /// session in which that is all that comes ends; one of polls that are short but `held` goes on.
    async fn pause(&mut self, reply: &Reply, held: bool, asked: Duration) -> Result<(), Ended> {
        if held {
            self.fruitless = 0;
        } else if self.fruitless == FRUITLESS_MAX {
            return Err(match reply.status {
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => refused(&self.session.client, reply, Method::GET),
                status => Ended::Broken(format!("{}: {status} to {} requests in a row", reply.uri, FRUITLESS_MAX + 1)),
            });
        }
        let pause = BREATH * (1 << self.fruitless);
        self.fruitless += u32::from(!held);
        self.session.events.send(Event::Alive).await;
        sleep(pause.max(asked)).await;
        Ok(())
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
        let reply = post(&self.session, &self.pulse, &uri, &request, media_type::MERGE_PATCH).await?;
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
        self.end = end_seq;
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

async fn post(session: &Session, pulse: &Pulse, uri: &Uri, request: &TipsReq, wanted: &str) -> Result<Reply, Ended> {
    let headers = HeaderMap::from_iter([
        (header::ACCEPT, value(&format!("{wanted},{}", media_type::ERROR))),
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type::TIPS_PARAMS)),
    ]);
    let ask = Ask { method: Method::POST, uri: uri.clone(), headers, body: request.to_json().into() };
    let patience = session.client.options().silence_timeout;
    session.client.transport().exchange_within(ask, patience, &mut || pulse.came()).await.map_err(failed)
}

fn bad(reply: &Reply, error: &ErrorBody) -> Ended {
    Ended::Unsupported(Error::unparsable(&reply.uri, error).to_string())
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("*/*"))
}
