//! `altocast serve`: configuration, feeds, maps and server put together, from the first line to the last.
//!
//! Order: data folder and addresses are taken first (what is in use shows at once), then every input is read and published, then the first
//! connection is accepted; where the data folder has versions, connections are accepted before the inputs are read. So nobody ever sees an
//! empty server, and a restart shows at once what there was.
mod data;
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
use pipeline::{Accepted, Event};
use report::Report;
use server::{Options, Server};
use std::{
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
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
    /// Folder that keeps versions and published documents over restarts [default: altocast in $XDG_DATA_HOME, or in ~/.local/share]
    #[arg(long, value_name = "DIR", conflicts_with = "in_memory")]
    data_dir: Option<PathBuf>,
    /// Keep nothing over a restart
    #[arg(long)]
    in_memory: bool,
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
            config.places.set("server.listen", "--listen");
        }
        if let Some(listen) = self.admin_listen {
            config.admin.listen = listen;
            config.places.set("admin.listen", "--admin-listen");
        }
        if let Some(folder) = &self.data_dir {
            (config.store.folder, config.store.in_memory) = (Some(folder.clone()), false);
        }
        config.store.in_memory |= self.in_memory;
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

    let (publisher, store) = data::publisher(&config)?;
    let folder = store.as_ref().and_then(|store| store.usage().folder);
    let publisher = Arc::new(publisher);
    let restored = !publisher.current().versions.is_empty();
    let report = Arc::new(Report::new(store.clone()));
    let options = config.server_options();
    let server = Server::bind(options.clone(), publisher.clone(), report.clone())?;
    if let Some(store) = &store {
        server.keep_subscriptions_in(store.clone())?;
    }
    let events = pipeline::start(publisher.clone(), report.clone(), store)?;
    let mut configured = tokio::task::spawn_blocking({
        let (events, config) = (events.clone(), config.clone());
        move || configure(&events, config)
    });
    let addresses = Addresses { public: server.public_addresses().to_vec(), admin: server.admin_address() };
    let handle = server.handle();
    let (reload, requests) = mpsc::sync_channel(1);
    // Once every input was read.
    let ready = move |accepted: Accepted| -> anyhow::Result<()> {
        for line in &accepted.broken {
            tracing::error!("not read: {line}");
        }
        if accepted.nothing {
            bail!("nothing to serve: {}", accepted.broken.join("; "));
        }
        greet(&args, &config, &addresses, &accepted, folder.as_deref())?;
        reload::start(reload::Reloader { args, started_with: config, options, events, publisher, report, handle, log: control, requests })?;
        Ok(())
    };
    let mut ready = Some(ready);
    if !restored {
        let accepted = tokio::select! {
            accepted = &mut configured => accepted??,
            _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
            _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
        };
        ready.take().expect("nothing took it before")(accepted)?;
    }

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
    let mut serving = std::pin::pin!(server.run(stop));
    if let Some(ready) = ready {
        tokio::select! {
            ended = &mut serving => {
                ended?;
                return Ok(ExitCode::SUCCESS);
            }
            accepted = &mut configured => ready(accepted??)?,
        }
    }
    serving.await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Where the server is, with the ports the system chose.
struct Addresses {
    public: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
}

/// Hands a configuration to the maps thread and waits for what it makes of it.
fn configure(events: &mpsc::SyncSender<Event>, config: Config) -> anyhow::Result<Accepted> {
    let (answer, answered) = mpsc::sync_channel(1);
    let gone = "the maps thread ended";
    events.send(Event::Configure { config: Box::new(config), answer }).ok().context(gone)?;
    answered.recv().context(gone)?.map_err(anyhow::Error::msg)
}

/// Says where the server is and what to do with it: a JSON line for programs, some lines for people.
fn greet(args: &Args, config: &Config, addresses: &Addresses, accepted: &Accepted, folder: Option<&Path>) -> anyhow::Result<()> {
    let scheme = if config.server.certificate.is_some() { "https" } else { "http" };
    let public: Vec<String> = addresses.public.iter().map(|address| format!("{scheme}://{address}")).collect();
    let admin = addresses.admin.map(|address| format!("http://{address}"));
    let serves = serves(args, config, accepted);
    if args.json {
        let line = serde_json::json!({"ready": accepted.ready, "public": public, "admin": admin, "serves": serves, "data": folder, "pid": std::process::id()});
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
    match folder {
        Some(folder) => text += &format!("  data    {}\n", folder.display()),
        None => text += "  data    in memory only: a restart begins anew\n",
    }
    let examples = accepted
        .demo
        .as_ref()
        .map_or(["altocast get", "altocast get network-map", "altocast get --json", "altocast watch network-map"], |(_, examples)| {
            *examples
        });
    text += "Try in another terminal:\n";
    let default = Options::default();
    for example in examples {
        text += &format!("  {example}");
        if addresses.public != default.public {
            text += &format!(" --server {}", public.first().map_or("", String::as_str));
        }
        if example.contains("--explain")
            && let Some(url) = admin.as_ref().filter(|_| addresses.admin != default.admin)
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
