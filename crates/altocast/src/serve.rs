//! `altocast serve`: configuration, feeds, maps and server put together, from the first line to the last.
//!
//! Order: the addresses are taken first (a port in use shows at once), then every input is read and published, then the first
//! connection is accepted. So nobody ever sees an empty server.
mod feed;
mod folder;
mod news;
mod pipeline;
mod reload;
mod report;
mod set;

use crate::{
    config::{
        self, Config,
        setting::{AdminListen, DemoNetwork, LogFormat, LogLevel, Seconds},
    },
    log,
};
use anyhow::{Context, bail};
use history::Publisher;
use pipeline::{Accepted, Event};
use report::Report;
use server::{Options, Server};
use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, mpsc},
};
use tokio::signal::unix::{SignalKind, signal};

/// Serve network maps and costs
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Without anything else it serves a demo network, live, on http://127.0.0.1:6671.\n\n\
    Examples:\n  altocast serve\n  altocast serve --maps /var/lib/altocast/maps\n  altocast serve --config altocast.toml --log debug\n\n\
    SIGHUP or a change of the file reloads the configuration; SIGTERM and SIGINT finish what is in flight and end.")]
pub struct Args {
    /// Configuration file (TOML); `altocast config show` prints every key
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve the RFC 7285 documents of a folder, each named after its resource (network-map.json), and watch them
    #[arg(long, value_name = "DIR")]
    maps: Option<PathBuf>,
    /// Which demo network to serve
    #[arg(long, value_enum, value_name = "NETWORK")]
    demo: Option<DemoNetwork>,
    /// Time between two steps of the demo
    #[arg(long, value_name = "SECONDS")]
    demo_interval: Option<Seconds>,
    /// Public address and port, instead of those configured; may be given several times
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<SocketAddr>,
    /// Admin address and port, or `off`
    #[arg(long, value_name = "ADDR:PORT")]
    admin_listen: Option<AdminListen>,
    /// Print one JSON line with the addresses on standard output as soon as the server answers, instead of the start message
    #[arg(long)]
    json: bool,
    /// How much to log: error, warn, info, debug, trace, or directives such as info,server=debug
    #[arg(long, env = "ALTOCAST_LOG", value_name = "LEVEL")]
    log: Option<LogLevel>,
    /// How to log
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

impl Args {
    /// The configuration with what the command line says on top.
    fn config(&self) -> Result<Config, config::Refused> {
        let mut config = config::layers(self.config.as_deref())?;
        if let Some(folder) = &self.maps {
            config.maps.folder = Some(folder.clone());
        }
        config.demo.network = self.demo.unwrap_or(config.demo.network);
        config.demo.interval_seconds = self.demo_interval.unwrap_or(config.demo.interval_seconds);
        if !self.listen.is_empty() {
            config.server.listen = self.listen.clone();
        }
        config.admin.listen = self.admin_listen.unwrap_or(config.admin.listen);
        config.log.level = self.log.clone().unwrap_or(config.log.level);
        config.log.format = self.log_format.unwrap_or(config.log.format);
        config.check()?;
        Ok(config)
    }
}

/// Runs the server until it is told to end.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = args.config()?;
    if let Some(folder) = &config.maps.folder {
        std::fs::read_dir(folder)
            .with_context(|| format!("cannot read the maps folder {}; create it, or name another with --maps", folder.display()))?;
    }
    let control = log::start(&config.log.level, config.log.format);
    // Before anything is slow, so that a signal during the start is not lost.
    let (mut terminate, mut interrupt, mut hangup) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);

    let publisher = Arc::new(Publisher::new(config.history_limits(), config.change_guard()));
    let report = Arc::new(Report::default());
    let options = config.server_options();
    let server = Server::bind(options.clone(), publisher.clone(), report.clone())?;
    let events = pipeline::start(publisher.clone(), report.clone())?;
    let mut accepted = tokio::task::spawn_blocking({
        let (events, config) = (events.clone(), config.clone());
        move || configure(&events, config)
    });
    let accepted = tokio::select! {
        accepted = &mut accepted => accepted??,
        _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
        _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
    };
    for line in &accepted.broken {
        tracing::error!("not read: {line}");
    }
    if !accepted.anything && !accepted.broken.is_empty() {
        bail!("nothing to serve: {}", accepted.broken.join("; "));
    }

    let (reload, requests) = mpsc::sync_channel(1);
    reload::start(reload::Reloader {
        args: args.clone(),
        config: config.clone(),
        options,
        events,
        publisher,
        report,
        handle: server.handle(),
        log: control,
        requests,
    })?;
    greet(&args, &config, &server, &accepted)?;

    let stop = async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                // One that waits already is as good as two.
                _ = hangup.recv() => drop(reload.try_send(())),
            }
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            // Whoever asks twice does not want to wait.
            std::process::exit(1);
        });
    };
    server.run(stop).await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Hands a configuration to the maps thread and waits for what it makes of it.
