//! Long replies without secrets are smaller for those who take `gzip`; streams and secrets never are.

use std::io::Read;

use axum::body::Body;
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::world::{ADMIN, World, job};

async fn get(world: &World, path: &str, accepts: &str, more: Option<(&str, &str)>) -> (u16, HeaderMap, Vec<u8>) {
    let mut request = Request::get(path)
        .header(header::AUTHORIZATION, format!("Bearer {ADMIN}"))
        .header(header::ACCEPT_ENCODING, accepts);
    if let Some((name, value)) = more {
        request = request.header(name, value);
    }
    let response = world.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    (parts.status.as_u16(), parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut text).unwrap();
    text
}

fn varies(headers: &HeaderMap) -> bool {
    headers.get_all(header::VARY).iter().any(|value| value.to_str().unwrap().contains("accept-encoding"))
}

#[tokio::test]
async fn long_replies_are_packed_for_those_who_take_it_and_say_on_what_they_depend() {
    let world = World::start().await;
    for _ in 0..20 {
        world.submit(ADMIN).await;
    }
    for path in ["/openapi.json", "/docs", "/docs/app.js", "/api/v1/jobs", "/metrics"] {
        let (_, plain, whole) = get(&world, path, "br, identity", None).await;
        assert!(!plain.contains_key(header::CONTENT_ENCODING), "{path}");
        assert!(varies(&plain), "{path}");
        let (status, headers, packed) = get(&world, path, "br, gzip;q=0.5", None).await;
        assert_eq!((status, &headers[header::CONTENT_ENCODING]), (200, &"gzip".parse().unwrap()), "{path}");
        assert!(varies(&headers), "{path}");
        assert_eq!(headers[header::CONTENT_TYPE], plain[header::CONTENT_TYPE], "{path}");
        assert!(packed.len() * 3 < whole.len() * 2, "{path}: {} of {} bytes", packed.len(), whole.len());
        // Figures of the process change from one reply to the next.
        assert!(path == "/metrics" || unpacked(&packed) == whole, "{path}");
    }
}

#[tokio::test]
async fn short_replies_problems_and_odd_wishes_get_what_they_always_get() {
    let world = World::start().await;
    for (path, status) in
        [("/api/v1/health", 200), ("/api/v1/jobs", 200), ("/api/v1/jobs?limit=0", 400), ("/docs/none", 404)]
    {
        for accepts in ["gzip", "identity;q=0", "*;q=0", "gzip;q=0, *;q=0"] {
            let (got, headers, body) = get(&world, path, accepts, None).await;
            assert_eq!(got, status, "{path} {accepts}");
            assert!(!headers.contains_key(header::CONTENT_ENCODING), "{path} {accepts}");
            serde_json::from_slice::<Value>(&body).unwrap();
        }
    }
}

#[tokio::test]
async fn what_holds_secrets_and_what_streams_is_never_packed() {
    let world = World::start().await;
    let long = "x".repeat(1_000);
    for _ in 0..5 {
        world.post(ADMIN, "/api/v1/keys", json!({"name": long, "scopes": ["jobs:read"]})).await.ok(201);
    }
    let mut spec = job(&["true"]);
    spec["process"]["env"] = json!({"PASSWORD": long, "GUESS": long});
    let id = world.post(ADMIN, "/api/v1/jobs", spec).await.ok(202)["id"].as_str().unwrap().to_owned();
    for path in ["/api/v1/keys".to_owned(), "/api/v1/join-tokens".to_owned(), format!("/api/v1/jobs/{id}")] {
        let (status, headers, _) = get(&world, &path, "gzip", None).await;
        assert_eq!(status, 200, "{path}");
        assert!(!headers.contains_key(header::CONTENT_ENCODING), "{path}");
    }
    world.post(ADMIN, &format!("/api/v1/jobs/{id}/cancel"), json!({})).await.ok(200);
    let path = format!("/api/v1/jobs/{id}/output");
    let (status, headers, body) = get(&world, &path, "gzip", Some(("accept", "text/event-stream"))).await;
    assert_eq!((status, &headers[header::CONTENT_TYPE]), (200, &"text/event-stream".parse().unwrap()));
    assert!(!headers.contains_key(header::CONTENT_ENCODING));
    assert!(String::from_utf8(body).unwrap().contains("event: end"));
}
