//! The clock of Redis jumps: nobody is blamed for it, nothing is lost, and who is dead is found out all the same.

use titan_api::{agents::AgentState, jobs::JobState, work::Happening};

use super::world::{Box_, World, facts, held, process};

const HOUR_MS: i64 = 3_600_000;
const INTERVAL_MS: i64 = 10_000;
const TIMEOUT_MS: i64 = 30_000;

/// Agents that live, one that is dead, and a job on each.
struct Fleet {
    world: World,
    living: Vec<Box_>,
    leases: Vec<titan_api::work::Lease>,
    dead: Box_,
    /// What the dead one ran.
    lost: titan_api::ids::JobId,
}

async fn fleet() -> Fleet {
    let world = World::new().await;
    let (mut living, mut leases) = (Vec::new(), Vec::new());
    for name in ["a", "b"] {
        let agent = world.parked(name, &facts()).await;
        world.bound(&process()).await;
        leases.push(world.claim(&agent, 1).await.remove(0));
        living.push(agent);
    }
    let dead = world.parked("dead", &facts()).await;
    let (lost, on) = world.bound(&process()).await;
    assert_eq!(on, dead.id);
    world.claim(&dead, 1).await;
    Fleet { world, living, leases, dead, lost }
}

impl Fleet {
    /// The living send their heartbeats, and a timer settles what is overdue, for a time.
    async fn pass(&self, ms: i64) {
        for _ in 0..ms / INTERVAL_MS {
            self.world.pass_ms(INTERVAL_MS);
            for (agent, lease) in self.living.iter().zip(&self.leases) {
                self.world.beat(agent, &[held(lease)]).await;
            }
            self.world.sweep().await;
            self.all_is_well().await;
        }
    }

    async fn all_is_well(&self) {
        for (agent, lease) in self.living.iter().zip(&self.leases) {
            assert_eq!(self.world.agent(agent).await.state, AgentState::Healthy, "{}", agent.id);
            let job = self.world.job(&lease.job_id).await;
            assert_eq!((job.state, job.attempt), (JobState::Running, 1), "{}", job.id);
        }
    }

    async fn becomes_known_as_dead(&self) {
        self.pass(2 * TIMEOUT_MS + 3 * INTERVAL_MS).await;
        assert_eq!(self.world.agent(&self.dead).await.state, AgentState::Offline);
    }

    async fn ends(&self) {
        // The job of the dead one moves on once its lease is over, and all jobs end.
        self.pass(90_000).await;
        let moved = self.world.job(&self.lost).await;
        let living = moved.agent_id.as_ref().is_none_or(|id| *id != self.dead.id);
        assert!(living && !moved.state.is_ended(), "{moved:?}");
        for (agent, lease) in self.living.iter().zip(&self.leases) {
            self.world.report(agent, lease, Happening::Completed { result: None, message: None, usage: None }).await;
            assert_eq!(self.world.state(&lease.job_id).await, JobState::Completed);
        }
        for agent in &self.living {
            for lease in self.world.claim(agent, 4).await {
                self.world
                    .report(agent, &lease, Happening::Completed { result: None, message: None, usage: None })
                    .await;
            }
        }
        assert_eq!(self.world.state(&self.lost).await, JobState::Completed);
        assert_eq!(titan_tests::audit::findings(&self.world.pool()).await, []);
    }
}

#[tokio::test]
async fn an_hour_ahead_takes_nobody_offline_but_who_is_dead() {
    let fleet = fleet().await;
    fleet.pass(INTERVAL_MS).await;
    fleet.world.pass_ms(HOUR_MS);
    // Whoever comes first after the jump: a timer.
    fleet.world.sweep().await;
    fleet.all_is_well().await;
    fleet.becomes_known_as_dead().await;
    fleet.ends().await;
}

#[tokio::test]
async fn an_hour_back_takes_nobody_offline_but_who_is_dead() {
    let fleet = fleet().await;
    fleet.pass(INTERVAL_MS).await;
    fleet.world.pass_ms(-HOUR_MS);
    fleet.world.sweep().await;
    fleet.all_is_well().await;
    fleet.becomes_known_as_dead().await;
    fleet.ends().await;
}

#[tokio::test]
async fn a_clock_that_jumps_to_and_fro_loses_nothing() {
    let fleet = fleet().await;
    for jump_ms in [HOUR_MS, -HOUR_MS, -HOUR_MS, HOUR_MS] {
        fleet.pass(3 * INTERVAL_MS).await;
        fleet.world.pass_ms(jump_ms);
        // Whoever comes first after the jump: an agent that runs a job.
        let (agent, lease) = (&fleet.living[0], &fleet.leases[0]);
        fleet.world.beat(agent, &[held(lease)]).await;
        fleet.all_is_well().await;
    }
    fleet.becomes_known_as_dead().await;
    fleet.ends().await;
}

#[tokio::test]
async fn jobs_that_wait_for_a_time_or_their_next_attempt_are_late_by_no_more_than_the_jump() {
    let fleet = fleet().await;
    let at = fleet.world.now_ms.get() + 20_000;
    let spec = titan_api::jobs::SubmitJob { not_before: Some(titan_api::time::Timestamp::from_ms(at)), ..process() };
    let (id, _) = fleet.world.submit(&spec).await;
    fleet.world.pass_ms(-HOUR_MS);
    fleet.pass(60_000).await;
    assert_ne!(fleet.world.state(&id).await, JobState::Delayed, "its time by the clock before the jump has come");
}
