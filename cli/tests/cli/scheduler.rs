//! `titan scheduler` and `titan sweep`: what is sent, what stays as it was, what is refused before that.

use crate::support::{Server, Titan, json, ran};

const CUSTOM: &str = r#"{"profile":"custom","strategy":"round_robin",
    "weights":{"vram":0.5,"load":0.5,"rtt":0.0,"performance":0.0,"cost":0.0},"version":3}"#;

/// What `titan scheduler set` sends to a coordinator that has [`CUSTOM`].
fn set(arguments: &[&str]) -> serde_json::Value {
    let server = Server::start(|_, _| json(200, CUSTOM));
    let all = [&["scheduler", "set"], arguments].concat();
    let (code, out, err) = ran(Titan::new().at(&server, &all).output().unwrap());
    assert_eq!((code, out.contains("strategy:  round_robin")), (0, true), "{out}{err}");
    let requests = server.requests();
    let lines: Vec<_> = requests.iter().map(|r| r.line.as_str()).collect();
    assert_eq!(lines, ["GET /api/v1/scheduler", "PUT /api/v1/scheduler"]);
    serde_json::from_str(&requests[1].body).unwrap()
}

#[test]
fn what_is_not_named_stays_as_it_is() {
    let own = serde_json::json!({"vram":0.5,"load":0.5,"rtt":0.0,"performance":0.0,"cost":0.0});
    assert_eq!(set(&["--strategy", "score"]), serde_json::json!({"profile":"custom","weights":own,"strategy":"score"}));
    assert_eq!(set(&["--profile", "latency"]), serde_json::json!({"profile":"latency","strategy":"round_robin"}));
    let other = serde_json::json!({"vram":0.0,"load":0.0,"rtt":0.7,"performance":0.0,"cost":0.3});
    let sent = set(&["--weights", "rtt=0.7,cost=0.3"]);
    assert_eq!(sent, serde_json::json!({"profile":"custom","weights":other,"strategy":"round_robin"}));
}

#[test]
fn weights_and_words_that_are_wrong_are_refused_before_anything_is_sent() {
    let server = Server::start(|_, _| json(200, CUSTOM));
    let cases: [(&[&str], &str); 9] = [
        (&[], "required"),
        (&["--profile", "custom"], "--weights takes your own"),
        (&["--profile", "fast"], "balanced, memory or latency"),
        (&["--strategy", "random"], "score or round_robin"),
        (&["--weights", "speed=1"], "vram, load, rtt, performance and cost"),
        (&["--weights", "vram"], "NAME=N"),
        (&["--weights", "vram=NaN"], "from 0 to 1"),
        (&["--weights", "vram=0.5,vram=0.5"], "named twice"),
        (&["--weights", "vram=1", "--profile", "memory"], "cannot be used with"),
    ];
    for (arguments, says) in cases {
        let all = [&["scheduler", "set"], arguments].concat();
        let (code, _, err) = ran(Titan::new().at(&server, &all).output().unwrap());
        assert_eq!((code, err.contains(says)), (2, true), "{arguments:?}: {err}");
    }
    assert!(server.requests().is_empty());
}

#[test]
fn a_sweep_goes_on_until_nothing_is_overdue() {
    let server = Server::start(|number, _| match number {
        0 => json(200, r#"{"settled":64,"more":true}"#),
        _ => json(200, r#"{"settled":3,"more":false}"#),
    });
    let (code, out, err) = ran(Titan::new().at(&server, &["sweep"]).output().unwrap());
    assert_eq!((code, out.as_str()), (0, "settled 67\n"), "{err}");
}
