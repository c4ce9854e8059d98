//! One connection: hyper between the socket and the router while there is something to read or to write, and the alarm that
//! closes it.

mod front;
mod line;

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use axum::Router;
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::{front::Front, line::Line};
use super::{
    Limits,
    meter::{Due, Meter},
    wire::Wire,
};

/// Marks a request whose head gives its length in two ways.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ambiguous;

/// Serves one connection until it ends, is closed for being slow, or has finished its request at a shutdown.
/// When `closing` is cancelled it ends as soon as it serves no request.
pub(super) async fn serve(stream: TcpStream, router: Router, limits: Limits, meter: Meter, closing: CancellationToken) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut line = Line::new(Wire::new(stream, meter.clone()), Front::new(router, meter.clone(), limits));
    let mut alarm = Alarm::default();
    let mut closing = pin!(closing.cancelled());
    let mut told = false;
    // The alarm is looked at after the connection, so it knows what the connection has just done.
    let ended = poll_fn(|cx| {
        if !told && closing.as_mut().poll(cx).is_ready() {
            line.close();
            told = true;
        }
        loop {
            if let Poll::Ready(ended) = line.poll(cx) {
                return Poll::Ready(ended);
            }
            match ready!(alarm.poll(cx, meter.due(&limits))) {
                Due::Close => return Poll::Ready(Ok(())),
                Due::Lighten => {
                    meter.is_light();
                    line.lighten();
                }
            }
        }
    });
    if let Err(error) = ended.await {
        tracing::trace!(component = "http", error = %error, "a connection broke");
    }
}

/// Goes off when something is due. It has to be polled whenever what is due may have changed.
#[derive(Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// A timer that is too early is left to go off, and set anew then: most requests are over long before.
    fn poll(&mut self, cx: &mut Context<'_>, due: Option<(Instant, Due)>) -> Poll<Due> {
        let Some((at, what)) = due else { return Poll::Pending };
        loop {
            let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if timer.deadline() > at {
                timer.as_mut().reset(at);
            }
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= at {
                return Poll::Ready(what);
            }
            timer.as_mut().reset(at);
        }
    }
}
