//! The gateway for clients with a ticket: whether its address can be had, and whether anybody is sent there.

use std::{io, net::TcpListener};

use super::finding::Findings;
use crate::{config::Config, executor::words, local::Health};

pub(super) fn look(config: &Config, running: Option<&Health>, findings: &mut Findings) {
    let Some(address) = config.gateway_listen else { return };
    match TcpListener::bind(address) {
        Ok(_) => findings.ok("gateway", format!("{address} is free for clients with a ticket")),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse && running.is_some() => {
            findings.ok("gateway", format!("somebody listens at {address}: the agent that runs here, presumably"));
        }
        Err(e) => {
            let detail = format!("the agent cannot listen at {address} for clients with a ticket: {}", words(&e));
            findings.failed("gateway", detail, "end who listens there, or name another address with --gateway-listen");
        }
    }
    if config.endpoint.is_none() {
        let detail = "no client is sent to the gateway: the coordinator is not told where it is reached";
        findings.warning("gateway", detail, "say it with --advertise-url");
    }
}
