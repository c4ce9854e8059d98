//! The registry: joining, registering, superseding, draining, removing.

use std::collections::BTreeSet;

use titan_api::{
    agents::{AgentState, Facts, Measures},
    ids::{JobId, LeaseId},
    jobs::{JobState, Reason},
    scheduler::{Profile, Strategy},
    work::{Happening, HeldLease},
};
use titan_lua::{
    agents::{
        ClaimOutcome, DrainOutcome, Heartbeat, HeartbeatOutcome, JoinAgent, JoinOutcome, ListAgents, RegisterAgent,
        RegisterOutcome, RemoveAgent, RemoveOutcome, SetDraining, TurnedAway,
    },
    pool::{GetScheduler, PoolSettings, ReadStatus, SetScheduler},
};
use titan_tests::audit::findings;

use super::world::{Box_, World, agent_id, facts, held, process, with_gpus};

#[tokio::test]
async fn an_id_belongs_to_the_key_that_joined_first() {
    let world = World::new().await;
    let id = agent_id("a");
    let join = async |key: &str| JoinAgent { agent: &id, public_key: key }.run(&world.pool()).await.unwrap();
    assert_eq!(join("key-1").await, JoinOutcome::Joined);
    assert_eq!(join("key-1").await, JoinOutcome::Joined);
    assert_eq!(join("key-2").await, JoinOutcome::Taken);
    let facts = facts();
    let thief = RegisterAgent { agent: &id, public_key: "key-2", instance_id: "x", facts: &facts, running: &[] };
    assert_eq!(thief.run(&world.pool()).await.unwrap(), RegisterOutcome::Taken);
}

#[tokio::test]
async fn registering_again_with_the_same_run_changes_nothing() {
    let world = World::new().await;
    let first = world.parked("a", &facts()).await;
    let again = world.register("a", &facts()).await;
    assert_eq!(first.epoch, again.epoch);
    world.bound(&process()).await;
}

#[tokio::test]
async fn a_newer_run_supersedes_the_older_one() {
    let world = World::new().await;
    let old = world.parked("a", &facts()).await;
    let new = world.register_run("a", "second", &facts(), &[]).await;
    assert!(new.epoch > old.epoch);
    let beat = world.beat_with(&old, 0, &[], &Measures::default()).await;
    assert_eq!(beat, HeartbeatOutcome::TurnedAway(TurnedAway::Superseded));
    assert_eq!(world.claim_as(&old, 9, 1).await, ClaimOutcome::TurnedAway(TurnedAway::Superseded));
    world.beat(&new, &[]).await;
}

#[tokio::test]
async fn a_run_that_was_superseded_stays_so_whenever_its_call_arrives() {
    let world = World::new().await;
    world.register("a", &facts()).await;
    let new = world.register_run("a", "second", &facts(), &[]).await;
    let (id, facts) = (agent_id("a"), facts());
    let late = RegisterAgent { agent: &id, public_key: "a", instance_id: "first", facts: &facts, running: &[] };
    assert_eq!(late.run(&world.pool()).await.unwrap(), RegisterOutcome::Superseded);
    world.beat(&new, &[]).await;
}

#[tokio::test]
async fn a_key_that_looks_like_a_mark_of_removal_is_a_key_like_any_other() {
    let world = World::new().await;
    let (id, facts) = (agent_id("a"), facts());
    let register = RegisterAgent { agent: &id, public_key: "-key", instance_id: "1", facts: &facts, running: &[] };
    assert!(matches!(register.run(&world.pool()).await.unwrap(), RegisterOutcome::Registered { .. }));
    let join = JoinAgent { agent: &id, public_key: "-key" }.run(&world.pool()).await.unwrap();
    assert_eq!(join, JoinOutcome::Joined);
}

#[tokio::test]
async fn a_removed_agent_does_not_join_again_with_the_same_key() {
    let world = World::new().await;
    let agent = world.register("a", &facts()).await;
    RemoveAgent { agent: &agent.id }.run(&world.pool()).await.unwrap();
    let join = async |key: &str| JoinAgent { agent: &agent.id, public_key: key }.run(&world.pool()).await.unwrap();
    assert_eq!(join("a").await, JoinOutcome::Removed);
    assert_eq!(join("another").await, JoinOutcome::Joined);
}

