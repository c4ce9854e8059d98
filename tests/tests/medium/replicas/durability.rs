//! `DURABILITY=replicated`: what is acknowledged is on a replica, and what is on none is not acknowledged.

use std::time::Instant;

use titan_api::{
    credentials::{ApiKey, KeyLimits},
    health::Verdict,
    ids::{CredentialId, JobId, PoolName},
    jobs::{JobState, SubmitJob},
    time::Timestamp,
    work::{Answer, Claim, Happening, Report},
};
use titan_lua::{
    Durability, Pool, StoreError,
    agents::{NextClaim, ReportBatch},
    credentials::{
        api_keys::{self, StoredKey},
        join_tokens::{self, StoredJoinToken},
    },
    jobs::{CancelJob, CancelOutcome, Idempotency, NewJob, RetryJob, Submit, SubmitOutcome},
};
use titan_tests::{cluster::Cluster, redis::RedisServer, replicas::Replicas, wait::eventually};

use super::{PATIENCE, replicated, with};
use crate::store::world::{START_MS, World, facts, held, join_token, process};

/// A job that waits for an agent to come.
fn waiting() -> SubmitJob {
    SubmitJob { allow_unserved: true, ..process() }
}

async fn submit(pool: &Pool, id: &str, key: &str) -> Result<JobId, StoreError> {
    let (spec, idempotency) = (waiting(), Idempotency { key: key.to_owned(), body: "body".to_owned() });
    let new =
        NewJob { id: JobId::new(id).unwrap(), spec: &spec, idempotency: Some(idempotency), terms: None, trace: None };
    match (Submit { jobs: &[new], owner: "admin", explain: false }).run(pool).await? {
        SubmitOutcome::Submitted { mut jobs, .. } => Ok(jobs.remove(0).id),
        other => panic!("{other:?}"),
    }
}

fn not_replicated<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> Vec<JobId> {
    match outcome {
        Err(StoreError::NotReplicated { jobs }) => jobs,
        other => panic!("it was told as {other:?}"),
    }
}

async fn has_job(server: &RedisServer, id: &str) -> bool {
    server.snapshot().await.0.keys().any(|key| key.ends_with(&format!(":spec:{id}")))
}

fn job(id: &str) -> JobId {
    JobId::new(id).unwrap()
}

#[tokio::test]
async fn a_job_is_on_the_replica_when_it_is_acknowledged() {
    let redis = Replicas::start().await;
    let pool = replicated(&redis.node(0).url()).pool(&PoolName::default());
    for n in 0..20 {
        let id = submit(&pool, &format!("job-{n}"), &format!("key{n}")).await.unwrap();
        assert!(has_job(redis.node(1), id.as_str()).await, "{id}");
    }
}

#[tokio::test]
async fn a_job_that_no_replica_has_is_told_with_its_id_and_a_repeat_waits_again() {
    let mut redis = Replicas::start().await;
    let url = redis.node(0).url();
    let pool = replicated(&url).pool(&PoolName::default());
    submit(&pool, "before", "before").await.unwrap();
    redis.node_mut(1).pause();

    let began = Instant::now();
    assert_eq!(not_replicated(submit(&pool, "first", "key").await), [job("first")]);
    assert!(began.elapsed() < PATIENCE * 2, "it took {:?}", began.elapsed());
    assert!(has_job(redis.node(0), "first").await);
    // Nothing is written for the second, nor by a coordinator that has sent nothing before.
    let other = replicated(&url).pool(&PoolName::default());
    assert_eq!(not_replicated(submit(&other, "second", "key").await), [job("first")]);
    // A refusal waits for nothing.
    let other_body = Idempotency { key: "key".to_owned(), body: "other".to_owned() };
    let spec = waiting();
    let reuse = NewJob { id: job("third"), spec: &spec, idempotency: Some(other_body), terms: None, trace: None };
    let refused = Submit { jobs: &[reuse], owner: "admin", explain: false }.run(&other).await.unwrap();
    assert_eq!(refused, SubmitOutcome::Reused);

    redis.node_mut(1).resume();
    redis.in_step(0).await;
    assert_eq!(submit(&pool, "fourth", "key").await.unwrap(), job("first"));
    assert!(has_job(redis.node(1), "first").await && !has_job(redis.node(1), "second").await);
}

#[tokio::test]
async fn all_jobs_of_a_batch_are_accepted_though_no_replica_has_them() {
    let mut redis = Replicas::start().await;
    let pool = replicated(&redis.node(0).url()).pool(&PoolName::default());
    submit(&pool, "before", "before").await.unwrap();
    redis.node_mut(1).pause();
    let (spec, ids) = (waiting(), (0..80).map(|n| job(&format!("job-{n}"))).collect::<Vec<_>>());
    let jobs: Vec<_> = ids.iter().map(|id| NewJob::new(id, &spec)).collect();
    let began = Instant::now();
    assert_eq!(not_replicated(Submit { jobs: &jobs, owner: "admin", explain: false }.run(&pool).await), ids);
    assert!(began.elapsed() < PATIENCE * 2, "only the first chunk waits: {:?}", began.elapsed());
}

#[tokio::test]
async fn without_it_nothing_waits_for_replicas() {
    let mut redis = Replicas::start().await;
    redis.node_mut(1).pause();
    let pool = with(&redis.node(0).url(), Durability::Local).pool(&PoolName::default());
    assert_eq!(submit(&pool, "job", "key").await.unwrap(), job("job"));
}

