//! What an operator changes in the costs between PIDs (RFC 7285 section 5.2 leaves that to the provider; RFC 7971 section 3.4).
//!
//! A policy is a list of rules, tried in order on every cost, measured or computed. A rule is for the pairs that its two patterns
//! match; a pair inside one PID is left alone unless both patterns name that PID literally, so that `* -> X` means "on the way to X".
//! Units: the metric's own. Invariant: what comes out is no cost (NaN), or finite and not negative; `hopcount` stays an integer.
use crate::{Error, Limits, glob::Glob};
use alto::{cost::Metric, id::Pid};
use std::fmt;

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Which source PIDs.
    pub sources: Glob,
    /// Which destination PIDs.
    pub destinations: Glob,
    /// Which metric; `None` is each.
    pub metric: Option<Metric>,
    /// What to do.
    pub action: Action,
}

/// What a rule does to a cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    /// Adds to a cost that there is; the sum does not go below zero.
    Add(f64),
    /// Multiplies a cost that there is.
    Multiply(f64),
    /// There is no cost from here to there, whatever later rules say.
    Forbid,
    /// The cost where there is none.
    Default(f64),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metric = self.metric.as_ref().map_or("every metric", Metric::as_str);
        match self.action {
            Action::Add(value) => write!(f, "add {value} to")?,
            Action::Multiply(value) => write!(f, "multiply by {value}")?,
            Action::Forbid => write!(f, "forbid")?,
            Action::Default(value) => write!(f, "default {value} for")?,
        }
        write!(f, " {metric}, {} -> {}", self.sources, self.destinations)
    }
}

/// Refuses rules that no cost could come out of.
pub(crate) fn check(rules: &[Rule], limits: &Limits) -> Result<(), Error> {
    if rules.len() > limits.rules_max {
        return Err(Error::TooManyRules { asked: rules.len(), limit: limits.rules_max });
    }
    for (rule, Rule { action, .. }) in rules.iter().enumerate() {
        let (value, why) = match *action {
            Action::Add(value) if !value.is_finite() => (value, "it must be a finite number"),
            Action::Multiply(value) | Action::Default(value) if !(value.is_finite() && value >= 0.0) => {
                (value, "it must be finite and not negative")
            }
            _ => continue,
        };
        return Err(Error::BadRule { rule, value, why });
    }
    Ok(())
}

/// The rules for one metric, matched against the PIDs of a table once.
#[derive(Debug)]
pub(crate) struct Compiled<'a> {
    /// With the place in the policy.
    rules: Vec<(usize, &'a Rule, Vec<bool>)>,
    /// Per row the rules that match its source.
    per_row: Vec<Vec<u32>>,
    whole_numbers: bool,
}

impl<'a> Compiled<'a> {
    pub(crate) fn new(rules: &'a [Rule], metric: &Metric, sources: &[Pid], destinations: &[Pid]) -> Self {
        let for_metric = rules.iter().enumerate().filter(|(_, rule)| rule.metric.as_ref().is_none_or(|of| of == metric));
        let rules: Vec<_> = for_metric
            .map(|(place, rule)| (place, rule, destinations.iter().map(|pid| rule.destinations.matches(pid.as_str())).collect::<Vec<_>>()))
            .collect();
        let per_row = if rules.is_empty() {
            Vec::new()
        } else {
            let matching =
                |pid: &Pid| (0..rules.len()).filter(|&at| rules[at].1.sources.matches(pid.as_str())).map(|at| at as u32).collect();
            sources.iter().map(matching).collect()
        };
        Self { rules, per_row, whole_numbers: metric.as_str() == "hopcount" }
    }

