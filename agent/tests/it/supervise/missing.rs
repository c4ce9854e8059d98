//! What a backend needs and the box does not have is told with what to do about it, by the agent and by its doctor.

use std::path::Path;

use super::{address, free_port, program::Program, state};
use crate::{agent::Start, coordinator::Coordinator};

/// A search path without anything.
const NOTHING: &str = "/nonexistent";

async fn reason(args: &[&str], env: &[(&str, &str)]) -> String {
    let coordinator = Coordinator::start().await;
    let start = Start::of(&coordinator).env("TITAN_LISTEN", "127.0.0.1:0").args(args);
    let agent = env.iter().fold(start, |start, (name, value)| start.env(name, value)).spawn();
    let status = state(&address(&agent, 1).await, "restarting").await;
    status["reason"].as_str().unwrap().to_owned()
}

/// What the doctor says of backends, and whether it is content.
async fn doctor(args: &[&str], env: &[(&str, &str)]) -> (String, bool) {
    let coordinator = Coordinator::start().await;
    let home = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_titan-agent"));
    command.env_clear().env("TITAN_JOIN_TOKEN", "join-secret").args(["doctor", "--coordinator", &coordinator.url]);
    command.arg("--state-dir").arg(home.path()).args(["--listen", "off"]).args(args).envs(env.iter().copied());
    let output = command.output().await.unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.success())
}

#[tokio::test]
async fn without_a_program_and_without_docker_both_are_named() {
    let env = [("DOCKER_HOST", "unix:///nonexistent/docker.sock"), ("PATH", NOTHING)];
    let said = reason(&["--enable-vllm"], &env).await;
    assert!(said.contains("there is no program `vllm` in PATH") && said.contains("--vllm-program"), "{said}");
    assert!(said.contains("there is no Docker here (no socket at /nonexistent/docker.sock): install it"), "{said}");
    let (found, is_content) = doctor(&["--enable-vllm"], &env).await;
    assert!(!is_content && found.contains("failed   backend"), "{found}");
    assert!(found.contains("vllm cannot be started: there is no program `vllm` in PATH"), "{found}");
}

#[tokio::test]
async fn what_was_named_and_is_not_there_is_told() {
    let none = ["--enable-vllm", "--vllm-program", "/nonexistent/vllm"];
    let said = reason(&none, &[]).await;
    assert_eq!(said, "there is no program /nonexistent/vllm: mend --vllm-program");
    let said = reason(&["--enable-vllm", "--vllm-runner", "container"], &[("DOCKER_HOST", "tcp://u:geheim@x")]).await;
    assert!(said.contains("must begin with unix://") && !said.contains("geheim"), "{said}");
    let program = Program::like("vllm");
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let args =
        ["--enable-vllm", "--vllm-program", program.path().to_str().unwrap(), "--vllm-port", &port].map(String::from);
    let said = reason(&args.each_ref().map(String::as_str), &[]).await;
    assert!(said.contains(&format!("port {port} of loopback cannot be had")), "{said}");
    let missing = ["--enable-llamacpp", "--llamacpp-model", "/nonexistent/m.gguf", "--llamacpp-program", "/bin/true"];
    let (found, is_content) = doctor(&missing, &[]).await;
    assert!(!is_content && found.contains("the model of llamacpp is not there: /nonexistent/m.gguf"), "{found}");
}

#[tokio::test]
async fn a_dead_docker_is_told_apart_from_a_missing_one() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let host = format!("unix://{}", socket.display());
    let (found, _) = doctor(&["--enable-ollama", "--ollama-runner=container"], &[("DOCKER_HOST", &host)]).await;
    assert!(found.contains("Docker does not answer at") && found.contains("systemctl start docker"), "{found}");
}

#[tokio::test]
async fn a_token_reaches_the_program_alone() {
    let coordinator = Coordinator::start().await;
    let (program, folder) = (Program::like("vllm"), tempfile::tempdir().unwrap());
    let token = folder.path().join("token");
    std::fs::write(&token, "hf_geheim\n").unwrap();
    let (path, port) = (program.path(), free_port().to_string());
    let args = ["--enable-llamacpp", "--llamacpp-program", path.to_str().unwrap(), "--llamacpp-port", &port];
    let more = ["--llamacpp-model", "org/model", "--hf-token-file", token.to_str().unwrap()];
    let agent = Start::of(&coordinator).env("TITAN_LISTEN", "127.0.0.1:0").args(&args).args(&more).spawn();
    state(&address(&agent, 1).await, "healthy").await;
    assert!(program.read("environment").contains("HF_TOKEN=hf_geheim\n"), "{}", program.read("environment"));
    assert!(!program.read("args").contains("geheim") && !agent.log().contains("geheim"));
    for file in ["spec.json", "keeper.json", "log"] {
        let kept = std::fs::read_to_string(agent.state().join("backends/llamacpp").join(file)).unwrap();
        assert!(!kept.contains("geheim"), "{file}: {kept}");
    }
    drop(agent);
    // vLLM reads the file by itself.
    let args = ["--enable-vllm", "--vllm-program", path.to_str().unwrap(), "--vllm-port", &port];
    let start = Start::of(&coordinator).env("TITAN_LISTEN", "127.0.0.1:0").args(&args);
    let agent = start.args(&["--hf-token-file", token.to_str().unwrap()]).spawn();
    state(&address(&agent, 1).await, "healthy").await;
    let environment = program.read("environment");
    assert!(environment.contains(&format!("HF_TOKEN_PATH={}\n", token.display())) && !environment.contains("geheim"));
    let (found, _) = doctor(&[&args[..], &["--hf-token-file", token.to_str().unwrap()]].concat(), &[]).await;
    assert!(!found.contains("geheim") && found.contains("chmod 600"), "{found}");
    assert!(Path::new(&token).exists());
}
