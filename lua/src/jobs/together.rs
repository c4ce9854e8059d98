//! Submissions that come at the same time share runs of the script: making the parts of a script takes Redis as long as
//! placing a job, so one run for many jobs takes half as long as one for each.
//!
//! Nobody waits for others to come. A few runs of a pool are under way at once; what comes meanwhile is taken along by the
//! next. A shared run accepts all its jobs or none, and in that case each caller runs the script for itself: it then
//! hears what is wrong with its own job, and only that.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use titan_api::ids::PoolName;
use tokio::{runtime::Handle, sync::oneshot};

use super::submit::{self, CHUNK, Submitted};
use crate::{Pool, script::Args};

/// Runs under way at once for a pool: enough that Redis need not wait for the next one.
const RUNS: usize = 4;

/// The submissions of each pool that are under way in this process.
#[derive(Debug, Default)]
pub(crate) struct Together(Mutex<HashMap<PoolName, Line>>);

#[derive(Debug, Default)]
struct Line {
    runs: usize,
    waiting: VecDeque<Waiting>,
}

/// One job that waits for the next run.
#[derive(Debug)]
pub(super) struct Waiting {
    /// What all jobs of a run have in common.
    pub(super) common: Common,
    /// The job as the script takes it.
    pub(super) job: Args,
    pub(super) tell: oneshot::Sender<Submitted>,
}

/// The arguments that a run has once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Common {
    pub(super) owner: String,
    pub(super) allow_unserved: bool,
    /// As [`Pool::now`] has it.
    pub(super) now: String,
}

/// What a submission does now.
#[derive(Debug)]
pub(super) enum Turn {
    /// It runs the script; the next run begins when this is dropped.
    Run(Running),
    /// It is told what came of it; an error says that it has to run the script for itself.
    Wait(oneshot::Receiver<Submitted>),
}

/// A run under way.
#[derive(Debug)]
pub(super) struct Running(Pool);

impl Together {
    /// Decides whether a job runs now or goes along with others.
    pub(super) fn enter(pool: &Pool, common: Common, job: Args) -> Turn {
        let mut lines = pool.store().together().lock();
        let line = lines.entry(pool.name().clone()).or_default();
        if line.runs < RUNS {
            line.runs += 1;
            return Turn::Run(Running(pool.clone()));
        }
        let (tell, told) = oneshot::channel();
        line.waiting.push_back(Waiting { common, job, tell });
        Turn::Wait(told)
    }

    /// The jobs of the next run, the first that came and those like it; none ends a run.
    fn next(&self, pool: &PoolName) -> Vec<Waiting> {
        let mut lines = self.lock();
        let Some(line) = lines.get_mut(pool) else { return Vec::new() };
        // Whoever has gone needs no answer, and its job was never sent.
        line.waiting.retain(|waiting| !waiting.tell.is_closed());
        let Some(common) = line.waiting.front().map(|first| first.common.clone()) else {
            line.runs -= 1;
            if line.runs == 0 {
                lines.remove(pool);
            }
            return Vec::new();
        };
        let (mut taken, mut left) = (Vec::new(), VecDeque::new());
        for waiting in line.waiting.drain(..) {
            if taken.len() < CHUNK && waiting.common == common {
                taken.push(waiting);
            } else {
                left.push_back(waiting);
            }
        }
        line.waiting = left;
        taken
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PoolName, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let next = self.0.store().together().next(self.0.name());
        // Without a runtime the process ends: whoever waits is told so by the loss of its answer.
        if !next.is_empty()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(run(Self(self.0.clone()), next));
        }
    }
}

/// Runs the script for jobs that waited. Their callers may have gone, and that changes nothing for the others.
async fn run(running: Running, waiting: Vec<Waiting>) {
    let (jobs, tell): (Vec<_>, Vec<_>) = waiting.into_iter().map(|w| ((w.common, w.job), w.tell)).unzip();
    if let Some(submitted) = submit::run_together(&running.0, jobs).await {
        for (tell, submitted) in tell.into_iter().zip(submitted) {
            let _ = tell.send(submitted);
        }
    }
}
