//! What versions of the program that write Redis in other ways make of each other's pools.

use titan_api::{
    events::Event,
    ids::{EventTopic, JobId},
    jobs::{Job, JobState, SubmitJob},
    work::{Answer, Happening},
};
use titan_lua::{
    PoolSettings, StoreError,
    events::{Publish, PublishOutcome, ReadEvents, ReadOutcome},
    jobs::{self as j, GetJob, Idempotency, NewJob, RetryJob, Submit},
};
use titan_tests::redis::patient_store;

use super::{
    events::{end_together, worker},
    world::{World, facts, process},
};

const POOL: &str = "titan:{default}";

/// Writes the jobs anew as schema 1 did, all values in one row, and the number of that schema.
const BACK_TO_SCHEMA_1: &str = "
for i = 2, #KEYS do
  local attempt, state, as_submitted, order, score, agent, free, lease, lease_until, bound_until, started, ended, exit, out,
    devices, done, waits, o = cmsgpack.unpack(redis.call('GET', KEYS[i]))
  local class, kind, model, gpus, vram, ram, cpus, prio, max, created, title, owner, backoff, exclusive, session, labels,
    grace, on_failure, idem = cmsgpack.unpack(as_submitted)
  o = o or {}
  redis.call('SET', KEYS[i], cmsgpack.pack(state, class, kind, model, gpus, vram, ram, cpus, prio, order, max, created,
    title, score, agent, attempt, free, lease, lease_until, bound_until, started, ended, exit, o.signal, o.reason, o.message,
    done, out, o.frame, o.cancelling, devices, o.avoid, o.refused, owner, exclusive, o.holds, waits, backoff, labels, grace,
    o.not_before, o.needs, on_failure, o.dependents, idem, o.suspects, o.probe, o.not_after, o.keeps, o.usage, session,
    o.ticket, o.receipt, o.wrote, o.marked, o.marked_at, o.within))
end
redis.call('HSET', KEYS[1], 'schema', 1)";

async fn back_to_schema_1(world: &World, jobs: &[JobId]) {
    let mut redis = world.redis.connection().await;
    let mut script = redis::cmd("EVAL");
    script.arg(BACK_TO_SCHEMA_1).arg(1 + jobs.len()).arg(POOL);
    for job in jobs {
        script.arg(format!("{POOL}:job:{job}"));
    }
    let () = script.query_async(&mut redis).await.unwrap();
}

/// Writes the stream anew as schema 2 did, each event an entry by itself, and the number of that schema.
const EVENTS_BACK_TO_SCHEMA_2: &str = "
local stream = KEYS[1] .. ':events'
local entries = redis.call('XRANGE', stream, '-', '+')
redis.call('DEL', stream)
for _, entry in ipairs(entries) do
  local first, fields = tonumber(string.match(entry[1], '^%d+')), entry[2]
  for i = 3, #fields, 2 do
    redis.call('XADD', stream, string.format('%d-0', first + (i - 3) / 2), 'topic', fields[i], 'at', fields[2],
      'payload', fields[i + 1])
  end
end
redis.call('HSET', KEYS[1], 'schema', 2)
return redis.call('XLEN', stream) - #entries";

async fn put_schema(world: &World, number: u32) {
    let mut redis = world.redis.connection().await;
    let () = redis::cmd("HSET").arg(POOL).arg("schema").arg(number).query_async(&mut redis).await.unwrap();
}

/// The same pool as a coordinator sees it that has just started.
fn seen_anew(world: World) -> World {
    let (now_ms, store) = (world.now_ms.get(), patient_store(&world.redis.url(), PoolSettings::default()));
    let world = World::on(world.redis, &store);
    world.now_ms.set(now_ms);
    world
}

async fn all(world: &World, jobs: &[JobId]) -> Vec<Job> {
    let mut found = Vec::new();
    for job in jobs {
        found.push(world.job(job).await);
    }
    found
}

