//! Joining, registering, and being told that one is not wanted.

use std::os::unix::fs::PermissionsExt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    agent::{Agent, Start, sh},
    coordinator::{Coordinator, Misbehave},
};

fn claims(proof: &Value) -> Value {
    let middle = proof.as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(middle).unwrap()).unwrap()
}

#[tokio::test]
async fn a_new_box_joins_once_and_later_needs_no_token() {
    let coordinator = Coordinator::start().await;
    let agent =
        Start::of(&coordinator).args(&["--node-id", "box-1", "--labels", "gpu=a100,zone=attic", "--ephemeral"]).spawn();
    let register = coordinator.next("register").await;
    let join = coordinator.with(|s| s.last("join").cloned()).unwrap();
    assert_eq!((join.bearer.as_deref(), &join.body["agent_id"]), (Some("join-secret"), &json!("box-1")));
    assert_eq!(URL_SAFE_NO_PAD.decode(join.body["public_key"].as_str().unwrap()).unwrap().len(), 32);
    assert_eq!((&register.bearer, &register.body["credential"]), (&None, &json!("credential-1")));
    assert_eq!(register.body["facts"]["labels"], json!({ "gpu": "a100", "zone": "attic" }));
    assert_eq!(
        (&register.body["facts"]["accepts_processes"], &register.body["facts"]["max_jobs"]),
        (&json!(true), &json!(4))
    );
    assert_eq!(register.body["facts"]["ephemeral"], json!(true));
    assert!(register.body["facts"]["ram_mb"].as_u64().unwrap() > 64);
    let proof = claims(&register.body["proof"]);
    assert_eq!((&proof["sub"], &proof["jti"]), (&json!("box-1"), &register.body["instance_id"]));
    assert_eq!(coordinator.next("heartbeat").await.bearer.as_deref(), Some("token-1"));
    for file in ["agent.key", "credential.json"] {
        let mode = std::fs::metadata(agent.state().join("identity").join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let home = agent.crash().await;
    let _agent = Start::in_home(&coordinator, home).without_env("TITAN_JOIN_TOKEN").spawn();
    let again = coordinator.next("register").await;
    assert_ne!(again.body["instance_id"], register.body["instance_id"]);
    assert_eq!(coordinator.with(|s| s.calls_of("join").len()), 1);
}

#[tokio::test]
async fn secrets_that_others_on_the_box_can_read_are_warned_of_and_taken() {
    let coordinator = Coordinator::start().await;
    let agent = Start::of(&coordinator).spawn();
    coordinator.next("register").await;
    assert!(!agent.log().contains("chmod 600"), "{}", agent.log());
    let home = agent.crash().await;
    let state = home.path().join("state");
    let (key, token) = (state.join("identity/agent.key"), home.path().join("token"));
    let of_hub = home.path().join("hf");
    std::fs::write(&token, "join-secret").unwrap();
    std::fs::write(&of_hub, "hf-secret").unwrap();
    for (file, mode) in [(&key, 0o604), (&token, 0o644), (&of_hub, 0o640)] {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let named = ["--join-token-file", token.to_str().unwrap(), "--hf-token-file", of_hub.to_str().unwrap()];
    let agent = Start::in_home(&coordinator, home).without_env("TITAN_JOIN_TOKEN").args(&named).spawn();
    coordinator.next("register").await;
    let log = agent.log();
    for (file, mode) in [(&key, "0604"), (&token, "0644"), (&of_hub, "0640")] {
        let told: Vec<_> = log.lines().filter(|line| line.contains(&format!("chmod 600 {}", file.display()))).collect();
        assert!(told.len() == 1 && told[0].contains("WARN") && told[0].contains(mode), "{log}");
    }
    assert_eq!(log.matches("chmod 600").count(), 3, "{log}");
}

#[tokio::test]
async fn joining_is_tried_again_while_the_coordinator_is_away_but_not_with_a_bad_token() {
    let coordinator = Coordinator::start().await;
    coordinator.with(|s| {
        s.misbehave("join", Misbehave::HangUp);
        s.misbehave("join", Misbehave::Refuse("store-unavailable", 503, json!({})));
        s.misbehave("join", Misbehave::Refuse("unauthorized", 401, json!({})));
    });
    let mut agent = Agent::start(&coordinator);
    assert!(!agent.exit().await.success());
    assert_eq!(coordinator.with(|s| s.calls_of("join").len()), 3);
    assert!(agent.log().contains("Have an admin make a new one"));
}

#[tokio::test]
async fn a_box_without_credential_and_token_says_what_it_needs() {
    let coordinator = Coordinator::start().await;
    let mut agent = Start::of(&coordinator).without_env("TITAN_JOIN_TOKEN").spawn();
    assert!(!agent.exit().await.success());
    assert!(agent.log().contains("TITAN_JOIN_TOKEN or with --join-token-file"));
}

#[tokio::test]
async fn a_wrong_clock_on_the_box_is_no_obstacle() {
    let coordinator = Coordinator::start().await;
    let server_time_ms = 4_102_444_800_000_i64;
    coordinator.with(|s| {
        s.misbehave("register", Misbehave::Refuse("clock-skew", 401, json!({ "server_time_ms": server_time_ms })));
    });
    let _agent = Agent::start(&coordinator);
    coordinator.next("heartbeat").await;
    let made_at =
        claims(&coordinator.with(|s| s.last("register").cloned()).unwrap().body["proof"])["iat"].as_i64().unwrap();
    assert!((made_at - server_time_ms / 1_000).abs() < 60, "{made_at}");
    assert_eq!(coordinator.with(|s| s.calls_of("register").len()), 2);
}

#[tokio::test]
async fn an_agent_that_was_forgotten_registers_again_and_keeps_its_jobs() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let id = coordinator.give(sh("until [ -e go ]; do sleep 0.05; done; echo kept"));
    coordinator.until("it runs", |s| s.attempt(&id).started.then_some(())).await;
    coordinator.with(|s| s.misbehave("heartbeat", Misbehave::Refuse("unknown-agent", 410, json!({}))));
    let register = coordinator.next("register").await;
    assert_eq!(register.body["running"][0]["lease_id"], json!(id));
    let first = coordinator.with(|s| s.calls_of("register")[0].clone());
    assert_eq!(register.body["instance_id"], first.body["instance_id"], "it is the same run");
    std::fs::write(agent.work().join(format!("job-of-{id}/1/go")), "").unwrap();
    assert_eq!(coordinator.ended(&id).await.output, b"kept\n");
}

#[tokio::test]
async fn a_token_that_is_not_accepted_any_more_is_replaced_by_registering() {
    let coordinator = Coordinator::start().await;
    let _agent = Agent::start(&coordinator);
    coordinator.next("heartbeat").await;
    coordinator.with(|s| s.misbehave("claim", Misbehave::Refuse("unauthorized", 401, json!({}))));
    coordinator.give(sh("true"));
    coordinator.next("register").await;
    coordinator.next("heartbeat").await;
}

#[tokio::test]
async fn a_superseded_agent_ends_its_jobs_and_exits_without_registering_again() {
    let coordinator = Coordinator::start().await;
    let mut agent = Agent::start(&coordinator);
    let id = coordinator.give(sh("echo $$; while :; do sleep 600; done"));
    let said = String::from_utf8(coordinator.wrote(&id, "\n").await.stdout).unwrap();
    coordinator
        .with(|s| (0..100).for_each(|_| s.misbehave("heartbeat", Misbehave::Refuse("superseded", 410, json!({})))));
    assert_eq!(agent.exit().await.code(), Some(3));
    assert!(!crate::agent::lives(said.trim().parse().unwrap()));
    assert_eq!(coordinator.with(|s| s.calls_of("register").len()), 1);
    assert!(agent.log().contains("another agent has registered with this one's identity"));
}

#[tokio::test]
async fn a_removed_agent_exits_and_says_what_to_do() {
    let coordinator = Coordinator::start().await;
    coordinator.with(|s| s.misbehave("register", Misbehave::Refuse("agent-removed", 410, json!({}))));
    let mut agent = Agent::start(&coordinator);
    assert_eq!(agent.exit().await.code(), Some(3));
    assert!(agent.log().contains("new join token"));
}

#[tokio::test]
async fn a_credential_that_is_not_accepted_is_replaced_if_there_is_a_join_token() {
    let coordinator = Coordinator::start().await;
    coordinator.with(|s| s.misbehave("register", Misbehave::Refuse("unauthorized", 401, json!({}))));
    let _agent = Agent::start(&coordinator);
    coordinator.next("heartbeat").await;
    assert_eq!(coordinator.with(|s| (s.calls_of("join").len(), s.calls_of("register").len())), (2, 2));
}

#[tokio::test]
async fn a_box_does_not_silently_take_another_name() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    coordinator.next("register").await;
    let home = agent.crash().await;
    let mut agent = Start::in_home(&coordinator, home).args(&["--node-id", "box-2"]).spawn();
    assert!(!agent.exit().await.success());
    assert!(agent.log().contains("has joined as `box-1` and --node-id says `box-2`"));
}

#[tokio::test]
async fn the_token_that_comes_with_a_heartbeat_is_used_from_then_on() {
    let coordinator = Coordinator::start().await;
    let _agent = Agent::start(&coordinator);
    coordinator.next("heartbeat").await;
    coordinator.with(|s| s.fresh_token = Some("token-2".to_owned()));
    coordinator
        .until("the fresh token is used", |s| (s.last("heartbeat")?.bearer.as_deref() == Some("token-2")).then_some(()))
        .await;
}
