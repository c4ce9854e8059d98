//! The coordinator: takes jobs from clients, hands them to agents, and keeps nothing in its own memory.
//!
//! [`router`] is the whole HTTP interface over an [`AppState`]; [`execute`] is the program around it. Any number of
//! copies may run beside each other: all that has to be decided atomically is decided in Redis, by `titan_lua`.

mod auth;
mod batch;
mod clock;
mod command;
mod compress;
mod config;
mod cursor;
mod error;
mod event_stream;
mod extract;
mod fleet;
mod gate;
pub mod healthcheck;
mod idempotency;
mod ids;
mod jitter;
mod keygen;
mod load;
mod logging;
mod metrics;
mod notes;
mod observe;
mod openai;
mod openapi;
mod output_stream;
mod pace;
mod quotas;
mod readiness;
mod relay;
mod routes;
mod serve;
pub mod server;
mod sse;
mod state;
mod strict;
mod submission;
mod timer;
mod trace;
mod upload;
mod validate;
mod waiters;

pub use auth::{
    admin::AdminToken,
    keys::{KeyError, KeyRing},
};
pub use command::{Action, Command, execute};
pub use config::{ConfigError, LogFormat, Parking, QuotaSetting, RunArgs, Settings};
pub use keygen::generate_signing_keys;
pub use openapi::document as openapi;
pub use routes::{metrics_router, router};
pub use state::AppState;
pub use titan_api::secret::Secret;
