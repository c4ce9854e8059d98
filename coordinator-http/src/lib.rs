//! The coordinator: takes jobs from clients, hands them to agents, and keeps nothing in its own memory.
//!
//! [`router`] is the whole HTTP interface over an [`AppState`]; [`execute`] is the program around it. Any number of
//! copies may run beside each other: all that has to be decided atomically is decided in Redis, by `titan_lua`.

mod auth;
mod clock;
mod command;
mod compress;
mod config;
mod cursor;
mod data_loss;
mod decisions;
mod error;
mod extract;
mod fleet;
mod gate;
mod idempotency;
mod ids;
mod jitter;
mod load;
mod logging;
mod metrics;
mod notes;
mod observe;
mod openai;
mod openapi;
mod pace;
mod quotas;
mod readiness;
mod relay;
mod reply;
mod routes;
pub mod server;
mod sse;
mod state;
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
pub use command::{Action, Command, HealthcheckArgs, execute, generate_signing_keys};
pub use config::{ConfigError, LogFormat, Parking, QuotaSetting, RunArgs, Settings};
pub use openapi::document as openapi;
pub use routes::{metrics_router, router};
pub use state::AppState;
pub use titan_api::secret::Secret;