fn configure(events: &mpsc::SyncSender<Event>, config: Config) -> anyhow::Result<Accepted> {
    let (answer, answered) = mpsc::sync_channel(1);
    let gone = "the maps thread ended";
    events.send(Event::Configure { config: Box::new(config), answer }).ok().context(gone)?;
    answered.recv().context(gone)?.map_err(anyhow::Error::msg)
}

/// Says where the server is and what to do with it: a JSON line for programs, some lines for people.
fn greet(args: &Args, config: &Config, server: &Server, accepted: &Accepted) -> anyhow::Result<()> {
    let scheme = if config.server.certificate.is_some() { "https" } else { "http" };
    let public: Vec<String> = server.public_addresses().iter().map(|address| format!("{scheme}://{address}")).collect();
    let admin = server.admin_address().map(|address| format!("http://{address}"));
    let serves = serves(args, config, accepted);
    if args.json {
        let line = serde_json::json!({"ready": true, "public": public, "admin": admin, "serves": serves, "pid": std::process::id()});
        let mut out = io::stdout().lock();
        // Whoever reads it may have gone away with what it needed.
        return terminal_closed(writeln!(out, "{line}").and_then(|()| out.flush()));
    }
    let mut text = format!("altocast {} serves {serves}\n", env!("CARGO_PKG_VERSION"));
    for url in &public {
        text += &format!("  public  {url}/directory\n");
    }
    if let Some(url) = public.first() {
        text += &format!("  page    {url}/\n");
    }
    if let Some(url) = &admin {
        text += &format!("  admin   {url}/v1/status\n");
    }
    let examples =
        accepted.demo.as_ref().map_or(["altocast get", "altocast get network-map", "altocast get --json"], |(_, examples)| *examples);
    text += "Try in another terminal:\n";
    let default = Options::default();
    for example in examples {
        text += &format!("  {example}");
        if server.public_addresses() != default.public {
            text += &format!(" --server {}", public.first().map_or("", String::as_str));
        }
        if example.contains("--explain")
            && let Some(url) = admin.as_ref().filter(|_| server.admin_address() != default.admin)
        {
            text += &format!(" --admin {url}");
        }
        text.push('\n');
    }
    terminal_closed(io::stderr().lock().write_all(text.as_bytes()))
}

fn serves(args: &Args, config: &Config, accepted: &Accepted) -> String {
    let mut parts = Vec::new();
    if let Some((title, _)) = &accepted.demo {
        let every = config.demo.interval_seconds.0.as_secs_f64();
        parts.push(if title.contains("replaying") { format!("{title}, one step every {every} s") } else { title.clone() });
    }
    if let Some(folder) = &config.maps.folder {
        parts.push(format!("the documents in {}", folder.display()));
    }
    if !config.sources.is_empty() {
        parts.push(match config.sources.len() {
            1 => "what 1 source says".to_owned(),
            sources => format!("what {sources} sources say"),
        });
    }
    if parts.is_empty() {
        parts.push("what is published through the admin listener".into());
    }
    if let Some(file) = &args.config {
        parts.push(format!("as {} says", file.display()));
    }
    parts.join(", ")
}

fn terminal_closed(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot write the start message"),
        _ => Ok(()),
    }
}
