//! `titan route`: where a request to a model would go, and why.

use clap::Args;
use titan_api::{
    client::Reply,
    inference::{InferenceMode, RequestInference, RoutedInference},
};

use crate::{
    failure::Failure,
    render::{clean, style::Style, table::pairs},
    session::Session,
    settings::Format,
    submit::explain,
};

/// Arguments of `titan route`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The model, as `titan models ls` names it.
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// The conversation that the request would belong to.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Say how the agent was chosen.
    #[arg(long)]
    pub explain: bool,
}

/// Asks for a way to a model, and shows it. If the agent can be reached, a place there is kept for 15 seconds.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: Session, options: Options) -> Result<(), Failure> {
    let wish = RequestInference { client_id: None, model: options.model, user: options.user };
    let doing = format!("find a way to {}", wish.model);
    let routed = session.client.route(&wish, options.explain).await.map_err(session.failed(doing))?;
    print(&session, &routed)
}

fn print(session: &Session, routed: &Reply<RoutedInference>) -> Result<(), Failure> {
    match session.format {
        Format::Json | Format::Jsonl => session.print_json(routed.json()),
        Format::Name => session.print(&format!("{}\n", routed.request_id)),
        Format::Table | Format::Wide => {
            session.print(&render(routed, session.style))?;
            let explanation = routed.explanation.as_ref().map(explain).unwrap_or_default();
            session.print(&explanation)
        }
    }
}

/// The way, without the ticket: that is a secret.
fn render(routed: &RoutedInference, style: Style) -> String {
    let mode = match routed.mode {
        InferenceMode::Direct => "direct: clients call the agent",
        InferenceMode::Relay => "relay: through the coordinator",
    };
    pairs(
        &[
            ("mode", mode.into()),
            ("agent", routed.agent_id.as_ref().map_or("none is free now", |agent| agent.as_str()).into()),
            ("endpoint", clean(&routed.endpoint).as_str().into()),
            ("score", routed.score.map(|score| format!("{score:.3}")).unwrap_or_default().into()),
            ("request", routed.request_id.as_str().into()),
        ],
        style,
    )
}
