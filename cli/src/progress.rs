//! One line on a terminal that says what a job or a model's answer waits for, until there is something better to show.

use std::{
    io::{IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use titan_api::{
    ids::JobId,
    jobs::{Job, JobState},
};
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    render::{
        clean,
        jobs::waits_for,
        style::Style,
        table::cut,
        units::{now, seconds},
    },
    session::Session,
    settings::Global,
    target::variable,
};

/// What has something to show by then shows no line at all.
const BEFORE_THE_FIRST: Duration = Duration::from_millis(300);
const BETWEEN_FRAMES: Duration = Duration::from_millis(120);
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
const FRAMES: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const CLEAR: &str = "\r\u{1b}[K";

/// Whether the line stands on the terminal now. There is one terminal, so there is one of these.
static STANDS: Mutex<bool> = Mutex::new(false);

/// Writes remarks of `titan` itself to standard error, on a line of their own whatever stands there.
pub fn remark(text: &str) {
    let mut stands = STANDS.lock().unwrap_or_else(PoisonError::into_inner);
    let clear = if std::mem::take(&mut *stands) { CLEAR } else { "" };
    // If standard error is gone there is nobody to tell.
    let _ = std::io::stderr().write_all(format!("{clear}{text}\n").as_bytes());
}

/// Takes the line away, if it stands.
pub fn hide() {
    let mut stands = STANDS.lock().unwrap_or_else(PoisonError::into_inner);
    if std::mem::take(&mut *stands) {
        let _ = std::io::stderr().write_all(CLEAR.as_bytes());
    }
}

/// How to show a line on standard error; none where it is no terminal, or one that cannot go back in a line.
#[must_use]
pub fn style(global: &Global) -> Option<Style> {
    let can = std::io::stderr().is_terminal() && variable("TERM").is_some_and(|term| term != "dumb");
    can.then(|| Style::of_stderr(global))
}

/// The line, which follows a job until it is stopped or dropped.
#[derive(Debug)]
pub struct Progress(Option<JoinHandle<()>>);

impl Progress {
    /// Nothing is shown.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// Shows what a job waits for, where standard error is a terminal that can.
    #[must_use]
    pub fn of_job(session: &Session, job: &JobId) -> Self {
        match session.progress_style() {
            Some(style) => Self(Some(tokio::spawn(show(session.clone(), job.clone(), style)))),
            None => Self::none(),
        }
    }

    /// Shows that a model has not begun to answer, where standard error is a terminal that can.
    #[must_use]
    pub fn of_answer(session: &Session, model: &str) -> Self {
        let text = format!("{model} has not begun to answer");
        let shown = |style| async move {
            tokio::time::sleep(BEFORE_THE_FIRST).await;
            draw(|| text.clone(), style).await;
        };
        Self(session.progress_style().map(|style| tokio::spawn(shown(style))))
    }

    /// Takes the line away for good; whatever is written after this call has the terminal for itself.
    pub fn stop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
            hide();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn show(session: Session, id: JobId, style: Style) {
    let seen = Arc::new(Mutex::new(None));
    tokio::time::sleep(BEFORE_THE_FIRST).await;
    let text = || {
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.as_ref().map_or_else(|| "asking for the job".to_owned(), state)
    };
    tokio::join!(look(&session, &id, &seen), draw(text, style));
}

/// Asks how the job is, again and again; when nobody answers the line goes on with what was known.
async fn look(session: &Session, id: &JobId, seen: &Mutex<Option<Job>>) {
    loop {
        if let Ok(job) = session.client.job(id, None).await {
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(job.into_value());
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

async fn draw(text: impl Fn() -> String, style: Style) {
    let began = Instant::now();
    for frame in FRAMES.iter().cycle() {
        let text = text();
        let elapsed = seconds(began.elapsed().as_secs());
        let line = cut(&clean(&format!("{frame} {text} ({elapsed})")), style.width.unwrap_or(80).saturating_sub(1));
        put(&line);
        tokio::time::sleep(BETWEEN_FRAMES).await;
    }
}

/// Shows a line of text until the next one, or until [`remark`] or [`hide`]; only for a terminal.
pub fn show_line(text: &str, style: Style) {
    put(&cut(&clean(text), style.width.unwrap_or(80).saturating_sub(1)));
}

/// Draws the line over the one before. There is no await between the lock and its release, so that a task which is
/// aborted never leaves half a line.
fn put(line: &str) {
    let mut stands = STANDS.lock().unwrap_or_else(PoisonError::into_inner);
    *stands = std::io::stderr().write_all(format!("{CLEAR}{line}").as_bytes()).is_ok();
}

/// What the job does, or waits for, in a few words.
#[must_use]
pub fn state(job: &Job) -> String {
    let on = job.agent_id.as_ref().map(|agent| format!(" on {agent}")).unwrap_or_default();
    let again =
        if job.attempt > 1 { format!(", attempt {} of {}", job.attempt, job.max_attempts) } else { String::new() };
    match job.state {
        JobState::Blocked | JobState::Delayed | JobState::Pending => {
            format!("{}: waits for {}{again}", job.state, waits_for(job, now()))
        }
        JobState::Scheduled => format!("scheduled{on}, which is about to take it{again}"),
        JobState::Running => format!("running{on}{again}, nothing written yet"),
        ended => format!("{ended}{on}"),
    }
}
