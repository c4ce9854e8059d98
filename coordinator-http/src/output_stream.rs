//! A job's output as server-sent events, from wherever the reader was, on any copy of the coordinator.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::response::{
    Sse,
    sse::{Event, KeepAlive},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::{Stream, stream};
use http::HeaderMap;
use serde::Serialize;
use titan_api::{
    ids::JobId,
    jobs::JobKind,
    output::{Chunk, Encoding, Output, OutputAttempt, OutputEnd, OutputGap},
};
use titan_lua::{
    Pool, StoreError,
    jobs::GetJob,
    output::{ReadOutput, Slice, StoredChunk},
    watch::{Topic, Watch},
};
use tokio::time::{Instant, sleep};

use crate::{
    auth::callers::{JobsRead, KeyCaller},
    error::ApiError,
    routes::no_such_job,
    state::AppState,
    waiters::Seat,
};

/// How long one stream lasts; its reader then comes back with `Last-Event-ID`.
const LONGEST: Duration = Duration::from_hours(1);
/// How often a reader that hears of no change looks by itself, which also renews the agent's haste.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often a comment shows that the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often, and how long, a stream outlives an outage of Redis.
const RETRY_EVERY: Duration = Duration::from_secs(1);
const RETRIES: u32 = 30;

/// Where a reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The attempt that it reads; none before the first.
    pub(crate) attempt: Option<u32>,
    /// Bytes that it has read of it.
    pub(crate) offset: u64,
}

impl Place {
    /// The place in `Last-Event-ID`, if there is one.
    pub(crate) fn from_last_event(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let Some(value) = headers.get("last-event-id") else { return Ok(None) };
        let place = value.to_str().ok().and_then(|text| {
            let (attempt, offset) = text.split_once('-')?;
            Some(Self { attempt: Some(attempt.parse().ok()?), offset: offset.parse().ok()? })
        });
        place.map(Some).ok_or_else(|| ApiError::BadRequest("Last-Event-ID must be `attempt-offset`".to_owned()))
    }
}

/// A stored slice as readers see it.
pub(crate) fn shown(slice: Slice) -> Output {
    Output {
        attempt: slice.attempt,
        state: slice.state,
        chunks: slice.chunks.into_iter().map(chunk).collect(),
        skipped_bytes: slice.skipped_bytes,
        next_offset: slice.next_offset,
        complete: slice.complete,
    }
}

fn chunk(stored: StoredChunk) -> Chunk {
    let (data, encoding) = match String::from_utf8(stored.data) {
        Ok(text) => (text, Encoding::Utf8),
        Err(error) => (STANDARD.encode(error.into_bytes()), Encoding::Base64),
    };
    Chunk { offset: stored.offset, stream: stored.stream, data, encoding }
}

