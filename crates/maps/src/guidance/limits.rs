//! Bounds on what one request may ask for: each with its name, default and reason.

/// At a bound the request is refused; nothing is cut off silently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bounds on reading the request itself. The default is that of [`alto::Limits`] but 4 MiB of body: a hundred thousand
    /// endpoints, as many as a list may have.
    pub requests: alto::Limits,
    /// Source × destination pairs of one endpoint cost request. Default 1,000,000: as many as a map of 1,000 PIDs, some
    /// 30 MB of JSON and tens of milliseconds of CPU. Filtered cost maps need no such bound: their map is one.
    pub pairs_max: usize,
    /// Endpoints × properties of one endpoint property request. Default 1,000,000, for the same reason.
    pub properties_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let requests = alto::Limits { body_bytes_max: 4 << 20, ..alto::Limits::default() };
        Self { requests, pairs_max: 1_000_000, properties_max: 1_000_000 }
    }
}
