//! Backends that the agent itself starts and looks after: as processes, each with a keeper beside it, or in containers.
//! What is started is for the operator's settings alone to say. One that is well is served like one that was named.

mod container;
mod docker;
mod environment;
mod gpus;
mod home;
mod keeper;
mod life;
mod log;
mod process;
mod programs;
mod pull;
mod pulse;
mod recipe;
mod runner;
mod spec;
mod status;
mod tries;

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use titan_api::agents::Gpu;
use tokio::{sync::watch, time::timeout};
use tracing::{info, warn};

pub(crate) use docker::connect as connect_docker;
pub(crate) use gpus::GpuChoice;
pub use keeper::KeeperArgs;
pub(crate) use keeper::run as keeper;
pub(crate) use recipe::{LlamaCpp, Ollama, Recipe, Vllm};
pub(crate) use runner::{Way, way};
pub(crate) use status::{Phase, Status};

use crate::{
    agent::Agent,
    backends::Kind,
    config::{Config, Supervised, Wanted},
    reexec::Reexec,
    roster::Roster,
};
use home::Home;
use process::Process;
use status::Told;

/// Ending all of them takes no longer: the grace that each gets, and some.
const STOP: Duration = Duration::from_secs(20);

/// Characters of what a backend or Docker says that are told on.
const SHORT: usize = 400;

/// All backends that this run of the agent starts.
#[derive(Debug)]
pub(crate) struct Supervise {
    settings: Supervised,
    units: Vec<Arc<Unit>>,
    state_dir: PathBuf,
    reexec: Reexec,
    roster: Arc<Roster>,
    gpus: Vec<Gpu>,
    /// The agent stops.
    ending: watch::Sender<bool>,
    /// How many are looked after.
    lives: watch::Sender<usize>,
}

/// One of them.
#[derive(Debug)]
struct Unit {
    wanted: Wanted,
    home: Home,
    told: Told,
}

impl Supervise {
    /// Those that the settings want; none runs yet.
    pub(crate) fn new(config: &Config, reexec: Reexec, roster: Arc<Roster>, gpus: Vec<Gpu>) -> Self {
        let settings = config.supervised.clone();
        let unit = |wanted: &Wanted| {
            let home = Home::of(&config.state_dir, wanted.kind.as_str());
            Arc::new(Unit { wanted: wanted.clone(), home, told: Told::of(wanted.kind.as_str()) })
        };
        let units: Vec<_> = settings.backends.iter().map(unit).collect();
        let (state_dir, ending, lives) = (config.state_dir.clone(), watch::Sender::new(false), watch::Sender::new(0));
        Self { settings, units, state_dir, reexec, roster, gpus, ending, lives }
    }

    /// How it stands with each.
    pub(crate) fn statuses(&self) -> Vec<Status> {
        self.units.iter().map(|unit| unit.told.now()).collect()
    }

    /// What of them keeps the agent from asking for requests, in words.
    pub(crate) fn hindrances(&self) -> Vec<String> {
        self.units.iter().filter_map(|unit| unit.told.now().hindrance()).collect()
    }

    /// Ends all of them, or leaves them running if that is what the operator wants.
    pub(crate) async fn stop(&self) {
        self.ending.send_replace(true);
        let mut lives = self.lives.subscribe();
        // The sender lives as long as this.
        if timeout(STOP, lives.wait_for(|lives| *lives == 0)).await.is_err() {
            warn!("a backend that this agent has started does not end");
        }
    }

    /// Ends what an earlier run of the agent has left of backends that are not wanted any more.
    async fn end_unwanted(&self) {
        for kind in [Kind::Ollama, Kind::Vllm, Kind::LlamaCpp] {
            let home = Home::of(&self.state_dir, kind.as_str());
            if self.units.iter().any(|unit| unit.wanted.kind == kind) || !home.path().exists() {
                continue;
            }
            Process::find(&home, &self.roster, |_| false).await;
            self.forget_container(kind, &home).await;
        }
    }

    /// Removes the containers of `kind`, if there may be any.
    async fn forget_container(&self, kind: Kind, home: &Home) {
        if !home.container().exists() {
            return;
        }
        match container::remove_all(&container::mark(&self.state_dir), kind).await {
            Ok(()) => drop(fs::remove_file(home.container())),
            Err(why) => warn!("a container of {kind} may be left over: {why}"),
        }
    }
}

/// What others say could be long, and could steer a terminal.
fn short(text: &str) -> String {
    text.trim().chars().take(SHORT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Looks after all of them until the agent ends.
pub(crate) async fn run(agent: Arc<Agent>) {
    agent.supervise.end_unwanted().await;
    for unit in &agent.supervise.units {
        info!("{} is started and looked after by this agent", unit.wanted.kind);
        let (agent, unit) = (Arc::clone(&agent), Arc::clone(unit));
        agent.supervise.lives.send_modify(|lives| *lives += 1);
        tokio::spawn(async move {
            // Whatever becomes of it, the agent does not wait for it for ever.
            let living = tokio::spawn({
                let (agent, unit) = (Arc::clone(&agent), Arc::clone(&unit));
                async move { life::live(&agent, &unit).await }
            });
            if let Err(e) = living.await {
                let why = format!("this is a fault of titan-agent: {e}");
                warn!("{} is looked after no more: {why}", unit.wanted.kind);
                unit.told.change(|status| (status.state, status.reason) = (Phase::GivenUp, Some(why)));
            }
            agent.supervise.lives.send_modify(|lives| *lives -= 1);
        });
    }
    std::future::pending::<()>().await;
}
