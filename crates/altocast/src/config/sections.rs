//! Every section and key of the configuration: name, default, example and meaning, each written here and nowhere else.
//!
//! Units: times in seconds, sizes in bytes, shares from 0 to 1; the unit ends the key's name.
use super::{
    section::section,
    setting::{AdminListen, DemoNetwork, Hysteresis, LogFormat, LogLevel, Seconds, Share},
};
use alto::{
    cost::Metric,
    endpoint::Prefix,
    id::{Pid, ResourceId},
};
use maps::{damping::HYSTERESIS_MAX, glob::Glob, partition::PartitionBy};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};
use topology::sources::{BandwidthFrom, DelayFrom, SourceKind, Unit};

section! {
    /// The public listener: the ALTO protocol over HTTP/1.1 and HTTP/2 on one port.
    "server" ServerSection {
        /// Addresses and ports. Port 0 takes a free one, which the start message names.
        listen: Vec<SocketAddr> = server::Options::default().public,
        /// What URIs in the directory start with, when clients reach the server by another name than they send in `Host`.
        public_url: Option<String> = None => "\"https://alto.example.net\"",
        /// Certificate chain, PEM. With it (and `key`) the listener speaks TLS; both are read again when they change.
        certificate: Option<PathBuf> = None => "\"/etc/altocast/tls/fullchain.pem\"",
        /// Private key of the certificate, PEM.
        key: Option<PathBuf> = None => "\"/etc/altocast/tls/privkey.pem\"",
        /// HTTP/3 as well, over UDP at the same addresses, when there is a certificate; answers over TCP then name it in `Alt-Svc`.
        http3: bool = server::Options::default().http3,
        /// Threads that answer. Default: one for each core.
        workers: Option<usize> = None => "4",
        /// Connections at a time; more wait in the queue of the system.
        connections_max: usize = server::Limits::default().connections_max,
        /// Bytes of the body of a request.
        query_bytes_max: usize = server::Limits::default().query_bytes_max,
        /// Time a client has to send a request's header; also how long an idle HTTP/1.1 connection stays.
        header_time_max_seconds: Seconds = Seconds(server::Limits::default().header_time_max),
        /// Time a client has to send a request's body.
        body_time_max_seconds: Seconds = Seconds(server::Limits::default().body_time_max),
        /// Time for requests in flight once the server was told to stop.
        drain_time_max_seconds: Seconds = Seconds(server::Limits::default().drain_time_max),
    }

    /// The admin listener: publishing, status, metrics (`/metrics`) and health (`/healthz`, `/readyz`).
    "admin" AdminSection {
        /// Address and port, or `off`. Anything but a loopback address needs `token`.
        listen: AdminListen = AdminListen(server::Options::default().admin),
        /// Every admin request must carry this as a bearer token.
        token: Option<String> = None => "\"a-long-random-text\"",
        /// Bytes of a document that is published.
        document_bytes_max: usize = server::Limits::default().document_bytes_max,
    }

    /// The log, on standard error.
    "log" LogSection {
        /// How much to say; `--log` and `ALTOCAST_LOG` go before it.
        level: LogLevel = LogLevel("info".into()),
        /// `text` for people, `json` for programs.
        format: LogFormat = LogFormat::Text,
    }

    /// The built-in demo networks.
    "demo" DemoSection {
        /// `geant`, `aws`, `azure`, `off`; or `auto`: GÉANT when neither `maps.folder` nor a source is configured.
        network: DemoNetwork = DemoNetwork::Auto,
        /// Time between two steps of the replay.
        interval_seconds: Seconds = Seconds(Duration::from_secs(10)),
    }

    /// What is made of the sources.
    "maps" MapsSection {
        /// Folder of RFC 7285 documents, each named `<resource-id>.json`, served as they are and read again when they change.
        folder: Option<PathBuf> = None => "\"/var/lib/altocast/maps\"",
        /// Resource id of the network map that is computed from the sources.
        network_map_id: ResourceId = "network-map".parse().expect("this is a valid resource id"),
        /// What makes a PID: `group` (the group its source names), `router`, `city` (the router's label before its trailing number),
        /// `country` or `asn`.
        partition_by: PartitionBy = PartitionBy::Group,
        /// PID of every address that no source places: it gets 0.0.0.0/0 and ::/0. Empty: there is none.
        default_pid: Option<Pid> = Some("default".parse().expect("this is a valid PID name")) => "\"\"",
        /// The metrics to make cost maps of; one that the sources give no data for is left out.
        metrics: Vec<Metric> = ["routingcost", "hopcount", "delay-ow", "delay-rt", "bw-available"].map(|name| name.parse().expect("these are valid metric names")).into(),
        /// PIDs to give costs from: names or patterns.
        sources: Vec<Glob> = vec![Glob::any()],
        /// PIDs to give costs to: names or patterns.
        destinations: Vec<Glob> = vec![Glob::any()],
        /// How long sources must be quiet before new maps are made of what they said: several changes at once become one version.
        settle_seconds: Seconds = Seconds(Duration::from_millis(200)),
    }

    /// Damping of cost maps that are computed from sources: fewer and smaller changes where measurements tremble. Off unless set here;
    /// documents are always served as they are.
    "damping" DampingSection {
        /// Steps by metric, in the metric's own unit (microseconds of `delay-ow`, weight of `routingcost`): served are multiples of the
        /// step, never further than one step from the computed cost. A metric that is not named is served as computed.
        steps: BTreeMap<Metric, f64> = BTreeMap::new() => "{ \"delay-ow\" = 500, \"delay-rt\" = 1000 }",
        /// How far beyond half a step a computed cost must move before what is served moves, in steps: keeps a cost between two multiples from going back and forth.
        hysteresis: Hysteresis = Hysteresis(HYSTERESIS_MAX),
        /// The least time between two versions of a map; what changes meanwhile becomes one version at its end.
        interval_seconds: Option<Seconds> = None => "30",
    }

    /// The change guard: a new network map that moves too many prefixes is held until confirmed (`POST /v1/guard/confirm`).
    "guard" GuardSection {
        /// Share of prefixes that may change their PID in a map computed from sources. 1 turns the guard off.
        computed_moved_share_max: Share = Share(0.5),
        /// The same for maps that an operator publishes.
        published_moved_share_max: Share = Share(1.0),
    }

    /// Versions of resources.
    "history" HistorySection {
        /// Versions remembered for each resource.
        versions_max: usize = history::Limits::default().versions_max,
        /// How long a version is remembered after it was replaced.
        age_max_seconds: Seconds = Seconds(history::Limits::default().age_max),
        /// Bytes of patches and older full copies, of all resources together; the largest history is cut first.
        bytes_max: usize = history::Limits::default().bytes_max,
        /// Inputs of filtered maps, endpoint costs and endpoint properties that are followed at a time.
        filtered_views_max: usize = history::Limits::default().post_views_max,
        /// Bytes that are held for them.
        filtered_bytes_max: usize = history::Limits::default().post_bytes_max,
    }

    /// Where versions are kept, so that the server comes back after any end with the numbers, the tags and the documents it had.
    "store" StoreSection {
        /// The data folder; `--data-dir` goes before it. One server at a time may use it. Default: `altocast` in `$XDG_DATA_HOME`, or in `~/.local/share`.
        folder: Option<PathBuf> = None => "\"/var/lib/altocast/data\"",
        /// Keep nothing: a server that ends forgets all that was published to it. `--in-memory` sets it.
        in_memory: bool = false,
    }

    /// Clients that are kept up to date: update streams, TIPS, WebSockets.
    "updates" UpdatesSection {
        /// Update streams at a time; as many transport queues, and as many WebSockets.
        update_streams_max: usize = server::Limits::default().update_streams_max,
        /// Resources followed by one update stream.
        substreams_max: usize = server::Limits::default().substreams_max,
        /// Resources followed by one update stream in its life: an id of the client's may not come again.
        substream_ids_max: usize = server::Limits::default().substream_ids_max,
        /// Transport queues of one HTTP/2 connection.
        connection_queues_max: usize = server::Limits::default().connection_queues_max,
        /// Requests to the control of one update stream in a minute.
        control_requests_max: u32 = server::Limits::default().control_requests_max,
        /// Time between two signs of life on an update stream.
        keep_alive_seconds: Seconds = Seconds(server::Limits::default().keep_alive),
        /// Long polls that wait at a time.
        polls_max: usize = server::Limits::default().polls_max,
        /// How far ahead of the newest version a poll may wait, in versions.
        poll_window: u64 = server::Limits::default().poll_window,
        /// How long a poll waits before its client must ask again. Shorter than the patience of proxies between.
        poll_time_max_seconds: Seconds = Seconds(server::Limits::default().poll_time_max),
        /// Views of filtered maps and the like, held for TIPS clients.
        tips_views_max: usize = server::Limits::default().tips_views_max,
        /// How long such a view is held after the end of its last request; as long as it is polled it is held anyway.
        tips_view_grace_seconds: Seconds = Seconds(server::Limits::default().tips_view_grace),
        /// Time between two pings of a WebSocket. Shorter than the patience of proxies between.
        ping_interval_seconds: Seconds = Seconds(server::Limits::default().ping_interval),
        /// Origins whose web pages may open WebSockets. None: all may, as with every other request of this listener.
        websocket_origins: Vec<String> = Vec::new() => "[\"https://noc.example.net\"]",
    }

    /// Clients that are called back: subscriptions and their notifications.
    "subscriptions" SubscriptionsSection {
        /// Prefixes to which anybody may have notifications sent. Without them a subscriber can have them sent to its own address only, and to a
        /// loopback, link-local, multicast or metadata address not even that; but a client on this machine can be notified on it as long as
        /// `server.listen` has loopback addresses only and no `server.public-url` is set.
        contact_prefixes: Vec<Prefix> = Vec::new() => "[\"192.0.2.0/24\", \"2001:db8::/32\"]",
        /// Certificates that `https` contacts must lead to, PEM. Without it notifications go over `http` only.
        ca_file: Option<PathBuf> = None => "\"/etc/altocast/tls/subscribers.pem\"",
        /// Subscriptions at a time.
        subscriptions_max: usize = server::Limits::default().subscriptions_max,
        /// Subscriptions that notify one address.
        contact_subscriptions_max: usize = server::Limits::default().contact_subscriptions_max,
        /// How long a subscription lives that asks for more.
        time_max_seconds: Seconds = Seconds(server::Limits::default().subscription_time_max),
        /// Connections to one contact.
        contact_connections_max: usize = server::Limits::default().contact_connections_max,
        /// Notifications under way at a time.
        notifications_at_once: usize = server::Limits::default().notifications_at_once,
        /// How long a subscriber may take to answer.
        answer_time_max_seconds: Seconds = Seconds(server::Limits::default().notification_time_max),
        /// The longest pause before a notification that failed is tried again.
        retry_max_seconds: Seconds = Seconds(server::Limits::default().notification_retry_max),
        /// How long a subscriber may fail before its subscription ends.
        give_up_seconds: Seconds = Seconds(server::Limits::default().notification_give_up),
    }

    /// How long what is served holds: for clients that read the maps with their expiry, and for HTTP caches. An answer holds for half of the
    /// time to all of it. Where a source says itself for how long it holds, the earlier counts. This table may occur any number of times:
    /// of those without `pid` the first that fits a resource counts, for a PID the first of those with `pid`, which goes before.
    "expiry" ExpirySection {
        /// Resources it is for: an id or pattern.
        resource: Glob = Glob::any(),
        /// PIDs it is for, of the network maps among them: a name or pattern. Default: the resource as a whole.
        pid: Option<Glob> = None => "\"mobile-*\"",
        /// For how long, in whole seconds from 2 to a year.
        seconds: Option<u64> = None => "300",
    }

    /// A source of topology, prefixes or measurements. This table may occur any number of times.
    "source" SourceSection {
        /// Its name in the log, in status and in explanations. Default: its kind.
        name: Option<String> = None => "\"backbone\"",
        /// What its files are: graphml, repetita, ietf-network, frr-ospf, frr-te, prefix-csv, aws-ip-ranges, latency-matrix or latency-pairs.
        kind: Option<SourceKind> = None => "\"frr-ospf\"",
        /// Its files, or patterns of their names; read together and read again when one changes. Relative to the configuration's folder.
        files: Vec<PathBuf> = Vec::new() => "[\"ospf-router.json\", \"ospf-external.json\"]",
        /// Where two sources contradict each other the higher one is believed.
        precedence: i32 = 0,
        /// Marked as overdue when nothing newer came for so long; its last good data stays in use. Until then what it says holds, unless it says
        /// an earlier time itself (frr-ospf: until the age of 3600 s).
        max_age_seconds: Option<Seconds> = None => "900",
        /// Time between two looks whether a file changed.
        poll_seconds: Seconds = Seconds(Duration::from_secs(1)),
        /// New names for its routers and groups, to join it with other sources.
        names: BTreeMap<Box<str>, Box<str>> = BTreeMap::new() => "{ \"10.255.0.1\" = \"NL\" }",
        /// Take of its routers only where they are: no links, no prefixes, no measurements.
        routers_only: bool = false,
        /// graphml, repetita: take delays of links from the `coordinates` of their ends, from the `file`, or `nowhere`.
        delay: DelayFrom = DelayFrom::Coordinates,
        /// Speed of light in fibre, in kilometres per microsecond, for delays from coordinates.
        fibre_km_per_us: f64 = 0.2,
        /// frr-te: which bandwidth of a link to take, `unreserved` or `maximum`.
        bandwidth: BandwidthFrom = BandwidthFrom::Unreserved,
        /// graphml: leave out nodes marked `Internal = 0` and their links.
        internal_only: bool = false,
        /// repetita: drop the node number from labels such as `0_NL`.
        strip_index: bool = true,
        /// ietf-network: the `network-id` to take, where the file has several.
        network: Option<Box<str>> = None => "\"ospf\"",
        /// frr-ospf, frr-te: take stub networks (links and loopbacks) as prefixes of their router too.
        stub_prefixes: bool = false,
        /// CSV kinds: the column with the prefix, by its name or as `#1`.
        column_prefix: Option<Box<str>> = None => "\"prefix\"",
        /// CSV kinds: the column with the PID, region or country.
        column_group: Option<Box<str>> = None => "\"pid\"",
        /// CSV kinds: the column with the router a prefix is behind.
        column_router: Option<Box<str>> = None => "\"router\"",
        /// CSV kinds: the column with the origin AS.
        column_asn: Option<Box<str>> = None => "\"asn\"",
        /// latency-pairs: the column with the place that measured.
        column_source: Option<Box<str>> = None => "\"source\"",
        /// latency-pairs: the column with the place that was measured.
        column_destination: Option<Box<str>> = None => "\"destination\"",
        /// latency-pairs: the column with the measured value.
        column_value: Option<Box<str>> = None => "\"avg\"",
        /// Latency kinds: what was measured. Default: delay-rt.
        metric: Option<Metric> = None => "\"delay-rt\"",
        /// Latency kinds: the unit of the values.
        unit: Unit = Unit::Milliseconds,
        /// latency-pairs: a pair stands for both directions, unless its mirror is there too.
        symmetric: bool = false,
        /// aws-ip-ranges series: how many revisions to apply after the first. Default: all.
        revision: Option<usize> = None => "10",
    }

    /// An operator's rule about computed costs; rules act in the order of the file. This table may occur any number of times.
    "rule" RuleSection {
        /// Source PIDs it is for: a name or pattern.
        from: Glob = Glob::any(),
        /// Destination PIDs it is for: a name or pattern.
        to: Glob = Glob::any(),
        /// The metric it is for. Default: each.
        metric: Option<Metric> = None => "\"routingcost\"",
        /// Adds to a cost. A rule has exactly one of `add`, `multiply`, `forbid` and `default`.
        add: Option<f64> = None => "10.0",
        /// Multiplies a cost.
        multiply: Option<f64> = None => "1.5",
        /// `true`: there is no cost, whatever later rules say.
        forbid: bool = false,
        /// The cost where there is none.
        default: Option<f64> = None => "1000.0",
    }
}
