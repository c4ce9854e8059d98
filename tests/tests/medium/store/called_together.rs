//! Calls of several agents at the same time: they share runs of the script, and each agent hears of its own.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use titan_api::{
    agents::Facts,
    ids::JobId,
    jobs::JobState,
    work::{Answer, Claim, Happening, Lease, Report},
};
use titan_lua::{
    StoreError,
    agents::{ClaimOutcome, NextClaim, ReportBatch, ReportOutcome, Reported, TurnedAway},
};
use titan_tests::audit::findings;

use super::world::{Box_, World, facts, held, process};

const SLOTS: u32 = 4;

/// Agents of so many slots, of which none runs anything, and so many jobs that wait.
async fn idle(world: &World, count: usize, max_jobs: u32, jobs: usize) -> Vec<Box_> {
    let mut agents = Vec::new();
    for i in 0..count {
        agents.push(world.register(&format!("agent-{i}"), &Facts { max_jobs, ..facts() }).await);
    }
    for _ in 0..jobs {
        world.pending(&process()).await;
    }
    agents
}

/// Agents whose slots are all taken, and as many jobs more that wait.
async fn full(world: &World, count: usize) -> Vec<(Box_, Vec<Lease>)> {
    let mut full = Vec::new();
    for agent in idle(world, count, SLOTS, 2 * SLOTS as usize * count).await {
        let leases = world.claim(&agent, SLOTS).await;
        assert_eq!(leases.len(), SLOTS as usize);
        full.push((agent, leases));
    }
    full
}

/// What each agent gets that claims so many jobs, all at once.
async fn claim_at_once(world: &World, agents: &[Box_], free_slots: u32) -> Vec<Vec<Lease>> {
    let claims = agents.iter().map(async |agent| match world.claim_as(agent, agent.next_claim(), free_slots).await {
        ClaimOutcome::Claimed(claimed) => claimed.leases,
        ClaimOutcome::TurnedAway(why) => panic!("{}: {why:?}", agent.id),
    });
    join_all(claims).await
}

/// Each agent reports its jobs as completed and claims as many, all at once.
async fn at_once(world: &World, agents: &[(Box_, Vec<Lease>)]) -> Vec<Result<ReportOutcome, StoreError>> {
    let calls = agents.iter().map(|(agent, leases)| {
        let (pool, id, epoch) = (world.pool(), agent.id.clone(), agent.epoch);
        let claim = Claim { claim: agent.next_claim(), free_slots: SLOTS, free_requests: 0 };
        let completed = Happening::Completed { result: None, message: None, usage: None };
        let reports: Vec<_> = leases.iter().map(|lease| Report::new(held(lease), completed.clone())).collect();
        tokio::spawn(async move {
            let batch = ReportBatch { agent: &id, epoch, reports: &reports };
            batch.run_and_claim(&pool, NextClaim { claim, reachable_ms: 1_000 }).await
        })
    });
    join_all(calls).await.into_iter().map(Result::unwrap).collect()
}

fn reported(outcome: &Result<ReportOutcome, StoreError>) -> &Reported {
    match outcome {
        Ok(ReportOutcome::Reported(reported)) => reported,
        other => panic!("{other:?}"),
    }
}

fn is_accepted(reported: &Reported) -> bool {
    reported.answers == [Answer::Accepted {}; SLOTS as usize]
}

