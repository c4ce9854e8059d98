//! `titan submit`: submits a job and follows its output.

mod spec;

use clap::Args;
use titan_api::{
    client::Reply,
    jobs::{JobState, SubmittedJob},
    scheduler::Explanation,
};

use crate::{
    failure::Failure,
    interrupt,
    jobs::{ended, logs, show},
    progress::Progress,
    render::{
        clean, lines,
        style::Style,
        table::{Column, Table},
    },
    session::Session,
    settings::Format,
};

pub use spec::JobOptions;

/// Arguments of `titan submit`.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(after_help = "\
Examples:
  titan submit -- echo hi
  titan submit --name nightly --gpus 1 --vram 16G -- python train.py --epochs 3
  titan submit --detach -o name -- sh -c 'sleep 60; date'

Ctrl-C detaches: the job goes on, and `titan jobs logs -f JOB` comes back to it. The exit code is that of the job.")]
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
    /// Print the job as it would be submitted, as JSON, and submit nothing.
    #[arg(long, conflicts_with_all = ["detach", "explain"])]
    pub dry_run: bool,
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
    let job = options.job.into_job()?;
    if options.dry_run {
        return session.print_lines(&[job]);
    }
    let before = interrupt::say_on_ctrl_c(IN_DOUBT.to_owned())?;
    let submitted = session.client.submit_job(&job, options.explain).await.map_err(|error| {
        let unknown = matches!(error, titan_api::client::ClientError::Unreachable { .. });
        let doubt = if unknown { " (if it was reached, `titan jobs ls` shows the job)" } else { "" };
        session.failed(format!("submit the job{doubt}"))(error)
    })?;
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
    drop(before);
    follow(&session, &submitted, options.exit, &guard).await
}

/// What Ctrl-C says before the coordinator has answered.
const IN_DOUBT: &str =
    "\nInterrupted before the coordinator answered; `titan jobs ls` shows the job if it was accepted.";

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
    if session.format.is_table() {
        logs::follow(session, id, None, &mut progress).await?;
    }
    let job = ended::job(session, id).await?;
    progress.stop();
    if !session.format.is_table() {
        show::print(session, &job)?;
    }
    let verdict = ended::verdict(&job, exit);
    if session.format.is_table() && (verdict.is_ok() || guard.outcome().is_err()) {
        session.remark(&format!("[titan: {}]", ended::sentence(&job)));
    }
    guard.outcome().and(verdict)
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
    let ruled_out = explanation.ruled_out.iter();
    text + &lines(ruled_out.map(|r| format!("ruled out by {}: {}", clean(&r.reason), r.agents)))
}
