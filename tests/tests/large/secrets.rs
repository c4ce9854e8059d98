//! A hunt for secrets: what coordinator and agents log and tell, their command lines and Redis are searched for those that were used
//! in some work.

use reqwest::Method;
use serde_json::json;
use titan_api::{
    client::Client,
    credentials::{CreateKey, CreatedKey, Scope},
    jobs::{ProcessSpec, SubmitJob},
};

use crate::helpers::{completed, quick, read_output, shell, submit};

const OF_A_JOB: &str = "canary-of-a-job-5ad1f3";

/// What a path tells, be it a refusal, and whether it tells what was asked for.
async fn told(client: &Client, path: &str) -> (bool, String) {
    let reply = client.request(Method::GET, path).send().await.unwrap();
    let is_good = reply.status().is_success();
    let text = format!("{:?} {}", reply.headers().clone(), reply.text().await.unwrap());
    (is_good, text)
}

/// The words of a process's command line.
fn argv(pid: u32) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap()).into_owned()
}

#[tokio::test]
async fn no_secret_is_in_a_log_a_reply_a_figure_or_a_command_line() {
    let plan = quick().coordinator_setting("LOG_LEVEL", "trace").agent_setting("LOG_LEVEL", "trace");
    let mut fleet = plan.start().await;
    let created: CreatedKey =
        fleet.admin().post("/api/v1/keys", &CreateKey::new("hunted", Scope::ALL.to_vec())).await.unwrap();
    let join_token = fleet.coordinators[0].join_token().await;
    let client = fleet.coordinators[0].anyone().with_bearer(created.key.clone());
    let line = "case $CANARY in canary-of-a-job-*) echo it has it;; esac";
    let process =
        ProcessSpec { secret_env: [("CANARY".to_owned(), OF_A_JOB.to_owned().into())].into(), ..shell(line).process };
    let id = submit(&client, &SubmitJob { process, ..shell(line) }).await;
    completed(&client, &id).await;
    assert_eq!(read_output(&client, &id).await.text(titan_api::output::Stream::Stdout), "it has it\n");

    let mut places = Vec::new();
    let agent = fleet.agents[0].id().to_owned();
    for path in [
        "jobs",
        "agents",
        "events?after=0",
        "keys",
        "join-tokens",
        "status",
        "scheduler",
        "usage",
        "ready",
        "models",
        &format!("jobs/{id}"),
        &format!("agents/{agent}"),
        &format!("jobs/{id}/output"),
    ] {
        let path = format!("/api/v1/{path}");
        let (is_good, by_admin) = told(&fleet.admin(), &path).await;
        assert!(is_good, "{path}: {by_admin}");
        places.push((path.clone(), by_admin));
        places.push((path.clone(), told(&client, &path).await.1));
    }
    places.push(("/metrics".to_owned(), told(&fleet.admin(), "/metrics").await.1));
    // Secrets in places where they do not belong; who sends them knows them, so that replies are not looked at.
    for secret in [&created.key, &join_token, fleet.coordinators[0].admin_token()] {
        let anyone = fleet.coordinators[0].anyone();
        told(&anyone, &format!("/api/v1/jobs?key={secret}")).await;
        told(&anyone, &format!("/api/v1/jobs/{secret}")).await;
        told(&anyone, &format!("/{secret}")).await;
        told(&anyone.clone().with_bearer(format!("{secret}x")), "/api/v1/jobs").await;
        let misplaced = anyone.clone().with_bearer(created.key.clone());
        let body = json!({ secret.to_owned(): secret, "kind": secret });
        misplaced.request(Method::POST, "/api/v1/jobs").json(&body).send().await.unwrap();
        misplaced.request(Method::GET, "/api/v1/jobs").header("x-api-key", secret).send().await.unwrap();
    }
    let store = format!("{:?}", fleet.redis.snapshot().await);
    let coordinator = &mut fleet.coordinators[0];
    let admin_token = coordinator.admin_token().to_owned();
    places.push(("the coordinator's command line".to_owned(), argv(coordinator.pid())));
    places.push(("the coordinator's log".to_owned(), coordinator.process().log()));
    assert!(places.last().unwrap().1.contains("DEBUG"), "it is told to log all");
    for agent in &mut fleet.agents {
        places.push(("an agent's command line".to_owned(), argv(agent.process().pid())));
        places.push(("an agent's log".to_owned(), agent.process().log()));
    }
    let secrets = [
        ("the administrator's token", &*admin_token),
        ("an API key", &*created.key),
        ("a join token", &*join_token),
        ("a secret of a job", OF_A_JOB),
    ];
    for (what, secret) in secrets {
        for (place, text) in &places {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{what} is in {place}");
        }
        assert!(what == "a secret of a job" || !store.contains(secret), "{what} is in Redis");
    }
}
