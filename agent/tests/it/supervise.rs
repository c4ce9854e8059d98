//! Backends that the agent starts and looks after: as processes, the real server of llama.cpp among them, and in
//! containers of a stand-in for Docker.

mod containers;
mod docker;
mod llama;
mod missing;
mod processes;
mod program;

use serde_json::Value;

use crate::{agent::Agent, local};

/// A port of loopback that is free now.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Where the agent that was started last in its home is asked, once it has said so `times` times.
async fn address(agent: &Agent, times: usize) -> String {
    let said = || {
        let log = agent.log();
        let mut places = log.split("are told at http://").skip(times);
        places.next().and_then(|after| Some(after.split_once('"')?.0.to_owned()))
    };
    crate::agent::until("it listens", || said().is_some()).await;
    said().unwrap()
}

/// Waits until what the agent says of its only backend is like this.
async fn backend(address: &str, name: &str, like: impl Fn(&Value) -> bool) -> Value {
    let end = tokio::time::Instant::now() + crate::coordinator::PATIENCE;
    loop {
        let status = local::health(address).await["backends"][0].clone();
        if like(&status) {
            return status;
        }
        assert!(tokio::time::Instant::now() < end, "waited in vain until {name}: {status}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Waits until its only backend is in that state.
async fn state(address: &str, state: &str) -> Value {
    backend(address, state, |status| status["state"] == state).await
}