#[tokio::test]
async fn a_restarted_agent_gives_up_what_it_has_not_taken_over() {
    let world = World::new().await;
    let old = world.parked("a", &facts()).await;
    let (kept, _) = world.bound(&process()).await;
    let (gone, _) = world.bound(&process()).await;
    let leases = world.claim(&old, 4).await;
    let taken_over: Vec<_> = leases.iter().filter(|l| l.job_id == kept).map(held).collect();
    let new = world.register_run("a", "second", &facts(), &taken_over).await;
    assert_eq!(world.state(&kept).await, JobState::Running);
    assert_eq!(world.state(&gone).await, JobState::Pending);
    world.pass_ms(10_000);
    assert!(world.beat(&new, &taken_over).await.stop.is_empty());
    assert_eq!(world.claim(&new, 4).await[0].job_id, gone);
}

#[tokio::test]
async fn an_agent_that_redis_has_forgotten_registers_again_and_carries_on() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let _: () = redis::cmd("FLUSHALL").query_async(&mut world.redis.connection().await).await.unwrap();
    let beat = world.beat_with(&agent, 0, &[], &Measures::default()).await;
    assert_eq!(beat, HeartbeatOutcome::TurnedAway(TurnedAway::Unknown));
    world.pass_ms(1);
    let again = world.register("a", &facts()).await;
    assert!(again.epoch > agent.epoch, "an old token must not pass for the new incarnation");
    assert_eq!(world.claim(&again, 4).await, Vec::new());
    world.bound(&process()).await;
}

#[tokio::test]
async fn an_emptied_redis_knows_that_it_has_lost_what_an_agent_runs() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    world.bound(&process()).await;
    world.bound(&process()).await;
    let running: Vec<_> = world.claim(&agent, 4).await.iter().map(held).collect();
    let _: () = redis::cmd("FLUSHALL").query_async(&mut world.redis.connection().await).await.unwrap();
    world.pass_ms(1);
    assert_eq!(world.register_and_count_lost("a", "first", &facts(), &running).await.1, 2);
    let again = world.register_and_count_lost("a", "first", &facts(), &running).await.1;
    assert_eq!(again, 0, "the same call again is no other loss");
    assert_eq!(
        world.register_and_count_lost("b", "first", &facts(), &[]).await.1,
        0,
        "an agent without work lost none"
    );
}

#[tokio::test]
async fn a_redis_that_went_back_in_time_knows_which_attempts_it_has_lost() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    world.bound(&process()).await;
    let known = held(&world.claim(&agent, 4).await[0]);
    // As after a failover that lost the attempts that these are.
    let later = HeldLease { attempt: 2, ..known.clone() };
    let other = HeldLease { lease_id: LeaseId::new("of-the-lost-one").unwrap(), ..known.clone() };
    let forgotten = HeldLease { job_id: JobId::new("ended-long-ago").unwrap(), ..known.clone() };
    assert_eq!(world.register_and_count_lost("a", "2", &facts(), &[later]).await.1, 1);
    assert_eq!(world.register_and_count_lost("a", "3", &facts(), &[other]).await.1, 1);
    assert_eq!(world.register_and_count_lost("a", "4", &facts(), &[forgotten]).await.1, 0);
}

