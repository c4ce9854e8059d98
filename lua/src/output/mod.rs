//! What jobs write.

mod read;
mod segment;

pub use read::{ReadOutput, Slice, StoredChunk};
