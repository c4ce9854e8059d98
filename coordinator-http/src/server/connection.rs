//! One connection: hyper between the socket and the router, and the alarm that closes it.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
};

use axum::{Router, body::Body};
use http::{HeaderValue, Request, Response, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{
    Limits,
    body::{MeteredBody, TimedBody},
    meter::Meter,
    wire::Wire,
};

/// Bytes of one request's head, at most.
const HEAD_BYTES: usize = 64 * 1_024;

/// Marks a request whose head gives its length in two ways.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ambiguous;

/// Serves one connection until it ends, is closed for being slow, or has finished its request at a shutdown.
/// When `closing` is cancelled it ends as soon as it serves no request.
pub(super) async fn serve(stream: TcpStream, router: Router, limits: Limits, meter: Meter, closing: CancellationToken) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(|request| answer(request, router.clone(), &meter, &limits));
    let wire = TokioIo::new(Wire { stream, meter: meter.clone() });
    let connection = http1::Builder::new().max_buf_size(HEAD_BYTES).serve_connection(wire, service);
    let mut connection = pin!(connection);
    let mut overdue = pin!(overdue(&meter, &limits));
    let mut closing = pin!(closing.cancelled());
    let mut told = false;
    // The alarm is looked at after the connection, so it knows what the connection has just done.
    let ended = poll_fn(|cx| {
        if !told && closing.as_mut().poll(cx).is_ready() {
            connection.as_mut().graceful_shutdown();
            told = true;
        }
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        overdue.as_mut().poll(cx).map(Ok)
    });
    if let Err(error) = ended.await {
        tracing::trace!(component = "http", error = %error, "a connection broke");
    }
}

/// What does not wait is done at once, so that the future is small: every connection has room for one.
fn answer(
    request: Request<Incoming>,
    mut router: Router,
    meter: &Meter,
    limits: &Limits,
) -> impl Future<Output = Result<Response<MeteredBody>, Infallible>> {
    let ambiguous = meter.begin();
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let (mut parts, body) = request.into_parts();
    let body = TimedBody::new(body, limits);
    parts.extensions.insert(body.patience());
    let mut request = Request::from_parts(parts, Body::new(body));
    if ambiguous {
        request.extensions_mut().insert(Ambiguous);
    }
    let (answering, meter) = (router.call(request), meter.clone());
    async move {
        let mut response = answering.await?;
        if chunked {
            // Whatever another server made of this request's length, nothing after it is taken for a request.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response.map(|body| MeteredBody { body, meter }))
    }
}

/// Ends when the meter's deadline passes. It has to be polled whenever the connection was.
async fn overdue(meter: &Meter, limits: &Limits) {
    let mut alarm: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        let Some(deadline) = meter.deadline(limits) else {
            alarm = None;
            return Poll::Pending;
        };
        let alarm = alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        alarm.as_mut().poll(cx)
    })
    .await;
}
