//! The reference of all commands, in Markdown, from the definition that the program itself reads.

use anyhow::Context as _;
use clap::{Arg, Command};

use crate::{help, render::lines};

/// The line after which the reference stands, to the end of the file.
pub const MARK: &str = "<!-- From here on this file is generated: `make docs` writes it. -->";

/// A document with the reference as it has to be.
///
/// # Errors
/// If it has no place for one.
pub fn replaced(document: &str) -> anyhow::Result<String> {
    let (before, _) = document.split_once(MARK).with_context(|| format!("it has no line {MARK:?}"))?;
    Ok(format!("{before}{MARK}\n{}", text()))
}

/// The reference.
#[must_use]
pub fn text() -> String {
    let mut root = help::command();
    root.build();
    let globals: Vec<&Arg> = root.get_arguments().filter(|arg| arg.is_global_set() && !arg.is_hide_set()).collect();
    let commands: String = shown(&root).map(|command| described(command, &globals)).collect();
    format!(
        "\n## Reference\n\nEvery command but `titan agent` and `titan coordinator` takes these options:\n\n{}{commands}",
        table(&globals)
    )
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

/// A command with its own options, and those below it.
fn described(command: &Command, globals: &[&Arg]) -> String {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace("\n       ", "\n");
    let is_own = |arg: &&Arg| {
        let is_usual = ["help", "version"].contains(&arg.get_id().as_str());
        !arg.is_hide_set() && !is_usual && !globals.iter().any(|global| global.get_id() == arg.get_id())
    };
    let own: Vec<&Arg> = command.get_arguments().filter(is_own).collect();
    let own = if own.is_empty() { String::new() } else { format!("\n{}", table(&own)) };
    let after = command.get_after_long_help().or(command.get_after_help());
    let after = after.map(|text| block(&text.to_string())).unwrap_or_default();
    let below: String = shown(command).map(|command| described(command, globals)).collect();
    format!("\n### {name}\n\n{}\n{}{own}{after}{below}", prose(&about), block(&usage))
}

fn block(text: &str) -> String {
    format!("\n```text\n{}\n```\n", text.trim())
}

fn table(arguments: &[&Arg]) -> String {
    let rows = lines(arguments.iter().map(|arg| format!("| {} | {} |", spelled(arg), meaning(arg))));
    format!("| option | means |\n|---|---|\n{rows}")
}

/// How it is written: `-e`, `--env NAME`.
fn spelled(arg: &Arg) -> String {
    let takes_value = arg.get_num_args().is_some_and(|range| range.takes_values());
    let names = arg.get_value_names().unwrap_or_default().iter().filter(|_| takes_value);
    let names: Vec<&str> = names.map(clap::builder::Str::as_str).collect();
    let short = arg.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let is_optional = arg.get_num_args().is_some_and(|range| takes_value && range.min_values() == 0);
    match arg.get_long() {
        Some(long) if is_optional => format!("{short}`--{long}[={}]`", names.join(" ")),
        Some(long) => format!("{short}`{}`", [&[format!("--{long}").as_str()], names.as_slice()].concat().join(" ")),
        None => format!("`{}`", names.join(" ")),
    }
}

fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut parts = vec![prose(&help).replace('|', "\\|").replace('\n', " ")];
    let takes_value = arg.get_num_args().is_some_and(|range| range.takes_values());
    let possible = arg.get_possible_values();
    if takes_value && !possible.is_empty() {
        let values: Vec<_> = possible.iter().map(|value| format!("`{}`", value.get_name())).collect();
        parts.push(format!("One of {}.", values.join(", ")));
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if takes_value && !defaults.is_empty() {
        parts.push(format!("`{}` by default.", defaults.join(",")));
    }
    if let Some(variable) = arg.get_env() {
        parts.push(format!("Variable `{}`.", variable.to_string_lossy()));
    }
    parts.join(" ")
}

/// Help as a sentence: clap takes the last full stop away.
fn prose(help: &str) -> String {
    let help = help.trim();
    let ends = help.is_empty() || help.ends_with(['.', ':', '!', '?']);
    if ends { help.to_owned() } else { format!("{help}.") }
}
