//! One question to a real model, through the interface that everybody uses, with the answer as it is written.

use std::{io::Write, time::Duration};

use anyhow::{Context as _, bail};
use serde_json::json;
use titan_api::client::{AnswerPart, ChatWish, Client};

use crate::render::clean_text;

const QUESTION: &str = "Say hello to somebody who has just started you.";
/// The longest answer, in tokens: what is shown is that it comes as it is written.
const MOST_TOKENS: u32 = 60;
/// How long it may take, on a machine without a GPU that has much else to do.
const LIMIT: Duration = Duration::from_mins(2);
const LOOK: Duration = Duration::from_millis(200);

/// Asks, and prints the answer as it comes.
///
/// # Errors
/// If no answer comes, or not all of it.
pub(super) async fn run(client: &Client, model: &str) -> anyhow::Result<()> {
    println!("\nAsking {model}, a real model on this machine, through the coordinator and an agent:\n");
    println!("> {QUESTION}");
    let answer = tokio::time::timeout(LIMIT, ask(client, model)).await;
    println!("\n");
    let pieces = answer.with_context(|| format!("{model} did not answer within {} s", LIMIT.as_secs()))??;
    if pieces == 0 {
        bail!("{model} answered with nothing");
    }
    println!("{model} answered in {pieces} pieces, each shown when it came.");
    Ok(())
}

/// Gives in how many pieces the answer came.
async fn ask(client: &Client, model: &str) -> anyhow::Result<usize> {
    let doing = || format!("{model} cannot be asked");
    // An agent whose first look at the server was slow tells of the model with its next heartbeat.
    while !client.models().await.with_context(doing)?.models.iter().any(|listed| listed.model.name == model) {
        tokio::time::sleep(LOOK).await;
    }
    let messages = json!([{ "role": "user", "content": QUESTION }]);
    let body =
        json!({ "model": model, "messages": messages, "stream": true, "max_tokens": MOST_TOKENS, "temperature": 0 });
    let mut answer = client.stream_chat(&body, &ChatWish::default()).await.with_context(doing)?;
    let mut pieces = 0;
    while let Some(part) = answer.next().await.with_context(doing)? {
        if let AnswerPart::Text(text) = part
            && !text.is_empty()
        {
            pieces += 1;
            print!("{}", clean_text(&text));
            std::io::stdout().flush()?;
        }
    }
    Ok(pieces)
}
