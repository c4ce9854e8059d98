//! Whose turn it is: between API keys, and for jobs that were passed over.

use std::collections::{BTreeSet, VecDeque};

use titan_api::{
    agents::Facts,
    ids::JobId,
    jobs::{JobState, SubmitJob},
    scheduler::RuledOut,
    work::{Happening, Lease},
};
use titan_lua::{
    agents::{GetAgent, RemoveAgent, SetDraining},
    jobs::{CancelJob, WhyWaiting},
};

use super::world::{Box_, START_MS, World, facts, held, on_gpus, process, with_gpus};

const KEYS: [&str; 3] = ["first", "second", "third"];

/// An agent with one slot, which is taken.
async fn busy(world: &World) -> (Box_, Lease) {
    let agent = world.parked("a", &Facts { max_jobs: 1, ..facts() }).await;
    world.bound(&process()).await;
    let lease = world.claim(&agent, 1).await.remove(0);
    (agent, lease)
}

/// Ends the job that runs and starts the next; its id.
async fn next(world: &World, agent: &Box_, lease: &mut Lease) -> JobId {
    world.report(agent, lease, Happening::Completed { result: None, message: None, usage: None }).await;
    *lease = world.claim(agent, 1).await.remove(0);
    lease.job_id.clone()
}

#[tokio::test]
async fn a_key_with_one_job_is_served_while_another_has_thousands_waiting() {
    let world = World::new().await;
    let (agent, mut lease) = busy(&world).await;
    for _ in 0..3_000 {
        world.submit_by("heavy", &process()).await;
    }
    for _ in 0..5 {
        next(&world, &agent, &mut lease).await;
    }
    for _ in 0..3 {
        let (id, _) = world.submit_by("light", &process()).await;
        let served = [next(&world, &agent, &mut lease).await, next(&world, &agent, &mut lease).await];
        assert!(served.contains(&id), "{id} waits behind {served:?}");
    }
}

#[tokio::test]
async fn keys_take_turns_each_in_the_order_of_its_own_jobs() {
    let world = World::new().await;
    let (agent, mut lease) = busy(&world).await;
    let mut expected = Vec::new();
    for key in KEYS {
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(world.submit_by(key, &process()).await.0);
        }
        expected.push(ids);
    }
    for turn in 0..4 {
        for ids in &expected {
            assert_eq!(next(&world, &agent, &mut lease).await, ids[turn]);
        }
    }
}

#[tokio::test]
async fn a_higher_priority_goes_first_whoever_submits_it() {
    let world = World::new().await;
    let (agent, mut lease) = busy(&world).await;
    world.submit_by("first", &process()).await;
    let mut urgent = Vec::new();
    for priority in [1, 1_000, -1_000] {
        urgent.push(world.submit_by("second", &SubmitJob { priority, ..process() }).await.0);
    }
    assert_eq!(next(&world, &agent, &mut lease).await, urgent[1]);
    assert_eq!(next(&world, &agent, &mut lease).await, urgent[0]);
    next(&world, &agent, &mut lease).await;
    assert_eq!(next(&world, &agent, &mut lease).await, urgent[2]);
}

#[tokio::test]
async fn a_key_does_not_wait_for_jobs_that_it_cancelled() {
    let world = World::new().await;
    let (agent, mut lease) = busy(&world).await;
    for _ in 0..30 {
        world.submit_by("other", &process()).await;
    }
    for _ in 0..30 {
        let (job, _) = world.submit_by("hasty", &process()).await;
        CancelJob { job: &job }.run(&world.pool()).await.unwrap();
    }
    let (id, _) = world.submit_by("hasty", &process()).await;
    let served = [next(&world, &agent, &mut lease).await, next(&world, &agent, &mut lease).await];
    assert!(served.contains(&id), "{id} waits behind {served:?}");
}

