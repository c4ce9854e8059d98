//! Ctrl-C while a command follows a job.

use std::io::Write;

use tokio::task::JoinHandle;

/// Ends the process on Ctrl-C until it is dropped.
#[derive(Debug)]
pub struct Guard(JoinHandle<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// From now on Ctrl-C writes `message` to standard error and ends the process with code 130. It works on a thread of
/// its own, so it works too while the command is stuck in a write that nobody reads.
#[must_use]
pub fn on_ctrl_c(message: String) -> Guard {
    Guard(tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            // If standard error is gone too there is nobody to tell.
            let _ = std::io::stderr().write_all(message.as_bytes());
            std::process::exit(130);
        }
    }))
}

/// What Ctrl-C says while a job is followed: it goes on, and how to come back to it or end it.
#[must_use]
pub fn detached(job: &titan_api::ids::JobId) -> String {
    format!(
        "\nDetached; the job goes on.\n  come back:  titan jobs logs -f {job}\n  cancel it:  titan jobs cancel {job}\n"
    )
}
