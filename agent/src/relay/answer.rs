//! One answer: its status and head, then a stream of events or a document. Whatever a backend sends is bounded, and only
//! what is well-formed is given on.

use std::sync::Arc;

use reqwest::{
    Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use serde_json::Value;
use titan_api::{
    inference::{InferenceRoute, InferenceSpec, Usage},
    limits,
    trace::{TRACEPARENT, Traceparent},
    work::{Happening, HeldLease},
};
use tokio::{sync::mpsc, time::Instant};

use super::{
    body,
    ending::Broken,
    events::{self, Events},
    patience::Patience,
    pull,
    way::{Piece, Way},
};
use crate::{agent::Agent, backends::Target, clock::millis, outbox::Spool};

/// Bytes of a refusal; the rest is cut.
const REFUSAL_BYTES: usize = 64 * 1_024;

/// What it takes to answer one request.
pub(super) struct Answer<'a> {
    pub agent: &'a Arc<Agent>,
    pub lease: &'a HeldLease,
    pub request: &'a InferenceSpec,
    pub traceparent: Option<Traceparent>,
    pub spool: &'a Arc<Spool>,
    /// Who gets the answer, if not the coordinator.
    pub client: Option<mpsc::Sender<Piece>>,
}

impl Answer<'_> {
    /// Gives the whole answer, and how it ended.
    pub(super) async fn give(&self) -> Happening {
        if self.request.route == InferenceRoute::Pull {
            return pull::run(self).await;
        }
        let Some(target) = self.agent.backends.target(&self.request.model) else {
            return Broken::Backend("no backend of this agent serves the model any more".to_owned()).told();
        };
        let more = if self.request.continues { target.backend.dialect.to_continue() } else { &[] };
        let Some(body) = body::for_backend(&self.request.body, &target.model.own, more) else {
            return Broken::Backend("the request is no JSON object".to_owned()).told();
        };
        let patience = Patience::new(self.request);
        let mut way = Way::new(self.agent, self.lease, self.spool, self.client.clone());
        let relayed = self.relay(&target, &patience, body, &mut way).await;
        way.end().await;
        match relayed {
            Ok(usage) => Happening::Completed { result: None, message: None, usage: Some(usage) },
            Err(broken) => {
                if matches!(broken, Broken::Backend(_)) {
                    self.agent.backends.doubt();
                }
                broken.told()
            }
        }
    }

    async fn relay(
        &self,
        target: &Target,
        patience: &Patience<'_>,
        body: String,
        way: &mut Way<'_>,
    ) -> Result<Usage, Broken> {
        let asking =
            target.backend.http.post(self.request.route.path()).header(CONTENT_TYPE, "application/json").body(body);
        let asking = match self.traceparent {
            Some(place) => asking.header(TRACEPARENT, place.to_string()),
            None => asking,
        };
        let accept = if self.request.stream { "text/event-stream" } else { "application/json" };
        let asking = async { Ok(asking.header("accept", accept).send().await?) };
        way.begin(self.request.stream);
        let mut response = patience.for_first(target, asking).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(refusal(&mut response, patience, way).await);
        }
        check_type(&response, self.request.stream)?;
        if self.request.stream {
            stream(response, target, patience, way).await
        } else {
            document(response, target, patience, way).await
        }
    }
}

/// Whether a status says that the request is wrong, wherever it is asked. The agent's key is the operator's business, and
/// being busy passes; but what a backend has not got it will not have at the next attempt either.
fn is_about_request(status: StatusCode) -> bool {
    match status.as_u16() {
        401 | 403 | 407 | 408 | 429 => false,
        501 | 505 => true,
        _ => status.is_client_error(),
    }
}

/// A status other than 2xx: the backend's words are given on if they are about the request.
async fn refusal(response: &mut Response, patience: &Patience<'_>, way: &mut Way<'_>) -> Broken {
    let status = response.status();
    if !is_about_request(status) {
        return Broken::Backend(words(status));
    }
    let mut text = Vec::new();
    while text.len() < REFUSAL_BYTES {
        let next = patience.for_next(async { Ok(response.chunk().await?) }).await;
        let Ok(Some(part)) = next else { break };
        text.extend_from_slice(&part);
    }
    text.truncate(REFUSAL_BYTES);
    way.refused(status).await;
    way.write(&text).await;
    Broken::Refused(status)
}

