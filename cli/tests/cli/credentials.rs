//! API keys, join tokens, and adding a machine: secrets are shown once, alone, and never lost half-way.

use std::os::unix::fs::PermissionsExt;

use titan_api::credentials::{CreateJoinToken, CreateKey, KeyLimits, Quota, Scope};

use crate::support::{Answer, Request, Server, Titan, json, ran};

const KEY: &str = r#"{"key":"titan_0123_secret","id":"0123","name":"ci","pool":"default","scopes":["jobs:write"],
    "created_at":"2026-11-21T06:18:45Z"}"#;
const TOKEN: &str = r#"{"token":"titan-join_4567_secret","id":"4567","pool":"default","uses":2,"used_by":[],
    "created_at":"2026-11-21T06:18:45Z","expires_at":"2126-11-21T06:18:45Z"}"#;

fn coordinator() -> Server {
    Server::start(|_, request: &Request| match request.line.as_str() {
        "POST /api/v1/keys" => json(201, KEY),
        "POST /api/v1/join-tokens" => json(201, TOKEN),
        line if line.starts_with("DELETE ") => Answer::Whole("204".into(), vec![], String::new()),
        line if line.starts_with("GET /api/v1/join-tokens") => json(200, format!(r#"{{"join_tokens":[{TOKEN}]}}"#)),
        line => {
            assert!(line.starts_with("GET /api/v1/keys"), "{line}");
            json(200, format!(r#"{{"keys":[{KEY}],"next_cursor":"more"}}"#))
        }
    })
}

fn at(server: &Server, arguments: &[&str]) -> (i32, String, String) {
    ran(Titan::new().at(server, arguments).output().unwrap())
}

#[test]
fn standard_output_gets_the_new_key_alone() {
    let server = coordinator();
    let create =
        ["keys", "create", "ci", "--scope", "jobs:write,jobs:read", "--scope", "agents:read", "--expires", "90d"];
    let create = [create.as_slice(), &["--requests", "600/1m", "--body-bytes", "1000/1h"]].concat();
    let (code, out, err) = at(&server, &create);
    assert_eq!((code, out.as_str()), (0, "titan_0123_secret\n"), "{err}");
    assert!(err.contains("API key 0123 (ci) for pool default") && !err.contains("secret"), "{err}");
    let sent: CreateKey = serde_json::from_str(&server.requests()[0].body).unwrap();
    let scopes = vec![Scope::JobsWrite, Scope::JobsRead, Scope::AgentsRead];
    let quota = |quota, window_ms| Some(Quota { quota, window_ms });
    let limits = KeyLimits { requests: quota(600, 60_000), body_bytes: quota(1_000, 3_600_000) };
    assert_eq!(sent, CreateKey { expires_in_ms: Some(7_776_000_000), limits, ..CreateKey::new("ci", scopes) });
}

#[test]
fn a_new_key_can_go_into_a_file_that_only_its_owner_can_read() {
    let (server, titan) = (coordinator(), Titan::new());
    let path = titan.home.path().join("ci.key");
    let create = ["keys", "create", "ci", "--scope", "jobs:write", "--out", path.to_str().unwrap()];
    let (code, out, err) = ran(titan.at(&server, &create).output().unwrap());
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "titan_0123_secret\n");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (code, _, err) = ran(titan.at(&server, &create).output().unwrap());
    assert_eq!((code, err.contains("is there already")), (1, true), "{err}");
    assert_eq!(server.requests().len(), 1, "no key is made that could not be kept");
}

#[test]
fn no_secret_is_made_that_would_not_be_shown() {
    let server = coordinator();
    for arguments in [
        vec!["keys", "create", "ci", "--scope", "jobs:write", "-o", "name"],
        vec!["join-tokens", "create", "-o", "name"],
        vec!["agents", "add", "-o", "name"],
    ] {
        let (code, _, err) = at(&server, &arguments);
        assert_eq!((code, err.contains("would be lost")), (2, true), "{err}");
    }
    assert!(server.requests().is_empty());
}

#[test]
fn wrong_limits_and_scopes_are_refused_before_anything_is_sent() {
    let server = coordinator();
    let cases: [&[&str]; 11] = [
        &["keys", "create", "ci"],
        &["keys", "create", "--scope", "jobs:write"],
        &["keys", "create", "ci", "--scope", "jobs:all"],
        &["keys", "create", "ci", "--scope", "jobs:write", "--expires", "soon"],
        &["keys", "create", "ci", "--scope", "jobs:write", "--requests", "600"],
        &["keys", "create", "ci", "--scope", "jobs:write", "--requests", "0/1m"],
        &["keys", "create", "ci", "--scope", "jobs:write", "--body-bytes", "1/2days"],
        &["keys", "rm", "0123"],
        &["keys", "rm", "--yes", "../x"],
        &["join-tokens", "create", "--uses", "0"],
        &["agents", "add", "--coordinator-url", "titan.example.org"],
    ];
    for arguments in cases {
        assert_eq!(at(&server, arguments).0, 2, "{arguments:?}");
    }
    assert!(server.requests().is_empty());
}

#[test]
fn keys_are_listed_and_revoked() {
    let server = coordinator();
    let (code, out, err) = at(&server, &["keys", "ls", "--limit", "1"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("ID    NAME  SCOPES      AGE  EXPIRES IN\n0123  ci    jobs:write  "), "{out}");
    assert!(out.ends_with("never\n"), "{out}");
    assert!(err.contains("--cursor more"), "{err}");
    assert_eq!(at(&server, &["keys", "ls", "-o", "name", "--no-headers"]).1, "0123\n");
    let wide = at(&server, &["keys", "ls", "-o", "wide"]).1;
    assert!(wide.contains("CREATED") && wide.lines().next().unwrap().ends_with("REQUESTS  BODY BYTES"), "{wide}");
    assert!(wide.trim_end().ends_with('-'), "{wide}");
    assert_eq!(at(&server, &["keys", "rm", "--yes", "0123", "0456"]).1, "0123 is revoked\n0456 is revoked\n");
    let lines: Vec<_> = server.requests().iter().rev().take(2).map(|r| r.line.clone()).collect();
    assert_eq!(lines, ["DELETE /api/v1/keys/0456", "DELETE /api/v1/keys/0123"]);
}

#[test]
fn join_tokens_are_made_listed_and_revoked() {
    let server = coordinator();
    let (code, out, err) = at(&server, &["join-tokens", "create", "--uses", "2", "--expires", "1h"]);
    assert_eq!((code, out.as_str()), (0, "titan-join_4567_secret\n"), "{err}");
    assert!(err.contains("good for 2 machines to join pool default"), "{err}");
    let sent: CreateJoinToken = serde_json::from_str(&server.requests()[0].body).unwrap();
    assert_eq!(sent, CreateJoinToken { uses: 2, expires_in_ms: 3_600_000 });
    let (_, list, _) = at(&server, &["join-tokens", "ls"]);
    assert!(list.contains("4567   0/2  "), "{list}");
    assert_eq!(at(&server, &["join-tokens", "rm", "4567"]).1, "4567 is revoked\n");
}

#[test]
fn the_line_for_a_new_machine_has_the_right_url_and_no_secret() {
    let server = coordinator();
    let (code, out, err) = at(&server, &["agents", "add", "--coordinator-url", "https://titan.example.org/"]);
    assert_eq!(code, 0, "{err}");
    let line = "  titan agent run --coordinator https://titan.example.org --allow-jobs --join-token-file -\n";
    assert!(out.contains(line), "{out}");
    assert!(out.contains("\n  titan-join_4567_secret\n"), "the token stands apart: {out}");
    let (_, out, err) = at(&server, &["agents", "add", "--no-jobs"]);
    assert!(out.contains(&format!("--coordinator {} --join-token-file -\n", server.url)), "{out}");
    assert!(err.contains("is this machine alone"), "{err}");
    let (_, out, _) = at(&server, &["agents", "add", "-o", "json"]);
    let made: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(made["join_token"]["token"], "titan-join_4567_secret");
    assert!(!made["command"].as_str().unwrap().contains("secret"), "{out}");
}

#[test]
fn waiting_for_new_machines_ends_when_all_have_joined_or_the_token_is_gone() {
    let server = Server::start(|number, _| match number {
        0 => json(201, TOKEN),
        1 => json(200, r#"{"join_tokens":[],"next_cursor":"4"}"#),
        _ => json(200, format!(r#"{{"join_tokens":[{}]}}"#, TOKEN.replace("[]", r#"["box-1","box-2"]"#))),
    });
    let (code, _, err) = at(&server, &["agents", "add", "--wait"]);
    assert_eq!((code, err.contains("box-1 has joined\nbox-2 has joined\n")), (0, true), "{err}");
    let server =
        Server::start(|number, _| if number == 0 { json(201, TOKEN) } else { json(200, r#"{"join_tokens":[]}"#) });
    let (code, _, err) = at(&server, &["agents", "add", "--wait"]);
    assert_eq!((code, err.contains("the join token has expired")), (8, true), "{err}");
}

#[test]
fn the_help_of_making_a_key_explains_every_scope() {
    let (_, out, _) = ran(Titan::new().bare(&["keys", "create", "--help"]).output().unwrap());
    let missing = Scope::ALL.into_iter().find(|scope| !out.contains(&format!("\n  {} ", scope.as_str())));
    assert_eq!(missing, None, "{out}");
}

#[test]
fn a_join_token_is_good_for_as_long_as_was_asked_whatever_this_machines_clock_says() {
    let server = Server::start(|_, _| json(201, TOKEN.replace("2126-11-21T06:18:45Z", "2026-11-21T06:28:45Z")));
    let (code, _, err) = at(&server, &["join-tokens", "create"]);
    assert_eq!((code, err.contains("within 10m")), (0, true), "{err}");
    let (code, _, err) = at(&server, &["agents", "add", "--expires", "31d"]);
    assert_eq!((code, err.contains("at most 30 days"), server.requests().len()), (2, true, 1), "{err}");
}

#[test]
fn a_credential_that_would_be_over_at_once_or_never_is_refused_before_it_is_made() {
    let server = coordinator();
    for (arguments, says) in [
        (&["join-tokens", "create", "--expires", "0s"][..], "it would be over at once"),
        (&["keys", "create", "ci", "--scope", "jobs:read", "--expires", "0s"], "it would be over at once"),
        (&["keys", "create", "ci", "--scope", "jobs:read", "--expires", "11y"], "at most 10 years"),
        (&["keys", "create", "ci", "--scope", "jobs:read", "--expires", "soon"], "write for example 12h"),
        (&["keys", "create", "", "--scope", "jobs:read"], "a value is required for '<NAME>'"),
    ] {
        let (code, _, err) = at(&server, arguments);
        assert_eq!((code, err.contains(says)), (2, true), "{arguments:?}: {err}");
    }
    assert!(server.requests().is_empty());
}
