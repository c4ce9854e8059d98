//! All processes of `titan dev`: started one after the other, watched together, stopped in order.

use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::future::{join_all, select_all};
use titan_api::{agents::AgentState, client::Client};
use tokio::time::{Instant, sleep};

use super::{
    Options,
    child::Child,
    find_redis,
    folder::DataFolder,
    model,
    redis::{self, Redis},
    servers::{self, Admin},
};
use crate::{failure::Failure, session::connect, stop::Stop};

const START_LIMIT: Duration = Duration::from_mins(2);
/// Where coordinators listen by default.
const USUAL_PORT: u16 = 8080;
const POLL: Duration = Duration::from_millis(50);
/// How long the agents get to end their jobs, and then the coordinator and Redis to end in order.
const AGENT_GRACE: Duration = Duration::from_secs(30);
const SERVER_GRACE: Duration = Duration::from_secs(15);

/// The processes that run.
#[derive(Debug)]
pub(super) struct Fleet {
    folder: DataFolder,
    redis: Option<Redis>,
    coordinator: Option<Child>,
    agents: Vec<Child>,
    /// The server of a small model, for the demonstration.
    model: Option<Child>,
    is_up: bool,
}

/// What clients need to know of a fleet that is up.
#[derive(Debug, Clone)]
pub(super) struct Running {
    /// The coordinator.
    pub(super) url: String,
    /// A key with all scopes.
    pub(super) api_key: String,
    /// Whether the agents serve the small model.
    pub(super) has_model: bool,
}

impl Fleet {
    /// Nothing runs yet.
    pub(super) fn new(folder: DataFolder) -> Self {
        Self { folder, redis: None, coordinator: None, agents: Vec::new(), model: None, is_up: false }
    }

    /// Where the data are.
    pub(super) fn folder(&self) -> &DataFolder {
        &self.folder
    }

    /// The data folder, when nothing runs any more.
    pub(super) fn into_folder(self) -> DataFolder {
        self.folder
    }

    /// Whether everything that was to be done at the start is done.
    pub(super) fn is_up(&self) -> bool {
        self.is_up
    }

    /// Notes that it is.
    pub(super) fn note_up(&mut self) {
        self.is_up = true;
    }

    /// Whether there is anything to stop.
    pub(super) fn runs(&self) -> bool {
        self.redis.is_some()
    }

    /// Redis, once it runs.
    pub(super) fn redis(&self) -> Option<&Redis> {
        self.redis.as_ref()
    }

    /// What runs beside Redis.
    pub(super) fn servers(&self) -> impl Iterator<Item = &Child> {
        self.coordinator.iter().chain(&self.agents).chain(&self.model)
    }

    /// Starts Redis, the coordinator and the agents, each when the one before is ready.
    pub(super) async fn start(&mut self, options: &Options) -> Result<Running, Failure> {
        let program = find_redis::here()?;
        redis::end_orphan(&self.folder).await?;
        eprintln!("starting {}", program.display());
        let redis = redis::start(&program, &self.folder).await?;
        let redis_url = redis.url.clone();
        self.redis = Some(redis);
        let url = self.start_coordinator(&redis_url, options.port).await?;
        eprintln!("the coordinator listens on {url}");
        let admin = Admin::new(&self.folder, &url)?;
        self.wait_until("the coordinator is ready", async || Ok(admin.client.ready().await.is_ok_and(|r| r.ready)))
            .await?;
        let backends = self.backends(options).await;
        eprintln!("starting {} {}", options.agents, if options.agents == 1 { "agent" } else { "agents" });
        let token = admin.join_token(u32::from(options.agents)).await?;
        for number in 1..=options.agents {
            self.agents.push(servers::agent(&self.folder, &url, number, &token.token, &backends)?);
        }
        let has_model = self.model.is_some();
        let running = Running { api_key: admin.api_key(&self.folder).await?, url, has_model };
        let client = connect(&running.url)?.with_bearer(running.api_key.as_str());
        self.wait_until("all agents are registered", async || all_registered(&client, options.agents).await).await?;
        admin.remove_join_token(&token).await;
        Ok(running)
    }

