//! Events: what one script tells is one entry of the stream, in which each event has its own number all the same.

use std::collections::{BTreeMap, BTreeSet};

use titan_api::{
    agents::Facts,
    events::{Event, EventList},
    ids::{EventTopic, JobId},
    jobs::{JobState, Requirements, SubmitJob},
    work::{Happening, Report},
};
use titan_lua::{
    agents::{ReportBatch, ReportOutcome},
    events::{Publish, PublishOutcome, ReadEvents, ReadOutcome},
    jobs::{NewJob, Submit},
};

use super::world::{Box_, World, facts, held, process};

const STREAM: &str = "titan:{default}:events";
const DAY_MS: i64 = 86_400_000;

/// Puts entries of eight events on topic `old` into a pool, as if scripts had told them, until there are so many.
const TELL: &str = "
local clock = { cmsgpack.unpack(redis.call('HGET', KEYS[1], 'clock')) }
for _ = 1, tonumber(ARGV[1]) do
  local first, events = string.format('%d-0', clock[8] + 1), {}
  for i = 1, 8 do
    events[2 * i - 1], events[2 * i] = 'old', '{}'
  end
  redis.call('XADD', KEYS[1] .. ':events', first, 'at', ARGV[2], unpack(events))
  clock[8] = clock[8] + 8
end
redis.call('HSET', KEYS[1], 'clock', cmsgpack.pack(unpack(clock)))";

async fn redis<T: redis::FromRedisValue>(world: &World, words: &[&str]) -> T {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]).query_async(&mut world.redis.connection().await).await.unwrap()
}

async fn entries(world: &World) -> u64 {
    redis(world, &["XLEN", STREAM]).await
}

async fn read(world: &World, after: u64, prefix: &str) -> ReadOutcome {
    ReadEvents { after: Some(after), prefix }.run(&world.pool()).await.unwrap()
}

async fn page(world: &World, after: u64, prefix: &str) -> EventList {
    let ReadOutcome::Events(list) = read(world, after, prefix).await else { panic!("{after} is lost") };
    list
}

/// Every event after one, however many pages that takes.
async fn all(world: &World, mut after: u64, prefix: &str) -> Vec<Event> {
    let mut found = Vec::new();
    loop {
        let list = page(world, after, prefix).await;
        found.extend(list.events);
        after = list.next_after;
        if !list.more {
            return found;
        }
    }
}

/// The number of the pool's last event.
async fn newest(world: &World) -> u64 {
    let read = ReadEvents { after: None, prefix: "" }.run(&world.pool()).await.unwrap();
    let ReadOutcome::Events(list) = read else { panic!("{read:?}") };
    list.next_after
}

fn numbers(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.id).collect()
}

/// All numbers from the first to the last.
fn run(first: u64, last: u64) -> Vec<u64> {
    (first..=last).collect()
}

async fn published(world: &World, topic: &str, key: &str) -> PublishOutcome {
    let topic = EventTopic::new(topic).unwrap();
    Publish { topic: &topic, payload: "{}", idempotency: Some(key) }.run(&world.pool()).await.unwrap()
}

async fn publish(world: &World, topic: &str, key: &str) -> u64 {
    let PublishOutcome::Published(number) = published(world, topic, key).await else { panic!("{key} is used") };
    number
}

pub(super) async fn worker(world: &World) -> Box_ {
    world.register("a", &Facts { max_jobs: 64, ..facts() }).await
}

/// So many jobs, at most 64, end by one call, which tells of each of them.
pub(super) async fn end_together(world: &World, agent: &Box_, count: usize, name: &str) {
    let ids: Vec<_> = (0..count).map(|n| JobId::new(format!("{name}-{n}")).unwrap()).collect();
    let spec = process();
    let jobs: Vec<_> = ids.iter().map(|id| NewJob::new(id, &spec)).collect();
    for jobs in jobs.chunks(32) {
        Submit { jobs, owner: "test", explain: false }.run(&world.pool()).await.unwrap();
    }
    let mut reports = Vec::new();
    while reports.len() < count {
        let completed = Happening::Completed { result: None, message: None, usage: None };
        let leases = world.claim(agent, 64).await;
        reports.extend(leases.iter().map(|lease| Report::new(held(lease), completed.clone())));
    }
    let call = ReportBatch { agent: &agent.id, epoch: agent.epoch, reports: &reports };
    let outcome = call.run(&world.pool()).await.unwrap();
    assert!(matches!(outcome, ReportOutcome::Reported(_)), "{outcome:?}");
}

