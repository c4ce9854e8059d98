//! A network of its own for a program: what is named it reaches, as if it were outside, and of what is inside only that is
//! reached which is named, too. The two can be parted.
//!
//! The network belongs to a thread and to what that starts. The kernel takes it away with the last of them, so that nothing is
//! left of it whatever becomes of a test.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    sync::{Mutex, mpsc},
    thread,
};

use tokio::{net, runtime::Runtime};

use crate::{ports::free_port, proxy::Proxy};

type Work = Box<dyn FnOnce() + Send>;

/// A network with a loopback and nothing else.
pub struct Namespace {
    work: mpsc::Sender<Work>,
    /// The ways out and in.
    ways: Mutex<Vec<Proxy>>,
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
            // Until nobody can give any more.
            for work in orders.into_iter().take_while(|_| is_open) {
                work();
            }
        });
        opened.recv().unwrap().map(|()| Self { work, ways: Mutex::default() })
    }

    /// Does something inside; what it starts or listens on is inside, too.
    pub fn run<T: Send + 'static>(&self, what: impl FnOnce() -> T + Send + 'static) -> T {
        run(&self.work, what)
    }

    /// A runtime whose tasks are inside, and what they connect to.
    ///
    /// # Panics
    /// If the machine has no thread for it.
    #[must_use]
    pub fn runtime(&self) -> Runtime {
        self.run(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap())
    }

    /// What listens on that port of 127.0.0.1 outside is reached on the same port inside.
    pub fn forward(&self, port: u16) {
        let listener = self.run(move || std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap());
        self.ways().push(Proxy::between(listening(listener), move || net::TcpStream::connect(at(port))));
    }

    /// A port of 127.0.0.1: what listens on it inside is reached on the same port outside.
    pub fn port_of_both(&self) -> u16 {
        let port = free_port();
        let listener = std::net::TcpListener::bind(at(port)).unwrap();
        let work = self.work.clone();
        self.ways().push(Proxy::between(listening(listener), move || {
            let connected = run(&work, move || connect(port));
            async { net::TcpStream::from_std(connected?) }
        }));
        port
    }

    /// Parts inside and outside, as when a network drops all packets: connections stay, and nothing comes through.
    pub fn part(&self) {
        self.ways().iter().for_each(Proxy::freeze);
    }

    /// Joins them again; what was on its way comes through late.
    pub fn join(&self) {
        self.ways().iter().for_each(Proxy::thaw);
    }

    fn ways(&self) -> std::sync::MutexGuard<'_, Vec<Proxy>> {
        self.ways.lock().unwrap()
    }
}

fn run<T: Send + 'static>(inside: &mpsc::Sender<Work>, what: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    let work = move || done.send(what()).unwrap();
    inside.send(Box::new(work)).unwrap();
    result.recv().unwrap()
}

fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn listening(listener: std::net::TcpListener) -> net::TcpListener {
    listener.set_nonblocking(true).unwrap();
    net::TcpListener::from_std(listener).unwrap()
}

/// Connects on loopback, where that takes no time.
fn connect(port: u16) -> io::Result<std::net::TcpStream> {
    let stream = std::net::TcpStream::connect(at(port))?;
    stream.set_nonblocking(true)?;
    Ok(stream)
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
