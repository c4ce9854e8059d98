//! The way around the relay, whole: a ticket from a coordinator, brought to the gateway of an agent, which answers from its
//! backend; and everything that is no good ticket.

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    hmac,
    signature::{ED25519, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Response;
use serde_json::{Value, json};
use titan_api::{
    client::Client,
    ids::JobId,
    jobs::{Job, JobState},
};
use titan_tests::{
    agent::Agent,
    backend::{Backend, Manner},
    binaries::workspace,
    fleet::{Fleet, FleetPlan},
    ports::free_port,
    process::clean,
    wait::eventually,
};

use crate::{
    helpers::{completed, ended, quick},
    models::{clients, nothing_is_reserved, read_until, until_served, words_of},
};

/// The model in the line of docs/direct-mode.md.
const MODEL: &str = "llama3.1:8b-instruct-q4_k_m";

/// A fleet of so many agents that clients reach, and a client of each coordinator.
async fn reachable(backend: &Backend, plan: FleetPlan, agents: usize) -> (Fleet, Vec<Client>) {
    backend.serve(&[MODEL]);
    let mut fleet = plan.agents(0).start().await;
    for number in 1..=agents {
        let address = format!("127.0.0.1:{}", free_port());
        let settings = BTreeMap::from([
            ("TITAN_BACKENDS".to_owned(), format!("openai={}", backend.url())),
            ("TITAN_ADVERTISE_URL".to_owned(), format!("http://{address}")),
            ("TITAN_GATEWAY_LISTEN".to_owned(), address),
            ("TITAN_ALLOW_JOBS".to_owned(), "false".to_owned()),
        ]);
        fleet.start_agent_with(&format!("a{number}"), settings).await;
    }
    let clients = clients(&fleet).await;
    until_served(&clients[0], MODEL, agents).await;
    (fleet, clients)
}

/// A ticket, and where it is for.
struct Ticket {
    id: JobId,
    agent: String,
    endpoint: String,
    token: String,
}

impl Ticket {
    /// What a coordinator has said; none if the best agent is not at hand in this moment.
    fn of(routed: &Value) -> Option<Self> {
        let text = |name: &str| routed[name].as_str().map(str::to_owned);
        assert!(text("endpoint").is_some(), "{routed}");
        let id = JobId::new(text("request_id")?).unwrap();
        Some(Self { id, agent: text("agent_id")?, endpoint: text("endpoint")?, token: text("token")? })
    }

    async fn issue(client: &Client) -> Self {
        let wish = json!({ "client_id": "me", "model": MODEL });
        eventually("a ticket", async || {
            Self::of(&client.post::<_, Value>("/api/v1/inference/request", &wish).await.unwrap())
        })
        .await
    }

    /// One for the agent of that name.
    async fn issue_for(client: &Client, agent: &str) -> Self {
        eventually(format!("a ticket for {agent}"), async || {
            Some(Self::issue(client).await).filter(|ticket| ticket.agent == agent)
        })
        .await
    }

    async fn bring(&self, stream: bool) -> Response {
        bring(&self.endpoint, &self.token, stream).await
    }
}

async fn bring(endpoint: &str, token: &str, stream: bool) -> Response {
    let body = json!({ "model": MODEL, "stream": stream, "messages": [{ "role": "user", "content": "go" }] });
    bring_to(&format!("{endpoint}/v1/chat/completions"), token, &body).await
}

async fn bring_to(url: &str, token: &str, body: &Value) -> Response {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    eventually("the gateway to answer", async || client.post(url).bearer_auth(token).json(body).send().await.ok()).await
}

/// What the documentation's line prints, run by a shell as it stands there.
fn told_to_the_line(url: &str, key: &str) -> Value {
    let text = std::fs::read_to_string(workspace().join("docs/direct-mode.md")).unwrap();
    let block = text.split("```sh\n").find(|block| block.contains("/api/v1/inference/request")).unwrap();
    let mut shell = Command::new("sh");
    let folder = tempfile::tempdir().unwrap();
    clean(&mut shell)
        .current_dir(folder.path())
        .args(["-c", block.split("```").next().unwrap()])
        .env("TITAN_URL", url)
        .env("TITAN_API_KEY", key);
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

/// What a receipt says, once it is known that this agent has signed it.
fn verified(receipt: &str, agent: &Agent) -> Value {
    let credential = std::fs::read(agent.folder().join("identity/credential.json")).unwrap();
    let credential: Value = serde_json::from_slice(&credential).unwrap();
    let key = claims(credential["credential"].as_str().unwrap())["public_key"].as_str().unwrap().to_owned();
    let key = UnparsedPublicKey::new(&ED25519, URL_SAFE_NO_PAD.decode(key).unwrap());
    let (signed, signature) = receipt.rsplit_once('.').unwrap();
    key.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    claims(receipt)
}

/// Checks that a job's receipt is the agent's word for its usage, and gives it.
fn receipt_of(job: &Job, fleet: &Fleet) -> String {
    let receipt = job.receipt.clone().unwrap();
    let agent = fleet.agents.iter().find(|agent| agent.id() == job.agent_id.as_ref().unwrap().as_str()).unwrap();
    let says = verified(&receipt, agent);
    assert_eq!((&says["sub"], &says["model"]), (&json!(job.id), &json!(MODEL)));
    assert_eq!((&says["iss"], &says["usage"]), (&json!(job.agent_id), &json!(job.usage)));
    receipt
}

#[tokio::test]
async fn a_ticket_buys_an_answer_whose_usage_and_receipt_the_coordinator_shows() {
    let backend = Backend::start().await;
    let (fleet, clients) = reachable(&backend, Fleet::plan(), 1).await;
    let client = &clients[0];
    let key: titan_api::credentials::CreatedKey =
        fleet.admin().post("/api/v1/keys", &json!({ "name": "curl", "scopes": ["inference"] })).await.unwrap();
    let by_line =
        eventually("a ticket", async || Ticket::of(&told_to_the_line(&fleet.coordinators[0].url(), &key.key)));
    let by_line = by_line.await;
    assert_eq!(claims(&by_line.token)["sub"], "test-client");
    backend.next(Manner::slow_words(6, 50));
    let mut streamed = by_line.bring(true).await;
    assert_eq!(streamed.status(), 200);
    let early = read_until(&mut streamed, "w1 ").await;
    assert!(!early.contains("w5 "), "nothing is held back: {early}");
    assert_eq!(words_of(&(early + &read_until(&mut streamed, "[DONE]").await)), 6);
    let job = completed(client, &by_line.id).await;
    assert_eq!((job.attempt, job.output_bytes, job.usage.unwrap().completion_tokens), (1, 0, Some(6)));
    receipt_of(&job, &fleet);

    let ticket = Ticket::issue(client).await;
    let body = json!({ "model": MODEL, "prompt": "What is machine learning?", "max_tokens": 100, "temperature": 0.7 });
    let whole = bring_to(&format!("{}/inference", ticket.endpoint), &ticket.token, &body).await;
    assert_eq!(whole.status(), 200);
    let receipt = whole.headers()["x-titan-receipt"].to_str().unwrap().to_owned();
    let whole: Value = whole.json().await.unwrap();
    assert_eq!(whole["choices"][0]["text"], "w0 w1 w2 w3 w4 ");
    let job = completed(client, &ticket.id).await;
    assert_eq!(receipt_of(&job, &fleet), receipt);
    let used: Value = client.get("/api/v1/usage").await.unwrap();
    let wanted = json!([{ "model": MODEL, "requests": 1, "prompt_tokens": 3, "completion_tokens": 5 }]);
    assert_eq!(used["models"], wanted);
    nothing_is_reserved(&fleet).await;
}

/// A ticket with another header or other claims, signed by nobody.
fn forged(token: &str, header: &Value, change: impl FnOnce(&mut Value)) -> String {
    let mut claims = claims(token);
    change(&mut claims);
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(&claims))
}

/// Everything that can be made of a good ticket and is none.
fn forgeries(token: &str, public_key: &str) -> Vec<String> {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    let signature = token.rsplit('.').next().unwrap();
    let with = |name: &str, value: &str| {
        let mut header = header.clone();
        header[name] = json!(value);
        header
    };
    let mut all = vec![String::new(), token[..token.len() - 4].to_owned(), format!("{token}.{signature}")];
    for (name, value) in [("jti", json!("another")), ("exp", json!(9_999_999_999_i64)), ("model", json!("large"))] {
        all.push(forged(token, &header, |claims| claims[name] = value) + "." + signature);
    }
    for alg in ["none", "None", "HS256", "EdDSA"] {
        all.push(forged(token, &with("alg", alg), |_| ()) + "." + signature);
        all.push(forged(token, &with("alg", alg), |_| ()) + ".");
    }
    all.push(forged(token, &with("typ", "titan-agent+jwt"), |_| ()) + "." + signature);
    let content = forged(token, &with("alg", "HS256"), |_| ());
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, public_key.as_bytes()), content.as_bytes());
    all.push(format!("{content}.{}", URL_SAFE_NO_PAD.encode(tag)));
    all
}

