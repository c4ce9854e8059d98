//! Done, and the answer lost: every writing operation of `openapi.json`, repeated after an outcome that nobody knows, ends as
//! if it had been called once. An operation without a case here fails.
//!
//! An operation asks Redis several things, and the answer to each may be the one that is lost: so each case is played once
//! for every one of them, until none is left to lose. And once it is the coordinator's own answer that gets lost.

use axum::{Router, body::Body};
use http::Request;
use serde_json::{Value, json};
use titan_coordinator::{AppState, router};

use crate::{
    agent::{TestAgent, held, now_s, output, report},
    authorization::{Operation, operations},
    losing::Losing,
    pulls::pulling,
    relay::{serving, uploads::upload},
    tickets::{reachable, wish},
    world::{ADMIN, Reply, World, job, request, send, settings},
};

/// More questions than any operation asks.
const MOST: u64 = 60;

/// How an operation is called, and by whom.
struct Call {
    bearer: String,
    id: String,
    number: String,
    body: Value,
    headers: Vec<(&'static str, String)>,
    /// The statuses of a call that was done, the first time or when it was repeated.
    done: &'static [u16],
    /// Who answers requests to models meanwhile.
    agent: Option<TestAgent>,
}

impl Call {
    fn new(bearer: &str, body: Value, done: &'static [u16]) -> Self {
        let bearer = bearer.to_owned();
        Self { bearer, id: String::new(), number: String::new(), body, headers: Vec::new(), done, agent: None }
    }

    fn of(self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self }
    }

    fn keyed(mut self) -> Self {
        self.headers.push(("idempotency-key", "once".to_owned()));
        self
    }

    fn request(&self, operation: &Operation) -> Request<Body> {
        let path = operation.path.replace("{id}", &self.id).replace("{number}", &self.number);
        let path = path.replace("{request_id}", &self.number);
        let body = (operation.method != "DELETE").then(|| self.body.clone());
        let mut request = request(&operation.method, &self.bearer, &path, body);
        for (name, value) in &self.headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        if let Value::String(text) = &self.body {
            *request.body_mut() = Body::from(text.clone());
        }
        request
    }
}

/// What has to be there before, and the call.
async fn prepare(world: &World, operation: &str) -> Call {
    match operation {
        "submit_job" => Call::new(ADMIN, job(&["true"]), &[202]).keyed(),
        "submit_jobs" => {
            let mut jobs = vec![job(&["build"]), job(&["test"])];
            jobs[0]["ref"] = json!("first");
            jobs[1]["depends_on"] = json!(["first"]);
            Call::new(ADMIN, json!({ "jobs": jobs }), &[202]).keyed()
        }
        "cancel_job" => Call::new(ADMIN, json!({}), &[200]).of(&world.submit(ADMIN).await),
        "retry_job" => {
            let id = world.submit(ADMIN).await;
            world.post(ADMIN, &format!("/api/v1/jobs/{id}/cancel"), json!({})).await.ok(200);
            Call::new(ADMIN, json!({}), &[200]).of(&id)
        }
        "pull_model" => {
            pulling(world, "box").await;
            Call::new(ADMIN, json!({"model": "new:1b", "agent_id": "box"}), &[202]).keyed()
        }
        "publish_event" => Call::new(ADMIN, json!({"topic": "tests.done", "payload": {}}), &[201]).keyed(),
        "set_scheduler" => Call::new(ADMIN, json!({"profile": "memory"}), &[200]),
        "set_aliases" => Call::new(ADMIN, json!({"aliases": {"chat": ["phi"]}}), &[200]),
        "sweep" => Call::new(ADMIN, json!({}), &[200]),
        "chat_completions" | "completions" | "embeddings" | "responses" => ask_a_model(world, operation).await,
        "request_inference" => {
            reachable(world, "box", 16).await;
            Call::new(ADMIN, wish(), &[200])
        }
        other if other.contains("key") || other.contains("join_token") => with_credentials(world, other).await,
        other => of_an_agent(world, other).await,
    }
}

async fn ask_a_model(world: &World, operation: &str) -> Call {
    let agent = serving(world, "box", &["llama"]).await;
    let mut body = json!({"model": "llama"});
    let (name, asked) = match operation {
        "chat_completions" => ("messages", json!([{"role": "user", "content": "hi"}])),
        "completions" => ("prompt", json!("hi")),
        _ => ("input", json!("hi")),
    };
    body[name] = asked;
    Call { agent: Some(agent), ..Call::new(ADMIN, body, &[200]).keyed() }
}

