//! The master of a replicated Redis goes in the middle of the work: coordinators and agents follow the sentinels to the next
//! one, and all that was acknowledged ends.

use std::{collections::BTreeMap, path::Path};

use futures_util::future::join_all;
use tempfile::TempDir;
use titan_api::{agents::AgentList, client::Client, ids::JobId, jobs::SubmitJob};
use titan_tests::{
    agent::{Agent, AgentOptions},
    coordinator::{Coordinator, CoordinatorOptions},
    replicas::Replicas,
    wait::{eventually, within},
};

use crate::helpers::{SLACK, completed, shell};

/// Jobs that are submitted one after the other while the master goes: more than are acknowledged before it does.
const JOBS: usize = 200;

/// Coordinators and agents over a Sentinel URL; silences are noticed within seconds, and no lease is used up by a failover.
struct Fleet {
    coordinators: Vec<Coordinator>,
    _agents: Vec<Agent>,
}

async fn fleet(redis: &Replicas, folder: &Path) -> Fleet {
    let settings = [
        ("DURABILITY", "replicated"),
        ("REDIS_TIMEOUT", "2s"),
        ("LEASE_TTL", "60s"),
        ("KILL_GRACE", "1s"),
        ("HEARTBEAT_INTERVAL", "1s"),
        ("CLEANUP_INTERVAL", "1s"),
    ];
    let options = CoordinatorOptions {
        redis_url: redis.url(),
        admin_token: "an administrator of this test alone".replace(' ', "-"),
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    };
    let mut coordinators = Vec::new();
    for name in ["c1", "c2"] {
        coordinators.push(Coordinator::start(name, folder, options.clone()).await);
    }
    let mut agents = Vec::new();
    for id in ["a1", "a2"] {
        let options = AgentOptions {
            id: id.to_owned(),
            coordinators: coordinators.iter().map(Coordinator::url).collect(),
            join_token: coordinators[0].join_token().await,
            settings: BTreeMap::from([("TITAN_MAX_JOBS".to_owned(), "8".to_owned())]),
        };
        agents.push(Agent::start(folder, options));
    }
    let admin = coordinators[0].admin();
    eventually("both agents to be registered", async || {
        let list: AgentList = admin.get("/api/v1/agents").await.ok()?;
        (list.agents.len() == 2).then_some(())
    })
    .await;
    Fleet { coordinators, _agents: agents }
}

/// Submits under a key until it is acknowledged.
async fn submit(client: &Client, job: &SubmitJob, key: &str) -> JobId {
    within(2 * SLACK, format!("{key} to be acknowledged"), async || {
        match client.submit_job_once(job, false, key).await {
            Ok(reply) => Some(reply.into_value().id),
            Err(error) if error.is_transient() => None,
            Err(error) => panic!("{key}: {error}"),
        }
    })
    .await
}

fn times_ended(folder: &Path, name: &str) -> usize {
    let notes = std::fs::read_to_string(folder.join("ended")).unwrap_or_default();
    notes.lines().filter(|line| *line == name).count()
}

#[tokio::test]
async fn when_the_master_goes_in_the_middle_of_jobs_all_that_were_acknowledged_end() {
    let (mut redis, folder) = (Replicas::with_sentinels().await, TempDir::new().unwrap());
    let fleet = fleet(&redis, folder.path()).await;
    let client = fleet.coordinators[0].client().await;
    let submitting = async {
        let mut acknowledged = Vec::new();
        for number in 0..JOBS {
            let name = format!("job{number}");
            let job = shell(&format!("sleep 1; echo {name} >> {}/ended", folder.path().display()));
            acknowledged.push((submit(&client, &job, &name).await, name));
        }
        acknowledged
    };
    let failing = async {
        eventually("a job to end", async || (times_ended(folder.path(), "job0") == 1).then_some(())).await;
        redis.node_mut(0).kill();
        redis.becomes_master(1).await;
        // New work is acknowledged again once there is a replica.
        redis.node_mut(0).restart().await;
        redis.in_step(1).await;
    };
    let (acknowledged, ()) = tokio::join!(submitting, failing);
    assert_eq!(acknowledged.len(), JOBS);
    join_all(acknowledged.iter().map(|(id, _)| completed(&client, id))).await;
    for (id, name) in &acknowledged {
        assert!(times_ended(folder.path(), name) >= 1, "{name}, which is {id}, was never done");
    }
}
