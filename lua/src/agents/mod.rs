//! The registry: what agents are, have and hold.

mod claim;
mod drain;
mod get;
mod heartbeat;
mod join;
mod list;
mod register;
mod remove;
mod report;

pub use claim::{ClaimJobs, ClaimOutcome, Claimed};
pub use drain::{DrainOutcome, SetDraining};
pub use get::GetAgent;
pub use heartbeat::{Heard, Heartbeat, HeartbeatOutcome};
pub use join::{JoinAgent, JoinOutcome};
pub use list::ListAgents;
pub use register::{RegisterAgent, RegisterOutcome};
pub use remove::{RemoveAgent, RemoveOutcome};
pub use report::{ReportBatch, ReportOutcome, Reported};

/// Why a call of an agent was turned away before anything else was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnedAway {
    /// The registry does not know it; it should register again.
    Unknown,
    /// A newer incarnation has registered.
    Superseded,
    /// An operator removed it.
    Removed,
}
