//! A stream that has begun: whole events as they come, signs of life while nothing comes, and at a failure either an event
//! that says so or, where that was asked for, another agent that goes on.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};
use titan_api::{
    inference::InferenceSpec,
    jobs::{JobState, Reason, SubmitJob},
    limits,
};
use titan_lua::Pool;
use tokio::time::Instant;

use super::{
    asked::{self, Asked},
    following::{Ending, Step},
    request::{Relayed, Submission, refusal},
    sse::{Events, Said},
};
use crate::{error::ApiError, openai, server::Part, state::AppState, waiters::Seat};

/// How often a comment shows that the stream lives, while nothing else does.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How often another agent may go on.
const TAKEOVERS: u32 = 3;

/// What is needed to go on with an answer elsewhere, and what is held as long as it lasts.
pub(crate) struct Going {
    pub(crate) state: AppState,
    pub(crate) pool: Pool,
    pub(crate) owner: String,
    pub(crate) asked: Asked,
    pub(crate) _seat: Seat,
    /// Its part of the memory for what was asked, if that is kept, and for what was said, which is asked of who goes on.
    pub(crate) memory: Option<Part>,
}

/// The stream.
pub(crate) struct Streaming {
    relayed: Relayed,
    going: Going,
    events: Events,
    said: Said,
    begun: Bytes,
    takeovers: u32,
    sent: Instant,
    over: bool,
}

impl Streaming {
    /// Goes on with a request whose first bytes are these.
    pub(crate) fn new(relayed: Relayed, going: Going, begun: Bytes) -> Self {
        let (events, said) = (Events::default(), Said::default());
        Self { relayed, going, events, said, begun, takeovers: 0, sent: Instant::now(), over: false }
    }

