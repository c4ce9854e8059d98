//! Who may call what: every operation of `openapi.json` against every role. An operation without a row here fails.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use titan_api::problem::ProblemType;

use crate::{
    agent::TestAgent,
    world::{ADMIN, World},
};

/// Whom an operation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Everyone,
    Admin,
    Scope(&'static str),
    Agent,
    AnyAgent,
    Joiner,
}

const OPERATIONS: &[(&str, For)] = &[
    ("health", For::Everyone),
    ("ready", For::Everyone),
    ("jwks", For::Everyone),
    ("public_key", For::Everyone),
    ("openapi", For::Everyone),
    ("docs", For::Everyone),
    ("docs_file", For::Everyone),
    // The proof is in the body.
    ("register_agent", For::Everyone),
    ("get_scheduler", For::Admin),
    ("set_scheduler", For::Admin),
    ("create_key", For::Admin),
    ("list_keys", For::Admin),
    ("delete_key", For::Admin),
    ("create_join_token", For::Admin),
    ("list_join_tokens", For::Admin),
    ("delete_join_token", For::Admin),
    ("sweep", For::Admin),
    ("submit_job", For::Scope("jobs:write")),
    ("submit_jobs", For::Scope("jobs:write")),
    ("cancel_job", For::Scope("jobs:write")),
    ("retry_job", For::Scope("jobs:write")),
    ("list_jobs", For::Scope("jobs:read")),
    ("get_job", For::Scope("jobs:read")),
    ("job_output", For::Scope("jobs:read")),
    ("status", For::Scope("agents:read")),
    ("list_agents", For::Scope("agents:read")),
    ("get_agent", For::Scope("agents:read")),
    ("drain_agent", For::Scope("agents:write")),
    ("resume_agent", For::Scope("agents:write")),
    ("remove_agent", For::Scope("agents:write")),
    ("metrics", For::Scope("metrics:read")),
    ("publish_event", For::Scope("events:write")),
    ("read_events", For::Scope("events:read")),
    ("chat_completions", For::Scope("inference")),
    ("completions", For::Scope("inference")),
    ("embeddings", For::Scope("inference")),
    ("responses", For::Scope("inference")),
    ("list_models", For::Scope("inference")),
    ("get_model", For::Scope("inference")),
    ("fleet_models", For::Scope("inference")),
    ("request_inference", For::Scope("inference")),
    ("usage", For::Scope("inference")),
    ("get_aliases", For::Admin),
    ("set_aliases", For::Admin),
    ("agent_use_ticket", For::Agent),
    // Whose attempt it is, the lease says.
    ("stream_output", For::AnyAgent),
    ("agent_heartbeat", For::Agent),
    ("agent_claim", For::Agent),
    ("agent_report", For::Agent),
];
const JOIN: (&str, For) = ("join_agent", For::Joiner);

/// One operation of the document.
pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) method: String,
    pub(crate) path: String,
    security: Value,
}

pub(crate) fn operations() -> Vec<Operation> {
    let document: Value = serde_json::from_str(&titan_coordinator::openapi().to_json().unwrap()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            all.push(Operation {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                method: method.to_uppercase(),
                path: path.clone(),
                security: operation["security"].clone(),
            });
        }
    }
    all
}

fn rows() -> BTreeMap<&'static str, For> {
    OPERATIONS.iter().copied().chain([JOIN]).collect()
}

#[test]
fn every_operation_has_a_row_and_says_in_the_document_whom_it_is_for() {
    let rows = rows();
    let documented: BTreeSet<String> = operations().into_iter().map(|o| o.id).collect();
    let listed: BTreeSet<String> = rows.keys().map(|id| (*id).to_owned()).collect();
    assert_eq!(documented, listed, "the table of this test and openapi.json name different operations");
    for operation in operations() {
        let expected = match rows[operation.id.as_str()] {
            For::Everyone => json!([{}]),
            For::Admin => json!([{"admin": []}]),
            For::Scope(scope) => json!([{"api_key": [scope]}, {"admin": []}]),
            For::Agent | For::AnyAgent => json!([{"agent": []}]),
            For::Joiner => json!([{"join_token": []}]),
        };
        assert_eq!(operation.security, expected, "{}", operation.id);
    }
}

/// A caller: what it holds, and what it may.
struct Role {
    name: &'static str,
    bearer: String,
    may: fn(For) -> bool,
    /// Whether what it holds is good for something, so that a refusal is 403 and not 401.
    known: bool,
}

