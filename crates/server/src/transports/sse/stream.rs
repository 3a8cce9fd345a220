//! One update stream as a state machine (RFC 8895 sections 5 to 7): substreams in, events out. No clock, no sockets.
//!
//! Order (section 6.7.1): before an update of a resource goes out, the resources it depends on are brought to what they were when the update
//! was taken from its view, or later. So a client never has a cost map that is newer than its network map, however far it is behind and
//! whatever is skipped on the way.
use super::payload::{Payload, payload};
use crate::transports::{ready::Ready, tips_stream::Watch};
use alto::{
    ErrorBody,
    id::{ResourceId, SubstreamId},
    updates::sse::{self, ControlEvent, EVENT_END, event_head},
};
use bytes::Bytes;
use history::{Accepts, Cursor, Item, Seq, View, ViewId};
use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

/// Names the data of an event: the same for all streams.
pub(crate) type PayloadKey = (ViewId, Seq, Seq, &'static str);
/// Data made ready.
pub(crate) type Payloads = Ready<PayloadKey, Payload>;

/// Bounds of a stream; see `Limits`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) substreams_max: usize,
    pub(crate) substream_ids_max: usize,
    pub(crate) control_requests_max: u32,
    pub(crate) keep_alive: Duration,
    /// Events are gathered up to so many bytes before they are handed on: what one commit changed goes out in one go.
    pub(crate) batch_bytes: usize,
}

/// What a substream follows.
pub(crate) enum Source {
    /// The contents of a resource.
    Resource { cursor: Cursor, accepts: Accepts },
    /// The summary of a TIPS view.
    Summary(Watch),
}

impl Source {
    pub(crate) fn view(&self) -> &Arc<View> {
        match self {
            Self::Resource { cursor, .. } => cursor.view(),
            Self::Summary(watch) => watch.view(),
        }
    }

    fn is_current(&self) -> bool {
        match self {
            Self::Resource { cursor, .. } => cursor.is_current(),
            Self::Summary(watch) => watch.is_current(),
        }
    }
}

/// A resource to follow under a name of the client's.
pub(crate) struct Substream {
    pub(crate) id: SubstreamId,
    pub(crate) source: Source,
    /// What the resource depends on.
    pub(crate) depends_on: Box<[ResourceId]>,
}

/// An update that was taken from its view and waits for what it depends on.
struct Held {
    substream: SubstreamId,
    view: ViewId,
    item: Item,
    /// Up to which version each substream it depends on must be brought.
    goals: Vec<(SubstreamId, Seq)>,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Something was said: so many updates.
    Said { updates: usize },
    /// Nothing until there is news, or it is that late.
    Wait(Instant),
    /// Nothing more will come.
    Ended,
}

/// Why a control request changes nothing (section 7.6).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// 400.
    Wrong(ErrorBody),
    /// 429.
    TooMany(String),
    /// 404.
    Ended,
}

/// An update stream.
pub(crate) struct Stream {
    bounds: Bounds,
    /// In the order they were added.
    substreams: Vec<Substream>,
    /// Whose turn it is.
    turn: usize,
    /// Ids that were used and may not come again.
    closed: HashSet<SubstreamId>,
    /// Control events that were not said yet. Each id is in at most two, so there are few.
    notices: Vec<ControlEvent>,
    held: Vec<Held>,
    /// Counts changes of `substreams`.
    generation: u64,
    ended: bool,
    last_said: Instant,
    /// Control requests that may come at once.
    allowance: f64,
    allowance_at: Instant,
}

impl Stream {
    /// With its first event waiting (section 6.7.1: "The first event MUST be a control update message with the URI").
    pub(crate) fn new(now: Instant, bounds: Bounds, control_uri: &str, substreams: Vec<Substream>) -> Result<Self, Refused> {
        let mut stream = Self {
            bounds,
            substreams: Vec::new(),
            turn: 0,
            closed: HashSet::new(),
            notices: vec![ControlEvent { control_uri: Some(Some(control_uri.into())), ..ControlEvent::default() }],
            held: Vec::new(),
            generation: 0,
            ended: false,
            last_said: now,
            allowance: f64::from(bounds.control_requests_max),
            allowance_at: now,
        };
        stream.check(&substreams.iter().map(|substream| &substream.id).collect::<Vec<_>>(), None)?;
        stream.substreams = substreams;
        stream.substreams.shrink_to_fit();
        Ok(stream)
    }

