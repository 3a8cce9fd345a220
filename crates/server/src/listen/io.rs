//! A byte stream whose first bytes were looked at.
use crate::admin::Protocol;
use bytes::Bytes;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What an HTTP/2 client says first (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// `inner`, with the bytes that [`Io::sniff`] or somebody else read in front of it again.
pub(super) struct Io<S> {
    inner: S,
    seen: [u8; PREFACE.len()],
    /// `seen[start..end]` is still to be read, then `early`.
    start: usize,
    end: usize,
    early: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Io<S> {
    pub(super) fn new(inner: S) -> Self {
        Self::after(inner, Bytes::new())
    }

    /// A stream of which somebody read `early` before.
    pub(super) fn after(inner: S, early: Bytes) -> Self {
        Self { inner, seen: [0; PREFACE.len()], start: 0, end: 0, early }
    }

    /// The stream, and what was read of it and taken by nobody.
    pub(super) fn into_parts(self) -> (S, Bytes) {
        let seen = &self.seen[self.start..self.end];
        (self.inner, if seen.is_empty() { self.early } else { [seen, &*self.early].concat().into() })
    }

    /// Which protocol the client speaks, told by as few bytes as that takes. `None`: it left without a word.
    pub(super) async fn sniff(&mut self) -> io::Result<Option<Protocol>> {
        loop {
            let read = self.inner.read(&mut self.seen[self.end..]).await?;
            if read == 0 {
                return Ok((self.end > 0).then_some(Protocol::Http1));
            }
            self.end += read;
            if self.seen[..self.end] != PREFACE[..self.end] {
                return Ok(Some(Protocol::Http1));
            }
            if self.end == PREFACE.len() {
                return Ok(Some(Protocol::Http2));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Io<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.start < self.end {
            let take = buffer.remaining().min(self.end - self.start);
            buffer.put_slice(&self.seen[self.start..self.start + take]);
            self.start += take;
            return Poll::Ready(Ok(()));
        }
        if !self.early.is_empty() {
            let take = buffer.remaining().min(self.early.len());
            buffer.put_slice(&self.early.split_to(take));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Io<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
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

/// A byte stream that tells when its user flushed it: all that the user has to send is sent then.
pub(super) struct Watched<'a, S> {
    inner: S,
    flushed: &'a AtomicBool,
}

impl<'a, S> Watched<'a, S> {
    pub(super) fn new(inner: S, flushed: &'a AtomicBool) -> Self {
        Self { inner, flushed }
    }

    pub(super) fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<'_, S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.flushed.store(true, Relaxed);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
