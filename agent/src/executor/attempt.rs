//! One attempt from its lease to its end, as the agent sees it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use titan_api::{
    jobs::Reason,
    work::{Happening, Lease},
};
use tokio::sync::watch;
use tracing::{debug, error, warn};

use super::{
    Executor,
    control::Shim,
    exit::Exit,
    fault::{Fault, caught},
    folder::Folder,
    outcome::{self, failed},
    prepare::{Unmade, words},
    process::Journal,
    shim::Command,
    spec::Spec,
};
use crate::{attempts::Orders, clock, trace::Note};

/// A shim gets this much longer than its job's grace before the agent does its work for it.
const SHIM_SPARE_MS: u64 = 3_000;
/// The clock that counts sleep cannot be waited for, so it is looked at this often; and so is whether the shim is there.
const LOOK_MS: u64 = 5_000;

/// What is seen while an attempt runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The program runs.
    Started,
    /// It wrote something.
    Output,
}

impl Executor {
    /// Runs one attempt and gives what is to be reported of its end; `None` if it was disowned.
    ///
    /// When this comes back, no process of the attempt is left.
    pub(crate) async fn run(
        &self,
        lease: &Lease,
        trace: Option<Note>,
        orders: watch::Receiver<Orders>,
        kill_grace: Duration,
        see: impl Fn(Sign),
    ) -> Option<Happening> {
        let (began, told) = (AtomicBool::new(false), orders.clone());
        let see = |sign| {
            began.fetch_or(sign == Sign::Started, Ordering::Relaxed);
            see(sign);
        };
        self.guarded(self.run_unguarded(lease, trace, orders, kill_grace, see), &lease.held(), &told, &began).await
    }

    async fn run_unguarded(
        &self,
        lease: &Lease,
        trace: Option<Note>,
        mut orders: watch::Receiver<Orders>,
        kill_grace: Duration,
        see: impl Fn(Sign),
    ) -> Option<Happening> {
        if let Some(how) = self.refusal(lease) {
            return Some(how);
        }
        let folder = self.folder(lease);
        let preparation = self.preparation(lease, trace, clock::millis(kill_grace));
        let made = tokio::task::spawn_blocking(move || preparation.make()).await;
        let spec = match made.unwrap_or_else(|e| Err(Unmade::Failed(e.to_string()))) {
            Ok(spec) => spec,
            Err(Unmade::Refused(why)) => return Some(failed(Reason::Refused, why)),
            Err(Unmade::Failed(why)) => return Some(failed(Reason::StartFailed, why)),
        };
        let before = *orders.borrow_and_update();
        let end = match before.stop {
            Some(stop) => outcome::unstarted(stop),
            None => self.start_and_watch(&folder, &spec, &mut orders, see).await,
        };
        self.tidy_later(folder, spec);
        end
    }

    /// Not waited for: a folder may hold a million files.
    pub(super) fn tidy_later(&self, folder: Folder, spec: Spec) {
        let tidy = move |permit| {
            super::leftover::tidy(&folder, &spec);
            drop(permit);
        };
        if let Ok(permit) = Arc::clone(&self.tidying).try_acquire_owned() {
            drop(tokio::task::spawn_blocking(move || tidy(permit)));
            return;
        }
        let turn = Arc::clone(&self.tidying).acquire_owned();
        tokio::spawn(async move {
            let Ok(permit) = turn.await else { return };
            let _ = tokio::task::spawn_blocking(move || tidy(permit)).await;
        });
    }

    fn refusal(&self, lease: &Lease) -> Option<Happening> {
        if !self.allowed {
            return Some(failed(
                Reason::Refused,
                "this agent takes no process jobs; its operator allows them with --policy or --allow-jobs",
            ));
        }
        lease.process.command.is_empty().then(|| failed(Reason::StartFailed, "the command is empty"))
    }

    async fn start_and_watch(
        &self,
        folder: &Folder,
        spec: &Spec,
        orders: &mut watch::Receiver<Orders>,
        see: impl Fn(Sign),
    ) -> Option<Happening> {
        match self.start_shim(folder, spec) {
            Ok(shim) => self.watch(shim, folder, spec, orders, see).await,
            Err(e) => Some(failed(Reason::StartFailed, format!("no process could be started: {}", words(&e)))),
        }
    }

    /// Tells the shim what it has to know until it ends, and gives what is to be reported of that.
    pub(super) async fn watch(
        &self,
        mut shim: Shim,
        folder: &Folder,
        spec: &Spec,
        orders: &mut watch::Receiver<Orders>,
        see: impl Fn(Sign),
    ) -> Option<Happening> {
        let mut watch = Watch::of(spec);
        let watched = caught(watch.until_closed(&mut shim, orders, see)).await;
        if watched.is_err() {
            shim.kill_tree();
        }
        if let Err(e) = self.wait_for(shim).await {
            error!(job.id = %spec.lease.job_id, attempt = spec.lease.attempt, "the shim's end was not seen: {e}");
        }
        let exit = self.read_exit(folder, spec).await;
        let stop = orders.borrow().stop;
        match watched {
            Err(Fault) => outcome::of_fault(true, stop),
            Ok(()) if watch.lost => outcome::lease_lost(stop),
            Ok(()) if watch.overdue => outcome::overdue(exit, stop),
            Ok(()) => outcome::of(exit, stop),
        }
    }

