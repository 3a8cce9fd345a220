//! Streams of HTTP/2 whose answer goes on (RFC 9113), WebSockets among them (RFC 8441).
//!
//! Invariant: h2 is given no more than the client's windows take, and nothing while the connection does not take what h2 has: what a client
//! does not read is not queued in h2 either.
use super::super::wire::{Frame, Unsent, Wire};
use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A frame up to this length goes to h2 in one piece, which costs a copy; of a longer one every piece goes as it is. 2 KiB: h2 takes more
/// time for a piece than memory does to copy that.
const COPIED_BYTES_MAX: usize = 2 << 10;

/// Shut while the connection does not take what h2 wrote.
#[derive(Default)]
pub(super) struct Gate {
    shut: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl Gate {
    fn poll_open(&self, context: &Context<'_>) -> Poll<()> {
        if !self.shut.load(Relaxed) {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }

    fn set(&self, shut: bool) {
        if self.shut.swap(shut, Relaxed) && !shut {
            let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

/// The connection that a [`Gate`] belongs to.
pub(super) struct Gated<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S> Gated<S> {
    pub(super) fn new(inner: S, gate: Arc<Gate>) -> Self {
        Self { inner, gate }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gated<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gated<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.gate.set(written.is_pending());
        written
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.gate.set(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// One stream.
pub(super) struct Channel {
    stream: SendStream<Bytes>,
    body: RecvStream,
    gate: Arc<Gate>,
    ended: bool,
}

impl Channel {
    pub(super) fn new(stream: SendStream<Bytes>, body: RecvStream, gate: Arc<Gate>) -> Self {
        Self { stream, body, gate, ended: false }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if !self.ended {
            self.stream.send_reset(Reason::CANCEL);
        }
    }
}

fn gone() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl Wire for Channel {
    fn send(&mut self, context: &mut Context<'_>, frame: Frame<'_>, unsent: &mut Unsent) -> io::Result<()> {
        let bytes = frame.head.len() + frame.payload_bytes();
        if bytes <= COPIED_BYTES_MAX {
            let mut all = Vec::with_capacity(bytes);
            all.extend_from_slice(frame.head);
            frame.pieces.iter().for_each(|piece| all.extend_from_slice(piece));
            unsent.push(all.into());
        } else {
            unsent.keep(&frame, b"", 0);
        }
        match self.poll_flush(context, unsent, &mut false) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Ok(()),
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>, unsent: &mut Unsent, progress: &mut bool) -> Poll<io::Result<()>> {
        loop {
            let left = unsent.pieces().map(Bytes::len).sum();
            let Some(first) = unsent.first() else {
                unsent.flushed();
                return Poll::Ready(Ok(()));
            };
            ready!(self.gate.poll_open(context));
            self.stream.reserve_capacity(left);
            let capacity = match self.stream.capacity() {
                0 => match ready!(self.stream.poll_capacity(context)) {
                    Some(Ok(capacity)) => capacity,
                    Some(Err(_)) | None => return Poll::Ready(Err(gone())),
                },
                capacity => capacity,
            };
            let take = capacity.min(first.len());
            if take > 0 {
                self.stream.send_data(first.slice(..take), false).map_err(|_| gone())?;
                *progress = true;
                unsent.advance(take);
            }
        }
    }

    fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended = true;
        Poll::Ready(self.stream.send_data(Bytes::new(), true).map_err(|_| gone()))
    }

    fn poll_hear(&mut self, context: &mut Context<'_>, hear: &mut dyn FnMut(&[u8])) -> Poll<io::Result<usize>> {
        loop {
            match ready!(self.body.poll_data(context)) {
                None => return Poll::Ready(Ok(0)),
                Some(Err(_)) => return Poll::Ready(Err(gone())),
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => {
                    hear(bytes.chunk());
                    let _ = self.body.flow_control().release_capacity(bytes.len());
                    return Poll::Ready(Ok(bytes.len()));
                }
            }
        }
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_reset(context).map(drop)
    }
}
