//! A program that stands in for vLLM or Ollama: a line of shell that becomes this very test program, which serves then.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tokio::{io::copy_bidirectional, net::TcpListener, net::TcpStream};

use crate::{
    agent::number_in,
    backend::{Backend, Shape},
};

/// Names the port at which this test program is to serve, instead of testing.
const PORT: &str = "STAND_IN_PORT";
const SHAPE: &str = "STAND_IN_SHAPE";

/// The program, in a folder in which it writes down what it was given.
pub(super) struct Program {
    folder: tempfile::TempDir,
}

impl Program {
    /// One that serves as vLLM or as Ollama does.
    pub(super) fn like(shape: &str) -> Self {
        Self::of(|folder| {
            let own = std::env::current_exe().unwrap();
            let serve = "supervise::program::it_serves_if_it_was_started_to_do_so";
            format!(
                "#!/bin/sh\ncd {folder}\nprintf '%s\\n' \"$@\" > args\nenv > environment\n\
                 [ -e deaf ] && echo 'loading for ever' && exec sleep 600\n\
                 [ -e dying ] && echo 'there is no such model' >&2 && exit 3\n\
                 setsid sleep 600 &\necho $! > grandchild\n\
                 port=${{OLLAMA_HOST##*:}}\n\
                 while [ $# -gt 0 ]; do [ \"$1\" = --port ] && port=$2; shift; done\n\
                 echo $$ > new && mv new pid\necho 'it begins'\n\
                 {SHAPE}={shape} {PORT}=$port exec {} --exact {serve} --nocapture\n",
                own.display()
            )
        })
    }

    /// One that does what the shell says.
    pub(super) fn of(text: impl FnOnce(&str) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = Self { folder };
        std::fs::write(program.path(), text(program.folder.path().to_str().unwrap())).unwrap();
        std::fs::set_permissions(program.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        program
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("program")
    }

    /// From now on it begins in that manner: `deaf` or `dying`.
    pub(super) fn begin(&self, manner: &str) {
        std::fs::write(self.folder.path().join(manner), "").unwrap();
    }

    /// From now on it begins as it should.
    pub(super) fn mend(&self, manner: &str) {
        std::fs::remove_file(self.folder.path().join(manner)).unwrap();
    }

    /// The process that serves, once there is one.
    pub(super) async fn pid(&self) -> i32 {
        number_in(&self.file("pid")).await
    }

    /// The next one after `old`.
    pub(super) async fn next_pid(&self, old: i32) -> i32 {
        crate::agent::until("another process serves", || self.read("pid").trim() != old.to_string()).await;
        self.pid().await
    }

    /// A process that it has started and that has a session of its own.
    pub(super) async fn grandchild(&self) -> i32 {
        number_in(&self.file("grandchild")).await
    }

    pub(super) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Serves at a port of its own choosing what `backend` serves.
pub(super) async fn forward(listener: TcpListener, backend: Backend) {
    let to = backend.url().strip_prefix("http://").unwrap().to_owned();
    loop {
        let (mut from, _) = listener.accept().await.unwrap();
        let to = to.clone();
        tokio::spawn(async move {
            let Ok(mut to) = TcpStream::connect(to).await else { return };
            let _ = copy_bidirectional(&mut from, &mut to).await;
        });
    }
}

#[tokio::test]
async fn it_serves_if_it_was_started_to_do_so() {
    let Ok(port) = std::env::var(PORT) else { return };
    let shape = if std::env::var(SHAPE).unwrap() == "ollama" { Shape::Ollama } else { Shape::Vllm };
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await.unwrap();
    println!("it serves at {port}");
    forward(listener, Backend::like(shape).await).await;
}
