//! The models of a pool: which there are, and under what names.

mod aliases;
mod list;

pub use aliases::{ReadAliases, SetAliases};
pub use list::ListModels;
