//! As a process or in a container: which of the two, and what both can do.

use std::{net::TcpListener, path::PathBuf};

use super::{
    Supervise, Unit,
    container::{self, Container, Order},
    docker,
    gpus::Chosen,
    process::Process,
    programs::{find_program, named_program},
    spec::Spec,
};
use crate::{
    config::{RunnerWish, Wanted},
    files,
};

/// How one is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// As a process of this program.
    Process(PathBuf),
    /// In a container.
    Container,
}

impl Way {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Process(_) => "process",
            Self::Container => "container",
        }
    }
}

/// How `wanted` is started on this box.
///
/// # Errors
/// What is missing, and what to do about it.
pub(crate) fn way(wanted: &Wanted) -> Result<Way, String> {
    let (kind, name) = (wanted.kind, wanted.recipe.program());
    let program = || match &wanted.program {
        Some(path) => named_program(path, &format!("--{kind}-program")),
        None => find_program(name).ok_or_else(|| {
            format!("there is no program `{name}` in PATH: install it, or say where it is with --{kind}-program")
        }),
    };
    let container = || docker::reach().map(|_| Way::Container);
    match wanted.runner {
        RunnerWish::Process => program().map(Way::Process),
        RunnerWish::Container => container(),
        RunnerWish::Auto if wanted.program.is_some() => program().map(Way::Process),
        RunnerWish::Auto if wanted.image.is_some() => container(),
        RunnerWish::Auto => match (program(), container()) {
            (Ok(program), _) => Ok(Way::Process(program)),
            (Err(_), Ok(way)) => Ok(way),
            (Err(first), Err(second)) => Err(format!("{first}. It could run in a container, but {second}")),
        },
    }
}

/// One that runs.
#[derive(Debug)]
pub(super) enum Runner {
    Process(Process),
    Container(Container),
}

impl Runner {
    /// Waits until it has ended, and says how.
    pub(super) async fn ended(&mut self) -> String {
        match self {
            Self::Process(process) => process.ended().await,
            Self::Container(container) => container.ended().await,
        }
    }

    /// Ends it.
    pub(super) async fn stop(&mut self) {
        match self {
            Self::Process(process) => process.stop().await,
            Self::Container(container) => container.stop().await,
        }
    }

    /// Whether processes of it may be left though it has ended.
    pub(super) fn may_leave_orphans(&self) -> bool {
        matches!(self, Self::Process(process) if process.has_lost_its_keeper())
    }

    /// The end of what it said.
    pub(super) fn last_words(&self) -> String {
        match self {
            Self::Process(process) => process.last_words(),
            Self::Container(container) => container.last_words(),
        }
    }
}

impl Supervise {
    /// Starts it, or takes over what an earlier run of the agent has left of it. Gives where it listens, too.
    pub(super) async fn begin(&self, unit: &Unit) -> Result<(Runner, u16), String> {
        files::make_folder(unit.home.path(), 0o700)
            .map_err(|e| format!("the folder {} cannot be made: {e}", unit.home.path().display()))?;
        let gpus = unit.wanted.gpus.among(&self.gpus)?;
        let needed = unit.wanted.recipe.needed_gpus();
        if gpus.count() < needed {
            let (kind, count) = (unit.wanted.kind, gpus.count());
            return Err(format!("{kind} is to be spread over {needed} GPUs and gets {count}: mend --{kind}-gpus"));
        }
        let way = way(&unit.wanted)?;
        unit.told.change(|status| status.runner = Some(way.word().to_owned()));
        match way {
            Way::Process(program) => self.begin_process(unit, program, &gpus).await,
            Way::Container => self.begin_container(unit, &gpus).await,
        }
    }

    async fn begin_process(&self, unit: &Unit, program: PathBuf, gpus: &Chosen) -> Result<(Runner, u16), String> {
        self.forget_container(unit.wanted.kind, &unit.home).await;
        let spec = |port| Spec::of(&unit.wanted, program.clone(), &self.settings, gpus, &unit.home, port);
        let may_be = |port| unit.wanted.port.is_none_or(|wish| wish == port);
        let fits = |left: &Spec| may_be(left.port) && spec(left.port) == *left;
        if let Some((process, port)) = Process::find(&unit.home, &self.roster, fits).await {
            return Ok((Runner::Process(process), port));
        }
        let port = port(&unit.wanted)?;
        let process = Process::start(&unit.home, &spec(port), &self.reexec, &self.roster)?;
        Ok((Runner::Process(process), port))
    }

    async fn begin_container(&self, unit: &Unit, gpus: &Chosen) -> Result<(Runner, u16), String> {
        Process::find(&unit.home, &self.roster, |_| false).await;
        let agent = container::mark(&self.state_dir);
        let (wanted, supervised, home) = (&unit.wanted, &self.settings, &unit.home);
        let order = Order { wanted, supervised, gpus, agent: &agent, home };
        if let Some((container, port)) = Container::find(order).await? {
            return Ok((Runner::Container(container), port));
        }
        let port = port(&unit.wanted)?;
        let tell = |doing| unit.told.change(|status| status.doing = Some(doing));
        let container = Container::start(order, port, tell).await;
        unit.told.change(|status| status.doing = None);
        Ok((Runner::Container(container?), port))
    }
}

/// A free port of loopback: the one that the operator chose, else the usual one, else any.
fn port(wanted: &Wanted) -> Result<u16, String> {
    let is_free = |port| TcpListener::bind(("127.0.0.1", port)).and_then(|listener| listener.local_addr());
    let kind = wanted.kind;
    if let Some(port) = wanted.port {
        let taken =
            |e| format!("port {port} of loopback cannot be had ({e}): end who listens there, or mend --{kind}-port");
        return is_free(port).map(|_| port).map_err(taken);
    }
    let free = is_free(wanted.recipe.usual_port()).or_else(|_| is_free(0));
    free.map(|address| address.port()).map_err(|e| format!("no port of loopback is free: {e}"))
}
