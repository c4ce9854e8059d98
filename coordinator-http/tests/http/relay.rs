//! Requests to models through the relay: an agent that the tests play answers for its backend.

pub(crate) mod uploads;

use std::time::{Duration, Instant};

use axum::body::Body;
use futures_util::StreamExt;
use http::{Request, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use titan_api::problem::ProblemType;
use titan_coordinator::{AppState, router};
use tokio::time::sleep;
use tower::ServiceExt;

use crate::{
    agent::{TestAgent, facts, held, now_s, output},
    behind::Behind,
    late::{Late, Step},
    world::{ADMIN, Reply, World, request, send, settings},
};

const CHAT: &str = "/v1/chat/completions";

/// A box that serves these models and runs no processes.
pub(crate) async fn serving(world: &World, id: &str, models: &[&str]) -> TestAgent {
    let mut facts = facts();
    facts["accepts_processes"] = json!(false);
    facts["models"] =
        models.iter().map(|name| json!({"name": name, "parallel": 4, "loaded": true, "backend": "openai"})).collect();
    let mut agent = TestAgent::register_with(world, id, facts).await;
    // It parks for a moment, and after that still counts as at hand.
    agent.claim_requests(world, 1).await;
    agent
}

fn ask(stream: bool) -> Value {
    json!({"model": "llama", "stream": stream, "messages": [{"role": "user", "content": "hi"}], "top_k": 7})
}

fn piece(text: &str) -> String {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": text}}]}))
}

fn with(mut request: Request<Body>, headers: &[(&'static str, &str)]) -> Request<Body> {
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

fn failed(reason: &str) -> Value {
    json!({"type": "failed", "reason": reason})
}

fn done() -> Value {
    json!({"type": "completed", "usage": {"prompt_tokens": 3, "completion_tokens": 2, "first_token_ms": 5, "generation_ms": 10}})
}

/// What the agent does with the next request: reports these, and claims again.
async fn answer(world: &World, agent: &mut TestAgent, events: Vec<Value>) -> Value {
    let lease = agent.claim_requests(world, 5_000).await.ok(200)["leases"][0].clone();
    assert!(lease.is_object(), "nothing was asked of {}", agent.id);
    agent.report(world, &lease, events).await.ok(200);
    lease
}

#[track_caller]
fn openai_error(reply: &Reply, status: u16, code: &str) -> Value {
    assert_eq!(reply.status, status, "{}", reply.body);
    assert_eq!(reply.headers[header::CONTENT_TYPE], "application/json", "{}", reply.body);
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    let error = body["error"].clone();
    assert_eq!(error["code"], code, "{}", reply.body);
    assert!(error["message"].is_string() && error["type"].is_string() && error.get("param").is_some(), "{error}");
    error
}

#[tokio::test]
async fn an_answer_comes_back_to_the_letter_with_the_way_it_took() {
    let world = World::start().await;
    let mut agent = serving(&world, "box", &["llama"]).await;
    let key = world.key("default", &["inference", "jobs:read"]).await;
    let text = r#"{"id": "x",  "choices":[{"message":{"content":"hello"}}]}"#;
    let events = vec![json!({"type": "started"}), output(0, "stdout", text), done()];
    let (reply, lease) = tokio::join!(world.post(&key, CHAT, ask(false)), answer(&world, &mut agent, events));
    reply.ok(200);
    assert_eq!((reply.body.as_str(), reply.headers[header::CONTENT_TYPE].as_bytes()), (text, &b"application/json"[..]));
    assert_eq!(lease["inference"]["body"], ask(false).to_string());
    assert_eq!([&reply.headers["x-titan-agent"], &reply.headers["x-titan-attempt"]], ["box", "1"]);
    let timing = reply.headers["server-timing"].to_str().unwrap();
    assert!(["queue;", "route;", "first;"].iter().all(|part| timing.contains(part)), "{timing}");
    let id = reply.headers["x-request-id"].to_str().unwrap();
    let job = world.get(&key, &format!("/api/v1/jobs/{id}")).await.ok(200);
    assert_eq!(
        (&job["state"], &job["kind"], &job["usage"]["completion_tokens"]),
        (&json!("completed"), &json!("inference"), &json!(2))
    );
    assert_eq!(job["inference"]["body"], ask(false).to_string());
    let usage = world.get(&key, "/api/v1/usage").await.ok(200);
    assert_eq!(usage["models"], json!([{"model": "llama", "requests": 1, "prompt_tokens": 3, "completion_tokens": 2}]));
}

#[tokio::test]
async fn prompt_and_answer_are_shown_to_who_asked_alone() {
    let world = World::start().await;
    let mut agent = serving(&world, "box", &["llama"]).await;
    let key = world.key("default", &["inference", "jobs:read"]).await;
    let other = world.key("default", &["inference", "jobs:read"]).await;
    let events = vec![output(0, "stdout", "{}"), done()];
    let (reply, _) = tokio::join!(world.post(&key, CHAT, ask(false)), answer(&world, &mut agent, events));
    let path = format!("/api/v1/jobs/{}", reply.headers["x-request-id"].to_str().unwrap());
    for bearer in [&other, ADMIN] {
        assert_eq!(world.get(bearer, &path).await.ok(200)["inference"]["body"], "");
        assert_eq!(world.get(bearer, &format!("{path}/output")).await.status, 403);
    }
    assert_eq!(world.get(&key, &format!("{path}/output")).await.status, 200);
}

#[tokio::test]
async fn a_stream_comes_event_by_event() {
    let world = World::start().await;
    let mut agent = serving(&world, "box", &["llama"]).await;
    let (first, second) = (piece("Hel"), piece("lo"));
    let playing = async {
        let lease = agent.claim_requests(&world, 5_000).await.ok(200)["leases"][0].clone();
        let half = &first[..9];
        agent.report(&world, &lease, vec![json!({"type": "started"}), output(0, "stdout", half)]).await.ok(200);
        agent.report(&world, &lease, vec![output(9, "stdout", &first[9..])]).await.ok(200);
        let rest = format!("{second}data: [DONE]\n\n");
        agent.report(&world, &lease, vec![output(first.len() as u64, "stdout", &rest), done()]).await.ok(200);
    };
    let (reply, ()) = tokio::join!(world.post(ADMIN, CHAT, ask(true)), playing);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.headers[header::CONTENT_TYPE], "text/event-stream");
    assert_eq!(reply.body, format!("{first}{second}data: [DONE]\n\n"));
}

#[tokio::test]
async fn every_failure_on_openais_routes_has_openais_shape() {
    let world = World::start().await;
    serving(&world, "box", &["llama"]).await;
    let reader = world.key("default", &["jobs:read"]).await;
    let key = world.key("default", &["inference"]).await;
    openai_error(&world.post("", CHAT, ask(false)).await, 401, "invalid_api_key");
    openai_error(&world.post("sk-wrong", CHAT, ask(false)).await, 401, "invalid_api_key");
    openai_error(&world.post(&reader, CHAT, ask(false)).await, 403, "insufficient_permissions");
    openai_error(&world.get(&key, "/v1/nonsense").await, 404, "unknown_url");
    openai_error(&world.get(&key, CHAT).await, 405, "method_not_supported");
    let error = openai_error(
        &world.post(&key, CHAT, json!({"model": "gpt", "messages": [{"role": "user"}]})).await,
        404,
        "model_not_found",
    );
    assert_eq!((&error["param"], &error["type"]), (&json!("model"), &json!("invalid_request_error")));
    openai_error(&world.get(&key, "/v1/models/gpt").await, 404, "model_not_found");
    for (body, param) in [
        (json!({"messages": []}), Value::Null),
        (json!({"model": 7, "messages": []}), json!("model")),
        (json!({"model": "llama"}), json!("messages")),
        (json!({"model": "llama", "messages": "hi"}), json!("messages")),
        (json!({"model": "llama", "messages": [{"content": "hi"}]}), json!("messages.0")),
        (json!({"model": "", "messages": [{"role": "user"}]}), json!("model")),
    ] {
        let error = openai_error(&world.post(&key, CHAT, body.clone()).await, 400, "invalid_value");
        assert_eq!(error["param"], param, "{body}");
    }
    let raw = |text: &'static str| {
        let mut raw = request("POST", &key, CHAT, Some(json!({})));
        *raw.body_mut() = Body::from(text);
        raw
    };
    openai_error(&world.send(raw("{")).await, 400, "invalid_request");
    openai_error(&world.send(with(raw("{}"), &[("x-titan-deadline-ms", "x")])).await, 400, "invalid_value");
    let long = json!({"model": "llama", "messages": [{"role": "user", "content": "x".repeat(9 << 20)}]});
    openai_error(&world.post(&key, CHAT, long).await, 413, "request_too_large");
    let text = with(request("POST", &key, CHAT, Some(ask(false))), &[("content-type", "text/plain")]);
    openai_error(&world.send(text).await, 415, "invalid_request");
}

#[tokio::test]
async fn a_request_that_no_agent_is_free_for_waits_until_its_deadline() {
    let world = World::start().await;
    let mut agent = serving(&world, "box", &["llama"]).await;
    agent.heartbeat(&world, json!({"leaving": true})).await.ok(200);
    let began = Instant::now();
    let asked = with(request("POST", ADMIN, CHAT, Some(ask(false))), &[("x-titan-deadline-ms", "1200")]);
    let reply = world.send(asked).await;
    openai_error(&reply, 503, "deadline_passed");
    assert!(began.elapsed() >= Duration::from_millis(1_200));
    assert!(reply.headers.contains_key(header::RETRY_AFTER));
    assert_eq!(reply.headers["x-titan-queue-place"], "1");
    let timing = reply.headers["server-timing"].to_str().unwrap();
    let waited = timing.split("wait;dur=").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or("0");
    assert!(waited.parse::<f64>().unwrap() >= 1_000.0, "waiting is no slowness of the coordinator's: {timing}");
    let id = reply.headers["x-request-id"].to_str().unwrap().to_owned();
    let path = format!("/api/v1/jobs/{id}?wait_ms=5000");
    assert_eq!(world.get(ADMIN, &path).await.ok(200)["state"], "cancelled");
}

#[tokio::test]
async fn what_the_backend_refuses_is_refused_in_its_words() {
    let world = World::start().await;
    let mut agent = serving(&world, "box", &["llama"]).await;
    let words = r#"{"error":{"message":"too hot","type":"invalid_request_error","param":"temperature","code":null}}"#;
    for (stream, status) in [(false, 422), (true, 422), (false, 501)] {
        let refused = json!({"type": "failed", "reason": "backend_rejected", "exit_code": status});
        let events = vec![output(0, "stdout", words), refused];
        let (reply, _) = tokio::join!(world.post(ADMIN, CHAT, ask(stream)), answer(&world, &mut agent, events));
        assert_eq!((reply.status.as_u16(), reply.body.as_str()), (status, words), "stream: {stream}");
    }
    let refused = json!({"type": "failed", "reason": "backend_rejected", "exit_code": 200});
    let events = vec![output(0, "stdout", "<html>"), refused];
    let (reply, _) = tokio::join!(world.post(ADMIN, CHAT, ask(false)), answer(&world, &mut agent, events));
    openai_error(&reply, 400, "invalid_request");
}

#[tokio::test]
async fn a_failure_before_the_first_byte_is_not_seen_by_the_client() {
    let world = World::start().await;
    let mut agents = [serving(&world, "a", &["llama"]).await, serving(&world, "b", &["llama"]).await];
    let [a, b] = &mut agents;
    let playing = async {
        let (first, second) = tokio::join!(a.claim_requests(&world, 2_000), b.claim_requests(&world, 2_000));
        let (first, second) = (first.ok(200)["leases"][0].clone(), second.ok(200)["leases"][0].clone());
        let (failing, lease, other) = if first.is_object() { (a, first, b) } else { (b, second, a) };
        let (claimed, _) = tokio::join!(
            other.claim_requests(&world, 5_000),
            failing.report(&world, &lease, vec![json!({"type": "started"}), failed("backend_failed")])
        );
        let lease = claimed.ok(200)["leases"][0].clone();
        other.report(&world, &lease, vec![output(0, "stdout", "{\"ok\":1}"), done()]).await.ok(200);
        other.id.clone()
    };
    let (reply, answered) = tokio::join!(world.post(ADMIN, CHAT, ask(false)), playing);
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, "{\"ok\":1}"));
    assert_eq!([&reply.headers["x-titan-agent"], &reply.headers["x-titan-attempt"]], [answered.as_str(), "2"]);
}

