//! The models of a pool: which there are, and under what names.

mod aliases;
mod list;

pub use aliases::{ReadAliases, SetAliases};
pub use list::ListModels;

use crate::script::Script;

/// The scripts of this noun.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&aliases::SCRIPT, &list::SCRIPT]
}
