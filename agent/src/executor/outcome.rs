//! From how a program ended to what the coordinator is told.

use titan_api::{jobs::Reason, limits, work::Happening};

use super::exit::{EndedBy, Exit};
use crate::{attempts::Stop, cgroups::Hit};

/// A failure without an exit code.
pub(crate) fn failed(reason: Reason, message: impl Into<String>) -> Happening {
    Happening::Failed { reason, exit_code: None, signal: None, message: Some(cut(message.into())) }
}

/// The end of an attempt that was told to stop before its program began.
pub(crate) fn unstarted(stop: Stop) -> Option<Happening> {
    match stop {
        Stop::Release => Some(Happening::Released {}),
        Stop::Cancel => Some(Happening::Cancelled {}),
        Stop::Revoke => None,
    }
}

/// The end of an attempt that was ended because nobody renewed its lease.
pub(crate) fn lease_lost(stop: Option<Stop>) -> Option<Happening> {
    match stop {
        Some(Stop::Revoke) => None,
        Some(Stop::Cancel) => Some(Happening::Cancelled {}),
        Some(Stop::Release) | None => {
            Some(failed(Reason::LeaseLost, "the lease was not renewed in time, so the agent ended the attempt"))
        }
    }
}

/// The end of an attempt that a fault of the agent ended; whether its program may have begun by then.
pub(super) fn of_fault(may_have_begun: bool, stop: Option<Stop>) -> Option<Happening> {
    const WHY: &str = "a fault of titan-agent ended the attempt; the agent's log has the cause";
    match stop {
        Some(Stop::Revoke) => None,
        Some(Stop::Cancel) => Some(Happening::Cancelled {}),
        _ if !may_have_begun => Some(failed(Reason::StartFailed, WHY)),
        _ => Some(Happening::Failed {
            reason: Reason::Signal,
            exit_code: None,
            signal: Some(9),
            message: Some(WHY.to_owned()),
        }),
    }
}

/// The end of an attempt of an earlier run of the agent of which nothing is left but what it wrote.
pub(super) fn restarted(stop: Option<Stop>) -> Option<Happening> {
    match stop {
        Some(stop) => unstarted(stop),
        None => Some(failed(
            Reason::AgentRestarted,
            "the box was restarted, or the process that watched over the job was killed while no agent ran",
        )),
    }
}

/// The end of an attempt whose processes are gone. `exit` is what its shim wrote down, or else its last words.
pub(super) fn of(exit: Result<Exit, String>, stop: Option<Stop>) -> Option<Happening> {
    match (stop, exit) {
        (Some(Stop::Revoke), _) => None,
        (Some(Stop::Cancel), _) => Some(Happening::Cancelled {}),
        (Some(Stop::Release), Err(_)) => Some(Happening::Released {}),
        (None, Err(words)) => Some(Happening::Failed {
            reason: Reason::Signal,
            exit_code: None,
            signal: Some(9),
            message: Some(cut(format!("the process that watched over the job was killed. {words}")
                .trim_end()
                .to_owned())),
        }),
        (stop, Ok(exit)) => ended(exit, stop),
    }
}

/// The end of an attempt whose shim the agent has ended, long after its time was over.
pub(super) fn overdue(exit: Result<Exit, String>, stop: Option<Stop>) -> Option<Happening> {
    match (stop, exit) {
        // It was about to be gone by itself.
        (stop, Ok(exit)) if exit.start_error.is_none() => of(Ok(exit), stop),
        (Some(Stop::Revoke), _) => None,
        (Some(Stop::Cancel), _) => Some(Happening::Cancelled {}),
        (Some(Stop::Release) | None, _) => Some(failed(
            Reason::Timeout,
            "the process that watched over the job did not end it in time, so the agent did",
        )),
    }
}

fn ended(exit: Exit, stop: Option<Stop>) -> Option<Happening> {
    if let Some(why) = exit.start_error {
        return Some(failed(Reason::StartFailed, why));
    }
    let (exit_code, signal, note) = (exit.code, exit.signal, exit.note);
    let failed = |reason, message| Some(Happening::Failed { reason, exit_code, signal, message });
    match (exit.ended_by, exit_code) {
        (EndedBy::Lease, _) => lease_lost(stop),
        // Whoever ended the shim wanted the box, not the end of the job.
        (EndedBy::Agent | EndedBy::Signal, _) => Some(Happening::Released {}),
        (EndedBy::Timeout, _) => failed(Reason::Timeout, note),
        (EndedBy::Itself, Some(0)) => {
            let message = [exit.no_result, note].into_iter().flatten().reduce(|one, other| format!("{one}; {other}"));
            Some(Happening::Completed { result: exit.result, message: message.map(cut), usage: None })
        }
        (EndedBy::Itself, _) if exit.hit == Some(Hit::Ram) => failed(Reason::MemoryLimit, note),
        (EndedBy::Itself, Some(_)) => failed(Reason::ExitCode, note),
        (EndedBy::Itself, None) => failed(Reason::Signal, note),
    }
}

