//! What a connection's bytes say that h2 does not (RFC 9113): whether the client takes pushes, how many, and what became of each.
//!
//! h2 keeps SETTINGS_ENABLE_PUSH, GOAWAY and the fate of pushed streams to itself, and it breaks the connection or worse when it hears of a
//! stream between promising it in memory and promising it on the wire. So a reader and writer below h2 watches frame headers go by.
//! Invariants: while a promise and the head of its answer are not on the wire, h2 hears nothing from the client, so nothing the client does
//! (RST_STREAM of a guessed stream, of the parent, GOAWAY, fewer streams) can meet a promise half made; promises in flight are at most
//! what h2 itself would send at once, so an answer never waits behind MAX_CONCURRENT_STREAMS; no promise is made while the client does not
//! read, nor before the parent's own answer is on the wire, and one for each parent at a time, so promised ids only rise on the wire.
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Of the client's preface (RFC 9113 section 3.4), before its frames.
const PREFACE_BYTES: usize = 24;
/// Read ahead while h2 must not hear it: only to learn that there is something.
const HELD_BYTES: usize = 1 << 10;

mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
}
/// END_STREAM of DATA and HEADERS, ACK of SETTINGS and PING.
const FIRST_FLAG: u8 = 1;
const ENABLE_PUSH: u16 = 2;

/// The pushes of one connection.
pub(super) struct Pushes {
    state: Mutex<State>,
    own_max: usize,
}

struct State {
    /// SETTINGS_ENABLE_PUSH; on until the client says otherwise (section 6.5.2).
    enabled: bool,
    /// The client said GOAWAY, or the connection is over: no new streams.
    gone: bool,
    /// Streams we may have open, as h2 knows it; 0 until the client's SETTINGS are there.
    streams_max: usize,
    /// The connection did not take all that h2 wrote.
    blocked: bool,
    flights: Vec<Flight>,
    parents: Vec<Parent>,
    /// The connection's task, which found what the client said held back.
    reader: Option<Waker>,
    pings: Pings,
}

/// Tells what a client said before it can have seen an answer from what it said after: it answers PING in turn (section 6.7). And whether it is
/// still there.
#[derive(Default)]
struct Pings {
    handle: Option<h2::PingPong>,
    under_way: bool,
    /// How many came back.
    rounds: u64,
    /// How many were back when a sign of life was asked for, and how often that was in vain since.
    asked: (u64, u32),
}

impl Pings {
    /// Unless one is under way.
    fn send(&mut self, context: &mut Context<'_>) {
        if let Some(handle) = &mut self.handle
            && !self.under_way
        {
            // Takes back the one before.
            let _ = handle.poll_pong(context);
            self.under_way = handle.send_ping(h2::Ping::opaque()).is_ok();
        }
    }
}

/// A pushed stream that is promised and not ended.
struct Flight {
    id: u32,
    parent: u32,
    /// The promise and the head of the answer are on the wire.
    out: bool,
}

/// A stream that others are promised on.
struct Parent {
    id: u32,
    /// Its own answer: the head is on the wire, and what is not of the body.
    head_out: bool,
    left: usize,
    /// How many PINGs must be back until one is that was sent after the answer.
    round: Option<u64>,
    ended_after_answer: bool,
    /// Pushes the client reset and that were not reported yet.
    refused: usize,
    /// It waits for its turn; else only for bad news.
    waits: bool,
    waker: Option<Waker>,
}

impl State {
    fn making(&self) -> bool {
        self.flights.iter().any(|flight| !flight.out)
    }

    /// A turn may have come.
    fn wake(&mut self) {
        self.parents.iter_mut().filter(|parent| parent.waits).filter_map(|parent| parent.waker.take()).for_each(Waker::wake);
    }

    /// There is news besides.
    fn wake_all(&mut self) {
        self.parents.iter_mut().filter_map(|parent| parent.waker.take()).for_each(Waker::wake);
    }

