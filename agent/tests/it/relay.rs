//! Requests to models: the backend's answer arrives as it came, and however a backend misbehaves, the request ends as it
//! should and the agent goes on.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    agent::{Agent, Start},
    backend::{Backend, Manner, Shape},
    coordinator::{Attempt, Coordinator, Misbehave},
};

/// A lease for a request to `small`.
fn request(stream: bool) -> Value {
    let body = json!({ "model": "small", "stream": stream, "messages": [{ "role": "user", "content": "go" }] });
    request_of(&body.to_string(), stream)
}

fn request_of(body: &str, stream: bool) -> Value {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let id = format!("request-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    json!({
        "job_id": format!("job-of-{id}"), "attempt": 1, "lease_id": id, "lease_ttl_ms": 20_000,
        "inference": {
            "model": "small", "route": "chat_completions", "body": body, "stream": stream,
            "first_token_timeout_ms": 5_000, "token_timeout_ms": 5_000, "load_timeout_ms": 5_000,
        },
    })
}

/// An agent that has only this backend, and takes no process jobs.
async fn agent_of(coordinator: &Coordinator, backend: &Backend, kind: &str) -> Agent {
    let named = format!("--backend={kind}={}", backend.url());
    let agent = Start::of(coordinator).args(&["--allow-jobs=false", &named]).spawn();
    coordinator.until("the agent has registered", |s| s.last("register").map(|_| ())).await;
    agent
}

/// What came of a request that the backend answers in that manner.
async fn outcome(coordinator: &Coordinator, backend: &Backend, stream: bool, manner: Manner) -> Attempt {
    backend.next(manner);
    let id = coordinator.give(request(stream));
    coordinator.ended(&id).await
}

fn text(attempt: &Attempt) -> String {
    String::from_utf8(attempt.stdout.clone()).unwrap()
}

fn end(attempt: &Attempt) -> &Value {
    attempt.end.as_ref().unwrap()
}

#[tokio::test]
async fn an_agent_without_jobs_answers_a_request_token_by_token_and_tells_what_it_took() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::start().await);
    let _agent = agent_of(&coordinator, &backend, "openai").await;
    let registered = coordinator.with(|s| s.last("register").unwrap().body.clone());
    assert_eq!(registered["facts"]["models"][0]["name"], "small");
    assert_eq!(
        (&registered["facts"]["accepts_processes"], &registered["facts"]["models"][0]["loaded"]),
        (&json!(false), &json!(true))
    );
    backend.next(Manner::slow_words(4, 100));
    let id = coordinator.give(request(true));
    let early = coordinator.wrote(&id, "w0 ").await;
    assert!(early.started && early.end.is_none() && !text(&early).contains("w3"), "nothing is held back");
    let attempt = coordinator.ended(&id).await;
    assert!(text(&attempt).contains("w3 ") && text(&attempt).ends_with("data: [DONE]\n\n"), "{}", text(&attempt));
    let usage = &end(&attempt)["usage"];
    assert_eq!((&end(&attempt)["type"], &usage["completion_tokens"]), (&json!("completed"), &json!(4)));
    assert!(
        usage["first_token_ms"].as_u64().unwrap() >= 100 && usage["generation_ms"].as_u64().unwrap() >= 300,
        "{usage}"
    );
    let claim = coordinator.with(|s| s.last("claim").unwrap().body.clone());
    assert_eq!(claim["free_slots"], 0);
}

