//! A Redis that answers, and refuses: everything says so, nothing is half done, and it works again by itself.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use titan_api::problem::ProblemType;

use crate::{
    agent::{TestAgent, held},
    world::{ADMIN, PATIENCE, REDIS_TIMEOUT, Reply, World, job},
};

/// An agent that has a job, and another job behind it.
struct Working {
    world: World,
    agent: TestAgent,
    lease: Value,
    next: String,
    jobs: Value,
}

impl Working {
    async fn start() -> Self {
        let world = World::with(&[REDIS_TIMEOUT, "2s"]).await;
        let mut agent = TestAgent::register(&world, "box-1").await;
        world.submit(ADMIN).await;
        let lease = agent.claim(&world, 5_000).await.ok(200)["leases"][0].clone();
        let next = world.submit(ADMIN).await;
        let jobs = world.get(ADMIN, "/api/v1/jobs").await.ok(200)["jobs"].clone();
        Self { world, agent, lease, next, jobs }
    }

    async fn beat(&mut self) -> Reply {
        self.agent.heartbeat(&self.world, json!({"leases": [held(&self.lease)]})).await
    }

    async fn complete(&self) -> Reply {
        self.agent.report(&self.world, &self.lease, vec![json!({"type": "completed"})]).await
    }

    /// What writes is refused; `has_no_reads` if nothing else is answered either. The administrator is told why, in these
    /// words.
    async fn is_refused(&mut self, because: &str, has_no_reads: bool) {
        let path = format!("/api/v1/jobs/{}", self.next);
        for (method, path, body) in [
            ("POST", "/api/v1/jobs".to_owned(), Some(job(&["true"]))),
            ("POST", "/api/v1/jobs/batch".to_owned(), Some(json!({"jobs": [job(&["true"]), job(&["true"])]}))),
            ("POST", format!("{path}/cancel"), Some(json!({}))),
            ("POST", "/api/v1/keys".to_owned(), Some(json!({"name": "k", "scopes": ["jobs:read"]}))),
            ("POST", "/api/v1/join-tokens".to_owned(), Some(json!({}))),
        ] {
            self.world.call(method, ADMIN, &path, body).await.problem(ProblemType::StoreUnavailable);
        }
        self.beat().await.problem(ProblemType::StoreUnavailable);
        self.complete().await.problem(ProblemType::StoreUnavailable);
        let read = self.world.get(ADMIN, &path).await;
        if has_no_reads {
            read.problem(ProblemType::StoreUnavailable);
        } else {
            assert_eq!(read.ok(200)["id"], self.next);
        }
        let ready = self.world.get(ADMIN, "/api/v1/ready").await.ok(503);
        assert!(ready.to_string().contains(because), "{ready}");
    }

    /// It works again, and of all that was refused nothing was done.
    async fn works_again(&mut self) {
        let give_up = Instant::now() + PATIENCE;
        while self.world.get("", "/api/v1/ready").await.status != 200 {
            assert!(Instant::now() < give_up, "it is not ready again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(self.world.get(ADMIN, "/api/v1/jobs").await.ok(200)["jobs"], self.jobs);
        assert_eq!(self.world.get(ADMIN, "/api/v1/keys").await.ok(200)["keys"], json!([]));
        self.beat().await.ok(200);
        assert_eq!(self.complete().await.ok(200)["answers"][0]["status"], "accepted");
        assert_eq!(self.agent.claim(&self.world, 5_000).await.ok(200)["leases"][0]["job_id"], json!(self.next));
    }
}

#[tokio::test]
async fn a_redis_that_has_become_a_replica_takes_nothing_and_is_read() {
    let mut working = Working::start().await;
    let nobody = crate::redis_server::free_port().to_string();
    working.world.redis.command(&["REPLICAOF", "127.0.0.1", &nobody]).await;
    working.is_refused("read only replica", false).await;
    working.world.redis.command(&["REPLICAOF", "NO", "ONE"]).await;
    working.works_again().await;
}

#[tokio::test]
async fn a_redis_that_cannot_save_takes_nothing_and_is_read() {
    let mut working = Working::start().await;
    working.world.redis.cannot_save(true).await;
    working.is_refused("MISCONF", false).await;
    working.world.redis.cannot_save(false).await;
    working.works_again().await;
}

#[tokio::test]
async fn a_redis_that_is_busy_with_somebodys_script_answers_nothing() {
    let mut working = Working::start().await;
    working.world.redis.command(&["CONFIG", "SET", "busy-reply-threshold", "10"]).await;
    let url = working.world.redis.url();
    let endless = tokio::spawn(async move {
        let mut connection = redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
        redis::cmd("EVAL").arg("while true do end").arg(0).query_async::<redis::Value>(&mut connection).await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    working.is_refused("BUSY", true).await;
    working.world.redis.command(&["SCRIPT", "KILL"]).await;
    let _ = endless.await;
    working.works_again().await;
}

#[tokio::test]
async fn a_redis_that_loads_its_data_answers_nothing_until_it_has_them() {
    let mut working = Working::start().await;
    working.world.redis.restart_slowly().await;
    working.is_refused("loading", true).await;
    working.works_again().await;
}

#[tokio::test]
async fn with_memory_short_nothing_new_is_taken_and_what_runs_goes_on_and_ends() {
    let mut working = Working::start().await;
    working.world.redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let batch = json!({"jobs": [job(&["true"]), job(&["true"])]});
    working.world.post(ADMIN, "/api/v1/jobs", job(&["true"])).await.problem(ProblemType::StoreFull);
    working.world.post(ADMIN, "/api/v1/jobs/batch", batch).await.problem(ProblemType::StoreFull);
    let key = json!({"name": "k", "scopes": ["jobs:read"]});
    working.world.post(ADMIN, "/api/v1/keys", key).await.problem(ProblemType::StoreFull);
    working.beat().await.ok(200);
    assert_eq!(working.complete().await.ok(200)["answers"][0]["status"], "accepted");
    let id = working.lease["job_id"].as_str().unwrap();
    assert_eq!(working.world.get(ADMIN, &format!("/api/v1/jobs/{id}")).await.ok(200)["state"], "completed");
    working.world.post(ADMIN, &format!("/api/v1/jobs/{}/cancel", working.next), json!({})).await.ok(200);
    working.world.redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    working.world.submit(ADMIN).await;
}
