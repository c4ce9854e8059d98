//! The door of the gateway: who is let in, and for how long one may stand in it.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use titan_api::peers::Peers;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tracing::{debug, warn};

use super::{Gateway, answer, wire::Wire};

/// Lets clients in until the agent stops: as many as there are places, and of each address no more than its share.
pub(super) async fn serve(gateway: Arc<Gateway>, listener: TcpListener) {
    let bounds = gateway.bounds;
    let room = Arc::new(Semaphore::new(bounds.connections));
    let peers = Peers::new(bounds.per_address, bounds.per_neighbour);
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let (stream, address) = accept(&listener).await;
        let Some(peer) = peers.admit(address.ip()) else {
            debug!("{} has as many connections as it may", address.ip());
            continue;
        };
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move {
            converse(gateway, stream).await;
            drop((peer, place));
        });
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(e) => {
                warn!("a client could not be let in: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(gateway: Arc<Gateway>, stream: TcpStream) {
    // Tokens are small and should not wait for more.
    let _ = stream.set_nodelay(true);
    let bounds = gateway.bounds;
    let service = service_fn(move |request| {
        let gateway = Arc::clone(&gateway);
        async move { Ok::<_, Infallible>(answer::answer(gateway, request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.head).max_buf_size(bounds.head_bytes);
    if let Err(e) = http.serve_connection(TokioIo::new(Wire::new(stream, bounds.stall)), service).await {
        debug!("a client's connection broke: {e}");
    }
}
