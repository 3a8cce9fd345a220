//! What a source may say. An observation is one source's whole present view; a new one replaces its last.
//!
//! Units: delays in microseconds one way, bandwidths in bits per second, coordinates in degrees (WGS 84).
use crate::validity::Stated;
use alto::{cost::Metric, endpoint::Prefix, id::Pid};
use std::net::IpAddr;

/// Everything one source sees at one time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// Routers (nodes) by their own id.
    pub routers: Vec<Router>,
    /// Directed links between them.
    pub links: Vec<Link>,
    /// Where addresses are.
    pub prefixes: Vec<PrefixAt>,
    /// Measured all-pairs costs.
    pub matrices: Vec<Matrix>,
    /// What was odd about the input: read, tolerated, worth telling an operator.
    pub oddities: Vec<Oddity>,
    /// For how long all this holds, where it says so.
    pub validity: Stated,
}

/// A router as a source sees it. `id` is what links and prefixes refer to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Router {
    /// Router id, node label, whatever names it in its source (after the source's `names` table was applied).
    pub id: Box<str>,
    /// Country name or code, as the source has it.
    pub country: Option<Box<str>>,
    /// Latitude, longitude.
    pub location: Option<(f64, f64)>,
    /// Addresses that are the router itself.
    pub addresses: Vec<IpAddr>,
}

/// One direction of a link. Missing attributes are filled by fusion from other sources, never invented.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Link {
    /// Router id at the sending end.
    pub from: Box<str>,
    /// Router id at the receiving end.
    pub to: Box<str>,
    /// The sender's interface address: tells parallel links apart.
    pub local_address: Option<IpAddr>,
    /// The receiver's interface address.
    pub remote_address: Option<IpAddr>,
    /// IGP metric; the unit of `routingcost`.
    pub igp_cost: Option<u32>,
    /// One-way delay, microseconds.
    pub delay_us: Option<f64>,
    /// Available (unreserved) or, when only that is known, maximum bandwidth, bits per second.
    pub bandwidth_bps: Option<f64>,
    /// Whether the source says both ends must confirm the link (link-state databases do: RFC 2328 section 16.1).
    pub needs_both_ends: bool,
}

/// A prefix and where it is; at least one of the places is set.
#[derive(Debug, Clone, PartialEq)]
pub struct PrefixAt {
    /// The addresses.
    pub prefix: Prefix,
    /// A group the source names itself (PID, region, country code, AS number ...).
    pub group: Option<Pid>,
    /// The router it is attached to or advertised by.
    pub router: Option<Box<str>>,
    /// Origin AS.
    pub asn: Option<u32>,
}

/// All-pairs measurements between groups or routers.
///
/// Shape `sources.len() × destinations.len()`, row-major, NaN where nothing was measured. Unit: the metric's own
/// (`delay-rt` and `delay-ow`: milliseconds on input are converted to the microseconds of RFC 9439).
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Which metric it measures.
    pub metric: Metric,
    /// Row names: group or router names.
    pub sources: Vec<Box<str>>,
    /// Column names.
    pub destinations: Vec<Box<str>>,
    /// The costs.
    pub values: Vec<f64>,
}

/// Something tolerated in the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oddity {
    /// Where: line, JSON pointer, record number.
    pub place: String,
    /// What and what was done about it.
    pub what: String,
}

/// The PID name for a group or router called `text` in its source: what RFC 7285 section 10.1 does not allow becomes `-`, the end past 64
/// characters is cut. `None` for an empty text. Prefix tables and latency tables go through this alike, so `Central US` meets itself.
pub fn group_name(text: &str) -> Option<Pid> {
    let text = text.trim();
    if let Ok(pid) = text.parse() {
        return Some(pid);
    }
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "-:@_.".contains(c) { c } else { '-' };
    text.chars().map(allowed).take(64).collect::<String>().parse().ok()
}
