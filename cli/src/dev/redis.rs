//! Redis as a child of `titan dev`: on a free port of 127.0.0.1, with a password, and with a log of every change.

use std::{net::Ipv4Addr, path::Path, time::Duration};

use anyhow::{Context as _, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    time::{Instant, sleep},
};

use super::{child::Child, folder::DataFolder, ports, secrets};
use crate::files::write_private;

/// How long Redis may take to answer; a long log of changes takes a while to read.
const START_LIMIT: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(20);
/// How often another port is tried if somebody else took the free one first.
const PORTS_TO_TRY: usize = 3;
/// How long a Redis that was left over may take to end.
const ORPHAN_GRACE: Duration = Duration::from_secs(15);

/// A running Redis.
#[derive(Debug)]
pub(super) struct Redis {
    /// The process.
    pub(super) child: Child,
    /// Its URL, with the password.
    pub(super) url: String,
    /// Its address, without.
    pub(super) address: String,
}

/// Starts Redis on what the data folder holds, and waits until it answers.
pub(super) async fn start(program: &Path, folder: &DataFolder) -> anyhow::Result<Redis> {
    let password = secrets::kept(&folder.path().join("redis-password"), secrets::random)?;
    let mut tried = 0;
    loop {
        tried += 1;
        let port = ports::free()?;
        let mut child = spawn(program, folder, port, &password)?;
        match wait_until_ready(&mut child, port, &password).await {
            Ok(()) => {
                let address = format!("127.0.0.1:{port}");
                return Ok(Redis { child, url: format!("redis://:{password}@{address}/"), address });
            }
            Err(error) if tried < PORTS_TO_TRY && error.to_string().contains("Address already in use") => {}
            Err(error) => return Err(error),
        }
    }
}

fn spawn(program: &Path, folder: &DataFolder, port: u16, password: &str) -> anyhow::Result<Child> {
    let home = folder.subfolder("redis")?;
    let config = home.join("redis.conf");
    write_private(&config, configuration(&home, port, password)?.as_bytes())?;
    let mut command = Command::new(std::env::current_exe().context("the path of this program is unknown")?);
    command.arg("with-parent").arg("--lock").arg(home.join("lock")).arg("--").arg(program).arg(&config);
    Child::start("redis", command, folder.log("redis")?)
}

/// The settings, in a file since arguments of a process can be seen by everybody.
fn configuration(home: &Path, port: u16, password: &str) -> anyhow::Result<String> {
    let home = home.to_str().filter(|home| !home.contains(['"', '\\', '\n']));
    let home = home.context("the data folder's path must be UTF-8 without quotes and backslashes; name another one")?;
    Ok(format!(
        "bind 127.0.0.1\nport {port}\nrequirepass {password}\ndaemonize no\ndir \"{home}\"\npidfile \"{home}/pid\"\n\
         appendonly yes\nappendfsync always\nsave \"\"\nmaxmemory-policy noeviction\n"
    ))
}

async fn wait_until_ready(child: &mut Child, port: u16, password: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        child.check_alive()?;
        let why = match ping(port, password).await {
            Ok(reply) if reply == "+PONG" => return Ok(()),
            Ok(reply) => reply,
            Err(error) => error.to_string(),
        };
        if Instant::now() > deadline {
            bail!(
                "redis did not answer within {} s: {why}; its log is {}",
                START_LIMIT.as_secs(),
                child.log().display()
            );
        }
        sleep(POLL).await;
    }
}

/// The answer to PING after AUTH: `+PONG`, or an error such as `-LOADING …`.
async fn ping(port: u16, password: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    connection.write_all(format!("AUTH {password}\r\nPING\r\nQUIT\r\n").as_bytes()).await?;
    let mut replies = String::new();
    connection.take(1_024).read_to_string(&mut replies).await?;
    Ok(replies.lines().nth(1).unwrap_or_default().to_owned())
}

/// Ends a Redis that outlived its wrapper: it holds the folder's lock, so the process in its pid file is it.
pub(super) async fn end_orphan(folder: &DataFolder) -> anyhow::Result<()> {
    let home = folder.path().join("redis");
    let Ok(lock) = std::fs::File::open(home.join("lock")) else { return Ok(()) };
    let deadline = Instant::now() + ORPHAN_GRACE;
    let mut pid = None;
    while lock.try_lock().is_err() {
        let found = std::fs::read_to_string(home.join("pid")).ok().and_then(|pid| pid.trim().parse().ok());
        if pid.is_none()
            && let Some(found) = found
        {
            eprintln!("stopping a redis that an earlier run left (process {found})");
            let _ = kill(Pid::from_raw(found), Signal::SIGTERM);
            pid = Some(found);
        }
        if Instant::now() > deadline {
            let who = pid.map_or("a process".to_owned(), |pid| format!("process {pid}"));
            bail!("{who} still uses {}; end it and try again", home.display());
        }
        sleep(POLL).await;
    }
    Ok(())
}
