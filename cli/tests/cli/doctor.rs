//! `titan doctor`: names what is broken, says what to do, and ends with the exit code that fits.

use std::os::unix::fs::PermissionsExt;

use titan_api::problem::ProblemType;

use crate::support::{Answer, Request, Server, Titan, json, problem, ran};

const STATUS: &str = r#"{"pool":"default","at":"2026-11-21T06:18:45Z",
    "agent_counts":{"total":1,"healthy":1,"degraded":0,"half_open":0,"offline":0,"draining":0},
    "job_counts":{"pending":0,"scheduled":0,"running":0,"ended":0}}"#;

fn ready(verdict: &str) -> Answer {
    let status = if verdict == "failed" { 503 } else { 200 };
    let check =
        format!(r#"{{"name":"persistence","verdict":"{verdict}","detail":"no append-only file","latency_ms":1.0}}"#);
    json(status, format!(r#"{{"ready":{},"checks":[{check}]}}"#, status == 200))
}

/// A coordinator in order, but for what `broken` answers.
fn coordinator(broken: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) -> Server {
    Server::start(move |_, request| {
        broken(request).unwrap_or_else(|| match request.line.split('?').next().unwrap() {
            "GET /api/v1/health" => {
                let version = env!("CARGO_PKG_VERSION");
                json(
                    200,
                    format!(r#"{{"status":"healthy","service":"titancompute-coordinator","version":"{version}"}}"#),
                )
            }
            "GET /api/v1/ready" => ready("ok"),
            "GET /api/v1/status" => json(200, STATUS),
            "GET /api/v1/jobs" => json(200, r#"{"jobs":[]}"#),
            _ => problem(ProblemType::Forbidden, "for the administrator"),
        })
    })
}

fn doctor(server: &Server) -> (i32, String, String) {
    ran(Titan::new().at(server, &["doctor"]).output().unwrap())
}

#[test]
fn a_pool_in_order_has_nothing_but_good_news() {
    let (code, out, err) = doctor(&coordinator(|_| None));
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.lines().all(|line| line.starts_with("ok ")), "{out}");
    assert!(out.contains("from TITAN_API_KEY; it may see agents, read jobs"), "{out}");
    assert!(!out.contains("key-1"), "{out}");
}

#[test]
fn what_is_broken_is_said_with_what_to_do_and_its_exit_code() {
    let cases = [
        ("/status", problem(ProblemType::Unauthorized, "wrong"), 4, "ask an administrator for another"),
        ("/ready", ready("failed"), 7, "docs/operations.md"),
        ("/ready", problem(ProblemType::NotFound, "no route"), 1, "store"),
        ("/health", Answer::Whole("200".into(), vec![], "<html>".into()), 1, "not as a coordinator does"),
        ("/health", Answer::Hangup, 7, "connection"),
    ];
    for (path, answer, expected, says) in cases {
        let server = coordinator(move |request| request.line.contains(path).then(|| answer.clone()));
        let (code, out, err) = doctor(&server);
        assert_eq!(code, expected, "{path}: {out}{err}");
        assert!(out.contains("failed ") && out.contains(says) && !out.contains("`titan doctor`"), "{out}");
        assert!(err.starts_with("error: not in order: "), "{err}");
    }
}

#[test]
fn a_store_that_is_away_is_said_once() {
    let check =
        |name: &str| format!(r#"{{"name":"{name}","verdict":"failed","detail":"Redis is away","latency_ms":1.0}}"#);
    let checks = ["reachable", "persistence"].map(check).join(",");
    let answer = json(503, format!(r#"{{"ready":false,"checks":[{checks}]}}"#));
    let server = coordinator(move |request| request.line.contains("/ready").then(|| answer.clone()));
    let (code, out, err) = doctor(&server);
    assert_eq!((code, out.matches("Redis is away").count()), (7, 1), "{out}");
    assert_eq!((out.contains("REDIS_URL"), err.as_str()), (true, "error: not in order: store\n"), "{out}");
    let asked =
        server.requests().iter().any(|request| request.line.contains("/jobs") || request.line.contains("/keys"));
    assert!(!asked && !out.contains("key "), "nothing can be asked about the key: {out}");
}

#[test]
fn what_is_only_odd_is_a_warning() {
    let old = r#"{"status":"healthy","service":"titancompute-coordinator","version":"0.0.1"}"#;
    let lonely = STATUS.replace(r#""total":1,"healthy":1"#, r#""total":0,"healthy":0"#);
    let server = coordinator(move |request| match request.line.as_str() {
        "GET /api/v1/health" => Some(json(200, old)),
        "GET /api/v1/ready" => Some(ready("warning")),
        "GET /api/v1/status" => Some(json(200, lonely.clone())),
        _ => None,
    });
    let (code, out, _) = doctor(&server);
    assert_eq!((code, out.matches("warning").count()), (0, 3), "{out}");
    assert!(out.contains("titan agents add") && out.contains("the coordinator is 0.0.1"), "{out}");
}

#[test]
fn a_clock_that_is_far_off_is_noticed() {
    let server = coordinator(|request| {
        let date = ("date".to_owned(), "Sun, 06 Nov 1994 08:49:37 GMT".to_owned());
        let body = r#"{"status":"healthy","service":"titancompute-coordinator","version":"0.1.0"}"#;
        request.line.contains("/health").then(|| Answer::Whole("200".into(), vec![date], body.into()))
    });
    let (code, out, _) = doctor(&server);
    assert_eq!((code, out.contains("ahead of the coordinator's") && out.contains("NTP")), (0, true), "{out}");
}

#[test]
fn what_is_wrong_here_is_found_without_a_call() {
    let titan = Titan::new();
    let (code, out, _) = ran(titan.bare(&["doctor", "--context", "none"]).output().unwrap());
    assert_eq!((code, out.contains("there is no context none")), (5, true), "{out}");
    let file = titan.home.path().join(".config/titan/contexts.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "{}").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, out, _) = ran(titan.bare(&["doctor", "--url", "http://127.0.0.1:1"]).output().unwrap());
    assert_eq!((code, out.contains("chmod 600")), (7, true), "{out}");
    assert!(out.contains("nothing listens there"), "{out}");
    let dev = r#"{"url": "http://127.0.0.1:1", "api_key": "good", "pid": 7, "data_dir": "/nowhere"}"#;
    std::fs::write(file.with_file_name("dev.json"), dev).unwrap();
    let (code, out, _) = ran(titan.bare(&["doctor"]).output().unwrap());
    assert_eq!((code, out.contains("which seems to have ended: start it again")), (7, true), "{out}");
    let (_, out, _) = ran(titan.bare(&["doctor", "--url", "http://127.0.0.1:1", "-o", "json"]).output().unwrap());
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(found[2]["verdict"], "failed", "{out}");
}
