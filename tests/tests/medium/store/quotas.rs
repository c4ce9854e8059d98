//! What an API key may do in a time.

use std::time::Duration;

use futures_util::future::join_all;
use titan_api::{
    credentials::Quota,
    ids::{CredentialId, JobId, PoolName},
    limits,
};
use titan_lua::{
    PoolSettings, Store,
    credentials::spend::{Draw, Policy, Purse, Spend, SpendOutcome},
    jobs::{NewJob, Submit, SubmitOutcome},
};
use titan_tests::{
    bench,
    redis::{RedisServer, patient_store},
    rewriter::{Change, Rewriter},
};

use super::world::START_MS;

/// Enough to stand in no test's way.
const PLENTY: Quota = Quota { quota: 1_000_000_000, window_ms: 1_000 };

/// Where the script says when Redis forgets what was spent.
const FORGETTING: &str = ", 'PX', math.max(taken[1][3], taken[2][3], 1)";

struct World {
    redis: RedisServer,
    store: Store,
    remembering: Rewriter,
}

impl World {
    /// One in which no time passes but what a test says: Redis itself would forget what was spent by a clock of its own, while
    /// a slow machine is between two steps of the test.
    async fn new() -> Self {
        let redis = RedisServer::start().await;
        let change = Change { find: FORGETTING.to_owned(), times: 1, replace: String::new() };
        let remembering = Rewriter::to(&redis.address(), change).await;
        let store = patient_store(&remembering.url(), PoolSettings::default());
        Self { redis, store, remembering }
    }

    /// Takes at so many milliseconds after the beginning.
    async fn spend(&self, at_ms: i64, requests: Draw, body_bytes: Draw) -> SpendOutcome {
        let key = CredentialId::new("k1").unwrap();
        let spend = Spend { key: &key, requests, body_bytes, now_ms: Some(START_MS + at_ms) };
        let outcome = spend.run(&self.store).await.unwrap();
        assert!(self.remembering.rewritten() > 0, "the script says it in other words: {FORGETTING}");
        outcome
    }

    async fn request(&self, at_ms: i64, cost: u64, of: Quota) -> SpendOutcome {
        self.spend(at_ms, Draw { cost, more: 0, of }, Draw { cost: 0, more: 0, of: PLENTY }).await
    }
}

fn requests(outcome: SpendOutcome) -> Purse {
    match outcome {
        SpendOutcome::Spent { requests, .. } => requests,
        SpendOutcome::Refused { .. } => panic!("{outcome:?}"),
    }
}

fn wait_ms(outcome: SpendOutcome) -> (Policy, u128) {
    match outcome {
        SpendOutcome::Refused { policy, wait } => (policy, wait.as_millis()),
        SpendOutcome::Spent { .. } => panic!("{outcome:?}"),
    }
}

#[tokio::test]
async fn a_quota_is_there_at_once_and_fills_up_evenly() {
    let world = World::new().await;
    for (quota, window_ms) in [(3, 1_000), (7, 60_000), (10, 1_000), (1_000, 86_400_000)] {
        let world = if (quota, window_ms) == (3, 1_000) { &world } else { &World::new().await };
        let of = Quota { quota, window_ms };
        let each_ms = i64::try_from(window_ms.div_ceil(quota)).unwrap();
        for left in (0..quota).rev() {
            assert_eq!(requests(world.request(0, 1, of).await).left, left, "{of:?}");
        }
        let (policy, wait) = wait_ms(world.request(0, 1, of).await);
        assert_eq!((policy, i64::try_from(wait).unwrap()), (Policy::Requests, each_ms), "{of:?}");
        wait_ms(world.request(each_ms - 1, 1, of).await);
        assert_eq!(requests(world.request(each_ms, 1, of).await).left, 0, "{of:?}");
        let long_after = i64::try_from(2 * window_ms).unwrap() + each_ms;
        assert_eq!(requests(world.request(long_after, 1, of).await).left, quota - 1, "it is whole and no more: {of:?}");
    }
}

#[tokio::test]
async fn a_refusal_takes_nothing_of_either_quota() {
    let world = World::new().await;
    let (few, bytes) = (Quota { quota: 2, window_ms: 1_000 }, Quota { quota: 1_000, window_ms: 1_000 });
    let take =
        |requests, cost| world.spend(0, Draw { cost: requests, more: 0, of: few }, Draw { cost, more: 0, of: bytes });
    let SpendOutcome::Spent { requests, body_bytes } = take(1, 900).await else { panic!("refused") };
    assert_eq!((requests.left, body_bytes.left), (1, 100));
    assert_eq!(wait_ms(take(1, 200).await), (Policy::BodyBytes, 100));
    assert_eq!(wait_ms(take(2, 100).await), (Policy::Requests, 500));
    let SpendOutcome::Spent { requests, body_bytes } = take(1, 100).await else { panic!("refused") };
    assert_eq!((requests.left, body_bytes.left), (0, 0));
    assert_eq!((requests.whole_in, body_bytes.whole_in), (Duration::from_secs(1), Duration::from_secs(1)));
}

