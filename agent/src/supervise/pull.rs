//! Having an Ollama that the agent has started get its model, once it runs.

use std::time::Duration;

use tokio::time::timeout;

use super::short;
use crate::backends::{Http, Kind, Steps, cause, dialect};

/// From one sign of progress to the next: an Ollama adds up large files without a word.
const PATIENCE: Duration = Duration::from_mins(15);

/// Sees to it that `model` is there, and `tell`s the percent of it. Gives whether it had to be pulled.
///
/// # Errors
/// It cannot be had, in words.
pub(super) async fn pull(http: &Http, model: &str, tell: impl Fn(u64)) -> Result<bool, String> {
    let with_tag = format!("{model}:latest");
    let there = dialect(Kind::Ollama).models(http).await.map_err(|e| e.to_string())?;
    if there.iter().any(|found| found.name == model || found.name == with_tag) {
        return Ok(false);
    }
    let request = http.post("/api/pull").json(&serde_json::json!({ "model": model, "stream": true }));
    let answer = timeout(PATIENCE, request.send()).await.map_err(|_| "it does not answer".to_owned())?;
    let answer = answer.map_err(|e| cause(&e))?;
    let (status, mut steps, mut is_there) = (answer.status(), Steps::of(answer), false);
    loop {
        let step = timeout(PATIENCE, steps.next()).await.map_err(|_| "it goes on no more".to_owned())?;
        let Some(step) = step.map_err(|e| format!("it {e} ({status})"))? else { break };
        if let Some(error) = step.error {
            return Err(short(&error));
        }
        if let Some(percent) = step.completed.unwrap_or(0).saturating_mul(100).checked_div(step.total.unwrap_or(0)) {
            tell(percent.min(100));
        }
        is_there = step.is_last();
    }
    if is_there && status.is_success() { Ok(true) } else { Err(format!("it ended before it had the model ({status})")) }
}
