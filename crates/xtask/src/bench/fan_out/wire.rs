//! What arrives on one connection of a crowd, counted: complete events of SSE (RFC 8895), messages of WebSocket (RFC 6455), answers of long
//! polls, pushed responses of HTTP/2 (RFC 9113). Bodies are never decoded: the measuring side must stay cheap.
//!
//! Invariant: how the bytes are cut into reads makes no difference to what is counted.
use anyhow::{Context, Result, bail, ensure};

/// What a connection speaks once its opening bytes are out.
#[derive(Debug, Clone)]
pub enum Protocol {
    /// A response that goes on: blocks of lines with `data:`, ended by an empty line.
    Sse,
    /// Messages; what is said once the handshake is through (a masked frame), if anything.
    WebSocket { greeting: Vec<u8> },
    /// One answer a request; the next request follows from it.
    LongPoll(Next),
    /// Pushed responses on one HTTP/2 connection.
    Push,
}

/// How a client of long polls finds its next request.
#[derive(Debug, Clone)]
pub enum Next {
    /// The same again, with the validators of the last answer (nchan).
    Validators { head: String },
    /// The edge that follows: `GET <prefix>/<seq>/<seq + 1>` (TIPS).
    Edge { prefix: String, host: String, seq: u64 },
}

/// The receiving half of one connection.
pub struct Wire {
    protocol: Protocol,
    /// Bytes of a head or frame that is not complete.
    rest: Vec<u8>,
    state: State,
}

enum State {
    /// Before the end of the response's head.
    Head,
    /// In a stream of lines: whether the line so far is empty or a `data:` line, and whether its block has data.
    Lines { line: Line, data: bool },
    /// Between or inside frames: how much of a payload is still to be skipped, and whether its end completes an event.
    Frames { skip: usize, event: bool },
    /// In the body of an answer.
    Body { left: usize },
}

/// What a line of an event stream is, as far as it was seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Its first few bytes, all of them equal to the start of `data:` (0: nothing yet).
    Start(u8),
    /// Only a carriage return so far.
    Return,
    Data,
    Other,
}

/// What the bytes of one read brought.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Complete events.
    pub events: u32,
    /// The connection stands: its head was good.
    pub ready: bool,
}

impl Wire {
    /// Before the first byte.
    pub fn new(protocol: Protocol) -> Self {
        let state = if matches!(protocol, Protocol::Push) { State::Frames { skip: 0, event: false } } else { State::Head };
        Self { protocol, rest: Vec::new(), state }
    }

