//! What is counted, in Prometheus text (exposition format 0.0.4), named after what RFC 7971 section 3.4.3 tells operators to watch:
//! requests and their sizes for each resource, the size and content of the maps, the number of PIDs, updates; and our sources' age.
//!
//! Invariant: labels come from the directory, from HTTP's status codes and from a closed list of methods, never from a client's text,
//! so that no client can make a series.
use crate::{
    SourceStatus, StoreStatus,
    transports::{Transports, clients::Count},
};
use alto::{id::ResourceId, network_map::AddressGroup};
use history::{Commit, Snapshot};
use http::{Method, StatusCode};
use maps::guidance::Resource;
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::SystemTime,
};

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label<'a> {
    /// A resource of the directory.
    Resource(&'a ResourceId),
    /// The directory itself.
    Directory,
    /// An update service.
    Updates(&'static str),
    /// Anything else: the page for browsers, paths that lead nowhere.
    Other,
}

impl Label<'_> {
    /// The same without the resource.
    pub(crate) fn service(self) -> Label<'static> {
        match self {
            Label::Directory => Label::Directory,
            Label::Updates(service) => Label::Updates(service),
            Label::Resource(_) | Label::Other => Label::Other,
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Resource(id) => id.as_str(),
            Self::Directory => "directory",
            Self::Updates(service) => service,
            Self::Other => "other",
        }
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    requests: u64,
    bytes_in: u64,
    bytes_out: u64,
}

/// Tallies of one label, by method and status: a handful each, so a list.
type Tallies = Vec<((&'static str, u16), Tally)>;

/// Counters of one server. Each worker has a shard of its own, so that counting is an uncontended lock.
#[derive(Debug)]
pub(crate) struct Metrics {
    shards: Vec<Mutex<HashMap<Box<str>, Tallies>>>,
    http1: AtomicI64,
    http2: AtomicI64,
    http3: AtomicI64,
    connections: AtomicU64,
    commits: AtomicU64,
    versions: AtomicU64,
}

/// The protocols a connection may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
    Http3,
}

impl Protocol {
    /// As ALPN has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
            Self::Http3 => "h3",
        }
    }
}

impl Metrics {
    /// With a shard for each worker.
    pub(crate) fn new(workers: usize) -> Self {
        let shards = (0..workers.max(1)).map(|_| Mutex::default()).collect();
        let zero = AtomicI64::default;
        Self {
            shards,
            http1: zero(),
            http2: zero(),
            http3: zero(),
            connections: AtomicU64::default(),
            commits: AtomicU64::default(),
            versions: AtomicU64::default(),
        }
    }

