//! `titan agents add`: makes a join token and says what to type on the new machine.

use std::time::Duration;

use clap::Args;
use titan_api::{
    credentials::{CreatedJoinToken, JoinToken},
    ids::{AgentId, CredentialId},
    loopback,
};

use crate::{
    failure::Failure,
    interrupt,
    join_tokens::create::{Limits, about},
    patience,
    session::Session,
    settings::Format,
    target::checked_url,
};

/// Between two looks at who has joined.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// Longest page of join tokens.
const PAGE: u32 = 500;

/// Arguments of `titan agents add`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The line to paste holds no secret: the agent asks for the token, so that it
gets into no shell's history and no list of processes. Where nobody can type,
put the token into a file for --join-token-file, or into the variable
TITAN_JOIN_TOKEN.

Examples:
  titan agents add
  titan agents add --uses 10 --expires 1h
  titan agents add --coordinator-url https://titan.example.org --wait")]
pub struct Options {
    /// How often and how long the join token is good.
    #[command(flatten)]
    pub limits: Limits,
    /// The coordinator's URL as the new machine can reach it; without it, the one that is called here.
    #[arg(long, value_name = "URL")]
    pub coordinator_url: Option<String>,
    /// Leave --allow-jobs out of the line: the agent then takes no process jobs.
    #[arg(long)]
    pub no_jobs: bool,
    /// Wait until as many machines have joined as the token has uses, or until it has expired (exit code 8).
    #[arg(long)]
    pub wait: bool,
}

/// Makes the token and prints the line.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: Options) -> Result<(), Failure> {
    if session.format == Format::Name {
        return Err(Failure::Usage("with -o name the join token would be lost; use -o json".to_owned()));
    }
    let url = match &options.coordinator_url {
        Some(url) => checked_url(url, "--coordinator-url")?,
        None => session.client.base().to_owned(),
    };
    let wanted = options.limits.wanted();
    let created = session.client.create_join_token(&wanted).await.map_err(session.failed("make the join token"))?;
    let line = line(&url, options.no_jobs);
    if session.format.is_json() {
        session.print_lines(&[serde_json::json!({ "command": line, "join_token": created })])?;
    } else {
        session.print(&instructions(&line, &created))?;
        remarks(session, &url, options.no_jobs);
    }
    if options.wait { wait(session, &created.record).await } else { Ok(()) }
}

fn line(url: &str, no_jobs: bool) -> String {
    let jobs = if no_jobs { "" } else { " --allow-jobs" };
    format!("titan agent run --coordinator {url}{jobs} --join-token-file -")
}

fn instructions(line: &str, created: &CreatedJoinToken) -> String {
    format!(
        "Run this on the new machine:\n\n  {line}\n\nand paste this when it asks for the join token ({}):\n\n  {}\n",
        about(&created.record),
        created.token
    )
}

fn remarks(session: &Session, url: &str, no_jobs: bool) {
    if loopback::is_url(url) {
        session.remark(&format!(
            "\n{url} is this machine alone; for another one say how it is reached: --coordinator-url URL"
        ));
    } else if url.starts_with("http://") {
        session.remark(&format!(
            "\n{url} is not encrypted: whoever is on the way can read what jobs write; use https if you can"
        ));
    }
    if !no_jobs {
        session.remark(
            "\nWith --allow-jobs, whoever may submit jobs can run programs there. As root, add --job-user ACCOUNT.",
        );
    }
}

/// Tells of each agent that joins.
async fn wait(session: &Session, token: &JoinToken) -> Result<(), Failure> {
    let left = format!("\nThe token stays good; `titan join-tokens rm {}` revokes it.", token.id);
    let _guard = interrupt::say_on_ctrl_c(left)?;
    let mut joined: Vec<AgentId> = Vec::new();
    while joined.len() < usize::try_from(token.uses).unwrap_or(usize::MAX) {
        let Some(now) = used_by(session, &token.id).await? else {
            return Err(Failure::TimedOut(format!("the join token has expired; {} have joined", joined.len())));
        };
        for agent in now.iter().filter(|agent| !joined.contains(agent)) {
            session.remark(&format!("{agent} has joined"));
        }
        joined = now;
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Ok(())
}

/// Who has joined with a token; none if it is no more.
async fn used_by(session: &Session, id: &CredentialId) -> Result<Option<Vec<AgentId>>, Failure> {
    let mut cursor: Option<String> = None;
    loop {
        let ask = async || session.client.join_tokens(Some(PAGE), cursor.as_deref()).await;
        let list = patience::answer(session, ask).await;
        let list = list.map_err(session.failed("see who has joined"))?.into_value();
        if let Some(token) = list.join_tokens.into_iter().find(|token| token.id == *id) {
            return Ok(Some(token.used_by));
        }
        match list.next_cursor {
            Some(next) => cursor = Some(next),
            None => return Ok(None),
        }
    }
}
