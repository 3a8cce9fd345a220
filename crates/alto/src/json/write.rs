//! Writing JSON, compact.
use std::fmt::{self, Display, Write as _};

/// A string in quotes, escaped where RFC 8259 section 7 wants it.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape(out, text);
    out.push(b'"');
}

/// What `value` displays as, in quotes, escaped.
pub(crate) fn write_text(out: &mut Vec<u8>, value: impl Display) {
    out.push(b'"');
    write!(Escaping(out), "{value}").expect("a Vec takes every write");
    out.push(b'"');
}

struct Escaping<'o>(&'o mut Vec<u8>);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}

fn escape(out: &mut Vec<u8>, text: &str) {
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => b"",
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[plain..at]);
        if escape.is_empty() {
            out.extend_from_slice(b"\\u00");
            out.extend([byte >> 4, byte & 0xf].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
        } else {
            out.extend_from_slice(escape);
        }
        plain = at + 1;
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
}

/// A finite number: integers without a fraction, others in the fewest digits that read back the same.
pub(crate) fn write_number(out: &mut Vec<u8>, value: f64) {
    debug_assert!(value.is_finite());
    let whole = value as i64;
    if whole as f64 == value && whole.unsigned_abs() < 1 << 53 {
        out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    } else {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    }
}

/// An array of anything.
pub(crate) fn array<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// An object on its way out: members in the order they are written.
pub(crate) struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> Object<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// A member's name; its value is to be written next.
    pub(crate) fn key(&mut self, name: &str) -> &mut Vec<u8> {
        self.comma();
        write_string(self.out, name);
        self.out.push(b':');
        self.out
    }

    /// A member's name, as it displays.
    pub(crate) fn text_key(&mut self, name: impl Display) -> &mut Vec<u8> {
        self.comma();
        write_text(self.out, name);
        self.out.push(b':');
        self.out
    }

    fn comma(&mut self) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
    }

    pub(crate) fn string(&mut self, name: &str, value: &str) {
        write_string(self.key(name), value);
    }

    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}
