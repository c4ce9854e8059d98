//! The documents are walked through on a fresh `titan dev`: every line of shell in them is run as it stands, one after
//! the other in one shell, programs in Python and JavaScript in their places between, with OpenAI's own clients; and what
//! it prints is compared with what the document says that it prints, if it says so.
//!
//! In what a document shows, `…` stands for anything.

mod blocks;

use std::{
    fmt::Write,
    fs,
    os::unix::{fs::symlink, process::CommandExt},
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tempfile::TempDir;
use titan_tests::{
    backend::Backend,
    binaries::{program, workspace},
    llama,
    ollama::{Offer, OllamaShim},
    ports::free_port,
    process::{Process, clean},
    skip::skipped,
    wait::{eventually, within},
};

use self::blocks::{Block, Language, blocks, is_as_said};
use crate::clients::NO_PYTHON;

/// Longer than `titan dev` waits for a small model, which it loads while other tests ask theirs.
const UP: Duration = Duration::from_mins(4);

/// A running `titan dev`, with a home and a working folder of its own.
struct Dev {
    process: Process,
    url: String,
    home: TempDir,
}

impl Dev {
    async fn start(arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = Command::new(program("titan"));
        clean(&mut command).env("HOME", home.path()).args(["dev", "--port", &port.to_string()]).args(arguments);
        let log = home.path().join("dev.log");
        let process = Process::spawn("titan dev", &mut command, &log);
        within(UP, "titan dev to be up", async || process.log().contains("agents ls").then_some(())).await;
        Self { process, url: format!("http://127.0.0.1:{port}"), home }
    }

    /// Runs the blocks in a folder that looks like a clone in which everything is built.
    fn walk(&self, name: &str, blocks: &[Block]) {
        self.walk_with(name, blocks, &[]);
    }

    /// The same with more of what the document wants in the environment.
    fn walk_with(&self, name: &str, blocks: &[Block], environment: &[(&str, &str)]) {
        let folder = self.home.path().join("clone");
        let programs = folder.join("target/debug");
        fs::create_dir_all(&programs).unwrap();
        symlink(program("titan"), programs.join("titan")).unwrap();
        let mut script = "set -eu\n".to_owned();
        for (number, block) in blocks.iter().enumerate() {
            let (line, lines) = (block.line, self.lines(number, block));
            writeln!(script, "echo '{name}, line {line}' > ../at\n{{\n{lines}}} > ../printed.{number}").unwrap();
        }
        let mut shell = Command::new("sh");
        clean(&mut shell).current_dir(&folder).args(["-c", &script]).env("HOME", self.home.path());
        shell.env("TITAN_URL", &self.url).env("ADMIN_TOKEN", self.secret("admin-token"));
        shell.env("TITAN_API_KEY", self.secret("api-key")).env("TITAN_LISTEN", "off").envs(environment.iter().copied());
        let path = std::env::var("PATH").unwrap();
        shell.env("PATH", format!("{}:{path}", programs.display())).env("NO_PROXY", "127.0.0.1");
        // What a document leaves running in the background goes with the shell's group.
        let shell = shell.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let shell = shell.spawn().unwrap();
        let group = Pid::from_raw(i32::try_from(shell.id()).unwrap());
        let output = shell.wait_with_output().unwrap();
        let _ = killpg(group, Signal::SIGKILL);
        let read = |file: &str| fs::read_to_string(self.home.path().join(file)).unwrap_or_default();
        let errors = String::from_utf8_lossy(&output.stderr);
        let log = read("clone/agent.log");
        assert!(output.status.success(), "{}: {}\n{errors}\n{log}", read("at").trim(), output.status);
        for (number, block) in blocks.iter().enumerate() {
            let (printed, line) = (read(&format!("printed.{number}")), block.line);
            if let Some(said) = &block.prints {
                assert!(is_as_said(said, &printed), "{name}, line {line}, prints\n{printed}\ninstead of\n{said}");
            }
        }
    }

    /// What the shell is told: the block itself, or to run it.
    fn lines(&self, number: usize, block: &Block) -> String {
        let (file, runs) = match block.language {
            Language::Shell => return block.text.clone(),
            Language::Python => (format!("block-{number}.py"), "\"$PYTHON\""),
            Language::JavaScript => (format!("block-{number}.mjs"), "node"),
        };
        fs::write(self.home.path().join("clone").join(&file), &block.text).unwrap();
        format!("{runs} {file}\n")
    }

    /// Ctrl-C, as the README ends it.
    async fn end(mut self) {
        self.process.signal(Signal::SIGINT);
        assert!(self.process.exited(Duration::from_mins(1)).await.success());
    }

    /// Waits until a model is listed, as a person does who has just started it.
    async fn until_served(&self, model: &str) {
        eventually("the model to be served", async || {
            let mut titan = Command::new(program("titan"));
            clean(&mut titan).args(["models", "ls", "-o", "name"]).env("HOME", self.home.path());
            let models = tokio::task::spawn_blocking(move || titan.output().unwrap()).await.unwrap();
            String::from_utf8_lossy(&models.stdout).lines().any(|line| line == model).then_some(())
        })
        .await;
    }

    fn secret(&self, name: &str) -> String {
        fs::read_to_string(self.home.path().join(".local/share/titan/dev").join(name)).unwrap().trim().to_owned()
    }
}

fn document(name: &str) -> Vec<Block> {
    blocks(&fs::read_to_string(workspace().join(name)).unwrap())
}

#[tokio::test]
async fn the_readme_can_be_followed_to_the_letter() {
    let makefile = fs::read_to_string(workspace().join("Makefile")).unwrap();
    let (made, mut walked): (Vec<_>, Vec<_>) =
        document("README.md").into_iter().partition(|block| block.text.starts_with("make "));
    for target in made.iter().flat_map(|block| block.text.lines()).filter_map(|line| line.split_whitespace().nth(1)) {
        assert!(makefile.contains(&format!("\n{target}: ")), "the Makefile has no target {target}");
    }
    assert!(makefile.contains("dev --demo $(ARGS)") && !made.is_empty(), "`make demo` is `titan dev --demo`");
    assert!(walked.iter().filter(|block| block.prints.is_some()).count() >= 2, "the README shows what comes of it");
    // As `make demo` does, which is what the README begins with.
    let dev = Dev::start(&["--demo"]).await;
    let has_model = dev.process.log().contains("chat smollm2:135m");
    let asks = |block: &Block| block.text.contains("/titan chat ");
    assert!(walked.iter().any(asks), "the README asks a model");
    if !has_model {
        skipped("the README's chat: without Python's pip there is no small model");
        walked.retain(|block| !asks(block));
    }
    dev.walk("README.md", &walked);
    dev.end().await;
}

#[tokio::test]
async fn every_line_of_the_description_of_the_interface_does_what_it_says() {
    if !has_curl("docs/api.md") {
        return;
    }
    let dev = Dev::start(&[]).await;
    dev.walk("docs/api.md", &document("docs/api.md"));
    dev.end().await;
}

/// Whether there is a `curl` for the lines of a document; if not, that is said.
fn has_curl(document: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap();
    let is_here = std::env::split_paths(&folders).any(|folder: std::path::PathBuf| folder.join("curl").is_file());
    if !is_here {
        skipped(&format!("the lines of {document}: there is no curl here"));
    }
    is_here
}

#[tokio::test]
async fn every_program_for_openais_clients_runs_as_it_stands() {
    const NAME: &str = "docs/openai-clients.md";
    if !has_curl(NAME) {
        return;
    }
    let mut walked = document(NAME);
    let count = |walked: &[Block], language| walked.iter().filter(|block| block.language == language).count();
    assert!(count(&walked, Language::Python) >= 3 && count(&walked, Language::JavaScript) >= 1);
    let (python, modules) = (llama::python(), llama::node_modules());
    if python.is_none() {
        skipped(NO_PYTHON);
        walked.retain(|block| block.language != Language::Python);
    }
    if modules.is_none() {
        skipped("OpenAI's client for JavaScript could not be fetched from npm (scripts/setup.sh --clients)");
        walked.retain(|block| block.language != Language::JavaScript);
    }
    let backend = Backend::start().await;
    backend.serve(&["llama3.1:8b"]);
    let dev = Dev::start(&["--backend", &format!("openai={}", backend.url())]).await;
    dev.until_served("llama3.1:8b").await;
    let folder = dev.home.path().join("clone");
    fs::create_dir_all(&folder).unwrap();
    if let Some(modules) = modules {
        symlink(modules, folder.join("node_modules")).unwrap();
    }
    let python = python.unwrap_or_default().into_os_string().into_string().unwrap();
    let walk = tokio::task::spawn_blocking(move || {
        dev.walk_with(NAME, &walked, &[("PYTHON", &python)]);
        dev
    });
    walk.await.unwrap().end().await;
}

#[tokio::test]
async fn a_box_with_ollama_is_added_as_its_page_says() {
    const NAME: &str = "docs/adding-a-box-with-ollama.md";
    if !has_curl(NAME) {
        return;
    }
    // What answers behind it is of no matter to the page.
    let words = Backend::start().await;
    let shim = OllamaShim::before(words.url(), "small").await;
    shim.has("llama3.1:8b", 4_900_000_000);
    shim.offers("llama3.2:1b", Offer::of(2_000_000));
    let dev = Dev::start(&["--agents", "1"]).await;
    let walk = tokio::task::spawn_blocking(move || {
        dev.walk_with(NAME, &document(NAME), &[("OLLAMA_URL", shim.url())]);
        dev
    });
    walk.await.unwrap().end().await;
}

#[tokio::test]
async fn a_box_is_asked_directly_as_its_page_says() {
    const NAME: &str = "docs/direct-mode.md";
    if !has_curl(NAME) {
        return;
    }
    let backend = Backend::start().await;
    backend.serve(&["llama3.1:8b-instruct-q4_k_m"]);
    let dev = Dev::start(&["--agents", "1"]).await;
    let gateway = format!("127.0.0.1:{}", free_port());
    let walk = tokio::task::spawn_blocking(move || {
        dev.walk_with(NAME, &document(NAME), &[("BACKEND_URL", backend.url()), ("GATEWAY", &gateway)]);
        dev
    });
    walk.await.unwrap().end().await;
}
