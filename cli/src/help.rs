//! How the command line explains itself: commands in groups, and what somebody may have meant.

use std::{
    error::Error,
    ffi::OsString,
    net::AddrParseError,
    num::{IntErrorKind, ParseIntError},
};

use clap::{
    Arg, CommandFactory, FromArgMatches,
    builder::{StyledStr, Styles},
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::args::Cli;

/// The commands by what they are for; each that is shown stands in one group.
pub const GROUPS: [(&str, &[&str]); 6] = [
    ("Work", &["submit", "jobs"]),
    ("Models", &["chat", "infer", "models", "route"]),
    ("The pool", &["status", "agents", "events", "scheduler", "doctor", "audit", "sweep"]),
    ("Access", &["login", "context", "keys", "join-tokens"]),
    ("Servers", &["dev", "coordinator", "agent"]),
    ("This program", &["completion", "help"]),
];

/// The commands that are programs of their own.
const SERVERS: [&str; 2] = ["coordinator", "agent"];

/// What people who know other tools type first, and what it is called here.
const MEANT: [(&[&str], &str); 15] = [
    (&["ls", "list", "ps", "queue"], "jobs ls"),
    (&["logs", "log", "tail", "output"], "jobs logs"),
    (&["show", "get", "describe", "inspect"], "jobs show"),
    (&["result", "results"], "jobs show"),
    (&["wait"], "jobs wait"),
    (&["cancel", "stop", "kill", "delete", "rm"], "jobs cancel"),
    (&["retry", "rerun", "requeue"], "jobs retry"),
    (&["dead", "failed", "failures"], "jobs ls --state failed --attempts"),
    (&["run", "exec", "start", "create"], "submit"),
    (&["batch"], "submit --batch FILE"),
    (&["nodes", "node", "workers", "worker", "machines", "hosts"], "agents"),
    (&["model"], "models ls"),
    (&["ask", "prompt", "generate"], "infer"),
    (&["logout"], "context rm"),
    (&["server", "serve", "up"], "dev"),
];

/// The same for what is done to a thing.
const MEANT_VERB: [(&[&str], &str); 8] = [
    (&["list", "all", "ps"], "ls"),
    (&["get", "describe", "inspect", "info", "result", "results"], "show"),
    (&["remove", "delete", "revoke", "forget"], "rm"),
    (&["log", "output", "tail"], "logs"),
    (&["stop", "kill", "abort"], "cancel"),
    (&["rerun", "requeue", "again"], "retry"),
    (&["put", "change", "use"], "set"),
    (&["new", "make", "add"], "create"),
];

/// The same for what a job needs.
const MEANT_FLAG: [(&[&str], &str); 4] = [
    (&["--memory", "--mem", "--memory-mb", "--ram-mb", "-m"], "--ram"),
    (&["--vram-mb", "--gpu-memory"], "--vram"),
    (&["--depends-on", "--needs"], "--after JOB"),
    (&["--spec", "--file", "-f"], "--batch FILE"),
];

/// Reads the command line; ends the process if there is nothing to do but to explain it.
#[must_use]
pub fn parse(arguments: &[OsString]) -> Cli {
    let cli = command().try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    cli.unwrap_or_else(|error| with_what_was_meant(error, arguments).exit())
}

/// The command line with its commands in groups.
#[must_use]
pub fn command() -> clap::Command {
    let command = Cli::command();
    let groups = groups(&command);
    let (heading, reset) =
        (command.get_styles().get_header().render(), command.get_styles().get_header().render_reset());
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{heading}Options:{reset}\n{{options}}{{after-help}}"
    );
    without_flags_of_clients(command.help_template(template))
}

/// `titan agent` and `titan coordinator` call nobody as a client does, so the flags of those that do stand not in their
/// help; but for `-o`, by which `agent doctor` goes.
fn without_flags_of_clients(mut command: clap::Command) -> clap::Command {
    let flags: Vec<Arg> = command.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    for server in command.get_subcommands_mut().filter(|command| SERVERS.contains(&command.get_name())) {
        let doctor = server.get_subcommands_mut().find(|command| command.get_name() == "doctor");
        if let Some(doctor) = doctor {
            *doctor = std::mem::take(doctor).args(flags.iter().filter(|flag| flag.get_id() == "output"));
        }
        let is_new = |flag: &&Arg| !server.get_arguments().any(|own| own.get_id() == flag.get_id());
        let hidden: Vec<Arg> = flags.iter().filter(is_new).map(|flag| flag.clone().hide(true)).collect();
        *server = std::mem::take(server).args(hidden);
    }
    command
}

fn groups(command: &clap::Command) -> String {
    let styles = command.get_styles();
    let width = GROUPS.iter().flat_map(|(_, names)| *names).map(|name| name.len()).max().unwrap_or_default();
    let line = |name: &&str| {
        let about = command.find_subcommand(name).and_then(clap::Command::get_about).map(ToString::to_string);
        let about = about.unwrap_or_else(|| "Explain a command".to_owned());
        let padding = " ".repeat(width - name.len());
        let (literal, reset) = (styles.get_literal().render(), styles.get_literal().render_reset());
        format!("  {literal}{name}{reset}{padding}  {}\n", about.trim_end_matches('.'))
    };
    let group = |(title, names): &(&str, &[&str])| {
        let (heading, reset) = (styles.get_header().render(), styles.get_header().render_reset());
        format!("{heading}{title}:{reset}\n{}\n", names.iter().map(line).collect::<String>())
    };
    GROUPS.iter().map(group).collect()
}

