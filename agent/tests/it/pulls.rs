//! Ollama, and pulling models by it: the shim has its routes, and a scripted backend answers behind it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    agent::{Agent, Start},
    backend::Backend,
    coordinator::{Attempt, Coordinator},
    ollama::{Fate, Offer, OllamaShim},
};

/// A shim before a scripted backend, and an agent beside it that takes no jobs.
struct World {
    coordinator: Coordinator,
    shim: OllamaShim,
    backend: Backend,
    agent: Agent,
}

async fn world(policy: Option<&str>) -> World {
    let (coordinator, backend) = (Coordinator::start().await, Backend::start().await);
    // So that only a heartbeat before its time can tell of what has changed.
    coordinator.with(|s| s.next_heartbeat_ms = 20_000);
    let shim = OllamaShim::before(backend.url(), "small").await;
    shim.has("first:1b", 1_000_000_000);
    let home = Arc::new(tempfile::tempdir().unwrap());
    let file = home.path().join("policy.toml");
    let named = format!("--backend=ollama={}", shim.url());
    let mut arguments = vec!["--allow-jobs=false", &named];
    if let Some(policy) = policy {
        std::fs::write(&file, policy).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        arguments.extend(["--policy", file.to_str().unwrap()]);
    }
    let agent = Start::in_home(&coordinator, home).args(&arguments).spawn();
    coordinator.until("the agent has registered", |s| s.last("register").map(|_| ())).await;
    World { coordinator, shim, backend, agent }
}

fn lease(route: &str, body: &Value) -> Value {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let id = format!("pull-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    json!({
        "job_id": format!("job-of-{id}"), "attempt": 1, "lease_id": id, "lease_ttl_ms": 20_000,
        "inference": {
            "model": if route == "pull" { "pull@a" } else { "first:1b" }, "route": route, "body": body.to_string(),
            "stream": true, "first_token_timeout_ms": 5_000, "token_timeout_ms": 5_000, "load_timeout_ms": 5_000,
        },
    })
}

impl World {
    fn begin(&self, model: &str) -> String {
        self.coordinator.give(lease("pull", &json!({ "model": model })))
    }

    async fn pull(&self, model: &str) -> Attempt {
        let id = self.begin(model);
        self.coordinator.ended(&id).await
    }

    /// Waits until the models that were told last, and how many would be pulled at once, are these.
    async fn told(&self, models: &[&str], pulls: u32) {
        let is_told = |s: &mut crate::coordinator::State| {
            let beats = s.calls_of("heartbeat");
            let last = beats.iter().rev().find(|call| call.body["models"].is_array())?;
            let names: Vec<_> =
                last.body["models"].as_array()?.iter().map(|model| model["name"].as_str().unwrap()).collect();
            (names == models && last.body["pulls"].as_u64().unwrap_or(0) == u64::from(pulls)).then_some(())
        };
        self.coordinator.until(&format!("{models:?} and {pulls} are told"), is_told).await;
    }
}

