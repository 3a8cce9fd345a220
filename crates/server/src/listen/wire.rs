//! Where live answers are written: a connection of HTTP/1.1, or one stream of HTTP/2 (`http2/live.rs`).
//!
//! Invariant: a payload is never copied for a client that takes it; what a client does not take at once is kept as parts of the shared
//! bytes, of one frame at most, and nothing more is asked for until it is gone.
use bytes::{Buf, Bytes};
use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, IoSlice, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Slices in one `writev`: a frame has three to five; more go with the next call.
const SLICES_MAX: usize = 16;
/// Read at a time, into one buffer for all connections of a thread.
const READ_BYTES: usize = 16 << 10;
/// What a client may send after a request whose answer goes on, all in all. 64 KiB: a few requests that will not be answered.
const UNHEARD_BYTES_MAX: usize = 64 << 10;

/// One frame to send, built of shared pieces.
pub(super) struct Frame<'a> {
    /// Goes first; a few bytes made for this client.
    pub(super) head: &'a [u8],
    pub(super) pieces: &'a [Bytes],
}

impl Frame<'_> {
    /// Of its pieces.
    pub(super) fn payload_bytes(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }
}

/// What is left of a frame that the other end did not take whole. With no pieces left it may still have to be flushed.
#[derive(Default)]
#[allow(clippy::box_collection, reason = "most connections have nothing unsent, and none should hold a deque's room for it")]
pub(super) struct Unsent(Option<Box<VecDeque<Bytes>>>);

impl Unsent {
    /// Nothing to send, nothing to flush.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        let pieces = self.0.get_or_insert_default();
        if !piece.is_empty() {
            pieces.push_back(piece);
        }
    }

    /// What is left of a frame of which so many bytes were sent.
    pub(super) fn keep(&mut self, frame: &Frame<'_>, tail: &'static [u8], sent: usize) {
        self.push(Bytes::copy_from_slice(frame.head));
        frame.pieces.iter().for_each(|piece| self.push(piece.clone()));
        self.push(Bytes::from_static(tail));
        self.advance(sent);
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        self.0.iter().flat_map(|pieces| pieces.iter())
    }

    /// The next piece.
    pub(super) fn first(&mut self) -> Option<&mut Bytes> {
        self.0.as_mut()?.front_mut()
    }

    /// Takes off what was sent.
    pub(super) fn advance(&mut self, mut bytes: usize) {
        let Some(pieces) = &mut self.0 else { return };
        while let Some(first) = pieces.front_mut() {
            if bytes < first.len() {
                return first.advance(bytes);
            }
            bytes -= first.len();
            pieces.pop_front();
        }
    }

    /// All of it is with the other end.
    pub(super) fn flushed(&mut self) {
        self.0 = None;
    }
}

/// A place to write frames to and to hear from.
pub(super) trait Wire: Unpin + Send {
    /// Sends a frame; nothing is unsent before. What is not taken now is left in `unsent`.
    fn send(&mut self, context: &mut Context<'_>, frame: Frame<'_>, unsent: &mut Unsent) -> io::Result<()>;
    /// Sends what is unsent, some bytes at least. Ready when all of it is sent; whether anything was is in the counter.
    fn poll_flush(&mut self, context: &mut Context<'_>, unsent: &mut Unsent, progress: &mut bool) -> Poll<io::Result<()>>;
    /// Nothing more is sent.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Hands over what the client sends. Ready with 0: it sends no more.
    fn poll_hear(&mut self, context: &mut Context<'_>, hear: &mut dyn FnMut(&[u8])) -> Poll<io::Result<usize>>;
    /// Ready when the client left or says more than it has to say.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()>;
}

/// A connection of its own.
pub(super) struct Line<S> {
    io: S,
    /// Frames are chunks of HTTP/1.1 (RFC 9112 section 7.1).
    chunked: bool,
    unheard: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Line<S> {
    pub(super) fn new(io: S, chunked: bool) -> Self {
        Self { io, chunked, unheard: 0 }
    }

    pub(super) fn into_inner(self) -> S {
        self.io
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire for Line<S> {
    fn send(&mut self, context: &mut Context<'_>, frame: Frame<'_>, unsent: &mut Unsent) -> io::Result<()> {
        debug_assert!(unsent.is_empty());
        let bytes = frame.payload_bytes();
        let mut chunk = [0; 20];
        let (head, tail): (&[u8], &'static [u8]) = match self.chunked {
            // An empty chunk would be the last.
            true if bytes == 0 => return Ok(()),
            true => {
                let mut left = chunk.as_mut_slice();
                write!(left, "{bytes:x}\r\n").expect("16 digits and CRLF fit");
                let unused = left.len();
                (&chunk[..chunk.len() - unused], b"\r\n")
            }
            false => (frame.head, b""),
        };
        let frame = Frame { head, pieces: frame.pieces };
        let total = head.len() + bytes + tail.len();
        let mut sent = 0;
        // A frame of more pieces is the exception, and takes the way of what is left.
        if frame.pieces.len() + 2 <= SLICES_MAX {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            slices[0] = IoSlice::new(head);
            for (slice, piece) in slices[1..].iter_mut().zip(frame.pieces) {
                *slice = IoSlice::new(piece);
            }
            slices[frame.pieces.len() + 1] = IoSlice::new(tail);
            match Pin::new(&mut self.io).poll_write_vectored(context, &slices[..frame.pieces.len() + 2]) {
                Poll::Ready(written) => sent = written?,
                Poll::Pending => {
                    unsent.keep(&frame, tail, 0);
                    return Ok(());
                }
            }
            if sent == total && Pin::new(&mut self.io).poll_flush(context)?.is_ready() {
                return Ok(());
            }
        }
        unsent.keep(&frame, tail, sent);
        // Until it is pending, so that the task is woken when there is room.
        match self.poll_flush(context, unsent, &mut false) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Ok(()),
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>, unsent: &mut Unsent, progress: &mut bool) -> Poll<io::Result<()>> {
        while unsent.first().is_some() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(unsent.pieces()) {
                *slice = IoSlice::new(piece);
                count += 1;
            }
            let written = ready!(Pin::new(&mut self.io).poll_write_vectored(context, &slices[..count]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *progress = true;
            unsent.advance(written);
        }
        // TLS has a buffer of its own.
        ready!(Pin::new(&mut self.io).poll_flush(context))?;
        unsent.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.chunked {
            match ready!(Pin::new(&mut self.io).poll_write(context, b"0\r\n\r\n"))? {
                5 => self.chunked = false,
                // A buffer with room for a part of five bytes: the client has seen no end, and sees the connection closed instead.
                _ => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            }
        }
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_hear(&mut self, context: &mut Context<'_>, hear: &mut dyn FnMut(&[u8])) -> Poll<io::Result<usize>> {
        thread_local! {
            static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
        }
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.io).poll_read(context, &mut buffer))?;
            hear(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            match ready!(self.poll_hear(context, &mut |_| {})) {
                Err(_) | Ok(0) => return Poll::Ready(()),
                Ok(bytes) => self.unheard += bytes,
            }
            if self.unheard > UNHEARD_BYTES_MAX {
                return Poll::Ready(());
            }
        }
    }
}
