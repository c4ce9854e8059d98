//! Wrong bodies, ids, headers, cursors and limits: each gets its problem, and nothing changes in Redis.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes, HttpBody};
use http::{Request, header};
use http_body::{Frame, SizeHint};
use serde_json::{Value, json};
use titan_api::{limits, problem::ProblemType};

use crate::{
    agent::{TestAgent, facts, held},
    world::{ADMIN, World, job, request},
};

#[tokio::test]
async fn wrong_bodies_of_clients_are_refused_field_by_field() {
    let world = World::start().await;
    world.submit(ADMIN).await;
    let before = world.redis.dump().await;
    let cases = [
        ("POST", "/api/v1/jobs", json!({}), ""),
        ("POST", "/api/v1/jobs", json!([]), ""),
        ("POST", "/api/v1/jobs", json!(["process", {"command": ["true"]}]), ""),
        ("POST", "/api/v1/jobs/batch", json!([[job(&["true"])]]), ""),
        ("POST", "/api/v1/jobs", changed(&["state"], json!("running")), "/state"),
        ("POST", "/api/v1/jobs", changed(&["kind"], json!("magic")), "/kind"),
        ("POST", "/api/v1/jobs", changed(&["process", "command"], json!([])), "/process/command"),
        ("POST", "/api/v1/jobs", changed(&["process", "command"], json!("ls")), "/process/command"),
        ("POST", "/api/v1/jobs", changed(&["process", "shell"], json!(true)), "/process/shell"),
        ("POST", "/api/v1/jobs", changed(&["process", "env"], json!({"A=B": "c"})), "/process/env/A=B"),
        ("POST", "/api/v1/jobs", changed(&["priority"], json!(1_001)), "/priority"),
        ("POST", "/api/v1/jobs", changed(&["priority"], json!(1e10)), "/priority"),
        ("POST", "/api/v1/jobs", changed(&["max_attempts"], json!(-1)), "/max_attempts"),
        ("POST", "/api/v1/jobs", changed(&["timeout_ms"], json!(0)), "/timeout_ms"),
        ("POST", "/api/v1/jobs", changed(&["requirements"], json!({"gpus": 1_000_000})), "/requirements/gpus"),
        ("POST", "/api/v1/jobs", changed(&["requirements"], json!({"cpus": -1})), "/requirements/cpus"),
        ("POST", "/api/v1/jobs", changed(&["labels"], json!({"a{b}": ""})), "/labels/a{b}"),
        ("POST", "/api/v1/keys", json!({"scopes": []}), "/scopes"),
        ("POST", "/api/v1/keys", json!({"scopes": ["everything"]}), "/scopes/0"),
        ("POST", "/api/v1/keys", json!({"scopes": ["jobs:read"], "pool": "other"}), "/pool"),
        ("POST", "/api/v1/keys", json!({"scopes": ["jobs:read"], "expires_in_ms": 0}), "/expires_in_ms"),
        (
            "POST",
            "/api/v1/keys",
            key_with(&json!({"requests": {"quota": 0, "window_ms": 1_000}})),
            "/limits/requests/quota",
        ),
        (
            "POST",
            "/api/v1/keys",
            key_with(&json!({"requests": {"quota": -1, "window_ms": 1_000}})),
            "/limits/requests/quota",
        ),
        ("POST", "/api/v1/keys", key_with(&json!({"requests": {"quota": 1}})), "/limits/requests"),
        ("POST", "/api/v1/keys", key_with(&json!({"requests": 5})), "/limits/requests"),
        (
            "POST",
            "/api/v1/keys",
            key_with(&json!({"body_bytes": {"quota": 1, "window_ms": 999}})),
            "/limits/body_bytes/window_ms",
        ),
        (
            "POST",
            "/api/v1/keys",
            key_with(&json!({"body_bytes": {"quota": u64::MAX, "window_ms": 1_000}})),
            "/limits/body_bytes/quota",
        ),
        ("POST", "/api/v1/keys", key_with(&json!({"jobs": {"quota": 1, "window_ms": 1_000}})), "/limits/jobs"),
        ("POST", "/api/v1/join-tokens", json!({"uses": 0}), "/uses"),
        ("POST", "/api/v1/join-tokens", json!({"expires_in_ms": u64::MAX}), "/expires_in_ms"),
        ("PUT", "/api/v1/scheduler", json!({"profile": "custom"}), "/weights"),
        ("PUT", "/api/v1/scheduler", json!({"profile": "fast"}), "/profile"),
        ("POST", "/api/v1/sweep", json!({"all": true}), "/all"),
        ("POST", "/api/v1/jobs/x/cancel", json!({"why": "x"}), "/why"),
    ];
    for (method, path, body, pointer) in cases {
        let reply = world.call(method, ADMIN, path, Some(body.clone())).await;
        let problem = reply.problem(ProblemType::Invalid);
        assert_eq!(problem.errors[0].pointer, pointer, "{path} {body}: {:?}", problem.errors);
    }
    assert_eq!(world.redis.dump().await, before, "a refused body changed something");
}

