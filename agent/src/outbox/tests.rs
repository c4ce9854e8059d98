//! What the outbox promises: order, sharing of calls, repeats as they were, and nothing after the end.

use std::{fs::File, io::Write};

use titan_api::{
    ids::JobId,
    jobs::Reason,
    output::Stream::{self, Stderr, Stdout},
    work::Answer,
};

use super::*;
use crate::executor::frame;

struct Fixture {
    folder: tempfile::TempDir,
    outbox: Outbox,
}

fn fixture() -> Fixture {
    let outbox = Outbox::new();
    outbox.gather_for(Duration::ZERO);
    Fixture { folder: tempfile::tempdir().unwrap(), outbox }
}

impl Fixture {
    fn open(&self, name: &str) -> HeldLease {
        let lease = HeldLease { job_id: JobId::new(name).unwrap(), attempt: 1, lease_id: LeaseId::new(name).unwrap() };
        self.outbox.open(lease.clone(), &self.folder.path().join(name));
        lease
    }

    fn write(&self, lease: &HeldLease, stream: Stream, bytes: &[u8]) {
        let path = self.folder.path().join(lease.lease_id.as_str());
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        file.write_all(&frame(stream, bytes)).unwrap();
        self.outbox.output(&lease.lease_id);
    }

    fn end(&self, lease: &HeldLease) {
        self.outbox.end(&lease.lease_id, Happening::Completed { result: None, message: None, usage: None });
    }

    /// What is sent next, in words.
    async fn next(&self) -> (Parcel<'_>, Vec<String>) {
        self.outbox.due().await;
        let parcel = self.outbox.take().await.unwrap();
        let words = parcel.reports().iter().map(word).collect();
        (parcel, words)
    }

    async fn accept_next(&self) -> (Vec<String>, Settled) {
        let (parcel, words) = self.next().await;
        let answers = vec![Answer::Accepted {}; words.len()];
        (words, parcel.settle(&answers))
    }
}

fn word(report: &Report) -> String {
    let job = &report.lease.job_id;
    match &report.event {
        Happening::Started {} => format!("{job} started"),
        Happening::Output { offset, stream, data, .. } => {
            let stream = if *stream == Stdout { "out" } else { "err" };
            if data.len() > 20 {
                format!("{job} {stream} {offset}+{}", data.len())
            } else {
                format!("{job} {stream} {offset}:{data}")
            }
        }
        Happening::Completed { .. } => format!("{job} completed"),
        other => format!("{job} {other:?}"),
    }
}

#[tokio::test]
async fn a_short_job_is_one_report_call_in_the_right_order() {
    let f = fixture();
    let a = f.open("a");
    f.outbox.started(&a.lease_id);
    f.write(&a, Stdout, b"hello");
    f.write(&a, Stderr, b"oh");
    f.end(&a);
    let (words, settled) = f.accept_next().await;
    assert_eq!(words, ["a started", "a out 0:hello", "a err 5:oh", "a completed"]);
    assert_eq!(settled, Settled { finished: vec![a], stale: vec![] });
    assert!(f.outbox.take().await.is_none());
}

#[tokio::test]
async fn several_ended_jobs_share_one_call() {
    let f = fixture();
    let leases: Vec<_> = (0..10).map(|n| f.open(&format!("j{n}"))).collect();
    for lease in &leases {
        f.end(lease);
    }
    assert_eq!(f.accept_next().await.1.finished.len(), 10);
}

#[tokio::test]
async fn the_first_end_goes_at_once_and_those_during_its_call_share_the_next() {
    let f = fixture();
    let leases: Vec<_> = (0..10).map(|n| f.open(&format!("j{n}"))).collect();
    f.end(&leases[0]);
    let (parcel, words) = f.next().await;
    assert_eq!(words, ["j0 completed"]);
    for lease in &leases[1..] {
        f.end(lease);
    }
    parcel.settle(&[Answer::Accepted {}]);
    let mut finished = f.accept_next().await.1.finished;
    finished.sort_by(|a, b| a.lease_id.cmp(&b.lease_id));
    assert_eq!(finished, leases[1..]);
}

