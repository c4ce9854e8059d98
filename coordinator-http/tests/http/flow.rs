//! Jobs from submission to their end, through agents that the test plays.

use std::time::{Duration, Instant};

use serde_json::json;
use titan_api::problem::{FieldError, ProblemType};

use crate::{
    agent::{TestAgent, held, output, report},
    world::{ADMIN, PATIENCE, World, job, request},
};

#[tokio::test]
async fn a_job_runs_from_its_submission_to_its_end() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let (parked, submitted) = tokio::join!(agent.claim(&world, 10_000), async {
        world.post(ADMIN, "/api/v1/jobs", job(&["echo", "hi"])).await
    });
    let job_id = submitted.ok(202)["id"].as_str().unwrap().to_owned();
    assert_eq!(submitted.headers["location"].to_str().unwrap(), format!("/api/v1/jobs/{job_id}"));
    let leases = parked.ok(200)["leases"].clone();
    let lease = &leases[0];
    assert_eq!((lease["job_id"].as_str(), lease["attempt"].as_u64()), (Some(job_id.as_str()), Some(1)));
    assert_eq!(lease["process"]["command"], json!(["echo", "hi"]));

    let events = vec![json!({"type": "started"}), output(0, "stdout", "hi\n"), json!({"type": "completed"})];
    let answers = agent.report(&world, lease, events).await.ok(200)["answers"].clone();
    assert_eq!(answers, json!([{"status": "accepted"}, {"status": "accepted"}, {"status": "accepted"}]));

    let ended = world.get(ADMIN, &format!("/api/v1/jobs/{job_id}?wait_ms=5000")).await.ok(200);
    assert_eq!((ended["state"].as_str(), ended["agent_id"].as_str()), (Some("completed"), Some("box-1")));
    let written = world.get(ADMIN, &format!("/api/v1/jobs/{job_id}/output")).await.ok(200);
    assert_eq!((written["chunks"][0]["data"].as_str(), written["complete"].as_bool()), (Some("hi\n"), Some(true)));
}

#[tokio::test]
async fn a_claim_is_told_how_long_it_had_waited_for_its_leases() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let began = Instant::now();
    let (parked, ()) = tokio::join!(agent.claim(&world, 10_000), async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        world.post(ADMIN, "/api/v1/jobs", job(&["true"])).await.ok(202);
    });
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap();
    let parked = parked.ok(200);
    assert_eq!(parked["leases"].as_array().unwrap().len(), 1);
    let waited_ms = parked["waited_ms"].as_u64().unwrap();
    assert!((500..=took_ms).contains(&waited_ms), "{waited_ms} of {took_ms} ms");
    world.post(ADMIN, "/api/v1/jobs", job(&["true"])).await.ok(202);
    let at_once = agent.claim(&world, 10_000).await.ok(200);
    assert!(at_once["waited_ms"].as_u64().unwrap() < 500, "{at_once}");
}

#[tokio::test]
async fn a_reader_of_a_job_is_answered_the_moment_it_ends() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let job_id = world.submit(ADMIN).await;
    let leases = agent.claim(&world, 5_000).await.ok(200)["leases"].clone();
    let path = format!("/api/v1/jobs/{job_id}?wait_ms=20000");
    let began = Instant::now();
    let (ended, _) =
        tokio::join!(world.get(ADMIN, &path), agent.report(&world, &leases[0], vec![json!({"type": "completed"})]));
    assert_eq!(ended.ok(200)["state"], "completed");
    assert!(began.elapsed() < Duration::from_secs(15), "it took {:?}", began.elapsed());
}

#[tokio::test]
async fn a_claim_that_is_repeated_gets_the_same_leases() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let job_id = world.submit(ADMIN).await;
    let first = agent.claim(&world, 5_000).await.ok(200);
    let body = json!({"protocol": 1, "claim": 1, "free_slots": 4, "wait_ms": 0});
    let again = world.post(&agent.token, &agent.path("claim"), body).await.ok(200);
    assert_eq!(first["leases"][0]["job_id"].as_str(), Some(job_id.as_str()));
    assert_eq!(first["leases"][0]["lease_id"], again["leases"][0]["lease_id"]);
}

