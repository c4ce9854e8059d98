//! How silence and failures move an agent's state, and what an outage of everybody does not do.

use futures_util::future::join_all;
use titan_api::{
    agents::{
        AgentState::{self, Degraded, HalfOpen, Healthy, Offline},
        Facts, Trouble,
    },
    events::Event,
    jobs::{JobState, Reason, SubmitJob},
    time::Timestamp,
    work::{Answer, Happening, Lease},
};
use titan_lua::{
    events::{ReadEvents, ReadOutcome},
    pool::ReadStatus,
};

use super::world::{Box_, World, facts, held, process};

#[tokio::test]
async fn a_silent_agent_is_degraded_and_then_offline_and_gets_no_work() {
    let world = World::new().await;
    let silent = world.parked("silent", &facts()).await;
    let other = world.register("other", &facts()).await;
    let mut seen = Vec::new();
    for _ in 0..5 {
        world.pass_with_beats_ms(10_000, &[&other]).await;
        seen.push(world.agent(&silent).await.state);
    }
    assert_eq!(seen, [Healthy, Healthy, Degraded, Offline, Offline]);
    world.pending(&process()).await;
    let (agents, ..) = ReadStatus.run(&world.pool()).await.unwrap();
    assert_eq!((agents.healthy, agents.offline), (1, 1));
}

#[tokio::test]
async fn an_agent_that_is_heard_again_is_degraded_until_three_heartbeats_came_in_time() {
    let world = World::new().await;
    let agent = world.register("a", &facts()).await;
    let other = world.register("other", &facts()).await;
    world.pass_with_beats_ms(60_000, &[&other]).await;
    assert_eq!(world.agent(&agent).await.state, AgentState::Offline);
    let mut seen = Vec::new();
    for _ in 0..4 {
        world.beat(&agent, &[]).await;
        seen.push(world.agent(&agent).await.state);
        world.pass_ms(10_000);
        world.beat(&other, &[]).await;
    }
    assert_eq!(seen, [Degraded, Degraded, Degraded, Healthy]);
}

#[tokio::test]
async fn a_degraded_agent_scores_half() {
    let world = World::new().await;
    let late = world.parked("late", &facts()).await;
    let other = world.register("other", &facts()).await;
    let before = world.agent(&late).await.score;
    world.pass_with_beats_ms(30_000, &[&other]).await;
    let agent = world.agent(&late).await;
    assert_eq!(agent.state, AgentState::Degraded);
    assert!((agent.score - before / 2.0).abs() < 1e-3, "{} is not half of {before}", agent.score);
}

#[tokio::test]
async fn an_outage_of_everybody_takes_no_agent_offline_and_loses_no_lease() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let (id, _) = world.bound(&process()).await;
    let lease = world.claim(&agent, 4).await.remove(0);
    world.pass_ms(3_600_000);
    world.sweep().await;
    assert_eq!(world.agent(&agent).await.state, AgentState::Healthy);
    assert_eq!(world.state(&id).await, JobState::Running);
    world.pass_ms(5_000);
    assert!(world.beat(&agent, &[held(&lease)]).await.stop.is_empty());
    world.pass_ms(10_000);
    world.beat(&agent, &[held(&lease)]).await;
    world.sweep().await;
    assert_eq!(world.agent(&agent).await.state, AgentState::Healthy);
    assert_eq!(world.state(&id).await, JobState::Running);
}

#[tokio::test]
async fn an_outage_of_everybody_holds_up_no_job_that_waits_for_its_time() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let ten_seconds = Timestamp::from_ms(world.now_ms.get() + 10_000);
    let (id, _) = world.submit(&SubmitJob { not_before: Some(ten_seconds), ..process() }).await;
    let (held_up, _) = world.bound(&process()).await;
    world.pass_ms(60_000);
    world.beat(&agent, &[]).await;
    world.sweep().await;
    assert_eq!(world.state(&held_up).await, JobState::Scheduled, "its agent may come for it still");
    assert_ne!(world.state(&id).await, JobState::Delayed);
    let leases = world.claim(&agent, 4).await;
    assert_eq!(leases.len(), 2, "{leases:?}");
}

#[tokio::test]
async fn a_dead_agent_in_a_silent_pool_is_offline_after_one_amnesty() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    world.bound(&process()).await;
    let lease = world.claim(&agent, 4).await.remove(0);
    for _ in 0..12 {
        world.pass_ms(10_000);
        world.sweep().await;
    }
    assert_eq!(world.agent(&agent).await.state, AgentState::Offline);
    assert_eq!(world.state(&lease.job_id).await, JobState::Pending);
}

#[tokio::test]
async fn an_agent_that_was_away_for_long_is_forgotten_and_may_come_back() {
    let world = World::new().await;
    let gone = world.parked("gone", &facts()).await;
    let other = world.register("other", &facts()).await;
    world.pass_with_beats_ms(50_000, &[&other]).await;
    world.pass_ms(7 * 24 * 3_600_000);
    world.beat(&other, &[]).await;
    world.pass_with_beats_ms(40_000, &[&other]).await;
    let found = titan_lua::agents::GetAgent { agent: &gone.id }.run(&world.pool()).await.unwrap();
    assert!(found.is_none());
    world.parked("gone", &facts()).await;
}

