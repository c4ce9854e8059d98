//! `agents/get`: agents as clients see them. One script serves both wrappers: [`GetAgent`] reads one by its id,
//! [`ListAgents`] a page of the registry.

use titan_api::{
    agents::{Agent, AgentGpu, AgentState, Breaker, Facts, Hindrance, Trouble},
    ids::AgentId,
    inference::ModelSpeed,
    jobs::JobKind,
    pull,
    time::Timestamp,
};

use crate::{
    Pool, StoreError,
    reply::{Reply, unknown_word},
    script::{Args, script},
};

script!(Reads, "agents/get", uses ["calls", "key", "int", "clock", "pool", "record", "terms", "agent", "room", "rank"]);

/// Agents in one run of the script.
const AT_ONCE: u32 = 100;

/// Reads one agent.
#[derive(Debug, Clone, Copy)]
pub struct GetAgent<'a> {
    /// The agent.
    pub agent: &'a AgentId,
}

impl GetAgent<'_> {
    /// Runs the script; none if there is no such agent.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<Option<Agent>, StoreError> {
        Ok(read(pool, self.agent.as_str(), "", 1).await?.pop())
    }
}

/// Reads a page of agents.
#[derive(Debug, Clone, Copy)]
pub struct ListAgents<'a> {
    /// The last agent of the page before.
    pub after: Option<&'a AgentId>,
    /// How many at most, 1 or more.
    pub limit: u32,
}

impl ListAgents<'_> {
    /// Runs the script, for 100 agents at a time. Fewer agents than `limit` means that none follow.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<Vec<Agent>, StoreError> {
        let mut agents: Vec<Agent> = Vec::new();
        let mut left = self.limit;
        while left > 0 {
            let after = agents.last().map(|a| &a.id).or(self.after).map(AgentId::as_str).unwrap_or_default();
            let more = read(pool, "", after, left.min(AT_ONCE)).await?;
            let is_last = more.len() < left.min(AT_ONCE) as usize;
            agents.extend(more);
            left = if is_last { 0 } else { left.saturating_sub(AT_ONCE) };
        }
        Ok(agents)
    }
}

async fn read(pool: &Pool, agent: &str, after: &str, limit: u32) -> Result<Vec<Agent>, StoreError> {
    let mut args = Args::new();
    args.push(agent).push(after).push(limit).push(pool.now());
    let (word, reply) = pool.call(&SCRIPT, &args).await?;
    match word.as_str() {
        "agents" => reply.rest(|r| view(r.list()?, agent.is_empty())),
        other => Err(unknown_word("agents/get", other)),
    }
}

/// On a page one whose facts can't be read stands without them, so that the others can be seen.
fn view(mut reply: Reply, is_of_page: bool) -> Result<Agent, StoreError> {
    let (id, state): (AgentId, String) = (reply.parse()?, reply.text()?);
    let state = AgentState::from_word(&state).ok_or_else(|| unknown_word("agents/get", &state))?;
    let (draining, leaving) = (reply.flag()?, reply.flag()?);
    let (score, live_attempts) = (reply.parse()?, reply.parse()?);
    let (seen_ms, registered_ms, rtt_ms) = (reply.parse()?, reply.parse()?, reply.some()?);
    let (ram_free_mb, mut left) = (reply.parse()?, reply.list()?);
    let facts = serde_json::from_slice(&reply.bytes()?);
    let mut facts: Facts = match facts {
        Err(_) if is_of_page => unreadable(),
        facts => facts.map_err(|e| StoreError::Corrupt(format!("the facts of agent {id}: {e}")))?,
    };
    let held_for = reply.some()?;
    let breaker = breaker(&mut reply)?;
    let models = reply.bytes()?;
    if !models.is_empty() {
        facts.models = match serde_json::from_slice(&models) {
            Err(_) if is_of_page => Vec::new(),
            models => models.map_err(|e| StoreError::Corrupt(format!("the models of agent {id}: {e}")))?,
        };
        facts.models.retain(|model| !pull::is_puller(&model.name));
    }
    let speeds = speeds(reply.list()?)?;
    let hindered_by = reply.list()?.rest(hindrance)?;
    let mut gpus = Vec::new();
    while !left.is_empty() {
        let (uuid, vram_free_mb) = (left.text()?, left.parse()?);
        if let Some(gpu) = facts.gpus.iter().find(|g| g.uuid == uuid) {
            gpus.push(AgentGpu { uuid, name: gpu.name.clone(), vram_mb: gpu.vram_mb, vram_free_mb });
        }
    }
    Ok(Agent {
        id,
        state,
        breaker,
        draining,
        leaving,
        score,
        live_attempts,
        max_jobs: facts.max_jobs,
        last_seen_at: Timestamp::from_ms(seen_ms),
        registered_at: Timestamp::from_ms(registered_ms),
        rtt_ms,
        ram_free_mb,
        gpus,
        held_for,
        hindered_by,
        speeds,
        facts,
    })
}

fn unreadable() -> Facts {
    Facts { hostname: "unreadable".to_owned(), ..Facts::default() }
}

fn speeds(reply: Reply) -> Result<Vec<ModelSpeed>, StoreError> {
    let mut speeds = reply.rest(|r| {
        Ok(ModelSpeed {
            model: r.text()?,
            tokens_per_second: r.some()?,
            first_token_ms: r.some()?,
            failures: r.parse()?,
            cool_down_until: r.some()?.map(Timestamp::from_ms),
        })
    })?;
    speeds.retain(|speed: &ModelSpeed| !pull::is_puller(&speed.model));
    speeds.sort_by(|a, b| a.model.cmp(&b.model));
    Ok(speeds)
}

fn hindrance(reply: &mut Reply) -> Result<Hindrance, StoreError> {
    let kind = reply.text()?;
    let kind = JobKind::from_word(&kind).ok_or_else(|| unknown_word("agents/get", &kind))?;
    Ok(Hindrance { kind, why: reply.text()? })
}

fn breaker(reply: &mut Reply) -> Result<Breaker, StoreError> {
    let (epoch, failures) = (reply.parse()?, reply.parse()?);
    let cause = reply.some_text()?;
    let cause = cause.map(|word| Trouble::from_word(&word).ok_or_else(|| unknown_word("agents/get", &word)));
    Ok(Breaker {
        epoch,
        cause: cause.transpose()?,
        failures,
        cool_down_until: reply.some()?.map(Timestamp::from_ms),
        trial_job_id: reply.some()?,
        guarded: reply.flag()?,
    })
}
