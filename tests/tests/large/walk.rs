//! The documents are walked through on a fresh `titan dev`: every line of shell in them is run as it stands, one after
//! the other in one shell, and what it prints is compared with what the document says that it prints, if it says so.
//!
//! In what a document shows, `…` stands for anything.

use std::{fmt::Write, fs, os::unix::fs::symlink, process::Command, time::Duration};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use titan_tests::{
    binaries::{program, workspace},
    ports::free_port,
    process::{Process, clean},
    skip::skipped,
    wait::eventually,
};

/// Lines of shell of a document, and what they print.
#[derive(Debug)]
struct Block {
    line: usize,
    shell: String,
    prints: Option<String>,
}

/// The blocks of shell of a document. A block of `text` or `json` right after one is what it prints.
fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = document.lines().enumerate();
    let mut is_right_after = false;
    while let Some((number, line)) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            is_right_after &= line.is_empty();
            continue;
        };
        let inside: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        let text = inside.join("\n") + "\n";
        match (language, blocks.last_mut()) {
            ("sh", _) => blocks.push(Block { line: number + 1, shell: text, prints: None }),
            ("text" | "json", Some(before)) if is_right_after => before.prints = Some(text),
            _ => {}
        }
        is_right_after = language == "sh";
    }
    blocks
}

/// Whether the text is what was announced, with anything for each `…`.
fn is_as_said(said: &str, text: &str) -> bool {
    let pieces: Vec<&str> = said.trim_end().split('…').collect();
    let Some(mut rest) = text.trim_end().strip_prefix(pieces[0]) else { return false };
    let Some((last, between)) = pieces[1..].split_last() else { return rest.is_empty() };
    for piece in between {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

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
        eventually("titan dev to be up", async || process.log().contains("agents ls").then_some(())).await;
        Self { process, url: format!("http://127.0.0.1:{port}"), home }
    }

    /// Runs the blocks in a folder that looks like a clone in which everything is built.
    fn walk(&self, name: &str, blocks: &[Block]) {
        let folder = self.home.path().join("clone");
        fs::create_dir_all(folder.join("target/debug")).unwrap();
        symlink(program("titan"), folder.join("target/debug/titan")).unwrap();
        let mut script = "set -eu\n".to_owned();
        for (number, block) in blocks.iter().enumerate() {
            let Block { line, shell, .. } = block;
            writeln!(script, "echo '{name}, line {line}' > ../at\n{{\n{shell}}} > ../printed.{number}").unwrap();
        }
        let mut shell = Command::new("sh");
        clean(&mut shell).current_dir(&folder).args(["-c", &script]).env("HOME", self.home.path());
        shell.env("TITAN_URL", &self.url).env("ADMIN_TOKEN", self.secret("admin-token"));
        shell.env("TITAN_API_KEY", self.secret("api-key"));
        let output = shell.output().unwrap();
        let read = |file: &str| fs::read_to_string(self.home.path().join(file)).unwrap_or_default();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {}\n{errors}", read("at").trim(), output.status);
        for (number, block) in blocks.iter().enumerate() {
            let (printed, line) = (read(&format!("printed.{number}")), block.line);
            if let Some(said) = &block.prints {
                assert!(is_as_said(said, &printed), "{name}, line {line}, prints\n{printed}\ninstead of\n{said}");
            }
        }
    }

    /// Ctrl-C, as the README ends it.
    async fn end(mut self) {
        self.process.signal(Signal::SIGINT);
        assert!(self.process.exited(Duration::from_mins(1)).await.success());
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
        document("README.md").into_iter().partition(|block| block.shell.starts_with("make "));
    for target in made.iter().flat_map(|block| block.shell.lines()).filter_map(|line| line.split_whitespace().nth(1)) {
        assert!(makefile.contains(&format!("\n{target}: ")), "the Makefile has no target {target}");
    }
    assert!(makefile.contains("dev --demo $(ARGS)") && !made.is_empty(), "`make demo` is `titan dev --demo`");
    assert!(walked.iter().filter(|block| block.prints.is_some()).count() >= 2, "the README shows what comes of it");
    // As `make demo` does, which is what the README begins with.
    let dev = Dev::start(&["--demo"]).await;
    let has_model = dev.process.log().contains("chat smollm2:135m");
    let asks = |block: &Block| block.shell.contains("/titan chat ");
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
    if !std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .any(|folder: std::path::PathBuf| folder.join("curl").is_file())
    {
        skipped("the lines of docs/api.md: there is no curl here");
        return;
    }
    let dev = Dev::start(&[]).await;
    dev.walk("docs/api.md", &document("docs/api.md"));
    dev.end().await;
}

#[test]
fn what_a_document_shows_may_leave_things_out_and_nothing_else() {
    for (said, text, is_so) in [
        ("a\nb\n", "a\nb\n", true),
        ("a", "ab", false),
        ("a…c", "abc", true),
        ("a…c", "ac", true),
        ("a…c", "abcd", false),
        ("…b…", "abc", true),
        ("a…b…c", "acb", false),
    ] {
        assert_eq!(is_as_said(said, text), is_so, "{said:?} {text:?}");
    }
    let found = blocks("x\n```sh\necho a\n```\n\n```text\na\n```\n\n```sh\nb\n```\nthen\n```json\n{}\n```\n");
    let shown: Vec<_> = found.iter().map(|b| (b.line, b.shell.as_str(), b.prints.as_deref())).collect();
    assert_eq!(shown, [(2, "echo a\n", Some("a\n")), (10, "b\n", None)]);
}
