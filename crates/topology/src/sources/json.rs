//! A JSON value with the way to it, so that a complaint can name its JSON pointer (RFC 6901).
use super::error::{Place, Refusal};
use serde_json::Value;
use std::net::IpAddr;

/// A value inside a document.
#[derive(Clone, Copy)]
pub(super) struct Node<'v, 'p> {
    pub(super) value: &'v Value,
    key: Key<'v>,
    parent: Option<&'p Node<'v, 'p>>,
}

#[derive(Clone, Copy)]
enum Key<'v> {
    Root,
    Member(&'v str),
    Index(usize),
}

const ADVICE: &str = "give the JSON as the router or publisher wrote it";

/// Parses a document. Nesting is bounded (128) by serde_json.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(bytes).map_err(|why| {
        let advice =
            if why.is_eof() { "the file is truncated: write it again, whole" } else { "correct the JSON there, or write the file again" };
        let text = why.to_string();
        let what = text.split(" at line ").next().unwrap_or(&text);
        Refusal::line(why.line() as u64, format!("{what} (column {})", why.column()), advice)
    })
}

impl<'v, 'p> Node<'v, 'p> {
    pub(super) fn root(value: &'v Value) -> Self {
        Self { value, key: Key::Root, parent: None }
    }

    pub(super) fn pointer(&self) -> String {
        let mut pointer = self.parent.map(Node::pointer).unwrap_or_default();
        match self.key {
            Key::Root => {}
            Key::Member(name) => {
                pointer.push('/');
                pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
            }
            Key::Index(ix) => {
                pointer.push('/');
                pointer.push_str(&ix.to_string());
            }
        }
        pointer
    }

    pub(super) fn wrong(&self, what: impl Into<String>) -> Refusal {
        Refusal::new(Place::Pointer(self.pointer()), what, ADVICE)
    }

    /// A member, `None` when it is absent or null.
    pub(super) fn get(&'p self, name: &'static str) -> Option<Node<'v, 'p>> {
        let value = self.value.as_object()?.get(name).filter(|value| !value.is_null())?;
        Some(Node { value, key: Key::Member(name), parent: Some(self) })
    }

    /// A member that must be there.
    pub(super) fn need(&'p self, name: &'static str) -> Result<Node<'v, 'p>, Refusal> {
        if !self.value.is_object() {
            return Err(self.wrong(format!("{} where an object was expected", kind(self.value))));
        }
        self.get(name).ok_or_else(|| self.wrong(format!("member {name:?} is missing")))
    }

    pub(super) fn items(&'p self) -> Result<impl Iterator<Item = Node<'v, 'p>>, Refusal> {
        let items = self.value.as_array().ok_or_else(|| self.expected("an array"))?;
        Ok(items.iter().enumerate().map(|(ix, value)| Node { value, key: Key::Index(ix), parent: Some(self) }))
    }

    pub(super) fn members(&'p self) -> Result<impl Iterator<Item = (&'v str, Node<'v, 'p>)>, Refusal> {
        let members = self.value.as_object().ok_or_else(|| self.expected("an object"))?;
        Ok(members.iter().map(|(name, value)| (name.as_str(), Node { value, key: Key::Member(name), parent: Some(self) })))
    }

    pub(super) fn str(&self) -> Result<&'v str, Refusal> {
        self.value.as_str().ok_or_else(|| self.expected("a string"))
    }

    /// A non-negative, finite number.
    pub(super) fn number(&self) -> Result<f64, Refusal> {
        let number = self.value.as_f64().ok_or_else(|| self.expected("a number"))?;
        if number.is_finite() && number >= 0.0 {
            Ok(number)
        } else {
            Err(self.wrong(format!("{number} where a number of at least 0 was expected")))
        }
    }

    pub(super) fn u32(&self) -> Result<u32, Refusal> {
        let number = self.value.as_u64().and_then(|number| u32::try_from(number).ok());
        number.ok_or_else(|| self.expected("an integer of 0 to 4294967295"))
    }

    pub(super) fn ip(&self) -> Result<IpAddr, Refusal> {
        let text = self.str()?;
        text.parse().map_err(|_| self.wrong(format!("{text:?} is not an IP address")))
    }

    fn expected(&self, what: &str) -> Refusal {
        self.wrong(format!("{} where {what} was expected", kind(self.value)))
    }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "a boolean".into(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.len() <= 40 => format!("the string {text:?}"),
        Value::String(_) => "a string".into(),
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "an object".into(),
    }
}