fn key_with(limits: &Value) -> Value {
    json!({"scopes": ["jobs:read"], "limits": limits})
}

fn changed(path: &[&str], value: Value) -> Value {
    let mut body = job(&["true"]);
    let place = path.iter().fold(&mut body, |place, name| &mut place[*name]);
    *place = value;
    body
}

#[tokio::test]
async fn what_agents_cannot_mean_is_refused_field_by_field() {
    let world = World::start().await;
    let agent = TestAgent::register(&world, "box-1").await;
    let before = world.redis.dump().await;
    let beat = |more: Value| {
        let mut body = json!({"protocol": 1, "seq": 1, "last_claim": 0});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("heartbeat", body)
    };
    let hindered = |by: Vec<Value>| beat(json!({"measures": {"hindered_by": by}}));
    let with_reports = |claim: Value| ("report", json!({"protocol": 1, "reports": [], "claim": claim}));
    let lease = held(&json!({"job_id": "j", "attempt": 1, "lease_id": "l"}));
    let report = json!({"job_id": "j", "attempt": 1, "lease_id": "l", "type": "started"});
    let cases = [
        (beat(json!({"protocol": 2})), "/protocol"),
        (beat(json!({"protocol": 0})), "/protocol"),
        (beat(json!({"seq": -1})), "/seq"),
        (beat(json!({"seq": u64::MAX})), "/seq"),
        (beat(json!({"measures": {"cpu_load": 1.5}})), "/measures/cpu_load"),
        (beat(json!({"measures": {"rtt_ms": -1}})), "/measures/rtt_ms"),
        (beat(json!({"measures": {"ram_free_mb": u64::MAX}})), "/measures/ram_free_mb"),
        (beat(json!({"measures": {"gpus": [{"uuid": "a b", "free_mb": 1}]}})), "/measures/gpus/0/uuid"),
        (beat(json!({"measures": {"gpus": vec![json!({"uuid": "a", "free_mb": 1}); 65]}})), "/measures/gpus"),
        (hindered(vec![json!({"kind": "process", "why": "full"}); 9]), "/measures/hindered_by"),
        (hindered(vec![json!({"kind": "process", "why": "x".repeat(257)})]), "/measures/hindered_by/0/why"),
        (hindered(vec![json!({"kind": "process", "why": "\u{1b}[31mfull"})]), "/measures/hindered_by/0/why"),
        (hindered(vec![json!({"kind": "process", "why": " "})]), "/measures/hindered_by/0/why"),
        (hindered(vec![json!({"kind": "sleep", "why": "tired"})]), "/measures/hindered_by/0/kind"),
        (beat(json!({"leases": vec![lease; limits::LEASES + 1]})), "/leases"),
        (beat(json!({"reports": vec![report.clone(); limits::REPORTS + 1]})), "/reports"),
        (beat(json!({"claim": {"claim": 0, "free_slots": 1}})), "/claim/claim"),
        (("claim", json!({"protocol": 1, "claim": 1, "free_slots": 65})), "/free_slots"),
        (("claim", json!({"protocol": 1, "claim": 1, "free_slots": 1, "wait_ms": 20_001})), "/wait_ms"),
        (("claim", json!({"protocol": 1, "claim": 0, "free_slots": 1})), "/claim"),
        (("report", json!({"protocol": 1, "reports": vec![report; limits::REPORTS + 1]})), "/reports"),
        (with_reports(json!({"claim": 0, "free_slots": 1})), "/claim/claim"),
        (with_reports(json!({"claim": u64::MAX, "free_slots": 1})), "/claim/claim"),
        (with_reports(json!({"claim": 1, "free_slots": 65})), "/claim/free_slots"),
        (with_reports(json!({"claim": 1, "free_slots": 0, "free_requests": 257})), "/claim/free_requests"),
        (with_reports(json!({"claim": 1, "free_slots": -1})), "/claim/free_slots"),
        (with_reports(json!({"claim": "1", "free_slots": 1})), "/claim/claim"),
        (with_reports(json!([])), "/claim"),
    ];
    for ((verb, body), pointer) in cases {
        let problem = world.post(&agent.token, &agent.path(verb), body).await.problem(ProblemType::Invalid);
        assert_eq!(problem.errors[0].pointer, pointer, "{verb}: {:?}", problem.errors);
    }
    assert_eq!(world.redis.dump().await, before, "a refused call of an agent changed something");
}

