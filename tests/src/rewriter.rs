//! A proxy to a Redis that changes scripts on their way, so that a test can show that it would notice a wrong one.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    task::JoinHandle,
};

/// A change of scripts.
#[derive(Debug, Clone)]
pub struct Change {
    /// What is replaced, and what puts a script among those that are changed.
    pub find: String,
    /// How often it stands in each script in which it stands.
    pub times: usize,
    /// What is put in its place.
    pub replace: String,
}

/// A proxy that replaces a text in every script that is sent whole (EVAL). Redis then knows the changed script by
/// another hash, so each call comes as EVALSHA, is answered NOSCRIPT, and comes again as EVAL. It seems to know no functions,
/// since a call of one would not say what to replace.
#[derive(Debug)]
pub struct Rewriter {
    address: SocketAddr,
    done: Arc<Done>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Done {
    rewritten: AtomicU64,
    miscounted: AtomicU64,
}

impl Rewriter {
    /// A proxy on a free port of loopback, to `upstream` (`127.0.0.1:6379`).
    pub async fn to(upstream: &str, change: Change) -> Self {
        let upstream: SocketAddr = upstream.parse().expect("an address and a port");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let done = Arc::new(Done::default());
        let accepting = tokio::spawn(accept(listener, upstream, Arc::new(change), done.clone()));
        Self { address, done, accepting }
    }

    /// Its URL, `redis://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// How many scripts it has changed.
    #[must_use]
    pub fn rewritten(&self) -> u64 {
        self.done.rewritten.load(Ordering::Relaxed)
    }

    /// How many scripts it left alone because the text stands in them more or less often than was said.
    #[must_use]
    pub fn miscounted(&self) -> u64 {
        self.done.miscounted.load(Ordering::Relaxed)
    }
}

impl Drop for Rewriter {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, change: Arc<Change>, done: Arc<Done>) {
    while let Ok((client, _)) = listener.accept().await {
        let (change, done) = (change.clone(), done.clone());
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(upstream).await else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let (from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let mut commands = BufReader::new(from_client);
            let forward = async {
                while let Some(mut command) = read_command(&mut commands).await {
                    change.apply(&mut command, &done);
                    to_server.write_all(&written(&command)).await.ok()?;
                }
                Some(())
            };
            tokio::select! {
                _ = forward => {}
                _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
            }
        });
    }
}

impl Change {
    fn apply(&self, command: &mut [Vec<u8>], done: &Done) {
        let [verb, script, ..] = command else { return };
        if verb.eq_ignore_ascii_case(b"FCALL") {
            *verb = b"NO-FCALL".to_vec();
        }
        if !verb.eq_ignore_ascii_case(b"EVAL") {
            return;
        }
        let Ok(text) = std::str::from_utf8(script) else { return };
        let found = text.matches(&self.find).count();
        if found == self.times {
            *script = text.replace(&self.find, &self.replace).into_bytes();
            done.rewritten.fetch_add(1, Ordering::Relaxed);
        } else if found > 0 {
            done.miscounted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Reads `*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`; none at the end.
async fn read_command(from: &mut BufReader<OwnedReadHalf>) -> Option<Vec<Vec<u8>>> {
    let mut command = Vec::new();
    for _ in 0..number_after('*', from).await? {
        let mut argument = vec![0; number_after('$', from).await? + 2];
        from.read_exact(&mut argument).await.ok()?;
        argument.truncate(argument.len() - 2);
        command.push(argument);
    }
    Some(command)
}

async fn number_after(mark: char, from: &mut BufReader<OwnedReadHalf>) -> Option<usize> {
    let mut line = String::new();
    from.read_line(&mut line).await.ok()?;
    line.trim_end().strip_prefix(mark)?.parse().ok()
}

fn written(command: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for argument in command {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
