//! `titan models pull`: has an agent get a model, and shows how far it is.

use clap::Args;
use titan_api::{
    client::{OutputNews, Reply},
    ids::AgentId,
    jobs::SubmittedJob,
    output::Stream,
    pull::{PullModel, PullProgress},
};

use crate::{
    failure::Failure,
    follow::Follower,
    interrupt,
    jobs::{ended, show},
    patience::Patience,
    printer,
    progress::{hide, remark, show_line},
    render::{clean, units},
    session::Session,
    settings::Format,
    submit::once::{self, Call},
};

/// Arguments of `titan models pull`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  titan models pull llama3.1:8b --agent box-1
  titan models pull hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF --agent box-1 --detach

The agent's Ollama gets it, unless the policy of its box forbids that. Ctrl-C
detaches, and the pull goes on; `titan jobs cancel` ends it. What has come by
then is kept: the same command goes on from there.")]
pub struct Options {
    /// The model, as Ollama's library names it.
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// The agent whose box is to have it.
    #[arg(long, value_name = "AGENT")]
    pub agent: AgentId,
    /// Print the id of the job that pulls it, and do not wait.
    #[arg(long)]
    pub detach: bool,
    /// The same key as for an earlier pull means that one; made up by default.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

/// Has it pulled, and follows that to its end.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: Options) -> Result<(), Failure> {
    let wish = PullModel { model: options.model, agent_id: options.agent };
    let doing = format!("have agent {} pull {}", wish.agent_id, clean(&wish.model));
    let call = Call::new(options.idempotency_key, doing, None)?;
    let send = async |key: &str| session.client.pull_model(&wish, key).await;
    let pulling = once::until_answered(session, &call, send).await?;
    if options.detach {
        return print(session, &pulling);
    }
    let _guard = interrupt::detach_on_ctrl_c(&pulling.id)?;
    if session.format.is_table() {
        session.remark(&format!("[titan: job {} pulls {} on {}]", pulling.id, clean(&wish.model), wish.agent_id));
        let mut shown = Shown::new(session);
        Follower::new(session, &pulling.id, Patience::default()).run(|event| shown.take(&event.what)).await?;
        hide();
    }
    let job = ended::job(session, &pulling.id).await?;
    if !session.format.is_table() {
        show::print(session, &job)?;
    }
    ended::verdict(&job, ended::ExitCode { plain_exit_code: true })?;
    if session.format.is_table() {
        session.print(&format!("{} has {}\n", wish.agent_id, clean(&wish.model)))?;
    }
    Ok(())
}

fn print(session: &Session, pulling: &Reply<SubmittedJob>) -> Result<(), Failure> {
    match session.format {
        Format::Json | Format::Jsonl => session.print_json(pulling.json()),
        Format::Name | Format::Table | Format::Wide => session.print(&format!("{}\n", pulling.id)),
    }
}

/// What is shown of the progress: one line that changes on a terminal, else a line for each step and each tenth of it.
struct Shown<'a> {
    session: &'a Session,
    begun: Vec<u8>,
    last: Option<(String, u64)>,
}

impl<'a> Shown<'a> {
    fn new(session: &'a Session) -> Self {
        Self { session, begun: Vec::new(), last: None }
    }

    fn take(&mut self, news: &OutputNews) -> Result<(), Failure> {
        match news {
            OutputNews::Attempt(_) => self.begun.clear(),
            OutputNews::Output(output) => {
                for chunk in output.chunks.iter().filter(|chunk| chunk.stream == Stream::Stdout) {
                    self.begun.extend_from_slice(&printer::decode(chunk)?);
                }
            }
            OutputNews::Gap(_) | OutputNews::End(_) => {}
        }
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.begun.drain(..=end).collect();
            // What an agent writes that is no progress shows nothing.
            if let Ok(progress) = serde_json::from_slice(&line) {
                self.show(&progress);
            }
        }
        Ok(())
    }

    fn show(&mut self, progress: &PullProgress) {
        if let Some(style) = self.session.progress_style() {
            return show_line(&words(progress), style);
        }
        let now = (progress.status.clone(), tenths(progress).unwrap_or(0));
        if self.last.as_ref() != Some(&now) {
            remark(&clean(&words(progress)));
            self.last = Some(now);
        }
    }
}

/// How many tenths of the part are there.
fn tenths(progress: &PullProgress) -> Option<u64> {
    let total = progress.total_bytes.filter(|total| *total > 0)?;
    Some(progress.completed_bytes.unwrap_or(0).min(total).saturating_mul(10) / total)
}

fn words(progress: &PullProgress) -> String {
    let Some(total) = progress.total_bytes.filter(|total| *total > 0) else { return progress.status.clone() };
    let completed = progress.completed_bytes.unwrap_or(0).min(total);
    let percent = completed.saturating_mul(100) / total;
    format!("{}: {percent} % of {}", progress.status, units::bytes(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_a_share_of_what_is_fetched_and_no_lie_breaks_it() {
        let progress = |total, completed| PullProgress {
            status: "pulling abc".to_owned(),
            total_bytes: total,
            completed_bytes: completed,
        };
        assert_eq!(words(&progress(Some(2_048), Some(512))), "pulling abc: 25 % of 2.0 KB");
        assert_eq!(words(&progress(None, None)), "pulling abc");
        assert_eq!(words(&progress(Some(0), Some(7))), "pulling abc");
        assert_eq!(words(&progress(Some(10), Some(u64::MAX))), "pulling abc: 100 % of 10 B");
        assert_eq!(
            [None, Some(0), Some(1), Some(10)].map(|n| tenths(&progress(n, Some(1)))),
            [None, None, Some(10), Some(1)]
        );
    }
}
