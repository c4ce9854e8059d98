//! In containers, against a stand-in for Docker.

use std::sync::Arc;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{address, backend, docker::Docker, free_port, state};
use crate::{
    agent::{Agent, Start, until},
    backends::{names, told},
    coordinator::Coordinator,
    nvml::StandIn,
};

fn start(start: Start, docker: &Docker, args: &[&str]) -> Agent {
    start.env("TITAN_LISTEN", "127.0.0.1:0").env("DOCKER_HOST", &docker.host()).args(args).spawn()
}

#[tokio::test]
async fn the_container_of_vllm_is_made_for_this_box_alone_with_the_gpus_that_were_chosen() {
    let (coordinator, docker) = (Coordinator::start().await, Docker::start());
    let library = StandIn::new("gpu GPU-a 24000 23000 7 41 One\ngpu GPU-b 24000 23000 7 41 Two\n");
    let file = library.path();
    let folder = tempfile::tempdir().unwrap();
    let (token, port) = (folder.path().join("token"), free_port().to_string());
    std::fs::write(&token, "hf_geheim").unwrap();
    let args = ["--enable-vllm", "--vllm-runner=container", "--vllm-port", &port, "--vllm-gpus", "1,GPU-a"];
    let more = ["--vllm-tensor-parallel", "2", "--nvml-library", file.to_str().unwrap()];
    let (path, secret) = (token.to_str().unwrap().to_owned(), ["--hf-token-file", token.to_str().unwrap()]);
    let mirrors = Start::of(&coordinator)
        .env("HF_ENDPOINT", "https://somebody:geheim@mirror.example")
        .env("HF_HUB_OFFLINE", "1")
        .env("VLLM_API_KEY", "geheim");
    let mut agent = start(mirrors, &docker, &[&args[..], &more, &secret].concat());
    told(&coordinator, "its model is told", |models| names(models) == ["small"]).await;
    let status = state(&address(&agent, 1).await, "healthy").await;
    assert_eq!((&status["runner"], &status["url"]), (&"container".into(), &format!("http://127.0.0.1:{port}").into()));
    let body = docker.with(|docker| docker.made[0].clone());
    assert_eq!((&body["Image"], &body["Entrypoint"]), (&json!("vllm/vllm-openai:latest"), &json!(["vllm"])));
    let command = "serve mistralai/Mistral-7B-Instruct-v0.1 --tensor-parallel-size 2 --max-model-len 4096 \
                   --host 0.0.0.0 --port 8000";
    assert_eq!(body["Cmd"], json!(command.split(' ').collect::<Vec<_>>()));
    let host = &body["HostConfig"];
    assert_eq!(host["PortBindings"], json!({ "8000/tcp": [{ "HostIp": "127.0.0.1", "HostPort": port }] }));
    let gpus = json!([{ "Driver": "nvidia", "DeviceIDs": ["GPU-b", "GPU-a"], "Capabilities": [["gpu"]] }]);
    assert_eq!((&host["DeviceRequests"], &host["ShmSize"]), (&gpus, &json!(8_u64 << 30)));
    assert_eq!((&host["RestartPolicy"]["Name"], &host["SecurityOpt"]), (&json!("no"), &json!(["no-new-privileges"])));
    let models = json!({ "Target": "/models", "Source": "titan-vllm", "Type": "volume" });
    let secret = json!({ "Target": "/run/secrets/hf-token", "Source": path, "Type": "bind", "ReadOnly": true });
    assert_eq!(host["Mounts"], json!([models, secret]));
    assert!(host["Privileged"].is_null() && host["NetworkMode"].is_null(), "{host}");
    assert_eq!(body["Env"], json!(["HF_HOME=/models", "HF_HUB_OFFLINE=1", "HF_TOKEN_PATH=/run/secrets/hf-token"]));
    assert!(agent.log().contains("does not get HF_ENDPOINT: Docker would show the password in it"), "{}", agent.log());
    let labels = &body["Labels"];
    assert_eq!((&labels["titancompute.backend"], &labels["titancompute.port"]), (&json!("vllm"), &json!(port)));
    assert!(labels["titancompute.agent"].is_string() && labels["titancompute.plan"].is_string());
    assert!(!body.to_string().contains("geheim") && !agent.log().contains("geheim"));
    let log = agent.state().join("backends/vllm/log");
    until("what it says is kept", || std::fs::read_to_string(&log).is_ok_and(|said| said.contains("it says"))).await;
    agent.signal(Signal::SIGTERM);
    assert!(agent.exit().await.success());
    assert_eq!(docker.count(), (0, 0), "it ends with the agent");
    assert_eq!(docker.with(|docker| docker.images.clone()), ["vllm/vllm-openai:latest"], "the image was fetched");
}

