//! Contexts: kept for their owner alone, chosen as documented, and their keys sent nowhere but to their own URL.

use std::{io::Write, os::unix::fs::PermissionsExt, path::PathBuf, process::Stdio};

use titan_api::problem::ProblemType;

use crate::support::{Answer, Request, Server, Titan, json, problem, ran};

const HEALTH: &str = r#"{"status":"healthy","service":"titancompute-coordinator","version":"0.1.0"}"#;
const STATUS: &str = r#"{"pool":"default","at":"2026-11-21T06:18:45Z",
    "agent_counts":{"total":1,"healthy":1,"degraded":0,"half_open":0,"offline":0,"draining":0},
    "job_counts":{"pending":0,"scheduled":0,"running":0,"ended":0}}"#;

/// A coordinator that takes the key `good`, and any key that begins with it.
fn coordinator() -> Server {
    Server::start(|_, request: &Request| {
        let is_good = request.header("authorization").is_some_and(|key| key.starts_with("Bearer good"));
        match request.line.as_str() {
            "GET /api/v1/health" => json(200, HEALTH),
            _ if !is_good => problem(ProblemType::Unauthorized, "the credential is wrong"),
            "GET /api/v1/status" => json(200, STATUS),
            _ => json(200, r#"{"jobs":[]}"#),
        }
    })
}

fn file(titan: &Titan) -> PathBuf {
    titan.home.path().join(".config/titan/contexts.json")
}

/// Runs a command with a line on its standard input.
fn typed(titan: &Titan, arguments: &[&str], line: &str) -> (i32, String, String) {
    let mut command = titan.bare(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(line.as_bytes());
    ran(child.wait_with_output().unwrap())
}

fn run(titan: &Titan, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    ran(titan.bare(arguments).envs(variables.iter().copied()).output().unwrap())
}

/// The key that the last request came with.
fn last_key(server: &Server) -> Option<String> {
    server.requests().last().unwrap().header("authorization").map(|value| value.replace("Bearer ", ""))
}

#[test]
fn a_key_that_was_tried_is_kept_for_its_owner_alone_and_used_from_then_on() {
    let (titan, server) = (Titan::new(), coordinator());
    let (code, out, err) = typed(&titan, &["login", &server.url, "--name", "work"], "good-key\nmore\n");
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert!(err.contains("is context work, and the current one"), "{err}");
    assert!(!err.contains("good-key"), "{err}");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file(&titan)), mode(file(&titan).parent().unwrap())), (0o600, 0o700));
    assert_eq!(run(&titan, &["jobs", "ls"], &[]).0, 0);
    assert_eq!(last_key(&server).as_deref(), Some("good-key"));
}

#[test]
fn nothing_is_kept_of_a_login_that_fails() {
    let (titan, server) = (Titan::new(), coordinator());
    let cases: [(&[&str], &str, i32, &str); 6] = [
        (&["login", &server.url], "bad-key\n", 4, "cannot log in as"),
        (&["login", &server.url], "\n", 2, "standard input holds no key"),
        (&["login", &server.url], "titan-join_0123456789abcdef_x\n", 2, "a join token"),
        (&["login", "http://127.0.0.1:1"], "good\n", 7, "check the URL"),
        (&["login", "ftp://x"], "good\n", 2, "must be a URL with http or https"),
        (&["login", &server.url, "--name", "dev"], "good\n", 2, "choose another"),
    ];
    for (arguments, line, expected, says) in cases {
        let (code, _, err) = typed(&titan, arguments, line);
        assert_eq!((code, err.contains(says)), (expected, true), "{arguments:?}: {err}");
    }
    let (code, _, err) = typed(&titan, &["login", "https://user:geheim@titan.example.org"], "good\n");
    assert_eq!((code, err.contains("geheim")), (2, false), "{err}");
    assert!(!file(&titan).exists());
}

#[test]
fn a_coordinator_that_is_away_can_be_kept_untried() {
    let titan = Titan::new();
    let (code, _, err) = typed(&titan, &["login", "http://titan.example.org:81", "--no-check"], "any\n");
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("is not encrypted"), "{err}");
    assert!(err.contains("context titan.example.org-81"), "named by the host and its unusual port: {err}");
}

