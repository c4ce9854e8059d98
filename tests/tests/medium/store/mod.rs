//! The store on a real Redis, with time passed in.

mod agents;
mod attempts;
mod audit;
mod backlog;
mod breaker;
mod conditions;
mod credentials;
pub(crate) mod inference;
mod output;
mod placing;
mod quotas;
mod races;
mod readiness;
mod results;
mod together;
mod turns;
pub(crate) mod world;
