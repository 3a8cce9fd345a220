//! What time it is, for whatever expires.
//!
//! Two clocks tell it: the wall clock, in which servers say when something expires and which somebody may set, and a steady one, which only
//! goes forward. Invariant: time that the steady clock saw pass has passed, whatever the wall clock says ([`Moment::after`]).
use std::{
    fs,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// Where the steady clock of a process starts, so that what another process kept earlier still has a place on it.
const STEADY_START: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A clock: the system's, or one that stands still until a test moves it. A copy is the same clock.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<Stopped>>);

#[derive(Debug)]
struct Stopped {
    /// It is the clock of a machine of its own.
    machine: u64,
    now: Mutex<Moment>,
}

/// One moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub wall: SystemTime,
    pub steady: Duration,
}

/// A start of the machine: a steady clock that the processes on it share, sleep included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Boot {
    pub id: String,
    pub passed: Duration,
}

impl Clock {
    /// The system's clocks.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that shows `wall` until it is moved.
    pub fn stopped_at(wall: SystemTime) -> Self {
        static MACHINES: AtomicU64 = AtomicU64::new(0);
        let now = Mutex::new(Moment { wall, steady: STEADY_START });
        Self(Some(Arc::new(Stopped { machine: MACHINES.fetch_add(1, Ordering::Relaxed), now })))
    }

    /// Time goes by. Nothing happens to the system's clock.
    pub fn advance(&self, by: Duration) {
        self.change(|moment| *moment = Moment { wall: moment.wall + by, steady: moment.steady + by });
    }

    /// Somebody sets the wall clock. Nothing happens to the system's clock.
    pub fn set(&self, wall: SystemTime) {
        self.change(|moment| moment.wall = wall);
    }

    fn change(&self, change: impl FnOnce(&mut Moment)) {
        if let Self(Some(stopped)) = self {
            change(&mut stopped.now.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// What the wall clock shows.
    pub fn wall(&self) -> SystemTime {
        self.now().wall
    }

    pub(crate) fn now(&self) -> Moment {
        static START: OnceLock<Instant> = OnceLock::new();
        match self {
            Self(Some(stopped)) => *stopped.now.lock().unwrap_or_else(PoisonError::into_inner),
            Self(None) => Moment { wall: SystemTime::now(), steady: STEADY_START + START.get_or_init(Instant::now).elapsed() },
        }
    }

    /// How long the machine runs, where the system tells (Linux).
    pub(crate) fn boot(&self) -> Option<Boot> {
        if let Self(Some(stopped)) = self {
            return Some(Boot { id: format!("stopped-{}", stopped.machine), passed: self.now().steady });
        }
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        let passed = fs::read_to_string("/proc/uptime").ok()?.split(' ').next()?.parse().ok()?;
        Some(Boot { id, passed: Duration::try_from_secs_f64(passed).ok()? })
    }
}

impl Moment {
    /// This moment as it looks from an earlier one: a wall clock that was set back meanwhile is put right.
    pub fn after(self, earlier: Self) -> Self {
        let passed = self.steady.saturating_sub(earlier.steady);
        Self { wall: self.wall.max(earlier.wall + passed), steady: self.steady }
    }

    /// How long ago `earlier` was.
    pub fn since(self, earlier: Self) -> Duration {
        self.after(earlier).wall.duration_since(earlier.wall).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_set_back_takes_no_time_back() {
        let clock = Clock::stopped_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1000));
        let start = clock.now();
        clock.advance(Duration::from_secs(60));
        clock.set(SystemTime::UNIX_EPOCH + Duration::from_secs(10));
        assert_eq!(clock.now().since(start), Duration::from_secs(60));
        assert_eq!(clock.now().after(start).wall, start.wall + Duration::from_secs(60));
        clock.set(SystemTime::UNIX_EPOCH + Duration::from_secs(2000));
        assert_eq!(clock.now().since(start), Duration::from_secs(1000), "set forward: what expires by the wall clock did");
    }
}
