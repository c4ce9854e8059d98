//! Saying that something could not be tested here.

use std::{fs::OpenOptions, io::Write};

/// Notes that a test did not test what it should, because this machine lacks something. `.ci/run` counts these and
/// prints the reasons.
pub fn skipped(reason: &str) {
    eprintln!("skipped: {reason}");
    if let Some(path) = std::env::var_os("TITAN_SKIP_FILE") {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(file, "{reason}").unwrap();
    }
}
