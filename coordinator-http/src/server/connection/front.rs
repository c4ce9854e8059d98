//! Between hyper and the router: the request under way, which outlives hyper's part of the connection.

use std::{
    borrow::Cow,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use axum::{Router, body::Body};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version, header};
use hyper::body::Incoming;
use tower::Service;

use super::{
    super::{
        Limits,
        body::{MeteredBody, TimedBody},
        meter::Meter,
    },
    Ambiguous,
};

/// A reply that is being made.
type Reply = Pin<Box<dyn Future<Output = Result<Response<MeteredBody>, Infallible>> + Send>>;

/// What answers the requests of one connection. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Front(Arc<Inner>);

struct Inner {
    router: Router,
    meter: Meter,
    limits: Limits,
    work: Mutex<Work>,
}

/// What is done on the connection.
enum Work {
    /// No request is under way.
    Nothing,
    /// One is, whose head can be stood in for by this one.
    Request(Reply, Head),
    /// Its reply is there.
    Reply(Response<MeteredBody>),
}

/// A head that is answered in the same form as a request's own: by method, version and what it says of the connection.
pub(super) type Head = Cow<'static, [u8]>;

impl Front {
    pub(super) fn new(router: Router, meter: Meter, limits: Limits) -> Self {
        Self(Arc::new(Inner { router, meter, limits, work: Mutex::new(Work::Nothing) }))
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.0.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request is under way.
    pub(super) fn is_at_work(&self) -> bool {
        !matches!(*self.work(), Work::Nothing)
    }

    /// Goes on with the request under way without hyper; ends with the head that asks hyper for its reply.
    pub(super) fn poll_reply(&self, cx: &mut Context<'_>) -> Poll<Head> {
        let mut work = self.work();
        let Work::Request(reply, head) = &mut *work else { return Poll::Pending };
        let Ok(response) = ready!(reply.as_mut().poll(cx));
        let head = std::mem::take(head);
        *work = Work::Reply(response);
        Poll::Ready(head)
    }
}

impl hyper::service::Service<Request<Incoming>> for Front {
    type Response = Response<MeteredBody>;
    type Error = Infallible;
    type Future = Answer;

    /// A request while a reply is there is the head that stands in for the one that was asked.
    fn call(&self, request: Request<Incoming>) -> Answer {
        let mut work = self.work();
        if matches!(*work, Work::Nothing) {
            let head = head(request.method(), request.version(), request.headers());
            if request.headers().contains_key(header::EXPECT) {
                self.0.meter.stays();
            }
            *work =
                Work::Request(Box::pin(answer(request, self.0.router.clone(), &self.0.meter, &self.0.limits)), head);
        }
        Answer(self.clone())
    }
}

/// What hyper waits for.
pub(super) struct Answer(Front);

impl Future for Answer {
    type Output = Result<Response<MeteredBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut work = self.0.work();
        if let Work::Request(reply, _) = &mut *work {
            let Ok(response) = ready!(reply.as_mut().poll(cx));
            *work = Work::Reply(response);
        }
        // From now on hyper holds the rest of it.
        self.0.0.meter.stays();
        match std::mem::replace(&mut *work, Work::Nothing) {
            Work::Reply(response) => Poll::Ready(Ok(response)),
            _ => Poll::Pending,
        }
    }
}

fn head(method: &Method, version: Version, headers: &HeaderMap) -> Head {
    let is_usual = method != Method::HEAD && version == Version::HTTP_11;
    if is_usual && !headers.contains_key(header::CONNECTION) {
        return Cow::Borrowed(b"GET / HTTP/1.1\r\n\r\n");
    }
    let method = if method == Method::HEAD { "HEAD" } else { "GET" };
    let mut head = format!("{method} / {version:?}\r\n").into_bytes();
    for value in headers.get_all(header::CONNECTION) {
        head.extend_from_slice(b"connection: ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    Cow::Owned(head)
}

/// What does not wait is done at once, so that the future is small: every connection has room for one.
fn answer(
    request: Request<Incoming>,
    mut router: Router,
    meter: &Meter,
    limits: &Limits,
) -> impl Future<Output = Result<Response<MeteredBody>, Infallible>> + use<> {
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let ambiguous = meter.begin(chunked);
    let (mut parts, body) = request.into_parts();
    let body = TimedBody::new(body, limits, meter.clone());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_stands_in_for_one_of_the_same_form() {
        let of = |method: Method, version, connection: &[&'static str]| {
            let values = connection.iter().map(|value| (header::CONNECTION, HeaderValue::from_static(value)));
            String::from_utf8(head(&method, version, &values.collect()).into_owned()).unwrap()
        };
        assert_eq!(of(Method::POST, Version::HTTP_11, &[]), "GET / HTTP/1.1\r\n\r\n");
        assert_eq!(of(Method::HEAD, Version::HTTP_11, &[]), "HEAD / HTTP/1.1\r\n\r\n");
        assert_eq!(
            of(Method::GET, Version::HTTP_10, &["x", "keep-alive"]),
            "GET / HTTP/1.0\r\nconnection: x\r\nconnection: keep-alive\r\n\r\n"
        );
    }
}
