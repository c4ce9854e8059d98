//! What jobs write, and how it is read back.

use std::fmt::Write;

use titan_api::{
    jobs::JobState,
    output::{Encoding, Stream},
    time::{Since, Timestamp},
    work::{Answer, Happening, Lease, Report},
};
use titan_lua::{
    agents::{ReportBatch, ReportOutcome},
    output::{ReadOutput, Slice},
};

use super::world::{Box_, World, facts, held, process};

fn text(offset: u64, stream: Stream, data: &str) -> Happening {
    Happening::Output { offset, stream, data: data.into(), encoding: Encoding::Utf8 }
}

async fn running(world: &World) -> (Box_, Lease) {
    let agent = world.parked("a", &facts()).await;
    world.bound(&process()).await;
    let lease = world.claim(&agent, 1).await.remove(0);
    (agent, lease)
}

async fn read(world: &World, lease: &Lease, offset: u64) -> Slice {
    let call = ReadOutput { job: &lease.job_id, attempt: None, offset, since: None, follow: false };
    call.run(&world.pool()).await.unwrap().unwrap()
}

fn joined(slice: &Slice) -> Vec<(Stream, String)> {
    slice.chunks.iter().map(|c| (c.stream, String::from_utf8(c.data.clone()).unwrap())).collect()
}

#[tokio::test]
async fn both_streams_are_read_back_in_the_order_in_which_they_were_written() {
    let world = World::new().await;
    let (agent, lease) = running(&world).await;
    let mut offset = 0;
    for (stream, part) in [(Stream::Stdout, "one\n"), (Stream::Stdout, "two\n"), (Stream::Stderr, "oh\n")] {
        assert_eq!(world.report(&agent, &lease, text(offset, stream, part)).await, Answer::Accepted {});
        offset += part.len() as u64;
    }
    let slice = read(&world, &lease, 0).await;
    assert_eq!(joined(&slice), [(Stream::Stdout, "one\ntwo\n".into()), (Stream::Stderr, "oh\n".into())]);
    assert_eq!((slice.next_offset, slice.complete), (11, false));
    assert_eq!(joined(&read(&world, &lease, 6).await)[0].1, "o\n");
    world.report(&agent, &lease, Happening::Completed { result: None, message: None, usage: None }).await;
    assert!(read(&world, &lease, 11).await.complete);
}

#[tokio::test]
async fn a_repeated_chunk_changes_nothing_and_a_gap_is_refused() {
    let world = World::new().await;
    let (agent, lease) = running(&world).await;
    for _ in 0..2 {
        assert_eq!(world.report(&agent, &lease, text(0, Stream::Stdout, "abcdef")).await, Answer::Accepted {});
    }
    assert_eq!(world.report(&agent, &lease, text(4, Stream::Stdout, "efgh")).await, Answer::Accepted {});
    let gap = world.report(&agent, &lease, text(9, Stream::Stdout, "j")).await;
    assert_eq!(gap, Answer::OffsetMismatch { expected_offset: 8 });
    assert_eq!(joined(&read(&world, &lease, 0).await), [(Stream::Stdout, "abcdefgh".into())]);
}

#[tokio::test]
async fn bytes_that_are_no_text_come_back_as_they_were() {
    let world = World::new().await;
    let (agent, lease) = running(&world).await;
    let event =
        Happening::Output { offset: 0, stream: Stream::Stderr, data: "AP+A/w==".into(), encoding: Encoding::Base64 };
    world.report(&agent, &lease, event).await;
    assert_eq!(read(&world, &lease, 0).await.chunks[0].data, [0, 255, 128, 255]);
    let broken = Happening::Output { offset: 4, stream: Stream::Stderr, data: "%".into(), encoding: Encoding::Base64 };
    assert_eq!(world.report(&agent, &lease, broken).await, Answer::Invalid {});
}

#[tokio::test]
async fn of_a_long_output_the_first_segment_and_the_latest_fifteen_are_kept() {
    let world = World::new().await;
    let (agent, lease) = running(&world).await;
    let (mut offset, mut all) = (0_u64, Vec::new());
    let mut line = 0;
    while offset < 10 << 20 {
        let mut part = String::new();
        while part.len() < 60_000 {
            line += 1;
            writeln!(part, "line {line} of a long output").unwrap();
        }
        let stream = if line % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
        assert_eq!(world.report(&agent, &lease, text(offset, stream, &part)).await, Answer::Accepted {});
        all.extend_from_slice(part.as_bytes());
        offset += part.len() as u64;
    }
    let (mut at, mut got, mut skipped) = (0, Vec::new(), 0);
    while at < offset {
        let slice = read(&world, &lease, at).await;
        assert!(!slice.chunks.is_empty());
        for chunk in &slice.chunks {
            let begin = usize::try_from(chunk.offset).unwrap();
            assert_eq!(&all[begin..begin + chunk.data.len()], chunk.data.as_slice());
            got.extend_from_slice(&chunk.data);
        }
        skipped += slice.skipped_bytes;
        at = slice.next_offset;
    }
    assert_eq!(got.len() as u64 + skipped, offset);
    assert!(got.starts_with(&all[..65_536]) && all.ends_with(&got[65_536..]));
    assert!(got.len() > 15 * 65_536 && got.len() <= 16 * 65_536, "{} bytes are kept", got.len());
    let keys = world.redis.snapshot().await;
    let segments = keys.0.keys().filter(|k| k.contains(":output:")).count();
    assert_eq!(segments, 16);
}

