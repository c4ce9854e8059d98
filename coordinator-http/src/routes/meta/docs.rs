//! `GET /docs`: a page to try the interface. It is built from `openapi.json` in the browser, and everything that it needs
//! is in this program.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, header};

use crate::{error::ApiError, extract::ApiPath};

/// Nothing but files of this coordinator runs or is shown, and nothing else is called; no text becomes markup.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
);

macro_rules! asset {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/docs/", $name))
    };
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Each file that the page needs: its name, its type, its text.
const FILES: [(&str, &str, &str); 5] = [
    ("app.js", SCRIPT, asset!("app.js")),
    ("call.js", SCRIPT, asset!("call.js")),
    ("dom.js", SCRIPT, asset!("dom.js")),
    ("schema.js", SCRIPT, asset!("schema.js")),
    ("style.css", STYLE, asset!("style.css")),
];

/// A page to try the interface.
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "docs",
    tag = "everyone",
    security(()),
    responses((status = 200, description = "The page", body = String, content_type = "text/html"))
)]
pub(crate) async fn page() -> Response {
    served(HTML, asset!("index.html"))
}

/// A file that the page needs.
#[utoipa::path(
    get,
    path = "/docs/{file}",
    operation_id = "docs_file",
    tag = "everyone",
    params(("file" = String, Path, description = "The file's name")),
    security(()),
    responses((status = 200, description = "The file", body = String, content_type = "text/javascript"))
)]
pub(crate) async fn file(ApiPath(file): ApiPath<String>) -> Result<Response, ApiError> {
    let found = FILES.into_iter().find(|(name, ..)| *name == file);
    let (_, kind, text) = found.ok_or_else(|| ApiError::NotFound("the page at /docs has no such file".to_owned()))?;
    Ok(served(kind, text))
}

fn served(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    ];
    (headers, text).into_response()
}
