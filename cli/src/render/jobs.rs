//! Jobs as people see them.

use titan_api::{
    inference::Usage,
    jobs::{AttemptFailure, Job, JobKind, JobState, JobSummary, Reason, Requirements, Waiting},
    time::Timestamp,
};

use super::{
    ruled_out::ruled_out,
    style::{Style, Tone},
    table::{Cell, Column, Table, pairs},
    units::{age, bytes, left, megabytes, took},
};

/// The list of jobs; `wide` shows more of each.
#[must_use]
pub fn list(jobs: &[JobSummary], now: Timestamp, style: Style, wide: bool) -> String {
    let mut columns = vec![
        Column::new("ID"),
        Column::new("STATE"),
        Column::new("AGENT").shrinks().yields(4),
        Column::new("TRY").right().yields(0),
        Column::new("AGE").right().yields(3),
        Column::new("TOOK").right().yields(1),
        Column::new("ENDED WITH").yields(2),
    ];
    if wide {
        columns.extend([Column::new("PRIORITY").right(), Column::new("CREATED"), Column::new("STARTED")]);
    }
    columns.push(Column::new("COMMAND").shrinks());
    let mut table = Table::new(&columns);
    for job in jobs {
        table.row(row(job, now, wide));
    }
    table.render(style)
}

fn row(job: &JobSummary, now: Timestamp, wide: bool) -> Vec<Cell> {
    let mut row: Vec<Cell> = vec![
        job.id.as_str().into(),
        state(job.state),
        job.agent_id.as_ref().map_or("-", |id| id.as_str()).into(),
        job.attempt.to_string().into(),
        age(job.created_at, now).into(),
        lasted(job.started_at, job.ended_at, job.state, now).into(),
        ending(job.kind, job.exit_code, None, job.reason.map(Reason::as_str)).into(),
    ];
    if wide {
        let started = job.started_at.map_or("-".to_owned(), |at| at.to_string());
        row.extend([job.priority.to_string().into(), job.created_at.to_string().into(), started.into()]);
    }
    row.push(asked_for(job).into());
    row
}

/// The program that it runs, or the model that it asks.
fn asked_for(job: &JobSummary) -> String {
    match job.kind {
        JobKind::Process => job.command.clone(),
        JobKind::Inference => format!("ask {}", job.command),
    }
}

/// One job, whole.
#[must_use]
pub fn whole(job: &Job, now: Timestamp, style: Style) -> String {
    let cancelling = if job.cancelling { " (cancelling: its processes are being ended)" } else { "" };
    let tone = tone(job.state);
    let since = |then: Timestamp| format!("{then} ({} ago)", age(then, now));
    let lines = [
        ("id", job.id.as_str().into()),
        ("state", Cell::toned(&format!("{}{cancelling}", job.state), tone)),
        ("agent", job.agent_id.as_ref().map_or("", |id| id.as_str()).into()),
        ("attempt", number(job).into()),
        (if job.state.is_ended() { "ended with" } else { "last ended with" }, ended_with(job).into()),
        ("message", job.message.as_deref().unwrap_or_default().into()),
        ("waits for", waits_for(job, now).into()),
        ("command", command_line(&job.process.command).into()),
        ("model", job.inference.as_ref().map_or("", |asked| asked.model.as_str()).into()),
        ("tokens", job.usage.as_ref().map(tokens).unwrap_or_default().into()),
        ("working folder", job.process.working_dir.as_deref().unwrap_or_default().into()),
        ("environment", variables(job).into()),
        ("needs", needs(&job.requirements).into()),
        ("devices", job.devices.join(" ").into()),
        ("after", job.depends_on.join(" ").into()),
        ("time limit", job.timeout_ms.map(|ms| took(Timestamp::from_ms(0), time(ms))).unwrap_or_default().into()),
        ("result", job.result.as_ref().map(ToString::to_string).unwrap_or_default().into()),
        ("priority", job.priority.to_string().into()),
        ("labels", labels(&job.labels).into()),
        ("output", bytes(job.output_bytes).into()),
        ("submitted by", job.submitted_by.as_str().into()),
        ("created", since(job.created_at).into()),
        ("started", job.started_at.map(since).unwrap_or_default().into()),
        ("ended", job.ended_at.map(since).unwrap_or_default().into()),
        (
            "took",
            Some(lasted(job.started_at, job.ended_at, job.state, now)).filter(|t| t != "-").unwrap_or_default().into(),
        ),
    ];
    let mut text = pairs(&lines, style);
    if !job.failures.is_empty() {
        text += "\nAttempts that ended other than well:\n";
        text += &failures(&job.failures, now, style);
    }
    text
}

