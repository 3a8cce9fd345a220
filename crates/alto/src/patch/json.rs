//! JSON Patch (RFC 6902) and the JSON Pointers (RFC 6901) in it.
mod diff;

pub use diff::diff;

use super::Fault;
use crate::{
    ErrorBody, Limits,
    json::{self as text, Path, Reader, Type},
};
use serde_json::Value;
use std::{borrow::Cow, fmt, str::FromStr};

/// The way to a value (RFC 6901): names and places from the outside in, none of them for the whole document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Pointer(pub Vec<Box<str>>);

/// A text that is no pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a JSON pointer")]
pub struct InvalidPointer {
    /// What was given.
    pub text: Box<str>,
}

impl FromStr for Pointer {
    type Err = InvalidPointer;
    fn from_str(text: &str) -> Result<Self, InvalidPointer> {
        let invalid = || InvalidPointer { text: text.into() };
        let Some(rest) = text.strip_prefix('/') else {
            return if text.is_empty() { Ok(Self::default()) } else { Err(invalid()) };
        };
        rest.split('/')
            .map(|token| unescaped(token).map(|token| token.as_ref().into()).ok_or_else(invalid))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// "~1" is '/', "~0" is '~', no other '~' is allowed (RFC 6901 section 3).
fn unescaped(token: &str) -> Option<Cow<'_, str>> {
    if !token.contains('~') {
        return Some(Cow::Borrowed(token));
    }
    let mut out = String::with_capacity(token.len());
    let mut pieces = token.split('~');
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (character, rest) = match piece.as_bytes().first()? {
            b'0' => ('~', &piece[1..]),
            b'1' => ('/', &piece[1..]),
            _ => return None,
        };
        out.push(character);
        out.push_str(rest);
    }
    Some(Cow::Owned(out))
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for token in &self.0 {
            write!(f, "/{}", token.replace('~', "~0").replace('/', "~1"))?;
        }
        Ok(())
    }
}

/// One step of a patch (RFC 6902 section 4).
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// `add`: a member (in place of one of that name), or an element before the one at a place, `-` at the end.
    Add {
        /// Where.
        path: Pointer,
        /// What.
        value: Value,
    },
    /// `remove`
    Remove {
        /// What must be there.
        path: Pointer,
    },
    /// `replace`
    Replace {
        /// What must be there.
        path: Pointer,
        /// What is there after.
        value: Value,
    },
    /// `move`
    Move {
        /// What must be there.
        from: Pointer,
        /// Where it goes, as with `add`; never into itself.
        path: Pointer,
    },
    /// `copy`
    Copy {
        /// What must be there.
        from: Pointer,
        /// Where it goes too, as with `add`.
        path: Pointer,
    },
    /// `test`
    Test {
        /// Where.
        path: Pointer,
        /// What must be there.
        value: Value,
    },
}

/// A sequence of operations: all apply, in order, or the patch does not (section 5).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Patch(pub Vec<Operation>);

impl Patch {
    /// Reads an `application/json-patch+json` body.
    pub fn from_json(body: &[u8]) -> Result<Self, ErrorBody> {
        Self::from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(body: &[u8], limits: &Limits) -> Result<Self, ErrorBody> {
        text::document(body, limits, |reader| {
            let mut operations = Vec::new();
            let max = reader.limits.patch_operations_max;
            let root = Path::ROOT;
            reader.array(&root, |reader| {
                if operations.len() == max {
                    return Err(reader.syntax(&format!("more than {max} operations")));
                }
                let number = operations.len().to_string();
                operations.push(Operation::read(reader, &root.child(&number))?);
                Ok(())
            })?;
            Ok(Self(operations))
        })
    }

    /// The `application/json-patch+json` body.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        text::array(&mut out, &self.0, |out, operation| operation.write(out));
        out
    }

