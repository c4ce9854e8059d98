//! Answers that agents upload as they come: in order, once, to whoever waits on this copy or on another, and to nobody
//! once the attempt is over.

use std::convert::Infallible;

use tokio::{sync::mpsc::Sender, time::timeout};

use super::*;
use crate::world::REDIS_TIMEOUT;

/// An upload by an agent, whose body the test feeds.
pub(crate) fn upload(agent: &TestAgent, lease: &Value, body: Body) -> Request<Body> {
    let path = format!("/api/v1/jobs/{}/attempts/{}/stream", lease["job_id"].as_str().unwrap(), lease["attempt"]);
    let mut upload = request("POST", &agent.token, &path, None);
    upload.headers_mut().insert("x-titan-lease", lease["lease_id"].as_str().unwrap().parse().unwrap());
    *upload.body_mut() = body;
    upload
}

/// A body that is fed bit by bit, and what feeds it; it ends when that is dropped.
fn fed() -> (Sender<String>, Body) {
    let (sender, receiver) = tokio::sync::mpsc::channel::<String>(1);
    let body = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let text = receiver.recv().await?;
        Some((Ok::<_, Infallible>(text), receiver))
    });
    (sender, Body::from_stream(body))
}

/// Waits until so many bytes of a job's output are in Redis.
async fn written(world: &World, lease: &Value, bytes: usize) {
    let path = format!("/api/v1/jobs/{}", lease["job_id"].as_str().unwrap());
    while world.get(ADMIN, &path).await.ok(200)["output_bytes"] != bytes {
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_upload_reaches_a_client_of_the_same_copy_in_order_and_once_and_redis_has_it_all() {
    let world = World::start().await;
    let mut agent = serving(&world, "box", &["llama"]).await;
    let key = world.key("default", &["inference", "jobs:read"]).await;
    let pieces: Vec<String> = (0..200).map(|n| piece(&format!("token {n}"))).collect();
    let whole = pieces.concat();
    let playing = async {
        let lease = agent.claim_requests(&world, 5_000).await.ok(200)["leases"][0].clone();
        agent.report(&world, &lease, vec![json!({"type": "started"})]).await.ok(200);
        let (sender, body) = fed();
        let feeding = async {
            for (n, text) in pieces.iter().enumerate() {
                sender.send(text.clone()).await.unwrap();
                if n % 20 == 0 {
                    sleep(Duration::from_millis(10)).await;
                }
            }
            drop(sender);
        };
        let (reply, ()) = tokio::join!(world.send(upload(&agent, &lease, body)), feeding);
        assert_eq!(reply.ok(200), json!({"accepted_offset": whole.len()}));
        agent.report(&world, &lease, vec![done()]).await.ok(200);
        lease
    };
    let (reply, lease) = tokio::join!(world.post(&key, CHAT, ask(true)), playing);
    assert_eq!(reply.body, whole);
    let path = format!("/api/v1/jobs/{}/output", lease["job_id"].as_str().unwrap());
    let kept = world.get(&key, &path).await.ok(200);
    let kept: String = kept["chunks"].as_array().unwrap().iter().map(|c| c["data"].as_str().unwrap()).collect();
    assert_eq!(kept, whole);
}

#[tokio::test]
async fn an_upload_of_a_cancelled_attempt_is_closed_early() {
    let world = World::start().await;
    let mut agent = serving(&world, "box", &["llama"]).await;
    let endless = futures_util::stream::repeat(piece("x")).then(|text| async move {
        sleep(Duration::from_millis(5)).await;
        Ok::<_, Infallible>(text)
    });
    let playing = async {
        let lease = agent.claim_requests(&world, 5_000).await.ok(200)["leases"][0].clone();
        let reply = world.send(upload(&agent, &lease, Body::from_stream(endless))).await;
        (lease, reply)
    };
    let leaving = async {
        stream_of(&world).await.frame().await.unwrap().unwrap();
    };
    let ((lease, reply), ()) = tokio::join!(playing, leaving);
    assert_eq!(reply.status, 409, "{}", reply.body);
    assert!(reply.body.contains("/problems/stale-attempt"), "{}", reply.body);
    let mut wrong = upload(&agent, &lease, Body::from("x"));
    wrong.headers_mut().insert("x-titan-lease", "0123".parse().unwrap());
    assert_eq!(world.send(wrong).await.status, 409);
}

#[tokio::test]
async fn an_upload_that_brings_nothing_is_closed_once_its_lease_is_gone() {
    let world = World::with(&["--heartbeat-interval", "1s", "--heartbeat-timeout", "3s", "--lease-ttl", "4s"]).await;
    let mut agent = serving(&world, "box", &["llama"]).await;
    // A box without power sends neither bytes nor the end of its connection.
    let silent = futures_util::stream::pending::<Result<String, Infallible>>();
    let playing = async {
        let lease = agent.claim_requests(&world, 5_000).await.ok(200)["leases"][0].clone();
        world.send(upload(&agent, &lease, Body::from_stream(silent))).await
    };
    let asking = world.post(ADMIN, CHAT, ask(true));
    // What the timer of a running coordinator does.
    let sweeping = async {
        for _ in 0..60 {
            sleep(Duration::from_secs(1)).await;
            world.call("POST", ADMIN, "/api/v1/sweep", None).await.ok(200);
        }
    };
    let reply = tokio::select! {
        reply = playing => reply,
        answer = asking => panic!("{}", answer.body),
        () = sweeping => panic!("the upload is held"),
    };
    assert!(reply.body.contains("/problems/stale-attempt"), "{}", reply.body);
}

#[tokio::test]
async fn a_client_on_another_copy_gets_the_same_stream_through_redis() {
    let world = World::start().await;
    let other = world.another_copy();
    let mut agent = serving(&world, "box", &["llama"]).await;
    let whole: String = (0..50).map(|n| piece(&n.to_string())).collect();
    let playing = async {
        let lease = agent.claim_requests(&world, 5_000).await.ok(200)["leases"][0].clone();
        world.send(upload(&agent, &lease, Body::from(whole.clone()))).await.ok(200);
        agent.report(&world, &lease, vec![done()]).await.ok(200);
    };
    let asking = send(&other, request("POST", ADMIN, CHAT, Some(ask(true))));
    let (reply, ()) = tokio::join!(asking, playing);
    assert_eq!(reply.body, whole);
}

#[tokio::test]
async fn an_upload_behind_whose_back_somebody_else_writes_ends_and_leaves_the_output_as_it_is() {
    let world = World::start().await;
    let mut agent = serving(&world, "box", &["llama"]).await;
    let key = world.key("default", &["inference", "jobs:read"]).await;
    let asking = tokio::spawn({
        let (router, asked) = (world.router.clone(), request("POST", &key, CHAT, Some(ask(true))));
        async move { send(&router, asked).await }
    });
    let lease = agent.claim_requests(&world, 5_000).await.ok(200)["leases"][0].clone();
    let (sender, body) = fed();
    let writing = async {
        sender.send("one ".to_owned()).await.unwrap();
        written(&world, &lease, 4).await;
        agent.report(&world, &lease, vec![output(4, "stdout", "two and more")]).await.ok(200);
        // It believes to go on at the fourth byte.
        sender.send("three".to_owned()).await.unwrap();
    };
    let both = async { tokio::join!(world.send(upload(&agent, &lease, body)), writing) };
    let (reply, ()) = timeout(Duration::from_secs(10), both).await.expect("the upload ends");
    assert_eq!(reply.status, 409, "{}", reply.body);
    assert!(reply.body.contains("/problems/stale-attempt"), "{}", reply.body);
    let path = format!("/api/v1/jobs/{}/output", lease["job_id"].as_str().unwrap());
    let kept = world.get(&key, &path).await.ok(200);
    assert_eq!((&kept["chunks"][0]["data"], &kept["next_offset"]), (&json!("one two and more"), &json!(16)));
    asking.abort();
}

#[tokio::test]
async fn what_another_attempt_answers_is_never_told_behind_what_was_read_and_runs_for_nobody() {
    for with_upload in [true, false] {
        let world = World::start().await;
        let mut agent = serving(&world, "box", &["llama"]).await;
        let asking = tokio::spawn(world.router.clone().oneshot(request("POST", ADMIN, CHAT, Some(ask(true)))));
        let job = loop {
            let jobs = world.get(ADMIN, "/api/v1/jobs").await.ok(200)["jobs"].clone();
            if let Some(id) = jobs[0]["id"].as_str() {
                break id.to_owned();
            }
        };
        let before = world.redis.dump().await;
        let first = agent.claim_requests(&world, 5_000).await.ok(200)["leases"][0].clone();
        let (sender, body) = fed();
        let uploading = tokio::spawn({
            let (router, upload) = (world.router.clone(), upload(&agent, &first, body));
            async move { send(&router, upload).await }
        });
        sender.send(piece("Hel")).await.unwrap();
        let mut told = asking.await.unwrap().unwrap().into_body();
        assert_eq!(told.frame().await.unwrap().unwrap().into_data().unwrap(), piece("Hel"));
        // A replica becomes master that has not heard of the claim: the next attempt gets the same number.
        world.redis.restore(&before).await;
        let second = agent.claim_requests(&world, 5_000).await.ok(200)["leases"][0].clone();
        assert_eq!((&second["attempt"], second["lease_id"] == first["lease_id"]), (&json!(1), false));
        let answer = format!("{}{}", piece("Good"), piece(" morning"));
        if with_upload {
            world.send(upload(&agent, &second, Body::from(answer))).await.ok(200);
        } else {
            agent.report(&world, &second, vec![output(0, "stdout", &answer)]).await.ok(200);
        }
        drop(sender);
        uploading.await.unwrap();
        let rest = timeout(Duration::from_secs(10), told.collect()).await.expect("nothing follows").unwrap().to_bytes();
        let rest = String::from_utf8(rest.to_vec()).unwrap();
        assert!(rest.contains("backend_failed") && !rest.contains("morning"), "{rest}");
        let path = format!("/api/v1/jobs/{job}");
        while world.get(ADMIN, &path).await.ok(200)["state"] == "running" {
            sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(world.get(ADMIN, &path).await.ok(200)["state"], "cancelled", "nobody reads it");
    }
}

#[tokio::test]
async fn a_whole_answer_outlives_an_outage_of_redis() {
    let world = World::with(&[REDIS_TIMEOUT, "500ms"]).await;
    let mut agent = serving(&world, "box", &["llama"]).await;
    let playing = async {
        let lease = agent.claim_requests(&world, 5_000).await.ok(200)["leases"][0].clone();
        let (sender, body) = fed();
        let feeding = async {
            sender.send("{\"id\":".to_owned()).await.unwrap();
            written(&world, &lease, 6).await;
            world.redis.signal("-STOP");
            sleep(Duration::from_secs(3)).await;
            world.redis.signal("-CONT");
            sender.send("1}".to_owned()).await.unwrap();
            drop(sender);
        };
        let (uploaded, ()) = tokio::join!(world.send(upload(&agent, &lease, body)), feeding);
        uploaded.ok(200);
        agent.report(&world, &lease, vec![done()]).await.ok(200);
    };
    let (reply, ()) = tokio::join!(world.post(ADMIN, CHAT, ask(false)), playing);
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, "{\"id\":1}"));
}