    /// What to send next; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        let bytes = self.find().await?;
        self.sent = Instant::now();
        Some(bytes)
    }

    async fn find(&mut self) -> Option<Bytes> {
        let begun = std::mem::take(&mut self.begun);
        if let Some(events) = self.whole_events(&begun) {
            return Some(events);
        }
        while !self.over {
            if self.events.is_too_long() {
                let why = "an event of the model's answer is longer than 1 MiB".to_owned();
                return Some(self.fail(&ApiError::BackendFailed(why)));
            }
            if self.relayed.must_stop() {
                let stopped = self.relayed.stopped().await;
                return Some(self.fail(&stopped));
            }
            match self.relayed.next(self.sent + KEEP_ALIVE).await {
                Ok(Step::Bytes(bytes)) => {
                    if let Some(events) = self.whole_events(&bytes) {
                        return Some(events);
                    }
                }
                Ok(Step::Ended(ending)) => {
                    self.relayed.is_over(&ending);
                    if let Some(last) = self.end(&ending).await {
                        return Some(last);
                    }
                }
                Ok(Step::Nothing) => {
                    if let Err(refusal) = self.relayed.keep_deadline() {
                        return Some(self.fail(&refusal));
                    }
                }
                Err(error) => return Some(self.fail(&error.into())),
            }
            if self.sent.elapsed() >= KEEP_ALIVE {
                return Some(Bytes::from_static(b": waiting\n\n"));
            }
        }
        None
    }

    fn whole_events(&mut self, bytes: &[u8]) -> Option<Bytes> {
        let events = self.events.feed(bytes)?;
        if events.trim_ascii_end().ends_with(b"data: [DONE]") {
            self.relayed.is_answered();
        }
        if self.going.asked.goes_on {
            self.hear(&events);
        }
        Some(events)
    }

    /// Keeps what is said as long as somebody could be asked to go on with it.
    fn hear(&mut self, events: &[u8]) {
        let Going { state, owner, asked, memory, .. } = &mut self.going;
        let mut left = limits::PROMPT_BYTES.saturating_sub(asked.body.len() + self.said.text.len());
        self.said.hear(events, |bytes| {
            let (Some(rest), Ok(more), Some(memory)) =
                (left.checked_sub(bytes), state.prompts.take(owner, bytes), memory.as_mut())
            else {
                return false;
            };
            left = rest;
            memory.merge(more);
            true
        });
    }

    /// What is sent at the end of a job, if anything is; the stream may go on with another.
    async fn end(&mut self, ending: &Ending) -> Option<Bytes> {
        let rest = self.events.rest();
        if ending.state == JobState::Completed {
            self.over = true;
            return Some(rest).filter(|rest| !rest.is_empty());
        }
        if ending.reason == Some(Reason::BackendRejected) {
            self.over = true;
            return Some(told_by_backend(&rest).unwrap_or_else(|| event(&refusal(ending))));
        }
        if self.said.is_finished {
            self.over = true;
            return Some(Bytes::from_static(b"data: [DONE]\n\n"));
        }
        match self.take_over(ending).await {
            Ok(true) => None,
            Ok(false) => Some(self.fail(&refusal(ending))),
            Err(error) => Some(self.fail(&error)),
        }
    }

    /// Has another agent go on with the text so far, if that was asked for and can be done.
    async fn take_over(&mut self, ending: &Ending) -> Result<bool, ApiError> {
        let may_go_on = self.going.asked.goes_on
            && self.takeovers < TAKEOVERS
            && ending.state == JobState::Failed
            && !matches!(ending.reason, Some(Reason::DeadlinePassed | Reason::LoadTimeout))
            && !self.said.is_more_than_text;
        let Some(spec) = may_go_on.then(|| continued(&self.going.asked, &self.said)).flatten() else {
            return Ok(false);
        };
        self.takeovers += 1;
        let before = self.relayed.id().to_string();
        let labels = BTreeMap::from([("continues".to_owned(), before.clone())]);
        let spec = SubmitJob { labels, ..asked::job(spec) };
        let submission = Submission {
            spec: &spec,
            owner: &self.going.owner,
            idempotency: None,
            deadline_ms: self.going.asked.deadline_ms,
            session: self.going.asked.session.clone(),
            avoid: self.relayed.following.agent.clone(),
        };
        self.relayed = Relayed::submit(&self.going.state, &self.going.pool, submission).await?;
        tracing::info!(component = "relay", job.id = %self.relayed.id(), continues = before, "another agent goes on");
        Ok(true)
    }

    fn fail(&mut self, error: &ApiError) -> Bytes {
        self.over = true;
        tracing::info!(component = "relay", job.id = %self.relayed.id(), error = %error, "a stream broke off");
        event(error)
    }
}

fn event(error: &ApiError) -> Bytes {
    Bytes::from(openai::event(&error.problem()))
}

/// A document of the backend's, as an event.
fn told_by_backend(document: &[u8]) -> Option<Bytes> {
    let value: Value = serde_json::from_slice(document).ok()?;
    value.get("error").is_some().then(|| Bytes::from(format!("data: {value}\n\n")))
}

/// The request to go on with what was said; none if there is nothing left to say.
fn continued(asked: &Asked, said: &Said) -> Option<InferenceSpec> {
    let mut body: Value = serde_json::from_str(&asked.body).ok()?;
    for limit in ["max_tokens", "max_completion_tokens"] {
        if let Some(most) = body.get(limit).and_then(Value::as_u64) {
            let left = most.saturating_sub(said.pieces);
            if left == 0 {
                return None;
            }
            body[limit] = json!(left);
        }
    }
    let messages = body.get_mut("messages")?.as_array_mut()?;
    let last = messages.last_mut().filter(|last| last["role"] == "assistant" && last["content"].is_string());
    match last {
        Some(last) => {
            let text = format!("{}{}", last["content"].as_str().unwrap_or_default(), said.text);
            last["content"] = json!(text);
        }
        None if said.text.is_empty() => {}
        None => messages.push(json!({"role": "assistant", "content": said.text})),
    }
    let continues = messages.last().is_some_and(|last| last["role"] == "assistant");
    Some(InferenceSpec { continues, ..asked.with_body(body.to_string()) })
}
