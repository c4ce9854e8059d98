//! What these tests do again and again: submit a shell line, await its end, read all that it wrote.

use std::{path::Path, time::Duration};

use titan_api::{
    client::{Client, OutputFrom, OutputNews},
    ids::JobId,
    jobs::{Job, JobKind, JobState, ProcessSpec, SubmitJob},
    output::{Chunk, Encoding, Stream},
};
use titan_tests::{
    fleet::{Fleet, FleetPlan},
    wait::eventually,
};

/// How long an agent's right to an attempt lasts in these tests.
pub(crate) const LEASE: Duration = Duration::from_secs(10);
/// What an attempt gets between SIGTERM and SIGKILL in these tests.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// What a busy machine may take beyond what the product promises.
pub(crate) const SLACK: Duration = Duration::from_secs(30);

/// A plan whose silences and leases are over within seconds.
pub(crate) fn quick() -> FleetPlan {
    Fleet::plan()
        .coordinator_setting("LEASE_TTL", "10s")
        .coordinator_setting("KILL_GRACE", "1s")
        .coordinator_setting("HEARTBEAT_INTERVAL", "1s")
        .coordinator_setting("HEARTBEAT_TIMEOUT", "8s")
        .coordinator_setting("CLEANUP_INTERVAL", "1s")
        .agent_setting("TITAN_MAX_JOBS", "8")
}

/// The same plan with leases that no pause of a busy machine uses up, for tests in which none is to be lost.
pub(crate) fn patient() -> FleetPlan {
    quick().coordinator_setting("LEASE_TTL", "60s").coordinator_setting("HEARTBEAT_TIMEOUT", "30s")
}

/// A job that runs these words.
pub(crate) fn command(words: &[&str]) -> SubmitJob {
    let command = words.iter().map(|&word| word.to_owned()).collect();
    SubmitJob {
        kind: JobKind::Process,
        process: ProcessSpec { command, ..ProcessSpec::default() },
        ..SubmitJob::default()
    }
}

/// A job that runs this line in a shell.
pub(crate) fn shell(line: &str) -> SubmitJob {
    command(&["sh", "-c", line])
}

/// Submits a job.
pub(crate) async fn submit(client: &Client, job: &SubmitJob) -> JobId {
    client.submit_job(job, false).await.unwrap().into_value().id
}

/// Waits until a job has ended; calls that fail for now are made again.
pub(crate) async fn ended(client: &Client, id: &JobId) -> Job {
    eventually(format!("job {id} to end"), async || match client.job(id, Some(Duration::from_secs(5))).await {
        Ok(job) => Some(job.into_value()).filter(|job| job.state.is_ended()),
        Err(error) if error.is_transient() => None,
        Err(error) => panic!("job {id} can't be read: {error}"),
    })
    .await
}

/// Waits until a job has ended, which must be well.
pub(crate) async fn completed(client: &Client, id: &JobId) -> Job {
    let job = ended(client, id).await;
    assert_eq!(job.state, JobState::Completed, "{job:#?}");
    job
}

/// Waits until a file has a whole line, and gives it as a number: jobs tell their process ids so.
pub(crate) async fn number_in(path: &Path) -> u32 {
    eventually(format!("a number in {}", path.display()), async || {
        std::fs::read_to_string(path).ok()?.lines().next_back()?.trim().parse().ok()
    })
    .await
}

/// Whether a process runs; one that has ended and was not waited for doesn't.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Everything that an attempt wrote and that is kept, in order.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// The attempt.
    pub(crate) attempt: u32,
    /// What it wrote.
    pub(crate) chunks: Vec<Chunk>,
    /// Bytes that are kept no more.
    pub(crate) skipped_bytes: u64,
    /// Whether something came while the job ran.
    pub(crate) live: bool,
}

impl Written {
    /// What it wrote to one stream.
    pub(crate) fn text(&self, stream: Stream) -> String {
        self.chunks.iter().filter(|chunk| chunk.stream == stream).map(|chunk| chunk.data.as_str()).collect()
    }

    /// Checks that each chunk begins where the one before ended, but for what is kept no more; gives the end.
    pub(crate) fn check_offsets(&self) -> u64 {
        let mut end = 0;
        let mut missing = 0;
        for chunk in &self.chunks {
            assert_eq!(chunk.encoding, Encoding::Utf8);
            assert!(chunk.offset >= end, "a chunk at {} comes after byte {end}", chunk.offset);
            missing += chunk.offset - end;
            end = chunk.offset + chunk.data.len() as u64;
        }
        assert_eq!(missing, self.skipped_bytes, "what is missing is what is said to be");
        end
    }
}

/// Reads the output piece by piece until there is no more to come.
pub(crate) async fn read_output(client: &Client, id: &JobId) -> Written {
    let mut written = Written::default();
    let mut from = OutputFrom::default();
    eventually(format!("all output of {id}"), async || {
        let piece = client.output(id, from).await.unwrap().into_value();
        from = OutputFrom::after(&piece);
        written.attempt = piece.attempt;
        written.live |= piece.state == JobState::Running && !piece.chunks.is_empty();
        written.skipped_bytes += piece.skipped_bytes;
        written.chunks.extend(piece.chunks);
        piece.complete.then_some(())
    })
    .await;
    written
}

/// Reads the output as it is written, until its end is told.
pub(crate) async fn follow_output(client: &Client, id: &JobId) -> Written {
    let mut written = Written::default();
    let mut last: Option<String> = None;
    loop {
        let mut events = client.output_events(id, last.as_deref(), None).await.unwrap();
        while let Some(event) = events.next().await.unwrap() {
            last = event.id;
            match event.what {
                OutputNews::Output(piece) => {
                    written.live |= piece.state == JobState::Running;
                    written.chunks.extend(piece.chunks);
                }
                OutputNews::Attempt(next) => written = Written { attempt: next.attempt, ..Written::default() },
                OutputNews::Gap(gap) => written.skipped_bytes += gap.skipped_bytes,
                OutputNews::End(_) => return written,
            }
        }
    }
}
