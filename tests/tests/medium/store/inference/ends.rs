//! What the ends of requests mean, and what is kept of them.

use titan_api::{
    jobs::{JobState, Reason, SubmitJob},
    work::Happening,
};
use titan_lua::{jobs as j, output as o, pool::Sweep};
use titan_tests::audit::findings;

use super::{answered, ask, failed, model, request, terms, text};
use crate::store::world::{World, held, only};

#[tokio::test]
async fn a_failure_before_any_output_is_tried_elsewhere_and_one_after_it_ends_the_request() {
    let world = World::new().await;
    let agents = [world.serving("a", &[model("llama", 4)]).await, world.serving("b", &[model("llama", 4)]).await];
    let of = |id: &titan_api::ids::AgentId| agents.iter().find(|agent| agent.id == *id).unwrap();
    let (id, first) = world.bound(&request("llama")).await;
    world.end_one(of(&first), failed(Reason::BackendFailed)).await;
    let job = world.job(&id).await;
    assert_eq!(job.state, JobState::Scheduled);
    let second = job.agent_id.unwrap();
    assert_ne!(second, first);
    let lease = world.claim_both(of(&second), 0, 8).await.remove(0);
    world.report(of(&second), &lease, text("data: ")).await;
    world.report(of(&second), &lease, failed(Reason::Stalled)).await;
    let job = world.job(&id).await;
    assert_eq!((job.state, job.reason), (JobState::Failed, Some(Reason::Stalled)));
}

#[tokio::test]
async fn what_the_backend_refuses_or_cannot_load_in_time_is_tried_nowhere_else_and_blamed_on_nobody() {
    for reason in [Reason::BackendRejected, Reason::LoadTimeout] {
        let world = World::new().await;
        let agent = world.serving("a", &[model("llama", 4)]).await;
        world.serving("b", &[model("llama", 0)]).await;
        for _ in 0..4 {
            let (id, _) = world.bound(&request("llama")).await;
            world.end_one(&agent, failed(reason)).await;
            let job = world.job(&id).await;
            assert_eq!((job.state, job.reason, job.attempt), (JobState::Failed, Some(reason), 1));
        }
    }
}

#[tokio::test]
async fn three_failures_in_a_row_rest_the_model_on_that_agent_alone_and_then_one_request_tries_it() {
    let world = World::new().await;
    let agent = world.serving("a", &[model("llama", 4), model("mistral", 4)]).await;
    let once = SubmitJob { max_attempts: 1, ..request("llama") };
    for _ in 0..3 {
        world.bound(&once).await;
        world.end_one(&agent, failed(Reason::BackendFailed)).await;
    }
    let [waiting, behind] = [world.pending(&request("llama")).await, world.pending(&request("llama")).await];
    world.bound(&request("mistral")).await;
    world.end_one(&agent, answered(10, 100)).await;
    assert_eq!(world.agent(&agent).await.breaker.failures, 0);
    world.pass_ms(9_000);
    world.beat(&agent, &[]).await;
    assert_eq!(world.state(&waiting).await, JobState::Pending);
    world.pass_ms(1_001);
    world.sweep().await;
    assert_eq!((world.state(&waiting).await, world.state(&behind).await), (JobState::Scheduled, JobState::Pending));
    let leases = world.claim_both(&agent, 0, 8).await;
    let trial = leases.iter().find(|lease| lease.job_id == waiting).unwrap();
    world.report(&agent, trial, answered(10, 100)).await;
    world.claim_both(&agent, 0, 8).await;
    assert_eq!(world.state(&behind).await, JobState::Running);
}

#[tokio::test]
async fn a_silence_of_which_the_client_allowed_too_little_says_nothing_of_the_model() {
    let world = World::new().await;
    let agent = world.serving("a", &[model("llama", 4)]).await;
    let once = SubmitJob { max_attempts: 1, ..request("llama") };
    let silent = |exit_code| Happening::Failed { reason: Reason::Stalled, exit_code, signal: None, message: None };
    for _ in 0..4 {
        world.bound(&once).await;
        let id = world.end_one(&agent, silent(Some(408))).await;
        assert_eq!(world.job(&id).await.reason, Some(Reason::Stalled));
    }
    for _ in 0..3 {
        world.bound(&once).await;
        world.end_one(&agent, silent(None)).await;
    }
    world.pending(&once).await;
}

#[tokio::test]
async fn a_failed_trial_doubles_the_rest() {
    let world = World::new().await;
    let agent = world.serving("a", &[model("llama", 4)]).await;
    let once = SubmitJob { max_attempts: 1, ..request("llama") };
    for _ in 0..3 {
        world.bound(&once).await;
        world.end_one(&agent, failed(Reason::Stalled)).await;
    }
    let until = |agent: titan_api::agents::Agent| agent.speeds[0].cool_down_until.unwrap().as_ms();
    for rest_ms in [10_000, 20_000, 40_000] {
        assert_eq!(until(world.agent(&agent).await) - world.now_ms.get(), rest_ms);
        world.pass_ms(rest_ms + 1);
        world.sweep().await;
        world.claim_both(&agent, 0, 8).await;
        world.bound(&once).await;
        world.end_one(&agent, failed(Reason::Stalled)).await;
    }
}

