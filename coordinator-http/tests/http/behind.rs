//! A way to Redis that tells the time of a minute ago once, as a Redis whose clock is set after that.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What begins the answer to TIME: two texts, of which the first is seconds since the epoch.
const TIME: &[u8] = b"*2\r\n$10\r\n";

/// The way. It is gone with the value.
pub(crate) struct Behind {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Behind {
    /// The way to a server, `redis://127.0.0.1:<port>`.
    pub(crate) async fn to(url: &str) -> Self {
        let upstream: SocketAddr = url.trim_start_matches("redis://").parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, told) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(upstream).await else { return };
                tokio::spawn(carry(client, server, Arc::clone(&told)));
            }
        });
        Self { address, accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(client: TcpStream, server: TcpStream, told: Arc<AtomicBool>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = copy(&mut from_client, &mut to_server);
    let answering = async {
        let mut answer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from_server.read(&mut answer).await {
            let answer = &mut answer[..length];
            if answer.starts_with(TIME) && !told.swap(true, Ordering::Relaxed) {
                let digits = &mut answer[TIME.len()..][..10];
                let seconds: u64 = std::str::from_utf8(digits).unwrap().parse().unwrap();
                digits.copy_from_slice((seconds - 60).to_string().as_bytes());
            }
            if to_client.write_all(answer).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = asking => {}
        () = answering => {}
    }
}
