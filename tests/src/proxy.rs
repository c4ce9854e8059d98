//! A TCP proxy that does to a connection what networks do: delay it, freeze it, cut it, or lose a reply after the
//! request got through.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

/// Decides by its bytes whether a request is meant.
type Matcher = Box<dyn Fn(&[u8]) -> bool + Send>;

/// Connects to what is behind a proxy.
type Connect = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>> + Send + Sync>;

/// A proxy to one address. It begins without faults. Dropping it cuts everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    faults: Arc<Faults>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Faults {
    delay_ms: AtomicU64,
    refusing: AtomicBool,
    frozen: watch::Sender<bool>,
    cuts: watch::Sender<u64>,
    stuck: watch::Sender<u64>,
    to_lose: Mutex<Option<ToLose>>,
    lost: AtomicU64,
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults").field("delay_ms", &self.delay_ms).field("lost", &self.lost).finish_non_exhaustive()
    }
}

struct ToLose {
    left: u64,
    matcher: Matcher,
}

/// The connection has ended, by a fault or by itself.
struct Ended;

impl Proxy {
    /// A proxy on a free port of loopback, to `upstream` (`127.0.0.1:6379`), which need not be up yet.
    pub async fn to(upstream: &str) -> Self {
        let upstream: SocketAddr = upstream.parse().expect("an address and a port");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::between(listener, move || TcpStream::connect(upstream))
    }

    /// A proxy from what listens to what it connects to, which may be elsewhere.
    pub(crate) fn between<F>(listener: TcpListener, connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<TcpStream>> + Send + 'static,
    {
        let (address, faults) = (listener.local_addr().unwrap(), Arc::new(Faults::default()));
        let connect: Connect = Arc::new(move || Box::pin(connect()));
        let accepting = tokio::spawn(accept(listener, connect, faults.clone()));
        Self { address, faults, accepting }
    }

    /// Where it listens, `127.0.0.1:<port>`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Delays everything, both ways, from now on.
    pub fn delay(&self, delay: Duration) {
        self.faults.delay_ms.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// Stops forwarding, both ways, and keeps the connections: as when a network drops all packets.
    pub fn freeze(&self) {
        self.faults.frozen.send_replace(true);
    }

    /// Forwards again, beginning with what was held back.
    pub fn thaw(&self) {
        self.faults.frozen.send_replace(false);
    }

    /// Forwards nothing more on the connections that there are, for good, and serves new ones: as when a middlebox has
    /// forgotten them.
    pub fn freeze_existing(&self) {
        self.faults.stuck.send_modify(|n| *n += 1);
    }

    /// Cuts all connections now. New ones are taken.
    pub fn cut(&self) {
        self.faults.cuts.send_modify(|n| *n += 1);
    }

    /// Cuts all connections now, and takes none until [`Proxy::accept`].
    pub fn refuse(&self) {
        self.faults.refusing.store(true, Ordering::Relaxed);
        self.cut();
    }

    /// Takes connections again.
    pub fn accept(&self) {
        self.faults.refusing.store(false, Ordering::Relaxed);
    }

    /// Loses the replies to the next `count` requests that `matcher` picks by their bytes: each such request gets
    /// through and is answered, and then its connection is cut in place of the answer.
    pub fn lose_replies(&self, count: u64, matcher: impl Fn(&[u8]) -> bool + Send + 'static) {
        *self.faults.to_lose.lock().unwrap() = Some(ToLose { left: count, matcher: Box::new(matcher) });
    }

    /// How many replies were lost by [`Proxy::lose_replies`] so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.faults.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, connect: Connect, faults: Arc<Faults>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        if !faults.refusing.load(Ordering::Relaxed) {
            connections.spawn(relay(client, connect.clone(), faults.clone()));
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn relay(client: TcpStream, connect: Connect, faults: Arc<Faults>) {
    let mut cuts = faults.cuts.subscribe();
    let stuck = faults.stuck.subscribe();
    // Whoever calls while nobody listens behind it is hung up on.
    let Ok(server) = connect().await else { return };
    // Without this the operating system would gather small pieces and add a delay of its own.
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let doomed = AtomicBool::new(false);
    tokio::select! {
        _ = cuts.changed() => {}
        _ = async { tokio::try_join!(
            forward(from_client, to_server, &faults, &stuck, |bytes| faults.doom(bytes, &doomed)),
            forward(from_server, to_client, &faults, &stuck, |_| faults.check(&doomed)),
        ) } => {}
    }
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    faults: &Faults,
    stuck: &watch::Receiver<u64>,
    inspect: impl Fn(&[u8]) -> Result<(), Ended>,
) -> Result<(), Ended> {
    let mut frozen = faults.frozen.subscribe();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await.map_err(|_| Ended)?;
        sleep(Duration::from_millis(faults.delay_ms.load(Ordering::Relaxed))).await;
        frozen.wait_for(|frozen| !frozen).await.map_err(|_| Ended)?;
        if stuck.has_changed().unwrap_or(true) {
            std::future::pending::<()>().await;
        }
        if length == 0 {
            return to.shutdown().await.map_err(|_| Ended);
        }
        inspect(&buffer[..length])?;
        to.write_all(&buffer[..length]).await.map_err(|_| Ended)?;
    }
}

impl Faults {
    /// Looks at a piece of a request. If its reply is to be lost, the connection is doomed.
    #[expect(clippy::unnecessary_wraps, reason = "the other direction's inspection ends connections")]
    fn doom(&self, bytes: &[u8], doomed: &AtomicBool) -> Result<(), Ended> {
        if let Some(to_lose) = self.to_lose.lock().unwrap().as_mut()
            && to_lose.left > 0
            && (to_lose.matcher)(bytes)
        {
            to_lose.left -= 1;
            doomed.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Looks at a piece of a reply: on a doomed connection it goes no further.
    fn check(&self, doomed: &AtomicBool) -> Result<(), Ended> {
        if doomed.load(Ordering::Relaxed) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return Err(Ended);
        }
        Ok(())
    }
}
