//! What jobs write arrives whole, live and in order.

use std::fmt::Write;

use serde_json::json;

use crate::{
    agent::{Agent, gone, lease, number_in, sh, until},
    coordinator::Coordinator,
};

#[tokio::test]
async fn both_streams_arrive_live_and_in_the_order_in_which_they_were_written() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let script = "await() { until [ -e $1 ]; do sleep 0.01; done; }
        echo one; await a; echo two >&2; await b; echo three; await c; echo four >&2";
    let id = coordinator.give(sh(script));
    for (text, file) in [("one", "a"), ("two", "b"), ("three", "c")] {
        // It goes on only after this has arrived, so nothing is held back until the end.
        let attempt = coordinator.wrote(&id, text).await;
        assert!(attempt.started && attempt.end.is_none());
        std::fs::write(agent.work().join(format!("job-of-{id}/1/{file}")), "").unwrap();
    }
    let attempt = coordinator.ended(&id).await;
    assert_eq!(attempt.output, b"one\ntwo\nthree\nfour\n");
    assert_eq!(attempt.streams, ["stdout", "stderr", "stdout", "stderr"]);
    assert_eq!(attempt.end.unwrap()["type"], "completed");
}

#[tokio::test]
async fn bytes_that_are_no_text_arrive_unchanged() {
    let coordinator = Coordinator::start().await;
    let _agent = Agent::start(&coordinator);
    let id = coordinator.give(sh(r"printf '\377\000\376'; printf 'gr\303\274n\001' >&2"));
    let attempt = coordinator.ended(&id).await;
    assert_eq!((attempt.stdout.as_slice(), attempt.stderr.as_slice()), (&b"\xff\x00\xfe"[..], "grün\u{1}".as_bytes()));
}

#[tokio::test]
async fn ten_megabytes_arrive_whole() {
    let coordinator = Coordinator::start().await;
    let _agent = Agent::start(&coordinator);
    let id = coordinator.give(sh("seq 1 1500000; echo done >&2"));
    let attempt = coordinator.ended(&id).await;
    let mut expected = String::new();
    (1..=1_500_000).for_each(|n| writeln!(expected, "{n}").unwrap());
    assert!(expected.len() > 10_000_000 && attempt.stdout == expected.as_bytes(), "{} bytes", attempt.stdout.len());
    assert_eq!(attempt.stderr, b"done\n");
}

#[tokio::test]
async fn standard_input_is_the_given_text_and_otherwise_empty() {
    let coordinator = Coordinator::start().await;
    let _agent = Agent::start(&coordinator);
    let mut with_text = lease(&["cat"]);
    with_text["process"]["stdin"] = json!("typed\n");
    let (with_text, without) = (coordinator.give(with_text), coordinator.give(lease(&["cat"])));
    assert_eq!(coordinator.ended(&with_text).await.output, b"typed\n");
    assert_eq!(coordinator.ended(&without).await.output, b"");
}

#[tokio::test]
async fn a_full_disk_holds_the_job_up_and_it_can_still_be_cancelled() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    coordinator.next("heartbeat").await;
    let lease = sh("yes & echo $! > yes; echo $$ > main; wait");
    let id = lease["lease_id"].as_str().unwrap().to_owned();
    std::fs::create_dir_all(agent.folder(&id)).unwrap();
    std::os::unix::fs::symlink("/dev/full", agent.folder(&id).join("log")).unwrap();
    coordinator.give(lease);
    let yes = number_in(&agent.work().join(format!("job-of-{id}/1/yes"))).await;
    // It sleeps: nobody takes what it writes.
    until("the writer waits", || state_of(yes) == Some('S')).await;
    coordinator.with(|s| s.cancel.push(format!("job-of-{id}")));
    gone(yes).await;
    assert_eq!(coordinator.ended(&id).await.end.unwrap()["type"], "cancelled");
}

fn state_of(pid: i32) -> Option<char> {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?.rsplit(") ").next()?.chars().next()
}

#[tokio::test]
async fn the_log_stays_on_disk_after_the_end() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let id = coordinator.give(sh("echo kept"));
    coordinator.ended(&id).await;
    let log = std::fs::read(agent.folder(&id).join("log")).unwrap();
    assert_eq!(log, b"\x01\x05\0\0\0kept\n");
}
