//! The pool's stream of events.

mod publish;
mod read;

pub use publish::Publish;
pub use read::{ReadEvents, ReadOutcome};
