//! A client of HTTP/2 that writes exactly the frames it is told (RFC 9113), and holds the server to what it may send back.
//!
//! Header blocks are written with literals and read only as far as the first field, which says the status or the method.
use crate::served::PATIENCE;
use std::{
    collections::{BTreeMap, VecDeque},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const ENABLE_PUSH: u16 = 2;
pub const MAX_CONCURRENT_STREAMS: u16 = 3;
pub const INITIAL_WINDOW_SIZE: u16 = 4;

pub const CANCEL: u32 = 8;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn ends(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// Of PUSH_PROMISE.
    pub fn promised(&self) -> u32 {
        assert_eq!(self.kind, PUSH_PROMISE);
        number(&self.payload)
    }

    /// Of RST_STREAM.
    pub fn code(&self) -> u32 {
        assert_eq!(self.kind, RST_STREAM);
        number(&self.payload)
    }
}

pub fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

/// How far a pushed stream came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    Promised,
    Answering,
    Ended,
    Reset,
}

pub struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
    kept: VecDeque<Frame>,
    /// Every pushed stream there was, with the one it was promised on.
    pub pushed: BTreeMap<u32, (u32, Pushed)>,
    /// Streams that ended or were reset and that the server knows of: nothing may be promised on them.
    pub over: Vec<u32>,
    /// What we told the server of MAX_CONCURRENT_STREAMS and it acknowledged.
    pub streams_max: usize,
    /// Whether PING is answered.
    pub pongs: bool,
    pings: u64,
}