#[tokio::test]
async fn boxes_that_brag_are_not_registered_and_wrong_keys_do_not_join() {
    let world = World::start().await;
    let agent = TestAgent::register(&world, "box-1").await;
    let token = world.join_token(1).await;
    let before = world.redis.dump().await;
    for (name, value, pointer) in [
        ("gpus", json!(vec![json!({"uuid": "a", "vram_mb": 1}); 65]), "/facts/gpus"),
        ("ram_mb", json!(-1), "/facts/ram_mb"),
        ("labels", json!({"x": "v".repeat(200)}), "/facts/labels/x"),
        ("max_jobs", json!(0), "/facts/max_jobs"),
        ("hostname", json!("a\nb"), "/facts/hostname"),
    ] {
        let mut body = agent.registration("run-2", &agent.proof("run-2", crate::agent::now_s()));
        body["facts"][name] = value;
        let problem = world.post("", "/api/v1/agents/register", body).await.problem(ProblemType::Invalid);
        assert_eq!(problem.errors[0].pointer, pointer);
    }
    let key = crate::agent::Signer::new().public;
    for (body, pointer) in [
        (json!({"protocol": 1, "public_key": "short"}), "/public_key"),
        (json!({"protocol": 1, "public_key": format!("{key}=")}), "/public_key"),
        (json!({"protocol": 1, "public_key": key, "agent_id": "a/b"}), "/agent_id"),
        (json!({"protocol": 1, "public_key": key, "agent_id": "x".repeat(129)}), "/agent_id"),
        (json!({"protocol": 9, "public_key": key}), "/protocol"),
    ] {
        let problem = world.post(&token, "/api/v1/agents/join", body).await.problem(ProblemType::Invalid);
        assert_eq!(problem.errors[0].pointer, pointer);
    }
    assert_eq!(world.redis.dump().await, before, "a refused box changed something");
}

#[tokio::test]
async fn fields_that_a_newer_agent_adds_are_no_reason_to_refuse_it() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    agent.heartbeat(&world, json!({"mood": "sunny"})).await.ok(200);
    let mut body = agent.registration("run-2", &agent.proof("run-2", crate::agent::now_s()));
    body["facts"] = facts();
    body["facts"]["colour"] = json!("blue");
    world.post("", "/api/v1/agents/register", body).await.ok(200);
}