#[tokio::test]
async fn a_thousand_tokens_cost_little_more_than_their_bytes() {
    let world = World::new().await;
    let (agent, lease) = running(&world).await;
    for i in 0..1_000 {
        world.report(&agent, &lease, text(i * 5, Stream::Stdout, "token")).await;
    }
    let key = format!("titan:{{default}}:output:{}:1:0", lease.job_id);
    let stored: u64 = redis::cmd("STRLEN").arg(&key).query_async(&mut world.redis.connection().await).await.unwrap();
    assert!(stored <= 5_000 * 12 / 10, "{stored} bytes for 5,000");
}

/// What was accepted in the last so many milliseconds, as it is read piece by piece.
async fn lately(world: &World, lease: &Lease, ms: u64) -> String {
    let (mut text, mut offset, mut since) = (String::new(), 0, Some(Since::LastMs(ms)));
    loop {
        let call = ReadOutput { job: &lease.job_id, attempt: None, offset, since: since.take(), follow: false };
        let slice = call.run(&world.pool()).await.unwrap().unwrap();
        text.extend(joined(&slice).into_iter().map(|(_, text)| text));
        if slice.chunks.is_empty() {
            return text;
        }
        offset = slice.next_offset;
    }
}

#[tokio::test]
async fn output_is_read_from_a_time_on_and_nothing_of_that_is_missing() {
    let world = World::new().await;
    let (agent, lease) = running(&world).await;
    let (mut all, mut accepted) = (String::new(), Vec::new());
    for n in 0..4_000 {
        let stream = if n % 3 == 0 { Stream::Stderr } else { Stream::Stdout };
        let line = format!("line {n} of a program that writes two of them in a second\n");
        if n % 20 == 0 {
            world.beat(&agent, &[super::world::held(&lease)]).await;
        }
        assert_eq!(world.report(&agent, &lease, text(all.len() as u64, stream, &line)).await, Answer::Accepted {});
        accepted.push(all.len());
        all.push_str(&line);
        world.pass_ms(500);
    }
    for lines in [1, 2, 7, 100, 1_111, 3_999] {
        let got = lately(&world, &lease, lines * 500).await;
        let wanted = &all[accepted[4_000 - usize::try_from(lines).unwrap()]..];
        assert!(got.ends_with(wanted) && all.ends_with(&got), "{lines} lines");
        assert!(got.len() <= wanted.len() + 4 * 70, "{} bytes instead of {}", got.len(), wanted.len());
    }
    world.pass_ms(60_000);
    assert_eq!(lately(&world, &lease, 60_000).await, "");
    assert_eq!(lately(&world, &lease, u64::MAX).await, all);
    let at = |ms| Some(Since::At(Timestamp::from_ms(ms)));
    for (since, expected) in [(at(0), 0), (at(-5), 0), (at(world.now_ms.get()), all.len() as u64)] {
        let call = ReadOutput { job: &lease.job_id, attempt: None, offset: 0, since, follow: false };
        let slice = call.run(&world.pool()).await.unwrap().unwrap();
        assert_eq!((slice.next_offset - slice.chunks.iter().map(|c| c.data.len() as u64).sum::<u64>()), expected);
    }
}

#[tokio::test]
async fn times_cost_little_however_slowly_tokens_come() {
    for every_ms in [20, 200, 900, 1_100] {
        let world = World::new().await;
        let (agent, lease) = running(&world).await;
        for i in 0..1_000 {
            if i % 10 == 0 {
                world.beat(&agent, &[super::world::held(&lease)]).await;
            }
            let answer = world.report(&agent, &lease, text(i * 5, Stream::Stdout, "token")).await;
            assert_eq!(answer, Answer::Accepted {});
            world.pass_ms(every_ms);
        }
        let key = format!("titan:{{default}}:output:{}:1:0", lease.job_id);
        let stored: u64 =
            redis::cmd("STRLEN").arg(&key).query_async(&mut world.redis.connection().await).await.unwrap();
        assert!(stored <= 5_000 * 12 / 10, "{stored} bytes for 5,000, one token in {every_ms} ms");
    }
}

