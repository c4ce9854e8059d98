//! Answers that agents upload as they come: in order, once, to whoever waits on this copy or on another, and to nobody
//! once the attempt is over.

use super::*;

/// An upload by an agent, whose body the test feeds.
pub(crate) fn upload(agent: &TestAgent, lease: &Value, body: Body) -> Request<Body> {
    let path = format!("/api/v1/jobs/{}/attempts/{}/stream", lease["job_id"].as_str().unwrap(), lease["attempt"]);
    let mut upload = request("POST", &agent.token, &path, None);
    upload.headers_mut().insert("x-titan-lease", lease["lease_id"].as_str().unwrap().parse().unwrap());
    *upload.body_mut() = body;
    upload
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
        let (sender, receiver) = tokio::sync::mpsc::channel::<String>(1);
        let body = futures_util::stream::unfold(receiver, |mut receiver| async move {
            let text = receiver.recv().await?;
            Some((Ok::<_, std::convert::Infallible>(text), receiver))
        });
        let feeding = async {
            for (n, text) in pieces.iter().enumerate() {
                sender.send(text.clone()).await.unwrap();
                if n % 20 == 0 {
                    sleep(Duration::from_millis(10)).await;
                }
            }
            drop(sender);
        };
        let (reply, ()) = tokio::join!(world.send(upload(&agent, &lease, Body::from_stream(body))), feeding);
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
        Ok::<_, std::convert::Infallible>(text)
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
    let silent = futures_util::stream::pending::<Result<String, std::convert::Infallible>>();
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
