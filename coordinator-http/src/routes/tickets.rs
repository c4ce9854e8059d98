//! Tickets: requests to models that clients bring to an agent themselves.

pub(super) mod issue;
mod kept;
pub(super) mod r#use;