/// The error, with a hint if the word that is no command means one elsewhere.
fn with_what_was_meant(error: clap::Error, arguments: &[OsString]) -> clap::Error {
    match error.kind() {
        ErrorKind::InvalidSubcommand => {}
        ErrorKind::UnknownArgument => return with_the_sign(error, arguments),
        ErrorKind::ArgumentConflict => return without_a_long_list(error),
        ErrorKind::ValueValidation => return with_what_can_be_read(error),
        _ => return error,
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    let before = arguments.iter().position(|argument| argument.to_str() == Some(word)).and_then(|at| at.checked_sub(1));
    let noun = before.and_then(|at| arguments[at].to_str()).and_then(|noun| command().find_subcommand(noun).cloned());
    let tip = match noun {
        Some(noun) => meant_verb(&noun, word)
            .map(|verb| format!("`titan {} {verb}` does that", noun.get_name()))
            .or_else(|| of_many(&noun, word)),
        None => meant(&MEANT, word).map(|meant| format!("`titan {meant}` does that")),
    };
    match tip {
        Some(tip) => with_tip(error, &tip),
        None => error,
    }
}

/// What a word means that is done to a thing, if that can be done.
fn meant_verb(noun: &clap::Command, word: &str) -> Option<&'static str> {
    meant(&MEANT_VERB, word).filter(|verb| noun.find_subcommand(verb).is_some())
}

/// `titan agent` is the program on a machine; what is done to machines is said of many.
fn of_many(noun: &clap::Command, word: &str) -> Option<String> {
    let many = command().find_subcommand(format!("{}s", noun.get_name()))?.clone();
    let verb = many.find_subcommand(word).map(|verb| verb.get_name().to_owned());
    let verb = verb.or_else(|| meant_verb(&many, word).map(str::to_owned))?;
    Some(format!("`titan {} {verb}` does that", many.get_name()))
}

/// `--watch 1s` means how often, which is said with a sign, since `--watch` may go alone.
fn with_the_sign(error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else { return error };
    let is_watched = |two: &[OsString]| ["--watch", "-w"].iter().any(|flag| two[0] == *flag) && two[1] == **word;
    if word.starts_with('-') || !arguments.windows(2).any(is_watched) {
        return with_the_dashes(error, arguments);
    }
    let tip = format!("`--watch={word}` says how often");
    with_tip(error, &tip)
}

/// `titan submit echo hi` means a program, which stands after `--`; a flag that there is not is none, and would hardly be meant
/// for its name.
fn with_the_dashes(error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let all = command();
    let first = arguments.iter().skip(1).find(|argument| all.find_subcommand(argument).is_some());
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else { return error };
    if first.is_none_or(|first| first != "submit") {
        return error;
    }
    let tip = match meant(&MEANT_FLAG, word) {
        Some(flag) => format!("`{flag}` says that"),
        // Misspelled, and clap has said so.
        None if word.starts_with('-') && error.get(ContextKind::SuggestedArg).is_some() => return error,
        None if word.starts_with('-') => "`titan submit --help` shows what can be said of a job".to_owned(),
        None => format!("the program stands after two dashes: `titan submit -- {word} …`"),
    };
    with_tip(error, &tip)
}

/// `--batch` is in the way of everything that describes one job; a list of all that says less than a sentence.
fn without_a_long_list(error: clap::Error) -> clap::Error {
    match (error.get(ContextKind::InvalidArg), error.get(ContextKind::PriorArg)) {
        (Some(ContextValue::String(flag)), Some(ContextValue::Strings(_))) if flag.starts_with("--batch") => {
            let why = "--batch takes whole jobs from its file: a program and what a job needs cannot be said beside it";
            let mut command = command();
            command.build();
            let submit =
                command.find_subcommand_mut("submit").map(|submit| submit.error(ErrorKind::ArgumentConflict, why));
            submit.unwrap_or(error)
        }
        _ => error,
    }
}

/// What is no number is called an invalid digit otherwise, and likewise for addresses.
fn with_what_can_be_read(error: clap::Error) -> clap::Error {
    let number = error.source().and_then(|source| source.downcast_ref::<ParseIntError>());
    let form = match error.source() {
        _ if number.is_some_and(|number| *number.kind() == IntErrorKind::Zero) => "write 1 or more",
        Some(source) if source.is::<ParseIntError>() => "write a whole number, in digits alone",
        Some(source) if source.is::<AddrParseError>() => "write numbers, not names: 0.0.0.0:7071, or [::1]:7071",
        _ => return error,
    };
    with_tip(error, form)
}

fn meant(table: &[(&[&str], &'static str)], word: &str) -> Option<&'static str> {
    table.iter().find(|(words, _)| words.contains(&word)).map(|(_, meant)| *meant)
}

fn with_tip(mut error: clap::Error, tip: &str) -> clap::Error {
    let styles = Styles::styled();
    let painted = format!("{}{tip}{}", styles.get_valid().render(), styles.get_valid().render_reset());
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(painted)]));
    error
}
