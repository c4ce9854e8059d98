//! A copy that stops while models answer through it.

use std::time::Instant;

use axum::body::Body;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    agent::output,
    relay::serving,
    world::{ADMIN, World, request},
};

const CHAT: &str = "/v1/chat/completions";
const PIECE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\n";

fn ask(stream: bool) -> Value {
    json!({"model": "llama", "stream": stream, "messages": [{"role": "user", "content": "hi"}]})
}

/// The next bytes of a body, as text; none at its end.
async fn next(body: &mut Body) -> Option<String> {
    let frame = body.frame().await?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn answers_that_a_copy_cannot_give_to_the_end_end_with_an_error_before_it_stops() {
    let world = World::start().await;
    let mut agent = serving(&world, "box", &["llama"]).await;
    let begun = world.router.clone().oneshot(request("POST", ADMIN, CHAT, Some(ask(true))));
    let playing = async {
        let lease = agent.claim_requests(&world, 5_000).await.ok(200)["leases"][0].clone();
        agent.report(&world, &lease, vec![json!({"type": "started"}), output(0, "stdout", PIECE)]).await.ok(200);
        lease
    };
    let (begun, lease) = tokio::join!(begun, playing);
    let mut body = begun.unwrap().into_body();
    assert_eq!(next(&mut body).await.unwrap(), PIECE);
    let closing = Instant::now();
    world.state.closing().cancel();
    let streamed = async {
        let event = next(&mut body).await.unwrap();
        (event, next(&mut body).await)
    };
    let (whole, (event, after)) = tokio::join!(world.post(ADMIN, CHAT, ask(false)), streamed);
    let error: Value = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((&error["error"]["type"], after), (&json!("server_error"), None), "{error}");
    assert!(error["error"]["message"].as_str().unwrap().contains("stops"), "{error}");
    assert_eq!(whole.status, 503, "{}", whole.body);
    assert!(whole.headers.contains_key("retry-after") && whole.body.contains("stops"), "{}", whole.body);
    // The server gives up what is still open after ten seconds.
    assert!((7..10).contains(&closing.elapsed().as_secs()), "{:?}", closing.elapsed());
    let path = format!("/api/v1/jobs/{}", lease["job_id"].as_str().unwrap());
    assert_eq!(world.get(ADMIN, &path).await.ok(200)["state"], "cancelled", "it is stopped by then");
}
