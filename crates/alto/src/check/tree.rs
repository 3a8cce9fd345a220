//! A document as a tree that remembers where everything stood, duplicates and all.
use super::{Problem, Severity};
use crate::{
    ErrorBody, Limits,
    json::{self, Path, Reader, Type},
};
use std::borrow::Cow;

/// A value and the offset of its first byte.
pub(super) struct Node<'a> {
    pub at: usize,
    pub value: Value<'a>,
}

pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    /// As text and as read; the text may be of an infinite number.
    Number(&'a str, f64),
    String(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    Object(Vec<Member<'a>>),
}

pub(super) struct Member<'a> {
    pub name: Cow<'a, str>,
    pub name_at: usize,
    pub node: Node<'a>,
}

impl<'a> Node<'a> {
    /// The first member of that name.
    pub fn get(&self, name: &str) -> Option<&Node<'a>> {
        match &self.value {
            Value::Object(members) => members.iter().find(|member| member.name == name).map(|member| &member.node),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn members(&self) -> &[Member<'a>] {
        match &self.value {
            Value::Object(members) => members,
            _ => &[],
        }
    }

    pub fn elements(&self) -> &[Node<'a>] {
        match &self.value {
            Value::Array(nodes) => nodes,
            _ => &[],
        }
    }

    /// What it is, for people.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(..) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        }
    }
}

/// The tree, or the one problem that hides all others.
pub(super) fn parse<'a>(document: &'a [u8], limits: &'a Limits) -> Result<Node<'a>, Problem> {
    let valid = match std::str::from_utf8(document) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(&document[..e.valid_up_to()]).expect("valid up to there"),
    };
    let problem = |error: ErrorBody, at: usize| {
        let (line, column) = json::position(valid, at);
        let what = error.syntax_error.unwrap_or_default();
        // The place has members of its own.
        let message = what.split(" at line ").next().unwrap_or_default().to_owned();
        let pointer = String::new();
        Problem { pointer, line, column, rule: "syntax", rfc_section: "RFC 8259", severity: Severity::Error, message }
    };
    let mut reader =
        Reader::new(document, limits).map_err(|error| problem(error, if valid.len() < document.len() { valid.len() } else { 0 }))?;
    let root = node(&mut reader).map_err(|error| problem(error, reader.fault()))?;
    reader.end().map_err(|error| problem(error, reader.fault()))?;
    Ok(root)
}

fn node<'a>(reader: &mut Reader<'a>) -> Result<Node<'a>, ErrorBody> {
    let at = reader.offset();
    let value = match reader.peek()? {
        Type::Null => {
            reader.null()?;
            Value::Null
        }
        Type::Bool => Value::Bool(reader.bool_field(&Path::ROOT)?),
        Type::Number => {
            let (number, text) = reader.number_field(&Path::ROOT)?;
            Value::Number(text, number)
        }
        Type::String => Value::String(reader.string()?),
        Type::Array => {
            let mut nodes = Vec::new();
            reader.array(&Path::ROOT, |reader| {
                nodes.push(node(reader)?);
                Ok(())
            })?;
            Value::Array(nodes)
        }
        Type::Object => {
            let mut members = Vec::new();
            reader.map(&Path::ROOT, |reader, name_at, name| {
                members.push(Member { name, name_at, node: node(reader)? });
                Ok(())
            })?;
            Value::Object(members)
        }
    };
    Ok(Node { at, value })
}
