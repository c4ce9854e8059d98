//! `titan dev` for real: Redis, a coordinator and agents as processes on this machine.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use titan_cli::dev::{find_model, find_redis};

use crate::support::{Server, Titan, json, ran};

/// A `titan dev` that is up. Whatever becomes of the test, it does not outlive it, nor do its children.
struct Dev {
    process: Child,
    /// Kept open: a `titan dev` that cannot print would end.
    _stdout: BufReader<ChildStdout>,
    /// What it printed when it was up.
    summary: String,
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Dev {
    fn start(titan: &Titan, arguments: &[&str], stderr: Stdio) -> Self {
        // On a port of its own: the usual one may be another test's as soon as it is free.
        let mut command = titan.bare(&[&["dev", "--port", "0"], arguments].concat());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let mut process = command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut summary = String::new();
        while !summary.contains("agents ls") {
            assert!(stdout.read_line(&mut summary).unwrap() > 0, "titan dev ended before it was up:\n{summary}");
        }
        Self { process, _stdout: stdout, summary }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).unwrap())
    }

    /// All processes that it started, the program under the wrapper included.
    fn children(&self, data: &Path) -> Vec<Pid> {
        let named = self.summary.split("(process ").skip(1).filter_map(|rest| rest.split(')').next());
        let redis = std::fs::read_to_string(data.join("redis/pid")).unwrap();
        named.chain([redis.trim()]).map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
    }

    /// Ctrl-C, and the exit code.
    fn interrupt(mut self) -> Option<i32> {
        kill(self.pid(), Signal::SIGINT).unwrap();
        self.process.wait().unwrap().code()
    }
}

