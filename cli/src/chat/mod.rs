//! `titan chat`: a conversation with a model, on this terminal.

pub mod answer;
pub mod conversation;
pub mod wish;

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};

use anyhow::Context as _;
use clap::Args;
use tokio::{
    signal::unix::Signal,
    sync::mpsc::{Receiver, channel},
};

use self::{conversation::Conversation, wish::Wish};
use crate::{failure::Failure, progress, render::units, session::Session};

/// Arguments of `titan chat`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  titan models ls
  titan chat llama3.1:8b
  titan chat llama3.1:8b --system 'Answer in one sentence.'

Ctrl-C stops an answer, not the conversation; Ctrl-D or /exit ends it. /reset
begins anew. A line that ends in \\ goes on in the next one.")]
pub struct Options {
    /// How to answer.
    #[command(flatten)]
    pub wish: Wish,
    /// The model, as `titan models ls` names it.
    #[arg(value_name = "MODEL")]
    pub model: String,
}

const PROMPT: &str = "> ";
const MORE: &str = "… ";
const NO_QUESTION: &str =
    "standard input holds no question: type it at a terminal, or pipe it in, as in `echo 'Why?' | titan chat MODEL`";

/// Talks until standard input ends.
///
/// # Errors
/// [`Failure`] if an answer fails and nobody is there to ask again, the input ends before anything was asked and nobody is
/// there to ask it, or the terminal cannot be written.
pub async fn run(session: Session, mut options: Options) -> Result<(), Failure> {
    if !session.format.is_table() {
        return Err(Failure::Usage("a conversation has no -o; `titan infer` prints one answer as JSON".to_owned()));
    }
    options.wish.session.get_or_insert_with(new_session);
    let mut chat = Chat {
        is_at_terminal: stdin().is_terminal(),
        lines: lines(),
        interrupt: answer::listen()?,
        conversation: Conversation::new(options.wish.system.as_deref()),
        session,
        options,
    };
    if chat.is_at_terminal {
        progress::remark(&format!("[titan: {}; Ctrl-C stops an answer, Ctrl-D ends]", chat.options.model));
    }
    let mut was_asked = chat.is_at_terminal;
    while let Some(question) = chat.question().await? {
        match question.trim() {
            "" => {}
            "/exit" | "/quit" => return Ok(()),
            "/reset" => chat.conversation = Conversation::new(chat.options.wish.system.as_deref()),
            "/help" => progress::remark("/reset begins anew, /exit ends; anything else goes to the model"),
            _ => {
                was_asked = true;
                chat.turn(&question).await?;
            }
        }
    }
    // In a script, an input that is empty by mistake would otherwise pass for an answer.
    if was_asked { Ok(()) } else { Err(Failure::Usage(NO_QUESTION.to_owned())) }
}

/// A name for a conversation, so that the agent that has it warm is asked again.
fn new_session() -> String {
    format!("chat-{}-{}", std::process::id(), units::now().as_ms())
}

/// The lines of standard input, read on a thread of their own, so that Ctrl-C is heard while nobody types.
fn lines() -> Receiver<std::io::Result<String>> {
    let (to, from) = channel(1);
    std::thread::spawn(move || {
        for line in stdin().lock().lines() {
            let is_last = line.is_err();
            if to.blocking_send(line).is_err() || is_last {
                return;
            }
        }
    });
    from
}

struct Chat {
    session: Session,
    options: Options,
    conversation: Conversation,
    is_at_terminal: bool,
    lines: Receiver<std::io::Result<String>>,
    interrupt: Signal,
}

impl Chat {
    /// What is asked next; none at the end of the input.
    async fn question(&mut self) -> Result<Option<String>, Failure> {
        let mut text = String::new();
        loop {
            self.prompt(if text.is_empty() { PROMPT } else { MORE })?;
            tokio::select! {
                line = self.lines.recv() => {
                    let Some(line) = line else {
                        self.prompt("\n")?;
                        return Ok(Some(text).filter(|text| !text.is_empty()));
                    };
                    let line = line.context("standard input cannot be read as text")?;
                    let Some(begun) = line.strip_suffix('\\') else { return Ok(Some(text + &line)) };
                    text = text + begun + "\n";
                }
                _ = self.interrupt.recv() => {
                    if !self.is_at_terminal {
                        return Err(Failure::Interrupted);
                    }
                    text.clear();
                    progress::remark("\n[titan: Ctrl-D or /exit ends the conversation]");
                }
            }
        }
    }

    async fn turn(&mut self, question: &str) -> Result<(), Failure> {
        self.conversation.ask(question);
        let Options { model, wish } = &self.options;
        let messages = self.conversation.messages();
        let answered = answer::stream(&self.session, model, messages, wish, &mut self.interrupt).await;
        match answered {
            Ok(answered) => {
                if answered.stopped {
                    progress::remark("[titan: stopped]");
                }
                self.conversation.answer(answered.text);
                Ok(())
            }
            // Whoever sits there may ask again; a script cannot.
            Err(failure @ Failure::Call { .. }) if self.is_at_terminal => {
                self.conversation.answer(String::new());
                let _ = failure.report();
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    fn prompt(&self, text: &str) -> Result<(), Failure> {
        if self.is_at_terminal {
            write!(stderr(), "{text}").and_then(|()| stderr().flush()).context("the terminal cannot be written")?;
        }
        Ok(())
    }
}
