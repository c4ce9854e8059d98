//! A network of its own for a program: what is named it reaches, as if it were outside, and nothing reaches it.
//!
//! The network belongs to a thread and to what that starts. The kernel takes it away with the last of them, so that nothing is
//! left of it whatever becomes of a test.

use std::{
    fmt,
    net::{Ipv4Addr, TcpListener},
    process::Command,
    sync::mpsc,
    thread,
};

use tokio::{
    io::copy_bidirectional,
    net::{self, TcpStream},
    sync::Mutex,
    task::JoinSet,
};

type Work = Box<dyn FnOnce() + Send>;

/// A network with a loopback and nothing else.
pub struct Namespace {
    work: mpsc::Sender<Work>,
    /// The ways out.
    forwards: Mutex<JoinSet<()>>,
}

impl Namespace {
    /// Makes one.
    ///
    /// # Errors
    /// Why that can't be done on this machine.
    pub fn new() -> Result<Self, String> {
        let (work, orders) = mpsc::channel::<Work>();
        let (told, opened) = mpsc::channel();
        thread::spawn(move || {
            let opened = open();
            let is_open = opened.is_ok();
            told.send(opened).unwrap();
            if is_open {
                orders.into_iter().for_each(|work| work());
            }
        });
        opened.recv().unwrap().map(|()| Self { work, forwards: Mutex::default() })
    }

    /// Does something inside; what it starts or listens on is inside, too.
    pub fn run<T: Send + 'static>(&self, what: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let work = move || done.send(what()).unwrap();
        self.work.send(Box::new(work)).unwrap();
        result.recv().unwrap()
    }

    /// What listens on that port of 127.0.0.1 outside is reached on the same port inside.
    pub async fn forward(&self, port: u16) {
        let listener = self.run(move || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap());
        listener.set_nonblocking(true).unwrap();
        let listener = net::TcpListener::from_std(listener).unwrap();
        self.forwards.lock().await.spawn(async move {
            // Its connections end with it.
            let mut connections = JoinSet::new();
            loop {
                let (mut inside, _) = listener.accept().await.unwrap();
                connections.spawn(async move {
                    // Whoever calls while nobody listens outside is hung up on.
                    let Ok(mut outside) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
                    let _ = (inside.set_nodelay(true), outside.set_nodelay(true));
                    let _ = copy_bidirectional(&mut inside, &mut outside).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Namespace")
    }
}

/// Puts the calling thread into a new network.
#[cfg(target_os = "linux")]
fn open() -> Result<(), String> {
    use nix::sched::{CloneFlags, unshare};

    unshare(CloneFlags::CLONE_NEWNET).map_err(|e| format!("network namespaces can't be made here: {e}"))?;
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).output();
    match up.map_err(|e| format!("`ip` can't be run: {e}"))? {
        output if output.status.success() => Ok(()),
        output => Err(format!("`ip link set lo up` failed: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

#[cfg(not(target_os = "linux"))]
fn open() -> Result<(), String> {
    let _ = Command::new;
    Err("network namespaces are Linux's".to_owned())
}
