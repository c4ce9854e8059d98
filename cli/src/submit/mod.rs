//! `titan submit`: submits a job and follows its output.

mod spec;

use clap::Args;
use titan_api::{
    client::Reply,
    ids::JobId,
    jobs::{JobState, SubmittedJob},
    scheduler::Explanation,
};

use crate::{
    failure::Failure,
    interrupt,
    jobs::{ended, logs, show},
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
#[command(after_help = "\
Examples:
  titan submit -- echo hi
  titan submit --gpus 1 --vram 16G -- python train.py --epochs 3
  titan submit --detach -o name -- sh -c 'sleep 60; date'")]
pub struct Options {
    /// Print the job's id and do not wait for it.
    #[arg(short, long)]
    pub detach: bool,
    /// Say on standard error how the agent was chosen.
    #[arg(long)]
    pub explain: bool,
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
    let job = options.job.into_job()?;
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
    let _guard = interrupt::on_ctrl_c(interrupt::detached(&submitted.id));
    if session.format == Format::Table {
        eprintln!("{}", announce(&submitted));
        logs::follow(&session, &submitted.id).await?;
    }
    finish(&session, &submitted.id).await
}

async fn finish(session: &Session, id: &JobId) -> Result<(), Failure> {
    let job = ended::job(session, id).await?;
    if session.format != Format::Table {
        show::print(session, &job)?;
    }
    ended::verdict(&job)?;
    if session.format == Format::Table {
        eprintln!("[titan: {}]", ended::sentence(&job));
    }
    Ok(())
}

fn print(session: &Session, submitted: &Reply<SubmittedJob>) -> Result<(), Failure> {
    match session.format {
        Format::Json | Format::Jsonl => session.print_json(submitted.json()),
        Format::Name => session.print(&format!("{}\n", submitted.id)),
        Format::Table => {
            eprintln!("{}", announce(submitted));
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
    let headings = ["SCORE", "MEMORY", "LOAD", "ROUND TRIP", "PERFORMANCE"].map(|h| Column::new(h).right());
    let mut table = Table::new(&[&[Column::new("AGENT")], headings.as_slice()].concat());
    for candidate in &explanation.candidates {
        let p = &candidate.parts;
        let halved = if candidate.degraded { " (degraded: halved)" } else { "" };
        let numbers = [candidate.score, p.vram, p.load, p.rtt, p.performance].map(|part| format!("{part:.3}").into());
        table.row([vec![format!("{}{halved}", candidate.agent_id).into()], numbers.to_vec()].concat());
    }
    text += &table.render(Style::PLAIN);
    let ruled_out = explanation.ruled_out.iter();
    text + &lines(ruled_out.map(|r| format!("ruled out by {}: {}", clean(&r.reason), r.agents)))
}
