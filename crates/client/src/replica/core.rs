//! Following resources as a state machine: what a transport saw and the time go in, what to do comes out. No I/O, no clock, no tasks.
//!
//! Checks (RFC 8895 section 9.2; draft-ietf-alto-new-transport section 3.2): a change applies to the version that is here and to no
//! other; numbers follow each other; the tag of what was built is the tag the server says; a document is handed out only together with the
//! network map that it depends on. Whatever fails, the copy is dropped and asked for again, and counted.
//! Invariant: changes come out in the order of their versions, and none is left out without a full copy after it.
mod state;

use self::state::{Built, State};
use super::{
    backoff::Backoff,
    change::{Change, Copy, Notice, Via},
};
use crate::{error::Error, options::Limits};
use alto::id::{ResourceId, Tag};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Which of the followed resources, by its place in the list given to [`Core::new`].
pub type Index = usize;

/// One resource to follow.
#[derive(Debug, Clone)]
pub struct Followed {
    /// Its id.
    pub resource: ResourceId,
    /// The request body, for a resource that answers requests.
    pub input: Option<Bytes>,
    /// Of its full copies.
    pub media_type: Box<str>,
    /// Whether its changes are handed out; `false`: it is followed because another depends on it.
    pub wanted: bool,
}

/// Which version the client has, for the server to go on from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Its tag; `None`: it has nothing that could be named.
    pub tag: Option<Tag>,
    /// Its number in the server's count.
    pub seq: Option<u64>,
}

/// What a patch is relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// What this session had before: the place it began at, then every update in its order.
    Before,
    /// This version.
    Seq(u64),
}

/// One update, as a transport read it.
#[derive(Debug, Clone)]
pub struct Update {
    /// Of which resource.
    pub index: Index,
    /// What it is relative to, if it is a patch.
    pub since: Since,
    /// The version it leads to, where the transport says so.
    pub seq: Option<u64>,
    /// Its tag, where the transport says so.
    pub tag: Option<Tag>,
    /// The resource's own, or that of a patch.
    pub media_type: Box<str>,
    /// The document or the patch.
    pub body: Bytes,
}

/// What a session reports.
#[derive(Debug)]
pub enum Event {
    /// The server took the request: updates will come.
    Opened,
    /// See there.
    Update(Update),
    /// The version that the client has is the newest.
    Current {
        /// Of which resource.
        index: Index,
        /// Its number, where the transport says so.
        seq: Option<u64>,
        /// Its tag, where the transport says so.
        tag: Option<Tag>,
    },
    /// The server lives.
    Alive,
    /// This transport does not offer a resource that is followed only because others depend on it.
    Without(Index),
    /// Of these no updates will come in this session, the server says why.
    Stopped(Vec<Index>, String),
    /// It is over.
    Ended(Ended),
}

/// How a session ended.
#[derive(Debug)]
pub enum Ended {
    /// The directory cannot be read: the server is away, whatever the way.
    Away {
        /// What was seen of it.
        why: String,
        /// `Retry-After`
        retry_after: Option<Duration>,
    },
    /// There is a directory, but no connection this way, or none that answered.
    Unreachable(String),
    /// The server closed it in good order, or asks to come again later.
    Closed {
        /// In the server's words.
        why: String,
        /// `Retry-After`
        retry_after: Option<Duration>,
    },
    /// It broke.
    Broken(String),
    /// The directory offers no such transport for what is followed, or the server refuses it.
    Unsupported(String),
    /// The resource is there no more.
    Withdrawn {
        /// Which.
        resource: ResourceId,
        /// Who says so, in what words.
        why: String,
    },
    /// What was sent is not what the protocol promises.
    Violation(Index, String),
    /// Asking again would not help: a wrong input, an untrusted certificate.
    Fatal(Error),
}

/// What to do. Drain [`Core::poll_action`] after every `handle_*`.
#[derive(Debug)]
pub enum Action {
    /// Begin a session; its events carry its number.
    Open {
        /// Its number.
        session: u64,
        /// How.
        via: Via,
        /// Where each followed resource stands.
        places: Vec<Place>,
        /// Read the directory again before.
        refresh: bool,
    },
    /// End the session.
    Close,
    /// Hand out a change.
    Deliver(Change),
    /// Tell whoever wants to know.
    Tell(Notice),
    /// There is nothing more to do.
    End(Error),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting { until: Instant },
    Open { since: Instant, heard: Instant, accepted: bool },
    Over,
}