#[tokio::test]
async fn an_event_without_an_end_ends_the_stream_and_is_held_in_no_memory() {
    let world = World::start().await;
    let mut agent = serving(&world, "box", &["llama"]).await;
    let playing = async {
        let lease = agent.claim_requests(&world, 5_000).await.ok(200)["leases"][0].clone();
        let long = "x".repeat(60_000);
        agent.report(&world, &lease, vec![output(0, "stdout", "data: ")]).await.ok(200);
        for n in 0..20 {
            agent.report(&world, &lease, vec![output(6 + n * 60_000, "stdout", &long)]).await;
        }
        lease["job_id"].as_str().unwrap().to_owned()
    };
    let asking = tokio::time::timeout(Duration::from_secs(20), world.post(ADMIN, CHAT, ask(true)));
    let (reply, job) = tokio::join!(asking, playing);
    let reply = reply.expect("the stream ends");
    assert!(reply.body.contains("backend_failed") && reply.body.contains("longer than 1 MiB"), "{}", reply.body);
    assert!(reply.body.len() < 1_000, "{} bytes", reply.body.len());
    ends_cancelled(&world, &job).await;
}

/// Waits until a job is being cancelled.
async fn ends_cancelled(world: &World, job: &str) {
    let is_cancelled = async {
        while world.get(ADMIN, &format!("/api/v1/jobs/{job}")).await.ok(200)["state"] != "cancelled" {
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), is_cancelled).await.expect("it is cancelled");
}