#[tokio::test]
async fn a_document_arrives_whole_and_the_body_reaches_the_backend_to_the_letter() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::start().await);
    let home = tempfile::tempdir().unwrap();
    let settings = home.path().join("agent.toml");
    let text_of = format!(
        "[[backend]]\nkind = 'openai'\nurl = '{}/v1'\naliases = {{ small = 'own/small:1' }}\nparallel = 3\n",
        backend.url()
    );
    std::fs::write(&settings, text_of).unwrap();
    backend.serve(&["own/small:1", "hidden\u{7}"]);
    let _agent = Start::of(&coordinator).args(&["--config", settings.to_str().unwrap()]).spawn();
    let body = "{ \"model\":\"small\",\"unknown\":{\"x\":[1.50, 18446744073709551616]},\n\"messages\":[ ] }";
    let id = coordinator.give(request_of(body, false));
    let attempt = coordinator.ended(&id).await;
    let document: Value = serde_json::from_str(&text(&attempt)).unwrap();
    assert_eq!(document["choices"][0]["message"]["content"], "w0 w1 w2 w3 w4 ");
    assert_eq!(backend.asked()[0].body, body.replace("\"small\"", "\"own/small:1\""));
    let usage = &end(&attempt)["usage"];
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(3), &json!(5)));
    let models = coordinator.with(|s| s.last("register").unwrap().body["facts"]["models"].clone());
    assert_eq!(models.as_array().unwrap().len(), 1, "{models}");
    assert_eq!(
        (&models[0]["name"], &models[0]["parallel"], &models[0]["backend"]),
        (&json!("small"), &json!(3), &json!("openai"))
    );
}

#[tokio::test]
async fn failures_of_the_backend_are_told_as_such_and_refusals_with_its_words() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::start().await);
    let _agent = agent_of(&coordinator, &backend, "openai").await;
    for (stream, manner, words) in [
        (true, Manner::refuse(500), "answers 500"),
        (true, Manner::refuse(429), "answers 429"),
        (true, Manner::refuse(408), "answers 408"),
        (true, Manner::refuse(401), "api_key_file"),
        (true, Manner::Redirect { to: "http://127.0.0.1:1/".to_owned() }, "points elsewhere"),
        (true, Manner::Drop { after: 0 }, "broke off"),
        (true, Manner::CutOff { after: 0 }, "ended in the middle"),
        (true, Manner::ErrorEvent { after: 0 }, "out of memory"),
        (true, Manner::Garbage, "no events"),
        (true, Manner::NoHttp, "broke off"),
        (true, Manner::EndlessHeaders, "broke off"),
        (true, Manner::EndlessEvent, "1 MiB"),
        (true, Manner::Page, "text/html"),
        (false, Manner::Page, "text/html"),
        (false, Manner::Garbage, "no JSON"),
        (false, Manner::CutOff { after: 1 }, "no JSON"),
        (false, Manner::Drop { after: 1 }, "broke off"),
        (false, Manner::Endless, "8 MiB"),
    ] {
        let attempt = outcome(&coordinator, &backend, stream, manner.clone()).await;
        let told = end(&attempt);
        assert_eq!(
            (&told["type"], &told["reason"]),
            (&json!("failed"), &json!("backend_failed")),
            "{manner:?}: {told}"
        );
        assert!(told["message"].as_str().unwrap().contains(words), "{manner:?}: {told}");
        assert_eq!(text(&attempt), "", "{manner:?}: another agent may answer it");
    }
    for (manner, words) in [
        (Manner::Drop { after: 2 }, "broke off"),
        (Manner::CutOff { after: 2 }, "in the middle"),
        (Manner::ErrorEvent { after: 2 }, "out of memory"),
    ] {
        let attempt = outcome(&coordinator, &backend, true, manner.clone()).await;
        assert!(text(&attempt).contains("w1 ") && !text(&attempt).contains("out of memory"), "{manner:?}");
        assert!(end(&attempt)["message"].as_str().unwrap().contains(words), "{manner:?}: {}", end(&attempt));
    }
    let attempt = outcome(&coordinator, &backend, true, Manner::NoUtf8).await;
    assert!(text(&attempt).ends_with("}\n\n") && end(&attempt)["reason"] == "backend_failed", "{attempt:?}");
    let attempt =
        outcome(&coordinator, &backend, true, Manner::Refuse { status: 400, message: "x".repeat(100_000) }).await;
    assert_eq!((&end(&attempt)["reason"], &end(&attempt)["exit_code"]), (&json!("backend_rejected"), &json!(400)));
    assert_eq!((attempt.stdout.len(), text(&attempt).contains("xxx")), (65_536, true));
    let attempt = outcome(&coordinator, &backend, true, Manner::words(3)).await;
    assert_eq!(end(&attempt)["type"], "completed", "it goes on: {attempt:?}");
}

