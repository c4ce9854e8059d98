//! `titan submit`: submits a job and follows its output, or many jobs from a file.

pub mod batch;
mod entry;
pub(crate) mod once;
mod pieces;
mod spec;
pub(crate) mod values;

use std::path::PathBuf;

use clap::Args;
use titan_api::{
    client::Reply,
    ids::JobId,
    jobs::{Job, JobState, SubmittedJob},
    scheduler::Explanation,
};

use crate::{
    failure::Failure,
    follow::After,
    interrupt,
    jobs::{ended, logs, show},
    progress::Progress,
    render::{
        lines,
        ruled_out::ruled_out,
        style::Style,
        table::{Column, Table},
    },
    session::Session,
    settings::Format,
};

use once::Call;
pub use spec::JobOptions;
use values::parse_idempotency_key;

impl Options {
    /// Whether something of what is submitted is read from standard input.
    #[must_use]
    pub fn reads_stdin(&self) -> bool {
        self.job.reads_stdin() || self.batch.as_deref().is_some_and(batch::is_stdin)
    }
}

/// Arguments of `titan submit`.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(after_help = "\
Examples:
  titan submit -- echo hi
  titan submit --name nightly --gpus 1 --vram 16G -- python train.py --epochs 3
  titan submit --detach -o name -- sh -c 'sleep 60; date'
  titan submit --after JOB --in 10m -- python report.py
  titan submit --batch jobs.jsonl -o name