    /// The backends of every agent: those that were named and, for the demonstration, that of a small model. Where there is
    /// none the rest is shown all the same.
    async fn backends(&mut self, options: &Options) -> Vec<String> {
        let mut backends: Vec<_> = options.backends.iter().map(|arg| format!("{}={}", arg.kind, arg.url)).collect();
        if options.demo {
            match model::start(&self.folder).await {
                Ok((server, url)) => {
                    self.model = Some(server);
                    backends.push(format!("llamacpp={url}"));
                }
                Err(why) => eprintln!("the chat is left out: {why:#}"),
            }
        }
        backends
    }

    /// Starts the coordinator on the port that was asked for, else on 8080, else on any. Gives its URL.
    async fn start_coordinator(&mut self, redis_url: &str, port: Option<u16>) -> anyhow::Result<String> {
        let started = self.try_port(redis_url, port.unwrap_or(USUAL_PORT)).await;
        match (started, port) {
            (Err(error), None) if error.to_string().contains("cannot listen on") => {
                eprintln!("port {USUAL_PORT} is taken, so the coordinator gets another one");
                self.try_port(redis_url, 0).await
            }
            (Err(error), Some(port)) => Err(error.context(format!("port {port} was asked for with --port"))),
            (started, _) => started,
        }
    }

    /// Whether a port is free shows only when the coordinator itself has it.
    async fn try_port(&mut self, redis_url: &str, port: u16) -> anyhow::Result<String> {
        let (coordinator, address_file) = servers::coordinator(&self.folder, redis_url, port)?;
        self.coordinator = Some(coordinator);
        self.wait_until("the coordinator listens", async || Ok(address_file.exists())).await?;
        let address = std::fs::read_to_string(&address_file).context("the coordinator's address cannot be read")?;
        Ok(format!("http://{}", address.trim()))
    }

    /// Asks until the answer is yes, every process having stayed alive.
    async fn wait_until(&mut self, what: &str, is_so: impl AsyncFn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while !is_so().await? {
            for child in self.children() {
                child.check_alive()?;
            }
            if Instant::now() > deadline {
                let logs = self.folder.path().join("logs");
                bail!("it took more than {} s until {what}; the logs are in {}", START_LIMIT.as_secs(), logs.display());
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Returns when any process has ended, with what there is to say about it.
    pub(super) async fn first_death(&mut self) -> Failure {
        let deaths = self.children().map(|child| Box::pin(child.death()));
        Failure::Other(select_all(deaths).await.0)
    }

    /// Stops the agents, then the coordinator, then Redis. If asked to stop again meanwhile, kills what is left.
    pub(super) async fn stop(&mut self, stop: &mut Stop) {
        let in_order = tokio::select! {
            () = self.stop_in_order() => true,
            () = stop.asked() => false,
        };
        if !in_order {
            eprintln!("killing what is left");
            self.children().for_each(|child| child.kill());
        }
        if let Err(error) = redis::end_orphan(&self.folder).await {
            eprintln!("{error:#}");
        }
    }

    async fn stop_in_order(&mut self) {
        if !self.agents.is_empty() {
            eprintln!("stopping the agents (Ctrl-C again kills everything at once)");
        }
        join_all(self.agents.iter_mut().map(|agent| agent.stop(AGENT_GRACE))).await;
        if let Some(model) = &mut self.model {
            model.stop(SERVER_GRACE).await;
        }
        if let Some(coordinator) = &mut self.coordinator {
            eprintln!("stopping the coordinator");
            coordinator.stop(SERVER_GRACE).await;
        }
        if let Some(redis) = &mut self.redis {
            eprintln!("stopping redis");
            redis.child.stop(SERVER_GRACE).await;
        }
    }

    fn children(&mut self) -> impl Iterator<Item = &mut Child> {
        let redis = self.redis.as_mut().map(|redis| &mut redis.child);
        redis.into_iter().chain(self.coordinator.as_mut()).chain(&mut self.agents).chain(&mut self.model)
    }
}

/// Whether that many agents are registered and hear of new work.
async fn all_registered(client: &Client, wanted: u16) -> anyhow::Result<bool> {
    let page = match client.agents(None, None).await {
        // Redis may be slow at first, on a machine that builds something beside.
        Err(error) if error.is_transient() => return Ok(false),
        page => page.context("the coordinator does not list its agents")?,
    };
    let healthy = page.agents.iter().filter(|agent| agent.state == AgentState::Healthy && !agent.draining);
    Ok(healthy.count() >= usize::from(wanted))
}
