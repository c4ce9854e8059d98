//! `titan models pull`: one call that is safe to repeat, progress on standard error, and the exit code of the pull.

use titan_api::{jobs::JobState, output::Stream::Stdout, problem::ProblemType};

use crate::support::{
    Answer, Server, Titan, event, json, problem, ran,
    samples::{self, output},
};

const PULL: [&str; 5] = ["models", "pull", "new:1b", "--agent", "box-1"];

fn serve(end: JobState) -> Server {
    Server::start(move |number, request| {
        if number == 0 {
            // Nobody knows whether it was accepted, so it is asked again.
            return Answer::Hangup;
        } else if request.line.starts_with("POST /api/v1/models/pull") {
            return json(202, r#"{"id": "job-a", "state": "scheduled", "agent_id": "box-1"}"#);
        } else if request.line.contains("/output") {
            let first = "{\"status\":\"pulling manifest\"}\n{\"status\":\"pulling \\u001b[31mabc\",\"total_byt";
            let second = "es\":2048,\"completed_bytes\":512}\nno JSON\n{\"status\":\"success\"}\n";
            let offset = u64::try_from(first.len()).unwrap();
            let parts = [output(1, &[(Stdout, 0, first)], false), output(1, &[(Stdout, offset, second)], true)];
            return Answer::Stream(vec![event("1-1", &parts[0]), event("1-2", &parts[1])], true);
        }
        json(200, serde_json::to_string(&samples::job("job-a", end)).unwrap())
    })
}

#[test]
fn a_pull_is_asked_for_until_that_is_answered_and_followed_to_its_end() {
    let server = serve(JobState::Completed);
    let (code, out, err) = ran(Titan::new().at(&server, &PULL).output().unwrap());
    assert_eq!((code, out.as_str()), (0, "box-1 has new:1b\n"), "{err}");
    let shown: Vec<&str> = err.lines().filter(|line| !line.starts_with('[')).collect();
    assert_eq!(
        shown,
        ["pulling manifest", "pulling abc: 25 % of 2.0 KB", "success"],
        "cleaned, and what is no progress left out"
    );
    let requests = server.requests();
    let keys: Vec<_> = requests[..2].iter().map(|request| request.header("idempotency-key").unwrap()).collect();
    assert_eq!(keys[0], keys[1]);
    assert_eq!(requests[1].body, r#"{"model":"new:1b","agent_id":"box-1"}"#);
}

#[test]
fn a_pull_that_fails_or_is_refused_says_so_by_its_exit_code() {
    let (code, out, err) = ran(Titan::new().at(&serve(JobState::Failed), &PULL).output().unwrap());
    assert_eq!((code, out.as_str()), (3, ""), "{err}");
    for (kind, expected) in [(ProblemType::Conflict, 6), (ProblemType::NotFound, 5), (ProblemType::Forbidden, 4)] {
        let server = Server::start(move |_, _| problem(kind, "the agent box-1 is offline"));
        let (code, _, err) = ran(Titan::new().at(&server, &PULL).output().unwrap());
        assert_eq!((code, err.contains("the agent box-1 is offline")), (expected, true), "{err}");
    }
}

#[test]
fn a_pull_that_nobody_waits_for_prints_its_job() {
    let detached = [&PULL[..], &["--detach"]].concat();
    let (code, out, _) = ran(Titan::new().at(&serve(JobState::Completed), &detached).output().unwrap());
    assert_eq!((code, out.as_str()), (0, "job-a\n"));
    let as_json = [&PULL[..], &["-o", "json"]].concat();
    let (code, out, _) = ran(Titan::new().at(&serve(JobState::Completed), &as_json).output().unwrap());
    assert_eq!((code, out.contains("\"state\":\"completed\"")), (0, true), "{out}");
}