#[tokio::test]
async fn silence_ends_a_request_in_its_time() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::start().await);
    let _agent = agent_of(&coordinator, &backend, "openai").await;
    let cases = [
        (Manner::Silence, "no first token"),
        (Manner::Stall { after: 0 }, "no first token"),
        (Manner::Comments, "no first token"),
        (Manner::SlowHeaders { pause: Duration::from_millis(50) }, "no first token"),
        (Manner::Stall { after: 2 }, "gave no more"),
    ];
    for (manner, words) in cases {
        backend.next(manner.clone());
        let mut lease = request(true);
        lease["inference"]["first_token_timeout_ms"] = json!(300);
        lease["inference"]["token_timeout_ms"] = json!(400);
        let begun = Instant::now();
        let id = coordinator.give(lease);
        let attempt = coordinator.ended(&id).await;
        assert_eq!(end(&attempt)["reason"], "stalled", "{manner:?}");
        // So little says nothing of the backend.
        assert_eq!(end(&attempt)["exit_code"], 408, "{manner:?}");
        assert!(end(&attempt)["message"].as_str().unwrap().contains(words), "{manner:?}: {}", end(&attempt));
        assert!(begun.elapsed() >= Duration::from_millis(300), "{manner:?}");
    }
    backend.until_hung_up(5).await;
}

#[tokio::test]
async fn a_cancelled_request_hangs_up_on_the_backend_within_a_second() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::start().await);
    let _agent = agent_of(&coordinator, &backend, "openai").await;
    backend.next(Manner::Endless);
    let id = coordinator.give(request(true));
    coordinator.wrote(&id, "w3 ").await;
    let cancelled = Instant::now();
    coordinator.with(|s| s.cancel.push(format!("job-of-{id}")));
    backend.until_hung_up(1).await;
    assert!(cancelled.elapsed() < Duration::from_secs(1), "{:?}", cancelled.elapsed());
    assert_eq!(end(&coordinator.ended(&id).await)["type"], "cancelled");
}

#[tokio::test]
async fn an_answer_that_nobody_takes_waits_within_bounds_and_arrives_whole() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::start().await);
    let _agent = agent_of(&coordinator, &backend, "openai").await;
    backend.next(Manner::words(30_000));
    coordinator.with(|s| (0..3).for_each(|_| s.misbehave("report", Misbehave::Refuse("unavailable", 503, json!({})))));
    let id = coordinator.give(request(true));
    let attempt = coordinator.ended(&id).await;
    assert_eq!(text(&attempt).matches("\"content\"").count(), 30_000);
    assert!(text(&attempt).len() > 2_000_000 && text(&attempt).contains("w29999 "));
    assert_eq!(end(&attempt)["usage"]["completion_tokens"], 30_000);
}

#[tokio::test]
async fn loading_a_model_has_its_own_limit_and_is_told_apart() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::like(Shape::Ollama).await);
    backend.unload(Duration::from_millis(900));
    let _agent = agent_of(&coordinator, &backend, "ollama").await;
    let mut lease = request(true);
    lease["inference"]["first_token_timeout_ms"] = json!(800);
    let id = coordinator.give(lease);
    let attempt = coordinator.ended(&id).await;
    assert_eq!(end(&attempt)["type"], "completed", "{attempt:?}");
    let usage = &end(&attempt)["usage"];
    assert!(usage["load_ms"].as_u64() > Some(400) && usage["first_token_ms"].as_u64() < Some(600), "{usage}");
    let told = |loaded: bool| {
        coordinator.until("the model is told as loaded or not", move |s| {
            let last = s.calls_of("heartbeat").into_iter().rev().find(|c| c.body["models"].is_array())?;
            (last.body["models"][0]["loaded"] == loaded).then_some(())
        })
    };
    told(true).await;
    backend.unload(Duration::from_mins(1));
    told(false).await;
    let mut lease = request(true);
    lease["inference"]["load_timeout_ms"] = json!(300);
    let id = coordinator.give(lease);
    let attempt = coordinator.ended(&id).await;
    assert_eq!(
        (&end(&attempt)["reason"], &end(&attempt)["message"]),
        (&json!("load_timeout"), &json!("the model was not loaded in time"))
    );
}