async fn with_credentials(world: &World, operation: &str) -> Call {
    let key = json!({"name": "new", "scopes": ["jobs:read"]});
    match operation {
        "create_key" => Call::new(ADMIN, key, &[201]),
        "create_join_token" => Call::new(ADMIN, json!({"uses": 7}), &[201]),
        "delete_key" => {
            let made = world.post(ADMIN, "/api/v1/keys", key).await.ok(201);
            Call::new(ADMIN, Value::Null, &[204, 404]).of(made["id"].as_str().unwrap())
        }
        "delete_join_token" => {
            let made = world.post(ADMIN, "/api/v1/join-tokens", json!({"uses": 7})).await.ok(201);
            Call::new(ADMIN, Value::Null, &[204, 404]).of(made["id"].as_str().unwrap())
        }
        other => panic!("no case for {other}"),
    }
}

async fn of_an_agent(world: &World, operation: &str) -> Call {
    if operation == "join_agent" {
        let token = world.join_token(1).await;
        let wish = json!({"protocol": 1, "public_key": crate::agent::Signer::new().public, "agent_id": "box"});
        return Call::new(&token, wish, &[200]);
    }
    if operation == "agent_use_ticket" {
        let agent = reachable(world, "box", 16).await;
        let ticket = world.post(ADMIN, "/api/v1/inference/request", wish()).await.ok(200);
        let number = ticket["request_id"].as_str().unwrap().to_owned();
        return Call { number, ..Call::new(&agent.token, json!({}), &[200]).of("box") };
    }
    if operation == "stream_output" {
        let mut agent = serving(world, "box", &["llama"]).await;
        let asked = json!({"model": "llama", "messages": [{"role": "user", "content": "hi"}]});
        let asking = request("POST", ADMIN, "/v1/chat/completions", Some(asked));
        let waiting = tokio::spawn({
            let router = world.router.clone();
            async move { send(&router, asking).await }
        });
        let lease = agent.claim_requests(world, 5_000).await.ok(200)["leases"][0].clone();
        drop(waiting);
        let lease_id = upload(&agent, &lease, Body::empty()).headers()["x-titan-lease"].to_str().unwrap().to_owned();
        // A repeat of what is there already is told where the output ends.
        let call = Call::new(&agent.token, json!("an answer"), &[200, 409]).of(lease["job_id"].as_str().unwrap());
        return Call { number: lease["attempt"].to_string(), headers: vec![("x-titan-lease", lease_id)], ..call };
    }
    let mut agent = TestAgent::register(world, "box").await;
    let by_agent = |body: Value| Call::new(&agent.token, body, &[200]).of("box");
    match operation {
        "drain_agent" | "resume_agent" => Call::new(ADMIN, json!({}), &[200]).of("box"),
        "remove_agent" => Call::new(ADMIN, Value::Null, &[204]).of("box"),
        "register_agent" => {
            let body = agent.registration("run-2", &agent.proof("run-2", now_s()));
            Call::new("", body, &[200])
        }
        "agent_heartbeat" => by_agent(json!({"protocol": 1, "seq": 1, "last_claim": 0})),
        "agent_claim" => {
            world.submit(ADMIN).await;
            by_agent(json!({"protocol": 1, "claim": 1, "free_slots": 4, "wait_ms": 0}))
        }
        "agent_report" => {
            world.submit(ADMIN).await;
            let lease = agent.claim(world, 0).await.ok(200)["leases"][0].clone();
            let events = [json!({"type": "started"}), output(0, "stdout", "text"), json!({"type": "completed"})];
            let reports: Vec<Value> = events.into_iter().map(|event| report(&lease, event)).collect();
            // One more that waits is claimed by the same call.
            world.submit(ADMIN).await;
            let claim = json!({"claim": 2, "free_slots": 4});
            Call::new(&agent.token, json!({"protocol": 1, "reports": reports, "claim": claim}), &[200]).of("box")
        }
        other => panic!("no case for {other}"),
    }
}

