//! A way to Redis on which an answer gets lost: the question came through and was acted upon, and then the connection is
//! cut in place of the answer.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

/// The way. It begins without a fault, and is gone with the value.
pub(crate) struct Losing {
    address: SocketAddr,
    fault: Arc<Fault>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Fault {
    /// How many questions until the one whose answer is lost; 0 for none.
    left: AtomicU64,
    happened: AtomicBool,
}

impl Losing {
    /// The way to a server, `redis://127.0.0.1:<port>`.
    pub(crate) async fn to(url: &str) -> Self {
        let upstream: SocketAddr = url.trim_start_matches("redis://").parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, fault) = (listener.local_addr().unwrap(), Arc::new(Fault::default()));
        let accepting = tokio::spawn(accept(listener, upstream, fault.clone()));
        Self { address, fault, accepting }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Loses the answer to the question that comes as that one from now on, counted from 1.
    pub(crate) fn lose(&self, number: u64) {
        self.fault.happened.store(false, Ordering::Relaxed);
        self.fault.left.store(number, Ordering::Relaxed);
    }

    /// Loses nothing any more; whether an answer was lost since it was told to.
    pub(crate) fn mend(&self) -> bool {
        self.fault.left.store(0, Ordering::Relaxed);
        self.fault.happened.load(Ordering::Relaxed)
    }
}

impl Drop for Losing {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, fault: Arc<Fault>) {
    while let Ok((client, _)) = listener.accept().await {
        let fault = fault.clone();
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(upstream).await else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            let doomed = AtomicBool::new(false);
            // Whichever ends first ends the other.
            tokio::select! {
                () = ask(from_client, to_server, &fault, &doomed) => {}
                () = answer(from_server, to_client, &fault, &doomed) => {}
            }
        });
    }
}

async fn ask(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, fault: &Fault, doomed: &AtomicBool) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let is_question = buffer.first() == Some(&b'*');
        let left = fault.left.load(Ordering::Relaxed);
        if is_question && left > 0 {
            fault.left.store(left - 1, Ordering::Relaxed);
            doomed.store(left == 1, Ordering::Relaxed);
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn answer(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, fault: &Fault, doomed: &AtomicBool) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if doomed.load(Ordering::Relaxed) {
            fault.happened.store(true, Ordering::Relaxed);
            return;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
