//! Tickets that share a run, where something is in the way: of one of them, or of all.

use std::time::Duration;

use futures_util::future::join_all;
use redis::AsyncCommands;
use titan_api::{agents::Facts, ids::JobId};
use titan_lua::{PoolSettings, StoreError, agents::SetDraining, tickets as t};
use titan_tests::{
    redis::{RedisServer, patient_store},
    rewriter::{Change, Rewriter},
};

use super::{model, request, serving};
use crate::store::world::{Box_, World};

async fn reachable(world: &World, name: &str) -> Box_ {
    let facts = Facts { endpoint: Some("http://192.0.2.1".into()), ..serving(&[model("llama", 64)]) };
    let agent = world.register(name, &facts).await;
    world.claim_both(&agent, 0, 64).await;
    agent
}

/// Asks for tickets at once, each for an owner of its own, who may have one.
async fn ask_at_once(world: &World, names: &[&str], explain: bool) -> Vec<Result<t::IssueOutcome, StoreError>> {
    let pool = world.pool();
    let asking = names.iter().map(async |name| {
        let (id, spec) = (JobId::new(format!("of-{name}")).unwrap(), request("llama"));
        let issue = t::Issue { id: &id, owner: name, spec: &spec, session: None, hold_ms: 15_000, most: 1, explain };
        issue.run(&pool).await
    });
    join_all(asking).await
}

#[tokio::test]
async fn an_agent_that_stands_in_a_rank_and_does_not_know_of_it_is_passed_by() {
    let world = World::new().await;
    let (gone, agent) = (reachable(&world, "gone").await, reachable(&world, "there").await);
    ask_at_once(&world, &["nobody"], false).await[0].as_ref().unwrap();
    let drained = SetDraining { agent: &gone.id, draining: true };
    drained.run(&world.pool()).await.unwrap();
    let mut redis = world.redis.connection().await;
    let ranks: Vec<String> = redis.keys("titan:{default}:rank:*").await.unwrap();
    for rank in &ranks {
        let () = redis.zadd(rank, gone.id.as_str(), "9e15").await.unwrap();
    }
    let asking = ask_at_once(&world, &["one", "other"], false);
    let told = tokio::time::timeout(Duration::from_secs(20), asking).await.expect("Redis is at work for ever");
    for told in told {
        let Ok(t::IssueOutcome::Issued(issued)) = told else { panic!("{told:?}") };
        assert_eq!(issued.agent, agent.id);
    }
    for rank in &ranks {
        let there: Vec<String> = redis.zrange(rank, 0, -1).await.unwrap();
        assert!(!there.contains(&gone.id.to_string()), "{there:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_one_owner_is_told_to_that_one_and_takes_no_ticket_from_another() {
    let redis = RedisServer::start().await;
    let begins = "function binding.reserve(j, a, devices, score)\n";
    let fails = format!("{begins}if j.owner == 'broken' then error('broken') end\n");
    let change = Change { find: begins.to_owned(), times: 1, replace: fails };
    let rewriter = Rewriter::to(&redis.address(), change).await;
    let world = World::on(redis, &patient_store(&rewriter.url(), PoolSettings::default()));
    reachable(&world, "a").await;
    ask_at_once(&world, &["first"], false).await[0].as_ref().unwrap();
    let told = ask_at_once(&world, &["one", "broken", "other"], false).await;
    assert!(told[1].is_err(), "{told:?}");
    for told in [&told[0], &told[2]] {
        assert!(matches!(told, Ok(t::IssueOutcome::Issued(_))), "{told:?}");
    }
}

#[tokio::test]
async fn an_explanation_which_looks_at_hundreds_of_agents_is_made_in_a_run_of_its_own() {
    let world = World::new().await;
    reachable(&world, "a").await;
    let names: Vec<String> = (0..16).map(|n| format!("key-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    ask_at_once(&world, &["first"], false).await[0].as_ref().unwrap();
    let before = world.redis.command_counts().await;
    for told in ask_at_once(&world, &names, true).await {
        let Ok(t::IssueOutcome::Issued(issued)) = told else { panic!("{told:?}") };
        assert_eq!(issued.explanation.unwrap().candidates.len(), 1);
    }
    assert_eq!(world.redis.command_counts().await.since(&before).scripts().calls, 16);
}
