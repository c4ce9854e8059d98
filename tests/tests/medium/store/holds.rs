//! What an agent keeps for a job that was passed over, and what it goes on with beside that.

use std::collections::VecDeque;

use titan_api::{
    agents::Facts,
    ids::JobId,
    jobs::{JobState, Requirements, SubmitJob},
    work::{Happening, Lease},
};

use super::world::{Box_, World, facts, held, on_gpus, with_gpus};

/// How long a chat takes.
const CHAT_SECONDS: u32 = 8;

/// A job that wants a GPU to itself for a day.
fn training() -> SubmitJob {
    let requirements = Requirements { gpus: 1, vram_mb: 20_000, exclusive: true, ..Requirements::default() };
    SubmitJob { requirements, timeout_ms: Some(86_400_000), ..on_gpus(1, 0) }
}

/// A box with two GPUs, which people who chat fill: more chats come than both can take.
struct Chats {
    agent: Box_,
    /// What runs, with the seconds that are left; none for what runs until the end of the test.
    running: VecDeque<(Option<u32>, Lease)>,
    /// How many have begun.
    begun: usize,
}

impl Chats {
    async fn new(world: &World) -> Self {
        let agent = world.parked("a", &Facts { max_jobs: 16, ..with_gpus(&[24_576, 24_576]) }).await;
        let mut chats = Self { agent, running: VecDeque::new(), begun: 0 };
        for _ in 0..16 {
            chats.second(world).await;
        }
        chats
    }

    /// A second passes, in which somebody submits a chat.
    async fn second(&mut self, world: &World) {
        world.pass_ms(1_000);
        world.submit_by("people", &on_gpus(1, 8_000)).await;
        for (left, _) in &mut self.running {
            *left = left.map(|seconds| seconds - 1);
        }
        let (ended, running) = self.running.drain(..).partition(|(left, _)| *left == Some(0));
        self.running = running;
        for (_, lease) in Vec::from(ended) {
            world.report(&self.agent, &lease, Happening::Completed { result: None, message: None, usage: None }).await;
        }
        let leases: Vec<_> = self.running.iter().map(|(_, lease)| held(lease)).collect();
        world.beat(&self.agent, &leases).await;
        for lease in world.claim(&self.agent, 16).await {
            let is_chat = lease.timeout_ms.is_none();
            self.begun += usize::from(is_chat);
            self.running.push_back((is_chat.then_some(CHAT_SECONDS), lease));
        }
        world.sweep().await;
    }

    /// The seconds until a job begins. Chats begin meanwhile, in each of these seconds and those that it took to chat before.
    async fn until_begun(&mut self, world: &World, job: &JobId, most: u32) -> u32 {
        let (mut seconds, mut quiet) = (0, 0);
        while world.state(job).await == JobState::Pending {
            let before = self.begun;
            self.second(world).await;
            (seconds, quiet) = (seconds + 1, if self.begun > before { 0 } else { quiet + 1 });
            assert!(quiet <= CHAT_SECONDS, "nobody chats for {quiet} s, {seconds} s after the job came");
            assert!(seconds <= most, "the job waits for {seconds} s");
        }
        seconds
    }
}

#[tokio::test]
async fn a_job_that_waits_for_a_gpu_of_its_own_leaves_the_other_gpu_to_people_who_chat() {
    let world = World::new().await;
    let mut chats = Chats::new(&world).await;
    let job = world.pending(&training()).await;
    let seconds = chats.until_begun(&world, &job, 90).await;
    assert!(seconds > 60, "it was held for after {seconds} s, though it waited for less than a minute");
    let before = chats.begun;
    for _ in 0..40 {
        chats.second(&world).await;
    }
    assert!(chats.begun >= before + 12, "{} chats began in 40 s beside the training", chats.begun - before);
}

#[tokio::test]
async fn a_second_training_gets_the_gpu_that_is_not_taken_for_days() {
    let world = World::new().await;
    let mut chats = Chats::new(&world).await;
    for _ in 0..2 {
        let job = world.pending(&training()).await;
        chats.until_begun(&world, &job, 90).await;
    }
}

