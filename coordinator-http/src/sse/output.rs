//! A job's output as server-sent events, from wherever the reader was, on any copy of the coordinator.

use std::time::Duration;

use axum::response::{IntoResponse, Response, sse::Event};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderMap;
use serde::Serialize;
use titan_api::{
    ids::JobId,
    jobs::JobKind,
    output::{Chunk, Encoding, Output, OutputAttempt, OutputEnd, OutputGap, Since},
};
use titan_lua::{
    Pool, StoreError,
    jobs::GetJob,
    output::{ReadOutput, Slice, StoredChunk},
    watch::Topic,
};
use tokio::time::Instant;

use crate::{
    auth::callers::{JobsRead, KeyCaller},
    error::ApiError,
    routes::no_such_job,
    sse::{Events, Pages, Reader, Then, Unread},
    state::AppState,
};

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

/// What a model answers is shown to who asked, and to nobody else.
pub(crate) fn check_reader(reader: &str, kind: JobKind, asked_by: &str) -> Result<(), ApiError> {
    if kind == JobKind::Process || asked_by == reader {
        return Ok(());
    }
    Err(ApiError::Forbidden("what a model answers is shown to the key that asked only".to_owned()))
}

/// The stream. A job that does not exist, or a store that is away, is refused before it begins.
pub(crate) async fn follow(
    state: AppState,
    caller: KeyCaller<JobsRead>,
    job: JobId,
    place: Place,
    since: Option<Since>,
) -> Result<Response, ApiError> {
    let seat = state.waiters.reader(&caller.owner)?;
    let pool = caller.pool;
    // Whoever names jobs that do not exist must not leave a channel for each.
    let known = GetJob { job: &job }.run(&pool).await?.ok_or_else(|| no_such_job(&job))?;
    check_reader(&caller.owner, known.kind, &known.submitted_by)?;
    let watch = pool.watch(Topic::Job(job.clone())).await?;
    let mut pages = Pieces { pool, job, place };
    let mut events = Events::new();
    let then = pages.next(since, &mut events).await?.ok_or_else(|| no_such_job(&pages.job))?;
    Ok(Reader { state, watch, _seat: seat, pages }.begin(events, then).into_response())
}

/// The output of one job, piece by piece.
struct Pieces {
    pool: Pool,
    job: JobId,
    place: Place,
}

impl Pages for Pieces {
    const GATHER: Duration = Duration::ZERO;

    async fn look(&mut self, _heard: Instant, events: &mut Events) -> Result<Then, Unread> {
        Ok(self.next(None, events).await?.unwrap_or(Then::End))
    }
}

impl Pieces {
    /// Makes events of the next piece, the first one from a time on; none if the job is gone.
    async fn next(&mut self, since: Option<Since>, events: &mut Events) -> Result<Option<Then>, StoreError> {
        let Place { attempt, offset } = self.place;
        let read = ReadOutput { job: &self.job, attempt, offset, since, follow: true };
        let Some(slice) = read.run(&self.pool).await? else { return Ok(None) };
        let then = if slice.chunks.is_empty() { Then::Rest } else { Then::More };
        let complete = slice.complete;
        self.take(slice, events);
        if complete { self.end(events).await } else { Ok(Some(then)) }
    }

    fn take(&mut self, slice: Slice, events: &mut Events) {
        if self.place.attempt != Some(slice.attempt) && slice.attempt > 0 {
            self.place = Place { attempt: Some(slice.attempt), offset: 0 };
            self.push("attempt", &OutputAttempt { attempt: slice.attempt }, events);
        }
        if slice.skipped_bytes > 0 {
            self.place.offset += slice.skipped_bytes;
            self.push("gap", &OutputGap { attempt: slice.attempt, skipped_bytes: slice.skipped_bytes }, events);
        }
        self.place.offset = slice.next_offset;
        if !slice.chunks.is_empty() {
            self.push("output", &shown(slice), events);
        }
    }

    async fn end(&self, events: &mut Events) -> Result<Option<Then>, StoreError> {
        let Some(job) = GetJob { job: &self.job }.run(&self.pool).await? else { return Ok(None) };
        let end = OutputEnd {
            state: job.state,
            attempt: job.attempt,
            exit_code: job.exit_code,
            signal: job.signal,
            reason: job.reason,
        };
        self.push("end", &end, events);
        Ok(Some(Then::End))
    }

    /// An event with the place behind it as its id.
    fn push<T: Serialize>(&self, name: &str, data: &T, events: &mut Events) {
        let id = format!("{}-{}", self.place.attempt.unwrap_or(0), self.place.offset);
        if let Ok(event) = Event::default().event(name).id(id).json_data(data) {
            events.push_back(event);
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
