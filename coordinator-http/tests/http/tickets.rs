//! Tickets: the way around the relay.

use std::time::{Duration, Instant};

use clap::Parser;
use futures_util::poll;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use serde_json::{Value, json};
use titan_api::{problem::ProblemType, time::Timestamp};
use titan_coordinator::{AppState, router};

use crate::{
    agent::{TestAgent, facts},
    relay::serving,
    world::{ADMIN, Flags, World, request, secret, send, signing_keys},
};

const REQUEST: &str = "/api/v1/inference/request";

/// A box that clients can reach.
pub(crate) async fn reachable(world: &World, id: &str, parallel: u32) -> TestAgent {
    let mut facts = facts();
    facts["accepts_processes"] = json!(false);
    facts["endpoint"] = json!("http://192.0.2.1:7080");
    facts["models"] = json!([{"name": "llama", "parallel": parallel, "loaded": true}]);
    let mut agent = TestAgent::register_with(world, id, facts).await;
    agent.park_for_requests(world).await;
    agent
}

pub(crate) fn wish() -> Value {
    json!({"client_id": "test-client", "model": "llama", "prompt": "What is it?", "max_tokens": 100, "temperature": 0.7})
}

#[tokio::test]
async fn a_ticket_is_signed_for_one_request_to_one_model_on_one_agent() {
    let world = World::start().await;
    let agent = reachable(&world, "box", 16).await;
    let key = world.key("default", &["inference"]).await;
    let unnamed = world.post(&key, &format!("{REQUEST}?explain=true"), wish()).await.ok(200);
    assert_eq!(unnamed["explanation"]["candidates"], json!([]));
    let key = world.key("default", &["inference", "agents:read"]).await;
    let routed = world.post(&key, &format!("{REQUEST}?explain=true"), wish()).await.ok(200);
    assert_eq!(
        (&routed["mode"], &routed["agent_id"], &routed["endpoint"]),
        (&json!("direct"), &json!("box"), &json!("http://192.0.2.1:7080"))
    );
    assert!(routed["score"].as_f64().unwrap() > 0.0 && routed["expires_at"].is_string());
    assert_eq!(routed["explanation"]["candidates"][0]["parts"]["warm"], 1.0);
    let token = routed["token"].as_str().unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    assert_eq!((header.alg, header.typ.as_deref()), (Algorithm::RS256, Some("titan-ticket+jwt")));
    let keys: JwkSet = serde_json::from_value(world.get("", "/.well-known/jwks.json").await.ok(200)).unwrap();
    let key = DecodingKey::from_jwk(keys.find(header.kid.as_deref().unwrap()).unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&["box"]);
    validation.set_issuer(&["titan-coordinator"]);
    let claims: Value = jsonwebtoken::decode(token, &key, &validation).unwrap().claims;
    assert_eq!(
        (&claims["model"], &claims["sub"], &claims["jti"]),
        (&json!("llama"), &json!("test-client"), &routed["request_id"])
    );
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
    // The first use is a leased attempt, a repeat gets the same one, and once it has ended the ticket is no good.
    let path = agent.path(&format!("tickets/{}/use", routed["request_id"].as_str().unwrap()));
    let lease = world.post(&agent.token, &path, json!({})).await.ok(200);
    assert_eq!(world.post(&agent.token, &path, json!({})).await.ok(200), lease);
    let held = json!({"job_id": routed["request_id"], "attempt": lease["attempt"], "lease_id": lease["lease_id"]});
    let ended = json!({"type": "completed", "usage": {"prompt_tokens": 5, "completion_tokens": 9}});
    let told = agent.report(&world, &held, vec![json!({"type": "started"}), ended]).await.ok(200);
    assert_eq!(told["answers"], json!([{"status": "accepted"}, {"status": "accepted"}]));
    world.post(&agent.token, &path, json!({})).await.problem(ProblemType::TicketGone);
}

#[tokio::test]
async fn a_ticket_is_good_on_its_own_agent_alone() {
    let world = World::start().await;
    reachable(&world, "box", 2).await;
    let routed = world.post(ADMIN, REQUEST, wish()).await.ok(200);
    let other = serving(&world, "other", &["mistral"]).await;
    let path = other.path(&format!("tickets/{}/use", routed["request_id"].as_str().unwrap()));
    world.post(&other.token, &path, json!({})).await.problem(ProblemType::TicketGone);
    let path = other.path("tickets/no-such-ticket/use");
    world.post(&other.token, &path, json!({})).await.problem(ProblemType::TicketGone);
}

