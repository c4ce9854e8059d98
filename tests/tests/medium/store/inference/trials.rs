//! Half-open agents that serve models and run no processes: they are tried, one request at a time, and heal by themselves.

use titan_api::agents::AgentState::{HalfOpen, Healthy, Offline};

use titan_lua::tickets as t;

use super::{
    tickets::{bring, issue},
    *,
};

/// What an agent serves that clients can reach and that runs no processes.
pub(super) fn reachable(models: &[Model]) -> Facts {
    Facts { endpoint: Some("http://192.0.2.1".into()), ..serving(models) }
}

/// An agent that went down with five requests to `llama` and is half-open now, and another that keeps the pool alive.
pub(super) async fn half_open(world: &World, models: &[Model]) -> (Box_, Box_) {
    let other = world.register("other", &facts()).await;
    let mut agent = world.register_run("a", "first", &reachable(models), &[]).await;
    for n in 0..5 {
        world.pending(&SubmitJob { max_attempts: 1, ..request("llama") }).await;
        assert_eq!(world.claim_both(&agent, 0, 1).await.len(), 1);
        agent = world.register_run("a", &format!("run-{n}"), &reachable(models), &[]).await;
    }
    assert_eq!(world.agent(&agent).await.state, Offline);
    world.pass_with_beats_ms(10_000, &[&agent, &other]).await;
    assert_eq!(world.agent(&agent).await.state, HalfOpen);
    (agent, other)
}

/// The probe that the agent gets when it has waited for a trial in vain for a minute.
async fn probed(world: &World, agent: &Box_, other: &Box_) -> Lease {
    assert_eq!(world.claim_both(agent, 0, 8).await, []);
    world.pass_with_beats_ms(60_000, &[agent, other]).await;
    let mut leases = world.claim_both(agent, 0, 8).await;
    assert_eq!(leases.len(), 1, "there is one trial at a time");
    leases.remove(0)
}

pub(super) async fn a_model_is_asked_for_a_word(world: World) {
    let cold = Model { vram_mb: 9_000, loaded: false, ..model("cold", 4) };
    let (agent, other) = half_open(&world, &[cold, model("llama", 4)]).await;
    for is_last in [false, true] {
        let lease = probed(&world, &agent, &other).await;
        let asked = lease.inference.clone().unwrap();
        assert_eq!((asked.model.as_str(), asked.route), ("llama", InferenceRoute::ChatCompletions));
        assert!(
            asked.body.contains(r#""max_tokens":1"#) && asked.body.contains(r#""model":"llama""#),
            "{}",
            asked.body
        );
        let probe = world.job(&lease.job_id).await;
        assert_eq!((probe.submitted_by.as_str(), probe.max_attempts), ("titan", 1));
        assert_eq!(world.report(&agent, &lease, answered(1, 10)).await, Answer::Accepted {});
        assert_eq!(world.agent(&agent).await.state, if is_last { Healthy } else { HalfOpen });
    }
    assert_eq!(ReadUsage { owner: "titan" }.run(&world.pool()).await.unwrap().models, [], "nobody has asked");
    assert_eq!(findings(&world.pool()).await, []);
}

pub(super) async fn who_passes_a_refusal_on_has_done_its_part(world: World) {
    let (agent, other) = half_open(&world, &[model("llama", 4)]).await;
    for _ in 0..2 {
        let lease = probed(&world, &agent, &other).await;
        world.report(&agent, &lease, failed(Reason::BackendRejected)).await;
    }
    assert_eq!(world.agent(&agent).await.state, Healthy);
}

pub(super) async fn a_backend_that_fails_neither_heals_nor_condemns(world: World) {
    let (agent, other) = half_open(&world, &[model("llama", 4)]).await;
    for reason in [Reason::BackendFailed, Reason::Stalled, Reason::LoadTimeout] {
        let lease = probed(&world, &agent, &other).await;
        world.report(&agent, &lease, failed(reason)).await;
        assert_eq!(world.agent(&agent).await.breaker.trial_job_id, None, "its permit is given back");
    }
    assert_eq!(world.agent(&agent).await.state, HalfOpen);
}

pub(super) async fn a_probe_that_is_lost_takes_offline_again(world: World) {
    let (agent, other) = half_open(&world, &[model("llama", 4)]).await;
    probed(&world, &agent, &other).await;
    let agent = world.register_run("a", "again", &reachable(&[model("llama", 4)]), &[]).await;
    assert_eq!(world.agent(&agent).await.state, Offline);
}

pub(super) async fn requests_are_trials_one_at_a_time_and_tickets_are_none(world: World) {
    let llama = [model("llama", 4)];
    let agent = world.register_run("a", "before", &reachable(&llama), &[]).await;
    world.claim_both(&agent, 0, 8).await;
    let late = JobId::new("late").unwrap();
    assert!(matches!(issue(&world, &late).await, t::IssueOutcome::Issued(_)));
    let (agent, _) = half_open(&world, &llama).await;
    assert_eq!(world.claim_both(&agent, 0, 8).await, []);
    assert_eq!(bring(&world, &agent, &late).await, t::UseOutcome::Busy);
    let refused = issue(&world, &JobId::new("new").unwrap()).await;
    assert!(matches!(refused, t::IssueOutcome::Relay { .. }), "{refused:?}");
    let (trial, _) = world.bound(&request("llama")).await;
    world.pending(&request("llama")).await;
    assert_eq!(world.agent(&agent).await.breaker.trial_job_id, Some(trial.clone()));
    assert_eq!(bring(&world, &agent, &late).await, t::UseOutcome::Busy);
    assert_eq!(world.agent(&agent).await.breaker.trial_job_id, Some(trial));
    assert_eq!(world.claim_both(&agent, 0, 8).await.len(), 1, "there is one trial at a time");
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn an_agent_without_processes_that_nobody_tries_is_asked_for_a_word_after_a_minute() {
    a_model_is_asked_for_a_word(World::new().await).await;
}

#[tokio::test]
async fn a_probe_that_the_backend_refuses_went_well() {
    who_passes_a_refusal_on_has_done_its_part(World::new().await).await;
}

#[tokio::test]
async fn a_probe_that_the_backend_fails_gives_its_permit_back() {
    a_backend_that_fails_neither_heals_nor_condemns(World::new().await).await;
}

#[tokio::test]
async fn a_probe_that_the_agent_loses_takes_it_offline_again() {
    a_probe_that_is_lost_takes_offline_again(World::new().await).await;
}

#[tokio::test]
async fn a_half_open_agent_is_tried_with_one_request_at_a_time_and_with_no_ticket() {
    requests_are_trials_one_at_a_time_and_tickets_are_none(World::new().await).await;
}
