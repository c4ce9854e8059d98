//! Ways in which an answer ends badly, and what the coordinator is told of each.

use std::time::Duration;

use reqwest::StatusCode;
use titan_api::{jobs::Reason, work::Happening};

use super::events::Malformed;
use crate::{
    backends::{Unread, cause},
    executor::failed,
};

/// What servers write into their logs as the status of an answer that nobody waited for.
const CLIENT_GONE: i32 = 499;

/// HTTP's word for a client that waits no longer: what a client allowed was too short to tell of the backend.
const TOO_IMPATIENT: i32 = 408;
/// A healthy backend may be silent for so long.
const MAY_BE_SILENT: Duration = Duration::from_secs(10);

/// Why there is no whole answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// The backend failed; another may do better.
    Backend(String),
    /// It was silent for longer than this.
    Silent(String, Duration),
    /// It did not load the model in time.
    NotLoaded,
    /// A client that called directly went away: nobody is to try again, and nobody has failed.
    ClientGone,
    /// A model was not pulled, and asking again would change nothing.
    NotPulled(String),
    /// It refused the request itself with this status.
    Refused(StatusCode),
}

impl Broken {
    pub(super) fn told(self) -> Happening {
        match self {
            Self::Backend(why) => failed(Reason::BackendFailed, why),
            Self::Silent(why, limit) => Happening::Failed {
                reason: Reason::Stalled,
                exit_code: (limit < MAY_BE_SILENT).then_some(TOO_IMPATIENT),
                signal: None,
                message: Some(why),
            },
            Self::NotLoaded => failed(Reason::LoadTimeout, "the model was not loaded in time"),
            Self::NotPulled(why) => failed(Reason::BackendRejected, why),
            Self::ClientGone => Happening::Failed {
                reason: Reason::BackendRejected,
                exit_code: Some(CLIENT_GONE),
                signal: None,
                message: Some("the client went away".to_owned()),
            },
            Self::Refused(status) => Happening::Failed {
                reason: Reason::BackendRejected,
                exit_code: Some(i32::from(status.as_u16())),
                signal: None,
                message: Some(format!("the backend refused the request with {status}")),
            },
        }
    }
}

impl From<reqwest::Error> for Broken {
    fn from(error: reqwest::Error) -> Self {
        let what = if error.is_connect() { "the backend cannot be reached" } else { "the backend broke off" };
        Self::Backend(format!("{what}: {}", cause(&error)))
    }
}

impl From<Unread> for Broken {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Broke(error) => error.into(),
            other => Self::Backend(format!("the backend {other}")),
        }
    }
}

impl From<Malformed> for Broken {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Is(why) => Self::Backend(why.to_owned()),
            Malformed::Error(words) => Self::Backend(format!("the backend says: {words}")),
        }
    }
}
