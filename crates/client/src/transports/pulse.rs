//! Signs of life: bytes that come while what they belong to is not whole yet. A full copy over a slow line takes longer than any silence may.
//!
//! Times are those of the runtime. Reports of life are never waited for: where others wait already, those say it.
#[cfg(test)]
mod tests;

use super::Events;
use crate::{http::Io, replica::core::Event, tap::Tapped};
use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

/// Between two reports of life: a large copy comes in thousands of pieces.
const REPORT: Duration = Duration::from_secs(1);

/// Of one connection, or of whatever else is to be heard. Clones are of the same one.
#[derive(Debug, Clone)]
pub(crate) struct Pulse {
    events: Events,
    beat: Arc<Mutex<Beat>>,
}

#[derive(Debug)]
struct Beat {
    heard: Instant,
    reported: Option<Instant>,
}

impl Pulse {
    pub fn new(events: Events) -> Self {
        Self { events, beat: Arc::new(Mutex::new(Beat { heard: Instant::now(), reported: None })) }
    }

    fn lock(&self) -> MutexGuard<'_, Beat> {
        self.beat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes came.
    pub fn came(&self) {
        let mut beat = self.lock();
        let now = Instant::now();
        beat.heard = now;
        if beat.reported.is_none_or(|reported| now.duration_since(reported) >= REPORT) {
            beat.reported = Some(now);
            self.events.offer(Event::Alive);
        }
    }

    /// What comes of `what`. `None`: nothing, and for as long as `silence` no byte came either.
    pub async fn unless_silent<F: Future>(&self, silence: Duration, what: F) -> Option<F::Output> {
        let mut what = pin!(what);
        // What came before is no answer to this.
        let mut until = Instant::now() + silence;
        loop {
            if let Ok(output) = timeout_at(until, &mut what).await {
                return Some(output);
            }
            until = self.lock().heard + silence;
            if until <= Instant::now() {
                return None;
            }
        }
    }

    /// A connection whose bytes are signs of life.
    pub fn of<T: Io>(&self, io: T) -> impl Io + use<T> {
        let pulse = self.clone();
        Tapped::new(io, move |read| {
            if read? > 0 {
                pulse.came();
            }
            Ok(())
        })
    }
}