#[tokio::test]
async fn an_end_that_no_replica_has_is_not_acknowledged_and_neither_are_cancelling_and_retrying() {
    let redis = Replicas::start().await;
    let store = replicated(&redis.node(0).url());
    let mut world = World::on(redis, &store);
    let agent = world.parked("box", &facts()).await;
    let (ended, _) = world.bound(&process()).await;
    let lease = world.claim(&agent, 1).await.remove(0);
    let (cancelled, _) = world.submit(&waiting()).await;
    let (waits, _) = world.submit(&process()).await;
    world.redis.node_mut(1).pause();

    // Only the end waits: output and starts may be lost, since the job then runs anew.
    assert_eq!(world.report(&agent, &lease, Happening::Started {}).await, Answer::Accepted {});
    let reports = [Report::new(held(&lease), Happening::Completed { result: None, message: None, usage: None })];
    let end = ReportBatch { agent: &agent.id, epoch: agent.epoch, reports: &reports };
    let cancel = CancelJob { job: &cancelled };
    let claim = Claim { claim: agent.next_claim(), free_slots: 4, free_requests: 0 };
    let next = NextClaim { claim, reachable_ms: 1_000 };
    for _ in 0..2 {
        not_replicated(end.run(&world.pool()).await);
        not_replicated(end.run_and_claim(&world.pool(), next).await);
        assert_eq!(world.state(&waits).await, JobState::Pending, "what nobody is told of is not handed out");
        not_replicated(cancel.run(&world.pool()).await);
    }
    not_replicated(RetryJob { job: &cancelled }.run(&world.pool()).await);

    world.redis.node_mut(1).resume();
    world.redis.in_step(0).await;
    assert_eq!(
        world.report(&agent, &lease, Happening::Completed { result: None, message: None, usage: None }).await,
        Answer::Accepted {}
    );
    assert!(matches!(cancel.run(&world.pool()).await, Ok(CancelOutcome::Done { .. })));
    assert_eq!(world.state(&ended).await, JobState::Completed);
}

#[tokio::test]
async fn credentials_that_no_replica_has_are_not_acknowledged_and_neither_is_revoking_them() {
    let mut redis = Replicas::start().await;
    let store = replicated(&redis.node(0).url());
    let (pool, id) = (PoolName::default(), |name: &str| CredentialId::new(name).unwrap());
    api_keys::create(&store, &stored_key("kept")).await.unwrap();
    redis.node_mut(1).pause();
    not_replicated(api_keys::create(&store, &stored_key("new")).await);
    not_replicated(join_tokens::create(&store, &stored_token("new")).await);
    for _ in 0..2 {
        not_replicated(api_keys::delete(&store, &pool, &id("kept")).await);
    }
    redis.node_mut(1).resume();
    redis.in_step(0).await;
    assert!(api_keys::delete(&store, &pool, &id("kept")).await.unwrap());
    let names = redis.node(1).snapshot().await;
    assert!(!names.0.keys().any(|key| key.ends_with(":kept")), "the revoked key is on the replica");
}

fn stored_key(name: &str) -> StoredKey {
    let record = ApiKey {
        id: CredentialId::new(name).unwrap(),
        name: name.to_owned(),
        pool: PoolName::default(),
        scopes: Vec::new(),
        created_at: Timestamp::from_ms(START_MS),
        expires_at: None,
        limits: KeyLimits::default(),
    };
    StoredKey { record, secret_sha256: "hash".to_owned() }
}

fn stored_token(name: &str) -> StoredJoinToken {
    // Far ahead of the clock of Redis, by which it is forgotten.
    join_token(name, 1, START_MS, START_MS)
}

#[tokio::test]
async fn on_a_cluster_the_replicas_of_the_master_that_ran_the_script_are_asked() {
    let mut cluster = Cluster::start().await;
    let slot = cluster.slot_of("titan:{default}").await;
    let (from, to) = (cluster.owner_of(slot).await, (cluster.owner_of(slot).await + 1) % 3);
    let pool = replicated(&cluster.url()).pool(&PoolName::default());
    assert_eq!(not_replicated(submit(&pool, "lonely", "lonely").await), [job("lonely")]);
    cluster.add_replica(from).await;
    assert_eq!(submit(&pool, "again", "lonely").await.unwrap(), job("lonely"));
    for n in 0..20 {
        submit(&pool, &format!("job-{n}"), &format!("key{n}")).await.unwrap();
    }
    // The same pool on a master without replicas.
    cluster.begin_move(slot, to).await.finish().await;
    assert_eq!(not_replicated(submit(&pool, "moved", "moved").await), [job("moved")]);
}

#[tokio::test]
async fn readiness_tells_of_replicas_and_of_how_few_are_too_few() {
    let mut redis = Replicas::start().await;
    let url = redis.node(0).url();
    let check = async |durability| {
        let checks = with(&url, durability).checks().await;
        checks.into_iter().find(|check| check.name == "replicas").unwrap()
    };
    let fine = check(Durability::Replicated).await;
    assert_eq!(fine.verdict, Verdict::Ok, "{}", fine.detail);
    assert!(fine.detail.contains("1 replica is connected; min-replicas-to-write is 1"), "{}", fine.detail);
    assert!(check(Durability::Local).await.detail.contains("DURABILITY is local"));
    redis.node_mut(1).kill();
    let alone = eventually("the master to miss its replica", async || {
        Some(check(Durability::Replicated).await).filter(|check| check.verdict == Verdict::Warning)
    });
    assert!(alone.await.detail.contains("no new work is acknowledged"));
}
