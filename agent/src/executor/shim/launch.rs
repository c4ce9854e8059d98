//! From a shim to the program: one more process of this binary gives up what the program must not have and then
//! becomes the program. Whatever goes wrong on the way, it can say so in words.

use std::{
    convert::Infallible,
    fs::File,
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use nix::unistd::{Pid, dup2_stdin, setsid};
use titan_api::output::Stream;
use tokio::net::unix::pipe;

use super::pipes::Output;
use crate::{
    config::JobUser,
    executor::{folder::Folder, prepare::words, spec::Spec},
    reexec::Reexec,
};

/// A program on its way to run, or running.
pub(super) struct Program {
    /// Its main process; it leads a session and a group of its own.
    pub main: Pid,
    pub stdout: Output,
    pub stderr: Output,
    /// Closed when the program runs; else the reason why it does not comes through it first.
    pub status: pipe::Receiver,
}

/// Starts the program of the attempt in `folder`.
///
/// # Errors
/// Not even the process could be made.
pub(super) fn start(folder: &Folder, reexec: &Reexec) -> Result<Program, String> {
    spawn(folder, reexec).map_err(|e| format!("no process could be started: {}", words(&e)))
}

fn spawn(folder: &Folder, reexec: &Reexec) -> io::Result<Program> {
    let (status, status_writer) = io::pipe()?;
    let mut child = reexec
        .command()
        .args(["shim", "--launch", "--dir"])
        .arg(folder.path())
        .env_clear()
        // The one pipe that is handed over by number: the child puts the real standard input in its place.
        .stdin(Stdio::from(status_writer))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let missing = || io::Error::other("a pipe is missing");
    Ok(Program {
        main: Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?),
        stdout: Output::new(Stream::Stdout, child.stdout.take().ok_or_else(missing)?.into())?,
        stderr: Output::new(Stream::Stderr, child.stderr.take().ok_or_else(missing)?.into())?,
        status: pipe::Receiver::from_owned_fd(OwnedFd::from(status))?,
    })
}

/// In the child: becomes the program. Comes back only if that is not possible, after telling the shim why.
pub(super) fn become_program(folder: &Folder) -> ExitCode {
    // The copy closes by itself in the moment in which the program takes over.
    let status = io::stdin().as_fd().try_clone_to_owned().map(File::from);
    let Err(why) = exec(folder);
    if let Ok(mut status) = status {
        let _ = status.write_all(why.as_bytes());
    }
    ExitCode::from(127)
}

fn exec(folder: &Folder) -> Result<Infallible, String> {
    let spec = Spec::read(folder).map_err(|e| format!("spec.json: {}", words(&e)))?.ok_or("the attempt is over")?;
    take_stdin(folder, &spec).map_err(|e| format!("its standard input cannot be opened: {}", words(&e)))?;
    // While the rights are there, and before there is anything to be held to.
    spec.group.join().map_err(|e| format!("it cannot be held to its limits: {}", words(&e)))?;
    // A session of its own: no terminal, and a group that can be told apart.
    setsid().map_err(|e| format!("it cannot have a session of its own: {}", e.desc()))?;
    let (program, arguments) = spec.command.split_first().ok_or("the command is empty")?;
    let mut command = Command::new(spec.program.as_deref().unwrap_or(Path::new(program)));
    command.arg0(program).args(arguments).env_clear().envs(&spec.env);
    if let Some(user) = &spec.user {
        become_user(user, &mut command).map_err(|e| format!("it cannot run as {}: {}", user.name, words(&e)))?;
    }
    restrict().map_err(|e| format!("its rights cannot be restricted: {}", words(&e)))?;
    let folder = &spec.working_dir;
    std::env::set_current_dir(folder).map_err(|e| format!("it cannot work in {}: {}", folder.display(), words(&e)))?;
    Err(explain(program, &command.exec()))
}

fn take_stdin(folder: &Folder, spec: &Spec) -> io::Result<()> {
    let path = folder.stdin();
    let stdin = File::open(if spec.has_stdin { path.as_path() } else { Path::new("/dev/null") })?;
    Ok(dup2_stdin(stdin)?)
}

/// With the groups of that user too: the right to use a GPU often comes by one.
#[cfg(target_os = "linux")]
pub(crate) fn become_user(user: &JobUser, _: &mut Command) -> io::Result<()> {
    use nix::unistd::{Gid, Uid, initgroups, setgid, setuid};
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let name = std::ffi::CString::new(user.name.as_str())?;
    initgroups(&name, gid)?;
    setgid(gid)?;
    Ok(setuid(uid)?)
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail on Linux")]
pub(crate) fn become_user(user: &JobUser, command: &mut Command) -> io::Result<()> {
    command.uid(user.uid).gid(user.gid);
    Ok(())
}

/// From 0 to 1000: how soon the kernel ends it when there is no memory left.
#[cfg(target_os = "linux")]
const GOES_FIRST: &str = "500";

/// The program gains no rights by `sudo` and the like, or its shim could not end it any more; and it dies with its shim.
#[cfg(target_os = "linux")]
pub(crate) fn restrict() -> io::Result<()> {
    use nix::sys::{prctl, signal::Signal};
    // If the box runs out of memory, jobs go before the agent. It may be set higher already.
    let _ = std::fs::write("/proc/self/oom_score_adj", GOES_FIRST);
    prctl::set_no_new_privs()?;
    Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail on Linux")]
pub(crate) fn restrict() -> io::Result<()> {
    Ok(())
}

pub(crate) fn explain(program: &str, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::NotFound if program.contains('/') => " (or the interpreter that it names is missing)",
        io::ErrorKind::NotFound => " in PATH",
        io::ErrorKind::PermissionDenied => " (is it a file that may be executed?)",
        _ => "",
    };
    format!("`{program}` cannot be run: {}{hint}", words(error))
}
