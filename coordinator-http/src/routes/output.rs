//! What jobs write, as agents send it up and clients read it.

pub(super) mod append;
pub(super) mod read;