#[tokio::test]
async fn a_box_that_is_there_for_a_while_only_is_forgotten_within_the_hour() {
    let world = World::new().await;
    let rented = world.parked("rented", &Facts { ephemeral: true, ..facts() }).await;
    let (own, other) = (world.parked("own", &facts()).await, world.register("other", &facts()).await);
    let there = async || {
        let mut there = Vec::new();
        for agent in [&rented, &own] {
            there.push(titan_lua::agents::GetAgent { agent: &agent.id }.run(&world.pool()).await.unwrap().is_some());
        }
        there
    };
    world.pass_with_beats_ms(3_620_000, &[&other]).await;
    assert_eq!(there().await, [true, true]);
    // Its silence was noticed a while after it was heard last.
    world.pass_with_beats_ms(60_000, &[&other]).await;
    assert_eq!(there().await, [false, true]);
    world.parked("rented", &Facts { ephemeral: true, ..facts() }).await;
}

#[tokio::test]
async fn a_clock_that_runs_backwards_is_not_believed() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    world.pass_ms(10_000);
    world.beat(&agent, &[]).await;
    world.pass_ms(-3_600_000);
    world.beat(&agent, &[]).await;
    let seen = world.agent(&agent).await.last_seen_at.as_ms();
    assert_eq!(seen, super::world::START_MS + 10_000);
}

#[tokio::test]
async fn time_goes_on_after_the_clock_stepped_back() {
    let world = World::new().await;
    let gone = world.parked("gone", &facts()).await;
    let other = world.register("other", &facts()).await;
    world.pass_ms(3_600_000);
    world.beat(&other, &[]).await;
    world.pass_ms(-3_600_000);
    world.pass_with_beats_ms(120_000, &[&other]).await;
    assert_eq!(world.agent(&gone).await.state, AgentState::Offline);
}

/// Lets the agent take jobs and go down with each, one after the other. Nobody else takes work.
async fn crash(world: &World, name: &str, run: &str, times: usize) -> Box_ {
    let mut agent = world.register_run(name, &format!("{run}-begins"), &facts(), &[]).await;
    for n in 0..times {
        world.pending(&SubmitJob { max_attempts: 1, ..process() }).await;
        assert_eq!(world.claim(&agent, 1).await.len(), 1);
        agent = world.register_run(name, &format!("{run}-{n}"), &facts(), &[]).await;
    }
    agent
}

/// Fails until it is offline, and comes back on trial after its cool-down.
async fn on_trial(world: &World, other: &Box_) -> Box_ {
    let agent = crash(world, "a", "bad", 5).await;
    assert_eq!(world.agent(&agent).await.state, Offline);
    world.pass_with_beats_ms(10_000, &[&agent, other]).await;
    assert_eq!(world.agent(&agent).await.state, HalfOpen);
    agent
}

/// The breaker's events so far, in short.
async fn edges(world: &World) -> Vec<String> {
    let read = ReadEvents { after: Some(0), prefix: "breaker." }.run(&world.pool()).await.unwrap();
    let ReadOutcome::Events(list) = read else { panic!("{read:?}") };
    let of = |event: &Event| format!("{} {}", event.payload["agent_id"].as_str().unwrap(), event.topic);
    list.events.iter().map(|event| of(event).replace("breaker.", "")).collect()
}

#[tokio::test]
async fn three_failures_in_a_row_degrade_and_five_take_offline_each_with_one_event() {
    let world = World::new().await;
    world.register("other", &facts()).await;
    let mut seen = Vec::new();
    for run in ["one", "two", "three", "four", "five"] {
        let agent = crash(&world, "a", run, 1).await;
        seen.push(world.agent(&agent).await.state);
    }
    assert_eq!(seen, [Healthy, Healthy, Degraded, Degraded, Offline]);
    assert_eq!(edges(&world).await, ["a degraded", "a offline"]);
    let breaker = world.agent(&world.register("a", &facts()).await).await.breaker;
    assert_eq!((breaker.cause, breaker.failures, breaker.epoch), (Some(Trouble::Failures), 5, 2));
    assert_eq!(breaker.cool_down_until.unwrap().as_ms(), super::world::START_MS + 10_000);
}