    /// Applies it. Where it fails the value is as far as it came.
    pub fn apply(&self, target: &mut Value, limits: &Limits) -> Result<(), Fault> {
        let mut copied = 0;
        for (number, operation) in self.0.iter().enumerate() {
            operation.apply(target, &mut copied, limits).map_err(|why| {
                let tested = match operation {
                    Operation::Test { value, .. } => Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
                    _ => None,
                };
                let path = operation.path();
                let body = ErrorBody { value: tested, ..ErrorBody::invalid(path.to_string(), "") };
                Fault { body, why: format!("operation {number} at {path}: {why}") }
            })?;
        }
        Ok(())
    }
}

impl Operation {
    /// Where it works.
    pub fn path(&self) -> &Pointer {
        match self {
            Self::Add { path, .. }
            | Self::Remove { path }
            | Self::Replace { path, .. }
            | Self::Move { path, .. }
            | Self::Copy { path, .. }
            | Self::Test { path, .. } => path,
        }
    }

    fn read(reader: &mut Reader<'_>, at: &Path<'_>) -> Result<Self, ErrorBody> {
        reader.element_of(Type::Object, at)?;
        let (mut op, mut path, mut from, mut value) = (None, None, None, None);
        reader.object(at, |reader, key| {
            let field = at.child(key);
            match &**key {
                "op" => op = Some(reader.string_field(&field)?),
                "path" => path = Some(reader.parsed_field::<Pointer>(&field)?),
                // Of another operation it is not defined, and to be ignored (section 4): looked at when the operation is known.
                "from" => {
                    let start = reader.offset();
                    reader.skip()?;
                    from = Some((start, reader.offset()));
                }
                "value" => {
                    let start = reader.offset();
                    reader.skip()?;
                    value = Some(reader.since(start));
                }
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let op = op.ok_or_else(|| at.missing("op"))?;
        let path = path.ok_or_else(|| at.missing("path"))?;
        let from = |reader: &mut Reader<'_>| {
            let (start, end) = from.ok_or_else(|| at.missing("from"))?;
            let back = reader.offset();
            reader.seek(start);
            let from = reader.parsed_field::<Pointer>(&at.child("from"))?;
            debug_assert!(reader.offset() <= end);
            reader.seek(back);
            Ok(from)
        };
        let value = || {
            let text = value.ok_or_else(|| at.missing("value"))?;
            serde_json::from_str(text).map_err(|error| ErrorBody::syntax(error.to_string()))
        };
        Ok(match &*op {
            "add" => Self::Add { path, value: value()? },
            "remove" => Self::Remove { path },
            "replace" => Self::Replace { path, value: value()? },
            "move" => Self::Move { from: from(reader)?, path },
            "copy" => Self::Copy { from: from(reader)?, path },
            "test" => Self::Test { path, value: value()? },
            _ => return Err(at.child("op").invalid(&op, reader.limits)),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let (op, from, value) = match self {
            Self::Add { value, .. } => ("add", None, Some(value)),
            Self::Remove { .. } => ("remove", None, None),
            Self::Replace { value, .. } => ("replace", None, Some(value)),
            Self::Move { from, .. } => ("move", Some(from), None),
            Self::Copy { from, .. } => ("copy", Some(from), None),
            Self::Test { value, .. } => ("test", None, Some(value)),
        };
        let mut object = text::Object::new(out);
        object.string("op", op);
        text::write_text(object.key("path"), self.path());
        if let Some(from) = from {
            text::write_text(object.key("from"), from);
        }
        if let Some(value) = value {
            serde_json::to_writer(object.key("value"), value).expect("writing to memory does not fail");
        }
        object.end();
    }

    fn apply(&self, target: &mut Value, copied: &mut usize, limits: &Limits) -> Result<(), String> {
        match self {
            Self::Add { path, value } => add(target, path, value.clone()),
            Self::Remove { path } => remove(target, path).map(drop),
            Self::Replace { path, value } => {
                *find_mut(target, path).ok_or_else(|| NOTHING.to_owned())? = value.clone();
                Ok(())
            }
            Self::Move { from, path } => {
                // "The "from" location MUST NOT be a proper prefix of the "path" location" (section 4.4).
                if path.0.len() > from.0.len() && path.0.starts_with(&from.0) {
                    return Err(format!("{from} cannot be moved into itself"));
                }
                if from == path {
                    return find_mut(target, from).map(drop).ok_or_else(|| NOTHING.to_owned());
                }
                let value = remove(target, from).map_err(|why| format!("from {from}: {why}"))?;
                add(target, path, value)
            }
            Self::Copy { from, path } => {
                let value = find_mut(target, from).ok_or_else(|| format!("from {from}: {NOTHING}"))?;
                *copied += size(value);
                if *copied > limits.patch_copied_bytes_max {
                    return Err(format!("copies more than {} bytes", limits.patch_copied_bytes_max));
                }
                let value = value.clone();
                add(target, path, value)
            }
            Self::Test { path, value } => match find_mut(target, path) {
                Some(found) if equal(found, value) => Ok(()),
                Some(_) => Err("another value is there".to_owned()),
                None => Err(NOTHING.to_owned()),
            },
        }
    }
}

const NOTHING: &str = "nothing is there";

/// An index of an array: digits without a leading zero (RFC 6901 section 4).
pub(super) fn place(token: &str) -> Option<usize> {
    let digits = !token.is_empty() && token.bytes().all(|b| b.is_ascii_digit());
    if digits && (token == "0" || !token.starts_with('0')) { token.parse().ok() } else { None }
}

fn find_mut<'v>(target: &'v mut Value, path: &Pointer) -> Option<&'v mut Value> {
    descend(target, &path.0)
}

fn descend<'v>(target: &'v mut Value, tokens: &[Box<str>]) -> Option<&'v mut Value> {
    tokens.iter().try_fold(target, |value, token| match value {
        Value::Object(members) => members.get_mut(&**token),
        Value::Array(elements) => elements.get_mut(place(token)?),
        _ => None,
    })
}

