//! What bounds the gateway: how much of it anybody may hold, and for how long.

use std::time::Duration;

use titan_api::inference::{ANSWER_MS, FIRST_TOKEN_MS, LOAD_MS, TOKEN_MS};

/// The bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Connections at once; more wait in the system's queue.
    pub connections: usize,
    /// Of these from one address; more are closed.
    pub per_address: usize,
    /// The same from one on loopback or in a private network, where a proxy may bring everybody's.
    pub per_neighbour: usize,
    /// Bytes of the head of a request.
    pub head_bytes: usize,
    /// For the head, from when it could begin.
    pub head: Duration,
    /// For the body.
    pub body: Duration,
    /// For how long a client may take nothing of an answer that waits for it.
    pub stall: Duration,
    /// For how long a backend may be silent before its first token; the coordinator has no say in these.
    pub first_token: Duration,
    /// The same after it.
    pub token: Duration,
    /// For an answer that is not streamed, as a whole.
    pub document: Duration,
    /// For loading a model.
    pub load: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 512,
            per_address: 64,
            per_neighbour: 448,
            head_bytes: 32 * 1_024,
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            first_token: Duration::from_millis(FIRST_TOKEN_MS),
            token: Duration::from_millis(TOKEN_MS),
            document: Duration::from_millis(ANSWER_MS),
            load: Duration::from_millis(LOAD_MS),
        }
    }
}
