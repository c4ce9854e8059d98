//! A pool as a whole.

pub(super) mod scheduler;
pub(super) mod status;
pub(super) mod sweep;
