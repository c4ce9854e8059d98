//! How an agent's state moves by how its attempts end, and what a half-open one is tried with.

use titan_api::{
    agents::{AgentState, Trouble},
    jobs::{JobState, Reason, SubmitJob},
};

use super::state::{Health, JobName, Model, Name, Thing};
use crate::store::world::process;

const FAILURES_TO_DEGRADE: u32 = 3;
const FAILURES_TO_TRIP: u32 = 5;
const SUCCESSES_TO_HEAL: u32 = 3;
const TRIALS_TO_HEAL: u32 = 2;
const COOL_DOWN_MS: i64 = 10_000;
const LONGEST_COOL_DOWN_MS: i64 = 300_000;
/// A trial that has run for so long went well.
const TRIAL_LASTS_MS: i64 = 30_000;
/// A half-open agent that got no trial for so long is given a probe.
const PROBED_AFTER_MS: i64 = 60_000;
/// Suspects that a job keeps.
const SUSPECTS: usize = 8;

impl Model {
    /// An agent comes into a state.
    pub(super) fn take_edge(&mut self, name: &str, state: AgentState, cause: Option<Trouble>) {
        let now = self.now();
        let agent = self.agent(name);
        let (from, before) = (agent.state, agent.health.clone());
        let is_healthy = state == AgentState::Healthy;
        let is_tripped = state == AgentState::Offline && cause == Some(Trouble::Failures);
        agent.health = Health {
            edge: before.edge + 1,
            fails: if is_healthy { 0 } else { before.fails },
            cause,
            cool_ms: before.cool_ms.filter(|_| !is_healthy),
            until_ms: before.until_ms.filter(|_| is_tripped),
            asked_ms: now,
            ..Health::default()
        };
        (agent.state, agent.on_time, agent.offline_ms) = (state, 0, now);
        self.tell_of_breaker(name, state.as_str(), from);
        self.watch(name);
    }

    fn tell_of_breaker(&mut self, name: &str, what: &str, from: AgentState) {
        let health = &self.agents[name].health;
        let cause = health.cause.map_or("nothing", Trouble::as_str);
        let told = format!("breaker.{what} {name} was {from} epoch {} by {cause} after {}", health.edge, health.fails);
        self.told.push(told);
    }

    fn is_in_service(&self, name: &str) -> bool {
        matches!(self.agents[name].state, AgentState::Healthy | AgentState::Degraded)
    }

    fn is_out_by_failures(&self, name: &str) -> bool {
        let agent = &self.agents[name];
        let is_tripped = agent.state == AgentState::Offline && agent.health.cause == Some(Trouble::Failures);
        is_tripped || agent.state == AgentState::HalfOpen
    }

    pub(super) fn is_trial(&self, name: &str, id: &str) -> bool {
        self.agents[name].state == AgentState::HalfOpen && self.agents[name].health.trial.as_deref() == Some(id)
    }

    /// What an agent holds no more frees its permit, if it was its trial.
    pub(super) fn release(&mut self, id: &str, name: &str) {
        let (now, is_trial) = (self.now(), self.is_trial(name, id));
        let agent = self.agent(name);
        agent.live.remove(id);
        if is_trial {
            (agent.health.trial, agent.health.asked_ms) = (None, now);
        }
    }

    pub(super) fn go_offline(&mut self, name: &str, cause: Trouble) {
        self.agent(name).reach_ms = 0;
        self.take_edge(name, AgentState::Offline, Some(cause));
        self.send_away_bound(name);
    }

    pub(super) fn trip(&mut self, name: &str) {
        let now = self.now();
        let health = &mut self.agent(name).health;
        let cool_ms = health.cool_ms.map_or(COOL_DOWN_MS, |last| LONGEST_COOL_DOWN_MS.min(2 * last));
        (health.cool_ms, health.until_ms) = (Some(cool_ms), Some(now + cool_ms));
        self.go_offline(name, Trouble::Failures);
    }

    /// At most half of the agents that are not silent are out by failures.
    fn may_trip(&self) -> bool {
        let out = self.agents.keys().filter(|name| self.is_out_by_failures(name)).count();
        let is_silent =
            |name: &&Name| self.agents[*name].state == AgentState::Offline && !self.is_out_by_failures(name);
        let heard = self.agents.len() - self.agents.keys().filter(is_silent).count();
        2 * (out + 1) <= heard
    }

