//! `titan events publish`: tells something to whoever listens.

use clap::Args;
use serde_json::Value;
use titan_api::{events::PublishEvent, ids::EventTopic};

use crate::{failure::Failure, render, session::Session, settings::Format};

/// Arguments of `titan events publish`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  titan events publish deploy.begun '{\"version\": \"1.2\"}'
  titan events publish deploy.done --idempotency-key deploy-17")]
pub struct Options {
    /// What it is about, in words from the general to the special with dots between them; none of the pool's own, which
    /// begin with `agent.`, `job.` or `breaker.`.
    #[arg(value_name = "TOPIC")]
    pub topic: EventTopic,
    /// What there is to say, at most 4 KiB.
    #[arg(value_name = "JSON", default_value = "null", value_parser = parse_json)]
    pub payload: Value,
    /// A word of yours for this event: the same one again publishes nothing.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

fn parse_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|e| format!("must be JSON, with text in quotation marks: {e}"))
}

/// Publishes an event and prints its number.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: Options) -> Result<(), Failure> {
    let Options { topic, payload, idempotency_key } = options;
    let event = PublishEvent { topic, payload };
    let made = session.client.publish_event(&event, idempotency_key.as_deref()).await;
    let made = made.map_err(session.failed("publish the event"))?;
    match session.format {
        Format::Json | Format::Jsonl => session.print_json(made.json()),
        Format::Table | Format::Wide | Format::Name => session.print(&render::lines([made.id])),
    }
}
