//! Where in a file of jobs something stands: which job, on which line, and what in it.

use std::fmt::{self, Write as _};

use serde_path_to_error::{Path, Segment};
use titan_api::{client::ClientError, problem::Problem};

use crate::failure::Failure;

/// A place in a file of jobs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Entry {
    /// The number of the job, from 1 on; none of what is in no job.
    job: Option<usize>,
    /// The line, if it is known.
    line: Option<usize>,
    /// What in the job, such as `process.command[0]`; empty for all of it.
    field: String,
}

impl Entry {
    /// Of a value that cannot be read. Of jobs that stand one after the other, `number` says which it is in.
    pub(super) fn of_path(path: &Path, number: Option<usize>, line: usize) -> Self {
        let mut entry = Self { job: number, line: Some(line), ..Self::default() };
        for segment in path {
            match segment {
                // In a list of jobs the first index is that of the job, whatever the list is called.
                Segment::Seq { index } if entry.job.is_none() => {
                    (entry.job, entry.field) = (Some(index + 1), String::new());
                }
                Segment::Seq { index } => entry.enter_index(*index),
                Segment::Map { key } => entry.enter(key),
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        entry
    }

    /// Of what the interface's pointer into the body of a batch names; none if that is in no job. `lines` are those on which the
    /// jobs begin, as far as is known.
    fn of_pointer(pointer: &str, lines: &[usize]) -> Option<Self> {
        let mut segments = pointer.strip_prefix("/jobs/")?.split('/');
        let index: usize = segments.next()?.parse().ok()?;
        let mut entry = Self { job: Some(index + 1), line: lines.get(index).copied(), ..Self::default() };
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
        match (self.job, self.line) {
            (Some(job), Some(line)) => write!(f, "job {job} (line {line})")?,
            (Some(job), None) => write!(f, "job {job}")?,
            (None, line) => write!(f, "line {}", line.unwrap_or(1))?,
        }
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
    let detail = problem.detail.as_deref().and_then(|detail| {
        let (pointer, rest) = detail.strip_prefix("the job at ")?.split_once(": ")?;
        Some(format!("{}: {rest}", Entry::of_pointer(pointer, lines)?))
    });
    problem.detail = detail.or(problem.detail);
    problem
}
