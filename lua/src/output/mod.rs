//! What jobs write.

mod read;

pub use read::{ReadOutput, Slice, StoredChunk};