#[tokio::test]
async fn what_a_script_tells_is_one_entry_and_a_reader_may_stand_anywhere_in_it() {
    let world = World::new().await;
    let agent = worker(&world).await;
    let before = newest(&world).await;
    end_together(&world, &agent, 5, "job").await;
    assert_eq!(entries(&world).await, 2, "that of the agent, and that of all five");
    assert_eq!(newest(&world).await, before + 5);
    for after in before..=before + 5 {
        let list = page(&world, after, "job.").await;
        assert_eq!(numbers(&list.events), run(after + 1, before + 5));
        assert_eq!((list.next_after, list.more), (before + 5, false));
    }
    let told = all(&world, before, "").await;
    let jobs: Vec<_> = told.iter().map(|event| event.payload["job_id"].as_str().unwrap()).collect();
    assert_eq!(jobs, ["job-0", "job-1", "job-2", "job-3", "job-4"], "in the order in which it happened");
}

#[tokio::test]
async fn events_of_one_entry_are_told_by_their_topics() {
    let world = World::new().await;
    let before = newest(&world).await;
    // A job is lost with its agent and tried again: both are told by the same sweep.
    let agent = world.parked("a", &facts()).await;
    world.bound(&process()).await;
    world.claim(&agent, 1).await;
    for _ in 0..8 {
        world.pass_ms(60_000);
        world.sweep().await;
    }
    let told = all(&world, before, "").await;
    let topics = |prefix: &str| told.iter().filter(|event| event.topic.as_str().starts_with(prefix)).count();
    assert!(topics("job.") > 0 && topics("breaker.") > 0, "{told:?}");
    assert!(entries(&world).await < told.len() as u64, "none were told together: {told:?}");
    for prefix in ["", "job.", "breaker.", "agent.", "nothing."] {
        for after in before..=newest(&world).await {
            let wanted = |event: &&Event| event.id > after && event.topic.as_str().starts_with(prefix);
            let wanted: Vec<_> = told.iter().filter(wanted).map(|event| event.id).collect();
            let list = page(&world, after, prefix).await;
            assert_eq!((numbers(&list.events), list.next_after), (wanted, newest(&world).await), "{prefix} {after}");
        }
    }
}

#[tokio::test]
async fn a_page_may_end_in_the_middle_of_an_entry_and_the_next_one_goes_on_there() {
    let world = World::new().await;
    let agent = worker(&world).await;
    let before = newest(&world).await;
    for round in 0..33 {
        end_together(&world, &agent, 64, &format!("job-{round}")).await;
    }
    let newest = newest(&world).await;
    assert_eq!(newest, before + 33 * 64);
    assert_eq!(entries(&world).await, 1 + 33, "an entry for each call");
    let list = page(&world, before, "").await;
    assert_eq!((list.events.len(), list.next_after, list.more), (500, before + 500, true), "a page's worth");
    let list = page(&world, before + 7, "agent.").await;
    assert_eq!((list.events.len(), list.next_after, list.more), (0, before + 2_007, true), "what one call looks at");
    assert_eq!(numbers(&all(&world, before + 7, "job.").await), run(before + 8, newest));
}

#[tokio::test]
async fn of_an_entry_that_is_kept_no_event_is_lost() {
    let world = World::new().await;
    let agent = worker(&world).await;
    let before = newest(&world).await;
    end_together(&world, &agent, 3, "gone").await;
    end_together(&world, &agent, 4, "kept").await;
    let last_gone = before + 3;
    for oldest in [last_gone - 1, last_gone, last_gone + 1] {
        let () = redis(&world, &["XTRIM", STREAM, "MINID", &oldest.to_string()]).await;
        for after in [1, before, last_gone - 2] {
            assert_eq!(read(&world, after, "").await, ReadOutcome::Lost { first: last_gone + 1 }, "{after}");
        }
        assert_eq!(read(&world, last_gone - 1, "").await, ReadOutcome::Lost { first: last_gone + 1 });
        for after in last_gone..=last_gone + 4 {
            assert_eq!(numbers(&page(&world, after, "").await.events), run(after + 1, last_gone + 4));
        }
        assert_eq!(numbers(&all(&world, 0, "").await), run(last_gone + 1, last_gone + 4));
    }
    assert_eq!(read(&world, last_gone + 5, "").await, ReadOutcome::Lost { first: last_gone + 1 }, "none was told yet");
}

