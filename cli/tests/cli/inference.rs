//! Talking to models: what is asked, what is shown, and what stops an answer.

use std::{
    io::{Read, Write},
    process::{Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use titan_cli::{models::ls::table, render::style::Style};

use crate::support::{Answer, Request, Server, Titan, json as reply, ran, titan_with};

fn event(text: &str) -> Vec<u8> {
    format!("data: {}\n\n", json!({"choices": [{"delta": {"content": text}}]})).into_bytes()
}

fn done() -> Vec<u8> {
    b"data: [DONE]\n\n".to_vec()
}

fn openai_error(status: u16, message: &str, code: &str) -> Answer {
    reply(status, json!({"error": {"message": message, "type": "error", "code": code, "param": null}}).to_string())
}

fn messages(request: &Request) -> Vec<(String, String)> {
    let body: Value = serde_json::from_str(&request.body).unwrap();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    body["messages"].as_array().unwrap().iter().map(|m| (text(&m["role"]), text(&m["content"]))).collect()
}

/// Runs a command with a text as its standard input.
fn with_input(server: &Server, arguments: &[&str], input: impl AsRef<[u8]>) -> (i32, String, String) {
    let mut command = Titan::new().at(server, arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_ref()).unwrap();
    ran(child.wait_with_output().unwrap())
}

#[test]
fn an_answer_is_written_as_it_comes_and_ends_with_a_line_break() {
    let server =
        Server::start(|_, _| Answer::Stream(vec![event("Hel"), b": ping\n\n".to_vec(), event("lo"), done()], true));
    let asked =
        ["infer", "tiny", "hi", "--system", "be brief", "--max-tokens", "9", "--temperature", "0", "--failover"];
    assert_eq!(ran(Titan::new().at(&server, &asked).output().unwrap()), (0, "Hello\n".into(), String::new()));
    let request = &server.requests()[0];
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(request.line, "POST /v1/chat/completions");
    assert_eq!(
        (request.header("authorization"), request.header("x-titan-failover")),
        (Some("Bearer key-1"), Some("continue"))
    );
    let system_first = json!([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]);
    let expected =
        json!({"model": "tiny", "messages": system_first, "stream": true, "max_tokens": 9, "temperature": 0.0});
    assert_eq!(body, expected);
}

#[test]
fn a_question_may_be_piped_in_and_an_answer_be_json() {
    let whole = r#"{"id":"r-1","choices":[{"message":{"content":"42"}}],"usage":{"total_tokens":3}}"#;
    let server = Server::start(move |_, _| reply(200, whole));
    let (code, out, _) = with_input(&server, &["infer", "-o", "json", "tiny"], "what?\n");
    assert_eq!((code, out.trim_end()), (0, whole));
    assert_eq!(messages(&server.requests()[0]), [("user".to_owned(), "what?\n".to_owned())]);
    let (code, out, _) = with_input(&server, &["infer", "-o", "json", "tiny", "-"], "why?\n");
    assert_eq!((code, out.trim_end()), (0, whole));
    assert_eq!(messages(&server.requests()[1]), [("user".to_owned(), "why?\n".to_owned())]);
    let (code, _, err) = with_input(&server, &["infer", "-o", "name", "tiny"], "what?\n");
    assert_eq!((code, err.contains("-o json")), (2, true), "{err}");
    let (code, _, err) = with_input(&server, &["infer", "tiny"], "  \n");
    assert_eq!((code, err.contains("no question")), (2, true), "{err}");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_refusal_in_the_words_of_openai_is_told_with_what_to_do() {
    let refused = |status, message, code| titan_with(openai_error(status, message, code), &["infer", "tiny", "hi"]);
    let (code, out, err) = refused(404, "no agent serves the model tiny", "model_not_found");
    assert_eq!((code, out.as_str()), (5, ""), "{err}");
    assert!(err.contains("no agent serves the model tiny") && err.contains("→ `titan models ls` shows"), "{err}");
    let (code, _, err) = refused(503, "The store is unavailable: try again", "server_error");
    assert_eq!((code, err.contains("Redis is away or busy")), (7, true), "{err}");
    assert_eq!(refused(401, "wrong key", "invalid_api_key").0, 4);
    assert_eq!(refused(503, "no agent was free in time", "deadline_passed").0, 7);
    assert_eq!(titan_with(reply(502, "<html>"), &["infer", "tiny", "hi"]).0, 7);
}

#[test]
fn an_answer_that_breaks_off_is_an_error_after_what_came_of_it() {
    let said = json!({"error": {"message": "the agent was lost", "type": "server_error", "code": "agent_lost"}});
    let error = format!("data: {said}\n\n").into_bytes();
    let (code, out, err) = titan_with(Answer::Stream(vec![event("Hel"), error], true), &["infer", "tiny", "hi"]);
    assert_eq!((code != 0, out.as_str()), (true, "Hel\n"), "{err}");
    assert!(err.contains("the agent was lost") && err.contains("request id: asked-1"), "{err}");
    let (code, out, err) = titan_with(Answer::Stream(vec![event("Hel")], true), &["infer", "tiny", "hi"]);
    assert_eq!((code, out.as_str()), (1, "Hel\n"), "{err}");
    assert!(err.contains("breaks off"), "{err}");
}

#[test]
fn what_is_no_text_ends_no_conversation_as_if_it_had_ended_well() {
    let server = Server::start(|_, _| Answer::Stream(vec![event("one"), done()], true));
    let (code, out, err) = with_input(&server, &["chat", "tiny"], b"one\n\xff\xfe\ntwo\n");
    assert_eq!((code, out.as_str(), server.requests().len()), (1, "one\n", 1), "{err}");
    assert!(err.contains("standard input cannot be read as text"), "{err}");
}

#[test]
fn a_conversation_in_which_nothing_is_asked_is_no_success_unless_it_is_left() {
    let server = Server::start(|_, _| Answer::Stream(vec![event("never"), done()], true));
    for nothing in ["", "\n  \n", "/reset\n"] {
        let (code, out, err) = with_input(&server, &["chat", "tiny"], nothing);
        assert_eq!((code, out.as_str(), err.contains("no question")), (2, "", true), "{nothing:?}: {err}");
    }
    assert_eq!(with_input(&server, &["chat", "tiny"], "/exit\n"), (0, String::new(), String::new()));
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn a_conversation_keeps_what_was_said_until_it_is_reset() {
    let server = Server::start(|number, _| Answer::Stream(vec![event(&format!("answer {number}")), done()], true));
    let input = "one\n\ntwo \\\nlines\n/reset\nthree\n/exit\nnever\n";
    let (code, out, err) = with_input(&server, &["chat", "tiny", "-s", "be brief"], input);
    assert_eq!((code, out.as_str()), (0, "answer 0\nanswer 1\nanswer 2\n"), "{err}");
    let asked: Vec<_> = server.requests().iter().map(messages).collect();
    let said = |list: &[(&str, &str)]| list.iter().map(|(r, c)| ((*r).to_owned(), (*c).to_owned())).collect::<Vec<_>>();
    assert_eq!(asked[0], said(&[("system", "be brief"), ("user", "one")]));
    let second = [("system", "be brief"), ("user", "one"), ("assistant", "answer 0"), ("user", "two \nlines")];
    assert_eq!(asked[1], said(&second));
    assert_eq!(asked[2], said(&[("system", "be brief"), ("user", "three")]));
    assert_eq!(asked.len(), 3);
}

#[test]
fn ctrl_c_stops_the_answer_and_not_the_conversation() {
    let server = Server::start(|number, _| match number {
        0 => Answer::Silence(vec![event("half")]),
        _ => Answer::Stream(vec![event("whole"), done()], true),
    });
    let mut command = Titan::new().at(&server, &["chat", "tiny"]);
    let mut chat = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (chat.stdin.take().unwrap(), chat.stdout.take().unwrap());
    input.write_all(b"one\n").unwrap();
    let mut shown = [0; 4];
    output.read_exact(&mut shown).unwrap();
    assert_eq!(&shown, b"half");
    kill(Pid::from_raw(i32::try_from(chat.id()).unwrap()), Signal::SIGINT).unwrap();
    let mut rest = [0; 1];
    output.read_exact(&mut rest).unwrap();
    input.write_all(b"two\n").unwrap();
    drop(input);
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    let Output { status, .. } = chat.wait_with_output().unwrap();
    assert_eq!((status.code(), rest.as_str()), (Some(0), "whole\n"));
    let second: Vec<_> = messages(&server.requests()[1]).into_iter().map(|(_, said)| said).collect();
    assert_eq!(second, ["one", "half", "two"]);
}

#[test]
fn models_are_listed_by_name_with_who_serves_them() {
    let list = json!({"models": [{"name": "tiny", "parallel": 4, "backend": "llamacpp", "loaded": true, "size_mb": 98,
        "agents": 2, "loaded_on": 1, "since": "2026-01-01T00:00:00Z"}]});
    let (code, out, err) = titan_with(reply(200, list.to_string()), &["models", "ls"]);
    assert_eq!(code, 0, "{err}");
    let cells: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(cells[1], ["tiny", "llamacpp", "2", "1", "4", "98", "MB"]);
    let (_, names, _) = titan_with(reply(200, list.to_string()), &["models", "ls", "-o", "name"]);
    assert_eq!(names, "tiny\n");
    let (code, out, err) = titan_with(reply(200, r#"{"models": []}"#), &["models", "ls"]);
    assert_eq!((code, out.as_str(), err.contains("--backend")), (0, "", true), "{err}");
}

#[test]
fn a_model_that_backends_of_several_kinds_serve_is_listed_with_all_of_them() {
    let list = json!({"models": [{"name": "tiny", "parallel": 4, "backend": "vllm", "loaded": true, "agents": 2,
        "backends": ["ollama", "vllm"], "loaded_on": 1, "since": "2026-01-01T00:00:00Z"}]});
    let (code, out, err) = titan_with(reply(200, list.to_string()), &["models", "ls"]);
    assert_eq!((code, out.contains("  ollama, vllm  ")), (0, true), "{out}{err}");
}

#[test]
fn the_whole_name_of_a_model_is_shown_however_narrow_the_terminal() {
    let name = "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF";
    let list = json!({"models": [{"name": name, "parallel": 4, "backend": "ollama", "loaded": true,
        "agents": 2, "loaded_on": 1, "since": "2026-01-01T00:00:00Z"}]});
    let list = serde_json::from_value(list).unwrap();
    let shown = |width| table(&list, Style { width: Some(width), ..Style::PLAIN });
    assert!(shown(20).lines().nth(1) == Some(name), "{}", shown(20));
    assert!(shown(60).contains("AGENTS") && !shown(60).contains("AT ONCE"), "{}", shown(60));
}

#[test]
fn a_route_is_shown_without_its_ticket() {
    let routed = json!({"request_id": "r-1", "mode": "direct", "agent_id": "box-1", "endpoint": "http://box-1:7071",
        "token": "secret-ticket", "score": 0.875});
    let server = Server::start(move |_, _| reply(200, routed.to_string()));
    let (code, out, err) = ran(Titan::new().at(&server, &["route", "tiny", "--session", "talk"]).output().unwrap());
    assert_eq!(code, 0, "{err}");
    let asked: Value = serde_json::from_str(&server.requests()[0].body).unwrap();
    assert_eq!(asked["user"], "talk");
    assert!(out.contains("box-1") && out.contains("0.875") && out.contains("http://box-1:7071"), "{out}");
    assert!(!out.contains("secret-ticket") && !err.contains("secret-ticket"), "{out}{err}");
}
