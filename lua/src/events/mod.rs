//! The pool's stream of events.

mod publish;
mod read;

pub use publish::{Publish, PublishOutcome};
pub use read::{ReadEvents, ReadOutcome};

use crate::script::Script;

/// The scripts of this noun.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&publish::SCRIPT, &read::SCRIPT]
}
