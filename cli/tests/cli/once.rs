//! A submission whose answer is lost is repeated with the same key, and nothing else is.

use std::{
    io::{Read, Write},
    net::TcpListener,
};

use titan_api::problem::ProblemType;

use crate::support::{Answer, Server, Titan, json, problem, ran};

const SUBMITTED: &str = r#"{"id":"job-a","state":"scheduled","agent_id":"box-1"}"#;

fn keys(server: &Server) -> Vec<String> {
    server.requests().iter().map(|r| r.header("idempotency-key").unwrap().to_owned()).collect()
}

#[test]
fn a_lost_answer_is_asked_for_again_with_the_same_key() {
    for lost in [Answer::Hangup, problem(ProblemType::StoreUnavailable, "it may have been accepted")] {
        let server = Server::start(move |number, _| if number < 2 { lost.clone() } else { json(202, SUBMITTED) });
        let (code, out, err) = ran(Titan::new().at(&server, &["submit", "-d", "--", "x"]).output().unwrap());
        assert_eq!((code, out.as_str()), (0, "job-a\n"), "{err}");
        let keys = keys(&server);
        assert_eq!((keys.len(), keys[0] == keys[1] && keys[1] == keys[2]), (3, true), "{keys:?}");
        let bodies: std::collections::BTreeSet<_> = server.requests().into_iter().map(|r| r.body).collect();
        assert_eq!(bodies.len(), 1, "the same body each time, as the key demands");
    }
}

#[test]
fn each_command_has_a_key_of_its_own_unless_one_is_given() {
    let server = Server::start(|_, _| json(202, SUBMITTED));
    let titan = Titan::new();
    for given in [&[][..], &[], &["--idempotency-key", "night 7"]] {
        let arguments = [&["submit", "-d"], given, &["--", "x"]].concat();
        assert_eq!(ran(titan.at(&server, &arguments).output().unwrap()).0, 0);
    }
    let keys = keys(&server);
    assert_eq!((keys[0] == keys[1], keys[2].as_str()), (false, "night 7"), "{keys:?}");
}

#[test]
fn a_refusal_is_not_repeated_and_neither_is_a_call_that_nobody_took() {
    let server = Server::start(|_, _| problem(ProblemType::StoreFull, "no memory"));
    assert_eq!(ran(Titan::new().at(&server, &["submit", "-d", "--", "x"]).output().unwrap()).0, 7);
    assert_eq!(server.requests().len(), 1);
    let began = std::time::Instant::now();
    let nobody = Titan::new().bare(&["submit", "--url", "http://127.0.0.1:1", "--", "x"]).output().unwrap();
    assert_eq!(ran(nobody).0, 7);
    assert!(began.elapsed() < std::time::Duration::from_secs(8), "it is refused at once: {:?}", began.elapsed());
}

#[test]
fn what_is_no_coordinator_is_told_at_once_and_not_asked_again() {
    let page = |status: &str| {
        let kind = ("content-type".to_owned(), "text/html".to_owned());
        Answer::Whole(status.to_owned(), vec![kind], "<html>Unsupported method</html>".to_owned())
    };
    for answer in [page("501"), page("405"), page("505"), page("200")] {
        let server = Server::start(move |_, _| answer.clone());
        let (code, _, err) = ran(Titan::new().at(&server, &["submit", "--", "x"]).output().unwrap());
        assert_eq!((code, server.requests().len()), (1, 1), "{err}");
        assert!(err.contains("no answer of a TitanCompute coordinator") && err.contains("→ check that "), "{err}");
    }
}

/// Runs `titan submit` against a server that is no web server, which greets whoever connects or says something once it was spoken
/// to.
fn submit_to(speaks_first: bool, words: &'static str) -> (i32, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            if !speaks_first {
                let _ = connection.read(&mut [0; 4_096]);
            }
            connection.write_all(words.as_bytes()).unwrap();
            // Until the client goes.
            let _ = connection.read_to_end(&mut Vec::new());
        }
    });
    let (code, _, err) = ran(Titan::new().bare(&["submit", "--url", &url, "--", "x"]).output().unwrap());
    (code, err)
}

#[test]
fn what_speaks_no_http_is_told_at_once() {
    for (speaks_first, words) in [
        (true, "SSH-2.0-OpenSSH_9.6\r\n"),
        (true, "220 mail.example.org ESMTP Postfix\r\n"),
        (false, "SSH-2.0-OpenSSH_9.6\r\n"),
        (false, "502 5.5.2 Error: command not recognized\r\n"),
    ] {
        let (code, err) = submit_to(speaks_first, words);
        assert_eq!((code, err.contains(" does not speak HTTP\n  → check that ")), (1, true), "{words}: {err}");
    }
}

#[test]
fn whoever_never_learns_what_became_of_it_is_told_how_to_find_out() {
    let server = Server::start(|_, _| Answer::Hangup);
    let arguments = ["submit", "--at", "2026-11-21T06:00:00Z", "--idempotency-key", "k", "--", "x"];
    let (code, _, err) = ran(Titan::new().at(&server, &arguments).output().unwrap());
    assert_eq!(code, 7, "{err}");
    assert!(err.contains("--idempotency-key 'k' and --at 2026-11-21T06:00:00Z makes no second one"), "{err}");
}
