//! Tells a case to store and model, call by call, and compares them after each.

use std::collections::{BTreeMap, BTreeSet};

use titan_api::{
    ids::{AgentId, JobId},
    work::HeldLease,
};
use titan_lua::Pool;

use super::{
    boxes::box_name,
    choices::Choices,
    history::History,
    seen::Seen,
    state::Model,
    store,
    words::{Call, From, Reply},
};
use crate::store::world::{START_MS, agent_id};

/// Ways to decide what the rules leave open that are tried before the store counts as wrong.
const WAYS_TRIED: usize = 3_000;
/// Calls shown when the store is wrong.
const CALLS_SHOWN: usize = 25;

/// A case under way.
pub(super) struct Story {
    pub(super) pool: Pool,
    pub(super) now_ms: i64,
    pub(super) model: Model,
    pub(super) boxes: BTreeMap<&'static str, Box_>,
    /// Every lease that was ever given, and to whom.
    pub(super) given: Vec<(&'static str, HeldLease)>,
    pub(super) submitted: usize,
    seen: Seen,
    pub(super) history: History,
    calls: Vec<String>,
}

/// What an agent knows of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Box_ {
    pub(super) runs: usize,
    pub(super) epoch: i64,
    pub(super) epoch_before: i64,
    pub(super) seq: u64,
    pub(super) claim: u64,
    /// The last claim whose reply it has read.
    pub(super) read: u64,
    pub(super) holds: Vec<HeldLease>,
}

impl Box_ {
    pub(super) fn drop_lease(&mut self, lease: &HeldLease) {
        self.holds.retain(|held| held != lease);
    }
}

impl Story {
    pub(super) fn new(pool: Pool, now_ms: i64, model: Model) -> Self {
        Self {
            pool,
            now_ms,
            model,
            boxes: (0..super::steps::BOXES).map(|n| (box_name(n), Box_::default())).collect(),
            given: Vec::new(),
            submitted: 0,
            seen: Seen::default(),
            history: History::default(),
            calls: Vec::new(),
        }
    }

    pub(super) fn from(&self, name: &'static str) -> From {
        From { agent: agent_id(name), epoch: self.boxes[name].epoch }
    }

    pub(super) fn a_box(&mut self, name: &'static str) -> &mut Box_ {
        self.boxes.get_mut(name).unwrap()
    }

    /// What the store keeps twice must be the same both times, whatever was told. Only what waits to be settled may do so
    /// for as long as the story says.
    pub(super) async fn agrees_with_itself(&self) -> Result<(), String> {
        let found = titan_tests::audit::findings(&self.pool.at(self.now_ms)).await;
        match found.iter().find(|finding| !finding.wrong.contains("does a coordinator run?")) {
            None => Ok(()),
            Some(finding) => Err(format!("{}\n  {finding:?}", self.calls.join("\n"))),
        }
    }

    /// Does a call on both and compares them.
    pub(super) async fn call(&mut self, call: Call) -> Result<Reply, String> {
        self.calls.push(format!("+{} ms {}", self.now_ms - START_MS, call.in_short()));
        let pool = self.pool.at(self.now_ms);
        let real = store::call(&pool, &call).await.map_err(|e| self.wrong(&[format!("the store failed: {e}")]))?;
        let named = named_jobs(&call);
        let seen = Seen::read(&pool, &self.seen, &named).await;
        let seen = seen.map_err(|e| self.wrong(&[format!("the store can't be read: {e}")]))?;
        self.explain(&call, &real, &seen)?;
        self.history.note_reached(&real, &seen);
        if let (Call::Retry { job }, Reply::Retried(_)) = (&call, &real) {
            self.history.reopen(job.as_str());
        }
        let broken = self.history.check(&self.model, &seen, matches!(call, Call::Sweep));
        if !broken.is_empty() {
            return Err(self.wrong(&broken));
        }
        self.seen = seen;
        Ok(real)
    }

    /// Lets the model do the call in every way that the rules leave open, until one gives what the store shows.
    fn explain(&mut self, call: &Call, real: &Reply, seen: &Seen) -> Result<(), String> {
        let (mut tape, mut first_differences) = (Vec::new(), None);
        for _ in 0..WAYS_TRIED {
            let mut model = self.model.clone();
            model.choices = Choices::of(tape);
            model.hints.clone_from(&seen.begins);
            let expected = model.call(call, self.now_ms);
            let differences = if expected.is_met_by(real) {
                if let (Call::Claim { from, .. } | Call::Report { from, .. }, Some(leases)) = (call, real.leases()) {
                    model.learn(from.agent.as_str(), leases);
                }
                model.differences(seen)
            } else {
                vec![format!("the reply is {expected:?} by the rules, {real:?} in the store")]
            };
            if differences.is_empty() {
                self.model = model;
                return Ok(());
            }
            first_differences.get_or_insert(differences);
            match model.choices.next_tape() {
                Some(next) => tape = next,
                None => break,
            }
        }
        Err(self.wrong(&first_differences.unwrap_or_default()))
    }

    fn wrong(&self, differences: &[String]) -> String {
        let shown = self.calls.len().saturating_sub(CALLS_SHOWN);
        let (what, calls) = (differences.join("\n"), self.calls[shown..].join("\n    "));
        format!("{what}\n  after these calls ({shown} before them):\n    {calls}")
    }
}

/// The jobs that a call is about.
fn named_jobs(call: &Call) -> Vec<JobId> {
    match call {
        Call::Cancel { job } | Call::Retry { job } => vec![job.clone()],
        Call::Submit { jobs, .. } => jobs.iter().map(|wish| wish.job.clone()).collect(),
        Call::Report { reports, .. } => {
            let ids: BTreeSet<_> = reports.iter().map(|r| r.lease.job_id.clone()).collect();
            ids.into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// The name that a box has in calls.
pub(super) fn id(name: &str) -> AgentId {
    agent_id(name)
}
