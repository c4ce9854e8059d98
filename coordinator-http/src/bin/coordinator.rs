//! The coordinator's own program.

use std::process::ExitCode;

use clap::Parser;

/// Steers a fleet of GPU boxes; everything that it knows is in Redis.
#[derive(Debug, Parser)]
#[command(name = "titan-coordinator", version)]
struct Program {
    #[command(flatten)]
    command: titan_coordinator::Command,
}

#[tokio::main]
async fn main() -> ExitCode {
    match titan_coordinator::execute(Program::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("titan-coordinator: {error:#}");
            ExitCode::FAILURE
        }
    }
}
