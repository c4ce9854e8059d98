//! Every way to fail has its exit code, and says what failed, why, and what to do.

use crate::support::{Answer, Server, Titan, json, problem, ran, samples, titan_with};
use titan_api::{
    jobs::JobState,
    problem::{FieldError, Problem, ProblemType},
    scheduler::RuledOut,
};

#[test]
fn the_exit_code_says_what_kind_of_failure_it_was() {
    let cases = [
        (ProblemType::BadRequest, 1),
        (ProblemType::Unauthorized, 4),
        (ProblemType::Forbidden, 4),
        (ProblemType::NotFound, 5),
        (ProblemType::AgentRemoved, 5),
        (ProblemType::Conflict, 6),
        (ProblemType::Invalid, 1),
        (ProblemType::Unserved, 1),
        (ProblemType::TooManyRequests, 7),
        (ProblemType::Internal, 1),
        (ProblemType::StoreUnavailable, 7),
        (ProblemType::StoreFull, 7),
        (ProblemType::NotReplicated, 7),
        (ProblemType::Overloaded, 7),
    ];
    for (kind, expected) in cases {
        let (code, out, err) = titan_with(problem(kind, "because"), &["jobs", "ls"]);
        assert_eq!((code, out.as_str()), (expected, ""), "{kind:?}: {err}");
        assert!(err.starts_with(&format!("error: cannot list jobs: {}: because\n", kind.title())), "{err}");
        assert!(err.contains("  request id: req-7\n"), "{err}");
    }
}

#[test]
fn a_wrong_body_names_each_field() {
    let mut wrong = Problem::new(ProblemType::Invalid);
    wrong.errors = vec![FieldError::new("/priority", "must be at most 1000")];
    let answer = json(422, serde_json::to_string(&wrong).unwrap());
    let (code, _, err) = titan_with(answer, &["submit", "--", "x"]);
    assert_eq!((code, err.contains("  /priority: must be at most 1000\n")), (1, true), "{err}");
}

#[test]
fn a_job_that_nobody_can_serve_says_why_and_what_to_do() {
    let mut unserved = Problem::new(ProblemType::Unserved);
    unserved.ruled_out =
        vec![RuledOut { reason: "gpus".into(), agents: 2 }, RuledOut { reason: "ram".into(), agents: 1 }];
    let answer = json(422, serde_json::to_string(&unserved).unwrap());
    let (code, _, err) = titan_with(answer, &["submit", "--gpus", "8", "--", "x"]);
    assert_eq!(code, 1);
    assert!(err.contains("has fewer GPUs: 2 agents") && err.contains("has less memory: 1 agent"), "{err}");
    assert!(err.contains("--allow-unserved"), "{err}");
}

#[test]
fn where_there_is_no_agent_at_all_that_is_what_is_said() {
    let answer = json(422, serde_json::to_string(&Problem::new(ProblemType::Unserved)).unwrap());
    let (code, _, err) = titan_with(answer, &["submit", "--", "x"]);
    assert_eq!((code, err.contains("→ no agent has joined this pool: `titan agents add`")), (1, true), "{err}");
}

#[test]
fn an_unavailable_store_says_when_to_come_back() {
    let body = serde_json::to_string(&Problem::new(ProblemType::StoreUnavailable)).unwrap();
    let answer = Answer::Whole("503".into(), vec![("retry-after".into(), "5".into())], body);
    let (code, _, err) = titan_with(answer, &["status"]);
    assert_eq!((code, err.contains("come back in 5 s"), err.contains("`titan doctor`")), (7, true, true), "{err}");
}

#[test]
fn something_that_is_no_coordinator_is_called_that() {
    let (code, _, err) = titan_with(Answer::Whole("200".into(), vec![], "<html>".into()), &["jobs", "ls"]);
    assert_eq!((code, err.contains("no answer of a TitanCompute coordinator")), (1, true), "{err}");
    let (code, _, _) = titan_with(Answer::Whole("502".into(), vec![], "<html>".into()), &["jobs", "ls"]);
    assert_eq!(code, 7);
    let redirect = Answer::Whole("302".into(), vec![("location".into(), "http://127.0.0.1:1/".into())], String::new());
    assert_eq!(titan_with(redirect, &["jobs", "ls"]).0, 1, "the key must not follow a redirect");
}

#[test]
fn nobody_at_the_url_is_exit_code_7_with_advice() {
    let titan = Titan::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    let (code, _, err) = ran(titan.bare(&["--url", &url, "jobs", "ls"]).output().unwrap());
    assert_eq!(code, 7, "{err}");
    assert!(err.contains("cannot be reached") && err.contains("check --url,"), "{err}");
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let titan = Titan::new();
    let code = |arguments: &[&str]| ran(titan.bare(arguments).output().unwrap()).0;
    assert_eq!(code(&["no-such-command"]), 2);
    assert_eq!(code(&["--url", "ftp://x", "jobs", "ls"]), 2);
    assert_eq!(code(&["--url", "http://user:geheim@x", "jobs", "ls"]), 2);
    assert_eq!(code(&["agents", "rm", "box-1"]), 2, "without a terminal to ask on, --yes is needed");
    assert_eq!(ran(titan.bare(&["jobs", "ls"]).env("TITAN_API_KEY", "two words").output().unwrap()).0, 2);
    assert_eq!(code(&["--help"]), 0);
}