#[tokio::test]
async fn an_agent_that_failures_took_offline_keeps_what_runs_and_gets_nothing_new() {
    let world = World::new().await;
    world.register("other", &facts()).await;
    let agent = world.register("a", &facts()).await;
    let kept = world.pending(&process()).await;
    let lease = world.claim(&agent, 1).await.remove(0);
    let mut run = agent.clone();
    for n in 0..5 {
        world.pending(&SubmitJob { max_attempts: 1, ..process() }).await;
        world.claim(&run, 1).await;
        run = world.register_run("a", &format!("run-{n}"), &facts(), &[held(&lease)]).await;
    }
    assert_eq!(world.agent(&run).await.state, Offline);
    assert!(world.beat(&run, &[held(&lease)]).await.stop.is_empty());
    world.pending(&process()).await;
    assert_eq!(world.claim(&run, 4).await, []);
    assert_eq!(
        world.report(&run, &lease, Happening::Completed { result: None, message: None, usage: None }).await,
        Answer::Accepted {}
    );
    assert_eq!(world.state(&kept).await, JobState::Completed);
}

#[tokio::test]
async fn half_open_agents_get_one_trial_at_a_time_and_two_that_go_well_heal() {
    let world = World::new().await;
    let other = world.register("other", &facts()).await;
    let agent = on_trial(&world, &other).await;
    assert_eq!(world.claim(&other, 4).await, []);
    assert_eq!(world.claim(&agent, 4).await, []);
    for is_last in [false, true] {
        assert_eq!(world.bound(&SubmitJob { max_attempts: 1, ..process() }).await.1, other.id, "it has one attempt");
        let (trial, to) = world.bound(&process()).await;
        assert_eq!(to, agent.id, "it is not chosen by its score");
        assert_eq!(world.bound(&process()).await.1, other.id, "there is one trial at a time");
        assert_eq!(world.agent(&agent).await.breaker.trial_job_id, Some(trial));
        let lease = world.claim(&agent, 4).await.remove(0);
        world.report(&agent, &lease, Happening::Completed { result: None, message: None, usage: None }).await;
        let state = world.agent(&agent).await.state;
        assert_eq!(state, if is_last { Healthy } else { HalfOpen });
        world.claim(&other, 4).await;
        world.claim(&agent, 4).await;
    }
    assert_eq!(edges(&world).await, ["a degraded", "a offline", "a half_open", "a healthy"]);
}

/// A half-open agent, and the lease of its trial.
async fn with_a_trial(world: &World) -> (Box_, Lease) {
    let other = world.register("other", &facts()).await;
    let agent = on_trial(world, &other).await;
    world.claim(&agent, 4).await;
    world.bound(&process()).await;
    let lease = world.claim(&agent, 4).await.remove(0);
    (agent, lease)
}

fn failed() -> Happening {
    Happening::Failed { reason: Reason::ExitCode, exit_code: Some(1), signal: None, message: None }
}

#[tokio::test]
async fn a_trial_that_fails_takes_offline_for_twice_as_long() {
    let world = World::new().await;
    let (agent, lease) = with_a_trial(&world).await;
    world.report(&agent, &lease, failed()).await;
    let seen = world.agent(&agent).await;
    assert_eq!(seen.state, Offline);
    assert_eq!(seen.breaker.cool_down_until.unwrap().as_ms(), super::world::START_MS + 30_000);
}

#[tokio::test]
async fn an_agent_that_nobody_tries_is_probed_after_a_minute() {
    let world = World::new().await;
    let other = world.register("other", &facts()).await;
    let agent = on_trial(&world, &other).await;
    for _ in 0..2 {
        assert_eq!(world.claim(&agent, 4).await, []);
        world.pass_with_beats_ms(60_000, &[&agent, &other]).await;
        let lease = world.claim(&agent, 4).await.remove(0);
        assert_eq!(lease.process.command, ["true"]);
        let probe = world.job(&lease.job_id).await;
        assert_eq!((probe.submitted_by.as_str(), probe.max_attempts), ("titan", 1));
        world.report(&agent, &lease, Happening::Completed { result: None, message: None, usage: None }).await;
    }
    assert_eq!(world.agent(&agent).await.state, Healthy);
}

#[tokio::test]
async fn at_most_half_of_a_pool_is_taken_offline_by_failures_and_the_rest_is_told_of() {
    let world = World::new().await;
    let mut states = Vec::new();
    for name in ["a", "b", "c", "d"] {
        world.register(name, &facts()).await;
    }
    for name in ["a", "b", "c"] {
        let agent = crash(&world, name, "bad", 5).await;
        states.push(world.agent(&agent).await.state);
    }
    assert_eq!(states, [Offline, Offline, Degraded]);
    let (agents, ..) = ReadStatus.run(&world.pool()).await.unwrap();
    assert_eq!((agents.offline, agents.guarded), (2, 1));
    assert_eq!(edges(&world).await.last().unwrap(), "c guarded");
}

#[tokio::test]
async fn of_sixty_four_reports_that_a_trial_failed_one_moves_the_breaker() {
    let world = World::new().await;
    let (agent, lease) = with_a_trial(&world).await;
    let reports = (0..64).map(|_| world.report_held(&agent, held(&lease), failed()));
    join_all(reports).await;
    assert_eq!(edges(&world).await, ["a degraded", "a offline", "a half_open", "a offline"]);
    assert_eq!(world.agent(&agent).await.breaker.epoch, 4);
}