/// Makes the call, while whoever answers for models does.
async fn call(world: &World, router: &Router, operation: &Operation, call: &mut Call) -> Reply {
    let request = call.request(operation);
    let Some(agent) = &mut call.agent else { return send(router, request).await };
    let answering = async {
        loop {
            let claimed = agent.claim_requests(world, 100).await.ok(200);
            for lease in claimed["leases"].as_array().unwrap() {
                let events = vec![output(0, "stdout", r#"{"id":"x"}"#), json!({"type": "completed"})];
                agent.report(world, &held(lease), events).await.ok(200);
            }
        }
    };
    tokio::select! {
        reply = send(router, request) => reply,
        () = answering => unreachable!(),
    }
}

/// What the pool holds, without ids and times.
async fn summary(world: &World) -> Value {
    let list = async |path: &str, what: &str| world.get(ADMIN, path).await.ok(200)[what].as_array().unwrap().clone();
    let mut jobs = Vec::new();
    for listed in list("/api/v1/jobs?limit=100", "jobs").await {
        let job = world.get(ADMIN, &format!("/api/v1/jobs/{}", listed["id"].as_str().unwrap())).await.ok(200);
        // A ticket that nobody brings is a request that nobody made; a pull waits for its agent.
        let is_pull = job["inference"]["route"] == "pull";
        let is_unused = job["kind"] == "inference" && job["attempt"] == 0 && !is_pull;
        let view = ["state", "attempt", "process", "output_bytes", "exit_code", "cancelling", "waits_for"];
        jobs.extend(
            (!is_unused).then(|| view.map(|field| job[field].clone()).map(|value| value.to_string()).join(" ")),
        );
    }
    jobs.sort();
    let of = |list: Vec<Value>, fields: &[&str]| {
        let mut lines: Vec<String> = list
            .iter()
            .map(|one| fields.iter().map(|field| one[*field].to_string()).collect::<Vec<_>>().join(" "))
            .collect();
        lines.sort();
        lines
    };
    let events =
        world.get(ADMIN, "/api/v1/events?topic=tests.&after=0").await.ok(200)["events"].as_array().unwrap().len();
    json!({
        "jobs": jobs,
        "agents": of(list("/api/v1/agents?limit=100", "agents").await, &["id", "state", "draining"]),
        "keys": of(list("/api/v1/keys?limit=100", "keys").await, &["name", "scopes"]),
        "join tokens": of(list("/api/v1/join-tokens?limit=100", "join_tokens").await, &["uses", "used_by"]),
        "events": events,
        "scheduler": world.get(ADMIN, "/api/v1/scheduler").await.ok(200)["profile"],
        "aliases": world.get(ADMIN, "/api/v1/models/aliases").await.ok(200)["aliases"],
    })
}

/// A credential that nobody got to see is named by the answer, and can be taken back.
async fn take_back(world: &World, operation: &str, told: &Reply) {
    let (path, what, is_new): (_, _, fn(&Value) -> bool) = match operation {
        "create_key" => ("/api/v1/keys", "keys", |key| key["name"] == "new"),
        "create_join_token" => ("/api/v1/join-tokens", "join_tokens", |token| token["uses"] == 7),
        _ => return,
    };
    for made in world.get(ADMIN, path).await.ok(200)[what].as_array().unwrap().iter().filter(|made| is_new(made)) {
        let id = made["id"].as_str().unwrap();
        assert!(told.body.contains(id), "{operation}: {}", told.body);
        world.call("DELETE", ADMIN, &format!("{path}/{id}"), None).await.ok(204);
    }
}

#[tokio::test]
async fn what_is_repeated_after_a_lost_answer_ends_as_if_called_once() {
    for operation in operations().into_iter().filter(|operation| operation.method != "GET") {
        let name = operation.id.as_str();
        let mut played = 0;
        let world = World::start().await;
        let mut once = prepare(&world, name).await;
        let reply = call(&world, &world.router, &operation, &mut once).await;
        assert!(once.done.contains(&reply.status.as_u16()), "{name}: {} {}", reply.status, reply.body);
        let expected = summary(&world).await;
        for number in 0..=MOST {
            let world = World::start().await;
            let mut repeated = prepare(&world, name).await;
            let way = Losing::to(&world.redis.url()).await;
            let through = router(AppState::new(settings(&way.url(), &[])).unwrap());
            way.lose(number);
            let first = call(&world, &through, &operation, &mut repeated).await;
            if !way.mend() && number > 0 {
                break;
            }
            played = number;
            let is_known = repeated.done.contains(&first.status.as_u16());
            assert!(is_known || first.status == 503, "{name}, {number}: {} {}", first.status, first.body);
            if !is_known || number == 0 {
                take_back(&world, name, &first).await;
                let again = call(&world, &through, &operation, &mut repeated).await;
                let is_done = repeated.done.contains(&again.status.as_u16());
                assert!(is_done, "{name}, answer {number} lost: {} {}", again.status, again.body);
            }
            assert_eq!(summary(&world).await, expected, "{name}, answer {number} lost");
        }
        assert!(played > 0 && played < MOST, "{name}: {played} answers lost");
        println!("{name}: each of {played} answers lost");
    }
}
