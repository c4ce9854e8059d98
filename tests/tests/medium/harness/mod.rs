//! The harness proves itself: what later tests rely on is seen to happen.

mod backend;
mod cluster;
mod llama;
mod proxy;
mod redis;
