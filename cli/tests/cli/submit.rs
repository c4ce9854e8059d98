//! `titan submit` and what goes with it: exit codes that are passed on, Ctrl-C that cancels, quiet, and the end of a log.

use std::{
    io::Read,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use titan_api::{
    jobs::{Job, JobState, Reason, SubmitJob},
    output::{Output, Stream::Stderr, Stream::Stdout},
};

use crate::support::{
    Answer, Server, Titan, event, json, ran,
    samples::{self, output},
};

const SUBMITTED: &str = r#"{"id":"job-a","state":"scheduled","agent_id":"box-1"}"#;

/// A coordinator on which the job ends like this, having written `hi`.
fn ends(job: &Job) -> Server {
    let job = serde_json::to_string(job).unwrap();
    Server::start(move |_, request| match request.line.as_str() {
        "POST /api/v1/jobs" => json(202, SUBMITTED),
        line if line.ends_with("/output") => {
            Answer::Stream(vec![event("1-3", &output(1, &[(Stdout, 0, "hi\n")], true))], true)
        }
        _ => json(200, job.clone()),
    })
}

#[test]
fn jobs_are_part_of_the_trace_that_titan_is_part_of() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let submit = |variables: &[(&str, &str)]| {
        let server = ends(&samples::job("job-a", JobState::Completed));
        let mut command = Titan::new().at(&server, &["submit", "--", "true"]);
        assert_eq!(ran(command.envs(variables.iter().copied()).output().unwrap()).0, 0);
        let requests = server.requests();
        let of = |at: usize, name: &str| requests[at].header(name).map(str::to_owned);
        assert_eq!((of(1, "traceparent"), of(1, "tracestate")), (None, None), "looking at a job is no part of it");
        (of(0, "traceparent"), of(0, "tracestate"))
    };
    let given = submit(&[("TRACEPARENT", parent), ("TRACESTATE", "a=1, b=2")]);
    assert_eq!(given, (Some(parent.to_owned()), Some("a=1,b=2".to_owned())));
    assert_eq!(submit(&[("TRACEPARENT", parent), ("TRACESTATE", "?")]), (Some(parent.to_owned()), None));
    assert_eq!(submit(&[("TRACEPARENT", "what"), ("TRACESTATE", "a=1")]), (None, None));
}

fn failed(reason: Reason, exit_code: Option<i32>, signal: Option<i32>) -> Job {
    Job { reason: Some(reason), exit_code, signal, ..samples::job("job-a", JobState::Failed) }
}

#[test]
fn the_exit_code_of_the_job_is_passed_on() {
    let cases = [
        (failed(Reason::ExitCode, Some(7), None), 7),
        (failed(Reason::ExitCode, Some(255), None), 255),
        (failed(Reason::Signal, None, Some(9)), 137),
        (failed(Reason::Timeout, None, Some(15)), 3),
        (failed(Reason::LeaseLost, None, None), 3),
        (failed(Reason::ExitCode, Some(-1), None), 3),
        (failed(Reason::ExitCode, Some(256), None), 3),
        (samples::job("job-a", JobState::Cancelled), 3),
        (samples::job("job-a", JobState::Completed), 0),
    ];
    for (job, expected) in cases {
        let says = format!("{:?} {:?} {:?}", job.reason, job.exit_code, job.signal);
        let server = ends(&job);
        let code = |arguments: &[&str]| ran(Titan::new().at(&server, arguments).output().unwrap()).0;
        assert_eq!(code(&["submit", "--", "x"]), expected, "{says}");
        assert_eq!(code(&["jobs", "wait", "job-a"]), expected, "{says}");
        assert_eq!(code(&["jobs", "logs", "-f", "job-a"]), expected, "{says}");
        assert_eq!(code(&["submit", "--plain-exit-code", "--", "x"]), if expected == 0 { 0 } else { 3 }, "{says}");
    }
}

#[test]
fn a_quiet_submit_prints_what_the_job_writes_and_errors_alone() {
    let server = ends(&samples::job("job-a", JobState::Completed));
    let run = |arguments: &[&str]| ran(Titan::new().at(&server, arguments).output().unwrap());
    assert_eq!(run(&["submit", "-q", "--", "x"]), (0, "hi\n".into(), String::new()));
    assert_eq!(run(&["submit", "-q", "--detach", "--", "x"]), (0, "job-a\n".into(), String::new()));
}

#[test]
fn a_dry_run_shows_the_job_and_submits_nothing() {
    let server = ends(&samples::job("job-a", JobState::Completed));
    let arguments = ["submit", "--dry-run", "--name", "n", "--label", "a=b", "--", "echo", "hi"];
    let (code, out, _) = ran(Titan::new().at(&server, &arguments).output().unwrap());
    let job: SubmitJob = serde_json::from_str(&out).unwrap();
    assert_eq!((code, job.process.command.as_slice()), (0, ["echo".to_owned(), "hi".to_owned()].as_slice()));
    assert_eq!(job.labels, [("a", "b"), ("name", "n")].map(|(n, v)| (n.to_owned(), v.to_owned())).into());
    assert!(server.requests().is_empty());
}

