//! As processes: served while they are well, started again when they end, gone with the agent unless they are kept.

use std::sync::Arc;

use nix::{sys::signal::Signal, sys::signal::kill, unistd::Pid};

use super::{address, backend, free_port, program::Program, state};
use crate::{
    agent::{Agent, Start, gone, lives, sh, until},
    backends::{names, told},
    coordinator::Coordinator,
    local,
    loops::hindrances,
    nvml::StandIn,
};

fn vllm(start: Start, program: &Program, more: &[&str]) -> Agent {
    let (program, port) = (program.path(), free_port().to_string());
    let args = ["--enable-vllm", "--vllm-program", program.to_str().unwrap(), "--vllm-port", &port];
    start.env("TITAN_LISTEN", "127.0.0.1:0").args(&args).args(more).spawn()
}

#[tokio::test]
async fn one_that_is_well_is_served_and_told_and_ends_with_the_agent_with_all_that_it_has_started() {
    let (coordinator, program) = (Coordinator::start().await, Program::like("vllm"));
    let start = Start::of(&coordinator).env("VLLM_LOGGING_LEVEL", "DEBUG").env("VLLM_API_KEY", "hidden");
    let mut agent = vllm(start, &program, &["--vllm-model", "org/model", "--vllm-arg=--dtype=half"]);
    told(&coordinator, "its model is told", |models| names(models) == ["small"]).await;
    let address = address(&agent, 1).await;
    let status = state(&address, "healthy").await;
    assert_eq!((&status["kind"], &status["runner"]), (&"vllm".into(), &"process".into()));
    assert!(status["url"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{status}");
    assert_eq!((&status["restarts"], &status["reason"]), (&0.into(), &serde_json::Value::Null));
    let page = local::get(&address, "/metrics").await;
    assert!(page.contains("titan_agent_backend_state{backend=\"vllm\",state=\"healthy\"} 1\n"), "{page}");
    assert!(page.contains("titan_agent_backend_state{backend=\"vllm\",state=\"given_up\"} 0\n"), "{page}");
    assert!(page.contains("titan_agent_backend_restarts_total{backend=\"vllm\"} 0\n"), "{page}");
    let args = program.read("args").replace('\n', " ");
    let port = status["url"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let rest = format!("--tensor-parallel-size 1 --max-model-len 4096 --host 127.0.0.1 --port {port} ");
    assert_eq!(args, format!("serve org/model --dtype=half {rest}"));
    let environment = program.read("environment");
    assert!(environment.contains("VLLM_LOGGING_LEVEL=DEBUG"), "{environment}");
    assert!(!environment.contains("hidden") && !environment.contains("join-secret"), "{environment}");
    let said = std::fs::read_to_string(agent.state().join("backends/vllm/log")).unwrap();
    assert!(said.contains("it begins\n"), "{said}");
    let (pid, grandchild) = (program.pid().await, program.grandchild().await);
    assert!(lives(pid) && lives(grandchild));
    agent.signal(Signal::SIGTERM);
    assert!(agent.exit().await.success());
    assert!(!lives(pid) && !lives(grandchild), "the agent ends after them");
}

#[tokio::test]
async fn the_password_of_a_proxy_comes_to_a_backend_by_no_file_argument_or_log() {
    let (coordinator, program) = (Coordinator::start().await, Program::like("vllm"));
    let port = free_port().to_string();
    let start = |start: Start, proxy: &str| {
        let start =
            start.env("HTTPS_PROXY", proxy).env("http_proxy", "http://127.0.0.1:9").env("NO_PROXY", "127.0.0.1");
        let program = program.path();
        let args =
            ["--enable-vllm", "--vllm-program", program.to_str().unwrap(), "--vllm-port", &port, "--keep-backends"];
        start.env("TITAN_LISTEN", "127.0.0.1:0").args(&args).spawn()
    };
    let proxy = "http://user:pass-word@127.0.0.1:9";
    let agent = start(Start::of(&coordinator), proxy);
    state(&address(&agent, 1).await, "healthy").await;
    let (pid, keeper) = (program.pid().await, keeper(&agent));
    let environment = program.read("environment");
    for line in [&format!("HTTPS_PROXY={proxy}\n"), "http_proxy=http://127.0.0.1:9\n", "NO_PROXY=127.0.0.1\n"] {
        assert!(environment.contains(line), "{environment}");
    }
    let files = std::fs::read_dir(agent.state().join("backends/vllm")).unwrap().map(|file| file.unwrap().path());
    let mut said: Vec<_> = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    assert!(said.iter().any(|text| text.contains("\"HTTPS_PROXY\":\"127.0.0.1:9\"")), "{said:?}");
    said.extend([agent.log(), program.read("args"), command_line(keeper)]);
    assert!(said.iter().all(|text| !text.contains("pass-word")), "{said:?}");
    // Another password is no reason to start it anew.
    let mut agent = start(Start::in_home(&coordinator, agent.crash().await), "http://user:another@127.0.0.1:9");
    state(&address(&agent, 2).await, "healthy").await;
    assert_eq!(program.pid().await, pid);
    agent.signal(Signal::SIGTERM);
    assert!(agent.exit().await.success());
    kill(Pid::from_raw(keeper), Signal::SIGTERM).unwrap();
    gone(pid).await;
}

/// The command line of a process.
fn command_line(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap()
}

#[tokio::test]
async fn one_that_was_killed_is_started_again_and_served_again() {
    let (coordinator, program) = (Coordinator::start().await, Program::like("vllm"));
    let agent = vllm(Start::of(&coordinator), &program, &[]);
    let address = address(&agent, 1).await;
    told(&coordinator, "its model is told", |models| names(models) == ["small"]).await;
    let (pid, grandchild) = (program.pid().await, program.grandchild().await);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    told(&coordinator, "nothing is told", |models| names(models).is_empty()).await;
    let next = program.next_pid(pid).await;
    gone(grandchild).await;
    let status = backend(&address, "it is well again", |s| s["restarts"] == 1 && s["state"] == "healthy").await;
    assert_eq!(status["reason"], serde_json::Value::Null);
    told(&coordinator, "its model is told again", |models| names(models) == ["small"]).await;
    assert!(lives(next) && agent.log().contains("it was ended by signal 9"), "{}", agent.log());
    assert!(agent.log().contains("backends/vllm/log has what it said"), "{}", agent.log());
    assert!(!agent.log().contains("it begins"), "requests may stand in what it said: {}", agent.log());
    // A job that ends, with its orphans, takes nothing of it along.
    let job = coordinator.give(sh("setsid sleep 600 & exit 0"));
    coordinator.ended(&job).await;
    assert!(lives(next));
}

#[tokio::test]
async fn one_whose_keeper_was_killed_is_gone_and_started_again() {
    let (coordinator, program) = (Coordinator::start().await, Program::like("vllm"));
    let agent = vllm(Start::of(&coordinator), &program, &[]);
    let address = address(&agent, 1).await;
    state(&address, "healthy").await;
    let (pid, grandchild) = (program.pid().await, program.grandchild().await);
    kill(Pid::from_raw(keeper(&agent)), Signal::SIGKILL).unwrap();
    gone(pid).await;
    gone(grandchild).await;
    program.next_pid(pid).await;
    backend(&address, "it is well again", |s| s["restarts"] == 1 && s["state"] == "healthy").await;
}

fn keeper(agent: &Agent) -> i32 {
    let journal = std::fs::read(agent.state().join("backends/vllm/keeper.json")).unwrap();
    let journal: serde_json::Value = serde_json::from_slice(&journal).unwrap();
    i32::try_from(journal["keeper"]["pid"].as_i64().unwrap()).unwrap()
}

#[tokio::test]
async fn one_that_is_never_well_says_why_and_is_well_once_that_is_mended() {
    let (coordinator, program) = (Coordinator::start().await, Program::like("vllm"));
    program.begin("dying");
    let agent = vllm(Start::of(&coordinator), &program, &["--backend-start-timeout", "2s"]);
    let address = address(&agent, 1).await;
    let reason = |words: &'static str| {
        move |status: &serde_json::Value| status["reason"].as_str().is_some_and(|reason| reason.contains(words))
    };
    let words = "it ended with code 3; its last words: there is no such model";
    backend(&address, "it says what it died of", reason(words)).await;
    assert!(agent.log().contains("vllm is started again in"), "{}", agent.log());
    let by = hindrances(&coordinator, "the pool is told", |by| by.iter().any(|by| by.contains("code 3"))).await;
    assert_eq!(by, ["inference: vllm of this agent is not up and is started again: it ended with code 3"]);
    program.begin("deaf");
    program.mend("dying");
    let words = "it was not ready within 2s (--backend-start-timeout): nobody answers";
    let status = backend(&address, "it says that it was not ready", reason(words)).await;
    assert!(reason("its last words: loading for ever")(&status), "{status}");
    program.mend("deaf");
    state(&address, "healthy").await;
    hindrances(&coordinator, "nothing hinders the agent", <[String]>::is_empty).await;
}

#[tokio::test]
async fn a_kept_one_outlives_the_agent_however_that_ends_and_is_taken_over() {
    let (coordinator, program) = (Coordinator::start().await, Program::like("vllm"));
    let port = free_port().to_string();
    let start = |start: Start, keep: &str| {
        let (program, keep) = (program.path(), format!("--keep-backends={keep}"));
        let args = ["--enable-vllm", "--vllm-program", program.to_str().unwrap(), "--vllm-port", &port, &keep];
        start.env("TITAN_LISTEN", "127.0.0.1:0").args(&args).spawn()
    };
    let mut agent = start(Start::of(&coordinator), "true");
    state(&address(&agent, 1).await, "healthy").await;
    let (pid, grandchild) = (program.pid().await, program.grandchild().await);
    agent.signal(Signal::SIGTERM);
    assert!(agent.exit().await.success());
    assert!(lives(pid) && lives(grandchild));
    let home = agent.crash().await;
    let agent = start(Start::in_home(&coordinator, home), "true");
    let status = state(&address(&agent, 2).await, "healthy").await;
    assert_eq!((&status["restarts"], program.pid().await), (&0.into(), pid), "it is the same process");
    told(&coordinator, "its model is told", |models| names(models) == ["small"]).await;
    let home = agent.crash().await;
    assert!(lives(pid) && lives(grandchild), "also after a crash");
    // Nobody of its own ends it: what was taken over is watched all the same.
    let agent = start(Start::in_home(&coordinator, Arc::clone(&home)), "true");
    let third = address(&agent, 3).await;
    state(&third, "healthy").await;
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let next = program.next_pid(pid).await;
    backend(&third, "it is well again", |s| s["restarts"] == 1 && s["state"] == "healthy").await;
    agent.crash().await;
    // Other settings make another backend of it.
    let agent = start(Start::in_home(&coordinator, Arc::clone(&home)), "false");
    let last = program.next_pid(next).await;
    assert!(!lives(next), "two at once would not fit");
    state(&address(&agent, 4).await, "healthy").await;
    agent.crash().await;
    gone(last).await;
    // And one that is not wanted any more ends.
    let agent = start(Start::in_home(&coordinator, Arc::clone(&home)), "true");
    state(&address(&agent, 5).await, "healthy").await;
    let kept = program.pid().await;
    agent.crash().await;
    let _agent = Start::in_home(&coordinator, home).spawn();
    gone(kept).await;
}

#[tokio::test]
async fn one_that_is_not_kept_is_gone_when_the_agent_was_killed() {
    let (coordinator, program) = (Coordinator::start().await, Program::like("vllm"));
    let agent = vllm(Start::of(&coordinator), &program, &[]);
    state(&address(&agent, 1).await, "healthy").await;
    let (pid, grandchild, keeper) = (program.pid().await, program.grandchild().await, keeper(&agent));
    let _home = agent.crash().await;
    for process in [pid, grandchild, keeper] {
        gone(process).await;
    }
}

#[tokio::test]
async fn one_that_starts_is_gone_too_when_the_agent_was_killed_meanwhile() {
    let (coordinator, program) = (Coordinator::start().await, Program::like("vllm"));
    program.begin("deaf");
    let agent = vllm(Start::of(&coordinator), &program, &[]);
    let said = agent.state().join("backends/vllm/log");
    until("it begins", || std::fs::read_to_string(&said).is_ok_and(|said| said.contains("loading"))).await;
    let journal = std::fs::read(agent.state().join("backends/vllm/keeper.json")).unwrap();
    let journal: serde_json::Value = serde_json::from_slice(&journal).unwrap();
    let main = i32::try_from(journal["main"]["pid"].as_i64().unwrap()).unwrap();
    assert!(lives(main));
    let _home = agent.crash().await;
    gone(main).await;
}

#[tokio::test]
async fn it_sees_the_gpus_that_were_chosen_and_no_others() {
    let (coordinator, program) = (Coordinator::start().await, Program::like("vllm"));
    let library = StandIn::new("gpu GPU-a 24000 23000 7 41 One\ngpu GPU-b 24000 23000 7 41 Two\n");
    let file = library.path();
    let gpus = ["--nvml-library", file.to_str().unwrap(), "--vllm-gpus"];
    let agent = vllm(Start::of(&coordinator), &program, &[&gpus[..], &["1"]].concat());
    state(&address(&agent, 1).await, "healthy").await;
    assert!(program.read("environment").contains("CUDA_VISIBLE_DEVICES=GPU-b\n"));
    drop(agent);
    let agent = vllm(Start::of(&coordinator), &program, &[&gpus[..], &["2"]].concat());
    let status = state(&address(&agent, 1).await, "restarting").await;
    assert!(status["reason"].as_str().unwrap().contains("there are those from 0 to 1"), "{status}");
    drop(agent);
    let more = [&gpus[..], &["0", "--vllm-tensor-parallel", "2"]].concat();
    let agent = vllm(Start::of(&coordinator), &program, &more);
    let status = state(&address(&agent, 1).await, "restarting").await;
    assert!(status["reason"].as_str().unwrap().contains("spread over 2 GPUs and gets 1"), "{status}");
}

#[tokio::test]
async fn ollama_fetches_its_model_once_it_is_well_and_serves_so_many_requests() {
    let (coordinator, program) = (Coordinator::start().await, Program::like("ollama"));
    let (path, port) = (program.path(), free_port().to_string());
    let args = ["--enable-ollama", "--ollama-program", path.to_str().unwrap(), "--ollama-port", &port];
    let start = Start::of(&coordinator).env("TITAN_LISTEN", "127.0.0.1:0").args(&args);
    let agent = start.args(&["--ollama-model", "tiny", "--ollama-parallel", "3"]).spawn();
    let models = told(&coordinator, "both are told", |models| names(models) == ["small", "tiny"]).await;
    assert_eq!(models[1]["parallel"], 3);
    let status = state(&address(&agent, 1).await, "healthy").await;
    assert_eq!(status["doing"], serde_json::Value::Null, "{status}");
    let environment = program.read("environment");
    assert!(environment.contains(&format!("OLLAMA_HOST=127.0.0.1:{port}\n")), "{environment}");
    assert!(environment.contains("OLLAMA_NUM_PARALLEL=3\n") && program.read("args") == "serve\n");
}

#[tokio::test]
async fn one_that_stands_still_is_not_served_until_it_goes_on() {
    let (coordinator, program) = (Coordinator::start().await, Program::like("vllm"));
    let agent = vllm(Start::of(&coordinator), &program, &[]);
    let address = address(&agent, 1).await;
    told(&coordinator, "its model is told", |models| names(models) == ["small"]).await;
    let pid = Pid::from_raw(program.pid().await);
    kill(pid, Signal::SIGSTOP).unwrap();
    let status = state(&address, "unhealthy").await;
    assert!(status["reason"].as_str().unwrap().contains("no answer within"), "{status}");
    told(&coordinator, "nothing is told", |models| names(models).is_empty()).await;
    kill(pid, Signal::SIGCONT).unwrap();
    let status = state(&address, "healthy").await;
    assert_eq!((&status["restarts"], &status["reason"]), (&0.into(), &serde_json::Value::Null), "it is the same one");
    told(&coordinator, "its model is told again", |models| names(models) == ["small"]).await;
}

#[tokio::test]
async fn an_agent_that_is_root_starts_it_as_somebody_else_if_it_is_told_to() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("skipped: only root can start a backend as somebody else");
        return;
    }
    let (coordinator, program) = (Coordinator::start().await, Program::like("vllm"));
    std::fs::set_permissions(program.folder(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let agent = vllm(Start::of(&coordinator), &program, &["--backend-user", "nobody"]);
    let pid = program.pid().await;
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(format!("/proc/{pid}")).unwrap());
    assert_eq!(owner, nobody.uid.as_raw());
    let keeper = keeper(&agent);
    drop(agent);
    gone(pid).await;
    gone(keeper).await;
}
