//! JSON text (RFC 8259): a pull reader that knows where it is, and the writing of strings, numbers and objects.
//!
//! Our own, because the errors of RFC 7285 section 8.5.2 need the path and the text of the value at fault, and because duplicate
//! members are refused even inside members we ignore. Speed alone would not ask for it: a typed `serde_json` visitor reads a cost
//! map at half the rate of this (`benches/cost_map.rs` runs both), which is enough.
//! Invariant: `at` is on a character boundary whenever a function returns; nothing recurses deeper than `Limits::depth_max`.
mod number;
mod write;

pub(crate) use number::number;
pub(crate) use write::{Object, array, write_number, write_string, write_text};

use crate::{ErrorBody, Limits, error::Code};
use std::{borrow::Cow, cell::Cell, collections::HashSet, fmt};

/// The way to a field, from the inside out; it costs nothing until an error names it.
#[derive(Clone, Copy)]
pub(crate) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    name: &'p str,
}

impl<'p> Path<'p> {
    pub(crate) const ROOT: Path<'static> = Path { parent: None, name: "" };

    pub(crate) fn child(&'p self, name: &'p str) -> Path<'p> {
        Path { parent: Some(self), name }
    }

    pub(crate) fn missing(&self, name: &str) -> ErrorBody {
        ErrorBody::missing(self.child(name).to_string())
    }

    pub(crate) fn invalid(&self, value: &str, limits: &Limits) -> ErrorBody {
        ErrorBody::invalid(self.to_string(), cut(value, limits.error_value_bytes_max))
    }
}

/// As `meta.field` has it: names with '/' between (RFC 7285 section 8.5.2).
impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            if parent.parent.is_some() {
                write!(f, "{parent}/")?;
            }
            f.write_str(self.name)?;
        }
        Ok(())
    }
}

fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What a value is, told from its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

/// Line and column of a byte, both from 1, columns in characters.
pub(crate) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
    let start = before.iter().rposition(|&b| b == b'\n').map_or(0, |newline| newline + 1);
    // Continuation bytes are not characters.
    let column = before[start..].iter().filter(|&&b| b & 0xc0 != 0x80).count() + 1;
    (line, column)
}

/// A place in a document.
pub(crate) struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: u32,
    /// Where the last E_SYNTAX was.
    fault: Cell<usize>,
    pub(crate) limits: &'a Limits,
}

impl<'a> Reader<'a> {
    /// At the first value of `body`.
    pub(crate) fn new(body: &'a [u8], limits: &'a Limits) -> Result<Self, ErrorBody> {
        if body.len() > limits.body_bytes_max {
            return Err(ErrorBody::syntax(format!("the document has {} bytes; {} are the most", body.len(), limits.body_bytes_max)));
        }
        match std::str::from_utf8(body) {
            Ok(text) => Ok(Self { text, bytes: body, at: 0, depth: 0, fault: Cell::new(0), limits }),
            Err(e) => {
                let valid = std::str::from_utf8(&body[..e.valid_up_to()]).expect("valid up to there");
                let (line, column) = position(valid, valid.len());
                Err(ErrorBody::syntax(format!("not UTF-8 at line {line} column {column}")))
            }
        }
    }

    /// Byte offset, for going back to.
    pub(crate) fn offset(&mut self) -> usize {
        self.space();
        self.at
    }

    /// Goes back to a value already passed.
    pub(crate) fn seek(&mut self, offset: usize) {
        self.at = offset;
    }

