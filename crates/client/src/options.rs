//! What a client may be told, and the bounds it keeps.
use crate::clock::Clock;
use std::{path::PathBuf, time::Duration};

/// How to reach a server. `Options::new(url)` is right for most.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the root directory is, `http://127.0.0.1:6671` or the full URI of an IRD (RFC 7285 section 9.2).
    pub server: String,
    /// Certificates (PEM) to trust instead of the built-in web roots.
    pub ca_file: Option<PathBuf>,
    /// Which HTTP to speak.
    pub protocol: Protocol,
    /// Longest wait for a connection, TLS handshake included.
    pub connect_timeout: Duration,
    /// Longest silence of a server that owes an answer or the rest of one.
    pub silence_timeout: Duration,
    /// Bearer token, sent with every request of [`crate::Admin`] and with none of [`crate::Client`].
    pub token: Option<String>,
    /// A folder of answers that outlive the client and that other processes use too, made when it is missing, for its owner alone. `None`: memory only.
    pub cache_folder: Option<PathBuf>,
    /// Kept answers are used only when the server confirmed them, though it promised that they hold for longer: what they save is their transfer.
    pub confirm: bool,
    /// For how long after it expired an answer may stand in for a server that cannot be reached; it then says that it is stale
    /// ([`crate::Freshness::Stale`]). `None`: never, an expired answer is an error then. A server may forbid it (RFC 9111 section 4.2.4).
    pub stale_if_unreachable: Option<Duration>,
    /// What time it is, for what expires.
    pub clock: Clock,
    /// Bounds.
    pub limits: Limits,
}

impl Options {
    /// Defaults for a server.
    pub fn new(server: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            ca_file: None,
            protocol: Protocol::default(),
            connect_timeout: Duration::from_secs(5),
            silence_timeout: Duration::from_secs(30),
            token: None,
            cache_folder: None,
            confirm: false,
            stale_if_unreachable: None,
            clock: Clock::system(),
            limits: Limits::default(),
        }
    }
}

/// Which version of HTTP to speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    /// With TLS whatever ALPN agrees on, HTTP/2 first; without TLS HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only; without TLS by prior knowledge (RFC 9113 section 3.3).
    Http2,
    /// HTTP/3 only (RFC 9114), at `https` URIs only. Neither pushes nor WebSockets are followed over it.
    Http3,
}

/// Bounds on what a server can make a client hold or do.
#[derive(Debug, Clone)]
pub struct Limits {
    /// One decoded body. 256 MiB, as [`alto::Limits`]: nothing larger could be read, and a bound to what a gzip bomb can take.
    pub body_bytes_max: usize,
    /// All bodies kept in memory to be used again together. 256 MiB: some 25 cost maps of 1,000 PIDs.
    pub cache_bytes_max: usize,
    /// All files in `cache_folder` together. 1 GiB: the maps of several servers of 1,000 PIDs, on a disk that has room for it.
    pub cache_folder_bytes_max: u64,
    /// Files in `cache_folder`. 4,096: who adds one looks at all of them.
    pub cache_folder_files_max: usize,
    /// Directories followed from the root one. 32: real delegations are one a subdomain (RFC 7285 section 9.2.4).
    pub directories_max: usize,
    /// Directories below directories. 4: enough for any sane delegation, and ends a cycle of ever new URIs.
    pub directory_depth_max: usize,
    /// Redirects for one request. 5, as curl users are told to choose.
    pub redirects_max: usize,
    /// Idle HTTP/1.1 connections kept for each origin. 8: more than one command uses at once.
    pub idle_connections_max: usize,
    /// What one document may hold. Its own defaults and reasons.
    pub documents: alto::Limits,
    /// PIDs in one request for those that expired. 2,000: about 60 KB of request, as below.
    pub pids_per_request_max: usize,
    /// Destinations in one endpoint cost request. 2,000: about 60 KB of request, well inside the body bound of servers.
    pub destinations_per_request_max: usize,
    /// Updates of followed resources that were read and not yet applied. 16: a burst, without reading ahead of what can be applied;
    /// beyond it the connection is not read.
    pub updates_buffered_max: usize,
    /// Changes that wait for whoever follows. 1,024: a slow terminal; beyond it the changes of a resource become one full copy.
    pub changes_waiting_max: usize,
    /// The same in bytes, documents and patches together. 256 MiB: some 30 versions of a cost map of 1,000 PIDs.
    pub changes_waiting_bytes_max: usize,
    /// Pushed streams at once. 16: they are read one after the other, so more would only wait.
    pub pushes_concurrent_max: u32,
    /// First wait before connecting again, doubled with every failure, half of it by chance. 250 ms: a restart is over soon, and
    /// a thousand clients spread over it.
    pub backoff_min: Duration,
    /// Longest wait before connecting again. 30 s: half a minute without a server is found over at most half a minute later.
    pub backoff_max: Duration,
    /// Longest wait that a server may ask for (`Retry-After`). 10 minutes: longer is a mistake more often than a wish.
    pub retry_after_max: Duration,
    /// Longest silence of a server that is followed. 75 s: two WebSocket pings or five SSE comments missed.
    pub followed_silence_max: Duration,
    /// Longest poll of TIPS before asking whether the server still lives. 58 s: servers end a poll before it, proxies give up after 60.
    pub poll_time_max: Duration,
    /// Longest wait for the network map that a cost map depends on, and for the cost map of a new network map. 10 s: they are of one
    /// commit, so only transfers lie between them.
    pub consistency_time_max: Duration,
    /// How long a subscription shall live without being refreshed. 10 minutes: it outlives most outages of a server, and the server is
    /// rid of a client that vanished soon after.
    pub subscription_time: Duration,
    /// Connections to the listener for notifications. 32: a server needs one, seldom more; beyond it the oldest one over which no
    /// notification of ours came yet ends.
    pub notification_connections_max: usize,
    /// Bytes of a notification before it names a subscription of ours, over a connection over which none came yet. 1 MiB: most are smaller, and
    /// servers name the subscription first; so strangers make us hold 32 MiB at most. What is larger is read one at a time.
    pub stranger_bytes_max: usize,
    /// Longest wait for the server when subscriptions are ended. 3 s: what it does not hear of expires.
    pub farewell_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 256 << 20,
            cache_bytes_max: 256 << 20,
            cache_folder_bytes_max: 1 << 30,
            cache_folder_files_max: 4096,
            directories_max: 32,
            directory_depth_max: 4,
            redirects_max: 5,
            idle_connections_max: 8,
            documents: alto::Limits::default(),
            pids_per_request_max: 2000,
            destinations_per_request_max: 2000,
            updates_buffered_max: 16,
            changes_waiting_max: 1024,
            changes_waiting_bytes_max: 256 << 20,
            pushes_concurrent_max: 16,
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(30),
            retry_after_max: Duration::from_secs(600),
            followed_silence_max: Duration::from_secs(75),
            poll_time_max: Duration::from_secs(58),
            consistency_time_max: Duration::from_secs(10),
            subscription_time: Duration::from_secs(600),
            notification_connections_max: 32,
            stranger_bytes_max: 1 << 20,
            farewell_time_max: Duration::from_secs(3),
        }
    }
}
