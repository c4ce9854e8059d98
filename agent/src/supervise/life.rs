//! The life of one backend: it is started, waited for, watched, and started again after a wait that grows with every
//! failure, until the agent stops. One for which there is no hope is tried only now and then.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tracing::{info, warn};

use super::{
    Phase, Supervise, Unit,
    pull::pull,
    pulse::{Finding, Pulse},
    runner::Runner,
    tries::Tries,
};
use crate::{agent::Agent, backends::Http, backoff::Backoff, config::BackendArg};

/// From one look whether it is well to the next: while it starts, and later.
const LOOK: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// Looks for processes that have lost their keeper, and from one to the next.
const ORPHAN_LOOKS: u32 = 100;
const ORPHAN_LOOK: Duration = Duration::from_millis(20);
/// Waits before a model is asked for again.
const PULL_WAIT: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(5));

/// How a start of it went.
enum Outcome {
    /// The agent stops.
    Stopped,
    /// There was nothing to be started.
    NotBegun { why: String },
    /// It ended, after having been well for so long, if it ever was. `cause` is without its own words.
    Ended { why: String, cause: String, well_for: Option<Duration> },
}

/// Looks after it until the agent stops.
pub(super) async fn live(agent: &Arc<Agent>, unit: &Unit) {
    let (mut tries, kind) = (Tries::new(), unit.wanted.kind);
    let mut ending = agent.supervise.ending.subscribe();
    loop {
        unit.told.change(|status| status.state = Phase::Starting);
        let (next, why, cause) = match one_start(agent, unit, &mut ending).await {
            Outcome::Stopped => break,
            Outcome::NotBegun { why } => (tries.after_nothing(), why.clone(), why),
            Outcome::Ended { why, cause, well_for } => (tries.after_end(well_for), why, cause),
        };
        let (state, hope) =
            if next.is_hopeless { (Phase::GivenUp, ", without much hope") } else { (Phase::Restarting, "") };
        warn!("{kind} is started again in {:.1} s{hope}: {why}", next.wait.as_secs_f64());
        unit.told.change(|status| (status.state, status.reason, status.cause) = (state, Some(why), Some(cause)));
        tokio::select! {
            () = sleep(next.wait) => {}
            () = stopped(&mut ending) => break,
        }
        unit.told.change(|status| status.restarts += 1);
    }
    unit.told.change(|status| status.state = Phase::Stopped);
}

async fn one_start(agent: &Arc<Agent>, unit: &Unit, ending: &mut watch::Receiver<bool>) -> Outcome {
    let supervise = &agent.supervise;
    let begun = tokio::select! {
        biased;
        () = stopped(ending) => {
            // It may have been made and not yet started.
            if !supervise.settings.keep {
                supervise.forget_container(unit.wanted.kind, &unit.home).await;
            }
            return Outcome::Stopped;
        }
        begun = supervise.begin(unit) => begun,
    };
    let (mut runner, port) = match begun {
        Ok(begun) => begun,
        Err(why) => return Outcome::NotBegun { why },
    };
    let url = format!("http://127.0.0.1:{port}");
    unit.told.change(|status| status.url = Some(url.clone()));
    let watch = Watch { agent, unit, url: &url, well_since: watch::Sender::new(None) };
    let why = tokio::select! {
        why = runner.ended() => Some(why),
        why = watch.until_hopeless() => Some(why),
        () = stopped(ending) => None,
    };
    agent.backends.detach(&url);
    unit.told.change(|status| status.doing = None);
    let Some(cause) = why else {
        leave(supervise, unit, &mut runner).await;
        return Outcome::Stopped;
    };
    let well_for = watch.well_since.borrow().map(|since: Instant| since.elapsed());
    let said = if well_for.is_none() { runner.last_words() } else { String::new() };
    let why = match (well_for, said.is_empty()) {
        // By then requests may stand in it, and the whole box is told of this.
        (Some(_), _) => format!("{cause}; {} has what it said", unit.home.log().display()),
        (None, true) => cause.clone(),
        (None, false) => format!("{cause}; its last words: {said}"),
    };
    runner.stop().await;
    if runner.may_leave_orphans() {
        end_orphans(agent).await;
    }
    Outcome::Ended { why, cause, well_for }
}

/// Ends what has lost its keeper. While something dies, what is below it falls to this process, so one look is not enough.
async fn end_orphans(agent: &Agent) {
    for _ in 0..ORPHAN_LOOKS {
        if agent.executor.end_orphans() == 0 {
            break;
        }
        sleep(ORPHAN_LOOK).await;
    }
}

