//! A whole installation on loopback: Redis, coordinators and agents, with proxies on the wires where a test wants them.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
};

use tempfile::TempDir;
use titan_api::{
    agents::{AgentList, AgentState},
    client::Client,
};

use crate::{
    agent::{Agent, AgentOptions},
    coordinator::{Coordinator, CoordinatorOptions},
    namespace::Namespace,
    proxy::Proxy,
    redis::RedisServer,
    wait::eventually,
};

/// What a fleet is made of. By default: a Redis without a file, one coordinator and two agents (`a1`, `a2`), wired to
/// each other directly.
#[derive(Debug, Clone)]
pub struct FleetPlan {
    durable: bool,
    coordinators: usize,
    agents: usize,
    proxies: bool,
    hidden: Option<Vec<u16>>,
    coordinator_settings: BTreeMap<String, String>,
    agent_settings: BTreeMap<String, String>,
}

impl Default for FleetPlan {
    fn default() -> Self {
        Self {
            durable: false,
            coordinators: 1,
            agents: 2,
            proxies: false,
            hidden: None,
            coordinator_settings: BTreeMap::new(),
            agent_settings: BTreeMap::new(),
        }
    }
}

impl FleetPlan {
    /// Redis writes an append-only file.
    #[must_use]
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// So many coordinators; every agent knows all of them, and begins with the first.
    #[must_use]
    pub fn coordinators(mut self, count: usize) -> Self {
        self.coordinators = count;
        self
    }

    /// So many agents.
    #[must_use]
    pub fn agents(mut self, count: usize) -> Self {
        self.agents = count;
        self
    }

    /// All traffic goes through [`Fleet::redis_proxy`], and that of agents through [`Fleet::agent_proxy`] (to the first
    /// coordinator).
    #[must_use]
    pub fn proxies(mut self) -> Self {
        self.proxies = true;
        self
    }

    /// Every agent is in a network of its own, in which nothing reaches it: it can only call the coordinators, and what listens
    /// on these ports of 127.0.0.1.
    #[must_use]
    pub fn hidden(mut self, ports: &[u16]) -> Self {
        self.hidden = Some(ports.to_vec());
        self
    }

    /// A setting of every coordinator, by the name of its environment variable.
    #[must_use]
    pub fn coordinator_setting(mut self, name: &str, value: &str) -> Self {
        self.coordinator_settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A setting of every agent, by the name of its environment variable.
    #[must_use]
    pub fn agent_setting(mut self, name: &str, value: &str) -> Self {
        self.agent_settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Starts all of it; returns when every agent is registered and healthy.
    pub async fn start(self) -> Fleet {
        let folder = TempDir::with_prefix("titan-fleet-").unwrap();
        let redis = if self.durable { RedisServer::start_durable().await } else { RedisServer::start().await };
        let redis_proxy = if self.proxies { Some(Proxy::to(&redis.address()).await) } else { None };
        let options = CoordinatorOptions {
            redis_url: redis_proxy.as_ref().map_or_else(|| redis.url(), |proxy| format!("redis://{}", proxy.address())),
            admin_token: random_token(),
            settings: self.coordinator_settings.clone(),
        };
        let mut coordinators = Vec::new();
        for number in 1..=self.coordinators {
            coordinators.push(Coordinator::start(&format!("c{number}"), folder.path(), options.clone()).await);
        }
        let agent_proxy = if self.proxies { Some(Proxy::to(&coordinators[0].address()).await) } else { None };
        let mut fleet = Fleet { agents: Vec::new(), coordinators, redis, redis_proxy, agent_proxy, plan: self, folder };
        for number in 1..=fleet.plan.agents {
            fleet.start_agent(&format!("a{number}")).await;
        }
        for number in 0..fleet.agents.len() {
            fleet.agent_becomes(number, AgentState::Healthy).await;
        }
        fleet
    }
}

/// A running fleet. Dropping it ends all of it, agents first.
#[derive(Debug)]
pub struct Fleet {
    /// The agents.
    pub agents: Vec<Agent>,
    /// The coordinators.
    pub coordinators: Vec<Coordinator>,
    /// Their Redis.
    pub redis: RedisServer,
    redis_proxy: Option<Proxy>,
    agent_proxy: Option<Proxy>,
    plan: FleetPlan,
    folder: TempDir,
}

impl Fleet {
    /// Starts the fleet of the default plan.
    pub async fn start() -> Self {
        Self::plan().start().await
    }

    /// The default plan, to be changed.
    #[must_use]
    pub fn plan() -> FleetPlan {
        FleetPlan::default()
    }

    /// The proxy between coordinators and Redis.
    #[must_use]
    pub fn redis_proxy(&self) -> &Proxy {
        self.redis_proxy.as_ref().expect("a plan with proxies")
    }

    /// The proxy between agents and the first coordinator.
    #[must_use]
    pub fn agent_proxy(&self) -> &Proxy {
        self.agent_proxy.as_ref().expect("a plan with proxies")
    }

    /// A client of the first coordinator with the administrator's token.
    #[must_use]
    pub fn admin(&self) -> Client {
        self.coordinators[0].admin()
    }

    /// A client of the first coordinator with a new API key.
    pub async fn client(&self) -> Client {
        self.coordinators[0].client().await
    }

    /// Starts one more agent; it may not have joined yet.
    pub async fn start_agent(&mut self, id: &str) -> &mut Agent {
        self.start_agent_with(id, BTreeMap::new()).await
    }

    /// The same with more settings, by the names of their environment variables.
    pub async fn start_agent_with(&mut self, id: &str, settings: BTreeMap<String, String>) -> &mut Agent {
        let direct = self.coordinators.iter().map(Coordinator::url);
        let coordinators = match &self.agent_proxy {
            Some(proxy) => vec![format!("http://{}", proxy.address())],
            None => direct.collect(),
        };
        let options = AgentOptions {
            id: id.to_owned(),
            coordinators,
            join_token: self.coordinators[0].join_token().await,
            settings: self.plan.agent_settings.clone().into_iter().chain(settings).collect(),
        };
        let namespace = self.namespace();
        self.agents.push(Agent::start_in(namespace, self.folder.path(), options));
        self.agents.last_mut().expect("it was just added")
    }

    /// A network for an agent, if the plan wants one.
    fn namespace(&self) -> Option<Arc<Namespace>> {
        let ports = self.plan.hidden.as_ref()?;
        let namespace = Namespace::new().unwrap();
        for port in self.coordinators.iter().map(Coordinator::port).chain(ports.iter().copied()) {
            namespace.forward(port);
        }
        Some(Arc::new(namespace))
    }

    /// Waits until the coordinator sees an agent in that state.
    pub async fn agent_becomes(&mut self, number: usize, state: AgentState) {
        let admin = self.admin();
        let agent = &mut self.agents[number];
        let id = agent.id().to_owned();
        eventually(format!("agent {id} to be {state}"), async || {
            let list: AgentList = admin.get("/api/v1/agents?limit=500").await.ok()?;
            let seen = list.agents.into_iter().find(|seen| seen.id.as_str() == id);
            assert!(seen.is_some() || agent.process().is_running(), "agent {id} ended before it was registered");
            seen.filter(|seen| seen.state == state).map(drop)
        })
        .await;
    }
}

fn random_token() -> String {
    let part = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", part(), part())
}
