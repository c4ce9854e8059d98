//! `titan chat`: a conversation with a model. Ctrl-C stops an answer, and Ctrl-D leaves.

use std::io::{self, BufRead, IsTerminal, Write, stderr, stdin};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use crate::{failure::Failure, infer, session::Session};

/// Arguments of `titan chat`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The model, as `titan models ls` names it.
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// What the model should be told before.
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
}

/// Converses until the end of standard input: each line is said to the model, with all that was said before.
///
/// # Errors
/// [`Failure`], as for every command. An answer that fails ends the conversation only where nobody types.
pub async fn run(session: Session, options: Options) -> Result<(), Failure> {
    let mut talk = Talk {
        is_typed: stdin().is_terminal(),
        name: format!("chat-{}", std::process::id()),
        messages: infer::system(options.system.as_deref()),
        interrupt: signal(SignalKind::interrupt()).context("signals cannot be listened for")?,
        lines: lines_of_stdin(),
        model: options.model,
        session,
    };
    if talk.is_typed {
        talk.session.remark("Ctrl-C stops an answer, Ctrl-D leaves.");
    }
    while let Some(line) = talk.hear().await? {
        talk.say(line).await?;
    }
    Ok(())
}

/// Lines of standard input. A thread of its own reads them, which nobody waits for at the end.
fn lines_of_stdin() -> mpsc::Receiver<io::Result<String>> {
    let (sender, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in stdin().lock().lines() {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// A conversation.
struct Talk {
    session: Session,
    model: String,
    /// By which the coordinator prefers the agent that has the conversation warm.
    name: String,
    messages: Vec<Value>,
    is_typed: bool,
    interrupt: Signal,
    lines: mpsc::Receiver<io::Result<String>>,
}

impl Talk {
    /// The next line that is not empty; none at the end.
    async fn hear(&mut self) -> Result<Option<String>, Failure> {
        loop {
            if self.is_typed {
                let mut out = stderr();
                write!(out, "> ")?;
                out.flush()?;
            }
            tokio::select! {
                line = self.lines.recv() => match line.transpose()? {
                    Some(line) if line.trim().is_empty() => {}
                    line => return Ok(line),
                },
                _ = self.interrupt.recv() => self.session.remark("\nCtrl-D leaves."),
            }
        }
    }

    /// Says a line and shows the answer. What was stopped, or failed, counts as not said.
    async fn say(&mut self, line: String) -> Result<(), Failure> {
        self.messages.push(json!({ "role": "user", "content": line }));
        let answering = answer(&self.session, &self.model, &self.messages, &self.name);
        let told = tokio::select! {
            told = answering => told,
            // The connection closes, which stops the model.
            _ = self.interrupt.recv() => {
                self.session.print("\n")?;
                self.session.remark("[titan: stopped]");
                self.messages.pop();
                return Ok(());
            }
        };
        match told {
            Ok(text) => self.messages.push(json!({ "role": "assistant", "content": text })),
            Err(failure) if self.is_typed => {
                let _ = failure.report();
                self.messages.pop();
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }
}

async fn answer(session: &Session, model: &str, messages: &[Value], name: &str) -> Result<String, Failure> {
    let asking = session.client.chat(model, messages, Some(name));
    let mut answer = asking.await.map_err(session.failed(format!("ask {model}")))?;
    let text = infer::show(session, model, &mut answer).await?;
    session.print("\n")?;
    Ok(text)
}
