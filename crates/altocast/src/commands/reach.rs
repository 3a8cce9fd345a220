//! How commands are told which server to talk to, and what they say when nobody is there.
use crate::terminal::Paint;
use alto::expiry::Expires;
use anyhow::Context;
use client::{Admin, Client, Freshness, Options, Protocol};
use std::{path::PathBuf, process::ExitCode, time::Duration};

/// How to reach any server.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct Transport {
    /// Trust the certificates in this PEM file instead of the built-in web roots
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// Speak HTTP/2, without TLS by prior knowledge
    #[arg(long)]
    pub http2: bool,
    /// Speak HTTP/3, at https URLs only
    #[arg(long, conflicts_with = "http2")]
    pub http3: bool,
    /// Give up after this many seconds of silence
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
}

/// Which public server.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct Server {
    /// URL of the server, or of its directory
    #[arg(long, env = "ALTOCAST_SERVER", hide_env_values = true, value_name = "URL", default_value = "http://127.0.0.1:6671")]
    pub server: String,
    /// See there.
    #[command(flatten)]
    pub transport: Transport,
}

/// Which admin listener.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Admin listener")]
pub struct AdminListener {
    /// URL of the server's admin listener
    #[arg(long, env = "ALTOCAST_ADMIN", hide_env_values = true, value_name = "URL", default_value = "http://127.0.0.1:6672")]
    pub admin: String,
    /// Bearer token of the admin listener, when it wants one
    #[arg(long, env = "ALTOCAST_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// Whether answers are there for the next command.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct Cache {
    /// Do not ask for what the server said is right for a while, and was got in that time; else it is asked whether that is still so
    #[arg(long)]
    pub cached: bool,
    /// Ask for everything anew and keep nothing; else answers are kept in altocast in $XDG_CACHE_HOME, or in ~/.cache
    #[arg(long, conflicts_with = "cached")]
    pub no_cache: bool,
}

impl Cache {
    /// Forgets what is kept: something was published. A folder that cannot be emptied is no failure of that.
    pub fn forget() {
        if let Some(folder) = (Self { cached: false, no_cache: false }).folder() {
            let _ = client::forget_answers(&folder);
        }
    }

    /// XDG Base Directory Specification 0.8: what is not absolute is to be ignored.
    fn folder(&self) -> Option<PathBuf> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = || absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        if self.no_cache { None } else { Some(folder()?.join("altocast")) }
    }
}

impl Transport {
    /// A client of the server at `url`.
    pub fn client(&self, url: &str) -> Result<Client, client::Error> {
        Client::new(self.options(url))
    }

    /// A client of the admin listener.
    pub fn admin(&self, listener: &AdminListener) -> Result<Admin, client::Error> {
        // The admin listener speaks HTTP/1.1, whatever the public one is asked in.
        Admin::new(Options { token: listener.token.clone(), protocol: Protocol::Auto, ..self.options(&listener.admin) })
    }

    /// Which HTTP public servers are asked in.
    pub fn protocol(&self) -> Protocol {
        match (self.http2, self.http3) {
            (_, true) => Protocol::Http3,
            (true, false) => Protocol::Http2,
            (false, false) => Protocol::Auto,
        }
    }

    fn options(&self, url: &str) -> Options {
        Options {
            ca_file: self.cacert.clone(),
            protocol: self.protocol(),
            silence_timeout: Duration::from_secs(self.timeout),
            ..Options::new(url)
        }
    }
}

impl Server {
    /// A client of it.
    pub fn client(&self) -> Result<Client, client::Error> {
        self.transport.client(&self.server)
    }

    /// A client of it that uses what commands before it kept.
    pub fn client_with(&self, cache: &Cache) -> Result<Client, client::Error> {
        Client::new(Options { cache_folder: cache.folder(), confirm: !cache.cached, ..self.transport.options(&self.server) })
    }
}

/// Says of an answer that the server has nothing that did not expire.
pub fn note_expired(freshness: Freshness) {
    if let Freshness::Stale { since } = freshness {
        let note = Paint::stderr().yellow("note:");
        eprintln!("{note} this expired {}, and the server has nothing newer", Expires::at(since));
    }
}

/// The error of a question to a public server, with what to do about it.
pub fn explained(error: client::Error) -> anyhow::Error {
    advised(error, "is a server running? start one with: altocast serve")
}

/// The same for the admin listener.
pub fn explained_admin(error: client::Error) -> anyhow::Error {
    if let client::Error::Status { status, .. } = &error
        && matches!(status.as_u16(), 401 | 403)
    {
        return anyhow::anyhow!(
            "{error}\nthe admin listener wants a token: --token or ALTOCAST_ADMIN_TOKEN (admin.token in its configuration)"
        );
    }
    advised(error, "is a server running, and is this its admin listener? name it with --admin URL")
}

fn advised(error: client::Error, advice: &str) -> anyhow::Error {
    match &error {
        client::Error::Connect { origin, .. } if error.is_refused_connection() => {
            anyhow::anyhow!("nobody listens at {origin}; {advice}")
        }
        client::Error::Tls { source, .. } if source.to_string().contains("UnknownIssuer") => {
            anyhow::anyhow!("{error}\nthe certificate is of an authority that is not trusted here: name it with --cacert FILE")
        }
        client::Error::Tls { source, .. } if source.to_string().contains("InvalidContentType") => {
            anyhow::anyhow!("{error}\nit speaks no TLS there: does its URL begin with http://?")
        }
        // What a TLS listener answers to a request in the clear is an alert.
        client::Error::Broken { uri, .. } if is_plain(uri) && error.to_string().contains("invalid HTTP version") => {
            anyhow::anyhow!("{error}\nit speaks no HTTP there, perhaps TLS: does its URL begin with https://?")
        }
        // Its words have those of its source in them: the chain would say them again.
        _ => anyhow::anyhow!("{error}"),
    }
}

fn is_plain(uri: &str) -> bool {
    !uri.starts_with("https://")
}

/// Wrong usage that clap cannot see: one line and exit status 2.
pub fn usage(message: &str) -> ExitCode {
    eprintln!("altocast: {message}");
    ExitCode::from(2)
}

/// A whole file, or standard input for `-`.
pub fn read(path: &str) -> anyhow::Result<Vec<u8>> {
    if path == "-" {
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut text).context("standard input")?;
        return Ok(text);
    }
    std::fs::read(path).with_context(|| path.to_owned())
}
