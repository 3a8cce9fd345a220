//! The log: `tracing` on standard error, text for people and JSON for programs; its level can change while the program runs.
use crate::config::setting::{LogFormat, LogLevel};
use std::io::{self, IsTerminal};
use tracing::Level;
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

/// Libraries that warn of what a peer does: a line for each connection that is opened to fill the log. What matters of it we count ourselves.
const PEERS_MAKE_WARN: [&str; 6] = ["h2", "h3", "hyper", "quinn", "quinn_proto", "rustls"];

/// What a level lets through. Those libraries say errors only, unless they are named in it or details were asked for.
fn targets(level: &LogLevel) -> Targets {
    let asked: Targets = level.0.parse().expect("a LogLevel has been parsed once");
    let (named, detailed) = (asked.clone(), asked.clone());
    PEERS_MAKE_WARN.into_iter().fold(asked, |targets, library| {
        let quiet = !detailed.would_enable(library, &Level::DEBUG) && detailed.would_enable(library, &Level::WARN);
        let is_named = named.iter().any(|(target, _)| target.split("::").next() == Some(library));
        if quiet && !is_named { targets.with_target(library, Level::ERROR) } else { targets }
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_warn_only_who_asks() {
        for (level, target, at, want) in [
            ("info", "h2::proto", Level::WARN, false),
            ("info", "h2::proto", Level::ERROR, true),
            ("info", "server::access", Level::INFO, true),
            ("warn", "quinn_proto::connection", Level::WARN, false),
            ("warn,h2=info", "h2::proto", Level::INFO, true),
            ("info,h2::proto=warn", "h2::proto", Level::WARN, true),
            ("debug", "h2::proto", Level::DEBUG, true),
            ("off", "h2::proto", Level::ERROR, false),
        ] {
            assert_eq!(targets(&LogLevel(level.into())).would_enable(target, &at), want, "{level} {target} {at}");
        }
    }
}