    /// Takes the bytes of one read; what has to be answered goes to `out`.
    pub fn take(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<Heard> {
        let mut heard = Heard::default();
        while !bytes.is_empty() {
            bytes = match &mut self.state {
                State::Head => self.head(bytes, out, &mut heard)?,
                State::Lines { line, data } => {
                    heard.events += lines(bytes, line, data);
                    &[]
                }
                State::Body { left } => {
                    let part = bytes.len().min(*left);
                    *left -= part;
                    if *left == 0 {
                        self.answered(&mut heard);
                    }
                    &bytes[part..]
                }
                State::Frames { skip, event } => {
                    let part = bytes.len().min(*skip);
                    *skip -= part;
                    if part > 0 && *skip == 0 && std::mem::take(event) {
                        heard.events += 1;
                    }
                    let bytes = &bytes[part..];
                    if bytes.is_empty() {
                        bytes
                    } else if matches!(self.protocol, Protocol::Push) {
                        self.http2_frame(bytes, out, &mut heard)?
                    } else {
                        self.websocket_frame(bytes, out, &mut heard)?
                    }
                }
            };
        }
        Ok(heard)
    }

    fn answered(&mut self, heard: &mut Heard) {
        heard.events += 1;
        self.state = State::Head;
    }

    fn head<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<u8>, heard: &mut Heard) -> Result<&'a [u8]> {
        let known = self.rest.len();
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") else {
            ensure!(self.rest.len() < 64 << 10, "a head of more than 64 KiB");
            return Ok(&[]);
        };
        let head = String::from_utf8(self.rest[..end].to_vec())?;
        self.rest.clear();
        let bytes = &bytes[end + 4 - known..];
        let want = if matches!(self.protocol, Protocol::WebSocket { .. }) { "HTTP/1.1 101" } else { "HTTP/1.1 200" };
        ensure!(head.starts_with(want), "answered {}", head.lines().next().unwrap_or_default());
        heard.ready = true;
        match &mut self.protocol {
            Protocol::Sse => self.state = State::Lines { line: Line::Start(0), data: false },
            Protocol::WebSocket { greeting } => {
                out.append(greeting);
                self.state = State::Frames { skip: 0, event: false };
            }
            Protocol::LongPoll(next) => {
                let length = field(&head, "content-length").context("an answer without content-length")?.parse()?;
                match next {
                    Next::Validators { head: first } => {
                        let modified = field(&head, "last-modified").context("an answer without last-modified")?;
                        let etag = field(&head, "etag").context("an answer without etag")?;
                        out.extend_from_slice(format!("{first}If-Modified-Since: {modified}\r\nIf-None-Match: {etag}\r\n\r\n").as_bytes());
                    }
                    Next::Edge { prefix, host, seq } => {
                        *seq += 1;
                        out.extend_from_slice(format!("GET {prefix}/{seq}/{} HTTP/1.1\r\nHost: {host}\r\n\r\n", *seq + 1).as_bytes());
                    }
                }
                self.state = State::Body { left: length };
                if length == 0 {
                    self.answered(heard);
                }
            }
            Protocol::Push => unreachable!("HTTP/2 has no such head"),
        }
        Ok(bytes)
    }

    /// The head of the next frame, from `rest` and `bytes`: `size` says how long it is once that can be known.
    fn frame_head<'a>(&mut self, bytes: &'a [u8], size: impl Fn(&[u8]) -> Option<usize>) -> Option<(Vec<u8>, &'a [u8])> {
        let known = self.rest.len();
        // No head of a frame, with what we read of its payload, is longer.
        let part = bytes.len().min(160);
        self.rest.extend_from_slice(&bytes[..part]);
        match size(&self.rest).filter(|&size| size <= self.rest.len()) {
            Some(size) => {
                let mut head = std::mem::take(&mut self.rest);
                head.truncate(size);
                Some((head, &bytes[size - known..]))
            }
            None => None,
        }
    }

    fn websocket_frame<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<u8>, heard: &mut Heard) -> Result<&'a [u8]> {
        let size = |head: &[u8]| match head.get(1)? & 127 {
            126 => Some(4),
            127 => Some(10),
            // A control frame is taken whole: its payload has to be answered or shown.
            short if head[0] & 8 != 0 => Some(2 + usize::from(short)),
            _ => Some(2),
        };
        let Some((head, bytes)) = self.frame_head(bytes, size) else { return Ok(&[]) };
        let length = match head[1] & 127 {
            126 => usize::from(u16::from_be_bytes([head[2], head[3]])),
            127 => usize::try_from(u64::from_be_bytes(head[2..10].try_into().expect("eight bytes")))?,
            short => usize::from(short),
        };
        let last = head[0] & 128 != 0;
        match head[0] & 15 {
            0..=2 => {
                if length == 0 {
                    heard.events += u32::from(last);
                }
                self.state = State::Frames { skip: length, event: last };
            }
            9 => out.extend_from_slice(&masked(10, &head[2..])),
            8 => bail!("the server closed: {:?}", String::from_utf8_lossy(&head[2..])),
            _ => {}
        }
        Ok(bytes)
    }

    fn http2_frame<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<u8>, heard: &mut Heard) -> Result<&'a [u8]> {
        let size = |head: &[u8]| {
            let kind = *head.get(3)?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            // PING, GOAWAY and RST_STREAM are taken whole, of HEADERS the first byte; the rest is skipped.
            Some(9 + if matches!(kind, 3 | 6 | 7) { length.min(48) } else { usize::from(kind == 1 && length > 0) })
        };
        let Some((head, bytes)) = self.frame_head(bytes, size) else { return Ok(&[]) };
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & (u32::MAX >> 1);
        let pushed = stream != 0 && stream.is_multiple_of(2);
        let skip = length - (head.len() - 9);
        let mut event = false;
        match kind {
            // DATA or HEADERS with END_STREAM end a pushed response.
            0 | 1 => {
                event = pushed && flags & 1 != 0;
                if kind == 1 && !pushed {
                    // :status 200 is entry 8 of HPACK's static table.
                    ensure!(head.get(9) == Some(&0x88), "the transport queue was refused");
                    heard.ready = true;
                }
                ensure!(pushed || flags & 1 == 0, "the server ended the transport queue");
            }
            3 => bail!("stream {stream} was reset: {:?}", &head[9..]),
            4 if flags & 1 == 0 => out.extend_from_slice(&frame(4, 1, 0, &[])),
            6 if flags & 1 == 0 => out.extend_from_slice(&frame(6, 1, 0, &head[9..])),
            7 => bail!("GOAWAY: {}", String::from_utf8_lossy(&head[9..])),
            _ => {}
        }
        if skip == 0 && event {
            heard.events += 1;
            event = false;
        }
        self.state = State::Frames { skip, event };
        Ok(bytes)
    }
}

/// Counts the blocks with data in a part of an event stream. The lines that a chunked coding puts between are neither empty nor data.
fn lines(mut bytes: &[u8], line: &mut Line, data: &mut bool) -> u32 {
    const DATA: &[u8] = b"data:";
    let mut events = 0;
    while let Some(&byte) = bytes.first() {
        if byte == b'\n' {
            match line {
                Line::Start(0) | Line::Return => events += u32::from(std::mem::take(data)),
                Line::Data => *data = true,
                Line::Start(_) | Line::Other => {}
            }
            *line = Line::Start(0);
            bytes = &bytes[1..];
            continue;
        }
        match line {
            Line::Start(seen) if byte == DATA[usize::from(*seen)] => {
                *line = if usize::from(*seen) + 1 == DATA.len() { Line::Data } else { Line::Start(*seen + 1) };
                bytes = &bytes[1..];
            }
            Line::Start(0) if byte == b'\r' => {
                *line = Line::Return;
                bytes = &bytes[1..];
            }
            Line::Start(_) | Line::Return => *line = Line::Other,
            Line::Data | Line::Other => {
                // The rest of the line says nothing more.
                bytes = memchr::memchr(b'\n', bytes).map_or(&[], |end| &bytes[end..]);
            }
        }
    }
    events
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .skip(1)
        .find_map(|line| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()))
}

