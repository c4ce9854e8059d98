//! More requests than a copy takes on: what matters least is refused first, and nothing that waits is in the way.
//!
//! The load is real: Redis stands still, so every request over these sockets that gets to it is worked on until it goes on.

use std::time::Duration;

use serde_json::{Value, json};
use titan_api::problem::{Problem, ProblemType};
use titan_coordinator::server::{self, Limits};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    agent::TestAgent,
    relay::serving,
    world::{ADMIN, World, job},
};

/// 20 places: 10 for lists, 13 for submissions, 16 for claims, 18 for heartbeats, 20 for reports.
const LIMITED: &[&str] = &["--concurrency-limit", "20"];

/// A world with its address.
struct Served {
    world: World,
    address: std::net::SocketAddr,
    _server: JoinHandle<()>,
}

impl Served {
    async fn start() -> Self {
        let world = World::with(LIMITED).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = server::serve(listener, world.router.clone(), Limits::default(), world.state.closing());
        Self { _server: tokio::spawn(server), world, address }
    }

    /// Sends a request on a connection of its own.
    async fn send(&self, method: &str, bearer: &str, path: &str, body: Option<Value>) -> Sent {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {bearer}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        Sent { stream }
    }

    async fn list(&self) -> Sent {
        self.send("GET", ADMIN, "/api/v1/jobs", None).await
    }

    async fn submit(&self) -> Sent {
        self.send("POST", ADMIN, "/api/v1/jobs", Some(job(&["true"]))).await
    }
}

/// A request that was sent.
struct Sent {
    stream: TcpStream,
}

impl Sent {
    async fn status(&mut self) -> (u16, String) {
        let mut reply = String::new();
        let read = self.stream.read_to_string(&mut reply);
        timeout(Duration::from_secs(30), read).await.expect("no reply came").unwrap();
        (reply[9..12].parse().unwrap(), reply)
    }

    async fn refused(mut self) {
        let (status, reply) = self.status().await;
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        let problem: Problem = serde_json::from_str(body).unwrap();
        assert_eq!((status, problem.problem_type()), (503, Some(ProblemType::Overloaded)), "{reply}");
        assert!(head.contains("retry-after: "), "{head}");
    }
}

#[tokio::test]
async fn lists_give_way_to_submissions_these_to_claims_and_heartbeats_and_all_to_reports() {
    let served = Served::start().await;
    let agent = TestAgent::register(&served.world, "box-1").await;
    let beat = |leases: Value| json!({"protocol": 1, "seq": 1, "last_claim": 0, "leases": leases});
    let lease = json!([{"job_id": "j", "attempt": 1, "lease_id": "l"}]);
    let claim = json!({"protocol": 1, "claim": 1, "free_slots": 1, "wait_ms": 0});
    served.world.redis.signal("-STOP");
    let mut taken = Vec::new();
    let agents = |verb: &str| agent.path(verb);
    let calls: [(&str, &str, String, Option<Value>, usize); 5] = [
        ("GET", ADMIN, "/api/v1/jobs".into(), None, 10),
        ("POST", ADMIN, "/api/v1/jobs".into(), Some(job(&["true"])), 13),
        ("POST", &agent.token, agents("claim"), Some(claim), 16),
        ("POST", &agent.token, agents("heartbeat"), Some(beat(json!([]))), 18),
        ("POST", &agent.token, agents("heartbeat"), Some(beat(lease)), 20),
    ];
    for (method, bearer, path, body, places) in calls {
        while taken.len() < places {
            taken.push(served.send(method, bearer, &path, body.clone()).await);
        }
        until_working(&served, places).await;
        for _ in 0..5 {
            served.send(method, bearer, &path, body.clone()).await.refused().await;
        }
    }
    served.world.get("", "/api/v1/health").await.ok(200);
    served.world.redis.signal("-CONT");
    for mut sent in taken {
        let (status, reply) = sent.status().await;
        assert!(matches!(status, 200 | 202), "{reply}");
    }
    until_working(&served, 0).await;
    let page = served.world.get(ADMIN, "/metrics").await.body;
    for class in ["lists", "submits", "claims", "heartbeats", "reports"] {
        assert!(page.contains(&format!("titan_http_requests_shed_total{{class=\"{class}\"}} 5\n")), "{page}");
    }
    let (status, reply) = served.list().await.status().await;
    assert_eq!(status, 200, "{reply}");
}