#[tokio::test]
async fn a_submission_that_its_own_cancellation_has_overtaken_runs_for_nobody() {
    let world = World::start().await;
    let mut agent = serving(&world, "box", &["llama"]).await;
    // So that Redis knows the script and the agents that have the model, and one question is enough.
    let events = vec![output(0, "stdout", "{}"), done()];
    tokio::join!(world.post(ADMIN, CHAT, ask(false)), answer(&world, &mut agent, events)).0.ok(200);
    let way = Late::to(&world.redis.url(), "said by who leaves").await;
    let through = router(AppState::new(settings(&way.url(), &[])).unwrap());
    let mut body = ask(true);
    body["messages"][0]["content"] = json!("said by who leaves");
    let asking = tokio::spawn(through.oneshot(request("POST", ADMIN, CHAT, Some(body))));
    way.until(Step::Held).await;
    // It says when it is too late for it, so that it runs for nobody however late it comes.
    let come_by = way.held().split("\"come_by\":").nth(1).and_then(|rest| rest.get(..13)?.parse::<i64>().ok());
    let left_s = come_by.expect("a time") / 1_000 - now_s();
    assert!((5..=15).contains(&left_s), "{left_s}");
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    way.go(Step::Cut);
    way.until(Step::Missed).await;
    way.go(Step::Released);
    let jobs = async {
        loop {
            let jobs = world.get(ADMIN, "/api/v1/jobs").await.ok(200)["jobs"].clone();
            if let [new, _] = jobs.as_array().unwrap().as_slice() {
                return new["id"].as_str().unwrap().to_owned();
            }
        }
    };
    let job = tokio::time::timeout(Duration::from_secs(10), jobs).await.expect("it comes late");
    ends_cancelled(&world, &job).await;
}