#[tokio::test]
async fn cancelling_ends_a_job_and_tells_the_agent_that_runs_it() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let job_id = world.submit(ADMIN).await;
    let leases = agent.claim(&world, 5_000).await.ok(200)["leases"].clone();
    let cancelled = world.call("POST", ADMIN, &format!("/api/v1/jobs/{job_id}/cancel"), None).await.ok(200);
    assert_eq!(cancelled["id"].as_str(), Some(job_id.as_str()));
    let told = agent.heartbeat(&world, json!({"leases": [held(&leases[0])]})).await.ok(200);
    assert_eq!(told["cancel"], json!([job_id]));
    agent.report(&world, &leases[0], vec![json!({"type": "cancelled"})]).await.ok(200);
    let job = world.get(ADMIN, &format!("/api/v1/jobs/{job_id}")).await.ok(200);
    assert_eq!(job["state"], "cancelled");
    agent.report(&world, &leases[0], vec![json!({"type": "completed"})]).await.ok(200);
    let job = world.get(ADMIN, &format!("/api/v1/jobs/{job_id}")).await.ok(200);
    assert_eq!(job["state"], "cancelled", "a late success does not undo a cancellation");
}

#[tokio::test]
async fn a_job_that_nobody_could_run_is_refused_with_the_reasons() {
    let world = World::start().await;
    TestAgent::register(&world, "box-1").await;
    let mut body = job(&["true"]);
    body["allow_unserved"] = json!(false);
    body["requirements"] = json!({"gpus": 1});
    let problem = world.post(ADMIN, "/api/v1/jobs", body.clone()).await.problem(ProblemType::Unserved);
    assert_eq!((problem.ruled_out[0].reason.as_str(), problem.ruled_out[0].agents), ("gpus", 1));
    let batch = json!({"jobs": [job(&["true"]), body]});
    let of_batch = world.post(ADMIN, "/api/v1/jobs/batch", batch).await.problem(ProblemType::Unserved);
    assert_eq!(of_batch.errors, [FieldError::new("/jobs/1", "no agent could ever run it")]);
    assert_eq!((problem.errors.len(), of_batch.detail), (0, problem.detail), "it is the place alone that differs");
}

#[tokio::test]
async fn a_choice_is_explained_and_names_agents_only_to_those_who_may_know_them() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    agent.claim(&world, 1).await.ok(200);
    let path = "/api/v1/jobs?explain=true";
    let candidates = |reply: serde_json::Value| reply["explanation"]["candidates"].as_array().unwrap().len();
    let knows = world.key("default", &["jobs:write", "agents:read"]).await;
    let (parked, explained) = tokio::join!(agent.claim(&world, 2_000), world.post(&knows, path, job(&["true"])));
    parked.ok(200);
    assert_eq!(candidates(explained.ok(202)), 1);
    let knows_not = world.key("default", &["jobs:write"]).await;
    let (parked, explained) = tokio::join!(agent.claim(&world, 2_000), world.post(&knows_not, path, job(&["true"])));
    parked.ok(200);
    let explained = explained.ok(202);
    assert!(explained["explanation"]["weights"].is_object());
    assert_eq!(candidates(explained), 0);
}

