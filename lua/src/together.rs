//! Calls that come at the same time share runs of their script: making the parts of a script takes Redis as long as placing
//! a job, so one run for many takes half as long as one for each.
//!
//! Nobody waits for others to come, but for those whose turn on this thread has come already. A few runs of a pool are under
//! way at once; what comes meanwhile is taken along by the next. Where a shared run comes to nothing, each caller runs the
//! script for itself: it then hears what is wrong with its own call, and only that.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Debug,
    sync::{Mutex, MutexGuard, PoisonError},
};

use titan_api::ids::PoolName;
use tokio::{
    runtime::Handle,
    sync::oneshot::{self, error::RecvError},
};

use crate::{Pool, Store, StoreError, script::Args};

/// Runs under way at once for a pool: one that Redis works on, and the next, so that Redis need not wait for it. With more,
/// each would be for fewer callers.
const RUNS: usize = 2;
/// What a run takes along at most, by weight.
pub(crate) const CHUNK: usize = 32;

/// A script that can run for several callers at once.
pub(crate) trait Shared: Debug + Send + Sync + Sized + 'static {
    /// The arguments that a run has once: only those who agree on them share one.
    type Common: Debug + Clone + PartialEq + Send;
    /// What each caller is told.
    type Told: Debug + Send;

    /// The callers of this process.
    fn line(store: &Store) -> &Together<Self>;

    /// Runs the script once; what each is to be told, or nothing if each has to run it for itself.
    fn run(pool: &Pool, common: Self::Common, each: Vec<Args>) -> impl Future<Output = Option<Vec<Self::Told>>> + Send;
}

/// The callers of each pool that are under way in this process.
#[derive(Debug)]
pub(crate) struct Together<S: Shared>(Mutex<HashMap<PoolName, Line<S>>>);

#[derive(Debug)]
struct Line<S: Shared> {
    runs: usize,
    /// Whether one is about to begin, which takes along whoever comes before it does.
    gathers: bool,
    waiting: VecDeque<Waiting<S>>,
}

/// What one caller brings.
#[derive(Debug)]
pub(crate) struct Own {
    /// Its arguments, which stand behind those that a run has once.
    pub(crate) args: Args,
    /// How much of a run it takes, of [`CHUNK`].
    pub(crate) weight: usize,
}

/// One caller that waits for the next run.
#[derive(Debug)]
struct Waiting<S: Shared> {
    common: S::Common,
    own: Own,
    tell: oneshot::Sender<S::Told>,
}

/// What a caller does now.
#[derive(Debug)]
pub(crate) enum Turn<S: Shared> {
    /// It runs the script for what it brought, which it has back; the next run begins when the `Running` is dropped.
    Run(Running<S>, Own),
    /// It is told what came of it; an error says that it has to run the script for itself.
    Wait(oneshot::Receiver<S::Told>),
}

/// A run under way.
#[derive(Debug)]
pub(crate) struct Running<S: Shared>(Pool, std::marker::PhantomData<S>);

impl<S: Shared> Default for Together<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S: Shared> Default for Line<S> {
    fn default() -> Self {
        Self { runs: 0, gathers: false, waiting: VecDeque::new() }
    }
}

impl<S: Shared> Line<S> {
    fn wait(&mut self, common: S::Common, own: Own) -> oneshot::Receiver<S::Told> {
        let (tell, told) = oneshot::channel();
        self.waiting.push_back(Waiting { common, own, tell });
        told
    }

    /// Waits as the first of those who wait; if none do, it has back what it brought.
    fn lead(&mut self, common: S::Common, own: Own) -> Result<oneshot::Receiver<S::Told>, Own> {
        self.gathers = false;
        if self.waiting.is_empty() {
            return Err(own);
        }
        let (tell, told) = oneshot::channel();
        self.waiting.push_front(Waiting { common, own, tell });
        Ok(told)
    }
}

