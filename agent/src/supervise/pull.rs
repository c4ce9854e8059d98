//! Having Ollama fetch a model, once it runs.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::timeout;

use crate::backends::{Http, cause};

/// From one sign of progress to the next.
const PATIENCE: Duration = Duration::from_mins(5);
/// Bytes of one line of its answer.
const LINE_BYTES: usize = 64 * 1_024;

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    models: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
}

/// A step of it.
#[derive(Debug, Default, Deserialize)]
struct Step {
    #[serde(default)]
    status: String,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    total: u64,
    #[serde(default)]
    completed: u64,
}

/// Sees to it that `model` is there, and `tell`s the percent of it. Gives whether it had to be fetched.
///
/// # Errors
/// It cannot be had, in words.
pub(super) async fn pull(http: &Http, model: &str, tell: impl Fn(u64)) -> Result<bool, String> {
    let tags: Tags = http.list("/api/tags").await.map_err(|e| e.to_string())?;
    let with_tag = format!("{model}:latest");
    if tags.models.iter().any(|tag| tag.name == model || tag.name == with_tag) {
        return Ok(false);
    }
    let request = http.post("/api/pull").json(&serde_json::json!({ "model": model, "stream": true }));
    let answer = timeout(PATIENCE, request.send()).await.map_err(|_| "it does not answer".to_owned())?;
    let mut answer = answer.map_err(|e| cause(&e))?;
    let status = answer.status();
    let (mut rest, mut last) = (Vec::new(), Step::default());
    loop {
        let piece = timeout(PATIENCE, answer.chunk()).await.map_err(|_| "it goes on no more".to_owned())?;
        let Some(piece) = piece.map_err(|e| cause(&e))? else { break };
        rest.extend_from_slice(&piece);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<_> = rest.drain(..=end).collect();
            last = step(&line, &tell)?.unwrap_or(last);
        }
        if rest.len() > LINE_BYTES {
            return Err("its answer is none that Ollama gives".to_owned());
        }
    }
    last = step(&rest, &tell)?.unwrap_or(last);
    if status.is_success() && last.status == "success" { Ok(true) } else { Err(format!("it broke off ({status})")) }
}

fn step(line: &[u8], tell: &impl Fn(u64)) -> Result<Option<Step>, String> {
    let Ok(step) = serde_json::from_slice::<Step>(line) else { return Ok(None) };
    if let Some(error) = step.error {
        return Err(error.chars().take(400).map(|c| if c.is_control() { ' ' } else { c }).collect());
    }
    if let Some(percent) = step.completed.saturating_mul(100).checked_div(step.total) {
        tell(percent.min(100));
    }
    Ok(Some(step))
}
