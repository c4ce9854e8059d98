//! Events over HTTP: published, read by page and by stream, resumed anywhere, lost and told so.

use std::collections::BTreeSet;

use axum::{Router, body::Body};
use http::Request;
use serde_json::{Value, json};
use titan_api::problem::ProblemType;
use titan_coordinator::{AppState, router};

use crate::{
    agent::TestAgent,
    losing::Losing,
    sse::Events,
    world::{ADMIN, Reply, World, job, request, send, settings},
};

const EVENTS: &str = "/api/v1/events";

async fn publish(world: &World, topic: &str, payload: Value) -> u64 {
    let made = world.post(ADMIN, EVENTS, json!({"topic": topic, "payload": payload})).await.ok(201);
    made["id"].as_u64().unwrap()
}

fn keyed(bearer: &str, key: &str, body: &Value) -> Request<Body> {
    let mut request = request("POST", bearer, EVENTS, Some(body.clone()));
    request.headers_mut().insert("idempotency-key", key.parse().unwrap());
    request
}

async fn page(world: &World, query: &str) -> Reply {
    world.get(ADMIN, &format!("{EVENTS}?{query}")).await
}

fn topics(list: &Value) -> Vec<&str> {
    list["events"].as_array().unwrap().iter().map(|event| event["topic"].as_str().unwrap()).collect()
}

/// Another copy of the coordinator over the same Redis.
fn another_copy(world: &World) -> Router {
    router(AppState::new(settings(&world.redis.url(), &[])).unwrap())
}

