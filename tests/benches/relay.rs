//! What the relay adds to a model's backend: the same streamed request to the backend itself and through the coordinator and
//! an agent, by turns in one run, at 1, 32 and 128 streams; how many tokens pass in a second; and how many tickets are issued
//! beside how many signatures such a key makes alone.
//!
//! Backend, agent, coordinator, Redis and clients share the cores of one machine.
#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench fails by panicking, and its figures are rounded anyway"
)]

use std::{
    process::Command,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use reqwest::Client;
use serde_json::{Value, json};
use titan_api::credentials::{CreateKey, CreatedKey, Scope};
use titan_tests::{
    coordinator::{Coordinator, CoordinatorOptions},
    protocol_agent::ProtocolAgent,
    redis::RedisServer,
    relaying_agent::{RelayingAgent, chat, facts},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// Tokens of an answer, and the pause before each.
const TOKENS: usize = 100;
const PAUSE: Duration = Duration::from_millis(10);
/// Answers to be measured for each number of streams.
const ANSWERS: usize = 256;
/// Tokens of an answer that comes as fast as it can.
const MANY_TOKENS: usize = 4_000;
const FAST_STREAMS: usize = 16;
const TICKETS: usize = 2_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let redis = RedisServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let options = CoordinatorOptions {
        redis_url: redis.url(),
        admin_token: "an-administrator's-token".into(),
        settings: [("LOG_LEVEL", "warn"), ("RATE_LIMIT_REQUESTS", "off"), ("RATE_LIMIT_BYTES", "off")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    };
    let coordinator = Coordinator::start("c", folder.path(), options).await;
    let (paced, fast) = (backend(TOKENS, PAUSE).await, backend(MANY_TOKENS, Duration::ZERO).await);
    let _agents = [
        RelayingAgent::start(&coordinator, "paced", "paced", &paced).await,
        RelayingAgent::start(&coordinator, "fast", "fast", &fast).await,
    ];
    let key = CreateKey::new("a bench", Scope::ALL.to_vec());
    let key: CreatedKey = coordinator.admin().post("/api/v1/keys", &key).await.unwrap();
    let relayed = Way { client: client(), url: coordinator.url(), key: Some(key.key.clone()) };
    sleep(Duration::from_secs(1)).await;
    println!(
        "a streamed chat of {TOKENS} tokens, one each {} ms: relayed (chunked upload) and direct",
        PAUSE.as_millis()
    );
    println!(
        "{:<12} {:>24} {:>24} {:>20} {:>16}",
        "streams", "first token +p50 / +p99", "later tokens +p50/+p99", "whole answer p50", "ratio"
    );
    for streams in [1, 32, 128] {
        compare(&relayed, &Way { client: client(), url: paced.clone(), key: None }, streams).await;
    }
    tokens(&relayed, &Way { client: client(), url: fast.clone(), key: None }).await;
    tickets(&coordinator, &relayed).await;
}

fn client() -> Client {
    Client::builder().no_proxy().pool_max_idle_per_host(256).build().unwrap()
}

/// Where requests go.
struct Way {
    client: Client,
    url: String,
    key: Option<String>,
}

/// When the tokens of one answer came, after it was asked for.
struct Timed {
    first: Duration,
    gaps: Vec<Duration>,
    whole: Duration,
    tokens: usize,
}

impl Way {
    async fn ask(&self, model: &str) -> Timed {
        let mut request = self.client.post(format!("{}/v1/chat/completions", self.url)).json(&chat(model));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let began = Instant::now();
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), 200);
        // Two line breaks end an event, and the last event is no token.
        let (mut body, mut first, mut last, mut gaps, mut tokens) = (reply.bytes_stream(), None, began, Vec::new(), 0);
        while let Some(bytes) = body.next().await {
            let (bytes, now) = (bytes.unwrap(), Instant::now());
            tokens += bytes.split(|byte| *byte == b'\n').count() - 1;
            match first {
                None => first = Some(now - began),
                Some(_) => gaps.push(now - last),
            }
            last = now;
        }
        Timed { first: first.unwrap(), gaps, whole: began.elapsed(), tokens: tokens / 2 - 1 }
    }

    async fn many(&self, model: &str, streams: usize, answers: usize) -> Vec<Timed> {
        stream::iter(0..answers).map(|_| self.ask(model)).buffer_unordered(streams).collect().await
    }
}

async fn compare(relayed: &Way, direct: &Way, streams: usize) {
    let answers = if streams == 1 { 32 } else { ANSWERS };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        theirs.extend(direct.many("paced", streams, answers / 2).await);
        ours.extend(relayed.many("paced", streams, answers / 2).await);
    }
    let firsts = |all: &[Timed]| percentiles(all.iter().map(|timed| timed.first).collect());
    let gaps = |all: &[Timed]| percentiles(all.iter().flat_map(|timed| timed.gaps.clone()).collect());
    let wholes = |all: &[Timed]| percentiles(all.iter().map(|timed| timed.whole).collect()).0;
    let (first, direct_first, gap, direct_gap) = (firsts(&ours), firsts(&theirs), gaps(&ours), gaps(&theirs));
    let (whole, direct_whole) = (wholes(&ours), wholes(&theirs));
    println!(
        "{streams:<12} {:>10.1} ms /{:>8.1} ms {:>10.2} ms /{:>7.2} ms {:>9.0} / {:>5.0} ms {:>16.3}",
        first.0 - direct_first.0,
        first.1 - direct_first.1,
        gap.0 - direct_gap.0,
        gap.1 - direct_gap.1,
        whole,
        direct_whole,
        whole / direct_whole
    );
}