/// As much of a message as a report may carry.
fn cut(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(limits::TEXT_BYTES));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(ended_by: EndedBy, code: Option<i32>, signal: Option<i32>) -> Exit {
        Exit { ended_by, code, signal, ..Exit::default() }
    }

    fn reason(exit: Exit) -> Option<Reason> {
        match of(Ok(exit), None) {
            Some(Happening::Failed { reason, .. }) => Some(reason),
            _ => None,
        }
    }

    #[test]
    fn a_programs_own_end_is_told_as_it_was() {
        assert_eq!(
            of(Ok(exit(EndedBy::Itself, Some(0), None)), None),
            Some(Happening::Completed { result: None, message: None, usage: None })
        );
        assert_eq!(reason(exit(EndedBy::Itself, Some(3), None)), Some(Reason::ExitCode));
        assert_eq!(reason(exit(EndedBy::Itself, None, Some(11))), Some(Reason::Signal));
        assert_eq!(reason(exit(EndedBy::Timeout, Some(0), None)), Some(Reason::Timeout));
        let over = |hit| Exit { hit: Some(hit), ..exit(EndedBy::Itself, None, Some(9)) };
        assert_eq!(reason(over(Hit::Ram)), Some(Reason::MemoryLimit));
        assert_eq!(reason(over(Hit::Box)), Some(Reason::Signal), "that was not the job's fault");
    }

    #[test]
    fn an_ordered_end_is_told_as_what_was_ordered() {
        let killed = || Ok(exit(EndedBy::Agent, None, Some(15)));
        assert_eq!(of(killed(), Some(Stop::Cancel)), Some(Happening::Cancelled {}));
        assert_eq!(of(killed(), Some(Stop::Release)), Some(Happening::Released {}));
        assert_eq!(of(killed(), Some(Stop::Revoke)), None);
        let by_itself = Ok(exit(EndedBy::Itself, Some(0), None));
        assert_eq!(
            of(by_itself, Some(Stop::Release)),
            Some(Happening::Completed { result: None, message: None, usage: None })
        );
    }

    #[test]
    fn a_lost_lease_is_told_unless_the_coordinator_has_disowned_it() {
        assert_eq!(reason(exit(EndedBy::Lease, None, Some(15))), Some(Reason::LeaseLost));
        assert_eq!(of(Ok(exit(EndedBy::Lease, None, Some(15))), Some(Stop::Revoke)), None);
        assert_eq!(lease_lost(Some(Stop::Cancel)), Some(Happening::Cancelled {}));
        assert_eq!(lease_lost(Some(Stop::Revoke)), None);
    }

    #[test]
    fn a_job_whose_shim_did_not_end_it_in_time_has_run_too_long_unless_something_else_was_written_or_ordered() {
        let nothing = || Err("its last words".to_owned());
        let told = |exit, stop| match overdue(exit, stop) {
            Some(Happening::Failed { reason, .. }) => Some(reason),
            _ => None,
        };
        for stop in [None, Some(Stop::Release)] {
            assert_eq!(told(nothing(), stop), Some(Reason::Timeout));
            assert_eq!(told(Ok(Exit::not_started("it did not begin".to_owned())), stop), Some(Reason::Timeout));
        }
        assert_eq!(told(Ok(exit(EndedBy::Itself, Some(3), None)), None), Some(Reason::ExitCode));
        assert_eq!(overdue(nothing(), Some(Stop::Cancel)), Some(Happening::Cancelled {}));
        assert_eq!(overdue(nothing(), Some(Stop::Revoke)), None);
    }

    #[test]
    fn a_killed_shim_and_a_long_message_are_told_within_bounds() {
        let how = of(Err("x".repeat(5_000)), None);
        assert!(
            matches!(how, Some(Happening::Failed { signal: Some(9), message: Some(m), .. }) if m.len() == limits::TEXT_BYTES)
        );
    }
}