/// The agent stops: it ends too, or goes on alone.
async fn leave(supervise: &Supervise, unit: &Unit, runner: &mut Runner) {
    if supervise.settings.keep {
        info!("{} goes on, and this agent's next start takes it over", unit.wanted.kind);
    } else {
        runner.stop().await;
    }
}

async fn stopped(ending: &mut watch::Receiver<bool>) {
    // The sender lives as long as the agent.
    let _ = ending.wait_for(|ending| *ending).await;
}

/// What watching one takes.
struct Watch<'a> {
    agent: &'a Arc<Agent>,
    unit: &'a Unit,
    url: &'a str,
    well_since: watch::Sender<Option<Instant>>,
}

impl Watch<'_> {
    /// Comes back when it has to be ended, with the reason.
    async fn until_hopeless(&self) -> String {
        self.agent.backends.claim(self.url);
        let mut arg = BackendArg::plain(self.unit.wanted.kind, self.url);
        (arg.name, arg.parallel) = (Some(format!("{} of this agent", arg.kind)), self.unit.wanted.parallel);
        let http = match Http::new(&arg) {
            Ok(http) => http,
            Err(e) => return format!("{e:#}"),
        };
        if let Err(why) = self.until_well(&http).await {
            return why;
        }
        self.well_since.send_replace(Some(Instant::now()));
        let fetching = async {
            self.fetch(&http).await;
            std::future::pending().await
        };
        tokio::select! {
            why = self.until_ill(&http, &arg) => why,
            why = fetching => why,
        }
    }

    async fn until_well(&self, http: &Http) -> Result<(), String> {
        let (begun, most) = (Instant::now(), self.agent.supervise.settings.start_timeout);
        while let Err(why) = http.is_well(self.unit.wanted.recipe.health()).await {
            if begun.elapsed() >= most {
                return Err(format!("it was not ready within {most:?} (--backend-start-timeout): {why}"));
            }
            sleep(LOOK.0).await;
        }
        Ok(())
    }

    async fn until_ill(&self, http: &Http, arg: &BackendArg) -> String {
        let (mut pulse, mut served) = (Pulse::default(), false);
        loop {
            let answer = http.is_well(self.unit.wanted.recipe.health()).await;
            match pulse.look(answer.is_ok(), Instant::now()) {
                Finding::Well if !served => served = self.serve(arg),
                Finding::Ill if served => {
                    served = false;
                    self.agent.backends.detach(self.url);
                    let why = answer.err().map(|e| e.to_string()).unwrap_or_default();
                    warn!("{} does not answer any more, and is not served: {why}", arg.kind);
                    let cause = why.clone();
                    self.unit.told.change(|status| {
                        (status.state, status.reason, status.cause) = (Phase::Unhealthy, Some(why), Some(cause));
                    });
                }
                Finding::Hopeless => {
                    return answer.map_or_else(|e| format!("it answered no more: {e}"), |()| String::new());
                }
                Finding::Well | Finding::Unclear | Finding::Ill => {}
            }
            sleep(LOOK.1).await;
        }
    }

    /// It is one of the box's backends from now on.
    fn serve(&self, arg: &BackendArg) -> bool {
        info!("{} is well, at {}", arg.kind, self.url);
        self.unit.told.change(|status| (status.state, status.reason, status.cause) = (Phase::Healthy, None, None));
        self.agent.backends.attach(arg).is_ok()
    }

    /// Has it fetch the model that it is to have.
    async fn fetch(&self, http: &Http) {
        let Some(model) = self.unit.wanted.recipe.fetches() else { return };
        let mut backoff = Backoff::new(PULL_WAIT.0, PULL_WAIT.1);
        let tell = |doing: Option<String>| self.unit.told.change(|status| status.doing = doing);
        loop {
            tell(Some(format!("fetches {model}")));
            let percent = |percent| tell(Some(format!("fetches {model}, {percent} %")));
            match pull(http, model, percent).await {
                Ok(fetched) => {
                    tell(None);
                    if fetched {
                        info!("{model} was fetched");
                        self.agent.backends.doubt();
                    }
                    return;
                }
                Err(why) => {
                    warn!("{model} could not be fetched, which is tried again: {why}");
                    tell(Some(format!("could not fetch {model} yet: {why}")));
                }
            }
            sleep(backoff.after_failure(None)).await;
        }
    }
}