#[tokio::test]
async fn the_relay_is_named_where_the_best_agent_cannot_be_reached_or_none_is_free() {
    let world = World::start().await;
    serving(&world, "hidden", &["llama"]).await.park_for_requests(&world).await;
    let routed = world.post(ADMIN, REQUEST, wish()).await.ok(200);
    assert_eq!(
        (&routed["mode"], &routed["agent_id"], &routed["token"]),
        (&json!("relay"), &json!("hidden"), &Value::Null)
    );
    let mut unknown = wish();
    unknown["model"] = json!("gpt");
    world.post(ADMIN, REQUEST, unknown).await.problem(ProblemType::ModelNotFound);
}

#[tokio::test]
async fn where_no_ticket_can_be_signed_no_place_is_kept() {
    let world = World::start().await;
    // It is known to be at hand because it has got a ticket.
    let agent = reachable(&world, "box", 2).await;
    let ed25519 = signing_keys().split_inclusive("-----END PRIVATE KEY-----\n").next().unwrap();
    let args = Flags::parse_from(["test", "--redis-url", &world.redis.url()]).run;
    let copy = args.check(|name| secret(name, Some(ADMIN), Some(ed25519))).unwrap();
    let copy = router(AppState::new(copy).unwrap());
    for _ in 0..32 {
        let routed = send(&copy, request("POST", ADMIN, REQUEST, Some(wish()))).await.ok(200);
        assert_eq!((&routed["mode"], &routed["agent_id"]), (&json!("relay"), &json!("box")));
    }
    let shown = world.get(ADMIN, &format!("/api/v1/agents/{}", agent.id)).await.ok(200);
    assert_eq!(shown["live_attempts"], 1);
}

#[tokio::test]
async fn a_key_has_sixteen_unused_tickets_at_most() {
    let world = World::start().await;
    reachable(&world, "box", 64).await;
    let key = world.key("default", &["inference"]).await;
    for _ in 0..16 {
        world.post(&key, REQUEST, wish()).await.ok(200);
    }
    world.post(&key, REQUEST, wish()).await.problem(ProblemType::TooManyRequests);
    let other = world.key("default", &["inference"]).await;
    world.post(&other, REQUEST, wish()).await.ok(200);
}

/// The lease of a ticket that was just brought to its agent.
async fn brought(world: &World, agent: &TestAgent) -> Value {
    let routed = world.post(ADMIN, REQUEST, wish()).await.ok(200);
    let path = agent.path(&format!("tickets/{}/use", routed["request_id"].as_str().unwrap()));
    let used = world.post(&agent.token, &path, json!({})).await.ok(200);
    assert_eq!(used["model"], "llama");
    json!({"job_id": routed["request_id"], "attempt": used["attempt"], "lease_id": used["lease_id"]})
}

fn completed(receipt: &str) -> Value {
    json!({"type": "completed", "usage": {"prompt_tokens": 5, "completion_tokens": 9}, "receipt": receipt})
}

fn receipt(agent: &TestAgent, lease: &Value, change: impl FnOnce(&mut Value)) -> String {
    let usage = json!({"prompt_tokens": 5, "completion_tokens": 9});
    let mut claims = json!({"iss": agent.id, "sub": lease["job_id"], "model": "llama", "iat": 1, "usage": usage});
    change(&mut claims);
    agent.signer.sign("titan-receipt+jwt", &claims)
}

#[tokio::test]
async fn a_receipt_is_shown_with_the_job_and_one_that_is_not_good_ends_nothing() {
    let world = World::start().await;
    let agent = reachable(&world, "box", 8).await;
    let other = TestAgent::register(&world, "other").await;
    let lease = brought(&world, &agent).await;
    let long = receipt(&agent, &lease, |claims| claims["more"] = json!("x".repeat(2_000)));
    let forged = [
        receipt(&other, &lease, |claims| claims["iss"] = json!("box")),
        receipt(&agent, &lease, |claims| claims["iss"] = json!("other")),
        receipt(&agent, &lease, |claims| claims["sub"] = json!("another")),
        receipt(&agent, &lease, |claims| claims["model"] = json!("mistral")),
        receipt(&agent, &lease, |claims| claims["usage"]["completion_tokens"] = json!(90)),
        receipt(&agent, &lease, |_| ()) + "A",
        long,
        "no receipt".to_owned(),
    ];
    let path = format!("/api/v1/jobs/{}", lease["job_id"].as_str().unwrap());
    for wrong in &forged {
        let told = agent.report(&world, &lease, vec![json!({"type": "started"}), completed(wrong)]).await.ok(200);
        assert_eq!(told["answers"], json!([{"status": "accepted"}, {"status": "invalid"}]), "{wrong}");
        assert_eq!(world.get(ADMIN, &path).await.ok(200)["state"], "running", "{wrong}");
    }
    let good = receipt(&agent, &lease, |_| ());
    for _ in 0..2 {
        let told = agent.report(&world, &lease, vec![completed(&good)]).await.ok(200);
        assert_eq!(told["answers"], json!([{"status": "accepted"}]));
    }
    let job = world.get(ADMIN, &path).await.ok(200);
    assert_eq!(
        (&job["state"], &job["receipt"], &job["usage"]["completion_tokens"]),
        (&json!("completed"), &json!(good), &json!(9))
    );
}

