//! What can be set of a source, and the bounds on what it may be fed.
use alto::cost::Metric;
use std::{collections::BTreeMap, fmt, str::FromStr};

/// What kind of input a source reads; the names of `source.kind` in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceKind {
    /// Topology Zoo GraphML.
    Graphml,
    /// REPETITA `.graph`.
    Repetita,
    /// `ietf-network:networks` JSON (RFC 8345, RFC 8346).
    IetfNetwork,
    /// FRR `show ip ospf database router|network|external json`.
    FrrOspf,
    /// FRR `show ip ospf mpls-te database json`, `show isis mpls-te database json`.
    FrrTe,
    /// Prefix tables: prefix or address range, then PID, AS number or country.
    PrefixCsv,
    /// AWS `ip-ranges.json`, or a series of its revisions (JSON lines).
    AwsIpRanges,
    /// A wide CSV: a row per source, a column per destination.
    LatencyMatrix,
    /// A long CSV: a row per pair.
    LatencyPairs,
}

impl SourceKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Graphml,
        Self::Repetita,
        Self::IetfNetwork,
        Self::FrrOspf,
        Self::FrrTe,
        Self::PrefixCsv,
        Self::AwsIpRanges,
        Self::LatencyMatrix,
        Self::LatencyPairs,
    ];

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Graphml => "graphml",
            Self::Repetita => "repetita",
            Self::IetfNetwork => "ietf-network",
            Self::FrrOspf => "frr-ospf",
            Self::FrrTe => "frr-te",
            Self::PrefixCsv => "prefix-csv",
            Self::AwsIpRanges => "aws-ip-ranges",
            Self::LatencyMatrix => "latency-matrix",
            Self::LatencyPairs => "latency-pairs",
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no [`SourceKind`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a kind of source (graphml, repetita, ietf-network, frr-ospf, frr-te, prefix-csv, aws-ip-ranges, latency-matrix, latency-pairs)"
)]
pub struct UnknownKind(pub String);

impl FromStr for SourceKind {
    type Err = UnknownKind;
    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownKind(text.into()))
    }
}

/// How a source is to be read. The default suits the files as their publishers write them.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// New names for routers (router id, node label, measurement id) and for groups of latency tables.
    pub names: BTreeMap<Box<str>, Box<str>>,
    /// Take country, location and addresses of routers only: no links, no prefixes, no matrices.
    pub routers_only: bool,
    /// `graphml`, `repetita`: where a link's delay comes from.
    pub delay: DelayFrom,
    /// Speed of light in fibre, for delays from coordinates. Default 0.2 km/us (2/3 of c); a detour can be allowed for with less.
    pub fibre_km_per_us: f64,
    /// `frr-te`: which bandwidth is the link's.
    pub bandwidth: BandwidthFrom,
    /// `graphml`: leave out nodes marked `Internal = 0` (customers, exchange points) and their links.
    pub internal_only: bool,
    /// `repetita`: drop the node number from labels like `0_NL`, when the names stay unique.
    pub strip_index: bool,
    /// `ietf-network`: which `network-id`; needed when the file has several layer 3 networks.
    pub network: Option<Box<str>>,
    /// `frr-ospf`, `frr-te`: also take stub networks (link and loopback prefixes) as prefixes of their router.
    pub stub_prefixes: bool,
    /// CSV kinds: which column is what, where the header does not say so itself.
    pub columns: Columns,
    /// Latency kinds: what was measured. Default `delay-rt`.
    pub metric: Option<Metric>,
    /// Latency kinds: the unit of the values.
    pub unit: Unit,
    /// `latency-pairs`: a pair stands for both directions unless its mirror is in the table as well.
    pub symmetric: bool,
    /// `aws-ip-ranges` series: how many revisions to apply after the first. Default all.
    pub revision: Option<usize>,
    /// Bounds.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            names: BTreeMap::new(),
            routers_only: false,
            delay: DelayFrom::Coordinates,
            fibre_km_per_us: 0.2,
            bandwidth: BandwidthFrom::Unreserved,
            internal_only: false,
            strip_index: true,
            network: None,
            stub_prefixes: false,
            columns: Columns::default(),
            metric: None,
            unit: Unit::Milliseconds,
            symmetric: false,
            revision: None,
            limits: Limits::default(),
        }
    }
}

/// Where a link's delay comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DelayFrom {
    /// Great circle between the ends' coordinates; no delay where an end has none.
    Coordinates,
    /// The file's own figure, microseconds. REPETITA's are about three times faster than light in fibre.
    File,
    /// No delays.
    Nowhere,
}

/// Which bandwidth of a traffic engineering database is the link's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BandwidthFrom {
    /// Available (RFC 7471) or unreserved (RFC 3630), the maximum where neither is there.
    Unreserved,
    /// The maximum, for networks whose routers do not track reservations.
    Maximum,
}

/// The unit of measured values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Multiplied by 1,000 to give the microseconds of RFC 9439.
    Milliseconds,
    /// As they are.
    Microseconds,
    /// As they are, for metrics that are no delay.
    Own,
}

/// Which column is what: a name of the header, or `#1`, `#2` ... by place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// The prefix.
    pub prefix: Option<Box<str>>,
    /// The PID, region, country: the group.
    pub group: Option<Box<str>>,
    /// The router it is behind.
    pub router: Option<Box<str>>,
    /// The origin AS.
    pub asn: Option<Box<str>>,
    /// `latency-pairs`: where it was measured from.
    pub source: Option<Box<str>>,
    /// `latency-pairs`: where it was measured to.
    pub destination: Option<Box<str>>,
    /// `latency-pairs`: what was measured.
    pub value: Option<Box<str>>,
}

/// Bounds on one source. A source over a bound is refused whole; its last good data stays in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file after decompression. Default 256 MiB: ten times the largest table known here (27 MB, two million ranges), so that
    /// a small compressed file cannot fill the memory.
    pub bytes_max: usize,
    /// Routers. Default 100,000: twenty-five times the largest real backbone graph known here.
    pub routers_max: usize,
    /// Directed links, also after transit networks were expanded to pairs. Default 1,000,000.
    pub links_max: usize,
    /// Prefixes. Default 4,000,000: four times a full table.
    pub prefixes_max: usize,
    /// Cells of a matrix. Default 16,000,000 (4,000 x 4,000, 128 MB).
    pub cells_max: usize,
    /// Oddities kept; the rest is only counted. Default 100: more than anyone reads.
    pub oddities_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes_max: 256 << 20,
            routers_max: 100_000,
            links_max: 1_000_000,
            prefixes_max: 4_000_000,
            cells_max: 16_000_000,
            oddities_max: 100,
        }
    }
}