#[tokio::test]
async fn streams_that_alternate_byte_by_byte_keep_their_order_over_segments() {
    let world = World::new().await;
    let (agent, lease) = running(&world).await;
    world.report(&agent, &lease, text(0, Stream::Stdout, &"x".repeat(65_530))).await;
    for i in 0..12_u64 {
        let stream = if i % 2 == 0 { Stream::Stderr } else { Stream::Stdout };
        world.report(&agent, &lease, text(65_530 + i, stream, &i.to_string()[..1])).await;
    }
    let slice = read(&world, &lease, 65_530).await;
    let got: String = joined(&slice).into_iter().map(|(_, t)| t).collect();
    assert_eq!(got, "012345678911");
    assert_eq!(slice.chunks.len(), 12);
}

#[tokio::test]
async fn a_new_attempt_begins_a_new_output_and_the_old_one_is_gone() {
    let world = World::new().await;
    let (agent, lease) = running(&world).await;
    world.report(&agent, &lease, text(0, Stream::Stdout, "first")).await;
    let failed = Happening::Failed {
        reason: titan_api::jobs::Reason::ExitCode,
        exit_code: Some(1),
        signal: None,
        message: None,
    };
    world.report(&agent, &lease, failed).await;
    assert_eq!(joined(&read(&world, &lease, 0).await)[0].1, "first", "readable until the next attempt begins");
    let second = world.claim(&agent, 1).await.remove(0);
    world.report(&agent, &second, text(0, Stream::Stdout, "second")).await;
    let call = ReadOutput { job: &lease.job_id, attempt: Some(1), offset: 5, since: None, follow: false };
    let slice = call.run(&world.pool()).await.unwrap().unwrap();
    assert_eq!((slice.attempt, joined(&slice)[0].1.as_str()), (2, "second"));
}

#[tokio::test]
async fn what_a_cancelled_job_still_writes_is_dropped() {
    let world = World::new().await;
    let (agent, lease) = running(&world).await;
    titan_lua::jobs::CancelJob { job: &lease.job_id }.run(&world.pool()).await.unwrap();
    assert_eq!(world.report(&agent, &lease, text(0, Stream::Stdout, "late")).await, Answer::Accepted {});
    let slice = read(&world, &lease, 0).await;
    assert!(slice.chunks.is_empty() && slice.complete);
    assert_eq!(world.agent(&agent).await.live_attempts, 1, "its processes still run");
}

#[tokio::test]
async fn after_a_gap_nothing_more_of_the_lease_is_taken_from_the_same_batch() {
    let world = World::new().await;
    let (agent, lease) = running(&world).await;
    let held = super::world::held(&lease);
    let report = |event| titan_api::work::Report::new(held.clone(), event);
    let reports = [
        report(text(100, Stream::Stdout, "late")),
        report(Happening::Completed { result: None, message: None, usage: None }),
    ];
    let call = titan_lua::agents::ReportBatch { agent: &agent.id, epoch: agent.epoch, reports: &reports };
    let outcome = call.run(&world.pool()).await.unwrap();
    let titan_lua::agents::ReportOutcome::Reported(reported) = outcome else { panic!("{outcome:?}") };
    assert_eq!(reported.answers, [Answer::OffsetMismatch { expected_offset: 0 }; 2]);
    assert_eq!(world.state(&lease.job_id).await, titan_api::jobs::JobState::Running);
}

#[tokio::test]
async fn an_agent_learns_that_somebody_reads() {
    let world = World::new().await;
    let (agent, lease) = running(&world).await;
    assert!(!world.beat(&agent, &[super::world::held(&lease)]).await.watched);
    let call = ReadOutput { job: &lease.job_id, attempt: None, offset: 0, since: None, follow: true };
    call.run(&world.pool()).await.unwrap();
    assert!(world.beat(&agent, &[super::world::held(&lease)]).await.watched);
    world.pass_ms(16_000);
    assert!(!world.beat(&agent, &[super::world::held(&lease)]).await.watched);
}

#[tokio::test]
async fn an_end_that_comes_behind_a_gap_is_not_taken_however_many_reports_lie_between() {
    let world = World::new().await;
    let (agent, lease) = running(&world).await;
    world.report(&agent, &lease, text(0, Stream::Stdout, "0123456789")).await;
    // The store has lost what follows the tenth byte, and the agent goes on behind that.
    for chunks in [1, 63, 64, 65, 200] {
        let behind = (0..chunks).map(|n| text(20 + n, Stream::Stdout, "x"));
        let end = Happening::Completed { result: None, message: None, usage: None };
        let reports: Vec<_> = behind.chain([end]).map(|event| Report::new(held(&lease), event)).collect();
        let batch = ReportBatch { agent: &agent.id, epoch: agent.epoch, reports: &reports };
        let ReportOutcome::Reported(told) = batch.run(&world.pool()).await.unwrap() else { panic!("turned away") };
        let from_the_tenth = Answer::OffsetMismatch { expected_offset: 10 };
        assert_eq!(told.answers, vec![from_the_tenth; reports.len()], "{chunks} chunks before the end");
        assert_eq!(world.state(&lease.job_id).await, JobState::Running);
    }
}