    fn count_failure(&mut self, name: &str) {
        let may_trip = self.may_trip();
        let state = self.agents[name].state;
        let health = &mut self.agent(name).health;
        (health.fails, health.wins) = (health.fails + 1, 0);
        match (health.fails, state) {
            (FAILURES_TO_TRIP.., AgentState::Degraded) if may_trip => self.trip(name),
            (FAILURES_TO_TRIP.., AgentState::Degraded) if health.guarded => {}
            (FAILURES_TO_TRIP.., AgentState::Degraded) => {
                health.guarded = true;
                self.tell_of_breaker(name, "guarded", state);
            }
            (FAILURES_TO_DEGRADE.., AgentState::Healthy) => {
                self.take_edge(name, AgentState::Degraded, Some(Trouble::Failures));
            }
            (FAILURES_TO_DEGRADE.., _) => health.cause = Some(Trouble::Failures),
            _ => {}
        }
    }

    fn began_since_the_last_edge(&self, id: &str, name: &str) -> bool {
        let agent = &self.agents[name];
        agent.live.get(id).is_some_and(|live| live.edge == agent.health.edge)
    }

    /// The agent failed a job that it holds; whether that counts.
    pub(super) fn agent_failed(&mut self, id: &str, name: &str) -> bool {
        if !self.began_since_the_last_edge(id, name) {
            return false;
        }
        if self.is_in_service(name) {
            self.count_failure(name);
        } else if self.is_trial(name, id) {
            self.trip(name);
        } else {
            return false;
        }
        true
    }

    /// A job failed at an agent, which may be its own fault.
    pub(super) fn suspect(&mut self, id: &str, name: &str) {
        if self.is_trial(name, id) {
            self.trip(name);
        } else if self.began_since_the_last_edge(id, name) {
            let edge = self.agents[name].health.edge;
            let suspects = &mut self.job(id).suspects;
            suspects.retain(|(other, _)| other != name);
            suspects.insert(0, (name.to_owned(), edge));
            suspects.truncate(SUSPECTS);
        }
    }

    /// The job completed at an agent: those that failed it before are to blame.
    pub(super) fn went_well(&mut self, id: &str, name: &str) {
        for (other, edge) in std::mem::take(&mut self.job(id).suspects) {
            let is_to_blame = other != name && self.agents.get(&other).is_some_and(|a| a.health.edge == edge);
            if is_to_blame && self.is_in_service(&other) {
                self.count_failure(&other);
            }
        }
        if !self.began_since_the_last_edge(id, name) {
            return;
        }
        if self.is_trial(name, id) {
            self.trial_went_well(name);
        } else if self.is_in_service(name) {
            let agent = self.agent(name);
            (agent.health.fails, agent.health.wins) = (0, agent.health.wins + 1);
            let is_by_failures = agent.health.cause == Some(Trouble::Failures);
            if agent.state == AgentState::Degraded && is_by_failures && agent.health.wins >= SUCCESSES_TO_HEAL {
                self.take_edge(name, AgentState::Healthy, None);
            }
        }
    }

    fn trial_went_well(&mut self, name: &str) {
        let now = self.now();
        let health = &mut self.agent(name).health;
        (health.wins, health.trial, health.asked_ms) = (health.wins + 1, None, now);
        if health.wins >= TRIALS_TO_HEAL {
            self.take_edge(name, AgentState::Healthy, None);
        }
    }

    /// A heartbeat of an agent on trial.
    pub(super) fn look_at_trial(&mut self, name: &str) {
        let Some(id) = self.agents[name].health.trial.clone() else { return };
        let job = &self.jobs[&id];
        let has_lasted = job.started_ms.is_some_and(|at| self.now() >= at + TRIAL_LASTS_MS);
        if job.state == JobState::Running && has_lasted {
            self.trial_went_well(name);
        }
    }

