//! What each call does.

use std::collections::{BTreeMap, BTreeSet};

use titan_api::{
    agents::{AgentState, Facts},
    ids::{AgentId, JobId, LeaseId},
    jobs::Reason,
    work::HeldLease,
};
use titan_lua::{agents::TurnedAway, jobs::RetryOutcome};

use super::{
    state::{Agent, Kept, Model, Outcome, Phase, Spent},
    words::{Call, From, Given, Reply},
};

/// How long an agent that just got work counts as due to call again.
const CALLS_AGAIN_WITHIN_MS: i64 = 1_000;

impl Model {
    /// Does a call at a time.
    pub(super) fn call(&mut self, call: &Call, now_ms: i64) -> Reply {
        let before = self.clock;
        self.told.clear();
        self.open(now_ms);
        let reply = self.dispatch(call);
        let is_batch = matches!(call, Call::Submit { jobs, .. } if jobs.len() > 1);
        if matches!(reply, Reply::TurnedAway(_) | Reply::Taken | Reply::NotFound | Reply::Reused)
            || matches!(reply, Reply::NoDependency { .. })
            || reply == Reply::Unserved && is_batch
            || matches!(reply, Reply::Retried(RetryOutcome::Completed | RetryOutcome::Ending))
            || reply == Reply::Removed && matches!(call, Call::Register { .. })
        {
            // A call that is turned away: nothing is written, not even the time.
            self.clock = before;
            return reply;
        }
        match call {
            Call::Join { .. } => {}
            Call::Sweep => self.sweep(),
            _ if reply == Reply::Unserved => {}
            _ => {
                self.finish();
            }
        }
        reply
    }

    fn dispatch(&mut self, call: &Call) -> Reply {
        match call {
            Call::Join { agent } => self.join(agent),
            Call::Register { agent, instance, facts, running } => self.register(agent, instance, facts, running),
            Call::Beat { from, .. } | Call::Claim { from, .. } | Call::Report { from, .. } => {
                if let Some(why) = self.turned_away(from) {
                    return Reply::TurnedAway(why);
                }
                self.clock.heard_ms = self.now();
                self.of_an_agent(from.agent.as_str(), call)
            }
            Call::Drain { agent, draining } => self.drain(agent.as_str(), *draining),
            Call::Remove { agent } => self.remove(agent.as_str()),
            Call::Submit { jobs, owner } => self.submit(jobs, owner),
            Call::Retry { job } => self.retry(job.as_str()),
            Call::Cancel { job } => self.cancelled(job.as_str()),
            Call::Sweep => Reply::Swept,
        }
    }

    /// Only the current incarnation is heard.
    fn turned_away(&self, from: &From) -> Option<TurnedAway> {
        let agent = self.agents.get(from.agent.as_str());
        match (self.identities.get(from.agent.as_str()), agent) {
            (Some(None), _) => Some(TurnedAway::Removed),
            (_, None) => Some(TurnedAway::Unknown),
            (_, Some(a)) if from.epoch > a.epoch => Some(TurnedAway::Unknown),
            (_, Some(a)) if from.epoch < a.epoch => Some(TurnedAway::Superseded),
            _ => None,
        }
    }

    fn join(&mut self, agent: &AgentId) -> Reply {
        // In this test every agent has the key that is its name; a key that was removed does not come back.
        if self.identities.get(agent.as_str()) == Some(&None) {
            return Reply::Removed;
        }
        self.identities.insert(agent.to_string(), Some(agent.to_string()));
        Reply::Joined
    }

