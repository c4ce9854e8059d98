//! What API keys have had of models.

mod read;

pub use read::ReadUsage;
