//! Processes that end when whoever started them does, even if that was killed with no chance to say goodbye.
//!
//! The starter gives each child a pipe as standard input and keeps the other end. When the starter is gone, however that
//! came about, the pipe ends, on every Unix alike.

use std::{
    fs::File,
    io::Read,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::stop::Stop;

/// How long a process gets to end in order before it is killed.
const GRACE: Duration = Duration::from_secs(30);

/// Arguments of `titan with-parent`: a program that knows nothing of this, such as `redis-server`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// A file that the program holds a lock on while it runs, as its standard input.
    #[arg(long)]
    pub lock: PathBuf,
    /// The program and its arguments.
    #[arg(last = true, required = true, num_args = 1..)]
    pub command: Vec<String>,
}

/// Ends this process in order when its standard input ends, and by force if that takes too long.
pub fn end_with_stdin() {
    std::thread::spawn(|| {
        wait_for_end_of_stdin();
        // SIGTERM to oneself begins the same shutdown as one from outside. It cannot fail for one's own process.
        let _ = kill(Pid::this(), Signal::SIGTERM);
        std::thread::sleep(GRACE);
        std::process::exit(1);
    });
}

/// Runs the program until it ends, this process is asked to end, or standard input ends.
///
/// # Errors
/// If the program cannot be started, or another process holds the lock.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    // Before the program starts: a signal that came in between would end this process and leave the program.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut stop = runtime.block_on(async { Stop::listen() })?;
    let mut child = start(options)?;
    let pid = Pid::from_raw(i32::try_from(child.id()).context("the process id is out of range")?);
    std::thread::spawn(move || {
        loop {
            runtime.block_on(stop.asked());
            let _ = kill(pid, Signal::SIGTERM);
        }
    });
    std::thread::spawn(move || {
        wait_for_end_of_stdin();
        let _ = kill(pid, Signal::SIGTERM);
        std::thread::sleep(GRACE);
        let _ = kill(pid, Signal::SIGKILL);
    });
    let status = child.wait().context("the program cannot be waited for")?;
    // As a shell tells of a signal.
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// Starts the program with the locked file as its standard input, so that the lock lasts exactly as long as the program
/// does, even if this process is killed.
fn start(options: &Options) -> anyhow::Result<Child> {
    let path = options.lock.display();
    let lock = File::options().create(true).append(true).open(&options.lock);
    let lock = lock.with_context(|| format!("{path} cannot be opened"))?;
    lock.try_lock()
        .with_context(|| format!("{path} is locked: an earlier run of the program still uses this folder"))?;
    let (program, arguments) = options.command.split_first().context("no program was named")?;
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::from(lock))
        .spawn()
        .with_context(|| format!("{program} cannot be started"))
}

fn wait_for_end_of_stdin() {
    let mut buffer = [0; 64];
    let mut stdin = std::io::stdin().lock();
    loop {
        match stdin.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
