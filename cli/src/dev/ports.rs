//! Free ports on 127.0.0.1.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::Context as _;

/// Where coordinators listen by default.
const USUAL_PORT: u16 = 8080;

/// A port that was free just now.
pub(super) fn free() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port of 127.0.0.1 is free")?;
    Ok(listener.local_addr()?.port())
}

/// The coordinator's port: the one asked for, else 8080, else any, saying so.
pub(super) fn for_coordinator(asked: Option<u16>) -> anyhow::Result<u16> {
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop);
    if let Some(port) = asked {
        is_free(port).with_context(|| format!("port {port} cannot be used; name another one with --port"))?;
        return Ok(port);
    }
    if is_free(USUAL_PORT).is_ok() {
        return Ok(USUAL_PORT);
    }
    let port = free()?;
    eprintln!("port {USUAL_PORT} is taken, so the coordinator listens on {port}");
    Ok(port)
}
