//! Tickets: requests to models that clients bring to an agent themselves.

pub(super) mod issue;
pub(super) mod r#use;