/// See the module.
#[derive(Debug)]
pub struct Core {
    states: Vec<State>,
    vias: Vec<Via>,
    via: usize,
    /// Sessions in a row over `via` that brought nothing.
    strikes: u32,
    /// Vias in a row that do not work here.
    unusable: usize,
    why_unusable: Vec<String>,
    withdrawn: u32,
    /// Something came at least once.
    worked: bool,
    phase: Phase,
    session: u64,
    refresh: bool,
    backoff: Backoff,
    /// Of asking again for what the server stopped while it goes on with others.
    stops: Backoff,
    /// When to.
    again: Option<Instant>,
    resyncs: u64,
    actions: VecDeque<Action>,
    limits: Limits,
}

/// Sessions that bring nothing before `auto` tries another transport.
const STRIKES_MAX: u32 = 3;
/// Times in a row that the directory must be without a resource before it counts as withdrawn: a server that starts may read it late.
const WITHDRAWN_MAX: u32 = 6;
/// A session of this length ends a row of failures.
const STEADY: Duration = Duration::from_secs(10);

impl Core {
    /// Follows `followed` over the first of `vias` that works. `seed` spreads clients in time.
    pub fn new(now: Instant, followed: Vec<Followed>, vias: Vec<Via>, limits: Limits, seed: u64) -> Self {
        debug_assert!(!vias.is_empty() && !followed.is_empty());
        let mut core = Self {
            states: followed.into_iter().map(State::new).collect(),
            vias,
            via: 0,
            strikes: 0,
            unusable: 0,
            why_unusable: Vec::new(),
            withdrawn: 0,
            worked: false,
            phase: Phase::Waiting { until: now },
            session: 0,
            refresh: false,
            backoff: Backoff::new(limits.backoff_min, limits.backoff_max, seed),
            stops: Backoff::new(limits.backoff_min, limits.backoff_max, seed),
            again: None,
            resyncs: 0,
            actions: VecDeque::new(),
            limits,
        };
        core.open(now);
        core
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Core::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let unfit = self.states.iter().filter_map(|state| state.unfit).min().map(|since| since + self.limits.consistency_time_max);
        match self.phase {
            Phase::Waiting { until } => Some(until),
            Phase::Open { heard, .. } => {
                let silent = heard + self.limits.followed_silence_max;
                [unfit, self.again].into_iter().flatten().chain([silent]).min()
            }
            Phase::Over => None,
        }
    }

    /// How often a copy was dropped because something did not fit.
    pub fn resyncs(&self) -> u64 {
        self.resyncs
    }

    /// The transport in use, once it was accepted.
    pub fn via(&self) -> Option<Via> {
        matches!(self.phase, Phase::Open { accepted: true, .. }).then(|| self.vias[self.via])
    }

    /// When the server was last heard; since then nothing is known of what it has.
    pub fn heard(&self) -> Option<Instant> {
        match self.phase {
            Phase::Open { heard, accepted: true, .. } => Some(heard),
            _ => None,
        }
    }

    /// The copy of a resource and whether it fits the network map that is here.
    pub fn copy(&self, index: Index) -> Option<Copy> {
        let Built { content, seq, tag } = self.states[index].built.as_ref()?;
        Some(Copy { content: content.clone(), seq: *seq, tag: tag.clone(), consistent: self.fits(index) })
    }

    /// Where each resource stands.
    pub fn places(&self) -> Vec<Place> {
        self.states.iter().map(State::place).collect()
    }

    /// Takes an event of a session; those of a session that is over are ignored.
    pub fn handle_event(&mut self, now: Instant, session: u64, event: Event) {
        let Phase::Open { heard, .. } = &mut self.phase else { return };
        if session != self.session {
            return;
        }
        *heard = now;
        match event {
            Event::Alive => {}
            Event::Opened => self.accepted(),
            Event::Without(index) => {
                let state = &mut self.states[index];
                (state.offered, state.built, state.held) = (false, None, Vec::new());
                self.settle(now);
            }
            Event::Current { index, seq, tag } => {
                self.accepted();
                self.resumed(index);
                match self.states[index].confirm(seq, tag) {
                    Ok(()) => self.works(),
                    Err(why) => self.mismatch(now, index, why),
                }
                self.settle(now);
            }
            Event::Update(update) => {
                self.accepted();
                let index = update.index;
                self.resumed(index);
                match self.states[index].take(update, &self.limits) {
                    Ok(is_change) => {
                        self.works();
                        if is_change {
                            self.backoff.eased();
                        }
                    }
                    Err(why) => return self.mismatch(now, index, why),
                }
                self.settle(now);
            }
            Event::Stopped(indices, why) => self.stopped(now, &indices, &why),
            Event::Ended(ended) => self.ended(now, ended),
        }
    }