impl<S: Shared> Together<S> {
    /// Decides whether a call runs now or goes along with others.
    pub(crate) async fn enter(pool: &Pool, common: S::Common, own: Own) -> Turn<S> {
        let together = S::line(pool.store());
        let running = {
            let mut lines = together.lock();
            let line = lines.entry(pool.name().clone()).or_default();
            if line.runs >= RUNS || line.gathers {
                return Turn::Wait(line.wait(common, own));
            }
            (line.runs, line.gathers) = (line.runs + 1, true);
            Running::of(pool)
        };
        tokio::task::yield_now().await;
        let told = match together.lock().get_mut(pool.name()) {
            Some(line) => line.lead(common, own),
            None => Err(own),
        };
        match told {
            // Whoever leads others goes with them, in the run that begins when this one is over.
            Ok(told) => {
                drop(running);
                if together.may_begin_another(pool.name()) {
                    drop(Running::<S>::of(pool));
                }
                Turn::Wait(told)
            }
            Err(own) => Turn::Run(running, own),
        }
    }

    /// Whether some wait who could not go along, while one more run may be under way; it then is.
    fn may_begin_another(&self, pool: &PoolName) -> bool {
        self.lock().get_mut(pool).is_some_and(|line| {
            let may = line.runs < RUNS && !line.waiting.is_empty();
            line.runs += usize::from(may);
            may
        })
    }

    /// The callers of the next run, the first that came and those like it; none ends a run.
    fn next(&self, pool: &PoolName) -> Vec<Waiting<S>> {
        let mut lines = self.lock();
        let Some(line) = lines.get_mut(pool) else { return Vec::new() };
        // Whoever was to lead may have gone.
        line.gathers = false;
        // Whoever has gone needs no answer, and its call was never sent.
        line.waiting.retain(|waiting| !waiting.tell.is_closed());
        let Some(common) = line.waiting.front().map(|first| first.common.clone()) else {
            line.runs -= 1;
            if line.runs == 0 {
                lines.remove(pool);
            }
            return Vec::new();
        };
        let (mut taken, mut left, mut weight) = (Vec::new(), VecDeque::new(), 0);
        for waiting in line.waiting.drain(..) {
            if (taken.is_empty() || weight + waiting.own.weight <= CHUNK) && waiting.common == common {
                weight += waiting.own.weight;
                taken.push(waiting);
            } else {
                left.push_back(waiting);
            }
        }
        line.waiting = left;
        taken
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PoolName, Line<S>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Shared> Running<S> {
    fn of(pool: &Pool) -> Self {
        Self(pool.clone(), std::marker::PhantomData)
    }
}

impl<S: Shared> Drop for Running<S> {
    fn drop(&mut self) {
        let next = S::line(self.0.store()).next(self.0.name());
        // Without a runtime the process ends: whoever waits is told so by the loss of its answer.
        if let Some(common) = next.first().map(|first| first.common.clone())
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(run(self.0.clone(), common, next));
        }
    }
}

/// Waits for what a caller is told for as long as Redis may take for a call of its own: whoever came while it gave no answer to
/// those before is not to wait for them and then once more.
pub(crate) async fn within<T>(pool: &Pool, told: oneshot::Receiver<T>) -> Result<Result<T, RecvError>, StoreError> {
    let waited = tokio::time::timeout(pool.store().connection().patience(), told).await;
    waited.map_err(|_| StoreError::Unavailable("it gave no answer to those before in time".to_owned()))
}

/// Runs the script for callers that waited. They may have gone, and that changes nothing for the others.
async fn run<S: Shared>(pool: Pool, common: S::Common, waiting: Vec<Waiting<S>>) {
    let running = Running::<S>::of(&pool);
    let (each, tell): (Vec<_>, Vec<_>) = waiting.into_iter().map(|w| (w.own.args, w.tell)).unzip();
    if let Some(told) = S::run(&pool, common, each).await {
        for (tell, told) in tell.into_iter().zip(told) {
            let _ = tell.send(told);
        }
    }
    drop(running);
}