#[tokio::test]
async fn what_got_no_answer_is_sent_again_as_it_was_and_what_came_later_follows() {
    let f = fixture();
    let a = f.open("a");
    f.write(&a, Stdout, b"one");
    let (parcel, first) = f.next().await;
    f.write(&a, Stdout, b"two");
    assert!(f.outbox.take().await.is_none(), "one call at a time");
    drop(parcel);
    assert_eq!(f.accept_next().await.0, first);
    assert_eq!(f.accept_next().await.0, ["a out 3:two"]);
}

#[tokio::test]
async fn output_is_sent_again_from_where_the_coordinator_wants_it() {
    let f = fixture();
    let a = f.open("a");
    f.write(&a, Stdout, b"abcdef");
    let (parcel, _) = f.next().await;
    parcel.settle(&[Answer::OffsetMismatch { expected_offset: 2 }]);
    f.end(&a);
    assert_eq!(f.accept_next().await.0, ["a out 2:cdef", "a completed"]);
}

#[tokio::test]
async fn an_end_behind_a_gap_waits_until_the_output_was_sent_again() {
    let f = fixture();
    let a = f.open("a");
    f.write(&a, Stdout, b"abc");
    f.write(&a, Stderr, b"def");
    f.end(&a);
    let (parcel, words) = f.next().await;
    assert_eq!(words, ["a out 0:abc", "a err 3:def", "a completed"]);
    assert_eq!(parcel.settle(&[Answer::OffsetMismatch { expected_offset: 1 }; 3]), Settled::default());
    let (words, settled) = f.accept_next().await;
    assert_eq!(words, ["a out 1:bc", "a err 3:def", "a completed"]);
    assert_eq!(settled.finished, [a]);
}

#[tokio::test]
async fn an_end_alone_that_meets_a_gap_brings_the_output_again() {
    let f = fixture();
    let a = f.open("a");
    f.write(&a, Stdout, b"abc");
    f.accept_next().await;
    f.end(&a);
    let (parcel, words) = f.next().await;
    assert_eq!(words, ["a completed"]);
    assert_eq!(parcel.settle(&[Answer::OffsetMismatch { expected_offset: 0 }]), Settled::default());
    assert_eq!(f.accept_next().await.0, ["a out 0:abc", "a completed"]);
}

#[tokio::test]
async fn an_end_whose_output_cannot_be_had_again_is_neither_forgotten_nor_repeated_at_once() {
    let f = fixture();
    let a = f.open("a");
    f.end(&a);
    for _ in 0..2 {
        let (parcel, words) = f.next().await;
        assert_eq!(words, ["a completed"]);
        assert_eq!(parcel.settle(&[Answer::OffsetMismatch { expected_offset: 99 }]), Settled::default());
    }
    assert!(f.outbox.take().await.is_none(), "it waits");
    assert!(f.outbox.lock().due(Instant::now()).is_some(), "but it goes again");
}

#[tokio::test]
async fn a_coordinator_that_wants_what_was_never_written_gets_the_end_alone() {
    let f = fixture();
    let a = f.open("a");
    f.write(&a, Stdout, b"abc");
    let (parcel, _) = f.next().await;
    parcel.settle(&[Answer::OffsetMismatch { expected_offset: 99 }]);
    f.end(&a);
    assert_eq!(f.accept_next().await.0, ["a completed"]);
}

