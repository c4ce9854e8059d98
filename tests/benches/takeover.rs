//! How long after an agent or a backend died before its first token the client has that from another one, beside what it may
//! take: twice the time for which a backend may be silent.
//!
//! The programs that ship, with their usual settings; only the silence is shorter where the backend is to be found silent.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};
use titan_api::credentials::{CreateKey, CreatedKey, Scope};
use titan_tests::{
    backend::{Backend, Manner},
    fleet::Fleet,
    wait::eventually,
};

/// How long a backend may be silent before its first token if the request does not say.
const USUAL: Duration = Duration::from_mins(2);
const SHORT: Duration = Duration::from_secs(2);

/// What dies.
#[derive(Debug, Clone, Copy)]
enum Dies {
    /// The backend breaks the connection.
    Connection,
    /// The backend says nothing.
    Words,
    /// The agent is killed.
    Agent,
}

struct World {
    backend: Backend,
    fleet: Fleet,
    client: Client,
    key: String,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    println!("a first token from another agent, after the one that was asked first failed");
    println!("{:<36} {:>12} {:>12}", "what dies", "took", "may take");
    for (what, dies, silence) in [
        ("the backend's connection", Dies::Connection, SHORT),
        ("the backend, in silence", Dies::Words, SHORT),
        ("the agent (kill -9)", Dies::Agent, USUAL),
    ] {
        let mut world = World::start().await;
        let took = world.first_token_after(dies, silence).await;
        println!("{what:<36} {:>10.2} s {:>10.0} s", took.as_secs_f64(), 2.0 * silence.as_secs_f64());
    }
}

impl World {
    async fn start() -> Self {
        let backend = Backend::start().await;
        let named = format!("openai={}", backend.url());
        let fleet = Fleet::plan().agent_setting("TITAN_BACKENDS", &named).start().await;
        let key = CreateKey::new("a bench", Scope::ALL.to_vec());
        let key: CreatedKey = fleet.admin().post("/api/v1/keys", &key).await.unwrap();
        let client = Client::builder().no_proxy().build().unwrap();
        let admin = fleet.admin();
        eventually("both agents serve the model", async || {
            let list: Value = admin.get("/api/v1/models").await.ok()?;
            (list["models"][0]["agents"] == 2).then_some(())
        })
        .await;
        Self { backend, fleet, client, key: key.key }
    }

    async fn first_token_after(&mut self, dies: Dies, silence: Duration) -> Duration {
        self.backend.next(match dies {
            Dies::Connection => Manner::Drop { after: 0 },
            Dies::Words | Dies::Agent => Manner::Silence,
        });
        let body = json!({ "model": "small", "stream": true, "messages": [{ "role": "user", "content": "go" }] });
        let url = format!("{}/v1/chat/completions", self.fleet.coordinators[0].url());
        let request = self.client.post(url).bearer_auth(&self.key).json(&body);
        // The usual deadline is over before a killed agent's lease is.
        let request = request.header("x-titan-deadline-ms", 300_000);
        let asking = request.header("x-titan-first-token-ms", u64::try_from(silence.as_millis()).unwrap()).send();
        let asking = tokio::spawn(async move {
            let mut reply = asking.await.unwrap();
            let mut read = String::new();
            while !read.contains("w0 ") {
                let part = reply.chunk().await.unwrap().unwrap_or_else(|| panic!("no token: {read}"));
                read.push_str(&String::from_utf8_lossy(&part));
            }
        });
        self.backend.until_asked(1).await;
        if let Dies::Agent = dies {
            self.kill_who_asks().await;
        }
        let since = Instant::now();
        asking.await.unwrap();
        since.elapsed()
    }

    async fn kill_who_asks(&mut self) {
        let admin = self.fleet.admin();
        let id = eventually("the request is being answered", async || {
            let list: Value = admin.get("/api/v1/jobs?state=running").await.ok()?;
            Some(list["jobs"].get(0)?["agent_id"].as_str()?.to_owned())
        })
        .await;
        self.fleet.agents.iter_mut().find(|agent| agent.id() == id).unwrap().kill();
    }
}
