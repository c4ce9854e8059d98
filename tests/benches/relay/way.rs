//! Asking, and when the tokens came.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, future::join_all};
use reqwest::Client;
use titan_tests::relaying_agent::chat;
use tokio::time::sleep;

use crate::backend::Plan;

/// Where requests go.
pub(crate) struct Way {
    client: Client,
    url: String,
    key: Option<String>,
}

/// When the tokens of one answer came, after it was asked for.
pub(crate) struct Timed {
    pub(crate) first: Duration,
    pub(crate) gaps: Vec<Duration>,
    pub(crate) whole: Duration,
    pub(crate) tokens: usize,
}

/// When streams begin: spread over an answer's length, as those of clients who know nothing of each other, or all
/// together, again and again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Starts {
    Spread,
    Together,
}

impl Starts {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Spread => "",
            Self::Together => " in bursts",
        }
    }
}

impl Way {
    pub(crate) fn to(url: String, key: Option<String>) -> Self {
        let client = Client::builder().no_proxy().pool_max_idle_per_host(256).build().unwrap();
        Self { client, url, key }
    }

    /// So many answers on so many streams.
    pub(crate) async fn many(&self, plan: Plan, streams: usize, answers: usize, starts: Starts) -> Vec<Timed> {
        let length = plan.pause * u32::try_from(plan.tokens).unwrap();
        let all = (0..streams).map(|stream| async move {
            if starts == Starts::Spread {
                sleep(length.mul_f64(stream as f64 / streams as f64)).await;
            }
            let mut answered = Vec::new();
            for _ in 0..answers / streams {
                answered.push(self.ask(plan.model).await);
            }
            answered
        });
        join_all(all).await.into_iter().flatten().collect()
    }

    async fn ask(&self, model: &str) -> Timed {
        let mut request = self.client.post(format!("{}/v1/chat/completions", self.url)).json(&chat(model));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let began = Instant::now();
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), 200);
        // Two line breaks end an event, and the last event is no token.
        let (mut body, mut first, mut last, mut gaps, mut breaks) = (reply.bytes_stream(), None, began, Vec::new(), 0);
        while let Some(bytes) = body.next().await {
            let (bytes, now) = (bytes.unwrap(), Instant::now());
            breaks += bytes.split(|byte| *byte == b'\n').count() - 1;
            match first {
                None => first = Some(now - began),
                Some(_) => gaps.push(now - last),
            }
            last = now;
        }
        Timed { first: first.unwrap(), gaps, whole: began.elapsed(), tokens: breaks / 2 - 1 }
    }
}
