//! What jobs write.

mod append;
mod read;
mod segment;

pub use append::{AppendOutcome, AppendOutput};
pub use read::{About, ReadOutput, Slice, StoredChunk};

use crate::script::Script;

/// The scripts of this noun.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&append::SCRIPT, &read::SCRIPT]
}
