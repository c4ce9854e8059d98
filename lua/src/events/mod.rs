//! The pool's stream of events.

mod publish;
mod read;

pub use publish::{Publish, PublishOutcome};
pub use read::{ReadEvents, ReadOutcome};
