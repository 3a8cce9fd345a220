//! Frames and messages of WebSocket (RFC 6455 sections 5 to 8), the server's side, without a connection.
//!
//! Invariants: what a client sends is checked as it comes, text byte by byte (section 8.1), so nothing wrong is waited for; a message is never
//! held beyond `message_bytes_max`; what is sent is a header of 2 to 10 bytes and the payload as it is (a server does not mask).
use crate::listen::budget::{Budget, Share};
use bytes::Bytes;
use std::sync::Arc;

/// RFC 6455 section 7.4.1.
pub(crate) mod code {
    pub(crate) const GOING_AWAY: u16 = 1001;
    pub(crate) const PROTOCOL: u16 = 1002;
    pub(crate) const NOT_UTF8: u16 = 1007;
    pub(crate) const TOO_BIG: u16 = 1009;
    /// IANA's registry: "Try Again Later".
    pub(crate) const TRY_AGAIN: u16 = 1013;
}

/// Section 5.5: of the payload of a control frame.
pub(super) const CONTROL_BYTES_MAX: usize = 125;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

/// What a client said, complete.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Text(String),
    Binary(Bytes),
    Ping(Vec<u8>),
    Pong,
    /// With the code to answer with, if it gave one.
    Close(Option<u16>),
}

/// What a client did wrong: the code and the reason it is told.
pub(super) type Violation = (u16, &'static str);

const fn protocol(why: &'static str) -> Violation {
    (code::PROTOCOL, why)
}

/// The head of a frame to be sent whole.
pub(super) struct Head {
    bytes: [u8; 10],
    len: u8,
}

impl Head {
    pub(super) fn new(opcode: Opcode, payload_bytes: usize) -> Self {
        let mut bytes = [0; 10];
        bytes[0] = 0x80 | opcode as u8;
        let len = match payload_bytes {
            0..=125 => {
                bytes[1] = payload_bytes.to_le_bytes()[0];
                2
            }
            126..=0xffff => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&payload_bytes.to_be_bytes()[size_of::<usize>() - 2..]);
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..10].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
                10
            }
        };
        Self { bytes, len }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Takes bytes of a client, gives what they say.
pub(super) struct Reader {
    bytes_max: usize,
    /// Of the header that is being read.
    header: [u8; 14],
    have: u8,
    frame: Option<Payload>,
    /// Of the message that is being read, and the kind of its first frame.
    kind: Option<Opcode>,
    message: Vec<u8>,
    /// So much of a text is known to be UTF-8.
    valid: usize,
    share: Share,
    /// Payload of the control frame that is being read: it may come in the middle of a message.
    control: Vec<u8>,
}

/// The payload that is being read.
struct Payload {
    opcode: Opcode,
    last: bool,
    left: usize,
    mask: [u8; 4],
}

impl Reader {
    pub(super) fn new(message_bytes_max: usize, budget: &Arc<Budget>) -> Self {
        Self {
            bytes_max: message_bytes_max,
            header: [0; 14],
            have: 0,
            frame: None,
            kind: None,
            message: Vec::new(),
            valid: 0,
            share: budget.share(),
            control: Vec::new(),
        }
    }

    /// Takes bytes off `input` up to the end of what makes one event. `None`: all were taken. After a violation nothing more is to be read.
    pub(super) fn read(&mut self, input: &mut &[u8]) -> Result<Option<Event>, Violation> {
        loop {
            let Some(frame) = &mut self.frame else {
                if !self.read_header(input)? {
                    return Ok(None);
                }
                continue;
            };
            let take = frame.left.min(input.len());
            let (bytes, rest) = input.split_at(take);
            *input = rest;
            let control = is_control(frame.opcode);
            let to = if control { &mut self.control } else { &mut self.message };
            if !control && !self.share.grow(take) {
                return Err((code::TRY_AGAIN, "too much is held for other clients"));
            }
            let from = to.len();
            to.extend_from_slice(bytes);
            unmask(&mut to[from..], &mut frame.mask);
            frame.left -= take;
            let (opcode, last, done) = (frame.opcode, frame.last, frame.left == 0);
            if !control && self.kind == Some(Opcode::Text) {
                self.check_text(done && last)?;
            }
            if !done {
                return Ok(None);
            }
            self.frame = None;
            if control {
                return control_event(opcode, std::mem::take(&mut self.control)).map(Some);
            }
            if last {
                return Ok(Some(self.finish()));
            }
        }
    }