#[tokio::test]
async fn a_heartbeat_with_attempts_that_redis_has_lost_is_told_once_and_what_may_have_ended_is_no_loss() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let (_, known) = (world.bound(&process()).await, held(&world.claim(&agent, 4).await[0]));
    let heard = async |leases: &[&HeldLease]| {
        let leases: Vec<_> = leases.iter().map(|lease| (*lease).clone()).collect();
        world.beat(&agent, &leases).await
    };
    let made_at = |ms: i64| {
        let digits = format!("{ms:012x}");
        let id = format!("{}-{}-7000-8000-000000000001", &digits[..8], &digits[8..]);
        HeldLease { job_id: JobId::new(id).unwrap(), ..known.clone() }
    };
    assert_eq!(heard(&[&known]).await.lost, 0);
    let before = made_at(world.now_ms.get() - 60_000);
    // As after a failover that lost the job and its attempt.
    world.pass_ms(5_000);
    let gone = made_at(world.now_ms.get());
    world.pass_ms(5_000);
    let told = heard(&[&known, &before, &gone]).await;
    assert_eq!((told.lost, told.stop), (1, vec![before.clone(), gone.clone()]));
    // Or the attempt alone.
    let later = HeldLease { attempt: 2, ..known.clone() };
    assert_eq!(heard(&[&gone, &later]).await.lost, 0, "it goes on for as long as its processes take");
    world.pass_with_beats_ms(60_000, &[&agent]).await;
    assert_eq!(heard(&[&before, &later]).await.lost, 1);
    let read = titan_lua::events::ReadEvents { after: Some(0), prefix: "agent.attempts_lost" };
    let titan_lua::events::ReadOutcome::Events(list) = read.run(&world.pool()).await.unwrap() else { panic!("lost") };
    assert_eq!(list.events.len(), 2);
    assert_eq!(list.events[0].payload, serde_json::json!({"agent_id": "a", "attempts": 1}));
}

#[tokio::test]
async fn a_lease_that_went_elsewhere_while_its_agent_was_away_is_no_loss() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let (id, _) = world.bound(&process()).await;
    let lease = held(&world.claim(&agent, 4).await[0]);
    let lost = async |run: &str| world.register_and_count_lost("a", run, &facts(), std::slice::from_ref(&lease)).await;
    assert_eq!(lost("taken over").await.1, 0, "it is current");
    let other = world.register("b", &facts()).await;
    while world.state(&id).await == JobState::Running {
        world.pass_with_beats_ms(10_000, &[&other]).await;
    }
    assert_eq!(lost("while it waits").await.1, 0);
    let second = world.claim(&other, 4).await.remove(0);
    assert_eq!(lost("while another runs it").await.1, 0);
    let completed = Happening::Completed { result: None, message: None, usage: None };
    world.report(&other, &second, completed).await;
    assert_eq!(lost("when it has ended").await.1, 0);
}

#[tokio::test]
async fn a_heartbeat_that_comes_late_changes_nothing() {
    let world = World::new().await;
    let agent = world.register("a", &with_gpus(&[8_192])).await;
    let beat = async |seq: u64, free: u64| {
        let measures = super::world::free(&[(0, free, Some(0))]);
        let call = Heartbeat {
            agent: &agent.id,
            epoch: agent.epoch,
            seq,
            last_claim: 0,
            measures: &measures,
            leases: &[],
            models: None,
            leaving: false,
        };
        call.run(&world.pool()).await.unwrap()
    };
    beat(5, 4_096).await;
    assert_eq!(world.agent(&agent).await.gpus[0].vram_free_mb, 4_096);
    beat(4, 8_192).await;
    assert_eq!(world.agent(&agent).await.gpus[0].vram_free_mb, 4_096);
}

#[tokio::test]
async fn a_draining_agent_finishes_what_runs_and_gets_nothing_new() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    world.bound(&process()).await;
    let running = world.claim(&agent, 4).await.remove(0);
    world.claim(&agent, 4).await;
    let (bound, _) = world.bound(&process()).await;
    let drain = async |draining| SetDraining { agent: &agent.id, draining }.run(&world.pool()).await.unwrap();
    assert_eq!(drain(true).await, DrainOutcome::Done);
    assert_eq!(world.state(&bound).await, JobState::Pending);
    assert_eq!(world.claim(&agent, 4).await, Vec::new());
    assert!(world.beat(&agent, &[held(&running)]).await.draining);
    assert_eq!(world.state(&running.job_id).await, JobState::Running);
    assert_eq!(drain(false).await, DrainOutcome::Done);
    assert_eq!(world.claim(&agent, 4).await[0].job_id, bound);
    let nobody = agent_id("nobody");
    let unknown = SetDraining { agent: &nobody, draining: true }.run(&world.pool()).await.unwrap();
    assert_eq!(unknown, DrainOutcome::NotFound);
}

