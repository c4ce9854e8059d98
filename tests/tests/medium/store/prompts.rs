//! How much of what models are asked a pool holds.

use titan_api::{
    ids::JobId,
    inference::InferenceSpec,
    jobs::{JobState, SubmitJob},
};
use titan_lua::{
    PoolSettings, StoreError,
    jobs::{CancelJob, Idempotency, NewJob, RetryJob, RetryOutcome, Submit},
};
use titan_tests::{
    audit::findings,
    redis::{RedisServer, patient_store},
    skip::skipped,
};

use super::{
    inference::request,
    world::{World, only, process},
};

const BUDGET: usize = 1_000;

fn little() -> PoolSettings {
    PoolSettings { prompt_budget_bytes: BUDGET.try_into().unwrap(), ..PoolSettings::default() }
}

/// A request of so many bytes.
fn asking(bytes: usize) -> SubmitJob {
    let usual = request("llama");
    let inference = usual.inference.map(|asked| InferenceSpec { body: "x".repeat(bytes), ..asked });
    SubmitJob { inference, allow_unserved: true, ..usual }
}

/// Submits a request of so many bytes, under an idempotency key and by an owner of the same name; gives its id.
async fn ask(world: &World, name: &str, bytes: usize) -> Result<JobId, StoreError> {
    ask_as(world, name, name, bytes).await
}

async fn ask_as(world: &World, owner: &str, name: &str, bytes: usize) -> Result<JobId, StoreError> {
    let (id, spec) = (JobId::new(name).unwrap(), asking(bytes));
    let idempotency = Some(Idempotency { key: format!("hash{name}"), body: "body".into() });
    let new = NewJob { idempotency, ..NewJob::new(&id, &spec) };
    let outcome = Submit { jobs: &[new], owner, explain: false }.run(&world.pool()).await?;
    Ok(only(&outcome).id.clone())
}

/// Lets time pass, and then what nobody was heard for: an amnesty puts everything off.
async fn pass_ms(world: &World, ms: i64) {
    world.pass_ms(ms);
    world.sweep().await;
    world.pass_ms(60_000);
    world.sweep().await;
}

async fn cancel(world: &World, id: &JobId) {
    CancelJob { job: id }.run(&world.pool()).await.unwrap();
}

/// Changes the count of the pool without a prompt being changed: `f` are the fields of its clock.
async fn count_wrong(world: &World, change: &str) {
    let script = format!(
        "local f = {{ cmsgpack.unpack(redis.call('HGET', KEYS[1], 'clock')) }} {change} \
         redis.call('HSET', KEYS[1], 'clock', cmsgpack.pack(f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8], f[9]))"
    );
    let mut connection = world.redis.connection().await;
    let eval = redis::cmd("EVAL").arg(script).arg(1).arg("titan:{default}").to_owned();
    eval.query_async::<()>(&mut connection).await.unwrap();
}

