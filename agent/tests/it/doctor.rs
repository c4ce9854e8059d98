//! What `titan-agent doctor` finds, on boxes that are in order and on others.

use std::{os::unix::fs::PermissionsExt, path::Path, process::Output};

use nix::unistd::Uid;
use serde_json::Value;
use tokio::process::Command;

use crate::{
    backend::{Backend, Shape},
    coordinator::Coordinator,
    local,
    nvml::StandIn,
};

/// Runs it; nothing of this process's own settings gets in.
async fn doctor(coordinator: &str, home: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_titan-agent"));
    command.env_clear().env("TITAN_JOIN_TOKEN", "join-secret").args(["doctor", "--coordinator", coordinator]);
    command.arg("--state-dir").arg(home.join("state")).args(["--listen", "off"]).args(args);
    command.output().await.unwrap()
}

fn text(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(!text.contains("join-secret"), "{text}");
    text
}

/// The lines about one thing.
fn about<'a>(text: &'a str, check: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.split_whitespace().nth(1) == Some(check)).collect()
}

#[tokio::test]
async fn a_box_in_order_has_nothing_that_failed_and_nothing_is_changed() {
    let coordinator = Coordinator::start().await;
    let home = tempfile::tempdir().unwrap();
    let library = StandIn::new("gpu GPU-a 24000 23000 7 41 NVIDIA_Test\n");
    let output = doctor(&coordinator.url, home.path(), &["--nvml-library", library.path().to_str().unwrap()]).await;
    let text = text(&output);
    assert!(output.status.success() && !text.contains("failed"), "{text}");
    assert!(about(&text, "connection")[0].contains("answers in"), "{text}");
    assert!(about(&text, "gpus")[0].contains("cuda 13.1, nvidia driver 580.82.07"), "{text}");
    assert!(about(&text, "gpu")[0].contains("NVIDIA Test, 24000 MB (GPU-a)"), "{text}");
    assert!(about(&text, "credential")[0].contains("TITAN_JOIN_TOKEN holds a token"), "{text}");
    for check in ["settings", "state", "disk", "version", "clock", "jobs", "listener"] {
        assert!(about(&text, check)[0].starts_with("ok"), "{check} in {text}");
    }
    assert!(!home.path().join("state").exists(), "it only looks");
    assert_eq!(coordinator.with(|s| s.calls.iter().filter(|call| call.verb != "health").count()), 0);
}

