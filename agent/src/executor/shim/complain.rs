//! What the shim has to say goes to its standard error, a file in the attempt's folder that the agent reads. On a full
//! disk there is no room for it, and that must not be the shim's end: `eprintln!` would panic.

use std::{fmt::Display, io::Write};

/// Writes it down, if that is possible.
pub(super) fn complain(of: impl Display) {
    let _ = writeln!(std::io::stderr(), "{of}");
}
