//! A new configuration while serving: on SIGHUP, or when the file changed.
//!
//! Invariant: a configuration is taken whole or refused whole, with the reason in the log and in status; connections stay either way.
use super::{Args, configure, folder::print_of, pipeline::Event, report::Report};
use crate::{config::Config, log};
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
    /// In use now.
    pub config: Config,
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
        let fixed = self.handle.reconfigure(&options).map_err(anyhow::Error::from)?;
        if let Err(why) = configure(&self.events, config.clone()) {
            self.handle.reconfigure(&self.options).context("setting back the listeners")?;
            return Err(why);
        }
        self.publisher.set_guard(config.change_guard());
        self.log.set_level(&config.log.level);
        let mut warnings: Vec<String> = fixed.iter().map(|what| format!("{what} changed: restart to have it take effect")).collect();
        if config.history != self.config.history {
            warnings.push("history.versions-max changed: restart to have it take effect".into());
        }
        if config.store != self.config.store {
            warnings.push("store changed: restart to have it take effect".into());
        }
        if config.log.format != self.config.log.format {
            warnings.push("log.format changed: restart to have it take effect".into());
        }
        (self.config, self.options) = (config, options);
        Ok(warnings)
    }
}
