//! Values of the log as bytes: whole numbers in seven bits a byte, lowest first; texts and bytes with their length before them; times in
//! nanoseconds since 1970. Documents and patches of some length are kept in Zstandard (RFC 8878), as each says in its first byte.
//!
//! Invariant: what was written reads back as the same; anything else is an [`Unreadable`], never a panic.
use alto::id::{ResourceId, Tag};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    str::FromStr,
    time::{Duration, SystemTime},
};

/// A value that this format does not explain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Shorter ones gain nothing.
const CODED_BYTES_MIN: usize = 512;
/// Three times smaller for 3 ms a megabyte; higher levels cost more and give costs no smaller.
const LEVEL: i32 = 1;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// Writes a value.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Times before 1970 do not occur; one would read back as 1970.
    pub(super) fn time(&mut self, time: SystemTime) {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.number(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn texts<'t>(&mut self, texts: impl ExactSizeIterator<Item = &'t str>) {
        self.number(texts.len() as u64);
        texts.for_each(|text| self.text(text));
    }

    /// Resources, each with a tag that `of` finds.
    pub(super) fn tags<T>(&mut self, tags: &BTreeMap<ResourceId, T>, of: impl Fn(&T) -> &Tag) {
        self.number(tags.len() as u64);
        for (id, value) in tags {
            self.text(id.as_str());
            self.text(of(value).as_str());
        }
    }

    pub(super) fn option<T>(&mut self, option: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.number(u64::from(option.is_some()));
        if let Some(value) = option {
            write(self, value);
        }
    }

    /// A document or a patch; the last of its value.
    pub(super) fn body(&mut self, body: &[u8]) {
        let coded = (body.len() >= CODED_BYTES_MIN).then(|| zstd::bulk::compress(body, LEVEL).ok()).flatten();
        match coded.filter(|coded| coded.len() < body.len()) {
            Some(coded) => {
                self.0.push(ZSTD);
                self.number(body.len() as u64);
                self.bytes(&coded);
            }
            None => {
                self.0.push(PLAIN);
                self.bytes(body);
            }
        }
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.0.into()
    }
}

/// Reads a value.
#[derive(Debug)]
pub(super) struct Reader<'b>(pub(super) &'b [u8]);

impl<'b> Reader<'b> {
    fn byte(&mut self) -> Result<u8, Unreadable> {
        let (first, rest) = self.0.split_first().ok_or(Unreadable)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u64, Unreadable> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7F);
            if part << shift >> shift != part {
                return Err(Unreadable);
            }
            number |= part << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Unreadable)
    }

    pub(super) fn length(&mut self) -> Result<usize, Unreadable> {
        usize::try_from(self.number()?).map_err(|_| Unreadable)
    }

    pub(super) fn bytes(&mut self) -> Result<&'b [u8], Unreadable> {
        let length = self.length()?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Unreadable)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'b str, Unreadable> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Unreadable)
    }

    pub(super) fn parsed<T: FromStr>(&mut self) -> Result<T, Unreadable> {
        self.text()?.parse().map_err(|_| Unreadable)
    }

    pub(super) fn time(&mut self) -> Result<SystemTime, Unreadable> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(self.number()?)).ok_or(Unreadable)
    }

    /// Any number of what `read` reads.
    pub(super) fn many<T, C: FromIterator<T>>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, Unreadable>,
    ) -> Result<C, Unreadable> {
        let count = self.number()?;
        (0..count).map(|_| read(self)).collect()
    }

    pub(super) fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Unreadable>) -> Result<Option<T>, Unreadable> {
        match self.number()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(Unreadable),
        }
    }

    pub(super) fn body(&mut self) -> Result<Bytes, Unreadable> {
        match self.byte()? {
            PLAIN => self.bytes().map(Bytes::copy_from_slice),
            ZSTD => {
                let length = self.length()?;
                let body = zstd::bulk::decompress(self.bytes()?, length).map_err(|_| Unreadable)?;
                if body.len() == length { Ok(body.into()) } else { Err(Unreadable) }
            }
            _ => Err(Unreadable),
        }
    }

    /// Nothing may follow.
    pub(super) fn end(self) -> Result<(), Unreadable> {
        if self.0.is_empty() { Ok(()) } else { Err(Unreadable) }
    }
}
