//! One run of the daemon, from its settings to its exit code.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use nix::unistd::Uid;
use titan_api::{agents::Facts, secret_file::exposed};
use tokio::net::TcpListener;
use tracing::{error, info, warn};

use crate::{
    agent::Agent,
    backends::{self, Backends},
    cgroups::{Cgroups, What},
    claim,
    config::{Config, JoinToken, RunArgs},
    executor::Executor,
    gateway,
    hardware::{Detected, Devices, Gpus},
    heartbeat,
    identity::Identity,
    join,
    link::{Fatal, Link},
    local, logging,
    loops::Loops,
    reexec::Reexec,
    report,
    roster::Roster,
    shutdown::{self, Signals},
    space,
    supervise::{self, Supervise},
};

/// The agent is not to be started again as it is; a service manager can be told to heed this.
const NOT_WANTED: u8 = 3;
/// It was stopped a second time before it had stopped; what shells say of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;
const SWEEP_EVERY: Duration = Duration::from_mins(10);
/// Threads that wait for the disk, so that nothing else has to.
const DISK_THREADS: usize = 8;
/// Removal of working folders that is still going on gets this long; the next run of the agent completes it.
const TIDY: Duration = Duration::from_secs(2);

/// Runs the daemon.
///
/// # Errors
/// Its settings are wrong, or it cannot join or register.
pub(crate) fn run(args: &RunArgs, reexec: Reexec) -> anyhow::Result<ExitCode> {
    let args = args.clone().with_file()?;
    logging::start(args.log_format, args.log_level.as_deref().unwrap_or("info"), args.log_file.as_deref())?;
    let config = Config::check(&args)?;
    // One thread runs everything: an agent that waits costs next to nothing.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(DISK_THREADS)
        .thread_keep_alive(Duration::from_secs(1))
        .build()
        .context("no runtime could be made")?;
    let result = runtime.block_on(work(config, reexec));
    runtime.shutdown_timeout(TIDY);
    result.or_else(|e| e.downcast::<Fatal>().map(not_wanted))
}

async fn work(config: Config, reexec: Reexec) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("signals cannot be listened to")?;
    let listener = gateway::listen(config.gateway_listen).await?;
    let agent = Arc::new(assemble(config, reexec)?);
    let code = serve(&agent, &mut signals, listener).await;
    tokio::select! {
        () = agent.supervise.stop() => {}
        // Processes end by themselves when this one does.
        () = signals.next() => {}
    }
    code
}

/// From what an earlier run has left to the end.
async fn serve(agent: &Arc<Agent>, signals: &mut Signals, listener: Option<TcpListener>) -> anyhow::Result<ExitCode> {
    let looking = Arc::clone(agent);
    let left = tokio::task::spawn_blocking(move || looking.executor.left()).await?;
    let mut loops = Loops::default();
    // It answers while nobody answers the agent, too.
    loops.start("listener", local::run(Arc::clone(agent)));
    // Large models take their time.
    loops.start("supervise", supervise::run(Arc::clone(agent)));
    // Before registering, which tells what is held.
    let taken = agent.take_over(left);
    tokio::select! {
        registered = async { backends::first_look(agent).await; enter(agent).await } => {
            agent.resume(taken);
            if registered.as_ref().is_err_and(anyhow::Error::is::<Fatal>) {
                // An agent that is not wanted may not go on with anything.
                shutdown::abandon(agent).await;
            }
            registered?;
        }
        // What an earlier run has left goes on until its leases end, or the next run takes it over.
        () = signals.next() => return Ok(ExitCode::SUCCESS),
    }
    space::look(agent).await;
    loops.start("space", space::run(Arc::clone(agent)));
    loops.start("gateway", gateway::run(Arc::clone(agent), listener));
    loops.start("backends", backends::run(Arc::clone(agent)));
    loops.start("heartbeat", heartbeat::run(Arc::clone(agent)));
    loops.start("claim", claim::run(Arc::clone(agent)));
    loops.start("report", report::run(Arc::clone(agent)));
    loops.start("reading", report::fill(Arc::clone(agent)));
    loops.start("sweep", sweep(Arc::clone(agent)));
    let code = until_the_end(agent, signals, &mut loops).await;
    agent.tracer.flush().await;
    Ok(code)
}

pub(crate) fn assemble(config: Config, reexec: Reexec) -> anyhow::Result<Agent> {
    let roster = Arc::new(Roster::default());
    let gpus = Gpus::detect(config.nvml_library.clone(), Arc::clone(&roster));
    let found = Detected::look(&gpus, &config.accelerators);
    let devices = Devices { has_cuda: !gpus.list().is_empty(), declared: config.accelerators.clone() };
    info!("titan-agent {} on {found}; {}", env!("CARGO_PKG_VERSION"), policy(&config));
    config.coordinators.iter().filter(|url| is_open(url)).for_each(|url| {
        warn!("{url} is not encrypted: whoever is on the way reads tokens and jobs. Use https:// outside of a private network");
    });
    let identity = Identity::open(&config.state_dir)?;
    warn_of_open_secrets(&config, &identity);
    let link = Link::new(&config.coordinators, config.ca_file.as_deref())?;
    let cgroups = if config.allow_jobs { Cgroups::prepare() } else { Cgroups::default() };
    let facts = Facts { enforces: cgroups.enforces(), ..found.facts(&config) };
    tell_limits(&config, &cgroups);
    let supervise = Supervise::new(&config, reexec.clone(), Arc::clone(&roster), gpus.list().to_vec());
    let executor = Executor::new(&config, reexec, devices, cgroups, roster)?;
    let backends = Backends::new(&config)?;
    Ok(Agent::new(config, identity, facts, link, executor, gpus, backends, supervise))
}