#[test]
fn logging_in_again_changes_the_key_of_the_same_context() {
    let (titan, server) = (Titan::new(), coordinator());
    assert_eq!(typed(&titan, &["login", &server.url, "--name", "work"], "good-1\n").0, 0);
    let (code, _, err) = run(&titan, &["login", &server.url], &[("TITAN_API_KEY", "good-2")]);
    assert_eq!((code, err.contains("taking the key from TITAN_API_KEY")), (0, true), "{err}");
    assert_eq!(run(&titan, &["context", "ls", "-o", "name"], &[]).1, "work\n");
    assert_eq!(run(&titan, &["jobs", "ls"], &[]).0, 0);
    assert_eq!(last_key(&server).as_deref(), Some("good-2"));
    let (code, _, err) = typed(&titan, &["login", "http://127.0.0.1:1", "--name", "work", "--no-check"], "good\n");
    assert_eq!((code, err.contains("context work is for")), (2, true), "another URL needs another name: {err}");
}

#[test]
fn a_kept_key_goes_to_no_other_url_than_its_own() {
    let (titan, kept, other) = (Titan::new(), coordinator(), coordinator());
    assert_eq!(typed(&titan, &["login", &kept.url], "good\n").0, 0);
    for how in [vec!["--url", other.url.as_str(), "jobs", "ls"], vec!["jobs", "ls"]] {
        let (code, _, err) = run(&titan, &how, &[("TITAN_URL", &other.url)]);
        assert_eq!((code, err.contains("`titan login ")), (4, true), "{err}");
        assert_eq!(last_key(&other), None);
    }
    assert_eq!(run(&titan, &["jobs", "ls"], &[("TITAN_URL", &kept.url)]).0, 0, "its own URL, however it was named");
    assert_eq!(last_key(&kept).as_deref(), Some("good"));
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_current_context() {
    let (titan, one, two) = (Titan::new(), coordinator(), coordinator());
    assert_eq!(typed(&titan, &["login", &one.url, "--name", "one"], "good-1\n").0, 0);
    assert_eq!(typed(&titan, &["login", &two.url, "--name", "two"], "good-2\n").0, 0);
    let environment = [("TITAN_URL", two.url.as_str()), ("TITAN_API_KEY", "good-e")];
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let (code, _, err) = run(&titan, arguments, variables);
        assert_eq!(code, 0, "{err}");
    };
    run(&["jobs", "ls", "--context", "one"], &environment);
    assert_eq!(
        last_key(&one).as_deref(),
        Some("good-1"),
        "a context that a flag names is stronger than the environment"
    );
    run(&["jobs", "ls"], &[("TITAN_CONTEXT", "one"), ("TITAN_API_KEY", "good-e")]);
    assert_eq!(last_key(&one).as_deref(), Some("good-e"));
    run(&["jobs", "ls"], &environment);
    assert_eq!(last_key(&two).as_deref(), Some("good-e"));
    run(&["context", "use", "one"], &[]);
    let calls = one.requests().len();
    run(&["jobs", "ls"], &[]);
    assert_eq!((one.requests().len(), last_key(&one).as_deref()), (calls + 1, Some("good-1")));
}

#[test]
fn contexts_are_listed_without_their_keys_and_forgotten_on_request() {
    let (titan, server) = (Titan::new(), coordinator());
    assert_eq!(typed(&titan, &["login", &server.url, "--name", "work", "--pool", "blue"], "good\n").0, 0);
    let (_, table, _) = run(&titan, &["context", "ls"], &[]);
    assert!(table.contains("*  work  ") && table.contains("  kept  blue\n"), "{table}");
    let (_, json, _) = run(&titan, &["context", "ls", "-o", "json"], &[]);
    let listed: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&listed[0]["has_key"], &listed[0]["current"]), (&true.into(), &true.into()));
    assert!(!json.contains("good"), "{json}");
    assert_eq!(run(&titan, &["context", "rm", "work", "none"], &[]).0, 5, "all or none");
    let (code, _, err) = run(&titan, &["context", "rm", "dev"], &[]);
    assert_eq!((code, err.contains("as long as a `titan dev` runs")), (2, true), "{err}");
    assert_eq!(run(&titan, &["context", "rm", "work"], &[]).0, 0);
    assert_eq!(run(&titan, &["context", "ls", "-o", "name"], &[]).1, "");
    assert!(!std::fs::read_to_string(file(&titan)).unwrap().contains("good"));
}