    /// How it ended; the shim's last words if it did not write that down. In that case what it left is ended.
    async fn read_exit(&self, folder: &Folder, spec: &Spec) -> Result<Exit, String> {
        let from = folder.clone();
        let read = tokio::task::spawn_blocking(move || (Exit::read(&from), Journal::read(&from), from.complaints()));
        let (exit, journal, complaints) = read.await.unwrap_or_else(|e| (Ok(None), Ok(None), e.to_string()));
        if !complaints.is_empty() {
            warn!(job.id = %spec.lease.job_id, attempt = spec.lease.attempt, "the shim says: {complaints}");
        }
        if let Ok(Some(exit)) = exit {
            return Ok(exit);
        }
        self.end_strays(folder, spec).await;
        let began = journal.is_ok_and(|journal| journal.is_some_and(|journal| journal.main.is_some()));
        if began { Err(complaints) } else { Ok(Exit::not_started(format!("its shim could not begin: {complaints}"))) }
    }

    /// The shim was killed: ends what fell to the agent, until nothing is left.
    pub(super) async fn end_strays(&self, folder: &Folder, spec: &Spec) {
        let mut rounds = 0_u64;
        while self.end_orphans() + super::leftover::end_strays(folder, spec) > 0 {
            rounds += 1;
            debug!(job.id = %spec.lease.job_id, attempt = spec.lease.attempt, rounds, "processes of a dead shim are being ended");
            tokio::time::sleep(Duration::from_millis((rounds * 10).min(500))).await;
        }
    }
}

/// What a shim has been told, and what is next.
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
struct Watch<'a> {
    spec: &'a Spec,
    /// The deadline that it was told.
    told_ms: Option<u64>,
    /// Whether the lease ended.
    lost: bool,
    stopping: bool,
    killing: bool,
    /// When its time is over, until that was noticed.
    timeout_at_ms: Option<u64>,
    /// Whether the agent has done the shim's work after that.
    overdue: bool,
    /// When the agent does the shim's work.
    force_at_ms: u64,
}

impl<'a> Watch<'a> {
    fn of(spec: &'a Spec) -> Self {
        Self {
            spec,
            told_ms: None,
            lost: false,
            stopping: false,
            killing: false,
            timeout_at_ms: spec.timeout_at_ms(),
            overdue: false,
            force_at_ms: u64::MAX,
        }
    }

    async fn until_closed(&mut self, shim: &mut Shim, orders: &mut watch::Receiver<Orders>, see: impl Fn(Sign)) {
        let mut told = true;
        // Its signs may have ended before anybody listened: then there will be none, not even of its end. Orders may come more often
        // than looks.
        let every = Duration::from_millis(LOOK_MS);
        let mut looks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let current = *orders.borrow_and_update();
            self.act(shim, current);
            tokio::select! {
                signs = shim.signs() => match signs {
                    Some(signs) => tell(&signs, &see),
                    None => return,
                },
                changed = orders.changed(), if told => told = changed.is_ok(),
                () = tokio::time::sleep(self.pause(current)) => {}
                _ = looks.tick() => if shim.is_gone() { return },
            }
        }
    }

    fn act(&mut self, shim: &mut Shim, orders: Orders) {
        let now_ms = clock::now_ms();
        if let Some(deadline_ms) = orders.deadline_ms.filter(|_| orders.deadline_ms > self.told_ms) {
            self.told_ms = orders.deadline_ms;
            shim.say(Command::Deadline(deadline_ms));
        }
        // Once it is being ended for another reason, that reason is what is reported.
        if orders.deadline_ms.is_some_and(|deadline_ms| now_ms >= deadline_ms) && !self.stopping {
            self.lost = true;
            let lease = &self.spec.lease;
            warn!(job.id = %lease.job_id, attempt = lease.attempt, "the lease was not renewed in time; the attempt is ended");
        }
        let forced_at_ms = now_ms.saturating_add(self.spec.kill_grace_ms).saturating_add(SHIM_SPARE_MS);
        // The shim sees to that, unless its job has stopped it. It may have noticed no earlier, as after the box has slept.
        if self.timeout_at_ms.is_some_and(|at_ms| now_ms >= at_ms) {
            self.timeout_at_ms = None;
            self.force_at_ms = self.force_at_ms.min(forced_at_ms);
        }
        if (orders.stop.is_some() || self.lost) && !self.stopping {
            self.stopping = true;
            shim.say(Command::Stop(self.spec.kill_grace_ms));
            self.force_at_ms = self.force_at_ms.min(forced_at_ms);
        }
        if orders.at_once && !self.killing {
            (self.stopping, self.killing) = (true, true);
            shim.say(Command::Kill);
            self.force_at_ms = now_ms + SHIM_SPARE_MS;
        }
        if now_ms >= self.force_at_ms {
            self.overdue |= !self.stopping;
            shim.kill_tree();
            self.force_at_ms = now_ms + SHIM_SPARE_MS;
        }
    }

    fn pause(&self, orders: Orders) -> Duration {
        let deadline_ms = orders.deadline_ms.filter(|_| !self.stopping);
        let next_ms = [deadline_ms, self.timeout_at_ms].into_iter().flatten().fold(self.force_at_ms, u64::min);
        Duration::from_millis(next_ms.saturating_sub(clock::now_ms()).clamp(1, LOOK_MS))
    }
}

fn tell(signs: &[u8], see: &impl Fn(Sign)) {
    if signs.contains(&b's') {
        see(Sign::Started);
    }
    if signs.contains(&b'o') {
        see(Sign::Output);
    }
}
