//! What the operator of the box lets jobs do.

use std::os::unix::fs::PermissionsExt;

use nix::unistd::Uid;
use serde_json::{Value, json};

use crate::{
    agent::{Agent, Start, lease, sh},
    coordinator::Coordinator,
};

/// An agent whose policy says this, and the file that does.
async fn start(coordinator: &Coordinator, policy: &str) -> (Agent, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.toml");
    std::fs::write(&file, policy).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let agent = Start::of(coordinator).args(&["--policy", file.to_str().unwrap()]).spawn();
    coordinator.next("heartbeat").await;
    (agent, folder)
}

async fn refusal(coordinator: &Coordinator, lease: Value) -> String {
    let id = coordinator.give(lease);
    let attempt = coordinator.ended(&id).await;
    let end = attempt.end.unwrap();
    assert_eq!((&end["type"], &end["reason"], attempt.started), (&json!("failed"), &json!("refused"), false), "{end}");
    end["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_no_rule_allows_is_refused_with_the_reason_and_never_begins() {
    let coordinator = Coordinator::start().await;
    let rules = "[[allow]]\ncommand = ['/usr/bin/printf', '/usr/bin/env']\nenv = 'GREETING'\n";
    let (agent, _folder) = start(&coordinator, rules).await;
    let id = coordinator.give(lease(&["printf", "%s", "allowed"]));
    assert_eq!(coordinator.ended(&id).await.output, b"allowed");
    assert!(refusal(&coordinator, sh("touch /tmp/never")).await.contains("does not let jobs run /usr/bin/sh"));
    let mut with_env = lease(&["/usr/bin/env"]);
    with_env["process"]["env"] = json!({ "GREETING": "hi", "LD_PRELOAD": "/tmp/x.so" });
    assert!(refusal(&coordinator, with_env.clone()).await.contains("the variable LD_PRELOAD"));
    let mut elsewhere = lease(&["/usr/bin/env"]);
    elsewhere["process"]["working_dir"] = json!("/etc");
    assert!(refusal(&coordinator, elsewhere).await.contains("does not let this program work in /etc"));
    with_env["process"]["env"] = json!({ "GREETING": "hi" });
    with_env["lease_id"] = json!("again");
    let id = coordinator.give(with_env);
    assert!(String::from_utf8(coordinator.ended(&id).await.output).unwrap().contains("GREETING=hi\n"));
    assert!(agent.log().contains("policy.toml allows: /usr/bin/printf, /usr/bin/env"), "{}", agent.log());
}

#[tokio::test]
async fn a_job_cannot_have_another_program_run_by_a_search_path_of_its_own() {
    let coordinator = Coordinator::start().await;
    let (_agent, folder) = start(&coordinator, "[[allow]]\ncommand = '/usr/bin/printf'\nenv = 'PATH'\n").await;
    let fake = folder.path().join("printf");
    std::fs::write(&fake, "#!/bin/sh\necho fooled\n").unwrap();
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut lease = lease(&["printf", "real"]);
    lease["process"]["env"] = json!({ "PATH": folder.path() });
    let id = coordinator.give(lease);
    assert_eq!(coordinator.ended(&id).await.output, b"real");
}

#[tokio::test]
async fn no_job_runs_longer_than_the_policy_lets_it_whatever_it_asks_for() {
    let coordinator = Coordinator::start().await;
    coordinator.set("kill_grace_ms", 300);
    let (_agent, _folder) = start(&coordinator, "[[allow]]\ncommand = '/usr/bin/sleep'\nmax_time = '300ms'\n").await;
    for timeout_ms in [Value::Null, json!(600_000)] {
        let mut lease = lease(&["sleep", "600"]);
        lease["timeout_ms"] = timeout_ms;
        let id = coordinator.give(lease);
        let end = coordinator.ended(&id).await.end.unwrap();
        assert_eq!(end["reason"], "timeout");
        assert_eq!(end["message"], "the policy of this box ends this program after 300ms");
    }
    let mut shorter = lease(&["sleep", "600"]);
    shorter["timeout_ms"] = json!(100);
    let id = coordinator.give(shorter);
    assert_eq!(coordinator.ended(&id).await.end.unwrap().get("message"), None, "its own");
}

#[tokio::test]
async fn a_rule_says_as_whom_its_programs_run() {
    if !Uid::effective().is_root() {
        eprintln!("skipped: only root can run jobs as somebody else");
        return;
    }
    let coordinator = Coordinator::start().await;
    let rules = "[[allow]]\ncommand = '/usr/bin/id'\nuser = 'nobody'\n[[allow]]\ncommand = '/usr/bin/whoami'\n";
    let (_agent, _folder) = start(&coordinator, rules).await;
    let id = coordinator.give(lease(&["id", "-un"]));
    assert_eq!(coordinator.ended(&id).await.output, b"nobody\n");
    let id = coordinator.give(lease(&["whoami"]));
    assert_eq!(coordinator.ended(&id).await.output, b"root\n");
}

#[tokio::test]
async fn a_policy_that_cannot_be_used_lets_no_agent_start() {
    let coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.toml");
    std::fs::write(&file, "[[allow]]\ncommand = '/bin/sh'\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    let mut agent = Start::of(&coordinator).args(&["--policy", file.to_str().unwrap()]).spawn();
    assert!(!agent.exit().await.success());
    assert!(agent.log().contains("can be written by other accounts"), "{}", agent.log());
    let mut agent = Start::of(&coordinator).args(&["--policy", "/no/such/policy.toml"]).spawn();
    assert!(!agent.exit().await.success());
    assert_eq!(coordinator.with(|s| s.calls.len()), 0);
}
