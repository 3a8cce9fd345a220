//! What an operator chooses, as plain values, and every bound with its default and reason.
use alto::endpoint::Prefix;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// How to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the public listener is: HTTP/1.1 and HTTP/2 by prior knowledge on one port. Port 0 takes a free one.
    pub public: Vec<SocketAddr>,
    /// Where the admin listener is; `None` has none. Other than on loopback it needs a token.
    pub admin: Option<SocketAddr>,
    /// With it every admin request needs `Authorization: Bearer <token>`.
    pub admin_token: Option<String>,
    /// With it the public listener speaks TLS (ALPN `h2`, `http/1.1`) and nothing else.
    pub tls: Option<TlsFiles>,
    /// HTTP/3 as well, on UDP at the addresses of the public listener. Only with `tls`.
    pub http3: bool,
    /// What URIs in the directory begin with, `https://alto.example.net`; `None` builds them from each request.
    pub public_url: Option<String>,
    /// Whose data is served: text and a link for each, at the end of the page for browsers.
    pub credits: Vec<(String, String)>,
    /// How long resources hold, where an operator promises that.
    pub expiry: Vec<maps::expiry::Rule>,
    /// Origins (`https://noc.example.net`) whose web pages may open WebSockets; with none all may.
    pub websocket_origins: Vec<String>,
    /// Prefixes to which anybody may have notifications sent; others only to themselves.
    pub contact_prefixes: Vec<Prefix>,
    /// PEM: whose certificates `https` contacts must have; `None`: notifications go over `http` only.
    pub contact_ca: Option<PathBuf>,
    /// Threads of the public listener; `None` is one for each core.
    pub workers: Option<usize>,
    /// Bounds.
    pub limits: Limits,
    /// Bounds on what one query may ask for.
    pub queries: maps::guidance::Limits,
}

impl Default for Options {
    /// The listeners of a server that was not configured: loopback only.
    fn default() -> Self {
        Self {
            public: vec![SocketAddr::from(([127, 0, 0, 1], 6671))],
            admin: Some(SocketAddr::from(([127, 0, 0, 1], 6672))),
            admin_token: None,
            tls: None,
            http3: true,
            public_url: None,
            credits: Vec::new(),
            expiry: Vec::new(),
            websocket_origins: Vec::new(),
            contact_prefixes: Vec::new(),
            contact_ca: None,
            workers: None,
            limits: Limits::default(),
            queries: maps::guidance::Limits::default(),
        }
    }
}

impl Options {
    /// Whether only a restart makes these of `running`: [`crate::Handle::reconfigure`] takes all else.
    pub fn differs_for_good(&self, running: &Self) -> bool {
        self.public != running.public
            || self.admin != running.admin
            || self.tls.is_some() != running.tls.is_some()
            || self.http3 != running.http3
            || self.websocket_origins != running.websocket_origins
            || self.contact_ca != running.contact_ca
            || self.workers != running.workers
            || self.limits != running.limits
            || self.queries != running.queries
    }
}

/// A certificate and where its files are; they are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the certificate, then its chain.
    pub certificate: PathBuf,
    /// PEM: the private key (PKCS #8, PKCS #1 or SEC 1).
    pub key: PathBuf,
    /// How often the files are looked at. 5 s: soon enough for a renewal, and two `stat` calls cost nothing.
    pub check_interval: Duration,
}

impl TlsFiles {
    /// With the default interval.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { certificate: certificate.into(), key: key.into(), check_interval: Duration::from_secs(5) }
    }
}

