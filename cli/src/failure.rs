//! How a command ends other than well: what it says, and the exit code that says it to scripts.

use std::process::ExitCode;

use titan_api::client::ClientError;

use crate::render::{self, clean};

/// The exit codes, for `titan --help`.
pub const EXIT_CODES: &str = "\
Exit codes:
    0  it went well
    1  it failed
    2  the command line is wrong
    3  the job ended other than well, and had no exit code
    4  the credential is missing, wrong, or does not allow this
    5  there is no such thing here
    6  the state of the thing does not allow this
    7  the coordinator or its store is unavailable; try again later
    8  the wait was over before the job
  130  Ctrl-C
  141  whoever read the output went away

`submit`, `jobs logs -f` and `jobs wait` pass on the exit code of the job's
program (128 and the number of the signal, if one ended it), whichever it is;
with --plain-exit-code they end with 3 instead.";

/// A command that did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A call to the coordinator failed.
    #[error("cannot {doing}: {error}")]
    Call {
        /// What was tried, as in "cannot …".
        doing: String,
        /// What came of it.
        error: Box<ClientError>,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The job ended other than well.
    #[error("{message}")]
    JobEnded {
        /// How.
        message: String,
        /// The exit code to end with.
        code: u8,
    },
    /// Something that was looked at is not in order; what, was printed.
    #[error("{message}")]
    Broken {
        /// Which things.
        message: String,
        /// The exit code to end with.
        code: u8,
    },
    /// The wait was over before the job.
    #[error("{0}")]
    TimedOut(String),
    /// An argument is wrong in a way that only shows when it is used.
    #[error("{0}")]
    Usage(String),
    /// There is no such thing here.
    #[error("{0}")]
    Missing(String),
    /// Something that is needed does not answer, and may later.
    #[error("{0}")]
    Unavailable(String),
    /// Ctrl-C; what there is to say was said.
    #[error("interrupted")]
    Interrupted,
    /// It failed, and what there is to say was said.
    #[error("it failed")]
    Told,
    /// Whoever read the output went away.
    #[error("nobody reads the output any more")]
    ReaderGone,
    /// Anything else.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl Failure {
    /// Whether another thing may fare better: this one is not there, or its state does not allow what was asked.
    #[must_use]
    pub fn is_about_one(&self) -> bool {
        matches!(self.code(), 5 | 6)
    }

    /// The exit code, as in [`EXIT_CODES`].
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Call { error, .. } => code_of_call(error),
            Self::JobEnded { code, .. } | Self::Broken { code, .. } => *code,
            Self::TimedOut(_) => 8,
            Self::Usage(_) => 2,
            Self::Missing(_) => 5,
            Self::Unavailable(_) => 7,
            Self::Interrupted => 130,
            Self::ReaderGone => 141,
            Self::Told | Self::Other(_) => 1,
        }
    }

    /// What to write to standard error; nothing where all was said or nobody would read it.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        match self {
            Self::Interrupted | Self::Told | Self::ReaderGone => None,
            Self::Call { error, hint, .. } => Some(self.headline() + &details(error) + &next_step(hint.as_deref())),
            _ => Some(self.headline()),
        }
    }

    /// Writes the message and gives the exit code.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        if let Some(message) = self.message() {
            eprint!("{message}");
        }
        ExitCode::from(self.code())
    }

    fn headline(&self) -> String {
        let text = self.to_string();
        match self {
            // Made here, line by line, such as the end of a log.
            Self::Other(_) => format!("error: {}\n", text.lines().map(clean).collect::<Vec<_>>().join("\n")),
            _ => format!("error: {}\n", clean(&text)),
        }
    }
}

fn code_of_call(error: &ClientError) -> u8 {
    match error {
        ClientError::Refused { problem, .. } => match problem.status {
            401 | 403 => 4,
            404 | 410 => 5,
            409 | 412 => 6,
            408 | 429 | 502..=504 => 7,
            _ => 1,
        },
        ClientError::Unexpected { .. } => u8::from(error.is_transient()) * 6 + 1,
        ClientError::NotHttp { .. } => 1,
        ClientError::Unreachable { .. } => 7,
    }
}

/// Every wrong field, why agents are ruled out, when to come back, and the id of the request.
fn details(error: &ClientError) -> String {
    let ClientError::Refused { problem, retry_after } = error else { return String::new() };
    let mut lines: Vec<String> = problem.errors.iter().map(|e| format!("{}: {}", e.pointer, e.detail)).collect();
    lines.extend(problem.ruled_out.iter().map(render::ruled_out::ruled_out));
    lines.extend(retry_after.map(|after| format!("come back in {} s", after.as_secs())));
    lines.extend(problem.request_id.as_ref().map(|id| format!("request id: {id}")));
    render::lines(lines.iter().map(|line| format!("  {}", clean(line))))
}

fn next_step(hint: Option<&str>) -> String {
    hint.map(|hint| format!("  → {hint}\n")).unwrap_or_default()
}

impl From<std::io::Error> for Failure {
    /// For errors of writing to standard output and standard error.
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Other(anyhow::Error::new(error).context("the output cannot be written")),
        }
    }
}