    /// Whether the header is whole.
    fn read_header(&mut self, input: &mut &[u8]) -> Result<bool, Violation> {
        let mut have = usize::from(self.have);
        loop {
            let need = match have {
                0 | 1 => 2,
                _ => {
                    self.check_header_start()?;
                    6 + match self.header[1] & 0x7f {
                        126 => 2,
                        127 => 8,
                        _ => 0,
                    }
                }
            };
            if have == need {
                break;
            }
            let take = (need - have).min(input.len());
            if take == 0 {
                self.have = u8::try_from(have).expect("a header has 14 bytes at most");
                return Ok(false);
            }
            let (bytes, rest) = input.split_at(take);
            self.header[have..have + take].copy_from_slice(bytes);
            *input = rest;
            have += take;
        }
        self.have = 0;
        self.begin(have)?;
        Ok(true)
    }

    /// Everything that the first two bytes tell.
    fn check_header_start(&self) -> Result<(), Violation> {
        let [first, second, ..] = self.header;
        if first & 0x70 != 0 {
            return Err(protocol("no extension was agreed on: RSV bits must be 0"));
        }
        if second & 0x80 == 0 {
            return Err(protocol("a client must mask its frames"));
        }
        let Some(opcode) = opcode(first) else { return Err(protocol("reserved opcode")) };
        if is_control(opcode) && (first & 0x80 == 0 || second & 0x7f > 125) {
            return Err(protocol("a control frame must be whole and no longer than 125 bytes"));
        }
        match (opcode, self.kind) {
            (Opcode::Continuation, None) => Err(protocol("a continuation of nothing")),
            (Opcode::Text | Opcode::Binary, Some(_)) => Err(protocol("a message inside another")),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, have: usize) -> Result<(), Violation> {
        let opcode = opcode(self.header[0]).expect("checked with the first two bytes");
        let (extended, mask) = self.header[2..have].split_at(have - 6);
        let length = match extended.len() {
            0 => u64::from(self.header[1] & 0x7f),
            _ => extended.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        match extended.len() {
            2 if length < 126 => return Err(protocol("a length must have the fewest bytes that it needs")),
            8 if length <= 0xffff || length >> 63 != 0 => {
                return Err(protocol("a length must have the fewest bytes that it needs, and 63 bits"));
            }
            _ => {}
        }
        let fits = usize::try_from(length).ok().filter(|length| is_control(opcode) || self.message.len() + length <= self.bytes_max);
        let Some(left) = fits else { return Err((code::TOO_BIG, "the message is too long")) };
        if matches!(opcode, Opcode::Text | Opcode::Binary) {
            self.kind = Some(opcode);
        }
        let mask = mask.try_into().expect("a header ends with four bytes of mask");
        self.frame = Some(Payload { opcode, last: self.header[0] & 0x80 != 0, left, mask });
        Ok(())
    }

    fn check_text(&mut self, end: bool) -> Result<(), Violation> {
        let wrong = Err((code::NOT_UTF8, "text must be UTF-8"));
        match std::str::from_utf8(&self.message[self.valid..]) {
            Ok(_) => self.valid = self.message.len(),
            Err(error) if error.error_len().is_some() => return wrong,
            Err(error) => self.valid += error.valid_up_to(),
        }
        if end && self.valid < self.message.len() { wrong } else { Ok(()) }
    }

    fn finish(&mut self) -> Event {
        self.valid = 0;
        let message = std::mem::take(&mut self.message);
        self.share.clear();
        match self.kind.take() {
            Some(Opcode::Text) => Event::Text(String::from_utf8(message).expect("checked as it came")),
            _ => Event::Binary(message.into()),
        }
    }
}

fn opcode(first: u8) -> Option<Opcode> {
    Some(match first & 0x0f {
        0x0 => Opcode::Continuation,
        0x1 => Opcode::Text,
        0x2 => Opcode::Binary,
        0x8 => Opcode::Close,
        0x9 => Opcode::Ping,
        0xa => Opcode::Pong,
        _ => return None,
    })
}

fn is_control(opcode: Opcode) -> bool {
    matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong)
}

fn control_event(opcode: Opcode, payload: Vec<u8>) -> Result<Event, Violation> {
    Ok(match opcode {
        Opcode::Ping => Event::Ping(payload),
        Opcode::Close => Event::Close(match payload.as_slice() {
            [] => None,
            [_] => return Err(protocol("a close code has two bytes")),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                if !may_be_sent(code) {
                    return Err(protocol("no such close code"));
                }
                if std::str::from_utf8(reason).is_err() {
                    return Err((code::NOT_UTF8, "a close reason must be UTF-8"));
                }
                Some(code)
            }
        }),
        _ => Event::Pong,
    })
}