#[tokio::test]
async fn wrong_ids_queries_cursors_and_limits_are_bad_requests() {
    let world = World::start().await;
    world.submit(ADMIN).await;
    let before = world.redis.dump().await;
    let keys_cursor = "MTprZXlzOmE"; // of the list of keys
    let long = "x".repeat(129);
    for path in [
        "/api/v1/jobs/a%7Bb%7D",
        "/api/v1/jobs/a%2Fb",
        "/api/v1/jobs/a%0d%0ab",
        "/api/v1/jobs/%00",
        "/api/v1/jobs/%ff",
        "/api/v1/jobs/a*",
        &format!("/api/v1/jobs/{long}"),
        "/api/v1/agents/a:b",
        &format!("/api/v1/agents/{long}"),
        "/api/v1/jobs?limit=0",
        "/api/v1/jobs?limit=501",
        "/api/v1/jobs?limit=-1",
        "/api/v1/jobs?limit=x",
        "/api/v1/jobs?limit=1&limit=2",
        "/api/v1/jobs?state=asleep",
        "/api/v1/jobs?agent=a%20b",
        "/api/v1/jobs?cursor=",
        "/api/v1/jobs?cursor=nonsense",
        &format!("/api/v1/jobs?cursor={keys_cursor}"),
        "/api/v1/jobs?colour=blue",
        "/api/v1/jobs/x?wait_ms=20001",
        "/api/v1/jobs/x?wait_ms=-1",
        "/api/v1/jobs/x/output?offset=-1",
        "/api/v1/jobs/x/output?attempt=one",
        "/api/v1/agents?limit=1000000000",
        "/api/v1/status?include_agents=perhaps",
        "/api/v1/health?deep=true",
    ] {
        world.get(ADMIN, path).await.problem(ProblemType::BadRequest);
    }
    let wrong = world.get(ADMIN, "/api/v1/jobs?limit=x").await;
    assert!(wrong.body.contains("limit: write a whole number, in digits alone"), "{}", wrong.body);
    assert_eq!(world.redis.dump().await, before, "a refused read changed something");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let world = World::start().await;
    world.submit(ADMIN).await;
    let before = world.redis.dump().await;
    for path in ["/", "/api/v1/nothing", "/api/v2/jobs", "/api/v1/jobs/", "/api/v1/jobs/none", "/api/v1/agents/none"] {
        world.get(ADMIN, path).await.problem(ProblemType::NotFound);
    }
    for path in ["/api/v1/jobs/none/output", "/api/v1/jobs/none?wait_ms=1000", "/api/v1/jobs/none/output?wait_ms=1000"]
    {
        world.get(ADMIN, path).await.problem(ProblemType::NotFound);
    }
    for path in ["/api/v1/jobs/none/cancel", "/api/v1/agents/none/drain", "/api/v1/agents/none/resume"] {
        world.call("POST", ADMIN, path, None).await.problem(ProblemType::NotFound);
    }
    assert_eq!(world.redis.dump().await, before, "asking for nothing changed something");
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let world = World::start().await;
    for (method, path, allowed) in [
        ("DELETE", "/api/v1/jobs", ["GET", "POST"].as_slice()),
        ("GET", "/api/v1/jobs/x/cancel", &["POST"]),
        ("POST", "/api/v1/health", &["GET"]),
        ("PATCH", "/api/v1/scheduler", &["GET", "PUT"]),
    ] {
        let reply = world.call(method, ADMIN, path, None).await;
        reply.problem(ProblemType::MethodNotAllowed);
        let allow = reply.headers[header::ALLOW].to_str().unwrap().to_owned();
        assert!(allowed.iter().all(|method| allow.contains(method)), "{path}: {allow}");
    }
}

/// A body that says how long it is, and never comes.
struct Declared(u64);

impl HttpBody for Declared {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

#[tokio::test]
async fn a_body_of_the_wrong_kind_or_length_is_refused() {
    let world = World::start().await;
    let send = |content_type: &'static str, body: String| {
        let request = Request::post("/api/v1/jobs").header(header::AUTHORIZATION, format!("Bearer {ADMIN}"));
        let request =
            if content_type.is_empty() { request } else { request.header(header::CONTENT_TYPE, content_type) };
        world.send(request.body(Body::from(body)).unwrap())
    };
    let good = job(&["true"]).to_string();
    send("application/json; charset=utf-8", good.clone()).await.ok(202);
    for wrong in
        ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "application/json, text/plain"]
    {
        send(wrong, good.clone()).await.problem(ProblemType::UnsupportedMediaType);
    }
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for wrong in ["", "{", "null x", "\u{feff}{}", "{'a':1}"] {
        send("application/json", wrong.to_owned()).await.problem(ProblemType::BadRequest);
    }
    for wrong in ["null", "[]", "1", "{\"priority\":1e400}", "{\"kind\":\"\\ud800\"}", &deep] {
        send("application/json", wrong.to_owned()).await.problem(ProblemType::Invalid);
    }
    let long = changed(&["process", "stdin"], json!("x".repeat(limits::LONG_BODY_BYTES))).to_string();
    let long = send("application/json", long).await;
    long.problem(ProblemType::TooLarge);
    assert!(long.body.contains("may have 256 KiB"), "{}", long.body);
    // One that says so is not waited for.
    let said = Request::post("/api/v1/jobs").header(header::AUTHORIZATION, format!("Bearer {ADMIN}"));
    let said = said.header(header::CONTENT_TYPE, "application/json").header(header::CONTENT_LENGTH, 99_999_999_999_u64);
    let endless = Body::new(Declared(99_999_999_999));
    let endless = world.send(said.body(endless).unwrap()).await;
    endless.problem(ProblemType::TooLarge);
    assert!(endless.body.contains("may have 256 KiB"), "{}", endless.body);
    let mut twice = request("POST", ADMIN, "/api/v1/jobs", Some(job(&["true"])));
    twice.headers_mut().append(header::CONTENT_TYPE, "application/json".parse().unwrap());
    world.send(twice).await.problem(ProblemType::UnsupportedMediaType);
    let long = world.post(ADMIN, "/api/v1/keys", json!({"name": "x".repeat(limits::BODY_BYTES)})).await;
    long.problem(ProblemType::TooLarge);
}