/// Bounds on what clients may make the server hold or wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections of the public listener at a time. 16,384: below the 20,000 file descriptors a process commonly has; with more than a process
    /// may have, each worker takes a table of descriptors of its own. At the bound no more are accepted; they wait in the kernel's queue.
    pub connections_max: usize,
    /// Threads of the public listener. 1,024: more than machines have cores; each takes a few open files whether it has something to do or not.
    pub workers_max: usize,
    /// Connections of the admin listener. 256: its users are few, and they must get in when the public listener is full.
    pub admin_connections_max: usize,
    /// Requests at a time on one HTTP/2 connection. 128: more than a browser uses, and RFC 9113 section 6.5.2 wants 100 at least.
    pub streams_max: u32,
    /// Bytes of a request's header fields. 16 KiB: ALTO clients send a few hundred bytes.
    pub header_bytes_max: usize,
    /// Header fields of an HTTP/1.1 request. 100: as above.
    pub header_fields_max: usize,
    /// Time for a whole header, from the connection or the answer before it; also how long an idle HTTP/1.1 connection stays. 30 s:
    /// a client that writes slower than that holds a connection for nothing (slowloris).
    pub header_time_max: Duration,
    /// How long an HTTP/2 connection without a request stays. 120 s: long enough to be reused by a client that polls each minute.
    pub idle_time_max: Duration,
    /// Time for a request body. 30 s: at the bound of its size that is 140 KB/s.
    pub body_time_max: Duration,
    /// How long a client may take nothing of an answer that waits for it. 30 s: it is gone, or wants to hold memory.
    pub stall_time_max: Duration,
    /// Bytes of the body of a public POST, or of a message of a WebSocket. 4 MiB: 100,000 endpoints, which is what a request may list.
    pub query_bytes_max: usize,
    /// Bytes of a refused request's body that are read and thrown away, so that the client, who reads only when it has written, gets to
    /// see why (RFC 9112 section 9.6). 16 MiB: four times the largest query; who sends more finds the connection closed.
    pub discarded_bytes_max: usize,
    /// How long a client may pause in a body that is thrown away. 1 s: one that is in the middle of writing goes on at once.
    pub discard_pause_max: Duration,
    /// Bytes of the body of an admin request. 256 MiB: what `alto` reads of one document.
    pub document_bytes_max: usize,
    /// Streams a client may reset unanswered on one HTTP/2 connection, beyond those it let finish. 200: "rapid reset" (CVE-2023-44487) uses
    /// thousands; a person who closes pages, tens.
    pub resets_max: u32,
    /// Answers that are computed at a time. 4: they take a core each, in threads beside those of the listener.
    pub queries_at_once: usize,
    /// Answers that wait for that, before 503 is the answer. 256: some seconds of work at a millisecond or ten each.
    pub queries_waiting_max: usize,
    /// Bytes held for all public clients together: request bodies that came in pieces, and answers over 64 KiB computed for one client and
    /// not yet taken. 1 GiB: thirty of the largest answers; at the bound 503 is the answer, where memory would run out.
    pub client_bytes_max: usize,
    /// Prefixes of `Host` for which a directory is kept ready. 64: an attacker can invent names, a server has few.
    pub directories_max: usize,
    /// How long what is in flight may take once the server was told to stop. 10 s: below the patience of service managers.
    pub drain_time_max: Duration,
    /// Time between two pings of a WebSocket; a client that says nothing at all for two of them is left. 30 s: below the patience of proxies and
    /// of address translators, and two packets a minute.
    pub ping_interval: Duration,
    /// How long a WebSocket client may take to close its side after we closed ours (RFC 6455 section 7.1.1), and how long a client of HTTP/1.1 that
    /// closed its side may still get an answer that is waited for. 5 s: it is a round trip; a poll of a client that left is held no longer.
    pub close_time_max: Duration,
    /// Transport queues of one HTTP/2 connection. 128: as many as it may have streams.
    pub connection_queues_max: usize,
    /// Pushes under way on one HTTP/2 connection, whatever the client allows. 32: it takes them as fast as one after the other can be sent.
    pub pushes_max: usize,
    /// Update streams (RFC 8895) at a time; as many again over TIPS, as many transport queues, as many WebSockets. 50,000: each costs a few
    /// kilobytes and a connection or a part of one.
    pub update_streams_max: usize,
    /// Substreams of one update stream at a time (RFC 8895 section 10.1). 256: every resource of a large directory.
    pub substreams_max: usize,
    /// Substream ids used in the life of one update stream: none may come again, so all are remembered (section 7.6). 4,096: 130 KB at most.
    pub substream_ids_max: usize,
    /// Requests to the control of one update stream in a minute. 120: people and programs change their mind less often.
    pub control_requests_max: u32,
    /// Time between two signs of life on an update stream. 15 s: RFC 8895 section 6.8.
    pub keep_alive: Duration,
    /// Views of POST-mode resources held for TIPS clients, who have no connection that would hold them. 1,024: each is computed again at
    /// every change of its base.
    pub tips_views_max: usize,
    /// How long such a view is held after the end of its last request; as long as it is polled it is held anyway. 120 s: twice the longest poll.
    pub tips_view_grace: Duration,
    /// Long polls that wait at a time. 50,000: as many as update streams.
    pub polls_max: usize,
    /// How far in the future an edge may be polled for: up to so many versions after the newest. 4: TIPS asks for 1, more let a client
    /// keep several requests under way.
    pub poll_window: u64,
    /// How long a poll waits before the client must ask again. 50 s: below the patience of proxies, which commonly is 60 s.
    pub poll_time_max: Duration,
    /// Bytes of updates kept ready in the form that all clients of a transport are sent, for each of TIPS and update streams. 64 MiB: the
    /// last changes of every map; they are made again when asked for again.
    pub ready_bytes_max: usize,
    /// Subscriptions at a time. 50,000: as many as update streams; each costs less than a kilobyte, here and on the disk.
    pub subscriptions_max: usize,
    /// Subscriptions that notify one address. 10,000: a proxy or a test that stands for many; one host cannot take all there are.
    pub contact_subscriptions_max: usize,
    /// How long a subscription lives that asks for more. A day: one that was forgotten costs a day of notifications.
    pub subscription_time_max: Duration,
    /// Connections to one contact. 8: enough to keep a core busy, far below what a web server takes.
    pub contact_connections_max: usize,
    /// Notifications under way at a time. 1,024: as many connections.
    pub notifications_at_once: usize,
    /// Notifications that take their time, and to contacts that failed before, at a time. 512: they wait for each other and for nobody else.
    pub slow_notifications_at_once: usize,
    /// How long a notification is one of those that are quick. 1 s: a subscriber answers in a round trip.
    pub notification_patience: Duration,
    /// How long a notification may take, and as long again as it takes at 100 kB/s. 10 s: who needs longer may read later what it was told.
    pub notification_time_max: Duration,
    /// The first pause after a failure; it doubles from failure to failure, and half of it is by chance. 1 s: a server that is started again.
    pub notification_retry_min: Duration,
    /// The longest pause. 60 s: who comes back is told within a minute.
    pub notification_retry_max: Duration,
    /// How long a subscriber may fail before its subscription ends. An hour: longer than a restart takes, and most repairs.
    pub notification_give_up: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            workers_max: 1_024,
            admin_connections_max: 256,
            streams_max: 128,
            header_bytes_max: 16 << 10,
            header_fields_max: 100,
            header_time_max: Duration::from_secs(30),
            idle_time_max: Duration::from_secs(120),
            body_time_max: Duration::from_secs(30),
            stall_time_max: Duration::from_secs(30),
            query_bytes_max: 4 << 20,
            discarded_bytes_max: 16 << 20,
            discard_pause_max: Duration::from_secs(1),
            document_bytes_max: 256 << 20,
            resets_max: 200,
            queries_at_once: 4,
            queries_waiting_max: 256,
            client_bytes_max: 1 << 30,
            directories_max: 64,
            drain_time_max: Duration::from_secs(10),
            ping_interval: Duration::from_secs(30),
            close_time_max: Duration::from_secs(5),
            connection_queues_max: 128,
            pushes_max: 32,
            update_streams_max: 50_000,
            substreams_max: 256,
            substream_ids_max: 4_096,
            control_requests_max: 120,
            keep_alive: Duration::from_secs(15),
            tips_views_max: 1_024,
            tips_view_grace: Duration::from_secs(120),
            polls_max: 50_000,
            poll_window: 4,
            poll_time_max: Duration::from_secs(50),
            ready_bytes_max: 64 << 20,
            subscriptions_max: 50_000,
            contact_subscriptions_max: 10_000,
            subscription_time_max: Duration::from_secs(24 * 60 * 60),
            contact_connections_max: 8,
            notifications_at_once: 1_024,
            slow_notifications_at_once: 512,
            notification_patience: Duration::from_secs(1),
            notification_time_max: Duration::from_secs(10),
            notification_retry_min: Duration::from_secs(1),
            notification_retry_max: Duration::from_secs(60),
            notification_give_up: Duration::from_secs(60 * 60),
        }
    }
}
