//! A job's output as server-sent events, from wherever the reader was, on any copy of the coordinator.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::response::{IntoResponse, Response, sse::Event};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderMap;
use serde::Serialize;
use titan_api::{
    ids::{JobId, LeaseId},
    jobs::JobKind,
    output::{Chunk, Encoding, Mark, Output, OutputAttempt, OutputEnd, OutputGap},
    time::Since,
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
    /// What tells that attempt from another one of the same number, which a failover that lost a claim brings about; none if the
    /// reader has not said.
    pub(crate) mark: Option<Mark>,
}

impl Place {
    /// The place in `Last-Event-ID`, if there is one. Ids had no mark once.
    pub(crate) fn from_last_event(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let Some(value) = headers.get("last-event-id") else { return Ok(None) };
        let place = value.to_str().ok().and_then(|text| {
            let (attempt, rest) = text.split_once('-')?;
            let (offset, mark) = rest.split_once('-').map_or((rest, None), |(offset, mark)| (offset, Some(mark)));
            let mark = mark.map(str::parse).transpose().ok()?;
            Some(Self { attempt: Some(attempt.parse().ok()?), offset: offset.parse().ok()?, mark })
        });
        place.map(Some).ok_or_else(|| ApiError::BadRequest("Last-Event-ID must be `attempt-offset-mark`".to_owned()))
    }

    /// Whether what was read is of another attempt than this one.
    fn is_of_another(&self, mark: Option<Mark>) -> bool {
        self.mark.zip(mark).is_some_and(|(before, mark)| before != mark)
    }

    /// Reads on from here: from the start if what was read is of another attempt, also if that has the same number.
    pub(crate) async fn read(
        &mut self,
        pool: &Pool,
        job: &JobId,
        since: Option<Since>,
        follow: bool,
    ) -> Result<Option<Slice>, StoreError> {
        let on = ReadOutput { job, attempt: self.attempt, offset: self.offset, since, follow };
        let Some(slice) = on.run(pool).await? else { return Ok(None) };
        if !self.is_of_another(mark_of(&slice)) {
            return Ok(Some(slice));
        }
        *self = Self { attempt: None, offset: 0, mark: None };
        ReadOutput { attempt: None, offset: 0, since: None, ..on }.run(pool).await
    }
}

fn mark_of(slice: &Slice) -> Option<Mark> {
    slice.about.lease.as_ref().map(mark)
}

/// What stands for a lease: whoever holds a lease may report under it, so it is shown to nobody else.
fn mark(lease: &LeaseId) -> Mark {
    let digest = digest(&SHA256, lease.as_str().as_bytes());
    Mark(digest.as_ref().iter().take(4).fold(0, |number, byte| (number << 8) | u32::from(*byte)))
}

/// A stored slice as readers see it.
pub(crate) fn shown(slice: Slice) -> Output {
    Output {
        attempt: slice.attempt,
        mark: mark_of(&slice),
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
        let Some(slice) = self.place.read(&self.pool, &self.job, since, true).await? else { return Ok(None) };
        let then = if slice.chunks.is_empty() { Then::Rest } else { Then::More };
        let complete = slice.complete;
        self.take(slice, events);
        if complete { self.end(events).await } else { Ok(Some(then)) }
    }

    fn take(&mut self, slice: Slice, events: &mut Events) {
        // None has begun, or a failover has lost that: the reader stays where it is until one does.
        if slice.attempt == 0 {
            return;
        }
        let is_another = self.place.attempt != Some(slice.attempt);
        self.place.mark = mark_of(&slice);
        if is_another {
            (self.place.attempt, self.place.offset) = (Some(slice.attempt), 0);
            self.push("attempt", &OutputAttempt { attempt: slice.attempt, mark: self.place.mark }, events);
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
        let mark = self.place.mark.map_or_else(String::new, |mark| format!("-{mark}"));
        let id = format!("{}-{}{mark}", self.place.attempt.unwrap_or(0), self.place.offset);
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
        let at = |mark| Place { attempt: Some(2), offset: 4_096, mark };
        assert_eq!(place("2-4096-00ff9a1e").unwrap(), Some(at(Some(Mark(0x00ff_9a1e)))));
        assert_eq!(place("2-4096").unwrap(), Some(at(None)), "as ids once were");
        assert_eq!(Place::from_last_event(&HeaderMap::new()).unwrap(), None);
        for wrong in
            ["", "2", "2-", "-1", "a-b", "2-4-6", "2-4-", "2-4-00FF9A1E", "2-4-00ff9a1e0", "2--1", "99999999999-0"]
        {
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