#[tokio::test]
async fn a_full_chunk_of_output_fits_into_a_report_however_it_is_escaped() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    world.submit(ADMIN).await;
    let lease = agent.claim(&world, 5_000).await.ok(200)["leases"][0].clone();
    let chunk = crate::agent::output(0, "stdout", &"\u{1}".repeat(limits::OUTPUT_CHUNK_BYTES));
    let answers = agent.report(&world, &lease, vec![chunk]).await.ok(200)["answers"].clone();
    assert_eq!(answers, json!([{"status": "accepted"}]));
    let end = limits::OUTPUT_CHUNK_BYTES as u64;
    let more = crate::agent::output(end, "stdout", &"x".repeat(limits::OUTPUT_CHUNK_BYTES + 1));
    let answers = agent.report(&world, &lease, vec![more]).await.ok(200)["answers"].clone();
    assert_eq!(answers, json!([{"status": "invalid"}]));
    let elsewhere = crate::agent::output(end + 5, "stdout", "x");
    let answers = agent.report(&world, &lease, vec![elsewhere]).await.ok(200)["answers"].clone();
    assert_eq!(answers, json!([{"status": "offset_mismatch", "expected_offset": end}]));
}

#[tokio::test]
async fn a_wrong_authorization_is_refused_whatever_is_wrong_with_it() {
    let world = World::start().await;
    let send = |values: Vec<String>| {
        let mut request = Request::get("/api/v1/jobs");
        for value in values {
            request = request.header(header::AUTHORIZATION, value);
        }
        world.send(request.body(Body::empty()).unwrap())
    };
    send(vec![format!("bearer  {ADMIN}")]).await.ok(200);
    for value in ["Bearer", "Bearer ", "Basic YTpi", ADMIN, "Bearer é", "Bearer a b", "Token x"] {
        send(vec![value.to_owned()]).await.problem(ProblemType::Unauthorized);
    }
    send(vec![format!("Bearer {}", "x".repeat(10_000))]).await.problem(ProblemType::Unauthorized);
    send(vec![format!("Bearer {ADMIN}"), "Bearer x".to_owned()]).await.problem(ProblemType::BadRequest);
    for query in ["access_token=x", "token=x", "api_key=x", "Authorization=x"] {
        world.get(ADMIN, &format!("/api/v1/jobs?{query}")).await.problem(ProblemType::Unauthorized);
    }
}

#[tokio::test]
async fn a_pool_is_named_by_one_good_header() {
    let world = World::start().await;
    let with = |values: &[&str]| {
        let mut request = request("GET", ADMIN, "/api/v1/jobs", None);
        for value in values {
            request.headers_mut().append("x-titan-pool", value.parse().unwrap());
        }
        world.send(request)
    };
    with(&["blue-1"]).await.ok(200);
    for wrong in [["a", "b"].as_slice(), &["Blue"], &["a{b}"], &[""], &["a:b"]] {
        with(wrong).await.problem(ProblemType::BadRequest);
    }
}

