//! A new configuration while serving: on SIGHUP, or when the file changed.
//!
//! Invariant: a configuration is taken whole or refused whole, with the reason in the log and in status; connections stay either way.
use super::{Args, configure, folder::print_of, pipeline::Event, report::Report};
use crate::{
    config::{Config, section::Section, with_sections},
    log,
};
use anyhow::Context;
use history::Publisher;
use server::{Handle, Options};
use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};
use tracing::{error, info, warn};

/// How often the file is looked at.
const POLL: Duration = Duration::from_secs(1);

/// What a reload touches.
pub struct Reloader {
    /// The command line goes before the file each time.
    pub args: Args,
    /// What only a restart changes is still as this says.
    pub started_with: Config,
    /// In use now.
    pub options: Options,
    /// To the maps thread.
    pub events: mpsc::SyncSender<Event>,
    /// Has the change guard.
    pub publisher: Arc<Publisher>,
    /// Tells operators of a refusal.
    pub report: Arc<Report>,
    /// To the listeners.
    pub handle: Handle,
    /// To the log.
    pub log: log::Control,
    /// Says that somebody asked for it.
    pub requests: mpsc::Receiver<()>,
}

/// Starts the thread that waits for reasons to reload.
pub fn start(mut reloader: Reloader) -> std::io::Result<()> {
    thread::Builder::new().name("reload".into()).spawn(move || reloader.run()).map(drop)
}

impl Reloader {
    fn run(&mut self) {
        let print = |args: &Args| args.config.as_deref().map(print_of);
        let mut last = print(&self.args);
        let mut moving = None;
        loop {
            let asked = match self.requests.recv_timeout(POLL) {
                Ok(()) => true,
                Err(mpsc::RecvTimeoutError::Timeout) => false,
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            };
            let now = print(&self.args);
            // A file is taken when it rests for one look, not while somebody writes it.
            let rests = now != last && moving.replace(now) == Some(now);
            if asked || rests {
                (last, moving) = (now, None);
                self.reload();
            }
        }
    }

    fn reload(&mut self) {
        match self.take() {
            Ok(warnings) => {
                self.report.trouble("configuration", None);
                for warning in &warnings {
                    warn!("configuration: {warning}");
                }
                info!("configuration reloaded");
            }
            Err(why) => {
                let why = format!("{why:#}");
                self.report.trouble("configuration", Some(format!("refused, the old one stays: {}", why.replace('\n', "; "))));
                for line in why.lines() {
                    error!("configuration refused, the old one stays: {line}");
                }
            }
        }
    }

    fn take(&mut self) -> anyhow::Result<Vec<String>> {
        let config = self.args.config()?;
        let options = config.server_options();
        // The listeners first: they can be set back if the maps refuse.
        self.handle.reconfigure(&options).map_err(anyhow::Error::from)?;
        if let Err(why) = configure(&self.events, config.clone()) {
            self.handle.reconfigure(&self.options).context("setting back the listeners")?;
            return Err(why);
        }
        self.publisher.set_guard(config.change_guard());
        self.log.set_level(&config.log.level);
        self.options = options;
        Ok(changed_for_good(&self.started_with, &config)
            .iter()
            .map(|key| format!("{key} changed: restart to have it take effect"))
            .collect())
    }
}

/// The keys whose values are others than those that run, and that a reload does not take.
fn changed_for_good(running: &Config, config: &Config) -> Vec<String> {
    fn add<S: Section>(running: &S, section: &S, keys: &mut Vec<String>) {
        for key in S::KEYS {
            let (before, now) = (running.get(key.field), section.get(key.field));
            let same = match taken(S::TITLE, key.field) {
                Taken::Yes => true,
                Taken::IfThere => before.is_some() == now.is_some(),
                Taken::No => before == now,
            };
            if !same {
                keys.push(format!("{}.{}", S::TITLE, key.name()));
            }
        }
    }
    let mut keys = Vec::new();
    macro_rules! sections {
        ($($section:ident),*) => {$(add(&running.$section, &config.$section, &mut keys);)*};
    }
    with_sections!(sections);
    keys
}

/// Whether a reload takes the new value of a key.
enum Taken {
    Yes,
    /// Another value of it, but neither that there is one nor that there is none.
    IfThere,
    No,
}

fn taken(section: &str, field: &str) -> Taken {
    match (section, field) {
        ("demo" | "maps" | "damping" | "guard", _)
        | ("server", "public_url")
        | ("admin", "token")
        | ("log", "level")
        | ("subscriptions", "contact_prefixes") => Taken::Yes,
        ("server", "certificate" | "key") => Taken::IfThere,
        _ => Taken::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::section::Key;
    use toml::Value;

    fn other<S: Section + Clone>(section: &S, key: &Key) -> S {
        let mut changed = section.clone();
        let example = || key.example.map(|text| format!("x = {text}").parse::<toml::Table>().unwrap().remove("x").unwrap());
        let value = match section.get(key.field) {
            Some(Value::Integer(number)) => Value::Integer(number + 1),
            Some(Value::Float(number)) => Value::Float(number / 2.0),
            Some(Value::Boolean(set)) => Value::Boolean(!set),
            value => match (key.field, example()) {
                (_, Some(example)) if Some(&example) != value.as_ref() => example,
                ("listen", _) => Value::String("127.0.0.1:7".into()),
                ("level", _) => Value::String("debug".into()),
                ("format", _) => Value::String("json".into()),
                _ => unreachable!("{} has no example", key.field),
            },
        };
        changed.set(key.field, value).unwrap();
        changed
    }

    /// The server knows what it takes, the table above which key that is.
    #[test]
    fn keys_that_only_a_restart_changes_are_those_that_the_server_does_not_take() {
        let running = Config::default();
        let mut seen = 0;
        macro_rules! check {
            ($($section:ident),*) => {$(
                let keys: &[Key] = key_list(&running.$section);
                for key in keys {
                    let config = Config { $section: other(&running.$section, key), ..running.clone() };
                    let name = format!("{}.{}", stringify!($section), key.name());
                    // One of them alone is a contradiction.
                    if ["server.certificate", "server.key"].contains(&name.as_str()) {
                        continue;
                    }
                    let want = config.server_options().differs_for_good(&running.server_options());
                    assert_eq!(changed_for_good(&running, &config), if want { vec![name.clone()] } else { Vec::new() }, "{name}");
                    assert!(changed_for_good(&config, &config).is_empty(), "{name}");
                    seen += 1;
                }
            )*};
        }
        check!(server, admin, updates, subscriptions);
        assert!(seen > 30, "{seen}");

        let with = |certificate: &str| {
            let mut config = Config::default();
            (config.server.certificate, config.server.key) = (Some(certificate.into()), Some("key.pem".into()));
            config
        };
        assert_eq!(changed_for_good(&running, &with("a.pem")), ["server.certificate", "server.key"]);
        assert!(changed_for_good(&with("b.pem"), &with("a.pem")).is_empty());
        let mut config = Config::default();
        (config.history.bytes_max, config.store.in_memory, config.log.format) = (1, true, crate::config::setting::LogFormat::Json);
        config.history.age_max_seconds.0 /= 2;
        (config.log.level.0, config.guard.computed_moved_share_max.0) = ("debug".into(), 0.1);
        assert_eq!(changed_for_good(&running, &config), ["log.format", "history.age-max-seconds", "history.bytes-max", "store.in-memory"]);
    }

    fn key_list<S: Section>(_: &S) -> &'static [Key] {
        S::KEYS
    }
}
