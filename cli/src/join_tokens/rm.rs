//! `titan join-tokens rm`: revokes join tokens.

use clap::Args;
use titan_api::ids::CredentialId;

use crate::{failure::Failure, session::Session};

/// Arguments of `titan join-tokens rm`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The tokens' ids, as `titan join-tokens ls` shows them.
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<CredentialId>,
}

/// Revokes tokens, which harms nobody who has joined; it stops at the first where that fails.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: &Options) -> Result<(), Failure> {
    for id in &options.ids {
        session.client.delete_join_token(id).await.map_err(session.failed(format!("revoke join token {id}")))?;
        if session.format.is_table() {
            session.print(&format!("{id} is revoked\n"))?;
        }
    }
    Ok(())
}