#[tokio::test]
async fn jobs_that_an_older_version_wrote_are_what_they_were_and_go_on() {
    let world = World::new().await;
    let agent = world.parked("a", &titan_api::agents::Facts { max_jobs: 2, ..facts() }).await;
    let completed = |result| Happening::Completed { result, message: Some("said".into()), usage: None };

    let (ended, _) = world.bound(&process()).await;
    let lease = world.claim(&agent, 1).await.remove(0);
    world.report(&agent, &lease, completed(None)).await;
    world.claim(&agent, 1).await;
    let (failed, _) = world.bound(&SubmitJob { max_attempts: 1, ..process() }).await;
    let lease = world.claim(&agent, 1).await.remove(0);
    let why = serde_json::from_str(r#"{"type":"failed","reason":"exit_code","exit_code":3}"#).unwrap();
    world.report(&agent, &lease, why).await;
    world.claim(&agent, 1).await;
    let (running, _) = world.bound(&process()).await;
    let lease = world.claim(&agent, 1).await.remove(0);
    world.report(&agent, &lease, Happening::Started {}).await;
    world.claim(&agent, 1).await;
    let (bound, _) = world.bound(&process()).await;
    let labels = [("for".to_owned(), "tests".to_owned())].into();
    let pending = world.pending(&SubmitJob { labels, priority: 7, ..process() }).await;
    let after = SubmitJob { depends_on: vec![running.to_string()], ..process() };
    let key = Idempotency { key: "key".to_owned(), body: "body".to_owned() };
    let blocked = JobId::new("blocked").unwrap();
    let new = NewJob { idempotency: Some(key.clone()), ..NewJob::new(&blocked, &after) };
    Submit { jobs: &[new], owner: "test", explain: false }.run(&world.pool()).await.unwrap();

    let jobs = [ended, failed.clone(), running.clone(), bound.clone(), pending.clone(), blocked.clone()];
    let before = all(&world, &jobs).await;
    back_to_schema_1(&world, &jobs).await;
    let world = seen_anew(world);
    assert_eq!(all(&world, &jobs).await, before);

    // The same key is the same job, whichever version made it.
    let again = JobId::new("again").unwrap();
    let new = NewJob { idempotency: Some(key), ..NewJob::new(&again, &after) };
    let outcome = Submit { jobs: &[new], owner: "test", explain: false }.run(&world.pool()).await.unwrap();
    assert!(matches!(&outcome, j::SubmitOutcome::Submitted { jobs, .. } if jobs[0].id == blocked), "{outcome:?}");
    // All of them end, the one that had failed at its second try.
    assert_eq!(world.report(&agent, &lease, completed(None)).await, Answer::Accepted {});
    RetryJob { job: &failed }.run(&world.pool()).await.unwrap();
    for _ in 0..8 {
        for lease in world.claim(&agent, 2).await {
            assert_eq!(world.report(&agent, &lease, completed(None)).await, Answer::Accepted {});
        }
    }
    for (job, was) in all(&world, &jobs).await.iter().zip(&before) {
        assert_eq!((job.state, &job.process, &job.labels), (JobState::Completed, &was.process, &was.labels));
    }
    assert_eq!(titan_tests::audit::findings(&world.pool()).await, []);
}

async fn events(world: &World, after: u64) -> Vec<Event> {
    let read = ReadEvents { after: Some(after), prefix: "" }.run(&world.pool()).await.unwrap();
    let ReadOutcome::Events(list) = read else { panic!("{read:?}") };
    list.events
}

#[tokio::test]
async fn events_that_an_older_version_wrote_are_read_forgotten_and_found_by_their_keys() {
    let world = World::new().await;
    let topic = EventTopic::new("tests.done").unwrap();
    let publish = async |world: &World, key: &str| {
        let event = Publish { topic: &topic, payload: r#"{"n":1}"#, idempotency: Some(key) };
        event.run(&world.pool()).await.unwrap()
    };
    let before = publish(&world, "before").await;
    let agent = worker(&world).await;
    end_together(&world, &agent, 4, "job").await;
    publish(&world, "after").await;
    let told = events(&world, 0).await;

    let mut redis = world.redis.connection().await;
    let mut script = redis::cmd("EVAL");
    script.arg(EVENTS_BACK_TO_SCHEMA_2).arg(1).arg(POOL);
    let more: u64 = script.query_async(&mut redis).await.unwrap();
    assert!(more > 0, "none had been told together");
    let world = seen_anew(world);
    assert_eq!(publish(&world, "before").await, before);
    for after in told.iter().map(|event| event.id) {
        let rest: Vec<_> = told.iter().filter(|event| event.id > after).cloned().collect();
        assert_eq!(events(&world, after).await, rest);
    }
    // New ones come behind them, and the old ones go first.
    let last = told.last().unwrap().id;
    assert_eq!(publish(&world, "new").await, PublishOutcome::Published(last + 1));
    assert_eq!(events(&world, last - 1).await.iter().map(|event| event.id).collect::<Vec<_>>(), [last, last + 1]);
    world.pass_ms(86_400_000);
    world.sweep().await;
    assert!(events(&world, 0).await.iter().all(|event| event.id > last + 1), "a day later they are gone");
}

#[tokio::test]
async fn a_pool_that_a_version_uses_is_left_alone_by_older_ones() {
    let world = World::new().await;
    world.register("a", &facts()).await;
    back_to_schema_1(&world, &[]).await;
    let world = seen_anew(world);
    world.register("b", &facts()).await;
    assert_eq!(world.redis.snapshot().await.field(POOL, "schema"), Some("3"));

    put_schema(&world, 4).await;
    let before = world.redis.snapshot().await;
    let world = seen_anew(world);
    let (job, spec) = (JobId::new("job").unwrap(), process());
    let submitted = Submit { jobs: &[NewJob::new(&job, &spec)], owner: "test", explain: false };
    for told in [submitted.run(&world.pool()).await.err(), GetJob { job: &job }.run(&world.pool()).await.err()] {
        assert!(matches!(&told, Some(StoreError::Unavailable(why)) if why.contains("upgrade")), "{told:?}");
    }
    assert_eq!(world.redis.snapshot().await, before);
}
