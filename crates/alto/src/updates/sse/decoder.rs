//! The text of an event stream into messages (HTML standard, "Server-sent events", section 9.2.6).
//!
//! Invariant: bytes may be cut anywhere; the messages that come out are the same. What is held is bounded by `bytes_max`.
use std::borrow::Cow;

/// One dispatched event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `event`; empty when the stream did not say.
    pub event: String,
    /// `data`: lines joined with LF.
    pub data: Vec<u8>,
}

/// Why a stream can be read no further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// More than `bytes_max` bytes in one message.
    #[error("an event of more than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: usize,
    },
}

/// Takes the bytes of a stream as they come.
#[derive(Debug)]
pub struct Decoder {
    bytes_max: usize,
    /// The line so far, where a chunk ended in its middle.
    line: Vec<u8>,
    event: String,
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was CR: LF after it belongs to it.
    after_cr: bool,
    /// Nothing was read yet: a byte order mark may come.
    at_start: bool,
    /// Comments, which keep a stream alive, since they were last counted.
    comments: u64,
}

impl Decoder {
    /// At the start of a stream; one message is at most so large.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            line: Vec::new(),
            event: String::new(),
            data: Vec::new(),
            has_data: false,
            after_cr: false,
            at_start: true,
            comments: 0,
        }
    }

    /// How many comment lines there were since this was last asked.
    pub fn take_comments(&mut self) -> u64 {
        std::mem::take(&mut self.comments)
    }

    /// Takes the next bytes of the stream and hands the messages that they complete to `deliver`.
    pub fn push(&mut self, mut bytes: &[u8], mut deliver: impl FnMut(Message)) -> Result<(), Violation> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            match bytes.iter().position(|&byte| byte == b'\n' || byte == b'\r') {
                None => {
                    self.bound(bytes.len())?;
                    self.line.extend_from_slice(bytes);
                    break;
                }
                Some(end) => {
                    self.bound(end)?;
                    self.after_cr = bytes[end] == b'\r';
                    if self.line.is_empty() {
                        self.take_line(&bytes[..end], &mut deliver);
                    } else {
                        let mut line = std::mem::take(&mut self.line);
                        line.extend_from_slice(&bytes[..end]);
                        self.take_line(&line, &mut deliver);
                        // Keep the room for the next line, unless this one was a large exception.
                        if line.capacity() <= 64 << 10 {
                            line.clear();
                            self.line = line;
                        }
                    }
                    bytes = &bytes[end + 1..];
                }
            }
        }
        Ok(())
    }

    fn bound(&self, more: usize) -> Result<(), Violation> {
        if self.line.len() + self.data.len() + more > self.bytes_max {
            return Err(Violation::TooLarge { bytes_max: self.bytes_max });
        }
        Ok(())
    }

    fn take_line(&mut self, mut line: &[u8], deliver: &mut impl FnMut(Message)) {
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        if line.is_empty() {
            let (event, data) = (std::mem::take(&mut self.event), std::mem::take(&mut self.data));
            // Without data there is no event, only a forgotten type.
            if std::mem::take(&mut self.has_data) {
                deliver(Message { event, data });
            }
            return;
        }
        let (field, value) = match line.iter().position(|&byte| byte == b':') {
            Some(0) => {
                self.comments += 1;
                return;
            }
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &b""[..]),
        };
        match field {
            b"event" => self.event = text(value).into_owned(),
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
            }
            // "an update message does not use the SSE "id" field" (RFC 8895 section 5.1); `retry` and others are not for us.
            _ => {}
        }
    }
}

/// A stream is UTF-8; what is not is replaced.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
