//! The words that clients, agents and the coordinator share: requests, replies, problems, ids and limits.
//!
//! Nothing here does I/O. The optional feature `client` adds a small typed HTTP client over these types.

pub mod agents;
#[cfg(feature = "client")]
pub mod client;
pub mod credentials;
pub mod events;
pub mod headers;
pub mod health;
pub mod ids;
pub mod inference;
pub mod jobs;
pub mod limits;
pub mod loopback;
pub mod openai;
pub mod output;
pub mod peers;
pub mod problem;
pub mod pull;
pub mod scheduler;
pub mod secret;
pub mod secret_file;
pub mod status;
pub mod time;
pub mod trace;
pub mod work;

/// Version of the protocol between agent and coordinator, carried in the body of every agent request.
///
/// It rises when an older peer could no longer make sense of a body; unknown fields alone never raise it.
pub const PROTOCOL: u32 = 1;
