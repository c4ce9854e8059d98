//! How silence moves an agent's state, and what an outage of everybody does not do.

use titan_api::{
    agents::AgentState::{self, Degraded, Healthy, Offline},
    jobs::JobState,
};
use titan_lua::pool::ReadStatus;

use super::world::{World, facts, held, process};

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
    assert_eq!(world.sweep().await, 0, "nothing is settled during the amnesty");
    world.pass_ms(5_000);
    assert!(world.beat(&agent, &[held(&lease)]).await.stop.is_empty());
    world.pass_ms(10_000);
    world.beat(&agent, &[held(&lease)]).await;
    world.sweep().await;
    assert_eq!(world.agent(&agent).await.state, AgentState::Healthy);
    assert_eq!(world.state(&id).await, JobState::Running);
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
