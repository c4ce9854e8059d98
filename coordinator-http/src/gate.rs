//! What looks at every request before it goes on, and holds nothing of it meanwhile: a middleware that is a function has
//! room for the whole request twice, and thousands of requests wait at once.

pub(crate) mod strict;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use axum::{extract::Request, response::Response};
use futures_util::future::Either;
use tower::{Layer, Service};

/// Lets a request through, or answers it.
pub(crate) trait Gate: Clone {
    /// What a request that was let through runs in.
    type Inside<F: Future>: Future<Output = F::Output>;

    /// How a request goes on; the answer if it does not.
    fn enter<F: Future>(
        &self,
        request: Request,
        next: impl FnOnce(Request) -> F,
    ) -> Result<Self::Inside<F>, Box<Response>>;
}

/// The layer of a gate.
#[derive(Debug, Clone)]
pub(crate) struct Through<G>(pub(crate) G);

/// What lies behind a gate.
#[derive(Debug, Clone)]
pub(crate) struct Gated<G, S> {
    gate: G,
    inner: S,
}

impl<G: Gate, S> Layer<S> for Through<G> {
    type Service = Gated<G, S>;

    fn layer(&self, inner: S) -> Gated<G, S> {
        Gated { gate: self.0.clone(), inner }
    }
}

impl<G, S> Service<Request> for Gated<G, S>
where
    G: Gate,
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<G::Inside<S::Future>, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.gate.enter(request, |request| self.inner.call(request)) {
            Ok(inside) => Either::Left(inside),
            Err(answer) => Either::Right(ready(Ok(*answer))),
        }
    }
}