/// The stream. A job that does not exist, or a store that is away, is refused before it begins.
pub(crate) async fn follow(
    state: AppState,
    caller: KeyCaller<JobsRead>,
    job: JobId,
    place: Place,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let seat = state.waiters.reader(&caller.owner)?;
    let pool = caller.pool;
    // Whoever names jobs that do not exist must not leave a channel for each.
    let known = GetJob { job: &job }.run(&pool).await?.ok_or_else(|| no_such_job(&job))?;
    if known.kind == JobKind::Inference && known.submitted_by != caller.owner {
        return Err(ApiError::Forbidden("what a model answers is shown to the key that asked only".to_owned()));
    }
    let watch = pool.watch(Topic::Job(job.clone())).await?;
    let mut reader = Reader {
        state,
        pool,
        job,
        place,
        watch,
        ready: VecDeque::new(),
        until: Instant::now() + LONGEST,
        more: false,
        over: false,
        _seat: seat,
    };
    let begun = reader.look().await?;
    if !begun {
        return Err(no_such_job(&reader.job));
    }
    let events = stream::unfold(reader, |mut reader| async move { Some((Ok(reader.next().await?), reader)) });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// One reader of one job.
struct Reader {
    state: AppState,
    pool: Pool,
    job: JobId,
    place: Place,
    watch: Watch,
    ready: VecDeque<Event>,
    until: Instant,
    /// Whether the last piece may not have been the last one that is there.
    more: bool,
    over: bool,
    _seat: Seat,
}

impl Reader {
    /// The next event; none at the end, at a shutdown, and when the stream has lasted long enough.
    async fn next(&mut self) -> Option<Event> {
        let mut failures = 0;
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let closing = self.state.closing();
            if self.over || closing.is_cancelled() || Instant::now() >= self.until {
                return None;
            }
            if !self.more {
                self.state.waiters.has_changed(&mut self.watch, Instant::now() + LOOK_EVERY).await;
            }
            match self.look().await {
                Ok(true) => failures = 0,
                Err(_) if failures < RETRIES => {
                    failures += 1;
                    self.more = true;
                    closing.run_until_cancelled(sleep(RETRY_EVERY)).await;
                }
                Ok(false) | Err(_) => return None,
            }
        }
    }

    /// Makes events of a piece of output; `false` if the job is gone. A piece is bounded, so that what has come is sent
    /// before the next one is read.
    async fn look(&mut self) -> Result<bool, StoreError> {
        let read = ReadOutput { job: &self.job, attempt: self.place.attempt, offset: self.place.offset, follow: true };
        let Some(slice) = read.run(&self.pool).await? else { return Ok(false) };
        self.more = !slice.chunks.is_empty();
        let complete = slice.complete;
        self.take(slice);
        if complete { self.end().await } else { Ok(true) }
    }

    fn take(&mut self, slice: Slice) {
        if self.place.attempt != Some(slice.attempt) && slice.attempt > 0 {
            self.place = Place { attempt: Some(slice.attempt), offset: 0 };
            self.push("attempt", &OutputAttempt { attempt: slice.attempt });
        }
        if slice.skipped_bytes > 0 {
            self.place.offset += slice.skipped_bytes;
            self.push("gap", &OutputGap { attempt: slice.attempt, skipped_bytes: slice.skipped_bytes });
        }
        self.place.offset = slice.next_offset;
        if !slice.chunks.is_empty() {
            let output = shown(slice);
            self.push("output", &output);
        }
    }

    async fn end(&mut self) -> Result<bool, StoreError> {
        let Some(job) = GetJob { job: &self.job }.run(&self.pool).await? else { return Ok(false) };
        let end = OutputEnd {
            state: job.state,
            attempt: job.attempt,
            exit_code: job.exit_code,
            signal: job.signal,
            reason: job.reason,
        };
        self.push("end", &end);
        self.over = true;
        Ok(true)
    }

    /// An event with the place behind it as its id.
    fn push<T: Serialize>(&mut self, name: &str, data: &T) {
        let id = format!("{}-{}", self.place.attempt.unwrap_or(0), self.place.offset);
        if let Ok(event) = Event::default().event(name).id(id).json_data(data) {
            self.ready.push_back(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use titan_api::output::Stream;

    use super::*;

    #[test]
    fn a_reader_resumes_where_its_last_event_was() {
        let place = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("last-event-id", HeaderValue::from_str(text).unwrap());
            Place::from_last_event(&headers)
        };
        assert_eq!(place("2-4096").unwrap(), Some(Place { attempt: Some(2), offset: 4_096 }));
        assert_eq!(Place::from_last_event(&HeaderMap::new()).unwrap(), None);
        for wrong in ["", "2", "2-", "-1", "a-b", "2-4-6", "2--1", "99999999999-0"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_in_base64() {
        let stored = |data: &[u8]| StoredChunk { offset: 0, stream: Stream::Stdout, data: data.to_vec() };
        assert_eq!(chunk(stored("é".as_bytes())).data, "é");
        let binary = chunk(stored(&[0xff, 0]));
        assert_eq!((binary.encoding, binary.data.as_str()), (Encoding::Base64, "/wA="));
    }
}
