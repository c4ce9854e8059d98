//! Bodies with limits: of time, for what comes in; and with a notice at the end, for what goes out.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Limits, meter::Meter};

/// A body that came too slowly.
#[derive(Debug, thiserror::Error)]
#[error("the body took too long to arrive")]
pub(crate) struct BodyTimeout;

/// How slowly the body of a request may come; a handler that knows better may say so.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patience(Arc<AtomicBool>);

impl Patience {
    /// The body may take as long as it likes, and pause as long.
    pub(crate) fn is_endless(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A request's body, which fails with [`BodyTimeout`] when a part, or the whole, takes too long.
pub(super) struct TimedBody {
    body: Incoming,
    pause: Duration,
    whole_by: Instant,
    patience: Patience,
    /// Made when the body first has to be waited for.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Told when nobody reads the body any more.
    meter: Meter,
    is_whole: bool,
}

impl TimedBody {
    pub(super) fn new(body: Incoming, limits: &Limits, meter: Meter) -> Self {
        let (patience, whole_by) = (Patience::default(), Instant::now() + limits.body);
        Self { body, pause: limits.body_pause, whole_by, patience, alarm: None, meter, is_whole: false }
    }

    pub(super) fn patience(&self) -> Patience {
        self.patience.clone()
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.alarm = None;
            self.is_whole |= frame.is_none();
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if self.patience.0.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let by = self.whole_by.min(Instant::now() + self.pause);
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(by)));
        ready!(alarm.as_mut().poll(cx));
        Poll::Ready(Some(Err(BodyTimeout.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for TimedBody {
    fn drop(&mut self) {
        self.meter.has_read(self.is_whole || self.body.is_end_stream());
    }
}

/// A reply's body, which tells the meter when it is gone.
pub(super) struct MeteredBody {
    pub(super) body: axum::body::Body,
    pub(super) meter: Meter,
}

impl Body for MeteredBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for MeteredBody {
    fn drop(&mut self) {
        self.meter.end();
    }
}
