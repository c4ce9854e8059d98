//! Faults of the agent's own code: one that comes up in an attempt, of a job or an answer, ends that attempt, and nothing
//! else.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    task::Poll,
};

use titan_api::work::{Happening, HeldLease};
use tokio::sync::watch;
use tracing::error;

use super::{Executor, folder::Folder, outcome, spec::Spec};
use crate::attempts::{Orders, Stop};

/// Something panicked; the log has what it said.
#[derive(Debug)]
pub(crate) struct Fault;

/// Does `work`, up to a panic in it.
pub(crate) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Fault> {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(_) => Poll::Ready(Err(Fault)),
    })
    .await
}

impl Executor {
    /// The end of an attempt that `work` sees to, also if its code fails. `began` says whether the program runs.
    pub(super) async fn guarded(
        &self,
        work: impl Future<Output = Option<Happening>>,
        lease: &HeldLease,
        told: &watch::Receiver<Orders>,
        began: &AtomicBool,
    ) -> Option<Happening> {
        if let Ok(end) = caught(work).await {
            return end;
        }
        let stop = told.borrow().stop;
        self.after_fault(lease, began.load(Ordering::Relaxed), stop).await
    }

    async fn after_fault(&self, lease: &HeldLease, began: bool, stop: Option<Stop>) -> Option<Happening> {
        error!(job.id = %lease.job_id, attempt = lease.attempt, "a fault of titan-agent ended the attempt");
        let folder = Folder::of(&self.attempts_dir, lease);
        let from = folder.clone();
        if let Ok(Ok(Some(spec))) = tokio::task::spawn_blocking(move || Spec::read(&from)).await {
            self.end_strays(&folder, &spec).await;
            self.tidy_later(folder, spec);
        }
        outcome::of_fault(began, stop)
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, process::Command, time::Duration};

    use titan_api::{
        jobs::{ProcessSpec, Reason},
        work::Lease,
    };

    use super::*;
    use crate::{
        config::{Config, RunArgs},
        reexec::Reexec,
        samples,
    };

    /// Names the test in which an agent's code fails, for the run of this program that does that test alone: ending what
    /// an attempt has left ends every process below the agent, and other tests have some.
    const ALONE: &str = "TITAN_TEST_ALONE";

    fn alone(test: &str) -> bool {
        if std::env::var_os(ALONE).is_some() {
            return true;
        }
        let mut again = Command::new(std::env::current_exe().unwrap());
        let done = again.args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&done.stderr));
        false
    }

    fn lease() -> Lease {
        Lease {
            lease_ttl_ms: 600_000,
            process: ProcessSpec { command: vec!["true".into()], ..ProcessSpec::default() },
            ..samples::lease("j", "l")
        }
    }

    fn executor(state: &tempfile::TempDir, shim: &str) -> Executor {
        let args = RunArgs {
            coordinators: vec!["http://127.0.0.1:1".into()],
            state_dir: Some(state.path().into()),
            allow_jobs: Some(true),
            allow_root_jobs: Some(true),
            ..RunArgs::default()
        };
        let reexec = ["/bin/sh", "-c", shim].map(OsString::from).to_vec();
        Executor::new(
            &Config::check(&args).unwrap(),
            Reexec::new(reexec),
            crate::hardware::Devices::default(),
            crate::cgroups::Cgroups::default(),
            std::sync::Arc::default(),
        )
        .unwrap()
    }

    #[tokio::test]
    async fn an_attempt_whose_code_panics_fails_with_a_reason_and_leaves_no_process() {
        if !alone("executor::fault::tests::an_attempt_whose_code_panics_fails_with_a_reason_and_leaves_no_process") {
            return;
        }
        let state = tempfile::tempdir().unwrap();
        // It says that its program runs, and goes on for longer than any test.
        let shim = "echo $$ > \"$2/pid\"; exec 3<>\"$2/signs\"; printf s >&3; exec /bin/sleep 1000";
        let executor = executor(&state, shim);
        let (_orders, told) = watch::channel(Orders { deadline_ms: None, stop: None, at_once: false });
        let ended = executor.run(&lease(), None, told, Duration::from_secs(1), |_| panic!("a fault")).await;
        assert!(
            matches!(&ended, Some(Happening::Failed { reason: Reason::Signal, message: Some(why), .. })
                if why.contains("a fault of titan-agent")),
            "{ended:?}"
        );
        let pid = std::fs::read_to_string(executor.folder(&lease()).path().join("pid")).unwrap();
        let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
        assert!(nix::sys::signal::kill(pid, None).is_err(), "its process still runs");
        assert!(executor.roster.snapshot().is_empty());
    }

    #[tokio::test]
    async fn work_that_does_not_panic_is_not_touched() {
        assert_eq!(caught(async { 7 }).await.ok(), Some(7));
        assert!(caught(async { panic!("a fault") }).await.is_err_and(|Fault| true));
    }
}
