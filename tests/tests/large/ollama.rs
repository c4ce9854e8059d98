//! An agent beside Ollama, which is the shim: models that `titan` has it pull, and what they answer. Behind the shim is a
//! real llama.cpp server where there is one.

use std::{process::Command, time::Duration};

use titan_api::{
    agents::AgentState,
    client::{Client, OutputFrom, Reply},
    ids::AgentId,
    inference::FleetModels,
    jobs::{Job, JobState, Reason},
    pull::PullModel,
};
use titan_tests::{
    backend::Backend,
    binaries::workspace,
    fleet::Fleet,
    llama::{self, LlamaServer},
    ollama::{Offer, OllamaShim},
    process::clean,
    skip::skipped,
    wait::eventually,
};

use crate::{
    clients::{NO_PYTHON, titan},
    helpers::quick,
};

/// What answers behind the shim, and the shim.
struct Served {
    _model: Option<LlamaServer>,
    _words: Backend,
    shim: OllamaShim,
}

async fn served() -> Served {
    let (model, words) = (LlamaServer::start(2).await, Backend::start().await);
    let shim = match &model {
        Some(server) => OllamaShim::before(&server.url, llama::MODEL).await,
        None => OllamaShim::before(words.url(), "small").await,
    };
    shim.has("first:1b", 1_000_000);
    shim.offers("new:1b", Offer::of(2_000_000));
    Served { _model: model, _words: words, shim }
}

/// A fleet of one agent beside the shim, once that would pull.
async fn fleet_beside(served: &Served) -> (Fleet, Client) {
    let named = format!("ollama={}", served.shim.url());
    let fleet = quick().agents(1).agent_setting("TITAN_BACKENDS", &named).start().await;
    let client = fleet.client().await;
    until_listed(&client, "first:1b").await;
    (fleet, client)
}

async fn until_listed(client: &Client, model: &str) {
    eventually("the model to be listed", async || {
        let listed: FleetModels = client.get("/api/v1/models").await.ok()?;
        listed.models.into_iter().find(|listed| listed.model.name == model && listed.agents == 1)
    })
    .await;
}

/// Has the agent pull a model; one that has not told yet that it would is asked again.
async fn pull(client: &Client, model: &str, key: &str) -> Job {
    let wish = PullModel { model: model.to_owned(), agent_id: AgentId::new("a1").unwrap() };
    let id = eventually("the agent to be asked to pull", async || {
        client.pull_model(&wish, key).await.ok().map(|pulling| pulling.id.clone())
    })
    .await;
    client.job(&id, None).await.unwrap().into_value()
}

async fn becomes(client: &Client, job: &Job, state: JobState) -> Job {
    eventually(format!("the pull to be {state}"), async || {
        client.job(&job.id, None).await.ok().map(Reply::into_value).filter(|job| job.state == state)
    })
    .await
}

#[tokio::test]
async fn ollamas_client_for_python_takes_the_shim_for_ollama() {
    let Some(python) = llama::python() else { return skipped(NO_PYTHON) };
    let served = served().await;
    let mut command = Command::new(python);
    clean(&mut command)
        .arg(workspace().join("tests/tests/large/clients/shim.py"))
        .env("OLLAMA_URL", served.shim.url())
        .env("MODEL", "first:1b")
        .env("NEW", "new:1b")
        .env("NO_PROXY", "127.0.0.1");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}

#[tokio::test]
async fn a_model_that_titan_has_an_agent_pull_is_listed_within_a_heartbeat_and_answers() {
    let served = served().await;
    let (mut fleet, client) = fleet_beside(&served).await;
    served.shim.offers("slow:1b", Offer::of(3_000_000).slow(12, 250));
    let job = pull(&client, "new:1b", "first").await;
    becomes(&client, &job, JobState::Completed).await;
    until_listed(&client, "new:1b").await;

    let (good, said) = titan(&fleet, &["models", "pull", "slow:1b", "--agent", "a1"], "").await;
    assert!(good && said.starts_with("a1 has slow:1b\n"), "{said}");
    assert!(said.contains(" % of 2.8 MB") && said.contains("success"), "progress: {said}");
    let listed = std::time::Instant::now();
    until_listed(&client, "slow:1b").await;
    assert!(listed.elapsed() < Duration::from_secs(5), "{:?}", listed.elapsed());
    let (good, answer) = titan(&fleet, &["infer", "slow:1b", "--max-tokens", "8", "Say hello."], "").await;
    assert!(good && !answer.trim().is_empty(), "{answer}");

    let (good, why) = titan(&fleet, &["models", "pull", "none", "--agent", "a1"], "").await;
    assert!(!good && why.contains("file does not exist"), "{why}");
    let (good, why) = titan(&fleet, &["models", "pull", "new:1b", "--agent", "nobody"], "").await;
    assert!(!good && why.contains("there is no agent nobody"), "{why}");
    fleet.agents[0].kill();
    fleet.agent_becomes(0, AgentState::Offline).await;
    let (good, why) = titan(&fleet, &["models", "pull", "new:1b", "--agent", "a1"], "").await;
    assert!(!good && why.contains("the agent a1 is offline"), "{why}");
}

#[tokio::test]
async fn a_cancelled_pull_stops_ollama_and_one_whose_agent_was_killed_goes_on_when_it_is_asked_for_again() {
    let served = served().await;
    let (mut fleet, client) = fleet_beside(&served).await;
    served.shim.offers("large:1b", Offer::of(60_000_000).slow(100, 100));
    let job = pull(&client, "large:1b", "first").await;
    served.shim.until_pulling(1).await;
    client.cancel_job(&job.id).await.unwrap();
    let cancelled = std::time::Instant::now();
    served.shim.until_pulling(0).await;
    assert!(cancelled.elapsed() < Duration::from_secs(5), "{:?}", cancelled.elapsed());

    let job = pull(&client, "large:1b", "second").await;
    served.shim.until_pulling(1).await;
    eventually("some progress to be told", async || {
        let told = client.output(&job.id, OutputFrom::default()).await.ok()?.next_offset > 0;
        (told && served.shim.kept("large:1b") > 0).then_some(())
    })
    .await;
    fleet.agents[0].kill();
    let lost = becomes(&client, &job, JobState::Failed).await;
    assert_eq!(lost.reason, Some(Reason::LeaseLost));
    assert!(served.shim.kept("large:1b") > 0, "as Ollama keeps it");
    served.shim.offers("large:1b", Offer::of(60_000_000).slow(100, 0));
    fleet.agents[0].restart();
    let job = pull(&client, "large:1b", "third").await;
    becomes(&client, &job, JobState::Completed).await;
    until_listed(&client, "large:1b").await;
}