    /// Counts an answer. `bytes_out` is the length of the body, coded as it went.
    pub(crate) fn answered(&self, worker: usize, label: Label<'_>, method: &Method, status: StatusCode, bytes_in: u64, bytes_out: u64) {
        let method = method_label(method);
        let mut shard = self.shards[worker % self.shards.len()].lock().unwrap_or_else(PoisonError::into_inner);
        let label = label.as_str();
        if !shard.contains_key(label) {
            shard.insert(label.into(), Tallies::new());
        }
        let tallies = shard.get_mut(label).expect("it was just put there");
        let key = (method, status.as_u16());
        let at = tallies.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            tallies.push((key, Tally::default()));
            tallies.len() - 1
        });
        let tally = &mut tallies[at].1;
        tally.requests += 1;
        tally.bytes_in += bytes_in;
        tally.bytes_out += bytes_out;
    }

    /// Counts a connection as long as the guard lives.
    pub(crate) fn connected(self: &std::sync::Arc<Self>, protocol: Protocol) -> Connected {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.open(protocol).fetch_add(1, Ordering::Relaxed);
        Connected { metrics: self.clone(), protocol }
    }

    /// Counts a commit; to be called from the publisher.
    pub(crate) fn committed(&self, commit: &Commit) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.versions.fetch_add(commit.changed.len() as u64, Ordering::Relaxed);
    }

    /// Open connections by protocol.
    pub(crate) fn clients(&self) -> serde_json::Value {
        serde_json::json!({ "http1": self.http1.load(Ordering::Relaxed), "http2": self.http2.load(Ordering::Relaxed), "http3": self.http3.load(Ordering::Relaxed) })
    }

    fn open(&self, protocol: Protocol) -> &AtomicI64 {
        match protocol {
            Protocol::Http1 => &self.http1,
            Protocol::Http2 => &self.http2,
            Protocol::Http3 => &self.http3,
        }
    }

    /// Everything as text.
    pub(crate) fn exposition(
        &self,
        snapshot: &Snapshot,
        sources: &[SourceStatus],
        held: bool,
        client_bytes: usize,
        now: SystemTime,
    ) -> String {
        let mut text = Text::default();
        let mut sums: BTreeMap<(Box<str>, &'static str, u16), Tally> = BTreeMap::new();
        for shard in &self.shards {
            for (label, tallies) in shard.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                for ((method, status), tally) in tallies {
                    let sum = sums.entry((label.clone(), method, *status)).or_default();
                    sum.requests += tally.requests;
                    sum.bytes_in += tally.bytes_in;
                    sum.bytes_out += tally.bytes_out;
                }
            }
        }
        type Column = (&'static str, &'static str, fn(&Tally) -> u64);
        let columns: [Column; 3] = [
            ("alto_requests_total", "Requests answered, by resource, method and status.", |tally| tally.requests),
            ("alto_request_bytes_total", "Bytes of request bodies, by resource, method and status.", |tally| tally.bytes_in),
            ("alto_response_bytes_total", "Bytes of response bodies as sent, by resource, method and status.", |tally| tally.bytes_out),
        ];
        for (name, help, of) in columns {
            text.family(name, "counter", help);
            for ((resource, method, status), tally) in &sums {
                let status = status.to_string();
                text.sample(name, &[("resource", resource), ("method", method), ("status", &status)], of(tally) as f64);
            }
        }
        text.family("alto_connections", "gauge", "Open connections of the public listener.");
        text.sample("alto_connections", &[("protocol", "http1")], self.http1.load(Ordering::Relaxed) as f64);
        text.sample("alto_connections", &[("protocol", "http2")], self.http2.load(Ordering::Relaxed) as f64);
        text.sample("alto_connections", &[("protocol", "http3")], self.http3.load(Ordering::Relaxed) as f64);
        text.one(
            "alto_connections_total",
            "counter",
            "Connections accepted by the public listener.",
            self.connections.load(Ordering::Relaxed) as f64,
        );
        text.one("alto_commits_total", "counter", "Commits that changed a resource.", self.commits.load(Ordering::Relaxed) as f64);
        text.one("alto_updates_total", "counter", "New versions of resources.", self.versions.load(Ordering::Relaxed) as f64);

        text.family("alto_resource_bytes", "gauge", "Bytes of a resource in its identity form.");
        for version in snapshot.versions.values() {
            text.sample("alto_resource_bytes", &[("resource", version.resource.as_str())], version.body.len() as f64);
        }
        text.family("alto_resource_seq", "gauge", "Number of the present version of a resource.");
        for version in snapshot.versions.values() {
            text.sample("alto_resource_seq", &[("resource", version.resource.as_str())], version.seq.0 as f64);
        }
        text.family("alto_resource_changed_timestamp_seconds", "gauge", "When the present version of a resource was committed.");
        for version in snapshot.versions.values() {
            text.sample("alto_resource_changed_timestamp_seconds", &[("resource", version.resource.as_str())], seconds(version.at));
        }
        text.family("alto_pids", "gauge", "PIDs of a network map.");
        for map in snapshot.guidance.network_maps() {
            text.sample("alto_pids", &[("resource", map.id.as_str())], map.pids.len() as f64);
        }
        text.family("alto_prefixes", "gauge", "Prefixes of a network map.");
        for map in snapshot.guidance.network_maps() {
            let prefixes: usize = map.map().pids.values().map(|group| group.ipv4.len() + group.ipv6.len()).sum();
            text.sample("alto_prefixes", &[("resource", map.id.as_str())], prefixes as f64);
        }

        text.family("alto_resource_entries", "gauge", "Address blocks of a network map, costs of a cost map.");
        for resource in snapshot.guidance.resources() {
            text.sample("alto_resource_entries", &[("resource", resource.id().as_str())], entries(resource) as f64);
        }
        text.family("alto_resource_memory_bytes", "gauge", "Bytes of a resource's table in memory, beside its encoded form.");
        for resource in snapshot.guidance.resources() {
            let bytes = match resource {
                Resource::Network(map) => map.table.memory_bytes(),
                Resource::Cost(map) => size_of_val(map.table.values.as_slice()),
            };
            text.sample("alto_resource_memory_bytes", &[("resource", resource.id().as_str())], bytes as f64);
        }

        text.family("alto_source_age_seconds", "gauge", "Time since the last good observation of a source.");
        for source in sources {
            if let Some(age) = source.observed_at.and_then(|at| now.duration_since(at).ok()) {
                text.sample("alto_source_age_seconds", &[("source", &source.name), ("kind", &source.kind)], age.as_secs_f64());
            }
        }
        text.family(
            "alto_source_trouble",
            "gauge",
            "1 while the newest input of a source is refused or overdue; its last good data is served.",
        );
        for source in sources {
            text.sample(
                "alto_source_trouble",
                &[("source", &source.name), ("kind", &source.kind)],
                f64::from(u8::from(source.trouble.is_some())),
            );
        }
        text.family("alto_source_observations_total", "counter", "Inputs of a source that were taken.");
        for source in sources {
            text.sample("alto_source_observations_total", &[("source", &source.name), ("kind", &source.kind)], source.observations as f64);
        }
        text.family("alto_source_refused_total", "counter", "Inputs of a source that were refused.");
        for source in sources {
            text.sample("alto_source_refused_total", &[("source", &source.name), ("kind", &source.kind)], source.refused as f64);
        }
        if let Some((cpu, resident)) = process() {
            text.one("process_cpu_seconds_total", "counter", "CPU time of the process.", cpu);
            text.one("process_resident_memory_bytes", "gauge", "Memory of the process.", resident);
        }
        text.one("alto_client_bytes", "gauge", "Bytes of long requests and of computed answers held for clients.", client_bytes as f64);
        text.one("alto_guard_holds", "gauge", "1 while the change guard holds maps back.", f64::from(u8::from(held)));
        text.0
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub(crate) struct Connected {
    metrics: std::sync::Arc<Metrics>,
    protocol: Protocol,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.metrics.open(self.protocol).fetch_sub(1, Ordering::Relaxed);
    }
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn entries(resource: &Resource) -> usize {
    match resource {
        Resource::Network(map) => {
            let blocks = |group: &AddressGroup| group.ipv4.len() + group.ipv6.len() + group.other.values().map(Vec::len).sum::<usize>();
            map.map().pids.values().map(blocks).sum()
        }
        Resource::Cost(map) => map.table.values.iter().filter(|cost| !cost.is_nan()).count(),
    }
}

/// CPU seconds and resident bytes of this process, where the system has `/proc`.
fn process() -> Option<(f64, f64)> {
    /// `USER_HZ` of every Linux that Rust runs on.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name, in parentheses; utime and stime are the 14th and 15th.
    let mut fields = stat.rsplit(") ").next()?.split(' ').skip(11);
    let ticks = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = resident.trim().strip_suffix(" kB")?.parse().ok()?;
    Some((ticks / TICKS_PER_SECOND, kib * 1024.0))
}

/// What is sent by the update services.
pub(super) fn updates(out: &mut String, transports: &Transports) {
    let mut text = Text(std::mem::take(out));
    type Column = (&'static str, &'static str, &'static str, fn(&Count) -> u64);
    let columns: [Column; 4] = [
        ("alto_clients", "gauge", "Clients that are kept up to date, by transport; of tips those whose poll waits.", |count| {
            count.now as u64
        }),
        ("alto_clients_refused_total", "counter", "Clients refused at the bound of their transport.", |count| count.refused),
        ("alto_updates_sent_total", "counter", "Updates sent, by transport.", |count| count.updates),
        ("alto_update_bytes_sent_total", "counter", "Bytes of updates sent, by transport.", |count| count.bytes),
    ];
    for (name, kind, help, of) in columns {
        text.family(name, kind, help);
        for count in transports.clients.counts() {
            text.sample(name, &[("transport", count.transport.as_str())], of(&count) as f64);
        }
    }
    let help = "Views of POST-mode resources held for TIPS clients.";
    text.one("alto_tips_views", "gauge", help, transports.tips.held() as f64);
    let help = "Control requests for update streams that are not there; many are guesses.";
    text.one("alto_stream_control_missed_total", "counter", help, transports.streams.missed.load(Ordering::Relaxed) as f64);
    let webhooks = transports.webhooks.tally();
    text.one("alto_notification_contacts", "gauge", "Addresses that notifications go to.", webhooks.contacts as f64);
    text.one("alto_notification_contacts_failing", "gauge", "Those of them that do not answer.", webhooks.failing as f64);
    text.one("alto_notifications_under_way", "gauge", "Notifications that are being sent.", webhooks.under_way as f64);
    *out = text.0;
}

/// Where versions are kept.
pub(super) fn store(out: &mut String, store: &StoreStatus) {
    let mut text = Text(std::mem::take(out));
    text.one("alto_store_bytes", "gauge", "What the data folder takes on the disk.", store.bytes as f64);
    let help = "1: nothing can be written to the data folder, commits are refused.";
    text.one("alto_store_trouble", "gauge", help, f64::from(u8::from(store.trouble.is_some())));
    *out = text.0;
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Exposition text as it grows.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{value}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn shards_are_summed_and_labels_escaped() {
        let metrics = Arc::new(Metrics::new(2));
        let id: ResourceId = "network-map".parse().expect("a resource id");
        for worker in 0..4 {
            metrics.answered(worker, Label::Resource(&id), &Method::GET, StatusCode::OK, 0, 10);
        }
        metrics.answered(0, Label::Other, &Method::from_bytes(b"BREW").expect("a token"), StatusCode::NOT_FOUND, 1, 2);
        let connected = metrics.connected(Protocol::Http2);
        let publisher = history::Publisher::new(history::Limits::default(), history::Guard::default());
        let source =
            SourceStatus { name: "a\"b".into(), kind: "frr-ospf".into(), observed_at: None, observations: 3, refused: 1, trouble: None };
        let text = metrics.exposition(&publisher.current(), &[source], false, 7, SystemTime::UNIX_EPOCH);
        for line in [
            "alto_requests_total{resource=\"network-map\",method=\"GET\",status=\"200\"} 4",
            "alto_response_bytes_total{resource=\"network-map\",method=\"GET\",status=\"200\"} 40",
            "alto_requests_total{resource=\"other\",method=\"other\",status=\"404\"} 1",
            "alto_connections{protocol=\"http2\"} 1",
            "alto_source_observations_total{source=\"a\\\"b\",kind=\"frr-ospf\"} 3",
            "alto_guard_holds 0",
            "alto_client_bytes 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        drop(connected);
        assert_eq!(metrics.clients()["http2"], 0);
    }
}