#[tokio::test]
async fn ten_thousand_events_are_kept_however_many_are_in_an_entry() {
    let world = World::new().await;
    let agent = worker(&world).await;
    let oldest = newest(&world).await;
    let now = world.now_ms.get().to_string();
    let () = redis(&world, &["EVAL", TELL, "1", "titan:{default}", "1300", &now]).await;
    end_together(&world, &agent, 60, "job").await;
    let (kept, newest) = (all(&world, 0, "").await, newest(&world).await);
    assert_eq!(newest, oldest + 1300 * 8 + 60);
    assert_eq!(numbers(&kept), run(kept[0].id, newest));
    // Whole nodes of the stream are forgotten, now and then.
    assert!((10_000..10_200).contains(&kept.len()), "{}", kept.len());
}

#[tokio::test]
async fn events_of_more_than_a_day_ago_go_entry_by_entry() {
    let world = World::new().await;
    let agent = worker(&world).await;
    end_together(&world, &agent, 5, "early").await;
    let early = newest(&world).await;
    world.pass_ms(DAY_MS / 2);
    let late = publish(&world, "tests.late", "late").await;
    world.pass_ms(DAY_MS / 2 - 1);
    let before = newest(&world).await;
    let kept = page(&world, early - 5, "").await;
    assert_eq!(kept.events.len() as u64, before - (early - 5), "not a day old yet");
    world.pass_ms(1);
    world.sweep().await;
    let kept = all(&world, 0, "").await;
    assert!(kept[0].id > early && kept[0].id <= late, "{kept:?}");
    world.pass_ms(3 * DAY_MS);
    world.sweep().await;
    world.pass_ms(3 * DAY_MS);
    world.sweep().await;
    assert_eq!(entries(&world).await, 0);
    let next = newest(&world).await + 1;
    assert_eq!(read(&world, late, "").await, ReadOutcome::Lost { first: next });
    assert_eq!(publish(&world, "tests.next", "next").await, next);
}

#[tokio::test]
async fn an_event_is_found_again_by_its_key_among_others_and_forgotten_with_its_entry() {
    let world = World::new().await;
    let agent = worker(&world).await;
    end_together(&world, &agent, 3, "before").await;
    let number = publish(&world, "tests.done", "key").await;
    end_together(&world, &agent, 3, "after").await;
    assert_eq!(publish(&world, "tests.done", "key").await, number);
    assert_eq!(published(&world, "tests.other", "key").await, PublishOutcome::Reused);
    let () = redis(&world, &["XTRIM", STREAM, "MINID", &(number + 1).to_string()]).await;
    assert_eq!(publish(&world, "tests.done", "key").await, number + 4);
}

#[tokio::test]
async fn where_the_stream_goes_beyond_what_the_pool_knows_no_number_is_told_twice() {
    for (beyond, count) in [(1, 1), (1, 5), (3, 5), (5, 5), (9, 5), (1 << 40, 5), (3, 64)] {
        let world = World::new().await;
        let agent = worker(&world).await;
        let before = newest(&world).await;
        let foreign = before + beyond;
        let entry = ["XADD", STREAM, &format!("{foreign}-0"), "at", "1", "tests.foreign", "{}"];
        let _: String = redis(&world, &entry).await;
        end_together(&world, &agent, count, "job").await;
        let told = numbers(&all(&world, foreign, "").await);
        assert!(told[0] > foreign, "{beyond} {count}");
        assert_eq!(told, run(told[0], told[0] + count as u64 - 1), "{beyond} {count}");
        assert_eq!(newest(&world).await, told[count - 1]);
        assert_eq!(publish(&world, "tests.done", "key").await, told[count - 1] + 1);
        // Whoever had been told what is beyond goes on as well.
        assert_eq!(numbers(&all(&world, told[0] - 1, "job.").await), told);
    }
}

#[tokio::test]
async fn a_pool_that_was_set_back_tells_nothing_under_numbers_that_its_stream_has() {
    let world = World::new().await;
    let agent = worker(&world).await;
    let clock: Vec<u8> = redis(&world, &["HGET", "titan:{default}", "clock"]).await;
    end_together(&world, &agent, 5, "lost").await;
    let told = newest(&world).await;
    let mut set = redis::cmd("HSET");
    set.arg("titan:{default}").arg("clock").arg(clock);
    let _: i64 = set.query_async(&mut world.redis.connection().await).await.unwrap();
    assert_eq!(newest(&world).await, told - 5);
    end_together(&world, &agent, 7, "job").await;
    let events = all(&world, told, "").await;
    assert_eq!(events.len(), 7);
    assert!(events.iter().all(|event| event.payload["job_id"].as_str().unwrap().starts_with("job-")), "{events:?}");
}