#[tokio::test]
async fn an_agent_that_stops_is_told_from_one_that_was_drained() {
    let world = World::new().await;
    let agent = world.register("a", &facts()).await;
    SetDraining { agent: &agent.id, draining: true }.run(&world.pool()).await.unwrap();
    let seen = world.agent(&agent).await;
    assert_eq!((seen.draining, seen.leaving), (true, false));
    SetDraining { agent: &agent.id, draining: false }.run(&world.pool()).await.unwrap();
    let farewell = Heartbeat {
        agent: &agent.id,
        epoch: agent.epoch,
        seq: agent.next_beat(),
        last_claim: 0,
        measures: &Measures::default(),
        leases: &[],
        models: None,
        leaving: true,
    };
    farewell.run(&world.pool()).await.unwrap();
    let seen = world.agent(&agent).await;
    assert_eq!((seen.draining, seen.leaving), (true, true), "it takes no new work either way");
}

#[tokio::test]
async fn a_removed_agent_is_out_for_good_and_its_jobs_go_elsewhere() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    world.bound(&process()).await;
    let running = world.claim(&agent, 4).await.remove(0);
    world.claim(&agent, 4).await;
    let (bound, _) = world.bound(&process()).await;
    let other = world.register("b", &facts()).await;
    let remove = async || RemoveAgent { agent: &agent.id }.run(&world.pool()).await.unwrap();
    assert_eq!(remove().await, RemoveOutcome::Removed);
    assert_eq!(remove().await, RemoveOutcome::Removed);
    assert_eq!(world.claim(&other, 4).await[0].job_id, bound);
    let beat = world.beat_with(&agent, 0, &[], &Measures::default()).await;
    assert_eq!(beat, HeartbeatOutcome::TurnedAway(TurnedAway::Removed));
    let facts = facts();
    let back = RegisterAgent { agent: &agent.id, public_key: "a", instance_id: "n", facts: &facts, running: &[] };
    assert_eq!(back.run(&world.pool()).await.unwrap(), RegisterOutcome::Removed);
    world.pass_with_beats_ms(80_000, &[&other]).await;
    assert!(world.claim(&other, 4).await.iter().any(|l| l.job_id == running.job_id));
    let nobody = agent_id("nobody");
    assert_eq!(RemoveAgent { agent: &nobody }.run(&world.pool()).await.unwrap(), RemoveOutcome::NotFound);
}

#[tokio::test]
async fn agents_are_listed_by_id_page_by_page() {
    let world = World::new().await;
    for name in ["c", "a", "b"] {
        world.register(name, &with_gpus(&[4_096])).await;
    }
    let first = ListAgents { after: None, limit: 2 }.run(&world.pool()).await.unwrap();
    let rest = ListAgents { after: Some(&first[1].id), limit: 2 }.run(&world.pool()).await.unwrap();
    let ids: Vec<_> = first.iter().chain(&rest).map(|a| a.id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert_eq!(first[0].gpus[0].vram_mb, 4_096);
    assert_eq!(first[0].state, AgentState::Healthy);
}

#[tokio::test]
async fn status_counts_agents_and_jobs_by_state() {
    let world = World::new().await;
    let agent = world.register("a", &facts()).await;
    world.register("b", &facts()).await;
    SetDraining { agent: &agent_id("b"), draining: true }.run(&world.pool()).await.unwrap();
    for _ in 0..7 {
        world.pending(&process()).await;
    }
    let leases = world.claim(&agent, 2).await;
    world
        .report(&agent, &leases[0], titan_api::work::Happening::Completed { result: None, message: None, usage: None })
        .await;
    world.claim(&agent, 1).await;
    let (agents, jobs, _) = ReadStatus.run(&world.pool()).await.unwrap();
    assert_eq!((agents.total, agents.healthy, agents.draining), (2, 2, 1));
    assert_eq!((jobs.pending, jobs.running, jobs.ended), (4, 2, 1));
}

#[tokio::test]
async fn new_weights_raise_the_version_and_the_same_again_do_not() {
    let world = World::new().await;
    let read = GetScheduler.run(&world.pool()).await.unwrap();
    assert_eq!((read.profile, read.version), (Profile::Balanced, 1));
    let weights = Profile::Latency.weights().unwrap();
    let set = SetScheduler { profile: Profile::Latency, weights, strategy: Strategy::Score };
    for _ in 0..2 {
        let now = set.run(&world.pool()).await.unwrap();
        assert_eq!((now.profile, now.version, now.weights.rtt), (Profile::Latency, 2, 0.4));
    }
}

/// An agent with a hundred jobs, 64 of them running, and these jobs.
async fn with_a_hundred_jobs(world: &World) -> (Box_, Vec<JobId>) {
    let agent = world.parked("a", &Facts { max_jobs: 100, ..facts() }).await;
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.push(world.bound(&process()).await.0);
    }
    let leases = world.claim(&agent, 100).await.len() + world.claim(&agent, 100).await.len();
    assert_eq!(leases, 64);
    world.pass_ms(1_000);
    (agent, ids)
}

