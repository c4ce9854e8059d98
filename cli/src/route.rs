//! `titan route`: which agent would answer for a model, and why.

use clap::Args;
use titan_api::{
    client::Reply,
    inference::{InferenceMode, RequestInference, RoutedInference},
};

use crate::{failure::Failure, render::table::pairs, session::Session, settings::Format, submit};

/// Arguments of `titan route`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
With -o json the reply is printed as it came, with the ticket that lets its
bearer call the agent once. Nobody has to use it: the place is free again
after 15 seconds, and `titan jobs ls` then says of the request that its ticket
was not used. A key may have 16 such tickets at a time.")]
pub struct Options {
    /// Say how the agent was chosen.
    #[arg(long)]
    pub explain: bool,
    /// The conversation that the request belongs to: the agent that has it warm goes before.
    #[arg(long, alias = "user", value_name = "ID")]
    pub session: Option<String>,
    /// The model, as `titan models ls` names it.
    #[arg(value_name = "MODEL")]
    pub model: String,
}

/// Asks where a request would go.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: Session, options: Options) -> Result<(), Failure> {
    let wish = RequestInference { client_id: None, model: options.model, user: options.session };
    let doing = format!("route a request for {}", wish.model);
    let routed = session.client.route_inference(&wish, options.explain).await.map_err(session.failed(doing))?;
    if let Some(explanation) = routed.explanation.as_ref().filter(|_| session.format.is_table()) {
        eprint!("{}", submit::explain(explanation));
    }
    print(&session, &routed)
}

fn print(session: &Session, routed: &Reply<RoutedInference>) -> Result<(), Failure> {
    let agent = routed.agent_id.as_ref().map_or_else(|| "none has room now".to_owned(), ToString::to_string);
    match session.format {
        Format::Json | Format::Jsonl => session.print_json(routed.json()),
        Format::Name => session.print(&format!("{agent}\n")),
        Format::Table | Format::Wide => {
            let mode = match routed.mode {
                InferenceMode::Direct => "direct: the agent can be called with a ticket",
                InferenceMode::Relay => "relay: the coordinator passes requests on",
            };
            let score = routed.score.map(|score| format!("{score:.3}")).unwrap_or_default();
            session.print(&pairs(
                &[
                    ("agent", agent.into()),
                    ("score", score.into()),
                    ("mode", mode.into()),
                    ("endpoint", (&routed.endpoint).into()),
                    ("request", (&routed.request_id).into()),
                ],
                session.style,
            ))
        }
    }
}
