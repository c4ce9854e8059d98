//! How an agent's state moves by silence and by being heard again, and what falls due.

use titan_api::{
    agents::{AgentState, Trouble},
    jobs::{JobState, Reason},
};

use super::state::{Model, Outcome, Phase, Spent, Thing};

/// Things settled with one call.
const UNITS: usize = 8;
/// Heartbeats in time that make a degraded agent healthy.
const ON_TIME_TO_HEAL: u32 = 3;
/// How much longer than an interval everybody must be silent for an amnesty.
const SILENCE_SLACK_MS: i64 = 5_000;

impl Model {
    /// Takes the time in; it never runs backwards. If nobody was heard for longer than anybody's interval, nothing is
    /// settled for one timeout, once for each silence.
    pub(super) fn open(&mut self, given_ms: i64) {
        let clock = &mut self.clock;
        clock.now_ms = clock.now_ms.max(given_ms);
        let silence = clock.now_ms - clock.heard_ms;
        let usual = Self::ms(self.settings.heartbeat_interval_ms) + SILENCE_SLACK_MS;
        if silence > usual && clock.forgiven_ms != clock.heard_ms {
            clock.amnesty_ms = clock.now_ms + Self::ms(self.settings.heartbeat_timeout_ms);
            clock.forgiven_ms = clock.heard_ms;
        }
    }

    fn timeout(&self) -> i64 {
        Self::ms(self.settings.heartbeat_timeout_ms)
    }

    /// A heartbeat came.
    pub(super) fn heard(&mut self, name: &str) {
        let (now, timeout, amnesty) = (self.now(), self.timeout(), self.clock.amnesty_ms);
        let interval = Self::ms(self.settings.heartbeat_interval_ms);
        let agent = self.agent(name);
        let (was, is_late) = (agent.state, now - agent.next_ms >= timeout / 2);
        agent.next_ms = now + interval;
        agent.seen_ms = now;
        match (was, is_late) {
            (AgentState::Offline, _) => self.comes_back(name),
            (AgentState::Healthy, true) if now >= amnesty => {
                self.take_edge(name, AgentState::Degraded, Some(Trouble::Lateness));
            }
            (AgentState::Degraded, false) if agent.health.cause != Some(Trouble::Failures) => {
                agent.on_time += 1;
                if agent.on_time >= ON_TIME_TO_HEAL {
                    self.take_edge(name, AgentState::Healthy, None);
                }
            }
            _ => {}
        }
    }

