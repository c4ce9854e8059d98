//! One answer of a model, shown as it is written.

use std::io::IsTerminal;

use titan_api::client::AnswerPart;
use tokio::signal::unix::{Signal, SignalKind, signal};

use anyhow::Context as _;

use super::{conversation::Message, wish::Wish};
use crate::{failure::Failure, progress::Progress, render::clean_text, session::Session};

/// How an answer ended.
#[derive(Debug)]
pub struct Answered {
    /// What came of it.
    pub text: String,
    /// Whether Ctrl-C stopped it.
    pub stopped: bool,
}

/// Hears Ctrl-C.
///
/// # Errors
/// If the system does not let signals be listened for.
pub fn listen() -> Result<Signal, Failure> {
    Ok(signal(SignalKind::interrupt()).context("signals cannot be listened for")?)
}

/// Asks, and writes the answer to standard output as it comes. Ctrl-C stops it, at the model's backend too.
///
/// # Errors
/// [`Failure`], as for every command; what came before it has been written.
pub async fn stream(
    session: &Session,
    model: &str,
    messages: &[Message],
    wish: &Wish,
    interrupt: &mut Signal,
) -> Result<Answered, Failure> {
    let mut answered = Answered { text: String::new(), stopped: false };
    let result = {
        let work = write(session, model, messages, wish, &mut answered.text);
        tokio::select! {
            result = work => Some(result),
            _ = interrupt.recv() => None,
        }
    };
    answered.stopped = result.is_none();
    if !answered.text.ends_with('\n') && !answered.text.is_empty() {
        session.print("\n")?;
    }
    match result {
        Some(Err(failure)) => Err(failure),
        _ => Ok(answered),
    }
}

async fn write(
    session: &Session,
    model: &str,
    messages: &[Message],
    wish: &Wish,
    text: &mut String,
) -> Result<(), Failure> {
    let body = wish.body(model, messages, true);
    let on_terminal = std::io::stdout().is_terminal();
    let doing = || format!("get an answer of {model}");
    let mut progress = Progress::of_answer(session, model);
    let mut answer =
        session.client.stream_chat(&body, &wish.of_coordinator()).await.map_err(session.failed(doing()))?;
    while let Some(part) = answer.next().await.map_err(session.failed(doing()))? {
        if let AnswerPart::Text(piece) = part {
            progress.stop();
            text.push_str(&piece);
            let shown = if on_terminal { clean_text(&piece) } else { piece };
            session.print(&shown)?;
        }
    }
    Ok(())
}
