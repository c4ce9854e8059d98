//! The command line: what it takes, what it makes of it, and what it refuses.

use clap::{CommandFactory, Parser};
use titan_api::jobs::SubmitJob;
use titan_cli::args::{Cli, Command};

fn job(arguments: &[&str]) -> SubmitJob {
    let cli = Cli::try_parse_from([&["titan", "submit"], arguments].concat()).unwrap();
    let Command::Submit(options) = cli.command else { panic!("not submit") };
    options.job.into_job().unwrap()
}

fn refusal(arguments: &[&str]) -> String {
    Cli::try_parse_from([&["titan"], arguments].concat()).unwrap_err().to_string()
}

#[test]
fn no_two_flags_are_in_each_others_way() {
    Cli::command().debug_assert();
}

#[test]
fn a_plain_command_becomes_a_job_with_the_interfaces_defaults() {
    let bare = r#"{"kind":"process","process":{"command":["echo","hi"]}}"#;
    assert_eq!(job(&["--", "echo", "hi"]), serde_json::from_str(bare).unwrap());
}

#[test]
fn every_flag_reaches_the_job() {
    let job = job(&[
        "--gpus",
        "2",
        "--vram",
        "16G",
        "--ram",
        "512",
        "--cpus",
        "0.5",
        "--agent-label",
        "gpu=a100",
        "--env",
        "A=b=c",
        "--label",
        "who=me",
        "--priority",
        "-5",
        "--max-attempts",
        "1",
        "--timeout",
        "90s",
        "--backoff",
        "2m",
        "--keep-on-disconnect",
        "1h",
        "--after",
        "job-a",
        "--after",
        "job-b",
        "--on-dependency-failure",
        "run",
        "--at",
        "2026-11-21T07:18:45+01:00",
        "--workdir",
        "/srv",
        "--allow-unserved",
        "--",
        "run",
        "--gpus",
        "7",
    ]);
    let expected = r#"{"kind":"process","process":{"command":["run","--gpus","7"],"env":{"A":"b=c"},"working_dir":"/srv"},
        "requirements":{"gpus":2,"vram_mb":16384,"ram_mb":512,"cpus":0.5,"agent_labels":{"gpu":"a100"}},"priority":-5,
        "max_attempts":1,"timeout_ms":90000,"backoff_ms":120000,"on_disconnect":"keep","disconnect_grace_ms":3600000,
        "depends_on":["job-a","job-b"],"on_dependency_failure":"run","not_before":"2026-11-21T06:18:45Z","labels":{"who":"me"},"allow_unserved":true}"#;
    assert_eq!(job, serde_json::from_str(expected).unwrap());
}

#[test]
fn retries_are_one_less_than_attempts_and_a_time_may_be_told_from_now() {
    assert_eq!(job(&["--retries", "0", "--", "x"]).max_attempts, 1);
    assert!(refusal(&["submit", "--retries", "1", "--max-attempts", "2", "--", "x"]).contains("cannot be used with"));
    let from_now = |job: SubmitJob| job.not_before.unwrap().as_ms() - titan_cli::render::units::now().as_ms();
    assert!((3_590_000..=3_600_000).contains(&from_now(job(&["--in", "1h", "--", "x"]))));
    assert!(
        refusal(&["submit", "--in", "1h", "--at", "2026-11-21T06:18:45Z", "--", "x"]).contains("cannot be used with")
    );
}

#[test]
fn what_the_interface_would_refuse_is_refused_here_in_the_words_of_the_command_line() {
    for (flag, value, says) in [
        ("--timeout", "31d", "to 30days"),
        ("--timeout", "0s", "more than no time"),
        ("--timeout", "soon", "for example 90s"),
        ("--backoff", "2h", "to 1h"),
        ("--backoff", "1us", "from 1ms"),
        ("--keep-on-disconnect", "8d", "to 7days"),
        ("--in", "2y", "from 1ms to 366days"),
        ("--at", "tomorrow", "2026-11-21T06:18:45Z"),
        ("--at", "2026-11-21T06:18:45", "its distance from UTC"),
        ("--cpus", "NaN", "from 0 to 4096"),
        ("--gpus", "65", "0..=64"),
        ("--ram", "17T", "at most 16T"),
        ("--on-dependency-failure", "run", "--after"),
        ("--idempotency-key", "", "1 to 255"),
        ("--idempotency-key", "é", "printable ASCII"),
    ] {
        let message = refusal(&["submit", flag, value, "--", "x"]);
        assert!(message.contains(says), "{flag} {value}: {message}");
    }
}

#[test]
fn sizes_may_carry_a_unit() {
    for (text, mb) in [("0", 0), ("8000", 8_000), ("8G", 8_192), ("8gb", 8_192), ("8GiB", 8_192), ("1T", 1_048_576)] {
        assert_eq!(job(&["--gpus", "1", "--vram", text, "--", "x"]).requirements.vram_mb, mb, "{text}");
    }
    for text in ["", "G", "-1", "1.5G", "8K", "16B", "99999999999999999T"] {
        assert!(refusal(&["submit", &format!("--vram={text}"), "--", "x"]).contains("--vram"), "{text}");
    }
}

#[test]
fn standard_input_comes_from_a_file_and_has_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    let name = path.to_str().unwrap();
    std::fs::write(&path, "line\n").unwrap();
    assert_eq!(job(&["--stdin-file", name, "--", "cat"]).process.stdin.as_deref(), Some("line\n"));

    std::fs::write(&path, vec![b'x'; 70_000]).unwrap();
    let cli = Cli::try_parse_from(["titan", "submit", "--stdin-file", name, "--", "cat"]).unwrap();
    let Command::Submit(options) = cli.command else { panic!("not submit") };
    let failure = options.job.into_job().unwrap_err();
    assert_eq!((failure.code(), failure.to_string().contains("64 KiB")), (2, true));
}

#[test]
fn a_wrong_command_line_is_refused_before_anything_is_sent() {
    assert!(refusal(&["submit"]).contains("PROGRAM"));
    assert!(
        refusal(&["submit", "--env", "SURELY_NOT_SET_ANYWHERE", "--", "x"]).contains("SURELY_NOT_SET_ANYWHERE=VALUE")
    );
    assert!(refusal(&["submit", "--priority", "1001", "--", "x"]).contains("--priority"));
    assert!(refusal(&["jobs", "show", "../x"]).contains("a job id must be"));
    assert!(refusal(&["jobs", "ls", "--state", "done"]).contains("pending, scheduled, running"));
    assert!(refusal(&["jobs", "l"]).contains("unrecognized subcommand"), "commands are not abbreviated");
    assert!(refusal(&["dev", "--once"]).contains("--demo"));
    assert!(refusal(&["dev", "--backend", "olama=http://x"]).contains("ollama, vllm, llamacpp, openai"));
    assert!(refusal(&["jobs", "ls", "--key", "secret"]).contains("unexpected argument"), "keys are never arguments");
}
