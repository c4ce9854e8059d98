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
AT                        ID             TOPIC               PAYLOAD
2026-01-02T03:04:05Z      7              a.x                 \"\\u001b[31m\"
2026-01-02T03:04:05Z      12             a.yy
";
    assert_eq!(titan(&server, &["events", "--topic", "a."]), (0, shown.into(), String::new()));
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