#[tokio::test]
async fn a_request_that_nobody_has_begun_by_its_deadline_fails() {
    let world = World::new().await;
    let agent = world.serving("a", &[model("llama", 1)]).await;
    world.bound(&request("llama")).await;
    let lease = world.claim_both(&agent, 0, 8).await.remove(0);
    let outcome = ask(&world, "late", &request("llama"), terms(5_000, None)).await;
    let id = only(&outcome).id.clone();
    world.pass_ms(4_999);
    world.sweep().await;
    assert_eq!(world.state(&id).await, JobState::Pending);
    world.pass_ms(1);
    world.sweep().await;
    let job = world.job(&id).await;
    assert_eq!((job.state, job.reason), (JobState::Failed, Some(Reason::DeadlinePassed)));
    // One that has begun may take as long as it needs.
    let begun = ask(&world, "begun", &request("llama"), terms(5_000, None)).await;
    world.report(&agent, &lease, answered(1, 1)).await;
    assert_eq!(world.claim_both(&agent, 0, 8).await[0].job_id, only(&begun).id);
    world.pass_ms(6_000);
    world.sweep().await;
    assert_eq!(world.state(&only(&begun).id).await, JobState::Running);
}

#[tokio::test]
async fn prompt_and_answer_are_forgotten_a_minute_after_the_end_and_the_rest_stays() {
    let world = World::new().await;
    let agent = world.serving("a", &[model("llama", 4)]).await;
    let id = only(&ask(&world, "asked", &request("llama"), terms(5_000, None)).await).id.clone();
    let lease = world.claim_both(&agent, 0, 8).await.remove(0);
    world.report(&agent, &lease, text("an answer")).await;
    world.report(&agent, &lease, answered(3, 100)).await;
    world.pass_with_beats_ms(50_000, &[&agent]).await;
    assert_eq!(world.job(&id).await.inference, request("llama").inference);
    world.pass_with_beats_ms(20_000, &[&agent]).await;
    let job = world.job(&id).await;
    assert_eq!((job.state, job.output_bytes, job.usage.unwrap().completion_tokens), (JobState::Completed, 0, Some(3)));
    assert_eq!(job.inference.unwrap().body, "");
    let read = o::ReadOutput { job: &id, attempt: None, offset: 0, since: None, follow: false }
        .run(&world.pool())
        .await
        .unwrap();
    assert!(read.unwrap().complete);
    world.claim_both(&agent, 0, 8).await;
    let again = world.bound(&SubmitJob { max_attempts: 1, ..request("llama") }).await.0;
    world.claim_both(&agent, 0, 8).await;
    j::CancelJob { job: &again }.run(&world.pool()).await.unwrap();
    world.beat(&agent, &[]).await;
    for _ in 0..70 {
        world.pass_with_beats_ms(10_000, &[&agent]).await;
    }
    let retried = j::RetryJob { job: &again }.run(&world.pool()).await.unwrap();
    assert_eq!(retried, j::RetryOutcome::Forgotten);
}

#[tokio::test]
async fn long_answers_that_are_forgotten_at_once_are_forgotten_in_pieces() {
    let world = World::new().await;
    let agent = world.serving("a", &[model("llama", 4)]).await;
    let chunk = vec![b'x'; 65_536];
    let mut leases = Vec::new();
    for name in ["one", "two", "three", "four"] {
        ask(&world, name, &request("llama"), terms(60_000, None)).await;
        leases.extend(world.claim_both(&agent, 0, 8).await);
    }
    for lease in &leases {
        let lease = held(lease);
        for number in 0..256 {
            let append = o::AppendOutput { agent: &agent.id, lease: &lease, offset: number * 65_536, data: &chunk };
            assert!(matches!(append.run(&world.pool()).await.unwrap(), o::AppendOutcome::Appended(_)));
        }
    }
    for lease in &leases {
        world.report(&agent, lease, answered(1, 1)).await;
    }
    world.pass_with_beats_ms(50_000, &[&agent]).await;
    world.pass_ms(10_000);
    let first = Sweep.run(&world.pool()).await.unwrap();
    assert!(first.more && first.settled <= 3, "each is worth all eight units of a script: {first:?}");
    world.sweep().await;
    for lease in &leases {
        assert_eq!(world.job(&lease.job_id).await.output_bytes, 0);
    }
    assert_eq!(findings(&world.pool()).await, []);
}
