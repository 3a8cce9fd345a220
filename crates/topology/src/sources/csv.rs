//! Records of delimiter-separated text (RFC 4180), borrowed from the file.
//!
//! Ours because the `csv` crate copies every field and tables have a million rows: plain lines are split with `memchr` and lent, only
//! quoted ones take the careful path. Comment lines (`#`) and empty ones are skipped.
use super::error::Refusal;
use std::borrow::Cow;

/// A row's fields.
pub(super) type Fields<'a> = Vec<Cow<'a, str>>;

/// More columns than any matrix within the default `cells_max` could have, so that one line of commas does not fill the memory.
const COLUMNS_MAX: usize = 65_536;

/// Reads records one after the other.
pub(super) struct Records<'a> {
    rest: &'a [u8],
    delimiter: u8,
    line: u64,
}

impl<'a> Records<'a> {
    /// The delimiter is the one of `,` `;` tab that the first line has.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let first = &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())];
        let delimiter = [b',', b';', b'\t'].into_iter().find(|byte| first.contains(byte)).unwrap_or(b',');
        Self { rest, delimiter, line: 0 }
    }

    /// Fills `fields` with the next record; its line, or `None` at the end.
    pub(super) fn next_into(&mut self, fields: &mut Fields<'a>) -> Result<Option<u64>, Refusal> {
        loop {
            if self.rest.is_empty() {
                return Ok(None);
            }
            self.line += 1;
            let end = memchr::memchr(b'\n', self.rest);
            let line = &self.rest[..end.unwrap_or(self.rest.len())];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let after = end.map_or(&self.rest[self.rest.len()..], |end| &self.rest[end + 1..]);
            if line.is_empty() || line[0] == b'#' {
                self.rest = after;
                continue;
            }
            fields.clear();
            let start = self.line;
            if memchr::memchr(b'"', line).is_some() {
                self.quoted(fields)?;
                return Ok(Some(start));
            }
            self.rest = after;
            let line = text(line, start)?;
            let mut from = 0;
            for at in memchr::memchr_iter(self.delimiter, line.as_bytes()) {
                fields.push(Cow::Borrowed(&line[from..at]));
                from = at + 1;
                columns_within(fields.len(), start)?;
            }
            fields.push(Cow::Borrowed(&line[from..]));
            return Ok(Some(start));
        }
    }

    /// A record with quotes in it, which may go on over several lines.
    fn quoted(&mut self, fields: &mut Fields<'a>) -> Result<(), Refusal> {
        let start = self.line;
        loop {
            if let Some(inside) = self.rest.strip_prefix(b"\"") {
                let (value, rest) = quoted_field(inside).ok_or_else(|| {
                    Refusal::line(start, "a quoted field that never ends", "close the quote, or write the file again, whole")
                })?;
                self.line += memchr::memchr_iter(b'\n', &value).count() as u64;
                fields.push(Cow::Owned(text(&value, start)?.to_owned()));
                self.rest = rest;
            } else {
                let end = self.rest.iter().position(|byte| *byte == self.delimiter || *byte == b'\n').unwrap_or(self.rest.len());
                let value = &self.rest[..end];
                fields.push(Cow::Borrowed(text(value.strip_suffix(b"\r").unwrap_or(value), start)?));
                self.rest = &self.rest[end..];
            }
            columns_within(fields.len(), start)?;
            self.rest = self.rest.strip_prefix(b"\r").unwrap_or(self.rest);
            match self.rest.first() {
                Some(byte) if *byte == self.delimiter => self.rest = &self.rest[1..],
                Some(b'\n') => {
                    self.rest = &self.rest[1..];
                    return Ok(());
                }
                None => return Ok(()),
                Some(_) => return Err(Refusal::line(start, "text after a closing quote", "double the quotes inside a quoted field")),
            }
        }
    }
}

/// What is up to the closing quote, doubled quotes made single, and what follows.
fn quoted_field(inside: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    let mut rest = inside;
    loop {
        let end = memchr::memchr(b'"', rest)?;
        value.extend_from_slice(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(b"\"") {
            Some(more) => {
                value.push(b'"');
                rest = more;
            }
            None => return Some((value, rest)),
        }
    }
}

fn text(bytes: &[u8], line: u64) -> Result<&str, Refusal> {
    std::str::from_utf8(bytes).map_err(|_| Refusal::line(line, "not UTF-8 text", "save the file as UTF-8"))
}

fn columns_within(count: usize, line: u64) -> Result<(), Refusal> {
    if count < COLUMNS_MAX {
        return Ok(());
    }
    Err(Refusal::line(line, format!("more than {COLUMNS_MAX} columns"), "give a table with fewer"))
}

/// The place of a column: by the name or number an option gives, else by a name its kind is known by.
pub(super) fn column(header: Option<&Fields<'_>>, option: Option<&str>, known: &[&str], width: usize) -> Result<Option<usize>, Refusal> {
    let named = |name: &str| header.and_then(|header| header.iter().position(|field| field.trim().eq_ignore_ascii_case(name)));
    let Some(option) = option else { return Ok(known.iter().find_map(|name| named(name))) };
    let numbered = || option.strip_prefix('#')?.parse::<usize>().ok()?.checked_sub(1).filter(|at| *at < width);
    if let Some(at) = named(option).or_else(numbered) {
        return Ok(Some(at));
    }
    let has = header.map_or_else(|| "no header".into(), |header| format!("the header {}", header.join(",")));
    Err(Refusal::line(1, format!("no column {option:?}: the table has {width} columns and {has}"), "correct the source's `columns`"))
}
