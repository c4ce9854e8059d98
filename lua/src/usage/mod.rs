//! What API keys have had of models.

mod forget;
mod read;

pub use forget::ForgetUsage;
pub use read::ReadUsage;

use crate::script::Script;

/// The scripts of this noun.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&forget::SCRIPT, &read::SCRIPT]
}