fn add(target: &mut Value, path: &Pointer, value: Value) -> Result<(), String> {
    let Some((last, parents)) = path.0.split_last() else {
        *target = value;
        return Ok(());
    };
    match descend(target, parents) {
        Some(Value::Object(members)) => {
            members.insert(last.to_string(), value);
            Ok(())
        }
        Some(Value::Array(elements)) => {
            let at = if &**last == "-" { elements.len() } else { place(last).ok_or("not a place in an array")? };
            if at > elements.len() {
                return Err(format!("the array has {} elements", elements.len()));
            }
            elements.insert(at, value);
            Ok(())
        }
        Some(_) => Err("its parent is no object and no array".to_owned()),
        None => Err("its parent is not there".to_owned()),
    }
}

fn remove(target: &mut Value, path: &Pointer) -> Result<Value, String> {
    let Some((last, parents)) = path.0.split_last() else {
        return Ok(target.take());
    };
    let found = match descend(target, parents) {
        Some(Value::Object(members)) => members.remove(&**last),
        Some(Value::Array(elements)) => place(last).filter(|&at| at < elements.len()).map(|at| elements.remove(at)),
        _ => None,
    };
    found.ok_or_else(|| NOTHING.to_owned())
}

/// Section 4.6: numbers are equal when they are numerically equal, objects whatever the order.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || (a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| equal(value, other)))
        }
        _ => a == b,
    }
}

/// About what a value takes in memory.
fn size(value: &Value) -> usize {
    const NODE_BYTES: usize = size_of::<Value>();
    NODE_BYTES
        + match value {
            Value::String(text) => text.len(),
            Value::Array(values) => values.iter().map(size).sum(),
            Value::Object(members) => members.iter().map(|(name, value)| name.len() + NODE_BYTES + size(value)).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
}