#[tokio::test]
async fn an_agent_that_cannot_renew_its_lease_ends_the_answer() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::start().await);
    let _agent = agent_of(&coordinator, &backend, "openai").await;
    backend.next(Manner::slow_words(1_000, 50));
    let mut lease = request(true);
    lease["lease_ttl_ms"] = json!(1_500);
    coordinator
        .with(|s| (0..50).for_each(|_| s.misbehave("heartbeat", Misbehave::Refuse("unavailable", 503, json!({})))));
    let id = coordinator.give(lease);
    coordinator.wrote(&id, "w1 ").await;
    backend.until_hung_up(1).await;
    assert_eq!(end(&coordinator.ended(&id).await)["reason"], "lease_lost");
}

#[tokio::test]
async fn an_agent_that_stops_lets_its_answers_finish() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::start().await);
    for on_stop in ["drain", "keep"] {
        let named = format!("--backend=openai={}", backend.url());
        let mut agent = Start::of(&coordinator).args(&[&named, "--on-stop", on_stop]).spawn();
        backend.next(Manner::slow_words(10, 100));
        let id = coordinator.give(request(true));
        coordinator.wrote(&id, "w1 ").await;
        agent.signal(nix::sys::signal::Signal::SIGTERM);
        assert!(agent.exit().await.success());
        let attempt = coordinator.with(|s| s.attempt(&id));
        assert!(
            text(&attempt).ends_with("data: [DONE]\n\n") && end(&attempt)["type"] == "completed",
            "{on_stop}: {attempt:?}"
        );
    }
}

#[tokio::test]
async fn where_nobody_parks_heartbeats_carry_requests_and_answers() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::start().await);
    coordinator.set("parking", false);
    let _agent = agent_of(&coordinator, &backend, "openai").await;
    let attempt = outcome(&coordinator, &backend, true, Manner::words(50)).await;
    assert!(text(&attempt).contains("w49 ") && end(&attempt)["type"] == "completed", "{attempt:?}");
    assert_eq!(coordinator.with(|s| s.calls_of("claim").len() + s.calls_of("report").len()), 0);
}

#[tokio::test]
async fn a_streamed_answer_is_uploaded_in_parts_where_that_is_served() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::start().await);
    coordinator.with(|s| s.uploads = true);
    let _agent = agent_of(&coordinator, &backend, "openai").await;
    let attempt = outcome(&coordinator, &backend, true, Manner::words(10_000)).await;
    assert_eq!(text(&attempt).matches("\"content\"").count(), 10_000);
    assert!(text(&attempt).contains("w9999 ") && end(&attempt)["type"] == "completed");
    let (uploads, reports) = coordinator.with(|s| {
        (
            s.calls_of("stream").len(),
            s.calls_of("report")[..]
                .iter()
                .flat_map(|c| c.body["reports"].as_array().unwrap().clone())
                .collect::<Vec<_>>(),
        )
    });
    let kinds: Vec<_> = reports.iter().map(|report| report["type"].as_str().unwrap()).collect();
    assert!(uploads > 2 && kinds == ["completed"], "an upload tells the start: {uploads} uploads, {kinds:?}");
}

