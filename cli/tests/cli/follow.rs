//! Following output: over broken connections, across gaps and attempts, byte for byte.

use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
};

use crate::support::{
    Answer, Request, Server, Titan, event, json, problem, ran,
    samples::{self, output},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use titan_api::{
    jobs::JobState,
    output::{
        Encoding, Mark, Output,
        Stream::{Stderr, Stdout},
    },
    problem::ProblemType,
};
use titan_cli::{
    follow::Follower,
    patience::Patience,
    session::{Session, connect},
    settings::Global,
};

/// Where the whole of an output is.
const WHERE: &str = "; its box may still have all of it: docs/agent.md says where]\n";
const LOGS: [&str; 4] = ["jobs", "logs", "-f", "job-a"];

/// Answers requests for output by `script`, and says that the job has completed.
fn serve(script: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Server {
    Server::start(move |number, request| {
        if request.line.contains("/output") {
            return script(number, request);
        }
        json(200, serde_json::to_string(&samples::job("job-a", JobState::Completed)).unwrap())
    })
}

fn follow(server: &Server) -> (i32, String, String) {
    ran(Titan::new().at(server, &LOGS).output().unwrap())
}

#[test]
fn each_stream_goes_where_it_belongs() {
    let server = serve(|_, _| {
        let first = event("1-9", &output(1, &[(Stdout, 0, "out\n"), (Stderr, 4, "err\n!")], false));
        let last = event("1-12", &output(1, &[(Stdout, 10, "end")], true));
        Answer::Stream(vec![first, last], true)
    });
    assert_eq!(
        follow(&server),
        (0, "out\nend".into(), format!("err\n![titan: 1 bytes of the output are missing here{WHERE}"))
    );
}

#[test]
fn events_may_be_cut_anywhere() {
    let whole = event("1-5", &output(1, &[(Stdout, 0, "grüß\n")], true));
    let server = serve(move |_, _| Answer::Stream(whole.chunks(3).map(<[u8]>::to_vec).collect(), true));
    assert_eq!(follow(&server), (0, "grüß\n".into(), String::new()));
}

#[test]
fn a_broken_connection_is_resumed_after_the_last_event_and_nothing_comes_twice() {
    let server = serve(|number, request| match number {
        0 => {
            assert_eq!(request.header("last-event-id"), None);
            let mut half = event("1-6", &output(1, &[(Stdout, 3, "two")], false));
            half.truncate(20);
            Answer::Stream(vec![event("1-3", &output(1, &[(Stdout, 0, "one")], false)), half], false)
        }
        1 => Answer::Hangup,
        2 => problem(ProblemType::StoreUnavailable, "moving"),
        // One byte more than was asked for, as a repeat after a lost reply would bring.
        _ => {
            assert_eq!(request.header("last-event-id"), Some("1-3"));
            Answer::Stream(vec![event("1-6", &output(1, &[(Stdout, 2, "etwo")], true))], true)
        }
    });
    let (code, out, err) = follow(&server);
    assert_eq!((code, out.as_str()), (0, "onetwo"), "{err}");
    assert_eq!(err.matches("trying again").count(), 1, "said once: {err}");
    assert!(err.ends_with("[titan: connected again]\n"), "{err}");
}

#[test]
fn who_follows_a_silent_job_through_an_outage_hears_that_it_is_over() {
    let server = serve(|number, _| match number {
        0 => Answer::Stream(vec![event("1-3", &output(1, &[(Stdout, 0, "one")], false))], false),
        // The job says nothing, and the coordinator that the reader came back to says only that it is there.
        _ => Answer::Silence(vec![b": still here\n\n".to_vec()]),
    });
    let mut child = Titan::new().at(&server, &LOGS).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let said: Vec<_> = lines.take(2).collect();
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    assert!(said[0].contains("the connection broke") && said[1] == "[titan: connected again]", "{said:?}");
}

#[test]
fn a_stream_that_the_coordinator_ends_in_order_is_resumed_without_a_word() {
    let server = serve(|number, _| match number {
        0 => Answer::Stream(vec![event("1-3", &output(1, &[(Stdout, 0, "one")], false))], true),
        _ => Answer::Stream(vec![event("1-6", &output(1, &[(Stdout, 3, "two")], true))], true),
    });
    assert_eq!(follow(&server), (0, "onetwo".into(), String::new()));
}

#[test]
fn a_gap_and_a_new_attempt_are_marked_on_standard_error() {
    let named = |name: &str, data: &str| format!("event: {name}\ndata: {data}\n\n").into_bytes();
    let server = serve(move |_, _| {
        let parts = vec![
            named("attempt", r#"{"attempt":1}"#),
            event("1-5", &output(1, &[(Stdout, 0, "early")], false)),
            named("gap", r#"{"attempt":1,"skipped_bytes":95}"#),
            event("1-105", &output(1, &[(Stdout, 100, "late\n")], false)),
            named("of-a-newer-coordinator", "{}"),
            named("attempt", r#"{"attempt":2}"#),
            event("2-6", &output(2, &[(Stdout, 0, "again\n")], true)),
        ];
        Answer::Stream(parts, true)
    });
    let (code, out, err) = follow(&server);
    assert_eq!((code, out.as_str()), (0, "earlylate\nagain\n"));
    let gap = format!("[titan: 95 bytes of the output are missing here{WHERE}");
    assert_eq!(err, gap + "[titan: attempt 1 is over; what follows is from attempt 2]\n");
}

/// Output of the one or the other attempt number 1.
fn of_first(mark: u32, text: &str, complete: bool) -> Output {
    Output { mark: Some(Mark(mark)), ..output(1, &[(Stdout, 0, text)], complete) }
}

#[test]
fn another_attempt_of_the_same_number_is_shown_whole_and_told_apart() {
    let server = serve(|_, _| {
        let again = b"event: attempt\ndata: {\"attempt\":1,\"mark\":\"0000000b\"}\n\n".to_vec();
        let parts = vec![
            event("1-5-0000000a", &of_first(10, "lost ", false)),
            again,
            event("1-11-0000000b", &of_first(11, "whole text\n", true)),
        ];
        Answer::Stream(parts, true)
    });
    let says = "[titan: attempt 1 is over; what follows is from another attempt 1]\n";
    assert_eq!(follow(&server), (0, "lost whole text\n".into(), says.into()));
    let (_, lines, _) =
        ran(Titan::new().at(&server, &["jobs", "logs", "job-a", "-f", "-o", "jsonl"]).output().unwrap());
    let marks: Vec<_> = lines.lines().map(|line| serde_json::from_str::<Output>(line).unwrap().mark).collect();
    assert_eq!(marks, [Some(Mark(10)), Some(Mark(11))]);
    // The same piece by piece, where whoever asks says which of the two it has read.
    let server = serve(|_, request| {
        let (mark, text, complete) = match request.line.as_str() {
            "GET /api/v1/jobs/job-a/output?offset=0" => (10, "lost ", false),
            "GET /api/v1/jobs/job-a/output?attempt=1&mark=0000000a&offset=5" => (11, "whole text\n", true),
            line => panic!("{line}"),
        };
        json(200, serde_json::to_string(&of_first(mark, text, complete)).unwrap())
    });
    let pieces = |more: &[&str]| {
        let arguments = [&["jobs", "logs", "job-a"], more].concat();
        ran(Titan::new().at(&server, &arguments).output().unwrap())
    };
    assert_eq!(pieces(&[]), (0, "lost whole text\n".into(), says.into()));
    assert_eq!(pieces(&["-n", "9"]).1, "whole text\n");
}

#[test]
fn bytes_that_are_no_text_come_through_and_nothing_is_escaped() {
    let server = serve(|_, _| {
        let mut bytes = output(1, &[(Stdout, 0, "//4BG1szMW0=")], true);
        (bytes.chunks[0].encoding, bytes.next_offset) = (Encoding::Base64, 8);
        Answer::Stream(vec![event("1-8", &bytes)], true)
    });
    let output = Titan::new().at(&server, &LOGS).output().unwrap();
    assert_eq!(output.stdout, b"\xff\xfe\x01\x1b[31m");
}

#[tokio::test]
async fn a_coordinator_that_stays_away_is_given_up_in_the_end() {
    let server = serve(|_, _| Answer::Hangup);
    let ms = std::time::Duration::from_millis;
    let patience = Patience { first_pause: ms(1), longest_pause: ms(4), give_up_after: ms(1_500) };
    let session = Session::at(connect(&server.url).unwrap(), &Global::default());
    let job = "job-a".parse().unwrap();
    let failure = Follower::new(&session, &job, patience).run(|_| Ok(())).await.unwrap_err();
    assert_eq!(failure.code(), 7, "{failure}");
    assert!(server.requests().len() > 3, "it was tried again and again");
}

#[test]
fn a_refusal_ends_the_following_at_once() {
    let server = serve(|_, _| problem(ProblemType::NotFound, "no job job-a"));
    let (code, _, err) = follow(&server);
    assert_eq!((code, server.requests().len()), (5, 1), "{err}");
    assert!(err.starts_with("error: cannot follow the output of job job-a: "), "{err}");
}

#[test]
fn a_job_that_is_gone_while_it_is_followed_was_lost_and_not_forgotten() {
    let missing = || problem(ProblemType::NotFound, "there is no job job-a; ended jobs are forgotten after a while");
    let server = serve(move |number, _| match number {
        0 => Answer::Stream(vec![event("1-3", &output(1, &[(Stdout, 0, "one")], false))], true),
        _ => missing(),
    });
    let says = "error: job job-a is gone, and had not ended when it was seen last: Redis has probably lost data";
    let (code, out, err) = follow(&server);
    assert_eq!((code, out.as_str(), err.contains("forgotten")), (5, "one", false), "{err}");
    assert!(err.contains(says) && err.contains("--topic agent.attempts_lost") && err.contains("submit"), "{err}");
    let server = Server::start(move |number, _| match number {
        0 => json(200, serde_json::to_string(&samples::job("job-a", JobState::Running)).unwrap()),
        _ => missing(),
    });
    let (code, _, err) = ran(Titan::new().at(&server, &["jobs", "wait", "job-a"]).output().unwrap());
    assert_eq!((code, err.contains(says)), (5, true), "{err}");
}

#[test]
fn logs_without_follow_read_page_after_page() {
    let server = serve(|_, request| {
        let page = match request.line.as_str() {
            "GET /api/v1/jobs/job-a/output?offset=0" => output(1, &[(Stdout, 0, "one")], false),
            "GET /api/v1/jobs/job-a/output?attempt=1&offset=3" => output(1, &[(Stderr, 3, "two")], false),
            line => {
                assert_eq!(line, "GET /api/v1/jobs/job-a/output?attempt=1&offset=6");
                titan_api::output::Output { next_offset: 6, ..output(1, &[], false) }
            }
        };
        json(200, serde_json::to_string(&page).unwrap())
    });
    let result = ran(Titan::new().at(&server, &["jobs", "logs", "job-a"]).output().unwrap());
    assert_eq!(result, (0, "one".into(), "two".into()));
}

#[test]
fn submitting_follows_the_job_and_ends_as_it_does() {
    let submit = |end: JobState| {
        let server = Server::start(move |_, request| match request.line.as_str() {
            "POST /api/v1/jobs" => json(202, r#"{"id":"job-a","state":"scheduled","agent_id":"box-1"}"#),
            line if line.ends_with("/output") => {
                Answer::Stream(vec![event("1-3", &output(1, &[(Stdout, 0, "hi\n")], true))], true)
            }
            _ => json(200, serde_json::to_string(&samples::job("job-a", end)).unwrap()),
        });
        let result = ran(Titan::new().at(&server, &["submit", "--", "echo", "hi"]).output().unwrap());
        let sent: titan_api::jobs::SubmitJob = serde_json::from_str(&server.requests()[0].body).unwrap();
        assert_eq!(sent.process.command, ["echo", "hi"]);
        result
    };
    let (code, out, err) = submit(JobState::Completed);
    assert_eq!((code, out.as_str()), (0, "hi\n"));
    assert_eq!(err, "[titan: job job-a goes to box-1]\n[titan: job job-a completed on box-1 with exit code 0]\n");
    let (code, out, err) = submit(JobState::Failed);
    assert_eq!((code, out.as_str()), (3, "hi\n"));
    assert!(err.ends_with("error: job job-a failed on box-1 with exit code 3 in attempt 2\n"), "{err}");
}

#[test]
fn a_detached_job_is_only_named() {
    let reply = r#"{"id":"job-a","state":"pending"}"#;
    let submit = |format: &str| {
        let server = Server::start(move |_, _| json(202, reply));
        let arguments = ["submit", "--detach", "-o", format, "--", "sleep", "60"];
        let result = ran(Titan::new().at(&server, &arguments).output().unwrap());
        assert_eq!(server.requests().len(), 1);
        result
    };
    assert_eq!(submit("name"), (0, "job-a\n".into(), String::new()));
    assert_eq!(submit("json"), (0, format!("{reply}\n"), String::new()));
    let (code, out, err) = submit("table");
    assert_eq!((code, out.as_str(), err.contains("waits for an agent")), (0, "job-a\n", true));
}

#[test]
fn ctrl_c_detaches_and_says_how_to_come_back() {
    let server = serve(|_, _| Answer::Silence(vec![event("1-5", &output(1, &[(Stdout, 0, "begun")], false))]));
    let mut command = Titan::new().at(&server, &LOGS);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut begun = [0; 5];
    child.stdout.as_mut().unwrap().read_exact(&mut begun).unwrap();
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let (code, _, err) = ran(child.wait_with_output().unwrap());
    assert_eq!(code, 130);
    assert!(err.contains("titan jobs logs -f job-a") && err.contains("titan jobs cancel job-a"), "{err}");
}

#[test]
fn a_reader_that_goes_away_ends_the_command_silently() {
    let server = serve(|number, _| {
        let data = "x".repeat(60_000);
        let offset = number as u64 * 60_000;
        Answer::Stream(
            vec![event(&format!("1-{}", offset + 60_000), &output(1, &[(Stdout, offset, &data)], false))],
            true,
        )
    });
    let mut command = Titan::new().at(&server, &LOGS);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let (code, _, err) = ran(child.wait_with_output().unwrap());
    assert_eq!((code, err.as_str()), (141, ""));
}