impl Raw {
    /// Says the preface and these settings; reads until both sides' are acknowledged.
    pub fn open(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut raw = Self::silent(address);
        raw.write(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &setting(settings))].concat());
        while raw.next().kind != SETTINGS {}
        raw.set(&[]);
        raw.apply(settings);
        raw
    }

    fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
            kept: VecDeque::new(),
            pushed: BTreeMap::new(),
            over: Vec::new(),
            streams_max: usize::MAX,
            pongs: true,
            pings: 0,
        }
    }

    fn apply(&mut self, settings: &[(u16, u32)]) {
        for (_, value) in settings.iter().filter(|(name, _)| *name == MAX_CONCURRENT_STREAMS) {
            self.streams_max = *value as usize;
        }
    }

    /// Changes settings and waits until the server knows.
    pub fn set(&mut self, settings: &[(u16, u32)]) {
        self.send(SETTINGS, 0, 0, &setting(settings));
        self.until(|frame| frame.kind == SETTINGS && frame.flags & ACK != 0);
        self.apply(settings);
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.write(&frame(kind, flags, stream, payload));
    }

    pub fn reset(&mut self, stream: u32) {
        self.send(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
        if let Some((_, state)) = self.pushed.get_mut(&stream) {
            *state = Pushed::Reset;
        }
    }

    pub fn open_window(&mut self, stream: u32, bytes: u32) {
        self.send(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
    }

    /// A request without a body.
    pub fn ask(&mut self, stream: u32, method: &str, path: &str) {
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &request(method, path, &[]));
    }

    /// A request for a transport queue. Its body has a `content-length`, and ends the stream if told.
    pub fn make_queue(&mut self, stream: u32, body: &str, ends: bool) {
        let length = body.len().to_string();
        let fields = [("content-type", "application/alto-transport+json"), ("content-length", &*length)];
        self.send(HEADERS, END_HEADERS, stream, &request("POST", "/tqs", &fields));
        self.send(DATA, if ends { END_STREAM } else { 0 }, stream, body.as_bytes());
    }

    /// Frames until this one, which is returned; what came before is still to be had from [`Raw::next`].
    pub fn until(&mut self, mut wanted: impl FnMut(&Frame) -> bool) -> Frame {
        if let Some(at) = self.kept.iter().position(&mut wanted) {
            return self.kept.remove(at).expect("it was found there");
        }
        let mut before = VecDeque::new();
        let found = loop {
            let frame = self.read();
            if wanted(&frame) {
                break frame;
            }
            before.push_back(frame);
        };
        self.kept.extend(before);
        found
    }

    /// Everything the server says before it answers a PING sent now. What it did in answer to what we said before has then come.
    pub fn settled(&mut self) -> Vec<Frame> {
        self.pings += 1;
        let payload = self.pings.to_be_bytes();
        self.send(PING, 0, 0, &payload);
        // Never one kept: its payload is new.
        self.until(|frame| frame.kind == PING && frame.flags & ACK != 0 && frame.payload == payload);
        self.kept.drain(..).collect()
    }

    /// The next frame.
    pub fn next(&mut self) -> Frame {
        self.kept.pop_front().unwrap_or_else(|| self.read())
    }

    /// A whole answer: its first header byte and its body; it ends with the stream, or with `bytes` of it.
    pub fn answer(&mut self, stream: u32, bytes: Option<usize>) -> (u8, Vec<u8>) {
        let head = self.until(|frame| frame.stream == stream && matches!(frame.kind, HEADERS | RST_STREAM));
        assert_eq!(head.kind, HEADERS, "stream {stream} was reset: {head:?}");
        let (mut body, mut ended) = (Vec::new(), head.ends());
        while !ended && bytes.is_none_or(|bytes| body.len() < bytes) {
            let frame = self.until(|frame| frame.stream == stream && matches!(frame.kind, DATA | HEADERS | RST_STREAM));
            assert_ne!(frame.kind, RST_STREAM, "stream {stream} was reset: {frame:?}");
            ended = frame.ends();
            body.extend(frame.payload);
        }
        (head.payload[0], body)
    }

    /// A queue's URI. Its stream stays open.
    pub fn queue(&mut self, stream: u32) -> String {
        let head = self.until(|frame| frame.stream == stream && frame.kind == HEADERS);
        assert!(!head.ends() && head.payload[0] == OK, "{head:?}");
        let body = self.until(|frame| frame.stream == stream && frame.kind == DATA);
        assert!(!body.ends(), "{body:?}");
        let body: serde_json::Value = serde_json::from_slice(&body.payload).unwrap();
        body["tq"].as_str().unwrap().to_owned()
    }

    /// A push from promise to end: its stream and body.
    pub fn push(&mut self, parent: u32) -> (u32, Vec<u8>) {
        let promised = self.until(|frame| frame.kind == PUSH_PROMISE && frame.stream == parent).promised();
        let (status, body) = self.answer(promised, None);
        assert_eq!(status, OK);
        (promised, body)
    }

    /// Whether the server ended the connection, and how: the code of its GOAWAY.
    pub fn ended(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.try_read() {
            if frame.kind == GOAWAY {
                code = Some(number(&frame.payload[4..]));
            }
        }
        code
    }

    fn read(&mut self) -> Frame {
        self.try_read().expect("the connection goes on")
    }

    fn try_read(&mut self) -> Option<Frame> {
        let frame = loop {
            if self.buffer.len() >= 9 {
                let length = number(&[&[0], &self.buffer[..3]].concat()) as usize;
                if self.buffer.len() >= 9 + length {
                    let stream = number(&self.buffer[5..9]);
                    let (kind, flags) = (self.buffer[3], self.buffer[4]);
                    let payload = self.buffer.drain(..9 + length).skip(9).collect();
                    break Frame { kind, flags, stream, payload };
                }
            }
            let mut chunk = [0; 64 << 10];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(read) => self.buffer.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}; pushed: {:?}", self.pushed),
            }
        };
        self.check(&frame);
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => self.answer_to(SETTINGS, &[]),
            PING if frame.flags & ACK == 0 && self.pongs => self.answer_to(PING, &frame.payload.clone()),
            _ => {}
        }
        Some(frame)
    }

    fn answer_to(&mut self, kind: u8, payload: &[u8]) {
        // The server may have left.
        let _ = self.stream.write_all(&frame(kind, ACK, 0, payload));
    }

    /// RFC 9113 sections 5.1 and 8.4, as far as pushes go.
    fn check(&mut self, frame: &Frame) {
        let even = frame.stream != 0 && frame.stream.is_multiple_of(2);
        if frame.kind == PUSH_PROMISE {
            let promised = frame.promised();
            assert!(
                promised.is_multiple_of(2) && self.pushed.keys().all(|id| *id < promised),
                "{promised} is no new id: {:?}",
                self.pushed
            );
            assert!(!self.over.contains(&frame.stream), "promised on stream {}, which is over", frame.stream);
            assert_eq!(frame.payload[4], GET, "only GET is promised");
            self.pushed.insert(promised, (frame.stream, Pushed::Promised));
        } else if even && frame.kind != WINDOW_UPDATE {
            let (_, state) = self.pushed.get_mut(&frame.stream).unwrap_or_else(|| panic!("stream {} was not promised", frame.stream));
            *state = match (frame.kind, *state) {
                (RST_STREAM, _) => Pushed::Reset,
                (_, Pushed::Reset) => Pushed::Reset,
                (HEADERS, Pushed::Promised) | (DATA, Pushed::Answering) if frame.ends() => Pushed::Ended,
                (HEADERS, Pushed::Promised) | (DATA, Pushed::Answering) => Pushed::Answering,
                (_, state) => panic!("{frame:?} on a stream that is {state:?}"),
            };
            let open = self.pushed.values().filter(|(_, state)| *state == Pushed::Answering).count();
            assert!(open <= self.streams_max, "{open} pushed streams are open, {} may be", self.streams_max);
        } else if !even && (frame.ends() || frame.kind == RST_STREAM) {
            self.over.push(frame.stream);
        }
    }

    /// Pushed streams that are promised and not answered: none, once all is settled.
    pub fn unanswered(&self) -> Vec<u32> {
        self.pushed.iter().filter(|(_, (_, state))| *state == Pushed::Promised).map(|(id, _)| *id).collect()
    }
}

/// `:status: 200` and `:method: GET` of the static table (RFC 7541 appendix A).
pub const OK: u8 = 0x88;
pub const NOT_FOUND: u8 = 0x8d;
const GET: u8 = 0x82;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn setting(settings: &[(u16, u32)]) -> Vec<u8> {
    settings.iter().flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect()
}

/// Literals without indexing (RFC 7541 section 6.2.2), not coded.
pub fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "http"), (":authority", "alto.example.com"), (":path", path)];
    let mut block = Vec::new();
    for (name, value) in pseudo.iter().chain(fields) {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "needs no second byte of length");
            block.push(text.len() as u8);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}