#[tokio::test]
async fn jobs_are_listed_in_pages_and_by_state() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(world.submit(ADMIN).await);
    }
    world.call("POST", ADMIN, &format!("/api/v1/jobs/{}/cancel", ids[0]), None).await.ok(200);
    let mut seen = Vec::new();
    let mut path = "/api/v1/jobs?limit=2".to_owned();
    loop {
        let page = world.get(ADMIN, &path).await.ok(200);
        seen.extend(page["jobs"].as_array().unwrap().iter().map(|j| j["id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/v1/jobs?limit=2&cursor={cursor}");
    }
    ids.sort();
    seen.sort();
    assert_eq!(seen, ids);
    let cancelled = world.get(ADMIN, "/api/v1/jobs?state=cancelled").await.ok(200);
    assert_eq!(cancelled["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(world.get(ADMIN, "/api/v1/jobs?agent=nobody").await.ok(200)["jobs"], json!([]));
}

#[tokio::test]
async fn agents_are_listed_drained_resumed_and_removed() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    TestAgent::register(&world, "box-2").await;
    let first = world.get(ADMIN, "/api/v1/agents?limit=1").await.ok(200);
    assert_eq!(first["agents"][0]["id"], "box-1");
    let next = format!("/api/v1/agents?limit=1&cursor={}", first["next_cursor"].as_str().unwrap());
    let last = world.get(ADMIN, &next).await.ok(200);
    assert_eq!((&last["agents"][0]["id"], &last["next_cursor"]), (&json!("box-2"), &json!(null)), "none follows");
    let both = world.get(ADMIN, "/api/v1/agents?limit=2").await.ok(200);
    assert_eq!((both["agents"].as_array().unwrap().len(), &both["next_cursor"]), (2, &json!(null)), "none follows");
    assert_eq!(world.call("POST", ADMIN, &agent.path("drain"), None).await.ok(200)["draining"], true);
    assert_eq!(agent.heartbeat(&world, json!({})).await.ok(200)["draining"], true);
    assert_eq!(world.call("POST", ADMIN, &agent.path("resume"), None).await.ok(200)["draining"], false);
    let status = world.get(ADMIN, "/api/v1/status?include_agents=true").await.ok(200);
    assert_eq!((status["agent_counts"]["total"].as_u64(), status["agents"].as_array().unwrap().len()), (Some(2), 2));
    world.call("DELETE", ADMIN, "/api/v1/agents/box-1", None).await.ok(204);
    agent.heartbeat(&world, json!({})).await.problem(ProblemType::AgentRemoved);
    agent.register_as(&world, "run-2").await.problem(ProblemType::AgentRemoved);
    world.call("DELETE", ADMIN, "/api/v1/agents/nobody", None).await.problem(ProblemType::NotFound);
}

#[tokio::test]
async fn what_hinders_an_agent_is_told_to_whoever_may_see_agents() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let full = json!({"kind": "process", "why": "its disk is full"});
    agent.heartbeat(&world, json!({"measures": {"hindered_by": [full]}})).await.ok(200);
    for path in ["/api/v1/agents/box-1", "/api/v1/agents", "/api/v1/status?include_agents=true"] {
        let told = world.get(ADMIN, path).await.ok(200);
        let agent = told.get("agents").map_or(&told, |agents| &agents[0]);
        assert_eq!(agent["hindered_by"], json!([full]), "{path}: {told}");
    }
    let path = format!("/api/v1/jobs/{}", world.submit(ADMIN).await);
    let sees = world.key("default", &["jobs:read", "agents:read"]).await;
    let waiting = world.get(&sees, &path).await.ok(200)["waiting"].clone();
    assert_eq!(waiting["hindered"], json!([{"agent_id": "box-1", "hindered_by": ["its disk is full"]}]), "{waiting}");
    let blind = world.key("default", &["jobs:read"]).await;
    let waiting = world.get(&blind, &path).await.ok(200)["waiting"].clone();
    assert_eq!(waiting["ruled_out"], json!([{"reason": "hindered", "agents": 1}]), "{waiting}");
    assert_eq!(waiting.get("hindered"), None, "{waiting}");
}

#[tokio::test]
async fn a_newer_run_of_an_agent_supersedes_the_older_one() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    agent.register_as(&world, "run-1").await.ok(200);
    agent.heartbeat(&world, json!({})).await.ok(200);
    agent.register_as(&world, "run-2").await.ok(200);
    agent.heartbeat(&world, json!({})).await.problem(ProblemType::Superseded);
    agent.claim(&world, 0).await.problem(ProblemType::Superseded);
    let lease = json!({"job_id": "j", "attempt": 1, "lease_id": "l"});
    agent.report(&world, &lease, vec![json!({"type": "started"})]).await.problem(ProblemType::Superseded);
}