/// Waits until none of the processes is there any more.
fn all_gone(pids: &[Pid]) -> bool {
    let deadline = Instant::now() + Duration::from_mins(1);
    while pids.iter().any(|pid| kill(*pid, None) != Err(Errno::ESRCH)) {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

#[test]
fn the_demonstration_runs_jobs_on_every_agent_and_leaves_nothing_behind() {
    let titan = Titan::new();
    let tmp = titan.home.path().join("tmp");
    std::fs::create_dir(&tmp).unwrap();
    let mut command = titan.bare(&["dev", "--demo", "--once"]);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("TMPDIR", &tmp);
    let (code, out, err) = ran(command.output().unwrap());
    assert_eq!(code, 0, "{out}\n{err}");
    assert!(out.contains("every byte that they wrote came back"), "{out}");
    assert!(out.contains("dev-1 ran ") && out.contains("dev-2 ran "), "{out}");
    assert!(out.contains("streams │ remark 1 (stderr)"), "{out}");
    let has_model = find_model(&[env!("CARGO_MANIFEST_DIR").into()]).is_ok();
    assert_eq!(out.contains("smollm2:135m answered in "), has_model, "{out}\n{err}");
    assert_eq!(err.contains("the chat is left out: "), !has_model, "{err}");
    assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0, "the temporary folder is removed");
    assert!(!titan.home.path().join(".config").exists(), "nobody is told of a coordinator that is gone");
}

#[test]
fn the_demonstration_does_without_a_model_where_none_was_fetched_and_says_so() {
    let titan = Titan::new();
    // Neither this program's folder nor the working folder is in a clone.
    let copy = titan.home.path().join("titan");
    std::fs::copy(env!("CARGO_BIN_EXE_titan"), &copy).unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let named = std::env::var_os("TITAN_REDIS_BIN");
    let redis = find_redis(named.as_deref(), Some(&path), &[env!("CARGO_MANIFEST_DIR").into()]).unwrap();
    let mut command = Command::new(copy);
    command.args(["dev", "--demo", "--once", "--agents", "1"]).current_dir(titan.home.path()).env_clear();
    command.env("HOME", titan.home.path()).env("PATH", path).env("TITAN_REDIS_BIN", redis).stdin(Stdio::null());
    let (code, out, err) = ran(command.output().unwrap());
    assert_eq!(code, 0, "{out}\n{err}");
    assert!(err.contains("the chat is left out: there is no model here"), "{err}");
    assert!(out.contains("No model was asked") && out.contains("every byte that they wrote came back"), "{out}");
}

#[test]
fn another_terminal_finds_it_and_what_was_done_is_there_after_a_restart() {
    let titan = Titan::new();
    let run = |arguments: &[&str]| ran(titan.bare(arguments).output().unwrap());
    let dev = Dev::start(&titan, &["--agents", "1"], Stdio::inherit());
    let submitted = run(&["submit", "--", "sh", "-c", "echo to stdout; echo to stderr >&2; exit 0"]);
    assert_eq!((submitted.0, submitted.1.as_str()), (0, "to stdout\n"), "{}", submitted.2);
    assert!(submitted.2.contains("\nto stderr\n"), "{}", submitted.2);
    let failed = run(&["submit", "--max-attempts", "1", "--", "sh", "-c", "exit 4"]);
    assert_eq!((failed.0, failed.2.contains("with exit code 4")), (4, true), "{}", failed.2);
    let jobs = run(&["jobs", "ls", "-o", "name"]).1;
    let audit = run(&["audit"]);
    assert_eq!((audit.0, audit.1.contains("everything agrees")), (0, true), "{}{}", audit.1, audit.2);
    assert_eq!(run(&["audit", "--pool", "blue"]).0, 5, "there is no such pool");
    let doctor = run(&["doctor"]);
    assert_eq!((doctor.0, doctor.1.contains("failed")), (0, false), "{}{}", doctor.1, doctor.2);
    let data = titan.home.path().join(".local/share/titan/dev");
    let children = dev.children(&data);
    let admin = data.join("admin-token");
    let as_admin = |arguments: &[&str]| run(&[&["--key-file", admin.to_str().unwrap()], arguments].concat());
    let key = as_admin(&["keys", "create", "mine", "--scope", "jobs:read", "--expires", "1h"]);
    assert!(key.0 == 0 && key.1.starts_with("titan_"), "{}", key.2);
    let id = key.1.split('_').nth(1).unwrap().to_owned();
    assert!(as_admin(&["keys", "ls"]).1.contains(&format!("{id}  mine")));
    assert_eq!(as_admin(&["keys", "rm", "--yes", &id]).0, 0);
    assert_eq!(as_admin(&["join-tokens", "ls", "-o", "name"]).1, "", "its own token is not left behind");
    assert_eq!(as_admin(&["agents", "add"]).0, 0);
    assert_eq!(run(&["keys", "ls"]).0, 4, "the key of `titan dev` is no administrator's");
    assert_eq!(dev.interrupt(), Some(0), "Ctrl-C is how it ends well");
    assert!(all_gone(&children));
    // Whoever listens at the usual port of this machine is no part of this.
    assert!(run(&["doctor"]).1.contains("it is the default"), "it is gone");

    let dev = Dev::start(&titan, &["--agents", "1"], Stdio::inherit());
    assert_eq!(run(&["jobs", "ls", "-o", "name"]).1, jobs);
    assert_eq!(run(&["submit", "--", "true"]).0, 0);
    assert_eq!(dev.interrupt(), Some(0));
}

#[test]
fn a_named_backends_models_are_served_and_said_to_be_there_to_talk_with() {
    let titan = Titan::new();
    let backend = Server::start(|_, _| json(200, r#"{"object": "list", "data": [{"id": "tiny:1b"}]}"#));
    let named = format!("openai={}", backend.url);
    let dev = Dev::start(&titan, &["--agents", "1", "--backend", &named], Stdio::inherit());
    assert!(dev.summary.contains(" chat tiny:1b\n"), "{}", dev.summary);
    let (code, models, _) = ran(titan.bare(&["models", "ls", "-o", "name"]).output().unwrap());
    assert_eq!((code, models.contains("tiny:1b")), (0, true), "{models}");
    assert_eq!(dev.interrupt(), Some(0));
}

#[test]
fn nothing_outlives_a_titan_dev_that_is_killed() {
    let titan = Titan::new();
    let data = titan.home.path().join("data");
    let mut dev = Dev::start(&titan, &["--agents", "1", "--data-dir", data.to_str().unwrap()], Stdio::inherit());
    let children = dev.children(&data);
    assert_eq!(children.len(), 4, "redis with its wrapper, a coordinator, an agent: {}", dev.summary);
    dev.process.kill().unwrap();
    dev.process.wait().unwrap();
    assert!(all_gone(&children));
}

#[test]
fn a_process_that_dies_is_named_and_the_others_are_stopped() {
    let titan = Titan::new();
    let data = titan.home.path().join("data");
    let mut dev = Dev::start(&titan, &["--agents", "1", "--data-dir", data.to_str().unwrap()], Stdio::piped());
    let children = dev.children(&data);
    let coordinator = dev.summary.lines().find(|line| line.contains("  coordinator (process ")).unwrap();
    let pid = coordinator.split("(process ").nth(1).unwrap().split(')').next().unwrap().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let mut err = String::new();
    std::io::Read::read_to_string(&mut dev.process.stderr.take().unwrap(), &mut err).unwrap();
    assert_eq!(dev.process.wait().unwrap().code(), Some(1), "{err}");
    assert!(err.contains("error: coordinator ended: signal: 9"), "{err}");
    assert!(err.contains("the last lines of ") && err.contains("titan_coordinator::"), "{err}");
    assert_eq!(err.matches("coordinator ended: signal: 9").count(), 1, "once is enough: {err}");
    assert!(err.contains("\nall the rest stops now\nstopping the agents"), "it is said at once: {err}");
    assert!(all_gone(&children));
}
