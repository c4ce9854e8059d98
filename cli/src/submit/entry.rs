//! Where in a file of jobs something stands: which job, on which line, and what in it.

use std::fmt::{self, Write as _};

use serde_path_to_error::{Path, Segment};
use titan_api::{client::ClientError, problem::Problem};

use crate::failure::Failure;

/// A place in a file of jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The number of the job, from 1 on.
    job: usize,
    /// The line on which the job begins.
    line: usize,
    /// What in the job, such as `process.command[0]`; empty for all of it.
    field: String,
}

impl Entry {
    /// A whole job.
    pub(super) fn new(job: usize, line: usize) -> Self {
        Self { job, line, field: String::new() }
    }

    /// The line on which the job begins.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// What a path within the job leads to, or with `whole` false what holds that.
    pub(super) fn enter_path(mut self, path: &Path, whole: bool) -> Self {
        for segment in path.iter().take(path.iter().len().saturating_sub(usize::from(!whole))) {
            match segment {
                Segment::Seq { index } => self.enter_index(*index),
                Segment::Map { key } => self.enter(key),
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        self
    }

    /// Of what the interface's pointer into the body of a batch names; none if that is in no job. `lines` are those on which the
    /// jobs begin.
    fn of_pointer(pointer: &str, lines: &[usize]) -> Option<Self> {
        let mut segments = pointer.strip_prefix("/jobs/")?.split('/');
        let index: usize = segments.next()?.parse().ok()?;
        let mut entry = Self::new(index + 1, *lines.get(index)?);
        for segment in segments {
            match segment.parse() {
                Ok(index) => entry.enter_index(index),
                Err(_) => entry.enter(&segment.replace("~1", "/").replace("~0", "~")),
            }
        }
        Some(entry)
    }

    fn enter(&mut self, key: &str) {
        if !self.field.is_empty() {
            self.field.push('.');
        }
        self.field.push_str(key);
    }

    fn enter_index(&mut self, index: usize) {
        // Writing to a String cannot fail.
        let _ = write!(self.field, "[{index}]");
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {} (line {})", self.job, self.line)?;
        if self.field.is_empty() { Ok(()) } else { write!(f, ", {}", self.field) }
    }
}

/// The same refusal of a batch, which names jobs as they stand in the file.
pub(super) fn in_file(failure: Failure, lines: &[usize]) -> Failure {
    match failure {
        Failure::Call { doing, error, hint } => {
            let error = match *error {
                ClientError::Refused { problem, retry_after } => {
                    ClientError::Refused { problem: Box::new(named(*problem, lines)), retry_after }
                }
                other => other,
            };
            Failure::Call { doing, error: Box::new(error), hint }
        }
        other => other,
    }
}

fn named(mut problem: Problem, lines: &[usize]) -> Problem {
    for error in &mut problem.errors {
        if let Some(entry) = Entry::of_pointer(&error.pointer, lines) {
            error.pointer = entry.to_string();
        }
    }
    problem
}