#[test]
fn variables_come_from_files_too_and_a_wrong_line_is_not_repeated() {
    let titan = Titan::new();
    let file = titan.home.path().join("env");
    let name = file.to_str().unwrap();
    let dry = |arguments: &[&str]| {
        let all = [&["submit", "--dry-run", "--env-file", name], arguments, &["--", "x"]].concat();
        ran(titan.bare(&all).output().unwrap())
    };
    std::fs::write(&file, "# comment\n\nA=1\nexport B=x=y \n").unwrap();
    let (_, out, err) = dry(&["--env", "A=2"]);
    let job: SubmitJob = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{err}"));
    assert_eq!(job.process.env, [("A", "2"), ("B", "x=y ")].map(|(n, v)| (n.to_owned(), v.to_owned())).into());
    std::fs::write(&file, "A=1\nsecret without a name\n").unwrap();
    let (code, _, err) = dry(&[]);
    assert_eq!((code, err.contains("line 2: must be NAME=VALUE"), err.contains("secret")), (2, true, false), "{err}");
    assert_eq!(ran(titan.bare(&["submit", "--env-file", "/nowhere", "--", "x"]).output().unwrap()).0, 1);
    assert_eq!(ran(titan.bare(&["submit", "--name", "", "--", "x"]).output().unwrap()).0, 2);
}

#[test]
fn a_secret_variable_is_taken_from_here_and_never_from_the_command_line() {
    let titan = Titan::new();
    let dry = |name: &str| {
        let mut command = titan.bare(&["submit", "--dry-run", "--secret-env", name, "--", "x"]);
        ran(command.env("TOKEN", "geheim").output().unwrap())
    };
    let job: SubmitJob = serde_json::from_str(&dry("TOKEN").1).unwrap();
    assert_eq!(job.process.secret_env["TOKEN"].reveal(), "geheim");
    let (code, _, err) = dry("TOKEN=other");
    assert_eq!((code, err.contains("takes a name alone")), (2, true), "{err}");
}

#[test]
fn ctrl_c_and_sigterm_cancel_the_job_if_that_was_asked_for() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let cancelled = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&cancelled);
        let server = Server::start(move |_, request| match request.line.as_str() {
            "POST /api/v1/jobs" => json(202, SUBMITTED),
            "POST /api/v1/jobs/job-a/cancel" => {
                noted.store(true, Ordering::Relaxed);
                json(200, r#"{"id":"job-a","state":"cancelled","cancelling":true}"#)
            }
            line if line.ends_with("/output") => {
                if noted.load(Ordering::Relaxed) {
                    let end = output(1, &[(Stdout, 5, "ended")], true);
                    return Answer::Stream(vec![event("1-10", &end)], true);
                }
                // The connection ends in order, and the follower comes back for more.
                Answer::Stream(vec![event("1-5", &output(1, &[(Stdout, 0, "begun")], false))], true)
            }
            _ => json(200, serde_json::to_string(&samples::job("job-a", JobState::Cancelled)).unwrap()),
        });
        let mut command = Titan::new().at(&server, &["submit", "--cancel-on-interrupt", "--", "x"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut begun = [0; 5];
        child.stdout.as_mut().unwrap().read_exact(&mut begun).unwrap();
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        let (code, out, err) = ran(child.wait_with_output().unwrap());
        assert_eq!((code, out.as_str()), (130, "ended"), "what it still writes is shown: {err}");
        assert!(err.contains("cancelling job job-a") && err.contains("job job-a was cancelled"), "{err}");
        assert!(cancelled.load(Ordering::Relaxed));
    }
}

#[test]
fn the_end_of_a_log_is_counted_in_lines_and_following_goes_on_from_there() {
    let page = |number: usize| match number {
        0 => output(2, &[(Stdout, 0, "one\ntwo\nth"), (Stderr, 10, "ree\n")], false),
        _ => Output { next_offset: 14, ..output(2, &[], false) },
    };
    let server = Server::start(move |number, request| match request.line.as_str() {
        "GET /api/v1/jobs/job-a/output" => {
            assert_eq!(request.header("last-event-id"), Some("2-14"));
            Answer::Stream(vec![event("2-19", &output(2, &[(Stdout, 14, "four\n")], true))], true)
        }
        line if line.contains("/output") => json(200, serde_json::to_string(&page(number)).unwrap()),
        _ => json(200, serde_json::to_string(&samples::job("job-a", JobState::Completed)).unwrap()),
    });
    let arguments = ["jobs", "logs", "-f", "--tail", "2", "job-a"];
    let result = ran(Titan::new().at(&server, &arguments).output().unwrap());
    assert_eq!(result, (0, "two\nthfour\n".into(), "ree\n".into()));
}

#[test]
fn jobs_are_waited_for_one_after_the_other_and_the_first_bad_end_counts() {
    let server = Server::start(|_, request| {
        let (id, state) = match request.line.as_str() {
            line if line.contains("job-a") => ("job-a", JobState::Completed),
            line if line.contains("job-b") => ("job-b", JobState::Failed),
            _ => ("job-c", JobState::Cancelled),
        };
        json(200, serde_json::to_string(&samples::job(id, state)).unwrap())
    });
    let arguments = ["jobs", "wait", "--plain-exit-code", "job-a", "job-b", "job-c"];
    let (code, _, err) = ran(Titan::new().at(&server, &arguments).output().unwrap());
    assert_eq!(code, 3);
    assert_eq!(
        err,
        "job job-a completed on box-1 with exit code 0\njob job-c was cancelled on box-1\n\
         error: job job-b failed on box-1 with exit code 3 in attempt 2\n"
    );
}