#[test]
fn an_audit_needs_to_know_where_redis_is_and_takes_no_password_on_the_command_line() {
    let titan = Titan::new();
    let run = |arguments: &[&str]| ran(titan.bare(&[&["audit"], arguments].concat()).output().unwrap());
    let (code, _, err) = run(&[]);
    assert_eq!((code, err.contains("REDIS_URL")), (2, true), "{err}");
    let (code, _, err) = run(&["--redis-url", "redis://:geheim@127.0.0.1:1"]);
    assert_eq!((code, err.contains("--redis-url-file"), err.contains("geheim")), (2, true, false), "{err}");
    assert_eq!(run(&["--redis-url", "redis://127.0.0.1:1"]).0, 7);
    assert_eq!(run(&["--redis-url", "redis://127.0.0.1:1", "--pool", "A/B"]).0, 2);
    assert_eq!(run(&["--redis-url-file", "/nowhere"]).0, 1);
    let set = |arguments: &[&str], url: &str| {
        ran(titan.bare(&[&["audit"], arguments].concat()).env("REDIS_URL", url).output().unwrap())
    };
    let file = titan.home.path().join("url");
    let in_file = ["--redis-url-file", file.to_str().unwrap()];
    for wrong in ["nonsense", "localhost:6379", "redis://127.0.0.1:port", "redis+sentinel://127.0.0.1:1"] {
        std::fs::write(&file, wrong).unwrap();
        for ((code, _, err), what) in [
            (run(&["--redis-url", wrong]), "--redis-url is"),
            (set(&[], wrong), "REDIS_URL is"),
            (run(&in_file), "url holds is"),
        ] {
            assert_eq!((code, err.contains(&format!("{what} no URL of Redis: "))), (2, true), "{err}");
            assert_eq!((err.contains("redis://HOST:PORT"), err.contains("InvalidClient")), (true, false), "{err}");
        }
    }
    let (code, _, err) = set(&[], "");
    assert_eq!((code, err.contains("say where Redis is")), (2, true), "what is set to nothing is not set: {err}");
    std::fs::write(&file, "redis://127.0.0.1:1").unwrap();
    assert_eq!(set(&in_file, "").0, 7);
    assert_eq!(set(&in_file, "redis://127.0.0.1:1").0, 2);
}

#[test]
fn waiting_for_a_job_ends_as_the_job_does() {
    let ends = |state| json(200, serde_json::to_string(&samples::job("job-a", state)).unwrap());
    let wait = ["jobs", "wait", "job-a"];
    assert_eq!(titan_with(ends(JobState::Completed), &wait).0, 0);
    let (code, _, err) = titan_with(ends(JobState::Failed), &wait);
    assert_eq!((code, err.as_str()), (3, "error: job job-a failed on box-1 with exit code 3 in attempt 2\n"));
    assert_eq!(titan_with(ends(JobState::Cancelled), &wait).0, 3);
    let (code, _, err) = titan_with(ends(JobState::Running), &["jobs", "wait", "--timeout", "1ms", "job-a"]);
    assert_eq!((code, err.contains("it goes on")), (8, true), "{err}");
}

#[test]
fn json_is_the_reply_exactly_as_it_came() {
    let job = serde_json::to_string(&samples::job("job-a", JobState::Running)).unwrap();
    // A newer coordinator may say more than this build knows.
    let body = format!("{{ \"news\" : [1,  2], {}", &job[1..]);
    let (code, out, _) = titan_with(json(200, body.clone()), &["jobs", "show", "job-a", "-o", "json"]);
    assert_eq!((code, out), (0, body + "\n"));
}

#[test]
fn requests_carry_the_key_the_pool_and_the_filters() {
    let server = Server::start(|_, _| json(200, r#"{"jobs":[]}"#));
    let arguments = ["jobs", "ls", "--state", "failed", "--agent", "box-1", "--cursor", "a/b", "--pool", "blue"];
    let (code, out, err) = ran(Titan::new().at(&server, &arguments).output().unwrap());
    assert_eq!((code, out.as_str(), err.contains("no such jobs")), (0, "", true), "{err}");
    let request = &server.requests()[0];
    assert_eq!(request.line, "GET /api/v1/jobs?state=failed&agent=box-1&limit=100&cursor=a%2Fb");
    assert_eq!(request.header("authorization"), Some("Bearer key-1"));
    assert_eq!(request.header("x-titan-pool"), Some("blue"));
}