fn lines(attempt: &Attempt) -> Vec<Value> {
    let text = String::from_utf8(attempt.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn end(attempt: &Attempt) -> &Value {
    attempt.end.as_ref().unwrap()
}

#[tokio::test]
async fn a_model_of_ollama_answers_and_is_told_as_loaded_then() {
    let world = world(None).await;
    let body = json!({ "model": "first:1b", "stream": true, "messages": [{ "role": "user", "content": "go" }] });
    let id = world.coordinator.give(lease("chat_completions", &body));
    let attempt = world.coordinator.ended(&id).await;
    let text = String::from_utf8(attempt.stdout.clone()).unwrap();
    assert!(text.contains("w4 ") && text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(end(&attempt)["type"], "completed");
    assert_eq!(world.backend.asked()[0].json()["model"], "small", "the shim has given it its own model's name");
    let is_loaded = |s: &mut crate::coordinator::State| {
        let last = s.last("heartbeat")?.body.clone();
        (last["models"][0]["loaded"] == true && last["models"][0]["size_mb"] == 954).then_some(())
    };
    world.coordinator.until("the model is told as loaded", is_loaded).await;
}

#[tokio::test]
async fn a_model_is_pulled_with_its_progress_and_told_of_at_once() {
    let world = world(None).await;
    world.told(&["first:1b"], 2).await;
    world.shim.offers("new:1b", Offer::of(2_000_000).slow(24, 100));
    let begun = Instant::now();
    let attempt = world.pull("new:1b").await;
    assert_eq!(end(&attempt)["type"], "completed", "{attempt:?}");
    let lines = lines(&attempt);
    assert_eq!(lines.first().unwrap()["status"], "pulling manifest");
    assert_eq!(lines.last().unwrap()["status"], "success");
    let most = 2 + usize::try_from(begun.elapsed().as_secs()).unwrap();
    assert!((3..=most).contains(&lines.len()), "one a second and the last one: {lines:?}");
    let between = lines.iter().find(|line| line["completed_bytes"].is_u64()).unwrap();
    assert!(between["total_bytes"] == 2_000_000 && between["completed_bytes"].as_u64() < Some(2_000_000), "{between}");
    world.told(&["first:1b", "new:1b"], 2).await;
}

#[tokio::test]
async fn what_is_wrong_with_the_model_is_final_and_what_may_pass_is_not() {
    let world = world(None).await;
    for (model, fate) in [
        ("fails", Fate::Fails),
        ("busy", Fate::Refused { status: 503 }),
        ("wrong", Fate::Refused { status: 400 }),
        ("breaks", Fate::BreaksOnce { after: 2 }),
        ("garbage", Fate::Garbage),
        ("long", Fate::EndlessLine),
    ] {
        world.shim.offers(&format!("{model}:latest"), Offer::of(1_000).with(fate));
    }
    for (model, reason, words) in [
        ("none", "backend_rejected", "file does not exist"),
        ("", "backend_rejected", "names no model"),
        ("fails", "backend_rejected", "the library is away"),
        ("wrong", "backend_rejected", "not today"),
        ("busy", "backend_failed", "not today"),
        ("breaks", "backend_failed", "broke off"),
        ("garbage", "backend_failed", "no JSON"),
        ("long", "backend_failed", "64 KiB"),
    ] {
        let attempt = world.pull(model).await;
        assert_eq!((&end(&attempt)["type"], &end(&attempt)["reason"]), (&json!("failed"), &json!(reason)), "{model}");
        assert!(end(&attempt)["message"].as_str().unwrap().contains(words), "{model}: {}", end(&attempt));
    }
    assert_eq!(world.shim.kept("breaks:latest"), 2);
    assert_eq!(end(&world.pull("breaks").await)["type"], "completed", "it goes on from there");
}

#[tokio::test]
async fn silence_ends_a_pull_and_cancelling_hangs_up_within_a_second() {
    let world = world(None).await;
    world.shim.offers("stalls:latest", Offer::of(1_000).with(Fate::Stalls));
    let mut stalls = lease("pull", &json!({ "model": "stalls" }));
    stalls["inference"]["token_timeout_ms"] = json!(400);
    let id = world.coordinator.give(stalls);
    let attempt = world.coordinator.ended(&id).await;
    assert_eq!(end(&attempt)["reason"], "stalled");
    assert_eq!(lines(&attempt).last().unwrap()["completed_bytes"], 250, "what was said last is told all the same");
    world.shim.until_hung_up(1).await;

    world.shim.offers("endless:latest", Offer::of(1_000).with(Fate::Endless));
    let id = world.begin("endless");
    world.coordinator.wrote(&id, "completed_bytes").await;
    world.shim.until_pulling(1).await;
    let cancelled = Instant::now();
    world.coordinator.with(|s| s.cancel.push(format!("job-of-{id}")));
    let attempt = world.coordinator.ended(&id).await;
    world.shim.until_pulling(0).await;
    assert!(cancelled.elapsed() < Duration::from_secs(2), "{:?}", cancelled.elapsed());
    assert_eq!(end(&attempt)["type"], "cancelled");
    assert!(lines(&attempt).len() < 10, "however much the backend says: {} bytes", attempt.stdout.len());
}

#[tokio::test]
async fn the_boxs_policy_says_what_is_pulled() {
    let some = world(Some("pull = ['new*']")).await;
    some.told(&["first:1b"], 2).await;
    some.shim.offers("new:1b", Offer::of(1_000));
    some.shim.offers("other:1b", Offer::of(1_000));
    let refused = some.pull("other:1b").await;
    assert_eq!(end(&refused)["reason"], "backend_rejected");
    assert!(end(&refused)["message"].as_str().unwrap().contains("the policy of this box"), "{refused:?}");
    assert_eq!(end(&some.pull("new:1b").await)["type"], "completed");
    assert!(some.shim.asked().iter().all(|(_, body)| body["model"] != "other:1b"), "nobody was asked for it");

    let none = world(Some("")).await;
    let refused = none.pull("first:1b").await;
    assert!(end(&refused)["message"].as_str().unwrap().contains("the policy of this box"), "{refused:?}");
    let pulls = none.coordinator.with(|s| s.calls_of("heartbeat").iter().any(|call| call.body["pulls"].is_u64()));
    assert!(!pulls, "it does not offer to: {}", none.agent.log());
}
