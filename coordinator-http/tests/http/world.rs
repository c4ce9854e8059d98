//! A coordinator's router over a Redis, and a client that talks to it without a socket.

use std::{sync::OnceLock, time::Duration};

use axum::{Router, body::Body};
use clap::Parser;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use titan_api::problem::{Problem, ProblemType};
use titan_coordinator::{AppState, RunArgs, Settings, generate_signing_keys, router};
use tower::ServiceExt;

use crate::redis_server::RedisServer;

pub(crate) const ADMIN: &str = "an-administrator's-token";

/// Sets how long Redis may take. Without it that is long: machines that run tests are busy.
pub(crate) const REDIS_TIMEOUT: &str = "--redis-timeout";
/// Long enough for anything that works.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A Redis, and the state and the router over it.
pub(crate) struct World {
    pub(crate) redis: RedisServer,
    pub(crate) state: AppState,
    pub(crate) router: Router,
}

/// The command line of the settings alone.
#[derive(Parser)]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Keys that all tests share, since making them takes a while.
pub(crate) fn signing_keys() -> &'static str {
    static KEYS: OnceLock<String> = OnceLock::new();
    KEYS.get_or_init(|| generate_signing_keys().unwrap())
}

pub(crate) fn settings(redis_url: &str, flags: &[&str]) -> Settings {
    let mut args = Flags::parse_from(["test", "--redis-url", redis_url].iter().chain(flags)).run;
    if !flags.contains(&REDIS_TIMEOUT) {
        args.redis_timeout = PATIENCE;
    }
    args.check(|name| secret(name, Some(ADMIN), Some(signing_keys()))).unwrap()
}

/// An environment that has these alone.
pub(crate) fn secret(name: &str, admin: Option<&str>, keys: Option<&str>) -> Option<String> {
    let value = match name {
        "ADMIN_TOKEN" => admin,
        "SIGNING_KEY" => keys,
        _ => None,
    };
    value.map(str::to_owned)
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(flags: &[&str]) -> Self {
        // A test that fails shows what the coordinator said of it.
        let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_test_writer().try_init();
        let redis = RedisServer::start().await;
        let state = AppState::new(settings(&redis.url(), flags)).unwrap();
        Self { router: router(state.clone()), redis, state }
    }

    /// The router of another copy of the coordinator on the same Redis.
    pub(crate) fn another_copy(&self) -> Router {
        router(AppState::new(settings(&self.redis.url(), &[])).unwrap())
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        send(&self.router, request).await
    }

    /// All that the pool `default` holds, without what is counted of keys.
    pub(crate) async fn pool_dump(&self) -> Vec<(String, Vec<u8>)> {
        self.redis.dump().await.into_iter().filter(|(key, _)| key.starts_with("titan:{default}")).collect()
    }

    pub(crate) async fn get(&self, bearer: &str, path: &str) -> Reply {
        self.call("GET", bearer, path, None).await
    }

    pub(crate) async fn post(&self, bearer: &str, path: &str, body: Value) -> Reply {
        self.call("POST", bearer, path, Some(body)).await
    }

    pub(crate) async fn call(&self, method: &str, bearer: &str, path: &str, body: Option<Value>) -> Reply {
        self.send(request(method, bearer, path, body)).await
    }

    /// An API key of a pool with these scopes.
    pub(crate) async fn key(&self, pool: &str, scopes: &[&str]) -> String {
        let mut request = request("POST", ADMIN, "/api/v1/keys", Some(json!({"name": "test", "scopes": scopes})));
        request.headers_mut().insert("x-titan-pool", pool.parse().unwrap());
        self.send(request).await.ok(201)["key"].as_str().unwrap().to_owned()
    }

    /// An API key of the default pool that may do all that clients may, with limits of its own.
    pub(crate) async fn limited_key(&self, limits: Value) -> String {
        let scopes = ["jobs:write", "jobs:read", "agents:read"];
        let body = json!({"name": "limited", "scopes": scopes, "limits": limits});
        self.post(ADMIN, "/api/v1/keys", body).await.ok(201)["key"].as_str().unwrap().to_owned()
    }

    /// A join token of the default pool.
    pub(crate) async fn join_token(&self, uses: u32) -> String {
        let made = self.post(ADMIN, "/api/v1/join-tokens", json!({"uses": uses})).await.ok(201);
        made["token"].as_str().unwrap().to_owned()
    }

    /// Submits a job that any agent takes, and gives its id.
    pub(crate) async fn submit(&self, bearer: &str) -> String {
        let made = self.post(bearer, "/api/v1/jobs", job(&["true"])).await.ok(202);
        made["id"].as_str().unwrap().to_owned()
    }
}

/// A job that is accepted even where nobody could run it.
pub(crate) fn job(command: &[&str]) -> Value {
    json!({"kind": "process", "process": {"command": command}, "allow_unserved": true, "backoff_ms": 0})
}

pub(crate) fn request(method: &str, bearer: &str, path: &str, body: Option<Value>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !bearer.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {bearer}"));
    }
    let Some(body) = body else { return request.body(Body::empty()).unwrap() };
    request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())).unwrap()
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Reply {
    let what = format!("{} {}", request.method(), request.uri());
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Reply { what, status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&body).into_owned() }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) what: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    /// The body, if the status is the one expected.
    #[track_caller]
    pub(crate) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.what, self.body);
        if self.body.is_empty() { Value::Null } else { serde_json::from_str(&self.body).unwrap() }
    }

    /// The problem, if it is of the type expected; its shape is checked on the way.
    #[track_caller]
    pub(crate) fn problem(&self, kind: ProblemType) -> Problem {
        assert_eq!(self.status, kind.status(), "{}: {}", self.what, self.body);
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json", "{}", self.what);
        let problem: Problem = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem.kind, kind.uri(), "{}: {}", self.what, self.body);
        assert_eq!(problem.status, kind.status(), "{}", self.what);
        assert_eq!(problem.title, kind.title(), "{}", self.what);
        assert_eq!(problem.request_id.as_deref(), self.headers["x-request-id"].to_str().ok(), "{}", self.what);
        if kind.status() == 401 {
            assert!(self.headers.contains_key(header::WWW_AUTHENTICATE), "{}", self.what);
        }
        if matches!(kind.status(), 429 | 503) {
            let after: u64 = self.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
            assert!(after >= 1 && (after <= 3 || kind.status() == 429), "{}: {after}", self.what);
        }
        problem
    }
}
