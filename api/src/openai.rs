//! Failures in OpenAI's words: one table for coordinators and for agents that answer clients directly.

use crate::problem::ProblemType;

/// How a failure is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status.
    pub status: u16,
    /// The `type` of the error.
    pub kind: &'static str,
    /// Its `code`, which programs compare.
    pub code: &'static str,
}

const WRONG: &str = "invalid_request_error";
const FAILED: &str = "server_error";
const TOO_MUCH: &str = "rate_limit_error";

impl Failure {
    /// The bearer is no ticket for this agent that is good now.
    pub const INVALID_TICKET: Self = Self { status: 401, kind: WRONG, code: "invalid_ticket" };
    /// The ticket is for another model.
    pub const WRONG_MODEL: Self = Self { status: 403, kind: WRONG, code: "wrong_model" };
    /// The place that was kept for the ticket is taken, and there is no other.
    pub const NO_PLACE: Self = Self { status: 429, kind: TOO_MUCH, code: "no_place" };
    /// What only agents that answer clients directly say, beside what is a problem of the coordinator's, too.
    pub const OF_AGENTS: [Self; 3] = [Self::INVALID_TICKET, Self::WRONG_MODEL, Self::NO_PLACE];

    /// How a problem is told. What the other routes answer with 422 because of a field is a bad request in OpenAI's words.
    #[must_use]
    pub fn of(problem: ProblemType) -> Self {
        let status = if problem == ProblemType::Invalid { 400 } else { problem.status() };
        let (kind, code) = match problem {
            ProblemType::Unauthorized | ProblemType::ClockSkew => (WRONG, "invalid_api_key"),
            ProblemType::Forbidden => (WRONG, "insufficient_permissions"),
            ProblemType::ModelNotFound => (WRONG, "model_not_found"),
            ProblemType::NotFound => (WRONG, "unknown_url"),
            ProblemType::MethodNotAllowed => (WRONG, "method_not_supported"),
            ProblemType::TicketGone => (WRONG, "ticket_gone"),
            ProblemType::Invalid => (WRONG, "invalid_value"),
            ProblemType::TooLarge => (WRONG, "request_too_large"),
            ProblemType::KeyReused => (WRONG, "idempotency_key_reused"),
            ProblemType::TooManyRequests => (TOO_MUCH, "rate_limit_exceeded"),
            ProblemType::DeadlinePassed => (FAILED, "deadline_passed"),
            ProblemType::BackendFailed => (FAILED, "backend_failed"),
            ProblemType::BackendStalled => (FAILED, "backend_stalled"),
            _ if status >= 500 => (FAILED, "server_error"),
            _ => (WRONG, "invalid_request"),
        };
        Self { status, kind, code }
    }
}

impl From<ProblemType> for Failure {
    fn from(problem: ProblemType) -> Self {
        Self::of(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_whose_fault_it_is_and_so_does_the_type() {
        let all = ProblemType::ALL.iter().copied().map(Failure::of).chain(Failure::OF_AGENTS);
        for Failure { status, kind, code } in all {
            assert_eq!(kind == FAILED, status >= 500, "{code}");
            assert_eq!(kind == TOO_MUCH, status == 429, "{code}");
        }
    }
}
