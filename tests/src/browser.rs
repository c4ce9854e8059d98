//! A real browser (Chromium) without a window, steered through its debugging pipe.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::unix::pipe,
    time::timeout,
};

use crate::{
    process::{Process, clean},
    wait::eventually,
};

/// How long one command to the browser may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A browser with one page. Dropping it kills it.
#[derive(Debug)]
pub struct Browser {
    to: pipe::Sender,
    from: BufReader<pipe::Receiver>,
    last: u64,
    session: Option<String>,
    complaints: Vec<String>,
    _process: Process,
    _folder: TempDir,
}

impl Browser {
    /// Starts one with an empty page; none if this machine has no browser.
    pub async fn start() -> Option<Self> {
        let program = installed()?;
        let folder = TempDir::with_prefix("titan-browser-").unwrap();
        let (orders, answers) = (fifo(folder.path(), "orders"), fifo(folder.path(), "answers"));
        let mut open = pipe::OpenOptions::new();
        // Opened for both, so that nobody waits for the other end.
        let (to, from) = (open.read_write(true).open_sender(&orders), open.open_receiver(&answers));
        let mut command = Command::new("sh");
        // The pipe is the file descriptors 3 and 4.
        command.args(["-c", r#"exec "$0" "$@" 3<"$ORDERS" 4>"$ANSWERS""#]).arg(program).args(FLAGS);
        command.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
        clean(&mut command).env("ORDERS", &orders).env("ANSWERS", &answers).env("HOME", folder.path());
        let process = Process::spawn("the browser", &mut command, &folder.path().join("log"));
        let mut browser = Self {
            to: to.unwrap(),
            from: BufReader::new(from.unwrap()),
            last: 0,
            session: None,
            complaints: Vec::new(),
            _process: process,
            _folder: folder,
        };
        browser.attach().await;
        Some(browser)
    }

    async fn attach(&mut self) {
        let page = self.order("Target.createTarget", json!({"url": "about:blank"})).await;
        let attach = json!({"targetId": page["targetId"], "flatten": true});
        let attached = self.order("Target.attachToTarget", attach).await;
        self.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            self.order(domain, json!({})).await;
        }
    }

    /// Goes to a URL.
    pub async fn open(&mut self, url: &str) {
        let went = self.order("Page.navigate", json!({"url": url})).await;
        assert!(went["errorText"].is_null(), "{url}: {went}");
        self.becomes_true("document.readyState === 'complete' && location.href !== 'about:blank'").await;
    }

    /// The value of an expression.
    pub async fn eval(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.order("Runtime.evaluate", asked).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].take()
    }

    /// Waits until an expression is true.
    pub async fn becomes_true(&mut self, expression: &str) {
        let guarded = format!("(() => {{ try {{ return Boolean({expression}) }} catch {{ return false }} }})()");
        eventually(format!("{expression} to be true"), async || {
            (self.eval(&guarded).await == Value::Bool(true)).then_some(())
        })
        .await;
    }

    /// Presses a key as a person does, by its name (`Enter`, `/`); `ctrl` holds Control down.
    pub async fn press(&mut self, key: &str, ctrl: bool) {
        let text = match key {
            "Enter" => "\r",
            one if one.chars().count() == 1 => one,
            _ => "",
        };
        let code = if key == "Enter" { 13 } else { 0 };
        let mut event = json!({"type": "keyDown", "key": key, "windowsVirtualKeyCode": code, "text": text});
        event["modifiers"] = json!(if ctrl { 2 } else { 0 });
        self.order("Input.dispatchKeyEvent", event.clone()).await;
        event["type"] = json!("keyUp");
        self.order("Input.dispatchKeyEvent", event).await;
    }

    /// Types a text into the element that has the focus.
    pub async fn enter(&mut self, text: &str) {
        self.order("Input.insertText", json!({"text": text})).await;
    }

    /// What went wrong in the page so far: exceptions, and what its security policy forbade.
    #[must_use]
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    async fn order(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut order = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = &self.session {
            order["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{order}\0").as_bytes()).await.unwrap();
        loop {
            let mut message = self.read().await;
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
            self.note(&message);
        }
    }

    async fn read(&mut self) -> Value {
        let mut bytes = Vec::new();
        let read = timeout(PATIENCE, self.from.read_until(0, &mut bytes)).await;
        read.expect("the browser does not answer").unwrap();
        bytes.pop();
        serde_json::from_slice(&bytes).unwrap()
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.complaints.push(params["exceptionDetails"].to_string()),
            // Answers other than 2xx are entries of the network.
            Some("Log.entryAdded")
                if params["entry"]["level"] != "verbose" && params["entry"]["source"] != "network" =>
            {
                self.complaints.push(params["entry"].to_string());
            }
            Some("Runtime.consoleAPICalled") if params["type"] == "error" => self.complaints.push(params.to_string()),
            _ => {}
        }
    }
}

/// Nothing beside the page: no window, no calls home, no host but this one.
const FLAGS: [&str; 11] = [
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

fn installed() -> Option<PathBuf> {
    let named = std::env::var_os("TITAN_BROWSER").map(PathBuf::from);
    let usual = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"].map(PathBuf::from);
    named
        .into_iter()
        .chain(usual)
        .find(|program| Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success()))
}

fn fifo(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
    path
}
