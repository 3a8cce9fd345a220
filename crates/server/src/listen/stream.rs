//! A body that goes on, sent as the client takes it: one small task for each, on every version of HTTP.
//!
//! Invariants: the next pieces are asked for only when those before are sent; a client that takes nothing for `stall_time_max` is ended; while
//! nothing is to be sent only the place of the client is held.
use super::{
    live::{Outgoing, Pieces},
    wire::{Frame, Unsent, Wire},
    worker::{Alarm, Registration},
};
use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

/// Frames sent in one go before other tasks have their turn. 32: a burst of a commit, or a client that catches up.
const FRAMES_AT_ONCE: usize = 32;

/// Sends all of a body; true when it ended as it should. `kept` is dropped with it.
pub(super) struct Stream<W, K> {
    wire: W,
    body: Box<dyn Outgoing>,
    unsent: Unsent,
    /// While something is unsent.
    stalled: Option<Box<Alarm>>,
    stall_time_max: Duration,
    registration: Registration,
    state: State,
    _kept: K,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Going,
    /// The end has still to be said.
    Ending,
}

impl<W: Wire, K: Unpin> Stream<W, K> {
    /// `first` is sent before the body: what is left of a head.
    pub(super) fn new(wire: W, body: Box<dyn Outgoing>, first: Unsent, stall_time_max: Duration, kept: K) -> Self {
        let registration = Registration::new();
        Self { wire, body, unsent: first, stalled: None, stall_time_max, registration, state: State::Going, _kept: kept }
    }

    /// Ready: nothing is unsent; or the stream is over.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        if self.unsent.is_empty() {
            return Poll::Ready(true);
        }
        let mut progress = false;
        if let Poll::Ready(flushed) = self.wire.poll_flush(context, &mut self.unsent, &mut progress) {
            self.stalled = None;
            return Poll::Ready(flushed.is_ok());
        }
        self.poll_stalled(context, progress)
    }

    fn poll_stalled(&mut self, context: &mut Context<'_>, progress: bool) -> Poll<bool> {
        let time_max = self.stall_time_max;
        let alarm = self.stalled.get_or_insert_with(|| Box::new(Alarm::after(time_max)));
        if progress {
            alarm.set(tokio::time::Instant::now() + time_max);
        }
        alarm.poll(context).map(|()| false)
    }
}

impl<W: Wire, K: Unpin> Future for Stream<W, K> {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        let this = self.get_mut();
        if this.wire.poll_gone(context).is_ready() {
            return Poll::Ready(false);
        }
        for _ in 0..FRAMES_AT_ONCE {
            match this.poll_flush(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(false) => return Poll::Ready(false),
                Poll::Ready(true) => {}
            }
            if this.state == State::Ending {
                return match this.wire.poll_end(context) {
                    Poll::Ready(ended) => Poll::Ready(ended.is_ok()),
                    Poll::Pending => this.poll_stalled(context, false),
                };
            }
            // The body has a last word: why it ends.
            let last = this.registration.must_end(context);
            let mut pieces = take_pieces();
            let more = match this.body.poll_next(context, &mut pieces) {
                Poll::Ready(more) => more && !last,
                Poll::Pending if pieces.is_empty() && !last => {
                    give_pieces_back(pieces);
                    return Poll::Pending;
                }
                // With pieces it is not what was agreed, and nothing to lose an event for.
                Poll::Pending => !last,
            };
            let sent = this.wire.send(context, Frame { head: &[], pieces: &pieces }, &mut this.unsent);
            give_pieces_back(pieces);
            if sent.is_err() {
                return Poll::Ready(false);
            }
            if !more {
                this.state = State::Ending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

thread_local! {
    static PIECES: Cell<Pieces> = const { Cell::new(Vec::new()) };
}

/// One vector for all streams of a thread.
fn take_pieces() -> Pieces {
    PIECES.take()
}

fn give_pieces_back(mut pieces: Pieces) {
    pieces.clear();
    PIECES.set(pieces);
}
