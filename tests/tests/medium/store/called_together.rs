//! Calls of several agents at the same time: they share runs of the script, and each agent hears of its own.

use std::collections::BTreeSet;

use futures_util::future::{join, join_all};
use redis::AsyncCommands;
use titan_api::{
    agents::Facts,
    ids::JobId,
    jobs::{JobState, Reason, Requirements, SubmitJob},
    output::{Encoding, Stream},
    work::{Answer, Claim, Happening, Lease, Report},
};
use titan_lua::{
    StoreError,
    agents::{ClaimOutcome, NextClaim, ReportBatch, ReportOutcome, Reported, TurnedAway},
};
use titan_tests::audit::findings;

use super::world::{Box_, World, facts, held, process};

const SLOTS: u32 = 4;
/// The number of the claim that goes with reports, each time.
const NEXT_CLAIM: u64 = 9;

/// How many runs of scripts that takes, and what comes of it.
async fn counted<T>(world: &World, calls: impl Future<Output = T>) -> (u64, T) {
    let before = world.redis.command_counts().await;
    let told = calls.await;
    (world.redis.command_counts().await.since(&before).scripts().calls, told)
}

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
async fn report_at_once(world: &World, agents: &[(Box_, Vec<Lease>)]) -> Vec<Result<ReportOutcome, StoreError>> {
    let calls = agents.iter().map(|(agent, leases)| {
        let (pool, id, epoch) = (world.pool(), agent.id.clone(), agent.epoch);
        let claim = Claim { claim: NEXT_CLAIM, free_slots: SLOTS, free_requests: 0 };
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
    let (runs, outcomes) = counted(&world, report_at_once(&world, &agents)).await;
    // Eight agents have 32 reports, of which a run takes no more.
    assert_eq!(runs, 2);
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
    let (runs, outcomes) = counted(&world, report_at_once(&world, &agents)).await;
    assert_eq!(runs, 1);
    for (i, outcome) in outcomes.iter().enumerate() {
        if i == 1 {
            assert!(matches!(outcome, Ok(ReportOutcome::TurnedAway(TurnedAway::Superseded))), "{outcome:?}");
        } else {
            assert!(is_accepted(reported(outcome)), "agent-{i}: {outcome:?}");
        }
    }
    assert_eq!(findings(&world.pool()).await, []);
}

/// Puts another in the place of a value of an agent's record, and gives what was there.
async fn put_in_its_place(world: &World, agent: &Box_, place: usize, value: Vec<u8>) -> Vec<u8> {
    let script = redis::Script::new(
        "local values, at = { cmsgpack.unpack(redis.call('GET', KEYS[1])) }, tonumber(ARGV[1])
         local before = values[at]
         values[at] = ARGV[2]
         redis.call('SET', KEYS[1], cmsgpack.pack(unpack(values, 1, 30)))
         return before",
    );
    let key = format!("titan:{{default}}:agent:{}", agent.id);
    let mut connection = world.redis.connection().await;
    script.key(key).arg(place).arg(value).invoke_async(&mut connection).await.unwrap()
}

/// What can't be unpacked.
const DAMAGED: &[u8] = b"\xc1";
/// Where a record has what its agent has registered with, the classes that it is a member of, and where it stands in the ranks.
const CAPS: usize = 17;
const PLACES: usize = 20;
const STANDING: usize = 21;

#[tokio::test]
async fn where_the_script_fails_for_one_agent_the_others_are_heard_all_the_same() {
    for place in [CAPS, PLACES, STANDING] {
        let world = World::new().await;
        let agents = full(&world, 4).await;
        let whole = put_in_its_place(&world, &agents[1].0, place, DAMAGED.into()).await;
        let (runs, outcomes) = counted(&world, report_at_once(&world, &agents)).await;
        // One for all of them, and one for that agent alone.
        assert_eq!(runs, 2);
        for (i, outcome) in outcomes.iter().enumerate() {
            if i == 1 {
                assert!(outcome.is_err(), "{place}: {outcome:?}");
            } else {
                assert!(is_accepted(reported(outcome)), "{place}: agent-{i}: {outcome:?}");
                assert_eq!(reported(outcome).leases.len(), SLOTS as usize, "{place}: agent-{i}");
            }
        }
        // What it says is believed once it can be read again, and no job was lost meanwhile.
        put_in_its_place(&world, &agents[1].0, place, whole).await;
        let outcome = report_at_once(&world, &agents[1..2]).await;
        assert!(is_accepted(reported(&outcome[0])), "{place}: {outcome:?}");
        assert_eq!(reported(&outcome[0]).leases.len(), SLOTS as usize, "{place}");
        for lease in &agents[1].1 {
            assert_eq!(world.state(&lease.job_id).await, JobState::Completed);
        }
        assert_eq!(findings(&world.pool()).await, [], "{place}");
    }
}

#[tokio::test]
async fn what_one_agent_has_caused_fails_in_no_step_of_another() {
    let world = World::new().await;
    let damaged = world.register("damaged", &facts()).await;
    world.pending(&process()).await;
    let lease = world.claim(&damaged, 1).await.remove(0);
    let other = world.parked("other", &facts()).await;
    let (first, _) = world.bound(&process()).await;
    let (second, _) = world.bound(&process()).await;
    let whole = put_in_its_place(&world, &damaged, STANDING, DAMAGED.into()).await;
    // The second goes elsewhere, for which the ranks of all agents have to be looked at.
    let (runs, (_, leases)) = counted(
        &world,
        join(
            async {
                let reports = [Report::new(held(&lease), Happening::Started {})];
                let batch = ReportBatch { agent: &damaged.id, epoch: damaged.epoch, reports: &reports };
                batch.run(&world.pool()).await.unwrap_err()
            },
            world.claim(&other, 1),
        ),
    )
    .await;
    assert_eq!(runs, 2);
    assert_eq!(leases.iter().map(|lease| &lease.job_id).collect::<Vec<_>>(), [&first]);
    put_in_its_place(&world, &damaged, STANDING, whole).await;
    assert_eq!(world.claim(&other, 1).await.iter().map(|lease| &lease.job_id).collect::<Vec<_>>(), [&second]);
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn where_what_several_have_put_off_cannot_be_written_no_job_is_lost() {
    let world = World::new().await;
    let agents = idle(&world, 4, SLOTS, 16).await;
    let mut connection = world.redis.connection().await;
    let key = "titan:{default}:running";
    let () = connection.set(key, "something else").await.unwrap();
    let (runs, claimed) = counted(&world, claim_at_once(&world, &agents, SLOTS)).await;
    assert_eq!(runs, 5, "one for all, and one for each");
    let handed: BTreeSet<_> = claimed.iter().flatten().map(|lease| &lease.job_id).collect();
    assert_eq!(handed.len(), 16);
}

#[tokio::test]
async fn what_must_not_be_done_twice_or_takes_long_goes_by_itself() {
    let output = |bytes: usize| Happening::Output {
        offset: 0,
        stream: Stream::Stdout,
        data: "x".repeat(bytes),
        encoding: Encoding::Utf8,
    };
    let completed = |result: usize| Happening::Completed {
        result: Some(serde_json::Value::String("x".repeat(result))),
        message: None,
        usage: None,
    };
    let failed = Happening::Failed { reason: Reason::ExitCode, exit_code: Some(1), signal: None, message: None };
    for (what, event, runs_of_two) in [
        ("a start", Happening::Started {}, 1),
        ("a good end", completed(10), 1),
        ("a good end with much beside", completed(8_192), 2),
        ("output", output(10), 2),
        ("a failure", failed, 2),
        ("a release", Happening::Released {}, 2),
    ] {
        let world = World::new().await;
        let agents = full(&world, 2).await;
        let (runs, answers) = counted(
            &world,
            join_all(agents.iter().map(async |(agent, leases)| world.report(agent, &leases[0], event.clone()).await)),
        )
        .await;
        assert_eq!((runs, answers), (runs_of_two, vec![Answer::Accepted {}; 2]), "{what}");
    }
}

#[tokio::test]
async fn claims_at_once_take_few_runs_and_each_agent_gets_its_own_jobs() {
    let world = World::new().await;
    let agents = idle(&world, 16, SLOTS, 16).await;
    let (runs, claimed) = counted(&world, claim_at_once(&world, &agents, 1)).await;
    assert_eq!(runs, 1);
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
    let (runs, claimed) = counted(&world, claim_at_once(&world, &agents, 20)).await;
    // A run hands out 32 jobs: 20 to one agent and 12 to another, and those that come by themselves get all.
    let mut counts: Vec<_> = claimed.iter().map(Vec::len).collect();
    counts.sort_unstable();
    assert_eq!((runs, counts), (3, vec![12, 20, 20, 20]));
    let handed: BTreeSet<_> = claimed.iter().flatten().map(|lease| &lease.job_id).collect();
    assert_eq!(handed.len(), 72);
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn repeats_and_looks_in_vain_count_as_what_a_run_has_done() {
    let world = World::new().await;
    let agents = idle(&world, 8, 8, 64).await;
    let claim_again = |number: u64| {
        let (world, agents) = (&world, &agents);
        async move {
            join_all(agents.iter().map(async |agent| match world.claim_as(agent, number, 8).await {
                ClaimOutcome::Claimed(claimed) => claimed.leases.len(),
                ClaimOutcome::TurnedAway(why) => panic!("{}: {why:?}", agent.id),
            }))
            .await
        }
    };
    // Four agents get 32 jobs in one run; each of the other four has one for itself.
    assert_eq!(counted(&world, claim_again(1)).await, (5, vec![8; 8]));
    assert_eq!(counted(&world, claim_again(1)).await, (5, vec![8; 8]), "the same leases once more");

    let world = World::new().await;
    let agents = idle(&world, 8, 8, 0).await;
    let large = SubmitJob {
        requirements: Requirements { cpus: 1e3, ..process().requirements },
        allow_unserved: true,
        ..process()
    };
    for _ in 0..100 {
        world.pending(&large).await;
    }
    let (runs, claimed) = counted(&world, claim_at_once(&world, &agents, 8)).await;
    assert!(claimed.iter().all(Vec::is_empty));
    // Each looks at 80, so two of them do in a run.
    assert_eq!(runs, 7);
}