    /// A frame the client sends, before h2 hears of it.
    fn received(&mut self, frame: &Head) {
        match frame.kind {
            kind::GOAWAY => {
                self.gone = true;
                self.wake_all();
            }
            kind::RST_STREAM => {
                let Some(at) = self.flights.iter().position(|flight| flight.id == frame.stream) else { return };
                let parent = self.flights.swap_remove(at).parent;
                if let Some(parent) = self.parents.iter_mut().find(|known| known.id == parent) {
                    parent.refused += 1;
                    parent.waker.take().into_iter().for_each(Waker::wake);
                }
            }
            kind::PING if frame.flags & FIRST_FLAG != 0 && self.pings.under_way => {
                self.pings.under_way = false;
                self.pings.rounds += 1;
                // Another may be wanted.
                self.wake_all();
                return;
            }
            kind::DATA | kind::HEADERS if frame.flags & FIRST_FLAG != 0 => {
                let rounds = self.pings.rounds;
                let Some(parent) = self.parents.iter_mut().find(|parent| parent.id == frame.stream) else { return };
                parent.ended_after_answer = parent.round.is_some_and(|round| round <= rounds);
                return;
            }
            _ => return,
        }
        self.wake();
    }

    /// A frame on the wire. Streams of ours have even numbers (section 5.1.1).
    fn sent(&mut self, frame: &Head) {
        let ends = frame.flags & FIRST_FLAG != 0;
        match frame.kind {
            kind::DATA | kind::HEADERS | kind::RST_STREAM if frame.stream.is_multiple_of(2) => {
                let Some(at) = self.flights.iter().position(|flight| flight.id == frame.stream) else { return };
                self.flights[at].out = true;
                if ends || frame.kind == kind::RST_STREAM {
                    self.flights.swap_remove(at);
                }
            }
            kind::DATA | kind::HEADERS => {
                let Some(parent) = self.parents.iter_mut().find(|parent| parent.id == frame.stream) else { return };
                parent.head_out |= frame.kind == kind::HEADERS;
                if frame.kind == kind::DATA {
                    parent.left = parent.left.saturating_sub(frame.length);
                }
            }
            _ => return,
        }
        if !self.making() {
            self.reader.take().into_iter().for_each(Waker::wake);
        }
        self.wake();
    }
}

impl Pushes {
    /// At most `own_max` in flight, whatever the client allows.
    pub(super) fn new(own_max: usize) -> Arc<Self> {
        let state = State {
            enabled: true,
            gone: false,
            streams_max: 0,
            blocked: false,
            flights: Vec::new(),
            parents: Vec::new(),
            reader: None,
            pings: Pings::default(),
        };
        Arc::new(Self { state: Mutex::new(state), own_max })
    }

    /// Whether the client takes pushes now.
    pub(super) fn enabled(&self) -> bool {
        let state = self.lock();
        state.enabled && !state.gone
    }

    /// What sends PING on this connection.
    pub(super) fn set_pings(&self, handle: Option<h2::PingPong>) {
        self.lock().pings.handle = handle;
    }

    /// Asks the client for a sign of life; says how often that was in vain since the last one. What is asked is something to acknowledge for
    /// the client's host, too: the kernel ends a connection to one that is gone.
    pub(super) fn ask(&self, context: &mut Context<'_>) -> u32 {
        let pings = &mut self.lock().pings;
        if pings.asked.0 != pings.rounds {
            pings.asked = (pings.rounds, 0);
        } else if pings.under_way {
            pings.asked.1 += 1;
        }
        pings.send(context);
        pings.asked.1
    }

    /// What h2 takes for the client's MAX_CONCURRENT_STREAMS; to be told whenever h2 may have learnt of another.
    pub(super) fn set_streams_max(&self, streams_max: usize) {
        let mut state = self.lock();
        if state.streams_max != streams_max {
            state.streams_max = streams_max;
            state.wake();
        }
    }