#[tokio::test]
async fn a_request_is_accepted_by_a_redis_whose_clock_was_set_since_it_was_read() {
    let world = World::start().await;
    let mut agent = serving(&world, "box", &["llama"]).await;
    let way = Behind::to(&world.redis.url()).await;
    let state = AppState::new(settings(&way.url(), &[])).unwrap();
    state.refresh_clock().await.unwrap();
    let copy = router(state);
    let asking = send(&copy, request("POST", ADMIN, CHAT, Some(ask(false))));
    let events = vec![output(0, "stdout", "{}"), done()];
    let (reply, ()) = tokio::join!(asking, async { drop(answer(&world, &mut agent, events).await) });
    reply.ok(200);
}

#[tokio::test]
async fn a_failure_in_the_middle_ends_the_stream_with_an_error_event() {
    let world = World::start().await;
    let mut agent = serving(&world, "box", &["llama"]).await;
    let begun = format!("{}data: {{\"cho", piece("Hel"));
    let events = vec![output(0, "stdout", &begun), failed("stalled")];
    let (reply, _) = tokio::join!(world.post(ADMIN, CHAT, ask(true)), answer(&world, &mut agent, events));
    let events: Vec<&str> = reply.body.trim_end().split("\n\n").collect();
    assert_eq!((events.len(), format!("{}\n\n", events[0])), (2, piece("Hel")), "{}", reply.body);
    let error: Value = serde_json::from_str(events[1].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((&error["error"]["code"], &error["error"]["type"]), (&json!("backend_stalled"), &json!("server_error")));
}

#[tokio::test]
async fn where_it_is_asked_for_another_agent_goes_on_with_the_text_so_far() {
    let world = World::start().await;
    let mut agents = [serving(&world, "a", &["llama"]).await, serving(&world, "b", &["llama"]).await];
    let mut body = ask(true);
    body["max_tokens"] = json!(10);
    let asked = with(request("POST", ADMIN, CHAT, Some(body)), &[("x-titan-failover", "continue")]);
    let [a, b] = &mut agents;
    let playing = async {
        let (first, second) = tokio::join!(a.claim_requests(&world, 2_000), b.claim_requests(&world, 2_000));
        let (first, second) = (first.ok(200)["leases"][0].clone(), second.ok(200)["leases"][0].clone());
        let (failing, lease, other) = if first.is_object() { (a, first, b) } else { (b, second, a) };
        let begun = format!("{}{}data: {{", piece("Hel"), piece("lo"));
        let (claimed, _) = tokio::join!(
            other.claim_requests(&world, 5_000),
            failing.report(&world, &lease, vec![output(0, "stdout", &begun), failed("backend_failed")])
        );
        let lease = claimed.ok(200)["leases"][0].clone();
        let rest = format!("{}data: [DONE]\n\n", piece(" world"));
        other.report(&world, &lease, vec![output(0, "stdout", &rest), done()]).await.ok(200);
        lease
    };
    let (reply, lease) = tokio::join!(world.send(asked), playing);
    assert_eq!(reply.body, format!("{}{}{}data: [DONE]\n\n", piece("Hel"), piece("lo"), piece(" world")));
    assert_eq!(lease["inference"]["continues"], true);
    let asked: Value = serde_json::from_str(lease["inference"]["body"].as_str().unwrap()).unwrap();
    assert_eq!(asked["messages"][1], json!({"role": "assistant", "content": "Hello"}));
    assert_eq!((&asked["max_tokens"], &asked["top_k"]), (&json!(8), &json!(7)));
}

#[tokio::test]
async fn an_agent_is_told_to_stop_when_its_client_goes_away() {
    let world = World::start().await;
    let mut agent = serving(&world, "box", &["llama"]).await;
    let playing = async {
        let lease = agent.claim_requests(&world, 5_000).await.ok(200)["leases"][0].clone();
        agent.report(&world, &lease, vec![output(0, "stdout", &piece("Hel"))]).await.ok(200);
        lease
    };
    let (mut body, lease) = tokio::join!(stream_of(&world), playing);
    body.frame().await.unwrap().unwrap();
    drop(body);
    let began = Instant::now();
    loop {
        let claimed = agent.claim_requests(&world, 1_000).await.ok(200);
        if claimed["cancel"] == json!([lease["job_id"]]) {
            break;
        }
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(
        world.get(ADMIN, &format!("/api/v1/jobs/{}", lease["job_id"].as_str().unwrap())).await.ok(200)["state"],
        "cancelled"
    );
}

/// The body of a stream that has begun.
async fn stream_of(world: &World) -> Body {
    world.router.clone().oneshot(request("POST", ADMIN, CHAT, Some(ask(true)))).await.unwrap().into_body()
}

#[tokio::test]
async fn an_idempotency_key_gives_one_execution_and_its_answer_to_all_who_ask() {
    let world = World::start().await;
    let mut agent = serving(&world, "box", &["llama"]).await;
    let asked = || with(request("POST", ADMIN, CHAT, Some(ask(false))), &[("idempotency-key", "once")]);
    let events = vec![output(0, "stdout", "{\"n\":1}"), done()];
    let (first, second, _) = tokio::join!(world.send(asked()), world.send(asked()), answer(&world, &mut agent, events));
    let third = world.send(asked()).await;
    for reply in [&first, &second, &third] {
        assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, "{\"n\":1}"));
        assert_eq!(reply.headers["x-request-id"], first.headers["x-request-id"]);
    }
    let other = with(request("POST", ADMIN, CHAT, Some(ask(true))), &[("idempotency-key", "once")]);
    openai_error(&world.send(other).await, 422, "idempotency_key_reused");
}

