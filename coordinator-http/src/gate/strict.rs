//! What is refused before any handler: requests that two servers could read in two ways, and unknown parameters.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use axum::{
    extract::{MatchedPath, Request},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, Method, header};
use utoipa::openapi::{OpenApi, RefOr, path::ParameterIn};

use crate::{auth::bearer::unauthorized, error::ApiError, gate::Gate, openapi, server::Ambiguous};

/// Parameters that people put credentials in; URLs end up in logs.
const CREDENTIALS: [&str; 7] = ["access_token", "token", "api_key", "apikey", "key", "authorization", "bearer"];

/// So much of the name of an unknown one is told.
const NAMED_CHARS: usize = 64;

/// The parameters that each route takes, by method and path, as `openapi.json` has them.
#[derive(Debug, Clone)]
pub(crate) struct KnownParameters(Arc<HashMap<(Method, String), BTreeSet<String>>>);

impl KnownParameters {
    pub(crate) fn of(document: &OpenApi) -> Self {
        let mut known = HashMap::new();
        for (path, item) in &document.paths.paths {
            for (method, operation) in operations(item) {
                let parameters = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
                    RefOr::T(p) if p.parameter_in == ParameterIn::Query => Some(p.name.clone()),
                    _ => None,
                });
                known.insert((method, path.clone()), parameters.collect());
            }
        }
        Self(Arc::new(known))
    }

    fn check(&self, request: &Request) -> Result<(), ApiError> {
        let Some(query) = request.uri().query().filter(|q| !q.is_empty()) else { return Ok(()) };
        let Some(path) = request.extensions().get::<MatchedPath>() else { return Ok(()) };
        let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
        let known = self.0.get(&(method, openapi::documented(path.as_str())));
        for parameter in query.split('&').map(|pair| pair.split('=').next().unwrap_or_default()) {
            if known.is_some_and(|known| known.contains(parameter)) {
                continue;
            }
            if CREDENTIALS.contains(&parameter.to_ascii_lowercase().as_str()) {
                return Err(unauthorized("a credential goes into the Authorization header, never into the URL"));
            }
            return Err(ApiError::BadRequest(no_such(parameter, known)));
        }
        Ok(())
    }
}

/// What is wrong with a query that holds another parameter than these.
fn no_such(parameter: &str, known: Option<&BTreeSet<String>>) -> String {
    let known: Vec<_> = known.into_iter().flatten().map(|name| format!("`{name}`")).collect();
    let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
    let parameter: String = parameter.chars().take(NAMED_CHARS).collect();
    format!("this route has no query parameter `{parameter}`; {known}")
}

fn operations(item: &utoipa::openapi::PathItem) -> impl Iterator<Item = (Method, &utoipa::openapi::path::Operation)> {
    [(Method::GET, &item.get), (Method::PUT, &item.put), (Method::POST, &item.post), (Method::DELETE, &item.delete)]
        .into_iter()
        .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

impl Gate for KnownParameters {
    type Inside<F: Future> = F;

    fn enter<F: Future>(&self, request: Request, next: impl FnOnce(Request) -> F) -> Result<F, Box<Response>> {
        if is_ambiguous(&request) {
            let refusal = ApiError::BadRequest("the request's framing or Host can be read in two ways".to_owned());
            let mut response = refusal.into_response();
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return Err(Box::new(response));
        }
        self.check(&request).map_err(|refusal| Box::new(refusal.into_response()))?;
        Ok(next(request))
    }
}

fn is_ambiguous(request: &Request) -> bool {
    request.extensions().get::<Ambiguous>().is_some() || request.headers().get_all(header::HOST).iter().count() > 1
}
