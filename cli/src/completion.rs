//! `titan completion`: what a shell needs to complete commands and flags.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::{failure::Failure, help, session::print};

/// Arguments of `titan completion`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  titan completion bash > ~/.local/share/bash-completion/completions/titan
  titan completion zsh > ~/.zfunc/_titan          # with fpath+=~/.zfunc before compinit in ~/.zshrc
  titan completion fish > ~/.config/fish/completions/titan.fish")]
pub struct Options {
    /// The shell.
    pub shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// [`Failure`] if it cannot be written.
pub fn run(options: &Options) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut shown(&help::command()), "titan", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// The command line without the commands that are not for people; the generator would offer those too.
fn shown(command: &Command) -> Command {
    let below = command.get_subcommands().filter(|command| !command.is_hide_set()).map(shown);
    let name = command.get_name().to_owned();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let groups = command.get_groups().cloned();
    Command::new(name).about(about).args(arguments).groups(groups).subcommands(below)
}
