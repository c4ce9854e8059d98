//! A coordinator that keeps everything in memory, writes down each call, and can be told to misbehave.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsAcceptor;

/// No wait in a test takes this long unless something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// What to do with one call instead of answering it.
#[derive(Debug, Clone)]
pub(crate) enum Misbehave {
    /// Refuse it with a problem of that type and status, and these other members.
    Refuse(&'static str, u16, Value),
    /// Do it, then hang up.
    LoseReply,
    /// Hang up.
    HangUp,
    /// Never answer.
    Hang,
}

/// One call as it came.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The last part of its path: `join`, `register`, `heartbeat`, `claim` or `report`.
    pub(crate) verb: String,
    pub(crate) bearer: Option<String>,
    pub(crate) body: Value,
}

/// What a coordinator makes of claims that come with reports.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum ClaimsOfReports {
    #[default]
    Heeded,
    /// It is of a version that knows nothing of them, and does not say a word of them.
    Unknown,
}

/// Everything it knows.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) calls: Vec<Call>,
    pub(crate) misbehave: HashMap<String, VecDeque<Misbehave>>,
    pub(crate) settings: Value,
    pub(crate) next_heartbeat_ms: u64,
    pub(crate) flush_ms: u64,
    pub(crate) draining: bool,
    /// Goes with the next heartbeat's reply.
    pub(crate) fresh_token: Option<String>,
    /// Leases nobody has claimed yet.
    pub(crate) queue: VecDeque<Value>,
    /// The run of the agent that has registered.
    pub(crate) instance: Value,
    /// The leases given for each claim.
    pub(crate) claims: BTreeMap<u64, Vec<Value>>,
    /// Leases that are not current.
    pub(crate) stale: Vec<String>,
    /// Whether heartbeats are told of leases whose end has come in, in the same call even, as of stale ones.
    pub(crate) ended_is_stale: bool,
    /// What it makes of claims that come with reports.
    pub(crate) claims_of_reports: ClaimsOfReports,
    /// The keys that tickets are checked with.
    pub(crate) key_set: Value,
    /// What an agent that uses a ticket is told to be its own name of the model, if anything.
    pub(crate) own_model: Value,
    /// Whether output can be uploaded.
    pub(crate) uploads: bool,
    /// Jobs to cancel.
    pub(crate) cancel: Vec<String>,
    /// What came of each lease, in order.
    pub(crate) attempts: HashMap<String, Attempt>,
}

/// What was reported of one attempt.
#[derive(Debug, Default, Clone)]
pub(crate) struct Attempt {
    pub(crate) started: bool,
    pub(crate) output: Vec<u8>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// The streams in the order in which they came, neighbours joined.
    pub(crate) streams: Vec<String>,
    /// The last report.
    pub(crate) end: Option<Value>,
}

impl State {
    pub(crate) fn calls_of(&self, verb: &str) -> Vec<&Call> {
        self.calls.iter().filter(|call| call.verb == verb).collect()
    }

    pub(crate) fn last(&self, verb: &str) -> Option<&Call> {
        self.calls.iter().rev().find(|call| call.verb == verb)
    }

    pub(crate) fn attempt(&self, lease: &str) -> Attempt {
        self.attempts.get(lease).cloned().unwrap_or_default()
    }

    /// Lets the next call of that verb go wrong.
    pub(crate) fn misbehave(&mut self, verb: &str, how: Misbehave) {
        self.misbehave.entry(verb.to_owned()).or_default().push_back(how);
    }
}

/// A running coordinator; it stops when it is dropped.
pub(crate) struct Coordinator {
    pub(crate) url: String,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

impl Coordinator {
    /// Starts one where agents park.
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// The same over TLS, if there is a certificate for it.
    pub(crate) async fn start_with(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let settings = json!({
            "heartbeat_interval_ms": 200, "lease_ttl_ms": 20_000, "kill_grace_ms": 2_000, "parking": true, "max_wait_ms": 5_000,
        });
        let state = State { settings, next_heartbeat_ms: 200, flush_ms: 20, ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: watch::Sender::new(()) });
        let server = tokio::spawn(serve(listener, tls.map(TlsAcceptor::from), Arc::clone(&shared)));
        Self { url, shared, server }
    }

