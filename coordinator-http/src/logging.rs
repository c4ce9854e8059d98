//! Where log lines go, and what they look like.

use std::{io::stdout, sync::Mutex};

use anyhow::Context;
use titan_telemetry::{LogFile, log_filter};
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::config::{LogFormat, RunArgs};

/// Sends log lines to the standard output, or to `LOG_FILE`. A program that has set up its own log keeps it.
pub(crate) fn init(args: &RunArgs) -> anyhow::Result<()> {
    let filter = log_filter(&args.log_level).with_context(|| {
        format!(
            "LOG_LEVEL is {:?}: write error, warn, info, debug or trace, or a list such as `info,titan_lua=debug`",
            args.log_level
        )
    })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer(args)?);
    let done = match args.log_format {
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).try_init(),
        LogFormat::Text if args.log_file.is_some() => lines.with_ansi(false).try_init(),
        LogFormat::Text => lines.try_init(),
    };
    if done.is_err() {
        tracing::debug!(component = "coordinator", "the log is set up already");
    }
    Ok(())
}

fn writer(args: &RunArgs) -> anyhow::Result<BoxMakeWriter> {
    let Some(path) = &args.log_file else { return Ok(BoxMakeWriter::new(stdout)) };
    let file = LogFile::open(path).with_context(|| format!("LOG_FILE {} cannot be written", path.display()))?;
    Ok(BoxMakeWriter::new(Mutex::new(file)))
}