#[tokio::test]
async fn an_upload_that_is_refused_or_lost_is_made_good_by_reports() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::start().await);
    let _agent = agent_of(&coordinator, &backend, "openai").await;
    coordinator.with(|s| s.uploads = true);
    let refuse = |kind, status| Misbehave::Refuse(kind, status, json!({}));
    for how in [Misbehave::HangUp, Misbehave::LoseReply, refuse("unavailable", 503), refuse("stale-attempt", 409)] {
        coordinator.with(|s| s.misbehave("stream", how.clone()));
        let attempt = outcome(&coordinator, &backend, true, Manner::slow_words(20, 5)).await;
        let answer = text(&attempt);
        assert!(answer.ends_with("data: [DONE]\n\n") && end(&attempt)["type"] == "completed", "{how:?}: {attempt:?}");
        assert_eq!(answer.matches("\"content\"").count(), 20, "{how:?}");
        assert_eq!(uploads_of_one(&coordinator, &backend).await, 1, "the next one goes by an upload again: {how:?}");
    }
}

#[tokio::test]
async fn uploads_that_are_refused_are_not_tried_again_soon() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::start().await);
    let _agent = agent_of(&coordinator, &backend, "openai").await;
    // A refusal that comes before the body was read may be lost with the connection: thrice is enough.
    let mut uploads = Vec::new();
    for _ in 0..6 {
        uploads.push(uploads_of_one(&coordinator, &backend).await);
    }
    assert!(uploads[0] == 1 && uploads[3..] == [0, 0, 0], "{uploads:?}");
}

#[tokio::test]
async fn uploads_that_are_never_answered_are_not_tried_again_soon() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::start().await);
    let _agent = agent_of(&coordinator, &backend, "openai").await;
    coordinator.with(|s| {
        s.uploads = true;
        (0..9).for_each(|_| s.misbehave("stream", Misbehave::LoseReply));
    });
    let mut uploads = Vec::new();
    for _ in 0..5 {
        uploads.push(uploads_of_one(&coordinator, &backend).await);
    }
    assert_eq!(uploads, [1, 1, 1, 0, 0]);
}

/// How many uploads the agent begins for one answer, which comes whole in any case.
async fn uploads_of_one(coordinator: &Coordinator, backend: &Backend) -> usize {
    let uploads = || coordinator.with(|s| s.calls_of("stream").len());
    let before = uploads();
    let attempt = outcome(coordinator, backend, true, Manner::words(20)).await;
    assert_eq!((text(&attempt).matches("\"content\"").count(), attempt.started), (20, true));
    uploads() - before
}

#[tokio::test]
async fn an_upload_to_a_coordinator_that_stands_still_is_given_up_long_before_the_answer_ends() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::start().await);
    let _agent = agent_of(&coordinator, &backend, "openai").await;
    coordinator.with(|s| {
        s.uploads = true;
        s.misbehave("stream", Misbehave::Hang);
    });
    backend.next(Manner::slow_words(60, 500));
    let begun = Instant::now();
    let id = coordinator.give(request(true));
    let early = coordinator.wrote(&id, "w0 ").await;
    assert!(early.end.is_none() && begun.elapsed() < Duration::from_secs(28), "{:?}", begun.elapsed());
    let attempt = coordinator.ended(&id).await;
    assert_eq!((text(&attempt).matches("\"content\"").count(), &end(&attempt)["type"]), (60, &json!("completed")));
}

#[tokio::test]
async fn the_backend_is_told_of_which_trace_the_request_is_a_part() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::start().await);
    let _agent = agent_of(&coordinator, &backend, "openai").await;
    let place = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    for (stream, traceparent) in [(true, Some(place)), (false, Some(place)), (true, None)] {
        let mut lease = request(stream);
        lease["traceparent"] = json!(traceparent);
        let id = coordinator.give(lease);
        coordinator.ended(&id).await;
        let asked = backend.asked().pop().unwrap();
        assert_eq!(asked.headers.get("traceparent").map(String::as_str), traceparent);
    }
}

#[tokio::test]
async fn a_route_that_the_backend_has_not_got_is_the_requests_fault() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::start().await);
    let _agent = agent_of(&coordinator, &backend, "openai").await;
    let attempt = outcome(&coordinator, &backend, false, Manner::refuse(501)).await;
    assert_eq!((&end(&attempt)["reason"], &end(&attempt)["exit_code"]), (&json!("backend_rejected"), &json!(501)));
    assert!(text(&attempt).contains("refused with 501"), "{}", text(&attempt));
}
