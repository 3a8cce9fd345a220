//! Collects problems, and reads the parts of a document that may be anything.
use super::{
    Problem, Severity, place,
    tree::{Member, Node, Value},
};
use crate::Limits;
use std::{fmt, str::FromStr};

/// The way to a value (RFC 6901), from the inside out.
#[derive(Clone, Copy)]
pub(super) struct Pointer<'p> {
    parent: Option<&'p Pointer<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Name(&'p str),
    Index(usize),
}

impl<'p> Pointer<'p> {
    pub const ROOT: Pointer<'static> = Pointer { parent: None, step: Step::Name("") };

    pub fn name(&'p self, name: &'p str) -> Pointer<'p> {
        Pointer { parent: Some(self), step: Step::Name(name) }
    }

    pub fn index(&'p self, index: usize) -> Pointer<'p> {
        Pointer { parent: Some(self), step: Step::Index(index) }
    }
}

impl fmt::Display for Pointer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parent) = self.parent else { return Ok(()) };
        write!(f, "{parent}/")?;
        match self.step {
            Step::Name(name) => f.write_str(&name.replace('~', "~0").replace('/', "~1")),
            Step::Index(index) => write!(f, "{index}"),
        }
    }
}

pub(super) struct Findings<'t> {
    text: &'t str,
    limits: &'t Limits,
    found: Vec<(usize, Problem)>,
    dropped: usize,
}

impl<'t> Findings<'t> {
    pub fn new(text: &'t str, limits: &'t Limits) -> Self {
        Self { text, limits, found: Vec::new(), dropped: 0 }
    }

    fn add(
        &mut self,
        at: usize,
        pointer: &Pointer<'_>,
        rule: &'static str,
        rfc_section: &'static str,
        severity: Severity,
        message: String,
    ) {
        if self.found.len() >= self.limits.problems_max {
            self.dropped += 1;
            return;
        }
        let problem = Problem { pointer: pointer.to_string(), line: 0, column: 0, rule, rfc_section, severity, message };
        self.found.push((at, problem));
    }

    pub fn error(&mut self, node: &Node<'_>, pointer: &Pointer<'_>, rule: &'static str, section: &'static str, message: String) {
        self.add(node.at, pointer, rule, section, Severity::Error, message);
    }

    pub fn error_at(&mut self, at: usize, pointer: &Pointer<'_>, rule: &'static str, section: &'static str, message: String) {
        self.add(at, pointer, rule, section, Severity::Error, message);
    }

    pub fn warning(&mut self, node: &Node<'_>, pointer: &Pointer<'_>, rule: &'static str, section: &'static str, message: String) {
        self.add(node.at, pointer, rule, section, Severity::Warning, message);
    }

    pub fn note(&mut self, at: usize, pointer: &Pointer<'_>, rule: &'static str, section: &'static str, message: String) {
        self.add(at, pointer, rule, section, Severity::Note, message);
    }

    pub fn warning_at(&mut self, at: usize, pointer: &Pointer<'_>, rule: &'static str, section: &'static str, message: String) {
        self.add(at, pointer, rule, section, Severity::Warning, message);
    }

    /// In the order of the text, with lines and columns.
    pub fn finish(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|(at, _)| *at);
        let mut problems = place(self.text, self.found);
        if self.dropped > 0 {
            let message = format!("{} more problems are not listed", self.dropped);
            let (line, column) = problems.last().map_or((1, 1), |last| (last.line, last.column));
            let rfc_section = "RFC 7285";
            problems.push(Problem {
                pointer: String::new(),
                line,
                column,
                rule: "and-more",
                rfc_section,
                severity: Severity::Note,
                message,
            });
        }
        problems
    }

    fn wrong_type(&mut self, node: &Node<'_>, pointer: &Pointer<'_>, wanted: &str, section: &'static str) {
        let message = format!("is {} where {wanted} is wanted", node.kind());
        self.error(node, pointer, "wrong-type", section, message);
    }

    /// The members, or a finding.
    pub fn object<'n, 'a>(&mut self, node: &'n Node<'a>, pointer: &Pointer<'_>, section: &'static str) -> Option<&'n [Member<'a>]> {
        match &node.value {
            Value::Object(members) => Some(members),
            _ => {
                self.wrong_type(node, pointer, "an object", section);
                None
            }
        }
    }

    /// The elements, or a finding.
    pub fn array<'n, 'a>(&mut self, node: &'n Node<'a>, pointer: &Pointer<'_>, section: &'static str) -> Option<&'n [Node<'a>]> {
        match &node.value {
            Value::Array(nodes) => Some(nodes),
            _ => {
                self.wrong_type(node, pointer, "an array", section);
                None
            }
        }
    }

    /// The text, or a finding.
    pub fn string<'n>(&mut self, node: &'n Node<'_>, pointer: &Pointer<'_>, section: &'static str) -> Option<&'n str> {
        match &node.value {
            Value::String(text) => Some(text),
            _ => {
                self.wrong_type(node, pointer, "a string", section);
                None
            }
        }
    }

    /// The text as what it should be, or a finding.
    pub fn parsed<T: FromStr>(&mut self, node: &Node<'_>, pointer: &Pointer<'_>, section: &'static str) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        let text = self.string(node, pointer, section)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(why) => {
                let message = self.clip(&T::Err::to_string(&why));
                self.error(node, pointer, "invalid-value", section, message);
                None
            }
        }
    }

    /// A member's name as what it should be, or a finding.
    pub fn parsed_name<T: FromStr>(&mut self, member: &Member<'_>, pointer: &Pointer<'_>, section: &'static str) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        match member.name.parse() {
            Ok(value) => Some(value),
            Err(why) => {
                let message = self.clip(&T::Err::to_string(&why));
                self.error_at(member.name_at, pointer, "invalid-name", section, message);
                None
            }
        }
    }

    fn clip(&self, message: &str) -> String {
        let max = 64 + self.limits.error_value_bytes_max;
        if message.len() <= max { message.to_owned() } else { message.chars().take(max).chain("...".chars()).collect() }
    }

    /// A member that must be there, or a finding.
    pub fn required<'n, 'a>(
        &mut self,
        node: &'n Node<'a>,
        pointer: &Pointer<'_>,
        name: &str,
        section: &'static str,
    ) -> Option<&'n Node<'a>> {
        self.object(node, pointer, section)?;
        let found = node.get(name);
        if found.is_none() {
            self.error(node, pointer, "missing-member", section, format!("has no member {name:?}"));
        }
        found
    }

    /// A version tag, or findings.
    pub fn version_tag(&mut self, node: &Node<'_>, pointer: &Pointer<'_>) {
        const SECTION: &str = "RFC 7285 section 10.3";
        if let Some(id) = self.required(node, pointer, "resource-id", SECTION) {
            self.parsed::<crate::id::ResourceId>(id, &pointer.name("resource-id"), "RFC 7285 section 10.2");
            if let Some(tag) = self.required(node, pointer, "tag", SECTION) {
                self.parsed::<crate::id::Tag>(tag, &pointer.name("tag"), SECTION);
            }
        }
    }
}