#[tokio::test]
async fn the_models_of_the_fleet_are_listed_and_change_with_a_heartbeat() {
    let world = World::start().await;
    let mut agent = serving(&world, "box", &["llama", "org/name"]).await;
    let listed = world.get(ADMIN, "/v1/models").await.ok(200);
    let names = |listed: &Value| listed["data"].as_array().unwrap().iter().map(|m| m["id"].clone()).collect::<Vec<_>>();
    assert_eq!(names(&listed), ["llama", "org/name"]);
    assert_eq!(world.get(ADMIN, "/v1/models/org/name").await.ok(200)["object"], "model");
    agent.heartbeat(&world, json!({"models": [{"name": "phi", "parallel": 1, "loaded": false}]})).await.ok(200);
    while names(&world.get(ADMIN, "/v1/models").await.ok(200)) != ["phi"] {
        sleep(Duration::from_millis(20)).await;
    }
    let fleet = world.get(ADMIN, "/api/v1/models").await.ok(200);
    assert_eq!(
        (&fleet["models"][0]["name"], &fleet["models"][0]["agents"], &fleet["models"][0]["loaded_on"]),
        (&json!("phi"), &json!(1), &json!(0))
    );
    world.call("PUT", ADMIN, "/api/v1/models/aliases", Some(json!({"aliases": {"chat": ["phi"]}}))).await.ok(200);
    world.post(ADMIN, "/api/v1/sweep", json!({})).await.ok(200);
    while names(&world.get(ADMIN, "/v1/models").await.ok(200)) != ["chat", "phi"] {
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.get(ADMIN, "/api/v1/models/aliases").await.ok(200)["aliases"], json!({"chat": ["phi"]}));
}