/// Refusals and what was before `retry` have numbers, too, but do not count.
fn number(job: &Job) -> String {
    let (attempt, most) = (job.attempt, job.max_attempts);
    if attempt <= most {
        return format!("{attempt} of at most {most}");
    }
    format!("{attempt} (at most {most}, refusals and those before a retry aside)")
}

/// What an answer took.
fn tokens(usage: &Usage) -> String {
    let part = |count: Option<u64>, what: &str| count.map(|count| format!("{count} {what}"));
    let parts = [
        part(usage.prompt_tokens, "asked"),
        part(usage.completion_tokens, "answered"),
        part(usage.first_token_ms, "ms to the first"),
        part(usage.load_ms, "ms to load the model"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn failures(failures: &[AttemptFailure], now: Timestamp, style: Style) -> String {
    let mut table = Table::new(&ATTEMPT);
    for failure in failures {
        table.row(attempt(failure, now));
    }
    table.render(style)
}

/// The attempts of many jobs that ended other than well.
#[must_use]
pub fn attempts<'a>(jobs: impl Iterator<Item = &'a Job>, now: Timestamp, style: Style) -> String {
    let mut table = Table::new(&[[Column::new("JOB"), Column::new("STATE").yields(2)].as_slice(), &ATTEMPT].concat());
    for job in jobs {
        for failure in &job.failures {
            table.row([vec![job.id.as_str().into(), state(job.state)], attempt(failure, now)].concat());
        }
    }
    table.render(style)
}

const ATTEMPT: [Column; 5] = [
    Column::new("TRY").right().yields(3),
    Column::new("AGENT").yields(1),
    Column::new("AGE").right().yields(0),
    Column::new("ENDED WITH"),
    Column::new("MESSAGE").shrinks(),
];

fn attempt(failure: &AttemptFailure, now: Timestamp) -> Vec<Cell> {
    vec![
        failure.attempt.to_string().into(),
        failure.agent_id.as_str().into(),
        age(failure.at, now).into(),
        ending(JobKind::Process, failure.exit_code, failure.signal, Some(failure.reason.as_str())).into(),
        failure.message.as_deref().unwrap_or("-").into(),
    ]
}

fn time(ms: u64) -> Timestamp {
    Timestamp::from_ms(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// The names of its variables; their values may be secret.
fn variables(job: &Job) -> String {
    let names: Vec<_> = job.process.env.keys().chain(job.process.secret_env.keys()).map(String::as_str).collect();
    names.join(" ")
}

/// What a job that does not run yet waits for, in a few words; empty if it runs or has ended.
#[must_use]
pub fn waits_for(job: &Job, now: Timestamp) -> String {
    match job.state {
        JobState::Blocked => {
            let count = job.waits_for.unwrap_or_default();
            format!("{count} job{} to end", plural(count))
        }
        JobState::Delayed => match job.not_before {
            Some(at) if at > now => format!("{at} (in {})", left(at, now)),
            Some(at) => format!("{at} (now)"),
            None => "its time".to_owned(),
        },
        JobState::Pending => job.waiting.as_ref().map_or("an agent that can take it".to_owned(), |w| in_line(w, now)),
        _ => String::new(),
    }
}

fn in_line(waiting: &Waiting, now: Timestamp) -> String {
    let place = format!("an agent, as number {} of {} in line", waiting.place, waiting.line);
    let holds = waiting.holds.as_ref().map(|agent| format!(", for which room is kept on {agent}")).unwrap_or_default();
    let until = waiting.may_start_at.map(|at| format!(", perhaps {} more", left(at, now))).unwrap_or_default();
    let why_not: Vec<_> = waiting.ruled_out.iter().map(ruled_out).collect();
    let why = if why_not.is_empty() { String::new() } else { format!("; {}", why_not.join(", ")) };
    let hindered = waiting.hindered.iter().map(|agent| format!("{}: {}", agent.agent_id, agent.hindered_by.join(", ")));
    let hindered: Vec<_> = hindered.collect();
    let hindered = if hindered.is_empty() { String::new() } else { format!(" ({})", hindered.join("; ")) };
    place + &holds + &until + &why + &hindered
}

/// How a job ended, for a sentence: `exit code 3`, `signal 9`, `timeout`.
#[must_use]
pub fn ended_with(job: &Job) -> String {
    match ending(job.kind, job.exit_code, job.signal, job.reason.map(Reason::as_str)) {
        text if text == "-" => String::new(),
        text => text,
    }
}

fn ending(kind: JobKind, exit_code: Option<i32>, signal: Option<i32>, reason: Option<&str>) -> String {
    match (exit_code, signal, reason) {
        // No program of anybody's has run.
        (Some(0), _, None) if kind == JobKind::Inference => "an answer".to_owned(),
        (Some(code), _, None | Some("exit_code")) => format!("exit code {code}"),
        (_, Some(signal), None | Some("signal")) => format!("signal {signal}"),
        (_, _, Some("ticket_unused")) => "ticket not used".to_owned(),
        (_, _, Some(reason)) => reason.replace('_', " "),
        (None, None, None) => "-".to_owned(),
    }
}

fn lasted(started: Option<Timestamp>, ended: Option<Timestamp>, state: JobState, now: Timestamp) -> String {
    match (started, ended) {
        (Some(from), Some(until)) => took(from, until),
        (Some(from), None) if state == JobState::Running => took(from, now),
        _ => "-".to_owned(),
    }
}

/// A job's state in its colour.
#[must_use]
pub fn state(state: JobState) -> Cell {
    Cell::toned(state.as_str(), tone(state))
}

fn tone(state: JobState) -> Tone {
    match state {
        JobState::Completed => Tone::Good,
        JobState::Failed => Tone::Bad,
        JobState::Pending | JobState::Cancelled => Tone::Warning,
        JobState::Blocked | JobState::Delayed | JobState::Scheduled | JobState::Running => Tone::Plain,
    }
}

/// What a job needs, in words; empty if it needs nothing in particular.
#[must_use]
pub fn needs(needs: &Requirements) -> String {
    let mut parts = Vec::new();
    match (needs.gpus, needs.vram_mb) {
        (0, _) => {}
        (gpus, 0) => parts.push(format!("{gpus} GPU{}", plural(gpus))),
        (gpus, mb) => parts.push(format!("{gpus} GPU{} with {} each", plural(gpus), megabytes(mb))),
    }
    if needs.exclusive {
        parts.push("nothing else on them".to_owned());
    }
    if needs.ram_mb > 0 {
        parts.push(format!("{} of memory", megabytes(needs.ram_mb)));
    }
    if needs.cpus > 0.0 {
        parts.push(format!("{} CPUs", needs.cpus));
    }
    if !needs.agent_labels.is_empty() {
        parts.push(format!("an agent with {}", labels(&needs.agent_labels)));
    }
    parts.join(", ")
}

fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Labels as `name=value`, separated by spaces.
#[must_use]
pub fn labels(labels: &std::collections::BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// An argument vector the way one would type it in a shell.
#[must_use]
pub fn command_line(command: &[String]) -> String {
    command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
