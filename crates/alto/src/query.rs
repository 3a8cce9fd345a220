//! What a request for costs asks for, whether of PIDs or of endpoints
//! (RFC 7285 sections 11.3.2.3 and 11.5.1.3; RFC 8189 sections 4.1.2 and 4.2.2).
//!
//! Invariant: `cost_types` is not empty, holds one type unless `multi`, and every index of `constraints` is one of [`Query::tested`].
use crate::{
    ErrorBody,
    cost::{Constraint, Constraints, CostType},
    json::{self, Path, Reader, Type},
};
use std::borrow::Cow;

/// The cost types asked for and the constraints on them.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// `cost-type`, or `multi-cost-types` in the client's order.
    pub cost_types: Vec<CostType>,
    /// Whether the client said `multi-cost-types`, and so gets arrays, even of one value (RFC 8189 section 4.1.2).
    pub multi: bool,
    /// `testable-cost-types`; without it the types asked for are the ones tested.
    pub testable: Option<Vec<CostType>>,
    /// `constraints` or `or-constraints`.
    pub constraints: Constraints,
}

impl Query {
    /// Asks for one cost type, unconstrained.
    pub fn one(cost_type: CostType) -> Self {
        Self { cost_types: vec![cost_type], multi: false, testable: None, constraints: Constraints::default() }
    }

    /// The cost types that the indices of the constraints count (RFC 8189 section 4.1.2).
    pub fn tested(&self) -> &[CostType] {
        self.testable.as_deref().unwrap_or(&self.cost_types)
    }
}

const COST_TYPE: &str = "cost-type";
const MULTI: &str = "multi-cost-types";
const TESTABLE: &str = "testable-cost-types";
const CONSTRAINTS: &str = "constraints";
const OR_CONSTRAINTS: &str = "or-constraints";

/// Predicates with the client's text of each, which an error must repeat.
type Texts<'a> = Vec<Vec<(Constraint, Cow<'a, str>)>>;

/// The members of a request that make its [`Query`], as they come in.
#[derive(Default)]
pub(crate) struct Fields<'a> {
    cost_type: Option<CostType>,
    multi: Option<(Vec<CostType>, &'a str)>,
    testable: Option<Vec<CostType>>,
    constraints: Option<Texts<'a>>,
    or_constraints: Option<(Texts<'a>, &'a str)>,
    predicates: usize,
}

impl<'a> Fields<'a> {
    /// Reads the member if it is one of ours.
    pub(crate) fn read(&mut self, reader: &mut Reader<'a>, name: &str) -> Result<bool, ErrorBody> {
        let root = Path::ROOT;
        let path = root.child(name);
        let start = reader.offset();
        match name {
            COST_TYPE => self.cost_type = Some(CostType::read_asked(reader, &path)?),
            MULTI => self.multi = Some((CostType::read_list(reader, &path, CostType::read_asked)?, reader.since(start))),
            TESTABLE => self.testable = Some(CostType::read_list(reader, &path, CostType::read_asked)?),
            CONSTRAINTS => self.constraints = Some(vec![self.read_all(reader, &path)?]),
            OR_CONSTRAINTS => self.or_constraints = Some((self.read_any(reader, &path)?, reader.since(start))),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn read_all(&mut self, reader: &mut Reader<'a>, path: &Path<'_>) -> Result<Vec<(Constraint, Cow<'a, str>)>, ErrorBody> {
        let mut all = Vec::new();
        reader.array(path, |reader| {
            self.predicates += 1;
            let max = reader.limits.constraints_max;
            if self.predicates > max {
                return Err(reader.too_many(path, "constraints", max));
            }
            reader.element_of(Type::String, path)?;
            let text = reader.string()?;
            let constraint = text.parse().map_err(|_| path.invalid(&text, reader.limits))?;
            all.push((constraint, text));
            Ok(())
        })?;
        Ok(all)
    }

    fn read_any(&mut self, reader: &mut Reader<'a>, path: &Path<'_>) -> Result<Texts<'a>, ErrorBody> {
        let mut any = Vec::new();
        reader.array(path, |reader| {
            reader.element_of(Type::Array, path)?;
            let start = reader.offset();
            let all = self.read_all(reader, path)?;
            if all.is_empty() {
                // "MUST NOT contain any empty array of AND predicates."
                return Err(path.invalid(reader.since(start), reader.limits));
            }
            any.push(all);
            Ok(())
        })?;
        if any.is_empty() { Err(path.invalid("[]", reader.limits)) } else { Ok(any) }
    }

    pub(crate) fn finish(self, reader: &Reader<'_>) -> Result<Query, ErrorBody> {
        let root = Path::ROOT;
        let (cost_types, multi) = match (self.cost_type, self.multi) {
            (Some(cost_type), None) => (vec![cost_type], false),
            (None, Some((cost_types, _))) => (cost_types, true),
            // "MUST specify either but MUST NOT specify both."
            (Some(_), Some((_, text))) => return Err(root.child(MULTI).invalid(text, reader.limits)),
            (None, None) => return Err(root.missing(COST_TYPE)),
        };
        let (field, texts) = match (self.constraints, self.or_constraints) {
            (Some(_), Some((_, text))) => return Err(root.child(OR_CONSTRAINTS).invalid(text, reader.limits)),
            (Some(texts), None) => (CONSTRAINTS, texts),
            (None, Some((texts, _))) => (OR_CONSTRAINTS, texts),
            (None, None) => (CONSTRAINTS, Vec::new()),
        };
        let tested = self.testable.as_ref().map_or(cost_types.len(), Vec::len);
        let mut any = Vec::with_capacity(texts.len());
        for all in texts.into_iter().filter(|all| !all.is_empty()) {
            if let Some((_, text)) = all.iter().find(|(constraint, _)| constraint.index >= tested) {
                return Err(root.child(field).invalid(text, reader.limits));
            }
            any.push(all.into_iter().map(|(constraint, _)| constraint).collect());
        }
        Ok(Query { cost_types, multi, testable: self.testable, constraints: Constraints { any } })
    }
}

impl Query {
    /// Writes the members of a request that make this query.
    pub(crate) fn write(&self, request: &mut json::Object<'_>) {
        let list = |out: &mut Vec<u8>, types: &[CostType]| json::array(out, types, |out, cost_type| cost_type.write_asked(out));
        if self.multi {
            list(request.key(MULTI), &self.cost_types);
        } else if let [cost_type] = &self.cost_types[..] {
            cost_type.write_asked(request.key(COST_TYPE));
        }
        if let Some(testable) = &self.testable {
            list(request.key(TESTABLE), testable);
        }
        let write_all = |out: &mut Vec<u8>, all: &Vec<Constraint>| json::array(out, all, json::write_text);
        match &self.constraints.any[..] {
            [] => {}
            // The one list in the form that every server with constraints knows.
            [all] => write_all(request.key(CONSTRAINTS), all),
            any => json::array(request.key(OR_CONSTRAINTS), any, write_all),
        }
    }
}
