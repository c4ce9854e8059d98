//! Tickets: places that are kept for clients which call an agent directly.

use futures_util::future::join_all;
use titan_api::{
    agents::{AgentState, Facts, Model},
    ids::JobId,
    inference::ModelAliases,
    jobs::{JobState, Reason},
    scheduler::{Profile, Strategy},
    work::{Answer, Happening, HeldLease},
};
use titan_lua::{Pool, models::SetAliases, pool::SetScheduler, tickets as t};
use titan_tests::audit::findings;

use super::{answered, model, request, serving};
use crate::store::world::{Box_, World, facts, with_gpus};

/// A ticket for a model, and the box that it is for.
pub(super) async fn ticket(world: &World, parallel: u32) -> (Box_, JobId, t::IssueOutcome) {
    let facts = Facts { endpoint: Some("http://192.0.2.1".into()), ..serving(&[model("llama", parallel)]) };
    let agent = world.register("a", &facts).await;
    world.claim_both(&agent, 0, 8).await;
    let id = JobId::new("ticket").unwrap();
    let outcome = issue(world, &id).await;
    (agent, id, outcome)
}

pub(super) async fn issue(world: &World, id: &JobId) -> t::IssueOutcome {
    let spec = request("llama");
    let issue = t::Issue { id, owner: "test", spec: &spec, session: None, hold_ms: 15_000, most: 2, explain: false };
    issue.run(&world.pool()).await.unwrap()
}

pub(super) async fn bring(world: &World, agent: &Box_, id: &JobId) -> t::UseOutcome {
    t::UseTicket { agent: &agent.id, epoch: agent.epoch, id }.run(&world.pool()).await.unwrap()
}