#[test]
fn a_context_that_there_is_not_is_refused_with_those_that_there_are() {
    let (titan, server) = (Titan::new(), coordinator());
    let (code, _, err) = run(&titan, &["context", "use", "work"], &[]);
    assert_eq!((code, err.contains("`titan login URL` makes one")), (5, true), "{err}");
    assert_eq!(typed(&titan, &["login", &server.url, "--name", "work"], "good\n").0, 0);
    for (arguments, variables) in
        [(vec!["--context", "wrok", "status"], vec![]), (vec!["status"], vec![("TITAN_CONTEXT", "wrok")])]
    {
        let (code, _, err) = run(&titan, &arguments, &variables);
        assert_eq!((code, err.contains("there is no context wrok; there are: work")), (5, true), "{err}");
    }
    assert_eq!(run(&titan, &["--context", "dev", "status"], &[]).0, 7, "no `titan dev` runs");
    let (code, _, err) = run(&titan, &["context", "use", "dev"], &[]);
    assert_eq!((code, err.contains("note: no `titan dev` runs here now")), (0, true), "{err}");
    let dev = format!(r#"{{"url": "{}", "api_key": "good", "pid": 1, "data_dir": "/nowhere"}}"#, server.url);
    std::fs::write(file(&titan).with_file_name("dev.json"), dev).unwrap();
    let (_, _, err) = run(&titan, &["context", "use", "wrok"], &[]);
    assert!(err.contains("there are: work, dev"), "{err}");
    let (code, _, err) = run(&titan, &["context", "use", "dev"], &[]);
    assert_eq!((code, err.contains("note")), (0, false), "{err}");
    assert_eq!(run(&titan, &["--context", "work", "--url", &server.url, "status"], &[]).0, 2, "one of them");
    assert_eq!(run(&titan, &["--context", "../x", "status"], &[]).0, 2);
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_left_as_it_is() {
    let titan = Titan::new();
    let path = file(&titan);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "{ not json").unwrap();
    for arguments in [["context", "ls"], ["jobs", "ls"]] {
        let (code, _, err) = run(&titan, &arguments, &[]);
        assert_eq!((code, err.contains("contexts.json cannot be read as the contexts")), (1, true), "{err}");
    }
    assert_eq!(typed(&titan, &["login", "http://127.0.0.1:1", "--no-check"], "good\n").0, 1);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{ not json");
}

#[test]
fn a_key_may_come_from_a_file_or_a_pipe_but_not_twice_from_the_same() {
    let (titan, server) = (Titan::new(), coordinator());
    let (code, _, err) = typed(&titan, &["jobs", "ls", "--url", &server.url, "--key-file", "-"], "good-piped\n");
    assert_eq!((code, last_key(&server).as_deref()), (0, Some("good-piped")), "{err}");
    let both = ["submit", "--url", &server.url, "--key-file", "-", "--stdin-file", "-", "--", "cat"];
    let (code, _, err) = typed(&titan, &both, "good\n");
    assert_eq!((code, err.contains("cannot be both the key and the job's input")), (2, true), "{err}");
}

#[test]
fn certificates_that_are_none_are_refused() {
    let (titan, server) = (Titan::new(), coordinator());
    let empty = titan.home.path().join("ca.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    let file = empty.to_str().unwrap();
    let (code, _, err) = run(&titan, &["--url", &server.url, "--ca-file", file, "status"], &[]);
    assert_eq!((code, err.contains(file)), (2, true), "{err}");
    assert_eq!(run(&titan, &["--url", &server.url, "status"], &[("TITAN_CA_FILE", "/nowhere")]).0, 1);
}

#[test]
fn a_coordinator_that_answers_otherwise_is_not_logged_in_to() {
    let titan = Titan::new();
    let server = Server::start(|_, _| Answer::Whole("200".into(), vec![], "<html>".into()));
    let (code, _, err) = typed(&titan, &["login", &server.url], "good\n");
    assert_eq!((code, err.contains("no answer of a TitanCompute coordinator")), (1, true), "{err}");
}

#[test]
fn a_context_of_an_address_has_a_name_that_is_no_flag() {
    let titan = Titan::new();
    let (code, _, err) = typed(&titan, &["login", "http://[::1]:18181", "--no-check"], "good\n");
    assert_eq!((code, err.contains("is context 1-18181, and")), (0, true), "{err}");
    assert_eq!(run(&titan, &["context", "use", "1-18181"], &[]).0, 0);
}

#[test]
fn a_proxy_that_cannot_be_reached_is_looked_at_first() {
    let titan = Titan::new();
    let proxy = [("HTTP_PROXY", "http://127.0.0.1:9"), ("TITAN_API_KEY", "good")];
    for arguments in [["--url", "http://192.0.2.2:1", "status"], ["--url", "http://192.0.2.2:1", "doctor"]] {
        let (code, out, err) = run(&titan, &arguments, &proxy);
        assert_ne!(code, 0);
        assert!((out + &err).contains("look at the proxy that HTTP_PROXY names first"), "{arguments:?}: {err}");
    }
    let (_, _, err) = run(&titan, &["--url", "http://127.0.0.1:9", "status"], &proxy);
    assert!(!err.contains("proxy"), "{err}");
}