    fn register(&mut self, id: &AgentId, instance: &str, facts: &Facts, running: &[HeldLease]) -> Reply {
        let (name, now) = (id.as_str(), self.now());
        if self.identities.get(name) == Some(&None) {
            return Reply::Removed;
        }
        let before = self.agents.get(name);
        if before.is_some_and(|a| a.past.iter().any(|run| run == instance)) {
            return Reply::TurnedAway(TurnedAway::Superseded);
        }
        self.clock.heard_ms = now;
        let before = self.agents.get(name);
        if let Some(same) = before.filter(|a| a.instance == instance) {
            return Reply::Registered { epoch: same.epoch, stop: Vec::new() };
        }
        let epoch = before.map_or(now, |a| now.max(a.epoch + 1));
        let is_kept = |l: &HeldLease| before.is_some() && self.is_current_lease(name, l);
        let (kept, stop): (Vec<_>, Vec<_>) = running.iter().cloned().partition(is_kept);
        if before.is_some() {
            self.drop_hold(name);
            self.agent(name).reach_ms = 0;
            self.settle_attempts(name, &kept);
        }
        if self.agents.get(name).is_some_and(|a| a.state == AgentState::Offline) {
            self.comes_back(name);
        }
        self.enter(name, instance, facts, epoch);
        self.tell_of_agent("registered", name);
        Reply::Registered { epoch, stop }
    }

    fn is_current_lease(&self, name: &str, lease: &HeldLease) -> bool {
        self.is_current(name, lease.job_id.as_str(), lease.attempt, lease.lease_id.as_str())
    }

    /// Puts a new incarnation in the place of the one before, whose attempts were settled.
    fn enter(&mut self, name: &str, instance: &str, facts: &Facts, epoch: i64) {
        let now = self.now();
        self.identities.insert(name.to_owned(), Some(name.to_owned()));
        let before = self.agents.remove(name);
        let agent = Agent {
            facts: facts.clone(),
            instance: instance.to_owned(),
            past: before.iter().flat_map(|b| b.past.iter().chain([&b.instance]).cloned()).collect(),
            epoch,
            state: before.as_ref().map_or(AgentState::Healthy, |b| b.state),
            health: before.as_ref().map(|b| b.health.clone()).unwrap_or_default(),
            draining: before.as_ref().is_some_and(|b| b.draining),
            leaving: false,
            reach_ms: 0,
            next_ms: now + Self::ms(self.settings.heartbeat_interval_ms),
            seen_ms: now,
            offline_ms: before.as_ref().map_or(0, |b| b.offline_ms),
            on_time: before.as_ref().map_or(0, |b| b.on_time),
            seq: 0,
            claim: 0,
            used: before.as_ref().map_or(0, |b| b.used),
            rtt_ms: before.as_ref().and_then(|b| b.rtt_ms),
            measured: None,
            live: before.map_or_else(BTreeMap::new, |b| b.live),
            held: None,
            kept: Kept::default(),
        };
        self.agents.insert(name.to_owned(), agent);
        self.enrol(name);
        self.watch(name);
    }

    /// What the run before held, and this one has not taken over, is gone: the oldest job first.
    fn settle_attempts(&mut self, name: &str, kept: &[HeldLease]) {
        let held: Vec<_> = self.agents[name].live.iter().map(|(id, l)| (id.clone(), l.phase)).collect();
        let mut counted = false;
        for (id, phase) in held {
            let is_kept = kept.iter().any(|l| l.job_id.as_str() == id);
            match phase {
                Phase::Bound => {
                    self.unbind(&id, name);
                    self.place(&id);
                }
                _ if is_kept => {
                    self.job(&id).lease_until_ms = self.now() + Self::ms(self.settings.lease_ttl_ms);
                    // It was not brought by any claim of this run.
                    self.agent(name).live.get_mut(&id).unwrap().claim = 0;
                }
                Phase::Running => {
                    self.avoid(&id, name);
                    // However many it lost, it went down once.
                    counted = counted || self.agent_failed(&id, name);
                    let why = Outcome { reason: Some(Reason::AgentRestarted), ..Outcome::default() };
                    self.attempt_failed(&id, name, why, Spent::Counts);
                }
                Phase::Ending => self.bury(&id, name),
            }
        }
    }

    fn drain(&mut self, name: &str, draining: bool) -> Reply {
        if !self.agents.contains_key(name) {
            return Reply::NotFound;
        }
        if self.agents[name].draining != draining {
            self.tell_of_agent(if draining { "drained" } else { "resumed" }, name);
        }
        self.agent(name).draining = draining;
        if draining {
            self.send_away_bound(name);
        }
        self.fill(name, None);
        Reply::Done
    }

