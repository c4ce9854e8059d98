//! A crowd of agents loses its coordinator and comes back to it, all at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::{StreamExt, stream};
use tempfile::TempDir;
use titan_api::{client::Client, ids::JobId, status::Status};
use titan_tests::{
    bench::{facts, job, open_files},
    coordinator::{Coordinator, CoordinatorOptions},
    protocol_agent::ProtocolAgent,
    redis::RedisServer,
    wait::{eventually, within},
};
use tokio::task::JoinSet;

use crate::helpers::{SLACK, completed};

const AGENTS: usize = 1_000;
const ENTERING: usize = 16;
const JOBS: usize = 50;
const WAIT_MS: u64 = 10_000;
const LABEL: &str = "here";

async fn enter(coordinator: &Coordinator) -> Vec<ProtocolAgent> {
    let (anyone, token) = (coordinator.anyone(), coordinator.join_token().await);
    let (anyone, token, facts) = (&anyone, &token, &facts([LABEL.to_owned()]));
    let entering = stream::iter(0..AGENTS)
        .map(|i| async move { ProtocolAgent::enter(anyone, token, &format!("agent-{i:04}"), facts).await });
    entering.buffer_unordered(ENTERING).collect().await
}

/// Until it is accepted; the coordinator may be away.
async fn submit(client: &Client, number: usize) -> JobId {
    within(SLACK, "a job to be accepted", async || {
        let submitted = client.submit_job_once(&job(LABEL), false, &format!("job{number}")).await;
        submitted.ok().map(|reply| reply.into_value().id)
    })
    .await
}

#[tokio::test]
async fn a_thousand_agents_whose_coordinator_crashes_come_back_to_it_at_once_and_go_on() {
    assert!(open_files() > 3 * AGENTS as u64, "too few open files are allowed here (ulimit -Hn)");
    let (redis, folder) = (RedisServer::start_durable().await, TempDir::new().unwrap());
    let settings = [("RATE_LIMIT_REQUESTS", "1000000/1m"), ("HEARTBEAT_TIMEOUT", "5m"), ("LOG_LEVEL", "warn")];
    let options = CoordinatorOptions {
        redis_url: redis.url(),
        admin_token: "an administrator of this crowd".replace(' ', "-"),
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    };
    let mut coordinator = Coordinator::start("crowded", folder.path(), options).await;
    let (client, worked) = (coordinator.client().await, Arc::new(AtomicUsize::new(0)));
    let mut crowd = JoinSet::new();
    for agent in enter(&coordinator).await {
        let worked = Arc::clone(&worked);
        crowd.spawn(agent.work(WAIT_MS, move || {
            worked.fetch_add(1, Ordering::Relaxed);
        }));
    }
    let nearly_all = AGENTS * 99 / 100;
    let all_wait = async |coordinator: &Coordinator| {
        coordinator.waiting().await.filter(|waiting| *waiting >= nearly_all).map(drop)
    };
    eventually("all to wait for work", async || all_wait(&coordinator).await).await;

    coordinator.kill();
    let submitting = async {
        let mut ids = Vec::new();
        for number in 0..JOBS {
            ids.push(submit(&client, number).await);
        }
        ids
    };
    let ((), ids) = tokio::join!(coordinator.restart(), submitting);
    // Agents that have failed to reach it a few times wait for seconds.
    within(2 * SLACK, "all to wait again", async || all_wait(&coordinator).await).await;
    for id in &ids {
        completed(&client, id).await;
    }
    assert!(worked.load(Ordering::Relaxed) >= JOBS);
    assert!(crowd.try_join_next().is_none(), "an agent has given up");
    let status: Status = client.get("/api/v1/status").await.unwrap();
    assert_eq!(status.agent_counts.healthy, AGENTS as u64);
}
