//! `titan join-tokens create`: makes a join token. Standard output gets the token alone, and standard error what it is.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use titan_api::{
    credentials::{CreateJoinToken, JoinToken},
    limits,
};

use crate::{
    credential::{Shown, expiry, milliseconds},
    failure::Failure,
    render::units,
    session::Session,
};

/// How often and how long a join token is good.
#[derive(Debug, Clone, Copy, Args)]
pub struct Limits {
    /// How many machines may join with it.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub uses: u32,
    /// How long it is good for, at most 30 days.
    #[arg(long, default_value = "10m", value_name = "DURATION", value_parser = expiry(MOST, "30 days"))]
    pub expires: Duration,
}

const MOST: Duration = Duration::from_millis(*limits::JOIN_LIFE_MS.end());

impl Limits {
    /// What to ask the coordinator for.
    #[must_use]
    pub fn wanted(self) -> CreateJoinToken {
        CreateJoinToken { uses: self.uses, expires_in_ms: milliseconds(self.expires) }
    }
}

/// Arguments of `titan join-tokens create`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How often and how long.
    #[command(flatten)]
    pub limits: Limits,
    /// Write the token into this new file, readable by you alone, instead of showing it.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Makes a token.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: Options) -> Result<(), Failure> {
    let shown = Shown::prepare(session, options.out)?;
    let wanted = options.limits.wanted();
    let created = session.client.create_join_token(&wanted).await.map_err(session.failed("make the join token"))?;
    let (id, about) = (&created.record.id, about(&created.record));
    session.remark(&format!("join token {id}, {about}. {}", shown.announced()));
    shown.show(session, &created.token, &created)
}

/// For which pool, how often and how long a token is good.
#[must_use]
pub fn about(token: &JoinToken) -> String {
    let machines = if token.uses == 1 { "1 machine".to_owned() } else { format!("{} machines", token.uses) };
    // By one clock: that of this machine may be a little behind, and 10 minutes would be called 11.
    let left = units::left(token.expires_at, token.created_at);
    format!("good for {machines} to join pool {} within {left}", token.pool)
}