#[tokio::test]
async fn what_came_by_no_ticket_has_no_receipt() {
    let world = World::start().await;
    let agent = TestAgent::register(&world, "box").await;
    world.submit(ADMIN).await;
    let mut agent = agent;
    let lease = agent.claim(&world, 5_000).await.ok(200)["leases"][0].clone();
    let forged = receipt(&agent, &lease, |claims| claims["model"] = json!(""));
    let told = agent.report(&world, &lease, vec![completed(&forged)]).await.ok(200);
    assert_eq!(told["answers"], json!([{"status": "invalid"}]));
}

#[tokio::test]
async fn the_agent_is_told_its_own_name_of_a_model_that_was_asked_for_by_an_alias() {
    let world = World::start().await;
    let agent = reachable(&world, "box", 8).await;
    let aliases = json!({"aliases": {"chat": ["llama"]}});
    world.call("PUT", ADMIN, "/api/v1/models/aliases", Some(aliases)).await.ok(200);
    let mut wish = wish();
    wish["model"] = json!("chat");
    let issued = async || world.post(ADMIN, REQUEST, wish.clone()).await;
    let mut routed = issued().await;
    while routed.status == 404 {
        world.post(ADMIN, "/api/v1/sweep", json!({})).await;
        routed = issued().await;
    }
    let routed = routed.ok(200);
    let path = agent.path(&format!("tickets/{}/use", routed["request_id"].as_str().unwrap()));
    assert_eq!(world.post(&agent.token, &path, json!({})).await.ok(200)["model"], "llama");
}

/// How many attempts a box has, its kept places included.
async fn attempts(world: &World, agent: &TestAgent) -> Value {
    world.get(ADMIN, &format!("/api/v1/agents/{}", agent.id)).await.ok(200)["live_attempts"].clone()
}

#[tokio::test]
async fn a_place_is_given_back_whose_client_goes_away_before_it_has_the_ticket() {
    let world = World::start().await;
    let agent = reachable(&world, "box", 2).await;
    assert_eq!(attempts(&world, &agent).await, 1);
    let mut call = Box::pin(send(&world.router, request("POST", ADMIN, REQUEST, Some(wish()))));
    while attempts(&world, &agent).await == 1 {
        assert!(poll!(&mut call).is_pending(), "it has got its ticket");
    }
    drop(call);
    let give_up = Instant::now() + Duration::from_secs(10);
    while attempts(&world, &agent).await != 1 {
        assert!(Instant::now() < give_up, "the place is kept for nobody");
    }
}

#[tokio::test]
async fn a_place_is_kept_for_as_long_as_its_client_is_told() {
    let world = World::start().await;
    let agent = reachable(&world, "box", 2).await;
    let mut call = Box::pin(send(&world.router, request("POST", ADMIN, REQUEST, Some(wish()))));
    while attempts(&world, &agent).await == 1 {
        assert!(poll!(&mut call).is_pending(), "it has got its ticket");
    }
    // The answer takes its time.
    let later = Instant::now() + Duration::from_millis(200);
    while Instant::now() < later {
        attempts(&world, &agent).await;
    }
    let routed = call.await.ok(200);
    let kept_until: Timestamp = routed["kept_until"].as_str().unwrap().parse().unwrap();
    let mut redis = redis::Client::open(world.redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let job = format!("job:{}", routed["request_id"].as_str().unwrap());
    let given_up: i64 = redis::cmd("ZSCORE").arg("titan:{default}:due").arg(job).query_async(&mut redis).await.unwrap();
    // The clock of Redis is known to within a part of a call.
    assert!((given_up - 5_000..given_up + 50).contains(&kept_until.as_ms()), "{kept_until:?} {given_up}");
}
