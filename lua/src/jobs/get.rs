//! `jobs/get`: one job.

use std::{collections::HashMap, str::FromStr};

use serde::Deserialize;
use titan_api::{
    ids::{AgentId, JobId},
    jobs::{AttemptFailure, Job, JobState, Reason},
    time::Timestamp,
};

use super::spec::Spec;
use crate::{
    Pool, StoreError,
    reply::unknown_word,
    script::{Args, script},
};

script!(Reads, "jobs/get", uses ["calls", "key", "clock", "pool", "record", "job"]);

/// Reads one job.
#[derive(Debug, Clone, Copy)]
pub struct GetJob<'a> {
    /// The job.
    pub job: &'a JobId,
}

impl GetJob<'_> {
    /// Runs the script; none if there is no such job.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<Option<Job>, StoreError> {
        let mut args = Args::new();
        args.push(self.job.as_str()).push(pool.now());
        let (word, mut reply) = pool.call(&SCRIPT, &args).await?;
        match word.as_str() {
            "job" => {
                let spec = Spec::from_json(&reply.bytes()?)?;
                let fields = reply.list()?.rest(|r| Ok((r.text()?, r.text()?)))?;
                let failures = reply.list()?.rest(|r| failure(&r.bytes()?))?;
                let result = reply.some_text()?;
                let prompt = reply.text()?;
                let mut job = view(self.job.clone(), spec, &Fields(fields.into_iter().collect()), failures)?;
                job.result = result.map(|text| serde_json::from_str(&text)).transpose().map_err(corrupt_result)?;
                if let Some(asked) = &mut job.inference {
                    asked.body = prompt;
                }
                Ok(Some(job))
            }
            "not_found" => Ok(None),
            other => Err(unknown_word("jobs/get", other)),
        }
    }
}

/// The fields of a job's record.
struct Fields(HashMap<String, String>);

impl Fields {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn some<T: FromStr>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let parse =
            |text: &str| text.parse().map_err(|_| StoreError::Corrupt(format!("job field {name} can't be read")));
        self.text(name).map(parse).transpose()
    }

    fn need<T: FromStr>(&self, name: &str) -> Result<T, StoreError> {
        self.some(name)?.ok_or_else(|| StoreError::Corrupt(format!("a job has no field {name}")))
    }

    fn time(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.some(name)?.map(Timestamp::from_ms))
    }
}

fn view(
    id: JobId,
    Spec { job: spec, owner, .. }: Spec,
    f: &Fields,
    failures: Vec<AttemptFailure>,
) -> Result<Job, StoreError> {
    let state: String = f.need("state")?;
    let devices = f.text("devices").unwrap_or_default();
    Ok(Job {
        id,
        kind: spec.kind,
        state: JobState::from_word(&state).ok_or_else(|| unknown_word("jobs/get", &state))?,
        agent_id: f.some("agent")?,
        attempt: f.need("attempt")?,
        max_attempts: f.need("max")?,
        priority: f.need("prio")?,
        created_at: Timestamp::from_ms(f.need("created")?),
        started_at: f.time("started")?,
        ended_at: f.time("ended")?,
        exit_code: f.some("exit")?,
        signal: f.some("signal")?,
        reason: f.text("reason").and_then(Reason::from_word),
        message: f.text("message").map(str::to_owned),
        cancelling: f.text("cancelling") == Some("1"),
        output_bytes: f.need("out")?,
        process: spec.process,
        inference: spec.inference,
        receipt: f.text("receipt").map(str::to_owned),
        usage: f.text("usage").and_then(|json| serde_json::from_str(json).ok()),
        requirements: spec.requirements,
        timeout_ms: spec.timeout_ms,
        backoff_ms: spec.backoff_ms,
        on_disconnect: spec.on_disconnect,
        disconnect_grace_ms: spec.disconnect_grace_ms,
        not_before: f.time("not_before")?,
        depends_on: spec.depends_on,
        waits_for: f.some("needs")?,
        on_dependency_failure: spec.on_dependency_failure,
        result: None,
        labels: spec.labels,
        devices: devices.split(',').filter(|d| !d.is_empty()).map(str::to_owned).collect(),
        submitted_by: owner,
        waiting: None,
        failures,
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` wants")]
fn corrupt_result(e: serde_json::Error) -> StoreError {
    StoreError::Corrupt(format!("a job's result: {e}"))
}

/// A failure as `lib/ending.lua` keeps it.
#[derive(Deserialize)]
struct Kept {
    attempt: u32,
    agent_id: AgentId,
    at_ms: i64,
    reason: Reason,
    exit_code: Option<i32>,
    signal: Option<i32>,
    message: Option<String>,
}

fn failure(json: &[u8]) -> Result<AttemptFailure, StoreError> {
    let kept: Kept = serde_json::from_slice(json).map_err(|e| StoreError::Corrupt(format!("a job's failure: {e}")))?;
    Ok(AttemptFailure {
        attempt: kept.attempt,
        agent_id: kept.agent_id,
        at: Timestamp::from_ms(kept.at_ms),
        reason: kept.reason,
        exit_code: kept.exit_code,
        signal: kept.signal,
        message: kept.message,
    })
}