    /// The cost of row × column after all rules. `inside`: both are one PID. `seen` is told each rule that applied and the cost after it.
    pub(crate) fn apply(&self, row: usize, column: usize, inside: bool, cost: f64, mut seen: impl FnMut(usize, &Rule, f64)) -> f64 {
        let Some(matching) = self.per_row.get(row) else { return cost };
        let mut cost = cost;
        for &at in matching {
            let (place, rule, columns) = &self.rules[at as usize];
            if !columns[column] || (inside && !(rule.sources.is_literal() && rule.destinations.is_literal())) {
                continue;
            }
            let after = match rule.action {
                Action::Forbid => {
                    seen(*place, rule, f64::NAN);
                    return f64::NAN;
                }
                Action::Add(value) if !cost.is_nan() => cost + value,
                Action::Multiply(value) if !cost.is_nan() => cost * value,
                Action::Default(value) if cost.is_nan() => value,
                _ => continue,
            };
            cost = self.admissible(after);
            seen(*place, rule, cost);
        }
        cost
    }

    fn admissible(&self, cost: f64) -> f64 {
        // `max` also makes a zero of a negative zero's sign-less kin; adding zero clears the sign itself.
        let cost = cost.clamp(0.0, f64::MAX) + 0.0;
        if self.whole_numbers { cost.round() } else { cost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pids(names: &[&str]) -> Vec<Pid> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn rule(sources: &str, destinations: &str, metric: Option<&str>, action: Action) -> Rule {
        Rule { sources: sources.into(), destinations: destinations.into(), metric: metric.map(|name| name.parse().unwrap()), action }
    }

    #[test]
    fn rules_in_order() {
        let pids = pids(&["A", "B", "T1", "T2"]);
        let (a, b, t1, t2) = (0, 1, 2, 3);
        let rules = [
            rule("*", "T*", Some("routingcost"), Action::Add(10.0)),
            rule("A", "T1", None, Action::Multiply(2.0)),
            rule("B", "T2", None, Action::Forbid),
            rule("*", "*", None, Action::Default(99.0)),
            rule("A", "A", None, Action::Add(1.0)),
            rule("A", "B", Some("routingcost"), Action::Add(-5.0)),
        ];
        let cases = [
            ("routingcost", a, t1, 1.0, 22.0),
            ("routingcost", a, t2, 1.0, 11.0),
            ("routingcost", b, t2, 1.0, f64::NAN),
            ("routingcost", b, t2, f64::NAN, f64::NAN),
            ("routingcost", b, a, f64::NAN, 99.0),
            ("routingcost", t1, t1, 0.0, 0.0),
            ("routingcost", t1, t1, f64::NAN, f64::NAN),
            ("routingcost", a, a, 0.0, 1.0),
            ("routingcost", a, b, 3.0, 0.0),
            ("hopcount", a, t1, 1.5, 3.0),
            ("hopcount", b, a, 4.0, 4.0),
        ];
        for (metric, row, column, cost, want) in cases {
            let compiled = Compiled::new(&rules, &metric.parse().unwrap(), &pids, &pids);
            let got = compiled.apply(row, column, row == column, cost, |_, _, _| {});
            assert!(got == want || (got.is_nan() && want.is_nan()), "{metric} {row} {column} {cost}: {got}, not {want}");
        }
    }

    #[test]
    fn bad_rules_are_refused() {
        for (action, good) in [
            (Action::Add(f64::NAN), false),
            (Action::Add(-1.0), true),
            (Action::Multiply(-1.0), false),
            (Action::Multiply(f64::INFINITY), false),
            (Action::Default(0.0), true),
            (Action::Default(-0.5), false),
            (Action::Forbid, true),
        ] {
            assert_eq!(check(&[rule("*", "*", None, action)], &Limits::default()).is_ok(), good, "{action:?}");
        }
        let many = vec![rule("*", "*", None, Action::Forbid); 3];
        assert_eq!(check(&many, &Limits { rules_max: 2, ..Limits::default() }), Err(Error::TooManyRules { asked: 3, limit: 2 }));
    }

    #[test]
    fn overflow_stays_a_number() {
        let pids = pids(&["A", "B"]);
        let rules = [rule("*", "*", None, Action::Multiply(1e300)), rule("*", "*", None, Action::Multiply(1e300))];
        let compiled = Compiled::new(&rules, &"routingcost".parse().unwrap(), &pids, &pids);
        assert_eq!(compiled.apply(0, 1, false, 2.0, |_, _, _| {}), f64::MAX);
        assert_eq!(rules[0].to_string(), format!("multiply by {} every metric, * -> *", 1e300));
    }
}
