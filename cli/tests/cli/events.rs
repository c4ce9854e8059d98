//! Events: listed, followed over broken connections, published.

use serde_json::json;
use titan_api::problem::{Problem, ProblemType};

use crate::support::{Answer, Server, Titan, json as reply, problem, ran, titan_with};

fn event(id: u64, topic: &str, payload: &serde_json::Value) -> serde_json::Value {
    json!({"id": id, "at": "2026-01-02T03:04:05Z", "topic": topic, "payload": payload})
}

fn sent(id: u64, topic: &str) -> Vec<u8> {
    format!("id: {id}\nevent: event\ndata: {}\n\n", event(id, topic, &json!({"n": id}))).into_bytes()
}

fn lost(next_after: u64) -> Answer {
    let problem = Problem { next_after: Some(next_after), ..Problem::new(ProblemType::EventsLost) };
    reply(410, serde_json::to_string(&problem).unwrap())
}

fn titan(server: &Server, arguments: &[&str]) -> (i32, String, String) {
    ran(Titan::new().at(server, arguments).output().unwrap())
}

#[test]
fn all_pages_of_what_is_kept_are_shown_with_nothing_that_steers_a_terminal() {
    let server = Server::start(|number, request| {
        let (line, page) = match number {
            0 => (
                "GET /api/v1/events?topic=a.&after=0",
                json!({"events": [event(7, "a.x", &json!("\u{1b}[31m"))], "next_after": 9, "more": true}),
            ),
            _ => (
                "GET /api/v1/events?topic=a.&after=9",
                json!({"events": [event(12, "a.yy", &json!(null))], "next_after": 12, "more": false}),
            ),
        };
        assert_eq!(request.line, line);
        reply(200, page.to_string())
    });
    let shown = "\
AT                        ID             TOPIC                PAYLOAD
2026-01-02T03:04:05Z      7              a.x                  \"\\u001b[31m\"
2026-01-02T03:04:05Z      12             a.yy
";
    assert_eq!(titan(&server, &["events", "--topic", "a."]), (0, shown.into(), String::new()));
}

#[test]
fn events_can_begin_at_a_time_and_be_only_the_latest_few() {
    let server = Server::start(|_, request| {
        let page = if request.line.contains("after=0") {
            json!({"events": [event(1, "a", &json!(1)), event(2, "b", &json!(2))], "next_after": 2, "more": true})
        } else {
            json!({"events": [event(3, "c", &json!(3))], "next_after": 3, "more": false})
        };
        reply(200, page.to_string())
    });
    let of = |more: &[&str]| titan(&server, &[&["events", "-o", "name"], more].concat());
    assert_eq!(of(&["--since", "10m"]), (0, "1\n2\n3\n".into(), String::new()));
    assert_eq!(of(&["--since", "2026-11-21T07:18:45+01:00", "--limit", "2"]), (0, "2\n3\n".into(), String::new()));
    let lines: Vec<_> = server.requests().into_iter().map(|request| request.line).collect();
    let begins = "GET /api/v1/events?after=";
    assert_eq!(lines[..2], [format!("{begins}0&since_ms=600000"), format!("{begins}2&since_ms=600000")]);
    assert_eq!(lines[2], format!("{begins}0&since=2026-11-21T06%3A18%3A45Z"));
    let (_, out, _) = titan(&server, &["events", "-o", "json", "--limit", "2"]);
    let list: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((list["events"][0]["id"].as_u64(), list["next_after"].as_u64()), (Some(2), Some(3)), "{out}");
    let (code, _, err) = of(&["--since", "yesterday"]);
    assert!(code == 2 && err.contains("a duration like 10m, or a time like 2026-"), "{err}");
    assert_eq!(of(&["--limit", "5", "-f"]).0, 2, "what comes has no end to count from");
}

#[test]
fn who_follows_from_a_time_on_is_shown_what_is_kept_since_then() {
    let server = Server::start(|number, request| {
        if number == 0 {
            assert_eq!(request.line, "GET /api/v1/events?after=0&since_ms=600000");
            return Answer::Stream(vec![sent(7, "a")], true);
        }
        assert_eq!(request.line, "GET /api/v1/events?after=7", "what follows came later");
        problem(ProblemType::Forbidden, "enough")
    });
    let (code, out, _) = titan(&server, &["events", "-f", "--since", "10m", "-o", "name"]);
    assert_eq!((code, out.as_str()), (4, "7\n"));
}

#[test]
fn one_line_of_json_is_one_event() {
    let page = json!({"events": [event(1, "a", &json!(1)), event(2, "b", &json!(2))], "next_after": 2, "more": false});
    let (code, out, _) = titan_with(reply(200, page.to_string()), &["events", "-o", "jsonl"]);
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, lines), (0, vec![event(1, "a", &json!(1)), event(2, "b", &json!(2))]));
}

#[test]
fn a_follower_resumes_after_the_last_whole_event_and_past_those_on_other_topics() {
    let server = Server::start(|number, request| match number {
        0 => {
            assert_eq!(request.line, "GET /api/v1/events");
            // A place, an event, and the beginning of another one.
            let parts = vec![b"id: 4\n\n".to_vec(), sent(5, "a"), sent(6, "a")[..20].to_vec()];
            Answer::Stream(parts, false)
        }
        1 => {
            assert_eq!(request.line, "GET /api/v1/events?after=5");
            Answer::Stream(vec![b"id: 8\n\n".to_vec(), b": still here\n\n".to_vec()], true)
        }
        2 => {
            assert_eq!(request.line, "GET /api/v1/events?after=8");
            problem(ProblemType::StoreUnavailable, "moving")
        }
        3 => {
            assert_eq!(request.line, "GET /api/v1/events?after=8");
            lost(11)
        }
        4 => {
            assert_eq!(request.line, "GET /api/v1/events?after=11");
            Answer::Stream(vec![sent(12, "a"), b"id: 14\nevent: gap\ndata: {\"next\":15}\n\n".to_vec()], true)
        }
        _ => {
            assert_eq!(request.line, "GET /api/v1/events?after=14");
            problem(ProblemType::Forbidden, "enough")
        }
    });
    let (code, out, err) = titan(&server, &["events", "-f", "-o", "name"]);
    assert_eq!((code, out.as_str()), (4, "5\n12\n"));
    assert_eq!(err.matches("events are missing here").count(), 2, "{err}");
    assert!(err.contains("cannot follow events"), "{err}");
}

#[test]
fn an_event_is_published_with_its_payload_and_key() {
    let server = Server::start(|_, request| {
        let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(body, json!({"topic": "deploy.begun", "payload": {"n": 1}}));
        assert_eq!(request.header("idempotency-key"), Some("deploy-17"));
        reply(201, r#"{"id": 42}"#)
    });
    let arguments = ["events", "publish", "deploy.begun", r#"{"n": 1}"#, "--idempotency-key", "deploy-17"];
    assert_eq!(titan(&server, &arguments), (0, "42\n".into(), String::new()));
    let (code, _, err) = titan(&server, &["events", "publish", "a", "word"]);
    assert!(code == 2 && err.contains("must be JSON"), "{code} {err}");
}