/// The median and the 99th percentile, milliseconds.
fn percentiles(mut all: Vec<Duration>) -> (f64, f64) {
    all.sort_unstable();
    let at = |part: f64| all[((all.len() - 1) as f64 * part) as usize].as_secs_f64() * 1_000.0;
    (at(0.5), at(0.99))
}

async fn tokens(relayed: &Way, direct: &Way) {
    let mut rates = Vec::new();
    for way in [direct, relayed] {
        let began = Instant::now();
        let answers = way.many("fast", FAST_STREAMS, FAST_STREAMS * 8).await;
        let tokens: usize = answers.iter().map(|timed| timed.tokens).sum();
        assert_eq!(tokens, FAST_STREAMS * 8 * MANY_TOKENS);
        rates.push(tokens as f64 / began.elapsed().as_secs_f64());
    }
    println!("as fast as it can, {FAST_STREAMS} streams: {:.0} tokens/s relayed, {:.0} direct", rates[1], rates[0]);
}

async fn tickets(coordinator: &Coordinator, way: &Way) {
    let mut box_ = facts("ticketed");
    box_.endpoint = Some("http://127.0.0.1:1".to_owned());
    let token = coordinator.join_token().await;
    let mut agent = ProtocolAgent::enter(&coordinator.anyone(), &token, "ticketed", &box_).await;
    let speaker = agent.speaker();
    let id = agent.id.clone();
    let claiming = tokio::spawn(async move {
        loop {
            agent.claim_requests(256, 10_000).await;
        }
    });
    sleep(Duration::from_millis(500)).await;
    let wish = json!({"client_id": "bench", "model": "ticketed"});
    let issue = || async {
        let request = way.client.post(format!("{}/api/v1/inference/request", way.url)).json(&wish);
        let routed: Value = request.bearer_auth(way.key.as_ref().unwrap()).send().await.unwrap().json().await.unwrap();
        assert_eq!(routed["mode"], "direct", "{routed}");
        // Used and ended at once, since a key may have few unused ones.
        let path = format!("/api/v1/agents/{id}/tickets/{}/use", routed["request_id"].as_str().unwrap());
        let used: titan_api::inference::UsedTicket = speaker.client.post(&path, &json!({})).await.unwrap();
        let job_id = routed["request_id"].as_str().unwrap().parse().unwrap();
        let held = titan_api::work::HeldLease { job_id, attempt: used.attempt, lease_id: used.lease_id };
        speaker.report(&held, titan_api::work::Happening::Completed { result: None, message: None, usage: None }).await;
    };
    let began = Instant::now();
    stream::iter(0..TICKETS).map(|_| issue()).buffer_unordered(12).collect::<Vec<()>>().await;
    let rate = TICKETS as f64 / began.elapsed().as_secs_f64();
    claiming.abort();
    let openssl = signatures();
    println!(
        "tickets: {rate:.0}/s issued, used and ended; openssl makes {openssl} RSA-2048 signatures a second on two cores"
    );
}

/// What `openssl speed` says, if there is one.
fn signatures() -> String {
    let run = Command::new("openssl").args(["speed", "-seconds", "2", "-multi", "2", "rsa2048"]).output();
    let Ok(output) = run else { return "an unknown number of".to_owned() };
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with("rsa 2048") || line.starts_with("rsa  2048"));
    line.and_then(|line| line.split_whitespace().nth(5)).unwrap_or("an unknown number of").to_owned()
}

/// A backend that answers every request with so many tokens, and a pause before each.
async fn backend(tokens: usize, pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(converse(stream, tokens, pause));
        }
    });
    url
}

/// Serves one connection until its peer is gone.
async fn converse(mut stream: TcpStream, tokens: usize, pause: Duration) -> Option<()> {
    let mut head = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let mut more = [0; 4_096];
            let read = stream.read(&mut more).await.ok().filter(|read| *read > 0)?;
            head.extend_from_slice(&more[..read]);
        };
        let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
        let length = text.split("content-length: ").nth(1)?.split("\r\n").next()?.parse::<usize>().ok()?;
        while head.len() < end + length {
            let mut more = [0; 4_096];
            let read = stream.read(&mut more).await.ok().filter(|read| *read > 0)?;
            head.extend_from_slice(&more[..read]);
        }
        head.drain(..end + length);
        answer(&mut stream, tokens, pause).await?;
    }
}

async fn answer(stream: &mut TcpStream, tokens: usize, pause: Duration) -> Option<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.ok()?;
    for n in 0..tokens {
        if !pause.is_zero() {
            sleep(pause).await;
        }
        let event = format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": format!("w{n} ")}}]}));
        stream.write_all(chunk(&event).as_bytes()).await.ok()?;
    }
    stream.write_all(format!("{}0\r\n\r\n", chunk("data: [DONE]\n\n")).as_bytes()).await.ok()
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}