/// Skips what only tells a place, and gives the number of the next event.
async fn number(events: &mut Events) -> u64 {
    loop {
        let event = events.next().await.unwrap();
        if event.name == "event" {
            assert_eq!(event.id, event.data["id"].to_string());
            return event.data["id"].as_u64().unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_published_and_what_happens_in_the_pool_is_read_in_order_by_topic() {
    let world = World::start().await;
    let first = publish(&world, "deploy.begun", json!({"who": "me", "n": [1, 2.5, null]})).await;
    TestAgent::register(&world, "box-1").await;
    let job = world.submit(ADMIN).await;
    world.post(ADMIN, &format!("/api/v1/jobs/{job}/cancel"), json!({})).await.ok(200);
    let all = page(&world, "after=0").await.ok(200);
    assert_eq!(topics(&all), ["deploy.begun", "agent.registered", "job.cancelled"]);
    assert_eq!(all["events"][0]["payload"], json!({"who": "me", "n": [1, 2.5, null]}));
    assert_eq!(all["events"][2]["payload"]["job_id"], json!(job));
    assert_eq!((all["next_after"].as_u64().unwrap(), all["more"].as_bool()), (first + 2, Some(false)));
    let agents = page(&world, "after=0&topic=agent.").await.ok(200);
    assert_eq!((topics(&agents), &agents["next_after"]), (vec!["agent.registered"], &all["next_after"]));
    let now = page(&world, "topic=job.").await.ok(200);
    assert_eq!((topics(&now), &now["next_after"]), (vec![], &all["next_after"]));
}

#[tokio::test]
async fn events_can_be_read_from_a_time_on_also_as_a_stream() {
    let world = World::start().await;
    let first = publish(&world, "early", json!(1)).await;
    let at = |list: &Value| list["events"][0]["at"].as_str().unwrap().to_owned();
    let early = at(&page(&world, "after=0").await.ok(200));
    let (late, since) = loop {
        let late = publish(&world, "late", json!(2)).await;
        let at = at(&page(&world, &format!("after={}", late - 1)).await.ok(200));
        if at > early {
            break (late, at);
        }
    };
    let list = page(&world, &format!("after=0&since={since}")).await.ok(200);
    assert_eq!((topics(&list), &list["next_after"]), (vec!["late"], &json!(late)));
    let kept = page(&world, &format!("since={since}")).await.ok(200);
    assert_eq!(topics(&kept), ["late"], "without a number those that are kept are meant");
    let all = page(&world, "since_ms=3600000").await.ok(200);
    assert_eq!((topics(&all)[0], &all["next_after"]), ("early", &json!(late)), "all that are kept");
    assert_eq!(topics(&page(&world, "after=0&since=2100-01-01T00:00:00Z").await.ok(200)), [""; 0]);
    let both = page(&world, &format!("since={since}&since_ms=5")).await.problem(ProblemType::BadRequest);
    assert!(both.detail.unwrap().contains("not both"));
    let mut events = Events::of(&world.router, ADMIN, &format!("{EVENTS}?since={since}"), None).await;
    assert_eq!(number(&mut events).await, late);
    let mut resumed =
        Events::of(&world.router, ADMIN, &format!("{EVENTS}?since=2100-01-01T00:00:00Z"), Some("0")).await;
    assert_eq!(number(&mut resumed).await, first, "who resumes misses nothing");
}

#[tokio::test]
async fn the_topics_of_the_pool_are_closed_to_clients_and_a_payload_has_its_bound() {
    let world = World::start().await;
    let key = world.key("default", &["events:write"]).await;
    for topic in ["agent.registered", "job.x", "breaker."] {
        for bearer in [ADMIN, &key] {
            world.post(bearer, EVENTS, json!({"topic": topic})).await.problem(ProblemType::Forbidden);
        }
    }
    for topic in ["agents.x", "jobs", "agent"] {
        world.post(&key, EVENTS, json!({"topic": topic})).await.ok(201);
    }
    let of_bytes = |bytes: usize| json!({"topic": "big", "payload": "x".repeat(bytes - 2)});
    world.post(&key, EVENTS, of_bytes(4_096)).await.ok(201);
    let problem = world.post(&key, EVENTS, of_bytes(4_097)).await.problem(ProblemType::Invalid);
    assert_eq!(problem.errors[0].pointer, "/payload");
    for topic in [json!("a b"), json!(""), json!("x".repeat(129)), json!(7)] {
        world.post(&key, EVENTS, json!({"topic": topic})).await.problem(ProblemType::Invalid);
    }
    world.post(&key, EVENTS, json!({"topic": "a", "at": 1})).await.problem(ProblemType::Invalid);
    for query in ["topic=a%20b", "after=-1", "after=x", "wait_ms=20001", "prefix=a"] {
        page(&world, query).await.problem(ProblemType::BadRequest);
    }
}

#[tokio::test]
async fn a_repeat_with_its_key_publishes_nothing_and_the_key_is_its_owners() {
    let world = World::start().await;
    let (mine, theirs) = (world.key("default", &["events:write"]).await, world.key("default", &["events:write"]).await);
    let body = json!({"topic": "deploy.begun", "payload": {"n": 1}});
    let race = (0..16).map(|_| send(&world.router, keyed(&mine, "a", &body)));
    let ids: BTreeSet<_> =
        futures_util::future::join_all(race).await.iter().map(|r| r.ok(201)["id"].as_u64()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let other = json!({"topic": "deploy.begun", "payload": {"n": 2}});
    send(&world.router, keyed(&mine, "a", &other)).await.problem(ProblemType::KeyReused);
    send(&world.router, keyed(&theirs, "a", &other)).await.ok(201);
    send(&world.router, keyed(&mine, "b", &body)).await.ok(201);
    send(&world.router, keyed(&mine, "", &body)).await.problem(ProblemType::BadRequest);
    assert_eq!(topics(&page(&world, "after=0").await.ok(200)).len(), 3);
}

#[tokio::test]
async fn many_publishers_at_once_are_each_told_their_own_number_and_readers_miss_none() {
    let world = World::start().await;
    let mut events = Events::of(&world.router, ADMIN, EVENTS, None).await;
    let race = (0..64).map(|n| publish(&world, "race.run", json!(n)));
    let told = async {
        let numbers: BTreeSet<_> = futures_util::future::join_all(race).await.into_iter().collect();
        assert_eq!(numbers.len(), 64);
        numbers
    };
    let read = async {
        let mut numbers = Vec::new();
        while numbers.len() < 64 {
            numbers.push(number(&mut events).await);
        }
        numbers
    };
    let (told, read) = tokio::join!(told, read);
    assert_eq!(read, told.into_iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_reader_resumes_on_another_copy_after_the_last_event_that_it_read() {
    let world = World::start().await;
    let other = another_copy(&world);
    let mut events = Events::of(&world.router, ADMIN, &format!("{EVENTS}?topic=a."), None).await;
    let place = events.next().await.unwrap();
    assert_eq!((place.name.as_str(), place.data), ("", Value::Null), "its place is told at once");
    let first = publish(&world, "a.x", json!(1)).await;
    assert_eq!(place.id, (first - 1).to_string());
    publish(&world, "b.x", json!(2)).await;
    assert_eq!(number(&mut events).await, first);
    drop(events);
    let third = publish(&world, "a.y", json!(3)).await;
    let mut events = Events::of(&other, ADMIN, &format!("{EVENTS}?topic=a."), Some(&first.to_string())).await;
    assert_eq!(number(&mut events).await, third);
    let fourth = publish(&world, "a.z", json!(4)).await;
    assert_eq!(number(&mut events).await, fourth);
    let mut events = Events::of(&other, ADMIN, &format!("{EVENTS}?topic=a.&after=0"), Some("0")).await;
    assert_eq!(number(&mut events).await, first);
}

#[tokio::test]
async fn a_reader_resumes_in_the_middle_of_what_happened_at_once() {
    let world = World::start().await;
    let before = publish(&world, "a", json!(0)).await;
    let mut steps = vec![job(&["true"]); 4];
    steps[0]["ref"] = json!("first");
    for step in &mut steps[1..] {
        step["depends_on"] = json!(["first"]);
    }
    let made = world.post(ADMIN, "/api/v1/jobs/batch", json!({ "jobs": steps })).await.ok(202);
    let first = made["jobs"][0]["id"].as_str().unwrap();
    world.post(ADMIN, &format!("/api/v1/jobs/{first}/cancel"), json!({})).await.ok(200);
    let newest = before + 4;
    assert_eq!(page(&world, "topic=job.").await.ok(200)["next_after"], json!(newest), "all are told with the first");
    for after in before..newest {
        let rest: Vec<_> = (after + 1..=newest).collect();
        let list = page(&world, &format!("after={after}&topic=job.")).await.ok(200);
        let told: Vec<_> =
            list["events"].as_array().unwrap().iter().map(|event| event["id"].as_u64().unwrap()).collect();
        assert_eq!((told, list["next_after"].as_u64()), (rest.clone(), Some(newest)));
        let mut events = Events::of(&world.router, ADMIN, EVENTS, Some(&after.to_string())).await;
        for id in rest {
            assert_eq!(number(&mut events).await, id);
        }
    }
}

#[tokio::test]
async fn a_waiting_reader_is_answered_when_something_happens_on_its_topic_and_not_before() {
    let world = World::start().await;
    let waits = page(&world, "topic=a.&wait_ms=20000");
    let happens = async {
        while world.get(ADMIN, "/metrics").await.body.contains("titan_http_requests_waiting 0\n") {
            tokio::task::yield_now().await;
        }
        publish(&world, "b.x", json!(1)).await;
        publish(&world, "a.x", json!(2)).await
    };
    let (reply, newest) = tokio::join!(waits, happens);
    let list = reply.ok(200);
    assert_eq!((topics(&list), &list["next_after"]), (vec!["a.x"], &json!(newest)));
    let nothing = page(&world, &format!("topic=c.&after={newest}&wait_ms=50")).await.ok(200);
    assert_eq!(nothing, json!({"events": [], "next_after": newest, "more": false}));
}

#[tokio::test]
async fn a_place_that_is_kept_no_more_is_told_with_where_to_go_on() {
    let world = World::start().await;
    let first = publish(&world, "a", json!(0)).await;
    publish(&world, "a", json!(1)).await;
    let again = json!({"topic": "a", "payload": 2});
    assert_eq!(send(&world.router, keyed(ADMIN, "k", &again)).await.ok(201)["id"], json!(first + 2));
    publish(&world, "a", json!(3)).await;
    world.redis.command(&["XTRIM", "titan:{default}:events", "MINID", &format!("{}", first + 3)]).await;
    for after in [1, first, first + 4, u64::MAX] {
        let lost = page(&world, &format!("after={after}")).await.problem(ProblemType::EventsLost);
        assert_eq!(lost.next_after, Some(first + 2));
        let mut request = request("GET", ADMIN, EVENTS, None);
        request.headers_mut().insert("accept", "text/event-stream".parse().unwrap());
        request.headers_mut().insert("last-event-id", after.to_string().parse().unwrap());
        send(&world.router, request).await.problem(ProblemType::EventsLost);
    }
    assert_eq!(topics(&page(&world, &format!("after={}", first + 2)).await.ok(200)).len(), 1);
    // The key was the event's, and is forgotten with it.
    assert_eq!(send(&world.router, keyed(ADMIN, "k", &again)).await.ok(201)["id"], json!(first + 4));
}

#[tokio::test]
async fn a_reader_outlives_an_outage_of_redis_and_misses_nothing_by_it() {
    let mut world = World::start().await;
    let first = publish(&world, "a", json!(0)).await;
    let mut events = Events::of(&world.router, ADMIN, &format!("{EVENTS}?after=0"), None).await;
    assert_eq!(number(&mut events).await, first);
    world.redis.kill();
    world.post(ADMIN, EVENTS, json!({"topic": "b"})).await.problem(ProblemType::StoreUnavailable);
    world.redis.restart().await;
    let second = published_at_last(&world).await;
    // What was refused may have been published all the same, and then comes before.
    let mut read = number(&mut events).await;
    while read < second {
        read = number(&mut events).await;
    }
    assert_eq!(read, second);
}

#[tokio::test]
async fn a_reader_is_told_that_redis_came_back_empty() {
    let mut world = World::start().await;
    publish(&world, "a", json!(0)).await;
    let last = publish(&world, "a", json!(1)).await;
    let mut events = Events::of(&world.router, ADMIN, EVENTS, None).await;
    world.redis.command(&["FLUSHALL"]).await;
    world.redis.kill();
    world.redis.restart().await;
    let made = published_at_last(&world).await;
    assert!(made > last + 1, "{made} {last}");
    let gap = loop {
        let event = events.next().await.unwrap();
        if !event.name.is_empty() {
            break event;
        }
    };
    assert_eq!((gap.name.as_str(), gap.id), ("gap", (made - 1).to_string()));
    assert_eq!(gap.data, json!({"next": made}));
    assert_eq!(number(&mut events).await, made);
}

/// Publishes as soon as Redis is there.
async fn published_at_last(world: &World) -> u64 {
    loop {
        let reply = world.post(ADMIN, EVENTS, json!({"topic": "b"})).await;
        if reply.status == 201 {
            return reply.ok(201)["id"].as_u64().unwrap();
        }
        reply.problem(ProblemType::StoreUnavailable);
    }
}

#[tokio::test]
async fn many_readers_at_the_newest_event_read_redis_together_and_each_sees_its_own_topics() {
    let world = World::start().await;
    let mut readers = Vec::new();
    for n in 0..60 {
        let path = format!("{EVENTS}{}", ["?topic=a.", "?topic=b.", ""][n % 3]);
        let mut reader = Events::of(&world.router, ADMIN, &path, None).await;
        assert_eq!(reader.next().await.unwrap().name, "", "its place");
        readers.push(reader);
    }
    let before = world.redis.calls("xrange").await;
    for round in 0..5 {
        let (a, b) = (publish(&world, "a.x", json!(round)).await, publish(&world, "b.x", json!(round)).await);
        // All at once, as a server drives them.
        let reads = readers.iter_mut().enumerate().map(async |(n, reader)| {
            for id in [vec![a], vec![b], vec![a, b]][n % 3].clone() {
                assert_eq!(number(reader).await, id);
            }
        });
        futures_util::future::join_all(reads).await;
    }
    let calls = world.redis.calls("xrange").await - before;
    assert!(calls <= 60, "{calls} reads for 60 readers of 10 events");
    // One that is behind reads by itself and catches up.
    let mut late = Events::of(&world.router, ADMIN, &format!("{EVENTS}?topic=a.&after=0"), None).await;
    for _ in 0..5 {
        number(&mut late).await;
    }
    let newest = publish(&world, "a.y", json!(0)).await;
    assert_eq!((number(&mut late).await, number(&mut readers[0]).await), (newest, newest));
}

#[tokio::test]
async fn another_pools_events_are_not_there() {
    let world = World::start().await;
    publish(&world, "secret.plan", json!(1)).await;
    let foreign = world.key("other", &["events:read", "events:write"]).await;
    assert_eq!(topics(&world.get(&foreign, &format!("{EVENTS}?after=0")).await.ok(200)), Vec::<&str>::new());
}

#[tokio::test]
async fn an_event_that_is_published_without_a_key_is_one_though_an_answer_of_redis_was_lost() {
    let mut lost = 0;
    for number in 1.. {
        let world = World::start().await;
        let way = Losing::to(&world.redis.url()).await;
        let through = router(AppState::new(settings(&way.url(), &[])).unwrap());
        let event = || request("POST", ADMIN, EVENTS, Some(json!({"topic": "tests.done", "payload": {}})));
        send(&through, event()).await.ok(201);
        way.lose(number);
        // The coordinator asks again by itself.
        send(&through, event()).await.ok(201);
        if !way.mend() {
            break;
        }
        lost += 1;
        let told = page(&world, "topic=tests.&after=0").await.ok(200);
        assert_eq!(told["events"].as_array().unwrap().len(), 2, "answer {number} lost");
    }
    assert!(lost > 0);
}
