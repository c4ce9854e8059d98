//! Events, as clients publish and read them.

pub(super) mod publish;
pub(super) mod read;