#[tokio::test]
async fn a_hold_keeps_memory_cpus_and_a_slot_and_leaves_the_rest() {
    let world = World::new().await;
    let agent = world.parked("a", &Facts { max_jobs: 4, ..facts() }).await;
    let need = |ram_mb, cpus| SubmitJob {
        requirements: Requirements { ram_mb, cpus, ..Requirements::default() },
        ..super::world::process()
    };
    world.bound(&need(10_000, 2.0)).await;
    let lease = world.claim(&agent, 4).await.remove(0);
    let large = world.pending(&need(24_000, 6.0)).await;
    world.pass_with_leases_ms(70_000, &agent, &[&lease]).await;
    assert_eq!(world.agent(&agent).await.held_for, Some(large));
    assert_eq!(world.claim(&agent, 4).await, Vec::new());
    world.pending(&need(1_000, 0.0)).await;
    world.pending(&need(0, 0.5)).await;
    for _ in 0..2 {
        world.bound(&need(0, 0.0)).await;
    }
    world.pending(&need(0, 0.0)).await;
}

#[tokio::test]
async fn a_job_behind_many_that_no_agent_could_run_holds_one_all_the_same() {
    let world = World::new().await;
    let mut agents = Vec::new();
    for n in 0..20 {
        agents.push(world.register(&format!("a-{n:02}"), &facts()).await);
    }
    let hopeless = Requirements { cpus: 1_000.0, ..Requirements::default() };
    for priority in [9, 9, 9, 9, 9, 8, 8, 8, 8, 8] {
        let spec =
            SubmitJob { requirements: hopeless.clone(), priority, allow_unserved: true, ..super::world::process() };
        world.pending(&spec).await;
    }
    let job = world.pending(&super::world::process()).await;
    let agents: Vec<_> = agents.iter().collect();
    world.pass_with_beats_ms(50_000, &agents).await;
    world.pass_ms(10_000);
    let mut before = world.redis.command_counts().await;
    while titan_lua::pool::Sweep.run(&world.pool()).await.unwrap().more {
        let now = world.redis.command_counts().await;
        let commands: u64 = now.since(&before).0.values().map(|count| count.calls).sum();
        assert!(commands < 200, "a script looks at too much at once: {commands} commands");
        before = now;
    }
    let mut held_for = Vec::new();
    for agent in agents {
        held_for.extend(world.agent(agent).await.held_for);
    }
    assert_eq!(held_for, [job]);
}

#[tokio::test]
async fn a_search_that_begins_takes_none_back_that_is_under_way() {
    let world = World::new().await;
    let mut agents = Vec::new();
    for n in 0..20 {
        agents.push(world.register(&format!("a-{n:02}"), &facts()).await);
    }
    let requirements = Requirements { cpus: 1_000.0, ..Requirements::default() };
    for _ in 0..10 {
        let spec = SubmitJob { requirements: requirements.clone(), allow_unserved: true, ..super::world::process() };
        world.pending(&spec).await;
    }
    let agents: Vec<_> = agents.iter().collect();
    world.pass_with_beats_ms(50_000, &agents).await;
    world.pass_ms(10_000);
    let mut redis = world.redis.connection().await;
    let due = "titan:{default}:due";
    let searches = async |redis: &mut redis::aio::MultiplexedConnection| -> Vec<String> {
        let all: Vec<String> = redis::cmd("ZRANGE").arg(due).arg(0).arg(-1).query_async(redis).await.unwrap();
        all.into_iter().filter(|member| member.starts_with("hold:")).collect()
    };
    titan_lua::pool::Sweep.run(&world.pool()).await.unwrap();
    let under_way = searches(&mut redis).await.remove(0);
    assert_ne!(under_way, "hold:all");
    // As when an agent goes that a job held.
    let () = redis::cmd("ZADD").arg(due).arg(0).arg("hold:all").query_async(&mut redis).await.unwrap();
    titan_lua::pool::Sweep.run(&world.pool()).await.unwrap();
    let left = searches(&mut redis).await;
    assert!(left.contains(&under_way), "{under_way} has become {left:?}");
}