#[tokio::test]
async fn a_body_longer_than_the_quota_costs_the_whole_of_it() {
    let world = World::new().await;
    let small = Quota { quota: 1_000, window_ms: 10_000 };
    let long = |at_ms| {
        let body = Draw { cost: 50_000, more: 0, of: small };
        world.spend(at_ms, Draw { cost: 1, more: 0, of: PLENTY }, body)
    };
    let SpendOutcome::Spent { body_bytes, .. } = long(0).await else { panic!("refused") };
    assert_eq!((body_bytes.left, body_bytes.whole_in), (0, Duration::from_secs(10)));
    assert_eq!(wait_ms(long(4_000).await), (Policy::BodyBytes, 6_000));
    requests(long(10_000).await);
}

#[tokio::test]
async fn what_is_taken_in_advance_is_no_more_than_there_is() {
    let world = World::new().await;
    let of = Quota { quota: 10, window_ms: 1_000 };
    let draw = |at_ms, more| world.spend(at_ms, Draw { cost: 1, more, of }, Draw { cost: 0, more: 0, of: PLENTY });
    let first = requests(draw(0, 4).await);
    assert_eq!((first.ahead, first.left), (4, 5));
    let second = requests(draw(0, 100).await);
    assert_eq!((second.ahead, second.left, second.whole_in), (4, 0, Duration::from_secs(1)));
    assert_eq!(wait_ms(draw(0, 100).await), (Policy::Requests, 100));
}

#[tokio::test]
async fn all_new_kinds_of_jobs_that_a_key_may_have_made_may_come_one_by_one_at_once() {
    let redis = RedisServer::start().await;
    let store = patient_store(&redis.url(), PoolSettings::default());
    let submit = async |number: u32, at_ms: i64| {
        let spec = bench::job(&format!("kind-{number}"));
        let id = JobId::new(format!("job-{number}")).unwrap();
        let submit = Submit { jobs: &[NewJob::new(&id, &spec)], owner: "k1", explain: false };
        submit.run(&store.pool(&PoolName::default()).at(START_MS + at_ms)).await.unwrap()
    };
    for number in 0..limits::NEW_CLASSES {
        assert!(matches!(submit(number, 0).await, SubmitOutcome::Submitted { .. }), "{number}");
    }
    let SubmitOutcome::TooManyClasses { wait } = submit(limits::NEW_CLASSES, 0).await else { panic!("no limit") };
    let each_ms = limits::NEW_CLASSES_WINDOW_MS.div_ceil(u64::from(limits::NEW_CLASSES));
    assert!(wait <= Duration::from_millis(each_ms), "{wait:?}");
    let again = submit(limits::NEW_CLASSES, i64::try_from(wait.as_millis()).unwrap()).await;
    assert!(matches!(again, SubmitOutcome::Submitted { .. }));
}

#[tokio::test]
async fn a_clock_that_steps_back_keeps_nobody_waiting_for_long() {
    let world = World::new().await;
    let of = Quota { quota: 1, window_ms: 60_000 };
    requests(world.request(3_600_000, 1, of).await);
    assert_eq!(wait_ms(world.request(3_599_000, 1, of).await), (Policy::Requests, 60_000));
    requests(world.request(0, 1, of).await);
    assert_eq!(wait_ms(world.request(0, 1, of).await), (Policy::Requests, 60_000));
}

#[tokio::test]
async fn of_sixty_four_requests_at_once_as_many_pass_as_the_quota_has() {
    let world = World::new().await;
    let of = Quota { quota: 10, window_ms: 86_400_000 };
    let requests = (0..64).map(|_| {
        let store = world.store.clone();
        tokio::spawn(async move {
            let key = CredentialId::new("k1").unwrap();
            let (requests, body_bytes) = (Draw { cost: 1, more: 0, of }, Draw { cost: 100, more: 0, of: PLENTY });
            Spend { key: &key, requests, body_bytes, now_ms: None }.run(&store).await.unwrap()
        })
    });
    let outcomes = join_all(requests).await;
    let passed = outcomes.iter().filter(|o| matches!(o.as_ref().unwrap(), SpendOutcome::Spent { .. })).count();
    assert_eq!(passed, 10);
}

#[tokio::test]
async fn what_was_spent_is_forgotten_when_the_quotas_are_whole_again() {
    let world = World::new().await;
    let store = patient_store(&world.redis.url(), PoolSettings::default());
    let key = CredentialId::new("k1").unwrap();
    let of = Quota { quota: 1_000, window_ms: 1_000 };
    let cost = Draw { cost: 5, more: 0, of };
    Spend { key: &key, requests: cost, body_bytes: cost, now_ms: None }.run(&store).await.unwrap();
    titan_tests::wait::eventually("what was spent to be forgotten", async || {
        world.redis.snapshot().await.0.is_empty().then_some(())
    })
    .await;
}
