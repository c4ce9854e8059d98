//! `titan keys rm`: revokes API keys.

use clap::Args;
use titan_api::ids::CredentialId;

use crate::{failure::Failure, prompt, session::Session};

/// Arguments of `titan keys rm`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Do not ask first. Needed where standard input is not a terminal.
    #[arg(long)]
    pub yes: bool,
    /// The keys' ids, as `titan keys ls` shows them.
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<CredentialId>,
}

/// Revokes keys; it stops at the first where that fails.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: &Options) -> Result<(), Failure> {
    if !options.yes {
        let ids = options.ids.iter().map(CredentialId::as_str).collect::<Vec<_>>().join(", ");
        prompt::confirm(
            &format!("Revoke {ids}? Whoever uses it is locked out within 5 seconds."),
            "revoking a key cannot be undone; say --yes to do it without being asked",
        )?;
    }
    for id in &options.ids {
        session.client.delete_key(id).await.map_err(session.failed(format!("revoke API key {id}")))?;
        if session.format.is_table() {
            session.print(&format!("{id} is revoked\n"))?;
        }
    }
    Ok(())
}