fn warn_of_open_secrets(config: &Config, identity: &Identity) {
    let token = match &config.join_token {
        JoinToken::File(file) => Some(file.clone()),
        _ => None,
    };
    let of_backends = config.backends.iter().filter_map(|backend| backend.api_key_file.clone());
    let of_backends = of_backends.chain(config.supervised.hf_token_file.clone());
    let files = [identity.key_path(), identity.credential_path()].into_iter().chain(token).chain(of_backends);
    files.filter_map(|file| exposed(&file, Uid::effective().as_raw())).for_each(|warning| warn!("{warning}"));
}

/// Says what jobs are not held to, louder where the operator counts on it.
fn tell_limits(config: &Config, cgroups: &Cgroups) {
    for (what, why) in What::ALL.into_iter().filter_map(|what| Some((what, cgroups.missing(what)?))) {
        let word = what.word();
        if config.bounds.says(what) {
            warn!("jobs are not held to their {word}, though the settings say how much they may have: {why}");
        } else {
            info!("jobs are not held to their {word}: {why}");
        }
    }
}

/// What the operator allows, in words.
fn policy(config: &Config) -> String {
    let jobs = match config.max_jobs {
        1 => "one job at a time".to_owned(),
        n => format!("up to {n} jobs at once"),
    };
    let account = match &config.job_user {
        Some(user) => format!(", as the user {}", user.name),
        None if Uid::effective().is_root() => ", as root".to_owned(),
        None => String::new(),
    };
    match &config.policy {
        _ if !config.allow_jobs => "process jobs are off (--policy or --allow-jobs turns them on)".to_owned(),
        Some(policy) => format!("{jobs}{account}, as far as {policy}"),
        None => format!("{jobs}{account}"),
    }
}

/// Whether what is said to `url` can be read on the way.
pub(crate) fn is_open(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| url.scheme() == "http") && !titan_api::loopback::is_url(url)
}

pub(crate) async fn enter(agent: &Agent) -> anyhow::Result<()> {
    let credential = join::credential(&agent.config, &agent.identity, &agent.link).await?;
    agent.register_first(credential).await
}

async fn until_the_end(agent: &Arc<Agent>, signals: &mut Signals, loops: &mut Loops) -> ExitCode {
    let mut fatal = agent.fatal.subscribe();
    let leave = async {
        signals.next().await;
        tokio::select! {
            () = shutdown::leave(agent) => ExitCode::SUCCESS,
            () = signals.next() => {
                shutdown::kill(agent).await;
                ExitCode::from(INTERRUPTED)
            }
        }
    };
    tokio::select! {
        // Loops end because of what is fatal, so that goes first.
        biased;
        Ok(fatal) = async { fatal.wait_for(Option::is_some).await.map(|fatal| *fatal) } => {
            let code = fatal.map_or(ExitCode::FAILURE, not_wanted);
            shutdown::abandon(agent).await;
            code
        }
        code = leave => code,
        why = loops.first_end() => {
            // Half an agent would hold jobs that it cannot renew or report.
            error!("{why}; this is a fault of titan-agent. What it runs is ended, and so is it: start it again");
            shutdown::kill(agent).await;
            ExitCode::FAILURE
        }
    }
}

fn not_wanted(fatal: Fatal) -> ExitCode {
    error!("{fatal}");
    ExitCode::from(NOT_WANTED)
}

async fn sweep(agent: Arc<Agent>) {
    loop {
        let sweeping = Arc::clone(&agent);
        let _ = tokio::task::spawn_blocking(move || sweeping.executor.sweep()).await;
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle_agent(state: &tempfile::TempDir) -> Arc<Agent> {
        let args = RunArgs {
            coordinators: vec!["http://127.0.0.1:1".into()],
            state_dir: Some(state.path().into()),
            ..RunArgs::default()
        };
        Arc::new(assemble(Config::check(&args).unwrap(), Reexec::default()).unwrap())
    }

    async fn end_with(agent: &Arc<Agent>, mut loops: Loops) -> String {
        let mut signals = Signals::listen().unwrap();
        format!("{:?}", until_the_end(agent, &mut signals, &mut loops).await)
    }

    #[tokio::test]
    async fn an_agent_whose_loop_panics_or_ends_fails() {
        let state = tempfile::tempdir().unwrap();
        let agent = idle_agent(&state);
        let mut loops = Loops::default();
        loops.start("idle", std::future::pending());
        loops.start("panicking", async { panic!("a fault") });
        assert_eq!(end_with(&agent, loops).await, format!("{:?}", ExitCode::FAILURE));
        let mut loops = Loops::default();
        loops.start("ending", async {});
        assert_eq!(end_with(&agent, loops).await, format!("{:?}", ExitCode::FAILURE));
    }

    #[tokio::test]
    async fn what_is_fatal_is_the_reason_even_if_it_ends_the_loops() {
        let state = tempfile::tempdir().unwrap();
        let agent = idle_agent(&state);
        let (mut loops, ending) = (Loops::default(), Arc::clone(&agent));
        loops.start("heartbeat", async move {
            ending.fatal.send_replace(Some(Fatal::Removed));
        });
        assert_eq!(end_with(&agent, loops).await, format!("{:?}", ExitCode::from(NOT_WANTED)));
    }
}
