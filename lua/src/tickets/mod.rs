//! Tickets: requests to models that clients bring to an agent themselves.

mod issue;
mod r#use;

pub(crate) use issue::Issuings;
pub use issue::{Issue, IssueOutcome, Issued};
pub use r#use::{UseOutcome, UseTicket};

use crate::script::Script;

/// The scripts of this noun.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&issue::SCRIPT, &r#use::SCRIPT]
}
