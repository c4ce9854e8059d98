//! The command line.

use std::process::{Command, Output};

fn agent(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_titan-agent"));
    command.env_clear().args(args).envs(env.iter().copied()).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn help_names_every_flag_with_its_variable_and_hides_the_shim() {
    let help = text(&agent(&["--help"], &[]));
    for variable in [
        "TITAN_COORDINATOR",
        "TITAN_JOIN_TOKEN",
        "TITAN_LABELS",
        "TITAN_ALLOW_JOBS",
        "TITAN_JOB_USER",
        "TITAN_DRAIN_GRACE",
        "LOG_LEVEL",
    ] {
        assert!(help.contains(variable), "{variable} in {help}");
    }
    assert!(!help.contains("shim"), "{help}");
}

#[test]
fn wrong_settings_are_named_whether_run_is_written_or_not() {
    for args in [&["--state-dir", "/tmp/titan-none"][..], &["run", "--state-dir", "/tmp/titan-none"]] {
        let output = agent(args, &[]);
        assert!(!output.status.success() && text(&output).contains("TITAN_COORDINATOR"), "{}", text(&output));
    }
    let output =
        agent(&["run"], &[("TITAN_COORDINATOR", "http://127.0.0.1:1"), ("TITAN_LABELS", "gpu"), ("HOME", "/tmp")]);
    assert!(text(&output).contains("the label `gpu` has no value"), "{}", text(&output));
}

#[test]
fn a_join_token_is_not_taken_as_an_argument() {
    let output = agent(&["--join-token", "secret"], &[]);
    assert!(!output.status.success() && !text(&output).contains("panicked"));
}
