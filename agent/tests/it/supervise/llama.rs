//! The real server of llama.cpp, with a small real model.

use std::path::{Path, PathBuf};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{address, backend, free_port, program::Program, state};
use crate::{
    agent::{Start, lives},
    backends::{names, told},
    coordinator::Coordinator,
};

/// The Python that has it; none where it could not be fetched.
fn python() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/python");
    folder.join("made-from").exists().then(|| folder.join("bin/python"))
}

#[tokio::test]
async fn the_server_of_llama_cpp_is_started_answers_requests_and_is_started_again() {
    let Some(python) = python() else {
        eprintln!("skipped: there is no server of llama.cpp here; `sh scripts/setup.sh --clients` fetches it");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/llama_server.py");
    // It is the library's server in a program of our own, which knows other flags.
    let program = Program::of(|folder| {
        format!(
            "#!/bin/sh\nprintf '%s\\n' \"$@\" > {folder}/args\necho $$ > {folder}/new && mv {folder}/new {folder}/pid\n\
             while [ $# -gt 0 ]; do\n  case $1 in --port) port=$2;; --parallel) slots=$2;; --alias) name=$2;; esac\n  \
             shift\ndone\nexec {} {} --port $port --slots $slots --alias $name\n",
            python.display(),
            script.display()
        )
    });
    let model = program.folder().join("smollm2.gguf");
    std::fs::write(&model, "the package has its own").unwrap();
    let coordinator = Coordinator::start().await;
    let (path, port) = (program.path(), free_port().to_string());
    let args = ["--enable-llamacpp", "--llamacpp-program", path.to_str().unwrap(), "--llamacpp-port", &port];
    let start = Start::of(&coordinator).env("TITAN_LISTEN", "127.0.0.1:0").args(&args);
    let more = ["--llamacpp-model", model.to_str().unwrap(), "--llamacpp-parallel", "2"];
    let mut agent = start.args(&more).spawn();
    let models = told(&coordinator, "its model is told", |models| names(models) == ["smollm2"]).await;
    assert_eq!((&models[0]["backend"], &models[0]["parallel"]), (&"llamacpp".into(), &2.into()));
    let address = address(&agent, 1).await;
    let status = state(&address, "healthy").await;
    assert_eq!(status["url"], format!("http://127.0.0.1:{port}"));
    let said = ask(&port).await;
    assert!(!said.is_empty(), "it says something");
    let pid = program.pid().await;
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let next = program.next_pid(pid).await;
    backend(&address, "it is well again", |s| s["restarts"] == 1 && s["state"] == "healthy").await;
    assert!(!ask(&port).await.is_empty());
    agent.signal(Signal::SIGTERM);
    assert!(agent.exit().await.success());
    assert!(!lives(next));
}

/// What the model says to a few words.
async fn ask(port: &str) -> String {
    let request = serde_json::json!({ "model": "smollm2", "prompt": "Once upon a time", "max_tokens": 4 });
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http.post(format!("http://127.0.0.1:{port}/v1/completions")).json(&request).send().await.unwrap();
    let answer: serde_json::Value = answer.json().await.unwrap();
    answer["choices"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}
