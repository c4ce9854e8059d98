//! What jobs write.

mod append;
mod read;
mod segment;

pub use append::{AppendOutcome, AppendOutput};
pub use read::{About, ReadOutput, Slice, StoredChunk};