#[tokio::test]
async fn all_who_list_the_models_at_once_have_the_registry_read_once() {
    let world = World::start().await;
    serving(&world, "box", &["llama"]).await;
    let before = world.redis.calls("fcall").await;
    let paths = ["/v1/models", "/v1/models/llama", "/api/v1/models"];
    let asking = (0..99).map(|n| world.get(ADMIN, paths[n % 3]));
    for reply in futures_util::future::join_all(asking).await {
        reply.ok(200);
    }
    assert_eq!(world.redis.calls("fcall").await - before, 1);
}

#[tokio::test]
async fn a_request_is_tried_again_by_whoever_asked_it_alone() {
    let world = World::start().await;
    let mut agent = serving(&world, "box", &["llama"]).await;
    let [asker, other] = [&["inference", "jobs:write", "jobs:read"]; 2].map(|scopes| world.key("default", scopes));
    let (asker, other) = (asker.await, other.await);
    let words = json!({"type": "failed", "reason": "backend_failed", "message": "the backend says: you asked for X"});
    let events = vec![output(0, "stdout", "{"), words];
    let (reply, _) = tokio::join!(world.post(&asker, CHAT, ask(false)), answer(&world, &mut agent, events));
    let path = format!("/api/v1/jobs/{}", reply.headers["x-request-id"].to_str().unwrap());
    let shown = world.get(&asker, &path).await.ok(200);
    assert_eq!(shown["failures"][0]["message"], shown["message"]);
    assert_eq!(shown["message"], "the backend says: you asked for X");
    let shown = world.get(&other, &path).await.ok(200);
    assert_eq!((&shown["message"], &shown["failures"][0]["message"]), (&Value::Null, &Value::Null));
    assert_eq!(shown["reason"], "backend_failed");
    let retry = format!("{path}/retry");
    let before = world.pool_dump().await;
    let writes = world.key("default", &["jobs:write"]).await;
    for bearer in [&other, &writes] {
        world.post(bearer, &retry, json!({})).await.problem(ProblemType::Forbidden);
    }
    assert_eq!(world.pool_dump().await, before);
    world.post(&asker, &retry, json!({})).await.ok(200);
}

#[tokio::test]
async fn a_stream_shows_its_first_bytes_before_it_has_ended() {
    let world = World::start().await;
    let mut agent = serving(&world, "box", &["llama"]).await;
    let asked = world.router.clone().oneshot(request("POST", ADMIN, CHAT, Some(ask(true))));
    let playing = async {
        let lease = agent.claim_requests(&world, 5_000).await.ok(200)["leases"][0].clone();
        agent.report(&world, &lease, vec![output(0, "stdout", &piece("Hel"))]).await.ok(200);
        lease
    };
    let (reply, lease) = tokio::join!(asked, playing);
    let mut body = reply.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, piece("Hel"));
    assert_eq!(held(&lease)["attempt"], 1);
}
