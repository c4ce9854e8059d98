//! What is the same for one submitted job and for a batch: what the clock forbids, and what refusals look like.

pub(crate) mod batch;

use titan_api::{
    jobs::{SubmitJob, SubmittedJob},
    limits,
    problem::FieldError,
    scheduler::Explanation,
};
use titan_lua::jobs::{SubmitOutcome, Submitted};

use crate::{error::ApiError, metrics::Tally};

/// Refuses a job that is to start too far ahead. `place` is where the jobs stand in the body, such as `/jobs`; empty for a
/// single one.
pub(crate) fn check_delays(jobs: &[SubmitJob], place: &str, now_ms: i64) -> Result<(), ApiError> {
    let latest_ms = now_ms.saturating_add(limits::DELAY_MS);
    let is_late = |job: &SubmitJob| job.not_before.is_some_and(|time| time.as_ms() > latest_ms);
    let late = jobs.iter().enumerate().filter(|(_, job)| is_late(job));
    let errors: Vec<_> = late
        .map(|(index, _)| {
            FieldError::new(format!("{}/not_before", at(place, index)), "is more than 366 days ahead".to_owned())
        })
        .take(32)
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(ApiError::Invalid(errors)) }
}

/// The accepted jobs, or why none was accepted. `index_in_call` tells which job of the body one of the call to the store was.
pub(crate) fn accepted(
    outcome: SubmitOutcome,
    place: &str,
    index_in_call: impl Fn(usize) -> usize,
) -> Result<(Vec<Submitted>, Option<Explanation>), ApiError> {
    match outcome {
        SubmitOutcome::Submitted { jobs, explanation } => Ok((jobs, explanation)),
        SubmitOutcome::Unserved { index, ruled_out } => {
            Err(ApiError::Unserved { place: (!place.is_empty()).then(|| at(place, index_in_call(index))), ruled_out })
        }
        SubmitOutcome::NoDependency { index, job } => Err(ApiError::field(
            format!("{}/depends_on", at(place, index_in_call(index))),
            format!("names {job:?}, and there is no such job in this pool"),
        )),
        SubmitOutcome::Reused => Err(ApiError::KeyReused),
        SubmitOutcome::TooManyClasses { wait } => Err(ApiError::TooManyClasses { wait }),
    }
}

fn at(place: &str, index: usize) -> String {
    if place.is_empty() { String::new() } else { format!("{place}/{index}") }
}

/// One accepted job as its submitter is told.
pub(crate) fn told(job: Submitted, explanation: Option<Explanation>) -> SubmittedJob {
    SubmittedJob { id: job.id, state: job.state, agent_id: job.agent, explanation }
}

/// Counts what became of a submission.
pub(crate) fn count(outcome: &SubmitOutcome, tally: &Tally<&'static str>) {
    match outcome {
        SubmitOutcome::Submitted { jobs, .. } => jobs.iter().for_each(|job| tally.count(job.state.as_str())),
        SubmitOutcome::Unserved { .. } => tally.count("unserved"),
        SubmitOutcome::NoDependency { .. } => tally.count("no_dependency"),
        SubmitOutcome::Reused => tally.count("key_reused"),
        SubmitOutcome::TooManyClasses { .. } => tally.count("too_many_classes"),
    }
}
