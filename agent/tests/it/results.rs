//! The result of a job: what its program leaves in the file that `TITAN_RESULT` names, and nothing that it only points to.

use serde_json::{Value, json};

use crate::{
    agent::{Agent, Start, sh, until},
    coordinator::Coordinator,
};

/// What is told of the end of a job that runs this script.
async fn told(coordinator: &Coordinator, script: &str) -> Value {
    let id = coordinator.give(sh(script));
    coordinator.ended(&id).await.end.unwrap()
}

#[tokio::test]
async fn a_job_that_ends_well_has_the_result_that_it_wrote() {
    let coordinator = Coordinator::start().await;
    let _agent = Agent::start(&coordinator);
    let end = told(&coordinator, r#"printf '{"loss": 0.25,\n "steps": [1, 2]}\n' > "$TITAN_RESULT""#).await;
    assert_eq!((&end["type"], &end["result"]), (&json!("completed"), &json!({ "loss": 0.25, "steps": [1, 2] })));
    let end = told(&coordinator, "true").await;
    assert!(end.get("result").is_none() && end.get("message").is_none(), "{end}");
    let end = told(&coordinator, r#"echo 1 > "$TITAN_RESULT"; exit 3"#).await;
    assert_eq!((&end["type"], &end["exit_code"], end.get("result")), (&json!("failed"), &json!(3), None));
}

#[tokio::test]
async fn what_is_no_result_is_told_and_the_job_has_ended_well_all_the_same() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let key = agent.state().join("identity/agent.key");
    let link = format!(r#"ln -s {} "$TITAN_RESULT""#, key.display());
    for (script, why) in [
        (r#"echo '{"loss":' > "$TITAN_RESULT""#, "no JSON"),
        (r#"head -c 70000 /dev/zero | tr '\0' 1 > "$TITAN_RESULT""#, "64 KiB"),
        (r#"mkfifo "$TITAN_RESULT""#, "no plain file"),
        (r#"mkdir "$TITAN_RESULT""#, "no plain file"),
        (link.as_str(), "no plain file"),
    ] {
        let end = told(&coordinator, script).await;
        assert_eq!((&end["type"], end.get("result")), (&json!("completed"), None), "{script}: {end}");
        assert!(end["message"].as_str().unwrap().contains(why), "{script}: {end}");
    }
}

#[tokio::test]
async fn a_job_that_ends_while_its_agent_is_away_has_its_result_too() {
    let coordinator = Coordinator::start().await;
    let agent = Agent::start(&coordinator);
    let id = coordinator
        .give(sh(r#"echo begun; echo '"late"' > "$TITAN_RESULT"; until [ -e enough ]; do sleep 0.01; done"#));
    coordinator.wrote(&id, "begun\n").await;
    let (work, folder) = (agent.work().join(format!("job-of-{id}/1")), agent.folder(&id));
    let home = agent.crash().await;
    std::fs::write(work.join("enough"), "").unwrap();
    until("the job has ended", || folder.join("exit.json").exists()).await;
    let _agent = Start::in_home(&coordinator, home).spawn();
    let end = coordinator.ended(&id).await.end.unwrap();
    assert_eq!((&end["type"], &end["result"]), (&json!("completed"), &json!("late")));
}

#[tokio::test]
async fn a_job_of_another_account_has_its_own_result_and_nobody_elses() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("skipped: only root can run jobs as somebody else");
        return;
    }
    let coordinator = Coordinator::start().await;
    let agent = Start::of(&coordinator).args(&["--job-user", "nobody"]).spawn();
    let end = told(&coordinator, r#"id -u > "$TITAN_RESULT""#).await;
    assert!(end["result"].as_u64().is_some_and(|uid| uid > 0), "{end}");
    let key = agent.state().join("identity/agent.key");
    let end = told(&coordinator, &format!(r#"ln -s {} "$TITAN_RESULT""#, key.display())).await;
    assert!(end["message"].as_str().unwrap().contains("no plain file"), "{end}");
}
