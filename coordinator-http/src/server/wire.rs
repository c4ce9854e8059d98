//! A connection's socket, with the meter told of what passes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::meter::Meter;

/// The socket.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    meter: Meter,
    /// What is read before anything of the socket; the meter knows it already.
    first: Bytes,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, meter: Meter) -> Self {
        Self { stream, meter, first: Bytes::new() }
    }

    /// The same socket, from which these bytes are read first.
    pub(super) fn after(self, first: Bytes) -> Self {
        Self { first, ..self }
    }

    /// Takes what is left to be read before anything of the socket.
    pub(super) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.first)
    }

    /// Whether more can be read or the peer has said all, once one of them is so.
    pub(super) fn poll_has_more(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut byte = [0];
        self.stream.poll_peek(cx, &mut ReadBuf::new(&mut byte)).map_ok(|count| count > 0)
    }

    fn told<T>(&self, outcome: Poll<T>) -> Poll<T> {
        self.meter.wrote(outcome.is_pending());
        outcome
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let count = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first[..count]);
            self.first.advance(count);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.meter.read(&buf.filled()[before..]);
        outcome
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.told(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.told(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