#[tokio::test]
async fn a_container_that_an_agent_has_left_is_taken_over_if_it_is_what_is_wanted() {
    let (coordinator, docker) = (Coordinator::start().await, Docker::start());
    let args = ["--enable-ollama", "--ollama-runner=container", "--ollama-model=", "--keep-backends"];
    let mut agent = start(Start::of(&coordinator), &docker, &args);
    let status = state(&address(&agent, 1).await, "healthy").await;
    agent.signal(Signal::SIGTERM);
    assert!(agent.exit().await.success());
    assert_eq!(docker.count(), (1, 1), "it is kept");
    let home = agent.crash().await;
    let agent = start(Start::in_home(&coordinator, home), &docker, &args);
    let second = state(&address(&agent, 2).await, "healthy").await;
    assert_eq!((&second["url"], docker.with(|docker| docker.made.len())), (&status["url"], 1), "it is the same one");
    let home = agent.crash().await;
    // Somebody else's agent leaves it alone.
    let other = start(Start::of(&coordinator), &docker, &args);
    state(&address(&other, 1).await, "healthy").await;
    assert_eq!(docker.count(), (2, 2));
    // Other settings make another container of it.
    let changed = [&args[..], &["--ollama-parallel", "4"]].concat();
    let agent = start(Start::in_home(&coordinator, Arc::clone(&home)), &docker, &changed);
    state(&address(&agent, 3).await, "healthy").await;
    assert_eq!((docker.count(), docker.with(|docker| docker.made.len())), ((2, 2), 3));
    let environment = docker.with(|docker| docker.made[2]["Env"].clone());
    assert!(environment.as_array().unwrap().contains(&json!("OLLAMA_NUM_PARALLEL=4")), "{environment}");
    assert!(environment.as_array().unwrap().contains(&json!("OLLAMA_HOST=0.0.0.0:11434")), "{environment}");
    agent.crash().await;
    // And one that is not wanted any more goes.
    let _agent = start(Start::in_home(&coordinator, home), &docker, &[]);
    until("it is gone", || docker.count() == (1, 1)).await;
}

#[tokio::test]
async fn a_container_that_ends_is_made_anew() {
    let (coordinator, docker) = (Coordinator::start().await, Docker::start());
    let agent = start(Start::of(&coordinator), &docker, &["--enable-vllm", "--vllm-runner=container"]);
    let address = address(&agent, 1).await;
    state(&address, "healthy").await;
    docker.end_all(137);
    backend(&address, "it is well again", |s| s["restarts"] == 1 && s["state"] == "healthy").await;
    assert_eq!((docker.count(), docker.with(|docker| docker.made.len())), ((1, 1), 2));
    assert!(agent.log().contains("it ended with code 137"), "{}", agent.log());
    let requests = docker.with(|docker| docker.made[0]["HostConfig"]["DeviceRequests"].clone());
    assert_eq!(requests, Value::Null, "`all` of no GPUs asks for none");
    let hidden = |docker: &Docker| docker.with(|docker| docker.made.pop().unwrap()["Env"].to_string().contains("void"));
    assert!(!hidden(&docker), "and hides none that Docker may have");
    drop(agent);
    let args = ["--enable-vllm", "--vllm-runner=container", "--vllm-gpus=none"];
    let agent = start(Start::of(&coordinator), &docker, &args);
    state(&super::address(&agent, 1).await, "healthy").await;
    assert!(hidden(&docker), "`none` hides them, whatever the image says");
}

#[tokio::test]
async fn what_docker_cannot_do_is_told_with_what_to_do() {
    let (coordinator, docker) = (Coordinator::start().await, Docker::start());
    let message = r#"could not select device driver "nvidia" with capabilities: [[gpu]]"#;
    docker.with(|docker| docker.refuse_start = Some(message.to_owned()));
    let library = StandIn::new("gpu GPU-a 24000 23000 7 41 One\n");
    let file = library.path();
    let args = ["--enable-vllm", "--vllm-runner=container", "--nvml-library", file.to_str().unwrap()];
    let agent = start(Start::of(&coordinator), &docker, &args);
    let status = state(&address(&agent, 1).await, "restarting").await;
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.contains("install the NVIDIA container toolkit"), "{reason}");
    let requests = docker.with(|docker| docker.made[0]["HostConfig"]["DeviceRequests"].clone());
    assert_eq!(requests, json!([{ "Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]] }]));
    assert_eq!(docker.count(), (0, 0), "what did not start is removed");
    drop(agent);
    let missing = ["--enable-vllm", "--vllm-image", "missing/image:1"];
    let agent = start(Start::of(&coordinator), &docker, &missing);
    let status = state(&address(&agent, 1).await, "restarting").await;
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.contains("the image missing/image:1 cannot be fetched: Docker says: manifest unknown"), "{reason}");
}

#[tokio::test]
async fn the_doctor_says_which_docker_it_is() {
    let (coordinator, docker) = (Coordinator::start().await, Docker::start());
    let home = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_titan-agent"));
    command.env_clear().env("TITAN_JOIN_TOKEN", "x").env("DOCKER_HOST", docker.host()).args(["doctor", "--listen=off"]);
    command.args(["--coordinator", &coordinator.url, "--enable-ollama", "--ollama-runner=container", "--state-dir"]);
    let output = command.arg(home.path()).output().await.unwrap();
    let found = String::from_utf8(output.stdout).unwrap();
    assert!(found.contains("ollama is started in a container of Docker 28.0.0-stand-in"), "{found}");
    let changed = docker.with(|docker| docker.calls.iter().any(|call| !call.starts_with("GET ")));
    assert!(!changed, "it only looks");
}