    /// The views it follows; the same as long as [`Self::generation`] is.
    pub(crate) fn views(&self) -> impl Iterator<Item = &Arc<View>> {
        self.substreams.iter().map(|substream| substream.source.view())
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    #[cfg(test)]
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Its client is gone.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.substreams.clear();
        self.held.clear();
        self.notices.clear();
        self.generation += 1;
    }

    /// Whether a control request may come now; each counts, right or wrong.
    pub(crate) fn admit(&mut self, now: Instant) -> bool {
        let max = f64::from(self.bounds.control_requests_max);
        let refill = now.saturating_duration_since(self.allowance_at).as_secs_f64() * max / 60.0;
        self.allowance = (self.allowance + refill).min(max);
        self.allowance_at = now;
        let admitted = self.allowance >= 1.0;
        if admitted {
            self.allowance -= 1.0;
        }
        admitted
    }

    /// Whether a request may be granted (sections 7.5 and 7.6), before anything is done for it. `add` before `remove`.
    pub(crate) fn check(&self, add: &[&SubstreamId], remove: Option<&[String]>) -> Result<(), Refused> {
        if self.ended {
            return Err(Refused::Ended);
        }
        let active = |id: &str| self.substreams.iter().any(|substream| substream.id.as_str() == id);
        let mut seen = HashSet::new();
        // "Substream-ids MUST be unique over the lifetime of this update stream".
        let used: Vec<_> =
            add.iter().filter(|id| active(id.as_str()) || self.closed.contains(**id) || !seen.insert(**id)).copied().collect();
        if !used.is_empty() {
            return Err(Refused::Wrong(sse::refused_substreams("add", used.into_iter().map(SubstreamId::as_str))));
        }
        let remove_all = remove.is_some_and(<[_]>::is_empty);
        if remove_all && !add.is_empty() {
            return Err(Refused::Wrong(sse::refused_substreams("remove", [])));
        }
        // "it is legal to remove a substream-id twice".
        let unknown: Vec<_> =
            remove.unwrap_or_default().iter().map(String::as_str).filter(|id| !active(id) && !self.closed.contains(*id)).collect();
        if !unknown.is_empty() {
            return Err(Refused::Wrong(sse::refused_substreams("remove", unknown)));
        }
        let Bounds { substreams_max, substream_ids_max, .. } = self.bounds;
        let removed: HashSet<_> = remove.unwrap_or_default().iter().filter(|id| active(id)).collect();
        if self.substreams.len() + add.len() - removed.len() > substreams_max {
            let why = format!("an update stream has {substreams_max} substreams at most (updates.substreams-max)");
            return Err(Refused::TooMany(why));
        }
        if self.substreams.len() + self.closed.len() + add.len() > substream_ids_max {
            let max = substream_ids_max;
            let why = format!("an update stream takes {max} substream ids in its life (updates.substream-ids-max); open another");
            return Err(Refused::TooMany(why));
        }
        Ok(())
    }

    /// Grants a request: all of it or nothing.
    pub(crate) fn change(&mut self, add: Vec<Substream>, remove: Option<&[String]>) -> Result<(), Refused> {
        self.check(&add.iter().map(|substream| &substream.id).collect::<Vec<_>>(), remove)?;
        if !add.is_empty() {
            let started = add.iter().map(|substream| substream.id.clone()).collect();
            self.notices.push(ControlEvent { started, ..ControlEvent::default() });
            self.substreams.extend(add);
            self.generation += 1;
        }
        match remove {
            Some([]) => self.stop(|_| true, "removed on request"),
            Some(remove) => self.stop(|substream| remove.iter().any(|id| id == substream.id.as_str()), "removed on request"),
            None => {}
        }
        Ok(())
    }

    /// The server will not go on.
    pub(crate) fn shut_down(&mut self) {
        self.stop(|_| true, "the server is stopping");
    }

    /// Stops substreams and says so. "If the request removes all active resources [..] the update stream server MUST close the update stream."
    fn stop(&mut self, which: impl Fn(&Substream) -> bool, why: &str) {
        let mut stopped = Vec::new();
        self.substreams.retain(|substream| {
            let stop = which(substream);
            if stop {
                stopped.push(substream.id.clone());
            }
            !stop
        });
        if stopped.is_empty() {
            return;
        }
        self.generation += 1;
        // What waited for one of them waits no longer.
        self.held.retain(|held| !stopped.contains(&held.substream));
        self.held.iter_mut().for_each(|held| held.goals.retain(|(id, _)| !stopped.contains(id)));
        self.closed.extend(stopped.iter().cloned());
        self.notices.push(ControlEvent { stopped, description: Some(why.into()), ..ControlEvent::default() });
    }

