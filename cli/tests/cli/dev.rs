//! What `titan dev` does before and around the servers: finding Redis, keeping its folder, ending what it started.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::support::{Titan, ran};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use titan_cli::dev::{find_model, find_redis};

fn program(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn redis_is_the_named_one_then_that_of_the_path_then_the_fetched_one() {
    let root = tempfile::tempdir().unwrap();
    let (bin, deep) = (root.path().join("bin"), root.path().join("clone/target/debug"));
    std::fs::create_dir_all(&deep).unwrap();
    let (named, fetched) = (root.path().join("mine"), root.path().join("clone/.tools/valkey-server"));
    program(&named);
    program(&fetched);
    let find =
        |name: Option<&Path>| find_redis(name.map(Path::as_os_str), Some(bin.as_os_str()), std::slice::from_ref(&deep));
    assert_eq!(find(None).unwrap(), fetched);
    program(&bin.join("redis-server"));
    assert_eq!(find(None).unwrap(), bin.join("redis-server"));
    program(&bin.join("valkey-server"));
    assert_eq!(find(None).unwrap(), bin.join("valkey-server"));
    assert_eq!(find(Some(&named)).unwrap(), named);
    let wrong = find(Some(&root.path().join("none"))).unwrap_err().to_string();
    assert!(wrong.contains("TITAN_REDIS_BIN"), "{wrong}");
}

#[test]
fn a_machine_without_redis_is_told_how_to_get_one() {
    let message = find_redis(None, None, &[]).unwrap_err().to_string();
    for way in ["make demo", "scripts/setup.sh", "apt install redis-server", "TITAN_REDIS_BIN"] {
        assert!(message.contains(way), "{message}");
    }
}

#[test]
fn the_small_model_is_what_was_fetched_to_the_end_with_the_clients_or_alone() {
    let root = tempfile::tempdir().unwrap();
    let deep = root.path().join("clone/target/debug");
    std::fs::create_dir_all(&deep).unwrap();
    let clone = root.path().join("clone");
    let find = || find_model(std::slice::from_ref(&deep)).map(|found| found.python);
    for folder in [".tools/model", ".tools/python"] {
        program(&clone.join(folder).join("bin/python"));
    }
    program(&clone.join("scripts/llama_server.py"));
    let why = find().unwrap_err().to_string();
    assert!(why.contains("scripts/setup.sh --model") && why.contains("pip"), "half of it is not enough: {why}");
    for folder in [".tools/model", ".tools/python"] {
        std::fs::write(clone.join(folder).join("made-from"), "").unwrap();
        assert_eq!(find().unwrap(), clone.join(folder).join("bin/python"));
    }
}

#[test]
fn a_second_titan_dev_on_the_same_folder_is_refused() {
    let titan = Titan::new();
    let folder = titan.home.path().join("data");
    std::fs::create_dir(&folder).unwrap();
    let mut lock = std::fs::File::create(folder.join("lock")).unwrap();
    lock.try_lock().unwrap();
    std::io::Write::write_all(&mut lock, b"4711").unwrap();
    let (code, _, err) = ran(titan.bare(&["dev", "--data-dir", folder.to_str().unwrap()]).output().unwrap());
    assert_eq!(code, 1);
    assert!(err.contains("another `titan dev` (process 4711) uses") && err.contains("--data-dir"), "{err}");
}

#[test]
fn a_part_that_fails_is_told_of_once() {
    let titan = Titan::new();
    let redis = titan.home.path().join("redis-server");
    std::fs::write(&redis, "#!/bin/sh\necho no such luck\nexit 9\n").unwrap();
    std::fs::set_permissions(&redis, std::fs::Permissions::from_mode(0o755)).unwrap();
    let data = titan.home.path().join("data");
    let mut command = titan.bare(&["dev", "--data-dir", data.to_str().unwrap()]);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let (code, _, err) = ran(command.env("TITAN_REDIS_BIN", redis).env("PATH", path).output().unwrap());
    assert_eq!((code, err.matches("redis ended: exit status: 9").count()), (1, 1), "{err}");
    assert_eq!(err.matches("no such luck").count(), 1, "{err}");
    assert!(!err.contains("all the rest"), "nothing else was started: {err}");
}

/// A program under the wrapper; whatever becomes of the test, it does not outlive it.
struct Wrapped {
    wrapper: Child,
    program: Pid,
}

impl Drop for Wrapped {
    fn drop(&mut self) {
        let _ = kill(self.program, Signal::SIGKILL);
        let _ = self.wrapper.kill();
        let _ = self.wrapper.wait();
    }
}

impl Wrapped {
    /// Starts a program that says its process id and then waits.
    fn start(folder: &Path) -> Self {
        let lock = folder.join("lock");
        let mut command = Command::new(env!("CARGO_BIN_EXE_titan"));
        command.args(["with-parent", "--lock", lock.to_str().unwrap(), "--", "sh", "-c", "echo $$; exec sleep 1000"]);
        let mut wrapper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut pid = String::new();
        BufReader::new(wrapper.stdout.as_mut().unwrap()).read_line(&mut pid).unwrap();
        Self { wrapper, program: Pid::from_raw(pid.trim().parse().unwrap()) }
    }

    fn lives(&self) -> bool {
        kill(self.program, None) != Err(Errno::ESRCH)
    }
}

#[test]
fn a_wrapped_program_ends_when_its_starter_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrapped = Wrapped::start(folder.path());
    assert!(wrapped.lives());
    // What the end of the starter, however it came about, does to the pipe.
    drop(wrapped.wrapper.stdin.take());
    wrapped.wrapper.wait().unwrap();
    assert!(!wrapped.lives());
}

#[test]
fn a_wrapped_program_ends_when_the_wrapper_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrapped = Wrapped::start(folder.path());
    // `Child::wait` would drop the pipe, and that alone would end the program.
    let _pipe = wrapped.wrapper.stdin.take();
    kill(Pid::from_raw(i32::try_from(wrapped.wrapper.id()).unwrap()), Signal::SIGTERM).unwrap();
    wrapped.wrapper.wait().unwrap();
    assert!(!wrapped.lives());
}

#[test]
fn a_wrapped_program_keeps_its_folder_locked_even_if_the_wrapper_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrapped = Wrapped::start(folder.path());
    wrapped.wrapper.kill().unwrap();
    wrapped.wrapper.wait().unwrap();
    let lock = folder.path().join("lock");
    let mut again = Command::new(env!("CARGO_BIN_EXE_titan"));
    again.args(["with-parent", "--lock", lock.to_str().unwrap(), "--", "true"]).stdin(Stdio::null());
    let (code, _, err) = ran(again.output().unwrap());
    assert_eq!((code, err.contains("an earlier run of the program still uses this folder")), (1, true), "{err}");
    kill(wrapped.program, Signal::SIGKILL).unwrap();
    // The lock goes with the program, whenever the system has cleared it away.
    std::fs::File::open(&lock).unwrap().lock().unwrap();
}
