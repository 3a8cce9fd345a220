//! The log: `tracing` on standard error, text for people and JSON for programs; its level can change while the program runs.
use crate::config::setting::{LogFormat, LogLevel};
use std::io::{self, IsTerminal};
use tracing_subscriber::{
    filter::Targets,
    fmt,
    layer::{Layer, SubscriberExt},
    registry, reload,
    util::SubscriberInitExt,
};

/// Changes the level of the log.
#[derive(Clone)]
pub struct Control(reload::Handle<Targets, tracing_subscriber::Registry>);

/// Starts the log.
pub fn start(level: &LogLevel, format: LogFormat) -> Control {
    let (filter, handle) = reload::Layer::new(targets(level));
    let lines = match format {
        LogFormat::Text if io::stderr().is_terminal() => {
            fmt::layer().compact().with_target(false).with_timer(Clock).with_writer(io::stderr).boxed()
        }
        LogFormat::Text => fmt::layer().with_ansi(false).with_target(false).with_writer(io::stderr).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(io::stderr).boxed(),
    };
    registry().with(filter).with(lines).init();
    Control(handle)
}

impl Control {
    /// Another level from now on.
    pub fn set_level(&self, level: &LogLevel) {
        // It fails only after the log itself is gone.
        let _ = self.0.reload(targets(level));
    }
}

fn targets(level: &LogLevel) -> Targets {
    level.0.parse().expect("a LogLevel has been parsed once")
}

/// Time of day (UTC), for a terminal: whoever watches knows the date.
struct Clock;

impl fmt::time::FormatTime for Clock {
    fn format_time(&self, w: &mut fmt::format::Writer<'_>) -> std::fmt::Result {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let seconds = now.as_secs() % 86_400;
        write!(w, "{:02}:{:02}:{:02}.{:03}", seconds / 3600, seconds / 60 % 60, seconds % 60, now.subsec_millis())
    }
}