    /// The connection is over.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.gone = true;
        state.wake_all();
    }

    /// Pushes are to be promised on this stream, whose own answer has a body of `bytes`.
    pub(super) fn on(self: &Arc<Self>, parent: u32, bytes: usize) -> Parenthood {
        self.lock().parents.push(Parent {
            id: parent,
            head_out: false,
            left: bytes,
            round: None,
            ended_after_answer: false,
            refused: 0,
            waits: true,
            waker: None,
        });
        Parenthood { pushes: self.clone(), parent }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to promise on one stream.
pub(super) struct Parenthood {
    pushes: Arc<Pushes>,
    parent: u32,
}

/// What a parent may do.
pub(super) enum Turn {
    /// Promise one.
    Push,
    /// The client reset so many pushes.
    Refused(usize),
    /// Promise no more.
    Over,
}

impl Parenthood {
    /// Sees to it that the client's words can be told apart by whether it had the parent's answer when it said them; `true` once they can.
    pub(super) fn mark(&self, context: &mut Context<'_>) -> bool {
        let mut state = self.pushes.lock();
        let State { pings, parents, .. } = &mut *state;
        let Some(parent) = parents.iter_mut().find(|parent| parent.id == self.parent && parent.head_out && parent.left == 0) else {
            return false;
        };
        // One that is under way was sent before.
        let round = *parent.round.get_or_insert(pings.rounds + 1 + u64::from(pings.under_way));
        if round > pings.rounds {
            pings.send(context);
        }
        round <= pings.rounds
    }

    /// Whether the client ended its side after it had the answer.
    pub(super) fn ended_after_answer(&self) -> bool {
        self.pushes.lock().parents.iter().any(|parent| parent.id == self.parent && parent.ended_after_answer)
    }

    /// Who does not want to push is told of the rest only.
    pub(super) fn poll_turn(&self, context: &Context<'_>, wants_push: bool) -> Poll<Turn> {
        let mut state = self.pushes.lock();
        let open = state.streams_max.min(self.pushes.own_max) > state.flights.len();
        let making = state.flights.iter().any(|flight| flight.parent == self.parent && !flight.out);
        let ready = state.enabled && !state.blocked && open && !making;
        let gone = state.gone;
        let Some(parent) = state.parents.iter_mut().find(|parent| parent.id == self.parent) else { return Poll::Ready(Turn::Over) };
        parent.waker.get_or_insert_with(|| context.waker().clone());
        parent.waits = false;
        match std::mem::take(&mut parent.refused) {
            0 if gone => Poll::Ready(Turn::Over),
            0 if wants_push && ready && parent.head_out && parent.left == 0 => Poll::Ready(Turn::Push),
            0 => {
                parent.waits = wants_push || !parent.head_out || parent.left > 0;
                Poll::Pending
            }
            refused => Poll::Ready(Turn::Refused(refused)),
        }
    }

    /// h2 was given a promise and the head of its answer; to be told before anything else runs.
    pub(super) fn promised(&self, id: u32) {
        self.pushes.lock().flights.push(Flight { id, parent: self.parent, out: false });
    }
}

impl Drop for Parenthood {
    fn drop(&mut self) {
        self.pushes.lock().parents.retain(|parent| parent.id != self.parent);
    }
}

/// A connection under h2.
pub(super) struct Watched<S> {
    inner: S,
    pushes: Arc<Pushes>,
    received: Frames,
    sent: Frames,
    /// What was read while h2 must not hear it.
    held: Option<io::Result<Vec<u8>>>,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, pushes: Arc<Pushes>) -> Self {
        Self { inner, pushes, received: Frames::after(PREFACE_BYTES), sent: Frames::after(0), held: None }
    }

    fn wrote(&mut self, polled: &Poll<io::Result<usize>>, slices: &[IoSlice<'_>]) {
        match polled {
            Poll::Pending => self.pushes.lock().blocked = true,
            Poll::Ready(Ok(written)) => {
                let mut written = *written;
                let Self { sent, pushes, .. } = self;
                for slice in slices {
                    let take = written.min(slice.len());
                    sent.feed(&slice[..take], |seen| {
                        if let Seen::Head(head) = seen {
                            pushes.lock().sent(&head);
                        }
                    });
                    written -= take;
                }
            }
            Poll::Ready(Err(_)) => self.pushes.close(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        {
            let mut state = this.pushes.lock();
            if state.making() {
                // Only when there is something to hear, the connection's task has to come back for it.
                if this.held.is_none() {
                    let mut ahead = [0; HELD_BYTES];
                    let mut ahead = ReadBuf::new(&mut ahead);
                    let Poll::Ready(read) = Pin::new(&mut this.inner).poll_read(context, &mut ahead) else { return Poll::Pending };
                    this.held = Some(read.map(|()| ahead.filled().to_vec()));
                }
                state.reader = Some(context.waker().clone());
                return Poll::Pending;
            }
        }
        let before = buffer.filled().len();
        match this.held.take() {
            Some(Err(error)) => return Poll::Ready(Err(error)),
            Some(Ok(mut held)) => {
                let rest = held.split_off(held.len().min(buffer.remaining()));
                buffer.put_slice(&held);
                this.held = Some(rest).filter(|rest| !rest.is_empty()).map(Ok);
            }
            None => {
                let Poll::Ready(read) = Pin::new(&mut this.inner).poll_read(context, buffer) else { return Poll::Pending };
                read?;
            }
        }
        let Self { received, pushes, .. } = this;
        received.feed(&buffer.filled()[before..], |seen| match seen {
            Seen::Head(head) => pushes.lock().received(&head),
            Seen::Setting(ENABLE_PUSH, value) => {
                let mut state = pushes.lock();
                state.enabled = value != 0;
                state.wake_all();
            }
            Seen::Setting(..) => {}
        });
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.wrote(&polled, &[IoSlice::new(bytes)]);
        polled
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.wrote(&polled, slices);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(context);
        let mut state = self.pushes.lock();
        let before = std::mem::replace(&mut state.blocked, polled.is_pending());
        if before && !state.blocked {
            state.wake();
        }
        drop(state);
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// Header of a frame (RFC 9113 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

const HEAD_BYTES: usize = 9;
const SETTING_BYTES: usize = 6;

/// What is of interest in a sequence of frames.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Head(Head),
    /// Of a SETTINGS frame that is no acknowledgement.
    Setting(u16, u32),
}

/// Finds the frames in bytes that come in any pieces. It keeps a few bytes, whatever comes.
struct Frames {
    /// The header or setting that came in part.
    part: [u8; HEAD_BYTES],
    have: usize,
    /// Bytes to go by before the next header.
    skip: usize,
    /// Of these, bytes of settings.
    settings: usize,
}

impl Frames {
    /// Frames begin after so many bytes.
    fn after(skip: usize) -> Self {
        Self { part: [0; HEAD_BYTES], have: 0, skip, settings: 0 }
    }

    fn feed(&mut self, mut bytes: &[u8], mut see: impl FnMut(Seen)) {
        while !bytes.is_empty() {
            let want = match (self.settings, self.skip) {
                (SETTING_BYTES.., _) => SETTING_BYTES,
                (_, 0) => HEAD_BYTES,
                (_, skip) => {
                    let go_by = skip.min(bytes.len());
                    self.skip -= go_by;
                    self.settings = 0;
                    bytes = &bytes[go_by..];
                    continue;
                }
            };
            let take = (want - self.have).min(bytes.len());
            self.part[self.have..self.have + take].copy_from_slice(&bytes[..take]);
            self.have += take;
            bytes = &bytes[take..];
            if self.have < want {
                return;
            }
            self.have = 0;
            let [a, b, c, d, e, f, g, h, i] = self.part;
            if want == SETTING_BYTES {
                self.settings -= SETTING_BYTES;
                self.skip -= SETTING_BYTES;
                see(Seen::Setting(u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f])));
                continue;
            }
            let head = Head {
                length: u32::from_be_bytes([0, a, b, c]) as usize,
                kind: d,
                flags: e,
                stream: u32::from_be_bytes([f, g, h, i]) & !(1 << 31),
            };
            self.skip = head.length;
            self.settings = if head.kind == kind::SETTINGS && head.flags & FIRST_FLAG == 0 { head.length } else { 0 };
            see(Seen::Head(head));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// RFC 9113 sections 4.1 and 6.5.1: frames are found however the bytes are cut, and settings only where they are.
    #[test]
    fn frames_in_any_pieces() {
        let bytes = [
            vec![b'P'; 24],
            frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 7, 0, 2, 0, 0, 0, 0]),
            frame(kind::SETTINGS, 1, 0, &[]),
            frame(kind::DATA, 1, 1 << 31 | 5, &[0, 2, 0, 0, 0, 0, 4]),
            // Malformed: not a multiple of six. What follows is still found.
            frame(kind::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 1, 9]),
            frame(kind::RST_STREAM, 0, 4, &[0, 0, 0, 8]),
        ]
        .concat();
        let head = |length, kind, flags, stream| Seen::Head(Head { length, kind, flags, stream });
        let want = vec![
            head(12, kind::SETTINGS, 0, 0),
            Seen::Setting(3, 7),
            Seen::Setting(2, 0),
            head(0, kind::SETTINGS, 1, 0),
            head(7, kind::DATA, 1, 5),
            head(7, kind::SETTINGS, 0, 0),
            Seen::Setting(2, 1),
            head(4, kind::RST_STREAM, 0, 4),
        ];
        for size in 1..=bytes.len() {
            let (mut frames, mut seen) = (Frames::after(24), Vec::new());
            bytes.chunks(size).for_each(|piece| frames.feed(piece, |one| seen.push(one)));
            assert_eq!(seen, want, "in pieces of {size}");
        }
    }
}
