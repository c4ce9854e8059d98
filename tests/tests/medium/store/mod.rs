//! The store on a real Redis, with time passed in.

mod agents;
mod attempts;
mod audit;
mod backlog;
mod baseline;
mod batches;
mod breaker;
mod clock;
mod collector;
mod conditions;
mod corrupt;
mod credentials;
mod holds;
pub(crate) mod inference;
mod library;
mod output;
mod placing;
mod prompts;
mod quotas;
mod races;
mod readiness;
mod results;
mod retention;
mod schema;
mod together;
mod turns;
pub(crate) mod world;