    /// What to say next, added to `pieces`.
    pub(crate) fn next(&mut self, now: Instant, payloads: &Payloads, pieces: &mut Vec<Bytes>) -> Next {
        let before = pieces.len();
        let (mut updates, mut bytes) = (0, 0);
        loop {
            self.leave_closed_views();
            pieces.extend(self.notices.drain(..).map(|notice| Bytes::from(notice.to_event())));
            if self.substreams.is_empty() {
                self.ended = true;
                break;
            }
            if bytes >= self.bounds.batch_bytes {
                break;
            }
            match self.say(payloads, pieces) {
                Some(said) => {
                    updates += 1;
                    bytes += said;
                }
                None => break,
            }
        }
        if pieces.len() > before {
            self.last_said = now;
            return Next::Said { updates };
        }
        if self.ended {
            return Next::Ended;
        }
        let due = self.last_said + self.bounds.keep_alive;
        if now >= due {
            pieces.push(Bytes::from_static(sse::KEEP_ALIVE));
            self.last_said = now;
            return Next::Said { updates: 0 };
        }
        Next::Wait(due)
    }

    fn leave_closed_views(&mut self) {
        while let Some(closed) = self.substreams.iter().map(|substream| substream.source.view()).find(|view| view.is_closed()).cloned() {
            let why = format!("{} was withdrawn", closed.resource());
            self.stop(|substream| Arc::ptr_eq(substream.source.view(), &closed), &why);
        }
    }

    /// The next update, if any: how many bytes.
    fn say(&mut self, payloads: &Payloads, pieces: &mut Vec<Bytes>) -> Option<usize> {
        if self.held.is_empty() {
            let (count, first) = (self.substreams.len(), self.turn);
            for at in (0..count).map(|step| (first + step) % count) {
                if self.substreams[at].source.is_current() {
                    continue;
                }
                self.turn = at + 1;
                if let Some(said) = self.take(at, pieces) {
                    return Some(said);
                }
                if !self.held.is_empty() {
                    break;
                }
            }
        }
        // Updates that wait lie on top of those that wait for them.
        while let Some(top) = self.held.last() {
            let behind = top.goals.iter().find_map(|(id, goal)| {
                let at = self.substreams.iter().position(|substream| substream.id == *id)?;
                matches!(&self.substreams[at].source, Source::Resource { cursor, .. } if cursor.at() < *goal).then_some(at)
            });
            let Some(at) = behind else {
                let held = self.held.pop()?;
                return Some(event(&held, payloads, pieces));
            };
            let held = self.held.len();
            self.take(at, pieces);
            if self.held.len() == held {
                // The view has nothing newer after all: there is nothing to wait for.
                let id = self.substreams[at].id.clone();
                self.held[held - 1].goals.retain(|(goal, _)| *goal != id);
            }
        }
        None
    }

    /// Takes the next update of a substream from its view; a summary is said at once, it depends on nothing.
    fn take(&mut self, at: usize, pieces: &mut Vec<Bytes>) -> Option<usize> {
        let substream = &mut self.substreams[at];
        match &mut substream.source {
            Source::Summary(watch) => {
                let (media_type, body) = watch.next()?;
                let said = body.len();
                pieces.extend([event_head(media_type, &substream.id).into(), body.into(), Bytes::from_static(EVENT_END)]);
                Some(said)
            }
            Source::Resource { cursor, accepts } => {
                let item = cursor.next(*accepts)?;
                let view = cursor.view().id().clone();
                // Read after the update was taken, so nothing it depends on can be missing.
                let (id, depends_on) = (substream.id.clone(), &self.substreams[at].depends_on);
                let needed = self.substreams.iter().filter(|other| depends_on.contains(other.source.view().resource()));
                let goals = needed.map(|other| (other.id.clone(), other.source.view().head().0.end)).collect();
                // Mostly there is one at a time, and a client that waits should not hold room for more.
                self.held.reserve_exact(1);
                self.held.push(Held { substream: id, view, item, goals });
                None
            }
        }
    }
}

/// Writes an update; how many bytes.
fn event(held: &Held, payloads: &Payloads, pieces: &mut Vec<Bytes>) -> usize {
    let Held { substream, view, item, .. } = held;
    let head = event_head(item.media_type, substream);
    let data = payloads.get((view.clone(), item.from, item.to, item.media_type), item.body.len(), || payload(&item.body));
    let bytes = head.len() + item.body.len();
    pieces.push(head.into());
    pieces.extend_from_slice(&data);
    bytes
}
