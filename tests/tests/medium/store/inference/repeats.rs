//! One request that fails again and again may be what is wrong: it does not take a model away from everybody.

use titan_api::jobs::{JobState, Reason, SubmitJob};

use super::{failed, model, request};
use crate::store::world::World;

#[tokio::test]
async fn the_attempts_of_one_request_on_one_agent_count_once_against_its_model() {
    let world = World::new().await;
    let agent = world.serving("a", &[model("llama", 4)]).await;
    let stubborn = SubmitJob { max_attempts: 5, ..request("llama") };
    for failures in 1..=3 {
        let (id, _) = world.bound(&stubborn).await;
        while !world.state(&id).await.is_ended() {
            world.end_one(&agent, failed(Reason::BackendFailed)).await;
            if world.agent(&agent).await.speeds[0].cool_down_until.is_some() {
                assert_eq!(failures, 3, "three requests have failed before it rests");
                return;
            }
            world.pass_ms(5_000);
            world.beat(&agent, &[]).await;
            world.sweep().await;
        }
        let job = world.job(&id).await;
        let failed = job.failures.iter().filter(|failure| failure.reason == Reason::BackendFailed).count();
        assert_eq!((job.state, failed), (JobState::Failed, 5));
    }
    panic!("it never rests");
}

#[tokio::test]
async fn a_trial_decides_though_the_agent_has_failed_the_request_before() {
    let world = World::new().await;
    let agent = world.serving("a", &[model("llama", 4)]).await;
    let once = SubmitJob { max_attempts: 1, ..request("llama") };
    for _ in 0..2 {
        world.bound(&once).await;
        world.end_one(&agent, failed(Reason::Stalled)).await;
    }
    world.bound(&SubmitJob { max_attempts: 2, ..request("llama") }).await;
    world.end_one(&agent, failed(Reason::Stalled)).await;
    let until =
        |agent: titan_api::agents::Agent| agent.speeds[0].cool_down_until.map(titan_api::time::Timestamp::as_ms);
    let rests_until = until(world.agent(&agent).await).unwrap();
    world.pass_ms(rests_until - world.now_ms.get() + 1);
    world.sweep().await;
    world.end_one(&agent, failed(Reason::Stalled)).await;
    assert_eq!(until(world.agent(&agent).await).unwrap() - world.now_ms.get(), 20_000);
}