/// A client's WebSocket frame; its mask is zero, as a mask hides nothing here.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126, "what a client of the bench says is short");
    [&[128 | opcode, 128 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

/// An HTTP/2 frame (RFC 9113 section 4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The opening of an HTTP/2 connection and one POST on it, whose answer goes on. Fields are literals, without Huffman coding.
pub fn http2_post(authority: &str, path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    fn text(block: &mut Vec<u8>, start: &[u8], value: &str) {
        assert!(value.len() < 127, "a length of one byte");
        block.extend_from_slice(start);
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
    }
    // 0x83 is `:method: POST`, 0x86 `:scheme: http` (RFC 7541 appendix A); then literals with indexed names.
    let mut block = vec![0x83, 0x86];
    text(&mut block, &[0x04], path);
    text(&mut block, &[0x01], authority);
    text(&mut block, &[0x0f, 0x10], content_type);
    text(&mut block, &[0x0f, 0x0d], &body.len().to_string());
    // SETTINGS_INITIAL_WINDOW_SIZE 1 GiB, and as much for the connection: nothing here waits for a window.
    let settings = [0, 4, 0x40, 0, 0, 0];
    let parts = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &settings),
        frame(8, 0, 0, &0x4000_0000_u32.to_be_bytes()),
        frame(1, 4, 1, &block),
        frame(0, 1, 1, body),
    ];
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is counted when the bytes come in one piece, and one by one.
    fn counted(protocol: &Protocol, bytes: &[u8]) -> (u32, Vec<u8>) {
        let mut seen = Vec::new();
        for size in [bytes.len(), 1, 3, 7] {
            let (mut wire, mut out, mut events) = (Wire::new(protocol.clone()), Vec::new(), 0);
            for part in bytes.chunks(size) {
                events += wire.take(part, &mut out).expect("well-formed").events;
            }
            seen.push((events, out));
        }
        assert!(seen.windows(2).all(|two| two[0] == two[1]), "{seen:?}");
        seen.swap_remove(0)
    }

    #[test]
    fn events_are_counted_however_they_are_cut() {
        let stream = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n: k\n\r\n1\r\n\n\r\n1d\r\nevent: a,0\ndata: {}\n\ndata: da\r\n2\r\nta\n\n\r\n";
        assert_eq!(counted(&Protocol::Sse, stream.as_bytes()).0, 2);
        let socket = [
            &b"HTTP/1.1 101 Switching Protocols\r\n\r\n"[..],
            &[0x81, 2, b'{', b'}', 0x89, 1, 7, 0x01, 1, b'a', 0x80, 1, b'b'],
            &[0x82, 126, 1, 0],
            &[0; 256],
        ]
        .concat();
        let (events, said) = counted(&Protocol::WebSocket { greeting: vec![1] }, &socket);
        assert_eq!((events, said), (3, [&[1][..], &masked(10, &[7])].concat()));
        let poll = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let next = Next::Edge { prefix: "/ug".into(), host: "h".into(), seq: 4 };
        let (events, said) = counted(&Protocol::LongPoll(next), poll);
        assert_eq!(events, 2);
        assert!(String::from_utf8(said).unwrap().contains("GET /ug/6/7 HTTP/1.1"));
    }

    #[test]
    fn pushes_are_counted_however_they_are_cut() {
        let wire = [
            frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]),
            frame(1, 4, 1, &[0x88, 1, 2, 3]),
            frame(0, 0, 1, b"{}"),
            frame(5, 4, 1, &[0, 0, 0, 2, 0x82]),
            frame(1, 4, 2, &[0x88]),
            frame(0, 0, 2, &[1; 300]),
            frame(0, 1, 2, &[2; 100]),
            frame(6, 0, 0, &[9; 8]),
            frame(1, 4, 4, &[0x88]),
            frame(0, 1, 4, &[]),
        ]
        .concat();
        let (events, said) = counted(&Protocol::Push, &wire);
        assert_eq!((events, said), (2, [frame(4, 1, 0, &[]), frame(6, 1, 0, &[9; 8])].concat()));
    }

    #[test]
    fn refusals_are_noticed() {
        let mut wire = Wire::new(Protocol::Sse);
        assert!(wire.take(b"HTTP/1.1 429 Too Many Requests\r\n\r\n", &mut Vec::new()).is_err());
        let mut wire = Wire::new(Protocol::Push);
        assert!(wire.take(&frame(1, 5, 1, &[0x48]), &mut Vec::new()).is_err());
    }
}
