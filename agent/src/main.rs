//! The program `titan-agent`.

use std::process::ExitCode;

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

fn main() -> anyhow::Result<ExitCode> {
    let program = Program::parse();
    titan_agent::execute(
        program.command,
        vec![std::env::current_exe()?.into_os_string()],
        program.output == Output::Json,
    )
}
