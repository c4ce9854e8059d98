//! The program `titan-agent`.

use std::{io::Write, process::ExitCode};

use anyhow::Context;
use clap::Parser;

/// Takes jobs from a TitanCompute coordinator and runs them on this box. It only ever calls out.
#[derive(Debug, Parser)]
#[command(name = "titan-agent", version, about, after_help = AFTER_HELP)]
struct Program {
    #[command(flatten)]
    command: titan_agent::Command,
    /// How `doctor` prints what it has found.
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

const AFTER_HELP: &str = "The join token is read from the environment variable TITAN_JOIN_TOKEN or from \
    --join-token-file, never from an argument, since arguments can be seen by everyone on the box.";

fn main() -> ExitCode {
    let program = Program::parse();
    match run(program) {
        Ok(code) => code,
        Err(error) => {
            // In a line: what people set wrong is no matter of a backtrace, even where the environment asks for one.
            let _ = writeln!(std::io::stderr(), "titan-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: Program) -> anyhow::Result<ExitCode> {
    let this = std::env::current_exe().context("the path of this program is unknown")?;
    titan_agent::execute(program.command, vec![this.into_os_string()], program.output == Output::Json)
}