    /// A deadline passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Waiting { until } if until <= now => self.open(now),
            Phase::Open { heard, .. } => {
                if heard + self.limits.followed_silence_max <= now {
                    self.actions.push_back(Action::Close);
                    let why = format!("silent for {} s", self.limits.followed_silence_max.as_secs());
                    return self.ended(now, Ended::Broken(why));
                }
                if self.again.is_some_and(|again| again <= now) {
                    self.actions.push_back(Action::Close);
                    return self.open(now);
                }
                let late = |state: &State| state.unfit.is_some_and(|since| since + self.limits.consistency_time_max <= now);
                if let Some(index) = self.states.iter().position(late) {
                    self.mismatch(now, index, "it does not fit the network map that it depends on".into());
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, now: Instant) {
        self.session += 1;
        self.phase = Phase::Open { since: now, heard: now, accepted: false };
        self.again = None;
        let mut places = Vec::new();
        for state in &mut self.states {
            (state.offered, state.numbered, state.stopped) = (true, false, false);
            places.push(state.place());
        }
        self.actions.push_back(Action::Open { session: self.session, via: self.vias[self.via], places, refresh: self.refresh });
        self.refresh = true;
    }

    fn accepted(&mut self) {
        if let Phase::Open { accepted: accepted @ false, .. } = &mut self.phase {
            *accepted = true;
            self.withdrawn = 0;
            self.actions.push_back(Action::Tell(Notice::Following { via: self.vias[self.via] }));
        }
    }

    /// Others may go on: RFC 8895 section 5.3 stops no more than it names.
    fn stopped(&mut self, now: Instant, indices: &[Index], why: &str) {
        for index in indices {
            let state = &mut self.states[*index];
            (state.stopped, state.ailing, state.unfit) = (true, true, None);
        }
        let named = |index: &Index| self.states[*index].followed.resource.clone();
        let resources: Vec<_> = indices.iter().map(named).collect();
        if self.states.iter().all(|state| state.stopped || !state.offered) {
            let names: Vec<_> = resources.iter().map(ResourceId::as_str).collect();
            self.actions.push_back(Action::Close);
            let why = format!("the server stopped {}: {why}", names.join(" and "));
            return self.ended(now, Ended::Closed { why, retry_after: None });
        }
        let retry_in = self.stops.next(Duration::ZERO);
        self.again = Some(self.again.map_or(now + retry_in, |again| again.min(now + retry_in)));
        for resource in resources {
            self.actions.push_back(Action::Tell(Notice::Stopped { resource, why: why.to_owned(), retry_in }));
        }
    }

    /// Something comes of it.
    fn resumed(&mut self, index: Index) {
        if std::mem::take(&mut self.states[index].ailing) {
            self.stops.reset();
        }
    }

    fn works(&mut self) {
        (self.worked, self.strikes, self.unusable) = (true, 0, 0);
        self.why_unusable.clear();
    }

    fn mismatch(&mut self, now: Instant, index: Index, why: String) {
        self.resyncs += 1;
        let state = &mut self.states[index];
        (state.built, state.held, state.held_bytes, state.unfit) = (None, Vec::new(), 0, None);
        let resource = state.followed.resource.clone();
        self.actions.push_back(Action::Close);
        self.actions.push_back(Action::Tell(Notice::Resynchronising { resource, why: why.clone() }));
        self.strike(&why);
        self.wait(now, None);
    }

    fn ended(&mut self, now: Instant, ended: Ended) {
        let Phase::Open { since, accepted, .. } = self.phase else { return };
        let steady = accepted && now.duration_since(since) >= STEADY;
        if steady {
            self.backoff.reset();
        }
        match ended {
            Ended::Fatal(error) => self.end(error),
            Ended::Violation(index, why) => self.mismatch(now, index, why),
            Ended::Away { why, retry_after } => {
                let retry_in = self.wait(now, retry_after);
                self.lost(why, retry_in);
            }
            Ended::Closed { why, retry_after } => {
                // A stream that was fine and had nothing to bring is no failure of its way.
                if steady {
                    self.strikes = 0
                } else {
                    self.strike(&why)
                }
                let retry_in = self.wait(now, retry_after);
                self.lost(why, retry_in);
            }
            Ended::Unreachable(why) | Ended::Broken(why) => {
                self.strike(&why);
                let retry_in = self.wait(now, None);
                self.lost(why, retry_in);
            }
            Ended::Withdrawn { resource, why } => {
                self.withdrawn += 1;
                if !self.worked || self.withdrawn >= WITHDRAWN_MAX {
                    let what = format!("the server has no resource {resource} any more: {why}");
                    return self.end(Error::NotOffered { what, offered: Vec::new() });
                }
                let retry_in = self.wait(now, None);
                self.lost(why, retry_in);
            }
            Ended::Unsupported(why) => {
                let from = self.vias[self.via];
                self.unusable += 1;
                self.why_unusable.push(format!("{from}: {why}"));
                if self.unusable < self.vias.len() {
                    self.next_via();
                    self.actions.push_back(Action::Tell(Notice::Switching { from, to: self.vias[self.via], why }));
                    return self.open(now);
                }
                if !self.worked {
                    let what = match &self.vias[..] {
                        [_] => format!("cannot follow over {from}: {why}"),
                        _ => format!("cannot follow; {}", self.why_unusable.join("; ")),
                    };
                    return self.end(Error::NotOffered { what, offered: Vec::new() });
                }
                self.unusable = 0;
                self.why_unusable.clear();
                self.next_via();
                let retry_in = self.wait(now, None);
                self.lost(why, retry_in);
            }
        }
    }

    /// A session more that came to nothing.
    fn strike(&mut self, why: &str) {
        self.strikes += 1;
        let from = self.vias[self.via];
        if self.vias.len() > 1 && self.strikes >= STRIKES_MAX {
            self.next_via();
            self.actions.push_back(Action::Tell(Notice::Switching { from, to: self.vias[self.via], why: why.to_owned() }));
        }
    }

    fn next_via(&mut self) {
        self.via = (self.via + 1) % self.vias.len();
        self.strikes = 0;
    }

    fn lost(&mut self, why: String, retry_in: Duration) {
        self.actions.push_back(Action::Tell(Notice::Lost { why, retry_in }));
    }

    fn wait(&mut self, now: Instant, retry_after: Option<Duration>) -> Duration {
        let asked = retry_after.unwrap_or_default().min(self.limits.retry_after_max);
        let delay = self.backoff.next(asked);
        self.phase = Phase::Waiting { until: now + delay };
        self.again = None;
        for state in &mut self.states {
            state.unfit = None;
        }
        delay
    }

    fn end(&mut self, error: Error) {
        self.phase = Phase::Over;
        self.actions.push_back(Action::End(error));
    }

    /// Hands out what fits now, what others depend on first.
    fn settle(&mut self, now: Instant) {
        loop {
            let ready = (0..self.states.len()).filter(|index| !self.states[*index].held.is_empty() && self.fits(*index));
            let rests_on = |index: &Index| self.states[*index].built.as_ref().map_or(0, |built| built.content.dependent_vtags().len());
            let Some(index) = ready.min_by_key(rests_on) else { break };
            let state = &mut self.states[index];
            state.held_bytes = 0;
            let wanted = state.followed.wanted;
            for change in state.held.drain(..).filter(|_| wanted) {
                self.actions.push_back(Action::Deliver(change));
            }
        }
        for index in 0..self.states.len() {
            // What is stopped will not come to fit before it is asked for again.
            let fits = self.states[index].built.is_none() || self.states[index].stopped || self.fits(index);
            let state = &mut self.states[index];
            state.unfit = if fits { None } else { state.unfit.or(Some(now)) };
        }
    }

    /// Whether every followed resource it depends on is here in the version it names.
    fn fits(&self, index: Index) -> bool {
        let Some(built) = &self.states[index].built else { return false };
        built.content.dependent_vtags().iter().all(|vtag| {
            let is_it = |state: &&State| state.offered && state.followed.resource == vtag.resource_id && state.followed.input.is_none();
            match self.states.iter().find(is_it) {
                None => true,
                Some(state) => state.built.as_ref().is_some_and(|built| built.tag.as_ref() == Some(&vtag.tag)),
            }
        })
    }
}
