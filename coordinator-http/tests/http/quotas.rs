//! What an API key may do in a time, on all copies together.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, Request, header};
use serde_json::json;
use titan_api::problem::ProblemType;
use titan_coordinator::{AppState, router};

use crate::world::{ADMIN, World, job, request, send, settings};

const JOBS: &str = "/api/v1/jobs";

/// The values of `r` and `t` of a policy in `RateLimit`.
fn left(headers: &HeaderMap, policy: &str) -> (u64, u64) {
    let text = headers["ratelimit"].to_str().unwrap();
    let item = text.split(", ").find_map(|item| item.strip_prefix(&format!("\"{policy}\";r="))).unwrap();
    let (left, whole_s) = item.split_once(";t=").unwrap();
    (left.parse().unwrap(), whole_s.parse().unwrap())
}

#[tokio::test]
async fn a_key_that_has_used_up_its_requests_is_told_when_to_come_back() {
    let world = World::start().await;
    let key = world.limited_key(json!({"requests": {"quota": 3, "window_ms": 3_600_000}})).await;
    for remaining in [2, 1, 0] {
        let reply = world.get(&key, JOBS).await;
        reply.ok(200);
        assert_eq!(
            reply.headers["ratelimit-policy"],
            r#""requests";q=3;w=3600;qu="requests", "body-bytes";q=268435456;w=60;qu="content-bytes""#
        );
        assert_eq!(left(&reply.headers, "requests").0, remaining);
    }
    for _ in 0..2 {
        let reply = world.get(&key, JOBS).await;
        let problem = reply.problem(ProblemType::TooManyRequests);
        assert_eq!(problem.violated_policies, ["requests"]);
        assert!(problem.detail.unwrap().contains("3 in 3600 s"));
        let after: u64 = reply.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!((1_190..=1_200).contains(&after), "{after}");
        assert_eq!(left(&reply.headers, "requests"), (0, after));
        assert!(reply.headers["ratelimit-policy"].to_str().unwrap().starts_with(r#""requests";q=3;w=3600"#));
    }
    world.get(&world.key("default", &["jobs:read"]).await, JOBS).await.ok(200);
    let admin = world.get(ADMIN, JOBS).await;
    admin.ok(200);
    assert!(!admin.headers.contains_key("ratelimit"), "the administrator has no limit");
}

#[tokio::test]
async fn what_comes_back_in_time_is_served() {
    let world = World::start().await;
    let key = world.limited_key(json!({"requests": {"quota": 1, "window_ms": 3_000}})).await;
    world.get(&key, JOBS).await.ok(200);
    let refused = world.get(&key, JOBS).await;
    refused.problem(ProblemType::TooManyRequests);
    let after = refused.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    tokio::time::sleep(Duration::from_secs(after)).await;
    world.get(&key, JOBS).await.ok(200);
}

#[tokio::test]
async fn all_copies_of_the_coordinator_together_give_no_more_than_a_key_has() {
    let world = World::start().await;
    let copy = router(AppState::new(settings(&world.redis.url(), &[])).unwrap());
    let day = json!({"quota": 40, "window_ms": 86_400_000});
    let key = world.limited_key(json!({"requests": day})).await;
    let calls = (0..64).map(|n| {
        let router = if n % 2 == 0 { world.router.clone() } else { copy.clone() };
        let request = request("GET", &key, JOBS, None);
        tokio::spawn(async move { send(&router, request).await })
    });
    let mut served = 0;
    for reply in calls.collect::<Vec<_>>() {
        let reply = reply.await.unwrap();
        if reply.status == 200 {
            served += 1;
        } else {
            reply.problem(ProblemType::TooManyRequests);
        }
    }
    assert_eq!(served, 40);
}

#[tokio::test]
async fn bodies_are_weighed_whether_or_not_their_length_is_told_before() {
    let world = World::start().await;
    let body = job(&["echo", &"x".repeat(900)]).to_string();
    let limit = json!({"body_bytes": {"quota": 2 * body.len() + 1, "window_ms": 86_400_000}});
    for is_told in [true, false] {
        let key = world.limited_key(limit.clone()).await;
        let submit = || {
            let mut request = Request::post(JOBS).header(header::AUTHORIZATION, format!("Bearer {key}"));
            request = request.header(header::CONTENT_TYPE, "application/json");
            if is_told {
                request = request.header(header::CONTENT_LENGTH, body.len());
            }
            world.send(request.body(Body::from(body.clone())).unwrap())
        };
        submit().await.ok(202);
        submit().await.ok(202);
        let before = world.pool_dump().await;
        let reply = submit().await;
        assert_eq!(reply.problem(ProblemType::TooManyRequests).violated_policies, ["body-bytes"]);
        assert_eq!(left(&reply.headers, "body-bytes").0, 0);
        assert_eq!(before, world.pool_dump().await, "a refused submission changed something");
        world.get(&key, JOBS).await.ok(200);
    }
}

#[tokio::test]
async fn a_limited_key_is_refused_while_nobody_can_tell_what_it_has_left() {
    let mut world = World::start().await;
    let key = world.limited_key(json!({"requests": {"quota": 99, "window_ms": 1_000}})).await;
    world.get(&key, JOBS).await.ok(200);
    world.redis.kill();
    world.get(&key, JOBS).await.problem(ProblemType::StoreUnavailable);
    let path = "/api/v1/jobs/x/cancel";
    world.call("POST", &key, path, None).await.problem(ProblemType::StoreUnavailable);
}

#[tokio::test]
async fn a_limit_that_is_far_away_costs_hardly_any_commands_and_none_at_all_where_it_is_off() {
    for (flags, most) in [
        ([].as_slice(), 400 + 50),
        (&["--rate-limit-requests", "off"], 400),
        (&["--rate-limit-requests", "off", "--rate-limit-bytes", "off"], 400),
    ] {
        let world = World::with(flags).await;
        let key = world.key("default", &["jobs:read"]).await;
        world.get(&key, JOBS).await.ok(200);
        let before = world.redis.calls("fcall").await;
        for _ in 0..400 {
            let reply = world.get(&key, JOBS).await;
            reply.ok(200);
            assert_eq!(reply.headers.contains_key("ratelimit"), flags.is_empty());
        }
        let run = world.redis.calls("fcall").await - before;
        assert!((400..=most).contains(&run), "{flags:?}: {run} scripts for 400 requests");
    }
}

#[tokio::test]
async fn a_key_that_has_ever_new_kinds_of_jobs_made_is_slowed_down_and_known_kinds_go_on() {
    let world = World::start().await;
    let key = world.key("default", &["jobs:write"]).await;
    let labelled = |n: usize| {
        let mut job = job(&["true"]);
        job["requirements"] = json!({"agent_labels": {"n": n.to_string()}});
        job
    };
    let mut made = 0;
    let refused = loop {
        let reply = world.post(&key, "/api/v1/jobs", labelled(made)).await;
        if reply.status != 202 {
            break reply;
        }
        made += 1;
        assert!(made < 200, "nothing slows it down");
    };
    assert!(made >= 64, "{made}");
    let problem = refused.problem(ProblemType::TooManyRequests);
    assert_eq!(problem.violated_policies, ["new-classes"]);
    assert_eq!(refused.headers["retry-after"], "1");
    let before = world.pool_dump().await;
    let batch: Vec<_> = (1_000..1_100).map(labelled).collect();
    world.post(&key, "/api/v1/jobs/batch", json!({"jobs": batch})).await.problem(ProblemType::TooManyRequests);
    assert_eq!(world.pool_dump().await, before, "nothing was changed");
    for known in [0, 1, made - 1] {
        world.post(&key, "/api/v1/jobs", labelled(known)).await.ok(202);
    }
    let other = world.key("default", &["jobs:write"]).await;
    world.post(&other, "/api/v1/jobs", labelled(500)).await.ok(202);
    world.post(ADMIN, "/api/v1/jobs/batch", json!({"jobs": batch})).await.ok(202);
    world.post(&key, "/api/v1/jobs", labelled(1_005)).await.ok(202);
}
