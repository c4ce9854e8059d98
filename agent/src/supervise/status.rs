//! How it stands with a backend that the agent has started, for those who ask at the box.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// It is being started, or loads.
    #[default]
    Starting,
    /// It answers, and its models are served.
    Healthy,
    /// It runs and does not answer.
    Unhealthy,
    /// It has ended, and is started again after a wait.
    Restarting,
    /// It was never well, too often in a row. It is tried now and then.
    GivenUp,
    /// The agent has ended it, or has left it running, since the agent itself stops.
    Stopped,
}

impl Phase {
    pub(crate) const ALL: [Self; 6] =
        [Self::Starting, Self::Healthy, Self::Unhealthy, Self::Restarting, Self::GivenUp, Self::Stopped];

    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Restarting => "restarting",
            Self::GivenUp => "given_up",
            Self::Stopped => "stopped",
        }
    }
}

/// What is known of one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub kind: String,
    pub state: Phase,
    /// `process` or `container`, once that is decided.
    pub runner: Option<String>,
    /// Where it listens.
    pub url: Option<String>,
    /// How often it was started again.
    pub restarts: u64,
    /// Why it is not well, or was not the last time.
    pub reason: Option<String>,
    /// What it is busy with.
    pub doing: Option<String>,
    /// The same as `reason` without what the backend itself has said, which may be for nobody beyond the box.
    #[serde(skip)]
    pub cause: Option<String>,
}

impl Status {
    /// What of it keeps the agent from asking for requests, in words that may leave the box.
    pub(super) fn hindrance(&self) -> Option<String> {
        let since = |words: &str| self.cause.as_ref().map_or(words.to_owned(), |cause| format!("{words}: {cause}"));
        let words = match self.state {
            Phase::Starting if self.cause.is_none() => "is starting".to_owned(),
            Phase::Starting | Phase::Restarting => since("is not up and is started again"),
            Phase::GivenUp => since("is not up and is tried only now and then"),
            Phase::Unhealthy => since("does not answer"),
            Phase::Healthy => self.doing.clone()?,
            Phase::Stopped => return None,
        };
        Some(format!("{} of this agent {words}", self.kind))
    }
}

/// A status that changes.
#[derive(Debug)]
pub(super) struct Told(Mutex<Status>);

impl Told {
    pub(super) fn of(kind: &str) -> Self {
        Self(Mutex::new(Status { kind: kind.to_owned(), ..Status::default() }))
    }

    pub(super) fn now(&self) -> Status {
        self.lock().clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_does_not_serve_says_why_without_the_backends_own_words() {
        let hindrance = |state, cause: Option<&str>, doing: Option<&str>| {
            let (cause, doing) = (cause.map(str::to_owned), doing.map(str::to_owned));
            let reason = Some("its last words: a secret".to_owned());
            Status { kind: "vllm".to_owned(), state, cause, doing, reason, ..Status::default() }.hindrance()
        };
        let says = |words: &str| Some(format!("vllm of this agent {words}"));
        assert_eq!(hindrance(Phase::Starting, None, None), says("is starting"));
        for state in [Phase::Starting, Phase::Restarting] {
            assert_eq!(hindrance(state, Some("it died"), None), says("is not up and is started again: it died"));
        }
        assert_eq!(hindrance(Phase::GivenUp, Some("no"), None), says("is not up and is tried only now and then: no"));
        assert_eq!(hindrance(Phase::Unhealthy, Some("no"), None), says("does not answer: no"));
        assert_eq!(hindrance(Phase::Healthy, None, Some("fetches tiny, 4 %")), says("fetches tiny, 4 %"));
        for state in [Phase::Healthy, Phase::Stopped] {
            assert_eq!(hindrance(state, None, None), None);
        }
    }
}