    /// An agent that is offline is heard.
    pub(super) fn comes_back(&mut self, name: &str) {
        let health = &self.agents[name].health;
        if health.cause == Some(Trouble::Failures) {
            if health.until_ms.is_some_and(|until| self.now() >= until) {
                self.take_edge(name, AgentState::HalfOpen, Some(Trouble::Failures));
            }
        } else {
            let has_failed = health.fails >= FAILURES_TO_DEGRADE;
            let cause = if has_failed { Trouble::Failures } else { Trouble::Silence };
            self.take_edge(name, AgentState::Degraded, Some(cause));
        }
    }

    /// Whether the breaker lets an agent have the job: one trial at a time, and only with another attempt left.
    pub(super) fn may_have(&self, name: &str, id: &str) -> bool {
        let (agent, job) = (&self.agents[name], &self.jobs[id]);
        let may_be_lost = job.is_probe || job.spec.max_attempts - job.spent() > 1;
        agent.state != AgentState::HalfOpen || agent.health.trial.is_none() && may_be_lost
    }

    /// The half-open agent that is tried with a job: of those with room, the one used least recently.
    pub(super) fn on_trial(&mut self, id: &str) -> Option<Name> {
        let (now, job) = (self.now(), &self.jobs[id]);
        let is_wanting = |name: &&Name| {
            let agent = &self.agents[*name];
            let is_asking = agent.state == AgentState::HalfOpen && agent.takes_work(now) && agent.held.is_none();
            is_asking && self.may_have(name, id)
        };
        let wanting = self.agents.keys().filter(is_wanting);
        let kept_from = |name: &&Name| job.refused.contains(name) || job.avoid.contains(name);
        let fitting = wanting.filter(|name| !kept_from(name) && self.has_room(name, id));
        let mut fitting: Vec<_> = fitting.map(|name| (self.agents[name].used, name.clone())).collect();
        fitting.sort();
        let equals = fitting.iter().take_while(|f| f.0 == fitting[0].0).count();
        let way = self.choices.choose(equals);
        fitting.into_iter().nth(way).map(|f| f.1)
    }

    /// A half-open agent that asks in vain is given a probe.
    pub(super) fn probe(&mut self, name: &str) -> Option<JobName> {
        let agent = &self.agents[name];
        let has_waited = self.now() >= agent.health.asked_ms + PROBED_AFTER_MS;
        let is_free = agent.health.trial.is_none() && agent.has_slot() && agent.takes_work(self.now());
        if agent.state != AgentState::HalfOpen || !has_waited || !is_free {
            return None;
        }
        let mut job = self.new_job(&SubmitJob { max_attempts: 1, ..process() }, "titan");
        job.is_probe = true;
        let (ms, count) = (format!("{:012x}", self.now()), self.next_count());
        let id = format!("{}-{}-7000-8000-{count:012x}", &ms[..8], &ms[8..]);
        self.jobs.insert(id.clone(), job);
        self.bind(&id, name);
        Some(id)
    }

    /// Whether an agent is to be forgotten.
    pub(super) fn has_been_away_for_long(&self, name: &str) -> bool {
        let agent = &self.agents[name];
        let since = agent.offline_ms.max(agent.seen_ms);
        self.now() >= since + Self::ms(self.settings.agent_retention_ms) && agent.live.is_empty()
    }

    pub(super) fn tell_of_job(&mut self, what: &str, id: &str) {
        let job = &self.jobs[id];
        if !job.is_probe {
            let reason = job.outcome.reason.map_or("nothing", Reason::as_str);
            let told = format!("job.{what} {id} attempt {} by {reason}", job.attempt);
            self.told.push(told);
        }
    }

    pub(super) fn tell_of_agent(&mut self, what: &str, name: &str) {
        self.told.push(format!("agent.{what} {name}"));
    }

    pub(super) fn watch(&mut self, name: &str) {
        let (agent, timeout) = (&self.agents[name], Self::ms(self.settings.heartbeat_timeout_ms));
        let at = match agent.state {
            AgentState::Offline => {
                let at = agent.offline_ms.max(agent.seen_ms) + Self::ms(self.settings.agent_retention_ms);
                if at <= self.now() { self.now() + 60_000 } else { at }
            }
            AgentState::Healthy => agent.next_ms + timeout / 2,
            _ => agent.next_ms + timeout,
        };
        self.wake(Thing::Agent(name.to_owned()), at);
    }
}
