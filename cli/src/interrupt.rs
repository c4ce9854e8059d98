//! Ctrl-C while a command waits for a job: it detaches and the job goes on, or, if that was asked for, cancels it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::Context as _;
use titan_api::ids::JobId;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};

use crate::{failure::Failure, progress, session::Session};

/// Exit code of a command that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Looks after Ctrl-C until it is dropped. It works on a thread of its own, so it works too while the command is stuck
/// in a write that nobody reads.
#[derive(Debug)]
pub struct Guard {
    task: JoinHandle<()>,
    cancelled: Arc<AtomicBool>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Guard {
    fn spawn(work: impl Future<Output = ()> + Send + 'static, cancelled: &Arc<AtomicBool>) -> Self {
        Self { task: tokio::spawn(work), cancelled: Arc::clone(cancelled) }
    }

    /// [`Failure::Interrupted`] if Ctrl-C has cancelled the job: how it ended is then no news.
    ///
    /// # Errors
    /// That one.
    pub fn outcome(&self) -> Result<(), Failure> {
        if self.cancelled.load(Ordering::Relaxed) { Err(Failure::Interrupted) } else { Ok(()) }
    }
}

/// From now on Ctrl-C writes `message` to standard error and ends the process with code 130.
///
/// # Errors
/// If the system does not let signals be listened for.
pub fn say_on_ctrl_c(message: String) -> Result<Guard, Failure> {
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(Guard::spawn(
        async move {
            interrupt.recv().await;
            leave(&message);
        },
        &Arc::default(),
    ))
}

/// From now on Ctrl-C leaves the jobs to themselves, and says how to come back to them.
///
/// # Errors
/// As [`say_on_ctrl_c`].
pub fn leave_on_ctrl_c(jobs: &[JobId]) -> Result<Guard, Failure> {
    if let [job] = jobs {
        return detach_on_ctrl_c(job);
    }
    let all: Vec<_> = jobs.iter().map(JobId::as_str).collect();
    let all = all.join(" ");
    say_on_ctrl_c(format!(
        "\nDetached; the jobs go on.\n  come back:   titan jobs wait {all}\n  cancel them: titan jobs cancel {all}"
    ))
}

/// From now on Ctrl-C leaves the job to itself, and says how to come back to it.
///
/// # Errors
/// As [`say_on_ctrl_c`].
pub fn detach_on_ctrl_c(job: &JobId) -> Result<Guard, Failure> {
    say_on_ctrl_c(detached(job))
}

/// From now on Ctrl-C, or SIGTERM, cancels the job, and the command goes on to its end; a second one ends the command.
///
/// # Errors
/// As [`say_on_ctrl_c`].
pub fn cancel_on_ctrl_c(session: &Session, job: &JobId) -> Result<Guard, Failure> {
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let (session, job, cancelled) = (session.clone(), job.clone(), Arc::<AtomicBool>::default());
    let noted = Arc::clone(&cancelled);
    let work = async move {
        either(&mut interrupt, &mut terminate).await;
        noted.store(true, Ordering::Relaxed);
        progress::remark(&format!("\n[titan: cancelling job {job}; Ctrl-C again leaves at once]"));
        tokio::select! {
            cancelled = session.client.cancel_job(&job) => {
                if let Err(error) = cancelled {
                    let _ = session.failed(format!("cancel job {job}"))(error).report();
                    leave(&detached(&job));
                }
            }
            () = either(&mut interrupt, &mut terminate) => leave(&detached(&job)),
        }
        either(&mut interrupt, &mut terminate).await;
        leave(&format!("Left; job {job} is being cancelled."));
    };
    Ok(Guard::spawn(work, &cancelled))
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    Ok(signal(kind).context("signals cannot be listened for")?)
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

fn leave(message: &str) {
    progress::remark(message);
    std::process::exit(INTERRUPTED);
}

/// What Ctrl-C says while a job is followed: it goes on, and how to come back to it or end it.
fn detached(job: &JobId) -> String {
    format!(
        "\nDetached; the job goes on.\n  come back:  titan jobs logs -f {job}\n  cancel it:  titan jobs cancel {job}"
    )
}
