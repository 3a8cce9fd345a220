//! A connection of which somebody sees what every read came to.
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// `see` is told how many bytes came, or why none did, and says what the reader is told.
#[derive(Debug)]
pub(crate) struct Tapped<T, F> {
    io: T,
    see: F,
}

impl<T, F> Tapped<T, F>
where
    T: AsyncRead + AsyncWrite + Unpin,
    F: FnMut(io::Result<usize>) -> io::Result<()> + Unpin,
{
    pub fn new(io: T, see: F) -> Self {
        Self { io, see }
    }
}

impl<T, F> AsyncRead for Tapped<T, F>
where
    T: AsyncRead + Unpin,
    F: FnMut(io::Result<usize>) -> io::Result<()> + Unpin,
{
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.io).poll_read(context, buffer));
        let read = read.map(|()| buffer.filled().len() - before);
        Poll::Ready((self.see)(read))
    }
}

impl<T: AsyncWrite + Unpin, F: Unpin> AsyncWrite for Tapped<T, F> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
