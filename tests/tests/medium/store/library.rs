//! Scripts are functions that Redis keeps, and go by their hash where it keeps none.

use titan_api::{
    agents::Facts,
    ids::JobId,
    jobs::{JobState, Reason, SubmitJob},
    work::{Answer, Claim, Happening, Lease},
};
use titan_lua::{
    PoolSettings,
    agents::{ClaimJobs, ClaimOutcome, SetDraining},
    jobs::{NewJob, Submit},
};
use titan_tests::redis::{RedisServer, patient_store};

use super::world::{Box_, World, facts, held, process};

/// The names of the libraries that Redis keeps.
async fn libraries(world: &World) -> Vec<String> {
    let list: Vec<std::collections::HashMap<String, redis::Value>> =
        redis::cmd("FUNCTION").arg("LIST").query_async(&mut world.redis.connection().await).await.unwrap();
    let name = |library: &std::collections::HashMap<String, redis::Value>| {
        redis::from_redis_value(library["library_name"].clone()).unwrap()
    };
    list.iter().map(name).collect()
}

async fn tell(world: &World, words: &[&str]) {
    let told =
        redis::cmd(words[0]).arg(&words[1..]).query_async::<redis::Value>(&mut world.redis.connection().await).await;
    told.unwrap();
}

async fn end(world: &World, agent: &Box_, lease: &Lease) {
    let completed = Happening::Completed { result: None, message: None, usage: None };
    assert_eq!(world.report(agent, lease, completed).await, Answer::Accepted {});
}

/// A job's whole life. Returns how many scripts ran as functions, and how many by their hash.
async fn a_job_is_done(world: &World, by: &str) -> (u64, u64) {
    let before = world.redis.command_counts().await;
    let agent = world.parked(by, &Facts { max_jobs: 1, ..facts() }).await;
    let (job, _) = world.bound(&process()).await;
    let lease = world.claim(&agent, 1).await.remove(0);
    end(world, &agent, &lease).await;
    assert_eq!(world.state(&job).await, JobState::Completed);
    let ran = world.redis.command_counts().await.since(&before);
    (ran.of("fcall").calls, ran.of("evalsha").calls)
}

#[tokio::test]
async fn every_script_is_a_function_and_the_library_is_brought_again_if_it_is_lost() {
    let world = World::new().await;
    let (functions, by_hash) = a_job_is_done(&world, "a").await;
    assert!(functions > 4 && by_hash == 0, "{functions} as functions, {by_hash} by hash");
    assert_eq!(libraries(&world).await.len(), 1);
    tell(&world, &["FUNCTION", "FLUSH"]).await;
    let (functions, by_hash) = a_job_is_done(&world, "b").await;
    assert!(functions > 4 && by_hash == 0, "{functions} as functions, {by_hash} by hash");
    assert_eq!(libraries(&world).await.len(), 1);
}

#[tokio::test]
async fn many_at_once_bring_the_library_once() {
    let world = World::new().await;
    let (pool, before) = (world.pool(), world.redis.command_counts().await);
    let asking = (0..50).map(|_| titan_lua::pool::ReadStatus.run(&pool));
    for status in futures_util::future::join_all(asking).await {
        status.unwrap();
    }
    let ran = world.redis.command_counts().await.since(&before);
    assert_eq!(ran.of("function|load").calls, 1);
}

#[tokio::test]
async fn where_functions_are_not_allowed_scripts_go_by_their_hash() {
    for denied in ["-fcall", "-function", "-function|load"] {
        let world = World::new().await;
        tell(&world, &["ACL", "SETUSER", "default", denied]).await;
        let (_, by_hash) = a_job_is_done(&world, "a").await;
        assert!(by_hash > 4, "{denied}: {by_hash} scripts by hash");
        // Redis is not asked again and again.
        let (functions, _) = a_job_is_done(&world, "b").await;
        assert_eq!(functions, 0, "{denied}");
    }
}

/// The library takes memory that what frees some must not have to wait for.
#[tokio::test]
async fn a_redis_out_of_memory_that_lost_the_library_still_runs_what_frees_some() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let (job, _) = world.bound(&process()).await;
    let lease = world.claim(&agent, 1).await.remove(0);
    tell(&world, &["FUNCTION", "FLUSH"]).await;
    tell(&world, &["CONFIG", "SET", "maxmemory", "1"]).await;
    end(&world, &agent, &lease).await;
    assert_eq!(world.state(&job).await, JobState::Completed);
}

#[tokio::test]
async fn libraries_of_old_versions_go_once_there_are_several() {
    for (old, stay) in [(3, 3), (4, 0)] {
        let server = RedisServer::start().await;
        let store = patient_store(&server.url(), PoolSettings::default());
        let world = World::on(server, &store);
        for version in 0..old {
            let text = format!(
                "#!lua name=titan_old{version}\nredis.register_function('f{version}', function() return 1 end)"
            );
            tell(&world, &["FUNCTION", "LOAD", &text]).await;
        }
        tell(
            &world,
            &["FUNCTION", "LOAD", "#!lua name=other\nredis.register_function('other', function() return 1 end)"],
        )
        .await;
        a_job_is_done(&world, "a").await;
        let kept = libraries(&world).await;
        assert_eq!(kept.iter().filter(|name| name.starts_with("titan_old")).count(), stay, "{kept:?}");
        assert!(kept.contains(&"other".to_owned()), "somebody else's went: {kept:?}");
    }
}

