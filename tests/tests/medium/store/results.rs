//! What a program left as its result, and why there is none.

use serde_json::json;
use titan_api::{
    jobs::JobState,
    limits,
    work::{Answer, Happening},
};

use super::world::{World, facts, process};

#[tokio::test]
async fn a_result_is_kept_with_its_job_and_so_is_the_reason_why_there_is_none() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    for (result, message) in
        [(Some(json!({"loss": 0.5})), None), (None, Some("it is no JSON".to_owned())), (None, None)]
    {
        let (id, _) = world.bound(&process()).await;
        let lease = world.claim(&agent, 4).await.remove(0);
        let end = Happening::Completed { result: result.clone(), message: message.clone(), usage: None };
        for _ in 0..2 {
            assert_eq!(world.report(&agent, &lease, end.clone()).await, Answer::Accepted {});
        }
        let job = world.job(&id).await;
        assert_eq!((job.state, job.exit_code), (JobState::Completed, Some(0)));
        assert_eq!((job.result, job.message, job.reason), (result, message, None));
        world.claim(&agent, 4).await;
    }
}

#[tokio::test]
async fn a_result_that_is_too_long_changes_nothing() {
    let world = World::new().await;
    let agent = world.parked("a", &facts()).await;
    let (id, _) = world.bound(&process()).await;
    let lease = world.claim(&agent, 4).await.remove(0);
    let long = json!("x".repeat(limits::RESULT_BYTES));
    let end = Happening::Completed { result: Some(long), message: None, usage: None };
    assert_eq!(world.report(&agent, &lease, end).await, Answer::Invalid {});
    assert_eq!(world.state(&id).await, JobState::Running);
}
