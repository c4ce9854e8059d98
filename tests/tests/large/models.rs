//! A fleet whose agents serve the model `small` of a scripted backend, on this machine's network or each in one of its own.

use reqwest::{Method, Response};
use serde_json::{Value, json};
use titan_api::{
    client::Client,
    credentials::{CreateKey, CreatedKey, Scope},
    ids::JobId,
};
use titan_tests::{
    backend::{Backend, Manner},
    coordinator::Coordinator,
    fleet::{Fleet, FleetPlan},
    namespace::Namespace,
    skip::skipped,
    wait::eventually,
};

/// Where agents are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On this machine's network.
    Here,
    /// Each in a network of its own that nothing reaches.
    Hidden,
}

impl Place {
    /// Whether this machine has such a place; says so where it doesn't.
    pub(crate) fn exists(self) -> bool {
        let Some(why) = (self == Self::Hidden).then(|| Namespace::new().err()).flatten() else { return true };
        skipped(&why);
        false
    }
}

/// Makes two tests of each function: with agents that are here, and with agents that nothing reaches.
macro_rules! everywhere {
    ($($test:ident)*) => {
        mod agents_that_are_here {
            $(#[tokio::test] async fn $test() { super::$test(crate::models::Place::Here).await; })*
        }
        mod agents_that_nothing_reaches {
            $(#[tokio::test] async fn $test() {
                if crate::models::Place::Hidden.exists() {
                    super::$test(crate::models::Place::Hidden).await;
                }
            })*
        }
    };
}
pub(crate) use everywhere;

/// The fleet, and what asks it.
pub(crate) struct Models {
    pub(crate) backend: Backend,
    pub(crate) fleet: Fleet,
    /// One for each coordinator, all with the same API key.
    pub(crate) clients: Vec<Client>,
}

impl Models {
    /// Starts it; returns when every agent is known to serve the model.
    pub(crate) async fn start(place: Place, plan: FleetPlan) -> Self {
        let backend = Backend::start().await;
        let plan = plan.agent_setting("TITAN_BACKENDS", &format!("openai={}", backend.url()));
        let port = backend.url().rsplit(':').next().unwrap().parse().unwrap();
        let plan = if place == Place::Hidden { plan.hidden(&[port]) } else { plan };
        let fleet = plan.start().await;
        let clients = clients(&fleet).await;
        let agents = fleet.agents.len();
        until_served(&clients[0], "small", agents).await;
        Self { backend, fleet, clients }
    }

    /// The one request that is being answered, and the number of the agent that has it.
    pub(crate) async fn running(&self) -> (JobId, usize) {
        let client = self.clients.last().unwrap();
        eventually("a request is answered", async || {
            let list: Value = client.get("/api/v1/jobs?state=running").await.ok()?;
            let job = list["jobs"].get(0)?;
            let number = self.fleet.agents.iter().position(|agent| job["agent_id"] == agent.id())?;
            Some((JobId::new(job["id"].as_str()?).unwrap(), number))
        })
        .await
    }

    /// Waits until nothing is reserved at any agent any more, and sees that every place can be had again.
    pub(crate) async fn all_places_come_back(&self) {
        nothing_is_reserved(&self.fleet).await;
        self.backend.always(Manner::words(1));
        let client = self.clients.last().unwrap();
        let asking = (0..16).map(|_| async { chat(client, true, &[]).await.text().await.unwrap() });
        for answer in futures_util::future::join_all(asking).await {
            assert!(answer.contains("[DONE]"), "{answer}");
        }
        nothing_is_reserved(&self.fleet).await;
    }
}

/// A client of each coordinator, all with the same new API key.
pub(crate) async fn clients(fleet: &Fleet) -> Vec<Client> {
    let key = CreateKey::new("a test", Scope::ALL.to_vec());
    let key: CreatedKey = fleet.admin().post("/api/v1/keys", &key).await.unwrap();
    fleet.coordinators.iter().map(|coordinator| coordinator.anyone().with_bearer(key.key.clone())).collect()
}

/// Waits until so many agents serve the model.
pub(crate) async fn until_served(client: &Client, model: &str, agents: usize) {
    eventually(format!("{agents} agents serve {model}"), async || {
        let list: Value = client.get("/api/v1/models").await.ok()?;
        let listed = list["models"].as_array()?.iter().find(|listed| listed["name"] == model)?;
        (listed["agents"] == agents).then_some(())
    })
    .await;
}

/// Waits until no agent has anything reserved.
pub(crate) async fn nothing_is_reserved(fleet: &Fleet) {
    let admin = fleet.coordinators.last().map(Coordinator::admin).unwrap();
    eventually("nothing is reserved any more", async || {
        let list: Value = admin.get("/api/v1/agents?limit=500").await.ok()?;
        list["agents"].as_array()?.iter().all(|agent| agent["live_attempts"] == 0).then_some(())
    })
    .await;
}

/// Asks for a chat, with these headers.
pub(crate) async fn chat(client: &Client, stream: bool, headers: &[(&str, &str)]) -> Response {
    let body = json!({ "model": "small", "stream": stream, "messages": [{ "role": "user", "content": "go" }] });
    let request = client.request(Method::POST, "/v1/chat/completions").json(&body);
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap()
}

/// Reads until `text` has come.
pub(crate) async fn read_until(response: &mut Response, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let part = response.chunk().await.unwrap().unwrap_or_else(|| panic!("no {text:?} in {read}"));
        read.push_str(std::str::from_utf8(&part).unwrap());
    }
    read
}

/// What a stream has said, which must be the words from the first on, none left out and none twice; and how many.
pub(crate) fn words_of(stream: &str) -> usize {
    let events = stream.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    let said: String = events.filter_map(|e| Some(e["choices"][0]["delta"]["content"].as_str()?.to_owned())).collect();
    let count = said.split_whitespace().count();
    let wanted: String = (0..count).map(|number| format!("w{number} ")).collect();
    assert_eq!(said, wanted);
    count
}