#[tokio::test]
async fn a_ticket_that_is_brought_sixty_four_times_at_once_is_one_attempt() {
    let world = World::new().await;
    let (agent, id, _) = ticket(&world, 4).await;
    let pool = world.pool();
    let bringing = (0..64).map(|_| {
        let (pool, epoch, agent, id) = (pool.clone(), agent.epoch, agent.id.clone(), id.clone());
        tokio::spawn(async move { t::UseTicket { agent: &agent, epoch, id: &id }.run(&pool).await.unwrap() })
    });
    let outcomes: Vec<_> = join_all(bringing).await.into_iter().map(Result::unwrap).collect();
    assert!(matches!(outcomes[0], t::UseOutcome::Leased(_)), "{:?}", outcomes[0]);
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]));
    assert_eq!(world.agent(&agent).await.live_attempts, 1);
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn a_request_whose_client_leaves_in_direct_mode_is_cancelled_and_nobody_has_failed() {
    let world = World::new().await;
    let (agent, id, _) = ticket(&world, 4).await;
    let t::UseOutcome::Leased(lease) = bring(&world, &agent, &id).await else { panic!("it has no lease") };
    let gone = Happening::Failed {
        reason: Reason::BackendRejected,
        exit_code: Some(499),
        signal: None,
        message: Some("the client went away".to_owned()),
    };
    let held = HeldLease { job_id: id.clone(), attempt: lease.attempt, lease_id: lease.lease_id };
    assert_eq!(world.report_held(&agent, held, gone).await, Answer::Accepted {});
    let job = world.job(&id).await;
    assert_eq!((job.state, job.reason, job.failures), (JobState::Cancelled, Some(Reason::Cancelled), vec![]));
    assert_eq!(world.agent(&agent).await.live_attempts, 0);
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn tickets_that_are_asked_for_at_once_share_runs_and_none_gets_a_place_twice() {
    let world = World::new().await;
    let (agent, ..) = ticket(&world, 41).await;
    let pool = world.pool();
    let before = world.redis.command_counts().await;
    let asking = (0..64).map(|n| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let (id, owner, spec) = (JobId::new(format!("at-once-{n}")).unwrap(), format!("key-{n}"), request("llama"));
            let (id, owner, spec) = (&id, owner.as_str(), &spec);
            let issue = t::Issue { id, owner, spec, session: None, hold_ms: 15_000, most: 1, explain: false };
            let outcomes = [issue.run(&pool).await.unwrap(), issue.run(&pool).await.unwrap()];
            let is_issued = matches!(outcomes[0], t::IssueOutcome::Issued(_));
            // Whoever has one has the same one when it asks again, and of the others none is told that it has.
            assert_eq!(matches!(outcomes[1], t::IssueOutcome::Issued(_)), is_issued, "{outcomes:?}");
            is_issued
        })
    });
    let issued = join_all(asking).await.into_iter().filter(|issued| *issued.as_ref().unwrap()).count();
    assert_eq!((issued, world.agent(&agent).await.live_attempts), (40, 41));
    let runs = world.redis.command_counts().await.since(&before).scripts().calls;
    assert!(runs < 64, "{runs} runs for 128 calls");
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn a_ticket_keeps_its_place_for_a_while_and_is_served_later_if_there_is_one() {
    let world = World::new().await;
    let (agent, id, outcome) = ticket(&world, 1).await;
    assert!(matches!(outcome, t::IssueOutcome::Issued(_)), "{outcome:?}");
    let waiting = world.pending(&request("llama")).await;
    // Claims do not hand it out, and once its time is over others have the place.
    assert_eq!(world.claim_both(&agent, 0, 8).await, Vec::new());
    world.pass_ms(14_000);
    world.beat(&agent, &[]).await;
    world.claim_both(&agent, 0, 8).await;
    assert_eq!(world.state(&id).await, JobState::Scheduled);
    world.pass_ms(1_001);
    world.sweep().await;
    let unused = world.job(&id).await;
    assert_eq!((unused.state, unused.reason), (JobState::Failed, Some(Reason::TicketUnused)));
    assert_eq!(world.state(&waiting).await, JobState::Scheduled);
    assert_eq!(bring(&world, &agent, &id).await, t::UseOutcome::Busy);
    let lease = world.claim_both(&agent, 0, 8).await.remove(0);
    world.report(&agent, &lease, answered(1, 1)).await;
    let used = bring(&world, &agent, &id).await;
    let t::UseOutcome::Leased(ref used_lease) = used else { panic!("{used:?}") };
    // A heartbeat that was on its way does not list it yet.
    world.beat(&agent, &[]).await;
    assert_eq!(bring(&world, &agent, &id).await, used);
    let held = HeldLease { job_id: id.clone(), attempt: used_lease.attempt, lease_id: used_lease.lease_id.clone() };
    world.report_held(&agent, held, answered(1, 1)).await;
    assert_eq!(bring(&world, &agent, &id).await, t::UseOutcome::Gone);
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn an_owner_has_so_many_unused_tickets_until_they_are_used_or_old() {
    let world = World::new().await;
    let (agent, first, _) = ticket(&world, 8).await;
    let [second, third] = ["second", "third"].map(|name| JobId::new(name).unwrap());
    assert!(matches!(issue(&world, &second).await, t::IssueOutcome::Issued(_)));
    assert_eq!(issue(&world, &third).await, t::IssueOutcome::TooMany(15_000));
    bring(&world, &agent, &first).await;
    assert!(matches!(issue(&world, &third).await, t::IssueOutcome::Issued(_)));
}

/// A fleet with all that makes a difference to who is chosen: memory, slots, a model that is yet to be loaded, an agent that
/// nobody can call, some that are late, a model with another name.
async fn fleet(world: &World) -> Vec<Box_> {
    let aliases = ModelAliases { aliases: [("chat".to_owned(), vec!["llama".to_owned()])].into() };
    SetAliases { aliases: &aliases }.run(&world.pool()).await.unwrap();
    let mut boxes = Vec::new();
    for n in 0..12_u32 {
        let llama = Model { vram_mb: 6_000, loaded: n % 4 != 1, ..model("llama", 1 + n % 5) };
        let endpoint = (n != 5).then(|| format!("http://192.0.2.{n}"));
        let facts = Facts {
            ram_mb: 900 << (n % 7),
            endpoint,
            models: vec![llama, model("tiny", 2)],
            accepts_processes: false,
            ..if n.is_multiple_of(3) { with_gpus(&[24_576]) } else { facts() }
        };
        boxes.push(world.register(&format!("agent-{n}"), &facts).await);
    }
    let (late, on_time): (Vec<_>, Vec<_>) = boxes.iter().enumerate().partition(|(n, _)| [2, 8].contains(n));
    let on_time: Vec<_> = on_time.into_iter().map(|(_, agent)| agent).collect();
    world.pass_with_beats_ms(30_000, &on_time).await;
    for agent in &boxes {
        world.claim_both(agent, 0, 64).await;
    }
    for (_, agent) in late {
        assert_eq!(world.agent(agent).await.state, AgentState::Degraded);
    }
    boxes
}

/// The model that the ticket of that number is for.
fn model_of(n: usize) -> &'static str {
    match n {
        n if n % 7 == 3 => "tiny",
        n if n % 11 == 5 => "chat",
        _ => "llama",
    }
}

