//! Tickets: requests to models that clients bring to an agent themselves.

mod issue;
#[path = "use.rs"]
mod use_;

pub(crate) use issue::Issuings;
pub use issue::{Issue, IssueOutcome, Issued};
pub use use_::{UseOutcome, UseTicket};
