//! What a job writes and how it ends is read back exactly.

use futures_util::future::join;
use titan_api::{
    jobs::{JobState, Reason},
    output::Stream,
};
use titan_tests::fleet::FleetPlan;

use crate::helpers::{command, completed, ended, follow_output, quick, read_output, shell, submit};

const TALKS: &str = "i=1; while [ $i -le 5 ]; do echo out $i; echo err $i >&2; sleep 0.3; i=$((i+1)); done";

#[tokio::test]
async fn a_job_that_sleeps_and_writes_to_both_streams_is_read_back_exactly() {
    lines_come_back(quick()).await;
}

#[tokio::test]
async fn without_parking_the_same_job_is_read_back_exactly() {
    lines_come_back(quick().coordinator_setting("PARKING", "off").coordinator_setting("IDLE_POLL_MS", "1000")).await;
}

async fn lines_come_back(plan: FleetPlan) {
    let fleet = plan.start().await;
    let client = fleet.client().await;
    let id = submit(&client, &shell(TALKS)).await;
    let (read, followed) = join(read_output(&client, &id), follow_output(&client, &id)).await;
    for written in [read, followed] {
        assert_eq!(written.text(Stream::Stdout), "out 1\nout 2\nout 3\nout 4\nout 5\n");
        assert_eq!(written.text(Stream::Stderr), "err 1\nerr 2\nerr 3\nerr 4\nerr 5\n");
        assert_eq!(written.check_offsets(), 60);
        assert!(written.live, "something came while the job ran");
    }
    let job = completed(&client, &id).await;
    assert_eq!((job.exit_code, job.attempt, job.output_bytes), (Some(0), 1, 60));
}

#[tokio::test]
async fn a_job_that_only_computes_completes() {
    let fleet = quick().agents(1).start().await;
    let client = fleet.client().await;
    let id = submit(&client, &shell("i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done; echo $i")).await;
    completed(&client, &id).await;
    assert_eq!(read_output(&client, &id).await.text(Stream::Stdout), "1000000\n");
}

#[tokio::test]
async fn of_ten_megabytes_head_and_tail_are_kept_and_the_gap_is_told() {
    const BYTES: u64 = 10_000_000;
    const LINE: &[u8] = b"0123456789abcde\n";
    let fleet = quick().agents(1).start().await;
    let client = fleet.client().await;
    let id = submit(&client, &shell("yes 0123456789abcde | head -c 10000000")).await;
    let job = completed(&client, &id).await;
    assert_eq!(job.output_bytes, BYTES);
    let (read, followed) = join(read_output(&client, &id), follow_output(&client, &id)).await;
    for written in [read, followed] {
        assert_eq!(written.check_offsets(), BYTES);
        for chunk in &written.chunks {
            let right = (chunk.offset..).zip(chunk.data.bytes()).all(|(at, byte)| LINE[(at % 16) as usize] == byte);
            assert!(right, "the chunk at {} holds what was written there", chunk.offset);
        }
        let gap = written.chunks.windows(2).find(|pair| pair[1].offset > pair[0].offset + pair[0].data.len() as u64);
        let [before, after] = gap.unwrap() else { unreachable!("pairs have two") };
        let head = before.offset + before.data.len() as u64;
        assert!(head >= 64 * 1024, "the head ends at {head}");
        assert!(BYTES - after.offset >= 800 * 1024, "the tail begins at {}", after.offset);
    }
}

#[tokio::test]
async fn an_exit_code_a_signal_and_a_failed_start_are_reported() {
    let fleet = quick().agents(1).start().await;
    let client = fleet.client().await;
    let mut exits = shell("exit 7");
    let mut dies = shell("kill -SEGV $$");
    let mut missing = command(&["/no/such/program"]);
    for job in [&mut exits, &mut dies, &mut missing] {
        job.max_attempts = 1;
    }
    let ids = [submit(&client, &exits).await, submit(&client, &dies).await, submit(&client, &missing).await];
    let [exits, dies, missing] = ids.each_ref().map(|id| ended(&client, id));
    let (exits, dies, missing) = (exits.await, dies.await, missing.await);
    assert_eq!((exits.state, exits.reason, exits.exit_code), (JobState::Failed, Some(Reason::ExitCode), Some(7)));
    assert_eq!((dies.state, dies.reason, dies.signal), (JobState::Failed, Some(Reason::Signal), Some(11)));
    assert_eq!((missing.state, missing.reason), (JobState::Failed, Some(Reason::StartFailed)));
    assert!(missing.message.unwrap().contains("/no/such/program"));
}
