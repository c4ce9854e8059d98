//! Whether an agent runs here already, and whether its listener's port is free.

use std::net::TcpListener;

use super::finding::Findings;
use crate::{config::Config, local};

/// Gives what the running agent says of itself, if there is one.
pub(super) async fn look(config: &Config, findings: &mut Findings) -> Option<local::Health> {
    let Some(address) = config.listen else {
        findings.ok("listener", "off");
        return None;
    };
    if TcpListener::bind(address).is_ok() {
        findings.ok("listener", format!("{address} is free: no agent runs, or it listens elsewhere"));
        return None;
    }
    match local::ask(address).await {
        Ok(health) => {
            running(&health, findings);
            Some(health)
        }
        Err(why) => {
            let detail = format!("the agent cannot listen at {address}: {why}");
            findings.warning("listener", detail, "name another address with --listen, or say --listen off");
            None
        }
    }
}

fn running(health: &local::Health, findings: &mut Findings) {
    let id = health.agent_id.as_deref().unwrap_or("not registered yet");
    let age = health.last_heartbeat_age_ms.map_or("no heartbeat was answered yet".to_owned(), |age_ms| {
        format!("its last answered heartbeat was {:.1} s ago", std::time::Duration::from_millis(age_ms).as_secs_f64())
    });
    let detail = format!("an agent runs here: {id}, version {}, {} jobs; {age}", health.version, health.running);
    if health.status == "healthy" {
        findings.ok("agent", detail);
    } else {
        findings.warning("agent", detail, "see what is said of the connection, and the agent's log");
    }
}
