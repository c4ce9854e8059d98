//! A streamed answer as one chunked upload to the coordinator, so that a token is on its way as soon as it is there. What
//! was sent is kept until the coordinator says that it has it; if it takes no uploads or one is lost, the rest goes by
//! reports.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame};
use reqwest::{Method, header::CONTENT_TYPE};
use titan_api::{client::ClientError, headers, inference::StreamedOutput, work::HeldLease};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tracing::debug;

use crate::{
    agent::Agent,
    clock::{millis, now_ms},
};

/// Chunks that may wait for the network; whoever writes more waits.
const CHUNKS: usize = 16;
/// After so many bytes an upload ends and the next begins, so that no more than that has to be kept.
const BYTES: u64 = 256 * 1_024;
/// An upload that lasts so long ends, too. Only its end is answered, and a coordinator that stands still, or that the network
/// has swallowed, goes on taking bytes for long: until then nobody else can have them.
const LASTS: Duration = Duration::from_secs(10);
/// How long a coordinator may take to say what it has, after the last byte.
const REPLY: Duration = Duration::from_secs(10);

/// An upload under way.
#[derive(Debug)]
pub(super) struct Upload {
    agent: Arc<Agent>,
    chunks: mpsc::Sender<Bytes>,
    reply: JoinHandle<Option<u64>>,
    sent: u64,
    /// On the box's clock.
    begun_ms: u64,
}

/// The upload is over, by whoever's will: where the coordinator's output ends, if it said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Over(pub Option<u64>);

impl Upload {
    /// Begins one at `offset`; `None` where none is served.
    pub(super) fn begin(agent: &Arc<Agent>, lease: &HeldLease, offset: u64) -> Option<Self> {
        let begun_ms = now_ms();
        if !agent.settings.borrow().parking || !agent.uploads.may_begin(begun_ms) {
            return None;
        }
        let (chunks, body) = mpsc::channel(CHUNKS);
        let sending = send(Arc::clone(agent), lease.clone(), offset, Chunks(body), begun_ms);
        Some(Self { agent: Arc::clone(agent), chunks, reply: tokio::spawn(sending), sent: 0, begun_ms })
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// Nobody takes them any more, or not for so long that the coordinator must be taken for dead.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let chunk = Bytes::copy_from_slice(bytes);
        self.sent += chunk.len() as u64;
        tokio::select! {
            biased;
            ended = &mut self.reply => Err(Over(ended.ok().flatten())),
            // The body is dropped with the call; then the reply is there.
            sent = timeout(REPLY, self.chunks.send(chunk)) => sent.map(drop).map_err(|_| self.unheard()),
        }
    }

    /// Whether it is time to hear what the coordinator has of it.
    pub(super) fn is_due(&self) -> bool {
        self.sent >= BYTES || now_ms().saturating_sub(self.begun_ms) >= millis(LASTS)
    }

    /// Ends it.
    pub(super) async fn end(mut self) -> Over {
        // Its end is the end of the body.
        let (closed, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.chunks, closed));
        match timeout(REPLY, &mut self.reply).await {
            Ok(reply) => Over(reply.ok().flatten()),
            Err(_) => self.unheard(),
        }
    }

    /// The coordinator says nothing.
    fn unheard(&self) -> Over {
        self.agent.uploads.lost(self.begun_ms, now_ms());
        Over(None)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.reply.abort();
    }
}

/// One call. Gives where the output ends, if the coordinator says so.
async fn send(agent: Arc<Agent>, lease: HeldLease, offset: u64, chunks: Chunks, begun_ms: u64) -> Option<u64> {
    let client = agent.link.client();
    let path = format!("/api/v1/jobs/{}/attempts/{}/stream", lease.job_id, lease.attempt);
    let request = client
        .request(Method::POST, &path)
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(headers::LEASE, lease.lease_id.as_str())
        .header(headers::OFFSET, offset)
        .body(reqwest::Body::wrap(chunks));
    match client.send(request).await {
        Ok(reply) => {
            agent.uploads.heard();
            Some(reply.json::<StreamedOutput>().await.ok()?.accepted_offset)
        }
        Err(error) => {
            debug!(job.id = %lease.job_id, "the upload of an answer ended: {error}");
            match status(&error) {
                Some(404 | 405 | 501) => agent.uploads.refused(now_ms()),
                // What something else on the way says is no word of a coordinator.
                _ if !matches!(error, ClientError::Refused { .. }) => agent.uploads.lost(begun_ms, now_ms()),
                status => {
                    agent.uploads.heard();
                    // It may be cancelled or another's; a heartbeat tells which.
                    if status == Some(409) {
                        agent.beat_now.notify_one();
                    }
                }
            }
            None
        }
    }
}

fn status(error: &ClientError) -> Option<u16> {
    match error {
        ClientError::Refused { problem, .. } => Some(problem.status),
        ClientError::Unexpected { status, .. } => status.get(..3)?.parse().ok(),
        ClientError::NotHttp { .. } | ClientError::Unreachable { .. } => None,
    }
}

/// The body of an upload: what is put in at the other end.
struct Chunks(mpsc::Receiver<Bytes>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
