//! Constraints on costs (RFC 7285 section 11.3.2.3; indices and the or of ands: RFC 8189 section 4.1.2).
//!
//! Units: a target is in the unit of the metric it tests. Invariant: a target is finite.
use std::{fmt, str::FromStr};

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// `eq`
    Equal,
    /// `gt`
    Greater,
    /// `lt`
    Less,
    /// `ge`
    GreaterOrEqual,
    /// `le`
    LessOrEqual,
}

impl Op {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "eq",
            Self::Greater => "gt",
            Self::Less => "lt",
            Self::GreaterOrEqual => "ge",
            Self::LessOrEqual => "le",
        }
    }
}

/// One predicate, `[1] le 6`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constraint {
    /// Which of the tested cost types ([`Query::tested`](crate::cost::Query::tested)); 0 where the text has none.
    pub index: usize,
    /// How to compare.
    pub op: Op,
    /// With what.
    pub value: f64,
}

impl Constraint {
    /// Whether `cost` passes. A cost that is not defined (NaN) passes nothing.
    pub fn holds(&self, cost: f64) -> bool {
        match self.op {
            Op::Equal => cost == self.value,
            Op::Greater => cost > self.value,
            Op::Less => cost < self.value,
            Op::GreaterOrEqual => cost >= self.value,
            Op::LessOrEqual => cost <= self.value,
        }
    }
}

/// A string that is not a constraint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a constraint: `[index] op number` with op eq, gt, lt, ge or le")]
pub struct InvalidConstraint {
    /// What was given.
    pub text: Box<str>,
}

impl FromStr for Constraint {
    type Err = InvalidConstraint;
    fn from_str(text: &str) -> Result<Self, InvalidConstraint> {
        parse(text).ok_or_else(|| InvalidConstraint { text: text.into() })
    }
}

fn parse(text: &str) -> Option<Constraint> {
    let mut words = text.split_ascii_whitespace();
    let mut word = words.next()?;
    let mut index = 0;
    if let Some(inner) = word.strip_prefix('[') {
        let digits = inner.strip_suffix(']')?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        index = digits.parse().ok()?;
        word = words.next()?;
    }
    let op = match word {
        "eq" => Op::Equal,
        "gt" => Op::Greater,
        "lt" => Op::Less,
        "ge" => Op::GreaterOrEqual,
        "le" => Op::LessOrEqual,
        _ => return None,
    };
    let value = crate::json::number(words.next()?)?;
    words.next().is_none().then_some(Constraint { index, op, value })
}

/// The index is written only where it is not 0, so that a legacy server understands what a legacy client could say.
impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.index != 0 {
            write!(f, "[{}] ", self.index)?;
        }
        let mut number = Vec::with_capacity(24);
        crate::json::write_number(&mut number, self.value);
        write!(f, "{} {}", self.op.as_str(), String::from_utf8_lossy(&number))
    }
}

/// An or of ands of predicates; none at all lets every cost pass.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Constraints {
    /// A cost passes when every predicate of one of these lists holds. No list is empty.
    pub any: Vec<Vec<Constraint>>,
}

impl Constraints {
    /// Whether there is nothing to test.
    pub fn is_empty(&self) -> bool {
        self.any.is_empty()
    }

    /// Whether the costs of one pair, in the order of the tested cost types, pass. An index out of range passes nothing.
    pub fn holds(&self, costs: &[f64]) -> bool {
        self.holds_by(|index| costs.get(index).copied().unwrap_or(f64::NAN))
    }

    /// The same, with the costs fetched when they are needed.
    pub fn holds_by(&self, cost: impl Fn(usize) -> f64) -> bool {
        self.any.is_empty() || self.any.iter().any(|all| all.iter().all(|one| one.holds(cost(one.index))))
    }

    /// Every predicate, whichever list it is in.
    pub fn iter(&self) -> impl Iterator<Item = &Constraint> {
        self.any.iter().flatten()
    }
}
