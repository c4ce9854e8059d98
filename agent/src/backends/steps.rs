//! What an Ollama says while it pulls a model: a line of JSON for each step, within bounds.

use reqwest::Response;
use serde::Deserialize;

use super::cause;

/// Bytes of one line.
const LINE_BYTES: usize = 64 * 1_024;
/// The word for a model that is there.
const SUCCESS: &str = "success";

/// One step, or why there will be none any more.
#[derive(Debug, Deserialize)]
pub(crate) struct Step {
    #[serde(default)]
    pub status: String,
    /// Bytes of the part that is being pulled, and of those the ones that are there.
    #[serde(default)]
    pub total: Option<u64>,
    #[serde(default)]
    pub completed: Option<u64>,
    #[serde(default)]
    pub error: Option<String>,
}

impl Step {
    /// Whether the model is there.
    pub(crate) fn is_last(&self) -> bool {
        self.status == SUCCESS
    }
}

/// What it does instead of saying how far it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    /// The connection broke.
    #[error("broke off: {}", cause(.0))]
    Broke(#[from] reqwest::Error),
    /// A line is too long.
    #[error("sends a line of more than 64 KiB")]
    TooLong,
    /// A line is something else.
    #[error("sends progress that is no JSON")]
    NoJson,
}

/// The steps of one answer.
#[derive(Debug)]
pub(crate) struct Steps {
    response: Response,
    read: Vec<u8>,
    is_over: bool,
}

impl Steps {
    pub(crate) fn of(response: Response) -> Self {
        Self { response, read: Vec::new(), is_over: false }
    }

    /// The next one; none at the end. Nothing is lost if this is dropped while it waits.
    ///
    /// # Errors
    /// [`Unread`]: there is no use in going on.
    pub(crate) async fn next(&mut self) -> Result<Option<Step>, Unread> {
        let line = self.next_line().await?;
        line.map(|line| serde_json::from_slice(&line).map_err(|_| Unread::NoJson)).transpose()
    }

    /// The next line that is not empty.
    async fn next_line(&mut self) -> Result<Option<Vec<u8>>, Unread> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            } else if self.is_over {
                let rest = std::mem::take(&mut self.read);
                return Ok(Some(rest).filter(|rest| !rest.trim_ascii().is_empty()));
            } else if self.read.len() > LINE_BYTES {
                return Err(Unread::TooLong);
            }
            match self.response.chunk().await? {
                Some(bytes) => self.read.extend_from_slice(&bytes),
                None => self.is_over = true,
            }
        }
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        loop {
            let end = self.read.iter().position(|b| *b == b'\n')?;
            let line: Vec<u8> = self.read.drain(..=end).collect();
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
        }
    }
}