/// What an agent's record was when Redis held these bytes of it.
async fn bytes_of(world: &World, key: &str) -> Vec<u8> {
    redis::cmd("GET").arg(key).query_async(&mut world.redis.connection().await).await.unwrap()
}

/// As a failover does that loses the last seconds.
#[tokio::test]
async fn an_agent_whose_record_is_another_than_was_written_last_is_read_anew() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let key = "titan:{default}:agent:a";
    let before = bytes_of(&world, key).await;
    SetDraining { agent: &agent.id, draining: true }.run(&world.pool()).await.unwrap();
    assert!(world.beat(&agent, &[]).await.draining);
    let set = redis::cmd("SET").arg(key).arg(before).query_async::<()>(&mut world.redis.connection().await).await;
    set.unwrap();
    assert!(!world.beat(&agent, &[]).await.draining, "what was remembered is not what Redis holds");
}

#[tokio::test]
async fn a_script_that_fails_leaves_nothing_of_an_agent_or_a_job_in_memory() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let (job, _) = world.bound(&process()).await;
    world.beat(&agent, &[]).await;
    tell(&world, &["RENAME", "titan:{default}:scheduled", "aside"]).await;
    tell(&world, &["SET", "titan:{default}:scheduled", "no set"]).await;
    let claim = Claim { claim: agent.next_claim(), free_slots: 4, free_requests: 0 };
    let claim = ClaimJobs { agent: &agent.id, epoch: agent.epoch, claim, measures: None, reachable_ms: 10_000 };
    let failed = claim.run(&world.pool()).await;
    assert!(failed.is_err(), "{failed:?}");
    tell(&world, &["RENAME", "aside", "titan:{default}:scheduled"]).await;
    let ClaimOutcome::Claimed(claimed) = claim.run(&world.pool()).await.unwrap() else { panic!("turned away") };
    let leases: Vec<_> = claimed.leases.iter().map(|lease| (&lease.job_id, lease.attempt)).collect();
    assert_eq!(leases, [(&job, 1)], "what failed is remembered");
}

/// Two jobs of one agent, of which one may fail once and the other twice.
async fn two_jobs(world: &World) -> [JobId; 2] {
    let job = |max_attempts| SubmitJob { max_attempts, backoff_ms: 0, ..process() };
    [world.bound(&job(1)).await.0, world.bound(&job(2)).await.0]
}

#[tokio::test]
async fn a_job_whose_record_is_another_than_was_written_last_is_read_anew() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let [once, twice] = two_jobs(&world).await;
    let key = |job: &JobId| format!("titan:{{default}}:job:{job}");
    let other = bytes_of(&world, &key(&twice)).await;
    let set = redis::cmd("SET").arg(key(&once)).arg(other).query_async::<()>(&mut world.redis.connection().await).await;
    set.unwrap();
    let leases = world.claim(&agent, 2).await;
    let lease = leases.iter().find(|lease| lease.job_id == once).unwrap();
    let failed = Happening::Failed { reason: Reason::ExitCode, exit_code: Some(1), signal: None, message: None };
    world.report(&agent, lease, failed).await;
    assert_ne!(world.state(&once).await, JobState::Failed, "what was remembered is not what Redis holds");
}

/// Jobs that were submitted alike share what is known of them, also with one that no script has read since.
#[tokio::test]
async fn what_a_script_in_doubt_has_bound_says_nothing_of_jobs_submitted_alike() {
    let world = World::new().await;
    let spec = SubmitJob { allow_unserved: true, ..process() };
    let ids = ["one", "two"].map(|id| JobId::new(id).unwrap());
    let jobs = [NewJob::new(&ids[0], &spec), NewJob::new(&ids[1], &spec)];
    Submit { jobs: &jobs, owner: "test", explain: false }.run(&world.pool()).await.unwrap();
    let one_slot = Facts { max_jobs: 1, ..facts() };
    let a = world.register("a", &one_slot).await;
    tell(&world, &["ZADD", "titan:{default}:due", "1", "what can't be settled"]).await;
    let first = world.claim(&a, 1).await.remove(0);
    world.pass_ms(5_000);
    let b = world.register("b", &one_slot).await;
    let second = world.claim(&b, 1).await.remove(0);
    assert_eq!([&first.job_id, &second.job_id], [&ids[0], &ids[1]]);
    for _ in 0..12 {
        world.pass_ms(10_000);
        world.beat(&a, &[held(&first)]).await;
        world.beat(&b, &[held(&second)]).await;
        world.sweep().await;
        assert_eq!(world.state(&ids[1]).await, JobState::Running);
    }
}
