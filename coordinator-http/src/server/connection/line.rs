//! A connection, which is light while nothing passes on it: hyper has two buffers of 8 KiB for each connection, and thousands
//! wait at once, for an answer or for their next request. When something comes or goes, hyper serves the socket again.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;

use super::{
    super::{bell::Bell, wire::Wire},
    front::Front,
};

/// Bytes of one request's head, at most.
const HEAD_BYTES: usize = 64 * 1_024;

/// The connection.
pub(super) struct Line {
    front: Front,
    state: State,
    bell: Bell,
    /// Whether it ends with the request under way.
    closes: bool,
}

enum State {
    Full(Box<http1::Connection<TokioIo<Wire>, Front>>),
    /// What was read ahead waits with it, so that a look at the socket says whether the peer is still there.
    Light(Wire, Bytes),
    /// Between the two, and at the end.
    Gone,
}

impl Line {
    /// A connection on which nothing has passed.
    pub(super) fn new(wire: Wire, front: Front) -> Self {
        Self { front, state: State::Light(wire, Bytes::new()), bell: Bell::default(), closes: false }
    }

    /// Serves it; ready when it has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.state {
                State::Full(connection) => {
                    let served = self.bell.poll(cx, |cx| Pin::new(&mut **connection).poll(cx));
                    return served.map_err(io::Error::other);
                }
                State::Light(wire, ahead) => {
                    if let Poll::Ready(mut head) = self.front.poll_reply(cx) {
                        if self.closes {
                            head = closing(&head).into();
                        }
                        let mut first = BytesMut::from(&*head);
                        first.extend_from_slice(ahead);
                        self.serve(first.freeze());
                    } else if self.front.is_at_work() {
                        return poll_end(wire, cx);
                    } else if self.closes {
                        return Poll::Ready(Ok(()));
                    } else {
                        ready!(wire.poll_has_more(cx))?;
                        // The beginning of a head may have come behind the request before.
                        let first = std::mem::take(ahead);
                        self.serve(first);
                    }
                }
                State::Gone => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Ends the connection as soon as no request is under way.
    pub(super) fn close(&mut self) {
        self.closes = true;
        if let State::Full(connection) = &mut self.state {
            Pin::new(&mut **connection).graceful_shutdown();
        }
    }

    /// Gives up what is needed only while something passes. All that was to be sent has been: the alarm does not ask for it
    /// while the peer takes nothing.
    pub(super) fn lighten(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Gone) {
            State::Full(connection) => {
                let parts = connection.into_parts();
                let mut wire = parts.io.into_inner();
                // A copy, since the bytes are a part of the buffer that is given up. Of more than that buffer took at once, the
                // rest is still before the socket.
                let ahead = [parts.read_buf, wire.rest()].concat();
                State::Light(wire, ahead.into())
            }
            other => other,
        };
    }

    /// Has hyper serve the socket, beginning with these bytes.
    fn serve(&mut self, first: Bytes) {
        if let State::Light(wire, _) = std::mem::replace(&mut self.state, State::Gone) {
            let wire = TokioIo::new(wire.after(first));
            let connection = http1::Builder::new().max_buf_size(HEAD_BYTES).serve_connection(wire, self.front.clone());
            self.state = State::Full(Box::new(connection));
        }
    }
}

/// Ready when the peer has gone, while a request of its is under way.
fn poll_end(wire: &Wire, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    match ready!(wire.poll_has_more(cx)) {
        // Another request waits behind this one, and hides the end.
        Ok(true) => Poll::Pending,
        Ok(false) => Poll::Ready(Ok(())),
        Err(error) => Poll::Ready(Err(error)),
    }
}

/// The head, with the wish that the connection ends.
fn closing(head: &[u8]) -> Vec<u8> {
    let line_end = head.iter().position(|byte| *byte == b'\n').map_or(head.len(), |at| at + 1);
    [&head[..line_end], b"connection: close\r\n\r\n"].concat()
}
