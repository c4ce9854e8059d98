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
fn a_settings_file_is_read_and_its_mistakes_are_told_with_the_nearest_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    let with = |text: &str, env: &[(&str, &str)]| {
        std::fs::write(&path, text).unwrap();
        text_of(&["--config", path.to_str().unwrap(), "--state-dir", "/tmp/titan-none"], env)
    };
    assert!(with("max_job = 1", &[]).contains("`max_job` is not a setting; did you mean `max_jobs`?"));
    assert!(with("coordinator = 'ftp://x'", &[]).contains("--coordinator `ftp://x` must begin with https://"));
    let over = with("coordinator = 'ftp://x'", &[("TITAN_COORDINATOR", "gopher://y")]);
    assert!(over.contains("gopher://y"), "the environment goes before the file: {over}");
    let missing = text_of(&["--config", "/no/such/agent.toml"], &[]);
    assert!(missing.contains("/no/such/agent.toml cannot be opened"), "{missing}");
}

fn text_of(args: &[&str], env: &[(&str, &str)]) -> String {
    let output = agent(args, env);
    assert!(!output.status.success());
    text(&output)
}

#[test]
fn a_join_token_is_not_taken_as_an_argument() {
    let output = agent(&["--join-token", "secret"], &[]);
    assert!(!output.status.success() && !text(&output).contains("panicked"));
}

#[test]
fn what_a_variable_may_hold_is_told() {
    let with = |name, value| text_of(&["--state-dir", "/tmp/titan-none"], &[(name, value)]);
    for value in ["", "perhaps"] {
        let said = with("TITAN_ALLOW_JOBS", value);
        assert!(said.contains("write true or false (yes, no, on and off will do, too)"), "{said}");
    }
    let said = with("TITAN_DRAIN_GRACE", "abc");
    assert!(said.contains("write a number and a unit, for example 30s or 2h"), "{said}");
}

#[test]
fn what_is_set_wrong_is_told_in_a_line_without_a_backtrace() {
    let said = text_of(
        &["--state-dir", "/tmp/titan-none"],
        &[("TITAN_COORDINATOR", "ftp://x"), ("RUST_BACKTRACE", "1"), ("RUST_LIB_BACKTRACE", "1")],
    );
    assert!(said.starts_with("titan-agent: ") && said.lines().count() == 1, "{said}");
}
