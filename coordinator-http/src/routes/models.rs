//! The models of a pool: which there are, the aliases that an administrator sets, and getting more of them.

pub(super) mod aliases;
pub(super) mod list;
pub(super) mod pull;
