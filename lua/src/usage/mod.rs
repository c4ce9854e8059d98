//! What API keys have had of models.

mod forget;
mod read;

pub use forget::ForgetUsage;
pub use read::ReadUsage;
