//! `titan jobs`: filters, retries, and why attempts failed or a job waits.

use titan_api::{
    agents::{Agent, AgentState},
    jobs::{HinderedAgent, Job, JobList, JobState, Waiting},
    scheduler::RuledOut,
};
use titan_cli::render::{jobs::whole, style::Style};

use crate::support::{
    Server, Titan, json, problem, ran,
    samples::{self, ago, now},
};

fn page(ids: &[&str]) -> String {
    let jobs = ids.iter().map(|id| samples::summary(id, JobState::Failed, "false")).collect();
    serde_json::to_string(&JobList { jobs, next_cursor: None }).unwrap()
}

#[test]
fn the_list_asks_for_what_the_filters_say() {
    let server = Server::start(|_, _| json(200, page(&[])));
    let arguments = ["jobs", "ls", "--state", "blocked", "--agent", "box-1", "-l", "a=b c", "--limit", "5"];
    let (code, out, err) = ran(Titan::new().at(&server, &arguments).output().unwrap());
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "no such jobs\n"));
    assert_eq!(server.requests()[0].line, "GET /api/v1/jobs?state=blocked&agent=box-1&label=a%3Db%20c&limit=5");
}

#[test]
fn where_a_filter_leaves_open_whether_more_follow_that_is_said() {
    let jobs = vec![samples::summary("job-a", JobState::Failed, "false")];
    let page = serde_json::to_string(&JobList { jobs, next_cursor: Some("c".into()) }).unwrap();
    let server = Server::start(move |_, _| json(200, page.clone()));
    let says = |filter: &[&str]| {
        let arguments = [&["jobs", "ls", "--limit", "1"], filter].concat();
        ran(Titan::new().at(&server, &arguments).output().unwrap()).2
    };
    assert_eq!(says(&[]), "more follow; go on with --cursor c\n");
    assert_eq!(says(&["--state", "failed"]), "more may follow; go on with --cursor c\n");
    assert_eq!(says(&["-l", "a=b"]), "more may follow; go on with --cursor c\n");
}

#[test]
fn a_list_with_a_filter_goes_on_until_it_has_what_is_wanted() {
    let server = Server::start(|_, request| {
        let (ids, next_cursor): (&[&str], _) = match request.line.split("cursor=").nth(1) {
            None => (&["job-a"], Some("c1".to_owned())),
            Some("c1") => (&[], Some("c2".to_owned())),
            Some("c2") => (&["job-b", "job-c"], Some("c3".to_owned())),
            Some(cursor) => panic!("nothing is wanted from {cursor} on"),
        };
        let jobs = ids.iter().map(|id| samples::summary(id, JobState::Failed, "false")).collect();
        json(200, serde_json::to_string(&JobList { jobs, next_cursor }).unwrap())
    });
    let run = |format| {
        let arguments = ["jobs", "ls", "--state", "failed", "--limit", "3", "-o", format];
        ran(Titan::new().at(&server, &arguments).output().unwrap())
    };
    let remark = "more may follow; go on with --cursor c3\n";
    assert_eq!(run("name"), (0, "job-a\njob-b\njob-c\n".to_owned(), remark.to_owned()));
    let limits: Vec<_> = server.requests().iter().map(|request| request.line.contains("limit=3")).collect();
    assert_eq!(limits, [true, false, false], "as many as are missing: {:?}", server.requests());
    let (_, out, _) = run("json");
    let list: JobList = serde_json::from_str(&out).unwrap();
    assert_eq!((list.jobs.len(), list.next_cursor.as_deref()), (3, Some("c3")));
}

#[test]
fn a_list_with_a_filter_that_nothing_passes_ends_and_says_where() {
    let server = Server::start(|_, _| {
        json(200, serde_json::to_string(&JobList { jobs: vec![], next_cursor: Some("c".into()) }).unwrap())
    });
    let (code, out, err) = ran(Titan::new().at(&server, &["jobs", "ls", "--state", "failed"]).output().unwrap());
    let says = "no such jobs so far\nmore may follow; go on with --cursor c\n";
    assert_eq!((code, out.as_str(), err.as_str(), server.requests().len()), (0, "", says, 20));
}