    /// Looks at, or changes, what it knows.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        let result = f(&mut self.shared.state());
        self.shared.changed.send_replace(());
        result
    }

    pub(crate) fn set(&self, name: &str, value: impl Into<Value>) {
        self.with(|state| state.settings[name] = value.into());
    }

    /// Queues a lease for whoever claims next. Gives its lease id.
    pub(crate) fn give(&self, lease: Value) -> String {
        let id = lease["lease_id"].as_str().unwrap().to_owned();
        self.with(|state| state.queue.push_back(lease));
        id
    }

    /// Waits until `what` gives something.
    pub(crate) async fn until<T>(&self, name: &str, mut what: impl FnMut(&mut State) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        let mut changed = self.shared.changed.subscribe();
        loop {
            if let Some(found) = what(&mut self.shared.state()) {
                return found;
            }
            if timeout_at(end, changed.changed()).await.is_err() {
                let state = self.shared.state();
                panic!("waited in vain until {name}; attempts {:#?}", state.attempts);
            }
        }
    }

    /// Waits until the attempt under `lease` has ended.
    pub(crate) async fn ended(&self, lease: &str) -> Attempt {
        self.until(&format!("{lease} ended"), |s| s.attempts.get(lease).filter(|a| a.end.is_some()).cloned()).await
    }

    /// Waits until the attempt has written `text`.
    pub(crate) async fn wrote(&self, lease: &str, text: &str) -> Attempt {
        let contains = |a: &&Attempt| String::from_utf8_lossy(&a.output).contains(text);
        self.until(&format!("{lease} wrote {text}"), |s| s.attempts.get(lease).filter(contains).cloned()).await
    }

    /// Waits for the next call of that verb after now.
    pub(crate) async fn next(&self, verb: &str) -> Call {
        let before = self.with(|s| s.calls_of(verb).len());
        self.until(&format!("the next {verb}"), |s| s.calls_of(verb).get(before).map(|c| (*c).clone())).await
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let verb = request.uri().path().rsplit('/').next().unwrap().to_owned();
        if verb == "stream" {
            return self.upload(request).await;
        }
        let bearer = request.headers().get("authorization").map(|v| v.to_str().unwrap().replace("Bearer ", ""));
        let body = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let how = {
            let mut state = self.state();
            state.calls.push(Call { verb: verb.clone(), bearer, body: body.clone() });
            state.misbehave.get_mut(&verb).and_then(VecDeque::pop_front)
        };
        self.changed.send_replace(());
        match how {
            None => Ok(reply(StatusCode::OK, &self.perform(&verb, &body).await)),
            Some(Misbehave::Refuse(kind, status, more)) => Ok(refusal(kind, status, &more)),
            Some(Misbehave::HangUp) => Err(std::io::Error::other("hung up")),
            Some(Misbehave::Hang) => std::future::pending().await,
            Some(Misbehave::LoseReply) => {
                self.perform(&verb, &body).await;
                Err(std::io::Error::other("the reply is lost"))
            }
        }
    }

    /// Takes an attempt's output as one upload, if uploads are served.
    async fn upload(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        let (lease, offset) = (header("x-titan-lease"), header("x-titan-offset"));
        let how = {
            let mut state = self.state();
            let body = json!({ "lease": lease, "offset": offset });
            state.calls.push(Call { verb: "stream".to_owned(), bearer: None, body });
            if !state.uploads {
                return Ok(refusal("not-found", 404, &json!({})));
            }
            state.attempts.entry(lease.clone()).or_default().started = true;
            state.misbehave.get_mut("stream").and_then(VecDeque::pop_front)
        };
        if matches!(how, Some(Misbehave::Hang)) {
            return std::future::pending().await;
        }
        let mut body = request.into_body();
        let mut taken = 0;
        while let Some(frame) = body.frame().await {
            let Ok(bytes) = frame.map_err(std::io::Error::other)?.into_data() else { continue };
            {
                let mut state = self.state();
                let attempt = state.attempts.entry(lease.clone()).or_default();
                attempt.output.extend(&bytes);
                attempt.stdout.extend(&bytes);
            }
            self.changed.send_replace(());
            taken += 1;
            match &how {
                Some(Misbehave::HangUp) if taken == 3 => return Err(std::io::Error::other("hung up")),
                Some(Misbehave::Refuse(kind, status, more)) if taken == 3 => return Ok(refusal(kind, *status, more)),
                _ => {}
            }
        }
        let accepted = self.state().attempt(&lease).output.len();
        match how {
            Some(Misbehave::LoseReply) => Err(std::io::Error::other("the reply is lost")),
            _ => Ok(reply(StatusCode::OK, &json!({ "accepted_offset": accepted }))),
        }
    }

    async fn perform(&self, verb: &str, body: &Value) -> Value {
        let reply = match verb {
            "join" => json!({ "agent_id": "box-1", "pool": "default", "credential": "credential-1" }),
            "register" => {
                let mut state = self.state();
                if state.instance != body["instance_id"] {
                    // Another run counts its claims from 1 again.
                    state.instance = body["instance_id"].clone();
                    state.claims.clear();
                }
                let running = body["running"].as_array().unwrap();
                let stop: Vec<_> = running.iter().filter(|lease| state.is_stale(lease)).collect();
                json!({
                    "agent_id": "box-1", "pool": "default", "settings": state.settings, "stop": stop,
                    "token": { "token": "token-1", "expires_in_ms": 3_600_000 },
                })
            }
            "health" => {
                let version = env!("CARGO_PKG_VERSION");
                json!({ "status": "healthy", "service": "titancompute-coordinator", "version": version })
            }
            "heartbeat" => self.heartbeat(body),
            "claim" => self.claim(body).await,
            "report" => {
                let mut state = self.state();
                let answers = state.report(&body["reports"]);
                let claims = body["claim"].is_object() && state.claims_of_reports == ClaimsOfReports::Heeded;
                let leases = claims.then(|| state.take(&body["claim"]));
                json!({ "answers": answers, "leases": leases, "cancel": state.cancel, "flush_ms": state.flush_ms })
            }
            "jwks.json" => self.state().key_set.clone(),
            "use" => {
                let state = self.state();
                let (uses, model) = (state.calls_of("use").len(), state.own_model.as_str().unwrap_or_default());
                json!({ "attempt": 1, "lease_id": format!("direct-{uses}"), "lease_ttl_ms": 20_000, "model": model })
            }
            other => panic!("no agent calls {other}"),
        };
        self.changed.send_replace(());
        reply
    }

    fn heartbeat(&self, body: &Value) -> Value {
        let mut state = self.state();
        let answers = state.report(&body["reports"]);
        let leases = body["claim"].as_object().map(|_| state.take(&body["claim"]));
        let stop: Vec<_> = body["leases"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|l| state.is_stale(l) || state.has_ended(l))
            .cloned()
            .collect();
        let token = state.fresh_token.take().map(|token| json!({ "token": token, "expires_in_ms": 3_600_000 }));
        json!({
            "token": token, "next_heartbeat_ms": state.next_heartbeat_ms, "settings": state.settings, "stop": stop, "cancel": state.cancel,
            "draining": state.draining, "flush_ms": state.flush_ms, "answers": answers, "leases": leases.unwrap_or_default(),
        })
    }

    async fn claim(&self, body: &Value) -> Value {
        let end = Instant::now() + Duration::from_millis(body["wait_ms"].as_u64().unwrap());
        let mut changed = self.changed.subscribe();
        loop {
            let leases = self.state().take(body);
            if !leases.is_empty() || timeout_at(end, changed.changed()).await.is_err() {
                let state = self.state();
                return json!({
                    "leases": leases, "cancel": state.cancel, "poll_after_ms": 0, "flush_ms": state.flush_ms,
                    "parking": state.settings["parking"],
                });
            }
        }
    }
}

