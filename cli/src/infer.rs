//! `titan infer`: one question to a model.

use std::io::{IsTerminal, Read, stdin};

use anyhow::Context as _;
use clap::Args;

use crate::{
    chat::{
        answer::{self, Answered},
        conversation::Conversation,
        wish::Wish,
    },
    failure::Failure,
    progress::Progress,
    session::Session,
    settings::Format,
};

/// What is read of standard input at most: 4 MiB.
const MOST_BYTES: u64 = 4 * 1_024 * 1_024;

/// Arguments of `titan infer`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  titan infer llama3.1:8b 'Why is the sky blue?'
  git diff | titan infer llama3.1:8b --system 'Write a commit message for this change.'
  titan infer -o json llama3.1:8b hello | jq .usage")]
pub struct Options {
    /// How to answer.
    #[command(flatten)]
    pub wish: Wish,
    /// The model, as `titan models ls` names it.
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// The question; without it, or with `-`, it is read from standard input.
    #[arg(value_name = "PROMPT")]
    pub prompt: Option<String>,
}

impl Options {
    /// Whether the question is read from standard input.
    #[must_use]
    pub fn reads_stdin(&self) -> bool {
        self.prompt.as_deref().is_none_or(|prompt| prompt == "-")
    }
}

/// Asks, and prints the answer: as it is written, or with `-o json` whole, as it came.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: Session, options: Options) -> Result<(), Failure> {
    if session.format == Format::Name {
        return Err(Failure::Usage("an answer has no id of its own to print; -o json prints it whole".to_owned()));
    }
    let reads_stdin = options.reads_stdin();
    let Options { wish, model, prompt } = options;
    let mut conversation = Conversation::new(wish.system.as_deref());
    conversation.ask(&prompt.filter(|_| !reads_stdin).map_or_else(piped, said)?);
    if !session.format.is_table() {
        let body = wish.body(&model, conversation.messages(), false);
        let doing = format!("get an answer of {model}");
        let progress = Progress::of_answer(&session, &model);
        let reply = session.client.complete_chat(&body, &wish.of_coordinator()).await;
        drop(progress);
        let reply = reply.map_err(session.failed(doing))?;
        return session.print_json(reply.json());
    }
    let mut interrupt = answer::listen()?;
    let Answered { stopped, .. } =
        answer::stream(&session, &model, conversation.messages(), &wish, &mut interrupt).await?;
    if stopped { Err(Failure::Interrupted) } else { Ok(()) }
}

fn said(question: String) -> Result<String, Failure> {
    if question.trim().is_empty() { Err(Failure::Usage("the question is empty".to_owned())) } else { Ok(question) }
}

fn piped() -> Result<String, Failure> {
    if stdin().is_terminal() {
        return Err(Failure::Usage("there is no question: give it as an argument, or pipe it in".to_owned()));
    }
    let mut text = String::new();
    let read = stdin().lock().take(MOST_BYTES + 1).read_to_string(&mut text);
    read.context("standard input cannot be read as text")?;
    if text.len() as u64 > MOST_BYTES {
        return Err(Failure::Usage("standard input holds more than 4 MiB".to_owned()));
    }
    if text.trim().is_empty() { Err(Failure::Usage("standard input holds no question".to_owned())) } else { Ok(text) }
}