#[test]
fn the_attempts_of_all_jobs_of_a_page_stand_in_one_table() {
    let server = Server::start(|_, request| {
        let id = request.line.trim_start_matches("GET /api/v1/jobs/");
        if id == "job-gone" {
            return problem(titan_api::problem::ProblemType::NotFound, "there is no job job-gone in this pool");
        }
        if id.contains('?') {
            json(200, page(&["job-a", "job-gone", "job-b"]))
        } else {
            json(200, serde_json::to_string(&samples::job(id, JobState::Failed)).unwrap())
        }
    });
    let run = |more: &[&str]| {
        let arguments = [&["jobs", "ls", "--state", "failed", "--attempts"], more].concat();
        ran(Titan::new().at(&server, &arguments).output().unwrap())
    };
    let (code, out, err) = run(&[]);
    assert_eq!(code, 0, "{err}");
    let lines: Vec<_> = out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0], ["JOB", "STATE", "TRY", "AGENT", "AGE", "ENDED", "WITH", "MESSAGE"]);
    assert_eq!(
        (&lines[1][..4], &lines[1][5..]),
        (&["job-a", "failed", "1", "box-2"][..], &["signal", "9", "killed", "by", "someone"][..])
    );
    assert_eq!((lines[2][0], lines.len()), ("job-b", 3), "in the order of the list");
    assert_eq!(run(&["-o", "name"]).1, "job-a\njob-b\n");
    assert_eq!(run(&["-o", "jsonl"]).1.lines().filter(|line| line.contains("\"failures\"")).count(), 2);
}

