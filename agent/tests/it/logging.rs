//! Where the agent's log lines go.

use std::os::unix::fs::PermissionsExt;

use crate::{
    agent::{Start, until},
    coordinator::Coordinator,
};

#[tokio::test]
async fn log_lines_go_to_a_file_of_the_agents_own_and_nothing_to_the_standard_error() {
    let coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("titan.log");
    let agent = Start::of(&coordinator).env("LOG_FILE", file.to_str().unwrap()).spawn();
    let lines = || std::fs::read_to_string(&file).unwrap_or_default();
    until("it says something", || lines().contains("registered")).await;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    for line in lines().lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
    let said = agent.log();
    assert_eq!(said, "");
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_told_at_the_start() {
    let coordinator = Coordinator::start().await;
    let mut agent = Start::of(&coordinator).args(&["--log-file", "/nowhere/titan.log"]).spawn();
    assert!(!agent.exit().await.success());
    let said = agent.log();
    assert!(said.contains("--log-file /nowhere/titan.log cannot be written"), "{said}");
}
