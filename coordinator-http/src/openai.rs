//! Failures in the shape that OpenAI's clients understand, for the routes that speak OpenAI's interface.

use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use titan_api::{
    openai::Failure,
    problem::{Problem, ProblemType},
};
use utoipa::ToSchema;

/// A failure in OpenAI's shape.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenAiFailure {
    error: OpenAiError,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenAiError {
    /// For people.
    message: String,
    /// The kind of failure.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The field that is wrong, if one is.
    param: Option<String>,
    /// What programs compare.
    code: &'static str,
}

/// Whether a path is one of those routes: then every failure has that shape, whoever found it.
pub(crate) fn speaks(path: &str) -> bool {
    path == "/v1" || path.starts_with("/v1/")
}

/// The problem as the body of a reply.
pub(crate) fn body(problem: &Problem) -> Value {
    let (kind, code) = words(problem);
    let param = problem.errors.first().map(|error| error.pointer.trim_start_matches('/').replace('/', "."));
    let param = param.filter(|param| !param.is_empty()).or_else(|| of_model(problem).then(|| "model".to_owned()));
    let failure = OpenAiFailure { error: OpenAiError { message: message(problem), kind, param, code } };
    serde_json::to_value(failure).unwrap_or_default()
}

/// The problem as an event in a stream that has begun.
pub(crate) fn event(problem: &Problem) -> String {
    format!("data: {}\n\n", body(problem))
}

/// The status.
pub(crate) fn status(problem: &Problem) -> StatusCode {
    let status = problem.problem_type().map_or(problem.status, |kind| Failure::of(kind).status);
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn of_model(problem: &Problem) -> bool {
    problem.problem_type() == Some(ProblemType::ModelNotFound)
}

fn message(problem: &Problem) -> String {
    let details: Vec<String> =
        problem.errors.iter().map(|e| format!("{} {}", e.pointer, e.detail).trim_start().to_owned()).collect();
    match (&problem.detail, details.is_empty()) {
        // Its code is that of every failure of the coordinator's own.
        (Some(detail), _) if problem.problem_type() == Some(ProblemType::StoreUnavailable) => {
            format!("{}: {detail}", problem.title)
        }
        (Some(detail), _) => detail.clone(),
        (None, false) => details.join("; "),
        (None, true) => problem.title.clone(),
    }
}

/// `type` and `code`.
fn words(problem: &Problem) -> (&'static str, &'static str) {
    let kind = problem.problem_type().unwrap_or(ProblemType::Internal);
    let Failure { kind, code, .. } = Failure::of(kind);
    (kind, code)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use titan_api::problem::FieldError;

    use super::*;

    #[test]
    fn a_wrong_field_is_named_as_openais_clients_expect() {
        let mut problem = Problem::new(ProblemType::Invalid);
        problem.errors.push(FieldError::new("/messages/0/role", "is missing"));
        assert_eq!(status(&problem), 400);
        assert_eq!(
            body(&problem),
            json!({"error": {
                "message": "/messages/0/role is missing", "type": "invalid_request_error", "param": "messages.0.role",
                "code": "invalid_value",
            }})
        );
    }

    #[test]
    fn a_store_that_is_away_is_told_and_read_as_that() {
        let problem = Problem::new(ProblemType::StoreUnavailable).with_detail("nothing was changed; try again");
        let body = body(&problem);
        assert_eq!(body["error"]["message"], "The store is unavailable: nothing was changed; try again");
        let read = Problem::of_openai(503, &body).unwrap();
        assert_eq!((read.problem_type(), read.detail), (problem.problem_type(), problem.detail));
        let busy = super::body(&Problem::new(ProblemType::Overloaded).with_detail("too much to do"));
        assert_eq!(Problem::of_openai(503, &busy).unwrap().problem_type(), Some(ProblemType::Overloaded));
    }

    #[test]
    fn every_problem_has_a_type_and_a_code() {
        for kind in ProblemType::ALL {
            let error = &body(&Problem::new(*kind))["error"];
            let is_failure = kind.status() >= 500;
            assert_eq!(error["type"] == "server_error", is_failure, "{kind:?}");
            assert!(error["code"].is_string() && error["message"].is_string(), "{kind:?}");
        }
    }
}
