//! The listener for who looks after the box: `/health` and `/metrics`. It takes no orders and tells no
//! secrets, but jobs' numbers are nobody else's business, so by default only this box can ask.
//!
//! A web page that somebody on this box looks at could ask as well, by a name of its own that leads here. So only
//! requests for an address or for this box's own name are answered.

mod health;
mod metrics;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tracing::{debug, info, warn};

use crate::agent::Agent;
pub(crate) use health::Health;

/// Connections at once; more wait.
const CONNECTIONS: usize = 16;
/// From accepting a connection to its last byte: it serves one request.
const LIMIT: Duration = Duration::from_secs(10);
/// After a failed accept, which will fail again.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 * 1_024;

/// Listens, if that is wanted and possible, until the agent ends. A port that is taken stops no work.
pub(crate) async fn run(agent: Arc<Agent>) {
    let Some(address) = agent.config.listen else { return std::future::pending().await };
    match TcpListener::bind(address).await {
        Ok(listener) => serve(listener, agent).await,
        Err(e) => {
            warn!(
                "nobody can ask this agent for its health and metrics: {address} cannot be listened at ({e}). Name \
                 another address with --listen, or say --listen off"
            );
            std::future::pending::<()>().await;
        }
    }
}

async fn serve(listener: TcpListener, agent: Arc<Agent>) {
    if let Ok(address) = listener.local_addr() {
        info!("health and metrics are told at http://{address}");
        if !address.ip().is_loopback() {
            warn!("whoever can reach {address} can read this agent's health and metrics");
        }
    }
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let place = Arc::clone(&places).acquire_owned().await;
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files, perhaps; others have to end first.
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let agent = Arc::clone(&agent);
        tokio::spawn(async move {
            if timeout(LIMIT, converse(stream, &agent)).await.is_err() {
                debug!("a connection that took too long was closed");
            }
            drop(place);
        });
    }
}

async fn converse(stream: TcpStream, agent: &Arc<Agent>) {
    let service = service_fn(|request| answer(request, agent));
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(e) = connection.await {
        debug!("a connection broke: {e}");
    }
}

async fn answer(request: Request<Incoming>, agent: &Arc<Agent>) -> Result<Response<Full<Bytes>>, Infallible> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_for_this_box(host, &agent.facts.hostname) {
        let words = "this is for requests to an address, to localhost, or to the name of this box\n";
        return Ok(reply(StatusCode::MISDIRECTED_REQUEST, TEXT, words.to_owned()));
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    Ok(match request.uri().path() {
        "/health" | "/metrics" if !is_read => {
            let mut refusal = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "this can only be read\n".to_owned());
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            refusal
        }
        "/health" => reply(StatusCode::OK, "application/json", Health::of(agent).json()),
        "/metrics" => reply(StatusCode::OK, titan_telemetry::page::CONTENT_TYPE, metrics::page(agent).await),
        _ => reply(StatusCode::NOT_FOUND, TEXT, "there are /health and /metrics\n".to_owned()),
    })
}

const TEXT: &str = "text/plain; charset=utf-8";

fn reply(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Whether `host`, as a request gives it, names this box in a way that no stranger's page can.
fn is_for_this_box(host: &str, own_name: &str) -> bool {
    if host.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    address.parse::<std::net::IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || (!own_name.is_empty() && name.eq_ignore_ascii_case(own_name))
}

/// Asks the agent that listens at `address` for its health.
///
/// # Errors
/// Nothing answers there, or something else does; in words.
pub(crate) async fn ask(address: SocketAddr) -> Result<Health, String> {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(3)).build();
    let asked = async { http?.get(format!("http://{address}/health")).send().await?.json::<Health>().await };
    match asked.await {
        Ok(health) if health.service == health::SERVICE => Ok(health),
        Err(e) if e.is_connect() => Err("nothing listens there".to_owned()),
        Ok(_) | Err(_) => Err("something else answers there".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_for_an_address_or_an_own_name_are_answered() {
        for own in
            ["127.0.0.1:7070", "127.0.0.1", "[::1]:7070", "[::1]", "localhost:7070", "LocalHost", "box-7:7070", "Box-7"]
        {
            assert!(is_for_this_box(own, "box-7"), "{own}");
        }
        for strange in [
            "",
            "evil.example",
            "evil.example:7070",
            "localhost.evil.example",
            "box-7.evil.example",
            "127.0.0.1.evil.example:7070",
        ] {
            assert!(!is_for_this_box(strange, "box-7"), "{strange}");
        }
        assert!(!is_for_this_box("", ""), "a box without a name");
    }
}