#[tokio::test]
async fn an_agent_that_the_registry_has_lost_is_told_to_register_again() {
    let mut world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let client = redis::Client::open(world.redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await.unwrap();
    agent.heartbeat(&world, json!({})).await.problem(ProblemType::UnknownAgent);
    let registered = agent.register_as(&world, "run-1").await.ok(200);
    registered["token"]["token"].as_str().unwrap().clone_into(&mut agent.token);
    agent.heartbeat(&world, json!({})).await.ok(200);
    world.redis.kill();
}

#[tokio::test]
async fn of_a_hundred_uses_of_one_join_token_one_succeeds() {
    let world = World::start().await;
    let token = world.join_token(1).await;
    let joins = (0..100).map(|n| {
        let signer = crate::agent::Signer::new();
        let body = json!({"protocol": 1, "public_key": signer.public, "agent_id": format!("box-{n}")});
        let router = world.router.clone();
        let request = request("POST", &token, "/api/v1/agents/join", Some(body));
        tokio::spawn(async move { crate::world::send(&router, request).await })
    });
    let mut joined = 0;
    for reply in joins.collect::<Vec<_>>() {
        let reply = reply.await.unwrap();
        if reply.status == 200 {
            joined += 1;
        } else {
            reply.problem(ProblemType::Unauthorized);
        }
    }
    assert_eq!(joined, 1);
}

#[tokio::test]
async fn joining_again_with_the_same_key_gives_the_same_agent_and_another_key_does_not_get_its_id() {
    let world = World::start().await;
    let token = world.join_token(1).await;
    let signer = crate::agent::Signer::new();
    let body = json!({"protocol": 1, "public_key": signer.public});
    let first = world.post(&token, "/api/v1/agents/join", body.clone()).await.ok(200);
    let again = world.post(&token, "/api/v1/agents/join", body).await.ok(200);
    assert_eq!(first["agent_id"], again["agent_id"]);
    assert!(first["agent_id"].as_str().unwrap().starts_with("agent-"));
    let other = world.join_token(1).await;
    let thief = json!({"protocol": 1, "public_key": crate::agent::Signer::new().public, "agent_id": first["agent_id"]});
    let problem = world.post(&other, "/api/v1/agents/join", thief).await.problem(ProblemType::Conflict);
    assert!(problem.detail.unwrap().contains("--node-id"));
    let body = json!({"protocol": 1, "public_key": crate::agent::Signer::new().public});
    world.post(&other, "/api/v1/agents/join", body).await.problem(ProblemType::Unauthorized);
}

#[tokio::test]
async fn a_late_report_of_a_lost_attempt_is_answered_as_stale() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    world.submit(ADMIN).await;
    let mut lease = agent.claim(&world, 5_000).await.ok(200)["leases"][0].clone();
    lease["lease_id"] = json!("another");
    let answers = agent.report(&world, &lease, vec![json!({"type": "completed"})]).await.ok(200)["answers"].clone();
    assert_eq!(answers, json!([{"status": "stale_attempt"}]));
}

#[tokio::test]
async fn a_heartbeat_takes_reports_in_and_hands_work_out() {
    let world = World::with(&["--parking", "off"]).await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let first = world.submit(ADMIN).await;
    let beat = agent.heartbeat(&world, json!({"claim": {"claim": 1, "free_slots": 1}})).await.ok(200);
    assert_eq!(beat["settings"]["parking"], false);
    assert!(beat["next_heartbeat_ms"].as_u64().unwrap() <= 1_000, "a pool in use is polled each second");
    let lease = beat["leases"][0].clone();
    assert_eq!(lease["job_id"].as_str(), Some(first.as_str()));
    let second = world.submit(ADMIN).await;
    let all = json!({
        "reports": [report(&lease, json!({"type": "started"})), report(&lease, json!({"type": "completed"}))],
        "claim": {"claim": 2, "free_slots": 1}, "last_claim": 1,
    });
    let beat = agent.heartbeat(&world, all).await.ok(200);
    assert_eq!(beat["answers"], json!([{"status": "accepted"}, {"status": "accepted"}]));
    assert_eq!(beat["leases"][0]["job_id"].as_str(), Some(second.as_str()));
    assert_eq!(world.get(ADMIN, &format!("/api/v1/jobs/{first}")).await.ok(200)["state"], "completed");
}

#[tokio::test]
async fn weights_are_read_and_set() {
    let world = World::start().await;
    let before = world.get(ADMIN, "/api/v1/scheduler").await.ok(200);
    assert_eq!(before["profile"], "balanced");
    let set = world.call("PUT", ADMIN, "/api/v1/scheduler", Some(json!({"profile": "latency"}))).await.ok(200);
    assert_eq!((&set["profile"], set["weights"]["rtt"].as_f64()), (&json!("latency"), Some(0.4)));
    assert!(set["version"].as_u64() > before["version"].as_u64());
    let weights = json!({"vram": 0.25, "load": 0.25, "rtt": 0.25, "performance": 0.25});
    let own =
        world.call("PUT", ADMIN, "/api/v1/scheduler", Some(json!({"profile": "custom", "weights": weights}))).await;
    let own = own.ok(200)["weights"].clone();
    assert_eq!(own["cost"], 0.0);
    assert!(weights.as_object().unwrap().iter().all(|(part, weight)| own[part] == *weight), "{own}");
}