#[tokio::test]
async fn a_ticket_that_is_not_good_here_and_now_is_refused_and_keeps_nothing_for_long() {
    let backend = Backend::start().await;
    let (mut fleet, clients) = reachable(&backend, quick().coordinator_setting("TOKEN_TTL", "10s"), 2).await;
    let client = &clients[0];
    let late = Ticket::issue(client).await;
    let issued = Instant::now();
    let used = Ticket::issue_for(client, "a1").await;
    assert_eq!(used.bring(false).await.status(), 200);
    assert_eq!(used.bring(false).await.status(), 410, "it was used");
    let (good, other) = (Ticket::issue_for(client, "a1").await, Ticket::issue_for(client, "a2").await);
    assert_eq!(bring(&other.endpoint, &good.token, false).await.status(), 401, "it is for another agent");
    let public_key = fleet.coordinators[0].anyone().request(reqwest::Method::GET, "/api/v1/public-key");
    let public_key = public_key.send().await.unwrap().text().await.unwrap();
    for forgery in forgeries(&good.token, &public_key) {
        assert_eq!(bring(&good.endpoint, &forgery, false).await.status(), 401, "{forgery}");
    }
    // Whatever an agent that was killed has forgotten, it takes none of the tickets from before. They know whole seconds.
    tokio::time::sleep(Duration::from_secs(2)).await;
    fleet.agents[0].restart();
    for old in [&used, &good] {
        assert_eq!(old.bring(false).await.status(), 401, "it was issued before the agent started");
    }
    tokio::time::sleep(Duration::from_secs(11).saturating_sub(issued.elapsed())).await;
    assert_eq!(late.bring(false).await.status(), 401, "it has expired");
    assert_eq!(backend.asked().len(), 1, "the backend heard of none of them");
    nothing_is_reserved(&fleet).await;
    for unused in [&late, &good, &other] {
        assert_eq!(ended(client, &unused.id).await.state, JobState::Failed);
    }
    let used: Value = client.get("/api/v1/usage").await.unwrap();
    assert_eq!(used["models"][0]["requests"], 1);
    assert_eq!(Ticket::issue(client).await.bring(false).await.status(), 200, "a new one is good");
}