#[tokio::test]
async fn reports_at_once_take_few_runs_and_each_agent_gets_its_own_jobs() {
    let world = World::new().await;
    let agents = full(&world, 16).await;
    let before = world.redis.command_counts().await;
    let outcomes = at_once(&world, &agents).await;
    let runs = world.redis.command_counts().await.since(&before).scripts().calls;
    assert!(runs <= 4, "{runs} runs for 16 agents with 4 jobs each");
    let mut handed = BTreeSet::<JobId>::new();
    for ((agent, done), outcome) in agents.iter().zip(&outcomes) {
        let reported = reported(outcome);
        assert!(is_accepted(reported) && reported.leases.len() == SLOTS as usize, "{}: {reported:?}", agent.id);
        for lease in done {
            assert_eq!(world.state(&lease.job_id).await, JobState::Completed);
        }
        for lease in &reported.leases {
            assert!(handed.insert(lease.job_id.clone()), "{} was handed out twice", lease.job_id);
            assert_eq!(world.job(&lease.job_id).await.agent_id.as_ref(), Some(&agent.id));
        }
    }
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn an_agent_that_is_turned_away_is_alone_in_that() {
    let world = World::new().await;
    let agents = full(&world, 4).await;
    world.register_run("agent-1", "another run", &Facts { max_jobs: SLOTS, ..facts() }, &[]).await;
    let outcomes = at_once(&world, &agents).await;
    for (i, outcome) in outcomes.iter().enumerate() {
        if i == 1 {
            assert!(matches!(outcome, Ok(ReportOutcome::TurnedAway(TurnedAway::Superseded))), "{outcome:?}");
        } else {
            assert!(is_accepted(reported(outcome)), "agent-{i}: {outcome:?}");
        }
    }
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn where_the_script_fails_for_one_agent_the_others_are_heard_all_the_same() {
    let world = World::new().await;
    let agents = full(&world, 4).await;
    // What it registered with can't be read any more.
    let damage = redis::Script::new(
        "local fields = { cmsgpack.unpack(redis.call('GET', KEYS[1])) }
         fields[17] = '\\193'
         redis.call('SET', KEYS[1], cmsgpack.pack(unpack(fields, 1, 30)))",
    );
    let mut connection = world.redis.connection().await;
    let key = format!("titan:{{default}}:agent:{}", agents[2].0.id);
    damage.key(key).invoke_async::<()>(&mut connection).await.unwrap();
    let outcomes = at_once(&world, &agents).await;
    for (i, outcome) in outcomes.iter().enumerate() {
        if i == 2 {
            assert!(outcome.is_err(), "{outcome:?}");
        } else {
            assert!(is_accepted(reported(outcome)), "agent-{i}: {outcome:?}");
            assert_eq!(reported(outcome).leases.len(), SLOTS as usize);
        }
    }
}

#[tokio::test]
async fn claims_at_once_take_few_runs_and_each_agent_gets_its_own_jobs() {
    let world = World::new().await;
    let agents = idle(&world, 16, SLOTS, 16).await;
    let before = world.redis.command_counts().await;
    let claimed = claim_at_once(&world, &agents, 1).await;
    let runs = world.redis.command_counts().await.since(&before).scripts().calls;
    assert!(runs <= 4, "{runs} runs for 16 agents");
    let mut handed = BTreeSet::<JobId>::new();
    for (agent, leases) in agents.iter().zip(&claimed) {
        assert_eq!(leases.len(), 1, "{}", agent.id);
        assert!(handed.insert(leases[0].job_id.clone()), "{} was handed out twice", leases[0].job_id);
        assert_eq!(world.job(&leases[0].job_id).await.agent_id.as_ref(), Some(&agent.id));
    }
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn claims_of_much_at_once_hold_nobody_up_and_each_agent_gets_some() {
    let world = World::new().await;
    let agents = idle(&world, 4, 64, 200).await;
    let before = world.redis.command_counts().await;
    let claimed = claim_at_once(&world, &agents, 20).await;
    let runs = world.redis.command_counts().await.since(&before).scripts().calls;
    // A run hands out 32 jobs: 20 to one agent and 12 to another, and those that come by themselves get all.
    let mut counts: Vec<_> = claimed.iter().map(Vec::len).collect();
    counts.sort_unstable();
    assert_eq!((runs, counts), (3, vec![12, 20, 20, 20]));
    let handed: BTreeSet<_> = claimed.iter().flatten().map(|lease| &lease.job_id).collect();
    assert_eq!(handed.len(), 72);
    assert_eq!(findings(&world.pool()).await, []);
}
