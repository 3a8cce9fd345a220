//! Cost types: metric, mode (RFC 7285 sections 6.1 and 10.5 to 10.7), constraints (11.3.2.3), multi-cost (RFC 8189).
use crate::{
    ErrorBody,
    json::{self, Path, Reader, Type},
};
use std::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

pub use crate::{
    constraint::{Constraint, Constraints, InvalidConstraint, Op},
    query::Query,
};

/// `routingcost`, the one metric every server has (RFC 7285 section 6.1.1.1). Unit: the provider's own.
pub const ROUTINGCOST: &str = "routingcost";
/// `hopcount` (RFC 7285 section 14.2, RFC 9439 section 4.5). Unit: hops.
pub const HOPCOUNT: &str = "hopcount";
/// `delay-ow`, one way (RFC 9439 section 4.1). Unit: microseconds.
pub const DELAY_OW: &str = "delay-ow";
/// `delay-rt`, round trip (RFC 9439 section 4.2). Unit: microseconds.
pub const DELAY_RT: &str = "delay-rt";
/// `delay-variation` (RFC 9439 section 4.3). Unit: microseconds.
pub const DELAY_VARIATION: &str = "delay-variation";
/// `lossrate` (RFC 9439 section 4.4). Unit: percent.
pub const LOSSRATE: &str = "lossrate";
/// `tput`, TCP throughput (RFC 9439 section 5.1). Unit: bytes per second.
pub const TPUT: &str = "tput";
/// `bw-residual` (RFC 9439 section 5.2). Unit: bytes per second.
pub const BW_RESIDUAL: &str = "bw-residual";
/// `bw-available` (RFC 9439 section 5.3). Unit: bytes per second.
pub const BW_AVAILABLE: &str = "bw-available";

/// What a cost counts, `routingcost`, `hopcount`, `delay-ow` ... (RFC 7285 section 10.6).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Metric(Arc<str>);

impl Metric {
    /// As on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The metric every server has.
    pub fn routingcost() -> Self {
        Self(ROUTINGCOST.into())
    }
}

/// A string that is not a cost metric.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid cost metric")]
pub struct InvalidMetric {
    /// What was given.
    pub text: Box<str>,
}

impl FromStr for Metric {
    type Err = InvalidMetric;
    fn from_str(text: &str) -> Result<Self, InvalidMetric> {
        // Section 10.6: "priv:" alone is not an identifier.
        let valid =
            (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-:_.".contains(&b)) && text != "priv:";
        if valid { Ok(Self(text.into())) } else { Err(InvalidMetric { text: text.into() }) }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Metric {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for Metric {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

/// How a cost is to be read (RFC 7285 section 6.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    /// Numbers in the metric's unit.
    Numerical,
    /// Ranks: non-negative integers, lower is preferred.
    Ordinal,
}

impl Mode {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Numerical => "numerical",
            Self::Ordinal => "ordinal",
        }
    }
}

/// A string that is neither `numerical` nor `ordinal`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a cost mode; it is numerical or ordinal")]
pub struct InvalidMode {
    /// What was given.
    pub text: Box<str>,
}

impl FromStr for Mode {
    type Err = InvalidMode;
    fn from_str(text: &str) -> Result<Self, InvalidMode> {
        match text {
            "numerical" => Ok(Self::Numerical),
            "ordinal" => Ok(Self::Ordinal),
            _ => Err(InvalidMode { text: text.into() }),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Mode {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

/// A metric in a mode (RFC 7285 section 10.7). Equality is of metric and mode: the description is for people.
#[derive(Debug, Clone)]
pub struct CostType {
    /// How to read it.
    pub mode: Mode,
    /// What it counts.
    pub metric: Metric,
    /// For people; no part of equality on the wire.
    pub description: Option<Box<str>>,
}

impl CostType {
    /// `metric` as numbers in its unit.
    pub fn numerical(metric: Metric) -> Self {
        Self { mode: Mode::Numerical, metric, description: None }
    }

    /// `metric` as ranks.
    pub fn ordinal(metric: Metric) -> Self {
        Self { mode: Mode::Ordinal, metric, description: None }
    }
}

impl CostType {
    pub(crate) fn read(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Self, ErrorBody> {
        Self::read_members(reader, path, true)
    }

    /// As a request has it: "if present, the ALTO server MUST ignore the "description" field" (section 11.3.2.3), whatever it holds.
    pub(crate) fn read_asked(reader: &mut Reader<'_>, path: &Path<'_>) -> Result<Self, ErrorBody> {
        Self::read_members(reader, path, false)
    }

    fn read_members(reader: &mut Reader<'_>, path: &Path<'_>, described: bool) -> Result<Self, ErrorBody> {
        let (mut mode, mut metric, mut description) = (None, None, None);
        reader.object(path, |reader, key| {
            match &**key {
                "cost-mode" => mode = Some(reader.parsed_field(&path.child(key))?),
                "cost-metric" => metric = Some(reader.parsed_field(&path.child(key))?),
                "description" if described => description = Some(reader.string_field(&path.child(key))?.into()),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(Self {
            mode: mode.ok_or_else(|| path.missing("cost-mode"))?,
            metric: metric.ok_or_else(|| path.missing("cost-metric"))?,
            description,
        })
    }

    /// `multi-cost-types` and `testable-cost-types` (RFC 8189 section 4.1.2): at least one.
    pub(crate) fn read_list(
        reader: &mut Reader<'_>,
        path: &Path<'_>,
        read: fn(&mut Reader<'_>, &Path<'_>) -> Result<Self, ErrorBody>,
    ) -> Result<Vec<Self>, ErrorBody> {
        let mut list = Vec::new();
        let max = reader.limits.cost_types_max;
        reader.array(path, |reader| {
            if list.len() == max {
                return Err(reader.too_many(path, "cost types", max));
            }
            reader.element_of(Type::Object, path)?;
            list.push(read(reader, path)?);
            Ok(())
        })?;
        if list.is_empty() { Err(path.invalid("[]", reader.limits)) } else { Ok(list) }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        self.write_members(out, self.description.as_deref());
    }

    /// For a request: "the ALTO client SHOULD omit the "description" field" (section 11.3.2.3).
    pub(crate) fn write_asked(&self, out: &mut Vec<u8>) {
        self.write_members(out, None);
    }

    fn write_members(&self, out: &mut Vec<u8>, description: Option<&str>) {
        let mut object = json::Object::new(out);
        object.string("cost-mode", self.mode.as_str());
        object.string("cost-metric", self.metric.as_str());
        if let Some(description) = description {
            object.string("description", description);
        }
        object.end();
    }
}

impl PartialEq for CostType {
    fn eq(&self, other: &Self) -> bool {
        self.mode == other.mode && self.metric == other.metric
    }
}

impl Eq for CostType {}

impl Hash for CostType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.mode.hash(state);
        self.metric.hash(state);
    }
}

impl PartialOrd for CostType {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for CostType {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.metric.cmp(&other.metric).then(self.mode.cmp(&other.mode))
    }
}

/// `numerical routingcost`, for people.
impl fmt::Display for CostType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.mode, self.metric)
    }
}