    fn remove(&mut self, name: &str) -> Reply {
        if !self.identities.contains_key(name) {
            return Reply::NotFound;
        }
        if let Some(agent) = self.agents.get(name) {
            let bound = agent.live.iter().filter(|(_, l)| l.phase == Phase::Bound).map(|(id, _)| id.clone());
            let bound: Vec<_> = bound.collect();
            self.forget_agent(name);
            for id in bound {
                self.place(&id);
            }
        }
        if self.identities.insert(name.to_owned(), None).flatten().is_some() {
            self.tell_of_agent("removed", name);
        }
        Reply::Removed
    }

    fn cancelled(&mut self, id: &str) -> Reply {
        if !self.jobs.contains_key(id) {
            return Reply::NotFound;
        }
        self.cancel(id);
        let job = &self.jobs[id];
        Reply::Cancelled { state: job.state, cancelling: job.cancelling }
    }

    /// Jobs that the agent has to cancel.
    pub(super) fn to_cancel(&self, name: &str) -> BTreeSet<JobId> {
        let ending = self.agents[name].live.iter().filter(|(_, l)| l.phase == Phase::Ending);
        ending.map(|(id, _)| JobId::new(id.clone()).unwrap()).collect()
    }

    /// Hands an agent what waits for it. A repeated number gets what it got, a lower one nothing.
    pub(super) fn claim(&mut self, name: &str, number: u64, most: usize, reachable_ms: i64) -> BTreeSet<Given> {
        let (now, agent) = (self.now(), self.agent(name));
        let (mut given, reach_before) = (Vec::new(), agent.claim);
        debug_assert!(number >= reach_before);
        agent.claim = number;
        agent.reach_ms = now;
        let in_service = agent.takes_work(now);
        if in_service {
            given = self.hand_out_queue(name, number, most);
            let more = if given.len() < most { self.fill(name, Some(most - given.len())) } else { Vec::new() };
            for id in more {
                self.begin_attempt(&id, name, number);
                given.push(id);
            }
            if given.len() < most
                && let Some(id) = self.probe(name)
            {
                self.begin_attempt(&id, name, number);
                given.push(id);
            }
        }
        let reach = if given.is_empty() { reachable_ms } else { CALLS_AGAIN_WITHIN_MS };
        let is_reachable = in_service && most > given.len() && reach > 0;
        self.agent(name).reach_ms = if is_reachable { now + reach } else { 0 };
        given.into_iter().map(|id| self.given(&id, None)).collect()
    }

    /// The agent's queue in its order; what it does not want goes elsewhere.
    fn hand_out_queue(&mut self, name: &str, number: u64, most: usize) -> Vec<String> {
        let live = &self.agents[name].live;
        let mut bound: Vec<_> =
            live.iter().filter(|(_, l)| l.phase == Phase::Bound).map(|(id, _)| id.clone()).collect();
        bound.sort_by_key(|id| (self.jobs[id].order, id.clone()));
        let surplus = bound.split_off(most.min(bound.len()));
        for id in &bound {
            self.begin_attempt(id, name, number);
        }
        for id in surplus {
            self.unbind(&id, name);
            self.agent(name).reach_ms = 0;
            self.place(&id);
        }
        bound
    }

    pub(super) fn given(&self, id: &str, lease: Option<&str>) -> Given {
        let job = &self.jobs[id];
        Given {
            job: JobId::new(id).unwrap(),
            attempt: job.attempt,
            devices: job.devices.clone(),
            lease: lease.map(|l| LeaseId::new(l).unwrap()),
        }
    }

    /// The model learns the ids of leases that the store gave out.
    pub(super) fn learn(&mut self, name: &str, leases: &BTreeSet<Given>) {
        for given in leases {
            let lease = given.lease.as_ref().expect("a real lease").as_str();
            if let Some(live) = self.agent(name).live.get_mut(given.job.as_str()) {
                lease.clone_into(&mut live.lease);
            }
            self.job(given.job.as_str()).lease = Some(lease.to_owned());
        }
    }
}