async fn stream(
    mut response: Response,
    target: &Target,
    patience: &Patience<'_>,
    way: &mut Way<'_>,
) -> Result<Usage, Broken> {
    let mut events = Events::default();
    let (mut first, mut last, mut bytes) = (None, patience.asked, 0_u64);
    while !events.seen.complete {
        let next = next_events(&mut response, &mut events);
        let (whole, good) = match first {
            None => patience.for_first(target, next).await?,
            Some(_) => patience.for_next(next).await?,
        };
        last = Instant::now();
        first = first.or(Some(last));
        bytes += whole.len() as u64;
        // What has no event in it is no answer; as long as nothing was given on, another agent may be asked.
        if events.seen.events > 0 {
            way.write(&whole).await;
        }
        good?;
        if bytes > limits::ANSWER_BYTES as u64 {
            return Err(Broken::Backend("the backend's answer is longer than 32 MiB".to_owned()));
        }
    }
    let first = first.unwrap_or(last);
    let load_ms = patience.load_ms();
    let seen = events.seen;
    Ok(Usage {
        prompt_tokens: seen.usage.prompt_tokens,
        completion_tokens: seen.usage.completion_tokens.or(Some(seen.pieces)),
        first_token_ms: Some(millis(first - patience.asked).saturating_sub(load_ms.unwrap_or(0))),
        generation_ms: Some(millis(last - first)),
        load_ms,
    })
}

/// A document is given on as a whole, so that one that breaks off can be asked for elsewhere.
async fn document(
    mut response: Response,
    target: &Target,
    patience: &Patience<'_>,
    way: &mut Way<'_>,
) -> Result<Usage, Broken> {
    let mut document = Vec::new();
    let mut next = patience.for_first(target, async { Ok(response.chunk().await?) }).await?;
    while let Some(part) = next {
        if document.len() + part.len() > limits::DOCUMENT_BYTES {
            return Err(Broken::Backend("the backend's answer is longer than 8 MiB".to_owned()));
        }
        document.extend_from_slice(&part);
        next = patience.for_next(async { Ok(response.chunk().await?) }).await?;
    }
    let Ok(value) = serde_json::from_slice::<Value>(&document) else {
        return Err(Broken::Backend("the backend's answer is no JSON".to_owned()));
    };
    way.write(&document).await;
    let load_ms = patience.load_ms();
    let took_ms = millis(patience.asked.elapsed()).saturating_sub(load_ms.unwrap_or(0));
    // When its first token was made nobody knows.
    Ok(Usage { generation_ms: Some(took_ms), load_ms, ..events::usage(&value).unwrap_or_default() })
}

type Taken = (Vec<u8>, Result<(), events::Malformed>);

/// The next whole events, once there is at least one that is no comment. Comments are held back until then, so that a
/// backend cannot seem alive by them.
async fn next_events(response: &mut Response, events: &mut Events) -> Result<Taken, Broken> {
    let before = events.seen.events;
    let mut whole = Vec::new();
    loop {
        let Some(bytes) = response.chunk().await? else {
            return Err(Broken::Backend("the backend's answer ended in the middle".to_owned()));
        };
        let (more, good) = events.take(&bytes);
        whole.extend(more);
        if good.is_err() || events.seen.events > before {
            return Ok((whole, good));
        }
        if whole.len() > REFUSAL_BYTES {
            // Nothing but comments; they mean nothing to anybody.
            whole.clear();
        }
    }
}

fn check_type(response: &Response, stream: bool) -> Result<(), Broken> {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = header(CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let wanted = if stream { "text/event-stream" } else { "application/json" };
    if kind != wanted {
        return Err(Broken::Backend(format!("the backend answers with `{}` instead of {wanted}", kind.escape_debug())));
    }
    match header(CONTENT_ENCODING) {
        "" | "identity" => Ok(()),
        _ => Err(Broken::Backend("the backend's answer is compressed, which nobody asked for".to_owned())),
    }
}

pub(super) fn words(status: StatusCode) -> String {
    match status.as_u16() {
        401 | 403 | 407 => {
            format!("the backend does not accept this agent ({status}); its operator names a key with api_key_file")
        }
        300..=399 => format!("the backend points elsewhere ({status}), where nothing is sent"),
        _ => format!("the backend answers {status}"),
    }
}
