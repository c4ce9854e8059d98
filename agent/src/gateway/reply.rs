//! What a client of the gateway gets: errors in OpenAI's shape, a document, or a stream with a receipt after it.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{Either, Full};
use hyper::{
    HeaderMap, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use serde_json::{Value, json};
use titan_api::{headers::RECEIPT, openai::Failure, problem::ProblemType};
use tokio::sync::{mpsc, oneshot};

use crate::relay::Piece;

/// A body of either kind.
pub(super) type Reply = Response<Either<Full<Bytes>, Streamed>>;

/// How an answer ended, as the client is told.
#[derive(Debug)]
pub(super) enum Ended {
    /// Well; with a receipt.
    Well(String),
    /// With a failure.
    Badly(ProblemType, String),
}

/// An error in OpenAI's shape.
pub(super) fn error(failure: impl Into<Failure>, message: &str) -> Reply {
    let failure = failure.into();
    let status = StatusCode::from_u16(failure.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = document(status, shape(failure, message).to_string().into());
    if matches!(status.as_u16(), 429 | 503) {
        reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    reply
}

/// A whole JSON document.
pub(super) fn document(status: StatusCode, body: Bytes) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(body)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// The same with a receipt.
pub(super) fn with_receipt(mut reply: Reply, receipt: &str) -> Reply {
    if let Ok(receipt) = HeaderValue::from_str(receipt) {
        reply.headers_mut().insert(RECEIPT, receipt);
    }
    reply
}

/// A stream of events that has begun with `first`.
pub(super) fn stream(first: Bytes, rest: mpsc::Receiver<Piece>, ended: oneshot::Receiver<Ended>) -> Reply {
    let mut reply = Response::new(Either::Right(Streamed { first: Some(first), rest, ended: Some(ended) }));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    headers.insert("trailer", HeaderValue::from_static(RECEIPT));
    reply
}

/// The events of an answer as they come; dropping it tells the relay that nobody waits any more.
#[derive(Debug)]
pub(super) struct Streamed {
    first: Option<Bytes>,
    rest: mpsc::Receiver<Piece>,
    ended: Option<oneshot::Receiver<Ended>>,
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        match self.rest.poll_recv(cx) {
            Poll::Ready(Some(Piece::Bytes(bytes))) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Poll::Ready(Some(Piece::Refused(_)) | None) => {}
            Poll::Pending => return Poll::Pending,
        }
        let Some(ended) = &mut self.ended else { return Poll::Ready(None) };
        let Poll::Ready(how) = Pin::new(ended).poll(cx) else { return Poll::Pending };
        self.ended = None;
        Poll::Ready(Some(Ok(match how {
            Ok(Ended::Well(receipt)) => {
                let receipt = HeaderValue::from_str(&receipt).ok();
                Frame::trailers(receipt.into_iter().map(|receipt| (RECEIPT_NAME, receipt)).collect::<HeaderMap>())
            }
            Ok(Ended::Badly(kind, why)) => Frame::data(error_event(kind, &why)),
            Err(_) => Frame::data(error_event(ProblemType::BackendFailed, "the agent gave the answer up")),
        })))
    }
}

const RECEIPT_NAME: hyper::header::HeaderName = hyper::header::HeaderName::from_static(RECEIPT);

/// What stands where a stream breaks.
fn error_event(kind: ProblemType, message: &str) -> Bytes {
    format!("data: {}\n\n", shape(kind.into(), message)).into()
}

fn shape(failure: Failure, message: &str) -> Value {
    json!({ "error": { "message": message, "type": failure.kind, "code": failure.code, "param": null } })
}