/// Asks for a ticket of that number; every third belongs to a conversation.
async fn ask_for(pool: &Pool, n: usize) -> t::IssueOutcome {
    let (id, owner) = (JobId::new(format!("ticket-{n}")).unwrap(), format!("key-{}", n % 5));
    let spec = request(model_of(n));
    let session = n.is_multiple_of(3).then_some("a conversation");
    let issue = t::Issue { id: &id, owner: &owner, spec: &spec, session, hold_ms: 15_000, most: 6, explain: false };
    issue.run(pool).await.unwrap()
}

#[tokio::test]
async fn tickets_that_share_a_run_are_for_the_agents_that_they_would_be_for_one_after_the_other() {
    for strategy in [Strategy::Score, Strategy::RoundRobin] {
        share_as_they_would_alone(strategy).await;
    }
}

async fn share_as_they_would_alone(strategy: Strategy) {
    let [one_by_one, at_once] = [World::new().await, World::new().await];
    let (mut refused, mut runs) = (0, 0);
    for world in [&one_by_one, &at_once] {
        let (profile, weights) = (Profile::Balanced, Profile::Balanced.weights().unwrap());
        SetScheduler { profile, weights, strategy }.run(&world.pool()).await.unwrap();
        let boxes = fleet(world).await;
        // The classes of all models are made, and an agent has the conversation.
        ask_for(&world.pool(), 1_004).await;
        ask_for(&world.pool(), 1_006).await;
        let t::IssueOutcome::Issued(first) = ask_for(&world.pool(), 1_002).await else { panic!("no place") };
        let agent = boxes.iter().find(|agent| agent.id == first.agent).unwrap();
        let used = bring(world, agent, &JobId::new("ticket-1002").unwrap()).await;
        assert!(matches!(used, t::UseOutcome::Leased(_)), "{used:?}");
    }
    for round in 0..3 {
        // Requests for the same model come one after the other in a run.
        let mut order: Vec<usize> = (0..32).map(|n| round * 32 + n).collect();
        order.sort_by_key(|n| model_of(*n));
        let (pool, before) = (at_once.pool(), at_once.redis.command_counts().await);
        let told = join_all(order.iter().map(|n| ask_for(&pool, *n))).await;
        runs += at_once.redis.command_counts().await.since(&before).scripts().calls;
        for (n, told) in order.into_iter().zip(told) {
            refused += usize::from(!matches!(told, t::IssueOutcome::Issued(_)));
            assert_eq!(told, ask_for(&one_by_one.pool(), n).await, "ticket {n}");
        }
    }
    assert!(runs < 24, "{runs} runs for 96 tickets");
    assert!(refused > 0, "there was a place for all");
    assert_eq!(findings(&at_once.pool()).await, []);
}
