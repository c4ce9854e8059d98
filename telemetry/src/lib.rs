//! What coordinator and agent tell of themselves: spans, sent to a collector over OTLP/HTTP in JSON; log lines in a file of bounded
//! size; and the page of figures that Prometheus reads.
//!
//! A span is put into a bounded queue, and a task of its own sends them in batches. Nothing here can hold up or fail the work
//! that spans are about: where the queue is full or the collector away, spans are lost and counted.

mod log_file;
mod log_filter;
mod otlp;
pub mod page;
mod settings;
mod span;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use titan_api::trace::Traceparent;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout, timeout_at},
};

pub use self::{
    log_file::LogFile,
    log_filter::log_filter,
    settings::{Settings, WrongSetting},
    span::{Kind, Moment, Span, Value, random_span_id},
};

/// Spans that may wait to be sent.
const QUEUE: usize = 2_048;
/// Spans in one request.
const BATCH: usize = 512;
/// How long spans are gathered.
const GATHER: Duration = Duration::from_secs(1);
/// How often one batch is sent, and how long to wait before the second and the third time.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// Of which program the spans are.
#[derive(Debug, Clone)]
pub struct Service {
    /// For example `titan-coordinator`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// Takes spans. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Exporter {
    queue: mpsc::Sender<Message>,
    counts: Arc<Counts>,
    /// The part of new traces that is recorded, 0 to 1.
    ratio: f64,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    lost: AtomicU64,
}

#[derive(Debug)]
enum Message {
    Span(Box<Span>),
    Flush(oneshot::Sender<()>),
}

impl Exporter {
    /// Starts the task that sends, on the runtime of the caller.
    ///
    /// # Errors
    /// The settings cannot be used.
    pub fn start(settings: &Settings, service: &Service) -> Result<Self, WrongSetting> {
        let collector = otlp::Collector::new(settings, service)?;
        let (queue, messages) = mpsc::channel(QUEUE);
        let counts = Arc::<Counts>::default();
        tokio::spawn(run(collector, messages, Arc::clone(&counts)));
        Ok(Self { queue, counts, ratio: settings.ratio })
    }

    /// The beginning of a new trace, if this one is to be recorded.
    #[must_use]
    pub fn root(&self) -> Option<Traceparent> {
        span::is_chosen(self.ratio).then(|| Traceparent {
            trace_id: span::random_trace_id(),
            span_id: random_span_id(),
            sampled: true,
        })
    }

    /// Takes a span, or loses it where too many wait already.
    pub fn push(&self, span: Span) {
        if self.queue.try_send(Message::Span(Box::new(span))).is_err() {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends what waits, for so long at most.
    pub async fn flush(&self, most: Duration) {
        let (done, sent) = oneshot::channel();
        let flush = async {
            if self.queue.send(Message::Flush(done)).await.is_ok() {
                let _ = sent.await;
            }
        };
        let _ = timeout(most, flush).await;
    }

    /// How many spans were sent, and how many were lost.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.counts.sent.load(Ordering::Relaxed), self.counts.lost.load(Ordering::Relaxed))
    }
}

/// Sends until nobody is left who could push.
async fn run(collector: otlp::Collector, mut messages: mpsc::Receiver<Message>, counts: Arc<Counts>) {
    let mut is_well = true;
    loop {
        let (batch, flushed) = gather(&mut messages).await;
        let is_over = batch.is_empty() && flushed.is_none();
        if !batch.is_empty() {
            let sent = send(&collector, &batch, flushed.is_some()).await;
            let count = if sent.is_ok() { &counts.sent } else { &counts.lost };
            count.fetch_add(batch.len() as u64, Ordering::Relaxed);
            match &sent {
                Err(error) if is_well => {
                    tracing::warn!(component = "telemetry", %error, "spans cannot be sent; they are lost until they can");
                }
                Ok(()) if !is_well => tracing::info!(component = "telemetry", "spans are sent again"),
                _ => {}
            }
            is_well = sent.is_ok();
        }
        if let Some(flushed) = flushed {
            let _ = flushed.send(());
        }
        if is_over {
            return;
        }
    }
}

/// The spans of the next request, and who waits for it to be sent.
async fn gather(messages: &mut mpsc::Receiver<Message>) -> (Vec<Span>, Option<oneshot::Sender<()>>) {
    let mut batch = Vec::new();
    let mut until = None;
    while batch.len() < BATCH {
        let deadline = *until.get_or_insert_with(|| Instant::now() + GATHER);
        let next =
            if batch.is_empty() { Ok(messages.recv().await) } else { timeout_at(deadline, messages.recv()).await };
        match next {
            Ok(Some(Message::Span(span))) => {
                if batch.is_empty() {
                    until = Some(Instant::now() + GATHER);
                }
                batch.push(*span);
            }
            Ok(Some(Message::Flush(flushed))) => return (batch, Some(flushed)),
            Ok(None) | Err(_) => break,
        }
    }
    (batch, None)
}

/// Sends a batch, more than once if that may help and nobody waits for the end.
async fn send(collector: &otlp::Collector, batch: &[Span], is_last: bool) -> Result<(), otlp::NotSent> {
    let body = otlp::body(collector.resource(), batch);
    let mut tries = 0;
    loop {
        tries += 1;
        match collector.post(&body).await {
            Err(error) if error.may_pass() && tries < TRIES && !is_last => sleep(PAUSE * tries).await,
            other => return other,
        }
    }
}
