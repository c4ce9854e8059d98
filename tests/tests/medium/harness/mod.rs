//! The harness proves itself: what later tests rely on is seen to happen.

mod backend;
mod cluster;
mod proxy;
mod redis;
