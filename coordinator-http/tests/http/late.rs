//! A way to Redis on which one question comes late: it is held up while others get through on another connection.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// The way. It is gone with the value.
pub(crate) struct Late {
    address: SocketAddr,
    steps: Arc<watch::Sender<Step>>,
    held: Arc<Mutex<String>>,
    accepting: JoinHandle<()>,
}

/// How far it is with the question that it holds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Step {
    /// It has not come.
    Awaited,
    /// It is held up.
    Held,
    /// It still is, and who has asked it lost the connection.
    Cut,
    /// Since then, something was not found.
    Missed,
    /// It goes on its way.
    Released,
}

impl Late {
    /// The way to a server, `redis://127.0.0.1:<port>`, on which the first question is held up that has `words` in it.
    pub(crate) async fn to(url: &str, words: &'static str) -> Self {
        let upstream: SocketAddr = url.trim_start_matches("redis://").parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, steps) = (listener.local_addr().unwrap(), Arc::new(watch::Sender::new(Step::Awaited)));
        let (told, held) = (Arc::clone(&steps), Arc::<Mutex<String>>::default());
        let kept = Arc::clone(&held);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(upstream).await else { return };
                tokio::spawn(carry(client, server, words, Arc::clone(&told), Arc::clone(&kept)));
            }
        });
        Self { address, steps, held, accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The question that is held up.
    pub(crate) fn held(&self) -> String {
        self.held.lock().unwrap().clone()
    }

    /// Goes on to a step.
    pub(crate) fn go(&self, step: Step) {
        self.steps.send_replace(step);
    }

    /// Waits for a step.
    pub(crate) async fn until(&self, step: Step) {
        self.steps.subscribe().wait_for(|now| *now >= step).await.unwrap();
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    words: &str,
    steps: Arc<watch::Sender<Step>>,
    held: Arc<Mutex<String>>,
) {
    let (mut question, mut answer) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            Ok(length @ 1..) = client.read(&mut question) => {
                let question = &question[..length];
                let is_meant = question.windows(words.len()).any(|part| part == words.as_bytes());
                if is_meant && *steps.borrow() == Step::Awaited {
                    *held.lock().unwrap() = String::from_utf8_lossy(question).into_owned();
                    steps.send_replace(Step::Held);
                    let mut step = steps.subscribe();
                    step.wait_for(|step| *step >= Step::Cut).await.unwrap();
                    drop(client);
                    step.wait_for(|step| *step == Step::Released).await.unwrap();
                    server.write_all(question).await.unwrap();
                    let _ = server.read(&mut answer).await;
                    return;
                }
                if server.write_all(question).await.is_err() {
                    return;
                }
            }
            Ok(length @ 1..) = server.read(&mut answer) => {
                let answer = &answer[..length];
                if *steps.borrow() == Step::Cut && answer.windows(9).any(|part| part == b"not_found") {
                    steps.send_replace(Step::Missed);
                }
                if client.write_all(answer).await.is_err() {
                    return;
                }
            }
            else => return,
        }
    }
}