#[tokio::test]
async fn a_claim_that_comes_with_reports_gives_way_and_the_reports_do_not() {
    let served = Served::start().await;
    let agent = TestAgent::register(&served.world, "box-1").await;
    let job = served.world.submit(ADMIN).await;
    let started = json!({"job_id": "j", "attempt": 1, "lease_id": "l", "type": "started"});
    let reports = json!({"protocol": 1, "reports": [started], "claim": {"claim": 2, "free_slots": 1}});
    let claim = json!({"protocol": 1, "claim": 1, "free_slots": 0, "wait_ms": 0});
    served.world.redis.signal("-STOP");
    let mut taken = Vec::new();
    while taken.len() < 16 {
        taken.push(served.send("POST", &agent.token, &agent.path("claim"), Some(claim.clone())).await);
    }
    until_working(&served, 16).await;
    let mut sent = served.send("POST", &agent.token, &agent.path("report"), Some(reports.clone())).await;
    until_working(&served, 17).await;
    served.world.redis.signal("-CONT");
    let (status, reply) = sent.status().await;
    assert_eq!((status, reply.contains("answers"), reply.contains("leases")), (200, true, false), "{reply}");
    until_working(&served, 0).await;
    let reply = served.world.post(&agent.token, &agent.path("report"), reports).await.ok(200);
    assert_eq!(reply["leases"][0]["job_id"], job.as_str());
}

/// Waits until so many requests are worked on.
async fn until_working(served: &Served, count: usize) {
    let looks = async {
        while served.world.state.requests_working() != count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(20), looks).await.unwrap_or_else(|_| panic!("never {count} requests"));
}

#[tokio::test]
async fn what_waits_is_not_in_the_way_be_it_for_a_job_or_for_its_own_body() {
    let served = Served::start().await;
    let id = served.world.submit(ADMIN).await;
    let mut waiting = Vec::new();
    for _ in 0..30 {
        let path = format!("/api/v1/jobs/{id}?wait_ms=20000");
        waiting.push(served.send("GET", ADMIN, &path, None).await);
        let mut slow = TcpStream::connect(served.address).await.unwrap();
        let head = format!(
            "POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\n\
             Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
        );
        slow.write_all(head.as_bytes()).await.unwrap();
        waiting.push(Sent { stream: slow });
        until_working(&served, 0).await;
    }
    let (status, reply) = served.list().await.status().await;
    assert_eq!(status, 200, "{reply}");
    let (status, reply) = served.submit().await.status().await;
    assert_eq!(status, 202, "{reply}");
    // All of them wake at once, and none is refused for that.
    served.world.post(ADMIN, &format!("/api/v1/jobs/{id}/cancel"), json!({})).await.ok(200);
    for mut sent in waiting.into_iter().step_by(2) {
        let (status, reply) = sent.status().await;
        assert_eq!(status, 200, "{reply}");
    }
    until_working(&served, 0).await;
}

#[tokio::test]
async fn requests_to_models_that_wait_and_answers_that_are_quiet_are_not_in_the_way() {
    let served = Served::start().await;
    let mut agent = serving(&served.world, "box", &["llama"]).await;
    let chat =
        |stream: bool| json!({"model": "llama", "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
    let mut waiting = Vec::new();
    for n in 0..24 {
        waiting.push(served.send("POST", ADMIN, "/v1/chat/completions", Some(chat(n % 2 == 0))).await);
        until_relayed(&served, n + 1).await;
        until_working(&served, 0).await;
    }
    let claimed = agent.claim_requests(&served.world, 5_000).await.ok(200);
    let leases = claimed["leases"].as_array().unwrap();
    assert!(!leases.is_empty());
    for lease in leases {
        let (job, attempt) = (lease["job_id"].as_str().unwrap(), &lease["attempt"]);
        let mut upload = TcpStream::connect(served.address).await.unwrap();
        let head = format!(
            "POST /api/v1/jobs/{job}/attempts/{attempt}/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
             X-Titan-Lease: {}\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
            agent.token,
            lease["lease_id"].as_str().unwrap()
        );
        upload.write_all(head.as_bytes()).await.unwrap();
        waiting.push(Sent { stream: upload });
    }
    until_working(&served, 0).await;
    let (status, reply) = served.list().await.status().await;
    assert_eq!(status, 200, "{reply}");
    let (status, reply) = served.submit().await.status().await;
    assert_eq!(status, 202, "{reply}");
}

/// Waits until so many requests to models are there.
async fn until_relayed(served: &Served, count: usize) {
    let wanted = format!("titan_http_requests_waiting {count}\n");
    let looks = async {
        while !served.world.get(ADMIN, "/metrics").await.body.contains(&wanted) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(20), looks).await.unwrap_or_else(|_| panic!("never {count} requests"));
}

#[tokio::test]
async fn those_who_hang_up_give_their_places_back() {
    let served = Served::start().await;
    served.world.redis.signal("-STOP");
    let mut taken = Vec::new();
    for _ in 0..10 {
        taken.push(served.list().await);
    }
    until_working(&served, 10).await;
    drop(taken);
    until_working(&served, 0).await;
    served.world.redis.signal("-CONT");
}