impl State {
    fn take(&mut self, claim: &Value) -> Vec<Value> {
        let number = claim["claim"].as_u64().unwrap();
        if let Some(leases) = self.claims.get(&number) {
            return leases.clone();
        }
        let (mut slots, mut requests) =
            (claim["free_slots"].as_u64().unwrap(), claim["free_requests"].as_u64().unwrap());
        let mut leases = Vec::new();
        self.queue.retain(|lease| {
            let free = if lease["inference"].is_object() { &mut requests } else { &mut slots };
            let takes = *free > 0;
            if takes {
                *free -= 1;
                leases.push(lease.clone());
            }
            !takes
        });
        if !leases.is_empty() {
            self.claims.insert(number, leases.clone());
        }
        leases
    }

    fn is_stale(&self, lease: &Value) -> bool {
        self.stale.iter().any(|id| lease["lease_id"] == **id)
    }

    fn has_ended(&self, lease: &Value) -> bool {
        self.ended_is_stale && self.attempt(lease["lease_id"].as_str().unwrap()).end.is_some()
    }

    fn report(&mut self, reports: &Value) -> Vec<Value> {
        // What a call says of an attempt after a gap in its output was said in the belief that there is none.
        let mut mismatched = HashMap::new();
        let mut answer = |report: &Value| {
            let lease = report["lease_id"].to_string();
            let told = mismatched.get(&lease).cloned().unwrap_or_else(|| self.take_in(report));
            if told["status"] == "offset_mismatch" {
                mismatched.insert(lease, told.clone());
            }
            told
        };
        reports.as_array().into_iter().flatten().map(&mut answer).collect()
    }