#[tokio::test]
async fn what_is_broken_is_said_with_what_to_do_and_the_exit_code_tells_it() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state/identity");
    std::fs::create_dir_all(&state).unwrap();
    std::fs::write(state.join("agent.key"), "x").unwrap();
    std::fs::set_permissions(state.join("agent.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(state.join("credential.json"), "{").unwrap();
    let output = doctor("http://127.0.0.1:1", home.path(), &["--nvml-library", "/no/such/lib.so"]).await;
    let found = text(&output);
    assert_eq!(output.status.code(), Some(1), "{found}");
    assert!(about(&found, "connection")[0].starts_with("failed") && found.contains("nothing listens there"), "{found}");
    assert!(about(&found, "key")[0].starts_with("warning") && found.contains("chmod 600"), "{found}");
    assert!(about(&found, "credential")[0].contains("is damaged"), "{found}");
    assert!(about(&found, "gpus")[0].contains("/no/such/lib.so"), "{found}");
    let unset = doctor("ftp://x", home.path(), &[]).await;
    let unset = text(&unset);
    assert!(about(&unset, "settings")[0].contains("must begin with https://"));
    let plain = unset.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(plain.contains("the rest is looked at then") && plain.contains("options and environment"), "{unset}");
    let stranger = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = stranger.local_addr().unwrap().to_string();
    let output = doctor("http://127.0.0.1:1", home.path(), &["-o", "json"]).await;
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let connection = findings.as_array().unwrap().iter().find(|f| f["check"] == "connection").unwrap();
    assert_eq!((&connection["verdict"], connection["advice"].is_string()), (&"failed".into(), true));
    let mut command = Command::new(env!("CARGO_BIN_EXE_titan-agent"));
    command.env_clear().args(["doctor", "--coordinator", "http://127.0.0.1:1", "--listen", &taken]);
    let output = command.arg("--state-dir").arg(home.path().join("other")).output().await.unwrap();
    assert!(about(&text(&output), "listener")[0].contains("something else answers there"), "{}", text(&output));
    assert!(about(&text(&output), "credential")[0].contains("there is no join token"));
}

#[tokio::test]
async fn an_agent_that_runs_here_is_asked_how_it_is() {
    let coordinator = Coordinator::start().await;
    let (_agent, address) = local::start(&coordinator, &[]).await;
    let home = tempfile::tempdir().unwrap();
    let args = ["--allow-jobs", "--allow-root-jobs", "--listen", &address];
    let mut command = Command::new(env!("CARGO_BIN_EXE_titan-agent"));
    command.env_clear().env("TITAN_JOIN_TOKEN", "join-secret").args(["doctor", "--coordinator", &coordinator.url]);
    let output = command.arg("--state-dir").arg(home.path()).args(args).output().await.unwrap();
    let text = text(&output);
    assert!(about(&text, "agent")[0].contains("an agent runs here: box-1"), "{text}");
    assert!(about(&text, "limits")[0].contains("the running agent holds"), "{text}");
}

#[tokio::test]
async fn an_account_that_cannot_reach_its_folders_is_told_before_any_job_fails() {
    if !Uid::effective().is_root() {
        eprintln!("skipped: only root can run jobs as somebody else");
        return;
    }
    let coordinator = Coordinator::start().await;
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let args = ["--allow-jobs", "--job-user", "nobody"];
    let output = doctor(&coordinator.url, home.path(), &args).await;
    let found = text(&output);
    assert!(found.contains("the account nobody cannot pass through") && found.contains("chmod o+x"), "{found}");
    assert!(!output.status.success());
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let found = text(&doctor(&coordinator.url, home.path(), &args).await);
    assert!(found.contains("jobs run as nobody"), "{found}");
}

#[tokio::test]
async fn backends_that_do_not_answer_and_a_gateway_without_a_port_are_told() {
    let (coordinator, backend) = (Coordinator::start().await, Backend::like(Shape::Vllm).await);
    let home = tempfile::tempdir().unwrap();
    let named = format!("vllm={}", backend.url());
    let good = ["--backend", &named, "--gateway-listen", "127.0.0.1:0", "--advertise-url", "https://box.example.org"];
    let output = doctor(&coordinator.url, home.path(), &good).await;
    let found = text(&output);
    assert!(output.status.success(), "{found}");
    assert!(about(&found, "backend")[0].starts_with("ok") && found.contains("answers; models: 1"), "{found}");
    assert!(about(&found, "gateway")[0].starts_with("ok") && about(&found, "gateway").len() == 1, "{found}");
    let stranger = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = stranger.local_addr().unwrap().to_string();
    let other = format!("ollama={}", backend.url());
    let bad = ["--backend", "ollama=http://127.0.0.1:9", "--backend", &other, "--gateway-listen", &taken];
    let output = doctor(&coordinator.url, home.path(), &bad).await;
    let found = text(&output);
    assert_eq!(output.status.code(), Some(1), "{found}");
    let backends = about(&found, "backend");
    assert!(backends.iter().all(|line| line.starts_with("failed")), "{found}");
    assert!(backends[0].contains("ollama at http://127.0.0.1:9 does not answer") && backends[0].contains("refused"));
    assert!(backends[1].contains("/api/tags answers 404"), "{found}");
    let gateway = about(&found, "gateway");
    assert!(gateway[0].starts_with("failed") && gateway[0].contains(&format!("listen at {taken}")), "{found}");
    assert!(gateway[1].starts_with("warning") && found.contains("say it with --advertise-url"), "{found}");
}