#[tokio::test]
async fn keys_and_join_tokens_are_listed_without_their_secrets_and_revoked() {
    let world = World::start().await;
    let key = world.key("default", &["jobs:read"]).await;
    let token = world.join_token(2).await;
    world.get(&key, "/api/v1/jobs").await.ok(200);
    for (path, secret, list) in [("keys", &key, "keys"), ("join-tokens", &token, "join_tokens")] {
        let listed = world.get(ADMIN, &format!("/api/v1/{path}")).await;
        assert!(!listed.body.contains(secret.rsplit('_').next().unwrap()), "{}", listed.body);
        let id = listed.ok(200)[list][0]["id"].as_str().unwrap().to_owned();
        let one = format!("/api/v1/{path}/{id}");
        let mut elsewhere = request("DELETE", ADMIN, &one, None);
        elsewhere.headers_mut().insert("x-titan-pool", "other".parse().unwrap());
        world.send(elsewhere).await.problem(ProblemType::NotFound);
        world.call("DELETE", ADMIN, &one, None).await.ok(204);
        world.call("DELETE", ADMIN, &one, None).await.problem(ProblemType::NotFound);
    }
    world.get(&key, "/api/v1/jobs").await.problem(ProblemType::Unauthorized);
    let body = json!({"protocol": 1, "public_key": crate::agent::Signer::new().public});
    world.post(&token, "/api/v1/agents/join", body).await.problem(ProblemType::Unauthorized);
}

#[tokio::test]
async fn keys_are_not_called_wrong_by_a_redis_that_has_lost_them_for_a_while() {
    let world = World::start().await;
    let of = async |key: &str| world.get(key, "/api/v1/jobs").await;
    let [used, unused, revoked] = [
        world.key("default", &["jobs:read"]).await,
        world.key("default", &["jobs:read"]).await,
        world.key("default", &["jobs:read"]).await,
    ];
    let id = revoked.split('_').nth(1).unwrap();
    world.call("DELETE", ADMIN, &format!("/api/v1/keys/{id}"), None).await.ok(204);
    of(&used).await.ok(200);
    of(&revoked).await.problem(ProblemType::Unauthorized);
    let held = world.redis.dump().await;
    world.redis.command(&["FLUSHALL"]).await;
    of(&unused).await.problem(ProblemType::StoreUnavailable);
    // Agents come back by themselves, and with them the pool.
    TestAgent::register(&world, "box-1").await;
    let lost = of(&unused).await;
    lost.problem(ProblemType::StoreUnavailable);
    assert!(lost.body.contains("Redis has lost all API keys"), "{}", lost.body);
    let fresh = crate::world::send(&world.another_copy(), request("GET", &unused, "/api/v1/jobs", None)).await;
    fresh.problem(ProblemType::Unauthorized);
    world.redis.restore(&held).await;
    of(&unused).await.ok(200);
    of(&revoked).await.problem(ProblemType::Unauthorized);
    world.redis.command(&["FLUSHALL"]).await;
    world.key("default", &["jobs:read"]).await;
    of(&revoked).await.problem(ProblemType::Unauthorized);
}

#[tokio::test]
async fn a_redis_of_an_older_version_learns_that_keys_were_made_and_is_asked_no_more_for_good_ones() {
    let world = World::start().await;
    let [first, second] = [world.key("default", &["jobs:read"]).await, world.key("default", &["jobs:read"]).await];
    let wrong = format!("titan_{}_{}", "0".repeat(16), first.rsplit('_').next().unwrap());
    world.redis.command(&["DEL", "titan:api-keys-were-made"]).await;
    world.get(&first, "/api/v1/jobs").await.ok(200);
    world.get(&wrong, "/api/v1/jobs").await.problem(ProblemType::Unauthorized);
    let exists = world.redis.calls("exists").await;
    world.get(&first, "/api/v1/jobs").await.ok(200);
    world.get(&second, "/api/v1/jobs").await.ok(200);
    assert_eq!(world.redis.calls("exists").await, exists);
}