    /// The agent's bound jobs go elsewhere as soon as something is settled.
    pub(super) fn send_away_bound(&mut self, name: &str) {
        let now = self.now();
        let bound: Vec<_> = self.agents[name].live.iter().filter(|(_, l)| l.phase == Phase::Bound).collect();
        for id in bound.into_iter().map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.job(&id).bound_until_ms = now;
            self.wake(Thing::Job(id), now);
        }
    }

    /// Ends a call: settles some of what is overdue, then fills what is not held any more.
    pub(super) fn finish(&mut self) {
        self.settle();
        while let Some(name) = self.freed.pop() {
            if self.agents.contains_key(&name) {
                self.fill(&name, None);
            }
        }
        (self.filled, self.has_told) = (0, false);
    }

    /// Settles some of what is overdue, the oldest first.
    fn settle(&mut self) {
        let (now, amnesty_ms) = (self.now(), self.clock.amnesty_ms);
        let mut overdue: Vec<_> =
            self.due.iter().filter(|(_, at)| **at <= now).map(|(t, at)| (*at, t.clone())).collect();
        overdue.sort();
        for looked_at in 0..overdue.len() {
            if looked_at + self.filled >= UNITS {
                break;
            }
            let next = self.next_of(&overdue);
            let thing = overdue.remove(next).1;
            if now < amnesty_ms && self.is_owed_a_word(&thing) {
                self.wake(thing, amnesty_ms);
                continue;
            }
            match &thing {
                Thing::After(id) => self.settle_dependents(id),
                Thing::Agent(name) => self.settle_agent(name),
                Thing::Class(class) => self.settle_class(class),
                Thing::Ended => self.forget_old(),
                Thing::Hold => self.settle_holds(),
                Thing::Job(id) => self.settle_job(id),
                Thing::Room(name) => self.settle_room(name),
            }
        }
    }

    /// Whether somebody may not have been able to make himself heard: then this waits for the end of an amnesty.
    fn is_owed_a_word(&self, thing: &Thing) -> bool {
        match thing {
            Thing::Agent(_) => true,
            Thing::Job(id) => self
                .jobs
                .get(id)
                .is_some_and(|job| matches!(job.state, JobState::Scheduled | JobState::Running) || job.cancelling),
            _ => false,
        }
    }

    /// Which of these is settled next: the first, or any class that falls due together with it.
    fn next_of(&mut self, overdue: &[(i64, Thing)]) -> usize {
        let at_once = overdue.iter().take_while(|(at, thing)| *at == overdue[0].0 && matches!(thing, Thing::Class(_)));
        self.choices.choose(at_once.count())
    }

    fn settle_agent(&mut self, name: &str) {
        let (now, timeout) = (self.now(), self.timeout());
        let Some(agent) = self.agents.get(name) else {
            self.due.remove(&Thing::Agent(name.to_owned()));
            return;
        };
        if agent.state == AgentState::Offline {
            if self.has_been_away_for_long(name) {
                self.forget_agent(name);
                return self.tell_of_agent("forgotten", name);
            }
        } else if now >= agent.next_ms + timeout {
            if agent.health.trial.is_some() {
                self.trip(name);
            } else {
                self.go_offline(name, Trouble::Silence);
            }
        } else if agent.state == AgentState::Healthy && now >= agent.next_ms + timeout / 2 {
            self.take_edge(name, AgentState::Degraded, Some(Trouble::Lateness));
        }
        self.watch(name);
    }

    pub(super) fn forget_agent(&mut self, name: &str) {
        self.drop_hold(name);
        self.agents.remove(name);
        self.due.remove(&Thing::Agent(name.to_owned()));
    }

    fn settle_job(&mut self, id: &str) {
        self.look_at_output(id);
        let Some(job) = self.jobs.get(id) else {
            self.due.remove(&Thing::Job(id.to_owned()));
            return;
        };
        let after_lease = job.lease_until_ms + Self::ms(self.settings.kill_grace_ms);
        let deadline = match job.state {
            JobState::Pending | JobState::Blocked => {
                self.due.remove(&Thing::Job(id.to_owned()));
                return;
            }
            JobState::Delayed => job.not_before_ms.expect("it waits for its time"),
            JobState::Scheduled => job.bound_until_ms,
            JobState::Running => after_lease,
            _ if job.cancelling => after_lease,
            _ => return self.look_at_ended(id),
        };
        if self.now() < deadline {
            return self.wake(Thing::Job(id.to_owned()), deadline);
        }
        match job.state {
            JobState::Delayed => self.start(id),
            JobState::Scheduled => self.unclaimed(id),
            JobState::Running => self.lease_lost(id),
            _ => self.buries_itself(id),
        }
    }

    /// Nobody came for a bound job: it goes elsewhere, and its agent is not asked again before it calls.
    fn unclaimed(&mut self, id: &str) {
        let name = self.jobs[id].agent.clone().expect("bound");
        if let Some(agent) = self.agents.get(&name) {
            if !agent.draining && !agent.leaving {
                self.agent_failed(id, &name);
            }
            self.unbind(id, &name);
            self.avoid(id, &name);
            self.agent(&name).reach_ms = 0;
        }
        self.place(id);
    }

    fn lease_lost(&mut self, id: &str) {
        let name = self.jobs[id].agent.clone().expect("running");
        let because = |reason| Outcome { reason: Some(reason), ..Outcome::default() };
        if self.agents.contains_key(&name) {
            self.avoid(id, &name);
            self.agent_failed(id, &name);
            self.attempt_failed(id, &name, because(Reason::LeaseLost), Spent::Counts);
            self.fill(&name, None);
        } else {
            self.attempt_failed(id, &name, because(Reason::AgentRemoved), Spent::Counts);
        }
    }

    /// Nobody says that the processes of a cancelled attempt are gone, but they must be.
    fn buries_itself(&mut self, id: &str) {
        let name = self.jobs[id].agent.clone().expect("cancelled while it ran");
        self.job(id).cancelling = false;
        if self.agents.contains_key(&name) {
            self.bury(id, &name);
            self.fill(&name, None);
        }
        self.look_at_ended(id);
    }

    fn settle_room(&mut self, name: &str) {
        self.due.remove(&Thing::Room(name.to_owned()));
        if self.agents.contains_key(name) {
            self.fill(name, None);
        }
    }
}
