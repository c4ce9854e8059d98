//! The gateway: a client with a ticket is answered once, anybody else not at all, and the coordinator hears what came of it.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    agent::{Agent, Start, until},
    backend::{Backend, Manner},
    coordinator::{Coordinator, Misbehave},
};

struct World {
    coordinator: Coordinator,
    backend: Backend,
    key: KeyPair,
    url: String,
    _agent: Agent,
}

async fn world() -> World {
    let (coordinator, backend) = (Coordinator::start().await, Backend::start().await);
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    // The modulus of a key of this size is always in this place.
    let n = URL_SAFE_NO_PAD.encode(&der.as_ref()[33..289]);
    coordinator.with(|s| s.key_set = json!({ "keys": [{ "kty": "RSA", "kid": "k1", "n": n, "e": "AQAB" }] }));
    // Free a moment ago; nobody else takes ports of this range by chance that soon.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (named, url) = (format!("--backend=openai={}", backend.url()), format!("http://{address}"));
    let listen = address.to_string();
    let agent = Start::of(&coordinator)
        .args(&["--allow-jobs=false", &named, "--gateway-listen", &listen, "--advertise-url", &url])
        .spawn();
    coordinator.until("the agent beats", |s| s.last("heartbeat").map(|_| ())).await;
    World { coordinator, backend, key, url, _agent: agent }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl World {
    fn ticket(&self, kid: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = json!({
            "iss": "titan-coordinator", "aud": "box-1", "sub": "me", "jti": "request-1", "model": "small",
            "pool": "default", "iat": now_s() + 1, "exp": now_s() + 300,
        });
        change(&mut claims);
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed =
            format!("{}.{}", part(&json!({ "alg": "RS256", "typ": "titan-ticket+jwt", "kid": kid })), part(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn ticket_for(&self, request: &str) -> String {
        self.ticket("k1", |claims| claims["jti"] = json!(request))
    }

    async fn ask(&self, path: &str, ticket: &str, stream: bool) -> Response {
        let body = json!({ "model": "small", "stream": stream, "messages": [{ "role": "user", "content": "go" }] });
        self.ask_with(path, ticket, &body).await
    }

    async fn ask_with(&self, path: &str, ticket: &str, body: &Value) -> Response {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.post(format!("{}{path}", self.url)).bearer_auth(ticket).json(body).send().await.unwrap()
    }

    fn uses(&self) -> usize {
        self.coordinator.with(|s| s.calls_of("use").len())
    }
}

const CHAT: &str = "/v1/chat/completions";

/// Checks that a client is refused in the words that a coordinator has for it.
async fn refused(reply: Response, status: u16, code: &str) {
    assert_eq!(reply.status(), status, "{code}");
    let error = reply.json::<Value>().await.unwrap()["error"].clone();
    assert_eq!((&error["code"], &error["type"]), (&json!(code), &json!("invalid_request_error")), "{error}");
}

#[tokio::test]
async fn a_ticket_buys_one_answer_with_a_receipt_and_the_coordinator_hears_of_it() {
    let world = world().await;
    let facts = world.coordinator.with(|s| s.last("register").unwrap().body["facts"].clone());
    assert_eq!(facts["endpoint"], json!(world.url));
    let ticket = world.ticket_for("request-1");
    let answer = world.ask(CHAT, &ticket, false).await;
    assert_eq!(answer.status(), 200);
    let receipt = answer.headers()["x-titan-receipt"].to_str().unwrap().to_owned();
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(receipt.split('.').nth(1).unwrap()).unwrap()).unwrap();
    assert_eq!((&claims["sub"], &claims["usage"]["completion_tokens"]), (&json!("request-1"), &json!(5)));
    assert_eq!((&claims["iss"], &claims["model"]), (&json!("box-1"), &json!("small")));
    assert!(claims["iat"].as_u64().unwrap().abs_diff(now_s()) < 60, "{claims}");
    let document: Value = answer.json().await.unwrap();
    assert_eq!(document["choices"][0]["message"]["content"], "w0 w1 w2 w3 w4 ");
    let attempt = world.coordinator.ended("direct-1").await;
    let end = attempt.end.unwrap();
    assert_eq!(
        (&end["type"], &end["job_id"], &end["usage"]["completion_tokens"]),
        (&json!("completed"), &json!("request-1"), &json!(5))
    );
    assert_eq!((&end["receipt"], &claims["usage"]), (&json!(receipt), &end["usage"]), "the coordinator gets it, too");
    assert!(attempt.output.is_empty(), "the answer is the client's alone");
    assert_eq!(world.ask(CHAT, &ticket, false).await.status(), StatusCode::GONE, "it was used");
    assert_eq!((world.uses(), world.backend.asked().len()), (1, 1));
    let streamed = world.ask("/inference", &world.ticket_for("request-2"), true).await.text().await.unwrap();
    assert!(streamed.contains("w4 ") && streamed.ends_with("data: [DONE]\n\n"), "{streamed}");
}

#[tokio::test]
async fn whoever_has_no_good_ticket_gets_nothing_and_nothing_is_reserved() {
    let world = world().await;
    let foreign = world.ticket("k1", |claims| claims["aud"] = json!("box-2"));
    let expired =
        world.ticket("k1", |claims| (claims["iat"], claims["exp"]) = (json!(now_s() - 400), json!(now_s() - 100)));
    let early = world.ticket("k1", |claims| claims["iat"] = json!(now_s() - 100));
    let altered = world.ticket_for("request-1").replacen('.', ".e", 1);
    for wrong in ["", "x", "a.b.c", &foreign, &expired, &early, &altered] {
        assert_eq!(world.ask(CHAT, wrong, true).await.status(), StatusCode::UNAUTHORIZED, "{wrong}");
    }
    for n in 0..30 {
        let unknown = world.ticket(&format!("unknown-{n}"), |_| {});
        assert_eq!(world.ask(CHAT, &unknown, true).await.status(), StatusCode::UNAUTHORIZED);
    }
    let fetched = world.coordinator.with(|s| s.calls_of("jwks.json").len());
    assert!(fetched <= 2, "the coordinator was asked {fetched} times");
    let other = json!({ "model": "large", "messages": [] });
    refused(world.ask_with(CHAT, &world.ticket_for("r"), &other).await, 403, "wrong_model").await;
    refused(world.ask_with(CHAT, &world.ticket_for("r"), &json!([])).await, 400, "invalid_request").await;
    refused(world.ask("/v1/none", &world.ticket_for("r"), false).await, 404, "unknown_url").await;
    refused(world.ask(CHAT, "x", false).await, 401, "invalid_ticket").await;
    assert_eq!((world.uses(), world.backend.asked().len()), (0, 0));
}

#[tokio::test]
async fn a_ticket_that_could_not_be_used_can_be_tried_again() {
    let world = world().await;
    let ticket = world.ticket_for("request-1");
    world.coordinator.with(|s| {
        s.misbehave("use", Misbehave::Refuse("too-many-requests", 429, json!({})));
        s.misbehave("use", Misbehave::LoseReply);
    });
    assert_eq!(world.ask(CHAT, &ticket, false).await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(world.ask(CHAT, &ticket, false).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.ask(CHAT, &ticket, false).await.status(), StatusCode::OK);
    let (first, second) = tokio::join!(world.ask(CHAT, &ticket, false), world.ask(CHAT, &ticket, false));
    assert_eq!((first.status(), second.status()), (StatusCode::GONE, StatusCode::GONE));
}

#[tokio::test]
async fn failures_of_the_backend_and_a_client_that_goes_away_are_told_to_both_sides() {
    let world = world().await;
    world.backend.next(Manner::refuse(400));
    assert_eq!(world.ask(CHAT, &world.ticket_for("request-1"), true).await.status(), StatusCode::BAD_REQUEST);
    let end = world.coordinator.ended("direct-1").await.end.unwrap();
    assert_eq!((&end["reason"], &end["exit_code"]), (&json!("backend_rejected"), &json!(400)));
    world.backend.next(Manner::refuse(500));
    assert_eq!(world.ask(CHAT, &world.ticket_for("request-2"), true).await.status(), StatusCode::BAD_GATEWAY);
    world.backend.next(Manner::Drop { after: 2 });
    let broken = world.ask(CHAT, &world.ticket_for("request-3"), true).await.text().await.unwrap();
    assert!(
        broken.contains("w1 ") && broken.contains("\"code\":\"backend_failed\"") && !broken.contains("[DONE]"),
        "{broken}"
    );
    world.backend.next(Manner::slow_words(1_000, 20));
    let mut answer = world.ask(CHAT, &world.ticket_for("request-4"), true).await;
    answer.chunk().await.unwrap();
    drop(answer);
    world.backend.until_hung_up(1).await;
    until("the coordinator hears of it", || {
        world.coordinator.with(|s| s.attempt("direct-4").end.is_some_and(|end| end["exit_code"] == 499))
    })
    .await;
}

#[tokio::test]
async fn the_backend_is_told_of_the_clients_trace_and_asked_by_the_agents_name_of_the_model() {
    let world = world().await;
    world.coordinator.with(|s| s.own_model = json!("small"));
    let ticket = world.ticket("k1", |claims| claims["model"] = json!("alias"));
    let place = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let body = json!({ "model": "alias", "prompt": "go", "max_tokens": 5 });
    let request = client.post(format!("{}/inference", world.url)).bearer_auth(&ticket).json(&body);
    let answer = request.header("traceparent", place).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let receipt = answer.headers()["x-titan-receipt"].to_str().unwrap();
    let claims = URL_SAFE_NO_PAD.decode(receipt.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["model"], "alias", "a client is told what it asked for");
    let asked = world.backend.asked().remove(0);
    assert_eq!((asked.path.as_str(), asked.headers["traceparent"].as_str()), ("/v1/completions", place));
    assert_eq!(asked.json()["model"], "small");
}
