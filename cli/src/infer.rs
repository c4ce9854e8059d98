//! `titan infer`: one question to a model, answered on standard output as it comes.

use std::io::{Read, Write, stdin, stdout};

use clap::Args;
use serde_json::{Value, json};
use titan_api::client::Answer;

use crate::{failure::Failure, render::clean_text, session::Session};

/// Arguments of `titan infer`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The model, as `titan models ls` names it.
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// What to ask; `-` reads it from standard input.
    #[arg(value_name = "PROMPT")]
    pub prompt: String,
    /// What the model should be told before.
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
}

impl Options {
    /// Whether the prompt comes from standard input.
    #[must_use]
    pub fn reads_stdin(&self) -> bool {
        self.prompt == "-"
    }
}

/// Asks, and prints the answer. Ctrl-C ends the command, and with it the model's work.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: Session, options: Options) -> Result<(), Failure> {
    let prompt = if options.reads_stdin() { all_of_stdin()? } else { options.prompt };
    let mut messages = system(options.system.as_deref());
    messages.push(json!({ "role": "user", "content": prompt }));
    let asking = session.client.chat(&options.model, &messages, None);
    let mut answer = asking.await.map_err(session.failed(format!("ask {}", options.model)))?;
    show(&session, &options.model, &mut answer).await?;
    session.print("\n")
}

/// The message that comes before all others, if there is one.
pub(crate) fn system(text: Option<&str>) -> Vec<Value> {
    text.map(|text| json!({ "role": "system", "content": text })).into_iter().collect()
}

/// Prints an answer as it comes, and gives the whole.
pub(crate) async fn show(session: &Session, model: &str, answer: &mut Answer) -> Result<String, Failure> {
    let mut whole = String::new();
    while let Some(text) = answer.next().await.map_err(session.failed(format!("get the whole answer of {model}")))? {
        // A model may say anything, but it must not steer the terminal.
        let mut out = stdout().lock();
        out.write_all(clean_text(&text).as_bytes())?;
        out.flush()?;
        whole += &text;
    }
    Ok(whole)
}

fn all_of_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    stdin().lock().read_to_string(&mut text)?;
    Ok(text)
}