#[test]
fn of_several_jobs_each_is_tried_and_those_are_told_of_that_cannot_be() {
    for verb in ["retry", "cancel"] {
        let server = Server::start(move |_, request| match request.line.rsplit('/').nth(1).unwrap() {
            "gone" => problem(titan_api::problem::ProblemType::NotFound, "there is no job gone"),
            "well" => problem(titan_api::problem::ProblemType::Conflict, "job well ended well"),
            id => json(200, format!(r#"{{"id":"{id}","state":"pending","cancelling":false}}"#)),
        });
        let (code, out, err) =
            ran(Titan::new().at(&server, &["jobs", verb, "gone", "job-a", "well", "job-b"]).output().unwrap());
        assert_eq!((code, out.as_str()), (5, "job-a pending\njob-b pending\n"), "{err}");
        let told: Vec<_> = ["job well ended well", "there is no job gone"].map(|text| err.find(text)).into();
        assert!(told[0].is_some() && told[0] < told[1], "{err}");
        assert_eq!(server.requests().len(), 4);
    }
}

#[test]
fn of_several_jobs_none_is_tried_after_the_coordinator_went_away() {
    let server = Server::start(|_, _| problem(titan_api::problem::ProblemType::StoreUnavailable, "Redis is away"));
    let (code, _, err) = ran(Titan::new().at(&server, &["jobs", "retry", "job-a", "job-b"]).output().unwrap());
    assert_eq!((code, server.requests().len()), (7, 1), "{err}");

    let server = Server::start(|number, _| match number {
        0 => problem(titan_api::problem::ProblemType::NotFound, "there is no job gone"),
        _ => problem(titan_api::problem::ProblemType::StoreUnavailable, "Redis is away"),
    });
    let (_, _, err) = ran(Titan::new().at(&server, &["jobs", "retry", "gone", "job-a", "job-b"]).output().unwrap());
    assert!(err.contains("there is no job gone") && err.contains("Redis is away"), "{err}");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn whoever_waits_for_a_drain_waits_no_longer_than_was_said() {
    let agent = serde_json::to_string(&Agent { live_attempts: 1, draining: true, ..samples::agent("box-1") }).unwrap();
    let server = Server::start(move |number, _| match number {
        0 => json(200, agent.clone()),
        _ => problem(titan_api::problem::ProblemType::StoreUnavailable, "Redis is away"),
    });
    let began = std::time::Instant::now();
    let arguments = ["agents", "drain", "box-1", "--wait", "--timeout", "1s"];
    let (code, _, err) = ran(Titan::new().at(&server, &arguments).output().unwrap());
    assert_eq!((code, err.contains("stays drained")), (8, true), "{err}");
    assert!(began.elapsed().as_secs() < 30, "{err}");
}

#[test]
fn whoever_removes_an_agent_is_told_when_what_it_had_goes_elsewhere() {
    for (live_attempts, says) in
        [(0, "box-1 is removed\n"), (1, "once its lease is over\n"), (2, "its 2 leases are over\n")]
    {
        let agent = serde_json::to_string(&Agent { live_attempts, ..samples::agent("box-1") }).unwrap();
        let server = Server::start(move |number, _| json(if number == 0 { 200 } else { 204 }, agent.clone()));
        let (code, out, err) = ran(Titan::new().at(&server, &["agents", "rm", "--yes", "box-1"]).output().unwrap());
        assert_eq!((code, out.ends_with(says)), (0, true), "{out}{err}");
    }
}

#[test]
fn whoever_waits_for_a_job_waits_no_longer_than_was_said_for_a_silent_coordinator() {
    for answers in [0, 1] {
        let running = serde_json::to_string(&samples::job("job-a", JobState::Running)).unwrap();
        let server = Server::start(move |number, _| match number {
            n if n < answers => json(200, running.clone()),
            _ => crate::support::Answer::Silence(Vec::new()),
        });
        let began = std::time::Instant::now();
        let (code, _, err) =
            ran(Titan::new().at(&server, &["jobs", "wait", "job-a", "--timeout", "1s"]).output().unwrap());
        assert_eq!((code, err.contains("did not say within that time")), (8, true), "{err}");
        assert!(began.elapsed().as_secs() < 20, "{err}");
    }
}

#[test]
fn a_job_that_is_cancelled_again_at_once_is_told_of() {
    let server = Server::start(|_, _| json(200, r#"{"id":"job-b","state":"cancelled"}"#));
    let (code, out, err) = ran(Titan::new().at(&server, &["jobs", "retry", "job-b"]).output().unwrap());
    assert_eq!((code, out.as_str(), err.contains("retry that one first")), (6, "job-b cancelled\n", true), "{err}");
}

#[test]
fn whoever_waits_stays_while_the_coordinator_is_away() {
    let server = Server::start(|number, request| match number {
        0 => {
            assert!(request.line.contains("wait_ms=0"), "{}", request.line);
            json(200, serde_json::to_string(&samples::job("job-a", JobState::Running)).unwrap())
        }
        1 | 2 => crate::support::Answer::Hangup,
        _ => json(200, serde_json::to_string(&samples::job("job-a", JobState::Completed)).unwrap()),
    });
    let (code, _, err) = ran(Titan::new().at(&server, &["jobs", "wait", "job-a"]).output().unwrap());
    assert_eq!((code, err.contains("trying again")), (0, true), "{err}");
    assert_eq!(err.matches("[titan: connected again]\n").count(), 1, "{err}");

    let busy = |live_attempts| {
        json(200, serde_json::to_string(&Agent { live_attempts, draining: true, ..samples::agent("box-1") }).unwrap())
    };
    let server = Server::start(move |number, _| match number {
        0 => busy(1),
        1 => crate::support::Answer::Hangup,
        2 => problem(titan_api::problem::ProblemType::StoreUnavailable, "Redis is away"),
        _ => busy(0),
    });
    let (code, _, err) = ran(Titan::new().at(&server, &["agents", "drain", "box-1", "--wait"]).output().unwrap());
    assert_eq!((code, err.contains("box-1 has no jobs any more")), (0, true), "{err}");
}

#[test]
fn whoever_waits_through_an_outage_hears_at_once_that_it_is_over() {
    let server = Server::start(|number, request| {
        let state = if number < 4 { JobState::Running } else { JobState::Completed };
        if number == 3 {
            assert!(request.line.contains("wait_ms=0"), "the job may go on for long: {}", request.line);
        }
        match number {
            1 | 2 => crate::support::Answer::Hangup,
            _ => json(200, serde_json::to_string(&samples::job("job-a", state)).unwrap()),
        }
    });
    let (code, _, err) = ran(Titan::new().at(&server, &["jobs", "wait", "job-a"]).output().unwrap());
    assert_eq!((code, err.matches("[titan: connected again]\n").count()), (0, 1), "{err}");
}

#[test]
fn a_log_can_begin_at_a_time_and_says_nothing_of_what_comes_before() {
    use titan_api::output::Stream::Stdout;
    let server = Server::start(|_, request| {
        let late = samples::output(1, &[(Stdout, 700, "late\n")], true);
        match request.line.contains("/output") {
            true if request.header("accept") == Some("text/event-stream") => {
                let event = crate::support::event("1-705", &late);
                crate::support::Answer::Stream(vec![event], true)
            }
            true => json(200, serde_json::to_string(&late).unwrap()),
            false => json(200, serde_json::to_string(&samples::job("job-a", JobState::Completed)).unwrap()),
        }
    });
    let logs = |more: &[&str]| {
        let arguments = [&["jobs", "logs", "job-a"], more].concat();
        ran(Titan::new().at(&server, &arguments).output().unwrap())
    };
    let says_late = (0, "late\n".to_owned(), String::new());
    for more in
        [&["--since", "10m"][..], &["--since", "10m", "-f"], &["--since", "2026-11-21T07:18:45+01:00", "-n", "5"]]
    {
        assert_eq!(logs(more), says_late, "{more:?}");
    }
    let lines: Vec<_> = server.requests().into_iter().map(|request| request.line).collect();
    let of = |query: &str| lines.iter().filter(|line| line.contains(query)).count();
    assert_eq!((of("since_ms=600000"), of("since=2026-11-21T06%3A18%3A45Z")), (2, 1), "{lines:?}");
    let (code, _, err) = logs(&["--since", "yesterday"]);
    assert!(code == 2 && err.contains("a duration like 10m, or a time like 2026-"), "{err}");
    assert!(logs(&[]).2.contains("700 bytes of the output are missing"));
}

#[test]
fn a_job_that_waits_says_for_what() {
    let says = |job| {
        let shown = whole(&job, now(), Style::PLAIN);
        shown.lines().find_map(|line| line.strip_prefix("waits for:")).map(|text| text.trim().to_owned())
    };
    let mut job = samples::job("job-a", JobState::Blocked);
    (job.depends_on, job.waits_for) = (vec!["job-x".into(), "job-y".into()], Some(1));
    assert_eq!(says(job.clone()).unwrap(), "1 job to end");
    (job.state, job.not_before) = (JobState::Delayed, Some(ago(-90)));
    assert_eq!(says(job.clone()).unwrap(), "2027-01-15T08:01:30Z (in 2m)");
    job.state = JobState::Pending;
    job.waiting = Some(Waiting {
        place: 3,
        line: 10,
        since: ago(60),
        holds: Some("box-1".parse().unwrap()),
        may_start_at: Some(ago(-30)),
        ruled_out: vec![RuledOut { reason: "slots".into(), agents: 2 }],
        examined: 2,
        hindered: Vec::new(),
    });
    let expected = "an agent, as number 3 of 10 in line, for which room is kept on box-1, perhaps 30s more; has no slot free: 2 agents";
    assert_eq!(says(job.clone()).unwrap(), expected);
    let waiting = job.waiting.as_mut().unwrap();
    (waiting.holds, waiting.may_start_at) = (None, None);
    waiting.ruled_out = vec![RuledOut { reason: "hindered".into(), agents: 1 }];
    let by = vec!["its disk is full".into(), "a GPU does not answer".into()];
    waiting.hindered = vec![HinderedAgent { agent_id: "box-2".parse().unwrap(), hindered_by: by }];
    let expected = "an agent, as number 3 of 10 in line; is hindered on its box: 1 agent (box-2: its disk is full, a GPU does not answer)";
    assert_eq!(says(job.clone()).unwrap(), expected);
    job.state = JobState::Running;
    assert_eq!(says(job), None);
}

#[test]
fn whoever_waits_for_a_job_that_is_cancelled_stays_until_its_processes_are_gone() {
    let server = Server::start(|number, _| {
        let job = Job { cancelling: number < 2, ..samples::job("job-a", JobState::Cancelled) };
        json(200, serde_json::to_string(&job).unwrap())
    });
    let (code, _, err) = ran(Titan::new().at(&server, &["jobs", "wait", "job-a"]).output().unwrap());
    let says =
        "[titan: job job-a is cancelled, and its processes are being ended]\nerror: job job-a was cancelled on box-1\n";
    assert_eq!((code, err.as_str(), server.requests().len()), (3, says, 3));

    let server = Server::start(|_, _| {
        let job = Job { cancelling: true, ..samples::job("job-a", JobState::Cancelled) };
        json(200, serde_json::to_string(&job).unwrap())
    });
    let arguments = ["jobs", "wait", "job-a", "--timeout", "1s"];
    let (code, _, err) = ran(Titan::new().at(&server, &arguments).output().unwrap());
    assert_eq!((code, err.contains("its processes have not ended in that time")), (8, true), "{err}");
}

#[test]
fn whoever_waits_for_a_job_with_a_key_that_calls_too_often_waits_for_that_too() {
    let server = Server::start(|number, _| match number {
        0 => {
            let mut refusal = titan_api::problem::Problem::new(titan_api::problem::ProblemType::TooManyRequests);
            refusal.detail = Some("2 in 60 s".to_owned());
            let headers = vec![("retry-after".to_owned(), "7".to_owned())];
            crate::support::Answer::Whole("429".into(), headers, serde_json::to_string(&refusal).unwrap())
        }
        _ => json(200, serde_json::to_string(&samples::job("job-a", JobState::Completed)).unwrap()),
    });
    let began = std::time::Instant::now();
    let (code, _, err) = ran(Titan::new().at(&server, &["jobs", "wait", "job-a"]).output().unwrap());
    assert_eq!((code, err.contains("2 in 60 s")), (0, true), "{err}");
    assert!(began.elapsed().as_secs() >= 7, "{err}");
}

#[test]
fn a_running_job_whose_agent_is_offline_is_shown_with_that() {
    for (state, tells) in [(AgentState::Offline, true), (AgentState::Healthy, false)] {
        let server = Server::start(move |_, request| {
            let told = if request.line.contains("/jobs/") {
                serde_json::to_string(&samples::job("job-a", JobState::Running))
            } else {
                serde_json::to_string(&Agent { state, ..samples::agent("box-1") })
            };
            json(200, told.unwrap())
        });
        let (code, _, err) = ran(Titan::new().at(&server, &["jobs", "show", "job-a"]).output().unwrap());
        assert_eq!((code, err.contains("box-1 is offline, and was last heard of")), (0, tells), "{err}");
    }
}
