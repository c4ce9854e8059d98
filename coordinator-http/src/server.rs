//! The server around the router: HTTP/1.1 with a limit on everything that a slow or hostile peer could draw out.
//!
//! `axum::serve` never closes a connection whose request is half sent. Here a request's head, its body, an idle
//! connection and a reader that does not read have their times, and so does the shutdown. A connection on which nothing
//! passes holds no buffers: see `server/connection`.

mod bell;
mod body;
mod budget;
mod connection;
mod crowd;
mod files;
mod head;
mod meter;
mod wire;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::crowd::Crowd;
pub(crate) use self::{
    body::{BodyTimeout, Patience},
    budget::{Budget, Part},
    connection::Ambiguous,
    files::raise_open_files,
};

/// When one in so many places is left, connections that wait for their next request are closed, the longest idle first,
const NEARLY_FULL: usize = 20;
/// one in so many at once.
const AT_ONCE: usize = 100;

/// The limits of a server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; more wait in the system's queue.
    pub connections: usize,
    /// Connections from one address at once; more are closed. Loopback and private networks, where proxies are that
    /// bring many peers from one address, have no such limit.
    pub per_address: usize,
    /// From the first byte of a request (or the connection's beginning) to the end of its head.
    pub head: Duration,
    /// Between two parts of a body.
    pub body_pause: Duration,
    /// For a whole body.
    pub body: Duration,
    /// From a reply to the next request on the same connection.
    pub idle: Duration,
    /// For how long a peer may take nothing of a reply that waits to be sent.
    pub write_stall: Duration,
    /// From the last byte that passed until a connection gives up what it needs only while something passes. Most replies
    /// and next requests come sooner.
    pub light: Duration,
    /// For requests in progress when the server shuts down.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            per_address: 5_000,
            head: Duration::from_secs(10),
            body_pause: Duration::from_secs(10),
            body: Duration::from_mins(1),
            idle: Duration::from_secs(75),
            write_stall: Duration::from_secs(30),
            light: Duration::from_secs(1),
            shutdown: Duration::from_secs(10),
        }
    }
}

/// Serves until `closing` is cancelled: then takes no more connections, lets requests in progress finish, and returns.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, closing: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let crowd = Crowd::new(limits.per_address);
    let connections = TaskTracker::new();
    let abandoned = CancellationToken::new();
    let accepting = async {
        loop {
            let place = place(&places, &crowd, &limits).await;
            let (stream, peer) = accept(&listener).await;
            let Some(member) = crowd.admit(peer.ip(), &closing) else { continue };
            if places.available_permits() <= limits.connections / NEARLY_FULL {
                make_room(&crowd, &limits);
            }
            let served = connection::serve(stream, router.clone(), limits, member.meter.clone(), member.end.clone());
            // Thousands of connections wait at once, and what is moved into another future takes memory twice.
            let served = Box::pin(served);
            let abandoned = abandoned.clone();
            connections.spawn(async move {
                abandoned.run_until_cancelled(served).await;
                drop((member, place));
            });
        }
    };
    closing.run_until_cancelled(accepting).await;
    drop(listener);
    connections.close();
    if timeout(limits.shutdown, connections.wait()).await.is_err() {
        tracing::warn!(component = "http", connections = connections.len(), "requests in progress are abandoned");
        abandoned.cancel();
        connections.wait().await;
    }
}

/// A place for a connection; while there is none, those that idle have to go.
async fn place(places: &Arc<Semaphore>, crowd: &Crowd, limits: &Limits) -> Option<OwnedSemaphorePermit> {
    loop {
        match timeout(Duration::from_secs(1), Arc::clone(places).acquire_owned()).await {
            Ok(place) => return place.ok(),
            Err(_) => make_room(crowd, limits),
        }
    }
}

fn make_room(crowd: &Crowd, limits: &Limits) {
    crowd.close_idle((limits.connections / AT_ONCE).max(1));
}

/// The next connection. When the system has none to give (too many open files), others must end first.
async fn accept(listener: &TcpListener) -> (tokio::net::TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_about_one_peer(&error) => {}
            Err(error) => {
                tracing::warn!(component = "http", error = %error, "no connection can be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn is_about_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