#[tokio::test]
async fn a_direct_answer_that_is_killed_with_its_agent_breaks_off_and_its_place_comes_back() {
    let backend = Backend::start().await;
    let (mut fleet, clients) = reachable(&backend, quick(), 1).await;
    backend.next(Manner::slow_words(10_000, 20));
    let ticket = Ticket::issue(&clients[0]).await;
    let mut streamed = ticket.bring(true).await;
    read_until(&mut streamed, "w3 ").await;
    fleet.agents[0].kill();
    while let Ok(part) = streamed.chunk().await {
        assert!(part.is_some(), "an answer that was cut does not look whole");
    }
    backend.until_hung_up(1).await;
    fleet.agents[0].restart();
    let job = ended(&clients[0], &ticket.id).await;
    assert_eq!((job.state, job.receipt, job.usage), (JobState::Failed, None, None));
    nothing_is_reserved(&fleet).await;
    assert_eq!(Ticket::issue(&clients[0]).await.bring(false).await.status(), 200);
}

#[tokio::test]
async fn a_direct_answer_outlives_the_coordinator_that_has_sent_its_client() {
    let backend = Backend::start().await;
    let (mut fleet, clients) = reachable(&backend, quick().coordinators(2), 1).await;
    backend.next(Manner::slow_words(150, 20));
    let ticket = Ticket::issue(&clients[0]).await;
    let mut streamed = ticket.bring(true).await;
    let early = read_until(&mut streamed, "w3 ").await;
    fleet.coordinators[0].kill();
    assert_eq!(words_of(&(early + &read_until(&mut streamed, "[DONE]").await)), 150);
    let job = completed(&clients[1], &ticket.id).await;
    assert_eq!((job.failures.len(), job.usage.unwrap().completion_tokens), (0, Some(150)));
    receipt_of(&job, &fleet);
    nothing_is_reserved(&fleet).await;
}