A file for --batch holds jobs as the interface takes them, one a line or in
one JSON array. Jobs in it may wait for each other by name:
  {\"kind\":\"process\",\"ref\":\"prepare\",\"process\":{\"command\":[\"echo\",\"one\"]}}
  {\"kind\":\"process\",\"depends_on\":[\"prepare\"],\"process\":{\"command\":[\"echo\",\"two\"]}}

Ctrl-C detaches: the job goes on, and `titan jobs logs -f JOB` comes back to
it. The exit code is that of the job.")]
pub struct Options {
    /// Print the job's id and do not wait for it.
    #[arg(short, long, conflicts_with = "cancel_on_interrupt")]
    pub detach: bool,
    /// Ctrl-C and SIGTERM cancel the job instead of leaving it to itself; a second one leaves at once.
    #[arg(long)]
    pub cancel_on_interrupt: bool,
    /// Say nothing but errors: only what the job writes is printed.
    #[arg(short, long)]
    pub quiet: bool,
    /// Say on standard error how the agent was chosen.
    #[arg(long)]
    pub explain: bool,
    /// Print the job as it would be submitted, as JSON and with the values of its secrets, and submit nothing.
    #[arg(long, conflicts_with_all = ["detach", "explain"])]
    pub dry_run: bool,
    /// Submit the jobs of this file, all or none, at most 1,000, and do not wait for them; `-` reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["JobOptions", "cancel_on_interrupt", "explain", "plain_exit_code"])]
    pub batch: Option<PathBuf>,
    /// Make no second job if the same command with the same key made one before. Without it each call has a key of its
    /// own, so that one whose answer is lost can be repeated safely.
    #[arg(long, value_name = "KEY", value_parser = parse_idempotency_key)]
    pub idempotency_key: Option<String>,
    /// How to tell a shell how it ended.
    #[command(flatten)]
    pub exit: ended::ExitCode,
    /// What to run, and what it needs.
    #[command(flatten)]
    pub job: JobOptions,
}

/// Submits a job. Unless it is detached, follows it: its standard output goes to standard output, its standard error to
/// standard error, and the exit code says how it ended. With `-o json` and the like the job is printed at its end, and
/// its output is not.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: Session, options: Options) -> Result<(), Failure> {
    let session = session.quiet(options.quiet);
    if let Some(file) = &options.batch {
        let batch = batch::read(file)?;
        if options.dry_run {
            return session.print_lines(&batch.body.jobs);
        }
        return batch::run(&session, &batch, options.idempotency_key).await;
    }
    let job = options.job.into_job()?;
    if options.dry_run {
        return session.print_lines(&[job]);
    }
    let call = Call::new(options.idempotency_key, "submit the job".to_owned(), job.not_before)?;
    let submitted = once::until_answered(&session, &call, async |key| {
        session.client.submit_job_once(&job, options.explain, key).await
    });
    let submitted = submitted.await?;
    if let Some(explanation) = submitted.explanation.as_ref().filter(|_| options.explain) {
        eprint!("{}", explain(explanation));
    }
    if options.detach {
        return print(&session, &submitted);
    }
    let guard = if options.cancel_on_interrupt {
        interrupt::cancel_on_ctrl_c(&session, &submitted.id)?
    } else {
        interrupt::detach_on_ctrl_c(&submitted.id)?
    };
    follow(&session, &submitted, options.exit, &guard).await
}

async fn follow(
    session: &Session,
    submitted: &SubmittedJob,
    exit: ended::ExitCode,
    guard: &interrupt::Guard,
) -> Result<(), Failure> {
    let id = &submitted.id;
    if session.format.is_table() {
        session.remark(&announce(submitted));
    }
    let mut progress = Progress::of_job(session, id);
    let followed = to_its_end(session, id, &mut progress).await;
    progress.stop();
    if followed.as_ref().is_err_and(|failure| !matches!(failure, Failure::Missing(_))) {
        // What failed is to look at it.
        session.remark(&format!("[titan: job {id} itself goes on; `titan jobs logs -f {id}` comes back to it]"));
    }
    let job = followed?;
    if !session.format.is_table() {
        show::print(session, &job)?;
    }
    let verdict = ended::verdict(&job, exit);
    if session.format.is_table() && (verdict.is_ok() || guard.outcome().is_err()) {
        session.remark(&format!("[titan: {}]", ended::sentence(&job)));
    }
    guard.outcome().and(verdict)
}

async fn to_its_end(session: &Session, id: &JobId, progress: &mut Progress) -> Result<Reply<Job>, Failure> {
    if session.format.is_table() {
        logs::follow(session, id, After::default(), progress).await?;
    }
    ended::job(session, id).await
}

fn print(session: &Session, submitted: &Reply<SubmittedJob>) -> Result<(), Failure> {
    match session.format {
        Format::Json | Format::Jsonl => session.print_json(submitted.json()),
        Format::Name => session.print(&format!("{}\n", submitted.id)),
        Format::Table | Format::Wide => {
            session.remark(&announce(submitted));
            session.print(&format!("{}\n", submitted.id))
        }
    }
}

fn announce(submitted: &SubmittedJob) -> String {
    match (&submitted.agent_id, submitted.state) {
        (Some(agent), _) => format!("[titan: job {} goes to {agent}]", submitted.id),
        (None, JobState::Pending) => format!("[titan: job {} waits for an agent that can take it]", submitted.id),
        (None, JobState::Blocked) => format!("[titan: job {} waits for other jobs to end]", submitted.id),
        (None, JobState::Delayed) => format!("[titan: job {} waits for its time]", submitted.id),
        (None, state) => format!("[titan: job {} is {state}]", submitted.id),
    }
}

/// How the agent was chosen: candidates with the parts of their scores, and why others were ruled out.
#[must_use]
pub fn explain(explanation: &Explanation) -> String {
    let w = &explanation.weights;
    let mut text =
        format!("weights: memory {}, load {}, round trip {}, performance {}\n", w.vram, w.load, w.rtt, w.performance);
    let warm = explanation.candidates.iter().any(|candidate| candidate.parts.warm.is_some());
    let headings = ["SCORE", "MEMORY", "LOAD", "ROUND TRIP", "PERFORMANCE"].into_iter().chain(warm.then_some("LOADED"));
    let headings: Vec<_> = headings.map(|h| Column::new(h).right()).collect();
    let mut table = Table::new(&[&[Column::new("AGENT")], headings.as_slice()].concat());
    for candidate in &explanation.candidates {
        let p = &candidate.parts;
        let halved = if candidate.degraded { " (degraded: halved)" } else { "" };
        let numbers = [candidate.score, p.vram, p.load, p.rtt, p.performance].into_iter().chain(p.warm);
        let numbers: Vec<_> = numbers.map(|part| format!("{part:.3}").into()).collect();
        table.row([vec![format!("{}{halved}", candidate.agent_id).into()], numbers].concat());
    }
    text += &table.render(Style::PLAIN);
    let session = explanation.session_agent.iter();
    text += &lines(session.map(|agent| {
        format!("the conversation was on {agent}, which goes before if it is well and at most 0.15 worse")
    }));
    text + &lines(explanation.ruled_out.iter().map(ruled_out))
}