async fn in_state(world: &World, ids: &[JobId], state: JobState) -> usize {
    let mut count = 0;
    for id in ids {
        count += usize::from(world.state(id).await == state);
    }
    count
}

#[tokio::test]
async fn what_an_agent_that_restarts_has_of_the_run_before_is_settled_in_pieces() {
    let world = World::new().await;
    let (_, ids) = with_a_hundred_jobs(&world).await;
    let again = world.register_run("a", "second", &facts(), &[]).await;
    let left = in_state(&world, &ids, JobState::Running).await + in_state(&world, &ids, JobState::Scheduled).await;
    assert!((70..100).contains(&left), "{left}");
    world.sweep().await;
    assert_eq!(in_state(&world, &ids, JobState::Pending).await, 100);
    let mut restarts = 0;
    for id in &ids {
        let failures = world.job(id).await.failures;
        restarts += failures.iter().filter(|failure| failure.reason == Reason::AgentRestarted).count();
    }
    assert_eq!(restarts, 64);
    assert_eq!(world.agent(&again).await.state, AgentState::Healthy);
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn a_claim_that_is_repeated_brings_nothing_that_one_of_that_number_had_brought_to_the_run_before() {
    let world = World::new().await;
    with_a_hundred_jobs(&world).await;
    let again = world.register_run("a", "second", &Facts { max_jobs: 100, ..facts() }, &[]).await;
    let claim = async |number| {
        let ClaimOutcome::Claimed(claimed) = world.claim_as(&again, number, 4).await else { panic!("turned away") };
        claimed.leases.into_iter().map(|lease| lease.lease_id).collect::<BTreeSet<_>>()
    };
    for number in [2, 3] {
        let first = claim(number).await;
        assert_eq!(first.len(), 4);
        assert_eq!(claim(number).await, first);
    }
}

#[tokio::test]
async fn what_an_agent_does_not_list_is_taken_back_in_pieces() {
    let world = World::new().await;
    let (agent, ids) = with_a_hundred_jobs(&world).await;
    world.beat(&agent, &[]).await;
    assert_eq!(in_state(&world, &ids, JobState::Running).await, 32);
    world.beat(&agent, &[]).await;
    assert_eq!(in_state(&world, &ids, JobState::Running).await, 0);
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn what_is_yet_to_be_taken_back_is_not_lost_meanwhile() {
    let brief = PoolSettings { lease_ttl_ms: 10_000, kill_grace_ms: 1_000, ..PoolSettings::default() };
    let world = World::with(brief).await;
    let (agent, ids) = with_a_hundred_jobs(&world).await;
    for running in [32, 0] {
        world.pass_ms(8_000);
        world.sweep().await;
        world.beat(&agent, &[]).await;
        assert_eq!(in_state(&world, &ids, JobState::Running).await, running);
    }
    for id in &ids {
        assert_eq!(world.job(id).await.failures, []);
    }
}