    /// The text between a value's first byte and here.
    pub(crate) fn since(&self, offset: usize) -> &'a str {
        &self.text[offset..self.at]
    }

    /// The text from here on.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Passes `bytes` that [`Reader::rest`] showed to be there.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Offset of the last E_SYNTAX.
    pub(crate) fn fault(&self) -> usize {
        self.fault.get()
    }

    /// Only white space may follow the document.
    pub(crate) fn end(&mut self) -> Result<(), ErrorBody> {
        self.space();
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.syntax("text after the end of the document")) }
    }

    #[cold]
    pub(crate) fn syntax(&self, what: &str) -> ErrorBody {
        self.syntax_at(self.at, what)
    }

    #[cold]
    pub(crate) fn syntax_at(&self, at: usize, what: &str) -> ErrorBody {
        self.fault.set(at);
        let (line, column) = position(self.text, at);
        ErrorBody::syntax(format!("{what} at line {line} column {column}"))
    }

    /// A bound was passed: unreadable for us, and the field says where.
    #[cold]
    pub(crate) fn too_many(&self, path: &Path<'_>, what: &str, max: usize) -> ErrorBody {
        ErrorBody { field: Some(path.to_string()), ..self.syntax(&format!("more than {max} {what}")) }
    }

    #[cold]
    pub(crate) fn duplicate(&self, at: usize, path: &Path<'_>, key: &str) -> ErrorBody {
        let key = cut(key, self.limits.error_value_bytes_max);
        ErrorBody { field: Some(path.child(key).to_string()), ..self.syntax_at(at, &format!("duplicate member {key:?}")) }
    }

    #[inline]
    pub(crate) fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    #[inline]
    fn next_byte(&mut self) -> Option<u8> {
        self.space();
        self.bytes.get(self.at).copied()
    }

    /// The type of the value that is next.
    pub(crate) fn peek(&mut self) -> Result<Type, ErrorBody> {
        match self.next_byte() {
            Some(b'{') => Ok(Type::Object),
            Some(b'[') => Ok(Type::Array),
            Some(b'"') => Ok(Type::String),
            Some(b'-' | b'0'..=b'9') => Ok(Type::Number),
            Some(b't' | b'f') => Ok(Type::Bool),
            Some(b'n') => Ok(Type::Null),
            Some(_) => Err(self.syntax("expected a value")),
            None => Err(self.syntax("the document ends early")),
        }
    }

    /// Passes `byte`, if it is what comes next.
    #[inline]
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.next_byte() == Some(byte);
        self.at += usize::from(found);
        found
    }

    #[inline]
    pub(crate) fn expect(&mut self, byte: u8, what: &str) -> Result<(), ErrorBody> {
        if self.take(byte) {
            return Ok(());
        }
        Err(if self.at == self.bytes.len() { self.syntax("the document ends early") } else { self.syntax(what) })
    }

    pub(crate) fn enter(&mut self) -> Result<(), ErrorBody> {
        self.depth += 1;
        if self.depth > self.limits.depth_max {
            return Err(self.syntax(&format!("nested deeper than {} levels", self.limits.depth_max)));
        }
        Ok(())
    }

    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Before each member or element: whether there is one. Passes the comma, or the closing byte.
    pub(crate) fn more(&mut self, first: &mut bool, close: u8) -> Result<bool, ErrorBody> {
        if self.take(close) {
            return Ok(false);
        }
        if *first {
            *first = false;
            return Ok(true);
        }
        self.expect(b',', if close == b'}' { "expected ',' or '}'" } else { "expected ',' or ']'" })?;
        let comma = self.at;
        if self.next_byte() == Some(close) {
            return Err(self.syntax_at(comma - 1, "a comma before nothing"));
        }
        Ok(true)
    }

    /// A member's name and the colon after it, with the name's offset.
    pub(crate) fn key(&mut self) -> Result<(usize, Cow<'a, str>), ErrorBody> {
        let at = self.offset();
        self.key_token().map(|(_, key)| (at, key))
    }

    /// The same, with the text of the name: the token between its quotes and with them.
    pub(crate) fn key_token(&mut self) -> Result<(&'a str, Cow<'a, str>), ErrorBody> {
        if self.next_byte() != Some(b'"') {
            return Err(self.syntax(if self.at == self.bytes.len() { "the document ends early" } else { "expected a member name" }));
        }
        let at = self.at;
        let key = self.string()?;
        let token = self.since(at);
        self.expect(b':', "expected ':'")?;
        Ok((token, key))
    }

    /// The members of an object, duplicates refused. `member` must pass the value.
    pub(crate) fn object(
        &mut self,
        path: &Path<'_>,
        mut member: impl FnMut(&mut Self, &Cow<'a, str>) -> Result<(), ErrorBody>,
    ) -> Result<(), ErrorBody> {
        let mut names = Names::default();
        self.map(path, |reader, at, key| {
            if !names.insert(key.clone()) {
                return Err(reader.duplicate(at, path, &key));
            }
            member(reader, &key)
        })
    }

    /// The members of an object whose duplicates `member` finds itself; it gets the offset of the name too.
    pub(crate) fn map(
        &mut self,
        path: &Path<'_>,
        mut member: impl FnMut(&mut Self, usize, Cow<'a, str>) -> Result<(), ErrorBody>,
    ) -> Result<(), ErrorBody> {
        if self.peek()? != Type::Object {
            return Err(self.wrong_type(path, "an object"));
        }
        self.at += 1;
        self.enter()?;
        let mut first = true;
        while self.more(&mut first, b'}')? {
            let (at, key) = self.key()?;
            member(self, at, key)?;
        }
        self.leave();
        Ok(())
    }

    /// The elements of an array. `element` must pass the value.
    pub(crate) fn array(&mut self, path: &Path<'_>, mut element: impl FnMut(&mut Self) -> Result<(), ErrorBody>) -> Result<(), ErrorBody> {
        if self.peek()? != Type::Array {
            return Err(self.wrong_type(path, "an array"));
        }
        self.at += 1;
        self.enter()?;
        let mut first = true;
        while self.more(&mut first, b']')? {
            element(self)?;
        }
        self.leave();
        Ok(())
    }

    /// E_INVALID_FIELD_TYPE; the document itself has no path, so there it is E_SYNTAX.
    #[cold]
    fn wrong_type(&self, path: &Path<'_>, wanted: &str) -> ErrorBody {
        match path.parent {
            Some(_) => ErrorBody::wrong_type(path.to_string()),
            None => self.syntax(&format!("the document is not {wanted}")),
        }
    }

    /// The value of a field that is a string.
    pub(crate) fn string_field(&mut self, path: &Path<'_>) -> Result<Cow<'a, str>, ErrorBody> {
        match self.peek()? {
            Type::String => self.string(),
            _ => Err(self.wrong_type(path, "a string")),
        }
    }

    /// A field that is a string of some form.
    pub(crate) fn parsed_field<T: std::str::FromStr>(&mut self, path: &Path<'_>) -> Result<T, ErrorBody> {
        let text = self.string_field(path)?;
        text.parse().map_err(|_| path.invalid(&text, self.limits))
    }

    /// Refuses the array element that is next unless it is of this type: another is an invalid *value* of the array (section 8.5.2).
    pub(crate) fn element_of(&mut self, wanted: Type, path: &Path<'_>) -> Result<(), ErrorBody> {
        let start = self.offset();
        if self.peek()? == wanted {
            return Ok(());
        }
        self.skip()?;
        Err(path.invalid(self.since(start), self.limits))
    }

    /// An array element that is a string of some form.
    pub(crate) fn parsed_element<T: std::str::FromStr>(&mut self, path: &Path<'_>) -> Result<T, ErrorBody> {
        self.element_of(Type::String, path)?;
        let text = self.string()?;
        text.parse().map_err(|_| path.invalid(&text, self.limits))
    }

    /// A field that is an array of strings of some form, each kept once, in order of first appearance.
    pub(crate) fn list_field<T>(&mut self, path: &Path<'_>, what: &str, max: usize) -> Result<Vec<T>, ErrorBody>
    where
        T: std::str::FromStr + Clone + Eq + std::hash::Hash,
    {
        let mut list = Vec::new();
        let mut seen = HashSet::new();
        self.array(path, |reader| {
            if list.len() == max {
                return Err(reader.too_many(path, what, max));
            }
            let entry: T = reader.parsed_element(path)?;
            // A list of a few is common, and searched faster than hashed.
            let new = if list.len() < 16 {
                !list.contains(&entry)
            } else {
                if seen.is_empty() {
                    seen.extend(list.iter().cloned());
                }
                seen.insert(entry.clone())
            };
            if new {
                list.push(entry);
            }
            Ok(())
        })?;
        Ok(list)
    }

    /// A field that is true or false.
    pub(crate) fn bool_field(&mut self, path: &Path<'_>) -> Result<bool, ErrorBody> {
        match self.peek()? {
            Type::Bool => {
                let value = self.bytes[self.at] == b't';
                self.word(if value { "true" } else { "false" })?;
                Ok(value)
            }
            _ => Err(self.wrong_type(path, "true or false")),
        }
    }

    /// A field that is a number: its value and its text.
    pub(crate) fn number_field(&mut self, path: &Path<'_>) -> Result<(f64, &'a str), ErrorBody> {
        match self.peek()? {
            Type::Number => {
                let start = self.at;
                let value = self.number()?;
                Ok((value, self.since(start)))
            }
            _ => Err(self.wrong_type(path, "a number")),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), ErrorBody> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.syntax("expected a value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Passes `null`, which [`Reader::peek`] announced.
    pub(crate) fn null(&mut self) -> Result<(), ErrorBody> {
        self.word("null")
    }

    /// A number, whose first byte is next. Infinite where the text is past the largest.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<f64, ErrorBody> {
        match number::read(&self.bytes[self.at..]) {
            Some((value, length)) => {
                self.at += length;
                Ok(value)
            }
            None => Err(self.syntax("expected a number")),
        }
    }

    /// A string, whose quote is next.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, ErrorBody> {
        debug_assert_eq!(self.bytes[self.at], b'"');
        let start = self.at + 1;
        let mut at = start;
        loop {
            match self.bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Cow::Borrowed(&self.text[start..at]));
                }
                Some(b'\\') => return self.escaped_string(start, at).map(Cow::Owned),
                Some(0x20..) => at += 1,
                Some(_) => return Err(self.syntax_at(at, "a control character in a string")),
                None => return Err(self.syntax_at(at, "the document ends inside a string")),
            }
        }
    }

    #[cold]
    fn escaped_string(&mut self, start: usize, mut at: usize) -> Result<String, ErrorBody> {
        let mut out = self.text[start..at].to_owned();
        let mut plain = at;
        loop {
            match self.bytes.get(at) {
                Some(b'"') => {
                    out.push_str(&self.text[plain..at]);
                    self.at = at + 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    out.push_str(&self.text[plain..at]);
                    let (character, length) = self.escape(at)?;
                    out.push(character);
                    at += length;
                    plain = at;
                }
                Some(0x20..) => at += 1,
                Some(_) => return Err(self.syntax_at(at, "a control character in a string")),
                None => return Err(self.syntax_at(at, "the document ends inside a string")),
            }
        }
    }

    /// The escape at a backslash: what it stands for and how many bytes it takes.
    fn escape(&self, at: usize) -> Result<(char, usize), ErrorBody> {
        let plain = match self.bytes.get(at + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(at),
            _ => return Err(self.syntax_at(at, "an unknown escape in a string")),
        };
        Ok((plain, 2))
    }

    fn unicode_escape(&self, at: usize) -> Result<(char, usize), ErrorBody> {
        let unit = |at: usize| -> Option<u32> {
            let digits = self.bytes.get(at..at + 6)?;
            let hex = digits.strip_prefix(b"\\u")?;
            if !hex.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
        };
        let bad = || self.syntax_at(at, "a bad \\u escape in a string");
        let first = unit(at).ok_or_else(bad)?;
        if !(0xd800..0xe000).contains(&first) {
            return Ok((char::from_u32(first).ok_or_else(bad)?, 6));
        }
        let second = unit(at + 6).filter(|second| first < 0xdc00 && (0xdc00..0xe000).contains(second)).ok_or_else(bad)?;
        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        Ok((char::from_u32(code).ok_or_else(bad)?, 12))
    }

    /// Passes any value, checked as strictly as one we use: an ignored member (section 8.3.7) is no hiding place.
    pub(crate) fn skip(&mut self) -> Result<(), ErrorBody> {
        match self.peek()? {
            Type::Object => self.object(&Path::ROOT, |reader, _| reader.skip()),
            Type::Array => self.array(&Path::ROOT, Self::skip),
            Type::String => self.string().map(drop),
            Type::Number => self.number().map(drop),
            Type::Bool if self.bytes[self.at] == b't' => self.word("true"),
            Type::Bool => self.word("false"),
            Type::Null => self.word("null"),
        }
        .map_err(|e| ErrorBody { field: None, ..e })
    }
}

/// Member names of one object: searched while few, hashed when many.
#[derive(Default)]
struct Names<'a> {
    few: Vec<Cow<'a, str>>,
    many: HashSet<Cow<'a, str>>,
}

impl<'a> Names<'a> {
    fn insert(&mut self, name: Cow<'a, str>) -> bool {
        if !self.many.is_empty() {
            return self.many.insert(name);
        }
        if self.few.contains(&name) {
            return false;
        }
        self.few.push(name);
        if self.few.len() > 16 {
            self.many.extend(self.few.drain(..));
        }
        true
    }
}

/// Reads a whole document: `read` takes its one value.
///
/// RFC 7285 section 8.5.2 checks the syntax "in the first step": whatever else `read` finds, text that is not JSON is E_SYNTAX.
pub(crate) fn document<'a, T>(
    body: &'a [u8],
    limits: &'a Limits,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, ErrorBody>,
) -> Result<T, ErrorBody> {
    let mut reader = Reader::new(body, limits)?;
    let result = read(&mut reader);
    match &result {
        Ok(_) => {}
        Err(error) if error.code == Code::Syntax => return result,
        Err(_) => {
            reader = Reader::new(body, limits)?;
            reader.skip()?;
        }
    }
    reader.end()?;
    result
}