#[tokio::test]
async fn nothing_more_is_said_about_a_stale_or_discarded_attempt() {
    let f = fixture();
    let (a, b) = (f.open("a"), f.open("b"));
    f.write(&a, Stdout, b"x");
    f.write(&b, Stdout, b"y");
    let (parcel, words) = f.next().await;
    assert_eq!(words.len(), 2);
    f.outbox.discard(&b.lease_id);
    let stale = words.iter().map(|w| if w.starts_with('a') { Answer::StaleAttempt {} } else { Answer::Accepted {} });
    let settled = parcel.settle(&stale.collect::<Vec<_>>());
    assert_eq!(settled, Settled { finished: vec![], stale: vec![a.clone()] });
    f.end(&a);
    f.end(&b);
    assert!(f.outbox.take().await.is_none());
}

#[tokio::test]
async fn a_discarded_attempt_does_not_come_back_with_an_unanswered_call() {
    let f = fixture();
    let a = f.open("a");
    f.end(&a);
    let (parcel, _) = f.next().await;
    f.outbox.discard(&a.lease_id);
    drop(parcel);
    assert!(f.outbox.take().await.is_none());
}

#[tokio::test]
async fn large_output_goes_in_bounded_calls_and_a_small_job_beside_it_is_not_kept_waiting() {
    let f = fixture();
    let (big, small) = (f.open("big"), f.open("small"));
    let block = vec![b'x'; 64 * 1024];
    (0..32).for_each(|_| f.write(&big, Stdout, &block));
    f.end(&big);
    f.end(&small);
    let (words, settled) = f.accept_next().await;
    assert!(words.len() <= 10, "{words:?}");
    assert_eq!(settled.finished, [small]);
    let mut sent: u64 = words.iter().filter(|w| w.starts_with("big out")).count() as u64;
    loop {
        let (words, settled) = f.accept_next().await;
        sent += words.iter().filter(|w| w.starts_with("big out")).count() as u64;
        if settled.finished == [big.clone()] {
            break;
        }
    }
    assert_eq!(sent, 32);
}

#[tokio::test]
async fn a_call_that_is_refused_as_a_whole_is_cut_until_the_culprit_is_alone() {
    let f = fixture();
    let leases: Vec<_> = (0..4).map(|n| f.open(&format!("j{n}"))).collect();
    for lease in &leases {
        f.end(lease);
    }
    let mut finished = Vec::new();
    while finished.len() < 4 {
        let (parcel, words) = f.next().await;
        let settled = if words.contains(&"j2 completed".to_owned()) {
            parcel.refused()
        } else {
            parcel.settle(&vec![Answer::Accepted {}; words.len()])
        };
        finished.extend(settled.finished);
    }
    finished.sort_by(|a, b| a.job_id.cmp(&b.job_id));
    assert_eq!(finished, leases);
}

#[tokio::test]
async fn a_wrong_number_of_answers_settles_nothing() {
    let f = fixture();
    let a = f.open("a");
    f.end(&a);
    let (parcel, words) = f.next().await;
    assert_eq!(parcel.settle(&[]), Settled::default());
    assert_eq!(f.accept_next().await.0, words);
}

#[tokio::test]
async fn the_first_output_goes_at_once_and_later_output_is_gathered_until_the_end() {
    let f = fixture();
    f.outbox.gather_for(Duration::from_hours(1));
    let a = f.open("a");
    f.write(&a, Stdout, b"1");
    assert_eq!(f.accept_next().await.0, ["a out 0:1"]);
    f.write(&a, Stdout, b"2");
    f.write(&a, Stdout, b"3");
    assert!(f.outbox.take().await.is_none(), "it is gathered");
    f.end(&a);
    assert_eq!(f.accept_next().await.0, ["a out 1:23", "a completed"]);
}

#[tokio::test]
async fn an_end_that_is_not_well_keeps_its_words() {
    let f = fixture();
    let a = f.open("a");
    let how = Happening::Failed {
        reason: Reason::StartFailed,
        exit_code: None,
        signal: None,
        message: Some("no such program".into()),
    };
    f.outbox.end(&a.lease_id, how.clone());
    let (parcel, _) = f.next().await;
    assert_eq!(parcel.reports()[0].event, how);
}