    fn take_in(&mut self, report: &Value) -> Value {
        if self.is_stale(report) {
            return json!({ "status": "stale_attempt" });
        }
        let attempt = self.attempts.entry(report["lease_id"].as_str().unwrap().to_owned()).or_default();
        match report["type"].as_str().unwrap() {
            "started" => attempt.started = true,
            "output" => return attempt.append(report),
            _ => attempt.end = Some(report.clone()),
        }
        json!({ "status": "accepted" })
    }
}

impl Attempt {
    fn append(&mut self, report: &Value) -> Value {
        let data = report["data"].as_str().unwrap();
        let bytes = match report["encoding"].as_str() {
            Some("base64") => base64::Engine::decode(&base64::engine::general_purpose::STANDARD, data).unwrap(),
            _ => data.as_bytes().to_vec(),
        };
        assert!(bytes.len() <= 65_536, "a chunk of {} bytes", bytes.len());
        let (offset, end) = (report["offset"].as_u64().unwrap(), self.output.len() as u64);
        if offset + bytes.len() as u64 <= end {
            return json!({ "status": "accepted" });
        }
        if offset != end {
            return json!({ "status": "offset_mismatch", "expected_offset": end });
        }
        self.output.extend(&bytes);
        let stream = report["stream"].as_str().unwrap();
        if stream == "stdout" {
            self.stdout.extend(&bytes);
        } else {
            self.stderr.extend(&bytes);
        }
        if self.streams.last().map(String::as_str) != Some(stream) {
            self.streams.push(stream.to_owned());
        }
        json!({ "status": "accepted" })
    }
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    // Its connections end with it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (shared, tls) = (Arc::clone(&shared), tls.clone());
        connections.spawn(async move {
            match tls {
                None => converse(stream, shared).await,
                Some(tls) => {
                    // A client that does not trust the certificate hangs up.
                    let Ok(stream) = tls.accept(stream).await else { return };
                    converse(stream, shared).await;
                }
            }
        });
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { shared.answer(request).await }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn reply(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Full::new(Bytes::from(body.to_string()))).unwrap()
}

fn refusal(kind: &str, status: u16, more: &Value) -> Response<Full<Bytes>> {
    let mut problem = json!({ "type": format!("/problems/{kind}"), "title": kind, "status": status });
    problem.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let mut response = reply(StatusCode::from_u16(status).unwrap(), &problem);
    if let Some(seconds) = more["retry_after"].as_u64() {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}