#[tokio::test]
async fn readers_get_past_what_makes_no_sense_and_it_is_forgotten() {
    let world = World::new().await;
    worker(&world).await;
    let before = newest(&world).await;
    for (n, fields) in [["x", "y"], ["topic", "y"], ["at", "y"], ["at", "1"]].iter().enumerate() {
        let id = format!("{}-0", before + 1 + n as u64);
        let _: String = redis(&world, &[&["XADD", STREAM, &id], fields.as_slice()].concat()).await;
    }
    let number = publish(&world, "tests.done", "key").await;
    for after in [0, before, before + 1, before + 3] {
        assert_eq!(numbers(&all(&world, after, "tests.").await), [number], "{after}");
    }
    world.pass_ms(2 * DAY_MS);
    for _ in 0..3 {
        world.sweep().await;
    }
    assert_eq!(all(&world, 0, "tests.").await, []);
}

#[tokio::test]
async fn what_the_stream_has_beyond_is_not_read_before_the_pool_goes_on_from_there() {
    let world = World::new().await;
    worker(&world).await;
    let newest = newest(&world).await;
    let foreign = ["XADD", STREAM, &format!("{}-0", newest + 2), "at", "1", "tests.foreign", "{}"];
    let _: String = redis(&world, &foreign).await;
    let list = page(&world, newest - 1, "").await;
    assert_eq!((numbers(&list.events), list.next_after, list.more), (vec![newest], newest, false));
}

#[tokio::test]
async fn one_thing_that_can_not_be_settled_takes_no_event_of_another_with_it() {
    let world = World::new().await;
    let labels = BTreeMap::from([("of".to_owned(), "two".to_owned())]);
    let agent = world.parked("a", &Facts { max_jobs: 3, labels: labels.clone(), ..facts() }).await;
    let needs = Requirements { agent_labels: labels, ..Requirements::default() };
    let (plain, other) = (process(), SubmitJob { requirements: needs, ..process() });
    let (mut jobs, mut classes) = (Vec::new(), Vec::new());
    for spec in [&plain, &other, &plain] {
        jobs.push(world.bound(spec).await.0);
        classes.push(redis::<BTreeSet<String>>(&world, &["KEYS", "titan:{default}:class:*"]).await);
        world.claim(&agent, 1).await;
        world.claim(&agent, 1).await;
    }
    let before = newest(&world).await;
    let line = classes[1].difference(&classes[0]).next().unwrap().replace(":class:", ":pending:");
    let _: String = redis(&world, &["SET", &line, "no line"]).await;
    for _ in 0..8 {
        world.pass_ms(60_000);
        world.sweep().await;
    }
    let told = all(&world, before, "job.retried").await;
    let told: Vec<_> = told.iter().map(|event| event.payload["job_id"].as_str().unwrap()).collect();
    for job in [&jobs[0], &jobs[2]] {
        assert!(told.contains(&job.as_str()), "{job} is not told of: {told:?}");
        assert_eq!(world.state(job).await, JobState::Pending);
    }
    let broken: Vec<String> = redis(&world, &["HKEYS", "titan:{default}:broken"]).await;
    assert!(broken.contains(&format!("job:{}", jobs[1])), "{broken:?}");
}

#[tokio::test]
async fn a_stream_that_can_not_be_written_keeps_nothing_from_being_done() {
    let world = World::new().await;
    let agent = worker(&world).await;
    let before = newest(&world).await;
    let () = redis(&world, &["SET", STREAM, "x"]).await;
    end_together(&world, &agent, 3, "job").await;
    assert_eq!(world.state(&JobId::new("job-2").unwrap()).await, JobState::Completed);
    world.sweep().await;
    let topic = EventTopic::new("tests.done").unwrap();
    let told = Publish { topic: &topic, payload: "{}", idempotency: None }.run(&world.pool()).await.unwrap_err();
    assert!(told.to_string().contains("events can not be written"), "{told}");
    let found = titan_tests::audit::findings(&world.pool()).await;
    assert!(found.iter().any(|finding| finding.id.contains("events")), "{found:?}");
    let () = redis(&world, &["DEL", STREAM]).await;
    assert_eq!(publish(&world, "tests.done", "key").await, before + 1);
}