#[tokio::test]
async fn requests_past_the_budget_are_refused_and_change_nothing_until_others_are_forgotten() {
    let world = World::with(little()).await;
    let first = ask(&world, "first", 400).await.unwrap();
    ask(&world, "second", 500).await.unwrap();
    ask(&world, "rest", 100).await.unwrap();
    let before = world.redis.snapshot().await;
    assert!(matches!(ask(&world, "third", 1).await, Err(StoreError::Full(_))));
    let jobs = |snapshot: &titan_tests::snapshot::Snapshot| format!("{snapshot:?}").matches("third").count();
    assert_eq!((jobs(&before), jobs(&world.redis.snapshot().await)), (0, 0));
    assert_eq!(ask(&world, "again", 400).await.map_err(|_| ()), Err(()), "another key is another request");
    assert_eq!(ask(&world, "first", 400).await.unwrap(), first, "a repeat takes no room");
    world.submit(&process()).await;
    cancel(&world, &first).await;
    ask(&world, "third", 400).await.unwrap();
    assert!(matches!(ask(&world, "fourth", 1).await, Err(StoreError::Full(_))));
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn a_prompt_is_given_back_once_whenever_it_is_forgotten() {
    let world = World::with(little()).await;
    let one = ask(&world, "one", 300).await.unwrap();
    cancel(&world, &one).await;
    // Less than half of the budget: it is kept for a while, and counts.
    let two = ask(&world, "two", 500).await.unwrap();
    assert!(matches!(ask(&world, "more", 201).await, Err(StoreError::Full(_))));
    cancel(&world, &two).await;
    assert!(matches!(RetryJob { job: &one }.run(&world.pool()).await, Ok(RetryOutcome::Done(_))));
    cancel(&world, &one).await;
    pass_ms(&world, 600_001).await;
    for names in [["three", "four"], ["five", "six"]] {
        let both = [ask(&world, names[0], 500).await.unwrap(), ask(&world, names[1], 500).await.unwrap()];
        assert!(matches!(ask(&world, "more", 1).await, Err(StoreError::Full(_))));
        cancel(&world, &both[0]).await;
        cancel(&world, &both[1]).await;
        pass_ms(&world, 24 * 3_600_000).await;
    }
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn prompts_go_with_the_end_of_their_jobs_while_there_is_little_room() {
    let world = World::with(little()).await;
    ask(&world, "other", 200).await.unwrap();
    let long = ask(&world, "long", 400).await.unwrap();
    cancel(&world, &long).await;
    assert!(matches!(RetryJob { job: &long }.run(&world.pool()).await, Ok(RetryOutcome::Forgotten)));
    assert_eq!(world.state(&long).await, JobState::Cancelled);
    ask(&world, "next", 500).await.unwrap();
    ask(&world, "more", 300).await.unwrap();
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn a_count_that_is_missing_or_wrong_is_made_good() {
    let world = World::with(little()).await;
    for name in 0..100 {
        ask(&world, &format!("job-{name:03}"), 2).await.unwrap();
    }
    // As a version left it that did not count.
    count_wrong(&world, "f[9] = nil").await;
    ask(&world, "job-later", 10).await.unwrap();
    world.sweep().await;
    assert_eq!(findings(&world.pool()).await, []);
    ask(&world, "job-long", 400).await.unwrap();
    ask(&world, "job-last", 390).await.unwrap();
    assert!(matches!(ask(&world, "more", 1).await, Err(StoreError::Full(_))));
    // Something takes prompts without a word.
    count_wrong(&world, "f[9] = f[9] + 500").await;
    cancel(&world, &JobId::new("job-last").unwrap()).await;
    assert_eq!(findings(&world.pool()).await.len(), 1);
    assert!(matches!(ask(&world, "more", 390).await, Err(StoreError::Full(_))));
    pass_ms(&world, 300_001).await;
    ask(&world, "more", 390).await.unwrap();
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn a_count_that_is_made_good_notices_what_changes_meanwhile() {
    let world = World::with(PoolSettings { prompt_budget_bytes: 1 << 20, ..PoolSettings::default() }).await;
    for name in 0..300 {
        ask(&world, &format!("job-{name:04}"), 1).await.unwrap();
    }
    count_wrong(&world, "f[9] = nil").await;
    // Each call counts some of them: it is under way for a while.
    ask(&world, "job-0000-b", 10).await.unwrap();
    ask(&world, "job-0000-c", 100).await.unwrap();
    cancel(&world, &JobId::new("job-0001").unwrap()).await;
    cancel(&world, &JobId::new("job-0299").unwrap()).await;
    pass_ms(&world, 600_001).await;
    count_wrong(&world, "if f[9] ~= 408 then error('counted ' .. f[9], 0) end").await;
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn a_count_is_made_good_whatever_order_the_locale_of_redis_has() {
    let Some(redis) = RedisServer::start_in_english().await else {
        return skipped("no locale can be made here in which `a` stands before `B`");
    };
    let store = patient_store(&redis.url(), PoolSettings { prompt_budget_bytes: 1 << 20, ..PoolSettings::default() });
    let world = World::on(redis, &store);
    for name in 0..100 {
        ask(&world, &format!("B-{name:03}"), 1).await.unwrap();
        ask(&world, &format!("a-{name:03}"), 1).await.unwrap();
    }
    count_wrong(&world, "f[9] = nil").await;
    // While the first ones are counted, others come that stand far behind them.
    ask(&world, "a-100", 10).await.unwrap();
    ask(&world, "a-101", 100).await.unwrap();
    world.sweep().await;
    count_wrong(&world, "if f[9] ~= 310 then error('counted ' .. f[9], 0) end").await;
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn an_owner_has_half_of_the_budget_at_most_and_the_rest_is_for_others() {
    let world = World::with(little()).await;
    let first = ask_as(&world, "greedy", "first", 300).await.unwrap();
    let second = ask_as(&world, "greedy", "second", 200).await.unwrap();
    assert!(matches!(ask_as(&world, "greedy", "third", 1).await, Err(StoreError::Full(_))));
    ask_as(&world, "modest", "other", 500).await.unwrap();
    cancel(&world, &first).await;
    ask_as(&world, "greedy", "third", 300).await.unwrap();
    assert_eq!(findings(&world.pool()).await, []);
    // As a version left it that did not count by owner.
    let mut connection = world.redis.connection().await;
    redis::cmd("DEL").arg("titan:{default}:asked").exec_async(&mut connection).await.unwrap();
    cancel(&world, &second).await;
    world.sweep().await;
    assert!(matches!(ask_as(&world, "greedy", "fourth", 201).await, Err(StoreError::Full(_))));
    ask_as(&world, "greedy", "fourth", 200).await.unwrap();
    assert_eq!(findings(&world.pool()).await, []);
}