async fn roles(world: &World) -> Vec<Role> {
    let agent = TestAgent::register(world, "box-1").await;
    let other = TestAgent::register(world, "box-2").await;
    let role = |name, bearer: &str, known, may| Role { name, bearer: bearer.to_owned(), may, known };
    let key = |scope| world.key("default", vec![scope].leak());
    vec![
        role("nobody", "", false, |f| f == For::Everyone),
        role("somebody", "no-such-credential", false, |f| f == For::Everyone),
        role("a wrong key", &format!("titan_0123456789abcdef_{}", "A".repeat(43)), false, |f| f == For::Everyone),
        role("the administrator", ADMIN, true, |f| matches!(f, For::Everyone | For::Admin | For::Scope(_))),
        role("jobs:write", &key("jobs:write").await, true, |f| matches!(f, For::Everyone | For::Scope("jobs:write"))),
        role("jobs:read", &key("jobs:read").await, true, |f| matches!(f, For::Everyone | For::Scope("jobs:read"))),
        role("agents:read", &key("agents:read").await, true, |f| {
            matches!(f, For::Everyone | For::Scope("agents:read"))
        }),
        role("agents:write", &key("agents:write").await, true, |f| {
            matches!(f, For::Everyone | For::Scope("agents:write"))
        }),
        role("metrics:read", &key("metrics:read").await, true, |f| {
            matches!(f, For::Everyone | For::Scope("metrics:read"))
        }),
        role("events:read", &key("events:read").await, true, |f| {
            matches!(f, For::Everyone | For::Scope("events:read"))
        }),
        role("events:write", &key("events:write").await, true, |f| {
            matches!(f, For::Everyone | For::Scope("events:write"))
        }),
        role("inference", &key("inference").await, true, |f| matches!(f, For::Everyone | For::Scope("inference"))),
        role("the agent", &agent.token, true, |f| matches!(f, For::Everyone | For::Agent | For::AnyAgent)),
        role("another agent", &other.token, true, |f| matches!(f, For::Everyone | For::AnyAgent)),
        role("the agent's credential", &agent.credential, false, |f| f == For::Everyone),
        role("a join token", &world.join_token(1).await, false, |f| matches!(f, For::Everyone | For::Joiner)),
    ]
}

#[tokio::test]
async fn every_operation_serves_those_whom_it_is_for_and_nobody_else() {
    let world = World::start().await;
    let (rows, roles) = (rows(), roles(&world).await);
    let job = world.submit(ADMIN).await;
    for operation in operations() {
        let id = if operation.path.contains("/agents/") { "box-1" } else { &job };
        let path = operation.path.replace("{id}", id).replace("{number}", "1");
        let path = path.replace("{request_id}", &job);
        let body = (operation.method != "GET").then(|| json!({}));
        for role in &roles {
            let reply = world.call(&operation.method, &role.bearer, &path, body.clone()).await;
            let who = format!("{} calls {}", role.name, operation.id);
            if (role.may)(rows[operation.id.as_str()]) {
                assert!(!matches!(reply.status.as_u16(), 401 | 403 | 500), "{who}: {} {}", reply.status, reply.body);
            } else {
                let kind = if role.known { ProblemType::Forbidden } else { ProblemType::Unauthorized };
                assert_eq!(reply.status, kind.status(), "{who}: {}", reply.body);
                if path.starts_with("/v1/") {
                    assert!(reply.ok(kind.status())["error"]["code"].is_string(), "{who}: {}", reply.body);
                } else {
                    reply.problem(kind);
                }
            }
        }
    }
}

#[tokio::test]
async fn what_belongs_to_another_pool_is_not_there() {
    let world = World::start().await;
    let agent = TestAgent::register(&world, "box-1").await;
    let job = world.submit(ADMIN).await;
    let foreign = world.key("other", &["jobs:read", "jobs:write", "agents:read", "agents:write"]).await;
    for operation in operations() {
        let is_client = matches!(rows()[operation.id.as_str()], For::Scope(_));
        if !is_client || !operation.path.contains("{id}") || operation.path.contains("/v1/models") {
            continue;
        }
        let id = if operation.path.contains("/agents/") { &agent.id } else { &job };
        let body = (operation.method != "GET").then(|| json!({}));
        let reply = world.call(&operation.method, &foreign, &operation.path.replace("{id}", id), body).await;
        reply.problem(ProblemType::NotFound);
    }
    world.get(ADMIN, &format!("/api/v1/jobs/{job}")).await.ok(200);
}