/// Section 7.4 and IANA's registry (1012 to 1014): 1005, 1006 and 1015 are never in a frame, 1004 has no meaning, 3000 and up are free.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Section 5.3. The mask is turned to where the next bytes begin.
fn unmask(bytes: &mut [u8], mask: &mut [u8; 4]) {
    let key = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    let turned = rest.len() % 4;
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    mask.rotate_left(turned);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A frame as a client sends it.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..=125 => frame.push(0x80 | short as u8),
            medium @ 126..=0xffff => {
                frame.push(0xfe);
                frame.extend((medium as u16).to_be_bytes());
            }
            long => {
                frame.push(0xff);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// Everything that the bytes say, read in parts of so many bytes.
    fn read(bytes: &[u8], part: usize) -> (Vec<Event>, Option<u16>) {
        let budget = Budget::new(usize::MAX);
        let mut reader = Reader::new(1 << 20, &budget);
        let mut events = Vec::new();
        for mut input in bytes.chunks(part.max(1)) {
            while !input.is_empty() {
                match reader.read(&mut input) {
                    Ok(event) => events.extend(event),
                    Err((code, _)) => return (events, Some(code)),
                }
            }
        }
        drop(reader);
        assert_eq!(budget.bytes(), 0);
        (events, None)
    }

    /// RFC 6455 section 5.7.
    #[test]
    fn examples_of_the_rfc() {
        let hello = || Event::Text("Hello".into());
        let single = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(read(&single, 100), (vec![hello()], None));
        assert_eq!(read(&[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f], 100), (vec![], Some(1002)), "unmasked");
        let fragments = [masked(0x01, b"Hel"), masked(0x80, b"lo")].concat();
        assert_eq!(read(&fragments, 100), (vec![hello()], None));
        let ping = masked(0x89, b"Hello");
        assert_eq!(read(&ping, 100), (vec![Event::Ping(b"Hello".to_vec())], None));
        assert_eq!(Head::new(Opcode::Text, 5).as_bytes(), [0x81, 0x05]);
        assert_eq!(Head::new(Opcode::Ping, 5).as_bytes(), [0x89, 0x05]);
        assert_eq!(Head::new(Opcode::Pong, 5).as_bytes(), [0x8a, 0x05]);
        assert_eq!(Head::new(Opcode::Binary, 256).as_bytes(), [0x82, 0x7e, 0x01, 0x00]);
        assert_eq!(Head::new(Opcode::Binary, 65536).as_bytes(), [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(Head::new(Opcode::Text, 125).as_bytes(), [0x81, 125]);
        assert_eq!(Head::new(Opcode::Text, 126).as_bytes(), [0x81, 126, 0, 126]);
        assert_eq!(Head::new(Opcode::Text, 65535).as_bytes(), [0x81, 126, 0xff, 0xff]);
    }

    #[test]
    fn violations_and_their_codes() {
        let close = |code: u16, reason: &[u8]| masked(0x88, &[&code.to_be_bytes()[..], reason].concat());
        let text = || masked(0x81, b"x");
        for (section, bytes, want) in [
            ("5.2 RSV1", masked(0xc1, b""), Some(1002)),
            ("5.2 RSV3", masked(0x91, b""), Some(1002)),
            ("5.2 reserved data opcode", masked(0x83, b""), Some(1002)),
            ("5.2 reserved control opcode", masked(0x8b, b""), Some(1002)),
            ("5.2 length in more bytes than needed", [&[0x81, 0xfe, 0, 5][..], &[0; 9]].concat(), Some(1002)),
            ("5.2 length in more bytes than needed, 8", [&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 1, 0][..], &[0; 9]].concat(), Some(1002)),
            ("5.2 most significant bit of the length", [&[0x82, 0xff, 0x80][..], &[0; 20]].concat(), Some(1002)),
            ("5.4 continuation of nothing", masked(0x80, b"x"), Some(1002)),
            ("5.4 message inside another", [masked(0x01, b"x"), text()].concat(), Some(1002)),
            ("5.4 control frame inside a message", [masked(0x01, b"x"), masked(0x89, b"p"), masked(0x80, b"y")].concat(), None),
            ("5.5 fragmented ping", masked(0x09, b"x"), Some(1002)),
            ("5.5 ping of 125", masked(0x89, &[7; 125]), None),
            ("5.5 ping of 126", masked(0x89, &[7; 126]), Some(1002)),
            ("5.5.1 close without a body", masked(0x88, b""), None),
            ("5.5.1 close of one byte", masked(0x88, b"x"), Some(1002)),
            ("5.5.1 reason of 123 bytes", close(1000, &[b'r'; 123]), None),
            ("5.5.1 reason that is not UTF-8", close(1000, b"\xff"), Some(1007)),
            ("7.4.1 1000", close(1000, b""), None),
            ("7.4.1 1003", close(1003, b""), None),
            ("7.4.1 1007", close(1007, b""), None),
            ("7.4.1 1011", close(1011, b""), None),
            ("IANA 1014", close(1014, b""), None),
            ("7.4.2 3000", close(3000, b""), None),
            ("7.4.2 4999", close(4999, b""), None),
            ("7.4.2 0", close(0, b""), Some(1002)),
            ("7.4.2 999", close(999, b""), Some(1002)),
            ("7.4.1 1004", close(1004, b""), Some(1002)),
            ("7.4.1 1005", close(1005, b""), Some(1002)),
            ("7.4.1 1006", close(1006, b""), Some(1002)),
            ("7.4.1 1015", close(1015, b""), Some(1002)),
            ("7.4.2 1016", close(1016, b""), Some(1002)),
            ("7.4.2 2999", close(2999, b""), Some(1002)),
            ("7.4.2 5000", close(5000, b""), Some(1002)),
            ("8.1 text that is not UTF-8", masked(0x81, b"\xce\xba\xed\xa0\x80"), Some(1007)),
            ("8.1 text that ends inside a character", masked(0x81, b"\xce"), Some(1007)),
            ("8.1 a character over two fragments", [masked(0x01, b"\xce"), masked(0x80, b"\xba")].concat(), None),
            ("8.1 wrong before its message is whole", masked(0x01, b"\xf4\x90"), Some(1007)),
            ("10.4 too long", masked(0x82, &vec![0; (1 << 20) + 1]), Some(1009)),
            ("10.4 too long in fragments", [masked(0x02, &vec![0; 1 << 20]), masked(0x80, b"x")].concat(), Some(1009)),
        ] {
            for part in [1, 7, usize::MAX] {
                assert_eq!(read(&bytes, part).1, want, "section {section}, {part} bytes at a time");
            }
        }
    }

    proptest! {
        /// However a message is cut into frames, and frames into packets, it says the same.
        #[test]
        fn cuts_change_nothing(
            text in "\\PC{0,300}", long in prop::collection::vec(any::<u8>(), 0..70_000), cuts in prop::collection::vec(1_usize..200, 1..5), part in 1_usize..5000
        ) {
            let mut bytes = Vec::new();
            let mut left = text.as_bytes();
            let mut first = 0x01;
            for cut in cuts {
                let (now, later) = left.split_at(cut.min(left.len()));
                bytes.extend(masked(first, now));
                bytes.extend(masked(0x89, b"between"));
                (left, first) = (later, 0x00);
            }
            bytes.extend(masked(0x80, left));
            bytes.extend(masked(0x82, &long));
            let (mut events, violation) = read(&bytes, part);
            prop_assert_eq!(violation, None);
            events.retain(|event| !matches!(event, Event::Ping(payload) if payload == b"between"));
            prop_assert_eq!(events, vec![Event::Text(text), Event::Binary(long.into())]);
        }

        /// Whatever comes, it is read to its end or refused, and nothing is kept beyond the bound.
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..2000), part in 1_usize..64) {
            read(&bytes, part);
        }
    }
}