#[tokio::test]
async fn a_secret_that_is_shown_once_is_made_under_no_idempotency_key() {
    let world = World::start().await;
    for (path, body) in [("/api/v1/keys", json!({"scopes": ["jobs:read"]})), ("/api/v1/join-tokens", json!({}))] {
        let mut request = request("POST", ADMIN, path, Some(body));
        request.headers_mut().insert("idempotency-key", "one".parse().unwrap());
        let problem = world.send(request).await.problem(ProblemType::Invalid);
        let detail = problem.detail.unwrap();
        assert!(detail.contains("without `Idempotency-Key`") && detail.contains("shown once"), "{detail}");
        let listed = world.get(ADMIN, path).await.ok(200);
        assert!(listed.as_object().unwrap().values().all(|list| list == &json!([])), "none was made: {listed}");
    }
}

#[tokio::test]
async fn an_idempotency_key_is_one_header_of_bounded_length() {
    let world = World::start().await;
    let with = async |keys: &[&str]| {
        let mut request = request("POST", ADMIN, "/api/v1/jobs", Some(job(&["true"])));
        for key in keys {
            request.headers_mut().append("idempotency-key", key.parse().unwrap());
        }
        world.send(request).await
    };
    for wrong in [["a", "b"].as_slice(), &[""], &[&"k".repeat(256)]] {
        with(wrong).await.problem(ProblemType::BadRequest);
    }
    with(&[&"k".repeat(255)]).await.ok(202);
}

#[tokio::test]
async fn of_a_batch_that_is_half_wrong_nothing_is_taken_and_each_error_has_its_index() {
    let world = World::start().await;
    let with = |change: Value| {
        let mut one = job(&["true"]);
        one.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        one
    };
    let send = async |jobs: Vec<Value>| world.post(ADMIN, "/api/v1/jobs/batch", json!({ "jobs": jobs })).await;
    let pointers = |reply: &crate::world::Reply| {
        reply.problem(ProblemType::Invalid).errors.into_iter().map(|e| e.pointer).collect::<Vec<_>>()
    };
    let good = || with(json!({}));
    let wrong = [good(), with(json!({"priority": 5000})), good(), with(json!({"backoff_ms": u64::MAX}))];
    assert_eq!(pointers(&send(wrong.to_vec()).await), ["/jobs/1/priority", "/jobs/3/backoff_ms"]);
    let cycle = [with(json!({"ref": "a", "depends_on": ["b"]})), with(json!({"ref": "b", "depends_on": ["a"]}))];
    assert_eq!(pointers(&send(cycle.to_vec()).await), ["/jobs/0/depends_on", "/jobs/1/depends_on"]);
    assert_eq!(pointers(&send(vec![good(), with(json!({"depends_on": ["nobody"]}))]).await), ["/jobs/1/depends_on"]);
    assert_eq!(pointers(&send(vec![]).await), ["/jobs"]);
    assert_eq!(pointers(&send(vec![good(); 1_001]).await), ["/jobs"]);
    let late = with(json!({"not_before": "2999-01-01T00:00:00Z"}));
    assert_eq!(pointers(&send(vec![good(), late]).await), ["/jobs/1/not_before"]);
    let grace = with(json!({"disconnect_grace_ms": 1000}));
    assert_eq!(pointers(&send(vec![grace]).await), ["/jobs/0/disconnect_grace_ms"]);
    let single = world.post(ADMIN, "/api/v1/jobs", with(json!({"ref": "a"}))).await;
    assert_eq!(pointers(&single), ["/ref"]);
    let single = world.post(ADMIN, "/api/v1/jobs", with(json!({"depends_on": ["nobody"]}))).await;
    assert_eq!(pointers(&single), ["/depends_on"]);
    for wrong in ["2026-13-01T00:00:00Z", "2026", ""] {
        let refused = send(vec![with(json!({"not_before": wrong}))]).await.problem(ProblemType::Invalid);
        let says = refused.errors.iter().any(|error| error.detail.contains("for example 2026-11-21T06:18:45Z"));
        assert!(says, "{refused:?}");
    }
    assert_eq!(world.get(ADMIN, "/api/v1/jobs").await.ok(200)["jobs"], json!([]));
}
