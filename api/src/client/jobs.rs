//! Calls about jobs.

use std::time::Duration;

use reqwest::Method;

use super::{CALL_TIMEOUT, Client, ClientError, Reply, query::Path, read_exact};
use crate::{
    ids::{AgentId, JobId},
    jobs::{
        CancelJob, CancelledJob, Job, JobList, JobState, RetriedJob, RetryJob, SubmitBatch, SubmitJob, SubmittedBatch,
        SubmittedJob,
    },
    trace::{TRACEPARENT, TRACESTATE, TraceContext},
};

/// Which jobs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only jobs in this state.
    pub state: Option<JobState>,
    /// Only jobs whose latest attempt is this agent's.
    pub agent: Option<AgentId>,
    /// Only jobs with this label, as `name=value`.
    pub label: Option<String>,
    /// How many at most, 1 to 500.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

impl Client {
    /// `POST /api/v1/jobs`: submits a job; `explain` asks how its agent was chosen.
    ///
    /// # Errors
    /// [`ClientError`], as for every call. After [`ClientError::Unreachable`] it is not known whether the job was
    /// accepted.
    pub async fn submit_job(&self, job: &SubmitJob, explain: bool) -> Result<Reply<SubmittedJob>, ClientError> {
        let path = Path::new("/api/v1/jobs").with("explain", explain.then_some(true));
        let request = self.request(Method::POST, &path.into_text()).json(job).timeout(CALL_TIMEOUT);
        read_exact(self.send(request).await?).await
    }

    /// The same with an `Idempotency-Key`: however often the call is repeated, it makes one job.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn submit_job_once(
        &self,
        job: &SubmitJob,
        explain: bool,
        key: &str,
    ) -> Result<Reply<SubmittedJob>, ClientError> {
        let path = Path::new("/api/v1/jobs").with("explain", explain.then_some(true));
        self.create_once(&path.into_text(), job, key).await
    }

    /// `POST /api/v1/jobs/batch`: submits many jobs, all or none, with an `Idempotency-Key`.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn submit_jobs_once(&self, batch: &SubmitBatch, key: &str) -> Result<Reply<SubmittedBatch>, ClientError> {
        self.create_once("/api/v1/jobs/batch", batch, key).await
    }

    async fn create_once<B: serde::Serialize + Sync, R: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
        key: &str,
    ) -> Result<Reply<R>, ClientError> {
        let mut request = self.request(Method::POST, path).header("idempotency-key", key);
        if let Some(TraceContext { parent, state }) = &self.trace {
            request = request.header(TRACEPARENT, parent.to_string());
            if let Some(state) = state {
                request = request.header(TRACESTATE, state.as_str());
            }
        }
        read_exact(self.send(request.json(body).timeout(CALL_TIMEOUT)).await?).await
    }

    /// `GET /api/v1/jobs/{id}`: one job. With `wait` the answer comes when the job has ended or the time is over, at
    /// most 20 s.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn job(&self, id: &JobId, wait: Option<Duration>) -> Result<Reply<Job>, ClientError> {
        let path = Path::new(format!("/api/v1/jobs/{id}")).with("wait_ms", wait.map(|w| w.as_millis()));
        let request = self.request(Method::GET, &path.into_text()).timeout(CALL_TIMEOUT + wait.unwrap_or_default());
        read_exact(self.send(request).await?).await
    }

    /// `GET /api/v1/jobs`: a page of jobs, newest first.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn jobs(&self, filter: &JobFilter) -> Result<Reply<JobList>, ClientError> {
        let path = Path::new("/api/v1/jobs")
            .with("state", filter.state)
            .with("agent", filter.agent.as_ref())
            .with("label", filter.label.as_ref())
            .with("limit", filter.limit)
            .with("cursor", filter.cursor.as_ref());
        self.fetch(Method::GET, path).await
    }

    /// `POST /api/v1/jobs/{id}/cancel`: asks for the end of a job; asking again is harmless.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn cancel_job(&self, id: &JobId) -> Result<Reply<CancelledJob>, ClientError> {
        let path = format!("/api/v1/jobs/{id}/cancel");
        let request = self.request(Method::POST, &path).json(&CancelJob {}).timeout(CALL_TIMEOUT);
        read_exact(self.send(request).await?).await
    }

    /// `POST /api/v1/jobs/{id}/retry`: begins a job that failed or was cancelled anew; one that has not ended stays as it is.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn retry_job(&self, id: &JobId) -> Result<Reply<RetriedJob>, ClientError> {
        let path = format!("/api/v1/jobs/{id}/retry");
        let request = self.request(Method::POST, &path).json(&RetryJob {}).timeout(CALL_TIMEOUT);
        read_exact(self.send(request).await?).await
    }

    /// Calls a path without a body and reads the reply.
    pub(super) async fn fetch<R: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: Path,
    ) -> Result<Reply<R>, ClientError> {
        let request = self.request(method, &path.into_text()).timeout(CALL_TIMEOUT);
        read_exact(self.send(request).await?).await
    }
}