#[tokio::test]
async fn an_api_key_is_good_for_its_own_pool_and_until_it_expires() {
    let world = World::start().await;
    let key = world.key("blue", &["jobs:write", "jobs:read"]).await;
    let id = world.submit(&key).await;
    world.get(&key, &format!("/api/v1/jobs/{id}")).await.ok(200);
    world.get(ADMIN, &format!("/api/v1/jobs/{id}")).await.problem(ProblemType::NotFound);
    let mut foreign = request("GET", &key, "/api/v1/jobs", None);
    foreign.headers_mut().insert("x-titan-pool", "default".parse().unwrap());
    world.send(foreign).await.problem(ProblemType::Forbidden);
    let brief = json!({"scopes": ["jobs:read"], "expires_in_ms": 1});
    let brief = world.post(ADMIN, "/api/v1/keys", brief).await.ok(201);
    let brief = brief["key"].as_str().unwrap();
    let give_up = Instant::now() + PATIENCE;
    while world.get(brief, "/api/v1/jobs").await.status == 200 {
        assert!(Instant::now() < give_up, "the key does not expire");
    }
    world.get(brief, "/api/v1/jobs").await.problem(ProblemType::Unauthorized);
}

#[tokio::test]
async fn a_sweep_settles_what_is_overdue() {
    let world = World::start().await;
    let swept = world.call("POST", ADMIN, "/api/v1/sweep", None).await.ok(200);
    assert_eq!(swept["more"], false);
}

#[tokio::test]
async fn a_call_that_is_repeated_with_its_key_gets_the_same_jobs() {
    let world = World::start().await;
    let send = async |path: &str, key: &str, body: serde_json::Value| {
        let mut request = request("POST", ADMIN, path, Some(body));
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        world.send(request).await
    };
    let first = send("/api/v1/jobs", "one", job(&["true"])).await.ok(202);
    assert_eq!(send("/api/v1/jobs", "one", job(&["true"])).await.ok(202)["id"], first["id"]);
    send("/api/v1/jobs", "one", job(&["false"])).await.problem(ProblemType::KeyReused);
    assert_ne!(send("/api/v1/jobs", "two", job(&["true"])).await.ok(202)["id"], first["id"]);

    let mut steps = vec![job(&["true"]); 3];
    for (i, name) in ["build", "train", "report"].iter().enumerate() {
        steps[i]["ref"] = json!(name);
    }
    steps[0]["depends_on"] = json!(["train", "report"]);
    steps[1]["depends_on"] = json!(["report"]);
    let body = json!({ "jobs": steps });
    let batch = send("/api/v1/jobs/batch", "three", body.clone()).await.ok(202);
    let states: Vec<_> = (0..3).map(|i| batch["jobs"][i]["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["blocked", "blocked", "pending"]);
    assert_eq!(send("/api/v1/jobs/batch", "three", body).await.ok(202)["jobs"], batch["jobs"]);
    let last = world.get(ADMIN, &format!("/api/v1/jobs/{}", batch["jobs"][0]["id"].as_str().unwrap())).await.ok(200);
    assert_eq!(last["waits_for"], 2);
    assert_eq!(last["depends_on"], json!([batch["jobs"][1]["id"], batch["jobs"][2]["id"]]));
    assert_eq!(world.get(ADMIN, "/api/v1/jobs").await.ok(200)["jobs"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn a_cancelled_job_is_tried_again_on_demand() {
    let world = World::start().await;
    let id = world.submit(ADMIN).await;
    let path = |verb: &str| format!("/api/v1/jobs/{id}/{verb}");
    world.post(ADMIN, &path("cancel"), json!({})).await.ok(200);
    assert_eq!(world.post(ADMIN, &path("retry"), json!({})).await.ok(200)["state"], "pending");
    let mut agent = TestAgent::register(&world, "box-1").await;
    let lease = agent.claim(&world, 5_000).await.ok(200)["leases"][0].clone();
    let done = json!({"type": "completed", "result": {"accuracy": 0.5}});
    agent.report(&world, &lease, vec![done]).await.ok(200);
    assert_eq!(world.get(ADMIN, &format!("/api/v1/jobs/{id}")).await.ok(200)["result"], json!({"accuracy": 0.5}));
    world.post(ADMIN, &path("retry"), json!({})).await.problem(ProblemType::Conflict);
    world.post(ADMIN, "/api/v1/jobs/nobody/retry", json!({})).await.problem(ProblemType::NotFound);
}
