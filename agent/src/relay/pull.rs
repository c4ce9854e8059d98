//! Pulling a model: the backend gets it from its library, and what it says of its progress is told on, in fewer words.
//!
//! Dropping this drops the connection, by which the backend learns that nobody wants the model any more. What it has got
//! by then it keeps, and goes on from there the next time.

use std::time::Duration;

use reqwest::{Response, StatusCode, header::CONTENT_TYPE};
use serde::Deserialize;
use serde_json::json;
use titan_api::{inference::InferenceSpec, pull::PullProgress, work::Happening};
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    answer::{Answer, words},
    ending::Broken,
    way::Way,
};
use crate::backends::{Step, Steps};

/// What is told on comes no more often than this, so that a pull of a day writes little.
const BETWEEN: Duration = Duration::from_secs(1);
/// Bytes of a refusal.
const REFUSAL_BYTES: usize = 64 * 1_024;
/// Characters of the backend's words that are told on.
const WORDS: usize = 200;

/// Pulls the model that the request names, and gives how that ended.
pub(super) async fn run(answer: &Answer<'_>) -> Happening {
    let pulled = begin(answer).await;
    if !matches!(pulled, Err(Broken::NotPulled(_))) {
        // There is another model to tell of, or the backend may be gone.
        answer.agent.backends.doubt();
    }
    match pulled {
        Ok(()) => Happening::Completed { result: None, message: None, usage: None },
        Err(broken) => broken.told(),
    }
}

async fn begin(answer: &Answer<'_>) -> Result<(), Broken> {
    let model = model(&answer.request.body)?;
    let backend = answer.agent.backends.puller(&model).map_err(Broken::NotPulled)?;
    answer.agent.outbox.started(&answer.lease.lease_id);
    let body = json!({ "model": model, "stream": true }).to_string();
    let asking = backend.http.post(answer.request.route.path()).header(CONTENT_TYPE, "application/json").body(body);
    let limit = Duration::from_millis(answer.request.first_token_timeout_ms);
    let response = timeout(limit, asking.send()).await.map_err(|_| silent(limit))??;
    if !response.status().is_success() {
        return Err(refusal(response).await);
    }
    // Its pace is that of reports: an upload would stand open for hours.
    let mut teller =
        Teller { way: Way::new(answer.agent, answer.lease, answer.spool, None), waiting: None, told: None };
    let pulled = follow(response, answer.request, &mut teller).await;
    teller.tell().await;
    teller.way.end().await;
    pulled
}

/// The model that the body names.
fn model(body: &str) -> Result<String, Broken> {
    #[derive(Deserialize)]
    struct Asked {
        model: String,
    }
    let asked = serde_json::from_str::<Asked>(body).ok().map(|asked| asked.model);
    asked.filter(|model| !model.is_empty()).ok_or_else(|| Broken::NotPulled("the request names no model".to_owned()))
}

fn silent(limit: Duration) -> Broken {
    Broken::Silent(format!("the backend said nothing of its progress for {limit:?}"), limit)
}

/// A status other than 2xx: what is wrong with the model is final, the rest may pass.
async fn refusal(mut response: Response) -> Broken {
    let status = response.status();
    let is_final = status.is_client_error()
        && !matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::UNAUTHORIZED);
    let mut text = Vec::new();
    while let Ok(Ok(Some(part))) = timeout(BETWEEN, response.chunk()).await
        && text.len() < REFUSAL_BYTES
    {
        text.extend_from_slice(&part);
    }
    match serde_json::from_slice::<Step>(&text).ok().and_then(|step| step.error) {
        Some(error) if is_final => Broken::NotPulled(says(&error)),
        Some(error) => Broken::Backend(says(&error)),
        None if is_final => Broken::NotPulled(words(status)),
        None => Broken::Backend(words(status)),
    }
}

fn says(error: &str) -> String {
    format!("the backend says: {}", cut(error))
}

fn cut(text: &str) -> String {
    text.chars().take(WORDS).collect()
}

/// Reads to the end, telling on what is read.
async fn follow(response: Response, request: &InferenceSpec, teller: &mut Teller<'_>) -> Result<(), Broken> {
    let silence = Duration::from_millis(request.token_timeout_ms);
    let mut steps = Steps::of(response);
    loop {
        let limit = Instant::now() + silence;
        let step = loop {
            tokio::select! {
                step = steps.next() => break step?,
                () = sleep_until(teller.due()), if teller.waiting.is_some() => teller.tell().await,
                () = sleep_until(limit) => return Err(silent(silence)),
            }
        };
        let step = step.ok_or_else(|| Broken::Backend("the backend ended before it had the model".to_owned()))?;
        if let Some(error) = step.error {
            return Err(Broken::NotPulled(says(&error)));
        }
        let is_there = step.is_last();
        let (status, total_bytes, completed_bytes) = (cut(&step.status), step.total, step.completed);
        teller.take(PullProgress { status, total_bytes, completed_bytes }).await;
        if is_there {
            return Ok(());
        }
    }
}

/// Tells the latest, no more often than it may; of what comes in between only the last is told.
struct Teller<'a> {
    way: Way<'a>,
    waiting: Option<PullProgress>,
    told: Option<Instant>,
}

impl Teller<'_> {
    /// When more may be told.
    fn due(&self) -> Instant {
        self.told.map_or_else(Instant::now, |told| told + BETWEEN)
    }

    async fn take(&mut self, progress: PullProgress) {
        self.waiting = Some(progress);
        if self.due() <= Instant::now() {
            self.tell().await;
        }
    }

    async fn tell(&mut self) {
        let Some(progress) = self.waiting.take() else { return };
        self.told = Some(Instant::now());
        // A text and two numbers can always be written.
        let line = serde_json::to_string(&progress).unwrap_or_default() + "\n";
        self.way.write(line.as_bytes()).await;
    }
}