#[tokio::test]
async fn nothing_is_left_of_lines_and_holds_once_nobody_waits() {
    let world = World::new().await;
    let (agent, mut lease) = busy(&world).await;
    let mut waiting = Vec::new();
    for key in KEYS {
        waiting.push(world.submit_by(key, &process()).await.0);
    }
    world.pass_with_leases_ms(70_000, &agent, &[&lease]).await;
    CancelJob { job: &waiting[0] }.run(&world.pool()).await.unwrap();
    for _ in 0..2 {
        next(&world, &agent, &mut lease).await;
    }
    world.pass_with_leases_ms(20_000, &agent, &[&lease]).await;
    let keys = world.redis.snapshot().await;
    let left: Vec<_> =
        keys.0.keys().filter(|k| [":tags:", ":holds", ":waiting"].iter().any(|p| k.contains(p))).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_waiting_job_can_be_told_why_where_it_stands_and_when_it_may_start() {
    let world = World::new().await;
    let (agent, mut lease) = busy(&world).await;
    let why = async |id: &JobId| WhyWaiting { job: id }.run(&world.pool()).await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..6 {
        waiting.push(world.pending(&process()).await);
    }
    let first = why(&waiting[1]).await.unwrap();
    assert_eq!((first.place, first.line, first.examined), (2, 6, 1));
    assert_eq!(first.ruled_out, [RuledOut { reason: "slots".into(), agents: 1 }]);
    assert_eq!((first.since.as_ms(), first.may_start_at), (START_MS, None), "nothing has ended yet");
    for _ in 0..3 {
        world.pass_ms(8_000);
        next(&world, &agent, &mut lease).await;
    }
    assert_eq!(why(&waiting[1]).await, None, "it runs");
    let later = why(&waiting[4]).await.unwrap();
    let starts = later.may_start_at.unwrap().as_ms() - START_MS;
    assert_eq!((later.place, starts), (2, 24_000 + 2 * 16_000 / 3));
    let nowhere = world.pending(&SubmitJob { allow_unserved: true, ..on_gpus(1, 1) }).await;
    let why = why(&nowhere).await.unwrap();
    assert_eq!((why.place, why.may_start_at), (1, None), "nobody could run it");
    assert_eq!(why.ruled_out, [RuledOut { reason: "gpus".into(), agents: 1 }]);
}

#[tokio::test]
async fn an_agent_with_much_room_is_filled_in_more_than_one_go() {
    let world = World::new().await;
    let agent = world.parked("a", &Facts { max_jobs: 64, ..facts() }).await;
    SetDraining { agent: &agent.id, draining: true }.run(&world.pool()).await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..60 {
        waiting.push(world.pending(&process()).await);
    }
    SetDraining { agent: &agent.id, draining: false }.run(&world.pool()).await.unwrap();
    assert!(world.agent(&agent).await.live_attempts <= 32, "too much for one script");
    world.sweep().await;
    for id in waiting {
        assert_ne!(world.state(&id).await, JobState::Pending, "{id} waits beside room");
    }
}

#[tokio::test]
async fn a_claim_hands_out_so_many_jobs_that_it_holds_nobody_up_and_the_next_one_the_rest() {
    let world = World::new().await;
    let agent = world.parked("a", &Facts { max_jobs: 64, ..facts() }).await;
    for _ in 0..20 {
        world.bound(&process()).await;
    }
    SetDraining { agent: &agent.id, draining: true }.run(&world.pool()).await.unwrap();
    for _ in 0..30 {
        world.pending(&process()).await;
    }
    SetDraining { agent: &agent.id, draining: false }.run(&world.pool()).await.unwrap();
    let claims = [world.claim(&agent, 64).await, world.claim(&agent, 64).await];
    assert_eq!(claims.each_ref().map(Vec::len), [32, 18]);
    let leases: BTreeSet<_> = claims.concat().into_iter().map(|lease| lease.lease_id).collect();
    assert_eq!(leases.len(), 50, "every attempt has a lease of its own");
    assert_eq!(world.agent(&agent).await.live_attempts, 50);
}

/// An agent whose GPU has 80 GB, of which small jobs take what there is: one is submitted each second, and each runs for
/// twenty.
struct Stream {
    agent: Box_,
    /// With the seconds that are left.
    running: VecDeque<(u32, Lease)>,
}

impl Stream {
    async fn new(world: &World) -> Self {
        let agent = world.parked("a", &Facts { max_jobs: 64, ..with_gpus(&[81_920]) }).await;
        let mut stream = Self { agent, running: VecDeque::new() };
        for _ in 0..20 {
            stream.second(world, true).await;
        }
        stream
    }

    /// A second passes; more jobs come, or none.
    async fn second(&mut self, world: &World, more: bool) {
        world.pass_ms(1_000);
        if more {
            world.submit_by("small", &on_gpus(1, 4_096)).await;
        }
        for (left, _) in &mut self.running {
            *left -= 1;
        }
        while let Some((_, lease)) = self.running.pop_front_if(|(left, _)| *left == 0) {
            world.report(&self.agent, &lease, Happening::Completed { result: None, message: None, usage: None }).await;
        }
        let leases: Vec<_> = self.running.iter().map(|(_, lease)| held(lease)).collect();
        world.beat(&self.agent, &leases).await;
        self.running.extend(world.claim(&self.agent, 64).await.into_iter().map(|lease| (20, lease)));
        world.sweep().await;
    }
}

#[tokio::test]
async fn a_large_job_is_not_starved_by_a_stream_of_small_ones() {
    let world = World::new().await;
    let mut stream = Stream::new(&world).await;
    let large = world.pending(&on_gpus(1, 80_000)).await;
    let mut seconds = 0;
    while world.state(&large).await == JobState::Pending {
        stream.second(&world, true).await;
        seconds += 1;
        assert!(seconds < 100, "the large job starves");
    }
    assert!(seconds > 60, "it was held for after {seconds} s, though it waited for less than a minute");
}

#[tokio::test]
async fn what_is_more_urgent_passes_a_hold() {
    let world = World::new().await;
    let mut stream = Stream::new(&world).await;
    let large = world.pending(&on_gpus(1, 80_000)).await;
    while world.agent(&stream.agent).await.held_for.is_none() {
        stream.second(&world, true).await;
    }
    assert_eq!(world.agent(&stream.agent).await.held_for, Some(large.clone()));
    stream.second(&world, false).await;
    let equal = world.pending(&on_gpus(1, 1_000)).await;
    world.bound(&SubmitJob { priority: 1, ..on_gpus(1, 1_000) }).await;
    CancelJob { job: &large }.run(&world.pool()).await.unwrap();
    assert_eq!(world.agent(&stream.agent).await.held_for, None);
    assert_ne!(world.state(&equal).await, JobState::Pending, "what the hold kept free is filled");
}

#[tokio::test]
async fn a_hold_goes_to_another_agent_when_its_own_leaves() {
    let world = World::new().await;
    let mut agents = Vec::new();
    for name in ["a", "b"] {
        agents.push(world.parked(name, &with_gpus(&[24_576])).await);
        world.bound(&on_gpus(1, 8_000)).await;
    }
    let large = world.pending(&on_gpus(1, 20_000)).await;
    let mut leases = Vec::new();
    for agent in &agents {
        leases.push(world.claim(agent, 4).await.remove(0));
    }
    let holder = async || {
        for _ in 0..8 {
            world.pass_ms(10_000);
            for (agent, lease) in agents.iter().zip(&leases).filter(|(a, _)| a.id.as_str() != "gone") {
                world.beat_with(agent, 0, &[held(lease)], &titan_api::agents::Measures::default()).await;
            }
            world.sweep().await;
        }
        let mut held = Vec::new();
        for agent in &agents {
            let seen = (GetAgent { agent: &agent.id }).run(&world.pool()).await.unwrap();
            held.extend(seen.and_then(|a| a.held_for).map(|job| (agent.clone(), job)));
        }
        assert_eq!(held.len(), 1, "one agent is held");
        assert_eq!(held[0].1, large);
        held.remove(0).0
    };
    let first = holder().await;
    SetDraining { agent: &first.id, draining: true }.run(&world.pool()).await.unwrap();
    let second = holder().await;
    assert_ne!(first.id, second.id);
    SetDraining { agent: &first.id, draining: false }.run(&world.pool()).await.unwrap();
    RemoveAgent { agent: &second.id }.run(&world.pool()).await.unwrap();
    assert_eq!(holder().await.id, first.id);
}
