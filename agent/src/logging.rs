//! What the agent says of itself: text for a person at a terminal, one JSON object a line for everything else, on the standard
//! error or in a file.

use std::{
    io::{IsTerminal, stderr},
    path::Path,
    sync::Mutex,
};

use anyhow::Context;
use titan_telemetry::{LogFile, log_filter};
use tracing_subscriber::{
    fmt::{self, writer::BoxMakeWriter},
    prelude::*,
};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Words for a person.
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends log lines to standard error, or to a file. A subscriber that is there already stays.
///
/// # Errors
/// The level is none that is known, or the file cannot be written.
pub(crate) fn start(format: Option<LogFormat>, level: &str, file: Option<&Path>) -> anyhow::Result<()> {
    let filter = log_filter(level).with_context(|| {
        format!("--log-level {level} is not understood: use error, warn, info, debug or trace, or a list such as titan_agent=debug,info")
    })?;
    let terminal = file.is_none() && stderr().is_terminal();
    let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let layer = fmt::layer().with_writer(writer(file)?);
    let layer = match format {
        LogFormat::Text => layer.with_ansi(terminal).with_target(false).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).boxed(),
    };
    // The embedding program may log already; its choice wins.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    Ok(())
}

fn writer(file: Option<&Path>) -> anyhow::Result<BoxMakeWriter> {
    let Some(path) = file else { return Ok(BoxMakeWriter::new(stderr)) };
    let file = LogFile::open(path).with_context(|| format!("--log-file {} cannot be written", path.display()))?;
    Ok(BoxMakeWriter::new(Mutex::new(file)))
}
